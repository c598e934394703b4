// regex.h: patterns of tokenizer.json, which are written for Oniguruma, run by PCRE2. Not a general regex class: what
// the two engines read differently is translated, or refused.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace ringbench {

struct RegexError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Regex {
 public:
  // Throws RegexError for a pattern that is wrong, or that Oniguruma and PCRE2 read differently.
  explicit Regex(const std::string& pattern);
  // A pattern that matches `text` itself.
  static Regex literal(const std::string& text);

  // Begin and end of the first match at or after `from` that is not empty; `text` is valid UTF-8. Throws RegexError if
  // the pattern needs too many steps.
  std::optional<std::pair<size_t, size_t>> find(std::string_view text, size_t from) const;

 private:
  struct Compiled;
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace ringbench
