// bf16.h: the 16-bit brain float as storage; the only definition in the project, plain enough for kernels too.
// Not arithmetic: values are widened to f32, computed there, and rounded back.
#pragma once

#include <bit>
#include <cstdint>

namespace ringbench {

struct bf16 {
  uint16_t bits = 0;

  bf16() = default;
  // Rounds to nearest, ties to even; NaN stays NaN (quiet).
  constexpr explicit bf16(float value) : bits(round_bits(value)) {}
  constexpr explicit operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

  static constexpr bf16 from_bits(uint16_t bits) {
    bf16 value;
    value.bits = bits;
    return value;
  }

 private:
  static constexpr uint16_t round_bits(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((u >> 16) | 0x40u);  // NaN
    return static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
};
static_assert(sizeof(bf16) == 2);

}  // namespace ringbench
