#include "cuda/device_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "cuda/kernels.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

// A piece of a packed matrix: elements (i, j, l) of a dense [a, b, c] block that begins at `to` are elements
// first + i stride_a + j stride_b + l stride_c of the named tensor.
struct Part {
  std::string name;
  int64_t to = 0;
  int64_t a = 1, b = 1, c = 0;
  int64_t first = 0, stride_a = 0, stride_b = 0, stride_c = 1;
};

// A whole tensor of `size` elements, as it is stored.
Part whole(const std::string& name, int64_t to, int64_t size) { return {.name = name, .to = to, .c = size}; }

template <class Real> class Packer {
 public:
  Packer(const ModelConfig& config, const Weights* weights, const Stream& stream)
      : config_(config), weights_(weights), stream_(stream) {}

  DeviceWeights<Real> pack() {
    const int64_t V = config_.vocab_size, H = config_.hidden_size;
    const bool bailing = config_.tensor_names == TensorNames::bailing;
    const std::string embeddings = bailing ? "model.word_embeddings.weight" : "model.embed_tokens.weight";
    DeviceWeights<Real> w;
    w.embeddings = matrix(V * H, {whole(embeddings, 0, V * H)});
    for (int i = 0; i < config_.num_hidden_layers; ++i) w.layers.push_back(layer(i));
    w.final_norm = vector("model.norm.weight", H);
    if (config_.norm_head)
      w.lm_head = normalized_head(config_.tie_word_embeddings ? embeddings : "lm_head.weight");
    else if (!config_.tie_word_embeddings)
      w.lm_head = matrix(V * H, {whole("lm_head.weight", 0, V * H)});
    w.bytes = bytes_;
    if (weights_) synchronize(stream_);
    return w;
  }

 private:
  DeviceLayer<Real> layer(int i) {
    const std::string name = "model.layers." + std::to_string(i) + ".";
    const int64_t H = config_.hidden_size;
    DeviceLayer<Real> w;
    w.input_norm = vector(name + "input_layernorm.weight", H);
    w.post_attention_norm = vector(name + "post_attention_layernorm.weight", H);
    attention(w, name, i);
    if (config_.is_moe(i))
      moe(w, name + "mlp.");
    else
      w.dense = mlp(name + "mlp.", config_.intermediate_size);
    return w;
  }

  void attention(DeviceLayer<Real>& w, const std::string& layer_name, int i) {
    const LayerType type = config_.layer_types[static_cast<size_t>(i)];
    const bool bailing = config_.tensor_names == TensorNames::bailing, linear = type == LayerType::linear_attention;
    const std::string name = layer_name + (bailing ? "attention." : "self_attn.");
    const int64_t H = config_.hidden_size, d = config_.head_dim, width = config_.num_attention_heads * d,
                  kv_width = config_.kv_heads(type) * d;
    const bool bias = config_.use_qkv_bias && config_.has_bias(type), gate_rows = linear && !config_.use_low_rank;

    std::vector<Part> rows, biases;
    if (bailing) {
      rows = {whole(name + "query_key_value.weight", 0, (width + 2 * kv_width) * H)};
      biases = {whole(name + "query_key_value.bias", 0, width + 2 * kv_width)};
    } else {
      int64_t row = 0;
      for (const auto& [tensor, size] :
           {std::pair("q_proj", width), std::pair("k_proj", kv_width), std::pair("v_proj", kv_width)}) {
        rows.push_back(whole(name + tensor + ".weight", row * H, size * H));
        biases.push_back(whole(name + tensor + ".bias", row, size));
        row += size;
      }
    }
    w.qkv_rows = width + 2 * kv_width;
    if (gate_rows) {
      rows.push_back(whole(name + "g_proj.weight", w.qkv_rows * H, width * H));
      w.qkv_rows += width;
    }
    w.qkv = matrix(w.qkv_rows * H, rows);
    if (bias) w.qkv_bias = floats(w.qkv_rows, biases);  // zero for the gate's rows

    if (config_.use_qk_norm) {
      w.q_norm = vector(name + (bailing ? "query_layernorm.weight" : "q_norm.weight"), d);
      w.k_norm = vector(name + (bailing ? "key_layernorm.weight" : "k_norm.weight"), d);
    }
    if (config_.attention_sinks && !linear) w.sinks = vector(name + "sinks", config_.num_attention_heads);
    const std::string o_proj = name + (bailing ? "dense." : "o_proj.");
    w.o_proj = matrix(H * width, {whole(o_proj + "weight", 0, H * width)});
    if (config_.use_bias && config_.has_bias(type)) w.o_bias = vector(o_proj + "bias", H);
    if (!linear) return;
    w.gate_norm = vector(name + "g_norm.weight", width);
    if (config_.use_low_rank) {
      w.gate_low = matrix(d * H, {whole(name + "g_proj.0.weight", 0, d * H)});
      w.gate_high = matrix(width * d, {whole(name + "g_proj.1.weight", 0, width * d)});
    }
    const std::vector<double> slopes = config_.log_decay(i);
    w.log_decay = upload(std::vector<float>(slopes.begin(), slopes.end()));
  }

  DeviceMlp<Real> mlp(const std::string& name, int64_t width) {
    const int64_t size = width * config_.hidden_size;
    DeviceMlp<Real> w;
    w.width = width;
    w.gate_up =
        matrix(2 * size, {whole(name + "gate_proj.weight", 0, size), whole(name + "up_proj.weight", size, size)});
    w.down = matrix(size, {whole(name + "down_proj.weight", 0, size)});
    return w;
  }

  void moe(DeviceLayer<Real>& w, const std::string& name) {
    const int64_t H = config_.hidden_size, E = config_.num_experts, W = config_.moe_intermediate_size, size = W * H;
    w.experts.width = W;
    std::vector<Part> gate_up, down;
    if (config_.tensor_names == TensorNames::gpt_oss) {
      // One tensor for all experts: gate_up_proj [E, H, 2 W], gate and up alternating; down_proj [E, W, H].
      w.router = matrix(E * H, {whole(name + "router.weight", 0, E * H)});
      for (int64_t e = 0; e < E; ++e)
        for (int64_t up = 0; up < 2; ++up)
          gate_up.push_back({.name = name + "experts.gate_up_proj",
                             .to = (2 * e + up) * size,
                             .b = W,
                             .c = H,
                             .first = 2 * e * size + up,
                             .stride_b = 2,
                             .stride_c = 2 * W});
      down = {
          {.name = name + "experts.down_proj", .a = E, .b = H, .c = W, .stride_a = size, .stride_b = 1, .stride_c = H}};
      if (config_.moe_bias) {
        w.router_bias = vector(name + "router.bias", E);
        std::vector<Part> biases;
        for (int64_t e = 0; e < E; ++e)
          for (int64_t up = 0; up < 2; ++up)
            biases.push_back({.name = name + "experts.gate_up_proj_bias",
                              .to = (2 * e + up) * W,
                              .c = W,
                              .first = 2 * e * W + up,
                              .stride_c = 2});
        w.experts.gate_up_bias = floats(2 * E * W, biases);
        w.experts.down_bias = vector(name + "experts.down_proj_bias", E * H);
      }
    } else {
      w.router = matrix(E * H, {whole(name + "gate.weight", 0, E * H)});
      if (config_.moe_router_enable_expert_bias) w.expert_bias = vector(name + "gate.expert_bias", E);
      for (int64_t e = 0; e < E; ++e) {
        const std::string expert = name + "experts." + std::to_string(e) + ".";
        gate_up.push_back(whole(expert + "gate_proj.weight", 2 * e * size, size));
        gate_up.push_back(whole(expert + "up_proj.weight", (2 * e + 1) * size, size));
        down.push_back(whole(expert + "down_proj.weight", e * size, size));
      }
      if (config_.shared_intermediate_size > 0)
        w.shared = mlp(name + "shared_experts.", config_.shared_intermediate_size);
    }
    w.experts.gate_up = matrix(2 * E * size, gate_up);
    w.experts.down = matrix(E * size, down);
  }

  // Every column of lm_head [vocab_size, H] divided by its length + 1e-7. Sums in f64, on the host: once per run.
  DeviceBuffer<Real> normalized_head(const std::string& name) {
    const int64_t V = config_.vocab_size, H = config_.hidden_size;
    if (!weights_) return matrix(V * H, {});
    std::vector<float> head(static_cast<size_t>(V * H));
    weights_->read<float>(name, head);
    std::vector<double> squares(static_cast<size_t>(H));
    for (size_t i = 0; i < head.size(); ++i)
      squares[i % static_cast<size_t>(H)] += static_cast<double>(head[i]) * head[i];
    for (size_t i = 0; i < head.size(); ++i)
      head[i] = static_cast<float>(head[i] / (std::sqrt(squares[i % static_cast<size_t>(H)]) + 1e-7));
    DeviceBuffer<Real> buffer = allocate<Real>(V * H);
    send(buffer.data(), head.data(), V * H);
    return buffer;
  }

  // --- Memory ---

  template <class T> DeviceBuffer<T> allocate(int64_t size) {
    bytes_ += size * static_cast<int64_t>(sizeof(T));
    return weights_ ? DeviceBuffer<T>(size) : DeviceBuffer<T>();
  }

  DeviceBuffer<Real> matrix(int64_t size, const std::vector<Part>& parts) {
    DeviceBuffer<Real> buffer = allocate<Real>(size);
    if (!weights_) return buffer;
    if (weights_->all_zero()) set_zero(buffer.data(), size, stream_);
    for (const Part& part : parts)
      if (!weights_->all_zero()) fill(buffer.data() + part.to, part);
    return buffer;
  }

  // Small vectors stay float. What no part covers is zero.
  DeviceBuffer<float> floats(int64_t size, const std::vector<Part>& parts) {
    std::vector<float> values(static_cast<size_t>(size));
    if (weights_)
      for (const Part& part : parts) gather(part, stored(part.name), values.data() + part.to);
    return upload(values);
  }
  DeviceBuffer<float> vector(const std::string& name, int64_t size) { return floats(size, {whole(name, 0, size)}); }

  DeviceBuffer<float> upload(const std::vector<float>& values) {
    DeviceBuffer<float> buffer = allocate<float>(static_cast<int64_t>(values.size()));
    if (!weights_) return buffer;
    copy_to_device(buffer.data(), values.data(), buffer.size(), stream_);
    synchronize(stream_);  // `values` goes away
    return buffer;
  }

  void fill(Real* to, const Part& part) {
    if (const auto recipe = weights_->recipe(part.name)) {
      const RandomFillArgs<Real> args{.out = to,
                                      .normal = recipe->normal,
                                      .a = part.a,
                                      .b = part.b,
                                      .c = part.c,
                                      .first = part.first,
                                      .stride_a = part.stride_a,
                                      .stride_b = part.stride_b,
                                      .stride_c = part.stride_c,
                                      .round_to_bf16 = recipe->rounded_to_bf16};
      choose(args, device_).run(args, stream_);
      return;
    }
    const std::vector<float>& values = stored(part.name);
    if (part.a * part.b == 1 && part.stride_c == 1) return send(to, values.data() + part.first, part.c);
    std::vector<float> gathered(static_cast<size_t>(part.a * part.b * part.c));
    gather(part, values, gathered.data());
    send(to, gathered.data(), static_cast<int64_t>(gathered.size()));
  }

  static void gather(const Part& part, const std::vector<float>& values, float* to) {
    for (int64_t i = 0; i < part.a; ++i)
      for (int64_t j = 0; j < part.b; ++j)
        for (int64_t l = 0; l < part.c; ++l)
          *to++ = values[static_cast<size_t>(part.first + i * part.stride_a + j * part.stride_b + l * part.stride_c)];
  }

  // The whole tensor on the host; the last one is kept, for tensors that are taken apart.
  const std::vector<float>& stored(const std::string& name) {
    if (name == stored_name_) return stored_;
    const std::vector<TensorSpec>& specs = all_specs();
    const auto spec = std::lower_bound(specs.begin(), specs.end(), name,
                                       [](const TensorSpec& s, const std::string& n) { return s.name < n; });
    if (spec == specs.end() || spec->name != name) throw WeightsError("the model has no tensor \"" + name + "\"");
    stored_name_.clear();
    stored_.resize(static_cast<size_t>(spec->size()));
    weights_->read<float>(name, stored_);
    stored_name_ = name;
    return stored_;
  }
  const std::vector<TensorSpec>& all_specs() {
    if (specs_.empty()) {
      specs_ = expected_tensors(config_);
      std::sort(specs_.begin(), specs_.end(), [](const TensorSpec& a, const TensorSpec& b) { return a.name < b.name; });
    }
    return specs_;
  }

  // Rounds to Real into one of two pinned blocks while the other one is on its way.
  void send(Real* to, const float* from, int64_t count) {
    constexpr int64_t kBlock = 4 << 20;
    for (int64_t begin = 0; begin < count; begin += kBlock) {
      const int64_t size = std::min(kBlock, count - begin);
      Staging& staging = staging_[turn_ ^= 1];
      if (staging.used) staging.sent.wait();
      if (staging.block.size() < size) staging.block = HostBuffer<Real>(size == count ? size : kBlock);
      std::transform(from + begin, from + begin + size, staging.block.data(), [](float x) { return Real(x); });
      copy_to_device(to + begin, staging.block.data(), size, stream_);
      staging.sent.record(stream_);
      staging.used = true;
    }
  }

  struct Staging {
    HostBuffer<Real> block;
    Event sent;
    bool used = false;
  };

  const ModelConfig& config_;
  const Weights* weights_;
  const Stream& stream_;
  Device device_ = weights_ ? current_device() : Device{};
  int64_t bytes_ = 0;
  std::string stored_name_;
  std::vector<float> stored_;
  std::vector<TensorSpec> specs_;
  std::array<Staging, 2> staging_;
  size_t turn_ = 0;
};

}  // namespace

template <class Real>
DeviceWeights<Real> make_device_weights(const ModelConfig& config, const Weights* weights, const Stream& stream) {
  return Packer<Real>(config, weights, stream).pack();
}
template DeviceWeights<float> make_device_weights(const ModelConfig&, const Weights*, const Stream&);
template DeviceWeights<bf16> make_device_weights(const ModelConfig&, const Weights*, const Stream&);

}  // namespace ringbench::RINGBENCH_BACKEND
