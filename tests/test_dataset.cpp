// Data sets: each layout that is known, what is left out and named, and what is refused.
#include "evals/csv.h"
#include "evals/dataset.h"

#include <algorithm>
#include <map>

#include "tests/catch.h"
#include "tests/folder.h"

using namespace ringbench;

namespace {

Dataset lines(const std::string& text) { return parse_dataset(text, ".jsonl", "my.jsonl"); }

Question one(const std::string& line) {
  const Dataset dataset = lines(line);
  REQUIRE(dataset.questions.size() == 1);
  CHECK(dataset.unread.empty());
  return dataset.questions.front();
}

std::string dataset_refusal(const std::string& text, const std::string& extension = ".jsonl") {
  try {
    parse_dataset(text, extension, "my.jsonl");
  } catch (const DatasetError& e) {
    return e.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("questions and golds are found in the layouts that users have", "[dataset]") {
  const auto reads = [](const std::string& line, const std::string& id, const std::string& text,
                        const std::string& gold) {
    INFO(line);
    const Question q = one(line);
    CHECK(q.id == id);
    CHECK(q.text == text);
    CHECK(q.gold == gold);
  };
  reads(R"({"id": "a", "problem": " What? ", "answer": "\\frac12"})", "a", "What?", "\\frac12");
  reads(R"({"ID": "2024-I-1", "Problem": "P", "Solution": "S", "Answer": 204})", "2024-I-1", "P", "204");
  reads(R"({"id": 60, "problem": "P", "solution": "S", "answer": "025", "url": "u", "year": "2024"})", "60", "P",
        "025");
  reads(R"({"question": "Q", "answer": "70"})", "1", "Q", "70");  // no id: the line's number
  reads(R"({"problem_idx": 3, "problem": "P", "answer": 588})", "3", "P", "588");
  reads(R"({"prompt": "P", "answer": 7})", "1", "P", "7");
  reads(
      R"({"unique_id": "test/precalculus/807.json", "problem": "P", "solution": "s", "answer": "x \\in [-2,7]", "level": 2})",
      "test/precalculus/807.json", "P", "x \\in [-2,7]");
  reads(R"({"question": "Q", "answer": "Half of 48 is 24.\n#### 1,072"})", "1", "Q", "1,072");  // GSM8K
  reads(R"({"Question": "Q", "Answer": true, "Answer_type": "bool"})", "1", "Q", "true");       // TheoremQA
  reads(R"({"id": 1606, "question": "Q", "final_answer": ["2"], "subfield": "Algebra"})", "1606", "Q",
        "2");  // Olympiad
  reads(R"({"id": 1, "question": "Q", "final_answer": ["2", "5"]})", "1", "Q", "2, 5");
  reads(
      "{\"query_id\": \"d\", \"passage\": \"It was 1999.\", \"question\": \"When?\", "
      "\"answers_spans\": {\"spans\": [\"1999\", \"1999\"], \"types\": [\"number\", \"number\"]}}",
      "d", "It was 1999.\n\nWhen?", "1999");  // DROP
}

TEST_CASE("where only a worked solution is given, the gold is in it", "[dataset]") {
  const Question q = one(R"({"id": "0", "problem": "P", "solution": "So \\boxed{204}."})");
  CHECK(q.gold == "So \\boxed{204}.");
}

TEST_CASE("choices come from GPQA's columns, whatever stands in their cells", "[dataset]") {
  const std::string csv =
      "Record ID,Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3,Subdomain\r\n"
      "rec1,\"Which, of\nthese \"\"four\"\"?\",\" [A] and, B \",b,c,d,Physics\r\n"
      "rec2,Q2,1,2,3,4,Chemistry\r\n";
  const Dataset dataset = parse_dataset(csv, ".csv", "gpqa.csv");
  REQUIRE(dataset.questions.size() == 2);
  const Question& q = dataset.questions[0];
  CHECK(q.id == "rec1");
  CHECK(q.kind == "choice");
  CHECK(q.text == "Which, of\nthese \"four\"?");
  CHECK(q.choices == std::vector<std::string>{"[A] and, B", "b", "c", "d"});
  CHECK(q.gold == "[A] and, B");
}

TEST_CASE("choices are shown in an order of seed, question and sample; every place is as likely", "[dataset]") {
  Question q;
  q.id = "rec1", q.choices = {"a", "b", "c", "d"};
  CHECK(choice_order(q, 0, 0) == choice_order(q, 0, 0));
  std::map<size_t, int> place_of_first;
  for (int64_t sample = 0; sample < 4000; ++sample) {
    const std::vector<size_t> order = choice_order(q, 0, sample);
    std::vector<size_t> sorted = order;
    std::sort(sorted.begin(), sorted.end());
    REQUIRE(sorted == std::vector<size_t>{0, 1, 2, 3});
    ++place_of_first[static_cast<size_t>(std::find(order.begin(), order.end(), 0u) - order.begin())];
  }
  for (const auto& [place, count] : place_of_first) CHECK(std::abs(count - 1000) < 5 * 27);  // 5 standard deviations
  CHECK(place_of_first.size() == 4);
}

TEST_CASE("a list of questions may stand alone or in an object; a file's own kind may be said", "[dataset]") {
  CHECK(parse_dataset(R"([{"problem": "P", "answer": 1}, {"problem": "R", "answer": 2}])", ".json", "x")
            .questions.size() == 2);
  CHECK(parse_dataset(R"({"version": 1, "data": [{"problem": "P", "answer": 1}]})", ".json", "x").questions.size() ==
        1);
  CHECK(parse_dataset(R"({"problem": "P", "answer": 1})", ".jsonl", "x", "aime").questions[0].kind == "aime");
  CHECK(one("\xEF\xBB\xBF{\"problem\": \"P\", \"answer\": 1}\n\n").gold == "1");
}

TEST_CASE("questions that cannot be read are left out and named", "[dataset]") {
  const Dataset dataset = lines(R"({"problem": "P", "answer": "1"}
{"problem": "Q"}
{"answer": "2"}
{"problem": "", "answer": "2"}
{"problem": "R", "answer": null, "solution": "\\boxed{3}"}
)");
  CHECK(dataset.questions.size() == 2);
  REQUIRE(dataset.unread.size() == 3);
  CHECK(dataset.unread[0] == "line 2: question 2 has no gold");
  CHECK(dataset.unread[1] == "line 3: there is no question (problem, question or prompt)");
  CHECK(dataset.unread[2] == "line 4: the question is empty");
}

TEST_CASE("files that are no data sets are refused", "[dataset]") {
  CHECK_THAT(dataset_refusal("PAR1\x15\x04"), Catch::Contains("to_json('FILE.jsonl'"));
  CHECK_THAT(dataset_refusal(""), Catch::Contains("there is no question in it"));
  CHECK_THAT(dataset_refusal("{\"problem\": \"P\"}"), Catch::Contains("(line 1: question 1 has no gold)"));
  CHECK_THAT(dataset_refusal("{\"problem\": \"P\", \"answer\": 1}\nrubbish"),
             Catch::Contains("my.jsonl: line 2: no JSON"));
  CHECK_THAT(dataset_refusal("[1]"), Catch::Contains("line 1: not a JSON object"));
  CHECK_THAT(
      dataset_refusal("{\"id\": 1, \"problem\": \"P\", \"answer\": 1}\n{\"id\": 1, \"problem\": \"R\", \"answer\": 1}"),
      Catch::Contains("question 1 is there twice"));
  CHECK_THAT(dataset_refusal("{}", ".json"), Catch::Contains("neither a list"));
  CHECK_THAT(dataset_refusal("Question,Answer\nQ", ".csv"), Catch::Contains("line 2 has 1 cells, the header has 2"));
  CHECK_THAT(dataset_refusal("Question,Answer\n\"Q", ".csv"), Catch::Contains(":2: a quote is not closed"));
  CHECK_THROWS_WITH(read_dataset("nowhere.jsonl"), Catch::Contains("nowhere.jsonl"));
}

TEST_CASE("csv is read as RFC 4180 has it", "[dataset]") {
  const auto cells = [](const std::string& text) {
    std::vector<std::vector<std::string>> all;
    for (const CsvRow& row : parse_csv(text, "x.csv")) all.push_back(row.cells);
    return all;
  };
  CHECK(cells("a,b\n1,2\n") == std::vector<std::vector<std::string>>{{"a", "b"}, {"1", "2"}});
  CHECK(cells("\xef\xbb\xbf"
              "a,b\r\n\r\n,\r\n1,2") == std::vector<std::vector<std::string>>{{"a", "b"}, {"", ""}, {"1", "2"}});
  CHECK(cells("\"a,\"\"x\"\"\nb\",c\n") == std::vector<std::vector<std::string>>{{"a,\"x\"\nb", "c"}});
  CHECK(cells("").empty());
  CHECK(parse_csv("\"a\nb\"\nc\n", "x")[1].line == 3);
  CHECK_THROWS_AS(cells("a,\"b"), CsvError);
  CHECK_THROWS_AS(cells("\"a\"b"), CsvError);
  CHECK_THROWS_AS(cells("a\"b\""), CsvError);
}
