// state.h: what one sequence remembers in one layer, on the host, in no engine's layout. The currency of depth parity,
// of decoding at a depth nobody prefilled, and of hand-over between engines.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

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

// What import_state asks of each tensor. Throws std::invalid_argument naming it, its shape and the one expected.
inline void require_shape(const HostTensor& tensor, const std::vector<int64_t>& shape, const char* what) {
  if (tensor.shape() != shape)
    throw std::invalid_argument(std::string("import_state: ") + what + " has shape " + shape_string(tensor.shape()) +
                                ", expected " + shape_string(shape));
}

}  // namespace ringbench
