// moe.h: SwiGLU, the routers, and the mixture of experts.
#pragma once

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "reference/config.h"
#include "reference/engine.h"
#include "reference/linear_algebra.h"

namespace ringbench {

// One SwiGLU MLP: gate, up [width, hidden_size], down [hidden_size, width]; biases are empty where there are none.
template <class Real> struct Mlp {
  Matrix<Real> gate, up, down;
  RowVector<Real> gate_bias, up_bias, down_bias;
};

// gate <- silu(gate) up. With a limit (GPT-OSS): gate at most limit, |up| at most limit, gate sigmoid(alpha gate) (up +
// 1).
template <class Real>
void swiglu(Eigen::Ref<Matrix<Real>> gate, const Eigen::Ref<const Matrix<Real>>& up, const ModelConfig& config) {
  auto g = gate.array();
  if (config.swiglu_limit > 0) {
    const Real limit = static_cast<Real>(config.swiglu_limit), alpha = static_cast<Real>(config.swiglu_alpha);
    g = g.min(limit);
    g = g / (Real(1) + (-alpha * g).exp()) * (up.array().min(limit).max(-limit) + Real(1));
  } else {
    g = g / (Real(1) + (-g).exp()) * up.array();
  }
}

// y = down( swiglu(gate x, up x) ). x [T, hidden_size]; returns the same shape. `activations`: rounding of gate, up and
// their product.
template <class Real>
Matrix<Real> mlp(const Matrix<Real>& x, const Mlp<Real>& w, const ModelConfig& config,
                 Rounding activations = Rounding::none) {
  Matrix<Real> gate = project(x, w.gate, w.gate_bias);
  Matrix<Real> up = project(x, w.up, w.up_bias);
  round_matrix(activations, gate);
  round_matrix(activations, up);
  parallel_rows(x.rows(), 20.0 * static_cast<double>(gate.size()), [&](int64_t begin, int64_t end) {
    swiglu<Real>(gate.middleRows(begin, end - begin), up.middleRows(begin, end - begin), config);
  });
  round_matrix(activations, gate);
  return project(gate, w.down, w.down_bias);
}

// Which experts each token goes to.
template <class Real> struct Route {
  Eigen::Matrix<int32_t, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor> experts;  // [T, k], by falling weight
  Matrix<Real> weights;                                                             // [T, k]
};

// The k largest of score[0 .. n), largest first, lowest index first among equals. -inf is taken last.
template <class Real> std::vector<int32_t> top_k(const Real* score, int64_t n, int64_t k) {
  std::vector<int32_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  const auto before = [&](int32_t a, int32_t b) { return score[a] > score[b] || (score[a] == score[b] && a < b); };
  std::partial_sort(order.begin(), order.begin() + k, order.end(), before);
  order.resize(static_cast<size_t>(k));
  return order;
}

// Group-limited selection: experts of all but the topk_group best groups get -inf. A group counts as much as its two
// best experts together.
template <class Real> void drop_groups(RowVector<Real>& score, int n_group, int topk_group) {
  const int64_t size = score.size() / n_group;
  std::vector<Real> group_score(static_cast<size_t>(n_group));
  for (int g = 0; g < n_group; ++g) {
    Real best = -std::numeric_limits<Real>::infinity(), second = best;
    for (const Real s : score.segment(g * size, size)) {
      if (s > best)
        second = std::exchange(best, s);
      else
        second = std::max(second, s);
    }
    group_score[static_cast<size_t>(g)] = best + second;
  }
  const std::vector<int32_t> kept = top_k(group_score.data(), n_group, topk_group);
  for (int g = 0; g < n_group; ++g)
    if (std::find(kept.begin(), kept.end(), g) == kept.end())
      score.segment(g * size, size).setConstant(-std::numeric_limits<Real>::infinity());
}

// Routes every token by its router logits [T, num_experts]; expert_bias [num_experts] or empty. `scores` receives what
// the router makes of the logits (softmax or sigmoid), [T, num_experts].
template <class Real>
Route<Real> route(const Matrix<Real>& logits, const RowVector<Real>& expert_bias, const ModelConfig& config,
                  Matrix<Real>& scores) {
  const int64_t T = logits.rows(), k = config.num_experts_per_tok;
  Route<Real> r{{}, Matrix<Real>(T, k)};
  r.experts.resize(T, k);
  scores = logits;
  const auto route_token = [&](int64_t t) {
    auto s = scores.row(t);
    switch (config.router) {
      case Router::softmax_topk:
        s = (s.array() - s.maxCoeff()).exp();
        s /= s.sum();
        break;
      case Router::sigmoid_topk: s = s.unaryExpr(&sigmoid<Real>); break;
      case Router::topk_softmax: break;  // softmax over the chosen ones, below
    }
    RowVector<Real> choice = s;  // what the selection looks at
    if (expert_bias.size() > 0) choice += expert_bias;
    if (config.n_group > 1) drop_groups(choice, config.n_group, config.topk_group);
    std::vector<int32_t> chosen = top_k(choice.data(), choice.size(), k);
    std::stable_sort(chosen.begin(), chosen.end(), [&](int32_t a, int32_t b) { return s(a) > s(b); });
    auto w = r.weights.row(t);
    for (int64_t j = 0; j < k; ++j) {
      r.experts(t, j) = chosen[static_cast<size_t>(j)];
      w(j) = s(r.experts(t, j));
    }
    if (config.router == Router::topk_softmax) {
      w = (w.array() - w.maxCoeff()).exp();
      w /= w.sum();
    } else {
      if (config.norm_topk_prob && k > 1) w /= w.sum() + Real(1e-20);
      w *= static_cast<Real>(config.routed_scaling_factor);
    }
  };
  parallel_rows(T, 100.0 * static_cast<double>(logits.size()), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) route_token(t);
  });
  return r;
}

// Balanced override for timing: token t's choice j is expert (t k + j) mod E, all weights 1/k.
template <class Real> Route<Real> uniform_route(int64_t T, int64_t first_token, const ModelConfig& config) {
  const int64_t k = config.num_experts_per_tok;
  Route<Real> r{{}, Matrix<Real>::Constant(T, k, Real(1) / static_cast<Real>(k))};
  r.experts.resize(T, k);
  for (int64_t t = 0; t < T; ++t)
    for (int64_t j = 0; j < k; ++j)
      r.experts(t, j) = static_cast<int32_t>(((first_token + t) * k + j) % config.num_experts);
  return r;
}

// y_t = sum_j weights(t, j) expert_{experts(t, j)}(x_t). x [T, hidden_size]; returns the same shape. `activations`:
// rounding of every expert's SwiGLU and output.
template <class Real>
Matrix<Real> mixture(const Matrix<Real>& x, const Route<Real>& r, const std::vector<Mlp<Real>>& experts,
                     const ModelConfig& config, Rounding activations = Rounding::none) {
  const int64_t T = x.rows(), k = r.experts.cols();
  std::vector<std::vector<int64_t>> pairs(experts.size());  // expert -> its (token, choice) pairs as t k + j
  for (int64_t p = 0; p < T * k; ++p) pairs[static_cast<size_t>(r.experts(p / k, p % k))].push_back(p);

  struct Task {
    size_t expert, begin, end;
  };
  std::vector<Task> tasks;  // at most 128 tokens of one expert each
  for (size_t e = 0; e < pairs.size(); ++e)
    for (size_t begin = 0; begin < pairs[e].size(); begin += 128)
      tasks.push_back({e, begin, std::min(begin + 128, pairs[e].size())});

  Matrix<Real> each(T * k, x.cols());  // each pair's expert output; summed afterwards in a fixed order
  const double flops =
      2.0 * static_cast<double>(T * k) * 3.0 * static_cast<double>(x.cols() * config.moe_intermediate_size);
  parallel_for(static_cast<int64_t>(tasks.size()), flops, [&](int64_t i) {
    const Task& task = tasks[static_cast<size_t>(i)];
    const Mlp<Real>& w = experts[task.expert];
    const int64_t rows = static_cast<int64_t>(task.end - task.begin);
    const auto pair = [&](int64_t row) { return pairs[task.expert][task.begin + static_cast<size_t>(row)]; };
    Matrix<Real> in(rows, x.cols());
    for (int64_t row = 0; row < rows; ++row) in.row(row) = x.row(pair(row) / k);
    Matrix<Real> gate = in * w.gate.transpose(), up = in * w.up.transpose();
    if (w.gate_bias.size() > 0) gate.rowwise() += w.gate_bias, up.rowwise() += w.up_bias;
    swiglu<Real>(gate, up, config);
    round_matrix(activations, gate);
    Matrix<Real> out = gate * w.down.transpose();
    if (w.down_bias.size() > 0) out.rowwise() += w.down_bias;
    round_matrix(activations, out);
    for (int64_t row = 0; row < rows; ++row) each.row(pair(row)) = out.row(row);
  });

  Matrix<Real> y = Matrix<Real>::Zero(T, x.cols());
  parallel_rows(T, 2.0 * static_cast<double>(each.size()), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t j = 0; j < k; ++j) y.row(t) += r.weights(t, j) * each.row(t * k + j);
  });
  return y;
}

}  // namespace ringbench
