// The command `runs`: verify finds edits, merge joins parts of a plan, import and export keep the numbers.
#include "harness/runs.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "harness/exports.h"
#include "harness/import.h"
#include "harness/plan.h"
#include "harness/records.h"
#include "harness/run_folder.h"
#include "harness/seal.h"
#include "harness/words.h"
#include "tests/catch.h"
#include "tests/checks.h"
#include "tests/folder.h"

using namespace ringbench;
namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

namespace {

Result row_of(int64_t ctx, const std::string& phase = "prefill") {
  Result r;
  char id[17];
  std::snprintf(id, sizeof id, "%016llx", static_cast<unsigned long long>(ctx));
  r.point_id = id;
  r.run_id = "run";
  r.phase = phase;
  r.engine = "reference";
  r.date = "2026-01-01T12:00:00Z";
  r.model = "ring-nano-linear";
  r.hybrid = "3:1";
  r.ctx = ctx;
  r.ctx_label = token_label(ctx);
  r.gen = phase == "prefill" ? 0 : 4;
  r.dtype = "f32";
  r.slope_layer_offset = "0";
  r.weights = "dummy:scaled";
  r.chunk = 512;
  r.metric = phase == "prefill" ? "ttft_s" : phase == "decode" ? "tpot_s" : "e2e_s";
  r.samples = {1, 2, 3, 4, 5, 6};
  r.value = 3.5, r.n = 6, r.ci95_low = 1, r.ci95_high = 6;
  r.device = "a CPU";
  r.commit = "4f2a9c1";
  return r;
}

// What `runs ACTION WORDS` prints, and its exit code; the message if it is refused.
struct Said {
  int code = -1;
  std::string text;
};
Said runs(RunsRequest request) {
  request.color = ColorWhen::never;
  std::ostringstream out;
  std::streambuf* before = std::cout.rdbuf(out.rdbuf());
  Said said;
  try {
    said.code = static_cast<int>(run_runs(request));
    said.text = out.str();
  } catch (const UsageError& e) {
    said = {2, std::string(e.what()) + "\n" + e.hint};
  }
  std::cout.rdbuf(before);
  return said;
}
Said runs(const fs::path& results, const std::string& action, const Strings& words = {}) {
  RunsRequest request;
  request.action = action;
  request.words = words;
  request.results = results;
  return runs(request);
}

// A finished run of three rows of a plan of four points, sealed.
fs::path make_run(const fs::path& results, const Strings& ctx, const std::string& sha = "plan",
                  const std::string& build = "0.1.0 4f2a9c1") {
  RunPlan plan;
  plan.experiment = "prefill";
  plan.argv = {"ringbench", "prefill"};
  plan.sha = sha;
  plan.build = build;
  OrderedJson points = OrderedJson::array();
  for (int64_t c = 1; c <= 4; ++c)
    points.push_back({{"point_id", row_of(c).point_id},
                      {"engine", "reference"},
                      {"dtype", "f32"},
                      {"chunk", 512},
                      {"phase", "prefill"},
                      {"model", "ring-nano-linear"},
                      {"hybrid", "3:1"},
                      {"ctx", c},
                      {"batch", 1}});
  plan.json =
      OrderedJson{{"schema", "ringbench.plan/1"}, {"plan_sha", sha}, {"shard", "1/2"}, {"points", points}}.dump();
  RunFolder folder(results, plan);
  for (const std::string& c : ctx) folder.append(row_of(std::stoll(c)));
  folder.finish(ExitCode::ok);
  fs::remove(folder.path() / "points.sha256");
  const Seal seal(folder.path());
  return folder.path();
}

void replace_in(const fs::path& file, const std::string& from, const std::string& to) {
  std::string text = read_file(file);
  const size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  write_file(file, text.replace(at, from.size(), to));
}

std::string import_refusal(const std::string& csv) {
  Folder folder;
  write_file(folder.path / "x.csv", csv);
  try {
    import_csv(folder.path / "x.csv");
  } catch (const UsageError& e) {
    return std::string(e.what());
  }
  return "";
}

}  // namespace

TEST_CASE("a seal tells which lines were changed, removed or added, and goes on after a crash") {
  Folder folder;
  const fs::path points = folder.path / "points.jsonl";
  write_file(points, "one\ntwo\nthree\n");
  CHECK_FALSE(check_seal(folder.path).sealed);
  {
    Seal seal(folder.path);  // seals what is there
    write_file(points, "one\ntwo\nthree\nfour\n");
    seal.add("four");
  }
  SealCheck check = check_seal(folder.path);
  CHECK(check.sealed);
  CHECK(check.lines == 4);
  CHECK(check.seals == 4);
  CHECK(check.changed.empty());

  write_file(points, "one\ntoo\nthree\nFour\n");
  CHECK(check_seal(folder.path).changed == std::vector<int64_t>{2, 4});  // not those between
  CHECK_THROWS_AS(Seal(folder.path), UsageError);
  write_file(points, "one\ntwo\nthree\n");
  CHECK(check_seal(folder.path).seals == 4);
  CHECK(check_seal(folder.path).lines == 3);
  CHECK(check_seal(folder.path).changed.empty());
  write_file(points, "one\nthree\nfour\n");
  CHECK(check_seal(folder.path).changed == std::vector<int64_t>{2, 3});

  // Killed after a record and before its seal, or within the seal, or within the record.
  write_file(points, "one\ntwo\nthree\nfour\nfive\n");
  CHECK(check_seal(folder.path).lines == 5);
  CHECK(check_seal(folder.path).seals == 4);
  write_file(folder.path / "points.sha256", read_file(folder.path / "points.sha256") + "0123");
  { const Seal seal(folder.path); }
  CHECK(check_seal(folder.path).seals == 5);
  CHECK(check_seal(folder.path).changed.empty());
  write_file(points, "one\ntwo\nthree\nfour\nfive\nsi");
  CHECK(check_seal(folder.path).torn_line);
  CHECK(check_seal(folder.path).lines == 5);
  CHECK_THROWS_AS(check_seal(folder.path / "none"), UsageError);
}

TEST_CASE("runs verify: whole runs pass, each kind of edit is named") {
  Folder folder;
  const fs::path results = folder.path / "runs", run = make_run(results, {"1", "2", "3"});
  const Said whole = runs(results, "verify");
  INFO(whole.text);
  CHECK(whole.code == 0);
  CHECK(contains(whole.text, "3 lines as written"));
  CHECK(contains(whole.text, "as written: " + run.string()));

  const std::string points = read_file(run / "points.jsonl");
  replace_in(run / "points.jsonl", "\"value\":3.5", "\"value\":2.5");
  const Said edited = runs(results, "verify", {run.filename().string()});
  CHECK(edited.code == 1);
  CHECK(contains(edited.text, "WRONG  points.jsonl:1: not as it was written\n"));
  CHECK_FALSE(contains(edited.text, "points.jsonl:2"));
  CHECK(contains(edited.text, "NOT as written: "));

  write_file(run / "points.jsonl", points + to_json_line(row_of(4)) + "\n");
  const Said added = runs(results, "verify");
  CHECK(added.code == 1);
  CHECK(contains(added.text, "points.jsonl:4: 1 line added afterwards"));
  CHECK(contains(added.text, "run.json counts 3 ok; the records are 4 ok"));

  write_file(run / "points.jsonl", points.substr(0, points.find('\n') + 1));
  CHECK(contains(runs(results, "verify").text, "points.jsonl has 1 line, but 3 were written"));

  write_file(run / "points.jsonl", points);
  replace_in(run / "plan.json", "\"plan_sha\":\"plan\"", "\"plan_sha\":\"other\"");
  CHECK(contains(runs(results, "verify").text, "plan.json is not the plan that run.json names"));

  fs::remove(run / "points.sha256");
  CHECK(contains(runs(results, "verify").text, "not sealed"));
  write_file(run / "points.jsonl", points + "{\"schema\":\n" + points);
  CHECK(contains(runs(results, "verify").text, "points.jsonl:4: this is no JSON"));
}

TEST_CASE("runs list and show: what there is, and which were broken off") {
  Folder folder;
  const fs::path results = folder.path / "runs";
  CHECK(contains(runs(results, "list").text, "no runs in"));
  const fs::path first = make_run(results, {"1", "2"});
  fs::path second;
  {
    RunFolder broken(results, {"decode", {"ringbench", "decode"}, "", "", ""});
    broken.append(row_of(5, "decode"));
    second = broken.path();
  }
  const std::string text = runs(results, "list").text;
  INFO(text);
  CHECK(contains(text, first.filename().string()));
  CHECK(contains(text, "2 ok"));
  CHECK(contains(text, "broken off"));
  RunsRequest request;
  request.action = "list";
  request.results = results;
  request.format = Format::json;
  const OrderedJson json = OrderedJson::parse(runs(request).text);
  REQUIRE(json.size() == 2);
  for (const OrderedJson& run : json) CHECK(run["counts"]["ok"] == (run["command"] == "decode" ? 1 : 2));

  const std::string shown = runs(results, "show", {first.string()}).text;
  CHECK(contains(shown, "command: ringbench prefill"));
  CHECK(contains(shown, "3.500 s"));
  CHECK(runs(results, "show", {"nothing"}).code == 2);
  CHECK(runs(results, "list", {"extra"}).code == 2);
  CHECK(contains(runs(results, "lst").text, "'lst' is none of list, show"));
}

TEST_CASE("runs merge: parts of one plan become one run; what is missing or another's is said") {
  Folder folder;
  const fs::path results = folder.path / "runs";
  const std::string a = make_run(results, {"1", "2"}).string(), b = make_run(results, {"2", "4"}).string();
  const Said merged = runs(results, "merge", {a, b});
  INFO(merged.text);
  CHECK(merged.code == 1);
  CHECK(contains(merged.text, "missing: prefill ring-nano-linear 3:1 ctx 3 bs 1 on reference\n"));
  CHECK(contains(merged.text, "1 row in more than one run: the last one named counts"));
  const fs::path path = find_run("", results);
  const auto rows = read_records(path);
  REQUIRE(rows.size() == 3);
  for (const Result& r : rows) CHECK(r.run_id == path.filename());
  CHECK(OrderedJson::parse(read_file(path / "plan.json"))["shard"] == "1/1");

  const std::string c = make_run(results, {"3"}).string();
  const Said all = runs(results, "merge", {path.string(), c});
  CHECK(all.code == 0);
  CHECK(contains(all.text, "(4 points, 0 missing)"));

  const std::string other = make_run(results, {"3"}, "another plan").string();
  CHECK(contains(runs(results, "merge", {a, other}).text, "is of another plan than"));
  RunsRequest request;
  request.action = "merge";
  request.results = results;
  request.words = {a, make_run(results, {"3", "4"}, "plan", "0.1.0 fffffff").string()};
  CHECK(contains(runs(request).text, "was measured by another build (0.1.0 fffffff; the first by 0.1.0 4f2a9c1)"));
  request.mix_builds = true;
  CHECK(runs(request).code == 0);
  CHECK(runs(results, "merge").code == 2);
}

TEST_CASE("runs import: foreign rows have our point ids, and say that they are foreign") {
  Folder folder;
  write_file(folder.path / "others.csv",
             "model,phase,ctx,gen,batch,engine,dtype,device,value,samples,tag_note\n"
             "ring-mini-linear-2.0,prefill,131072,,1,vllm,bf16,NVIDIA H100,2.5,,\"a, b\"\n"
             "somebody-elses,decode,1024,128,2,vllm,fp8,NVIDIA H100,,0.1;0.2;0.3;0.4;0.5;0.6,\n");
  const auto rows = import_csv(folder.path / "others.csv");
  REQUIRE(rows.size() == 2);
  Plan plan;
  plan.model = "ring-mini-linear-2.0";
  plan.ctx = {131072};
  plan.hybrid = {"model"};
  plan.engine = {"reference"};
  CHECK(rows[0].point_id == expand(plan, Command::prefill).front().id);
  CHECK(rows[0].layers == 20);
  CHECK(rows[0].dtype == "bf16");
  CHECK(rows[0].device == "NVIDIA H100");
  CHECK(rows[0].value == 2.5);
  CHECK(std::abs(*rows[0].tok_s - 131072 / 2.5) < 1e-6);
  CHECK(rows[0].flags == "U");
  CHECK(rows[0].parity == "none");
  CHECK(rows[0].weights == "unknown");
  CHECK(rows[0].tags.at("foreign") == "others.csv");
  CHECK(rows[0].tags.at("note") == "a, b");
  CHECK(rows[1].metric == "tpot_s");
  CHECK(std::abs(*rows[1].value - 0.35) < 1e-12);
  CHECK(rows[1].n == 6);
  CHECK(rows[1].ci95_low == 0.1);
  CHECK(rows[1].point_id != rows[0].point_id);

  const fs::path results = folder.path / "runs";
  const Said said = runs(results, "import", {(folder.path / "others.csv").string()});
  INFO(said.text);
  CHECK(said.code == 0);
  CHECK(contains(said.text, "(2 points, measured elsewhere)"));
  CHECK(read_records(find_run("", results)).size() == 2);

  const std::string header = "model,phase,ctx,engine,dtype,device,value", row = "tiny,prefill,64,x,f32,d,1\n";
  CHECK(import_refusal(header + "\n" + row).empty());
  CHECK(import_refusal(header + ",modle\n") ==
        "x.csv:1: column 'modle' is no field of the record. Did you mean model?");
  CHECK(contains(import_refusal(header + ",point_id\n"), "is filled in by the import"));
  CHECK(contains(import_refusal(header + ",ctx\n"), "column 'ctx' is there twice"));
  CHECK(import_refusal("model,phase\n") == "x.csv:1: the column 'ctx' is missing.");
  CHECK(import_refusal(header + "\ntiny,prefill\n") == "x.csv:2: 2 cells, but 7 columns.");
  CHECK(import_refusal(header + "\ntiny,prefill,,x,f32,d,1\n") == "x.csv:2: ctx is empty.");
  CHECK(contains(import_refusal(header + "\ntiny,prefill,6x,x,f32,d,1\n"), "x.csv:2: ctx: '6x' is not"));
  CHECK(contains(import_refusal(header + "\ntiny,prefill,64,x,f32,d,fast\n"), "value: 'fast' is not of type number"));
  CHECK(contains(import_refusal(header + "\ntiny,prefill,64,x,f32,d,\n"), "neither value nor samples"));
  CHECK(contains(import_refusal(header + "\ntiny,train,64,x,f32,d,1\n"), "gen is empty"));
  CHECK(contains(import_refusal(header + ",gen\nother,train,64,x,f32,d,1,2\n"), "phase is 'train'; it can be prefill"));
  CHECK(contains(import_refusal(header + "\n" + row + row), "x.csv:3: the same point as line 2"));
  CHECK(contains(import_refusal(""), "it is empty"));
  CHECK(contains(import_refusal(header + ",hybrid\ntiny,prefill,64,x,f32,d,1,5:2\n"), "x.csv:2: --hybrid"));
}

TEST_CASE("exports: llama-bench's array, llm-d's reports, and csv") {
  Result decode = row_of(1024, "decode"), failed = row_of(3), batch = row_of(4);
  failed.value = std::nullopt;
  failed.samples = {};
  batch.batch = 2;
  const std::vector<Result> rows = {row_of(512), decode, failed, batch, row_of(2, "e2e")};
  const auto exported = [&](const std::string& name, int64_t left_out) {
    std::ostringstream out;
    CHECK(write_export(out, name, rows, {}) == left_out);
    return out.str();
  };
  const OrderedJson bench = OrderedJson::parse(exported("llama-bench", 2));
  REQUIRE(bench.size() == 3);
  CHECK(bench[0]["n_prompt"] == 512);
  CHECK(bench[0]["n_gen"] == 0);
  CHECK(bench[0]["avg_ns"] == 3500000000);
  CHECK(bench[0]["stddev_ns"] == 1870828693);  // of 1..6
  CHECK(std::abs(bench[0]["samples_ts"][1].get<double>() - 256) < 1e-9);
  CHECK(bench[1]["n_prompt"] == 0);
  CHECK(bench[1]["n_gen"] == 4);
  CHECK(bench[1]["n_depth"] == 1024);
  CHECK(bench[1]["samples_ns"][0] == 4000000000);  // four steps of 1 s
  CHECK(bench[1]["samples_ts"][0] == 1);
  CHECK(bench[2]["n_prompt"] == 2);
  CHECK(bench[2]["n_gen"] == 4);

  std::istringstream documents(exported("llm-d", 1));
  std::string line, text;
  std::vector<OrderedJson> reports;
  while (std::getline(documents, line))
    if (line == "---") {
      if (!text.empty()) reports.push_back(OrderedJson::parse(text));
      text.clear();
    } else {
      text += line + "\n";
    }
  reports.push_back(OrderedJson::parse(text));
  REQUIRE(reports.size() == 4);
  CHECK(reports[0]["version"] == "0.2");
  const OrderedJson& aggregate = reports[0]["results"]["request_performance"]["aggregate"];
  CHECK(aggregate["latency"]["time_to_first_token"]["units"] == "s");
  CHECK(aggregate["latency"]["time_to_first_token"]["p50"] == 3.5);
  CHECK(aggregate["requests"]["total"] == 6);
  CHECK(reports[1]["scenario"]["stack"][0]["standardized"]["role"] == "decode");
  CHECK(reports[0]["run"]["uid"] != reports[1]["run"]["uid"]);

  CHECK(contains(exported("csv", 0), "schema,run_id,point_id"));
  std::ostringstream out;
  CHECK_THROWS_AS(write_export(out, "xml", rows, {}), UsageError);
  CHECK(write_export(out, "llama-bench", {}, {}) == 0);
  CHECK(out.str() == "[]\n");
}

TEST_CASE("sql loads into sqlite3 with every quote in its place, twice into one database") {
  if (std::system("command -v sqlite3 >/dev/null") != 0) {
    WARN("no sqlite3: not loaded");
    return;
  }
  Folder folder;
  Result r = row_of(1);
  r.model = "it's \"quoted\"; DROP TABLE points; --\n é";
  r.tags = {{"note", "x'y"}};
  r.value = 1.0 / 3;
  r.samples = {0.1, std::nan("")};
  r.interleaved = true;
  std::ostringstream out;
  write_results(out, Format::sql, std::vector<Result>{r, row_of(2)});
  write_file(folder.path / "a.sql", out.str());
  const std::string database = (folder.path / "x.db").string();
  const auto query = [&](const std::string& sql) {
    const std::string answer = (folder.path / "answer").string();
    write_file(folder.path / "q.sql", sql);
    const std::string command =
        "sqlite3 -bail '" + database + "' <'" + (folder.path / "q.sql").string() + "' >'" + answer + "' 2>&1";
    REQUIRE(std::system(command.c_str()) == 0);
    return read_file(answer);
  };
  CHECK(query(read_file(folder.path / "a.sql")) == "");
  CHECK(query(read_file(folder.path / "a.sql")) == "");
  CHECK(query("select count(*) from points;") == "4\n");
  CHECK(query("select distinct model from points where ctx = 1;") == r.model + "\n");
  CHECK(query("select distinct value = 1.0 / 3, interleaved, energy_j is null from points where ctx = 1;") ==
        "1|1|1\n");
  CHECK(query("select json_extract(tags, '$.note') from points where ctx = 1 limit 1;") == "x'y\n");
  CHECK(query("select avg(j.value) from points, json_each(samples) j where ctx = 2;") == "3.5\n");
  CHECK(format_of_file("x.sql") == Format::sql);
}
