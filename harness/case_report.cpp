// case_report.cpp: what was judged, as a table to read or to paste into a pull request, as CSV and as JSON. Speed is
// shown of what passed.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "harness/case_command.h"
#include "harness/device.h"
#include "harness/environment.h"
#include "harness/measure.h"
#include "harness/statistics.h"
#include "harness/table.h"
#include "harness/words.h"

namespace ringbench {
namespace {

using Json = nlohmann::ordered_json;

std::string formatted(double x, const char* form = "%.2g") {
  char text[32];
  std::snprintf(text, sizeof text, std::isfinite(x) ? form : "%.0f", x);
  return text;
}

bool passes(const std::optional<CaseVerdict>& verdict) { return verdict && verdict->status() == CheckStatus::pass; }

std::optional<double> median_ms(const JudgedCase& c, size_t candidate) {
  const std::vector<double>& times = c.records[candidate].times_ms;
  if (times.empty() || !passes(c.verdicts[candidate])) return std::nullopt;
  return median(times);
}

// "pass 0.42", "FAIL 3.1e+04": error over budget.
std::string error_cell(const std::optional<CaseVerdict>& verdict) {
  if (!verdict) return "not run";
  const std::string over = formatted(verdict->worst().over_budget);
  switch (verdict->status()) {
    case CheckStatus::pass: return "pass " + over;
    case CheckStatus::mistrusted: return "MISTRUSTED " + over;
    case CheckStatus::fail: break;
  }
  return "FAIL " + over;
}

std::string speed_up_cell(const JudgedCase& c) {
  if (c.records.size() != 2 || !median_ms(c, 0) || !median_ms(c, 1)) return "";
  const auto ratio = ratio_of_samples(c.records[1].times_ms, c.records[0].times_ms);
  if (!ratio) return formatted(*median_ms(c, 0) / *median_ms(c, 1), "~%.2fx");
  return formatted(ratio->value, "%.2fx") + " [" + formatted(ratio->low, "%.2f") + ", " +
         formatted(ratio->high, "%.2f") + "]";
}

// The time that the device's peaks would take, over the time that the last candidate took.
std::string roofline_cell(const JudgedCase& c, const std::string& results) {
  const size_t last = c.records.size() - 1;
  const std::optional<double> time = median_ms(c, last);
  if (!time) return "";
  const std::optional<DeviceModel> device = device_for("cuda", c.records[last].device, results);
  if (!device) return "";
  const DType dtype = c.dtype == "bf16" ? DType::bf16 : DType::f32;
  const double memory_s = c.bytes / (device->memory_gbps * 1e9);
  const double compute_s = c.flops / device->peak_flops(dtype).value_or(INFINITY);
  return formatted(100 * std::max(memory_s, compute_s) * 1e3 / *time, "%.1f %%");
}

Table table_of(const JudgeRequest& request, const std::vector<JudgedCase>& cases) {
  Table table;
  table.columns = {{"case"}, {"shape"}};
  for (const auto& [name, folder] : request.candidates) table.columns.push_back({name + " error/budget", true});
  for (const auto& [name, folder] : request.candidates) {
    table.columns.push_back({name + " rmse ratio", true});
    table.columns.push_back({name + " max abs", true});
  }
  for (const auto& [name, folder] : request.candidates) table.columns.push_back({name + " ms", true});
  table.columns.push_back({"speed-up", true});
  table.columns.push_back({"of roofline", true});
  for (const JudgedCase& c : cases) {
    std::vector<std::string> row = {c.name, c.shape};
    for (const auto& verdict : c.verdicts) row.push_back(error_cell(verdict));
    for (const auto& verdict : c.verdicts) {
      row.push_back(verdict ? formatted(verdict->worst().rms) : "");
      row.push_back(verdict ? formatted(verdict->worst().max_abs) : "");
    }
    for (size_t i = 0; i < c.records.size(); ++i) {
      const std::optional<double> time = median_ms(c, i);
      row.push_back(time ? formatted(*time, "%.4g") : "");
    }
    row.push_back(speed_up_cell(c));
    row.push_back(roofline_cell(c, request.results));
    table.rows.push_back(std::move(row));
  }
  table.take_constant_columns();  // empty ones: nothing was timed
  return table;
}

// "fla: 22 of 22 cases pass", and what it looks like where they do not: each kind of fault once, the most frequent
// first.
std::string conclusion(const std::string& name, size_t i, const std::vector<JudgedCase>& cases, bool markdown) {
  size_t run = 0, passed = 0;
  std::map<std::string, std::vector<const JudgedCase*>> kinds;
  for (const JudgedCase& c : cases) {
    if (!c.verdicts[i]) continue;
    ++run;
    passed += passes(c.verdicts[i]);
    if (c.verdicts[i]->status() == CheckStatus::fail) kinds[c.verdicts[i]->fault].push_back(&c);
  }
  std::string text = (markdown ? "**" + name + "**: " : name + ": ") + std::to_string(passed) + " of " +
                     std::to_string(run) + " cases pass";
  if (run < cases.size()) text += ", " + std::to_string(cases.size() - run) + " not run";
  std::vector<std::pair<std::string, std::vector<const JudgedCase*>>> sorted(kinds.begin(), kinds.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second.size() > b.second.size(); });
  for (const auto& [fault, which] : sorted) {
    const CaseVerdict& verdict = *which.front()->verdicts[i];
    text += std::string("\n") + (markdown ? "- " : "  ") + std::to_string(which.size()) + " fail" +
            (which.size() == 1 ? "s" : "") + ", " + (fault.empty() ? "no known kind of fault" : fault) + " (" +
            which.front()->name + ", " + verdict.worst().output + ": " + verdict.worst().text + ")";
  }
  return text + "\n";
}

std::string budgets_text(const std::vector<JudgedCase>& cases) {
  std::map<std::string, size_t> counts;
  for (const JudgedCase& c : cases)
    for (const auto& verdict : c.verdicts)
      if (verdict) ++counts[rounding_text(verdict->rounding)];
  std::string text = "budget: the error of the f64 operator with the roundings";
  for (const auto& [rounding, count] : counts) text += "\n  " + rounding + " (" + std::to_string(count) + ")";
  return text + "\n";
}

std::string repro(const JudgeRequest& request) {
  std::string command = "ringbench parity --cases " + request.cases;
  for (const auto& [name, folder] : request.candidates) command += " --load " + name + "=" + folder;
  if (!request.rounding.empty()) command += " --rounding " + join(request.rounding, ",");
  return command;
}

// What each candidate ran: once, however many cases.
std::string provenance(const JudgeRequest& request, const std::vector<JudgedCase>& cases) {
  std::string text;
  for (size_t i = 0; i < request.candidates.size(); ++i) {
    const auto with_record =
        std::find_if(cases.begin(), cases.end(), [&](const JudgedCase& c) { return !c.records[i].function.empty(); });
    if (with_record == cases.end()) continue;
    const CaseOutputs& record = with_record->records[i];
    text += request.candidates[i].first + ": " + record.function + ", kernel file sha256 " +
            record.kernel_sha256.substr(0, 12) + ", " + record.device + ", " + record.software + "\n";
  }
  return text;
}

std::string people_text(const JudgeRequest& request, const std::vector<JudgedCase>& cases, bool markdown) {
  std::ostringstream out;
  const Environment environment = capture_environment();
  const Table table = table_of(request, cases);
  if (markdown)
    write_markdown(out, table);
  else
    write_text(out, table);
  out << "\n";
  for (size_t i = 0; i < request.candidates.size(); ++i)
    out << conclusion(request.candidates[i].first, i, cases, markdown) << (markdown ? "\n" : "");
  const std::string details = budgets_text(cases) + provenance(request, cases) + "judged by ringbench " +
                              environment.version + " (" + environment.commit + ") on " + environment.cpu + "\n";
  const std::string command = "repeat with: " + repro(request) + "\n";
  if (markdown)
    out << "<details><summary>" << repro(request) << "</summary>\n\n```\n" << details << "```\n</details>\n";
  else
    out << "\n" << details << command;
  return out.str();
}

Json verdict_json(const CaseVerdict& verdict) {
  Json outputs = Json::array();
  for (const OutputVerdict& o : verdict.outputs)
    outputs.push_back({{"output", o.output},
                       {"status", std::string(name_of(o.status))},
                       {"error_over_budget", std::isfinite(o.over_budget) ? Json(o.over_budget) : Json()},
                       {"rmse_ratio", o.rms},
                       {"rmse_budget", o.budget},
                       {"max_abs", o.max_abs},
                       {"text", o.text}});
  return {{"status", std::string(name_of(verdict.status()))},
          {"rounding", rounding_text(verdict.rounding)},
          {"fault", verdict.fault},
          {"outputs", outputs}};
}

Json case_json(const JudgeRequest& request, const JudgedCase& c) {
  Json candidates = Json::array();
  for (size_t i = 0; i < c.verdicts.size(); ++i) {
    if (!c.verdicts[i]) continue;
    const CaseOutputs& record = c.records[i];
    Json one = {{"name", request.candidates[i].first}};
    one.update(verdict_json(*c.verdicts[i]));
    one.update(Json{{"function", record.function},
                    {"kernel_sha256", record.kernel_sha256},
                    {"device", record.device},
                    {"software", record.software},
                    {"times_ms", record.times_ms}});
    candidates.push_back(std::move(one));
  }
  return {{"schema", "ringbench.judged_case/1"},
          {"case", c.name},
          {"op", c.op},
          {"dtype", c.dtype},
          {"shape", c.shape},
          {"bytes", c.bytes},
          {"flops", c.flops},
          {"candidates", candidates}};
}

std::string csv_text(const JudgeRequest& request, const std::vector<JudgedCase>& cases) {
  Table table;
  for (const char* title : {"case", "op", "dtype", "candidate", "status", "output", "error_over_budget", "rmse_ratio",
                            "max_abs", "rounding", "median_ms", "fault"})
    table.columns.push_back({title});
  for (const JudgedCase& c : cases)
    for (size_t i = 0; i < c.verdicts.size(); ++i) {
      if (!c.verdicts[i]) continue;
      const OutputVerdict& worst = c.verdicts[i]->worst();
      const std::optional<double> time = median_ms(c, i);
      table.rows.push_back({c.name, c.op, c.dtype, request.candidates[i].first,
                            std::string(name_of(c.verdicts[i]->status())), worst.output,
                            formatted(worst.over_budget, "%.6g"), formatted(worst.rms, "%.6g"),
                            formatted(worst.max_abs, "%.6g"), rounding_text(c.verdicts[i]->rounding),
                            time ? formatted(*time, "%.6g") : "", c.verdicts[i]->fault});
    }
  std::ostringstream out;
  write_csv(out, table);
  return out.str();
}

}  // namespace

std::string judged_text(const JudgeRequest& request, const std::vector<JudgedCase>& cases, Format format) {
  if (format == Format::csv) return csv_text(request, cases);
  if (format != Format::json && format != Format::jsonl) return people_text(request, cases, format == Format::md);
  Json all = Json::array();
  std::string lines;
  for (const JudgedCase& c : cases) {
    all.push_back(case_json(request, c));
    lines += all.back().dump() + "\n";
  }
  return format == Format::jsonl ? lines : all.dump(1) + "\n";
}

}  // namespace ringbench
