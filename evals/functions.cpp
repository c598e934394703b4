// functions.cpp: see functions.h.
#include "evals/functions.h"

#include <algorithm>
#include <array>

#include "evals/numeric.h"

namespace ringbench {

using Kind = Generator::Kind;

namespace {

constexpr std::array kNames = {"sin",  "cos",  "tan",  "cot", "sec", "csc",       "arcsin",   "arccos",      "arctan",
                               "sinh", "cosh", "tanh", "exp", "ln",  "log",       "log10",    "abs",         "floor",
                               "ceil", "gcd",  "lcm",  "max", "min", "factorial", "binomial", "permutations"};

Fraction fraction(long p, long q) {
  mpq_class value{mpz_class(p), mpz_class(q)};
  value.canonicalize();
  return Arithmetic::rational(value);
}

bool one_denominator(const Fraction& r) {
  return r.den.size() == 1 && r.den.begin()->first.empty() && r.den.begin()->second == 1;
}

Fraction single(const Monomial& m, const mpq_class& c) { return {Sum{{m, c}}, Arithmetic::integer(1).num}; }

// r, where x = r pi + rest.
mpq_class pi_part(const Fraction& x, Fraction& rest) {
  rest = x;
  if (!one_denominator(x)) return 0;
  for (const auto& [m, c] : x.num)
    if (m.size() == 1 && m[0].generator->kind == Kind::pi && m[0].exponent == 1) {
      const mpq_class r = c;
      rest.num.erase(m);
      return r;
    }
  return 0;
}

mpq_class modulo(const mpq_class& x, long n) {
  mpz_class whole;
  const mpq_class quotient = x / n;
  mpz_fdiv_q(whole.get_mpz_t(), quotient.get_num_mpz_t(), quotient.get_den_mpz_t());
  return x - whole * n;
}

// cos(pi r) for 0 < r < 1/2 with denominators 3, 4, 5, 6, 8, 10, 12; otherwise as it stands.
Fraction cosine_of_part(Arithmetic& a, const mpq_class& r) {
  const auto root = [&](long n) { return a.root(Arithmetic::integer(n), 2); };
  const auto over = [&](const Fraction& x, long n) { return a.divide(x, Arithmetic::integer(n)); };
  const auto nested = [&](long whole, long factor, long n) {  // sqrt(whole + factor sqrt(n))
    return a.root(a.add(Arithmetic::integer(whole), a.multiply(Arithmetic::integer(factor), root(n))), 2);
  };
  const long p = r.get_num().get_si();
  switch (r.get_den().fits_slong_p() ? r.get_den().get_si() : 0) {
    case 3: return fraction(1, 2);
    case 4: return over(root(2), 2);
    case 5: return over(a.add(root(5), Arithmetic::integer(p == 1 ? 1 : -1)), 4);
    case 6: return over(root(3), 2);
    case 8: return over(nested(2, p == 1 ? 1 : -1, 2), 2);
    case 10: return over(nested(10, p == 1 ? 2 : -2, 5), 4);
    case 12: return over(a.add(root(6), p == 1 ? root(2) : a.negate(root(2))), 4);
    default: return Arithmetic::function("cos", {a.multiply(Arithmetic::rational(r), Arithmetic::pi())});
  }
}

Fraction cosine_of_pi(Arithmetic& a, mpq_class r) {
  r = modulo(r, 2);
  if (r > 1) r = 2 - r;
  if (r == 0) return Arithmetic::integer(1);
  if (r == mpq_class(1, 2)) return Arithmetic::integer(0);
  if (r > mpq_class(1, 2)) return a.negate(cosine_of_pi(a, 1 - r));
  return cosine_of_part(a, r);
}

Fraction cosine(Arithmetic& a, const Fraction& x);

Fraction sine(Arithmetic& a, const Fraction& x) {
  Fraction rest;
  const mpq_class r = pi_part(x, rest);
  if (rest.num.empty()) return cosine_of_pi(a, mpq_class(1, 2) - r);
  const mpq_class quarter = modulo(r, 2) * 2;  // whole quarters of a turn go out
  if (r != 0 && quarter.get_den() == 1) {
    switch (quarter.get_num().get_si()) {
      case 0: return sine(a, rest);
      case 1: return cosine(a, rest);
      case 2: return a.negate(sine(a, rest));
      default: return a.negate(cosine(a, rest));
    }
  }
  if (x.num.begin()->second < 0) return a.negate(sine(a, a.negate(x)));
  return Arithmetic::function("sin", {x});
}

Fraction cosine(Arithmetic& a, const Fraction& x) {
  Fraction rest;
  const mpq_class r = pi_part(x, rest);
  if (rest.num.empty()) return cosine_of_pi(a, r);
  const mpq_class quarter = modulo(r, 2) * 2;
  if (r != 0 && quarter.get_den() == 1) {
    switch (quarter.get_num().get_si()) {
      case 0: return cosine(a, rest);
      case 1: return a.negate(sine(a, rest));
      case 2: return a.negate(cosine(a, rest));
      default: return sine(a, rest);
    }
  }
  return Arithmetic::function("cos", {x.num.begin()->second < 0 ? a.negate(x) : x});
}

// e^x: rational parts and parts c ln(y) become powers, i pi r becomes cos + i sin.
Fraction exponential(Arithmetic& a, const Fraction& x) {
  if (!one_denominator(x)) return a.power(Arithmetic::euler(), x);
  Fraction result = Arithmetic::integer(1);
  Fraction rest = Arithmetic::integer(0);
  for (const auto& [m, c] : x.num) {
    const bool imaginary = !m.empty() && m[0].generator->kind == Kind::imaginary;
    if (m.size() == 1 && m[0].exponent == 1 && m[0].generator->function == "ln") {
      result = a.multiply(result, a.power(m[0].generator->args[0], Arithmetic::rational(c)));
    } else if (imaginary) {
      const Fraction angle = single(Monomial(m.begin() + 1, m.end()), c);
      result = a.multiply(result, a.add(cosine(a, angle), a.multiply(Arithmetic::imaginary(), sine(a, angle))));
    } else {
      rest = a.add(rest, single(m, c));
    }
  }
  if (rest.num.empty()) return result;
  return a.multiply(result, a.power(Arithmetic::euler(), rest));
}

Fraction logarithm(Arithmetic& a, const Fraction& x) {
  if (x.num.empty()) throw Undefined("the logarithm of 0");
  if (!one_denominator(x) && x.num.size() == 1) return a.negate(logarithm(a, {x.den, x.num}));
  if (!one_denominator(x) || x.num.size() != 1) return Arithmetic::function("ln", {x});
  const auto& [m, c] = *x.num.begin();
  if (c < 0) return Arithmetic::function("ln", {x});
  Fraction sum = Arithmetic::integer(0);
  const auto add_log = [&](const Fraction& of, const mpq_class& times) {
    sum = a.add(sum, a.multiply(Arithmetic::rational(times), Arithmetic::function("ln", {of})));
  };
  for (const auto& [p, k] : a.factor(c.get_num())) add_log(Arithmetic::rational(mpq_class(p)), k);
  for (const auto& [p, k] : a.factor(c.get_den())) add_log(Arithmetic::rational(mpq_class(p)), -k);
  for (const Factor& f : m) {
    const Generator& g = *f.generator;
    if (g.kind == Kind::euler) {
      sum = a.add(sum, Arithmetic::rational(f.exponent));
    } else if (g.kind == Kind::prime) {
      add_log(Arithmetic::rational(mpq_class(g.base)), f.exponent);
    } else if (g.kind == Kind::power) {
      const Fraction exponent = a.multiply(g.args[1], Arithmetic::rational(f.exponent));
      sum = a.add(sum, a.multiply(exponent, logarithm(a, g.args[0])));
    } else if (g.kind == Kind::symbol && f.exponent.get_den() == 1 && mpz_even_p(f.exponent.get_num_mpz_t()) != 0) {
      return Arithmetic::function("ln", {x});  // ln(x^2) is not 2 ln(x) where x < 0
    } else {
      add_log(single({{f.generator, mpq_class(1)}}, 1), f.exponent);
    }
  }
  return sum;
}

// The angle r pi, r = n/24 or n/20 in the given range, whose function has this value; else as it stands.
Fraction inverse(Arithmetic& a, const std::string& name, const Fraction& x) {
  if (!is_constant(x)) return Arithmetic::function(name, {x});
  for (const long parts : {12L, 10L, 8L})
    for (long n = name == "arccos" ? 0 : -parts / 2; n <= (name == "arccos" ? parts : parts / 2); ++n) {
      const Fraction angle = a.multiply(fraction(n, parts), Arithmetic::pi());
      if (name == "arctan" && 2 * std::abs(n) == parts) continue;
      const Fraction value = name == "arccos"   ? cosine(a, angle)
                             : name == "arcsin" ? sine(a, angle)
                                                : a.divide(sine(a, angle), cosine(a, angle));
      if (a.equal(value, x)) return angle;
    }
  return Arithmetic::function(name, {x});
}

Fraction absolute(Arithmetic& a, const Fraction& x) {
  const auto sign = sign_of(x, a.fuel());
  if (sign) return *sign < 0 ? a.negate(x) : x;
  const bool has_i = std::any_of(x.num.begin(), x.num.end(), [](const auto& term) {
    return !term.first.empty() && term.first[0].generator->kind == Kind::imaginary;
  });
  if (has_i && one_denominator(x)) {
    Fraction real = Arithmetic::integer(0), imaginary = real;
    for (const auto& [m, c] : x.num) {
      const bool is_imaginary = !m.empty() && m[0].generator->kind == Kind::imaginary;
      Fraction& part = is_imaginary ? imaginary : real;
      part = a.add(part, single(is_imaginary ? Monomial(m.begin() + 1, m.end()) : m, c));
    }
    return a.root(a.add(a.multiply(real, real), a.multiply(imaginary, imaginary)), 2);
  }
  if (!one_denominator(x))
    return a.divide(absolute(a, {x.num, Arithmetic::integer(1).num}), absolute(a, {x.den, Arithmetic::integer(1).num}));
  return Arithmetic::function("abs", {x.num.begin()->second < 0 ? a.negate(x) : x});
}

// (s + c)! = s! (s + 1) .. (s + c): whole numbers go out of it.
Fraction symbolic_factorial(Arithmetic& a, const Fraction& x) {
  const auto constant = one_denominator(x) ? x.num.find(Monomial{}) : x.num.end();
  if (constant == x.num.end() || constant->second.get_den() != 1 || abs(constant->second) > 16)
    return Arithmetic::function("factorial", {x});
  const long c = constant->second.get_num().get_si();
  const Fraction base = a.subtract(x, Arithmetic::integer(c));
  Fraction product = Arithmetic::integer(1);
  for (long i = 0; i < std::abs(c); ++i)
    product = a.multiply(product, a.add(base, Arithmetic::integer(c > 0 ? i + 1 : -i)));
  const Fraction whole = Arithmetic::function("factorial", {base});
  return c > 0 ? a.multiply(whole, product) : a.divide(whole, product);
}

Fraction factorial(Arithmetic& a, const Fraction& x) {
  const auto n = as_integer(x);
  if (!n) {
    if (as_rational(x)) throw Undefined("the factorial of a fraction");
    return symbolic_factorial(a, x);
  }
  if (*n < 0) throw Undefined("the factorial of a negative number");
  if (*n > kMaxFactorial) return Arithmetic::function("factorial", {x});
  a.fuel().spend(n->get_ui());
  mpz_class result;
  mpz_fac_ui(result.get_mpz_t(), n->get_ui());
  return Arithmetic::rational(mpq_class(result));
}

Fraction binomial(Arithmetic& a, const Fraction& n, const Fraction& k, bool ordered) {
  const auto upper = as_integer(n), lower = as_integer(k);
  const std::string name = ordered ? "permutations" : "binomial";
  if (!upper && lower && *lower >= 0 && *lower <= 16 && !as_rational(n)) {  // n (n - 1) .. / k!
    Fraction product = Arithmetic::integer(1);
    for (long i = 0; i < lower->get_si(); ++i) product = a.multiply(product, a.subtract(n, Arithmetic::integer(i)));
    return ordered ? product : a.divide(product, factorial(a, k));
  }
  if (!is_constant(n) || !is_constant(k)) {
    const Fraction below = factorial(a, a.subtract(n, k));
    return a.divide(factorial(a, n), ordered ? below : a.multiply(below, factorial(a, k)));
  }
  if (!upper || !lower || abs(*upper) > kMaxFactorial || abs(*lower) > kMaxFactorial)
    return Arithmetic::function(name, {n, k});
  if (*lower < 0) return Arithmetic::integer(0);
  a.fuel().spend(lower->get_ui());
  mpz_class result;
  mpz_bin_ui(result.get_mpz_t(), upper->get_mpz_t(), lower->get_ui());
  Fraction value = Arithmetic::rational(mpq_class(result));
  return ordered ? a.multiply(value, factorial(a, k)) : value;
}

Fraction of_integers(Arithmetic& a, const std::string& name, const std::vector<Fraction>& args) {
  if (args.empty()) throw Undefined(name + " of nothing");
  Fraction result = args[0];
  for (const Fraction& next : args) {
    if (name == "max" || name == "min") {
      const auto sign = sign_of(a.subtract(next, result), a.fuel());
      if (!sign) return Arithmetic::function(name, args);
      if ((name == "max") == (*sign > 0)) result = next;
      continue;
    }
    const auto x = as_integer(result), y = as_integer(next);
    if (!x || !y) return Arithmetic::function(name, args);
    const mpz_class both = name == "gcd" ? mpz_class(gcd(*x, *y)) : mpz_class(lcm(*x, *y));
    result = Arithmetic::rational(mpq_class(both));
  }
  return result;
}

Fraction rounded(Arithmetic& a, const std::string& name, const Fraction& x) {
  const Fraction up = name == "ceil" ? a.negate(x) : x;
  const auto floor = floor_of(up, a.fuel());
  if (!floor) return Arithmetic::function(name, {x});
  const Fraction result = Arithmetic::rational(mpq_class(*floor));
  return name == "ceil" ? a.negate(result) : result;
}

Fraction hyperbolic(Arithmetic& a, const std::string& name, const Fraction& x) {
  const Fraction up = exponential(a, x), down = exponential(a, a.negate(x));
  const Fraction sum = a.add(up, down), difference = a.subtract(up, down);
  if (name == "tanh") return a.divide(difference, sum);
  return a.divide(name == "sinh" ? difference : sum, Arithmetic::integer(2));
}

}  // namespace

bool is_function(std::string_view name) { return std::find(kNames.begin(), kNames.end(), name) != kNames.end(); }

Fraction plain_log(Arithmetic& a, const Fraction& x, bool& assumed) {
  const Fraction decimal = a.divide(logarithm(a, x), logarithm(a, Arithmetic::integer(10)));
  if (as_rational(decimal)) return decimal;
  assumed = true;
  return logarithm(a, x);
}

Fraction call(Arithmetic& a, const std::string& name, const std::vector<Fraction>& args) {
  a.fuel().spend(16);
  if (name == "gcd" || name == "lcm" || name == "max" || name == "min") return of_integers(a, name, args);
  const bool two = name == "log" || name == "binomial" || name == "permutations";
  if (args.size() != (two ? 2u : 1u)) throw Undefined(name + " with another number of arguments");
  const Fraction& x = args[0];
  if (name == "sin") return sine(a, x);
  if (name == "cos") return cosine(a, x);
  if (name == "tan") return a.divide(sine(a, x), cosine(a, x));
  if (name == "cot") return a.divide(cosine(a, x), sine(a, x));
  if (name == "sec") return a.divide(Arithmetic::integer(1), cosine(a, x));
  if (name == "csc") return a.divide(Arithmetic::integer(1), sine(a, x));
  if (name == "arcsin" || name == "arccos" || name == "arctan") return inverse(a, name, x);
  if (name == "sinh" || name == "cosh" || name == "tanh") return hyperbolic(a, name, x);
  if (name == "exp") return exponential(a, x);
  if (name == "ln") return logarithm(a, x);
  if (name == "log") return a.divide(logarithm(a, args[1]), logarithm(a, x));
  if (name == "log10") return a.divide(logarithm(a, x), logarithm(a, Arithmetic::integer(10)));
  if (name == "abs") return x.num.empty() ? x : absolute(a, x);
  if (name == "floor" || name == "ceil") return rounded(a, name, x);
  if (name == "factorial") return factorial(a, x);
  if (two) return binomial(a, x, args[1], name == "permutations");
  throw Undefined("an unknown function: " + name);
}

}  // namespace ringbench
