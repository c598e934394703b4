// token_file.cpp: see token_file.h.
#include "harness/token_file.h"

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>

#include "harness/failure.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::ifstream open_file(const std::string& flag, const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in || fs::is_directory(path)) throw UsageError(flag + ": cannot read '" + path + "'.");
  return in;
}

bool is_jsonl(const std::string& path) { return fs::path(path).extension() == ".jsonl"; }

std::vector<int32_t> read_ids(const Json& object, const std::string& key, const std::string& where,
                              int64_t vocab_size) {
  const auto ids = object.find(key);
  if (ids == object.end()) return {};
  if (!ids->is_array()) throw UsageError(where + ": \"" + key + "\" is not a list of token ids.");
  std::vector<int32_t> result;
  for (const auto& id : *ids) {
    if (!id.is_number_integer() || id < 0 || id >= vocab_size)
      // Lists and objects by their kind alone: printing one that nests deep enough would exhaust the stack.
      throw UsageError(where + ": " + key + "[" + std::to_string(result.size()) + "] is " +
                       (id.is_structured() ? id.type_name() : id.dump().substr(0, 40)) +
                       "; token ids of this model are whole numbers from 0 to " + std::to_string(vocab_size - 1) + ".");
    result.push_back(id.get<int32_t>());
  }
  return result;
}

// Each line that is not blank, as an object; `where` names it.
void for_each_line(const std::string& flag, const std::string& path, const std::string& example,
                   const std::function<void(const Json&, const std::string& where)>& visit) {
  std::ifstream in = open_file(flag, path);
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = flag + ": " + path + ":" + std::to_string(number);
    const Json object = Json::parse(line, nullptr, false);
    if (!object.is_object()) throw UsageError(where + ": not a JSON object. Write " + example + " in each line.");
    visit(object, where);
  }
}

}  // namespace

TokenIds read_token_ids(const std::string& path, int64_t vocab_size) {
  const std::string where = "--tokens: " + path;
  std::ifstream in = open_file("--tokens", path);
  const Json file = Json::parse(in, nullptr, false);
  if (!file.is_object())
    throw UsageError(where + ": not a JSON object. Write {\"input_ids\": [1, 2, 3], \"decode_ids\": [4]}.");
  TokenIds ids = {read_ids(file, "input_ids", where, vocab_size), read_ids(file, "decode_ids", where, vocab_size)};
  if (ids.input.empty()) throw UsageError(where + ": \"input_ids\" is missing or empty; at least one token is needed.");
  return ids;
}

std::vector<std::vector<int32_t>> read_token_documents(const std::string& path, int64_t vocab_size) {
  if (!is_jsonl(path)) {
    TokenIds ids = read_token_ids(path, vocab_size);
    ids.input.insert(ids.input.end(), ids.decode.begin(), ids.decode.end());
    return {std::move(ids.input)};
  }
  std::vector<std::vector<int32_t>> documents;
  for_each_line("--tokens", path, "{\"ids\": [1, 2, 3]}", [&](const Json& object, const std::string& where) {
    const std::string key = object.contains("ids") ? "ids" : "input_ids";
    if (!object.contains(key)) throw UsageError(where + ": \"ids\" is missing.");
    documents.push_back(read_ids(object, key, where, vocab_size));
  });
  return documents;
}

std::vector<std::string> read_text_documents(const std::string& path) {
  std::vector<std::string> documents;
  if (is_jsonl(path)) {
    for_each_line("--text", path, "{\"text\": \"...\"}", [&](const Json& object, const std::string& where) {
      const auto text = object.find("text");
      if (text == object.end() || !text->is_string()) throw UsageError(where + ": \"text\" is missing or no string.");
      documents.push_back(text->get<std::string>());
    });
  } else {
    std::ifstream in = open_file("--text", path);
    documents.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return documents;
}

}  // namespace ringbench
