// figure_lines.h: which line of a figure a record belongs to, what the line is called, and its points. What else a
// figure says (marks, published numbers, caption): figure_data.h.
#pragma once

#include <string>
#include <vector>

#include "harness/figure_data.h"
#include "harness/figure_file.h"
#include "harness/figure_rows.h"
#include "harness/result.h"

namespace ringbench {

constexpr size_t max_points = 200;  // of a line: more than a picture can tell apart

// One record where it stands in the figure.
struct Placed {
  size_t index = 0;  // of the row among the rows
  const Result* row = nullptr;
  double x = 0;
  std::vector<Maybe<FigurePoint>> points;  // one for each panel
};

// The lines of a figure, which are the same in all its panels.
struct Lines {
  Strings labels;              // in the order in which they first appear
  std::vector<size_t> styles;  // of each placed row: the place of its line's label
};

// What had to be left out, for the caption.
struct LeftOut {
  bool merged = false, thinned = false;
  size_t lines = 0;
};

bool is_speed_up(const Axis& axis);

// Without the interval of a speed-up, which is worked out for what is drawn only.
Maybe<FigurePoint> point_of(const Result& row, const Axis& axis, const FigureRows& rows);

// "batch 64", "4:1 hybrid": a value that needs no legend of its own.
std::string in_words(const Result& row, const std::string& field);

// The file's fields, those that never belong on one line, and those without which different measurements would fall on
// one another (points of a roofline may). A batch that was chosen to fill the memory changes along a line. Checkpoints
// of one layout are repetitions to a score: they were trained with different seeds.
Strings series_fields(const FigureFile& figure, const FigureRows& rows, const std::vector<Placed>& placed);
// The fields in which the lines of the figure differ; one line alone is named by its layout, or by what the file says
// tells lines apart.
Strings label_fields(const Strings& fields, const FigureRows& rows, const std::vector<Placed>& placed);
// `fields`: those that label them.
Lines lines_by_label(const FigureRows& rows, const std::vector<Placed>& placed, const Strings& fields);

std::vector<FigureSeries> lines_of_panel(const FigureRows& rows, const std::vector<Placed>& placed, const Lines& lines,
                                         size_t panel, const Axis& axis, LeftOut& left_out);
// min(peak, intensity x bandwidth) for each pair of peaks that the rows name.
std::vector<FigureSeries> roofs_of(const std::vector<Placed>& placed);

}  // namespace ringbench
