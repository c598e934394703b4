// figure.h: pictures from records, drawn by gnuplot; the numbers (.csv) and the script (.gp) stay beside each picture.
// What a figure shows is a file in configs/figures, or one of the user's own.
#pragma once

#include <filesystem>
#include <future>
#include <string>
#include <vector>

#include "harness/figure_data.h"
#include "harness/figure_rows.h"
#include "harness/result.h"

namespace ringbench {

struct FigureOptions {
  std::string mode = "ratio";                // ratio (to our own softmax twin, same machine) or absolute
  Strings formats = {"svg", "png"};          // of svg png pdf tex
  std::string width;                         // "3.3in"; empty: 7in
  std::filesystem::path folder = "figures";  // made if it is not there
};

struct DrawnFigure {
  std::string id, title;
  std::string caption;  // device, dtype, model; what is estimated; which published points are overlaid
  std::vector<std::filesystem::path> pictures;  // one for each format; empty without gnuplot
  std::filesystem::path csv, gp;
  std::string note;  // not empty: why there is no picture (no row that it could show, gnuplot missing)
};

std::vector<std::string> figure_names();  // of configs/figures, in the order of the report
// `figure`: one of these names, or a file. Throws UsageError for another, Failure(environment) where it cannot write.
DrawnFigure draw_figure(const std::string& figure, const FigureRows& rows, const FigureOptions& options);
// What was collected elsewhere, as options.folder/ID.*.
DrawnFigure draw_figure(const FigureData& data, const std::string& id, const FigureOptions& options);

// The same in two steps, so that gnuplot draws one figure while the next is made ready.
class FigureInProgress {
 public:
  FigureInProgress(const std::string& figure, const FigureRows& rows, const FigureOptions& options);
  FigureInProgress(const FigureData& data, const std::string& id, const FigureOptions& options);
  DrawnFigure finish();  // once

 private:
  void start(const FigureData& data, const FigureOptions& options);

  DrawnFigure figure_;
  std::filesystem::path folder_;
  Strings formats_;
  std::future<bool> gnuplot_;  // of a figure that has rows
};

}  // namespace ringbench
