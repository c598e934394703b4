// rope.cu: what happens to q, k and v between their projection and attention: SiLU, a norm per head, rotation, and the
// way into the cache.
#include "cuda/kernels.h"
#include "cuda/vectors.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

// cos and sin of what `turns` per position come to, times the attention factor. The product wraps at whole turns; what
// is left, taken as signed, is at most half a turn, and a float of it is off by at most 2^-25 half turns.
__device__ inline float2 rotation(uint64_t turns, int64_t position, float factor) {
  const int64_t angle = static_cast<int64_t>(turns * static_cast<uint64_t>(position));
  float sine, cosine;
  sincospif(static_cast<float>(angle) * 0x1p-63f, &sine, &cosine);
  return {cosine * factor, sine * factor};
}

// Where head h (of n + 2 kv: q, k, v) of a row comes from and goes to, and what is done to it.
template <class Real> struct Head {
  const Real* from;
  Real* to;
  const float* norm;  // null: none
  bool rotate;
  bool moves;  // something is to be done at all

  __device__ Head(const QkNormRopeArgs<Real>& a, int64_t row, int h, const Piece& piece) {
    Real* home = a.qkv + row * a.stride + int64_t{h} * a.head_dim;
    const bool is_q = h < a.heads, is_v = h >= a.heads + a.kv_heads;
    Real* cache = is_q ? nullptr : is_v ? a.v_cache : a.k_cache;
    const int64_t kv_head = (h - a.heads) % a.kv_heads, position = piece.position + row - piece.row;
    from = home;
    to = cache ? cache + ((int64_t{piece.slot} * a.kv_heads + kv_head) * a.max_tokens + position) * a.head_dim : home;
    norm = is_q ? a.q_norm : is_v ? nullptr : a.k_norm;
    rotate = !is_v && a.rotary_dim > 0;
    moves = to != from || norm || rotate || a.silu;
  }
};

// A thread per head of a row, reading its values once for the norm and once to turn them.
template <class Real> __global__ void qk_norm_rope_plain_kernel(QkNormRopeArgs<Real> a) {
  const int all_heads = a.heads + 2 * a.kv_heads;
  const int64_t task = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, row = task / all_heads;
  if (row >= a.batch.rows) return;
  const Piece piece = a.batch.pieces[a.batch.piece_of_row[row]];
  const Head<Real> head(a, row, static_cast<int>(task % all_heads), piece);
  const auto value = [&](int i) {
    const float x = to_float(head.from[i]);
    return a.silu ? x * sigmoid(x) : x;
  };
  float scale = 1;
  if (head.norm) {
    float squares = 0;
    for (int i = 0; i < a.head_dim; ++i) squares += value(i) * value(i);
    scale = 1.0f / sqrtf(squares / static_cast<float>(a.head_dim) + a.eps);
  }
  const auto normed = [&](int i) { return head.norm ? value(i) * scale * head.norm[i] : value(i); };
  const int half = head.rotate ? a.rotary_dim / 2 : 0;
  for (int i = 0; i < half; ++i) {
    const float2 turn = rotation(a.turns[i], piece.position + row - piece.row, a.attention_factor);
    const float x = normed(i), y = normed(i + half);
    head.to[i] = narrow<Real>(x * turn.x - y * turn.y);
    head.to[i + half] = narrow<Real>(y * turn.x + x * turn.y);
  }
  for (int i = 2 * half; i < a.head_dim; ++i) head.to[i] = narrow<Real>(normed(i));
}

constexpr int kWarps = 4;   // per block
constexpr int kPasses = 4;  // heads that a group of lanes takes one after the other, with one rotation

// Lanes in groups of Lanes = head_dim values / 16 bytes, each with a head of the same row; kPasses times.
template <class Real, int Lanes> __global__ void qk_norm_rope_warp_kernel(QkNormRopeArgs<Real> a) {
  constexpr int V = kVector<Real>, kGroups = 32 / Lanes, kHeads = kGroups * kPasses;  // heads of a warp
  const int all_heads = a.heads + 2 * a.kv_heads, parts = (all_heads + kHeads - 1) / kHeads;
  const int64_t task = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32, row = task / parts;
  if (row >= a.batch.rows) return;
  const int warp_lane = static_cast<int>(threadIdx.x % 32), lane = warp_lane % Lanes, group = warp_lane / Lanes;
  const int first_head = static_cast<int>(task % parts) * kHeads + group;
  const Piece piece = a.batch.pieces[a.batch.piece_of_row[row]];

  float values[kPasses][V];
#pragma unroll
  for (int p = 0; p < kPasses; ++p) {
    const int h = min(first_head + p * kGroups, all_heads - 1);  // beyond the last: computed, not written
    load_vector(values[p], a.qkv + row * a.stride + int64_t{h} * a.head_dim + lane * V);
  }

  // Pairs (i, i + half) lie `distance` lanes apart: x below, y above.
  const int distance = a.rotary_dim / 2 / V;
  const bool turns = lane < 2 * distance, above = lane >= distance;
  const int partner = group * Lanes + (!turns ? lane : above ? lane - distance : lane + distance);
  float cosine[V], sine[V];
#pragma unroll
  for (int j = 0; j < V; ++j) {
    cosine[j] = 1, sine[j] = 0;
    if (!turns) continue;
    const float2 turn =
        rotation(a.turns[lane % distance * V + j], piece.position + row - piece.row, a.attention_factor);
    cosine[j] = turn.x, sine[j] = above ? turn.y : -turn.y;
  }

#pragma unroll
  for (int p = 0; p < kPasses; ++p) {
    const int h = first_head + p * kGroups;
    const Head<Real> head(a, row, min(h, all_heads - 1), piece);
    float squares = 0;
#pragma unroll
    for (int j = 0; j < V; ++j) {
      if (a.silu) values[p][j] *= sigmoid(values[p][j]);
      squares += values[p][j] * values[p][j];
    }
#pragma unroll
    for (int step = Lanes / 2; step > 0; step /= 2) squares += __shfl_xor_sync(~0u, squares, step);
    if (head.norm) {
      const float scale = 1.0f / sqrtf(squares / static_cast<float>(a.head_dim) + a.eps);
      float weight[V];
      load_floats(weight, head.norm + lane * V);
#pragma unroll
      for (int j = 0; j < V; ++j) values[p][j] *= scale * weight[j];
    }
#pragma unroll
    for (int j = 0; j < V; ++j) {
      const float other = __shfl_sync(~0u, values[p][j], partner);
      if (head.rotate) values[p][j] = values[p][j] * cosine[j] + other * sine[j];
    }
    if (h < all_heads && head.moves) store_vector(head.to + lane * V, values[p]);
  }
}

template <class Real, int Lanes> void launch_qk_norm_rope(const QkNormRopeArgs<Real>& a, Stream stream) {
  constexpr int kHeads = 32 / Lanes * kPasses;
  const int64_t warps = a.batch.rows * ((a.heads + 2 * a.kv_heads + kHeads - 1) / kHeads);
  launch(qk_norm_rope_warp_kernel<Real, Lanes>, dim3(static_cast<unsigned>((warps + kWarps - 1) / kWarps)),
         dim3(32 * kWarps), 0, stream, a);
}

}  // namespace

template <class Real> void qk_norm_rope_plain(const QkNormRopeArgs<Real>& a, Stream stream) {
  const int64_t tasks = a.batch.rows * (a.heads + 2 * a.kv_heads);
  launch(qk_norm_rope_plain_kernel<Real>, dim3(static_cast<unsigned>((tasks + 63) / 64)), dim3(64), 0, stream, a);
}

// 16-byte accesses, a head in the registers of 8, 16 or 32 lanes, and each angle computed once for four heads: sine and
// cosine of every value would cost more than its four bytes. Floor: q, k, v in and out at 4.3 TB/s. Assumes head_dim a
// power of two of that size, pairs whole vectors apart, everything aligned to 16 bytes.
template <class Real> void qk_norm_rope_warp(const QkNormRopeArgs<Real>& a, Stream stream) {
  switch (a.head_dim / kVector<Real>) {
    case 4: return launch_qk_norm_rope<Real, 4>(a, stream);
    case 8: return launch_qk_norm_rope<Real, 8>(a, stream);
    case 16: return launch_qk_norm_rope<Real, 16>(a, stream);
    default: return launch_qk_norm_rope<Real, 32>(a, stream);
  }
}

template void qk_norm_rope_plain(const QkNormRopeArgs<float>&, Stream);
template void qk_norm_rope_plain(const QkNormRopeArgs<bf16>&, Stream);
template void qk_norm_rope_warp(const QkNormRopeArgs<float>&, Stream);
template void qk_norm_rope_warp(const QkNormRopeArgs<bf16>&, Stream);

}  // namespace ringbench::RINGBENCH_BACKEND
