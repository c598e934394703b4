#include "evals/csv.h"

#include <algorithm>

namespace ringbench {

std::vector<CsvRow> parse_csv(std::string_view text, const std::string& source) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // the mark that spreadsheets write
  std::vector<CsvRow> rows;
  int64_t line = 1;
  for (size_t at = 0; at < text.size();) {
    CsvRow row = {line, {}};
    bool more = true;
    while (more) {
      std::string cell;
      if (at < text.size() && text[at] == '"') {
        for (++at;; ++at) {
          if (at >= text.size()) throw CsvError(source + ":" + std::to_string(row.line) + ": a quote is not closed.");
          line += text[at] == '\n';
          if (text[at] != '"') {
            cell += text[at];
          } else if (text.substr(at + 1).starts_with('"')) {
            cell += text[++at];
          } else {
            break;
          }
        }
        ++at;
        if (at < text.size() && text[at] != ',' && text[at] != '\n' && text[at] != '\r')
          throw CsvError(source + ":" + std::to_string(line) + ": text after a closing quote.");
      } else {
        const size_t end = std::min(text.find_first_of(",\r\n", at), text.size());
        cell = text.substr(at, end - at);
        at = end;
        if (cell.find('"') != std::string::npos)
          throw CsvError(source + ":" + std::to_string(line) + ": a quote within a cell: write \"\" in quotes.");
      }
      row.cells.push_back(std::move(cell));
      more = at < text.size() && text[at] == ',';
      at += more;
    }
    if (text.substr(at).starts_with('\r')) ++at;
    if (text.substr(at).starts_with('\n')) ++at, ++line;
    if (row.cells.size() > 1 || !row.cells[0].empty()) rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace ringbench
