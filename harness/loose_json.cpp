#include "harness/loose_json.h"

#include <nlohmann/json.hpp>

namespace ringbench {

using Json = nlohmann::ordered_json;

static const Json kNull;

const Json& member(const Json& json, const char* key) {
  const auto found = json.is_object() ? json.find(key) : json.end();
  return found == json.end() ? kNull : *found;
}

const Json& element(const Json& json, size_t index) {
  return json.is_array() && index < json.size() ? json[index] : kNull;
}

std::string text_of(const Json& json) { return json.is_string() ? json.get<std::string>() : ""; }

std::string text_at(const Json& json, const char* key) { return text_of(member(json, key)); }

std::optional<int64_t> integer_of(const Json& json) {
  return json.is_number_integer() ? std::optional(json.get<int64_t>()) : std::nullopt;
}

}  // namespace ringbench
