// claims.h: what cards and papers claim of the Ring-linear models (configs/claims.json), against what was measured and
// what the cost model predicts, with a verdict and the rule that leads to it. The published numbers themselves:
// published.h.
#pragma once

#include <iosfwd>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "harness/published.h"
#include "harness/result.h"

namespace ringbench {

// What is compared, and in which unit it is stated.
enum class ClaimQuantity {
  speedup,               // time of the baseline over the model's
  time_ratio,            // the reverse; also taken for a cost
  time_change,           // percent
  crossover,             // context from which the speed-up is above 1
  cache_ratio,           // KV cache and recurrent state, model over baseline
  parameters,            // all
  active_parameters,     // of one token
  active_non_embedding,  // of one token, without embedding and head
  score,                 // percent, or percentile
  window,                // tokens
};

// One published number as a claim about inference.
struct Claim {
  std::string id;                 // "lite-ttft-384k"
  std::string text;               // one sentence, in our words
  const PublishedNumber* number;  // model, baseline, workload, device and source are its own
  const PublishedNumber* up_to;   // the other end of a stated range; null: one number
  ClaimQuantity quantity = ClaimQuantity::speedup;
  Maybe<double> memory_gb;       // of the card, where the claim depends on what fits
  std::string caveat;            // what a reader of the verdict has to know; may be empty
  std::string device;            // of configs/devices, for the cost model; empty: it is not asked
  int64_t cards = 1;             // of them, as one of so many times the peaks and the memory
  PublishedConditions workload;  // for the cost model: the number's, with what its source leaves open filled in
};
// In the order in which they are kept. Throws UsageError naming file, place and key.
const std::vector<Claim>& claims();

// One claim and what stands against it.
struct ClaimVerdict {
  std::string id;
  std::string claim;   // one sentence
  std::string source;  // where it is published
  std::string stated;  // "3.5x", "~1/6"
  std::string basis;   // of value: measured, estimated (from samples), computed (counts), predicted (cost model), none
  Maybe<double> value, low, high;  // in `unit`; the ends are those of the 95 % interval
  std::string unit;                // as stated; "x" for a crossover that was measured
  Maybe<double> predicted;         // by the cost model, in the unit stated, whatever else there is
  std::string stated_unit;
  std::string prediction;  // how: device, memory, the ideal machine's
  std::string verdict;     // REPRODUCED, EXCEEDED, NOT REPRODUCED, AMBIGUOUS, TREND ONLY, PREDICTED, UNTESTED
  std::string why;         // in words: model, workload, device, memory
  Strings rows;            // point ids that it rests on
  Strings warnings;        // "W-CODE: text"
};

// Of configs/models.
ModelConfig preset_model(const std::string& name);

// Of every claim, in order. Rows may be of several runs and machines.
std::vector<ClaimVerdict> judge_claims(std::span<const Result> rows);
// The rule, in words: what each verdict needs.
std::string claims_rule();
// "3.62x [3.55, 3.70]", "~ -35.1 %"; empty without a value.
std::string found_text(const ClaimVerdict& verdict);
std::string predicted_text(const ClaimVerdict& verdict);       // of `predicted`
std::string unit_text(double value, const std::string& unit);  // "3.62x", "0.170", "-35.1 %", "8k tokens", "17.05B"

// Where a stated number leaves room for what is found, as speed-ups, bytes saved, parameters or tokens.
struct Band {
  double low = 0, high = 0;
};
inline constexpr double kAboutShare = 0.10;  // of "3.5x", "nearly": why is in claims_rule()
Band band_of(double stated, std::string_view relation);
// REPRODUCED, EXCEEDED, NOT REPRODUCED or AMBIGUOUS: an interval inside, above, below the band, or across its ends.
std::string verdict_of(const Band& band, double low, double high);

// What the cost model says to a claim about time or cache, in the unit stated. Empty where it was given no device.
struct ClaimPrediction {
  double value = 0;
  std::string how;
};
std::optional<ClaimPrediction> predict_claim(const Claim& claim);
// From a speed-up to the unit of a quantity, and back.
double from_speed_up(ClaimQuantity quantity, double speed_up);
double to_speed_up(ClaimQuantity quantity, double stated);

// --- The command ---

struct ClaimsRequest {
  Strings runs;  // as find_run takes them; empty: the latest run of `results`, if there is one
  std::string results = "results/runs";
  bool rule = false;  // print the rule and nothing else
  bool fail_on_not_reproduced = false;
  Format format = Format::table;
  Strings outputs;  // files, by extension
};
// Exit code: ok, or regression.
ExitCode run_claims(const ClaimsRequest& request);
void write_claims(std::ostream& out, Format format, std::span<const ClaimVerdict> verdicts, const Strings& about);

}  // namespace ringbench
