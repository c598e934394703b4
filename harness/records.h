// records.h: runs and records read back from where result.h wrote them. Not how they are compared (compare.h) or shown.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "harness/result.h"

namespace ringbench {

// run.json, as far as anything asks for it.
struct RunInfo {
  std::filesystem::path path;  // the run's folder
  std::string id, command, started, ended, commit, device;
  Maybe<int64_t> exit_code;               // empty: the run was broken off
  std::map<std::string, int64_t> counts;  // by status
  Strings argv;
  std::string environment_json;  // the object `environment`, as text
};

// RUN as users write it: a run id under `results`, the path of a run's folder, a .jsonl file of records, or empty for
// the latest run of `results`. Throws UsageError saying what was looked for and where, with the nearest id.
std::filesystem::path find_run(const std::string& run, const std::filesystem::path& results);
// All runs of a results folder, oldest first; folders that are none are left out.
std::vector<RunInfo> list_runs(const std::filesystem::path& results);
// Throws UsageError for a folder without run.json or of another schema version.
RunInfo read_run(const std::filesystem::path& folder);

// What was met while reading.
struct ReadNotes {
  int64_t lines = 0;
  int64_t replaced = 0;    // records that a later line of the same point took the place of (a retry)
  bool torn_line = false;  // the last line is not whole: the run was killed while writing it; it is left out
  Strings unknown_fields;  // of a later minor version; ignored
};
// Hands over each record of `path` (a run's folder or a .jsonl file), in file order and without holding more than one;
// a retried point comes more than once. Throws UsageError naming file, line and field for anything that is no record:
// another schema version, a wrong type, a broken line that is not the last.
void for_each_record(const std::filesystem::path& path, const std::function<void(Result&&)>& visit,
                     ReadNotes* notes = nullptr);
// All of them, the last one of each point only.
std::vector<Result> read_records(const std::filesystem::path& path, ReadNotes* notes = nullptr);
// One line. Throws UsageError; `source` is "file:line" for its message.
Result parse_record(std::string_view line, const std::string& source);

// What is unique within a run: point_id, engine, dtype, chunk, metric.
std::string record_key(const Result& result);

}  // namespace ringbench
