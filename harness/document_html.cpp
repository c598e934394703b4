// document_html.cpp: to_html of document.h. The style sheet first: a serif page with ruled tables, light or dark as
// the reader's system is, from a phone's width up.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

#include "evals/text.h"
#include "harness/document.h"
#include "harness/failure.h"

namespace ringbench {
namespace {

constexpr std::string_view style = R"css(
:root {
  color-scheme: light dark;
  --page: #fdfdfb; --panel: #f5f4f0; --ink: #1d1d1b; --soft: #5c5b56; --rule: #d8d6cf; --strong-rule: #1d1d1b;
  --link: #1a4f8b; --good: #1f6b3a; --bad: #a3241b; --doubt: #855200; --mark: #fff3c4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #161719; --panel: #1f2124; --ink: #e5e3dd; --soft: #a5a39b; --rule: #3a3c40; --strong-rule: #b9b7b0;
    --link: #8db8ec; --good: #7cc796; --bad: #f0938a; --doubt: #e0b264; --mark: #453c1c;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 1.0625rem/1.55 Charter, "Bitstream Charter", "Source Serif 4", Cambria, Georgia, serif;
}
main, footer { max-width: 76rem; margin: 0 auto; padding: 0 2rem; }
main { padding-top: 3rem; }
footer { padding-top: 1rem; padding-bottom: 3rem; color: var(--soft); font-size: .875rem; }
h1, h2, h3, h4 { line-height: 1.25; text-wrap: balance; }
h1 { font-size: 2rem; font-weight: 600; margin: 0 0 1.25rem; }
h2 { font-size: 1.375rem; font-weight: 600; margin: 3rem 0 .75rem; padding-top: .75rem;
     border-top: 1px solid var(--rule); }
h3 { font-size: 1.0625rem; font-weight: 600; margin: 2rem 0 .5rem; }
h4 { font-size: 1rem; font-weight: 600; font-style: italic; margin: 1.25rem 0 .5rem; }
p, ul { max-width: 46rem; margin: .75rem 0; }
ul { padding-left: 1.25rem; }
li { margin: .25rem 0; }
a { color: var(--link); text-underline-offset: .15em; text-decoration-thickness: 1px; }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
:target { background: var(--mark); scroll-margin-top: 2rem; }
.kicker, nav, table, figcaption, summary, .badge, .small {
  font-family: "Helvetica Neue", Arial, "Liberation Sans", "Noto Sans", sans-serif;
}
.kicker { color: var(--soft); font-size: .8125rem; letter-spacing: .04em; margin: 0 0 .5rem; }
.small { font-size: .875rem; color: var(--soft); }
.muted { color: var(--soft); }
nav { font-size: .875rem; margin: 1.5rem 0 0; }
nav ul { list-style: none; padding: 0; margin: 0; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; max-width: none; }
nav li { margin: 0; }
code, pre { font-family: "DejaVu Sans Mono", Menlo, Consolas, "Liberation Mono", monospace; font-size: .8125rem; }
td code, pre { user-select: all; -webkit-user-select: all; }
pre { background: var(--panel); border: 1px solid var(--rule); padding: .75rem 1rem; margin: .75rem 0;
      overflow-x: auto; line-height: 1.5; white-space: pre-wrap; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: .75rem 0 1.25rem; }
table { border-collapse: collapse; font-size: .8125rem; line-height: 1.4; font-variant-numeric: tabular-nums lining-nums;
        border-top: 2px solid var(--strong-rule); border-bottom: 2px solid var(--strong-rule); }
th, td { padding: .3rem .8rem; text-align: left; vertical-align: baseline; white-space: nowrap; }
th:first-child, td:first-child { padding-left: .25rem; }
th:last-child, td:last-child { padding-right: .25rem; }
thead th { font-weight: 600; border-bottom: 1px solid var(--strong-rule); vertical-align: bottom; }
tbody th { font-weight: 400; color: var(--soft); }
tbody tr + tr > * { border-top: 1px solid var(--rule); }
tbody tr:hover { background: var(--panel); }
tbody tr:target { background: var(--mark); }
.right { text-align: right; }
tr.failed { color: var(--bad); }
table.prose { width: 100%; }
table.prose td { white-space: normal; vertical-align: top; }
table.prose td, table.prose th { padding-top: .5rem; padding-bottom: .5rem; }
table.prose td:first-child { white-space: nowrap; }
.badge { display: inline-block; padding: .05rem .45rem; font-size: .6875rem; font-weight: 600; letter-spacing: .03em;
         border: 1.5px solid currentColor; border-radius: 2px; white-space: nowrap; }
.good { color: var(--good); }
.bad { color: var(--bad); border-width: 2px; }
.doubt { color: var(--doubt); border-style: double; border-width: 3px; }
.trend { color: var(--ink); border-style: dashed; }
.none { color: var(--soft); border-style: dotted; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 2rem;
           align-items: start; margin: 1.25rem 0; }
figure { margin: 0; min-width: 0; max-width: 48rem; }
figure svg { display: block; width: 100%; height: auto; background: #fff; border: 1px solid var(--rule); }
@media (prefers-color-scheme: dark) {  /* Hues stay, light and dark change places; the border too. */
  figure svg { filter: invert(.92) hue-rotate(180deg) brightness(1.35); border-color: #e3e3e3; }
}
figcaption { font-size: .875rem; color: var(--soft); margin-top: .5rem; max-width: 46rem; }
figcaption b { color: var(--ink); }
details { margin: .5rem 0 1rem; }
summary { cursor: pointer; font-size: .875rem; color: var(--link); padding: .25rem 0; }
.skip { position: absolute; left: -100rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--page); padding: .5rem; }
@media (max-width: 40rem) {
  main, footer { padding-left: 1rem; padding-right: 1rem; }
  main { padding-top: 1.5rem; }
  h1 { font-size: 1.5rem; }
  h2 { margin-top: 2.25rem; }
  body { font-size: 1rem; }
  .scroll { margin-right: -1rem; padding-right: 1rem; }
  th, td { padding-left: .5rem; padding-right: .5rem; }
  table.prose, table.prose tbody, table.prose tr, table.prose td { display: block; }
  table.prose thead { position: absolute; left: -100rem; }
  table.prose tr { padding: .75rem 0; }
  table.prose tr + tr { border-top: 1px solid var(--rule); }
  table.prose tr > td, table.prose tr > td:first-child { border: 0; padding: .15rem 0; text-align: left;
                                                         white-space: normal; overflow-wrap: anywhere; }
  table.prose td[data-title]::before { content: attr(data-title) ": "; color: var(--soft); }
  table.prose td:empty { display: none; }
}
@media print {
  figure svg { filter: none; border-color: #bbb; }
  :root { color-scheme: light; --page: #fff; --panel: #fff; --ink: #000; --soft: #444; --rule: #bbb; --strong-rule: #000;
          --link: #000; --good: #1f6b3a; --bad: #a3241b; --doubt: #855200; --mark: #fff; }
  body { font-size: 10pt; }
  main, footer { max-width: none; padding: 0; }
  nav, .skip { display: none; }
  a { text-decoration: none; }
  h2, h3, h4, thead { break-after: avoid; }
  tr, figure, pre { break-inside: avoid; }
  .scroll { overflow: visible; }
  table { font-size: 7.5pt; }
  th, td { padding: .1rem .35rem; white-space: normal; }
  td code { overflow-wrap: anywhere; }
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
)css";

// For text and for attributes in double quotes. Control characters are no part of HTML.
std::string escape_html(std::string_view text) {
  std::string html;
  for (const char c : text) {
    switch (c) {
      case '&': html += "&amp;"; break;
      case '<': html += "&lt;"; break;
      case '>': html += "&gt;"; break;
      case '"': html += "&quot;"; break;
      case '\'': html += "&#39;"; break;
      default: html += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? ' ' : c;
    }
  }
  return html;
}

std::string html_of(const Span& span) {
  const std::string text = escape_html(span.text);
  switch (span.kind) {
    case Span::Kind::plain: return text;
    case Span::Kind::strong: return "<b>" + text + "</b>";
    case Span::Kind::muted: return "<span class=\"muted\">" + text + "</span>";
    case Span::Kind::code: return "<code>" + text + "</code>";
    case Span::Kind::link: return "<a href=\"" + escape_html(span.detail) + "\">" + text + "</a>";
    case Span::Kind::badge: return "<span class=\"badge " + escape_html(span.detail) + "\">" + text + "</span>";
    case Span::Kind::line_break: return "<br>";
  }
  return text;
}

std::string html_of(const Text& text) {
  std::string html;
  for (const Span& span : text.spans) html += html_of(span);
  return html;
}

// Roles are said where the phone's style takes away what browsers would tell of a table.
class TableWriter {
 public:
  explicit TableWriter(const PageTable& table) : table_(table) {}

  std::string html() const {
    const std::string label = escape_html(table_.label);
    std::string html = table_.folded ? "<details><summary>" + label + "</summary>\n" : "";
    html += table_.prose
                ? "<table class=\"prose\" role=\"table\" aria-label=\"" + label + "\">\n"
                : "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"" + label + "\"><table>\n";
    html += head() + "<tbody" + role("rowgroup") + ">\n";
    for (const TableRow& row : table_.rows) html += html_of_row(row);
    html += table_.prose ? "</tbody></table>\n" : "</tbody></table></div>\n";
    return html + (table_.folded ? "</details>\n" : "");
  }

 private:
  std::string head() const {
    if (table_.titles.empty()) return "";
    std::string html = "<thead" + role("rowgroup") + "><tr" + role("row") + ">";
    for (size_t c = 0; c < table_.titles.size(); ++c)
      html += "<th scope=\"col\"" + role("columnheader") + right(c) + ">" + escape_html(table_.titles[c]) + "</th>";
    return html + "</tr></thead>\n";
  }
  std::string role(const char* name) const { return table_.prose ? " role=\"" + std::string(name) + "\"" : ""; }
  std::string right(size_t c) const { return c < table_.right.size() && table_.right[c] ? " class=\"right\"" : ""; }

  std::string html_of_row(const TableRow& row) const {
    std::string html = "<tr" + role("row");
    if (!row.id.empty()) html += " id=\"" + escape_html(row.id) + "\"";
    if (row.failed) html += " class=\"failed\"";
    html += ">";
    for (size_t c = 0; c < row.cells.size(); ++c) {
      const bool name = table_.titles.empty() && c == 0;
      html += (name ? "<th scope=\"row\"" : "<td" + role("cell")) + right(c);
      if (table_.prose && c > 0 && c < table_.titles.size())
        html += " data-title=\"" + escape_html(table_.titles[c]) + "\"";
      html += ">" + ringbench::html_of(row.cells[c]) + (name ? "</th>" : "</td>");
    }
    return html + "</tr>\n";
  }

  const PageTable& table_;
};

std::string read_picture(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in.is_open() || text.find("<svg") == std::string::npos)
    throw Failure(ExitCode::environment, "report: '" + path.string() + "' cannot be read as an SVG picture.");
  return text;
}

// Links to the sections.
std::string contents(const Document& document) {
  std::string items;
  for (const Block& block : document.blocks)
    if (const Heading* heading = std::get_if<Heading>(&block); heading != nullptr && heading->level == 2)
      items += "<li><a href=\"#" + escape_html(heading->id) + "\">" + escape_html(heading->text) + "</a></li>\n";
  return items.empty() ? "" : "<nav aria-label=\"Contents\"><ul>\n" + items + "</ul></nav>\n";
}

// Writes blocks one after the other; a section begins with each heading of level 2, the list of them before the first.
struct HtmlWriter {
  std::string contents, html;
  bool in_section = false;

  void operator()(const Heading& heading) {
    const std::string tag = "h" + std::to_string(heading.level), id = escape_html(heading.id);
    if (heading.level == 2) {
      end_section();
      html += std::exchange(contents, "") + "<section" + (id.empty() ? "" : " aria-labelledby=\"" + id + "\"") + ">\n";
      in_section = true;
    }
    html += "<" + tag + (id.empty() ? "" : " id=\"" + id + "\"") + ">" + escape_html(heading.text) + "</" + tag + ">\n";
  }
  void operator()(const Paragraph& p) {
    html += (p.small ? "<p class=\"small\">" : "<p>") + html_of(p.text) + "</p>\n";
  }
  void operator()(const List& list) {
    html += "<ul>\n";
    for (const Text& item : list.items) html += "<li>" + html_of(item) + "</li>\n";
    html += "</ul>\n";
  }
  void operator()(const CodeBlock& block) { html += "<pre><code>" + escape_html(block.text) + "</code></pre>\n"; }
  void operator()(const PageTable& table) { html += TableWriter(table).html(); }
  void operator()(const Pictures& pictures) {
    html += "<div class=\"figures\">\n";
    for (const Picture& picture : pictures.all)
      html += "<figure id=\"" + escape_html(picture.id) + "\">\n" +
              inline_svg(read_picture(picture.svg), picture.id + "-", picture.title) + "\n<figcaption><b>" +
              escape_html(picture.title) + ".</b> " + escape_html(picture.caption) + "</figcaption>\n" +
              (picture.numbers.rows.empty() ? "" : TableWriter(picture.numbers).html()) + "</figure>\n";
    html += "</div>\n";
  }

  void end_section() {
    if (in_section) html += "</section>\n";
    in_section = false;
  }
};

// Takes ` name="value"` out of a start tag; returns the value.
std::string take_attribute(std::string& tag, const std::string& name) {
  for (const char quote : {'"', '\''}) {
    const std::string begin = " " + name + "=" + quote;
    const size_t at = tag.find(begin);
    if (at == std::string::npos) continue;
    const size_t end = tag.find(quote, at + begin.size());
    if (end == std::string::npos) continue;
    std::string value = tag.substr(at + begin.size(), end - at - begin.size());
    tag.erase(at, end + 1 - at);
    return value;
  }
  return "";
}

}  // namespace

std::string inline_svg(std::string svg, const std::string& prefix, const std::string& title) {
  svg.erase(0, svg.find("<svg"));  // the XML declaration and the document type
  const size_t last = svg.rfind("</svg>");
  if (last != std::string::npos) svg.erase(last + 6);
  for (const std::string quote : {"\"", "'"}) {
    for (const std::string attribute : {" id=", "\nid=", "\tid="})
      replace_all(svg, attribute + quote, " id=" + quote + escape_html(prefix));
    replace_all(svg, "href=" + quote + "#", "href=" + quote + "#" + escape_html(prefix));
  }
  replace_all(svg, "url(#", "url(#" + escape_html(prefix));
  const std::string tooltip = "<title>Gnuplot</title>";  // over all of the picture
  if (const size_t at = svg.find(tooltip); at != std::string::npos) svg.erase(at, tooltip.size());
  const size_t end = std::min(svg.find('>'), svg.size());
  std::string tag = svg.substr(0, end);
  std::replace(tag.begin(), tag.end(), '\n', ' ');
  const std::string width = take_attribute(tag, "width"), height = take_attribute(tag, "height");
  for (const char* name : {"xmlns", "xmlns:xlink"}) take_attribute(tag, name);  // HTML knows them
  if (tag.find("viewBox") == std::string::npos) tag += " viewBox=\"0 0 " + width + " " + height + "\"";
  tag += " role=\"img\" aria-label=\"" + escape_html(title) + "\"";
  return tag + svg.substr(end);
}

std::string to_html(const Document& document) {
  HtmlWriter body{contents(document), ""};
  for (const Block& block : document.blocks) std::visit(body, block);
  body.end_section();
  // The policy is the promise: a browser that honours it loads nothing and runs no script, whatever the records hold.
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
         "<meta name=\"color-scheme\" content=\"light dark\">\n<title>" +
         escape_html(document.title) + " (" + escape_html(document.kicker) + ")</title>\n<style>" + std::string(style) +
         "</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">Skip to the content</a>\n<main id=\"main\">\n"
         "<header>\n<p class=\"kicker\">" +
         escape_html(document.kicker) + "</p>\n<h1>" + escape_html(document.title) + "</h1>\n</header>\n" + body.html +
         "</main>\n<footer>" + escape_html(document.footer) + "</footer>\n</body>\n</html>\n";
}

}  // namespace ringbench
