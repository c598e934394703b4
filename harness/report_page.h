// report_page.h: what the sections of a report share: its rows, numbered and linked, the comparisons between them, and
// the document they are written into. Only report*.cpp include this.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "harness/report.h"
#include "harness/speedup.h"

namespace ringbench {

// A row that has a softmax twin, and how many times faster it is where both have a number.
struct TwinComparison {
  const Result* row;
  const Result* twin;
  Maybe<Ratio> bare;  // without its interval
  Ratio ratio() const { return speed_up(*row, *twin); }
};

struct ReportPage {
  explicit ReportPage(const ReportInput& input);

  const ReportInput& in;
  Document out;
  Strings phases;                                      // that occur: prefill, decode, e2e, others
  std::map<std::string, std::vector<size_t>> rows_of;  // phase -> indices of rows
  std::vector<TwinComparison> comparisons;

  static constexpr size_t rows_shown = 2000;  // of one table: more than anyone reads, and the page still scrolls

  // --- Writing ---
  void section(const std::string& title, const std::string& id) { out.blocks.push_back(Heading{2, title, id}); }
  void heading(const std::string& title) { out.blocks.push_back(Heading{3, title, ""}); }
  void say(Text text) { out.blocks.push_back(Paragraph{std::move(text)}); }
  void aside(Text text) { out.blocks.push_back(Paragraph{std::move(text), true}); }
  void add(Block block) { out.blocks.push_back(std::move(block)); }
  void say_cut(size_t shown, size_t all);  // under a table that holds `shown` of `all` rows; nothing if all of them

  // --- Rows ---
  size_t index_of(const Result& row) const { return static_cast<size_t>(&row - in.rows.data()); }
  Text row_link(size_t row) const;                   // "12", counted from 1; a link where that row is on the page
  Text point_links(const Strings& point_ids) const;  // "3, 17"; ids that are in no run as they are
  const ReportRun& run_of(size_t row) const;
  // Different values of a text field, in the order in which they first appear.
  template <class Get> Strings distinct(const Get& get) const {
    Strings values;
    std::set<std::string> seen;
    for (const Result& row : in.rows)
      if (std::string value = get(row); !value.empty() && seen.insert(value).second) values.push_back(value);
    return values;
  }
  Strings models() const {
    return distinct([](const Result& r) { return r.model; });
  }

 private:
  void compare();

  std::set<size_t> shown_;                               // rows that are on the page
  std::map<std::string, std::vector<size_t>> by_point_;  // point id -> rows
};

// --- Words ---
std::string count_text(size_t count, const std::string& thing);  // "1 row", "2 000 rows"
std::string listed(const Strings& words);                        // "a, b and c"
std::string length_text(const Result& row);                      // "384k"; of e2e "1 + 32k"
std::string row_title(const Result& row);                        // "prefill 3:1 384k bs 4"
std::string phase_name(const std::string& phase);

// --- Sections: report_findings.cpp ---
void write_summary(ReportPage& page);
void write_speed_ups(ReportPage& page);
void write_figures(ReportPage& page);
void write_claims(ReportPage& page);
// --- Sections: report_records.cpp ---
void write_rows(ReportPage& page);
void write_predictions(ReportPage& page);
void write_hazards(ReportPage& page);
void write_failures(ReportPage& page);
void write_environment(ReportPage& page);
void write_repetition(ReportPage& page);
void write_certificates(ReportPage& page);

}  // namespace ringbench
