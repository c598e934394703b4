// engine_memory.h: what the CUDA engine holds beside its weights: caches, states, what a pass works in, and the
// kernels' scratch memory. Planning and making are the same code, so that a plan is what will be held. Part of
// cuda_engine.cpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cuda/gpu.h"
#include "cuda/kernels.h"
#include "reference/config.h"
#include "reference/engine.h"

namespace ringbench::RINGBENCH_BACKEND {

constexpr int64_t kLogitsRows = 128;  // that are on the device at once; more go to the host block by block

// What a pass of at most `rows` tokens works in. With `allocate` false only `bytes` is right.
template <class Real> struct Workspace {
  Workspace(const ModelConfig& c, const EngineOptions& options, bool allocate) {
    const auto make = [&]<class T>(DeviceBuffer<T>& buffer, int64_t size) {
      bytes += size * static_cast<int64_t>(sizeof(T));
      if (allocate) buffer = DeviceBuffer<T>(size);
    };
    const int64_t chunk = options.chunk > 0 ? options.chunk : options.max_tokens;
    rows = std::max<int64_t>({chunk, options.slots, 1});
    const int64_t H = c.hidden_size, d = c.head_dim, width = c.num_attention_heads * d;
    int64_t qkv_width = 0;
    for (const LayerType type : c.layer_types) {
      const bool gated_rows = type == LayerType::linear_attention && !c.use_low_rank;
      qkv_width = std::max(qkv_width, (gated_rows ? 2 : 1) * width + 2 * c.kv_heads(type) * d);
    }
    const bool linear = c.count(LayerType::linear_attention) > 0;
    make(tokens, rows), make(pieces, options.slots), make(piece_of_row, rows), make(wanted, rows);
    make(stream, rows * H), make(normed, rows * H), make(block, rows * H);
    make(qkv, rows * qkv_width), make(context, rows * width), make(gated, linear ? rows * width : 0);
    if (c.use_low_rank && linear) make(gate_low, rows * d), make(gate, rows * width);

    const bool dense = c.num_experts == 0 || c.first_k_dense_replace > 0;
    const int64_t mlp_width = std::max(dense ? c.intermediate_size : 0, c.shared_intermediate_size);
    make(gate_up, rows * 2 * mlp_width), make(product, rows * mlp_width);
    if (c.num_experts > 0) {
      const int64_t pairs = rows * c.num_experts_per_tok;
      make(shared, c.shared_intermediate_size > 0 ? rows * H : 0);
      make(router_logits, rows * c.num_experts), make(experts, pairs), make(expert_weights, pairs);
      make(offsets, c.num_experts + 1), make(pair_of_row, pairs), make(row_of_pair, pairs);
      make(expert_product, pairs * c.moe_intermediate_size), make(expert_out, pairs * H);
      make(expert_load, c.num_hidden_layers * c.num_experts);
    }
    const int64_t logits_rows = std::max<int64_t>(options.slots, std::min(rows, kLogitsRows));
    make(logits, logits_rows * c.vocab_size), make(chosen, logits_rows);
    make(turns, std::max(1, c.rotary_dim / 2));
  }

  int64_t rows = 0, bytes = 0;
  DeviceBuffer<int32_t> tokens, piece_of_row, wanted;
  DeviceBuffer<Piece> pieces;
  DeviceBuffer<Real> stream, normed, block;           // [rows, H]: between blocks; into a block; out of it
  DeviceBuffer<Real> qkv, context, gated;             // [rows, q k v gate], [rows, n d], [rows, n d]
  DeviceBuffer<Real> gate_low, gate;                  // [rows, d], [rows, n d]: low-rank gates
  DeviceBuffer<Real> gate_up, product, shared;        // dense and shared MLPs
  DeviceBuffer<float> router_logits, expert_weights;  // [rows, E], [rows, k]
  DeviceBuffer<int32_t> experts, offsets, pair_of_row, row_of_pair;
  DeviceBuffer<Real> expert_product, expert_out;  // [rows k, W], [rows k, H]
  DeviceBuffer<int64_t> expert_load;              // [layers, E]
  DeviceBuffer<float> logits;
  DeviceBuffer<int32_t> chosen;
  DeviceBuffer<uint64_t> turns;
};

// What sequences remember in one layer.
template <class Real> struct LayerCache {
  DeviceBuffer<Real> k, v;    // softmax: [slots, kv, max_tokens, d]
  DeviceBuffer<float> state;  // linear: [slots, n, d (k), d (v)]
};

template <class Real>
std::vector<LayerCache<Real>> make_caches(const ModelConfig& c, const EngineOptions& options, bool allocate,
                                          Memory& memory) {
  std::vector<LayerCache<Real>> caches(static_cast<size_t>(c.num_hidden_layers));
  const int64_t d = c.head_dim;
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    LayerCache<Real>& cache = caches[static_cast<size_t>(i)];
    if (c.layer_types[static_cast<size_t>(i)] == LayerType::linear_attention) {
      const int64_t size = options.slots * c.num_attention_heads * d * d;
      memory.state += size * static_cast<int64_t>(sizeof(float));
      if (allocate) cache.state = DeviceBuffer<float>(size);
    } else {
      const int64_t size = options.slots * c.num_key_value_heads * options.max_tokens * d;
      memory.kv += 2 * size * static_cast<int64_t>(sizeof(Real));
      if (allocate) cache.k = DeviceBuffer<Real>(size), cache.v = DeviceBuffer<Real>(size);
    }
  }
  return caches;
}

// Scratch memory of kernels, at the widest pass of each kind.
template <class Real>
int64_t planned_scratch(const ModelConfig& c, const EngineOptions& options, const Device& device) {
  const int64_t chunk = options.chunk > 0 ? options.chunk : options.max_tokens, width = c.hidden_size;
  const int64_t all_rows = std::max<int64_t>({chunk, options.slots, 1});
  int64_t bytes = 0;
  const auto count = [&]<class Args>(const Args& args) {
    for (const Kernel<Args>& kernel : kernels<Args>())
      if (kernel.workspace && kernel.supports(args, device)) bytes = std::max(bytes, kernel.workspace(args, device));
  };
  for (const int pieces : {1, options.slots}) {
    for (const int64_t rows : {all_rows, static_cast<int64_t>(options.slots)}) {
      const Batch batch{.count = pieces, .rows = rows, .longest = rows / pieces, .deepest = options.max_tokens};
      const LinearAttentionArgs<Real> linear{.heads = c.num_attention_heads,
                                             .kv_heads = c.linear_key_value_heads,
                                             .head_dim = c.head_dim,
                                             .stride = width,
                                             .batch = batch};
      const SoftmaxAttentionArgs<Real> softmax{.heads = c.num_attention_heads,
                                               .kv_heads = c.num_key_value_heads,
                                               .head_dim = c.head_dim,
                                               .slots = options.slots,
                                               .stride = width,
                                               .max_tokens = options.max_tokens,
                                               .batch = batch};
      if (c.count(LayerType::linear_attention) > 0) {
        count(LinearPrefillArgs<Real>{linear});
        if (rows == pieces) count(LinearDecodeArgs<Real>{linear});
      }
      count(SoftmaxPrefillArgs<Real>{softmax});
      if (rows == pieces) count(SoftmaxDecodeArgs<Real>{softmax});
      count(GemmArgs<Real>{.rows = rows, .columns = width, .inner = width, .x_stride = width});
      count(GemmArgs<Real, float>{.rows = rows, .columns = c.vocab_size, .inner = width, .x_stride = width});
      count(ArgmaxArgs{.rows = std::min(rows, std::max<int64_t>(options.slots, kLogitsRows)),
                       .vocab_size = c.vocab_size});
      if (c.num_experts == 0) continue;
      const int64_t pairs = rows * c.num_experts_per_tok;
      count(PermuteArgs{.pairs = pairs, .num_experts = c.num_experts});
      count(GroupedGemmArgs<Real>{.k = c.num_experts_per_tok,
                                  .pairs = pairs,
                                  .columns = c.moe_intermediate_size,
                                  .inner = width,
                                  .num_experts = c.num_experts,
                                  .swiglu = true});
      count(GroupedGemmArgs<Real>{
          .pairs = pairs, .columns = width, .inner = c.moe_intermediate_size, .num_experts = c.num_experts});
    }
  }
  return bytes;
}

}  // namespace ringbench::RINGBENCH_BACKEND
