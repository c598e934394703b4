// figure_data.h: from records to the lines and points of one figure. Not how they are drawn (figure_script.h).
#pragma once

#include <string>
#include <vector>

#include "harness/figure_file.h"
#include "harness/figure_rows.h"
#include "harness/result.h"

namespace ringbench {

// What a number is. Only `measured` is drawn filled.
enum class PointKind { measured, estimated, computed, stated, derived, roof };
std::string_view name_of(PointKind kind);

struct FigurePoint {
  double x = 0, y = 0;
  Maybe<double> low, high;  // 95 %
  PointKind kind = PointKind::measured;
  Maybe<int64_t> n;  // repetitions behind it
};

struct FigureSeries {
  std::string label;
  size_t style = 0;                 // the same in every panel
  std::vector<FigurePoint> points;  // by x
};

struct FigurePanel {
  Axis axis;
  std::vector<FigureSeries> series;
  std::vector<FigureSeries> roofs;      // of a roofline
  std::vector<FigureSeries> published;  // one point each
};

// Vertical lines of one meaning.
struct FigureMark {
  std::string label;
  Numbers places;
};

struct FigureData {
  std::string title, subtitle, caption;
  Axis x;
  Strings categories;  // where x is a word: x = 0, 1, ... are these
  std::vector<FigurePanel> panels;
  std::vector<FigureMark> marks;
  bool empty() const;
};

// `mode`: ratio or absolute. The rows need not be sorted; several that fall on one place are drawn as their median.
FigureData collect_figure(const FigureFile& figure, const FigureRows& rows, const std::string& mode);

}  // namespace ringbench
