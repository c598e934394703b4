// generations.h: answers that other tools wrote, graded against the questions they belong to. Which forms of file:
// read_generations().
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "evals/dataset.h"

namespace ringbench {

struct StoredGeneration {
  std::string id;      // of the question
  int64_t sample = 0;  // counted as they come where the file does not say
  std::string text;
  bool cut_off = false;  // it ended at the limit of tokens
  std::string gold;      // that the line itself states; of choices, which are shuffled, the letter
};

// JSON lines (or one list), each of one of these forms, known by its fields:
//   {"id", "sample", "text", "finish_reason"}     this program's, and SGLang's ("meta_info": {"finish_reason": ...})
//   {"id" or "prompt", "gen": [texts]}             QwQ
//   {"question_id", "code_list": [texts]}          LiveCodeBench
//   {"custom_id", "response": {"body": {"choices": [{"message": {...}}]}}}   batches of OpenAI's API, as vLLM writes
//   them;
//                                                  reasoning_content goes before the answer, as thinking
//   {"doc": {...}, "resps": [[texts]]}             lm-evaluation-harness, --log_samples
// The id is that of a question, or follows from a prompt that contains the question's text; of custom_id what follows
// the last '#' or '/' may be the sample. Throws UsageError naming file and line for another form, an id that is no
// question's, and a sample that is there twice.
std::vector<StoredGeneration> read_generations(const std::string& path, std::span<const Question> questions);

}  // namespace ringbench
