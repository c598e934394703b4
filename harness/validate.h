// validate.h: how true estimates are: prefills estimated from chunks and run whole, side by side.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "harness/result.h"
#include "harness/run.h"

namespace ringbench {

// One prefill, twice. Times are CPU time over threads, which other processes do not lengthen; on a device the wall's.
struct Validation {
  Result estimate, whole;
  double whole_s = 0;
  double error = 0;     // estimate over whole, minus 1
  bool inside = false;  // the whole run lies within the estimate's interval
};

// Rows of the same points: estimated, and run whole. Those without a number or a partner are left out.
std::vector<Validation> match_validations(const std::vector<Result>& estimates, const std::vector<Result>& whole);
void write_validations(std::ostream& out, const std::vector<Validation>& validations, Format format);

// Measures every prefill of the request both ways (two runs, point by point in turn), writes the table and keeps it as
// RESULTS/<id of the first run>/validation.csv. Returns points_failed if a point has no number either way, or if fewer
// than 17 of 20 whole runs lie inside their intervals.
ExitCode run_validation(const RunRequest& request);

}  // namespace ringbench
