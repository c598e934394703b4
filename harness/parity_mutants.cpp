// parity_mutants.cpp: see parity_mutants.h. The decoder below is the model once more, one loop after another and in
// float, so that any line of it can be broken; it shares no arithmetic with the reference.
#include "harness/parity_mutants.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>
#include <utility>

#include "harness/parity.h"
#include "reference/bf16.h"

namespace ringbench {
namespace {

enum class Fault {
  none,
  nan_logit,
  infinite_state,
  swapped_heads,
  transposed_state,
  neighbours_decay,
  slope_layer_offset,
  decay_sign,
  no_decay,
  dropped_token,
  yarn_factor,
  yarn_frequencies,
  softmax_layer_index,
  window_ignored,
  window_off_by_one,
  swapped_experts,
  bias_in_weights,
  bias_ignored,
  weights_not_normalised,
  scaling_factor,
  group_limit,
  group_norm_groups,
  gate_before_norm,
  qk_norm,
  rope_wrong_half,
  rope_interleaved,
  rope_position,
  rms_eps,
  cache_off_by_one,
  attention_scale,
  stale_state,
  neighbours_state,
  chunk_loses_state,
  bf16_state,
  bf16_cache,
  lm_head_row,
  residual,
  shared_expert,
  swiglu_order,
  lost_seek,
  nondeterministic,
};

struct Mutant {
  Fault fault;
  const char *name, *text;
};

constexpr std::array<Mutant, 41> kMutants = {{
    {Fault::none, "none", "nothing: the control"},
    {Fault::nan_logit, "nan_logit", "one logit is NaN"},
    {Fault::infinite_state, "infinite_state", "one element of a linear state is infinite"},
    {Fault::swapped_heads, "swapped_heads", "two heads' outputs change places in one layer"},
    {Fault::transposed_state, "transposed_state", "linear states are exported transposed"},
    {Fault::neighbours_decay, "neighbours_decay", "each head decays as its neighbour should"},
    {Fault::slope_layer_offset, "slope_layer_offset", "decays are those of slope_layer_offset 1"},
    {Fault::decay_sign, "decay_sign", "the decay has the wrong sign"},
    {Fault::no_decay, "no_decay", "the state does not decay"},
    {Fault::dropped_token, "dropped_token", "the last token of a chunk never reaches the state"},
    {Fault::yarn_factor, "yarn_factor", "YaRN's attention factor is left out"},
    {Fault::yarn_frequencies, "yarn_frequencies", "YaRN's frequencies are left out"},
    {Fault::softmax_layer_index, "softmax_layer_index", "softmax begins a layer too early"},
    {Fault::window_ignored, "window_ignored", "a sliding layer sees everything"},
    {Fault::window_off_by_one, "window_off_by_one", "a sliding layer sees one key too many"},
    {Fault::swapped_experts, "swapped_experts", "two experts' weights change places in one layer"},
    {Fault::bias_in_weights, "bias_in_weights", "the expert bias enters the weights too"},
    {Fault::bias_ignored, "bias_ignored", "experts are chosen without the bias"},
    {Fault::weights_not_normalised, "weights_not_normalised", "top-k weights are not normalised"},
    {Fault::scaling_factor, "scaling_factor", "the routed scaling factor is left out"},
    {Fault::group_limit, "group_limit", "experts are chosen from all groups"},
    {Fault::group_norm_groups, "group_norm_groups", "the group norm has one group"},
    {Fault::gate_before_norm, "gate_before_norm", "the gate is applied before the group norm"},
    {Fault::qk_norm, "qk_norm", "queries and keys are not normed"},
    {Fault::rope_wrong_half, "rope_wrong_half", "the last dims of each head are rotated, not the first"},
    {Fault::rope_interleaved, "rope_interleaved", "neighbouring dims are rotated as pairs"},
    {Fault::rope_position, "rope_position", "positions start again with each chunk"},
    {Fault::rms_eps, "rms_eps", "rms_norm_eps is 1e-3"},
    {Fault::cache_off_by_one, "cache_off_by_one", "a token does not see itself"},
    {Fault::attention_scale, "attention_scale", "scores are not divided by sqrt(head_dim)"},
    {Fault::stale_state, "stale_state", "reset leaves linear states as they are"},
    {Fault::neighbours_state, "neighbours_state", "in a batch, states are the next sequence's"},
    {Fault::chunk_loses_state, "chunk_loses_state", "linear states start again with each chunk"},
    {Fault::bf16_state, "bf16_state", "linear states are kept in bf16"},
    {Fault::bf16_cache, "bf16_cache", "a float engine keeps keys and values in bf16"},
    {Fault::lm_head_row, "lm_head_row", "logits are shifted by one id"},
    {Fault::residual, "residual", "one layer's residual is left out"},
    {Fault::shared_expert, "shared_expert", "the shared expert is left out"},
    {Fault::swiglu_order, "swiglu_order", "gate and up change places"},
    {Fault::lost_seek, "lost_seek", "seek does nothing"},
    {Fault::nondeterministic, "nondeterministic", "the last bit of a logit changes from run to run"},
}};

using Vector = std::vector<float>;

float dot(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return static_cast<float>(sum);
}

float logistic(float x) { return 1.f / (1.f + std::exp(-x)); }

// y = W x. W [rows, x.size()].
Vector multiply(const Vector& W, const Vector& x) {
  Vector y(W.size() / x.size());
  const int64_t n = static_cast<int64_t>(x.size());
  for (size_t row = 0; row < y.size(); ++row) y[row] = dot(W.data() + static_cast<int64_t>(row) * n, x.data(), n);
  return y;
}

class PlainDecoder final : public Engine {
 public:
  PlainDecoder(const ModelConfig& config, const Weights& weights, const EngineOptions& options, Fault fault)
      : config_(config), weights_(weights), options_(options), fault_(fault) {
    if (is(Fault::slope_layer_offset)) config_.slope_layer_offset = SlopeLayerOffset::one;
    if (is(Fault::rms_eps)) config_.rms_norm_eps = 1e-3;
    slots_.resize(static_cast<size_t>(options.slots));
    for (Slot& slot : slots_) slot.layers.resize(static_cast<size_t>(config.num_hidden_layers));
    for (int slot = 0; slot < options.slots; ++slot) clear_states(slot);
  }

  std::string_view name() const override { return "plain"; }
  const ModelConfig& config() const override { return config_; }
  Precision precision() const override { return {}; }
  Report report() override { return {}; }
  int64_t position(int slot) const override { return slots_.at(static_cast<size_t>(slot)).position; }
  HostTensorView mtp_logits() override { return {DType::f32, {0, config_.vocab_size}, nullptr}; }
  HostTensorView logits() override {
    return {
        DType::f32, {static_cast<int64_t>(logits_.size()) / config_.vocab_size, config_.vocab_size}, logits_.data()};
  }
  void argmax(std::span<int32_t> out) override {
    for (size_t row = 0; row < out.size(); ++row) {
      const auto begin = logits_.begin() + static_cast<int64_t>(row) * config_.vocab_size;
      out[row] = static_cast<int32_t>(std::max_element(begin, begin + config_.vocab_size) - begin);
    }
  }

  void forward(std::span<const Step> steps, Rows rows) override {
    logits_.clear();
    const size_t chunk = options_.chunk > 0 ? static_cast<size_t>(options_.chunk) : std::numeric_limits<size_t>::max();
    for (size_t s = 0; s < steps.size(); ++s) {
      // Whose states a sequence works on: its own.
      const int states = is(Fault::neighbours_state) ? steps[(s + 1) % steps.size()].slot : steps[s].slot;
      for (size_t done = 0; done < steps[s].tokens.size();) {
        const std::span<const int32_t> some =
            steps[s].tokens.subspan(done, std::min(chunk, steps[s].tokens.size() - done));
        done += some.size();
        pass(steps[s].slot, states, some, rows == Rows::all ? some.size() : 0);
        if (rows == Rows::last && done == steps[s].tokens.size()) lm_head(last_);
      }
    }
    if (is(Fault::nan_logit) && !logits_.empty()) logits_[logits_.size() / 2] = std::nanf("");
    if (is(Fault::nondeterministic) && !logits_.empty() && ++calls_ % 2 == 0)
      logits_[0] = std::nextafter(logits_[0], 100.f);
  }

  void reset(int slot) override {
    Slot& mine = slots_.at(static_cast<size_t>(slot));
    mine.position = mine.reached = 0;
    if (!is(Fault::stale_state)) clear_states(slot);
  }
  void seek(int slot, int64_t position) override {
    if (!is(Fault::lost_seek)) slots_.at(static_cast<size_t>(slot)).position = position;
  }

  LayerState export_state(int slot, int layer) const override {
    const Slot& mine = slots_.at(static_cast<size_t>(slot));
    const Memory& memory = mine.layers.at(static_cast<size_t>(layer));
    const int64_t d = config_.head_dim, heads = config_.num_attention_heads;
    LayerState state;
    if (is_linear(layer)) {
      state.kv = HostTensor(DType::f32, {heads, d, d});
      float* out = state.kv.as<float>().data();
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t i = 0; i < d; ++i)
          for (int64_t j = 0; j < d; ++j)
            *out++ = memory.kv[static_cast<size_t>((h * d + (is(Fault::transposed_state) ? j : i)) * d +
                                                   (is(Fault::transposed_state) ? i : j))];
      return state;
    }
    const int64_t width = kv_heads(layer) * d;
    for (const auto& [from, to] : {std::pair(&memory.k, &state.k), std::pair(&memory.v, &state.v)}) {
      *to = HostTensor(DType::f32, {mine.position, kv_heads(layer), d});
      std::copy_n(from->begin(), mine.position * width, to->as<float>().begin());
    }
    return state;
  }

  void import_state(int slot, int layer, const LayerState& state, int64_t position) override {
    Slot& mine = slots_.at(static_cast<size_t>(slot));
    Memory& memory = mine.layers.at(static_cast<size_t>(layer));
    if (is_linear(layer)) {
      std::copy_n(state.kv.as<float>().begin(), state.kv.size(), memory.kv.begin());
    } else {
      memory.k.assign(state.k.as<float>().begin(), state.k.as<float>().end());
      memory.v.assign(state.v.as<float>().begin(), state.v.as<float>().end());
    }
    mine.position = mine.reached = position;
  }

 private:
  struct Memory {
    Vector k, v;  // [T, kv_heads, head_dim]
    Vector kv;    // [heads, head_dim, head_dim]
  };
  struct Slot {
    std::vector<Memory> layers;
    int64_t position = 0, reached = 0;
  };

  bool is(Fault fault) const { return fault_ == fault; }
  // The layers are LWLS; the fault takes the second L for softmax attention.
  bool is_linear(int layer) const {
    if (is(Fault::softmax_layer_index) && layer == 2) return false;
    return config_.layer_types[static_cast<size_t>(layer)] == LayerType::linear_attention;
  }
  int64_t kv_heads(int layer) const { return config_.kv_heads(config_.layer_types[static_cast<size_t>(layer)]); }

  void clear_states(int slot) {
    for (int i = 0; i < config_.num_hidden_layers; ++i)
      slots_.at(static_cast<size_t>(slot))
          .layers[static_cast<size_t>(i)]
          .kv.assign(static_cast<size_t>(config_.num_attention_heads * config_.head_dim * config_.head_dim), 0.f);
  }

  // A tensor by name, read once.
  const Vector& weight(const std::string& name, int64_t size) {
    Vector& values = read_[name];
    if (values.empty()) {
      values.resize(static_cast<size_t>(size));
      weights_.read<float>(name, values);
    }
    return values;
  }
  static std::string of_layer(int i, const std::string& name) {
    return "model.layers." + std::to_string(i) + "." + name + ".weight";
  }

  void emit(int layer, const std::string& name, const std::vector<Vector>& rows) const {
    if (!hook) return;
    Vector flat;
    for (const Vector& row : rows) flat.insert(flat.end(), row.begin(), row.end());
    hook(layer, name,
         {DType::f32, {static_cast<int64_t>(rows.size()), static_cast<int64_t>(rows[0].size())}, flat.data()});
  }

  // Groups of x to root mean square 1, times the weight (of the row's width, or of one group's).
  Vector norm(Vector x, const Vector& weight_of, int64_t groups = 1) const {
    const int64_t width = static_cast<int64_t>(x.size()) / groups;
    for (int64_t g = 0; g < groups; ++g) {
      float* part = x.data() + g * width;
      const float scale = 1.f / std::sqrt(dot(part, part, width) / static_cast<float>(width) +
                                          static_cast<float>(config_.rms_norm_eps));
      for (int64_t i = 0; i < width; ++i)
        part[i] *= scale * weight_of[static_cast<size_t>(g * width + i) % weight_of.size()];
    }
    return x;
  }

  // One chunk of one sequence through all layers; logits of its last `wanted` tokens.
  void pass(int slot, int states, std::span<const int32_t> tokens, size_t wanted) {
    const int64_t H = config_.hidden_size;
    const Vector& embeddings = weight("model.word_embeddings.weight", config_.vocab_size * H);
    std::vector<Vector> h;
    for (const int32_t token : tokens)
      h.emplace_back(embeddings.begin() + token * H, embeddings.begin() + (token + 1) * H);
    emit(-1, "hidden.0", h);
    Slot& mine = slots_.at(static_cast<size_t>(slot));
    for (int i = 0; i < config_.num_hidden_layers; ++i) {
      Memory& memory = slots_.at(static_cast<size_t>(is_linear(i) ? states : slot)).layers[static_cast<size_t>(i)];
      std::vector<Vector> x;
      for (const Vector& row : h) x.push_back(norm(row, weight(of_layer(i, "input_layernorm"), H)));
      emit(i, "attn_in", x);
      const std::vector<Vector> a = attention(i, x, memory, mine.position);
      emit(i, "attn_out", a);
      for (size_t t = 0; t < h.size(); ++t)
        for (size_t c = 0; c < h[t].size(); ++c) h[t][c] = (is(Fault::residual) && i == 2 ? 0.f : h[t][c]) + a[t][c];
      for (size_t t = 0; t < h.size(); ++t) x[t] = norm(h[t], weight(of_layer(i, "post_attention_layernorm"), H));
      emit(i, "mlp_in", x);
      const std::vector<Vector> m = mlp_block(i, x);
      emit(i, "mlp_out", m);
      for (size_t t = 0; t < h.size(); ++t)
        for (size_t c = 0; c < h[t].size(); ++c) h[t][c] += m[t][c];
      emit(-1, "hidden." + std::to_string(i + 1), h);
    }
    mine.position += static_cast<int64_t>(tokens.size());
    mine.reached = std::max(mine.reached, mine.position);
    for (Vector& row : h) row = norm(row, weight("model.norm.weight", H));
    for (size_t t = h.size() - wanted; t < h.size(); ++t) lm_head(h[t]);
    last_ = h.back();
  }

  void lm_head(const Vector& h) {
    Vector row = multiply(weight("lm_head.weight", config_.vocab_size * config_.hidden_size), h);
    if (is(Fault::lm_head_row)) std::rotate(row.begin(), row.begin() + 1, row.end());
    logits_.insert(logits_.end(), row.begin(), row.end());
  }

  // --- Attention ---

  std::vector<Vector> attention(int i, const std::vector<Vector>& x, Memory& memory, int64_t position) {
    const int64_t d = config_.head_dim, heads = config_.num_attention_heads, kv = kv_heads(i), H = config_.hidden_size;
    const bool has_gate = config_.layer_types[static_cast<size_t>(i)] == LayerType::linear_attention;
    const Vector& qkv_weight = weight(of_layer(i, "attention.query_key_value"), (heads + 2 * kv) * d * H);
    std::vector<Vector> q, k, v;
    for (size_t t = 0; t < x.size(); ++t) {
      const Vector qkv = multiply(qkv_weight, x[t]);
      const auto part = [&](int64_t from, int64_t n) {
        return Vector(qkv.begin() + from * d, qkv.begin() + (from + n) * d);
      };
      q.push_back(part(0, heads)), k.push_back(part(heads, kv)), v.push_back(part(heads + kv, kv));
      if (!is(Fault::qk_norm)) {
        q.back() = norm(q.back(), weight(of_layer(i, "attention.query_layernorm"), d), heads);
        k.back() = norm(k.back(), weight(of_layer(i, "attention.key_layernorm"), d), kv);
      }
      const int64_t at = static_cast<int64_t>(t) + (is(Fault::rope_position) ? 0 : position);
      rotate(q.back(), at), rotate(k.back(), at);
    }
    emit(i, "q", q), emit(i, "k", k), emit(i, "v", v);
    std::vector<Vector> o =
        is_linear(i) ? linear_attention(i, q, k, v, memory, position) : softmax_attention(i, q, k, v, memory, position);
    if (is(Fault::swapped_heads) && i == 2)
      for (Vector& row : o) std::swap_ranges(row.begin(), row.begin() + d, row.begin() + d);
    emit(i, "attn_ctx", o);
    if (has_gate) o = gated(i, o, x);
    const Vector& dense = weight(of_layer(i, "attention.dense"), H * heads * d);
    for (Vector& row : o) row = multiply(dense, row);
    return o;
  }

  // dense_in = group_norm(o) * sigmoid(W_g x)
  std::vector<Vector> gated(int i, std::vector<Vector> o, const std::vector<Vector>& x) {
    const int64_t width = static_cast<int64_t>(o[0].size());
    const Vector &norm_weight = weight(of_layer(i, "attention.g_norm"), width),
                 &gate_weight = weight(of_layer(i, "attention.g_proj"), width * config_.hidden_size);
    const int64_t groups = is(Fault::group_norm_groups) ? 1 : config_.group_norm_size;
    std::vector<Vector> gates;
    for (size_t t = 0; t < o.size(); ++t) {
      Vector& gate = gates.emplace_back(multiply(gate_weight, x[t]));
      for (float& g : gate) g = logistic(g);
      if (!is(Fault::gate_before_norm)) o[t] = norm(o[t], norm_weight, groups);
      for (size_t c = 0; c < gate.size(); ++c) o[t][c] *= gate[c];
      if (is(Fault::gate_before_norm)) o[t] = norm(o[t], norm_weight, groups);
    }
    emit(i, "gate", gates), emit(i, "dense_in", o);
    return o;
  }

  // YaRN, arXiv:2309.00071; angles in double.
  double frequency(int64_t j) const {
    const double D = config_.rotary_dim, plain = std::pow(config_.rope_theta, -2.0 * static_cast<double>(j) / D);
    if (!config_.rope_scaling || is(Fault::yarn_frequencies)) return plain;
    const RopeScaling& yarn = *config_.rope_scaling;
    const auto dim_of = [&](double rotations) {
      return D * std::log(static_cast<double>(yarn.original_max_position_embeddings) / (rotations * 2 * M_PI)) /
             (2 * std::log(config_.rope_theta));
    };
    double low = std::max(0.0, std::floor(dim_of(yarn.beta_fast))),
           high = std::min(D - 1, std::ceil(dim_of(yarn.beta_slow)));
    if (low == high) high += 0.001;
    const double ramp = std::clamp((static_cast<double>(j) - low) / (high - low), 0.0, 1.0);
    return plain * (1 - ramp + ramp / yarn.factor);
  }

  void rotate(Vector& x, int64_t position) const {
    const int64_t d = config_.head_dim, half = config_.rotary_dim / 2;
    const double factor = config_.rope_scaling && !is(Fault::yarn_factor) ? config_.rope_scaling->attention_factor : 1;
    for (int64_t j = 0; j < half; ++j) {
      const double angle = static_cast<double>(position) * frequency(j);
      const float c = static_cast<float>(factor * std::cos(angle)), s = static_cast<float>(factor * std::sin(angle));
      for (size_t head = 0; head < x.size(); head += static_cast<size_t>(d)) {
        float* part = x.data() + head + (is(Fault::rope_wrong_half) ? d - 2 * half : 0);
        float &a = is(Fault::rope_interleaved) ? part[2 * j] : part[j],
              &b = is(Fault::rope_interleaved) ? part[2 * j + 1] : part[j + half];
        const float before = a;
        a = a * c - b * s;
        b = b * c + before * s;
      }
    }
  }

  // S <- lambda S + k^T v;  o = q S / sqrt(d)
  std::vector<Vector> linear_attention(int i, const std::vector<Vector>& q, const std::vector<Vector>& k,
                                       const std::vector<Vector>& v, Memory& memory, int64_t position) const {
    const int64_t d = config_.head_dim, heads = config_.num_attention_heads, group = heads / kv_heads(i);
    const std::vector<double> log_decay = config_.log_decay(i);
    if (is(Fault::chunk_loses_state) && position > 0 && q.size() > 1)
      std::fill(memory.kv.begin(), memory.kv.end(), 0.f);
    if (is(Fault::infinite_state) && i == 0) memory.kv[5] = std::numeric_limits<float>::infinity();
    std::vector<Vector> o(q.size(), Vector(static_cast<size_t>(heads * d)));
    for (size_t t = 0; t < q.size(); ++t) {
      const bool dropped = is(Fault::dropped_token) && q.size() > 1 && t + 1 == q.size();
      for (int64_t h = 0; h < heads; ++h) {
        double decay = std::exp(log_decay[static_cast<size_t>(is(Fault::neighbours_decay) ? (h + 1) % heads : h)]);
        if (is(Fault::decay_sign)) decay = 1 / decay;
        if (is(Fault::no_decay)) decay = 1;
        float* S = memory.kv.data() + h * d * d;
        const float *kh = k[t].data() + h / group * d, *vh = v[t].data() + h / group * d, *qh = q[t].data() + h * d;
        for (int64_t a = 0; a < d; ++a)
          for (int64_t b = 0; b < d; ++b) {
            float& s = S[a * d + b];
            s = static_cast<float>(decay * static_cast<double>(s) +
                                   (dropped ? 0.0 : static_cast<double>(kh[a]) * static_cast<double>(vh[b])));
            if (is(Fault::bf16_state)) s = static_cast<float>(bf16(s));
          }
        for (int64_t b = 0; b < d; ++b) {
          double sum = 0;
          for (int64_t a = 0; a < d; ++a) sum += static_cast<double>(qh[a]) * static_cast<double>(S[a * d + b]);
          o[t][static_cast<size_t>(h * d + b)] = static_cast<float>(sum / std::sqrt(static_cast<double>(d)));
        }
      }
    }
    return o;
  }

  std::vector<Vector> softmax_attention(int i, const std::vector<Vector>& q, const std::vector<Vector>& k,
                                        const std::vector<Vector>& v, Memory& memory, int64_t position) const {
    const int64_t d = config_.head_dim, heads = config_.num_attention_heads, kv = kv_heads(i), width = kv * d;
    const bool sliding = config_.layer_types[static_cast<size_t>(i)] == LayerType::sliding_attention;
    const int64_t window = !sliding || is(Fault::window_ignored)
                               ? std::numeric_limits<int64_t>::max()
                               : config_.sliding_window + (is(Fault::window_off_by_one) ? 1 : 0);
    memory.k.resize(static_cast<size_t>(position * width)), memory.v.resize(static_cast<size_t>(position * width));
    for (size_t t = 0; t < q.size(); ++t) {
      memory.k.insert(memory.k.end(), k[t].begin(), k[t].end());
      memory.v.insert(memory.v.end(), v[t].begin(), v[t].end());
    }
    if (is(Fault::bf16_cache))
      for (Vector* cache : {&memory.k, &memory.v})
        for (float& x : *cache) x = static_cast<float>(bf16(x));
    std::vector<Vector> o(q.size(), Vector(static_cast<size_t>(heads * d)));
    for (size_t t = 0; t < q.size(); ++t) {
      const int64_t own = position + static_cast<int64_t>(t);
      const int64_t end = own + (is(Fault::cache_off_by_one) && own > 0 ? 0 : 1),
                    begin = std::max<int64_t>(0, own + 1 - window);
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t at = h / (heads / kv) * d;
        std::vector<double> p;
        for (int64_t s = begin; s < end; ++s)
          p.push_back(static_cast<double>(dot(q[t].data() + h * d, memory.k.data() + s * width + at, d)) /
                      (is(Fault::attention_scale) ? 1 : std::sqrt(static_cast<double>(d))));
        const double top = *std::max_element(p.begin(), p.end());
        double sum = 0;
        for (double& w : p) sum += w = std::exp(w - top);
        for (int64_t c = 0; c < d; ++c) {
          double value = 0;
          for (int64_t s = begin; s < end; ++s)
            value += p[static_cast<size_t>(s - begin)] *
                     static_cast<double>(memory.v[static_cast<size_t>(s * width + at + c)]);
          o[t][static_cast<size_t>(h * d + c)] = static_cast<float>(value / sum);
        }
      }
    }
    return o;
  }

  // --- Experts ---

  Vector swiglu(const std::string& name, int64_t width, const Vector& x) {
    const int64_t H = config_.hidden_size;
    Vector gate = multiply(weight(name + "gate_proj.weight", width * H), x);
    Vector up = multiply(weight(name + "up_proj.weight", width * H), x);
    if (is(Fault::swiglu_order)) std::swap(gate, up);
    for (size_t c = 0; c < gate.size(); ++c) gate[c] *= logistic(gate[c]) * up[c];
    return multiply(weight(name + "down_proj.weight", H * width), gate);
  }

  std::vector<Vector> mlp_block(int i, const std::vector<Vector>& x) {
    const std::string name = "model.layers." + std::to_string(i) + ".mlp.";
    std::vector<Vector> out;
    if (!config_.is_moe(i)) {
      for (const Vector& row : x) out.push_back(swiglu(name, config_.intermediate_size, row));
      return out;
    }
    const int64_t E = config_.num_experts, k = config_.num_experts_per_tok;
    const Vector &router = weight(name + "gate.weight", E * config_.hidden_size),
                 &bias = weight(name + "gate.expert_bias", E);
    std::vector<Vector> logits, weights;
    std::vector<int32_t> ids;
    for (const Vector& row : x) {
      logits.push_back(multiply(router, row));
      const auto [chosen, chosen_weights] = route(logits.back(), bias);
      weights.push_back(chosen_weights);
      Vector& y = out.emplace_back(row.size(), 0.f);
      for (size_t j = 0; j < chosen.size(); ++j) {
        int64_t expert = chosen[j];
        if (is(Fault::swapped_experts) && i == 1 && expert < 2) expert = 1 - expert;
        const Vector part =
            swiglu(name + "experts." + std::to_string(expert) + ".", config_.moe_intermediate_size, row);
        for (size_t c = 0; c < y.size(); ++c) y[c] += chosen_weights[j] * part[c];
        ids.push_back(chosen[j]);
      }
      if (is(Fault::shared_expert)) continue;
      const Vector shared = swiglu(name + "shared_experts.", config_.shared_intermediate_size, row);
      for (size_t c = 0; c < y.size(); ++c) y[c] += shared[c];
    }
    emit(i, "router_logits", logits);
    if (hook) hook(i, "topk_ids", {DType::i32, {static_cast<int64_t>(x.size()), k}, ids.data()});
    emit(i, "topk_weights", weights);
    return out;
  }

  // Experts of one token, by falling weight, and their weights: sigmoid scores, chosen with the bias within the best
  // groups, normalised and scaled.
  std::pair<std::vector<int32_t>, Vector> route(const Vector& logits, const Vector& bias) const {
    const size_t E = logits.size(), k = static_cast<size_t>(config_.num_experts_per_tok),
                 groups = static_cast<size_t>(config_.n_group), size = E / groups;
    Vector score(E), choice(E);
    for (size_t e = 0; e < E; ++e) {
      score[e] = logistic(logits[e]);
      choice[e] = score[e] + (is(Fault::bias_ignored) ? 0.f : bias[e]);
    }
    const auto best_first = [](const Vector& values) {
      std::vector<int32_t> order(values.size());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        return values[static_cast<size_t>(a)] > values[static_cast<size_t>(b)];
      });
      return order;
    };
    Vector group_score(groups);
    for (size_t g = 0; g < groups; ++g) {
      Vector members(choice.begin() + static_cast<int64_t>(g * size),
                     choice.begin() + static_cast<int64_t>((g + 1) * size));
      std::sort(members.rbegin(), members.rend());
      group_score[g] = members[0] + members[1];
    }
    const std::vector<int32_t> by_group = best_first(group_score);
    if (!is(Fault::group_limit))
      for (size_t rank = static_cast<size_t>(config_.topk_group); rank < groups; ++rank)
        for (size_t e = 0; e < size; ++e)
          choice[static_cast<size_t>(by_group[rank]) * size + e] = -std::numeric_limits<float>::infinity();
    std::vector<int32_t> chosen = best_first(choice);
    chosen.resize(k);
    std::stable_sort(chosen.begin(), chosen.end(), [&](int32_t a, int32_t b) {
      return score[static_cast<size_t>(a)] > score[static_cast<size_t>(b)];
    });
    Vector weights;
    for (const int32_t e : chosen)
      weights.push_back(score[static_cast<size_t>(e)] +
                        (is(Fault::bias_in_weights) ? bias[static_cast<size_t>(e)] : 0.f));
    const float sum = std::accumulate(weights.begin(), weights.end(), 1e-20f);
    for (float& w : weights) {
      if (!is(Fault::weights_not_normalised)) w /= sum;
      if (!is(Fault::scaling_factor)) w *= static_cast<float>(config_.routed_scaling_factor);
    }
    return {chosen, weights};
  }

  ModelConfig config_;
  const Weights& weights_;
  EngineOptions options_;
  Fault fault_;
  std::map<std::string, Vector> read_;
  std::vector<Slot> slots_;
  Vector logits_, last_;
  int calls_ = 0;
};

// `tiny` with every kind of layer, and a YaRN whose window the prompt leaves.
ModelConfig mutants_model() {
  ModelConfig config = ModelConfig::load(configs_folder() / "models" / "tiny.json");
  config.sliding_window = 40;
  config = config.with_hybrid_ratio(HybridRatio::parse("LWLS"));
  config.rope_scaling = RopeScaling::yarn(4, 32);
  return config;
}

MutantResult try_mutant(const Mutant& mutant, const ModelConfig& config, const Weights& weights) {
  Subject subject;
  subject.engine = "plain";
  subject.config = config;
  subject.weights = &weights;
  subject.options.dtype = DType::f32;
  subject.make = [&](const ModelConfig& c, const EngineOptions& options) {
    return std::make_unique<PlainDecoder>(c, weights, options, mutant.fault);
  };
  ParityScope scope;
  scope.levels = {"layer", "state", "model", "self"};
  scope.tokens = 83;  // two chunks of 32 and a bit
  scope.chunk = 32;
  scope.steps = 3;
  scope.fail_fast = true;
  const Findings findings = check_parity(subject, scope);
  MutantResult result{mutant.name, mutant.text, false, "", "", ""};
  if (const Check* failed = findings.first_failure(); failed != nullptr) {
    result.caught = true;
    result.level = failed->level;
    result.check = failed->name;
    result.text = failed->text;
  }
  return result;
}

}  // namespace

std::vector<std::string> mutant_names() {
  std::vector<std::string> names;
  for (const Mutant& mutant : kMutants) names.emplace_back(mutant.name);
  return names;
}

std::vector<MutantResult> run_mutants(const std::function<void(const std::string&)>& progress,
                                      const std::vector<std::string>& names) {
  const ModelConfig config = mutants_model();
  const Weights weights = Weights::random(config, 0);
  std::vector<MutantResult> results;
  for (const Mutant& mutant : kMutants) {
    if (!names.empty() && std::find(names.begin(), names.end(), mutant.name) == names.end()) continue;
    progress(mutant.name);
    results.push_back(try_mutant(mutant, config, weights));
  }
  return results;
}

std::string mutants_text(const std::vector<MutantResult>& results, Format format) {
  std::ostringstream out;
  char line[400];
  const bool markdown = format == Format::md;
  if (format == Format::csv) out << "mutant,fault,caught,level,check\n";
  if (markdown) out << "| mutant | fault | caught by | |\n|---|---|---|---|\n";
  for (const MutantResult& r : results) {
    const std::string verdict = r.caught          ? r.level + ": " + r.check
                                : r.as_expected() ? "passed, as it should"
                                                  : "SURVIVED";
    const std::string text = r.as_expected() ? r.text : r.caught ? "FAILED though nothing is wrong: " + r.text : r.text;
    if (format == Format::csv)
      std::snprintf(line, sizeof line, "%s,%s,%s,%s,%s\n", r.name.c_str(), r.fault.c_str(), r.caught ? "yes" : "no",
                    r.level.c_str(), r.check.c_str());
    else
      std::snprintf(line, sizeof line, markdown ? "| %s | %s | %s | %s |\n" : "%-24s %-58s %-34s %s\n", r.name.c_str(),
                    r.fault.c_str(), verdict.c_str(), text.c_str());
    out << line;
  }
  return out.str();
}

}  // namespace ringbench
