// layer_groups.h: the row of a model too deep to hold, from those of two shallower ones of the same widths. The line
// through their times: estimate_by_groups() of estimate.h.
#pragma once

#include <functional>

#include "harness/plan.h"
#include "harness/result.h"

namespace ringbench {

// `fits`: whether a shallower point can be held; `measure`: its row, measured. The deeper of the two is as deep as fits
// (at most half as deep as the model). Throws Failure(environment) where there are no two.
void estimate_by_layer_groups(const Point& point, const std::function<bool(const Point&)>& fits,
                              const std::function<Result(const Point&)>& measure, Result& row);

}  // namespace ringbench
