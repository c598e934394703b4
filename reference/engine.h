// engine.h: the door through which harness/ and evals/ use any engine: tokens in, logits out, state in and out.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "reference/config.h"
#include "reference/precision.h"
#include "reference/state.h"
#include "reference/tensor.h"
#include "reference/weights.h"

namespace ringbench {

// Tokens appended to one sequence.
struct Step {
  int slot = 0;
  std::span<const int32_t> tokens;
};

enum class Rows { none, last, all };       // of which tokens logits are wanted
enum class RopeAngles { f64, f32 };        // f32: angle = float(position) * float(inv_freq), as Hugging Face does
enum class Routing { measured, uniform };  // uniform: token t, choice j goes to expert (t k + j) mod E, weights 1/k

// What an engine is made with, beside config and weights.
struct EngineOptions {
  DType dtype = DType::f32;  // arithmetic and KV type
  int64_t chunk = 512;       // tokens of one sequence that go through the layers together; 0: all
  int slots = 1;             // sequences held at once
  int64_t max_tokens = 0;    // positions each slot is planned for; caches are reserved once
  int threads = 0;           // 0: all physical cores
  RopeAngles rope_angles = RopeAngles::f64;
  Routing routing = Routing::measured;
  Precision precision;               // of the reference; other engines round where they must, and say so
  std::vector<std::string> kernels;  // "operator=variant": forced; engines without kernels refuse any
  bool mtp = false;                  // run the MTP layer too, where the model has one
};

// Bytes held or planned, by kind.
struct Memory {
  int64_t weights = 0, kv = 0, state = 0, workspace = 0;
  int64_t total() const { return weights + kv + state + workspace; }
};

// What happened since the last call of report().
struct Report {
  Memory memory;                                      // held now
  std::vector<std::string> kernels;                   // "operator=variant" that ran
  std::map<int, std::vector<int64_t>> expert_tokens;  // layer -> [num_experts]: (token, choice) pairs each expert took
};

// Called after a sub-block: hook(layer, "attn_out", values). Names and shapes as in tests/goldens (golden.json);
// layer -1 is outside the layers: "hidden.0" .. "hidden.L", "final_norm", "mtp.*".
using LayerHook = std::function<void(int layer, std::string_view name, const HostTensorView& values)>;

class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::string_view name() const = 0;  // "reference", "cuda", "emulated"
  virtual const ModelConfig& config() const = 0;

  // Appends each step's tokens to its sequence; sequences are independent, each with its own position. A slot may
  // appear once in a call. Throws std::length_error beyond max_tokens and std::invalid_argument for a bad token id.
  virtual void forward(std::span<const Step> steps, Rows rows) = 0;
  // Logits of the last forward, [rows, vocab_size], f64 or f32, rows in the order of the steps. On the host; valid
  // until the next forward.
  virtual HostTensorView logits() = 0;
  // Logits of the MTP layer for the rows it could complete in the last forward (row t needs token t+1), [n,
  // vocab_size].
  virtual HostTensorView mtp_logits() = 0;
  // Greedy choice of the last forward: arg-max of each logits row, lowest id on ties.
  virtual void argmax(std::span<int32_t> out) = 0;

  virtual int64_t position(int slot) const = 0;
  virtual void reset(int slot) = 0;
  // Moves a sequence to `position`, which it must have reached before: softmax caches are cut there (what lies beyond
  // is kept until overwritten, so that seek can go forward again); recurrent states stay as they are.
  virtual void seek(int slot, int64_t position) = 0;
  // Layer by layer, so that the whole need not fit the host at once. layer == num_hidden_layers is the MTP layer.
  virtual LayerState export_state(int slot, int layer) const = 0;
  virtual void import_state(int slot, int layer, const LayerState& state, int64_t position) = 0;

  virtual Report report() = 0;
  virtual Precision precision() const = 0;

  LayerHook hook;  // if set, called after each sub-block
};

// What every engine's forward() looks at before anything runs, so that a bad call changes nothing; throws as forward()
// says. `slots` and `max_tokens`: what the engine was made with.
void check_steps(const Engine& engine, std::span<const Step> steps, int slots, int64_t max_tokens);

// One decoder layer of the reference alone, with one sequence: fed with a candidate's own inputs it tells which layer
// is wrong, and a model larger than memory can be checked a layer at a time. Types of arguments may be any; results are
// in the reference's own.
class ReferenceLayer {
 public:
  virtual ~ReferenceLayer() = default;
  // x [N, hidden_size], normed ("attn_in"), the next N tokens; returns "attn_out", [N, hidden_size].
  virtual HostTensor attention(const HostTensorView& x) = 0;
  // x [N, hidden_size], normed ("mlp_in"), those of the last attention(); returns "mlp_out", [N, hidden_size].
  virtual HostTensor mlp(const HostTensorView& x) = 0;
  virtual LayerState export_state() const = 0;
  virtual void import_state(const LayerState& state, int64_t position) = 0;

  LayerHook hook;  // "q", "k", "v", "attn_ctx", "topk_ids", ...
};

// options.dtype, rope_angles, routing, precision, threads and max_tokens count.
std::unique_ptr<ReferenceLayer> make_reference_layer(const ModelConfig& config, const Weights& weights, int layer,
                                                     const EngineOptions& options);

// Bytes that a reference engine with these options would hold; nothing is allocated.
Memory plan_reference_memory(const ModelConfig& config, const EngineOptions& options);

// The Eigen engine; dtype f64 or f32.
std::unique_ptr<Engine> make_reference_engine(const ModelConfig& config, const Weights& weights,
                                              const EngineOptions& options);

}  // namespace ringbench
