// loose_json.h: JSON of which nothing is certain, as servers send it and run folders hold it: what is missing or of
// another type reads as null. For our own files, where that is an error: json_object.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace ringbench {

const nlohmann::ordered_json& member(const nlohmann::ordered_json& json, const char* key);
const nlohmann::ordered_json& member(nlohmann::ordered_json&& json, const char* key) = delete;  // it would dangle
const nlohmann::ordered_json& element(const nlohmann::ordered_json& json, size_t index);
std::string text_of(const nlohmann::ordered_json& json);
std::string text_at(const nlohmann::ordered_json& json, const char* key);  // text_of(member(json, key))
std::optional<int64_t> integer_of(const nlohmann::ordered_json& json);

}  // namespace ringbench
