// compare.h: two runs, row by row: how many times slower the second is, how sure that is, and a verdict. How samples
// become an interval is statistics.h's business.
#pragma once

#include <array>
#include <filesystem>
#include <iosfwd>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "harness/failure.h"
#include "harness/result.h"

namespace ringbench {

struct CompareOptions {
  Strings across;           // conditions in which the two may differ: device, dtype, engine, ...
  double threshold = 0.02;  // what is nearer to 1 is the same
  Strings by;               // keys that rows are grouped and sorted by; empty: in the order of the first run
};

enum class Verdict { faster, slower, same, ambiguous, unmatched };
std::string_view name_of(Verdict verdict);

// One point of both runs; of those that only one has, one side is empty.
struct ComparedRow {
  std::string point_id, phase, model, hybrid, ctx_label, metric;
  int64_t ctx = 0, gen = 0, batch = 1;
  // What a side measured and under which conditions.
  struct Side {
    bool there = false;
    std::array<std::string, 8> conditions;  // engine, dtype, device, ...
    std::string run_id, status, parity, flags, commit;
    bool interleaved = false, estimated = false;
    Maybe<double> value, ci95_low, ci95_high;
    Numbers samples;  // dropped once compared
  } a, b;
  // Second over first, with the 95 % interval of this row alone.
  Maybe<double> ratio, low, high;
  std::string basis;  // samples, pairs, intervals; empty without an interval
  double standard_error = 0, freedom = 0;
  Verdict verdict = Verdict::unmatched;
  std::string note;  // why there is no ratio, or no interval
};

struct Comparison {
  std::vector<ComparedRow> rows;
  double threshold = 0;
  // Between the runs, beyond what repetitions explain, relative: of the rows below 1 and above it.
  double spread_below = 0, spread_above = 0;
  double level = 0;  // of the intervals that verdicts come from: 1 - level
  Strings notes;
  std::map<Verdict, int64_t> counts;
};

// Collects the rows of two runs, of each no more than is needed, and compares them.
class Comparer {
 public:
  // Throws UsageError for a condition or key that is none.
  explicit Comparer(CompareOptions options);
  // Of a retried point the last one counts. The two sides may be added at the same time.
  void add_first(const Result& result) { add(result, first_); }
  void add_second(const Result& result) { add(result, second_); }
  // Throws UsageError if the runs have points in common, but none that was measured under the same conditions.
  Comparison compare();

 private:
  struct Run {
    std::vector<ComparedRow> rows;                   // their side a filled
    std::unordered_map<std::string, size_t> places;  // by record_key
  };
  static void add(const Result& result, Run& run);
  std::vector<size_t> find_partners() const;
  void allow_what_servers_choose();
  void pair_rows(Comparison& comparison);

  CompareOptions options_;
  Run first_, second_;
};

// The rule, in words.
std::string compare_rule();

struct CompareRequest {
  std::string first, second;
  std::filesystem::path results = "results/runs";
  CompareOptions options;
  Strings fail_on = {"slower"};  // of slower, ambiguous, unmatched; or none
  Format format = Format::table;
  Strings outputs;
  ColorWhen color = ColorWhen::automatic;
};
// Reads, compares and writes. Returns regression if a row has a verdict of `fail_on`.
ExitCode run_compare(const CompareRequest& request);

}  // namespace ringbench
