// unicode.cpp: see unicode.h. The tables are utf8proc's.
#include "evals/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace ringbench {
namespace {

uint8_t byte_at(std::string_view text, size_t at) { return static_cast<uint8_t>(text[at]); }

// Length of the well-formed sequence at `at`, or minus the length of the maximal part of an ill-formed one (>= 1).
int sequence_at(std::string_view text, size_t at) {
  const uint8_t lead = byte_at(text, at);
  if (lead < 0x80) return 1;
  const int length = lead >= 0xC2 && lead < 0xE0 ? 2 : (lead & 0xF0) == 0xE0 ? 3 : lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
  if (length == 0) return -1;
  for (int i = 1; i < length; ++i) {
    if (at + static_cast<size_t>(i) >= text.size()) return -i;
    const uint8_t next = byte_at(text, at + static_cast<size_t>(i));
    uint8_t low = 0x80, high = 0xBF;
    if (i == 1) {  // what would be overlong, a surrogate or beyond U+10FFFF
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    }
    if (next < low || next > high) return -i;
  }
  return length;
}

void append_utf8(std::string& text, char32_t c) {
  utf8proc_uint8_t bytes[4];
  const auto size = utf8proc_encode_char(static_cast<utf8proc_int32_t>(c), bytes);
  text.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
}

int combining_class(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

}  // namespace

CodePoint code_point_at(std::string_view text, size_t at) {
  const uint8_t lead = byte_at(text, at);
  const auto tail = [&](size_t i) { return static_cast<char32_t>(byte_at(text, at + i) & 0x3F); };
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1Fu) << 6 | tail(1), 2};
  if (lead < 0xF0) return {(lead & 0x0Fu) << 12 | tail(1) << 6 | tail(2), 3};
  return {(lead & 0x07u) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4};
}

size_t code_point_before(std::string_view text, size_t end) {
  do --end;
  while (end > 0 && (byte_at(text, end) & 0xC0) == 0x80);
  return end;
}

size_t first_invalid_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const int length = sequence_at(text, at);
    if (length < 0) return at;
    at += static_cast<size_t>(length);
  }
  return text.size();
}

std::string replace_invalid_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size();) {
    const int length = sequence_at(bytes, at);
    const auto size = static_cast<size_t>(std::abs(length));
    text += length > 0 ? bytes.substr(at, size) : std::string_view("\xEF\xBF\xBD");
    at += size;
  }
  return text;
}

size_t unfinished_utf8(std::string_view bytes) {
  for (size_t size = std::min<size_t>(3, bytes.size()); size > 0; --size) {
    const size_t at = bytes.size() - size;
    const uint8_t lead = byte_at(bytes, at);
    if (lead >= 0xC2 && lead < 0xF5 && sequence_at(bytes, at) == -static_cast<int>(size)) return size;
  }
  return 0;
}

std::string to_nfc(std::string_view text) {
  // Below U+0300 every character is composed already, and nothing combines with it.
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0xCC; }))
    return std::string(text);
  std::vector<utf8proc_int32_t> points;
  points.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    at += c.size;
    utf8proc_int32_t parts[32];  // the longest canonical decomposition is 4
    int boundary_class = 0;
    const auto count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c.value), parts, 32,
                                static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE), &boundary_class);
    if (count < 0 || count > 32) throw std::logic_error("to_nfc: a character has no decomposition");
    points.insert(points.end(), parts, parts + count);
  }
  // Canonical order. utf8proc would do it too, but in time n^2.
  for (auto begin = points.begin(); begin != points.end();) {
    auto end = begin + 1;
    if (combining_class(*begin) != 0) {
      end = std::find_if(begin, points.end(), [](utf8proc_int32_t c) { return combining_class(c) == 0; });
      std::stable_sort(begin, end, [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    }
    begin = end;
  }
  const auto composed = utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()),
                                                 static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (composed < 0) throw std::logic_error("to_nfc: composition failed");
  std::string result;
  result.reserve(text.size());
  for (auto i = 0; i < composed; ++i) append_utf8(result, static_cast<char32_t>(points[static_cast<size_t>(i)]));
  return result;
}

bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_word(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: break;
  }
  // Join_Control, and what is alphabetic among symbols: circled and squared letters.
  return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
         (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

}  // namespace ringbench
