// probe.h: the reference's operators on made-up data, to be timed from outside: what this machine can do with them.
// Nothing is timed here, and no Eigen is seen.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "reference/tensor.h"

namespace ringbench {

// Work that is set up and can be done again and again, by the threads that set_threads() allows.
struct Probe {
  double flops = 0, bytes = 0;  // of one run
  std::function<void()> run;
};

// f32 or f64 each.
Probe fma_probe(DType dtype);  // fused multiply-adds on registers alone, on every thread: the peak
Probe gemm_probe(DType dtype, int64_t rows, int64_t columns, int64_t inner);
Probe memory_read_probe(int64_t bytes);  // read once by all threads
// Four query heads on each of `kv_heads`: `tokens` more after `position` others. flops: 4 head_dim for each query head
// and each key that a token sees.
Probe softmax_attention_probe(DType dtype, int64_t head_dim, int64_t kv_heads, int64_t tokens, int64_t position);
// In chunks of 64 tokens; flops: those of the recurrence, 4 head_dim^2, and of the chunks, 4 x 64 head_dim, for each
// head and token. One token: the recurrence alone.
Probe lightning_attention_probe(DType dtype, int64_t head_dim, int64_t heads, int64_t tokens);

std::string eigen_description();  // "3.4.0: AVX512, FMA, AVX2, ..."

}  // namespace ringbench
