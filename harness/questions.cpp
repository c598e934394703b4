#include "harness/questions.h"

#include <nlohmann/json.hpp>

#include "harness/failure.h"

#if defined(RINGBENCH_HAVE_TOKENIZER)
#include "evals/extract.h"
#include "harness/verdict_line.h"
#endif

namespace ringbench {

#if defined(RINGBENCH_HAVE_TOKENIZER)

namespace {

GradeVerdict grade_answer(const Question& question, const GivenAnswer& answer, bool last_number, bool bare = false) {
  GradeTask task;
  task.kind = task_kind(question.kind).value_or(TaskKind::math);
  task.completion = answer.text;
  task.gold = answer.gold;
  task.bare = bare;
  task.cut_off = answer.cut_off;
  task.last_number = last_number;
  return grade(task);
}

}  // namespace

Questions read_questions(const std::filesystem::path& path, const std::string& kind, int64_t limit) {
  Dataset dataset;
  try {
    dataset = read_dataset(path, kind);
  } catch (const DatasetError& e) {
    throw UsageError(e.what());
  }
  Questions all;
  all.left_out = std::move(dataset.unread);
  for (Question& question : dataset.questions) {
    if (limit > 0 && static_cast<int64_t>(all.asked.size()) == limit) break;
    // Any answer will do: whether the gold can be read does not depend on it.
    const bool unread =
        question.kind != "choice" &&
        grade_answer(question, {0, "0", question.gold}, false, true).verdict == VerdictKind::gold_unparsable;
    if (unread) all.left_out.push_back("question " + question.id + ": its gold cannot be read: " + question.gold);
    (unread ? all.unread_golds : all.asked).push_back(std::move(question));
  }
  if (all.asked.empty()) throw UsageError(path.string() + ": no question has a gold that can be read.");
  return all;
}

nlohmann::ordered_json graded_line(const Question& question, const GivenAnswer& answer, bool last_number) {
  nlohmann::ordered_json line = {{"id", question.id}, {"sample", answer.sample}};
  add_verdict(line, grade_answer(question, answer, last_number));
  line["gold"] = last_box_or_all(answer.gold);
  return line;
}

#else

namespace {

Failure no_grader() {
  return {ExitCode::environment, "this build has no grader: its libraries were not there.",
          "install libpcre2-dev, libutf8proc-dev, libgmp-dev and libmpfr-dev and build again"};
}

}  // namespace

Questions read_questions(const std::filesystem::path&, const std::string&, int64_t) { throw no_grader(); }
nlohmann::ordered_json graded_line(const Question&, const GivenAnswer&, bool) { throw no_grader(); }

#endif

}  // namespace ringbench
