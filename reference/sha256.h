// sha256.h: SHA-256 (FIPS 180-4), for naming configs, weights and records by their content. Not for secrets.
#pragma once

#include <string>
#include <string_view>

namespace ringbench {

// 64 lower-case hex digits.
std::string sha256_hex(std::string_view bytes);

}  // namespace ringbench
