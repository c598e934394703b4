// eval.h: the command `eval`: a model's answers to a task's questions, graded as they come, and scores with intervals.
// What is asked: eval_task.h; how text is made: evals/generate.h; what is right: evals/grade.h; scores: score.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "evals/chat_format.h"
#include "harness/failure.h"
#include "harness/plan.h"
#include "harness/questions.h"
#include "harness/result.h"

namespace ringbench {

struct EvalRequest {
  std::string task;                         // a name or a file
  std::string data;                         // file of questions of a task that has none of its own
  Strings weights;                          // checkpoints: folders, or repositories in the Hugging Face cache
  std::string model = "auto", config_file;  // as in Plan
  // Empty: the task's.
  std::optional<int64_t> samples, max_new_tokens, top_k;
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::string prompt;
  Strings stop_strings;
  Strings metrics;                   // empty: avg and maj of all samples
  int64_t limit = 0;                 // only the first questions; 0: all
  std::string chat_format = "auto";  // auto: by the checkpoint's template; none: plain text
  Thinking thinking = Thinking::model;
  std::optional<double> published;  // percent; empty: what configs/published has
  int64_t slots = 0;                // sequences at once; 0: what fits, up to 8 on a CPU and 64 on a GPU
  GradingOptions grading;
  bool allow_unparsable_gold = false;  // questions that are left out for it do not fail the run
  Plan plan;                           // engine, dtype, chunk, threads, seed, yarn, results and the like
};

// A row for each checkpoint and metric. With a run folder each sample is kept as it is done, in
// eval/TASK.CHECKPOINT.samples.jsonl ({"id", "sample", "verdict", "extracted", ..., "text"}: what `score` reads), and a
// resumed run makes only those that are missing. Throws UsageError, and Failure(environment) in a build without
// tokenizer and grader.
ExitCode run_eval(const EvalRequest& request);

}  // namespace ringbench
