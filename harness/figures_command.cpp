// figures_command.cpp: see figures_command.h.
#include "harness/figures_command.h"

#include <algorithm>
#include <ostream>
#include <vector>

#include "harness/records.h"
#include "harness/words.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;

// Where pictures of a run go: beside its records.
fs::path figures_folder(const fs::path& run) { return (fs::is_directory(run) ? run : run.parent_path()) / "figures"; }

void report(const DrawnFigure& figure, const FigureOptions& options, std::ostream& out, std::ostream& err) {
  if (figure.csv.empty()) {
    err << "skipped " << figure.id << ": " << figure.note << "\n";
    return;
  }
  Strings endings;
  for (const fs::path& picture : figure.pictures)
    endings.push_back(picture.filename().string().substr(figure.id.size()));
  endings.insert(endings.end(), {".csv", ".gp"});
  out << (options.folder / figure.id).string() << ": " << join(endings, " ") << "\n  " << figure.title << ". "
      << figure.caption << "\n";
}

}  // namespace

void check_figure_formats(const Strings& formats) {
  const Strings known = {"svg", "png", "pdf", "tex"};
  for (const std::string& format : formats)
    if (std::find(known.begin(), known.end(), format) == known.end())
      throw UsageError("--format: '" + format + "' is not one of " + join(known, ", ") + ".");
}

ExitCode run_figures(const FiguresRequest& request, std::ostream& out, std::ostream& err) {
  FigureOptions options = request.options;
  check_figure_formats(options.formats);
  std::vector<Result> rows;
  const Strings runs = request.runs.empty() ? Strings{""} : request.runs;
  for (const std::string& run : runs) {
    const fs::path path = find_run(run, request.results);
    if (options.folder.empty()) options.folder = figures_folder(path);
    std::vector<Result> more = read_records(path);
    if (rows.empty())
      rows = std::move(more);
    else
      std::move(more.begin(), more.end(), std::back_inserter(rows));
  }
  const FigureRows figure_rows(rows);
  bool missing_gnuplot = false;
  int64_t drawn = 0;
  std::vector<FigureInProgress> figures;
  for (const std::string& name : request.figures.empty() ? figure_names() : request.figures)
    figures.emplace_back(name, figure_rows, options);
  for (FigureInProgress& in_progress : figures) {
    const DrawnFigure figure = in_progress.finish();
    report(figure, options, out, err);
    drawn += !figure.csv.empty();
    missing_gnuplot |= !figure.csv.empty() && figure.pictures.empty();
  }
  if (missing_gnuplot)
    err << "no pictures: gnuplot is not installed (apt-get install gnuplot-nox); the .csv and .gp files are there\n";
  if (drawn == 0)
    throw UsageError("figures: nothing of this can be drawn from " + std::to_string(rows.size()) + " rows.");
  return ExitCode::ok;
}

}  // namespace ringbench
