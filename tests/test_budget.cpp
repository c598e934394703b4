// Error budgets: distances, what they may be, and what cannot be trusted.
#include <cmath>
#include <limits>
#include <vector>

#include "harness/budget.h"
#include "tests/catch.h"

using namespace ringbench;

namespace {

const double kNan = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();

std::vector<double> wave(size_t n, double size = 1) {
  std::vector<double> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = size * std::sin(0.7 * static_cast<double>(i) + 1);
  return values;
}

}  // namespace

TEST_CASE("a distance is in units of the truth's root mean square: the same for small and large values") {
  for (const double size : {1e-6, 1.0, 1e6}) {
    const std::vector<double> truth = wave(1000, size);
    std::vector<double> values = truth;
    for (double& x : values) x *= 1.01;
    const Discrepancy d = discrepancy(values, truth);
    CHECK(d.masks_agree);
    CHECK(d.trustworthy);
    CHECK(std::abs(d.rms - 0.01) <= 1e-12);
    CHECK(std::abs(d.max - 0.01 * std::sqrt(2.0)) <= 1e-4);  // of a sine, the peak is sqrt(2) times the rms
  }
}

TEST_CASE("NaN and infinity count where only one side has them, and name the element") {
  std::vector<double> truth = wave(10), values = truth;
  values[3] = kNan;
  CHECK_FALSE(discrepancy(values, truth).masks_agree);
  CHECK(discrepancy(values, truth).worst == 3);
  CHECK_FALSE(judge(discrepancy(values, truth), {}, 1).pass);
  truth[3] = kNan;
  CHECK(discrepancy(values, truth).masks_agree);
  truth[4] = kInfinity;
  CHECK_FALSE(discrepancy(values, truth).masks_agree);
  values[4] = -kInfinity;
  CHECK_FALSE(discrepancy(values, truth).masks_agree);
  values[4] = kInfinity;
  CHECK(discrepancy(values, truth).masks_agree);
  CHECK_FALSE(discrepancy(wave(9), wave(10)).masks_agree);
}

TEST_CASE("a truth that is zero, constant or at its limits is not to be trusted") {
  CHECK(discrepancy(wave(100), wave(100)).trustworthy);
  const std::vector<double> zeros(100, 0.0), ones(100, 1.0);
  CHECK_FALSE(discrepancy(zeros, zeros).trustworthy);
  CHECK_FALSE(discrepancy(ones, ones).trustworthy);
  std::vector<double> few(100, 0.0), saturated(100, 5.0);
  for (size_t i = 0; i < 8; ++i) few[i] = static_cast<double>(i) + 1, saturated[i] = static_cast<double>(i) / 2;
  for (size_t i = 8; i < 100; i += 2) saturated[i] = -5;
  CHECK_FALSE(discrepancy(few, few).trustworthy);
  CHECK_FALSE(discrepancy(saturated, saturated).trustworthy);
  for (size_t i = 8; i < 20; ++i) few[i] = saturated[i] = 1 / (1 + static_cast<double>(i));
  CHECK(discrepancy(few, few).trustworthy);
  CHECK(discrepancy(saturated, saturated).trustworthy);
  const std::vector<double> nothing(3, kNan);
  CHECK_FALSE(discrepancy(nothing, nothing).trustworthy);
}

TEST_CASE("a candidate passes up to twice the unavoidable error, four times its largest, or the floor") {
  const auto with = [](double rms, double max) {
    Discrepancy d;
    d.rms = rms, d.max = max;
    return d;
  };
  const Discrepancy unavoidable = with(1e-3, 5e-3);
  CHECK(judge(with(2e-3, 2e-2), unavoidable, 1e-6).pass);
  CHECK_FALSE(judge(with(2.1e-3, 1e-2), unavoidable, 1e-6).pass);
  CHECK_FALSE(judge(with(1e-3, 2.1e-2), unavoidable, 1e-6).pass);
  CHECK(judge(with(9e-3, 7e-2), unavoidable, 1e-2).pass);
  CHECK_FALSE(judge(with(kNan, 0), unavoidable, 1e-2).pass);
  CHECK_FALSE(judge(with(0, kNan), unavoidable, 1e-2).pass);
  CHECK(judge(with(9e-3, 7e-2), unavoidable, 1e-3, {10, 100}).pass);
  CHECK_FALSE(judge(with(1.1e-2, 7e-2), unavoidable, 1e-3, {10, 100}).pass);
  CHECK_FALSE(judge(with(9e-3, 0.9), unavoidable, 1e-3, {10, 100}).pass);
  CHECK(judge(with(3e-3, 0), unavoidable, 1e-6).text.find("worst at element 0") != std::string::npos);
}

TEST_CASE("float sums meet their floor, sums of bf16 values do not") {
  for (const int n : {1, 16, 1000, 100000}) {
    std::vector<double> truth, sums, rounded_sums;
    for (int row = 0; row < 50; ++row) {
      double exact = 0;
      float sum = 0, rounded = 0;
      for (int i = 0; i < n; ++i) {
        const double x = std::sin(12.9898 * i + 78.233 * row);
        exact += x * x;
        const float f = static_cast<float>(x);
        sum += f * f;
        const float b = static_cast<float>(static_cast<int>(x * 256)) / 256;  // 8 bits, as bf16 has
        rounded += b * b;
      }
      truth.push_back(exact), sums.push_back(static_cast<double>(sum)),
          rounded_sums.push_back(static_cast<double>(rounded));
    }
    INFO(n);
    CHECK(discrepancy(sums, truth).rms <= float_floor(n));
    CHECK(discrepancy(rounded_sums, truth).rms > float_floor(n));
  }
}
