// vectors.h: rows of float or bf16 in pieces of 16 bytes, as floats. Needs 16-byte aligned addresses.
#pragma once

#include <cstdint>

#include "cuda/vocabulary.h"

namespace ringbench::RINGBENCH_BACKEND {

// Values in 16 bytes.
template <class Real> constexpr int kVector = 16 / static_cast<int>(sizeof(Real));

__device__ __forceinline__ void unpack(float (&values)[4], uint4 bits) {
  values[0] = __uint_as_float(bits.x), values[1] = __uint_as_float(bits.y);
  values[2] = __uint_as_float(bits.z), values[3] = __uint_as_float(bits.w);
}
__device__ __forceinline__ void unpack(float (&values)[8], uint4 bits) {
  const float2 a = unpack_bf16x2(bits.x), b = unpack_bf16x2(bits.y);
  const float2 c = unpack_bf16x2(bits.z), d = unpack_bf16x2(bits.w);
  values[0] = a.x, values[1] = a.y, values[2] = b.x, values[3] = b.y;
  values[4] = c.x, values[5] = c.y, values[6] = d.x, values[7] = d.y;
}
__device__ __forceinline__ uint4 pack(const float (&values)[4]) {
  return {__float_as_uint(values[0]), __float_as_uint(values[1]), __float_as_uint(values[2]),
          __float_as_uint(values[3])};
}
__device__ __forceinline__ uint4 pack(const float (&values)[8]) {
  return {pack_bf16x2(values[0], values[1]), pack_bf16x2(values[2], values[3]), pack_bf16x2(values[4], values[5]),
          pack_bf16x2(values[6], values[7])};
}

template <class Real> __device__ __forceinline__ void load_vector(float (&values)[kVector<Real>], const Real* from) {
  unpack(values, *reinterpret_cast<const uint4*>(from));
}
template <class Real> __device__ __forceinline__ void store_vector(Real* to, const float (&values)[kVector<Real>]) {
  *reinterpret_cast<uint4*>(to) = pack(values);
}

// `count` floats (a multiple of 4) of a small float vector.
template <int Count> __device__ __forceinline__ void load_floats(float (&values)[Count], const float* from) {
#pragma unroll
  for (int i = 0; i < Count; i += 4) {
    const float4 part = *reinterpret_cast<const float4*>(from + i);
    values[i] = part.x, values[i + 1] = part.y, values[i + 2] = part.z, values[i + 3] = part.w;
  }
}

// Rounds to nearest, ties to even.
template <class Real> __device__ __forceinline__ Real narrow(float x);
template <> __device__ __forceinline__ float narrow<float>(float x) { return x; }
template <> __device__ __forceinline__ bf16 narrow<bf16>(float x) { return to_bf16(x); }

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

}  // namespace ringbench::RINGBENCH_BACKEND
