// Sweeps: plans that are read or refused, runs that are broken off and gone on with, parts, waves, turns, time-outs.
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "harness/failure.h"
#include "harness/sweep.h"
#include "tests/catch.h"
#include "tests/folder.h"
#include "tests/json_file.h"
#include "tests/program.h"

using namespace ringbench;
namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

std::string refusal_of(const std::string& json) {
  const Folder folder;
  std::ofstream(folder.path / "mine.json") << json;
  try {
    read_sweep_file((folder.path / "mine.json").string());
  } catch (const UsageError& e) {
    return std::string(e.what()).substr(folder.path.string().size() + 1);
  }
  return "";
}

std::string plan_with(const std::string& grids) {
  return R"({"schema": "ringbench.sweep/1", "grids": [)" + grids + "]}";
}

void write_plan(const fs::path& file, const std::string& grids) { std::ofstream(file) << plan_with(grids); }

std::string key_of(const Json& row) { return row["point_id"].get<std::string>() + row["engine"].get<std::string>(); }

}  // namespace

TEST_CASE("every named sweep can be read, says what it asks, and expands on the engines it is for") {
  const std::vector<std::string> names = sweep_names();
  for (const char* name :
       {"cpu", "decode", "kv-usage", "long-input", "long-output", "peers", "prefill", "ratios", "smoke", "yarn"})
    CHECK(std::find(names.begin(), names.end(), name) != names.end());
  for (const std::string& name : names) {
    INFO(name);
    const SweepPlan plan = read_sweep(name);
    CHECK(plan.description.size() > 20);
    const bool has_cpu =
        std::any_of(plan.grids.begin(), plan.grids.end(), [](const SweepGrid& g) { return g.on != "gpu"; });
    if (!has_cpu) continue;
    const Ran r = run("sweep " + name + " --engine reference --dry-run --json");
    INFO(r.err);
    REQUIRE(r.code == 0);
    for (const Json& row : Json::parse(r.out)) {
      CHECK(row["experiment"] == name);
      CHECK(row["status"] == "skipped");
      CHECK(row["value"].is_null());
    }
  }
  CHECK(run("sweep peers --engine reference --dry-run").code == 2);
}

TEST_CASE("a plan that says what no grid means is refused in one line naming file, grid and key") {
  CHECK(refusal_of("{").starts_with("mine.json: not JSON: "));
  CHECK(refusal_of("[]") == "mine.json: the plan is no object.");
  CHECK(refusal_of(R"({"schema": "ringbench.sweep/2", "grids": []})") ==
        "mine.json: \"schema\" is not \"ringbench.sweep/1\".");
  CHECK(refusal_of(plan_with("")) == "mine.json: \"grids\" is no list of at least one grid.");
  CHECK(refusal_of(R"({"schema": "ringbench.sweep/1", "grid": []})") ==
        "mine.json: the plan has an unknown key \"grid\"; did you mean \"grids\"?.");
  CHECK(refusal_of(plan_with(R"({"command": "fly"})")) ==
        "mine.json: grid 1 needs a \"command\": throughput, prefill, decode or e2e.");
  CHECK(refusal_of(plan_with(R"({"command": "prefill"}, {"command": "prefill", "cxt": 4})")) ==
        "mine.json: grid 2 has an unknown key \"cxt\"; did you mean \"ctx\"?.");
  CHECK(refusal_of(plan_with(R"({"command": "prefill", "ctx": []})")) ==
        "mine.json: grid 1: \"ctx\" is an empty list.");
  CHECK(refusal_of(plan_with(R"({"command": "prefill", "ctx": {"a": 1}})")) ==
        "mine.json: grid 1: \"ctx\" is no text, number or list of them.");
  CHECK(refusal_of(plan_with(R"({"command": "prefill", "seed": [1, 2]})")) ==
        "mine.json: grid 1: \"seed\" takes one value.");
  CHECK(refusal_of(plan_with(R"({"command": "prefill", "full": 1})")) ==
        "mine.json: grid 1: \"full\" is a switch: true or false.");
  CHECK(refusal_of(plan_with(R"({"command": "prefill", "on": "moon"})")) ==
        "mine.json: grid 1: \"on\" is neither \"cpu\" nor \"gpu\".");
  CHECK(refusal_of(plan_with(R"({"command": "prefill", "resume": "x"})")).find("unknown key \"resume\"") !=
        std::string::npos);  // concerns the run, not a grid
  CHECK(refusal_of(plan_with("// a comment\n"
                             R"({"command": "prefill", "ctx": "64,128", "reps": 2})"))
            .empty());
}

TEST_CASE("wrong values inside a plan, and grids that are too large, end before anything runs") {
  const Folder folder;
  const auto error_of = [&](const std::string& grids) {
    write_plan(folder.path / "p.json", grids);
    const Ran r = run("sweep --plan p.json", folder.path);
    CHECK(r.code == 2);
    CHECK(r.out.empty());
    CHECK_FALSE(fs::exists(folder.path / "results"));
    return r.err;
  };
  CHECK(error_of(R"({"command": "prefill", "model": "tiny", "ctx": "384q"})").starts_with("error: --ctx: '384q'"));
  CHECK(error_of(R"({"command": "prefill", "model": "tiny", "ctx": "64,128", "batch": "1,2,4", "zip": "ctx,batch"})") ==
        "error: --zip: ctx has length 2, batch has length 3. Lists that are zipped need the same length.\n");
  CHECK(error_of(R"({"command": "prefill", "model": "tiny", "ctx": "64..4k*2", "where": "ctx>1M"})") ==
        "error: --where: no point of the grid meets every condition.\n");
  CHECK(error_of(R"({"command": "e2e", "model": "tiny", "ctx": "1..9000+1", "gen": "1..9000+1"})")
            .starts_with("error: the grid has 81 000 000 points; the most is 1 000 000.\n"));
  CHECK(run("sweep").err.starts_with("error: sweep: which plan?"));
  CHECK(run("sweep ratio").err.starts_with("error: no sweep 'ratio'. Did you mean ratios?\n"));
  CHECK(run("sweep --plan none.json").err.starts_with("error: --plan: 'none.json' cannot be read."));
}

TEST_CASE("flags of the command line take the place of the plan's") {
  const SweepPlan plan = read_sweep("smoke");
  const auto words = words_of_grids(plan, {"--ctx", "32", "--model", "ring-pico-linear"}, true);
  for (const SweepWords& grid : words) {
    CHECK(std::count(grid.words.begin(), grid.words.end(), "--ctx") == 1);
    CHECK(std::count(grid.words.begin(), grid.words.end(), "--model") == 1);
    CHECK(std::count(grid.words.begin(), grid.words.end(), "tiny") == 0);
  }
  const Ran r = run("sweep smoke --ctx 32 --gen 8 --reps 1 --engine reference --estimate never --dry-run --json");
  REQUIRE(r.code == 0);
  for (const Json& row : Json::parse(r.out)) CHECK(row["ctx"] == 32);
  // Equal points of several grids run once.
  const Folder folder;
  write_plan(folder.path / "p.json", R"({"command": "prefill", "model": "tiny", "ctx": "64,128"},
                                        {"command": "prefill", "model": ["tiny", "tiny"], "ctx": "128,256"})");
  const Ran once = run("sweep --plan p.json --dry-run --json", folder.path);
  REQUIRE(once.code == 0);
  CHECK(Json::parse(once.out).size() == 3);
}

TEST_CASE("kill -9 loses at most the point in flight; --resume measures what is left and nothing twice") {
  const Folder folder;
  const fs::path runs = folder.path / "results/runs";
  write_plan(folder.path / "p.json",
             R"({"command": "prefill", "model": "tiny", "ctx": "16..400+16", "hybrid": "model,softmax", "reps": 3},
                {"command": "decode", "model": "tiny", "ctx": "16,64", "gen": 8, "reps": 6})");
  const size_t all = 2 * 25 + 2;
  std::string before;
  fs::path points;
  for (int killed = 0; killed < 4; ++killed) {  // again and again, at whatever it is doing
    std::vector<std::string> words = {"sweep", "--plan", "p.json"};
    if (killed > 0) words.push_back("--resume");
    const size_t start_with = static_cast<size_t>(lines_of(before));
    const pid_t child = start(words, folder.path);
    const auto done = [&] {
      const fs::path folder_of_run = fs::exists(runs) ? run_folder(runs) : fs::path();
      points = folder_of_run / "points.jsonl";
      return !folder_of_run.empty() &&
             static_cast<size_t>(lines_of(read_file(points))) >= std::min(all, start_with + 7);
    };
    REQUIRE(wait_for(done));
    kill(child, SIGKILL);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    const std::string after = read_file(points);
    CHECK(after.starts_with(before));  // what was there stays, byte for byte
    before = after.substr(0, after.rfind('\n') + 1);
  }
  const Ran r = run("sweep --plan p.json --resume", folder.path);
  INFO(r.err);
  REQUIRE(r.code == 0);
  CHECK(r.err.find("points are there") != std::string::npos);
  CHECK(read_file(points).starts_with(before));
  const std::vector<Json> rows = json_lines(points);
  CHECK(rows.size() == all);
  std::set<std::string> keys;
  for (const Json& row : rows) {
    keys.insert(key_of(row));
    CHECK(row["status"] == "ok");
    CHECK(row["run_id"] == points.parent_path().filename().string());
  }
  CHECK(keys.size() == all);
  CHECK(r.out.find("52 points, 0 failed") != std::string::npos);  // the table shows those of before, too
  const Json info = Json::parse(read_file(points.parent_path() / "run.json"));
  CHECK(info["exit_code"] == 0);
  CHECK(info["counts"]["ok"] == all);

  // Another plan does not go on with it.
  const Ran other = run("sweep --plan p.json --reps 4 --resume", folder.path);
  CHECK(other.code == 2);
  CHECK(other.err.find("was made for another plan") != std::string::npos);
}

TEST_CASE("Ctrl-C says how to go on, and that command does") {
  const Folder folder;
  const fs::path runs = folder.path / "results/runs";
  const pid_t child = start({"prefill", "--model", "tiny", "--ctx", "16,32,16k", "--yarn", "off", "--reps", "1",
                             "--warmup", "0", "--chunk", "64", "--estimate", "never"},
                            folder.path);
  const bool began = wait_for([&] {
    return fs::exists(runs) && !run_folder(runs).empty() && lines_of(read_file(run_folder(runs) / "points.jsonl")) == 2;
  });
  kill(child, SIGINT);
  const Ran stopped = finish(child, folder.path);
  REQUIRE(began);
  CHECK(stopped.code == 130);
  const std::string go_on = "go on with: ringbench ";
  const size_t at = stopped.err.find(go_on);
  REQUIRE(at != std::string::npos);
  const std::string command = stopped.err.substr(at + go_on.size(), stopped.err.find('\n', at) - at - go_on.size());
  const Ran r = run(command, folder.path);
  INFO(command << "\n" << r.err);
  REQUIRE(r.code == 0);
  CHECK(r.err.find("2 of 3 points are there") != std::string::npos);
  CHECK(json_lines(run_folder(runs) / "points.jsonl").size() == 3);
}

TEST_CASE("--retry measures points without a number again, of the kind that is named") {
  const Folder folder;
  // One point too large for any machine, one whose layers do not divide, one that works.
  const std::string line =
      "prefill --model tiny --zip ctx,batch --ctx 64,1000M --batch 1,1000 --hybrid model,7:1 --reps 1";
  REQUIRE(run(line, folder.path).code == 1);
  const fs::path points = run_folder(folder.path / "results/runs") / "points.jsonl";
  CHECK(json_lines(points).size() == 4);
  CHECK(run(line + " --resume", folder.path).code == 1);
  CHECK(json_lines(points).size() == 4);  // nothing is left to do
  const Ran oom = run(line + " --resume --retry oom", folder.path);
  CHECK(oom.code == 1);
  CHECK(json_lines(points).size() == 5);
  CHECK(json_lines(points).back()["status"] == "oom_predicted");
  CHECK(oom.out.find("4 points, 3 failed") != std::string::npos);  // a point counts once
  run(line + " --resume --retry failed", folder.path);
  CHECK(json_lines(points).size() == 7);
  CHECK(run(line + " --retry failed", folder.path).code == 2);
}

TEST_CASE("shards are the whole, each point once, and what is compared stays together") {
  const std::string line = "prefill --model tiny --ctx 16..128+16 --hybrid model,softmax,1:0 --dry-run --json";
  std::set<std::string> all, seen;
  for (const Json& row : Json::parse(run(line).out)) all.insert(key_of(row));
  CHECK(all.size() == 24);
  for (const char* shard : {"1/3", "2/3", "3/3"}) {
    std::map<int64_t, int> rows_of_ctx;
    for (const Json& row : Json::parse(run(line + " --shard " + shard).out)) {
      CHECK(seen.insert(key_of(row)).second);
      ++rows_of_ctx[row["ctx"].get<int64_t>()];
    }
    CHECK(rows_of_ctx.size() >= 2);
    for (const auto& [ctx, count] : rows_of_ctx) CHECK(count == 3);
  }
  CHECK(seen == all);
  for (const char* bad : {"0/3", "4/3", "3", "a/b", "1/"}) CHECK(run(line + " --shard " + bad).code == 2);
}

TEST_CASE("shorter outputs are read from the longest run") {
  const Ran r = run("e2e --model tiny --ctx 8 --gen 4,64,16 --batch 2 --requests 3 --reps 6 --no-save --json");
  INFO(r.err);
  REQUIRE(r.code == 0);
  const Json rows = Json::parse(r.out);
  REQUIRE(rows.size() == 3);
  CHECK(rows[0]["value"].get<double>() < rows[2]["value"].get<double>());
  CHECK(rows[2]["value"].get<double>() < rows[1]["value"].get<double>());
  for (const Json& row : rows) {
    CHECK(row["n"] == 6);
    CHECK(row["waves"] == 2);
    CHECK(row["osl_actual"] == row["gen"]);
    const bool prefix = row["gen"] != 64;
    CHECK((row["warnings"].dump().find("W-PREFIX") != std::string::npos) == prefix);
    CHECK(row["logits_hash"].is_null() == prefix);
  }
  // Repetition by repetition it is the same run: no sample of a shorter output is above the longer one's.
  for (size_t i = 0; i < 6; ++i) CHECK(rows[0]["samples"][i].get<double>() < rows[2]["samples"][i].get<double>());
}

TEST_CASE(
    "--batch auto fills the memory limit: fewer of the softmax twin's sequences, in waves; both ratios are said") {
  const Ran r =
      run("e2e --model ring-pico-linear --ctx 1 --gen 256 --batch 8,auto --requests 8 --memory-limit 6MiB "
          "--hybrid model,softmax --reps 1 --no-save -o rows.json -o -");
  INFO(r.out << r.err);
  REQUIRE(r.code == 0);
  CHECK(r.out.find("equal batch 8: e2e ") != std::string::npos);
  CHECK(r.out.find("8 requests, equal memory 6.0 MiB (batch ") != std::string::npos);
  const Json all =
      Json::parse(run("e2e --model ring-pico-linear --ctx 1 --gen 256 --batch auto --requests 8 --memory-limit 6MiB "
                      "--hybrid model,softmax --reps 1 --no-save --json")
                      .out);
  REQUIRE(all.size() == 2);
  for (const Json& row : all) {
    CHECK(row["memory_limit_bytes"] == 6 * 1024 * 1024);
    const int64_t held = row["weights_bytes"].get<int64_t>() + row["kv_bytes"].get<int64_t>() +
                         row["state_bytes"].get<int64_t>() + row["workspace_bytes"].get<int64_t>();
    CHECK(held <= 6 * 1024 * 1024);
    CHECK(row["waves"] == (8 + row["batch"].get<int64_t>() - 1) / row["batch"].get<int64_t>());
  }
  CHECK(all[0]["batch"].get<int64_t>() > all[1]["batch"].get<int64_t>());
  CHECK(run("e2e --model tiny --batch auto").code == 2);
  CHECK(run("prefill --model tiny --batch auto --requests 4").code == 2);
}

TEST_CASE("interleaved repetitions are as many for all that is compared, and rows say so") {
  const Ran r = run("prefill --model tiny --ctx 64,256 --hybrid model,softmax,1:0 --interleave --no-save --json");
  INFO(r.err);
  REQUIRE(r.code == 0);
  const Json rows = Json::parse(r.out);
  REQUIRE(rows.size() == 6);
  for (size_t i = 0; i < 6; i += 3)
    for (size_t k = i; k < i + 3; ++k) {
      CHECK(rows[k]["interleaved"] == true);
      CHECK(rows[k]["n"] == rows[i]["n"]);
      CHECK(rows[k]["ctx"] == rows[i]["ctx"]);
    }
  // The bits are those of a run without.
  const Json alone = Json::parse(run("prefill --model tiny --ctx 64 --hybrid softmax --reps 1 --no-save --json").out);
  CHECK(alone[0]["logits_hash"] == rows[1]["logits_hash"]);
  CHECK(alone[0]["interleaved"] == false);
}

TEST_CASE("a point that takes far longer than it may is a row that says timeout; the others go on", "[alone]") {
  const Ran r =
      run("e2e --model tiny --ctx 8 --gen 2,1000000 --batch 1,2 --zip gen,batch --time-budget 1s --no-save --json");
  CHECK(r.code == 1);
  const Json rows = Json::parse(r.out);
  REQUIRE(rows.size() == 2);
  CHECK(rows[0]["status"] == "ok");
  CHECK(rows[1]["status"] == "timeout");
  CHECK(rows[1]["value"].is_null());
  CHECK(rows[1]["error"] == "no repetition was done within three times --time-budget (3 s).");
}

TEST_CASE("the crossover is looked for between the contexts of the plan, and its probes are rows") {
  const Folder folder;
  write_plan(folder.path / "p.json", R"({"command": "decode", "model": "tiny", "ctx": "16,2k", "gen": 8, "reps": 6,
                                         "hybrid": "softmax,model", "depth-fill": "synthetic"})");
  const Ran r = run("sweep --plan p.json --find-crossover", folder.path);
  INFO(r.out << r.err);
  REQUIRE(r.code == 0);
  CHECK(r.out.find("crossover decode 3:1: ") != std::string::npos);
  for (const Json& row : json_lines(run_folder(folder.path / "results/runs") / "points.jsonl")) {
    CHECK(row["interleaved"] == true);
    CHECK(row["ctx"].get<int64_t>() >= 16);
    CHECK(row["ctx"].get<int64_t>() <= 2048);
  }
  write_plan(folder.path / "p.json",
             R"({"command": "decode", "model": "tiny", "ctx": "16", "hybrid": "softmax,model"})");
  CHECK(run("sweep --plan p.json --find-crossover", folder.path).code == 2);
  write_plan(folder.path / "p.json", R"({"command": "decode", "model": "tiny", "ctx": "16,64"})");
  CHECK(run("sweep --plan p.json --find-crossover", folder.path).code == 2);
}

TEST_CASE("a crossover whose points have no number is said to be not found, and the rows say why", "[sweep]") {
  const Folder folder;
  write_plan(folder.path / "p.json",
             R"({"command": "decode", "model": "tiny", "ctx": "16,1000M", "gen": 8, "reps": 1,
                                         "hybrid": "softmax,model", "batch": 1000})");
  const Ran r = run("sweep --plan p.json --find-crossover", folder.path);
  INFO(r.out << r.err);
  CHECK(r.code == 1);
  CHECK(r.out.find("crossover decode 3:1: not found, a point has no number: decode 3:1 ctx ") != std::string::npos);
  const std::vector<Json> rows = json_lines(run_folder(folder.path / "results/runs") / "points.jsonl");
  CHECK(std::any_of(rows.begin(), rows.end(), [](const Json& row) { return row["status"] == "oom_predicted"; }));
}
