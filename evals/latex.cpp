// latex.cpp: see latex.h.
#include "evals/latex.h"

#include <algorithm>
#include <array>

#include "evals/words.h"

namespace ringbench {
namespace {

using Kind = Node::Kind;
using Lexeme = Token::Kind;

constexpr int kMaxSigns = 4;         // plus-minus in one answer
constexpr int kMaxPostfixes = 8;     // x!!!!: nodes as deep as they are many
constexpr size_t kLongestName = 24;  // tokens of f(x) before a sign of equality

class Parser {
 public:
  Parser(Tokens tokens, Fuel& fuel) : tokens_(std::move(tokens.tokens)), fuel_(fuel) {
    tree_.grouped = tokens.grouped;
    if (tokens.currency) tree_.unit = "$";
  }

  Tree run() {
    tree_.root = list();
    if (peek().kind != Lexeme::end) fail();
    return std::move(tree_);
  }

 private:
  struct Depth {  // one level of recursion
    explicit Depth(int& counter) : count(counter) {
      if (++count > kMaxDepth) throw LimitError("nested too deeply");
    }
    ~Depth() { --count; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;
    int& count;
  };

  [[noreturn]] void fail() const { throw Unreadable("not understood: '" + peek().text + "'"); }

  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  bool is_sign(std::string_view text, size_t ahead = 0) const { return peek(ahead).is(Lexeme::sign, text); }
  bool is_command(std::string_view text, size_t ahead = 0) const { return peek(ahead).is(Lexeme::command, text); }
  bool take_sign(std::string_view text) {
    if (!is_sign(text)) return false;
    ++at_;
    return true;
  }
  bool take_command(std::string_view text) {
    if (!is_command(text)) return false;
    ++at_;
    return true;
  }
  void expect_sign(std::string_view text) {
    if (!take_sign(text)) fail();
  }

  int32_t make(Kind what, std::vector<int32_t> kids = {}, std::string words = "") {
    fuel_.spend(2);
    if (tree_.nodes.size() >= kMaxNodes) throw LimitError("too many parts");
    tree_.nodes.push_back({what, std::move(words), {}, std::move(kids), 0});
    return static_cast<int32_t>(tree_.nodes.size()) - 1;
  }
  int32_t make_number(const mpq_class& value) {
    const int32_t node = make(Kind::number);
    tree_.nodes.back().number = value;
    return node;
  }
  // num / den as it stands in the answer.
  void note_fraction(int32_t num, int32_t den) {
    const auto whole = [&](int32_t i) { return kind(i) == Kind::number && tree_[i].number.get_den() == 1; };
    if (whole(num) && whole(den) && gcd(tree_[num].number.get_num(), tree_[den].number.get_num()) > 1)
      tree_.unreduced = true;
  }
  int32_t inverse(int32_t node) { return make(Kind::power, {node, make_number(-1)}); }
  Kind kind(int32_t node) const { return tree_[node].kind; }

  // ---- statements

  // "and", "or" or "," if such a word or sign is next, taken; several in a row count as one.
  std::string separator() {
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

  int32_t list() {
    std::vector<int32_t> items{statement()};
    std::string joined = ",";
    for (std::string s = separator(); !s.empty(); s = separator()) {
      if (s != ",") joined = s;
      items.push_back(statement());
      if (items.size() > kMaxItems) throw LimitError("too many items");
    }
    return items.size() == 1 ? items[0] : make(Kind::list, std::move(items), joined);
  }

  char relation_sign() {
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

  // f(x), f'(x), f^{-1}(x), P(A) before a sign of equality: a name. Taken, if it is one.
  std::string called_name() {
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

  int32_t statement() {
    const std::string called = called_name();
    std::vector<int32_t> sides{called.empty() ? set_expression() : make(Kind::symbol, {}, called)};
    if (is_command("in") || is_command("notin")) {
      const std::string name = tokens_[at_++].text;
      sides.push_back(set_expression());
      return make(Kind::member, std::move(sides), name);
    }
    if (is_sign(":") && !no_bar_) {
      while (take_sign(":")) sides.push_back(set_expression());
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

  bool union_letter() const { return peek().is(Lexeme::letter, "U") && (is_sign("(", 1) || is_sign("[", 1)); }

  int32_t set_expression() {
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

  // ---- sums and products

  std::string plus_minus() {
    if (is_sign("+") && is_sign("/", 1) && is_sign("-", 2)) {
      at_ += 3;
      return "pm";
    }
    if (is_command("pm") || is_command("mp")) return tokens_[at_++].text;
    return "";
  }

  int32_t signed_sign(const std::string& sign, std::vector<int32_t> kids) {
    if (++signs_ > kMaxSigns) throw LimitError("too many plus-minus signs");
    return make(Kind::plus_minus, std::move(kids), sign);
  }

  int32_t expression() {
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

  bool is_integer_token(size_t ahead) const {
    const Token& t = peek(ahead);
    return t.kind == Lexeme::number && t.text.find_first_of(".e") == std::string::npos;
  }

  // A whole number and a fraction of two literals.
  int32_t mixed_number() {
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

  int32_t term() {
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

  int32_t signed_factor() {
    bool negative = false;
    for (; is_sign("-") || is_sign("+"); ++at_) negative ^= is_sign("-");
    const int32_t node = factor();
    return negative ? make(Kind::negate, {node}) : node;
  }

  // ---- units, after a product

  bool unit_at(size_t ahead) const {
    const Token& t = peek(ahead);
    if (t.kind == Lexeme::text)
      return t.text == "min" || t.text == "sec" || (!is_function_word(t.text) && !is_joining_word(t.text));
    return (t.kind == Lexeme::word || t.kind == Lexeme::letter) && is_unit_word(t.text);
  }

  int32_t units(int32_t value) {
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

  // ---- factors

  bool starts_factor() const {
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

  bool is_degree(size_t ahead) const {
    return is_command("circ", ahead) ||
           (is_sign("{", ahead) && is_command("circ", ahead + 1) && is_sign("}", ahead + 2));
  }

  bool take_degree() {
    if (!is_degree(0)) return false;
    at_ += is_sign("{") ? 3 : 1;
    return true;
  }

  int32_t factor() { return with_postfixes(primary()); }

  int32_t with_postfixes(int32_t node) {
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

  int32_t exponent() {
    const Depth depth(depth_);
    if (take_sign("-")) return make(Kind::negate, {exponent()});
    if (take_sign("+")) return exponent();
    const int32_t node = primary();
    if (take_sign("^")) return make(Kind::power, {node, exponent()});
    return node;
  }

  // A group, or the one token that TeX takes: a single digit of a number.
  int32_t argument() {
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

  mpq_class literal(const std::string& text) {
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

  // 0.8\overline{3}, 0.(3) is not read, 0.333...
  int32_t number() {
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

  int32_t repeating(const std::string& before, const std::string& period) {
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

  int32_t primary() {
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

  // x, x_1, x_{max}, x'
  std::string with_marks(std::string name) {
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

  int32_t letter() {
    const std::string name = tokens_[at_++].text;
    const bool marked = is_sign("_") || is_sign("'");
    if (!marked && (name == "e" || name == "i")) return make(Kind::constant, {}, name);
    if (name == "C" && is_sign("(") && kind_of_call()) return function("binomial");
    if (!marked && is_sign("(") && !peek().space &&
        (name == "f" || name == "g" || name == "F" || name == "G" || name == "P"))
      return function("call " + name);  // f(2), a value that is not known
    return make(Kind::symbol, {}, with_marks(name));
  }

  // C(5, 2), but not C(5).
  bool kind_of_call() const {
    int level = 0;
    for (size_t i = 0; i < 16; ++i) {
      if (is_sign("(", i)) ++level;
      if (is_sign(")", i) && --level == 0) return false;
      if (level == 1 && is_sign(",", i)) return true;
    }
    return false;
  }

  int32_t word() {
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
    if (!is_letters_product(name)) return make(Kind::words, {}, lower_case(name));
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

  int32_t text() {
    const std::string name = tokens_[at_].text;
    if (is_function_word(name)) return word();
    ++at_;
    if (name.size() == 1) return make(Kind::symbol, {}, name);
    if (is_joining_word(name) || changes_value(lower_case(name))) fail();
    return make(Kind::words, {}, lower_case(name));
  }

  int32_t group() {
    ++at_;
    if (take_sign("}")) return primary();  // {}5
    int32_t node = list();
    if (take_command("choose")) node = make(Kind::function, {node, list()}, "binomial");
    expect_sign("}");
    return node;
  }

  int32_t absolute() {
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

  // The items up to the bracket that closes, and that bracket.
  std::vector<int32_t> items(char& close) {
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

  int32_t bracketed() {
    char open = tokens_[at_++].text[0], close = '\0';
    if (open == 'l') open = '<';
    std::vector<int32_t> inside = items(close);
    if (inside.size() > 1) return make(Kind::bracketed, std::move(inside), {open, close});
    if ((open == '(') != (close == ')')) fail();
    return inside[0];
  }

  int32_t set() {
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

  int32_t matrix(const std::string& name) {
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

  int32_t command() {
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

  int32_t named_set() {
    const bool braces = take_sign("{");
    if (peek().kind != Lexeme::letter) fail();
    const std::string name = tokens_[at_++].text;
    if (braces) expect_sign("}");
    return make(Kind::named_set, {}, name);
  }

  int32_t root() {
    int32_t degree = -1;
    if (take_sign("[")) {
      degree = expression();
      expect_sign("]");
    }
    const int32_t inside = argument();
    const int32_t exponent = degree < 0 ? make_number(mpq_class(1, 2)) : inverse(degree);
    return make(Kind::power, {inside, exponent});
  }

  // The name is taken. \sin^2 x, \sin^{-1} x, \log_2 x, \sin 2x, \max(1, 2).
  int32_t function(std::string name) {
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

  // Factors side by side up to a sign or the next function.
  int32_t bare_argument() {
    const bool negative = take_sign("-");
    std::vector<int32_t> factors{factor()};
    while (starts_factor() && !(peek().kind != Lexeme::letter && is_plain_function()) &&
           !(peek().kind == Lexeme::number && tokens_[at_ - 1].kind == Lexeme::number))
      factors.push_back(factor());
    const int32_t node = factors.size() == 1 ? factors[0] : make(Kind::multiply, std::move(factors));
    return negative ? make(Kind::negate, {node}) : node;
  }

  bool is_plain_function() const {
    const std::string known = function_word(peek().text);
    return !known.empty() && known != "pi" && known != "infinity" && known != "sqrt";
  }

  std::vector<Token> tokens_;
  Fuel& fuel_;
  Tree tree_;
  size_t at_ = 0;
  int depth_ = 0;
  int bars_ = 0;    // absolute values that are open
  int no_bar_ = 0;  // inside \{ x | .. \}, before the bar
  int signs_ = 0;   // plus-minus so far
};

}  // namespace

Tree parse_math(std::string_view cleaned, Fuel& fuel, bool groups) {
  return Parser(to_tokens(cleaned, fuel, groups), fuel).run();
}

}  // namespace ringbench
