// document_markdown.cpp: to_markdown of document.h: readable as plain text too, so only what must be is escaped.
#include <algorithm>

#include "harness/document.h"

namespace ringbench {
namespace {

// Characters that would begin markup. Line breaks would end a cell.
std::string escape_markdown(std::string_view text) {
  std::string markdown;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '<')
      markdown += "&lt;";
    else if (c == '&')
      markdown += "&amp;";
    else if (c == '*' || c == '`' || c == '\\' || c == '|')
      markdown += std::string("\\") + c;
    else if (c == ']' && i + 1 < text.size() && (text[i + 1] == '(' || text[i + 1] == '['))
      markdown += "\\]";  // no link
    else
      markdown += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return markdown;
}

// In a fence longer than any within; `|` is escaped in tables even there.
std::string code_span(const std::string& text, bool in_table) {
  std::string shown;
  size_t longest = 0, run = 0;
  for (const char c : text) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
    shown += c == '|' && in_table ? "\\|" : std::string(1, static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
  }
  if (shown.empty()) return "";
  const std::string fence(longest + 1, '`'), space = longest > 0 ? " " : "";
  return fence + space + shown + space + fence;
}

std::string markdown_of(const Span& span, bool in_table) {
  switch (span.kind) {
    case Span::Kind::strong:
    case Span::Kind::badge: return span.text.empty() ? "" : "**" + escape_markdown(span.text) + "**";
    case Span::Kind::code: return code_span(span.text, in_table);
    // Rows have no anchors here: a link within the page is its words.
    case Span::Kind::link:
      return span.detail.starts_with('#') ? escape_markdown(span.text)
                                          : "[" + escape_markdown(span.text) + "](" + span.detail + ")";
    case Span::Kind::line_break: return "<br>";
    default: return escape_markdown(span.text);
  }
}

std::string markdown_of(const Text& text, bool in_table = false) {
  std::string markdown;
  for (const Span& span : text.spans) markdown += markdown_of(span, in_table);
  return markdown;
}

struct MarkdownWriter {
  const std::filesystem::path& folder;
  std::string text;

  void operator()(const Heading& h) {
    text += std::string(static_cast<size_t>(h.level), '#') + " " + escape_markdown(h.text);
  }
  void operator()(const Paragraph& p) { text += markdown_of(p.text); }
  void operator()(const List& list) {
    for (size_t i = 0; i < list.items.size(); ++i) text += (i > 0 ? "\n- " : "- ") + markdown_of(list.items[i]);
  }
  void operator()(const CodeBlock& block) { text += "```sh\n" + block.text + "\n```"; }
  void operator()(const PageTable& table) {
    if (table.folded) text += "<details><summary>" + escape_markdown(table.label) + "</summary>\n\n";
    const bool untitled = table.titles.empty();  // of name and value; Markdown needs a line of titles
    const size_t columns = untitled ? 2 : table.titles.size();
    line([&](size_t c) { return untitled ? "" : escape_markdown(table.titles[c]); }, columns);
    text += "\n|";
    for (size_t c = 0; c < columns; ++c) text += c < table.right.size() && table.right[c] ? "--:|" : "---|";
    for (const TableRow& row : table.rows) {
      text += "\n";
      line([&](size_t c) { return markdown_of(row.cells[c], true); }, row.cells.size());
    }
    if (table.folded) text += "\n\n</details>";
  }
  void operator()(const Pictures& pictures) {
    for (const Picture& picture : pictures.all) {
      if (&picture != &pictures.all.front()) text += "\n\n";
      const std::string path = picture.svg.lexically_proximate(folder).generic_string();
      text += "![" + escape_markdown(picture.title) + "](" + path + ")\n\n**" + escape_markdown(picture.title) +
              ".** " + escape_markdown(picture.caption) + "\n\n";
      if (!picture.numbers.rows.empty()) (*this)(picture.numbers);
    }
  }

  template <class Cell> void line(const Cell& cell, size_t count) {
    text += "|";
    for (size_t c = 0; c < count; ++c) text += " " + cell(c) + " |";
  }
};

}  // namespace

std::string to_markdown(const Document& document, const std::filesystem::path& folder) {
  MarkdownWriter writer{folder, "# " + escape_markdown(document.title) + "\n\n" + escape_markdown(document.kicker)};
  for (const Block& block : document.blocks) {
    writer.text += "\n\n";
    std::visit(writer, block);
  }
  return writer.text + "\n\n---\n\n" + escape_markdown(document.footer) + "\n";
}

}  // namespace ringbench
