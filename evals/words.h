// words.h: the words that the grader knows: functions, units, numbers, and what joins answers.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "evals/math_tokens.h"

namespace ringbench {

std::string lower_case(std::string_view text);  // ASCII letters only

// The function or constant that is meant: "asin" is arcsin, "inf" infinity, "\lg" log10. Empty if none is.
std::string function_word(std::string_view word);
inline bool is_function_word(std::string_view word) { return !function_word(word).empty(); }
bool is_greek(std::string_view command);

bool is_joining_word(std::string_view word);  // and, or, if, for, where, ...
bool is_unit_word(std::string_view word);     // of plain text; in \text any word after a value is one
bool is_degree_word(std::string_view word);
bool changes_value(std::string_view word);       // dozen, ...: after a number neither a unit nor understood
int zeros_of_word(const Token& token);           // 3 for "thousand", 0 for others
bool is_letters_product(std::string_view word);  // xy, abc

std::optional<int> number_of_word(std::string_view word);  // zero to twenty

}  // namespace ringbench
