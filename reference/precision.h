// precision.h: where values are rounded, and to what. One policy for error budgets (the reference with a candidate's
// own rounding points) and for ablations (which of them moves the output, and how far).
#pragma once

#include <string_view>

#include "reference/tensor.h"

namespace ringbench {

enum class Rounding { none, f32, bf16, fp8_e4m3 };

// Rounding points of one forward pass, in the order a token meets them. `none` keeps the engine's arithmetic type.
struct Precision {
  Rounding weights = Rounding::none;      // every matrix, as it is loaded
  Rounding residual = Rounding::none;     // the stream between blocks
  Rounding norm = Rounding::none;         // outputs of RMSNorm
  Rounding activations = Rounding::none;  // outputs of projections and MLPs
  Rounding qkv = Rounding::none;          // q, k, v as they enter attention
  Rounding kv_cache = Rounding::none;     // keys and values as they are kept
  Rounding state = Rounding::none;        // the linear state, after every forward call and chunk of it
  Rounding attention = Rounding::none;    // attention's output before gate and projection
  Rounding router = Rounding::none;       // router logits
  Rounding lm_head = Rounding::none;      // logits

  bool operator==(const Precision&) const = default;
};

}  // namespace ringbench
