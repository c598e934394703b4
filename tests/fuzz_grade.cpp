// Fuzz target: any bytes as a completion, as a gold and as both give a verdict, the same when asked again, and spend no
// more steps than one grading may.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "evals/grade.h"

using namespace ringbench;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t half = input.find('\n');  // two lines: a gold and a candidate
  const std::string_view gold = input.substr(0, half);
  const std::string_view candidate = half == std::string_view::npos ? gold : input.substr(half + 1);
  for (const TaskKind kind : {TaskKind::math, TaskKind::aime, TaskKind::choice}) {
    GradeTask task;
    task.kind = kind;
    task.gold = gold;
    task.completion = candidate;
    for (const bool bare : {true, false}) {
      task.bare = bare;
      const GradeVerdict first = grade(task), second = grade(task);
      if (first.verdict != second.verdict || first.fuel != second.fuel) std::abort();
      if (first.end > candidate.size() || first.begin > first.end) std::abort();
    }
  }
  return 0;
}
