// fake_clock.h: a clock that moves only when told to.
#pragma once

#include "harness/measure.h"

namespace ringbench {

struct FakeClock : Clock {
  double wall = 0, cpu = 0;
  double wall_s() override { return wall; }
  double cpu_s() override { return cpu; }
};

}  // namespace ringbench
