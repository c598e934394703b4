// claims_command.cpp: the command `claims`: which records are looked at, and where the verdicts go.
#include <fstream>
#include <iostream>

#include "harness/claims.h"
#include "harness/records.h"
#include "harness/words.h"

namespace ringbench {
namespace {

// A file of -o, created before anything is judged so that a wrong path fails early.
struct Output {
  std::string path;
  Format format;
  std::ofstream stream;
};

std::vector<Output> open_outputs(const Strings& paths) {
  std::vector<Output> outputs;
  for (const std::string& path : paths) {
    Output output{path, format_of_file(path), std::ofstream(path)};
    if (!output.stream) throw UsageError("--output: '" + path + "' cannot be written.");
    outputs.push_back(std::move(output));
  }
  return outputs;
}

struct Records {
  std::vector<Result> rows;
  Strings about;  // which they are, in lines
};

Records read_all(const ClaimsRequest& request) {
  Records records;
  Strings runs = request.runs;
  if (runs.empty() && list_runs(request.results).empty()) {
    records.about = {"No run in " + request.results + ": claims are computed and predicted, nothing is measured."};
    return records;
  }
  if (runs.empty()) runs = {""};  // the latest
  for (const std::string& run : runs) {
    const std::filesystem::path path = find_run(run, request.results);
    ReadNotes notes;
    std::vector<Result> rows = read_records(path, &notes);
    records.about.push_back("Records: " + path.filename().string() + ", " + std::to_string(rows.size()) + " rows" +
                            (notes.torn_line ? " (a torn last line left out)" : ""));
    records.rows.insert(records.rows.end(), std::make_move_iterator(rows.begin()), std::make_move_iterator(rows.end()));
  }
  return records;
}

}  // namespace

ExitCode run_claims(const ClaimsRequest& request) {
  if (request.rule) {
    std::cout << wrap(claims_rule(), 0);
    return ExitCode::ok;
  }
  std::vector<Output> outputs = open_outputs(request.outputs);
  const Records records = read_all(request);
  const std::vector<ClaimVerdict> verdicts = judge_claims(records.rows);
  write_claims(std::cout, request.format, verdicts, records.about);
  for (Output& output : outputs) {
    write_claims(output.stream, output.format, verdicts, records.about);
    if (!output.stream.flush())
      throw Failure(ExitCode::environment, "writing " + output.path + " failed (disk full?).");
  }
  if (!request.fail_on_not_reproduced) return ExitCode::ok;
  for (const ClaimVerdict& v : verdicts)
    if (v.verdict == "NOT REPRODUCED") return ExitCode::regression;
  return ExitCode::ok;
}

}  // namespace ringbench
