// reference_engine.cpp: what the reference engine holds, and which arithmetic type it is made with.
#include "reference/reference_engine.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace ringbench {

Memory sequence_memory(const ModelConfig& config, const EngineOptions& options, int64_t tokens) {
  const int64_t size = size_of(options.dtype), d = config.head_dim;
  Memory memory;
  for (const LayerType type : config.layer_types) {
    if (type == LayerType::linear_attention)
      memory.state += config.num_attention_heads * d * d * size;
    else
      memory.kv += 2 * tokens * config.num_key_value_heads * d * size;
  }
  if (options.mtp) memory.kv += 2 * tokens * config.num_key_value_heads * d * size;
  return memory;
}

Memory plan_reference_memory(const ModelConfig& config, const EngineOptions& options) {
  const Memory one = sequence_memory(config, options, options.max_tokens);
  const int64_t size = size_of(options.dtype);
  Memory memory{.weights = 0, .kv = one.kv * options.slots, .state = one.state * options.slots, .workspace = 0};
  memory.weights = count_parameters(config).total * size;
  if (options.mtp)
    for (const TensorSpec& spec : expected_tensors(config))
      if (spec.name.starts_with("model.layers." + std::to_string(config.num_hidden_layers) + "."))
        memory.weights += spec.size() * size;
  // One pass at its widest: stream, normed input, q k v, attention output and gate, experts' inputs and outputs.
  const int64_t rows =
      options.chunk > 0 ? std::max<int64_t>(options.chunk, options.slots) : std::max<int64_t>(1, options.max_tokens);
  const int64_t attention = (6 * config.num_attention_heads + 4 * config.num_key_value_heads) * config.head_dim;
  const int64_t moe = config.num_experts > 0
                          ? (config.num_experts_per_tok + 2) * config.hidden_size + 3 * config.shared_intermediate_size
                          : 0;
  memory.workspace = rows * (4 * config.hidden_size + std::max({attention, moe, 3 * config.intermediate_size})) * size;
  return memory;
}

std::unique_ptr<Engine> make_reference_engine(const ModelConfig& config, const Weights& weights,
                                              const EngineOptions& options) {
  if (options.dtype == DType::f64) return make_engine<double>(config, weights, options);
  if (options.dtype == DType::f32) return make_engine<float>(config, weights, options);
  throw std::invalid_argument("the reference engine computes in f64 or f32, not " +
                              std::string(name_of(options.dtype)));
}

std::unique_ptr<ReferenceLayer> make_reference_layer(const ModelConfig& config, const Weights& weights, int layer,
                                                     const EngineOptions& options) {
  EngineOptions one = options;
  one.slots = 1;
  if (layer < 0 || layer >= config.num_hidden_layers + (options.mtp ? 1 : 0))
    throw std::out_of_range("the model has no layer " + std::to_string(layer));
  if (options.dtype == DType::f64) return make_layer<double>(config, weights, layer, one);
  if (options.dtype == DType::f32) return make_layer<float>(config, weights, layer, one);
  throw std::invalid_argument("the reference computes in f64 or f32, not " + std::string(name_of(options.dtype)));
}

}  // namespace ringbench
