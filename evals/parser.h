// parser.h: the recursive descent of latex.h: what is read where. Only latex.cpp and latex_factors.cpp include it.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "evals/latex.h"

namespace ringbench {

class Parser {
 public:
  Parser(Tokens tokens, Fuel& fuel) : tokens_(std::move(tokens.tokens)), fuel_(fuel) {
    tree_.grouped = tokens.grouped;
    if (tokens.currency) tree_.unit = "$";
  }

  Tree run();

 private:
  using Kind = Node::Kind;
  using Lexeme = Token::Kind;

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
  bool take_sign(std::string_view text);
  bool take_command(std::string_view text);
  void expect_sign(std::string_view text);
  int32_t make(Kind what, std::vector<int32_t> kids = {}, std::string words = "");
  int32_t make_number(const mpq_class& value);
  // num / den as it stands in the answer.
  void note_fraction(int32_t num, int32_t den);
  int32_t inverse(int32_t node) { return make(Kind::power, {node, make_number(-1)}); }
  Kind kind(int32_t node) const { return tree_[node].kind; }

  // Statements.

  // "and", "or" or "," if such a word or sign is next, taken; several in a row count as one.
  std::string separator();
  int32_t list();
  char relation_sign();
  // f(x), f'(x), f^{-1}(x), P(A) before a sign of equality: a name. Taken, if it is one.
  std::string called_name();
  int32_t statement();
  bool union_letter() const { return peek().is(Lexeme::letter, "U") && (is_sign("(", 1) || is_sign("[", 1)); }
  int32_t set_expression();

  // Sums and products.

  std::string plus_minus();
  int32_t signed_sign(const std::string& sign, std::vector<int32_t> kids);
  int32_t expression();
  bool is_integer_token(size_t ahead) const;
  // A whole number and a fraction of two literals.
  int32_t mixed_number();
  int32_t term();
  int32_t signed_factor();

  // Units, after a product.

  bool unit_at(size_t ahead) const;
  int32_t units(int32_t value);

  // Factors.

  bool starts_factor() const;
  bool is_degree(size_t ahead) const;
  bool take_degree();
  int32_t factor() { return with_postfixes(primary()); }
  int32_t with_postfixes(int32_t node);
  int32_t exponent();
  // A group, or the one token that TeX takes: a single digit of a number.
  int32_t argument();
  mpq_class literal(const std::string& text);
  // 0.8\overline{3}, 0.(3) is not read, 0.333...
  int32_t number();
  int32_t repeating(const std::string& before, const std::string& period);
  int32_t primary();
  // x, x_1, x_{max}, x'
  std::string with_marks(std::string name);
  int32_t letter();
  // C(5, 2), but not C(5).
  bool kind_of_call() const;
  int32_t word();
  int32_t text();
  int32_t group();
  int32_t absolute();
  // The items up to the bracket that closes, and that bracket.
  std::vector<int32_t> items(char& close);
  int32_t bracketed();
  int32_t set();
  int32_t matrix(const std::string& name);
  int32_t command();
  int32_t named_set();
  int32_t root();
  // The name is taken. \sin^2 x, \sin^{-1} x, \log_2 x, \sin 2x, \max(1, 2).
  int32_t function(std::string name);
  // Factors side by side up to a sign or the next function.
  int32_t bare_argument();
  bool is_plain_function() const;

  std::vector<Token> tokens_;
  Fuel& fuel_;
  Tree tree_;
  size_t at_ = 0;
  int depth_ = 0;
  int bars_ = 0;    // absolute values that are open
  int no_bar_ = 0;  // inside \{ x | .. \}, before the bar
  int signs_ = 0;   // plus-minus so far
};

}  // namespace ringbench
