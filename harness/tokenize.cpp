// tokenize.cpp: see tokenize.h.
#include "harness/tokenize.h"

#include <nlohmann/json.hpp>

#include "harness/convert_lines.h"
#include "harness/failure.h"
#include "reference/weights.h"

#if defined(RINGBENCH_HAVE_TOKENIZER)
#include "evals/tokenizer.h"
#endif

namespace ringbench {

namespace fs = std::filesystem;

#if defined(RINGBENCH_HAVE_TOKENIZER)

namespace {

using Json = nlohmann::ordered_json;

Tokenizer load_tokenizer(const fs::path& folder) {
  try {
    return Tokenizer::load(folder);
  } catch (const TokenizerError& e) {
    throw UsageError(e.what());
  }
}

// What replaces a line; `where` names it.
Json convert(const Tokenizer& tokenizer, const Json& line, const TokenizeRequest& request, const std::string& where) {
  if (!line.is_object()) throw UsageError(where + ": not a JSON object.");
  const std::string key = request.decode ? "ids" : "text";
  const auto value = line.find(key);
  if (value == line.end()) throw UsageError(where + ": \"" + key + "\" is missing.");
  if (!request.decode) {
    if (!value->is_string()) throw UsageError(where + ": \"text\" is no string.");
    return {{"ids", tokenizer.encode(value->get_ref<const std::string&>())}};
  }
  std::vector<int32_t> ids;
  if (!value->is_array()) throw UsageError(where + ": \"ids\" is no list.");
  for (const Json& id : *value) {
    if (!id.is_number_integer() || id < 0 || id > INT32_MAX)
      throw UsageError(where + ": ids[" + std::to_string(ids.size()) + "] is no token id.");
    ids.push_back(id.get<int32_t>());
  }
  return {{"text", tokenizer.decode(ids, request.skip_special)}};
}

}  // namespace

void run_tokenize(const TokenizeRequest& request) {
  const fs::path folder = find_checkpoint(request.model);
  if (folder.empty())
    throw UsageError("--model: '" + request.model +
                     "' is neither a folder nor a repository in the local Hugging Face cache.");
  const Tokenizer tokenizer = load_tokenizer(folder);
  convert_lines(request.in, request.out, [&](const std::string& line, const std::string& where) {
    try {
      return convert(tokenizer, Json::parse(line, nullptr, false), request, where).dump();
    } catch (const TokenizerError& e) {
      throw UsageError(where + ": " + e.what());
    }
  });
}

std::vector<std::vector<int32_t>> encode_texts(const fs::path& folder, const std::vector<std::string>& texts,
                                               const std::string& where) {
  const Tokenizer tokenizer = load_tokenizer(folder);
  std::vector<std::vector<int32_t>> documents;
  for (const std::string& text : texts) {
    try {
      documents.push_back(tokenizer.encode(text));
    } catch (const TokenizerError& e) {
      throw UsageError(where + ": " + e.what());
    }
  }
  return documents;
}

#else

void run_tokenize(const TokenizeRequest&) { throw no_text_libraries("no tokenizer"); }
std::vector<std::vector<int32_t>> encode_texts(const fs::path&, const std::vector<std::string>&, const std::string&) {
  throw no_text_libraries("no tokenizer");
}

#endif

}  // namespace ringbench
