// hopper.h: the words of Hopper kernels (compute capability 9.0a): mbarrier, tensor loads (TMA), warpgroup mma.
// Kernels that use them are in files named *_sm90.cu, compiled for sm_90a only; compiled for less, these words trap.
#pragma once

#include <array>
#include <span>

#include "cuda/vocabulary.h"

#if defined(RINGBENCH_GPU)
#include <cuda.h>
#endif

namespace ringbench::RINGBENCH_BACKEND {

#if defined(RINGBENCH_GPU)
using TensorMap = CUtensorMap;
#endif

// How tma_load finds a box of a bf16 tensor, which it lays down as 128-byte rows with 128-byte swizzle. Innermost
// dimension first: extent and box in elements, stride in elements for all dimensions but the innermost (which has 1).
// box[0] is 64 (128 bytes); the base is 16-byte aligned, strides are multiples of 8. What lies outside reads as zero.
// As a kernel's parameter: const __grid_constant__ TensorMap map, and &map for tma_load.
inline TensorMap make_tensor_map(const bf16* base, std::span<const int64_t> extent, std::span<const int64_t> stride,
                                 std::span<const int> box) {
  const size_t rank = extent.size();
  bool fits = rank >= 2 && rank <= 4 && stride.size() == rank - 1 && box.size() == rank && box[0] == 64;
  fits = fits && reinterpret_cast<uintptr_t>(base) % 16 == 0;
  for (size_t d = 0; fits && d < rank; ++d) {
    fits = extent[d] > 0 && extent[d] <= int64_t{1} << 32 && box[d] > 0 && box[d] <= 256;
    fits = fits && (d == 0 || (stride[d - 1] > 0 && stride[d - 1] % 8 == 0));
  }
  if (!fits) throw GpuError("a tensor map that the hardware would refuse");
#if defined(RINGBENCH_GPU)
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found;
  check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &found),
        "cuTensorMapEncodeTiled");
  if (entry == nullptr) throw GpuError("the driver has no cuTensorMapEncodeTiled");
  TensorMap map;
  cuuint64_t dims[4] = {}, strides[4] = {};  // strides in bytes
  cuuint32_t boxes[4] = {};
  const cuuint32_t steps[4] = {1, 1, 1, 1};
  for (size_t d = 0; d < rank; ++d) {
    dims[d] = static_cast<cuuint64_t>(extent[d]);
    boxes[d] = static_cast<cuuint32_t>(box[d]);
    if (d > 0) strides[d - 1] = static_cast<cuuint64_t>(stride[d - 1]) * sizeof(bf16);
  }
  const CUresult error = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(entry)(
      &map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, static_cast<cuuint32_t>(rank), const_cast<bf16*>(base), dims, strides,
      boxes, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (error != CUDA_SUCCESS) throw GpuError("cuTensorMapEncodeTiled: error " + std::to_string(int{error}));
  return map;
#else
  TensorMap map{base, static_cast<int>(rank), {}, {1}, {}};
  for (size_t d = 0; d < rank; ++d) {
    map.extent[d] = extent[d];
    map.box[d] = box[d];
    if (d > 0) map.stride[d] = stride[d - 1];
  }
  return map;
#endif
}
// A matrix [rows][columns] whose rows begin row_stride elements apart; boxes of box_rows x 64.
inline TensorMap make_tensor_map(const bf16* base, int64_t rows, int64_t columns, int64_t row_stride, int box_rows) {
  return make_tensor_map(base, std::array{columns, rows}, std::array{row_stride}, std::array{64, box_rows});
}

#if defined(RINGBENCH_GPU)

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define RINGBENCH_SM90(...) asm volatile(__VA_ARGS__)
#else
#define RINGBENCH_SM90(...) __trap()
#endif

// An mbarrier is 8 bytes of shared memory. A phase ends when `count` arrivals and all expected bytes have come; wait()
// returns once the phase of that parity has ended: 0, 1, 0, ... from the first on. One thread makes the barriers, then
// fence_mbarrier_init, then __syncthreads.
__device__ __forceinline__ void mbarrier_init(uint64_t* barrier, int count) {
  RINGBENCH_SM90("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(detail::shared_address(barrier)), "r"(count)
                 : "memory");
}
__device__ __forceinline__ void fence_mbarrier_init() {
  RINGBENCH_SM90("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void mbarrier_arrive(uint64_t* barrier) {
  RINGBENCH_SM90("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(detail::shared_address(barrier)) : "memory");
}
__device__ __forceinline__ void mbarrier_arrive_expect_tx(uint64_t* barrier, int bytes) {
  RINGBENCH_SM90("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(detail::shared_address(barrier)),
                 "r"(bytes)
                 : "memory");
}
__device__ __forceinline__ void mbarrier_wait(uint64_t* barrier, int parity) {
  RINGBENCH_SM90(
      "{\n.reg .pred p;\nWAIT:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra DONE;\nbra WAIT;\n"
      "DONE:\n}" ::"r"(detail::shared_address(barrier)),
      "r"(parity)
      : "memory");
}

// Loads the box whose first element is (x, y, ...) to `to` (1024-byte aligned); its bytes, also those of what lies
// outside the tensor, count at the barrier. One thread calls.
__device__ __forceinline__ void tma_load_2d(void* to, const TensorMap* map, int x, int y, uint64_t* barrier) {
  RINGBENCH_SM90(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::
          "r"(detail::shared_address(to)),
      "l"(map), "r"(detail::shared_address(barrier)), "r"(x), "r"(y)
      : "memory");
}
__device__ __forceinline__ void tma_load_3d(void* to, const TensorMap* map, int x, int y, int z, uint64_t* barrier) {
  RINGBENCH_SM90(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2];" ::"r"(detail::shared_address(to)),
      "l"(map), "r"(detail::shared_address(barrier)), "r"(x), "r"(y), "r"(z)
      : "memory");
}
__device__ __forceinline__ void tma_load_4d(void* to, const TensorMap* map, int x, int y, int z, int w,
                                            uint64_t* barrier) {
  RINGBENCH_SM90(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
      "[%2];" ::"r"(detail::shared_address(to)),
      "l"(map), "r"(detail::shared_address(barrier)), "r"(x), "r"(y), "r"(z), "r"(w)
      : "memory");
}

// Between ordinary stores to shared memory and wgmma that reads them: each storing thread, before the barrier.
__device__ __forceinline__ void fence_proxy_async() { RINGBENCH_SM90("fence.proxy.async.shared::cta;" ::: "memory"); }

// A tile as wgmma reads it: panels, 128 bytes wide, of `rows` rows each, with 128-byte swizzle, one after another: what
// tma_load lays down, box by box. Panels begin at multiples of 1024 bytes.
// K-major: rows are rows of A or columns of B, a panel holds 64 of k. MN-major: rows are k, a panel holds 64 rows of A
// or columns of B (so is V [keys][head_dim] for P V).
template <bool MnMajor> struct WgmmaTile {
  static constexpr bool mn_major = MnMajor;
  uint64_t bits;  // PTX ISA, "Matrix Descriptor Format": address, leading and stride offsets in units of 16 bytes
  int panel_bytes;

  // The same tile from k on, a multiple of 16.
  __device__ __forceinline__ WgmmaTile at_k(int k) const {
    const int offset = MnMajor ? k * 128 : k / 64 * panel_bytes + k % 64 * 2;
    return {bits + static_cast<uint64_t>(offset >> 4), panel_bytes};
  }
};
namespace detail {
template <bool MnMajor> __device__ __forceinline__ WgmmaTile<MnMajor> wgmma_tile(const bf16* tile, int rows) {
  const int panel_bytes = rows * 128;
  const uint64_t leading = MnMajor ? static_cast<uint64_t>(panel_bytes) >> 4 : 1;  // from panel to panel along M or N
  constexpr uint64_t stride = 1024 >> 4, swizzle_128 = uint64_t{1} << 62;          // from 8 rows to the next 8
  return {static_cast<uint64_t>(shared_address(tile) >> 4 & 0x3FFF) | leading << 16 | stride << 32 | swizzle_128,
          panel_bytes};
}
}  // namespace detail
__device__ __forceinline__ WgmmaTile<false> wgmma_tile_k_major(const bf16* tile, int rows) {
  return detail::wgmma_tile<false>(tile, rows);
}
__device__ __forceinline__ WgmmaTile<true> wgmma_tile_mn_major(const bf16* tile, int rows) {
  return detail::wgmma_tile<true>(tile, rows);
}

// wgmma_m64k16(d, a, b): D[64][N] += A[64][16] B[16][N] over a warpgroup (128 threads, four whole warps in line), with
// N = 64, 128 or 256 by the length of d; without `accumulate`, D = A B. a is a tile, or the fragments of mma_m16n8k16
// for the warp's 16 rows. Asynchronous: fence, the products, commit, and wait, which names the accumulators. Until then
// neither they nor the registers of a may be touched. d[4 j + i] of warp w of the four is row 16 w + g + 8 (i / 2),
// column 8 j + c + i % 2 (g, c: mma_m16n8k16).
__device__ __forceinline__ void wgmma_fence() { RINGBENCH_SM90("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { RINGBENCH_SM90("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int Pending, int... N> __device__ __forceinline__ void wgmma_wait(float (&... d)[N]) {
  RINGBENCH_SM90("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
  // So that the compiler moves nothing that uses them to before the wait.
  const auto tie = [](auto& accumulators) {
#pragma unroll
    for (float& x : accumulators) asm volatile("" : "+f"(x)::"memory");
  };
  (tie(d), ...);
}

// clang-format off
#define RINGBENCH_LIST32 \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define RINGBENCH_LIST64 \
  RINGBENCH_LIST32 "," \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define RINGBENCH_LIST128 \
  RINGBENCH_LIST64 "," \
  "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79," \
  "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95," \
  "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111," \
  "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define RINGBENCH_TIE8(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define RINGBENCH_TIE32(i) RINGBENCH_TIE8(i), RINGBENCH_TIE8(i + 8), RINGBENCH_TIE8(i + 16), RINGBENCH_TIE8(i + 24)
#define RINGBENCH_TIE64(i) RINGBENCH_TIE32(i), RINGBENCH_TIE32(i + 32)
#define RINGBENCH_TIE128(i) RINGBENCH_TIE64(i), RINGBENCH_TIE64(i + 64)
template <class A, class B>
__device__ __forceinline__ void wgmma_m64k16(float (&d)[32], A a, B b, bool accumulate = true) {
  RINGBENCH_SM90("{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" RINGBENCH_LIST32 "}, "
                 "%32, %33, p, 1, 1, %35, %36;\n}"
                 : RINGBENCH_TIE32(0)
                 : "l"(a.bits), "l"(b.bits), "r"(int{accumulate}), "n"(A::mn_major), "n"(B::mn_major));
}
template <class B>
__device__ __forceinline__ void wgmma_m64k16(float (&d)[32], const uint32_t (&a)[4], B b, bool accumulate = true) {
  RINGBENCH_SM90("{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" RINGBENCH_LIST32 "}, "
                 "{%32,%33,%34,%35}, %36, p, 1, 1, %38;\n}"
                 : RINGBENCH_TIE32(0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.bits), "r"(int{accumulate}), "n"(B::mn_major));
}
template <class A, class B>
__device__ __forceinline__ void wgmma_m64k16(float (&d)[64], A a, B b, bool accumulate = true) {
  RINGBENCH_SM90("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" RINGBENCH_LIST64 "}, "
                 "%64, %65, p, 1, 1, %67, %68;\n}"
                 : RINGBENCH_TIE64(0)
                 : "l"(a.bits), "l"(b.bits), "r"(int{accumulate}), "n"(A::mn_major), "n"(B::mn_major));
}
template <class B>
__device__ __forceinline__ void wgmma_m64k16(float (&d)[64], const uint32_t (&a)[4], B b, bool accumulate = true) {
  RINGBENCH_SM90("{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" RINGBENCH_LIST64 "}, "
                 "{%64,%65,%66,%67}, %68, p, 1, 1, %70;\n}"
                 : RINGBENCH_TIE64(0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.bits), "r"(int{accumulate}), "n"(B::mn_major));
}
template <class A, class B>
__device__ __forceinline__ void wgmma_m64k16(float (&d)[128], A a, B b, bool accumulate = true) {
  RINGBENCH_SM90("{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" RINGBENCH_LIST128 "}, "
                 "%128, %129, p, 1, 1, %131, %132;\n}"
                 : RINGBENCH_TIE128(0)
                 : "l"(a.bits), "l"(b.bits), "r"(int{accumulate}), "n"(A::mn_major), "n"(B::mn_major));
}
template <class B>
__device__ __forceinline__ void wgmma_m64k16(float (&d)[128], const uint32_t (&a)[4], B b, bool accumulate = true) {
  RINGBENCH_SM90("{\n.reg .pred p;\nsetp.ne.b32 p, %133, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" RINGBENCH_LIST128 "}, "
                 "{%128,%129,%130,%131}, %132, p, 1, 1, %134;\n}"
                 : RINGBENCH_TIE128(0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b.bits), "r"(int{accumulate}), "n"(B::mn_major));
}
#undef RINGBENCH_LIST32
#undef RINGBENCH_LIST64
#undef RINGBENCH_LIST128
#undef RINGBENCH_TIE8
#undef RINGBENCH_TIE32
#undef RINGBENCH_TIE64
#undef RINGBENCH_TIE128
// clang-format on

// Moves registers between the warpgroups of a block: all of a warpgroup's warps call; N is a multiple of 8, 24 to 256.
template <int N> __device__ __forceinline__ void register_increase() {
  RINGBENCH_SM90("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N> __device__ __forceinline__ void register_decrease() {
  RINGBENCH_SM90("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

#undef RINGBENCH_SM90

#else

inline void mbarrier_init(uint64_t* barrier, int count, Location where = Location::current()) {
  fiber::mbarrier_init(barrier, count, where);
}
inline void fence_mbarrier_init() { fiber::fence_proxy_async(); }
inline void mbarrier_arrive(uint64_t* barrier, Location where = Location::current()) {
  fiber::mbarrier_arrive(barrier, 0, where);
}
inline void mbarrier_arrive_expect_tx(uint64_t* barrier, int bytes, Location where = Location::current()) {
  fiber::mbarrier_arrive(barrier, bytes, where);
}
inline void mbarrier_wait(uint64_t* barrier, int parity, Location where = Location::current()) {
  fiber::mbarrier_wait(barrier, parity, where);
}
inline void tma_load_2d(void* to, const TensorMap* map, int x, int y, uint64_t* barrier,
                        Location where = Location::current()) {
  fiber::tensor_load(to, map, 2, {x, y, 0, 0}, barrier, where);
}
inline void tma_load_3d(void* to, const TensorMap* map, int x, int y, int z, uint64_t* barrier,
                        Location where = Location::current()) {
  fiber::tensor_load(to, map, 3, {x, y, z, 0}, barrier, where);
}
inline void tma_load_4d(void* to, const TensorMap* map, int x, int y, int z, int w, uint64_t* barrier,
                        Location where = Location::current()) {
  fiber::tensor_load(to, map, 4, {x, y, z, w}, barrier, where);
}
inline void fence_proxy_async() { fiber::fence_proxy_async(); }

template <bool MnMajor> struct WgmmaTile {
  static constexpr bool mn_major = MnMajor;
  SwizzledTile tile;

  WgmmaTile at_k(int k) const {
    WgmmaTile t = *this;
    t.tile.base += MnMajor ? k * 128 : k / 64 * tile.panel_bytes + k % 64 * 2;
    return t;
  }
};
inline WgmmaTile<false> wgmma_tile_k_major(const bf16* tile, int rows) {
  return {{reinterpret_cast<const std::byte*>(tile), rows * 128, false}};
}
inline WgmmaTile<true> wgmma_tile_mn_major(const bf16* tile, int rows) {
  return {{reinterpret_cast<const std::byte*>(tile), rows * 128, true}};
}

inline void wgmma_fence() {}
inline void wgmma_commit() { fiber::wgmma_commit(); }
template <int Pending, int N> void wgmma_wait(float (&d)[N], Location where = Location::current()) {
  fiber::wgmma_wait(Pending, std::array<const float*, 1>{d}, where);
}
template <int Pending, int N, int M>
void wgmma_wait(float (&d)[N], float (&e)[M], Location where = Location::current()) {
  fiber::wgmma_wait(Pending, std::array<const float*, 2>{d, e}, where);
}
template <int Pending, int N, int M, int L>
void wgmma_wait(float (&d)[N], float (&e)[M], float (&f)[L], Location where = Location::current()) {
  fiber::wgmma_wait(Pending, std::array<const float*, 3>{d, e, f}, where);
}
template <int N, bool AMnMajor, bool BMnMajor>
void wgmma_m64k16(float (&d)[N], WgmmaTile<AMnMajor> a, WgmmaTile<BMnMajor> b, bool accumulate = true,
                  Location where = Location::current()) {
  static_assert(N == 32 || N == 64 || N == 128);
  fiber::wgmma_issue(d, 2 * N, a.tile, nullptr, b.tile, accumulate, where);
}
template <int N, bool BMnMajor>
void wgmma_m64k16(float (&d)[N], const uint32_t (&a)[4], WgmmaTile<BMnMajor> b, bool accumulate = true,
                  Location where = Location::current()) {
  static_assert(N == 32 || N == 64 || N == 128);
  fiber::wgmma_issue(d, 2 * N, {nullptr, 0, false}, a, b.tile, accumulate, where);
}

template <int N> void register_increase() {}
template <int N> void register_decrease() {}

#endif

}  // namespace ringbench::RINGBENCH_BACKEND
