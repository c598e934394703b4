#include "harness/measure_flags.h"

#include <algorithm>
#include <cctype>

#include "harness/engines.h"
#include "harness/words.h"

namespace ringbench {

int parse_small_count(const Arguments& a, const std::string& flag, int64_t minimum) {
  const int64_t value = parse_count(a.text(flag), flag, minimum);
  if (value > 1000000) throw UsageError(flag + ": " + a.text(flag) + " is too large. The most is 1000000.");
  return static_cast<int>(value);
}

// Beyond this some OpenMP runtimes crash in place of starting threads.
int parse_threads(const Arguments& a) {
  constexpr int most = 1024;
  const int threads = parse_small_count(a, "--threads", 1);
  if (threads > most)
    throw UsageError("--threads: " + a.text("--threads") + " is too large. The most is " + std::to_string(most) + ".");
  return threads;
}

uint64_t parse_seed(const Arguments& a) { return static_cast<uint64_t>(parse_count(a.text("--seed"), "--seed", 0)); }

ColorWhen parse_color(const Arguments& a) {
  return choose<ColorWhen>(
      a.text_or("--color", "auto"),
      {{"auto", ColorWhen::automatic}, {"always", ColorWhen::always}, {"never", ColorWhen::never}});
}

Format parse_format(const std::string& word) {
  return choose<Format>(word, {{"table", Format::table},
                               {"md", Format::md},
                               {"csv", Format::csv},
                               {"json", Format::json},
                               {"jsonl", Format::jsonl},
                               {"sql", Format::sql}});
}

std::vector<std::string> parse_kernels(const std::vector<std::string>& texts, const std::vector<std::string>& engines) {
  for (const std::string& engine : engines) {
    const std::vector<std::string> table = engine_kernels(engine);
    if (table.empty())
      throw UsageError("--kernel: engine '" + engine + "' has one variant of each operator. Leave --kernel out.");
    for (const std::string& text : texts) {
      const size_t equals = text.find('=');
      const std::string op = text.substr(0, equals) + ":";
      const auto line =
          std::find_if(table.begin(), table.end(), [&](const std::string& l) { return l.starts_with(op); });
      if (equals == std::string::npos || line == table.end())
        throw UsageError("--kernel: '" + text + "' is not OPERATOR=VARIANT. See: ringbench kernels");
      if ((*line + ",").find(" " + text.substr(equals + 1) + ",") == std::string::npos)
        throw UsageError("--kernel: '" + text +
                         "' names no variant of this operator. There are: " + line->substr(op.size() + 1) + ".");
    }
  }
  return texts;
}

namespace {

void read_model(const Arguments& a, Plan& plan) {
  plan.model = a.text_or("--model", plan.model);
  plan.config_file = a.text_or("--config", "");
  plan.weights = a.text_or("--weights", "");
  plan.twin_weights = a.text_or("--twin-weights", "");
  if (a.given("--dummy"))
    plan.dummy = choose<Dummy>(a.text("--dummy"), {{"scaled", Dummy::scaled}, {"zero", Dummy::zero}});
  if (a.given("--hybrid")) plan.hybrid = split_list(a.all("--hybrid"), "--hybrid");
  if (a.given("--layers")) plan.layers = parse_count_list(a.all("--layers"), "--layers");
  if (a.given("--yarn")) plan.yarn = split_list(a.all("--yarn"), "--yarn");
  if (a.given("--slope-layer-offset"))
    plan.slope_layer_offset = parse_slope_layer_offset(a.text("--slope-layer-offset"));
  if (a.given("--rope-angles"))
    plan.rope_angles =
        choose<RopeAngles>(a.text("--rope-angles"), {{"f64", RopeAngles::f64}, {"f32", RopeAngles::f32}});
  if (a.given("--routing"))
    plan.routing =
        choose<Routing>(a.text("--routing"), {{"measured", Routing::measured}, {"uniform", Routing::uniform}});
}

void read_engine(const Arguments& a, Plan& plan) {
  if (a.given("--server") && (a.given("--engine") || a.given("--start")))
    throw UsageError("--server starts a server and measures it: leave --engine and --start out.");
  if (a.given("--engine"))
    plan.engine = split_list(a.all("--engine"), "--engine");
  else if (a.given("--server"))
    plan.engine = {"openai:http://127.0.0.1"};  // on_servers() says which
  else
    plan.engine = {default_engine()};
  check_engines(plan.engine, true);
  for (const std::string& engine : plan.engine)
    if (a.given("--dtype")) plan.dtype = parse_dtype(a.text("--dtype"), engine);
  if (a.given("--kernel")) plan.kernels = parse_kernels(a.all("--kernel"), plan.engine);
  if (a.given("--chunk")) plan.chunk = parse_tokens(a.text("--chunk"), "--chunk");
  if (a.given("--threads")) plan.threads = parse_threads(a);
  if (a.given("--parity"))
    plan.parity = choose<ParityMode>(a.text("--parity"), {{"off", ParityMode::off},
                                                          {"quick", ParityMode::quick},
                                                          {"full", ParityMode::full},
                                                          {"require", ParityMode::require}});
}

// "ttft:2s,tpot:50ms"
Goodput parse_goodput(const std::vector<std::string>& texts) {
  Goodput goodput;
  for (const std::string& word : split_list(texts, "--goodput")) {
    const size_t colon = std::min(word.find(':'), word.size());
    const std::string name = word.substr(0, colon);
    std::optional<double>* limit = name == "ttft"   ? &goodput.ttft_s
                                   : name == "tpot" ? &goodput.tpot_s
                                   : name == "e2e"  ? &goodput.e2e_s
                                                    : nullptr;
    if (limit == nullptr || colon == word.size())
      throw UsageError("--goodput: '" + word + "' is not a limit. Write ttft:2s, tpot:50ms or e2e:30s.");
    *limit = parse_duration_s(word.substr(colon + 1), "--goodput");
  }
  return goodput;
}

// The preset that the served model's name ends with: "inclusionAI/Ring-mini-linear-2.0".
std::string preset_of(const std::string& served_model) {
  std::string name = served_model.substr(served_model.rfind('/') + 1);
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
  const std::vector<std::string> presets = preset_names();
  return std::find(presets.begin(), presets.end(), name) == presets.end() ? "" : name;
}

void read_server(const Arguments& a, Plan& plan) {
  const bool served = std::any_of(plan.engine.begin(), plan.engine.end(), [](const auto& e) { return is_served(e); });
  for (const char* flag : {"--served-model", "--start", "--ready-timeout", "--rate", "--goodput", "--prompt-file"})
    if (a.given(flag) && !served)
      throw UsageError(std::string(flag) + " is for a server: --engine openai:URL.", "see: ringbench help servers");
  plan.served_model = a.text_or("--served-model", "");
  plan.start = a.text_or("--start", "");
  if (a.given("--ready-timeout")) plan.ready_timeout_s = parse_duration_s(a.text("--ready-timeout"), "--ready-timeout");
  if (a.given("--rate")) {
    plan.rate = parse_decimal(a.text("--rate"), "--rate");
    if (!(*plan.rate > 0)) throw UsageError("--rate: '" + a.text("--rate") + "' is not above 0.");
    if (!a.given("--requests")) throw UsageError("--rate needs --requests N: how many are sent.");
  }
  if (a.given("--goodput")) plan.goodput = parse_goodput(a.all("--goodput"));
  plan.prompt_file = a.text_or("--prompt-file", "");
  const bool model_is_known = plan.model != "auto" || !plan.weights.empty() || !plan.config_file.empty();
  if (!served || model_is_known || a.given("--server")) return;
  plan.model = preset_of(plan.served_model);
  if (plan.model.empty())
    throw UsageError("--engine openai:URL: which model does it serve? Its shape is not asked over HTTP.",
                     "say it with --model PRESET, --weights DIR or --config FILE");
}

// Counts, and 0 for auto.
std::vector<int64_t> parse_batch(const std::vector<std::string>& texts) {
  std::vector<int64_t> batch;
  for (const std::string& word : split_list(texts, "--batch")) {
    const std::vector<int64_t> counts = word == "auto" ? std::vector<int64_t>{0} : parse_count_list({word}, "--batch");
    batch.insert(batch.end(), counts.begin(), counts.end());
  }
  return batch;
}

void read_shard(const std::string& text, Plan& plan) {
  const size_t slash = std::min(text.find('/'), text.size());
  plan.shard = parse_count(text.substr(0, slash), "--shard", 1);
  plan.shards = slash < text.size() ? parse_count(text.substr(slash + 1), "--shard", 1) : 0;
  if (plan.shard > plan.shards)
    throw UsageError("--shard: '" + text + "' is not a part. Write I/N with I from 1 to N, such as 2/4.");
}

void read_workload(const Arguments& a, Plan& plan) {
  if (a.given("--ctx")) plan.ctx = parse_token_list(a.all("--ctx"), "--ctx", 0);
  if (a.given("--gen")) plan.gen = parse_token_list(a.all("--gen"), "--gen", 1);
  if (a.given("--batch") && a.given("--concurrency"))
    throw UsageError("--concurrency is another name for --batch: give one of them.");
  if (a.given("--batch")) plan.batch = parse_batch(a.all("--batch"));
  if (a.given("--concurrency")) plan.batch = parse_count_list(a.all("--concurrency"), "--concurrency");
  if (a.given("--requests")) plan.requests = parse_small_count(a, "--requests", 1);
  if (a.given("--memory-limit")) plan.memory_limit = parse_bytes(a.text("--memory-limit"), "--memory-limit");
  if (a.given("--depth-fill"))
    plan.depth_fill = choose<DepthFill>(
        a.text("--depth-fill"),
        {{"auto", DepthFill::automatic}, {"real", DepthFill::real}, {"synthetic", DepthFill::synthetic}});
  if (a.given("--seed")) plan.seed = parse_seed(a);
  if (a.given("--zip")) plan.zip = a.all("--zip");
  if (a.given("--where")) plan.where = a.all("--where");
}

// Samples a second: a whole number up to 1000.
double parse_rate(const std::string& text) {
  const int64_t rate = parse_count(text, "--telemetry", 0);
  if (rate > 1000) throw UsageError("--telemetry: " + text + " is too large. The most is 1000.");
  return static_cast<double>(rate);
}

void read_method(const Arguments& a, Plan& plan, Command command) {
  if (a.given("--reps") && a.text("--reps") != "auto") plan.reps = parse_small_count(a, "--reps", 1);
  if (a.given("--warmup") && a.text("--warmup") != "auto") plan.warmup = parse_small_count(a, "--warmup", 0);
  if (a.given("--ci")) plan.ci = parse_percent(a.text("--ci"), "--ci") / 100;
  if (a.given("--time-budget")) plan.time_budget_s = parse_duration_s(a.text("--time-budget"), "--time-budget");
  if (a.given("--total-budget") && a.text("--total-budget") != "unlimited")
    plan.total_budget_s = parse_duration_s(a.text("--total-budget"), "--total-budget");
  if (a.given("--estimate"))
    plan.estimate = choose<EstimateMode>(a.text("--estimate"), {{"never", EstimateMode::never},
                                                                {"auto", EstimateMode::automatic},
                                                                {"always", EstimateMode::always},
                                                                {"groups", EstimateMode::groups}});
  plan.full = a.has("--full");
  if (a.given("--telemetry")) plan.telemetry_hz = parse_rate(a.text("--telemetry"));
  plan.energy = !a.has("--no-energy");
  if (a.given("--isolate"))
    plan.isolate = choose<Isolation>(
        a.text("--isolate"), {{"off", Isolation::off}, {"warn", Isolation::warn}, {"require", Isolation::require}});
  plan.interleave = a.has("--interleave");
  plan.keep_going = a.has("--keep-going") || !a.has("--fail-fast");
  plan.dry_run = a.has("--dry-run");
  set_command_defaults(plan, command, a.given("--total-budget"));
}

void read_tags(const Arguments& a, Plan& plan) {
  for (const std::string& tag : a.all("--tag")) {
    const size_t equals = tag.find('=');
    const std::string key = tag.substr(0, equals);
    const bool good_key =
        !key.empty() &&
        key.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == std::string::npos;
    if (equals == std::string::npos || !good_key)
      throw UsageError("--tag: write KEY=VALUE with a key of letters, digits and _; got '" + tag + "'.");
    plan.tags[key] = tag.substr(equals + 1);
  }
}

void read_output(const Arguments& a, Plan& plan) {
  plan.format = a.has("--json") ? Format::json : parse_format(a.text_or("--format", "table"));
  plan.outputs = a.all("--output");
  plan.results = a.text_or("--results", plan.results);
  plan.save = !a.has("--no-save");
  if (a.given("--resume")) plan.resume = a.text("--resume");
  if (a.given("--retry"))
    plan.retry = choose<Retry>(a.text("--retry"), {{"none", Retry::none},
                                                   {"failed", Retry::failed},
                                                   {"oom", Retry::oom},
                                                   {"timeout", Retry::timeout},
                                                   {"all", Retry::all}});
  plan.mix_builds = a.has("--mix-builds");
  if (a.given("--shard")) read_shard(a.text("--shard"), plan);
  if (!plan.save && plan.resume) throw UsageError("--resume needs the run's records: leave --no-save out.");
  if (!plan.resume && plan.retry != Retry::none) throw UsageError("--retry goes with --resume.");
  read_tags(a, plan);
  plan.color = parse_color(a);
  plan.quiet = a.has("--quiet");
  plan.verbose = a.has("--verbose");
  plan.progress = !a.has("--no-progress") && !plan.quiet;
}

}  // namespace

Plan read_plan(const Arguments& a, Command command) {
  Plan plan;
  read_model(a, plan);
  read_engine(a, plan);
  read_server(a, plan);
  read_workload(a, plan);
  read_method(a, plan, command);
  read_output(a, plan);
  return plan;
}

}  // namespace ringbench
