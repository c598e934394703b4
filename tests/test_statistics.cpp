// Statistics: values that are known from elsewhere, and intervals that hold what they promise.
#include "harness/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <stdexcept>
#include <vector>

#include "tests/catch.h"

using namespace ringbench;

namespace {

bool near(double a, double b, double tolerance) { return std::abs(a - b) <= tolerance; }

using Draw = double (*)(std::mt19937_64&);
double lognormal(std::mt19937_64& random) { return std::exp(std::normal_distribution(0.0, 0.05)(random)); }
// What times look like where something else runs now and then: some of them a good deal longer.
double heavy(std::mt19937_64& random) {
  const double time = std::exp(std::normal_distribution(0.0, 0.01)(random));
  return std::uniform_real_distribution()(random) < 0.1 ? time * (1 + std::exponential_distribution(5.0)(random))
                                                        : time;
}

std::vector<double> draw(std::mt19937_64& random, int n, Draw one) {
  std::vector<double> samples;
  for (int i = 0; i < n; ++i) samples.push_back(one(random));
  return samples;
}

}  // namespace

TEST_CASE("ranks that enclose a median are those of the binomial tables") {
  using Ranks = std::optional<std::pair<int64_t, int64_t>>;
  for (int64_t n = 0; n < 6; ++n) CHECK(median_interval_ranks(n) == Ranks());
  // Conover, Practical Nonparametric Statistics (1999), table A3: the same ranks.
  for (const auto& [n, low] : std::map<int64_t, int64_t>{
           {6, 1}, {8, 1}, {9, 2}, {12, 3}, {15, 4}, {20, 6}, {25, 8}, {30, 10}, {50, 18}, {100, 40}, {1000, 469}})
    CHECK(median_interval_ranks(n) == Ranks({low, n + 1 - low}));
  CHECK(median_interval_ranks(1000000)->first == 499020);  // n / 2 - 1.96 sqrt(n) / 2
}

TEST_CASE("Student's t is that of the tables, and its tail the inverse of its quantile") {
  CHECK(near(student_t_quantile(0.975, 1), 12.7062, 5e-5));
  CHECK(near(student_t_quantile(0.975, 10), 2.2281, 5e-5));
  CHECK(near(student_t_quantile(0.995, 5), 4.0321, 5e-5));
  CHECK(near(student_t_quantile(0.975, 1e9), 1.959964, 1e-5));
  CHECK(near(student_t_beyond(2.2281, 10), 0.05, 1e-5));
  CHECK(near(student_t_beyond(-2.2281, 10), 0.05, 1e-5));
  CHECK(student_t_beyond(0, 3) == 1);
  CHECK_THROWS_AS(student_t_quantile(0.5, 0), std::invalid_argument);
  CHECK_THROWS_AS(student_t_beyond(1, std::nan("")), std::invalid_argument);
}

TEST_CASE("Mann and Whitney's ranks are one above the critical values of the tables") {
  // Two-sided, 0.05 (Milton 1964): U is significant at or below these.
  struct Row {
    int64_t n, m, critical;
  };
  for (const auto& [n, m, critical] : {Row{4, 4, 0}, Row{5, 5, 2}, Row{6, 6, 5}, Row{6, 10, 11}, Row{8, 8, 13},
                                       Row{10, 10, 23}, Row{12, 20, 69}, Row{15, 15, 64}, Row{20, 20, 127}}) {
    CHECK(mann_whitney_rank(n, m) == critical + 1);
    CHECK(mann_whitney_rank(m, n) == critical + 1);
  }
  CHECK(mann_whitney_rank(3, 3) == 0);  // 2 / 20 is above 0.05
  CHECK(mann_whitney_rank(0, 5) == 0);
  // Where the exact count ends, the normal one goes on.
  const int64_t exact = mann_whitney_rank(50, 50), normal = mann_whitney_rank(50, 51);
  CHECK(normal > exact);
  CHECK(normal < exact + 30);
}

TEST_CASE("the ratio of samples is the median of all ratios, and turns over with them") {
  const std::vector<double> a = {1, 2, 3, 4, 5, 6}, doubled = {2, 4, 6, 8, 10, 12};
  const auto same = ratio_of_samples(a, a), twice = ratio_of_samples(a, doubled), half = ratio_of_samples(doubled, a);
  REQUIRE((same && twice && half));
  CHECK(near(same->value, 1, 1e-15));
  CHECK(near(twice->value, 2, 1e-15));
  CHECK(near(twice->value * half->value, 1, 1e-15));
  CHECK(near(twice->low * half->high, 1, 1e-15));
  // The 6th and the 31st of the 36 ratios j / i, in order: 2/6 2/5 2/4 ... counted by hand.
  std::vector<double> ratios;
  for (const double x : a)
    for (const double y : a) ratios.push_back(y / x);
  std::sort(ratios.begin(), ratios.end());
  CHECK(same->low == ratios[5]);
  CHECK(same->high == ratios[30]);

  CHECK_FALSE(ratio_of_samples(std::vector<double>{1, 2, 3, 4, 5}, a));
  CHECK_FALSE(ratio_of_samples(a, {}));
  CHECK_FALSE(ratio_of_samples(a, std::vector<double>{1, 2, 3, 0, 5, 6}));
  CHECK_FALSE(ratio_of_samples(a, std::vector<double>{1, 2, 3, std::nan(""), 5, 6}));
  CHECK_FALSE(ratio_of_samples(std::vector<double>(2000, 1.0), std::vector<double>(2000, 1.0)));
}

TEST_CASE("95 % intervals of a ratio hold the truth 95 times in 100, whatever the tails") {
  std::mt19937_64 random(1);
  for (const Draw one : {&lognormal, &heavy})
    for (const int n : {6, 10, 30}) {
      int inside = 0, inside_pairs = 0;
      const int trials = n == 30 ? 500 : 1000;
      for (int i = 0; i < trials; ++i) {
        const auto a = draw(random, n, one);
        auto b = draw(random, n, one);
        for (double& x : b) x *= 1.25;
        const auto ratio = ratio_of_samples(a, b);
        REQUIRE(ratio);
        inside += ratio->low <= 1.25 && 1.25 <= ratio->high;
        if (i % 5 > 0) continue;  // resampling takes longer
        const auto paired = ratio_of_pairs(a, b);
        REQUIRE(paired);
        inside_pairs += paired->low <= 1.25 && 1.25 <= paired->high;
      }
      INFO("n " << n << ": " << inside << " of " << trials << "; pairs " << inside_pairs << " of " << trials / 5);
      // Three standard errors of a share of 0.95; the bootstrap is known to be a little short for few samples.
      CHECK(inside >= 0.95 * trials - 3 * std::sqrt(0.0475 * trials));
      CHECK(inside < trials);
      CHECK(inside_pairs >= 0.91 * trials / 5 - 3 * std::sqrt(0.08 * trials / 5));
    }
}

TEST_CASE("pairs cancel a drift that both sides share") {
  std::mt19937_64 random(2);
  std::vector<double> a, b;
  for (int i = 0; i < 20; ++i) {
    const double drift = 1 + 0.02 * i;  // 40 % over the run
    a.push_back(drift * std::exp(std::normal_distribution(0.0, 0.002)(random)));
    b.push_back(drift * std::exp(std::normal_distribution(0.0, 0.002)(random)) * 1.03);
  }
  const auto paired = ratio_of_pairs(a, b), unpaired = ratio_of_samples(a, b);
  REQUIRE((paired && unpaired));
  CHECK(near(paired->value, 1.03, 0.005));
  CHECK(paired->low > 1.02);
  CHECK(paired->high < 1.04);
  CHECK(unpaired->low < 1);                         // drift and all
  CHECK(ratio_of_pairs(a, b)->low == paired->low);  // the same resamplings again
  b.pop_back();
  CHECK_FALSE(ratio_of_pairs(a, b));
}

TEST_CASE("false discoveries: the level is Benjamini and Hochberg's") {
  // The example of their paper (1995, section 3.2): 15 p values; at 0.05 four are found.
  const std::vector<double> p = {0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344,
                                 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0};
  const double level = false_discovery_level(p, 0.05);
  CHECK(near(level, 0.05 * 4 / 15, 1e-15));
  CHECK(std::count_if(p.begin(), p.end(), [&](double x) { return x <= level; }) == 4);
  CHECK(false_discovery_level({0.9, 0.8}, 0.05) == 0.025);  // nothing: that of Bonferroni
  CHECK(false_discovery_level({0.04}, 0.05) == 0.05);
  CHECK(false_discovery_level({}, 0.05) == 0.05);
}

TEST_CASE("the spread of one side is that of the whole, and blind to the largest few") {
  std::mt19937_64 random(3);
  std::normal_distribution normal(0.0, 0.01);
  std::vector<double> below;
  while (below.size() < 400)
    if (const double x = normal(random); x < 0) below.push_back(-x);
  CHECK(near(one_sided_spread(below), 0.01, 0.001));
  for (size_t i = 0; i < 20; ++i) below[i] = 1;
  CHECK(near(one_sided_spread(below), 0.01, 0.002));
  CHECK(one_sided_spread({1, 2, 3}) == 0);
  CHECK(one_sided_spread({}) == 0);
}
