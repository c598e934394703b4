#include "harness/run.h"

#include <algorithm>
#include <csignal>
#include <deque>
#include <iostream>
#include <map>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>

#include "cuda/gpu.h"
#include "harness/certifier.h"
#include "harness/conclusion.h"
#include "harness/cost.h"
#include "harness/crossover.h"
#include "harness/describe.h"
#include "harness/device.h"
#include "harness/engines.h"
#include "harness/environment.h"
#include "harness/layer_groups.h"
#include "harness/measure.h"
#include "harness/measurement.h"
#include "harness/predict.h"
#include "harness/progress.h"
#include "harness/records.h"
#include "harness/result.h"
#include "harness/run_folder.h"
#include "harness/schedule.h"
#include "harness/servers.h"
#include "harness/session.h"
#include "harness/speedup.h"
#include "harness/telemetry.h"
#include "harness/words.h"
#include "reference/sha256.h"
#include "reference/threads.h"

namespace ringbench {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kCrossoverStep = 16;         // tokens between contexts that are tried
constexpr double kCrossoverResolution = 0.05;  // between neighbours, relative

// A lane being measured.
struct Attempt {
  Lane lane;
  std::vector<Result> rows;  // of its points
  Session* session = nullptr;
  Served* served = nullptr;  // in place of a session
  MeasuringRun run;
  std::unique_ptr<Measurement> measurement;  // null: estimated, or failed
  Repetitions done;
  double budget_s = 0, ready_s = 0;  // allowed in all; spent before the first repetition
  double begin_s = 0, spent_s = 0;   // when the work that goes on began; of what was done before it
};

class Run {
 public:
  explicit Run(const RunRequest& request)
      : experiment_(request.experiment),
        grids_(request.grids.begin(), request.grids.end()),
        whole_(grids_.front().plan),
        threads_(whole_.threads > 0 ? whole_.threads : physical_cores()),
        certifier_(whole_.results) {
    std::vector<Point> points = expand(request.grids);
    several_models_ = std::any_of(points.begin(), points.end(),
                                  [&](const Point& point) { return point.config.name != points.front().config.name; });
    add(std::move(points));
    if (whole_.shards > 1) mine_ = points_of_shard(points_, whole_.shard, whole_.shards);
  }

  // The grid as records without a number, and what all of it would take.
  ExitCode show() const {
    std::vector<Result> rows;
    for (size_t i = 0; i < points_.size(); ++i) {
      const Point& point = points_[i];
      if (!mine_[i]) continue;
      Result& row = rows.emplace_back(describe(point));
      row.date = utc_now();
      row.status = point.error.empty() ? "skipped" : "error";
      if (!point.error.empty()) {
        row.error = point.error;
        continue;
      }
      if (is_served(point.engine)) continue;
      const Memory memory = planned_memory(point);
      describe_memory(memory, row);
      if (const int64_t free = free_memory(point.engine); memory.total() > free) {
        row.status = "oom_predicted";
        row.error = too_little_memory(memory, free);
      }
    }
    double work = 0;
    bool predicted = true;
    size_t served = 0;
    for (size_t i = 0; i < points_.size(); ++i) {
      if (!mine_[i]) continue;
      if (is_served(points_[i].engine)) {
        ++served;
        continue;
      }
      work += work_[i];
      predicted &= peaks(points_[i].engine).has_value();
    }
    Remarks remarks;
    std::string line = "dry run: " + std::to_string(rows.size()) + " points";
    if (served < rows.size())
      line += ", roughly " + duration_text(work) + " for one pass over each at " +
              (predicted ? "the peaks of this machine" : "rates of a small CPU") + ", and most have six or more";
    if (served > 0) line += "; what servers take is not known before";
    remarks.lines.push_back(line + "; nothing was run");
    if (!predicted) remarks.lines.push_back("seconds of each point: after 'ringbench doctor --calibrate'");
    write_results(std::cout, whole_.format, rows, remarks);
    return ExitCode::ok;
  }

  ExitCode measure() {
    begin("");
    return end([&] {
      for (const Turn& turn : turns_)
        if (measure_turn(turn) && !whole_.keep_going) break;
    });
  }

  static std::pair<RunOutcome, RunOutcome> measure_in_turn(Run& first, Run& second) {
    first.silent_ = second.silent_ = true;
    first.begin("");
    second.in_turn_with_ = first.folder_.get();
    second.begin("");
    const ExitCode code = first.end([&] {
      for (size_t turn = 0; turn < std::max(first.turns_.size(), second.turns_.size()); ++turn)
        for (Run* run : {&first, &second})
          if (turn < run->turns_.size()) {
            run->measure_turn(run->turns_[turn]);
            run->sessions_.clear();  // the other one needs the memory
          }
    });
    const bool broken_off = code == ExitCode::interrupted || code == ExitCode::terminated;
    const ExitCode second_code = second.end([&] {
      if (broken_off) throw Interrupted();
    });
    return {first.outcome(code), second.outcome(second_code)};
  }

  ExitCode find_crossovers() {
    const std::vector<Family> families = make_families();
    begin("crossover");
    points_.clear(), turns_.clear(), mine_.clear(), work_.clear(), results_.clear();
    return end([&] {
      for (const Family& family : families) {
        const auto ratio_at = [&](int64_t ctx) { return measure_pair(family, ctx); };
        std::string line = "crossover " + (several_models_ ? family.point.config.name + " " : "") + family.point.phase +
                           " " + family.point.hybrid + ": ";
        try {
          line +=
              crossover_text(find_crossover(family.low, family.high, kCrossoverStep, kCrossoverResolution, ratio_at),
                             family.low, family.high);
        } catch (const NoNumber& e) {
          line += e.what();
        }
        lines_.push_back(line);
      }
    });
  }

 private:
  // --- Begin and end ---

  // Files and folder first: what cannot be written is said before anything runs.
  void begin(const std::string& what) {
    for (const std::string& path : whole_.outputs) files_.emplace_back(path, whole_.format);
    if (points_.size() == 1 && !by_groups(points_.front())) check_memory(points_.front());
    reach_servers();
    open_folder(what);
    if (folder_) servers_.write_down(folder_->path());
    begin_s_ = clock_.wall_s();
    const int64_t points = count_work();
    progress_ = std::make_unique<Progress>(whole_.progress && !whole_.quiet, points, work_left_, clock_);
    warn();
  }

  template <class Work> ExitCode end(const Work& work) {
    ExitCode code = ExitCode::ok;
    try {
      work();
    } catch (const Interrupted&) {
      code = interrupting_signal() == SIGTERM ? ExitCode::terminated : ExitCode::interrupted;
    }
    progress_.reset();
    const std::vector<Result> rows = finished();
    if (code == ExitCode::ok) {
      if (std::any_of(rows.begin(), rows.end(), [](const Result& r) { return !r.value; }))
        code = ExitCode::points_failed;
      code = std::max(code, parity_code());
    }
    Remarks remarks;
    remarks.color = use_color(whole_.color);
    remarks.lines = conclusion(rows);
    remarks.lines.insert(remarks.lines.end(), lines_.begin(), lines_.end());
    remarks.lines.push_back(closing_line(rows));
    if (!silent_) write_results(std::cout, whole_.format, rows, remarks);
    if (folder_) folder_->finish(code);
    for (const OutputFile& file : files_) file.write(rows, remarks);
    if (code == ExitCode::interrupted || code == ExitCode::terminated) say_how_to_resume(rows.size());
    return code;
  }

  RunOutcome outcome(ExitCode code) const {
    return {code, finished(), folder_ ? folder_->path() : std::filesystem::path()};
  }

  // What a certificate is made for.
  static std::string engine_and_config(const Point& point) { return point.engine + " " + point.config_sha; }

  // In the order of the grid.
  std::vector<Result> finished() const {
    std::vector<Result> rows;
    for (const std::optional<Result>& result : results_)
      if (result) rows.push_back(*result);
    return rows;
  }

  const Plan& plan_of(const Point& point) const { return grids_[point.grid].plan; }

  // --- The plan ---

  // As many of the requests as fit into the memory limit: the same limit for all points of the run.
  void choose_batch(Point& point) {
    const Plan& plan = plan_of(point);
    int64_t& limit = memory_limits_[point.engine];
    if (limit == 0) limit = plan.memory_limit.value_or(free_memory(point.engine) / 10 * 9);
    point.batch = batch_that_fits(plan, point, point.tokens(), threads_, limit);
    point.memory_limit = limit;
  }

  // Takes in more points: batches chosen, work and turns planned, what a resumed run holds recalled.
  void add(std::vector<Point> points) {
    const size_t first = points_.size();
    for (Point& point : points) {
      if (point.error.empty() && point.phase == "e2e" && point.batch == 0) choose_batch(point);
      int64_t& tokens = tokens_[session_key(point)];
      tokens = std::max(tokens, point.tokens());
      int64_t& deepest = deepest_[engine_and_config(point)];
      deepest = std::max(deepest, point.ctx);
      points_.push_back(std::move(point));
    }
    for (size_t i = first; i < points_.size(); ++i) {
      work_.push_back(work_of(points_[i]));
      results_.push_back(recall(points_[i]));
      mine_.push_back(true);
    }
    std::vector<Turn> turns =
        make_turns(points_, first, [this](const Point& point) { return plan_of(point).interleave; });
    std::move(turns.begin(), turns.end(), std::back_inserter(turns_));
  }

  // The same for the same points, measured in the same way; budgets, formats and the like may differ.
  std::string plan_sha(const std::string& what) const {
    std::string text = experiment_ + " " + what;
    for (const Point& point : points_) {
      const Plan& plan = plan_of(point);
      text += "\n" + point_key(point) + " threads " + std::to_string(threads_) + " reps " +
              (plan.reps ? std::to_string(*plan.reps) : "auto") + " warmup " +
              (plan.warmup ? std::to_string(*plan.warmup) : "auto") + " ci " + std::to_string(plan.ci) + " estimate " +
              std::to_string(static_cast<int>(plan.estimate)) + " fill " +
              std::to_string(static_cast<int>(plan.depth_fill)) + " rope " +
              std::to_string(static_cast<int>(plan.rope_angles)) + " dummy " +
              std::to_string(static_cast<int>(plan.dummy)) + " interleave " + std::to_string(plan.interleave) +
              " kernels " + join(plan.kernels, ",") + " weights " + point.checkpoint.filename().string();
    }
    return sha256_hex(text);
  }

  // plan.json: every point with what it would take.
  std::string plan_json(const std::string& sha) const {
    Json points = Json::array();
    for (size_t i = 0; i < points_.size(); ++i) {
      const Point& p = points_[i];
      Json point = {{"point_id", p.id},
                    {"engine", row_engine(p)},
                    {"dtype", name_of(p.dtype)},
                    {"chunk", p.chunk},
                    {"phase", p.phase},
                    {"model", p.config.name},
                    {"hybrid", p.hybrid},
                    {"layers", p.config.num_hidden_layers},
                    {"ctx", p.ctx},
                    {"gen", p.gen},
                    {"batch", p.batch},
                    {"requests", p.requests},
                    {"yarn_factor", p.yarn_factor},
                    {"mine", bool(mine_[i])}};
      point["bytes"] = p.error.empty() ? Json(planned_memory(p).total()) : Json(nullptr);
      point["error"] = p.error.empty() ? Json(nullptr) : Json(p.error);
      points.push_back(std::move(point));
    }
    Json plan = {{"schema", "ringbench.plan/1"}, {"experiment", experiment_}, {"plan_sha", sha}};
    plan["shard"] = std::to_string(whole_.shard) + "/" + std::to_string(whole_.shards);
    plan["points"] = std::move(points);
    return plan.dump(1, ' ', false, Json::error_handler_t::replace);
  }

  // A new folder, or the one that is gone on with: then what it holds is not measured again. `what`: said of the plan
  // beside its points.
  void open_folder(const std::string& what) {
    if (!whole_.save) return;
    RunPlan plan;
    plan.experiment = experiment_;
    plan.argv = whole_.argv;
    plan.sha = plan_sha(what);
    plan.build = certifier_.build();
    plan.in_turn_with = in_turn_with_;
    plan.gpu = std::any_of(points_.begin(), points_.end(), [](const Point& point) { return !runs_on_cpu(point); });
    if (!whole_.resume) {
      plan.json = plan_json(plan.sha);
      folder_ = std::make_unique<RunFolder>(whole_.results, plan);
      return;
    }
    folder_ = std::make_unique<RunFolder>(whole_.results, plan, *whole_.resume, whole_.mix_builds);
    for (Result& result : read_records(folder_->path())) {
      const std::string key = record_key(result);
      kept_.insert_or_assign(key, std::move(result));
    }
    for (size_t i = 0; i < points_.size(); ++i) results_[i] = recall(points_[i]);
    if (whole_.quiet) return;
    const auto there = std::count_if(results_.begin(), results_.end(), [](const auto& r) { return r.has_value(); });
    std::cerr << "resuming " << folder_->id() << ": " << there << " of " << points_.size() << " points are there"
              << (folder_->torn_line() ? "; the last line was torn, its point is measured again" : "") << "\n";
  }

  // The row of a point that the resumed run holds, unless it is to be measured again.
  std::optional<Result> recall(const Point& point) const {
    if (kept_.empty()) return std::nullopt;
    const auto found = kept_.find(record_key(describe(point)));
    return found == kept_.end() || again(found->second) ? std::nullopt : std::optional(found->second);
  }

  // Whether --retry wants a kept row without a number measured once more.
  bool again(const Result& r) const {
    if (r.value) return false;
    switch (whole_.retry) {
      case Retry::none: return false;
      case Retry::failed: return r.status == "error";
      case Retry::oom: return r.status == "oom" || r.status == "oom_predicted";
      case Retry::timeout: return r.status == "timeout";
      case Retry::all: return true;
    }
    return false;
  }

  bool wanted(size_t i) const { return mine_[i] && !results_[i]; }

  // --- What a point costs, and what it may ---

  int64_t max_tokens(const Point& point) const { return tokens_.at(session_key(point)); }
  Memory planned_memory(const Point& point) const {
    return plan_point_memory(plan_of(point), point, max_tokens(point), threads_);
  }
  void check_memory(const Point& point) const {
    check_point_memory(plan_of(point), point, max_tokens(point), threads_);
  }

  // Seconds of one pass over the point: what is predicted where peaks are known, else rates of a small CPU, right to a
  // factor of two or so. For sharing budgets, the ETA and dry runs.
  double pass_s(const Point& point, int64_t ctx, int64_t gen) const {
    Workpoint work = workpoint_of(point);
    work.ctx = ctx;
    work.gen = gen;
    const auto& known = peaks(point.engine);
    const double steps = point.phase == "decode" ? static_cast<double>(gen) : 1;
    if (known && known->peak_flops(point.dtype)) return steps * predict(point.config, work, *known).seconds;
    const auto seconds = [](const Cost& cost) { return cost.flops * 5e-12 + cost.bytes * 5e-11; };
    const Cost prefill = append_cost(point.config, ctx, 0, point.batch, point.dtype);
    const Cost step = append_cost(point.config, 1, ctx + gen / 2, point.batch, point.dtype);
    if (point.phase == "prefill") return seconds(prefill);
    if (point.phase == "decode") return steps * seconds(step);
    const double waves = static_cast<double>(point.requests) / static_cast<double>(point.batch);
    return waves * (seconds(prefill) + static_cast<double>(gen) * seconds(step));
  }

  double work_of(const Point& point) const {
    if (!point.error.empty() || point.replica > 0) return 0;  // not run; seen while all replicas are
    if (!by_groups(point) && planned_memory(point).total() > free_memory(point.engine)) return 0;
    const double whole = pass_s(point, point.ctx, point.gen);
    if (point.phase != "prefill" || plan_of(point).estimate == EstimateMode::never || !can_estimate(point))
      return whole;
    const double chunk =
        whole * static_cast<double>(point.chunk) / static_cast<double>(std::max<int64_t>(1, point.ctx));
    return std::min(whole, pass_s(point, anchor_ctx(point), 0) + 10 * chunk);
  }

  // How many points are still to be measured.
  int64_t count_work() {
    int64_t points = 0;
    work_left_ = 0;
    for (size_t i = 0; i < points_.size(); ++i)
      if (wanted(i)) ++points, work_left_ += work_[i];
    return points;
  }

  // What is left of the total budget for this lane, by its share of the work that is left; at most --time-budget.
  double budget_s(const Lane& lane) const {
    const Plan& plan = plan_of(points_[lane.front()]);
    if (!whole_.total_budget_s) return plan.full ? 1e18 : plan.time_budget_s;
    const double left_s = *whole_.total_budget_s - (clock_.wall_s() - begin_s_);
    double own = 0;
    for (const size_t i : lane) own += work_[i];
    return std::min(plan.time_budget_s, std::max(0.0, left_s * (work_left_ > 0 ? std::min(1.0, own / work_left_) : 1)));
  }

  // --- A turn ---

  // True if a point has no number.
  bool measure_turn(const Turn& turn) {
    std::deque<Attempt> attempts;  // they are referred to
    for (const Lane& lane : turn) {
      Lane left;
      std::copy_if(lane.begin(), lane.end(), std::back_inserter(left), [&](size_t i) { return wanted(i); });
      if (!left.empty()) begin(attempts.emplace_back(attempt_of(std::move(left))));
    }
    keep_sessions_of(attempts);
    for (Attempt& attempt : attempts) guard(attempt, [&] { set_up(attempt); });
    const TelemetrySummary seen = watch(attempts, [&] {
      while (std::any_of(attempts.begin(), attempts.end(), [](const Attempt& a) { return goes_on(a); }))
        repeat(attempts);
    });
    bool failed = false;
    for (Attempt& attempt : attempts) {
      guard(attempt, [&] {
        conclude(attempt, attempts.size() > 1);
        if (attempt.session != nullptr && attempt.measurement) describe_hardware(attempt, seen, attempts.size() == 1);
      });
      for (size_t k = 0; k < attempt.lane.size(); ++k) failed |= keep(attempt.lane[k], std::move(attempt.rows[k]));
    }
    return failed;
  }

  Attempt attempt_of(Lane lane) {
    const Plan& plan = plan_of(points_[lane.front()]);
    return {std::move(lane), {}, nullptr, nullptr, {plan, clock_, threads_, {}}, nullptr, {}, 0, 0, 0, 0};
  }

  static bool goes_on(const Attempt& attempt) { return attempt.measurement && attempt.done.stop.empty(); }
  const Point& point_of(const Attempt& attempt) const { return points_[attempt.lane.front()]; }
  std::vector<Point> points_of(const Attempt& attempt) const {
    std::vector<Point> points;
    for (const size_t i : attempt.lane) points.push_back(points_[i]);
    return points;
  }

  void begin(Attempt& attempt) {
    for (const size_t i : attempt.lane) attempt.rows.push_back(describe(points_[i]));
    const Point& point = point_of(attempt);
    if (is_served(point.engine) && point.error.empty()) attempt.served = &reach(point);  // or the run ends here
    attempt.run.step = [this, &attempt](const std::string& text) {
      progress_->update(text);
      const double spent = attempt.spent_s + clock_.wall_s() - attempt.begin_s;
      if (attempt.done.samples.empty() && spent > 3 * attempt.run.plan.time_budget_s) throw TimedOut();
    };
  }

  // Estimates, or gets ready for repetitions.
  void set_up(Attempt& attempt) {
    const Point& point = point_of(attempt);
    if (!point.error.empty()) throw Failure(ExitCode::points_failed, point.error);
    attempt.budget_s = budget_s(attempt.lane);
    if (attempt.served != nullptr) {
      parity_of_server(point);
      attempt.measurement = make_served_measurement(attempt.run, points_of(attempt), *attempt.served);
      return attempt.measurement->prepare();
    }
    if (by_groups(point)) return measure_groups(attempt);
    Session& session = *(attempt.session = &session_for(point));
    session.engine->report();  // expert loads of this point only
    if (point.phase == "prefill" && should_estimate(attempt.run, point, session, attempt.budget_s))
      return estimate_point(attempt.run, point, session, attempt.budget_s - (clock_.wall_s() - attempt.begin_s),
                            attempt.rows.front());
    attempt.measurement = make_measurement(attempt.run, points_of(attempt), session, attempt.budget_s);
    attempt.measurement->prepare();
  }

  // One repetition of each, in an order that is the last one's reversed, so that what drifts meets all alike. What has
  // enough goes on while others need more: pairs stay pairs.
  void repeat(std::deque<Attempt>& attempts) {
    std::vector<Attempt*> order;
    for (Attempt& attempt : attempts)
      if (attempt.measurement) order.push_back(&attempt);
    if (order.front()->done.samples.size() % 2 == 1) std::reverse(order.begin(), order.end());
    for (Attempt* attempt : order) guard(*attempt, [&] { repeat_once(*attempt); });
    if (!interrupted()) return;
    for (const Attempt* attempt : order)
      if (goes_on(*attempt)) throw Interrupted();
  }

  void repeat_once(Attempt& attempt) {
    Repetitions& done = attempt.done;
    if (done.samples.empty()) attempt.ready_s = attempt.spent_s + clock_.wall_s() - attempt.begin_s;
    const double wall = clock_.wall_s(), cpu = clock_.cpu_s();
    done.samples.push_back(attempt.measurement->once(static_cast<int64_t>(done.samples.size())));
    done.wall_s.push_back(clock_.wall_s() - wall);
    done.cpu_s.push_back(clock_.cpu_s() - cpu);
    if (!done.stop.empty()) return;
    StopRule rule;
    rule.reps = attempt.run.plan.reps;
    rule.ci = attempt.run.plan.ci;
    rule.budget_s = attempt.budget_s - attempt.ready_s;
    done.stop = rule.reason_to_stop(done.samples, std::accumulate(done.wall_s.begin(), done.wall_s.end(), 0.0));
  }

  void conclude(Attempt& attempt, bool among_others) {
    if (attempt.served != nullptr) {
      attempt.measurement->finish(attempt.done, attempt.rows);
      for (Result& row : attempt.rows) {
        row.interleaved = among_others;
        parity_of_server(point_of(attempt)).describe(row);
      }
      return;
    }
    if (attempt.session == nullptr) return;  // estimated by layer groups
    const bool measured = attempt.measurement != nullptr;
    if (measured) attempt.measurement->finish(attempt.done, attempt.rows);
    int64_t longest = 0;
    for (const size_t i : attempt.lane) longest = std::max(longest, points_[i].gen);
    Report report;
    for (size_t k = 0; k < attempt.rows.size(); ++k) {
      Result& row = attempt.rows[k];
      row.interleaved = measured && among_others;
      if (k == 0) report = attempt.session->engine->report();
      describe_engine(*attempt.session, report, row);
      certifier_.describe(row);
      // The caches are as full as the longest output made them.
      if (points_[attempt.lane[k]].gen != longest) row.kv_bytes.reset();
    }
    if (measured) attempt.measurement->leave();
  }

  // --- Clocks, power, energy ---

  // What the hardware does while repetitions run.
  template <class Work> TelemetrySummary watch(const std::deque<Attempt>& attempts, const Work& work) {
    const auto ours = [](const Attempt& a) { return goes_on(a) && a.served == nullptr; };  // a server's is elsewhere
    const bool any = std::any_of(attempts.begin(), attempts.end(), ours);
    if (!any || whole_.telemetry_hz <= 0) return work(), TelemetrySummary();
    Telemetry& telemetry = telemetry_of(point_of(attempts.front()));
    if (!telemetry.problem().empty()) return work(), TelemetrySummary();  // there is nothing to see
    telemetry.start();
    try {
      work();
    } catch (...) {
      telemetry.stop();
      throw;
    }
    return telemetry.stop();
  }

  Telemetry& telemetry_of(const Point& point) {
    std::unique_ptr<Telemetry>& telemetry = telemetry_[point.engine];
    if (telemetry) return *telemetry;
    TelemetryOptions options;
    options.gpu = !runs_on_cpu(point);
    options.uuid = engine_device_uuid(point.engine);
    options.hz = whole_.telemetry_hz;
    options.energy = whole_.energy;
    telemetry = std::make_unique<Telemetry>(options);
    if (options.gpu) {
      const std::string shared = check_isolation(whole_.isolate, telemetry->foreign_processes(true));
      if (!shared.empty() && !whole_.quiet) progress_->note("warning " + shared);
    }
    return *telemetry;
  }

  // Energy is that of one lane alone, and of its longest output.
  void describe_hardware(Attempt& attempt, const TelemetrySummary& seen, bool alone) {
    const auto longest = std::max_element(attempt.rows.begin(), attempt.rows.end(),
                                          [](const Result& a, const Result& b) { return a.gen < b.gen; });
    for (auto row = attempt.rows.begin(); row != attempt.rows.end(); ++row) {
      TelemetrySummary its = seen;
      if (!alone || row != longest) its.energy_j.reset(), its.power_avg_w.reset(), its.energy_method.clear();
      const int64_t each = row->phase == "prefill"  ? row->batch * row->ctx
                           : row->phase == "decode" ? row->batch * row->gen
                                                    : row->requests.value_or(row->batch) * row->gen;
      describe_telemetry(*row, its, each * static_cast<int64_t>(attempt.done.samples.size()));
    }
    if (!folder_ || seen.samples.empty()) return;
    std::filesystem::create_directories(folder_->path() / "telemetry");
    for (const Result& row : attempt.rows)
      write_telemetry(folder_->path() / "telemetry" / (row.point_id + ".csv"), seen.samples);
  }

  // What goes wrong with one of several points becomes its row; with a single one it ends the run, with its own exit
  // code.
  template <class Work> void guard(Attempt& attempt, const Work& work) {
    if (attempt.rows.front().error) return;  // failed before
    const auto failed = [&](const std::string& status, const std::string& error) {
      for (Result& row : attempt.rows) row.status = status, row.error = error, row.value.reset();
      attempt.measurement.reset();
      attempt.session = nullptr;
      sessions_.erase(session_key(point_of(attempt)));
    };
    const bool single =
        std::count_if(points_.begin(), points_.end(), [](const Point& p) { return p.replica == 0; }) == 1;
    progress_->begin(title(point_of(attempt)));
    attempt.begin_s = clock_.wall_s();
    try {
      work();
    } catch (const Failure& failure) {
      if (single) throw;
      failed(failure.code == ExitCode::environment ? "oom_predicted" : "error", failure.what());
    } catch (const GpuError& error) {
      // If the device's context is lost, no later point would have a number.
      if (single || error.sticky) throw Failure(ExitCode::environment, error.what());
      failed("error", error.what());
    } catch (const KernelError& error) {
      if (single) throw;
      failed("error", error.what());
    } catch (const TimedOut&) {
      failed("timeout", "no repetition was done within three times --time-budget (" +
                            duration_text(3 * attempt.run.plan.time_budget_s) + ").");
    } catch (const std::bad_alloc&) {
      failed("oom", "out of memory");
    }
    attempt.spent_s += clock_.wall_s() - attempt.begin_s;
  }

  // Writes a row down; true if it has no number.
  bool keep(size_t i, Result row) {
    if (!row.value) row.method = "measured", row.samples.clear();
    finish_prediction(row);
    set_flags(row, plan_of(points_[i]).ci);
    row.run_id = folder_ ? folder_->id() : "";
    row.date = utc_now();
    progress_->end_point(title(points_[i]),
                         row.value ? (row.method == "estimated" ? "~" : "") + duration_text(*row.value)
                                   : row.status + ": " + row.error.value_or(""),
                         work_[i]);
    if (folder_) folder_->append(row);
    const bool failed = !row.value;
    results_[i] = std::move(row);
    work_left_ -= work_[i];
    return failed;
  }

  // --- Servers ---

  Served& reach(const Point& point) {
    Served& served = servers_.reach(plan_of(point), point.engine, folder_ ? folder_->path() : std::filesystem::path(),
                                    [this](const std::string& text) {
                                      if (progress_) progress_->update(text);
                                    });
    if (folder_) servers_.write_down(folder_->path());
    return served;
  }

  // Those that are there already: where nobody answers, nothing is run.
  void reach_servers() {
    for (const Point& point : points_)
      if (is_served(point.engine) && plan_of(point).start.empty()) reach(point);
  }

  const ServedParity& parity_of_server(const Point& point) {
    const auto warn = [this](const std::string& text) {
      if (!whole_.quiet) progress_->note("warning " + text);
    };
    return servers_.certify(
        plan_of(point), point, threads_, [this](const std::string& text) { progress_->update(text); }, warn);
  }

  // --- Sessions ---

  // Drops the engines that this turn does not use: one may hold most of the memory.
  void keep_sessions_of(const std::deque<Attempt>& attempts) {
    std::set<std::string> used;
    for (const Attempt& attempt : attempts) used.insert(session_key(point_of(attempt)));
    std::erase_if(sessions_, [&](const auto& entry) { return !used.contains(entry.first); });
  }

  Session& session_for(const Point& point) {
    const std::string key = session_key(point);
    if (const auto found = sessions_.find(key); found != sessions_.end()) return found->second;
    check_memory(point);
    certify(point);
    progress_->update("making weights");
    return sessions_[key] = open_session(plan_of(point), point, max_tokens(point), threads_, clock_);
  }

  // --- Parity ---

  // Exit 4: a check failed, or a row is not covered though that was required. What was measured is kept and says so.
  ExitCode parity_code() const {
    const bool unmet = std::any_of(results_.begin(), results_.end(), [&](const std::optional<Result>& r) {
      return r && r->value && (r->parity == "fail" || (whole_.parity == ParityMode::require && r->parity != "pass"));
    });
    return unmet ? ExitCode::parity : ExitCode::ok;
  }

  // Before anything of the point's engine is timed.
  void certify(const Point& point) {
    const Plan& plan = plan_of(point);
    const std::string failed = certifier_.certify(plan, point, engine_options(plan, point, max_tokens(point), threads_),
                                                  device_name(point.engine), deepest_.at(engine_and_config(point)),
                                                  folder_ ? folder_->path() / "parity" : std::filesystem::path(),
                                                  [this](const std::string& text) { progress_->update(text); });
    if (!failed.empty() && !whole_.quiet) progress_->note("warning W-PARITY: " + failed);
  }

  // --- Models that are too deep to hold ---

  // Decided once, before anything is held: later the engine at hand would count against the next one.
  bool by_groups(const Point& point) const {
    const auto [found, first] = by_groups_.try_emplace(session_key(point));
    const EstimateMode mode = plan_of(point).estimate;
    if (first)
      found->second =
          mode == EstimateMode::groups ||
          (mode == EstimateMode::always && planned_memory(point).total() > engine_free_memory(point.engine));
    return found->second;
  }

  void measure_groups(Attempt& attempt) {
    const Point& point = point_of(attempt);
    sessions_.clear();  // what is held would count against what is tried now
    const auto add = [&](const Point& shallow) {
      tokens_[session_key(shallow)] = max_tokens(point);
      deepest_[engine_and_config(shallow)] = point.ctx;
    };
    const auto fits = [&](const Point& shallow) {
      add(shallow);
      return planned_memory(shallow).total() <= engine_free_memory(point.engine);
    };
    const auto measure = [&](const Point& shallow) {
      add(shallow);
      sessions_.clear();
      progress_->update(std::to_string(shallow.config.num_hidden_layers) + " of " +
                        std::to_string(point.config.num_hidden_layers) + " layers");
      Attempt part = attempt_of(attempt.lane);
      part.run.step = attempt.run.step;
      part.rows = {describe(shallow)};
      part.session = &session_for(shallow);
      part.budget_s = attempt.budget_s;
      part.begin_s = clock_.wall_s();
      part.session->engine->report();
      part.measurement = make_measurement(part.run, {shallow}, *part.session, part.budget_s);
      part.measurement->prepare();
      while (part.done.stop.empty()) {
        repeat_once(part);
        if (interrupted() && part.done.stop.empty()) throw Interrupted();
      }
      conclude(part, false);
      return part.rows.front();
    };
    estimate_by_layer_groups(point, fits, measure, attempt.rows.front());
    describe_memory(planned_memory(point), attempt.rows.front());
  }

  // --- Crossovers ---

  // A layer ratio of one model in one phase, and the contexts between which its crossover is looked for.
  struct Family {
    Point point;
    int64_t low = 0, high = 0;
  };

  static bool follows_ctx(const Strings& yarn) { return yarn == Strings{"auto"}; }

  std::vector<Family> make_families() const {
    std::map<std::string, Family> families;
    Strings order;
    bool softmax = false;
    for (const Point& point : points_) {
      softmax |= point.hybrid == "softmax";
      if (point.hybrid == "softmax" || !point.error.empty() || point.phase == "e2e") continue;
      Point any_ctx = point;
      any_ctx.ctx = 0;
      if (follows_ctx(plan_of(point).yarn)) any_ctx.yarn_factor = 1, any_ctx.yarn_original = 0;
      const std::string key = comparison_key(any_ctx) + " " + point.hybrid;
      const auto [family, first] = families.try_emplace(key, Family{point, point.ctx, point.ctx});
      if (first) order.push_back(key);
      family->second.low = std::min(family->second.low, point.ctx);
      family->second.high = std::max(family->second.high, point.ctx);
    }
    std::vector<Family> list;
    for (const std::string& key : order) list.push_back(families.at(key));
    if (!softmax || list.empty())
      throw UsageError(
          "--find-crossover compares with the softmax twin in prefill or decode: the plan needs softmax and "
          "another ratio among --hybrid.");
    for (const Family& family : list)
      if (family.low <= 0 || family.low >= family.high)
        throw UsageError("--find-crossover looks between the first and the last --ctx: give two, such as 64,16k.");
    return list;
  }

  struct NoNumber : std::runtime_error {
    using std::runtime_error::runtime_error;
  };

  // Both at this context, their repetitions taking turns.
  Ratio measure_pair(const Family& family, int64_t ctx) {
    Grid grid = grids_[family.point.grid];
    grid.command = family.point.phase == "prefill" ? Command::prefill : Command::decode;
    Plan& plan = grid.plan;
    plan.ctx = {ctx};
    plan.hybrid = {family.point.hybrid, "softmax"};
    plan.layers = {family.point.config.num_hidden_layers};
    plan.batch = {family.point.batch};
    plan.gen = {std::max<int64_t>(1, family.point.gen)};
    plan.engine = {family.point.engine};
    if (!follows_ctx(plan.yarn)) plan.yarn = {yarn_word(family.point)};
    plan.zip.clear(), plan.where.clear();
    plan.interleave = true;
    plan.estimate = EstimateMode::never;
    std::vector<Point> points = expand({grid});
    for (Point& point : points) point.grid = grids_.size();
    grids_.push_back(std::move(grid));
    const size_t first = points_.size();
    add(std::move(points));
    count_work();
    const Turn turn = turns_.back();
    measure_turn(turn);
    const std::optional<Result>&row = results_[first], &twin = results_[first + 1];
    if (!row || !twin || !row->value || !twin->value)
      throw NoNumber("not found, a point has no number: " + title(points_[first]));
    return speed_up(*row, *twin);
  }

  // --- Words ---

  Result describe(const Point& point) const {
    return describe_point(plan_of(point), point,
                          {experiment_, device_name(point.engine), commit_, threads_, peaks(point.engine)});
  }

  // Asked once for each engine.
  const std::string& device_name(const std::string& engine) const {
    std::string& name = device_names_[engine];
    if (name.empty()) name = is_served(engine) ? "unknown" : engine_device_name(engine);
    return name;
  }

  // Of the time before anything was run, asked once for each engine.
  int64_t free_memory(const std::string& engine) const {
    const auto [found, first] = free_memory_.try_emplace(engine);
    if (first) found->second = engine_free_memory(engine);
    return found->second;
  }

  // Looked up once for each engine.
  const std::optional<DeviceModel>& peaks(const std::string& engine) const {
    const auto [found, first] = peaks_.try_emplace(engine);
    if (first) found->second = device_for(engine, device_name(engine), whole_.results);
    return found->second;
  }

  std::string title(const Point& point) const {
    std::string text = point.phase + " " + point.hybrid + " ctx " + token_label(point.ctx);
    if (point.phase == "e2e") text += " gen " + token_label(point.gen);
    text += " bs " + std::to_string(own_share(point, point.batch));
    if (point.replica > 0) text += " " + row_engine(point);
    return several_models_ ? point.config.name + " " + text : text;
  }

  // Said once, before anything runs.
  void warn() {
    if (whole_.quiet) return;
    std::set<std::string> said;
    for (const Point& point : points_)
      for (const std::string& warning : point.warnings)
        if (said.insert(warning).second) progress_->note("warning " + warning);
  }

  std::string closing_line(const std::vector<Result>& rows) const {
    const auto failed = std::count_if(rows.begin(), rows.end(), [](const Result& r) { return !r.value; });
    std::string line = std::to_string(rows.size()) + " point" + (rows.size() == 1 ? "" : "s") + ", " +
                       std::to_string(failed) + " failed, " + duration_text(clock_.wall_s() - begin_s_);
    if (folder_) line = "saved: " + folder_->path().string() + "/  (" + line + ")";
    return line;
  }

  void say_how_to_resume(size_t finished) const {
    std::cerr << "interrupted: " << finished << " of " << points_.size() << " points were finished and are kept\n";
    if (!folder_) return;
    std::cerr << "go on with: " << resume_command(whole_.argv, folder_->id()) << "\n";
  }

  std::string experiment_;
  std::deque<Grid> grids_;  // they are referred to, and crossovers add some
  const Plan& whole_;       // what concerns the run as a whole
  std::vector<Point> points_;
  int threads_ = 1;
  bool several_models_ = false;
  bool silent_ = false;                           // no table
  std::vector<Turn> turns_;                       // in the order in which they are measured
  std::vector<bool> mine_;                        // of each point: in this process's shard
  std::map<std::string, int64_t> tokens_;         // that each session's sequences must hold: of all points that use it
  std::map<std::string, int64_t> deepest_;        // longest cache timed with an engine and config
  std::map<std::string, int64_t> memory_limits_;  // of batch auto, by engine
  std::vector<double> work_;                      // of each point
  double work_left_ = 0;                          // of the points that are still to be measured
  std::vector<std::optional<Result>> results_;    // of each point
  std::map<std::string, Result> kept_;            // of a resumed run, by record_key()
  std::vector<OutputFile> files_;
  Strings lines_;  // of the conclusion, beside those that follow from the rows
  mutable Clock clock_;
  double begin_s_ = 0;
  std::string commit_ = capture_environment().commit;
  mutable std::map<std::string, std::string> device_names_;  // by engine
  mutable std::map<std::string, std::optional<DeviceModel>> peaks_;
  mutable std::map<std::string, int64_t> free_memory_;
  std::map<std::string, std::unique_ptr<Telemetry>> telemetry_;
  mutable std::map<std::string, bool> by_groups_;  // by session
  std::unique_ptr<Progress> progress_;
  std::unique_ptr<RunFolder> folder_;
  const RunFolder* in_turn_with_ = nullptr;  // run_folder.h
  Certifier certifier_;
  std::map<std::string, Session> sessions_;  // by key; of the turn being measured
  Servers servers_;
};

}  // namespace

std::pair<RunOutcome, RunOutcome> measure_in_turn(const RunRequest& first, const RunRequest& second) {
  Run one(first), other(second);
  return Run::measure_in_turn(one, other);
}

ExitCode find_crossovers(const RunRequest& request) { return Run(request).find_crossovers(); }

ExitCode run_measurements(const RunRequest& request) {
  Run run(request);
  return request.whole().dry_run ? run.show() : run.measure();
}

}  // namespace ringbench
