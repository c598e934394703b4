// random.h: counter-based random numbers: a value depends on seed, name and index alone, so that any thread, machine or
// GPU makes the same bits in any order. Integers, and one rounded float multiplication; no libm, nothing to contract.
#pragma once

#include <cstdint>
#include <string_view>

namespace ringbench {

// FNV-1a, 64 bits.
constexpr uint64_t fnv1a(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

// Finaliser of splitmix64 (Stafford's mix 13): a bijection in which every input bit moves every output bit.
constexpr uint64_t mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

constexpr uint64_t random_key(uint64_t seed, std::string_view name) { return mix64(mix64(seed) ^ fnv1a(name)); }

// The index-th 64 random bits of a key: splitmix64, entered at any place.
constexpr uint64_t random_bits(uint64_t key, uint64_t index) { return mix64(key + index * 0x9e3779b97f4a7c15u); }

// Nearly normal numbers: the sum of four 16-bit uniforms (Irwin-Hall), which ends at 3.46 standard deviations.
struct RandomNormal {
  uint64_t key = 0;
  int32_t centre = 0;  // added to the sum before it is scaled
  float step = 0.f;    // what one unit of the sum is worth

  // Mean of the sum, 4 (2^16 - 1) / 2, and its standard deviation, sqrt(4 (2^32 - 1) / 12).
  static constexpr int32_t sum_mean = 131070;
  static constexpr double sum_std = 37837.22723720648;

  // Zero mean.
  static constexpr RandomNormal around_zero(uint64_t key, float sigma) {
    return {key, -sum_mean, static_cast<float>(sigma / sum_std)};
  }
  // Mean 1 to within a step. The 1 is added as an integer: x * step + 1 is one rounding where a compiler contracts
  // it and two where it does not. Needs sigma > 0.01: the sum must stay below 2^24 to be exact in f32.
  static constexpr RandomNormal around_one(uint64_t key, float sigma) {
    return {key, static_cast<int32_t>(sum_std / sigma) - sum_mean, static_cast<float>(sigma / sum_std)};
  }

  constexpr float operator()(uint64_t index) const {
    const uint64_t bits = random_bits(key, index);
    const uint64_t sum = (bits & 0xffff) + ((bits >> 16) & 0xffff) + ((bits >> 32) & 0xffff) + (bits >> 48);
    return static_cast<float>(static_cast<int32_t>(sum) + centre) * step;
  }
};

}  // namespace ringbench
