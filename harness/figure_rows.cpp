#include "harness/figure_rows.h"

#include "harness/figure_file.h"

namespace ringbench {
namespace {

// Everything of a row but its model and layers.
std::string workload_of_any_model(const Result& r) {
  std::string key;
  for (const std::string& text : {r.phase, r.engine, r.dtype, r.device, r.metric}) key += text + "\n";
  const int64_t batch = r.memory_limit_bytes ? -*r.memory_limit_bytes : r.batch;
  for (const int64_t number : {r.ctx, r.gen, batch, r.requests.value_or(-1)}) key += std::to_string(number) + "\n";
  return key;
}

}  // namespace

const FigureColumn& FigureRows::column(const std::string& field) const {
  const auto [found, first] = columns_.try_emplace(field);
  FigureColumn& column = found->second;
  if (!first) return column;
  std::unordered_map<std::string, uint32_t> codes;
  column.codes.reserve(rows_.size());
  for (const Result& row : rows_) {
    const auto [code, is_new] = codes.try_emplace(field_text(row, field), static_cast<uint32_t>(codes.size()));
    if (is_new) column.texts.push_back(code->first);
    column.codes.push_back(code->second);
  }
  return column;
}

const Result* FigureRows::baseline_of(const Result& row, const std::string& over) const {
  if (over == "twin") {
    if (twins_.empty()) {
      const Twins twins(rows_);
      for (const Result& each : rows_) twins_.push_back(twins.softmax_of(each));
    }
    return twins_[static_cast<size_t>(&row - rows_.data())];
  }
  const auto [of_model, first] = models_.try_emplace(over);
  Baselines& baselines = of_model->second;
  if (first)
    for (const Result& other : rows_)
      if (other.model == over && other.value) baselines[workload_of_any_model(other)] = &other;
  const auto found = baselines.find(workload_of_any_model(row));
  return found == baselines.end() || found->second == &row ? nullptr : found->second;
}

}  // namespace ringbench
