// parity_command.cpp: the command `parity`: from flags to a subject and a scope, and from findings to a table, a
// certificate and an exit code.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <set>
#include <sstream>

#include "harness/certificate.h"
#include "harness/engines.h"
#include "harness/environment.h"
#include "harness/measure.h"
#include "harness/parity.h"
#include "harness/parity_ablation.h"
#include "harness/parity_dump.h"
#include "harness/parity_mutants.h"
#include "harness/progress.h"
#include "harness/words.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;

// Prompts of levels layer, model and self are recomputed in f64: longer contexts are what level depth is for.
constexpr int64_t kLongestPrompt = 8192;
constexpr int64_t kDepth = 8192;
constexpr size_t kMostShown = 12;  // of checks that failed: the first names the cause

std::vector<std::string> expand_levels(const std::vector<std::string>& words, const std::string& engine) {
  static const std::vector<std::string> all = {"op", "layer", "state", "model", "self", "yarn", "depth"};
  std::vector<std::string> levels;
  const auto add = [&](const std::string& level) {
    if (std::find(levels.begin(), levels.end(), level) == levels.end()) levels.push_back(level);
  };
  for (const std::string& word : words) {
    if (word == "full") {
      for (const std::string& level : all) add(level);
    } else if (word == "quick") {
      if (engine == "cuda") add("op");  // emulated, forcing every variant takes a minute
      for (const char* level : {"layer", "state", "model", "self"}) add(level);
    } else if (std::find(all.begin(), all.end(), word) != all.end()) {
      add(word);
    } else {
      std::vector<std::string> known = all;
      known.insert(known.end(), {"quick", "full"});
      const std::string near = nearest_word(word, known);
      throw UsageError("--level: '" + word + "' is not a level. Use " + join(all, ", ") + ", quick or full." +
                       (near.empty() ? "" : " Did you mean " + near + "?"));
    }
  }
  return levels;
}

class ParityCommand {
 public:
  explicit ParityCommand(const ParityRequest& request) : request_(request) {
    choose_engine();
    levels_ = expand_levels(request.levels, subject_.engine);
    Model model = resolve_model(request.model, request.config_file, request.weights);
    if (request.slope_layer_offset) model.config.slope_layer_offset = *request.slope_layer_offset;
    const bool own_layout = request.hybrid == "model";
    subject_.config = with_layout(model.config, std::nullopt, request.hybrid);
    std::vector<std::string> warnings;
    const int64_t longest = request.ctx.empty() ? 0 : *std::max_element(request.ctx.begin(), request.ctx.end());
    apply_yarn(subject_.config, request.yarn, longest, warnings);
    for (const int64_t layer : request.layers)
      if (layer >= subject_.config.num_hidden_layers)
        throw UsageError("--layers: the model has no layer " + std::to_string(layer) + "; it has layers 0 to " +
                         std::to_string(subject_.config.num_hidden_layers - 1) + ".");
    subject_.seed = request.seed;
    if (!request.quiet)
      for (const std::string& warning : warnings) std::cerr << "warning " << warning << "\n";
    weights_.emplace(model.checkpoint.empty() || !own_layout ? Weights::random(subject_.config, request.seed)
                                                             : Weights::load(subject_.config, model.checkpoint));
    subject_.weights = &*weights_;
    EngineOptions planned = subject_.options;
    planned.max_tokens = 512;
    subject_.one_layer_at_a_time =
        subject_.engine == "reference" &&
        plan_engine_memory(subject_.engine, subject_.config, planned).total() > engine_free_memory(subject_.engine);
    subject_.make = [this](const ModelConfig& config, const EngineOptions& options) {
      const Memory needed = plan_engine_memory(subject_.engine, config, options);
      if (const int64_t free = engine_free_memory(subject_.engine); needed.total() > free)
        throw Failure(ExitCode::environment, too_little_memory(needed, free),
                      "Try a smaller --ctx or model, or another --dtype.");
      return make_engine(subject_.engine, config, *weights_, options);
    };
  }

  ExitCode run() {
    if (!request_.load.empty()) return judge_dump();
    if (!request_.ablate.empty()) return ablate();
    Clock clock;
    const double begin = clock.wall_s();
    Findings findings;
    ParityScope scope;
    const std::vector<ParityScope> parts = scopes();
    {
      Progress progress(request_.progress && !request_.quiet, static_cast<int64_t>(parts.size()),
                        static_cast<double>(parts.size()), clock);
      for (const ParityScope& part : parts) {
        const std::string title = "parity " + subject_.config.name + " " + label(part);
        progress.begin(title);
        scope = part;
        scope.progress = [&](const std::string& text) { progress.update(text); };
        const Findings found = check_parity(subject_, scope);
        progress.end_point(title, found.first_failure() == nullptr ? "passed" : "FAILED", 1);
        merge(findings, found, parts.size() > 1 ? " (" + label(part) + ")" : "");
        if (request_.fail_fast && findings.first_failure() != nullptr) break;
      }
      if (!request_.save.empty()) save_dump(subject_, scope, request_.save);
    }
    scope.levels = levels_;
    const Certificate certificate = make_certificate(subject_, scope, findings);
    std::string saved;
    if (request_.keep) saved = write_certificate(certificate, fs::path(request_.results) / "parity").string();
    show(certificate, saved, clock.wall_s() - begin);
    if (const Check* failed = findings.first_failure(); failed != nullptr)
      throw Failure(ExitCode::parity,
                    "parity: " + failed->name + ": " + failed->metric + " " + short_number(failed->value) +
                        ", budget " + short_number(failed->budget) + " (" + failed->text + ").",
                    "repeat with: " + repro(*failed));
    return ExitCode::ok;
  }

 private:
  void choose_engine() {
    subject_.engine = request_.engine;
    if (subject_.engine.empty()) subject_.engine = default_engine() == "cuda" ? "cuda" : "emulated";
    check_engines({subject_.engine}, false);
    EngineOptions& options = subject_.options;
    options.dtype = request_.dtype.value_or(default_dtype(subject_.engine));
    options.chunk = request_.chunk.value_or(default_chunk(subject_.engine));
    options.kernels = request_.kernels;
    options.rope_angles = request_.rope_angles;
    options.routing = request_.routing;
    options.threads = request_.threads;
  }

  // One for each context.
  std::vector<ParityScope> scopes() const {
    ParityScope one;
    one.levels = levels_;
    if (request_.chunk) one.chunk = *request_.chunk;
    one.layers.assign(request_.layers.begin(), request_.layers.end());
    one.fail_fast = request_.fail_fast;
    one.bisect = request_.bisect;
    one.prefilled = subject_.engine == "cuda";
    one.depth = kDepth;
    if (request_.ctx.empty()) return {one};
    std::vector<ParityScope> all;
    for (const int64_t ctx : request_.ctx) {
      ParityScope part = one;
      part.depth = ctx;
      part.tokens = std::min(ctx, kLongestPrompt);
      all.push_back(part);
    }
    return all;
  }

  std::string label(const ParityScope& part) const {
    const bool only_depth = levels_ == std::vector<std::string>{"depth"};
    return "ctx " + token_label(only_depth ? part.depth : part.tokens);
  }

  static void merge(Findings& all, const Findings& more, const std::string& suffix) {
    for (Check check : more.checks) {
      check.name += suffix;
      all.checks.push_back(std::move(check));
    }
    for (const std::string& note : more.notes)
      if (std::find(all.notes.begin(), all.notes.end(), note) == all.notes.end()) all.notes.push_back(note);
    std::set<std::string> kernels(all.kernels.begin(), all.kernels.end());
    kernels.insert(more.kernels.begin(), more.kernels.end());
    all.kernels.assign(kernels.begin(), kernels.end());
    std::set<int> layers(all.layers.begin(), all.layers.end());
    layers.insert(more.layers.begin(), more.layers.end());
    all.layers.assign(layers.begin(), layers.end());
    all.depth = std::max(all.depth, more.depth);
  }

  static std::string short_number(double x) {
    char text[32];
    std::snprintf(text, sizeof text, x == std::floor(x) && std::abs(x) < 1e6 ? "%.0f" : "%.2e", x);
    return text;
  }

  std::string repro(const Check& check) const {
    std::string command = "ringbench parity";
    if (!request_.config_file.empty())
      command += " --config " + request_.config_file;
    else if (request_.weights.empty() || request_.model != "auto")
      command += " --model " + (request_.model == "auto" ? subject_.config.name : request_.model);
    if (!request_.weights.empty()) command += " --weights " + request_.weights;
    if (request_.hybrid != "model") command += " --hybrid " + request_.hybrid;
    if (request_.yarn != "auto") command += " --yarn " + request_.yarn;
    if (request_.slope_layer_offset)
      command += " --slope-layer-offset " + std::string(name_of(*request_.slope_layer_offset));
    command += " --engine " + subject_.engine + " --dtype " + std::string(name_of(subject_.options.dtype));
    for (const std::string& kernel : request_.kernels) command += " --kernel " + kernel;
    command += " --level " + check.level;
    if (check.layer >= 0 && check.level != "model") command += " --layers " + std::to_string(check.layer);
    for (size_t i = 0; i < request_.ctx.size(); ++i)
      command += (i == 0 ? " --ctx " : ",") + std::to_string(request_.ctx[i]);
    if (request_.chunk) command += " --chunk " + std::to_string(*request_.chunk);
    return command + " --seed " + std::to_string(request_.seed);
  }

  // --- Output ---

  std::string table(const Certificate& c, bool markdown, bool every_check) const {
    std::ostringstream out;
    char line[400];
    const Environment environment = capture_environment();
    out << "ringbench " << environment.version << " (" << environment.commit << ") parity | " << c.model << ", engine "
        << c.engine << ", " << c.dtype << ", " << c.weights << ", seed " << request_.seed << ", " << c.device << "\n\n";
    const char* row =
        markdown ? "| %-6s | %6zu | %6zu | %10zu | %5.2f | %s |\n" : "%-6s  %6zu  %6zu  %10zu  %5.2f  %s\n";
    out << (markdown ? "| level | checks | failed | mistrusted | worst | worst check (error / budget) "
                       "|\n|---|---|---|---|---|---|\n"
                     : "level   checks  failed  mistrusted  worst  worst check (error / budget)\n");
    std::vector<std::string> levels;
    for (const Check& check : c.checks)
      if (std::find(levels.begin(), levels.end(), check.level) == levels.end()) levels.push_back(check.level);
    for (const std::string& level : levels) {
      size_t all = 0, failed = 0, mistrusted = 0;
      double worst = 0;
      std::string where;
      for (const Check& check : c.checks) {
        if (check.level != level) continue;
        ++all;
        failed += check.status == CheckStatus::fail;
        mistrusted += check.status == CheckStatus::mistrusted;
        if (check.budget > 0 && check.value / check.budget > worst)
          worst = check.value / check.budget, where = check.name + " " + check.metric;
      }
      std::snprintf(line, sizeof line, row, level.c_str(), all, failed, mistrusted, worst, where.c_str());
      out << line;
    }
    if (every_check || c.verdict != "pass") {
      out << (markdown ? "\n| status | level | check | metric | value | budget | |\n|---|---|---|---|---|---|---|\n"
                       : "\n");
      size_t more = 0, shown = 0;
      for (const Check& check : c.checks) {
        if (!every_check && check.status == CheckStatus::pass) continue;
        if (!every_check && ++shown > kMostShown) {
          ++more;
          continue;
        }
        const std::string status(name_of(check.status));
        std::snprintf(
            line, sizeof line,
            markdown ? "| %s | %s | %s | %s | %.2e | %.2e | %s |\n" : "%-10s  %-6s  %-28s  %-8s  %.2e of %.2e  %s\n",
            check.status == CheckStatus::pass ? status.c_str() : upper(status).c_str(), check.level.c_str(),
            check.name.c_str(), check.metric.c_str(), check.value, check.budget, check.text.c_str());
        out << line;
      }
      if (more > 0) out << "... and " << more << " more; --verbose shows them\n";
    }
    if (!c.notes.empty()) out << "\n";
    for (const std::string& note : c.notes) out << (markdown ? "- " : "note: ") << note << "\n";
    return out.str();
  }

  static std::string upper(std::string word) {
    for (char& c : word) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return word;
  }

  std::string closing(const Certificate& c, const std::string& saved, double seconds) const {
    std::string text = "\n" + upper(c.verdict) + "  " + std::to_string(c.checks.size()) + " checks, " +
                       std::to_string(c.kernels.size()) + " kernel variants, depth " + token_label(c.depth) + ", " +
                       duration_text(seconds) + "\ncertificate " + c.id.substr(0, 12);
    return text + (saved.empty() ? " (not kept)" : "  " + saved) + "\n";
  }

  void show(const Certificate& c, const std::string& saved, double seconds) const {
    const auto render = [&](Format format) {
      if (format == Format::json || format == Format::jsonl) return to_json(c);
      return table(c, format == Format::md, request_.verbose || format == Format::md) + closing(c, saved, seconds);
    };
    std::cout << render(request_.format);
    for (const std::string& path : request_.outputs) {
      if (path == "-") continue;  // stdout has it
      std::ofstream out(path, std::ios::binary);
      out << render(format_of_output(path));
      out.close();
      if (!out) throw Failure(ExitCode::environment, "--output: cannot write '" + path + "'.");
    }
  }

  static Format format_of_output(const std::string& path) {
    const std::string extension = fs::path(path).extension().string();
    return extension == ".json" ? Format::json : extension == ".md" ? Format::md : Format::table;
  }

  ExitCode judge_dump() {
    Clock clock;
    const double begin = clock.wall_s();
    ParityScope scope = scopes().front();
    const Findings findings = check_dump(subject_, scope, request_.load, request_.names);
    scope.levels = {"layer", "model"};
    const Certificate certificate = make_certificate(subject_, scope, findings);
    show(certificate, "", clock.wall_s() - begin);
    if (const Check* failed = findings.first_failure(); failed != nullptr)
      throw Failure(ExitCode::parity,
                    "parity: " + failed->name + ": " + failed->metric + " " + short_number(failed->value) +
                        ", budget " + short_number(failed->budget) + " (" + failed->text + ").",
                    "repeat with: " + repro(*failed) + " --load " + request_.load +
                        (request_.names.empty() ? "" : " --names " + request_.names));
    return ExitCode::ok;
  }

  ExitCode ablate() {
    AblationRequest request;
    request.points = request_.ablate;
    request.tokens = request_.ctx.empty() ? 256 : std::min(request_.ctx.front(), kLongestPrompt);
    request.seed = request_.seed;
    Clock clock;
    std::vector<Ablation> rows;
    {
      Progress progress(request_.progress && !request_.quiet, 1, 1, clock);
      progress.begin("ablation " + subject_.config.name);
      rows = run_ablation(subject_, request, [&](const std::string& text) { progress.update(text); });
    }
    std::cout << ablation_text(rows, request_.format);
    if (request_.keep)
      for (const std::string& line :
           write_ablation(rows, subject_, request, fs::path(request_.results) / "parity" / "ablation"))
        std::cout << (request_.format == Format::table ? line + "\n" : "");
    return ExitCode::ok;
  }

  const ParityRequest& request_;
  std::vector<std::string> levels_;
  Subject subject_;
  std::optional<Weights> weights_;
};

ExitCode self_test(const ParityRequest& request) {
  Clock clock;
  std::vector<MutantResult> results;
  const double begin = clock.wall_s();
  {
    Progress progress(request.progress && !request.quiet, 1, 1, clock);
    progress.begin("parity self-test");
    results = run_mutants([&](const std::string& text) { progress.update(text); });
  }
  std::cout << mutants_text(results, request.format);
  std::string survivors;
  for (const MutantResult& result : results)
    if (!result.as_expected()) survivors += (survivors.empty() ? "" : ", ") + result.name;
  if (!survivors.empty())
    throw Failure(ExitCode::parity, "parity --self-test: not judged as it should be: " + survivors + ".");
  if (request.format == Format::table)
    std::cout << "\nall " << results.size() - 1 << " planted faults were caught, and the control passed; "
              << duration_text(clock.wall_s() - begin) << "\n";
  return ExitCode::ok;
}

}  // namespace

ExitCode run_parity(const ParityRequest& request) {
  if (request.self_test) return self_test(request);
  return ParityCommand(request).run();
}

}  // namespace ringbench
