// Finding the answer in a completion: rules C1 and C2 of the grading convention, and C16 for choices.
#include "evals/extract.h"

#include "tests/catch.h"
#include "tests/checks.h"

using namespace ringbench;
using State = Extraction::State;

namespace {

struct Case {
  const char* completion;
  const char* text;  // nullptr: nothing is found
};

}  // namespace

TEST_CASE("C1: only what follows the last </think> counts, and thinking that never closes is cut off") {
  for (const auto& [completion, text] : std::vector<Case>{{"<think>\\boxed{1}</think>\\boxed{2}", "2"},
                                                          {"\\boxed{1}</think>Answer: 3", "3"},
                                                          {"<think>a</think><think>\\boxed{4}</think> \\boxed{5}", "5"},
                                                          {"<think></think>\\boxed{6}", "6"},
                                                          {"no tags \\boxed{7}", "7"},
                                                          {"<think>\\boxed{1}</think> nothing", nullptr}}) {
    INFO(completion);
    const Extraction e = extract_answer(completion);
    CHECK((e.state == State::found) == (text != nullptr));
    CHECK(e.text == (text != nullptr ? text : ""));
  }
  for (const char* cut :
       {"<think>\\boxed{1}", "<think>", "</think><think>\\boxed{2}", "\\boxed{3}<think> wait", "<think>Answer: 4"}) {
    INFO(cut);
    CHECK(extract_answer(cut).state == State::truncated);
    CHECK(extract_choice(cut).state == State::truncated);
  }
}

TEST_CASE("C2: the last complete box that holds something") {
  for (const auto& [completion, text] : std::vector<Case>{{"\\boxed{1} then \\boxed{2}", "2"},
                                                          {"\\boxed{\\frac{1}{2}}", "\\frac{1}{2}"},
                                                          {"\\boxed {5}", "5"},
                                                          {"\\fbox{6}", "6"},
                                                          {"\\boxed 7", "7"},
                                                          {"\\boxed{\\{1,2\\}}", "\\{1,2\\}"},
                                                          {"\\\\boxed{8}", "8"},
                                                          {"\\boxed{\\boxed{9}}", "\\boxed{9}"},
                                                          {"\\boxed{1} and \\boxed{", "1"},
                                                          {"\\boxed{1} \\boxed{}", "1"},
                                                          {"\\boxed{2} \\boxed{ }", "2"},
                                                          {"\\boxed{x} } \\boxed{y}", "y"},
                                                          {"a { \\boxed{3}", "3"},
                                                          {"\\boxed{(1,2)}.", "(1,2)"},
                                                          {"\\boxed{a\\\\b}", "a\\\\b"},
                                                          {"\\boxed 12.5 m", "12.5"},
                                                          {"\\boxed\\pi", "\\pi"},
                                                          {"in \\boxed{1}, put it in `\\boxed`", "1"},
                                                          {"\\boxed{", nullptr},
                                                          {"\\boxed{\\}", nullptr},
                                                          {"\\boxedfoo{1}", nullptr},
                                                          {"boxed{1}", nullptr},
                                                          {"\\boxed", nullptr}}) {
    INFO(completion);
    const Extraction e = extract_answer(completion);
    CHECK((e.state == State::found) == (text != nullptr));
    CHECK(e.text == (text != nullptr ? text : ""));
  }
}

TEST_CASE("C2: without a box, the last anchored answer to the end of its line or sentence") {
  for (const auto& [completion, text] : std::vector<Case>{{"The answer is 5.", "5"},
                                                          {"The final answer is: $\\frac12$.", "$\\frac12$"},
                                                          {"**Answer:** 42", "42"},
                                                          {"Answer: 3.5. That is all.", "3.5"},
                                                          {"#### 17", "17"},
                                                          {"### Final Answer\nAnswer: 8", "8"},
                                                          {"**Final Answer:**\n\n12", "12"},
                                                          {"Answer: 1\nAnswer: 2", "2"},
                                                          {"\xE7\xAD\x94\xE6\xA1\x88\xE6\x98\xAF 9", "9"},
                                                          {"\xE7\xAD\x94\xE6\xA1\x88\xEF\xBC\x9A"
                                                           "10\xE3\x80\x82",
                                                           "10"},
                                                          {"the answer is **7**", "7"},
                                                          {"ANSWER: x", "x"},
                                                          {"I answered it", nullptr},
                                                          {"The answer", nullptr},
                                                          {"42", nullptr},
                                                          {"Answers vary", nullptr},
                                                          {"Answer:", nullptr},
                                                          {"", nullptr}}) {
    INFO(completion);
    const Extraction e = extract_answer(completion);
    CHECK((e.state == State::found) == (text != nullptr));
    CHECK(e.text == (text != nullptr ? text : ""));
  }
  CHECK(extract_answer("so 1,234 it is", {.last_number = true}).text == "1,234");
  CHECK(extract_answer("so -5.", {.last_number = true}).text == "-5");
  CHECK(extract_answer("none", {.last_number = true}).state == State::none);
  CHECK(extract_answer(" a b ", {.bare = true}).text == "a b");
}

TEST_CASE("as many boxes as wanted are joined if they stand on one line") {
  CHECK(extract_answer("\\boxed{1}, \\boxed{2}", {.joined_boxes = 2}).text == "1, 2");
  CHECK(extract_answer("\\boxed{1}\n\\boxed{2}", {.joined_boxes = 2}).text == "2");
  CHECK(extract_answer("\\boxed{0}\n\\boxed{1} \\boxed{2}", {.joined_boxes = 2}).text == "1, 2");
  CHECK(extract_answer("\\boxed{1} \\boxed{2}", {.joined_boxes = 3}).text == "2");
  CHECK(extract_answer("\\boxed{1} \\boxed{2}").multi_box);
  CHECK_FALSE(extract_answer("\\boxed{2} \\boxed{2}").multi_box);
}

TEST_CASE("C16: a letter in the last box, else after the last answer, option or choice") {
  for (const auto& [completion, letter] :
       std::vector<std::pair<const char*, char>>{{"\\boxed{B}", 'B'},
                                                 {"The answer is (C).", 'C'},
                                                 {"Answer: **D**", 'D'},
                                                 {"choose option A", 'A'},
                                                 {"The correct choice is B because ..", 'B'},
                                                 {"Answer: \\text{C}", 'C'},
                                                 {"answer is a", 'A'},
                                                 {"(D)", 'D'}}) {
    INFO(completion);
    const Extraction e = extract_choice(completion);
    REQUIRE(e.state == State::found);
    CHECK(choice_letter(e.text, 'D') == letter);
  }
  for (const char* none : {"The answer is a cat", "answer: Because", "An option", "", "Dogs", "option 1"}) {
    INFO(none);
    CHECK(extract_choice(none).state == State::none);
  }
}

TEST_CASE("spans are those of the completion") {
  const std::string text = "<think>..</think> so \\boxed{ 12 } ";
  const Extraction e = extract_answer(text);
  CHECK(text.substr(e.begin, e.end - e.begin) == "12");
}

TEST_CASE("texts of many megabytes take one pass") {
  for (const char* const part :
       {"\\boxed{", "answer is ", "{", "}", "\\", "answer:\n", "<think>", "#### ", "\\boxed\\a{", "option "}) {
    const std::string text = repeated(part, (size_t{1} << 20) / std::string(part).size());
    extract_answer(text);
    extract_choice(text);
    CHECK(extract_answer(text + "</think>\\boxed{5}").text == "5");
  }
}
