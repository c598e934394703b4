// parity.h: whether an engine computes what the model is. The truth is the reference in f64; what may differ is in
// budget.h. Each level looks at the candidate from another side and hands back checks; the command `parity` runs the
// levels, prints them and keeps a certificate (certificate.h).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/plan.h"
#include "reference/engine.h"

namespace ringbench {

enum class CheckStatus { pass, fail, mistrusted };  // mistrusted: the truth is too plain for agreement to mean much
std::string_view name_of(CheckStatus status);

struct Check {
  std::string name;    // "layer 3 attn_ctx"
  std::string level;   // op layer model state self depth yarn
  int layer = -1;      // -1: no single layer
  std::string metric;  // rel_rms kld_mean kld_p99 kld_max flips bitwise bf16_share shape
  double value = 0, budget = 0;
  CheckStatus status = CheckStatus::pass;
  std::string text;  // for people
};

// What is under test. Everything about the truth (config, weights, angles, routing) and how to make the candidate.
struct Subject {
  std::string engine;  // name, for people and certificates
  ModelConfig config;
  const Weights* weights = nullptr;
  EngineOptions options;  // of the candidate; each level sets slots and max_tokens
  uint64_t seed = 0;      // of input tokens and synthetic states
  // The candidate for a config (the subject's own, or one with another YaRN) and options.
  std::function<std::unique_ptr<Engine>(const ModelConfig&, const EngineOptions&)> make;
  // The candidate is the reference's layers, one at a time and on random inputs: of a model that does not fit into
  // memory. Levels layer, state and yarn only.
  bool one_layer_at_a_time = false;
};

// How far to look.
struct ParityScope {
  std::vector<std::string> levels = {"self", "model", "layer", "state"};
  int64_t tokens = 151;     // of the prompt: two chunks of 64 and a bit
  int64_t chunk = 64;       // how the prompt is cut
  int64_t steps = 4;        // single-token steps after it
  int64_t depth = 0;        // of level depth; 0: not looked at
  bool prefilled = false;   // the depth is filled by prefill, not by imported states
  std::vector<int> layers;  // empty: all
  bool fail_fast = false;   // end at the first check that fails
  bool bisect = false;      // model level: follow the stream and name the first layer that adds too much
  std::function<void(const std::string&)> progress = [](const std::string&) {};
};

struct Findings {
  std::vector<Check> checks;
  std::vector<std::string> notes;    // counted flips, tensors that the engine does not show
  std::vector<std::string> kernels;  // "operator=variant" that ran, sorted
  int64_t depth = 0;                 // tokens in the cache where it was longest
  std::vector<int> layers;           // looked at one by one, sorted

  const Check* first_failure() const;
  bool mistrusted() const;
  double worst() const;  // largest value / budget
};

// Thrown by Findings' keepers when fail_fast has seen enough; check_parity() catches it.
struct EnoughSeen {};

// Runs the scope's levels on the subject.
Findings check_parity(const Subject& subject, const ParityScope& scope);

// What --parity quick looks at before a measurement: seconds on a GPU; of the reference, which is the model's
// definition in f32, a short prompt; of models with billions of parameters, one layer of each kind.
ParityScope quick_scope(std::string_view engine, const ModelConfig& config);
// All levels, with a depth of `depth` tokens.
ParityScope full_scope(std::string_view engine, int64_t depth);

// --- The command ---

struct ParityRequest {
  std::string model = "auto", config_file, weights;  // as in Plan
  std::string hybrid = "model";
  std::string yarn = "auto";
  std::optional<SlopeLayerOffset> slope_layer_offset;
  std::string engine;  // empty: cuda where there is one, else emulated
  std::optional<DType> dtype;
  std::vector<std::string> kernels;
  RopeAngles rope_angles = RopeAngles::f64;
  Routing routing = Routing::measured;
  int threads = 0;
  uint64_t seed = 0;
  std::vector<std::string> levels = {"quick"};
  std::vector<int64_t> ctx;  // empty: the scope's
  std::vector<int64_t> layers;
  std::optional<int64_t> chunk;
  bool fail_fast = false, bisect = false, self_test = false;
  std::vector<std::string> ablate;  // not empty: precision ablation instead
  std::string save, load;           // folder or file of dumps
  std::string names;                // file of golden names for the tensors of `load`
  Format format = Format::table;
  std::vector<std::string> outputs;
  std::string results = "results/runs";
  bool keep = true;  // records
  bool quiet = false, verbose = false, progress = true;
};

// Returns ok; throws Failure(parity) when a check failed, after everything was printed and kept.
ExitCode run_parity(const ParityRequest& request);

}  // namespace ringbench
