// gemm.h: what gemm_cublas.cpp, which nvcc does not see, needs of kernels.
#pragma once

#include <cstdint>

#include "cuda/gpu.h"
#include "reference/bf16.h"

namespace ringbench::RINGBENCH_BACKEND {

// to[i] = from[i], rounded to nearest; [n].
void round_to_bf16(bf16* to, const float* from, int64_t n, const Stream& stream);

}  // namespace ringbench::RINGBENCH_BACKEND
