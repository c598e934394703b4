// case_judge.cpp: see case_judge.h.
#include "harness/case_judge.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "harness/budget.h"
#include "harness/parity_walk.h"

namespace ringbench {
namespace {

using Values = std::vector<double>;

Values gather(const Values& values, const CasePart& part) {
  Values gathered;
  for (const auto& [first, count] : part.runs)
    gathered.insert(gathered.end(), values.begin() + first, values.begin() + first + count);
  return gathered;
}

// Of the values that differ from zero.
double share_of_bf16(const Values& values) {
  int64_t held = 0, all = 0;
  for (const double x : values) {
    if (x == 0 || !std::isfinite(x)) continue;
    ++all;
    held += static_cast<double>(static_cast<float>(bf16(static_cast<float>(x)))) == x;
  }
  return all > 0 ? static_cast<double>(held) / static_cast<double>(all) : 0;
}

// One output: its values, the truth, and the operator with the candidate's roundings.
struct Compared {
  const Values &values, &truth, &rounded;
  double floor;
};

double over_budget(const Discrepancy& d, const Judgement& j) {
  if (!d.masks_agree) return std::numeric_limits<double>::infinity();
  return std::max(d.rms / j.budget, d.max / j.max_budget);
}

// Parts that fail, and the worst of them, in words.
class Failures {
 public:
  void add(const std::string& where, double over, const std::string& text) {
    ++count_;
    if (count_ > 1 && !(over > worst_)) return;
    worst_ = over;
    where_ = where, text_ = text;
  }
  bool none() const { return count_ == 0; }
  std::string text(size_t parts) const {
    if (parts == 1) return text_;
    return std::to_string(count_) + " of " + std::to_string(parts) + " parts, worst " + where_ + ": " + text_;
  }

 private:
  int64_t count_ = 0;
  double worst_ = 0;
  std::string where_, text_;
};

OutputVerdict judge_output(const std::string& name, const Compared& all, const std::vector<CasePart>& parts) {
  OutputVerdict verdict;
  verdict.output = name;
  const Discrepancy whole = discrepancy(all.values, all.truth), unavoidable = discrepancy(all.rounded, all.truth);
  verdict.rms = whole.rms;
  verdict.budget = judge(whole, unavoidable, all.floor).budget;
  Failures failures;
  for (const CasePart& part : parts) {
    const Values values = gather(all.values, part), truth = gather(all.truth, part);
    if (part.untouched) {
      if (!same_bits(values, truth))
        failures.add(part.where, std::numeric_limits<double>::infinity(), "written, though no sequence has it");
      continue;
    }
    for (size_t i = 0; i < truth.size(); ++i)
      if (const double error = std::abs(values[i] - truth[i]); !(error <= verdict.max_abs)) verdict.max_abs = error;
    Discrepancy own = discrepancy(gather(all.rounded, part), truth);
    // What rounding costs is drawn from few numbers where a part is small.
    own.rms = std::max(own.rms, unavoidable.rms);
    own.max = std::max(own.max, unavoidable.max);
    const Discrepancy found = discrepancy(values, truth);
    const Judgement j = judge(found, own, all.floor);
    verdict.over_budget = std::max(verdict.over_budget, over_budget(found, j));
    if (!j.pass) failures.add(part.where, over_budget(found, j), j.text);
  }
  if (!failures.none()) verdict.status = CheckStatus::fail, verdict.text = failures.text(parts.size());
  if (failures.none() && !whole.trustworthy)
    verdict.status = CheckStatus::mistrusted, verdict.text = "the truth is constant or nearly all zeros";
  return verdict;
}

// A state may be float and still hold what bf16 left of it. Returns whether it does.
bool refuse_bf16(const Values& state, const std::vector<CasePart>& parts, OutputVerdict& verdict) {
  Values touched;
  for (const CasePart& part : parts)
    if (!part.untouched) {
      const Values values = gather(state, part);
      touched.insert(touched.end(), values.begin(), values.end());
    }
  const double share = share_of_bf16(touched);
  if (share <= 0.5) return false;
  char text[64];
  std::snprintf(text, sizeof text, "%.0f %% of its values are bf16, expected f32", 100 * share);
  verdict.status = CheckStatus::fail;
  verdict.text += (verdict.text.empty() ? "" : "; ") + std::string(text);
  return true;
}

// Ids: equal or not.
OutputVerdict judge_ids(const std::string& name, const Values& values, const Values& truth) {
  OutputVerdict verdict;
  verdict.output = name;
  int64_t other = 0;
  for (size_t i = 0; i < truth.size(); ++i) other += values[i] != truth[i];
  if (other == 0) return verdict;
  verdict.status = CheckStatus::fail;
  verdict.over_budget = std::numeric_limits<double>::infinity();
  verdict.text = std::to_string(other) + " of " + std::to_string(truth.size()) + " are others";
  return verdict;
}

}  // namespace

CheckStatus CaseVerdict::status() const {
  CheckStatus status = CheckStatus::pass;
  for (const OutputVerdict& output : outputs) {
    if (output.status == CheckStatus::fail) return CheckStatus::fail;
    if (output.status == CheckStatus::mistrusted) status = CheckStatus::mistrusted;
  }
  return status;
}

const OutputVerdict& CaseVerdict::worst() const {
  return *std::max_element(outputs.begin(), outputs.end(), [](const auto& a, const auto& b) {
    const bool a_failed = a.status == CheckStatus::fail, b_failed = b.status == CheckStatus::fail;
    return a_failed != b_failed ? b_failed : a.over_budget < b.over_budget;
  });
}

CaseVerdict judge_case(const OperatorCase& c, const CaseOutputs& outputs, const std::vector<std::string>& rounding) {
  const CaseOperator& op = find_operator(c.op);
  CaseVerdict verdict;
  const auto first = std::find_if(c.truth.begin(), c.truth.end(),
                                  [](const auto& output) { return output.second.dtype() == DType::f64; });
  verdict.rounding = standard_rounding(c, outputs.tensors.at(first->first).dtype());
  apply_rounding(rounding, verdict.rounding);
  const Tensors rounded = op.compute(c, verdict.rounding);
  Budgets budgets;
  bool bf16_state = false;
  for (const auto& [name, tensor] : c.truth) {
    const Values values = to_doubles(outputs.tensors.at(name)), truth = to_doubles(tensor);
    if (tensor.dtype() == DType::i32) {
      verdict.outputs.push_back(judge_ids(name, values, truth));
      continue;
    }
    const std::vector<CasePart> parts = op.parts(c, name);
    OutputVerdict one =
        judge_output(name, {values, truth, to_doubles(rounded.at(name)), float_floor(op.length(c))}, parts);
    if (name == "state" && verdict.rounding.state == Rounding::f32) bf16_state = refuse_bf16(values, parts, one);
    budgets[name] = one.budget;
    verdict.outputs.push_back(std::move(one));
  }
  if (verdict.status() != CheckStatus::fail) return verdict;
  verdict.fault = bf16_state ? "bf16 state: kept in bf16, not in f32" : op.diagnose(c, outputs.tensors, budgets);
  return verdict;
}

}  // namespace ringbench
