// softmax_attention_sm90.cu: Hopper's rung of softmax attention prefill: TMA and wgmma.
#include "cuda/hopper.h"
#include "cuda/kernels.h"
#include "cuda/softmax_attention.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

constexpr int kQueries = 128, kKeys = 128;  // of one block at a time
constexpr int kStages = 2;                  // of keys, and of values
constexpr int kConsumers = 256;             // two warpgroups of 64 queries each
// A third warpgroup, of which one thread works: registers are moved between warpgroups only. 3 * 168 in all.
constexpr int kThreads = kConsumers + 128, kConsumerRegisters = 240, kProducerRegisters = 24;
constexpr int kPanel = 64;  // columns: 128 bytes, what a swizzled row holds

constexpr size_t wgmma_shared_bytes(int head_dim) {
  return sizeof(bf16) * static_cast<size_t>((kQueries + 2 * kStages * kKeys) * head_dim) + 5 * 128;
}

// A thread's part of the softmax of 64 queries: of rows `row` and row + 8 of the tile, top and sum so far (sum: of its
// own columns).
struct RowPair {
  float top[2] = {kMinusInfinity, kMinusInfinity}, sum[2] = {};
};

// Where the scores of a tile of keys stand relative to what the thread's rows see.
struct TileMask {
  bool needed;  // only on the diagonal and at the window's edge
  int ahead;    // position of the tile's first key less that of the thread's first row
  int window;   // a row sees the keys 0 .. window - 1 before it
};

// From scores to weights exp2(scale (score - top)), in their place; what o is then to be multiplied by goes to shrink.
__device__ __forceinline__ void softmax(float (&scores)[kKeys / 2], RowPair& rows, float (&shrink)[2], float scale,
                                        const TileMask& mask) {
  const int column = static_cast<int>(threadIdx.x) % 4 * 2;
  if (mask.needed) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int last = half * 8 - mask.ahead - column;  // key of the tile the row sees, less column
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          if (n * 8 + e > last || n * 8 + e <= last - mask.window) scores[n * 4 + half * 2 + e] = kMinusInfinity;
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float highest = rows.top[half];
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n)
      highest = fmaxf(highest, fmaxf(scores[n * 4 + half * 2], scores[n * 4 + half * 2 + 1]));
    highest = fmaxf(highest, __shfl_xor_sync(~0u, highest, 1));
    highest = fmaxf(highest, __shfl_xor_sync(~0u, highest, 2));
    const float base = highest == kMinusInfinity ? 0 : highest * scale;  // no key seen yet: all weights 0
    shrink[half] = fast_exp2(rows.top[half] * scale - base);
    rows.top[half] = highest;
    rows.sum[half] *= shrink[half];
#pragma unroll
    for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const float weight = fast_exp2(fmaf(scores[n * 4 + half * 2 + e], scale, -base));
        scores[n * 4 + half * 2 + e] = weight;
        rows.sum[half] += weight;
      }
  }
}

// Weights as the first operand of the next product.
__device__ __forceinline__ void pack_weights(uint32_t (&weights)[kKeys / 16][4], const float (&scores)[kKeys / 2]) {
#pragma unroll
  for (int step = 0; step < kKeys / 16; ++step)
#pragma unroll
    for (int i = 0; i < 4; ++i) weights[step][i] = pack_bf16x2(scores[step * 8 + 2 * i], scores[step * 8 + 2 * i + 1]);
}

// flash_wgmma, after FlashAttention-3 (arXiv:2407.08608): one warp asks for tiles (TMA), two warpgroups multiply them.
// Both operands come from shared memory (weights from registers), so tensor cores reach their full rate; a softmax runs
// while the tensor cores multiply the values of the tile before and the other warpgroup's tiles. Floor: 4 n d FLOPs per
// (query, key) at 790 TFLOP/s. Assumes compute capability 9.0, bf16, head_dim 64 or 128, 16-byte rows, and a cache of
// fewer than 2^31 rows.
template <int D>
__global__ void __launch_bounds__(kThreads, 1)
    prefill_flash_wgmma(SoftmaxPrefillArgs<bf16> a, const __grid_constant__ TensorMap q_map,
                        const __grid_constant__ TensorMap k_map, const __grid_constant__ TensorMap v_map) {
  constexpr int kPanels = D / kPanel, kTile = kKeys * D;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int head = static_cast<int>(blockIdx.x);  // blocks of one key/value head follow each other: L2 serves them
  const Piece piece = a.batch.pieces[blockIdx.z];
  const int64_t first = static_cast<int64_t>(gridDim.y - 1 - blockIdx.y) * kQueries;  // longest first
  if (first >= piece.rows) return;
  const int queries = static_cast<int>(min(int64_t{kQueries}, piece.rows - first));
  const int64_t position = piece.position + first, end = position + queries;
  const int64_t begin = visible_keys(position, a.window).begin / kKeys * kKeys;
  const int tiles = static_cast<int>((end - begin + kKeys - 1) / kKeys);

  SharedArena arena;
  bf16* q = arena.take<bf16>(kQueries * D, 1024);     // [warpgroup, panel, 64, 64]
  bf16* k = arena.take<bf16>(kStages * kTile, 1024);  // [stage, panel, 128, 64]
  bf16* v = arena.take<bf16>(kStages * kTile, 1024);
  uint64_t* q_full = arena.take<uint64_t>(1);
  uint64_t* k_full = arena.take<uint64_t>(kStages);
  uint64_t* v_full = arena.take<uint64_t>(kStages);
  uint64_t* k_empty = arena.take<uint64_t>(kStages);
  uint64_t* v_empty = arena.take<uint64_t>(kStages);
  if (threadIdx.x == 0) {
    mbarrier_init(q_full, 1);
    for (int s = 0; s < kStages; ++s) {
      mbarrier_init(k_full + s, 1);
      mbarrier_init(v_full + s, 1);
      mbarrier_init(k_empty + s, kConsumers / 32);  // a lane of each warp
      mbarrier_init(v_empty + s, kConsumers / 32);
    }
    fence_mbarrier_init();
  }
  __syncthreads();

  if (warp >= kConsumers / 32) {
    register_decrease<kProducerRegisters>();
    if (threadIdx.x != kConsumers) return;
    mbarrier_arrive_expect_tx(q_full, kQueries * D * static_cast<int>(sizeof(bf16)));
    for (int i = 0; i < 2 * kPanels; ++i)
      tma_load_2d(q + i * 64 * kPanel, &q_map, head * D + i % kPanels * kPanel,
                  static_cast<int>(piece.row + first) + i / kPanels * 64, q_full);
    const int64_t row = (int64_t{piece.slot} * a.kv_heads + head / (a.heads / a.kv_heads)) * a.max_tokens + begin;
    const auto load = [&](bf16* to, const TensorMap& map, int tile, uint64_t* full, uint64_t* empty) {
      const int stage = tile % kStages, round = tile / kStages;
      if (round > 0) mbarrier_wait(empty + stage, (round - 1) % 2);
      mbarrier_arrive_expect_tx(full + stage, kTile * static_cast<int>(sizeof(bf16)));
      for (int i = 0; i < kPanels; ++i)
        tma_load_2d(to + stage * kTile + i * kKeys * kPanel, &map, i * kPanel,
                    static_cast<int>(row + int64_t{tile} * kKeys), full + stage);
    };
    for (int tile = 0; tile < tiles; ++tile) {
      load(k, k_map, tile, k_full, k_empty);
      load(v, v_map, tile, v_full, v_empty);
    }
    return;
  }

  register_increase<kConsumerRegisters>();
  // Fragments of wgmma: this thread has rows row and row + 8 of the block's queries, columns column + e of each 8.
  const int warpgroup = warp / 4, row = warp * 16 + lane / 4, column = lane % 4 * 2;
  const float scale = a.scale * kLog2e;  // powers of 2: one multiplication less per score
  float scores[kKeys / 2], o[D / 2];
  float shrink[2];
  RowPair rows;
  uint32_t weights[kKeys / 16][4];
#pragma unroll
  for (float& x : scores) x = 0;  // the first product overwrites them: but nvcc keeps them in registers only so
#pragma unroll
  for (float& x : o) x = 0;

  // scores = q k^T, in a group of its own; not waited for.
  const auto multiply_keys = [&](int tile) {
    wgmma_fence();
    const auto queries_tile = wgmma_tile_k_major(q + warpgroup * 64 * D, 64);
    const auto keys_tile = wgmma_tile_k_major(k + tile % kStages * kTile, kKeys);
#pragma unroll
    for (int step = 0; step < D / 16; ++step)
      wgmma_m64k16(scores, queries_tile.at_k(step * 16), keys_tile.at_k(step * 16), step > 0);
    wgmma_commit();
  };
  // o += weights v, likewise.
  const auto multiply_values = [&](int tile) {
    wgmma_fence();
    const auto values_tile = wgmma_tile_mn_major(v + tile % kStages * kTile, kKeys);
#pragma unroll
    for (int step = 0; step < kKeys / 16; ++step) wgmma_m64k16(o, weights[step], values_tile.at_k(step * 16));
    wgmma_commit();
  };
  const auto release = [&](uint64_t* empty, int tile) {
    __syncwarp();
    if (lane == 0) mbarrier_arrive(empty + tile % kStages);
  };
  const auto mask_of = [&](int tile) -> TileMask {
    const int64_t key = begin + int64_t{tile} * kKeys;
    return {key + kKeys - 1 > position || (a.window > 0 && key < end - a.window),
            static_cast<int>(key - position) - row,
            static_cast<int>(a.window > 0 ? min(a.window, int64_t{kNoWindow}) : kNoWindow)};
  };

  mbarrier_wait(q_full, 0);
  mbarrier_wait(k_full, 0);
  multiply_keys(0);
  wgmma_wait<0>(scores);
  release(k_empty, 0);
  softmax(scores, rows, shrink, scale, mask_of(0));
  pack_weights(weights, scores);
  for (int tile = 1; tile < tiles; ++tile) {
    mbarrier_wait(k_full + tile % kStages, tile / kStages % 2);
    multiply_keys(tile);
    mbarrier_wait(v_full + (tile - 1) % kStages, (tile - 1) / kStages % 2);
    multiply_values(tile - 1);
    wgmma_wait<1>(scores);
    release(k_empty, tile);
    softmax(scores, rows, shrink, scale, mask_of(tile));  // while the values are multiplied
    wgmma_wait<0>(o);
    release(v_empty, tile - 1);
#pragma unroll
    for (int i = 0; i < D / 2; ++i) o[i] *= shrink[i % 4 / 2];
    pack_weights(weights, scores);
  }
  const int last = tiles - 1;
  mbarrier_wait(v_full + last % kStages, last / kStages % 2);
  // Beyond the sequence's end the cache may hold anything, and 0 times NaN is NaN: these values become zeros.
  const int inside = static_cast<int>(end - begin) - last * kKeys;
  if (inside < kKeys) {
    for (int i = static_cast<int>(threadIdx.x); i < (kKeys - inside) * D / 8; i += kConsumers) {
      const int unit = i % (kPanel / 8), panel = i / (kPanel / 8) % kPanels, r = inside + i / (D / 8);
      bf16* to = v + last % kStages * kTile + (panel * kKeys + r) * kPanel + unit * 8;  // whole rows: swizzled or not
      *reinterpret_cast<uint4*>(to) = uint4{0, 0, 0, 0};
    }
    fence_proxy_async();
    barrier_sync(1, kConsumers);
  }
  multiply_values(last);
  wgmma_wait<0>(o);

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    Part part{rows.top[half] * a.scale, rows.sum[half]};
    part.sum += __shfl_xor_sync(~0u, part.sum, 1);
    part.sum += __shfl_xor_sync(~0u, part.sum, 2);
    const int query = row + half * 8;
    if (query >= queries) continue;
    const float factor = normaliser(part, a.sinks, head);
    bf16* out = a.o + ((piece.row + first + query) * a.heads + head) * D + column;
#pragma unroll
    for (int n = 0; n < D / 8; ++n)
      *reinterpret_cast<uint32_t*>(out + n * 8) =
          pack_bf16x2(factor * o[n * 4 + half * 2], factor * o[n * 4 + half * 2 + 1]);
  }
}

template <int D> void launch_flash_wgmma(const SoftmaxPrefillArgs<bf16>& a, const Stream& stream) {
  const int64_t cache_rows = int64_t{a.slots} * a.kv_heads * a.max_tokens;
  const TensorMap q_map = make_tensor_map(a.q, a.batch.rows, int64_t{a.heads} * D, a.stride, 64),
                  k_map = make_tensor_map(a.k_cache, cache_rows, D, D, kKeys),
                  v_map = make_tensor_map(a.v_cache, cache_rows, D, D, kKeys);
  const int64_t tiles = (a.batch.longest + kQueries - 1) / kQueries;
  const dim3 grid(static_cast<unsigned>(a.heads), static_cast<unsigned>(tiles), static_cast<unsigned>(a.batch.count));
  launch(prefill_flash_wgmma<D>, grid, dim3(kThreads), wgmma_shared_bytes(D), stream, a, q_map, k_map, v_map);
}

}  // namespace

void softmax_prefill_flash_wgmma(const SoftmaxPrefillArgs<bf16>& a, Stream stream) {
  if (a.head_dim == 64) return launch_flash_wgmma<64>(a, stream);
  launch_flash_wgmma<128>(a, stream);
}

}  // namespace ringbench::RINGBENCH_BACKEND
