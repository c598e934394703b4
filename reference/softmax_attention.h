// softmax_attention.h: causal grouped-query attention over a cache, blocked with an online softmax; sliding windows
// and attention sinks.
//
//   o_t = sum_s softmax_s( q_t . k_s / sqrt(head_dim) ) v_s        s <= t, and s > t - window where there is one
#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "reference/linear_algebra.h"

namespace ringbench {

// Queries of one sequence and what they look at.
template <class Real> struct SoftmaxAttention {
  const Matrix<Real>& q;  // [T, heads * head_dim], the last T positions of the sequence
  const Real *k, *v;      // [position + T, kv_heads, head_dim]
  int64_t position;       // of the first query
  int64_t heads, kv_heads, head_dim;
  int64_t window = 0;                  // keys a query sees, its own included; 0: all
  const RowVector<Real>& sinks;        // [heads], a logit in each softmax's denominator without a value; empty: none
  Rounding operands = Rounding::none;  // of exp(score - top) where it multiplies v; its sum stays as it is
};

// Attention of some queries to some of their keys, not yet normalised: what is needed to join it with the rest.
template <class Real> struct PartialSoftmax {
  Matrix<Real> o;                             // [rows, head_dim]: sum of exp(score - top) v
  Eigen::Array<Real, Eigen::Dynamic, 1> top;  // [rows]: largest score so far
  Eigen::Array<Real, Eigen::Dynamic, 1> sum;  // [rows]: sum of exp(score - top)
};

// Tokens [first, first + count) of `a`, one kv head with its group of query heads stacked (row = token * group + g),
// against the keys [key_begin, key_end).
template <class Real>
PartialSoftmax<Real> attend(const SoftmaxAttention<Real>& a, int64_t kv_head, int64_t first, int64_t count,
                            int64_t key_begin, int64_t key_end) {
  constexpr Real kMinusInfinity = -std::numeric_limits<Real>::infinity();
  const int64_t group = a.heads / a.kv_heads, d = a.head_dim, rows = count * group;
  const int64_t key_block = rows <= 32 ? 128 : 512;  // few rows stream the cache through L1, many live in L2
  const Eigen::OuterStride<> stride(a.kv_heads * d);

  Matrix<Real> q(rows, d);
  const Real scale = Real(1) / std::sqrt(static_cast<Real>(d));
  for (int64_t r = 0; r < rows; ++r)
    q.row(r) = scale * a.q.row(first + r / group).segment((kv_head * group + r % group) * d, d);

  PartialSoftmax<Real> p{Matrix<Real>::Zero(rows, d), {}, {}};
  p.top.setConstant(rows, kMinusInfinity);
  p.sum.setZero(rows);
  Matrix<Real> scores;
  for (int64_t key = key_begin; key < key_end; key += key_block) {
    const int64_t keys = std::min(key_block, key_end - key);
    const ConstRows2d<Real> k(a.k + (key * a.kv_heads + kv_head) * d, keys, d, stride);
    const ConstRows2d<Real> v(a.v + (key * a.kv_heads + kv_head) * d, keys, d, stride);
    scores.noalias() = q * k.transpose();
    for (int64_t r = 0; r < rows; ++r) {
      auto row = scores.row(r);
      const int64_t own = a.position + first + r / group;  // the query's position: the last key it may see
      const int64_t seen_end = std::clamp<int64_t>(own + 1 - key, 0, keys);
      const int64_t seen_begin = a.window > 0 ? std::clamp<int64_t>(own + 1 - a.window - key, 0, seen_end) : 0;
      row.head(seen_begin).setConstant(kMinusInfinity);
      row.tail(keys - seen_end).setConstant(kMinusInfinity);
      const Real top = std::max(p.top(r), row.maxCoeff());
      if (top == kMinusInfinity) {  // nothing seen yet
        row.setZero();
        continue;
      }
      row = (row.array() - top).exp();
      const Real shrink = std::exp(p.top(r) - top);
      p.sum(r) = shrink * p.sum(r) + row.sum();
      if (shrink != Real(1)) p.o.row(r) *= shrink;
      p.top(r) = top;
    }
    round_matrix(a.operands, scores);
    p.o.noalias() += scores * v;
  }
  return p;
}

// Returns o [T, heads * head_dim].
template <class Real> Matrix<Real> softmax_attention(const SoftmaxAttention<Real>& a) {
  const int64_t T = a.q.rows(), group = a.heads / a.kv_heads, d = a.head_dim;
  // Prefill: one task a block of 256 stacked rows, over all its keys. Decode: few rows and many keys, so the keys are
  // split too, into fixed runs whose parts are joined in order.
  const int64_t tokens = std::max<int64_t>(1, 256 / group), blocks = ceil_div(T, tokens);
  const int64_t first_key = a.window > 0 ? std::max<int64_t>(0, a.position + 1 - a.window) : 0;
  const int64_t end_key = a.position + T;
  const int64_t split = T * group <= 64 ? 8192 : end_key - first_key;
  const int64_t splits = ceil_div(end_key - first_key, split);

  std::vector<PartialSoftmax<Real>> parts(static_cast<size_t>(a.kv_heads * blocks * splits));
  const double flops = 4.0 * static_cast<double>(T * a.heads * d) * static_cast<double>(end_key - first_key);
  parallel_for(a.kv_heads * blocks * splits, flops, [&](int64_t task) {
    const int64_t s = task % splits, head = task / splits % a.kv_heads;
    const int64_t block = blocks - 1 - task / splits / a.kv_heads;  // longest first
    const int64_t first = block * tokens, count = std::min(tokens, T - first);
    const int64_t last_key = a.position + first + count;  // one beyond what the block's last token sees
    int64_t begin = first_key + s * split;
    if (a.window > 0) begin = std::max(begin, a.position + first + 1 - a.window);
    const int64_t end = std::min(first_key + (s + 1) * split, last_key);
    parts[static_cast<size_t>((block * a.kv_heads + head) * splits + s)] = attend(a, head, first, count, begin, end);
  });

  Matrix<Real> o(T, a.heads * d);
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t h = 0; h < a.heads; ++h) {
      const int64_t block = t / tokens, row = t % tokens * group + h % group;
      const auto* part = &parts[static_cast<size_t>((block * a.kv_heads + h / group) * splits)];
      const bool sink = a.sinks.size() > 0;
      Real top = sink ? a.sinks(h) : -std::numeric_limits<Real>::infinity();
      for (int64_t s = 0; s < splits; ++s) top = std::max(top, part[s].top(row));
      Real sum = sink ? std::exp(a.sinks(h) - top) : Real(0);
      auto out = o.row(t).segment(h * d, d);
      out.setZero();
      for (int64_t s = 0; s < splits; ++s) {
        const Real weight = std::exp(part[s].top(row) - top);
        sum += weight * part[s].sum(row);
        out += weight * part[s].o.row(row);
      }
      out /= sum;
    }
  }
  return o;
}

}  // namespace ringbench
