// sweep.h: plans of several grids, by name (configs/sweeps) or from a file, as the command lines of measuring commands
// that they stand for. What the flags mean is measure_flags.h's business, how points are measured run.h's.
#pragma once

#include <iosfwd>
#include <string>
#include <utility>
#include <vector>

#include "harness/plan.h"

namespace ringbench {

// One grid: a measuring command with its flags and the values that the plan gives them.
struct SweepGrid {
  Command command = Command::prefill;
  std::string on;                   // "cpu", "gpu": for such engines alone; empty: for all
  std::vector<std::string> models;  // a grid for each; empty: the model of the command line
  std::vector<std::pair<std::string, std::vector<std::string>>> flags;  // {"--ctx", {"512..384k*2"}}, {"--full", {}}
};

struct SweepPlan {
  std::string name;         // of runs and records
  std::string description;  // what it asks, one or two sentences
  std::vector<SweepGrid> grids;
  std::string text;  // the file
};

std::vector<std::string> sweep_names();  // of configs/sweeps, sorted
// Throws UsageError: an unknown name with the nearest one; a file that is not there; an unknown key or a wrong value,
// naming file, grid and key.
SweepPlan read_sweep(const std::string& name);
SweepPlan read_sweep_file(const std::string& file);

void write_sweeps(std::ostream& out);  // names and descriptions, for people

// The words of each grid's command line: its flags, but for those that `given` (words of the sweep's own command line,
// flags first) names too, then `given`. `cpu`: whether the engines are CPUs. Throws UsageError if no grid is for them.
struct SweepWords {
  Command command;
  std::vector<std::string> words;
};
std::vector<SweepWords> words_of_grids(const SweepPlan& plan, const std::vector<std::string>& given, bool cpu);

}  // namespace ringbench
