// conclusion.h: what rows come to, in words: how many times faster the hybrid is than its softmax twin, and how far
// estimates were off. The lines under a table.
#pragma once

#include <span>

#include "harness/result.h"

namespace ringbench {

Strings conclusion(std::span<const Result> rows);

}  // namespace ringbench
