// gemm_emulated.cpp: where there is no GPU, what stands in for its library: loops that the compiler turns into vector
// instructions, so that the emulated engine spends its time in kernels. Ordinary host code.
#include <algorithm>
#include <array>
#include <vector>

#include "cuda/kernels.h"

namespace ringbench::emulated {
namespace {

// As many outputs at once as partial sums fit the registers (32 of 64 bytes with AVX-512, else 16 of 32), each
// kept in one register of lanes.
#if defined(__AVX512F__)
constexpr int kLanes = 16, kRows = 4, kColumns = 4;
#else
constexpr int kLanes = 8, kRows = 4, kColumns = 2;
#endif
using Lanes [[gnu::vector_size(4 * kLanes)]] = float;

constexpr int64_t kPanel = 32;  // columns a task takes: their weights as floats fit the L2 cache

int64_t padded(int64_t inner) { return (inner + kLanes - 1) / kLanes * kLanes; }

// A row as floats, with zeros up to a whole number of lanes.
template <class Real> void widen(const Real* from, int64_t inner, float* to) {
  for (int64_t i = 0; i < inner; ++i) to[i] = static_cast<float>(from[i]);
  std::fill(to + inner, to + padded(inner), 0.0f);
}

// out[r, c] = x_r w_c, R x C of them, rows `width` floats apart. The order of a sum is the same for all R and C.
template <int R, int C>
[[gnu::optimize("fp-contract=fast")]] std::array<float, R * C> products(const float* x, const float* w, int64_t width) {
  Lanes sums[R][C] = {};
  for (int64_t i = 0; i < width; i += kLanes) {
    Lanes from_w[C];
    for (int c = 0; c < C; ++c) __builtin_memcpy(&from_w[c], w + c * width + i, sizeof(Lanes));
    for (int r = 0; r < R; ++r) {
      Lanes from_x;
      __builtin_memcpy(&from_x, x + r * width + i, sizeof(Lanes));
      for (int c = 0; c < C; ++c) sums[r][c] += from_x * from_w[c];
    }
  }
  std::array<float, R * C> out;
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) {
      float sum = 0;
      for (int l = 0; l < kLanes; ++l) sum += sums[r][c][l];
      out[r * C + c] = sum;
    }
  return out;
}

}  // namespace

// Blocks of kRows x kColumns outputs. Assumes that device memory is the host's.
template <class Real, class Out> void gemm_host(const GemmArgs<Real, Out>& a, Stream) {
  const int64_t width = padded(a.inner), panels = (a.columns + kPanel - 1) / kPanel;
  std::vector<float> x(static_cast<size_t>(a.rows * width));
  for (int64_t r = 0; r < a.rows; ++r) widen(a.x + r * a.x_stride, a.inner, x.data() + r * width);

#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic, 1) if (a.rows * a.columns * a.inner > 1000000)
#endif
  for (int64_t panel = 0; panel < panels; ++panel) {
    const int64_t first = panel * kPanel, columns = std::min(kPanel, a.columns - first);
    std::vector<float> w(static_cast<size_t>((columns + kColumns - 1) / kColumns * kColumns * width));
    for (int64_t c = 0; c < columns; ++c) widen(a.w + (first + c) * a.inner, a.inner, w.data() + c * width);

    const auto block = [&]<int R>(std::integral_constant<int, R>, int64_t r) {
      for (int64_t c = 0; c < columns; c += kColumns) {
        const auto sums = products<R, kColumns>(x.data() + r * width, w.data() + c * width, width);
        for (int64_t i = 0; i < R * kColumns; ++i) {
          const int64_t row = r + i / kColumns, column = first + c + i % kColumns;
          if (column >= a.columns) continue;
          a.out[row * a.columns + column] =
              static_cast<Out>(sums[static_cast<size_t>(i)] + (a.bias ? a.bias[column] : 0.0f));
        }
      }
    };
    int64_t r = 0;
    for (; r + kRows <= a.rows; r += kRows) block(std::integral_constant<int, kRows>{}, r);
    for (; r < a.rows; ++r) block(std::integral_constant<int, 1>{}, r);
  }
}
template void gemm_host(const GemmArgs<float>&, Stream);
template void gemm_host(const GemmArgs<bf16>&, Stream);
template void gemm_host(const GemmArgs<bf16, float>&, Stream);

}  // namespace ringbench::emulated
