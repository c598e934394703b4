// estimate_command.cpp: see estimate_command.h.
#include "harness/estimate_command.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <ostream>

#include "harness/engines.h"
#include "harness/failure.h"
#include "harness/table.h"
#include "harness/words.h"

namespace ringbench {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostPoints = 100000;
constexpr int64_t kMostTokens = int64_t{1} << 40;  // of all sequences of a point together: bytes stay in 64 bits

// The engine whose plan says what a workspace takes: `emulated` is the CUDA engine's own code.
std::string planning_engine(const std::optional<DeviceModel>& device, DType dtype) {
  const bool reference = (device && device->engine == "reference") || dtype == DType::f64;
  return reference ? "reference" : "emulated";
}

DType dtype_of(const EstimateRequest& request, const std::optional<DeviceModel>& device) {
  if (request.dtype) return *request.dtype;
  return device && !device->peak_flops(DType::bf16) ? DType::f32 : DType::bf16;
}

void check_point(const Workpoint& work) {
  if (work.ctx == 0 && work.phase != "decode")
    throw UsageError("--ctx 0: " + work.phase + " needs a prompt of at least 1 token.");
  if (work.requests < work.batch)
    throw UsageError("--requests " + std::to_string(work.requests) + " is less than --batch " +
                     std::to_string(work.batch) + ".");
  if (work.tokens() > kMostTokens / work.batch)
    throw UsageError("--ctx " + token_label(work.ctx) + " with --batch " + std::to_string(work.batch) +
                     " is too large. The most is " + token_label(kMostTokens) + " tokens in all sequences.");
}

// All workpoints, those of a prefill once for every --gen.
std::vector<Workpoint> workpoints(const EstimateRequest& request, DType dtype, int64_t chunk) {
  std::vector<Workpoint> points;
  for (const std::string& phase : request.phases) {
    const std::vector<int64_t> gens = phase == "prefill" ? std::vector<int64_t>{0} : request.gen;
    if (request.ctx.size() * gens.size() * request.batch.size() > kMostPoints)
      throw UsageError("estimate: more than " + std::to_string(kMostPoints) +
                       " points. Shorten --ctx, --gen or --batch.");
    for (const int64_t ctx : request.ctx)
      for (const int64_t gen : gens)
        for (const int64_t batch : request.batch) {
          points.push_back({.phase = phase,
                            .ctx = ctx,
                            .gen = gen,
                            .batch = batch,
                            .requests = request.requests.value_or(batch),
                            .chunk = chunk,
                            .dtype = dtype});
          check_point(points.back());
        }
  }
  return points;
}

// Seconds of the same metric where sequences that do not fit wait; `fit` of them do at full length.
Maybe<double> within_memory(const ModelConfig& config, const Workpoint& work, const DeviceModel& device, int64_t fit,
                            double room) {
  if (fit == 0) return {};
  const auto prefill = [&](int64_t batch) {  // as many at a time as fit
    Workpoint part = work;
    part.phase = "prefill";
    double seconds = 0;
    for (const auto& [size, times] : {std::pair{std::min(batch, fit), std::max<int64_t>(1, batch / fit)},
                                      std::pair{batch > fit ? batch % fit : 0, int64_t{1}}}) {
      part.batch = size;
      if (size > 0) seconds += static_cast<double>(times) * predict(config, part, device).seconds;
    }
    return seconds;
  };
  const auto steps = [&](int64_t batch, int64_t gen) {
    if (gen == 0) return 0.0;
    Workpoint part = work;
    part.batch = batch;
    part.gen = gen;
    return decode_run(config, part, device, room).seconds;
  };
  if (work.phase == "prefill") return prefill(work.batch);
  if (work.phase == "decode") return steps(work.batch, work.gen) / static_cast<double>(work.gen);
  const auto wave = [&](int64_t batch) { return batch > 0 ? prefill(batch) + steps(batch, work.gen - 1) : 0; };
  const int64_t full = work.requests / work.batch;
  return static_cast<double>(full) * wave(work.batch) + wave(work.requests % work.batch);
}

Estimate estimate_point(const ModelConfig& config, const Workpoint& work, const std::optional<DeviceModel>& device) {
  Estimate e;
  e.model = config.name;
  e.hybrid = config.hybrid_label();
  e.layers = config.num_hidden_layers;
  e.linear_layers = config.count(LayerType::linear_attention);
  e.work = work;
  e.parameters = count_parameters(config);
  Result counted;
  describe_prediction(counted, config, work, {});
  e.least = {*counted.flops, *counted.bytes};
  e.memory = memory_need(config, work, planning_engine(device, work.dtype));
  if (!device) return e;

  e.device = device->name;
  e.device_kind = device->kind;
  e.prediction = predict(config, work, *device);
  // The workspace of as many sequences as can run together.
  Workpoint together = work;
  together.batch = std::clamp<int64_t>(sequences_that_fit(config, work.tokens(), work.dtype, *device), 1, work.batch);
  const int64_t workspace = memory_need(config, together, planning_engine(device, work.dtype)).workspace;
  e.sequences_fit = sequences_that_fit(config, work.tokens(), work.dtype, *device, workspace);
  e.fits = work.batch <= *e.sequences_fit;
  const double room = device->room(static_cast<double>(e.memory.weights), static_cast<double>(workspace));
  e.seconds_within_memory =
      *e.fits ? e.prediction->seconds : within_memory(config, work, *device, *e.sequences_fit, room);
  return e;
}

void compare_with_twin(Estimate& e, const Estimate& twin) {
  if (!e.prediction) return;
  e.speedup_equal_batch = twin.prediction->seconds / e.prediction->seconds;
  if (e.seconds_within_memory && twin.seconds_within_memory)
    e.speedup_equal_memory = *twin.seconds_within_memory / *e.seconds_within_memory;
}

// --- csv, json ---

Json flat(const Estimate& e) {
  const auto maybe = [](const auto& value) { return value ? Json(*value) : Json(); };
  const Prediction none;
  const Prediction& p = e.prediction ? *e.prediction : none;
  const auto predicted = [&](const auto& value) { return e.prediction ? Json(value) : Json(); };
  Json row = {{"schema", "ringbench.estimate/1"},
              {"model", e.model},
              {"hybrid", e.hybrid},
              {"layers", e.layers},
              {"linear_layers", e.linear_layers},
              {"params_total", e.parameters.total},
              {"params_active", e.parameters.active},
              {"params_active_non_embedding", e.parameters.active_non_embedding},
              {"phase", e.work.phase},
              {"ctx", e.work.ctx},
              {"ctx_label", token_label(e.work.ctx)},
              {"gen", e.work.gen},
              {"batch", e.work.batch},
              {"requests", e.work.requests},
              {"chunk", e.work.chunk},
              {"dtype", name_of(e.work.dtype)},
              {"flops", e.least.flops},
              {"bytes", e.least.bytes},
              {"weights_bytes", e.memory.weights},
              {"kv_bytes", e.memory.kv},
              {"state_bytes", e.memory.state},
              {"workspace_bytes", e.memory.workspace},
              {"device", e.device.empty() ? Json() : Json(e.device)},
              {"device_kind", e.device.empty() ? Json() : Json(e.device_kind)},
              {"fits", maybe(e.fits)},
              {"sequences_fit", maybe(e.sequences_fit)},
              {"predicted_s", predicted(p.seconds)},
              {"tok_s", predicted(tokens_per_second(e.work, p.seconds))},
              {"bound", predicted(p.bound)},
              {"predicted_s_within_memory", maybe(e.seconds_within_memory)},
              {"speedup_equal_batch", maybe(e.speedup_equal_batch)},
              {"speedup_equal_memory", maybe(e.speedup_equal_memory)}};
  std::vector<std::string> parts;
  for (const Part part : kParts) parts.emplace_back(name_of(part));
  parts.emplace_back("launch");
  for (const std::string& name : parts) {
    double seconds = 0;
    for (const PartTime& t : p.parts)
      if (t.part == name) seconds = t.seconds;
    row["seconds_" + name] = predicted(seconds);
  }
  return row;
}

void write_csv(std::ostream& out, const std::vector<Estimate>& estimates) {
  for (size_t i = 0; i < estimates.size(); ++i) {
    const Json row = flat(estimates[i]);
    std::vector<std::string> names, cells;
    for (const auto& [name, value] : row.items()) {
      names.push_back(name);
      cells.push_back(value.is_null() ? "" : csv_cell(value.is_string() ? value.get<std::string>() : value.dump()));
    }
    if (i == 0) out << join(names, ",") << "\n";
    out << join(cells, ",") << "\n";
  }
}

// --- table ---

std::string text_of(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

// Three digits with a prefix: "31.5 G".
std::string scaled(double value) {
  for (const auto& [unit, letter] :
       {std::pair{1e15, " P"}, std::pair{1e12, " T"}, std::pair{1e9, " G"}, std::pair{1e6, " M"}, std::pair{1e3, " k"}})
    if (value >= unit)
      return text_of(value / unit < 10 ? "%.2f" : value / unit < 100 ? "%.1f" : "%.0f", value / unit) + letter;
  return text_of("%.0f ", value);
}

std::string memory_text(double bytes) {
  for (const auto& [unit, name] : {std::pair{0x1p40, " TiB"}, std::pair{0x1p30, " GiB"}, std::pair{0x1p20, " MiB"}})
    if (bytes >= unit) return text_of("%.1f", bytes / unit) + name;
  return text_of("%.1f KiB", bytes / 1024);
}

std::string predicted_time(double seconds) {
  for (const auto& [unit, name] : {std::pair{1.0, " s"}, std::pair{1e-3, " ms"}})
    if (seconds >= unit) return text_of(seconds / unit < 10 ? "%.3f" : "%.1f", seconds / unit) + name;
  return text_of("%.1f us", seconds * 1e6);
}

std::vector<std::string> cells_of(const Estimate& e) {
  const int64_t cache = e.memory.kv + e.memory.state;
  std::vector<std::string> cells = {e.work.phase,
                                    e.hybrid,
                                    token_label(e.work.ctx),
                                    e.work.gen > 0 ? token_label(e.work.gen) : "",
                                    std::to_string(e.work.batch),
                                    scaled(e.least.flops),
                                    scaled(e.least.bytes),
                                    memory_text(static_cast<double>(cache)),
                                    memory_text(static_cast<double>(e.memory.total()))};
  if (!e.prediction) return cells;
  cells.push_back(std::to_string(*e.sequences_fit));
  cells.push_back(*e.fits ? "yes" : "no");
  cells.push_back("~" + predicted_time(e.prediction->seconds));
  cells.push_back("~" + grouped(std::llround(tokens_per_second(e.work, e.prediction->seconds))));
  cells.push_back(e.prediction->bound);
  return cells;
}

void write_rows(std::ostream& out, const std::vector<Estimate>& estimates) {
  std::vector<std::vector<std::string>> rows = {{"phase", "hybrid", "ctx", "gen", "bs", "FLOP", "bytes", "cache",
                                                 "memory", "most", "fits", "time", "tok/s", "bound"}};
  for (const Estimate& e : estimates) rows.push_back(cells_of(e));
  rows.front().resize(rows.back().size());
  std::vector<size_t> width(rows.front().size(), 0);
  std::vector<bool> used(rows.front().size(), false);  // --gen is empty where only prefills are asked for
  for (size_t r = 0; r < rows.size(); ++r)
    for (size_t i = 0; i < rows[r].size(); ++i) {
      width[i] = std::max(width[i], rows[r][i].size());
      if (r > 0 && !rows[r][i].empty()) used[i] = true;
    }
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      if (!used[i]) continue;
      const std::string space(width[i] - row[i].size(), ' ');
      const bool left = i < 2 || rows.front()[i] == "bound";
      line += (line.empty() ? "" : "  ") + (left ? row[i] + space : space + row[i]);
    }
    out << line.substr(0, line.find_last_not_of(' ') + 1) << "\n";
  }
}

void write_header(std::ostream& out, const std::vector<Estimate>& estimates, const std::optional<DeviceModel>& device) {
  const Workpoint& work = estimates.front().work;
  out << estimates.front().model << " | " << name_of(work.dtype) << " | prefill in chunks of "
      << (work.chunk > 0 ? token_label(work.chunk) : "the whole prompt") << "\n";
  std::vector<std::string> seen;
  for (const Estimate& e : estimates) {
    if (std::find(seen.begin(), seen.end(), e.hybrid) != seen.end()) continue;
    seen.push_back(e.hybrid);
    out << e.hybrid << ": " << grouped(e.parameters.total) << " parameters, " << grouped(e.parameters.active)
        << " active, " << grouped(e.parameters.active_non_embedding) << " without embedding and head; "
        << memory_text(static_cast<double>(e.memory.weights)) << "\n";
  }
  if (!device) {
    out << "no times: no peaks are known for this machine. Measure them with 'ringbench doctor --calibrate', or name "
           "--device ("
        << join(device_names(), ", ") << ").\n\n";
    return;
  }
  const auto peak = device->peak_flops(work.dtype);
  const auto kept = [&](double bytes) {
    return bytes > 0 ? " (at least " + text_of("%.3g", bytes / 1e9) + " GB)" : "";
  };
  out << device->name << ": " << text_of("%.4g", *peak / 1e12) << " TFLOP/s, " << text_of("%.4g", device->memory_gbps)
      << " GB/s, " << text_of("%.4g", static_cast<double>(device->memory_bytes) / 1e9) << " GB (" << device->kind
      << "); " << text_of("%.0f", 100 * device->reserved_share) << " % of it and the workspace"
      << kept(device->reserved_bytes) << " are not for caches\n\n";
}

void write_speedups(std::ostream& out, const std::vector<Estimate>& estimates) {
  bool first = true;
  for (const Estimate& e : estimates) {
    if (!e.speedup_equal_batch) continue;
    const Workpoint& w = e.work;
    if (first) out << "\n";
    first = false;
    out << w.phase << " " << token_label(w.ctx) << (w.gen > 0 ? " + " + token_label(w.gen) : "") << ", batch "
        << w.batch << ": " << e.hybrid << " is ~" << text_of("%.2f", *e.speedup_equal_batch) << "x as fast as softmax";
    if (!e.speedup_equal_memory)
      out << " (at equal batch; one of the two does not fit at all)";
    else if (std::abs(*e.speedup_equal_memory / *e.speedup_equal_batch - 1) > 0.005)
      out << " at equal batch, ~" << text_of("%.2f", *e.speedup_equal_memory)
          << "x at equal memory, where sequences that do not fit wait";
    out << "\n";
  }
}

}  // namespace

DType parse_estimate_dtype(const std::string& text) {
  for (const DType type : {DType::bf16, DType::f32, DType::f64})
    if (text == name_of(type)) return type;
  throw UsageError("--dtype: '" + text + "' is not one of bf16, f32, f64.");
}

std::optional<DeviceModel> device_of(const EstimateRequest& request) {
  if (!request.device.empty()) return find_device(request.device);
  const std::string engine = default_engine();
  return device_for(engine, engine_device_name(engine), request.results);
}

std::vector<Estimate> estimate_points(const EstimateRequest& request, const std::optional<DeviceModel>& device) {
  const ModelConfig model = resolve_model(request.model, request.config_file, request.weights).config;
  const DType dtype = dtype_of(request, device);
  const int64_t chunk =
      request.chunk.value_or(default_chunk(planning_engine(device, dtype) == "reference" ? "reference" : "cuda"));
  std::vector<ModelConfig> layouts;
  for (const std::string& hybrid : request.hybrid) {
    ModelConfig config = with_layout(model, request.layers, hybrid);
    const auto same = [&](const ModelConfig& c) { return c.layer_types == config.layer_types; };
    if (std::none_of(layouts.begin(), layouts.end(), same)) layouts.push_back(std::move(config));
  }
  std::vector<Estimate> estimates;
  for (const Workpoint& work : workpoints(request, dtype, chunk)) {
    const auto first = static_cast<std::ptrdiff_t>(estimates.size());
    for (const ModelConfig& config : layouts) estimates.push_back(estimate_point(config, work, device));
    const auto twin = std::find_if(estimates.begin() + first, estimates.end(),
                                   [](const Estimate& e) { return e.hybrid == "softmax"; });
    if (twin == estimates.end()) continue;
    for (auto e = estimates.begin() + first; e != estimates.end(); ++e)
      if (e != twin) compare_with_twin(*e, *twin);
  }
  return estimates;
}

void write_estimates(std::ostream& out, Format format, const std::vector<Estimate>& estimates,
                     const std::optional<DeviceModel>& device) {
  if (format == Format::csv) return write_csv(out, estimates);
  if (format == Format::json) {
    Json rows = Json::array();
    for (const Estimate& e : estimates) rows.push_back(flat(e));
    out << rows.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
    return;
  }
  write_header(out, estimates, device);
  write_rows(out, estimates);
  write_speedups(out, estimates);
  out << "\nFrom the cost model; nothing was run. FLOP and bytes: the least that any implementation needs. cache: at "
         "full length.\n";
  if (device) out << "most: sequences of this length that fit. A time is of as much memory as it takes.\n";
}

void run_estimate(std::ostream& out, const EstimateRequest& request) {
  const std::optional<DeviceModel> device = device_of(request);
  write_estimates(out, request.format, estimate_points(request, device), device);
}

}  // namespace ringbench
