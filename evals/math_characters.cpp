// math_characters.cpp: characters beyond ASCII in answers, as LaTeX or ASCII (math_tokens.h).
#include <algorithm>

#include "evals/math_tokens.h"
#include "evals/unicode.h"

namespace ringbench {
namespace {

struct Named {
  char32_t c;
  const char* text;
};
constexpr Named kCharacters[] = {{0xA0, "\\,"},
                                 {0x2009, "\\,"},
                                 {0x202F, "\\,"},
                                 {0x2212, "-"},
                                 {0x2010, "-"},
                                 {0x2011, "-"},
                                 {0x2012, "-"},
                                 {0x2013, "-"},
                                 {0x2014, "-"},
                                 {0xFE63, "-"},
                                 {0x2018, "'"},
                                 {0x2019, "'"},
                                 {0x2032, "'"},
                                 {0x201C, ""},
                                 {0x201D, ""},
                                 {0xB1, "\\pm "},
                                 {0x2213, "\\mp "},
                                 {0xD7, "\\times "},
                                 {0xB7, "\\cdot "},
                                 {0x22C5, "\\cdot "},
                                 {0x2219, "\\cdot "},
                                 {0x2022, "\\cdot "},
                                 {0x2217, "*"},
                                 {0xF7, "\\div "},
                                 {0x2044, "/"},
                                 {0x2215, "/"},
                                 {0x2264, "\\le "},
                                 {0x2A7D, "\\le "},
                                 {0x2266, "\\le "},
                                 {0x2265, "\\ge "},
                                 {0x2A7E, "\\ge "},
                                 {0x2267, "\\ge "},
                                 {0x2260, "\\ne "},
                                 {0x2248, "\\approx "},
                                 {0x222A, "\\cup "},
                                 {0x2229, "\\cap "},
                                 {0x2208, "\\in "},
                                 {0x2209, "\\notin "},
                                 {0x2216, "\\setminus "},
                                 {0x2205, "\\emptyset "},
                                 {0x221E, "\\infty "},
                                 {0x221A, "\\rootsign "},
                                 {0x221B, "\\sqrt[3]"},
                                 {0x221C, "\\sqrt[4]"},
                                 {0xB0, "^\\circ "},
                                 {0xBA, "^\\circ "},
                                 {0x2218, "\\circ "},
                                 {0x2026, "\\dots "},
                                 {0x22EF, "\\dots "},
                                 {0x2115, "\\mathbb{N}"},
                                 {0x2124, "\\mathbb{Z}"},
                                 {0x211A, "\\mathbb{Q}"},
                                 {0x211D, "\\mathbb{R}"},
                                 {0x2102, "\\mathbb{C}"},
                                 {0x210E, "h"},
                                 {0x212F, "e"},
                                 {0x27E8, "\\langle "},
                                 {0x27E9, "\\rangle "},
                                 {0x2329, "\\langle "},
                                 {0x232A, "\\rangle "},
                                 {0x230A, "\\lfloor "},
                                 {0x230B, "\\rfloor "},
                                 {0x2308, "\\lceil "},
                                 {0x2309, "\\rceil "},
                                 {0x2223, "|"},
                                 {0x3001, ","},
                                 {0x3002, "."},
                                 {0x20AC, "\\$"},
                                 {0xA3, "\\$"},
                                 {0xA5, "\\$"},
                                 {0xBD, "\\frac{1}{2}"},
                                 {0xBC, "\\frac{1}{4}"},
                                 {0xBE, "\\frac{3}{4}"},
                                 {0x2150, "\\frac{1}{7}"},
                                 {0x2151, "\\frac{1}{9}"},
                                 {0x2152, "\\frac{1}{10}"},
                                 {0x2153, "\\frac{1}{3}"},
                                 {0x2154, "\\frac{2}{3}"},
                                 {0x2155, "\\frac{1}{5}"},
                                 {0x2156, "\\frac{2}{5}"},
                                 {0x2157, "\\frac{3}{5}"},
                                 {0x2158, "\\frac{4}{5}"},
                                 {0x2159, "\\frac{1}{6}"},
                                 {0x215A, "\\frac{5}{6}"},
                                 {0x215B, "\\frac{1}{8}"},
                                 {0x215C, "\\frac{3}{8}"},
                                 {0x215D, "\\frac{5}{8}"},
                                 {0x215E, "\\frac{7}{8}"},
                                 {0x2236, ":"},
                                 {0x2192, "\\to "},
                                 {0x3C0, "\\pi "},
                                 {0x3C4, "\\tau "},
                                 {0x3B1, "\\alpha "},
                                 {0x3B2, "\\beta "},
                                 {0x3B3, "\\gamma "},
                                 {0x3B4, "\\delta "},
                                 {0x3B8, "\\theta "},
                                 {0x3BB, "\\lambda "},
                                 {0x3BC, "\\mu "},
                                 {0xB5, "\\mu "},
                                 {0x3C1, "\\rho "},
                                 {0x3C3, "\\sigma "},
                                 {0x3C6, "\\phi "},
                                 {0x3C9, "\\omega "},
                                 {0x2227, "\\wedge "},
                                 {0x2228, "\\vee "}};

// The ASCII character of a super- or subscript, 0 if it is none.
char superscript(char32_t c) {
  switch (c) {
    case 0xB9: return '1';
    case 0xB2: return '2';
    case 0xB3: return '3';
    case 0x2071: return 'i';
    case 0x207A: return '+';
    case 0x207B: return '-';
    case 0x207D: return '(';
    case 0x207E: return ')';
    case 0x207F: return 'n';
    default: return c == 0x2070 || (c >= 0x2074 && c <= 0x2079) ? static_cast<char>('0' + (c - 0x2070)) : '\0';
  }
}
char subscript(char32_t c) { return c >= 0x2080 && c <= 0x2089 ? static_cast<char>('0' + (c - 0x2080)) : '\0'; }

void append_character(std::string& out, std::string_view bytes, char32_t c) {
  const auto* named =
      std::find_if(std::begin(kCharacters), std::end(kCharacters), [&](const Named& n) { return n.c == c; });
  if (named != std::end(kCharacters)) {
    out += named->text;
  } else if (c >= 0xFF01 && c <= 0xFF5E) {
    out += static_cast<char>(c - 0xFEE0);
  } else if (c >= 0x1D7CE && c <= 0x1D7FF) {
    out += static_cast<char>('0' + (c - 0x1D7CE) % 10);
  } else if (c >= 0x1D400 && c <= 0x1D6A3) {
    const auto letter = static_cast<int>((c - 0x1D400) % 52);
    out += static_cast<char>(letter < 26 ? 'A' + letter : 'a' + letter - 26);
  } else if (is_white_space(c)) {
    out += ' ';
  } else if ((c >= 0x200B && c <= 0x200F) || (c >= 0x2060 && c <= 0x2064) || c == 0xFEFF || c == 0xFFFD || c == 0xAD) {
    return;
  } else {
    out += bytes;
  }
}

}  // namespace

std::string to_ascii_math(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80 && c != '\0'; }))
    return std::string(text);
  const std::string valid = replace_invalid_utf8(text);
  char script = '\0';  // '^' or '_' while a run of them is open
  for (size_t at = 0; at < valid.size();) {
    const CodePoint point = code_point_at(valid, at);
    const char up = superscript(point.value), down = subscript(point.value);
    const char wanted = up != '\0' ? '^' : down != '\0' ? '_' : '\0';
    if (script != wanted && script != '\0') out += '}';
    if (script != wanted && wanted != '\0') (out += wanted) += '{';
    script = wanted;
    if (wanted != '\0')
      out += up != '\0' ? up : down;
    else if (point.value >= 0x80)
      append_character(out, std::string_view(valid).substr(at, point.size), point.value);
    else if (point.value != 0)
      out += valid[at];
    at += point.size;
  }
  if (script != '\0') out += '}';
  return out;
}

}  // namespace ringbench
