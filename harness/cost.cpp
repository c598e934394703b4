// cost.cpp: see cost.h. Parameter counts come from weights.h, the list that checkpoints are checked against.
#include "harness/cost.h"

#include <algorithm>
#include <cmath>

#include "reference/weights.h"

namespace ringbench {
namespace {

// Sum over tokens p .. p + n - 1 of how many keys each sees.
double visible_keys(int64_t n, int64_t p, int64_t window) {
  const auto all = [](double first, double count) { return count * first + count * (count - 1) / 2; };
  if (window <= 0 || p + n <= window) return all(static_cast<double>(p + 1), static_cast<double>(n));
  const int64_t growing = std::max<int64_t>(0, window - p);  // tokens that do not fill the window yet
  return all(static_cast<double>(p + 1), static_cast<double>(growing)) +
         static_cast<double>(n - growing) * static_cast<double>(window);
}

}  // namespace

Cost append_cost(const ModelConfig& config, int64_t tokens, int64_t position, int64_t batch, DType dtype) {
  const ParameterCounts parameters = count_parameters(config);
  const double n = config.num_attention_heads, d = config.head_dim, size = static_cast<double>(size_of(dtype));
  const double T = static_cast<double>(tokens), B = static_cast<double>(batch);
  const double head = static_cast<double>(config.hidden_size * config.vocab_size);
  const double softmax = config.count(LayerType::softmax_attention),
               sliding = config.count(LayerType::sliding_attention);

  Cost cost;
  cost.flops = B * (2 * T * static_cast<double>(parameters.active_non_embedding) + 2 * head);
  cost.flops +=
      B * 4 * n * d *
      (softmax * visible_keys(tokens, position, 0) + sliding * visible_keys(tokens, position, config.sliding_window) +
       config.count(LayerType::linear_attention) * T * d);

  double weights = static_cast<double>(parameters.active_non_embedding) + head;
  if (config.num_experts > 0) {  // k active experts become the distinct ones that T * batch tokens are expected to hit
    const double E = config.num_experts, k = config.num_experts_per_tok;
    const double hit = E * (1 - std::pow(1 - k / E, T * B));
    const double moe_layers = config.num_hidden_layers - config.first_k_dense_replace;
    const int64_t H = config.hidden_size, width = config.moe_intermediate_size;
    weights += (hit - k) * moe_layers * static_cast<double>(3 * H * width + (config.moe_bias ? 2 * width + H : 0));
  }
  // Keys and values that are read: all, or what the windows of these tokens reach back to.
  const double seen = static_cast<double>(position + tokens),
               reached = std::min(seen, static_cast<double>(config.sliding_window + tokens - 1));
  const double kv_layers = std::max(1.0, softmax + sliding);
  cost.bytes = weights * size +
               B * ((softmax * seen + sliding * reached) / kv_layers + T) *
                   static_cast<double>(kv_bytes_per_token(config, dtype)) +
               2 * B * static_cast<double>(state_bytes(config, dtype));
  return cost;
}

int64_t kv_bytes_per_token(const ModelConfig& config, DType dtype) {
  const int64_t layers = config.num_hidden_layers - config.count(LayerType::linear_attention);
  return 2 * layers * config.num_key_value_heads * config.head_dim * size_of(dtype);
}

int64_t state_bytes(const ModelConfig& config, DType dtype) {
  const int64_t size = std::max<int64_t>(size_of(dtype), 4);
  return int64_t{config.count(LayerType::linear_attention)} * config.num_attention_heads * config.head_dim *
         config.head_dim * size;
}

}  // namespace ringbench
