// figure_script.h: the two files that a picture is made from: its numbers as CSV, and the gnuplot script that draws
// them. Both are text; what is in the picture was decided in figure_data.h.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "harness/figure.h"
#include "harness/figure_data.h"

namespace ringbench {

// One line for each point: panel, series (0-based; the published points and roofs of a panel count on), quantity,
// label, kind, x, x_label, y, ci95_low, ci95_high, n.
std::string figure_csv(const FigureData& data);
// Draws ID.csv, in the folder it lies in, as ID.svg, ID.png, ID.pdf, ID-tex.tex: those of options.formats.
std::string figure_script(const FigureData& data, const std::string& id, const FigureOptions& options);

// The ends of an axis and what stands at it.
struct Ticks {
  double low = 0, high = 1;
  std::vector<std::pair<double, std::string>> labels;
};
// For numbers from `low` to `high`, about `count` labels. Powers of two for tokens and bytes on log axes.
Ticks axis_ticks(Unit unit, bool log, double low, double high, size_t count);

// "3.3in", "84mm", "8.4cm" -> inches; "" -> 7. Throws UsageError.
double parse_width(const std::string& text);

}  // namespace ringbench
