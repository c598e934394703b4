// describe.h: what of a record is known without timing: the point's own fields and costs, and what the engine holds.
#pragma once

#include <optional>
#include <string>

#include "harness/device.h"
#include "harness/plan.h"
#include "harness/result.h"
#include "harness/session.h"

namespace ringbench {

// What all records of a run have in common.
struct RunFacts {
  std::string experiment;  // command or sweep
  std::string device, commit;
  int threads = 1;
  std::optional<DeviceModel> peaks;  // of the device; empty: unknown, and then nothing is predicted
};

Result describe_point(const Plan& plan, const Point& point, const RunFacts& facts);

// What the engine says after the point: bytes held, variants that ran, expert loads. `memory` of a point that was not
// run is planned.
void describe_engine(const Session& session, const Report& report, Result& row);
void describe_memory(const Memory& memory, Result& row);

// Flags that follow from the record alone: E, N, R, S, T, U. Sorted with those that are there. `ci`: half-width of the
// interval, relative, above which a number is noisy.
void set_flags(Result& row, double ci);

}  // namespace ringbench
