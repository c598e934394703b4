#include "harness/budget.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>

namespace ringbench {

Discrepancy discrepancy(std::span<const double> values, std::span<const double> truth) {
  Discrepancy d;
  if (values.size() != truth.size()) {
    d.masks_agree = false;
    return d;
  }
  double squares = 0, error_squares = 0, sum = 0, largest = 0;
  int64_t count = 0, zeros = 0;
  for (const double t : truth)
    if (std::isfinite(t)) largest = std::max(largest, std::abs(t));
  int64_t saturated = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    const double t = truth[i], v = values[i];
    if (!std::isfinite(t) || !std::isfinite(v)) {
      const bool same = (std::isnan(t) && std::isnan(v)) || t == v;
      if (!same && d.masks_agree) d.masks_agree = false, d.worst = static_cast<int64_t>(i);
      continue;
    }
    const double error = std::abs(v - t);
    squares += t * t;
    sum += t;
    error_squares += error * error;
    zeros += t == 0;
    saturated += std::abs(t) >= (1 - 1e-6) * largest;
    ++count;
    if (error > d.max) {
      d.max = error;
      if (d.masks_agree) d.worst = static_cast<int64_t>(i);
    }
  }
  if (count == 0) {
    d.trustworthy = false;
    return d;
  }
  const double n = static_cast<double>(count), rms = std::sqrt(squares / n), mean = sum / n;
  const double variance = squares / n - mean * mean;
  d.trustworthy = static_cast<double>(zeros) <= 0.9 * n && (count < 4 || static_cast<double>(saturated) <= 0.9 * n) &&
                  (count == 1 || variance > 1e-24 * squares / n);
  const double unit = rms > 0 ? rms : 1;
  d.rms = std::sqrt(error_squares / n) / unit;
  d.max /= unit;
  return d;
}

bool same_bits(std::span<const double> a, std::span<const double> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](double x, double y) { return std::bit_cast<uint64_t>(x) == std::bit_cast<uint64_t>(y); });
}

double float_floor(double length) { return std::ldexp(8 + 2 * std::sqrt(std::max(1.0, length)), -24); }

Judgement judge(const Discrepancy& candidate, const Discrepancy& unavoidable, double floor, const Gain& gain) {
  Judgement j;
  j.budget = std::max(floor * gain.rms, kTolerance * unavoidable.rms);
  const double peak = unavoidable.rms > 0 ? unavoidable.max / unavoidable.rms : 0;
  j.max_budget = std::max({8 * floor * gain.max, kTolerance * peak * floor, kMaxTolerance * unavoidable.max});
  j.pass = candidate.masks_agree && candidate.rms <= j.budget && candidate.max <= j.max_budget;
  char text[160];
  std::snprintf(text, sizeof text, "rms %.2e of %.2e, max %.2e of %.2e", candidate.rms, j.budget, candidate.max,
                j.max_budget);
  j.text = text;
  if (!candidate.masks_agree)
    j.text = "NaN or infinity where the truth has none (or the reverse), element " + std::to_string(candidate.worst);
  else if (!j.pass)
    j.text += ", worst at element " + std::to_string(candidate.worst);
  return j;
}

}  // namespace ringbench
