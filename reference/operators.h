// operators.h: the reference's operators one at a time, in f64 on plain arrays, for those who do not see Eigen. The
// equations are in the files of the same names; a rounding of none gives the truth.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "reference/config.h"
#include "reference/precision.h"

namespace ringbench {

// Linear attention of one sequence. q, k, v, o [T, heads, d]; log_decay [heads]; kv [heads, d_k, d_v], in and out.
struct LinearAttentionArrays {
  int64_t T, heads, d;
  const double *q, *k, *v, *log_decay;
  double *kv, *o;
};
// Token by token; with `operands` f32 too, decay and state rounded as they go; with less, in chunks of 64 whose
// products round what they multiply.
void linear_attention(const LinearAttentionArrays& a, Rounding operands);

// Softmax attention of one sequence: q, o [T, heads, d] are the last T of `keys` positions; k, v [keys, kv_heads, d].
struct SoftmaxAttentionArrays {
  int64_t T, keys, heads, kv_heads, d;
  const double *q, *k, *v;
  double* o;
};
void softmax_attention(const SoftmaxAttentionArrays& a, Rounding operands);

// y = RMSNorm over each of `groups` parts of x, times weight, times sigmoid(gate). x, gate, y [T, width]; weight
// [width]. `norm`: rounding of what the gate multiplies.
struct GroupNormGateArrays {
  int64_t T, width, groups;
  double eps;
  const double *x, *gate, *weight;
  double* y;
};
void group_norm_gate(const GroupNormGateArrays& a, Rounding norm);

// inverse_frequencies() of rope.h: radians per position of each pair.
std::vector<double> rope_frequencies(int rotary_dim, double theta, const std::optional<RopeScaling>& yarn);

// RMSNorm of every head where there is a weight [d], then rotation of the leading 2 * frequencies.size() dims by
// positions [T]. x [T, heads, d], in and out. `norm`: rounding of what is rotated; with one, angles are in f32.
struct NormRopeArrays {
  int64_t T, heads, d;
  double eps, attention_factor;
  const double* weight;  // null: no norm
  const std::vector<int64_t>& positions;
  const std::vector<double>& frequencies;
  double* x;
};
void norm_rope(const NormRopeArrays& a, Rounding norm);

// Experts [T, k] by rising number, and their weights [T, k]. logits [T, num_experts]; bias [num_experts] or empty.
struct Routed {
  std::vector<int32_t> experts;
  std::vector<double> weights;
};
Routed route_tokens(const std::vector<double>& logits, const std::vector<double>& bias, const ModelConfig& config);

// y_t = sum_j weights(t, j) expert_{experts(t, j)}(x_t), SwiGLU. x, y [T, H]; gate, up [E, I, H]; down [E, H, I].
// `activations`: rounding of every expert's SwiGLU and output.
struct MixtureArrays {
  int64_t T, H, I, E;
  const double *x, *gate, *up, *down;
  const Routed& routed;
  double* y;
};
void mixture_of_experts(const MixtureArrays& a, Rounding activations);

}  // namespace ringbench
