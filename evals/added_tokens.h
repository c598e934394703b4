// added_tokens.h: tokens that are looked for in the text itself, before it is cut into pieces.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ringbench {

struct AddedToken {
  std::string content;  // not empty
  int32_t id = 0;
  bool special = false;
  bool single_word = false;             // only where no letter or digit touches it
  bool lstrip = false, rstrip = false;  // takes the white space before or after it along
};

// An added token, or a part of the text that is to be cut and encoded.
struct Segment {
  std::string_view text;  // empty: an added token
  int32_t id = -1;        // of the added token
};

class AddedTokens {
 public:
  void add(AddedToken token);
  // Of the tokens in `text` (valid UTF-8) the leftmost, and of those that begin at one place the longest.
  std::vector<Segment> find(std::string_view text) const;

 private:
  const AddedToken* token_at(std::string_view text, size_t at) const;

  std::array<std::vector<AddedToken>, 256> by_first_byte_;  // the longest first
};

}  // namespace ringbench
