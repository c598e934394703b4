// real_set.cpp: see real_set.h.
#include "evals/real_set.h"

#include <algorithm>

#include "evals/numeric.h"

namespace ringbench {
namespace {

int compare(Arithmetic& a, const Endpoint& x, const Endpoint& y) {
  a.fuel().spend(1);
  if (x.infinite != 0 || y.infinite != 0) return x.infinite - y.infinite;
  const Fraction difference = a.subtract(x.value, y.value);
  if (a.is_zero(difference.num)) return 0;
  const auto sign = sign_of(difference, a.fuel());
  if (!sign) throw Undefined("ends of an interval that cannot be ordered");
  return *sign;
}

std::string to_text(const Endpoint& e) {
  return e.infinite != 0 ? (e.infinite < 0 ? "-infinity" : "infinity") : to_text(e.value);
}

}  // namespace

RealSet all_reals() { return {{{{-1, {}}, {1, {}}, false, false}}}; }

RealSet point(const Fraction& value) { return {{{{0, value}, {0, value}, true, true}}}; }

RealSet interval(Arithmetic& a, const RealPiece& piece) {
  const int order = compare(a, piece.low, piece.high);
  if (order > 0 || (order == 0 && !(piece.low_closed && piece.high_closed))) return {};
  if ((piece.low.infinite != 0 && piece.low_closed) || (piece.high.infinite != 0 && piece.high_closed))
    throw Undefined("an interval that holds infinity");
  return {{piece}};
}

RealSet unite(Arithmetic& a, const RealSet& x, const RealSet& y) {
  std::vector<RealPiece> pieces;
  auto left = x.pieces.begin(), right = y.pieces.begin();
  while (left != x.pieces.end() || right != y.pieces.end()) {
    bool take_left = right == y.pieces.end();
    if (left != x.pieces.end() && right != y.pieces.end()) {
      const int order = compare(a, left->low, right->low);
      take_left = order < 0 || (order == 0 && left->low_closed);
    }
    const RealPiece& next = take_left ? *left++ : *right++;
    if (!pieces.empty()) {
      RealPiece& last = pieces.back();
      const int gap = compare(a, next.low, last.high);
      if (gap < 0 || (gap == 0 && (next.low_closed || last.high_closed))) {
        const int order = compare(a, next.high, last.high);
        if (order > 0) last.high = next.high, last.high_closed = next.high_closed;
        if (order == 0) last.high_closed |= next.high_closed;
        continue;
      }
    }
    pieces.push_back(next);
  }
  return {std::move(pieces)};
}

RealSet complement(const RealSet& x) {
  std::vector<RealPiece> pieces;
  Endpoint low{-1, {}};
  bool closed = false;
  for (const RealPiece& p : x.pieces) {
    if (p.low.infinite == 0) pieces.push_back({low, p.low, closed, !p.low_closed});
    low = p.high;
    closed = !p.high_closed;
  }
  if (low.infinite < 1) pieces.push_back({low, {1, {}}, closed && low.infinite == 0, false});
  return {std::move(pieces)};
}

RealSet intersect(Arithmetic& a, const RealSet& x, const RealSet& y) {
  return complement(unite(a, complement(x), complement(y)));
}

bool equal(Arithmetic& a, const RealSet& x, const RealSet& y) {
  return std::equal(x.pieces.begin(), x.pieces.end(), y.pieces.begin(), y.pieces.end(),
                    [&](const RealPiece& p, const RealPiece& q) {
                      return p.low_closed == q.low_closed && p.high_closed == q.high_closed &&
                             compare(a, p.low, q.low) == 0 && compare(a, p.high, q.high) == 0;
                    });
}

std::string to_text(const RealSet& x) {
  if (x.pieces.empty()) return "empty";
  std::string text;
  for (const RealPiece& p : x.pieces) {
    if (!text.empty()) text += " u ";
    text += (p.low_closed ? "[" : "(") + to_text(p.low) + ", " + to_text(p.high) + (p.high_closed ? "]" : ")");
  }
  return text;
}

}  // namespace ringbench
