#include "harness/measurement.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "harness/estimate.h"
#include "harness/words.h"

namespace ringbench {
namespace {

double sum(std::span<const double> numbers) { return std::accumulate(numbers.begin(), numbers.end(), 0.0); }

std::function<void(int64_t)> percent_of(const MeasuringRun& run, int64_t tokens, const std::string& what) {
  return [&run, tokens, what](int64_t done) { run.step(what + "  " + std::to_string(done * 100 / tokens) + " %"); };
}

// Single-token steps, a few at a time so that somebody can be told. Wall seconds of each.
std::vector<double> decode_steps(const MeasuringRun& run, Workload& workload, int64_t count, const std::string& what) {
  std::vector<double> seconds;
  while (static_cast<int64_t>(seconds.size()) < count) {
    const auto done = static_cast<int64_t>(seconds.size());
    const std::vector<double> some = workload.decode(std::min<int64_t>(64, count - done));
    seconds.insert(seconds.end(), some.begin(), some.end());
    run.step(what + " token " + std::to_string(seconds.size()) + "/" + std::to_string(count));
  }
  return seconds;
}

std::string rep_text(int64_t repetition) { return "rep " + std::to_string(repetition + 1); }

// --- Prefill ---

class PrefillMeasurement : public Measurement {
 public:
  PrefillMeasurement(const MeasuringRun& run, const Point& point, Session& session)
      : run_(run), point_(point), s_(session), warmups_(run.plan.warmup.value_or(1)) {}

  void prepare() override {
    const int64_t tokens = std::min(point_.ctx, kWarmupCtx);
    for (int64_t i = 0; i < warmups_; ++i) {
      s_.workload->reset();
      s_.workload->prefill(tokens, percent_of(run_, tokens, "warm-up"));
    }
  }

  double once(int64_t repetition) override {
    s_.workload->choose_input(repetition);
    s_.workload->reset();
    const Elapsed elapsed = s_.workload->prefill(point_.ctx, percent_of(run_, point_.ctx, rep_text(repetition)));
    spent_ += elapsed;
    if (repetition == 0) logits_hash_ = s_.workload->logits_hash();  // the same however many repetitions follow
    return elapsed.wall_s;
  }

  void finish(const Repetitions& done, std::span<Result> rows) override {
    Result& r = rows.front();
    s_.cache = Session::Cache::prefilled;
    s_.cached_ctx = point_.ctx;
    s_.repeatable = done.samples.size() == 1;
    set_samples(r, done.samples, done.stop);
    r.warmup = warmups_;
    r.logits_hash = logits_hash_;
    r.tok_s = static_cast<double>(point_.batch * point_.ctx) / *r.value;
    r.cpu_s = spent_.cpu_s / static_cast<double>(done.samples.size());
    if (runs_on_cpu(point_)) r.contention = spent_.wall_s / (spent_.cpu_s / run_.threads);
  }

 private:
  const MeasuringRun& run_;
  Point point_;
  Session& s_;
  int64_t warmups_;
  Elapsed spent_;
  std::string logits_hash_;
};

// --- Decode ---

class DecodeMeasurement : public Measurement {
 public:
  DecodeMeasurement(const MeasuringRun& run, const Point& point, Session& session, double budget_s)
      : run_(run), point_(point), s_(session), budget_s_(budget_s), warmups_(run.plan.warmup.value_or(1)) {}

  void prepare() override {
    fill_cache();
    s_.workload->seek(point_.ctx);
    s_.workload->save_states();
    for (int64_t i = 0; i < warmups_; ++i) {
      s_.workload->decode(std::min<int64_t>(4, point_.gen));
      s_.workload->restore_states();
    }
  }

  double once(int64_t repetition) override {
    s_.workload->restore_states();
    const double cpu = run_.clock.cpu_s();
    const std::vector<double> seconds = decode_steps(run_, *s_.workload, point_.gen, rep_text(repetition));
    cpu_s_.push_back(run_.clock.cpu_s() - cpu);
    steps_.insert(steps_.end(), seconds.begin(), seconds.end());
    // (t_last - t_first) / (steps - 1): the first step is where the clock starts; a single step counts whole.
    return seconds.size() == 1 ? seconds[0] : mean(std::span(seconds).subspan(1));
  }

  void finish(const Repetitions& done, std::span<Result> rows) override {
    Result& r = rows.front();
    const auto reps = static_cast<int64_t>(done.samples.size());
    std::vector<double> samples = done.samples;
    if (reps < StopRule::min_reps && point_.gen >= 32) {
      samples = eighths(reps);
      r.warnings.push_back("W-BLOCKS: samples are means over eighths of " + std::to_string(reps) + " repetition" +
                           (reps > 1 ? "s" : "") + ".");
    }
    set_samples(r, samples, done.stop);
    r.depth_fill = s_.cache == Session::Cache::synthetic ? "synthetic" : "real";
    r.warmup = warmups_;
    r.tpot_s = r.value;
    r.tok_s = static_cast<double>(point_.batch) / *r.value;
    r.step_p50_s = median(steps_);
    if (steps_.size() >= 10) r.step_p90_s = quantile(steps_, 0.9);
    if (steps_.size() >= 100) r.step_p99_s = quantile(steps_, 0.99);
    r.cpu_s = mean(cpu_s_);
    if (s_.repeatable) r.logits_hash = s_.workload->logits_hash();
  }

  void leave() override { s_.workload->restore_states(); }

 private:
  // Too few repetitions for an interval: the means over eighths of each are samples too.
  std::vector<double> eighths(int64_t reps) const {
    std::vector<double> samples;
    for (int64_t i = 0; i < reps * 8; ++i) {
      const auto at = [&](int64_t part) { return static_cast<size_t>((i / 8) * point_.gen + part * point_.gen / 8); };
      samples.push_back(mean(std::span(steps_).subspan(at(i % 8), at(i % 8 + 1) - at(i % 8))));
    }
    return samples;
  }

  // Makes the caches hold point.ctx tokens, outside any timer.
  void fill_cache() {
    const DepthFill fill = run_.plan.depth_fill;
    const bool synthetic = fill == DepthFill::synthetic ||
                           (fill == DepthFill::automatic &&
                            (s_.cache == Session::Cache::synthetic ||
                             (s_.cache == Session::Cache::none && should_estimate(run_, point_, s_, budget_s_ / 2))));
    const Session::Cache wanted = synthetic ? Session::Cache::synthetic : Session::Cache::prefilled;
    // Another prefill would cost as much as the measurement; synthetic filling is a copy.
    if (s_.cache == wanted && s_.cached_ctx == point_.ctx && (s_.repeatable || !synthetic)) return;
    s_.workload->choose_input(0);
    if (synthetic) {
      run_.step("filling caches");
      s_.workload->fill_synthetic(point_.ctx);
    } else {
      s_.workload->reset();
      s_.workload->prefill(point_.ctx, percent_of(run_, point_.ctx, "prefill"));
    }
    s_.cache = wanted;
    s_.cached_ctx = point_.ctx;
    s_.repeatable = true;
  }

  const MeasuringRun& run_;
  Point point_;
  Session& s_;
  double budget_s_;
  int64_t warmups_;
  std::vector<double> steps_, cpu_s_;  // seconds of each step; of each repetition
};

// --- End to end ---

// Shorter outputs are read from the longest one: what they took is known when it has come so far.
class E2eMeasurement : public Measurement {
 public:
  E2eMeasurement(const MeasuringRun& run, std::vector<Point> points, Session& session)
      : run_(run), points_(std::move(points)), s_(session), warmups_(run.plan.warmup.value_or(1)) {
    for (const Point& point : points_) longest_ = std::max(longest_, point.gen);
    seconds_.resize(points_.size());
    steps_s_.resize(points_.size());
  }

  void prepare() override {
    const int64_t prompt = std::min(points_[0].ctx, kWarmupCtx);
    for (int64_t i = 0; i < warmups_; ++i) {
      s_.workload->reset();
      s_.workload->prefill(prompt, percent_of(run_, prompt, "warm-up"));
      s_.workload->decode(std::min<int64_t>(4, longest_ - 1));
    }
  }

  double once(int64_t repetition) override {
    const Point& point = points_[0];
    std::vector<double> total(points_.size());
    for (int64_t w = 0; w < waves(); ++w) {
      const int64_t size = std::min(point.batch, point.requests - w * point.batch);
      Workload part(*s_.engine, size, point.chunk, run_.plan.seed, run_.clock);
      part.choose_input(repetition * waves() + w);
      part.reset();
      const std::string what = rep_text(repetition) + (waves() > 1 ? " wave " + std::to_string(w + 1) : "");
      const double first = part.prefill(point.ctx, percent_of(run_, point.ctx, what + " prefill")).wall_s;
      const std::vector<double> steps = decode_steps(run_, part, longest_ - 1, what);
      ttft_.push_back(first);
      for (size_t i = 0; i < points_.size(); ++i) {
        const auto until = std::span(steps).first(static_cast<size_t>(points_[i].gen - 1));
        total[i] += first + sum(until);
        if (!until.empty()) steps_s_[i].push_back(mean(until));
      }
    }
    if (repetition == 0) logits_hash_ = s_.workload->logits_hash();
    for (size_t i = 0; i < points_.size(); ++i) seconds_[i].push_back(total[i]);
    return *std::max_element(total.begin(), total.end());
  }

  void finish(const Repetitions& done, std::span<Result> rows) override {
    s_.cache = Session::Cache::none;
    for (size_t i = 0; i < rows.size(); ++i) {
      Result& r = rows[i];
      set_samples(r, seconds_[i], done.stop);
      r.warmup = warmups_;
      r.waves = waves();
      r.ttft_s = median(ttft_);
      if (!steps_s_[i].empty()) r.tpot_s = mean(steps_s_[i]);
      r.tok_s = static_cast<double>(points_[i].requests * points_[i].gen) / *r.value;
      if (points_[i].gen != longest_) {
        r.warnings.push_back("W-PREFIX: read from the run of " + std::to_string(longest_) + " tokens, as far as " +
                             std::to_string(points_[i].gen) + ".");
        continue;
      }
      r.logits_hash = logits_hash_;
      r.cpu_s = mean(done.cpu_s);
    }
  }

 private:
  int64_t waves() const { return (points_[0].requests + points_[0].batch - 1) / points_[0].batch; }

  const MeasuringRun& run_;
  std::vector<Point> points_;
  Session& s_;
  int64_t warmups_, longest_ = 1;
  std::vector<double> ttft_;                  // of each wave
  std::vector<std::vector<double>> seconds_;  // [point][repetition]
  std::vector<std::vector<double>> steps_s_;  // [point][wave]: mean step
  std::string logits_hash_;
};

// --- Estimates ---

void plan_with_chunks(const MeasuringRun& run, const Point& point, Session& s) {
  if (s.prefill_times || !can_estimate(point)) return;
  run.step("trying two chunks");
  s.prefill_times = probe_prefill(*s.workload, point.ctx);
  s.cache = Session::Cache::none;
}

// The best of these that is expected to fit; the last one in any case.
EstimateEffort choose_effort(const MeasuringRun& run, const Point& point, const LineFit& times, double budget) {
  std::vector<EstimateEffort> ladder;
  const int64_t anchor = anchor_ctx(point);
  for (const int64_t reps : {9, 7, 5, 4, 3, 2, 1}) ladder.push_back({5, reps, anchor});
  for (const int64_t shorter : {anchor / 2, anchor / 4})
    if (shorter / point.chunk >= 8) ladder.push_back({4, 1, shorter / point.chunk * point.chunk});
  if (run.plan.reps)
    for (EstimateEffort& effort : ladder) effort.reps = *run.plan.reps;
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

}  // namespace

std::unique_ptr<Measurement> make_measurement(const MeasuringRun& run, std::vector<Point> points, Session& session,
                                              double budget_s) {
  const Point point = points.front();
  if (point.phase == "e2e") return std::make_unique<E2eMeasurement>(run, std::move(points), session);
  if (points.size() != 1) throw std::logic_error("measurement: " + point.phase + " takes one point");
  if (point.phase == "prefill") return std::make_unique<PrefillMeasurement>(run, point, session);
  return std::make_unique<DecodeMeasurement>(run, point, session, budget_s);
}

bool should_estimate(const MeasuringRun& run, const Point& point, Session& session, double budget_s) {
  const EstimateMode mode = run.plan.estimate;
  if (mode == EstimateMode::never || mode == EstimateMode::groups) return false;
  if (mode == EstimateMode::automatic && (!runs_on_cpu(point) || !can_estimate(point))) return false;
  plan_with_chunks(run, point, session);
  return mode == EstimateMode::always || sum_over_chunks(*session.prefill_times, point.ctx, point.chunk) > budget_s;
}

void estimate_point(const MeasuringRun& run, const Point& point, Session& s, double budget_s, Result& r) {
  const EstimateEffort effort =
      s.prefill_times ? choose_effort(run, point, *s.prefill_times, budget_s) : EstimateEffort{5, 1, point.ctx};
  const PrefillEstimate e =
      estimate_prefill(*s.workload, point.ctx, effort, runs_on_cpu(point) ? run.threads : 0, run.step);
  s.cache = Session::Cache::synthetic;
  s.cached_ctx = point.ctx;
  s.repeatable = false;  // sampled chunks were written into it
  r.status = r.method = "estimated";
  r.estimator = "chunk";
  r.stop = run.plan.reps ? "fixed" : "budget";
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
  if (runs_on_cpu(point)) r.contention = e.contention;
  r.tok_s = static_cast<double>(point.batch * point.ctx) / e.seconds;
}

void set_samples(Result& r, const std::vector<double>& samples, std::string_view stop) {
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
  if (const auto others = std::count_if(summary.outliers.begin(), summary.outliers.end(),
                                        [&](size_t i) { return i > 0 || !summary.slow_first; });
      others > 0)
    r.warnings.push_back("W-OUTLIER: " + std::to_string(others) + " of " + std::to_string(summary.n) +
                         " samples lie far from the median; they are kept.");
}

}  // namespace ringbench
