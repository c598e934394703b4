// reference_engine.h: the Engine over model.h: sequences and their positions, passes of at most one chunk, states in
// and out. The equations are in model.h and the files it includes. Internal: others use engine.h; each arithmetic type
// is compiled in a file of its own (reference_engine_f32.cpp, reference_engine_f64.cpp).
#pragma once

#include <algorithm>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "reference/engine.h"
#include "reference/model.h"
#include "reference/threads.h"

namespace ringbench {

// Bytes of one sequence's linear states, and of its softmax caches for `tokens` positions.
Memory sequence_memory(const ModelConfig& config, const EngineOptions& options, int64_t tokens);

// Copies elements of any floating type into Real.
template <class Real> void copy_values(const HostTensorView& from, Real* to) {
  const auto copy = [&](auto values) {
    std::transform(values.begin(), values.end(), to, [](auto x) {
      if constexpr (std::is_same_v<decltype(x), bf16>)
        return static_cast<Real>(static_cast<float>(x));
      else
        return static_cast<Real>(x);
    });
  };
  switch (from.dtype) {
    case DType::f64: return copy(from.as<double>());
    case DType::f32: return copy(from.as<float>());
    case DType::bf16: return copy(from.as<bf16>());
    default:
      throw std::invalid_argument("import_state: states are f64, f32 or bf16, not " + std::string(name_of(from.dtype)));
  }
}

template <class Real> HostTensor host_copy(const Real* data, std::vector<int64_t> shape) {
  HostTensor tensor(dtype_of<Real>(), std::move(shape));
  std::copy_n(data, tensor.size(), tensor.as<Real>().data());
  return tensor;
}

template <class Real> class ReferenceEngine final : public Engine {
 public:
  // With `only_layer`, its weights and caches alone: only layer_attention, layer_mlp, export_state and import_state of
  // that layer may be called.
  ReferenceEngine(const ModelConfig& config, const Weights& weights, const EngineOptions& options,
                  std::optional<int> only_layer = {})
      : config_(config),
        options_(options),
        model_((set_threads(options.threads), config), weights, options, only_layer) {
    if (!options.kernels.empty())
      throw std::invalid_argument("the reference has no kernel variants to choose from: '" + options.kernels.front() +
                                  "'");
    memory_ = plan_reference_memory(config, options);
    const int layers = config.num_hidden_layers + (options.mtp ? 1 : 0);
    const size_t cache =
        static_cast<size_t>(options.max_tokens) * static_cast<size_t>(config.num_key_value_heads * config.head_dim);
    sequences_.resize(static_cast<size_t>(options.slots));
    for (Sequence<Real>& sequence : sequences_) {
      sequence.layers.resize(static_cast<size_t>(layers));
      for (int i = 0; i < layers; ++i) {
        if (is_linear(i) || (only_layer && i != *only_layer)) continue;  // linear states are made by reset
        sequence.layers[static_cast<size_t>(i)].k = std::make_unique_for_overwrite<Real[]>(cache);
        sequence.layers[static_cast<size_t>(i)].v = std::make_unique_for_overwrite<Real[]>(cache);
      }
    }
    for (int slot = 0; slot < options.slots; ++slot) reset(slot);
  }

  std::string_view name() const override { return "reference"; }
  const ModelConfig& config() const override { return config_; }
  Precision precision() const override { return options_.precision; }
  int64_t position(int slot) const override { return sequence(slot).position; }

  void forward(std::span<const Step> steps, Rows rows) override {
    check_steps(*this, steps, options_.slots, options_.max_tokens);
    set_threads(options_.threads);
    model_.hook = hook;
    std::vector<int64_t> first_row(steps.size());  // of each step in the logits
    int64_t wanted = 0;
    for (size_t s = 0; s < steps.size(); ++s) {
      first_row[s] = wanted;
      wanted += rows == Rows::none ? 0 : rows == Rows::last ? 1 : static_cast<int64_t>(steps[s].tokens.size());
    }
    logits_.resize(wanted, config_.vocab_size);
    mtp_logits_.resize(0, config_.vocab_size);

    // A pass takes pieces of at most one chunk of each sequence, in order, at most one chunk of rows in all (but one
    // token of every sequence always goes together). Where a sequence is cut does not depend on its neighbours.
    const int64_t chunk = options_.chunk > 0 ? options_.chunk : std::numeric_limits<int64_t>::max();
    std::vector<size_t> done(steps.size(), 0);
    for (size_t s = 0; s < steps.size();) {
      std::vector<int32_t> tokens;
      std::vector<Piece> pieces;
      std::vector<size_t> piece_step;
      for (; s < steps.size(); ++s) {
        const auto rest = steps[s].tokens.subspan(done[s]);
        const int64_t size = std::min(chunk, static_cast<int64_t>(rest.size()));
        const int64_t row = static_cast<int64_t>(tokens.size());
        if (!pieces.empty() && (size > 1 || pieces.back().rows > 1) && row + size > chunk) break;
        pieces.push_back({steps[s].slot, row, size, sequence(steps[s].slot).position});
        piece_step.push_back(s);
        tokens.insert(tokens.end(), rest.begin(), rest.begin() + size);
        if (size < static_cast<int64_t>(rest.size())) break;
      }
      const Matrix<Real> h = model_.forward(tokens, pieces, sequences_);
      if (options_.mtp) complete_mtp(tokens, h, pieces, rows);
      for (size_t p = 0; p < pieces.size(); ++p) {
        const Piece& piece = pieces[p];
        Sequence<Real>& seq = sequence(piece.slot);
        seq.position += piece.rows;
        seq.reached = std::max(seq.reached, seq.position);
        if (options_.mtp) seq.last_hidden = h.row(piece.row + piece.rows - 1);
        size_t& taken = done[piece_step[p]];
        const int64_t row = first_row[piece_step[p]];
        if (rows == Rows::all)
          logits_.middleRows(row + static_cast<int64_t>(taken), piece.rows) =
              model_.lm_head(h.middleRows(piece.row, piece.rows));
        taken += static_cast<size_t>(piece.rows);
        if (rows == Rows::last && taken == steps[piece_step[p]].tokens.size())
          logits_.row(row) = model_.lm_head(h.row(piece.row + piece.rows - 1));
      }
    }
  }

  // The attention block of one layer on the next x.rows() tokens of slot 0, and its MLP block on the same tokens.
  Matrix<Real> layer_attention(int layer, const Matrix<Real>& x) {
    model_.hook = hook;
    Sequence<Real>& seq = sequence(0);
    if (seq.position + x.rows() > options_.max_tokens)
      throw std::length_error("layer_attention: beyond max_tokens " + std::to_string(options_.max_tokens));
    const std::vector<Piece> pieces{{0, 0, x.rows(), seq.position}};
    const LayerType type = layer < config_.num_hidden_layers ? config_.layer_types[static_cast<size_t>(layer)]
                                                             : LayerType::softmax_attention;
    Matrix<Real> y = model_.attention(layer, type, x, model_.rope_table(pieces), pieces, sequences_);
    seq.position += x.rows();
    seq.reached = seq.position;
    return y;
  }
  Matrix<Real> layer_mlp(int layer, const Matrix<Real>& x) {
    model_.hook = hook;
    return model_.mlp_or_moe(layer, x, std::vector<Piece>{{0, 0, x.rows(), sequence(0).position - x.rows()}});
  }

  HostTensorView logits() override { return view(logits_); }
  HostTensorView mtp_logits() override { return view(mtp_logits_); }

  void argmax(std::span<int32_t> out) override {
    if (static_cast<int64_t>(out.size()) != logits_.rows())
      throw std::invalid_argument("argmax: one place for each logits row");
    for (size_t r = 0; r < out.size(); ++r) {
      const auto row = logits_.row(static_cast<int64_t>(r));
      out[r] = static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
    }
  }

  void reset(int slot) override {
    Sequence<Real>& seq = sequence(slot);
    seq.position = seq.reached = 0;
    seq.last_hidden.resize(0);
    for (int i = 0; i < config_.num_hidden_layers; ++i)
      if (is_linear(i))
        seq.layers[static_cast<size_t>(i)].kv.assign(static_cast<size_t>(config_.num_attention_heads),
                                                     Matrix<Real>::Zero(config_.head_dim, config_.head_dim));
  }

  void seek(int slot, int64_t position) override {
    Sequence<Real>& seq = sequence(slot);
    if (position < 0 || position > seq.reached)
      throw std::out_of_range("seek: position " + std::to_string(position) + " was not reached (0.." +
                              std::to_string(seq.reached) + ")");
    if (options_.mtp && position != seq.position)
      throw std::logic_error("seek: the MTP layer cannot be moved; import its state");
    seq.position = position;
  }

  LayerState export_state(int slot, int layer) const override {
    const Sequence<Real>& seq = sequence(slot);
    const LayerMemory<Real>& memory = seq.layers.at(static_cast<size_t>(layer));
    const int64_t d = config_.head_dim;
    LayerState state;
    if (is_linear(layer)) {
      state.kv = HostTensor(dtype_of<Real>(), {config_.num_attention_heads, d, d});
      Real* out = state.kv.template as<Real>().data();
      for (const Matrix<Real>& kv : memory.kv) out = std::copy_n(kv.data(), kv.size(), out);
      return state;
    }
    const bool mtp = layer == config_.num_hidden_layers;  // one row behind: the last position waits for its next token
    const int64_t T = mtp ? std::max<int64_t>(0, seq.position - 1) : seq.position;
    state.k = host_copy(memory.k.get(), {T, config_.num_key_value_heads, d});
    state.v = host_copy(memory.v.get(), {T, config_.num_key_value_heads, d});
    if (mtp) state.hidden = host_copy(seq.last_hidden.data(), {seq.last_hidden.size()});
    return state;
  }

  void import_state(int slot, int layer, const LayerState& state, int64_t position) override {
    Sequence<Real>& seq = sequence(slot);
    LayerMemory<Real>& memory = seq.layers.at(static_cast<size_t>(layer));
    const int64_t d = config_.head_dim;
    if (position < 0 || position > options_.max_tokens)
      throw std::length_error("import_state: position " + std::to_string(position) + " is beyond max_tokens " +
                              std::to_string(options_.max_tokens));
    if (is_linear(layer)) {
      require_shape(state.kv, {config_.num_attention_heads, d, d}, "the linear state");
      HostTensor widened(dtype_of<Real>(), state.kv.shape());
      Real* values = widened.template as<Real>().data();
      copy_values(state.kv, values);
      for (Matrix<Real>& kv : memory.kv) {
        std::copy_n(values, d * d, kv.data());
        values += d * d;
      }
    } else {
      const bool mtp = layer == config_.num_hidden_layers;
      const int64_t T = mtp ? std::max<int64_t>(0, position - 1) : position;
      for (const auto& [tensor, cache, what] :
           {std::tuple(&state.k, &memory.k, "k"), std::tuple(&state.v, &memory.v, "v")}) {
        require_shape(*tensor, {T, config_.num_key_value_heads, d}, what);
        copy_values(*tensor, cache->get());
      }
      if (mtp && position > 0) {
        require_shape(state.hidden, {config_.hidden_size}, "the MTP layer's hidden state");
        seq.last_hidden.resize(config_.hidden_size);
        copy_values(state.hidden, seq.last_hidden.data());
      }
    }
    seq.position = seq.reached = position;
  }

  Report report() override {
    Report report;
    report.memory = memory_;  // weights, states and workspace as planned; caches as far as they are filled
    report.memory.kv = 0;
    for (const Sequence<Real>& seq : sequences_) report.memory.kv += sequence_memory(config_, options_, seq.reached).kv;
    report.expert_tokens = model_.take_expert_tokens();
    return report;
  }

 private:
  bool is_linear(int layer) const {
    return layer < config_.num_hidden_layers &&
           config_.layer_types[static_cast<size_t>(layer)] == LayerType::linear_attention;
  }
  Sequence<Real>& sequence(int slot) { return sequences_.at(static_cast<size_t>(slot)); }
  const Sequence<Real>& sequence(int slot) const { return sequences_.at(static_cast<size_t>(slot)); }
  static HostTensorView view(const Matrix<Real>& m) { return {dtype_of<Real>(), {m.rows(), m.cols()}, m.data()}; }

  // MTP row t joins the hidden state of position t with token t+1: of a piece, all rows but the last, preceded by the
  // position before the piece.
  void complete_mtp(const std::vector<int32_t>& tokens, const Matrix<Real>& h, const std::vector<Piece>& pieces,
                    Rows rows) {
    std::vector<int32_t> next;
    std::vector<Piece> mtp_pieces;
    Matrix<Real> hidden(h.rows(), h.cols());
    for (const Piece& piece : pieces) {
      const int64_t first = static_cast<int64_t>(next.size());
      for (int64_t r = 0; r < piece.rows; ++r) {
        if (piece.position + r == 0) continue;  // the first token has nothing before it
        if (r == 0)
          hidden.row(static_cast<int64_t>(next.size())) = sequence(piece.slot).last_hidden;
        else
          hidden.row(static_cast<int64_t>(next.size())) = h.row(piece.row + r - 1);
        next.push_back(tokens[static_cast<size_t>(piece.row + r)]);
      }
      const int64_t count = static_cast<int64_t>(next.size()) - first;
      if (count > 0) mtp_pieces.push_back({piece.slot, first, count, std::max<int64_t>(0, piece.position - 1)});
    }
    if (next.empty()) return;
    hidden.conservativeResize(static_cast<int64_t>(next.size()), Eigen::NoChange);
    const Matrix<Real> u = model_.forward_mtp(next, hidden, mtp_pieces, sequences_);
    if (rows == Rows::none) return;
    const int64_t before = mtp_logits_.rows();
    mtp_logits_.conservativeResize(before + u.rows(), Eigen::NoChange);
    mtp_logits_.bottomRows(u.rows()) = model_.lm_head(u);
  }

  ModelConfig config_;
  EngineOptions options_;
  Model<Real> model_;
  std::vector<Sequence<Real>> sequences_;
  Memory memory_;
  Matrix<Real> logits_, mtp_logits_;  // of the last forward
};

// ReferenceLayer over an engine that holds one layer.
template <class Real> class ReferenceLayerOf final : public ReferenceLayer {
 public:
  ReferenceLayerOf(const ModelConfig& config, const Weights& weights, int layer, const EngineOptions& options)
      : layer_(layer), engine_(config, weights, options, layer) {}

  HostTensor attention(const HostTensorView& x) override {
    engine_.hook = hook;
    const Matrix<Real> y = engine_.layer_attention(layer_, matrix(x));
    return host_copy(y.data(), {y.rows(), y.cols()});
  }
  HostTensor mlp(const HostTensorView& x) override {
    engine_.hook = hook;
    const Matrix<Real> y = engine_.layer_mlp(layer_, matrix(x));
    return host_copy(y.data(), {y.rows(), y.cols()});
  }
  LayerState export_state() const override { return engine_.export_state(0, layer_); }
  void import_state(const LayerState& state, int64_t position) override {
    engine_.import_state(0, layer_, state, position);
  }

 private:
  static Matrix<Real> matrix(const HostTensorView& x) {
    Matrix<Real> m(x.shape.at(0), x.shape.at(1));
    copy_values(x, m.data());
    return m;
  }

  int layer_;
  ReferenceEngine<Real> engine_;
};

// Makes the engine of one arithmetic type.
template <class Real>
std::unique_ptr<Engine> make_engine(const ModelConfig& config, const Weights& weights, const EngineOptions& options);
template <> std::unique_ptr<Engine> make_engine<float>(const ModelConfig&, const Weights&, const EngineOptions&);
template <> std::unique_ptr<Engine> make_engine<double>(const ModelConfig&, const Weights&, const EngineOptions&);
template <class Real>
std::unique_ptr<ReferenceLayer> make_layer(const ModelConfig& config, const Weights& weights, int layer,
                                           const EngineOptions& options);
template <>
std::unique_ptr<ReferenceLayer> make_layer<float>(const ModelConfig&, const Weights&, int, const EngineOptions&);
template <>
std::unique_ptr<ReferenceLayer> make_layer<double>(const ModelConfig&, const Weights&, int, const EngineOptions&);

}  // namespace ringbench
