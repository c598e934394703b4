// predict.h: roofline times and memory of a workload on a device, from operator counts (cost.h) and peaks (device.h).
// Each operator takes the larger of its time to compute and its time to move bytes; operators follow each other, none
// overlap. A prediction is never a measurement, and no record holds one as its value.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "harness/cost.h"
#include "harness/device.h"
#include "harness/plan.h"
#include "harness/result.h"

namespace ringbench {

struct Workpoint {
  std::string phase = "prefill";  // prefill decode e2e
  int64_t ctx = 0;                // prompt tokens; for decode the tokens in the cache
  int64_t gen = 0;
  int64_t batch = 1, requests = 1;
  int64_t chunk = 0;  // tokens of a prefill chunk; 0: one shot
  DType dtype = DType::bf16;

  // Positions that one sequence needs.
  int64_t tokens() const { return phase == "prefill" ? ctx : ctx + gen; }
};
Workpoint workpoint_of(const Point& point);

struct PartTime {
  std::string part;  // name_of(Part), or "launch"
  double seconds = 0, flops = 0, bytes = 0;
};

// Of a batch's prefill; of a decode step, the mean over `gen` of them; of all requests of an e2e run, in waves of
// `batch`: the quantities that records hold as ttft_s, tpot_s and e2e_s.
struct Prediction {
  double seconds = 0;
  double flops = 0, bytes = 0;                       // as done, activations included
  double compute_s = 0, memory_s = 0, launch_s = 0;  // of operators that arithmetic, memory or their number limits
  std::string bound;                                 // compute memory launch: the largest of the three
  std::vector<PartTime> parts;
};
// Throws UsageError where the device states no peak for the type.
Prediction predict(const ModelConfig& config, const Workpoint& work, const DeviceModel& device);
// Prompt tokens (prefill) or new tokens (decode, e2e) in each second.
double tokens_per_second(const Workpoint& work, double seconds);

// --- Memory ---

// Weights, caches and states of `batch` sequences at full length, and with an engine's name its workspace too.
Memory memory_need(const ModelConfig& config, const Workpoint& work, const std::string& engine = "");
// How many sequences of so many tokens fit beside the weights and a workspace; 0 if the weights do not.
int64_t sequences_that_fit(const ModelConfig& config, int64_t tokens_each, DType dtype, const DeviceModel& device,
                           int64_t workspace_bytes = 0);

// Decoding `gen` tokens on each of `batch` sequences of `ctx`, started together. With `room`, the bytes for caches and
// states, those that do not fit wait, and of the ones that have grown the furthest go on (nothing is computed twice:
// the best that any scheduler could do).
struct DecodeRun {
  double seconds = 0, tok_s = 0;
  int64_t fewest_at_once = 0;  // sequences that ran together at the tightest moment; 0: not even one fits, no times
  bool waited = false;         // at least one sequence had to
};
DecodeRun decode_run(const ModelConfig& config, const Workpoint& work, const DeviceModel& device,
                     std::optional<double> room = {});

// --- Records ---

// Fills in what follows from config, workload and device before anything runs: flops and bytes (the least that any
// implementation needs, append_cost), analytic cache bytes; with a device also predicted_s, bound and the peaks. flops
// count the parameters of each token without embeddings (mfu_params), and the head where logits are made.
void describe_prediction(Result& result, const ModelConfig& config, const Workpoint& work,
                         const std::optional<DeviceModel>& device);
// Once result.value is there: measured_over_predicted, mfu and mbu, as far as peaks and prediction are known.
void finish_prediction(Result& result);

}  // namespace ringbench
