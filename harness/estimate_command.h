// estimate_command.h: the command `estimate`: what the cost model says of points, without running anything. The
// sampled measurement of a prefill is estimate.h.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "harness/device.h"
#include "harness/plan.h"
#include "harness/predict.h"
#include "harness/result.h"

namespace ringbench {

struct EstimateRequest {
  std::string model = "auto", config_file, weights;  // as in Plan
  std::vector<std::string> hybrid = {"model", "softmax"};
  std::optional<int64_t> layers;
  std::vector<std::string> phases = {"prefill", "decode"};
  std::vector<int64_t> ctx = {8192}, gen = {128}, batch = {1};
  std::optional<int64_t> requests;       // of e2e; empty: = batch
  std::optional<DType> dtype;            // empty: bf16, or what the device has a peak for
  std::optional<int64_t> chunk;          // empty: the engine's default
  std::string device;                    // a name of configs/devices or a file; empty: this machine
  std::string results = "results/runs";  // where calibrations of this machine are
  Format format = Format::table;         // table, csv or json
};

// One point. No measurement: it is never kept among records.
struct Estimate {
  std::string model, hybrid;
  int64_t layers = 0, linear_layers = 0;
  Workpoint work;
  ParameterCounts parameters;
  Cost least;     // of the metric: prefill, mean decode step, all requests
  Memory memory;  // weights, caches at full length, workspace
  // With a device.
  std::string device, device_kind;
  Maybe<bool> fits;
  Maybe<int64_t> sequences_fit;  // at full length
  Maybe<Prediction> prediction;  // of as much memory as it takes
  // The same work where sequences that do not fit wait; absent where not even one fits.
  Maybe<double> seconds_within_memory;
  // Against the softmax twin of the same request, where there is one: its seconds over these.
  Maybe<double> speedup_equal_batch, speedup_equal_memory;
};

// bf16, f32 or f64: no engine has to have it.
DType parse_estimate_dtype(const std::string& text);
// The device that a request means: empty where it names none and nothing is known about this machine.
std::optional<DeviceModel> device_of(const EstimateRequest& request);
// Throws UsageError for a grid of more than 100000 points and for what expand() would refuse.
std::vector<Estimate> estimate_points(const EstimateRequest& request, const std::optional<DeviceModel>& device);
// Tables end with the speed-ups; csv and json have one flat row for each point, schema ringbench.estimate/1.
void write_estimates(std::ostream& out, Format format, const std::vector<Estimate>& estimates,
                     const std::optional<DeviceModel>& device);
void run_estimate(std::ostream& out, const EstimateRequest& request);

}  // namespace ringbench
