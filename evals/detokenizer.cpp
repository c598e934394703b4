#include "evals/detokenizer.h"

#include <utility>

#include "evals/unicode.h"

namespace ringbench {

std::string Detokenizer::add(int32_t token) {
  held_ += tokenizer_.bytes(token, skip_special_);
  const size_t complete = held_.size() - unfinished_utf8(held_);
  std::string text = replace_invalid_utf8(std::string_view(held_).substr(0, complete));
  held_.erase(0, complete);
  return text;
}

std::string Detokenizer::finish() { return replace_invalid_utf8(std::exchange(held_, {})); }

}  // namespace ringbench
