// parity_operators.cpp: level op: every variant of every operator at this model's shapes. Each is forced in turn, and
// the layers that use it are recomputed as level layer does; prompt and single steps apart where a variant takes only
// one of them. (Awkward shapes, one kernel at a time: tests/cuda.)
#include <algorithm>

#include "cuda/gpu.h"
#include "harness/engines.h"
#include "harness/parity_levels.h"

namespace ringbench {
namespace {

// The model cut after the last of one_layer_of_each_kind, where it can be: less to make and to walk.
ModelConfig shallow(const ModelConfig& config) {
  const int depth = one_layer_of_each_kind(config).back() + 1;
  if (depth == config.num_hidden_layers) return config;
  try {
    const ModelConfig cut = config.with_layers(depth);
    if (std::equal(cut.layer_types.begin(), cut.layer_types.end(), config.layer_types.begin())) return cut;
  } catch (const ConfigError&) {  // no rule that gives another depth
  }
  return config;
}

struct PromptShape {
  int64_t tokens, steps, chunk;
};
constexpr int64_t kLongPrompt = 4224;  // what variants for long pieces and many tokens an expert begin with, and a bit

}  // namespace

void check_operators(const Subject& subject, const ParityScope& scope, Findings& findings) {
  Subject one = subject;
  one.config = shallow(subject.config);
  ParityScope part = scope;
  part.levels = {"layer", "state"};
  part.fail_fast = false;
  part.layers = one_layer_of_each_kind(one.config);
  part.progress = [](const std::string&) {};
  std::vector<PromptShape> shapes = {
      {scope.tokens, scope.steps, scope.chunk}, {scope.tokens, 0, scope.chunk}, {1, scope.steps, scope.chunk}};
  if (subject.engine == "cuda") shapes.push_back({kLongPrompt, 0, kLongPrompt});  // an emulator would take minutes
  std::string declined;                                                           // names
  for (const std::string& line : engine_kernels(subject.engine)) {
    const size_t colon = line.find(": ");
    const std::string op = line.substr(0, colon);
    std::string rest = line.substr(colon + 2);
    while (!rest.empty()) {
      const std::string name = op + "=" + rest.substr(0, rest.find(", "));
      rest = rest.find(", ") == std::string::npos ? "" : rest.substr(rest.find(", ") + 2);
      one.options.kernels = {name};
      scope.progress(name);
      Findings found;
      bool ran = false;
      for (const PromptShape& shape : shapes) {
        part.tokens = shape.tokens;
        part.steps = shape.steps;
        part.chunk = shape.chunk;
        try {
          check_layers(one, part, "layer", found);
          ran = true;
        } catch (const GpuError&) {
          throw;
        } catch (const Failure&) {
          throw;
        } catch (const std::runtime_error&) {  // it does not take such rows
          continue;
        }
        if (shape.steps > 0) break;
      }
      if (!ran || std::find(found.kernels.begin(), found.kernels.end(), name) == found.kernels.end()) {
        declined += (declined.empty() ? "" : ", ") + name;
        continue;
      }
      // One check for each variant: what failed first, else what came nearest to its budget.
      const Check* worst = found.first_failure();
      for (const Check& check : found.checks)
        if (found.first_failure() == nullptr && check.budget > 0 &&
            (worst == nullptr || check.value / check.budget > worst->value / worst->budget))
          worst = &check;
      if (worst == nullptr) continue;
      Check check = *worst;
      check.text = check.name + ": " + check.text;
      check.name = name;
      check.level = "op";
      check.layer = -1;
      for (const std::string& kernel : found.kernels)
        if (std::find(findings.kernels.begin(), findings.kernels.end(), kernel) == findings.kernels.end())
          findings.kernels.push_back(kernel);
      std::sort(findings.kernels.begin(), findings.kernels.end());
      keep(findings, scope, std::move(check));
    }
  }
  if (!declined.empty()) findings.notes.push_back("op: not run at this model's shapes: " + declined);
}

}  // namespace ringbench
