// parity_ablation.h: which rounding moves the token probabilities, and how far: the reference in f64 with one point
// rounded at a time against the reference as it is. No candidate, no speeds.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "harness/parity.h"

namespace ringbench {

struct AblationRequest {
  std::vector<std::string> points;  // state kv lm_head router residual norm activations weights, or all
  int64_t tokens = 256;
  int64_t prompts = 3;  // of different tokens
  uint64_t seed = 0;
};

// One rounding point in one type.
struct Ablation {
  std::string point, type;  // "state", "bf16"
  double kld_mean = 0, kld_p99 = 0, kld_max = 0;
  double top1_flips = 0;     // share of tokens whose most likely successor changed
  double delta_logprob = 0;  // mean |change| of the log-probability of the reference's greedy token
  double routing_flips = 0;  // share of tokens that went to other experts in some layer
};

// Throws UsageError for an unknown point. By falling mean divergence.
std::vector<Ablation> run_ablation(const Subject& subject, const AblationRequest& request,
                                   const std::function<void(const std::string&)>& progress);
std::string ablation_text(const std::vector<Ablation>& rows, Format format);
// DIR/<model>.csv, .gp, and where gnuplot is installed .svg and .png; returns lines that say what was written.
std::vector<std::string> write_ablation(const std::vector<Ablation>& rows, const Subject& subject,
                                        const AblationRequest& request, const std::filesystem::path& folder);

}  // namespace ringbench
