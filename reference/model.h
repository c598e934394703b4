// model.h: the decoder as the papers draw it (arXiv:2510.19338, figure 2): for every layer attention, linear or
// softmax, then an MLP or a mixture of experts, each around a residual stream. Rows are tokens, of one sequence or
// many.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "reference/engine.h"
#include "reference/layer_weights.h"
#include "reference/lightning_attention.h"
#include "reference/linear_algebra.h"
#include "reference/moe.h"
#include "reference/norm.h"
#include "reference/rope.h"
#include "reference/softmax_attention.h"

namespace ringbench {

// What a sequence remembers in one layer. Caches are reserved once and never initialised: only used pages cost memory.
template <class Real> struct LayerMemory {
  std::unique_ptr<Real[]> k, v;  // softmax: [max_tokens, num_key_value_heads, head_dim]
  std::vector<Matrix<Real>> kv;  // linear: [num_attention_heads] of [head_dim (k), head_dim (v)]
};

template <class Real> struct Sequence {
  std::vector<LayerMemory<Real>> layers;  // [num_hidden_layers], then MTP
  int64_t position = 0;                   // tokens seen
  int64_t reached = 0;                    // positions that the softmax caches hold
  RowVector<Real> last_hidden;            // [hidden_size]: after model.norm, for the MTP layer
};

// Consecutive rows of one pass that belong to one sequence.
struct Piece {
  int slot;
  int64_t row, rows;
  int64_t position;  // of its first row
};

template <class Real> class Model {
 public:
  // With `only_layer`, the weights of that layer alone, for attention() and mlp_or_moe().
  Model(const ModelConfig& config, const Weights& weights, const EngineOptions& options,
        std::optional<int> only_layer = {})
      : config_(config),
        options_(options),
        weights_(read_model_weights<Real>(config, weights, options.precision.weights, options.mtp, only_layer)),
        frequencies_(inverse_frequencies(config.rotary_dim, config.rope_theta, config.rope_scaling)) {
    for (int i = 0; i < config.num_hidden_layers; ++i) log_decay_.push_back(config.log_decay(i));
  }

  // tokens [N] in pieces; returns the stream after model.norm, [N, hidden_size].
  Matrix<Real> forward(std::span<const int32_t> tokens, std::span<const Piece> pieces,
                       std::vector<Sequence<Real>>& sequences) {
    Matrix<Real> h = embed(tokens);
    emit(-1, "hidden.0", h);
    const RopeTable<Real> rope = rope_table(pieces);
    for (int i = 0; i < config_.num_hidden_layers; ++i) {
      decoder_layer(i, config_.layer_types[static_cast<size_t>(i)], h, rope, pieces, sequences);
      emit(-1, "hidden." + std::to_string(i + 1), h);
    }
    h = norm(h, weights_.final_norm);
    emit(-1, "final_norm", h);
    return h;
  }

  // logits = lm_head h. h [N, hidden_size]; returns [N, vocab_size].
  Matrix<Real> lm_head(const Matrix<Real>& h) const {
    Matrix<Real> logits = project(h, weights_.lm_head.size() > 0 ? weights_.lm_head : weights_.embeddings);
    round_matrix(options_.precision.lm_head, logits);
    return logits;
  }

  // The MTP layer: joins the hidden state of position t (after model.norm) with token t+1 and predicts token t+2.
  // tokens [M] are those next tokens, h [M, hidden_size] the hidden states; returns [M, hidden_size] for lm_head.
  Matrix<Real> forward_mtp(std::span<const int32_t> tokens, const Matrix<Real>& h, std::span<const Piece> pieces,
                           std::vector<Sequence<Real>>& sequences) {
    const int layer = config_.num_hidden_layers;
    const LayerWeights<Real>& w = weights_.layers[static_cast<size_t>(layer)];
    const Matrix<Real> a = norm(embed(tokens), w.embedding_norm), b = norm(h, w.hidden_norm);
    Matrix<Real> joined(h.rows(), 2 * h.cols());
    joined << a, b;
    Matrix<Real> u = project(joined, w.eh_proj);
    emit(-1, "mtp.h", h), emit(-1, "mtp.enorm", a), emit(-1, "mtp.hnorm", b), emit(-1, "mtp.eh_proj", u);
    decoder_layer(layer, LayerType::softmax_attention, u, rope_table(pieces), pieces, sequences);
    emit(-1, "mtp.out", u);
    u = norm(u, w.final_norm);
    emit(-1, "mtp.final_norm", u);
    return u;
  }

  // (token, choice) pairs each expert took, by layer, since the last call.
  std::map<int, std::vector<int64_t>> take_expert_tokens() { return std::exchange(expert_tokens_, {}); }

  LayerHook hook;

  // x [N, hidden_size], normed; returns the MLP block's output, [N, hidden_size].
  Matrix<Real> mlp_or_moe(int i, const Matrix<Real>& x, std::span<const Piece> pieces) {
    const LayerWeights<Real>& w = weights_.layers[static_cast<size_t>(i)];
    Matrix<Real> y = w.router.size() > 0 ? moe(i, x, pieces) : mlp(x, w.dense, config_, options_.precision.activations);
    round_matrix(options_.precision.activations, y);
    emit(i, "mlp_out", y);
    return y;
  }

  // x [N, hidden_size], normed; returns the attention block's output, [N, hidden_size].
  Matrix<Real> attention(int i, LayerType type, const Matrix<Real>& x, const RopeTable<Real>& rope,
                         std::span<const Piece> pieces, std::vector<Sequence<Real>>& sequences) {
    const LayerWeights<Real>& w = weights_.layers[static_cast<size_t>(i)];
    const bool linear = type == LayerType::linear_attention;
    const int64_t d = config_.head_dim, heads = config_.num_attention_heads, kv_heads = config_.kv_heads(type);

    const Rounding activations = options_.precision.activations;
    Matrix<Real> qkv = project(x, w.qkv, w.qkv_bias);
    round_matrix(activations, qkv);
    if (linear && config_.linear_silu) qkv = qkv.unaryExpr([](Real z) { return z * sigmoid(z); });
    Matrix<Real> q = qkv.leftCols(heads * d), k = qkv.middleCols(heads * d, kv_heads * d),
                 v = qkv.rightCols(kv_heads * d);
    if (config_.use_qk_norm) {
      group_rms_norm(q, w.q_norm, heads, config_.rms_norm_eps);
      group_rms_norm(k, w.k_norm, kv_heads, config_.rms_norm_eps);
    }
    if (!linear || config_.linear_rope) {
      apply_rope(q, d, rope);
      apply_rope(k, d, rope);
    }
    for (Matrix<Real>* m : {&q, &k, &v}) round_matrix(options_.precision.qkv, *m);
    const int64_t N = x.rows();
    emit(i, "q", q, {N, heads, d}), emit(i, "k", k, {N, kv_heads, d}), emit(i, "v", v, {N, kv_heads, d});

    Matrix<Real> o = linear ? linear_attention(i, q, k, v, pieces, sequences)
                            : softmax_attention(i, type, q, k, v, pieces, sequences);
    round_matrix(options_.precision.attention, o);
    emit(i, "attn_ctx", o);

    if (linear) {  // dense( group_norm(o) * sigmoid(g_proj x) ): norm first, then gate
      group_rms_norm(o, w.gate_norm, config_.group_norm_size, config_.rms_norm_eps);
      emit(i, "g_norm_out", o);
      Matrix<Real> gate = project(x, w.gate_proj.front());
      round_matrix(activations, gate);
      if (w.gate_proj.size() > 1) {
        gate = project(gate, w.gate_proj.back());
        round_matrix(activations, gate);
      }
      parallel_rows(N, 20.0 * static_cast<double>(o.size()), [&](int64_t begin, int64_t end) {
        auto g = gate.middleRows(begin, end - begin).array();
        g = Real(1) / (Real(1) + (-g).exp());
        o.middleRows(begin, end - begin).array() *= g;
      });
      round_matrix(activations, o);
      emit(i, "gate", gate);
      emit(i, "dense_in", o);
    }
    Matrix<Real> y = project(o, w.o_proj, w.o_bias);
    round_matrix(activations, y);
    emit(i, "attn_out", y);
    return y;
  }

  RopeTable<Real> rope_table(std::span<const Piece> pieces) const {
    std::vector<int64_t> positions;
    for (const Piece& piece : pieces)
      for (int64_t t = 0; t < piece.rows; ++t) positions.push_back(piece.position + t);
    const double factor = config_.rope_scaling ? config_.rope_scaling->attention_factor : 1.0;
    return RopeTable<Real>(frequencies_, factor, positions, options_.rope_angles);
  }

 private:
  // h = h + attention(norm(h));  h = h + mlp(norm(h))
  void decoder_layer(int i, LayerType type, Matrix<Real>& h, const RopeTable<Real>& rope, std::span<const Piece> pieces,
                     std::vector<Sequence<Real>>& sequences) {
    const LayerWeights<Real>& w = weights_.layers[static_cast<size_t>(i)];
    Matrix<Real> x = norm(h, w.input_norm);
    emit(i, "attn_in", x);
    add(h, attention(i, type, x, rope, pieces, sequences));
    x = norm(h, w.post_attention_norm);
    emit(i, "mlp_in", x);
    add(h, mlp_or_moe(i, x, pieces));
  }

  // Lightning attention of every head of every piece on its sequence's state. q, k, v [N, heads * head_dim].
  Matrix<Real> linear_attention(int i, const Matrix<Real>& q, const Matrix<Real>& k, const Matrix<Real>& v,
                                std::span<const Piece> pieces, std::vector<Sequence<Real>>& sequences) {
    const int64_t d = config_.head_dim, heads = config_.num_attention_heads,
                  group = heads / config_.linear_key_value_heads;
    Matrix<Real> o(q.rows(), q.cols());
    const double flops = 6.0 * static_cast<double>(q.size()) * static_cast<double>(d);
    parallel_for(static_cast<int64_t>(pieces.size()) * heads, flops, [&](int64_t task) {
      const Piece& piece = pieces[static_cast<size_t>(task / heads)];
      const int64_t h = task % heads;
      const auto head = [&](const Matrix<Real>& m, int64_t index) {
        return ConstRows2d<Real>(m.data() + piece.row * m.cols() + index * d, piece.rows, d,
                                 Eigen::OuterStride<>(m.cols()));
      };
      Matrix<Real>& state = layer_memory(sequences, piece, i).kv[static_cast<size_t>(h)];
      const double log_decay = log_decay_[static_cast<size_t>(i)][static_cast<size_t>(h)];
      Rows2d<Real> out(o.data() + piece.row * o.cols() + h * d, piece.rows, d, Eigen::OuterStride<>(o.cols()));
      if (piece.rows == 1) {
        lightning_attention_recurrent(head(q, h), head(k, h / group), head(v, h / group), log_decay, state, out);
      } else {
        lightning_attention_chunked(head(q, h), head(k, h / group), head(v, h / group), log_decay, state, out, 64,
                                    options_.precision.operands);
      }
      round_matrix(options_.precision.state, state);
    });
    return o;
  }

  // Appends k, v [N, kv_heads * head_dim] to the caches, then every piece attends to its sequence's cache.
  Matrix<Real> softmax_attention(int i, LayerType type, const Matrix<Real>& q, Matrix<Real>& k, Matrix<Real>& v,
                                 std::span<const Piece> pieces, std::vector<Sequence<Real>>& sequences) {
    const int64_t width = k.cols();
    const int64_t window = type == LayerType::sliding_attention ? config_.sliding_window : 0;
    round_matrix(options_.precision.kv_cache, k);
    round_matrix(options_.precision.kv_cache, v);
    Matrix<Real> o(q.rows(), q.cols());
    double flops = 0;
    for (const Piece& p : pieces)
      flops += 4.0 * static_cast<double>(p.rows * q.cols()) * static_cast<double>(p.position + p.rows);
    parallel_for(static_cast<int64_t>(pieces.size()), flops, [&](int64_t index) {
      const Piece& piece = pieces[static_cast<size_t>(index)];
      LayerMemory<Real>& memory = layer_memory(sequences, piece, i);
      std::copy_n(k.data() + piece.row * width, piece.rows * width, memory.k.get() + piece.position * width);
      std::copy_n(v.data() + piece.row * width, piece.rows * width, memory.v.get() + piece.position * width);
      const Matrix<Real> q_piece = q.middleRows(piece.row, piece.rows);
      o.middleRows(piece.row, piece.rows) = ringbench::softmax_attention(SoftmaxAttention<Real>{
          .q = q_piece,
          .k = memory.k.get(),
          .v = memory.v.get(),
          .position = piece.position,
          .heads = config_.num_attention_heads,
          .kv_heads = config_.num_key_value_heads,
          .head_dim = config_.head_dim,
          .window = window,
          .sinks = weights_.layers[static_cast<size_t>(i)].sinks,
          .operands = options_.precision.operands,
      });
    });
    return o;
  }

  // y = sum over chosen experts + shared expert. x [N, hidden_size]; returns the same shape.
  Matrix<Real> moe(int i, const Matrix<Real>& x, std::span<const Piece> pieces) {
    const LayerWeights<Real>& w = weights_.layers[static_cast<size_t>(i)];
    Matrix<Real> logits = project(x, w.router, w.router_bias), scores;
    round_matrix(options_.precision.router, logits);
    const Route<Real> r = options_.routing == Routing::uniform
                              ? uniform_route<Real>(x.rows(), pieces.front().position, config_)
                              : route(logits, w.expert_bias, config_, scores);
    emit(i, "router_logits", logits), emit(i, "router_scores", scores);
    if (hook) hook(i, "topk_ids", {DType::i32, {r.experts.rows(), r.experts.cols()}, r.experts.data()});
    emit(i, "topk_weights", r.weights);
    std::vector<int64_t>& load = expert_tokens_[i];
    load.resize(static_cast<size_t>(config_.num_experts));
    for (const int32_t expert : r.experts.reshaped()) ++load[static_cast<size_t>(expert)];

    const Rounding activations = options_.precision.activations;
    Matrix<Real> y = mixture(x, r, w.experts, config_, activations);
    if (w.shared.gate.size() > 0) {
      Matrix<Real> shared = mlp(x, w.shared, config_, activations);
      round_matrix(activations, shared);
      y += shared;
    }
    return y;
  }

  // [N, hidden_size]
  Matrix<Real> embed(std::span<const int32_t> tokens) const {
    Matrix<Real> h(static_cast<int64_t>(tokens.size()), config_.hidden_size);
    for (size_t t = 0; t < tokens.size(); ++t) h.row(static_cast<int64_t>(t)) = weights_.embeddings.row(tokens[t]);
    return h;
  }

  Matrix<Real> norm(const Matrix<Real>& x, const RowVector<Real>& weight) const {
    Matrix<Real> y = rms_norm(x, weight, config_.rms_norm_eps);
    round_matrix(options_.precision.norm, y);
    return y;
  }

  void add(Matrix<Real>& h, const Matrix<Real>& y) const {
    h += y;
    round_matrix(options_.precision.residual, h);
  }

  static LayerMemory<Real>& layer_memory(std::vector<Sequence<Real>>& sequences, const Piece& piece, int layer) {
    return sequences[static_cast<size_t>(piece.slot)].layers[static_cast<size_t>(layer)];
  }

  void emit(int layer, std::string_view name, const Matrix<Real>& m, std::vector<int64_t> shape = {}) const {
    if (!hook) return;
    if (shape.empty()) shape = {m.rows(), m.cols()};
    hook(layer, name, {dtype_of<Real>(), std::move(shape), m.data()});
  }

  ModelConfig config_;
  EngineOptions options_;
  ModelWeights<Real> weights_;
  std::vector<double> frequencies_;             // [rotary_dim / 2]
  std::vector<std::vector<double>> log_decay_;  // [num_hidden_layers][num_attention_heads]
  std::map<int, std::vector<int64_t>> expert_tokens_;
};

}  // namespace ringbench
