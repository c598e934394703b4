// document.h: a page as data, and the two forms it is written in: one HTML file that needs nothing beside it, and
// Markdown as GitHub reads it. Not what a page says (report.cpp).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace ringbench {

// Part of a line. Both writers escape `text`, so that no tag or message of a record can become markup.
struct Span {
  enum class Kind { plain, strong, muted, code, link, badge, line_break };
  Kind kind = Kind::plain;
  std::string text;
  std::string detail;  // link: "#row-12"; badge: its tone, good bad doubt trend none
};

// A line of text, or several with line breaks.
struct Text {
  std::vector<Span> spans;

  Text() = default;
  Text(std::string plain) : spans{{Span::Kind::plain, std::move(plain), ""}} {}
  Text(const char* plain) : Text(std::string(plain)) {}
  Text(Span span) : spans{std::move(span)} {}
  Text& operator+=(const Text& more) {
    spans.insert(spans.end(), more.spans.begin(), more.spans.end());
    return *this;
  }
  friend Text operator+(Text first, const Text& second) { return first += second; }
};
inline Text strong(std::string text) { return Span{Span::Kind::strong, std::move(text), ""}; }
inline Text muted(std::string text) { return Span{Span::Kind::muted, std::move(text), ""}; }
inline Text code(std::string text) { return Span{Span::Kind::code, std::move(text), ""}; }
inline Text link(std::string text, std::string to) { return Span{Span::Kind::link, std::move(text), std::move(to)}; }
inline Text badge(std::string text, std::string tone) {
  return Span{Span::Kind::badge, std::move(text), std::move(tone)};
}
inline Text line_break() { return Span{Span::Kind::line_break, "", ""}; }

struct Heading {
  int level = 2;  // 2: a section, in the list of contents; 3, 4: within it
  std::string text;
  std::string id;  // sections only
};
struct Paragraph {
  Text text;
  bool small = false;  // an aside
};
struct List {
  std::vector<Text> items;
};
struct CodeBlock {
  std::string text;
};
struct TableRow {
  std::vector<Text> cells;
  std::string id;       // where links to it lead; may be empty
  bool failed = false;  // has no number
};
struct PageTable {
  std::string label;                // what it shows; where it is folded, the line that unfolds it
  std::vector<std::string> titles;  // empty: lines of name and value
  std::vector<bool> right;          // numbers; may be shorter than `titles`
  std::vector<TableRow> rows;
  bool folded = false;
  bool prose = false;  // sentences in cells: they wrap, and on a phone each row becomes a block
};
struct Picture {
  std::string id, title, caption;
  std::filesystem::path svg;
  PageTable numbers;  // that it was drawn from, folded; none without rows
};
struct Pictures {
  std::vector<Picture> all;  // side by side where there is room
};
using Block = std::variant<Heading, Paragraph, List, CodeBlock, PageTable, Pictures>;

struct Document {
  std::string kicker, title;  // what kind of page; what it is about
  std::vector<Block> blocks;
  std::string footer;
};

// One page: style and pictures are in it, nothing is loaded, no script runs. Throws Failure(environment) for a picture
// that cannot be read.
std::string to_html(const Document& document);
// Pictures are linked by their paths relative to `folder`, where the text will be.
std::string to_markdown(const Document& document, const std::filesystem::path& folder);

// The <svg> element of a file as part of a page that holds others: its ids begin with `prefix`, it fills the width it
// is given, and `title` says what it shows to those who cannot see it.
std::string inline_svg(std::string svg, const std::string& prefix, const std::string& title);

}  // namespace ringbench
