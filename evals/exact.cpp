// exact.cpp: see exact.h. Normal forms: sums and products here, powers in exact_power.cpp.
#include "evals/exact.h"

#include <algorithm>

namespace ringbench {

using Kind = Generator::Kind;

namespace {

int compare(const Generator& a, const Generator& b) {
  if (&a == &b) return 0;
  if (a.kind != b.kind) return a.kind < b.kind ? -1 : 1;
  if (a.kind == Kind::prime) return cmp(a.base, b.base);
  return a.text.compare(b.text);
}

mpz_class floor_of(const mpq_class& q) {
  mpz_class result;
  mpz_fdiv_q(result.get_mpz_t(), q.get_num_mpz_t(), q.get_den_mpz_t());
  return result;
}

Sum one() { return {{Monomial{}, mpq_class(1)}}; }

bool is_one(const Sum& sum) { return sum.size() == 1 && sum.begin()->first.empty() && sum.begin()->second == 1; }

Monomial inverse(Monomial m) {
  for (Factor& f : m) f.exponent = -f.exponent;
  return m;
}

size_t bits(const mpq_class& q) { return mpz_sizeinbase(q.get_num_mpz_t(), 2) + mpz_sizeinbase(q.get_den_mpz_t(), 2); }

// Exponents of 1 and more of these are replaced by what they equal.
bool has_whole_powers(Kind kind) { return kind == Kind::imaginary || kind == Kind::prime || kind == Kind::root; }

// Long numbers in base 32, which takes no longer than they are.
std::string coefficient_text(const mpq_class& c) { return bits(c) > 4096 ? "0v" + c.get_str(32) : c.get_str(); }

std::string exponent_text(const mpq_class& e) {
  if (e == 1) return "";
  return e.get_den() == 1 && e > 0 ? "^" + e.get_str() : "^(" + e.get_str() + ")";
}

}  // namespace

bool MonomialOrder::operator()(const Monomial& a, const Monomial& b) const {
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    const int order = compare(*a[i].generator, *b[i].generator);
    if (order != 0) return order < 0;
    if (a[i].exponent != b[i].exponent) return a[i].exponent < b[i].exponent;
  }
  return a.size() < b.size();
}

Fraction Arithmetic::rational(const mpq_class& value) {
  Fraction result{{}, one()};
  if (value != 0) result.num.emplace(Monomial{}, value);
  return result;
}

Fraction Arithmetic::generator(Kind kind, const std::string& text) {
  auto g = std::make_shared<Generator>();
  g->kind = kind;
  g->text = text;
  return {{{Monomial{{std::move(g), mpq_class(1)}}, mpq_class(1)}}, one()};
}

Fraction Arithmetic::function(const std::string& name, std::vector<Fraction> args) {
  auto g = std::make_shared<Generator>();
  g->kind = Kind::function;
  g->function = name;
  g->text = name + "(";
  for (size_t i = 0; i < args.size(); ++i) g->text += (i > 0 ? ", " : "") + to_text(args[i]);
  g->text += ")";
  if (g->text.size() > kMaxCandidateBytes) throw LimitError("an expression is too long");
  g->args = std::move(args);
  return {{{Monomial{{std::move(g), mpq_class(1)}}, mpq_class(1)}}, one()};
}

void Arithmetic::check_bits(const mpq_class& q) {
  const size_t size = bits(q);
  if (size > 2 * kMaxBits) throw LimitError("a number is too long");
  if (size > 512) fuel_.spend(size / 32);  // of which products and common divisors take their time
}

// Adds coefficient * monomial, whose exponents may be any: i^2 = -1, p^(3/2) = p p^(1/2), sin^2 = 1 - cos^2, ...
void Arithmetic::add_term(Sum& into, Monomial monomial, mpq_class coefficient) {
  fuel_.spend(4 + monomial.size());
  std::vector<Sum> extra;
  for (Factor& f : monomial) {
    const Generator& g = *f.generator;
    if (has_whole_powers(g.kind) && (f.exponent >= 1 || (f.exponent < 0 && g.kind != Kind::root))) {
      const mpz_class whole =
          g.kind == Kind::imaginary ? mpz_class(2 * floor_of(f.exponent / 2)) : floor_of(f.exponent);
      f.exponent -= whole;
      if (!whole.fits_slong_p()) throw LimitError("an exponent is too large");
      const auto size = static_cast<unsigned long>(std::abs(whole.get_si()));
      if (g.kind == Kind::imaginary) {
        if (size % 4 == 2) coefficient = -coefficient;
      } else if (g.kind == Kind::prime) {
        if (size > kMaxBits || size * mpz_sizeinbase(g.base.get_mpz_t(), 2) > kMaxBits)
          throw LimitError("a number is too long");
        mpz_class power;
        mpz_pow_ui(power.get_mpz_t(), g.base.get_mpz_t(), size);
        if (whole > 0)
          coefficient *= power;
        else
          coefficient /= power;
      } else {
        extra.push_back(power(g.args[0].num, size));
      }
    } else if (g.kind == Kind::function && f.exponent >= 2 && (g.function == "sin" || g.function == "abs") &&
               is_one(g.args[0].den)) {
      const mpz_class half = floor_of(f.exponent / 2);
      f.exponent -= 2 * half;
      Sum square;
      if (g.function == "sin") {
        square = one();
        const Fraction cosine = function("cos", g.args);
        for (const auto& [m, c] : multiply(cosine.num, cosine.num)) square[m] -= c;
      } else {
        square = multiply(g.args[0].num, g.args[0].num);
      }
      extra.push_back(power(square, half.get_ui()));
    }
  }
  std::erase_if(monomial, [](const Factor& f) { return f.exponent == 0; });
  check_bits(coefficient);
  if (extra.empty()) {
    const auto [at, fresh] = into.try_emplace(std::move(monomial), coefficient);
    if (fresh) return;
    at->second += coefficient;
    check_bits(at->second);
    if (at->second == 0) into.erase(at);
    return;
  }
  Sum product{{std::move(monomial), std::move(coefficient)}};
  for (const Sum& factor : extra) product = multiply(product, factor);
  for (const auto& [m, c] : product) add_term(into, m, c);
}

Sum Arithmetic::multiply(const Sum& a, const Sum& b) {
  Sum result;
  for (const auto& [am, ac] : a) {
    for (const auto& [bm, bc] : b) {
      Monomial product;
      product.reserve(am.size() + bm.size());
      auto left = am.begin(), right = bm.begin();
      while (left != am.end() || right != bm.end()) {
        const int order = left == am.end() ? 1 : right == bm.end() ? -1 : compare(*left->generator, *right->generator);
        if (order < 0) {
          product.push_back(*left++);
        } else if (order > 0) {
          product.push_back(*right++);
        } else {
          mpq_class exponent = left->exponent + right->exponent;
          if (exponent != 0) product.push_back({left->generator, std::move(exponent)});
          ++left, ++right;
        }
      }
      add_term(result, std::move(product), ac * bc);
    }
  }
  return result;
}

Sum Arithmetic::power(const Sum& base, unsigned long n) {
  Sum result = one(), square = base;
  for (; n > 0; n /= 2) {
    if (n % 2 == 1) result = multiply(result, square);
    if (n > 1) square = multiply(square, square);
  }
  return result;
}

Fraction Arithmetic::add(const Fraction& a, const Fraction& b) {
  if (is_one(a.den) && is_one(b.den)) {
    Sum sum = a.num;
    for (const auto& [m, c] : b.num) add_term(sum, m, c);
    return {std::move(sum), one()};
  }
  Sum sum = multiply(a.num, b.den);
  for (const auto& [m, c] : multiply(b.num, a.den)) add_term(sum, m, c);
  return divide(sum, multiply(a.den, b.den));
}

Fraction Arithmetic::negate(const Fraction& a) {
  Fraction result = a;
  for (auto& [m, c] : result.num) c = -c;
  fuel_.spend(result.num.size());
  return result;
}

Fraction Arithmetic::subtract(const Fraction& a, const Fraction& b) { return add(a, negate(b)); }

Fraction Arithmetic::multiply(const Fraction& a, const Fraction& b) {
  if (is_one(a.den) && is_one(b.den)) return {multiply(a.num, b.num), one()};
  return divide(multiply(a.num, b.num), multiply(a.den, b.den));
}

Fraction Arithmetic::divide(const Fraction& a, const Fraction& b) {
  if (is_zero(b.num)) throw Undefined("division by zero");
  return divide(multiply(a.num, b.den), multiply(a.den, b.num));
}

// Multiplies both by den with another sign before one square root (or i) of its own, which then is gone from den.
bool Arithmetic::conjugate(Sum& num, Sum& den) {
  GeneratorPtr found;
  for (const auto& [m, c] : den)
    for (const Factor& f : m) {
      if (f.generator->kind != Kind::imaginary && f.generator->kind != Kind::prime) return false;
      if (f.generator->kind == Kind::prime && f.exponent != mpq_class(1, 2)) return false;
      found = f.generator;
    }
  if (!found) return false;
  Sum other = den;
  for (auto& [m, c] : other)
    if (std::any_of(m.begin(), m.end(), [&](const Factor& f) { return compare(*f.generator, *found) == 0; })) c = -c;
  num = multiply(num, other);
  den = multiply(den, other);
  return true;
}

Fraction Arithmetic::divide(const Sum& num, const Sum& den) {
  if (den.empty()) throw Undefined("division by zero");
  if (num.empty()) return {{}, one()};
  Sum top = num, bottom = den;
  // Each round takes one of at most four square roots and i out of the denominator.
  for (int i = 0; i < 5 && bottom.size() > 1 && bottom.size() <= 16; ++i)
    if (!conjugate(top, bottom)) break;
  if (bottom.empty()) throw Undefined("division by zero");
  if (bottom.size() == 1) {
    const auto& [m, c] = *bottom.begin();
    return {multiply(top, Sum{{inverse(m), 1 / c}}), one()};
  }
  if (top.size() == bottom.size()) {  // a multiple of the denominator
    const mpq_class factor = top.begin()->second / bottom.begin()->second;
    const bool multiple = std::equal(top.begin(), top.end(), bottom.begin(), [&](const auto& a, const auto& b) {
      return !MonomialOrder()(a.first, b.first) && !MonomialOrder()(b.first, a.first) && a.second == factor * b.second;
    });
    if (multiple) return rational(factor);
  }
  // The last term of the denominator gets coefficient 1: one form for f/g and 2f/2g.
  const Sum scale{{Monomial{}, 1 / bottom.rbegin()->second}};
  return {multiply(top, scale), multiply(bottom, scale)};
}

bool Arithmetic::is_zero(const Sum& sum) {
  if (sum.empty()) return true;
  if (sum.size() == 1) return false;  // generators are not zero
  // Relations such as sin^2 = 1 - cos^2 are used where exponents are positive only.
  Monomial clear;
  for (const auto& [m, c] : sum)
    for (const Factor& f : m) {
      if (f.exponent > 0 || (f.generator->kind != Kind::root && f.generator->kind != Kind::function)) continue;
      const auto same = std::find_if(clear.begin(), clear.end(),
                                     [&](const Factor& g) { return compare(*f.generator, *g.generator) == 0; });
      mpq_class lift(-floor_of(f.exponent));
      if (same == clear.end())
        clear.push_back({f.generator, lift});
      else if (lift > same->exponent)
        same->exponent = lift;
    }
  if (clear.empty()) return false;
  std::sort(clear.begin(), clear.end(),
            [](const Factor& a, const Factor& b) { return compare(*a.generator, *b.generator) < 0; });
  Sum product;
  for (const auto& [m, c] : sum) {
    Monomial raised = m;
    for (const Factor& f : clear) {
      const auto at = std::find_if(raised.begin(), raised.end(),
                                   [&](const Factor& g) { return compare(*f.generator, *g.generator) <= 0; });
      if (at != raised.end() && compare(*f.generator, *at->generator) == 0)
        at->exponent += f.exponent;
      else
        raised.insert(at, f);
    }
    add_term(product, std::move(raised), c);
  }
  return product.empty();
}

std::optional<mpq_class> as_rational(const Fraction& ratio) {
  if (ratio.num.empty()) return mpq_class(0);
  if (!is_one(ratio.den) || ratio.num.size() > 1 || !ratio.num.begin()->first.empty()) return std::nullopt;
  return ratio.num.begin()->second;
}

std::optional<mpz_class> as_integer(const Fraction& ratio) {
  const auto q = as_rational(ratio);
  if (!q || q->get_den() != 1) return std::nullopt;
  return q->get_num();
}

bool is_constant(const Sum& sum) {
  for (const auto& [m, c] : sum)
    for (const Factor& f : m) {
      if (f.generator->kind == Kind::symbol) return false;
      if (!std::all_of(f.generator->args.begin(), f.generator->args.end(),
                       [](const Fraction& r) { return is_constant(r); }))
        return false;
    }
  return true;
}

void collect_symbols(const Fraction& ratio, std::vector<std::string>& names) {
  for (const Sum* sum : {&ratio.num, &ratio.den})
    for (const auto& [m, c] : *sum)
      for (const Factor& f : m) {
        if (f.generator->kind == Kind::symbol) {
          const auto at = std::lower_bound(names.begin(), names.end(), f.generator->text);
          if (at == names.end() || *at != f.generator->text) names.insert(at, f.generator->text);
        }
        for (const Fraction& arg : f.generator->args) collect_symbols(arg, names);
      }
}

bool independent(const Sum& sum) {
  bool pi = false, euler = false;
  for (const auto& [m, c] : sum)
    for (const Factor& f : m) {
      const Kind kind = f.generator->kind;
      if (kind == Kind::pi) pi = true;
      if (kind == Kind::euler) euler = true;
      if (kind == Kind::power || kind == Kind::root || kind == Kind::function) return false;
      if (kind == Kind::prime && mpz_sizeinbase(f.generator->base.get_mpz_t(), 2) > 24) return false;
    }
  return !(pi && euler);
}

std::string to_text(const Sum& sum) {
  if (sum.empty()) return "0";
  std::string text;
  for (const auto& [m, c] : sum) {
    if (!text.empty() && c > 0) text += "+";
    const bool unit = !m.empty() && mpq_class(abs(c)) == 1;
    if (unit && c < 0) text += "-";
    if (!unit) text += coefficient_text(c);
    bool first = unit;
    for (const Factor& f : m) {
      if (!first) text += "*";
      first = false;
      const Generator& g = *f.generator;
      text += g.kind == Kind::prime ? g.base.get_str() : g.text;
      text += exponent_text(f.exponent);
    }
  }
  return text;
}

std::string to_text(const Fraction& ratio) {
  if (is_one(ratio.den)) return to_text(ratio.num);
  return "(" + to_text(ratio.num) + ")/(" + to_text(ratio.den) + ")";
}

}  // namespace ringbench
