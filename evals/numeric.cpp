// numeric.cpp: see numeric.h. Intervals with ends rounded outwards by MPFR.
#include "evals/numeric.h"

#include <mpfr.h>

#include <algorithm>
#include <array>

namespace ringbench {

using Kind = Generator::Kind;

namespace {

constexpr std::array kPrecisions = {128L, 512L, 2048L};
constexpr int kPoints = 16;     // random points that must agree
constexpr int kMostTries = 96;  // before a function is given up as having no values

// MPFR keeps constants and memory for each thread; they go when the thread does.
struct ThreadCache {
  ThreadCache() = default;
  ThreadCache(const ThreadCache&) = delete;
  ThreadCache& operator=(const ThreadCache&) = delete;
  ~ThreadCache() { mpfr_free_cache(); }
};

// The value does not exist, or not at this precision.
struct NoValue {};

class Real {
 public:
  explicit Real(long precision) { mpfr_init2(value, precision); }
  Real(const Real& other) {
    mpfr_init2(value, mpfr_get_prec(other.value));
    mpfr_set(value, other.value, MPFR_RNDN);
  }
  Real& operator=(const Real& other) {
    if (this != &other) {
      mpfr_set_prec(value, mpfr_get_prec(other.value));
      mpfr_set(value, other.value, MPFR_RNDN);
    }
    return *this;
  }
  ~Real() { mpfr_clear(value); }

  mpfr_t value;
};

struct Interval {
  explicit Interval(long precision) : low(precision), high(precision) {}
  Real low, high;

  int sign() const { return mpfr_sgn(low.value) > 0 ? 1 : mpfr_sgn(high.value) < 0 ? -1 : 0; }
};

using Unary = int (*)(mpfr_ptr, mpfr_srcptr, mpfr_rnd_t);

class Evaluator {
 public:
  Evaluator(long precision, uint64_t point, Fuel& fuel) : precision_(precision), point_(point), fuel_(fuel) {
    static const thread_local ThreadCache cache;
  }

  Interval sum(const Sum& sum) {
    Interval total(precision_);
    set_zero(total);
    for (const auto& [m, c] : sum) {
      Interval term = rational(c);
      for (const Factor& f : m) term = multiply(term, factor(f));
      mpfr_add(total.low.value, total.low.value, term.low.value, MPFR_RNDD);
      mpfr_add(total.high.value, total.high.value, term.high.value, MPFR_RNDU);
      check(total);
    }
    return total;
  }

  Interval ratio(const Fraction& r) {
    if (r.den.size() == 1 && r.den.begin()->first.empty()) return sum(r.num);
    return multiply(sum(r.num), inverse(sum(r.den)));
  }

 private:
  void step(uint64_t cost) { fuel_.spend(cost * static_cast<uint64_t>(precision_) / 128); }

  static void set_zero(Interval& x) {
    mpfr_set_zero(x.low.value, 1);
    mpfr_set_zero(x.high.value, 1);
  }

  static void check(const Interval& x) {
    if (mpfr_number_p(x.low.value) == 0 || mpfr_number_p(x.high.value) == 0) throw NoValue();
  }

  Interval rational(const mpq_class& q) {
    step(1);
    Interval x(precision_);
    mpfr_set_q(x.low.value, q.get_mpq_t(), MPFR_RNDD);
    mpfr_set_q(x.high.value, q.get_mpq_t(), MPFR_RNDU);
    return x;
  }

  Interval multiply(const Interval& a, const Interval& b) {
    step(1);
    Interval x(precision_);
    Real product(precision_);
    bool first = true;
    for (const Real* left : {&a.low, &a.high})
      for (const Real* right : {&b.low, &b.high}) {
        mpfr_mul(product.value, left->value, right->value, MPFR_RNDD);
        if (first || mpfr_less_p(product.value, x.low.value) != 0) mpfr_set(x.low.value, product.value, MPFR_RNDD);
        mpfr_mul(product.value, left->value, right->value, MPFR_RNDU);
        if (first || mpfr_greater_p(product.value, x.high.value) != 0) mpfr_set(x.high.value, product.value, MPFR_RNDU);
        first = false;
      }
    check(x);
    return x;
  }

  Interval inverse(const Interval& a) {
    if (a.sign() == 0) throw NoValue();
    Interval x(precision_);
    mpfr_ui_div(x.low.value, 1, a.high.value, MPFR_RNDD);
    mpfr_ui_div(x.high.value, 1, a.low.value, MPFR_RNDU);
    check(x);
    return x;
  }

  Interval increasing(const Interval& a, Unary f) {
    step(16);
    Interval x(precision_);
    f(x.low.value, a.low.value, MPFR_RNDD);
    f(x.high.value, a.high.value, MPFR_RNDU);
    check(x);
    return x;
  }

  // sin and cos change by no more than their argument does.
  Interval lipschitz(const Interval& a, Unary f) {
    step(16);
    if (mpfr_get_exp(a.high.value) > precision_ && mpfr_regular_p(a.high.value) != 0) throw NoValue();
    Interval x(precision_);
    Real width(precision_);
    mpfr_sub(width.value, a.high.value, a.low.value, MPFR_RNDU);
    f(x.low.value, a.low.value, MPFR_RNDD);
    mpfr_sub(x.low.value, x.low.value, width.value, MPFR_RNDD);
    f(x.high.value, a.low.value, MPFR_RNDU);
    mpfr_add(x.high.value, x.high.value, width.value, MPFR_RNDU);
    check(x);
    return x;
  }

  Interval negated(const Interval& a) {
    Interval x(precision_);
    mpfr_neg(x.low.value, a.high.value, MPFR_RNDD);
    mpfr_neg(x.high.value, a.low.value, MPFR_RNDU);
    return x;
  }

  Interval whole_power(Interval base, unsigned long n) {
    Interval result = rational(1);
    for (; n > 0; n /= 2) {
      if (n % 2 == 1) result = multiply(result, base);
      if (n > 1) base = multiply(base, base);
    }
    return result;
  }

  Interval nth_root(const Interval& a, unsigned long n) {
    if (n == 1) return a;
    if (a.sign() < 0) {
      if (n % 2 == 0) throw NoValue();
      return negated(nth_root(negated(a), n));
    }
    if (a.sign() == 0 && n % 2 == 0 && mpfr_sgn(a.low.value) < 0) throw NoValue();
    step(8);
    Interval x(precision_);
    mpfr_rootn_ui(x.low.value, a.low.value, n, MPFR_RNDD);
    mpfr_rootn_ui(x.high.value, a.high.value, n, MPFR_RNDU);
    check(x);
    return x;
  }

  Interval power(const Interval& base, const mpq_class& exponent) {
    const mpz_class size = abs(exponent.get_num());
    if (size > 4096 || exponent.get_den() > 4096) return power(base, rational(exponent));
    const Interval x = whole_power(nth_root(base, exponent.get_den().get_ui()), size.get_ui());
    return exponent < 0 ? inverse(x) : x;
  }

  Interval power(const Interval& base, const Interval& exponent) {
    if (base.sign() <= 0) throw NoValue();
    return increasing(multiply(increasing(base, mpfr_log), exponent), mpfr_exp);
  }

  Interval factor(const Factor& f) {
    step(1);
    return f.exponent == 1 ? generator(*f.generator) : power(generator(*f.generator), f.exponent);
  }

  // Exact binary fractions of 60 bits: (0, 4), (0, 1) and (-4, 0) in turn.
  Interval symbol(const std::string& name) {
    uint64_t hash = point_ * 0x9E3779B97F4A7C15u + 0x632BE59BD9B4E019u;
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
    hash ^= hash >> 31;
    hash *= 0xBF58476D1CE4E5B9u;
    hash ^= hash >> 29;
    const mpz_class numerator(static_cast<unsigned long>(hash >> 4 | 1));
    mpz_class denominator;
    mpz_ui_pow_ui(denominator.get_mpz_t(), 2, point_ % 4 == 1 ? 60 : 58);
    mpq_class value(numerator, denominator);
    value.canonicalize();
    if (point_ % 4 == 3) value = -value;
    return rational(value);
  }

  Interval generator(const Generator& g) {
    switch (g.kind) {
      case Kind::prime: return rational(mpq_class(g.base));
      case Kind::pi: {
        Interval x(precision_);
        mpfr_const_pi(x.low.value, MPFR_RNDD);
        mpfr_const_pi(x.high.value, MPFR_RNDU);
        return x;
      }
      case Kind::euler: return increasing(rational(1), mpfr_exp);
      case Kind::symbol:
        if (g.text == "infinity") throw NoValue();
        return symbol(g.text);
      case Kind::power: return power(ratio(g.args[0]), ratio(g.args[1]));
      case Kind::root: return ratio(g.args[0]);
      case Kind::function: return function(g);
      case Kind::imaginary: break;
    }
    throw NoValue();
  }

  Interval function(const Generator& g) {
    const Interval x = ratio(g.args[0]);
    if (g.function == "sin") return lipschitz(x, mpfr_sin);
    if (g.function == "cos") return lipschitz(x, mpfr_cos);
    if (g.function == "ln") {
      if (x.sign() <= 0) throw NoValue();
      return increasing(x, mpfr_log);
    }
    if (g.function == "abs") {
      if (x.sign() == 0) throw NoValue();
      return x.sign() < 0 ? negated(x) : x;
    }
    if (g.function == "arctan") return increasing(x, mpfr_atan);
    if (g.function == "arcsin") return increasing(x, mpfr_asin);
    if (g.function == "arccos") {  // falls
      Interval turned(precision_);
      turned.low = x.high;
      turned.high = x.low;
      return increasing(turned, mpfr_acos);
    }
    if (g.function == "pow") {
      const auto exponent = as_rational(g.args[1]);
      return exponent ? power(x, *exponent) : power(x, ratio(g.args[1]));
    }
    if (g.function == "floor" || g.function == "ceil") return whole(x, g.function == "ceil" ? MPFR_RNDU : MPFR_RNDD);
    throw NoValue();
  }

  Interval whole(const Interval& a, mpfr_rnd_t mode) {
    Interval x(precision_);
    mpfr_rint(x.low.value, a.low.value, mode);
    mpfr_rint(x.high.value, a.high.value, mode);
    if (mpfr_equal_p(x.low.value, x.high.value) == 0) throw NoValue();
    return x;
  }

  long precision_;
  uint64_t point_;
  Fuel& fuel_;
};

// Real and imaginary part.
std::array<Sum, 2> parts(const Sum& sum) {
  std::array<Sum, 2> result;
  for (const auto& [m, c] : sum) {
    const bool imaginary = !m.empty() && m[0].generator->kind == Kind::imaginary;
    result[imaginary ? 1 : 0].emplace(imaginary ? Monomial(m.begin() + 1, m.end()) : m, c);
  }
  return result;
}

// Narrow against 1: an interval that merely is wide says nothing.
bool is_narrow(const Interval& x, long precision) {
  Real width(64);
  mpfr_sub(width.value, x.high.value, x.low.value, MPFR_RNDU);
  return mpfr_zero_p(width.value) != 0 || mpfr_get_exp(width.value) < -precision / 2;
}

Zero decide_at(const Sum& sum, uint64_t point, Fuel& fuel) {
  for (const long precision : kPrecisions) {
    try {
      const Interval x = Evaluator(precision, point, fuel).sum(sum);
      if (x.sign() != 0) return Zero::no;
      if (precision == kPrecisions.back()) return is_narrow(x, precision) ? Zero::probably : Zero::unknown;
    } catch (const NoValue&) {
      if (precision == kPrecisions.back() || !is_constant(sum)) return Zero::unknown;
    }
  }
  return Zero::unknown;
}

Zero decide_part(const Sum& sum, uint64_t seed, Fuel& fuel) {
  if (sum.empty()) return Zero::probably;
  if (is_constant(sum)) return decide_at(sum, 0, fuel);
  int agreed = 0;
  for (int i = 0; i < kMostTries; ++i) {
    const uint64_t point = seed / kMostTries * kMostTries + static_cast<uint64_t>(i);
    const Zero zero = decide_at(sum, point, fuel);
    if (zero == Zero::no) return zero;
    if (zero == Zero::probably && ++agreed == kPoints) return zero;
  }
  return Zero::unknown;
}

}  // namespace

Zero decide_zero(const Sum& sum, uint64_t seed, Fuel& fuel) {
  Zero result = Zero::probably;
  for (const Sum& part : parts(sum)) {
    const Zero zero = decide_part(part, seed, fuel);
    if (zero == Zero::no) return Zero::no;
    if (zero == Zero::unknown) result = Zero::unknown;
  }
  return result;
}

std::optional<int> sign_of(const Fraction& ratio, Fuel& fuel) {
  if (const auto q = as_rational(ratio)) return sgn(*q);
  if (!is_constant(ratio)) return std::nullopt;
  for (const long precision : kPrecisions) {
    try {
      const int sign = Evaluator(precision, 0, fuel).ratio(ratio).sign();
      if (sign != 0) return sign;
    } catch (const NoValue&) {}
  }
  return std::nullopt;
}

std::optional<mpz_class> floor_of(const Fraction& ratio, Fuel& fuel) {
  if (const auto q = as_rational(ratio)) {
    mpz_class result;
    mpz_fdiv_q(result.get_mpz_t(), q->get_num_mpz_t(), q->get_den_mpz_t());
    return result;
  }
  if (!is_constant(ratio)) return std::nullopt;
  for (const long precision : kPrecisions) {
    try {
      const Interval x = Evaluator(precision, 0, fuel).ratio(ratio);
      mpz_class low, high;
      if (mpfr_get_exp(x.high.value) > 4096) return std::nullopt;
      mpfr_get_z(low.get_mpz_t(), x.low.value, MPFR_RNDD);
      mpfr_get_z(high.get_mpz_t(), x.high.value, MPFR_RNDD);
      if (low == high) return low;
    } catch (const NoValue&) {}
  }
  return std::nullopt;
}

}  // namespace ringbench
