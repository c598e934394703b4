// norm.h: RMSNorm, whole, per head and per group.
#pragma once

#include "reference/linear_algebra.h"

namespace ringbench {

// RMSNorm over `groups` equal parts of each row: x / sqrt(mean(x^2) + eps) * weight, in place.
// x [T, width]; weight [width], or [width / groups] shared by all groups (qk-norm: one weight for every head).
template <class Real, class Rows>
void group_rms_norm(Eigen::MatrixBase<Rows>& x, const RowVector<Real>& weight, int64_t groups, double eps) {
  const int64_t width = x.cols() / groups;
  const bool shared = weight.size() == width;
  parallel_rows(x.rows(), 4.0 * static_cast<double>(x.size()), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t g = 0; g < groups; ++g) {
        auto part = x.row(t).segment(g * width, width);
        const Real scale = Real(1) / std::sqrt(part.squaredNorm() / static_cast<Real>(width) + static_cast<Real>(eps));
        part = (part * scale).cwiseProduct(weight.segment(shared ? 0 : g * width, width));
      }
    }
  });
}

// RMSNorm over whole rows. x [T, width], weight [width]; returns [T, width].
template <class Real> Matrix<Real> rms_norm(const Matrix<Real>& x, const RowVector<Real>& weight, double eps) {
  Matrix<Real> y = x;
  group_rms_norm(y, weight, 1, eps);
  return y;
}

}  // namespace ringbench
