// case_linear_attention.h: cases of linear attention: batches as engines run them. Internal to case_*.cpp.
#pragma once

#include <vector>

#include "harness/case_operators.h"

namespace ringbench {

// Sequences of a batch: tokens [cu_seqlens[i], cu_seqlens[i+1]), state in slots[i].
struct Sequences {
  std::vector<int64_t> cu_seqlens;      // [N + 1]
  std::vector<int64_t> slots;           // [N]; -1: padding, which computes nothing that counts
  std::vector<bool> has_initial_state;  // [N]; false: it begins with zeros, whatever its slot holds

  static Sequences of(const OperatorCase& c);
  size_t size() const { return slots.size(); }
  int64_t first(size_t i) const { return cu_seqlens[i]; }
  int64_t length(size_t i) const { return cu_seqlens[i + 1] - cu_seqlens[i]; }
};

std::vector<OperatorCase> linear_attention_cases(const std::string& shape);
Tensors compute_linear_attention(const OperatorCase& c, const CaseRounding& rounding);
std::vector<CasePart> linear_attention_parts(const OperatorCase& c, const std::string& output);
double linear_attention_length(const OperatorCase& c);
double linear_attention_flops(const OperatorCase& c);
// case_faults.cpp
std::string diagnose_linear_attention(const OperatorCase& c, const Tensors& outputs, const Budgets& budgets);

}  // namespace ringbench
