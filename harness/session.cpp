#include "harness/session.h"

#include <algorithm>

#include "harness/engines.h"

namespace ringbench {
namespace {

constexpr int64_t kAnchorCtx = 32 * 1024;  // a whole prefill that a CPU affords, long enough for attention to rule

}  // namespace

std::string session_key(const Point& point) {
  return point.engine + " " + std::string(name_of(point.dtype)) + " " + std::to_string(point.chunk) + " " +
         point.config_sha + " " + point.checkpoint.string() + " " + std::to_string(point.batch) + " " +
         std::to_string(point.ctx) + " " + std::to_string(point.grid);
}

bool runs_on_cpu(const Point& point) { return point.engine != "cuda"; }

bool can_estimate(const Point& point) { return point.chunk > 0 && point.ctx / point.chunk >= 8; }

int64_t anchor_ctx(const Point& point) {
  const int64_t chunk = std::max<int64_t>(1, point.chunk);
  return std::min(kAnchorCtx, point.ctx) / chunk * chunk;
}

EngineOptions engine_options(const Plan& plan, const Point& point, int64_t max_tokens, int threads) {
  EngineOptions options;
  options.dtype = point.dtype;
  options.chunk = point.chunk;
  options.slots = static_cast<int>(point.batch);
  options.max_tokens = max_tokens;
  options.threads = threads;
  options.rope_angles = plan.rope_angles;
  options.routing = plan.routing;
  options.kernels = plan.kernels;
  return options;
}

Memory plan_point_memory(const Plan& plan, const Point& point, int64_t max_tokens, int threads) {
  if (is_served(point.engine)) return {};  // not ours to plan
  Memory memory = plan_engine_memory(point.engine, point.config, engine_options(plan, point, max_tokens, threads));
  if (point.phase == "decode" || can_estimate(point))
    memory.workspace +=
        2 * point.tokens() * point.config.num_key_value_heads * point.config.head_dim * size_of(DType::f32);
  return memory;
}

void check_point_memory(const Plan& plan, const Point& point, int64_t max_tokens, int threads) {
  if (!point.error.empty()) return;
  const Memory memory = plan_point_memory(plan, point, max_tokens, threads);
  const int64_t free = engine_free_memory(point.engine);
  if (memory.total() > free)
    throw Failure(ExitCode::environment, too_little_memory(memory, free),
                  "Try a smaller --ctx, --batch or --layers" +
                      std::string(point.dtype == DType::f64 ? ", or --dtype f32." : "."));
}

int64_t batch_that_fits(const Plan& plan, Point point, int64_t max_tokens, int threads, int64_t limit) {
  // What is held grows with the batch, so bisection finds the last one that fits.
  int64_t fits = 0, too_many = point.requests + 1;
  while (too_many - fits > 1) {
    point.batch = fits + (too_many - fits) / 2;
    (plan_point_memory(plan, point, max_tokens, threads).total() <= limit ? fits : too_many) = point.batch;
  }
  return std::max<int64_t>(1, fits);
}

Session open_session(const Plan& plan, const Point& point, int64_t max_tokens, int threads, Clock& clock) {
  Session s;
  s.key = session_key(point);
  s.weights = std::make_unique<Weights>(point.checkpoint.empty() ? Weights::random(point.config, plan.seed, plan.dummy)
                                                                 : Weights::load(point.config, point.checkpoint));
  s.engine = make_engine(point.engine, point.config, *s.weights, engine_options(plan, point, max_tokens, threads));
  s.workload = std::make_unique<Workload>(*s.engine, point.batch, point.chunk, plan.seed, clock);
  return s;
}

}  // namespace ringbench
