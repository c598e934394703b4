// weights.cpp: which tensors a config asks for, and their values: out of a checkpoint or made at random.
#include "reference/weights.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

#include "reference/f16.h"
#include "reference/random.h"
#include "reference/sha256.h"

namespace ringbench {
namespace {

enum class Use { always, routed, embedding };  // routed: a token meets num_experts_per_tok of num_experts

struct Listed {
  TensorSpec spec;
  Use use = Use::always;
  int64_t copies = 1;  // tensors of this shape that this entry stands for
};

// Walks a model and lists its tensors. With all_experts false, expert 0 stands for all experts of its layer.
class Lister {
 public:
  Lister(const ModelConfig& config, bool all_experts) : c_(config), all_experts_(all_experts) {}

  std::vector<Listed> main_layers() {
    const bool bailing = c_.tensor_names == TensorNames::bailing;
    add(bailing ? "model.word_embeddings.weight" : "model.embed_tokens.weight", {c_.vocab_size, c_.hidden_size},
        c_.tie_word_embeddings ? matrix_std(c_.hidden_size) : 1.0, Use::embedding);
    for (int i = 0; i < c_.num_hidden_layers; ++i) {
      prefix_ = "model.layers." + std::to_string(i) + ".";
      layer(c_.layer_types[static_cast<size_t>(i)], c_.is_moe(i));
    }
    prefix_.clear();
    norm("model.norm.weight", c_.hidden_size);
    if (!c_.tie_word_embeddings)
      add("lm_head.weight", {c_.vocab_size, c_.hidden_size}, matrix_std(c_.hidden_size), Use::embedding);
    return std::exchange(list_, {});
  }

  // After the main layers comes one more softmax layer, with the projection that feeds it. It is MoE wherever the model
  // is, whatever first_k_dense_replace says.
  std::vector<Listed> mtp_layers() {
    for (int i = 0; i < c_.num_nextn_predict_layers; ++i) {
      prefix_ = "model.layers." + std::to_string(c_.num_hidden_layers + i) + ".";
      norm("enorm.weight", c_.hidden_size);
      norm("hnorm.weight", c_.hidden_size);
      matrix("eh_proj.weight", c_.hidden_size, 2 * c_.hidden_size);
      layer(LayerType::softmax_attention, c_.num_experts > 0);
      norm("final_layernorm.weight", c_.hidden_size);
    }
    return std::exchange(list_, {});
  }

 private:
  void add(const std::string& name, std::vector<int64_t> shape, double sigma, Use use = Use::always,
           Init init = Init::normal) {
    list_.push_back({{prefix_ + name, std::move(shape), init, static_cast<float>(sigma)}, use});
  }
  static double matrix_std(int64_t fan_in) { return 1.0 / std::sqrt(static_cast<double>(fan_in)); }
  // For what writes to the residual stream: 2 num_hidden_layers blocks do, and their variances add up to 1.
  double residual_std(int64_t fan_in) const { return matrix_std(fan_in * 2 * c_.num_hidden_layers); }

  void matrix(const std::string& name, int64_t out, int64_t in, Use use = Use::always) {
    add(name, {out, in}, matrix_std(in), use);
  }
  void residual_matrix(const std::string& name, int64_t out, int64_t in, Use use = Use::always) {
    add(name, {out, in}, residual_std(in), use);
  }
  void norm(const std::string& name, int64_t size) { add(name, {size}, 0.1, Use::always, Init::around_one); }
  void bias(const std::string& name, std::vector<int64_t> shape, Use use = Use::always) {
    add(name, std::move(shape), 0.1, use);
  }

  void layer(LayerType type, bool moe) {
    norm("input_layernorm.weight", c_.hidden_size);
    attention(type);
    norm("post_attention_layernorm.weight", c_.hidden_size);
    if (!moe)
      mlp("mlp.", c_.intermediate_size);
    else if (c_.tensor_names == TensorNames::gpt_oss)
      stacked_experts();
    else
      experts();
  }

  void attention(LayerType type) {
    const bool bailing = c_.tensor_names == TensorNames::bailing, linear = type == LayerType::linear_attention;
    const int64_t q = int64_t{c_.num_attention_heads} * c_.head_dim, kv = c_.kv_heads(type) * c_.head_dim;
    const std::string block = bailing ? "attention." : "self_attn.", out = block + (bailing ? "dense" : "o_proj");
    const auto project = [&](const char* name, int64_t rows) {
      matrix(block + name + ".weight", rows, c_.hidden_size);
      if (c_.use_qkv_bias && c_.has_bias(type)) bias(block + name + ".bias", {rows});
    };
    if (bailing) {
      project("query_key_value", q + 2 * kv);
    } else {
      project("q_proj", q);
      project("k_proj", kv);
      project("v_proj", kv);
    }
    if (c_.use_qk_norm) {
      norm(block + (bailing ? "query_layernorm.weight" : "q_norm.weight"), c_.head_dim);
      norm(block + (bailing ? "key_layernorm.weight" : "k_norm.weight"), c_.head_dim);
    }
    if (linear) {
      if (c_.use_low_rank) {
        matrix(block + "g_proj.0.weight", c_.head_dim, c_.hidden_size);
        matrix(block + "g_proj.1.weight", q, c_.head_dim);
      } else {
        matrix(block + "g_proj.weight", q, c_.hidden_size);
      }
      norm(block + "g_norm.weight", q);
    }
    residual_matrix(out + ".weight", c_.hidden_size, q);
    if (c_.use_bias && c_.has_bias(type)) bias(out + ".bias", {c_.hidden_size});
    if (c_.attention_sinks && !linear) add(block + "sinks", {c_.num_attention_heads}, 1.0);
  }

  void mlp(const std::string& block, int64_t width, Use use = Use::always) {
    matrix(block + "gate_proj.weight", width, c_.hidden_size, use);
    matrix(block + "up_proj.weight", width, c_.hidden_size, use);
    residual_matrix(block + "down_proj.weight", c_.hidden_size, width, use);
  }

  void experts() {
    matrix("mlp.gate.weight", c_.num_experts, c_.hidden_size);
    if (c_.moe_router_enable_expert_bias) {
      add("mlp.gate.expert_bias", {c_.num_experts}, 0.02);
      list_.back().spec.dtype = DType::f32;
    }
    for (int e = 0; e < (all_experts_ ? c_.num_experts : 1); ++e) {
      const size_t first = list_.size();
      mlp("mlp.experts." + std::to_string(e) + ".", c_.moe_intermediate_size, Use::routed);
      if (!all_experts_)
        for (size_t i = first; i < list_.size(); ++i) list_[i].copies = c_.num_experts;
    }
    if (c_.shared_intermediate_size > 0) mlp("mlp.shared_experts.", c_.shared_intermediate_size);
  }

  // GPT-OSS: all experts in one tensor, [expert, in, out]; gate and up take turns in the last dimension.
  void stacked_experts() {
    const int64_t E = c_.num_experts, H = c_.hidden_size, I = c_.moe_intermediate_size;
    matrix("mlp.router.weight", E, H);
    if (c_.moe_bias) bias("mlp.router.bias", {E});
    add("mlp.experts.gate_up_proj", {E, H, 2 * I}, matrix_std(H), Use::routed);
    if (c_.moe_bias) bias("mlp.experts.gate_up_proj_bias", {E, 2 * I}, Use::routed);
    add("mlp.experts.down_proj", {E, I, H}, residual_std(I), Use::routed);
    if (c_.moe_bias) bias("mlp.experts.down_proj_bias", {E, H}, Use::routed);
  }

  const ModelConfig& c_;
  const bool all_experts_;
  std::string prefix_;
  std::vector<Listed> list_;
};

// Elements of type Stored, which may lie at any address. `widen` takes the stored bits to a float or double.
template <class Stored, class Real, class Widen> void convert(const std::byte* data, std::span<Real> out, Widen widen) {
  for (size_t i = 0; i < out.size(); ++i) {
    Stored bits;
    std::memcpy(&bits, data + i * sizeof(Stored), sizeof(Stored));
    out[i] = static_cast<Real>(widen(bits));
  }
}

template <class Real> void convert(DType dtype, const std::byte* data, std::span<Real> out) {
  switch (dtype) {
    case DType::bf16:
      return convert<uint16_t>(data, out, [](uint16_t b) { return static_cast<float>(bf16::from_bits(b)); });
    case DType::f16: return convert<uint16_t>(data, out, half_to_float);
    case DType::f32: return convert<float>(data, out, [](float x) { return x; });
    case DType::f64: return convert<double>(data, out, [](double x) { return x; });
    default: throw std::logic_error("weights are never " + std::string(name_of(dtype)));  // load() refuses them
  }
}

bool is_floating(DType dtype) { return dtype != DType::i64 && dtype != DType::i32 && dtype != DType::u8; }

// MXFP4: 4-bit floats (sign, 2 exponent bits, 1 mantissa bit) in groups of 32 with one power of two each.
constexpr int64_t mx_group = 32;
constexpr std::array<float, 16> fp4_values{0.f,  0.5f,  1.f,  1.5f,  2.f,  3.f,  4.f,  6.f,
                                           -0.f, -0.5f, -1.f, -1.5f, -2.f, -3.f, -4.f, -6.f};

// blocks [E, rows, groups, 16], scales [E, rows, groups] -> out [E, groups 32, rows]: stored by output row, used by
// input row. Scale 255 is the format's NaN.
template <class Real>
void unpack_mxfp4(const HostTensorView& blocks, const HostTensorView& scales, std::span<Real> out) {
  const int64_t E = blocks.shape[0], rows = blocks.shape[1], groups = blocks.shape[2];
  const auto byte_at = [](const HostTensorView& t, int64_t i) { return std::to_integer<unsigned>(t.data[i]); };
  for (int64_t e = 0; e < E; ++e)
    for (int64_t g = 0; g < groups; ++g)
      for (int64_t row = 0; row < rows; ++row) {
        const int64_t group = (e * rows + row) * groups + g;
        const unsigned scale = byte_at(scales, group);
        const Real factor =
            scale == 255 ? std::numeric_limits<Real>::quiet_NaN() : std::ldexp(Real{1}, static_cast<int>(scale) - 127);
        Real* column = out.data() + (e * groups + g) * mx_group * rows + row;
        for (int64_t b = 0; b < mx_group / 2; ++b) {
          const unsigned pair = byte_at(blocks, group * (mx_group / 2) + b);
          column[(2 * b) * rows] = static_cast<Real>(fp4_values[pair & 15]) * factor;
          column[(2 * b + 1) * rows] = static_cast<Real>(fp4_values[pair >> 4]) * factor;
        }
      }
}

// By the exponent bits, which no compiler flag can argue away. Returns values.size() if all are finite.
template <class Real> size_t first_non_finite(std::span<const Real> values) {
  using Bits = std::conditional_t<sizeof(Real) == 8, uint64_t, uint32_t>;
  constexpr Bits exponent = std::bit_cast<Bits>(std::numeric_limits<Real>::infinity());
  const auto non_finite = [](Real x) { return (std::bit_cast<Bits>(x) & exponent) == exponent; };
  int found = 0;
  for (const Real x : values) found |= non_finite(x);
  return found ? static_cast<size_t>(std::find_if(values.begin(), values.end(), non_finite) - values.begin())
               : values.size();
}

// The folder's name; for a snapshot in the Hugging Face cache ("models--org--repo/snapshots/<hash>") "org/repo".
std::string label_of(const std::filesystem::path& checkpoint) {
  const auto path = std::filesystem::absolute(checkpoint / "").lexically_normal().parent_path();
  const std::string repository = path.parent_path().parent_path().filename().string();
  if (path.parent_path().filename() != "snapshots" || !repository.starts_with("models--"))
    return path.filename().string();
  std::string label = repository.substr(8);
  if (const size_t split = label.find("--"); split != std::string::npos) label.replace(split, 2, "/");
  return label;
}

std::string line_of(const std::string& name, std::span<const int64_t> shape, DType dtype) {
  return name + " " + shape_string(shape) + " " + std::string(name_of(dtype)) + "\n";
}

// 64 bytes from the middle: one page of each tensor is touched, not the whole checkpoint.
void append_sample(std::string& text, const HostTensorView& view) {
  const int64_t count = std::min<int64_t>(64, view.bytes());
  text.append(reinterpret_cast<const char*>(view.data) + (view.bytes() - count) / 2, static_cast<size_t>(count));
}

// Tensors that checkpoints carry and nobody needs: tables that are computed here, a head that is tied to the embeddings
// (some writers store it twice), MTP layers of a model run without, the shared expert of width 0 that the v1 class
// makes of num_shared_experts 0.
bool is_harmless(const std::string& name, const ModelConfig& config, const SafeTensors& stored) {
  if (name.find(".shared_experts.") != std::string::npos && stored.at(name).bytes() == 0) return true;
  for (const char* part : {"slope", "rotary_emb", "inv_freq"})
    if (name.find(part) != std::string::npos) return true;
  if (name.starts_with("model.mtp")) return true;
  if (name == "lm_head.weight") return config.tie_word_embeddings;
  // Not every layer too many is an MTP layer: without its eh_proj it says that num_hidden_layers is wrong.
  const std::string layers = "model.layers.";
  if (!name.starts_with(layers)) return false;
  int layer = 0;
  std::from_chars(name.data() + layers.size(), name.data() + name.size(), layer);
  return layer >= config.num_hidden_layers + config.num_nextn_predict_layers &&
         stored.contains(layers + std::to_string(layer) + ".eh_proj.weight");
}

// Throws if the checkpoint has a tensor that the config does not ask for, as it is or in MXFP4 parts.
void check_extras(const std::string& source, const SafeTensors& stored, const ModelConfig& config,
                  const std::map<std::string, TensorSpec>& specs) {
  for (const auto& [name, view] : stored.tensors()) {
    const bool part = name.ends_with("_blocks") || name.ends_with("_scales");
    const std::string whole = part ? name.substr(0, name.size() - 7) : name;
    const bool wanted = specs.contains(whole) && stored.contains(whole) != part;
    if (!wanted && !is_harmless(name, config, stored))
      throw WeightsError(source + ": unexpected tensor " + quoted(name) + " " + shape_string(view.shape) +
                         "; does the config belong to these weights?");
  }
}

}  // namespace

std::vector<TensorSpec> expected_tensors(const ModelConfig& config) {
  std::vector<TensorSpec> specs;
  Lister lister(config, /*all_experts=*/true);
  for (auto& listed : lister.main_layers()) specs.push_back(std::move(listed.spec));
  for (auto& listed : lister.mtp_layers()) specs.push_back(std::move(listed.spec));
  return specs;
}

ParameterCounts count_parameters(const ModelConfig& config) {
  ParameterCounts counts;
  for (const Listed& listed : Lister(config, /*all_experts=*/false).main_layers()) {
    const int64_t size = listed.spec.size() * listed.copies;
    const int64_t active = listed.use == Use::routed ? size / config.num_experts * config.num_experts_per_tok : size;
    counts.total += size;
    counts.active += active;
    if (listed.use != Use::embedding) counts.active_non_embedding += active;
  }
  return counts;
}

Weights Weights::load(const ModelConfig& config, const std::filesystem::path& checkpoint) {
  Weights weights;
  weights.stored_ = std::make_shared<const SafeTensors>(SafeTensors::open(checkpoint));
  weights.label_ = label_of(checkpoint);
  const SafeTensors& stored = *weights.stored_;

  std::string content;  // what the fingerprint is made from
  const auto take = [&](const std::string& name, const std::vector<int64_t>& shape, bool packed) {
    const HostTensorView& view = stored.at(name);
    if (view.shape != shape)
      throw WeightsError(checkpoint.string() + ": tensor \"" + name + "\" has shape " + shape_string(view.shape) +
                         ", the config asks for " + shape_string(shape));
    if (packed ? view.dtype != DType::u8 : !is_floating(view.dtype))
      throw WeightsError(checkpoint.string() + ": tensor \"" + name + "\" is " + std::string(name_of(view.dtype)) +
                         ", expected " + (packed ? "u8 (MXFP4)" : "bf16, f16, f32 or f64"));
    content += line_of(name, view.shape, view.dtype);
    append_sample(content, view);
  };
  for (auto& spec : expected_tensors(config)) {
    const std::string blocks = spec.name + "_blocks", scales = spec.name + "_scales";
    if (stored.contains(spec.name)) {
      take(spec.name, spec.shape, /*packed=*/false);
    } else if (spec.shape.size() == 3 && stored.contains(blocks) && stored.contains(scales)) {
      const int64_t E = spec.shape[0], in = spec.shape[1], out = spec.shape[2];
      if (in % mx_group != 0)
        throw WeightsError(checkpoint.string() + ": tensor \"" + blocks + "\": the config asks for " +
                           shape_string(spec.shape) + ", but MXFP4 holds multiples of 32 inputs");
      take(blocks, {E, out, in / mx_group, mx_group / 2}, /*packed=*/true);
      take(scales, {E, out, in / mx_group}, /*packed=*/true);
    } else {
      throw WeightsError(checkpoint.string() + ": tensor \"" + spec.name + "\" is missing, the config asks for " +
                         shape_string(spec.shape));
    }
    weights.specs_.emplace(spec.name, std::move(spec));
  }

  check_extras(checkpoint.string(), stored, config, weights.specs_);
  weights.fingerprint_ = sha256_hex(content).substr(0, 16);
  return weights;
}

Weights Weights::random(const ModelConfig& config, uint64_t seed, Dummy mode) {
  Weights weights;
  weights.seed_ = seed;
  weights.mode_ = mode;
  weights.label_ = mode == Dummy::scaled ? "dummy:scaled" : "dummy:zero";
  std::string content = weights.label_ + " " + std::to_string(seed) + "\n";
  for (auto& spec : expected_tensors(config)) {
    content += line_of(spec.name, spec.shape, spec.dtype);
    weights.specs_.emplace(spec.name, std::move(spec));
  }
  weights.fingerprint_ = sha256_hex(content).substr(0, 16);
  return weights;
}

bool Weights::contains(const std::string& name) const { return specs_.contains(name); }

std::optional<Weights::Recipe> Weights::recipe(const std::string& name) const {
  if (stored_ || mode_ == Dummy::zero) return std::nullopt;
  const auto found = specs_.find(name);
  if (found == specs_.end()) throw WeightsError(label_ + ": the model has no tensor \"" + name + "\"");
  const TensorSpec& spec = found->second;
  const uint64_t key = random_key(seed_, name);
  return Recipe{spec.init == Init::around_one ? RandomNormal::around_one(key, spec.scale)
                                              : RandomNormal::around_zero(key, spec.scale),
                spec.dtype == DType::bf16};
}

template <class Real> void Weights::read(const std::string& name, std::span<Real> out) const {
  const auto found = specs_.find(name);
  if (found == specs_.end()) throw WeightsError(label_ + ": the model has no tensor \"" + name + "\"");
  const TensorSpec& spec = found->second;
  if (static_cast<int64_t>(out.size()) != spec.size())
    throw std::invalid_argument("tensor \"" + name + "\" " + shape_string(spec.shape) + " read into room for " +
                                std::to_string(out.size()));
  const auto check = [&](size_t begin, size_t count) {
    const size_t at = begin + first_non_finite(std::span<const Real>(out.subspan(begin, count)));
    if (at < begin + count)
      throw WeightsError(label_ + ": tensor \"" + name + "\" " + shape_string(spec.shape) + " holds " +
                         (std::isnan(out[at]) ? "NaN" : "infinity") + " at element " + std::to_string(at));
  };

  if (!stored_ && mode_ == Dummy::zero) {
    std::fill(out.begin(), out.end(), Real{0});
  } else if (!stored_) {
    const auto [normal, rounded_to_bf16] = *recipe(name);
    if (rounded_to_bf16)
      for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<Real>(static_cast<float>(bf16(normal(i))));
    else
      for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<Real>(normal(i));
  } else if (stored_->contains(name)) {
    constexpr size_t block = 4096;  // checked while it is in the L1 cache
    const HostTensorView& view = stored_->at(name);
    for (size_t begin = 0; begin < out.size(); begin += block) {
      const size_t count = std::min(block, out.size() - begin);
      convert(view.dtype, view.data + static_cast<int64_t>(begin) * size_of(view.dtype), out.subspan(begin, count));
      check(begin, count);
    }
  } else {
    unpack_mxfp4(stored_->at(name + "_blocks"), stored_->at(name + "_scales"), out);
    check(0, out.size());
  }
}

template void Weights::read(const std::string&, std::span<double>) const;
template void Weights::read(const std::string&, std::span<float>) const;

}  // namespace ringbench
