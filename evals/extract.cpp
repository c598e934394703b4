// extract.cpp: see extract.h.
#include "evals/extract.h"

#include <algorithm>
#include <optional>

namespace ringbench {
namespace {

struct Span {
  size_t begin = 0, end = 0;
};

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_markup(char c) { return c == '*' || c == '_' || c == '`' || c == '#'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

Span trimmed(std::string_view text, Span s) {
  while (s.begin < s.end && is_space(text[s.begin])) ++s.begin;
  while (s.end > s.begin && is_space(text[s.end - 1])) --s.end;
  return s;
}

// After \boxed or \fbox without a brace: a number, a letter that stands alone, or a command with its groups.
Span one_token(std::string_view text, size_t at) {
  const size_t begin = at;
  if (at < text.size() && text[at] == '-') ++at;
  if (at < text.size() && is_digit(text[at])) {
    while (at < text.size() &&
           (is_digit(text[at]) || (text[at] == '.' && at + 1 < text.size() && is_digit(text[at + 1]))))
      ++at;
    return {begin, at};
  }
  at = begin;
  if (at + 1 < text.size() && text[at] == '\\' && is_letter(text[at + 1])) {
    for (++at; at < text.size() && is_letter(text[at]); ++at) {}
    int depth = 0;
    for (const size_t limit = at + 256; at < std::min(text.size(), limit) && (depth > 0 || text[at] == '{'); ++at) {
      if (text[at] == '{') ++depth;
      if (text[at] == '}') --depth;
      if (text[at] == '\n') return {};
    }
    return depth == 0 ? Span{begin, at} : Span{};
  }
  if (at < text.size() && is_letter(text[at]) && (at + 1 == text.size() || !is_letter(text[at + 1])))
    return {at, at + 1};
  return {};
}

// The complete boxes that hold something, by their ends; boxes inside others are left out.
std::vector<Span> boxes(std::string_view text) {
  struct Open {
    size_t begin;
    bool box;
  };
  std::vector<Open> open;
  std::vector<Span> found;
  bool box_next = false;  // \boxed was read, and only spaces since
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '{') {
      open.push_back({at + 1, box_next});
      box_next = false;
    } else if (c == '}') {
      if (open.empty()) continue;
      const Open last = open.back();
      open.pop_back();
      if (!last.box) continue;
      while (!found.empty() && found.back().begin > last.begin) found.pop_back();
      const Span inside = trimmed(text, {last.begin, at});
      if (inside.begin < inside.end) found.push_back(inside);
    } else if (c == '\\') {
      const std::string_view rest = text.substr(at + 1);
      const bool doubled = rest.starts_with("\\boxed") || rest.starts_with("\\fbox");
      const size_t name = rest.starts_with("boxed") ? 5 : rest.starts_with("fbox") ? 4 : 0;
      const bool whole = name > 0 && (rest.size() == name || !is_letter(rest[name]));
      if (whole) {
        at += name;
        size_t next = at + 1;
        while (next < text.size() && (text[next] == ' ' || text[next] == '\n')) ++next;
        if (next < text.size() && text[next] == '{') {
          box_next = true;
          at = next - 1;
        } else if (const Span token = one_token(text, next); token.begin < token.end) {
          found.push_back(token);
          at = token.end - 1;
        }
      } else if (!doubled) {
        ++at;  // an escaped brace, or a backslash that is one
      }
    }
  }
  return found;
}

bool contains_fold(std::string_view text, size_t at, std::string_view word) {
  if (text.size() - at < word.size()) return false;
  return std::equal(word.begin(), word.end(), text.begin() + static_cast<ptrdiff_t>(at),
                    [](char a, char b) { return a == lower(b); });
}

size_t skip(std::string_view text, size_t at, bool newlines = false) {
  while (at < text.size() && ((is_space(text[at]) && (newlines || text[at] != '\n')) || is_markup(text[at]))) ++at;
  return at;
}

// To the end of the line or of the sentence: a full stop before white space that is not between digits.
Span sentence(std::string_view text, size_t begin) {
  size_t end = begin;
  for (; end < text.size() && text[end] != '\n'; ++end) {
    const bool stop = text[end] == '.' && end > begin && (end + 1 == text.size() || is_space(text[end + 1]));
    if (stop && !(end + 1 < text.size() && text[end - 1] == '.')) break;
    if (text.substr(end, 3) == "\xE3\x80\x82") break;  // the Chinese full stop
  }
  Span s = trimmed(text, {begin, end});
  while (s.end > s.begin && (text[s.end - 1] == '*' || text[s.end - 1] == '_')) --s.end;
  return trimmed(text, s);
}

// Where the answer begins after the word at `at`: "is", ":" or both; npos if neither is there.
size_t after_anchor(std::string_view text, size_t at) {
  at = skip(text, at);
  bool said = false;
  if (contains_fold(text, at, "is") && (at + 2 == text.size() || !is_letter(text[at + 2]))) {
    at = skip(text, at + 2);
    said = true;
  }
  if (at < text.size() && text[at] == ':') return skip(text, at + 1, true);
  if (text.substr(at, 3) == "\xEF\xBC\x9A") return skip(text, at + 3, true);
  return said ? at : std::string_view::npos;
}

// The last anchored answer: "answer is X", "Answer: X", "#### X", the Chinese "answer is".
Span anchored(std::string_view text, std::string& rule) {
  constexpr std::string_view kChinese = "\xE7\xAD\x94\xE6\xA1\x88";     // answer
  constexpr std::string_view kIs[] = {"\xE6\x98\xAF", "\xE4\xB8\xBA"};  // is
  size_t last = std::string_view::npos;
  for (size_t at = 0; at < text.size(); ++at) {
    size_t begin = std::string_view::npos;
    const char* name = "answer";
    const char c = lower(text[at]);
    if (c == 'a' && contains_fold(text, at, "answer") && (at == 0 || !is_letter(text[at - 1]))) {
      begin = after_anchor(text, at + 6);
    } else if (c == '#' && text.substr(at, 5) == "#### ") {
      begin = at + 5;
      name = "hashes";
    } else if (c == kChinese[0] && text.substr(at, kChinese.size()) == kChinese) {
      size_t next = skip(text, at + kChinese.size());
      for (const std::string_view is : kIs)
        if (text.substr(next, is.size()) == is) begin = next = skip(text, next + is.size());
      const size_t colon = text.substr(next, 3) == "\xEF\xBC\x9A" ? 3 : text.substr(next, 1) == ":" ? 1 : 0;
      if (colon > 0) begin = skip(text, next + colon, true);
    }
    while (begin < text.size() && text[begin] == ' ') ++begin;
    if (begin >= text.size() || text[begin] == '\n') continue;
    if (name[0] == 'h' && contains_fold(text, begin, "answer")) continue;  // a heading before the answer
    last = begin;
    rule = name;
    at = begin - 1;
  }
  return last == std::string_view::npos ? Span{} : sentence(text, last);
}

Span last_number(std::string_view text) {
  size_t end = text.size();
  while (end > 0 && !is_digit(text[end - 1])) --end;
  size_t begin = end;
  while (begin > 0 && (is_digit(text[begin - 1]) || text[begin - 1] == '.' || text[begin - 1] == ',')) --begin;
  while (begin < end && !is_digit(text[begin])) ++begin;
  if (begin > 0 && begin < end && text[begin - 1] == '-') --begin;
  return {begin, end};
}

// What counts of a completion: all after the last </think>. False if thinking was not closed.
bool without_thinking(std::string_view text, size_t& begin) {
  constexpr std::string_view kClose = "</think>", kOpen = "<think>";
  const size_t close = text.rfind(kClose);
  begin = close == std::string_view::npos ? 0 : close + kClose.size();
  return text.find(kOpen, begin) == std::string_view::npos;
}

Extraction found(std::string_view text, Span s, std::string rule, size_t offset) {
  Extraction e;
  e.state = Extraction::State::found;
  e.text = std::string(text.substr(s.begin, s.end - s.begin));
  e.rule = std::move(rule);
  e.begin = s.begin + offset;
  e.end = s.end + offset;
  return e;
}

Extraction boxed(std::string_view text, const std::vector<Span>& all, size_t joined, size_t offset) {
  const Span last = all.back();
  Extraction e = found(text, last, "boxed", offset);
  size_t first = all.size() - 1;
  while (first > 0 && all.size() - first < joined &&
         text.substr(all[first - 1].end, all[first].begin - all[first - 1].end).find('\n') == std::string_view::npos)
    --first;
  if (joined > 1 && all.size() - first == joined) {
    e.rule = "boxes";
    e.begin = all[first].begin + offset;
    e.text.clear();
    for (size_t i = first; i < all.size(); ++i)
      (e.text += i > first ? ", " : "") += text.substr(all[i].begin, all[i].end - all[i].begin);
  } else {
    first = all.size() - 1;
  }
  e.multi_box = std::any_of(all.begin(), all.begin() + static_cast<ptrdiff_t>(first),
                            [&](const Span& s) { return text.substr(s.begin, s.end - s.begin) != e.text; });
  return e;
}

// A letter up to `last` that is no part of a word.
bool stands_alone(std::string_view text, size_t at, char last) {
  const char c = lower(text[at]);
  if (c < 'a' || c > lower(last)) return false;
  const auto joins = [](char n) {
    return is_letter(n) || is_digit(n) || n == '\'' || static_cast<unsigned char>(n) >= 0x80;
  };
  return !(at > 0 && (joins(text[at - 1]) || text[at - 1] == '\\')) && !(at + 1 < text.size() && joins(text[at + 1]));
}

// The thinking is cut off: `text` is what follows it, from `offset` on. Truncated thinking settles what the answer is,
// and so does a box; else empty.
std::optional<Extraction> settled_by_box(std::string_view completion, size_t joined_boxes, std::string_view& text,
                                         size_t& offset) {
  Extraction truncated;
  truncated.state = Extraction::State::truncated;
  if (!without_thinking(completion, offset)) return truncated;
  text = completion.substr(offset);
  const std::vector<Span> all = boxes(text);
  return all.empty() ? std::nullopt : std::optional(boxed(text, all, joined_boxes, offset));
}

// Where the letter stands that follows "answer", "option" or "choice" at `at`; npos: none does.
size_t choice_after_word(std::string_view text, size_t at) {
  if (at > 0 && is_letter(text[at - 1])) return text.npos;
  for (const std::string_view word : {"answer", "option", "choice"}) {
    if (!contains_fold(text, at, word)) continue;
    size_t next = skip(text, at + word.size());
    if (const size_t after = after_anchor(text, next); after != text.npos) next = after;
    if (contains_fold(text, next, "option") || contains_fold(text, next, "choice")) break;  // found again there
    while (next < text.size() && (text[next] == '(' || text[next] == '[' || text[next] == '$' || text[next] == '*'))
      ++next;
    for (const std::string_view font : {"\\text{", "\\textbf{", "\\mathrm{", "\\mathbf{"})
      if (text.substr(next).starts_with(font)) next += font.size();
    if (next < text.size() && text[next] == '(') ++next;
    if (next == at + word.size() || next >= text.size() || !stands_alone(text, next, 'D')) break;
    if (text[next] == 'a' && next + 2 < text.size() && text[next + 1] == ' ' && is_letter(text[next + 2])) break;
    return next;
  }
  return text.npos;
}

}  // namespace

char leading_label(std::string_view candidate, std::string_view& rest) {
  std::string_view s = candidate;
  const auto skip_spaces = [&] {
    while (!s.empty() && (is_space(s.front()) || s.front() == '*' || s.front() == '$' || s.front() == '~'))
      s.remove_prefix(1);
  };
  skip_spaces();
  int groups = 0;
  for (const std::string_view font : {"\\textbf{", "\\text{", "\\mathrm{", "\\mathbf{", "\\textrm{", "\\mathbf {"})
    if (s.starts_with(font)) {
      s.remove_prefix(font.size());
      ++groups;
    }
  skip_spaces();
  const bool open = s.starts_with("(") || s.starts_with("[");
  if (open) s.remove_prefix(1);
  if (s.empty() || s.front() < 'A' || s.front() > 'E') return '\0';
  const char letter = s.front();
  s.remove_prefix(1);
  bool closed = false;
  while (!s.empty() && (s.front() == ')' || s.front() == ']' || s.front() == '.' || s.front() == ':' ||
                        (groups > 0 && (s.front() == '}' || (closed && is_space(s.front())))))) {
    if (s.front() == '}')
      --groups;
    else if (!is_space(s.front()))
      closed = true;
    s.remove_prefix(1);
  }
  if (!closed || (open && candidate.find_first_of(")]") == std::string_view::npos)) return '\0';
  skip_spaces();
  while (s.starts_with("\\ ") || s.starts_with("\\,") || s.starts_with("\\;") || s.starts_with("\\quad")) {
    s.remove_prefix(s.starts_with("\\quad") ? 5 : 2);
    skip_spaces();
  }
  rest = s;
  if (groups > 0 && rest.ends_with("}")) rest.remove_suffix(1);  // \text{(B) 12}
  // A sign after it: not a label but part of an expression.
  if (!rest.empty() && std::string_view("+*/^=<>,_!").find(rest.front()) != std::string_view::npos) return '\0';
  return letter;
}

char choice_letter(std::string_view candidate, char last) {
  std::string_view rest;
  const char label = leading_label(candidate, rest);
  if (label != '\0' && label <= last) return label;
  char letter = '\0';
  size_t other_words = 0;
  for (size_t at = 0; at < candidate.size(); ++at) {
    if (candidate[at] == '\\') {  // a command's name
      while (at + 1 < candidate.size() && is_letter(candidate[at + 1])) ++at;
    } else if (stands_alone(candidate, at, last)) {
      const char upper = static_cast<char>(lower(candidate[at]) - 'a' + 'A');
      if (candidate[at] == 'a' && other_words > 0) continue;  // the article
      if (letter != '\0' && letter != upper) return '\0';
      letter = upper;
    } else if (is_letter(candidate[at]) || is_digit(candidate[at])) {
      ++other_words;
    }
  }
  if (other_words == 0) return letter;
  // "option C", "C is right": the letter stands out; "a circle" does not name one.
  return candidate.find(letter) == std::string_view::npos ? '\0' : letter;
}

std::string_view last_box_or_all(std::string_view text) {
  const std::vector<Span> all = boxes(text);
  return all.empty() ? text : text.substr(all.back().begin, all.back().end - all.back().begin);
}

Extraction extract_answer(std::string_view completion, const ExtractOptions& options) {
  if (options.bare) {
    const Span all = trimmed(completion, {0, completion.size()});
    return all.begin < all.end ? found(completion, all, "bare", 0) : Extraction();
  }
  std::string_view text;
  size_t offset = 0;
  if (const std::optional<Extraction> settled = settled_by_box(completion, options.joined_boxes, text, offset))
    return *settled;
  std::string rule;
  Span span = anchored(text, rule);
  if (span.begin == span.end && options.last_number) {
    span = last_number(text);
    rule = "last_number";
  }
  return span.begin < span.end ? found(text, span, rule, offset) : Extraction();
}

Extraction extract_choice(std::string_view completion, bool bare) {
  if (bare) return extract_answer(completion, {.bare = true});
  std::string_view text;
  size_t offset = 0;
  if (const std::optional<Extraction> settled = settled_by_box(completion, 1, text, offset)) return *settled;
  size_t last = text.npos;
  for (size_t at = 0; at < text.size(); ++at)
    if (const size_t letter = choice_after_word(text, at); letter != text.npos) last = letter;
  if (last != text.npos) return found(text, {last, last + 1}, "option", offset);
  const Span all = trimmed(text, {0, text.size()});  // nothing but the letter
  if (all.end - all.begin <= 24 && choice_letter(text.substr(all.begin, all.end - all.begin), 'D') != '\0')
    return found(text, all, "option", offset);
  return {};
}

}  // namespace ringbench
