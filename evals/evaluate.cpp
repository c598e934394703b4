// evaluate.cpp: see evaluate.h.
#include "evals/evaluate.h"

#include <algorithm>

#include "evals/functions.h"

namespace ringbench {

using Kind = Node::Kind;

TreeEvaluator::TreeEvaluator(const Tree& tree, Arithmetic& arithmetic) : tree_(tree), arithmetic_(arithmetic) {
  any_sign_ =
      std::any_of(tree.nodes.begin(), tree.nodes.end(), [](const Node& n) { return n.kind == Kind::plus_minus; });
}

bool TreeEvaluator::has_sign(int32_t node) const {
  if (!any_sign_) return false;
  const Node& n = tree_[node];
  return n.kind == Kind::plus_minus ||
         std::any_of(n.kids.begin(), n.kids.end(), [&](int32_t k) { return has_sign(k); });
}

Fraction TreeEvaluator::value(int32_t node, int sign) {
  const Node& n = tree_[node];
  arithmetic_.fuel().spend(2);
  switch (n.kind) {
    case Kind::number: return Arithmetic::rational(n.number);
    case Kind::symbol: return Arithmetic::symbol(n.text);
    case Kind::constant:
      if (n.text == "pi") return Arithmetic::pi();
      return n.text == "infinity" ? Arithmetic::symbol("infinity") : letter_value(n.text[0]);
    case Kind::add: {
      Fraction sum = value(n.kids[0], sign);
      for (size_t i = 1; i < n.kids.size(); ++i) sum = arithmetic_.add(sum, value(n.kids[i], sign));
      return sum;
    }
    case Kind::multiply: {
      Fraction product = value(n.kids[0], sign);
      for (size_t i = 1; i < n.kids.size(); ++i) product = arithmetic_.multiply(product, value(n.kids[i], sign));
      return product;
    }
    case Kind::negate: return arithmetic_.negate(value(n.kids[0], sign));
    case Kind::divide: return arithmetic_.divide(value(n.kids[0], sign), value(n.kids[1], sign));
    case Kind::power: {
      const Node& base = tree_[n.kids[0]];
      const Fraction exponent = value(n.kids[1], sign);
      if (base.kind == Kind::constant && base.text == "e") return call(arithmetic_, "exp", {exponent});
      return arithmetic_.power(value(n.kids[0], sign), exponent);
    }
    case Kind::function: return function(n, sign);
    case Kind::percent: return arithmetic_.divide(value(n.kids[0], sign), Arithmetic::integer(100));
    case Kind::degree: {
      const Fraction plain = value(n.kids[0], sign);
      if (!angle_) return plain;
      return arithmetic_.multiply(plain, arithmetic_.divide(Arithmetic::pi(), Arithmetic::integer(180)));
    }
    case Kind::plus_minus: {
      const bool minus = (n.text == "mp") != (sign < 0);
      const Fraction right = value(n.kids.back(), sign);
      if (n.kids.size() == 1) return minus ? arithmetic_.negate(right) : right;
      const Fraction left = value(n.kids[0], sign);
      return minus ? arithmetic_.subtract(left, right) : arithmetic_.add(left, right);
    }
    default: throw Unreadable("not an expression");
  }
}

Fraction TreeEvaluator::function(const Node& n, int sign) {
  const bool saved = angle_;
  angle_ = n.text == "sin" || n.text == "cos" || n.text == "tan" || n.text == "cot" || n.text == "sec" ||
           n.text == "csc" || n.text == "cis";
  std::vector<Fraction> args;
  for (const int32_t kid : n.kids) args.push_back(value(kid, sign));
  angle_ = saved;
  if (n.text == "log" && args.size() == 1) return plain_log(arithmetic_, args[0], natural_log_);
  if (n.text == "cis") {
    if (args.size() != 1) throw Unreadable("cis of several");
    const Fraction sine = call(arithmetic_, "sin", args);
    return arithmetic_.add(call(arithmetic_, "cos", args), arithmetic_.multiply(Arithmetic::imaginary(), sine));
  }
  if (n.text.starts_with("call ")) return Arithmetic::function(n.text.substr(5), std::move(args));
  return call(arithmetic_, n.text, args);
}

std::string TreeEvaluator::name_of(int32_t node, bool in_quotient) const {
  const Node& n = tree_[node];
  if (n.kind == Kind::function && n.kids.size() == 1) {  // \sin\theta = v, |AB| = v
    const std::string inside = name_of(n.kids[0]);
    const bool length = n.text == "abs" && !inside.empty() && inside[0] >= 'A' && inside[0] <= 'Z';
    const bool angle = n.text == "sin" || n.text == "cos" || n.text == "tan";
    return !inside.empty() && (length || angle) ? n.text + "(" + inside + ")" : "";
  }
  const bool several = n.kind == Kind::add || n.kind == Kind::multiply || n.kind == Kind::divide;
  if (n.kind == Kind::symbol || n.kind == Kind::words) return n.text;
  if (!several) return "";
  std::string name;
  for (const int32_t kid : n.kids) {
    const std::string part = name_of(kid, n.kind == Kind::divide);
    if (part.empty()) return "";
    if (n.kind == Kind::multiply && !in_quotient && (part[0] < 'A' || part[0] > 'Z')) return "";  // AB, but not xy
    if (!name.empty()) name += n.kind == Kind::add ? "+" : n.kind == Kind::divide ? "/" : "";
    name += part;
  }
  return name;
}

bool TreeEvaluator::is_value(int32_t node) const {
  const Node& n = tree_[node];
  if (n.kind == Kind::words || (n.kind == Kind::symbol && n.text.find('(') != std::string::npos)) return false;
  return std::all_of(n.kids.begin(), n.kids.end(), [&](int32_t k) { return is_value(k); });
}

Fraction letter_value(char c) {
  if (c == 'i') return Arithmetic::imaginary();
  if (c == 'e') return Arithmetic::euler();
  return Arithmetic::symbol(std::string(1, c));
}

int infinity_sign(const Fraction& value) {
  if (value.num.size() != 1 || !is_constant(value.den)) return 0;
  const auto& [m, c] = *value.num.begin();
  if (m.size() != 1 || m[0].exponent != 1 || m[0].generator->text != "infinity") return 0;
  return c > 0 ? 1 : -1;
}

}  // namespace ringbench
