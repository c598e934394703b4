// moe_gemm_sm90.cu: the products of the experts on Hopper, for many pairs per expert (the ladder: moe_gemm.cu).
//
// wgmma: 128 pairs by 256 weight rows by 64 columns a stage, four stages of 48 KB. A warpgroup feeds them: weights, and
// x where it is sorted already, by TMA; gathered rows by cp.async. Two warpgroups of 64 pairs each multiply, and leave
// results while the next tile's stages arrive (blocks are as many as SMs and take every so-manyth tile).
// Faster than mma because tensor cores read shared memory themselves, and because the larger tile asks L2 for 48 bytes
// a clock at full rate instead of 64. Floor: 16k tokens of 256 x 2048 x 512, 825 GFLOP in 1.04 ms. Assumes bf16,
// compute capability 9.0, inner and columns multiples of 8.
#include "cuda/hopper.h"
#include "cuda/moe.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

constexpr int kPairs = 128, kHalf = 128, kDepth = 64, kStages = 4;
constexpr int kThreads = 384;  // the warpgroup that feeds, then the two that multiply
constexpr int kXTile = kPairs * kDepth, kWeightTile = 2 * kHalf * kDepth;
constexpr size_t kShared = sizeof(bf16) * kStages * (kXTile + kWeightTile) + 2 * 128;
// What the feeding thread has under way of gathered rows before it looks whether the oldest have come.
constexpr int kLag = 2;

struct Stages {
  bf16 *x, *weights;
  uint64_t *full, *empty;
};

// Feeds x and weights, tile after tile. `kGather`: x through pair_of_row.
template <bool kGather>
__device__ inline void feed(const GroupedGemmArgs<bf16>& args, const TensorMap* x_map, const TensorMap* weight_map,
                            const Stages& stages) {
  const int thread = static_cast<int>(threadIdx.x), chunk = thread % 8;
  const int blocks = column_blocks(args, kHalf), depth = static_cast<int>((args.inner + kDepth - 1) / kDepth);
  const auto arrived = [&](int stage) {  // this thread's part of the gathered rows of `stage`
    fence_proxy_async();
    mbarrier_arrive(stages.full + stage % kStages);
  };
  int stage = 0;  // of all tiles
  for (int64_t index = blockIdx.x;; index += gridDim.x) {
    const ExpertTile tile = find_expert_tile(args.offsets, args.num_experts, kPairs, index / blocks);
    if (tile.rows == 0) break;
    const int64_t first = index % blocks * columns_of_block(args, kHalf);
    int from[8];  // where in x rows thread / 8 + 16 i of the tile are
    if constexpr (kGather)
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int row = thread / 8 + 16 * i;
        from[i] = static_cast<int>(source_row(args, tile.row + (row < tile.rows ? row : 0)));
      }
    for (int step = 0; step < depth; ++step, ++stage) {
      const int slot = stage % kStages, round = stage / kStages;
      if (kGather || thread == 0)
        if (round > 0) mbarrier_wait(stages.empty + slot, (round - 1) % 2);
      if (thread == 0) {
        uint64_t* full = stages.full + slot;
        mbarrier_arrive_expect_tx(full, static_cast<int>(sizeof(bf16)) * (kWeightTile + (kGather ? 0 : kXTile)));
        for (int h = 0; h < 2; ++h) {
          const int64_t row = weight_row_of(args, tile.expert, h, column_of(args, first, kHalf, h, 0));
          tma_load_2d(stages.weights + slot * kWeightTile + h * kHalf * kDepth, weight_map, step * kDepth,
                      static_cast<int>(row), full);
        }
        if (!kGather) tma_load_2d(stages.x + slot * kXTile, x_map, step * kDepth, static_cast<int>(tile.row), full);
      }
      if constexpr (kGather) {
        const int column = step * kDepth + chunk * 8;
        const bool inside = column < args.inner;
#pragma unroll
        for (int i = 0; i < 8; ++i) {  // 128-byte swizzle, as TMA lays tiles down
          const int row = thread / 8 + 16 * i;
          cp_async16(stages.x + slot * kXTile + (row * 8 + (chunk ^ row % 8)) * 8,
                     args.x + from[i] * args.inner + (inside ? column : 0), inside);
        }
        cp_async_commit();
        if (stage >= kLag) {
          cp_async_wait<kLag>();
          arrived(stage - kLag);
        }
      }
    }
  }
  if constexpr (kGather) {
    cp_async_wait<0>();
    for (int left = stage < kLag ? stage : kLag; left > 0; --left) arrived(stage - left);
  }
}

// Multiplies 64 pairs of every tile; `group` 0 or 1.
__device__ inline void multiply(const GroupedGemmArgs<bf16>& args, const Stages& stages, int group) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32 % 4;
  const int blocks = column_blocks(args, kHalf), depth = static_cast<int>((args.inner + kDepth - 1) / kDepth);
  const auto release = [&](int stage) {
    __syncwarp();
    if (lane == 0) mbarrier_arrive(stages.empty + stage % kStages);
  };
  const auto tile_of = [&](int64_t index) {
    return find_expert_tile(args.offsets, args.num_experts, kPairs, index / blocks);
  };
  int stage = 0;
  ExpertTile tile = tile_of(blockIdx.x), next;
  for (int64_t index = blockIdx.x; tile.rows > 0; index += gridDim.x, tile = next) {
    if (group * 64 >= tile.rows) {  // no pairs in this half of the tile
      for (int step = 0; step < depth; ++step, ++stage) {
        mbarrier_wait(stages.full + stage % kStages, stage / kStages % 2);
        release(stage);
      }
      next = tile_of(index + gridDim.x);
      continue;
    }
    float sum[128] = {};
    for (int step = 0; step < depth; ++step, ++stage) {
      const int slot = stage % kStages;
      mbarrier_wait(stages.full + slot, stage / kStages % 2);
      const auto x = wgmma_tile_k_major(stages.x + slot * kXTile + group * 64 * kDepth, 64);
      const auto weights = wgmma_tile_k_major(stages.weights + slot * kWeightTile, 2 * kHalf);
      wgmma_fence();
#pragma unroll
      for (int k = 0; k < kDepth; k += 16) wgmma_m64k16(sum, x.at_k(k), weights.at_k(k));
      wgmma_commit();
      if (step > 0) {  // the stage before is read
        wgmma_wait<1>(sum);
        release(stage - 1);
      }
    }
    next = tile_of(index + gridDim.x);  // while the last products run
    wgmma_wait<0>(sum);
    release(stage - 1);

    const int64_t first = index % blocks * columns_of_block(args, kHalf);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int pair = group * 64 + warp * 16 + r * 8 + lane / 4;
      bf16* row = pair < tile.rows ? args.out + (tile.row + pair) * args.columns : nullptr;
#pragma unroll
      for (int i = 0; i < kHalf; i += 32)
        finish_strips(args, tile.expert, row, first, kHalf, i,
                      [&](int h, int strip, int e) { return sum[(h * kHalf + i) / 2 + strip * 4 + 2 * r + e]; });
    }
  }
}

template <bool kGather>
__global__ void __launch_bounds__(kThreads, 1)
    gemm_wgmma(GroupedGemmArgs<bf16> args, const __grid_constant__ TensorMap x_map,
               const __grid_constant__ TensorMap weight_map) {
  SharedArena arena;
  Stages stages;
  stages.x = arena.take<bf16>(kStages * kXTile, 1024);
  stages.weights = arena.take<bf16>(kStages * kWeightTile, 1024);
  stages.full = arena.take<uint64_t>(kStages);
  stages.empty = arena.take<uint64_t>(kStages);
  if (threadIdx.x == 0) {
    for (int slot = 0; slot < kStages; ++slot) {
      mbarrier_init(stages.full + slot, kGather ? 1 + 128 : 1);
      mbarrier_init(stages.empty + slot, 8);  // warps that multiply
    }
    fence_mbarrier_init();
  }
  __syncthreads();
  const int group = static_cast<int>(threadIdx.x) / 128 - 1;
  if (group < 0) {
    register_decrease<40>();
    feed<kGather>(args, &x_map, &weight_map, stages);
  } else {
    register_increase<232>();
    multiply(args, stages, group);
  }
}

}  // namespace

void moe_gemm_wgmma(const GroupedGemmArgs<bf16>& args, Stream stream) {
  static const int sm_count = current_device().sm_count;
  const int64_t weight_rows = int64_t{args.num_experts} * args.columns * (args.swiglu ? 2 : 1);
  const TensorMap weight_map = make_tensor_map(args.w, weight_rows, args.inner, args.inner, kHalf);
  // Not looked at where rows are gathered: those of x are fewer than pairs then.
  const TensorMap x_map = make_tensor_map(args.x, args.pairs, args.inner, args.inner, kPairs);
  const int64_t tiles = max_expert_tiles(args.pairs, args.num_experts, kPairs) * column_blocks(args, kHalf);
  const unsigned blocks = static_cast<unsigned>(tiles < sm_count ? tiles : sm_count);
  launch(args.pair_of_row ? &gemm_wgmma<true> : &gemm_wgmma<false>, blocks, kThreads, kShared, stream, args, x_map,
         weight_map);
}

}  // namespace ringbench::RINGBENCH_BACKEND
