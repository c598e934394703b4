// csv.h: comma-separated values as RFC 4180 has them: questions, numbers from elsewhere, a figure's data.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace ringbench {

// The message names source and line.
struct CsvError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct CsvRow {
  int64_t line = 0;  // where it begins, from 1
  std::vector<std::string> cells;
};
// Quoted cells may hold commas, quotes (doubled) and line breaks; empty lines are left out, and so is the mark of UTF-8
// that spreadsheets write. Throws CsvError.
std::vector<CsvRow> parse_csv(std::string_view text, const std::string& source);

}  // namespace ringbench
