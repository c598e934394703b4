// predict.cpp: see predict.h.
#include "harness/predict.h"

#include <algorithm>
#include <cmath>

#include "harness/engines.h"
#include "harness/failure.h"
#include "reference/weights.h"

namespace ringbench {
namespace {

constexpr int64_t kDepths = 64;        // at which the steps of a decode are looked at
constexpr int64_t kMostChunks = 4096;  // of a prefill that are looked at

// Where part i of `parts` even parts of `total` begins; no product that could overflow.
int64_t split(int64_t total, int64_t i, int64_t parts) { return total / parts * i + total % parts * i / parts; }

// The roof of one device for one type.
class Roof {
 public:
  Roof(const DeviceModel& device, DType dtype) : device_(device), bandwidth_(device.memory_gbps * 1e9) {
    const auto peak = device.peak_flops(dtype);
    if (!peak) throw UsageError("device '" + device.name + "' states no peak for " + std::string(name_of(dtype)) + ".");
    peak_ = *peak;
  }

  // Adds `times` x the operations, which `layers` layers launch, to a prediction.
  void add(Prediction& p, const std::vector<Operation>& operations, int layers, double times) const {
    for (const Operation& op : operations) {
      const double n = times * op.count, compute = op.done.flops / (peak_ * device_.share(op.part)),
                   memory = op.done.bytes / (bandwidth_ * device_.efficiency.bandwidth);
      (compute > memory ? p.compute_s : p.memory_s) += n * std::max(compute, memory);
      p.flops += n * op.done.flops;
      p.bytes += n * op.done.bytes;
      add_part(p, name_of(op.part), n * std::max(compute, memory), n * op.done);
    }
    const double launches = times * device_.kernel_s * device_.kernels_per_layer * layers;
    p.launch_s += launches;
    add_part(p, "launch", launches, {});
  }

 private:
  static void add_part(Prediction& p, std::string_view name, double seconds, const Cost& cost) {
    auto part = std::find_if(p.parts.begin(), p.parts.end(), [&](const PartTime& t) { return t.part == name; });
    if (part == p.parts.end()) part = p.parts.insert(p.parts.end(), {std::string(name), 0, 0, 0});
    part->seconds += seconds;
    part->flops += cost.flops;
    part->bytes += cost.bytes;
  }

  const DeviceModel& device_;
  double peak_ = 0, bandwidth_;
};

void finish(Prediction& p) {
  p.seconds = p.compute_s + p.memory_s + p.launch_s;
  p.bound = p.launch_s > std::max(p.compute_s, p.memory_s) ? "launch" : p.compute_s > p.memory_s ? "compute" : "memory";
}

// A prefill of one batch. Beyond kMostChunks whole chunks, groups of them count as their middle one.
void add_prefill(Prediction& p, const CostModel& model, const Roof& roof, const Workpoint& work, int64_t batch,
                 double times) {
  const int64_t chunk = work.chunk > 0 ? work.chunk : std::max<int64_t>(1, work.ctx);
  const int64_t whole = work.ctx / chunk, rest = work.ctx % chunk, groups = std::min(whole, kMostChunks);
  const int layers = model.config.num_hidden_layers;
  for (int64_t i = 0; i < groups; ++i) {
    const int64_t from = split(whole, i, groups), to = split(whole, i + 1, groups);
    const bool logits = i + 1 == groups && rest == 0;
    if (logits) roof.add(p, model.append(chunk, (whole - 1) * chunk, batch, true), layers, times);
    if (const int64_t others = to - from - (logits ? 1 : 0); others > 0)
      roof.add(p, model.append(chunk, (from + (others - 1) / 2) * chunk, batch, false), layers,
               times * static_cast<double>(others));
  }
  if (rest > 0) roof.add(p, model.append(rest, whole * chunk, batch, true), layers, times);
}

// `steps` decode steps of one batch from depth `first` on, each weighing `times`.
void add_steps(Prediction& p, const CostModel& model, const Roof& roof, int64_t first, int64_t steps, int64_t batch,
               double times) {
  const int64_t pieces = std::min(steps, kDepths);
  for (int64_t i = 0; i < pieces; ++i) {
    const int64_t from = split(steps, i, pieces), to = split(steps, i + 1, pieces);
    roof.add(p, model.append(1, first + (from + to - 1) / 2, batch), model.config.num_hidden_layers,
             times * static_cast<double>(to - from));
  }
}

}  // namespace

Workpoint workpoint_of(const Point& point) {
  return {.phase = point.phase,
          .ctx = point.ctx,
          .gen = point.gen,
          .batch = point.batch,
          .requests = point.requests,
          .chunk = point.chunk,
          .dtype = point.dtype};
}

Prediction predict(const ModelConfig& config, const Workpoint& work, const DeviceModel& device) {
  const CostModel model(config, work.dtype);
  const Roof roof(device, work.dtype);
  Prediction p;
  if (work.phase == "prefill") {
    add_prefill(p, model, roof, work, work.batch, 1);
  } else if (work.phase == "decode") {
    const int64_t steps = std::max<int64_t>(1, work.gen);
    add_steps(p, model, roof, work.ctx, steps, work.batch, 1 / static_cast<double>(steps));
  } else {
    const auto wave = [&](int64_t batch, double times) {
      if (batch == 0 || times == 0) return;
      add_prefill(p, model, roof, work, batch, times);
      add_steps(p, model, roof, work.ctx, work.gen - 1, batch, times);  // the prefill gives the first token
    };
    const int64_t full = work.requests / work.batch;
    wave(work.batch, static_cast<double>(full));
    wave(work.requests % work.batch, 1);
  }
  finish(p);
  return p;
}

double tokens_per_second(const Workpoint& work, double seconds) {
  if (work.phase == "prefill") return static_cast<double>(work.batch * work.ctx) / seconds;
  if (work.phase == "decode") return static_cast<double>(work.batch) / seconds;
  return static_cast<double>(work.requests * work.gen) / seconds;
}

Memory memory_need(const ModelConfig& config, const Workpoint& work, const std::string& engine) {
  Memory memory{.weights = count_parameters(config).total * size_of(work.dtype),
                .kv = work.batch * work.tokens() * kv_bytes_per_token(config, work.dtype),
                .state = work.batch * state_bytes(config, work.dtype),
                .workspace = 0};
  if (engine.empty()) return memory;
  EngineOptions options;
  options.dtype = work.dtype;
  options.chunk = work.chunk;
  options.slots = static_cast<int>(work.batch);
  options.max_tokens = work.tokens();
  memory.workspace = plan_engine_memory(engine, config, options).workspace;
  return memory;
}

int64_t sequences_that_fit(const ModelConfig& config, int64_t tokens_each, DType dtype, const DeviceModel& device,
                           int64_t workspace_bytes) {
  const double room = device.room(static_cast<double>(count_parameters(config).total * size_of(dtype)),
                                  static_cast<double>(workspace_bytes));
  const auto each = static_cast<double>(tokens_each * kv_bytes_per_token(config, dtype) + state_bytes(config, dtype));
  return room <= 0 ? 0 : static_cast<int64_t>(room / each);
}

DecodeRun decode_run(const ModelConfig& config, const Workpoint& work, const DeviceModel& device,
                     std::optional<double> room) {
  const CostModel model(config, work.dtype);
  const Roof roof(device, work.dtype);
  const auto kv = static_cast<double>(kv_bytes_per_token(config, work.dtype)),
             state = static_cast<double>(state_bytes(config, work.dtype));
  const int64_t pieces = std::min(work.gen, kDepths);
  const auto made = [&](int64_t piece) { return split(work.gen, piece, pieces); };

  DecodeRun run{.fewest_at_once = work.batch};
  // Of each sequence, the next piece. Never rises from one to the next: of two as far, the first is asked first.
  std::vector<int64_t> piece(static_cast<size_t>(work.batch), 0);
  const auto need = [&](int64_t next) { return state + static_cast<double>(work.ctx + made(next + 1)) * kv; };
  size_t first = 0;  // that is not finished
  while (piece.back() < pieces) {
    while (piece[first] == pieces) ++first;
    double used = 0;
    int64_t depths = 0, steps = 0;
    std::vector<size_t> live;
    for (size_t i = first; i < piece.size() && !(room && used + need(piece.back()) > *room); ++i) {
      if (room && used + need(piece[i]) > *room) continue;
      used += need(piece[i]);
      depths += work.ctx + (made(piece[i]) + made(piece[i] + 1)) / 2;
      steps = std::max(steps, made(piece[i] + 1) - made(piece[i]));
      live.push_back(i);
    }
    const auto unfinished = static_cast<int64_t>(piece.size() - first);
    const auto running = static_cast<int64_t>(live.size());
    if (running < unfinished) run.waited = true, run.fewest_at_once = std::min(run.fewest_at_once, running);
    if (live.empty()) return {.seconds = 0, .tok_s = 0, .fewest_at_once = 0, .waited = true};
    Prediction p;
    roof.add(p, model.append(1, depths / running, running), config.num_hidden_layers, static_cast<double>(steps));
    finish(p);
    run.seconds += p.seconds;
    for (const size_t i : live) ++piece[i];
  }
  run.tok_s = static_cast<double>(work.batch * work.gen) / run.seconds;
  return run;
}

void describe_prediction(Result& r, const ModelConfig& config, const Workpoint& work,
                         const std::optional<DeviceModel>& device) {
  const Cost prefill = append_cost(config, work.ctx, 0, work.batch, work.dtype);
  const Cost step = append_cost(config, 1, work.ctx + work.gen / 2, work.batch, work.dtype);  // at the mean depth
  if (work.phase == "prefill") r.flops = prefill.flops, r.bytes = prefill.bytes;
  if (work.phase == "decode") r.flops = step.flops, r.bytes = step.bytes;
  if (work.phase == "e2e") {
    const double waves = static_cast<double>(work.requests) / static_cast<double>(work.batch);
    const auto steps = static_cast<double>(work.gen - 1);
    r.flops = waves * (prefill.flops + steps * step.flops);
    r.bytes = waves * (prefill.bytes + steps * step.bytes);
  }
  // Of e2e the last token is chosen but never fed.
  const int64_t tokens = work.tokens() - (work.phase == "e2e" ? 1 : 0);
  r.kv_bytes_analytic = work.batch * tokens * kv_bytes_per_token(config, work.dtype);
  r.state_bytes_analytic = work.batch * state_bytes(config, work.dtype);
  ModelConfig twin = config;
  std::fill(twin.layer_types.begin(), twin.layer_types.end(), LayerType::softmax_attention);
  r.cache_ratio_vs_softmax = static_cast<double>(*r.kv_bytes_analytic + *r.state_bytes_analytic) /
                             static_cast<double>(work.batch * tokens * kv_bytes_per_token(twin, work.dtype));

  if (!device || !device->peak_flops(work.dtype)) return;
  const Prediction p = predict(config, work, *device);
  r.predicted_s = p.seconds;
  r.bound = p.bound;
  r.peak_tflops = *device->peak_flops(work.dtype) / 1e12;
  r.peak_gbps = device->memory_gbps;
  r.peak_source = device->kind;
  r.mfu_params = "active_non_embedding";
}

void finish_prediction(Result& r) {
  if (!r.value || !(*r.value > 0)) return;
  if (r.predicted_s > 0.0) r.measured_over_predicted = *r.value / *r.predicted_s;
  if (r.flops && r.peak_tflops) r.mfu = *r.flops / (*r.value * *r.peak_tflops * 1e12);
  if (r.bytes && r.peak_gbps) r.mbu = *r.bytes / (*r.value * *r.peak_gbps * 1e9);
}

}  // namespace ringbench
