// The whole CUDA engine against public numbers and against itself: chunks, decode graphs, batches, states handed over,
// memory as planned. On the emulator and, where there is one, on the GPU.
#include "cuda/cuda_engine.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "cuda/gpu.h"
#include "harness/budget.h"
#include "tests/catch.h"
#include "tests/golden.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

EngineOptions options_for(DType dtype, int64_t chunk = 0, int slots = 1, int64_t max_tokens = 200) {
  EngineOptions options;
  options.dtype = dtype;
  options.chunk = chunk;
  options.slots = slots;
  options.max_tokens = max_tokens;
  return options;
}

ModelConfig preset(const std::string& name) {
  return ModelConfig::load(std::filesystem::path(RINGBENCH_SOURCE_DIR) / "configs/models" / (name + ".json"));
}

std::vector<int32_t> tokens(int64_t count, int64_t vocab, uint64_t seed = 1) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<int32_t>(random_bits(seed, i) % static_cast<uint64_t>(vocab));
  return ids;
}

std::vector<double> forward(Engine& engine, int slot, const std::vector<int32_t>& ids, Rows rows = Rows::all) {
  const Step step{slot, ids};
  engine.forward({&step, 1}, rows);
  return rows == Rows::none ? std::vector<double>() : as_doubles(engine.logits());
}

int32_t greedy(Engine& engine) {
  int32_t token = -1;
  engine.argmax({&token, 1});
  return token;
}

void append(std::vector<double>& to, const std::vector<double>& from) { to.insert(to.end(), from.begin(), from.end()); }

double rms(const std::vector<double>& values) {
  double squares = 0;
  for (const double x : values) squares += x * x;
  return std::sqrt(squares / static_cast<double>(values.size()));
}

}  // namespace

TEST_CASE("the f32 engine computes the logits of public code, and its greedy tokens", "[cuda][engine]") {
  for (const std::string& name : golden_cases()) {
    const std::filesystem::path folder = goldens() / name;
    ModelConfig config = ModelConfig::load(folder / "config.json");
    const Weights weights = Weights::load(config, folder);
    const SafeTensors golden = SafeTensors::open(folder / "golden.safetensors");
    const auto prompt = token_ids(golden, "input_ids"), continuation = token_ids(golden, "decode_ids");
    const auto engine = make_engine(config, weights, options_for(DType::f32));
    std::vector<double> logits = forward(*engine, 0, prompt), truth = as_doubles(golden.at("logits"));
    append(truth, as_doubles(golden.at("decode_logits")));
    std::vector<int32_t> chosen;  // by the step before
    std::vector<int32_t> each(prompt.size());
    engine->argmax(each);
    chosen.push_back(each.back());
    for (const int32_t token : continuation) {
      append(logits, forward(*engine, 0, {token}, Rows::last));
      chosen.push_back(greedy(*engine));
    }
    // How close is close: tests/goldens/README.md. Five times what the public code itself loses in f32.
    std::vector<double> f32 = as_doubles(golden.at("logits_f32")), f64 = as_doubles(golden.at("logits"));
    const double tolerance = std::max(5 * max_abs_difference(f32, f64), 2e-5 * rms(f64));
    INFO(name << ": off by " << max_abs_difference(logits, truth) << " of " << tolerance);
    CHECK(max_abs_difference(logits, truth) <= tolerance);
    for (size_t i = 0; i < 4; ++i) CHECK(chosen[i] == continuation[i]);  // the first four are greedy
  }
}

TEST_CASE("the bf16 engine of dense models is as close to f64 as its rounding points let it be", "[cuda][engine]") {
  // Mixtures of experts jump where roundings move a token to another expert: parity judges those layer by layer.
  for (const char* name : {"qwen2", "qwen3"}) {
    const std::filesystem::path folder = goldens() / name;
    const ModelConfig config = ModelConfig::load(folder / "config.json");
    const Weights weights = Weights::load(config, folder);
    const auto engine = make_engine(config, weights, options_for(DType::bf16));
    const auto ids = tokens(64, config.vocab_size);
    const auto walk = [&](Engine& e) {
      std::vector<double> logits = forward(e, 0, ids);
      for (const int32_t token : {3, 1, 4, 1}) append(logits, forward(e, 0, {token}, Rows::last));
      return logits;
    };
    EngineOptions exact = options_for(DType::f64), rounded = exact;
    rounded.precision = engine->precision();
    const auto truth = walk(*make_reference_engine(config, weights, exact));
    const auto unavoidable = discrepancy(walk(*make_reference_engine(config, weights, rounded)), truth);
    const Judgement judgement = judge(discrepancy(walk(*engine), truth), unavoidable, float_floor(64));
    INFO(name << ": " << judgement.text);
    CHECK(judgement.pass);
  }
}

TEST_CASE("packed weights of every family are those of the reference", "[cuda][engine]") {
  // Random weights take other paths than checkpoints: made on the device, experts transposed, heads normalised.
  for (const std::string& name : golden_cases()) {
    ModelConfig config = ModelConfig::load(goldens() / name / "config.json");
    const Weights weights = Weights::random(config, 5);
    const auto ids = tokens(20, config.vocab_size);
    const auto truth = forward(*make_reference_engine(config, weights, options_for(DType::f64)), 0, ids);
    const auto found = forward(*make_engine(config, weights, options_for(DType::f32)), 0, ids);
    INFO(name);
    CHECK(discrepancy(found, truth).rms < 1e-5);
  }
}

TEST_CASE("chunks, single tokens and one shot agree; the same calls give the same bits", "[cuda][engine]") {
  const ModelConfig config = preset("ring-pico-linear");
  const Weights weights = Weights::random(config, 3);
  const auto ids = tokens(75, config.vocab_size);
  const auto whole = forward(*make_engine(config, weights, options_for(DType::f32)), 0, ids);
  CHECK(forward(*make_engine(config, weights, options_for(DType::f32)), 0, ids) == whole);
  CHECK(discrepancy(forward(*make_engine(config, weights, options_for(DType::f32, 16)), 0, ids), whole).rms < 1e-5);
  const auto stepwise = make_engine(config, weights, options_for(DType::f32));
  std::vector<double> logits;
  for (const int32_t token : ids) append(logits, forward(*stepwise, 0, {token}, Rows::last));
  CHECK(discrepancy(logits, whole).rms < 1e-5);
}

TEST_CASE("no pass has more rows than its memory: several long prompts in one call, without chunks", "[cuda][engine]") {
  const ModelConfig config = preset("ring-pico-linear");
  const Weights weights = Weights::random(config, 3);
  const auto together = make_engine(config, weights, options_for(DType::f32, 0, 3, 40)),
             alone = make_engine(config, weights, options_for(DType::f32, 0, 3, 40));
  std::vector<std::vector<int32_t>> prompts;
  std::vector<Step> steps;
  for (uint64_t seed : {1, 2, 3}) prompts.push_back(tokens(40, config.vocab_size, seed));
  for (int slot : {0, 1, 2}) steps.push_back({slot, prompts[static_cast<size_t>(slot)]});
  together->forward(steps, Rows::last);
  std::vector<double> logits;
  for (int slot : {0, 1, 2}) append(logits, forward(*alone, slot, prompts[static_cast<size_t>(slot)], Rows::last));
  CHECK(as_doubles(together->logits()) == logits);
}

TEST_CASE("recorded decode steps are those that are run one by one, at any mix of positions", "[cuda][engine]") {
  const ModelConfig config = preset("ring-pico-linear");
  const Weights weights = Weights::random(config, 3);
  const EngineOptions options = options_for(DType::bf16, 16, 3);
  const auto recorded = make_engine(config, weights, options), eager = make_engine(config, weights, options);
  eager->hook = [](int, std::string_view, const HostTensorView&) {};  // whoever looks on is not shown a recording
  const std::vector<std::vector<int32_t>> prompts{tokens(5, config.vocab_size, 1), tokens(33, config.vocab_size, 2),
                                                  tokens(1, config.vocab_size, 3)};
  for (Engine* engine : {recorded.get(), eager.get()}) {
    std::vector<Step> steps;
    for (int slot : {1, 2, 0}) steps.push_back({slot, prompts[static_cast<size_t>(slot)]});
    engine->forward(steps, Rows::last);
  }
  std::vector<int32_t> next(3), other(3);
  recorded->argmax(next), eager->argmax(other);
  CHECK(next == other);
  for (int step = 0; step < 6; ++step) {
    std::vector<Step> steps;
    const std::vector<int> order = step < 4 ? std::vector<int>{1, 2, 0} : std::vector<int>{0, 2, 1};
    for (size_t i = 0; i < 3; ++i) steps.push_back({order[i], std::span<const int32_t>(next).subspan(i, 1)});
    recorded->forward(steps, Rows::last), eager->forward(steps, Rows::last);
    CHECK(as_doubles(recorded->logits()) == as_doubles(eager->logits()));
    recorded->argmax(next), eager->argmax(other);
    CHECK(next == other);
    if (step == 2) recorded->seek(1, 3), eager->seek(1, 3);
  }
  CHECK(recorded->position(0) == 11);
}

TEST_CASE("a state goes out and into another slot or engine, and decoding continues with the same bits",
          "[cuda][engine]") {
  const ModelConfig config = preset("ring-pico-linear");
  const Weights weights = Weights::random(config, 3);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const auto from = make_engine(config, weights, options_for(dtype)),
               to = make_engine(config, weights, options_for(dtype, 0, 3));
    forward(*from, 0, tokens(37, config.vocab_size), Rows::none);
    for (int i = 0; i < config.num_hidden_layers; ++i) {
      const LayerState state = from->export_state(0, i);
      CHECK(state.kv.empty() == (config.layer_types[static_cast<size_t>(i)] != LayerType::linear_attention));
      to->import_state(2, i, state, 37);
      const LayerState back = to->export_state(2, i);
      const HostTensor &mine = state.kv.empty() ? state.v : state.kv, &theirs = back.kv.empty() ? back.v : back.kv;
      REQUIRE(mine.bytes() == theirs.bytes());
      CHECK(std::equal(mine.raw(), mine.raw() + mine.bytes(), theirs.raw()));
    }
    for (const int32_t token : {7, 8, 9})
      CHECK(forward(*from, 0, {token}, Rows::last) == forward(*to, 2, {token}, Rows::last));
    CHECK_THROWS_AS(to->import_state(0, 0, LayerState{}, 37), std::invalid_argument);
    CHECK_THROWS_AS(to->import_state(0, 0, LayerState{}, 201), std::length_error);
  }
}

TEST_CASE("memory is what was planned, launched variants are reported, experts' loads are counted", "[cuda][engine]") {
  for (const char* name : {"ring-pico-linear", "ring-pico", "tiny"}) {
    const ModelConfig config = preset(name);
    const EngineOptions options = options_for(DType::bf16, 32, 2);
    const Memory planned = plan_memory(config, options);
    const auto engine = make_engine(config, Weights::random(config, 3), options);
    forward(*engine, 1, tokens(50, config.vocab_size), Rows::none);
    forward(*engine, 1, {1}, Rows::last);
    const Report report = engine->report();
    CHECK(report.memory.weights == planned.weights);
    CHECK(report.memory.kv == planned.kv);
    CHECK(report.memory.state == planned.state);
    CHECK(report.memory.workspace == planned.workspace);
    for (const char* op :
         {"gemm=", "rms_norm=", "moe_gemm=", "softmax_attention_prefill=", "softmax_attention_decode="})
      CHECK(std::any_of(report.kernels.begin(), report.kernels.end(),
                        [&](const std::string& kernel) { return kernel.starts_with(op); }));
    for (const auto& [layer, load] : report.expert_tokens) {
      int64_t pairs = 0;
      for (const int64_t n : load) pairs += n;
      CHECK(pairs == 51 * config.num_experts_per_tok);
    }
    CHECK(report.expert_tokens.size() == static_cast<size_t>(config.num_hidden_layers - config.first_k_dense_replace));
    CHECK(engine->report().kernels.empty());
  }
}

TEST_CASE("a forced variant runs and is reported; what cannot be is refused by name", "[cuda][engine]") {
  const ModelConfig config = preset("ring-pico-linear");
  const Weights weights = Weights::random(config, 3);
  EngineOptions options = options_for(DType::f32);
  options.kernels = {"linear_attention_prefill=recurrent", "gemm=plain"};
  const auto engine = make_engine(config, weights, options);
  const auto ids = tokens(30, config.vocab_size);
  const auto forced = forward(*engine, 0, ids);
  const auto kernels = engine->report().kernels;
  CHECK(std::count(kernels.begin(), kernels.end(), "linear_attention_prefill=recurrent") == 1);
  CHECK(std::count(kernels.begin(), kernels.end(), "gemm=plain") == 1);
  CHECK(discrepancy(forced, forward(*make_engine(config, weights, options_for(DType::f32)), 0, ids)).rms < 1e-5);

  options.kernels = {"gemm=fastest"};
  CHECK_THROWS_AS(make_engine(config, weights, options), std::invalid_argument);
  options.kernels = {"attention=plain"};
  CHECK_THROWS_AS(make_engine(config, weights, options), std::invalid_argument);
  options = options_for(DType::f64);
  CHECK_THROWS_AS(make_engine(config, weights, options), std::invalid_argument);
  options = options_for(DType::f32);
  options.rope_angles = RopeAngles::f32;
  CHECK_THROWS_AS(make_engine(config, weights, options), std::invalid_argument);
  CHECK_THROWS_AS(forward(*engine, 0, tokens(200, config.vocab_size)), std::length_error);
  CHECK_THROWS_AS(forward(*engine, 0, {-1}), std::invalid_argument);
  CHECK_THROWS_AS(forward(*engine, 0, {}), std::invalid_argument);
  CHECK(engine->position(0) == 30);
}

TEST_CASE("the ladder in cuda/README.md names every variant", "[cuda][engine]") {
  std::ifstream file(std::filesystem::path(RINGBENCH_SOURCE_DIR) / "cuda/README.md");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  for (const std::string& line : list_kernels()) {
    std::string rest = line.substr(line.find(": ") + 2) + ", ";
    CHECK(text.find("`" + line.substr(0, line.find(':')) + "`") != std::string::npos);
    for (size_t comma = 0; (comma = rest.find(", ")) != std::string::npos; rest = rest.substr(comma + 2)) {
      INFO(line << ": " << rest.substr(0, comma));
      const std::string name = rest.substr(0, comma);
      CHECK((text.find("`" + name + "`") != std::string::npos || text.find("=" + name + "`") != std::string::npos));
    }
  }
}

TEST_CASE("YaRN and uniform routing are the reference's", "[cuda][engine]") {
  ModelConfig config = preset("ring-pico-linear");
  config.rope_scaling = RopeScaling::yarn(4, 64);
  const Weights weights = Weights::random(config, 3);
  const auto ids = tokens(150, config.vocab_size);
  EngineOptions mine = options_for(DType::f32), theirs = options_for(DType::f64);
  CHECK(discrepancy(forward(*make_engine(config, weights, mine), 0, ids),
                    forward(*make_reference_engine(config, weights, theirs), 0, ids))
            .rms < 1e-5);
  mine.routing = theirs.routing = Routing::uniform;
  mine.chunk = theirs.chunk = 64;
  CHECK(discrepancy(forward(*make_engine(config, weights, mine), 0, ids),
                    forward(*make_reference_engine(config, weights, theirs), 0, ids))
            .rms < 1e-5);
}

}  // namespace ringbench::RINGBENCH_BACKEND
