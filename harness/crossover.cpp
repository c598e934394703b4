#include "harness/crossover.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "harness/words.h"

namespace ringbench {
namespace {

bool faster(const Ratio& ratio) { return ratio.low.value_or(0) > 1; }
bool slower(const Ratio& ratio) { return ratio.high && *ratio.high < 1; }

// Between a context where the condition does not hold and one where it does: the shortest found where it does. `yes`
// and `no` move towards each other by their geometric mean.
template <class Holds> int64_t bisect(int64_t no, int64_t yes, int64_t step, double resolution, const Holds& holds) {
  const auto between = [&] {
    const double mean = std::sqrt(static_cast<double>(std::max<int64_t>(1, no)) * static_cast<double>(yes));
    const auto rounded = static_cast<int64_t>(std::llround(mean / static_cast<double>(step))) * step;
    return std::clamp(rounded, std::min(no, yes), std::max(no, yes));
  };
  for (;;) {
    const int64_t middle = between(), gap = std::abs(yes - no);
    const bool close = static_cast<double>(gap) <= resolution * static_cast<double>(std::min(no, yes));
    if (close || gap <= step || middle == no || middle == yes) return yes;
    (holds(middle) ? yes : no) = middle;
  }
}

}  // namespace

Crossover find_crossover(int64_t low, int64_t high, int64_t step, double resolution,
                         const std::function<Ratio(int64_t)>& ratio_at) {
  if (low <= 0 || low >= high || step <= 0)
    throw std::invalid_argument("find_crossover: 0 < low < high and step > 0 are needed");
  Crossover found;
  const auto at = [&](int64_t ctx) -> const Ratio& {
    const auto probe = found.probes.find(ctx);
    return probe != found.probes.end() ? probe->second : found.probes.emplace(ctx, ratio_at(ctx)).first->second;
  };
  const bool at_low = faster(at(low)), at_high = faster(at(high));
  if (at_low)
    found.faster_from = low;
  else if (at_high)
    found.faster_from = bisect(low, high, step, resolution, [&](int64_t ctx) { return faster(at(ctx)); });
  if (!slower(at(low))) return found;
  const int64_t end = found.faster_from.value_or(high);
  found.slower_until =
      slower(at(end)) ? end : bisect(end, low, step, resolution, [&](int64_t ctx) { return slower(at(ctx)); });
  return found;
}

std::string crossover_text(const Crossover& crossover, int64_t low, int64_t high) {
  const auto ratio = [&](int64_t ctx) { return " (" + ratio_text(crossover.probes.at(ctx)) + ")"; };
  std::string text;
  if (!crossover.faster_from)
    text = "nowhere faster up to " + token_label(high) + ratio(high);
  else if (*crossover.faster_from == low)
    text = "faster already at " + token_label(low) + ratio(low);
  else
    text = "faster from " + token_label(*crossover.faster_from) + " on" + ratio(*crossover.faster_from);
  if (crossover.slower_until)
    text += ", slower up to " + token_label(*crossover.slower_until) + ratio(*crossover.slower_until);
  return text;
}

}  // namespace ringbench
