// splitting.cpp: see splitting.h.
#include "evals/splitting.h"

#include <algorithm>

namespace ringbench {
namespace {

struct Part {
  size_t begin = 0, end = 0;
  bool match = false;
};

// Matches and the gaps between them.
std::vector<Part> parts_of(std::string_view text, const SplitStep& step) {
  std::vector<Part> parts;
  size_t at = 0;
  while (at < text.size()) {
    const auto found = step.pattern.find(text, at);
    if (!found) break;
    if (found->first > at) parts.push_back({at, found->first, step.invert});
    parts.push_back({found->first, found->second, !step.invert});
    at = found->second;
  }
  if (at < text.size()) parts.push_back({at, text.size(), step.invert});
  return parts;
}

// A match joins the part before it, unless that is a match too.
std::vector<Part> merge_with_previous(const std::vector<Part>& parts) {
  std::vector<Part> merged;
  bool after_match = false;
  for (const Part& part : parts) {
    if (part.match && !after_match && !merged.empty())
      merged.back().end = part.end;
    else
      merged.push_back(part);
    after_match = part.match;
  }
  return merged;
}

std::vector<Part> merge_with_next(const std::vector<Part>& parts) {
  std::vector<Part> merged;  // from the back
  bool before_match = false;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (part->match && !before_match && !merged.empty())
      merged.back().begin = part->begin;
    else
      merged.push_back(*part);
    before_match = part->match;
  }
  std::reverse(merged.begin(), merged.end());
  return merged;
}

std::vector<Part> merge_equal(const std::vector<Part>& parts) {
  std::vector<Part> merged;
  for (const Part& part : parts) {
    if (!merged.empty() && merged.back().match == part.match)
      merged.back().end = part.end;
    else
      merged.push_back(part);
  }
  return merged;
}

}  // namespace

std::vector<std::string_view> split(std::string_view text, const SplitStep& step) {
  std::vector<Part> parts = parts_of(text, step);
  switch (step.behavior) {
    case SplitBehavior::isolated: break;
    case SplitBehavior::removed: std::erase_if(parts, [](const Part& part) { return part.match; }); break;
    case SplitBehavior::merged_with_previous: parts = merge_with_previous(parts); break;
    case SplitBehavior::merged_with_next: parts = merge_with_next(parts); break;
    case SplitBehavior::contiguous: parts = merge_equal(parts); break;
  }
  std::vector<std::string_view> pieces;
  pieces.reserve(parts.size());
  for (const Part& part : parts) pieces.push_back(text.substr(part.begin, part.end - part.begin));
  return pieces;
}

}  // namespace ringbench
