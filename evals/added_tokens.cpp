// added_tokens.cpp: see added_tokens.h.
#include "evals/added_tokens.h"

#include <algorithm>

#include "evals/unicode.h"

namespace ringbench {
namespace {

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  const bool word_before = begin > 0 && is_word(code_point_at(text, code_point_before(text, begin)).value);
  const bool word_after = end < text.size() && is_word(code_point_at(text, end).value);
  return !word_before && !word_after;
}

}  // namespace

void AddedTokens::add(AddedToken token) {
  auto& tokens = by_first_byte_[static_cast<uint8_t>(token.content[0])];
  const auto shorter = std::find_if(tokens.begin(), tokens.end(), [&](const AddedToken& other) {
    return other.content.size() < token.content.size();
  });
  tokens.insert(shorter, std::move(token));
}

std::vector<Segment> AddedTokens::find(std::string_view text) const {
  std::vector<Segment> segments;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const AddedToken* const token = token_at(text, at);
    if (token == nullptr) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + token->content.size();
    at = end;  // another token may begin in the white space that this one takes along
    if (token->single_word && !stands_alone(text, begin, end)) continue;
    if (token->lstrip)
      while (begin > done && is_white_space(code_point_at(text, code_point_before(text, begin)).value))
        begin = code_point_before(text, begin);
    if (token->rstrip)
      for (end = std::max(end, done); end < text.size(); end += code_point_at(text, end).size)
        if (!is_white_space(code_point_at(text, end).value)) break;
    if (begin > done) segments.push_back({text.substr(done, begin - done)});
    segments.push_back({{}, token->id});
    done = end;
  }
  if (done < text.size()) segments.push_back({text.substr(done)});
  return segments;
}

const AddedToken* AddedTokens::token_at(std::string_view text, size_t at) const {
  for (const AddedToken& token : by_first_byte_[static_cast<uint8_t>(text[at])])
    if (text.substr(at).starts_with(token.content)) return &token;
  return nullptr;
}

}  // namespace ringbench
