// The reference engine against numbers that public code computed (tests/goldens): logits, every sub-block, decode
// steps.
#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "reference/engine.h"
#include "tests/catch.h"
#include "tests/golden.h"

using namespace ringbench;

namespace {

struct Golden {
  std::filesystem::path folder;
  ModelConfig config;
  SafeTensors numbers;
  nlohmann::json measures;
  std::vector<int32_t> prompt, continuation;

  explicit Golden(const std::string& name)
      : folder(goldens() / name),
        config(ModelConfig::load(folder / "config.json")),
        numbers(SafeTensors::open(folder / "golden.safetensors")),
        prompt(token_ids(numbers, "input_ids")),
        continuation(token_ids(numbers, "decode_ids")) {
    measures = nlohmann::json::parse(std::ifstream(folder / "golden.json"))["measures"];
  }

  std::vector<double> at(const std::string& name) const { return as_doubles(numbers.at(name)); }
  std::unique_ptr<Engine> engine(DType dtype, int64_t chunk = 0) const {
    EngineOptions options;
    options.dtype = dtype;
    options.chunk = chunk;
    options.mtp = config.has_mtp();
    options.max_tokens = static_cast<int64_t>(prompt.size() + continuation.size());
    return make_reference_engine(config, Weights::load(config, folder), options);
  }
};

// Prompt in one call, then the continuation token by token.
struct GoldenRun {
  std::vector<double> logits, decode_logits, mtp_logits;

  GoldenRun(Engine& engine, const Golden& golden) {
    const auto take = [&](std::vector<double>& to, const HostTensorView& from) {
      const std::vector<double> values = as_doubles(from);
      to.insert(to.end(), values.begin(), values.end());
    };
    const Step prompt{0, golden.prompt};
    engine.forward({&prompt, 1}, Rows::all);
    take(logits, engine.logits());
    take(mtp_logits, engine.mtp_logits());
    engine.hook = nullptr;
    for (const int32_t& token : golden.continuation) {
      const Step step{0, {&token, 1}};
      engine.forward({&step, 1}, Rows::all);
      take(decode_logits, engine.logits());
      take(mtp_logits, engine.mtp_logits());
    }
  }
};

}  // namespace

TEST_CASE("the f64 reference meets the golden logits to 1e-9 of their spread, prompt, decode steps and MTP") {
  for (const std::string& name : golden_cases()) {
    INFO(name);
    const Golden golden(name);
    const double budget = 1e-9 * golden.measures["logit_std"].get<double>();
    const GoldenRun run(*golden.engine(DType::f64), golden);
    REQUIRE(max_abs_difference(run.logits, golden.at("logits")) <= budget);
    REQUIRE(max_abs_difference(run.decode_logits, golden.at("decode_logits")) <= budget);
    REQUIRE(golden.config.has_mtp() == golden.numbers.contains("mtp_logits"));
    if (golden.config.has_mtp()) REQUIRE(max_abs_difference(run.mtp_logits, golden.at("mtp_logits")) <= budget);
  }
}

TEST_CASE("the f32 reference meets the golden logits within five times the public code's own f32 error") {
  for (const std::string& name : golden_cases()) {
    INFO(name);
    const Golden golden(name);
    const double spread = golden.measures["logit_std"];
    const double budget = std::max(5 * golden.measures["f32_vs_f64_max_abs"].get<double>(), 2e-5 * spread);
    const GoldenRun run(*golden.engine(DType::f32), golden);
    REQUIRE(max_abs_difference(run.logits, golden.at("logits")) <= budget);
    REQUIRE(max_abs_difference(run.decode_logits, golden.at("decode_logits")) <= budget);
    if (golden.config.has_mtp()) REQUIRE(max_abs_difference(run.mtp_logits, golden.at("mtp_logits")) <= budget);
  }
}

TEST_CASE("every golden sub-block is met in f64: streams, q k v, attention, gate, routing, states") {
  for (const std::string& name : golden_cases()) {
    const Golden golden(name);
    // Sub-blocks are stored in f32 (relative error 6e-8): 1e-6 of the tensor's size leaves no room for a mistake.
    std::map<std::string, bool> seen;
    const auto compare = [&](const std::string& tensor, const HostTensorView& values) {
      if (!golden.numbers.contains(tensor)) return;
      INFO(name << " " << tensor);
      seen[tensor] = true;
      const std::vector<double> expected = golden.at(tensor);
      REQUIRE(values.shape == golden.numbers.at(tensor).shape);
      const bool exact = tensor.ends_with("topk_ids");
      REQUIRE(max_abs_difference(as_doubles(values), expected) <=
              (exact ? 0.0 : 1e-6 * std::max(1.0, max_abs(expected))));
    };
    auto engine = golden.engine(DType::f64);
    engine->hook = [&](int layer, std::string_view what, const HostTensorView& values) {
      if (layer == golden.config.num_hidden_layers || what.starts_with("mtp."))
        return;  // rows of prompt and continuation
      compare(layer < 0 ? std::string(what) : "layer." + std::to_string(layer) + "." + std::string(what), values);
    };
    const Step prompt{0, golden.prompt};
    engine->forward({&prompt, 1}, Rows::last);
    for (int i = 0; i < golden.config.num_hidden_layers; ++i) {
      const LayerState state = engine->export_state(0, i);
      if (!state.kv.empty()) compare("layer." + std::to_string(i) + ".state", state.kv);
    }
    for (const auto& [tensor, view] : golden.numbers.tensors()) {
      const bool hooked = tensor.starts_with("hidden.") || tensor == "final_norm" ||
                          (tensor.starts_with("layer.") && !tensor.ends_with(".log_decay") &&
                           !tensor.starts_with("layer." + std::to_string(golden.config.num_hidden_layers)));
      INFO(name << " " << tensor);
      if (hooked) REQUIRE(seen[tensor]);
    }
  }
}

TEST_CASE("the MTP layer's sub-blocks are met in f64 when prompt and continuation are one pass") {
  Golden golden("v2_softmax_mtp");
  golden.prompt.insert(golden.prompt.end(), golden.continuation.begin(), golden.continuation.end());
  auto engine = golden.engine(DType::f64);
  int compared = 0;
  engine->hook = [&](int layer, std::string_view what, const HostTensorView& values) {
    const std::string tensor =
        layer < 0 ? std::string(what) : "layer." + std::to_string(layer) + "." + std::string(what);
    if (!(tensor.starts_with("mtp.") || tensor.starts_with("layer.3.")) || !golden.numbers.contains(tensor)) return;
    INFO(tensor);
    const std::vector<double> expected = golden.at(tensor);
    REQUIRE(max_abs_difference(as_doubles(values), expected) <= 1e-6 * std::max(1.0, max_abs(expected)));
    ++compared;
  };
  const Step prompt{0, golden.prompt};
  engine->forward({&prompt, 1}, Rows::last);
  REQUIRE(compared == 18);  // six mtp.* (next_ids is the input), twelve layer.3.*
}

TEST_CASE("slope_layer_offset 1 meets its own golden numbers") {
  Golden golden("v2_hybrid");
  golden.config.slope_layer_offset = SlopeLayerOffset::one;
  const double budget = 1e-9 * golden.measures["logit_std"].get<double>();
  auto engine = golden.engine(DType::f64);
  const GoldenRun run(*engine, golden);
  REQUIRE(max_abs_difference(run.logits, golden.at("offset1.logits")) <= budget);
  REQUIRE(max_abs_difference(run.decode_logits, golden.at("offset1.decode_logits")) <= budget);
  for (int i : {0, 1, 3, 4}) {
    const std::vector<double> expected = golden.at("offset1.layer." + std::to_string(i) + ".log_decay");
    REQUIRE(max_abs_difference(golden.config.log_decay(i), expected) <= 1e-12);
  }
}

TEST_CASE("chunks of any size meet the golden logits in f64") {
  for (const std::string& name : golden_cases()) {
    const Golden golden(name);
    for (const int64_t chunk : {1, 7, 64}) {
      INFO(name << " chunk " << chunk);
      const GoldenRun run(*golden.engine(DType::f64, chunk), golden);
      const double budget = 1e-9 * golden.measures["logit_std"].get<double>();
      REQUIRE(max_abs_difference(run.logits, golden.at("logits")) <= budget);
      REQUIRE(max_abs_difference(run.decode_logits, golden.at("decode_logits")) <= budget);
      if (golden.config.has_mtp()) REQUIRE(max_abs_difference(run.mtp_logits, golden.at("mtp_logits")) <= budget);
    }
  }
}
