#include "harness/verdict_line.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace ringbench {

std::optional<TaskKind> task_kind(std::string_view word) {
  for (const auto& [name, kind] : {std::pair("math", TaskKind::math), std::pair("aime", TaskKind::aime),
                                   std::pair("choice", TaskKind::choice), std::pair("code", TaskKind::code)})
    if (word == name) return kind;
  return std::nullopt;
}

#if defined(RINGBENCH_HAVE_TOKENIZER)

void add_verdict(nlohmann::ordered_json& line, const GradeVerdict& v) {
  line["verdict"] = to_string(v.verdict);
  line["extracted"] = v.rule.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(v.extracted);
  line["method"] = to_string(v.method);
  line["form"] = v.form, line["gold_form"] = v.gold_form;
  line["rule"] = v.rule, line["span"] = {v.begin, v.end};
  nlohmann::ordered_json flags = nlohmann::ordered_json::array();
  for (const auto& [set, name] : {std::pair(v.near_miss, "near_miss"), std::pair(v.unit_mismatch, "unit_mismatch"),
                                  std::pair(v.multi_box, "multi_box"), std::pair(v.hedged, "hedged"),
                                  std::pair(v.unreduced, "unreduced"), std::pair(v.natural_log, "natural_log")})
    if (set) flags.push_back(name);
  line["flags"] = std::move(flags);
}

#endif

}  // namespace ringbench
