// wait.h: waiting that a signal ends. Not the clock (measure.h).
#pragma once

#include <algorithm>
#include <chrono>
#include <csignal>
#include <thread>

#include "harness/failure.h"
#include "harness/measure.h"

namespace ringbench {

inline double now_s() { return Clock().wall_s(); }

// Until this time of the monotonic clock; true: it came, false: a signal did.
inline bool wait_until(double until_s) {
  constexpr double kLookEvery_s = 0.02;
  while (!interrupted()) {
    const double rest_s = until_s - now_s();
    if (rest_s <= 0) return true;
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(rest_s, kLookEvery_s)));
  }
  return false;
}

// For what a signal ended and that has nothing to show.
inline Failure interruption() {
  return {interrupting_signal() == SIGTERM ? ExitCode::terminated : ExitCode::interrupted, "interrupted."};
}

}  // namespace ringbench
