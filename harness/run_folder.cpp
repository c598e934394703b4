// run_folder.cpp: RunFolder of result.h: where a run keeps its records, so that a crash loses at most the point that
// was being measured.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <utility>

#include "harness/environment.h"
#include "harness/measure.h"
#include "harness/result.h"
#include "reference/sha256.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Everything or an errno: short writes happen when a disk fills up.
bool write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

UsageError cannot_write(const fs::path& path) {
  return UsageError("--results: cannot write '" + path.string() + "': " + std::strerror(errno) +
                    ". Give --results another folder, or --no-save.");
}

// When a process started, in clock ticks since boot: tells a process from a later one with the same id. Field 22 of
// /proc/PID/stat, counted after the name, which may hold spaces. 0 if there is no such process.
int64_t start_of_process(int64_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(in, line);
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream rest(line.substr(name_end + 1));
  std::string word;
  for (int field = 3; field <= 22; ++field) rest >> word;
  return std::atoll(word.c_str());
}

// Creates the lock, or throws saying who holds it. One run at a time: two would disturb each other's times.
void take_lock(const fs::path& lock, const std::string& run_id) {
  const int file = open(lock.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file >= 0) {
    const Json holder = {
        {"pid", getpid()}, {"start", start_of_process(getpid())}, {"host", host_hash()}, {"run_id", run_id}};
    const bool written = write_all(file, holder.dump() + "\n");
    close(file);
    if (written) return;
    const UsageError error = cannot_write(lock);
    unlink(lock.c_str());
    throw error;
  }
  if (errno != EEXIST) throw cannot_write(lock);

  std::ifstream in(lock);
  const Json holder = Json::parse(in, nullptr, false);
  const auto number = [&](const char* key) {
    return holder.is_object() && holder.contains(key) && holder[key].is_number_integer() ? holder[key].get<int64_t>()
                                                                                         : 0;
  };
  const std::string folder = lock.parent_path().string(), clear = "rm '" + lock.string() + "'";
  const int64_t pid = number("pid");
  if (holder.is_object() && holder.value("host", host_hash()) != host_hash())
    throw UsageError("--results: '" + folder + "' is locked by process " + std::to_string(pid) + " on another machine.",
                     "Give --results another folder; if that run is over: " + clear);
  if (pid > 0 && start_of_process(pid) == number("start"))
    throw UsageError("--results: '" + folder + "' is in use by process " + std::to_string(pid) + ".",
                     "Wait for it, or give --results another folder: runs at the same time would disturb each other.");
  throw UsageError(
      "--results: '" + folder + "' is still locked by process " + std::to_string(pid) + ", which no longer runs.",
      "Its finished points are kept. Clear the lock with: " + clear);
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

Json to_json(const Environment& e) {
  return {{"version", e.version},
          {"commit", e.commit},
          {"dirty", e.commit.ends_with('+')},
          {"build_type", e.build_type},
          {"compiler", e.compiler},
          {"flags", e.flags},
          {"simd", e.simd},
          {"host_hash", e.host_hash},
          {"os", e.os},
          {"kernel", e.kernel},
          {"cpu", e.cpu},
          {"physical_cores", e.physical_cores},
          {"logical_cores", e.logical_cores},
          {"governor", e.governor.empty() ? Json(nullptr) : Json(e.governor)},
          {"memory_bytes", e.memory_bytes},
          {"available_memory_bytes", e.available_memory_bytes},
          {"load_average", e.load_average},
          {"variables", e.variables}};
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

std::string make_run_id(Command command) {
  std::string time = utc_now();  // 2026-01-01T12:00:00Z -> 20260101T120000Z
  std::erase_if(time, [](char c) { return c == '-' || c == ':'; });
  char digits[8];
  std::snprintf(digits, sizeof digits, "%04x", std::random_device{}() & 0xffffu);
  return time + "-" + std::string(name_of(command)) + "-" + digits;
}

RunFolder::RunFolder(const fs::path& results, Command command, const Strings& argv)
    : results_(results),
      lock_(results / "lock"),
      id_(make_run_id(command)),
      command_(name_of(command)),
      started_(utc_now()) {
  path_ = results_ / id_;
  for (const std::string& argument : argv) argv_.push_back(without_place(argument));
  environment_json_ = to_json(capture_environment()).dump(-1, ' ', false, Json::error_handler_t::replace);

  std::error_code error;
  fs::create_directories(results_, error);
  if (error) {
    errno = error.value();
    throw cannot_write(results_);
  }
  take_lock(lock_, id_);
  remove_when_killed(fs::absolute(lock_).string());
  try {
    if (!fs::create_directory(path_, error)) throw cannot_write(path_);
    points_ = open((path_ / "points.jsonl").c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
    if (points_ < 0 || !append_line(path_ / "run.json", run_json(std::nullopt))) throw cannot_write(path_);
  } catch (...) {
    if (points_ >= 0) close(points_);
    unlink(lock_.c_str());
    remove_when_killed("");
    throw;
  }
}

RunFolder::~RunFolder() {
  close(points_);
  unlink(lock_.c_str());
  remove_when_killed("");
}

void RunFolder::append(const Result& result) {
  const off_t before = lseek(points_, 0, SEEK_END);
  if (!write_all(points_, to_json_line(result) + "\n") || fsync(points_) != 0) {
    const std::string reason = std::strerror(errno);
    int64_t kept = 0;
    for (const auto& [status, count] : counts_) kept += count;
    const bool whole_lines = ftruncate(points_, before) == 0;
    throw Failure(ExitCode::environment, "writing " + (path_ / "points.jsonl").string() + " failed: " + reason + ". " +
                                             std::to_string(kept) +
                                             (kept == 1 ? " point is kept" : " points are kept") +
                                             (whole_lines ? "." : ", the last line is torn."));
  }
  ++counts_[result.status];
}

std::string RunFolder::run_json(std::optional<ExitCode> code) const {
  Json run = {
      {"schema", "ringbench.run/1"}, {"run_id", id_}, {"command", command_}, {"argv", argv_}, {"started", started_}};
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
                     {"command", command_},
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
