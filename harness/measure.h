// measure.h: clocks, repetitions, when to stop, and what the samples say. Not what is measured (run.cpp).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringbench {

// Time in seconds. Virtual so that tests can supply their own.
struct Clock {
  virtual ~Clock() = default;
  virtual double wall_s();  // monotonic
  virtual double cpu_s();   // of the whole process, all threads
};

struct Summary {
  int64_t n = 0;
  double median = 0, min = 0, max = 0;
  std::optional<double> ci95_low, ci95_high;  // of the median; n >= 6
  std::optional<double> p90;                  // n >= 10
  std::optional<double> p99;                  // n >= 100
  std::vector<size_t> outliers;               // by modified z score above 3.5; they stay in the numbers
  bool slow_first = false;                    // the first sample is an outlier above all others: warning W-WARMUP

  // Half of the interval, relative to the median; empty without an interval.
  std::optional<double> relative_half_width() const;
};
// Throws std::invalid_argument if there is no sample or one is not finite.
Summary summarize(std::span<const double> samples);

double mean(std::span<const double> samples);  // of one or more

// Linear interpolation between order statistics; 0 <= q <= 1.
double quantile(std::vector<double> samples, double q);
inline double median(std::vector<double> samples) { return quantile(std::move(samples), 0.5); }

// How many repetitions. `reps` empty: at least 6 and at most 30, ending when the interval is narrow enough or when
// another repetition would not fit into the budget; at least 1 in any case.
struct StopRule {
  std::optional<int> reps;
  double ci = 0.02;
  double budget_s = 600;

  static constexpr int64_t min_reps = 6, max_reps = 30;

  // "ci", "budget" (of time, or max_reps) or "fixed" if the samples so far are enough, else empty. `elapsed_s` is what
  // they took in all, set-up between repetitions included.
  std::string_view reason_to_stop(std::span<const double> samples, double elapsed_s) const;
};

struct Repetitions {
  std::vector<double> samples;  // what `once` returned
  std::vector<double> cpu_s;    // process CPU time of each call
  std::vector<double> wall_s;   // wall time of each call
  std::string stop;             // "ci", "budget", "fixed"; empty if a signal ended it
};
// Calls `once` (repetition number from 0; returns the sample) until the rule is met or interrupted().
Repetitions repeat(const StopRule& rule, Clock& clock, const std::function<double(int64_t)>& once);

// --- Signals ---

// The first SIGINT or SIGTERM only sets a flag, so that the running repetition can finish and be saved; the second
// ends the program at once, with exit code 128 + signal.
void install_signal_handlers();
bool interrupted();
int interrupting_signal();  // SIGINT, SIGTERM, or 0

}  // namespace ringbench
