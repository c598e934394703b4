// answer.h: an answer with its type and its exact values, made from a tree. Which answers are the same is said in
// compare.h.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "evals/exact.h"
#include "evals/latex.h"
#include "evals/real_set.h"

namespace ringbench {

struct Answer {
  enum class Kind { value, words, tuple, list, set, reals, relation, matrix, ratio, time, numeral };
  Kind kind = Kind::value;
  Fraction value;        // value; relation: left minus right, which is 0, < 0, <= 0 or not 0
  bool percent = false;  // value was written with a sign of percent
  std::string text;      // words; tuple: its two brackets; relation: its sign; numeral: digits; time: am, pm or nothing
  std::string name;      // x in x = v, f(x) in f(x) = v
  bool has_equation = false;
  Fraction equation;          // the whole of name = v: left minus right
  std::vector<Answer> items;  // matrix: by rows
  int columns = 0;
  int base = 0;  // of a numeral
  RealSet reals;
  // Of the whole answer:
  std::string unit;
  bool natural_log = false;  // log without a base was taken for natural
  bool unreduced = false;    // a fraction of two whole numbers with a common factor
  bool grouped = false;      // a comma was read as part of a number
};

// From cleaned text (math_tokens.h). Throws Unreadable, Undefined or LimitError.
Answer read_answer(std::string_view cleaned, Fuel& fuel, bool groups = true);

std::string to_text(const Answer& answer);

}  // namespace ringbench
