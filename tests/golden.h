// golden.h: a folder of tests/goldens: a checkpoint and what public code computed from it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "reference/weights.h"

namespace ringbench {

inline std::filesystem::path goldens() { return std::filesystem::path(RINGBENCH_SOURCE_DIR) / "tests" / "goldens"; }

inline const std::vector<std::string>& golden_cases() {
  static const std::vector<std::string> cases{"gpt_oss",       "qwen2",     "qwen3",      "v1_hybrid",
                                              "v1_softmax",    "v2_hybrid", "v2_softmax", "v2_hybrid_d128_bf16",
                                              "v2_softmax_mtp"};
  return cases;
}

// Any number tensor as f64.
inline std::vector<double> as_doubles(const HostTensorView& t) {
  std::vector<double> values;
  const auto copy = [&](auto span) { values.assign(span.begin(), span.end()); };
  switch (t.dtype) {
    case DType::f64: copy(t.as<double>()); break;
    case DType::f32: copy(t.as<float>()); break;
    case DType::i64: copy(t.as<int64_t>()); break;
    case DType::i32: copy(t.as<int32_t>()); break;
    default: throw std::logic_error("as_doubles: unexpected type");
  }
  return values;
}

inline std::vector<int32_t> token_ids(const SafeTensors& file, const std::string& name) {
  const std::vector<double> values = as_doubles(file.at(name));
  return {values.begin(), values.end()};
}

// Largest |a - b|; infinite where the sizes differ, NaN where a value is.
inline double max_abs_difference(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(a[i] - b[i]);
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

inline double max_abs(const std::vector<double>& a) {
  return max_abs_difference(a, std::vector<double>(a.size(), 0.0));
}

}  // namespace ringbench
