// json_object.h: the keys of one JSON object, read by type, for data files in configs/: whatever is missing, unknown or
// of a wrong type is a UsageError that names file and key. Not for model configs (reference/config_reader.cpp).
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "harness/failure.h"
#include "harness/words.h"

namespace ringbench {

class JsonObject {
 public:
  // `where`: what messages begin with, "file: claims[3]". Throws UsageError if `value` is no object.
  JsonObject(const nlohmann::ordered_json& value, std::string where) : value_(value), where_(std::move(where)) {
    if (!value_.is_object()) throw UsageError(where_ + ": found " + shown(value_) + ", expected an object.");
  }

  bool has(const std::string& key) {
    known_.insert(key);
    return value_.contains(key);
  }
  std::string text(const std::string& key) { return get<std::string>(key, "a string", &Json::is_string); }
  double number(const std::string& key) { return get<double>(key, "a number", &Json::is_number); }
  int64_t integer(const std::string& key) { return get<int64_t>(key, "an integer", &Json::is_number_integer); }
  bool flag(const std::string& key) { return get<bool>(key, "true or false", &Json::is_boolean); }
  std::string text_or(const std::string& key, const std::string& standard) { return has(key) ? text(key) : standard; }
  std::optional<int64_t> maybe_integer(const std::string& key) {
    return has(key) ? std::optional(integer(key)) : std::nullopt;
  }
  // One of `words`.
  std::string word(const std::string& key, const std::vector<std::string>& words) {
    std::string found = text(key);
    for (const std::string& word : words)
      if (word == found) return found;
    fail(key, "one of " + join(words, ", "));
  }
  JsonObject object(const std::string& key) {
    return {get<Json>(key, "an object", &Json::is_object), where_ + ": " + key};
  }
  std::vector<std::string> texts(const std::string& key) {
    std::vector<std::string> all;
    for (const Json& element : get<Json>(key, "an array of strings", &Json::is_array)) {
      if (!element.is_string()) fail(key, "an array of strings");
      all.push_back(element.get<std::string>());
    }
    return all;
  }
  std::vector<JsonObject> objects(const std::string& key) {
    std::vector<JsonObject> all;
    for (const Json& element : get<Json>(key, "an array of objects", &Json::is_array))
      all.emplace_back(element, where_ + ": " + key + "[" + std::to_string(all.size()) + "]");
    return all;
  }

  // After all that is known has been asked for.
  void refuse_unknown_keys() const {
    for (const auto& [key, value] : value_.items()) {
      if (known_.contains(key)) continue;
      const std::string near = nearest_word(key, {known_.begin(), known_.end()});
      throw UsageError(where_ + ": unknown key '" + key + "'." + (near.empty() ? "" : " Did you mean " + near + "?"));
    }
  }
  [[noreturn]] void fail(const std::string& key, const std::string& expected) const {
    throw UsageError(where_ + ": " + key + ": " +
                     (value_.contains(key) ? "found " + shown(value_.at(key)) : "missing") + ", expected " + expected +
                     ".");
  }

  const nlohmann::ordered_json& json() const { return value_; }
  const std::string& where() const { return where_; }

 private:
  using Json = nlohmann::ordered_json;

  template <class T> T get(const std::string& key, const std::string& expected, bool (Json::*is)() const noexcept) {
    if (!has(key) || !(value_.at(key).*is)()) fail(key, expected);
    return value_.at(key).get<T>();
  }
  static std::string shown(const Json& value) {
    const std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    return text.size() <= 60 ? text : text.substr(0, 57) + "...";
  }

  Json value_;
  std::string where_;
  std::set<std::string> known_;  // keys asked for
};

// A whole file. Throws UsageError if it cannot be read or is not JSON.
inline JsonObject read_json_object(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw UsageError(file.string() + ": cannot be read.");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  try {
    return {nlohmann::ordered_json::parse(text), file.string()};
  } catch (const nlohmann::json::exception& e) {
    const std::string_view what = e.what();  // "[json.exception.parse_error.101] parse error at line 1, ..."
    const size_t tag = what.find("] ");
    throw UsageError(file.string() +
                     ": not valid JSON: " + std::string(tag == what.npos ? what : what.substr(tag + 2)));
  }
}

}  // namespace ringbench
