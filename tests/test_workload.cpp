// What is timed: which tokens a prefill and a decode feed, in which pieces, and what is left in the engine.
#include "harness/workload.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "tests/catch.h"
#include "tests/fake_clock.h"
#include "tests/golden.h"

using namespace ringbench;

namespace {

ModelConfig tiny() {
  return ModelConfig::load(std::filesystem::path(RINGBENCH_SOURCE_DIR) / "configs/models/tiny.json");
}

// Passes everything on, and writes down what each sequence was fed and in which pieces. A forward takes one second.
class RecordingEngine : public Engine {
 public:
  RecordingEngine(const ModelConfig& config, int slots, FakeClock& clock)
      : fed(static_cast<size_t>(slots)), clock_(clock) {
    EngineOptions options;
    options.slots = slots;
    options.max_tokens = 400;
    options.chunk = 64;
    options.threads = 1;
    engine_ = make_reference_engine(config, Weights::random(config, 3), options);
  }

  std::vector<std::vector<int32_t>> fed;     // [slot]: all tokens since the last reset
  std::vector<std::vector<int64_t>> pieces;  // [forward]: tokens of each step
  std::vector<Rows> wanted;                  // [forward]

  std::string_view name() const override { return "recording"; }
  const ModelConfig& config() const override { return engine_->config(); }
  void forward(std::span<const Step> steps, Rows rows) override {
    auto& sizes = pieces.emplace_back();
    wanted.push_back(rows);
    for (const Step& step : steps) {
      auto& to = fed[static_cast<size_t>(step.slot)];
      to.insert(to.end(), step.tokens.begin(), step.tokens.end());
      sizes.push_back(static_cast<int64_t>(step.tokens.size()));
    }
    clock_.wall += 1, clock_.cpu += 2;
    engine_->forward(steps, rows);
  }
  HostTensorView logits() override { return engine_->logits(); }
  HostTensorView mtp_logits() override { return engine_->mtp_logits(); }
  void argmax(std::span<int32_t> out) override { engine_->argmax(out); }
  int64_t position(int slot) const override { return engine_->position(slot); }
  void reset(int slot) override { engine_->reset(slot), fed[static_cast<size_t>(slot)].clear(); }
  void seek(int slot, int64_t position) override { engine_->seek(slot, position); }
  LayerState export_state(int slot, int layer) const override { return engine_->export_state(slot, layer); }
  void import_state(int slot, int layer, const LayerState& state, int64_t position) override {
    engine_->import_state(slot, layer, state, position);
  }
  Report report() override { return engine_->report(); }
  Precision precision() const override { return engine_->precision(); }

 private:
  FakeClock& clock_;
  std::unique_ptr<Engine> engine_;
};

// What `tokens` tokens of prefill feed each sequence.
std::vector<std::vector<int32_t>> prompts(int64_t batch, int64_t chunk, uint64_t seed, int64_t repetition,
                                          std::vector<int64_t> parts = {100}) {
  FakeClock clock;
  RecordingEngine engine(tiny(), static_cast<int>(batch), clock);
  Workload workload(engine, batch, chunk, seed, clock);
  workload.choose_input(repetition);
  for (const int64_t tokens : parts) workload.prefill(tokens);
  return engine.fed;
}

int32_t greedy(const HostTensorView& logits, int64_t row) {
  const auto values =
      logits.as<float>().subspan(static_cast<size_t>(row * logits.shape[1]), static_cast<size_t>(logits.shape[1]));
  return static_cast<int32_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

}  // namespace

TEST_CASE("the same seed and repetition give the same tokens for any batch, chunk and split into calls") {
  const auto alone = prompts(1, 7, 5, 2);
  REQUIRE(alone[0].size() == 100);
  const auto together = prompts(3, 0, 5, 2);
  REQUIRE(together[0] == alone[0]);
  REQUIRE(prompts(2, 64, 5, 2)[1] == together[1]);
  REQUIRE(prompts(1, 64, 5, 2, {1, 60, 39})[0] == alone[0]);
  for (const int32_t id : alone[0]) REQUIRE((id >= 0 && id < tiny().vocab_size));
  // Another sequence, repetition or seed: other tokens. Of 256, two in 100 random ones are rarely fewer than 80 apart.
  const auto different = [&](const std::vector<int32_t>& other) {
    int64_t count = 0;
    for (size_t i = 0; i < 100; ++i) count += alone[0][i] != other[i];
    return count;
  };
  REQUIRE(different(together[1]) >= 90);
  REQUIRE(different(together[2]) >= 90);
  REQUIRE(different(prompts(1, 7, 5, 3)[0]) >= 90);
  REQUIRE(different(prompts(1, 7, 6, 2)[0]) >= 90);
}

TEST_CASE("a prefill runs whole chunks and a rest, asks for logits at its end only, and times nothing else") {
  FakeClock clock;
  RecordingEngine engine(tiny(), 2, clock);
  Workload workload(engine, 2, 32, 0, clock);
  std::vector<int64_t> heard;
  const Elapsed elapsed = workload.prefill(100, [&](int64_t done) {
    heard.push_back(done);
    clock.wall += 100, clock.cpu += 100;  // what is said in between is not the engine's time
  });
  REQUIRE(engine.pieces == std::vector<std::vector<int64_t>>{{32, 32}, {32, 32}, {32, 32}, {4, 4}});
  REQUIRE(engine.wanted == std::vector<Rows>{Rows::none, Rows::none, Rows::none, Rows::last});
  REQUIRE(heard == std::vector<int64_t>{32, 64, 96, 100});
  REQUIRE(elapsed.wall_s == 4);
  REQUIRE(elapsed.cpu_s == 8);
  REQUIRE(workload.position() == 100);
  REQUIRE(engine.position(1) == 100);
  workload.reset();
  REQUIRE(engine.position(0) == 0);
  REQUIRE(engine.position(1) == 0);
}

TEST_CASE("decode feeds the greedy choice of the step before, each sequence its own") {
  FakeClock clock;
  RecordingEngine engine(tiny(), 3, clock);
  Workload workload(engine, 3, 32, 0, clock);
  workload.prefill(40);
  const std::vector<double> seconds = workload.decode(12);
  REQUIRE(seconds == std::vector<double>(12, 1.0));
  for (size_t slot = 0; slot < 3; ++slot) {
    FakeClock other_clock;
    RecordingEngine by_hand(tiny(), 1, other_clock);
    const std::vector<int32_t> prompt(engine.fed[slot].begin(), engine.fed[slot].begin() + 40);
    std::vector<int32_t> expected = prompt;
    by_hand.forward(std::vector<Step>{{0, prompt}}, Rows::last);
    for (int step = 0; step < 12; ++step) {
      expected.push_back(greedy(by_hand.logits(), 0));
      by_hand.forward(std::vector<Step>{{0, std::span(expected).last(1)}}, Rows::last);
    }
    REQUIRE(engine.fed[slot] == expected);
  }
  REQUIRE(engine.fed[0] != engine.fed[1]);
}

TEST_CASE("restoring the saved states makes a decode repeat bit for bit, from a prefill or a synthetic cache") {
  for (const bool synthetic : {false, true}) {
    FakeClock clock;
    RecordingEngine engine(tiny(), 2, clock);
    Workload workload(engine, 2, 32, 0, clock);
    if (synthetic)
      workload.fill_synthetic(90);
    else
      workload.prefill(90);
    workload.save_states();
    workload.decode(20);
    const std::string first = workload.logits_hash();
    const std::vector<std::vector<int32_t>> fed = engine.fed;
    REQUIRE(workload.position() == 110);
    for (auto& tokens : engine.fed) tokens.resize(synthetic ? 0 : 90);
    workload.restore_states();
    REQUIRE(workload.position() == 90);
    REQUIRE(engine.position(1) == 90);
    workload.decode(20);
    REQUIRE(engine.fed == fed);
    REQUIRE(workload.logits_hash() == first);
    // Without the recurrent states it is another text: the test above can fail.
    workload.seek(90);
    workload.decode(20);
    REQUIRE(workload.logits_hash() != first);
  }
}

TEST_CASE("synthetic caches hold `depth` tokens in every layer kind, and the model still speaks") {
  for (const ModelConfig& config : {tiny(), tiny().with_hybrid_ratio(HybridRatio::parse("softmax")),
                                    tiny().with_hybrid_ratio(HybridRatio::parse("linear")),
                                    ModelConfig::load(goldens() / "gpt_oss" / "config.json")}) {
    INFO(config.name << " " << config.layer_pattern());
    FakeClock clock;
    RecordingEngine engine(config, 2, clock);
    Workload workload(engine, 2, 32, 0, clock);
    workload.fill_synthetic(200);
    REQUIRE(workload.position() == 200);
    REQUIRE(engine.position(1) == 200);
    for (int layer = 0; layer < config.num_hidden_layers; ++layer) {
      const LayerState state = engine.export_state(1, layer);
      const auto values = (state.kv.empty() ? state.k : state.kv).as<float>();
      double squares = 0;
      for (const float x : values) squares += static_cast<double>(x * x);
      // Unit normal: the mean square of n values is 1 within 5 sqrt(2 / n).
      const auto n = static_cast<double>(values.size());
      REQUIRE(std::abs(squares / n - 1) <= 5 * std::sqrt(2 / n));
      if (state.kv.empty()) REQUIRE(max_abs_difference(as_doubles(state.k), as_doubles(state.v)) > 1);
    }
    workload.decode(3);
    REQUIRE(workload.position() == 203);
    for (const float x : engine.logits().as<float>()) REQUIRE(std::isfinite(x));
    workload.seek(200);
    REQUIRE(workload.position() == 200);
  }
}

TEST_CASE("the hash is of the last logits: equal for equal ones, other for others") {
  const auto hash = [](uint64_t seed, int64_t tokens) {
    FakeClock clock;
    RecordingEngine engine(tiny(), 1, clock);
    Workload workload(engine, 1, 32, seed, clock);
    workload.prefill(tokens);
    return workload.logits_hash();
  };
  REQUIRE(hash(1, 50) == hash(1, 50));
  REQUIRE(hash(1, 50) != hash(2, 50));
  REQUIRE(hash(1, 50) != hash(1, 51));
  REQUIRE(hash(1, 50).size() == 16);
  REQUIRE(hash(1, 50).find_first_not_of("0123456789abcdef") == std::string::npos);
}

TEST_CASE("a signal ends prefill and decode between two chunks or steps") {
  FakeClock clock;
  RecordingEngine engine(tiny(), 1, clock);
  Workload workload(engine, 1, 8, 0, clock);
  const pid_t child = fork();  // the flag of a signal is never taken back
  if (child == 0) {
    install_signal_handlers();
    int code = 1;
    try {
      workload.prefill(64, [](int64_t done) {
        if (done == 24) raise(SIGINT);
      });
    } catch (const Interrupted&) {
      code = workload.position() == 24 ? 2 : 3;
    }
    try {
      workload.decode(1);
    } catch (const Interrupted&) {
      code += workload.position() == 24 ? 20 : 40;
    }
    _exit(code);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 22);
}
