// main.cpp: from arguments to a Plan or a request, and from whatever goes wrong to one line and an exit code. CLI11
// splits the arguments; what flags there are is in commands.cpp, what their values mean in words.cpp and plan.cpp.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <map>
#include <new>
#include <string>
#include <vector>

#include "cuda/gpu.h"
#include "harness/commands.h"
#include "harness/engines.h"
#include "harness/failure.h"
#include "harness/help.h"
#include "harness/info.h"
#include "harness/logits.h"
#include "harness/measure.h"
#include "harness/parity.h"
#include "harness/plan.h"
#include "harness/run.h"
#include "harness/words.h"

namespace ringbench {
namespace {

// The values that a command line gives to the flags of one command.
class Arguments {
 public:
  Arguments(const CommandLine& command, std::vector<std::string> words) : command_(command) {
    CLI::App app;
    app.set_help_flag();  // --help is one of our own flags
    app.allow_extras();
    for (const std::string& name : command.flag_names()) {
      const Flag& flag = *command.find(name);
      const std::string names = flag.letter.empty() ? flag.name : flag.letter + "," + flag.name;
      if (flag.value.empty())
        app.add_flag(names, switches_[name])->envname(environment_name(flag));
      else
        app.add_option(names, values_[name])->allow_extra_args(false)->envname(environment_name(flag));
    }
    std::reverse(words.begin(), words.end());  // as CLI11 wants them
    try {
      app.parse(std::move(words));
    } catch (const CLI::ArgumentMismatch& e) {
      const std::string flag = std::string(e.what()).substr(0, std::string(e.what()).find_first_of(": "));
      const Flag* known = command.find(flag);
      throw UsageError(known == nullptr ? e.what() : flag + " needs a value: " + flag + " " + known->value + ".");
    } catch (const CLI::ParseError& e) {
      throw UsageError(e.what());
    }
    for (const std::string& word : app.remaining()) {
      if (word.size() > 1 && word[0] == '-') refuse_flag(word);
      words_.push_back(word);
    }
    check_choices();
  }

  bool has(const std::string& name) const { return switches_.contains(name) && switches_.at(name); }
  bool given(const std::string& name) const { return values_.contains(name) && !values_.at(name).empty(); }
  // All values; a flag that does not repeat has at most one.
  const std::vector<std::string>& all(const std::string& name) const { return values_.at(name); }
  const std::string& text(const std::string& name) const { return values_.at(name).back(); }
  std::string text_or(const std::string& name, const std::string& standard) const {
    return given(name) ? text(name) : standard;
  }
  const std::vector<std::string>& words() const { return words_; }

  void refuse_words(size_t allowed) const {
    if (words_.size() > allowed)
      throw UsageError("unexpected argument '" + words_[allowed] + "'.", "see: ringbench help " + command_.name);
  }

 private:
  [[noreturn]] void refuse_flag(const std::string& word) const {
    const std::string name = word.substr(0, word.find('='));
    const std::string near = nearest_word(name, command_.flag_names());
    throw UsageError("unknown flag " + name + "." + (near.empty() ? "" : " Did you mean " + near + "?"),
                     near.empty() ? "see: ringbench help " + command_.name : "");
  }

  void check_choices() {
    for (auto& [name, values] : values_) {
      const Flag& flag = *command_.find(name);
      if (!flag.repeats && values.size() > 1) values.erase(values.begin(), values.end() - 1);  // the last one counts
      // Engines and dtypes have messages of their own: other builds know more of them.
      if (flag.choices.empty() || name == "--engine" || name == "--dtype") continue;
      for (const std::string& value : values)
        if (std::find(flag.choices.begin(), flag.choices.end(), value) == flag.choices.end()) {
          const std::string near = nearest_word(value, flag.choices);
          throw UsageError(name + ": '" + value + "' is not one of " + join(flag.choices, ", ") + "." +
                           (near.empty() ? "" : " Did you mean " + near + "?"));
        }
    }
  }

  const CommandLine& command_;
  std::map<std::string, bool> switches_;
  std::map<std::string, std::vector<std::string>> values_;
  std::vector<std::string> words_;
};

// The value that belongs to a word; the words have been checked against the flag's choices.
template <class T> T choose(const std::string& word, const std::vector<std::pair<std::string, T>>& values) {
  for (const auto& [name, value] : values)
    if (name == word) return value;
  throw std::logic_error("main: no value for '" + word + "'");
}

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

Format parse_format(const std::string& word) {
  return choose<Format>(word, {{"table", Format::table},
                               {"md", Format::md},
                               {"csv", Format::csv},
                               {"json", Format::json},
                               {"jsonl", Format::jsonl}});
}

// --kernel operator=variant, for engines that have a choice. Throws UsageError naming what there is.
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
  if (a.given("--engine"))
    plan.engine = split_list(a.all("--engine"), "--engine");
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

void read_workload(const Arguments& a, Plan& plan) {
  if (a.given("--ctx")) plan.ctx = parse_token_list(a.all("--ctx"), "--ctx", 0);
  if (a.given("--gen")) plan.gen = parse_token_list(a.all("--gen"), "--gen", 1);
  if (a.given("--batch")) plan.batch = parse_count_list(a.all("--batch"), "--batch");
  if (a.given("--requests")) plan.requests = parse_small_count(a, "--requests", 1);
  if (a.given("--depth-fill"))
    plan.depth_fill = choose<DepthFill>(
        a.text("--depth-fill"),
        {{"auto", DepthFill::automatic}, {"real", DepthFill::real}, {"synthetic", DepthFill::synthetic}});
  if (a.given("--seed")) plan.seed = parse_seed(a);
  if (a.given("--zip")) plan.zip = a.all("--zip");
  if (a.given("--where")) plan.where = a.all("--where");
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
  read_tags(a, plan);
  if (a.given("--color"))
    plan.color =
        choose<ColorWhen>(a.text("--color"),
                          {{"auto", ColorWhen::automatic}, {"always", ColorWhen::always}, {"never", ColorWhen::never}});
  plan.quiet = a.has("--quiet");
  plan.verbose = a.has("--verbose");
  plan.progress = !a.has("--no-progress") && !plan.quiet;
}

// libgomp reads OMP_WAIT_POLICY when it is loaded, before main: threads that spin while they wait would disturb
// what is measured. So the program is started once more with it set.
void restart_with_passive_waiting(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("OMP_WAIT_POLICY", "passive", 0);
  execv("/proc/self/exe", argv);  // comes back only if it failed; then it runs as it is
}

int measure(const Arguments& a, Command command, char** argv) {
  a.refuse_words(0);
  Plan plan;
  for (char** word = argv; *word != nullptr; ++word) plan.argv.emplace_back(*word);
  read_model(a, plan);
  read_engine(a, plan);
  read_workload(a, plan);
  read_method(a, plan, command);
  read_output(a, plan);
  restart_with_passive_waiting(argv);
  install_signal_handlers();
  return static_cast<int>(run_measurements(plan, command));
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

int parity(const Arguments& a, char** argv) {
  a.refuse_words(0);
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
