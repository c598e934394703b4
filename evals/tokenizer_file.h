// tokenizer_file.h: what a tokenizer.json says, as the tables that encoding and decoding go by. Not how: tokenizer.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "evals/added_tokens.h"
#include "evals/byte_pairs.h"
#include "evals/splitting.h"

namespace ringbench {

// A tokenizer.json as tables.
struct TokenizerData {
  // Encoding.
  AddedTokens added_raw, added_normalized;  // looked for before and after normalization
  bool nfc = false;
  std::vector<SplitStep> steps;
  bool add_prefix_space = false;
  bool ignore_merges = false;
  std::unordered_map<std::string, int32_t> ids_of_bytes;  // whole pieces; with ignore_merges
  BytePairs pairs;
  std::vector<int32_t> before, after;  // what the post-processor adds
  // Decoding.
  struct Token {
    std::string bytes;
    bool known = false, special = false;
  };
  std::vector<Token> tokens;  // by id
};

// Throws TokenizerError naming `source` and the key for what is damaged or not supported.
TokenizerData read_tokenizer(std::string_view json, const std::string& source);

}  // namespace ringbench
