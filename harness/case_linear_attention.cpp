// case_linear_attention.cpp: see case_linear_attention.h.
#include "harness/case_linear_attention.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>

#include "reference/operators.h"

namespace ringbench {
namespace {

struct Sequence {
  int64_t length, slot;
  bool has_initial_state;
};
using Batch = std::vector<Sequence>;

// 245 and 117: another tail for chunks of 16, 32, 64 (and 128). The last slot belongs to nobody: a kernel that takes -1
// for an index writes there.
const Batch kPrefill = {{245, 1, false}, {61, 0, true}};
const Batch kDecode = {{1, 2, true}, {1, 0, true}, {1, 1, true}, {1, -1, false}};
const Batch kDecodeFirst = {{1, 3, true}, {1, 1, true}, {117, 0, false}, {86, 2, true}, {1, -1, false}};
const Batch kPrefillFirst = {{117, 0, false}, {86, 2, true}, {1, 3, true}, {1, 1, true}, {1, -1, false}};
// Around the edges of a chunk; prompts that begin in the middle (a chunk of a longer one) and at the start in turn.
const Batch kEdges = {{1, 5, false}, {63, 1, true}, {64, 0, false}, {65, 4, true}, {129, 3, false}, {16, 7, false}};
// Whole chunks of 64 and nothing before them: all that some kernels take.
const Batch kFresh = {{192, 1, false}, {64, 0, false}};

int64_t slots_of(const Batch& batch) {
  int64_t last = 0;
  for (const Sequence& s : batch) last = std::max(last, s.slot);
  return last + 2;
}

struct Heads {
  int64_t heads, head_dim;
  int layers, layer;  // which one's decay
};

OperatorCase make_case(const std::string& name, const Heads& shape, const Batch& batch, const std::string& order,
                       DType dtype) {
  OperatorCase c;
  c.parameters = std::make_shared<nlohmann::ordered_json>();
  c.op = "linear_attention";
  c.name = c.op + "-" + name + "-" + std::string(name_of(dtype));
  c.dtype = dtype;
  std::vector<int64_t> cu_seqlens = {0}, slots;
  std::vector<bool> has_initial_state;
  for (const Sequence& s : batch) {
    cu_seqlens.push_back(cu_seqlens.back() + s.length);
    slots.push_back(s.slot);
    has_initial_state.push_back(s.has_initial_state);
  }
  ModelConfig config;
  config.num_attention_heads = static_cast<int>(shape.heads);
  config.num_hidden_layers = shape.layers;
  *c.parameters = {{"heads", shape.heads},
                   {"head_dim", shape.head_dim},
                   {"scale", 1 / std::sqrt(static_cast<double>(shape.head_dim))},
                   {"scale_applied", "once: o = scale q S"},
                   {"log_decay", config.log_decay(shape.layer)},
                   {"layer", shape.layer},
                   {"num_hidden_layers", shape.layers},
                   {"slope_layer_offset", "0"},
                   {"state_layout", "[slots, heads, d_k, d_v]"},
                   {"order", order},
                   {"cu_seqlens", cu_seqlens},
                   {"slots", slots},
                   {"has_initial_state", has_initial_state}};
  const std::vector<int64_t> tokens = {cu_seqlens.back(), shape.heads, shape.head_dim};
  for (const char* tensor : {"q", "k", "v"}) c.inputs.emplace(tensor, random_tensor(c, tensor, dtype, tokens));
  // Twice as large as one token's k v: as after a few tokens.
  c.inputs.emplace("state", random_tensor(c, "state", DType::f32,
                                          {slots_of(batch), shape.heads, shape.head_dim, shape.head_dim}, 2));
  return c;
}

}  // namespace

Sequences Sequences::of(const OperatorCase& c) {
  return {c.parameters->at("cu_seqlens").get<std::vector<int64_t>>(),
          c.parameters->at("slots").get<std::vector<int64_t>>(),
          c.parameters->at("has_initial_state").get<std::vector<bool>>()};
}

std::vector<OperatorCase> linear_attention_cases(const std::string& shape) {
  std::vector<OperatorCase> cases;
  const auto add = [&](const std::string& phase, const Heads& heads, const Batch& batch, const std::string& order,
                       DType dtype) { cases.push_back(make_case(shape + "-" + phase, heads, batch, order, dtype)); };
  if (shape != "awkward") {
    const ModelConfig config = model_of_shape(shape);
    // The fastest decay and the last linear layer's, which is nearly flat: where faults of the schedule hide.
    const Heads first{config.num_attention_heads, config.head_dim, config.num_hidden_layers, 0};
    const Heads last{config.num_attention_heads, config.head_dim, config.num_hidden_layers,
                     config.num_hidden_layers - 2};
    add("prefill", first, kPrefill, "prefill", DType::bf16);
    add("decode", last, kDecode, "decode", DType::bf16);
    add("mixed-decode-first", first, kDecodeFirst, "decode first", DType::f32);
    add("mixed-prefill-first", last, kPrefillFirst, "prefill first", DType::bf16);
    return cases;
  }
  for (const DType dtype : {DType::f32, DType::bf16}) {
    add("edges-3x64", {3, 64, 20, 18}, kEdges, "prefill", dtype);
    add("fresh-2x128", {2, 128, 20, 4}, kFresh, "prefill", dtype);
    add("edges-1x128", {1, 128, 20, 9}, kEdges, "prefill", dtype);
    add("mixed-prefill-first-5x32", {5, 32, 28, 1}, kPrefillFirst, "prefill first", dtype);
    add("mixed-decode-first-2x128", {2, 128, 28, 20}, kDecodeFirst, "decode first", dtype);
    add("decode-12x64", {12, 64, 20, 5}, kDecode, "decode", dtype);
  }
  return cases;
}

Tensors compute_linear_attention(const OperatorCase& c, const CaseRounding& rounding) {
  const std::vector<int64_t>& shape = c.inputs.at("state").shape();
  const int64_t heads = shape[1], d = shape[2], size = heads * d * d;
  const Sequences sequences = Sequences::of(c);
  const std::vector<double> q = input_values(c, "q", rounding.inputs), k = input_values(c, "k", rounding.inputs),
                            v = input_values(c, "v", rounding.inputs),
                            log_decay = c.parameters->at("log_decay").get<std::vector<double>>();
  std::vector<double> state = input_values(c, "state", Rounding::none), o(q.size(), 0.0);
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (sequences.slots[i] < 0) continue;
    const std::span<double> kv =
        std::span(state).subspan(static_cast<size_t>(sequences.slots[i] * size), static_cast<size_t>(size));
    if (!sequences.has_initial_state[i]) std::fill(kv.begin(), kv.end(), 0.0);
    const int64_t row = sequences.first(i) * heads * d;
    linear_attention({sequences.length(i), heads, d, q.data() + row, k.data() + row, v.data() + row, log_decay.data(),
                      kv.data(), o.data() + row},
                     rounding.dot);
    round_to(rounding.state, kv, static_cast<size_t>(d));
  }
  round_to(rounding.output, std::span(o), static_cast<size_t>(d));
  Tensors out;
  out.emplace("o", f64_tensor(c.inputs.at("q").shape(), o));
  out.emplace("state", f64_tensor(shape, state));
  return out;
}

std::vector<CasePart> linear_attention_parts(const OperatorCase& c, const std::string& output) {
  const Sequences sequences = Sequences::of(c);
  const std::vector<int64_t>& shape = c.inputs.at("state").shape();
  const int64_t heads = shape[1], d = shape[2];
  std::vector<CasePart> parts;
  std::vector<bool> touched(static_cast<size_t>(shape[0]), false);
  for (size_t i = 0; i < sequences.size(); ++i) {
    const int64_t slot = sequences.slots[i];
    if (slot < 0) continue;
    touched[static_cast<size_t>(slot)] = true;
    for (int64_t h = 0; h < heads; ++h) {
      CasePart part{"sequence " + std::to_string(i) + ", head " + std::to_string(h), {}};
      if (output == "state")
        part.runs.emplace_back((slot * heads + h) * d * d, d * d);
      else
        for (int64_t t = sequences.first(i); t < sequences.cu_seqlens[i + 1]; ++t)
          part.runs.emplace_back((t * heads + h) * d, d);
      parts.push_back(std::move(part));
    }
  }
  if (output != "state") return parts;
  for (int64_t slot = 0; slot < shape[0]; ++slot)
    if (!touched[static_cast<size_t>(slot)])
      parts.push_back({"slot " + std::to_string(slot), {{slot * heads * d * d, heads * d * d}}, true});
  return parts;
}

double linear_attention_length(const OperatorCase& c) {
  const Sequences sequences = Sequences::of(c);
  int64_t longest = 0;
  for (size_t i = 0; i < sequences.size(); ++i) longest = std::max(longest, sequences.length(i));
  return static_cast<double>(longest + c.inputs.at("state").shape()[2]);
}

double linear_attention_flops(const OperatorCase& c) {
  const std::vector<int64_t>& shape = c.inputs.at("q").shape();
  return 4.0 * static_cast<double>(shape[0] * shape[1] * shape[2] * shape[2]);
}

}  // namespace ringbench
