// case_layers.cpp: see case_layers.h.
#include "harness/case_layers.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "harness/parity_walk.h"
#include "reference/operators.h"

namespace ringbench {
namespace {

using Values = std::vector<double>;

OperatorCase begin_case(const std::string& op, const std::string& name, DType dtype) {
  OperatorCase c;
  c.parameters = std::make_shared<nlohmann::ordered_json>();
  c.op = op;
  c.name = op + "-" + name + "-" + std::string(name_of(dtype));
  c.dtype = dtype;
  return c;
}

int64_t size_at(const OperatorCase& c, const char* input, size_t axis) { return c.inputs.at(input).shape()[axis]; }

Tensors output(const std::string& name, std::vector<int64_t> shape, Values values, Rounding rounding) {
  round_to(rounding, std::span(values), static_cast<size_t>(shape.back()));
  Tensors tensors;
  tensors.emplace(name, f64_tensor(std::move(shape), values));
  return tensors;
}

constexpr DType kBoth[] = {DType::f32, DType::bf16};

// --- Softmax attention ---

struct Query {
  int64_t tokens, keys;  // the last of so many positions
};

OperatorCase softmax_case(const std::string& name, int64_t heads, int64_t kv_heads, int64_t d,
                          const std::vector<Query>& batch, DType dtype) {
  OperatorCase c = begin_case("softmax_attention", name, dtype);
  std::vector<int64_t> q_starts = {0}, k_starts = {0};
  for (const Query& query : batch) {
    q_starts.push_back(q_starts.back() + query.tokens);
    k_starts.push_back(k_starts.back() + query.keys);
  }
  *c.parameters = {{"heads", heads},
                   {"kv_heads", kv_heads},
                   {"head_dim", d},
                   {"scale", 1 / std::sqrt(static_cast<double>(d))},
                   {"causal", "the last token of a sequence sees all of its keys"},
                   {"cu_seqlens_q", q_starts},
                   {"cu_seqlens_k", k_starts}};
  c.inputs.emplace("q", random_tensor(c, "q", dtype, {q_starts.back(), heads, d}));
  for (const char* tensor : {"k", "v"})
    c.inputs.emplace(tensor, random_tensor(c, tensor, dtype, {k_starts.back(), kv_heads, d}));
  return c;
}

std::vector<int64_t> starts(const OperatorCase& c, const char* name) {
  return c.parameters->at(name).get<std::vector<int64_t>>();
}

}  // namespace

std::vector<OperatorCase> softmax_attention_cases(const std::string& shape) {
  std::vector<OperatorCase> cases;
  const std::vector<Query> prefill = {{131, 131}, {37, 165}}, decode = {{1, 300}, {1, 129}, {1, 1}},
                           edges = {{1, 1}, {63, 63}, {65, 130}, {17, 17}, {1, 257}};
  if (shape != "awkward") {
    const ModelConfig config = model_of_shape(shape);
    const auto add = [&](const std::string& phase, const std::vector<Query>& batch) {
      cases.push_back(softmax_case(shape + "-" + phase, config.num_attention_heads, config.num_key_value_heads,
                                   config.head_dim, batch, DType::bf16));
    };
    add("prefill", prefill);
    add("decode", decode);
    return cases;
  }
  for (const DType dtype : kBoth) {
    cases.push_back(softmax_case("awkward-6x64-kv2", 6, 2, 64, edges, dtype));
    cases.push_back(softmax_case("awkward-3x128-kv3", 3, 3, 128, edges, dtype));
    cases.push_back(softmax_case("awkward-8x64-kv1-decode", 8, 1, 64, decode, dtype));
  }
  return cases;
}

Tensors compute_softmax_attention(const OperatorCase& c, const CaseRounding& rounding) {
  const int64_t heads = size_at(c, "q", 1), kv_heads = size_at(c, "k", 1), d = size_at(c, "q", 2);
  const Values q = input_values(c, "q", rounding.inputs), k = input_values(c, "k", rounding.inputs),
               v = input_values(c, "v", rounding.inputs);
  const std::vector<int64_t> q_starts = starts(c, "cu_seqlens_q"), k_starts = starts(c, "cu_seqlens_k");
  Values o(q.size());
  for (size_t i = 0; i + 1 < q_starts.size(); ++i) {
    const int64_t row = q_starts[i] * heads * d, key = k_starts[i] * kv_heads * d;
    softmax_attention({q_starts[i + 1] - q_starts[i], k_starts[i + 1] - k_starts[i], heads, kv_heads, d, q.data() + row,
                       k.data() + key, v.data() + key, o.data() + row},
                      rounding.dot);
  }
  return output("o", c.inputs.at("q").shape(), std::move(o), rounding.output);
}

std::vector<CasePart> softmax_attention_parts(const OperatorCase& c, const std::string&) {
  const int64_t heads = size_at(c, "q", 1), d = size_at(c, "q", 2);
  const std::vector<int64_t> q_starts = starts(c, "cu_seqlens_q");
  std::vector<CasePart> parts;
  for (size_t i = 0; i + 1 < q_starts.size(); ++i)
    for (int64_t h = 0; h < heads; ++h) {
      parts.push_back({"sequence " + std::to_string(i) + ", head " + std::to_string(h), {}});
      for (int64_t t = q_starts[i]; t < q_starts[i + 1]; ++t) parts.back().runs.emplace_back((t * heads + h) * d, d);
    }
  return parts;
}

double softmax_attention_length(const OperatorCase& c) {
  const std::vector<int64_t> k_starts = starts(c, "cu_seqlens_k");
  int64_t longest = 0;
  for (size_t i = 0; i + 1 < k_starts.size(); ++i) longest = std::max(longest, k_starts[i + 1] - k_starts[i]);
  return static_cast<double>(longest + size_at(c, "q", 2));
}

double softmax_attention_flops(const OperatorCase& c) {
  const std::vector<int64_t> q_starts = starts(c, "cu_seqlens_q"), k_starts = starts(c, "cu_seqlens_k");
  double pairs = 0;
  for (size_t i = 0; i + 1 < q_starts.size(); ++i) {
    const double tokens = static_cast<double>(q_starts[i + 1] - q_starts[i]),
                 keys = static_cast<double>(k_starts[i + 1] - k_starts[i]);
    pairs += tokens * (keys - (tokens - 1) / 2);
  }
  return 4 * pairs * static_cast<double>(size_at(c, "q", 1) * size_at(c, "q", 2));
}

// --- Group norm x gate ---

std::vector<OperatorCase> group_norm_gate_cases(const std::string& shape) {
  std::vector<OperatorCase> cases;
  const auto add = [&](const std::string& name, int64_t T, int64_t width, int64_t groups, double eps, DType dtype) {
    OperatorCase c = begin_case("group_norm_gate", name, dtype);
    *c.parameters = {{"groups", groups},
                     {"eps", eps},
                     {"equation", "o = RMSNorm(x, each of `groups` equal parts) * weight * sigmoid(gate)"}};
    c.inputs.emplace("x", random_tensor(c, "x", dtype, {T, width}, 3));
    c.inputs.emplace("gate", random_tensor(c, "gate", dtype, {T, width}, 2));
    c.inputs.emplace("weight", random_tensor(c, "weight", dtype, {width}, 0.25f, 1));
    cases.push_back(std::move(c));
  };
  for (const DType dtype : kBoth) {
    if (shape == "awkward") {
      add("awkward-3x96", 3, 96, 3, 1e-5, dtype);
      add("awkward-129x640", 129, 640, 5, 1e-6, dtype);
      add("awkward-1x128", 1, 128, 1, 1e-6, dtype);
    } else {
      const ModelConfig config = model_of_shape(shape);
      add(shape, 67, config.num_attention_heads * config.head_dim, config.group_norm_size, config.rms_norm_eps, dtype);
    }
  }
  return cases;
}

Tensors compute_group_norm_gate(const OperatorCase& c, const CaseRounding& rounding) {
  const Values x = input_values(c, "x", rounding.inputs), gate = input_values(c, "gate", rounding.inputs),
               weight = input_values(c, "weight", rounding.inputs);
  Values y(x.size());
  group_norm_gate({size_at(c, "x", 0), size_at(c, "x", 1), c.parameters->at("groups").get<int64_t>(),
                   c.parameters->at("eps").get<double>(), x.data(), gate.data(), weight.data(), y.data()},
                  rounding.dot);
  return output("o", c.inputs.at("x").shape(), std::move(y), rounding.output);
}

double group_norm_gate_length(const OperatorCase& c) {
  const int64_t group_width = size_at(c, "x", 1) / c.parameters->at("groups").get<int64_t>();
  return static_cast<double>(group_width);
}

// --- Norm of q and k, rotary positions ---

std::vector<OperatorCase> qk_norm_rope_cases(const std::string& shape) {
  std::vector<OperatorCase> cases;
  const auto add = [&](const std::string& name, ModelConfig config, const std::optional<RopeScaling>& yarn,
                       DType dtype) {
    OperatorCase c = begin_case("qk_norm_rope", shape + "-" + name, dtype);
    std::vector<int64_t> positions = {8191, 8190, 32767, 5};  // of sequences that are in the middle
    for (int64_t t = 0; t < 37; ++t) positions.push_back(t);
    if (yarn) positions.push_back(yarn->original_max_position_embeddings + 1);
    *c.parameters = {{"norm", config.use_qk_norm},
                     {"eps", config.rms_norm_eps},
                     {"rotary_dim", config.rotary_dim},
                     {"pairs", "x_j with x_{j + rotary_dim / 2} (NeoX)"},
                     {"rope_theta", config.rope_theta},
                     {"yarn_factor", yarn ? yarn->factor : 1.0},
                     {"original_max_position_embeddings", yarn ? yarn->original_max_position_embeddings : 0},
                     {"attention_factor", yarn ? yarn->attention_factor : 1.0},
                     {"inverse_frequencies", rope_frequencies(config.rotary_dim, config.rope_theta, yarn)},
                     {"positions", positions}};
    const int64_t T = static_cast<int64_t>(positions.size());
    c.inputs.emplace("q", random_tensor(c, "q", dtype, {T, config.num_attention_heads, config.head_dim}, 2));
    c.inputs.emplace("k", random_tensor(c, "k", dtype, {T, config.num_key_value_heads, config.head_dim}, 2));
    if (config.use_qk_norm)
      for (const char* weight : {"q_norm", "k_norm"})
        c.inputs.emplace(weight, random_tensor(c, weight, dtype, {config.head_dim}, 0.25f, 1));
    cases.push_back(std::move(c));
  };
  ModelConfig config;
  if (shape == "awkward") {
    config.num_attention_heads = 5;
    config.num_key_value_heads = 1;
    config.head_dim = 96;
    config.rotary_dim = 48;
    config.use_qk_norm = true;
    config.rms_norm_eps = 1e-5;
  } else {
    config = model_of_shape(shape);
  }
  const int64_t window = config.max_position_embeddings > 0 ? config.max_position_embeddings : 4096;
  add("plain", config, std::nullopt, DType::bf16);
  add("yarn", config, RopeScaling::yarn(4, window), DType::bf16);
  if (shape == "awkward") add("yarn", config, RopeScaling::yarn(4, window), DType::f32);
  return cases;
}

Tensors compute_qk_norm_rope(const OperatorCase& c, const CaseRounding& rounding) {
  const std::vector<int64_t> positions = c.parameters->at("positions").get<std::vector<int64_t>>();
  const Values frequencies = c.parameters->at("inverse_frequencies").get<Values>();
  const bool norm = c.parameters->at("norm").get<bool>();
  Tensors outputs;
  for (const std::string name : {"q", "k"}) {
    Values x = input_values(c, name, rounding.inputs);
    const Values weight = norm ? input_values(c, name + "_norm", rounding.inputs) : Values();
    const std::vector<int64_t>& shape = c.inputs.at(name).shape();
    norm_rope({shape[0], shape[1], shape[2], c.parameters->at("eps").get<double>(),
               c.parameters->at("attention_factor").get<double>(), norm ? weight.data() : nullptr, positions,
               frequencies, x.data()},
              rounding.dot);
    outputs.merge(output(name, shape, std::move(x), rounding.output));
  }
  return outputs;
}

double qk_norm_rope_length(const OperatorCase& c) { return static_cast<double>(size_at(c, "q", 2)); }

// --- Router ---

namespace {

constexpr std::pair<const char*, Router> kRouters[] = {{"softmax over all, then the best k", Router::softmax_topk},
                                                       {"sigmoid, biased choice of groups and k", Router::sigmoid_topk},
                                                       {"best k, then softmax over them", Router::topk_softmax}};

OperatorCase router_case(const std::string& name, const ModelConfig& config) {
  OperatorCase c = begin_case("router", name, DType::f32);
  for (const auto& [text, router] : kRouters)
    if (router == config.router) (*c.parameters)["scores"] = text;
  c.parameters->update({{"num_experts_per_tok", config.num_experts_per_tok},
                        {"n_group", config.n_group},
                        {"topk_group", config.topk_group},
                        {"group_score", "sum of its two best biased scores; dropped groups count as -inf"},
                        {"norm_topk_prob", config.norm_topk_prob},
                        {"routed_scaling_factor", config.routed_scaling_factor},
                        {"order", "experts by rising number"}});
  c.inputs.emplace("logits", random_tensor(c, "logits", DType::f32, {61, config.num_experts}, 2));
  if (config.moe_router_enable_expert_bias)  // some biased scores are negative
    c.inputs.emplace("expert_bias", random_tensor(c, "expert_bias", DType::f32, {config.num_experts}, 0.5f));
  return c;
}

ModelConfig router_of(const OperatorCase& c) {
  ModelConfig config;
  const auto& p = *c.parameters;
  for (const auto& [text, router] : kRouters)
    if (p.at("scores") == text) config.router = router;
  config.num_experts = static_cast<int>(size_at(c, "logits", 1));
  config.num_experts_per_tok = p.at("num_experts_per_tok").get<int>();
  config.n_group = p.at("n_group").get<int>();
  config.topk_group = p.at("topk_group").get<int>();
  config.norm_topk_prob = p.at("norm_topk_prob").get<bool>();
  config.routed_scaling_factor = p.at("routed_scaling_factor").get<double>();
  return config;
}

HostTensor i32_tensor(std::vector<int64_t> shape, const std::vector<int32_t>& values) {
  HostTensor tensor(DType::i32, std::move(shape));
  std::copy(values.begin(), values.end(), tensor.as<int32_t>().begin());
  return tensor;
}

}  // namespace

std::vector<OperatorCase> router_cases(const std::string& shape) {
  std::vector<OperatorCase> cases;
  if (shape != "awkward") {
    cases.push_back(router_case(shape, model_of_shape(shape)));
    return cases;
  }
  ModelConfig config;
  config.num_experts = 20;
  config.num_experts_per_tok = 3;
  config.router = Router::sigmoid_topk;
  config.moe_router_enable_expert_bias = true;
  config.n_group = 5;
  config.topk_group = 2;
  config.routed_scaling_factor = 2.5;
  cases.push_back(router_case("awkward-groups", config));
  ModelConfig every = config;
  every.num_experts = every.num_experts_per_tok = 6;
  every.n_group = every.topk_group = 1;
  cases.push_back(router_case("awkward-every-expert", every));
  ModelConfig late = config;
  late.router = Router::topk_softmax;
  late.moe_router_enable_expert_bias = false;
  late.n_group = late.topk_group = 1;
  cases.push_back(router_case("awkward-topk-softmax", late));
  return cases;
}

Tensors compute_router(const OperatorCase& c, const CaseRounding& rounding) {
  Values bias;
  if (c.inputs.contains("expert_bias")) bias = input_values(c, "expert_bias", rounding.inputs);
  Routed routed = route_tokens(input_values(c, "logits", rounding.inputs), bias, router_of(c));
  const std::vector<int64_t> shape = {size_at(c, "logits", 0), c.parameters->at("num_experts_per_tok").get<int64_t>()};
  Tensors outputs = output("weights", shape, std::move(routed.weights), rounding.output);
  outputs.emplace("experts", i32_tensor(shape, routed.experts));
  return outputs;
}

double router_length(const OperatorCase& c) { return static_cast<double>(size_at(c, "logits", 1)); }

// --- Experts ---

std::vector<OperatorCase> moe_cases(const std::string& shape) {
  std::vector<OperatorCase> cases;
  // Token t, choice j: expert (t + 2 j) mod (E - 1), so that the last one has nothing to do.
  const auto add = [&](const std::string& name, int64_t T, int64_t H, int64_t I, int64_t E, int64_t k, DType dtype) {
    OperatorCase c = begin_case("moe", name, dtype);
    *c.parameters = {{"num_experts", E},
                     {"num_experts_per_tok", k},
                     {"equation", "o_t = sum_j weights[t, j] down_e(silu(gate_e x_t) * up_e x_t), e = experts[t, j]"}};
    std::vector<int32_t> experts;
    for (int64_t t = 0; t < T; ++t)
      for (int64_t j = 0; j < k; ++j) experts.push_back(static_cast<int32_t>((t + 2 * j) % (E - 1)));
    c.inputs.emplace("experts", i32_tensor({T, k}, experts));
    c.inputs.emplace("weights", random_tensor(c, "weights", DType::f32, {T, k}, 0.1f, 0.5f));
    c.inputs.emplace("x", random_tensor(c, "x", dtype, {T, H}));
    const float in = 1 / std::sqrt(static_cast<float>(H)), out = 1 / std::sqrt(static_cast<float>(I));
    c.inputs.emplace("gate", random_tensor(c, "gate", dtype, {E, I, H}, in));
    c.inputs.emplace("up", random_tensor(c, "up", dtype, {E, I, H}, in));
    c.inputs.emplace("down", random_tensor(c, "down", dtype, {E, H, I}, out));
    cases.push_back(std::move(c));
  };
  if (shape == "awkward") {
    for (const DType dtype : kBoth) {
      add("awkward-33x96", 33, 96, 40, 8, 3, dtype);
      add("awkward-1x128", 1, 128, 64, 5, 2, dtype);
    }
  } else {
    // Widths as published; of the experts two, one of them idle: all of them would be gigabytes.
    const ModelConfig config = model_of_shape(shape);
    add(shape, 17, config.hidden_size, config.moe_intermediate_size, 2, 1, DType::bf16);
  }
  return cases;
}

Tensors compute_moe(const OperatorCase& c, const CaseRounding& rounding) {
  const Values x = input_values(c, "x", rounding.inputs), gate = input_values(c, "gate", rounding.inputs),
               up = input_values(c, "up", rounding.inputs), down = input_values(c, "down", rounding.inputs),
               experts = input_values(c, "experts", Rounding::none);
  const Routed routed{{experts.begin(), experts.end()}, input_values(c, "weights", Rounding::none)};
  Values y(x.size());
  mixture_of_experts({size_at(c, "x", 0), size_at(c, "x", 1), size_at(c, "gate", 1), size_at(c, "gate", 0), x.data(),
                      gate.data(), up.data(), down.data(), routed, y.data()},
                     rounding.dot);
  return output("o", c.inputs.at("x").shape(), std::move(y), rounding.output);
}

double moe_length(const OperatorCase& c) {
  return static_cast<double>(std::max(size_at(c, "gate", 1), size_at(c, "gate", 2)));
}

double moe_flops(const OperatorCase& c) {
  const HostTensor& experts = c.inputs.at("experts");
  return 6.0 * static_cast<double>(experts.size() * size_at(c, "gate", 1) * size_at(c, "gate", 2));
}

// --- What they share ---

double elementwise_flops(const OperatorCase& c) {
  int64_t elements = 0;
  for (const auto& [name, tensor] : c.inputs) elements += tensor.size();
  return static_cast<double>(elements);
}

std::string diagnose_ratio(const OperatorCase& c, const Tensors& outputs, const Budgets& budgets) {
  for (const auto& [name, budget] : budgets) {
    const Values values = to_doubles(outputs.at(name)), truth = to_doubles(c.truth.at(name));
    double product = 0, square = 0, before = 0, after = 0;
    for (size_t i = 0; i < truth.size(); ++i) product += values[i] * truth[i], square += truth[i] * truth[i];
    const double ratio = product / square;
    for (size_t i = 0; i < truth.size(); ++i) {
      before += (values[i] - truth[i]) * (values[i] - truth[i]);
      after += (values[i] - ratio * truth[i]) * (values[i] - ratio * truth[i]);
    }
    const double limit = std::max(budget, std::sqrt(before / square) / 8);
    if (!(std::sqrt(after / square) <= limit) || !(before > 4 * after)) continue;
    char text[64];
    std::snprintf(text, sizeof text, "wrong scale: %s is %.3g times as large", name.c_str(), ratio);
    return text;
  }
  return "";
}

}  // namespace ringbench
