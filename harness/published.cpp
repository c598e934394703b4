#include "harness/published.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

#include "harness/json_names.h"
#include "harness/json_object.h"
#include "harness/plan.h"

namespace ringbench {
namespace {

PublishedConditions read_conditions(JsonObject object) {
  PublishedConditions c;
  if (object.has("phase")) c.phase = object.word("phase", {"prefill", "decode", "e2e"});
  c.task = object.text_or("task", "");
  c.device = object.text_or("device", "");
  c.framework = object.text_or("framework", "");
  c.dtype = object.text_or("dtype", "");
  c.sampling = object.text_or("sampling", "");
  c.note = object.text_or("note", "");
  c.ctx = object.maybe_integer("ctx");
  c.ctx_from = object.maybe_integer("ctx_from");
  c.gen = object.maybe_integer("gen");
  c.batch = object.maybe_integer("batch");
  c.tp = object.maybe_integer("tp");
  c.samples = object.maybe_integer("samples");
  c.questions = object.maybe_integer("questions");
  object.refuse_unknown_keys();
  return c;
}

PublishedNumber read_number(JsonObject object, const std::string& file) {
  PublishedNumber n;
  n.file = file;
  n.id = object.text("id");
  n.what = object.text("what");
  n.model = object.text("model");
  n.baseline = object.text_or("baseline", "");
  n.value = object.number("value");
  if (object.has("relation")) n.relation = object.word("relation", {"=", "~", ">", ">=", "<", "<="});
  n.unit = object.word("unit", published_units());
  if (object.has("conditions")) n.conditions = read_conditions(object.object("conditions"));
  n.source = object.text("source");
  n.confidence = object.word("confidence", {"primary", "third-party digest"});
  n.kind = object.word("kind", {"stated", "derived"});
  if (object.has("formula") || n.kind == "derived") n.formula = object.text("formula");
  n.note = object.text_or("note", "");
  object.refuse_unknown_keys();
  const bool compares = n.unit == "x" || n.unit == "ratio";
  if (compares && n.baseline.empty() && n.what.find(" over ") == std::string::npos)
    object.fail("baseline", "what the ratio is against");
  return n;
}

// What is shared, with the number's own keys over it; conditions are merged key by key.
JsonObject merged(const JsonObject& shared, const JsonObject& own) {
  nlohmann::ordered_json all = shared.json();
  for (const auto& [key, value] : own.json().items()) {
    if (key == "conditions" && all.contains(key) && value.is_object() && all[key].is_object())
      all[key].update(value);
    else
      all[key] = value;
  }
  return {all, own.where()};
}

}  // namespace

const std::vector<std::string>& published_units() {
  static const std::vector<std::string> units = {
      "x",  // times better than the baseline
      "ratio",  "%",         "percentile",  "rating",        "us",         "tok/s",
      "TB/s",   "bytes",     "bytes/token", "bytes/element", "parameters", "tokens",
      "layers", "sequences", "answers",     "benchmarks",    "nats",
      "1",  // settings without a unit
  };
  return units;
}

std::vector<PublishedNumber> read_published(const std::filesystem::path& folder) {
  const std::vector<std::string> names = json_names(folder);
  if (names.empty()) throw UsageError(folder.string() + ": no published numbers (.json files) there.");

  std::vector<PublishedNumber> numbers;
  std::set<std::string> ids;
  for (const std::string& name : names) {
    JsonObject file = read_json_object(folder / (name + ".json"));
    file.text("about");
    for (JsonObject& set : file.objects("sets")) {
      const JsonObject shared = set.object("shared");
      for (const JsonObject& own : set.objects("numbers")) {
        numbers.push_back(read_number(merged(shared, own), name + ".json"));
        if (!ids.insert(numbers.back().id).second) own.fail("id", "an id that no other number has");
      }
      set.refuse_unknown_keys();
    }
    file.refuse_unknown_keys();
  }
  return numbers;
}

const std::vector<PublishedNumber>& published_numbers() {
  static const std::vector<PublishedNumber> numbers = read_published(configs_folder() / "published");
  return numbers;
}

const PublishedNumber* find_published(std::string_view id) {
  for (const PublishedNumber& number : published_numbers())
    if (number.id == id) return &number;
  return nullptr;
}

std::string stated_text(const PublishedNumber& n) {
  const auto shortest = [](double value) {
    char text[40];
    std::snprintf(text, sizeof text, "%.6g", value);
    return std::string(text);
  };
  const std::string sign = n.relation == "=" ? "" : n.relation == "~" ? "~" : n.relation + " ";
  if (n.unit == "x") return sign + shortest(n.value) + "x";
  if (n.unit == "ratio" && n.value > 0 && n.value <= 0.5) return sign + "1/" + std::to_string(std::lround(1 / n.value));
  if (n.unit == "ratio" || n.unit == "1") return sign + shortest(n.value);
  if (n.unit == "tokens" && n.value < 1e9) return sign + token_label(std::lround(n.value)) + " tokens";
  if (n.unit == "parameters" && n.value >= 1e9) return sign + shortest(n.value / 1e9) + "B";
  if (n.unit == "parameters") return sign + shortest(n.value / 1e6) + "M";
  return sign + shortest(n.value) + " " + n.unit;
}

}  // namespace ringbench
