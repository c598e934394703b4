// parity_walk.cpp: see parity_walk.h.
#include "harness/parity_walk.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "reference/f16.h"
#include "reference/random.h"

namespace ringbench {

std::vector<double> to_doubles(const HostTensorView& tensor) {
  std::vector<double> values;
  const auto widen = [&](auto elements) {
    values.reserve(elements.size());
    for (const auto x : elements) {
      if constexpr (std::is_same_v<std::remove_cv_t<decltype(x)>, bf16>)
        values.push_back(static_cast<float>(x));
      else
        values.push_back(static_cast<double>(x));
    }
  };
  switch (tensor.dtype) {
    case DType::f64: widen(tensor.as<double>()); break;
    case DType::f32: widen(tensor.as<float>()); break;
    case DType::bf16: widen(tensor.as<bf16>()); break;
    case DType::f16: {
      std::vector<uint16_t> bits(static_cast<size_t>(tensor.size()));
      std::memcpy(bits.data(), tensor.data, static_cast<size_t>(tensor.bytes()));
      values.resize(bits.size());
      std::transform(bits.begin(), bits.end(), values.begin(), half_to_float);
      break;
    }
    case DType::i64: widen(tensor.as<int64_t>()); break;
    case DType::i32: widen(tensor.as<int32_t>()); break;
    default: throw std::logic_error("parity: no numbers in a tensor of " + std::string(name_of(tensor.dtype)));
  }
  return values;
}

HostTensor copy_of(const HostTensorView& tensor) {
  HostTensor copy(tensor.dtype, tensor.shape);
  if (tensor.bytes() > 0) std::memcpy(copy.raw(), tensor.data, static_cast<size_t>(tensor.bytes()));
  return copy;
}

std::vector<int32_t> random_tokens(const ModelConfig& config, uint64_t seed, int64_t count) {
  const uint64_t key = random_key(seed, "parity input");
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (size_t t = 0; t < tokens.size(); ++t)
    tokens[t] = static_cast<int32_t>(random_bits(key, t) % static_cast<uint64_t>(config.vocab_size));
  return tokens;
}

Precision budget_precision(const Engine& candidate, DType dtype) {
  Precision p = candidate.precision();
  if (p.state == Rounding::bf16 || p.state == Rounding::fp8_e4m3) p.state = Rounding::f32;
  if (dtype == DType::f64) return p;
  for (Rounding* point : {&p.weights, &p.residual, &p.norm, &p.activations, &p.qkv, &p.kv_cache, &p.operands, &p.state,
                          &p.attention, &p.router, &p.lm_head})
    if (*point == Rounding::none) *point = Rounding::f32;
  return p;
}

EngineOptions truth_options(const EngineOptions& candidate, const Precision& precision) {
  EngineOptions options = candidate;
  options.dtype = DType::f64;
  options.precision = precision;
  options.kernels.clear();
  options.mtp = false;
  return options;
}

LayerHook Recording::hook(const std::set<int>& wanted) {
  return [this, wanted](int layer, std::string_view name, const HostTensorView& values) {
    if (layer < 0 && name.starts_with("hidden.")) {
      const int after = std::atoi(std::string(name.substr(7)).c_str());
      if (!wanted.contains(after) && !wanted.contains(after - 1)) return;
      const std::vector<double> rows = to_doubles(values);
      std::vector<double>& all = streams[std::string(name)];
      all.insert(all.end(), rows.begin(), rows.end());
    } else if (wanted.contains(layer)) {
      std::vector<Pass>& passes = layers[layer];
      if (name == "attn_in") passes.emplace_back();  // every pass of a layer begins with it
      if (!passes.empty()) passes.back().insert_or_assign(std::string(name), copy_of(values));
    }
  };
}

void walk(Engine& engine, int slot, std::span<const int32_t> tokens, int64_t piece, bool look, Walk& into,
          bool streams) {
  into.vocab = engine.config().vocab_size;
  if (look)
    engine.hook = [&](int layer, std::string_view name, const HostTensorView& values) {
      if (name == "topk_ids") {
        const std::vector<double> ids = to_doubles(values);
        const size_t k = static_cast<size_t>(values.shape.back());
        for (size_t begin = 0; begin < ids.size(); begin += k) {
          std::vector<int> row(ids.begin() + static_cast<int64_t>(begin),
                               ids.begin() + static_cast<int64_t>(begin + k));
          std::sort(row.begin(), row.end());
          into.experts[layer].push_back(std::move(row));
        }
      } else if (streams && layer < 0 && name.starts_with("hidden.")) {
        const std::vector<double> rows = to_doubles(values);
        std::vector<double>& all = into.streams[std::string(name)];
        all.insert(all.end(), rows.begin(), rows.end());
      }
    };
  const size_t most = piece > 0 ? static_cast<size_t>(piece) : std::numeric_limits<size_t>::max();
  for (size_t done = 0; done < tokens.size();) {
    const std::span<const int32_t> some = tokens.subspan(done, std::min(most, tokens.size() - done));
    const Step step = {slot, some};
    engine.forward({&step, 1}, some.size() == 1 ? Rows::last : Rows::all);
    const std::vector<double> rows = to_doubles(engine.logits());
    into.logits.insert(into.logits.end(), rows.begin(), rows.end());
    done += some.size();
  }
  into.rows = static_cast<int64_t>(into.logits.size()) / into.vocab;
  engine.hook = nullptr;
}

}  // namespace ringbench
