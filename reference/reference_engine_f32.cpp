// reference_engine_f32.cpp: the reference engine in f32.
#include "reference/reference_engine.h"

namespace ringbench {

template <>
std::unique_ptr<Engine> make_engine<float>(const ModelConfig& config, const Weights& weights,
                                           const EngineOptions& options) {
  return std::make_unique<ReferenceEngine<float>>(config, weights, options);
}

template <>
std::unique_ptr<ReferenceLayer> make_layer<float>(const ModelConfig& config, const Weights& weights, int layer,
                                                  const EngineOptions& options) {
  return std::make_unique<ReferenceLayerOf<float>>(config, weights, layer, options);
}

}  // namespace ringbench
