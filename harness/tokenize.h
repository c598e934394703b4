// tokenize.h: texts to token ids and back by a checkpoint's tokenizer.json: the command `tokenize`, and `loss --text`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace ringbench {

struct TokenizeRequest {
  std::string model;          // folder with a tokenizer.json, or repository in the Hugging Face cache
  std::string in, out;        // .jsonl
  bool decode = false;        // {"ids"} -> {"text"}; else {"text"} -> {"ids"}
  bool skip_special = false;  // when decoding: special tokens are left out
};

// One line for each line, in order. Throws UsageError naming the file and line of what cannot be read; the output is
// then left as it was. Throws Failure(environment) in a build without the tokenizer.
void run_tokenize(const TokenizeRequest& request);

// The token ids of each text, by the tokenizer in `folder`. Throws as above; `where` names the texts.
std::vector<std::vector<int32_t>> encode_texts(const std::filesystem::path& folder,
                                               const std::vector<std::string>& texts, const std::string& where);

}  // namespace ringbench
