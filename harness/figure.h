// figure.h: pictures from records, drawn by gnuplot; the numbers (.csv) and the script (.gp) stay beside each picture.
// What a figure shows is a file in configs/figures, or one of the user's own.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

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
DrawnFigure draw_figure(const std::string& figure, std::span<const Result> rows, const FigureOptions& options);

}  // namespace ringbench
