// Records read back: all that writers write, nothing that is no record, and what a run's folder says of itself.
#include "harness/records.h"

#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>

#include "tests/catch.h"
#include "tests/checks.h"
#include "tests/folder.h"

using namespace ringbench;
namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

namespace {

Result some_result() {
  Result r;
  r.point_id = "b3f0c2a1d4e59876";
  r.phase = "prefill";
  r.engine = "reference";
  r.dtype = "f32";
  r.slope_layer_offset = "0";
  r.metric = "ttft_s";
  r.value = 1.5;
  r.chunk = 512;
  return r;
}

// Something in every field, told from every other.
Result every_field() {
  Result r = some_result();
  double counter = 1;
  for (const Field& field : result_fields()) {
    counter += 1;
    const OrderedJson json = OrderedJson::parse(to_json_line(r))[std::string(field.name)];
    if (json.is_string()) continue;  // has its word
    Value value = counter + 0.125;
    if (field.type == "integer") value = static_cast<int64_t>(counter);
    if (field.type == "boolean") value = true;
    if (field.type == "string") value = std::string(field.name);
    if (field.type == "numbers") value = Numbers{counter, 1.0 / 3, 5e-324, 1.7976931348623157e308};
    if (field.type == "strings") value = Strings{"a", "b \"quoted\" \\ \n \t \x01 é 木 😀"};
    if (field.name == "depth_fill") value = std::string("real");
    if (field.name == "stop") value = std::string("ci");
    if (field.name == "estimator") value = std::string("chunk");
    if (field.name == "bound") value = std::string("memory");
    if (field.name == "mfu_params") value = std::string("active");
    if (field.name == "peak_source") value = std::string("user");
    REQUIRE(field.set(r, std::move(value)));
  }
  r.tags = {{"note", "x, \"y\"\n"}, {"b", ""}};
  return r;
}

// The one line of a refusal; empty if `line` is a record.
std::string record_refusal(const std::string& line) {
  try {
    parse_record(line, "points.jsonl:7");
  } catch (const UsageError& e) {
    return e.what();
  }
  return "";
}

std::string with(const char* field, const OrderedJson& value) {
  OrderedJson record = OrderedJson::parse(to_json_line(some_result()));
  record[field] = value;
  return record.dump();
}

// A run's folder in `results` with so many records.
fs::path write_run(const fs::path& results, const std::string& id, const std::string& started, int records = 1) {
  fs::create_directories(results / id);
  write_file(results / id / "run.json", OrderedJson{{"schema", "ringbench.run/1"},
                                                    {"run_id", id},
                                                    {"command", "prefill"},
                                                    {"argv", {"ringbench", "prefill"}},
                                                    {"started", started},
                                                    {"ended", nullptr},
                                                    {"exit_code", nullptr},
                                                    {"counts", {{"ok", records}}},
                                                    {"environment", {{"commit", "abc1234"}, {"cpu", "a CPU"}}}}
                                            .dump(2));
  std::string points;
  for (int i = 0; i < records; ++i) {
    Result r = some_result();
    r.ctx = i;
    r.point_id.back() = "0123456789abcdef"[i];
    points += to_json_line(r) + "\n";
  }
  write_file(results / id / "points.jsonl", points);
  return results / id;
}

}  // namespace

TEST_CASE("a record survives writing and reading, every field and bit of it") {
  const Result r = every_field();
  const std::string line = to_json_line(r);
  for (const Field& field : result_fields())
    CHECK_FALSE(OrderedJson::parse(line)[std::string(field.name)].is_null());  // so that no reader can skip one
  CHECK(to_json_line(parse_record(line, "here")) == line);
  const std::string bare = to_json_line(some_result());
  CHECK(to_json_line(parse_record(bare, "here")) == bare);

  std::mt19937_64 random(5);
  Result numbers = some_result();
  while (numbers.samples.size() < 500) {
    const double x = std::bit_cast<double>(random());
    if (std::isfinite(x)) numbers.samples.push_back(x);
  }
  CHECK(parse_record(to_json_line(numbers), "here").samples == numbers.samples);
}

TEST_CASE("numbers that are none come back as none: null, and NaN within samples") {
  Result r = some_result();
  r.value = std::nan("");
  r.samples = {1, std::numeric_limits<double>::infinity()};
  const Result back = parse_record(to_json_line(r), "here");
  CHECK_FALSE(back.value);
  REQUIRE(back.samples.size() == 2);
  CHECK(back.samples[0] == 1);
  CHECK(std::isnan(back.samples[1]));
}

TEST_CASE("fields may come in any order, spaced, with integers for numbers, and with some that are not known") {
  const OrderedJson record = OrderedJson::parse(to_json_line(every_field()));
  OrderedJson reversed;
  std::vector<std::string> names;
  for (const auto& [name, value] : record.items()) names.insert(names.begin(), name);
  for (const std::string& name : names) reversed[name] = record[name];
  reversed["of_a_later_version"] = {{"deep", {1, "x", nullptr, {{"er", true}}}}};
  CHECK(OrderedJson::parse(to_json_line(parse_record(reversed.dump(2), "here"))) == record);
  CHECK(parse_record(with("value", 2), "here").value == 2.0);
  CHECK(parse_record(with("samples", {1, 2}), "here").samples == Numbers{1, 2});
  CHECK(parse_record(with("value", nullptr), "here").value == std::nullopt);
  OrderedJson escaped = OrderedJson::parse(to_json_line(some_result()));
  escaped["model"] = "é 木 😀 / \\ \" \b\f\n\r\t";
  CHECK(parse_record(escaped.dump(-1, ' ', true), "here").model == escaped["model"].get<std::string>());
}

TEST_CASE("what is no record is refused with file, line and field") {
  CHECK(record_refusal(to_json_line(some_result())).empty());
  CHECK(record_refusal(with("value", "fast")) == "points.jsonl:7: value is not a number or null.");
  CHECK(record_refusal(with("ctx", 1.5)) == "points.jsonl:7: ctx is not an integer.");
  CHECK(record_refusal(with("ctx", nullptr)) == "points.jsonl:7: ctx is not an integer.");
  CHECK(record_refusal(with("ctx", 1e300)) == "points.jsonl:7: ctx is not an integer.");
  CHECK(record_refusal(with("samples", {"1"})) == "points.jsonl:7: samples is not an array of numbers.");
  CHECK(record_refusal(with("kernels", {1})) == "points.jsonl:7: kernels is not an array of strings.");
  CHECK(record_refusal(with("interleaved", 1)) == "points.jsonl:7: interleaved is not a boolean.");
  CHECK(contains(record_refusal(with("ctx", OrderedJson::object())), "ctx is an object; records are flat"));
  CHECK(contains(record_refusal(with("status", "fine")), "status is 'fine'; it can be ok, estimated, oom"));
  CHECK(contains(record_refusal(with("method", "guessed")), "method is 'guessed'; it can be measured, estimated."));
  CHECK(record_refusal(with("tag_x", 1)) == "points.jsonl:7: tag_x is not a string.");
  CHECK(record_refusal(with("schema", "ringbench.point/2")) ==
        "points.jsonl:7: its schema is 'ringbench.point/2'; this program reads 'ringbench.point/1'.");
  CHECK(contains(record_refusal("{}"), "it names no schema"));

  const std::string line = to_json_line(some_result());
  CHECK(contains(record_refusal(line.substr(0, line.size() / 2)), "points.jsonl:7: this is no JSON: it ends"));
  CHECK(contains(record_refusal(line + "x"), "should be the end of the line"));
  CHECK(contains(record_refusal("[1]"), "character 1 should be '{'"));
  std::string twice = line;
  twice.insert(1, "\"ctx\":1,");
  CHECK(contains(record_refusal(twice), "ctx is there twice"));
  for (const Field& field : result_fields()) {
    OrderedJson without = OrderedJson::parse(line);
    without.erase(std::string(field.name));
    const std::string said = record_refusal(without.dump());
    if (field.name == "schema")
      CHECK(contains(said, "names no schema"));
    else
      CHECK(said == (field.nullable ? "" : "points.jsonl:7: " + std::string(field.name) + " is missing."));
  }
}

TEST_CASE("what is JSON to nlohmann is JSON here, and nothing else") {
  const std::string line = to_json_line(every_field());
  std::mt19937_64 random(9);
  int good = 0;
  for (int i = 0; i < 4000; ++i) {
    std::string text = line;
    for (uint64_t changes = random() % 3 + 1; changes > 0; --changes) {
      const size_t at = random() % text.size();
      static constexpr std::string_view bytes = "\"\\{}[],:0123456789.eE+-untrfalse \x01\x7f\x80\xc3\xa9\xed\xf4\xff";
      if (random() % 3 == 0)
        text.erase(at, random() % 4);
      else
        text[at] = bytes[random() % bytes.size()];
    }
    const bool json = OrderedJson::accept(text);
    const std::string said = record_refusal(text);
    INFO(text << "\n" << said);
    if (json) CHECK_FALSE(contains(said, "this is no JSON: "));  // perhaps of a wrong type
    if (!json) CHECK_FALSE(said.empty());
    good += said.empty();
  }
  CHECK(good > 200);
  CHECK(good < 3800);
}

TEST_CASE("the words that fields may hold are those of the schema that ships") {
  const OrderedJson schema =
      OrderedJson::parse(read_file(fs::path(RINGBENCH_SOURCE_DIR) / "configs" / "result.schema.json"));
  int worded = 0;
  for (const auto& [name, rule] : schema["properties"].items()) {
    if (!rule.contains("enum") || name == "schema") continue;
    ++worded;
    Strings allowed;
    for (const OrderedJson& word : rule["enum"])
      if (word.is_string()) allowed.push_back(word.get<std::string>());
    for (const std::string& word : allowed) CHECK(record_refusal(with(name.c_str(), word)).empty());
    CHECK(contains(record_refusal(with(name.c_str(), "something else")), "it can be " + join(allowed, ", ") + "."));
  }
  CHECK(worded == 11);
}

TEST_CASE("a file: later lines take the place of earlier ones, the torn last line is left out and said") {
  Folder folder;
  const fs::path file = folder.path / "x.jsonl";
  Result first = some_result(), second = some_result(), retried = some_result();
  first.status = "error";
  first.value = std::nullopt;
  second.point_id = "0000000000000002";
  const std::string line = to_json_line(second);
  const std::string whole = to_json_line(first) + "\n" + line + "\r\n\n" +
                            R"({"schema": "ringbench.kernel/1", "op": "gemm", "deep": {"x": [1, 2]}})" + "\n" +
                            to_json_line(retried) + "\n";
  for (const size_t cut : {size_t{1}, size_t{9}, line.size() / 2, line.size() - 1}) {
    write_file(file, whole + line.substr(0, cut));
    ReadNotes notes;
    const auto results = read_records(file, &notes);
    REQUIRE(results.size() == 2);
    CHECK(results[0].status == "ok");  // the retry, in the first one's place
    CHECK(results[1].point_id == "0000000000000002");
    CHECK(notes.lines == 3);
    CHECK(notes.replaced == 1);
    CHECK(notes.torn_line);
  }
  ReadNotes notes;
  write_file(file, whole + line);  // whole but for its newline
  CHECK(read_records(file, &notes).size() == 2);
  CHECK_FALSE(notes.torn_line);
  CHECK(notes.replaced == 2);

  // Torn in the middle, or broken otherwise, is no accident of the last write.
  const auto said = [&] {
    try {
      read_records(file);
    } catch (const UsageError& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  write_file(file, line + "\n" + line.substr(0, 50) + "\n" + line + "\n");
  CHECK(contains(said(), "x.jsonl:2: this is no JSON"));
  write_file(file, line + "\n" + "{]");
  CHECK(contains(said(), "x.jsonl:2: this is no JSON"));
  write_file(file, line + "\n" + line.substr(0, 50) + "\n");
  CHECK(contains(said(), "x.jsonl:2: this is no JSON"));
  write_file(file, R"({"schema": "other.point/1"})");
  CHECK(contains(said(), "x.jsonl:1: its schema is 'other.point/1'"));
  write_file(file, "");
  CHECK(read_records(file).empty());

  int64_t seen = 0;
  write_file(file, whole);
  for_each_record(file, [&](Result&&) { ++seen; });
  CHECK(seen == 3);
  write_file(file, with("of_later", 1) + "\n" + with("of_later", 2) + "\n");
  ReadNotes later;
  read_records(file, &later);
  CHECK(later.unknown_fields == Strings{"of_later"});
}

TEST_CASE("a run is found by id, by folder, by file, or as the latest") {
  Folder folder;
  const fs::path results = folder.path / "runs";
  const auto said = [&](const std::string& run) {
    try {
      find_run(run, results);
    } catch (const UsageError& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  CHECK(contains(said(""), "there is no run in '" + results.string() + "'"));
  const std::string early = "20260101T120000Z-prefill-0001", late = "20260102T120000Z-prefill-0002";
  write_run(results, late, "2026-01-02T12:00:00Z", 3);
  write_run(results, early, "2026-01-01T12:00:00Z");
  fs::create_directories(results / "parity");
  write_run(results, "broken", "");
  write_file(results / "broken" / "run.json", "{");
  write_run(results, "later", "");
  write_file(results / "later" / "run.json", R"({"schema": "ringbench.run/2", "run_id": "later"})");

  const auto runs = list_runs(results);
  REQUIRE(runs.size() == 2);
  CHECK(runs[0].id == early);
  CHECK(runs[1].id == late);
  CHECK(runs[1].counts.at("ok") == 3);
  CHECK(runs[1].commit == "abc1234");
  CHECK(runs[1].device == "a CPU");
  CHECK(runs[1].argv == Strings{"ringbench", "prefill"});
  CHECK_FALSE(runs[1].exit_code);
  CHECK(OrderedJson::parse(runs[1].environment_json)["cpu"] == "a CPU");

  CHECK(find_run("", results) == results / late);
  CHECK(find_run(early, results) == results / early);
  CHECK(find_run((results / early).string(), "elsewhere") == results / early);
  CHECK(find_run((results / early / "points.jsonl").string(), "elsewhere") == results / early / "points.jsonl");
  CHECK(read_records(find_run(late, results)).size() == 3);
  CHECK(contains(said("20260101T120000Z-prefill-0003"), "Did you mean " + early + "?"));
  CHECK(contains(said("nonsense"), "'nonsense' is no run: neither an id in"));
  try {
    read_run(results / "later");
    FAIL("another schema was read");
  } catch (const UsageError& e) {
    CHECK(contains(e.what(), "its schema is 'ringbench.run/2'; this program reads 'ringbench.run/1'."));
  }
  CHECK_THROWS_AS(read_run(folder.path), UsageError);
  CHECK_THROWS_AS(read_run(results / "broken"), UsageError);
  CHECK_THROWS_AS(read_records(folder.path), UsageError);
  CHECK_THROWS_AS(read_records(folder.path / "none.jsonl"), UsageError);
}
