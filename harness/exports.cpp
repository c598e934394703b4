#include "harness/exports.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <ostream>

#include "harness/environment.h"
#include "harness/measure.h"
#include "harness/words.h"
#include "reference/sha256.h"

namespace ringbench {
namespace {

using Json = nlohmann::ordered_json;

std::string indented(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace); }

// Mean and standard deviation (of a sample: n - 1), which is what llama-bench prints.
struct Moments {
  double mean = 0, deviation = 0;
};
Moments moments(const Numbers& values) {
  const auto n = static_cast<double>(values.size());
  Moments m;
  m.mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  if (values.size() < 2) return m;
  double squares = 0;
  for (const double x : values) squares += (x - m.mean) * (x - m.mean);
  m.deviation = std::sqrt(squares / (n - 1));
  return m;
}

// The samples, or where there are none, as in an import, the value alone.
Numbers samples_of(const Result& r) {
  Numbers samples;
  for (const double x : r.samples)
    if (std::isfinite(x)) samples.push_back(x);
  return samples.empty() ? Numbers{*r.value} : samples;
}

bool has_number(const Result& r) { return r.value > 0.0 && r.unit == "s" && r.phase != "eval"; }

// --- llama-bench ---

Json llama_bench_row(const Result& r) {
  const bool decode = r.phase == "decode";
  const int64_t prompt = decode ? 0 : r.ctx, gen = r.phase == "prefill" ? 0 : r.gen, tokens = prompt + gen;
  // Our sample is the time of a step in decode and of the whole else; theirs is always of the whole.
  Numbers nanoseconds, rates;
  for (const double s : samples_of(r)) {
    const double whole = decode ? s * static_cast<double>(gen) : s;
    nanoseconds.push_back(std::round(1e9 * whole));
    rates.push_back(static_cast<double>(tokens) / whole);
  }
  const Moments time = moments(nanoseconds), rate = moments(rates);
  Json whole_ns = Json::array();
  for (const double x : nanoseconds) whole_ns.push_back(static_cast<int64_t>(x));
  return {{"build_commit", r.commit},
          {"build_number", 0},
          {"cpu_info", r.engine == "reference" ? r.device : ""},
          {"gpu_info", r.engine == "reference" ? "" : r.device},
          {"backends", "ringbench " + r.engine},
          {"model_filename", r.weights},
          {"model_type", r.model + " " + r.hybrid + " " + r.dtype},
          {"model_size", r.weights_bytes.value_or(0)},
          {"model_n_params", r.params_total},
          {"n_batch", r.chunk.value_or(0)},
          {"n_ubatch", r.chunk.value_or(0)},
          {"n_threads", r.threads.value_or(0)},
          {"type_k", r.kv_dtype.value_or("")},
          {"type_v", r.kv_dtype.value_or("")},
          {"n_prompt", prompt},
          {"n_gen", gen},
          {"n_depth", decode ? r.ctx : 0},
          {"test_time", r.date},
          {"avg_ns", std::llround(time.mean)},
          {"stddev_ns", std::llround(time.deviation)},
          {"avg_ts", rate.mean},
          {"stddev_ts", rate.deviation},
          {"samples_ns", whole_ns},
          {"samples_ts", rates}};
}

// --- llm-d ---

Json statistics(const char* units, const Numbers& values) {
  const Moments m = moments(values);
  Json json = {{"units", units}, {"mean", m.mean}, {"stddev", m.deviation}};
  json["min"] = *std::min_element(values.begin(), values.end());
  json["p50"] = median(values);
  if (values.size() >= 10) json["p90"] = quantile(values, 0.9);
  if (values.size() >= 100) json["p99"] = quantile(values, 0.99);
  json["max"] = *std::max_element(values.begin(), values.end());
  return json;
}

Json report(const Result& r, const RunInfo& run) {
  const Numbers samples = samples_of(r);
  const auto rates = [&](int64_t tokens) {
    Numbers values;
    for (const double s : samples) values.push_back(static_cast<double>(tokens) / s);
    return statistics("tokens/s", values);
  };
  const auto fixed = [](int64_t length) { return Json{{"distribution", "fixed"}, {"value", length}}; };
  const std::string version = capture_environment().version + " (" + r.commit + ")";
  const int64_t sequences = r.requests.value_or(r.batch), gen = r.phase == "prefill" ? 1 : r.gen;
  Json latency = Json::object(), throughput = Json::object();
  if (r.phase == "prefill") {
    latency["time_to_first_token"] = statistics("s", samples);
    throughput["input_token_rate"] = rates(r.batch * r.ctx);
  } else if (r.phase == "decode") {
    latency["time_per_output_token"] = statistics("s/token", samples);
    throughput["output_token_rate"] = rates(r.batch);
  } else {
    latency["request_latency"] = statistics("s", samples);
    if (r.ttft_s) latency["time_to_first_token"] = statistics("s", {*r.ttft_s});
    if (r.tpot_s) latency["time_per_output_token"] = statistics("s/token", {*r.tpot_s});
    throughput["output_token_rate"] = rates(sequences * gen);
  }
  const std::string row = r.run_id + " " + record_key(r);
  Json load = {{"metadata", {{"schema_version", "0.0.1"}, {"cfg_id", r.point_id}}},
               {"standardized",
                {{"tool", "ringbench"},
                 {"tool_version", version},
                 {"source", "random"},
                 {"input_seq_len", fixed(std::max<int64_t>(r.ctx, 1))},
                 {"output_seq_len", fixed(std::max<int64_t>(gen, 1))},
                 {"concurrency", r.batch}}},
               {"native", {{"args", {{"repro", r.repro}}}}}};
  Json engine = {
      {"metadata", {{"schema_version", "0.0.1"}, {"label", r.engine}, {"cfg_id", r.config_sha}}},
      {"standardized",
       {{"kind", "inference_engine"},
        {"tool", "ringbench"},
        {"tool_version", version},
        {"role", r.phase == "e2e" ? "aggregate" : r.phase},
        {"replicas", 1},
        {"model", {{"name", r.model}}},
        {"accelerator",
         {{"model", r.device}, {"count", 1}, {"parallelism", {{"dp", 1}, {"ep", 1}, {"pp", 1}, {"tp", 1}}}}}}},
      // What their form has no place for: the record itself.
      {"native", {{"args", Json::parse(to_json_line(r))}}}};
  Json requests = {{"total", sequences * static_cast<int64_t>(samples.size())},
                   {"failures", 0},
                   {"input_length", {{"units", "count"}, {"mean", r.ctx}}},
                   {"output_length", {{"units", "count"}, {"mean", gen}}}};
  return {{"version", "0.2"},
          {"run",
           {{"uid", sha256_hex(row).substr(0, 32)},
            {"eid", sha256_hex(r.run_id).substr(0, 32)},
            {"time", {{"start", run.started.empty() ? r.date : run.started}, {"end", r.date}}},
            {"description", r.experiment + ": " + r.phase + " " + r.model + " " + r.hybrid + " ctx " + r.ctx_label +
                                (r.method == "estimated" ? ", estimated" : "")},
            {"keywords", {"ringbench", r.phase, r.method}}}},
          {"scenario", {{"stack", Json::array({std::move(engine)})}, {"load", std::move(load)}}},
          {"results",
           {{"request_performance",
             {{"aggregate",
               {{"requests", std::move(requests)},
                {"latency", std::move(latency)},
                {"throughput", std::move(throughput)}}}}}}}};
}

}  // namespace

std::vector<std::string> export_names() { return {"csv", "sql", "llm-d", "llama-bench"}; }

int64_t write_export(std::ostream& out, const std::string& name, std::span<const Result> results, const RunInfo& run) {
  int64_t left_out = 0;
  if (name == "csv" || name == "sql") {
    write_results(out, name == "csv" ? Format::csv : Format::sql, results);
  } else if (name == "llama-bench") {
    const char* before = "[\n";
    for (const Result& r : results) {
      if (!has_number(r) || r.batch != 1 || r.requests.value_or(1) != 1) {
        ++left_out;
        continue;
      }
      out << before << indented(llama_bench_row(r));
      before = ",\n";
    }
    out << (*before == '[' ? "[]\n" : "\n]\n");
  } else if (name == "llm-d") {
    for (const Result& r : results)
      if (has_number(r))
        out << "---\n" << indented(report(r, run)) << "\n";
      else
        ++left_out;
  } else {
    const std::string near = nearest_word(name, export_names());
    throw UsageError("--to: '" + name + "' is none of " + join(export_names(), ", ") + "." +
                     (near.empty() ? "" : " Did you mean " + near + "?"));
  }
  return left_out;
}

}  // namespace ringbench
