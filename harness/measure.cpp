// measure.cpp: see measure.h. Medians and order statistics only: times have long tails on one side, so means and
// normal intervals would describe neither the typical run nor its uncertainty.
#include "harness/measure.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <ctime>
#include <numeric>
#include <stdexcept>

#include "harness/statistics.h"

namespace ringbench {

double Clock::wall_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double Clock::cpu_s() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

namespace {

double quantile_of_sorted(const std::vector<double>& sorted, double q) {
  const double position = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(position);
  if (below + 1 >= sorted.size()) return sorted.back();
  return std::lerp(sorted[below], sorted[below + 1], position - static_cast<double>(below));
}

// Indices whose modified z score, 0.6745 |x - median| / MAD, is above 3.5 (Iglewicz and Hoaglin 1993).
std::vector<size_t> find_outliers(std::span<const double> samples, double median) {
  std::vector<double> deviations;
  for (const double x : samples) deviations.push_back(std::abs(x - median));
  const double mad = quantile(deviations, 0.5);
  std::vector<size_t> outliers;
  for (size_t i = 0; i < samples.size(); ++i)
    if (0.6745 * std::abs(samples[i] - median) > 3.5 * mad && mad > 0) outliers.push_back(i);
  return outliers;
}

}  // namespace

double mean(std::span<const double> samples) {
  return std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(samples.size());
}

double quantile(std::vector<double> samples, double q) {
  if (samples.empty()) throw std::invalid_argument("quantile: no samples");
  std::sort(samples.begin(), samples.end());
  return quantile_of_sorted(samples, q);
}

std::optional<double> Summary::relative_half_width() const {
  if (!ci95_low || !ci95_high || median == 0) return std::nullopt;
  return (*ci95_high - *ci95_low) / 2 / std::abs(median);
}

Summary summarize(std::span<const double> samples) {
  if (samples.empty()) throw std::invalid_argument("summarize: no samples");
  if (!std::all_of(samples.begin(), samples.end(), [](double x) { return std::isfinite(x); }))
    throw std::invalid_argument("summarize: a sample is not finite");
  std::vector<double> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end());

  Summary s;
  s.n = static_cast<int64_t>(sorted.size());
  s.median = quantile_of_sorted(sorted, 0.5);
  s.min = sorted.front();
  s.max = sorted.back();
  if (const auto ranks = median_interval_ranks(s.n)) {
    s.ci95_low = sorted[static_cast<size_t>(ranks->first - 1)];
    s.ci95_high = sorted[static_cast<size_t>(ranks->second - 1)];
  }
  if (s.n >= 10) s.p90 = quantile_of_sorted(sorted, 0.90);
  if (s.n >= 100) s.p99 = quantile_of_sorted(sorted, 0.99);
  s.outliers = find_outliers(samples, s.median);
  s.slow_first = !s.outliers.empty() && s.outliers.front() == 0 && samples[0] == s.max;
  return s;
}

std::string_view StopRule::reason_to_stop(std::span<const double> samples, double elapsed_s) const {
  const auto n = static_cast<int64_t>(samples.size());
  if (reps) return n >= *reps ? "fixed" : "";
  if (n == 0) return "";
  if (n >= min_reps && summarize(samples).relative_half_width().value_or(ci + 1) <= ci) return "ci";
  const double one_more = elapsed_s / static_cast<double>(n);
  if (n >= max_reps || elapsed_s + one_more > budget_s) return "budget";
  return "";
}

Repetitions repeat(const StopRule& rule, Clock& clock, const std::function<double(int64_t)>& once) {
  Repetitions r;
  const double start = clock.wall_s();
  while (r.stop.empty() && !(interrupted() && !r.samples.empty())) {
    const double wall = clock.wall_s(), cpu = clock.cpu_s();
    r.samples.push_back(once(static_cast<int64_t>(r.samples.size())));
    r.wall_s.push_back(clock.wall_s() - wall);
    r.cpu_s.push_back(clock.cpu_s() - cpu);
    r.stop = rule.reason_to_stop(r.samples, clock.wall_s() - start);
  }
  return r;
}

// --- Signals ---

namespace {

std::atomic<int> received_signal{0};

extern "C" void on_signal(int signal_number) {
  int none = 0;
  if (received_signal.compare_exchange_strong(none, signal_number)) return;
  _exit(128 + signal_number);
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() { return received_signal.load() != 0; }
int interrupting_signal() { return received_signal.load(); }

}  // namespace ringbench
