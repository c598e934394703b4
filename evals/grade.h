// grade.h: a completion against the gold answer: the verdict, how it came about, and what it was made of. The rules are
// the convention C1 to C17. Pure functions of their arguments, safe to call from several threads; work is limited by
// counted steps, so that a verdict is the same on every machine.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ringbench {

enum class TaskKind { math, aime, choice, code };
enum class VerdictKind { correct, incorrect, no_answer, truncated, gold_unparsable, limit_exceeded, not_run };
// How the verdict was reached. numeric_proof: intervals that do not meet. numeric_probable: 2048 bits agree, at 16
// random points if there are symbols; not a proof.
enum class Method { none, string, exact, set_matching, numeric_proof, numeric_probable };

const char* to_string(VerdictKind kind);
const char* to_string(Method method);

struct GradeTask {
  TaskKind kind = TaskKind::math;
  std::string_view completion;
  std::string_view gold;
  bool bare = false;           // the completion is the answer, nothing to be found in it
  bool cut_off = false;        // it ended at the limit of tokens: without an answer it is truncated
  bool last_number = false;    // take the last number where no rule finds an answer
  bool allow_probable = true;  // numeric_probable counts as correct
};

struct GradeVerdict {
  VerdictKind verdict = VerdictKind::not_run;
  Method method = Method::none;
  std::string extracted;        // as it stands in the completion
  std::string gold_form, form;  // canonical forms of both sides, empty where they were not read
  std::string rule;             // that found the answer (extract.h)
  size_t begin = 0, end = 0;    // where: bytes of the completion
  bool near_miss = false;       // a number within a thousandth of the gold
  bool unit_mismatch = false;
  bool multi_box = false;
  bool hedged = false;  // several values for a gold with one
  bool unreduced = false;
  bool natural_log = false;  // log without a base was taken for natural
  uint64_t fuel = 0;         // steps spent
};

GradeVerdict grade(const GradeTask& task);

// Two answers, as texts without anything around them, are the same either way round: for majority votes.
bool equivalent(std::string_view a, std::string_view b);

}  // namespace ringbench
