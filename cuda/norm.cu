// norm.cu: RMSNorm with the residual's sum before it, and the norm of groups with a gate behind it.
#include "cuda/kernels.h"
#include "cuda/vectors.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

constexpr int kMaxWarps = 8;
constexpr size_t kSumBytes = kMaxWarps * sizeof(float);

// The sum of every thread's x over a block of up to kMaxWarps warps, to all of them; once per kernel.
__device__ inline float block_sum(float x) {
  SharedArena arena;
  float* of_warp = arena.take<float>(kMaxWarps);
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
  for (unsigned w = 0; w < blockDim.x / 32; ++w) sum += of_warp[w];
  return sum;
}

// --- rms_norm ---

// A block per row. A thread meets its own elements only, so that nothing waits but the sum.
template <class Real> __global__ void rms_norm_plain_kernel(RmsNormArgs<Real> a) {
  const int64_t row = blockIdx.x * a.width;
  float squares = 0;
  for (int64_t i = threadIdx.x; i < a.width; i += blockDim.x) {
    Real value = a.residual[row + i];
    if (a.x) a.residual[row + i] = value = narrow<Real>(to_float(value) + to_float(a.x[row + i]));
    squares += to_float(value) * to_float(value);
  }
  if (!a.out) return;
  const float scale = 1.0f / sqrtf(block_sum(squares) / static_cast<float>(a.width) + a.eps);
  for (int64_t i = threadIdx.x; i < a.width; i += blockDim.x)
    a.out[row + i] = narrow<Real>(to_float(a.residual[row + i]) * scale * a.weight[i]);
}

// The same with the row in registers, Turns vectors of 16 bytes a thread.
template <class Real, int Turns> __global__ void rms_norm_vector_kernel(RmsNormArgs<Real> a) {
  constexpr int V = kVector<Real>;
  const int64_t row = blockIdx.x * a.width;
  float values[Turns][V];
#pragma unroll
  for (int t = 0; t < Turns; ++t) {
    const int64_t i = (int64_t{t} * blockDim.x + threadIdx.x) * V;
    if (i < a.width) load_vector(values[t], a.residual + row + i);
  }
  float squares = 0;
#pragma unroll
  for (int t = 0; t < Turns; ++t) {
    const int64_t i = (int64_t{t} * blockDim.x + threadIdx.x) * V;
    if (i >= a.width) break;
    if (a.x) {
      float added[V];
      load_vector(added, a.x + row + i);
#pragma unroll
      for (int j = 0; j < V; ++j) values[t][j] = to_float(narrow<Real>(values[t][j] + added[j]));
      store_vector(a.residual + row + i, values[t]);
    }
#pragma unroll
    for (int j = 0; j < V; ++j) squares += values[t][j] * values[t][j];
  }
  if (!a.out) return;
  const float scale = 1.0f / sqrtf(block_sum(squares) / static_cast<float>(a.width) + a.eps);
#pragma unroll
  for (int t = 0; t < Turns; ++t) {
    const int64_t i = (int64_t{t} * blockDim.x + threadIdx.x) * V;
    if (i >= a.width) break;
    float weight[V];
    load_floats(weight, a.weight + i);
#pragma unroll
    for (int j = 0; j < V; ++j) weight[j] *= values[t][j] * scale;
    store_vector(a.out + row + i, weight);
  }
}

constexpr int kNormThreads = 32 * kMaxWarps;

template <class Real, int Turns> void launch_rms_norm(const RmsNormArgs<Real>& a, Stream stream) {
  const int64_t threads = (a.width / kVector<Real> + Turns - 1) / Turns;
  launch(rms_norm_vector_kernel<Real, Turns>, dim3(static_cast<unsigned>(a.rows)),
         dim3(static_cast<unsigned>((threads + 31) / 32 * 32)), kSumBytes, stream, a);
}

// --- group_norm_gate ---

// A block per group of a row.
template <class Real> __global__ void group_norm_gate_plain_kernel(GroupNormGateArgs<Real> a) {
  const int64_t row = blockIdx.x / static_cast<unsigned>(a.groups), size = a.width / a.groups;
  const int64_t begin = blockIdx.x % static_cast<unsigned>(a.groups) * size, end = begin + size;
  const Real* o = a.o + row * a.width;
  float squares = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) squares += to_float(o[i]) * to_float(o[i]);
  const float scale = 1.0f / sqrtf(block_sum(squares) / static_cast<float>(size) + a.eps);
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    const float gate = sigmoid(to_float(a.gate[row * a.gate_stride + i]));
    a.out[row * a.width + i] = narrow<Real>(to_float(o[i]) * scale * a.weight[i] * gate);
  }
}

constexpr int kGroupsPerBlock = 4;

// A warp per group of a row, Turns vectors of 16 bytes a lane.
template <class Real, int Turns> __global__ void group_norm_gate_warp_kernel(GroupNormGateArgs<Real> a) {
  constexpr int V = kVector<Real>;
  const int64_t group = int64_t{blockIdx.x} * kGroupsPerBlock + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (group >= a.rows * a.groups) return;
  const int64_t row = group / a.groups, size = a.width / a.groups, begin = group % a.groups * size;
  const Real* o = a.o + row * a.width + begin;
  const Real* gates = a.gate + row * a.gate_stride + begin;
  float values[Turns][V], gate[Turns][V];
#pragma unroll
  for (int t = 0; t < Turns; ++t) {
    const int64_t i = (t * 32 + lane) * V;
    if (i >= size) break;
    load_vector(values[t], o + i);
    load_vector(gate[t], gates + i);
  }
  float squares = 0;
#pragma unroll
  for (int t = 0; t < Turns; ++t) {
    if ((t * 32 + lane) * V >= size) break;
#pragma unroll
    for (int j = 0; j < V; ++j) squares += values[t][j] * values[t][j];
  }
  const float scale = 1.0f / sqrtf(warp_sum(squares) / static_cast<float>(size) + a.eps);
#pragma unroll
  for (int t = 0; t < Turns; ++t) {
    const int64_t i = (t * 32 + lane) * V;
    if (i >= size) break;
    float weight[V];
    load_floats(weight, a.weight + begin + i);
#pragma unroll
    for (int j = 0; j < V; ++j) weight[j] *= values[t][j] * scale * sigmoid(gate[t][j]);
    store_vector(a.out + row * a.width + begin + i, weight);
  }
}

template <class Real, int Turns> void launch_group_norm_gate(const GroupNormGateArgs<Real>& a, Stream stream) {
  const int64_t blocks = (a.rows * a.groups + kGroupsPerBlock - 1) / kGroupsPerBlock;
  launch(group_norm_gate_warp_kernel<Real, Turns>, dim3(static_cast<unsigned>(blocks)), dim3(32 * kGroupsPerBlock), 0,
         stream, a);
}

}  // namespace

template <class Real> void rms_norm_plain(const RmsNormArgs<Real>& a, Stream stream) {
  launch(rms_norm_plain_kernel<Real>, dim3(static_cast<unsigned>(a.rows)), dim3(128), kSumBytes, stream, a);
}

// 16-byte accesses and no second read of the row. Floor: its bytes at 4.3 TB/s; 64 KB in flight per SM. Assumes rows of
// whole vectors, at most four a thread (bf16: 8192 wide).
template <class Real> void rms_norm_vector(const RmsNormArgs<Real>& a, Stream stream) {
  const int64_t vectors = a.width / kVector<Real>;
  if (vectors <= kNormThreads)
    launch_rms_norm<Real, 1>(a, stream);
  else if (vectors <= 2 * kNormThreads)
    launch_rms_norm<Real, 2>(a, stream);
  else
    launch_rms_norm<Real, 4>(a, stream);
}

template <class Real> void group_norm_gate_plain(const GroupNormGateArgs<Real>& a, Stream stream) {
  launch(group_norm_gate_plain_kernel<Real>, dim3(static_cast<unsigned>(a.rows * a.groups)), dim3(128), kSumBytes,
         stream, a);
}

// A warp per group: no barrier, 16-byte accesses, o and gate in registers. Floor: three rows' bytes at 4.3 TB/s.
// Assumes groups of whole vectors, at most eight a lane (bf16: 2048 channels).
template <class Real> void group_norm_gate_warp(const GroupNormGateArgs<Real>& a, Stream stream) {
  const int64_t vectors = a.width / a.groups / kVector<Real>;
  if (vectors <= 32)
    launch_group_norm_gate<Real, 1>(a, stream);
  else if (vectors <= 64)
    launch_group_norm_gate<Real, 2>(a, stream);
  else if (vectors <= 128)
    launch_group_norm_gate<Real, 4>(a, stream);
  else
    launch_group_norm_gate<Real, 8>(a, stream);
}

template void rms_norm_plain(const RmsNormArgs<float>&, Stream);
template void rms_norm_plain(const RmsNormArgs<bf16>&, Stream);
template void rms_norm_vector(const RmsNormArgs<float>&, Stream);
template void rms_norm_vector(const RmsNormArgs<bf16>&, Stream);
template void group_norm_gate_plain(const GroupNormGateArgs<float>&, Stream);
template void group_norm_gate_plain(const GroupNormGateArgs<bf16>&, Stream);
template void group_norm_gate_warp(const GroupNormGateArgs<float>&, Stream);
template void group_norm_gate_warp(const GroupNormGateArgs<bf16>&, Stream);

}  // namespace ringbench::RINGBENCH_BACKEND
