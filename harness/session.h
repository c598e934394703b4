// session.h: an engine with its weights and caches, which points of one model, batch and context share, and what it
// holds. How it is timed: measurement.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "harness/estimate.h"
#include "harness/plan.h"
#include "harness/workload.h"
#include "reference/engine.h"

namespace ringbench {

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
std::string session_key(const Point& point);

// `max_tokens`: positions that each sequence is planned for.
EngineOptions engine_options(const Plan& plan, const Point& point, int64_t max_tokens, int threads);

// Bytes that measuring the point takes: the engine's, and random keys and values of one layer where caches are filled
// without a prefill.
Memory plan_point_memory(const Plan& plan, const Point& point, int64_t max_tokens, int threads);

// Throws Failure(environment) if the point does not fit into what is free now.
void check_point_memory(const Plan& plan, const Point& point, int64_t max_tokens, int threads);

// As many of point.requests as fit into `limit` bytes; at least 1.
int64_t batch_that_fits(const Plan& plan, Point point, int64_t max_tokens, int threads, int64_t limit);

// Whether a prefill of this length can be estimated from chunks.
bool can_estimate(const Point& point);
// Tokens of the whole prefill that an estimate is held against.
int64_t anchor_ctx(const Point& point);

bool runs_on_cpu(const Point& point);

Session open_session(const Plan& plan, const Point& point, int64_t max_tokens, int threads, Clock& clock);

}  // namespace ringbench
