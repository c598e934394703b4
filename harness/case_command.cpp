// case_command.cpp: see case_command.h: writing cases, and judging what is in the folders of candidates. The tables are
// in case_report.cpp.
#include "harness/case_command.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "harness/measure.h"
#include "harness/progress.h"
#include "harness/result.h"
#include "harness/words.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;

std::vector<const CaseOperator*> operators_named(const std::vector<std::string>& names) {
  std::vector<const CaseOperator*> ops;
  for (const std::string& name : names) {
    if (name != "all") {
      ops.push_back(&find_operator(name));
      continue;
    }
    for (const CaseOperator& op : case_operators()) ops.push_back(&op);
  }
  return ops;
}

double bytes_of(const Tensors& tensors) {
  double bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += static_cast<double>(tensor.bytes());
  return bytes;
}

// Share of an output's elements that the operator writes.
double touched_share(const std::vector<CasePart>& parts) {
  double touched = 0, all = 0;
  for (const CasePart& part : parts)
    for (const auto& [first, count] : part.runs) {
      all += static_cast<double>(count);
      touched += part.untouched ? 0 : static_cast<double>(count);
    }
  return all > 0 ? touched / all : 1;
}

// The least that a kernel moves: every input read and every output written once, states of sequences alone.
double least_bytes(const OperatorCase& c, const CaseOperator& op, const Tensors& outputs) {
  double bytes = bytes_of(c.inputs) + bytes_of(outputs);
  if (!c.truth.contains("state")) return bytes;
  const double untouched = 1 - touched_share(op.parts(c, "state"));
  return bytes - untouched * static_cast<double>(c.inputs.at("state").bytes() + outputs.at("state").bytes());
}

std::string shape_text(const OperatorCase& c) {
  std::string text;
  for (const auto& [name, tensor] : c.inputs)
    if (text.empty() && (name == "q" || name == "x" || name == "o" || name == "logits"))
      text = name + " " + shape_string(tensor.shape());
  return text + (c.parameters->contains("order") ? ", " + c.parameters->at("order").get<std::string>() : "");
}

JudgedCase judge_all(const JudgeRequest& request, const std::string& name) {
  const OperatorCase c = read_case(fs::path(request.cases) / name);
  const CaseOperator& op = find_operator(c.op);
  JudgedCase judged{c.name, c.op, shape_text(c), std::string(name_of(c.dtype)), 0, op.flops(c), {}, {}};
  for (const auto& [candidate, folder] : request.candidates) {
    std::optional<CaseOutputs> outputs = read_outputs(folder, c);
    judged.verdicts.emplace_back();
    judged.records.emplace_back();
    if (!outputs) continue;
    judged.bytes = least_bytes(c, op, outputs->tensors);
    judged.verdicts.back() = judge_case(c, *outputs, request.rounding);
    outputs->tensors.clear();
    judged.records.back() = std::move(*outputs);
  }
  return judged;
}

// Names of the cases of the operators that were asked for, without reading tensors.
std::vector<std::string> wanted_cases(const JudgeRequest& request) {
  std::vector<std::string> names = case_names(request.cases);
  std::erase_if(names, [&](const std::string& name) {
    return std::none_of(request.candidates.begin(), request.candidates.end(),
                        [&](const auto& candidate) { return fs::is_directory(fs::path(candidate.second) / name); });
  });
  if (!request.ops.empty())
    std::erase_if(names, [&](const std::string& name) {
      const std::vector<const CaseOperator*> ops = operators_named(request.ops);
      return std::none_of(ops.begin(), ops.end(), [&](const CaseOperator* op) { return name.starts_with(op->name); });
    });
  return names;
}

void check_candidates(const JudgeRequest& request) {
  const std::vector<std::string> names = case_names(request.cases);
  for (const auto& [candidate, folder] : request.candidates) {
    if (!fs::is_directory(folder))
      throw UsageError("--load: " + candidate + ": there is no folder '" + folder + "'.",
                       "make it with: python3 run_case.py CASE ... --out " + folder + " --run MODULE:FUNCTION");
    if (std::none_of(names.begin(), names.end(),
                     [&, &dir = folder](const std::string& name) { return fs::is_directory(fs::path(dir) / name); }))
      throw UsageError("--load: " + candidate + ": '" + folder + "' holds outputs of none of the " +
                       std::to_string(names.size()) + " cases in '" + request.cases + "'.");
  }
}

void write_verdicts(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.close();
  if (!out) throw Failure(ExitCode::environment, "--output: cannot write '" + path + "'.");
}

}  // namespace

ExitCode run_emit(const EmitRequest& request) {
  Clock clock;
  const double begin = clock.wall_s();
  const std::vector<const CaseOperator*> ops = operators_named(request.ops);
  int64_t count = 0;
  double bytes = 0;
  {
    Progress progress(request.progress && !request.quiet, 1, 1, clock);
    for (const CaseOperator* op : ops) {
      for (const std::string& shape : request.shapes) {
        progress.begin("emit " + op->name + " " + shape);
        for (const OperatorCase& c : make_cases(*op, shape)) {
          write_case(c, request.folder);
          bytes += bytes_of(c.inputs) + bytes_of(c.truth);
          ++count;
        }
      }
    }
  }
  if (!request.quiet)
    std::cout << count << " cases, " << bytes_text(static_cast<int64_t>(bytes)) << ", in " << request.folder << "; "
              << duration_text(clock.wall_s() - begin) << "\n";
  return ExitCode::ok;
}

std::optional<std::pair<std::string, std::string>> parse_candidate(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || text.find('/') < equals) return std::nullopt;
  return std::pair(text.substr(0, equals), text.substr(equals + 1));
}

ExitCode run_judge(const JudgeRequest& request) {
  check_candidates(request);
  for (const std::string& path : request.outputs)
    if (path != "-") format_of_file(path);  // a wrong name fails before anything runs
  const std::vector<std::string> names = wanted_cases(request);
  if (names.empty()) throw UsageError("--op: no outputs of cases of " + join(request.ops, ", ") + ".");
  std::vector<JudgedCase> judged;
  {
    Clock clock;
    Progress progress(request.progress && !request.quiet, static_cast<int64_t>(names.size()),
                      static_cast<double>(names.size()), clock);
    for (const std::string& name : names) {
      progress.begin("judge " + name);
      judged.push_back(judge_all(request, name));
    }
  }
  std::cout << judged_text(request, judged, request.format);
  for (const std::string& path : request.outputs)
    if (path != "-") write_verdicts(path, judged_text(request, judged, format_of_file(path)));
  for (const JudgedCase& c : judged)
    for (size_t i = 0; i < c.verdicts.size(); ++i)
      if (const auto& verdict = c.verdicts[i]; verdict && verdict->status() == CheckStatus::fail)
        throw Failure(ExitCode::parity,
                      "parity: " + request.candidates[i].first + ": " + c.name + ": " + verdict->worst().output + ": " +
                          verdict->worst().text + ".",
                      verdict->fault.empty() ? "" : "it looks like: " + verdict->fault);
  return ExitCode::ok;
}

}  // namespace ringbench
