// layer_weights.h: one layer's weights as matrices, whatever names and layout the checkpoint gives them.
#pragma once

#include <optional>
#include <vector>

#include "reference/config.h"
#include "reference/linear_algebra.h"
#include "reference/moe.h"
#include "reference/precision.h"
#include "reference/weights.h"

namespace ringbench {

// n heads, kv key/value heads, d head_dim, H hidden_size, E experts. Matrices are [out, in]; what a layer does not have
// is empty.
template <class Real> struct LayerWeights {
  RowVector<Real> input_norm, post_attention_norm;  // [H]
  Matrix<Real> qkv;                                 // [(n + 2 kv) d, H]: all q, then all k, then all v
  RowVector<Real> qkv_bias;                         // [(n + 2 kv) d]
  RowVector<Real> q_norm, k_norm;                   // [d]
  RowVector<Real> sinks;                            // [n]
  std::vector<Matrix<Real>> gate_proj;              // linear layers: one [n d, H], or low-rank [d, H] then [n d, d]
  RowVector<Real> gate_norm;                        // linear layers: [n d]
  Matrix<Real> o_proj;                              // [H, n d]
  RowVector<Real> o_bias;                           // [H]

  Mlp<Real> dense;              // layers without experts
  Matrix<Real> router;          // [E, H]
  RowVector<Real> router_bias;  // [E], added to the logits
  RowVector<Real> expert_bias;  // [E], added to the scores for the selection only
  std::vector<Mlp<Real>> experts;
  Mlp<Real> shared;

  // MTP layer only.
  RowVector<Real> embedding_norm, hidden_norm, final_norm;  // [H]
  Matrix<Real> eh_proj;                                     // [H, 2H]: embedding half first
};

template <class Real> struct ModelWeights {
  Matrix<Real> embeddings;                 // [vocab_size, H]
  std::vector<LayerWeights<Real>> layers;  // [num_hidden_layers], then the MTP layer where it is wanted
  RowVector<Real> final_norm;              // [H]
  Matrix<Real> lm_head;                    // [vocab_size, H]; empty where tied to the embeddings
};

// Reads all weights a forward pass needs (or those of one layer), rounding matrices as `rounding` says. norm_head is
// applied here, once.
template <class Real>
ModelWeights<Real> read_model_weights(const ModelConfig& config, const Weights& weights, Rounding rounding, bool mtp,
                                      std::optional<int> only_layer = {});

}  // namespace ringbench
