// The line, the sum over chunks and the sampled estimate, on numbers worked out by hand and on an engine whose chunks
// take the time that a test plants; then on a real one, where only the work is counted.
#include "harness/estimate.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <random>
#include <set>

#include "harness/failure.h"
#include "tests/catch.h"
#include "tests/checks.h"
#include "tests/fake_clock.h"

using namespace ringbench;

namespace {

constexpr int kThreads = 4;
constexpr int64_t kChunk = 64;

// Keeps positions and nothing else. Appending tokens at position p takes `seconds(p)` for a whole chunk, its share for
// less, on every thread; the wall clock runs `contention` times as long.
class FakeEngine : public Engine {
 public:
  FakeEngine(FakeClock& clock, std::function<double(int64_t)> seconds, int slots = 1)
      : clock_(clock), seconds_(std::move(seconds)), position_(static_cast<size_t>(slots)) {
    config_.vocab_size = 16;
    config_.num_hidden_layers = config_.num_attention_heads = config_.num_key_value_heads = config_.head_dim = 1;
    config_.layer_types = {LayerType::softmax_attention};
  }

  double contention = 1;
  bool imported = false;  // the caches hold what nobody prefilled
  int64_t forwards = 0;
  std::map<int64_t, std::set<std::vector<int32_t>>> inputs;  // by position

  std::string_view name() const override { return "fake"; }
  const ModelConfig& config() const override { return config_; }
  void forward(std::span<const Step> steps, Rows) override {
    ++forwards;
    for (const Step& step : steps) {
      const auto count = static_cast<int64_t>(step.tokens.size());
      int64_t& position = position_[static_cast<size_t>(step.slot)];
      inputs[position].insert({step.tokens.begin(), step.tokens.end()});
      const double seconds = seconds_(position) * static_cast<double>(count) / kChunk;
      clock_.wall += contention * seconds;
      clock_.cpu += kThreads * seconds;
      position += count;
    }
  }
  HostTensorView logits() override { return {}; }
  HostTensorView mtp_logits() override { return {}; }
  void argmax(std::span<int32_t> out) override { std::fill(out.begin(), out.end(), 0); }
  int64_t position(int slot) const override { return position_[static_cast<size_t>(slot)]; }
  void reset(int slot) override { position_[static_cast<size_t>(slot)] = 0, imported = false; }
  void seek(int slot, int64_t position) override { position_[static_cast<size_t>(slot)] = position; }
  LayerState export_state(int, int) const override { return {}; }
  void import_state(int slot, int, const LayerState&, int64_t position) override {
    position_[static_cast<size_t>(slot)] = position, imported = true;
  }
  Report report() override { return {}; }
  Precision precision() const override { return {}; }

 private:
  ModelConfig config_;
  FakeClock& clock_;
  std::function<double(int64_t)> seconds_;
  std::vector<int64_t> position_;
};

// Powers of two, so that a clock's differences are exact.
constexpr double kA = 0.5, kB = 1.0 / 4096;
double affine(int64_t position) { return kA + kB * static_cast<double>(position); }

// Chunk by chunk, the rest by its share.
double sum_by_loop(const std::function<double(int64_t)>& seconds, int64_t ctx, int64_t chunk) {
  double sum = 0;
  for (int64_t p = 0; p < ctx; p += chunk)
    sum += seconds(p) * static_cast<double>(std::min(chunk, ctx - p)) / static_cast<double>(chunk);
  return sum;
}

PrefillEstimate estimate(Workload& workload, int64_t ctx, const EstimateEffort& effort) {
  return estimate_prefill(workload, ctx, effort, kThreads, [](const std::string&) {});
}

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const Failure& failure) {
    CHECK(failure.code == ExitCode::points_failed);
    return failure.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a line through four points: coefficients, covariance, fit and residual worked out by hand") {
  // Means 3/2 and 11/4; sxx 5, sxy 11/2, syy 35/4; residuals -0.1 0.8 -1.3 0.6, squares 2.7.
  const LineFit fit = fit_line({0, 1, 2, 3}, {1, 3, 2, 5});
  REQUIRE(near(fit.b, 1.1));
  REQUIRE(near(fit.a, 1.1));
  REQUIRE(near(fit.var_b, 1.35 / 5));
  REQUIRE(near(fit.var_a, 1.35 * (0.25 + 2.25 / 5)));
  REQUIRE(near(fit.cov_ab, -1.35 * 1.5 / 5));
  REQUIRE(near(fit.r2, 1 - 2.7 / 8.75));
  REQUIRE(near(fit.residual_max, 1.3 / 2.75));
  REQUIRE(fit.points == 4);
}

TEST_CASE("two points give their line without a variance; fewer, or equal x, are refused") {
  const LineFit fit = fit_line({2, 4}, {10, 20});
  REQUIRE(fit.a == 0);
  REQUIRE(fit.b == 5);
  REQUIRE(fit.var_a == 0);
  REQUIRE(fit.var_b == 0);
  REQUIRE(fit_line({0, 1, 2}, {3, 3, 3}).r2 == 1);  // a constant is a line
  REQUIRE_THROWS_AS(fit_line({1}, {1}), std::invalid_argument);
  REQUIRE_THROWS_AS(fit_line({1, 2}, {1}), std::invalid_argument);
  REQUIRE_THROWS_AS(fit_line({1, 1, 1}, {1, 2, 3}), std::invalid_argument);
}

TEST_CASE("quantiles of Student's t are those of the tables") {
  for (const auto& [freedom, quantile] : std::vector<std::pair<int64_t, double>>{
           {1, 12.7062}, {3, 3.1824}, {10, 2.2281}, {30, 2.0423}, {60, 2.0003}, {120, 1.9799}, {100000, 1.9600}})
    REQUIRE(std::abs(student_t95(freedom) - quantile) <= 5e-5);
  for (int64_t freedom = 1; freedom < 40; ++freedom) REQUIRE(student_t95(freedom) >= student_t95(freedom + 1));
  REQUIRE_THROWS_AS(student_t95(0), std::invalid_argument);
}

TEST_CASE("the sum over chunks is the loop over them; a rest counts by its share") {
  LineFit line;
  line.a = kA, line.b = kB;
  for (const int64_t chunk : {1, 7, 64, 512})
    for (const int64_t ctx : {1, 6, 7, 8, 63, 64, 65, 511, 512, 513, 4096, 10000})
      REQUIRE(near(sum_over_chunks(line, ctx, chunk), sum_by_loop(affine, ctx, chunk)));
}

TEST_CASE("sampled chunks lie evenly between the first and the last whole one, none twice") {
  for (const int64_t chunks : {1, 2, 3, 4, 5, 7, 8, 9, 64, 769}) {
    for (const int64_t m : {1, 2, 3, 4, 5, 6, 7, 8}) {
      for (const int64_t rest : {int64_t{0}, int64_t{1}, kChunk - 1}) {
        INFO(chunks << " chunks, " << m << " samples, rest " << rest);
        const std::vector<int64_t> positions = sample_positions(chunks * kChunk + rest, kChunk, m);
        const int64_t count = std::min(m, chunks);
        REQUIRE(static_cast<int64_t>(positions.size()) == count);
        REQUIRE(positions.front() == 0);
        if (count > 1) REQUIRE(positions.back() == (chunks - 1) * kChunk);
        for (int64_t i = 0; i < count; ++i) {
          const int64_t position = positions[static_cast<size_t>(i)];
          REQUIRE(position % kChunk == 0);
          if (i > 0) REQUIRE(position > positions[static_cast<size_t>(i - 1)]);
          if (i > 0)
            REQUIRE(std::abs(static_cast<double>(position) / kChunk -
                             static_cast<double>(i * (chunks - 1)) / static_cast<double>(count - 1)) <= 0.5);
        }
      }
    }
  }
  REQUIRE(sample_positions(kChunk - 1, kChunk, 5).empty());
}

TEST_CASE("an engine that is exactly affine is estimated exactly, with a rest or without") {
  for (const int64_t ctx : {64 * kChunk, 100 * kChunk + 17, 8 * kChunk}) {
    for (const int64_t points : {4, 5, 8}) {
      INFO("ctx " << ctx << ", points " << points);
      FakeClock clock;
      FakeEngine engine(clock, affine);
      Workload workload(engine, 1, kChunk, 0, clock);
      std::vector<std::string> heard;
      const PrefillEstimate e = estimate_prefill(workload, ctx, {points, 3, 8 * kChunk}, kThreads,
                                                 [&](const std::string& text) { heard.push_back(text); });
      const double truth = sum_by_loop(affine, ctx, kChunk);
      REQUIRE(near(e.seconds, truth));
      REQUIRE(std::abs(e.ci95_low - truth) <= 1e-6 * truth);  // square roots of the fit's rounding errors
      REQUIRE(std::abs(e.ci95_high - truth) <= 1e-6 * truth);
      REQUIRE(e.ci95_low <= e.seconds);
      REQUIRE(e.ci95_high >= e.seconds);
      REQUIRE(std::abs(e.anchor_error) <= 1e-12);
      REQUIRE(near(e.anchor_full_s, sum_by_loop(affine, 8 * kChunk, kChunk)));
      REQUIRE(near(e.r2, 1));
      REQUIRE(e.residual_max <= 1e-12);
      REQUIRE(near(e.contention, 1));
      REQUIRE(e.points == points);
      REQUIRE(e.reps == 3);
      REQUIRE(e.samples.size() == 3);
      for (const double sample : e.samples) REQUIRE(near(sample, truth));
      REQUIRE(near(e.work_share, static_cast<double>(points * kChunk) / static_cast<double>(ctx)));
      REQUIRE(near(e.cpu_s, clock.cpu));
      REQUIRE(engine.forwards == 8 + 3 * 2 * points);  // the anchor's chunks, then both sets of samples
      REQUIRE(engine.inputs.at((ctx / kChunk - 1) * kChunk).size() == 3);  // each repetition its own tokens
      REQUIRE(std::find(heard.begin(), heard.end(), "anchor 100 % of 512") != heard.end());
    }
  }
}

TEST_CASE("independent noise of 1 % is covered by the interval, which is not much wider than it") {
  const int64_t ctx = 256 * kChunk;
  const double truth = sum_by_loop(affine, ctx, kChunk);
  int covered = 0;
  std::vector<double> widths;
  for (unsigned seed = 0; seed < 100; ++seed) {
    std::mt19937_64 random(seed);
    std::normal_distribution<double> noise(1, 0.01);
    FakeClock clock;
    FakeEngine engine(clock, [&](int64_t p) { return affine(p) * noise(random); });
    Workload workload(engine, 1, kChunk, seed, clock);
    const PrefillEstimate e = estimate(workload, ctx, {5, 3, 32 * kChunk});
    REQUIRE(std::abs(e.seconds / truth - 1) <= 0.04);
    covered += e.ci95_low <= truth && truth <= e.ci95_high;
    widths.push_back((e.ci95_high - e.ci95_low) / 2 / truth);
  }
  REQUIRE(covered >= 90);
  // The line's end points alone leave 1 % of noise an error of about 0.6 %; three residual degrees of freedom
  // multiply it by 3.2, and the anchor adds its own.
  std::nth_element(widths.begin(), widths.begin() + 50, widths.end());
  REQUIRE(widths[50] <= 0.04);
}

TEST_CASE("a clock that drifts from run to run by 3 % is covered: the whole run has a drift of its own") {
  const int64_t ctx = 256 * kChunk;
  int covered = 0;
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937_64 random(seed);
    std::normal_distribution<double> drift(1, 0.03);
    const double in_anchor = drift(random), in_whole_run = drift(random);
    std::vector<double> in_repetition(64);
    for (double& f : in_repetition) f = drift(random);
    int64_t calls = 0;  // 32 chunks of the anchor, then 5 + 5 in each repetition
    FakeClock clock;
    FakeEngine engine(clock, [&](int64_t p) {
      const int64_t call = calls++;
      return affine(p) * (call < 32 ? in_anchor : in_repetition[static_cast<size_t>((call - 32) / 10) % 64]);
    });
    Workload workload(engine, 1, kChunk, seed, clock);
    const PrefillEstimate e = estimate(workload, ctx, {5, 5, 32 * kChunk});
    const double whole_run = in_whole_run * sum_by_loop(affine, ctx, kChunk);
    covered += e.ci95_low <= whole_run && whole_run <= e.ci95_high;
  }
  REQUIRE(covered >= 180);
}

TEST_CASE("chunks that lie off the line in every repetition alike are covered too") {
  const int64_t ctx = 256 * kChunk;
  int covered = 0;
  for (unsigned seed = 0; seed < 100; ++seed) {
    std::mt19937_64 random(seed);
    std::normal_distribution<double> noise(1, 0.015);
    std::vector<double> factor(257);  // of each chunk
    for (double& f : factor) f = noise(random);
    const auto seconds = [&](int64_t p) { return affine(p) * factor[static_cast<size_t>(p / kChunk)]; };
    FakeClock clock;
    FakeEngine engine(clock, seconds);
    Workload workload(engine, 1, kChunk, seed, clock);
    const PrefillEstimate e = estimate(workload, ctx, {5, 3, 32 * kChunk});
    const double truth = sum_by_loop(seconds, ctx, kChunk);
    covered += e.ci95_low <= truth && truth <= e.ci95_high;
  }
  REQUIRE(covered >= 90);
}

TEST_CASE("chunks that are faster or slower when sampled than in a whole prefill show in the anchor and the interval") {
  for (const double bias : {0.9, 1.1}) {
    FakeClock clock;
    FakeEngine* fake = nullptr;
    FakeEngine engine(clock, [&](int64_t p) { return affine(p) * (fake->imported ? bias : 1); });
    fake = &engine;
    Workload workload(engine, 1, kChunk, 0, clock);
    const PrefillEstimate e = estimate(workload, 64 * kChunk, {5, 2, 16 * kChunk});
    const double truth = sum_by_loop(affine, 64 * kChunk, kChunk);
    REQUIRE(std::abs(e.anchor_error - (bias - 1)) <= 1e-12);
    REQUIRE(near(e.seconds, bias * truth));
    REQUIRE(e.ci95_low <= truth * (1 + 1e-9));
    REQUIRE(truth <= e.ci95_high * (1 + 1e-9));
  }
}

TEST_CASE("chunk times that curve are refused") {
  FakeClock clock;
  FakeEngine engine(clock, [](int64_t p) { return 1 + 1e-6 * static_cast<double>(p * p); });
  Workload workload(engine, 1, kChunk, 0, clock);
  const std::string message = refusal([&] { estimate(workload, 64 * kChunk, {5, 2, 16 * kChunk}); });
  REQUIRE(message.starts_with("E-ESTIMATE: chunk times do not lie on a line"));
}

TEST_CASE("one disturbed chunk is repeated until it no longer counts") {
  FakeClock clock;
  FakeEngine* fake = nullptr;
  // The anchor's 16 chunks and 5 samples come first; the 26th forward is the deepest sampled chunk of repetition 0.
  FakeEngine engine(clock, [&](int64_t p) { return affine(p) * (fake->forwards == 26 ? 2.0 : 1.0); });
  fake = &engine;
  Workload workload(engine, 1, kChunk, 0, clock);
  const PrefillEstimate e = estimate(workload, 64 * kChunk, {5, 1, 16 * kChunk});
  REQUIRE(e.reps == 3);  // the median of three is undisturbed
  REQUIRE(near(e.seconds, sum_by_loop(affine, 64 * kChunk, kChunk)));
}

TEST_CASE("fewer than four chunks are refused before anything runs, also where there is only one or none") {
  for (const auto& [ctx, chunk, found] :
       {std::tuple{3 * kChunk + 63, kChunk, "255 tokens are 3 chunks of 64; an estimate needs at least 4."},
        std::tuple{kChunk, kChunk, "64 tokens are 1 chunk of 64; an estimate needs at least 4."},
        std::tuple{kChunk, kChunk + 1, "64 tokens are no whole chunk; an estimate needs at least 4."},
        std::tuple{kChunk, int64_t{0}, "64 tokens are no whole chunk; an estimate needs at least 4."}}) {
    FakeClock clock;
    FakeEngine engine(clock, affine);
    Workload workload(engine, 1, chunk, 0, clock);
    const int64_t tokens = ctx;
    REQUIRE(refusal([&] { estimate(workload, tokens, {5, 2, 4 * kChunk}); }) == "E-ESTIMATE: " + std::string(found));
    REQUIRE(clock.wall == 0);
  }
}

TEST_CASE("contention is wall time over CPU time per thread; estimates are CPU time") {
  FakeClock clock;
  FakeEngine engine(clock, affine);
  engine.contention = 1.5;
  Workload workload(engine, 1, kChunk, 0, clock);
  const PrefillEstimate e = estimate(workload, 64 * kChunk, {4, 2, 16 * kChunk});
  REQUIRE(near(e.contention, 1.5));
  REQUIRE(std::abs(e.anchor_error) <= 1e-12);
  REQUIRE(near(e.anchor_full_s, sum_by_loop(affine, 16 * kChunk, kChunk)));
  REQUIRE(near(e.seconds, sum_by_loop(affine, 64 * kChunk, kChunk)));
}

TEST_CASE("two probed chunks give the planted line, in wall time") {
  for (const int64_t ctx : {64 * kChunk, 6000 * int64_t{1}, 2 * kChunk}) {
    FakeClock clock;
    FakeEngine engine(clock, affine);
    engine.contention = 2;
    Workload workload(engine, 1, kChunk, 0, clock);
    const LineFit line = probe_prefill(workload, ctx);
    REQUIRE(near(line.a, 2 * kA));
    REQUIRE(near(line.b, 2 * kB));
    REQUIRE(engine.forwards == 3);  // one of them to warm up
  }
}

TEST_CASE("on a real engine the estimate runs the anchor whole and the sampled chunks, nothing else") {
  const ModelConfig config =
      ModelConfig::load(std::filesystem::path(RINGBENCH_SOURCE_DIR) / "configs/models/tiny.json");
  constexpr int64_t ctx = 1000, chunk = 32, anchor = 256, reps = 2, points = 5;
  EngineOptions options;
  options.chunk = chunk;
  options.max_tokens = ctx;
  options.slots = 2;
  const auto engine = make_reference_engine(config, Weights::random(config, 1), options);
  Clock clock;
  Workload workload(*engine, 2, chunk, 0, clock);
  std::string refused;
  try {
    const PrefillEstimate e = estimate_prefill(workload, ctx, {points, reps, anchor}, 1, [](const std::string&) {});
    REQUIRE(e.seconds > 0);
    REQUIRE(e.ci95_low <= e.seconds);
    REQUIRE(e.seconds <= e.ci95_high);
  } catch (const Failure& failure) {  // real times may lie anywhere; the work is the same
    refused = failure.what();
  }
  REQUIRE((refused.empty() || refused.starts_with("E-ESTIMATE: chunk times")));
  const Report report = engine->report();
  REQUIRE(report.expert_tokens.size() == 3);  // the first layer is dense
  for (const auto& [layer, counts] : report.expert_tokens) {
    int64_t sum = 0;
    for (const int64_t count : counts) sum += count;
    const int64_t sampled = sum / (2 * config.num_experts_per_tok) - anchor, each_rep = 2 * points * chunk;
    REQUIRE(sampled % each_rep == 0);
    REQUIRE(sampled / each_rep >= reps);
    REQUIRE(sampled / each_rep <= reps + 3);  // noisy times ask for more
  }
  for (int slot = 0; slot < 2; ++slot) {
    REQUIRE(engine->position(slot) == ctx / chunk * chunk);  // the end of the last whole chunk
    REQUIRE_NOTHROW(engine->seek(slot, ctx));                // filled to the end
  }
  const HostTensorView logits = engine->logits();
  REQUIRE(logits.shape == std::vector<int64_t>{2, config.vocab_size});
  for (const float x : logits.as<float>()) REQUIRE(std::isfinite(x));
}

TEST_CASE("a deep model's time is the line through two shallower ones, and its interval grows with the distance") {
  const TimeOf two = {2, 7, 6.9, 7.2}, four = {4, 11, 10.8, 11.1};  // 3 + 2 groups
  const TimeOf ten = estimate_by_groups(two, four, 10);
  CHECK(ten.groups == 10);
  CHECK(std::abs(ten.seconds - 23) < 1e-12);
  // 23 = 4 four - 3 two: its low end is where four is low and two is high.
  CHECK(std::abs(ten.seconds - ten.ci95_low - std::hypot(4 * 0.2, 3 * 0.2)) < 1e-12);
  CHECK(std::abs(ten.ci95_high - ten.seconds - std::hypot(4 * 0.1, 3 * 0.1)) < 1e-12);
  CHECK(estimate_by_groups(two, four, 4).seconds == 11);
}
