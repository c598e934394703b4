// unicode.h: what a tokenizer asks of Unicode: valid UTF-8 or not, NFC, and two character classes. No locale, no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ringbench {

// The code point that begins at `at` (of valid UTF-8), and the bytes it takes.
struct CodePoint {
  char32_t value = 0;
  size_t size = 1;
};
CodePoint code_point_at(std::string_view text, size_t at);
// Where the code point that ends before `end` begins; end > 0.
size_t code_point_before(std::string_view text, size_t end);

// Offset of the first byte that is not part of valid UTF-8 (no overlong forms, no surrogates, nothing above U+10FFFF);
// text.size() if all is.
size_t first_invalid_utf8(std::string_view text);
// Each maximal part of an ill-formed sequence becomes one U+FFFD (Unicode 15, section 3.9, table 3-8).
std::string replace_invalid_utf8(std::string_view bytes);

// How many bytes at the end begin a character that further bytes could complete: 0 to 3.
size_t unfinished_utf8(std::string_view bytes);

// Canonical composition of valid UTF-8. Takes time n log n at most, whatever the run of combining marks.
std::string to_nfc(std::string_view text);

bool is_white_space(char32_t c);  // the property White_Space
bool is_word(char32_t c);         // Alphabetic, M, Nd, Pc, Join_Control: \w of Unicode TS 18

}  // namespace ringbench
