// result.cpp: see result.h. The table of fields first; each writer is a walk over it.
#include "harness/result.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "harness/environment.h"
#include "harness/table.h"

namespace ringbench {

using Json = nlohmann::ordered_json;

// --- The table of fields ---

namespace {

template <class T> struct FieldType;
template <> struct FieldType<std::string> { static constexpr std::string_view name = "string"; };
template <> struct FieldType<int64_t> { static constexpr std::string_view name = "integer"; };
template <> struct FieldType<double> { static constexpr std::string_view name = "number"; };
template <> struct FieldType<bool> { static constexpr std::string_view name = "boolean"; };
template <> struct FieldType<Numbers> { static constexpr std::string_view name = "numbers"; };
template <> struct FieldType<Strings> { static constexpr std::string_view name = "strings"; };

template <class T> Value to_value(const T& value) { return value; }
template <class T> Value to_value(const Maybe<T>& value) { return value ? Value(*value) : Value(); }

template <class T> bool from_value(T& field, Value&& value) {
  if (auto* same = std::get_if<T>(&value)) return field = std::move(*same), true;
  if constexpr (std::is_same_v<T, double>)
    if (const auto* integer = std::get_if<int64_t>(&value)) return field = static_cast<double>(*integer), true;
  return false;
}
template <class T> bool from_value(Maybe<T>& field, Value&& value) {
  if (std::holds_alternative<std::monostate>(value)) return field.reset(), true;
  T inner{};
  if (!from_value(inner, std::move(value))) return false;
  field = std::move(inner);
  return true;
}

template <class T> struct Unwrapped {
  using type = T;
  static constexpr bool nullable = false;
};
template <class T> struct Unwrapped<Maybe<T>> {
  using type = T;
  static constexpr bool nullable = true;
};

template <auto member> constexpr Field field(std::string_view name, std::string_view group) {
  using Type = Unwrapped<std::remove_cvref_t<decltype(std::declval<Result>().*member)>>;
  return {name,
          FieldType<typename Type::type>::name,
          Type::nullable,
          group,
          [](const Result& r) { return to_value(r.*member); },
          [](Result& r, Value&& value) { return from_value(r.*member, std::move(value)); }};
}

#define FIELD(group, name) field<&Result::name>(#name, group)

constexpr Field fields[] = {
    FIELD("identity", schema),
    FIELD("identity", run_id),
    FIELD("identity", point_id),
    FIELD("identity", status),
    FIELD("identity", experiment),
    FIELD("identity", phase),
    FIELD("identity", engine),
    FIELD("identity", date),
    FIELD("model", model),
    FIELD("model", config_sha),
    FIELD("model", hybrid),
    FIELD("model", layers),
    FIELD("model", linear_layers),
    FIELD("model", softmax_layers),
    FIELD("model", slope_layer_offset),
    FIELD("model", params_total),
    FIELD("model", params_active),
    FIELD("model", params_active_non_embedding),
    FIELD("model", weights),
    FIELD("model", weights_fingerprint),
    FIELD("model", seed),
    FIELD("workload", ctx),
    FIELD("workload", ctx_label),
    FIELD("workload", gen),
    FIELD("workload", batch),
    FIELD("workload", memory_limit_bytes),
    FIELD("workload", chunk),
    FIELD("workload", dtype),
    FIELD("workload", kv_dtype),
    FIELD("workload", state_dtype),
    FIELD("workload", yarn_factor),
    FIELD("workload", yarn_original),
    FIELD("workload", trained_window),
    FIELD("workload", routing),
    FIELD("workload", depth_fill),
    FIELD("workload", input_seed),
    FIELD("workload", isl_actual),
    FIELD("workload", osl_actual),
    FIELD("workload", threads),
    FIELD("method", method),
    FIELD("method", warmup),
    FIELD("method", stop),
    FIELD("method", interleaved),
    FIELD("estimator", estimator),
    FIELD("estimator", est_points),
    FIELD("estimator", est_query_stride),
    FIELD("estimator", est_work_share),
    FIELD("estimator", est_r2),
    FIELD("estimator", est_residual_max),
    FIELD("estimator", est_anchor_ctx),
    FIELD("estimator", est_anchor_error),
    FIELD("the number", metric),
    FIELD("the number", unit),
    FIELD("the number", value),
    FIELD("the number", ci95_low),
    FIELD("the number", ci95_high),
    FIELD("the number", n),
    FIELD("the number", min),
    FIELD("the number", max),
    FIELD("the number", p90),
    FIELD("the number", p99),
    FIELD("the number", samples),
    FIELD("derived", tok_s),
    FIELD("derived", step_p50_s),
    FIELD("derived", step_p90_s),
    FIELD("derived", step_p99_s),
    FIELD("derived", ttfr_s),
    FIELD("derived", queue_s),
    FIELD("derived", cpu_s),
    FIELD("derived", contention),
    FIELD("derived", logits_hash),
    FIELD("cost model", flops),
    FIELD("cost model", bytes),
    FIELD("cost model", bound),
    FIELD("cost model", predicted_s),
    FIELD("cost model", measured_over_predicted),
    FIELD("cost model", mfu),
    FIELD("cost model", mbu),
    FIELD("cost model", mfu_params),
    FIELD("cost model", peak_tflops),
    FIELD("cost model", peak_gbps),
    FIELD("cost model", peak_source),
    FIELD("memory", weights_bytes),
    FIELD("memory", kv_bytes),
    FIELD("memory", state_bytes),
    FIELD("memory", workspace_bytes),
    FIELD("memory", peak_bytes),
    FIELD("memory", peak_process_bytes),
    FIELD("memory", kv_bytes_analytic),
    FIELD("memory", state_bytes_analytic),
    FIELD("memory", cache_ratio_vs_softmax),
    FIELD("eval", task),
    FIELD("eval", questions),
    FIELD("eval", samples_per_question),
    FIELD("eval", se_question),
    FIELD("eval", se_run),
    FIELD("eval", truncated),
    FIELD("eval", unparsed),
    FIELD("eval", wrong),
    FIELD("eval", published),
    FIELD("eval", tokens_mean),
    FIELD("serving", requests),
    FIELD("serving", waves),
    FIELD("serving", ttft_s),
    FIELD("serving", tpot_s),
    FIELD("serving", itl_p50_s),
    FIELD("serving", itl_p99_s),
    FIELD("serving", concurrency),
    FIELD("serving", rate),
    FIELD("serving", goodput),
    FIELD("serving", retries),
    FIELD("serving", cached_tokens),
    FIELD("serving", server),
    FIELD("experts", experts_hit),
    FIELD("experts", expert_load_max_over_mean),
    FIELD("experts", expert_load_cv),
    FIELD("energy", energy_j),
    FIELD("energy", power_avg_w),
    FIELD("energy", power_idle_w),
    FIELD("energy", energy_j_per_token),
    FIELD("energy", energy_method),
    FIELD("clocks", sm_mhz),
    FIELD("clocks", mem_mhz),
    FIELD("clocks", temp_max_c),
    FIELD("clocks", throttle),
    FIELD("clocks", foreign_processes),
    FIELD("kernels, parity", kernels),
    FIELD("kernels, parity", parity),
    FIELD("kernels, parity", parity_certificate),
    FIELD("kernels, parity", parity_worst),
    FIELD("kernels, parity", parity_depth),
    FIELD("kernels, parity", parity_missing),
    FIELD("verdicts", flags),
    FIELD("verdicts", warnings),
    FIELD("verdicts", error),
    FIELD("verdicts", repro),
    FIELD("provenance", device),
    FIELD("provenance", driver),
    FIELD("provenance", commit),
};

template <class... Cases> struct Overloaded : Cases... { using Cases::operator()...; };
template <class... Cases> Overloaded(Cases...) -> Overloaded<Cases...>;

}  // namespace

std::span<const Field> result_fields() { return fields; }

// --- json, jsonl, csv ---

namespace {

// Numbers that are not finite become null when nlohmann writes them.
Json to_json(const Value& value) {
  return std::visit(
      Overloaded{[](std::monostate) { return Json(nullptr); }, [](const auto& other) { return Json(other); }}, value);
}

// Shortest text that reads back as the same double.
std::string shortest(double value) {
  if (!std::isfinite(value)) return "";
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

std::string to_csv_text(const Value& value) {
  return std::visit(
      Overloaded{[](std::monostate) { return std::string(); }, [](const std::string& text) { return text; },
                 [](bool truth) { return std::string(truth ? "true" : "false"); },
                 [](int64_t number) { return std::to_string(number); }, [](double number) { return shortest(number); },
                 [](const Numbers& numbers) {
                   Strings texts;
                   for (const double x : numbers) texts.push_back(shortest(x));
                   return join(texts, ";");
                 },
                 [](const Strings& texts) { return join(texts, ";"); }},
      value);
}

std::set<std::string> tag_names(std::span<const Result> results) {
  std::set<std::string> names;
  for (const Result& r : results)
    for (const auto& [name, value] : r.tags) names.insert(name);
  return names;
}

void write_csv(std::ostream& out, std::span<const Result> results) {
  const std::set<std::string> tags = tag_names(results);
  Strings cells;
  for (const Field& f : fields) cells.emplace_back(f.name);
  for (const std::string& name : tags) cells.push_back(csv_cell("tag_" + name));
  out << join(cells, ",") << "\n";
  for (const Result& r : results) {
    cells.clear();
    for (const Field& f : fields) cells.push_back(csv_cell(to_csv_text(f.get(r))));
    for (const std::string& name : tags) cells.push_back(r.tags.contains(name) ? csv_cell(r.tags.at(name)) : "");
    out << join(cells, ",") << "\n";
  }
}

// --- sql ---

// A string literal of SQL. It cannot hold a NUL: that ends a statement where it stands.
std::string sql_text(const std::string& text) {
  std::string literal = "'";
  for (const char c : text) literal += c == '\'' ? "''" : c == '\0' ? "\uFFFD" : std::string(1, c);
  return literal + "'";
}

// Arrays as the text of a JSON array, which json_each() takes apart.
std::string sql_value(const Value& value) {
  return std::visit(
      Overloaded{
          [](std::monostate) { return std::string("NULL"); }, [](const std::string& text) { return sql_text(text); },
          [](bool truth) { return std::string(truth ? "1" : "0"); },
          [](int64_t number) { return std::to_string(number); },
          [](double number) { return std::isfinite(number) ? Json(number).dump() : "NULL"; },
          [](const auto& array) { return sql_text(Json(array).dump(-1, ' ', false, Json::error_handler_t::replace)); }},
      value);
}

// One table, made if it is not there, so that several files can be loaded into one database. All or nothing.
void write_sql(std::ostream& out, std::span<const Result> results) {
  Strings columns, declared;
  for (const Field& f : fields) {
    columns.push_back("\"" + std::string(f.name) + "\"");
    declared.push_back("  " + columns.back() +
                       (f.type == "integer" || f.type == "boolean" ? " INTEGER"
                        : f.type == "number"                       ? " REAL"
                                                                   : " TEXT") +
                       (f.nullable ? "" : " NOT NULL"));
  }
  columns.emplace_back("\"tags\"");  // a JSON object: which there are differs from run to run
  declared.emplace_back("  \"tags\" TEXT NOT NULL");
  out << "BEGIN TRANSACTION;\nCREATE TABLE IF NOT EXISTS \"points\" (\n" << join(declared, ",\n") << "\n);\n";
  const std::string insert = "INSERT INTO \"points\" (" + join(columns, ", ") + ") VALUES\n(";
  for (const Result& r : results) {
    Strings values;
    for (const Field& f : fields) values.push_back(sql_value(f.get(r)));
    values.push_back(sql_text(Json(r.tags).dump(-1, ' ', false, Json::error_handler_t::replace)));
    out << insert << join(values, ", ") << ");\n";
  }
  out << "COMMIT;\n";
}

}  // namespace

std::string to_json_line(const Result& result) {
  Json line = Json::object();
  for (const Field& f : fields) line[std::string(f.name)] = to_json(f.get(result));
  for (const auto& [name, value] : result.tags) line["tag_" + name] = value;
  return line.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// --- table, md ---

namespace {

// Four digits, no exponent: 11.92, 797.1, 31042.
std::string four_digits(double value) {
  const int before_point = value > 0 ? std::max(1, static_cast<int>(std::floor(std::log10(value))) + 1) : 1;
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", std::clamp(4 - before_point, 0, 3), value);
  return text;
}

struct TimeUnit {
  double seconds;
  std::string_view name;
};
TimeUnit time_unit(double seconds) {
  if (seconds >= 1) return {1, "s"};
  if (seconds >= 1e-3) return {1e-3, "ms"};
  return {1e-6, "us"};
}

std::string mark(const Result& r) { return r.method == "estimated" ? "~" : ""; }

}  // namespace

std::string time_text(const Result& r) {
  if (!r.value || !std::isfinite(*r.value)) return r.status;
  return mark(r) + seconds_text(*r.value);
}

namespace {

std::string interval_text(const Result& r) {
  for (const Maybe<double>& number : {r.value, r.ci95_low, r.ci95_high})
    if (!number || !std::isfinite(*number)) return "";
  const double unit = time_unit(*r.value).seconds;
  std::string text = "[";
  text += four_digits(*r.ci95_low / unit) + ", ";
  text += four_digits(*r.ci95_high / unit) + "]";
  return text;
}

std::string rate_text(const Result& r) {
  if (!r.tok_s || !std::isfinite(*r.tok_s)) return "";
  return mark(r) + (*r.tok_s >= 1000 ? grouped(std::llround(*r.tok_s)) : four_digits(*r.tok_s));
}

std::string percent_text(const Maybe<double>& share) {
  if (!share || !std::isfinite(*share)) return "";
  char text[32];
  std::snprintf(text, sizeof text, "%.0f %%", 100 * *share);
  return text;
}

std::string cache_text(const Result& r) {
  const auto kv = r.kv_bytes ? r.kv_bytes : r.kv_bytes_analytic;
  const auto state = r.state_bytes ? r.state_bytes : r.state_bytes_analytic;
  return kv || state ? bytes_text(kv.value_or(0) + state.value_or(0)) : "";
}

std::string yarn_text(const Result& r) {
  if (!r.yarn_factor || *r.yarn_factor == 1) return "off";
  return shortest(*r.yarn_factor) + ":" + (r.yarn_original ? token_label(*r.yarn_original) : "?");
}

// One column of the table.
struct Column {
  std::string title;
  bool always, right;
  std::function<std::string(const Result&)> text;
};

std::vector<Column> columns_for(std::span<const Result> results) {
  const auto number = [](const Maybe<int64_t>& n) { return n ? std::to_string(*n) : ""; };
  const auto planned = [](std::function<std::string(const Result&)> text) {  // of a dry run
    return [text](const Result& r) { return r.status == "skipped" ? text(r) : ""; };
  };
  std::vector<Column> columns = {
      {"model", false, false, [](const Result& r) { return r.model; }},
      {"engine", false, false, [](const Result& r) { return r.engine; }},
      {"dtype", false, false, [](const Result& r) { return r.dtype; }},
      {"weights", false, false, [](const Result& r) { return r.weights; }},
      {"seed", false, true, [](const Result& r) { return std::to_string(r.seed); }},
      {"threads", false, true, [number](const Result& r) { return number(r.threads); }},
      {"chunk", false, true, [number](const Result& r) { return r.phase == "decode" ? "" : number(r.chunk); }},
      {"phase", true, false, [](const Result& r) { return r.phase; }},
      {"hybrid", true, false, [](const Result& r) { return r.hybrid; }},
      {"layers", false, true, [](const Result& r) { return std::to_string(r.layers); }},
      {"yarn", false, false, yarn_text},
      {"routing", false, false, [](const Result& r) { return r.routing == "measured" ? "" : r.routing; }},
      {"ctx", true, false,
       [](const Result& r) {
         const std::string exact = std::to_string(r.ctx);
         return r.ctx_label.empty() || r.ctx_label == exact ? exact : exact + " (" + r.ctx_label + ")";
       }},
      {"gen", false, true, [](const Result& r) { return r.gen > 0 ? std::to_string(r.gen) : ""; }},
      {"bs", true, true, [](const Result& r) { return std::to_string(r.batch); }},
      {"n", true, true, [number](const Result& r) { return number(r.n); }},
      {"time", true, true, time_text},
      {"95% CI", true, false, interval_text},
      {"tok/s", true, true, rate_text},
      {"MFU", true, true, [](const Result& r) { return percent_text(r.mfu); }},
      {"MBU", true, true, [](const Result& r) { return percent_text(r.mbu); }},
      {"cache", true, true, cache_text},
      {"predicted", true, true, planned([](const Result& r) {
         return r.predicted_s ? four_digits(*r.predicted_s / time_unit(*r.predicted_s).seconds) + " " +
                                    std::string(time_unit(*r.predicted_s).name)
                              : std::string();
       })},
      {"holds", true, true, planned([](const Result& r) {
         return bytes_text(r.weights_bytes.value_or(0) + r.kv_bytes.value_or(0) + r.state_bytes.value_or(0) +
                           r.workspace_bytes.value_or(0));
       })},
      {"parity", false, false, [](const Result& r) { return r.parity == "pass" ? "ok" : r.parity; }},
      {"flags", true, false, [](const Result& r) { return r.flags; }},
  };
  for (const std::string& name : tag_names(results))
    columns.push_back(
        {name, false, false, [name](const Result& r) { return r.tags.contains(name) ? r.tags.at(name) : ""; }});
  return columns;
}

}  // namespace

Table lay_out(std::span<const Result> results) {
  Table table;
  const std::vector<Column> columns = columns_for(results);
  for (const Column& column : columns) {
    const bool speaks_for_itself = column.title == "model" || column.title == "dtype" || column.title == "weights";
    table.columns.push_back({column.title, column.right, column.always, speaks_for_itself});
  }
  for (const Result& r : results) {
    table.rows.emplace_back();
    for (const Column& column : columns) table.rows.back().push_back(column.text(r));
  }
  return table;
}

namespace {

constexpr FlagMeaning letters[] = {
    {'C', "cache hits seen"}, {'E', "estimated"},        {'L', "requested length not reached"},
    {'N', "noisy"},           {'R', "routing override"}, {'S', "synthetic depth"},
    {'T', "throttled"},       {'U', "unverified"},       {'X', "beyond the trained window"}};

std::string program_line(std::span<const Result> results) {
  const Environment environment = capture_environment();
  std::string line = "ringbench " + environment.version;
  if (results.empty()) return line + " (" + environment.commit + ")";
  return line + " (" + results.front().commit + ") | " + results.front().device;
}

Strings notes_under(std::span<const Result> results) {
  Strings lines, legend;
  for (const auto& [letter, meaning] : letters)
    if (std::any_of(results.begin(), results.end(),
                    [&, l = letter](const Result& r) { return r.flags.find(l) != std::string::npos; }))
      legend.push_back(std::string(1, letter) + " " + std::string(meaning));
  if (!legend.empty()) lines.push_back("flags: " + join(legend, ", "));
  for (const Result& r : results)
    if (r.error)
      lines.push_back(r.status + ": " + r.phase + " " + r.hybrid + " ctx " +
                      (r.ctx_label.empty() ? std::to_string(r.ctx) : r.ctx_label) + " bs " + std::to_string(r.batch) +
                      ": " + *r.error);
  return lines;
}

void write_table(std::ostream& out, std::span<const Result> results, const Remarks& remarks) {
  Table table = lay_out(results);
  const std::string header = table.take_constant_columns();
  out << program_line(results) << "\n";
  if (!header.empty()) out << header << "\n";
  if (!results.empty()) {
    out << "\n";
    const auto red_without_number = [&](size_t row) { return std::string(results[row].value ? "" : "31"); };
    write_text(out, table, remarks.color ? red_without_number : std::function<std::string(size_t)>());
  }
  Strings under = notes_under(results);
  under.insert(under.end(), remarks.lines.begin(), remarks.lines.end());
  if (!under.empty()) out << "\n" << join(under, "\n") << "\n";
}

void write_md(std::ostream& out, std::span<const Result> results, const Remarks& remarks) {
  Table table = lay_out(results);
  const std::string header = table.take_constant_columns();
  out << markdown_text(program_line(results)) << "  \n" << markdown_text(header) << "\n";
  if (!results.empty()) {
    out << "\n";
    write_markdown(out, table);
  }
  Strings under = notes_under(results);
  under.insert(under.end(), remarks.lines.begin(), remarks.lines.end());
  for (const std::string& text : under) out << "\n" << markdown_text(text) << "\n";
}

void write_json(std::ostream& out, std::span<const Result> results) {
  Strings lines;
  for (const Result& r : results) lines.push_back(to_json_line(r));
  out << (lines.empty() ? "[]" : "[\n" + join(lines, ",\n") + "\n]") << "\n";
}

}  // namespace

std::span<const FlagMeaning> flag_meanings() { return letters; }

std::string seconds_text(double seconds) {
  const TimeUnit unit = time_unit(seconds);
  return four_digits(seconds / unit.seconds) + " " + std::string(unit.name);
}

bool use_color(ColorWhen when) {
  if (when != ColorWhen::automatic) return when == ColorWhen::always;
  const char* term = std::getenv("TERM");
  const char* no_color = std::getenv("NO_COLOR");
  return isatty(STDOUT_FILENO) != 0 && (no_color == nullptr || *no_color == '\0') && term != nullptr &&
         std::strcmp(term, "dumb") != 0;
}

void write_results(std::ostream& out, Format format, std::span<const Result> results, const Remarks& remarks) {
  switch (format) {
    case Format::table: write_table(out, results, remarks); break;
    case Format::md: write_md(out, results, remarks); break;
    case Format::csv: write_csv(out, results); break;
    case Format::json: write_json(out, results); break;
    case Format::jsonl:
      for (const Result& r : results) out << to_json_line(r) << "\n";
      break;
    case Format::sql: write_sql(out, results); break;
  }
}

// --- Files of -o ---

Format format_of_file(const std::filesystem::path& path) {
  const std::string extension = path.extension().string();
  if (extension == ".txt") return Format::table;
  if (extension == ".md") return Format::md;
  if (extension == ".csv") return Format::csv;
  if (extension == ".json") return Format::json;
  if (extension == ".jsonl") return Format::jsonl;
  if (extension == ".sql") return Format::sql;
  throw UsageError("--output: '" + path.string() +
                   "' does not say its format. Use .txt, .md, .csv, .json, .jsonl or .sql.");
}

OutputFile::OutputFile(std::string path, Format stdout_format) : path_(std::move(path)), format_(stdout_format) {
  if (path_ == "-") return;
  format_ = format_of_file(path_);
  const std::ofstream file(path_, std::ios::app);  // creates it, and changes nothing that is there
  if (!file) throw UsageError("--output: cannot write '" + path_ + "': " + std::strerror(errno) + ".");
}

void OutputFile::write(std::span<const Result> results, const Remarks& remarks) const {
  if (path_ == "-") {
    write_results(std::cout, format_, results, remarks);
    return;
  }
  std::ofstream file(path_, std::ios::trunc);
  Remarks plain = remarks;
  plain.color = false;
  write_results(file, format_, results, plain);
  file.flush();
  if (!file)
    throw Failure(ExitCode::environment, "--output: writing '" + path_ + "' failed: " + std::strerror(errno) + ".");
}

}  // namespace ringbench
