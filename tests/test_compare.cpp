// Comparing runs: the ratio and its interval, verdicts that chance does not make, unlike rows that are refused.
#include "harness/compare.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "harness/measure.h"
#include "harness/speedup.h"
#include "tests/catch.h"
#include "tests/checks.h"
#include "tests/folder.h"
#include "tests/printed.h"

using namespace ringbench;
namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

namespace {

using Results = std::vector<Result>;

Result row_of(int64_t ctx, const Numbers& samples) {
  Result r;
  char id[17];
  std::snprintf(id, sizeof id, "%016llx", static_cast<unsigned long long>(ctx));
  r.point_id = id;
  r.phase = "prefill";
  r.engine = "reference";
  r.model = "ring-nano-linear";
  r.hybrid = "3:1";
  r.ctx = ctx;
  r.dtype = "f32";
  r.slope_layer_offset = "0";
  r.weights = "dummy:scaled";
  r.chunk = 512;
  r.threads = 2;
  r.metric = "ttft_s";
  r.device = "CPU of the test";
  r.commit = "4f2a9c1";
  r.run_id = "a run";
  r.samples = samples;
  if (samples.empty()) return r;
  const Summary s = summarize(samples);
  r.value = s.median, r.n = s.n, r.ci95_low = s.ci95_low, r.ci95_high = s.ci95_high;
  return r;
}

Comparison compare(const Results& a, const Results& b, const CompareOptions& options = {}) {
  Comparer comparer(options);
  for (const Result& r : a) comparer.add_first(r);
  for (const Result& r : b) comparer.add_second(r);
  return comparer.compare();
}

int64_t count(const Comparison& comparison, Verdict verdict) {
  const auto found = comparison.counts.find(verdict);
  return found == comparison.counts.end() ? 0 : found->second;
}

// What a run on a machine that is not quite quiet measures: each row with a level of its own that it keeps from run to
// run but for 0.3 %, a slow drift over the whole run, repetitions with a long tail, and now and then an interruption.
struct Machine {
  double noise = 0.01, drift = 0.005, between = 0.003;
  int rows = 20;
};
Results measured_run(const Machine& machine, std::mt19937_64& random, double slower = 1) {
  std::normal_distribution normal(0.0, 1.0);
  std::uniform_real_distribution uniform(0.0, 1.0);
  const double phase = 6.28 * uniform(random), period = 60 + 200 * uniform(random);
  Results rows;
  int64_t repetition = 0;
  for (int i = 0; i < machine.rows; ++i) {
    const double level = 0.1 * (i + 1) * std::exp(machine.between * normal(random)) * slower;
    const int n = 6 + static_cast<int>(25 * uniform(random));
    Numbers samples;
    for (int k = 0; k < n; ++k) {
      double time = level * std::exp(machine.noise * normal(random)) *
                    (1 + machine.drift * std::sin(phase + 6.28 * static_cast<double>(++repetition) / period));
      if (uniform(random) < 0.05) time *= 1 + 0.2 * -std::log(1 - uniform(random));
      samples.push_back(time);
    }
    rows.push_back(row_of(i + 1, samples));
  }
  return rows;
}

std::string refusal(const Results& a, const Results& b, const CompareOptions& options = {}) {
  try {
    compare(a, b, options);
  } catch (const UsageError& e) {
    return std::string(e.what()) + "\n" + e.hint;
  }
  return "";
}

void write_jsonl(const fs::path& path, const Results& rows) {
  std::ofstream out(path);
  for (const Result& r : rows) out << to_json_line(r) << "\n";
}

// What `run_compare` prints, and its exit code.
std::pair<ExitCode, std::string> printed(const CompareRequest& request) {
  return printed_by([&] { return run_compare(request); });
}

}  // namespace

TEST_CASE("a run against another run of the same: no SLOWER in 100 trials") {
  std::mt19937_64 random(11);
  int64_t rows = 0, same = 0;
  for (int trial = 0; trial < 100; ++trial) {
    Machine machine;
    machine.noise = trial % 3 == 0 ? 0.003 : trial % 3 == 1 ? 0.01 : 0.03;
    machine.between = trial % 2 == 0 ? 0.001 : 0.003;
    const Comparison c = compare(measured_run(machine, random), measured_run(machine, random));
    INFO("trial " << trial << ", spread " << c.spread_below << " " << c.spread_above);
    CHECK(count(c, Verdict::slower) == 0);
    CHECK(count(c, Verdict::faster) == 0);
    rows += static_cast<int64_t>(c.rows.size());
    same += count(c, Verdict::same);
  }
  CHECK(rows == 2000);
  CHECK(same > 200);  // it can tell: quiet rows are the same, not merely unclear
}

TEST_CASE("a run against itself is the same in every row that has repetitions") {
  std::mt19937_64 random(12);
  const Results run = measured_run({}, random);
  const Comparison c = compare(run, run);
  for (const ComparedRow& row : c.rows) CHECK(std::abs(*row.ratio - 1) < 1e-12);
  CHECK(count(c, Verdict::slower) + count(c, Verdict::faster) + count(c, Verdict::unmatched) == 0);
}

TEST_CASE("a planted slowdown of 3 % is found, in one row, in half of them and in all") {
  Machine machine;
  machine.drift = machine.between = 0;
  std::mt19937_64 random(13);
  std::normal_distribution normal(0.0, 0.01);
  const auto samples = [&](double level) {
    Numbers s;
    for (int i = 0; i < 20; ++i) s.push_back(level * std::exp(normal(random)));
    return s;
  };
  for (const int slow : {1, 10, 20}) {
    int64_t found = 0, wrong = 0, planted = 0;
    for (int trial = 0; trial < 20; ++trial) {
      Results a, b;
      for (int i = 0; i < 20; ++i) {
        a.push_back(row_of(i + 1, samples(0.1 * (i + 1))));
        b.push_back(row_of(i + 1, samples(0.1 * (i + 1) * (i < slow ? 1.03 : 1))));
      }
      for (const ComparedRow& row : compare(a, b).rows) {
        const bool slower = row.verdict == Verdict::slower;
        (row.ctx <= slow ? found : wrong) += slower;
        planted += row.ctx <= slow;
      }
    }
    INFO(slow << " of 20 rows: " << found << " of " << planted << " found");
    CHECK(wrong == 0);
    CHECK(static_cast<double>(found) >= 0.9 * static_cast<double>(planted));
  }
  // The same samples, 3 % longer: as certain as can be.
  const Results a = {row_of(1, samples(1))};
  Results b = a;
  for (double& x : b[0].samples) x *= 1.03;
  b[0].value = *b[0].value * 1.03;
  const Comparison c = compare(a, b);
  CHECK(c.rows[0].verdict == Verdict::slower);
  CHECK(compare(b, a).rows[0].verdict == Verdict::faster);
  CHECK(std::abs(*c.rows[0].ratio - 1.03) < 0.005);
  CHECK(*c.rows[0].low > 1.01);
  CompareOptions coarse;
  coarse.threshold = 0.05;
  CHECK(compare(a, b, coarse).rows[0].verdict == Verdict::same);
}

TEST_CASE("what the runs differ by as wholes widens the intervals, and is said") {
  std::mt19937_64 random(14);
  Machine shaky;
  shaky.noise = 0.001, shaky.drift = 0, shaky.between = 0.005;
  shaky.rows = 40;
  const Results a = measured_run(shaky, random);
  Results b = measured_run(shaky, random);
  const Comparison c = compare(a, b);
  for (const double spread : {c.spread_below, c.spread_above}) {
    CHECK(spread > 0.004);  // 0.005 sqrt(2)
    CHECK(spread <= 0.01);
  }
  CHECK(count(c, Verdict::slower) == 0);
  CHECK(count(c, Verdict::faster) == 0);
  // It is not taken for chance when many rows are slower, and more the longer they take.
  for (size_t i = 0; i < b.size(); ++i)
    for (double& x : b[i].samples) x *= 1 + 0.003 * static_cast<double>(i);
  const Comparison slower = compare(a, b);
  CHECK(slower.spread_below <= 0.01);
  CHECK(count(slower, Verdict::slower) > 20);
  CHECK(count(slower, Verdict::faster) == 0);
}

TEST_CASE("speed-ups of interleaved rows come from their pairs: what both suffered cancels") {
  Numbers fast, slow;
  for (int i = 0; i < 12; ++i) {
    const double drift = 1 + 0.1 * i;
    fast.push_back(drift * (1 + 0.001 * (i % 3)));
    slow.push_back(2 * drift * (1 + 0.001 * (i % 4)));
  }
  Result row = row_of(1, fast), baseline = row_of(2, slow);
  const Ratio apart = speed_up(row, baseline);
  CHECK_FALSE(apart.paired);
  CHECK(*apart.low < 1.6);
  row.interleaved = baseline.interleaved = true;
  const Ratio paired = speed_up(row, baseline);
  CHECK(paired.paired);
  CHECK(std::abs(paired.value - 2) < 0.01);
  CHECK(*paired.low > 1.98);
  CHECK(*paired.high < 2.02);
  baseline.run_id = "another run";
  CHECK_FALSE(speed_up(row, baseline).paired);
  baseline.run_id = row.run_id;
  baseline.samples.pop_back();
  CHECK_FALSE(speed_up(row, baseline).paired);
}

TEST_CASE("intervals come from samples, pairs, or the rows' own") {
  Numbers base = {1.00, 1.01, 0.99, 1.02, 0.98, 1.005, 0.995, 1.0};
  Numbers doubled;
  for (const double x : base) doubled.push_back(2 * x);
  const auto basis = [](const Result& a, const Result& b) { return compare({a}, {b}).rows[0].basis; };
  Result a = row_of(1, base), b = row_of(1, doubled);
  CHECK(basis(a, b) == "samples");
  a.interleaved = b.interleaved = true;
  CHECK(basis(a, b) == "pairs");
  b.run_id = "another";  // repetitions of two runs are no pairs
  CHECK(basis(a, b) == "samples");
  a.method = b.method = "estimated";
  const Comparison c = compare({a}, {b});
  CHECK(c.rows[0].basis == "intervals");
  CHECK(std::abs(*c.rows[0].ratio - 2) < 1e-12);
  CHECK(c.rows[0].verdict == Verdict::slower);
  a.method = b.method = "measured";
  a.samples = {1, 1, 1};
  a.ci95_low = a.ci95_high = std::nullopt;
  const Comparison few = compare({a}, {b});
  CHECK(few.rows[0].basis.empty());
  CHECK(few.rows[0].verdict == Verdict::ambiguous);
  CHECK(few.rows[0].note == "no interval: fewer than 6 repetitions");
}

TEST_CASE("unlike rows are refused unless --across names in what") {
  const Numbers s = {1, 1.01, 0.99, 1, 1.02, 0.98};
  const Result a = row_of(1, s);
  const std::vector<std::pair<std::string, void (*)(Result&)>> changes = {{"engine", [](Result& r) { r.engine = "cuda"; }},
                                                                          {"dtype", [](Result& r) { r.dtype = "bf16"; }},
                                                                          {"device", [](Result& r) { r.device = "another"; }},
                                                                          {"weights", [](Result& r) { r.weights = "dummy:zero"; }},
                                                                          {"method", [](Result& r) { r.method = "estimated"; }},
                                                                          {"chunk", [](Result& r) { r.chunk = 64; }},
                                                                          {"threads", [](Result& r) { r.threads = 1; }},
                                                                          {"depth-fill", [](Result& r) { r.depth_fill = "synthetic"; }}};
  for (const auto& [name, change] : changes) {
    Result b = a;
    change(b);
    INFO(name);
    CHECK(contains(refusal({a}, {b}), "compare: the runs are unlike: " + name + " is '"));
    CHECK(contains(refusal({a}, {b}), "--across " + name));
    CompareOptions options;
    options.across = {name};
    CHECK(compare({a}, {b}, options).rows[0].ratio);
    // With another row that is alike it is left out, and that is said.
    const Comparison c = compare({a, row_of(2, s)}, {b, row_of(2, s)});
    CHECK(count(c, Verdict::unmatched) == 2);
    CHECK(contains(c.rows[0].note, "unlike: " + name));
    CHECK(contains(join(c.notes, "\n"), "1 point of both runs left out because they are unlike"));
  }
  Result b = a;
  b.commit = "another";  // builds differ, that is what compare is for
  CHECK(refusal({a}, {b}).empty());
  CompareOptions options;
  options.across = {"devise"};
  CHECK(contains(refusal({a}, {b}, options), "--across: 'devise' is none of engine, dtype, device"));
  CHECK(contains(refusal({a}, {b}, options), "Did you mean device?"));
  options = {};
  options.by = {"context"};
  CHECK(contains(refusal({a}, {b}, options), "--by: 'context' is none of phase"));
}

TEST_CASE("across engines, rows that agree in everything are paired first") {
  const Numbers s = {1, 1.01, 0.99, 1, 1.02, 0.98};
  Result reference = row_of(1, s), cuda = row_of(1, s);
  cuda.engine = "cuda";
  CompareOptions options;
  options.across = {"engine"};
  const Comparison c = compare({reference, cuda}, {cuda, reference}, options);
  REQUIRE(c.rows.size() == 2);
  for (const ComparedRow& row : c.rows) CHECK(row.a.conditions[0] == row.b.conditions[0]);
}

TEST_CASE("points of one run only, without a number, retried, or of mixed builds are told apart") {
  const Numbers s = {1, 1.01, 0.99, 1, 1.02, 0.98};
  Result failed = row_of(2, {});
  failed.status = "oom";
  Result other_build = row_of(3, s);
  other_build.commit = "0000000";
  const Comparison c = compare({row_of(1, {9, 9, 9, 9, 9, 9}), row_of(1, s), row_of(2, s), other_build, row_of(4, s)},
                               {row_of(1, s), failed, row_of(3, s), row_of(5, s)});
  REQUIRE(c.rows.size() == 5);
  CHECK(*c.rows[0].ratio == 1);  // the retry counts
  CHECK(c.rows[1].verdict == Verdict::unmatched);
  CHECK(c.rows[1].note == "no number: B oom");
  CHECK(c.rows[3].note == "only in A");
  CHECK(c.rows[4].note == "only in B");
  CHECK(join(c.notes, "\n") == "A mixes 2 builds: 0000000, 4f2a9c1");
  Result score = row_of(1, {});
  score.unit = "share";
  CHECK(compare({score}, {score}).rows.empty());
  CHECK(compare({}, {}).rows.empty());
}

TEST_CASE("compare A B: the table, its groups, json, files, and exit code 5") {
  Folder folder;
  const Numbers s = {1, 1.01, 0.99, 1, 1.02, 0.98, 1, 1};
  Numbers slow;
  for (const double x : s) slow.push_back(1.5 * x);
  write_jsonl(folder.path / "a.jsonl", {row_of(1, s), row_of(2, s)});
  write_jsonl(folder.path / "b.jsonl", {row_of(1, s), row_of(2, slow)});
  CompareRequest request;
  request.first = (folder.path / "a.jsonl").string();
  request.second = (folder.path / "b.jsonl").string();
  request.color = ColorWhen::never;
  request.options.by = {"ratio"};
  request.outputs = {(folder.path / "c.csv").string(), (folder.path / "c.md").string()};
  const auto [code, text] = printed(request);
  CHECK(code == ExitCode::regression);
  CHECK(contains(text, "1.500x  [1.4"));
  CHECK(text.find("SLOWER") < text.find("SAME"));  // slowest first
  CHECK(contains(text, "ratio 1.50: 1 SLOWER, median ratio 1.500x"));
  CHECK(contains(text, "2 rows: 1 SLOWER, 1 SAME (B against A, threshold 2 %)"));
  CHECK(contains(read_file(folder.path / "c.csv"), "point_id,model,phase,hybrid,ctx,gen,batch,metric,a_engine"));
  CHECK(contains(read_file(folder.path / "c.md"), "| B/A |"));

  request.format = Format::json;
  request.fail_on = {"none"};
  const auto [calm, json_text] = printed(request);
  CHECK(calm == ExitCode::ok);
  const OrderedJson json = OrderedJson::parse(json_text);
  CHECK(json["schema"] == "ringbench.compare/1");
  CHECK(json["rows"].size() == 2);
  CHECK(json["rows"][0]["verdict"] == "SLOWER");
  CHECK(json["counts"]["SLOWER"] == 1);
  request.fail_on = {"ambiguous"};
  CHECK(printed(request).first == ExitCode::ok);
  request.options.threshold = 0.001;  // too fine for eight repetitions
  CHECK(printed(request).first == ExitCode::regression);
  std::swap(request.first, request.second);
  request.fail_on = {"slower"};
  CHECK(printed(request).first == ExitCode::ok);
  request.outputs = {(folder.path / "c.xlsx").string()};
  CHECK_THROWS_AS(printed(request), UsageError);
  request.outputs = {};
  request.fail_on = {"slow"};
  CHECK_THROWS_AS(printed(request), UsageError);
}
