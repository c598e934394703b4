// served_prompts.h: what a server is given to read: random token ids, words where it takes no ids, or pieces of a text.
// Every request gets another one, so that a server's prefix cache has none of it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "harness/completion.h"
#include "harness/plan.h"

namespace ringbench {

inline constexpr int64_t kBytesPerToken = 4;  // of English, about

class ServedPrompts {
 public:
  // What `seed` makes is of this point alone: a longer prompt does not begin with a shorter one. `token_ids`: whether
  // the server takes them. Where texts are cut, the tokenizer of the point's checkpoint counts, if it has one; else a
  // token is a word, or four bytes of a file. Throws UsageError for a file that cannot be read or is shorter than a
  // prompt.
  ServedPrompts(const Plan& plan, const Point& point, bool token_ids, uint64_t seed);

  void put(CompletionRequest& request, int64_t repetition, int64_t sequence, int64_t tokens) const;

 private:
  using Encode = std::function<std::vector<int32_t>(const std::string&)>;
  using Decode = std::function<std::string(std::span<const int32_t>)>;

  void put_tokens(CompletionRequest& request, std::span<const int32_t> tokens) const;
  void put_words(CompletionRequest& request, uint64_t key, int64_t tokens) const;
  void put_bytes(CompletionRequest& request, uint64_t key, int64_t tokens) const;

  uint64_t seed_;
  int64_t vocab_size_;
  bool token_ids_;
  Encode encode_;  // by the checkpoint's tokenizer; empty: there is none
  Decode decode_;
  std::string text_;             // of --prompt-file
  std::vector<int32_t> tokens_;  // of that text, where there is a tokenizer
};

}  // namespace ringbench
