#include "harness/questions.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "harness/failure.h"

#if defined(RINGBENCH_HAVE_TOKENIZER)
#include "evals/code_task.h"
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

CodeProblem tests_of(const Question& question) {
  return parse_code_problem(question.public_tests, question.private_tests, question.metadata);
}

// Why no answer to the question could be graded; else empty.
std::string why_unread(const Question& question) {
  if (question.kind == "choice") return "";
  if (question.kind == "code") {
    try {
      tests_of(question);
      return "";
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
  }
  // Any answer will do: whether the gold can be read does not depend on it.
  const bool unread =
      grade_answer(question, {0, "0", question.gold}, false, true).verdict == VerdictKind::gold_unparsable;
  return unread ? "its gold cannot be read: " + question.gold : "";
}

// As add_verdict() of verdict_line.h for other kinds.
void add_code_verdict(nlohmann::ordered_json& line, const Question& question, const GivenAnswer& answer,
                      const GradingOptions& options) {
  const std::optional<std::string> program = extract_code(answer.text);
  line["verdict"] = "not_run";
  line["program"] = program ? nlohmann::ordered_json(*program) : nlohmann::ordered_json(nullptr);
  if (!program) {
    line["verdict"] = answer.cut_off ? "truncated" : "no_answer";
  } else if (options.allow_exec) {
    const CodeVerdict v = run_code(*program, tests_of(question));
    line["verdict"] = v.outcome == CodeVerdict::Outcome::passed ? "correct" : "incorrect";
    line["outcome"] = to_string(v.outcome), line["test"] = v.test, line["detail"] = v.detail;
  }
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
  all.sha256 = dataset.sha256;
  for (Question& question : dataset.questions) {
    if (limit > 0 && static_cast<int64_t>(all.asked.size()) == limit) break;
    const std::string why = why_unread(question);
    const bool unread = !why.empty();
    if (unread) all.left_out.push_back("question " + question.id + ": " + why);
    (unread ? all.unread_golds : all.asked).push_back(std::move(question));
  }
  if (all.asked.empty()) throw UsageError(path.string() + ": no question has a gold that can be read.");
  return all;
}

nlohmann::ordered_json graded_line(const Question& question, const GivenAnswer& answer, const GradingOptions& options) {
  nlohmann::ordered_json line = {{"id", question.id}, {"sample", answer.sample}};
  if (question.kind == "code") {
    add_code_verdict(line, question, answer, options);
    return line;
  }
  add_verdict(line, grade_answer(question, answer, options.last_number));
  line["gold"] = last_box_or_all(answer.gold);
  return line;
}

void check_can_grade(const Questions& questions, const GradingOptions& options) {
  const bool code = std::any_of(questions.asked.begin(), questions.asked.end(),
                                [](const Question& question) { return question.kind == "code"; });
  if (!code) return;
  if (!options.allow_exec)
    throw UsageError("answers to these questions are programs, and grading means to run them.",
                     "--allow-exec runs them in a sandbox: no network, nothing to write to, limits on time and memory");
  if (const std::string& problem = sandbox_problem(); !problem.empty())
    throw Failure(ExitCode::environment, "--allow-exec: there is no sandbox to run programs in: " + problem + ".");
}

#else

Questions read_questions(const std::filesystem::path&, const std::string&, int64_t) {
  throw no_text_libraries("no grader");
}
void check_can_grade(const Questions&, const GradingOptions&) {}
nlohmann::ordered_json graded_line(const Question&, const GivenAnswer&, const GradingOptions&) {
  throw no_text_libraries("no grader");
}

#endif

}  // namespace ringbench
