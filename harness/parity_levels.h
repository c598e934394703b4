// parity_levels.h: the levels of parity, one function each, and how a check gets into the findings. Internal to
// parity_*.cpp.
#pragma once

#include <set>
#include <span>
#include <string>

#include "harness/budget.h"
#include "harness/parity.h"
#include "harness/parity_reference.h"
#include "harness/parity_walk.h"

namespace ringbench {

// Adds a check; throws EnoughSeen after a failure where the scope says so.
void keep(Findings& findings, const ParityScope& scope, Check check);
// A tensor against the truth, by the budget of what rounding costs (`rounded`), which is at least `floor` times the
// gain. Returns the check for the caller to keep.
Check compare_above(const std::string& level, int layer, const std::string& what, std::span<const double> values,
                    std::span<const double> truth, std::span<const double> rounded, double floor,
                    const Gain& gain = {});
// The same with the floor of float sums of `length` terms.
Check compare(const std::string& level, int layer, const std::string& what, std::span<const double> values,
              std::span<const double> truth, std::span<const double> rounded, double length, const Gain& gain = {});
// Variants that ran since the last call, into the findings.
void collect_kernels(Engine& engine, Findings& findings);
// "layer 3 attn_ctx", or `what` alone without a layer.
std::string check_name(int layer, const std::string& what);

// The first layer of every kind of attention and MLP that the model has, in order.
std::vector<int> one_layer_of_each_kind(const ModelConfig& config);

// op: every kernel variant that the engine lists, forced in turn. Nothing for engines without kernels.
void check_operators(const Subject& subject, const ParityScope& scope, Findings& findings);
// One layer from what an engine showed of it: passes (each with "attn_in", and "mlp_in" where the MLP is to be
// recomputed) that began with an empty state, the streams around it, and the state it ended with (null: not known).
void check_one_layer(const Subject& subject, const ParityScope& scope, int layer, const std::vector<Pass>& passes,
                     const Recording& recording, const LayerState* end, const Precision& precision, Findings& findings);
// layer, state: every sub-block recomputed from the candidate's own inputs, prompt and steps. With `level` yarn the
// same on a subject whose YaRN is another.
void check_layers(const Subject& subject, const ParityScope& scope, const std::string& level, Findings& findings);
// depth: one step over a cache of scope.depth tokens, recomputed from the candidate's own state.
void check_depth(const Subject& subject, const ParityScope& scope, Findings& findings);
// yarn: with a factor whose window the prompt leaves, and without.
void check_yarn(const Subject& subject, const ParityScope& scope, Findings& findings);
// model: each engine walks alone; logits and routing.
void check_model(const Subject& subject, const ParityScope& scope, References& references, Findings& findings);
// self: the candidate against itself, cut otherwise, twice, in company, and by way of exported states.
void check_self(const Subject& subject, const ParityScope& scope, References& references, Findings& findings);

}  // namespace ringbench
