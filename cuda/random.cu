// random.cu: random weights where they are used. The arithmetic is RandomNormal's (reference/random.h), integers and
// one rounded multiplication, so that the bits are the host's.
#include "cuda/kernels.h"
#include "cuda/vocabulary.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

constexpr int64_t kThreads = 256;
constexpr int64_t kSlice = 16 * kThreads;  // elements of one line that a block fills

// A block fills one slice of one line out[i, j, :]; 64-bit divisions happen once a block, not once an element. Integer
// arithmetic bounds it: about 40 instructions for two bytes.
template <class Real> __global__ void random_fill_kernel(RandomFillArgs<Real> a, int64_t slices) {
  const int64_t line = blockIdx.x / slices, begin = blockIdx.x % slices * kSlice;
  const int64_t end = min(begin + kSlice, a.c);
  const int64_t first = a.first + line / a.b * a.stride_a + line % a.b * a.stride_b;
  for (int64_t l = begin + threadIdx.x; l < end; l += blockDim.x) {
    const float value = a.normal(static_cast<uint64_t>(first + l * a.stride_c));
    a.out[line * a.c + l] = static_cast<Real>(a.round_to_bf16 ? static_cast<float>(bf16(value)) : value);
  }
}

}  // namespace

template <class Real> void random_fill_plain(const RandomFillArgs<Real>& a, Stream stream) {
  const int64_t slices = (a.c + kSlice - 1) / kSlice, blocks = a.a * a.b * slices;
  if (blocks == 0) return;
  const int64_t threads = a.c < kThreads ? (a.c + 31) / 32 * 32 : kThreads;
  launch(random_fill_kernel<Real>, dim3(static_cast<unsigned>(blocks)), dim3(static_cast<unsigned>(threads)), 0, stream,
         a, slices);
}
template void random_fill_plain(const RandomFillArgs<float>&, Stream);
template void random_fill_plain(const RandomFillArgs<bf16>&, Stream);

}  // namespace ringbench::RINGBENCH_BACKEND
