// case_operators.h: the operators that cases are made of: which cases a shape gives, what the operator computes with
// and without a candidate's roundings, which parts of its outputs are judged apart, and what a wrong output looks like.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "harness/case.h"
#include "reference/config.h"
#include "reference/precision.h"

namespace ringbench {

// Where a candidate rounds. `none` is f64: the truth.
struct CaseRounding {
  Rounding inputs = Rounding::none;  // as they enter the kernel
  Rounding dot = Rounding::none;     // what its matrix products multiply; of elementwise operators, what lies between
  Rounding state = Rounding::none;   // as it is kept after the call
  Rounding output = Rounding::none;  // as it is stored

  bool operator==(const CaseRounding&) const = default;
};
// From types: inputs and dot as the case's tensors, state f32, output as the candidate stores it.
CaseRounding standard_rounding(const OperatorCase& c, DType output);
// "inputs=bf16", "dot=tf32", ... changes `rounding`. Throws UsageError.
void apply_rounding(const std::vector<std::string>& words, CaseRounding& rounding);
std::string rounding_text(const CaseRounding& rounding);  // "inputs=bf16,dot=bf16,state=f32,output=bf16"

// A part of an output that is judged by itself, so that a short sequence does not drown among long ones.
struct CasePart {
  std::string where;                              // "sequence 2, head 5", or "" for the whole
  std::vector<std::pair<int64_t, int64_t>> runs;  // (first element, count)
  bool untouched = false;                         // equals its input bit by bit
};

// Of each output, what its root mean square error may be, relative to the truth's root mean square.
using Budgets = std::map<std::string, double>;

struct CaseOperator {
  std::string name;
  std::vector<OperatorCase> (*cases)(const std::string& shape);  // without truth and fingerprint
  Tensors (*compute)(const OperatorCase& c, const CaseRounding& rounding);
  std::vector<CasePart> (*parts)(const OperatorCase& c, const std::string& output);
  double (*length)(const OperatorCase& c);  // of its longest sum
  // What kind of fault outputs that failed point to, in words; empty: none that is known.
  std::string (*diagnose)(const OperatorCase& c, const Tensors& outputs, const Budgets& budgets);
  double (*flops)(const OperatorCase& c);
};
const std::vector<CaseOperator>& case_operators();
// Throws UsageError with the nearest name.
const CaseOperator& find_operator(const std::string& name);

const std::vector<std::string>& case_shapes();  // ring-lite ring-mini ring-flash awkward
// The cases of one operator, truth and fingerprint included. Throws UsageError for an unknown shape.
std::vector<OperatorCase> make_cases(const CaseOperator& op, const std::string& shape);

// --- What operators share ---

// The model whose widths a shape has.
ModelConfig model_of_shape(const std::string& shape);
// Nearly normal values, exact in `dtype`; they follow from case and tensor name alone.
HostTensor random_tensor(const OperatorCase& c, const std::string& name, DType dtype, std::vector<int64_t> shape,
                         float sigma = 1, float mean = 0);
// An input as f64, rounded as it enters the kernel.
std::vector<double> input_values(const OperatorCase& c, const std::string& name, Rounding rounding);
HostTensor f64_tensor(std::vector<int64_t> shape, const std::vector<double>& values);
// One part: all of it.
std::vector<CasePart> whole(const OperatorCase& c, const std::string& output);

}  // namespace ringbench
