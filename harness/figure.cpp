// figure.cpp: see figure.h.
#include "harness/figure.h"

#include <algorithm>
#include <fstream>

#include "harness/figure_file.h"
#include "harness/figure_script.h"
#include "harness/gnuplot.h"
#include "harness/json_names.h"
#include "harness/words.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;

void write_text(const fs::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.close();
  if (!out) throw Failure(ExitCode::environment, "figures: cannot write '" + path.string() + "'.");
}

// "needs rows with phase prefill, metric ttft_s; try: ringbench sweep long-input".
std::string what_it_needs(const FigureFile& figure) {
  Strings conditions;
  for (const auto& [field, values] : figure.rows) conditions.push_back(field + " " + join(values, " or "));
  Strings needed;
  for (const Axis& panel : figure.panels)
    if (!panel.over.empty())
      needed.push_back(panel.over == "twin" ? "each with its softmax twin" : "and rows of " + panel.over);
    else
      needed.push_back("a number for " + panel.quantity.name);
  return "needs rows" + (conditions.empty() ? "" : " with " + join(conditions, ", ")) + ", " + join(needed, " or ") +
         (figure.needs.empty() ? "" : "; try: " + figure.needs);
}

fs::path picture_path(const fs::path& folder, const std::string& id, const std::string& format) {
  return folder / (format == "tex" ? id + "-tex.tex" : id + "." + format);
}

}  // namespace

std::vector<std::string> figure_names() {
  std::vector<std::pair<int64_t, std::string>> figures;
  for (const std::string& name : json_names(configs_folder() / "figures"))
    figures.emplace_back(read_figure(name).order, name);
  std::sort(figures.begin(), figures.end());
  Strings names;
  for (const auto& [order, name] : figures) names.push_back(name);
  return names;
}

FigureInProgress::FigureInProgress(const std::string& figure, const FigureRows& rows, const FigureOptions& options)
    : folder_(options.folder), formats_(options.formats) {
  const FigureFile file = read_figure(figure);
  const FigureData data = collect_figure(file, rows, options.mode);
  figure_.id = file.id;
  figure_.title = file.title;
  if (data.empty()) {
    figure_.note = what_it_needs(file);
    return;
  }
  start(data, options);
}

FigureInProgress::FigureInProgress(const FigureData& data, const std::string& id, const FigureOptions& options)
    : folder_(options.folder), formats_(options.formats) {
  figure_.id = id;
  figure_.title = data.title;
  start(data, options);
}

void FigureInProgress::start(const FigureData& data, const FigureOptions& options) {
  figure_.caption = data.caption;
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error)
    throw Failure(ExitCode::environment,
                  "figures: cannot make the folder '" + folder_.string() + "': " + error.message() + ".");
  figure_.csv = folder_ / (figure_.id + ".csv");
  figure_.gp = folder_ / (figure_.id + ".gp");
  write_text(figure_.csv, figure_csv(data));
  write_text(figure_.gp, figure_script(data, figure_.id, options));
  gnuplot_ = start_gnuplot(folder_, figure_.id + ".gp");
}

DrawnFigure FigureInProgress::finish() {
  if (!gnuplot_.valid()) return std::move(figure_);
  if (gnuplot_.get())
    for (const std::string& format : formats_) figure_.pictures.push_back(picture_path(folder_, figure_.id, format));
  else
    figure_.note =
        "gnuplot is not installed: numbers and script are written, 'gnuplot " + figure_.id + ".gp' draws them";
  return std::move(figure_);
}

DrawnFigure draw_figure(const std::string& figure, const FigureRows& rows, const FigureOptions& options) {
  return FigureInProgress(figure, rows, options).finish();
}

DrawnFigure draw_figure(const FigureData& data, const std::string& id, const FigureOptions& options) {
  return FigureInProgress(data, id, options).finish();
}

}  // namespace ringbench
