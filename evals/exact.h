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

struct Ratio;

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
  std::vector<Ratio> args;
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

struct Ratio {
  Sum num;
  Sum den;  // not 0; 1 where it could be divided out
};

// Arithmetic against a budget. Throws LimitError, and Undefined for a division by zero.
class Arithmetic {
 public:
  explicit Arithmetic(Fuel& fuel) : fuel_(fuel) {}

  static Ratio integer(long value) { return rational(mpq_class(value)); }
  static Ratio rational(const mpq_class& value);
  static Ratio generator(Generator::Kind kind, const std::string& text);
  static Ratio symbol(const std::string& name) { return generator(Generator::Kind::symbol, name); }
  static Ratio pi() { return generator(Generator::Kind::pi, "pi"); }
  static Ratio euler() { return generator(Generator::Kind::euler, "e"); }
  static Ratio imaginary() { return generator(Generator::Kind::imaginary, "i"); }
  static Ratio function(const std::string& name, std::vector<Ratio> args);  // as it stands, without rewriting

  Ratio add(const Ratio& a, const Ratio& b);
  Ratio subtract(const Ratio& a, const Ratio& b);
  Ratio negate(const Ratio& a);
  Ratio multiply(const Ratio& a, const Ratio& b);
  Ratio divide(const Ratio& a, const Ratio& b);
  Ratio power(const Ratio& base, const Ratio& exponent);
  // Real for odd n; of a negative number and n = 2: i times the root of its opposite.
  Ratio root(const Ratio& a, long n) { return power(a, rational(mpq_class(1, static_cast<unsigned long>(n)))); }

  // Zero for certain. That it is not zero is certain only if `independent(sum)`.
  bool is_zero(const Sum& sum);
  bool equal(const Ratio& a, const Ratio& b) { return is_zero(subtract(a, b).num); }

  // Primes with their exponents; what trial division leaves counts as prime.
  std::vector<std::pair<mpz_class, long>> factor(mpz_class n);
  Fuel& fuel() { return fuel_; }

 private:
  Sum multiply(const Sum& a, const Sum& b);
  Sum power(const Sum& base, unsigned long n);
  void add_term(Sum& into, Monomial monomial, mpq_class coefficient);
  Ratio divide(const Sum& num, const Sum& den);
  bool conjugate(Sum& num, Sum& den);
  Ratio integer_power(const Ratio& base, const mpz_class& n);
  Ratio rational_power(const Sum& base, const mpq_class& exponent);
  Ratio term_power(const Monomial& monomial, const mpq_class& coefficient, const mpq_class& exponent);
  std::optional<Ratio> denested(const Sum& sum);
  Ratio formal_power(const Ratio& base, const Ratio& exponent);
  std::optional<Ratio> symbolic_power(const Ratio& base, const Ratio& exponent);
  void check_bits(const mpq_class& q);

  Fuel& fuel_;
};

std::optional<mpq_class> as_rational(const Ratio& ratio);
std::optional<mpz_class> as_integer(const Ratio& ratio);
// No symbol anywhere, functions' arguments included.
bool is_constant(const Sum& sum);
inline bool is_constant(const Ratio& r) { return is_constant(r.num) && is_constant(r.den); }
void collect_symbols(const Ratio& ratio, std::vector<std::string>& names);  // sorted, each once
// The terms are linearly independent over Q by theorem: rationals, prime roots, i, and one of pi and e, symbols.
bool independent(const Sum& sum);
// The same text for the same normal form.
std::string to_text(const Sum& sum);
std::string to_text(const Ratio& ratio);

}  // namespace ringbench
