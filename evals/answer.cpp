// answer.cpp: see answer.h.
#include "evals/answer.h"

#include <algorithm>

#include "evals/evaluate.h"
#include "evals/inequality.h"
#include "evals/numeric.h"
#include "evals/words.h"

namespace ringbench {
namespace {

using Kind = Answer::Kind;
using NodeKind = Node::Kind;

class Reader {
 public:
  Reader(const Tree& tree, Fuel& fuel) : tree_(tree), arithmetic_(fuel), evaluator_(tree, arithmetic_) {}

  Answer read() {
    Answer answer = whole(tree_.root);
    answer.unit = tree_.unit;
    answer.natural_log = evaluator_.natural_log();
    answer.unreduced = tree_.unreduced;
    answer.grouped = tree_.grouped;
    return answer;
  }

 private:
  const Node& node(int32_t i) const { return tree_[i]; }
  Fraction value(int32_t i) { return evaluator_.value(i, sign_); }

  // With plus-minus, both answers; with more in a list, all of them.
  Answer whole(int32_t i) {
    const NodeKind kind = node(i).kind;
    if (kind == NodeKind::list || kind == NodeKind::set) return collection(i);
    std::vector<Answer> both = signed_answers(i);
    if (both.size() == 1) return both[0];
    if (both[0].kind == Kind::reals && node(i).text == "!")  // neither of them
      return of_reals(intersect(arithmetic_, both[0].reals, both[1].reals), both[0].name);
    Answer list;
    list.kind = Kind::list;
    list.name = both[0].name;
    list.items = std::move(both);
    return list;
  }

  std::vector<Answer> signed_answers(int32_t i) {
    if (!evaluator_.has_sign(i)) return {one(i)};
    std::vector<Answer> both;
    sign_ = 1;
    both.push_back(one(i));
    sign_ = -1;
    both.push_back(one(i));
    sign_ = 1;
    if (both[0].kind == Kind::value && both[1].kind == Kind::value && arithmetic_.equal(both[0].value, both[1].value))
      both.pop_back();
    return both;
  }

  Answer collection(int32_t i) {
    Answer list;
    list.kind = node(i).kind == NodeKind::set ? Kind::set : Kind::list;
    for (const int32_t kid : node(i).kids)
      for (Answer& item : signed_answers(kid)) list.items.push_back(std::move(item));
    if (list.kind == Kind::set) return list;
    const std::string& joined = node(i).text;
    const bool ranges = std::all_of(list.items.begin(), list.items.end(), [&](const Answer& a) {
      return (a.kind == Kind::reals && a.name == list.items[0].name) ||
             (a.kind == Kind::value && joined == "or" && !a.name.empty() && a.name == list.items[0].name);
    });
    const bool some_range =
        std::any_of(list.items.begin(), list.items.end(), [](const Answer& a) { return a.kind == Kind::reals; });
    const bool excluded = std::all_of(node(i).kids.begin(), node(i).kids.end(), [&](int32_t k) {
      return node(k).kind == NodeKind::relation && node(k).text == "!";
    });
    if (ranges && some_range && (joined != "," || excluded)) {
      RealSet all = as_reals(list.items[0]);
      for (const Answer& item : list.items)
        all = joined == "or" ? unite(arithmetic_, all, as_reals(item)) : intersect(arithmetic_, all, as_reals(item));
      return of_reals(std::move(all), list.items[0].name);
    }
    // x = 1, 2 and x = 1 or x = 2 are values of x.
    const std::string name = list.items[0].name;
    const bool one_name = std::all_of(list.items.begin(), list.items.end(), [&](const Answer& a) {
      return a.name == name || (a.name.empty() && a.kind == Kind::value);
    });
    if (!name.empty() && one_name) list.name = name;
    return list;
  }

  Answer of_reals(RealSet reals, std::string name) {
    Answer answer;
    answer.kind = Kind::reals;
    answer.reals = std::move(reals);
    answer.name = std::move(name);
    return answer;
  }

  Answer words(std::string text) {
    Answer answer;
    answer.kind = Kind::words;
    answer.text = std::move(text);
    return answer;
  }

  Answer one(int32_t i) {
    const Node& n = node(i);
    switch (n.kind) {
      case NodeKind::list:
      case NodeKind::set: return collection(i);
      case NodeKind::words: return words(n.text);
      case NodeKind::named_set:
        if (n.text == "empty") return of_reals({}, "");
        return n.text == "R" ? of_reals(all_reals(), "") : words("set " + n.text);
      case NodeKind::bracketed: return tuple(n);
      case NodeKind::condition: return condition(n);
      case NodeKind::unite:
      case NodeKind::intersect:
      case NodeKind::without: return operation(n);
      case NodeKind::relation: return relation(n);
      case NodeKind::member: return member(n);
      case NodeKind::matrix: return matrix(n);
      case NodeKind::colon: return ratio(n);
      default: return expression(i);
    }
  }

  bool has_matrix(int32_t i) const {
    const Node& n = node(i);
    const bool inside = n.kind == NodeKind::multiply || n.kind == NodeKind::negate;
    return n.kind == NodeKind::matrix ||
           (inside && std::any_of(n.kids.begin(), n.kids.end(), [&](int32_t k) { return has_matrix(k); }));
  }

  Answer expression(int32_t i) {
    const Node& n = node(i);
    if (n.kind == NodeKind::multiply &&
        std::any_of(n.kids.begin(), n.kids.end(), [&](int32_t k) { return node(k).kind == NodeKind::matrix; }))
      return scaled_matrix(n);
    if (n.kind == NodeKind::negate && has_matrix(n.kids[0])) {
      Answer answer = expression(n.kids[0]);
      for (Answer& cell : answer.items) cell.value = arithmetic_.negate(cell.value);
      return answer;
    }
    if (n.kind == NodeKind::matrix) return matrix(n);
    Answer answer;
    answer.value = value(i);
    int32_t inner = i;
    while (node(inner).kind == NodeKind::negate) inner = node(inner).kids[0];
    answer.percent = node(inner).kind == NodeKind::percent;
    return answer;
  }

  Answer tuple(const Node& n) {
    Answer answer;
    answer.kind = Kind::tuple;
    answer.text = n.text;
    for (const int32_t kid : n.kids) answer.items.push_back(one(kid));
    return answer;
  }

  Answer of_values(Kind kind, const Node& n) {
    Answer answer;
    answer.kind = kind;
    for (const int32_t kid : n.kids) {
      Answer part;
      part.value = value(kid);
      answer.items.push_back(std::move(part));
    }
    return answer;
  }

  Answer matrix(const Node& n) {
    Answer answer = of_values(Kind::matrix, n);
    answer.columns = n.columns;
    return answer;
  }

  Answer scaled_matrix(const Node& n) {
    Answer answer;
    Fraction scale = Arithmetic::integer(1);
    for (const int32_t kid : n.kids) {
      if (node(kid).kind != NodeKind::matrix) {
        scale = arithmetic_.multiply(scale, value(kid));
      } else if (answer.kind == Kind::matrix) {
        throw Unreadable("a product of matrices");
      } else {
        answer = matrix(node(kid));
      }
    }
    for (Answer& cell : answer.items) cell.value = arithmetic_.multiply(scale, cell.value);
    return answer;
  }

  Answer ratio(const Node& n) { return of_values(Kind::ratio, n); }

  // ---- sets of reals

  RealSet as_reals(const Answer& answer) {
    switch (answer.kind) {
      case Kind::reals: return answer.reals;
      case Kind::value: return point(constant(answer.value));
      case Kind::set:
      case Kind::list: {
        RealSet all;
        for (const Answer& item : answer.items) all = unite(arithmetic_, all, as_reals(item));
        return all;
      }
      case Kind::tuple: return interval_of(answer);
      default: throw Unreadable("not a set of reals");
    }
  }

  const Fraction& constant(const Fraction& r) {
    if (!is_constant(r)) throw Unreadable("a set with an end that is no number");
    return r;
  }

  RealSet interval_of(const Answer& answer) {
    if (answer.items.size() != 2 || answer.text.find_first_not_of("()[]") != std::string::npos ||
        answer.items[0].kind != Kind::value || answer.items[1].kind != Kind::value)
      throw Unreadable("not an interval");
    return interval(arithmetic_, {endpoint(answer.items[0].value), endpoint(answer.items[1].value),
                                  answer.text[0] == '[', answer.text[1] == ']'});
  }

  Endpoint endpoint(const Fraction& r) {
    const int infinite = infinity_sign(r);
    return infinite != 0 ? Endpoint{infinite, {}} : Endpoint{0, constant(r)};
  }

  Answer operation(const Node& n) {
    const RealSet left = as_reals(one(n.kids[0])), right = as_reals(one(n.kids[1]));
    if (n.kind == NodeKind::unite) return of_reals(unite(arithmetic_, left, right), "");
    if (n.kind == NodeKind::intersect) return of_reals(intersect(arithmetic_, left, right), "");
    return of_reals(intersect(arithmetic_, left, complement(right)), "");
  }

  Answer condition(const Node& n) {
    const Node& head = node(n.kids[0]);
    if (head.kind != NodeKind::symbol && head.kind != NodeKind::member) throw Unreadable("a set by a condition");
    Answer inside = one(n.kids[1]);
    if (inside.kind == Kind::value && !inside.name.empty()) inside = of_reals(as_reals(inside), inside.name);
    if (inside.kind != Kind::reals) throw Unreadable("a set by a condition");
    if (head.kind == NodeKind::member) {
      const Answer within = one(n.kids[0]);
      if (within.kind != Kind::reals) throw Unreadable("a set by a condition");
      inside.reals = intersect(arithmetic_, inside.reals, within.reals);
    }
    inside.name.clear();
    return inside;
  }

  Answer member(const Node& n) {
    Answer set = one(n.kids[1]);
    std::string name = evaluator_.name_of(n.kids[0]);
    if (name.empty()) throw Unreadable("membership of an expression");
    if (n.text == "notin") return of_reals(complement(as_reals(set)), name);
    if (set.kind == Kind::tuple) return of_reals(as_reals(set), name);
    set.name = name;
    return set;
  }

  // ---- relations

  Answer relation(const Node& n) {
    if (n.text.find_first_not_of("=~") == std::string::npos) return equation(n);
    if (n.text.find_first_of("=~") != std::string::npos) throw Unreadable("equal and unequal in one chain");
    if (auto range = solved(n)) return *range;
    Answer list;
    list.kind = Kind::list;
    for (size_t i = 0; i < n.text.size(); ++i) {
      Answer answer;
      answer.kind = Kind::relation;
      answer.value = arithmetic_.subtract(value(n.kids[i]), value(n.kids[i + 1]));
      const char sign = n.text[i];
      if (sign == '>' || sign == 'g') answer.value = arithmetic_.negate(answer.value);
      answer.text = sign == '>' ? '<' : sign == 'g' ? 'l' : sign;
      list.items.push_back(std::move(answer));
    }
    return list.items.size() == 1 ? list.items[0] : list;
  }

  // left (sign) right, linear in one symbol, as a set; nothing if it is something else.
  std::optional<Answer> solved(const Node& n) {
    RealSet all = all_reals();
    std::string name;
    for (size_t i = 0; i < n.text.size(); ++i) {
      const Fraction left = value(n.kids[i]), right = value(n.kids[i + 1]);
      std::vector<std::string> symbols;
      collect_symbols(left, symbols);
      collect_symbols(right, symbols);
      std::erase(symbols, "infinity");
      if (symbols.size() != 1 || (!name.empty() && name != symbols[0])) return std::nullopt;
      name = symbols[0];
      if (infinity_sign(left) != 0 || infinity_sign(right) != 0) {
        const bool below = n.text[i] == '<' || n.text[i] == 'l';
        if ((below && infinity_sign(right) > 0) || (below && infinity_sign(left) < 0) ||
            (!below && (infinity_sign(right) < 0 || infinity_sign(left) > 0)))
          continue;  // says nothing
        return std::nullopt;
      }
      const auto bound = solve_inequality(arithmetic_, arithmetic_.subtract(left, right), name, n.text[i]);
      if (!bound) return std::nullopt;
      all = intersect(arithmetic_, all, *bound);
    }
    return of_reals(std::move(all), name);
  }

  // Sides that are numbers or expressions, all equal: the last of them.
  bool all_equal(const std::vector<int32_t>& sides) {
    const Fraction last = value(sides.back());
    return std::all_of(sides.begin(), sides.end(), [&](int32_t side) {
      const Fraction difference = arithmetic_.subtract(value(side), last);
      return arithmetic_.is_zero(difference.num) ||
             (!independent(difference.num) && decide_zero(difference.num, 0, arithmetic_.fuel()) == Zero::probably);
    });
  }

  Answer equation(const Node& n) {
    std::vector<int32_t> sides = n.kids;
    if (const size_t about = n.text.find('~'); about != std::string::npos) sides.resize(about + 1);
    if (sides.size() == 1) return one(sides[0]);
    std::string name = evaluator_.name_of(sides[0]);
    if (name.empty() && sides.size() == 2 && node(sides[1]).kind == NodeKind::symbol) {
      std::swap(sides[0], sides[1]);  // 3 = x
      name = evaluator_.name_of(sides[0]);
    }
    if (node(sides[0]).kind == NodeKind::bracketed) return vector_equation(sides);
    if (!name.empty()) return named(name, sides);
    if (all_equal(sides)) return one(sides.back());
    if (sides.size() != 2) throw Undefined("a chain of equations that do not hold");
    Answer answer;
    answer.kind = Kind::relation;
    answer.text = "=";
    answer.value = arithmetic_.subtract(value(sides[0]), value(sides[1]));
    if (is_constant(answer.value)) throw Undefined("an equation that does not hold");
    return answer;
  }

  Answer named(const std::string& name, const std::vector<int32_t>& sides) {
    const std::vector<int32_t> rest(sides.begin() + 1, sides.end());
    size_t names = 0;  // x = y = 2
    while (names + 1 < rest.size() && node(rest[names]).kind == NodeKind::symbol) ++names;
    Answer last = one(rest.back());
    if (names > 0) {
      Answer list;
      list.kind = Kind::list;
      for (size_t i = 0; i <= names; ++i) {
        last.name = evaluator_.name_of(sides[i]);
        list.items.push_back(last);
      }
      return list;
    }
    if (rest.size() > 1 && last.kind == Kind::value && !all_equal(rest))
      throw Undefined("a chain of equations that do not hold");
    last.name = name;
    if (last.kind == Kind::value && evaluator_.is_value(sides[0])) {
      last.has_equation = true;
      last.equation = arithmetic_.subtract(value(sides[0]), last.value);
    }
    return last;
  }

  // (x, y) = (1, 2)
  Answer vector_equation(const std::vector<int32_t>& sides) {
    Answer last = one(sides.back());
    const Node& names = node(sides[0]);
    if (last.items.size() != names.kids.size()) throw Unreadable("an equation of vectors");
    for (size_t i = 0; i < names.kids.size(); ++i) {
      last.items[i].name = evaluator_.name_of(names.kids[i]);
      if (last.items[i].name.empty()) throw Unreadable("an equation of vectors");
    }
    return last;
  }

  const Tree& tree_;
  Arithmetic arithmetic_;
  TreeEvaluator evaluator_;
  int sign_ = 1;
};

// ---- forms that are read from the text as a whole

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string without_text_commands(std::string_view cleaned) {
  std::string result;
  for (size_t at = 0; at < cleaned.size(); ++at) {
    if (cleaned[at] == '\\') {
      size_t end = at + 1;
      while (end < cleaned.size() &&
             ((cleaned[end] >= 'a' && cleaned[end] <= 'z') || (cleaned[end] >= 'A' && cleaned[end] <= 'Z')))
        ++end;
      const std::string_view name = cleaned.substr(at, end - at);
      if (name == "\\" && end < cleaned.size() && (cleaned[end] == ' ' || cleaned[end] == ',' || cleaned[end] == ';')) {
        at = end;
        continue;
      }
      if (name == "\\text" || name == "\\mathrm" || name == "\\mbox" || name == "\\textrm" || name == "\\rm") {
        at = end - 1;
        continue;
      }
      return "";
    }
    if (cleaned[at] != '{' && cleaned[at] != '}' && cleaned[at] != '$' && cleaned[at] != '~') result += cleaned[at];
  }
  return result;
}

int digit_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'z') return c - 'a' + 10;
  return c >= 'A' && c <= 'Z' ? c - 'A' + 10 : 99;
}

// 4210_5, 1A3_{16}, (101)_{\text{two}}, 4210 base 5
std::optional<Answer> read_numeral(std::string_view cleaned) {
  const std::string plain = without_text_commands(cleaned);
  size_t mark = plain.find('_'), after = mark + 1;
  if (mark == std::string::npos) {
    mark = plain.find("base ");
    after = mark + 5;
  }
  if (mark == std::string::npos || plain.size() > 4096) return std::nullopt;
  std::string digits, base;
  for (const char c : plain.substr(0, mark))
    if (c != ' ' && c != '(' && c != ')') digits += c;
  for (const char c : plain.substr(after))
    if (c != ' ' && c != '(' && c != ')') base += c;
  if (base.starts_with("base")) base.erase(0, 4);
  if (digits.empty() || base.empty() || base.size() > 8) return std::nullopt;
  Answer answer;
  answer.kind = Kind::numeral;
  if (base.find_first_not_of("0123456789") == std::string::npos)
    answer.base = base.size() > 2 ? 0 : std::stoi(base);
  else
    answer.base = number_of_word(lower_case(base)).value_or(0);
  if (answer.base < 2 || answer.base > 36 || (!is_digit(digits[0]) && digits.size() == 1)) return std::nullopt;
  for (const char c : digits) {
    if (digit_value(c) >= answer.base) return std::nullopt;
    answer.text += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  answer.text.erase(0, std::min(answer.text.find_first_not_of('0'), answer.text.size() - 1));
  return answer;
}

// 3:30, 3:30 p.m.
std::optional<Answer> read_time(std::string_view cleaned) {
  if (cleaned.size() > 64 || cleaned.find(':') == std::string_view::npos) return std::nullopt;
  std::string compact;
  for (const char c : without_text_commands(cleaned))
    if (c != ' ' && c != '.') compact += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const size_t colon = compact.find(':');
  if (colon == std::string::npos || colon == 0 || colon > 2 || compact.size() < colon + 3) return std::nullopt;
  const std::string half = compact.substr(colon + 3);
  if (!half.empty() && half != "am" && half != "pm") return std::nullopt;
  for (size_t i = 0; i < colon + 3; ++i)
    if (i != colon && !is_digit(compact[i])) return std::nullopt;
  const int hours = std::stoi(compact), minutes = std::stoi(compact.substr(colon + 1, 2));
  if (hours > 24 || minutes > 59) return std::nullopt;
  Answer answer;
  answer.kind = Kind::time;
  answer.text = half;
  for (const int part : {hours, minutes}) {
    answer.items.emplace_back();
    answer.items.back().value = Arithmetic::integer(part);
  }
  return answer;
}

// Words are words unless all of them mean something in a formula.
std::optional<Answer> read_words(std::string_view cleaned, Fuel& fuel) {
  const std::string text = words_of(cleaned);
  if (text.empty()) return std::nullopt;
  Answer answer;
  if (const auto number = number_of_word(text)) {
    answer.value = Arithmetic::integer(*number);
    return answer;
  }
  answer.kind = Kind::reals;
  if (text == "empty set" || text == "the empty set") return answer;
  if (text == "all real numbers" || text == "all reals" || text == "all real" || text == "the real numbers" ||
      text == "real numbers") {
    answer.reals = all_reals();
    return answer;
  }
  bool other = false, single = true;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string_view word = std::string_view(text).substr(at, end - at);
    if (is_function_word(word)) return std::nullopt;
    if (word.size() > 1 && word != "and" && word != "or") other = true;
    at = end + 1;
    single &= at > text.size();
  }
  if (!other) return std::nullopt;  // x and y
  if (const size_t joint = text.find(" and "); joint != std::string::npos) {
    answer.kind = Kind::list;
    for (const std::string& part : {text.substr(0, joint), text.substr(joint + 5)}) {
      answer.items.emplace_back();
      answer.items.back().kind = Kind::words;
      answer.items.back().text = part;
    }
    return answer;
  }
  answer.kind = Kind::words;
  answer.text = text;
  if (single && is_letters_product(text)) {  // a product too, against one that is written otherwise
    fuel.spend(8);
    answer.value = Arithmetic::integer(1);
    Arithmetic arithmetic(fuel);
    for (const char c : cleaned.size() == text.size() ? cleaned : std::string_view(text))
      answer.value = arithmetic.multiply(answer.value, letter_value(c));
  }
  return answer;
}

}  // namespace

Answer read_answer(std::string_view cleaned, Fuel& fuel, bool groups) {
  if (cleaned.size() > kMaxCandidateBytes) throw LimitError("an answer that is too long");
  fuel.spend(8 + cleaned.size() / 4);
  if (!is_balanced(cleaned)) throw Unreadable("brackets that do not pair");
  if (auto words = read_words(cleaned, fuel)) return *words;
  if (auto numeral = read_numeral(cleaned)) return *numeral;
  if (auto time = read_time(cleaned)) return *time;
  const Tree tree = parse_math(cleaned, fuel, groups);
  return Reader(tree, fuel).read();
}

std::string to_text(const Answer& answer) {
  std::string text = answer.name.empty() ? "" : answer.name + " = ";
  const auto joined = [&] {
    std::string all;
    for (size_t i = 0; i < answer.items.size() && all.size() < kMaxCandidateBytes; ++i) {
      if (i > 0) all += answer.columns > 0 && i % static_cast<size_t>(answer.columns) == 0 ? "; " : ", ";
      all += to_text(answer.items[i]);
    }
    return all;
  };
  switch (answer.kind) {
    case Kind::value: return text + to_text(answer.value) + (answer.percent ? " (percent)" : "");
    case Kind::words: return text + answer.text;
    case Kind::tuple: return text + answer.text[0] + joined() + answer.text[1];
    case Kind::list: return text + joined();
    case Kind::set: return text + "{" + joined() + "}";
    case Kind::reals: return text + to_text(answer.reals);
    case Kind::relation: {
      const std::string sign = answer.text == "l" ? "<=" : answer.text == "!" ? "!=" : answer.text;
      return to_text(answer.value) + " " + sign + " 0";
    }
    case Kind::matrix: return text + "[" + joined() + "]";
    case Kind::ratio: return text + "ratio(" + joined() + ")";
    case Kind::time: return text + "time(" + joined() + ")" + answer.text;
    case Kind::numeral: return answer.text + "_" + std::to_string(answer.base);
  }
  return text;
}

}  // namespace ringbench
