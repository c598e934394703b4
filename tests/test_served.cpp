// Servers as an engine: what is measured of one that does as it is told, what its rows say, how what goes wrong is
// told, and that the reference knows one whose tokens are its own.
#include <atomic>
#include <cmath>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "evals/tokenizer.h"
#include "harness/client_overhead.h"
#include "harness/failure.h"
#include "harness/result.h"
#include "harness/server_recipe.h"
#include "harness/wait.h"
#include "reference/config.h"
#include "reference/engine.h"
#include "reference/weights.h"
#include "tests/catch.h"
#include "tests/fake_server.h"
#include "tests/folder.h"
#include "tests/program.h"

using namespace ringbench;
using Json = nlohmann::json;

namespace {

namespace fs = std::filesystem;

const std::string checkpoint = std::string(RINGBENCH_SOURCE_DIR) + "/evals/training/checkpoints/3-1-s0";

const char* const models = R"({"data": [{"id": "org/tiny-model", "owned_by": "vllm", "max_model_len": 4096}]})";

// As many tokens as the body asks for, after these delays; the counts are the truth plus what `lie` adds.
struct Lie {
  int64_t read = 0, written = 0, cached = 0;
};
FakeAnswer answer_to(const FakeRequest& request, double first_s = 0, double each_s = 0, const Lie& lie = {}) {
  const Json body = Json::parse(request.body);
  const int64_t tokens = body.at("max_tokens").get<int64_t>() + lie.written;
  const auto read = static_cast<int64_t>(body.at("prompt").size()) + lie.read;
  FakeAnswer answer = fake_stream(tokens, first_s, each_s);
  answer.pieces.back().bytes = kFakeFinish + fake_usage(read, tokens, lie.cached) + kFakeDone;
  return answer;
}

Ran measure(const FakeServer& server, const std::string& words, const fs::path& where) {
  return run(words + " --engine openai:" + server.url() + " --model tiny --json", where);
}

Json rows_of(const Ran& r, int code = 0) {
  INFO(r.err);
  REQUIRE(r.code == code);
  return Json::parse(r.out);
}

bool has_warning(const Json& row, const std::string& code) {
  const Json& all = row.at("warnings");
  return std::any_of(all.begin(), all.end(), [&](const Json& w) { return w.get<std::string>().starts_with(code); });
}

std::string all_files(const fs::path& folder) {
  std::string all;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) all += read_file(entry.path());
  return all;
}

}  // namespace

TEST_CASE("prefill, decode and e2e of a server count from when a request is due", "[served]") {
  FakeServer server([](const FakeRequest& request) { return answer_to(request, 0.05, 0.01); });
  server.set_page("/v1/models", models);
  const Folder folder;

  const Json prefill = rows_of(measure(server, "prefill --ctx 32 --batch 2 --reps 2", folder.path)).at(0);
  CHECK(prefill["value"] >= 0.05);
  CHECK(prefill["metric"] == "ttft_s");
  CHECK(prefill["isl_actual"] == 32);
  CHECK(prefill["osl_actual"] == 1);
  CHECK(prefill["concurrency"] == 2);
  CHECK(prefill["flags"] == "U");
  CHECK(prefill["dtype"] == "unknown");
  CHECK(prefill["weights"] == "org/tiny-model");
  for (const char* nothing : {"kv_bytes", "weights_bytes", "chunk", "threads", "mfu", "kv_dtype", "tpot_s"})
    CHECK(prefill[nothing].is_null());

  const Json decode = rows_of(measure(server, "decode --ctx 16 --gen 9 --reps 2", folder.path)).at(0);
  CHECK(decode["value"] >= 0.009);  // 80 ms for 8 tokens, and a client's and a server's clock
  CHECK(decode["value"] < decode["ttft_s"]);
  CHECK(decode["itl_p50_s"] > 0);
  CHECK(decode["osl_actual"] == 9);

  const int64_t before = server.received();
  const Json e2e =
      rows_of(measure(server, "e2e --ctx 8 --gen 4 --batch 2 --requests 6 --reps 2 --warmup 0", folder.path)).at(0);
  CHECK(server.received() - before == 12 + 1);  // and one that asks whether ids are taken
  CHECK(server.completed() == server.received());
  CHECK(e2e["value"] >= 3 * 0.08);
  CHECK(e2e["requests"] == 6);
  CHECK(e2e["tok_s"].get<double>() == Approx(24 / e2e["value"].get<double>()));
  const double begin_s = now_s();
  const Json often = rows_of(measure(server, "e2e --ctx 8 --gen 4 --reps 12 --warmup 0", folder.path)).at(0);
  const Numbers samples = often["samples"];
  CHECK(std::accumulate(samples.begin(), samples.end(), 0.0) < now_s() - begin_s);  // each of its own time alone

  // The same points as the reference's.
  const Json mine = Json::parse(run("prefill --ctx 32 --batch 2 --model tiny --engine reference --dry-run --json").out);
  CHECK(mine.at(0)["point_id"] == prefill["point_id"]);
  CHECK(Json::parse(read_file(run_folder(folder.path / "results/runs") / "servers.jsonl")).at(0)["model"] ==
        "org/tiny-model");
}

TEST_CASE("no prompt is sent twice, in no run", "[served]") {
  std::mutex mutex;
  std::multiset<std::string> prompts;
  FakeServer server([&](const FakeRequest& request) {
    const std::lock_guard lock(mutex);
    prompts.insert(Json::parse(request.body).at("prompt").dump().substr(0, 12));  // a prefix is enough for a cache
    return answer_to(request);
  });
  server.set_page("/v1/models", models);
  const Folder folder;
  for (int i = 0; i < 2; ++i)
    CHECK(measure(server, "prefill --ctx 64,128 --batch 3 --reps 2 --warmup 1 --seed 5", folder.path).code == 0);
  CHECK(prompts.erase("[1,2,3]") == 2);  // whether ids are taken
  CHECK(prompts.size() == 2 * 2 * 3 * 3);
  CHECK(std::set<std::string>(prompts.begin(), prompts.end()).size() == prompts.size());
}

TEST_CASE("an open load comes at its own times, and says what share was served in time", "[served]") {
  FakeServer server(
      [](const FakeRequest& request) { return answer_to(request, request.number % 2 == 0 ? 0.5 : 0, 0); });
  server.set_page("/v1/models", models);
  const Folder folder;
  const Json row = rows_of(measure(server,
                                   "e2e --ctx 8 --gen 2 --requests 20 --rate 200 --goodput ttft:400ms --reps 1 "
                                   "--warmup 0 --parity off",
                                   folder.path))
                       .at(0);
  CHECK(row["rate"] == 200);
  CHECK(row["concurrency"].is_null());
  CHECK(row["goodput"].get<double>() <= 0.5);
  CHECK(row["tok_s"].get<double>() > 8);  // 40 tokens; one request after another would take 5 s
  CHECK(server.received() == 21);

  std::mutex mutex;
  std::vector<double> arrivals;
  FakeServer prompt([&](const FakeRequest& request) {
    const std::lock_guard lock(mutex);
    arrivals.push_back(now_s());
    return answer_to(request);
  });
  prompt.set_page("/v1/models", models);
  CHECK(measure(prompt, "e2e --ctx 8 --gen 2 --requests 8 --rate 5 --reps 1 --warmup 0", folder.path).code == 0);
  CHECK(arrivals.size() == 9);
  CHECK(arrivals[8] - arrivals[1] > 0.1);  // 1.4 s, and less than this once in a million times
  CHECK(measure(server, "e2e --ctx 8 --rate 3", folder.path).code == 2);
  CHECK(measure(server, "e2e --ctx 8 --goodput fast:1s", folder.path).code == 2);
}

TEST_CASE("each of several servers has a row of its own beside that of all", "[served]") {
  const auto count_cache = [](FakeServer& server, int64_t hits) {  // after the request that is being answered
    const int64_t requests = server.received();
    server.set_page("/metrics", "vllm:prefix_cache_queries_total " + std::to_string(16 * requests) +
                                    "\nvllm:prefix_cache_hits_total " + std::to_string(hits * requests) + "\n");
  };
  std::atomic<bool> stalls = false;
  FakeServer slow([&](const FakeRequest& request) {
    count_cache(slow, 0);
    return answer_to(request, stalls ? 0.3 : 0.2, 0.01);
  });
  FakeServer fast([&](const FakeRequest& request) {
    count_cache(fast, 5);
    return answer_to(request, 0, 0.01);
  });
  for (FakeServer* server : {&slow, &fast}) server->set_page("/v1/models", models), count_cache(*server, 0);
  const Folder folder;
  const std::string engine = "openai:" + slow.url() + "+" + fast.url();
  const std::string e2e =
      "e2e --ctx 16 --gen 3 --batch 3 --requests 5 --reps 2 --warmup 0 --model tiny --engine " + engine + " --json";
  const Json rows = rows_of(run(e2e, folder.path));
  REQUIRE(rows.size() == 3);
  const Json &all = rows[0], &first = rows[1], &second = rows[2];
  CHECK(all["engine"] == engine);
  CHECK(all["replica_of"].is_null());
  CHECK(first["engine"] == "openai:" + slow.url());
  CHECK(second["engine"] == "openai:" + fast.url());
  for (const Json& row : {first, second}) {
    CHECK(row["replica_of"] == engine);
    CHECK(row["n"] == 2);
    CHECK(row["repro"] == all["repro"]);
    CHECK(row["concurrency"].is_null());  // which stream asks which server is not fixed
  }
  CHECK(first["requests"] == 3);
  CHECK(second["requests"] == 2);
  CHECK(first["value"] >= 0.2);
  CHECK(first["ttft_s"] >= 0.2);
  CHECK(second["ttft_s"] < 0.2);
  CHECK(second["value"] < first["value"]);
  CHECK(all["value"] >= first["value"]);
  CHECK(first["tok_s"].get<double>() == Approx(9 / first["value"].get<double>()));
  CHECK(first["cached_tokens"] == 0);
  CHECK(second["cached_tokens"] == 2 * 2 * 5);
  CHECK(second["flags"] == "CU");

  // One that is lost is measured again with the others; those that are there stay.
  const fs::path points = run_folder(folder.path / "results/runs") / "points.jsonl";
  const std::string lines = read_file(points);
  std::ofstream(points) << lines.substr(0, lines.rfind('\n', lines.size() - 2) + 1);
  stalls = true;
  const Json again = rows_of(run(e2e + " --resume", folder.path));
  REQUIRE(again.size() == 3);
  CHECK(again[0] == all);
  CHECK(again[1] == first);
  CHECK(again[2]["point_id"] == second["point_id"]);
  CHECK(again[2]["value"] != second["value"]);

  const Json prefill =
      rows_of(run("prefill --ctx 16 --batch 1 --reps 1 --model tiny --engine " + engine + " --json", folder.path));
  CHECK(prefill.size() == 2);  // one request, and so one server
}

TEST_CASE("what the client adds is in every row, and said where it matters", "[served]") {
  FakeServer server([](const FakeRequest& request) { return answer_to(request, 0.01, 0); });
  server.set_page("/v1/models", models);
  const Folder folder;
  const std::string command = "e2e --ctx 8 --gen 4 --batch 8 --reps 1 --warmup 0";
  const Json row = rows_of(measure(server, command, folder.path)).at(0);
  for (const char* field : {"client_ttft_s", "client_itl_s", "client_tok_s"}) CHECK(row[field] > 0);
  CHECK(row["client_ttft_s"] < 10);
  const Ran table = run(command + " --model tiny --engine openai:" + server.url(), folder.path);
  CHECK(table.out.find("client: adds up to ") != std::string::npos);

  const ClientOverhead client{0.001, 1e-5, 1000};
  CHECK(warnings_of(client, 0.02, 500).empty());
  CHECK(warnings_of(client, 0.0199, 0) ==
        Strings{"W-CLIENT: up to 1.000 ms of a first token's 19.90 ms are the client's own."});
  CHECK(warnings_of(client, 1, 501) ==
        Strings{"W-CLIENT: 501 tokens/s came, and the client is only known to take 1 000: it may have been what limits "
                "them."});
}

TEST_CASE("what was not as asked is flagged: lengths, caches, texts for ids", "[served]") {
  const Folder folder;
  const auto row_with = [&](const Lie& lie) {
    FakeServer server([lie](const FakeRequest& request) { return answer_to(request, 0, 0, lie); });
    server.set_page("/v1/models", models);
    return rows_of(measure(server, "e2e --ctx 200 --gen 8 --reps 1", folder.path)).at(0);
  };
  CHECK(row_with({})["flags"] == "U");
  const Json shorter = row_with({0, -2, 0});
  CHECK(shorter["flags"] == "LU");
  CHECK(shorter["osl_actual"] == 6);
  CHECK(has_warning(shorter, "W-LENGTH"));
  CHECK(row_with({1, 0, 0})["flags"] == "LU");  // a token of beginning that nobody asked for
  const Json cached = row_with({0, 0, 100});
  CHECK(cached["flags"] == "CU");
  CHECK(cached["cached_tokens"] == 100);
  CHECK(row_with({0, 0, 1})["flags"] == "U");  // half a percent

  FakeServer texts([](const FakeRequest& request) {
    if (Json::parse(request.body).at("prompt").is_array())
      return fake_plain(400, R"({"error": {"message": "no ids"}})");
    return answer_to(request, 0, 0, {});
  });
  texts.set_page("/v1/models", models);
  const Json row = rows_of(measure(texts, "prefill --ctx 200 --reps 1", folder.path)).at(0);
  CHECK(row["flags"] == "LU");
  CHECK(has_warning(row, "W-TEXT"));
}

TEST_CASE("a request that fails is a row that failed, and the rest goes on", "[served]") {
  FakeServer server([](const FakeRequest& request) {
    if (Json::parse(request.body).at("prompt").size() == 16) {
      FakeAnswer broken = answer_to(request);
      broken.pieces.resize(2);
      broken.end = FakeAnswer::End::disconnect;
      return broken;
    }
    return answer_to(request);
  });
  server.set_page("/v1/models", models);
  const Folder folder;
  const Json rows = rows_of(measure(server, "e2e --ctx 8,16,32 --gen 6 --reps 1", folder.path), 1);
  REQUIRE(rows.size() == 3);
  CHECK(rows[0]["status"] == "ok");
  CHECK(rows[1]["status"] == "error");
  CHECK(rows[1]["value"].is_null());
  CHECK(rows[1]["error"].get<std::string>().find("request 1 of ") != std::string::npos);
  CHECK(rows[2]["status"] == "ok");
}

TEST_CASE("what keeps a server from being measured is one line, and nothing is run", "[served]") {
  FakeServer server;
  server.set_page("/v1/models", models);
  const Folder folder;
  const auto refused = [&](const std::string& words, int code, const std::string& message) {
    const Ran r = run(words, folder.path);
    INFO(words + "\n" + r.err);
    CHECK(r.code == code);
    CHECK(r.out.empty());
    CHECK(r.err.starts_with("error: "));
    CHECK(r.err.find(message) != std::string::npos);
  };
  const std::string engine = " --engine openai:" + server.url();
  refused("prefill --model tiny --ctx 8,16 --engine openai:http://127.0.0.1:1", 3, "127.0.0.1:1");
  refused("prefill --model tiny --ctx 8,16 --served-model other" + engine, 3, "org/tiny-model");
  refused("prefill --ctx 8" + engine, 2, "which model does it serve?");
  refused("prefill --model tiny --hybrid softmax --ctx 8" + engine, 2, "a server has the layers of its model");
  refused("prefill --model tiny --ctx 8 --engine openai:ftp://x", 2, "ftp");
  refused("prefill --model tiny --ctx 8 --rate 2", 2, "--rate is for a server");
  refused("e2e --model tiny --ctx 8 --batch auto --requests 4" + engine, 2, "--batch auto");
  refused("decode --model tiny --ctx 8 --gen 1" + engine, 1, "--gen of 2 or more");
  refused("prefill --model tiny --ctx 8 --parity require" + engine, 4, "no --weights");
  refused("logits --tokens x.json --out y --weights " + checkpoint + engine, 2, "not looked into");
  refused("prefill --model tiny --ctx 8 --server nobody", 2, "is no recipe");
  CHECK(server.received() <= 4);  // what asks whether ids are taken
  const std::string kept = fs::exists(folder.path / "results") ? all_files(folder.path / "results") : "";
  CHECK(kept.find("ttft_s\",\"value\":0") == std::string::npos);
}

TEST_CASE("the key is sent, and written nowhere", "[served]") {
  FakeServer server([](const FakeRequest& request) { return answer_to(request); });
  server.set_page("/v1/models", models);
  server.require_key("sesame-4711");
  const Folder folder;
  CHECK(measure(server, "prefill --ctx 8 --reps 1", folder.path).code == 3);
  setenv("RINGBENCH_API_KEY", "sesame-4711", 1);
  const Ran r = measure(server, "prefill --ctx 8 --reps 1 --verbose", folder.path);
  unsetenv("RINGBENCH_API_KEY");
  CHECK(r.code == 0);
  CHECK((r.out + r.err + all_files(folder.path)).find("sesame") == std::string::npos);
}

TEST_CASE("a server that --start starts is stopped in the end, and told of if it never answers", "[served]") {
  const Folder folder;
  const auto run_with = [&](const std::string& command) {
    const std::vector<std::string> words = {
        "prefill", "--model", "tiny", "--ctx", "8,16", "--ready-timeout", "1s", "--engine", "openai:http://127.0.0.1:1",
        "--start", command};
    return finish(start(words, folder.path), folder.path);
  };
  const Ran r = run_with("echo loading; echo $$ > pid; exec sleep 1000");
  INFO(r.err);
  CHECK(r.code == 3);
  CHECK(r.err.find("loading") != std::string::npos);
  CHECK(kill(std::stoi(read_file(folder.path / "pid")), 0) != 0);
  const Ran dead = run_with("echo no such model >&2; exit 7");
  CHECK(dead.code == 3);
  CHECK(dead.err.find("no such model") != std::string::npos);
}

TEST_CASE("servers that are started follow each other: they share a machine", "[served]") {
  const auto free_port = [] {
    const FakeServer server;
    return server.url().substr(server.url().rfind(':') + 1);
  };
  const Folder folder;
  const std::string one = free_port(), two = free_port();
  const std::vector<std::string> words = {
      "prefill",  "--model",
      "tiny",     "--ctx",
      "8,16",     "--reps",
      "1",        "--json",
      "--engine", "openai:http://127.0.0.1:" + one + ",openai:http://127.0.0.1:" + two,
      "--start",  "exec python3 " + std::string(RINGBENCH_SOURCE_DIR) + "/tests/started_server.py " + one + " " + two};
  const Json rows = rows_of(finish(start(words, folder.path), folder.path));
  CHECK(rows.size() == 4);
  CHECK(!fs::exists(folder.path / "overlap"));
  CHECK(kill(std::stoi(read_file(folder.path / "pid")), 0) != 0);
}

TEST_CASE("eval asks a server, keeps each answer, and goes on where it was broken off", "[served][eval]") {
  const Folder folder;
  std::ofstream(folder.path / "sums.jsonl") << R"({"id": "a", "problem": "1 + 1", "answer": "2"})"
                                            << "\n"
                                            << R"({"id": "b", "problem": "2 + 2", "answer": "4"})"
                                            << "\n"
                                            << R"({"id": "c", "problem": "3 + 3", "answer": "6"})"
                                            << "\n";
  std::atomic<bool> broken = true;
  FakeServer server([&](const FakeRequest& request) {
    if (!Json::parse(request.body).contains("messages")) return answer_to(request);  // whether ids are taken
    const std::string problem = Json::parse(request.body).at("messages").at(0).at("content");
    if (broken && problem.starts_with("3")) return fake_plain(500, R"({"error": {"message": "out of order"}})");
    FakeAnswer answer;
    const auto delta = [](const std::string& key, const std::string& text) {
      return fake_event(Json{{"choices", {{{"index", 0}, {"delta", {{key, text}}}}}}}.dump());
    };
    answer.pieces = {{0, delta("reasoning_content", "hm")},
                     {0, delta("content", problem.starts_with("2")
                                              ? "\\boxed{5}"
                                              : "\\boxed{" + std::string(problem.starts_with("1") ? "2" : "6") + "}")},
                     {0, kFakeFinish + fake_usage(5, 7) + kFakeDone}};
    return answer;
  });
  server.set_page("/v1/models", models);
  const std::string words = "eval sums.jsonl --n 1 --model tiny --slots 1 --json --engine openai:" + server.url();
  const Ran first = run(words, folder.path);
  INFO(first.err);
  CHECK(first.code == 3);
  CHECK(first.err.find("question c: HTTP 500") != std::string::npos);
  broken = false;
  const int64_t before = server.received();
  const Json row = rows_of(run(words + " --resume", folder.path)).at(0);
  CHECK(server.received() - before == 2);  // the one that was left, and the question whether ids are taken
  CHECK(row["value"].get<double>() == Approx(100.0 * 2 / 3));
  CHECK(row["weights"] == "tiny-model");
  CHECK(row["task"] == "sums");
  const std::string samples =
      read_file(run_folder(folder.path / "results/runs") / "eval/sums.tiny-model.samples.jsonl");
  CHECK(samples.find("<think>hm</think>\\\\boxed{2}") != std::string::npos);
}

TEST_CASE("log-probabilities tell a server of this checkpoint from another", "[served][parity]") {
  const ModelConfig config = ModelConfig::load(fs::path(checkpoint) / "config.json");
  const Weights weights = Weights::load(config, checkpoint);
  const Tokenizer tokenizer = Tokenizer::load(checkpoint);
  std::mutex one_at_a_time;
  const auto answer_with_odds = [&](const FakeRequest& request, double off) {  // off: added to every log-probability
    const Json body = Json::parse(request.body);
    if (!body.contains("logprobs")) return answer_to(request);
    const std::lock_guard lock(one_at_a_time);
    EngineOptions options;
    options.max_tokens = 256;
    const auto engine = make_reference_engine(config, weights, options);
    std::vector<int32_t> tokens = body.at("prompt");
    Json content = Json::array();
    const size_t read = tokens.size();
    std::span<const int32_t> fed = tokens;
    std::vector<int32_t> next(1);
    for (int64_t i = 0; i < body.at("max_tokens"); ++i) {
      const Step step{0, fed};
      engine->forward({&step, 1}, Rows::last);
      engine->argmax(next);
      const std::span<const float> logits = engine->logits().as<float>();
      double sum = 0;
      for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
      content.push_back(
          {{"id", next[0]}, {"token", "?"}, {"logprob", logits[static_cast<size_t>(next[0])] - std::log(sum) + off}});
      fed = next;
    }
    return fake_plain(
        200, Json{{"choices",
                   {{{"index", 0}, {"text", "?"}, {"finish_reason", "length"}, {"logprobs", {{"content", content}}}}}},
                  {"usage", {{"prompt_tokens", read}, {"completion_tokens", content.size()}}}}
                 .dump());
  };
  double off = 0;
  FakeServer server([&](const FakeRequest& request) { return answer_with_odds(request, off); });
  FakeServer wrong_one([&](const FakeRequest& request) { return answer_with_odds(request, 1e-3); });
  for (FakeServer* one : {&server, &wrong_one}) one->set_page("/v1/models", models);
  const Folder folder;
  const std::string words =
      "prefill --ctx 8 --reps 1 --json --dtype f32 --weights " + checkpoint + " --engine openai:" + server.url();
  const Json row = rows_of(run(words, folder.path)).at(0);
  CHECK(row["parity"] == "pass");
  CHECK(row["parity_worst"] < 1);
  CHECK(row["weights_fingerprint"] == weights.fingerprint());
  CHECK(row["flags"] == "");
  // Its rows pair with the reference's of the same checkpoint.
  const Ran mine = run("prefill --ctx 8 --reps 1 --parity off -o mine.jsonl --weights " + checkpoint, folder.path);
  INFO(mine.err);
  CHECK(mine.code == 0);
  std::ofstream(folder.path / "its.jsonl") << row.dump() << "\n";
  CHECK(run("compare mine.jsonl its.jsonl --fail-on none", folder.path).code == 2);
  const Ran compared = run("compare mine.jsonl its.jsonl --across engine --fail-on none", folder.path);
  INFO(compared.out + compared.err);
  CHECK(compared.code == 0);
  CHECK(compared.out.find("UNMATCHED 1") == std::string::npos);

  const Ran replicas = run(words + "+" + wrong_one.url() + " --batch 2", folder.path);
  for (const Json& its : rows_of(replicas, 4)) CHECK(its["parity"] == "fail");
  CHECK(replicas.err.find(wrong_one.url() + ": 48 tokens") != std::string::npos);

  off = 1e-3;
  const Json wrong = rows_of(run(words, folder.path), 4).at(0);
  CHECK(wrong["parity"] == "fail");
  CHECK(wrong["weights_fingerprint"].is_null());
  off = 0;
  CHECK(rows_of(run(words + " --slope-layer-offset mlx", folder.path), 4).at(0)["parity"] == "fail");
}

TEST_CASE("recipes say how the cards serve the models", "[served]") {
  const std::vector<std::string> names = server_recipe_names();
  CHECK(names.size() >= 5);
  for (const std::string& name : names) {
    INFO(name);
    const auto [recipe, first] = find_server_recipe(name);
    CHECK(first.stated);
    const std::vector<std::string> presets = preset_names();
    CHECK(std::find(presets.begin(), presets.end(), recipe.model) != presets.end());
    for (const ServerVariant& variant : recipe.variants) {
      const std::string command = server_command(recipe, variant, "", 8123);
      CHECK(command.find("8123") != std::string::npos);
      CHECK(command.find(recipe.repository) != std::string::npos);
      for (const char* mark : {"{weights}", "{port}", "{tp}"}) CHECK(command.find(mark) == std::string::npos);
    }
  }
  const Ran help = run("help servers");
  for (const std::string& name : names) CHECK(help.out.find(name) != std::string::npos);
  CHECK_THROWS_AS(find_server_recipe(names.front() + ":nothing"), UsageError);

  Plan plan;
  plan.model = "ring-mini-linear-2.0";
  const std::vector<Grid> grids =
      on_servers({{Command::prefill, plan}},
                 {"vllm-ring-mini-linear-2.0", "sglang-ring-mini-linear-2.0", "vllm-ring-flash-linear-2.0"});
  REQUIRE(grids.size() == 2);
  CHECK(grids[0].plan.start.starts_with("vllm serve "));
  CHECK(grids[0].plan.engine != grids[1].plan.engine);
  plan.model = "tiny";
  CHECK_THROWS_AS(on_servers({{Command::prefill, plan}}, {"vllm-ring-mini-linear-2.0"}), UsageError);
}
