// latex.h: the tokens of an answer to a tree, by recursive descent. Says how it is written, not what it is worth.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "evals/exact.h"
#include "evals/math_tokens.h"

namespace ringbench {

struct Node {
  enum class Kind {
    number,    // `number`
    symbol,    // `text`
    words,     // `text`, lower case
    constant,  // `text`: pi, e, i, infinity
    add,       // any number of kids, as the others without a count
    multiply,
    negate,      // 1
    divide,      // 2
    power,       // 2
    function,    // `text`, its arguments
    percent,     // 1
    degree,      // 1
    plus_minus,  // 1 or 2; `text` is "pm" or "mp"
    bracketed,   // `text`: two characters, its brackets; two items or more, or none
    set,         // \{ \}
    condition,   // of a set: symbol or membership, then the statement
    named_set,   // `text`: R, empty
    unite,       // 2
    intersect,   // 2
    without,     // 2
    relation,    // `text`: one character for each sign between kids: = < > l g (<=, >=) ! (not equal) ~ (about)
    member,      // 2; `text` is "in" or "notin"
    list,        // `text`: "," "and" "or", the strongest word that joins
    matrix,      // kids by rows; `columns`
    colon,       // 2: a ratio
  };
  Kind kind = Kind::number;
  std::string text;
  mpq_class number;
  std::vector<int32_t> kids;
  int32_t columns = 0;
};

struct Tree {
  std::vector<Node> nodes;
  int32_t root = -1;
  std::string unit;        // what stood after a value, if anything
  bool grouped = false;    // a comma was read as part of a number
  bool unreduced = false;  // the answer has a fraction of two whole numbers with a common factor
  const Node& operator[](int32_t i) const { return nodes[static_cast<size_t>(i)]; }
};

// Throws Unreadable where the text is not one of these forms, LimitError over the limits of fuel.h.
Tree parse_math(std::string_view cleaned, Fuel& fuel, bool groups = true);

}  // namespace ringbench
