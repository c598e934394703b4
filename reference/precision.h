// precision.h: where values are rounded, and to what. One policy for error budgets (the reference with a candidate's
// own rounding points) and for ablations (which of them moves the output, and how far).
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>

#include "reference/bf16.h"

namespace ringbench {

enum class Rounding { none, f32, bf16, fp8_e4m3, tf32, f16 };

// Rounding points of one forward pass, in the order a token meets them. `none` keeps the engine's arithmetic type.
struct Precision {
  Rounding weights = Rounding::none;      // every matrix, as it is loaded
  Rounding residual = Rounding::none;     // the stream between blocks
  Rounding norm = Rounding::none;         // outputs of RMSNorm
  Rounding activations = Rounding::none;  // outputs of projections, gates, SwiGLU, experts and MLPs
  Rounding qkv = Rounding::none;          // q, k, v as they enter attention
  Rounding kv_cache = Rounding::none;     // keys and values as they are kept
  Rounding operands = Rounding::none;     // inside attention: what tensor cores multiply (P; decayed scores, keys; S)
  Rounding state = Rounding::none;        // the linear state, after every forward call and chunk of it
  Rounding attention = Rounding::none;    // attention's output before gate and projection
  Rounding router = Rounding::none;       // router logits
  Rounding lm_head = Rounding::none;      // logits

  bool operator==(const Precision&) const = default;
};

// Of engines for GPUs that compute in `real`: their linear state, their router and their logits are f32 in any case.
constexpr Precision mixed_precision(Rounding real) {
  return {.weights = real,
          .residual = real,
          .norm = real,
          .activations = real,
          .qkv = real,
          .kv_cache = real,
          .operands = real,
          .state = Rounding::f32,
          .attention = real,
          .router = Rounding::f32,
          .lm_head = Rounding::f32};
}

// The nearest value of fp8 e4m3 (3 bits of mantissa, largest 448), ties to even; `x` beyond 448 becomes 448.
inline double nearest_e4m3(double x) {
  if (x == 0 || !std::isfinite(x)) return x;
  const int exponent = std::max(std::ilogb(x), -6);  // below 2^-6 the spacing stays that of the smallest normals
  const double spacing = std::ldexp(1.0, exponent - 3);
  return std::clamp(std::nearbyint(x / spacing) * spacing, -448.0, 448.0);
}

// What a tensor core reads of an f32: 10 bits of mantissa; the rest is ignored.
inline double truncated_tf32(double x) {
  return static_cast<double>(std::bit_cast<float>(std::bit_cast<uint32_t>(static_cast<float>(x)) & 0xffffe000u));
}

// The nearest half (10 bits of mantissa, smallest normal 2^-14), ties to even; beyond 65504 infinity.
inline double nearest_f16(double x) {
  if (x == 0 || !std::isfinite(x)) return x;
  const double spacing = std::ldexp(1.0, std::max(std::ilogb(x), -14) - 10);
  const double nearest = std::nearbyint(x / spacing) * spacing;
  return std::abs(nearest) <= 65504 ? nearest : std::copysign(std::numeric_limits<double>::infinity(), x);
}

// Rounds every value; fp8 with one scale (largest magnitude / 448) for each run of `row` values, as fp8 kernels do.
template <class Real> void round_to(Rounding rounding, std::span<Real> values, size_t row) {
  switch (rounding) {
    case Rounding::none: return;
    case Rounding::f32:
      for (Real& x : values) x = static_cast<Real>(static_cast<float>(x));
      return;
    case Rounding::bf16:
      for (Real& x : values) x = static_cast<Real>(static_cast<float>(bf16(static_cast<float>(x))));
      return;
    case Rounding::tf32:
      for (Real& x : values) x = static_cast<Real>(truncated_tf32(static_cast<double>(x)));
      return;
    case Rounding::f16:
      for (Real& x : values) x = static_cast<Real>(nearest_f16(static_cast<double>(x)));
      return;
    case Rounding::fp8_e4m3:
      for (size_t begin = 0; begin < values.size(); begin += row) {
        const std::span<Real> part = values.subspan(begin, std::min(row, values.size() - begin));
        Real largest = 0;
        for (const Real x : part) largest = std::max(largest, std::abs(x));
        if (!(largest > 0)) continue;
        const double scale = static_cast<double>(largest) / 448.0;
        for (Real& x : part) x = static_cast<Real>(nearest_e4m3(static_cast<double>(x) / scale) * scale);
      }
      return;
  }
}

}  // namespace ringbench
