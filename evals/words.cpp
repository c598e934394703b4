// words.cpp: see words.h.
#include "evals/words.h"

#include <algorithm>
#include <array>
#include <utility>

namespace ringbench {
namespace {

template <typename Names> bool is_one_of(std::string_view word, const Names& names) {
  return std::any_of(std::begin(names), std::end(names), [&](std::string_view name) { return name == word; });
}

constexpr std::pair<std::string_view, std::string_view> kFunctions[] = {
    {"sin", "sin"},      {"cos", "cos"},        {"tan", "tan"},       {"cot", "cot"},       {"sec", "sec"},
    {"csc", "csc"},      {"arcsin", "arcsin"},  {"arccos", "arccos"}, {"arctan", "arctan"}, {"asin", "arcsin"},
    {"acos", "arccos"},  {"atan", "arctan"},    {"sinh", "sinh"},     {"cosh", "cosh"},     {"tanh", "tanh"},
    {"exp", "exp"},      {"ln", "ln"},          {"log", "log"},       {"lg", "log10"},      {"abs", "abs"},
    {"floor", "floor"},  {"ceil", "ceil"},      {"gcd", "gcd"},       {"lcm", "lcm"},       {"max", "max"},
    {"min", "min"},      {"cis", "cis"},        {"pi", "pi"},         {"Pi", "pi"},         {"infinity", "infinity"},
    {"inf", "infinity"}, {"infty", "infinity"}, {"oo", "infinity"},   {"sqrt", "sqrt"},     {"binom", "binomial"},
    {"tg", "tan"},       {"ctg", "cot"},        {"cosec", "csc"}};

constexpr std::string_view kGreek[] = {"alpha", "beta",  "gamma",    "delta", "epsilon", "varepsilon", "zeta",
                                       "eta",   "theta", "vartheta", "iota",  "kappa",   "lambda",     "mu",
                                       "nu",    "xi",    "rho",      "sigma", "tau",     "upsilon",    "phi",
                                       "chi",   "psi",   "omega",    "Gamma", "Delta",   "Theta",      "Lambda",
                                       "Xi",    "Sigma", "Phi",      "Psi",   "Omega",   "ell"};

constexpr std::string_view kJoining[] = {
    "and",           "or", "if",      "for",   "where", "when",  "is",   "are",  "not",       "mod",  "with",   "then",
    "but",           "to", "because", "since", "so",    "which", "such", "that", "otherwise", "than", "unless", "about",
    "approximately", "at", "least",   "most",  "no",    "only",  "from"};

constexpr std::string_view kUnits[] = {
    "cm",      "mm",       "km",        "dm",         "nm",         "kg",          "mg",          "ml",
    "mL",      "ft",       "feet",      "foot",       "inch",       "inches",      "yd",          "yard",
    "yards",   "mile",     "miles",     "mph",        "kph",        "hr",          "hrs",         "hour",
    "hours",   "minute",   "minutes",   "mins",       "second",     "seconds",     "secs",        "day",
    "days",    "week",     "weeks",     "month",      "months",     "year",        "years",       "dollar",
    "dollars", "cent",     "cents",     "unit",       "units",      "square",      "sq",          "cubic",
    "per",     "radian",   "radians",   "rad",        "liter",      "liters",      "litre",       "litres",
    "meter",   "meters",   "metre",     "metres",     "centimeter", "centimeters", "centimetres", "gram",
    "grams",   "kilogram", "kilograms", "kilometers", "kilometres", "pound",       "pounds",      "lb",
    "lbs",     "ounce",    "ounces",    "oz",         "degree",     "degrees",     "deg",         "percent",
    "USD",     "gallon",   "gallons",   "Hz",         "Joules",     "Newtons",     "mol",         "bits",
    "euros"};

constexpr std::string_view kNumbers[] = {"zero",     "one",      "two",      "three",   "four",    "five",
                                         "six",      "seven",    "eight",    "nine",    "ten",     "eleven",
                                         "twelve",   "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
                                         "eighteen", "nineteen", "twenty"};

}  // namespace

std::string lower_case(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return result;
}

std::string function_word(std::string_view word) {
  for (const auto& [name, meant] : kFunctions)
    if (name == word) return std::string(meant);
  return "";
}

bool is_greek(std::string_view command) { return is_one_of(command, kGreek) || command == "pi"; }

bool is_joining_word(std::string_view word) {
  const std::string lower = lower_case(word);
  return is_one_of(lower.substr(0, lower.find(' ')), kJoining);
}

bool is_unit_word(std::string_view word) {
  if (is_one_of(word, kUnits)) return true;
  return word.size() >= 4 && !is_function_word(word) && !is_joining_word(word) &&
         zeros_of_word({Token::Kind::word, std::string(word)}) == 0;
}

bool is_degree_word(std::string_view word) { return word == "degree" || word == "degrees" || word == "deg"; }

bool changes_value(std::string_view word) {
  constexpr std::string_view kChanging[] = {
      "dozen", "dozens", "half",  "halves", "third", "thirds", "quarter",    "quarters",   "squared",  "cubed",
      "times", "over",   "plus",  "minus",  "base",  "more",   "less",       "factorial",  "infinity", "divided",
      "by",    "point",  "pairs", "couple", "score", "tenths", "hundredths", "thousandths"};
  std::string_view rest = word;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(' '), rest.size());
    if (is_one_of(rest.substr(0, end), kChanging)) return true;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

int zeros_of_word(const Token& token) {
  if (token.kind != Token::Kind::word && token.kind != Token::Kind::text) return 0;
  const std::string word = lower_case(token.text);
  return word == "hundred"    ? 2
         : word == "thousand" ? 3
         : word == "million"  ? 6
         : word == "billion"  ? 9
         : word == "trillion" ? 12
                              : 0;
}

bool is_letters_product(std::string_view word) {
  return word.size() <= 3 && !is_function_word(word) && !is_joining_word(word);
}

std::optional<int> number_of_word(std::string_view word) {
  for (size_t i = 0; i < std::size(kNumbers); ++i)
    if (kNumbers[i] == word) return static_cast<int>(i);
  return std::nullopt;
}

}  // namespace ringbench
