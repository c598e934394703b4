// bench_kernels.cpp: Google Benchmark over the reference's operators, beside the machine's own limits: f32 FMA peak and
// memory read rate. Counters: FLOP/s or B/s of all threads together. Needs a quiet machine.
//
//   build/bench_kernels --benchmark_filter=softmax
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "harness/cost.h"
#include "harness/plan.h"
#include "harness/workload.h"
#include "reference/engine.h"
#include "reference/layer_weights.h"
#include "reference/linear_algebra.h"
#include "reference/moe.h"
#include "reference/probe.h"
#include "reference/threads.h"

namespace ringbench {
namespace {

void set_rate(benchmark::State& state, const char* name, double each) {
  state.counters[name] = benchmark::Counter(each, benchmark::Counter::kIsIterationInvariantRate);
}

void run_probe(benchmark::State& state, const Probe& probe, const char* name, double each) {
  for (auto _ : state) probe.run();
  set_rate(state, name, each);
}

// --- The machine ---

void fma_peak(benchmark::State& state) {
  const Probe probe = fma_probe(DType::f32);
  run_probe(state, probe, "FLOP/s", probe.flops);
}
BENCHMARK(fma_peak)->UseRealTime();

// 1 GiB read once by all cores.
void memory_read(benchmark::State& state) {
  const Probe probe = memory_read_probe(int64_t{1} << 30);
  run_probe(state, probe, "B/s", probe.bytes);
}
BENCHMARK(memory_read)->UseRealTime();

// --- Operators ---

void gemm(benchmark::State& state) {
  const int64_t n = state.range(0);
  const Probe probe = gemm_probe(DType::f32, n, n, n);
  run_probe(state, probe, "FLOP/s", probe.flops);
}
BENCHMARK(gemm)->Arg(256)->Arg(512)->Arg(1024)->Arg(2048)->UseRealTime();

// Four query heads on one kv head: {head_dim, tokens, tokens in the cache before them}.
void softmax_attention(benchmark::State& state) {
  const Probe probe = softmax_attention_probe(DType::f32, state.range(0), 1, state.range(1), state.range(2));
  run_probe(state, probe, "FLOP/s", probe.flops);
  set_rate(state, "B/s", probe.bytes);
}
BENCHMARK(softmax_attention)
    ->ArgsProduct({{64, 128}, {512}, {0, 16 * 1024}})
    ->ArgsProduct({{64, 128}, {1}, {384 * 1024}})
    ->UseRealTime();

// Four heads: {head_dim, tokens}; one token is the recurrence.
void lightning_attention(benchmark::State& state) {
  run_probe(state, lightning_attention_probe(DType::f32, state.range(0), 4, state.range(1)), "tokens/s",
            static_cast<double>(state.range(1)));
}
BENCHMARK(lightning_attention)->ArgsProduct({{64, 128}, {1, 512, 4096}})->UseRealTime();

// --- Layers: one layer of ring-nano-linear (embedding, final norm and head of one row included) ---

struct Layer {
  ModelConfig config;
  std::unique_ptr<Engine> engine;
  Clock clock;
  std::unique_ptr<Workload> workload;

  Layer(const std::string& model, const std::string& pattern, int dense, int64_t max_tokens) {
    config = resolve_model(model, "", "").config;
    if (!pattern.empty()) {
      config = config.with_layers(static_cast<int>(pattern.size())).with_hybrid_ratio(HybridRatio::parse(pattern));
      config.first_k_dense_replace = dense;
    }
    EngineOptions options;
    options.max_tokens = max_tokens;
    engine = make_reference_engine(config, Weights::random(config, 0), options);
    workload = std::make_unique<Workload>(*engine, 1, options.chunk, 0, clock);
  }
};

// 512 tokens through one layer: {0 linear, 1 softmax; tokens before them; dense MLP instead of experts}.
void layer(benchmark::State& state) {
  const int64_t depth = state.range(1);
  Layer nano("ring-nano-linear", state.range(0) == 0 ? "L" : "S", static_cast<int>(state.range(2)), depth + 512);
  nano.workload->fill_synthetic(depth);
  for (auto _ : state) {
    nano.workload->seek(depth);
    nano.workload->prefill(512);
  }
  set_rate(state, "tokens/s", 512);
}
BENCHMARK(layer)
    ->Args({0, 0, 1})
    ->Args({0, 0, 0})
    ->ArgsProduct({{1}, {0, 16 * 1024, 32 * 1024}, {0}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

// 512 tokens through ring-nano's experts: 8, top 2, and the shared one.
void moe(benchmark::State& state) {
  const ModelConfig config = resolve_model("ring-nano-linear", "", "").config;
  const ModelWeights<float> weights =
      read_model_weights<float>(config, Weights::random(config, 0), Rounding::none, false);
  const LayerWeights<float>& w = weights.layers.back();
  const Matrix<float> x = Matrix<float>::Random(512, config.hidden_size);
  Matrix<float> scores;
  for (auto _ : state) {
    const Route<float> r = route(project(x, w.router), w.expert_bias, config, scores);
    benchmark::DoNotOptimize(mixture(x, r, w.experts, config));
    benchmark::DoNotOptimize(mlp(x, w.shared, config));
  }
  const double width =
      static_cast<double>(config.num_experts_per_tok * config.moe_intermediate_size + config.shared_intermediate_size);
  set_rate(state, "FLOP/s", 2.0 * 512 * 3 * static_cast<double>(config.hidden_size) * width);
}
BENCHMARK(moe)->UseRealTime()->Unit(benchmark::kMillisecond);

// --- Whole models: {0 ring-nano-linear, 1 its softmax twin; tokens} ---

void prefill(benchmark::State& state) {
  const int64_t ctx = state.range(1);
  Layer model(state.range(0) == 0 ? "ring-nano-linear" : "ring-nano", "", 0, ctx);
  for (auto _ : state) {
    model.workload->reset();
    model.workload->prefill(ctx);
  }
  set_rate(state, "tokens/s", static_cast<double>(ctx));
}
BENCHMARK(prefill)
    ->ArgsProduct({{0, 1}, {8 * 1024, 32 * 1024}})
    ->Iterations(1)
    ->UseRealTime()
    ->Unit(benchmark::kSecond);

// One step at a depth nobody prefilled; the floor is the time of reading the caches once.
void decode(benchmark::State& state) {
  const int64_t depth = state.range(1);
  Layer model(state.range(0) == 0 ? "ring-nano-linear" : "ring-nano", "", 0, depth + 1);
  model.workload->fill_synthetic(depth);
  for (auto _ : state) {
    model.workload->seek(depth);
    model.workload->decode(1);
  }
  set_rate(state, "cache B/s", static_cast<double>(depth * kv_bytes_per_token(model.config, DType::f32)));
}
BENCHMARK(decode)->ArgsProduct({{0, 1}, {8 * 1024, 384 * 1024}})->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace ringbench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  ringbench::set_threads(0);
  benchmark::RunSpecifiedBenchmarks();
}
