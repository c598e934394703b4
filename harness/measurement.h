// measurement.h: one point being timed, repetition by repetition: a prefill, decode steps at a depth, or both end to
// end. Which points, in which order and how often is run.cpp's business; how repetitions become a number measure.h's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "harness/measure.h"
#include "harness/plan.h"
#include "harness/result.h"
#include "harness/session.h"

namespace ringbench {

inline constexpr int64_t kWarmupCtx = 8 * 1024;  // tokens of a warm-up's prompt at most

// What a measurement knows of the run that it is part of.
struct MeasuringRun {
  const Plan& plan;
  Clock& clock;
  int threads = 1;
  // Hears what is going on, between two pieces of work; may throw (Interrupted, TimedOut).
  std::function<void(const std::string&)> step;
};

// Thrown by `step` when a point has taken far longer than it may and has no repetition yet.
struct TimedOut {};

class Measurement {
 public:
  virtual ~Measurement() = default;
  virtual void prepare() = 0;                                                // fills caches, warms up
  virtual double once(int64_t repetition) = 0;                               // the sample, in seconds
  virtual void finish(const Repetitions& done, std::span<Result> rows) = 0;  // a row for each of the points
  // After the engine was asked what it holds: puts the session back to where its next point expects it.
  virtual void leave() {}
};

// `points` share the session and differ in `gen` alone; all but e2e take one.
std::unique_ptr<Measurement> make_measurement(const MeasuringRun& run, std::vector<Point> points, Session& session,
                                              double budget_s);

// Whether a prefill's full length would not fit into the budget. Finds out by running two chunks.
bool should_estimate(const MeasuringRun& run, const Point& point, Session& session, double budget_s);
// Estimates a prefill from chunks and describes it. Throws Failure, Interrupted, TimedOut.
void estimate_point(const MeasuringRun& run, const Point& point, Session& session, double budget_s, Result& row);

// The number, its interval and its samples.
void set_samples(Result& row, const std::vector<double>& samples, std::string_view stop);

}  // namespace ringbench
