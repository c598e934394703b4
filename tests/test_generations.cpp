// Answers that other programs wrote: each form that is read, what is refused, and `score --gold` on them.
#include "harness/generations.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "harness/failure.h"
#include "tests/catch.h"
#include "tests/folder.h"
#include "tests/program.h"

using namespace ringbench;
using Json = nlohmann::json;

namespace {

Question question(const std::string& id, const std::string& text, const std::string& gold) {
  Question q;
  q.id = id, q.text = text, q.gold = gold;
  return q;
}

const std::vector<Question> questions = {question("q1", "What is 1 + 1?", "2"), question("q2", "Half of one?", "1/2")};

std::string write(const Folder& folder, const std::string& name, const std::string& text) {
  const std::string path = (folder.path / name).string();
  std::ofstream(path) << text;
  return path;
}

std::vector<StoredGeneration> read(const std::string& text) {
  const Folder folder;
  return read_generations(write(folder, "answers.jsonl", text), questions);
}

std::string generation_refusal(const std::string& text) {
  try {
    read(text);
  } catch (const UsageError& e) {
    const std::string what = e.what();
    return what.substr(what.find("answers.jsonl"));
  }
  return "";
}

}  // namespace

TEST_CASE("answers are read in each form that programs write, with their question and sample", "[score]") {
  struct Form {
    const char* name;
    std::string lines;
  };
  // In each: q1 answered twice, with 2 and then 3 that was cut off where the form can say so; q2 once.
  const std::vector<Form> forms = {
      {"own", R"({"id": "q1", "sample": 0, "text": "2"}
{"id": "q1", "sample": 1, "text": "3", "finish_reason": "length"}

{"id": "q2", "sample": 0, "text": "0.5"})"},
      {"SGLang", R"({"id": "q1", "text": "2", "meta_info": {"finish_reason": {"type": "stop"}}}
{"id": "q1", "text": "3", "meta_info": {"finish_reason": {"type": "length"}}}
{"id": "q2", "text": "0.5", "meta_info": {}})"},
      {"QwQ", R"({"prompt": "Think. What is 1 + 1?", "answer": "2", "gen": ["2", "3"]}
{"prompt": "Half of one? Go", "answer": "1/2", "gen": ["0.5"]})"},
      {"LiveCodeBench",
       R"([{"question_id": "q1", "code_list": ["2", "3"]}, {"question_id": "q2", "code_list": ["0.5"]}])"},
      {"OpenAI", R"({"custom_id": "q1#0", "response": {"body": {"choices": [{"message": {"content": "2"}}]}}}
{"custom_id": "q1#1", "response": {"body": {"choices": [{"message": {"content": "3"}, "finish_reason": "length"}]}}}
{"custom_id": "q2", "response": {"body": {"choices": [{"message": {"content": "0.5"}}]}}})"},
      {"OpenAI, n = 2", R"({"custom_id": "q1", "response": {"body": {"choices": [{"message": {"content": "2"}}, )"
                        R"({"message": {"content": "3"}, "finish_reason": "length"}]}}})"
                        "\n"
                        R"({"custom_id": "q2", "response": {"body": {"choices": [{"message": {"content": "0.5"}}]}}})"},
      {"lm-eval", R"({"doc_id": 0, "doc": {"problem": "What is 1 + 1?"}, "resps": [["2"], ["3"]]}
{"doc_id": 1, "doc": {"id": "q2"}, "resps": [["0.5"]]})"}};
  for (const auto& [name, lines] : forms) {
    INFO(name);
    const std::vector<StoredGeneration> all = read(lines);
    REQUIRE(all.size() == 3);
    CHECK((all[0].id == "q1" && all[0].sample == 0 && all[0].text == "2" && !all[0].cut_off));
    CHECK((all[1].id == "q1" && all[1].sample == 1 && all[1].text == "3"));
    CHECK((all[2].id == "q2" && all[2].sample == 0 && all[2].text == "0.5"));
    const bool says = lines.find("length") != std::string::npos;
    CHECK(all[1].cut_off == says);
  }
  // What a server calls reasoning is thinking that comes first.
  const auto thought = read(
      R"({"custom_id": "q1", "response": {"body": {"choices": [{"message": {"reasoning_content": "hm", "content": "2"}}]}}})");
  CHECK(thought[0].text == "<think>hm</think>2");
}

TEST_CASE("of a prompt that contains several questions the longest counts", "[score]") {
  const Folder folder;
  const std::vector<Question> nested = {question("short", "1 + 1", "2"), question("long", "1 + 1 + 1", "3")};
  const auto all =
      read_generations(write(folder, "a.jsonl", R"({"prompt": "What is 1 + 1 + 1?", "gen": ["3"]})"), nested);
  CHECK(all.at(0).id == "long");
}

TEST_CASE("answers that belong nowhere are refused by file and line", "[score]") {
  CHECK(generation_refusal("") == "answers.jsonl: it holds no answers.");
  CHECK(generation_refusal("{\"id\": \"q1\", \"text\": \"2\"}\nno json") == "answers.jsonl:2: not a JSON object.");
  CHECK(generation_refusal(R"({"id": "q9", "text": "2"})") == "answers.jsonl:1: 'q9' is no question's id.");
  CHECK(generation_refusal(R"({"text": "2"})") == "answers.jsonl:1: it says neither an id nor a prompt.");
  CHECK(generation_refusal(R"({"prompt": "Other", "gen": ["2"]})") ==
        "answers.jsonl:1: its prompt contains no question.");
  CHECK(generation_refusal(R"({"id": "q1"})") ==
        "answers.jsonl:1: no answer in it (text, gen, code_list, resps or response).");
  CHECK(generation_refusal(R"({"id": "q1", "gen": [2]})") == "answers.jsonl:1: an answer is no text.");
  CHECK(generation_refusal(R"({"custom_id": "q1", "response": null})") == "answers.jsonl:1: its response has no body.");
  CHECK(generation_refusal(R"({"custom_id": "q1", "response": {"body": {"error": "overloaded"}}})") ==
        "answers.jsonl:1: its response has no choices: did the request fail?");
  CHECK(generation_refusal(
            "{\"id\": \"q1\", \"sample\": 3, \"text\": \"2\"}\n{\"id\": \"q1\", \"sample\": 3, \"text\": \"4\"}") ==
        "answers.jsonl:2: sample 3 of question q1 is there twice.");
}

TEST_CASE("score --gold grades answers first; missing ones are errors, unread golds are named", "[score]") {
  const Folder folder;
  write(folder, "data.jsonl", R"({"id": "q1", "problem": "What is 1 + 1?", "answer": 2}
{"id": "q2", "problem": "Half of one?", "solution": "It is \\boxed{\\frac12}."}
)");
  write(folder, "a.jsonl", R"({"id": "q1", "text": "so \\boxed{2}"}
{"id": "q1", "text": "so \\boxed{3}"}
{"id": "q2", "text": "\\boxed{0.5}"}
{"id": "q2", "text": "<think>on and on", "finish_reason": "length"}
)");
  const Ran scored = run("score a.jsonl --gold data.jsonl --json", folder.path);
  INFO(scored.err);
  REQUIRE(scored.code == 0);
  const Json lines = Json::parse(scored.out);
  CHECK(lines[0]["metric"] == "avg@2");
  CHECK(lines[0]["value"] == 0.5);
  CHECK(lines[0]["wrong"] == 0.25);
  CHECK(lines[0]["truncated"] == 0.25);
  CHECK(lines[1]["metric"] == "maj@2");
  CHECK(lines[1]["value"] == 0.75);  // q1: one right of two classes; q2: what was cut off has no vote

  const Ran ungraded = run("score a.jsonl", folder.path);
  CHECK(ungraded.code == 2);
  CHECK(ungraded.err.find("a.jsonl:1: an answer without a verdict.\n--gold DATA") != std::string::npos);
  CHECK(run("score a.jsonl --kind aime", folder.path).code == 2);

  write(folder, "part.jsonl", R"({"id": "q1", "text": "\\boxed{2}"})");
  const Ran part = run("score part.jsonl --gold data.jsonl", folder.path);
  CHECK(part.code == 2);
  CHECK(part.err.find("part.jsonl: question q2 has no answer in it (1 of 2 have none).") != std::string::npos);

  std::ofstream(folder.path / "data.jsonl", std::ios::app)
      << R"({"id": "bad", "problem": "?", "answer": "\\frac{1}{"})";
  const Ran named = run("score a.jsonl --gold data.jsonl", folder.path);
  CHECK(named.code == 1);
  CHECK(named.err == "warning W-DATA: data.jsonl: question bad: its gold cannot be read: \\frac{1}{.\n");
  CHECK(run("score a.jsonl --gold data.jsonl --allow-unparsable-gold", folder.path).code == 0);
}

TEST_CASE("the choices of another program need the letter that was right", "[score]") {
  const Folder folder;
  write(folder, "gpqa.csv",
        "Record ID,Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3\n"
        "r1,Which?,yes,no,perhaps,never\n");
  write(folder, "a.jsonl", R"({"id": "r1", "text": "Answer: C", "gold": "C"})");
  const Ran right = run("score a.jsonl --gold gpqa.csv --json", folder.path);
  INFO(right.err);
  REQUIRE(right.code == 0);
  CHECK(Json::parse(right.out)[0]["value"] == 1);
  write(folder, "b.jsonl", R"({"id": "r1", "text": "Answer: C"})");
  const Ran unknown = run("score b.jsonl --gold gpqa.csv", folder.path);
  CHECK(unknown.code == 2);
  CHECK(unknown.err.find("\"gold\" is missing") != std::string::npos);
}
