// grade_command.cpp: see grade_command.h.
#include "harness/grade_command.h"

#include <map>
#include <nlohmann/json.hpp>
#include <ostream>

#include "harness/convert_lines.h"
#include "harness/result.h"
#include "harness/words.h"

#if defined(RINGBENCH_HAVE_TOKENIZER)
#include "harness/verdict_line.h"
#endif

namespace ringbench {

#if defined(RINGBENCH_HAVE_TOKENIZER)

namespace {

using Json = nlohmann::ordered_json;

// One line of --in; `where` names it.
class Line {
 public:
  Line(const std::string& text, std::string where)
      : json_(Json::parse(text, nullptr, false)), where_(std::move(where)) {
    if (!json_.is_object()) refuse("not a JSON object.");
    if (!json_.contains("id")) refuse("\"id\" is missing.");
  }

  const Json& json() const { return json_; }
  std::string text(const char* key) const {
    if (!json_.contains(key)) refuse("\"" + std::string(key) + "\" is missing.");
    const Json& value = json_[key];
    if (value.is_number()) return value.dump();  // a gold may be written as one
    if (!value.is_string()) refuse("\"" + std::string(key) + "\" is no text.");
    return value.get<std::string>();
  }
  std::string word(const char* key, const std::string& standard) const {
    return json_.contains(key) && !json_[key].is_null() ? text(key) : standard;
  }
  [[noreturn]] void refuse(const std::string& what) const { throw UsageError(where_ + ": " + what); }

 private:
  Json json_;
  std::string where_;
};

Json json_of(const Line& line, const GradeVerdict& v) {
  Json json = {{"id", line.json()["id"]}};
  if (line.json().contains("sample")) json["sample"] = line.json()["sample"];
  add_verdict(json, v);
  return json;
}

GradeVerdict grade_line(const Line& line, const GradeRequest& request) {
  const std::string kind = line.word("kind", request.kind), form = line.word("form", "completion");
  const std::optional<TaskKind> known = task_kind(kind);
  if (!known) line.refuse("\"kind\": '" + kind + "' is none of math, aime, choice, code.");
  if (form != "completion" && form != "bare") line.refuse("\"form\": '" + form + "' is neither completion nor bare.");
  const std::string gold = line.text("gold"), text = line.text("text");
  GradeTask task;
  task.kind = *known;
  task.completion = text, task.gold = gold;
  task.bare = form == "bare";
  task.cut_off = line.word("finish_reason", "") == "length";
  task.last_number = request.last_number;
  return grade(task);
}

}  // namespace

ExitCode run_grade(const GradeRequest& request, std::ostream& summary) {
  std::map<std::string, int64_t> counts;
  convert_lines(request.in, request.out, [&](const std::string& text, const std::string& where) -> std::string {
    if (text.find_first_not_of(" \t\r") == std::string::npos) return "";
    const Line line(text, where);
    const GradeVerdict verdict = grade_line(line, request);
    ++counts[to_string(verdict.verdict)];
    return json_of(line, verdict).dump(-1, ' ', false, Json::error_handler_t::replace);
  });
  int64_t all = 0;
  Strings parts;
  for (const auto& [verdict, count] : counts) all += count, parts.push_back(grouped(count) + " " + verdict);
  summary << grouped(all) << (all == 1 ? " answer: " : " answers: ") << join(parts, ", ") << "\n";
  const bool unread = counts.contains(to_string(VerdictKind::gold_unparsable)) && !request.allow_unparsable_gold;
  return unread ? ExitCode::points_failed : ExitCode::ok;
}

#else

ExitCode run_grade(const GradeRequest&, std::ostream&) { throw no_text_libraries("no grader"); }

#endif

}  // namespace ringbench
