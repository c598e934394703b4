// case.h: an operator's case for somebody else's kernel: inputs, what the operator makes of them in f64, and the
// parameters in between; a folder that any program can read. What the operators compute is in case_operators.h, how a
// candidate's outputs are judged in case_judge.h.
//
//   DIR/CASE/case.json, inputs.safetensors, truth.safetensors          written by `parity --emit DIR`
//   THEIRS/CASE/outputs.safetensors, record.json                       written by a candidate (foreign/run_case.py)
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "reference/tensor.h"

namespace ringbench {

using Tensors = std::map<std::string, HostTensor>;

struct OperatorCase {
  std::string name;          // "linear_attention-ring-mini-decode-bf16", a folder's name
  std::string op;            // linear_attention softmax_attention group_norm_gate qk_norm_rope router moe
  DType dtype = DType::f32;  // of the activations
  std::shared_ptr<nlohmann::ordered_json> parameters;  // what else the operator needs: one object, never null
  Tensors inputs;                                      // every value is exact in its type
  Tensors truth;                                       // f64; ids of experts i32
  std::string fingerprint;                             // of all but the truth
};

// Hex SHA-256 over all but the truth.
std::string fingerprint_of(const OperatorCase& c);

// Writes DIR/<name>. Throws Failure(environment).
void write_case(const OperatorCase& c, const std::filesystem::path& folder);
// Reads one case folder. Throws UsageError naming file and reason; also where the fingerprint is not that of the
// content.
OperatorCase read_case(const std::filesystem::path& folder);
// Names of the cases in a folder, sorted. Throws UsageError where there are none.
std::vector<std::string> case_names(const std::filesystem::path& folder);

// What a candidate made of one case.
struct CaseOutputs {
  Tensors tensors;
  std::string function, kernel_sha256, device, software;  // as the record says; may be empty
  std::vector<double> times_ms;                           // one for each repetition; empty: not timed
};
// Reads THEIRS/<name>; empty where the candidate has no such folder. Throws UsageError for what is missing, left over,
// of another shape or type, or made from another case.
std::optional<CaseOutputs> read_outputs(const std::filesystem::path& folder, const OperatorCase& c);

}  // namespace ringbench
