// inequality.h: inequalities in one real symbol that are linear in it, or in |linear|, as sets. No others.
#pragma once

#include <optional>
#include <string>

#include "evals/real_set.h"

namespace ringbench {

// Where `difference` (sign) 0, with sign one of < > l g ! (l, g: or equal; !: not equal). Nothing if it is of another
// kind, or a sign cannot be told.
std::optional<RealSet> solve_inequality(Arithmetic& a, const Fraction& difference, const std::string& name, char sign);

}  // namespace ringbench
