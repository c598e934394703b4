// fuzz_config.cpp: any bytes are either a config or a ConfigError; what is accepted can be used.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "reference/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ringbench;
  try {
    const ModelConfig config = ModelConfig::parse({reinterpret_cast<const char*>(data), size}, "fuzz");
    config.sha();
    config.log_decay(config.num_hidden_layers - 1);
    config.trained_window();
    config.with_hybrid_ratio(HybridRatio::parse(config.hybrid_label()));
    config.with_layers(config.num_hidden_layers / 2 + 1);
  } catch (const ConfigError&) {}
  return 0;
}
