#include "harness/validate.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>

#include "harness/table.h"
#include "harness/words.h"

namespace ringbench {
namespace {

// Intervals of 95 % hold 19 of 20 in the long run; with 17 or more of 20 that is no surprise (P = 0.98).
constexpr double kLeastInside = 17.0 / 20;

std::string percent_text(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%+.1f %%", 100 * share);
  return text;
}

Table table_of(const std::vector<Validation>& validations) {
  Table table;
  for (const char* title : {"model", "hybrid"}) table.columns.push_back({title, false});
  for (const char* title : {"layers", "ctx", "chunk", "threads", "estimate s", "95% low", "95% high", "whole s",
                            "error", "anchor error", "contention"})
    table.columns.push_back({title, true});
  table.columns.push_back({"inside", false});
  const auto seconds = [](double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.3f", value);
    return std::string(text);
  };
  for (const Validation& v : validations) {
    const Result& e = v.estimate;
    table.rows.push_back({e.model, e.hybrid, std::to_string(e.layers), e.ctx_label, std::to_string(e.chunk.value_or(0)),
                          std::to_string(e.threads.value_or(0)), seconds(*e.value), seconds(e.ci95_low.value_or(0)),
                          seconds(e.ci95_high.value_or(0)), seconds(v.whole_s), percent_text(v.error),
                          percent_text(e.est_anchor_error.value_or(0)), seconds(v.whole.contention.value_or(1)),
                          v.inside ? "yes" : "no"});
  }
  return table;
}

// The request with prefills alone, estimated always or never.
RunRequest with_mode(const RunRequest& request, EstimateMode mode) {
  RunRequest one = request;
  for (Grid& grid : one.grids) {
    if (grid.command != Command::prefill)
      throw UsageError("--validate is for plans of prefills: estimates are of them.");
    grid.plan.estimate = mode;
    if (mode == EstimateMode::never) grid.plan.reps = 1;  // it runs for long; what scatters is in the interval
  }
  return one;
}

}  // namespace

std::vector<Validation> match_validations(const std::vector<Result>& estimates, const std::vector<Result>& whole) {
  const auto key = [](const Result& r) {
    return r.point_id + " " + r.engine + " " + r.dtype + " " + std::to_string(r.chunk.value_or(-1)) + " " +
           std::to_string(r.threads.value_or(0));
  };
  std::map<std::string, const Result*> partner;
  for (const Result& r : whole)
    if (r.value && r.method == "measured") partner[key(r)] = &r;
  std::vector<Validation> validations;
  for (const Result& e : estimates) {
    const auto found = partner.find(key(e));
    if (!e.value || e.method != "estimated" || found == partner.end()) continue;
    Validation v{e, *found->second, 0, 0, false};
    const bool cpu_time = v.whole.contention && v.whole.cpu_s && v.whole.threads;
    v.whole_s = cpu_time ? *v.whole.cpu_s / static_cast<double>(*v.whole.threads) : *v.whole.value;
    v.error = *e.value / v.whole_s - 1;
    v.inside = e.ci95_low && *e.ci95_low <= v.whole_s && v.whole_s <= *e.ci95_high;
    validations.push_back(std::move(v));
  }
  return validations;
}

void write_validations(std::ostream& out, const std::vector<Validation>& validations, Format format) {
  const Table table = table_of(validations);
  if (format == Format::csv) return write_csv(out, table);
  format == Format::md ? write_markdown(out, table) : write_text(out, table);
  const auto inside =
      std::count_if(validations.begin(), validations.end(), [](const Validation& v) { return v.inside; });
  double worst = 0;
  for (const Validation& v : validations) worst = std::max(worst, std::abs(v.error));
  out << "\n"
      << inside << " of " << validations.size() << " whole runs lie inside the estimate's 95 % interval; the "
      << "largest error is " << percent_text(worst).substr(1) << "\n";
}

ExitCode run_validation(const RunRequest& request) {
  const Plan& plan = request.whole();
  if (plan.format != Format::table && plan.format != Format::md && plan.format != Format::csv)
    throw UsageError("--validate writes table, md or csv.");
  RunRequest estimated = with_mode(request, EstimateMode::always), whole = with_mode(request, EstimateMode::never);
  estimated.experiment += "-estimated", whole.experiment += "-whole";
  const auto [estimates, wholes] = measure_in_turn(estimated, whole);
  const std::vector<Validation> validations = match_validations(estimates.rows, wholes.rows);
  write_validations(std::cout, validations, plan.format);
  if (!estimates.folder.empty()) {
    std::ofstream csv(estimates.folder / "validation.csv");
    write_validations(csv, validations, Format::csv);
    if (!csv.flush())
      throw Failure(ExitCode::environment, "cannot write " + (estimates.folder / "validation.csv").string());
    std::cerr << "saved: " << estimates.folder.string() << "/, " << wholes.folder.string() << "/\n";
  }
  const auto inside =
      std::count_if(validations.begin(), validations.end(), [](const Validation& v) { return v.inside; });
  const bool enough = static_cast<double>(inside) >= kLeastInside * static_cast<double>(validations.size());
  const ExitCode code = std::max(estimates.code, wholes.code);
  return code == ExitCode::ok && (!enough || validations.size() != wholes.rows.size()) ? ExitCode::points_failed : code;
}

}  // namespace ringbench
