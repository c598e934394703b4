#include "harness/layer_groups.h"

#include <algorithm>
#include <vector>

#include "harness/estimate.h"

namespace ringbench {
namespace {

// Layers after which the pattern repeats, so that the depth is a multiple of it.
int layers_per_group(const ModelConfig& config) {
  const std::vector<LayerType>& types = config.layer_types;
  for (size_t period = 1; period < types.size(); ++period)
    if (types.size() % period == 0 &&
        std::equal(types.begin() + static_cast<int64_t>(period), types.end(), types.begin()))
      return static_cast<int>(period);
  return static_cast<int>(types.size());
}

Point at_depth(const Point& point, int groups) {
  Point shallow = point;
  shallow.config = point.config.with_layers(groups * layers_per_group(point.config));
  shallow.config_sha = shallow.config.sha();
  return shallow;
}

}  // namespace

void estimate_by_layer_groups(const Point& point, const std::function<bool(const Point&)>& fits,
                              const std::function<Result(const Point&)>& measure, Result& r) {
  const int size = layers_per_group(point.config), groups = point.config.num_hidden_layers / size;
  const auto refuse = [](const std::string& why) {
    throw Failure(ExitCode::environment, "E-ESTIMATE: " + why, "Use a smaller --ctx or --batch.");
  };
  if (point.phase == "e2e") refuse("layer groups estimate prefill and decode, not e2e.");
  int more = (groups + 1) / 2;
  while (more > 1 && !fits(at_depth(point, more))) --more;
  const int fewer = more / 2;
  if (fewer < 1 || fewer * size <= point.config.first_k_dense_replace)
    refuse(std::to_string(groups) + " groups of " + std::to_string(size) +
           " layers: no two shallower models of them can be measured.");
  const Result shallow = measure(at_depth(point, fewer)), deep = measure(at_depth(point, more));
  const auto time_of = [](int depth, const Result& part) {
    return TimeOf{depth, *part.value, part.ci95_low.value_or(*part.value), part.ci95_high.value_or(*part.value)};
  };
  const TimeOf whole = estimate_by_groups(time_of(fewer, shallow), time_of(more, deep), groups);
  r.status = r.method = "estimated";
  r.estimator = "group";
  r.stop = deep.stop;
  r.value = whole.seconds;
  if (shallow.ci95_low && deep.ci95_low) r.ci95_low = whole.ci95_low, r.ci95_high = whole.ci95_high;
  for (size_t i = 0; i < std::min(shallow.samples.size(), deep.samples.size()); ++i) {
    const double a = shallow.samples[i], b = deep.samples[i];
    r.samples.push_back(estimate_by_groups({fewer, a, a, a}, {more, b, b, b}, groups).seconds);
  }
  r.n = static_cast<int64_t>(r.samples.size());
  r.warmup = deep.warmup;
  r.est_points = 2;
  r.est_work_share = static_cast<double>(fewer + more) / groups;
  r.depth_fill = deep.depth_fill;
  r.tok_s = static_cast<double>(point.batch * (point.phase == "prefill" ? point.ctx : 1)) / *r.value;
  if (point.phase == "decode") r.tpot_s = r.value;
  r.cpu_s = shallow.cpu_s.value_or(0) + deep.cpu_s.value_or(0);
  r.contention = deep.contention;
  r.weights = deep.weights;
  r.kernels = deep.kernels;
  r.parity = deep.parity;
  r.parity_certificate = deep.parity_certificate;
  r.parity_worst = deep.parity_worst;
  r.parity_depth = deep.parity_depth;
  r.parity_missing = deep.parity_missing;
  r.warnings.push_back("W-GROUPS: estimated from models of " + std::to_string(fewer) + " and " + std::to_string(more) +
                       " of " + std::to_string(groups) +
                       " layer groups, on the line through their times (caches that a shallower model fits into "
                       "bend it; the interval does not know); its bytes are planned, not allocated.");
}

}  // namespace ringbench
