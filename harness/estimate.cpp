#include "harness/estimate.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "harness/failure.h"
#include "harness/statistics.h"
#include "harness/words.h"

namespace ringbench {
namespace {

constexpr double kMaxResidual = 0.05;  // of a chunk from the line, over the mean chunk

// What counts as time: on a CPU that of its threads, which other processes do not lengthen; on a device (threads 0)
// the clock on the wall.
double seconds_of(const Elapsed& elapsed, int threads) {
  return threads > 0 ? elapsed.cpu_s / threads : elapsed.wall_s;
}

// Repetitions of single chunks at several positions.
class ChunkSamples {
 public:
  ChunkSamples(Workload& workload, std::vector<int64_t> positions, int threads)
      : workload_(workload), positions_(std::move(positions)), threads_(threads), seconds_(positions_.size()) {}

  // One chunk at every position.
  void run() {
    for (size_t i = 0; i < positions_.size(); ++i) {
      workload_.seek(positions_[i]);
      const Elapsed elapsed = workload_.prefill(workload_.chunk());
      total_ += elapsed;
      seconds_[i].push_back(seconds_of(elapsed, threads_));
    }
  }

  // Through the median of each position, or through repetition `rep` alone.
  LineFit fit() const {
    return fit_through([](const std::vector<double>& s) { return median(s); });
  }
  LineFit fit(size_t rep) const {
    return fit_through([rep](const std::vector<double>& s) { return s[rep]; });
  }

  // Standard deviation between repetitions over the mean, pooled over positions.
  double noise() const {
    double sum = 0;
    int64_t freedom = 0;
    for (const std::vector<double>& s : seconds_) {
      const double mean = std::accumulate(s.begin(), s.end(), 0.0) / static_cast<double>(s.size());
      for (const double x : s) sum += (x / mean - 1) * (x / mean - 1);
      freedom += static_cast<int64_t>(s.size()) - 1;
    }
    return freedom > 0 ? std::sqrt(sum / static_cast<double>(freedom)) : 0;
  }
  const Elapsed& total() const { return total_; }

 private:
  template <class Choose> LineFit fit_through(const Choose& choose) const {
    std::vector<double> x(positions_.begin(), positions_.end()), y;
    for (const std::vector<double>& s : seconds_) y.push_back(choose(s));
    return fit_line(x, y);
  }

  Workload& workload_;
  std::vector<int64_t> positions_;
  int threads_;
  std::vector<std::vector<double>> seconds_;  // [position][repetition]
  Elapsed total_;
};

}  // namespace

LineFit fit_line(const std::vector<double>& x, const std::vector<double>& y) {
  const auto n = static_cast<double>(x.size());
  if (x.size() < 2 || x.size() != y.size()) throw std::invalid_argument("fit_line: two points or more, as many x as y");
  const double mean_x = std::accumulate(x.begin(), x.end(), 0.0) / n,
               mean_y = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double sxx = 0, sxy = 0, syy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    sxx += (x[i] - mean_x) * (x[i] - mean_x);
    sxy += (x[i] - mean_x) * (y[i] - mean_y);
    syy += (y[i] - mean_y) * (y[i] - mean_y);
  }
  if (!(sxx > 0)) throw std::invalid_argument("fit_line: all x are equal");
  LineFit fit;
  fit.points = static_cast<int64_t>(x.size());
  fit.b = sxy / sxx;
  fit.a = mean_y - fit.b * mean_x;
  double rss = 0, largest = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double residual = y[i] - (fit.a + fit.b * x[i]);
    rss += residual * residual;
    largest = std::max(largest, std::abs(residual));
  }
  fit.r2 = syy > 0 ? 1 - rss / syy : 1;
  fit.residual_max = largest / std::abs(mean_y);
  if (x.size() > 2) {
    const double variance = rss / (n - 2);
    fit.var_b = variance / sxx;
    fit.var_a = variance * (1 / n + mean_x * mean_x / sxx);
    fit.cov_ab = -variance * mean_x / sxx;
  }
  return fit;
}

double student_t95(int64_t degrees_of_freedom) {
  return student_t_quantile(0.975, static_cast<double>(degrees_of_freedom));
}

double sum_over_chunks(const LineFit& line, int64_t ctx, int64_t chunk) {
  const int64_t whole_chunks = ctx / chunk;
  const auto whole = static_cast<double>(whole_chunks), size = static_cast<double>(chunk);
  const double rest = static_cast<double>(ctx % chunk) / size;
  return whole * line.a + line.b * size * whole * (whole - 1) / 2 + rest * (line.a + line.b * whole * size);
}

// Of the 95 % interval in which the next of such values is expected; 0 from a single one.
double half_width_of_next(const std::vector<double>& values) {
  const auto n = static_cast<double>(values.size());
  if (values.size() < 2) return 0;
  double mean = 0, squares = 0;
  for (const double value : values) mean += value / n;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return student_t95(static_cast<int64_t>(values.size()) - 1) * std::sqrt(squares / (n - 1) * (1 + 1 / n));
}

std::vector<int64_t> sample_positions(int64_t ctx, int64_t chunk, int64_t m) {
  const int64_t chunks = ctx / chunk, count = std::min(m, chunks), gaps = std::max<int64_t>(1, count - 1);
  std::vector<int64_t> positions;
  for (int64_t i = 0; i < count; ++i) positions.push_back((i * (chunks - 1) + gaps / 2) / gaps * chunk);
  return positions;
}

LineFit probe_prefill(Workload& workload, int64_t ctx) {
  const int64_t chunk = workload.chunk(), depth = std::max(chunk, ctx / 4 / chunk * chunk);
  workload.fill_synthetic(depth);
  workload.seek(0);
  workload.prefill(chunk);  // warms caches and threads
  workload.seek(0);
  const double shallow = workload.prefill(chunk).wall_s;
  workload.seek(depth);
  const double deep = workload.prefill(chunk).wall_s;
  return fit_line({0.0, static_cast<double>(depth)}, {shallow, deep});
}

PrefillEstimate estimate_prefill(Workload& workload, int64_t ctx, const EstimateEffort& effort, int threads,
                                 const std::function<void(const std::string&)>& step) {
  const int64_t chunk = workload.chunk();
  const auto refuse = [](const std::string& why) {
    throw Failure(ExitCode::points_failed, "E-ESTIMATE: " + why, "Use --estimate never, or another --chunk.");
  };
  const std::vector<int64_t> positions = sample_positions(ctx, chunk, effort.points);
  if (positions.size() < 4)
    refuse(std::to_string(ctx) + " tokens are " +
           (chunk > ctx ? "no whole chunk"
                        : std::to_string(ctx / chunk) + (ctx / chunk == 1 ? " chunk of " : " chunks of ") +
                              std::to_string(chunk)) +
           "; an estimate needs at least 4.");
  PrefillEstimate e;
  e.points = static_cast<int64_t>(positions.size());
  e.anchor_ctx = effort.anchor_ctx;

  // The anchor, whole.
  workload.reset();
  Elapsed spent;
  const Elapsed anchor = workload.prefill(e.anchor_ctx, [&](int64_t done) {
    step("anchor " + std::to_string(done * 100 / e.anchor_ctx) + " % of " + token_label(e.anchor_ctx));
  });
  e.anchor_full_s = seconds_of(anchor, threads);
  spent += anchor;

  // Both estimates from caches of the full depth.
  workload.fill_synthetic(ctx);
  ChunkSamples anchor_samples(workload, sample_positions(e.anchor_ctx, chunk, effort.points), threads);
  ChunkSamples samples(workload, positions, threads);
  const auto repeat_all = [&] {
    step("chunks, rep " + std::to_string(e.reps + 1) + "/" + std::to_string(std::max(effort.reps, e.reps + 1)));
    workload.choose_input(e.reps++);
    anchor_samples.run();
    samples.run();
  };
  while (e.reps < effort.reps) repeat_all();
  // One chunk that something disturbed can spoil a fit: a few more repetitions before it is believed.
  while (samples.fit().residual_max > kMaxResidual && e.reps < effort.reps + 3) repeat_all();
  spent += anchor_samples.total();
  spent += samples.total();
  e.anchor_estimate_s = sum_over_chunks(anchor_samples.fit(), e.anchor_ctx, chunk);
  e.anchor_error = e.anchor_estimate_s / e.anchor_full_s - 1;

  const LineFit line = samples.fit();
  e.seconds = sum_over_chunks(line, ctx, chunk);
  e.r2 = line.r2;
  e.residual_max = line.residual_max;
  e.work_share = static_cast<double>(e.points) * static_cast<double>(chunk) / static_cast<double>(ctx);
  for (int64_t rep = 0; rep < e.reps; ++rep)
    e.samples.push_back(sum_over_chunks(samples.fit(static_cast<size_t>(rep)), ctx, chunk));
  e.cpu_s = spent.cpu_s;
  e.contention = spent.wall_s / seconds_of(spent, threads);
  // Lack of fit is what the repetitions' own scatter does not explain: three standard errors of the slowest chunk.
  const double mean = line.a + line.b * static_cast<double>(positions.front() + positions.back()) / 2;
  const double slowest = line.a + line.b * static_cast<double>(positions.back());
  const double scatter = 3 * samples.noise() * slowest / mean / std::sqrt(static_cast<double>(e.reps));
  if (!(line.residual_max <= std::max(kMaxResidual, scatter)))
    refuse("chunk times do not lie on a line: the worst is " +
           std::to_string(static_cast<int>(100 * line.residual_max)) + " % of the mean chunk away from it.");

  // Where a full run is expected. The sum is linear in (a, b): sum = n a + w b, its variance is the fit's. A full run
  // is one more draw of what makes repetitions differ, and that is mostly common to all chunks of a repetition (clocks
  // drift), so it is taken from whole repetitions, not from chunks as if independent. And on top, not averaged away,
  // what the anchor shows: by how much its full run differs from its estimate.
  LineFit unit_a, unit_b;
  unit_a.a = 1;
  unit_b.b = 1;
  const double n = sum_over_chunks(unit_a, ctx, chunk), w = sum_over_chunks(unit_b, ctx, chunk);
  const double fit_variance = std::max(0.0, n * n * line.var_a + 2 * n * w * line.cov_ab + w * w * line.var_b);
  const double fit_half = student_t95(e.points - 2) * std::sqrt(fit_variance);
  const double run_half = half_width_of_next(e.samples);
  const double half = std::hypot(fit_half, run_half) + std::abs(e.anchor_full_s / e.anchor_estimate_s - 1) * e.seconds;
  e.ci95_low = std::max(0.0, e.seconds - half);
  e.ci95_high = e.seconds + half;
  return e;
}

TimeOf estimate_by_groups(const TimeOf& fewer, const TimeOf& more, int64_t groups) {
  const double beyond = static_cast<double>(groups - more.groups) / static_cast<double>(more.groups - fewer.groups);
  const double seconds = more.seconds + beyond * (more.seconds - fewer.seconds);
  // seconds = (1 + beyond) more - beyond fewer: what widens one of them upwards widens the other downwards.
  const double low =
      std::hypot((1 + beyond) * (more.seconds - more.ci95_low), beyond * (fewer.ci95_high - fewer.seconds));
  const double high =
      std::hypot((1 + beyond) * (more.ci95_high - more.seconds), beyond * (fewer.seconds - fewer.ci95_low));
  return {groups, seconds, seconds - low, seconds + high};
}

}  // namespace ringbench
