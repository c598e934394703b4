// grade_command.h: the command `grade`: answers against golds, a line of JSON for each. The rules are evals/grade.h's.
#pragma once

#include <iosfwd>
#include <string>

#include "harness/failure.h"

namespace ringbench {

struct GradeRequest {
  // in: {"id", "gold", "text"} a line, and where wanted "sample", "kind" (math, aime, choice, code), "form"
  // (completion, or bare: the text is the answer) and "finish_reason" (length: it was cut off). out: {"id", "sample",
  // "verdict", "extracted", "method", ...}, in the same order.
  std::string in, out;
  std::string kind = "math";  // of lines that say none
  bool allow_unparsable_gold = false;
  bool last_number = false;  // the last number of a text counts where it names no answer
};

// Counts of verdicts go to `summary`. Returns points_failed if a gold cannot be read and that was not allowed. Throws
// UsageError naming file and line for what is no such line; --out is then left as it was.
ExitCode run_grade(const GradeRequest& request, std::ostream& summary);

}  // namespace ringbench
