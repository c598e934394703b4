#include "harness/runs.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "harness/certificate.h"
#include "harness/exports.h"
#include "harness/import.h"
#include "harness/loose_json.h"
#include "harness/records.h"
#include "harness/run_folder.h"
#include "harness/seal.h"
#include "harness/table.h"
#include "harness/words.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// An object from a file; null where there is none.
Json read_json(const fs::path& path) {
  std::ifstream in(path);
  if (!in) return nullptr;
  Json json = Json::parse(in, nullptr, false);
  if (!json.is_object()) throw UsageError(path.string() + ": this is no JSON object.");
  return json;
}

// --- list, show ---

// "12 ok, 1 oom"
std::string counts_text(const std::map<std::string, int64_t>& counts) {
  Strings words;
  for (const auto& [status, count] : counts) words.push_back(std::to_string(count) + " " + status);
  return join(words, ", ");
}

// run.json's own counts are those at its end; a run that was broken off has them in its records alone.
std::map<std::string, int64_t> count_points(const RunInfo& run) {
  if (run.exit_code) return run.counts;
  std::map<std::string, int64_t> counts;
  try {
    for (const Result& r : read_records(run.path)) ++counts[r.status];
  } catch (const UsageError&) {
    counts["unreadable"] = 1;
  }
  return counts;
}

Table table_of_runs(const std::vector<RunInfo>& runs) {
  Table table;
  table.columns = {{"run"}, {"started"}, {"points"}, {"exit", true}, {"commit"}, {"device", false, false}};
  for (const RunInfo& run : runs)
    table.rows.push_back({run.id, run.started, counts_text(count_points(run)),
                          run.exit_code ? std::to_string(*run.exit_code) : "broken off", run.commit, run.device});
  return table;
}

Json json_of_run(const RunInfo& run) {
  return {{"run_id", run.id},
          {"command", run.command},
          {"started", run.started},
          {"ended", run.ended.empty() ? Json(nullptr) : Json(run.ended)},
          {"exit_code", run.exit_code ? Json(*run.exit_code) : Json(nullptr)},
          {"counts", count_points(run)},
          {"commit", run.commit},
          {"device", run.device}};
}

void list(std::ostream& out, const RunsRequest& request, Format format, bool color) {
  const std::vector<RunInfo> runs = list_runs(request.results);
  if (format == Format::json || format == Format::jsonl) {
    Json all = Json::array();
    for (const RunInfo& run : runs) all.push_back(json_of_run(run));
    if (format == Format::json) out << all.dump(1) << "\n";
    if (format == Format::jsonl)
      for (const Json& run : all) out << run.dump() << "\n";
    return;
  }
  Table table = table_of_runs(runs);
  if (format == Format::csv) return write_csv(out, table);
  const std::string header = table.take_constant_columns();
  const std::string note = runs.empty() ? "no runs in '" + request.results.string() + "'" : header;
  if (!note.empty()) out << (format == Format::md ? markdown_text(note) : note) << "\n";
  if (!note.empty() && !runs.empty()) out << "\n";
  if (runs.empty()) return;
  if (format == Format::md) return write_markdown(out, table);
  const auto mark = [&](size_t row) { return std::string(runs[row].exit_code == 0 ? "" : "33"); };
  write_text(out, table, color ? mark : std::function<std::string(size_t)>());
}

// A .jsonl file of records has no run.json.
RunInfo info_of(const fs::path& path) {
  if (fs::is_directory(path)) return read_run(path);
  RunInfo info;
  info.path = path;
  info.id = path.filename().string();
  return info;
}

void show(std::ostream& out, const fs::path& path, Format format, bool color) {
  ReadNotes notes;
  const std::vector<Result> results = read_records(path, &notes);
  const RunInfo run = info_of(path);
  Remarks remarks;
  remarks.color = color;
  if (!run.started.empty())
    remarks.lines.push_back(run.id + ": " + run.started + (run.ended.empty() ? ", broken off" : " to " + run.ended) +
                            (run.exit_code ? ", exit code " + std::to_string(*run.exit_code) : ""));
  if (!run.argv.empty()) remarks.lines.push_back("command: " + join(run.argv, " "));
  if (notes.replaced > 0) remarks.lines.push_back(counted(notes.replaced, "row") + " measured anew later on");
  if (notes.torn_line) remarks.lines.push_back("the last line is torn (the run was killed) and left out");
  if (!notes.unknown_fields.empty())
    remarks.lines.push_back("fields of a later version, ignored: " + join(notes.unknown_fields, ", "));
  write_results(out, format, results, remarks);
}

// --- verify ---

void check_seals(const fs::path& folder, bool finished, RunCheck& check) {
  const SealCheck seal = check_seal(folder);
  if (!seal.sealed) {
    check.remarks.push_back("not sealed: there is no points.sha256; edits of rows cannot be seen");
    return;
  }
  constexpr size_t shown = 5;
  for (size_t i = 0; i < std::min(seal.changed.size(), shown); ++i)
    check.wrong.push_back("points.jsonl:" + std::to_string(seal.changed[i]) + ": not as it was written");
  if (seal.changed.size() > shown)
    check.wrong.push_back("... and " + counted(static_cast<int64_t>(seal.changed.size() - shown), "more line"));
  if (seal.lines < seal.seals)
    check.wrong.push_back("points.jsonl has " + counted(seal.lines, "line") + ", but " + std::to_string(seal.seals) +
                          " were written");
  const int64_t unsealed = seal.lines - seal.seals;
  if (unsealed == 1 && !finished)
    check.remarks.push_back("the last line is not sealed: the run was killed after it wrote it");
  else if (unsealed > 0)
    check.wrong.push_back("points.jsonl:" + std::to_string(seal.seals + 1) + ": " + counted(unsealed, "line") +
                          " added afterwards");
  if (seal.torn_line) check.remarks.push_back("the last line is torn: the run was killed while it wrote it");
  if (check.wrong.empty()) check.remarks.push_back(counted(seal.seals, "line") + " as written");
}

// Certificates that rows name: whether they are there, and are what their names say.
void check_certificates(const fs::path& folder, const std::set<std::string>& ids, RunCheck& check) {
  int64_t whole = 0;
  for (const std::string& id : ids) {
    fs::path file;
    for (const fs::path& place : {folder / "parity", (folder / "").parent_path().parent_path() / "parity"})
      for (std::error_code error; const auto& entry : fs::directory_iterator(place, error))
        if (entry.path().filename().string().starts_with(id)) file = entry.path();
    if (file.empty()) {
      check.remarks.push_back("certificate " + id + " is not beside the run");
      continue;
    }
    std::ifstream in(file, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    try {
      parse_certificate(text, file.string());
      ++whole;
    } catch (const UsageError& e) {
      check.wrong.emplace_back(e.what());
    }
  }
  if (whole > 0) check.remarks.push_back(counted(whole, "certificate") + " whole");
}

}  // namespace

RunCheck check_run(const fs::path& folder) {
  RunCheck check;
  const auto attempt = [&](const auto& step) {
    try {
      step();
    } catch (const UsageError& e) {
      check.wrong.emplace_back(e.what());
    }
  };
  RunInfo run;
  bool finished = false;
  attempt([&] {
    run = read_run(folder);
    finished = run.exit_code.has_value();
    const std::string name = (folder / "").parent_path().filename().string();
    if (run.id != name) check.remarks.push_back("the folder is called " + name + ", the run " + run.id);
  });
  attempt([&] { check_seals(folder, finished, check); });
  std::set<std::string> certificates;
  std::map<std::string, int64_t> counts;
  bool readable = false;
  attempt([&] {
    for_each_record(folder, [&](Result&& r) {
      ++counts[r.status];
      if (r.parity_certificate) certificates.insert(*r.parity_certificate);
    });
    readable = true;
  });
  if (readable && finished && counts != run.counts)
    check.wrong.push_back("run.json counts " + counts_text(run.counts) + "; the records are " + counts_text(counts));
  attempt([&] { check_certificates(folder, certificates, check); });
  attempt([&] {
    const Json plan = read_json(folder / "plan.json"), info = read_json(folder / "run.json");
    if (!plan.is_null() && text_at(plan, "plan_sha") != text_at(info, "plan_sha"))
      check.wrong.emplace_back("plan.json is not the plan that run.json names");
  });
  return check;
}

namespace {

ExitCode verify(std::ostream& out, const fs::path& path) {
  if (!fs::is_directory(path)) throw UsageError("'" + path.string() + "' is a file; only a run's folder is sealed.");
  const RunCheck check = check_run(path);
  for (const std::string& line : check.wrong) out << "WRONG  " << line << "\n";
  for (const std::string& line : check.remarks) out << "       " << line << "\n";
  out << (check.wrong.empty() ? "as written: " : "NOT as written: ") << path.string() << "\n";
  return check.wrong.empty() ? ExitCode::ok : ExitCode::points_failed;
}

// --- merge ---

// Of plan.json: what each point is called in a message, by what record_key() has of it but the metric.
std::map<std::string, std::string> planned_points(const Json& plan) {
  std::map<std::string, std::string> points;
  if (!plan.is_object() || !plan.contains("points") || !plan["points"].is_array()) return points;
  for (const Json& p : plan["points"]) {
    if (!p.is_object()) continue;
    const auto number = [&](const char* key) {
      return p.contains(key) && p[key].is_number_integer() ? p[key].get<int64_t>() : 0;
    };
    points[text_at(p, "point_id") + " " + text_at(p, "engine") + " " + text_at(p, "dtype") + " " +
           std::to_string(number("chunk"))] = text_at(p, "phase") + " " + text_at(p, "model") + " " +
                                              text_at(p, "hybrid") + " ctx " + token_label(number("ctx")) + " bs " +
                                              std::to_string(number("batch")) + " on " + text_at(p, "engine");
  }
  return points;
}

}  // namespace

MergedRuns merge_runs(const std::vector<fs::path>& runs, const RunsRequest& request) {
  RunPlan plan;
  plan.argv = request.argv;
  Json whole_plan;
  for (const fs::path& path : runs) {
    if (!fs::is_directory(path))
      throw UsageError("merge: '" + path.string() + "' is a file; merge takes runs' folders.");
    const RunInfo run = read_run(path);
    const Json info = read_json(path / "run.json"), written = read_json(path / "plan.json");
    const std::string sha = text_at(info, "plan_sha"), build = text_at(info, "build");
    if (path == runs.front()) {
      plan.experiment = run.command, plan.sha = sha, plan.build = build;
      whole_plan = written;
      continue;
    }
    if (sha != plan.sha)
      throw UsageError("merge: " + run.id + " is of another plan than " + runs.front().filename().string() + ".",
                       "Only parts of one plan make one run: those of --shard, or of the same command.");
    if (build != plan.build && !request.mix_builds)
      throw UsageError(
          "merge: " + run.id + " was measured by another build (" + build + "; the first by " + plan.build + ").",
          "Add --mix-builds to merge them all the same: every row names its build.");
    if (build != plan.build) plan.build = "mixed";
  }
  std::vector<Result> rows;
  std::map<std::string, size_t> places;
  MergedRuns merged;
  for (const fs::path& path : runs)
    for (Result& r : read_records(path)) {
      const auto [place, fresh] = places.emplace(record_key(r), rows.size());
      if (!fresh) ++merged.replaced;
      if (fresh)
        rows.push_back(std::move(r));
      else
        rows[place->second] = std::move(r);
    }
  std::map<std::string, std::string> missing = planned_points(whole_plan);
  for (const Result& r : rows)
    missing.erase(r.point_id + " " + r.engine + " " + r.dtype + " " + std::to_string(r.chunk.value_or(0)));
  for (const auto& [key, name] : missing) merged.missing.push_back(name);

  if (whole_plan.is_object()) {
    whole_plan["shard"] = "1/1";
    plan.json = whole_plan.dump(1, ' ', false, Json::error_handler_t::replace);
  }
  RunFolder folder(request.results, plan);
  for (Result& r : rows) {
    r.run_id = folder.id();
    folder.append(r);
  }
  const bool failed = std::any_of(rows.begin(), rows.end(), [](const Result& r) { return !r.value; });
  folder.finish(failed || !merged.missing.empty() ? ExitCode::points_failed : ExitCode::ok);
  merged.path = folder.path();
  merged.rows = static_cast<int64_t>(rows.size());
  return merged;
}

namespace {

ExitCode merge(std::ostream& out, const RunsRequest& request, const std::vector<fs::path>& runs) {
  const MergedRuns merged = merge_runs(runs, request);
  constexpr size_t shown = 10;
  for (size_t i = 0; i < std::min(merged.missing.size(), shown); ++i) out << "missing: " << merged.missing[i] << "\n";
  if (merged.missing.size() > shown)
    out << "... and " << counted(static_cast<int64_t>(merged.missing.size() - shown), "more point") << "\n";
  if (merged.replaced > 0)
    out << counted(merged.replaced, "row") << " in more than one run: the last one named counts\n";
  out << "saved: " << merged.path.string() << "/  (" << counted(merged.rows, "point") << ", " << merged.missing.size()
      << " missing)\n";
  return merged.missing.empty() ? ExitCode::ok : ExitCode::points_failed;
}

// --- import, export ---

ExitCode import(std::ostream& out, const RunsRequest& request) {
  std::vector<Result> results = import_csv(request.words[0]);
  RunPlan plan;
  plan.experiment = "import";
  plan.argv = request.argv;
  RunFolder folder(request.results, plan);
  for (Result& r : results) {
    r.run_id = folder.id();
    folder.append(r);
  }
  folder.finish(ExitCode::ok);
  out << "saved: " << folder.path().string() << "/  (" << counted(static_cast<int64_t>(results.size()), "point")
      << ", measured elsewhere)\n";
  return ExitCode::ok;
}

ExitCode export_run(const RunsRequest& request, const fs::path& path) {
  const std::vector<Result> results = read_records(path);
  const RunInfo run = info_of(path);
  int64_t left_out = 0;
  const std::string file = request.outputs.empty() ? "-" : request.outputs.back();
  if (file == "-") {
    left_out = write_export(std::cout, request.to, results, run);
  } else {
    std::ofstream out(file, std::ios::binary | std::ios::trunc);
    if (!out) throw UsageError("--output: cannot write '" + file + "'.");
    left_out = write_export(out, request.to, results, run);
    out.flush();
    if (!out) throw Failure(ExitCode::environment, "--output: writing '" + file + "' failed.");
  }
  if (left_out > 0)
    std::cerr << "warning W-EXPORT: " << counted(left_out, "row") << " left out: " << request.to
              << " has no form for them (no number"
              << (request.to == "llama-bench" ? ", or more than one sequence" : "") << ").\n";
  return ExitCode::ok;
}

void refuse_words(const RunsRequest& request, size_t least, size_t most, const std::string& what) {
  if (request.words.size() < least || request.words.size() > most)
    throw UsageError("runs " + request.action + ": " + what, "see: ringbench help runs");
}

}  // namespace

ExitCode run_runs(const RunsRequest& request) {
  static const Strings actions = {"list", "show", "verify", "merge", "import", "export"};
  if (std::find(actions.begin(), actions.end(), request.action) == actions.end()) {
    const std::string near = nearest_word(request.action, actions);
    throw UsageError("runs: '" + request.action + "' is none of " + join(actions, ", ") + "." +
                     (near.empty() ? "" : " Did you mean " + near + "?"));
  }
  const bool color = use_color(request.color);
  const auto latest_or_named = [&] {
    refuse_words(request, 0, 1, "give one run, or none for the latest.");
    return find_run(request.words.empty() ? "" : request.words[0], request.results);
  };
  // On stdout, and again into each file.
  const auto everywhere = [&](const auto& write) {
    write(std::cout, request.format, color);
    for (const std::string& path : request.outputs) {
      if (path == "-") continue;
      const Format format = format_of_file(path);
      std::ofstream file(path, std::ios::trunc);
      write(file, format, false);
      file.flush();
      if (!file) throw Failure(ExitCode::environment, "--output: cannot write '" + path + "'.");
    }
    return ExitCode::ok;
  };
  if (request.action == "list") {
    refuse_words(request, 0, 0, "it takes no words.");
    return everywhere([&](std::ostream& out, Format format, bool in_color) { list(out, request, format, in_color); });
  }
  if (request.action == "show") {
    const fs::path path = latest_or_named();
    return everywhere([&](std::ostream& out, Format format, bool in_color) { show(out, path, format, in_color); });
  }
  if (request.action == "verify") return verify(std::cout, latest_or_named());
  if (request.action == "merge") {
    refuse_words(request, 1, 1000, "name the runs to merge.");
    std::vector<fs::path> runs;
    for (const std::string& word : request.words) runs.push_back(find_run(word, request.results));
    return merge(std::cout, request, runs);
  }
  if (request.action == "import") {
    refuse_words(request, 1, 1, "name one .csv file.");
    return import(std::cout, request);
  }
  if (request.to.empty())
    throw UsageError("runs export: --to FORM is missing. Use " + join(export_names(), ", ") + ".");
  return export_run(request, latest_or_named());
}

}  // namespace ringbench
