// report.cpp: make_report of report.h, and what its sections share (report_page.h). Nothing is judged here: verdicts
// are from claims.h, ratios from speedup.h, tables from result.h.
#include "harness/report.h"

#include <algorithm>
#include <span>

#include "harness/environment.h"
#include "harness/report_page.h"
#include "harness/words.h"

namespace ringbench {

// --- Words ---

std::string count_text(size_t count, const std::string& thing) {
  return grouped(static_cast<int64_t>(count)) + " " + thing + (count == 1 ? "" : "s");
}

std::string listed(const Strings& words) {
  if (words.size() < 2) return join(words, "");
  return join(Strings(words.begin(), words.end() - 1), ", ") + " and " + words.back();
}

std::string length_text(const Result& row) {
  const std::string ctx = row.ctx_label.empty() ? std::to_string(row.ctx) : row.ctx_label;
  return row.phase == "e2e" ? ctx + " + " + token_label(row.gen) : ctx;
}

std::string row_title(const Result& row) {
  return row.phase + " " + row.hybrid + " " + length_text(row) +
         (row.batch > 1 ? " bs " + std::to_string(row.batch) : "");
}

std::string phase_name(const std::string& phase) {
  if (phase == "prefill") return "Prefill: time to first token";
  if (phase == "decode") return "Decode: time per output token";
  if (phase == "e2e") return "Prompt and generation together";
  return phase.empty() ? "Other rows" : phase;
}

// --- The page ---

ReportPage::ReportPage(const ReportInput& input) : in(input) {
  for (size_t i = 0; i < in.rows.size(); ++i) {
    rows_of[in.rows[i].phase].push_back(i);
    by_point_[in.rows[i].point_id].push_back(i);
  }
  phases = {"prefill", "decode", "e2e"};
  for (const auto& [phase, rows] : rows_of) {
    if (std::find(phases.begin(), phases.end(), phase) == phases.end()) phases.push_back(phase);
    shown_.insert(rows.begin(), rows.begin() + static_cast<long>(std::min(rows.size(), rows_shown)));
  }
  std::erase_if(phases, [&](const std::string& phase) { return !rows_of.contains(phase); });
  compare();
}

// Twins are looked for within a run first: another run was at another time.
void ReportPage::compare() {
  const Twins of_all(in.rows);
  size_t begin = 0;
  for (const ReportRun& run : in.runs) {
    const std::span<const Result> rows = std::span(in.rows).subspan(begin, run.rows);
    begin += run.rows;
    const Twins of_run(rows);
    for (const Result& row : rows) {
      const Result* twin = of_run.softmax_of(row);
      if (twin == nullptr || !twin->value) twin = of_all.softmax_of(row);
      if (twin == nullptr) continue;
      TwinComparison& comparison = comparisons.emplace_back(TwinComparison{&row, twin, {}});
      if (row.value && twin->value) comparison.bare = bare_speed_up(row, *twin);
    }
  }
}

void ReportPage::say_cut(size_t shown, size_t all) {
  if (shown >= all) return;
  aside(
      Text("The first " + grouped(static_cast<int64_t>(shown)) + " of " + count_text(all, "row") + "; all of them: ") +
      code("ringbench runs export --to csv " + (in.runs.empty() ? "RUN" : in.runs.front().info.id)));
}

Text ReportPage::row_link(size_t row) const {
  const std::string number = std::to_string(row + 1);
  return shown_.contains(row) ? link(number, "#row-" + number) : Text(number);
}

Text ReportPage::point_links(const Strings& point_ids) const {
  Text text;
  for (const std::string& id : point_ids) {
    const auto found = by_point_.find(id);
    if (found == by_point_.end())
      text += (text.spans.empty() ? Text() : Text(", ")) + code(id);
    else
      for (const size_t row : found->second) text += (text.spans.empty() ? Text() : Text(", ")) + row_link(row);
  }
  return text;
}

const ReportRun& ReportPage::run_of(size_t row) const {
  size_t end = 0;
  for (const ReportRun& run : in.runs)
    if (row < (end += run.rows)) return run;
  return in.runs.back();
}

namespace {

std::string title_of(const ReportPage& page) {
  const Strings models = page.models(), devices = page.distinct([](const Result&r) { return r.device; });
  if (models.empty()) return "No records";
  std::string title = models.size() <= 3 ? listed(models) : count_text(models.size(), "model");
  if (!devices.empty())
    title += " on " + (devices.size() == 1 ? devices.front() : count_text(devices.size(), "device"));
  return title;
}

// Of the records, not of the day on which the page is made.
std::string dates_of(const ReportInput& input) {
  std::set<std::string> days;
  for (const Result& row : input.rows)
    if (row.date.size() >= 10) days.insert(row.date.substr(0, 10));
  if (days.empty())
    for (const ReportRun& run : input.runs)
      if (run.info.started.size() >= 10) days.insert(run.info.started.substr(0, 10));
  if (days.empty()) return "undated";
  return days.size() == 1 ? *days.begin() : *days.begin() + " to " + *days.rbegin();
}

}  // namespace

Document make_report(const ReportInput& input) {
  ReportPage page(input);
  page.out.kicker = "ringbench report, " + dates_of(input);
  page.out.title = title_of(page);
  write_summary(page);
  write_speed_ups(page);
  write_figures(page);
  write_claims(page);
  write_rows(page);
  write_predictions(page);
  write_hazards(page);
  write_failures(page);
  write_environment(page);
  write_repetition(page);
  write_certificates(page);
  const Environment program = capture_environment();
  page.out.footer = "Written by ringbench " + program.version + " (" + program.commit + ") from " +
                    count_text(input.rows.size(), "record") +
                    " of schema ringbench.point/1. Times are medians; the intervals hold the median with at least 95 % "
                    "confidence. 1k tokens = 1024, 1 GiB = 2^30 bytes.";
  return std::move(page.out);
}

}  // namespace ringbench
