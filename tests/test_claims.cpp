// Claims: that each verdict is reached by the rows that should lead to it, and by no others: above all that no small
// model, other device, other workload or estimate reproduces anything.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "harness/claims.h"
#include "harness/plan.h"
#include "reference/weights.h"
#include "tests/catch.h"
#include "tests/checks.h"
#include "tests/folder.h"

using namespace ringbench;

namespace {

constexpr const char* kA100 = "NVIDIA A100-SXM4-80GB";

struct Conditions {
  std::string phase = "prefill";
  int64_t ctx = 384 * 1024, gen = 0, batch = 1;
  std::string device = kA100, engine = "cuda", dtype = "bf16";
};

// A verified measurement of `seconds` with an interval of 1 % to both sides.
Result row(const std::string& model, const std::string& hybrid, const Conditions& run, double seconds) {
  static int count = 0;
  const ModelConfig config =
      with_layout(ModelConfig::load(configs_folder() / "models" / (model + ".json")), {}, hybrid);
  const ParameterCounts parameters = count_parameters(config);
  Result r;
  r.point_id = "point" + std::to_string(++count);
  r.status = "ok";
  r.phase = run.phase;
  r.engine = run.engine;
  r.date = "2026-01-01T12:00:00Z";
  r.model = config.name;
  r.hybrid = hybrid == "model" ? config.hybrid_label() : hybrid;
  r.layers = config.num_hidden_layers;
  r.linear_layers = config.count(LayerType::linear_attention);
  r.softmax_layers = r.layers - r.linear_layers;
  r.params_total = parameters.total;
  r.params_active = parameters.active;
  r.params_active_non_embedding = parameters.active_non_embedding;
  r.weights = "dummy:scaled";
  r.ctx = run.ctx;
  r.gen = run.gen;
  r.batch = run.batch;
  r.requests = run.batch;
  r.dtype = run.dtype;
  r.metric = run.phase == "prefill" ? "ttft_s" : run.phase == "decode" ? "tpot_s" : "e2e_s";
  r.value = seconds;
  r.n = 6;
  r.ci95_low = 0.99 * seconds;
  r.ci95_high = 1.01 * seconds;
  r.parity = "pass";
  r.device = run.device;
  return r;
}

// A model and its softmax twin, the twin slower by `gain`.
std::vector<Result> pair_of(const std::string& model, const Conditions& run, double gain) {
  return {row(model, "model", run, 1), row(model, "softmax", run, gain)};
}

ClaimVerdict verdict(const std::string& id, const std::vector<Result>& rows) {
  for (const ClaimVerdict& v : judge_claims(rows))
    if (v.id == id) return v;
  FAIL("no claim " << id);
  return {};
}

const std::vector<std::string> verdict_words = {"REPRODUCED", "EXCEEDED",  "NOT REPRODUCED", "AMBIGUOUS",
                                                "TREND ONLY", "PREDICTED", "UNTESTED"};

Conditions outputs(int64_t gen) { return {.phase = "e2e", .ctx = 1, .gen = gen, .batch = 64}; }

}  // namespace

TEST_CASE("an interval is judged by the band of the stated number") {
  const Band about = band_of(3.5, "=");
  CHECK(verdict_of(about, 3.4, 3.6) == "REPRODUCED");
  CHECK(verdict_of(about, 3.2, 3.8) == "REPRODUCED");
  CHECK(verdict_of(about, 3.1, 3.3) == "AMBIGUOUS");
  CHECK(verdict_of(about, 3.8, 3.9) == "AMBIGUOUS");
  CHECK(verdict_of(about, 2, 5) == "AMBIGUOUS");
  CHECK(verdict_of(about, 3.9, 4.0) == "EXCEEDED");
  CHECK(verdict_of(about, 2.9, 3.1) == "NOT REPRODUCED");
  const Band more = band_of(2.5, ">");
  CHECK(verdict_of(more, 2.6, 2.7) == "REPRODUCED");
  CHECK(verdict_of(more, 20, 30) == "REPRODUCED");
  CHECK(verdict_of(more, 2.4, 2.6) == "AMBIGUOUS");
  CHECK(verdict_of(more, 2.3, 2.4) == "NOT REPRODUCED");
  CHECK(verdict_of(band_of(7, "<="), 6, 7) == "REPRODUCED");
  CHECK(verdict_of(band_of(7, "<="), 7.5, 8) == "EXCEEDED");
}

TEST_CASE("units of claims go to speed-ups and back") {
  CHECK(to_speed_up(ClaimQuantity::time_change, -27.24) == Approx(1.3744).epsilon(1e-4));
  CHECK(to_speed_up(ClaimQuantity::time_change, -50) == Approx(2));
  CHECK(to_speed_up(ClaimQuantity::time_ratio, 0.1) == Approx(10));
  for (const ClaimQuantity quantity :
       {ClaimQuantity::speedup, ClaimQuantity::time_ratio, ClaimQuantity::time_change, ClaimQuantity::cache_ratio})
    CHECK(from_speed_up(quantity, to_speed_up(quantity, 0.7)) == Approx(0.7));
}

TEST_CASE("without rows claims are predicted, computed or untested, never reproduced by time") {
  const std::vector<ClaimVerdict> verdicts = judge_claims({});
  CHECK(verdicts.size() == claims().size());
  for (const ClaimVerdict& v : verdicts) {
    INFO(v.id);
    CHECK(std::count(verdict_words.begin(), verdict_words.end(), v.verdict) == 1);
    CHECK(v.rows.empty());
    CHECK((v.verdict == "PREDICTED" || v.verdict == "UNTESTED" || v.basis == "computed"));
    if (v.verdict == "PREDICTED") CHECK((v.value && v.value == v.predicted && !v.prediction.empty() && !v.low));
  }
}

TEST_CASE("the claim's own pair on its own device gives each verdict") {
  const auto ttft = [](double gain) { return verdict("lite-ttft-384k", pair_of("ring-lite-linear", {}, gain)); };
  const ClaimVerdict v = ttft(3.5);
  CHECK(v.verdict == "REPRODUCED");
  CHECK(v.basis == "measured");
  CHECK(*v.value == Approx(3.5));
  CHECK(*v.low < 3.5);
  CHECK(*v.high > 3.5);
  CHECK(found_text(v) == "3.50x [3.45, 3.55]");
  CHECK(v.rows.size() == 2);
  CHECK(v.warnings.empty());
  CHECK(v.predicted > 3.0);  // beside the measurement, never instead of it
  CHECK(ttft(2.5).verdict == "NOT REPRODUCED");
  CHECK(ttft(3.85).verdict == "AMBIGUOUS");
  CHECK(ttft(4.5).verdict == "EXCEEDED");
}

TEST_CASE("a preset of its own is a baseline as the twin is") {
  CHECK(verdict("lite-ttft-384k", {row("ring-lite-linear", "model", {}, 1), row("ring-lite", "model", {}, 3.5)})
            .verdict == "REPRODUCED");
  const Conditions at_128k = {.ctx = 128 * 1024, .device = "NVIDIA H20"};
  CHECK(verdict("flash-prefill-128k",
                {row("ring-flash-linear-2.0", "model", at_128k, 1), row("qwen3-32b", "model", at_128k, 7.6)})
            .verdict == "REPRODUCED");
  CHECK(verdict("flash-prefill-128k",
                {row("ring-flash-linear-2.0", "model", at_128k, 1), row("qwen3-8b", "model", at_128k, 7.6)})
            .verdict == "PREDICTED");
}

TEST_CASE("what exceeds a claim warns of a weak baseline and shows what it reached") {
  std::vector<Result> rows = pair_of("ring-lite-linear", {}, 9);
  ClaimVerdict v = verdict("lite-ttft-384k", rows);
  REQUIRE(v.warnings.size() == 1);
  CHECK(contains(v.warnings[0], "W-BASELINE"));
  CHECK(contains(v.warnings[0], "not known"));
  rows[1].mfu = 0.07;
  rows[1].mbu = 0.02;
  v = verdict("lite-ttft-384k", rows);
  CHECK(contains(v.warnings[0], "MFU 7 %, MBU 2 %"));
}

TEST_CASE("a small model on a CPU reproduces no claim") {
  std::vector<Result> rows;
  for (const char* model : {"ring-nano-linear", "ring-pico-linear"})
    for (const char* device : {"CPU of the test, 2 cores", kA100, "NVIDIA H20"})
      for (const std::string engine : {"reference", "cuda"})
        for (const Claim& claim : claims()) {
          const PublishedConditions& w = claim.workload;
          const Conditions run = {.phase = w.phase.empty() ? "prefill" : w.phase,
                                  .ctx = w.ctx.value_or(16 * 1024),
                                  .gen = w.gen.value_or(0),
                                  .batch = w.batch.value_or(1),
                                  .device = device,
                                  .engine = engine};
          const double gain = claim.number->unit == "x" ? claim.number->value : 3.5;
          for (Result& r : pair_of(model, run, gain)) {
            r.kv_bytes = r.linear_layers > 0 ? 1000 : 6000;
            r.state_bytes = 0;
            rows.push_back(r);
          }
        }
  int trends = 0;
  for (const ClaimVerdict& v : judge_claims(rows)) {
    INFO(v.id << ": " << v.verdict << ": " << v.why);
    CHECK((v.verdict == "TREND ONLY" || v.verdict == "PREDICTED" || v.verdict == "UNTESTED" || v.basis == "computed"));
    trends += v.verdict == "TREND ONLY";
    if (v.verdict == "TREND ONLY") CHECK(contains(v.why, "model ring-"));
  }
  CHECK(trends >= 8);  // all that are against the softmax twin
}

TEST_CASE("a CPU is no GPU whatever runs on it") {
  const Conditions cpu = {.device = "CPU of the test, 2 cores", .engine = "reference", .dtype = "f32"};
  const ClaimVerdict v = verdict("lite-ttft-384k", pair_of("ring-lite-linear", cpu, 3.5));
  CHECK(v.verdict == "TREND ONLY");
  CHECK(contains(v.why, "device CPU of the test, 2 cores (claim: A100)"));
  const Conditions long_prefill = {.ctx = 128 * 1024, .device = cpu.device, .engine = "reference"};
  CHECK(contains(verdict("mini-prefill-128k", pair_of("ring-mini-linear-2.0", long_prefill, 3)).why, "a GPU"));
}

TEST_CASE("another workload, device, memory or method gives the trend only, and says what differs") {
  const auto trend = [](const std::string& id, const std::vector<Result>& rows, const std::string& why) {
    const ClaimVerdict v = verdict(id, rows);
    INFO(v.verdict << ": " << v.why);
    return v.verdict == "TREND ONLY" && v.value && contains(v.why, why);
  };
  const std::string lite = "ring-lite-linear";
  CHECK(trend("lite-ttft-384k", pair_of(lite, {.batch = 2}, 3.5), "batch 2 (claim: 1)"));
  CHECK(trend("lite-ttft-384k", pair_of(lite, {.ctx = 256 * 1024}, 3.5), "ctx 256k (claim: 384k)"));
  CHECK(trend("lite-ttft-384k", pair_of(lite, {.device = "NVIDIA H100 80GB HBM3"}, 3.5), "(claim: A100)"));
  CHECK(trend("lite-throughput-32k", pair_of(lite, outputs(16 * 1024), 2.2), "gen 16k (claim: 32k)"));
  Conditions small_card = outputs(32 * 1024);
  small_card.device = "NVIDIA A100-SXM4-40GB";
  CHECK(trend("lite-throughput-32k", pair_of(lite, small_card, 2.2), "(claim: 80GB)"));

  const auto changed = [&](const std::function<void(Result&)>& change) {
    std::vector<Result> rows = pair_of(lite, {}, 3.5);
    change(rows[1]);  // the baseline alone
    return rows;
  };
  CHECK(trend("lite-ttft-384k", changed([](Result& r) { r.method = "estimated"; }), "estimated"));
  CHECK(trend("lite-ttft-384k", changed([](Result& r) { r.flags = "C"; }), "cache hits"));
  CHECK(trend("lite-ttft-384k", changed([](Result& r) { r.flags = "L"; }), "length was not reached"));
  CHECK(trend("mini-decode-qwen3-8b",
              {row("ring-mini-linear-2.0", "model", {.phase = "decode", .ctx = 65536, .gen = 128, .batch = 64}, 1),
               row("qwen3-8b", "model", {.phase = "decode", .ctx = 65536, .gen = 128, .batch = 64}, 12)},
              "the source does not state the workload"));
}

TEST_CASE("rows that failed, or failed parity, stand for nothing") {
  std::vector<Result> rows = pair_of("ring-lite-linear", {}, 3.5);
  rows[1].parity = "fail";
  CHECK(verdict("lite-ttft-384k", rows).verdict == "PREDICTED");
  rows = pair_of("ring-lite-linear", {}, 3.5);
  rows[0].status = "oom";
  rows[0].value = {};
  CHECK(verdict("lite-ttft-384k", rows).verdict == "PREDICTED");
}

TEST_CASE("hazards of rows are named beside the verdict, and no interval is no verdict") {
  std::vector<Result> rows = pair_of("ring-lite-linear", {}, 3.5);
  rows[0].parity = "none";
  rows[1].flags = "NT";
  const ClaimVerdict v = verdict("lite-ttft-384k", rows);
  CHECK(v.verdict == "REPRODUCED");
  REQUIRE(v.warnings.size() == 3);
  CHECK(contains(v.warnings[0], "W-UNVERIFIED"));
  CHECK(contains(v.warnings[1], "W-NOISY"));
  CHECK(contains(v.warnings[2], "W-THROTTLED"));
  rows[1].ci95_low = rows[1].ci95_high = {};
  const ClaimVerdict single = verdict("lite-ttft-384k", rows);
  CHECK(single.verdict == "AMBIGUOUS");
  CHECK(contains(single.why, "no interval"));
}

TEST_CASE("output throughput counts requests, whatever fits at once") {
  std::vector<Result> rows = pair_of("ring-lite-linear", outputs(32 * 1024), 2.2);
  rows[1].batch = 19;  // in waves
  CHECK(verdict("lite-throughput-32k", rows).verdict == "REPRODUCED");
  rows[0].requests = rows[1].requests = 32;
  CHECK(verdict("lite-throughput-32k", rows).verdict == "TREND ONLY");
  const auto time = [](double gain) {
    return verdict("lite-e2e-16k", pair_of("ring-lite-linear", outputs(16 * 1024), gain));
  };
  CHECK(time(1.3744).verdict == "REPRODUCED");
  CHECK(*time(1.3744).value == Approx(-27.24).epsilon(1e-3));
  CHECK(*time(1.3744).low < *time(1.3744).high);
  CHECK(time(1.77).verdict == "EXCEEDED");
  CHECK(time(1.1).verdict == "NOT REPRODUCED");
}

TEST_CASE("a claim on contexts beyond a length is judged by the worst of them") {
  const auto prefill = [](int64_t ctx, double gain) {
    return pair_of("ring-mini-linear-2.0", {.ctx = ctx, .device = "NVIDIA H200"}, gain);
  };
  const auto all = [](std::vector<std::vector<Result>> parts) {
    std::vector<Result> rows;
    for (const auto& part : parts) rows.insert(rows.end(), part.begin(), part.end());
    return rows;
  };
  CHECK(verdict("mini-prefill-128k", all({prefill(131072, 2.8), prefill(262144, 3.5)})).verdict == "REPRODUCED");
  const ClaimVerdict worst = verdict("mini-prefill-128k", all({prefill(131072, 2.8), prefill(262144, 2.0)}));
  CHECK(worst.verdict == "NOT REPRODUCED");
  CHECK(*worst.value == Approx(2.0));
  CHECK(verdict("mini-prefill-128k", all({prefill(65536, 2.0), prefill(131072, 2.8)})).verdict == "REPRODUCED");
  CHECK(verdict("mini-prefill-128k", prefill(65536, 2.8)).verdict == "TREND ONLY");
  CHECK(verdict("mini-prefill-128k", prefill(524288, 4)).verdict == "TREND ONLY");  // says nothing near 128k

  const ClaimVerdict crossover =
      verdict("mini-prefill-crossover", all({prefill(4096, 0.9), prefill(8192, 0.99), prefill(16384, 1.2)}));
  CHECK(crossover.verdict == "REPRODUCED");
  CHECK(crossover.unit == "x");
  CHECK(*crossover.value == Approx(1.2));
  CHECK(verdict("mini-prefill-crossover", prefill(16384, 0.95)).verdict == "NOT REPRODUCED");
  CHECK(verdict("mini-prefill-crossover", prefill(16384, 1.005)).verdict == "AMBIGUOUS");
  CHECK(verdict("mini-prefill-crossover", prefill(65536, 2)).verdict == "TREND ONLY");
}

TEST_CASE("cache sizes are judged by the bytes that an engine held") {
  const Conditions held = {.phase = "decode", .ctx = 16 * 1024, .gen = 1, .batch = 64, .device = "NVIDIA H200"};
  std::vector<Result> rows = pair_of("ring-lite-linear", held, 1.5);
  CHECK(verdict("lite-kv-16k", rows).verdict == "PREDICTED");  // nothing held is known
  CHECK(*verdict("lite-kv-16k", rows).value == Approx(0.170).epsilon(0.01));
  rows[0].kv_bytes = int64_t{64} * 16385 * 8192;
  rows[0].state_bytes = int64_t{64} * 25165824;
  rows[1].kv_bytes = int64_t{64} * 16385 * 57344;
  rows[1].state_bytes = 0;
  const ClaimVerdict v = verdict("lite-kv-16k", rows);
  CHECK(v.verdict == "REPRODUCED");  // another device holds the same bytes
  CHECK(*v.value == Approx(0.1697).epsilon(0.001));
  rows[0].kv_bytes = *rows[0].kv_bytes * 2;
  CHECK(verdict("lite-kv-16k", rows).verdict == "NOT REPRODUCED");
  rows[0].dtype = rows[1].dtype = "f32";
  CHECK(verdict("lite-kv-16k", rows).verdict == "TREND ONLY");
}

TEST_CASE("scores are judged on real weights by the interval between runs") {
  const auto scored = [](double score, double se, const std::string& weights = "Ring-mini-linear-2.0") {
    Result r = row("ring-mini-linear-2.0", "model", {.phase = "eval", .ctx = 0}, score);
    r.metric = "pass@1";
    r.unit = "%";
    r.task = "aime24";
    r.weights = weights;
    r.ci95_low = r.ci95_high = {};
    r.se_run = se;
    return verdict("mini-aime24", {r});
  };
  CHECK(scored(79.5, 1).verdict == "REPRODUCED");
  CHECK(scored(70, 1).verdict == "NOT REPRODUCED");
  CHECK(scored(90, 1).verdict == "EXCEEDED");
  CHECK(scored(79, 4).verdict == "AMBIGUOUS");  // 8 points to both sides
  CHECK(scored(40, 4).verdict == "NOT REPRODUCED");
  CHECK(scored(79.5, 1, "dummy:scaled").verdict == "UNTESTED");
  CHECK(verdict("mini-aime24", {}).verdict == "UNTESTED");

  Result share = row("ring-mini-linear-2.0", "model", {.phase = "eval", .ctx = 0}, 0.795);
  share.metric = "avg@64";
  share.unit = "1";
  share.task = "AIME-24";
  share.weights = "checkpoint";
  share.se_run = 0.01;
  CHECK(*verdict("mini-aime24", {share}).value == Approx(79.5));
  share.metric = "maj@64";
  CHECK(verdict("mini-aime24", {share}).verdict == "UNTESTED");
}

TEST_CASE("a context window stays untested by speed") {
  CHECK(*verdict("mini-window", {}).value == 524288);
  CHECK(verdict("mini-window", {}).rows.empty());
  const ClaimVerdict v = verdict("mini-window", {row("ring-mini-linear-2.0", "model", {.ctx = 524288}, 10)});
  CHECK(v.verdict == "UNTESTED");
  CHECK(v.rows.size() == 1);
  CHECK(contains(v.why, "speed, not quality"));
}

TEST_CASE("counts of parameters are computed exactly") {
  CHECK(*verdict("lite-parameters", {}).value == 17053681664);
  CHECK(*verdict("mini-active-non-embedding", {}).value == 956952320);
  for (const ClaimVerdict& v : judge_claims({}))
    if (v.unit == "parameters") CHECK(v.verdict == "REPRODUCED");
}

// facts known from an independent roofline of the same shapes and peaks: 3.95x, 2.70x, 1.77x.
TEST_CASE("the cost model shows the capacity effect in the published throughput") {
  CHECK(*verdict("lite-ttft-384k", {}).value == Approx(3.95).epsilon(0.02));
  const ClaimVerdict throughput = verdict("lite-throughput-32k", {}), time = verdict("lite-e2e-16k", {});
  CHECK(*throughput.value == Approx(2.70).epsilon(0.02));
  CHECK(contains(throughput.prediction, "ring-lite down to "));
  CHECK(contains(throughput.prediction, "ring-lite-linear all at once"));
  CHECK(contains(throughput.prediction, "more than what is stated"));
  CHECK(*time.value == Approx(100 * (1 / 1.77 - 1)).epsilon(0.02));
  CHECK(*verdict("lite-kv-16k", {}).value == Approx(0.1697).epsilon(0.001));
}

TEST_CASE("tables of claims are at most 100 columns wide, and json is whole") {
  const std::vector<ClaimVerdict> verdicts = judge_claims(pair_of("ring-lite-linear", {}, 9));
  std::ostringstream table, json, csv, md;
  write_claims(table, Format::table, verdicts, {"records of the test"});
  std::istringstream lines(table.str());
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    CHECK(line.size() <= 100);
  }
  CHECK(contains(table.str(), "EXCEEDED"));
  CHECK(contains(table.str(), "W-BASELINE"));
  write_claims(json, Format::json, verdicts, {});
  const auto array = nlohmann::json::parse(json.str());
  REQUIRE(array.size() == verdicts.size());
  CHECK(array[0]["stated"] == "3.5x");
  CHECK(array[0]["value"] == *verdicts[0].value);
  write_claims(csv, Format::csv, verdicts, {});
  const std::string rows = csv.str();
  CHECK(std::count(rows.begin(), rows.end(), '\n') == static_cast<long>(verdicts.size()) + 1);
  write_claims(md, Format::md, verdicts, {});
  CHECK(contains(md.str(), "| 3.5x | HF card inclusionAI/Ring-lite-linear-preview |"));
}

TEST_CASE("100000 rows are judged in seconds") {
  std::vector<Result> rows;
  const std::vector<Result> pair = pair_of("ring-nano-linear", {.device = "CPU", .engine = "reference"}, 2);
  rows.reserve(100000);
  for (int64_t i = 0; i < 50000; ++i)
    for (Result r : pair) {
      r.ctx = 512 + i;
      rows.push_back(r);
    }
  const auto start = std::chrono::steady_clock::now();
  CHECK(verdict("lite-ttft-384k", rows).verdict == "TREND ONLY");
  CHECK(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < 10);
}

TEST_CASE("the command reads records and exits as --fail-on says") {
  const Folder folder;
  const auto exit_code = [&](double gain, bool fail_on) {
    const std::filesystem::path file = folder.path / "records.jsonl", out = folder.path / "claims.json";
    std::ofstream records(file);
    for (Result r : pair_of("ring-lite-linear", {}, gain)) {
      r.point_id = "0123456789abcde" + std::to_string(r.linear_layers > 0);
      r.slope_layer_offset = "0";
      records << to_json_line(r) << "\n";
    }
    records.close();
    std::ostringstream table;
    std::streambuf* stdout_buffer = std::cout.rdbuf(table.rdbuf());
    const ExitCode code = run_claims({.runs = {file.string()},
                                      .results = folder.path.string(),
                                      .fail_on_not_reproduced = fail_on,
                                      .outputs = {out.string()}});
    std::cout.rdbuf(stdout_buffer);
    CHECK(contains(table.str(), "Records: records.jsonl, 2 rows"));
    CHECK(nlohmann::json::parse(read_file(out))[0]["rows"].size() == 2);
    return code;
  };
  CHECK(exit_code(3.5, true) == ExitCode::ok);
  CHECK(exit_code(2, true) == ExitCode::regression);
  CHECK(exit_code(2, false) == ExitCode::ok);
  ClaimsRequest request;
  request.outputs = {(folder.path / "nowhere" / "claims.md").string()};
  CHECK_THROWS_AS(run_claims(request), UsageError);
  request.outputs = {};
  request.runs = {"no-such-run"};
  CHECK_THROWS_AS(run_claims(request), UsageError);
}

TEST_CASE("the rule names every verdict") {
  for (const std::string& word : verdict_words) CHECK(contains(claims_rule(), word));
}
