// report_records.cpp: the sections of a report that show the records themselves: every row, how far the cost model was
// off, flags, failures, environment, commands, certificates.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "harness/progress.h"
#include "harness/report_page.h"
#include "harness/words.h"

namespace ringbench {
namespace {

using Json = nlohmann::ordered_json;

std::string times_text(double ratio) {
  char text[32];
  std::snprintf(text, sizeof text, ratio < 100 ? "%.2fx" : "%.0fx", ratio);
  return text;
}

std::string run_label(const ReportPage& page, const ReportRun& run) {
  return std::to_string(&run - page.in.runs.data() + 1);
}

// --- Rows ---

void write_phase(ReportPage& page, const std::string& phase) {
  const std::vector<size_t>& rows = page.rows_of[phase];
  const size_t shown = std::min(rows.size(), ReportPage::rows_shown);
  const bool several_runs = page.in.runs.size() > 1;
  std::vector<Result> some;
  for (size_t i = 0; i < shown; ++i) some.push_back(page.in.rows[rows[i]]);
  const bool predicted = std::any_of(some.begin(), some.end(), [](auto& r) { return r.measured_over_predicted; });
  Table layout = lay_out(some);
  const std::string in_common = layout.take_constant_columns();

  PageTable table;
  table.label = phase_name(phase);
  const auto column = [&](const std::string& title, bool right) {
    table.titles.push_back(title), table.right.push_back(right);
  };
  column("row", true);
  if (several_runs) column("run", true);
  const auto said_above = [&](size_t c) { return layout.columns[c].title == "phase"; };
  for (size_t c = 0; c < layout.columns.size(); ++c)
    if (!said_above(c)) column(layout.columns[c].title, layout.columns[c].right);
  if (predicted) column("of predicted", true);
  for (size_t i = 0; i < shown; ++i) {
    TableRow& row = table.rows.emplace_back();
    row.id = "row-" + std::to_string(rows[i] + 1);
    row.failed = !some[i].value;
    row.cells.push_back(std::to_string(rows[i] + 1));
    if (several_runs) row.cells.push_back(run_label(page, page.run_of(rows[i])));
    for (size_t c = 0; c < layout.columns.size(); ++c)
      if (!said_above(c)) row.cells.push_back(layout.rows[i][c]);
    if (predicted)
      row.cells.push_back(some[i].measured_over_predicted ? times_text(*some[i].measured_over_predicted) : "");
  }
  page.heading(phase_name(phase));
  if (!in_common.empty()) page.aside(in_common);
  page.add(std::move(table));
  page.say_cut(shown, rows.size());
}

// --- Failures ---

std::string advice(const Result& row) {
  const std::string error = row.error.value_or("");
  if (row.status == "oom" || row.status == "oom_predicted")
    return "A smaller --ctx, --batch or --layers, or a smaller type. --estimate groups estimates a model that does not "
           "fit from shallower ones.";
  if (row.status == "timeout") return "A longer --time-budget, or --estimate always.";
  if (row.status == "skipped") return "Run it: its command is below.";
  if (error.starts_with("E-ESTIMATE")) return "--estimate never runs every token; another --chunk may fit better.";
  return "Its command, below, with --verbose.";
}

// --- Environment ---

std::string value_text(const std::string& key, const Json& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number_integer() && key.ends_with("bytes")) return bytes_text(value.get<int64_t>());
  if (value.is_number_float()) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", value.get<double>());
    return text;
  }
  if (!value.is_array()) return value.dump(-1, ' ', false, Json::error_handler_t::replace);
  Strings parts;
  for (const Json& part : value) parts.push_back(value_text(key, part));
  return join(parts, ", ");
}

// An object as lines of two columns; objects within it by the name of each of their members.
void add_lines(PageTable& table, const Json& object, const std::string& before) {
  for (const auto& [key, value] : object.items()) {
    std::string name = before + key;
    if (value.is_object()) {
      add_lines(table, value, key == "variables" ? "" : name + " ");
      continue;
    }
    if (before.empty() && key == std::string(key.size(), '_')) continue;
    const std::string text = value_text(key, value);
    if (text.empty()) continue;
    const bool variable = key.find_first_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ") != std::string::npos;  // OMP_NUM_THREADS
    if (!variable) std::replace(name.begin(), name.end(), '_', ' ');
    if (name.ends_with(" bytes")) name.erase(name.size() - 6);
    table.rows.push_back({{name, text}, ""});
  }
}

void write_run_environment(ReportPage& page, const ReportRun& run) {
  const RunInfo& info = run.info;
  page.heading((page.in.runs.size() > 1 ? "Run " + run_label(page, run) + ": " : "") + info.id);
  if (run.is_file) {
    page.say("Records from a file: what machine and settings they had is not known beyond their own fields.");
    return;
  }
  PageTable table;
  table.label = "Environment of " + info.id;
  const auto line = [&](const std::string& name, const std::string& text) {
    if (!text.empty()) table.rows.push_back({{name, text}, ""});
  };
  line("command", info.command);
  line("started", info.started);
  line("ended", info.ended.empty() ? "broken off" : info.ended);
  line("exit code", info.exit_code ? std::to_string(*info.exit_code) : "");
  Strings counts;
  for (const auto& [status, count] : info.counts) counts.push_back(std::to_string(count) + " " + status);
  line("points", join(counts, ", "));
  if (run.notes.replaced > 0) line("retried points", std::to_string(run.notes.replaced) + " (the last try is shown)");
  line("fields of a later version, ignored", join(run.notes.unknown_fields, ", "));
  if (const Json environment = Json::parse(info.environment_json, nullptr, false); environment.is_object())
    add_lines(table, environment, "");
  page.add(std::move(table));
}

// --- How to repeat ---

// As a shell takes it.
std::string shell_line(const Strings& argv) {
  Strings words;
  for (const std::string& argument : argv) {
    const bool plain = !argument.empty() && argument.find_first_not_of(
                                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV"
                                                "WXYZ0123456789_-+=:,./%@#") == std::string::npos;
    std::string word = plain ? argument : "'";
    if (!plain) {
      for (const char c : argument) word += c == '\'' ? "'\\''" : std::string(1, c);
      word += "'";
    }
    words.push_back(word);
  }
  return join(words, " ");
}

}  // namespace

void write_rows(ReportPage& page) {
  page.section("All rows", "rows");
  if (page.in.rows.empty()) page.say("None.");
  for (const std::string& phase : page.phases) write_phase(page, phase);
}

void write_predictions(ReportPage& page) {
  page.section("Measured over predicted", "predicted");
  std::vector<size_t> rows;
  for (size_t i = 0; i < page.in.rows.size(); ++i)
    if (const Maybe<double>& ratio = page.in.rows[i].measured_over_predicted; page.in.rows[i].value && ratio > 0.0)
      rows.push_back(i);
  if (rows.empty()) {
    page.say(Text("No row carries a predicted time: the device has no peaks. ") + code("ringbench doctor --calibrate") +
             " measures them.");
    return;
  }
  const auto ratio = [&](size_t i) { return *page.in.rows[i].measured_over_predicted; };
  const auto off = [&](size_t i) { return std::abs(std::log(ratio(i))); };
  std::stable_sort(rows.begin(), rows.end(), [&](size_t a, size_t b) { return ratio(a) < ratio(b); });
  const size_t all = rows.size();
  const std::string range = times_text(ratio(rows.front())) + " to " + times_text(ratio(rows.back())) + ", median " +
                            times_text(ratio(rows[all / 2]));
  std::stable_sort(rows.begin(), rows.end(), [&](size_t a, size_t b) { return off(a) > off(b); });
  rows.resize(std::min<size_t>(all, 10));
  page.say("Times over what the cost model predicts from the device's peaks, of " + count_text(all, "row") + ": " +
           range + ". " + (rows.size() < all ? "The " + std::to_string(rows.size()) + " furthest from 1x:" : ""));
  PageTable table;
  table.label = "Rows furthest from the prediction";
  table.titles = {"row", "measured", "predicted", "ratio", "bound by"};
  table.right = {false, true, true, true, false};
  for (const size_t i : rows) {
    const Result& r = page.in.rows[i];
    table.rows.push_back(
        {{page.row_link(i) + " " + row_title(r), time_text(r), r.predicted_s ? duration_text(*r.predicted_s) : "",
          times_text(ratio(i)), r.bound.value_or("")},
         ""});
  }
  page.add(std::move(table));
}

void write_hazards(ReportPage& page) {
  page.section("Flags and warnings", "flags");
  PageTable flags;
  flags.label = "Flags of rows";
  flags.titles = {"flag", "meaning", "rows"};
  flags.right = {false, false, true};
  for (const auto& [letter, meaning] : flag_meanings()) {
    const auto count = std::count_if(page.in.rows.begin(), page.in.rows.end(),
                                     [l = letter](auto& r) { return r.flags.find(l) != std::string::npos; });
    flags.rows.push_back({{std::string(1, letter), std::string(meaning), grouped(count)}, ""});
  }
  page.add(std::move(flags));

  std::map<std::string, std::pair<size_t, size_t>> warnings;  // text -> rows, the first of them
  for (size_t i = 0; i < page.in.rows.size(); ++i)
    for (const std::string& warning : page.in.rows[i].warnings)
      ++warnings.try_emplace(warning, 0, i).first->second.first;
  if (warnings.empty()) return;
  std::vector<Text> items;
  for (const auto& [warning, where] : warnings) {
    if (items.size() == ReportPage::rows_shown) break;
    items.push_back(warning + " (" + count_text(where.first, "row") + ", first " + page.row_link(where.second) + ")");
  }
  const size_t shown = items.size();
  page.add(List{std::move(items)});
  page.say_cut(shown, warnings.size());
}

void write_failures(ReportPage& page) {
  page.section("Failures", "failures");
  std::vector<size_t> rows;
  for (size_t i = 0; i < page.in.rows.size(); ++i)
    if (!page.in.rows[i].value) rows.push_back(i);
  if (rows.empty()) {
    page.say("None: every row has a number.");
    return;
  }
  PageTable table;
  table.label = "Rows without a number";
  table.titles = {"Status", "Row", "Error", "What to try"};
  table.prose = true;
  for (size_t i = 0; i < std::min(rows.size(), ReportPage::rows_shown); ++i) {
    const Result& r = page.in.rows[rows[i]];
    table.rows.push_back(
        {{badge(r.status, "bad"), page.row_link(rows[i]) + " " + row_title(r), r.error.value_or(""), advice(r)}, ""});
  }
  const size_t shown = table.rows.size();
  page.add(std::move(table));
  page.say_cut(shown, rows.size());
}

void write_environment(ReportPage& page) {
  page.section("Environment", "environment");
  for (const ReportRun& run : page.in.runs) write_run_environment(page, run);
  std::set<std::string> kernels, drivers;
  for (const Result& row : page.in.rows) {
    kernels.insert(row.kernels.begin(), row.kernels.end());
    if (row.driver) drivers.insert(*row.driver);
  }
  if (!drivers.empty()) page.say("Driver: " + listed({drivers.begin(), drivers.end()}) + ".");
  if (kernels.empty()) return;
  page.heading("Kernel variants that ran");
  std::vector<Text> items;
  for (const std::string& kernel : kernels) items.push_back(code(kernel));
  page.add(List{items});
}

void write_repetition(ReportPage& page) {
  page.section("How to repeat", "repeat");
  Strings ids;
  for (const ReportRun& run : page.in.runs) {
    ids.push_back(run.info.id);
    if (run.info.argv.empty()) continue;
    page.heading("All of " + run.info.id);
    page.add(CodeBlock{shell_line(run.info.argv)});
  }
  if (std::any_of(page.in.runs.begin(), page.in.runs.end(), [](const ReportRun& run) {
        return std::any_of(run.info.argv.begin(), run.info.argv.end(),
                           [](auto& word) { return word.find('#') != std::string::npos; });
      }))
    page.aside("Words such as name#1f2e3d4c stand for paths: the last part and a hash, since places are not recorded.");
  page.heading("This page");
  page.add(CodeBlock{"ringbench report --run " + join(ids, " --run ")});
  if (page.in.rows.empty()) return;

  page.heading("Each row");
  PageTable table;
  table.label = "A command for each row";
  table.prose = true;
  table.titles = {"row", "command"};
  for (size_t i = 0; i < std::min(page.in.rows.size(), ReportPage::rows_shown); ++i)
    table.rows.push_back({{page.row_link(i) + " " + row_title(page.in.rows[i]), code(page.in.rows[i].repro)},
                          "repeat-" + std::to_string(i + 1)});
  const size_t shown = table.rows.size();
  page.add(std::move(table));
  page.say_cut(shown, page.in.rows.size());
}

void write_certificates(ReportPage& page) {
  page.section("Parity certificates", "certificates");
  if (page.in.certificates.empty()) {
    page.say(Text("None beside these runs. ") + code("ringbench help parity") + " says what they are.");
    return;
  }
  std::map<std::string, size_t> uses;
  for (const Result& row : page.in.rows)
    if (row.parity_certificate) ++uses[*row.parity_certificate];
  PageTable table;
  table.label = "Parity certificates";
  table.titles = {"verdict", "certificate",     "model", "engine", "dtype",
                  "checks",  "worst of budget", "depth", "rows",   "first failure"};
  table.right = {false, false, false, false, false, true, true, true, true, false};
  for (const Certificate& c : page.in.certificates) {
    char worst[32];
    std::snprintf(worst, sizeof worst, "%.2f", c.worst);
    const auto failed = std::find_if(c.checks.begin(), c.checks.end(),
                                     [](const Check& check) { return check.status != CheckStatus::pass; });
    table.rows.push_back({{badge(c.verdict, c.verdict == "pass"   ? "good"
                                            : c.verdict == "fail" ? "bad"
                                                                  : "doubt"),
                           code(c.id.substr(0, 12)), c.model, c.engine, c.dtype, std::to_string(c.checks.size()), worst,
                           token_label(c.depth), grouped(static_cast<int64_t>(uses[c.id])),
                           failed == c.checks.end() ? "" : failed->name + ": " + failed->text},
                          ""});
  }
  page.add(std::move(table));
  page.aside("Worst of budget: the largest error found, over what rounding alone may cost; at most 1 passes.");
}

}  // namespace ringbench
