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
#include <unordered_map>

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

template <auto member> constexpr Field field(std::string_view name, std::string_view group, std::string_view meaning) {
  using Type = Unwrapped<std::remove_cvref_t<decltype(std::declval<Result>().*member)>>;
  return {name,
          FieldType<typename Type::type>::name,
          Type::nullable,
          group,
          meaning,
          [](const Result& r) { return to_value(r.*member); },
          [](Result& r, Value&& value) { return from_value(r.*member, std::move(value)); }};
}

#define FIELD(group, name, meaning) field<&Result::name>(#name, group, meaning)

constexpr Field fields[] = {
    FIELD("identity", schema, "Always ringbench.point/1; removal or change of meaning of a field makes it /2."),
    FIELD("identity", run_id, "Folder of the run; empty with --no-save."),
    FIELD("identity", point_id,
          "16 hex digits of what was asked for, without engine, dtype, chunk, threads, build and machine: rows of two "
          "engines or machines match."),
    FIELD("identity", status,
          "ok, estimated; without a number: oom, oom_predicted, timeout, skipped (dry run), error."),
    FIELD("identity", experiment, "Command or sweep."),
    FIELD("identity", phase, "prefill, decode, e2e; eval for scores."),
    FIELD("identity", engine, "reference, cuda; servers as openai:URL."),
    FIELD("identity", date, "UTC, when the point was finished."),
    FIELD("model", model, "Preset or checkpoint."),
    FIELD("model", config_sha, "SHA-256 over all that changes what the model computes, ratio and YaRN included."),
    FIELD("model", hybrid, "Linear layers for each softmax one (4:1), softmax, linear, or a pattern."),
    FIELD("model", layers, "Decoder layers."),
    FIELD("model", linear_layers, "Of them with linear attention."),
    FIELD("model", softmax_layers, "Of them with softmax attention, sliding windows included."),
    FIELD("model", slope_layer_offset, "Which layer number decays are computed from: 0, 1, mlx."),
    FIELD("model", params_total, "Parameters."),
    FIELD("model", params_active, "Of them used for each token, embeddings and head included."),
    FIELD("model", params_active_non_embedding, "The same without embeddings and head."),
    FIELD("model", weights, "dummy:scaled, dummy:zero (random ones), or the checkpoint's name."),
    FIELD("model", weights_fingerprint, "Hash of the weights."),
    FIELD("model", seed, "Of weights, inputs and sampling."),
    FIELD("workload", ctx, "Prompt tokens; for decode the tokens in the cache."),
    FIELD("workload", ctx_label, "The same as people write it: 384k."),
    FIELD("workload", gen, "Tokens generated; 0 for prefill."),
    FIELD("workload", batch, "Sequences at once."),
    FIELD("workload", memory_limit_bytes,
          "What --batch auto was chosen to fit into, weights included; null: the batch was given."),
    FIELD("workload", chunk, "Prompt tokens that go through the layers together; 0: all."),
    FIELD("workload", dtype, "Of arithmetic and weights; unknown of a server, unless --dtype said it."),
    FIELD("workload", kv_dtype, "Of keys and values."),
    FIELD("workload", state_dtype, "Of recurrent states."),
    FIELD("workload", yarn_factor, "Null without YaRN."),
    FIELD("workload", yarn_original, "The window that YaRN stretches."),
    FIELD("workload", trained_window, "Tokens beyond which outputs are not trained for (flag X)."),
    FIELD("workload", routing, "measured: the router decides; uniform: balanced by force (flag R)."),
    FIELD("workload", depth_fill, "How a decode point's cache was filled: real (prefill), synthetic (flag S)."),
    FIELD("workload", input_seed, "Of the input tokens."),
    FIELD("workload", isl_actual, "Prompt tokens that really went in."),
    FIELD("workload", osl_actual, "Tokens that really came out."),
    FIELD("workload", threads, "Of the CPU."),
    FIELD("method", method, "measured or estimated."),
    FIELD("method", warmup, "Passes before the first sample."),
    FIELD("method", stop, "Why repetitions ended: ci (the interval is narrow enough), budget, fixed (--reps)."),
    FIELD("method", interleaved, "Repetitions took turns with those of the points it is compared with."),
    FIELD("estimator", estimator, "chunk: from sampled chunks; group: from two shallower models."),
    FIELD("estimator", est_points, "Chunks (or models) sampled."),
    FIELD("estimator", est_query_stride, "1: every query of a sampled chunk was run."),
    FIELD("estimator", est_work_share, "Share of the work that was run."),
    FIELD("estimator", est_r2, "Of the line through the chunks' times."),
    FIELD("estimator", est_residual_max, "Largest distance from that line, over the mean chunk."),
    FIELD("estimator", est_anchor_ctx, "Tokens of the prefill that was run whole beside it."),
    FIELD("estimator", est_anchor_error, "Estimate over whole run there, minus 1; part of the interval."),
    FIELD("the number", metric, "ttft_s, tpot_s, e2e_s; the metric of an evaluation."),
    FIELD("the number", unit, "Of value, interval and samples."),
    FIELD("the number", value, "The median of the samples; null: there is no number."),
    FIELD("the number", ci95_low,
          "Lower end of the 95 % interval of the median, from order statistics; null below 6 samples."),
    FIELD("the number", ci95_high, "Its upper end."),
    FIELD("the number", n, "Samples."),
    FIELD("the number", min, "Smallest sample."),
    FIELD("the number", max, "Largest sample."),
    FIELD("the number", p90, "90th percentile; null below 10 samples."),
    FIELD("the number", p99, "99th percentile; null below 100 samples."),
    FIELD("the number", samples, "All of them, in order."),
    FIELD("derived", tok_s,
          "Tokens over value: prompt tokens for prefill, new ones for decode and e2e, of all sequences."),
    FIELD("derived", step_p50_s, "Median decode step."),
    FIELD("derived", step_p90_s, "90th percentile of decode steps."),
    FIELD("derived", step_p99_s, "99th percentile of decode steps."),
    FIELD("derived", ttfr_s, "Servers: median time to the first event of any kind."),
    FIELD("derived", queue_s, "Servers: median wait in the client before a request was sent."),
    FIELD("derived", cpu_s, "CPU time of one repetition, all threads."),
    FIELD("derived", contention,
          "Wall time over CPU time of a thread: above 1.2 others computed too, or threads idled (flag N)."),
    FIELD("derived", logits_hash, "Hash of the last logits: the same for the same seed, build and engine."),
    FIELD("cost model", flops, "The least operations that the workload needs."),
    FIELD("cost model", bytes, "The least bytes that must pass through memory."),
    FIELD("cost model", bound, "What limits the prediction most: compute, memory, launch."),
    FIELD("cost model", predicted_s, "Roofline time on the peaks below."),
    FIELD("cost model", measured_over_predicted, "value over predicted_s."),
    FIELD("cost model", mfu, "flops over value and peak_tflops."),
    FIELD("cost model", mbu, "bytes over value and peak_gbps."),
    FIELD("cost model", mfu_params, "Which parameter count flops were made from."),
    FIELD("cost model", peak_tflops, "Peak that mfu is a share of, 1e12/s."),
    FIELD("cost model", peak_gbps, "Peak that mbu is a share of, 1e9 bytes/s."),
    FIELD("cost model", peak_source,
          "calibrated (doctor --calibrate), datasheet-dense, user; null: unknown, and then nothing is predicted."),
    FIELD("memory", weights_bytes, "Held by the engine."),
    FIELD("memory", kv_bytes, "Keys and values held."),
    FIELD("memory", state_bytes, "Recurrent states held."),
    FIELD("memory", workspace_bytes, "Buffers held."),
    FIELD("memory", peak_bytes, "Most that the allocator gave out."),
    FIELD("memory", peak_process_bytes, "Largest resident size of the process so far."),
    FIELD("memory", kv_bytes_analytic, "Keys and values at the end of the workload, from the config."),
    FIELD("memory", state_bytes_analytic, "Recurrent states, from the config."),
    FIELD("memory", cache_ratio_vs_softmax, "Cache and states over the softmax twin's cache, from the config."),
    FIELD("eval", task, "A task of configs/evals, or the name of a file of questions."),
    FIELD("eval", questions, "That were asked."),
    FIELD("eval", samples_per_question, "Answers to each."),
    FIELD("eval", se_question, "Standard error, in percent: had other questions been asked."),
    FIELD("eval", se_run, "Standard error, in percent: had the same questions been answered anew."),
    FIELD("eval", truncated, "Answers cut off by the length limit."),
    FIELD("eval", unparsed, "Answers without a final answer that could be read."),
    FIELD("eval", wrong, "Answers read and wrong."),
    FIELD("eval", published, "The published score, in percent."),
    FIELD("eval", tokens_mean, "Mean length of answers, in tokens."),
    FIELD("serving", requests, "Sequences in all."),
    FIELD("serving", waves, "Rounds that more requests than batch took."),
    FIELD("serving", ttft_s, "Median time to the first token: e2e of a wave, servers of a request."),
    FIELD("serving", tpot_s, "Mean time of a token after the first."),
    FIELD("serving", itl_p50_s, "Servers: median gap between events, of which one may hold several tokens."),
    FIELD("serving", itl_p99_s, "Servers: 99th percentile of it."),
    FIELD("serving", concurrency, "Servers: requests in flight at most."),
    FIELD("serving", rate, "Servers: requests a second that came at random; null: as many as concurrency at any time."),
    FIELD("serving", goodput, "Servers: share of requests within --goodput."),
    FIELD("serving", retries, "Servers: requests sent again."),
    FIELD("serving", cached_tokens, "Servers: prompt tokens that a prefix cache answered (flag C)."),
    FIELD("serving", server, "Servers: what it says it is."),
    FIELD("serving", replica_of,
          "Of one of several servers: the engine that all of them were; batch, requests and times are its own share."),
    FIELD(
        "serving", client_ttft_s,
        "Servers: median that the client itself adds to a first token, found with an echo server and as many streams."),
    FIELD("serving", client_itl_s, "Servers: the same, to a token after the first."),
    FIELD("serving", client_tok_s, "Servers: tokens a second that the client takes at least, found in the same way."),
    FIELD("experts", experts_hit, "Experts that got a token, in the layer with the fewest."),
    FIELD("experts", expert_load_max_over_mean, "Tokens of the busiest expert over the mean, in the worst layer."),
    FIELD("experts", expert_load_cv, "Coefficient of variation of experts' tokens, mean over layers."),
    FIELD("energy", energy_j, "Joules of all repetitions together; null below a second."),
    FIELD("energy", power_avg_w, "Mean power over them."),
    FIELD("energy", power_idle_w, "Power while nothing was timed."),
    FIELD("energy", energy_j_per_token, "energy_j over all tokens of the repetitions."),
    FIELD("energy", energy_method, "nvml-counter, nvml-power, rapl."),
    FIELD("clocks", sm_mhz, "Median clock of the GPU's cores."),
    FIELD("clocks", mem_mhz, "Median clock of its memory."),
    FIELD("clocks", temp_max_c, "Hottest sample."),
    FIELD("clocks", throttle, "Reasons that held clocks down (flag T)."),
    FIELD("clocks", foreign_processes, "Other processes on the GPU, the most at once."),
    FIELD("kernels, parity", kernels, "Kernel variants that ran, operator=variant."),
    FIELD("kernels, parity", parity,
          "Whether certificates cover what ran: pass, partial, stale, fail, none (flag U unless pass)."),
    FIELD("kernels, parity", parity_certificate, "Id of one of them."),
    FIELD("kernels, parity", parity_worst, "Largest error over its budget."),
    FIELD("kernels, parity", parity_depth, "Longest cache that was looked at."),
    FIELD("kernels, parity", parity_missing, "Variants that no certificate covers."),
    FIELD("verdicts", flags,
          "E estimated, T throttled, U unverified, R routing override, S synthetic depth, X beyond the trained window, "
          "C cache hits, L length not reached, N noisy."),
    FIELD("verdicts", warnings, "W-CODE: text."),
    FIELD("verdicts", error, "Why there is no number."),
    FIELD("verdicts", repro, "A command that measures the point again."),
    FIELD("provenance", device, "CPU or GPU; unknown of a server."),
    FIELD("provenance", driver, "Of the GPU."),
    FIELD("provenance", commit, "Of the build; + if the tree was changed."),
};

template <class... Cases> struct Overloaded : Cases... { using Cases::operator()...; };
template <class... Cases> Overloaded(Cases...) -> Overloaded<Cases...>;

}  // namespace

std::span<const Field> result_fields() { return fields; }

const Field* find_field(std::string_view name) {
  static const std::unordered_map<std::string_view, const Field*> by_name = [] {
    std::unordered_map<std::string_view, const Field*> map;
    for (const Field& field : result_fields()) map[field.name] = &field;
    return map;
  }();
  const auto found = by_name.find(name);
  return found == by_name.end() ? nullptr : found->second;
}

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

std::string one_digit(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

std::string mark(const Result& r) { return r.method == "estimated" ? "~" : ""; }

}  // namespace

std::string time_text(const Result& r) {
  if (!r.value || !std::isfinite(*r.value)) return r.status;
  if (r.unit == "%") return one_digit(*r.value) + " %";
  return mark(r) + seconds_text(*r.value);
}

namespace {

std::string interval_text(const Result& r) {
  for (const Maybe<double>& number : {r.value, r.ci95_low, r.ci95_high})
    if (!number || !std::isfinite(*number)) return "";
  if (r.unit == "%") return "[" + one_digit(*r.ci95_low) + ", " + one_digit(*r.ci95_high) + "]";
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

std::vector<Column> score_columns() {
  const auto number = [](const Maybe<int64_t>& n) { return n ? std::to_string(*n) : ""; };
  const auto score = [](const Maybe<double>& percent) { return percent ? one_digit(*percent) : ""; };
  return {
      {"task", false, false, [](const Result& r) { return r.task.value_or(""); }},
      {"model", false, false, [](const Result& r) { return r.model == r.weights ? "" : r.model; }},
      {"engine", false, false, [](const Result& r) { return r.engine; }},
      {"dtype", false, false, [](const Result& r) { return r.dtype; }},
      {"seed", false, true, [](const Result& r) { return std::to_string(r.seed); }},
      {"weights", true, false, [](const Result& r) { return r.weights; }},
      {"hybrid", true, false, [](const Result& r) { return r.hybrid; }},
      {"questions", true, true, [number](const Result& r) { return number(r.questions); }},
      {"metric", true, false, [](const Result& r) { return r.metric; }},
      {"score", true, true, time_text},
      {"95% CI", true, false, interval_text},
      {"se run", true, true, [score](const Result& r) { return score(r.se_run); }},
      {"published", true, true, [score](const Result& r) { return score(r.published); }},
      {"wrong", true, true, [number](const Result& r) { return number(r.wrong); }},
      {"no answer", true, true, [number](const Result& r) { return number(r.unparsed); }},
      {"cut off", true, true, [number](const Result& r) { return number(r.truncated); }},
      {"tokens", true, true, [score](const Result& r) { return score(r.tokens_mean); }},
      {"tok/s", true, true, rate_text},
      {"parity", false, false, [](const Result& r) { return r.parity == "pass" ? "ok" : r.parity; }},
      {"flags", true, false, [](const Result& r) { return r.flags; }},
  };
}

std::vector<Column> columns_for(std::span<const Result> results) {
  const bool scores = !results.empty() &&
                      std::all_of(results.begin(), results.end(), [](const Result& r) { return r.phase == "eval"; });
  if (scores) return score_columns();
  const auto number = [](const Maybe<int64_t>& n) { return n ? std::to_string(*n) : ""; };
  const auto planned = [](const std::function<std::string(const Result&)>& text) {  // of a dry run
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
         const int64_t bytes = r.weights_bytes.value_or(0) + r.kv_bytes.value_or(0) + r.state_bytes.value_or(0) +
                               r.workspace_bytes.value_or(0);
         return bytes > 0 ? bytes_text(bytes) : std::string();  // a server's are its own affair
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
