#include "reference/engine.h"

#include <stdexcept>
#include <string>

namespace ringbench {

void check_steps(const Engine& engine, std::span<const Step> steps, int slots, int64_t max_tokens) {
  std::vector<bool> seen(static_cast<size_t>(slots));
  const int64_t vocab_size = engine.config().vocab_size;
  for (const Step& step : steps) {
    const int64_t end = engine.position(step.slot) + static_cast<int64_t>(step.tokens.size());
    if (step.tokens.empty()) throw std::invalid_argument("forward: a step without tokens");
    if (seen[static_cast<size_t>(step.slot)])
      throw std::invalid_argument("forward: slot " + std::to_string(step.slot) + " appears twice");
    seen[static_cast<size_t>(step.slot)] = true;
    if (end > max_tokens)
      throw std::length_error("forward: " + std::to_string(end) + " tokens in slot " + std::to_string(step.slot) +
                              ", planned for " + std::to_string(max_tokens));
    for (const int32_t token : step.tokens)
      if (token < 0 || token >= vocab_size)
        throw std::invalid_argument("forward: token id " + std::to_string(token) + " is not in 0.." +
                                    std::to_string(vocab_size - 1));
  }
}

}  // namespace ringbench
