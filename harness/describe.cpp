#include "harness/describe.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "harness/engines.h"
#include "harness/environment.h"
#include "harness/predict.h"
#include "harness/telemetry.h"
#include "harness/words.h"

namespace ringbench {
namespace {

// Worst layer for reach and peak, mean over layers for spread.
void describe_experts(const Report& report, Result& r) {
  if (report.expert_tokens.empty()) return;
  int64_t least_hit = std::numeric_limits<int64_t>::max();
  double worst = 0, cv = 0;
  for (const auto& [layer, tokens] : report.expert_tokens) {
    const double mean = static_cast<double>(std::accumulate(tokens.begin(), tokens.end(), int64_t{0})) /
                        static_cast<double>(tokens.size());
    double squares = 0;
    for (const int64_t n : tokens) squares += std::pow(static_cast<double>(n) / mean - 1, 2);
    least_hit = std::min(
        least_hit, static_cast<int64_t>(std::count_if(tokens.begin(), tokens.end(), [](int64_t n) { return n > 0; })));
    worst = std::max(worst, static_cast<double>(*std::max_element(tokens.begin(), tokens.end())) / mean);
    cv += std::sqrt(squares / static_cast<double>(tokens.size())) / static_cast<double>(report.expert_tokens.size());
  }
  r.experts_hit = least_hit;
  r.expert_load_max_over_mean = worst;
  r.expert_load_cv = cv;
}

}  // namespace

Result describe_point(const Plan& plan, const Point& point, const RunFacts& facts) {
  const ModelConfig& config = point.config;
  Result r;
  r.point_id = point.id;
  r.experiment = facts.experiment;
  r.phase = point.phase;
  r.engine = row_engine(point);
  if (point.replica > 0) r.replica_of = point.engine;
  r.model = config.name;
  r.config_sha = point.config_sha;
  r.hybrid = point.hybrid;
  r.layers = config.num_hidden_layers;
  r.linear_layers = config.count(LayerType::linear_attention);
  r.softmax_layers = r.layers - r.linear_layers;
  r.slope_layer_offset = name_of(config.slope_layer_offset);
  const ParameterCounts parameters = count_parameters(config);
  r.params_total = parameters.total;
  r.params_active = parameters.active;
  r.params_active_non_embedding = parameters.active_non_embedding;
  r.weights = point.checkpoint.empty() ? (plan.dummy == Dummy::zero ? "dummy:zero" : "dummy:scaled")
                                       : point.checkpoint.filename().string();
  r.seed = static_cast<int64_t>(plan.seed);
  r.ctx = point.ctx;
  r.ctx_label = token_label(point.ctx);
  r.gen = point.gen;
  Workpoint work = workpoint_of(point);
  r.batch = work.batch = std::max<int64_t>(1, own_share(point, point.batch));
  if (point.memory_limit > 0) r.memory_limit_bytes = point.memory_limit;
  r.requests = work.requests = own_share(point, point.requests);
  r.chunk = point.chunk;
  r.dtype = r.kv_dtype.emplace(name_of(point.dtype));
  if (r.linear_layers > 0) r.state_dtype = name_of(point.dtype == DType::f64 ? DType::f64 : DType::f32);
  if (point.yarn_original > 0) r.yarn_factor = point.yarn_factor, r.yarn_original = point.yarn_original;
  r.trained_window = config.trained_window();
  r.routing = plan.routing == Routing::uniform ? "uniform" : "measured";
  r.input_seed = static_cast<int64_t>(plan.seed);
  r.isl_actual = point.ctx;
  r.osl_actual = point.phase == "prefill" ? 1 : point.gen;
  r.threads = facts.threads;
  if (is_served(point.engine)) {  // what it computes in, and how, is its own affair
    if (!plan.dtype) r.dtype = "unknown";
    if (point.checkpoint.empty()) r.weights = plan.served_model.empty() ? "served" : plan.served_model;
    r.kv_dtype = r.state_dtype = std::nullopt;
    r.chunk = r.threads = std::nullopt;
    r.rate = plan.rate;
    const bool known = point.replica == 0 || point.requests == point.batch;  // else free streams take what is next
    if (!plan.rate && known) r.concurrency = r.batch;
  }
  r.metric = point.phase == "prefill" ? "ttft_s" : point.phase == "decode" ? "tpot_s" : "e2e_s";
  r.warnings = point.warnings;
  if (point.beyond_window) r.flags += 'X';
  r.repro = repro_command(plan, point);
  r.device = facts.device;
  r.commit = facts.commit;
  r.tags = plan.tags;
  if (point.error.empty()) describe_prediction(r, config, work, facts.peaks);
  return r;
}

void describe_memory(const Memory& memory, Result& r) {
  r.weights_bytes = memory.weights;
  r.kv_bytes = memory.kv;
  r.state_bytes = memory.state;
  r.workspace_bytes = memory.workspace;
}

void describe_engine(const Session& s, const Report& report, Result& r) {
  r.weights = s.weights->label();
  r.weights_fingerprint = s.weights->fingerprint();
  describe_memory(report.memory, r);
  r.peak_process_bytes = peak_process_bytes();
  r.kernels = report.kernels;
  describe_experts(report, r);
}

void set_flags(Result& r, double ci) {
  if (r.value) {
    if (r.method == "estimated") r.flags += 'E';
    if (r.parity != "pass") r.flags += 'U';
    if (r.depth_fill == "synthetic") r.flags += 'S';
    if (r.routing == "uniform") r.flags += 'R';
    if (is_throttled(r.throttle)) r.flags += 'T';
    const bool wide = r.ci95_low && (*r.ci95_high - *r.ci95_low) / 2 > ci * *r.value;
    if (wide || r.contention.value_or(1) > 1.2) r.flags += 'N';
  }
  std::sort(r.flags.begin(), r.flags.end());
}

}  // namespace ringbench
