// exact.h: exact arithmetic on what answers are made of: sums of rational * prime roots * pi^k * e^r * i^m, with real
// symbols, powers with symbolic exponents, nested roots and functions as further generators, and quotients of such
// sums. Functions are in functions.h, numerical proofs in numeric.h; no floating point here, and no parsing.
#pragma once

#include <gmpxx.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evals/fuel.h"

namespace ringbench {

struct Fraction;

// What monomials are made of. Two generators are the same if their texts are.
struct Generator {
  enum class Kind {
    imaginary,  // i; exponent 1
    prime,      // `base`; exponent in [0, 1). A part of a long integer that was not factored counts as one
    pi,
    euler,
    symbol,    // real; any rational exponent
    power,     // args[0] ^ args[1], the second one term with coefficient 1: 25^n is (5^n)^2
    root,      // args[0], a sum that is not one term; exponent < 1
    function,  // `function` of args
  };
  Kind kind = Kind::symbol;
  std::string text;
  mpz_class base;
  std::string function;
  std::vector<Fraction> args;
};
using GeneratorPtr = std::shared_ptr<const Generator>;

struct Factor {
  GeneratorPtr generator;
  mpq_class exponent;  // not 0
};
using Monomial = std::vector<Factor>;  // ordered by kind and text; empty: 1
struct MonomialOrder {
  bool operator()(const Monomial& a, const Monomial& b) const;
};
using Sum = std::map<Monomial, mpq_class, MonomialOrder>;  // coefficients are not 0; empty: 0

struct Fraction {
  Sum num;
  Sum den;  // not 0; 1 where it could be divided out
};

// Arithmetic against a budget. Throws LimitError, and Undefined for a division by zero.
class Arithmetic {
 public:
  explicit Arithmetic(Fuel& fuel) : fuel_(fuel) {}

  static Fraction integer(long value) { return rational(mpq_class(value)); }
  static Fraction rational(const mpq_class& value);
  static Fraction generator(Generator::Kind kind, const std::string& text);
  static Fraction symbol(const std::string& name) { return generator(Generator::Kind::symbol, name); }
  static Fraction pi() { return generator(Generator::Kind::pi, "pi"); }
  static Fraction euler() { return generator(Generator::Kind::euler, "e"); }
  static Fraction imaginary() { return generator(Generator::Kind::imaginary, "i"); }
  static Fraction function(const std::string& name, std::vector<Fraction> args);  // as it stands, without rewriting

  Fraction add(const Fraction& a, const Fraction& b);
  Fraction subtract(const Fraction& a, const Fraction& b);
  Fraction negate(const Fraction& a);
  Fraction multiply(const Fraction& a, const Fraction& b);
  Fraction divide(const Fraction& a, const Fraction& b);
  Fraction power(const Fraction& base, const Fraction& exponent);
  // Real for odd n; of a negative number and n = 2: i times the root of its opposite.
  Fraction root(const Fraction& a, long n) { return power(a, rational(mpq_class(1, static_cast<unsigned long>(n)))); }

  // Zero for certain. That it is not zero is certain only if `independent(sum)`.
  bool is_zero(const Sum& sum);
  bool equal(const Fraction& a, const Fraction& b) { return is_zero(subtract(a, b).num); }

  // Primes with their exponents; what trial division leaves counts as prime.
  std::vector<std::pair<mpz_class, long>> factor(mpz_class n);
  Fuel& fuel() { return fuel_; }

 private:
  Sum multiply(const Sum& a, const Sum& b);
  Sum power(const Sum& base, unsigned long n);
  void add_term(Sum& into, Monomial monomial, mpq_class coefficient);
  Fraction divide(const Sum& num, const Sum& den);
  bool conjugate(Sum& num, Sum& den);
  Fraction integer_power(const Fraction& base, const mpz_class& n);
  Fraction rational_power(const Sum& base, const mpq_class& exponent);
  Fraction term_power(const Monomial& monomial, const mpq_class& coefficient, const mpq_class& exponent);
  std::optional<Fraction> denested(const Sum& sum);
  Fraction formal_power(const Fraction& base, const Fraction& exponent);
  std::optional<Fraction> symbolic_power(const Fraction& base, const Fraction& exponent);
  void check_bits(const mpq_class& q);

  Fuel& fuel_;
};

std::optional<mpq_class> as_rational(const Fraction& ratio);
std::optional<mpz_class> as_integer(const Fraction& ratio);
// No symbol anywhere, functions' arguments included.
bool is_constant(const Sum& sum);
inline bool is_constant(const Fraction& r) { return is_constant(r.num) && is_constant(r.den); }
void collect_symbols(const Fraction& ratio, std::vector<std::string>& names);  // sorted, each once
// The terms are linearly independent over Q by theorem: rationals, prime roots, i, and one of pi and e, symbols.
bool independent(const Sum& sum);
// The same text for the same normal form.
std::string to_text(const Sum& sum);
std::string to_text(const Fraction& ratio);

}  // namespace ringbench
