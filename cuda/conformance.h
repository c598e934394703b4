// conformance.h: micro-kernels, one or more for every word of vocabulary.h and hopper.h. Each writes fixed 32-bit
// words; test_conformance.cpp compares them with what the documentation says they must be. The emulator is our reading
// of that documentation: whatever it runs is worth as much as this is on a GPU.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/gpu.h"
#include "reference/bf16.h"

namespace ringbench::RINGBENCH_BACKEND {

// How words are compared. exact: equal. relative: as floats, to `tolerance`, or both below the smallest normal number,
// or both NaN. bf16: as pairs, any NaN equals any NaN.
enum class Match { exact, relative, bf16 };

struct ConformanceRecord {
  std::string name;
  Match match = Match::exact;
  double tolerance = 0;
  std::vector<uint32_t> words;
};

struct ConformanceTest {
  std::string_view name;
  bool hopper;  // needs compute capability 9.0
  std::vector<ConformanceRecord> (*run)();
};
std::vector<ConformanceTest> conformance_tests();
std::vector<ConformanceTest> conformance_tests_sm90();

// A fixed scramble, the same everywhere: inputs, for kernels and for what is expected of them.
constexpr uint32_t scramble(uint32_t x) {
  x = (x ^ x >> 16) * 0x7FEB352Du;
  x = (x ^ x >> 15) * 0x846CA68Bu;
  return x ^ x >> 16;
}
// -8 .. 8: products and sums of many are exact in float, in any order.
constexpr float small_integer(uint32_t i, uint32_t salt) {
  return static_cast<float>(static_cast<int>(scramble(i + salt * 65536) % 17) - 8);
}

// Shapes that a test needs to know.
struct WgmmaCase {
  std::string_view name;
  int n, k;
  bool a_in_registers, a_mn_major, b_mn_major, accumulate;
};
std::span<const WgmmaCase> wgmma_cases();
struct TensorCorner {
  int x, y;
};
std::span<const TensorCorner> tensor_corners();  // of boxes of 32 rows of a matrix of 100 x 136

template <class T> DeviceBuffer<T> to_device(const std::vector<T>& values) {
  DeviceBuffer<T> buffer(static_cast<int64_t>(values.size()));
  copy_to_device(buffer.data(), values.data(), buffer.size(), {});
  synchronize({});
  return buffer;
}
template <class T> std::vector<T> to_host(const DeviceBuffer<T>& buffer) {
  std::vector<T> values(static_cast<size_t>(buffer.size()));
  copy_to_host(values.data(), buffer.data(), buffer.size(), {});
  synchronize({});
  return values;
}
inline std::vector<uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<uint32_t> words;
  for (const float x : values) words.push_back(std::bit_cast<uint32_t>(x));
  return words;
}

}  // namespace ringbench::RINGBENCH_BACKEND
