// cost.h: what a model computes, moves and holds, operator by operator, from its config alone. Counts, not times
// (predict.h).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "reference/config.h"
#include "reference/tensor.h"

namespace ringbench {

struct Cost {
  double flops = 0;
  double bytes = 0;  // through memory
};
inline Cost operator*(double n, const Cost& cost) { return {n * cost.flops, n * cost.bytes}; }

// Kinds of operators that reach different shares of a machine's peaks.
enum class Part { dense, attention, lightning, experts, router, elementwise, head };
inline constexpr Part kParts[] = {Part::dense,  Part::attention,   Part::lightning, Part::experts,
                                  Part::router, Part::elementwise, Part::head};
std::string_view name_of(Part part);

// One operator of one layer, or of all layers that are alike.
struct Operation {
  Part part = Part::dense;
  double count = 1;  // so many times
  // What no implementation gets around: each weight, cached key and value once, linear attention as a recurrence.
  Cost least;
  // What a good one does with one kernel for each operator: activations pass through memory between kernels (but for
  // steps of one token, whose activations stay in the processor's caches), linear attention runs in chunks of 64
  // tokens, router weights and logits are f32.
  Cost done;
};

// The operators of one model in one type, ready to be counted at any point.
struct CostModel {
  CostModel(const ModelConfig& model, DType type);

  // Appending `tokens` to each of `batch` sequences that hold `position` tokens already: a prefill chunk, or with one
  // token a decode step. With `logits`, of the last token of each sequence.
  std::vector<Operation> append(int64_t tokens, int64_t position, int64_t batch, bool logits = true) const;

  ModelConfig config;
  DType dtype;
  double vectors = 0;  // parameters that are no matrix: norms and biases
};

// Sum of Operation::least with logits: a prefill with position 0, a decode step with one token. Softmax attention
// counts what the causal mask and the window leave; linear attention 4 head_dim^2 per head and token; experts hit are
// expected ones.
Cost append_cost(const ModelConfig& config, int64_t tokens, int64_t position, int64_t batch, DType dtype);

// Softmax caches: bytes for each token of a sequence, all layers.
int64_t kv_bytes_per_token(const ModelConfig& config, DType dtype);
// Linear states of one sequence, all layers; f64 with f64, else f32.
int64_t state_bytes(const ModelConfig& config, DType dtype);

// Multi-head latent attention, of which only the size of the cache is modelled here.
struct LatentWidths {
  int64_t kv_lora_rank = 0, qk_rope_head_dim = 0;  // cached for each token, one copy for all heads

  static LatentWidths load();  // configs/mla.json; throws ConfigError
};
// Bytes that one decode step of one sequence reads and writes in caches and states, mean over the layers of a model
// with these heads, if its attention were of that kind. `hybrid` is the model as it is.
struct MemoryAccess {
  double mha = 0, gqa = 0, mla = 0, hybrid = 0, linear = 0;
};
MemoryAccess memory_access(const ModelConfig& config, const LatentWidths& latent, int64_t ctx, DType dtype);

}  // namespace ringbench
