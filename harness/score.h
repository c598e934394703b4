// score.h: the command `score`: metrics with intervals from verdicts or counts in a file. Nothing is generated here,
// and nothing graded.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "evals/metrics.h"
#include "harness/failure.h"
#include "harness/plan.h"
#include "harness/result.h"

namespace ringbench {

// One question's samples; `votes` and the three counts only from verdicts.
struct ScoredQuestion {
  std::string id;
  Counts counts;
  std::vector<Vote> votes;
  int64_t truncated = 0, unparsed = 0, wrong = 0;
};

struct ScoreFile {
  std::vector<ScoredQuestion> questions;  // in the order in which they first appear
  bool has_verdicts = false;              // else counts
};

// JSON lines: {"id", "sample", "verdict", "extracted"} for each sample, or {"id", "n", "c"} for each question. Throws
// UsageError naming file and line for anything else, a sample that is there twice, and verdicts that are none (of golds
// that cannot be parsed, and of code that was not run).
ScoreFile read_score_file(const std::string& path);

// "avg@4", "pass@1", "maj@64" (also "cons@64"), "gpass@8:0.5".
struct Metric {
  std::string name;  // avg, pass, maj, gpass
  int64_t k = 1;
  double tau = 0;
  std::string text;  // as it was written
};
Metric parse_metric(const std::string& word);

// Each question's value. Throws UsageError where a question has fewer than k samples, naming it.
std::vector<double> question_values(const ScoreFile& file, const Metric& metric, const std::string& path);

struct ScoreRequest {
  std::string file, against;  // against: the other run of the same questions
  Strings metrics;            // empty: avg and, from verdicts of several samples, maj, of as many as all questions have
  std::optional<double> published;  // percent
  Format format = Format::table;    // table, md, csv, json
};
ExitCode run_score(const ScoreRequest& request, std::ostream& out);

}  // namespace ringbench
