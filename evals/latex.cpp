// latex.cpp: see latex.h. Statements, sums, products and units here, factors in latex_factors.cpp.
#include "evals/latex.h"

#include <algorithm>

#include "evals/parser.h"
#include "evals/words.h"

namespace ringbench {
namespace {

constexpr int kMaxSigns = 4;         // plus-minus in one answer
constexpr size_t kLongestName = 24;  // tokens of f(x) before a sign of equality

}  // namespace

Tree Parser::run() {
  tree_.root = list();
  if (peek().kind != Lexeme::end) fail();
  return std::move(tree_);
}

bool Parser::take_sign(std::string_view text) {
  if (!is_sign(text)) return false;
  ++at_;
  return true;
}

bool Parser::take_command(std::string_view text) {
  if (!is_command(text)) return false;
  ++at_;
  return true;
}

void Parser::expect_sign(std::string_view text) {
  if (!take_sign(text)) fail();
}

int32_t Parser::make(Kind what, std::vector<int32_t> kids, std::string words) {
  fuel_.spend(2);
  if (tree_.nodes.size() >= kMaxNodes) throw LimitError("too many parts");
  tree_.nodes.push_back({what, std::move(words), {}, std::move(kids), 0});
  return static_cast<int32_t>(tree_.nodes.size()) - 1;
}

int32_t Parser::make_number(const mpq_class& value) {
  const int32_t node = make(Kind::number);
  tree_.nodes.back().number = value;
  return node;
}

void Parser::note_fraction(int32_t num, int32_t den) {
  const auto whole = [&](int32_t i) { return kind(i) == Kind::number && tree_[i].number.get_den() == 1; };
  if (whole(num) && whole(den) && gcd(tree_[num].number.get_num(), tree_[den].number.get_num()) > 1)
    tree_.unreduced = true;
}

std::string Parser::separator() {
  std::string found;
  for (;; ++at_) {
    const Token& t = peek();
    const std::string word = t.kind == Lexeme::word || t.kind == Lexeme::text ? lower_case(t.text) : "";
    if (t.is(Lexeme::sign, ",") || t.is(Lexeme::sign, ";") || t.is(Lexeme::command, "\\")) {
      if (found.empty()) found = ",";
    } else if (word == "and" || t.is(Lexeme::command, "wedge")) {
      found = "and";
    } else if (word == "or" || t.is(Lexeme::command, "vee")) {
      found = "or";
    } else {
      return found;
    }
  }
}

int32_t Parser::list() {
  std::vector<int32_t> items{statement()};
  std::string joined = ",";
  for (std::string s = separator(); !s.empty(); s = separator()) {
    if (s != ",") joined = s;
    items.push_back(statement());
    if (items.size() > kMaxItems) throw LimitError("too many items");
  }
  return items.size() == 1 ? items[0] : make(Kind::list, std::move(items), joined);
}

char Parser::relation_sign() {
  const Token& t = peek();
  if (t.kind == Lexeme::sign) {
    if (t.text == "=" || t.text == "<" || t.text == ">") return t.text[0];
    if (t.text == "<=") return 'l';
    if (t.text == ">=") return 'g';
    if (t.text == "!=") return '!';
  } else if (t.kind == Lexeme::command) {
    if (t.text == "le") return 'l';
    if (t.text == "ge") return 'g';
    if (t.text == "ne") return '!';
    if (t.text == "approx") return '~';
  }
  return '\0';
}

std::string Parser::called_name() {
  if (peek().kind != Lexeme::letter) return "";
  size_t i = 1;
  while (is_sign("'", i)) ++i;
  if (is_sign("^", i) && is_sign("{", i + 1) && is_sign("-", i + 2) && is_sign("}", i + 4)) i += 5;
  if (!is_sign("(", i)) return "";
  int level = 0;
  for (; i < kLongestName; ++i) {
    if (is_sign("(", i)) ++level;
    if (is_sign(")", i) && --level == 0) break;
    if (peek(i).kind == Lexeme::end) return "";
  }
  if (!is_sign(")", i) || !is_sign("=", i + 1)) return "";
  std::string name;
  for (const size_t end = at_ + i; at_ <= end; ++at_) name += peek().text;
  return name;
}

int32_t Parser::statement() {
  while (relation_sign() == '=' || relation_sign() == '~') ++at_;  // = 5
  const std::string called = called_name();
  std::vector<int32_t> sides{called.empty() ? set_expression() : make(Kind::symbol, {}, called)};
  if (is_command("in") || is_command("notin")) {
    const std::string name = tokens_[at_++].text;
    sides.push_back(set_expression());
    return make(Kind::member, std::move(sides), name);
  }
  if (is_sign(":") && !no_bar_) {
    while (take_sign(":")) sides.push_back(set_expression());
    const bool names = std::all_of(sides.begin(), sides.end(), [&](int32_t i) { return kind(i) == Kind::symbol; });
    if (names && take_sign("=")) return statement();  // a : b = 2 : 3
    return make(Kind::colon, std::move(sides));
  }
  std::string signs;
  for (char sign = relation_sign(); sign != '\0'; sign = relation_sign()) {
    ++at_;
    signs += sign;
    sides.push_back(set_expression());
  }
  return signs.empty() ? sides[0] : make(Kind::relation, std::move(sides), signs);
}

int32_t Parser::set_expression() {
  int32_t left = expression();
  for (int count = 0;; ++count) {
    if (count > kMaxDepth) throw LimitError("too many sets");
    Kind operation = Kind::unite;
    if (is_command("cup") || union_letter()) {
      operation = Kind::unite;
    } else if (is_command("cap")) {
      operation = Kind::intersect;
    } else if (is_command("setminus") || (kind(left) == Kind::named_set && is_sign("-"))) {
      operation = Kind::without;
    } else {
      return left;
    }
    ++at_;
    const int32_t right = expression();
    left = make(operation, {left, right});
  }
}

std::string Parser::plus_minus() {
  if (is_sign("+") && is_sign("/", 1) && is_sign("-", 2)) {
    at_ += 3;
    return "pm";
  }
  if (is_command("pm") || is_command("mp")) return tokens_[at_++].text;
  return "";
}

int32_t Parser::signed_sign(const std::string& sign, std::vector<int32_t> kids) {
  if (++signs_ > kMaxSigns) throw LimitError("too many plus-minus signs");
  return make(Kind::plus_minus, std::move(kids), sign);
}

int32_t Parser::expression() {
  std::vector<int32_t> terms;
  for (bool first = true;; first = false) {
    bool negative = false, found = first;
    if (const std::string sign = plus_minus(); !sign.empty()) {
      const int32_t right = term();
      if (first) {
        terms = {signed_sign(sign, {right})};
      } else {
        const int32_t left = terms.size() == 1 ? terms[0] : make(Kind::add, terms);
        terms = {signed_sign(sign, {left, right})};
      }
      continue;
    }
    if (!first && is_sign("-") && kind(terms.back()) == Kind::named_set) break;
    while (is_sign("+") || is_sign("-")) {
      negative ^= is_sign("-");
      found = true;
      ++at_;
    }
    if (!found) break;
    const int32_t next = term();
    terms.push_back(negative ? make(Kind::negate, {next}) : next);
  }
  return terms.size() == 1 ? terms[0] : make(Kind::add, std::move(terms));
}

bool Parser::is_integer_token(size_t ahead) const {
  const Token& t = peek(ahead);
  return t.kind == Lexeme::number && t.text.find_first_of(".e") == std::string::npos;
}

int32_t Parser::mixed_number() {
  if (!is_integer_token(0)) return -1;
  if (is_integer_token(1) && peek(1).space && is_sign("/", 2) && is_integer_token(3)) {
    const mpq_class whole = literal(peek(0).text), top = literal(peek(1).text), bottom = literal(peek(3).text);
    if (bottom == 0) throw Undefined("division by zero");
    at_ += 4;
    return make_number(whole + top / bottom);
  }
  if (!is_command("frac", 1)) return -1;
  size_t next = 2;
  mpq_class parts[2];
  for (mpq_class& part : parts) {
    const bool braces = is_sign("{", next);
    const std::string& digits = peek(next + (braces ? 1 : 0)).text;
    if (!is_integer_token(next + (braces ? 1 : 0)) || (braces && !is_sign("}", next + 2))) return -1;
    if (!braces && digits.size() == 2 && &part == parts) {  // \frac12
      parts[0] = digits[0] - '0';
      parts[1] = digits[1] - '0';
      ++next;
      break;
    }
    if (!braces && digits.size() > 1) return -1;
    part = literal(digits);
    next += braces ? 3 : 1;
  }
  if (parts[0] <= 0 || parts[1] <= 0 || (is_sign("^", next) && !is_degree(next + 1))) return -1;
  const mpq_class whole = literal(peek().text);
  at_ += next;
  return make_number(whole + parts[0] / parts[1]);
}

int32_t Parser::term() {
  std::vector<int32_t> factors;
  if (const int32_t mixed = mixed_number(); mixed >= 0)
    factors.push_back(with_postfixes(mixed));
  else
    factors.push_back(signed_factor());
  for (;;) {
    if (is_sign("*") || is_command("cdot") || is_command("times")) {
      ++at_;
      factors.push_back(signed_factor());
    } else if ((is_sign("/") || is_command("div")) && !unit_at(1)) {
      ++at_;
      const int32_t divisor = signed_factor();
      note_fraction(factors.back(), divisor);
      factors.push_back(inverse(divisor));
    } else if (const int zeros = zeros_of_word(peek()); zeros > 0) {
      ++at_;
      mpz_class power;
      mpz_ui_pow_ui(power.get_mpz_t(), 10, static_cast<unsigned long>(zeros));
      factors.push_back(make_number(mpq_class(power)));
    } else if (starts_factor() && !(peek().kind == Lexeme::number && tokens_[at_ - 1].kind == Lexeme::number)) {
      factors.push_back(factor());
    } else {
      break;
    }
  }
  const int32_t product = factors.size() == 1 ? factors[0] : make(Kind::multiply, std::move(factors));
  return units(product);
}

int32_t Parser::signed_factor() {
  bool negative = false;
  for (; is_sign("-") || is_sign("+"); ++at_) negative ^= is_sign("-");
  const int32_t node = factor();
  return negative ? make(Kind::negate, {node}) : node;
}

bool Parser::unit_at(size_t ahead) const {
  const Token& t = peek(ahead);
  if (t.kind == Lexeme::text)
    return t.text == "min" || t.text == "sec" || (!is_function_word(t.text) && !is_joining_word(t.text));
  return (t.kind == Lexeme::word || t.kind == Lexeme::letter) && is_unit_word(t.text);
}

int32_t Parser::units(int32_t value) {
  for (bool first = true;; first = false) {
    if ((is_sign("/") || (is_command("cdot") && !first)) && unit_at(1)) ++at_;
    if (!unit_at(0)) return value;
    const std::string word = lower_case(peek().text);
    if (!first) {
      tree_.unit += " " + word;
    } else if (is_degree_word(word)) {
      value = make(Kind::degree, {value});
    } else if (word == "percent") {
      value = make(Kind::percent, {value});
    } else if (changes_value(word)) {
      fail();
    } else {
      tree_.unit += (tree_.unit.empty() ? "" : " ") + word;
    }
    ++at_;
    if (take_sign("^")) argument();
  }
}
Tree parse_math(std::string_view cleaned, Fuel& fuel, bool groups) {
  return Parser(to_tokens(cleaned, fuel, groups), fuel).run();
}

}  // namespace ringbench
