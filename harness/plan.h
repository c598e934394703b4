// plan.h: what was asked for: every flag as a plain field, and the grid of points that follows from them.
// Not how points are measured (run.h), and nothing about how the command line is read (main.cpp).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/failure.h"
#include "harness/words.h"
#include "reference/config.h"
#include "reference/engine.h"
#include "reference/weights.h"

namespace ringbench {

enum class Command { throughput, prefill, decode, e2e };
std::string_view name_of(Command command);

enum class DepthFill { automatic, real, synthetic };  // automatic: synthetic where the prefill is estimated, else real
enum class EstimateMode { never, automatic, always, groups };
enum class ParityMode { off, quick, full, require };
enum class Isolation { off, warn, require };
enum class Retry { none, failed, oom, timeout, all };  // which points without a number a resumed run tries again
enum class Format { table, md, csv, json, jsonl, sql };
enum class ColorWhen { automatic, always, never };

// How long a request may take to count as served well; empty: as long as it likes.
struct Goodput {
  std::optional<double> ttft_s, tpot_s, e2e_s;
};

struct Plan {
  // The model.
  std::string model = "auto";                // preset, checkpoint folder, or repository in the Hugging Face cache
  std::string config_file;                   // a config.json instead of a preset
  std::string weights;                       // checkpoint folder; empty: random weights
  std::string twin_weights;                  // checkpoint of the softmax twin
  Dummy dummy = Dummy::scaled;               // how random weights are made
  std::vector<std::string> hybrid;           // empty: "model", and for throughput "model", "softmax"
  std::vector<int64_t> layers;               // empty: the model's own depth
  std::vector<std::string> yarn = {"auto"};  // auto, off, FACTOR[:ORIGINAL]
  std::optional<SlopeLayerOffset> slope_layer_offset;  // empty: as the config says
  RopeAngles rope_angles = RopeAngles::f64;
  Routing routing = Routing::measured;

  // The engine.
  std::vector<std::string> engine = {"reference"};
  std::optional<DType> dtype;        // empty: the engine's default (engines.h)
  std::optional<int64_t> chunk;      // tokens a prefill chunk; 0: one shot; empty: the engine's default
  std::vector<std::string> kernels;  // "operator=variant": forced
  int threads = 0;                   // 0: physical cores
  ParityMode parity = ParityMode::quick;

  // An engine that is a server (openai:URL).
  std::string served_model;       // empty: the only one that it serves
  std::string start;              // a command that starts it; empty: it is there
  double ready_timeout_s = 1800;  // of that command
  std::optional<double> rate;     // requests a second, at random; empty: as many as `batch` at any time
  std::optional<Goodput> goodput;
  std::string prompt_file;  // a text that prompts are cut from; empty: random tokens

  // The workload.
  std::vector<int64_t> ctx = {8192};
  std::vector<int64_t> gen = {128};
  std::vector<int64_t> batch = {1};     // 0: auto, as many of `requests` as fit into memory
  std::optional<int64_t> requests;      // sequences in all; empty: = batch
  std::optional<int64_t> memory_limit;  // bytes that batch auto may fill; empty: nine tenths of what is free
  DepthFill depth_fill = DepthFill::automatic;
  uint64_t seed = 0;
  std::vector<std::string> zip;    // groups of axes that advance together, such as "ctx,batch"
  std::vector<std::string> where;  // conditions that a point must meet, such as "ctx*batch<=4M"

  // The method.
  std::optional<int> reps;               // empty: auto
  std::optional<int> warmup;             // passes; empty: auto
  double ci = 0.02;                      // half-width of the 95 % interval, relative to the median, at which auto stops
  double time_budget_s = 600;            // for each point
  std::optional<double> total_budget_s;  // empty: unlimited
  EstimateMode estimate = EstimateMode::automatic;
  bool full = false;                    // run every token, no budgets (set_command_defaults has applied it)
  double telemetry_hz = 10;             // samples a second of clocks, power and energy; 0: none
  bool energy = true;                   // where the hardware tells
  Isolation isolate = Isolation::warn;  // other processes on the GPU
  bool interleave = false;              // repetitions of points that are compared take turns
  bool keep_going = true;
  bool dry_run = false;

  // What becomes of the numbers.
  Format format = Format::table;
  std::vector<std::string> outputs;  // files, by extension; "-": stdout
  std::string results = "results/runs";
  bool save = true;
  std::optional<std::string> resume;  // the run to go on with; "": the latest
  Retry retry = Retry::none;          // of a resumed run
  bool mix_builds = false;            // a resumed run may be another build's
  int64_t shard = 1, shards = 1;      // this process takes the shard-th of so many parts
  std::map<std::string, std::string> tags;
  ColorWhen color = ColorWhen::automatic;
  bool quiet = false, verbose = false, progress = true;

  std::vector<std::string> argv;  // as typed, program name first: provenance
};

// What depends on command and engines: the hybrid list, the total budget of throughput (150 s on the reference),
// --full. `total_budget_given` is false where the flag was absent.
void set_command_defaults(Plan& plan, Command command, bool total_budget_given);

// The points of one command's flags.
struct Grid {
  Command command = Command::prefill;
  Plan plan;
};

// One measurement. Everything is resolved: the config has its ratio, depth, YaRN and slope offset.
struct Point {
  std::string id;     // 16 hex digits of what was asked for, not of engine, dtype, chunk, threads or machine
  std::string phase;  // "prefill", "decode", "e2e"
  std::string engine;
  DType dtype = DType::f32;
  int64_t chunk = 512;
  ModelConfig config;
  std::string config_sha;             // of config, kept because many points ask for it often
  std::filesystem::path checkpoint;   // empty: random weights
  std::string hybrid;                 // "4:1", "softmax", "linear" or a pattern
  int64_t ctx = 0;                    // prompt tokens; for decode the tokens in the cache
  int64_t gen = 0;                    // 0 for prefill
  int64_t batch = 1, requests = 1;    // batch 0: auto; run.cpp resolves it, the id keeps "auto"
  int64_t replica = 0;                // of an engine of several servers, counted from 1; 0: all of them together
  int64_t memory_limit = 0;           // bytes that batch auto was chosen to fit into; 0: the batch was given
  size_t grid = 0;                    // that it belongs to
  double yarn_factor = 1.0;           // 1: no YaRN
  int64_t yarn_original = 0;          // 0: no YaRN
  bool beyond_window = false;         // flag X
  std::vector<std::string> warnings;  // "W-CODE: text"
  std::string error;  // not empty: this point cannot be run (its row says so); config is then the model's own

  // Positions that one sequence needs.
  int64_t tokens() const { return ctx + gen; }
};

// All points of the grids, in the order in which they are to be shown. Equal points appear once. A point of several
// servers is followed by one for each of them that gets a request. A point whose config
// cannot be made has `error` set if there are others that can; throws UsageError if there is no point that can, or if
// there are more than a million (before any is made).
std::vector<Point> expand(const std::vector<Grid>& grids);
std::vector<Point> expand(const Plan& plan, Command command);

// The engine that a point's row names: of a replica its own URL alone, else the point's.
std::string row_engine(const Point& point);
// Of `count` requests those that are the point's: a replica's share of them, else all.
int64_t own_share(const Point& point, int64_t count);

// What is unique among the points of a run: id, row_engine(), dtype and chunk. As record_key() of records.h says of its
// record.
std::string point_key(const Point& point);
// Equal for points that are compared with each other: they differ in nothing but their layers.
std::string comparison_key(const Point& point);

// As a shell reads it back.
std::string shell_word(const std::string& text);

// The value of --yarn that gives this point's: "off", "4:4096".
std::string yarn_word(const Point& point);

// The same point as a command line, for the record's `repro`.
std::string repro_command(const Plan& plan, const Point& point);

// --- Models ---

struct Model {
  ModelConfig config;                // as published, no ratio or YaRN applied
  std::filesystem::path checkpoint;  // empty: none was named
};

// Throws UsageError listing the presets, with the nearest one suggested.
Model resolve_model(const std::string& model, const std::string& config_file, const std::string& weights);

// The model at another depth (empty: its own) and ratio (as --hybrid takes it). Throws UsageError or ConfigError if
// they do not fit.
ModelConfig with_layout(const ModelConfig& model, std::optional<int64_t> layers, const std::string& hybrid);

// Applies auto, off or FACTOR[:ORIGINAL] for a context of `ctx` tokens. Appends what the user should know to
// `warnings` ("W-YARN: ..."). Throws UsageError for another text.
void apply_yarn(ModelConfig& config, const std::string& yarn, int64_t ctx, std::vector<std::string>& warnings);

// "needs 208.3 GiB (weights 194.1, KV 12.6, state 0.2, workspace 1.4), device has 139.0 free." The caller adds advice.
std::string too_little_memory(const Memory& needed, int64_t available_bytes);

// configs/: $RINGBENCH_CONFIGS, ../share/ringbench/configs beside the executable, or the source tree's.
std::filesystem::path configs_folder();
std::vector<std::string> preset_names();  // sorted

}  // namespace ringbench
