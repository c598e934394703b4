// tokenizer.cpp: see tokenizer.h.
#include "evals/tokenizer.h"

#include <fstream>
#include <iterator>
#include <unordered_map>

#include "evals/tokenizer_file.h"
#include "evals/unicode.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLongestCached = 64;            // bytes of a piece whose tokens are kept
constexpr size_t kMostCached = size_t{1} << 16;  // pieces, in one call of encode

std::string checked_utf8(std::string_view text) {
  if (const size_t at = first_invalid_utf8(text); at < text.size())
    throw TokenizerError("the text is not UTF-8: byte " + std::to_string(at) + ".");
  return std::string(text);
}

std::vector<std::string_view> pieces_of(const TokenizerData& data, std::string_view text) {
  std::vector<std::string_view> pieces = {text};
  for (const SplitStep& step : data.steps) {
    std::vector<std::string_view> finer;
    for (const std::string_view piece : pieces) {
      const std::vector<std::string_view> parts = ringbench::split(piece, step);
      finer.insert(finer.end(), parts.begin(), parts.end());
    }
    pieces = std::move(finer);
  }
  return pieces;
}

}  // namespace

Tokenizer Tokenizer::load(const fs::path& path) {
  const fs::path file = fs::is_directory(path) ? path / "tokenizer.json" : path;
  std::ifstream in(file, std::ios::binary);
  if (!in || fs::is_directory(file)) throw TokenizerError("there is no tokenizer.json in " + path.string() + ".");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  return parse(text, file.string());
}

Tokenizer Tokenizer::parse(std::string_view json, const std::string& source) {
  Tokenizer tokenizer;
  tokenizer.data_ = std::make_shared<const TokenizerData>(read_tokenizer(json, source));
  return tokenizer;
}

std::vector<int32_t> Tokenizer::encode(std::string_view text) const {
  const TokenizerData& data = *data_;
  const std::string checked = checked_utf8(text);
  std::vector<int32_t> ids = data.before;
  std::unordered_map<std::string, std::vector<int32_t>> cache;
  const auto encode_piece = [&](std::string_view piece) {
    if (data.ignore_merges)
      if (const auto whole = data.ids_of_bytes.find(std::string(piece)); whole != data.ids_of_bytes.end()) {
        ids.push_back(whole->second);
        return;
      }
    if (piece.size() > kLongestCached) return data.pairs.encode(piece, ids);
    std::string key(piece);
    auto known = cache.find(key);
    if (known == cache.end()) {
      if (cache.size() >= kMostCached) cache.clear();
      known = cache.emplace(std::move(key), std::vector<int32_t>()).first;
      data.pairs.encode(piece, known->second);
    }
    ids.insert(ids.end(), known->second.begin(), known->second.end());
  };
  const auto encode_text = [&](std::string_view part) {
    const bool prefix = data.add_prefix_space && !part.starts_with(' ');
    const std::string with_prefix = prefix ? " " + std::string(part) : "";
    for (const std::string_view piece : pieces_of(data, prefix ? std::string_view(with_prefix) : part))
      encode_piece(piece);
  };
  try {
    for (const Segment& raw : data.added_raw.find(checked)) {
      if (raw.id >= 0) {
        ids.push_back(raw.id);
        continue;
      }
      const std::string normalized = data.nfc ? to_nfc(raw.text) : std::string(raw.text);
      for (const Segment& segment : data.added_normalized.find(normalized))
        if (segment.id >= 0)
          ids.push_back(segment.id);
        else
          encode_text(segment.text);
    }
  } catch (const RegexError& e) {
    throw TokenizerError(std::string("the tokenizer's pattern ") + e.what() + ".");
  }
  ids.insert(ids.end(), data.after.begin(), data.after.end());
  return ids;
}

std::string_view Tokenizer::bytes(int32_t id, bool skip_special) const {
  if (id < 0 || id >= size()) return {};
  const TokenizerData::Token& token = data_->tokens[static_cast<size_t>(id)];
  return token.known && !(skip_special && token.special) ? std::string_view(token.bytes) : std::string_view();
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string all;
  for (const int32_t id : ids) all += bytes(id, skip_special);
  return replace_invalid_utf8(all);
}

std::vector<std::string> Tokenizer::split(std::string_view text) const {
  const std::string checked = checked_utf8(text);
  const std::vector<std::string_view> pieces = pieces_of(*data_, checked);
  return {pieces.begin(), pieces.end()};
}

int32_t Tokenizer::size() const { return static_cast<int32_t>(data_->tokens.size()); }

}  // namespace ringbench
