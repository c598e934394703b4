// crossover.h: the shortest context from which on one of two models is faster, by bisection over ratios with intervals.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "harness/speedup.h"

namespace ringbench {

struct Crossover {
  std::optional<int64_t> faster_from;   // shortest context at which the interval lies above 1; empty: there is none
  std::optional<int64_t> slower_until;  // longest one below it at which the interval lies under 1; empty: there is none
  std::map<int64_t, Ratio> probes;      // all that was asked for
};

// `ratio_at(ctx)`: how many times faster, growing with ctx up to noise. Contexts from `low` to `high` are asked for,
// multiples of `step` but for the ends, until neighbours are closer than `resolution` (relative) or `step`. Throws
// std::invalid_argument unless 0 < low < high and step > 0.
Crossover find_crossover(int64_t low, int64_t high, int64_t step, double resolution,
                         const std::function<Ratio(int64_t)>& ratio_at);

// "faster from 1k on (1.08x [1.03, 1.12]), slower up to 256 (0.91x [0.88, 0.95])"
std::string crossover_text(const Crossover& crossover, int64_t low, int64_t high);

}  // namespace ringbench
