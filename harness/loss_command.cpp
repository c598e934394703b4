// loss_command.cpp: the command `loss`: from a request to readings, windows and a report. The numbers: loss.cpp.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>

#include "harness/engines.h"
#include "harness/figure.h"
#include "harness/loss.h"
#include "harness/loss_report.h"
#include "harness/measure.h"
#include "harness/progress.h"
#include "harness/result.h"
#include "harness/token_file.h"
#include "harness/tokenize.h"
#include "harness/words.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;
using Documents = std::vector<std::vector<int32_t>>;

constexpr int64_t kStandardCtx = 8192;

// One way to read a config.
struct ComparedReading {
  std::string value;  // of what is compared
  std::string yarn = "auto";
  std::optional<SlopeLayerOffset> slope_layer_offset;
  RopeAngles rope_angles = RopeAngles::f64;
  Model model;
};

const std::vector<std::string> kKeys = {"slope-layer-offset", "yarn", "rope-angles", "weights"};

// "yarn=off,4" -> "yarn" and its values.
std::pair<std::string, std::vector<std::string>> parse_compare(const std::string& text) {
  const size_t equals = text.find('=');
  const std::string key = text.substr(0, equals);
  if (std::find(kKeys.begin(), kKeys.end(), key) == kKeys.end()) {
    const std::string near = nearest_word(key, kKeys);
    throw UsageError("--compare: '" + key + "' is nothing to compare. Use " + join(kKeys, ", ") + "." +
                     (near.empty() ? "" : " Did you mean " + near + "?"));
  }
  std::vector<std::string> values;
  if (equals != std::string::npos) values = split_list({text.substr(equals + 1)}, "--compare");
  std::vector<std::string> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  if (values.size() < 2 || std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
    throw UsageError("--compare " + text +
                     ": write two different values at least, such as slope-layer-offset=0,1,mlx "
                     "or yarn=off,4.");
  return {key, values};
}

void set(ComparedReading& reading, const std::string& key, const std::string& value) {
  const auto refuse = [&](const std::string& choices) {
    return UsageError("--compare " + key + ": '" + value + "' is not one of " + choices + ".");
  };
  reading.value = value;
  if (key == "weights") {
    reading.model = resolve_model("auto", "", value);
    reading.value = reading.model.config.name;
  } else if (key == "yarn") {
    reading.yarn = value;
  } else if (key == "slope-layer-offset") {
    if (value != "0" && value != "1" && value != "mlx") throw refuse("0, 1, mlx");
    reading.slope_layer_offset = parse_slope_layer_offset(value);
  } else {
    if (value != "f64" && value != "f32") throw refuse("f64, f32");
    reading.rope_angles = value == "f32" ? RopeAngles::f32 : RopeAngles::f64;
  }
}

bool is_picture(const std::string& path) {
  const std::string extension = fs::path(path).extension();
  return extension == ".svg" || extension == ".png" || extension == ".pdf";
}

// -o FILE: opened before anything runs, so that a wrong path fails at once.
void check_output(const std::string& path) {
  if (path == "-") return;
  if (!is_picture(path)) format_of_file(path);
  const std::ofstream file(path, std::ios::app);
  if (!file) throw UsageError("--output: cannot write '" + path + "': " + std::strerror(errno) + ".");
}

class LossCommand {
 public:
  explicit LossCommand(const LossRequest& request) : request_(request) {
    find_model();
    choose_readings();
    read_documents();
    choose_contexts();
    for (const std::string& path : request.outputs) check_output(path);
    check_memory();
  }

  LossReport run() {
    use_weights(model_);
    report_.weights = report_.key == "weights" ? join(report_.values, ", ") : weights_->label();
    if (model_.checkpoint.empty())
      warn("W-DUMMY: no checkpoint is named, so the weights are random: the loss is about that of guessing, ln " +
           std::to_string(model_.config.vocab_size) + ".");
    Clock clock;
    {
      double work = 0;
      for (ContextLoss& context : report_.contexts) work += tokens_in(context.windows);
      work *= static_cast<double>(readings_.size());
      Progress progress(request_.progress && !request_.quiet,
                        static_cast<int64_t>(report_.contexts.size() * readings_.size()), work, clock);
      for (ContextLoss& context : report_.contexts)
        for (const ComparedReading& reading : readings_)
          if (!interrupted()) walk(reading, context, progress);
    }
    report_.interrupted = interrupted();
    return report_;
  }

 private:
  // --- Before anything runs ---

  void find_model() {
    if (request_.compare.starts_with("weights=")) {  // the first of them is what is asked about elsewhere
      if (!request_.weights.empty())
        throw UsageError("--compare weights=... names the checkpoints: leave --weights out.");
      request_.weights = parse_compare(request_.compare).second.front();
    }
    if (request_.model == "auto" && request_.config_file.empty() && request_.weights.empty())
      throw UsageError("loss: which weights? Name a checkpoint folder: --weights DIR.",
                       "random weights, whose loss says nothing, are taken if --model names a preset");
    model_ = resolve_model(request_.model, request_.config_file, request_.weights);
    if (request_.slope_layer_offset) model_.config.slope_layer_offset = *request_.slope_layer_offset;
    report_.model = model_.config.name;
    report_.engine = request_.engine;
    report_.dtype = name_of(request_.dtype);
    report_.device = engine_device_name(request_.engine);
    report_.chunk = request_.chunk;
  }

  void choose_readings() {
    std::vector<std::string> values;
    if (!request_.compare.empty()) {
      std::tie(report_.key, values) = parse_compare(request_.compare);
      if ((report_.key == "yarn" && request_.yarn != std::vector<std::string>{"auto"}) || request_.yarn.size() > 1)
        throw UsageError("--compare " + request_.compare + " and --yarn " + join(request_.yarn, ",") +
                         ": one thing at a time. Leave one of them out.");
    } else if (request_.yarn.size() > 1) {
      std::tie(report_.key, values) = parse_compare("yarn=" + join(request_.yarn, ","));
    }
    const ComparedReading own = {"", request_.yarn.front(), request_.slope_layer_offset, request_.rope_angles, model_};
    if (values.empty()) readings_.push_back(own);
    for (const std::string& value : values) {
      readings_.push_back(own);
      set(readings_.back(), report_.key, value);
    }
    for (const ComparedReading& reading : readings_) {
      if (reading.rope_angles == RopeAngles::f32 && request_.engine != "reference")
        throw UsageError("rope-angles f32: engine '" + request_.engine +
                         "' computes angles exactly; f32 angles are the reference's.");
      if (reading.model.config.vocab_size != model_.config.vocab_size)
        throw UsageError("--compare weights: " + reading.value + " has " +
                         std::to_string(reading.model.config.vocab_size) + " tokens, " + model_.config.name + " " +
                         std::to_string(model_.config.vocab_size) + ": they do not read the same text.");
      report_.values.push_back(reading.value);
      report_.rope_angles.emplace_back(reading.rope_angles == RopeAngles::f32 ? "f32" : "f64");
      resolve(reading, 1);  // refuses what is no setting
    }
  }

  void read_documents() {
    const bool text = !request_.text.empty();
    if (text == !request_.tokens.empty()) throw UsageError("loss: name one of --text FILE and --tokens FILE.");
    const std::string& path = text ? request_.text : request_.tokens;
    documents_ = text ? encode(path) : read_token_documents(path, model_.config.vocab_size);
    report_.source = fs::path(path).filename().string();
    report_.documents = static_cast<int64_t>(documents_.size());
    for (const auto& document : documents_) {
      report_.tokens += static_cast<int64_t>(document.size());
      longest_ = std::max(longest_, static_cast<int64_t>(document.size()));
    }
    if (longest_ < 2)
      throw UsageError(std::string(text ? "--text: " : "--tokens: ") + path +
                       ": no document has two tokens; nothing can be predicted.");
  }

  Documents encode(const std::string& path) const {
    if (model_.checkpoint.empty())
      throw UsageError("--text: which tokenizer? It is read from the checkpoint's folder: --weights DIR.",
                       "or give token ids: --tokens FILE");
    const std::string where = "--text: " + path;
    Documents documents = encode_texts(model_.checkpoint, read_text_documents(path), where);
    for (const auto& document : documents)
      for (const int32_t id : document)
        if (id >= model_.config.vocab_size)
          throw UsageError(where + ": the tokenizer gives token " + std::to_string(id) + ", but the model has only " +
                           std::to_string(model_.config.vocab_size) + ". They do not belong together.");
    return documents;
  }

  void choose_contexts() {
    std::vector<int64_t> contexts = request_.ctx;
    if (contexts.empty()) contexts = {std::min(kStandardCtx, longest_)};
    for (const int64_t ctx : contexts) {
      if (ctx < 2) throw UsageError("--ctx " + std::to_string(ctx) + ": a window of two tokens is the least.");
      if (ctx > longest_)
        throw UsageError("--ctx " + token_label(ctx) + ": the longest document has " + std::to_string(longest_) +
                         " tokens. Use at most that, or a longer text.");
      report_.contexts.push_back({ctx, cut_windows(documents_, ctx), {}});
      auto& windows = report_.contexts.back().windows;
      if (request_.max_windows > 0 && static_cast<int64_t>(windows.size()) > request_.max_windows)
        windows.resize(static_cast<size_t>(request_.max_windows));
    }
  }

  EngineOptions options(const ComparedReading& reading) const {
    EngineOptions options;
    options.dtype = request_.dtype;
    options.chunk = request_.chunk;
    options.threads = request_.threads;
    options.rope_angles = reading.rope_angles;
    for (const ContextLoss& context : report_.contexts) options.max_tokens = std::max(options.max_tokens, context.ctx);
    return options;
  }

  void check_memory() const {
    const EngineOptions planned = options(readings_.front());
    Memory needed = plan_engine_memory(request_.engine, model_.config, planned);
    const int64_t rows = request_.chunk > 0 ? std::min(request_.chunk, planned.max_tokens) : planned.max_tokens;
    if (request_.engine != "cuda")  // whose logits come to the host
      needed.workspace +=
          rows * model_.config.vocab_size * size_of(planned.dtype == DType::f64 ? DType::f64 : DType::f32);
    if (const int64_t available = engine_free_memory(request_.engine); needed.total() > available)
      throw Failure(ExitCode::environment, too_little_memory(needed, available),
                    "Try a smaller --ctx or --chunk, or another --dtype.");
  }

  // --- Running ---

  ModelConfig resolve(const ComparedReading& reading, int64_t ctx) {
    ModelConfig config = reading.model.config;
    if (reading.slope_layer_offset) config.slope_layer_offset = *reading.slope_layer_offset;
    std::vector<std::string> warnings;
    apply_yarn(config, reading.yarn, ctx, warnings);
    for (const std::string& warning : warnings) warn(warning);
    return config;
  }

  void walk(const ComparedReading& reading, ContextLoss& context, Progress& progress) {
    ReadingLoss& losses = context.readings.emplace_back();
    losses.config = resolve(reading, context.ctx);
    use_weights(reading.model);
    prepare_engine(losses.config, options(reading));
    const std::string title =
        "loss ctx " + token_label(context.ctx) + (report_.key.empty() ? "" : " " + report_.key + "=" + reading.value);
    progress.begin(title);
    double before = 0;
    for (size_t w = 0; w < context.windows.size() && !interrupted(); ++w) {
      const Window& window = context.windows[w];
      const std::string where = "window " + std::to_string(w + 1) + "/" + std::to_string(context.windows.size());
      const std::span<const int32_t> document = documents_[window.document];
      losses.windows.push_back(window_loss(
          *engine_, document.subspan(static_cast<size_t>(window.begin), static_cast<size_t>(window.size)),
          request_.chunk, [&](int64_t done) { progress.update(where, before + static_cast<double>(done)); }));
      before += static_cast<double>(window.size);
    }
    char outcome[48];
    std::snprintf(outcome, sizeof outcome, "loss %.4f", mean_loss(losses.windows, kAllPositions).mean);
    progress.end_point(title, interrupted() ? "interrupted" : outcome, tokens_in(context.windows));
  }

  void use_weights(const Model& model) {
    if (weights_ && weights_of_ == model.checkpoint) return;
    engine_.reset();  // it may refer to them
    weights_ = std::make_unique<Weights>(model.checkpoint.empty() ? Weights::random(model.config, request_.seed)
                                                                  : Weights::load(model.config, model.checkpoint));
    weights_of_ = model.checkpoint;
  }

  // Making an engine reads all the weights: one that fits is kept.
  void prepare_engine(const ModelConfig& config, const EngineOptions& options) {
    const std::string key = config.sha() + (options.rope_angles == RopeAngles::f32 ? "f32" : "f64");
    if (engine_ && key == engine_key_) return;
    engine_.reset();  // two would not always fit
    engine_ = make_engine(request_.engine, config, *weights_, options);
    engine_key_ = key;
  }

  static double tokens_in(const std::vector<Window>& windows) {
    double tokens = 0;
    for (const Window& window : windows) tokens += static_cast<double>(window.size);
    return tokens;
  }

  void warn(const std::string& text) {
    if (request_.quiet || std::find(warned_.begin(), warned_.end(), text) != warned_.end()) return;
    std::cerr << "warning " << text << "\n";
    warned_.push_back(text);
  }

  LossRequest request_;
  Model model_;
  std::vector<ComparedReading> readings_;
  Documents documents_;
  int64_t longest_ = 0;
  LossReport report_;
  std::unique_ptr<Weights> weights_;
  fs::path weights_of_;  // the checkpoint that they are of
  std::unique_ptr<Engine> engine_;
  std::string engine_key_;
  std::vector<std::string> warned_;
};

}  // namespace

LossReport measure_loss(const LossRequest& request) { return LossCommand(request).run(); }

ExitCode run_loss(const LossRequest& request) {
  const LossReport report = measure_loss(request);
  std::cout << loss_text(report, request.format);
  for (const std::string& path : request.outputs) {
    if (path == "-") continue;  // stdout has it
    if (is_picture(path)) {
      FigureOptions options;
      options.formats = {fs::path(path).extension().string().substr(1)};
      options.folder = fs::absolute(path).parent_path();
      if (const std::string note = draw_figure(loss_figure(report), fs::path(path).stem(), options).note; !note.empty())
        std::cerr << note << "\n";
      continue;
    }
    std::ofstream file(path, std::ios::trunc);
    file << loss_text(report, format_of_file(path));
    file.close();
    if (!file)
      throw Failure(ExitCode::environment, "--output: writing '" + path + "' failed: " + std::strerror(errno) + ".");
  }
  return ExitCode::ok;
}

}  // namespace ringbench
