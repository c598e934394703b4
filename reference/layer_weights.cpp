// layer_weights.cpp: from checkpoint names to the matrices of layer_weights.h.
#include "reference/layer_weights.h"

#include <cmath>
#include <string>

namespace ringbench {
namespace {

// Reads tensors of one model into Eigen types.
template <class Real> struct Reader {
  const ModelConfig& config;
  const Weights& weights;
  Rounding rounding;

  RowVector<Real> vector(const std::string& name, int64_t size) const {
    RowVector<Real> v(size);
    weights.read<Real>(name, std::span<Real>(v.data(), static_cast<size_t>(v.size())));
    return v;
  }
  RowVector<Real> vector_if(bool present, const std::string& name, int64_t size) const {
    return present ? vector(name, size) : RowVector<Real>();
  }
  Matrix<Real> matrix(const std::string& name, int64_t rows, int64_t columns) const {
    Matrix<Real> m(rows, columns);
    const std::span<Real> values(m.data(), static_cast<size_t>(m.size()));
    weights.read<Real>(name, values);
    round_to(rounding, values, static_cast<size_t>(columns));
    return m;
  }
  Mlp<Real> mlp(const std::string& prefix, int64_t width) const {
    const int64_t H = config.hidden_size;
    return {matrix(prefix + "gate_proj.weight", width, H),
            matrix(prefix + "up_proj.weight", width, H),
            matrix(prefix + "down_proj.weight", H, width),
            {},
            {},
            {}};
  }

  // q, k and v as one matrix, from one tensor (bailing) or three.
  void read_qkv(LayerWeights<Real>& w, const std::string& attention, int64_t kv_heads, bool bias) const {
    const int64_t H = config.hidden_size, d = config.head_dim, n = config.num_attention_heads;
    const int64_t rows = (n + 2 * kv_heads) * d;
    if (config.tensor_names == TensorNames::bailing) {
      w.qkv = matrix(attention + "query_key_value.weight", rows, H);
      w.qkv_bias = vector_if(bias, attention + "query_key_value.bias", rows);
      return;
    }
    w.qkv.resize(rows, H);
    w.qkv << matrix(attention + "q_proj.weight", n * d, H), matrix(attention + "k_proj.weight", kv_heads * d, H),
        matrix(attention + "v_proj.weight", kv_heads * d, H);
    if (!bias) return;
    w.qkv_bias.resize(rows);
    w.qkv_bias << vector(attention + "q_proj.bias", n * d), vector(attention + "k_proj.bias", kv_heads * d),
        vector(attention + "v_proj.bias", kv_heads * d);
  }

  void read_attention(LayerWeights<Real>& w, const std::string& layer, LayerType type) const {
    const bool bailing = config.tensor_names == TensorNames::bailing, linear = type == LayerType::linear_attention;
    const std::string attention = layer + (bailing ? "attention." : "self_attn.");
    const int64_t H = config.hidden_size, d = config.head_dim, width = config.num_attention_heads * d;
    read_qkv(w, attention, config.kv_heads(type), config.use_qkv_bias && config.has_bias(type));
    w.q_norm = vector_if(config.use_qk_norm, attention + (bailing ? "query_layernorm.weight" : "q_norm.weight"), d);
    w.k_norm = vector_if(config.use_qk_norm, attention + (bailing ? "key_layernorm.weight" : "k_norm.weight"), d);
    w.sinks = vector_if(config.attention_sinks && !linear, attention + "sinks", config.num_attention_heads);
    const std::string o_proj = attention + (bailing ? "dense." : "o_proj.");
    w.o_proj = matrix(o_proj + "weight", H, width);
    w.o_bias = vector_if(config.use_bias && config.has_bias(type), o_proj + "bias", H);
    if (!linear) return;
    w.gate_norm = vector(attention + "g_norm.weight", width);
    if (config.use_low_rank) {
      w.gate_proj.push_back(matrix(attention + "g_proj.0.weight", d, H));
      w.gate_proj.push_back(matrix(attention + "g_proj.1.weight", width, d));
    } else {
      w.gate_proj.push_back(matrix(attention + "g_proj.weight", width, H));
    }
  }

  // GPT-OSS keeps all experts of a layer in one tensor: gate_up_proj [E, H, 2 width], gate and up alternating in the
  // last dimension, and down_proj [E, width, H]: transposed to what everybody else does.
  void read_packed_experts(LayerWeights<Real>& w, const std::string& experts) const {
    const int64_t H = config.hidden_size, E = config.num_experts, width = config.moe_intermediate_size;
    const Matrix<Real> gate_up = matrix(experts + "gate_up_proj", E * H, 2 * width);
    const Matrix<Real> down = matrix(experts + "down_proj", E * width, H);
    Matrix<Real> gate_up_bias, down_bias;
    if (config.moe_bias) {
      gate_up_bias = matrix(experts + "gate_up_proj_bias", E, 2 * width);
      down_bias = matrix(experts + "down_proj_bias", E, H);
    }
    const auto gate_columns = Eigen::seqN(0, width, 2), up_columns = Eigen::seqN(1, width, 2);
    for (int64_t e = 0; e < E; ++e) {
      Mlp<Real>& expert = w.experts.emplace_back();
      const auto mine = gate_up.middleRows(e * H, H);
      expert.gate = mine(Eigen::all, gate_columns).transpose();
      expert.up = mine(Eigen::all, up_columns).transpose();
      expert.down = down.middleRows(e * width, width).transpose();
      if (!config.moe_bias) continue;
      expert.gate_bias = gate_up_bias.row(e)(gate_columns);
      expert.up_bias = gate_up_bias.row(e)(up_columns);
      expert.down_bias = down_bias.row(e);
    }
  }

  void read_moe(LayerWeights<Real>& w, const std::string& mlp_name) const {
    const int64_t H = config.hidden_size, E = config.num_experts;
    if (config.tensor_names == TensorNames::gpt_oss) {
      w.router = matrix(mlp_name + "router.weight", E, H);
      w.router_bias = vector_if(config.moe_bias, mlp_name + "router.bias", E);
      read_packed_experts(w, mlp_name + "experts.");
      return;
    }
    w.router = matrix(mlp_name + "gate.weight", E, H);
    w.expert_bias = vector_if(config.moe_router_enable_expert_bias, mlp_name + "gate.expert_bias", E);
    w.experts.resize(static_cast<size_t>(E));
    parallel_for(E, 1e12, [&](int64_t e) {
      w.experts[static_cast<size_t>(e)] =
          mlp(mlp_name + "experts." + std::to_string(e) + ".", config.moe_intermediate_size);
    });
    if (config.shared_intermediate_size > 0)
      w.shared = mlp(mlp_name + "shared_experts.", config.shared_intermediate_size);
  }

  LayerWeights<Real> layer(int i) const {
    const bool mtp = i == config.num_hidden_layers;
    const std::string name = "model.layers." + std::to_string(i) + ".";
    const int64_t H = config.hidden_size;
    LayerWeights<Real> w;
    w.input_norm = vector(name + "input_layernorm.weight", H);
    w.post_attention_norm = vector(name + "post_attention_layernorm.weight", H);
    read_attention(w, name, mtp ? LayerType::softmax_attention : config.layer_types[static_cast<size_t>(i)]);
    if (config.num_experts > 0 && (mtp || config.is_moe(i)))
      read_moe(w, name + "mlp.");
    else
      w.dense = mlp(name + "mlp.", config.intermediate_size);
    if (mtp) {
      w.embedding_norm = vector(name + "enorm.weight", H);
      w.hidden_norm = vector(name + "hnorm.weight", H);
      w.final_norm = vector(name + "final_layernorm.weight", H);
      w.eh_proj = matrix(name + "eh_proj.weight", H, 2 * H);
    }
    return w;
  }
};

// norm_head: every column of lm_head [vocab_size, H] divided by its length + 1e-7.
template <class Real> void normalize_head(Matrix<Real>& lm_head) {
  const RowVector<Real> length = lm_head.colwise().norm().array() + Real(1e-7);
  lm_head.array().rowwise() /= length.array();
}

}  // namespace

template <class Real>
ModelWeights<Real> read_model_weights(const ModelConfig& config, const Weights& weights, Rounding rounding, bool mtp,
                                      std::optional<int> only_layer) {
  const Reader<Real> reader{config, weights, rounding};
  const int64_t V = config.vocab_size, H = config.hidden_size;
  ModelWeights<Real> model;
  if (only_layer) {
    model.layers.resize(static_cast<size_t>(*only_layer) + 1);
    model.layers.back() = reader.layer(*only_layer);
    return model;
  }
  model.embeddings = reader.matrix(
      config.tensor_names == TensorNames::bailing ? "model.word_embeddings.weight" : "model.embed_tokens.weight", V, H);
  for (int i = 0; i < config.num_hidden_layers; ++i) model.layers.push_back(reader.layer(i));
  if (mtp) model.layers.push_back(reader.layer(config.num_hidden_layers));
  model.final_norm = reader.vector("model.norm.weight", H);
  if (!config.tie_word_embeddings) model.lm_head = reader.matrix("lm_head.weight", V, H);
  if (config.norm_head) {
    if (config.tie_word_embeddings) model.lm_head = model.embeddings;  // the embeddings themselves stay as they are
    normalize_head(model.lm_head);
  }
  return model;
}

template ModelWeights<float> read_model_weights(const ModelConfig&, const Weights&, Rounding, bool, std::optional<int>);
template ModelWeights<double> read_model_weights(const ModelConfig&, const Weights&, Rounding, bool,
                                                 std::optional<int>);

}  // namespace ringbench
