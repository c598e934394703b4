// run.h: the measuring commands: from a plan to its records. Which points there are is plan.h's business, what a record
// holds result.h's.
#pragma once

#include "harness/failure.h"
#include "harness/plan.h"

namespace ringbench {

// Measures every point of the plan, writes records as they come, then the table and its conclusion. Returns
// points_failed if a point has no number, interrupted or terminated if a signal ended the run. Throws Failure for what
// keeps the whole run from going on.
ExitCode run_measurements(const Plan& plan, Command command);

}  // namespace ringbench
