// real_set.h: sets of reals with constant ends: intervals, points, unions of them, complements. Symbolic ends are not
// ordered and so are no part of this.
#pragma once

#include <vector>

#include "evals/exact.h"

namespace ringbench {

struct Endpoint {
  int infinite = 0;  // -1, 0, 1
  Fraction value;
};
struct RealPiece {
  Endpoint low, high;
  bool low_closed = false, high_closed = false;
};
// In order, apart from each other, none empty.
struct RealSet {
  std::vector<RealPiece> pieces;
};

// All of them throw Undefined if two ends cannot be put in order.
RealSet all_reals();
RealSet point(const Fraction& value);
RealSet interval(Arithmetic& a, const RealPiece& piece);  // empty if its ends are the wrong way round
RealSet unite(Arithmetic& a, const RealSet& x, const RealSet& y);
RealSet complement(const RealSet& x);
RealSet intersect(Arithmetic& a, const RealSet& x, const RealSet& y);
bool equal(Arithmetic& a, const RealSet& x, const RealSet& y);
std::string to_text(const RealSet& x);

}  // namespace ringbench
