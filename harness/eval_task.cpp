#include "harness/eval_task.h"

#include <algorithm>

#include "evals/text.h"
#include "harness/json_names.h"
#include "harness/json_object.h"
#include "harness/plan.h"
#include "harness/table.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;

struct Prompt {
  const char* name;
  const char* text;
};
// boxed: what R1, QwQ and Qwen are asked for; aime: what MathArena adds; choice: after simple-evals.
constexpr Prompt prompts[] = {
    {"plain", "{problem}"},
    {"boxed", "{problem}\nPlease reason step by step, and put your final answer within \\boxed{}."},
    {"aime",
     "{problem}\nPlease reason step by step, and put your final answer within \\boxed{}. The answer is an integer "
     "between 0 and 999 inclusive."},
    {"choice",
     "Answer the following multiple choice question. Think step by step before answering. The last line of your "
     "response should be 'Answer: LETTER', where LETTER is one of ABCD.\n\n{problem}\n\n{choices}"},
    {"code",
     "Write a Python program that solves the problem. Put the whole program into one block fenced by ```.\n\n"
     "{problem}\n\n{starter}"}};

fs::path tasks_folder() { return configs_folder() / "evals"; }

EvalTask read_task(const fs::path& file) {
  JsonObject json = read_json_object(file);
  EvalTask task;
  task.name = file.stem().string();
  task.about = json.text("about");
  if (json.has("data")) task.data = file.parent_path() / json.text("data");
  task.source = task.data.empty() ? json.text("source") : json.text_or("source", "");
  task.questions = json.maybe_integer("questions").value_or(0);
  if (json.has("kind")) task.kind = json.word("kind", {"math", "aime", "choice", "code"});
  task.prompt = json.text_or("prompt", task.prompt);
  prompt_template(task.prompt);
  task.samples = json.maybe_integer("samples").value_or(task.samples);
  task.max_new_tokens = json.maybe_integer("max_new_tokens").value_or(task.max_new_tokens);
  if (json.has("temperature")) task.sampling.temperature = json.number("temperature");
  if (json.has("top_p")) task.sampling.top_p = json.number("top_p");
  json.refuse_unknown_keys();
  return task;
}

std::vector<std::string> task_names() { return json_names(tasks_folder()); }

}  // namespace

void write_eval_tasks(std::ostream& out) {
  Table table;
  table.columns = {{"task"}, {"samples", true}, {"questions", true}, {"data"}, {"about"}};
  for (const std::string& name : task_names()) {
    const EvalTask task = read_task(tasks_folder() / (name + ".json"));
    table.rows.push_back({name, std::to_string(task.samples), task.questions > 0 ? std::to_string(task.questions) : "",
                          task.data.empty() ? "--data FILE" : "bundled", task.about});
  }
  write_text(out, table);
}

EvalTask find_eval_task(const std::string& word) {
  const std::vector<std::string> names = task_names();
  if (std::find(names.begin(), names.end(), word) != names.end()) return read_task(tasks_folder() / (word + ".json"));
  const std::string extension = fs::path(word).extension().string();
  if (extension == ".jsonl" || extension == ".json" || extension == ".csv" || extension == ".parquet") {
    EvalTask task;
    task.name = fs::path(word).stem().string();
    task.data = word;
    task.sampling.temperature = 0.6, task.sampling.top_p = 0.95;
    return task;
  }
  const std::string near = nearest_word(word, names);
  throw UsageError("eval: '" + word + "' is neither a task nor a file of questions (.jsonl, .json, .csv)." +
                       (near.empty() ? "" : " Did you mean " + near + "?"),
                   "tasks: " + join(names, ", "));
}

std::string prompt_template(const std::string& prompt) {
  for (const auto& [name, text] : prompts)
    if (prompt == name) return text;
  if (prompt.find("{problem}") != std::string::npos) return prompt;
  throw UsageError("--prompt: '" + prompt + "' is none of " + join(prompt_names(), ", ") +
                   ", and no text with {problem} in it.");
}

std::vector<std::string> prompt_names() {
  std::vector<std::string> names;
  for (const Prompt& prompt : prompts) names.emplace_back(prompt.name);
  return names;
}

std::string fill_prompt(const std::string& text, const Question& question, const std::vector<size_t>& order) {
  std::string choices;
  for (size_t place = 0; place < order.size(); ++place)
    choices +=
        std::string(place > 0 ? "\n" : "") + static_cast<char>('A' + place) + ") " + question.choices[order[place]];
  const std::string starter = question.starter_code.empty()
                                  ? "It reads the input from stdin and writes the answer to stdout."
                                  : "Begin with this code:\n```python\n" + question.starter_code + "\n```";
  // The question comes last: what it contains is not a mark.
  std::string filled = text;
  if (choices.empty() && filled.ends_with("\n\n{choices}")) filled.resize(filled.size() - 11);
  const size_t problem = filled.find("{problem}");
  std::string before = filled.substr(0, problem), after = filled.substr(problem + 9);
  for (std::string* part : {&before, &after}) {
    replace_all(*part, "{choices}", choices);
    replace_all(*part, "{starter}", starter);
  }
  return before + question.text + after;
}

std::string gold_of(const Question& question, const std::vector<size_t>& order) {
  if (question.kind != "choice") return question.gold;
  const auto right = std::find(order.begin(), order.end(), 0);
  return std::string(1, static_cast<char>('A' + (right - order.begin())));
}

}  // namespace ringbench
