// statistics.cpp: see statistics.h. The only file that includes Boost.
#include "harness/statistics.h"

#include <algorithm>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <map>
#include <numeric>
#include <stdexcept>

#include "reference/random.h"

namespace ringbench {
namespace {

namespace math = boost::math;

// In double precision throughout, not in long double and rounded: 100,000 rows are compared while somebody waits.
using StudentT = math::students_t_distribution<double, math::policies::policy<math::policies::promote_double<false>>>;

constexpr size_t min_samples = 6;  // what an interval of a median needs
constexpr size_t max_ratios = 1000000;
constexpr size_t resamples = 2000;  // 50 beyond each end of the interval

bool all_positive(std::span<const double> samples) {
  return std::all_of(samples.begin(), samples.end(), [](double x) { return x > 0 && std::isfinite(x); });
}

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return values.size() % 2 == 1 ? *middle : (*middle + *std::max_element(values.begin(), middle)) / 2;
}

std::vector<size_t> sorted_order(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  return order;
}

// Median of a resampling of as many values, where values[i] was drawn times[i] times. `order`: sorted_order(values).
double resampled_median(std::span<const double> values, const std::vector<size_t>& order,
                        const std::vector<size_t>& times) {
  const size_t n = values.size(), lower = (n - 1) / 2, upper = n / 2;  // ranks of the middle ones, from 0
  size_t at = 0, passed = times[order[0]];                             // drawn values up to order[at]
  while (passed <= lower) passed += times[order[++at]];
  const double low = values[order[at]];
  while (passed <= upper) passed += times[order[++at]];
  return n % 2 == 1 ? low : (low + values[order[at]]) / 2;
}

double nth(std::vector<double>& values, int64_t rank) {  // 1-based
  const auto place = values.begin() + (rank - 1);
  std::nth_element(values.begin(), place, values.end());
  return *place;
}

// In how many orders of n and m values each U comes about: f(j, i, u) = f(j - 1, i, u - i) + f(j, i - 1, u), by
// whether the largest is one of the j or of the i (Mann and Whitney 1947). Doubles are near enough to the counts.
std::vector<double> mann_whitney_counts(int64_t n, int64_t m) {
  std::vector<std::vector<double>> counts(static_cast<size_t>(n) + 1,
                                          std::vector<double>(static_cast<size_t>(n * m) + 1));
  for (auto& of_j : counts) of_j[0] = 1;  // i = 0
  for (size_t i = 1; i <= static_cast<size_t>(m); ++i)
    for (size_t j = 1; j < counts.size(); ++j)
      for (size_t u = i; u < counts[j].size(); ++u) counts[j][u] += counts[j - 1][u - i];
  return counts.back();
}

int64_t exact_rank(int64_t n, int64_t m) {
  const std::vector<double> counts = mann_whitney_counts(n, m);
  const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
  int64_t rank = 0;
  for (double below = counts[0]; 2 * below <= 0.05 * total; below += counts[static_cast<size_t>(rank)]) ++rank;
  return rank;
}

}  // namespace

std::optional<std::pair<int64_t, int64_t>> median_interval_ranks(int64_t n) {
  using Policy = math::policies::policy<math::policies::discrete_quantile<math::policies::integer_round_down>>;
  const math::binomial_distribution<double, Policy> count(static_cast<double>(std::max<int64_t>(n, 1)), 0.5);
  if (!(cdf(count, 0.0) <= 0.025)) return std::nullopt;
  const auto low = static_cast<int64_t>(quantile(count, 0.025)) + 1;  // one more than the largest count that unlikely
  return std::pair{low, n + 1 - low};
}

double student_t_quantile(double probability, double degrees_of_freedom) {
  if (!(degrees_of_freedom >= 1)) throw std::invalid_argument("student_t: at least one degree of freedom");
  return quantile(StudentT(degrees_of_freedom), probability);
}

double student_t_beyond(double t, double degrees_of_freedom) {
  if (!(degrees_of_freedom >= 1)) throw std::invalid_argument("student_t: at least one degree of freedom");
  return 2 * cdf(StudentT(degrees_of_freedom), -std::abs(t));
}

int64_t mann_whitney_rank(int64_t n, int64_t m) {
  if (n < 1 || m < 1) return 0;
  if (n * m > 2500) {
    const auto a = static_cast<double>(n), b = static_cast<double>(m);
    const double sigma = std::sqrt(a * b * (a + b + 1) / 12);
    return std::max<int64_t>(0, std::llround(std::floor(a * b / 2 + 0.5 + quantile(math::normal(), 0.025) * sigma)));
  }
  thread_local std::map<std::pair<int64_t, int64_t>, int64_t> known;
  const auto [place, fresh] = known.emplace(std::pair{n, m}, 0);
  if (fresh) place->second = exact_rank(n, m);
  return place->second;
}

std::optional<RatioInterval> ratio_of_samples(std::span<const double> first, std::span<const double> second) {
  if (std::min(first.size(), second.size()) < min_samples || first.size() > max_ratios / second.size() ||
      !all_positive(first) || !all_positive(second))
    return std::nullopt;
  std::vector<double> ratios;
  ratios.reserve(first.size() * second.size());
  for (const double a : first)
    for (const double b : second) ratios.push_back(b / a);
  const int64_t low = mann_whitney_rank(static_cast<int64_t>(first.size()), static_cast<int64_t>(second.size()));
  const int64_t high = static_cast<int64_t>(ratios.size()) + 1 - low;
  // Between the two middle ones: the geometric mean, so that the ratio the other way round is its inverse.
  const auto half = static_cast<int64_t>(ratios.size() / 2);
  const double upper = nth(ratios, half + 1);
  const double value = ratios.size() % 2 == 1 ? upper : std::sqrt(upper * nth(ratios, half));
  return RatioInterval{value, nth(ratios, low), nth(ratios, high)};
}

std::optional<double> ratio_of_paired_medians(std::span<const double> first, std::span<const double> second) {
  if (first.size() != second.size() || first.size() < min_samples || !all_positive(first) || !all_positive(second))
    return std::nullopt;
  return median_of({second.begin(), second.end()}) / median_of({first.begin(), first.end()});
}

std::optional<RatioInterval> ratio_of_pairs(std::span<const double> first, std::span<const double> second) {
  const std::optional<double> value = ratio_of_paired_medians(first, second);
  if (!value) return std::nullopt;
  const size_t n = first.size();
  const std::vector<size_t> first_order = sorted_order(first), second_order = sorted_order(second);
  const uint64_t key = random_key(0, "bootstrap");
  uint64_t drawn = 0;
  std::vector<double> ratios(resamples);
  std::vector<size_t> times(n);  // that each pair is drawn
  for (double& ratio : ratios) {
    std::fill(times.begin(), times.end(), 0);
    for (size_t i = 0; i < n; ++i) ++times[static_cast<size_t>((random_bits(key, drawn++) >> 32) * n >> 32)];
    ratio = resampled_median(second, second_order, times) / resampled_median(first, first_order, times);
  }
  constexpr auto beyond = static_cast<int64_t>(resamples / 40);
  return RatioInterval{*value, nth(ratios, beyond + 1), nth(ratios, static_cast<int64_t>(resamples) - beyond)};
}

double false_discovery_level(std::vector<double> p_values, double rate) {
  if (p_values.empty()) return rate;
  std::sort(p_values.begin(), p_values.end());
  const auto count = static_cast<double>(p_values.size());
  size_t found = p_values.size();
  while (found > 1 && p_values[found - 1] > rate * static_cast<double>(found) / count) --found;
  return rate * static_cast<double>(found) / count;
}

double one_sided_spread(std::vector<double> magnitudes) {
  if (magnitudes.size() < 4) return 0;
  const auto rank = static_cast<int64_t>(std::ceil(0.75 * static_cast<double>(magnitudes.size())));
  return nth(magnitudes, rank) / quantile(math::normal(), 0.875);  // below it: 3/4 of this side, 7/8 of all
}

}  // namespace ringbench
