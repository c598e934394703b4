// report_command.cpp: run_report of report.h: finds and reads the runs, has the figures drawn, writes the page.
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <optional>
#include <set>

#include "harness/report.h"
#include "harness/words.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;

// A folder that is gone afterwards.
struct TemporaryFolder {
  fs::path path = fs::temp_directory_path() / ("ringbench-report-" + std::to_string(getpid()));
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

void read_into(ReportInput& input, const fs::path& path) {
  ReportRun run;
  run.is_file = fs::is_regular_file(path);
  if (run.is_file) {
    run.info.path = path;
    run.info.id = path.filename().string();
  } else {
    run.info = read_run(path);
  }
  std::vector<Result> rows = read_records(path, &run.notes);
  run.rows = rows.size();
  std::move(rows.begin(), rows.end(), std::back_inserter(input.rows));
  input.runs.push_back(std::move(run));
}

// Those of the runs, and of the folder that they share those that a row names.
void read_certificates_into(ReportInput& input) {
  std::set<std::string> named, have;
  for (const Result& row : input.rows)
    if (row.parity_certificate) named.insert(*row.parity_certificate);
  for (const ReportRun& run : input.runs) {
    const fs::path folder = run.is_file ? run.info.path.parent_path() : run.info.path;
    for (Certificate& certificate : read_certificates(folder / "parity"))
      if (have.insert(certificate.id).second) input.certificates.push_back(std::move(certificate));
    for (Certificate& certificate : read_certificates(folder.parent_path() / "parity"))
      if (named.contains(certificate.id) && have.insert(certificate.id).second)
        input.certificates.push_back(std::move(certificate));
  }
}

// A page without one of its pictures says so, and is still a page.
std::vector<DrawnFigure> draw_or_note(const Strings& names, const FigureRows& rows, const FigureOptions& options) {
  std::vector<DrawnFigure> figures(names.size());
  const auto guarded = [&](size_t i, const auto& draw) {
    try {
      draw();
    } catch (const Failure& e) {
      std::cerr << "warning: figure " << names[i] << " was not drawn: " << e.what() << "\n";
      figures[i].id = figures[i].title = names[i];
      figures[i].note = "drawing it failed";
    }
  };
  std::vector<std::optional<FigureInProgress>> begun(names.size());
  for (size_t i = 0; i < names.size(); ++i) guarded(i, [&] { begun[i].emplace(names[i], rows, options); });
  for (size_t i = 0; i < names.size(); ++i)
    if (begun[i]) guarded(i, [&] { figures[i] = begun[i]->finish(); });
  return figures;
}

fs::path output_of(const ReportRequest& request, const ReportInput& input) {
  if (!request.output.empty()) return request.output;
  if (input.runs.size() > 1) return fs::path(request.results) / "report.html";
  const ReportRun& run = input.runs.front();
  return (run.is_file ? run.info.path.parent_path() : run.info.path) / "report.html";
}

void refuse_unwritable(const fs::path& path) {
  const std::ofstream file(path, std::ios::app);  // creates it, and changes nothing that is there
  if (!file)
    throw UsageError("--output: cannot write '" + path.string() + "': " + std::strerror(errno) +
                     ". Name another file with -o FILE.html.");
}

void write_page(const fs::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::trunc | std::ios::binary);
  file << text;
  file.flush();
  if (!file)
    throw Failure(ExitCode::environment,
                  "--output: writing '" + path.string() + "' failed: " + std::strerror(errno) + ".");
}

}  // namespace

ExitCode run_report(const ReportRequest& request) {
  const bool markdown = request.output.ends_with(".md");
  if (!request.output.empty() && !markdown && !request.output.ends_with(".html"))
    throw UsageError("--output: '" + request.output + "' does not say its form. Use FILE.html or FILE.md.");

  ReportInput input;
  std::set<fs::path> paths;
  for (const std::string& run : request.runs.empty() ? Strings{""} : request.runs)
    if (const fs::path path = find_run(run, request.results); paths.insert(fs::weakly_canonical(path)).second)
      read_into(input, path);
  read_certificates_into(input);
  const fs::path output = output_of(request, input);
  refuse_unwritable(output);

  TemporaryFolder temporary;
  FigureOptions options;
  options.formats = {"svg"};
  options.folder = markdown ? output.parent_path() / "figures" : temporary.path;
  const FigureRows rows(input.rows);
  input.figures = draw_or_note(figure_names(), rows, options);
  input.claims = judge_claims(input.rows);

  const Document page = make_report(input);
  write_page(output, markdown ? to_markdown(page, output.parent_path()) : to_html(page));
  if (!request.quiet)
    std::cout << "report: " << output.string() << "  (" << input.rows.size() << " rows, " << input.claims.size()
              << " claims)\n";
  return ExitCode::ok;
}

}  // namespace ringbench
