// calibrate.cpp: see calibrate.h.
#include "harness/calibrate.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "cuda/probe.h"
#include "harness/engines.h"
#include "harness/environment.h"
#include "harness/workload.h"
#include "reference/probe.h"
#include "reference/threads.h"

namespace ringbench {
namespace {

constexpr double kNoisy = 1.2;        // contention beyond which the wall clock says little
constexpr double kShortest_s = 0.02;  // of a sample
constexpr double kCi = 0.01;          // half an interval, relative, at which a rate is known well enough

Rate rate_of(const std::string& name, const std::string& unit, double work, const std::vector<double>& seconds) {
  std::vector<double> values;
  for (const double s : seconds) values.push_back(work / s);
  const Summary s = summarize(values);
  return {
      .name = name, .unit = unit, .value = s.median, .low = s.ci95_low, .high = s.ci95_high, .n = s.n, .of_peak = {}};
}

// Times work on the CPU: by the wall clock, or where others kept it waiting by CPU time over threads, as estimates do.
class Stopwatch {
 public:
  explicit Stopwatch(double budget_s) { rule_.ci = kCi, rule_.budget_s = budget_s; }

  // Seconds of one run each.
  std::vector<double> time(int threads, const std::function<void()>& run) {
    run();  // warm up
    const double begin = clock_.wall_s();
    run();
    const double once = std::max(1e-7, clock_.wall_s() - begin);
    const int64_t times = std::clamp<int64_t>(static_cast<int64_t>(std::ceil(kShortest_s / once)), 1, 1'000'000);
    const Repetitions r = repeat(rule_, clock_, [&](int64_t) {
      const double start = clock_.wall_s();
      for (int64_t i = 0; i < times; ++i) run();
      return clock_.wall_s() - start;
    });
    const double wall = std::accumulate(r.wall_s.begin(), r.wall_s.end(), 0.0);
    const double cpu = std::accumulate(r.cpu_s.begin(), r.cpu_s.end(), 0.0) / threads;
    const double contention = wall / std::max(1e-9, cpu);
    worst_ = std::max(worst_, contention);
    std::vector<double> seconds;
    for (size_t i = 0; i < r.wall_s.size(); ++i)
      seconds.push_back((contention > kNoisy ? r.cpu_s[i] / threads : r.wall_s[i]) / static_cast<double>(times));
    return seconds;
  }

  double worst_contention() const { return worst_; }

 private:
  Clock clock_;
  StopRule rule_;
  double worst_ = 1;
};

class ReferenceCalibration {
 public:
  explicit ReferenceCalibration(const CalibrationRequest& request)
      : request_(request), stopwatch_(request.small ? 0.05 : request.seconds) {
    set_threads(request.threads);
    threads_ = request.threads > 0 ? request.threads : physical_cores();
  }

  Calibration run() {
    const int64_t n = size(1024), cores = threads_;
    for (const DType type : {DType::f32, DType::f64}) {
      const std::string t = " " + std::string(name_of(type));
      flops("FMA" + t, fma_probe(type));
      peak_ = c_.rates.back().value;
      c_.device.tflops[type] = flops("gemm" + t + " " + std::to_string(n), gemm_probe(type, n, n, n)) / 1e12;
      // Tiles of ring-nano's projections and, one for each thread, of its experts.
      const double dense = flops("gemm" + t + " narrow", gemm_probe(type, size(512), size(768), size(256)));
      const double grouped = flops("gemm" + t + " experts", gemm_probe(type, 128 * cores, size(256), size(256)));
      double attention = 0, lightning = 0;
      for (const int64_t d : {128, 64}) {  // head_dim 64, ring-nano's, is the last and stays
        const std::string dim = " d" + std::to_string(d);
        attention = flops("attention" + t + dim, softmax_attention_probe(type, d, cores, size(512), size(2048)));
        lightning = flops("lightning" + t + dim, lightning_attention_probe(type, d, 4 * cores, size(2048)));
      }
      if (type == DType::f32) set_shares(dense, grouped, attention, lightning);
    }
    peak_ = 0;
    read_memory();
    overheads();
    describe();
    return c_;
  }

 private:
  int64_t size(int64_t full) const { return request_.small ? std::max<int64_t>(16, full / 16) : full; }

  std::vector<double> time(const std::string& name, int threads, const std::function<void()>& run) {
    if (request_.progress) request_.progress(name);
    return stopwatch_.time(threads, run);
  }
  // FLOP/s, and a line that says so.
  double flops(const std::string& name, const Probe& probe) {
    Rate rate = rate_of(name, "GFLOP/s", probe.flops / 1e9, time(name, threads_, probe.run));
    if (peak_ > 0 && !name.starts_with("FMA")) rate.of_peak = rate.value / peak_;
    c_.rates.push_back(rate);
    return rate.value * 1e9;
  }
  void set_shares(double dense, double grouped, double attention, double lightning) {
    const auto share = [peak = *c_.device.peak_flops(DType::f32)](double flops_per_s) {
      return std::min(1.0, flops_per_s / peak);
    };
    c_.device.efficiency = {.attention = share(attention),
                            .dense = share(dense),
                            .grouped = share(grouped),
                            .lightning = share(lightning),
                            .bandwidth = 1};
  }
  // Beyond any cache, as far as there is memory.
  void read_memory() {
    const int64_t bytes = request_.small ? 1 << 20 : std::min<int64_t>(int64_t{1} << 30, available_memory_bytes() / 4);
    const Probe probe = memory_read_probe(bytes);
    c_.rates.push_back(rate_of("memory read", "GB/s", probe.bytes / 1e9, time("memory read", threads_, probe.run)));
    c_.device.memory_gbps = c_.rates.back().value;
  }
  // What a layer costs beside its arithmetic: nearly all that a step of the smallest model takes, on one thread.
  void overheads() {
    constexpr int64_t kSteps = 64;
    const ModelConfig config = resolve_model("tiny", "", "").config;
    EngineOptions options;
    options.max_tokens = kSteps + 1;
    const Weights weights = Weights::random(config, 0);
    const auto engine = make_engine("reference", config, weights, options);
    Clock clock;
    Workload workload(*engine, 1, options.chunk, 0, clock);
    std::vector<double> seconds = time("small operator", 1, [&] {
      workload.reset();
      workload.prefill(1);
      workload.decode(kSteps - 1);
    });
    const double operators = static_cast<double>(kSteps) * config.num_hidden_layers * c_.device.kernels_per_layer;
    for (double& each : seconds) each *= 1e6 / operators;
    const Summary s = summarize(seconds);
    c_.rates.push_back({.name = "small operator",
                        .unit = "us",
                        .value = s.median,
                        .low = s.ci95_low,
                        .high = s.ci95_high,
                        .n = s.n,
                        .of_peak = {}});
    c_.device.kernel_s = s.median * 1e-6;
  }
  void describe() {
    c_.contention = stopwatch_.worst_contention();
    c_.device.threads = threads_;
    const Environment e = capture_environment();
    c_.device.memory_bytes = e.memory_bytes;
    c_.device.reserved_bytes = static_cast<double>(e.memory_bytes - e.available_memory_bytes);
  }

  const CalibrationRequest& request_;
  Stopwatch stopwatch_;
  int threads_ = 1;
  double peak_ = 0;  // GFLOP/s of the type at hand
  Calibration c_;
};

// Products and a copy; how far other kernels stay behind products is taken from the data sheet's file, where there is
// one for this card.
[[maybe_unused]] Calibration calibrate_cuda(const CalibrationRequest& request, const std::string& device_name,
                                            std::vector<double> (*gemm_seconds)(DType, int64_t, int),
                                            std::vector<double> (*copy_seconds)(int64_t, int)) {
  const int64_t n = request.small ? 16 : 8192, copied = request.small ? 1 << 12 : int64_t{2} << 30;
  const int samples = request.small ? 6 : 20;
  Calibration c;
  if (const auto sheet = device_for("cuda", device_name, "")) c.device = *sheet;
  const Efficiencies sheet = c.device.efficiency;
  const auto share = [&](double of_sheet) { return std::min(1.0, of_sheet / sheet.dense); };
  c.device.efficiency = {.attention = share(sheet.attention),
                         .dense = 1,
                         .grouped = share(sheet.grouped),
                         .lightning = share(sheet.lightning),
                         .bandwidth = 1};
  c.device.tflops.clear();
  c.device.match.clear();
  for (const DType type : {DType::bf16, DType::f32}) {
    const std::string name = "gemm " + std::string(name_of(type)) + " " + std::to_string(n);
    if (request.progress) request.progress(name);
    c.rates.push_back(rate_of(name, "GFLOP/s", 2e-9 * static_cast<double>(n * n) * static_cast<double>(n),
                              gemm_seconds(type, n, samples)));
    c.device.tflops[type] = c.rates.back().value / 1e3;
  }
  if (request.progress) request.progress("copy");
  c.rates.push_back(rate_of("copy", "GB/s", 2e-9 * static_cast<double>(copied), copy_seconds(copied, samples)));
  c.device.memory_gbps = c.rates.back().value;
  return c;
}

std::string summary_of(const std::vector<Rate>& rates) {
  std::string text;
  for (const Rate& rate : rates) {
    char line[160];
    std::snprintf(line, sizeof line, "%s%s %.4g", text.empty() ? "" : "; ", rate.name.c_str(), rate.value);
    text += line;
    if (rate.low && rate.high) {
      std::snprintf(line, sizeof line, " [%.4g, %.4g]", *rate.low, *rate.high);
      text += line;
    }
    text += " " + rate.unit + " n=" + std::to_string(rate.n);
  }
  return text;
}

}  // namespace

Calibration calibrate(const CalibrationRequest& request) {
  check_engines({request.engine}, /*timed=*/true);
  const std::string device_name = engine_device_name(request.engine);
  Calibration c;
#if defined(RINGBENCH_HAVE_CUDA)
  if (request.engine == "cuda") {
    c = calibrate_cuda(request, device_name, gpu::gemm_seconds, gpu::copy_seconds);
    const Environment e = capture_environment(GpuDetail::cuda);
    if (!e.gpus.empty()) c.device.memory_bytes = e.gpus.front().memory_bytes.value_or(0);
  }
#endif
  if (request.engine == "reference") c = ReferenceCalibration(request).run();
  c.device.name = device_name;
  c.device.kind = "calibrated";
  c.device.engine = request.engine;
  c.device.device_name = device_name;
  c.device.host_hash = host_hash();
  c.device.date = utc_now();
  c.device.source = "ringbench doctor --calibrate, commit " + capture_environment().commit + ": " + summary_of(c.rates);
  return c;
}

}  // namespace ringbench
