// moe.h: what the kernels of the mixture of experts share: the SwiGLU of one element, and which rows of which expert a
// block works on.
#pragma once

#include "cuda/kernels.h"
#include "cuda/vectors.h"

namespace ringbench::RINGBENCH_BACKEND {

// silu(gate) up; with a limit (GPT-OSS) both clamped, and gate sigmoid(alpha gate) (up + 1).
__device__ inline float swiglu_of(float gate, float up, float limit, float alpha) {
  if (!(limit > 0)) return gate / (1 + expf(-gate)) * up;
  gate = fminf(gate, limit);
  return gate / (1 + expf(-alpha * gate)) * (fmaxf(fminf(up, limit), -limit) + 1);
}

// Consecutive sorted rows of one expert; none (rows = 0) for blocks beyond the last tile.
struct ExpertTile {
  int expert = 0, rows = 0;
  int64_t row = 0;  // the first
};

// At most this many tiles of tile_rows rows, however the pairs fall on the experts: every expert ends with at most one
// tile that is not full. Known to the host, so that it can launch a grid without knowing the offsets.
inline int64_t max_expert_tiles(int64_t pairs, int64_t num_experts, int tile_rows) {
  return pairs / tile_rows + (pairs < num_experts ? pairs : num_experts);
}

// Tile number `index` of the list that cuts every expert's rows into tiles of tile_rows. Called by whole warps, of
// which each finds it by itself, without a barrier. Every lane sums up neighbouring experts, so that all offsets are
// under way at once: half a microsecond, where 32 experts at a time would take two for 256.
__device__ inline ExpertTile find_expert_tile(const int32_t* offsets, int num_experts, int tile_rows, int64_t index) {
  const int lane = static_cast<int>(threadIdx.x) % 32, experts = (num_experts + 31) / 32;  // of a lane
  const auto offset = [&](int expert) { return offsets[expert < num_experts ? expert : num_experts]; };
  const auto tiles_of = [&](int expert) { return (offset(expert + 1) - offset(expert) + tile_rows - 1) / tile_rows; };
  int tiles = 0;
#pragma unroll 8
  for (int i = 0; i < experts; ++i) tiles += tiles_of(lane * experts + i);
  int end = tiles;  // tiles of this lane's experts and all before
  for (int step = 1; step < 32; step *= 2) {
    const int lower = __shfl_up_sync(~0u, end, static_cast<unsigned>(step));
    if (lane >= step) end += lower;
  }
  const unsigned beyond = __ballot_sync(~0u, end > index);
  if (beyond == 0) return {};
  const int owner = __ffs(static_cast<int>(beyond)) - 1;
  int skip = static_cast<int>(index) - __shfl_sync(~0u, end - tiles, owner);  // tiles of the owner's experts before
  int expert = owner * experts;
  for (int here = tiles_of(expert); skip >= here; here = tiles_of(++expert)) skip -= here;
  const int row = offset(expert) + skip * tile_rows, left = offset(expert + 1) - row;
  return {expert, left < tile_rows ? left : tile_rows, row};
}

// Which row of x sorted row `row` is a product of.
template <class Real> __device__ inline int64_t source_row(const GroupedGemmArgs<Real>& args, int64_t row) {
  return args.pair_of_row ? args.pair_of_row[row] / args.k : row;
}

// A block's weight rows come as two halves of `half` rows each: with swiglu the gate rows of `half` columns and the up
// rows of the same ones, so that both meet in one thread; else just the columns after one another. The output column
// that row i of half h is for (it may lie beyond the last), and its weight row.
template <class Real>
__device__ inline int64_t column_of(const GroupedGemmArgs<Real>& args, int64_t first, int half, int h, int i) {
  return first + (args.swiglu ? 0 : h * half) + i;
}
template <class Real>
__device__ inline int64_t weight_row_of(const GroupedGemmArgs<Real>& args, int expert, int h, int64_t column) {
  return args.swiglu ? (int64_t{2} * expert + h) * args.columns + column : expert * args.columns + column;
}
// Output columns of one block, and blocks for all columns.
template <class Real> __host__ __device__ inline int columns_of_block(const GroupedGemmArgs<Real>& args, int half) {
  return args.swiglu ? half : 2 * half;
}
template <class Real> __host__ __device__ inline int column_blocks(const GroupedGemmArgs<Real>& args, int half) {
  const int columns = columns_of_block(args, half);
  return static_cast<int>((args.columns + columns - 1) / columns);
}

// Stores 32 columns of an output row from four strips of 8 as mma leaves them: this lane has columns lane % 4 * 2 and
// the next of each strip. The four lanes of a row exchange them, so that each stores 16 bytes, one strip. Called by
// whole warps; lanes without a row give null.
__device__ inline void store_strips(bf16* row, int64_t column, int64_t columns, const float (&values)[4][2]) {
  const int quad = static_cast<int>(threadIdx.x) % 4;
  uint32_t word[4];  // of strip j; after the exchange: of this lane's strip, columns 2 j and 2 j + 1
#pragma unroll
  for (int j = 0; j < 4; ++j) word[j] = pack_bf16x2(values[j][0], values[j][1]);
#pragma unroll
  for (int step = 1; step < 4; step *= 2)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (j & step) continue;
      const bool high = (quad & step) != 0;
      const uint32_t received = __shfl_xor_sync(~0u, high ? word[j] : word[j + step], step);
      (high ? word[j] : word[j + step]) = received;
    }
  column += quad * 8;
  if (row && column < columns) *reinterpret_cast<uint4*>(row + column) = make_uint4(word[0], word[1], word[2], word[3]);
}

// The epilogue for 32 weight rows of each half, from row i on: sum(h, strip, e) are this lane's accumulators of one
// output row, laid out as in store_strips. Bias, SwiGLU, store.
template <class Sum>
__device__ inline void finish_strips(const GroupedGemmArgs<bf16>& args, int expert, bf16* row, int64_t first, int half,
                                     int i, const Sum& sum) {
  const int lane_column = static_cast<int>(threadIdx.x) % 4 * 2;
  float value[2][4][2];
#pragma unroll
  for (int h = 0; h < 2; ++h)
#pragma unroll
    for (int strip = 0; strip < 4; ++strip)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int64_t column = column_of(args, first, half, h, i + strip * 8 + lane_column + e);
        value[h][strip][e] = sum(h, strip, e);
        if (args.bias && column < args.columns) value[h][strip][e] += args.bias[weight_row_of(args, expert, h, column)];
      }
  if (args.swiglu) {
#pragma unroll
    for (int strip = 0; strip < 4; ++strip)
#pragma unroll
      for (int e = 0; e < 2; ++e)
        value[0][strip][e] = swiglu_of(value[0][strip][e], value[1][strip][e], args.swiglu_limit, args.swiglu_alpha);
  } else {
    store_strips(row, column_of(args, first, half, 1, i), args.columns, value[1]);
  }
  store_strips(row, column_of(args, first, half, 0, i), args.columns, value[0]);
}

}  // namespace ringbench::RINGBENCH_BACKEND
