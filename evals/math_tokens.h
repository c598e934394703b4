// math_tokens.h: the text of an answer, cleaned of how it is set (C3 of the convention) and cut into tokens. LaTeX and
// plain text both; no macro expansion: a command that is not known stays a command.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "evals/fuel.h"

namespace ringbench {

// Unicode forms as LaTeX or ASCII (minus signs, roots, fractions, super- and subscripts, full-width forms, mathematical
// letters, relations); zero-width characters, U+0000 and what is not UTF-8 are dropped.
std::string to_ascii_math(std::string_view text);

// Without math delimiters, boxes and markdown stars around it, and without what ends a sentence after it.
std::string strip_wrappers(std::string_view text);

// Braces of every kind in pairs, \left with \right, \begin with \end. Brackets may be mixed, as intervals' are.
bool is_balanced(std::string_view text);

struct Token {
  enum class Kind { number, letter, word, text, command, sign, end };
  Kind kind = Kind::end;
  std::string text;    // number: digits and at most one dot; command: its name; begin and end: "begin:pmatrix"
  bool space = false;  // white space before it
  bool is(Kind k, std::string_view t) const { return kind == k && text == t; }
};

// The last token is `end`. `currency` tells whether a sign of money was dropped. With `groups` false, a comma between
// digits always separates.
struct Tokens {
  std::vector<Token> tokens;
  bool currency = false;
  bool grouped = false;  // some comma was read as part of a number
};
Tokens to_tokens(std::string_view cleaned, Fuel& fuel, bool groups = true);

// The words of an answer that is nothing but words: \text and font commands unwrapped, spaces collapsed, lower case but
// for words of one or two letters. Empty if there is anything else in it.
std::string words_of(std::string_view cleaned);

}  // namespace ringbench
