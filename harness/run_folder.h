// run_folder.h: the folder that a run keeps its records in, so that a crash loses at most the point that was being
// measured, and so that the run can be gone on with. How records are read back: records.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "harness/result.h"
#include "harness/seal.h"

namespace ringbench {

// Held as long as this lives: by this process alone, and released by the system however the process ends.
class FileLock {
 public:
  // Throws UsageError naming the process that holds it, and `what` it holds: "results/runs".
  FileLock(std::filesystem::path path, const std::string& what);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  std::filesystem::path path_;
  int file_ = -1;
};

class RunFolder;

class LineFile;

// What a run is made for.
struct RunPlan {
  std::string experiment;  // command or sweep
  Strings argv;
  std::string sha;   // over the points and how they are measured: a run is gone on with by the same plan only
  std::string json;  // plan.json: the same for a person
  std::string build;
  bool gpu = false;                         // measured on one: what it is belongs to the environment
  const RunFolder* in_turn_with = nullptr;  // another run of this process in the same DIR, whose lock holds for both
};

// DIR/<run_id>/{run.json, plan.json, points.jsonl, points.sha256}, and one line in DIR/index.jsonl. While the run
// lasts, a lock of this machine on DIR (two runs on it would disturb each other's times; machines that share a folder
// have one each) and one on the run itself.
class RunFolder {
 public:
  // A new one. Throws UsageError if DIR cannot be written or is in use.
  RunFolder(const std::filesystem::path& results, const RunPlan& plan);
  // One to go on with: `run` as find_run() takes it. Throws UsageError if it is another plan's, or another build's and
  // not `mix_builds`. A torn last line is cut off.
  RunFolder(const std::filesystem::path& results, const RunPlan& plan, const std::string& run, bool mix_builds);
  ~RunFolder();  // without finish() the run counts as broken off
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::string& id() const { return id_; }
  const std::filesystem::path& path() const { return path_; }
  bool torn_line() const;  // of points.jsonl, when it was opened

  // Appends one line to points.jsonl and syncs it to the disk. Throws Failure(environment), saying what was kept.
  void append(const Result& result);
  // Completes run.json (end, counts by status, exit code) and adds the run to index.jsonl.
  void finish(ExitCode code);

 private:
  std::string run_json(const Maybe<ExitCode>& code) const;

  std::filesystem::path results_, path_;
  std::string id_, started_, environment_json_;
  RunPlan plan_;
  std::vector<std::shared_ptr<FileLock>> locks_;
  std::map<std::string, int64_t> counts_;  // by status
  std::unique_ptr<Seal> seal_;             // of points.jsonl
  std::unique_ptr<LineFile> points_;
};

// A run id: 20260101T120000Z-throughput-4f2a (UTC, command or sweep, four random hex digits).
std::string make_run_id(const std::string& experiment);

// The command that goes on with a run: `argv`, as it was typed, with --resume.
std::string resume_command(Strings argv, const std::string& run);

}  // namespace ringbench
