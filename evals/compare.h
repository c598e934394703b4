// compare.h: whether two typed answers are the same (C4 to C14 of the convention). Not symmetric: a gold that is a list
// takes a tuple with the same members, a gold that is a tuple takes a list in the same order.
#pragma once

#include "evals/answer.h"

namespace ringbench {

struct AnswerComparison {
  bool same = false;
  // What it took, the weakest first to be named: numbers that agree, numbers that differ, matching of members.
  bool probable = false;
  bool numeric = false;
  bool matched = false;
  bool near_miss = false;  // two numbers within a thousandth, but not the same
};

// `seed` is what random points come from. With `allow_probable` false, what only numbers suggest is not the same.
AnswerComparison compare_answers(const Answer& gold, const Answer& candidate, uint64_t seed, bool allow_probable,
                                 Fuel& fuel);

}  // namespace ringbench
