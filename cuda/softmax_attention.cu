// softmax_attention.cu: causal grouped-query attention over a cache, with windows and sinks: the ladder from `plain` to
// tensor cores (Hopper's rung: softmax_attention_sm90.cu). Prefill walks many queries over the keys, decode spreads the
// keys of one query over the card.
#include "cuda/softmax_attention.h"

#include "cuda/kernels.h"
#include "cuda/vocabulary.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

// One dim of several parts joined, in their order. parts [count], o [count] `stride` apart; at least one has keys.
struct Joined {
  Part part;
  float o;
};
__device__ __forceinline__ Joined join(const Part* parts, const float* o, int64_t stride, int count) {
  Joined all{{kMinusInfinity, 0}, 0};
  for (int i = 0; i < count; ++i) all.part.top = fmaxf(all.part.top, parts[i].top);
#pragma unroll 8
  for (int i = 0; i < count; ++i) {
    const float weight = expf(parts[i].top - all.part.top);
    all.part.sum += weight * parts[i].sum;
    all.o += weight * o[i * stride];
  }
  return all;
}

// --- plain: a warp walks the keys of one query, 32 at a time; both operators ---

constexpr int kPlainWarps = 4, kMaxHeadDim = 256, kOwnDims = kMaxHeadDim / 32;

// o of a warp: lane l holds dims l, l + 32, ...
struct WarpPart {
  Part part{kMinusInfinity, 0};
  float o[kOwnDims] = {};
};

// Adds the keys first .. first + 31, first + step .. first + step + 31, ... below `end`. q [head_dim] is scaled;
// q and weights [32] are the warp's shared memory.
template <class Real>
__device__ void attend(WarpPart& a, const float* q, const Real* k, const Real* v, int head_dim, int64_t first,
                       int64_t end, int step, float* weights) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (; first < end; first += step) {
    const int keys = static_cast<int>(min(int64_t{32}, end - first));
    float score = kMinusInfinity;
    if (lane < keys) {
      score = 0;
      for (int i = 0; i < head_dim; ++i) score += q[i] * to_float(k[(first + lane) * head_dim + i]);
    }
    const float top = fmaxf(a.part.top, warp_max(score));
    const float weight = expf(score - top), shrink = expf(a.part.top - top);
    a.part = {top, shrink * a.part.sum + warp_sum(weight)};
    __syncwarp();  // the last weights have been read
    weights[lane] = weight;
    __syncwarp();
#pragma unroll
    for (int i = 0; i < kOwnDims; ++i) {
      const int dim = i * 32 + lane;
      if (dim >= head_dim) break;
      a.o[i] *= shrink;
      for (int j = 0; j < keys; ++j) a.o[i] += weights[j] * to_float(v[(first + j) * head_dim + dim]);
    }
  }
}

template <class Real> __global__ void __launch_bounds__(kPlainWarps * 32, 4) prefill_plain(SoftmaxPrefillArgs<Real> a) {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32, d = a.head_dim;
  SharedArena arena;
  float* q = arena.take<float>(kPlainWarps * d) + warp * d;
  float* weights = arena.take<float>(kPlainWarps * 32) + warp * 32;
  const int64_t task = int64_t{blockIdx.x} * kPlainWarps + warp, row = task / a.heads;
  const int head = static_cast<int>(task % a.heads);
  if (row >= a.batch.rows) return;

  const Piece piece = a.batch.pieces[a.batch.piece_of_row[row]];
  const Keys keys = visible_keys(piece.position + row - piece.row, a.window);
  const int64_t cache = cache_offset(a, piece.slot, head / (a.heads / a.kv_heads));
  for (int i = lane; i < d; i += 32) q[i] = a.scale * to_float(a.q[row * a.stride + int64_t{head} * d + i]);
  __syncwarp();
  WarpPart all;
  attend(all, q, a.k_cache + cache, a.v_cache + cache, d, keys.begin, keys.end, 32, weights);
  const float factor = normaliser(all.part, a.sinks, head);
#pragma unroll
  for (int i = 0; i < kOwnDims; ++i)
    if (i * 32 + lane < d) store(a.o + (row * a.heads + head) * d + i * 32 + lane, factor * all.o[i]);
}

// A block per (head, sequence): its warps take 32 keys in turn.
template <class Real> __global__ void __launch_bounds__(kPlainWarps * 32, 4) decode_plain(SoftmaxDecodeArgs<Real> a) {
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32, d = a.head_dim;
  const int head = static_cast<int>(blockIdx.x);
  SharedArena arena;
  float* q = arena.take<float>(d);
  float* weights = arena.take<float>(kPlainWarps * 32);
  Part* parts = arena.take<Part>(kPlainWarps);
  float* o = arena.take<float>(kPlainWarps * d);

  const Piece piece = a.batch.pieces[blockIdx.y];
  const Keys keys = visible_keys(piece.position, a.window);
  const int64_t cache = cache_offset(a, piece.slot, head / (a.heads / a.kv_heads));
  for (int i = thread; i < d; i += kPlainWarps * 32)
    q[i] = a.scale * to_float(a.q[piece.row * a.stride + int64_t{head} * d + i]);
  __syncthreads();
  WarpPart mine;
  attend(mine, q, a.k_cache + cache, a.v_cache + cache, d, keys.begin + warp * 32, keys.end, kPlainWarps * 32,
         weights + warp * 32);
  if (lane == 0) parts[warp] = mine.part;
#pragma unroll
  for (int i = 0; i < kOwnDims; ++i)
    if (i * 32 + lane < d) o[warp * d + i * 32 + lane] = mine.o[i];
  __syncthreads();
  for (int i = thread; i < d; i += kPlainWarps * 32) {
    const Joined all = join(parts, o + i, d, kPlainWarps);
    store(a.o + (piece.row * a.heads + head) * d + i, normaliser(all.part, a.sinks, head) * all.o);
  }
}

// --- flash_mma: prefill on tensor cores ---

// Copies `count` rows of D values, `stride` elements apart, to rows of D + 8 (ldmatrix without bank conflicts); rows
// from `valid` on become zeros. By 128 threads.
template <int D, int count>
__device__ __forceinline__ void copy_rows(bf16* to, const bf16* from, int64_t stride, int valid) {
  constexpr int kUnits = D / 8, kRowsAtOnce = 128 / kUnits;
  const int column = static_cast<int>(threadIdx.x) % kUnits * 8, first = static_cast<int>(threadIdx.x) / kUnits;
#pragma unroll
  for (int i = 0; i < count / kRowsAtOnce; ++i) {
    const int row = first + i * kRowsAtOnce;
    const bool inside = row < valid;
    cp_async16(to + row * (D + 8) + column, from + (inside ? row * stride : 0) + column, inside);
  }
}

constexpr int kFlashQueries = 128, kFlashKeys = 64;  // of one block at a time
constexpr size_t flash_shared_bytes(int head_dim) {
  return sizeof(bf16) * static_cast<size_t>((kFlashQueries + 2 * kFlashKeys) * (head_dim + 8));
}

// FlashAttention-2 (arXiv:2307.08691) with mma.m16n8k16: four warps of 32 queries each, scores and output in registers.
// Values are copied while the keys are multiplied and keys while the values are, two blocks share an SM. A key tile is
// read by each warp for 32 queries: 0.31 ldmatrix per mma, where 16 queries would need 0.5 and be bound by it.
// Floor: 4 n d FLOPs per (query, key) at 790 TFLOP/s. Assumes bf16, head_dim 64 or 128, 16-byte rows.
template <int D> __global__ void __launch_bounds__(128, 2) prefill_flash_mma(SoftmaxPrefillArgs<bf16> a) {
  constexpr int kRow = D + 8;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int head = static_cast<int>(blockIdx.x);  // blocks of one key/value head follow each other: L2 serves them
  const Piece piece = a.batch.pieces[blockIdx.z];
  const int64_t first = static_cast<int64_t>(gridDim.y - 1 - blockIdx.y) * kFlashQueries;  // longest first
  if (first >= piece.rows) return;
  const int queries = static_cast<int>(min(int64_t{kFlashQueries}, piece.rows - first));
  const int64_t position = piece.position + first;
  const int64_t begin = visible_keys(position, a.window).begin / kFlashKeys * kFlashKeys;

  SharedArena arena;
  bf16* q = arena.take<bf16>(kFlashQueries * kRow);
  bf16* k = arena.take<bf16>(kFlashKeys * kRow);
  bf16* v = arena.take<bf16>(kFlashKeys * kRow);
  const int64_t from = cache_offset(a, piece.slot, head / (a.heads / a.kv_heads)) + begin * D;
  const bf16 *next_k = a.k_cache + from, *next_v = a.v_cache + from;
  int ahead = static_cast<int>(begin - position);  // of the first key of a tile to the first query
  copy_rows<D, kFlashQueries>(q, a.q + (piece.row + first) * a.stride + int64_t{head} * D, a.stride, queries);
  copy_rows<D, kFlashKeys>(k, next_k, D, queries - ahead);
  cp_async_commit();

  // Fragments of mma: this lane has rows row, row + 8, row + 16, row + 24 and columns column, column + 1 of each 8.
  const int row = warp * 32 + lane / 4, column = lane % 4 * 2;
  const float scale = a.scale * kLog2e;  // powers of 2: one multiplication less per score
  float o[2][D / 8][4] = {};
  float top[2][2], sum[2][2] = {};  // of unscaled scores; sums of this lane's columns
  for (auto& pair : top) pair[0] = pair[1] = kMinusInfinity;

  for (; ahead < queries; ahead += kFlashKeys) {
    cp_async_wait<0>();
    __syncthreads();  // these keys are there, and everybody is done with the last values
    copy_rows<D, kFlashKeys>(v, next_v, D, queries - ahead);
    cp_async_commit();
    next_k += kFlashKeys * D;
    next_v += kFlashKeys * D;

    float scores[2][kFlashKeys / 8][4] = {};
#pragma unroll 4  // all 8 at once would need more than 255 registers
    for (int step = 0; step < D / 16; ++step) {
      uint32_t rows[2][4], keys[4];
#pragma unroll
      for (int m = 0; m < 2; ++m)
        ldmatrix_x4(rows[m], q + (warp * 32 + m * 16 + lane % 16) * kRow + step * 16 + lane / 16 * 8);
#pragma unroll
      for (int n = 0; n < kFlashKeys / 16; ++n) {
        ldmatrix_x4(keys, k + (n * 16 + lane / 16 * 8 + lane % 8) * kRow + step * 16 + lane / 8 % 2 * 8);
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          mma_m16n8k16(scores[m][2 * n], rows[m], {keys[0], keys[1]});
          mma_m16n8k16(scores[m][2 * n + 1], rows[m], {keys[2], keys[3]});
        }
      }
    }

    cp_async_wait<0>();
    __syncthreads();  // the values are there, and everybody is done with the keys
    if (ahead + kFlashKeys < queries) copy_rows<D, kFlashKeys>(k, next_k, D, queries - ahead - kFlashKeys);
    cp_async_commit();

    // Only tiles on the diagonal and at the window's edge have keys that some query does not see.
    const int window = static_cast<int>(a.window > 0 ? min(a.window, int64_t{kNoWindow}) : kNoWindow);
    if (ahead + kFlashKeys > 1 || ahead + window < queries) {
#pragma unroll
      for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int last = row + m * 16 + half * 8 - ahead - column;  // key of the tile the query sees, less column
#pragma unroll
          for (int n = 0; n < kFlashKeys / 8; ++n)
#pragma unroll
            for (int e = 0; e < 2; ++e)
              if (n * 8 + e > last || n * 8 + e <= last - window) scores[m][n][2 * half + e] = kMinusInfinity;
        }
    }
#pragma unroll
    for (int m = 0; m < 2; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float highest = top[m][half];
#pragma unroll
        for (int n = 0; n < kFlashKeys / 8; ++n)
          highest = fmaxf(highest, fmaxf(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
        highest = fmaxf(highest, __shfl_xor_sync(~0u, highest, 1));
        highest = fmaxf(highest, __shfl_xor_sync(~0u, highest, 2));
        const float base = highest == kMinusInfinity ? 0 : highest * scale;  // no key seen yet: all weights 0
        const float shrink = fast_exp2(top[m][half] * scale - base);
        top[m][half] = highest;
        sum[m][half] *= shrink;
#pragma unroll
        for (int n = 0; n < kFlashKeys / 8; ++n)
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; ++e) {
            scores[m][n][e] = fast_exp2(fmaf(scores[m][n][e], scale, -base));
            sum[m][half] += scores[m][n][e];
          }
#pragma unroll
        for (int n = 0; n < D / 8; ++n) {
          o[m][n][2 * half] *= shrink;
          o[m][n][2 * half + 1] *= shrink;
        }
      }

#pragma unroll
    for (int step = 0; step < kFlashKeys / 16; ++step) {
      uint32_t weights[2][4], values[4];
#pragma unroll
      for (int m = 0; m < 2; ++m)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          weights[m][i] =
              pack_bf16x2(scores[m][2 * step + i / 2][i % 2 * 2], scores[m][2 * step + i / 2][i % 2 * 2 + 1]);
#pragma unroll
      for (int n = 0; n < D / 16; ++n) {
        ldmatrix_x4_trans(values, v + (step * 16 + lane % 16) * kRow + n * 16 + lane / 16 * 8);
#pragma unroll
        for (int m = 0; m < 2; ++m) {
          mma_m16n8k16(o[m][2 * n], weights[m], {values[0], values[1]});
          mma_m16n8k16(o[m][2 * n + 1], weights[m], {values[2], values[3]});
        }
      }
    }
  }
  cp_async_wait<0>();

#pragma unroll
  for (int m = 0; m < 2; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      Part part{top[m][half] * a.scale, sum[m][half]};
      part.sum += __shfl_xor_sync(~0u, part.sum, 1);
      part.sum += __shfl_xor_sync(~0u, part.sum, 2);
      const int query = row + m * 16 + half * 8;
      if (query >= queries) continue;
      const float factor = normaliser(part, a.sinks, head);
      bf16* out = a.o + ((piece.row + first + query) * a.heads + head) * D + column;
#pragma unroll
      for (int n = 0; n < D / 8; ++n)
        *reinterpret_cast<uint32_t*>(out + n * 8) =
            pack_bf16x2(factor * o[m][n][2 * half], factor * o[m][n][2 * half + 1]);
    }
}

// --- decode over split keys ---

// The keys of a query are cut into splits; each leaves a part, and decode_combine joins them in order. Where the cuts
// are depends on the number of keys and on the model alone, never on the batch: a sequence's bits do not change with
// its neighbours. How many blocks share the splits depends on the batch, so that batch 1 fills the card and batch 256
// does not launch blocks without work.
constexpr int kSmallestSplit = 256;    // keys: a part's o is 3 % of what was read for it (d = 128, group 4)
constexpr int kSplitsInAll = 2 * 132;  // of one sequence, over its key/value heads: two for each SM of an H200
constexpr int kBlocksInAll = 8 * 132;  // of a pass: enough to even out sequences of different lengths
constexpr int kSplitThreads = 128;

struct Splits {
  int64_t size;  // keys of each but the last
  int count;
};
__device__ __forceinline__ Splits split(Keys keys, int most) {
  const int64_t n = keys.end - keys.begin;
  const int64_t size = max(int64_t{kSmallestSplit}, ((n + most - 1) / most + 63) / 64 * 64);
  return {size, static_cast<int>((n + size - 1) / size)};
}

// Workspace: what the splits leave.
struct SplitParts {
  Part* parts;  // [count, n, most]
  float* o;     // [count, n, most, d]
  int most;     // splits of a sequence

  __device__ int64_t at(int64_t sequence, int64_t heads, int64_t head, int64_t split) const {
    return (sequence * heads + head) * most + split;
  }
};
template <class Real> int most_splits(const SoftmaxDecodeArgs<Real>& a) {
  const int64_t keys = a.window > 0 ? std::min(a.window, a.batch.deepest) : a.batch.deepest;
  const int64_t most = (kSplitsInAll + a.kv_heads - 1) / a.kv_heads;
  return static_cast<int>(std::min(most, (keys + kSmallestSplit - 1) / kSmallestSplit));
}
template <class Real> SplitParts split_parts(const SoftmaxDecodeArgs<Real>& a) {
  const int most = most_splits(a);
  Part* parts = static_cast<Part*>(a.workspace);
  return {parts, reinterpret_cast<float*>(parts + int64_t{a.batch.count} * a.heads * most), most};
}
unsigned split_blocks(const SplitParts& parts, int count, int heads) {
  const int wanted = (kBlocksInAll + count * heads - 1) / (count * heads);
  return static_cast<unsigned>(std::min(parts.most, wanted));
}

// A block per (head, sequence): joins the splits.
template <class Real>
__global__ void __launch_bounds__(kSplitThreads) decode_combine(SoftmaxDecodeArgs<Real> a, SplitParts splits) {
  const int head = static_cast<int>(blockIdx.x);
  const Piece piece = a.batch.pieces[blockIdx.y];
  const int count = split(visible_keys(piece.position, a.window), splits.most).count;
  const int64_t at = splits.at(blockIdx.y, a.heads, head, 0);
  SharedArena arena;
  Part* parts = arena.take<Part>(splits.most);
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kSplitThreads) parts[i] = splits.parts[at + i];
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < a.head_dim; i += kSplitThreads) {
    const Joined all = join(parts, splits.o + at * a.head_dim + i, a.head_dim, count);
    store(a.o + (piece.row * a.heads + head) * a.head_dim + i, normaliser(all.part, a.sinks, head) * all.o);
  }
}
template <class Real> void combine(const SoftmaxDecodeArgs<Real>& a, const SplitParts& splits, const Stream& stream) {
  const size_t shared_bytes = sizeof(Part) * static_cast<size_t>(splits.most);
  launch(decode_combine<Real>, dim3(static_cast<unsigned>(a.heads), static_cast<unsigned>(a.batch.count)),
         dim3(kSplitThreads), shared_bytes, stream, a, splits);
}

__device__ __forceinline__ void unpack(float (&x)[4], uint4 bits) {
  x[0] = __uint_as_float(bits.x), x[1] = __uint_as_float(bits.y);
  x[2] = __uint_as_float(bits.z), x[3] = __uint_as_float(bits.w);
}
__device__ __forceinline__ void unpack(float (&x)[8], uint4 bits) {
  const uint32_t pairs[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 pair = unpack_bf16x2(pairs[i]);
    x[2 * i] = pair.x, x[2 * i + 1] = pair.y;
  }
}

// split_kv: a block per (query head, some of the splits, sequence). Eight lanes share a key, 16 bytes each at a time,
// and every eight lanes keep a softmax of their own: no barrier among the keys, 32 KB of loads in flight per block.
// The heads of a group read the same keys, at the same time: L2 serves all but the first. Floor: the cache's bytes at
// 4.3 TB/s. Assumes rows of 128, 256 or 512 bytes: `Vectors` times 16 bytes a lane.
template <class Real, int Vectors>
__global__ void __launch_bounds__(kSplitThreads) decode_split_kv(SoftmaxDecodeArgs<Real> a, SplitParts splits) {
  constexpr int kWidth = 16 / sizeof(Real), d = 8 * Vectors * kWidth;
  constexpr int kGroups = kSplitThreads / 8, kUnroll = 8 / Vectors;  // keys of eight lanes at once
  const int thread = static_cast<int>(threadIdx.x), group = thread / 8, lane = thread % 8;
  const int head = static_cast<int>(blockIdx.x);
  SharedArena arena;
  Part* parts = arena.take<Part>(kGroups);
  float* parts_o = arena.take<float>(kGroups * d);

  const Piece piece = a.batch.pieces[blockIdx.z];
  const Keys keys = visible_keys(piece.position, a.window);
  const Splits cut = split(keys, splits.most);
  const int64_t cache = cache_offset(a, piece.slot, head / (a.heads / a.kv_heads));
  // This lane's dims: kWidth at lane * kWidth, at (8 + lane) * kWidth, ...
  const Real *k_cache = a.k_cache + cache + lane * kWidth, *v_cache = a.v_cache + cache + lane * kWidth;
  float q[Vectors][kWidth];
#pragma unroll
  for (int i = 0; i < Vectors; ++i)
#pragma unroll
    for (int j = 0; j < kWidth; ++j)
      q[i][j] = a.scale * to_float(a.q[piece.row * a.stride + int64_t{head} * d + (i * 8 + lane) * kWidth + j]);

  for (int s = static_cast<int>(blockIdx.y); s < cut.count; s += static_cast<int>(gridDim.y)) {
    const int64_t begin = keys.begin + s * cut.size, end = min(begin + cut.size, keys.end);
    Part part{kMinusInfinity, 0};
    float o[Vectors][kWidth] = {};
    for (int64_t first = begin; first < end; first += kGroups * kUnroll) {
      uint4 k[kUnroll][Vectors], v[kUnroll][Vectors];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        const int64_t key = min(first + u * kGroups + group, end - 1);
#pragma unroll
        for (int i = 0; i < Vectors; ++i) {
          k[u][i] = *reinterpret_cast<const uint4*>(k_cache + key * d + i * 8 * kWidth);
          v[u][i] = *reinterpret_cast<const uint4*>(v_cache + key * d + i * 8 * kWidth);
        }
      }
      float scores[kUnroll], top = part.top;
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        float score = 0;
#pragma unroll
        for (int i = 0; i < Vectors; ++i) {
          float x[kWidth];
          unpack(x, k[u][i]);
#pragma unroll
          for (int j = 0; j < kWidth; ++j) score += q[i][j] * x[j];
        }
        for (int bit = 1; bit < 8; bit *= 2) score += __shfl_xor_sync(~0u, score, bit);
        scores[u] = first + u * kGroups + group < end ? score : kMinusInfinity;
        top = fmaxf(top, scores[u]);
      }
      if (top == kMinusInfinity) continue;  // no key for these eight lanes
      const float shrink = expf(part.top - top);
      part = {top, part.sum * shrink};
#pragma unroll
      for (auto& vector : o)
        for (float& x : vector) x *= shrink;
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        const float weight = expf(scores[u] - top);
        part.sum += weight;
#pragma unroll
        for (int i = 0; i < Vectors; ++i) {
          float x[kWidth];
          unpack(x, v[u][i]);
#pragma unroll
          for (int j = 0; j < kWidth; ++j) o[i][j] += weight * x[j];
        }
      }
    }
    if (lane == 0) parts[group] = part;
#pragma unroll
    for (int i = 0; i < Vectors; ++i)
#pragma unroll
      for (int j = 0; j < kWidth; ++j) parts_o[group * d + (i * 8 + lane) * kWidth + j] = o[i][j];
    __syncthreads();
    const int64_t at = splits.at(blockIdx.z, a.heads, head, s);
    for (int i = thread; i < d; i += kSplitThreads) {
      const Joined all = join(parts, parts_o + i, d, kGroups);
      if (i == 0) splits.parts[at] = all.part;
      splits.o[at * d + i] = all.o;
    }
    __syncthreads();  // the next split's parts go to the same place
  }
}

// split_kv_mma: a block per (key/value head, some of the splits, sequence): the group's query heads are the rows of one
// mma operand (8 of 16 used: tensor cores are 7 % busy at full bandwidth), so that every key is read once for all of
// them. Each warp copies its own 16 keys at a time into a ring of its own: no barrier among warps, 128 KB of copies in
// flight on an H200's SM with two blocks. Floor as split_kv. Assumes bf16, head_dim 64 or 128, group <= 8.
constexpr int kRingKeys = 16, kRingStages = 3, kRingWarps = kSplitThreads / 32;
constexpr size_t ring_shared_bytes(int head_dim) {
  return sizeof(bf16) * static_cast<size_t>(kRingWarps * kRingStages * 2 * kRingKeys * (head_dim + 8)) +
         sizeof(Part) * kRingWarps * 8;
}

template <int D>
__global__ void __launch_bounds__(kSplitThreads) decode_split_kv_mma(SoftmaxDecodeArgs<bf16> a, SplitParts splits) {
  constexpr int kRow = D + 8, kTile = kRingKeys * kRow;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int row = lane / 4, column = lane % 4 * 2;  // of fragments; a row is a query head of the group
  const int kv_head = static_cast<int>(blockIdx.x), group = a.heads / a.kv_heads;
  SharedArena arena;
  bf16* rings = arena.take<bf16>(kRingWarps * kRingStages * 2 * kTile);
  Part* parts = arena.take<Part>(8 * kRingWarps);  // [row, warp]
  bf16* ring = rings + warp * kRingStages * 2 * kTile;
  float* ring_o = reinterpret_cast<float*>(ring);  // [8, D]; after the keys, in their place

  const Piece piece = a.batch.pieces[blockIdx.z];
  const Keys keys = visible_keys(piece.position, a.window);
  const Splits cut = split(keys, splits.most);
  const int64_t cache = cache_offset(a, piece.slot, kv_head);
  const bf16 *k_cache = a.k_cache + cache, *v_cache = a.v_cache + cache;
  const float scale = a.scale * kLog2e;

  uint32_t q[D / 16][2] = {};  // columns column and column + 8 of each 16
  if (row < group) {
    const bf16* from = a.q + piece.row * a.stride + (int64_t{kv_head} * group + row) * D + column;
#pragma unroll
    for (int step = 0; step < D / 16; ++step)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        q[step][half] = *reinterpret_cast<const uint32_t*>(from + step * 16 + half * 8);
  }

  for (int s = static_cast<int>(blockIdx.y); s < cut.count; s += static_cast<int>(gridDim.y)) {
    const int64_t begin = keys.begin + s * cut.size, end = min(begin + cut.size, keys.end);
    const int64_t tiles = (end - begin + kRingKeys - 1) / kRingKeys;  // this warp's: warp, warp + kRingWarps, ...
    // Copies 16 keys and values into a stage of the ring; beyond the last tile an empty group keeps the count.
    const auto copy = [&](int64_t tile, int stage) {
      if (tile < tiles) {
        bf16* to = ring + stage * 2 * kTile;
#pragma unroll
        for (int i = 0; i < kRingKeys * D / 8 / 32; ++i) {
          const int unit = i * 32 + lane, r = unit / (D / 8), c = unit % (D / 8) * 8;
          const int64_t key = begin + tile * kRingKeys + r;
          const int64_t from = min(key, end - 1) * D + c;
          cp_async16(to + r * kRow + c, k_cache + from, key < end);
          cp_async16(to + kTile + r * kRow + c, v_cache + from, key < end);
        }
      }
      cp_async_commit();
    };
    float o[D / 8][4] = {}, top = kMinusInfinity, sum = 0;  // sum: of this lane's columns
#pragma unroll
    for (int i = 0; i < kRingStages - 1; ++i) copy(warp + i * kRingWarps, i);
    int stage = 0;
    for (int64_t tile = warp; tile < tiles; tile += kRingWarps) {
      cp_async_wait<kRingStages - 2>();
      __syncwarp();  // this tile is there, and all lanes are done with the one before
      copy(tile + (kRingStages - 1) * kRingWarps, stage == 0 ? kRingStages - 1 : stage - 1);
      const bf16 *k = ring + stage * 2 * kTile, *v = k + kTile;
      stage = stage == kRingStages - 1 ? 0 : stage + 1;

      float scores[2][4] = {};
#pragma unroll
      for (int step = 0; step < D / 16; ++step) {
        uint32_t b[4];
        ldmatrix_x4(b, k + (lane / 16 * 8 + lane % 8) * kRow + step * 16 + lane / 8 % 2 * 8);
        mma_m16n8k16(scores[0], {q[step][0], 0, q[step][1], 0}, {b[0], b[1]});
        mma_m16n8k16(scores[1], {q[step][0], 0, q[step][1], 0}, {b[2], b[3]});
      }
      float highest = top;
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          if (begin + tile * kRingKeys + n * 8 + column + e >= end) scores[n][e] = kMinusInfinity;
          highest = fmaxf(highest, scores[n][e]);
        }
      highest = fmaxf(highest, __shfl_xor_sync(~0u, highest, 1));
      highest = fmaxf(highest, __shfl_xor_sync(~0u, highest, 2));
      const float base = highest * scale, shrink = fast_exp2(top * scale - base);
      top = highest;
      sum *= shrink;
#pragma unroll
      for (int n = 0; n < 2; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          scores[n][e] = fast_exp2(fmaf(scores[n][e], scale, -base));
          sum += scores[n][e];
        }
#pragma unroll
      for (auto& n : o) n[0] *= shrink, n[1] *= shrink;
      const uint32_t weights[4] = {pack_bf16x2(scores[0][0], scores[0][1]), 0, pack_bf16x2(scores[1][0], scores[1][1]),
                                   0};
#pragma unroll
      for (int n = 0; n < D / 16; ++n) {
        uint32_t b[4];
        ldmatrix_x4_trans(b, v + (lane % 16) * kRow + n * 16 + lane / 16 * 8);
        mma_m16n8k16(o[2 * n], weights, {b[0], b[1]});
        mma_m16n8k16(o[2 * n + 1], weights, {b[2], b[3]});
      }
    }
    cp_async_wait<0>();
    __syncwarp();  // the ring is free

    sum += __shfl_xor_sync(~0u, sum, 1);
    sum += __shfl_xor_sync(~0u, sum, 2);
    if (column == 0) parts[row * kRingWarps + warp] = {top * a.scale, sum};
#pragma unroll
    for (int n = 0; n < D / 8; ++n) *reinterpret_cast<float2*>(ring_o + row * D + n * 8 + column) = {o[n][0], o[n][1]};
    __syncthreads();
    for (int i = thread; i < group * D; i += kSplitThreads) {
      const int64_t at = splits.at(blockIdx.z, a.heads, int64_t{kv_head} * group + i / D, s);
      constexpr int64_t kStride = kRingStages * 2 * kTile * sizeof(bf16) / sizeof(float);  // from ring to ring
      const Joined all = join(parts + i / D * kRingWarps, reinterpret_cast<float*>(rings) + i, kStride, kRingWarps);
      if (i % D == 0) splits.parts[at] = all.part;
      splits.o[at * D + i % D] = all.o;
    }
    __syncthreads();  // the next split's keys go to the same place
  }
}

template <class Real, int Vectors>
void launch_split_kv(const SoftmaxDecodeArgs<Real>& a, const SplitParts& splits, const Stream& stream) {
  constexpr int kGroups = kSplitThreads / 8;
  const size_t shared_bytes = kGroups * (sizeof(Part) + sizeof(float) * static_cast<size_t>(a.head_dim));
  const dim3 grid(static_cast<unsigned>(a.heads), split_blocks(splits, a.batch.count, a.heads),
                  static_cast<unsigned>(a.batch.count));
  launch(decode_split_kv<Real, Vectors>, grid, dim3(kSplitThreads), shared_bytes, stream, a, splits);
}

template <int D>
void launch_split_kv_mma(const SoftmaxDecodeArgs<bf16>& a, const SplitParts& splits, const Stream& stream) {
  const dim3 grid(static_cast<unsigned>(a.kv_heads), split_blocks(splits, a.batch.count, a.kv_heads),
                  static_cast<unsigned>(a.batch.count));
  launch(decode_split_kv_mma<D>, grid, dim3(kSplitThreads), ring_shared_bytes(D), stream, a, splits);
}

template <int D> void launch_flash_mma(const SoftmaxPrefillArgs<bf16>& a, const Stream& stream) {
  const int64_t tiles = (a.batch.longest + kFlashQueries - 1) / kFlashQueries;
  const dim3 grid(static_cast<unsigned>(a.heads), static_cast<unsigned>(tiles), static_cast<unsigned>(a.batch.count));
  launch(prefill_flash_mma<D>, grid, dim3(128), flash_shared_bytes(D), stream, a);
}

}  // namespace

template <class Real> void softmax_prefill_plain(const SoftmaxPrefillArgs<Real>& a, Stream stream) {
  const int64_t blocks = (a.batch.rows * a.heads + kPlainWarps - 1) / kPlainWarps;
  const size_t shared_bytes = sizeof(float) * static_cast<size_t>(kPlainWarps * (a.head_dim + 32)) + 128;
  launch(prefill_plain<Real>, dim3(static_cast<unsigned>(blocks)), dim3(kPlainWarps * 32), shared_bytes, stream, a);
}

void softmax_prefill_flash_mma(const SoftmaxPrefillArgs<bf16>& a, Stream stream) {
  if (a.head_dim == 64) return launch_flash_mma<64>(a, stream);
  launch_flash_mma<128>(a, stream);
}

template <class Real> void softmax_decode_plain(const SoftmaxDecodeArgs<Real>& a, Stream stream) {
  const size_t shared_bytes =
      sizeof(float) * static_cast<size_t>((kPlainWarps + 1) * a.head_dim + kPlainWarps * 32) + 4 * 128;
  launch(decode_plain<Real>, dim3(static_cast<unsigned>(a.heads), static_cast<unsigned>(a.batch.count)),
         dim3(kPlainWarps * 32), shared_bytes, stream, a);
}

template <class Real> int64_t softmax_decode_split_workspace(const SoftmaxDecodeArgs<Real>& a, const Device&) {
  return int64_t{a.batch.count} * a.heads * most_splits(a) *
         static_cast<int64_t>(sizeof(Part) + sizeof(float) * static_cast<size_t>(a.head_dim));
}

template <class Real> void softmax_decode_split_kv(const SoftmaxDecodeArgs<Real>& a, Stream stream) {
  const SplitParts splits = split_parts(a);
  const int vectors = a.head_dim * static_cast<int>(sizeof(Real)) / 128;
  if (vectors == 1) launch_split_kv<Real, 1>(a, splits, stream);
  if (vectors == 2) launch_split_kv<Real, 2>(a, splits, stream);
  if (vectors == 4) launch_split_kv<Real, 4>(a, splits, stream);
  combine(a, splits, stream);
}

void softmax_decode_split_kv_mma(const SoftmaxDecodeArgs<bf16>& a, Stream stream) {
  const SplitParts splits = split_parts(a);
  if (a.head_dim == 64) launch_split_kv_mma<64>(a, splits, stream);
  if (a.head_dim == 128) launch_split_kv_mma<128>(a, splits, stream);
  combine(a, splits, stream);
}

template void softmax_prefill_plain(const SoftmaxPrefillArgs<float>&, Stream);
template void softmax_prefill_plain(const SoftmaxPrefillArgs<bf16>&, Stream);
template void softmax_decode_plain(const SoftmaxDecodeArgs<float>&, Stream);
template void softmax_decode_plain(const SoftmaxDecodeArgs<bf16>&, Stream);
template int64_t softmax_decode_split_workspace(const SoftmaxDecodeArgs<float>&, const Device&);
template int64_t softmax_decode_split_workspace(const SoftmaxDecodeArgs<bf16>&, const Device&);
template void softmax_decode_split_kv(const SoftmaxDecodeArgs<float>&, Stream);
template void softmax_decode_split_kv(const SoftmaxDecodeArgs<bf16>&, Stream);

}  // namespace ringbench::RINGBENCH_BACKEND
