// reference_engine_f64.cpp: the reference engine in f64.
#include "reference/reference_engine.h"

namespace ringbench {

template <>
std::unique_ptr<Engine> make_engine<double>(const ModelConfig& config, const Weights& weights,
                                            const EngineOptions& options) {
  return std::make_unique<ReferenceEngine<double>>(config, weights, options);
}

template <>
std::unique_ptr<ReferenceLayer> make_layer<double>(const ModelConfig& config, const Weights& weights, int layer,
                                                   const EngineOptions& options) {
  return std::make_unique<ReferenceLayerOf<double>>(config, weights, layer, options);
}

}  // namespace ringbench
