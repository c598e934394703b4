// tokenizer_file.cpp: see tokenizer_file.h. Each part of the file is known by its type, or refused by name.
#include "evals/tokenizer_file.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_set>

#include "evals/tokenizer.h"
#include "evals/unicode.h"

namespace ringbench {
namespace {

using Json = nlohmann::json;

constexpr int32_t kMostIds = 1 << 24;  // far more than any vocabulary has

// GPT-2's pattern: what the part ByteLevel splits by unless told not to.
constexpr const char* kGpt2Pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// --- The byte-level alphabet: each byte as a printable character ---

// GPT-2's: printable bytes of Latin-1 are themselves, the others U+0100, U+0101, ... in their order.
const std::array<char32_t, 256>& byte_characters() {
  static const std::array<char32_t, 256> characters = [] {
    std::array<char32_t, 256> table{};
    char32_t next = 0x100;
    for (char32_t b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      table[b] = printable ? b : next++;
    }
    return table;
  }();
  return characters;
}

// The bytes that a token's characters stand for; nothing if one is not of the alphabet.
std::optional<std::string> bytes_of(std::string_view token) {
  static const std::unordered_map<char32_t, char> bytes = [] {
    std::unordered_map<char32_t, char> table;
    for (size_t b = 0; b < 256; ++b) table[byte_characters()[b]] = static_cast<char>(b);
    return table;
  }();
  std::string text;
  for (size_t at = 0; at < token.size();) {
    const CodePoint c = code_point_at(token, at);
    const auto found = bytes.find(c.value);
    if (found == bytes.end()) return std::nullopt;
    text += found->second;
    at += c.size;
  }
  return text;
}

// --- Reading the file ---

class Reader {
 public:
  Reader(const Json& file, std::string source) : file_(file), source_(std::move(source)) {}

  void read(TokenizerData& data);

 private:
  [[noreturn]] void refuse(const std::string& key, const std::string& what) const {
    throw TokenizerError(source_ + ": " + key + " " + what);
  }
  const Json& at(const Json& object, const std::string& key, const std::string& path) const {
    const auto found = object.find(key);
    if (found == object.end()) refuse(path, "is missing.");
    return *found;
  }
  // Null where the key is absent.
  static const Json& get(const Json& object, const std::string& key) {
    static const Json null;
    if (!object.is_object()) return null;
    const auto found = object.find(key);
    return found == object.end() ? null : *found;
  }
  bool flag(const Json& object, const std::string& key, const std::string& path, bool standard) const {
    const Json& value = get(object, key);
    if (value.is_null()) return standard;
    if (!value.is_boolean()) refuse(path + "." + key, "is neither true nor false.");
    return value.get<bool>();
  }
  std::string type_of(const Json& object, const std::string& path) const {
    const Json& type = get(object, "type");
    if (!type.is_string()) refuse(path + ".type", "is missing or no string.");
    return type.get<std::string>();
  }
  int32_t id(const Json& value, const std::string& path) const {
    if (!value.is_number_integer() || value < 0 || value >= kMostIds)
      refuse(path, "is no token id (a whole number from 0 to " + std::to_string(kMostIds - 1) + ").");
    return value.get<int32_t>();
  }

  void read_normalizer(const Json& normalizer, const std::string& path);
  void read_pre_tokenizer(const Json& pre_tokenizer, const std::string& path);
  void read_split(const Json& split, const std::string& path);
  void read_byte_level(const Json& byte_level, const std::string& path);
  void read_model();
  void read_vocab(const Json& vocab);
  void read_merges(const Json& merges);
  void read_merge(const std::string& left, const std::string& right, int32_t rank, const std::string& path);
  void read_added_tokens();
  void read_decoder(const Json& decoder, const std::string& path);
  void read_post_processor(const Json& processor, const std::string& path);
  void set_token(int32_t id, const std::string& text, const std::string& path);
  SplitStep step(const std::string& pattern, const std::string& path) const;

  const Json& file_;
  std::string source_;
  TokenizerData* data_ = nullptr;
  std::unordered_map<std::string, int32_t> vocab_;  // as written
  bool byte_level_ = false;
};

void Reader::read(TokenizerData& data) {
  data_ = &data;
  read_normalizer(get(file_, "normalizer"), "normalizer");
  read_pre_tokenizer(get(file_, "pre_tokenizer"), "pre_tokenizer");
  if (!byte_level_) refuse("pre_tokenizer", "has no part ByteLevel: only byte-level BPE is supported.");
  read_model();
  read_added_tokens();
  read_decoder(get(file_, "decoder"), "decoder");
  read_post_processor(get(file_, "post_processor"), "post_processor");
}

void Reader::read_normalizer(const Json& normalizer, const std::string& path) {
  if (normalizer.is_null()) return;
  const std::string type = type_of(normalizer, path);
  if (type == "NFC") {
    data_->nfc = true;
  } else if (type == "Sequence" && get(normalizer, "normalizers").is_array()) {
    for (const Json& part : get(normalizer, "normalizers")) {
      if (get(part, "type") == "Sequence") refuse(path, "nests sequences.");
      read_normalizer(part, path + ".normalizers");
    }
  } else {
    refuse(path, "is of type " + type + "; supported are NFC and a Sequence of it.");
  }
}

void Reader::read_pre_tokenizer(const Json& pre_tokenizer, const std::string& path) {
  if (pre_tokenizer.is_null()) refuse(path, "is missing: only byte-level BPE is supported.");
  const std::string type = type_of(pre_tokenizer, path);
  if (byte_level_) refuse(path, "comes after the part ByteLevel, which has to be the last.");
  if (type == "Sequence") {
    const Json& parts = get(pre_tokenizer, "pretokenizers");
    if (!parts.is_array()) refuse(path + ".pretokenizers", "is missing or no list.");
    for (size_t i = 0; i < parts.size(); ++i) {
      const std::string part = path + ".pretokenizers[" + std::to_string(i) + "]";
      if (get(parts[i], "type") == "Sequence") refuse(part, "is a sequence in a sequence.");
      read_pre_tokenizer(parts[i], part);
    }
  } else if (type == "Split") {
    read_split(pre_tokenizer, path);
  } else if (type == "Digits") {
    data_->steps.push_back(
        step(flag(pre_tokenizer, "individual_digits", path, false) ? R"(\p{N})" : R"(\p{N}+)", path));
  } else if (type == "ByteLevel") {
    read_byte_level(pre_tokenizer, path);
  } else {
    refuse(path, "is of type " + type + "; supported are Split, Digits, ByteLevel and a Sequence of them.");
  }
}

SplitStep Reader::step(const std::string& pattern, const std::string& path) const {
  try {
    return {Regex(pattern), SplitBehavior::isolated, false};
  } catch (const RegexError& e) {
    refuse(path, std::string(e.what()) + ".");
  }
}

void Reader::read_split(const Json& split, const std::string& path) {
  const Json& pattern = get(split, "pattern");
  const Json &regex = get(pattern, "Regex"), &text = get(pattern, "String");
  if (regex.is_string()) {
    data_->steps.push_back(step(regex.get<std::string>(), path + ".pattern.Regex"));
  } else if (text.is_string() && !text.get<std::string>().empty()) {
    data_->steps.push_back({Regex::literal(text.get<std::string>()), SplitBehavior::isolated, false});
  } else {
    refuse(path + ".pattern", "has neither Regex nor String.");
  }
  static const std::vector<std::pair<std::string, SplitBehavior>> behaviors = {
      {"Isolated", SplitBehavior::isolated},
      {"Removed", SplitBehavior::removed},
      {"MergedWithPrevious", SplitBehavior::merged_with_previous},
      {"MergedWithNext", SplitBehavior::merged_with_next},
      {"Contiguous", SplitBehavior::contiguous}};
  const Json& behavior = get(split, "behavior");
  const auto found =
      std::find_if(behaviors.begin(), behaviors.end(), [&](const auto& known) { return behavior == known.first; });
  if (found == behaviors.end()) refuse(path + ".behavior", "is missing or unknown.");
  data_->steps.back().behavior = found->second;
  data_->steps.back().invert = flag(split, "invert", path, false);
}

void Reader::read_byte_level(const Json& byte_level, const std::string& path) {
  data_->add_prefix_space = flag(byte_level, "add_prefix_space", path, true);
  if (data_->add_prefix_space && !data_->steps.empty())
    refuse(path + ".add_prefix_space", "is true after another part; supported is that of ByteLevel alone.");
  if (flag(byte_level, "use_regex", path, true)) data_->steps.push_back(step(kGpt2Pattern, path));
  byte_level_ = true;
}

void Reader::set_token(int32_t id, const std::string& text, const std::string& path) {
  auto& tokens = data_->tokens;
  if (tokens.size() <= static_cast<size_t>(id)) tokens.resize(static_cast<size_t>(id) + 1);
  auto& token = tokens[static_cast<size_t>(id)];
  const std::string bytes = bytes_of(text).value_or(text);
  if (token.known && token.bytes != bytes) refuse(path, "has the id of another token, " + std::to_string(id) + ".");
  token.bytes = bytes;
  token.known = true;
}

void Reader::read_model() {
  const Json& model = get(file_, "model");
  if (!model.is_object()) refuse("model", "is missing or no object.");
  // Files of early versions have no type.
  if (!get(model, "type").is_null() && get(model, "type") != "BPE")
    refuse("model", "is of type " + type_of(model, "model") + "; supported is BPE.");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json& value = get(model, key);
    if (!value.is_null() && !(value.is_string() && value.get_ref<const std::string&>().empty()))
      refuse("model." + std::string(key), "is not supported: byte-level BPE has none.");
  }
  if (const Json& dropout = get(model, "dropout"); !dropout.is_null() && dropout != 0)
    refuse("model.dropout", "is not supported: tokens would be random.");
  data_->ignore_merges = flag(model, "ignore_merges", "model", false);
  read_vocab(get(model, "vocab"));
  read_merges(get(model, "merges"));
}

void Reader::read_vocab(const Json& vocab) {
  if (!vocab.is_object()) refuse("model.vocab", "is missing or no object.");
  vocab_.reserve(vocab.size());
  for (const auto& [text, value] : vocab.items()) {
    const std::string path = "model.vocab[" + Json(text).dump() + "]";
    vocab_[text] = id(value, path);
    set_token(vocab_[text], text, path);
    if (!data_->ignore_merges) continue;
    if (auto bytes = bytes_of(text)) data_->ids_of_bytes[std::move(*bytes)] = vocab_[text];
  }
  for (size_t b = 0; b < 256; ++b) {
    std::string character;
    const char32_t c = byte_characters()[b];
    if (c < 0x80) {
      character += static_cast<char>(c);
    } else {
      character += static_cast<char>(0xC0 | c >> 6);
      character += static_cast<char>(0x80 | (c & 0x3F));
    }
    const auto found = vocab_.find(character);
    if (found == vocab_.end())
      refuse("model.vocab", "has no token for byte " + std::to_string(b) + ", " + Json(character).dump() + ".");
    data_->pairs.byte_ids[b] = found->second;
  }
}

void Reader::read_merges(const Json& merges) {
  if (!merges.is_array()) refuse("model.merges", "is missing or no list.");
  data_->pairs.reserve(merges.size());
  int32_t rank = 0;
  for (const Json& merge : merges) {
    const std::string path = "model.merges[" + std::to_string(rank) + "]";
    if (merge.is_string()) {
      const auto& text = merge.get_ref<const std::string&>();
      const size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
        refuse(path, "is not two tokens with a space between them: " + merge.dump() + ".");
      read_merge(text.substr(0, space), text.substr(space + 1), rank, path);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      read_merge(merge[0].get<std::string>(), merge[1].get<std::string>(), rank, path);
    } else {
      refuse(path, "is neither \"a b\" nor [\"a\", \"b\"].");
    }
    ++rank;
  }
}

void Reader::read_merge(const std::string& left, const std::string& right, int32_t rank, const std::string& path) {
  const auto id_of = [&](const std::string& token) {
    const auto found = vocab_.find(token);
    if (found == vocab_.end()) refuse(path, "needs the token " + Json(token).dump() + ", which model.vocab lacks.");
    return found->second;
  };
  const int32_t left_id = id_of(left), right_id = id_of(right);
  data_->pairs.add_merge(left_id, right_id, rank, id_of(left + right));
}

void Reader::read_added_tokens() {
  const Json& list = get(file_, "added_tokens");
  if (list.is_null()) return;
  if (!list.is_array()) refuse("added_tokens", "is no list.");
  std::unordered_set<std::string> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string path = "added_tokens[" + std::to_string(i) + "]";
    const Json& content = get(list[i], "content");
    if (!content.is_string()) refuse(path + ".content", "is missing or no string.");
    AddedToken token;
    token.content = content.get<std::string>();
    token.id = id(at(list[i], "id", path + ".id"), path + ".id");
    token.special = flag(list[i], "special", path, false);
    token.single_word = flag(list[i], "single_word", path, false);
    token.lstrip = flag(list[i], "lstrip", path, false);
    token.rstrip = flag(list[i], "rstrip", path, false);
    if (token.content.empty() || !seen.insert(token.content).second) continue;
    const auto known = vocab_.find(token.content);
    if (known != vocab_.end() && known->second != token.id)
      refuse(path + ".id", "is " + std::to_string(token.id) + ", but model.vocab has the token as " +
                               std::to_string(known->second) + ".");
    set_token(token.id, token.content, path);
    if (token.special) data_->tokens[static_cast<size_t>(token.id)].special = true;
    const bool normalized = flag(list[i], "normalized", path, !token.special);
    if (normalized && data_->nfc) token.content = to_nfc(token.content);
    (normalized ? data_->added_normalized : data_->added_raw).add(std::move(token));
  }
}

void Reader::read_decoder(const Json& decoder, const std::string& path) {
  if (decoder.is_null()) refuse(path, "is missing; supported is ByteLevel.");
  const std::string type = type_of(decoder, path);
  if (type == "ByteLevel") return;
  const Json& parts = get(decoder, "decoders");
  if (type == "Sequence" && parts.is_array() && parts.size() == 1 && get(parts[0], "type") == "ByteLevel") return;
  refuse(path, "is of type " + type + "; supported is ByteLevel.");
}

// ByteLevel changes offsets only. TemplateProcessing puts tokens before and after a text.
void Reader::read_post_processor(const Json& processor, const std::string& path) {
  if (processor.is_null()) return;
  const std::string type = type_of(processor, path);
  if (type == "ByteLevel") return;
  if (type == "Sequence" && get(processor, "processors").is_array()) {
    for (const Json& part : get(processor, "processors")) {
      if (get(part, "type") == "Sequence") refuse(path, "nests sequences.");
      read_post_processor(part, path + ".processors");
    }
    return;
  }
  if (type != "TemplateProcessing")
    refuse(path, "is of type " + type + "; supported are ByteLevel, TemplateProcessing and a Sequence of them.");
  const Json& single = get(processor, "single");
  if (!single.is_array()) refuse(path + ".single", "is missing or no list.");
  std::vector<int32_t>* side = &data_->before;
  for (const Json& part : single) {
    if (!get(part, "Sequence").is_null()) {
      side = &data_->after;
      continue;
    }
    const Json& name = get(get(part, "SpecialToken"), "id");
    if (!name.is_string()) refuse(path + ".single", "has a part that is neither Sequence nor SpecialToken.");
    const Json& ids = get(get(get(processor, "special_tokens"), name.get<std::string>()), "ids");
    if (!ids.is_array()) refuse(path + ".special_tokens", "has no ids of " + name.dump() + ".");
    for (const Json& value : ids) side->push_back(id(value, path + ".special_tokens"));
  }
}

}  // namespace

TokenizerData read_tokenizer(std::string_view json, const std::string& source) {
  const Json file = Json::parse(json, nullptr, false);
  if (!file.is_object()) throw TokenizerError(source + ": not a JSON object.");
  TokenizerData data;
  Reader(file, source).read(data);
  return data;
}

}  // namespace ringbench
