// statistics.h: distributions, and how sure one can be of a median or of a ratio of two times. Not when to stop
// measuring (measure.h), and not what follows from a ratio (compare.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace ringbench {

// 1-based ranks (low, high) of the order statistics that enclose the median with at least 95 % confidence, whatever
// the distribution: the narrowest symmetric pair with 2 P(Binomial(n, 1/2) < low) <= 0.05. Empty below n = 6.
std::optional<std::pair<int64_t, int64_t>> median_interval_ranks(int64_t n);

// Student's t: the value that a share of `probability` lies below, and the share that lies beyond -|t| and |t|.
// Throws std::invalid_argument for fewer degrees of freedom than 1.
double student_t_quantile(double probability, double degrees_of_freedom);
double student_t_beyond(double t, double degrees_of_freedom);

// Of two times, second over first, with its 95 % interval.
struct RatioInterval {
  double value = 1, low = 1, high = 1;
};

// Hodges and Lehmann (1963), on logarithms: the median of all second[j] / first[i]. The interval is distribution-free:
// the order statistics of those ratios that the Mann-Whitney distribution gives. Empty with fewer than 6 samples on a
// side, one that is not above 0, or more than a million pairs.
std::optional<RatioInterval> ratio_of_samples(std::span<const double> first, std::span<const double> second);

// Ratio of the medians, second over first; empty where ratio_of_pairs() is.
std::optional<double> ratio_of_paired_medians(std::span<const double> first, std::span<const double> second);
// Ratio of medians where first[i] and second[i] were measured in turn. The interval is from 2000 resamplings of the
// pairs (percentile bootstrap), the same ones every time. Empty with fewer than 6 pairs, unequal numbers, or a sample
// that is not above 0.
std::optional<RatioInterval> ratio_of_pairs(std::span<const double> first, std::span<const double> second);

// 1-based rank of the lower end of the 95 % interval among n m differences in order: the largest r with
// 2 P(U < r) <= 0.05 for Mann and Whitney's U. Exact up to 2500 differences, normal beyond. 0: there is none.
int64_t mann_whitney_rank(int64_t n, int64_t m);

// Benjamini and Hochberg (1995): p values up to this are found, of which a share `rate` may be chance; where there is
// nothing to find, anything is found with probability `rate`. Intervals at this level of what was found miss the truth
// at that rate too (Benjamini and Yekutieli 2005).
double false_discovery_level(std::vector<double> p_values, double rate);

// Standard deviation of normal values around 0 of which these are the magnitudes on one side: from their upper
// quartile, so that the largest few do not count. 0 with fewer than 4.
double one_sided_spread(std::vector<double> magnitudes);

}  // namespace ringbench
