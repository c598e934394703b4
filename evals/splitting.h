// splitting.h: how a text is cut into the pieces that are encoded apart: a tokenizer.json's pre-tokenizer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "evals/regex.h"

namespace ringbench {

// What becomes of the matches of a pattern, in Hugging Face's words.
enum class SplitBehavior { isolated, removed, merged_with_previous, merged_with_next, contiguous };

struct SplitStep {
  Regex pattern;
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;  // the gaps count as matches, and the matches as gaps
};

// The pieces of `text` that one step leaves, in order; views into it, none empty.
std::vector<std::string_view> split(std::string_view text, const SplitStep& step);

}  // namespace ringbench
