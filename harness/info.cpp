// info.cpp: see info.h. No weights are touched: everything follows from the list of tensors that a config asks for.
#include "harness/info.h"

#include <nlohmann/json.hpp>
#include <ostream>

#include "harness/cost.h"
#include "harness/environment.h"
#include "reference/weights.h"

namespace ringbench {
namespace {

using Json = nlohmann::ordered_json;

std::string size_text(int64_t bytes) {
  char text[64];
  const auto value = static_cast<double>(bytes);
  if (bytes >= 1 << 30)
    std::snprintf(text, sizeof text, "%.2f GiB", value / 0x1p30);
  else if (bytes >= 1 << 20)
    std::snprintf(text, sizeof text, "%.2f MiB", value / 0x1p20);
  else
    std::snprintf(text, sizeof text, "%.2f KiB", value / 0x1p10);
  return text;
}

struct Bytes {
  int64_t weights = 0;       // of the whole checkpoint, an MTP layer included
  int64_t kv_per_token = 0;  // of one sequence
  int64_t state = 0;         // of one sequence
};

Bytes count_bytes(const ModelConfig& config, DType dtype) {
  Bytes bytes;
  for (const TensorSpec& spec : expected_tensors(config))
    bytes.weights += spec.size() * (spec.dtype == DType::bf16 ? size_of(dtype) : size_of(spec.dtype));
  bytes.kv_per_token = kv_bytes_per_token(config, dtype);
  bytes.state = state_bytes(config, dtype);
  return bytes;
}

void write_text(std::ostream& out, const ModelConfig& config, const InfoRequest& request, const Bytes& bytes) {
  const ParameterCounts parameters = count_parameters(config);
  const std::string dtype(name_of(request.dtype));
  const auto line = [&](std::string_view title, const std::string& text) {
    out << title << std::string(17 - title.size(), ' ') << text << "\n";
  };
  line("model", config.name + " (" + config.architecture + ")");
  line("layers", std::to_string(config.num_hidden_layers) + ": " + config.layer_pattern());
  line("", std::to_string(config.count(LayerType::linear_attention)) + " linear (L), " +
               std::to_string(config.count(LayerType::softmax_attention)) + " softmax (S), " +
               std::to_string(config.count(LayerType::sliding_attention)) + " sliding (W)" +
               (config.has_mtp() ? ", 1 MTP layer after them" : ""));
  line("sizes", "hidden " + std::to_string(config.hidden_size) + ", " + std::to_string(config.num_attention_heads) +
                    " heads x " + std::to_string(config.head_dim) + ", " + std::to_string(config.num_key_value_heads) +
                    " KV heads, vocabulary " + std::to_string(config.vocab_size));
  if (config.num_experts > 0)
    line("experts",
         std::to_string(config.num_experts_per_tok) + " of " + std::to_string(config.num_experts) + ", width " +
             std::to_string(config.moe_intermediate_size) +
             (config.shared_intermediate_size > 0 ? ", shared expert " + std::to_string(config.shared_intermediate_size)
                                                  : ""));
  line("parameters", grouped(parameters.total) + " total");
  line("", grouped(parameters.active) + " active, " + grouped(parameters.active_non_embedding) +
               " of them outside embedding and head");
  line("weights", size_text(bytes.weights) + " in " + dtype);
  line("KV cache", grouped(bytes.kv_per_token) + " B a token in " + dtype);
  line("linear state", size_text(bytes.state) + " a sequence");
  const auto& yarn = config.rope_scaling;
  char factor[32] = "";
  if (yarn) std::snprintf(factor, sizeof factor, "%g", yarn->factor);
  line("trained window",
       std::to_string(config.trained_window()) + " (" + token_label(config.trained_window()) + ")" +
           (yarn ? ", YaRN " + std::string(factor) + "x of " + std::to_string(yarn->original_max_position_embeddings)
                 : ""));
  if (request.ctx) {
    const int64_t kv = bytes.kv_per_token * *request.ctx * request.batch, state = bytes.state * request.batch;
    line("at this point", "ctx " + std::to_string(*request.ctx) + " (" + token_label(*request.ctx) + "), batch " +
                              std::to_string(request.batch) + ": KV " + size_text(kv) + ", state " + size_text(state) +
                              ", with weights " + size_text(kv + state + bytes.weights));
  }
  if (!config.defaulted_keys.empty()) line("not in the file", join(config.defaulted_keys, ", "));
  for (const std::string& note : config.notes) line("note", note);
}

}  // namespace

void write_info(std::ostream& out, const InfoRequest& request) {
  ModelConfig config = resolve_model(request.model, request.config_file, request.weights).config;
  if (request.slope_layer_offset) config.slope_layer_offset = *request.slope_layer_offset;
  config = with_layout(config, request.layers, request.hybrid);
  std::vector<std::string> warnings;
  apply_yarn(config, request.yarn, request.ctx.value_or(0), warnings);
  config.notes.insert(config.notes.end(), warnings.begin(), warnings.end());
  const Bytes bytes = count_bytes(config, request.dtype);
  if (!request.json) {
    write_text(out, config, request, bytes);
    return;
  }
  const ParameterCounts parameters = count_parameters(config);
  Json info = {{"model", config.name},
               {"architecture", config.architecture},
               {"layers", config.num_hidden_layers},
               {"layer_pattern", config.layer_pattern()},
               {"params_total", parameters.total},
               {"params_active", parameters.active},
               {"params_active_non_embedding", parameters.active_non_embedding},
               {"weights_bytes", bytes.weights},
               {"kv_bytes_per_token", bytes.kv_per_token},
               {"state_bytes", bytes.state},
               {"trained_window", config.trained_window()},
               {"defaulted_keys", config.defaulted_keys},
               {"notes", config.notes}};
  if (request.ctx) {
    info["ctx"] = *request.ctx;
    info["ctx_label"] = token_label(*request.ctx);
    info["batch"] = request.batch;
    info["point_kv_bytes"] = bytes.kv_per_token * *request.ctx * request.batch;
    info["point_state_bytes"] = bytes.state * request.batch;
  }
  out << info.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
}

void write_version(std::ostream& out, bool json) {
  const Environment e = capture_environment();
  if (json) {
    const Json version = {{"version", e.version},    {"commit", e.commit}, {"build_type", e.build_type},
                          {"compiler", e.compiler},  {"flags", e.flags},   {"simd", e.simd},
                          {"engines", {"reference"}}};
    out << version.dump(2) << "\n";
    return;
  }
  out << "ringbench " << e.version << " (" << e.commit << ")\n"
      << e.build_type << ", " << e.compiler << ", " << e.simd << "\nengines: reference\n";
}

}  // namespace ringbench
