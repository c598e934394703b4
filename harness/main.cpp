// main.cpp: from arguments to a Plan or a request of one command, and from whatever goes wrong to one line and an exit
// code. What flags there are is in commands.cpp, how they are read in arguments.h and measure_flags.h.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <new>
#include <string>
#include <vector>

#include "cuda/gpu.h"
#include "harness/arguments.h"
#include "harness/case_command.h"
#include "harness/claims.h"
#include "harness/commands.h"
#include "harness/compare.h"
#include "harness/doctor.h"
#include "harness/engines.h"
#include "harness/estimate_command.h"
#include "harness/eval.h"
#include "harness/eval_task.h"
#include "harness/failure.h"
#include "harness/figures_command.h"
#include "harness/grade_command.h"
#include "harness/help.h"
#include "harness/info.h"
#include "harness/logits.h"
#include "harness/loss.h"
#include "harness/measure.h"
#include "harness/measure_flags.h"
#include "harness/parity.h"
#include "harness/plan.h"
#include "harness/report.h"
#include "harness/run.h"
#include "harness/runs.h"
#include "harness/score.h"
#include "harness/server_recipe.h"
#include "harness/sweep.h"
#include "harness/tokenize.h"
#include "harness/validate.h"
#include "harness/words.h"

namespace ringbench {
namespace {

// libgomp reads OMP_WAIT_POLICY when it is loaded, before main: threads that spin while they wait would disturb
// what is measured. So the program is started once more with it set.
void restart_with_passive_waiting(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("OMP_WAIT_POLICY", "passive", 0);
  execv("/proc/self/exe", argv);  // comes back only if it failed; then it runs as it is
}

std::vector<std::string> all_words(char** argv) {
  std::vector<std::string> words;
  for (char** word = argv; *word != nullptr; ++word) words.emplace_back(*word);
  return words;
}

// With --server, the grids as those servers run them.
std::vector<Grid> as_served(const Arguments& a, const std::vector<Grid>& grids) {
  return a.given("--server") ? on_servers(grids, split_list(a.all("--server"), "--server")) : grids;
}

int measure(const Arguments& a, Command command, char** argv) {
  a.refuse_words(0);
  Plan plan = read_plan(a, command);
  plan.argv = all_words(argv);
  const RunRequest request{std::string(name_of(command)), as_served(a, {{command, plan}})};
  restart_with_passive_waiting(argv);
  install_signal_handlers();
  return static_cast<int>(run_measurements(request));
}

int info(const Arguments& a) {
  a.refuse_words(0);
  InfoRequest request;
  request.model = a.text_or("--model", "auto");
  request.config_file = a.text_or("--config", "");
  request.weights = a.text_or("--weights", "");
  request.hybrid = a.text_or("--hybrid", "model");
  request.yarn = a.text_or("--yarn", "auto");
  if (a.given("--layers")) request.layers = parse_small_count(a, "--layers", 1);
  if (a.given("--slope-layer-offset"))
    request.slope_layer_offset = parse_slope_layer_offset(a.text("--slope-layer-offset"));
  if (a.given("--ctx")) request.ctx = parse_tokens(a.text("--ctx"), "--ctx");
  if (a.given("--batch")) request.batch = parse_small_count(a, "--batch", 1);
  if (const std::string dtype = a.text_or("--dtype", "bf16"); dtype != "bf16")
    request.dtype = parse_dtype(dtype, "reference");
  request.json = a.has("--json") || a.text_or("--format", "table") == "json";
  write_info(std::cout, request);
  return 0;
}

int logits(const Arguments& a, char** argv) {
  a.refuse_words(0);
  LogitsRequest request;
  for (const char* flag : {"--tokens", "--out"})
    if (!a.given(flag)) throw UsageError(std::string(flag) + " FILE is missing.", "see: ringbench help logits");
  request.model = a.text_or("--model", "auto");
  request.config_file = a.text_or("--config", "");
  request.weights = a.text_or("--weights", "");
  request.tokens = a.text("--tokens");
  request.out = a.text("--out");
  request.engine = a.text_or("--engine", "reference");
  check_engines({request.engine}, false);
  request.dtype = a.given("--dtype") ? parse_dtype(a.text("--dtype"), request.engine) : default_dtype(request.engine);
  request.chunk = a.given("--chunk") ? parse_tokens(a.text("--chunk"), "--chunk") : default_chunk(request.engine);
  request.yarn = a.text_or("--yarn", "auto");
  if (a.given("--slope-layer-offset"))
    request.slope_layer_offset = parse_slope_layer_offset(a.text("--slope-layer-offset"));
  if (a.text_or("--rope-angles", "f64") == "f32") request.rope_angles = RopeAngles::f32;
  if (a.given("--threads")) request.threads = parse_threads(a);
  if (a.given("--seed")) request.seed = parse_seed(a);
  restart_with_passive_waiting(argv);
  write_logits(request);
  return 0;
}

int emit_cases(const Arguments& a) {
  EmitRequest request;
  request.folder = a.text("--emit");
  if (a.given("--op")) request.ops = split_list(a.all("--op"), "--op");
  if (a.given("--shapes")) request.shapes = split_list(a.all("--shapes"), "--shapes");
  request.quiet = a.has("--quiet");
  request.progress = !a.has("--no-progress");
  return static_cast<int>(run_emit(request));
}

int judge_candidates(const Arguments& a) {
  JudgeRequest request;
  for (const std::string& text : a.all("--load")) {
    const auto candidate = parse_candidate(text);
    if (!candidate) throw UsageError("--load: '" + text + "' has no name beside others that have one; write NAME=DIR.");
    request.candidates.push_back(*candidate);
  }
  request.cases = a.text_or("--cases", request.cases);
  if (a.given("--op") && a.text("--op") != "all") request.ops = split_list(a.all("--op"), "--op");
  if (a.given("--rounding")) request.rounding = split_list(a.all("--rounding"), "--rounding");
  request.format = a.has("--json") ? Format::json : parse_format(a.text_or("--format", "table"));
  request.outputs = a.all("--output");
  request.results = a.text_or("--results", request.results);
  request.quiet = a.has("--quiet");
  request.progress = !a.has("--no-progress");
  return static_cast<int>(run_judge(request));
}

int parity(const Arguments& a, char** argv) {
  a.refuse_words(0);
  if (a.given("--emit")) return emit_cases(a);
  if (a.given("--load") && parse_candidate(a.all("--load").front())) return judge_candidates(a);
  if (a.given("--load") && a.all("--load").size() > 1)
    throw UsageError("--load: one dump of an engine at a time; outputs of cases have names: NAME=DIR.");
  for (const char* flag : {"--op", "--shapes", "--cases", "--rounding"})
    if (a.given(flag)) throw UsageError(std::string(flag) + " goes with --emit DIR or --load NAME=DIR.");
  ParityRequest request;
  request.model = a.text_or("--model", "auto");
  request.config_file = a.text_or("--config", "");
  request.weights = a.text_or("--weights", "");
  request.hybrid = a.text_or("--hybrid", "model");
  request.yarn = a.text_or("--yarn", "auto");
  if (a.given("--slope-layer-offset"))
    request.slope_layer_offset = parse_slope_layer_offset(a.text("--slope-layer-offset"));
  request.engine = a.text_or("--engine", default_engine() == "cuda" ? "cuda" : "emulated");
  check_engines({request.engine}, false);
  if (a.given("--dtype")) request.dtype = parse_dtype(a.text("--dtype"), request.engine);
  if (a.given("--kernel")) request.kernels = parse_kernels(a.all("--kernel"), {request.engine});
  if (a.text_or("--rope-angles", "f64") == "f32") request.rope_angles = RopeAngles::f32;
  if (a.text_or("--routing", "measured") == "uniform") request.routing = Routing::uniform;
  if (a.given("--threads")) request.threads = parse_threads(a);
  if (a.given("--seed")) request.seed = parse_seed(a);
  if (a.given("--level")) request.levels = split_list(a.all("--level"), "--level");
  if (a.given("--ctx")) request.ctx = parse_token_list(a.all("--ctx"), "--ctx", 1);
  if (a.given("--layers"))
    for (const std::string& layer : split_list(a.all("--layers"), "--layers"))
      request.layers.push_back(parse_count(layer, "--layers", 0));
  if (a.given("--chunk")) request.chunk = parse_tokens(a.text("--chunk"), "--chunk");
  request.fail_fast = a.has("--fail-fast");
  request.bisect = a.has("--bisect");
  request.self_test = a.has("--self-test");
  if (a.given("--ablate")) request.ablate = split_list(a.all("--ablate"), "--ablate");
  request.save = a.text_or("--save", "");
  request.load = a.text_or("--load", "");
  request.names = a.text_or("--names", "");
  request.format = a.has("--json") ? Format::json : parse_format(a.text_or("--format", "table"));
  request.outputs = a.all("--output");
  request.results = a.text_or("--results", request.results);
  request.keep = !a.has("--no-save");
  request.quiet = a.has("--quiet");
  request.verbose = a.has("--verbose");
  request.progress = !a.has("--no-progress") && !request.quiet;
  restart_with_passive_waiting(argv);
  return static_cast<int>(run_parity(request));
}

int kernels(const Arguments& a) {
  a.refuse_words(0);
  const std::string engine = a.text_or("--engine", "emulated");
  if (engine == "reference") throw UsageError("kernels: the reference has one variant of each operator.");
  check_engines({engine}, false);
  for (const std::string& line : engine_kernels(engine)) std::cout << line << "\n";
  return 0;
}

// --- sweep ---

const CommandLine& find_command(const std::string& name);

int sweep_main(const Arguments& a, char** argv) {
  a.refuse_words(1);
  if (a.has("--list")) {
    write_sweeps(std::cout);
    return 0;
  }
  if (a.given("--plan") == !a.words().empty())
    throw UsageError("sweep: which plan? Give a name or --plan FILE.", "sweeps: " + join(sweep_names(), ", "));
  const SweepPlan sweep = a.given("--plan") ? read_sweep_file(a.text("--plan")) : read_sweep(a.words().front());
  if (a.has("--print-plan")) {
    std::cout << sweep.text;
    return 0;
  }
  const std::vector<std::string> engines =
      a.given("--engine") ? split_list(a.all("--engine"), "--engine") : std::vector{default_engine()};
  const bool cpu = !a.given("--server") && std::all_of(engines.begin(), engines.end(), [](const std::string& engine) {
    return engine == "reference" || engine == "emulated";
  });
  RunRequest request{sweep.name, {}};
  for (const SweepWords& grid : words_of_grids(
           sweep, a.flag_words({"--plan", "--print-plan", "--list", "--find-crossover", "--validate"}), cpu)) {
    Plan plan = read_plan(Arguments(find_command(std::string(name_of(grid.command))), grid.words), grid.command);
    if (!a.given("--total-budget")) plan.total_budget_s.reset();  // that of `throughput` is for a single question
    request.grids.push_back({grid.command, std::move(plan)});
  }
  request.grids = as_served(a, request.grids);
  request.grids.front().plan.argv = all_words(argv);
  restart_with_passive_waiting(argv);
  install_signal_handlers();
  return static_cast<int>(a.has("--validate")         ? run_validation(request)
                          : a.has("--find-crossover") ? find_crossovers(request)
                                                      : run_measurements(request));
}

// --- estimate ---

int estimate_main(const Arguments& a, [[maybe_unused]] char** argv) {
  a.refuse_words(0);
  EstimateRequest request;
  request.model = a.text_or("--model", request.model);
  request.config_file = a.text_or("--config", "");
  request.weights = a.text_or("--weights", "");
  if (a.given("--hybrid")) request.hybrid = split_list(a.all("--hybrid"), "--hybrid");
  if (a.given("--layers")) request.layers = parse_small_count(a, "--layers", 1);
  if (a.given("--phase")) request.phases = split_list(a.all("--phase"), "--phase");
  if (a.given("--ctx")) request.ctx = parse_token_list(a.all("--ctx"), "--ctx", 0);
  if (a.given("--gen")) request.gen = parse_token_list(a.all("--gen"), "--gen", 1);
  if (a.given("--batch")) request.batch = parse_count_list(a.all("--batch"), "--batch");
  if (a.given("--requests")) request.requests = parse_small_count(a, "--requests", 1);
  if (a.given("--dtype")) request.dtype = parse_estimate_dtype(a.text("--dtype"));
  if (a.given("--chunk")) request.chunk = parse_tokens(a.text("--chunk"), "--chunk");
  request.device = a.text_or("--device", "");
  request.results = a.text_or("--results", request.results);
  request.format = a.has("--json") ? Format::json : parse_format(a.text_or("--format", "table"));
  run_estimate(std::cout, request);
  return 0;
}

// --- loss ---

int loss_main(const Arguments& a, char** argv) {
  a.refuse_words(0);
  LossRequest request;
  request.model = a.text_or("--model", request.model);
  request.config_file = a.text_or("--config", "");
  request.weights = a.text_or("--weights", "");
  request.text = a.text_or("--text", "");
  request.tokens = a.text_or("--tokens", "");
  if (a.given("--ctx")) request.ctx = parse_token_list(a.all("--ctx"), "--ctx", 2);
  if (a.given("--windows")) request.max_windows = parse_count(a.text("--windows"), "--windows");
  request.compare = a.text_or("--compare", "");
  if (a.given("--yarn")) request.yarn = split_list(a.all("--yarn"), "--yarn");
  if (a.given("--slope-layer-offset"))
    request.slope_layer_offset = parse_slope_layer_offset(a.text("--slope-layer-offset"));
  if (a.text_or("--rope-angles", "f64") == "f32") request.rope_angles = RopeAngles::f32;
  request.engine = a.text_or("--engine", request.engine);
  check_engines({request.engine}, false);
  request.dtype = a.given("--dtype") ? parse_dtype(a.text("--dtype"), request.engine) : default_dtype(request.engine);
  if (a.given("--chunk")) request.chunk = parse_tokens(a.text("--chunk"), "--chunk");
  if (a.given("--threads")) request.threads = parse_threads(a);
  if (a.given("--seed")) request.seed = parse_seed(a);
  request.format = a.has("--json") ? Format::json : parse_format(a.text_or("--format", "table"));
  request.outputs = a.all("--output");
  request.quiet = a.has("--quiet");
  request.progress = !a.has("--no-progress");
  restart_with_passive_waiting(argv);
  install_signal_handlers();
  return static_cast<int>(run_loss(request));
}

int tokenize_main(const Arguments& a) {
  a.refuse_words(0);
  for (const char* flag : {"--model", "--in", "--out"})
    if (!a.given(flag))
      throw UsageError(std::string(flag) + (flag[2] == 'm' ? " DIR" : " FILE") + " is missing.",
                       "see: ringbench help tokenize");
  TokenizeRequest request;
  request.model = a.text("--model");
  request.in = a.text("--in");
  request.out = a.text("--out");
  request.decode = a.has("--decode");
  request.skip_special = a.has("--skip-special");
  if (request.skip_special && !request.decode) throw UsageError("--skip-special: only with --decode.");
  run_tokenize(request);
  return 0;
}

// --- eval ---

int eval_main(const Arguments& a, char** argv) {
  a.refuse_words(1);
  if (a.has("--list")) {
    write_eval_tasks(std::cout);
    return 0;
  }
  if (a.words().empty())
    throw UsageError("eval: which task, or which file of questions?", "see: ringbench eval --list");
  EvalRequest request;
  request.task = a.words().front();
  request.plan = read_plan(a, Command::e2e);
  if (request.plan.engine.size() > 1) throw UsageError("--engine: eval takes one.");
  request.plan.argv = all_words(argv);
  request.data = a.text_or("--data", "");
  if (a.given("--weights")) request.weights = split_list(a.all("--weights"), "--weights");
  request.model = a.text_or("--model", request.model);
  request.config_file = a.text_or("--config", "");
  if (a.given("--n")) request.samples = parse_small_count(a, "--n", 1);
  if (a.given("--limit")) request.limit = parse_count(a.text("--limit"), "--limit", 1);
  request.prompt = a.text_or("--prompt", "");
  request.chat_format = a.text_or("--chat-format", request.chat_format);
  request.thinking = choose<Thinking>(a.text_or("--thinking", "model"),
                                      {{"model", Thinking::model}, {"on", Thinking::on}, {"off", Thinking::off}});
  if (a.given("--metric")) request.metrics = split_list(a.all("--metric"), "--metric");
  if (a.given("--published")) request.published = parse_percent(a.text("--published"), "--published");
  request.grading = {a.has("--last-number"), a.has("--allow-exec")};
  request.allow_unparsable_gold = a.has("--allow-unparsable-gold");
  for (const auto& [flag, number] :
       {std::pair("--temperature", &request.temperature), std::pair("--top-p", &request.top_p),
        std::pair("--min-p", &request.min_p), std::pair("--repetition-penalty", &request.repetition_penalty)})
    if (a.given(flag)) *number = parse_decimal(a.text(flag), flag);
  if (a.given("--top-k")) request.top_k = parse_count(a.text("--top-k"), "--top-k", 0);
  if (a.given("--stop")) request.stop_strings = a.all("--stop");
  if (a.given("--max-new-tokens"))
    request.max_new_tokens = parse_tokens(a.text("--max-new-tokens"), "--max-new-tokens", 1);
  if (a.given("--slots")) request.slots = parse_small_count(a, "--slots", 1);
  restart_with_passive_waiting(argv);
  install_signal_handlers();
  return static_cast<int>(run_eval(request));
}

// --- grade ---

int grade_main(const Arguments& a) {
  a.refuse_words(0);
  for (const char* flag : {"--in", "--out"})
    if (!a.given(flag)) throw UsageError(std::string(flag) + " FILE is missing.", "see: ringbench help grade");
  GradeRequest request;
  request.in = a.text("--in");
  request.out = a.text("--out");
  request.kind = a.text_or("--kind", request.kind);
  request.last_number = a.has("--last-number");
  request.allow_unparsable_gold = a.has("--allow-unparsable-gold");
  return static_cast<int>(run_grade(request, std::cout));
}

// --- score ---

int score_main(const Arguments& a) {
  a.refuse_words(1);
  if (a.words().empty()) throw UsageError("score: which file of verdicts or counts?", "see: ringbench help score");
  ScoreRequest request;
  request.file = a.words()[0];
  request.against = a.text_or("--against", "");
  request.gold = a.text_or("--gold", "");
  request.kind = a.text_or("--kind", "");
  request.grading = {a.has("--last-number"), a.has("--allow-exec")};
  request.allow_unparsable_gold = a.has("--allow-unparsable-gold");
  if (a.given("--metric")) request.metrics = split_list(a.all("--metric"), "--metric");
  if (a.given("--published")) request.published = parse_percent(a.text("--published"), "--published");
  request.format = a.has("--json") ? Format::json : parse_format(a.text_or("--format", "table"));
  return static_cast<int>(run_score(request, std::cout));
}

// --- compare ---

int compare_main(const Arguments& a, char**) {
  a.refuse_words(2);
  if (a.words().size() != 2)
    throw UsageError("compare: which two runs? Give two run ids, runs' folders or .jsonl files.",
                     "see: ringbench help compare; ringbench runs list");
  CompareRequest request;
  request.first = a.words()[0];
  request.second = a.words()[1];
  request.results = a.text_or("--results", request.results);
  if (a.given("--across")) request.options.across = split_list(a.all("--across"), "--across");
  if (a.given("--threshold")) request.options.threshold = parse_percent(a.text("--threshold"), "--threshold") / 100;
  if (a.given("--by")) request.options.by = split_list(a.all("--by"), "--by");
  if (a.given("--fail-on")) request.fail_on = split_list(a.all("--fail-on"), "--fail-on");
  request.format = a.has("--json") ? Format::json : parse_format(a.text_or("--format", "table"));
  request.outputs = a.all("--output");
  request.color = parse_color(a);
  return static_cast<int>(run_compare(request));
}

// --- figures ---

int figures_main(const Arguments& a, [[maybe_unused]] char** argv) {
  FiguresRequest request;
  request.figures = a.words();
  if (a.has("--all") && !request.figures.empty())
    throw UsageError("figures: --all and names of figures exclude each other.");
  request.runs = a.given("--run") ? split_list(a.all("--run"), "--run") : Strings();
  request.results = a.text_or("--results", request.results.string());
  request.options.mode = a.text_or("--mode", request.options.mode);
  if (a.given("--format")) request.options.formats = split_list(a.all("--format"), "--format");
  request.options.width = a.text_or("--width", "");
  request.options.folder = a.text_or("--output", "");
  return static_cast<int>(run_figures(request, std::cout, std::cerr));
}

// --- claims ---

int claims_main(const Arguments& a) {
  a.refuse_words(0);
  ClaimsRequest request;
  request.runs = split_list(a.all("--run"), "--run");
  request.results = a.text_or("--results", request.results);
  request.rule = a.has("--rule");
  request.fail_on_not_reproduced = a.text_or("--fail-on", "none") == "not-reproduced";
  request.format = a.has("--json") ? Format::json : parse_format(a.text_or("--format", "table"));
  request.outputs = a.all("--output");
  return static_cast<int>(run_claims(request));
}

// --- report ---

int report_main(const Arguments& a, [[maybe_unused]] char** argv) {
  a.refuse_words(0);
  ReportRequest request;
  if (a.given("--run")) request.runs = split_list(a.all("--run"), "--run");
  request.results = a.text_or("--results", request.results);
  request.output = a.text_or("--output", "");
  request.quiet = a.has("--quiet");
  return static_cast<int>(run_report(request));
}

// --- runs ---

int runs_main(const Arguments& a, char** argv) {
  if (a.words().empty())
    throw UsageError("runs: which action? Use list, show, verify, merge, import or export.",
                     "see: ringbench help runs");
  RunsRequest request;
  request.action = a.words()[0];
  request.words = {a.words().begin() + 1, a.words().end()};
  request.results = a.text_or("--results", request.results);
  request.format = a.has("--json") ? Format::json : parse_format(a.text_or("--format", "table"));
  request.to = a.text_or("--to", "");
  request.outputs = a.all("--output");
  request.mix_builds = a.has("--mix-builds");
  request.color = parse_color(a);
  for (char** word = argv; *word != nullptr; ++word) request.argv.emplace_back(*word);
  return static_cast<int>(run_runs(request));
}

// --- doctor ---

int doctor_main(const Arguments& a, char** argv) {
  a.refuse_words(0);
  DoctorRequest request;
  request.engine = a.text_or("--engine", default_engine());
  request.calibrate = a.has("--calibrate");
  if (a.given("--threads")) request.threads = parse_threads(a);
  request.results = a.text_or("--results", request.results.string());
  request.json = a.has("--json") || a.text_or("--format", "table") == "json";
  request.progress = !a.has("--quiet");
  if (request.calibrate) restart_with_passive_waiting(argv);
  return static_cast<int>(run_doctor(request));
}

int help(const Arguments& a) {
  a.refuse_words(1);
  std::cout << (a.words().empty() ? help_overview() : help_topic(a.words().front()));
  return 0;
}

int completion(const Arguments& a) {
  a.refuse_words(1);
  if (a.words().empty()) throw UsageError("completion: which shell? Use bash, zsh or fish.");
  std::cout << completion_script(a.words().front());
  return 0;
}

const CommandLine& find_command(const std::string& name) {
  std::vector<std::string> names;
  for (const CommandLine& command : command_lines()) {
    if (command.name == name) return command;
    names.push_back(command.name);
  }
  const std::string near = nearest_word(name, names);
  throw UsageError(
      (name.starts_with('-') ? "unknown flag " + name + " before the command." : "unknown command '" + name + "'.") +
          (near.empty() ? "" : " Did you mean " + near + "?"),
      "commands: " + join(names, ", "));
}

int dispatch(int argc, char** argv) {
  if (argc < 2) throw UsageError("which command? Try 'ringbench throughput --ctx 384k' or 'ringbench help'.");
  std::string name = argv[1];
  if (name == "--help" || name == "-h") name = "help";
  if (name == "--version") name = "version";
  const CommandLine& command = find_command(name);
  const Arguments arguments(command, {argv + 2, argv + argc});
  if (arguments.has("--help")) {
    std::cout << help_command(command);
    return 0;
  }
  if (name == "info") return info(arguments);
  if (name == "logits") return logits(arguments, argv);
  if (name == "parity") return parity(arguments, argv);
  if (name == "kernels") return kernels(arguments);
  if (name == "sweep") return sweep_main(arguments, argv);
  if (name == "estimate") return estimate_main(arguments, argv);
  if (name == "loss") return loss_main(arguments, argv);
  if (name == "tokenize") return tokenize_main(arguments);
  if (name == "eval") return eval_main(arguments, argv);
  if (name == "grade") return grade_main(arguments);
  if (name == "score") return score_main(arguments);
  if (name == "compare") return compare_main(arguments, argv);
  if (name == "figures") return figures_main(arguments, argv);
  if (name == "claims") return claims_main(arguments);
  if (name == "report") return report_main(arguments, argv);
  if (name == "runs") return runs_main(arguments, argv);
  if (name == "doctor") return doctor_main(arguments, argv);
  if (name == "help") return help(arguments);
  if (name == "completion") return completion(arguments);
  if (name == "version") {
    arguments.refuse_words(0);
    write_version(std::cout, arguments.has("--json"));
    return 0;
  }
  for (const Command measuring : {Command::throughput, Command::prefill, Command::decode, Command::e2e})
    if (name == name_of(measuring)) return measure(arguments, measuring, argv);
  throw std::logic_error("main: command '" + name + "' is described but not carried out");
}

int report(ExitCode code, std::string message, const std::string& hint = "") {
  std::replace(message.begin(), message.end(), '\n', ' ');
  std::cerr << "error: " << message << "\n";
  if (!hint.empty()) std::cerr << hint << "\n";
  return static_cast<int>(code);
}

int run_program(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is then an error of write(), with a message
  try {
    const int code = dispatch(argc, argv);
    std::cout.flush();
    if (!std::cout) throw Failure(ExitCode::environment, "writing to stdout failed (disk full?).");
    return interrupted() ? 128 + interrupting_signal() : code;
  } catch (const Failure& e) {
    return report(e.code, e.what(), e.hint);
  } catch (const ConfigError& e) {
    return report(ExitCode::usage, e.what());
  } catch (const WeightsError& e) {
    return report(ExitCode::usage, e.what());
  } catch (const GpuError& e) {
    return report(ExitCode::environment, e.what(), "Use --engine reference, or look at the driver with nvidia-smi.");
  } catch (const KernelError& e) {
    return report(ExitCode::environment, e.what(), "see: ringbench kernels");
  } catch (const std::bad_alloc&) {
    return report(ExitCode::internal,
                  "out of memory where it was not foreseen. Try a smaller --ctx, --batch or model.");
  } catch (const std::exception& e) {
    return report(ExitCode::internal, std::string("internal error: ") + e.what(),
                  "This is a bug. Please report it with this line, the command and the output of 'ringbench version'.");
  }
}

}  // namespace
}  // namespace ringbench

int main(int argc, char** argv) { return ringbench::run_program(argc, argv); }
