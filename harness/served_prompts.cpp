#include "harness/served_prompts.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "evals/tokenizer.h"
#include "harness/failure.h"
#include "harness/workload.h"
#include "reference/random.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kAttempts = 16;  // to find a text of so many tokens

// Single tokens of most vocabularies.
constexpr std::array<const char*, 32> kWords = {" the",  " of",    " and", " to",  " in",   " is",   " that", " for",
                                                " it",   " as",    " was", " on",  " with", " be",   " by",   " at",
                                                " this", " had",   " not", " are", " but",  " from", " or",   " have",
                                                " they", " which", " one", " you", " were", " all",  " her",  " time"};

std::string read_text(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in || fs::is_directory(path))
    throw UsageError("--prompt-file: cannot read '" + path.string() + "': " + std::strerror(in ? EISDIR : errno) + ".");
  return {std::istreambuf_iterator<char>(in), {}};
}

// Where a piece of something begins.
size_t somewhere(uint64_t key, size_t size, size_t piece) {
  return static_cast<size_t>(random_bits(key, 0) % (size - piece + 1));
}

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

}  // namespace

ServedPrompts::ServedPrompts(const Plan& plan, const Point& point, bool token_ids, uint64_t seed)
    : seed_(random_key(seed, point.id)), vocab_size_(point.config.vocab_size), token_ids_(token_ids) {
#if defined(RINGBENCH_HAVE_TOKENIZER)
  if (!point.checkpoint.empty() && fs::exists(point.checkpoint / "tokenizer.json")) {
    try {
      const Tokenizer tokenizer = Tokenizer::load(point.checkpoint);
      encode_ = [tokenizer](const std::string& text) { return tokenizer.encode(text); };
      decode_ = [tokenizer](std::span<const int32_t> ids) { return tokenizer.decode(ids, true); };
    } catch (const TokenizerError& e) {
      throw UsageError(e.what());
    }
  }
#endif
  if (plan.prompt_file.empty()) return;
  text_ = read_text(plan.prompt_file);
  if (encode_) tokens_ = encode_(text_);
  const auto there = static_cast<int64_t>(encode_ ? tokens_.size() : text_.size() / size_t{kBytesPerToken});
  if (there < point.ctx)
    throw UsageError("--prompt-file: '" + plan.prompt_file + "' has " + (encode_ ? "" : "about ") +
                     std::to_string(there) + " tokens, fewer than --ctx " + std::to_string(point.ctx) + ".");
}

void ServedPrompts::put(CompletionRequest& request, int64_t repetition, int64_t sequence, int64_t tokens) const {
  const uint64_t key = random_key(seed_, "prompt") ^ mix64(static_cast<uint64_t>(repetition * 65536 + sequence));
  if (!tokens_.empty())
    put_tokens(request, std::span(tokens_).subspan(somewhere(key, tokens_.size(), static_cast<size_t>(tokens)),
                                                   static_cast<size_t>(tokens)));
  else if (!text_.empty())
    put_bytes(request, key, tokens);
  else if (token_ids_)
    request.tokens = random_prompt({seed_, repetition, sequence, vocab_size_}, 0, tokens);
  else
    put_words(request, key, tokens);
}

void ServedPrompts::put_tokens(CompletionRequest& request, std::span<const int32_t> tokens) const {
  if (token_ids_)
    request.tokens.assign(tokens.begin(), tokens.end());
  else
    request.text = decode_(tokens);
}

void ServedPrompts::put_bytes(CompletionRequest& request, uint64_t key, int64_t tokens) const {
  const auto bytes = static_cast<size_t>(tokens * kBytesPerToken);
  size_t begin = somewhere(key, text_.size(), bytes), end = begin + bytes;
  while (begin < end && continues_character(text_[begin])) ++begin;
  while (end < text_.size() && continues_character(text_[end])) ++end;
  request.text = text_.substr(begin, end - begin);
}

// With a tokenizer, as many words as make the tokens: a text that is cut between two of them may read as more or fewer,
// and another one is tried.
void ServedPrompts::put_words(CompletionRequest& request, uint64_t key, int64_t tokens) const {
  for (uint64_t attempt = 0; attempt < kAttempts; ++attempt) {
    request.text.clear();
    for (int64_t t = 0; t < tokens; ++t)
      request.text += kWords[random_bits(key ^ attempt, static_cast<uint64_t>(t)) % kWords.size()];
    if (!encode_) return;
    const std::vector<int32_t> ids = encode_(request.text);
    request.text = decode_(std::span(ids).first(std::min(ids.size(), static_cast<size_t>(tokens))));
    if (std::ssize(encode_(request.text)) == tokens) return;
  }
}

}  // namespace ringbench
