// speedup.h: which row is another's baseline, and how many times faster one is, with an interval.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "harness/result.h"

namespace ringbench {

// Of two times, baseline over row: above 1, the row is faster.
struct Ratio {
  double value = 1;
  Maybe<double> low, high;  // 95 %; empty where one of the rows has no interval
  bool estimated = false;   // one of the two is
  bool paired = false;      // the interval is from pairs of interleaved repetitions
};

// The interval follows from those of both rows as if independent: the logarithms of their ends add in squares. Rows of
// one run that were interleaved: from their pairs (statistics.h). Both rows need a value.
Ratio speed_up(const Result& row, const Result& baseline);
// The same without its interval, which takes a hundred times longer where it is from pairs.
Ratio bare_speed_up(const Result& row, const Result& baseline);
std::string ratio_text(const Ratio& ratio);  // "3.50x [3.48, 3.53]", "~3.90x"

// Rows by what they measured, to find the one with another layer layout.
class Twins {
 public:
  // `rows` must outlive this.
  explicit Twins(std::span<const Result> rows);
  // The row with softmax attention in every layer that differs from `row` in nothing else: same model, depth, phase,
  // workload, engine, type, device, and batch or, where the batch was chosen to fill memory, the same memory. Null:
  // there is none, or `row` is one itself.
  const Result* softmax_of(const Result& row) const;

 private:
  std::map<std::string, const Result*> softmax_;
};

}  // namespace ringbench
