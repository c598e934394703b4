// result.h: the flat record of one measurement and the ways it is written. Where a run keeps its records: run_folder.h;
// what the fields mean: `ringbench help schema`; how they are computed: run.cpp, measure.h, cost.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "harness/failure.h"
#include "harness/plan.h"
#include "harness/table.h"

namespace ringbench {

using Strings = std::vector<std::string>;
using Numbers = std::vector<double>;
template <class T> using Maybe = std::optional<T>;

// One point, one line. Absent is null, never 0 and never missing; units are in the names. Doubles that are not finite
// are written as null.
struct Result {
  // Identity.
  std::string schema = "ringbench.point/1";
  std::string run_id, point_id;
  std::string status = "ok";  // ok estimated oom oom_predicted timeout skipped error
  std::string experiment;     // the command
  std::string phase;          // prefill decode e2e
  std::string engine;
  std::string date;  // UTC, RFC 3339, when the point was finished
  // Model.
  std::string model, config_sha, hybrid;
  int64_t layers = 0, linear_layers = 0, softmax_layers = 0;  // softmax: sliding layers included
  std::string slope_layer_offset;                             // "0", "1", "mlx"
  int64_t params_total = 0, params_active = 0, params_active_non_embedding = 0;
  std::string weights;  // "dummy:scaled", "dummy:zero", or the checkpoint's name
  Maybe<std::string> weights_fingerprint;
  int64_t seed = 0;
  // Workload.
  int64_t ctx = 0;
  std::string ctx_label;
  int64_t gen = 0, batch = 1;
  Maybe<int64_t> memory_limit_bytes;  // with --batch auto: what the batch was chosen to fit into
  Maybe<int64_t> chunk;               // 0: one shot
  std::string dtype;
  Maybe<std::string> kv_dtype, state_dtype;
  Maybe<double> yarn_factor;  // null without YaRN
  Maybe<int64_t> yarn_original;
  Maybe<int64_t> trained_window;
  std::string routing = "measured";
  Maybe<std::string> depth_fill;  // real synthetic; decode only
  Maybe<int64_t> input_seed, isl_actual, osl_actual, threads;
  // Method.
  std::string method = "measured";  // measured estimated
  Maybe<int64_t> warmup;            // passes before the first sample
  Maybe<std::string> stop;          // ci budget fixed
  bool interleaved = false;
  // Estimator; null when measured.
  Maybe<std::string> estimator;  // chunk group
  Maybe<int64_t> est_points, est_query_stride;
  Maybe<double> est_work_share, est_r2, est_residual_max;
  Maybe<int64_t> est_anchor_ctx;
  Maybe<double> est_anchor_error;  // relative, estimate against the full run at est_anchor_ctx
  // The number.
  std::string metric;  // ttft_s tpot_s e2e_s
  std::string unit = "s";
  Maybe<double> value, ci95_low, ci95_high;
  Maybe<int64_t> n;
  Maybe<double> min, max, p90, p99;
  Numbers samples;
  // Derived.
  Maybe<double> tok_s, step_p50_s, step_p90_s, step_p99_s, ttfr_s, queue_s, cpu_s, contention;
  Maybe<std::string> logits_hash;
  // Cost model.
  Maybe<double> flops, bytes;
  Maybe<std::string> bound;  // compute memory launch
  Maybe<double> predicted_s, measured_over_predicted, mfu, mbu;
  Maybe<std::string> mfu_params;  // active active_non_embedding
  Maybe<double> peak_tflops, peak_gbps;
  Maybe<std::string> peak_source;  // calibrated datasheet-dense user
  // Memory.
  Maybe<int64_t> weights_bytes, kv_bytes, state_bytes, workspace_bytes, peak_bytes, peak_process_bytes;
  Maybe<int64_t> kv_bytes_analytic, state_bytes_analytic;
  Maybe<double> cache_ratio_vs_softmax;
  // Evaluation of answers; null for speeds.
  Maybe<std::string> task;
  Maybe<int64_t> questions, samples_per_question;
  Maybe<double> se_question, se_run;
  Maybe<int64_t> truncated, unparsed, wrong;
  Maybe<double> published, tokens_mean;
  // Serving.
  Maybe<int64_t> requests, waves;
  Maybe<double> ttft_s, tpot_s, itl_p50_s, itl_p99_s;
  Maybe<int64_t> concurrency;
  Maybe<double> rate, goodput;
  Maybe<int64_t> retries, cached_tokens;
  Maybe<std::string> server, replica_of;
  Maybe<double> client_ttft_s, client_itl_s, client_tok_s;
  // Experts.
  Maybe<int64_t> experts_hit;
  Maybe<double> expert_load_max_over_mean, expert_load_cv;
  // Energy.
  Maybe<double> energy_j, power_avg_w, power_idle_w, energy_j_per_token;
  Maybe<std::string> energy_method;
  // Clocks.
  Maybe<double> sm_mhz, mem_mhz, temp_max_c;
  Strings throttle;  // reasons
  Maybe<int64_t> foreign_processes;
  // Kernels and parity.
  Strings kernels;              // "operator=variant" that ran
  std::string parity = "none";  // pass partial stale fail none
  Maybe<std::string> parity_certificate;
  Maybe<double> parity_worst;
  Maybe<int64_t> parity_depth;
  Strings parity_missing;
  // Verdicts.
  std::string flags;         // letters in alphabetical order
  Strings warnings;          // "W-CODE: text"
  Maybe<std::string> error;  // first line
  std::string repro;         // a command
  // Provenance.
  std::string device;
  Maybe<std::string> driver;
  std::string commit;
  // From --tag K=V; written as tag_K.
  std::map<std::string, std::string> tags;
};

// What a field can hold; monostate is null.
using Value = std::variant<std::monostate, std::string, int64_t, double, bool, Numbers, Strings>;

// The one table that writers, schema and `help schema` are made from, in the order of the record.
struct Field {
  std::string_view name;
  std::string_view type;  // as in JSON Schema: string integer number boolean, numbers and strings for arrays
  bool nullable;
  std::string_view group;
  std::string_view meaning;  // one line
  Value (*get)(const Result&);
  // False, and nothing changed, if the value is of another type. An integer will do for a number.
  bool (*set)(Result&, Value&&);
};
std::span<const Field> result_fields();
const Field* find_field(std::string_view name);  // null: there is none

std::string to_json_line(const Result& result);  // no newline

// Lines that stand under a table: the conclusion, where the run was saved. csv, json and jsonl leave them out.
struct Remarks {
  Strings lines;
  bool color = false;  // of a table: titles bold, failures red
};
std::string seconds_text(double seconds);  // four digits: "11.92 s", "3.910 ms", "12.30 us"
// Whether a table on stdout is coloured: `automatic` asks for a terminal, no NO_COLOR, and TERM other than dumb.
bool use_color(ColorWhen when);

void write_results(std::ostream& out, Format format, std::span<const Result> results, const Remarks& remarks = {});

// The columns of a table of records; take_constant_columns() says what they have in common.
Table lay_out(std::span<const Result> results);
std::string time_text(const Result& result);  // "11.92 s", "~41.70 s"; the status where there is no number

struct FlagMeaning {
  char letter;
  std::string_view meaning;
};
std::span<const FlagMeaning> flag_meanings();  // of Result::flags, by letter

// table (.txt), md, csv, json or jsonl by a file name's extension; throws UsageError for another.
Format format_of_file(const std::filesystem::path& path);

// A file named by -o: created when this is made, so that a wrong path fails before anything runs; what it held stays
// until write().
class OutputFile {
 public:
  // Throws UsageError if `path` cannot be written or its extension is unknown. "-" is stdout, in `stdout_format`.
  OutputFile(std::string path, Format stdout_format);
  // Throws Failure(environment) if the disk is full.
  void write(std::span<const Result> results, const Remarks& remarks) const;

 private:
  std::string path_;
  Format format_;
};

}  // namespace ringbench
