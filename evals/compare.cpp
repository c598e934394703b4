// compare.cpp: see compare.h.
#include "evals/compare.h"

#include <algorithm>

#include "evals/numeric.h"

namespace ringbench {
namespace {

using Kind = Answer::Kind;

class Comparer {
 public:
  Comparer(uint64_t seed, bool allow_probable, Fuel& fuel)
      : arithmetic_(fuel), seed_(seed), allow_probable_(allow_probable) {}

  AnswerComparison run(const Answer& gold, const Answer& candidate) {
    result_.same = same(gold, candidate);
    if (!result_.same && gold.kind == Kind::value && candidate.kind == Kind::value)
      result_.near_miss = is_near(gold.value, candidate.value);
    return result_;
  }

 private:
  Fuel& fuel() { return arithmetic_.fuel(); }

  bool is_zero(const Fraction& difference) {
    if (arithmetic_.is_zero(difference.num)) return true;
    if (independent(difference.num)) return false;
    switch (decide_zero(difference.num, seed_, fuel())) {
      case Zero::no: result_.numeric = true; return false;
      case Zero::probably:
        if (allow_probable_) result_.probable = true;
        return allow_probable_;
      case Zero::unknown: break;
    }
    return false;
  }

  bool equal(const Fraction& a, const Fraction& b) {
    const auto p = as_rational(a), q = as_rational(b);
    if (p && q) return *p == *q;
    return is_zero(arithmetic_.subtract(a, b));
  }

  bool is_near(const Fraction& a, const Fraction& b) {
    const auto sign = sign_of(a, fuel());
    if (!sign || *sign == 0) return false;
    Fraction off = arithmetic_.subtract(arithmetic_.divide(b, a), Arithmetic::integer(1));
    off = arithmetic_.multiply(off, off);
    const auto beyond = sign_of(arithmetic_.subtract(off, Arithmetic::rational(mpq_class(1, 1000000))), fuel());
    return beyond && *beyond < 0;
  }

  // a is c b, c a constant that is not 0; with `positive`, and above 0.
  bool proportional(const Fraction& a, const Fraction& b, bool positive) {
    if (a.num.empty() || b.num.empty()) return a.num.empty() && b.num.empty();
    // The quotient, were it constant, is that of the coefficients of one term.
    const Sum left = product(a.num, b.den), right = product(b.num, a.den);
    if (left.empty() || right.empty()) return false;
    const Monomial symbols = symbol_part(left.rbegin()->first);
    const Fraction factor = arithmetic_.divide(coefficient(left, symbols), coefficient(right, symbols));
    if (!is_constant(factor)) return false;
    if (positive) {
      const auto sign = sign_of(factor, fuel());
      if (!sign || *sign <= 0) return false;
    }
    return is_zero(arithmetic_.subtract(of(left), arithmetic_.multiply(factor, of(right))));
  }

  static Fraction of(const Sum& sum) { return {sum, Arithmetic::integer(1).num}; }
  Sum product(const Sum& a, const Sum& b) { return arithmetic_.multiply(of(a), of(b)).num; }

  static bool is_symbolic(const Factor& f) {
    return f.generator->kind == Generator::Kind::symbol ||
           std::any_of(f.generator->args.begin(), f.generator->args.end(),
                       [](const Fraction& r) { return !is_constant(r); });
  }
  static Monomial symbol_part(const Monomial& m) {
    Monomial part;
    std::copy_if(m.begin(), m.end(), std::back_inserter(part), is_symbolic);
    return part;
  }
  Fraction coefficient(const Sum& sum, const Monomial& symbols) {
    const MonomialOrder before;
    Fraction result = Arithmetic::integer(0);
    for (const auto& [m, c] : sum) {
      const Monomial part = symbol_part(m);
      if (before(part, symbols) || before(symbols, part)) continue;
      Monomial rest;
      std::copy_if(m.begin(), m.end(), std::back_inserter(rest), [](const Factor& f) { return !is_symbolic(f); });
      result = arithmetic_.add(result, of(Sum{{rest, c}}));
    }
    if (result.num.empty()) throw Undefined("no such term");
    return result;
  }

  bool same(const Answer& gold, const Answer& candidate) {
    fuel().spend(4);
    if (!gold.name.empty() && !candidate.name.empty() && !same_name(gold.name, candidate.name))
      return gold.has_equation && candidate.has_equation && !is_bare_symbol(gold) && !is_bare_symbol(candidate) &&
             proportional(gold.equation, candidate.equation, false);
    if (gold.kind == candidate.kind) return same_kind(gold, candidate);
    if (gold.kind == Kind::relation || candidate.kind == Kind::relation) return same_relation(gold, candidate);
    if (gold.kind == Kind::reals || candidate.kind == Kind::reals) return same_reals(gold, candidate);
    if (gold.kind == Kind::words) return same_words(gold, candidate);
    if (candidate.kind == Kind::words) return same_words(candidate, gold);
    if (gold.kind == Kind::ratio || candidate.kind == Kind::ratio || gold.kind == Kind::time ||
        candidate.kind == Kind::time)
      return same_quotient(gold, candidate);
    return same_collection(gold, candidate);
  }

  // y and f(x) both are what is plotted over x.
  static bool same_name(const std::string& a, const std::string& b) {
    const auto is_call = [](const std::string& name) { return name.size() > 3 && name[1] == '('; };
    return a == b || (a == "y" && is_call(b)) || (b == "y" && is_call(a));
  }

  // x = 1 and y = 1 differ, x + y = 1 and y = 1 - x do not.
  static bool is_bare_symbol(const Answer& a) {
    std::vector<std::string> symbols;
    collect_symbols(a.equation, symbols);
    return symbols.size() < 2;
  }

  bool same_kind(const Answer& gold, const Answer& candidate) {
    switch (gold.kind) {
      case Kind::value: return same_value(gold, candidate);
      case Kind::words: return gold.text == candidate.text;
      case Kind::tuple: return same_brackets(gold, candidate) && in_order(gold, candidate);
      case Kind::list: return same_lists(gold, candidate);
      case Kind::set: return as_sets(gold, candidate);
      case Kind::reals: return ringbench::equal(arithmetic_, gold.reals, candidate.reals);
      case Kind::relation:
        return gold.text == candidate.text &&
               proportional(gold.value, candidate.value, gold.text == "<" || gold.text == "l");
      case Kind::matrix: return gold.columns == candidate.columns && in_order(gold, candidate);
      case Kind::ratio: return same_ratios(gold, candidate);
      case Kind::time:
        return in_order(gold, candidate) &&
               (gold.text == candidate.text || gold.text.empty() || candidate.text.empty());
      case Kind::numeral: return gold.base == candidate.base && gold.text == candidate.text;
    }
    return false;
  }

  bool same_value(const Answer& gold, const Answer& candidate) {
    if (equal(gold.value, candidate.value)) return true;
    if (gold.percent == candidate.percent) return false;
    const Answer& marked = gold.percent ? gold : candidate;
    const Answer& bare = gold.percent ? candidate : gold;
    return equal(arithmetic_.multiply(marked.value, Arithmetic::integer(100)), bare.value);
  }

  // Two members in brackets may be an interval: what kind of bracket counts. With more it does not.
  static bool same_brackets(const Answer& a, const Answer& b) {
    const auto round = [](const std::string& s) { return s == "()" || s == "<>"; };
    return a.text == b.text || (round(a.text) && round(b.text)) || a.items.size() > 2;
  }

  bool in_order(const Answer& gold, const Answer& candidate) {
    return std::equal(gold.items.begin(), gold.items.end(), candidate.items.begin(), candidate.items.end(),
                      [&](const Answer& g, const Answer& c) { return same(g, c); });
  }

  // Members matched one to one: first by their normal forms, the rest by comparing.
  bool as_multisets(std::vector<const Answer*> gold, std::vector<const Answer*> candidate) {
    if (gold.size() != candidate.size()) return false;
    result_.matched = true;
    cancel(gold, candidate);
    std::vector<bool> used(candidate.size());
    for (const Answer* g : gold) {
      size_t i = 0;
      while (i < candidate.size() && (used[i] || !same(*g, *candidate[i]))) ++i;
      if (i == candidate.size()) return false;
      used[i] = true;
    }
    return true;
  }

  static void cancel(std::vector<const Answer*>& gold, std::vector<const Answer*>& candidate) {
    if (gold.size() < 4) return;
    std::vector<std::pair<std::string, const Answer*>> left, right;
    for (const Answer* a : gold) left.emplace_back(to_text(*a), a);
    for (const Answer* a : candidate) right.emplace_back(to_text(*a), a);
    std::sort(left.begin(), left.end());
    std::sort(right.begin(), right.end());
    gold.clear(), candidate.clear();
    auto l = left.begin(), r = right.begin();
    while (l != left.end() || r != right.end()) {
      const bool only_left = r == right.end() || (l != left.end() && l->first < r->first);
      if (!only_left && l != left.end() && l->first == r->first) {
        ++l, ++r;
      } else if (only_left) {
        gold.push_back(l++->second);
      } else {
        candidate.push_back(r++->second);
      }
    }
  }

  static std::vector<const Answer*> members(const Answer& a) {
    std::vector<const Answer*> all;
    for (const Answer& item : a.items) all.push_back(&item);
    return all;
  }

  std::vector<const Answer*> distinct(const Answer& a) {
    std::vector<const Answer*> all;
    for (const Answer& item : a.items)
      if (std::none_of(all.begin(), all.end(), [&](const Answer* other) { return same(*other, item); }))
        all.push_back(&item);
    return all;
  }

  bool as_sets(const Answer& gold, const Answer& candidate) {
    if (gold.items.size() > 64 || candidate.items.size() > 64) return as_multisets(members(gold), members(candidate));
    return as_multisets(distinct(gold), distinct(candidate));
  }

  // x = 1, y = 2 says which is which: against values without names it has an order.
  bool same_lists(const Answer& gold, const Answer& candidate) {
    const bool left = has_names(gold), right = has_names(candidate);
    if (left == right) return as_multisets(members(gold), members(candidate));
    return has_ordered_names(left ? gold : candidate) && in_order(gold, candidate);
  }

  // Names one after the other in the alphabet's order: coordinates.
  static bool has_ordered_names(const Answer& list) {
    return std::all_of(list.items.begin(), list.items.end(), [](const Answer& a) { return !a.name.empty(); }) &&
           std::is_sorted(list.items.begin(), list.items.end(),
                          [](const Answer& a, const Answer& b) { return a.name < b.name; });
  }
  static bool has_names(const Answer& list) {  // that differ
    return list.name.empty() && std::any_of(list.items.begin(), list.items.end(), [&](const Answer& a) {
             return !a.name.empty() && a.name != list.items[0].name;
           });
  }

  bool same_collection(const Answer& gold, const Answer& candidate) {
    const Kind g = gold.kind, c = candidate.kind;
    if ((g == Kind::list && c == Kind::set) || (g == Kind::set && c == Kind::list))
      return !has_names(gold) && !has_names(candidate) && as_sets(gold, candidate);
    if (g == Kind::list && c == Kind::tuple) {
      if (has_names(gold)) return has_ordered_names(gold) && in_order(gold, candidate);
      return same_lists(gold, candidate);
    }
    if (g == Kind::tuple && c == Kind::list) {
      if (gold.text != "()" && gold.text != "<>" && gold.items.size() == 2) return false;
      return in_order(gold, candidate) && (!has_names(candidate) || has_ordered_names(candidate));
    }
    if (g == Kind::matrix || c == Kind::matrix) {
      const Answer& matrix = g == Kind::matrix ? gold : candidate;
      const Answer& other = g == Kind::matrix ? candidate : gold;
      return other.kind == Kind::tuple && matrix.columns == 1 && matrix.items.size() > 1 && in_order(gold, candidate);
    }
    if (g == Kind::value && c == Kind::set) return candidate.items.size() == 1 && same(gold, candidate.items[0]);
    if (g == Kind::set && c == Kind::value) return gold.items.size() == 1 && same(gold.items[0], candidate);
    return false;
  }

  bool same_words(const Answer& words, const Answer& other) {
    return other.kind == Kind::value && !words.value.den.empty() && equal(words.value, other.value);
  }

  // x = v has a form as an equation too.
  bool same_relation(const Answer& gold, const Answer& candidate) {
    const Answer& relation = gold.kind == Kind::relation ? gold : candidate;
    const Answer& other = gold.kind == Kind::relation ? candidate : gold;
    return relation.text == "=" && other.has_equation && proportional(relation.value, other.equation, false);
  }

  std::optional<RealSet> as_reals(const Answer& a) {
    switch (a.kind) {
      case Kind::reals: return a.reals;
      case Kind::value:
        if (!is_constant(a.value)) return std::nullopt;
        return point(a.value);
      case Kind::tuple: {
        if (a.items.size() != 2 || a.text.find_first_not_of("()[]") != std::string::npos) return std::nullopt;
        RealPiece piece;
        for (int end = 0; end < 2; ++end) {
          const Answer& item = a.items[static_cast<size_t>(end)];
          if (item.kind != Kind::value) return std::nullopt;
          const int infinite = infinite_sign(item.value);
          if (infinite == 0 && !is_constant(item.value)) return std::nullopt;
          (end == 0 ? piece.low : piece.high) = infinite != 0 ? Endpoint{infinite, {}} : Endpoint{0, item.value};
        }
        piece.low_closed = a.text[0] == '[';
        piece.high_closed = a.text[1] == ']';
        return interval(arithmetic_, piece);
      }
      case Kind::list:
      case Kind::set: {
        RealSet all;
        for (const Answer& item : a.items) {
          const auto part = as_reals(item);
          if (!part || (a.kind == Kind::set && item.kind != Kind::value)) return std::nullopt;
          all = unite(arithmetic_, all, *part);
        }
        return all;
      }
      default: return std::nullopt;
    }
  }

  static int infinite_sign(const Fraction& value) {
    if (value.num.size() != 1 || !is_constant(value.den)) return 0;
    const auto& [m, c] = *value.num.begin();
    if (m.size() != 1 || m[0].exponent != 1 || m[0].generator->text != "infinity") return 0;
    return c > 0 ? 1 : -1;
  }

  bool same_reals(const Answer& gold, const Answer& candidate) {
    const auto left = as_reals(gold), right = as_reals(candidate);
    return left && right && ringbench::equal(arithmetic_, *left, *right);
  }

  bool same_ratios(const Answer& gold, const Answer& candidate) {
    if (gold.items.size() != candidate.items.size()) return false;
    for (size_t i = 1; i < gold.items.size(); ++i) {
      const Fraction left = arithmetic_.multiply(gold.items[0].value, candidate.items[i].value);
      const Fraction right = arithmetic_.multiply(gold.items[i].value, candidate.items[0].value);
      if (!equal(left, right)) return false;
    }
    return true;
  }

  // a:b with a/b. A time without "am" or "pm" may be a ratio in lowest terms; 3:30 is none.
  bool same_quotient(const Answer& gold, const Answer& candidate) {
    const auto may_be_ratio = [&](const Answer& a) {
      if (a.kind == Kind::ratio) return true;
      if (a.kind != Kind::time || !a.text.empty()) return false;
      const auto left = as_integer(a.items[0].value), right = as_integer(a.items[1].value);
      return left && right && *right >= 10 && gcd(*left, *right) == 1;
    };
    const bool left = may_be_ratio(gold), right = may_be_ratio(candidate);
    if (left && right) return same_ratios(gold, candidate);
    const Answer& ratio = left ? gold : candidate;
    const Answer& other = left ? candidate : gold;
    if (!(left || right) || other.kind != Kind::value || ratio.items.size() != 2 || other.percent) return false;
    return equal(arithmetic_.divide(ratio.items[0].value, ratio.items[1].value), other.value);
  }

  Arithmetic arithmetic_;
  uint64_t seed_;
  bool allow_probable_;
  AnswerComparison result_;
};

}  // namespace

AnswerComparison compare_answers(const Answer& gold, const Answer& candidate, uint64_t seed, bool allow_probable,
                                 Fuel& fuel) {
  return Comparer(seed, allow_probable, fuel).run(gold, candidate);
}

}  // namespace ringbench
