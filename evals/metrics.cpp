// metrics.cpp: see metrics.h.
#include "evals/metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <tuple>

#include "reference/random.h"

namespace ringbench {
namespace {

constexpr double kZ95 = 1.959963984540054, kZ80 = 0.8416212335729143;  // of the normal distribution
constexpr size_t kResamplings = 10000;
constexpr double kMostSubsets = 10000;

void require(bool good, const std::string& what) {
  if (!good) throw std::invalid_argument(what);
}

std::string text(int64_t number) { return std::to_string(number); }

void check_counts(int64_t n, int64_t c, int64_t k) {
  require(n >= 1, "n = " + text(n) + ": there are no samples");
  require(c >= 0 && c <= n, text(c) + " right samples of " + text(n));
  require(k >= 1 && k <= n, "k = " + text(k) + " of " + text(n) + " samples");
}

double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// Of the mean, were other values drawn; 0 for one value.
double standard_error(std::span<const double> values, double mean) {
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const auto n = static_cast<double>(values.size());
  return n > 1 ? std::sqrt(squares / (n - 1) / n) : 0;
}

// The share of a vote's winners that are right.
double winner_of(const std::vector<int64_t>& votes_of_class, const std::vector<bool>& is_right) {
  const int64_t most = votes_of_class.empty() ? 0 : *std::max_element(votes_of_class.begin(), votes_of_class.end());
  if (most == 0) return 0;
  int64_t winners = 0, right = 0;
  for (size_t i = 0; i < votes_of_class.size(); ++i)
    if (votes_of_class[i] == most) ++winners, right += is_right[i];
  return static_cast<double>(right) / static_cast<double>(winners);
}

// C(n, k), or more than `limit`.
double subsets(int64_t n, int64_t k, double limit) {
  double count = 1;
  for (int64_t i = 1; i <= std::min(k, n - k) && count <= limit; ++i)
    count *= static_cast<double>(n - std::min(k, n - k) + i) / static_cast<double>(i);
  return count;
}

// The next subset of the same size in lexicographic order; false after the last.
bool next_subset(std::vector<size_t>& chosen, size_t n) {
  const size_t k = chosen.size();
  size_t i = k;
  while (i > 0 && chosen[i - 1] == n - k + i - 1) --i;
  if (i == 0) return false;
  ++chosen[i - 1];
  for (; i < k; ++i) chosen[i] = chosen[i - 1] + 1;
  return true;
}

// Percentile interval of the mean, questions drawn with putting back.
std::pair<double, double> bootstrap(std::span<const double> values) {
  const uint64_t key = random_key(0, "questions");
  const size_t n = values.size();
  std::vector<double> means(kResamplings);
  uint64_t drawn = 0;
  for (double& mean : means) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += values[static_cast<size_t>((random_bits(key, drawn++) >> 32) * n >> 32)];
    mean = sum / static_cast<double>(n);
  }
  std::sort(means.begin(), means.end());
  constexpr size_t beyond = kResamplings / 40;
  return {means[beyond], means[kResamplings - 1 - beyond]};
}

}  // namespace

// C(n-c, k) / C(n, k) is symmetric in c and k: the product with fewer factors. 80-bit floats keep 10^6 of them exact to
// 1e-13.
double pass_at_k(int64_t n, int64_t c, int64_t k) {
  check_counts(n, c, k);
  if (n - c < k) return 1;
  const int64_t factors = std::min(c, k), other = std::max(c, k);
  long double none = 1;
  for (int64_t i = 0; i < factors; ++i)
    none *= static_cast<long double>(n - other - i) / static_cast<long double>(n - i);
  return static_cast<double>(1 - none);
}

// The hypergeometric terms relative to the largest one, each from its neighbour: nothing over- or underflows that
// counts.
double g_pass_at_k(int64_t n, int64_t c, int64_t k, double tau) {
  check_counts(n, c, k);
  require(tau >= 0 && tau <= 1, "tau is from 0 to 1");
  const int64_t needed = std::max<int64_t>(1, std::llround(std::ceil(tau * static_cast<double>(k) - 1e-9)));
  const int64_t low = std::max<int64_t>(0, k - (n - c)), high = std::min(k, c);
  const auto ratio = [&](int64_t j) {  // of term j + 1 to term j
    return static_cast<long double>(c - j) * static_cast<long double>(k - j) /
           (static_cast<long double>(j + 1) * static_cast<long double>(n - c - k + j + 1));
  };
  int64_t mode = low;
  if (high > low) {
    const auto centre = static_cast<int64_t>(static_cast<long double>(c + 1) * static_cast<long double>(k + 1) /
                                             static_cast<long double>(n + 2));
    mode = std::clamp(centre, low, high);
  }
  long double all = 0, enough = 0;
  const auto count = [&](int64_t j, long double term) {
    all += term;
    if (j >= needed) enough += term;
  };
  long double term = 1;
  for (int64_t j = mode; j <= high && term > 0; ++j) {
    count(j, term);
    term *= ratio(j);
  }
  term = 1;
  for (int64_t j = mode - 1; j >= low && term > 0; --j) {
    term /= ratio(j);
    count(j, term);
  }
  return static_cast<double>(enough / all);
}

double majority_at_k(std::span<const Vote> votes, int64_t k) {
  const auto n = static_cast<int64_t>(votes.size());
  check_counts(n, 0, k);
  int classes = 0;
  for (const Vote& vote : votes) classes = std::max(classes, vote.answer + 1);
  std::vector<bool> is_right(static_cast<size_t>(classes));
  for (const Vote& vote : votes)
    if (vote.answer >= 0) is_right[static_cast<size_t>(vote.answer)] = vote.correct;

  std::vector<int64_t> count(static_cast<size_t>(classes));
  const auto worth = [&](std::span<const size_t> chosen) {
    std::fill(count.begin(), count.end(), 0);
    for (const size_t i : chosen)
      if (votes[i].answer >= 0) ++count[static_cast<size_t>(votes[i].answer)];
    return winner_of(count, is_right);
  };
  std::vector<size_t> chosen(static_cast<size_t>(k));
  std::iota(chosen.begin(), chosen.end(), 0);
  double sum = 0;
  int64_t tried = 0;
  if (subsets(n, k, kMostSubsets) <= kMostSubsets) {
    do sum += worth(chosen), ++tried;
    while (next_subset(chosen, static_cast<size_t>(n)));
    return sum / static_cast<double>(tried);
  }
  // The first k of a shuffled order, from the same random numbers every time.
  const uint64_t key = random_key(0, "majority");
  std::vector<size_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  uint64_t drawn = 0;
  for (; tried < static_cast<int64_t>(kMostSubsets); ++tried) {
    for (size_t i = 0; i < chosen.size(); ++i) {
      const uint64_t left = order.size() - i;
      std::swap(order[i], order[i + static_cast<size_t>((random_bits(key, drawn++) >> 32) * left >> 32)]);
    }
    sum += worth(std::span(order).first(chosen.size()));
  }
  return sum / static_cast<double>(tried);
}

std::pair<double, double> wilson_interval(int64_t n, int64_t c) {
  check_counts(n, c, 1);
  const auto trials = static_cast<double>(n);
  const double p = static_cast<double>(c) / trials, z2 = kZ95 * kZ95;
  const double centre = (p + z2 / (2 * trials)) / (1 + z2 / trials);
  const double half = kZ95 / (1 + z2 / trials) * std::sqrt(p * (1 - p) / trials + z2 / (4 * trials * trials));
  return {c == 0 ? 0 : centre - half, c == n ? 1 : centre + half};
}

Score score_of(std::span<const double> values, int64_t samples) {
  require(!values.empty(), "there are no questions");
  Score score;
  score.value = mean_of(values);
  score.questions = static_cast<int64_t>(values.size());
  score.samples = samples;
  score.se_question = standard_error(values, score.value);
  const bool whole = std::all_of(values.begin(), values.end(), [](double value) { return value == 0 || value == 1; });
  const double right = std::accumulate(values.begin(), values.end(), 0.0);
  std::tie(score.ci95_low, score.ci95_high) =
      whole ? wilson_interval(score.questions, std::llround(right)) : bootstrap(values);
  return score;
}

Score average_score(std::span<const Counts> questions) {
  std::vector<double> values;
  int64_t samples = 0, fewest = INT64_MAX;
  double variance = 0;
  for (const auto& [n, c] : questions) {
    check_counts(n, c, 1);
    const double share = static_cast<double>(c) / static_cast<double>(n);
    values.push_back(share);
    samples += n, fewest = std::min(fewest, n);
    if (n > 1) variance += share * (1 - share) / static_cast<double>(n - 1);
  }
  Score score = score_of(values, samples);
  if (fewest > 1) score.se_run = std::sqrt(variance) / static_cast<double>(questions.size());
  return score;
}

PairedDifference paired_difference(std::span<const double> first, std::span<const double> second) {
  require(first.size() == second.size() && !first.empty(), "the two runs are not of the same questions");
  std::vector<double> differences;
  bool single = true;
  int64_t gained = 0, lost = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    differences.push_back(second[i] - first[i]);
    for (const double value : {first[i], second[i]}) single &= value == 0 || value == 1;
    gained += differences.back() > 0, lost += differences.back() < 0;
  }
  PairedDifference d;
  d.value = mean_of(differences);
  d.standard_error = standard_error(differences, d.value);
  d.ci95_low = d.value - kZ95 * d.standard_error, d.ci95_high = d.value + kZ95 * d.standard_error;
  d.detectable = (kZ95 + kZ80) * d.standard_error;
  if (single) {  // twice the smaller tail of a fair coin's, at most 1
    const int64_t flips = gained + lost, fewer = std::min(gained, lost);
    long double term = std::pow(0.5L, static_cast<long double>(flips)), tail = 0;
    for (int64_t i = 0; i <= fewer; ++i) {
      tail += term;
      term *= static_cast<long double>(flips - i) / static_cast<long double>(i + 1);
    }
    d.mcnemar_p = static_cast<double>(std::min(1.0L, 2 * tail));
  }
  return d;
}

}  // namespace ringbench
