// The folder of a run: what is on disk at any moment, who may have it, and how it is gone on with.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>

#include "harness/environment.h"
#include "harness/run_folder.h"
#include "tests/catch.h"
#include "tests/folder.h"
#include "tests/program.h"

using namespace ringbench;
namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

RunPlan plan_named(const std::string& experiment) {
  return {experiment, {"ringbench", experiment}, "sha", "{}", "build"};
}

Result timed(const std::string& phase, const std::string& hybrid, double seconds) {
  Result r;
  r.point_id = "0123456789abcdef";
  r.phase = phase;
  r.hybrid = hybrid;
  r.metric = phase == "prefill" ? "ttft_s" : "tpot_s";
  r.value = seconds;
  r.engine = "reference";
  r.dtype = "f32";
  r.slope_layer_offset = "0";
  r.date = "2026-01-01T12:00:00Z";
  return r;
}

int64_t locks_in(const fs::path& folder) {
  int64_t count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    count += entry.path().filename().string().starts_with("lock");
  return count;
}

}  // namespace

TEST_CASE("a run's folder: every point on disk at once, run.json complete at the end, one line in the index") {
  Folder folder;
  const fs::path results = folder.path / "deep" / "runs";
  fs::path run;
  {
    RunPlan plan = plan_named("throughput");
    plan.argv = {"ringbench", "throughput", "--weights", "/home/somebody/model", "--results=/home/somebody/r"};
    RunFolder r(results, plan);
    run = r.path();
    CHECK(std::regex_match(r.id(), std::regex("[0-9]{8}T[0-9]{6}Z-throughput-[0-9a-f]{4}")));
    Json before = Json::parse(read_file(run / "run.json"));
    CHECK(before["exit_code"].is_null());
    CHECK(before["ended"].is_null());
    r.append(timed("prefill", "3:1", 1));
    CHECK(read_file(run / "points.jsonl") == to_json_line(timed("prefill", "3:1", 1)) + "\n");
    Result failed = timed("decode", "3:1", 1);
    failed.status = "error";
    r.append(failed);
    CHECK(locks_in(results) == 2);  // the machine's and the run's
    CHECK(Json::parse(read_file(run / "plan.json")) == Json::object());
    r.finish(ExitCode::points_failed);
  }
  CHECK(locks_in(results) == 0);
  const std::string text = read_file(run / "run.json");
  const Json info = Json::parse(text);
  CHECK(info["schema"] == "ringbench.run/1");
  CHECK(info["exit_code"] == 1);
  CHECK(info["counts"] == Json({{"error", 1}, {"ok", 1}}));
  CHECK(info["environment"]["physical_cores"] >= 1);
  CHECK(info["environment"]["memory_bytes"] > 0);
  CHECK(info["environment"]["kernel"].get<std::string>().find("Linux") == 0);
  CHECK(text.find("somebody") == std::string::npos);  // no places of this machine
  CHECK(info["argv"][3].get<std::string>().find("model#") == 0);
  CHECK(info["argv"][4].get<std::string>().find("--results=r#") == 0);
  const Json line = Json::parse(read_file(results / "index.jsonl"));
  CHECK(line["run_id"] == info["run_id"]);
  CHECK(line["counts"] == info["counts"]);
}

TEST_CASE("a results folder belongs to one run at a time") {
  Folder folder;
  const auto refusal = [&] {
    try {
      RunFolder second(folder.path, plan_named("prefill"));
    } catch (const UsageError& e) {
      return std::string(e.what()) + "\n" + e.hint;
    }
    return std::string();
  };
  {
    RunFolder first(folder.path, plan_named("prefill"));
    CHECK(refusal().find("is in use by process " + std::to_string(getpid())) != std::string::npos);
    CHECK(locks_in(folder.path) == 2);  // the refused one did not take them away
    RunPlan beside = plan_named("decode");
    beside.in_turn_with = &first;  // of this process, which measures both in turn
    {
      RunFolder second(folder.path, beside);
      CHECK(locks_in(folder.path) == 3);
    }
    CHECK(refusal().find("is in use by process ") != std::string::npos);
  }
  CHECK(refusal().empty());

  // A lock dies with its process: what a killed run leaves behind is no obstacle.
  const pid_t child = fork();
  if (child == 0) {
    RunFolder doomed(folder.path, plan_named("prefill"));
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  CHECK(locks_in(folder.path) == 2);
  CHECK(refusal().empty());
  std::ofstream(folder.path / ("lock-" + host_hash().substr(0, 8))) << "not json";
  CHECK(refusal().empty());
}

TEST_CASE("a run is gone on with by the same plan and build alone, from its last whole line") {
  Folder folder;
  fs::path run;
  const std::string line = to_json_line(timed("prefill", "3:1", 1)) + "\n";
  {
    RunFolder first(folder.path, plan_named("prefill"));
    first.append(timed("prefill", "3:1", 1));
    run = first.path();
  }
  std::ofstream(run / "points.jsonl", std::ios::app) << line.substr(0, 40);  // killed while writing
  {
    RunPlan plan = plan_named("prefill");
    plan.argv.push_back("/home/somebody/plan.json");
    RunFolder again(folder.path, plan, "", false);
    CHECK(again.torn_line());
    CHECK(again.id() == run.filename());
    CHECK(read_file(run / "points.jsonl") == line);
    again.append(timed("decode", "3:1", 1));
    CHECK_THROWS_AS(RunFolder(folder.path, plan_named("prefill"), "", false), UsageError);  // two on one run
    again.finish(ExitCode::ok);
  }
  CHECK(lines_of(read_file(run / "points.jsonl")) == 2);
  CHECK(Json::parse(read_file(run / "run.json"))["counts"] == Json({{"ok", 2}}));  // those of before, too
  CHECK(read_file(run / "run.json").find("somebody") == std::string::npos);
  const auto refusal = [&](const RunPlan& plan, bool mix_builds = false) {
    try {
      RunFolder other(folder.path, plan, run.filename(), mix_builds);
    } catch (const UsageError& e) {
      return std::string(e.what()) + "\n" + e.hint;
    }
    return std::string();
  };
  RunPlan other = plan_named("prefill");
  other.sha = "another";
  CHECK(refusal(other).find("was made for another plan: its points or how they are measured differ") !=
        std::string::npos);
  other = plan_named("prefill");
  other.build = "newer";
  CHECK(refusal(other).find("was measured by another build (build; this is newer).\nAdd --mix-builds") !=
        std::string::npos);
  CHECK(refusal(other, true).empty());
}

TEST_CASE("a disk that fills up: said with what was kept, and no torn line is left") {
  Folder folder;
  const std::string line = to_json_line(timed("prefill", "3:1", 1)) + "\n";
  // A child of our own, since a limit on file sizes cannot be lifted again: one line and a half fit.
  const pid_t child = fork();
  if (child == 0) {
    RunFolder run(folder.path, plan_named("prefill"));
    const rlimit limit = {line.size() * 3 / 2, line.size() * 3 / 2};
    signal(SIGXFSZ, SIG_IGN);  // so that write() fails instead
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(99);
    run.append(timed("prefill", "3:1", 1));
    try {
      run.append(timed("prefill", "3:1", 1));
    } catch (const Failure& e) {
      const bool said = std::string(e.what()).find(". 1 point is kept.") != std::string::npos;
      _exit(e.code == ExitCode::environment && said && read_file(run.path() / "points.jsonl") == line ? 0 : 1);
    }
    _exit(2);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("a results folder that cannot be written is refused before anything runs") {
  try {
    RunFolder run("/dev/null/runs", plan_named("prefill"));
    FAIL("a folder was made inside a device");
  } catch (const UsageError& e) {
    CHECK(std::string(e.what()).find("--results: cannot write '/dev/null/runs'") == 0);
    CHECK(std::string(e.what()).find("--no-save") != std::string::npos);
  }
}
