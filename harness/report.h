// report.h: one page of what runs found: speed-ups, figures, claims, every row, failures, environment, and how to
// repeat each row. What is on it is decided here; how it is written in document.h.
#pragma once

#include <string>
#include <vector>

#include "harness/certificate.h"
#include "harness/claims.h"
#include "harness/document.h"
#include "harness/failure.h"
#include "harness/figure.h"
#include "harness/records.h"
#include "harness/result.h"

namespace ringbench {

struct ReportRun {
  RunInfo info;  // of a file of records: its name as the id, and nothing else
  bool is_file = false;
  size_t rows = 0;  // its share of ReportInput::rows, in the order of the runs
  ReadNotes notes;
};

struct ReportInput {
  std::vector<ReportRun> runs;
  std::vector<Result> rows;
  std::vector<ClaimVerdict> claims;
  std::vector<DrawnFigure> figures;
  std::vector<Certificate> certificates;
};
// The page. It depends on nothing else: the same input gives the same page.
Document make_report(const ReportInput& input);

struct ReportRequest {
  Strings runs;  // as find_run takes them; empty: the latest
  std::string results = "results/runs";
  std::string output;  // .html or .md; empty: report.html in the run's folder, of several runs in `results`
  bool quiet = false;  // does not say where it is
};
// Throws UsageError for a run that is not there or an output that cannot be written, Failure(environment) for a full
// disk.
ExitCode run_report(const ReportRequest& request);

}  // namespace ringbench
