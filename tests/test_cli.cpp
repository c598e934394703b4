// The program from outside: exit codes, error lines, streams, files. Each row of the manual's table of errors that a
// build without a GPU can meet; the words of single values are tested in test_plan.cpp.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <thread>

#include "harness/commands.h"
#include "harness/environment.h"
#include "harness/help.h"
#include "harness/plan.h"
#include "tests/catch.h"
#include "tests/folder.h"
#include "tests/golden.h"
#include "tests/program.h"

using namespace ringbench;
namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

// Nothing on stdout; on stderr "error: ..." and at most one more line.
void check_error(const std::string& arguments, int code, const std::string& message) {
  INFO(arguments);
  const Ran r = shell("\"$R\" " + arguments);
  CHECK(r.code == code);
  CHECK(r.out.empty());
  CHECK(r.err.find("error: " + message) == 0);
  CHECK(lines_of(r.err) <= 2);
}

}  // namespace

TEST_CASE("bad command lines: one line, a suggestion, exit 2") {
  check_error("prefill --cxt 8k", 2, "unknown flag --cxt. Did you mean --ctx?\n");
  check_error("prefill --cxt=8k", 2, "unknown flag --cxt. Did you mean --ctx?\n");
  check_error("prefill --ctx 384q", 2,
              "--ctx: '384q' is not a token count. Use 393216, 384k (=384*1024) or 512..384k*2.\n");
  check_error("throughput --ctx 0.3k", 2, "--ctx: 0.3k = 307.2 is not a whole number of tokens.\n");
  check_error(
      "prefill --model ring-lite-linear --hybrid 4:1", 2,
      "--hybrid 4:1 needs a multiple of 5 layers; ring-lite-linear has 28. Try --layers 25 or 30, or --hybrid 6:1.\n");
  check_error("prefill --hybrid 1/4", 2,
              "--hybrid: write M:1 (M linear layers per softmax layer), 'softmax', 'linear' or 'model'.\n");
  check_error("prefill --model ring-mini-linear", 2,
              "unknown model 'ring-mini-linear'. Did you mean ring-mini-linear-2.0?\npresets: ");
  check_error("prefil", 2, "unknown command 'prefil'. Did you mean prefill?\n");
  check_error("swipe", 2, "unknown command 'swipe'.");
  check_error("--cxt", 2, "unknown flag --cxt before the command.");
  check_error("", 2, "which command?");
  check_error("prefill 8k", 2, "unexpected argument '8k'.\n");
  check_error("prefill --ctx", 2, "--ctx needs a value: --ctx LIST.\n");
  check_error("prefill --format tabel", 2,
              "--format: 'tabel' is not one of table, md, csv, json, jsonl, sql. Did you mean table?\n");
  check_error("prefill --retry failed", 2, "--retry goes with --resume.");
  check_error("prefill --kernel norm=plain", 2, "--kernel:");
  check_error("prefill --tag novalue", 2, "--tag:");
  check_error("prefill --config missing.json", 2, "--config: 'missing.json' is no file.\n");
  check_error("prefill --weights missing", 2, "--weights: 'missing' is neither a folder");
  check_error("prefill --results /dev/null/runs --model tiny --ctx 1", 2, "--results: cannot write '/dev/null/runs'");
  check_error("prefill -o nowhere/x.csv --model tiny --ctx 1", 2,
              "--output: cannot write 'nowhere/x.csv': No such file or directory.\n");
  check_error("prefill -o x.xlsx --model tiny --ctx 1", 2, "--output: 'x.xlsx' does not say its format.");
  check_error("completion tcsh", 2, "completion: 'tcsh' is not a shell");
  check_error("help metrcis", 2, "no help on 'metrcis'. Did you mean metrics?\n");
}

TEST_CASE("what the machine or the build lacks: exit 3; no certificate: exit 4") {
  check_error("prefill --engine cuda", 3, "no CUDA device");
  check_error(
      "decode --engine emulated", 3,
      "engine 'emulated' checks the CUDA kernels on a CPU and records no speeds. Use --engine reference or cuda.\n");
  check_error("prefill --dtype fp8", 3, "--dtype fp8: engine 'reference' computes in f32 and f64.");
  check_error("prefill --model ring-flash-2.0 --ctx 100M --no-save", 3, "needs ");
  // Weights of zeros say nothing about an engine.
  check_error("prefill --model tiny --dummy zero --ctx 8 --no-save --no-progress --parity require", 4,
              "--parity require:");
}

TEST_CASE("the environment gives defaults, the command line wins") {
  CHECK(shell("RINGBENCH_CTX=384q \"$R\" prefill").err.find("error: --ctx: '384q'") == 0);
  CHECK(shell("RINGBENCH_CTX=384q \"$R\" info --model tiny --ctx 8k").code == 0);
  const Ran r = shell("RINGBENCH_MODEL=tiny RINGBENCH_JSON=1 \"$R\" info");
  REQUIRE(r.code == 0);
  CHECK(Json::parse(r.out)["model"] == "tiny");
}

TEST_CASE("info, version, help and completion answer at once, on stdout") {
  for (const std::string arguments : {"info --model ring-flash-linear-2.0 --ctx 384k", "version", "version --json",
                                      "--version", "help", "--help", "help schema", "completion bash"}) {
    INFO(arguments);
    double fastest = 1e9;
    for (int i = 0; i < 5; ++i) {
      const auto start = std::chrono::steady_clock::now();
      const Ran r = shell("\"$R\" " + arguments);
      fastest = std::min(fastest, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      REQUIRE(r.code == 0);
      CHECK(r.err.empty());
      CHECK_FALSE(r.out.empty());
    }
    // 50 ms is the goal on an idle machine; a loaded one, or a sanitizer, must not fail a test about behaviour
    CHECK(fastest <= 1.0);
  }
}

TEST_CASE("info --format json has the fields it promises, and no others") {
  const Ran r = shell("\"$R\" info --model ring-mini-linear-2.0 --format json");
  REQUIRE(r.code == 0);
  const Json info = Json::parse(r.out);
  CHECK(info["layers"] == 20);
  CHECK(info["layer_pattern"] == "LLLLS LLLLS LLLLS LLLLS");
  CHECK(info["params_total"] == 16423448320);
  CHECK(info["params_active"] == 1600777984);
  CHECK(info["params_active_non_embedding"] == 956952320);
  CHECK(info["kv_bytes_per_token"] == 8192);  // 2 (k, v) x 4 layers x 4 heads x 128 x 2 B
  CHECK(info["state_bytes"] == 16777216);     // 16 layers x 16 heads x 128 x 128 x 4 B
  CHECK(info["trained_window"] == 131072);
  CHECK(info.size() == 13);
  for (const char* name : {"model", "architecture", "weights_bytes", "defaulted_keys", "notes"})
    CHECK(info.contains(name));

  const Json point = Json::parse(shell("\"$R\" info --model ring-mini-linear-2.0 --json --ctx 384k --batch 2").out);
  CHECK(point["ctx"] == 393216);
  CHECK(point["ctx_label"] == "384k");
  CHECK(point["point_kv_bytes"] == 2 * 393216 * int64_t{8192});
  CHECK(point["point_state_bytes"] == 2 * 16777216);
  const Json f32 = Json::parse(shell("\"$R\" info --model ring-mini-linear-2.0 --json --dtype f32").out);
  CHECK(f32["kv_bytes_per_token"] == 16384);
  const Json twin = Json::parse(shell("\"$R\" info --model ring-mini-linear-2.0 --json --hybrid softmax").out);
  CHECK(twin["kv_bytes_per_token"] == 40960);
  CHECK(twin["state_bytes"] == 0);
}

TEST_CASE("help teaches within 100 columns: every flag, and examples") {
  for (const CommandLine& command : command_lines()) {
    const std::string text = help_command(command);
    CHECK(shell("\"$R\" help " + command.name).out == text);
    CHECK(shell("\"$R\" " + command.name + " --help").out == text);
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      INFO(line);
      CHECK(line.size() <= 100);
    }
    for (const std::string& flag : command.flag_names()) CHECK(text.find(flag) != std::string::npos);
    for (const auto& example : command.examples) CHECK(text.find(example[0]) != std::string::npos);
  }
  for (const std::string& topic : topic_names()) {
    std::istringstream lines(help_topic(topic));
    for (std::string line; std::getline(lines, line);)
      CHECK((line.size() <= 100 || line.find("https://") != std::string::npos));  // an address is not broken
  }
  CHECK(help_topic("schema").find("est_anchor_error") != std::string::npos);
  CHECK(help_topic("exit-codes").find("130") != std::string::npos);
}

TEST_CASE("completion scripts name every command, flag and model; bash accepts its own") {
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const std::string script = completion_script(shell);
    for (const CommandLine& command : command_lines()) {
      CHECK(script.find(command.name) != std::string::npos);
      for (const std::string& flag : command.flag_names())
        CHECK(script.find(shell == "fish" ? "-l " + flag.substr(2) : flag) != std::string::npos);
    }
    for (const std::string& model : preset_names()) CHECK(script.find(model) != std::string::npos);
  }
  const Ran r = shell(
      "\"$R\" completion bash >c.bash && bash -c '. ./c.bash"
      "; COMP_WORDS=(ringbench prefill --model ring-nano-) COMP_CWORD=3; _ringbench; echo \"${COMPREPLY[@]}\""
      "; COMP_WORDS=(ringbench thr) COMP_CWORD=1; _ringbench; echo \"${COMPREPLY[@]}\""
      "; COMP_WORDS=(ringbench decode --ba) COMP_CWORD=2; _ringbench; echo \"${COMPREPLY[@]}\"' 2>&1");
  CHECK(r.out == "ring-nano-linear\nthroughput\n--batch\n");
}

TEST_CASE("the manual page is roff that says what help says") {
  const Ran r = shell("\"$R\" help man");
  REQUIRE(r.code == 0);
  CHECK(r.out.find(".TH RINGBENCH 1") == 0);
  CHECK(r.out.find(".B \\-\\-ctx LIST") != std::string::npos);
  std::istringstream lines(r.out);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with('.')) CHECK(line.find_first_of("ABCDEFGHIJKLMNOPQRSTUVWXYZfn") == 1);
}

TEST_CASE("logits by the command line are those of the golden checkpoints") {
  for (const std::string name : {"v2_softmax_mtp", "v1_hybrid"}) {
    INFO(name);
    Folder folder;
    const fs::path golden = goldens() / name;
    const SafeTensors expected = SafeTensors::open(golden / "golden.safetensors");
    const auto input = token_ids(expected, "input_ids"), decode = token_ids(expected, "decode_ids");
    std::ofstream(folder.path / "ids.json") << Json{{"input_ids", input}, {"decode_ids", decode}};
    const Json notes = Json::parse(read_file(golden / "golden.json"));
    const std::string offset =
        notes["slope_layer_offset"].is_null() ? "" : " --slope-layer-offset " + notes["slope_layer_offset"].dump();
    const auto total = static_cast<int64_t>(input.size() + decode.size());

    Ran r = shell("\"$R\" logits --model '" + golden.string() +
                      "' --tokens ids.json --out f64.safetensors --dtype f64 --chunk 32" + offset,
                  folder.path);
    REQUIRE(r.err == "");
    REQUIRE(r.code == 0);
    const SafeTensors got = SafeTensors::open(folder.path / "f64.safetensors");
    CHECK(got.at("logits").dtype == DType::f64);
    CHECK(got.at("logits").shape[0] == total);
    std::vector<double> rows = as_doubles(expected.at("logits")), more = as_doubles(expected.at("decode_logits"));
    rows.insert(rows.end(), more.begin(), more.end());
    // 1e-9 of the logits' standard deviation, which is 2
    CHECK(max_abs_difference(as_doubles(got.at("logits")), rows) <= 2e-9);
    CHECK(got.contains("mtp_logits") == (name == "v2_softmax_mtp"));
    if (got.contains("mtp_logits")) {
      CHECK(got.at("mtp_logits").shape[0] == total - 1);
      CHECK(max_abs_difference(as_doubles(got.at("mtp_logits")), as_doubles(expected.at("mtp_logits"))) <= 2e-9);
    }

    r = shell("\"$R\" logits --model '" + golden.string() + "' --tokens ids.json --out f32.safetensors" + offset,
              folder.path);
    REQUIRE(r.code == 0);
    const SafeTensors f32 = SafeTensors::open(folder.path / "f32.safetensors");
    CHECK(f32.at("logits").dtype == DType::f32);
    // ten times what the official code itself loses in 32 bits
    CHECK(max_abs_difference(as_doubles(f32.at("logits")), rows) <=
          10 * notes["measures"]["f32_vs_f64_max_abs"].get<double>());
  }
}

TEST_CASE("bad requests for logits are refused before anything runs") {
  Folder folder;
  const auto refused = [&](const std::string& json, const std::string& message) {
    INFO(json);
    std::ofstream(folder.path / "ids.json") << json;
    const Ran r = shell("\"$R\" logits --model tiny --tokens ids.json --out out.safetensors", folder.path);
    CHECK(r.code == 2);
    CHECK(r.err.find("error: --tokens: ids.json: " + message) == 0);
    CHECK_FALSE(fs::exists(folder.path / "out.safetensors"));
  };
  refused("{", "not a JSON object.");
  refused("[1]", "not a JSON object.");
  refused("{}", "\"input_ids\" is missing or empty");
  refused(R"({"input_ids": []})", "\"input_ids\" is missing or empty");
  refused(R"({"input_ids": 3})", "\"input_ids\" is not a list of token ids.");
  refused(R"({"input_ids": [1, -1]})", "input_ids[1] is -1; token ids of this model are whole numbers from 0 to ");
  refused(R"({"input_ids": [1, 1.5]})", "input_ids[1] is 1.5;");
  refused(R"({"input_ids": [1], "decode_ids": [99999999999]})", "decode_ids[0] is 99999999999;");
  refused(R"({"input_ids": ["a"]})", "input_ids[0] is \"a\";");
  refused(R"({"input_ids": [[1, 2]]})", "input_ids[0] is array;");
  const std::string deep(100000, '[');
  refused("{\"input_ids\": " + deep + std::string(deep.size(), ']') + "}", "input_ids[0] is array;");

  std::ofstream(folder.path / "ids.json") << R"({"input_ids": [1, 2]})";
  const auto line = [&](const std::string& arguments) {
    return shell("\"$R\" logits --model tiny " + arguments, folder.path);
  };
  CHECK(line("--tokens ids.json --out out.safetensors").code == 0);  // without decode_ids
  CHECK(line("--tokens missing.json --out x").err == "error: --tokens: cannot read 'missing.json'.\n");
  CHECK(line("--tokens ids.json --out nowhere/x").err ==
        "error: --out: cannot write 'nowhere/x': No such file or directory.\n");
  CHECK(line("--tokens ids.json --out .").err == "error: --out: cannot write '.': Is a directory.\n");
  CHECK(line("--tokens ids.json --out ''").err == "error: --out: the path is empty. Name a .safetensors file.\n");
  CHECK(line("--out x").err.find("error: --tokens FILE is missing.") == 0);
  CHECK(line("--tokens ids.json --out x --threads 1025").err ==
        "error: --threads: 1025 is too large. The most is 1024.\n");
  CHECK(line("--tokens ids.json --out x --dtype bf16").code == 3);
}

TEST_CASE("logits that the disk has no room for: exit 3, and nothing half done is left") {
  Folder folder;
  std::ofstream(folder.path / "ids.json") << R"({"input_ids": [1, 2, 3, 4, 5, 6, 7, 8]})";
  const Ran full = shell("\"$R\" logits --model tiny --tokens ids.json --out /dev/full", folder.path);
  CHECK(full.code == 3);
  CHECK(full.err == "error: --out: /dev/full: cannot write: No space left on device\n");
  const Ran limited = shell("ulimit -f 1; \"$R\" logits --model tiny --tokens ids.json --out x", folder.path);
  CHECK(limited.code == 3);
  CHECK(limited.err.find("error: --out: x.part") == 0);
  CHECK(std::distance(fs::directory_iterator(folder.path), {}) == 1);  // ids.json
}

TEST_CASE("one token and an MTP layer: mtp_logits is there, without rows") {
  Folder folder;
  std::ofstream(folder.path / "ids.json") << R"({"input_ids": [1]})";
  REQUIRE(shell("\"$R\" logits --model '" + (goldens() / "v2_softmax_mtp").string() + "' --tokens ids.json --out x",
                folder.path)
              .code == 0);
  const SafeTensors got = SafeTensors::open(folder.path / "x");
  CHECK(got.at("logits").shape == std::vector<int64_t>{1, 250});
  CHECK(got.at("mtp_logits").shape == std::vector<int64_t>{0, 250});
}

TEST_CASE("a measuring command: table on stdout, records in files and in the run's folder") {
  Folder folder;
  const Ran r = shell("\"$R\" prefill --model tiny --ctx 16,32 --reps 2 --tag who=me --quiet -o out.json -o out.csv",
                      folder.path);
  REQUIRE(r.code == 0);
  CHECK(r.err.empty());
  CHECK(r.out.find("prefill") != std::string::npos);
  CHECK(r.out.find('\x1b') == std::string::npos);
  const Json records = Json::parse(read_file(folder.path / "out.json"));
  REQUIRE(records.size() == 2);
  CHECK(records[0]["ctx"] == 16);
  CHECK(records[0]["n"] == 2);
  CHECK(records[0]["stop"] == "fixed");
  CHECK(records[0]["tag_who"] == "me");
  CHECK(records[0]["samples"].size() == 2);
  CHECK(lines_of(read_file(folder.path / "out.csv")) == 3);
  int64_t runs = 0;
  for (const auto& entry : fs::directory_iterator(folder.path / "results/runs"))
    if (entry.is_directory()) {
      ++runs;
      CHECK(lines_of(read_file(entry.path() / "points.jsonl")) == 2);
      CHECK(Json::parse(read_file(entry.path() / "run.json"))["exit_code"] == 0);
    }
  CHECK(runs == 1);
  CHECK(lines_of(read_file(folder.path / "results/runs/index.jsonl")) == 1);

  const Ran json = shell("\"$R\" prefill --model tiny --ctx 16 --reps 1 --no-save --json 2>/dev/null", folder.path);
  CHECK(Json::parse(json.out).size() == 1);
  CHECK(shell("\"$R\" prefill --model tiny --ctx 16 --reps 1 --no-save --json >/dev/full").code == 3);
  // A disk that fills up after the measurement: exit 3, and what was measured is in the run's folder.
  const Ran full =
      shell("ln -s /dev/full x.csv && \"$R\" prefill --model tiny --ctx 16 --reps 1 -q -o x.csv", folder.path);
  CHECK(full.code == 3);
  CHECK(full.err == "error: --output: writing 'x.csv' failed: No space left on device.\n");
}

TEST_CASE("a point that fails becomes a row, the rest goes on, exit 1") {
  const Ran r = shell("\"$R\" prefill --model tiny --hybrid model,6:1 --ctx 16 --reps 1 --no-save --json -q");
  CHECK(r.code == 1);
  const Json records = Json::parse(r.out);
  REQUIRE(records.size() == 2);
  CHECK(records[0]["status"] == "ok");
  CHECK(records[1]["status"] == "error");
  CHECK(records[1]["value"].is_null());
  CHECK(records[1]["error"].get<std::string>().find("--hybrid 6:1 needs a multiple of 7 layers") == 0);
}

TEST_CASE("beyond the trained window: warned about, flagged X, not refused") {
  const Ran r = shell("\"$R\" prefill --model tiny --ctx 32 --yarn 1 --reps 1 --no-save --json");
  REQUIRE(r.code == 0);
  const int64_t window = Json::parse(r.out)[0]["trained_window"];
  Folder folder;
  Json config = Json::parse(read_file(goldens() / "v2_hybrid" / "config.json"));
  config["max_position_embeddings"] = 16;
  std::ofstream(folder.path / "config.json") << config;
  const Ran beyond = shell("\"$R\" prefill --config config.json --ctx 32 --reps 1 --no-save --json", folder.path);
  REQUIRE(beyond.code == 0);
  CHECK(window > 32);
  CHECK(beyond.err.find(
            "warning W-WINDOW: ctx 32 is beyond the trained window 16 (no YaRN): timing only, row flagged X.") !=
        std::string::npos);
  CHECK(Json::parse(beyond.out)[0]["flags"].get<std::string>().find('X') != std::string::npos);
}

TEST_CASE("Ctrl-C keeps the finished points and exits 130, SIGTERM 143, a second one stops at once") {
  for (const auto& [signals, code] :
       std::vector<std::pair<std::vector<int>, int>>{{{SIGINT}, 130}, {{SIGTERM}, 143}, {{SIGINT, SIGINT}, 130}}) {
    Folder folder;
    const pid_t child = fork();
    if (child == 0) {
      if (chdir(folder.path.c_str()) != 0) _exit(99);
      const int null = open("/dev/null", O_WRONLY);
      dup2(null, STDOUT_FILENO);
      dup2(null, STDERR_FILENO);
      execl(RINGBENCH_PROGRAM, "ringbench", "prefill", "--model", "tiny", "--ctx", "16,4k", "--reps", "1000000",
            "--estimate", "never", nullptr);
      _exit(99);
    }
    const fs::path lock = folder.path / "results/runs" / ("lock-" + host_hash().substr(0, 8));
    for (int i = 0; i < 500 && !fs::exists(lock); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    REQUIRE(fs::exists(lock));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the first point is under way
    for (const int signal : signals) {
      kill(child, signal);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == code);
    CHECK((signals.size() > 1 || !fs::exists(lock)));  // stopped at once: it stays, but nobody holds it
  }
}
