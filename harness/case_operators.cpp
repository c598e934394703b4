// case_operators.cpp: see case_operators.h: the table of operators, and what they share.
#include "harness/case_operators.h"

#include <algorithm>

#include "harness/case_layers.h"
#include "harness/case_linear_attention.h"
#include "harness/failure.h"
#include "harness/parity_walk.h"
#include "harness/plan.h"
#include "harness/words.h"
#include "reference/random.h"

namespace ringbench {
namespace {

constexpr std::pair<const char*, Rounding> kRoundings[] = {{"f64", Rounding::none},  {"f32", Rounding::f32},
                                                           {"tf32", Rounding::tf32}, {"bf16", Rounding::bf16},
                                                           {"f16", Rounding::f16},   {"fp8", Rounding::fp8_e4m3}};
constexpr std::pair<const char*, Rounding CaseRounding::*> kPoints[] = {{"inputs", &CaseRounding::inputs},
                                                                        {"dot", &CaseRounding::dot},
                                                                        {"state", &CaseRounding::state},
                                                                        {"output", &CaseRounding::output}};

Rounding rounding_to(DType type) {
  switch (type) {
    case DType::bf16: return Rounding::bf16;
    case DType::f16: return Rounding::f16;
    case DType::f32: return Rounding::f32;
    default: return Rounding::none;
  }
}

template <size_t N, class T>
T choose_word(const std::string& word, const std::pair<const char*, T> (&known)[N], const std::string& what) {
  std::vector<std::string> words;
  for (const auto& [name, value] : known) {
    if (word == name) return value;
    words.emplace_back(name);
  }
  const std::string near = nearest_word(word, words);
  throw UsageError("--rounding: '" + word + "' is not a " + what + ". Use " + join(words, ", ") + "." +
                   (near.empty() ? "" : " Did you mean " + near + "?"));
}

}  // namespace

CaseRounding standard_rounding(const OperatorCase& c, DType output) {
  const Rounding own = rounding_to(c.dtype);
  return {own, own, Rounding::f32, rounding_to(output)};
}

void apply_rounding(const std::vector<std::string>& words, CaseRounding& rounding) {
  for (const std::string& word : words) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos)
      throw UsageError("--rounding: '" + word + "' is not POINT=TYPE, such as dot=tf32.");
    rounding.*choose_word(word.substr(0, equals), kPoints, "rounding point") =
        choose_word(word.substr(equals + 1), kRoundings, "type");
  }
}

std::string rounding_text(const CaseRounding& rounding) {
  std::string text;
  for (const auto& [point, member] : kPoints)
    for (const auto& [name, value] : kRoundings)
      if (value == rounding.*member) text += (text.empty() ? "" : ",") + std::string(point) + "=" + name;
  return text;
}

const std::vector<CaseOperator>& case_operators() {
  static const std::vector<CaseOperator> table = {
      {"linear_attention", linear_attention_cases, compute_linear_attention, linear_attention_parts,
       linear_attention_length, diagnose_linear_attention, linear_attention_flops},
      {"softmax_attention", softmax_attention_cases, compute_softmax_attention, softmax_attention_parts,
       softmax_attention_length, diagnose_ratio, softmax_attention_flops},
      {"group_norm_gate", group_norm_gate_cases, compute_group_norm_gate, whole, group_norm_gate_length, diagnose_ratio,
       elementwise_flops},
      {"qk_norm_rope", qk_norm_rope_cases, compute_qk_norm_rope, whole, qk_norm_rope_length, diagnose_ratio,
       elementwise_flops},
      {"router", router_cases, compute_router, whole, router_length, diagnose_ratio, elementwise_flops},
      {"moe", moe_cases, compute_moe, whole, moe_length, diagnose_ratio, moe_flops},
  };
  return table;
}

const CaseOperator& find_operator(const std::string& name) {
  std::vector<std::string> names;
  for (const CaseOperator& op : case_operators()) {
    if (op.name == name) return op;
    names.push_back(op.name);
  }
  const std::string near = nearest_word(name, names);
  throw UsageError("--op: '" + name + "' is not an operator. Use " + join(names, ", ") + " or all." +
                   (near.empty() ? "" : " Did you mean " + near + "?"));
}

const std::vector<std::string>& case_shapes() {
  static const std::vector<std::string> shapes = {"ring-lite", "ring-mini", "ring-flash", "awkward"};
  return shapes;
}

std::vector<OperatorCase> make_cases(const CaseOperator& op, const std::string& shape) {
  const std::vector<std::string>& known = case_shapes();
  if (std::find(known.begin(), known.end(), shape) == known.end()) {
    const std::string near = nearest_word(shape, known);
    throw UsageError("--shapes: '" + shape + "' is not a shape. Use " + join(known, ", ") + "." +
                     (near.empty() ? "" : " Did you mean " + near + "?"));
  }
  std::vector<OperatorCase> cases = op.cases(shape);
  for (OperatorCase& c : cases) {
    c.truth = op.compute(c, {});
    c.fingerprint = fingerprint_of(c);
  }
  return cases;
}

ModelConfig model_of_shape(const std::string& shape) {
  return resolve_model(shape == "ring-lite" ? "ring-lite-linear" : shape + "-linear-2.0", "", "").config;
}

HostTensor random_tensor(const OperatorCase& c, const std::string& name, DType dtype, std::vector<int64_t> shape,
                         float sigma, float mean) {
  HostTensor tensor(dtype, std::move(shape));
  const RandomNormal normal = RandomNormal::around_zero(random_key(0, c.op + " " + c.name + " " + name), sigma);
  const auto fill = [&](auto values) {
    using T = typename decltype(values)::value_type;
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(normal(i) + mean);
  };
  if (dtype == DType::bf16)
    fill(tensor.as<bf16>());
  else
    fill(tensor.as<float>());
  return tensor;
}

std::vector<double> input_values(const OperatorCase& c, const std::string& name, Rounding rounding) {
  std::vector<double> values = to_doubles(c.inputs.at(name));
  if (!values.empty()) round_to(rounding, std::span(values), static_cast<size_t>(c.inputs.at(name).shape().back()));
  return values;
}

HostTensor f64_tensor(std::vector<int64_t> shape, const std::vector<double>& values) {
  HostTensor tensor(DType::f64, std::move(shape));
  std::copy(values.begin(), values.end(), tensor.as<double>().begin());
  return tensor;
}

std::vector<CasePart> whole(const OperatorCase& c, const std::string& output) {
  return {{"", {{0, c.truth.at(output).size()}}}};
}

}  // namespace ringbench
