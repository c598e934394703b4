// numeric.h: what intervals of long floating point numbers can prove about exact values: their sign, and that a
// difference is not zero. They never prove that one is zero; that is called probable and said so.
#pragma once

#include <optional>

#include "evals/exact.h"

namespace ringbench {

enum class Zero { no, probably, unknown };

// At 128, 512 and 2048 bits; with symbols at 16 random rational points where the value exists, drawn from `seed`.
// no: at some point the interval does not hold 0. unknown: there are not 16 such points, or it needs complex values of
// functions.
Zero decide_zero(const Sum& sum, uint64_t seed, Fuel& fuel);

// Of a real constant; nothing if it cannot be told (0 is told only exactly).
std::optional<int> sign_of(const Fraction& ratio, Fuel& fuel);
std::optional<mpz_class> floor_of(const Fraction& ratio, Fuel& fuel);

}  // namespace ringbench
