#include "harness/table.h"

#include <algorithm>
#include <ostream>

#include "harness/words.h"

namespace ringbench {
namespace {

// What all cells of a column hold, empty ones aside; nullptr where they differ.
const std::string* common_cell(const Table& table, size_t column) {
  static const std::string none;
  const std::string* common = &none;
  for (const auto& row : table.rows) {
    if (row[column].empty() || row[column] == *common) continue;
    if (!common->empty()) return nullptr;
    common = &row[column];
  }
  return common;
}

// As wide as it looks: bytes of UTF-8 that go on with a character do not count.
size_t width(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

}  // namespace

std::string Table::take_constant_columns() {
  std::vector<std::string> constant;
  std::vector<size_t> kept;
  for (size_t c = 0; c < columns.size(); ++c) {
    const std::string* common = common_cell(*this, c);
    if (common != nullptr && common->empty()) continue;
    if (columns[c].always || common == nullptr)
      kept.push_back(c);
    else
      constant.push_back((columns[c].needs_no_name ? "" : columns[c].title + " ") + *common);
  }
  const auto keep = [&kept](auto& cells) {
    for (size_t i = 0; i < kept.size(); ++i)
      if (kept[i] != i) cells[i] = std::move(cells[kept[i]]);
    cells.resize(kept.size());
  };
  for (auto& row : rows) keep(row);
  keep(columns);
  return join(constant, ", ");
}

void write_text(std::ostream& out, const Table& table, const std::function<std::string(size_t row)>& mark) {
  std::vector<size_t> widths;
  for (size_t c = 0; c < table.columns.size(); ++c) {
    widths.push_back(width(table.columns[c].title));
    for (const auto& row : table.rows) widths[c] = std::max(widths[c], width(row[c]));
  }
  const auto line = [&](const std::string& codes, const auto& cell) {
    std::string text;
    for (size_t c = 0; c < widths.size(); ++c) {
      const std::string& word = cell(c);
      const std::string space(widths[c] - width(word), ' ');
      text += (c > 0 ? "  " : "") + (table.columns[c].right ? space + word : word + space);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    out << (codes.empty() ? text : "\x1b[" + codes + "m" + text + "\x1b[0m") << "\n";
  };
  line(mark ? "1" : "", [&](size_t c) -> const std::string& { return table.columns[c].title; });
  for (size_t r = 0; r < table.rows.size(); ++r)
    line(mark ? mark(r) : "", [&](size_t c) -> const std::string& { return table.rows[r][c]; });
}

std::string markdown_text(const std::string& text) {
  std::string escaped;
  for (const char c : text) escaped += c == '|' ? "\\|" : c == '\n' ? " " : std::string(1, c);
  return escaped;
}

void write_markdown(std::ostream& out, const Table& table) {
  out << "|";
  for (const TableColumn& column : table.columns) out << " " << markdown_text(column.title) << " |";
  out << "\n|";
  for (const TableColumn& column : table.columns) out << (column.right ? "--:|" : "---|");
  out << "\n";
  for (const auto& row : table.rows) {
    out << "|";
    for (const std::string& cell : row) out << " " << markdown_text(cell) << " |";
    out << "\n";
  }
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string cell = "\"";
  for (const char c : text) cell += c == '"' ? "\"\"" : std::string(1, c);
  return cell + "\"";
}

void write_csv(std::ostream& out, const Table& table) {
  const auto line = [&out](const auto& cells, const auto& text) {
    const char* before = "";
    for (const auto& cell : cells) out << before << csv_cell(text(cell)), before = ",";
    out << "\n";
  };
  line(table.columns, [](const TableColumn& column) { return column.title; });
  for (const auto& row : table.rows) line(row, [](const std::string& cell) { return cell; });
}

}  // namespace ringbench
