// Measuring commands from outside, on `tiny`: the points they give, what their records hold, and what becomes of runs
// that fail, are interrupted or meet. Flags, messages and files in general: test_cli.cpp.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>
#include <sstream>

#include "harness/result.h"
#include "harness/workload.h"
#include "tests/catch.h"
#include "tests/folder.h"
#include "tests/program.h"

using namespace ringbench;
namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

// What is wrong with a record according to the table of its fields; empty: nothing. (That the table and the schema
// agree: test_result.cpp.)
std::string violation(const Json& record) {
  for (const Field& field : result_fields()) {
    const std::string name(field.name);
    if (!record.contains(name)) return name + " is missing";
    const Json& value = record[name];
    const bool fits = field.type == "string"    ? value.is_string()
                      : field.type == "integer" ? value.is_number_integer()
                      : field.type == "number"  ? value.is_number()
                      : field.type == "boolean" ? value.is_boolean()
                                                : value.is_array();
    if (!fits && !(field.nullable && value.is_null())) return name + " is " + value.dump();
  }
  return "";
}

Json records_of(const Ran& r, int code = 0) {
  INFO(r.err);
  REQUIRE(r.code == code);
  const Json records = Json::parse(r.out);
  for (const Json& record : records) {
    REQUIRE(violation(record) == "");
    REQUIRE(record["repro"].get<std::string>().starts_with("ringbench "));
  }
  return records;
}

// A point that was measured: numbers that agree with each other.
void check_measured(const Json& r) {
  INFO(r["phase"] << " " << r["hybrid"] << " ctx " << r["ctx"]);
  CHECK(r["status"] == "ok");
  CHECK(r["method"] == "measured");
  CHECK(r["error"].is_null());
  const double value = r["value"];
  CHECK(value > 0);
  CHECK(r["min"].get<double>() <= value);
  CHECK(value <= r["max"].get<double>());
  CHECK(r["n"] == r["samples"].size());
  CHECK(r["cpu_s"].get<double>() > 0);
  CHECK(r["flops"].get<double>() > 0);
  CHECK(r["bytes"].get<double>() > 0);
  CHECK(r["kv_bytes"] == r["kv_bytes_analytic"]);
  CHECK(r["state_bytes"] == r["state_bytes_analytic"]);
  CHECK(r["weights_bytes"] == 4 * r["params_total"].get<int64_t>());
  CHECK(r["peak_process_bytes"].get<int64_t>() > r["kv_bytes"].get<int64_t>());
  // The cache that several prefill repetitions leave depends on how many there were: no hash of what follows.
  if (r["experiment"] == "throughput" && r["phase"] == "decode")
    CHECK(r["logits_hash"].is_null());
  else
    CHECK(r["logits_hash"].get<std::string>().size() == 16);
  CHECK(r["parity"] == "pass");
  CHECK(r["flags"].get<std::string>().find('U') == std::string::npos);
  CHECK(r["flags"].get<std::string>().find('E') == std::string::npos);
  const double tokens = r["phase"] == "prefill"  ? r["batch"].get<double>() * r["ctx"].get<double>()
                        : r["phase"] == "decode" ? r["batch"].get<double>()
                                                 : r["requests"].get<double>() * r["gen"].get<double>();
  CHECK(std::abs(r["tok_s"].get<double>() * value / tokens - 1) <= 1e-12);
}

std::string words_of(const Json& records, const std::vector<std::string>& keys) {
  std::string text;
  for (const Json& r : records) {
    for (const std::string& key : keys) text += (r[key].is_string() ? r[key].get<std::string>() : r[key].dump()) + " ";
    text.back() = ';';
  }
  return text;
}

}  // namespace

TEST_CASE("each measuring command over a range of contexts: valid records in the order of the grid") {
  const std::string rest = " --model tiny --ctx 64..512*2 --gen 8 --reps 2 --no-save --json";
  const Json prefill = records_of(run("prefill" + rest)), decode = records_of(run("decode" + rest)),
             e2e = records_of(run("e2e" + rest)), throughput = records_of(run("throughput" + rest));
  CHECK(words_of(prefill, {"phase", "ctx", "gen", "metric"}) ==
        "prefill 64 0 ttft_s;prefill 128 0 ttft_s;prefill 256 0 ttft_s;prefill 512 0 ttft_s;");
  CHECK(words_of(decode, {"phase", "ctx", "gen", "metric"}) ==
        "decode 64 8 tpot_s;decode 128 8 tpot_s;decode 256 8 tpot_s;decode 512 8 tpot_s;");
  CHECK(words_of(e2e, {"phase", "ctx", "gen", "metric"}) ==
        "e2e 64 8 e2e_s;e2e 128 8 e2e_s;e2e 256 8 e2e_s;e2e 512 8 e2e_s;");
  std::string expected;
  for (const char* ctx : {"64", "128", "256", "512"})
    for (const char* phase : {"prefill", "decode"})
      for (const char* hybrid : {"3:1", "softmax"}) expected += std::string(phase) + " " + hybrid + " " + ctx + ";";
  CHECK(words_of(throughput, {"phase", "hybrid", "ctx"}) == expected);

  for (const Json* records : {&prefill, &decode, &e2e, &throughput}) {
    for (const Json& r : *records) {
      check_measured(r);
      CHECK(r["n"] == 2);
      CHECK(r["stop"] == "fixed");
      CHECK(r["run_id"] == "");
    }
  }
  // Tokens whose keys are kept: the prompt, and what was fed after it; of e2e the last token is not fed.
  const int64_t per_token = 2 * 2 * 16 * 4;  // k and v, 2 heads of 16, f32, one softmax layer
  CHECK(prefill[0]["kv_bytes"] == 64 * per_token);
  CHECK(decode[0]["kv_bytes"] == (64 + 8) * per_token);
  CHECK(e2e[0]["kv_bytes"] == (64 + 7) * per_token);
  CHECK(throughput[1]["state_bytes"] == 0);
  CHECK(decode[0]["depth_fill"] == "real");
  CHECK(decode[0]["tpot_s"] == decode[0]["value"]);
  CHECK(decode[0]["step_p50_s"].get<double>() > 0);
  CHECK(e2e[0]["ttft_s"].get<double>() > 0);
  CHECK(e2e[0]["tpot_s"].get<double>() > 0);
  CHECK(e2e[0]["ttft_s"].get<double>() < e2e[0]["value"].get<double>());
}

TEST_CASE("the conclusion under the table is the ratio of its rows") {
  const Folder folder;
  const Ran r = run("throughput --model tiny --ctx 64,256 --gen 8 --reps 2 --no-save -o rows.json", folder.path);
  REQUIRE(r.code == 0);
  const Json rows = Json::parse(read_file(folder.path / "rows.json"));
  REQUIRE(rows.size() == 8);
  for (size_t i = 0; i < 8; i += 4) {  // prefill 3:1, softmax, decode 3:1, softmax
    const auto value = [&](size_t row) { return rows[i + row]["value"].get<double>(); };
    char line[160];
    std::snprintf(line, sizeof line, "speed-up 3:1 over softmax at %s: prefill %.2fx, decode %.2fx, cache %.3fx\n",
                  rows[i]["ctx_label"].get<std::string>().c_str(), value(1) / value(0), value(3) / value(2),
                  rows[i]["cache_ratio_vs_softmax"].get<double>());
    INFO(line << "in\n" << r.out);
    CHECK(r.out.find(line) != std::string::npos);
    CHECK(rows[i + 1]["cache_ratio_vs_softmax"] == 1.0);
    const auto cache = [&](size_t row) {
      return rows[i + row]["kv_bytes"].get<double>() + rows[i + row]["state_bytes"].get<double>();
    };
    CHECK(std::abs(rows[i]["cache_ratio_vs_softmax"].get<double>() - cache(0) / cache(1)) <= 1e-12);
  }
  CHECK(r.out.find("8 points, 0 failed") != std::string::npos);
}

TEST_CASE("layer ratios are rows of their own; what is the same layout appears once") {
  const Json rows =
      records_of(run("prefill --model tiny --ctx 64 --hybrid model,softmax,3:1,1:0 --reps 2 --no-save --json"));
  CHECK(words_of(rows, {"hybrid", "linear_layers", "softmax_layers"}) == "3:1 3 1;softmax 0 4;linear 4 0;");
  for (const Json& row : rows) check_measured(row);
  CHECK(rows[2]["kv_bytes"] == 0);
  CHECK(rows[0]["point_id"] != rows[1]["point_id"]);
  CHECK(rows[0]["logits_hash"] != rows[1]["logits_hash"]);
}

TEST_CASE("a cache that a longer decode left behind is not counted as a shorter one's") {
  const Json rows =
      records_of(run("decode --model tiny --hybrid model,softmax --ctx 64 --gen 24,8,16 --reps 2 --no-save --json"));
  CHECK(words_of(rows, {"hybrid", "gen"}) == "3:1 24;softmax 24;3:1 8;softmax 8;3:1 16;softmax 16;");
  for (const Json& row : rows) check_measured(row);
}

TEST_CASE("of several points one that cannot be made is an error row; --fail-fast ends with it") {
  const std::string grid = "prefill --model tiny --ctx 64,128 --hybrid 7:1,model --reps 1 --no-save --json";
  const Json all = records_of(run(grid), 1);
  CHECK(words_of(all, {"hybrid", "ctx", "status"}) == "7:1 64 error;3:1 64 ok;7:1 128 error;3:1 128 ok;");
  CHECK(all[0]["error"] == "--hybrid 7:1 needs a multiple of 8 layers; tiny has 4. Try --layers 8, or --hybrid 3:1.");
  CHECK(all[0]["value"].is_null());
  CHECK(all[0]["tok_s"].is_null());
  CHECK(all[0]["samples"].empty());
  check_measured(all[1]);
  const Json first = records_of(run(grid + " --fail-fast"), 1);
  CHECK(words_of(first, {"hybrid", "status"}) == "7:1 error;");
}

TEST_CASE("too little memory: a row among others, exit 3 with the numbers alone; nothing is allocated") {
  const std::string large = "prefill --model tiny --no-save --zip ctx,batch --reps 1 --json ";
  const Json rows = records_of(run(large + "--ctx 64,1000M --batch 1,1000"), 1);
  REQUIRE(rows.size() == 2);
  check_measured(rows[0]);
  CHECK(rows[1]["status"] == "oom_predicted");
  CHECK(rows[1]["value"].is_null());
  // 1000 Mi tokens x 1000 sequences x 256 bytes.
  CHECK(rows[1]["error"].get<std::string>().find("KV 250000.0, state 0.0") != std::string::npos);
  const Folder folder;
  const Ran alone = run("prefill --model tiny --ctx 1000M --batch 1000", folder.path);
  CHECK(alone.code == 3);
  CHECK(alone.out.empty());
  CHECK(std::regex_search(alone.err, std::regex("error: needs 25[0-9]{4}\\.[0-9] GiB \\(weights 0\\.0, KV 250000\\.0, "
                                                "state 0\\.0, workspace [0-9.]+\\), .* has [0-9.]+ free\\.\n")));
  CHECK_FALSE(fs::exists(folder.path / "results"));
  // The published model: 104,181,665,536 parameters in f64 and 64 KiB of keys and values a token.
  const Ran flash = run("prefill --model ring-flash-linear-2.0 --dtype f64 --ctx 128k --batch 4096 --no-save");
  CHECK(flash.code == 3);
  CHECK(flash.err.find("(weights 776.2, KV 16384.0, state 448.0, workspace ") != std::string::npos);
}

TEST_CASE("an estimated prefill says so in every field, and is refused where there is nothing to sample", "[alone]") {
  // Real times may refuse to lie on a line when the machine is busy: that is an answer too, but not the one wanted.
  Ran r;
  for (int attempt = 0; attempt < 20 && r.code != 0; ++attempt) {
    r = run("prefill --model tiny --ctx 8k --chunk 512 --estimate always --no-save --json");
    if (r.code != 0) REQUIRE(r.err.find("error: E-ESTIMATE: chunk times do not lie on a line") != std::string::npos);
  }
  const Json rows = records_of(r);
  REQUIRE(rows.size() == 1);
  const Json& e = rows[0];
  CHECK(e["status"] == "estimated");
  CHECK(e["method"] == "estimated");
  CHECK(e["estimator"] == "chunk");
  CHECK(e["flags"].get<std::string>().find('E') != std::string::npos);
  CHECK((e["est_points"] == 5 || e["est_points"] == 4));
  CHECK(e["est_query_stride"] == 1);
  CHECK(std::abs(e["est_work_share"].get<double>() - e["est_points"].get<double>() / 16) <= 1e-12);
  CHECK(e["est_anchor_ctx"] == 8192);
  CHECK(e["est_anchor_error"].is_number());
  CHECK(e["est_residual_max"].get<double>() >= 0);  // how large is up to the machine
  CHECK(e["est_r2"].get<double>() <= 1);
  CHECK(e["ci95_low"].get<double>() <= e["value"].get<double>());
  CHECK(e["value"].get<double>() <= e["ci95_high"].get<double>());
  CHECK(e["n"] == e["samples"].size());
  CHECK(e["contention"].get<double>() > 0);
  CHECK(e["kv_bytes"] == e["kv_bytes_analytic"]);

  const Ran one_chunk = run("prefill --model tiny --ctx 512 --chunk 512 --estimate always --no-save");
  CHECK(one_chunk.code == 1);
  CHECK(one_chunk.err.find("error: E-ESTIMATE: 512 tokens are 1 chunk of 512; an estimate needs at least 4.\n") !=
        std::string::npos);
  const Json mixed =
      records_of(run("prefill --model tiny --ctx 64,128 --chunk 64 --estimate always --no-save --json"), 1);
  for (const Json& row : mixed) {
    CHECK(row["status"] == "error");
    CHECK(row["error"].get<std::string>().starts_with("E-ESTIMATE"));
    CHECK(row["method"] == "measured");  // there is nothing that was estimated
  }
}

TEST_CASE("a model is estimated from two shallower ones, and says so; its bytes are those of the whole") {
  const Ran whole = run("prefill --model ring-pico-linear --layers 24 --ctx 64 --reps 2 --no-save --json");
  const Ran r =
      run("prefill --model ring-pico-linear --layers 24 --ctx 64 --reps 3 --estimate groups --no-save --json");
  const Json e = records_of(r)[0], full = records_of(whole)[0];
  CHECK(e["status"] == "estimated");
  CHECK(e["estimator"] == "group");
  CHECK(e["flags"].get<std::string>().find('E') != std::string::npos);
  CHECK(e["layers"] == 24);
  CHECK(e["est_points"] == 2);
  CHECK(std::abs(e["est_work_share"].get<double>() - (1.0 + 3.0) / 6.0) <= 1e-12);
  CHECK(e["samples"].size() == 3);
  CHECK(e["ci95_low"].is_null());  // three repetitions make no interval of either part
  CHECK(e["value"].is_number());
  CHECK(
      e["warnings"][0].get<std::string>().starts_with("W-GROUPS: estimated from models of 1 and 3 of 6 layer groups"));
  for (const char* bytes : {"weights_bytes", "state_bytes", "params_total", "flops"}) CHECK(e[bytes] == full[bytes]);
  const Ran shallow = run("prefill --model ring-pico-linear --ctx 64 --estimate groups --no-save");
  CHECK(shallow.code == 3);
  CHECK(shallow.err.find("error: E-ESTIMATE: 1 groups of 4 layers") != std::string::npos);
  CHECK(run("e2e --model ring-pico-linear --layers 24 --ctx 8 --gen 2 --estimate groups --no-save").code == 3);
}

TEST_CASE("decode at a synthetic depth is flagged") {
  const Json rows =
      records_of(run("decode --model tiny --ctx 1k --gen 8 --depth-fill synthetic --reps 2 --no-save "
                     "--json"));
  REQUIRE(rows.size() == 1);
  check_measured(rows[0]);
  CHECK(rows[0]["depth_fill"] == "synthetic");
  CHECK(rows[0]["flags"].get<std::string>().find('S') != std::string::npos);
}

TEST_CASE("the same seed gives the same logits, whatever the repetitions; another seed others") {
  for (const std::string command : {"prefill --ctx 100", "decode --ctx 100 --gen 8",
                                    "decode --ctx 100 --gen 8 --depth-fill synthetic", "e2e --ctx 50 --gen 8"}) {
    INFO(command);
    const auto hash = [&](const std::string& more) {
      const Json rows = records_of(run(command + " --model tiny --batch 2 --no-save --json " + more));
      check_measured(rows[0]);
      return rows[0]["logits_hash"];
    };
    const Json first = hash("--reps 2 --seed 4");
    CHECK(hash("--reps 2 --seed 4") == first);
    CHECK(hash("--reps 3 --seed 4 --threads 1") == first);
    CHECK(hash("--reps 2 --seed 5") != first);
  }
}

TEST_CASE("more requests than the batch run in waves") {
  const Json rows =
      records_of(run("e2e --model tiny --ctx 32 --gen 4 --batch 2 --requests 5 --reps 2 --no-save --json"));
  REQUIRE(rows.size() == 1);
  check_measured(rows[0]);
  CHECK(rows[0]["waves"] == 3);
  CHECK(rows[0]["requests"] == 5);
  CHECK(rows[0]["batch"] == 2);
  const Json whole = records_of(run("e2e --model tiny --ctx 32 --gen 1 --batch 2 --reps 2 --no-save --json"));
  CHECK(whole[0]["waves"] == 1);
  CHECK(whole[0]["tpot_s"].is_null());  // the only token comes out of the prefill
  // What the model computes: five sequences in the one, two in the other, three steps each more.
  CHECK(rows[0]["flops"].get<double>() > 2.5 * whole[0]["flops"].get<double>());
}

TEST_CASE("the last wave holds only the requests that are left, with tokens of its own") {
  const Json rows =
      records_of(run("e2e --model tiny --ctx 32 --gen 4 --batch 2 --requests 3 --reps 1 --no-save --json"));
  const ModelConfig config = ModelConfig::load(fs::path(RINGBENCH_SOURCE_DIR) / "configs/models/tiny.json");
  EngineOptions options;
  options.slots = 2;
  options.max_tokens = 36;
  const auto engine = make_reference_engine(config, Weights::random(config, 0), options);
  Clock clock;
  Workload second_wave(*engine, 1, 512, 0, clock);
  second_wave.choose_input(1);
  second_wave.prefill(32);
  second_wave.decode(3);
  CHECK(rows[0]["logits_hash"] == second_wave.logits_hash());
}

TEST_CASE("-o writes the same records in every format") {
  const Folder folder;
  const Ran r =
      run("prefill --model tiny --ctx 64,128 --reps 2 --json -o a.txt -o a.md -o a.csv -o a.json -o a.jsonl -o -",
          folder.path);
  INFO(r.err);
  REQUIRE(r.code == 0);
  const Json records = Json::parse(read_file(folder.path / "a.json"));
  REQUIRE(records.size() == 2);
  std::istringstream lines(read_file(folder.path / "a.jsonl"));
  std::string line;
  for (size_t i = 0; i < 2; ++i) {
    REQUIRE(std::getline(lines, line));
    CHECK(Json::parse(line) == records[i]);
  }
  CHECK(!std::getline(lines, line));
  const std::string csv = read_file(folder.path / "a.csv"), table = read_file(folder.path / "a.txt"),
                    markdown = read_file(folder.path / "a.md");
  CHECK(lines_of(csv) == 3);
  CHECK(csv.starts_with("schema,"));
  CHECK(csv.find(records[1]["point_id"].get<std::string>()) != std::string::npos);
  CHECK(table.find("2 points, 0 failed") != std::string::npos);
  CHECK(markdown.find("| prefill |") != std::string::npos);
  // The run's own folder has them too, and the lock is gone.
  const std::string saved = read_file(run_folder(folder.path / "results/runs") / "points.jsonl");
  CHECK(saved == read_file(folder.path / "a.jsonl"));
  for (const auto& entry : fs::recursive_directory_iterator(folder.path / "results"))
    CHECK_FALSE(entry.path().filename().string().starts_with("lock"));
  CHECK(records[0]["run_id"] == run_folder(folder.path / "results/runs").filename().string());
}

TEST_CASE("a run in a folder that is in use is refused; Ctrl-C keeps the finished points of the one that has it") {
  const Folder folder, second;
  const fs::path runs = folder.path / "runs";
  // Two short points, then one of many minutes.
  const pid_t child = start({"prefill", "--model", "tiny", "--ctx", "16,32,512k", "--yarn", "off", "--reps", "1",
                             "--warmup", "0", "--chunk", "128", "--estimate", "never", "--results", "runs"},
                            folder.path);
  const auto points = [&] {
    const fs::path run = fs::exists(runs) ? run_folder(runs) : fs::path();
    return run.empty() ? std::string() : read_file(run / "points.jsonl");
  };
  const bool began = wait_for([&] { return lines_of(points()) == 2; });
  const Ran refused = run("prefill --model tiny --ctx 16 --results " + runs.string(), second.path);
  kill(child, SIGINT);
  const Ran r = finish(child, folder.path);

  REQUIRE(began);
  CHECK(refused.code == 2);
  CHECK(refused.out.empty());
  CHECK(refused.err.find("error: --results: '" + runs.string() + "' is in use by process " + std::to_string(child) +
                         ".\n") == 0);
  CHECK(r.code == 130);
  CHECK(r.err.find("interrupted: 2 of 3 points were finished and are kept\n") != std::string::npos);
  CHECK(r.out.find("2 points, 0 failed") != std::string::npos);
  REQUIRE(lines_of(points()) == 2);
  std::istringstream lines(points());
  for (std::string line; std::getline(lines, line);) check_measured(Json::parse(line));
  CHECK(Json::parse(read_file(run_folder(runs) / "run.json"))["exit_code"] == 130);
  for (const auto& entry : fs::recursive_directory_iterator(runs))
    CHECK_FALSE(entry.path().filename().string().starts_with("lock"));
}
