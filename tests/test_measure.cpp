// Medians, intervals and the stop rule, against numbers worked out by hand, a simulation, and a clock of our own.
#include "harness/measure.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "harness/statistics.h"
#include "tests/catch.h"
#include "tests/checks.h"
#include "tests/fake_clock.h"

using namespace ringbench;

namespace {

using Ranks = std::optional<std::pair<int64_t, int64_t>>;

}  // namespace

TEST_CASE("ranks of the median's interval are those of the published tables") {
  for (int64_t n = 0; n < 6; ++n) CHECK(median_interval_ranks(n) == Ranks());
  CHECK(median_interval_ranks(6) == Ranks({1, 6}));
  CHECK(median_interval_ranks(8) == Ranks({1, 8}));
  CHECK(median_interval_ranks(9) == Ranks({2, 8}));
  CHECK(median_interval_ranks(11) == Ranks({2, 10}));
  CHECK(median_interval_ranks(12) == Ranks({3, 10}));
  CHECK(median_interval_ranks(30) == Ranks({10, 21}));
  CHECK(median_interval_ranks(100) == Ranks({40, 61}));
  // Large n, where 2^-n underflows: low = n/2 - 0.98 sqrt(n), within 2.
  const auto large = median_interval_ranks(10000);
  REQUIRE(large);
  CHECK(std::abs(static_cast<double>(large->first) - (5000 - 98)) <= 2);
  CHECK(large->first + large->second == 10001);
}

TEST_CASE("the interval covers the true median at least as often as it says, for a skewed distribution") {
  std::mt19937_64 random(1);
  for (const int n : {6, 9, 12, 20}) {
    constexpr int trials = 4000;
    int covered = 0;
    for (int t = 0; t < trials; ++t) {
      std::vector<double> samples;
      for (int i = 0; i < n; ++i) samples.push_back(-std::log((static_cast<double>(random() >> 11) + 0.5) * 0x1p-53));
      const Summary s = summarize(samples);
      covered += *s.ci95_low <= std::log(2.0) && std::log(2.0) <= *s.ci95_high;
    }
    INFO("n " << n);
    // 95 % less four standard errors of a proportion over 4000 trials
    CHECK(static_cast<double>(covered) / trials >= 0.95 - 4 * std::sqrt(0.95 * 0.05 / trials));
  }
}

TEST_CASE("a summary of samples worked out by hand") {
  const Summary s = summarize(std::vector<double>{11.95, 11.88, 12.01, 11.90, 11.93, 11.91});
  CHECK(s.n == 6);
  CHECK(near(s.median, 11.92));
  CHECK(s.min == 11.88);
  CHECK(s.max == 12.01);
  CHECK(s.ci95_low == 11.88);
  CHECK(s.ci95_high == 12.01);
  CHECK(std::abs(*s.relative_half_width() - 0.065 / 11.92) <= 1e-12);
  CHECK_FALSE(s.p90);
  CHECK_FALSE(s.p99);

  const Summary one = summarize(std::vector<double>{3.0});
  CHECK(one.median == 3.0);
  CHECK_FALSE(one.ci95_low);
  CHECK_FALSE(one.ci95_high);
  CHECK_FALSE(one.relative_half_width());
}

TEST_CASE("percentiles only where there are samples enough") {
  std::vector<double> samples(9);
  for (size_t i = 0; i < samples.size(); ++i) samples[i] = static_cast<double>(i);
  CHECK_FALSE(summarize(samples).p90);
  samples.push_back(9);
  CHECK(near(*summarize(samples).p90, 8.1));  // 0.9 of the way from 0 to 9
  CHECK_FALSE(summarize(samples).p99);
  for (double x = 10; x < 101; ++x) samples.push_back(x);
  CHECK(near(*summarize(samples).p99, 99));
  CHECK(quantile({4, 1, 3, 2}, 0.5) == 2.5);
  CHECK(quantile({4, 1, 3, 2}, 0) == 1);
  CHECK(quantile({4, 1, 3, 2}, 1) == 4);
}

TEST_CASE("outliers are found, kept, and a slow first one is told apart") {
  const Summary s = summarize(std::vector<double>{10.1, 10.0, 9.9, 30.0, 10.05, 9.95, 10.0});
  CHECK(s.outliers == std::vector<size_t>{3});
  CHECK(s.max == 30.0);
  CHECK_FALSE(s.slow_first);
  CHECK(summarize(std::vector<double>{30.0, 10.0, 9.9, 10.1, 10.05, 9.95, 10.0}).slow_first);
  CHECK_FALSE(summarize(std::vector<double>{1.0, 10.0, 9.9, 10.1, 10.05, 9.95, 10.0}).slow_first);  // fast, not slow
  CHECK(summarize(std::vector<double>{5, 5, 5, 5}).outliers.empty());
}

TEST_CASE("samples that are no numbers are refused") {
  CHECK_THROWS_AS(summarize(std::vector<double>{}), std::invalid_argument);
  CHECK_THROWS_AS(summarize(std::vector<double>{1, std::nan("")}), std::invalid_argument);
  CHECK_THROWS_AS(summarize(std::vector<double>{1, std::numeric_limits<double>::infinity()}), std::invalid_argument);
}

TEST_CASE("auto repetitions: at least 6, at most 30, until narrow enough") {
  FakeClock clock;
  const auto run = [&](const StopRule& rule, const std::function<double(int64_t)>& sample) {
    return repeat(rule, clock, [&](int64_t i) {
      const double s = sample(i);
      clock.wall += s;
      clock.cpu += 2 * s;
      return s;
    });
  };
  const Repetitions steady = run({}, [](int64_t) { return 1.0; });
  CHECK(steady.samples.size() == 6);
  CHECK(steady.stop == "ci");
  CHECK(steady.wall_s == std::vector<double>(6, 1.0));
  CHECK(steady.cpu_s == std::vector<double>(6, 2.0));

  const Repetitions wild = run({}, [](int64_t i) { return i % 2 == 0 ? 1.0 : 2.0; });
  CHECK(wild.samples.size() == 30);
  CHECK(wild.stop == "budget");

  // 4 % apart at first, then steady: the interval of order statistics narrows as more samples fall inside.
  const Repetitions settling = run({}, [](int64_t i) { return i < 2 ? 1.0 + 0.1 * static_cast<double>(i) : 1.05; });
  CHECK(settling.samples.size() > 6);
  CHECK(settling.samples.size() < 30);
  CHECK(settling.stop == "ci");
}

TEST_CASE("the budget allows fewer than 6, but never fewer than 1, and is not overrun by a whole repetition") {
  FakeClock clock;
  const auto run = [&](double budget_s, double each) {
    StopRule rule;
    rule.budget_s = budget_s;
    return repeat(rule, clock, [&](int64_t) { return clock.wall += each, each; });
  };
  CHECK(run(1, 5).samples.size() == 1);
  CHECK(run(10, 5).samples.size() == 2);
  CHECK(run(14.9, 5).samples.size() == 2);  // a third would end at 15
  CHECK(run(14.9, 5).stop == "budget");
  CHECK(run(1000, 5).stop == "ci");
}

TEST_CASE("a given number of repetitions is kept, whatever the budget says") {
  FakeClock clock;
  StopRule rule;
  rule.reps = 3;
  rule.budget_s = 1;
  const Repetitions r = repeat(rule, clock, [&](int64_t i) { return clock.wall += 10, static_cast<double>(i); });
  CHECK(r.samples == std::vector<double>{0, 1, 2});
  CHECK(r.stop == "fixed");
}

TEST_CASE("the process clock counts work, and the wall clock never goes back") {
  Clock clock;
  const double wall = clock.wall_s(), cpu = clock.cpu_s();
  volatile double sink = 0;
  while (clock.cpu_s() - cpu < 0.02) sink = sink + 1;
  CHECK(clock.wall_s() > wall);
}
