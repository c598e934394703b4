// moe_gemm.cu: the products of the experts, one matrix each, over rows sorted by expert. Plain first, then the ladder:
// gemv and mma_decode read weights as fast as memory gives them (a few pairs per expert), mma keeps tensor cores busy
// (hundreds). The Hopper rung is in moe_gemm_sm90.cu.
// Floors on an H200, for 256 experts of 2048 x 512: one layer's weights 1.6 GB / 4.3 TB/s = 375 us at most; 16k tokens
// 825 GFLOP / 790 TFLOP/s = 1.04 ms.
#include "cuda/moe.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

// --- plain: a thread per output ---

template <class Real> __device__ inline float dot(const Real* a, const Real* b, int64_t length) {
  float sum = 0;
  for (int64_t i = 0; i < length; ++i) sum += to_float(a[i]) * to_float(b[i]);
  return sum;
}

template <class Real> __global__ void __launch_bounds__(256) gemm_plain(GroupedGemmArgs<Real> args) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * 256 + static_cast<int64_t>(threadIdx.x);
  if (i >= args.pairs * args.columns) return;
  const int64_t row = i / args.columns, column = i % args.columns;
  int64_t expert = 0;
  while (args.offsets[expert + 1] <= row) ++expert;

  const Real* x = args.x + source_row(args, row) * args.inner;
  const auto output = [&](int64_t weight_row) {
    return dot(x, args.w + weight_row * args.inner, args.inner) + (args.bias ? args.bias[weight_row] : 0.0f);
  };
  float value;
  if (args.swiglu) {
    const float gate = output(expert * 2 * args.columns + column);
    value = swiglu_of(gate, output((expert * 2 + 1) * args.columns + column), args.swiglu_limit, args.swiglu_alpha);
  } else {
    value = output(expert * args.columns + column);
  }
  args.out[i] = narrow<Real>(value);
}

// --- gemv: one warp per two weight rows (gate and up of a column, or two columns), for up to 8 pairs of an expert ---
// Weights are read once, 16 bytes a lane, four such loads of each row under way; x comes from L1. Memory-bound to about
// 4 pairs an expert (then conversions to float fill the CUDA cores: no tensor cores here). Assumes rows of whole
// 16-byte vectors. Float has no tensor cores anyway: there it is the best rung at any number of pairs.

constexpr int kGemvPairs = 8, kGemvWarps = 4;

template <int kPairs, class Real>
__device__ inline void gemv_rows(const GroupedGemmArgs<Real>& args, const ExpertTile& tile, int64_t first) {
  constexpr int N = kVector<Real>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const Real* w[2];
  for (int h = 0; h < 2; ++h) {
    const int64_t column = column_of(args, first, 1, h, 0);
    w[h] = args.w + weight_row_of(args, tile.expert, h, column < args.columns ? column : first) * args.inner;
  }
  const Real* x[kPairs];
  for (int p = 0; p < kPairs; ++p) x[p] = args.x + source_row(args, tile.row + (p < tile.rows ? p : 0)) * args.inner;

  float sum[2][kPairs] = {};
#pragma unroll 4
  for (int64_t i = lane * N; i < args.inner; i += 32 * N) {
    float a[2][N];
    load_vector(a[0], w[0] + i);
    load_vector(a[1], w[1] + i);
#pragma unroll
    for (int p = 0; p < kPairs; ++p) {
      float b[N];
      load_vector(b, x[p] + i);
#pragma unroll
      for (int h = 0; h < 2; ++h)
#pragma unroll
        for (int n = 0; n < N; ++n) sum[h][p] += a[h][n] * b[n];
    }
  }
#pragma unroll
  for (int p = 0; p < kPairs; ++p) {
    float value[2];
    for (int h = 0; h < 2; ++h) {
      value[h] = warp_sum(sum[h][p]);
      const int64_t column = column_of(args, first, 1, h, 0);
      if (args.bias && column < args.columns) value[h] += args.bias[weight_row_of(args, tile.expert, h, column)];
    }
    if (lane != 0 || p >= tile.rows) continue;
    Real* out = args.out + (tile.row + p) * args.columns + first;
    if (args.swiglu) {
      out[0] = narrow<Real>(swiglu_of(value[0], value[1], args.swiglu_limit, args.swiglu_alpha));
    } else {
      out[0] = narrow<Real>(value[0]);
      if (first + 1 < args.columns) out[1] = narrow<Real>(value[1]);
    }
  }
}

template <class Real> __global__ void __launch_bounds__(kGemvWarps * 32) gemm_gemv(GroupedGemmArgs<Real> args) {
  const ExpertTile tile = find_expert_tile(args.offsets, args.num_experts, kGemvPairs, blockIdx.x);
  const int64_t warp = static_cast<int64_t>(blockIdx.y) * kGemvWarps + static_cast<int64_t>(threadIdx.x) / 32;
  const int64_t first = warp * columns_of_block(args, 1);
  if (tile.rows == 0 || first >= args.columns) return;
  if (tile.rows == 1)
    gemv_rows<1>(args, tile, first);
  else if (tile.rows == 2)
    gemv_rows<2>(args, tile, first);
  else if (tile.rows <= 4)
    gemv_rows<4>(args, tile, first);
  else
    gemv_rows<8>(args, tile, first);
}

// --- tiles in shared memory for the tensor cores ---

// Rows of kChunks chunks of 16 bytes, 128 bytes of rows after one another swizzled so that the eight rows of an
// ldmatrix fall in eight bank groups.
template <int kChunks> __device__ inline int tile_offset(int row, int chunk) {
  static_assert(kChunks == 4 || kChunks == 8);
  return (row * kChunks + (chunk ^ (kChunks == 8 ? row % 8 : row / 2 % 4))) * 8;
}

// 16 rows of A from `row`, the 16 columns from chunk 2 step: an A fragment of mma_m16n8k16.
template <int kChunks> __device__ inline void load_a(uint32_t (&a)[4], const bf16* tile, int row, int step) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  ldmatrix_x4(a, tile + tile_offset<kChunks>(row + lane % 16, 2 * step + lane / 16));
}
// 16 rows of a matrix whose rows are B's columns: two B fragments, b[0], b[1] and b[2], b[3].
template <int kChunks> __device__ inline void load_b(uint32_t (&b)[4], const bf16* tile, int row, int step) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  ldmatrix_x4(b, tile + tile_offset<kChunks>(row + lane / 16 * 8 + lane % 8, 2 * step + lane / 8 % 2));
}

// Copies columns from `column` of the block's rows into a tile; each thread has its own kRows rows and one chunk of
// each, and walks along them. Beyond the end of the rows, and for rows that are not there, come zeros.
template <int kRows, int kChunks, int kThreads> struct TileRows {
  const bf16* from[kRows];
  bool valid[kRows];

  static constexpr int kStep = kThreads / kChunks;  // rows between a thread's rows
  __device__ static int chunk() { return static_cast<int>(threadIdx.x) % kChunks; }
  __device__ static int row(int i) { return static_cast<int>(threadIdx.x) / kChunks + i * kStep; }

  // Row i of this thread begins at `row`; null: no such row.
  __device__ void set(int i, const bf16* row, const bf16* somewhere) {
    valid[i] = row != nullptr;
    from[i] = (row ? row : somewhere) + chunk() * 8;
  }
  __device__ void copy(bf16* tile, int64_t column, int64_t columns, int rows) const {
    const bool inside = column + chunk() * 8 < columns;
#pragma unroll
    for (int i = 0; i < kRows; ++i)
      if (row(i) < rows) {
        const bool good = inside && valid[i];
        cp_async16(tile + tile_offset<kChunks>(row(i), chunk()), good ? from[i] + column : from[i] - chunk() * 8, good);
      }
  }
};

// --- mma_decode: A and B swapped, M = weight rows, N = an expert's pairs padded to 16 ---
// 128 weight rows by 64 columns a stage, four stages: 48 KB of weights under way per block, two blocks an SM, where 32
// KB hide the latency of memory. Blocks of up to 64 pairs; an expert with more reads its weights again, from L2.
// Assumes bf16, sm_80, inner a multiple of 8.

constexpr int kDecodePairs = 64, kDecodeHalf = 64, kDecodeChunks = 8, kDecodeStages = 4, kDecodeThreads = 128;
constexpr int kDecodeDepth = kDecodeChunks * 8;  // columns of a stage
constexpr int kDecodeWeightTile = 2 * kDecodeHalf * kDecodeDepth, kDecodeXTile = kDecodePairs * kDecodeDepth;
constexpr size_t kDecodeShared = sizeof(bf16) * kDecodeStages * (kDecodeWeightTile + kDecodeXTile);

__global__ void __launch_bounds__(kDecodeThreads) gemm_mma_decode(GroupedGemmArgs<bf16> args) {
  const ExpertTile tile = find_expert_tile(args.offsets, args.num_experts, kDecodePairs, blockIdx.y);
  if (tile.rows == 0) return;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * columns_of_block(args, kDecodeHalf);
  const int padded = (tile.rows + 15) / 16 * 16;
  SharedArena arena;
  bf16* weight_tiles = arena.take<bf16>(kDecodeStages * kDecodeWeightTile);
  bf16* x_tiles = arena.take<bf16>(kDecodeStages * kDecodeXTile);

  TileRows<2 * kDecodeHalf * kDecodeChunks / kDecodeThreads, kDecodeChunks, kDecodeThreads> weights;
  TileRows<kDecodePairs * kDecodeChunks / kDecodeThreads, kDecodeChunks, kDecodeThreads> x;
#pragma unroll
  for (int i = 0; i < 2 * kDecodeHalf / weights.kStep; ++i) {
    const int h = weights.row(i) / kDecodeHalf;
    const int64_t column = column_of(args, first, kDecodeHalf, h, weights.row(i) % kDecodeHalf);
    const bool inside = column < args.columns;
    weights.set(i, inside ? args.w + weight_row_of(args, tile.expert, h, column) * args.inner : nullptr, args.w);
  }
#pragma unroll
  for (int i = 0; i < kDecodePairs / x.kStep; ++i) {
    const bool inside = x.row(i) < tile.rows;
    x.set(i, inside ? args.x + source_row(args, tile.row + x.row(i)) * args.inner : nullptr, args.x);
  }

  const int stages = static_cast<int>((args.inner + kDecodeDepth - 1) / kDecodeDepth);
  const auto fetch = [&](int stage) {
    if (stage < stages) {
      const int64_t column = static_cast<int64_t>(stage) * kDecodeDepth;
      weights.copy(weight_tiles + stage % kDecodeStages * kDecodeWeightTile, column, args.inner, 2 * kDecodeHalf);
      x.copy(x_tiles + stage % kDecodeStages * kDecodeXTile, column, args.inner, padded);
    }
    cp_async_commit();  // an empty group too: waiting counts groups
  };
  for (int stage = 0; stage < kDecodeStages - 1; ++stage) fetch(stage);

  float sum[2][kDecodePairs / 8][4] = {};
  for (int stage = 0; stage < stages; ++stage) {
    cp_async_wait<kDecodeStages - 2>();
    __syncthreads();  // this stage is there, and the last one read
    fetch(stage + kDecodeStages - 1);
    const bf16* weight_tile = weight_tiles + stage % kDecodeStages * kDecodeWeightTile;
    const bf16* x_tile = x_tiles + stage % kDecodeStages * kDecodeXTile;
#pragma unroll
    for (int step = 0; step < kDecodeDepth / 16; ++step) {
      uint32_t a[2][4], b[4];
      load_a<kDecodeChunks>(a[0], weight_tile, warp * 16, step);
      load_a<kDecodeChunks>(a[1], weight_tile, kDecodeHalf + warp * 16, step);
#pragma unroll
      for (int n = 0; n < kDecodePairs / 16; ++n)
        if (n * 16 < padded) {
          load_b<kDecodeChunks>(b, x_tile, n * 16, step);
#pragma unroll
          for (int h = 0; h < 2; ++h) {
            mma_m16n8k16(sum[h][2 * n], a[h], {b[0], b[1]});
            mma_m16n8k16(sum[h][2 * n + 1], a[h], {b[2], b[3]});
          }
        }
    }
  }

  // sum[h][n][e]: weight row 16 warp + lane / 4 + 8 (e / 2) of half h, pair 8 n + lane % 4 * 2 + e % 2.
#pragma unroll
  for (int n = 0; n < kDecodePairs / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int i = warp * 16 + lane / 4 + e / 2 * 8, pair = n * 8 + lane % 4 * 2 + e % 2;
      if (pair >= tile.rows) continue;
      float value[2];
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int64_t column = column_of(args, first, kDecodeHalf, h, i);
        value[h] = sum[h][n][e];
        if (args.bias && column < args.columns) value[h] += args.bias[weight_row_of(args, tile.expert, h, column)];
      }
      if (args.swiglu) value[0] = swiglu_of(value[0], value[1], args.swiglu_limit, args.swiglu_alpha);
      bf16* out = args.out + (tile.row + pair) * args.columns;
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int64_t column = column_of(args, first, kDecodeHalf, h, i);
        if (column < args.columns && (h == 0 || !args.swiglu)) out[column] = to_bf16(value[h]);
      }
    }
}

// --- mma: 128 pairs by 128 weight rows by 32 columns a stage, four stages ---
// Four warps of 64 x 64 each: 8 ldmatrix for 32 mma. Two blocks an SM (registers), so that one computes while another
// begins or ends. The blocks of an expert's rows that share x follow one another (L2). Warps
// leave out the 16-row strips of a tile that no pair fills. Assumes bf16, sm_80, inner and columns multiples of 8.

constexpr int kMmaPairs = 128, kMmaHalf = 64, kMmaChunks = 4, kMmaStages = 4, kMmaThreads = 128;
constexpr int kMmaDepth = kMmaChunks * 8;
constexpr int kMmaTile = 128 * kMmaDepth;  // of x, and of the weights
constexpr size_t kMmaShared = sizeof(bf16) * kMmaStages * 2 * kMmaTile;

__global__ void __launch_bounds__(kMmaThreads) gemm_mma(GroupedGemmArgs<bf16> args) {
  const ExpertTile tile = find_expert_tile(args.offsets, args.num_experts, kMmaPairs, blockIdx.y);
  if (tile.rows == 0) return;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_row = warp / 2 * 64, warp_column = warp % 2 * 32;  // columns in each half
  const int64_t first = static_cast<int64_t>(blockIdx.x) * columns_of_block(args, kMmaHalf);
  SharedArena arena;
  bf16* x_tiles = arena.take<bf16>(kMmaStages * kMmaTile);
  bf16* weight_tiles = arena.take<bf16>(kMmaStages * kMmaTile);

  using Rows = TileRows<128 * kMmaChunks / kMmaThreads, kMmaChunks, kMmaThreads>;
  Rows x, weights;
#pragma unroll
  for (int i = 0; i < 128 / Rows::kStep; ++i) {
    const int row = Rows::row(i), h = row / kMmaHalf;
    x.set(i, row < tile.rows ? args.x + source_row(args, tile.row + row) * args.inner : nullptr, args.x);
    const int64_t column = column_of(args, first, kMmaHalf, h, row % kMmaHalf);
    const bool inside = column < args.columns;
    weights.set(i, inside ? args.w + weight_row_of(args, tile.expert, h, column) * args.inner : nullptr, args.w);
  }

  const int stages = static_cast<int>((args.inner + kMmaDepth - 1) / kMmaDepth);
  const auto fetch = [&](int stage) {
    if (stage < stages) {
      const int64_t column = static_cast<int64_t>(stage) * kMmaDepth;
      x.copy(x_tiles + stage % kMmaStages * kMmaTile, column, args.inner, 128);
      weights.copy(weight_tiles + stage % kMmaStages * kMmaTile, column, args.inner, 128);
    }
    cp_async_commit();
  };
  for (int stage = 0; stage < kMmaStages - 1; ++stage) fetch(stage);

  float sum[4][2][4][4] = {};  // 16-row strips, halves, 8-column strips, fragment
  const int strips = (tile.rows - warp_row + 15) / 16;
  for (int stage = 0; stage < stages; ++stage) {
    cp_async_wait<kMmaStages - 2>();
    __syncthreads();
    fetch(stage + kMmaStages - 1);
    const bf16* x_tile = x_tiles + stage % kMmaStages * kMmaTile;
    const bf16* weight_tile = weight_tiles + stage % kMmaStages * kMmaTile;
#pragma unroll
    for (int step = 0; step < kMmaDepth / 16; ++step) {
      uint32_t b[2][2][4];
#pragma unroll
      for (int h = 0; h < 2; ++h)
#pragma unroll
        for (int n = 0; n < 2; ++n) load_b<kMmaChunks>(b[h][n], weight_tile, h * kMmaHalf + warp_column + n * 16, step);
#pragma unroll
      for (int m = 0; m < 4; ++m)
        if (m < strips) {
          uint32_t a[4];
          load_a<kMmaChunks>(a, x_tile, warp_row + m * 16, step);
#pragma unroll
          for (int h = 0; h < 2; ++h)
#pragma unroll
            for (int n = 0; n < 2; ++n) {
              mma_m16n8k16(sum[m][h][2 * n], a, {b[h][n][0], b[h][n][1]});
              mma_m16n8k16(sum[m][h][2 * n + 1], a, {b[h][n][2], b[h][n][3]});
            }
        }
    }
  }

  // sum[m][h][n][e]: pair 16 m + lane / 4 + 8 (e / 2), column 8 n + lane % 4 * 2 + e % 2 of half h.
#pragma unroll
  for (int m = 0; m < 4; ++m)
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int pair = warp_row + m * 16 + r * 8 + lane / 4;
      bf16* row = pair < tile.rows ? args.out + (tile.row + pair) * args.columns : nullptr;
      finish_strips(args, tile.expert, row, first, kMmaHalf, warp_column,
                    [&](int h, int n, int e) { return sum[m][h][n][2 * r + e]; });
    }
}

dim3 tile_grid(int columns, int64_t tiles) { return {static_cast<unsigned>(columns), static_cast<unsigned>(tiles), 1}; }

}  // namespace

template <class Real> void moe_gemm_plain(const GroupedGemmArgs<Real>& args, Stream stream) {
  const int64_t blocks = (args.pairs * args.columns + 255) / 256;
  launch(gemm_plain<Real>, static_cast<unsigned>(blocks), 256, 0, stream, args);
}

template <class Real> void moe_gemm_gemv(const GroupedGemmArgs<Real>& args, Stream stream) {
  const int blocks = (column_blocks(args, 1) + kGemvWarps - 1) / kGemvWarps;
  const int64_t tiles = max_expert_tiles(args.pairs, args.num_experts, kGemvPairs);
  launch(gemm_gemv<Real>, dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(blocks)), kGemvWarps * 32, 0, stream,
         args);
}

void moe_gemm_mma_decode(const GroupedGemmArgs<bf16>& args, Stream stream) {
  launch(gemm_mma_decode,
         tile_grid(column_blocks(args, kDecodeHalf), max_expert_tiles(args.pairs, args.num_experts, kDecodePairs)),
         kDecodeThreads, kDecodeShared, stream, args);
}

void moe_gemm_mma(const GroupedGemmArgs<bf16>& args, Stream stream) {
  launch(gemm_mma, tile_grid(column_blocks(args, kMmaHalf), max_expert_tiles(args.pairs, args.num_experts, kMmaPairs)),
         kMmaThreads, kMmaShared, stream, args);
}

template void moe_gemm_plain(const GroupedGemmArgs<float>&, Stream);
template void moe_gemm_plain(const GroupedGemmArgs<bf16>&, Stream);
template void moe_gemm_gemv(const GroupedGemmArgs<float>&, Stream);
template void moe_gemm_gemv(const GroupedGemmArgs<bf16>&, Stream);

}  // namespace ringbench::RINGBENCH_BACKEND
