// config.cpp: what a config means: its layers, their decay, its trained window, its hash. Reading is in
// config_reader.cpp.
#include "reference/config.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "reference/sha256.h"

namespace ringbench {
namespace {

constexpr int max_layers = 100'000;

// Slopes of ALiBi for a power of two: start, start^2, ..., start^heads, with start = 2^(-8 / heads).
std::vector<double> power_of_two_slopes(int heads) {
  std::vector<double> slopes;
  for (int h = 0; h < heads; ++h) slopes.push_back(std::exp2(-8.0 * (h + 1) / heads));
  return slopes;
}

// [heads]. For other counts: those of the next lower power, then every second one of its double.
std::vector<double> base_slopes(int heads) {
  const int power = static_cast<int>(std::bit_floor(static_cast<unsigned>(heads)));
  std::vector<double> slopes = power_of_two_slopes(power);
  const std::vector<double> finer = power_of_two_slopes(2 * power);
  for (int h = power; h < heads; ++h) slopes.push_back(finer[static_cast<size_t>(2 * (h - power))]);
  return slopes;
}

char letter_of(LayerType type) {
  switch (type) {
    case LayerType::linear_attention: return 'L';
    case LayerType::softmax_attention: return 'S';
    case LayerType::sliding_attention: return 'W';
  }
  return '?';
}

std::string letters(const std::vector<LayerType>& types) {
  std::string text;
  for (const LayerType type : types) text += letter_of(type);
  return text;
}

// The M of M:1 if every layer belongs to a whole group of M linear layers and a softmax one; else 0.
int linear_per_softmax(const std::vector<LayerType>& types) {
  const auto first = std::find(types.begin(), types.end(), LayerType::softmax_attention);
  const int group = static_cast<int>(first - types.begin()) + 1;
  const int layers = static_cast<int>(types.size());
  const bool whole = first != types.end() && layers % group == 0 && types == grouped_layer_types(layers, group);
  return whole ? group - 1 : 0;
}

// Shortest stretch that the pattern repeats, at least twice; 0 if there is none.
int period_of(const std::vector<LayerType>& types) {
  const int layers = static_cast<int>(types.size());
  for (int period = 1; 2 * period <= layers; ++period)
    if (std::equal(types.begin() + period, types.end(), types.begin())) return period;
  return layers == 1 ? 1 : 0;
}

// "Try --layers 25 or 30, or --hybrid 6:1": the nearest depths that fit the ratio, and the nearest ratio that fits the
// depth; the model's own ratio first.
std::string suggestions(const ModelConfig& config, int group) {
  const int layers = config.num_hidden_layers;
  const int below = layers / group * group, above = below + group;
  std::string text = "Try --layers ";
  if (below > 0) text += std::to_string(below) + " or ";
  text += std::to_string(above);

  int nearest = 0;
  for (int g = 2; g <= layers; ++g)
    if (layers % g == 0 && (nearest == 0 || std::abs(g - group) < std::abs(nearest - group))) nearest = g;
  if (config.layer_group_size > 1 && layers % config.layer_group_size == 0) nearest = config.layer_group_size;
  if (nearest > 0) text += ", or --hybrid " + std::to_string(nearest - 1) + ":1";
  return text + ".";
}

// Shortest text that reads back as the same double, whatever the locale.
std::string exact(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

void append(std::string& text, std::string_view key, const std::string& value) {
  ((text += key) += '=') += value + '\n';
}

}  // namespace

RopeScaling RopeScaling::yarn(double factor, int64_t original_max_position_embeddings) {
  if (!(factor >= 1.0 && factor <= 1e6) || original_max_position_embeddings < 1)
    throw ConfigError("yarn: factor " + exact(factor) + " of " + std::to_string(original_max_position_embeddings) +
                      " positions, expected a factor from 1 to 1e6 and at least 1 position");
  RopeScaling scaling;
  scaling.factor = factor;
  scaling.original_max_position_embeddings = original_max_position_embeddings;
  scaling.attention_factor = 0.1 * std::log(factor) + 1.0;
  return scaling;
}

HybridRatio HybridRatio::parse(std::string_view text) {
  if (text == "model") return {};
  if (text == "softmax" || text == "0:1") return {Kind::softmax, 0, ""};
  if (text == "linear" || text == "1:0") return {Kind::linear, 0, ""};

  int linear = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), linear);
  if (error == std::errc() && std::string_view(end, text.data() + text.size()) == ":1" && linear >= 1 &&
      linear < max_layers)
    return {Kind::ratio, linear, ""};

  std::string pattern(text);
  std::erase(pattern, ' ');
  if (!pattern.empty() && pattern.find_first_not_of("LSW") == pattern.npos) return {Kind::pattern, 0, pattern};
  throw ConfigError(
      "--hybrid: write M:1 (M linear layers per softmax layer), 'softmax', 'linear' or 'model'. An explicit pattern of "
      "L, S and W, such as LLSLLLSS, will do too; found '" +
      std::string(text.substr(0, 60)) + "'.");
}

std::vector<LayerType> grouped_layer_types(int num_hidden_layers, int layer_group_size) {
  std::vector<LayerType> types(static_cast<size_t>(num_hidden_layers), LayerType::linear_attention);
  for (int i = 0; i < num_hidden_layers; ++i)
    if ((i + 1) % layer_group_size == 0 || i >= num_hidden_layers / layer_group_size * layer_group_size)
      types[static_cast<size_t>(i)] = LayerType::softmax_attention;
  return types;
}

ModelConfig ModelConfig::with_hybrid_ratio(const HybridRatio& ratio) const {
  ModelConfig config = *this;
  const size_t layers = layer_types.size();
  if (ratio.kind == HybridRatio::Kind::model) return config;

  config.layer_group_size = 1;
  switch (ratio.kind) {
    case HybridRatio::Kind::model: break;
    case HybridRatio::Kind::softmax: config.layer_types.assign(layers, LayerType::softmax_attention); break;
    case HybridRatio::Kind::linear: config.layer_types.assign(layers, LayerType::linear_attention); break;
    case HybridRatio::Kind::ratio: {
      const int group = ratio.linear_per_softmax + 1;
      if (num_hidden_layers % group != 0)
        throw ConfigError("--hybrid " + std::to_string(group - 1) + ":1 needs a multiple of " + std::to_string(group) +
                          " layers; " + name + " has " + std::to_string(num_hidden_layers) + ". " +
                          suggestions(*this, group));
      config.layer_group_size = group;
      config.layer_types = grouped_layer_types(num_hidden_layers, group);
      break;
    }
    case HybridRatio::Kind::pattern: {
      if (ratio.pattern.size() != layers)
        throw ConfigError("--hybrid " + ratio.pattern.substr(0, 60) + " has " + std::to_string(ratio.pattern.size()) +
                          " layers; " + name + " has " + std::to_string(layers) +
                          ". Write one letter a layer, or give --layers " + std::to_string(ratio.pattern.size()) + ".");
      if (sliding_window == 0 && ratio.pattern.find('W') != std::string::npos)
        throw ConfigError("--hybrid " + ratio.pattern.substr(0, 60) + " asks for sliding layers; " + name +
                          " has no sliding_window. Use L and S, or give the config a sliding_window.");
      for (size_t i = 0; i < layers; ++i)
        config.layer_types[i] = ratio.pattern[i] == 'L'   ? LayerType::linear_attention
                                : ratio.pattern[i] == 'S' ? LayerType::softmax_attention
                                                          : LayerType::sliding_attention;
      break;
    }
  }
  return config;
}

ModelConfig ModelConfig::with_layers(int layers) const {
  if (layers < 1 || layers > max_layers)
    throw ConfigError("--layers: found " + std::to_string(layers) + ", expected a number from 1 to " +
                      std::to_string(max_layers) + ".");
  ModelConfig config = *this;
  config.num_hidden_layers = layers;
  if (layers == num_hidden_layers) return config;
  if (layer_group_size > 1) {
    config.layer_types = grouped_layer_types(layers, layer_group_size);
    return config;
  }
  const int period = period_of(layer_types);
  if (period == 0)
    throw ConfigError("--layers " + std::to_string(layers) + ": the layers of " + name + " (" + layer_pattern() +
                      ") follow no rule that another depth could continue. Give the pattern with --hybrid instead.");
  config.layer_types.resize(static_cast<size_t>(layers));
  for (size_t i = 0; i < config.layer_types.size(); ++i)
    config.layer_types[i] = layer_types[i % static_cast<size_t>(period)];
  return config;
}

int ModelConfig::count(LayerType type) const {
  return static_cast<int>(std::count(layer_types.begin(), layer_types.end(), type));
}

std::string ModelConfig::layer_pattern() const {
  std::string text;
  const std::string all = letters(layer_types);
  for (size_t i = 0; i < all.size(); ++i) {
    if (i > 0 && layer_group_size > 1 && i % static_cast<size_t>(layer_group_size) == 0) text += ' ';
    text += all[i];
  }
  return text;
}

std::string ModelConfig::hybrid_label() const {
  if (count(LayerType::softmax_attention) == num_hidden_layers) return "softmax";
  if (count(LayerType::linear_attention) == num_hidden_layers) return "linear";
  const int linear = linear_per_softmax(layer_types);
  return linear > 0 ? std::to_string(linear) + ":1" : letters(layer_types);
}

std::vector<double> ModelConfig::log_decay(int layer) const {
  int n = layer;
  if (slope_layer_offset == SlopeLayerOffset::one) n = layer - 1;
  if (slope_layer_offset == SlopeLayerOffset::mlx) n = std::max(0, layer - 1);
  const double factor = 1.0 - static_cast<double>(n) / std::max(1, num_hidden_layers - 1) + 1e-5;
  std::vector<double> decay = base_slopes(num_attention_heads);
  for (double& slope : decay) slope *= -factor;
  return decay;
}

int64_t ModelConfig::trained_window() const {
  if (!rope_scaling) return max_position_embeddings;
  return std::llround(rope_scaling->factor * static_cast<double>(rope_scaling->original_max_position_embeddings));
}

std::string ModelConfig::sha() const {
  std::string text;
  // Random weights are drawn by tensor name, so the names are part of the model.
  append(text, "tensor_names", std::to_string(static_cast<int>(tensor_names)));
  append(text, "hidden_size", std::to_string(hidden_size));
  append(text, "vocab_size", std::to_string(vocab_size));
  append(text, "intermediate_size", std::to_string(intermediate_size));
  append(text, "num_attention_heads", std::to_string(num_attention_heads));
  append(text, "num_key_value_heads", std::to_string(num_key_value_heads));
  append(text, "head_dim", std::to_string(head_dim));
  append(text, "rms_norm_eps", exact(rms_norm_eps));
  append(text, "layer_types", letters(layer_types));
  append(text, "num_nextn_predict_layers", std::to_string(num_nextn_predict_layers));
  append(text, "use_qkv_bias", std::to_string(use_qkv_bias));
  append(text, "use_bias", std::to_string(use_bias));
  append(text, "use_qk_norm", std::to_string(use_qk_norm));
  append(text, "attention_sinks", std::to_string(attention_sinks));
  append(text, "rope_theta", exact(rope_theta));
  append(text, "rotary_dim", std::to_string(rotary_dim));
  append(text, "norm_head", std::to_string(norm_head));
  append(text, "tie_word_embeddings", std::to_string(tie_word_embeddings));
  if (rope_scaling) {
    append(text, "rope_scaling.factor", exact(rope_scaling->factor));
    append(text, "rope_scaling.original", std::to_string(rope_scaling->original_max_position_embeddings));
    append(text, "rope_scaling.beta_fast", exact(rope_scaling->beta_fast));
    append(text, "rope_scaling.beta_slow", exact(rope_scaling->beta_slow));
    append(text, "rope_scaling.truncate", std::to_string(rope_scaling->truncate));
    append(text, "rope_scaling.attention_factor", exact(rope_scaling->attention_factor));
  }
  if (count(LayerType::sliding_attention) > 0) append(text, "sliding_window", std::to_string(sliding_window));
  // Without linear layers these change nothing: the softmax twin of a hybrid is the softmax model.
  if (count(LayerType::linear_attention) > 0) {
    append(text, "linear_key_value_heads", std::to_string(linear_key_value_heads));
    append(text, "linear_bias", std::to_string(linear_bias && (use_qkv_bias || use_bias)));
    append(text, "linear_silu", std::to_string(linear_silu));
    append(text, "linear_rope", std::to_string(linear_rope));
    append(text, "group_norm_size", std::to_string(group_norm_size));
    append(text, "use_low_rank", std::to_string(use_low_rank));
    append(text, "slope_layer_offset", std::string(name_of(slope_layer_offset)));
  }
  if (num_experts > 0) {
    append(text, "num_experts", std::to_string(num_experts));
    append(text, "num_experts_per_tok", std::to_string(num_experts_per_tok));
    append(text, "moe_intermediate_size", std::to_string(moe_intermediate_size));
    append(text, "shared_intermediate_size", std::to_string(shared_intermediate_size));
    append(text, "first_k_dense_replace", std::to_string(first_k_dense_replace));
    append(text, "router", std::to_string(static_cast<int>(router)));
    append(text, "norm_topk_prob", std::to_string(norm_topk_prob));
    append(text, "moe_router_enable_expert_bias", std::to_string(moe_router_enable_expert_bias));
    append(text, "n_group", std::to_string(n_group));
    append(text, "topk_group", std::to_string(topk_group));
    append(text, "routed_scaling_factor", exact(routed_scaling_factor));
    append(text, "moe_bias", std::to_string(moe_bias));
    append(text, "swiglu_limit", exact(swiglu_limit));
    append(text, "swiglu_alpha", exact(swiglu_alpha));
  }
  return sha256_hex(text);
}

std::string_view name_of(LayerType type) {
  switch (type) {
    case LayerType::linear_attention: return "linear_attention";
    case LayerType::softmax_attention: return "softmax_attention";
    case LayerType::sliding_attention: return "sliding_attention";
  }
  return "?";
}

std::string_view name_of(SlopeLayerOffset offset) {
  switch (offset) {
    case SlopeLayerOffset::zero: return "0";
    case SlopeLayerOffset::one: return "1";
    case SlopeLayerOffset::mlx: return "mlx";
  }
  return "?";
}

SlopeLayerOffset parse_slope_layer_offset(std::string_view text) {
  for (const auto offset : {SlopeLayerOffset::zero, SlopeLayerOffset::one, SlopeLayerOffset::mlx})
    if (text == name_of(offset)) return offset;
  throw ConfigError("--slope-layer-offset: found '" + std::string(text.substr(0, 60)) + "', expected 0, 1 or mlx.");
}

}  // namespace ringbench
