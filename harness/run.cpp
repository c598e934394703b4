#include "harness/run.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <iostream>
#include <map>
#include <memory>
#include <new>
#include <numeric>
#include <optional>
#include <set>

#include "cuda/gpu.h"
#include "harness/certificate.h"
#include "harness/cost.h"
#include "harness/engines.h"
#include "harness/environment.h"
#include "harness/estimate.h"
#include "harness/measure.h"
#include "harness/parity.h"
#include "harness/progress.h"
#include "harness/result.h"
#include "harness/words.h"
#include "harness/workload.h"
#include "reference/threads.h"

namespace ringbench {
namespace {

constexpr int64_t kAnchorCtx = 32 * 1024;  // a whole prefill that a CPU affords, long enough for attention to rule
constexpr int64_t kWarmupCtx = 8 * 1024;   // a warm-up never runs at full length

// What points of one model, batch and context share: an engine and its caches.
struct Session {
  std::string key;
  std::unique_ptr<Weights> weights;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<Workload> workload;
  enum class Cache { none, prefilled, synthetic } cache = Cache::none;
  bool repeatable = false;               // `cache` does not depend on how many repetitions came before
  int64_t cached_ctx = 0;                // tokens of `cache`
  std::optional<LineFit> prefill_times;  // wall seconds of a chunk against its position, for planning
};

// Equal for points that can use the same engine and caches.
std::string session_key(const Point& point) {
  return point.engine + " " + point.config.sha() + " " + point.checkpoint.string() + " " + std::to_string(point.batch) +
         " " + std::to_string(point.ctx);
}

class Run {
 public:
  Run(const Plan& plan, Command command)
      : plan_(plan),
        command_(command),
        points_(expand(plan, command)),
        threads_(plan.threads > 0 ? plan.threads : physical_cores()) {
    std::map<std::string, size_t> rank;  // of sessions, by their first point
    for (const Point& point : points_) {
      const std::string& session = sessions_.emplace_back(session_key(point));
      rank.emplace(session, rank.size());
      tokens_[session] = std::max(tokens_[session], point.tokens());
      order_.push_back(order_.size());
    }
    for (const Point& point : points_) work_.push_back(work_of(point));
    // In the order of the grid, but points that can share an engine and its caches follow each other, shorter outputs
    // first: a cache counts as far as it has ever been filled.
    const auto turn = [&](size_t i) { return std::pair(rank.at(sessions_[i]), points_[i].gen); };
    std::stable_sort(order_.begin(), order_.end(), [&](size_t a, size_t b) { return turn(a) < turn(b); });
    results_.resize(points_.size());
  }

  // The grid as records without a number, and what all of it would take.
  ExitCode show() const {
    std::vector<Result> rows;
    for (const Point& point : points_) {
      Result& row = rows.emplace_back(describe(point));
      row.date = utc_now();
      row.status = point.error.empty() ? "skipped" : "error";
      if (!point.error.empty()) {
        row.error = point.error;
        continue;
      }
      const Memory memory = plan_memory(point);
      row.weights_bytes = memory.weights;
      row.kv_bytes = memory.kv;
      row.state_bytes = memory.state;
      row.workspace_bytes = memory.workspace;
      if (const int64_t free = engine_free_memory(point.engine); memory.total() > free) {
        row.status = "oom_predicted";
        row.error = too_little_memory(memory, free);
      }
    }
    const double work = std::accumulate(work_.begin(), work_.end(), 0.0);
    Remarks remarks;
    remarks.lines.push_back("dry run: " + std::to_string(rows.size()) + " points, roughly " + duration_text(work) +
                            " for one pass over each at rates of a small CPU; nothing was run");
    write_results(std::cout, plan_.format, rows, remarks);
    return ExitCode::ok;
  }

  ExitCode measure() {
    std::vector<OutputFile> files;
    for (const std::string& path : plan_.outputs) files.emplace_back(path, plan_.format);
    if (points_.size() == 1 && !by_groups(points_.front())) check_memory(points_.front());
    std::unique_ptr<RunFolder> folder;
    if (plan_.save) folder = std::make_unique<RunFolder>(plan_.results, command_, plan_.argv);
    folder_ = folder.get();
    certificates_ = read_certificates(std::filesystem::path(plan_.results) / "parity");

    begin_s_ = clock_.wall_s();
    const bool shown = plan_.progress && !plan_.quiet;
    progress_ = std::make_unique<Progress>(shown, static_cast<int64_t>(points_.size()),
                                           std::accumulate(work_.begin(), work_.end(), 0.0), clock_);
    warn();
    ExitCode code = ExitCode::ok;
    try {
      for (turn_ = 0; turn_ < order_.size(); ++turn_) {
        const Point& point = points_[order_[turn_]];
        progress_->begin_point(title(point), work_[order_[turn_]]);
        Result result = measure_point(point);
        result.run_id = folder ? folder->id() : "";
        result.date = utc_now();
        progress_->end_point(result.value ? (result.method == "estimated" ? "~" : "") + duration_text(*result.value)
                                          : result.status + ": " + result.error.value_or(""));
        if (folder) folder->append(result);
        const bool failed = !result.value;
        results_[order_[turn_]] = std::move(result);
        if (failed) {
          code = ExitCode::points_failed;
          if (!plan_.keep_going) break;
        }
      }
    } catch (const Interrupted&) {
      code = interrupting_signal() == SIGTERM ? ExitCode::terminated : ExitCode::interrupted;
    }
    progress_.reset();
    if (code == ExitCode::ok || code == ExitCode::points_failed) code = std::max(code, parity_code());

    std::vector<Result> rows;  // finished ones, in the order of the grid
    for (const std::optional<Result>& result : results_)
      if (result) rows.push_back(*result);
    Remarks remarks;
    remarks.color = use_color(plan_.color);
    remarks.lines = conclusion(rows, command_);
    remarks.lines.push_back(closing_line(rows, folder.get()));
    write_results(std::cout, plan_.format, rows, remarks);
    if (folder) folder->finish(code);
    for (const OutputFile& file : files) file.write(rows, remarks);
    if (code == ExitCode::interrupted || code == ExitCode::terminated)
      std::cerr << "interrupted: " << rows.size() << " of " << points_.size() << " points were finished and are kept\n";
    return code;
  }

 private:
  // --- What a point costs, and what it may ---

  // Relative work, for sharing a budget and for the ETA: seconds on a CPU core pair, to a factor of two or so.
  double work_of(const Point& point) const {
    if (!point.error.empty()) return 0;  // not run
    if (!by_groups(point) && plan_memory(point).total() > engine_free_memory(point.engine)) return 0;
    const auto seconds = [](const Cost& cost) { return cost.flops * 5e-12 + cost.bytes * 5e-11; };
    const auto steps = [&] {
      return seconds(append_cost(point.config, 1, point.ctx, point.batch, point.dtype)) *
             static_cast<double>(point.gen);
    };
    const double full = seconds(append_cost(point.config, point.ctx, 0, point.batch, point.dtype));
    if (point.phase == "decode") return steps();
    if (point.phase == "e2e") return full + steps();
    if (plan_.estimate == EstimateMode::never || !can_estimate(point)) return full;
    const double anchor = seconds(append_cost(point.config, anchor_ctx(point), 0, point.batch, point.dtype));
    const double chunk = full * static_cast<double>(point.chunk) / static_cast<double>(std::max<int64_t>(1, point.ctx));
    return std::min(full, anchor + 10 * chunk);
  }

  // What is left of the total budget for this point, by its share of the work that is left; at most --time-budget.
  double budget_s() const {
    if (!plan_.total_budget_s) return plan_.full ? 1e18 : plan_.time_budget_s;
    const double left = *plan_.total_budget_s - (clock_.wall_s() - begin_s_);
    double work = 0;
    for (size_t turn = turn_; turn < order_.size(); ++turn) work += work_[order_[turn]];
    const double share = work > 0 ? work_[order_[turn_]] / work : 1;
    return std::min(plan_.time_budget_s, std::max(0.0, left * share));
  }

  static bool on_cpu(const Point& point) { return point.engine != "cuda"; }

  int64_t anchor_ctx(const Point& point) const {
    const int64_t chunk = std::max<int64_t>(1, point.chunk);
    return std::min(kAnchorCtx, point.ctx) / chunk * chunk;
  }
  bool can_estimate(const Point& point) const { return point.chunk > 0 && point.ctx / point.chunk >= 8; }

  EngineOptions engine_options(const Point& point) const {
    EngineOptions options;
    options.dtype = point.dtype;
    options.chunk = point.chunk;
    options.slots = static_cast<int>(point.batch);
    options.max_tokens = tokens_.at(session_key(point));
    options.threads = threads_;
    options.rope_angles = plan_.rope_angles;
    options.routing = plan_.routing;
    options.kernels = plan_.kernels;
    return options;
  }

  Memory plan_memory(const Point& point) const {
    Memory memory = plan_engine_memory(point.engine, point.config, engine_options(point));
    // Random keys and values of one layer, while caches are being filled without a prefill.
    if (point.phase == "decode" || can_estimate(point))
      memory.workspace +=
          2 * point.tokens() * point.config.num_key_value_heads * point.config.head_dim * size_of(DType::f32);
    return memory;
  }

  // Throws Failure(environment) if the point does not fit into what is free now.
  void check_memory(const Point& point) const {
    if (!point.error.empty()) return;
    const Memory memory = plan_memory(point);
    const int64_t free = engine_free_memory(point.engine);
    if (memory.total() > free)
      throw Failure(ExitCode::environment, too_little_memory(memory, free),
                    "Try a smaller --ctx, --batch or --layers" +
                        std::string(point.dtype == DType::f64 ? ", or --dtype f32." : "."));
  }

  // The engine for a point: the one at hand if it fits, else a new one.
  Session& session(const Point& point) {
    if (session_.engine && session_.key == session_key(point)) return session_;
    session_ = {};
    check_memory(point);
    certify(point);
    progress_->update("making weights");
    session_.key = session_key(point);
    session_.weights =
        std::make_unique<Weights>(point.checkpoint.empty() ? Weights::random(point.config, plan_.seed, plan_.dummy)
                                                           : Weights::load(point.config, point.checkpoint));
    session_.engine = make_engine(point.engine, point.config, *session_.weights, engine_options(point));
    session_.workload = std::make_unique<Workload>(*session_.engine, point.batch, point.chunk, plan_.seed, clock_);
    return session_;
  }

  // --- Parity ---

  // Exit 4: a check failed, or a row is not covered though that was required. What was measured is kept and says so.
  ExitCode parity_code() const {
    const bool unmet = std::any_of(results_.begin(), results_.end(), [&](const std::optional<Result>& r) {
      return r && r->value && (r->parity == "fail" || (plan_.parity == ParityMode::require && r->parity != "pass"));
    });
    return unmet ? ExitCode::parity : ExitCode::ok;
  }

  // Compares the point's engine with the reference, once for a model, before anything of it is timed.
  void certify(const Point& point) {
    if (plan_.parity == ParityMode::off || !certified_.insert(measured_with(point)).second) return;
    const Weights weights = point.checkpoint.empty() ? Weights::random(point.config, plan_.seed, plan_.dummy)
                                                     : Weights::load(point.config, point.checkpoint);
    Subject subject;
    subject.engine = point.engine;
    subject.config = point.config;
    subject.weights = &weights;
    subject.options = engine_options(point);
    subject.seed = plan_.seed;
    subject.make = [&](const ModelConfig& config, const EngineOptions& options) {
      return make_engine(point.engine, config, weights, options);
    };
    ParityScope scope = plan_.parity == ParityMode::full ? full_scope(point.engine, point.ctx)
                                                         : quick_scope(point.engine, point.config);
    if (point.engine == "cuda" && plan_.parity != ParityMode::full) {  // and one step at the depth that is timed
      scope.levels.push_back("depth");
      for (const Point& other : points_)
        if (other.engine == point.engine && other.config.sha() == point.config.sha())
          scope.depth = std::max(scope.depth, other.ctx);
    }
    scope.progress = [this](const std::string& text) { progress_->update("parity " + text); };
    const Certificate certificate = make_certificate(subject, scope, check_parity(subject, scope));
    if (folder_ != nullptr) write_certificate(certificate, folder_->path() / "parity");
    certificates_.push_back(certificate);
    if (certificate.verdict == "pass") return;
    const auto worst = std::find_if(certificate.checks.begin(), certificate.checks.end(),
                                    [](const Check& check) { return check.status != CheckStatus::pass; });
    const std::string what = certificate.verdict == "fail" ? worst->name + " (" + worst->text + ")"
                                                           : "the truth is too plain to compare with";
    if (plan_.parity == ParityMode::require)
      throw Failure(ExitCode::parity, "--parity require: " + certificate.model + ": " + what + "; nothing was timed.",
                    "see: ringbench help parity");
    if (!plan_.quiet)
      progress_->note("warning W-PARITY: " + certificate.model + ": " + certificate.verdict + ": " + what);
  }

  MeasuredWith measured_with(const Point& point) const {
    return {build_, device_name(point.engine), point.engine, std::string(name_of(point.dtype)), point.config.sha(), {}};
  }

  // The row's parity, by the kernel variants that it launched.
  void describe_parity(const Session& s, Result& r) const {
    MeasuredWith with{build_, device_name(r.engine), r.engine, r.dtype, s.engine->config().sha(), r.kernels};
    const ParityVerdict verdict = parity_status(certificates_, with);
    r.parity = verdict.status;
    if (!verdict.certificate.empty()) r.parity_certificate = verdict.certificate;
    r.parity_worst = verdict.worst;
    r.parity_depth = verdict.depth;
    r.parity_missing = verdict.missing;
  }

  // --- One point ---

  Result measure_point(const Point& point) {
    Result result = describe(point);
    try {
      if (!point.error.empty()) throw Failure(ExitCode::points_failed, point.error);
      if (by_groups(point)) {
        measure_groups(point, result);
        set_flags(result);
        return result;
      }
      Session& s = session(point);
      s.engine->report();  // expert loads of this point only
      if (point.phase == "prefill")
        measure_prefill(point, s, result);
      else if (point.phase == "decode")
        measure_decode(point, s, result);
      else
        measure_e2e(point, s, result);
      describe_engine(s, result);
      if (point.phase == "decode") s.workload->restore_states();  // as the next point of this session expects it
    } catch (const Failure& failure) {
      // Of several points one may fail; a single one ends the run with its own exit code.
      if (points_.size() == 1) throw;
      result.status = failure.code == ExitCode::environment ? "oom_predicted" : "error";
      result.error = failure.what();
      session_ = {};
    } catch (const GpuError& error) {
      // The point has no number. If the device's context is lost, no later point would have one.
      if (points_.size() == 1 || error.sticky) throw Failure(ExitCode::environment, error.what());
      session_ = {};
      result.status = "error";
      result.error = error.what();
    } catch (const KernelError& error) {
      if (points_.size() == 1) throw;
      session_ = {};
      result.status = "error";
      result.error = error.what();
    } catch (const std::bad_alloc&) {
      session_ = {};
      result.status = "oom";
      result.error = "out of memory";
    }
    if (!result.value) result.method = "measured", result.samples.clear();
    set_flags(result);
    return result;
  }

  // --- Models that are too deep to hold ---

  // Decided once, before anything is held: later the engine at hand would count against the next one.
  bool by_groups(const Point& point) const {
    const auto [found, first] = by_groups_.try_emplace(session_key(point));
    if (first)
      found->second =
          plan_.estimate == EstimateMode::groups ||
          (plan_.estimate == EstimateMode::always && plan_memory(point).total() > engine_free_memory(point.engine));
    return found->second;
  }

  // Layers after which the pattern repeats, so that the depth is a multiple of it.
  static int layers_per_group(const ModelConfig& config) {
    const std::vector<LayerType>& types = config.layer_types;
    for (size_t period = 1; period < types.size(); ++period)
      if (types.size() % period == 0 &&
          std::equal(types.begin() + static_cast<int64_t>(period), types.end(), types.begin()))
        return static_cast<int>(period);
    return static_cast<int>(types.size());
  }

  // The point with `groups` groups of layers.
  Point at_depth(const Point& point, int groups) {
    Point shallow = point;
    shallow.config = point.config.with_layers(groups * layers_per_group(point.config));
    tokens_[session_key(shallow)] = tokens_.at(session_key(point));
    return shallow;
  }

  // Two shallower models are measured in its place, the deeper one as deep as fits (of those that would fit, half as
  // deep as the model).
  void measure_groups(const Point& point, Result& r) {
    const int groups = point.config.num_hidden_layers / layers_per_group(point.config);
    const auto refuse = [](const std::string& why) {
      throw Failure(ExitCode::environment, "E-ESTIMATE: " + why, "Use a smaller --ctx or --batch.");
    };
    if (point.phase == "e2e") refuse("layer groups estimate prefill and decode, not e2e.");
    session_ = {};  // what it holds would count against what is tried now
    int more = (groups + 1) / 2;
    while (more > 1) {
      const Point shallow = at_depth(point, more);
      if (plan_memory(shallow).total() <= engine_free_memory(point.engine)) break;
      --more;
    }
    const int fewer = more / 2;
    if (fewer < 1 || fewer * layers_per_group(point.config) <= point.config.first_k_dense_replace)
      refuse(std::to_string(groups) + " groups of " + std::to_string(layers_per_group(point.config)) +
             " layers: no two shallower models of them can be measured.");
    std::vector<Result> parts;
    std::vector<TimeOf> times;
    for (const int depth : {fewer, more}) {
      const Point shallow = at_depth(point, depth);
      progress_->update(std::to_string(depth) + " of " + std::to_string(groups) + " layer groups");
      Session& s = session(shallow);
      s.engine->report();
      Result& part = parts.emplace_back(describe(shallow));
      shallow.phase == "prefill" ? measure_whole_prefill(shallow, s, part, budget_s())
                                 : measure_decode(shallow, s, part);
      describe_engine(s, part);
      times.push_back({depth, *part.value, part.ci95_low.value_or(*part.value), part.ci95_high.value_or(*part.value)});
    }
    const TimeOf whole = estimate_by_groups(times[0], times[1], groups);
    const Result& deep = parts.back();
    r.status = r.method = "estimated";
    r.estimator = "group";
    r.stop = deep.stop;
    r.value = whole.seconds;
    if (parts[0].ci95_low && deep.ci95_low) r.ci95_low = whole.ci95_low, r.ci95_high = whole.ci95_high;
    for (size_t i = 0; i < std::min(parts[0].samples.size(), deep.samples.size()); ++i) {
      const double a = parts[0].samples[i], b = deep.samples[i];
      r.samples.push_back(estimate_by_groups({fewer, a, a, a}, {more, b, b, b}, groups).seconds);
    }
    r.n = static_cast<int64_t>(r.samples.size());
    r.warmup = deep.warmup;
    r.est_points = 2;
    r.est_work_share = static_cast<double>(fewer + more) / groups;
    r.depth_fill = deep.depth_fill;
    r.tok_s = static_cast<double>(point.batch * (point.phase == "prefill" ? point.ctx : 1)) / *r.value;
    if (point.phase == "decode") r.tpot_s = r.value;
    r.cpu_s = parts[0].cpu_s.value_or(0) + deep.cpu_s.value_or(0);
    r.contention = deep.contention;
    r.weights = deep.weights;
    r.kernels = deep.kernels;
    r.parity = deep.parity;
    r.parity_certificate = deep.parity_certificate;
    r.parity_worst = deep.parity_worst;
    r.parity_depth = deep.parity_depth;
    r.parity_missing = deep.parity_missing;
    const Memory memory = plan_memory(point);
    r.weights_bytes = memory.weights;
    r.kv_bytes = memory.kv;
    r.state_bytes = memory.state;
    r.workspace_bytes = memory.workspace;
    r.warnings.push_back("W-GROUPS: estimated from models of " + std::to_string(fewer) + " and " +
                         std::to_string(more) + " of " + std::to_string(groups) +
                         " layer groups, on the line through their times (caches that a shallower model fits into "
                         "bend it; the interval does not know); its bytes are planned, not allocated.");
  }

  // What is known before anything runs.
  Result describe(const Point& point) const {
    const ModelConfig& config = point.config;
    Result r;
    r.point_id = point.id;
    r.experiment = name_of(command_);
    r.phase = point.phase;
    r.engine = point.engine;
    r.model = config.name;
    r.config_sha = config.sha();
    r.hybrid = point.hybrid;
    r.layers = config.num_hidden_layers;
    r.linear_layers = config.count(LayerType::linear_attention);
    r.softmax_layers = r.layers - r.linear_layers;
    r.slope_layer_offset = name_of(config.slope_layer_offset);
    const ParameterCounts parameters = count_parameters(config);
    r.params_total = parameters.total;
    r.params_active = parameters.active;
    r.params_active_non_embedding = parameters.active_non_embedding;
    r.weights = point.checkpoint.empty() ? (plan_.dummy == Dummy::zero ? "dummy:zero" : "dummy:scaled")
                                         : point.checkpoint.filename().string();
    r.seed = static_cast<int64_t>(plan_.seed);
    r.ctx = point.ctx;
    r.ctx_label = token_label(point.ctx);
    r.gen = point.gen;
    r.batch = point.batch;
    r.requests = point.requests;
    r.chunk = point.chunk;
    r.dtype = r.kv_dtype.emplace(name_of(point.dtype));
    if (r.linear_layers > 0) r.state_dtype = name_of(point.dtype == DType::f64 ? DType::f64 : DType::f32);
    if (point.yarn_original > 0) r.yarn_factor = point.yarn_factor, r.yarn_original = point.yarn_original;
    r.trained_window = config.trained_window();
    r.routing = plan_.routing == Routing::uniform ? "uniform" : "measured";
    r.input_seed = static_cast<int64_t>(plan_.seed);
    r.isl_actual = point.ctx;
    r.osl_actual = point.phase == "prefill" ? 1 : point.gen;
    r.threads = threads_;
    r.metric = point.phase == "prefill" ? "ttft_s" : point.phase == "decode" ? "tpot_s" : "e2e_s";
    r.warnings = point.warnings;
    if (point.beyond_window) r.flags += 'X';
    r.repro = repro_command(plan_, point);
    r.device = device_name(point.engine);
    r.commit = commit_;
    r.tags = plan_.tags;
    describe_cost(point, r);
    return r;
  }

  // Asked once for each engine.
  const std::string& device_name(const std::string& engine) const {
    std::string& name = device_names_[engine];
    if (name.empty()) name = engine_device_name(engine);
    return name;
  }

  void describe_cost(const Point& point, Result& r) const {
    if (!point.error.empty()) return;
    const ModelConfig& config = point.config;
    const double step_position =
        static_cast<double>(point.ctx) + static_cast<double>(point.gen) / 2;  // mean depth of the steps
    const Cost prefill = append_cost(config, point.ctx, 0, point.batch, point.dtype);
    const Cost step = append_cost(config, 1, static_cast<int64_t>(step_position), point.batch, point.dtype);
    if (point.phase == "prefill") r.flops = prefill.flops, r.bytes = prefill.bytes;
    if (point.phase == "decode") r.flops = step.flops, r.bytes = step.bytes;
    if (point.phase == "e2e") {
      const double waves = static_cast<double>(point.requests) / static_cast<double>(point.batch);
      const auto steps = static_cast<double>(point.gen - 1);
      r.flops = waves * (prefill.flops + steps * step.flops);
      r.bytes = waves * (prefill.bytes + steps * step.bytes);
    }
    // Of e2e the last token is chosen but never fed.
    const int64_t tokens = point.phase == "prefill" ? point.ctx : point.tokens() - (point.phase == "e2e" ? 1 : 0);
    r.kv_bytes_analytic = point.batch * tokens * kv_bytes_per_token(config, point.dtype);
    r.state_bytes_analytic = point.batch * state_bytes(config, point.dtype);
    ModelConfig twin = config;
    std::fill(twin.layer_types.begin(), twin.layer_types.end(), LayerType::softmax_attention);
    r.cache_ratio_vs_softmax = static_cast<double>(*r.kv_bytes_analytic + *r.state_bytes_analytic) /
                               static_cast<double>(point.batch * tokens * kv_bytes_per_token(twin, point.dtype));
  }

  // What the engine says after the point.
  void describe_engine(Session& s, Result& r) const {
    const Report report = s.engine->report();
    r.weights = s.weights->label();
    r.weights_fingerprint = s.weights->fingerprint();
    r.weights_bytes = report.memory.weights;
    r.kv_bytes = report.memory.kv;
    r.state_bytes = report.memory.state;
    r.workspace_bytes = report.memory.workspace;
    r.peak_process_bytes = peak_process_bytes();
    r.kernels = report.kernels;
    describe_parity(s, r);
    describe_experts(report, r);
  }

  // Worst layer for reach and peak, mean over layers for spread.
  static void describe_experts(const Report& report, Result& r) {
    if (report.expert_tokens.empty()) return;
    int64_t least_hit = std::numeric_limits<int64_t>::max();
    double worst = 0, cv = 0;
    for (const auto& [layer, tokens] : report.expert_tokens) {
      const double mean = static_cast<double>(std::accumulate(tokens.begin(), tokens.end(), int64_t{0})) /
                          static_cast<double>(tokens.size());
      double squares = 0;
      for (const int64_t n : tokens) squares += std::pow(static_cast<double>(n) / mean - 1, 2);
      least_hit =
          std::min(least_hit,
                   static_cast<int64_t>(std::count_if(tokens.begin(), tokens.end(), [](int64_t n) { return n > 0; })));
      worst = std::max(worst, static_cast<double>(*std::max_element(tokens.begin(), tokens.end())) / mean);
      cv += std::sqrt(squares / static_cast<double>(tokens.size())) / static_cast<double>(report.expert_tokens.size());
    }
    r.experts_hit = least_hit;
    r.expert_load_max_over_mean = worst;
    r.expert_load_cv = cv;
  }

  static void set_samples(Result& r, const std::vector<double>& samples, std::string_view stop) {
    const Summary summary = summarize(samples);
    r.value = summary.median;
    r.ci95_low = summary.ci95_low;
    r.ci95_high = summary.ci95_high;
    r.n = summary.n;
    r.min = summary.min;
    r.max = summary.max;
    r.p90 = summary.p90;
    r.p99 = summary.p99;
    r.samples = samples;
    r.stop = stop;
    if (summary.slow_first) r.warnings.push_back("W-WARMUP: the first repetition was far slower than the rest.");
  }

  void set_flags(Result& r) const {
    if (r.value) {
      if (r.method == "estimated") r.flags += 'E';
      if (r.parity != "pass") r.flags += 'U';
      if (r.depth_fill == "synthetic") r.flags += 'S';
      if (r.routing == "uniform") r.flags += 'R';
      const bool wide = r.ci95_low && (*r.ci95_high - *r.ci95_low) / 2 > plan_.ci * *r.value;
      if (wide || r.contention.value_or(1) > 1.2) r.flags += 'N';
    }
    std::sort(r.flags.begin(), r.flags.end());
  }

  Repetitions repetitions(double budget, const std::function<double(int64_t)>& once) {
    StopRule rule;
    rule.reps = plan_.reps;
    rule.ci = plan_.ci;
    rule.budget_s = budget;
    Repetitions done = repeat(rule, clock_, once);
    if (done.stop.empty()) throw Interrupted();
    return done;
  }

  std::function<void(int64_t)> percent_of(int64_t tokens, const std::string& what) {
    return [this, tokens, what](int64_t done) {
      progress_->update(what + "  " + std::to_string(done * 100 / tokens) + " %");
    };
  }

  // --- Prefill ---

  void measure_prefill(const Point& point, Session& s, Result& r) {
    const double budget = budget_s(), begin = clock_.wall_s();
    if (should_estimate(point, s, budget)) return estimate(point, s, r, budget - (clock_.wall_s() - begin));
    measure_whole_prefill(point, s, r, budget - (clock_.wall_s() - begin));
  }

  void measure_whole_prefill(const Point& point, Session& s, Result& r, double budget) {
    const double begin = clock_.wall_s();
    const int64_t warmups = plan_.warmup.value_or(1);
    for (int64_t i = 0; i < warmups; ++i) {
      s.workload->reset();
      s.workload->prefill(std::min(point.ctx, kWarmupCtx), percent_of(std::min(point.ctx, kWarmupCtx), "warm-up"));
    }
    Elapsed spent;
    const Repetitions done = repetitions(budget - (clock_.wall_s() - begin), [&](int64_t rep) {
      s.workload->choose_input(rep);
      s.workload->reset();
      const Elapsed elapsed = s.workload->prefill(point.ctx, percent_of(point.ctx, "rep " + std::to_string(rep + 1)));
      spent += elapsed;
      if (rep == 0) r.logits_hash = s.workload->logits_hash();  // the same however many repetitions follow
      return elapsed.wall_s;
    });
    s.cache = Session::Cache::prefilled;
    s.cached_ctx = point.ctx;
    s.repeatable = done.samples.size() == 1;
    set_samples(r, done.samples, done.stop);
    r.warmup = warmups;
    r.tok_s = static_cast<double>(point.batch * point.ctx) / *r.value;
    r.cpu_s = spent.cpu_s / static_cast<double>(done.samples.size());
    if (on_cpu(point)) r.contention = spent.wall_s / (spent.cpu_s / threads_);
  }

  // Whether the prefill's full length does not fit into the budget. Finds out by running two chunks.
  bool should_estimate(const Point& point, Session& s, double budget) {
    if (plan_.estimate == EstimateMode::never || plan_.estimate == EstimateMode::groups) return false;
    if (!on_cpu(point) && plan_.estimate == EstimateMode::automatic) return false;
    if (plan_.estimate == EstimateMode::always) {
      plan_with_chunks(point, s);
      return true;
    }
    if (!can_estimate(point)) return false;
    plan_with_chunks(point, s);
    return sum_over_chunks(*s.prefill_times, point.ctx, point.chunk) > budget;
  }

  void plan_with_chunks(const Point& point, Session& s) {
    if (s.prefill_times || !can_estimate(point)) return;
    progress_->update("trying two chunks");
    s.prefill_times = probe_prefill(*s.workload, point.ctx);
    s.cache = Session::Cache::none;
  }

  // The best of these that is expected to fit; the last one in any case.
  EstimateEffort choose_effort(const Point& point, const LineFit& times, double budget) const {
    std::vector<EstimateEffort> ladder;
    const int64_t anchor = anchor_ctx(point);
    for (const int64_t reps : {9, 7, 5, 4, 3, 2, 1}) ladder.push_back({5, reps, anchor});
    for (const int64_t shorter : {anchor / 2, anchor / 4})
      if (shorter / point.chunk >= 8) ladder.push_back({4, 1, shorter / point.chunk * point.chunk});
    if (plan_.reps)
      for (EstimateEffort& effort : ladder) effort.reps = *plan_.reps;
    const auto cost = [&](const EstimateEffort& effort) {
      double chunks = 0;
      for (const int64_t ctx : {point.ctx, effort.anchor_ctx})
        for (const int64_t position : sample_positions(ctx, point.chunk, effort.points))
          chunks += times.a + times.b * static_cast<double>(position);
      return sum_over_chunks(times, effort.anchor_ctx, point.chunk) + static_cast<double>(effort.reps) * chunks;
    };
    for (const EstimateEffort& effort : ladder)
      if (cost(effort) <= budget) return effort;
    return ladder.back();
  }

  void estimate(const Point& point, Session& s, Result& r, double budget) {
    const EstimateEffort effort =
        s.prefill_times ? choose_effort(point, *s.prefill_times, budget) : EstimateEffort{5, 1, point.ctx};
    const PrefillEstimate e = estimate_prefill(*s.workload, point.ctx, effort, on_cpu(point) ? threads_ : 0,
                                               [this](const std::string& text) { progress_->update(text); });
    s.cache = Session::Cache::synthetic;
    s.cached_ctx = point.ctx;
    s.repeatable = false;  // sampled chunks were written into it
    r.status = r.method = "estimated";
    r.estimator = "chunk";
    r.stop = plan_.reps ? "fixed" : "budget";
    r.warmup = 1;
    r.value = e.seconds;
    r.ci95_low = e.ci95_low;
    r.ci95_high = e.ci95_high;
    r.samples = e.samples;
    r.n = e.reps;
    r.min = *std::min_element(e.samples.begin(), e.samples.end());
    r.max = *std::max_element(e.samples.begin(), e.samples.end());
    r.est_points = e.points;
    r.est_query_stride = 1;
    r.est_work_share = e.work_share;
    r.est_r2 = e.r2;
    r.est_residual_max = e.residual_max;
    r.est_anchor_ctx = e.anchor_ctx;
    r.est_anchor_error = e.anchor_error;
    r.cpu_s = e.cpu_s;
    if (on_cpu(point)) r.contention = e.contention;
    r.tok_s = static_cast<double>(point.batch * point.ctx) / e.seconds;
  }

  // --- Decode ---

  void measure_decode(const Point& point, Session& s, Result& r) {
    const double budget = budget_s(), begin = clock_.wall_s();
    fill_cache(point, s, budget);
    r.depth_fill = s.cache == Session::Cache::synthetic ? "synthetic" : "real";
    s.workload->seek(point.ctx);
    s.workload->save_states();

    const int64_t warmup_steps = std::min<int64_t>(4, point.gen);
    const int64_t warmups = plan_.warmup.value_or(1);
    for (int64_t i = 0; i < warmups; ++i) {
      s.workload->decode(warmup_steps);
      s.workload->restore_states();
    }
    std::vector<double> steps;  // of all repetitions
    int64_t reps = 0;
    const double cpu = clock_.cpu_s();
    const Repetitions done = repetitions(budget - (clock_.wall_s() - begin), [&](int64_t rep) {
      progress_->update("rep " + std::to_string(rep + 1));
      s.workload->restore_states();
      const std::vector<double> seconds = s.workload->decode(point.gen);
      steps.insert(steps.end(), seconds.begin(), seconds.end());
      ++reps;
      return mean_step(seconds.begin(), seconds.end());
    });
    // Too few repetitions for an interval: the means over eighths of each repetition are the samples instead.
    std::vector<double> samples = done.samples;
    if (samples.size() < StopRule::min_reps && point.gen >= 32) {
      samples.clear();
      for (int64_t i = 0; i < reps * 8; ++i) {
        const auto at = [&](int64_t part) { return steps.begin() + (i / 8) * point.gen + part * point.gen / 8; };
        samples.push_back(std::accumulate(at(i % 8), at(i % 8 + 1), 0.0) /
                          static_cast<double>(at(i % 8 + 1) - at(i % 8)));
      }
      r.warnings.push_back("W-BLOCKS: samples are means over eighths of " + std::to_string(reps) + " repetition" +
                           (reps > 1 ? "s" : "") + ".");
    }
    set_samples(r, samples, done.stop);
    r.warmup = warmups;
    r.tpot_s = r.value;
    r.tok_s = static_cast<double>(point.batch) / *r.value;
    r.step_p50_s = median(steps);
    if (steps.size() >= 10) r.step_p90_s = quantile(steps, 0.9);
    if (steps.size() >= 100) r.step_p99_s = quantile(steps, 0.99);
    r.cpu_s = (clock_.cpu_s() - cpu) / static_cast<double>(reps);
    if (s.repeatable) r.logits_hash = s.workload->logits_hash();
  }

  // (t_last - t_first) / (steps - 1): the first step is where the clock starts; a single step counts whole.
  static double mean_step(std::vector<double>::const_iterator begin, std::vector<double>::const_iterator end) {
    if (end - begin == 1) return *begin;
    return std::accumulate(begin + 1, end, 0.0) / static_cast<double>(end - begin - 1);
  }

  // Makes the caches hold point.ctx tokens, outside any timer.
  void fill_cache(const Point& point, Session& s, double budget) {
    const bool synthetic = plan_.depth_fill == DepthFill::synthetic ||
                           (plan_.depth_fill == DepthFill::automatic &&
                            (s.cache == Session::Cache::synthetic ||
                             (s.cache == Session::Cache::none && should_estimate(point, s, budget / 2))));
    const Session::Cache wanted = synthetic ? Session::Cache::synthetic : Session::Cache::prefilled;
    // Another prefill would cost as much as the measurement; synthetic filling is a copy.
    if (s.cache == wanted && s.cached_ctx == point.ctx && (s.repeatable || !synthetic)) return;
    s.workload->choose_input(0);
    if (synthetic) {
      progress_->update("filling caches");
      s.workload->fill_synthetic(point.ctx);
    } else {
      s.workload->reset();
      s.workload->prefill(point.ctx, percent_of(point.ctx, "prefill"));
    }
    s.cache = wanted;
    s.cached_ctx = point.ctx;
    s.repeatable = true;
  }

  // --- End to end ---

  void measure_e2e(const Point& point, Session& s, Result& r) {
    const double budget = budget_s(), begin = clock_.wall_s();
    const int64_t waves = (point.requests + point.batch - 1) / point.batch;
    std::vector<double> ttft, steps;
    const auto wave = [&](Workload& workload, int64_t ctx, int64_t gen, const std::string& what) {
      workload.reset();
      const double first = workload.prefill(ctx, percent_of(ctx, what + " prefill")).wall_s;
      double seconds = first;
      for (int64_t generated = 1; generated < gen;) {  // a few steps at a time, for the progress line
        const int64_t count = std::min<int64_t>(64, gen - generated);
        const std::vector<double> some = workload.decode(count);
        steps.insert(steps.end(), some.begin(), some.end());
        seconds = std::accumulate(some.begin(), some.end(), seconds);
        generated += count;
        progress_->update(what + " token " + std::to_string(generated) + "/" + std::to_string(gen));
      }
      ttft.push_back(first);
      return seconds;
    };
    const int64_t warmups = plan_.warmup.value_or(1);
    for (int64_t i = 0; i < warmups; ++i)
      wave(*s.workload, std::min(point.ctx, kWarmupCtx), std::min<int64_t>(5, point.gen), "warm-up");
    ttft.clear();
    steps.clear();
    const Repetitions done = repetitions(budget - (clock_.wall_s() - begin), [&](int64_t rep) {
      double seconds = 0;
      for (int64_t w = 0; w < waves; ++w) {
        const int64_t size = std::min(point.batch, point.requests - w * point.batch);
        Workload part(*s.engine, size, point.chunk, plan_.seed, clock_);
        part.choose_input(rep * waves + w);
        seconds += wave(part, point.ctx, point.gen, "rep " + std::to_string(rep + 1));
      }
      if (rep == 0) r.logits_hash = s.workload->logits_hash();
      return seconds;
    });
    s.cache = Session::Cache::none;
    set_samples(r, done.samples, done.stop);
    r.warmup = warmups;
    r.waves = waves;
    r.ttft_s = median(ttft);
    if (!steps.empty()) r.tpot_s = std::accumulate(steps.begin(), steps.end(), 0.0) / static_cast<double>(steps.size());
    r.tok_s = static_cast<double>(point.requests * point.gen) / *r.value;
    r.cpu_s = std::accumulate(done.cpu_s.begin(), done.cpu_s.end(), 0.0) / static_cast<double>(done.cpu_s.size());
  }

  // --- Words ---

  static std::string title(const Point& point) {
    return point.phase + " " + point.hybrid + " ctx " + token_label(point.ctx) + " bs " + std::to_string(point.batch);
  }

  // Said once, before anything runs.
  void warn() {
    if (plan_.quiet) return;
    std::vector<std::string> said;
    for (const Point& point : points_)
      for (const std::string& warning : point.warnings)
        if (std::find(said.begin(), said.end(), warning) == said.end()) said.push_back(warning);
    for (const std::string& warning : said) progress_->note("warning " + warning);
  }

  // The softmax row that belongs to a hybrid one.
  static const Result* twin_of(const Result& row, const std::vector<Result>& rows) {
    for (const Result& other : rows)
      if (other.hybrid == "softmax" && row.hybrid != "softmax" && other.phase == row.phase && other.ctx == row.ctx &&
          other.gen == row.gen && other.batch == row.batch && other.layers == row.layers &&
          other.yarn_factor == row.yarn_factor && other.engine == row.engine)
        return &other;
    return nullptr;
  }

  // "3.50x [3.48, 3.53]": how many times faster. The interval follows from those of both rows as if independent: the
  // logarithms of their ends add in squares.
  static std::string speed_up(const Result& row, const Result& twin) {
    const double ratio = *twin.value / *row.value;
    const bool estimated = row.method == "estimated" || twin.method == "estimated";
    char text[80];
    std::snprintf(text, sizeof text, "%s%.2fx", estimated ? "~" : "", ratio);
    if (!(row.ci95_low > 0.0 && twin.ci95_low > 0.0)) return text;
    const double lower = std::hypot(std::log(*twin.value / *twin.ci95_low), std::log(*row.ci95_high / *row.value));
    const double upper = std::hypot(std::log(*twin.ci95_high / *twin.value), std::log(*row.value / *row.ci95_low));
    char interval[48];
    std::snprintf(interval, sizeof interval, " [%.2f, %.2f]", ratio * std::exp(-lower), ratio * std::exp(upper));
    return std::string(text) + interval;
  }

  static Strings conclusion(const std::vector<Result>& rows, Command command) {
    Strings lines;
    for (const Result& row : rows) {
      if (row.phase == "decode" && command == Command::throughput) continue;  // said with its prefill
      const Result* twin = twin_of(row, rows);
      if (!row.value || twin == nullptr || !twin->value) continue;
      std::string line = "speed-up " + row.hybrid + " over softmax at " + row.ctx_label;
      if (row.batch > 1) line += ", batch " + std::to_string(row.batch);
      line += ": " + row.phase + " " + speed_up(row, *twin);
      for (const Result& decode : rows) {
        const Result* decode_twin = twin_of(decode, rows);
        if (row.phase == "prefill" && decode.phase == "decode" && decode.hybrid == row.hybrid &&
            decode.ctx == row.ctx && decode.batch == row.batch && decode.layers == row.layers &&
            decode.yarn_factor == row.yarn_factor && decode.value && decode_twin != nullptr && decode_twin->value)
          line += ", decode " + speed_up(decode, *decode_twin);
      }
      char cache[32];
      std::snprintf(cache, sizeof cache, ", cache %.3fx", row.cache_ratio_vs_softmax.value_or(1));
      lines.push_back(line + cache);
    }
    std::string anchors;
    const Result* estimated = nullptr;
    for (const Result& row : rows) {
      if (row.estimator != "chunk" || !row.value) continue;
      estimated = &row;
      char text[96];
      std::snprintf(text, sizeof text, "%s%s %+.1f %%", anchors.empty() ? "" : ", ", row.hybrid.c_str(),
                    100 * *row.est_anchor_error);
      anchors += text;
    }
    if (estimated != nullptr)
      lines.push_back("~ estimated from " + std::to_string(*estimated->est_points) + " chunks of " +
                      std::to_string(*estimated->chunk) +
                      " tokens at their true depth; estimates against whole prefills of " +
                      token_label(*estimated->est_anchor_ctx) + " tokens were off by: " + anchors);
    return lines;
  }

  std::string closing_line(const std::vector<Result>& rows, const RunFolder* folder) const {
    const auto failed = std::count_if(rows.begin(), rows.end(), [](const Result& r) { return !r.value; });
    std::string line = std::to_string(rows.size()) + " point" + (rows.size() == 1 ? "" : "s") + ", " +
                       std::to_string(failed) + " failed, " + duration_text(clock_.wall_s() - begin_s_);
    if (folder != nullptr)
      line = "saved: " + (std::filesystem::path(plan_.results) / folder->id()).string() + "/  (" + line + ")";
    return line;
  }

  const Plan& plan_;
  Command command_;
  std::vector<Point> points_;
  int threads_;
  std::vector<std::string> sessions_;      // key of each point's
  std::map<std::string, int64_t> tokens_;  // that each session's sequences must hold: of all points that use it
  std::vector<double> work_;               // of each point
  mutable Clock clock_;
  double begin_s_ = 0;
  std::vector<size_t> order_;  // in which points are measured
  size_t turn_ = 0;            // of the point being measured, in order_
  std::string commit_ = capture_environment().commit;
  mutable std::map<std::string, std::string> device_names_;  // by engine
  mutable std::map<std::string, bool> by_groups_;            // by session
  std::unique_ptr<Progress> progress_;
  std::string build_ = build_id();
  const RunFolder* folder_ = nullptr;
  std::vector<Certificate> certificates_;
  std::set<MeasuredWith> certified_;  // by this run
  Session session_;
  std::vector<std::optional<Result>> results_;  // of each point
};

}  // namespace

ExitCode run_measurements(const Plan& plan, Command command) {
  Run run(plan, command);
  return plan.dry_run ? run.show() : run.measure();
}

}  // namespace ringbench
