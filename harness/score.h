// score.h: metrics with intervals from verdicts or counts, and the command `score`. Nothing is generated here.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "evals/metrics.h"
#include "harness/failure.h"
#include "harness/plan.h"
#include "harness/questions.h"
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
  bool of_programs = false;               // which are right or wrong, but not each other's like: there is no majority
};

// JSON lines: {"id", "sample", "verdict", "extracted"} for each sample, or {"id", "n", "c"} for each question. Throws
// UsageError naming file and line for anything else, a sample that is there twice, and verdicts that are none (of golds
// that cannot be parsed, and of code that was not run).
ScoreFile read_score_file(const std::string& path);
// The same from lines that are already there; `path` is used in messages.
ScoreFile read_score_lines(std::istream& lines, const std::string& path);

// How many samples there are, and why those without a right answer have none.
struct SampleTotals {
  int64_t samples = 0, truncated = 0, unparsed = 0, wrong = 0;
};
SampleTotals totals_of(const ScoreFile& file);

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
// `values`: those.
Score score_by(const ScoreFile& file, const Metric& metric, std::span<const double> values);
// The words, or where there are none: avg and, from verdicts of several samples, maj, of as many as all questions have.
std::vector<Metric> metrics_of(const Strings& words, const ScoreFile& file);

struct ScoreRequest {
  std::string file, against;  // against: the other run of the same questions
  std::string gold;           // a data set: the files hold answers, which are graded first
  std::string kind;           // of its questions; empty: as they say
  GradingOptions grading;
  bool allow_unparsable_gold = false;
  Strings metrics;                  // as metrics_of() takes them
  std::optional<double> published;  // percent
  Format format = Format::table;    // table, md, csv, json
};
ExitCode run_score(const ScoreRequest& request, std::ostream& out);

}  // namespace ringbench
