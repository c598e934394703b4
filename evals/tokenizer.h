// tokenizer.h: text to token ids and back, exactly as Hugging Face fast tokenizers do it from a tokenizer.json of the
// byte-level BPE kind. Not chat formats, and no other kinds of tokenizer: those are refused by name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace ringbench {

// A tokenizer.json that is damaged or of a kind that is not supported (naming file and key), or a text that is not
// UTF-8.
struct TokenizerError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct TokenizerData;  // tokenizer_file.h

class Tokenizer {
 public:
  // A folder with a tokenizer.json, or such a file.
  static Tokenizer load(const std::filesystem::path& path);
  // The same from text; `source` is used in messages. (What the fuzzer calls.)
  static Tokenizer parse(std::string_view json, const std::string& source);

  // Added tokens are found in the text, and what the file's post-processor adds (such as a token of beginning) is
  // added. Time n log n at most in the length of the text. Safe to call from several threads.
  std::vector<int32_t> encode(std::string_view text) const;
  // Bytes that are no UTF-8 become U+FFFD; ids that are no tokens are left out.
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;
  // What decode() makes text of; empty for an id that is no token.
  std::string_view bytes(int32_t id, bool skip_special = false) const;
  // The parts that are encoded apart from each other, where the text has no added tokens.
  std::vector<std::string> split(std::string_view text) const;

  int32_t size() const;  // the highest id + 1

 private:
  std::shared_ptr<const TokenizerData> data_;
};

}  // namespace ringbench
