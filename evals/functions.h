// functions.h: the functions that answers use, by name, rewritten as far as exact arithmetic goes: trigonometry at
// multiples of pi, logarithms split over primes, exponentials as powers. What is left stays a generator.
#pragma once

#include <string_view>

#include "evals/exact.h"

namespace ringbench {

// sin, cos, tan, cot, sec, csc, arcsin, arccos, arctan, sinh, cosh, tanh, exp, ln, log (base and argument), log10,
// abs, floor, ceil, factorial, binomial, permutations, gcd, lcm, max, min.
bool is_function(std::string_view name);

// Throws Undefined where there is no value (ln 0, tan(pi/2)), LimitError over the limits of fuel.h.
Fraction call(Arithmetic& a, const std::string& name, const std::vector<Fraction>& args);

// log(x) without a base: to base 10 if that is rational, else natural. `assumed` says that it was natural.
Fraction plain_log(Arithmetic& a, const Fraction& x, bool& assumed);

}  // namespace ringbench
