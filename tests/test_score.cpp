// The command `score`: what it reads, what it refuses, and the numbers it writes (metrics.h has tests of its own).
#include "harness/score.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/catch.h"
#include "tests/folder.h"
#include "tests/program.h"

using namespace ringbench;
using Json = nlohmann::json;

namespace {

namespace fs = std::filesystem;

std::string put(const Folder& folder, const std::string& name, const std::string& text) {
  std::ofstream(folder.path / name) << text;
  return name;
}

// Two questions with four samples each: 2 right, 1 wrong, 1 cut off; 1 right, 2 alike and wrong, 1 without an answer.
const std::string verdicts =
    R"({"id": "a", "sample": 0, "verdict": "correct", "extracted": "1/2"}
{"id": "a", "sample": 1, "verdict": "correct", "extracted": "0.5"}
{"id": "a", "sample": 2, "verdict": "incorrect", "extracted": "2"}
{"id": "a", "sample": 3, "verdict": "truncated"}
{"id": 7, "sample": 0, "verdict": "incorrect", "extracted": "3"}
{"id": 7, "sample": 1, "verdict": "incorrect", "extracted": "3"}

{"id": 7, "sample": 2, "verdict": "correct", "extracted": "4"}
{"id": 7, "sample": 3, "verdict": "no_answer"}
)";
const std::string counts = R"({"id": "a", "n": 4, "c": 2}
{"id": "7", "n": 4, "c": 1}
)";

Json scored(const Folder& folder, const std::string& line) {
  const Ran r = run("score " + line + " --json", folder.path);
  INFO(r.err);
  REQUIRE(r.code == 0);
  return Json::parse(r.out);
}

std::string score_refusal(const std::string& text, const std::string& flags = "") {
  const Folder folder;
  put(folder, "f.jsonl", text);
  const Ran r = run("score f.jsonl " + flags, folder.path);
  CHECK(r.code == 2);
  CHECK(r.out.empty());
  return r.err;
}

}  // namespace

TEST_CASE("verdicts and counts of the same samples give the same scores", "[score]") {
  const Folder folder;
  put(folder, "v.jsonl", verdicts);
  put(folder, "c.jsonl", counts);
  const Json v = scored(folder, "v.jsonl --metric avg@4,pass@2,gpass@4:0.5"),
             c = scored(folder, "c.jsonl --metric avg@4,pass@2,gpass@4:0.5");
  REQUIRE(v.size() == 3);
  for (size_t i = 0; i < 3; ++i)
    for (const char* key :
         {"metric", "value", "se_question", "se_run", "ci95_low", "ci95_high", "questions", "samples"})
      CHECK(v[i][key] == c[i][key]);
  CHECK(v[0]["value"] == 0.375);  // (2/4 + 1/4) / 2
  CHECK(v[1]["value"].get<double>() == Approx((5.0 / 6 + 0.5) / 2));
  CHECK(v[2]["value"] == 0.5);  // two of four right: a alone
  CHECK(v[0]["samples"] == 8);
  CHECK(v[0]["se_run"].is_number());
  CHECK(v[1]["se_run"].is_null());
  CHECK(v[0]["truncated"] == 0.125);
  CHECK(v[0]["unparsed"] == 0.125);
  CHECK(v[0]["wrong"] == 0.375);
  CHECK(c[0]["wrong"].is_null());
}

TEST_CASE("a majority counts right answers as one, and equal wrong ones, however they are written", "[score]") {
  const Folder folder;
  put(folder, "v.jsonl", verdicts);
  const Json standard = scored(folder, "v.jsonl");
  REQUIRE(standard.size() == 2);
  CHECK(standard[0]["metric"] == "avg@4");
  CHECK(standard[1]["metric"] == "maj@4");
  CHECK(standard[1]["value"] == 0.5);  // a: "1/2" and "0.5" against one "2"; 7: two of "3" against one "4"
  CHECK(scored(folder, "v.jsonl --metric cons@4")[0]["value"] == 0.5);
  put(folder, "w.jsonl", R"({"id": "a", "verdict": "incorrect", "extracted": "\\frac{1}{2}"}
{"id": "a", "verdict": "incorrect", "extracted": "0.5"}
{"id": "a", "verdict": "correct", "extracted": "3"}
{"id": "a", "verdict": "incorrect", "extracted": "7"}
)");
  CHECK(scored(folder, "w.jsonl --metric maj@4")[0]["value"] == 0.0);  // two halves against one 3
}

TEST_CASE("the table says what was cut off, and the published score's place", "[score]") {
  const Folder folder;
  put(folder, "v.jsonl", verdicts);
  const Ran r = run("score v.jsonl --published 38", folder.path);
  INFO(r.out << r.err);
  CHECK(r.code == 0);
  CHECK(r.out.find("37.5") != std::string::npos);
  CHECK(r.out.find("38.0 inside") != std::string::npos);
  CHECK(r.out.find("of 8 samples: 37.5 % wrong, 12.5 % without an answer, 12.5 % cut off") != std::string::npos);
  CHECK(run("score v.jsonl --published 90", folder.path).out.find("90.0 outside") != std::string::npos);
  CHECK(run("score v.jsonl --format csv", folder.path).out.starts_with("metric,score %,95 % interval,"));
  CHECK(run("score v.jsonl --format md", folder.path).out.starts_with("| metric"));
}

TEST_CASE("two files of the same questions are compared question by question, in any order", "[score]") {
  const Folder folder;
  put(folder, "a.jsonl", R"({"id": "p", "n": 1, "c": 1}
{"id": "q", "n": 1, "c": 1}
{"id": "r", "n": 1, "c": 0}
)");
  put(folder, "b.jsonl", R"({"id": "r", "n": 1, "c": 0}
{"id": "q", "n": 1, "c": 0}
{"id": "p", "n": 1, "c": 1}
)");
  const Json lines = scored(folder, "a.jsonl --against b.jsonl");
  CHECK(lines[0]["against"]["difference"].get<double>() == Approx(1.0 / 3));
  CHECK(lines[0]["against"]["mcnemar_p"] == 1.0);
  const Ran table = run("score a.jsonl --against b.jsonl", folder.path);
  CHECK(table.out.find("+33.3") != std::string::npos);
  CHECK(table.out.find("80 % power") != std::string::npos);
  put(folder, "c.jsonl", R"({"id": "p", "n": 1, "c": 1})");
  CHECK(run("score a.jsonl --against c.jsonl", folder.path).err.find("c.jsonl has no question q") != std::string::npos);
  CHECK(run("score c.jsonl --against a.jsonl", folder.path).err.find("3 questions, not 1") != std::string::npos);
}

TEST_CASE("too few samples are an error that names the question, never wrong answers", "[score]") {
  const std::string err = score_refusal(verdicts, "--metric avg@8");
  CHECK(err.find("question a has 4 samples, avg@8 needs 8") != std::string::npos);
  CHECK(err.find("A missing sample is not a wrong one") != std::string::npos);
}

TEST_CASE("files and metrics that cannot be scored are refused with their line", "[score]") {
  const auto says = [](const std::string& err, const std::string& what) {
    INFO(err);
    CHECK(err.find(what) != std::string::npos);
  };
  says(score_refusal("{\"id\": \"a\", \"n\": 4}"), "f.jsonl:1: \"c\" is missing");
  says(score_refusal("{\"id\": \"a\", \"n\": 4, \"c\": 5}"), "c = 5 right samples of n = 4");
  says(score_refusal("{\"id\": \"a\", \"n\": 0, \"c\": 0}"), "a question needs a sample");
  says(score_refusal(counts + counts), "f.jsonl:3: question a is there twice");
  says(score_refusal(verdicts + R"({"id": "a", "sample": 2, "verdict": "correct"})"),
       "sample 2 of question a is there twice");
  says(score_refusal(verdicts + counts), "verdicts and counts do not go together");
  says(score_refusal(R"({"id": "a", "verdict": "right"})"), "'right' is none of correct");
  says(score_refusal(R"({"id": "a", "verdict": "gold_unparsable"})"), "no verdict: gold_unparsable");
  says(score_refusal(R"({"verdict": "correct"})"), "\"id\" is missing");
  says(score_refusal(R"({"id": [1], "verdict": "correct"})"), "expected a text or an integer");
  says(score_refusal(R"({"id": "a", "sample": "x", "verdict": "correct"})"), "\"sample\": expected an integer");
  says(score_refusal(R"({"id": "a"})"), "neither a \"verdict\" nor counts");
  says(score_refusal("not json"), "f.jsonl:1: not a JSON object");
  says(score_refusal(""), "it holds no samples");
  says(score_refusal(counts, "--metric maj@2"), "maj@2 needs verdicts");
  for (const char* metric : {"avg", "avg@0", "avg@x", "mean@4", "pass@2:0.5", "gpass@4", "gpass@4:2", "gpass@4:"})
    says(score_refusal(counts, std::string("--metric ") + metric), std::string("--metric: '") + metric + "'");
  says(run("score").err, "which file");
  says(run("score nowhere.jsonl").err, "cannot read 'nowhere.jsonl'");
}
