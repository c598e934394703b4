// generate.h: completions of prompts by any engine. As many at once as the engine has slots: a sample that ends makes
// room for the next. Which tokens a sample gets depends on the engine's logits, the seed, its question and its number,
// not on what else is in the batch. Not prompts (chat_format.h) and not files.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "evals/sampling.h"
#include "evals/tokenizer.h"
#include "reference/engine.h"

namespace ringbench {

struct GenerationOptions {
  Sampling sampling;
  uint64_t seed = 0;
  int64_t max_new_tokens = 32768;
  int64_t max_tokens = 0;  // positions of a slot, prompt included; what the engine was made with
  int slots = 1;           // of the engine
  std::vector<int32_t> stop_tokens;
  std::vector<std::string> stop_strings;  // not part of the text
};

struct GenerationTask {
  std::string question;
  int64_t sample = 0;
  std::vector<int32_t> prompt;
};

struct Generation {
  std::string question;
  int64_t sample = 0;
  std::string text;           // without special tokens and stop strings
  std::string finish_reason;  // "stop", or "length": it was cut off
  int64_t prompt_tokens = 0;
  std::vector<int32_t> tokens;  // generated, the stop token included
};

struct GenerationHandlers {
  // The next sample to begin, if there is one.
  std::function<std::optional<GenerationTask>()> next;
  std::function<void(Generation&&)> done;
  // After each step, with the number of tokens that it made. What it throws ends the generation; samples that are done
  // have been handed over.
  std::function<void(int64_t)> step;
};

// Throws std::invalid_argument for a prompt that is empty or leaves no room in its slot, and for settings that are out
// of range.
void generate(Engine& engine, const Tokenizer& tokenizer, const GenerationOptions& options,
              const GenerationHandlers& handlers);

}  // namespace ringbench
