// cost.h: what a model must at least compute, move and hold, from its config alone. Counts, not times.
#pragma once

#include <cstdint>

#include "reference/config.h"
#include "reference/tensor.h"

namespace ringbench {

struct Cost {
  double flops = 0;
  double bytes = 0;  // through memory, each operand once
};

// Appending `tokens` to each of `batch` sequences that hold `position` tokens already, with logits of the last token
// of each: a prefill with position 0, a decode step with one token. Softmax attention counts what the causal mask and
// the window leave; linear attention its recurrence, 4 head_dim^2 per head and token; experts hit are expected ones.
Cost append_cost(const ModelConfig& config, int64_t tokens, int64_t position, int64_t batch, DType dtype);

// Softmax caches: bytes for each token of a sequence, all layers.
int64_t kv_bytes_per_token(const ModelConfig& config, DType dtype);
// Linear states of one sequence, all layers; f64 with f64, else f32.
int64_t state_bytes(const ModelConfig& config, DType dtype);

}  // namespace ringbench
