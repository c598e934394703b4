// inequality.cpp: see inequality.h.
#include "evals/inequality.h"

#include <algorithm>

#include "evals/numeric.h"

namespace ringbench {
namespace {

// slope * unknown + rest; unknown is the symbol, or an absolute value that holds it.
struct Linear {
  Fraction slope, rest;
  GeneratorPtr unknown;
};

bool is_unknown(const Generator& g, const std::string& name) {
  return (g.kind == Generator::Kind::symbol && g.text == name) || g.function == "abs";
}

std::optional<Linear> as_linear(Arithmetic& a, const Fraction& difference, const std::string& name) {
  if (!is_constant(difference.den)) return std::nullopt;
  Linear linear{Arithmetic::integer(0), Arithmetic::integer(0), nullptr};
  for (const auto& [m, c] : difference.num) {
    const auto at = std::find_if(m.begin(), m.end(), [&](const Factor& f) { return is_unknown(*f.generator, name); });
    Monomial others = m;
    if (at != m.end()) {
      if (at->exponent != 1 || (linear.unknown && linear.unknown->text != at->generator->text)) return std::nullopt;
      linear.unknown = at->generator;
      others.erase(others.begin() + (at - m.begin()));
    }
    const Fraction term{Sum{{others, c}}, Arithmetic::integer(1).num};
    if (!is_constant(term)) return std::nullopt;
    Fraction& part = at != m.end() ? linear.slope : linear.rest;
    part = a.add(part, term);
  }
  if (!linear.unknown || linear.slope.num.empty()) return std::nullopt;
  return linear;
}

}  // namespace

std::optional<RealSet> solve_inequality(Arithmetic& a, const Fraction& difference, const std::string& name, char sign) {
  const auto linear = as_linear(a, difference, name);
  if (!linear) return std::nullopt;
  const Fraction bound = a.negate(a.divide(linear->rest, linear->slope));
  const Fraction slope = a.divide(linear->slope, {difference.den, Arithmetic::integer(1).num});
  const auto direction = sign_of(slope, a.fuel());
  if (!direction || *direction == 0) return std::nullopt;
  const bool below = (sign == '<' || sign == 'l') == (*direction > 0), closed = sign == 'l' || sign == 'g';
  if (linear->unknown->kind == Generator::Kind::symbol) {
    if (sign == '!') return complement(point(bound));
    if (below) return RealSet{{{{-1, {}}, {0, bound}, false, closed}}};
    return RealSet{{{{0, bound}, {1, {}}, closed, false}}};
  }
  // |u| < r: u < r and -u < r; |u| > r: either the other way.
  const Fraction& inside = linear->unknown->args[0];
  const char turned = sign == '!' ? '!' : below ? (closed ? 'l' : '<') : (closed ? 'g' : '>');
  const auto right = solve_inequality(a, a.subtract(inside, bound), name, turned);
  const auto left = solve_inequality(a, a.subtract(a.negate(inside), bound), name, turned);
  if (!left || !right) return std::nullopt;
  return below || sign == '!' ? intersect(a, *left, *right) : unite(a, *left, *right);
}

}  // namespace ringbench
