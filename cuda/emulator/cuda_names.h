// cuda_names.h: CUDA's own names, in the emulator: qualifiers, vector types, warp and block words, atomics, functions.
// Static __shared__ arrays are left out on purpose: only SharedArena's are poisoned, checked and fenced by redzones.
#pragma once

#include <math.h>  // NOLINT: expf, fmaxf, ... in the global namespace, where CUDA has them too

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "cuda/emulator/emulator.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__

namespace ringbench::emulated {

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// Blocks and warps.
inline void __syncthreads(Location where = Location::current()) { fiber::block_barrier(where); }
inline void __syncwarp(unsigned mask = ~0u, Location where = Location::current()) { fiber::warp_barrier(mask, where); }
inline void __threadfence() { fiber::thread_fence(); }
inline void __threadfence_block() { fiber::thread_fence(); }

template <class T> T __shfl_sync(unsigned mask, T v, int source, int width = 32, Location where = Location::current()) {
  return fiber::shuffle_as(mask, v, (static_cast<int>(fiber::lane()) & -width) + (source & (width - 1)), where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, Location where = Location::current()) {
  const int lane = static_cast<int>(fiber::lane()), to = lane ^ bits;
  return fiber::shuffle_as(mask, v, to < (lane & -width) + width ? to : lane, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned n, int width = 32, Location where = Location::current()) {
  const int lane = static_cast<int>(fiber::lane()), to = lane + static_cast<int>(n);
  return fiber::shuffle_as(mask, v, to < (lane & -width) + width ? to : lane, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned n, int width = 32, Location where = Location::current()) {
  const int lane = static_cast<int>(fiber::lane()), to = lane - static_cast<int>(n);
  return fiber::shuffle_as(mask, v, to >= (lane & -width) ? to : lane, where);
}
inline unsigned __ballot_sync(unsigned mask, bool p, Location where = Location::current()) {
  return fiber::ballot(mask, p, where);
}
inline int __any_sync(unsigned mask, bool p, Location where = Location::current()) {
  return fiber::ballot(mask, p, where) != 0;
}
inline int __all_sync(unsigned mask, bool p, Location where = Location::current()) {
  return fiber::ballot(mask, !p, where) == 0;
}

// Atomics: real ones, so that TSan sees them as such; relaxed, as CUDA's are.
template <class T> T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  __atomic_compare_exchange(p, &expected, &v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}
template <class T, class F> T atomic_update(T* p, F next) {
  T old;
  __atomic_load(p, &old, __ATOMIC_RELAXED);
  for (T v = next(old); !__atomic_compare_exchange(p, &old, &v, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);)
    v = next(old);
  return old;
}
template <class T> T atomicAdd(T* p, std::type_identity_t<T> v) {
  return atomic_update(p, [v](T old) { return static_cast<T>(old + v); });
}
template <class T> T atomicSub(T* p, std::type_identity_t<T> v) {
  return atomic_update(p, [v](T old) { return static_cast<T>(old - v); });
}
template <class T> T atomicMax(T* p, std::type_identity_t<T> v) {
  return atomic_update(p, [v](T old) { return std::max(old, v); });
}
template <class T> T atomicMin(T* p, std::type_identity_t<T> v) {
  return atomic_update(p, [v](T old) { return std::min(old, v); });
}
template <class T> T atomicOr(T* p, std::type_identity_t<T> v) {
  return atomic_update(p, [v](T old) { return static_cast<T>(old | v); });
}
template <class T> T atomicExch(T* p, std::type_identity_t<T> v) {
  return atomic_update(p, [v](T) { return v; });
}

// Loads and stores with cache hints.
template <class T> T __ldg(const T* p) { return *p; }
template <class T> T __ldcs(const T* p) { return *p; }
template <class T> void __stcs(T* p, std::type_identity_t<T> v) { *p = v; }

// Integers and bits.
template <class A, class B> constexpr std::common_type_t<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  return static_cast<T>(b) < static_cast<T>(a) ? static_cast<T>(b) : static_cast<T>(a);
}
template <class A, class B> constexpr std::common_type_t<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  return static_cast<T>(a) < static_cast<T>(b) ? static_cast<T>(b) : static_cast<T>(a);
}
inline int __popc(unsigned v) { return std::popcount(v); }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __clz(int v) { return std::countl_zero(static_cast<unsigned>(v)); }
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }
inline unsigned __float_as_uint(float v) { return std::bit_cast<unsigned>(v); }
inline float __uint_as_float(unsigned v) { return std::bit_cast<float>(v); }
inline int __float_as_int(float v) { return std::bit_cast<int>(v); }
inline float __int_as_float(int v) { return std::bit_cast<float>(v); }
inline int __float2int_rn(float v) { return static_cast<int>(::rintf(v)); }

// Functions. Those with _rn are rounded once: kernels are compiled with -ffp-contract=off.
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return ::fmaf(a, b, c); }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return ::sqrtf(a); }
inline float __expf(float x) { return ::expf(x); }
inline float __logf(float x) { return ::logf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __saturatef(float x) { return ::fminf(::fmaxf(x, 0.0f), 1.0f); }
inline float rsqrtf(float x) { return 1.0f / ::sqrtf(x); }
// sin(pi x), cos(pi x): reduced exactly first, so that integers and halves give exact results, as CUDA's do.
inline void sincospif(float x, float* sine, float* cosine) {
  const double reduced = ::remainder(static_cast<double>(x), 2.0) * 3.14159265358979323846;
  const double twice = ::remainder(static_cast<double>(x) * 2, 4.0);  // quarter turns
  *sine = twice == 0 || twice == 2 || twice == -2 ? ::copysignf(0.0f, x) : static_cast<float>(::sin(reduced));
  *cosine = twice == 1 || twice == -1 ? 0.0f : static_cast<float>(::cos(reduced));
}
inline float sinpif(float x) {
  float sine, cosine;
  sincospif(x, &sine, &cosine);
  return sine;
}
inline float cospif(float x) {
  float sine, cosine;
  sincospif(x, &sine, &cosine);
  return cosine;
}
[[noreturn]] inline void __trap() { std::abort(); }

}  // namespace ringbench::emulated
