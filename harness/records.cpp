// records.cpp: see records.h. Records are read by a parser of their own: they are flat and their fields come in the
// order of the table, so that a run of 100,000 of them takes seconds. Everything else goes through nlohmann.
#include "harness/records.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "harness/loose_json.h"
#include "harness/words.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view record_schema = "ringbench.point/1", run_schema = "ringbench.run/1";

// --- JSON, as far as a record needs it ---

struct BrokenJson {
  std::string what;
  bool at_end;  // the text ended where more was expected: a line that was cut off
};

// A place in one line. Each function reads one thing and stands behind it; throws BrokenJson.
class Scanner {
 public:
  explicit Scanner(std::string_view line) : begin_(line.data()), at_(begin_), end_(at_ + line.size()) {}

  // The next character that is no white space; not taken.
  char peek() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\r' || *at_ == '\n')) ++at_;
    if (at_ == end_) throw BrokenJson{"it ends too soon", true};
    return *at_;
  }
  void expect(char c) {
    if (peek() != c) fail(std::string("'") + c + "'");
    ++at_;
  }
  bool take(char c) {
    const bool there = peek() == c;
    if (there) ++at_;
    return there;
  }
  void expect_end() {
    while (at_ < end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\r' || *at_ == '\n')) ++at_;
    if (at_ != end_) fail("the end of the line");
  }

  // Without escapes, a view of the line; else of `text`, which it is decoded into.
  std::string_view string(std::string& text) {
    expect('"');
    const char* from = at_;
    while (at_ < end_ && *at_ != '"' && *at_ != '\\')
      if (*at_ >= ' ')  // signed: below are control characters and all that is not ASCII
        ++at_;
      else
        take_text_character();
    if (at_ < end_ && *at_ == '"') return {from, static_cast<size_t>(at_++ - from)};
    text.assign(from, at_);
    while (true) {
      if (at_ == end_) throw BrokenJson{"it ends within a string", true};
      if (*at_ == '"') return ++at_, std::string_view(text);
      if (*at_ == '\\') {
        unescape(text);
      } else {
        const char* character = at_;
        take_text_character();
        text.append(character, at_);
      }
    }
  }

  // An integer if it is written as one and fits, else a double.
  Value number() {
    const char* from = at_;
    if (at_ < end_ && *at_ == '-') ++at_;
    if (at_ < end_ && *at_ == '0')
      ++at_;
    else
      digits();
    bool whole = true;
    if (at_ < end_ && *at_ == '.') whole = false, ++at_, digits();
    if (at_ < end_ && (*at_ == 'e' || *at_ == 'E')) {
      whole = false, ++at_;
      if (at_ < end_ && (*at_ == '+' || *at_ == '-')) ++at_;
      digits();
    }
    int64_t integer = 0;
    if (whole && std::from_chars(from, at_, integer).ec == std::errc()) return integer;
    double number = 0;
    const auto error = std::from_chars(from, at_, number).ec;
    if (error != std::errc::result_out_of_range) return number;
    const Json rounded = Json::parse(from, at_, nullptr, false);  // nearly 0 is 0
    if (rounded.is_discarded()) throw BrokenJson{"a number is too large", false};
    return rounded.get<double>();
  }

  // Any scalar; arrays of numbers or of strings, where null is not a number (NaN).
  Value value() {
    switch (peek()) {
      case '"': {
        std::string text;
        return std::string(string(text));
      }
      case '[': return array();
      case 't': return literal("true"), true;
      case 'f': return literal("false"), false;
      case 'n': return literal("null"), Value();
      default: return number();
    }
  }

  void skip_value(int depth = 0) {
    if (depth > 64) throw BrokenJson{"it is nested too deep", false};
    std::string text;
    const char open = peek();
    if (open == '"') {
      string(text);
    } else if (open == '{' || open == '[') {
      const char close = open == '{' ? '}' : ']';
      ++at_;
      if (take(close)) return;
      do {
        if (open == '{') string(text), expect(':');
        skip_value(depth + 1);
      } while (take(','));
      expect(close);
    } else if (open == 't' || open == 'f' || open == 'n') {
      literal(open == 't' ? "true" : open == 'f' ? "false" : "null");
    } else {
      number();
    }
  }

 private:
  [[noreturn]] void fail(const std::string& expected) const {
    if (at_ == end_) throw BrokenJson{"it ends too soon", true};
    throw BrokenJson{"character " + std::to_string(at_ - begin_ + 1) + " should be " + expected, false};
  }
  void literal(std::string_view word) {
    const auto left = static_cast<size_t>(end_ - at_);
    if (std::string_view(at_, std::min(left, word.size())) != word.substr(0, left)) fail("a value");
    if (left < word.size()) throw BrokenJson{"it ends too soon", true};
    at_ += word.size();
  }
  void digits() {
    const char* from = at_;
    while (at_ < end_ && *at_ >= '0' && *at_ <= '9') ++at_;
    if (at_ == from) fail("a value");
  }

  Value array() {
    ++at_;
    if (take(']')) return Numbers();  // of whatever the field holds
    if (peek() == '"') {
      Strings strings;
      std::string text;
      do strings.emplace_back(string(text));
      while (take(','));
      expect(']');
      return strings;
    }
    Numbers numbers;
    do {
      if (peek() == 'n') {
        literal("null");
        numbers.push_back(std::numeric_limits<double>::quiet_NaN());
      } else {
        const Value one = number();
        const auto* integer = std::get_if<int64_t>(&one);
        numbers.push_back(integer != nullptr ? static_cast<double>(*integer) : std::get<double>(one));
      }
    } while (take(','));
    expect(']');
    return numbers;
  }

  // One character of UTF-8 (RFC 3629): no control character, no overlong form, no surrogate, nothing beyond U+10FFFF.
  void take_text_character() {
    const auto byte = [this](int i) { return i < end_ - at_ ? static_cast<unsigned char>(at_[i]) : 0u; };
    const unsigned first = byte(0);
    if (first < 0x20) fail("text without control characters");
    if (first < 0x80) {
      ++at_;
      return;
    }
    const int more = first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : first < 0xf5 ? 3 : 0;
    if (first < 0xc2 || more == 0) fail("UTF-8");
    if (more >= end_ - at_) throw BrokenJson{"it ends within a character", true};
    const unsigned low = first == 0xe0   ? 0xa0
                         : first == 0xf0 ? 0x90
                                         : 0x80,
                   high = first == 0xed   ? 0x9f
                          : first == 0xf4 ? 0x8f
                                          : 0xbf;
    if (byte(1) < low || byte(1) > high) fail("UTF-8");
    for (int i = 2; i <= more; ++i)
      if (byte(i) < 0x80 || byte(i) > 0xbf) fail("UTF-8");
    at_ += more + 1;
  }

  unsigned hex4() {
    unsigned code = 0;
    if (end_ - at_ < 4) throw BrokenJson{"it ends within a string", true};
    const auto [end, error] = std::from_chars(at_, at_ + 4, code, 16);
    if (error != std::errc() || end != at_ + 4) fail("four hex digits");
    at_ += 4;
    return code;
  }

  void unescape(std::string& text) {
    static constexpr std::string_view letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
    if (++at_ == end_) throw BrokenJson{"it ends within a string", true};
    const char letter = *at_;
    if (const size_t i = letters.find(letter); i != std::string_view::npos) {
      ++at_;
      text += meanings[i];
      return;
    }
    if (letter != 'u') fail("an escape of JSON");
    ++at_;
    unsigned code = hex4();
    if (code >= 0xd800 && code < 0xdc00) {  // the first half of a pair
      if (end_ - at_ < 2) throw BrokenJson{"it ends within a string", true};
      if (at_[0] != '\\' || at_[1] != 'u') fail("the second half of a surrogate pair");
      at_ += 2;
      const unsigned second = hex4();
      if (second < 0xdc00 || second > 0xdfff) fail("the second half of a surrogate pair");
      code = 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00);
    } else if (code >= 0xdc00 && code <= 0xdfff) {
      fail("a character");
    }
    const auto tail = [&](int shift) { text += static_cast<char>(0x80 | ((code >> shift) & 0x3f)); };
    if (code < 0x80)
      text += static_cast<char>(code);
    else if (code < 0x800)
      text += static_cast<char>(0xc0 | code >> 6), tail(0);
    else if (code < 0x10000)
      text += static_cast<char>(0xe0 | code >> 12), tail(6), tail(0);
    else
      text += static_cast<char>(0xf0 | code >> 18), tail(12), tail(6), tail(0);
  }

  const char *begin_, *at_, *end_;
};

// --- From JSON to a Result ---

// Fields that hold one of a few words; result.schema.json says the same, and a test compares the two.
struct Words {
  std::string_view field;
  std::vector<std::string_view> allowed;
};
const std::vector<Words>& worded_fields() {
  static const std::vector<Words> fields = {
      {"status", {"ok", "estimated", "oom", "oom_predicted", "timeout", "skipped", "error"}},
      {"phase", {"prefill", "decode", "e2e", "eval"}},
      {"slope_layer_offset", {"0", "1", "mlx"}},
      {"depth_fill", {"real", "synthetic"}},
      {"method", {"measured", "estimated"}},
      {"stop", {"ci", "budget", "fixed"}},
      {"estimator", {"chunk", "group"}},
      {"bound", {"compute", "memory", "launch"}},
      {"mfu_params", {"active", "active_non_embedding"}},
      {"peak_source", {"calibrated", "datasheet-dense", "user"}},
      {"parity", {"pass", "partial", "stale", "fail", "none"}}};
  return fields;
}

// The words of each field of the table; null where it holds anything.
const std::vector<const Words*>& words_by_field() {
  static const auto table = [] {
    std::vector<const Words*> by_field;
    for (const Field& field : result_fields()) {
      const Words* words = nullptr;
      for (const Words& w : worded_fields())
        if (w.field == field.name) words = &w;
      by_field.push_back(words);
    }
    return by_field;
  }();
  return table;
}

// The field of a name, or their number. They come in order: `expected` is tried first.
size_t field_index(std::string_view name, size_t expected) {
  const std::span<const Field> fields = result_fields();
  if (expected < fields.size() && fields[expected].name == name) return expected;
  static const auto by_name = [] {
    std::unordered_map<std::string_view, size_t> index;
    for (size_t i = 0; i < result_fields().size(); ++i) index.emplace(result_fields()[i].name, i);
    return index;
  }();
  const auto found = by_name.find(name);
  return found == by_name.end() ? fields.size() : found->second;
}

std::string type_text(const Field& field) {
  const std::string type(field.type == "numbers"   ? "an array of numbers"
                         : field.type == "strings" ? "an array of strings"
                         : field.type == "integer" ? "an integer"
                                                   : "a " + std::string(field.type));
  return type + (field.nullable ? " or null" : "");
}

void set_field(Result& result, size_t index, Value&& value, const std::string& source) {
  const Field& field = result_fields()[index];
  if (field.type == "strings")
    if (const auto* numbers = std::get_if<Numbers>(&value); numbers != nullptr && numbers->empty()) value = Strings();
  if (const Words* words = words_by_field()[index])
    if (const auto* word = std::get_if<std::string>(&value);
        word != nullptr && std::find(words->allowed.begin(), words->allowed.end(), *word) == words->allowed.end())
      throw UsageError(source + ": " + std::string(field.name) + " is '" + *word + "'; it can be " +
                       join({words->allowed.begin(), words->allowed.end()}, ", ") + ".");
  if (!field.set(result, std::move(value)))
    throw UsageError(source + ": " + std::string(field.name) + " is not " + type_text(field) + ".");
}

// Of the object on a line; empty if it names none.
std::string schema_of(std::string_view line) {
  Scanner scan(line);
  std::string name_text, value_text;
  scan.expect('{');
  if (scan.take('}')) return "";
  do {
    const bool here = scan.string(name_text) == "schema";
    scan.expect(':');
    if (here && scan.peek() == '"') return std::string(scan.string(value_text));
    scan.skip_value();
  } while (scan.take(','));
  return "";
}

// What a reader of other versions says.
UsageError other_schema(const std::string& source, const std::string& found, std::string_view expected) {
  return UsageError(
      source + ": " +
          (found.empty() ? "this is no record: it names no schema."
                         : "its schema is '" + found + "'; this program reads '" + std::string(expected) + "'."),
      "Read it with the ringbench that wrote it: 'commit' in its run.json.");
}

void check_complete(const std::vector<bool>& seen, const std::string& source) {
  const std::span<const Field> fields = result_fields();
  for (size_t i = 0; i < fields.size(); ++i)
    if (!fields[i].nullable && !seen[i]) throw UsageError(source + ": " + std::string(fields[i].name) + " is missing.");
}

// The record on a line whose schema is ours.
Result read_line(std::string_view line, const std::string& source, Strings* unknown) {
  Result result;
  std::vector<bool> seen(result_fields().size());
  Scanner scan(line);
  std::string name_text;
  size_t next = 0;
  scan.expect('{');
  do {
    const std::string_view name = scan.string(name_text);
    const size_t index = field_index(name, next);
    scan.expect(':');
    if (index < result_fields().size()) {
      if (seen[index]) throw UsageError(source + ": " + std::string(name) + " is there twice.");
      seen[index] = true;
      next = index + 1;
      if (scan.peek() == '{') throw UsageError(source + ": " + std::string(name) + " is an object; records are flat.");
      set_field(result, index, scan.value(), source);
    } else if (name.starts_with("tag_")) {
      const std::string tag(name.substr(4));
      Value value = scan.value();
      if (!std::holds_alternative<std::string>(value)) throw UsageError(source + ": tag_" + tag + " is not a string.");
      result.tags[tag] = std::get<std::string>(std::move(value));
    } else {
      if (unknown != nullptr && std::find(unknown->begin(), unknown->end(), name) == unknown->end())
        unknown->emplace_back(name);
      scan.skip_value();
    }
  } while (scan.take(','));
  scan.expect('}');
  scan.expect_end();
  check_complete(seen, source);
  return result;
}

[[noreturn]] void refuse_line(const std::string& source, const BrokenJson& broken) {
  throw UsageError(source + ": this is no JSON: " + broken.what + ".",
                   "If it was edited by hand: 'ringbench runs verify RUN' says which lines were.");
}

// --- Files ---

fs::path points_of(const fs::path& path) {
  if (!fs::is_directory(path)) return path;
  if (fs::path points = path / "points.jsonl"; fs::exists(points)) return points;
  throw UsageError("'" + path.string() + "' holds no points.jsonl: it is no run's folder.",
                   "List the runs with: ringbench runs list");
}

bool blank(const std::string& line) { return line.find_first_not_of(" \t\r") == std::string::npos; }

}  // namespace

Result parse_record(std::string_view line, const std::string& source) {
  try {
    if (const std::string schema = schema_of(line); schema != record_schema)
      throw other_schema(source, schema, record_schema);
    return read_line(line, source, nullptr);
  } catch (const BrokenJson& broken) {
    refuse_line(source, broken);
  }
}

void for_each_record(const fs::path& path, const std::function<void(Result&&)>& visit, ReadNotes* notes) {
  const fs::path file = points_of(path);
  std::vector<char> buffer(1 << 20);
  std::ifstream in;
  in.rdbuf()->pubsetbuf(buffer.data(), static_cast<std::streamsize>(buffer.size()));
  in.open(file, std::ios::binary);
  if (!in) throw UsageError("cannot read '" + file.string() + "': " + std::strerror(errno) + ".");
  ReadNotes unused;
  ReadNotes& met = notes != nullptr ? *notes : unused;
  std::string line;
  for (int64_t number = 1; std::getline(in, line); ++number) {
    if (blank(line)) continue;
    const std::string source = file.string() + ":" + std::to_string(number);
    try {
      const std::string schema = schema_of(line);
      if (schema.starts_with("ringbench.") && !schema.starts_with("ringbench.point/")) continue;
      if (schema != record_schema) throw other_schema(source, schema, record_schema);
      Result result = read_line(line, source, &met.unknown_fields);
      ++met.lines;
      visit(std::move(result));
    } catch (const BrokenJson& broken) {
      met.torn_line = broken.at_end && in.eof();  // no newline: whoever wrote it did not finish
      if (!met.torn_line) refuse_line(source, broken);
    }
  }
  if (in.bad()) throw Failure(ExitCode::environment, "reading '" + file.string() + "' failed.");
}

constexpr uintmax_t kRecordBytes = 3000;  // in a file, about: records take as much in memory, so few are moved again

std::vector<Result> read_records(const fs::path& path, ReadNotes* notes) {
  std::vector<Result> results;
  std::error_code unknown;  // then nothing is reserved, and what is wrong is said below
  if (const auto bytes = fs::file_size(points_of(path), unknown); !unknown) results.reserve(bytes / kRecordBytes);
  std::unordered_map<std::string, size_t> places;
  int64_t replaced = 0;
  for_each_record(
      path,
      [&](Result&& result) {
        const auto [place, fresh] = places.emplace(record_key(result), results.size());
        if (fresh) {
          results.push_back(std::move(result));
        } else {
          results[place->second] = std::move(result);
          ++replaced;
        }
      },
      notes);
  if (notes != nullptr) notes->replaced += replaced;
  return results;
}

std::string record_key(const Result& result) {
  std::string key = result.point_id;
  for (const std::string* part : {&result.engine, &result.dtype, &result.metric}) key += " " + *part;
  return key + " " + (result.chunk ? std::to_string(*result.chunk) : "-");
}

// --- Runs ---

RunInfo read_run(const fs::path& folder) {
  const fs::path file = folder / "run.json";
  std::ifstream in(file);
  if (!in)
    throw UsageError("'" + folder.string() + "' holds no run.json: it is no run's folder.",
                     "List the runs with: ringbench runs list");
  const Json json = Json::parse(in, nullptr, false);
  if (!json.is_object()) throw UsageError(file.string() + ": this is no JSON object; the run cannot be read.");
  if (const std::string schema = text_at(json, "schema"); schema != run_schema)
    throw other_schema(file.string(), schema, run_schema);
  RunInfo run;
  run.path = folder;
  run.id = text_at(json, "run_id");
  if (run.id.empty()) throw UsageError(file.string() + ": run_id is missing.");
  run.command = text_at(json, "command");
  run.started = text_at(json, "started");
  run.ended = text_at(json, "ended");
  if (const auto code = json.find("exit_code"); code != json.end() && code->is_number_integer())
    run.exit_code = code->get<int64_t>();
  if (const auto counts = json.find("counts"); counts != json.end() && counts->is_object())
    for (const auto& [status, count] : counts->items())
      if (count.is_number_integer()) run.counts[status] = count.get<int64_t>();
  if (const auto argv = json.find("argv"); argv != json.end() && argv->is_array())
    for (const Json& word : *argv)
      if (word.is_string()) run.argv.push_back(word.get<std::string>());
  if (const auto environment = json.find("environment"); environment != json.end() && environment->is_object()) {
    run.environment_json = environment->dump();
    run.commit = text_at(*environment, "commit");
    run.device = text_at(*environment, "cpu");
  }
  for (const auto& [key, member] : {std::pair{"device", &run.device}, {"commit", &run.commit}})
    if (const std::string text = text_at(json, key); !text.empty()) *member = text;
  return run;
}

std::vector<RunInfo> list_runs(const fs::path& results) {
  std::vector<RunInfo> runs;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(results, error)) {
    if (!fs::exists(entry.path() / "run.json", error)) continue;
    try {
      runs.push_back(read_run(entry.path()));
    } catch (const UsageError&) {
      continue;  // of another version, or damaged: named when it is asked for
    }
  }
  // `started` has seconds; plan.json is written once, when a run is made.
  const auto made = [&](const RunInfo& run) { return fs::last_write_time(run.path / "plan.json", error); };
  std::sort(runs.begin(), runs.end(), [&](const RunInfo& a, const RunInfo& b) {
    return std::tuple(a.started, made(a), a.id) < std::tuple(b.started, made(b), b.id);
  });
  return runs;
}

fs::path find_run(const std::string& run, const fs::path& results) {
  std::error_code error;
  if (!run.empty()) {
    const fs::path path(run);
    if (fs::is_regular_file(path, error) || fs::exists(path / "points.jsonl", error) ||
        fs::exists(path / "run.json", error))
      return path;
    if (fs::exists(results / path / "run.json", error) || fs::exists(results / path / "points.jsonl", error))
      return results / path;
  }
  const std::vector<RunInfo> runs = list_runs(results);
  if (run.empty()) {
    if (!runs.empty()) return runs.back().path;
    throw UsageError("there is no run in '" + results.string() + "'.",
                     "Make one (ringbench throughput --ctx 8k), or name another folder with --results.");
  }
  Strings ids;
  for (const RunInfo& known : runs) ids.push_back(known.id);
  const std::string near = nearest_word(run, ids);
  throw UsageError("'" + run + "' is no run: neither an id in '" + results.string() +
                       "', nor a run's folder or .jsonl file." + (near.empty() ? "" : " Did you mean " + near + "?"),
                   "List the runs with: ringbench runs list");
}

}  // namespace ringbench
