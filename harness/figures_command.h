// figures_command.h: the command `figures`: which runs, which figures, and what is said about each. Drawing: figure.h.
#pragma once

#include <filesystem>
#include <iosfwd>

#include "harness/failure.h"
#include "harness/figure.h"

namespace ringbench {

struct FiguresRequest {
  Strings figures;  // names and files; empty: all of configs/figures
  Strings runs;     // empty: the latest
  std::filesystem::path results = "results/runs";
  FigureOptions options;  // an empty folder: figures/ in the folder of the first run
};

// Draws them. What was written goes to `out`, what could not be drawn to `err`. Throws UsageError, and
// Failure(environment) if a figure that was asked for by name has no rows.
ExitCode run_figures(const FiguresRequest& request, std::ostream& out, std::ostream& err);

// `--format`: each of svg, png, pdf, tex. Throws UsageError.
void check_figure_formats(const Strings& formats);

}  // namespace ringbench
