// vocabulary.h: the words kernels are written in besides CUDA's own: inline PTX under nvcc, the emulator under g++.
// What keeps kernels runnable on both: no inline assembly, no <<<>>>, no static __shared__ arrays and no __CUDA_ARCH__
// outside this file and hopper.h; no spinning on memory and no waiting for another block.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/gpu.h"
#include "reference/bf16.h"

#if defined(RINGBENCH_GPU) && !defined(__CUDACC__)
#error "vocabulary.h is for kernels: a .cu file"
#endif
#if !defined(RINGBENCH_GPU)
#include "cuda/emulator/cuda_names.h"
#endif

namespace ringbench::RINGBENCH_BACKEND {

#if defined(RINGBENCH_GPU)

namespace detail {
// Swizzled tiles go by the address, not the offset in the array.
extern __shared__ __align__(1024) unsigned char dynamic_shared[];
__device__ __forceinline__ unsigned shared_address(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}
}  // namespace detail

// Carves typed arrays out of the block's dynamic shared memory; every thread of the block carves alike. The bytes a
// launch must give: those of the arrays in order, each rounded up to where the next one's alignment lets it begin.
class SharedArena {
 public:
  template <class T> __device__ __forceinline__ T* take(int count, size_t align = 128) {
    used_ = (used_ + align - 1) / align * align;
    T* p = reinterpret_cast<T*>(detail::dynamic_shared + used_);
    used_ += static_cast<size_t>(count) * sizeof(T);
    return p;
  }

 private:
  size_t used_ = 0;
};

// Fragments of 8x8 matrices of 16-bit values from shared memory: lanes 8m..8m+7 give the addresses of the rows of
// matrix m, 16 bytes each and 16-byte aligned. With two matrices the other lanes' addresses are not looked at.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(detail::shared_address(row))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(detail::shared_address(row))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(detail::shared_address(row))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(detail::shared_address(row))
               : "memory");
}

// D[16][8] += A[16][16] B[16][8] of bf16, summed in float, over a warp. With g = lane / 4 and c = lane % 4 * 2:
// a[i]: row g + 8 (i % 2), columns c + 8 (i / 2) and the next; b[i]: rows c + 8 i and the next, column g;
// d[i]: row g + 8 (i / 2), column c + i % 2.
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Asynchronous copies from global to shared memory, both aligned to their size. Not valid: zeros, but the address must
// be one that could be read. They are there after cp_async_wait for their group and a barrier for the others to see.
__device__ __forceinline__ void cp_async16(void* shared, const void* global, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(detail::shared_address(shared)), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void cp_async8(void* shared, const void* global, bool valid = true) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(detail::shared_address(shared)), "l"(global),
               "r"(valid ? 8 : 0)
               : "memory");
}
__device__ __forceinline__ void cp_async4(void* shared, const void* global, bool valid = true) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(detail::shared_address(shared)), "l"(global),
               "r"(valid ? 4 : 0)
               : "memory");
}
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int Pending>
__device__ __forceinline__ void cp_async_wait() {  // until at most `Pending` groups of this thread are in flight
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// Named barriers, 1 to 15, of `threads` threads (a multiple of 32): sync waits for the others, arrive does not.
__device__ __forceinline__ void barrier_sync(int id, int threads) {
  asm volatile("barrier.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
__device__ __forceinline__ void barrier_arrive(int id, int threads) {
  asm volatile("barrier.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// Rounded to nearest, ties to even; the first value is the low half.
__device__ __forceinline__ uint32_t pack_bf16x2(float low, float high) {
  uint32_t r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
__device__ __forceinline__ bf16 to_bf16(float x) {
  uint16_t bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bf16::from_bits(bits);
}

// 2^x to 2 units in the last place; results below the smallest normal number are zero.
__device__ __forceinline__ float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

#else

class SharedArena {
 public:
  template <class T> T* take(int count, size_t align = 128, Location where = Location::current()) {
    return static_cast<T*>(fiber::shared_take(cursor_, static_cast<size_t>(count) * sizeof(T), align, where));
  }

 private:
  size_t cursor_ = 0;
};

inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, Location where = Location::current()) {
  fiber::ldmatrix(r, 4, row, false, where);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, Location where = Location::current()) {
  fiber::ldmatrix(r, 4, row, true, where);
}
inline void ldmatrix_x2(uint32_t (&r)[2], const void* row, Location where = Location::current()) {
  fiber::ldmatrix(r, 2, row, false, where);
}
inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row, Location where = Location::current()) {
  fiber::ldmatrix(r, 2, row, true, where);
}
inline void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                         Location where = Location::current()) {
  fiber::mma_m16n8k16_bf16(d, a, b, where);
}
inline void cp_async16(void* shared, const void* global, bool valid = true, Location where = Location::current()) {
  fiber::cp_async(shared, global, 16, valid ? 16 : 0, where);
}
inline void cp_async8(void* shared, const void* global, bool valid = true, Location where = Location::current()) {
  fiber::cp_async(shared, global, 8, valid ? 8 : 0, where);
}
inline void cp_async4(void* shared, const void* global, bool valid = true, Location where = Location::current()) {
  fiber::cp_async(shared, global, 4, valid ? 4 : 0, where);
}
inline void cp_async_commit() { fiber::cp_async_commit(); }
template <int Pending> void cp_async_wait() { fiber::cp_async_wait(Pending); }
inline void barrier_sync(int id, int threads, Location where = Location::current()) {
  fiber::named_barrier(id, threads, true, where);
}
inline void barrier_arrive(int id, int threads, Location where = Location::current()) {
  fiber::named_barrier(id, threads, false, where);
}
inline uint32_t pack_bf16x2(float low, float high) {
  return bf16(low).bits | static_cast<uint32_t>(bf16(high).bits) << 16;
}
inline bf16 to_bf16(float x) { return bf16(x); }
inline float fast_exp2(float x) {
  const float y = ::exp2f(x);
  return y < 1.17549435e-38f ? 0.0f : y;  // as on the hardware: no subnormal results
}

#endif

__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float(static_cast<uint32_t>(x.bits) << 16); }
__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float2 unpack_bf16x2(uint32_t pair) {
  return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xFFFF0000u)};
}

// Over the 32 lanes of a warp, all of which take part; every lane gets the result, the same bits in each.
__device__ __forceinline__ float warp_sum(float x) {
  for (int d = 16; d > 0; d /= 2) x += __shfl_xor_sync(~0u, x, d);
  return x;
}
__device__ __forceinline__ float warp_max(float x) {
  for (int d = 16; d > 0; d /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, d));
  return x;
}

}  // namespace ringbench::RINGBENCH_BACKEND
