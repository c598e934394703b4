// Roofline predictions against an independent model (tests/goldens/roofline.py), against plain loops and limits, and
// predicted memory against what engines allocate.
#include "harness/predict.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "harness/engines.h"
#include "harness/failure.h"
#include "tests/catch.h"
#include "tests/golden.h"
#include "tests/preset.h"

using namespace ringbench;

namespace {

const nlohmann::json& golden() {
  static const auto json = nlohmann::json::parse(std::ifstream(goldens() / "roofline.json"));
  return json;
}

double relative(double a, double b) { return std::abs(a / b - 1); }

double part_bytes(const Prediction& p, std::initializer_list<Part> parts) {
  double bytes = 0;
  for (const PartTime& t : p.parts)
    for (const Part part : parts)
      if (t.part == name_of(part)) bytes += t.bytes;
  return bytes;
}

}  // namespace

// What is left of the two models' differences: theirs has no norms and biases, and a step that reads the new token's
// own key and writes it counts as none.
constexpr double kAgreement = 3e-4;

TEST_CASE("parameters and cache sizes agree with the independent model") {
  for (const auto& [name, sizes] : golden()["models"].items()) {
    INFO(name);
    const ModelConfig config = preset(name);
    const ParameterCounts counts = count_parameters(config);
    for (const auto& [ours, key] :
         {std::pair{counts.total, "total"}, std::pair{counts.active_non_embedding, "active_non_embedding"}}) {
      REQUIRE(static_cast<double>(ours) >= sizes[key]);
      REQUIRE(relative(static_cast<double>(ours), sizes[key]) <= 2e-4);  // norms
    }
    double products = 0;  // operations a token, but attention proper and head
    for (const Operation& op : CostModel(config, DType::bf16).append(1, 0, 1, false))
      if (op.part == Part::dense || op.part == Part::experts || op.part == Part::router)
        products += op.count * op.least.flops;
    REQUIRE(relative(products, 2 * sizes["active_non_embedding"].get<double>()) <= 1e-12);
    REQUIRE(kv_bytes_per_token(config, DType::bf16) == sizes["kv_bytes_per_token"]);
    REQUIRE(state_bytes(config, DType::bf16) == sizes["state_bytes"]);
  }
}

TEST_CASE("prefill times agree with the independent model, ideal and practical, on every device") {
  const auto& rows = golden()["prefill"];
  REQUIRE(rows.size() == 4 * 4 * 12);
  for (const auto& row : rows) {
    INFO(row.dump());
    const Workpoint work{.phase = "prefill", .ctx = row[2], .chunk = 16384};
    const DeviceModel device = find_device(row[1]);
    REQUIRE(relative(predict(preset(row[0]), work, device.ideal()).seconds, row[3]) <= kAgreement);
    REQUIRE(relative(predict(preset(row[0]), work, device).seconds, row[4]) <= kAgreement);
  }
}

TEST_CASE("decode rates agree with the independent model, with and without a limit of memory") {
  for (const auto& row : golden()["decode"]) {
    INFO(row.dump());
    const ModelConfig config = preset(row[0]);
    const DeviceModel device = find_device(row[1]);
    const Workpoint work{.phase = "decode", .ctx = 0, .gen = row[2], .batch = 64, .requests = 64};
    const double room = device.room(2 * static_cast<double>(count_parameters(config).total));
    const double rates[] = {decode_run(config, work, device.ideal()).tok_s, decode_run(config, work, device).tok_s,
                            decode_run(config, work, device, room).tok_s};
    for (size_t i = 0; i < 3; ++i) {
      const double theirs = row[3 + i];
      if (device.name != "H20") {
        REQUIRE(relative(rates[i], theirs) <= kAgreement);
      } else {
        // Dense products of 64 tokens are limited by arithmetic there (37 operations a byte); theirs takes one maximum
        // over the whole step, ours one for each operator.
        REQUIRE(rates[i] < theirs);
        REQUIRE(rates[i] > 0.965 * theirs);
      }
    }
    // By their rule, from our counts, the H20 agrees as the others do.
    const Prediction mean = predict(config, work, device);
    const double step = std::max(mean.bytes / (device.memory_gbps * 1e9 * device.efficiency.bandwidth),
                                 mean.flops / (*device.peak_flops(DType::bf16) * 0.5)) +
                        mean.launch_s;
    REQUIRE(relative(64 / step, row[4]) <= kAgreement);
  }
}

TEST_CASE("bytes of a decode step agree with the independent model, part by part") {
  for (const auto& row : golden()["decode_bytes"]) {
    INFO(row.dump());
    // Theirs counts ctx rows of the cache; ours the rows before, the new one, and its writing.
    const Workpoint work{.phase = "decode", .ctx = row[2].get<int64_t>() - 2, .gen = 1, .batch = row[1]};
    const Prediction p = predict(preset(row[0]), work, find_device("h200"));
    REQUIRE(relative(part_bytes(p, {Part::dense, Part::experts, Part::router}),
                     row[3].get<double>() + row[4].get<double>()) <= 1e-8);
    REQUIRE(relative(part_bytes(p, {Part::attention}), row[5]) <= 1e-8);
    const double state = row[6];
    REQUIRE(std::abs(part_bytes(p, {Part::lightning}) - state) <= 1e-8 * state);
    REQUIRE(relative(part_bytes(p, {Part::head}), row[7]) <= 1e-8);
    REQUIRE(part_bytes(p, {Part::elementwise}) <= 1e-4 * p.bytes);  // norms, which theirs leaves out
  }
}

TEST_CASE("64 sequences of softmax Ring-lite do not fit an 80 GB card, so 2.2x at 32k has capacity in it") {
  const ModelConfig hybrid = preset("ring-lite-linear"), softmax = preset("ring-lite");
  const DeviceModel card = find_device("a100-80");
  REQUIRE(sequences_that_fit(softmax, 16384, DType::bf16, card) < 64);
  REQUIRE(sequences_that_fit(softmax, 32768, DType::bf16, card) < 32);
  REQUIRE(sequences_that_fit(hybrid, 32768, DType::bf16, card) >= 64);
  const auto run = [&](const ModelConfig& config, bool limited) {
    const Workpoint work{.phase = "decode", .ctx = 1, .gen = 32768, .batch = 64, .requests = 64};
    const double room = card.room(2 * static_cast<double>(count_parameters(config).total));
    return decode_run(config, work, card, limited ? std::optional(room) : std::nullopt);
  };
  const double equal_batch = run(hybrid, false).tok_s / run(softmax, false).tok_s;
  const double equal_memory = run(hybrid, true).tok_s / run(softmax, true).tok_s;
  REQUIRE(std::abs(equal_batch - 2.03) <= 0.005);
  REQUIRE(std::abs(equal_memory - 2.70) <= 0.005);
  REQUIRE_FALSE(run(hybrid, true).waited);
  REQUIRE(run(softmax, true).waited);
  REQUIRE(run(softmax, true).fewest_at_once >= sequences_that_fit(softmax, 32769, DType::bf16, card));
  REQUIRE(run(softmax, true).fewest_at_once < 24);  // younger ones are shorter
}

TEST_CASE("a run within memory: nothing waits while all fits, one after the other where one fits, none where none") {
  const ModelConfig config = preset("ring-pico");
  const DeviceModel device = find_device("h200");
  const Workpoint work{.phase = "decode", .ctx = 100, .gen = 60, .batch = 4, .requests = 4};
  const auto each = static_cast<double>(160 * kv_bytes_per_token(config, DType::bf16));
  const DecodeRun free = decode_run(config, work, device), all = decode_run(config, work, device, 4 * each);
  REQUIRE(all.seconds == free.seconds);
  REQUIRE_FALSE(all.waited);
  Workpoint alone = work;
  alone.batch = 1;
  const DecodeRun one = decode_run(config, work, device, 1.1 * each);
  REQUIRE(one.waited);
  REQUIRE(one.fewest_at_once == 1);
  REQUIRE(relative(one.seconds, 4 * decode_run(config, alone, device).seconds) <= 1e-9);
  REQUIRE(decode_run(config, work, device, 0.5 * each).fewest_at_once == 0);
}

TEST_CASE("e2e is its waves of prefill and steps") {
  const ModelConfig config = preset("ring-mini-linear-2.0");
  const DeviceModel device = find_device("h200");
  const auto e2e = [&](int64_t requests, int64_t batch) {
    return predict(
        config, {.phase = "e2e", .ctx = 4096, .gen = 101, .batch = batch, .requests = requests, .chunk = 1024}, device);
  };
  REQUIRE(relative(e2e(5, 2).seconds, 2 * e2e(2, 2).seconds + e2e(1, 1).seconds) <= 1e-12);
  const double prefill = predict(config, {.phase = "prefill", .ctx = 4096, .batch = 2, .chunk = 1024}, device).seconds;
  const double step = predict(config, {.phase = "decode", .ctx = 4096, .gen = 100, .batch = 2}, device).seconds;
  REQUIRE(relative(e2e(2, 2).seconds, prefill + 100 * step) <= 1e-12);
  REQUIRE(relative(tokens_per_second({.phase = "e2e", .gen = 101, .requests = 5}, 2.0), 5 * 101 / 2.0) <= 1e-12);
}

TEST_CASE("the mean step is the mean of all steps, through the windows too") {
  for (const char* name : {"gpt-oss-20b", "ring-lite-linear"}) {
    const ModelConfig config = preset(name);
    const DeviceModel device = find_device("h20");
    double sum = 0;
    for (int64_t i = 0; i < 500; ++i)
      sum += predict(config, {.phase = "decode", .ctx = i, .gen = 1, .batch = 8}, device).seconds;
    REQUIRE(relative(predict(config, {.phase = "decode", .ctx = 0, .gen = 500, .batch = 8}, device).seconds,
                     sum / 500) <= 1e-5);
  }
}

TEST_CASE("a prefill of very many chunks is counted by groups of them, and costs what it should") {
  const ModelConfig config = preset("ring-lite-linear");
  const DeviceModel device = find_device("h200");
  const CostModel model(config, DType::bf16);
  double flops = 0;
  for (int64_t p = 0; p < 9000; ++p)
    for (const Operation& op : model.append(2, 2 * p, 1, p == 8999)) flops += op.count * op.done.flops;
  const Prediction p = predict(config, {.phase = "prefill", .ctx = 18000, .chunk = 2}, device);
  REQUIRE(relative(p.flops, flops) <= 1e-4);
  REQUIRE(predict(config, {.phase = "prefill", .ctx = int64_t{1} << 40, .chunk = 1}, device).seconds > 1e9);
}

TEST_CASE("every preset: times are positive, grow with context and batch, and are the sum of their parts") {
  const DeviceModel device = find_device("h200");
  for (const std::string& name : preset_names()) {
    INFO(name);
    const ModelConfig config = preset(name);
    const CostModel model(config, DType::bf16);
    REQUIRE(model.vectors > 0);
    REQUIRE(model.vectors < 0.02 * static_cast<double>(count_parameters(config).active_non_embedding));
    for (const char* phase : {"prefill", "decode", "e2e"}) {
      INFO(phase);
      double before = 0;
      for (const int64_t ctx : {1, 100, 1024, 8192, 65536, 524288}) {
        const Workpoint work{.phase = phase, .ctx = ctx, .gen = 64, .batch = 2, .requests = 2, .chunk = 8192};
        const Prediction p = predict(config, work, device);
        REQUIRE(p.seconds > before);
        REQUIRE(p.seconds < 1e4);
        before = p.seconds;
        Prediction sum;
        for (const PartTime& part : p.parts)
          sum.seconds += part.seconds, sum.flops += part.flops, sum.bytes += part.bytes;
        REQUIRE(relative(sum.seconds, p.seconds) <= 1e-12);
        REQUIRE(relative(sum.flops, p.flops) <= 1e-12);
        REQUIRE(relative(sum.bytes, p.bytes) <= 1e-12);
        REQUIRE(relative(p.compute_s + p.memory_s + p.launch_s, p.seconds) <= 1e-12);
        Workpoint larger = work;
        larger.batch = larger.requests = 4;
        REQUIRE(predict(config, larger, device).seconds > p.seconds);
      }
    }
  }
}

TEST_CASE("the bound names what limits: arithmetic, memory or launches") {
  const DeviceModel device = find_device("h200");
  const auto bound = [&](const char* name, const Workpoint& work) { return predict(preset(name), work, device).bound; };
  REQUIRE(bound("ring-mini-2.0", {.phase = "prefill", .ctx = 131072, .chunk = 16384}) == "compute");
  REQUIRE(bound("ring-mini-2.0", {.phase = "decode", .ctx = 32768, .gen = 1, .batch = 64}) == "memory");
  REQUIRE(bound("ring-nano", {.phase = "decode", .ctx = 128, .gen = 1}) == "launch");
}

TEST_CASE("a type without a peak is refused, and leaves a record without prediction") {
  const ModelConfig config = preset("tiny");
  const Workpoint work{.phase = "prefill", .ctx = 64, .dtype = DType::f64};
  REQUIRE_THROWS_AS(predict(config, work, find_device("h200")), UsageError);
  Result r;
  describe_prediction(r, config, work, find_device("h200"));
  REQUIRE(r.flops > 0.0);
  REQUIRE_FALSE(r.predicted_s);
  REQUIRE_FALSE(r.peak_tflops);
}

TEST_CASE("planned memory is what engines allocate, within 1 %") {
  struct Shape {
    int64_t ctx, batch;
  };
  for (const char* name : {"tiny", "ring-pico-linear", "ring-pico"}) {
    const ModelConfig config = preset(name);
    const Weights weights = Weights::random(config, 1);
    for (const auto& [engine_name, dtype] : {std::pair{"reference", DType::f32}, std::pair{"reference", DType::f64},
                                             std::pair{"emulated", DType::bf16}, std::pair{"emulated", DType::f32}}) {
      for (const auto& [ctx, batch] : {Shape{1, 1}, Shape{12, 3}, Shape{40, 2}}) {
        INFO(name << " " << engine_name << " " << name_of(dtype) << " ctx " << ctx << " batch " << batch);
        const Workpoint work{
            .phase = "prefill", .ctx = ctx, .batch = batch, .requests = batch, .chunk = 16, .dtype = dtype};
        EngineOptions options;
        options.dtype = dtype;
        options.chunk = work.chunk;
        options.slots = static_cast<int>(batch);
        options.max_tokens = ctx;
        const auto engine = make_engine(engine_name, config, weights, options);
        // The reference's caches grow with the sequence; the kernels' engine takes all it will need at once.
        const std::vector<int32_t> ids(engine_name == std::string("emulated") ? 1 : static_cast<size_t>(ctx), 3);
        for (int slot = 0; slot < options.slots; ++slot) engine->forward(std::vector<Step>{{slot, ids}}, Rows::last);
        const Memory held = engine->report().memory, need = memory_need(config, work, engine_name);
        const auto within = [](int64_t a, int64_t b) {
          return std::abs(static_cast<double>(a - b)) <= 0.01 * static_cast<double>(b);
        };
        CAPTURE(need.weights, held.weights, need.kv, held.kv, need.state, held.state, need.workspace, held.workspace);
        REQUIRE(within(need.weights, held.weights));
        REQUIRE(within(need.kv, held.kv));
        REQUIRE(within(need.state, held.state));
        REQUIRE(within(need.workspace, held.workspace));
        REQUIRE(within(need.total(), held.total()));
      }
    }
  }
}

TEST_CASE("a record's counts, prediction, and what measuring adds") {
  const ModelConfig config = preset("ring-mini-linear-2.0");
  const DeviceModel device = find_device("h200");
  const Workpoint work{.phase = "decode", .ctx = 16384, .gen = 128, .batch = 64, .requests = 64};
  Result r;
  describe_prediction(r, config, work, device);
  const Cost step = append_cost(config, 1, 16384 + 64, 64, DType::bf16);
  REQUIRE(r.flops == step.flops);
  REQUIRE(r.bytes == step.bytes);
  REQUIRE(r.kv_bytes_analytic == 64 * (16384 + 128) * kv_bytes_per_token(config, DType::bf16));
  REQUIRE(r.state_bytes_analytic == 64 * state_bytes(config, DType::bf16));
  REQUIRE(r.predicted_s == predict(config, work, device).seconds);
  REQUIRE(r.bound == std::string("memory"));
  REQUIRE(r.peak_tflops == 989.0);
  REQUIRE(r.peak_gbps == 4800.0);
  REQUIRE(r.peak_source == std::string("datasheet-dense"));
  REQUIRE(r.mfu_params == std::string("active_non_embedding"));
  finish_prediction(r);
  REQUIRE_FALSE(r.mfu);
  REQUIRE_FALSE(r.measured_over_predicted);  // no value yet
  r.value = 2 * *r.predicted_s;
  finish_prediction(r);
  REQUIRE(relative(*r.measured_over_predicted, 2) <= 1e-12);
  REQUIRE(relative(*r.mfu, step.flops / *r.value / 989e12) <= 1e-12);
  REQUIRE(relative(*r.mbu, step.bytes / *r.value / 4.8e12) <= 1e-12);
  REQUIRE(*r.mbu < 0.5);

  Result without;
  describe_prediction(without, config, work, {});
  without.value = 1;
  finish_prediction(without);
  REQUIRE(without.flops == r.flops);
  for (const auto& field : {without.predicted_s, without.measured_over_predicted, without.mfu, without.mbu})
    REQUIRE_FALSE(field);
}
