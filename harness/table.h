// table.h: rows of words in columns, as plain text or as Markdown. Not which columns there are, nor how a number is
// written.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

namespace ringbench {

struct TableColumn {
  std::string title;
  bool right = false;          // aligned to the right
  bool always = true;          // stands in the table even if all rows agree; else what they agree on goes to the header
  bool needs_no_name = false;  // there: "f32", not "dtype f32"
};

struct Table {
  std::vector<TableColumn> columns;
  std::vector<std::vector<std::string>> rows;  // [row][column]; an empty cell: does not apply

  // Takes out columns whose cells are all empty, and those of the second kind whose other cells are the same; says
  // what these hold: "ring-nano-linear, f32, seed 0".
  std::string take_constant_columns();
};

// `mark`: escape codes that a row is coloured with, such as "31"; title and rows stay plain without it.
void write_text(std::ostream& out, const Table& table, const std::function<std::string(size_t row)>& mark = {});
void write_markdown(std::ostream& out, const Table& table);
std::string markdown_text(const std::string& text);  // '|' escaped, no line breaks

// RFC 4180: in quotes where it must be.
std::string csv_cell(const std::string& text);
void write_csv(std::ostream& out, const Table& table);

}  // namespace ringbench
