// linear_attention.cu: lightning attention, arXiv:2401.04658 and arXiv:2510.19338, prefill and decode. The equations
// are those of reference/lightning_attention.h, here with an initial state; the argument struct is in kernels.h.
//   S_t = lambda S_{t-1} + k_t^T v_t;  o_t = scale q_t S_t;  lambda = exp(log_decay)
// Everywhere: decays of n tokens come from n log_decay, n >= 0; S is float; S decays as S + (lambda^n - 1) S, since
// near 1 a rounded lambda^n is far from lambda^n and a rounded lambda^n - 1 is not.
#include "cuda/kernels.h"
#include "cuda/vectors.h"
#include "cuda/vocabulary.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

constexpr int kChunk = 64;  // tokens a chunk (C in the equations)

// One query head of one piece: where its first row is.
template <class Real> struct Head {
  int rows;
  const Real *q, *k, *v;  // [rows, d], rows a.stride apart
  Real* o;                // [rows, d], rows heads d apart
  float* state;           // [d, d]
  float log_decay;
};
template <class Real>
__device__ __forceinline__ Head<Real> head_of(const LinearAttentionArgs<Real>& a, const Piece& piece, int head) {
  const int d = a.head_dim, kv_head = head / (a.heads / a.kv_heads);
  const int64_t row = piece.row * a.stride;
  return {piece.rows,
          a.q + row + int64_t{head} * d,
          a.k + row + int64_t{kv_head} * d,
          a.v + row + int64_t{kv_head} * d,
          a.o + (piece.row * a.heads + head) * d,
          a.state + (int64_t{piece.slot} * a.heads + head) * d * d,
          a.log_decay[head]};
}

// --- recurrent: the definition ---

// One block per head and piece, one thread per column of S. Any head_dim; serves prefill and decode.
template <class Real> __global__ void recurrent(LinearAttentionArgs<Real> a) {
  const int head = static_cast<int>(blockIdx.x), d = a.head_dim;
  const Head<Real> h = head_of(a, a.batch.pieces[blockIdx.y], head);
  const float forget = -expm1f(h.log_decay);
  for (int column = static_cast<int>(threadIdx.x); column < d; column += static_cast<int>(blockDim.x))
    for (int64_t t = 0; t < h.rows; ++t) {
      const float v = to_float(h.v[t * a.stride + column]);
      float o = 0;
      for (int row = 0; row < d; ++row) {
        float& s = h.state[row * d + column];
        s -= forget * s;
        s += to_float(h.k[t * a.stride + row]) * v;
        o += to_float(h.q[t * a.stride + row]) * s;
      }
      h.o[t * a.heads * d + column] = narrow<Real>(a.scale * o);
    }
}

template <class Real> void run_recurrent(const LinearAttentionArgs<Real>& a, const Stream& stream) {
  launch(recurrent<Real>, dim3(static_cast<unsigned>(a.heads), static_cast<unsigned>(a.batch.count)),
         dim3(static_cast<unsigned>(a.head_dim < 256 ? a.head_dim : 256)), 0, stream, a);
}

// --- chunk: C tokens at a time on CUDA cores ---

// The recurrence touches all of S for every token; here S is touched once a chunk, and the tokens of a chunk meet each
// other directly:
//   O_i = scale (lambda^(i+1) q_i S + sum_{j <= i} lambda^(i-j) (q_i . k_j) v_j)
//   S  <- lambda^C S + sum_j lambda^(C-1-j) k_j^T v_j
// One block per piece, head and 32 columns of S and V, all in shared memory: head_dim <= 128 (108 KB).
constexpr int kChunkThreads = 256, kChunkColumns = 32;
constexpr int kPowers = 96;  // floats kept for lambda^0 .. lambda^C: a multiple of 128 bytes

size_t chunk_shared_bytes(int d) {
  const int floats = kChunk * (2 * (d + 1) + (kChunkColumns + 1) + (kChunk + 1)) + kPowers + d * (kChunkColumns + 1);
  return static_cast<size_t>(floats) * sizeof(float);
}

template <class Real> __global__ void __launch_bounds__(kChunkThreads) chunk(LinearAttentionArgs<Real> a) {
  const int d = a.head_dim, slices = (d + kChunkColumns - 1) / kChunkColumns;
  const int head = static_cast<int>(blockIdx.x) / slices,
            first_column = static_cast<int>(blockIdx.x) % slices * kChunkColumns;
  const int columns = min(kChunkColumns, d - first_column);
  const Head<Real> h = head_of(a, a.batch.pieces[blockIdx.y], head);
  // A thread works on rows ty, ty + 16, ... and columns tx, tx + 16, ... of every product.
  const int thread = static_cast<int>(threadIdx.x), tx = thread % 16, ty = thread / 16;

  SharedArena arena;
  const int q_row = d + 1, v_row = kChunkColumns + 1, p_row = kChunk + 1;  // odd: no bank conflicts down a column
  float* q = arena.take<float>(kChunk * q_row);
  float* k = arena.take<float>(kChunk * q_row);
  float* v = arena.take<float>(kChunk * v_row);
  float* scores = arena.take<float>(kChunk * p_row);
  float* power = arena.take<float>(kPowers);  // lambda^n
  float* S = arena.take<float>(d * v_row);

  for (int n = thread; n <= kChunk; n += kChunkThreads) power[n] = expf(static_cast<float>(n) * h.log_decay);
  for (int i = thread; i < d * kChunkColumns; i += kChunkThreads) {
    const int row = i / kChunkColumns, column = i % kChunkColumns;
    S[row * v_row + column] = column < columns ? h.state[row * d + first_column + column] : 0.0f;
  }

  for (int64_t first = 0; first < h.rows; first += kChunk) {
    const int length = static_cast<int>(min(int64_t{kChunk}, h.rows - first));
    for (int i = thread; i < kChunk * d; i += kChunkThreads) {
      const int row = i / d, column = i % d;
      const int64_t at = (first + row) * a.stride + column;
      q[row * q_row + column] = row < length ? to_float(h.q[at]) : 0.0f;
      k[row * q_row + column] = row < length ? to_float(h.k[at]) : 0.0f;
    }
    for (int i = thread; i < kChunk * kChunkColumns; i += kChunkThreads) {
      const int row = i / kChunkColumns, column = i % kChunkColumns;
      const bool valid = row < length && column < columns;
      v[row * v_row + column] = valid ? to_float(h.v[(first + row) * a.stride + first_column + column]) : 0.0f;
    }
    __syncthreads();

    float p[4][4] = {}, o[4][2] = {};
    for (int t = 0; t < d; ++t) {
#pragma unroll
      for (int m = 0; m < 4; ++m) {
        const float x = q[(ty + 16 * m) * q_row + t];
#pragma unroll
        for (int n = 0; n < 4; ++n) p[m][n] += x * k[(tx + 16 * n) * q_row + t];
#pragma unroll
        for (int n = 0; n < 2; ++n) o[m][n] += x * S[t * v_row + tx + 16 * n];
      }
    }
#pragma unroll
    for (int m = 0; m < 4; ++m) {
      const int i = ty + 16 * m;
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        const int j = tx + 16 * n;
        scores[i * p_row + j] = j <= i ? power[i - j] * p[m][n] : 0.0f;
      }
#pragma unroll
      for (int n = 0; n < 2; ++n) o[m][n] *= power[i + 1];
    }
    __syncthreads();  // the scores are there, and every thread has read S

    for (int j = 0; j < length; ++j) {
#pragma unroll
      for (int m = 0; m < 4; ++m)
#pragma unroll
        for (int n = 0; n < 2; ++n) o[m][n] += scores[(ty + 16 * m) * p_row + j] * v[j * v_row + tx + 16 * n];
    }
#pragma unroll
    for (int m = 0; m < 4; ++m)
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const int i = ty + 16 * m, column = tx + 16 * n;
        if (i < length && column < columns)
          h.o[(first + i) * a.heads * d + first_column + column] = narrow<Real>(a.scale * o[m][n]);
      }

    const float forget = -expm1f(static_cast<float>(length) * h.log_decay);
    for (int row = ty; row < d; row += 16) {
      float sum[2] = {};
      for (int j = 0; j < length; ++j) {
        const float x = power[length - 1 - j] * k[j * q_row + row];
#pragma unroll
        for (int n = 0; n < 2; ++n) sum[n] += x * v[j * v_row + tx + 16 * n];
      }
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        float& s = S[row * v_row + tx + 16 * n];
        s += sum[n] - forget * s;
      }
    }
    __syncthreads();  // S is there, and every thread has read q, k, v
  }

  for (int i = thread; i < d * kChunkColumns; i += kChunkThreads) {
    const int row = i / kChunkColumns, column = i % kChunkColumns;
    if (column < columns) h.state[row * d + first_column + column] = S[row * v_row + column];
  }
}

// --- chunk_mma: the four products on tensor cores (sm_80) ---

// QK^T, QS, PV and K^T V by mma.m16n8k16, S in registers, two stages of cp.async: the chunk after this one is on its
// way while this one is multiplied. Operands are bf16: P after its decay, K after its decay, and a copy of S; what is
// kept of S is float. A block owns W columns of S and V (QK^T is done again for each slice), four warps; a warp owns 16
// queries of a chunk, and D / 4 rows of S.
// Assumes head_dim 64 or 128, scale > 0 and 16-byte rows. Floor: max(bytes / 4.3 TB/s, FLOPs / 790 TFLOP/s), for 16
// heads of 128 3.8 us per 1k tokens of q, k, v, o; a block reaches it only where there are some 264 of them, two per
// SM.
constexpr int kMmaThreads = 128;

template <int Columns> constexpr int kRow = Columns + 8;  // 16 bytes more: ldmatrix without bank conflicts

template <int D, int W> constexpr size_t mma_shared_bytes() {
  const int q_and_k = 2 * kRow<D>, v = kRow<W>;
  return sizeof(bf16) * static_cast<size_t>(2 * kChunk * (q_and_k + v) + D * v);
}

// Starts to copy a chunk of [rows, Columns] into a tile; what is past the last row becomes zero.
template <int Columns>
__device__ __forceinline__ void copy_chunk(bf16* tile, const bf16* from, int64_t stride, int rows) {
  constexpr int kPerRow = Columns / 8;
#pragma unroll
  for (int i = static_cast<int>(threadIdx.x); i < kChunk * kPerRow; i += kMmaThreads) {
    const int row = i / kPerRow, column = i % kPerRow * 8;
    const bool valid = row < rows;
    cp_async16(tile + row * kRow<Columns> + column, from + (valid ? row : 0) * stride + column, valid);
  }
}

__device__ __forceinline__ uint32_t scale_pair(uint32_t pair, float lo, float hi) {
  const float2 x = unpack_bf16x2(pair);
  return pack_bf16x2(x.x * lo, x.y * hi);
}

// A warp's part of S: rows warp D / 4 + 16 m + 8 (e / 2) + lane / 4, columns 8 n + 2 (lane % 4) + e % 2.
template <int D, int W> struct StateTile {
  float x[D / 64][W / 8][4] = {};

  // Calls f(row, column of a pair, its two values).
  template <class F> __device__ __forceinline__ void each_pair(F f) {
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int m = 0; m < D / 64; ++m)
#pragma unroll
      for (int n = 0; n < W / 8; ++n)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          f(warp * (D / 4) + m * 16 + half * 8 + lane / 4, n * 8 + lane % 4 * 2, x[m][n][2 * half],
            x[m][n][2 * half + 1]);
  }
  // memory [D, D], from its first column on.
  __device__ __forceinline__ void load(const float* memory) {
    each_pair([&](int row, int column, float& a, float& b) {
      const float2 pair = *reinterpret_cast<const float2*>(memory + row * D + column);
      a = pair.x, b = pair.y;
    });
  }
  __device__ __forceinline__ void store(float* memory) {
    each_pair([&](int row, int column, float a, float b) {
      *reinterpret_cast<float2*>(memory + row * D + column) = make_float2(a, b);
    });
  }
  // x <- lambda^tokens x.
  __device__ __forceinline__ void decay(float log_decay, int tokens) {
    const float less = expm1f(static_cast<float>(tokens) * log_decay);
    each_pair([&](int, int, float& a, float& b) { a = fmaf(a, less, a), b = fmaf(b, less, b); });
  }
  // x += sum_j lambda^(length-1-j) k_j^T v_j over tokens j = 16 kt .. 16 kt + 15 of a chunk of `length`; v holds their
  // values as B operands.
  __device__ __forceinline__ void add(const bf16* k_tile, const uint32_t (&v)[W / 16][4], int kt, int length,
                                      float log2_decay) {
    const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
    float decay[4];  // from tokens c, c + 1, c + 8, c + 9 to the chunk's end
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int left = length - 1 - (kt * 16 + lane % 4 * 2 + e % 2 + e / 2 * 8);
      decay[e] = left >= 0 ? fast_exp2(static_cast<float>(left) * log2_decay) : 0.0f;
    }
#pragma unroll
    for (int m = 0; m < D / 64; ++m) {
      uint32_t a[4];
      ldmatrix_x4_trans(
          a, k_tile + (kt * 16 + lane / 16 * 8 + lane % 8) * kRow<D> + warp * (D / 4) + m * 16 + lane / 8 % 2 * 8);
#pragma unroll
      for (int e = 0; e < 4; ++e) a[e] = scale_pair(a[e], decay[e / 2 * 2], decay[e / 2 * 2 + 1]);
#pragma unroll
      for (int n = 0; n < W / 16; ++n) {
        mma_m16n8k16(x[m][2 * n], a, {v[n][0], v[n][1]});
        mma_m16n8k16(x[m][2 * n + 1], a, {v[n][2], v[n][3]});
      }
    }
  }
};

// Tokens 16 kt .. 16 kt + 15 of a tile [C, W] as B operands.
template <int W> __device__ __forceinline__ void load_values(uint32_t (&v)[W / 16][4], const bf16* tile, int kt) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int n = 0; n < W / 16; ++n)
    ldmatrix_x4_trans(v[n], tile + (kt * 16 + lane % 16) * kRow<W> + n * 16 + lane / 16 * 8);
}

// How a piece is cut into segments that are walked side by side: a function of the piece alone, so that what else is in
// the pass changes nothing. 528 blocks are two waves of two per SM on 132 SMs; less than 256 tokens are not worth the
// traffic of one more state.
constexpr int kSegmentBlocks = 528, kShortestSegment = 256;
struct Segments {
  int length = 0, count = 0;
};
constexpr int most_segments(int blocks_per_segment) {
  return blocks_per_segment < kSegmentBlocks ? kSegmentBlocks / blocks_per_segment : 1;
}
constexpr Segments cut(int rows, int blocks_per_segment) {
  const int most = most_segments(blocks_per_segment);
  const int even = ((rows + most - 1) / most + kChunk - 1) / kChunk * kChunk;
  const int length = even < kShortestSegment ? kShortestSegment : even;
  return {length, (rows + length - 1) / length};
}

// `starts`: null, or the state before each segment, [pieces, bound, heads, D, D]; then blockIdx.z is the segment.
template <int D, int W>
__global__ void __launch_bounds__(kMmaThreads) chunk_mma(LinearAttentionArgs<bf16> a, const float* starts, int bound) {
  constexpr int kSlices = D / W;
  const int head = static_cast<int>(blockIdx.x) / kSlices, slice = static_cast<int>(blockIdx.x) % kSlices;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int g = lane / 4, c = lane % 4 * 2;  // this lane's row and column pair within a tile
  const Head<bf16> h = head_of(a, a.batch.pieces[blockIdx.y], head);
  const float log2_decay = h.log_decay * 1.44269504f, log2_scale = log2f(a.scale);

  int begin = 0, end = h.rows;
  const float* start = h.state;
  if (starts) {
    const Segments segments = cut(h.rows, a.heads * kSlices);
    const int segment = static_cast<int>(blockIdx.z);
    begin = segment * segments.length;
    end = min(end, begin + segments.length);
    start = starts + ((int64_t{blockIdx.y} * bound + segment) * a.heads + head) * D * D;
  }
  if (begin >= end) return;

  SharedArena arena;
  bf16* q_stages = arena.take<bf16>(2 * kChunk * kRow<D>);
  bf16* k_stages = arena.take<bf16>(2 * kChunk * kRow<D>);
  bf16* v_stages = arena.take<bf16>(2 * kChunk * kRow<W>);
  bf16* state_tile = arena.take<bf16>(D * kRow<W>);
  const auto prefetch = [&](int first, int stage) {
    const int64_t at = first * a.stride;
    copy_chunk<D>(q_stages + stage * kChunk * kRow<D>, h.q + at, a.stride, end - first);
    copy_chunk<D>(k_stages + stage * kChunk * kRow<D>, h.k + at, a.stride, end - first);
    copy_chunk<W>(v_stages + stage * kChunk * kRow<W>, h.v + at + slice * W, a.stride, end - first);
    cp_async_commit();
  };
  prefetch(begin, 0);
  StateTile<D, W> state;
  state.load(start + slice * W);

  for (int first = begin, stage = 0; first < end; first += kChunk, stage ^= 1) {
    const bf16* q_tile = q_stages + stage * kChunk * kRow<D>;
    const bf16* k_tile = k_stages + stage * kChunk * kRow<D>;
    const bf16* v_tile = v_stages + stage * kChunk * kRow<W>;
    const int length = min(kChunk, end - first);
    state.each_pair([&](int row, int column, float lo, float hi) {
      *reinterpret_cast<uint32_t*>(state_tile + row * kRow<W> + column) = pack_bf16x2(lo, hi);
    });
    cp_async_wait<0>();
    __syncthreads();  // this chunk and the state tile are ready, and the other stage has been read
    if (first + kChunk < end) prefetch(first + kChunk, stage ^ 1);

    float scores[8][4] = {}, out[W / 8][4] = {};
#pragma unroll 2
    for (int kt = 0; kt < D / 16; ++kt) {
      uint32_t q[4], b[4];
      ldmatrix_x4(q, q_tile + (warp * 16 + lane % 16) * kRow<D> + kt * 16 + lane / 16 * 8);
#pragma unroll
      for (int n = 0; n < 4; ++n)
        if (n <= warp) {  // keys after this warp's last query are masked anyway
          ldmatrix_x4(b, k_tile + (n * 16 + lane / 16 * 8 + lane % 8) * kRow<D> + kt * 16 + lane / 8 % 2 * 8);
          mma_m16n8k16(scores[2 * n], q, {b[0], b[1]});
          mma_m16n8k16(scores[2 * n + 1], q, {b[2], b[3]});
        }
#pragma unroll
      for (int n = 0; n < W / 16; ++n) {
        ldmatrix_x4_trans(b, state_tile + (kt * 16 + lane % 16) * kRow<W> + n * 16 + lane / 16 * 8);
        mma_m16n8k16(out[2 * n], q, {b[0], b[1]});
        mma_m16n8k16(out[2 * n + 1], q, {b[2], b[3]});
      }
    }

#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int i = warp * 16 + g + e / 2 * 8;
      const float carried = fast_exp2(fmaf(static_cast<float>(i + 1), log2_decay, log2_scale));
#pragma unroll
      for (int n = 0; n < W / 8; ++n) out[n][e] *= carried;
#pragma unroll
      for (int n = 0; n < 8; ++n)
        if (n / 2 <= warp) {
          const int age = i - (n * 8 + c + e % 2);
          scores[n][e] =
              age >= 0 ? scores[n][e] * fast_exp2(fmaf(static_cast<float>(age), log2_decay, log2_scale)) : 0.0f;
        }
    }

    state.decay(h.log_decay, length);
    __syncthreads();  // every warp has read the state tile
#pragma unroll
    for (int kt = 0; kt < kChunk / 16; ++kt) {
      uint32_t v[W / 16][4];
      load_values<W>(v, v_tile, kt);
      if (kt <= warp) {
        const uint32_t p[4] = {pack_bf16x2(scores[2 * kt][0], scores[2 * kt][1]),
                               pack_bf16x2(scores[2 * kt][2], scores[2 * kt][3]),
                               pack_bf16x2(scores[2 * kt + 1][0], scores[2 * kt + 1][1]),
                               pack_bf16x2(scores[2 * kt + 1][2], scores[2 * kt + 1][3])};
#pragma unroll
        for (int n = 0; n < W / 16; ++n) {
          mma_m16n8k16(out[2 * n], p, {v[n][0], v[n][1]});
          mma_m16n8k16(out[2 * n + 1], p, {v[n][2], v[n][3]});
        }
      }
      state.add(k_tile, v, kt, length, log2_decay);
    }

#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int i = first + warp * 16 + g + half * 8;
      if (i < end) {
        bf16* o = h.o + int64_t{i} * a.heads * D + slice * W + c;
#pragma unroll
        for (int n = 0; n < W / 8; ++n)
          *reinterpret_cast<uint32_t*>(o + n * 8) = pack_bf16x2(out[n][2 * half], out[n][2 * half + 1]);
      }
    }
  }
  if (end == h.rows) state.store(h.state + slice * W);
}

// --- chunk_mma_segments: the sequence side by side ---

// At batch 1 chunk_mma has 32 blocks (16 heads of 128) for 132 SMs. Here a piece is cut into segments: (1) each adds up
// its own contribution to S from zero, (2) a scan by the scalar lambda^length turns those into the states before each
// segment, (3) chunk_mma walks all segments at once. K and V are read twice, and each segment costs four passes over S:
// floor 6.8 us per 1k tokens instead of 3.8, with 12 times the SMs. Assumes pieces long enough to cut.

// sums[piece, segment + 1] = sum_j lambda^(length-1-j) k_j^T v_j over the segment; of the last one nobody needs it.
template <int D, int W>
__global__ void __launch_bounds__(kMmaThreads) segment_sums(LinearAttentionArgs<bf16> a, float* sums, int bound) {
  constexpr int kSlices = D / W;
  const int head = static_cast<int>(blockIdx.x) / kSlices, slice = static_cast<int>(blockIdx.x) % kSlices;
  const int segment = static_cast<int>(blockIdx.z);
  const Head<bf16> h = head_of(a, a.batch.pieces[blockIdx.y], head);
  const Segments segments = cut(h.rows, a.heads * kSlices);
  if (segment + 1 >= segments.count) return;
  const float log2_decay = h.log_decay * 1.44269504f;
  const int begin = segment * segments.length, end = begin + segments.length;

  SharedArena arena;
  bf16* k_stages = arena.take<bf16>(2 * kChunk * kRow<D>);
  bf16* v_stages = arena.take<bf16>(2 * kChunk * kRow<W>);
  const auto prefetch = [&](int first, int stage) {
    const int64_t at = first * a.stride;
    copy_chunk<D>(k_stages + stage * kChunk * kRow<D>, h.k + at, a.stride, kChunk);
    copy_chunk<W>(v_stages + stage * kChunk * kRow<W>, h.v + at + slice * W, a.stride, kChunk);
    cp_async_commit();
  };
  prefetch(begin, 0);
  StateTile<D, W> state;
  for (int first = begin, stage = 0; first < end; first += kChunk, stage ^= 1) {
    cp_async_wait<0>();
    __syncthreads();  // this chunk is ready, and the other stage has been read
    if (first + kChunk < end) prefetch(first + kChunk, stage ^ 1);
    state.decay(h.log_decay, kChunk);
#pragma unroll
    for (int kt = 0; kt < kChunk / 16; ++kt) {
      uint32_t v[W / 16][4];
      load_values<W>(v, v_stages + stage * kChunk * kRow<W>, kt);
      state.add(k_stages + stage * kChunk * kRow<D>, v, kt, kChunk, log2_decay);
    }
  }
  state.store(sums + ((int64_t{blockIdx.y} * bound + segment + 1) * a.heads + head) * D * D + slice * W);
}

// In place: sums[0] = S; sums[g] <- lambda^length sums[g - 1] + sums[g]. A thread per element of S.
constexpr int kScanThreads = 256;
template <int D, int W>
__global__ void __launch_bounds__(kScanThreads) scan_segments(LinearAttentionArgs<bf16> a, float* sums, int bound) {
  constexpr int kBlocks = D * D / kScanThreads;
  const int head = static_cast<int>(blockIdx.x) / kBlocks;
  const int element = static_cast<int>(blockIdx.x) % kBlocks * kScanThreads + static_cast<int>(threadIdx.x);
  const Head<bf16> h = head_of(a, a.batch.pieces[blockIdx.y], head);
  const Segments segments = cut(h.rows, a.heads * (D / W));
  const float less = expm1f(static_cast<float>(segments.length) * h.log_decay);
  float s = h.state[element];
  for (int g = 0; g < segments.count; ++g) {
    float& sum = sums[((int64_t{blockIdx.y} * bound + g) * a.heads + head) * D * D + element];
    if (g > 0) s = fmaf(s, less, s) + sum;
    sum = s;
  }
}

constexpr int kSegmentColumns = 64;  // W

// Segments of a piece at most: what grid and workspace are sized by.
int segment_bound(const LinearAttentionArgs<bf16>& a) {
  const int64_t by_length = (a.batch.longest + kShortestSegment - 1) / kShortestSegment;
  return static_cast<int>(min(by_length, int64_t{most_segments(a.heads * a.head_dim / kSegmentColumns)}));
}

template <int D, int W> void run_chunk_mma(const LinearAttentionArgs<bf16>& a, const Stream& stream) {
  launch(chunk_mma<D, W>, dim3(static_cast<unsigned>(a.heads * (D / W)), static_cast<unsigned>(a.batch.count)),
         dim3(kMmaThreads), mma_shared_bytes<D, W>(), stream, a, nullptr, 0);
}

template <int D> void run_segments(const LinearAttentionArgs<bf16>& a, const Stream& stream) {
  constexpr int W = kSegmentColumns;
  const int bound = segment_bound(a);
  float* states = static_cast<float*>(a.workspace);
  const dim3 grid(static_cast<unsigned>(a.heads * (D / W)), static_cast<unsigned>(a.batch.count),
                  static_cast<unsigned>(bound));
  launch(segment_sums<D, W>, grid, dim3(kMmaThreads), sizeof(bf16) * 2 * kChunk * (kRow<D> + kRow<W>), stream, a,
         states, bound);
  launch(scan_segments<D, W>, dim3(static_cast<unsigned>(a.heads * (D * D / kScanThreads)), grid.y), dim3(kScanThreads),
         0, stream, a, states, bound);
  launch(chunk_mma<D, W>, grid, dim3(kMmaThreads), mma_shared_bytes<D, W>(), stream, a, states, bound);
}

// --- warp: one token per sequence ---

// Nothing but bytes: S is read, changed and written once, in float4, all loads of a thread before their first use. A
// block owns 32 columns of S (whole 128-byte lines), a lane a float4 of every sixteenth row: 16 KB in flight per block
// at head_dim 128, eight or more blocks per SM. The slices are as wide at batch 1 as at batch 256, so that a sequence's
// bits do not depend on its neighbours; at batch 1, 64 blocks for 16 heads are bound by latency anyway.
// Assumes head_dim 64 or 128 and 16-byte rows of S. Floor: 2 d^2 4 bytes per head at 4.3 TB/s (batch 64, 16 heads of
// 128: 31 us).
constexpr int kDecodeThreads = 128, kDecodeColumns = 32, kDecodeWarps = kDecodeThreads / 32;

template <class Real, int D>
__global__ void __launch_bounds__(kDecodeThreads) decode_warp(LinearAttentionArgs<Real> a) {
  constexpr int kSlices = D / kDecodeColumns, kRowsPerStep = kDecodeThreads / (kDecodeColumns / 4);
  const int head = static_cast<int>(blockIdx.x) / kSlices;
  const int thread = static_cast<int>(threadIdx.x), warp = thread / 32, lane = thread % 32;
  const int row = thread / 8, first_column = static_cast<int>(blockIdx.x) % kSlices * kDecodeColumns,
            column = first_column + thread % 8 * 4;
  const Head<Real> h = head_of(a, a.batch.pieces[blockIdx.y], head);
  if (h.rows < 1) return;

  float* S = h.state + row * D + column;
  float4 s[D / kRowsPerStep];
  float k[D / kRowsPerStep], q[D / kRowsPerStep];
#pragma unroll
  for (int i = 0; i < D / kRowsPerStep; ++i) s[i] = *reinterpret_cast<const float4*>(S + i * kRowsPerStep * D);
#pragma unroll
  for (int i = 0; i < D / kRowsPerStep; ++i) {
    k[i] = to_float(h.k[row + i * kRowsPerStep]);
    q[i] = to_float(h.q[row + i * kRowsPerStep]);
  }
  const float4 v = {to_float(h.v[column]), to_float(h.v[column + 1]), to_float(h.v[column + 2]),
                    to_float(h.v[column + 3])};
  const float less = expm1f(h.log_decay);

  float4 o = {0, 0, 0, 0};
#pragma unroll
  for (int i = 0; i < D / kRowsPerStep; ++i) {
    s[i].x = fmaf(k[i], v.x, fmaf(s[i].x, less, s[i].x));
    s[i].y = fmaf(k[i], v.y, fmaf(s[i].y, less, s[i].y));
    s[i].z = fmaf(k[i], v.z, fmaf(s[i].z, less, s[i].z));
    s[i].w = fmaf(k[i], v.w, fmaf(s[i].w, less, s[i].w));
    *reinterpret_cast<float4*>(S + i * kRowsPerStep * D) = s[i];
    o.x = fmaf(q[i], s[i].x, o.x);
    o.y = fmaf(q[i], s[i].y, o.y);
    o.z = fmaf(q[i], s[i].z, o.z);
    o.w = fmaf(q[i], s[i].w, o.w);
  }
#pragma unroll
  for (int bit = 8; bit < 32; bit *= 2) {  // lanes of the same columns
    o.x += __shfl_xor_sync(~0u, o.x, bit);
    o.y += __shfl_xor_sync(~0u, o.y, bit);
    o.z += __shfl_xor_sync(~0u, o.z, bit);
    o.w += __shfl_xor_sync(~0u, o.w, bit);
  }
  SharedArena arena;
  float* sums = arena.take<float>(kDecodeWarps * kDecodeColumns);
  if (lane < 8) *reinterpret_cast<float4*>(sums + warp * kDecodeColumns + lane * 4) = o;
  __syncthreads();
  if (warp == 0) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kDecodeWarps; ++w) sum += sums[w * kDecodeColumns + lane];
    h.o[first_column + lane] = narrow<Real>(a.scale * sum);
  }
}

template <class Real, int D> void run_decode_warp(const LinearAttentionArgs<Real>& a, const Stream& stream) {
  launch(decode_warp<Real, D>,
         dim3(static_cast<unsigned>(a.heads * (D / kDecodeColumns)), static_cast<unsigned>(a.batch.count)),
         dim3(kDecodeThreads), kDecodeWarps * kDecodeColumns * sizeof(float), stream, a);
}

}  // namespace

// --- What the table calls ---

template <class Real> void linear_prefill_recurrent(const LinearPrefillArgs<Real>& a, Stream stream) {
  run_recurrent<Real>(a, stream);
}
template <class Real> void linear_decode_recurrent(const LinearDecodeArgs<Real>& a, Stream stream) {
  run_recurrent<Real>(a, stream);
}
template <class Real> void linear_prefill_chunk(const LinearPrefillArgs<Real>& a, Stream stream) {
  const int slices = (a.head_dim + kChunkColumns - 1) / kChunkColumns;
  launch(chunk<Real>, dim3(static_cast<unsigned>(a.heads * slices), static_cast<unsigned>(a.batch.count)),
         dim3(kChunkThreads), chunk_shared_bytes(a.head_dim), stream, a);
}
template <class Real> void linear_decode_warp(const LinearDecodeArgs<Real>& a, Stream stream) {
  a.head_dim == 64 ? run_decode_warp<Real, 64>(a, stream) : run_decode_warp<Real, 128>(a, stream);
}

// Narrower slices where the wider ones would leave most SMs idle; a column's sums are the same in either.
void linear_prefill_chunk_mma(const LinearPrefillArgs<bf16>& a, Stream stream) {
  const bool narrow_slices = a.batch.count * a.heads * (a.head_dim / 64) < 132;
  if (a.head_dim == 64)
    narrow_slices ? run_chunk_mma<64, 32>(a, stream) : run_chunk_mma<64, 64>(a, stream);
  else
    narrow_slices ? run_chunk_mma<128, 32>(a, stream) : run_chunk_mma<128, 64>(a, stream);
}
int64_t linear_prefill_segments_workspace(const LinearPrefillArgs<bf16>& a, const Device&) {
  return int64_t{a.batch.count} * segment_bound(a) * a.heads * a.head_dim * a.head_dim * int64_t{sizeof(float)};
}
void linear_prefill_chunk_mma_segments(const LinearPrefillArgs<bf16>& a, Stream stream) {
  a.head_dim == 64 ? run_segments<64>(a, stream) : run_segments<128>(a, stream);
}

template void linear_prefill_recurrent(const LinearPrefillArgs<float>&, Stream);
template void linear_prefill_recurrent(const LinearPrefillArgs<bf16>&, Stream);
template void linear_prefill_chunk(const LinearPrefillArgs<float>&, Stream);
template void linear_prefill_chunk(const LinearPrefillArgs<bf16>&, Stream);
template void linear_decode_recurrent(const LinearDecodeArgs<float>&, Stream);
template void linear_decode_recurrent(const LinearDecodeArgs<bf16>&, Stream);
template void linear_decode_warp(const LinearDecodeArgs<float>&, Stream);
template void linear_decode_warp(const LinearDecodeArgs<bf16>&, Stream);

}  // namespace ringbench::RINGBENCH_BACKEND
