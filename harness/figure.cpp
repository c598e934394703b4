// figure.cpp: see figure.h.
#include "harness/figure.h"

#include <algorithm>
#include <fstream>

#include "harness/figure_data.h"
#include "harness/figure_file.h"
#include "harness/figure_script.h"
#include "harness/gnuplot.h"
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
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(configs_folder() / "figures", error))
    if (entry.path().extension() == ".json")
      figures.emplace_back(read_figure(entry.path().string()).order, entry.path().stem().string());
  std::sort(figures.begin(), figures.end());
  Strings names;
  for (const auto& [order, name] : figures) names.push_back(name);
  return names;
}

DrawnFigure draw_figure(const std::string& figure, std::span<const Result> rows, const FigureOptions& options) {
  const FigureFile file = read_figure(figure);
  const FigureData data = collect_figure(file, rows, options.mode);
  DrawnFigure drawn;
  drawn.id = file.id;
  drawn.title = file.title;
  if (data.empty()) {
    drawn.note = what_it_needs(file);
    return drawn;
  }
  drawn.caption = data.caption;
  std::error_code error;
  fs::create_directories(options.folder, error);
  if (error)
    throw Failure(ExitCode::environment,
                  "figures: cannot make the folder '" + options.folder.string() + "': " + error.message() + ".");
  drawn.csv = options.folder / (file.id + ".csv");
  drawn.gp = options.folder / (file.id + ".gp");
  write_text(drawn.csv, figure_csv(data));
  write_text(drawn.gp, figure_script(data, file.id, options));
  if (!run_gnuplot(options.folder, file.id + ".gp")) {
    drawn.note = "gnuplot is not installed: numbers and script are written, 'gnuplot " + file.id + ".gp' draws them";
    return drawn;
  }
  for (const std::string& format : options.formats)
    drawn.pictures.push_back(picture_path(options.folder, file.id, format));
  return drawn;
}

}  // namespace ringbench
