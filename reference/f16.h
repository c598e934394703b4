// f16.h: the IEEE half as storage: from its bits to float. Rounding to it is in precision.h.
#pragma once

#include <bit>
#include <cstdint>

namespace ringbench {

// Exact; subnormals come out right because 2^112 scales them up. NaN and infinity stay so.
constexpr float half_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(bits & 0x7fff) << 13;
  const uint32_t finite = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
  return std::bit_cast<float>(sign | ((bits & 0x7c00) == 0x7c00 ? magnitude | 0x7f800000u : finite));
}

}  // namespace ringbench
