// variants.h: runs every variant of an operator that can, and what comparisons of rows of numbers need.
#pragma once

#include <Eigen/Core>
#include <set>
#include <string>
#include <vector>

#include "reference/linear_algebra.h"
#include "tests/cuda/operators.h"

namespace ringbench::RINGBENCH_BACKEND {

inline Matrix<double> to_matrix(const std::vector<double>& values, int64_t rows, int64_t columns) {
  return Eigen::Map<const Matrix<double>>(values.data(), rows, columns);
}
inline RowVector<double> to_row(const std::vector<double>& values) {
  return Eigen::Map<const RowVector<double>>(values.data(), static_cast<Eigen::Index>(values.size()));
}
inline std::vector<double> to_vector(const Matrix<double>& m) { return {m.data(), m.data() + m.size()}; }

// bf16: the nearest values, as doubles. float: as they are; what float arithmetic loses is the floor of every budget.
template <class Real> std::vector<double> as_stored(std::vector<double> values) {
  if constexpr (std::is_same_v<Real, bf16>)
    for (double& x : values) x = to_double(to_real<bf16>(x));
  return values;
}
template <class Real> Matrix<double> as_stored(const Matrix<double>& m) {
  return to_matrix(as_stored<Real>(to_vector(m)), m.rows(), m.cols());
}

template <class Real> const char* name_of_type() { return std::is_same_v<Real, bf16> ? "bf16" : "float"; }

template <class T> void refill(const DeviceBuffer<T>& buffer, const std::vector<T>& values) {
  copy_to_device(buffer.data(), values.data(), buffer.size(), Stream{});
  synchronize(Stream{});
}

// Calls test(kernel, "operator variant, what") for every variant that supports the arguments; requires that all of
// `expected` were among them.
template <class Args, class Test>
void for_variants(const Args& args, const std::set<std::string>& expected, const std::string& what, const Test& test) {
  std::set<std::string> ran;
  for (const Kernel<Args>& kernel : kernels<Args>()) {
    if (!kernel.supports(args, current_device())) continue;
    ran.emplace(kernel.name);
    test(kernel, std::string(Args::op) + " " + std::string(kernel.name) + ", " + what);
  }
  for (const std::string& name : expected) {
    INFO(what << ": variant " << name);
    CHECK(ran.contains(name));
  }
}

}  // namespace ringbench::RINGBENCH_BACKEND
