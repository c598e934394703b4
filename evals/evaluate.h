// evaluate.h: the value of an expression's tree. Relations, sets and lists are for answer.h.
#pragma once

#include <string>

#include "evals/exact.h"
#include "evals/latex.h"

namespace ringbench {

class TreeEvaluator {
 public:
  TreeEvaluator(const Tree& tree, Arithmetic& arithmetic);

  // `sign` is what all plus-minus signs are read as: 1 or -1. Throws Unreadable for what has no value of its own.
  Fraction value(int32_t node, int sign);
  bool has_sign(int32_t node) const;  // a plus-minus in it

  // What x = v, f(x) = v, AB = v, m + n = v, \frac{dy}{dx} = v name; empty if it is no name.
  std::string name_of(int32_t node, bool in_quotient = false) const;
  bool is_value(int32_t node) const;  // not a call f(x) or words

  bool natural_log() const { return natural_log_; }

 private:
  Fraction function(const Node& n, int sign);

  const Tree& tree_;
  Arithmetic& arithmetic_;
  bool any_sign_ = false;
  bool angle_ = false;  // inside a trigonometric function: degrees are pi/180
  bool natural_log_ = false;
};

// i and e are constants, other letters symbols.
Fraction letter_value(char c);
// 1 or -1 for that times infinity, else 0.
int infinity_sign(const Fraction& value);

}  // namespace ringbench
