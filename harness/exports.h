// exports.h: records in the forms that other tools read. csv and sql are result.h's own.
#pragma once

#include <iosfwd>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "harness/records.h"
#include "harness/result.h"

namespace ringbench {

// The names that `runs export --to` takes: csv, sql, llm-d, llama-bench.
std::vector<std::string> export_names();

// llama-bench: the array that `llama-bench -o json` prints: prefill as n_prompt, decode as n_gen at n_depth, e2e as
// both; times in nanoseconds of the whole test. It knows no batches of sequences: rows with more than one are left out.
// llm-d: a stream of benchmark reports, version 0.2, one for each row, as JSON documents in YAML.
// Rows without a number are left out of both. Returns how many were. Throws UsageError for another name.
int64_t write_export(std::ostream& out, const std::string& name, std::span<const Result> results, const RunInfo& run);

}  // namespace ringbench
