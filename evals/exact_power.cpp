// exact_power.cpp: powers and roots of exact.h.
#include <algorithm>

#include "evals/exact.h"

namespace ringbench {

using Kind = Generator::Kind;

namespace {

// Trial division up to here; a cofactor below its square is prime.
constexpr unsigned long kMaxTrial = 4096;

Fraction of(const Sum& sum) { return {sum, {{Monomial{}, mpq_class(1)}}}; }

Fraction term(Monomial m, const mpq_class& c) { return of(Sum{{std::move(m), c}}); }

GeneratorPtr prime_generator(const mpz_class& p) {
  auto g = std::make_shared<Generator>();
  g->kind = Kind::prime;
  g->base = p;
  g->text = p.get_str();
  return g;
}

bool is_square(const mpq_class& q) {
  return q >= 0 && mpz_perfect_square_p(q.get_num_mpz_t()) != 0 && mpz_perfect_square_p(q.get_den_mpz_t()) != 0;
}

mpq_class square_root(const mpq_class& q) { return mpq_class(sqrt(q.get_num()), sqrt(q.get_den())); }

// The positive rational that leaves coprime integers.
mpq_class content(const Sum& sum) {
  mpz_class num, den = 1;
  for (const auto& [m, c] : sum) {
    num = gcd(num, c.get_num());
    den = lcm(den, c.get_den());
  }
  mpq_class result(num, den);
  result.canonicalize();
  return result;
}

}  // namespace

std::vector<std::pair<mpz_class, long>> Arithmetic::factor(mpz_class n) {
  std::vector<std::pair<mpz_class, long>> factors;
  const size_t limbs = mpz_size(n.get_mpz_t());
  for (unsigned long p = 2; p < kMaxTrial && n > 1; p += p == 2 ? 1 : 2) {
    if (p % 16 == 1) fuel_.spend(1 + limbs / 4);
    if (mpz_divisible_ui_p(n.get_mpz_t(), p) == 0) {
      if (n < p * p) break;
      continue;
    }
    const mpz_class divisor(p);
    fuel_.spend(1 + limbs);
    factors.emplace_back(divisor, static_cast<long>(mpz_remove(n.get_mpz_t(), n.get_mpz_t(), divisor.get_mpz_t())));
  }
  if (n == 1) return factors;
  long exponent = 1;
  if (mpz_sizeinbase(n.get_mpz_t(), 2) <= 4096) {
    for (unsigned long k = 2; k <= 7; k += k == 2 ? 1 : 2) {  // a cofactor that is a power
      mpz_class r;
      while (mpz_root(r.get_mpz_t(), n.get_mpz_t(), k) != 0 && r > 1) n = r, exponent *= static_cast<long>(k);
    }
  }
  factors.emplace_back(n, exponent);
  return factors;
}

Fraction Arithmetic::power(const Fraction& base, const Fraction& exponent) {
  fuel_.spend(8);
  const auto q = as_rational(exponent);
  if (q) {
    if (*q == 0) {
      if (base.num.empty()) throw Undefined("0^0");
      return integer(1);
    }
    if (base.num.empty()) {
      if (*q < 0) throw Undefined("division by zero");
      return integer(0);
    }
    if (q->get_den() == 1) return integer_power(base, q->get_num());
    if (q->get_den() > 64) return formal_power(base, exponent);
    // Numerator and denominator apart: where both are negative, nothing is claimed.
    Fraction result = rational_power(base.num, *q);
    if (!(base.den.size() == 1 && base.den.begin()->first.empty() && base.den.begin()->second == 1))
      result = divide(result, rational_power(base.den, *q));
    return result;
  }
  const auto number = as_rational(base);
  if (number && *number == 1) return integer(1);
  if (const auto result = symbolic_power(base, exponent)) return *result;
  return formal_power(base, exponent);
}

Fraction Arithmetic::integer_power(const Fraction& base, const mpz_class& n) {
  const mpz_class size = abs(n);
  if (n < 0) return divide(integer(1), integer_power(base, size));
  const bool single = base.num.size() == 1 && base.den.size() == 1;
  if (!single) {
    if (size > 64) return formal_power(base, rational(mpq_class(n)));
    Fraction result{power(base.num, size.get_ui()), power(base.den, size.get_ui())};
    return result;
  }
  const auto& [m, c] = *base.num.begin();
  const size_t bits = std::max(mpz_sizeinbase(c.get_num_mpz_t(), 2), mpz_sizeinbase(c.get_den_mpz_t(), 2));
  const bool unit = mpq_class(abs(c)) == 1;
  const bool grows =
      std::any_of(m.begin(), m.end(), [](const Factor& f) { return f.generator->kind == Kind::root; }) && size > 64;
  if ((!unit && size * static_cast<unsigned long>(bits) > kMaxBits) || size > 1000000000 || grows)
    return formal_power(base, rational(mpq_class(n)));
  mpq_class coefficient = 1;
  if (unit) {
    if (c < 0 && mpz_odd_p(n.get_mpz_t()) != 0) coefficient = -1;
  } else {
    fuel_.spend(bits * size.get_ui() / 64);
    mpz_pow_ui(coefficient.get_num_mpz_t(), c.get_num_mpz_t(), size.get_ui());
    mpz_pow_ui(coefficient.get_den_mpz_t(), c.get_den_mpz_t(), size.get_ui());
  }
  Monomial raised = m;
  for (Factor& f : raised) f.exponent *= size;
  Fraction result = integer(0);
  add_term(result.num, std::move(raised), coefficient);
  return divide(result.num, base.den);  // a denominator of one term is 1
}

Fraction Arithmetic::rational_power(const Sum& base, const mpq_class& exponent) {
  if (base.size() == 1) return term_power(base.begin()->first, base.begin()->second, exponent);
  const bool even = mpz_even_p(exponent.get_den_mpz_t()) != 0;
  mpq_class scale = content(base);
  if (!even && base.rbegin()->second < 0) scale = -scale;  // odd roots of opposites are opposites
  Sum inner;
  for (const auto& [m, c] : base) inner.emplace(m, c / scale);
  Fraction outside = term_power({}, scale, exponent);
  if (exponent.get_den() == 2) {
    if (const auto simple = denested(inner)) return multiply(outside, integer_power(*simple, exponent.get_num()));
  }
  auto g = std::make_shared<Generator>();
  g->kind = Kind::root;
  g->text = "(" + to_text(inner) + ")";
  if (g->text.size() > kMaxCandidateBytes) throw LimitError("an expression is too long");
  g->args = {of(inner)};
  Fraction result = integer(0);
  add_term(result.num, Monomial{{std::move(g), exponent}}, 1);
  return multiply(outside, result);
}

// (c * m)^exponent. Symbols are real: sqrt(x^2) is |x|.
Fraction Arithmetic::term_power(const Monomial& monomial, const mpq_class& coefficient, const mpq_class& exponent) {
  const bool even = mpz_even_p(exponent.get_den_mpz_t()) != 0;
  mpq_class size = abs(coefficient);
  Monomial product;
  if (size != 1) {
    std::vector<std::pair<mpz_class, long>> factors = factor(size.get_num());
    for (auto& [p, k] : factor(size.get_den())) factors.emplace_back(p, -k);
    std::sort(factors.begin(), factors.end());
    for (const auto& [p, k] : factors) {
      mpq_class e = exponent * k;
      product.push_back({prime_generator(p), e});
    }
  }
  Fraction result = integer(0);
  add_term(result.num, std::move(product), 1);
  if (coefficient < 0) {
    if (!even) {
      if (mpz_odd_p(exponent.get_num_mpz_t()) != 0) result = negate(result);
    } else if (monomial.empty() && exponent.get_den() == 2) {
      result = multiply(result, integer_power(imaginary(), exponent.get_num()));
    } else {
      return formal_power(term(monomial, coefficient), rational(exponent));
    }
  }
  for (const Factor& f : monomial) {
    const mpq_class e = f.exponent * exponent;
    if (f.generator->kind == Kind::imaginary) return formal_power(term(monomial, coefficient), rational(exponent));
    const bool signed_value = f.generator->kind == Kind::symbol || f.generator->kind == Kind::function;
    if (even && signed_value && mpz_even_p(f.exponent.get_num_mpz_t()) != 0 &&
        (e.get_den() == 1 ? mpz_odd_p(e.get_num_mpz_t()) != 0 : true) && f.exponent.get_den() == 1) {
      Fraction inner = term({{f.generator, mpq_class(1)}}, 1);
      const Fraction absolute = function("abs", {inner});
      Fraction raised = integer(0);
      add_term(raised.num, Monomial{{absolute.num.begin()->first[0].generator, e}}, 1);
      result = multiply(result, raised);
      continue;
    }
    Fraction raised = integer(0);
    add_term(raised.num, Monomial{{f.generator, e}}, 1);
    result = multiply(result, raised);
  }
  return result;
}

// sqrt(a + b sqrt(c)) as a sum of two roots, where a^2 - b^2 c is a square; c = -1 included.
std::optional<Fraction> Arithmetic::denested(const Sum& sum) {
  if (sum.size() != 2 || !sum.begin()->first.empty()) return std::nullopt;
  const mpq_class a = sum.begin()->second;
  const auto& [m, b] = *sum.rbegin();
  for (const Factor& f : m)
    if (f.generator->kind != Kind::imaginary && !(f.generator->kind == Kind::prime && f.exponent == mpq_class(1, 2)))
      return std::nullopt;
  const Sum surd{{m, b}};
  const auto square = as_rational(of(multiply(surd, surd)));
  if (!square) return std::nullopt;
  const mpq_class d2 = a * a - *square;
  if (!is_square(d2)) return std::nullopt;
  if (*square > 0 && a < 0) return std::nullopt;
  const mpq_class d = square_root(d2), half(1, 2);
  const Fraction first = term_power({}, (a + d) / 2, half);
  const mpq_class rest = (a - d) / 2;
  const Fraction second = rest == 0 ? integer(0) : term_power({}, rest, half);
  return b > 0 ? add(first, second) : subtract(first, second);
}

Fraction Arithmetic::formal_power(const Fraction& base, const Fraction& exponent) {
  return function("pow", {base, exponent});
}

// Bases that are positive, or taken to be: a^(c m + d) = (a^m)^c a^d, numbers split into primes.
std::optional<Fraction> Arithmetic::symbolic_power(const Fraction& base, const Fraction& exponent) {
  if (base.num.size() != 1 || exponent.den.size() != 1) return std::nullopt;
  if (base.den.size() != 1) return std::nullopt;
  const auto& [monomial, coefficient] = *base.num.begin();
  if (coefficient < 0) {  // (-2)^n = (-1)^n 2^n, (-1)^(n + 1) = -(-1)^n
    if (coefficient != -1 || !monomial.empty())
      return multiply(power(integer(-1), exponent), power(negate(base), exponent));
    const auto constant = exponent.num.find(Monomial{});
    if (constant == exponent.num.end() || constant->second.get_den() != 1) return std::nullopt;
    Sum rest = exponent.num;
    rest.erase(Monomial{});
    return multiply(power(base, of(Sum{{Monomial{}, constant->second}})), power(base, {rest, exponent.den}));
  }
  std::vector<Factor> bases;
  for (auto& [p, k] : factor(coefficient.get_num())) bases.push_back({prime_generator(p), mpq_class(k)});
  for (auto& [p, k] : factor(coefficient.get_den())) bases.push_back({prime_generator(p), mpq_class(-k)});
  for (const Factor& f : monomial) {
    if (f.generator->kind == Kind::imaginary || f.generator->kind == Kind::function) return std::nullopt;
    bases.push_back(f);
  }
  Fraction result = integer(1);
  for (const Factor& b : bases) {
    const Fraction plain = term({{b.generator, mpq_class(1)}}, 1);
    for (const auto& [m, c] : exponent.num) {
      const mpq_class e = c * b.exponent;
      if (m.empty()) {
        result = multiply(result, power(plain, rational(e)));
        continue;
      }
      auto g = std::make_shared<Generator>();
      g->kind = Kind::power;
      g->args = {plain, term(m, 1)};
      g->text = b.generator->text + "^(" + to_text(g->args[1]) + ")";
      if (g->text.size() > kMaxCandidateBytes) throw LimitError("an expression is too long");
      result = multiply(result, of(Sum{{Monomial{{std::move(g), e}}, mpq_class(1)}}));
    }
  }
  return result;
}

}  // namespace ringbench
