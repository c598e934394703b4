// softmax_attention.h: what the kernels of softmax_attention.cu and softmax_attention_sm90.cu have in common: which
// keys a query sees, where they are, and how a softmax over them ends.
#pragma once

#include "cuda/vocabulary.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

constexpr float kMinusInfinity = -INFINITY;
constexpr float kLog2e = 1.44269504088896341f;

__device__ __forceinline__ void store(float* to, float x) { *to = x; }
__device__ __forceinline__ void store(bf16* to, float x) { *to = to_bf16(x); }

constexpr int kNoWindow = 1 << 30;  // longer than any context, with room to add a position

// The keys [begin, end) that the query at `position` sees.
struct Keys {
  int64_t begin, end;
};
__device__ __forceinline__ Keys visible_keys(int64_t position, int64_t window) {
  return {window > 0 && position + 1 > window ? position + 1 - window : 0, position + 1};
}

// Where the keys (or values) of one sequence and one key/value head begin in the cache.
template <class Args> __device__ __forceinline__ int64_t cache_offset(const Args& a, int slot, int kv_head) {
  return (int64_t{slot} * a.kv_heads + kv_head) * a.max_tokens * a.head_dim;
}

// A softmax over some of the keys, not yet normalised; its o, the sum of exp(score - top) v, is kept elsewhere.
struct Part {
  float top;  // largest score; -infinity where there are no keys
  float sum;  // of exp(score - top)
};

// What a part's o has to be multiplied by to be the output. A sink is one more score, without a value.
__device__ __forceinline__ float normaliser(Part part, const float* sinks, int head) {
  if (!sinks) return 1.0f / part.sum;
  const float top = fmaxf(part.top, sinks[head]), weight = expf(part.top - top);
  return weight / (weight * part.sum + expf(sinks[head] - top));
}

}  // namespace
}  // namespace ringbench::RINGBENCH_BACKEND
