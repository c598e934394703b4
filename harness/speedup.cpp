#include "harness/speedup.h"

#include <cmath>
#include <cstdio>

#include "harness/statistics.h"

namespace ringbench {

Ratio bare_speed_up(const Result& row, const Result& baseline) {
  Ratio ratio;
  ratio.value = *baseline.value / *row.value;
  ratio.estimated = row.method == "estimated" || baseline.method == "estimated";
  const bool in_turn = row.interleaved && baseline.interleaved && row.run_id == baseline.run_id && !ratio.estimated;
  if (in_turn)
    if (const auto paired = ratio_of_paired_medians(row.samples, baseline.samples))
      ratio.value = *paired, ratio.paired = true;
  return ratio;
}

Ratio speed_up(const Result& row, const Result& baseline) {
  Ratio ratio = bare_speed_up(row, baseline);
  if (ratio.paired) {
    const auto interval = ratio_of_pairs(row.samples, baseline.samples);
    ratio.low = interval->low, ratio.high = interval->high;
    return ratio;
  }
  if (!(row.ci95_low > 0.0 && baseline.ci95_low > 0.0)) return ratio;
  const double lower =
      std::hypot(std::log(*baseline.value / *baseline.ci95_low), std::log(*row.ci95_high / *row.value));
  const double upper =
      std::hypot(std::log(*baseline.ci95_high / *baseline.value), std::log(*row.value / *row.ci95_low));
  ratio.low = ratio.value * std::exp(-lower);
  ratio.high = ratio.value * std::exp(upper);
  return ratio;
}

std::string ratio_text(const Ratio& ratio) {
  char text[96];
  int length = std::snprintf(text, sizeof text, "%s%.2fx", ratio.estimated ? "~" : "", ratio.value);
  if (ratio.low)
    std::snprintf(text + length, sizeof text - static_cast<size_t>(length), " [%.2f, %.2f]", *ratio.low, *ratio.high);
  return text;
}

namespace {

// Everything of a row but its layout.
std::string workload_key(const Result& r) {
  std::string key;
  const auto add = [&](const std::string& text) { key += text + "\n"; };
  add(r.model), add(r.phase), add(r.engine), add(r.dtype), add(r.device), add(r.metric), add(r.routing);
  for (const int64_t number : {r.layers, r.ctx, r.gen, r.chunk.value_or(-1), r.requests.value_or(-1), r.seed})
    add(std::to_string(number));
  add(std::to_string(r.yarn_factor.value_or(1)) + ":" + std::to_string(r.yarn_original.value_or(0)));
  add(r.memory_limit_bytes ? "memory " + std::to_string(*r.memory_limit_bytes) : "batch " + std::to_string(r.batch));
  return key;
}

}  // namespace

Twins::Twins(std::span<const Result> rows) {
  for (const Result& row : rows)
    if (row.hybrid == "softmax" && row.linear_layers == 0) softmax_[workload_key(row)] = &row;
}

const Result* Twins::softmax_of(const Result& row) const {
  if (row.hybrid == "softmax") return nullptr;
  const auto found = softmax_.find(workload_key(row));
  return found == softmax_.end() ? nullptr : found->second;
}

}  // namespace ringbench
