// rope.h: rotary position embedding, half-split (NeoX) form on the leading dims of each head, with YaRN.
#pragma once

#include <cmath>
#include <numbers>
#include <optional>
#include <vector>

#include "reference/config.h"
#include "reference/engine.h"
#include "reference/linear_algebra.h"

namespace ringbench {

// Radians per position of each rotated pair, [rotary_dim / 2]. Plain: theta^(-2j/D). YaRN (arXiv:2309.00071) blends
// with the same over `factor`: dims that turn more than beta_fast times within the original window keep their
// frequency, those that turn less than beta_slow times are stretched, a linear ramp lies between.
inline std::vector<double> inverse_frequencies(int rotary_dim, double theta, const std::optional<RopeScaling>& yarn) {
  const double D = rotary_dim;
  std::vector<double> frequencies(static_cast<size_t>(rotary_dim / 2));
  double low = 0, high = 0;
  if (yarn) {
    // The (fractional) pair that turns `turns` times within the original window.
    const auto dim_of = [&](double turns) {
      const double window = static_cast<double>(yarn->original_max_position_embeddings);
      return D * std::log(window / (2 * std::numbers::pi * turns)) / (2 * std::log(theta));
    };
    low = dim_of(yarn->beta_fast);
    high = dim_of(yarn->beta_slow);
    if (yarn->truncate) low = std::floor(low), high = std::ceil(high);
    low = std::max(low, 0.0);
    high = std::min(high, D - 1);
    if (low == high) high += 0.001;
  }
  for (size_t j = 0; j < frequencies.size(); ++j) {
    frequencies[j] = std::pow(theta, -2.0 * static_cast<double>(j) / D);
    if (yarn) {
      const double ramp = std::clamp((static_cast<double>(j) - low) / (high - low), 0.0, 1.0);
      frequencies[j] *= (1 - ramp) + ramp / yarn->factor;
    }
  }
  return frequencies;
}

// cos and sin of some positions, YaRN's attention factor included; both [T, rotary_dim / 2].
template <class Real> struct RopeTable {
  Matrix<Real> cos, sin;

  // Angles in f64: at position 500,000 an f32 angle is off by 1e-2 rad. RopeAngles::f32 reproduces codes that do that.
  RopeTable(const std::vector<double>& frequencies, double factor, const std::vector<int64_t>& positions,
            RopeAngles angles) {
    const int64_t T = static_cast<int64_t>(positions.size()), half = static_cast<int64_t>(frequencies.size());
    cos.resize(T, half);
    sin.resize(T, half);
    parallel_rows(T, 50.0 * static_cast<double>(cos.size()), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        for (int64_t j = 0; j < half; ++j) {
          const int64_t position = positions[static_cast<size_t>(t)];
          const double frequency = frequencies[static_cast<size_t>(j)];
          const double angle = angles == RopeAngles::f64
                                   ? static_cast<double>(position) * frequency
                                   : static_cast<double>(static_cast<float>(position) * static_cast<float>(frequency));
          cos(t, j) = static_cast<Real>(factor * std::cos(angle));
          sin(t, j) = static_cast<Real>(factor * std::sin(angle));
        }
      }
    });
  }
};

// Rotates every head of x [T, heads * head_dim] in place: pair (a, b) = (x_j, x_{j + r/2}) -> (a cos - b sin,
// b cos + a sin) for j < r/2, r = rotary_dim; the other dims pass through. Row t of the table belongs to row t of x.
template <class Real> void apply_rope(Matrix<Real>& x, int64_t head_dim, const RopeTable<Real>& table) {
  const int64_t half = table.cos.cols();
  parallel_rows(x.rows(), 6.0 * static_cast<double>(x.size()), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const Real *cos = table.cos.row(t).data(), *sin = table.sin.row(t).data();
      for (Real* head = x.row(t).data(); head != x.row(t).data() + x.cols(); head += head_dim) {
        for (int64_t j = 0; j < half; ++j) {
          const Real a = head[j], b = head[j + half];
          head[j] = a * cos[j] - b * sin[j];
          head[j + half] = b * cos[j] + a * sin[j];
        }
      }
    }
  });
}

}  // namespace ringbench
