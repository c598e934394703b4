// dataset.h: questions with golds from files as users have them: AIME, MATH-500, GPQA, OlympiadBench, CNMO, TheoremQA,
// DROP, GSM8K and LiveCodeBench layouts, and plain JSON lines. Nothing is downloaded and nothing bundled but questions
// of our own. Not prompts.
#pragma once

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace ringbench {

// A file that cannot be read as questions; the message names file and line.
struct DatasetError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Question {
  std::string id;
  std::string text;
  std::string kind = "math";         // math, aime (an integer from 0 to 999), choice, code
  std::string gold;                  // may be a worked solution; for choice: the right text among `choices`
  std::vector<std::string> choices;  // of choice, the right one first
  // Of code, as LiveCodeBench has them: what a program begins with, and its tests (parse_code_problem()).
  std::string starter_code, public_tests, private_tests, metadata;
};

struct Dataset {
  std::vector<Question> questions;
  std::vector<std::string> unread;  // "line 7: there is no gold": left out
  std::string sha256;               // of the file
};

// .jsonl: an object in each line; .json: a list of objects, or one within an object; .csv: RFC 4180 with a header.
// Fields are known by their names: `problem`, `question` or `prompt`; `answer`, `final_answer`, or a worked `solution`;
// `id`, `unique_id`, `Record ID` and the like, else the line's number; GPQA's `Correct Answer` with three `Incorrect
// Answer`s; DROP's `passage` stands before its question; LiveCodeBench's `question_content` with test cases. `kind`:
// empty, or that of all questions. Throws DatasetError for what is no such file, Parquet by name, two questions with
// one id, or a file without a question.
Dataset read_dataset(const std::filesystem::path& path, const std::string& kind = "");
// The same from text; `extension` is ".jsonl", ".json" or ".csv". (What the fuzzer calls.)
Dataset parse_dataset(std::string_view text, const std::string& extension, const std::string& source,
                      const std::string& kind = "");

// The order in which a sample is shown its choices: place i shows choices[order[i]]. From seed, question and sample
// alone, so that every model is asked the same.
std::vector<size_t> choice_order(const Question& question, uint64_t seed, int64_t sample);

}  // namespace ringbench
