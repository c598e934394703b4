// config_reader.cpp: config.json -> ModelConfig. One table row and one function for each architecture; every key is
// known, ignored by name, or an error. What a config then means (layers, decay, window) is in config.cpp.
#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <utility>

#include "reference/config.h"

namespace ringbench {
namespace {

using nlohmann::json;

constexpr int64_t max_size = int64_t{1} << 31;  // of a width, a vocabulary, a context
constexpr int64_t max_layers = 100'000;
constexpr int64_t max_heads = 65'536;  // also of head_dim and of experts
constexpr double max_parameters = 0x1p48;
constexpr int max_depth = 16;               // of nested JSON; published configs need 3
constexpr size_t max_file_bytes = 1 << 20;  // published configs are below 10 kB

// JSON on one line, short enough for a message.
std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

// Words of a list that is written as one text.
std::vector<std::string> split(std::string_view list) {
  std::istringstream stream{std::string(list)};
  return {std::istream_iterator<std::string>(stream), {}};
}

bool lists(std::string_view list, const std::string& word) {
  const std::vector<std::string> words = split(list);
  return std::find(words.begin(), words.end(), word) != words.end();
}

json parse_object(std::string_view text, const std::string& source) {
  std::vector<std::set<std::string>> open;  // keys seen in each object that is not closed yet
  const json::parser_callback_t check = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > max_depth) throw ConfigError(source + ": nested deeper than " + std::to_string(max_depth) + " levels");
    if (event == json::parse_event_t::object_start) open.emplace_back();
    if (event == json::parse_event_t::object_end) open.pop_back();
    if (event == json::parse_event_t::key && !open.back().insert(parsed.get<std::string>()).second)
      throw ConfigError(source + ": key " + shown(parsed) + " is given twice");
    return true;
  };
  json document;
  try {
    document = json::parse(text, check);
  } catch (const json::exception& error) {
    const std::string_view what = error.what();  // "[json.exception.parse_error.101] parse error at line 1, ..."
    const size_t tag = what.find("] ");
    throw ConfigError(
        source + ": not valid JSON: " + std::string(tag == what.npos ? what : what.substr(tag + 2)).substr(0, 200));
  }
  if (!document.is_object()) throw ConfigError(source + ": found " + shown(document) + ", expected a JSON object");
  return document;
}

// The keys of one JSON object, read by type; messages name file and key.
class Keys {
 public:
  Keys(json values, std::string source, std::string prefix = "")
      : values_(std::move(values)), source_(std::move(source)), prefix_(std::move(prefix)) {}

  const json& at(const std::string& key) const { return values_.at(key); }
  const json& all() const { return values_; }
  const std::string& source() const { return source_; }
  bool given(const std::string& key) const { return values_.contains(key); }
  bool has(const std::string& key) const { return given(key) && !values_.at(key).is_null(); }
  void set(const std::string& key, json value) { values_[key] = std::move(value); }
  // A value that the file does not give; recorded.
  void set_default(const std::string& key, json value) {
    defaulted_.push_back(key + "=" + value.dump());
    values_[key] = std::move(value);
  }
  const std::vector<std::string>& defaulted() const { return defaulted_; }

  [[noreturn]] void fail(const std::string& key, const std::string& expected) const {
    std::string found = given(key) ? "found " + shown(at(key)) : "missing";
    for (const std::string& entry : defaulted_)
      if (entry.starts_with(key + "=")) found += " (class default)";
    throw ConfigError(source_ + ": " + prefix_ + key + ": " + found + ", expected " + expected);
  }

  int64_t integer(const std::string& key, int64_t low, int64_t high) const {
    const json* value = given(key) ? &at(key) : nullptr;
    const bool fits = value && value->is_number_integer() &&
                      (!value->is_number_unsigned() ||
                       value->get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) &&
                      value->get<int64_t>() >= low && value->get<int64_t>() <= high;
    if (!fits) fail(key, "an integer from " + std::to_string(low) + " to " + std::to_string(high));
    return value->get<int64_t>();
  }
  int64_t size(const std::string& key) const { return integer(key, 1, max_size); }
  int count(const std::string& key, int64_t low, int64_t high) const {
    return static_cast<int>(integer(key, low, high));
  }
  double number(const std::string& key, double low, double high) const {
    const bool fits =
        given(key) && at(key).is_number() && at(key).get<double>() >= low && at(key).get<double>() <= high;
    if (!fits) fail(key, "a number from " + json(low).dump() + " to " + json(high).dump());
    return at(key).get<double>();
  }
  bool flag(const std::string& key) const {
    if (!given(key) || !at(key).is_boolean()) fail(key, "true or false");
    return at(key).get<bool>();
  }
  std::string word(const std::string& key) const {
    if (!given(key) || !at(key).is_string()) fail(key, "a string");
    return at(key).get<std::string>();
  }
  // The object under `key`, with its own keys checked against `known`.
  Keys object(const std::string& key, std::string_view known) const {
    if (!given(key) || !at(key).is_object()) fail(key, "an object");
    Keys inner(at(key), source_, prefix_ + key + ".");
    for (const auto& [name, value] : inner.all().items())
      if (!lists(known, name))
        throw ConfigError(source_ + ": unknown key " + shown(inner.prefix_ + name) +
                          "; known there: " + std::string(known));
    return inner;
  }

 private:
  json values_;
  std::string source_, prefix_;
  std::vector<std::string> defaulted_;
};

// What Hugging Face configs carry and no forward pass reads.
constexpr std::string_view ignored_keys = R"(
    _attn_implementation _attn_implementation_autoset _commit_hash _name_or_path add_cross_attention architectures
    attention_dropout attn_implementation auto_map aux_loss_alpha bad_words_ids begin_suppress_tokens
    chunk_size_feed_forward classifier_dropout cross_attention_hidden_size decoder_start_token_id diversity_penalty
    do_sample early_stopping embedding_dropout encoder_no_repeat_ngram_size exponential_decay_length_penalty
    finetuning_task forced_bos_token_id forced_eos_token_id gradient_checkpointing hidden_dropout id2label
    initial_context_length initializer_range is_decoder is_encoder_decoder label2id length_penalty linear_backend
    linear_mode max_length max_window_layers min_length model_type moe_router_bias_update_rate mtp_loss_scaling_factor
    name_or_path no_repeat_ngram_size num_beam_groups num_beams num_return_sequences output_attentions output_dropout
    output_hidden_states output_router_logits output_scores pad_token_id prefix pretraining_tp problem_type
    pruned_heads remove_invalid_values repetition_penalty resid_pdrop return_dict return_dict_in_generate
    router_aux_loss_coef sep_token_id seq_aux suppress_tokens task_specific_params temperature tf_legacy_loss
    tie_encoder_decoder tokenizer_class top_k top_p torchscript transformers.js_config transformers_version typical_p
    unk_token_id unsloth_fixed unsloth_version use_bfloat16 use_cache)";

// Keys without a class default that any architecture may give: absent or null means "not there". The second line is
// for linear layers, which layer_types or --hybrid may ask of any architecture.
constexpr std::string_view optional_keys = R"(
    bos_token_id dtype eos_token_id head_dim layer_types quantization quantization_config
    ringbench rope_parameters rope_scaling sliding_window slope_layer_offset torch_dtype
    group_norm_size linear_rope linear_silu use_low_rank)";

// One architecture as its published configuration class states it.
struct Architecture {
  std::string_view name;
  TensorNames tensor_names;
  std::string_view required;              // sizes: a wrong guess would be another model
  std::string_view optional;              // beside optional_keys
  std::string_view defaults;              // JSON: what the class takes where the file is silent
  std::string_view more_defaults = "{}";  // JSON: what a derived class adds
  std::string_view fixed;                 // JSON: keys that may be given with this one value only
  int64_t yarn_original = 0;  // v1's own YaRN: its default of original_max_position_embeddings; 0: transformers' YaRN
  void (*read)(Keys& keys, ModelConfig& config);
};

void read_bailing(Keys& keys, ModelConfig& config);
void read_bailing_v2(Keys& keys, ModelConfig& config);
void read_qwen2(Keys& keys, ModelConfig& config);
void read_qwen3(Keys& keys, ModelConfig& config);
void read_gpt_oss(Keys& keys, ModelConfig& config);

constexpr std::string_view bailing_sizes =
    "hidden_size vocab_size num_hidden_layers num_attention_heads num_key_value_heads "
    "num_experts num_experts_per_tok moe_intermediate_size";
constexpr std::string_view qwen_sizes =
    "hidden_size vocab_size num_hidden_layers num_attention_heads num_key_value_heads intermediate_size";
constexpr std::string_view gpt_oss_sizes =
    "hidden_size vocab_size num_hidden_layers num_attention_heads num_key_value_heads "
    "num_local_experts num_experts_per_tok intermediate_size";

// inclusionAI/Ring hybrid_linear/models/configuration_bailing_moe_linear.py, and what it adds to the softmax class.
// Note use_bias: a trap where a file leaves it out.
constexpr std::string_view bailing = R"({
    "first_k_dense_replace": 0, "max_position_embeddings": 16384, "norm_head": false, "norm_topk_prob": true,
    "num_shared_experts": 0, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "tie_word_embeddings": false,
    "use_bias": true, "use_qkv_bias": false})";
constexpr std::string_view bailing_linear = R"({
    "layer_group_size": 1, "linear_rope": true, "use_linear_gqa": false, "use_linear_silu": false,
    "use_low_rank": false})";

// configuration_bailing_moe_v2.py of the text models (a class of that name in the multimodal Ming models has other
// defaults); norm_topk_prob and score_function are not in the class but in the model code.
constexpr std::string_view bailing_v2 = R"({
    "first_k_dense_replace": 1, "head_dim": 128, "max_position_embeddings": 32768,
    "moe_router_enable_expert_bias": true, "n_group": 8, "norm_topk_prob": true,
    "num_nextn_predict_layers": 0, "num_shared_experts": 1, "rms_norm_eps": 1e-06, "rope_theta": 600000.0,
    "routed_scaling_factor": 1.0, "score_function": "sigmoid", "tie_word_embeddings": false, "topk_group": 4,
    "use_bias": false, "use_qk_norm": true, "use_qkv_bias": false})";
constexpr std::string_view bailing_v2_linear = R"({
    "group_norm_size": 1, "layer_group_size": 1, "linear_rope": true, "linear_silu": false})";

// huggingface/transformers: configuration_qwen2.py, configuration_qwen3.py, configuration_gpt_oss.py.
constexpr std::string_view qwen = R"({
    "max_position_embeddings": 32768, "max_window_layers": 28, "rms_norm_eps": 1e-06, "rope_theta": 10000.0,
    "sliding_window": 4096, "tie_word_embeddings": false, "use_sliding_window": false})";
constexpr std::string_view qwen3 = R"({"attention_bias": false, "head_dim": 128})";
constexpr std::string_view gpt_oss = R"({
    "attention_bias": true, "head_dim": 64, "max_position_embeddings": 131072, "rms_norm_eps": 1e-05,
    "rope_scaling": {"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": false,
                     "original_max_position_embeddings": 4096},
    "rope_theta": 150000.0, "sliding_window": 128, "swiglu_limit": 7.0, "tie_word_embeddings": false})";

constexpr std::string_view bailing_fixed =
    R"({"hidden_act": "silu", "norm_softmax": false, "rotary_type": "full-1d", "use_sliding_window": false})";
constexpr std::string_view bailing_v2_fixed =
    R"({"hidden_act": "silu", "moe_router_enable_routed_scaling": true, "moe_router_enable_shared_expert": true,
        "norm_softmax": false, "topk_method": "noaux_tc", "use_linear_gqa": false, "use_rmsnorm": true,
        "use_sliding_window": false})";
constexpr std::string_view qwen_fixed = R"({"hidden_act": "silu", "use_mrope": false})";
constexpr std::string_view silu = R"({"hidden_act": "silu"})";

constexpr std::string_view bailing_v2_optional =
    "intermediate_size moe_shared_expert_intermediate_size norm_head partial_rotary_factor rotary_dim router_dtype "
    "use_linear_silu";

constexpr Architecture architectures[] = {
    {.name = "BailingMoeForCausalLM",
     .tensor_names = TensorNames::bailing,
     .required = bailing_sizes,
     .optional = "intermediate_size",
     .defaults = bailing,
     .fixed = bailing_fixed,
     .yarn_original = 4096,
     .read = read_bailing},
    {.name = "BailingMoeLinearForCausalLM",
     .tensor_names = TensorNames::bailing,
     .required = bailing_sizes,
     .optional = "intermediate_size",
     .defaults = bailing,
     .more_defaults = bailing_linear,
     .fixed = bailing_fixed,
     .yarn_original = 4096,
     .read = read_bailing},
    {.name = "BailingMoeV2ForCausalLM",
     .tensor_names = TensorNames::bailing,
     .required = bailing_sizes,
     .optional = bailing_v2_optional,
     .defaults = bailing_v2,
     .fixed = bailing_v2_fixed,
     .read = read_bailing_v2},
    {.name = "BailingMoeLinearV2ForCausalLM",
     .tensor_names = TensorNames::bailing,
     .required = bailing_sizes,
     .optional = bailing_v2_optional,
     .defaults = bailing_v2,
     .more_defaults = bailing_v2_linear,
     .fixed = bailing_v2_fixed,
     .read = read_bailing_v2},
    {.name = "Qwen2ForCausalLM",
     .tensor_names = TensorNames::qwen,
     .required = qwen_sizes,
     .optional = "partial_rotary_factor",
     .defaults = qwen,
     .fixed = qwen_fixed,
     .read = read_qwen2},
    {.name = "Qwen3ForCausalLM",
     .tensor_names = TensorNames::qwen,
     .required = qwen_sizes,
     .optional = "partial_rotary_factor",
     .defaults = qwen,
     .more_defaults = qwen3,
     .fixed = qwen_fixed,
     .read = read_qwen3},
    {.name = "GptOssForCausalLM",
     .tensor_names = TensorNames::gpt_oss,
     .required = gpt_oss_sizes,
     .optional = "experts_per_token partial_rotary_factor swiglu_alpha",
     .defaults = gpt_oss,
     .fixed = silu,
     .read = read_gpt_oss},
};

json class_defaults(const Architecture& row) {
  json defaults = json::parse(row.defaults);
  defaults.update(json::parse(row.more_defaults));
  return defaults;
}

const Architecture& find_architecture(const json& document, const std::string& source) {
  const auto given = document.find("architectures");
  std::string names;
  for (const Architecture& row : architectures) {
    if (given != document.end() && *given == json::array({row.name})) return row;
    (names += names.empty() ? "" : ", ") += row.name;
  }
  throw ConfigError(source + ": architectures: " + (given == document.end() ? "missing" : "found " + shown(*given)) +
                    ", expected a list with one of " + names);
}

void refuse_unknown_keys(const json& document, const Architecture& row, const std::string& source) {
  const json defaults = class_defaults(row), fixed = json::parse(row.fixed);
  for (const auto& [key, value] : document.items()) {
    const bool known = lists(row.required, key) || lists(row.optional, key) || lists(optional_keys, key) ||
                       lists(ignored_keys, key) || defaults.contains(key) || fixed.contains(key);
    if (!known)
      throw ConfigError(source + ": unknown key " + shown(key) + " for " + std::string(row.name) +
                        "; if it changes what the model computes, add it to ModelConfig, else to the ignored list in "
                        "reference/config_reader.cpp");
  }
}

// transformers 5 keeps what concerns rope in one object; here it is spread out to the older keys.
void spread_rope_parameters(Keys& keys) {
  if (!keys.has("rope_parameters")) return;
  if (!keys.at("rope_parameters").is_object()) keys.fail("rope_parameters", "an object");
  json rope = keys.at("rope_parameters");
  for (const char* key : {"rope_theta", "partial_rotary_factor"}) {
    if (!rope.contains(key)) continue;
    if (keys.has(key) && keys.at(key) != rope.at(key)) keys.fail(key, "the same value as in rope_parameters");
    keys.set(key, rope.at(key));
    rope.erase(key);
  }
  if (keys.has("rope_scaling") && keys.at("rope_scaling") != rope)
    keys.fail("rope_scaling", "null, as rope_parameters is given");
  keys.set("rope_scaling", std::move(rope));
}

std::optional<RopeScaling> read_rope_scaling(const Keys& keys, const Architecture& row, ModelConfig& config) {
  if (!keys.has("rope_scaling")) return std::nullopt;
  const Keys rope = keys.object("rope_scaling",
                                "attention_factor attn_factor beta_fast beta_slow factor mscale mscale_all_dim "
                                "original_max_position_embeddings rope_type truncate type");
  if (rope.all().empty()) return std::nullopt;  // what is left of rope_parameters with a theta alone
  if (rope.has("type") && rope.has("rope_type") && rope.at("type") != rope.at("rope_type"))
    rope.fail("rope_type", "the same as rope_scaling.type");
  const std::string key = rope.has("rope_type") || !rope.has("type") ? "rope_type" : "type";
  const std::string type = rope.word(key);
  if (type == "default") return std::nullopt;
  if (type != "yarn") rope.fail(key, "\"yarn\" or \"default\" (no other rope scaling is supported)");

  RopeScaling yarn;
  yarn.factor = rope.number("factor", 1.0, 1e6);
  if (rope.has("original_max_position_embeddings")) {
    yarn.original_max_position_embeddings = rope.size("original_max_position_embeddings");
  } else {
    yarn.original_max_position_embeddings = row.yarn_original ? row.yarn_original : config.max_position_embeddings;
    config.defaulted_keys.push_back("rope_scaling.original_max_position_embeddings=" +
                                    std::to_string(yarn.original_max_position_embeddings));
  }
  if (rope.has("beta_fast")) yarn.beta_fast = rope.number("beta_fast", 1e-6, 1e6);
  if (rope.has("beta_slow")) yarn.beta_slow = rope.number("beta_slow", 1e-6, 1e6);
  if (yarn.beta_fast < yarn.beta_slow) rope.fail("beta_fast", "at least rope_scaling.beta_slow");
  if (rope.has("truncate")) yarn.truncate = rope.flag("truncate");

  const double log_factor = std::log(yarn.factor);
  if (rope.has("attention_factor")) {
    yarn.attention_factor = rope.number("attention_factor", 1e-6, 1e6);
  } else {
    double mscale = rope.has("mscale") ? rope.number("mscale", 0.0, 1e6) : 1.0;
    double all_dim = rope.has("mscale_all_dim") ? rope.number("mscale_all_dim", 0.0, 1e6) : 0.0;
    // transformers, which all but the v1 code use here, takes the two together or not at all.
    const bool together = rope.has("mscale") && mscale != 0.0 && all_dim != 0.0;
    if (row.yarn_original == 0 && !together) {
      if (rope.has("mscale") || rope.has("mscale_all_dim"))
        config.notes.push_back(
            "rope_scaling: mscale without mscale_all_dim, or the reverse, is ignored as in transformers");
      mscale = 1.0, all_dim = 0.0;
    }
    yarn.attention_factor = (0.1 * mscale * log_factor + 1.0) / (0.1 * all_dim * log_factor + 1.0);
    // As in SGLang and vLLM: a factor on top, where attention_factor replaces the formula.
    if (rope.has("attn_factor")) yarn.attention_factor *= rope.number("attn_factor", 1e-6, 1e6);
  }

  const double ratio =
      static_cast<double>(config.max_position_embeddings) / static_cast<double>(yarn.original_max_position_embeddings);
  if (!(std::abs(ratio - yarn.factor) <= 1e-6 * yarn.factor))
    config.notes.push_back("rope_scaling.factor " + json(yarn.factor).dump() + " is taken as given; " +
                           "max_position_embeddings / original would be " + json(ratio).dump());
  return yarn;
}

// Width of rope: int(head_dim * partial_rotary_factor), as the official code has it; rotary_dim where that is absent.
int read_rotary_dim(Keys& keys, ModelConfig& config) {
  if (keys.has("rotary_dim") && !keys.has("partial_rotary_factor")) return keys.count("rotary_dim", 2, config.head_dim);
  if (!keys.has("partial_rotary_factor")) return config.head_dim;
  const int dim = static_cast<int>(config.head_dim * keys.number("partial_rotary_factor", 0.0, 1.0));
  if (dim < 2)
    keys.fail("partial_rotary_factor",
              "a fraction that leaves at least 2 of head_dim " + std::to_string(config.head_dim) + " to rotate");
  if (keys.has("rotary_dim") && keys.integer("rotary_dim", 2, config.head_dim) != dim)
    config.notes.push_back("rotary_dim " + shown(keys.at("rotary_dim")) + " differs from head_dim x " +
                           "partial_rotary_factor = " + std::to_string(dim) + ", which is used (official code)");
  return dim;
}

// Sizes and options that all architectures have under one name.
void read_shape(Keys& keys, ModelConfig& config) {
  config.hidden_size = keys.size("hidden_size");
  config.vocab_size = keys.size("vocab_size");
  config.num_hidden_layers = keys.count("num_hidden_layers", 1, max_layers);
  config.num_attention_heads = keys.count("num_attention_heads", 1, max_heads);
  config.num_key_value_heads = keys.count("num_key_value_heads", 1, max_heads);
  if (config.num_attention_heads % config.num_key_value_heads != 0)
    keys.fail("num_key_value_heads", "a divisor of num_attention_heads " + std::to_string(config.num_attention_heads));
  if (!keys.has("head_dim")) keys.set_default("head_dim", config.hidden_size / config.num_attention_heads);
  config.head_dim = keys.count("head_dim", 2, max_heads);
  if (config.head_dim % 2 != 0) keys.fail("head_dim", "an even number");
  config.max_position_embeddings = keys.size("max_position_embeddings");
  config.rms_norm_eps = keys.number("rms_norm_eps", 1e-30, 1.0);
  config.rope_theta = keys.number("rope_theta", 1.001, 1e30);  // 1 would make every frequency, and YaRN's ln, equal
  config.tie_word_embeddings = keys.flag("tie_word_embeddings");
  config.rotary_dim = read_rotary_dim(keys, config);
  if (config.rotary_dim % 2 != 0)
    throw ConfigError(keys.source() + ": the rotated width is " + std::to_string(config.rotary_dim) +
                      ", expected an even number: change partial_rotary_factor or rotary_dim");
  if (keys.has("sliding_window")) config.sliding_window = keys.size("sliding_window");
  config.layer_types.assign(static_cast<size_t>(config.num_hidden_layers), LayerType::softmax_attention);
}

// Both generations of Bailing: grouped layers, experts, dense first layers.
void read_bailing_shape(Keys& keys, ModelConfig& config) {
  read_shape(keys, config);
  config.use_qkv_bias = keys.flag("use_qkv_bias");
  config.use_bias = keys.flag("use_bias");
  if (keys.has("norm_head")) config.norm_head = keys.flag("norm_head");
  if (config.norm_head && config.tie_word_embeddings)
    config.notes.push_back(
        "norm_head with tied embeddings: only lm_head is normalised (the official v1 code also "
        "changes the embeddings after its first call)");
  if (keys.has("layer_group_size")) {
    config.layer_group_size = keys.count("layer_group_size", 1, max_layers);
    config.layer_types = grouped_layer_types(config.num_hidden_layers, config.layer_group_size);
  }

  config.first_k_dense_replace = keys.count("first_k_dense_replace", 0, max_layers);
  config.norm_topk_prob = keys.flag("norm_topk_prob");
  if (keys.has("num_experts")) {  // null: every MLP is dense
    config.num_experts = keys.count("num_experts", 1, max_heads);
    config.num_experts_per_tok = keys.count("num_experts_per_tok", 1, config.num_experts);
    config.moe_intermediate_size = keys.size("moe_intermediate_size");
    if (keys.has("num_shared_experts"))
      config.shared_intermediate_size = keys.integer("num_shared_experts", 0, max_heads) * config.moe_intermediate_size;
  }
  const bool any_dense = config.num_experts == 0 || config.first_k_dense_replace > 0;
  if (any_dense || keys.has("intermediate_size")) config.intermediate_size = keys.size("intermediate_size");
}

void read_bailing(Keys& keys, ModelConfig& config) {
  read_bailing_shape(keys, config);
  config.router = Router::softmax_topk;
  if (keys.has("use_linear_gqa") && keys.flag("use_linear_gqa"))
    config.linear_key_value_heads = config.num_key_value_heads;
}

void read_bailing_v2(Keys& keys, ModelConfig& config) {
  if (!keys.has("partial_rotary_factor") && !keys.has("rotary_dim")) keys.set_default("partial_rotary_factor", 1.0);
  read_bailing_shape(keys, config);
  config.use_qk_norm = keys.flag("use_qk_norm");
  config.linear_bias = true;
  if (keys.has("num_nextn_predict_layers")) {
    config.num_nextn_predict_layers = keys.count("num_nextn_predict_layers", 0, max_layers);
    if (config.num_nextn_predict_layers > 1) keys.fail("num_nextn_predict_layers", "0 or 1 (one MTP layer)");
  }
  if (config.num_experts == 0) {
    if (config.has_mtp())
      keys.fail("num_experts", "experts: the MLP of an MTP layer (num_nextn_predict_layers) is MoE");
    return;
  }

  if (config.shared_intermediate_size > 0 && keys.has("moe_shared_expert_intermediate_size"))
    config.shared_intermediate_size =
        keys.size("moe_shared_expert_intermediate_size") * keys.integer("num_shared_experts", 1, max_heads);
  config.routed_scaling_factor = keys.number("routed_scaling_factor", 1e-6, 1e6);
  config.moe_router_enable_expert_bias = keys.flag("moe_router_enable_expert_bias");
  config.n_group = keys.count("n_group", 1, max_heads);
  config.topk_group = keys.count("topk_group", 1, config.n_group);
  const std::string score = keys.word("score_function");
  if (score == "softmax") {
    config.router = Router::softmax_topk;
    if (config.n_group != 1) keys.fail("n_group", "1, as score_function is \"softmax\"");
    if (config.moe_router_enable_expert_bias)
      keys.fail("moe_router_enable_expert_bias", "false, as score_function is \"softmax\"");
  } else if (score == "sigmoid") {
    config.router = Router::sigmoid_topk;
  } else {
    keys.fail("score_function", "\"sigmoid\" or \"softmax\"");
  }

  const int group = config.num_experts / config.n_group;  // experts in one
  if (config.num_experts % config.n_group != 0)
    keys.fail("n_group", "a divisor of num_experts " + std::to_string(config.num_experts));
  if (config.n_group > 1 && group < 2)
    keys.fail("n_group", "at least 2 experts in each group: a group is judged by its best two");
  if (config.num_experts_per_tok > config.topk_group * int64_t{group})
    keys.fail("num_experts_per_tok", "at most the " + std::to_string(config.topk_group * int64_t{group}) +
                                         " experts of topk_group " + std::to_string(config.topk_group) + " groups");
  if (!config.norm_topk_prob)
    config.notes.push_back("norm_topk_prob is false and obeyed; the official V2 softmax code always normalises");
  if (keys.has("router_dtype") && keys.word("router_dtype") != "fp32")
    config.notes.push_back("router_dtype " + shown(keys.at("router_dtype")) +
                           " is not imitated: the reference routes in its own arithmetic");
}

// The class takes null for "as many as query heads".
void fill_key_value_heads(Keys& keys) {
  if (!keys.has("num_key_value_heads")) keys.set_default("num_key_value_heads", keys.at("num_attention_heads"));
}

void read_qwen(Keys& keys, ModelConfig& config) {
  fill_key_value_heads(keys);
  read_shape(keys, config);
  config.intermediate_size = keys.size("intermediate_size");
  if (keys.flag("use_sliding_window") && keys.has("sliding_window")) {
    const int64_t first = keys.integer("max_window_layers", 0, max_size);
    for (int64_t i = first; i < config.num_hidden_layers; ++i)
      config.layer_types[static_cast<size_t>(i)] = LayerType::sliding_attention;
  }
}

void read_qwen2(Keys& keys, ModelConfig& config) {
  read_qwen(keys, config);
  config.use_qkv_bias = true;
}

void read_qwen3(Keys& keys, ModelConfig& config) {
  read_qwen(keys, config);
  config.use_qkv_bias = config.use_bias = keys.flag("attention_bias");
  config.use_qk_norm = true;
}

void read_gpt_oss(Keys& keys, ModelConfig& config) {
  fill_key_value_heads(keys);
  read_shape(keys, config);
  config.use_qkv_bias = config.use_bias = keys.flag("attention_bias");
  config.attention_sinks = true;
  for (size_t i = 0; i < config.layer_types.size(); i += 2) config.layer_types[i] = LayerType::sliding_attention;

  config.router = Router::topk_softmax;
  config.num_experts = keys.count("num_local_experts", 1, max_heads);
  config.num_experts_per_tok = keys.count("num_experts_per_tok", 1, config.num_experts);
  config.moe_intermediate_size = keys.size("intermediate_size");
  config.moe_bias = true;
  config.swiglu_limit = keys.number("swiglu_limit", 1e-6, 1e6);
  config.swiglu_alpha = keys.has("swiglu_alpha") ? keys.number("swiglu_alpha", 1e-6, 1e6) : 1.702;
}

void read_linear_attention(const Keys& keys, ModelConfig& config) {
  if (config.linear_key_value_heads == 0) config.linear_key_value_heads = config.num_attention_heads;
  for (const char* key : {"linear_silu", "use_linear_silu"})  // V2's name and v1's; SGLang takes both in V2
    if (keys.has(key)) config.linear_silu |= keys.flag(key);
  if (keys.has("linear_rope")) config.linear_rope = keys.flag("linear_rope");
  if (keys.has("use_low_rank")) config.use_low_rank = keys.flag("use_low_rank");
  if (keys.has("group_norm_size")) {
    const int64_t channels = int64_t{config.num_attention_heads} * config.head_dim;
    config.group_norm_size = keys.count("group_norm_size", 1, max_heads);
    if (channels % config.group_norm_size != 0)
      keys.fail("group_norm_size",
                "a number of groups that divides num_attention_heads x head_dim = " + std::to_string(channels));
  }
}

SlopeLayerOffset read_slope_layer_offset(const Keys& keys) {
  const json& value = keys.at("slope_layer_offset");
  try {
    return parse_slope_layer_offset(value.is_string() ? value.get<std::string>() : value.dump());
  } catch (const ConfigError&) {
    keys.fail("slope_layer_offset", "0, 1 or \"mlx\"");
  }
}

// An explicit list, which any architecture may give, in place of the architecture's own rule.
void read_layer_types(const Keys& keys, ModelConfig& config) {
  if (keys.has("layer_types")) {
    const json& words = keys.at("layer_types");
    if (!words.is_array() || words.size() != config.layer_types.size())
      keys.fail("layer_types", "a list of num_hidden_layers = " + std::to_string(config.num_hidden_layers) + " words");
    for (size_t i = 0; i < words.size(); ++i) {
      const std::string word = words[i].is_string() ? words[i].get<std::string>() : "";
      if (lists("linear_attention linear lightning_attention", word)) {
        config.layer_types[i] = LayerType::linear_attention;
      } else if (lists("full_attention softmax_attention softmax", word)) {
        config.layer_types[i] = LayerType::softmax_attention;
      } else if (word == "sliding_attention") {
        config.layer_types[i] = LayerType::sliding_attention;
      } else {
        throw ConfigError(keys.source() + ": layer_types: layer " + std::to_string(i) + " is " + shown(words[i]) +
                          ", which is not supported; use linear_attention, full_attention or sliding_attention");
      }
    }
    if (config.layer_types != grouped_layer_types(config.num_hidden_layers, config.layer_group_size))
      config.layer_group_size = 1;
  }
  if (config.count(LayerType::sliding_attention) > 0 && config.sliding_window == 0)
    keys.fail("sliding_window", "the number of keys that a sliding layer sees");
  const int left_over = config.num_hidden_layers % config.layer_group_size;
  if (left_over > 0)
    config.notes.push_back("the last " + std::to_string(left_over) + " layers make no whole group of " +
                           std::to_string(config.layer_group_size) +
                           ": softmax here and in the official code, linear in SGLang's");
}

void read_tokens(const Keys& keys, ModelConfig& config) {
  constexpr int64_t any = std::numeric_limits<int32_t>::max();
  if (keys.has("bos_token_id")) config.bos_token_id = keys.integer("bos_token_id", 0, any);
  if (!keys.has("eos_token_id")) return;
  const json& eos = keys.at("eos_token_id");
  const json list = eos.is_array() ? eos : json::array({eos});
  for (const json& id : list) {
    if (!id.is_number_integer() || !(id >= 0 && id <= any)) keys.fail("eos_token_id", "a token id or a list of them");
    config.eos_token_ids.push_back(id.get<int64_t>());
  }
}

void read_dtype(const Keys& keys, ModelConfig& config) {
  const std::string key = keys.has("dtype") ? "dtype" : "torch_dtype";
  if (!keys.has(key)) return;
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 4> names = {
      {{"bfloat16", "bf16"}, {"float16", "f16"}, {"float32", "f32"}, {"float64", "f64"}}};
  const std::string word = keys.word(key);
  for (const auto& [published, ours] : names)
    if (word == published) return void(config.dtype = ours);
  keys.fail(key, "bfloat16, float16, float32 or float64");
}

void refuse_quantization(const Keys& keys, const ModelConfig& config) {
  for (const char* key : {"quantization_config", "quantization"}) {
    if (!keys.has(key)) continue;
    const json& value = keys.at(key);
    const std::string method = value.is_object() ? value.value("quant_method", json("?")).dump() : shown(value);
    if (config.tensor_names == TensorNames::gpt_oss && method == "\"mxfp4\"") continue;
    throw ConfigError(keys.source() + ": " + key + ": found quant_method " + method.substr(0, 60) + ", expected none" +
                      (config.tensor_names == TensorNames::gpt_oss ? " or \"mxfp4\"" : "") +
                      ": use the checkpoint in bf16");
  }
}

// Our own object in presets: what the published file does not say.
void read_ringbench(const Keys& keys, ModelConfig& config) {
  if (!keys.has("ringbench")) return;
  const Keys ours = keys.object("ringbench", "notes slope_layer_offset yarn");
  if (ours.has("slope_layer_offset")) config.slope_layer_offset = read_slope_layer_offset(ours);
  if (ours.has("yarn")) {
    const Keys yarn = ours.object("yarn", "factor original_max_position_embeddings");
    config.card_yarn =
        RopeScaling::yarn(yarn.number("factor", 1.0, 1e6), yarn.size("original_max_position_embeddings"));
  }
  if (!ours.has("notes")) return;
  if (!ours.at("notes").is_array()) ours.fail("notes", "a list of sentences");
  for (const json& note : ours.at("notes")) {
    if (!note.is_string()) ours.fail("notes", "a list of sentences");
    config.notes.push_back(note.get<std::string>());
  }
}

// So that no count of parameters or bytes overflows 64 bits. Upper bound, in floating point.
void refuse_absurd_size(const Keys& keys, const ModelConfig& config) {
  const double hidden = static_cast<double>(config.hidden_size);
  const double channels = static_cast<double>(config.num_attention_heads) * config.head_dim;
  const double experts = static_cast<double>(config.num_experts) * static_cast<double>(config.moe_intermediate_size);
  const double widths = static_cast<double>(config.intermediate_size + config.shared_intermediate_size) + experts;
  const double layer = hidden * (5.0 * channels + 3.0 * widths + config.num_experts) + channels * config.head_dim;
  const double total = layer * (config.num_hidden_layers + 1.0) + 2.0 * hidden * static_cast<double>(config.vocab_size);
  if (!(total <= max_parameters))
    throw ConfigError(keys.source() + ": hidden_size, num_hidden_layers, intermediate_size and num_experts together " +
                      "ask for about " + json(total).dump() + " parameters, expected at most 2^48");
}

}  // namespace

ModelConfig ModelConfig::parse(std::string_view text, const std::string& source) {
  const json document = parse_object(text, source);
  const Architecture& row = find_architecture(document, source);
  refuse_unknown_keys(document, row, source);

  Keys keys(document, source);
  if (keys.has("experts_per_token")) {  // GPT-OSS's older name
    if (keys.has("num_experts_per_tok") && keys.at("num_experts_per_tok") != keys.at("experts_per_token"))
      keys.fail("experts_per_token", "the same as num_experts_per_tok");
    keys.set("num_experts_per_tok", keys.at("experts_per_token"));
  }
  spread_rope_parameters(keys);
  for (const std::string& key : split(row.required))
    if (!keys.given(key)) throw ConfigError(source + ": missing key \"" + key + "\", a size that has no safe default");
  const json fixed = json::parse(row.fixed), defaults = class_defaults(row);
  for (const auto& [key, value] : fixed.items())
    if (keys.has(key) && keys.at(key) != value) keys.fail(key, value.dump() + " (nothing else is supported)");
  for (const auto& [key, value] : defaults.items())
    if (!keys.given(key)) keys.set_default(key, value);

  ModelConfig config;
  config.name = source;
  config.architecture = row.name;
  config.tensor_names = row.tensor_names;
  row.read(keys, config);
  config.rope_scaling = read_rope_scaling(keys, row, config);
  read_linear_attention(keys, config);
  if (keys.has("slope_layer_offset")) config.slope_layer_offset = read_slope_layer_offset(keys);
  read_layer_types(keys, config);
  read_tokens(keys, config);
  read_dtype(keys, config);
  refuse_quantization(keys, config);
  read_ringbench(keys, config);
  refuse_absurd_size(keys, config);
  config.defaulted_keys.insert(config.defaulted_keys.begin(), keys.defaulted().begin(), keys.defaulted().end());
  return config;
}

ModelConfig ModelConfig::load(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(max_file_bytes + 1, '\0');
  file.read(text.data(), std::ssize(text));
  if (!file.is_open() || file.bad())
    throw ConfigError(path.string() + ": cannot be read; expected a config.json or a preset of configs/models");
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > max_file_bytes)
    throw ConfigError(path.string() + ": larger than 1 MiB, expected a config.json (a few kB)");

  ModelConfig config = parse(text, path.string());
  // A preset is called by its file, a checkpoint by its folder: in the Hugging Face cache that is
  // models--org--repo/snapshots/<hash>, of which the repo is the name people know.
  config.name = path.stem().string();
  if (path.filename() == "config.json") {
    const std::filesystem::path folder = std::filesystem::absolute(path).lexically_normal().parent_path();
    config.name = folder.filename().string();
    if (folder.parent_path().filename() == "snapshots") {
      const std::string repository = folder.parent_path().parent_path().filename().string();
      const size_t last = repository.rfind("--");
      if (last != repository.npos) config.name = repository.substr(last + 2);
    }
  }
  return config;
}

}  // namespace ringbench
