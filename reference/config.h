// config.h: one model's shape and options, read from a checkpoint's config.json or a preset in configs/models.
// Members carry the names of the checkpoint's own keys. A field says what the model does, never which family it comes
// from: no code outside config.cpp asks "is this a Qwen?".
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace ringbench {

// A config that cannot be used. The message names file, key, what was found and what was expected.
struct ConfigError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class LayerType { linear_attention, softmax_attention, sliding_attention };

// Which layer number the decay of linear attention is computed from: i (serving engines), i-1 (Hugging Face code), or
// max(0, i-1) (mlx-lm). See ModelConfig::log_decay.
enum class SlopeLayerOffset { zero, one, mlx };

enum class Router {
  softmax_topk,  // softmax over all experts, then the top k; weights normalised over them (Ring-lite)
  sigmoid_topk,  // sigmoid scores, expert bias for the selection only, group-limited top k, weights normalised, scaled
  topk_softmax,  // top k logits, then softmax over those (GPT-OSS)
};

// How tensors are named and laid out in the checkpoint (weights.cpp).
enum class TensorNames { bailing, qwen, gpt_oss };

// YaRN (arXiv:2309.00071), resolved: attention_factor is always the number that multiplies cos and sin.
struct RopeScaling {
  double factor = 1.0;
  int64_t original_max_position_embeddings = 0;
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  bool truncate = true;  // round the correction range to whole dimensions
  double attention_factor = 1.0;

  // attention_factor = 0.1 ln(factor) + 1, the usual betas.
  static RopeScaling yarn(double factor, int64_t original_max_position_embeddings);
};

// "model" (as configured), M linear layers for each softmax layer, all softmax, all linear, or an explicit pattern
// such as "LLSLLLSS" (L linear, S softmax, W sliding window).
struct HybridRatio {
  enum class Kind { model, ratio, softmax, linear, pattern } kind = Kind::model;
  int linear_per_softmax = 0;
  std::string pattern;

  // Throws ConfigError: write M:1, 'softmax', 'linear', 'model' or a pattern of L, S, W.
  static HybridRatio parse(std::string_view text);
};

struct ModelConfig {
  std::string name;          // preset or folder name, for people
  std::string architecture;  // as in "architectures", for people and for writing a config back
  TensorNames tensor_names = TensorNames::bailing;

  // Sizes.
  int64_t hidden_size = 0, vocab_size = 0;
  int64_t intermediate_size = 0;  // of dense MLPs
  int num_hidden_layers = 0, num_attention_heads = 0, num_key_value_heads = 0, head_dim = 0;
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;

  // Layers.
  std::vector<LayerType> layer_types;  // [num_hidden_layers]
  int layer_group_size = 1;            // what layer_types was derived from; 1 where that rule is not used
  int64_t sliding_window = 0;          // keys a sliding layer sees, the token's own included
  int num_nextn_predict_layers = 0;    // MTP layers after the main ones: 0 or 1

  // Attention, both kinds.
  bool use_qkv_bias = false;     // on q, k, v
  bool use_bias = false;         // on the output projection
  bool use_qk_norm = false;      // RMSNorm per head on q and k, before rope
  bool attention_sinks = false;  // one learned logit per head in the softmax's denominator
  double rope_theta = 10000.0;
  int rotary_dim = 0;  // leading dims of each head that are rotated
  std::optional<RopeScaling> rope_scaling;

  // Linear attention.
  int linear_key_value_heads = 0;  // heads of k and v; = num_attention_heads in all published models
  bool linear_bias = false;        // use_qkv_bias and use_bias hold for linear layers too (V2), not only for softmax
  bool linear_silu = false;        // SiLU on q, k, v before norm and rope
  bool linear_rope = true;
  int group_norm_size = 1;    // number of groups of the output norm; 1: one norm over all channels
  bool use_low_rank = false;  // gate projection as two matrices through head_dim
  SlopeLayerOffset slope_layer_offset = SlopeLayerOffset::zero;

  // Mixture of experts; num_experts == 0: every MLP is dense.
  int num_experts = 0, num_experts_per_tok = 0;
  int64_t moe_intermediate_size = 0;
  int64_t shared_intermediate_size = 0;  // width of the one merged shared expert; 0: none
  int first_k_dense_replace = 0;         // the first k layers are dense
  Router router = Router::softmax_topk;
  bool norm_topk_prob = true;
  bool moe_router_enable_expert_bias = false;
  int n_group = 1, topk_group = 1;  // group-limited top k; 1 and 1: not limited
  double routed_scaling_factor = 1.0;
  bool moe_bias = false;      // biases on router and experts (GPT-OSS)
  double swiglu_limit = 0.0;  // clamp of SwiGLU inputs; 0: none
  double swiglu_alpha = 1.0;  // x sigmoid(alpha x); with a limit also (up + 1), as GPT-OSS does

  // Head.
  bool norm_head = false;  // columns of lm_head scaled to unit length
  bool tie_word_embeddings = false;

  int64_t bos_token_id = -1;
  std::vector<int64_t> eos_token_ids;
  std::string dtype = "bf16";  // "torch_dtype": the type the checkpoint is published in

  // What the file did not say.
  std::vector<std::string> defaulted_keys;  // keys that took the class default of the architecture, "key=value"
  std::vector<std::string> notes;           // open questions ([?] values) and conflicts, for `info`
  std::optional<RopeScaling> card_yarn;     // the YaRN setting that the model card recommends for long contexts

  // A preset or a checkpoint's config.json. Throws ConfigError naming an unknown or missing key, a wrong type, a size
  // that is not positive, or a layer kind that is not supported.
  static ModelConfig load(const std::filesystem::path& json);
  // The same from text; `source` is used in messages. (What the fuzzer calls.)
  static ModelConfig parse(std::string_view json, const std::string& source);

  // Same widths, other layer_types. Throws ConfigError if the depth does not fit the ratio or pattern.
  ModelConfig with_hybrid_ratio(const HybridRatio& ratio) const;
  // Same widths, another depth; layer_types by the same rule as before. Throws ConfigError if `layers` < 1.
  ModelConfig with_layers(int layers) const;

  bool is_moe(int layer) const { return num_experts > 0 && layer >= first_k_dense_replace; }
  bool has_mtp() const { return num_nextn_predict_layers > 0; }
  int64_t kv_heads(LayerType type) const {
    return type == LayerType::linear_attention ? linear_key_value_heads : num_key_value_heads;
  }
  bool has_bias(LayerType type) const { return type != LayerType::linear_attention || linear_bias; }
  int count(LayerType type) const;
  // "LLLLS LLLLS LLLLS LLLLS": one letter a layer, groups apart; parse() of HybridRatio reads it back.
  std::string layer_pattern() const;
  // What messages and rows call the layout: "4:1", "softmax", "linear", or the pattern where it is not regular.
  std::string hybrid_label() const;

  // Decay of linear attention, arXiv:2401.04658: state <- exp(log_decay) state + k v^T each token.
  // Returns [num_attention_heads], all negative: -slope_h (1 - n / (L-1) + 1e-5), with n the layer's number as
  // slope_layer_offset counts it and L = num_hidden_layers; slope_h = start^(h+1), start = 2^(-2^(3 - log2 heads)),
  // for a power of two; other head counts take those of the next lower power and every second one of its double.
  std::vector<double> log_decay(int layer) const;

  // Tokens beyond which outputs are not trained for: max_position_embeddings, or YaRN's factor x original.
  int64_t trained_window() const;

  // Hex SHA-256 over every field that changes what the model computes.
  std::string sha() const;
};

// The published rule: layer i is softmax where (i + 1) % layer_group_size == 0, and so are left-over layers that make
// no whole group; the others are linear. A group size of 1 makes every layer softmax.
std::vector<LayerType> grouped_layer_types(int num_hidden_layers, int layer_group_size);

std::string_view name_of(LayerType type);
std::string_view name_of(SlopeLayerOffset offset);  // "0", "1", "mlx"
SlopeLayerOffset parse_slope_layer_offset(std::string_view text);

}  // namespace ringbench
