// The command `grade`: from lines of answers to lines of verdicts, and on to `score`. The rules have tests of their own
// (test_grade.cpp).
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/catch.h"
#include "tests/folder.h"
#include "tests/json_file.h"
#include "tests/program.h"

using namespace ringbench;
using Json = nlohmann::json;

namespace {

const std::string answers =
    R"({"id": "a", "sample": 0, "gold": "\\frac{1}{2}", "text": "So \\boxed{0.5}"}
{"id": "a", "sample": 1, "gold": "\\frac{1}{2}", "text": "So \\boxed{0.51}"}

{"id": 7, "kind": "aime", "gold": 25, "text": "\\boxed{025}"}
{"id": "b", "kind": "choice", "gold": "C", "text": "The answer is (C)."}
{"id": "c", "form": "bare", "gold": "2\\sqrt{3}", "text": "\\sqrt{12}"}
{"id": "d", "gold": "4", "text": "I do not know", "finish_reason": "stop"}
{"id": "e", "gold": "4", "text": "<think>so 2+2 is", "finish_reason": "length"}
)";

Ran graded(const Folder& folder, const std::string& text, const std::string& flags = "") {
  std::ofstream(folder.path / "in.jsonl") << text;
  return run("grade --in in.jsonl --out out.jsonl " + flags, folder.path);
}

}  // namespace

TEST_CASE("each answer gets its verdict, in order, and score reads them", "[grade]") {
  const Folder folder;
  const Ran r = graded(folder, answers);
  INFO(r.out << r.err);
  REQUIRE(r.code == 0);
  CHECK(r.out == "7 answers: 4 correct, 1 incorrect, 1 no_answer, 1 truncated\n");
  const std::vector<Json> lines = json_lines(folder.path / "out.jsonl");
  REQUIRE(lines.size() == 7);
  const std::vector<std::string> verdicts = {"correct", "incorrect", "correct",  "correct",
                                             "correct", "no_answer", "truncated"};
  for (size_t i = 0; i < lines.size(); ++i) CHECK(lines[i]["verdict"] == verdicts[i]);
  CHECK(lines[0]["id"] == "a");
  CHECK(lines[0]["sample"] == 0);
  CHECK(lines[0]["extracted"] == "0.5");
  CHECK(lines[0]["method"] == "exact");
  CHECK(lines[2]["id"] == 7);
  CHECK(lines[5]["extracted"].is_null());

  std::ofstream(folder.path / "one.jsonl") << lines[0].dump() << "\n" << lines[1].dump() << "\n";
  const Json score = Json::parse(run("score one.jsonl --json", folder.path).out);
  CHECK(score[0]["value"] == 0.5);
}

TEST_CASE("a gold that cannot be read is the data set's fault: exit 1, unless allowed", "[grade]") {
  const Folder folder;
  const std::string text = R"({"id": "a", "gold": "\\frac{1}{", "text": "\\boxed{2}"})";
  CHECK(graded(folder, text).code == 1);
  CHECK(json_lines(folder.path / "out.jsonl")[0]["verdict"] == "gold_unparsable");
  CHECK(graded(folder, text, "--allow-unparsable-gold").code == 0);
}

TEST_CASE("the last number counts only where it was asked for", "[grade]") {
  const Folder folder;
  const std::string text = R"({"id": "a", "gold": "12", "text": "which gives 12"})";
  graded(folder, text);
  CHECK(json_lines(folder.path / "out.jsonl")[0]["verdict"] == "no_answer");
  graded(folder, text, "--last-number");
  CHECK(json_lines(folder.path / "out.jsonl")[0]["verdict"] == "correct");
}

TEST_CASE("lines that cannot be graded are refused by number; what was there stays", "[grade]") {
  const Folder folder;
  std::ofstream(folder.path / "out.jsonl") << "before\n";
  const auto says = [&](const std::string& text, const std::string& what) {
    const Ran r = graded(folder, text);
    INFO(r.err);
    CHECK(r.code == 2);
    CHECK(r.err.find(what) != std::string::npos);
    CHECK(read_file(folder.path / "out.jsonl") == "before\n");
  };
  says("nothing", "in.jsonl:1: not a JSON object");
  says(R"({"gold": "1", "text": "2"})", "\"id\" is missing");
  says(answers + R"({"id": "x", "gold": "1"})", "in.jsonl:9: \"text\" is missing");
  says(R"({"id": "x", "gold": [1], "text": "2"})", "\"gold\" is no text");
  says(R"({"id": "x", "gold": "1", "text": "2", "kind": "poem"})", "'poem' is none of math");
  says(R"({"id": "x", "gold": "1", "text": "2", "form": "whole"})", "'whole' is neither");
  CHECK(run("grade --in nowhere --out o", folder.path).err.find("cannot read 'nowhere'") != std::string::npos);
  CHECK(run("grade --in in.jsonl", folder.path).err.find("--out FILE is missing") != std::string::npos);
}
