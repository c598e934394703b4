// fuzz_safetensors.cpp: libFuzzer target: whatever a safetensors file claims, either it is refused with a WeightsError
// or every tensor lies inside the file. Build with clang++ -fsanitize=fuzzer,address,undefined.
#include <cstdlib>

#include "reference/weights.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  try {
    for (const auto& [name, view] : ringbench::SafeTensors::parse_header({bytes, size}, "fuzz")) {
      const int64_t begin = view.data - bytes, total = static_cast<int64_t>(size);
      if (!(begin >= 8 && view.bytes() >= 0 && begin <= total && view.bytes() <= total - begin)) std::abort();
    }
  } catch (const ringbench::WeightsError&) {}
  return 0;
}
