// probe.h: seconds of a large product and of a copy on this device: what it can do at most, for calibrations. For
// harness/, like cuda_engine.h.
#pragma once

#include <cstdint>
#include <vector>

#include "reference/tensor.h"

namespace ringbench {

// x [size, size] times w^T, bf16 or f32, by the variant that the engine takes. Each sample is one run, after two
// others.
namespace emulated {
std::vector<double> gemm_seconds(DType dtype, int64_t size, int samples);
std::vector<double> copy_seconds(int64_t bytes, int samples);  // read once and written once
}  // namespace emulated

namespace gpu {
std::vector<double> gemm_seconds(DType dtype, int64_t size, int samples);
std::vector<double> copy_seconds(int64_t bytes, int samples);
}  // namespace gpu

}  // namespace ringbench
