#include "harness/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <system_error>
#include <utility>

#include "harness/environment.h"
#include "harness/line_file.h"
#include "harness/records.h"
#include "harness/words.h"
#include "reference/sha256.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

UsageError cannot_write(const fs::path& path) {
  return UsageError("--results: cannot write '" + path.string() + "': " + std::strerror(errno) +
                    ". Give --results another folder, or --no-save.");
}

// Absolute paths may name people: what stays is the last part, and a hash that tells two of them apart.
std::string without_place(const std::string& argument) {
  const size_t path = argument.starts_with('/')                  ? 0
                      : argument.find("=/") == std::string::npos ? argument.size()
                                                                 : argument.find("=/") + 1;
  if (path == argument.size()) return argument;
  const std::string place = argument.substr(path);
  return argument.substr(0, path) + (fs::path(place) / "").parent_path().filename().string() + "#" +
         sha256_hex(place).substr(0, 8);
}

// Appends in one write, so that two machines that share the folder do not mix their lines.
bool append_line(const fs::path& path, const std::string& line) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) return false;
  const bool written = write_all(file, line + "\n") && fsync(file) == 0;
  close(file);
  return written;
}

}  // namespace

// --- Locks ---

// The file is removed at the end while it is still locked: whoever opened it before that finds, once it has the lock,
// that its name is gone or another file's, and tries again.
FileLock::FileLock(fs::path path, const std::string& what) : path_(std::move(path)) {
  for (;;) {
    file_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file_ < 0) throw cannot_write(path_);
    if (flock(file_, LOCK_EX | LOCK_NB) != 0) {
      const bool held = errno == EWOULDBLOCK;
      const UsageError error = cannot_write(path_);
      close(file_);
      if (!held) throw error;
      std::ifstream in(path_);
      const Json holder = Json::parse(in, nullptr, false);
      const bool known = holder.is_object() && holder.contains("pid") && holder["pid"].is_number_integer();
      const bool elsewhere = holder.is_object() && holder.value("host", host_hash()) != host_hash();
      throw UsageError(
          "--results: '" + what + "' is in use by process " +
              (known ? std::to_string(holder["pid"].get<int64_t>()) : std::string("?")) +
              (elsewhere ? " on another machine." : "."),
          "Wait for it, or give --results another folder: runs at the same time would disturb each other.");
    }
    struct stat opened {
    }, named{};
    if (fstat(file_, &opened) == 0 && stat(path_.c_str(), &named) == 0 && opened.st_ino == named.st_ino) break;
    close(file_);
  }
  const Json holder = {{"pid", getpid()}, {"host", host_hash()}};
  if (ftruncate(file_, 0) == 0 && write_all(file_, holder.dump() + "\n")) return;
  const UsageError error = cannot_write(path_);
  unlink(path_.c_str());
  close(file_);
  throw error;
}

FileLock::~FileLock() {
  unlink(path_.c_str());
  close(file_);
}

// --- The folder ---

std::string resume_command(Strings argv, const std::string& run) {
  if (const auto flag = std::find(argv.begin(), argv.end(), "--resume"); flag != argv.end()) {
    const bool named = flag + 1 != argv.end() && !(flag + 1)->starts_with('-');
    argv.erase(flag, flag + (named ? 2 : 1));
  }
  for (std::string& word : argv) word = shell_word(word);
  if (!argv.empty()) argv[0] = "ringbench";
  return join(argv, " ") + " --resume " + run;
}

std::string make_run_id(const std::string& experiment) {
  std::string time = utc_now();  // 2026-01-01T12:00:00Z -> 20260101T120000Z
  std::erase_if(time, [](char c) { return c == '-' || c == ':'; });
  char digits[8];
  std::snprintf(digits, sizeof digits, "%04x", std::random_device{}() & 0xffffu);
  return time + "-" + experiment + "-" + digits;
}

namespace {

RunPlan without_places(RunPlan plan) {
  for (std::string& argument : plan.argv) argument = without_place(argument);
  return plan;
}

std::string environment_of(const RunPlan& plan) {
  return environment_json(capture_environment(plan.gpu ? GpuDetail::cuda : GpuDetail::none));
}

std::shared_ptr<FileLock> lock_machine(const fs::path& results) {
  std::error_code error;
  fs::create_directories(results, error);
  if (error) {
    errno = error.value();
    throw cannot_write(results);
  }
  return std::make_shared<FileLock>(results / ("lock-" + host_hash().substr(0, 8)), results.string());
}

// points.jsonl; throws UsageError.
std::unique_ptr<LineFile> open_points(const fs::path& run) {
  try {
    return std::make_unique<LineFile>(run / "points.jsonl");
  } catch (const std::system_error& e) {
    errno = e.code().value();
    throw cannot_write(run);
  }
}

}  // namespace

RunFolder::RunFolder(const fs::path& results, const RunPlan& plan)
    : results_(results),
      path_(results / make_run_id(plan.experiment)),
      id_(path_.filename()),
      started_(utc_now()),
      environment_json_(environment_of(plan)),
      plan_(without_places(plan)) {
  locks_.push_back(plan.in_turn_with != nullptr ? plan.in_turn_with->locks_.front() : lock_machine(results_));
  std::error_code error;
  if (!fs::create_directory(path_, error)) throw cannot_write(path_);
  locks_.push_back(std::make_shared<FileLock>(path_ / "lock", path_.string()));
  if (!append_line(path_ / "plan.json", plan_.json) || !append_line(path_ / "run.json", run_json(std::nullopt)))
    throw cannot_write(path_);
  points_ = open_points(path_);
  seal_ = std::make_unique<Seal>(path_);
}

RunFolder::RunFolder(const fs::path& results, const RunPlan& plan, const std::string& run, bool mix_builds)
    : results_(results), environment_json_(environment_of(plan)), plan_(without_places(plan)) {
  path_ = find_run(run, results_);
  if (!fs::is_directory(path_)) throw UsageError("--resume: '" + run + "' is no run's folder.");
  locks_.push_back(plan.in_turn_with != nullptr ? plan.in_turn_with->locks_.front() : lock_machine(results_));
  locks_.push_back(std::make_shared<FileLock>(path_ / "lock", path_.string()));
  std::ifstream in(path_ / "run.json");
  const Json before = Json::parse(in, nullptr, false);
  const auto text = [&](const char* key) {
    return before.is_object() && before.contains(key) && before[key].is_string() ? before[key].get<std::string>()
                                                                                 : std::string();
  };
  id_ = path_.filename().empty() ? path_.parent_path().filename() : path_.filename();
  started_ = text("started");
  if (text("plan_sha") != plan_.sha)
    throw UsageError(
        "--resume: " + id_ + " was made for another plan" +
            (text("command") != plan_.experiment && !text("command").empty()
                 ? " (" + text("command") + ")."
                 : ": its points or how they are measured differ from what is asked for now."),
        "Repeat its command with --resume " + id_ + ": " + [&] {
          Strings words;
          if (before.is_object() && before.contains("argv"))
            for (const Json& word : before["argv"]) words.push_back(word.get<std::string>());
          return join(words, " ");
        }());
  if (text("build") != plan_.build && !mix_builds)
    throw UsageError(
        "--resume: " + id_ + " was measured by another build (" + text("build") + "; this is " + plan_.build + ").",
        "Add --mix-builds to go on all the same: every row names its build. Or start a run anew.");
  points_ = open_points(path_);
  for_each_record(path_, [&](Result&& result) { ++counts_[result.status]; });
  seal_ = std::make_unique<Seal>(path_);
}

RunFolder::~RunFolder() = default;

bool RunFolder::torn_line() const { return points_->was_torn(); }

void RunFolder::append(const Result& result) {
  const std::string line = to_json_line(result);
  try {
    points_->append(line);
  } catch (const std::system_error& e) {
    int64_t kept = 0;
    for (const auto& [status, count] : counts_) kept += count;
    throw Failure(ExitCode::environment, "writing " + points_->path().string() + " failed: " + e.what() + ". " +
                                             std::to_string(kept) +
                                             (kept == 1 ? " point is kept." : " points are kept."));
  }
  ++counts_[result.status];
  seal_->add(line);
}

std::string RunFolder::run_json(const Maybe<ExitCode>& code) const {
  Json run = {{"schema", "ringbench.run/1"}, {"run_id", id_},         {"command", plan_.experiment},
              {"argv", plan_.argv},          {"plan_sha", plan_.sha}, {"build", plan_.build},
              {"started", started_}};
  run["ended"] = code ? Json(utc_now()) : Json(nullptr);
  run["exit_code"] = code ? Json(static_cast<int>(*code)) : Json(nullptr);
  run["counts"] = Json(counts_);
  run["environment"] = Json::parse(environment_json_);
  return run.dump(2, ' ', false, Json::error_handler_t::replace);
}

void RunFolder::finish(ExitCode code) {
  // Under a second name first: a full disk must not cost the run.json that is there.
  const fs::path fresh = path_ / "run.json.new";
  const Json environment = Json::parse(environment_json_);
  const Json line = {{"run_id", id_},
                     {"command", plan_.experiment},
                     {"started", started_},
                     {"ended", utc_now()},
                     {"counts", counts_},
                     {"exit_code", static_cast<int>(code)},
                     {"commit", environment["commit"]},
                     {"device", environment["cpu"]}};
  std::error_code error;
  fs::remove(fresh, error);
  if (append_line(fresh, run_json(code))) {
    fs::rename(fresh, path_ / "run.json", error);
    if (!error && append_line(results_ / "index.jsonl", line.dump())) return;
  }
  const std::string reason = std::strerror(errno);
  fs::remove(fresh, error);
  throw Failure(ExitCode::environment,
                "completing " + path_.string() + " failed: " + reason + ". Its points are kept.");
}

}  // namespace ringbench
