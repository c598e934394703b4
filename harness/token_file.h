// token_file.h: files of token ids and of texts, as flags name them. Not how a text becomes ids (evals/tokenizer.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ringbench {

struct TokenIds {
  std::vector<int32_t> input, decode;
  int64_t size() const { return static_cast<int64_t>(input.size() + decode.size()); }
};

// --tokens FILE.json: {"input_ids": [...], "decode_ids": [...]}; decode_ids may be absent. Throws UsageError naming
// file, key and index for what is no token id below `vocab_size`.
TokenIds read_token_ids(const std::string& path, int64_t vocab_size);

// --tokens FILE: one document, as above (decode_ids continue it), or one in each line of a .jsonl: {"ids": [...]}, as
// `ringbench tokenize` writes them, or {"input_ids": [...]}.
std::vector<std::vector<int32_t>> read_token_documents(const std::string& path, int64_t vocab_size);

// --text FILE: the file as one text, or {"text": "..."} in each line of a .jsonl.
std::vector<std::string> read_text_documents(const std::string& path);

}  // namespace ringbench
