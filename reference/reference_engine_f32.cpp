// reference_engine_f32.cpp: the reference engine in f32.
#include "reference/reference_engine.h"

namespace ringbench {

template <>
std::unique_ptr<Engine> make_engine<float>(const ModelConfig& config, const Weights& weights,
                                           const EngineOptions& options) {
  return std::make_unique<ReferenceEngine<float>>(config, weights, options);
}

}  // namespace ringbench
