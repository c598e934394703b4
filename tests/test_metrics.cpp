// Scores of sampled answers, against the definitions counted out by hand.
#include "evals/metrics.h"

#include <cmath>
#include <map>
#include <random>

#include "tests/catch.h"

using namespace ringbench;

namespace {

// Every subset of k of n samples of which the first c are right: the share for which `good` holds of the number right.
template <class Good> double share_of_subsets(int n, int c, int k, const Good& good) {
  int64_t all = 0, held = 0;
  for (unsigned bits = 0; bits < (1u << n); ++bits) {
    if (__builtin_popcount(bits) != k) continue;
    ++all;
    held += good(__builtin_popcount(bits & ((1u << c) - 1)));
  }
  return static_cast<double>(held) / static_cast<double>(all);
}

}  // namespace

TEST_CASE("pass@k and G-Pass@k are what counting all subsets gives", "[metrics]") {
  for (int n = 1; n <= 9; ++n)
    for (int c = 0; c <= n; ++c)
      for (int k = 1; k <= n; ++k) {
        INFO("n " << n << " c " << c << " k " << k);
        CHECK(std::abs(pass_at_k(n, c, k) - share_of_subsets(n, c, k, [](int right) { return right >= 1; })) <= 1e-15);
        for (const double tau : {0.0, 0.25, 0.5, 0.75, 1.0}) {
          const int needed = std::max(1, static_cast<int>(std::ceil(tau * k)));
          const double expected = share_of_subsets(n, c, k, [&](int right) { return right >= needed; });
          CHECK(std::abs(g_pass_at_k(n, c, k, tau) - expected) <= 1e-14);
        }
      }
}

TEST_CASE("pass@k is exact to 1e-12 for a million samples", "[metrics]") {
  const int64_t n = 1000000;
  for (const int64_t c : {int64_t{0}, int64_t{1}, int64_t{12345}, int64_t{500000}, n - 1, n}) {
    INFO(c);
    const auto share = static_cast<long double>(c) / n;
    CHECK(std::abs(pass_at_k(n, c, 1) - static_cast<double>(share)) <= 1e-12);
    const long double two = 1 - (static_cast<long double>(n - c) / n) * (static_cast<long double>(n - c - 1) / (n - 1));
    CHECK(std::abs(pass_at_k(n, c, 2) - static_cast<double>(two)) <= 1e-12);
    CHECK(pass_at_k(n, c, n) == (c > 0 ? 1.0 : 0.0));
  }
  // One right sample of n is among k of them with chance k / n; two, with chance 1 - (n-k)(n-k-1) / n(n-1).
  for (const int64_t k : {int64_t{1}, int64_t{1000}, int64_t{500000}, n - 1}) {
    CHECK(std::abs(pass_at_k(n, 1, k) - static_cast<double>(static_cast<long double>(k) / n)) <= 1e-12);
    const long double none = static_cast<long double>(n - k) / n * (static_cast<long double>(n - k - 1) / (n - 1));
    CHECK(std::abs(pass_at_k(n, 2, k) - static_cast<double>(1 - none)) <= 1e-12);
  }
  // Few of many: sums of logarithms, added up from the small ones.
  long double log_none = 0;
  for (int64_t i = 0; i < 5000; ++i) log_none += std::log1p(-100.0L / static_cast<long double>(n - i));
  CHECK(std::abs(pass_at_k(n, 100, 5000) - static_cast<double>(-std::expm1(log_none))) <= 1e-12);
  CHECK(std::abs(g_pass_at_k(n, 300000, 1000, 0.0) - pass_at_k(n, 300000, 1000)) <= 1e-12);
  CHECK(g_pass_at_k(n, 300000, 1000, 0.3) > 0.45);
  CHECK(g_pass_at_k(n, 300000, 1000, 0.3) < 0.55);  // half of them lie above the mean
}

TEST_CASE("counts that cannot be are refused", "[metrics]") {
  CHECK_THROWS_AS(pass_at_k(4, 1, 5), std::invalid_argument);
  CHECK_THROWS_AS(pass_at_k(4, 5, 1), std::invalid_argument);
  CHECK_THROWS_AS(pass_at_k(4, -1, 1), std::invalid_argument);
  CHECK_THROWS_AS(pass_at_k(0, 0, 1), std::invalid_argument);
  CHECK_THROWS_AS(pass_at_k(4, 1, 0), std::invalid_argument);
  CHECK_THROWS_AS(g_pass_at_k(4, 1, 2, 1.5), std::invalid_argument);
  CHECK_THROWS_AS(majority_at_k({}, 1), std::invalid_argument);
  CHECK_THROWS_AS(score_of({}, 0), std::invalid_argument);
  CHECK_THROWS_AS(average_score(std::vector<Counts>{{4, 5}}), std::invalid_argument);
  CHECK_THROWS_AS(paired_difference(std::vector<double>{1}, std::vector<double>{1, 0}), std::invalid_argument);
}

TEST_CASE("a majority is by classes of answers; ties are shared, silence does not vote", "[metrics]") {
  const Vote right{0, true}, wrong{1, false}, other{2, false}, silent{};
  const auto majority = [](std::vector<Vote> votes) {
    return majority_at_k(votes, static_cast<int64_t>(votes.size()));
  };
  CHECK(majority({right}) == 1);
  CHECK(majority({silent}) == 0);
  CHECK(majority({right, wrong, right}) == 1);
  CHECK(majority({right, wrong, wrong}) == 0);
  CHECK(majority({right, wrong}) == 0.5);
  CHECK(majority({right, wrong, other}) == Approx(1.0 / 3));
  CHECK(majority({right, silent, silent, silent}) == 1);
  // Of subsets: {R W}, {R W'}, {W W'} and so on, counted out.
  CHECK(majority_at_k(std::vector<Vote>{right, wrong, wrong}, 1) == Approx(1.0 / 3));
  CHECK(majority_at_k(std::vector<Vote>{right, wrong, wrong}, 2) == Approx((0.5 + 0.5 + 0) / 3));
  CHECK(majority_at_k(std::vector<Vote>{right, right, wrong, other}, 3) == Approx((1 + 1 + 1.0 / 3 + 1.0 / 3) / 4));
}

TEST_CASE("of many samples a majority is estimated from subsets, the same every time, near the truth", "[metrics]") {
  // 60 of 100 right, all others alike: a majority of 5 is right with the hypergeometric chance of 3 or more.
  std::vector<Vote> votes(100, Vote{1, false});
  for (size_t i = 0; i < 60; ++i) votes[i] = {0, true};
  const double truth = g_pass_at_k(100, 60, 5, 0.6);
  const double estimate = majority_at_k(votes, 5);
  CHECK(std::abs(estimate - truth) < 4 * std::sqrt(truth * (1 - truth) / 10000));
  CHECK(estimate == majority_at_k(votes, 5));
}

TEST_CASE("standard errors and intervals are those of their definitions", "[metrics]") {
  const auto [low, high] = wilson_interval(30, 17);
  CHECK(low == Approx(0.392).margin(0.001));
  CHECK(high == Approx(0.726).margin(0.001));
  CHECK(wilson_interval(30, 0).first == 0);
  CHECK(wilson_interval(30, 30).second == 1);

  // Two questions, 3 of 4 and 1 of 4: mean 1/2; both errors by hand.
  const Score score = average_score(std::vector<Counts>{{4, 3}, {4, 1}});
  CHECK(score.value == 0.5);
  CHECK(score.questions == 2);
  CHECK(score.samples == 8);
  CHECK(score.se_question == Approx(0.25));  // sqrt((1/16 + 1/16) / 1 / 2)
  REQUIRE(score.se_run);
  CHECK(*score.se_run == Approx(std::sqrt(2 * (4.0 / 3) * (3.0 / 16) / 4) / 2));
  CHECK_FALSE(average_score(std::vector<Counts>{{1, 1}, {1, 0}}).se_run);

  // The bootstrap's interval is about 1.96 standard errors wide on each side, and its own error is known.
  std::mt19937_64 random(1);
  std::vector<double> values;
  for (int i = 0; i < 200; ++i) values.push_back(std::uniform_int_distribution(0, 16)(random) / 16.0);
  // Resampling zeros gives zeros: where every value is 0 or 1 the interval is Wilson's.
  const std::vector<double> none(20, 0.0);
  CHECK(score_of(none, 80).ci95_low == 0);
  CHECK(score_of(none, 80).ci95_high == wilson_interval(20, 0).second);
  const Score many = score_of(values, 3200);
  const double biased = many.se_question * std::sqrt(199.0 / 200);
  CHECK((many.ci95_high - many.ci95_low) / (2 * 1.96) == Approx(biased).epsilon(0.03));
  CHECK(score_of(values, 3200).ci95_low == many.ci95_low);

  // One sample a question: Wilson's.
  const Score single = average_score(std::vector<Counts>{{1, 1}, {1, 0}, {1, 1}});
  CHECK(single.ci95_low == wilson_interval(3, 2).first);
}

TEST_CASE("95 % intervals of a score hold the truth 95 times in 100", "[metrics]") {
  std::mt19937_64 random(2);
  std::uniform_real_distribution<double> uniform;
  int inside = 0;
  const int trials = 300;
  for (int trial = 0; trial < trials; ++trial) {
    std::vector<Counts> counts;
    for (int q = 0; q < 60; ++q) {  // questions of different difficulty, uniform: the truth is 1/2
      const double p = uniform(random);
      Counts count{8, 0};
      for (int s = 0; s < 8; ++s) count.c += uniform(random) < p;
      counts.push_back(count);
    }
    const Score score = average_score(counts);
    inside += score.ci95_low <= 0.5 && 0.5 <= score.ci95_high;
  }
  CHECK(inside >= 0.95 * trials - 3 * std::sqrt(0.0475 * trials));
  CHECK(inside < trials);
}

TEST_CASE("two runs are compared question by question", "[metrics]") {
  // 8 questions gained, 1 lost, 3 alike: McNemar's exact p is 2 (1 + 9) / 512.
  std::vector<double> first(12, 0.0), second(12, 1.0);
  for (size_t i = 8; i < 12; ++i) first[i] = 1;
  second[8] = 0;
  const PairedDifference d = paired_difference(first, second);
  CHECK(d.value == Approx(7.0 / 12));
  REQUIRE(d.mcnemar_p);
  CHECK(*d.mcnemar_p == Approx(20.0 / 512));
  CHECK(d.ci95_low < d.value);
  CHECK(d.detectable == Approx(2.8016 * d.standard_error).epsilon(1e-4));
  CHECK(*paired_difference(first, first).mcnemar_p == 1);
  CHECK_FALSE(paired_difference(std::vector<double>{0.5, 1}, std::vector<double>{1, 1}).mcnemar_p);
  // A difficulty that both share cancels.
  std::vector<double> hard, harder;
  for (int i = 0; i < 50; ++i) hard.push_back(i / 50.0), harder.push_back(i / 50.0 + 0.02);
  const PairedDifference steady = paired_difference(hard, harder);
  CHECK(steady.standard_error < 1e-12);
  CHECK(score_of(hard, 50).se_question > 0.03);
}
