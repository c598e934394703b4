// Crossovers of planted models: found where they were planted, and not where there is none.
#include <cmath>
#include <random>

#include "harness/crossover.h"
#include "tests/catch.h"

using namespace ringbench;

namespace {

// A softmax layer's time grows with ctx, a linear one's does not; they are equal at `equal`. Three standard errors to
// both sides make the interval.
Ratio planted(int64_t ctx, int64_t equal, double noise, std::mt19937& random) {
  const double softmax = 1 + 1e-3 * static_cast<double>(ctx), linear = 1 + 1e-3 * static_cast<double>(equal);
  const double seen = softmax / linear * std::exp(std::normal_distribution<double>(0, noise)(random));
  Ratio ratio;
  ratio.value = seen;
  ratio.low = seen * std::exp(-3 * noise);
  ratio.high = seen * std::exp(3 * noise);
  return ratio;
}

}  // namespace

TEST_CASE("a planted crossover is enclosed, whatever its place and the noise") {
  std::mt19937 random(1);
  for (const int64_t equal : {70, 500, 3000, 20000, 100000})
    for (const double noise : {1e-4, 0.01, 0.03})
      for (int trial = 0; trial < 20; ++trial) {
        const Crossover found =
            find_crossover(64, 131072, 16, 0.05, [&](int64_t ctx) { return planted(ctx, equal, noise, random); });
        INFO("planted " << equal << ", noise " << noise);
        REQUIRE(found.faster_from);
        CHECK(*found.faster_from > equal);
        if (found.slower_until) CHECK(*found.slower_until < equal);
        // As near as the noise lets one see: the interval is 6 noise wide, and a step of the grid comes on top.
        const double slope = 1e-3 * static_cast<double>(equal) / (1 + 1e-3 * static_cast<double>(equal));
        const double reach = 0.05 + 8 * noise / slope + 16.0 / static_cast<double>(equal);
        CHECK(static_cast<double>(*found.faster_from) <= static_cast<double>(equal) * (1 + 2 * reach));
        CHECK(found.probes.size() <= 32);
      }
}

TEST_CASE("no crossover: faster everywhere, or nowhere") {
  std::mt19937 random(2);
  const auto model = [&](int64_t equal) {
    return find_crossover(64, 4096, 16, 0.05, [&](int64_t ctx) { return planted(ctx, equal, 1e-3, random); });
  };
  const Crossover everywhere = model(1);
  CHECK(everywhere.faster_from == 64);
  CHECK_FALSE(everywhere.slower_until);
  CHECK(everywhere.probes.size() == 2);
  const Crossover nowhere = model(100000);
  CHECK_FALSE(nowhere.faster_from);
  CHECK(nowhere.slower_until == 4096);
  // Ratios without an interval tell nothing apart.
  const Crossover blind = find_crossover(64, 4096, 16, 0.05, [](int64_t) { return Ratio(); });
  CHECK_FALSE(blind.faster_from);
  CHECK_FALSE(blind.slower_until);
  CHECK_THROWS_AS(find_crossover(0, 4096, 16, 0.05, [](int64_t) { return Ratio(); }), std::invalid_argument);
  CHECK_THROWS_AS(find_crossover(64, 64, 16, 0.05, [](int64_t) { return Ratio(); }), std::invalid_argument);
}

TEST_CASE("a crossover in words") {
  std::mt19937 random(3);
  const Crossover found =
      find_crossover(64, 4096, 64, 0.05, [&](int64_t ctx) { return planted(ctx, 1000, 1e-6, random); });
  CHECK(crossover_text(found, 64, 4096) ==
        "faster from 1k on (1.01x [1.01, 1.01]), slower up to 960 (0.98x [0.98, 0.98])");
}
