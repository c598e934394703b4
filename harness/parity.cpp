// parity.cpp: see parity.h: the levels in order, and what their findings amount to. The command is in
// parity_command.cpp.
#include "harness/parity.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "harness/parity_levels.h"

namespace ringbench {

std::string_view name_of(CheckStatus status) {
  switch (status) {
    case CheckStatus::pass: return "pass";
    case CheckStatus::fail: return "fail";
    case CheckStatus::mistrusted: return "mistrusted";
  }
  return "?";
}

const Check* Findings::first_failure() const {
  const auto found =
      std::find_if(checks.begin(), checks.end(), [](const Check& c) { return c.status == CheckStatus::fail; });
  return found == checks.end() ? nullptr : &*found;
}

bool Findings::mistrusted() const {
  return std::any_of(checks.begin(), checks.end(), [](const Check& c) { return c.status == CheckStatus::mistrusted; });
}

double Findings::worst() const {
  double worst = 0;
  for (const Check& check : checks)
    if (check.budget > 0 && check.value / check.budget > worst) worst = check.value / check.budget;
  return worst;
}

std::vector<int> one_layer_of_each_kind(const ModelConfig& config) {
  std::set<std::pair<LayerType, bool>> seen;
  std::vector<int> layers;
  for (int i = 0; i < config.num_hidden_layers; ++i)
    if (seen.emplace(config.layer_types[static_cast<size_t>(i)], config.is_moe(i)).second) layers.push_back(i);
  return layers;
}

ParityScope quick_scope(std::string_view engine, const ModelConfig& config) {
  ParityScope scope;
  scope.levels = {"layer", "state", "model", "self"};
  if (engine == "cuda") scope.levels.insert(scope.levels.begin(), "op");  // a row's kernels follow its context
  // A whole model in f64 would take longer than what is to be timed.
  constexpr int64_t kWholeModel = 500'000'000;
  if (count_parameters(config).total > kWholeModel) {
    scope.levels = {"layer", "state"};
    scope.layers = one_layer_of_each_kind(config);
    if (engine == "cuda") scope.tokens = scope.chunk = 4224;  // so that the variants of long prompts run
    return scope;
  }
  if (engine != "reference") return scope;
  scope.levels = {"layer", "state", "model"};
  scope.tokens = 37;
  scope.chunk = 16;
  scope.steps = 2;
  return scope;
}

ParityScope full_scope(std::string_view engine, int64_t depth) {
  ParityScope scope;
  scope.levels = {"op", "layer", "state", "model", "self", "yarn", "depth"};
  scope.depth = depth;
  scope.prefilled = engine == "cuda";
  return scope;
}

Findings check_parity(const Subject& subject, const ParityScope& scope) {
  Findings findings;
  References references(subject, scope);
  const auto wanted = [&](const std::string& level) {
    if (subject.one_layer_at_a_time && level != "layer" && level != "state" && level != "yarn") return false;
    return std::find(scope.levels.begin(), scope.levels.end(), level) != scope.levels.end();
  };
  const auto run = [&](const char* level, auto&& check) {
    ParityScope part = scope;
    part.progress = [&scope, level](const std::string& text) { scope.progress(std::string(level) + ": " + text); };
    check(part);
  };
  if (subject.one_layer_at_a_time)
    findings.notes.push_back("the model does not fit into memory: layers are checked one at a time, on random inputs");
  try {
    // Layers first: they name the culprit, the others only the consequence.
    if (wanted("op")) run("op", [&](const ParityScope& part) { check_operators(subject, part, findings); });
    if (wanted("layer") || wanted("state"))
      run("layer", [&](const ParityScope& part) { check_layers(subject, part, "layer", findings); });
    if (wanted("model"))
      run("model", [&](const ParityScope& part) { check_model(subject, part, references, findings); });
    if (wanted("self")) run("self", [&](const ParityScope& part) { check_self(subject, part, references, findings); });
    if (wanted("yarn")) run("yarn", [&](const ParityScope& part) { check_yarn(subject, part, findings); });
    if (wanted("depth") && scope.depth > 0)
      run("depth", [&](const ParityScope& part) { check_depth(subject, part, findings); });
  } catch (const EnoughSeen&) {  // fail_fast
  }
  return findings;
}

}  // namespace ringbench
