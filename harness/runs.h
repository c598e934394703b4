// runs.h: the command `runs`: what is in a results folder: list, show, verify, merge, import, export. How records are
// read: records.h; what a seal is: seal.h.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "harness/failure.h"
#include "harness/result.h"

namespace ringbench {

struct RunsRequest {
  std::string action;  // list show verify merge import export
  Strings words;       // runs, or the file to import
  std::filesystem::path results = "results/runs";
  Format format = Format::table;
  std::string to;  // of export
  Strings outputs;
  bool mix_builds = false;
  ColorWhen color = ColorWhen::automatic;
  Strings argv;
};

// Returns points_failed if verify found something that is not as it was written.
ExitCode run_runs(const RunsRequest& request);

// What is wrong with a run's folder, one line each; `remarks` is what is well or merely odd.
struct RunCheck {
  Strings wrong, remarks;
};
RunCheck check_run(const std::filesystem::path& folder);

// The rows of several runs of one plan as one run. Throws UsageError for different plans, or different builds without
// `mix_builds`.
struct MergedRuns {
  std::filesystem::path path;
  int64_t rows = 0, replaced = 0;
  Strings missing;  // points of the plan that no run has
};
MergedRuns merge_runs(const std::vector<std::filesystem::path>& runs, const RunsRequest& request);

}  // namespace ringbench
