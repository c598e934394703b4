// figure_rows.h: records as figures look at them: what each says in a field, by number, and which row is another's
// baseline. Made once for all figures of a run; what no figure asks for is never worked out.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "harness/result.h"
#include "harness/speedup.h"

namespace ringbench {

// A field of all rows. Equal texts have equal codes; a code is the place of its text.
struct FigureColumn {
  std::vector<uint32_t> codes;  // by row
  Strings texts;                // as field_text() of figure_file.h, in the order in which they first appear
};

class FigureRows {
 public:
  FigureRows() = default;
  FigureRows(const std::vector<Result>& rows) : rows_(rows) {}  // `rows` must outlive this

  std::span<const Result> all() const { return rows_; }
  const Result& operator[](size_t row) const { return rows_[row]; }
  const FigureColumn& column(const std::string& field) const;

  // The row that `row` is to be compared with, or null. `over`: "twin", its softmax twin (speedup.h), or a model: the
  // same workload on the same machine. `row` is one of all().
  const Result* baseline_of(const Result& row, const std::string& over) const;

 private:
  using Baselines = std::unordered_map<std::string, const Result*>;

  std::span<const Result> rows_;
  mutable std::map<std::string, FigureColumn> columns_;
  mutable std::vector<const Result*> twins_;         // by row; empty until asked for
  mutable std::map<std::string, Baselines> models_;  // by model
};

}  // namespace ringbench
