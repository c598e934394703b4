// bench_cuda_kernels.cpp: every variant of every CUDA operator at the shapes of Ring-mini-linear-2.0, first checked
// against the plain variant on a smaller shape, then timed and set against its floor: bytes at the copy bandwidth and
// FLOPs at the matmul rate that this run measures, first and last. JSON lines on stdout. Its own main and no benchmark
// library: it is built where there is little else than the CUDA toolkit. As bench_emulated_kernels the same checks run
// on the emulator, with tiny shapes and without times.
//
//   build-gpu/bench_cuda_kernels --op moe_gemm,gemm --variant mma --seconds 1
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "build_info.h"
#include "cuda/gpu.h"
#include "cuda/kernels.h"
#include "harness/environment.h"
#include "harness/failure.h"
#include "harness/measure.h"
#include "harness/words.h"
#include "reference/random.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

using Json = nlohmann::ordered_json;

#if defined(RINGBENCH_GPU)
constexpr bool kOnGpu = true;
#else
constexpr bool kOnGpu = false;
#endif

// What bf16 loses on the way through two products is 0.3 to 0.5 %; a wrong mask or head moves far more than 2 %. The
// kernels' tests are the proof, with budgets; this is so that no time is kept of a kernel that is broken here.
constexpr double kTolerance = 0.02;
constexpr double kTooLong = 2;                      // predicted seconds of one run, beyond which it is not tried
constexpr int64_t kSetsMemory = int64_t{16} << 30;  // bytes that rotated inputs may take together
constexpr int64_t kCopied = int64_t{2} << 30;       // bytes; written once and read once
constexpr int64_t kMatmul = 8192;

// --- Shapes ---

struct Sizes {
  int64_t hidden, vocab, expert_width;
  int heads, kv_heads, head_dim, rotary_dim, groups;
  int experts, top_k, n_group, topk_group;
};
constexpr Sizes kMini = {2048, 157184, 512, 16, 4, 128, 64, 4, 256, 8, 8, 4};  // configs/models/ring-mini-linear-2.0
constexpr Sizes kTiny = {128, 300, 64, 2, 1, 64, 32, 2, 32, 4, 8, 4};
constexpr int64_t kPrefill = 16384;  // rows of a pass

bool tiny = !kOnGpu;  // only checks, and the smallest: for the emulator and for compute-sanitizer

// Sizes of a check, and its rows or keys: enough for several tiles; tiny: as few as will do.
const Sizes& checked_sizes() { return tiny ? kTiny : kMini; }
int64_t few(int64_t count) { return tiny ? std::min<int64_t>(count, 70) : count; }

// --- Inputs ---

struct Output {
  const void* data;
  int64_t size;
  enum { bf16s, floats, ints } type;
};

// Arguments of one launch and the memory they point to. The same `name` and sizes make the same values.
template <class Args> class Problem {
 public:
  Problem(const std::function<void(Problem&)>& make, uint64_t seed) : seed_(seed) {
    make(*this);
    synchronize(Stream{});
  }

  Args args;
  std::vector<Output> outputs;  // what a check compares

  int64_t bytes() const { return bytes_; }

  template <class T> T* empty(int64_t size) {
    auto buffer = std::make_shared<DeviceBuffer<T>>(size);
    kept_.push_back(buffer);
    bytes_ += buffer->bytes();
    return buffer->data();
  }
  template <class T> T* zeros(int64_t size) {
    T* data = empty<T>(size);
    set_zero(data, size, Stream{});
    return data;
  }
  template <class T> T* random(std::string_view name, int64_t size, double sigma = 1) {
    RandomFillArgs<T> fill{.out = empty<T>(size),
                           .normal = RandomNormal::around_zero(random_key(seed_, name), static_cast<float>(sigma)),
                           .c = size};
    kernels<RandomFillArgs<T>>().back().run(fill, Stream{});
    return fill.out;
  }
  template <class T> T* upload(const std::vector<T>& values) {
    T* data = empty<T>(static_cast<int64_t>(values.size()));
    copy_to_device(data, values.data(), static_cast<int64_t>(values.size()), Stream{});
    synchronize(Stream{});
    return data;
  }
  // `count` sequences with `rows` new tokens each, after `position` others.
  Batch batch(int count, int64_t rows, int64_t position) {
    std::vector<Piece> pieces;
    std::vector<int32_t> owner;
    for (int i = 0; i < count; ++i) {
      pieces.push_back({i, static_cast<int32_t>(rows), i * rows, position});
      owner.insert(owner.end(), static_cast<size_t>(rows), i);
    }
    return {.pieces = upload(pieces),
            .piece_of_row = upload(owner),
            .count = count,
            .rows = count * rows,
            .longest = rows,
            .deepest = position + rows};
  }
  void compare(const bf16* data, int64_t size) { outputs.push_back({data, size, Output::bf16s}); }
  void compare(const float* data, int64_t size) { outputs.push_back({data, size, Output::floats}); }
  void compare(const int32_t* data, int64_t size) { outputs.push_back({data, size, Output::ints}); }

 private:
  uint64_t seed_;
  int64_t bytes_ = 0;
  std::vector<std::shared_ptr<void>> kept_;
};

template <class Args> using Make = std::function<void(Problem<Args>&)>;

std::vector<double> download(const Output& output) {
  std::vector<double> values(static_cast<size_t>(output.size));
  const auto read = [&]<class T>(const T*) {
    std::vector<T> host(values.size());
    copy_to_host(host.data(), static_cast<const T*>(output.data), output.size, Stream{});
    synchronize(Stream{});
    std::transform(host.begin(), host.end(), values.begin(), [](T x) {
      if constexpr (std::is_same_v<T, bf16>)
        return static_cast<double>(static_cast<float>(x));
      else
        return static_cast<double>(x);
    });
  };
  if (output.type == Output::bf16s) read(static_cast<const bf16*>(nullptr));
  if (output.type == Output::floats) read(static_cast<const float*>(nullptr));
  if (output.type == Output::ints) read(static_cast<const int32_t*>(nullptr));
  return values;
}

// The largest error of any output: relative RMS; of integers 0 or 1. Infinity where a yardstick is all zeros.
template <class Args> double error_of(const Problem<Args>& candidate, const Problem<Args>& plain) {
  double worst = 0;
  for (size_t i = 0; i < plain.outputs.size(); ++i) {
    const std::vector<double> values = download(candidate.outputs[i]), truth = download(plain.outputs[i]);
    double difference = 0, size = 0;
    for (size_t j = 0; j < truth.size(); ++j) {
      difference += (values[j] - truth[j]) * (values[j] - truth[j]);
      size += truth[j] * truth[j];
    }
    const double error = plain.outputs[i].type == Output::ints ? (difference > 0 ? 1 : 0)
                         : size > 0                            ? std::sqrt(difference / size)
                                                               : INFINITY;
    worst = error <= worst ? worst : error;  // NaN stays
  }
  return worst;
}

// --- One operator at one shape ---

template <class Args> struct Case {
  std::string shape;
  double target;  // of the floor: a first version's; 0: none
  Make<Args> timed, checked;
};

struct Options {
  std::vector<std::string> ops, variants;  // empty: all
  double seconds = 0.4;                    // of samples, each row
};

struct Peaks {
  double flops_per_s = 0, bytes_per_s = 0;
};
// NVIDIA's data sheets: dense bf16, memory. Zeros for a card that is not listed.
Peaks datasheet(const std::string& device) {
  if (device.find("H200") != std::string::npos) return {989e12, 4.8e12};
  if (device.find("H100") != std::string::npos) return {989e12, 3.35e12};  // SXM
  return {};
}

std::string name_of(std::string_view op, std::string_view variant) {
  return std::string(op) + "=" + std::string(variant);
}
bool wanted(const std::vector<std::string>& names, std::string_view name) {
  return names.empty() || std::find(names.begin(), names.end(), name) != names.end();
}

class Bench {
 public:
  explicit Bench(const Options& options) : options_(options), device_(current_device()), stream_(make_stream()) {
    if (!tiny) measure_peaks("first");
  }

  template <class Args> void run(const std::vector<Case<Args>>& cases) {
    for (const Kernel<Args>& kernel : kernels<Args>())
      if (wanted(options_.ops, Args::op) && wanted(options_.variants, kernel.name))
        all_.insert(name_of(Args::op, kernel.name));
    for (const Case<Args>& c : cases)
      if (wanted(options_.ops, Args::op)) guarded(Json{{"op", Args::op}, {"shape", shape_of(c)}}, [&] { run_case(c); });
  }

  // Whether all went well.
  bool finish() {
    if (!tiny) measure_peaks("last");
    for (const std::string& name : all_)
      if (!run_.contains(name)) std::cerr << "no shape here is for " << name << "\n";
    return ok_ && (!tiny || all_ == run_);
  }

 private:
  template <class Args> static std::string shape_of(const Case<Args>& c) {
    return tiny ? "a small shape instead of " + c.shape : c.shape;
  }

  template <class Args> void run_case(const Case<Args>& c) {
    const Kernel<Args>& plain = kernels<Args>().back();
    const Problem<Args> truth(c.checked, 1);
    launch_once(plain, truth.args);
    // Two caches' worth of inputs in turn, so that none is still in the cache when its turn comes again.
    std::vector<std::unique_ptr<Problem<Args>>> sets;
    if (!tiny) {
      sets.push_back(std::make_unique<Problem<Args>>(c.timed, 1));
      const double needed = 2.5 * static_cast<double>(device_.l2_bytes) / std::max(1.0, sets[0]->args.cost().bytes);
      const int64_t room = std::max<int64_t>(1, kSetsMemory / std::max<int64_t>(1, sets[0]->bytes()));
      const int64_t count =
          std::clamp<int64_t>(static_cast<int64_t>(std::ceil(needed)), 1, std::min<int64_t>(64, room));
      while (static_cast<int64_t>(sets.size()) < count)
        sets.push_back(std::make_unique<Problem<Args>>(c.timed, sets.size() + 1));
    }
    bool chosen = true;  // what the engine would take: the first that supports the shape
    for (const Kernel<Args>& kernel : kernels<Args>()) {
      if (!kernel.supports(tiny ? truth.args : sets[0]->args, device_)) continue;
      if (wanted(options_.variants, kernel.name)) {
        run_.insert(name_of(Args::op, kernel.name));
        Json row{{"op", Args::op}, {"variant", kernel.name}, {"shape", shape_of(c)}, {"chosen", chosen}};
        guarded(row, [&] { run_variant(kernel, c, truth, sets, row); });
      }
      chosen = false;
    }
  }

  template <class Args>
  void run_variant(const Kernel<Args>& kernel, const Case<Args>& c, const Problem<Args>& truth,
                   const std::vector<std::unique_ptr<Problem<Args>>>& sets, Json& row) {
    double check_s = 0;
    {
      const Problem<Args> candidate(c.checked, 1);
      if (!kernel.supports(candidate.args, device_)) throw std::logic_error("does not support the shape of its check");
      const bool yardstick = &kernel == &kernels<Args>().back();
      check_s = launch_once(kernel, candidate.args);
      const double error = yardstick ? 0 : error_of(candidate, truth);
      row["error"] = std::isfinite(error) ? Json(error) : Json();
      row["ok"] = error <= kTolerance;
      if (!row["ok"]) {
        ok_ = false;
        row["note"] = "differs from the plain variant: not timed";
        return emit(row);
      }
    }
    if (tiny) {
      row["note"] = "no speeds recorded";
      return emit(row);
    }
    const Cost cost = sets[0]->args.cost(), small = truth.args.cost();
    row["flops"] = cost.flops, row["bytes"] = cost.bytes;
    const double predicted =
        check_s * std::max(small.flops > 0 ? cost.flops / small.flops : 0, cost.bytes / std::max(1.0, small.bytes));
    if (predicted > kTooLong && !row["chosen"]) {
      row["note"] = "would take some " + std::to_string(std::lround(predicted)) + " s: not timed";
      return emit(row);
    }
    set_times(row, sample(kernel, sets, row), cost, c.target);
    emit(row);
  }

  // Seconds of one run.
  template <class Args> double launch_once(const Kernel<Args>& kernel, Args args) {
    const auto workspace = give_workspace(kernel, args);
    Event begin, end;
    begin.record(stream_);
    kernel.run(args, stream_);
    end.record(stream_);
    synchronize(stream_);
    return tiny ? 0 : end.seconds_since(begin);
  }

  template <class Args> DeviceBuffer<std::byte> give_workspace(const Kernel<Args>& kernel, Args& args) {
    DeviceBuffer<std::byte> workspace(kernel.workspace ? kernel.workspace(args, device_) : 0);
    if constexpr (requires { args.workspace; }) args.workspace = workspace.data();
    return workspace;
  }

  // Seconds of a launch, by events around replays of a graph that holds some 2 ms of them.
  template <class Args>
  std::vector<double> sample(const Kernel<Args>& kernel, const std::vector<std::unique_ptr<Problem<Args>>>& sets,
                             Json& row) {
    std::vector<Args> arguments;
    for (const auto& set : sets) arguments.push_back(set->args);
    const auto workspace = give_workspace(kernel, arguments[0]);
    if constexpr (requires { arguments[0].workspace; })
      for (Args& args : arguments) args.workspace = workspace.data();
    const auto all = [&](size_t count) {
      for (size_t i = 0; i < count; ++i) kernel.run(arguments[i % arguments.size()], stream_);
    };
    all(arguments.size());  // warms up, and lets libraries choose
    synchronize(stream_);
    const auto timed = [&](const std::function<void()>& work) {
      Event begin, end;
      begin.record(stream_);
      work();
      end.record(stream_);
      return end.seconds_since(begin);
    };
    const double once = timed([&] { all(arguments.size()); }) / static_cast<double>(arguments.size());
    if (once > 1) return row["launches"] = 1, std::vector<double>{once};
    const size_t launches =
        std::max(arguments.size(), std::min<size_t>(256, static_cast<size_t>(std::ceil(2e-3 / once))));
    const Graph graph = Graph::capture(stream_, [&] { all(launches); });
    graph.launch(stream_);
    synchronize(stream_);
    const double first = timed([&] { graph.launch(stream_); });
    const int fewest = first > 0.1 ? 3 : 10;
    const int count = std::clamp(static_cast<int>(options_.seconds / first), fewest, 100);
    std::vector<double> samples;
    for (int i = 0; i < count; ++i)
      samples.push_back(timed([&] { graph.launch(stream_); }) / static_cast<double>(launches));
    row["sets"] = sets.size(), row["launches"] = launches;
    return samples;
  }

  void set_times(Json& row, const std::vector<double>& samples, const Cost& cost, double target) const {
    const double median = quantile(samples, 0.5);
    row["median_s"] = median;
    row["p10_s"] = quantile(samples, 0.1), row["p90_s"] = quantile(samples, 0.9);
    row["n"] = samples.size(), row["samples"] = samples;
    row["tflops"] = cost.flops / median / 1e12, row["gbs"] = cost.bytes / median / 1e9;
    const auto floor = [&](const Peaks& peaks) {
      return std::max(cost.flops / peaks.flops_per_s, cost.bytes / peaks.bytes_per_s);
    };
    if (peaks_.bytes_per_s > 0 && peaks_.flops_per_s > 0) {
      row["bound"] = cost.flops / peaks_.flops_per_s > cost.bytes / peaks_.bytes_per_s ? "compute" : "memory";
      row["floor_s"] = floor(peaks_), row["of_floor"] = floor(peaks_) / median;
    }
    if (const Peaks sheet = datasheet(device_.name); sheet.flops_per_s > 0) row["of_datasheet"] = floor(sheet) / median;
    if (target > 0) row["target"] = target;
  }

  // Copy bandwidth and the rate of a large product: if the second pair sags, the clocks did.
  void measure_peaks(const char* when) {
    guarded(Json{{"op", "copy"}, {"when", when}}, [&] {
      const DeviceBuffer<std::byte> from(kCopied), to(kCopied);
      set_zero(from.data(), kCopied, stream_);
      std::vector<double> samples;
      for (int i = 0; i < 23; ++i) {
        Event begin, end;
        begin.record(stream_);
        copy_on_device(to.data(), from.data(), kCopied, stream_);
        end.record(stream_);
        if (const double seconds = end.seconds_since(begin); i >= 3) samples.push_back(seconds);
      }
      Json row{{"op", "copy"}, {"variant", "memcpy"}, {"shape", "2 GiB"}, {"when", when}, {"ok", true}};
      const Cost cost{0, 2.0 * kCopied};
      if (peaks_.bytes_per_s == 0) peaks_.bytes_per_s = cost.bytes / quantile(samples, 0.5);
      set_times(row, samples, cost, 0);
      emit(row);
    });
    guarded(Json{{"op", "matmul"}, {"when", when}}, [&] {
      using Args = GemmArgs<bf16>;
      const Make<Args> make = [](Problem<Args>& p) {
        p.args = {.out = p.empty<bf16>(kMatmul * kMatmul),
                  .x = p.random<bf16>("x", kMatmul * kMatmul),
                  .w = p.random<bf16>("w", kMatmul * kMatmul),
                  .rows = kMatmul,
                  .columns = kMatmul,
                  .inner = kMatmul,
                  .x_stride = kMatmul};
      };
      std::vector<std::unique_ptr<Problem<Args>>> sets;
      sets.push_back(std::make_unique<Problem<Args>>(make, 1));
      const Kernel<Args>& kernel = choose(sets[0]->args, device_, kOnGpu ? "cublas" : "");
      Json row{{"op", "matmul"}, {"variant", kernel.name}, {"shape", "8192^3"}, {"when", when}, {"ok", true}};
      const std::vector<double> samples = sample(kernel, sets, row);
      if (peaks_.flops_per_s == 0) peaks_.flops_per_s = sets[0]->args.cost().flops / quantile(samples, 0.5);
      set_times(row, samples, sets[0]->args.cost(), 0);
      emit(row);
    });
  }

  // An error becomes a row of its own; one that took the context along ends the program.
  void guarded(Json row, const std::function<void()>& work) {
    try {
      work();
    } catch (const std::exception& e) {
      ok_ = false;
      row["ok"] = false;
      row["error_text"] = e.what();
      emit(row);
      const auto* error = dynamic_cast<const GpuError*>(&e);
      if (error && error->sticky) throw;
    }
  }

  void emit(const Json& row) const {
    Json line{{"schema", "ringbench.kernel/1"}};
    line.update(row);
    line["dtype"] = "bf16", line["device"] = device_.name, line["driver"] = device_.driver;
    line["commit"] = build_info::commit, line["date"] = utc_now();
    std::cout << line.dump() << std::endl;
  }

  Options options_;
  Device device_;
  Stream stream_;
  Peaks peaks_;
  bool ok_ = true;
  std::set<std::string> all_, run_;  // variants: wanted, and those that some shape was for
};

// --- Operators, in the order of kernels.h ---

std::string times(int64_t rows, int64_t width) { return std::to_string(rows) + " x " + std::to_string(width); }

void gather(Bench& bench) {
  using Args = GatherArgs<bf16>;
  const auto make = [](const Sizes& s, int64_t rows) -> Make<Args> {
    return [=](Problem<Args>& p) {
      std::vector<int32_t> index;
      for (int64_t i = 0; i < rows; ++i)
        index.push_back(
            static_cast<int32_t>(random_bits(1, static_cast<uint64_t>(i)) % static_cast<uint64_t>(s.vocab)));
      p.args = {.out = p.empty<bf16>(rows * s.hidden),
                .table = p.random<bf16>("table", s.vocab * s.hidden),
                .index = p.upload(index),
                .rows = rows,
                .width = s.hidden};
      p.compare(p.args.out, rows * s.hidden);
    };
  };
  bench.run<Args>({{times(kPrefill, kMini.hidden), 0, make(kMini, kPrefill), make(checked_sizes(), few(100))}});
}

void rms_norm(Bench& bench) {
  using Args = RmsNormArgs<bf16>;
  const auto make = [](const Sizes& s, int64_t rows) -> Make<Args> {
    return [=](Problem<Args>& p) {
      const int64_t size = rows * s.hidden;
      p.args = {.out = p.empty<bf16>(size),
                .residual = p.random<bf16>("residual", size),
                .x = p.random<bf16>("x", size),
                .weight = p.random<float>("weight", s.hidden),
                .rows = rows,
                .width = s.hidden,
                .eps = 1e-6f};
      p.compare(p.args.out, size), p.compare(p.args.residual, size);
    };
  };
  std::vector<Case<Args>> cases;
  for (const int64_t rows : {kPrefill, int64_t{64}})
    cases.push_back({times(rows, kMini.hidden), 0.70, make(kMini, rows), make(checked_sizes(), few(100))});
  bench.run(cases);
}

void qk_norm_rope(Bench& bench) {
  using Args = QkNormRopeArgs<bf16>;
  const auto make = [](const Sizes& s, bool linear, int count, int64_t rows, int64_t position) -> Make<Args> {
    return [=](Problem<Args>& p) {
      const int kv = linear ? s.heads : s.kv_heads;
      const int64_t all = count * rows, stride = int64_t{s.heads + (linear ? 3 : 2) * kv} * s.head_dim;  // with a gate
      const int64_t cache = linear ? 0 : count * kv * (position + rows) * s.head_dim;
      std::vector<uint64_t> turns;
      for (int j = 0; j < s.rotary_dim / 2; ++j)
        turns.push_back(static_cast<uint64_t>(std::ldexp(std::pow(1e6, -2.0 * j / s.rotary_dim) / 6.283185307, 64)));
      p.args = {.qkv = p.random<bf16>("qkv", all * stride),
                .k_cache = linear ? nullptr : p.zeros<bf16>(cache),
                .v_cache = linear ? nullptr : p.zeros<bf16>(cache),
                .q_norm = p.random<float>("q_norm", s.head_dim),
                .k_norm = p.random<float>("k_norm", s.head_dim),
                .turns = p.upload(turns),
                .eps = 1e-6f,
                .heads = s.heads,
                .kv_heads = kv,
                .head_dim = s.head_dim,
                .rotary_dim = s.rotary_dim,
                .stride = stride,
                .max_tokens = position + rows,
                .batch = p.batch(count, rows, position)};
      p.compare(p.args.qkv, all * stride);
      if (!linear) p.compare(p.args.k_cache, cache), p.compare(p.args.v_cache, cache);
    };
  };
  bench.run<Args>(
      {{"linear, 16384 rows", 0.70, make(kMini, true, 1, kPrefill, 0), make(checked_sizes(), true, 2, few(50), 0)},
       {"softmax, 16384 rows", 0.70, make(kMini, false, 1, kPrefill, 0), make(checked_sizes(), false, 2, few(50), 7)},
       {"softmax, batch 64", 0, make(kMini, false, 64, 1, 511), make(checked_sizes(), false, 3, 1, 17)}});
}

void group_norm_gate(Bench& bench) {
  using Args = GroupNormGateArgs<bf16>;
  const auto make = [](const Sizes& s, int64_t rows) -> Make<Args> {
    return [=](Problem<Args>& p) {
      const int64_t width = s.heads * s.head_dim, size = rows * width;
      p.args = {.out = p.empty<bf16>(size),
                .o = p.random<bf16>("o", size),
                .gate = p.random<bf16>("gate", 4 * size),  // beside q, k and v
                .weight = p.random<float>("weight", width),
                .rows = rows,
                .width = width,
                .gate_stride = 4 * width,
                .groups = s.groups,
                .eps = 1e-6f};
      p.compare(p.args.out, size);
    };
  };
  std::vector<Case<Args>> cases;
  for (const int64_t rows : {kPrefill, int64_t{64}})
    cases.push_back({times(rows, kMini.hidden), 0.70, make(kMini, rows), make(checked_sizes(), few(100))});
  bench.run(cases);
}

// `count` sequences of `rows` tokens each; every head with its own slope, as in layer 0.
template <class Args> Make<Args> linear_attention(const Sizes& s, int count, int64_t rows) {
  return [=](Problem<Args>& p) {
    const int64_t width = int64_t{s.heads} * s.head_dim, stride = 4 * width, states = count * width * s.head_dim;
    std::vector<float> log_decay;
    for (int h = 0; h < s.heads; ++h)
      log_decay.push_back(-std::exp2(-8.f * static_cast<float>(h + 1) / static_cast<float>(s.heads)));
    const bf16* qkv = p.template random<bf16>("qkv", count * rows * stride);
    p.args.o = p.template empty<bf16>(count * rows * width);
    p.args.state = p.template random<float>("state", states);
    p.args.q = qkv, p.args.k = qkv + width, p.args.v = qkv + 2 * width;
    p.args.log_decay = p.upload(log_decay);
    p.args.scale = 1 / std::sqrt(static_cast<float>(s.head_dim));
    p.args.heads = p.args.kv_heads = s.heads;
    p.args.head_dim = s.head_dim;
    p.args.stride = stride;
    p.args.batch = p.batch(count, rows, 0);
    p.compare(p.args.o, count * rows * width), p.compare(p.args.state, states);
  };
}

void linear_attention_prefill(Bench& bench) {
  using Args = LinearPrefillArgs<bf16>;
  // Checked with sequences as long as the two passes over segments ask for.
  bench.run<Args>({{"batch 1, 16384 tokens", 0.30, linear_attention<Args>(kMini, 1, kPrefill),
                    linear_attention<Args>(checked_sizes(), 1, 2049)},
                   {"batch 8, 2048 tokens", 0.30, linear_attention<Args>(kMini, 8, 2048),
                    linear_attention<Args>(checked_sizes(), tiny ? 2 : 8, few(2048))}});
}

void linear_attention_decode(Bench& bench) {
  using Args = LinearDecodeArgs<bf16>;
  bench.run<Args>(
      {{"batch 64", 0.75, linear_attention<Args>(kMini, 64, 1), linear_attention<Args>(checked_sizes(), 3, 1)},
       {"batch 1", 0.30, linear_attention<Args>(kMini, 1, 1), linear_attention<Args>(checked_sizes(), 1, 1)}});
}

template <class Args> Make<Args> softmax_attention(const Sizes& s, int count, int64_t rows, int64_t position) {
  return [=](Problem<Args>& p) {
    const int64_t width = int64_t{s.heads} * s.head_dim, stride = width + 2 * s.kv_heads * s.head_dim;
    const int64_t end = position + rows, cache = count * s.kv_heads * end * s.head_dim;
    p.args.o = p.template empty<bf16>(count * rows * width);
    p.args.q = p.template random<bf16>("q", count * rows * stride);
    p.args.k_cache = p.template random<bf16>("k", cache);
    p.args.v_cache = p.template random<bf16>("v", cache);
    p.args.scale = 1 / std::sqrt(static_cast<float>(s.head_dim));
    p.args.heads = s.heads, p.args.kv_heads = s.kv_heads, p.args.head_dim = s.head_dim;
    p.args.slots = count;
    p.args.stride = stride, p.args.max_tokens = end;
    p.args.batch = p.batch(count, rows, position);
    p.compare(p.args.o, count * rows * width);
  };
}

void softmax_attention_prefill(Bench& bench) {
  using Args = SoftmaxPrefillArgs<bf16>;
  bench.run<Args>({{"first 16384 tokens", 0.45, softmax_attention<Args>(kMini, 1, kPrefill, 0),
                    softmax_attention<Args>(checked_sizes(), 1, few(300), 0)},
                   {"last 16384 of 384k tokens", 0.52, softmax_attention<Args>(kMini, 1, kPrefill, 376832),
                    softmax_attention<Args>(checked_sizes(), 1, few(300), few(1000))}});
}

void softmax_attention_decode(Bench& bench) {
  using Args = SoftmaxDecodeArgs<bf16>;
  bench.run<Args>({{"batch 64, ctx 16k", 0.75, softmax_attention<Args>(kMini, 64, 1, 16383),
                    softmax_attention<Args>(checked_sizes(), 3, 1, few(700))},
                   {"batch 1, ctx 16k", 0.55, softmax_attention<Args>(kMini, 1, 1, 16383),
                    softmax_attention<Args>(checked_sizes(), 1, 1, few(700))},
                   {"batch 1, ctx 512k", 0.75, softmax_attention<Args>(kMini, 1, 1, 524287),
                    softmax_attention<Args>(checked_sizes(), 1, 1, few(2000))}});
}

template <class Out> Make<GemmArgs<bf16, Out>> product(int64_t rows, int64_t columns, int64_t inner) {
  return [=](Problem<GemmArgs<bf16, Out>>& p) {
    p.args = {.out = p.template empty<Out>(rows * columns),
              .x = p.template random<bf16>("x", rows * inner),
              .w = p.template random<bf16>("w", columns * inner, 0.02),
              .rows = rows,
              .columns = columns,
              .inner = inner,
              .x_stride = inner};
    p.compare(p.args.out, rows * columns);
  };
}

void gemm(Bench& bench) {
  const int64_t H = kMini.hidden, h = checked_sizes().hidden;
  const auto dense = [&](int64_t rows, int64_t columns, const char* what, double target) {
    return Case<GemmArgs<bf16>>{times(rows, columns) + " x 2048, " + what, target, product<bf16>(rows, columns, H),
                                product<bf16>(few(std::min<int64_t>(rows, 200)), h + 8, h)};
  };
  bench.run<GemmArgs<bf16>>({dense(kPrefill, 8192, "linear q k v gate", 0.80),
                             dense(kPrefill, 3072, "softmax q k v", 0.75), dense(kPrefill, 2048, "output", 0.75),
                             dense(64, 8192, "linear q k v gate", 0.70), dense(8, 8192, "linear q k v gate", 0.70),
                             dense(1, 8192, "linear q k v gate", 0.70)});
  const auto head = [&](int64_t rows, int64_t columns, const char* what, double target) {
    return Case<GemmArgs<bf16, float>>{times(rows, columns) + " x 2048, " + what, target,
                                       product<float>(rows, columns, H),
                                       product<float>(few(std::min<int64_t>(rows, 200)), h + 8, h)};
  };
  bench.run<GemmArgs<bf16, float>>({head(kPrefill, kMini.experts, "router", 0), head(64, kMini.vocab, "LM head", 0.80),
                                    head(1, kMini.vocab, "LM head", 0.80)});
}

void swiglu(Bench& bench) {
  using Args = SwigluArgs<bf16>;
  const auto make = [](int64_t rows, int64_t width) -> Make<Args> {
    return [=](Problem<Args>& p) {
      p.args = {.out = p.empty<bf16>(rows * width),
                .gate_up = p.random<bf16>("gate_up", rows * 2 * width),
                .rows = rows,
                .width = width};
      p.compare(p.args.out, rows * width);
    };
  };
  bench.run<Args>({{times(kPrefill, kMini.expert_width), 0.70, make(kPrefill, kMini.expert_width),
                    make(few(100), checked_sizes().expert_width)}});
}

template <class Args> RouteArgs route_args(Problem<Args>& p, const Sizes& s, int64_t rows) {
  return {.experts = p.template empty<int32_t>(rows * s.top_k),
          .weights = p.template empty<float>(rows * s.top_k),
          .logits = p.template random<float>("logits", rows * s.experts),
          .expert_bias = p.template random<float>("bias", s.experts, 0.01),
          .router = Router::sigmoid_topk,
          .num_experts = s.experts,
          .k = s.top_k,
          .n_group = s.n_group,
          .topk_group = s.topk_group,
          .routed_scaling_factor = 2.5f,
          .batch = p.batch(1, rows, 0)};
}

// Of random routing, by the plain kernels.
template <class Args> PermuteArgs permute_args(Problem<Args>& p, const Sizes& s, int64_t rows) {
  const RouteArgs route = route_args(p, s, rows);
  kernels<RouteArgs>().back().run(route, Stream{});
  const int64_t pairs = rows * s.top_k;
  return {.offsets = p.template empty<int32_t>(s.experts + 1),
          .pair_of_row = p.template empty<int32_t>(pairs),
          .row_of_pair = p.template empty<int32_t>(pairs),
          .experts = route.experts,
          .pairs = pairs,
          .num_experts = s.experts};
}
template <class Args> PermuteArgs permuted(Problem<Args>& p, const Sizes& s, int64_t rows) {
  const PermuteArgs args = permute_args(p, s, rows);
  kernels<PermuteArgs>().back().run(args, Stream{});
  return args;
}

void moe_route(Bench& bench) {
  using Args = RouteArgs;
  const auto make = [](const Sizes& s, int64_t rows) -> Make<Args> {
    return [=](Problem<Args>& p) {
      p.args = route_args(p, s, rows);
      p.compare(p.args.experts, rows * s.top_k), p.compare(p.args.weights, rows * s.top_k);
    };
  };
  bench.run<Args>({{"16384 rows", 0, make(kMini, kPrefill), make(checked_sizes(), few(100))},
                   {"64 rows", 0, make(kMini, 64), make(checked_sizes(), few(64))}});
}

void moe_permute(Bench& bench) {
  using Args = PermuteArgs;
  const auto make = [](const Sizes& s, int64_t rows) -> Make<Args> {
    return [=](Problem<Args>& p) {
      p.args = permute_args(p, s, rows);
      p.compare(p.args.offsets, s.experts + 1);
      p.compare(p.args.pair_of_row, p.args.pairs), p.compare(p.args.row_of_pair, p.args.pairs);
    };
  };
  bench.run<Args>({{"16384 rows", 0, make(kMini, kPrefill), make(checked_sizes(), few(1000))},
                   {"64 rows", 0, make(kMini, 64), make(checked_sizes(), few(64))}});
}

void moe_gemm(Bench& bench) {
  using Args = GroupedGemmArgs<bf16>;
  const auto make = [](const Sizes& s, int64_t rows, bool gate_up) -> Make<Args> {
    return [=](Problem<Args>& p) {
      const PermuteArgs order = permuted(p, s, rows);
      const int64_t columns = gate_up ? s.expert_width : s.hidden, inner = gate_up ? s.hidden : s.expert_width;
      p.args = {.out = p.empty<bf16>(order.pairs * columns),
                .x = p.random<bf16>("x", (gate_up ? rows : order.pairs) * inner),
                .pair_of_row = gate_up ? order.pair_of_row : nullptr,
                .k = s.top_k,
                .w = p.random<bf16>("w", s.experts * columns * inner * (gate_up ? 2 : 1), 0.02),
                .offsets = order.offsets,
                .pairs = order.pairs,
                .columns = columns,
                .inner = inner,
                .num_experts = s.experts,
                .swiglu = gate_up};
      p.compare(p.args.out, order.pairs * columns);
    };
  };
  std::vector<Case<Args>> cases;
  for (const bool gate_up : {true, false})
    for (const auto& [rows, checked, target] :
         {std::tuple(kPrefill, int64_t{512}, 0.45), std::tuple(int64_t{64}, int64_t{64}, 0.72),
          std::tuple(int64_t{1}, int64_t{1}, 0.55)})
      cases.push_back({std::string(gate_up ? "gate and up, " : "down, ") + std::to_string(rows) + " tokens", target,
                       make(kMini, rows, gate_up), make(checked_sizes(), few(checked), gate_up)});
  bench.run(cases);
}

void moe_combine(Bench& bench) {
  using Args = CombineArgs<bf16>;
  const auto make = [](const Sizes& s, int64_t rows) -> Make<Args> {
    return [=](Problem<Args>& p) {
      const PermuteArgs order = permuted(p, s, rows);
      p.args = {.out = p.empty<bf16>(rows * s.hidden),
                .each = p.random<bf16>("each", order.pairs * s.hidden),
                .shared = p.random<bf16>("shared", rows * s.hidden),
                .row_of_pair = order.row_of_pair,
                .weights = p.random<float>("weights", order.pairs),
                .rows = rows,
                .width = s.hidden,
                .k = s.top_k};
      p.compare(p.args.out, rows * s.hidden);
    };
  };
  bench.run<Args>({{"16384 tokens", 0.70, make(kMini, kPrefill), make(checked_sizes(), few(100))},
                   {"64 tokens", 0, make(kMini, 64), make(checked_sizes(), few(64))}});
}

void argmax(Bench& bench) {
  using Args = ArgmaxArgs;
  const auto make = [](const Sizes& s, int64_t rows) -> Make<Args> {
    return [=](Problem<Args>& p) {
      p.args = {.out = p.empty<int32_t>(rows),
                .logits = p.random<float>("logits", rows * s.vocab),
                .rows = rows,
                .vocab_size = s.vocab};
      p.compare(p.args.out, rows);
    };
  };
  bench.run<Args>({{"batch 64", 0, make(kMini, 64), make(checked_sizes(), 3)},
                   {"batch 1", 0, make(kMini, 1), make(checked_sizes(), 1)}});
}

void sample(Bench& bench) {
  using Args = SampleArgs;
  const auto make = [](const Sizes& s, int64_t rows) -> Make<Args> {
    return [=](Problem<Args>& p) {
      std::vector<uint64_t> seeds;
      for (int64_t r = 0; r < rows; ++r) seeds.push_back(static_cast<uint64_t>(r));
      p.args = {.out = p.empty<int32_t>(rows),
                .logits = p.random<float>("logits", rows * s.vocab),
                .seeds = p.upload(seeds),
                .counters = p.zeros<int64_t>(rows),
                .top_p = 0.95f,
                .top_k = 40,
                .rows = rows,
                .vocab_size = s.vocab};
      p.compare(p.args.out, rows);
    };
  };
  bench.run<Args>({{"batch 64", 0, make(kMini, 64), make(checked_sizes(), 3)}});
}

void advance(Bench& bench) {
  using Args = AdvanceArgs;
  const Make<Args> make = [](Problem<Args>& p) {
    const Batch batch = p.batch(64, 1, 0);
    p.args = {.pieces = const_cast<Piece*>(batch.pieces), .count = 64};
    p.compare(reinterpret_cast<const int32_t*>(batch.pieces), 64 * static_cast<int64_t>(sizeof(Piece) / 4));
  };
  bench.run<Args>({{"batch 64", 0, make, make}});
}

void random_fill(Bench& bench) {
  using Args = RandomFillArgs<bf16>;
  const auto make = [](int64_t size) -> Make<Args> {
    return [=](Problem<Args>& p) {
      p.args = {.out = p.empty<bf16>(size), .normal = RandomNormal::around_zero(random_key(1, "w"), 0.02f), .c = size};
      p.compare(p.args.out, size);
    };
  };
  bench.run<Args>({{"64M values", 0, make(int64_t{64} << 20), make(few(1000))}});
}

struct Operator {
  std::string_view name;
  void (*run)(Bench&);
};
constexpr Operator kOperators[] = {
    {SoftmaxPrefillArgs<bf16>::op, softmax_attention_prefill},
    {GroupedGemmArgs<bf16>::op, moe_gemm},
    {LinearPrefillArgs<bf16>::op, linear_attention_prefill},
    {LinearDecodeArgs<bf16>::op, linear_attention_decode},
    {SoftmaxDecodeArgs<bf16>::op, softmax_attention_decode},
    {GemmArgs<bf16>::op, gemm},
    {RmsNormArgs<bf16>::op, rms_norm},
    {QkNormRopeArgs<bf16>::op, qk_norm_rope},
    {GroupNormGateArgs<bf16>::op, group_norm_gate},
    {CombineArgs<bf16>::op, moe_combine},
    {RouteArgs::op, moe_route},
    {PermuteArgs::op, moe_permute},
    {SwigluArgs<bf16>::op, swiglu},
    {ArgmaxArgs::op, argmax},
    {SampleArgs::op, sample},
    {GatherArgs<bf16>::op, gather},
    {AdvanceArgs::op, advance},
    {RandomFillArgs<bf16>::op, random_fill},
};

constexpr const char* kHelp =
    "usage: bench_cuda_kernels [--op NAMES] [--variant NAMES] [--seconds S] [--tiny] [--list]\n"
    "Times every variant of every CUDA operator against its floor; JSON lines on stdout.\n"
    "  --op, --variant   only these, separated by commas\n"
    "  --seconds         of samples for each row (0.4)\n"
    "  --tiny            only the checks, at the smallest shapes; the emulator does nothing else\n"
    "  --list            the operators, those that cost a model most first\n";

int run_program(const std::vector<std::string>& words) {
  Options options;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& flag = words[i];
    if (flag == "--help") return std::cout << kHelp, 0;
    if (flag == "--list") {
      for (const Operator& op : kOperators) std::cout << op.name << "\n";
      return 0;
    }
    if (flag == "--tiny") {
      tiny = true;
      continue;
    }
    if (i + 1 == words.size() || (flag != "--op" && flag != "--variant" && flag != "--seconds"))
      throw UsageError("bench_cuda_kernels: '" + flag + "' is no flag, or lacks its value; see --help");
    const std::string& value = words[++i];
    if (flag == "--op") options.ops = split_list({value}, flag);
    if (flag == "--variant") options.variants = split_list({value}, flag);
    if (flag == "--seconds") options.seconds = parse_duration_s(value, flag);
  }
  for (const std::string& op : options.ops)
    if (std::none_of(std::begin(kOperators), std::end(kOperators), [&](const Operator& o) { return o.name == op; }))
      throw UsageError("--op: there is no operator '" + op + "'; see --list");
  Bench bench(options);
  for (const Operator& op : kOperators)
    if (wanted(options.ops, op.name)) op.run(bench);
  return bench.finish() ? 0 : 1;
}

}  // namespace

int bench_kernels(const std::vector<std::string>& words) { return run_program(words); }

}  // namespace ringbench::RINGBENCH_BACKEND

// Exit codes: 0, 1 (a variant failed), 2 (usage), 3 (no device, or its context was lost).
int main(int argc, char** argv) {
  try {
    return ringbench::RINGBENCH_BACKEND::bench_kernels({argv + 1, argv + argc});
  } catch (const ringbench::Failure& e) {
    std::cerr << "error: " << e.what() << "\n";
    return static_cast<int>(e.code);
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << "\n";
    return 3;
  }
}
