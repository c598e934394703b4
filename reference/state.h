// state.h: what one sequence remembers in one layer, on the host, in no engine's layout. The currency of depth parity,
// of decoding at a depth nobody prefilled, and of hand-over between engines.
#pragma once

#include "reference/tensor.h"

namespace ringbench {

struct LayerState {
  // Softmax layers: keys (after norm and rope) and values, [T, num_key_value_heads, head_dim], in the type the engine
  // keeps (f64, f32, bf16). Sliding layers hold all T rows too.
  HostTensor k, v;
  // Linear layers: S = sum of decayed k^T v, [num_attention_heads, head_dim (k), head_dim (v)]; f64 or f32, never less.
  HostTensor kv;
  // The MTP layer only: the last position's hidden state after model.norm, [hidden_size], which the next token joins.
  HostTensor hidden;
};

}  // namespace ringbench
