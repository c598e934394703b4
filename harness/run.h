// run.h: the measuring commands: from a plan to its records. Which points there are is plan.h's business, how one is
// timed measurement.h's, what a record holds result.h's.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "harness/failure.h"
#include "harness/plan.h"
#include "harness/result.h"

namespace ringbench {

// What is measured: the grids of a command or of a sweep. What concerns the run as a whole (results, format, resume,
// total budget, ...) is said by the first grid's plan.
struct RunRequest {
  std::string experiment;  // command or sweep, as records and run ids name it
  std::vector<Grid> grids;

  const Plan& whole() const { return grids.front().plan; }
};

// Measures every point, writes records as they come, then the table and its conclusion. Returns points_failed if a
// point has no number, interrupted or terminated if a signal ended the run. Throws Failure for what keeps the whole run
// from going on.
ExitCode run_measurements(const RunRequest& request);
// What came of a run that writes no table.
struct RunOutcome {
  ExitCode code = ExitCode::ok;
  std::vector<Result> rows;      // finished ones, in the order of the grid
  std::filesystem::path folder;  // empty with --no-save
};
// Two requests of the same points, each a run of its own, point by point in turn: what drifts, drifts for both.
std::pair<RunOutcome, RunOutcome> measure_in_turn(const RunRequest& first, const RunRequest& second);
// As run_measurements, but in place of the contexts of the grids between the shortest and the longest of each: for each
// model, phase and layer ratio the context from which on it is faster than its softmax twin.
ExitCode find_crossovers(const RunRequest& request);

}  // namespace ringbench
