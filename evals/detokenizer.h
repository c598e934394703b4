// detokenizer.h: text of tokens as they come. All of it together is what Tokenizer::decode() makes of all tokens.
#pragma once

#include <cstdint>
#include <string>

#include "evals/tokenizer.h"

namespace ringbench {

class Detokenizer {
 public:
  explicit Detokenizer(Tokenizer tokenizer, bool skip_special = true)
      : tokenizer_(std::move(tokenizer)), skip_special_(skip_special) {}

  // The text that this token completes: a character whose bytes are spread over tokens comes with its last one.
  std::string add(int32_t token);
  // What is left of a character that was never completed, as U+FFFD.
  std::string finish();

 private:
  Tokenizer tokenizer_;
  bool skip_special_;
  std::string held_;  // bytes of an unfinished character
};

}  // namespace ringbench
