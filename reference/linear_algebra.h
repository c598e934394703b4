// linear_algebra.h: Eigen's types under the reference's names, the one parallel loop, and the projection y = x W^T.
// Eigen itself is single-threaded here: all parallelism is parallel_for, one level, over independent tasks whose
// number depends on shapes alone, so that results do not depend on the number of threads.
#pragma once

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <exception>
#include <span>

#include "reference/precision.h"

namespace ringbench {

template <class Real> using Matrix = Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class Real> using RowVector = Eigen::Matrix<Real, 1, Eigen::Dynamic>;
// Rows of somebody else's row-major memory, `outerStride` elements apart: one head of [T, heads, head_dim], say.
template <class Real> using Rows2d = Eigen::Map<Matrix<Real>, 0, Eigen::OuterStride<>>;
template <class Real> using ConstRows2d = Eigen::Map<const Matrix<Real>, 0, Eigen::OuterStride<>>;

// Below this much arithmetic, waking other threads costs more than it saves (tens of microseconds).
inline constexpr double kParallelFlops = 2e6;

// Runs task(0) .. task(tasks - 1), in parallel if `flops` (of all tasks together) is worth it. Tasks must be
// independent of each other; the first exception of a task is rethrown when all are done.
template <class Task> void parallel_for(int64_t tasks, [[maybe_unused]] double flops, const Task& task) {
  std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic, 1) if (tasks > 1 && flops >= kParallelFlops)
  for (int64_t i = 0; i < tasks; ++i) {
    try {
      task(i);
    } catch (...) {
#pragma omp critical
      if (!failure) failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The same over rows [0, rows) in blocks of 64: task(first, end).
template <class Task> void parallel_rows(int64_t rows, double flops, const Task& task) {
  parallel_for(ceil_div(rows, 64), flops, [&](int64_t b) { task(b * 64, std::min(rows, b * 64 + 64)); });
}

// y = x W^T. x [T, in], weight [out, in] as checkpoints store it; returns [T, out].
template <class Real> Matrix<Real> project(const Matrix<Real>& x, const Matrix<Real>& weight) {
  constexpr int64_t kRows = 128, kColumns = 256;  // one task: fits L2 with its operands, enough tasks for many cores
  Matrix<Real> y(x.rows(), weight.rows());
  const int64_t row_blocks = ceil_div(x.rows(), kRows), column_blocks = ceil_div(weight.rows(), kColumns);
  const double flops = 2.0 * static_cast<double>(x.rows()) * static_cast<double>(weight.size());
  parallel_for(row_blocks * column_blocks, flops, [&](int64_t task) {
    const int64_t row = task / column_blocks * kRows, column = task % column_blocks * kColumns;
    const int64_t rows = std::min(kRows, x.rows() - row), columns = std::min(kColumns, weight.rows() - column);
    y.block(row, column, rows, columns).noalias() =
        x.middleRows(row, rows) * weight.middleRows(column, columns).transpose();
  });
  return y;
}

// The same with a bias [out], which may be empty.
template <class Real>
Matrix<Real> project(const Matrix<Real>& x, const Matrix<Real>& weight, const RowVector<Real>& bias) {
  Matrix<Real> y = project(x, weight);
  if (bias.size() > 0) y.rowwise() += bias;
  return y;
}

// Rounds every element; fp8 with one scale a row.
template <class Rows> void round_matrix(Rounding rounding, Eigen::PlainObjectBase<Rows>& m) {
  if (rounding != Rounding::none)
    round_to(rounding, std::span(m.data(), static_cast<size_t>(m.size())), static_cast<size_t>(m.cols()));
}

template <class Real> Real sigmoid(Real x) { return Real(1) / (Real(1) + std::exp(-x)); }

}  // namespace ringbench
