// eval_task.h: what `eval` asks: a task of configs/evals, or a user's own questions, and how a question is put. What is
// in a data set's file: evals/dataset.h; how a chat is written: evals/chat_format.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

#include "evals/dataset.h"
#include "evals/sampling.h"

namespace ringbench {

struct EvalTask {
  std::string name;              // "aime24"; of a file: its name without the extension
  std::string about;             // one line; empty for a file
  std::filesystem::path data;    // empty: whoever runs it has to say where the questions are
  std::string source;            // the public name of such a data set
  int64_t questions = 0;         // that it has; 0: any number
  std::string kind;              // math, aime, choice; empty: as the questions say
  std::string prompt = "boxed";  // as prompt_template() takes it
  int64_t samples = 1;           // of each question
  int64_t max_new_tokens = 32768;
  Sampling sampling;
};

void write_eval_tasks(std::ostream& out);  // those of configs/evals, as a table
// A name, or a file of questions (.jsonl, .json, .csv). Throws UsageError, with the names that there are.
EvalTask find_eval_task(const std::string& word);

// A prompt's name, or itself a template with {problem}, and {choices} or {starter} where there are any. Throws
// UsageError for another word.
std::string prompt_template(const std::string& prompt);
std::vector<std::string> prompt_names();
// `order`: of the choices, as choice_order() gives it.
std::string fill_prompt(const std::string& text, const Question& question, const std::vector<size_t>& order);

// "C" for the choice that is right; else the question's own gold.
std::string gold_of(const Question& question, const std::vector<size_t>& order);

}  // namespace ringbench
