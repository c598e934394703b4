// case_judge.h: a candidate's outputs of one case against the truth. What they may differ by is the operator's own
// error with the candidate's rounding points (budget.h); the command and its tables are in case_command.h.
#pragma once

#include <string>
#include <vector>

#include "harness/case_operators.h"
#include "harness/parity.h"

namespace ringbench {

struct OutputVerdict {
  std::string output;  // "o", "state"
  CheckStatus status = CheckStatus::pass;
  double over_budget = 0;       // largest error over budget, rms or max, of its parts
  double rms = 0, max_abs = 0;  // of the whole tensor; rms relative to the truth's (the error ratio of fla's tests)
  double budget = 0;            // of rms, whole tensor
  std::string text;             // where it fails and by how much; empty: it passes
};

struct CaseVerdict {
  CaseRounding rounding;  // that the budget was made with
  std::vector<OutputVerdict> outputs;
  std::string fault;  // what the errors look like; empty: it passes, or nothing that is known

  CheckStatus status() const;
  const OutputVerdict& worst() const;  // one that fails, if any does; else by error over budget
};

// `rounding`: as --rounding gives it. Throws UsageError for a word of it that is none.
CaseVerdict judge_case(const OperatorCase& c, const CaseOutputs& outputs, const std::vector<std::string>& rounding);

}  // namespace ringbench
