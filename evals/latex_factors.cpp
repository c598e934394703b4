// latex_factors.cpp: factors of latex.h: numbers, letters, words, brackets, commands, functions.
#include <algorithm>

#include "evals/parser.h"
#include "evals/words.h"

namespace ringbench {
namespace {

constexpr int kMaxPostfixes = 8;  // x!!!!: nodes as deep as they are many

}  // namespace

bool Parser::starts_factor() const {
  const Token& t = peek();
  switch (t.kind) {
    case Lexeme::number:
    case Lexeme::letter: return !union_letter();
    case Lexeme::word: return is_function_word(t.text) || (is_letters_product(t.text) && !is_unit_word(t.text));
    case Lexeme::text: return is_function_word(t.text) && t.text != "min" && t.text != "sec";  // units
    case Lexeme::sign:
      return t.text == "(" || t.text == "[" || t.text == "{" || (t.text == "|" && bars_ == 0 && !no_bar_);
    case Lexeme::command:
      return t.text == "frac" || t.text == "sqrt" || t.text == "rootsign" || t.text == "binom" || t.text == "infty" ||
             t.text == "lfloor" || t.text == "lceil" || t.text.starts_with("begin:") || is_function_word(t.text) ||
             is_greek(t.text);
    case Lexeme::end: break;
  }
  return false;
}

bool Parser::is_degree(size_t ahead) const {
  return is_command("circ", ahead) || (is_sign("{", ahead) && is_command("circ", ahead + 1) && is_sign("}", ahead + 2));
}

bool Parser::take_degree() {
  if (!is_degree(0)) return false;
  at_ += is_sign("{") ? 3 : 1;
  return true;
}

int32_t Parser::with_postfixes(int32_t node) {
  for (int count = 0;;) {
    if (take_sign("^")) {
      if (take_degree()) {
        node = make(Kind::degree, {node});
        if (peek().is(Lexeme::letter, "C") || peek().is(Lexeme::letter, "F")) ++at_;  // of temperature
      } else {
        node = make(Kind::power, {node, exponent()});
      }
    } else if (take_command("circ")) {
      node = make(Kind::degree, {node});
    } else if (take_sign("!")) {
      node = make(Kind::function, {node}, "factorial");
    } else if (take_sign("%")) {
      node = make(Kind::percent, {node});
    } else {
      return node;
    }
    if (++count > kMaxPostfixes) throw LimitError("too many signs after a value");
  }
}

int32_t Parser::exponent() {
  const Depth depth(depth_);
  if (take_sign("-")) return make(Kind::negate, {exponent()});
  if (take_sign("+")) return exponent();
  const int32_t node = primary();
  if (take_sign("^")) return make(Kind::power, {node, exponent()});
  return node;
}

int32_t Parser::argument() {
  const Depth depth(depth_);
  if (peek().kind == Lexeme::number && peek().text.size() > 1) {
    Token& t = tokens_[at_];
    const mpq_class digit = literal(t.text.substr(0, 1));
    t.text.erase(0, 1);
    t.space = false;
    return make_number(digit);
  }
  if (take_sign("-")) return make(Kind::negate, {argument()});
  return primary();
}

mpq_class Parser::literal(const std::string& text) {
  if (text.size() > kMaxBits / 4) throw LimitError("a number is too long");
  fuel_.spend(text.size() / 4);
  const size_t e = text.find('e');
  std::string digits = text.substr(0, e);
  const size_t dot = digits.find('.');
  long exponent = 0;
  if (e != std::string::npos) {
    if (text.size() - e > 7) throw LimitError("an exponent is too large");
    exponent = std::stol(text.substr(e + 1));
  }
  if (dot != std::string::npos) {
    exponent -= static_cast<long>(digits.size() - dot - 1);
    digits.erase(dot, 1);
  }
  if (std::abs(exponent) > static_cast<long>(kMaxBits / 4)) throw LimitError("an exponent is too large");
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) fail();
  mpz_class power;
  mpz_ui_pow_ui(power.get_mpz_t(), 10, static_cast<unsigned long>(std::abs(exponent)));
  mpq_class value{mpz_class(digits, 10)};
  if (exponent >= 0) return value * power;
  value /= power;
  return value;
}

int32_t Parser::number() {
  std::string text = tokens_[at_++].text;
  const size_t dot = text.find('.');
  if (dot != std::string::npos && is_command("overline")) {
    const bool braces = is_sign("{", 1);
    const size_t digits = braces ? 2 : 1;
    if (!is_integer_token(digits) || (braces && !is_sign("}", 3))) fail();
    std::string period = peek(digits).text;
    if (!braces && period.size() > 1) fail();
    at_ += braces ? 4 : 2;
    return repeating(text, period);
  }
  if (dot != std::string::npos && is_command("dots")) {
    ++at_;
    for (size_t n = 1; dot + 1 + 3 * n <= text.size() && n <= 64; ++n) {
      const std::string period = text.substr(text.size() - n);
      if (text.substr(text.size() - 2 * n, n) == period && text.substr(text.size() - 3 * n, n) == period)
        return repeating(text.substr(0, text.size() - n), period);
    }
    fail();
  }
  return make_number(literal(text));
}

int32_t Parser::repeating(const std::string& before, const std::string& period) {
  const mpq_class start = literal(before.back() == '.' ? before + "0" : before);
  const size_t places = before.size() - before.find('.') - 1;
  if (places + period.size() > 4096) throw LimitError("a number is too long");
  mpz_class shift, nines;
  mpz_ui_pow_ui(shift.get_mpz_t(), 10, places);
  mpz_ui_pow_ui(nines.get_mpz_t(), 10, period.size());
  mpq_class tail(mpz_class(period, 10), shift * (nines - 1));
  tail.canonicalize();
  return make_number(start + tail);
}

int32_t Parser::primary() {
  const Depth depth(depth_);
  const Token& t = peek();
  switch (t.kind) {
    case Lexeme::number: return number();
    case Lexeme::letter: return letter();
    case Lexeme::word: return word();
    case Lexeme::text: return text();
    case Lexeme::command: return command();
    case Lexeme::sign:
      if (t.text == "(" || t.text == "[") return bracketed();
      if (t.text == "{") return group();
      if (t.text == "|") return absolute();
      break;
    case Lexeme::end: break;
  }
  fail();
}

std::string Parser::with_marks(std::string name) {
  if (take_sign("_")) {
    name += "_";
    if (take_sign("{")) {
      while (!is_sign("}")) {
        if (peek().kind == Lexeme::end || is_sign("{")) fail();
        name += tokens_[at_++].text;
      }
      ++at_;
    } else {
      name += tokens_[at_].text;
      if (peek().kind == Lexeme::end) fail();
      ++at_;
    }
  }
  while (take_sign("'")) name += "'";
  return name;
}

int32_t Parser::letter() {
  const std::string name = tokens_[at_++].text;
  const bool marked = is_sign("_") || is_sign("'");
  if (!marked && (name == "e" || name == "i")) return make(Kind::constant, {}, name);
  if (name == "C" && is_sign("(") && kind_of_call()) return function("binomial");
  if (!marked && is_sign("(") && !peek().space &&
      (name == "f" || name == "g" || name == "F" || name == "G" || name == "P"))
    return function("call " + name);  // f(2), a value that is not known
  return make(Kind::symbol, {}, with_marks(name));
}

bool Parser::kind_of_call() const {
  int level = 0;
  for (size_t i = 0; i < 16; ++i) {
    if (is_sign("(", i)) ++level;
    if (is_sign(")", i) && --level == 0) return false;
    if (level == 1 && is_sign(",", i)) return true;
  }
  return false;
}

int32_t Parser::word() {
  const std::string name = tokens_[at_++].text;
  const std::string known = function_word(name);
  if (known == "pi") return make(Kind::constant, {}, "pi");
  if (known == "infinity") return make(Kind::constant, {}, "infinity");
  if (known == "sqrt") return make(Kind::power, {argument(), make_number(mpq_class(1, 2))});
  if (!known.empty()) return function(known);
  if (name.size() >= 4 && !function_word(name.substr(0, 3)).empty() && name.size() == 4) {  // sinx
    tokens_[--at_].text = name.substr(3);
    tokens_[at_].kind = Lexeme::letter;
    return function(function_word(name.substr(0, 3)));
  }
  const bool capitalized = name.size() == 3 && name[0] <= 'Z' && name[1] >= 'a' && name[2] >= 'a';  // Bob
  if (capitalized || !is_letters_product(name)) return make(Kind::words, {}, lower_case(name));
  std::vector<int32_t> letters;
  for (size_t i = 0; i < name.size(); ++i) {
    const std::string one(1, name[i]);
    const bool constant = one == "e" || one == "i";
    std::string marked = i + 1 == name.size() ? with_marks(one) : one;
    letters.push_back(constant && marked == one ? make(Kind::constant, {}, one) : make(Kind::symbol, {}, marked));
  }
  if (is_sign("^")) {  // of the last letter only
    ++at_;
    const int32_t last = letters.back();
    letters.back() = make(Kind::power, {last, exponent()});
  }
  return make(Kind::multiply, std::move(letters));
}

int32_t Parser::text() {
  const std::string name = tokens_[at_].text;
  if (is_function_word(name)) return word();
  ++at_;
  if (name.size() == 1) return make(Kind::symbol, {}, name);
  if (is_joining_word(name) || changes_value(lower_case(name))) fail();
  return make(Kind::words, {}, lower_case(name));
}

int32_t Parser::group() {
  ++at_;
  if (take_sign("}")) return primary();  // {}5
  int32_t node = list();
  if (take_command("choose")) node = make(Kind::function, {node, list()}, "binomial");
  expect_sign("}");
  return node;
}

int32_t Parser::absolute() {
  ++at_;
  ++bars_;
  const int saved = no_bar_;
  no_bar_ = 0;
  const int32_t inside = expression();
  expect_sign("|");
  no_bar_ = saved;
  --bars_;
  return make(Kind::function, {inside}, "abs");
}

std::vector<int32_t> Parser::items(char& close) {
  const int bars = bars_, no_bar = no_bar_;
  bars_ = no_bar_ = 0;
  std::vector<int32_t> result{statement()};
  while (!separator().empty()) {
    result.push_back(statement());
    if (result.size() > kMaxItems) throw LimitError("too many items");
  }
  bars_ = bars, no_bar_ = no_bar;
  if (is_sign(")") || is_sign("]"))
    close = tokens_[at_].text[0];
  else if (is_command("rangle") || is_command("rbrack"))
    close = is_command("rangle") ? '>' : ']';
  else
    fail();
  ++at_;
  return result;
}

int32_t Parser::bracketed() {
  char open = tokens_[at_++].text[0], close = '\0';
  if (open == 'l') open = '<';
  std::vector<int32_t> inside = items(close);
  if (inside.size() > 1) return make(Kind::bracketed, std::move(inside), {open, close});
  if ((open == '(') != (close == ')')) fail();
  return inside[0];
}

int32_t Parser::set() {
  ++at_;
  if (take_command("}")) return make(Kind::named_set, {}, "empty");
  const int bars = bars_, no_bar = no_bar_;
  bars_ = 0, no_bar_ = 1;
  std::vector<int32_t> inside{statement()};
  if (is_sign("|") || is_sign(":")) {
    ++at_;
    no_bar_ = 0;
    inside.push_back(list());
    if (!take_command("}")) fail();
    bars_ = bars, no_bar_ = no_bar;
    return make(Kind::condition, std::move(inside));
  }
  while (!separator().empty()) {
    inside.push_back(statement());
    if (inside.size() > kMaxItems) throw LimitError("too many items");
  }
  bars_ = bars, no_bar_ = no_bar;
  if (!take_command("}")) fail();
  return make(Kind::set, std::move(inside));
}

int32_t Parser::matrix(const std::string& name) {
  if (name.find("matrix") == std::string::npos && name != "array") fail();
  const std::string end = "end:" + name;
  std::vector<int32_t> cells;
  size_t columns = 0, row = 0, rows = 0;
  while (!is_command(end)) {
    if (take_command("hline")) continue;
    cells.push_back(statement());
    ++row;
    if (take_sign("&")) continue;
    const bool newline = take_command("\\");
    if (!newline && !is_command(end)) fail();
    if (rows++ == 0) columns = row;
    if (row != columns || columns > kMaxMatrixSide || rows > kMaxMatrixSide) throw Undefined("a ragged matrix");
    row = 0;
  }
  ++at_;
  if (cells.empty() || row != 0) fail();
  const int32_t node = make(Kind::matrix, std::move(cells));
  tree_.nodes.back().columns = static_cast<int32_t>(columns);
  return node;
}

int32_t Parser::command() {
  const std::string name = tokens_[at_].text;
  if (name == "{") return set();
  if (name == "langle" || name == "lbrack") {
    if (name == "lbrack") tokens_[at_].text = "[";
    return bracketed();
  }
  ++at_;
  if (name == "frac") {
    const int32_t top = argument();
    const int32_t bottom = argument();
    note_fraction(top, bottom);
    return make(Kind::divide, {top, bottom});
  }
  if (name == "sqrt") return root();
  if (name == "rootsign") return make(Kind::power, {primary(), make_number(mpq_class(1, 2))});
  if (name == "binom") {
    const int32_t top = argument();
    const int32_t bottom = argument();
    return make(Kind::function, {top, bottom}, "binomial");
  }
  if (name == "pi") return make(Kind::constant, {}, "pi");
  if (name == "infty") return make(Kind::constant, {}, "infinity");
  if (name == "emptyset") return make(Kind::named_set, {}, "empty");
  if (name == "mathbb") return named_set();
  if (name == "lfloor" || name == "lceil") {
    const int32_t inside = expression();
    if (!take_command(name == "lfloor" ? "rfloor" : "rceil")) fail();
    return make(Kind::function, {inside}, name == "lfloor" ? "floor" : "ceil");
  }
  if (name.starts_with("begin:")) return matrix(name.substr(6));
  if (const std::string known = function_word(name); !known.empty()) return function(known);
  if (name == "angle" || name == "triangle") {  // \angle ABC: a name
    std::string points = "\\" + name;
    while (peek().kind == Lexeme::letter || peek().kind == Lexeme::word) points += tokens_[at_++].text;
    return make(Kind::symbol, {}, points);
  }
  if (is_greek(name)) return make(Kind::symbol, {}, with_marks("\\" + name));
  --at_;
  fail();
}

int32_t Parser::named_set() {
  const bool braces = take_sign("{");
  if (peek().kind != Lexeme::letter) fail();
  const std::string name = tokens_[at_++].text;
  if (braces) expect_sign("}");
  return make(Kind::named_set, {}, name);
}

int32_t Parser::root() {
  int32_t degree = -1;
  if (take_sign("[")) {
    degree = expression();
    expect_sign("]");
  }
  const int32_t inside = argument();
  const int32_t exponent = degree < 0 ? make_number(mpq_class(1, 2)) : inverse(degree);
  return make(Kind::power, {inside, exponent});
}

int32_t Parser::function(std::string name) {
  int32_t base = -1, power = -1;
  for (int i = 0; i < 2; ++i) {
    if (base < 0 && name == "log" && take_sign("_")) base = argument();
    if (power < 0 && is_sign("^") && name != "exp") {
      ++at_;
      power = exponent();
    }
  }
  if (power >= 0 && kind(power) == Kind::negate && kind(tree_[power].kids[0]) == Kind::number &&
      tree_[tree_[power].kids[0]].number == 1 && (name == "sin" || name == "cos" || name == "tan")) {
    name = "arc" + name;
    power = -1;
  }
  std::vector<int32_t> arguments;
  if (is_sign("(") || is_sign("[")) {
    ++at_;
    char close = '\0';
    arguments = items(close);
  } else {
    arguments = {bare_argument()};
  }
  if (base >= 0) arguments.insert(arguments.begin(), base);
  const int32_t call = make(Kind::function, std::move(arguments), name);
  return power < 0 ? call : make(Kind::power, {call, power});
}

int32_t Parser::bare_argument() {
  const bool negative = take_sign("-");
  std::vector<int32_t> factors{factor()};
  while (starts_factor() && !(peek().kind != Lexeme::letter && is_plain_function()) &&
         !(peek().kind == Lexeme::number && tokens_[at_ - 1].kind == Lexeme::number))
    factors.push_back(factor());
  const int32_t node = factors.size() == 1 ? factors[0] : make(Kind::multiply, std::move(factors));
  return negative ? make(Kind::negate, {node}) : node;
}

bool Parser::is_plain_function() const {
  const std::string known = function_word(peek().text);
  return !known.empty() && known != "pi" && known != "infinity" && known != "sqrt";
}

}  // namespace ringbench
