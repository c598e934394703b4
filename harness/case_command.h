// case_command.h: the commands `parity --emit DIR` and `parity --load NAME=DIR`: cases for other people's kernels, and
// a table of what came back.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "harness/case_judge.h"
#include "harness/failure.h"
#include "harness/plan.h"

namespace ringbench {

struct EmitRequest {
  std::vector<std::string> ops = {"all"}, shapes = case_shapes();
  std::string folder;
  bool quiet = false, progress = true;
};
// Writes the cases and says what was written.
ExitCode run_emit(const EmitRequest& request);

struct JudgeRequest {
  std::string cases = "cases";
  std::vector<std::pair<std::string, std::string>> candidates;  // name, folder; of two, the first is the baseline
  std::vector<std::string> ops;                                 // empty: every case that has outputs
  std::vector<std::string> rounding;
  Format format = Format::table;
  std::vector<std::string> outputs;      // -o
  std::string results = "results/runs";  // where calibrations are
  bool quiet = false, progress = true;
};
// "NAME=DIR" as --load takes it for a candidate; empty for a dump of a whole engine, which has no name.
std::optional<std::pair<std::string, std::string>> parse_candidate(const std::string& text);
// Returns ok; throws Failure(parity) when a case failed, after everything was printed.
ExitCode run_judge(const JudgeRequest& request);

// --- Between the two: what was judged, and its tables ---

struct JudgedCase {
  std::string name, op, shape, dtype;                // shape: "203 tokens, 16 x 128, decode first"
  double bytes = 0, flops = 0;                       // the least that a kernel moves and computes
  std::vector<std::optional<CaseVerdict>> verdicts;  // of each candidate; empty: it has no outputs for this case
  std::vector<CaseOutputs> records;                  // of each candidate, without tensors
};
// Rows of a table: one for each case and candidate.
std::string judged_text(const JudgeRequest& request, const std::vector<JudgedCase>& cases, Format format);

}  // namespace ringbench
