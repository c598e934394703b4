// lightning_attention.h: linear attention with a constant decay per head (arXiv:2401.04658, arXiv:2510.19338), as a
// recurrence and in chunks.
//
//   kv_t = lambda kv_{t-1} + k_t^T v_t        lambda = exp(log_decay)
//   o_t  = scale q_t kv_t                     scale = head_dim^-1/2
//
// Decays are formed as exp(n log_decay) from the slope, never by multiplying lambdas, and the state is never narrower
// than f32: both errors grow with the context (a bf16 state loses most of what it should remember).
#pragma once

#include <cmath>
#include <vector>

#include "reference/linear_algebra.h"

namespace ringbench {

// One head, token by token. q, k, v [T, head_dim]; kv [head_dim (k), head_dim (v)] in and out; writes o [T, head_dim].
template <class Real>
void lightning_attention_recurrent(const ConstRows2d<Real>& q, const ConstRows2d<Real>& k, const ConstRows2d<Real>& v,
                                   double log_decay, Matrix<Real>& kv, Rows2d<Real> o) {
  const Real scale = Real(1) / std::sqrt(static_cast<Real>(q.cols()));
  // lambda kv as kv - (1 - lambda) kv: near 1, a rounded lambda is far from lambda, a rounded 1 - lambda is not.
  const Real forget = static_cast<Real>(-std::expm1(log_decay));
  for (int64_t t = 0; t < q.rows(); ++t) {
    kv -= forget * kv;
    kv.noalias() += k.row(t).transpose() * v.row(t);
    o.row(t).noalias() = (scale * q.row(t)) * kv;
  }
}

// The same in chunks of C tokens. Within a chunk (i, j count from its start, S is the state before it):
//   o_i = scale ( lambda^(i+1) q_i S + sum_{j <= i} lambda^(i-j) (q_i . k_j) v_j )
//   S  <- lambda^C S + sum_j lambda^(C-1-j) k_j^T v_j
// `operands`: rounding of what a tensor core would multiply: decayed scores, S where q meets it, decayed keys.
template <class Real>
void lightning_attention_chunked(const ConstRows2d<Real>& q, const ConstRows2d<Real>& k, const ConstRows2d<Real>& v,
                                 double log_decay, Matrix<Real>& kv, Rows2d<Real> o, int64_t C = 64,
                                 Rounding operands = Rounding::none) {
  const int64_t T = q.rows(), d = q.cols();
  const Real scale = Real(1) / std::sqrt(static_cast<Real>(d));
  // lambda^n for n = 0..C. What is below 1e-30 is set to zero: no effect, and no denormals, which are slow.
  Eigen::Matrix<Real, Eigen::Dynamic, 1> power(C + 1);
  for (int64_t n = 0; n <= C; ++n) {
    const double decay = std::exp(static_cast<double>(n) * log_decay);
    power(n) = decay < 1e-30 ? Real(0) : static_cast<Real>(decay);
  }
  Matrix<Real> decay_mask = Matrix<Real>::Zero(C, C);  // lambda^(i-j) where j <= i
  for (int64_t i = 0; i < C; ++i)
    for (int64_t j = 0; j <= i; ++j) decay_mask(i, j) = power(i - j);

  Matrix<Real> qs, ks, scores, state;
  for (int64_t begin = 0; begin < T; begin += C) {
    const int64_t c = std::min(C, T - begin);
    const auto q_c = q.middleRows(begin, c), k_c = k.middleRows(begin, c), v_c = v.middleRows(begin, c);
    auto o_c = o.middleRows(begin, c);
    qs.noalias() = scale * q_c;
    scores.noalias() = qs * k_c.transpose();
    scores.array() *= decay_mask.topLeftCorner(c, c).array();
    round_matrix(operands, scores);
    o_c.noalias() = scores * v_c;
    qs.array().colwise() *= power.segment(1, c).array();
    if (operands == Rounding::none) {
      o_c.noalias() += qs * kv;
    } else {
      state = kv;
      round_matrix(operands, state);
      o_c.noalias() += qs * state;
    }
    ks = k_c.array().colwise() * power.head(c).reverse().array();
    round_matrix(operands, ks);
    kv *= power(c);
    kv.noalias() += ks.transpose() * v_c;
  }
}

}  // namespace ringbench
