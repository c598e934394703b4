// gemm.cu: out = x w^T + bias where a library would not do: any shape plainly, and few rows at the speed of memory.
#include "cuda/gemm.h"

#include "cuda/kernels.h"
#include "cuda/vectors.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

// A thread per output.
template <class Real, class Out> __global__ void gemm_plain_kernel(GemmArgs<Real, Out> a) {
  const int64_t task = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, row = task / a.columns,
                column = task % a.columns;
  if (row >= a.rows) return;
  const Real *x = a.x + row * a.x_stride, *w = a.w + column * a.inner;
  float sum = 0;
  for (int64_t i = 0; i < a.inner; ++i) sum += to_float(x[i]) * to_float(w[i]);
  a.out[row * a.columns + column] = narrow<Out>(sum + (a.bias ? a.bias[column] : 0.0f));
}

constexpr int kWarps = 4;  // per block
constexpr int kAhead = 4;  // 16-byte loads of weights that a lane has in flight

// A warp per row of w, which is column `column` of the output; Rows >= a.rows accumulators a lane.
template <class Real, class Out, int Rows> __global__ void gemv_kernel(GemmArgs<Real, Out> a) {
  constexpr int V = kVector<Real>;
  const int64_t column = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (column >= a.columns) return;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const Real* w = a.w + column * a.inner;
  float sums[Rows] = {};
  for (int64_t first = lane * V; first < a.inner; first += kAhead * 32 * V) {
    uint4 weights[kAhead];
#pragma unroll
    for (int n = 0; n < kAhead; ++n) {
      const int64_t i = first + n * 32 * V;
      if (i < a.inner) weights[n] = __ldg(reinterpret_cast<const uint4*>(w + i));
    }
#pragma unroll
    for (int n = 0; n < kAhead; ++n) {
      const int64_t i = first + n * 32 * V;
      if (i >= a.inner) break;
      float from_w[V];
      unpack(from_w, weights[n]);
#pragma unroll
      for (int r = 0; r < Rows; ++r) {
        if (r >= a.rows) break;
        float from_x[V];
        load_vector(from_x, a.x + r * a.x_stride + i);
#pragma unroll
        for (int j = 0; j < V; ++j) sums[r] += from_w[j] * from_x[j];
      }
    }
  }
  const float bias = a.bias ? a.bias[column] : 0.0f;
#pragma unroll
  for (int r = 0; r < Rows; ++r) {
    if (r >= a.rows) break;
    const float sum = warp_sum(sums[r]);
    if (lane == 0) a.out[r * a.columns + column] = narrow<Out>(sum + bias);
  }
}

template <class Real, class Out, int Rows> void launch_gemv(const GemmArgs<Real, Out>& a, Stream stream) {
  const int64_t blocks = (a.columns + kWarps - 1) / kWarps;
  launch(gemv_kernel<Real, Out, Rows>, dim3(static_cast<unsigned>(blocks)), dim3(32 * kWarps), 0, stream, a);
}

constexpr int kMmaWarps = 8, kMmaColumns = 16;  // of a block

// 16 rows of w as the matrix A of mma, Tiles * 8 rows of x as B; the block's warps share out the inner dimension, in
// pieces of 32. A fragment wants pairs of neighbours at inner positions 2 c and 2 c + 8 (c = lane % 4); since the order
// of a sum is free as long as it is the same for A and B, each lane gives it the eight neighbours that it loads at
// once.
template <class Out, int Tiles> __global__ void gemv_mma_kernel(GemmArgs<bf16, Out> a) {
  constexpr int kRows = 8 * Tiles;
  SharedArena arena;
  float* sums_of_warp = arena.take<float>(kMmaWarps * kMmaColumns * kRows);  // [warps, columns, rows]
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  const int g = lane / 4, c = lane % 4;
  const int64_t first_column = int64_t{blockIdx.x} * kMmaColumns;
  // Beyond the last column or row: that one again, for sums that nobody stores.
  const bf16* w_low = a.w + min(first_column + g, a.columns - 1) * a.inner;
  const bf16* w_high = a.w + min(first_column + g + 8, a.columns - 1) * a.inner;
  const bf16* x[Tiles];
#pragma unroll
  for (int n = 0; n < Tiles; ++n) x[n] = a.x + min(int64_t{8 * n + g}, a.rows - 1) * a.x_stride;

  float sums[Tiles][4] = {};
  for (int64_t first = warp * 32 + c * 8; first - c * 8 < a.inner; first += kAhead * kMmaWarps * 32) {
    uint4 low[kAhead], high[kAhead];
#pragma unroll
    for (int t = 0; t < kAhead; ++t) {
      const int64_t i = first + t * kMmaWarps * 32;
      low[t] = high[t] = {0, 0, 0, 0};
      if (i < a.inner) {
        low[t] = __ldg(reinterpret_cast<const uint4*>(w_low + i));
        high[t] = __ldg(reinterpret_cast<const uint4*>(w_high + i));
      }
    }
#pragma unroll
    for (int t = 0; t < kAhead; ++t) {
      const int64_t i = first + t * kMmaWarps * 32;
      if (i - c * 8 >= a.inner) break;  // the same for the whole warp
#pragma unroll
      for (int n = 0; n < Tiles; ++n) {
        uint4 from_x = {0, 0, 0, 0};
        if (i < a.inner) from_x = __ldg(reinterpret_cast<const uint4*>(x[n] + i));
        mma_m16n8k16(sums[n], {low[t].x, high[t].x, low[t].y, high[t].y}, {from_x.x, from_x.y});
        mma_m16n8k16(sums[n], {low[t].z, high[t].z, low[t].w, high[t].w}, {from_x.z, from_x.w});
      }
    }
  }

#pragma unroll
  for (int n = 0; n < Tiles; ++n)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      sums_of_warp[(warp * kMmaColumns + g + i / 2 * 8) * kRows + n * 8 + c * 2 + i % 2] = sums[n][i];
  __syncthreads();
  const int m = static_cast<int>(threadIdx.x) % kMmaColumns, n = static_cast<int>(threadIdx.x) / kMmaColumns;
  const int64_t column = first_column + m;
  if (n >= a.rows || column >= a.columns) return;
  float sum = a.bias ? a.bias[column] : 0.0f;
#pragma unroll
  for (int of = 0; of < kMmaWarps; ++of) sum += sums_of_warp[(of * kMmaColumns + m) * kRows + n];
  a.out[n * a.columns + column] = narrow<Out>(sum);
}

template <class Out, int Tiles> void launch_gemv_mma(const GemmArgs<bf16, Out>& a, Stream stream) {
  const int64_t blocks = (a.columns + kMmaColumns - 1) / kMmaColumns;
  launch(gemv_mma_kernel<Out, Tiles>, dim3(static_cast<unsigned>(blocks)), dim3(32 * kMmaWarps),
         sizeof(float) * kMmaWarps * kMmaColumns * 8 * Tiles, stream, a);
}

__global__ void round_to_bf16_kernel(bf16* to, const float* from, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) to[i] = narrow<bf16>(from[i]);
}

}  // namespace

void round_to_bf16(bf16* to, const float* from, int64_t n, const Stream& stream) {
  launch(round_to_bf16_kernel, dim3(static_cast<unsigned>((n + 255) / 256)), dim3(256), 0, stream, to, from, n);
}

template <class Real, class Out> void gemm_plain(const GemmArgs<Real, Out>& a, Stream stream) {
  const int64_t blocks = (a.rows * a.columns + 127) / 128;
  launch(gemm_plain_kernel<Real, Out>, dim3(static_cast<unsigned>(blocks)), dim3(128), 0, stream, a);
}

// Few rows: the weights cross memory once, 16 bytes a lane and kAhead deep; x comes from the caches. Floor: the
// weights' bytes at 4.3 TB/s. Assumes at most 16 rows and rows of whole vectors, aligned to 16 bytes.
template <class Real, class Out> void gemm_gemv(const GemmArgs<Real, Out>& a, Stream stream) {
  if (a.rows <= 1)
    launch_gemv<Real, Out, 1>(a, stream);
  else if (a.rows <= 2)
    launch_gemv<Real, Out, 2>(a, stream);
  else if (a.rows <= 4)
    launch_gemv<Real, Out, 4>(a, stream);
  else if (a.rows <= 8)
    launch_gemv<Real, Out, 8>(a, stream);
  else
    launch_gemv<Real, Out, 16>(a, stream);
}

// The same on tensor cores: from a few rows on, gemv is bound by its multiplications and by x out of the L1 cache.
// Every lane keeps 128 bytes of weights in flight, a block 32 KB. Floor: the weights' bytes at 4.3 TB/s. Assumes bf16,
// at most 16 rows, rows of whole vectors, aligned to 16 bytes.
template <class Out> void gemm_gemv_mma(const GemmArgs<bf16, Out>& a, Stream stream) {
  if (a.rows <= 8)
    launch_gemv_mma<Out, 1>(a, stream);
  else
    launch_gemv_mma<Out, 2>(a, stream);
}

template void gemm_plain(const GemmArgs<float>&, Stream);
template void gemm_plain(const GemmArgs<bf16>&, Stream);
template void gemm_plain(const GemmArgs<bf16, float>&, Stream);
template void gemm_gemv(const GemmArgs<float>&, Stream);
template void gemm_gemv(const GemmArgs<bf16>&, Stream);
template void gemm_gemv(const GemmArgs<bf16, float>&, Stream);
template void gemm_gemv_mma(const GemmArgs<bf16>&, Stream);
template void gemm_gemv_mma(const GemmArgs<bf16, float>&, Stream);

}  // namespace ringbench::RINGBENCH_BACKEND
