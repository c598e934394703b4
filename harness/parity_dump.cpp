// parity_dump.cpp: see parity_dump.h.
#include "harness/parity_dump.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "harness/json_object.h"
#include "harness/parity_levels.h"
#include "reference/weights.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;

std::string golden_name(int layer, std::string_view name) {
  return layer < 0 ? std::string(name) : "layer." + std::to_string(layer) + "." + std::string(name);
}

std::string file_in(const fs::path& path) {
  for (const char* name : {"dump.safetensors", "golden.safetensors"})
    if (fs::is_directory(path) && fs::exists(path / name)) return (path / name).string();
  return path.string();
}

// A dump's tensors by golden name.
struct Dump {
  SafeTensors file;  // that the views look into
  std::map<std::string, HostTensorView> tensors;

  bool contains(const std::string& name) const { return tensors.contains(name); }
  const HostTensorView& at(const std::string& name) const { return tensors.at(name); }
};

// What stands for "{i}" where `name` is of the form `pattern`; "" for patterns without it; nothing where it is not.
std::optional<std::string> matched(const std::string& pattern, const std::string& name) {
  const size_t at = pattern.find("{i}");
  if (at == std::string::npos) return pattern == name ? std::optional<std::string>("") : std::nullopt;
  const size_t after = pattern.size() - at - 3;
  if (name.size() <= at + after || name.compare(0, at, pattern, 0, at) != 0 || !name.ends_with(pattern.substr(at + 3)))
    return std::nullopt;
  const std::string number = name.substr(at, name.size() - at - after);
  const bool digits = std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits ? std::optional(number) : std::nullopt;
}

std::string with_number(std::string name, const std::string& number) {
  if (const size_t at = name.find("{i}"); at != std::string::npos) name.replace(at, 3, number);
  return name;
}

// `names`: a JSON file of {"theirs": "golden"}, such as {"blocks.{i}.attention.query": "layer.{i}.q"}; empty: as they
// are. Names that it does not give stay.
Dump open_dump(const std::string& file, const fs::path& names) {
  Dump dump{SafeTensors::open(file), {}};
  std::vector<std::pair<std::string, std::string>> mapping;
  std::set<std::string> used;
  if (!names.empty()) {
    JsonObject json = read_json_object(names);
    for (const auto& [theirs, golden] : json.json().items()) mapping.emplace_back(theirs, json.text(theirs));
  }
  const auto golden_of = [&](const std::string& name) {
    for (const auto& [theirs, golden] : mapping)
      if (const auto number = matched(theirs, name)) {
        used.insert(theirs);
        return with_number(golden, *number);
      }
    return name;
  };
  for (const auto& [name, view] : dump.file.tensors())
    if (const std::string golden = golden_of(name); !dump.tensors.emplace(golden, view).second)
      throw UsageError("--load: " + file + ": two tensors are " + quoted(golden) + ", one of them " + quoted(name) +
                       ".");
  for (const auto& [theirs, golden] : mapping)
    if (!used.contains(theirs))
      throw UsageError("--names: " + names.string() + ": no tensor of the dump is " + quoted(theirs) + ".");
  return dump;
}

std::vector<double> doubles_at(const Dump& dump, const std::string& name) { return to_doubles(dump.at(name)); }

// The tensors of one layer: "layer.3.attn_in" becomes "attn_in". Throws UsageError where rows are not the tokens.
Pass pass_in(const Dump& dump, int layer, int64_t tokens, const ModelConfig& config) {
  const std::string prefix = golden_name(layer, "");
  Pass pass;
  for (auto at = dump.tensors.lower_bound(prefix); at != dump.tensors.end() && at->first.starts_with(prefix); ++at) {
    const std::string name = at->first.substr(prefix.size());
    const HostTensorView& tensor = at->second;
    if (name == "state" || name == "log_decay") continue;
    const bool input = name == "attn_in" || name == "mlp_in";
    if (tensor.shape.empty() || tensor.shape[0] != tokens ||
        (input && (tensor.shape.size() != 2 || tensor.shape[1] != config.hidden_size)))
      throw UsageError("--load: " + at->first + " has shape " + shape_string(tensor.shape) + "; expected " +
                       std::to_string(tokens) + " rows, one for each of input_ids" +
                       (input ? ", of hidden_size " + std::to_string(config.hidden_size) : "") + ".");
    pass.emplace(name, copy_of(tensor));
  }
  return pass;
}

}  // namespace

void save_dump(const Subject& subject, const ParityScope& scope, const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw UsageError("--save: cannot make '" + folder.string() + "': " + error.message() + ".");
  const std::vector<int32_t> tokens = random_tokens(subject.config, subject.seed, scope.tokens);
  EngineOptions options = subject.options;
  options.slots = 1;
  options.chunk = 0;  // one pass, so that every tensor comes once
  options.max_tokens = scope.tokens;
  const auto engine = subject.make(subject.config, options);
  std::vector<std::pair<std::string, HostTensor>> kept;
  const std::set<int> wanted(scope.layers.begin(), scope.layers.end());
  engine->hook = [&](int layer, std::string_view name, const HostTensorView& values) {
    if (layer < 0 || wanted.empty() || wanted.contains(layer))
      kept.emplace_back(golden_name(layer, name), copy_of(values));
  };
  const Step step = {0, tokens};
  engine->forward({&step, 1}, Rows::all);
  engine->hook = nullptr;
  kept.emplace_back("logits", copy_of(engine->logits()));
  for (int layer = 0; layer < subject.config.num_hidden_layers; ++layer) {
    if (!wanted.empty() && !wanted.contains(layer)) continue;
    LayerState state = engine->export_state(0, layer);
    if (!state.kv.empty()) kept.emplace_back(golden_name(layer, "state"), std::move(state.kv));
  }
  HostTensor ids(DType::i32, {scope.tokens});
  std::copy(tokens.begin(), tokens.end(), ids.as<int32_t>().begin());
  kept.emplace_back("input_ids", std::move(ids));
  std::stable_sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) {
    return size_of(a.second.dtype()) > size_of(b.second.dtype());  // wide types first: aligned
  });
  std::vector<std::pair<std::string, HostTensorView>> views;
  for (const auto& [name, tensor] : kept) views.emplace_back(name, tensor);
  try {
    write_safetensors(folder / "dump.safetensors", views,
                      {{"model", subject.config.name},
                       {"engine", subject.engine},
                       {"dtype", std::string(name_of(subject.options.dtype))},
                       {"weights", subject.weights->label()}});
  } catch (const WeightsError& e) {
    throw Failure(ExitCode::environment, std::string("--save: ") + e.what());
  }
}

Findings check_dump(const Subject& subject, const ParityScope& scope, const fs::path& path, const fs::path& names) {
  const std::string file = file_in(path);
  if (!fs::is_regular_file(file)) throw UsageError("--load: '" + path.string() + "' holds no dump.safetensors.");
  const Dump dump = open_dump(file, names);
  if (!dump.contains("input_ids")) throw UsageError("--load: " + file + " has no tensor input_ids.");
  std::vector<int32_t> tokens;
  for (const double id : doubles_at(dump, "input_ids")) {
    if (!(id >= 0 && id < static_cast<double>(subject.config.vocab_size)))
      throw UsageError("--load: " + file + ": token ids of this model are 0 to " +
                       std::to_string(subject.config.vocab_size - 1) + ".");
    tokens.push_back(static_cast<int32_t>(id));
  }
  // What the engine that wrote it rounds: known from its type alone.
  const Rounding real = subject.options.dtype == DType::bf16 ? Rounding::bf16 : Rounding::f32;
  const Precision precision = {real, real,          real, real,          real,         real,
                               real, Rounding::f32, real, Rounding::f32, Rounding::f32};
  EngineOptions options = truth_options(subject.options);
  options.slots = 1;
  options.chunk = 0;
  options.max_tokens = static_cast<int64_t>(tokens.size());
  EngineOptions rounded_options = options;
  rounded_options.precision = precision;

  Findings findings;
  const double length =
      static_cast<double>(std::max({subject.config.hidden_size, subject.config.intermediate_size, options.max_tokens}));
  try {
    for (int layer = 0; layer < subject.config.num_hidden_layers; ++layer) {
      std::vector<Pass> passes(1);
      passes[0] = pass_in(dump, layer, options.max_tokens, subject.config);
      if (!passes[0].contains("attn_in")) continue;
      Recording recording;
      for (const std::string& stream : {"hidden." + std::to_string(layer), "hidden." + std::to_string(layer + 1)})
        if (dump.contains(stream)) recording.streams[stream] = doubles_at(dump, stream);
      LayerState end;
      const std::string state = golden_name(layer, "state");
      if (dump.contains(state)) end.kv = copy_of(dump.at(state));
      check_one_layer(subject, scope, layer, passes, recording, end.kv.empty() ? nullptr : &end, precision, findings);
      findings.layers.push_back(layer);
    }
    if (dump.contains("logits")) {
      Walk truth, rounded;
      walk(*make_reference_engine(subject.config, *subject.weights, options), 0, tokens, 0, false, truth);
      walk(*make_reference_engine(subject.config, *subject.weights, rounded_options), 0, tokens, 0, false, rounded);
      // As in level model: the network passes float errors on, as far as the rounded walk shows.
      double floor = float_floor(length);
      if (real == Rounding::f32)
        floor = std::max(floor, discrepancy(rounded.logits, truth.logits).rms * std::ldexp(float_floor(length), 24));
      keep(findings, scope,
           compare_above("model", -1, "logits", doubles_at(dump, "logits"), truth.logits, rounded.logits, floor));
    }
  } catch (const EnoughSeen&) {}
  if (findings.checks.empty())
    throw UsageError("--load: " + file + " holds nothing to judge: neither logits nor layer.0.attn_in.");
  findings.depth = options.max_tokens;
  return findings;
}

}  // namespace ringbench
