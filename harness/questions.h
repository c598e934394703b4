// questions.h: questions with golds as `eval` and `score` use them: read from a data set, and answers to them graded.
// What files there are: evals/dataset.h; what is right: evals/grade.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "evals/dataset.h"

namespace ringbench {

struct Questions {
  std::vector<Question> asked;
  std::vector<Question> unread_golds;  // whose gold, or tests, cannot be read
  std::vector<std::string> left_out;   // in words: what the file holds beside `asked`, and why it is not
  std::string sha256;                  // of the file
};
// The first `limit` questions (0: all). Throws UsageError for a file that holds none, Failure(environment) in a build
// without the grader.
Questions read_questions(const std::filesystem::path& path, const std::string& kind, int64_t limit = 0);

struct GivenAnswer {
  int64_t sample = 0;
  std::string text;
  std::string gold;      // the question's own, or of choices the right letter
  bool cut_off = false;  // it ended at the limit of tokens
};
struct GradingOptions {
  bool last_number = false;  // of grade()
  bool allow_exec = false;   // programs are run, in a sandbox
};
// {"id", "sample", "verdict", "extracted", ..., "gold"}: a line that `score` reads. Of code {"id", "sample", "verdict",
// "program", "outcome", "test", "detail"}; without allow_exec the verdict is not_run.
nlohmann::ordered_json graded_line(const Question& question, const GivenAnswer& answer, const GradingOptions& options);

// Throws UsageError if there is code among the questions and it may not be run, Failure(environment) if it cannot.
void check_can_grade(const Questions& questions, const GradingOptions& options);

}  // namespace ringbench
