// figure_file.cpp: see figure_file.h.
#include "harness/figure_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "harness/figure.h"
#include "harness/words.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// --- Fields and quantities ---

bool is_number(const Field& field) { return field.type == "number" || field.type == "integer"; }

Maybe<double> over(const Maybe<double>& a, const Maybe<double>& b) {
  return a && b && *b > 0 ? Maybe<double>(*a / *b) : std::nullopt;
}

std::vector<FigureQuantity> make_derived() {
  using Kind = FigureQuantity::Kind;
  using Interval = FigureQuantity::Interval;
  return {
      {"speed_up", "speed-up",
       "How many times faster than the row's softmax twin; with \"over\": \"qwen3-8b\", than rows of that model with "
       "the "
       "same workload on the same machine.",
       Unit::times, true, Kind::speed_up, Interval::none, nullptr},
      {"cache_bytes", "KV cache and states", "kv_bytes + state_bytes; where not measured, the analytic ones.",
       Unit::bytes, true, Kind::derived, Interval::none,
       [](const Result& r) {
         const auto kv = r.kv_bytes ? r.kv_bytes : r.kv_bytes_analytic,
                    state = r.state_bytes ? r.state_bytes : r.state_bytes_analytic;
         return kv || state ? Maybe<double>(static_cast<double>(kv.value_or(0) + state.value_or(0))) : std::nullopt;
       }},
      {"depth", "tokens in the cache", "Tokens in the cache in the end: ctx, and gen where something is generated.",
       Unit::tokens, true, Kind::derived, Interval::none,
       [](const Result& r) { return Maybe<double>(static_cast<double>(r.ctx + (r.phase == "prefill" ? 0 : r.gen))); }},
      {"s_per_token", "time per token", "1 / tok_s.", Unit::seconds, true, Kind::derived, Interval::time,
       [](const Result& r) { return over(1.0, r.tok_s); }},
      {"linear_share", "share of linear layers", "linear_layers / layers.", Unit::plain, false, Kind::derived,
       Interval::none,
       [](const Result& r) { return over(static_cast<double>(r.linear_layers), static_cast<double>(r.layers)); }},
      {"score", "score, %", "value of an evaluation, in percent.", Unit::plain, false, Kind::derived, Interval::own,
       [](const Result& r) { return r.unit == "%" ? r.value : std::nullopt; }},
      {"intensity", "FLOP per byte", "flops / bytes, of a roofline.", Unit::flop_per_byte, true, Kind::derived,
       Interval::none, [](const Result& r) { return over(r.flops, r.bytes); }},
      {"attained_flop_s", "FLOP/s", "flops / value; with \"roofs\": true, under the peaks of the rows' device.",
       Unit::flop_per_s, true, Kind::derived, Interval::rate, [](const Result& r) { return over(r.flops, r.value); }},
  };
}

Unit unit_of_field(const std::string& name) {
  static const std::set<std::string> tokens = {"ctx",           "gen",          "chunk",      "trained_window",
                                               "yarn_original", "isl_actual",   "osl_actual", "est_anchor_ctx",
                                               "parity_depth",  "cached_tokens"};
  static const std::set<std::string> times = {"measured_over_predicted", "cache_ratio_vs_softmax", "contention"};
  if (tokens.contains(name)) return Unit::tokens;
  if (times.contains(name)) return Unit::times;
  if (name == "tok_s") return Unit::tokens_per_s;
  if (name == "flops" || name == "bytes") return name == "bytes" ? Unit::bytes : Unit::plain;
  if (name.ends_with("_bytes") || name.ends_with("_bytes_analytic")) return Unit::bytes;
  const bool of_time = name == "value" || name == "min" || name == "max" || name == "p90" || name == "p99";
  return of_time || name.ends_with("_s") ? Unit::seconds : Unit::plain;
}

FigureQuantity quantity_of_field(const Field& field) {
  FigureQuantity quantity;
  quantity.name = field.name;
  quantity.unit = unit_of_field(quantity.name);
  quantity.label = quantity.name == "ctx"     ? "context"
                   : quantity.name == "gen"   ? "generated tokens"
                   : quantity.name == "tok_s" ? "tokens/s"
                                              : quantity.name;
  quantity.log = quantity.unit != Unit::plain;
  if (!is_number(field)) quantity.kind = FigureQuantity::Kind::text, quantity.log = false;
  if (quantity.name == "value" || quantity.name == "measured_over_predicted")
    quantity.interval = FigureQuantity::Interval::time;
  if (quantity.name == "tok_s") quantity.interval = FigureQuantity::Interval::rate;
  return quantity;
}

// --- Reading ---

// One object of the file. Every key that it may have is asked for; done() refuses the others.
class FigureReader {
 public:
  FigureReader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json.is_object()) refuse("expected an object, found " + json.dump());
  }

  const Json* find(const std::string& key) {
    known_.push_back(key);
    const auto found = json_.find(key);
    return found == json_.end() ? nullptr : &*found;
  }
  std::string text(const std::string& key, const std::string& standard) {
    const Json* value = find(key);
    if (value == nullptr) return standard;
    if (!value->is_string()) refuse("\"" + key + "\": expected text, found " + value->dump());
    return value->get<std::string>();
  }
  Maybe<int64_t> integer(const std::string& key) {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_number_integer() || value->get<int64_t>() < 1)
      refuse("\"" + key + "\": expected a positive integer, found " + value->dump());
    return value->get<int64_t>();
  }
  bool truth(const std::string& key) {
    const Json* value = find(key);
    if (value != nullptr && !value->is_boolean()) refuse("\"" + key + "\": expected true or false");
    return value != nullptr && value->get<bool>();
  }
  // A value or a list of them, each as the text that field_text() would give.
  Strings texts(const std::string& key) {
    const Json* value = find(key);
    return value == nullptr ? Strings() : texts_of(*value, key);
  }
  Strings texts_of(const Json& value, const std::string& key) const {
    Strings texts;
    for (const Json& item : value.is_array() ? value : Json::array({value})) {
      if (!item.is_string() && !item.is_number() && !item.is_boolean())
        refuse("\"" + key + "\": expected texts or numbers, found " + item.dump());
      texts.push_back(item.is_string() ? item.get<std::string>() : item.dump());
    }
    return texts;
  }

  void done() const {
    for (const auto& [key, value] : json_.items()) {
      if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
      const std::string near = nearest_word(key, known_);
      refuse("unknown key \"" + key + "\"." + (near.empty() ? "" : " Did you mean \"" + near + "\"?"));
    }
  }
  [[noreturn]] void refuse(const std::string& message) const {
    throw UsageError(where_ + ": " + message, "see: ringbench help figures");
  }

 private:
  const Json& json_;
  std::string where_;
  Strings known_;
};

std::string checked_field(const FigureReader& reader, const std::string& name) {
  if (known_field(name)) return name;
  Strings names;
  for (const Field& field : result_fields()) names.emplace_back(field.name);
  const std::string near = nearest_word(name, names);
  reader.refuse("a record has no field \"" + name + "\"." + (near.empty() ? "" : " Did you mean " + near + "?"));
}

FigureQuantity find_quantity(const FigureReader& reader, const std::string& name, bool may_be_text) {
  Strings names;
  for (const FigureQuantity& quantity : derived_quantities()) {
    if (quantity.name == name) return quantity;
    names.push_back(quantity.name);
  }
  if (const Field* field = find_field(name); field != nullptr) {
    if (is_number(*field) || (may_be_text && field->type == "string")) return quantity_of_field(*field);
    reader.refuse("\"" + name + "\" is no number.");
  }
  for (const Field& field : result_fields())
    if (is_number(field)) names.emplace_back(field.name);
  const std::string near = nearest_word(name, names);
  reader.refuse("no quantity \"" + name + "\"." + (near.empty() ? "" : " Did you mean " + near + "?"));
}

// "ctx", or {"quantity": "ctx", "label": ..., "scale": "log", "over": ..., "roofs": ...}.
Axis read_axis(const Json& json, const std::string& where, bool is_x) {
  const Json object = json.is_string() ? Json{{"quantity", json}} : json;
  FigureReader reader(object, where);
  Axis axis;
  axis.quantity = find_quantity(reader, reader.text("quantity", ""), is_x);
  axis.label = reader.text("label", axis.quantity.label);
  const std::string scale = reader.text("scale", axis.quantity.log ? "log" : "linear");
  if (scale != "log" && scale != "linear") reader.refuse("\"scale\": write log or linear, not \"" + scale + "\".");
  axis.log = scale == "log";
  if (axis.quantity.kind == FigureQuantity::Kind::text && axis.log)
    reader.refuse("\"scale\": words have no logarithm.");
  if (!is_x) {
    const bool ratio = axis.quantity.kind == FigureQuantity::Kind::speed_up;
    axis.over = reader.text("over", ratio ? "twin" : "");
    if (!ratio && !axis.over.empty()) reader.refuse("\"over\" belongs to the quantity speed_up.");
    axis.roofs = reader.truth("roofs");
  } else if (axis.quantity.kind == FigureQuantity::Kind::speed_up) {
    reader.refuse("speed_up can only be a y.");
  }
  reader.done();
  return axis;
}

Mark read_mark(const Json& json, const std::string& where) {
  FigureReader reader(json, where);
  Mark mark;
  const Json* x = reader.find("x");
  if (x == nullptr) reader.refuse("\"x\" is missing: a number, a field, or \"crossover\".");
  if (x->is_number())
    mark.x = x->get<double>();
  else if (x->is_string())
    mark.field = x->get<std::string>() == "crossover" ? "crossover" : checked_field(reader, x->get<std::string>());
  else
    reader.refuse("\"x\": expected a number, a field, or \"crossover\".");
  mark.label = reader.text("label", mark.field);
  reader.done();
  return mark;
}

AnalyticLine read_analytic_line(const Json& json, const std::string& where) {
  static const std::vector<std::pair<std::string, double MemoryAccess::*>> kinds = {{"mha", &MemoryAccess::mha},
                                                                                    {"gqa", &MemoryAccess::gqa},
                                                                                    {"mla", &MemoryAccess::mla},
                                                                                    {"hybrid", &MemoryAccess::hybrid},
                                                                                    {"linear", &MemoryAccess::linear}};
  FigureReader reader(json, where);
  AnalyticLine line;
  line.model = reader.text("model", "");
  const std::string attention = reader.text("attention", "");
  line.label = reader.text("label", attention);
  reader.done();
  for (const auto& [name, member] : kinds)
    if (name == attention) line.attention = member;
  if (line.attention == nullptr) reader.refuse("\"attention\": write mha, gqa, mla, hybrid or linear.");
  if (line.model.empty()) reader.refuse("\"model\" is missing.");
  return line;
}

}  // namespace

const std::vector<FigureQuantity>& derived_quantities() {
  static const std::vector<FigureQuantity> quantities = make_derived();
  return quantities;
}

bool known_field(const std::string& name) {
  return find_field(name) != nullptr || (name.starts_with("tag_") && name.size() > 4);
}

std::string field_text(const Result& row, const std::string& name) {
  if (name.starts_with("tag_")) {
    const auto found = row.tags.find(name.substr(4));
    return found == row.tags.end() ? "" : found->second;
  }
  const Value value = find_field(name)->get(row);
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* integer = std::get_if<int64_t>(&value)) return std::to_string(*integer);
  if (const auto* truth = std::get_if<bool>(&value)) return *truth ? "true" : "false";
  if (const auto* number = std::get_if<double>(&value)) {
    char text[32];
    return {text, std::to_chars(text, text + sizeof text, *number).ptr};
  }
  if (const auto* texts = std::get_if<Strings>(&value)) return join(*texts, ";");
  return "";
}

Maybe<double> field_number(const Result& row, const std::string& name) {
  const Value value = find_field(name)->get(row);
  if (const auto* number = std::get_if<double>(&value)) return *number;
  if (const auto* integer = std::get_if<int64_t>(&value)) return static_cast<double>(*integer);
  return std::nullopt;
}

FigureFile parse_figure(const std::string& json, const std::string& id, const std::string& source) {
  Json object;
  try {
    object = Json::parse(json, nullptr, true, true);
  } catch (const Json::exception& e) {
    throw UsageError(source + ": no JSON: " + e.what(), "see: ringbench help figures");
  }
  FigureReader reader(object, source);
  FigureFile figure;
  figure.id = id;
  figure.title = reader.text("title", id);
  figure.caption = reader.text("caption", "");
  figure.needs = reader.text("needs", "");
  figure.order = reader.integer("order").value_or(figure.order);
  if (const Json* rows = reader.find("rows"); rows != nullptr) {
    if (!rows->is_object()) reader.refuse("\"rows\": expected {\"field\": value or [values]}.");
    for (const auto& [field, values] : rows->items())
      figure.rows[checked_field(reader, field)] = reader.texts_of(values, field);
  }
  const Json *x = reader.find("x"), *y = reader.find("y");
  if (x == nullptr || y == nullptr) reader.refuse(std::string("\"") + (x == nullptr ? "x" : "y") + "\" is missing.");
  figure.x = read_axis(*x, source + ", x", true);
  for (const Json& panel : y->is_array() ? *y : Json::array({*y}))
    figure.panels.push_back(read_axis(panel, source + ", y", false));
  if (figure.panels.empty() || figure.panels.size() > 3) reader.refuse("\"y\": one to three quantities.");
  for (const std::string& field : reader.texts("series")) figure.series.push_back(checked_field(reader, field));
  figure.published = reader.texts("published");
  if (const Json* marks = reader.find("marks"); marks != nullptr)
    for (const Json& mark : marks->is_array() ? *marks : Json::array({*marks}))
      figure.marks.push_back(read_mark(mark, source + ", marks"));
  if (const Json* analytic = reader.find("analytic"); analytic != nullptr) {
    FigureReader inner(*analytic, source + ", analytic");
    figure.analytic_ctx = parse_token_list(inner.texts("ctx"), source + ", analytic, ctx", 1);
    const Json* lines = inner.find("lines");
    if (lines == nullptr || !lines->is_array() || lines->empty()) inner.refuse("\"lines\": a list is missing.");
    for (const Json& line : *lines) figure.analytic.push_back(read_analytic_line(line, source + ", analytic, lines"));
    inner.done();
    if (figure.analytic_ctx.empty()) inner.refuse("\"ctx\" is missing, such as \"1k..512k*2\".");
  }
  reader.done();
  return figure;
}

FigureFile read_figure(const std::string& figure) {
  const bool is_file = figure.ends_with(".json") || figure.find('/') != std::string::npos;
  const fs::path path = is_file ? fs::path(figure) : configs_folder() / "figures" / (figure + ".json");
  std::error_code error;
  if (!fs::is_regular_file(path, error)) {
    if (is_file) throw UsageError("figures: '" + figure + "' is no file.", "see: ringbench help figures");
    const Strings names = figure_names();
    const std::string near = nearest_word(figure, names);
    throw UsageError("figures: no figure '" + figure + "'." + (near.empty() ? "" : " Did you mean " + near + "?"),
                     "figures: " + join(names, ", ") + "; or a FILE.json of your own");
  }
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (in.bad()) throw UsageError("figures: '" + path.string() + "' cannot be read.");
  return parse_figure(text, path.stem().string(), is_file ? figure : "configs/figures/" + figure + ".json");
}

}  // namespace ringbench
