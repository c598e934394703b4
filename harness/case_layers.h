// case_layers.h: cases of the other operators: softmax attention, norms, rotary positions, router and experts. Internal
// to case_*.cpp.
#pragma once

#include <string>
#include <vector>

#include "harness/case_operators.h"

namespace ringbench {

std::vector<OperatorCase> softmax_attention_cases(const std::string& shape);
Tensors compute_softmax_attention(const OperatorCase& c, const CaseRounding& rounding);
std::vector<CasePart> softmax_attention_parts(const OperatorCase& c, const std::string& output);
double softmax_attention_length(const OperatorCase& c);
double softmax_attention_flops(const OperatorCase& c);

std::vector<OperatorCase> group_norm_gate_cases(const std::string& shape);
Tensors compute_group_norm_gate(const OperatorCase& c, const CaseRounding& rounding);
double group_norm_gate_length(const OperatorCase& c);

std::vector<OperatorCase> qk_norm_rope_cases(const std::string& shape);
Tensors compute_qk_norm_rope(const OperatorCase& c, const CaseRounding& rounding);
double qk_norm_rope_length(const OperatorCase& c);

std::vector<OperatorCase> router_cases(const std::string& shape);
Tensors compute_router(const OperatorCase& c, const CaseRounding& rounding);
double router_length(const OperatorCase& c);

std::vector<OperatorCase> moe_cases(const std::string& shape);
Tensors compute_moe(const OperatorCase& c, const CaseRounding& rounding);
double moe_length(const OperatorCase& c);
double moe_flops(const OperatorCase& c);

// Of operators that move bytes: about one operation an element.
double elementwise_flops(const OperatorCase& c);
// Names a constant ratio between outputs and truth; other faults of these operators are not told apart.
std::string diagnose_ratio(const OperatorCase& c, const Tensors& outputs, const Budgets& budgets);

}  // namespace ringbench
