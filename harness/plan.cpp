// plan.cpp: see plan.h. Models by name, then the grid: axes, groups of axes that advance together, conditions, ids.
#include "harness/plan.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <locale>
#include <set>
#include <sstream>
#include <system_error>

#include "harness/endpoint_load.h"
#include "harness/endpoint_url.h"
#include "harness/engines.h"
#include "harness/json_names.h"
#include "reference/sha256.h"

namespace ringbench {

namespace fs = std::filesystem;

std::string_view name_of(Command command) {
  switch (command) {
    case Command::throughput: return "throughput";
    case Command::prefill: return "prefill";
    case Command::decode: return "decode";
    case Command::e2e: return "e2e";
  }
  return "?";
}

void set_command_defaults(Plan& plan, Command command, bool total_budget_given) {
  const bool both = command == Command::throughput;  // its question is how much faster than the softmax twin
  if (plan.hybrid.empty())
    plan.hybrid = both ? std::vector<std::string>{"model", "softmax"} : std::vector<std::string>{"model"};
  const bool cpu = std::all_of(plan.engine.begin(), plan.engine.end(), [](const auto& e) { return e == "reference"; });
  if (both && cpu && !total_budget_given) plan.total_budget_s = 150;  // as long as a person waits for a first answer
  if (plan.full) {
    plan.estimate = EstimateMode::never;
    plan.time_budget_s = std::numeric_limits<double>::infinity();
    plan.total_budget_s.reset();
  }
}

// --- Models ---

fs::path configs_folder() {
  std::vector<fs::path> candidates;
  if (const char* folder = std::getenv("RINGBENCH_CONFIGS"); folder != nullptr && *folder != '\0') {
    candidates = {folder};
  } else {
    std::error_code no_proc;
    const fs::path program = fs::read_symlink("/proc/self/exe", no_proc);
    candidates = {program.parent_path().parent_path() / "share/ringbench/configs", RINGBENCH_SOURCE_CONFIG_DIR};
  }
  for (const fs::path& folder : candidates)
    if (fs::is_directory(folder / "models")) return folder;
  throw UsageError("no folder of configs: looked for models/ in " + candidates.front().string() +
                   ". Set RINGBENCH_CONFIGS to the folder configs of the source tree.");
}

std::vector<std::string> preset_names() { return json_names(configs_folder() / "models"); }

namespace {

// A checkpoint named on the command line; throws if there is none.
fs::path checkpoint_named(const std::string& name, std::string_view flag) {
  const fs::path folder = find_checkpoint(name);
  if (folder.empty())
    throw UsageError(std::string(flag) + ": '" + name +
                     "' is neither a folder nor a repository in the local Hugging Face cache.");
  return folder;
}

ModelConfig load_config_of(const fs::path& checkpoint) {
  if (!fs::is_regular_file(checkpoint / "config.json"))
    throw UsageError((checkpoint / "config.json").string() + ": no such file. A checkpoint folder needs one.");
  return ModelConfig::load(checkpoint / "config.json");
}

}  // namespace

Model resolve_model(const std::string& model, const std::string& config_file, const std::string& weights) {
  Model resolved;
  if (!weights.empty()) resolved.checkpoint = checkpoint_named(weights, "--weights");
  if (!config_file.empty()) {
    if (!fs::is_regular_file(config_file)) throw UsageError("--config: '" + config_file + "' is no file.");
    resolved.config = ModelConfig::load(config_file);
    return resolved;
  }
  if (model == "auto" && !weights.empty()) {
    resolved.config = load_config_of(resolved.checkpoint);
    return resolved;
  }
  const std::string name = model == "auto" ? "ring-nano-linear" : model;  // the CPU's share of `auto`
  const bool may_be_preset = name.find('/') == std::string::npos && name != "." && name != "..";
  if (const fs::path preset = configs_folder() / "models" / (name + ".json"); may_be_preset && fs::exists(preset)) {
    resolved.config = ModelConfig::load(preset);
    return resolved;
  }
  const fs::path folder = find_checkpoint(name);
  if (folder.empty()) {
    const std::vector<std::string> presets = preset_names();
    const std::string near = nearest_word(name, presets);
    throw UsageError("unknown model '" + name + "'." + (near.empty() ? "" : " Did you mean " + near + "?"),
                     "presets: " + join(presets, ", ") + "; or give --config FILE, or a checkpoint folder as --model");
  }
  if (resolved.checkpoint.empty()) resolved.checkpoint = folder;
  resolved.config = load_config_of(folder);
  return resolved;
}

namespace {

struct YarnFlag {
  enum class Kind { automatic, off, given } kind = Kind::automatic;
  double factor = 1;
  int64_t original = 0;  // 0: the model's own window
};

YarnFlag parse_yarn(const std::string& text) {
  if (text == "auto") return {};
  if (text == "off") return {YarnFlag::Kind::off, 1, 0};
  YarnFlag yarn = {YarnFlag::Kind::given, 0, 0};
  const size_t colon = std::min(text.find(':'), text.size());
  const auto [end, error] = std::from_chars(text.data(), text.data() + colon, yarn.factor);
  if (error != std::errc() || end != text.data() + colon || !(yarn.factor >= 1) || !std::isfinite(yarn.factor))
    throw UsageError("--yarn: '" + text + "' is not a setting. Use auto, off, or FACTOR[:ORIGINAL] such as 4:32k.");
  if (colon < text.size()) yarn.original = parse_tokens(std::string_view(text).substr(colon + 1), "--yarn", 1);
  return yarn;
}

std::string number_text(double value) {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text << value;
  return text.str();
}

}  // namespace

void apply_yarn(ModelConfig& config, const std::string& yarn, int64_t ctx, std::vector<std::string>& warnings) {
  const YarnFlag flag = parse_yarn(yarn);
  if (flag.kind == YarnFlag::Kind::off) {
    config.rope_scaling.reset();
  } else if (flag.kind == YarnFlag::Kind::given) {
    int64_t original = flag.original;
    if (original == 0)
      original =
          config.rope_scaling ? config.rope_scaling->original_max_position_embeddings : config.max_position_embeddings;
    if (flag.factor > 1)
      config.rope_scaling = RopeScaling::yarn(flag.factor, original);
    else
      config.rope_scaling.reset();
  } else if (config.rope_scaling) {
    const RopeScaling& own = *config.rope_scaling;
    const auto max = static_cast<double>(config.max_position_embeddings);
    const double implied = max / static_cast<double>(own.original_max_position_embeddings);
    if (implied > 1 && std::abs(implied - own.factor) > 1e-6 * own.factor)
      warnings.push_back("W-YARN: the config's factor is " + number_text(own.factor) + ", but its windows say " +
                         number_text(implied) + "; the factor is taken as given.");
  } else if (ctx > config.max_position_embeddings && config.card_yarn) {
    config.rope_scaling = config.card_yarn;
  }
}

// --- Layouts ---

namespace {

HybridRatio parse_hybrid(const std::string& text) {
  try {
    return HybridRatio::parse(text);
  } catch (const ConfigError&) {
    throw UsageError("--hybrid: write M:1 (M linear layers per softmax layer), 'softmax', 'linear' or 'model'.");
  }
}

// "--hybrid 4:1 needs a multiple of 5 layers; ring-lite-linear has 28. Try --layers 25 or 30, or --hybrid 6:1."
std::string does_not_divide(const ModelConfig& config, int linear_per_softmax) {
  const int group = linear_per_softmax + 1, layers = config.num_hidden_layers;
  const int below = layers / group * group;
  std::string depths = (below > 0 ? std::to_string(below) + " or " : "") + std::to_string(below + group);
  // The model's own ratio if it has one, else the nearest that divides this depth.
  std::string ratio = config.hybrid_label();
  if (ratio.find(':') == std::string::npos) {
    int nearest = layers - 1;
    for (int m = 1; m < layers; ++m)
      if (layers % (m + 1) == 0 && std::abs(m - linear_per_softmax) < std::abs(nearest - linear_per_softmax))
        nearest = m;
    ratio = nearest > 0 ? std::to_string(nearest) + ":1" : "softmax";
  }
  return "--hybrid " + std::to_string(linear_per_softmax) + ":1 needs a multiple of " + std::to_string(group) +
         " layers; " + config.name + " has " + std::to_string(layers) + ". Try --layers " + depths + ", or --hybrid " +
         ratio + ".";
}

}  // namespace

ModelConfig with_layout(const ModelConfig& model, std::optional<int64_t> layers, const std::string& hybrid) {
  ModelConfig config = layers ? model.with_layers(static_cast<int>(*layers)) : model;
  const HybridRatio ratio = parse_hybrid(hybrid);
  if (ratio.kind == HybridRatio::Kind::model) return config;
  if (ratio.kind == HybridRatio::Kind::ratio && config.num_hidden_layers % (ratio.linear_per_softmax + 1) != 0)
    throw UsageError(does_not_divide(config, ratio.linear_per_softmax));
  try {
    return config.with_hybrid_ratio(ratio);
  } catch (const ConfigError& e) {
    throw UsageError("--hybrid " + hybrid + ": " + e.what());
  }
}

std::string too_little_memory(const Memory& needed, int64_t available_bytes) {
  char text[200];
  const auto gib = [](int64_t bytes) { return static_cast<double>(bytes) / 0x1p30; };
  std::snprintf(text, sizeof text,
                "needs %.1f GiB (weights %.1f, KV %.1f, state %.1f, workspace %.1f), device has %.1f free.",
                gib(needed.total()), gib(needed.weights), gib(needed.kv), gib(needed.state), gib(needed.workspace),
                gib(available_bytes));
  return text;
}

// --- The grid ---

namespace {

// One axis or several that advance together; index i picks the i-th value of each.
struct Dimension {
  std::vector<std::string> axes;
  size_t size = 1;
};

// Which value of each axis a point takes.
using Indices = std::map<std::string, size_t>;

std::vector<std::string> phases_of(Command command) {
  if (command == Command::throughput) return {"prefill", "decode"};
  return {std::string(name_of(command))};
}

// Outermost first: a table reads best if what is compared, the ratio, varies fastest.
std::vector<Dimension> dimensions_of(const Plan& plan, Command command) {
  std::vector<Dimension> dimensions = {{{"engine"}, plan.engine.size()},
                                       {{"layers"}, std::max<size_t>(1, plan.layers.size())},
                                       {{"yarn"}, plan.yarn.size()},
                                       {{"batch"}, plan.batch.size()},
                                       {{"ctx"}, plan.ctx.size()},
                                       {{"gen"}, plan.gen.size()},
                                       {{"phase"}, phases_of(command).size()},
                                       {{"hybrid"}, plan.hybrid.size()}};
  const std::vector<std::string> zippable = {"layers", "yarn", "batch", "ctx", "gen", "hybrid"};
  for (const std::string& group : plan.zip) {
    const std::vector<std::string> axes = split_list({group}, "--zip");
    if (axes.size() < 2)
      throw UsageError("--zip: '" + group + "' names one axis. Name two or more, such as ctx,batch.");
    Dimension* zipped = nullptr;
    for (const std::string& axis : axes) {
      const auto found = std::find_if(dimensions.begin(), dimensions.end(),
                                      [&](const Dimension& d) { return d.axes == std::vector<std::string>{axis}; });
      if (std::find(zippable.begin(), zippable.end(), axis) == zippable.end() || found == dimensions.end())
        throw UsageError("--zip: '" + axis + "' is not an axis, or was named before. Axes: " + join(zippable, ", ") +
                         ".");
      if (zipped == nullptr) {
        zipped = &*found;
        continue;
      }
      if (found->size != zipped->size)
        throw UsageError("--zip: " + zipped->axes.front() + " has length " + std::to_string(zipped->size) + ", " +
                         axis + " has length " + std::to_string(found->size) +
                         ". Lists that are zipped need the same length.");
      found->size = 0;  // taken over; removed below, so that `zipped` stays valid
      found->axes.clear();
      zipped->axes.push_back(axis);
    }
    std::erase_if(dimensions, [](const Dimension& d) { return d.axes.empty(); });
  }
  return dimensions;
}

bool meets_conditions(const Plan& plan, const Point& point) {
  const auto value_of = [&](std::string_view name) -> int64_t {
    if (name == "ctx") return point.ctx;
    if (name == "gen") return point.gen;
    if (name == "batch") return point.batch;
    if (name == "layers") return point.config.num_hidden_layers;
    throw UsageError("--where: '" + std::string(name) + "' is unknown. Use ctx, gen, batch and layers.");
  };
  return std::all_of(plan.where.begin(), plan.where.end(), [&](const std::string& w) { return holds(w, value_of); });
}

int64_t replicas_of(const Point& point) {
  return is_served(point.engine) ? std::ssize(parse_endpoint_urls(point.engine)) : 1;
}

// What was asked for, as text: the same for every engine, dtype, chunk, thread count, build and machine.
std::string point_id(const Plan& plan, const Point& point) {
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text.precision(17);
  text << "config=" << point.config_sha << "\nhybrid=" << point.hybrid << "\nlayers=" << point.config.num_hidden_layers
       << "\nphase=" << point.phase << "\nctx=" << point.ctx << "\ngen=" << point.gen
       << "\nbatch=" << (point.batch > 0 ? std::to_string(point.batch) : "auto") << "\nrequests=" << point.requests
       << "\nyarn=" << point.yarn_factor << ":" << point.yarn_original
       << "\nrouting=" << (plan.routing == Routing::uniform ? "uniform" : "measured") << "\nseed=" << plan.seed
       << "\ntask=\n";
  if (plan.rate) text << "rate=" << *plan.rate << "\n";
  if (point.replica > 0) text << "replica=" << point.replica << "/" << replicas_of(point) << "\n";
  if (!plan.prompt_file.empty()) text << "prompt=" << fs::path(plan.prompt_file).filename().string() << "\n";
  return sha256_hex(text.str()).substr(0, 16);
}

// Which weights fit a layout: the checkpoint's own, the twin's, or random ones, which is said.
void choose_weights(const Plan& plan, const Model& model, Point& point) {
  if (model.checkpoint.empty()) return;
  if (point.config.layer_types == model.config.layer_types) {
    point.checkpoint = model.checkpoint;
  } else if (point.hybrid == "softmax" && !plan.twin_weights.empty() &&
             point.config.num_hidden_layers == model.config.num_hidden_layers) {
    point.checkpoint = checkpoint_named(plan.twin_weights, "--twin-weights");
  } else {
    point.warnings.push_back(
        "W-WEIGHTS: random weights, the checkpoint has another layout" +
        std::string(point.hybrid == "softmax" ? " (--twin-weights DIR gives the twin its own)." : "."));
  }
}

void check_window(Point& point, int64_t length) {
  const int64_t window = point.config.trained_window();
  if (length <= window) return;
  point.beyond_window = true;
  const auto& yarn = point.config.rope_scaling;
  point.warnings.push_back(
      "W-WINDOW: ctx " + std::to_string(length) + " is beyond the trained window " + std::to_string(window) + " (" +
      (yarn ? "YaRN " + number_text(yarn->factor) + "x of " + std::to_string(yarn->original_max_position_embeddings)
            : "no YaRN") +
      "): timing only, row flagged X.");
}

// Fills a point whose axes are chosen. Sets `error` instead of throwing where only this point is at fault.
void resolve(const Plan& plan, const Model& model, const Indices& at, Point& point) {
  point.ctx = plan.ctx[at.at("ctx")];
  point.gen = point.phase == "prefill" ? 0 : plan.gen[at.at("gen")];
  point.batch = plan.batch[at.at("batch")];
  point.requests = plan.requests.value_or(point.batch);
  point.engine = plan.engine[at.at("engine")];
  point.config = model.config;
  point.hybrid = plan.hybrid[at.at("hybrid")];
  const auto layers = plan.layers.empty() ? std::nullopt : std::optional(plan.layers[at.at("layers")]);
  // Positions that the rotary embedding must reach; a decode point starts at ctx, as the definition of --yarn says.
  const int64_t length = point.phase == "e2e" ? point.tokens() : point.ctx;
  try {
    point.config = with_layout(model.config, layers, point.hybrid);
    point.hybrid = point.config.hybrid_label();
    apply_yarn(point.config, plan.yarn[at.at("yarn")], length, point.warnings);
    if (point.ctx == 0 && point.phase != "decode")
      throw UsageError("--ctx 0: " + point.phase + " needs a prompt of at least 1 token.");
    if (point.batch == 0 && is_served(point.engine))
      throw UsageError("--batch auto is for our own engines: what fits into a server's memory is the server's to say.");
    if (point.batch > EndpointLoad::kMostStreams && is_served(point.engine))
      throw UsageError("--batch " + std::to_string(point.batch) + ": at most " +
                       std::to_string(EndpointLoad::kMostStreams) + " requests can be with a server at once.");
    if (point.batch == 0 && (!plan.requests || point.phase != "e2e"))
      throw UsageError("--batch auto needs --requests N and the command e2e: as many of N as fit run at once.");
    if (point.requests < point.batch)
      throw UsageError("--requests " + std::to_string(point.requests) + " is less than --batch " +
                       std::to_string(point.batch) + ".");
    check_window(point, length);
  } catch (const UsageError& e) {
    point.error = e.what();
  } catch (const ConfigError& e) {
    point.error = e.what();
  }
  if (const auto& yarn = point.config.rope_scaling) {
    point.yarn_factor = yarn->factor;
    point.yarn_original = yarn->original_max_position_embeddings;
  }
}

}  // namespace

namespace {

constexpr size_t kMaxPoints = 1000000;

size_t product_of(const std::vector<Dimension>& dimensions) {
  size_t total = 1;
  for (const Dimension& d : dimensions)
    if (__builtin_mul_overflow(total, d.size, &total)) return std::numeric_limits<size_t>::max();
  return total;
}

// Appends the points of one grid that are not among `seen`; true if one met every condition.
bool expand_grid(const Grid& grid, size_t number, std::set<std::string>& seen, std::vector<Point>& points) {
  const auto& [command, plan] = grid;
  Model model = resolve_model(plan.model, plan.config_file, plan.weights);
  if (plan.slope_layer_offset) model.config.slope_layer_offset = *plan.slope_layer_offset;
  for (const std::string& hybrid : plan.hybrid) parse_hybrid(hybrid);  // misspelt words are not points that fail
  for (const std::string& yarn : plan.yarn) parse_yarn(yarn);

  const std::vector<Dimension> dimensions = dimensions_of(plan, command);
  const size_t total = product_of(dimensions);
  bool met = false;
  for (size_t i = 0; i < total; ++i) {
    Indices at;
    size_t rest = i;
    for (auto d = dimensions.rbegin(); d != dimensions.rend(); ++d) {  // the last dimension varies fastest
      for (const std::string& axis : d->axes) at[axis] = rest % d->size;
      rest /= d->size;
    }
    Point point;
    point.grid = number;
    point.phase = phases_of(command)[at.at("phase")];
    resolve(plan, model, at, point);
    const bool other_layout = point.error.empty() && point.config.layer_types != model.config.layer_types;
    if (is_served(point.engine) && other_layout) {
      if (plan.hybrid.size() > 1) continue;  // for the other engines of the list
      point.error = "a server has the layers of its model, not " + point.hybrid + ": leave --hybrid and --layers out.";
    }
    if (!meets_conditions(plan, point)) continue;
    met = true;
    point.config_sha = point.config.sha();
    point.dtype = plan.dtype.value_or(default_dtype(point.engine));
    point.chunk = is_served(point.engine) ? 0 : plan.chunk.value_or(default_chunk(point.engine));
    if (point.error.empty()) choose_weights(plan, model, point);
    const int64_t replicas = point.error.empty() ? replicas_of(point) : 1;
    for (point.replica = 0; point.replica <= (replicas > 1 ? replicas : 0); ++point.replica) {
      point.id = point_id(plan, point);
      const bool asked =
          point.replica == 0 || own_share(point, point.phase == "e2e" ? point.requests : point.batch) > 0;
      if (asked && seen.insert(point_key(point)).second) points.push_back(point);
    }
  }
  return met;
}

}  // namespace

std::string row_engine(const Point& point) {
  if (point.replica == 0) return point.engine;
  return "openai:" + parse_endpoint_urls(point.engine)[static_cast<size_t>(point.replica - 1)].text();
}

int64_t own_share(const Point& point, int64_t count) {
  if (point.replica == 0) return count;
  const int64_t replicas = replicas_of(point);  // request i goes to replica i modulo their number
  return (count - point.replica + replicas) / replicas;
}

std::string point_key(const Point& point) {
  return point.id + " " + row_engine(point) + " " + std::string(name_of(point.dtype)) + " " +
         std::to_string(point.chunk);
}

std::string comparison_key(const Point& point) {
  std::ostringstream key;
  key.imbue(std::locale::classic());
  key << point.grid << " " << point.config.name << " " << point.config.num_hidden_layers << " " << point.phase << " "
      << point.engine << " " << name_of(point.dtype) << " " << point.chunk << " " << point.ctx << " " << point.gen
      << " " << point.batch << " " << point.requests << " " << point.yarn_factor << ":" << point.yarn_original;
  return key.str();
}

std::vector<Point> expand(const std::vector<Grid>& grids) {
  size_t total = 0;
  for (const auto& [command, plan] : grids)
    if (__builtin_add_overflow(total, product_of(dimensions_of(plan, command)), &total))
      total = std::numeric_limits<size_t>::max();
  if (total > kMaxPoints)
    throw UsageError("the grid has " +
                         (total < std::numeric_limits<int64_t>::max() ? grouped(static_cast<int64_t>(total))
                                                                      : std::string("more than 2^63")) +
                         " points; the most is " + grouped(kMaxPoints) + ".",
                     "Use fewer values, --zip for axes that advance together, or several runs.");
  std::vector<Point> points;
  std::set<std::string> seen;
  bool met = false;
  for (size_t i = 0; i < grids.size(); ++i) met |= expand_grid(grids[i], i, seen, points);
  if (!met) throw UsageError("--where: no point of the grid meets every condition.");
  if (std::none_of(points.begin(), points.end(), [](const Point& p) { return p.error.empty(); }))
    throw UsageError(points.front().error);
  return points;
}

std::vector<Point> expand(const Plan& plan, Command command) { return expand({{command, plan}}); }

// --- Repeating a point ---

std::string shell_word(const std::string& text) {
  const bool plain = !text.empty() && text.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                          "_-+=:,./%@") == std::string::npos;
  if (plain) return text;
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? "'\\''" : std::string(1, c);
  return word + "'";
}

std::string yarn_word(const Point& point) {
  return point.yarn_factor == 1 ? "off" : number_text(point.yarn_factor) + ":" + std::to_string(point.yarn_original);
}

std::string repro_command(const Plan& plan, const Point& point) {
  std::string command = "ringbench " + point.phase;
  const auto add = [&](const std::string& flag, const std::string& value) {
    command += " " + flag + " " + shell_word(value);
  };
  // Folders by their last part: a record names no places of the machine it was made on.
  const auto last_part = [](const std::string& path) {
    return (fs::path(path) / "").parent_path().filename().string();
  };
  if (!plan.config_file.empty())
    add("--config", last_part(plan.config_file));
  else if (plan.model != "auto" || plan.weights.empty())
    add("--model", plan.model == "auto" ? "ring-nano-linear" : last_part(plan.model));
  if (!plan.weights.empty()) add("--weights", last_part(plan.weights));
  if (!plan.twin_weights.empty()) add("--twin-weights", last_part(plan.twin_weights));
  if (plan.dummy == Dummy::zero) add("--dummy", "zero");
  add("--hybrid", point.hybrid);
  if (!plan.layers.empty()) add("--layers", std::to_string(point.config.num_hidden_layers));
  add("--ctx", std::to_string(point.ctx));
  if (point.phase != "prefill") add("--gen", std::to_string(point.gen));
  add("--batch", std::to_string(point.batch));  // of auto: what it came to
  if (point.requests != point.batch) add("--requests", std::to_string(point.requests));
  if (plan.yarn != std::vector<std::string>{"auto"}) add("--yarn", yarn_word(point));
  if (plan.slope_layer_offset) add("--slope-layer-offset", std::string(name_of(*plan.slope_layer_offset)));
  if (plan.rope_angles == RopeAngles::f32) add("--rope-angles", "f32");
  if (plan.routing == Routing::uniform) add("--routing", "uniform");
  if (plan.depth_fill != DepthFill::automatic)
    add("--depth-fill", plan.depth_fill == DepthFill::real ? "real" : "synthetic");
  if (plan.chunk) add("--chunk", std::to_string(*plan.chunk));
  add("--engine", point.engine);
  if (!is_served(point.engine) || plan.dtype) add("--dtype", std::string(name_of(point.dtype)));
  if (!plan.served_model.empty()) add("--served-model", plan.served_model);
  if (!plan.start.empty()) add("--start", plan.start);
  if (plan.rate) add("--rate", number_text(*plan.rate));
  if (!plan.prompt_file.empty()) add("--prompt-file", last_part(plan.prompt_file));
  for (const std::string& kernel : plan.kernels) add("--kernel", kernel);
  add("--seed", std::to_string(plan.seed));
  if (plan.full) command += " --full";
  return command;
}

}  // namespace ringbench
