// verdict_line.h: a graded answer as keys of a line of JSON: what `grade` and `eval` write and `score` reads.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>

#include "evals/grade.h"

namespace ringbench {

// math, aime, choice, code; empty for another word.
std::optional<TaskKind> task_kind(std::string_view word);

// "verdict", "extracted" (null where no answer was found), "method", "form", "gold_form", "rule", "span", "flags".
void add_verdict(nlohmann::ordered_json& line, const GradeVerdict& verdict);

}  // namespace ringbench
