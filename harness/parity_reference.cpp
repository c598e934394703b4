// parity_reference.cpp: see parity_reference.h. What stands between the layers (embedding, norms, residual sums, head)
// is written out here once more, row by row.
#include "harness/parity_reference.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "harness/environment.h"
#include "reference/engine.h"

namespace ringbench {
namespace {

using Values = std::vector<double>;  // rows one after another

// A dot product in eight running sums, which a compiler can keep in vector registers.
double dot(const double* a, const double* b, int64_t n) {
  std::array<double, 8> sums{};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int64_t lane = 0; lane < 8; ++lane) sums[static_cast<size_t>(lane)] += a[i + lane] * b[i + lane];
  double sum = std::accumulate(sums.begin(), sums.end(), 0.0);
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

// RMSNorm of every row, rounded.
Values norm(const Values& rows, const Values& weight, double eps, Rounding rounding) {
  const int64_t width = static_cast<int64_t>(weight.size());
  Values out(rows.size());
  for (size_t begin = 0; begin < rows.size(); begin += weight.size()) {
    const double* row = rows.data() + begin;
    const double scale = 1 / std::sqrt(dot(row, row, width) / static_cast<double>(width) + eps);
    for (size_t i = 0; i < weight.size(); ++i) out[begin + i] = row[i] * scale * weight[i];
  }
  round_to<double>(rounding, out, weight.size());
  return out;
}

void add(Values& stream, const HostTensor& block, Rounding rounding, size_t width) {
  const std::span<const double> values = block.as<double>();
  std::transform(stream.begin(), stream.end(), values.begin(), stream.begin(), std::plus<>());
  round_to<double>(rounding, stream, width);
}

// Row-wise; fp8 takes one scale a row, as the reference does.
Values read_matrix(const Weights& weights, const std::string& name, int64_t rows, int64_t width, Rounding rounding) {
  Values values(static_cast<size_t>(rows * width));
  weights.read<double>(name, values);
  round_to<double>(rounding, values, static_cast<size_t>(width));
  return values;
}

}  // namespace

References::References(const Subject& subject, const ParityScope& scope) : subject_(subject), scope_(scope) {
  rows_ =
      std::clamp<int64_t>((int64_t{1} << 24) / subject.config.vocab_size, scope.steps + 1, scope.tokens + scope.steps);
}

EngineOptions References::options(const Precision& precision) const {
  EngineOptions o = truth_options(subject_.options, precision);
  o.slots = 1;
  o.chunk = scope_.chunk;
  o.max_tokens = rows_;
  return o;
}

const Walk& References::walk(uint64_t seed, const Precision& precision,
                             const std::function<void(const std::string&)>& progress) {
  const std::pair key(seed, precision);
  for (const auto& [known, walk] : walks_)
    if (known == key) return *walk;
  progress(precision == Precision{} ? "reference in f64" : "reference with the candidate's rounding");
  // Two of them, and room for the candidate and the layers' own copies.
  const bool fits = 4 * plan_reference_memory(subject_.config, options(precision)).total() < available_memory_bytes();
  walks_.emplace_back(key, std::make_unique<Walk>(fits ? whole(seed, precision) : streamed(seed, precision, progress)));
  return *walks_.back().second;
}

Walk References::whole(uint64_t seed, const Precision& precision) {
  Engine* engine = nullptr;
  for (const auto& [known, kept] : engines_)
    if (known == precision) engine = kept.get();
  if (engine == nullptr) {
    engines_.emplace_back(precision, make_reference_engine(subject_.config, *subject_.weights, options(precision)));
    engine = engines_.back().second.get();
  }
  Walk result;
  const std::vector<int32_t> all = tokens(seed);
  const size_t prompt = all.size() - static_cast<size_t>(scope_.steps);
  engine->reset(0);
  ringbench::walk(*engine, 0, std::span(all).first(prompt), 0, true, result, scope_.bisect);
  ringbench::walk(*engine, 0, std::span(all).subspan(prompt), 1, true, result, scope_.bisect);
  return result;
}

Walk References::streamed(uint64_t seed, const Precision& precision,
                          const std::function<void(const std::string&)>& progress) const {
  const ModelConfig& config = subject_.config;
  const Weights& weights = *subject_.weights;
  const int64_t H = config.hidden_size, V = config.vocab_size;
  const size_t width = static_cast<size_t>(H);
  const std::string embedding =
      config.tensor_names == TensorNames::bailing ? "model.word_embeddings.weight" : "model.embed_tokens.weight";
  const auto vector = [&](const std::string& name) {
    Values values(width);
    weights.read<double>(name, values);
    return values;
  };
  Walk result;
  result.vocab = V;
  result.rows = rows_;
  Values stream;
  {
    const Values table = read_matrix(weights, embedding, V, H, precision.weights);
    for (const int32_t token : tokens(seed))
      stream.insert(stream.end(), table.begin() + token * H, table.begin() + (token + 1) * H);
  }
  // How the rows go through each layer: the prompt in chunks, then single steps.
  std::vector<int64_t> pieces;
  const int64_t chunk = scope_.chunk > 0 ? scope_.chunk : rows_;
  for (int64_t done = 0; done < rows_ - scope_.steps; done += pieces.back())
    pieces.push_back(std::min(chunk, rows_ - scope_.steps - done));
  pieces.insert(pieces.end(), static_cast<size_t>(scope_.steps), 1);

  for (int i = 0; i < config.num_hidden_layers; ++i) {
    progress("reference, layer " + std::to_string(i));
    const std::string name = "model.layers." + std::to_string(i) + ".";
    const Values before = vector(name + "input_layernorm.weight"),
                 after = vector(name + "post_attention_layernorm.weight");
    const auto layer = make_reference_layer(config, weights, i, options(precision));
    layer->hook = [&](int, std::string_view what, const HostTensorView& values) {
      if (what != "topk_ids") return;
      const std::vector<double> ids = to_doubles(values);
      const int64_t k = values.shape[1];
      for (int64_t row = 0; row < values.shape[0]; ++row) {
        std::vector<int> chosen(ids.begin() + row * k, ids.begin() + (row + 1) * k);
        std::sort(chosen.begin(), chosen.end());
        result.experts[i].push_back(std::move(chosen));
      }
    };
    int64_t row = 0;
    for (const int64_t rows : pieces) {
      Values part(stream.begin() + row * H, stream.begin() + (row + rows) * H);
      Values x = norm(part, before, config.rms_norm_eps, precision.norm);
      add(part, layer->attention({DType::f64, {rows, H}, x.data()}), precision.residual, width);
      x = norm(part, after, config.rms_norm_eps, precision.norm);
      add(part, layer->mlp({DType::f64, {rows, H}, x.data()}), precision.residual, width);
      std::copy(part.begin(), part.end(), stream.begin() + row * H);
      row += rows;
    }
    if (scope_.bisect) result.streams["hidden." + std::to_string(i + 1)] = stream;
  }

  progress("reference, head");
  stream = norm(stream, vector("model.norm.weight"), config.rms_norm_eps, precision.norm);
  Values head =
      read_matrix(weights, config.tie_word_embeddings ? embedding : "lm_head.weight", V, H, precision.weights);
  if (config.norm_head) {  // columns of unit length
    Values length(width);
    for (size_t i = 0; i < head.size(); ++i) length[i % width] += head[i] * head[i];
    for (double& x : length) x = std::sqrt(x) + 1e-7;
    for (size_t i = 0; i < head.size(); ++i) head[i] /= length[i % width];
  }
  result.logits.resize(static_cast<size_t>(rows_ * V));
  for (int64_t v = 0; v < V; ++v)
    for (int64_t row = 0; row < rows_; ++row)
      result.logits[static_cast<size_t>(row * V + v)] = dot(head.data() + v * H, stream.data() + row * H, H);
  round_to<double>(precision.lm_head, result.logits, static_cast<size_t>(V));
  return result;
}

}  // namespace ringbench
