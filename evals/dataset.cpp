// dataset.cpp: see dataset.h.
#include "evals/dataset.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "evals/csv.h"
#include "evals/text.h"
#include "reference/random.h"
#include "reference/sha256.h"

namespace ringbench {
namespace {

using Json = nlohmann::ordered_json;
using Names = std::vector<const char*>;

const Names id_names = {"id", "ID", "unique_id", "problem_idx", "Record ID", "question_id", "task_id", "query_id"};
const Names text_names = {"problem", "Problem", "question", "Question", "question_content", "prompt"};
const Names gold_names = {"answer", "Answer", "final_answer", "expected_answer", "Correct Answer", "answers_spans"};
const Names solution_names = {"solution", "Solution"};

const Json* find(const Json& row, const Names& names) {
  for (const char* name : names)
    if (const auto found = row.find(name); found != row.end() && !found->is_null()) return &*found;
  return nullptr;
}

// A text, a number or a truth value as text; of a list with one member that; DROP's spans are those of the first
// reader.
std::string text_of(const Json& value) {
  if (value.is_string()) return std::string(trimmed(value.get_ref<const std::string&>()));
  if (value.is_number() || value.is_boolean()) return value.dump();
  if (value.is_object() && value.contains("spans")) return text_of(value["spans"]);
  if (!value.is_array() || value.empty()) return "";
  std::string text = text_of(value.front());
  if (value.size() > 1 && !std::all_of(value.begin(), value.end(), [&](const Json& v) { return text_of(v) == text; })) {
    for (size_t i = 1; i < value.size(); ++i) text += ", " + text_of(value[i]);
  }
  return text;
}

// GSM8K: a worked solution with the answer after "####".
void read_gold(const Json& row, Question& question) {
  if (const Json* gold = find(row, gold_names)) question.gold = text_of(*gold);
  if (const size_t mark = question.gold.rfind("####"); mark != std::string::npos)
    question.gold = std::string(trimmed(std::string_view(question.gold).substr(mark + 4)));
  if (!question.gold.empty()) return;
  if (const Json* solution = find(row, solution_names)) question.gold = text_of(*solution);
}

void read_choices(const Json& row, Question& question) {
  if (!row.contains("Correct Answer")) return;
  question.kind = "choice";
  question.choices = {question.gold};
  for (const char* name : {"Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"})
    if (const Json* wrong = find(row, {name})) question.choices.push_back(text_of(*wrong));
}

void read_tests(const Json& row, Question& question) {
  const auto text = [&](const char* key) {
    const auto found = row.find(key);
    return found != row.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  question.public_tests = text("public_test_cases");
  question.private_tests = text("private_test_cases");
  if (question.public_tests.empty() && question.private_tests.empty()) return;
  question.kind = "code";
  question.starter_code = text("starter_code");
  question.metadata = text("metadata");
}

class Reader {
 public:
  Reader(std::string source, std::string kind) : source_(std::move(source)), kind_(std::move(kind)) {}

  void take(const Json& row, int64_t number) {
    const std::string where = "line " + std::to_string(number);
    if (!row.is_object()) throw DatasetError(source_ + ": " + where + ": not a JSON object.");
    Question question;
    const Json* text = find(row, text_names);
    if (text == nullptr) return leave_out(where, "there is no question (problem, question or prompt)");
    question.text = text_of(*text);
    if (const Json* passage = find(row, {"passage"})) question.text = text_of(*passage) + "\n\n" + question.text;
    const Json* id = find(row, id_names);
    question.id = id != nullptr && !text_of(*id).empty() ? text_of(*id) : std::to_string(number);
    read_gold(row, question);
    read_choices(row, question);
    read_tests(row, question);
    if (!kind_.empty()) question.kind = kind_;
    if (question.text.empty()) return leave_out(where, "the question is empty");
    if (question.kind == "code" && question.public_tests.empty() && question.private_tests.empty())
      return leave_out(where, "question " + question.id + " has no tests");
    if (question.kind != "code" && question.gold.empty())
      return leave_out(where, "question " + question.id + " has no gold");
    if (question.kind == "choice" && question.choices.size() != 4)
      return leave_out(where, "question " + question.id + " has no four choices");
    if (!ids_.insert(question.id).second)
      throw DatasetError(source_ + ": " + where + ": question " + question.id + " is there twice.");
    dataset_.questions.push_back(std::move(question));
  }

  Dataset finish() {
    if (dataset_.questions.empty())
      throw DatasetError(source_ + ": there is no question in it" +
                         (dataset_.unread.empty() ? "." : " (" + dataset_.unread.front() + ")."));
    return std::move(dataset_);
  }

 private:
  void leave_out(const std::string& where, const std::string& why) { dataset_.unread.push_back(where + ": " + why); }

  std::string source_, kind_;
  Dataset dataset_;
  std::set<std::string> ids_;
};

void read_lines(std::string_view text, const std::string& source, Reader& reader) {
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    Json row = Json::parse(line, nullptr, false);
    if (row.is_discarded()) throw DatasetError(source + ": line " + std::to_string(number) + ": no JSON.");
    reader.take(row, number);
  }
}

// A list, or the first list of objects within an object ({"data": [...]}).
void read_list(std::string_view text, const std::string& source, Reader& reader) {
  const Json json = Json::parse(text, nullptr, false);
  const Json* list = json.is_array() ? &json : nullptr;
  if (json.is_object())
    for (const auto& [key, value] : json.items())
      if (list == nullptr && value.is_array() && !value.empty() && value.front().is_object()) list = &value;
  if (list == nullptr) throw DatasetError(source + ": neither a list of questions nor an object with one.");
  int64_t number = 0;
  for (const Json& row : *list) reader.take(row, ++number);
}

void read_csv(std::string_view text, const std::string& source, Reader& reader) {
  std::vector<CsvRow> rows;
  try {
    rows = parse_csv(text, source);
  } catch (const CsvError& e) {
    throw DatasetError(e.what());
  }
  for (size_t i = 1; i < rows.size(); ++i) {
    const std::vector<std::string>&names = rows[0].cells, &cells = rows[i].cells;
    if (cells.size() != names.size())
      throw DatasetError(source + ": line " + std::to_string(rows[i].line) + " has " + std::to_string(cells.size()) +
                         " cells, the header has " + std::to_string(names.size()) + ".");
    Json row = Json::object();
    for (size_t column = 0; column < cells.size(); ++column) row[names[column]] = cells[column];
    reader.take(row, rows[i].line);
  }
}

}  // namespace

Dataset parse_dataset(std::string_view text, const std::string& extension, const std::string& source,
                      const std::string& kind) {
  if (text.starts_with("PAR1"))
    throw DatasetError(source + ": Parquet is not read. To JSON lines: python3 -c \"import pandas; " +
                       "pandas.read_parquet('FILE.parquet').to_json('FILE.jsonl', orient='records', lines=True)\"");
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  Reader reader(source, kind);
  if (extension == ".csv")
    read_csv(text, source, reader);
  else if (extension == ".json")
    read_list(text, source, reader);
  else
    read_lines(text, source, reader);
  return reader.finish();
}

Dataset read_dataset(const std::filesystem::path& path, const std::string& kind) {
  std::ifstream in(path, std::ios::binary);
  if (!in || std::filesystem::is_directory(path)) throw DatasetError("cannot read '" + path.string() + "'.");
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  Dataset dataset = parse_dataset(text, path.extension().string(), path.string(), kind);
  dataset.sha256 = sha256_hex(text);
  return dataset;
}

std::vector<size_t> choice_order(const Question& question, uint64_t seed, int64_t sample) {
  std::vector<size_t> order(question.choices.size());
  std::iota(order.begin(), order.end(), 0);
  const uint64_t key = random_key(mix64(seed) ^ static_cast<uint64_t>(sample), "choices " + question.id);
  for (size_t i = 0; i + 1 < order.size(); ++i) {
    const uint64_t left = order.size() - i;
    std::swap(order[i], order[i + static_cast<size_t>((random_bits(key, i) >> 32) * left >> 32)]);
  }
  return order;
}

}  // namespace ringbench
