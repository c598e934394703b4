// emulator.h: runs CUDA kernels on the CPU. Every CUDA thread of a block is a fiber; blocks run one after another, on
// one OS thread. Plain, under ASan and UBSan, or under TSan, where each fiber is a thread of its own and only barriers
// order them: a missing __syncthreads is a reported race, whatever the schedule was.
// Kernels see the words of vocabulary.h and hopper.h; what those call is in namespace fiber below.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace ringbench::emulated {

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct uint3 {
  unsigned x, y, z;
};

// Set by the scheduler at every switch; kernels read them as in CUDA.
inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

struct EmulatorOptions {
  unsigned seed = 0;               // 0: in order; else random orders of blocks, and of warps at every barrier
  size_t stack_bytes = 128 << 10;  // per CUDA thread
};
EmulatorOptions& emulator_options();

// Of the last launch.
struct EmulatorStatistics {
  uint64_t threads = 0, switches = 0, collectives = 0, barriers = 0;
  uint64_t mma = 0, ldmatrix = 0;        // per warp
  uint64_t ldmatrix_conflicts = 0;       // 16-byte bank groups that the eight rows of a matrix should use and do not
  uint64_t cp_async = 0;                 // per thread
  uint64_t wgmma = 0, tensor_loads = 0;  // per warp (a quarter of a warpgroup's) | per issue
};
const EmulatorStatistics& emulator_statistics();

// Calls entry(arguments) once per CUDA thread of the grid. Throws GpuError for what the hardware leaves undefined
// (threads in different barriers, a deadlock, shared memory beyond the launch's, ...), with source lines.
void run_grid(dim3 grid, dim3 block, size_t shared_bytes, void (*entry)(const void*), const void* arguments);

// A line of source, as std::source_location, which clang 14 has not: as a default argument, the line of the call.
struct Location {
  const char* file = "";
  int line = 0;
  static constexpr Location current(const char* in = __builtin_FILE(), int at = __builtin_LINE()) { return {in, at}; }
};

// A box of a tensor in global memory, in shared memory with 128-byte swizzle. Innermost dimension first.
struct TensorMap {
  const void* base;
  int rank;
  int64_t extent[4];  // elements (bf16)
  int64_t stride[4];  // elements; [0] is 1
  int box[4];         // elements
};

// A tile in shared memory as wgmma reads it: 128-byte rows, swizzled.
struct SwizzledTile {
  const std::byte* base;
  int panel_bytes;  // from one panel (128 bytes wide) to the next
  bool mn_major;    // the contiguous dimension is M or N, not K
};

// Called by fibers.
namespace fiber {
unsigned lane();
void block_barrier(Location);
void named_barrier(int id, int threads, bool wait, Location);
void warp_barrier(unsigned mask, Location);
uint64_t shuffle(unsigned mask, uint64_t value, int source_lane, Location);
unsigned ballot(unsigned mask, bool predicate, Location);
void thread_fence();

void* shared_take(size_t& cursor, size_t bytes, size_t align, Location);
void cp_async(void* shared, const void* global, int bytes, int valid_bytes, Location);
void cp_async_commit();
void cp_async_wait(int pending_groups);
void ldmatrix(uint32_t* registers, int matrices, const void* row, bool transpose, Location);
void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Location);

void mbarrier_init(uint64_t*, int count, Location);
void mbarrier_arrive(uint64_t*, int expect_bytes, Location);
void mbarrier_wait(uint64_t*, int parity, Location);
void tensor_load(void* shared, const TensorMap*, int rank, const int (&corner)[4], uint64_t* barrier, Location);
void fence_proxy_async();
// a: a tile, or with a.base == nullptr the warp's fragment in a_registers. d: columns / 2 accumulators.
void wgmma_issue(float* d, int columns, SwizzledTile a, const uint32_t* a_registers, SwizzledTile b, bool accumulate,
                 Location);
void wgmma_commit();
// accumulators: those that the kernel names; all that are waited for must be among them.
void wgmma_wait(int pending_groups, std::span<const float* const> accumulators, Location);

template <class T> T shuffle_as(unsigned mask, T value, int source_lane, Location where) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  return std::bit_cast<T>(static_cast<Bits>(shuffle(mask, std::bit_cast<Bits>(value), source_lane, where)));
}
}  // namespace fiber

}  // namespace ringbench::emulated
