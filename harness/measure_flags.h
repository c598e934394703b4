// measure_flags.h: the flags that measuring commands share, as a Plan. The grids of a sweep are read by them too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "harness/arguments.h"
#include "harness/plan.h"

namespace ringbench {

// Everything but `argv`. Throws UsageError for values that mean nothing, Failure(environment) for an engine or type
// that this build or machine lacks.
Plan read_plan(const Arguments& a, Command command);

// Single flags that other commands have too.
int parse_small_count(const Arguments& a, const std::string& flag, int64_t minimum);
int parse_threads(const Arguments& a);
uint64_t parse_seed(const Arguments& a);
Format parse_format(const std::string& word);
ColorWhen parse_color(const Arguments& a);
// --kernel operator=variant, for engines that have a choice. Throws UsageError naming what there is.
std::vector<std::string> parse_kernels(const std::vector<std::string>& texts, const std::vector<std::string>& engines);

}  // namespace ringbench
