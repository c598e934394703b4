// reference_engine_f64.cpp: the reference engine in f64.
#include "reference/reference_engine.h"

namespace ringbench {

template <>
std::unique_ptr<Engine> make_engine<double>(const ModelConfig& config, const Weights& weights,
                                            const EngineOptions& options) {
  return std::make_unique<ReferenceEngine<double>>(config, weights, options);
}

}  // namespace ringbench
