// math_tokens.cpp: see math_tokens.h. Characters beyond ASCII are in math_characters.cpp.
#include "evals/math_tokens.h"

#include <algorithm>
#include <array>
#include <utility>

#include "evals/text.h"
#include "evals/unicode.h"

namespace ringbench {
namespace {

using Kind = Token::Kind;

constexpr int kMostWrappers = 256;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
template <size_t N> bool any_of(std::string_view text, const std::array<const char*, N>& names) {
  return std::any_of(names.begin(), names.end(), [&](const char* name) { return text == name; });
}

// A backslash is escaped by an odd number of them before it.
bool is_escaped(std::string_view text, size_t at) {
  size_t before = 0;
  while (before < at && text[at - 1 - before] == '\\') ++before;
  return before % 2 == 1;
}

bool take_around(std::string_view& text, std::string_view open, std::string_view close) {
  if (text.size() < open.size() + close.size() || !text.starts_with(open) || !text.ends_with(close)) return false;
  const std::string_view inner = text.substr(open.size(), text.size() - open.size() - close.size());
  // Not the ends of two: $1$ and $2$.
  for (size_t at = inner.find(close); at != std::string_view::npos; at = inner.find(close, at + close.size()))
    if (close[0] == '\\' || !is_escaped(inner, at)) return false;
  if (is_escaped(text, text.size() - close.size())) return false;
  text = inner;
  return true;
}

// \boxed{...} that is all of the text.
bool take_box(std::string_view& text) {
  for (const std::string_view name : {"\\boxed", "\\fbox"}) {
    if (!text.starts_with(name)) continue;
    const std::string_view rest = trimmed(text.substr(name.size()));
    if (rest.size() < 2 || rest.front() != '{' || rest.back() != '}') return false;
    int depth = 0;
    for (size_t at = 0; at < rest.size(); ++at) {
      if (rest[at] == '\\') {
        ++at;
      } else if (rest[at] == '{') {
        ++depth;
      } else if (rest[at] == '}' && --depth == 0) {
        if (at + 1 != rest.size()) return false;
        text = rest.substr(1, rest.size() - 2);
        return true;
      }
    }
    return false;
  }
  return false;
}

bool take_end(std::string_view& text) {
  const char last = text.back();
  if (last == '.' || last == ',' || last == ';' || last == ':') {
    if (last == '.' && text.ends_with("..")) return false;                // dots that repeat digits
    if (text.size() >= 2 && text[text.size() - 2] == '\\') return false;  // a spacing command
    if (text.ends_with("\\right.")) return false;
    text.remove_suffix(1);
    return true;
  }
  if (last == '\\' && !is_escaped(text, text.size() - 1)) {
    text.remove_suffix(1);
    return true;
  }
  for (const std::string_view space : {"\\,", "\\;", "\\:", "\\!", "\\quad", "\\qquad", "\\\\"})
    if (text.ends_with(space) && !is_escaped(text, text.size() - space.size())) {
      text.remove_suffix(space.size());
      return true;
    }
  return false;
}

// What \text, \mathrm and such hold, if it is words only.
constexpr std::array kTextCommands = {"text",       "mbox",   "hbox", "textrm", "textit", "textsf", "texttt",
                                      "textnormal", "mathrm", "rm",   "textup", "mathit", "mathsf", "mathtt"};
constexpr std::array kDropped = {
    "left",      "right",       "big",    "Big",        "bigg",   "Bigg",       "bigl",       "bigr",
    "Bigl",      "Bigr",        "biggl",  "biggr",      "Biggl",  "Biggr",      "middle",     "displaystyle",
    "textstyle", "scriptstyle", "limits", "nolimits",   "textbf", "mathbf",     "boldsymbol", "bm",
    "bf",        "it",          "boxed",  "fbox",       "emph",   "mathnormal", "mathstrut",  "strut",
    "underline", "large",       "Large",  "ensuremath", "mathop", "mathord",    "textsc"};
constexpr std::array kSpaces = {"quad", "qquad", "thinspace", "enspace", "space", "medspace", "thickspace"};
constexpr std::array kSkipsGroup = {"color", "hspace",   "vspace",   "phantom",   "label",
                                    "tag",   "hphantom", "vphantom", "textcolor", "colorbox"};

class Lexer {
 public:
  Lexer(std::string_view text, Fuel& fuel, bool groups) : text_(text), fuel_(fuel), groups_(groups) {}

  Tokens run() {
    while (at_ < text_.size()) {
      fuel_.spend(1);
      next();
    }
    push(Kind::end, "");
    return std::move(result_);
  }

 private:
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void push(Kind kind, std::string text) {
    if (result_.tokens.size() >= kMaxNodes) throw LimitError("too many tokens");
    result_.tokens.push_back({kind, std::move(text), std::exchange(space_, false)});
  }

  void next() {
    const char c = peek();
    if (is_space(c) || c == '~') {
      space_ = true;
      ++at_;
    } else if (c == '$') {
      ++at_;
    } else if (is_digit(c) || (c == '.' && is_digit(peek(1)))) {
      number();
    } else if (is_letter(c)) {
      const size_t begin = at_;
      while (is_letter(peek())) ++at_;
      const std::string word(text_.substr(begin, at_ - begin));
      push(word.size() == 1 ? Kind::letter : Kind::word, word);
    } else if (c == '\\') {
      command();
    } else if (c == '.' && text_.substr(at_, 3) == "...") {
      while (peek() == '.') ++at_;
      push(Kind::command, "dots");
    } else if (static_cast<unsigned char>(c) >= 0x80) {
      const size_t size = code_point_at(text_, at_).size;
      push(Kind::letter, std::string(text_.substr(at_, size)));
      at_ += size;
    } else {
      sign();
    }
  }

  void sign() {
    for (const std::string_view two : {"<=", ">=", "!=", "==", "**"})
      if (text_.substr(at_, 2) == two) {
        at_ += 2;
        push(Kind::sign, two == "==" ? "=" : two == "**" ? "^" : std::string(two));
        return;
      }
    const char c = text_[at_++];
    if (c == '(' || c == '[' || c == '{') brackets_.push_back(c);
    if ((c == ')' || c == ']' || c == '}') && !brackets_.empty()) brackets_.pop_back();
    push(Kind::sign, std::string(1, c));
  }

  // Length of what separates groups of three digits here, 0 if nothing does.
  size_t group_separator() const {
    const std::string_view rest = text_.substr(at_);
    for (const std::string_view mark : {"{,}", ",\\!", "\\,", "\\!"})
      if (rest.starts_with(mark)) {
        size_t size = mark.size();
        while (size < rest.size() && is_space(rest[size])) ++size;
        return size;
      }
    const bool in_brackets = !brackets_.empty() && brackets_.back() != '{';
    return rest.starts_with(",") && groups_ && !in_brackets ? 1 : 0;
  }

  bool three_digits(size_t after) const {
    const std::string_view rest = text_.substr(std::min(text_.size(), at_ + after));
    return rest.size() >= 3 && is_digit(rest[0]) && is_digit(rest[1]) && is_digit(rest[2]) &&
           (rest.size() == 3 || !is_digit(rest[3]));
  }

  void number() {
    std::string digits;
    while (is_digit(peek())) digits += text_[at_++];
    if (!digits.empty() && digits.size() <= 3 && digits[0] != '0') {
      for (size_t size = group_separator(); size > 0 && three_digits(size); size = group_separator()) {
        if (text_[at_] == ',') result_.grouped = true;
        at_ += size;
        digits += text_.substr(at_, 3);
        at_ += 3;
      }
    }
    if (peek() == '.' && is_digit(peek(1))) {
      digits += text_[at_++];
      while (is_digit(peek())) digits += text_[at_++];
    } else if (peek() == '.' && peek(1) == '\\' &&
               (text_.substr(at_ + 1).starts_with("\\overline") || text_.substr(at_ + 1).starts_with("\\bar"))) {
      digits += text_[at_++];
    }
    if ((peek() == 'e' || peek() == 'E') && exponent_follows()) {
      digits += 'e';
      ++at_;
      if (peek() == '+' || peek() == '-') digits += text_[at_++];
      while (is_digit(peek())) digits += text_[at_++];
    }
    fuel_.spend(digits.size() / 16);
    push(Kind::number, std::move(digits));
  }

  bool exponent_follows() const {
    size_t i = 1;
    if (peek(i) == '+' || peek(i) == '-') ++i;
    if (!is_digit(peek(i))) return false;
    while (is_digit(peek(i))) ++i;
    return !is_letter(peek(i)) && peek(i) != '_' && peek(i) != '.';
  }

  // The group at `at_`, without its braces, if it is words only, or a unit such as m/s^2; nothing is taken.
  bool words_follow(size_t& begin, size_t& end) const {
    size_t i = at_;
    while (i < text_.size() && is_space(text_[i])) ++i;
    if (i >= text_.size() || text_[i] != '{') return false;
    begin = ++i;
    bool letters = false, powers = false, long_word = false;
    for (; i < text_.size() && text_[i] != '}'; ++i) {
      const char c = text_[i];
      if (c == '^' && letters && i + 1 < text_.size() && is_digit(text_[i + 1])) {
        powers = true;
        ++i;
        continue;
      }
      const bool inside = is_space(c) || c == '-' || c == '\'' || c == '.' || c == '/' || c == '~';
      if (!is_letter(c) && !inside && static_cast<unsigned char>(c) < 0x80) return false;
      long_word |= c == '/' || (is_letter(c) && is_letter(text_[i - 1]));
      letters |= !inside;
    }
    end = i;
    return i < text_.size() && letters && (!powers || long_word);
  }

  void text_command(const std::string& name) {
    size_t begin = 0, end = 0;
    if (!words_follow(begin, end)) return;  // its braces are a group like others
    const std::string_view inside = trimmed(text_.substr(begin, end - begin));
    const bool one = inside.size() == 1;
    if (one && (name == "mathrm" || name == "rm" || name == "mathit" || name == "mathsf" || name == "mathtt") &&
        (inside == "e" || inside == "i" || inside == "d" || name == "mathit"))
      return;
    at_ = end + 1;
    fuel_.spend(1 + inside.size() / 8);
    push(Kind::text, std::string(inside));
  }

  void skip_group() {
    while (is_space(peek())) ++at_;
    if (peek() != '{') return;
    const size_t end = text_.find('}', at_);
    at_ = end == std::string_view::npos ? text_.size() : end + 1;
  }

  std::string group_name() {
    while (is_space(peek())) ++at_;
    if (peek() != '{') return "";
    const size_t end = std::min(text_.find('}', at_), text_.size());
    std::string name(text_.substr(at_ + 1, end - at_ - 1));
    at_ = std::min(end + 1, text_.size());
    return name;
  }

  void command() {
    ++at_;
    if (!is_letter(peek())) {
      escaped();
      return;
    }
    const size_t begin = at_;
    while (is_letter(peek())) ++at_;
    std::string name(text_.substr(begin, at_ - begin));
    if (name == "right" || name == "left") {
      while (is_space(peek())) ++at_;
      if (peek() == '.') ++at_;
    } else if (any_of(name, kDropped)) {
      if (peek() == '*') ++at_;
    } else if (any_of(name, kSpaces)) {
      space_ = true;
    } else if (any_of(name, kSkipsGroup)) {
      skip_group();
    } else if (any_of(name, kTextCommands)) {
      text_command(name);
    } else if (name == "begin" || name == "end") {
      const std::string environment = group_name();
      if (name == "begin" && environment == "array") skip_group();
      push(Kind::command, name + ":" + environment);
    } else if (name == "operatorname") {
      if (peek() == '*') ++at_;
      push(Kind::word, group_name());
    } else {
      named(std::move(name));
    }
  }

  void named(std::string name) {
    constexpr std::array<std::pair<const char*, const char*>, 33> kSame = {{{"dfrac", "frac"},
                                                                            {"tfrac", "frac"},
                                                                            {"cfrac", "frac"},
                                                                            {"leq", "le"},
                                                                            {"leqslant", "le"},
                                                                            {"leqq", "le"},
                                                                            {"geq", "ge"},
                                                                            {"geqslant", "ge"},
                                                                            {"geqq", "ge"},
                                                                            {"neq", "ne"},
                                                                            {"lbrace", "{"},
                                                                            {"rbrace", "}"},
                                                                            {"ldots", "dots"},
                                                                            {"cdots", "dots"},
                                                                            {"dotsc", "dots"},
                                                                            {"varnothing", "emptyset"},
                                                                            {"lvert", "vert"},
                                                                            {"rvert", "vert"},
                                                                            {"dbinom", "binom"},
                                                                            {"tbinom", "binom"},
                                                                            {"backslash", "setminus"},
                                                                            {"smallsetminus", "setminus"},
                                                                            {"bigcup", "cup"},
                                                                            {"bigcap", "cap"},
                                                                            {"degree", "circ"},
                                                                            {"overline", "overline"},
                                                                            {"bar", "overline"},
                                                                            {"ast", "cdot"},
                                                                            {"lor", "vee"},
                                                                            {"land", "wedge"},
                                                                            {"lbrack", "lbrack"},
                                                                            {"mid", "vert"},
                                                                            {"varphi", "phi"}}};
    for (const auto& [from, to] : kSame)
      if (name == from) {
        name = to;
        break;
      }
    if (name == "{" || name == "vert") {
      if (name == "{") brackets_.push_back('S');
      push(name == "{" ? Kind::command : Kind::sign, name == "{" ? "{" : "|");
    } else if (name == "dollar") {
      result_.currency = true;
    } else if (name == "lt" || name == "gt") {
      push(Kind::sign, name == "lt" ? "<" : ">");
    } else {
      push(Kind::command, std::move(name));
    }
  }

  void escaped() {
    const char c = at_ < text_.size() ? text_[at_++] : '\0';
    switch (c) {
      case '{':
        brackets_.push_back('S');
        push(Kind::command, "{");
        break;
      case '}':
        if (!brackets_.empty()) brackets_.pop_back();
        push(Kind::command, "}");
        break;
      case '$': result_.currency = true; break;
      case '%': push(Kind::sign, "%"); break;
      case '|': push(Kind::sign, "|"); break;
      case '\\': push(Kind::command, "\\"); break;
      case '&': push(Kind::text, "and"); break;
      case '_': space_ = true; break;
      case '(':
      case ')':
      case '[':
      case ']':
      case '!': break;                // math delimiters, and a space that is none
      default: space_ = true; break;  // spacing
    }
  }

  std::string_view text_;
  Fuel& fuel_;
  bool groups_;
  size_t at_ = 0;
  bool space_ = false;
  std::string brackets_;  // open ones: ( [ { S, the last for \{
  Tokens result_;
};

}  // namespace

std::string strip_wrappers(std::string_view text) {
  for (int i = 0; i < kMostWrappers; ++i) {
    text = trimmed(text);
    if (text.empty()) break;
    if (take_around(text, "$$", "$$") || take_around(text, "$", "$") || take_around(text, "\\(", "\\)") ||
        take_around(text, "\\[", "\\]") || take_around(text, "**", "**") || take_around(text, "*", "*") ||
        take_around(text, "`", "`") || take_around(text, "\"", "\"") || take_box(text) || take_end(text))
      continue;
    break;
  }
  return std::string(text);
}

bool is_balanced(std::string_view text) {
  int braces = 0, sets = 0, left = 0, environments = 0, brackets = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '{') ++braces;
    if (c == '}' && --braces < 0) return false;
    if (c == '(' || c == '[') ++brackets;
    if (c == ')' || c == ']') --brackets;
    if (c != '\\' || ++at == text.size()) continue;
    size_t end = at;
    while (end < text.size() && is_letter(text[end])) ++end;
    const std::string_view name = text.substr(at, std::max<size_t>(end - at, 1));
    if (name == "{" || name == "lbrace") ++sets;
    if ((name == "}" || name == "rbrace") && --sets < 0) return false;
    if (name == "left") ++left;
    if (name == "right" && --left < 0) return false;
    if (name == "begin") ++environments;
    if (name == "end" && --environments < 0) return false;
    at += name.size() - 1;
  }
  return braces == 0 && sets == 0 && left == 0 && environments == 0 && brackets == 0;
}

Tokens to_tokens(std::string_view cleaned, Fuel& fuel, bool groups) { return Lexer(cleaned, fuel, groups).run(); }

std::string words_of(std::string_view cleaned) {
  std::string words;
  bool long_word = false;
  size_t letters = 0;
  for (size_t at = 0; at < cleaned.size(); ++at) {
    const char c = cleaned[at];
    if (c == '\\') {
      size_t end = at + 1;
      while (end < cleaned.size() && is_letter(cleaned[end])) ++end;
      const std::string_view name = cleaned.substr(at + 1, end - at - 1);
      if (name.empty()) {
        if (end >= cleaned.size() || (cleaned[end] != ' ' && cleaned[end] != ',' && cleaned[end] != '!')) return "";
        words += ' ';
        letters = 0;
        at = end;
      } else if (any_of(name, kTextCommands) || name == "textbf" || name == "mathbf" || name == "bf" ||
                 name == "boldsymbol" || name == "emph") {
        at = end - 1;
      } else {
        return "";
      }
    } else if (is_letter(c) || static_cast<unsigned char>(c) >= 0x80) {
      words += c;
      long_word |= ++letters >= 2;
    } else if (is_space(c) || c == '~' || c == '-' || c == '\'' || c == '.') {
      words += is_space(c) || c == '~' ? ' ' : c;
      letters = 0;
    } else if (c != '{' && c != '}') {
      return "";
    }
  }
  if (!long_word) return "";
  std::string result;
  for (const char c : words)
    if (c != ' ' || (!result.empty() && result.back() != ' ')) result += c;
  while (!result.empty() && (result.back() == ' ' || result.back() == '.')) result.pop_back();
  if (result.size() > 2 || result == "No" || result == "NO")
    std::transform(result.begin(), result.end(), result.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return result;
}

}  // namespace ringbench
