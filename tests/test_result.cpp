// The record: what writers print, that every record fits the schema that ships, and what a run's folder keeps.
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <locale>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>
#include <set>
#include <sstream>

#include "harness/environment.h"
#include "harness/result.h"
#include "tests/catch.h"
#include "tests/folder.h"

using namespace ringbench;
namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

namespace {

std::string written(Format format, const std::vector<Result>& results, const Remarks& remarks = {}) {
  std::ostringstream out;
  write_results(out, format, results, remarks);
  return out.str();
}

Result measured(const std::string& phase, const std::string& hybrid, double value) {
  Result r;
  r.run_id = "20260101T120000Z-throughput-4f2a";
  r.point_id = "b3f0c2a1d4e59876";
  r.experiment = "throughput";
  r.phase = phase;
  r.engine = "reference";
  r.date = "2026-01-01T12:00:00Z";
  r.model = "ring-nano-linear";
  r.config_sha = "00";
  r.hybrid = hybrid;
  r.layers = 8;
  r.slope_layer_offset = "0";
  r.weights = "dummy:scaled";
  r.ctx = 393216;
  r.ctx_label = "384k";
  r.gen = phase == "prefill" ? 0 : 128;
  r.chunk = 512;
  r.dtype = "f32";
  r.threads = 2;
  r.metric = phase == "prefill" ? "ttft_s" : "tpot_s";
  r.value = value;
  r.n = 6;
  r.ci95_low = value * 0.99;
  r.ci95_high = value * 1.01;
  r.samples = {value};
  r.tok_s = (phase == "prefill" ? 393216 : 1) / value;
  r.kv_bytes = 402653184;
  r.state_bytes = 393216;
  r.flags = "U";
  r.repro = "ringbench " + phase;
  r.device = "CPU of the test, 2 cores";
  r.commit = "4f2a9c1";
  return r;
}

// Every field filled with something, so that no writer can skip one.
Result full_result() {
  Result r = measured("prefill", "3:1", 1.0 / 3);
  r.weights_fingerprint = "0123456789abcdef";
  r.kv_dtype = r.state_dtype = "f32";
  r.yarn_factor = 4;
  r.yarn_original = 131072;
  r.trained_window = 524288;
  r.depth_fill = "synthetic";
  r.stop = "ci";
  r.estimator = "chunk";
  r.bound = "memory";
  r.mfu_params = "active";
  r.peak_source = "calibrated";
  r.error = "first line";
  r.warnings = {"W-ONE: a, b", "W-TWO: \"quoted\""};
  r.kernels = {"norm=plain"};
  r.throttle = {"power"};
  r.parity_missing = {"x=y"};
  r.samples = {0.1, 1e-300, 1.0 / 3, 123456789.0};
  r.tags = {{"note", "a,b \"c\"\nd"}};
  return r;
}

// The part of JSON Schema that the file uses: type, enum, pattern, items, properties, patternProperties,
// additionalProperties false, required. Returns what is wrong, or "".
bool has_type(const OrderedJson& value, const std::string& type) {
  if (type == "null") return value.is_null();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  throw std::logic_error("schema: type " + type + " is not understood by this test");
}

std::string violation(const OrderedJson& value, const OrderedJson& schema, const std::string& where) {
  for (const auto& [keyword, rule] : schema.items()) {
    if (keyword == "type") {
      const OrderedJson types = rule.is_array() ? rule : OrderedJson::array({rule});
      if (std::none_of(types.begin(), types.end(),
                       [&](const OrderedJson& t) { return has_type(value, t.get<std::string>()); }))
        return where + ": type is not " + rule.dump();
    } else if (keyword == "enum") {
      if (std::find(rule.begin(), rule.end(), value) == rule.end())
        return where + ": " + value.dump() + " is not in " + rule.dump();
    } else if (keyword == "pattern") {
      if (value.is_string() && !std::regex_search(value.get<std::string>(), std::regex(rule.get<std::string>())))
        return where + ": " + value.dump() + " does not match " + rule.dump();
    } else if (keyword == "items") {
      if (value.is_array())
        for (const OrderedJson& item : value)
          if (const std::string bad = violation(item, rule, where + "[]"); !bad.empty()) return bad;
    } else if (keyword == "required") {
      for (const OrderedJson& name : rule)
        if (!value.contains(name.get<std::string>())) return where + ": " + name.dump() + " is missing";
    } else if (keyword == "additionalProperties") {
      if (rule != false) throw std::logic_error("schema: additionalProperties other than false");
    } else if (keyword == "properties" || keyword == "patternProperties") {
      if (!value.is_object() || keyword == "patternProperties") continue;  // looked at together, below
      for (const auto& [name, member] : value.items()) {
        const OrderedJson* member_schema = rule.contains(name) ? &rule[name] : nullptr;
        for (const auto& [pattern, pattern_schema] : schema["patternProperties"].items())
          if (member_schema == nullptr && std::regex_search(name, std::regex(pattern))) member_schema = &pattern_schema;
        if (member_schema == nullptr) return where + ": \"" + name + "\" is not allowed";
        if (const std::string bad = violation(member, *member_schema, where + "." + name); !bad.empty()) return bad;
      }
    } else if (keyword != "$schema" && keyword != "title" && keyword != "description") {
      throw std::logic_error("schema: keyword " + keyword + " is not understood by this test");
    }
  }
  return "";
}

OrderedJson schema() {
  return OrderedJson::parse(read_file(fs::path(RINGBENCH_SOURCE_DIR) / "configs" / "result.schema.json"));
}

std::string schema_violation(const Result& r) {
  return violation(OrderedJson::parse(to_json_line(r)), schema(), "record");
}

// Cells of one csv line, unquoted.
std::vector<std::vector<std::string>> parse_csv(const std::string& text) {
  std::vector<std::vector<std::string>> rows(1, {""});
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (quoted) {
      if (text[i] != '"')
        rows.back().back() += text[i];
      else if (i + 1 < text.size() && text[i + 1] == '"')
        rows.back().back() += text[i++];
      else
        quoted = false;
    } else if (text[i] == '"') {
      quoted = true;
    } else if (text[i] == ',') {
      rows.back().emplace_back();
    } else if (text[i] == '\n') {
      rows.push_back({""});
    } else {
      rows.back().back() += text[i];
    }
  }
  rows.pop_back();
  return rows;
}

}  // namespace

TEST_CASE("the schema says of every field what the table of fields says") {
  const OrderedJson properties = schema()["properties"], required = schema()["required"];
  std::set<std::string> names;
  for (const Field& f : result_fields()) {
    const std::string name(f.name), type(f.type);
    INFO(name);
    CHECK(names.insert(name).second);
    REQUIRE(properties.contains(name));
    CHECK(std::find(required.begin(), required.end(), name) != required.end());
    OrderedJson expected = type == "numbers" || type == "strings" ? "array" : type;
    if (f.nullable) expected = OrderedJson::array({expected, "null"});
    CHECK(properties[name]["type"] == expected);
    if (type == "numbers") CHECK(properties[name]["items"]["type"] == OrderedJson::array({"number", "null"}));
    if (type == "strings") CHECK(properties[name]["items"]["type"] == "string");
  }
  CHECK(properties.size() == names.size());
  CHECK(required.size() == names.size());
}

TEST_CASE("records fit the schema, and records that are wrong do not") {
  CHECK(schema_violation(measured("decode", "softmax", 0.5)) == "");
  CHECK(schema_violation(full_result()) == "");
  Result failed = measured("decode", "softmax", 0.5);
  failed.value = std::nullopt;
  failed.status = "oom_predicted";
  failed.samples.clear();
  CHECK(schema_violation(failed) == "");

  Result wrong = full_result();
  wrong.status = "fine";
  CHECK(schema_violation(wrong).find("record.status") == 0);
  wrong = full_result();
  wrong.point_id = "xyz";
  CHECK(schema_violation(wrong).find("record.point_id") == 0);
  OrderedJson record = OrderedJson::parse(to_json_line(full_result()));
  record["surprise"] = 1;
  CHECK(violation(record, schema(), "record") == "record: \"surprise\" is not allowed");
  record.erase("surprise");
  record.erase("value");
  CHECK(violation(record, schema(), "record") == "record: \"value\" is missing");
  record["value"] = "1";
  CHECK(violation(record, schema(), "record").find("record.value: type") == 0);
}

TEST_CASE("a json line is flat, in the order of the table, null where nothing applies") {
  const std::string line = to_json_line(full_result());
  CHECK(line.find('\n') == std::string::npos);
  const OrderedJson record = OrderedJson::parse(line);
  size_t i = 0;
  for (const auto& [name, value] : record.items()) {
    if (i < result_fields().size()) CHECK(name == result_fields()[i].name);
    CHECK_FALSE(value.is_object());
    ++i;
  }
  CHECK(i == result_fields().size() + 1);
  CHECK(record["tag_note"] == "a,b \"c\"\nd");
  CHECK(record["tok_s"] == full_result().tok_s);
  const OrderedJson plain = OrderedJson::parse(to_json_line(measured("prefill", "3:1", 1)));
  CHECK(plain["energy_j"].is_null());
  CHECK(plain["estimator"].is_null());
  CHECK(plain["kernels"] == OrderedJson::array());
}

TEST_CASE("no NaN or infinity, anywhere") {
  Result r = measured("prefill", "3:1", std::nan(""));
  r.ci95_high = std::numeric_limits<double>::infinity();
  r.samples = {1, std::nan(""), -std::numeric_limits<double>::infinity()};
  const OrderedJson record = OrderedJson::parse(to_json_line(r));
  CHECK(record["value"].is_null());
  CHECK(record["ci95_high"].is_null());
  CHECK(record["samples"] == OrderedJson::array({1.0, nullptr, nullptr}));
  CHECK(schema_violation(r) == "");
  for (const Format format : {Format::table, Format::md, Format::csv, Format::json, Format::jsonl}) {
    const std::string text = written(format, {r});
    CHECK_FALSE(std::regex_search(text, std::regex("\\b([Nn]a[Nn]|[Ii]nf(inity)?)\\b")));
  }
}

TEST_CASE("doubles survive json and csv bit for bit, in any locale") {
  std::mt19937_64 random(7);
  Result r = full_result();
  r.samples = {0.1, 5e-324, 1.7976931348623157e308, 1.0 / 3};
  while (r.samples.size() < 200) {
    const double x = std::bit_cast<double>(random());
    if (std::isfinite(x)) r.samples.push_back(x);
  }
  struct Comma : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
  };
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new Comma));
  const std::string json = written(Format::jsonl, {r}), csv = written(Format::csv, {r});
  std::locale::global(before);

  CHECK(OrderedJson::parse(json)["samples"].get<Numbers>() == r.samples);
  CHECK(OrderedJson::parse(json)["ctx"] == 393216);
  const auto rows = parse_csv(csv);
  REQUIRE(rows.size() == 2);
  const size_t column = static_cast<size_t>(std::find(rows[0].begin(), rows[0].end(), "samples") - rows[0].begin());
  std::istringstream cells(rows[1][column]);
  std::string cell;
  for (const double sample : r.samples) {
    REQUIRE(std::getline(cells, cell, ';'));
    CHECK(std::strtod(cell.c_str(), nullptr) == sample);
  }
}

TEST_CASE("csv: a column for each field and tag, quoted where it must be, empty for null") {
  Result other = measured("decode", "softmax", 0.25);
  other.tags = {{"machine", "b"}};
  const auto rows = parse_csv(written(Format::csv, {full_result(), other}));
  REQUIRE(rows.size() == 3);
  for (const auto& row : rows) REQUIRE(row.size() == result_fields().size() + 2);
  const auto cell = [&](size_t row, const std::string& name) {
    return rows[row][static_cast<size_t>(std::find(rows[0].begin(), rows[0].end(), name) - rows[0].begin())];
  };
  for (size_t i = 0; i < result_fields().size(); ++i) CHECK(rows[0][i] == result_fields()[i].name);
  CHECK(cell(1, "tag_note") == "a,b \"c\"\nd");
  CHECK(cell(1, "tag_machine") == "");
  CHECK(cell(2, "tag_machine") == "b");
  CHECK(cell(1, "warnings") == "W-ONE: a, b;W-TWO: \"quoted\"");
  CHECK(cell(2, "energy_j") == "");
  CHECK(cell(2, "value") == "0.25");
  CHECK(cell(2, "interleaved") == "false");
}

TEST_CASE("json is one array, jsonl one record a line") {
  const std::vector<Result> two = {measured("prefill", "3:1", 1), measured("decode", "3:1", 2)};
  CHECK(OrderedJson::parse(written(Format::json, two)).size() == 2);
  CHECK(OrderedJson::parse(written(Format::json, {})) == OrderedJson::array());
  std::istringstream lines(written(Format::jsonl, two));
  std::string line;
  int count = 0;
  for (; std::getline(lines, line); ++count) CHECK(OrderedJson::parse(line)["schema"] == "ringbench.point/1");
  CHECK(count == 2);
}

TEST_CASE("the table, word for word") {
  Result a = measured("prefill", "3:1", 797.123);
  a.method = "estimated";
  a.status = "estimated";
  a.flags = "EU";
  Result b = measured("decode", "3:1", 0.00391);
  b.flags = "SU";
  Result c = measured("decode", "softmax", 0);
  c.value = c.ci95_low = c.ci95_high = c.tok_s = std::nullopt;
  c.n = std::nullopt;
  c.kv_bytes = c.state_bytes = std::nullopt;
  c.status = "oom_predicted";
  c.error = "needs 3.0 GiB";
  Remarks remarks;
  remarks.lines = {"speed-up: none"};
  std::string text = written(Format::table, {a, b, c}, remarks);
  text = text.substr(text.find('\n') + 1);  // the first line holds this build's version
  CHECK(
      text ==
      R"(ring-nano-linear, engine reference, f32, dummy:scaled, seed 0, threads 2, chunk 512, layers 8, yarn off, gen 128, parity none

phase    hybrid   ctx            bs  n           time  95% CI           tok/s      cache  flags
prefill  3:1      393216 (384k)   1  6       ~797.1 s  [789.2, 805.1]  ~493.3  384.4 MiB  EU
decode   3:1      393216 (384k)   1  6       3.910 ms  [3.871, 3.949]   255.8  384.4 MiB  SU
decode   softmax  393216 (384k)   1     oom_predicted                                     U

flags: E estimated, S synthetic depth, U unverified
oom_predicted: decode softmax ctx 384k bs 1: needs 3.0 GiB
speed-up: none
)");
  CHECK(written(Format::table, {a}).find("| CPU of the test, 2 cores\n") != std::string::npos);
  CHECK(written(Format::table, {a}).find('\x1b') == std::string::npos);
  remarks.color = true;
  CHECK(written(Format::table, {a}, remarks).find("\x1b[1mphase") != std::string::npos);
}

TEST_CASE("columns that vary stand in the table, those that agree in its header") {
  Result a = measured("prefill", "3:1", 1), b = measured("prefill", "3:1", 2);
  b.model = "ring-pico-linear";
  b.tags = {{"note", "x"}};
  a.tags = {{"note", "y"}};
  const std::string text = written(Format::table, {a, b});
  CHECK(text.find("\nmodel             note  phase") == std::string::npos);  // tags come last
  CHECK(text.find("\nmodel             phase") != std::string::npos);
  CHECK(text.find("flags  note\n") != std::string::npos);
  CHECK(text.find("engine reference") != std::string::npos);
}

TEST_CASE("units adapt to the size of the number") {
  const auto shown = [](double seconds) { return written(Format::md, {measured("decode", "3:1", seconds)}); };
  CHECK(shown(31042.4).find("| 31042 s |") != std::string::npos);
  CHECK(shown(11.92).find("| 11.92 s |") != std::string::npos);
  CHECK(shown(1).find("| 1.000 s |") != std::string::npos);
  CHECK(shown(0.0123456).find("| 12.35 ms |") != std::string::npos);
  CHECK(shown(0.0000123).find("| 12.30 us |") != std::string::npos);
  Result fast = measured("prefill", "3:1", 1);
  fast.tok_s = 1234567.4;
  CHECK(written(Format::md, {fast}).find("| 1 234 567 |") != std::string::npos);
}

TEST_CASE("markdown: one table, cells escaped, remarks as paragraphs") {
  Result r = measured("prefill", "3:1", 2);
  r.hybrid = "a|b";
  Remarks remarks;
  remarks.lines = {"a conclusion"};
  const std::string text = written(Format::md, {r}, remarks);
  CHECK(text.find("\n| phase | hybrid |") != std::string::npos);
  CHECK(text.find("\n|---|---|") != std::string::npos);
  CHECK(text.find("| a\\|b |") != std::string::npos);
  CHECK(text.find("\n\na conclusion\n") != std::string::npos);
}

TEST_CASE("-o: the format by extension, the file made before anything runs, old content kept until then") {
  Folder folder;
  CHECK(format_of_file("x/y.jsonl") == Format::jsonl);
  CHECK_THROWS_AS(format_of_file("x.xlsx"), UsageError);
  CHECK_THROWS_AS(OutputFile((folder.path / "nowhere" / "x.csv").string(), Format::table), UsageError);
  CHECK_THROWS_AS(OutputFile((folder.path / "x").string(), Format::table), UsageError);

  const fs::path path = folder.path / "x.json";
  std::ofstream(path) << "old";
  const OutputFile file(path.string(), Format::table);
  CHECK(read_file(path) == "old");
  file.write(std::vector<Result>{full_result()}, {});
  CHECK(OrderedJson::parse(read_file(path)).size() == 1);
}

TEST_CASE("what the machine says of itself") {
  const Environment e = capture_environment();
  CHECK(e.physical_cores >= 1);
  CHECK(e.logical_cores >= e.physical_cores);
  CHECK(e.memory_bytes > 1 << 28);
  CHECK(e.available_memory_bytes > 0);
  CHECK(e.available_memory_bytes <= e.memory_bytes);
  CHECK(e.host_hash.size() == 16);
  CHECK_FALSE(e.cpu.empty());
  CHECK(cpu_device_name().find(e.cpu) == 0);
  CHECK(peak_process_bytes() > 1 << 20);
  CHECK(std::regex_match(utc_now(), std::regex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")));
}

TEST_CASE("results/README.md explains every field in the words of the table") {
  const std::string readme = read_file(fs::path(RINGBENCH_SOURCE_DIR) / "results/README.md");
  for (const Field& field : result_fields()) {
    INFO(field.name);
    CHECK(readme.find("| `" + std::string(field.name) + "` | " + std::string(field.meaning) + " |\n") !=
          std::string::npos);
    CHECK(field.meaning.ends_with('.'));
  }
}
