// cost.cpp: see cost.h. Parameter counts come from weights.h, the list that checkpoints are checked against.
#include "harness/cost.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "harness/plan.h"
#include "reference/weights.h"

namespace ringbench {
namespace {

constexpr double kLinearChunk = 64;  // tokens that linear attention treats as one matrix

// Sum over tokens p .. p + n - 1 of how many keys each sees.
double visible_keys(int64_t n, int64_t p, int64_t window) {
  const auto all = [](double first, double count) { return count * first + count * (count - 1) / 2; };
  if (window <= 0 || p + n <= window) return all(static_cast<double>(p + 1), static_cast<double>(n));
  const int64_t growing = std::max<int64_t>(0, window - p);  // tokens that do not fill the window yet
  return all(static_cast<double>(p + 1), static_cast<double>(growing)) +
         static_cast<double>(n - growing) * static_cast<double>(window);
}

double state_size(DType dtype) { return static_cast<double>(std::max<int64_t>(size_of(dtype), 4)); }

// Elements of the matrices of one layer, by what multiplies them.
double projections(const ModelConfig& c, LayerType type) {
  const auto H = static_cast<double>(c.hidden_size), d = static_cast<double>(c.head_dim);
  const double width = c.num_attention_heads * d, kv_width = static_cast<double>(c.kv_heads(type)) * d;
  const double gate = c.use_low_rank ? H * d + d * width : H * width;
  return 2 * H * width + 2 * H * kv_width + (type == LayerType::linear_attention ? gate : 0);
}

double dense_mlp(const ModelConfig& c) { return static_cast<double>(3 * c.hidden_size * c.intermediate_size); }
double router(const ModelConfig& c) { return static_cast<double>(c.hidden_size * c.num_experts); }
double shared_expert(const ModelConfig& c) {
  return static_cast<double>(3 * c.hidden_size * c.shared_intermediate_size);
}
double expert(const ModelConfig& c) {  // one, its biases included
  const int64_t width = c.moe_intermediate_size;
  return static_cast<double>(3 * c.hidden_size * width + (c.moe_bias ? 2 * width + c.hidden_size : 0));
}
double moe_layers(const ModelConfig& c) {
  return c.num_experts > 0 ? std::max(0, c.num_hidden_layers - c.first_k_dense_replace) : 0;
}

// Distinct experts that so many tokens are expected to hit when each chooses its k independently and evenly.
double experts_hit(const ModelConfig& c, double tokens) {
  const double E = c.num_experts, k = c.num_experts_per_tok;
  return E * (1 - std::pow(1 - k / E, tokens));
}

// What append() counts with.
struct Append {
  const ModelConfig& c;
  int64_t tokens, position;
  double T, B;    // tokens of a sequence, sequences
  double size;    // of weights and caches
  double stream;  // of activations that pass through memory; 0 where they do not
  double state;   // of linear states

  double all() const { return T * B; }
};

// A product of all tokens with `weights` elements; `moved` activations a token pass through memory.
Operation product(const Append& a, Part part, double count, double weights, double moved) {
  Operation op{.part = part, .count = count, .least = {2 * a.all() * weights, a.size * weights}, .done = {}};
  op.done = {op.least.flops, op.least.bytes + a.all() * a.stream * moved};
  return op;
}

Operation softmax_attention(const Append& a, LayerType type) {
  const bool windowed = type == LayerType::sliding_attention;
  const double width = a.c.num_attention_heads * static_cast<double>(a.c.head_dim);
  const double kv_row = 2.0 * a.c.num_key_value_heads * a.c.head_dim * a.size;
  const double keys = visible_keys(a.tokens, a.position, windowed ? a.c.sliding_window : 0);
  // Keys and values that are read: all, or what the windows of these tokens reach back to.
  const auto seen = static_cast<double>(a.position + a.tokens);
  const double read = windowed ? std::min(seen, static_cast<double>(a.c.sliding_window + a.tokens - 1)) : seen;
  Operation op{.part = Part::attention, .count = static_cast<double>(a.c.count(type)), .least = {}, .done = {}};
  op.least = {a.B * 4 * width * keys, a.B * (read + a.T) * kv_row};
  op.done = {op.least.flops, op.least.bytes + a.all() * a.stream * 2 * width};  // q in, values out
  return op;
}

Operation linear_attention(const Append& a) {
  const double n = a.c.num_attention_heads, d = a.c.head_dim;
  Operation op{.part = Part::lightning,
               .count = static_cast<double>(a.c.count(LayerType::linear_attention)),
               .least = {a.all() * 4 * n * d * d, a.B * 2 * n * d * d * a.state},
               .done = {}};
  const double chunk = a.tokens > 1 ? kLinearChunk : 0;
  // q, k, v in, values out, and k, v once more for the states between chunks.
  op.done = {op.least.flops + a.all() * 4 * n * chunk * d, op.least.bytes + a.all() * a.stream * 6 * n * d};
  return op;
}

// Norms and residual stream, norm and rope of q and k, gated output norm: read and written once each.
Operation elementwise(const Append& a, LayerType type) {
  const double d = a.c.head_dim, width = a.c.num_attention_heads * d;
  const bool linear = type == LayerType::linear_attention;
  const double moved = 8 * static_cast<double>(a.c.hidden_size) +
                       2 * (width + static_cast<double>(a.c.kv_heads(type)) * d) + (linear ? 3 * width : 0);
  return {.part = Part::elementwise,
          .count = static_cast<double>(a.c.count(type)),
          .least = {},
          .done = {0, a.all() * a.stream * moved}};
}

void append_attention(const Append& a, std::vector<Operation>& operations) {
  for (const LayerType type :
       {LayerType::softmax_attention, LayerType::sliding_attention, LayerType::linear_attention}) {
    const int layers = a.c.count(type);
    if (layers == 0) continue;
    const bool linear = type == LayerType::linear_attention;
    const double d = a.c.head_dim, width = a.c.num_attention_heads * d, H = static_cast<double>(a.c.hidden_size);
    const double qkv = width + 2 * static_cast<double>(a.c.kv_heads(type)) * d;
    operations.push_back(
        product(a, Part::dense, layers, projections(a.c, type), 2 * H + qkv + width + (linear ? H + width : 0)));
    operations.push_back(elementwise(a, type));
    operations.push_back(linear ? linear_attention(a) : softmax_attention(a, type));
  }
}

void append_mlps(const Append& a, std::vector<Operation>& operations) {
  const auto H = static_cast<double>(a.c.hidden_size);
  const double moe = moe_layers(a.c), dense = a.c.num_hidden_layers - moe;
  if (dense > 0)
    operations.push_back(
        product(a, Part::dense, dense, dense_mlp(a.c), 2 * H + 3 * static_cast<double>(a.c.intermediate_size)));
  if (moe == 0) return;

  const double k = a.c.num_experts_per_tok, E = a.c.num_experts;
  Operation choice = product(a, Part::router, moe, router(a.c), H);
  const double scores = a.stream > 0 ? 4 * E : 0;  // f32
  choice.done.bytes += (std::max(a.size, 4.0) - a.size) * router(a.c) + a.all() * scores;
  operations.push_back(choice);

  const auto width = static_cast<double>(a.c.moe_intermediate_size),
             shared = static_cast<double>(a.c.shared_intermediate_size);
  Operation experts{.part = Part::experts, .count = moe, .least = {}, .done = {}};
  experts.least = {2 * a.all() * (k * expert(a.c) + shared_expert(a.c)),
                   a.size * (experts_hit(a.c, a.all()) * expert(a.c) + shared_expert(a.c))};
  // Rows are gathered while loading, SwiGLU is part of the first product: in, gate and up, product, out.
  const double moved = k * (2 * H + 2 * width) + (shared > 0 ? 2 * H + 2 * shared : 0);
  experts.done = {experts.least.flops, experts.least.bytes + a.all() * a.stream * moved};
  operations.push_back(experts);
  operations.push_back({.part = Part::elementwise,  // sum of each token's k rows
                        .count = moe,
                        .least = {},
                        .done = {0, a.all() * a.stream * (k * H + H)}});
}

}  // namespace

std::string_view name_of(Part part) {
  switch (part) {
    case Part::dense: return "dense";
    case Part::attention: return "attention";
    case Part::lightning: return "lightning";
    case Part::experts: return "experts";
    case Part::router: return "router";
    case Part::elementwise: return "elementwise";
    case Part::head: return "head";
  }
  return "?";
}

CostModel::CostModel(const ModelConfig& model, DType type) : config(model), dtype(type) {
  vectors = static_cast<double>(count_parameters(config).active_non_embedding);
  for (const LayerType layer : config.layer_types) vectors -= projections(config, layer);
  const double moe = moe_layers(config);
  vectors -= (config.num_hidden_layers - moe) * dense_mlp(config);
  vectors -= moe * (router(config) + config.num_experts_per_tok * expert(config) + shared_expert(config));
}

std::vector<Operation> CostModel::append(int64_t tokens, int64_t position, int64_t batch, bool logits) const {
  const auto size = static_cast<double>(size_of(dtype));
  const Append a{.c = config,
                 .tokens = tokens,
                 .position = position,
                 .T = static_cast<double>(tokens),
                 .B = static_cast<double>(batch),
                 .size = size,
                 .stream = tokens > 1 ? size : 0,
                 .state = state_size(dtype)};
  std::vector<Operation> operations;
  append_attention(a, operations);
  append_mlps(a, operations);
  operations.push_back(product(a, Part::elementwise, 1, vectors, 0));
  if (logits) {  // of one token of each sequence, written and read once
    const auto V = static_cast<double>(config.vocab_size), H = static_cast<double>(config.hidden_size);
    Operation head{.part = Part::head, .count = 1, .least = {a.B * 2 * H * V, size * H * V}, .done = {}};
    head.done = {head.least.flops, head.least.bytes + a.B * 2 * V * state_size(dtype)};
    operations.push_back(head);
  }
  return operations;
}

Cost append_cost(const ModelConfig& config, int64_t tokens, int64_t position, int64_t batch, DType dtype) {
  Cost cost;
  for (const Operation& op : CostModel(config, dtype).append(tokens, position, batch)) {
    cost.flops += op.count * op.least.flops;
    cost.bytes += op.count * op.least.bytes;
  }
  return cost;
}

int64_t kv_bytes_per_token(const ModelConfig& config, DType dtype) {
  const int64_t layers = config.num_hidden_layers - config.count(LayerType::linear_attention);
  return 2 * layers * config.num_key_value_heads * config.head_dim * size_of(dtype);
}

int64_t state_bytes(const ModelConfig& config, DType dtype) {
  const int64_t size = std::max<int64_t>(size_of(dtype), 4);
  return int64_t{config.count(LayerType::linear_attention)} * config.num_attention_heads * config.head_dim *
         config.head_dim * size;
}

LatentWidths LatentWidths::load() {
  const std::filesystem::path file = configs_folder() / "mla.json";
  std::ifstream in(file);
  const auto json = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
  LatentWidths widths;
  for (const auto& [key, value] :
       {std::pair{"kv_lora_rank", &widths.kv_lora_rank}, std::pair{"qk_rope_head_dim", &widths.qk_rope_head_dim}}) {
    if (!json.is_object() || !json.contains(key) || !json[key].is_number_unsigned() || json[key] == 0)
      throw ConfigError(file.string() + ": " + key + " is missing or no positive whole number");
    *value = json[key];
  }
  return widths;
}

MemoryAccess memory_access(const ModelConfig& config, const LatentWidths& latent, int64_t ctx, DType dtype) {
  const double n = config.num_attention_heads, d = config.head_dim, size = static_cast<double>(size_of(dtype));
  const double rows = static_cast<double>(ctx) + 2;  // ctx and the new token's are read, the new token's is written
  MemoryAccess access;
  access.mha = rows * 2 * n * d * size;
  access.gqa = rows * 2 * config.num_key_value_heads * d * size;
  access.mla = rows * static_cast<double>(latent.kv_lora_rank + latent.qk_rope_head_dim) * size;
  access.linear = 2 * n * d * d * state_size(dtype);
  for (const Operation& op : CostModel(config, dtype).append(1, ctx, 1))
    if (op.part == Part::attention || op.part == Part::lightning)
      access.hybrid += op.count * op.least.bytes / config.num_hidden_layers;
  return access;
}

}  // namespace ringbench
