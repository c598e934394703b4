// parity_walk.h: what parity looks at: an engine walking over given tokens, with the tensors it shows on the way, its
// logits and the experts it chose. Nothing is judged here. Internal to parity_*.cpp.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "harness/parity.h"
#include "reference/engine.h"

namespace ringbench {

std::vector<double> to_doubles(const HostTensorView& tensor);
HostTensor copy_of(const HostTensorView& tensor);

// `count` token ids below vocab_size, from the seed.
std::vector<int32_t> random_tokens(const ModelConfig& config, uint64_t seed, int64_t count);

// The candidate's rounding points, as the budget takes them: what it leaves open is f32 unless it computes in f64, and
// the linear state is never less than f32, whatever the engine says (a bf16 state is wrong, not imprecise).
Precision budget_precision(const Engine& candidate, DType dtype);
// Options of the reference that tells the truth, and of the one that shows what rounding costs.
EngineOptions truth_options(const EngineOptions& candidate, const Precision& precision = {});

// One call of a layer: tensors by name, rows first.
using Pass = std::map<std::string, HostTensor>;

// What an engine showed of some layers while it walked: the passes of each in order.
struct Recording {
  std::map<int, std::vector<Pass>> layers;
  std::map<std::string, std::vector<double>> streams;  // "hidden.i", rows of all passes

  // A hook that records the given layers (and the streams before and after them).
  LayerHook hook(const std::set<int>& wanted);
};

// Logits of every token, and who went to which experts.
struct Walk {
  int64_t rows = 0, vocab = 0;
  std::vector<double> logits;                            // [rows, vocab]
  std::map<int, std::vector<std::vector<int>>> experts;  // layer -> [rows] of sorted ids
  std::map<std::string, std::vector<double>> streams;    // "hidden.i" [rows, hidden_size], where asked for
};
// Appends `tokens` to a slot in calls of at most `piece` tokens (0: one), keeping what comes out. `look`: hook for
// experts (and streams), which keeps some engines off their fastest path.
void walk(Engine& engine, int slot, std::span<const int32_t> tokens, int64_t piece, bool look, Walk& into,
          bool streams = false);

}  // namespace ringbench
