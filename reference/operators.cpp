// operators.cpp: see operators.h.
#include "reference/operators.h"

#include <algorithm>
#include <numeric>

#include "reference/lightning_attention.h"
#include "reference/moe.h"
#include "reference/norm.h"
#include "reference/rope.h"
#include "reference/softmax_attention.h"

namespace ringbench {
namespace {

using Map = Eigen::Map<Matrix<double>>;
using ConstMap = Eigen::Map<const Matrix<double>>;
using ConstVectorMap = Eigen::Map<const RowVector<double>>;

// As kernels in f32 go: the factor of decay is off by the ulp that expf may err by, at every token in the same
// direction, and the state is rounded after every token.
void recurrent_in_f32(const ConstRows2d<double>& q, const ConstRows2d<double>& k, const ConstRows2d<double>& v,
                      double log_decay, Matrix<double>& kv, Rows2d<double> o) {
  constexpr double kUlp = 0x1p-24;
  const Eigen::OuterStride<> stride(q.outerStride());
  const auto row = [&](const auto& m, int64_t t) { return ConstRows2d<double>(m.row(t).data(), 1, m.cols(), stride); };
  for (int64_t t = 0; t < q.rows(); ++t) {
    lightning_attention_recurrent<double>(row(q, t), row(k, t), row(v, t), log_decay + kUlp, kv,
                                          Rows2d<double>(o.row(t).data(), 1, o.cols(), stride));
    round_matrix(Rounding::f32, kv);
  }
}

}  // namespace

void linear_attention(const LinearAttentionArrays& a, Rounding operands) {
  const double flops = 4.0 * static_cast<double>(a.T * a.heads * a.d * a.d);
  const Eigen::OuterStride<> stride(a.heads * a.d);
  parallel_for(a.heads, flops, [&](int64_t h) {
    const ConstRows2d<double> q(a.q + h * a.d, a.T, a.d, stride), k(a.k + h * a.d, a.T, a.d, stride),
        v(a.v + h * a.d, a.T, a.d, stride);
    const Rows2d<double> o(a.o + h * a.d, a.T, a.d, stride);
    Map stored(a.kv + h * a.d * a.d, a.d, a.d);
    Matrix<double> kv = stored;
    switch (operands) {
      case Rounding::none: lightning_attention_recurrent<double>(q, k, v, a.log_decay[h], kv, o); break;
      case Rounding::f32: recurrent_in_f32(q, k, v, a.log_decay[h], kv, o); break;
      default: lightning_attention_chunked<double>(q, k, v, a.log_decay[h], kv, o, 64, operands);
    }
    stored = kv;
  });
}

void softmax_attention(const SoftmaxAttentionArrays& a, Rounding operands) {
  const Matrix<double> q = ConstMap(a.q, a.T, a.heads * a.d);
  const RowVector<double> no_sinks;
  Map(a.o, a.T, a.heads * a.d) =
      softmax_attention<double>({q, a.k, a.v, a.keys - a.T, a.heads, a.kv_heads, a.d, 0, no_sinks, operands});
}

void group_norm_gate(const GroupNormGateArrays& a, Rounding norm) {
  Matrix<double> y = ConstMap(a.x, a.T, a.width);
  const RowVector<double> weight = ConstVectorMap(a.weight, a.width);
  group_rms_norm(y, weight, a.groups, a.eps);
  round_matrix(norm, y);
  Map(a.y, a.T, a.width) =
      y.cwiseProduct(ConstMap(a.gate, a.T, a.width).unaryExpr([](double x) { return sigmoid(x); }));
}

std::vector<double> rope_frequencies(int rotary_dim, double theta, const std::optional<RopeScaling>& yarn) {
  return inverse_frequencies(rotary_dim, theta, yarn);
}

void norm_rope(const NormRopeArrays& a, Rounding norm) {
  Matrix<double> x = ConstMap(a.x, a.T, a.heads * a.d);
  if (a.weight != nullptr) {
    const RowVector<double> weight = ConstVectorMap(a.weight, a.d);
    group_rms_norm(x, weight, a.heads, a.eps);
    round_matrix(norm, x);
  }
  const RopeAngles angles = norm == Rounding::none ? RopeAngles::f64 : RopeAngles::f32;
  apply_rope(x, a.d, RopeTable<double>(a.frequencies, a.attention_factor, a.positions, angles));
  Map(a.x, a.T, a.heads * a.d) = x;
}

Routed route_tokens(const std::vector<double>& logits, const std::vector<double>& bias, const ModelConfig& config) {
  const int64_t E = config.num_experts, T = static_cast<int64_t>(logits.size()) / E, k = config.num_experts_per_tok;
  const Matrix<double> rows = ConstMap(logits.data(), T, E);
  const RowVector<double> expert_bias = ConstVectorMap(bias.data(), static_cast<int64_t>(bias.size()));
  Matrix<double> scores;
  const Route<double> route_of = route(rows, expert_bias, config, scores);
  Routed routed;
  std::vector<int64_t> order(static_cast<size_t>(k));
  for (int64_t t = 0; t < T; ++t) {
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](int64_t i, int64_t j) { return route_of.experts(t, i) < route_of.experts(t, j); });
    for (const int64_t j : order) {
      routed.experts.push_back(route_of.experts(t, j));
      routed.weights.push_back(route_of.weights(t, j));
    }
  }
  return routed;
}

void mixture_of_experts(const MixtureArrays& a, Rounding activations) {
  const int64_t k = static_cast<int64_t>(a.routed.experts.size()) / a.T;
  std::vector<Mlp<double>> experts(static_cast<size_t>(a.E));
  for (int64_t e = 0; e < a.E; ++e) {
    Mlp<double>& expert = experts[static_cast<size_t>(e)];
    expert.gate = ConstMap(a.gate + e * a.I * a.H, a.I, a.H);
    expert.up = ConstMap(a.up + e * a.I * a.H, a.I, a.H);
    expert.down = ConstMap(a.down + e * a.H * a.I, a.H, a.I);
  }
  Route<double> route_of;
  route_of.experts = Eigen::Map<const Eigen::Matrix<int32_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>(
      a.routed.experts.data(), a.T, k);
  route_of.weights = ConstMap(a.routed.weights.data(), a.T, k);
  ModelConfig config;
  config.moe_intermediate_size = a.I;
  Map(a.y, a.T, a.H) = mixture(Matrix<double>(ConstMap(a.x, a.T, a.H)), route_of, experts, config, activations);
}

}  // namespace ringbench
