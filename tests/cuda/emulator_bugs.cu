// emulator_bugs.cu: kernels, right and with one planted bug each, for test_emulator.cpp to see the bugs caught.
// emulator_bugs NAME [SEED]: exit code 0: right; 1: wrong results; 2: GpuError, printed. Sanitizers have their own.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/hopper.h"

namespace ringbench::emulated {
namespace {

constexpr unsigned kAll = 0xFFFFFFFFu;

enum class Bug {
  none,
  no_chunk_barrier,
  no_state_barrier,
  early_wait,
  shared_past_end,
  global_past_end,
  uninitialised_shared,
  barrier_skipped,
  block_too_many,
  no_empty_wait,
  no_full_wait,
  wrong_expect,
  early_arrive,
  no_proxy_fence,
  other_accumulators,
  early_read,
  load_in_flight
};

// --- cp.async, ldmatrix, mma, a tile that all warps read and rewrite ---

// Per block, for chunks of 32 rows of x [rows, 16]: out = x S [16, 16]; then S = S / 2 + the chunk's first 16 rows.
constexpr int kChunk = 32, kWidth = 16, kRow = 24;  // rows are padded so that ldmatrix has no bank conflicts

__global__ void scan(float* out, const bf16* x, int rows, Bug bug) {
  const int t = static_cast<int>(threadIdx.x), warp = t / 32, lane = t % 32;
  SharedArena arena;
  bf16* chunks = arena.take<bf16>(2 * kChunk * kRow);
  bf16* state = arena.take<bf16>(kWidth * kRow);
  x += static_cast<size_t>(blockIdx.x) * static_cast<size_t>(rows * kWidth);
  out += static_cast<size_t>(blockIdx.x) * static_cast<size_t>(rows * kWidth);
  const auto prefetch = [&](int index) {
    const int row = t / 2, column = t % 2 * 8, from = index * kChunk + row;
    const bool valid = bug == Bug::global_past_end || from < rows;
    cp_async16(chunks + (index % 2 * kChunk + row) * kRow + column, x + (valid ? from : 0) * kWidth + column, valid);
    cp_async_commit();
  };
  if (bug != Bug::uninitialised_shared)
    for (int i = t; i < kWidth * kRow; i += 64) state[i] = to_bf16(0.0f);
  if (bug == Bug::shared_past_end) state[kWidth * kRow + lane] = to_bf16(0.0f);
  prefetch(0);
  for (int index = 0; index * kChunk < rows; ++index) {
    if (bug == Bug::early_wait) {
      cp_async_wait<1>();
    } else {
      cp_async_wait<0>();
    }
    if (bug != Bug::no_chunk_barrier && !(bug == Bug::barrier_skipped && warp == 1 && index == 1)) __syncthreads();
    if ((index + 1) * kChunk < rows) prefetch(index + 1);
    const bf16* chunk = chunks + index % 2 * kChunk * kRow;
    uint32_t a[4], b[4];
    float d[2][4] = {};
    ldmatrix_x4(a, chunk + (warp * 16 + lane % 16) * kRow + lane / 16 * 8);
    ldmatrix_x4_trans(b, state + lane % 16 * kRow + lane / 16 * 8);
    mma_m16n8k16(d[0], a, {b[0], b[1]});
    mma_m16n8k16(d[1], a, {b[2], b[3]});
    if (bug != Bug::no_state_barrier) __syncthreads();
    for (int i = t; i < kWidth * kWidth; i += 64) {
      bf16& s = state[i / kWidth * kRow + i % kWidth];
      s = to_bf16(to_float(s) / 2 + to_float(chunk[i / kWidth * kRow + i % kWidth]));
    }
    for (int n = 0; n < 2; ++n) {
      for (int i = 0; i < 4; ++i) {
        const int row = index * kChunk + warp * 16 + lane / 4 + i / 2 * 8;
        if (row < rows) out[row * kWidth + n * 8 + lane % 4 * 2 + i % 2] = d[n][i];
      }
    }
  }
  if (bug == Bug::early_wait) cp_async_wait<0>();
}

bool run_scan(Bug bug) {
  constexpr int blocks = 2, rows = 80;
  std::vector<bf16> x(blocks * rows * kWidth);
  for (size_t i = 0; i < x.size(); ++i) x[i] = bf16(static_cast<float>(static_cast<int>(i * 7 % 11) - 5));
  DeviceBuffer<bf16> device_x(static_cast<int64_t>(x.size()));
  DeviceBuffer<float> out(device_x.size());
  copy_to_device(device_x.data(), x.data(), device_x.size(), {});
  constexpr size_t shared_bytes = sizeof(bf16) * (2 * kChunk + kWidth) * kRow;
  launch(scan, dim3(bug == Bug::block_too_many ? blocks + 1 : blocks), dim3(64), shared_bytes, {}, out.data(),
         device_x.data(), rows, bug);

  for (int b = 0; b < blocks; ++b) {
    float state[kWidth][kWidth] = {};
    const auto at = [&](int row, int i) {
      return row < rows ? static_cast<float>(x[static_cast<size_t>((b * rows + row) * kWidth + i)]) : 0.0f;
    };
    for (int first = 0; first < rows; first += kChunk) {
      for (int row = first; row < std::min(first + kChunk, rows); ++row) {
        for (int j = 0; j < kWidth; ++j) {
          float sum = 0;
          for (int i = 0; i < kWidth; ++i) sum += at(row, i) * state[i][j];
          if (!(std::abs(out.data()[(b * rows + row) * kWidth + j] - sum) <= 1e-3f)) return false;
        }
      }
      for (int i = 0; i < kWidth; ++i)
        for (int j = 0; j < kWidth; ++j) state[i][j] = static_cast<float>(bf16(state[i][j] / 2 + at(first + i, j)));
    }
  }
  return true;
}

// --- mbarrier, tensor loads, wgmma ---

// out [64, 64] = a [64, k] b [64, k]^T: one warp loads, a warpgroup multiplies, through a ring of two stages.
constexpr int kTile = 64, kStages = 2;

__global__ void product(const __grid_constant__ TensorMap a_map, const __grid_constant__ TensorMap b_map, float* out,
                        int steps, Bug bug) {
  SharedArena arena;
  bf16* a = arena.take<bf16>(kStages * kTile * kTile, 1024);
  bf16* b = arena.take<bf16>(kStages * kTile * kTile, 1024);
  uint64_t* full = arena.take<uint64_t>(kStages, 8);
  uint64_t* empty = arena.take<uint64_t>(kStages, 8);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      mbarrier_init(full + s, 1);
      mbarrier_init(empty + s, 128);
    }
    fence_mbarrier_init();
  }
  __syncthreads();
  if (warp == 4) {
    if (lane != 0) return;
    for (int i = 0; i < steps; ++i) {
      const int s = i % kStages, round = i / kStages;
      if (bug != Bug::no_empty_wait && round > 0) mbarrier_wait(empty + s, (round - 1) % 2);
      constexpr int bytes = kTile * kTile * static_cast<int>(sizeof(bf16));
      mbarrier_arrive_expect_tx(full + s, bug == Bug::wrong_expect ? bytes : 2 * bytes);
      tma_load_2d(a + s * kTile * kTile, &a_map, i * kTile, 0, full + s);
      tma_load_2d(b + s * kTile * kTile, &b_map, i * kTile, 0, full + s);
    }
    return;
  }
  float d[32] = {}, other[32] = {};
  float early = 0;
  for (int i = 0; i < steps; ++i) {
    const int s = i % kStages;
    if (bug == Bug::load_in_flight && i == steps - 1) break;
    if (bug != Bug::no_full_wait) mbarrier_wait(full + s, i / kStages % 2);
    const auto ta = wgmma_tile_k_major(a + s * kTile * kTile, kTile);
    const auto tb = wgmma_tile_k_major(b + s * kTile * kTile, kTile);
    wgmma_fence();
    for (int k = 0; k < kTile; k += 16) wgmma_m64k16(d, ta.at_k(k), tb.at_k(k));
    wgmma_commit();
    if (bug == Bug::early_arrive) mbarrier_arrive(empty + s);
    if (bug == Bug::early_read) early += d[0] * 0;
    if (bug == Bug::other_accumulators) {
      wgmma_wait<0>(other);
    } else {
      wgmma_wait<0>(d);
    }
    if (bug != Bug::early_arrive) mbarrier_arrive(empty + s);
  }
  for (int j = 0; j < 32; ++j) {
    const int row = warp * 16 + lane / 4 + j % 4 / 2 * 8, column = j / 4 * 8 + lane % 4 * 2 + j % 2;
    out[row * kTile + column] = d[j] + early;
  }
}

// out [64, 64] = a a^T, a [64, 64] laid down swizzled by ordinary stores.
__global__ void square(float* out, const bf16* x, Bug bug) {
  SharedArena arena;
  bf16* a = arena.take<bf16>(kTile * kTile, 1024);
  const int t = static_cast<int>(threadIdx.x), lane = t % 32;
  for (int i = t; i < kTile * kTile; i += 128) {
    const int row = i / kTile, column = i % kTile;
    a[row * kTile + (column / 8 ^ row % 8) * 8 + column % 8] = x[i];
  }
  if (bug != Bug::no_proxy_fence) fence_proxy_async();
  __syncthreads();
  float d[32] = {};
  const auto tile = wgmma_tile_k_major(a, kTile);
  wgmma_fence();
  for (int k = 0; k < kTile; k += 16) wgmma_m64k16(d, tile.at_k(k), tile.at_k(k));
  wgmma_commit();
  wgmma_wait<0>(d);
  for (int j = 0; j < 32; ++j)
    out[(t / 32 * 16 + lane / 4 + j % 4 / 2 * 8) * kTile + j / 4 * 8 + lane % 4 * 2 + j % 2] = d[j];
}

// Integers: sums are exact in any order.
std::vector<bf16> integers(int rows, int columns, int salt) {
  std::vector<bf16> values(static_cast<size_t>(rows * columns));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = bf16(static_cast<float>(static_cast<int>((i * 7 + i / 13 + static_cast<size_t>(salt)) % 9) - 4));
  return values;
}

bool is_product(const float* out, const std::vector<bf16>& a, const std::vector<bf16>& b, int depth) {
  for (int i = 0; i < kTile; ++i) {
    for (int j = 0; j < kTile; ++j) {
      float sum = 0;
      for (int k = 0; k < depth; ++k)
        sum += static_cast<float>(a[static_cast<size_t>(i * depth + k)]) *
               static_cast<float>(b[static_cast<size_t>(j * depth + k)]);
      if (!(out[i * kTile + j] == sum)) return false;
    }
  }
  return true;
}

bool run_product(Bug bug) {
  constexpr int depth = 5 * kTile - 24;  // the last tiles reach beyond the matrices
  const std::vector<bf16> a = integers(kTile, depth, 0), b = integers(kTile, depth, 5);
  DeviceBuffer<bf16> device_a(kTile * depth), device_b(kTile * depth);
  DeviceBuffer<float> out(kTile * kTile);
  copy_to_device(device_a.data(), a.data(), device_a.size(), {});
  copy_to_device(device_b.data(), b.data(), device_b.size(), {});
  launch(product, dim3(1), dim3(160), kStages * 2 * kTile * kTile * sizeof(bf16) + 2 * kStages * 8, {},
         make_tensor_map(device_a.data(), kTile, depth, depth, kTile),
         make_tensor_map(device_b.data(), kTile, depth, depth, kTile), out.data(), (depth + kTile - 1) / kTile, bug);
  return is_product(out.data(), a, b, depth);
}

bool run_square(Bug bug) {
  const std::vector<bf16> a = integers(kTile, kTile, 3);
  DeviceBuffer<bf16> device_a(kTile * kTile);
  DeviceBuffer<float> out(kTile * kTile);
  copy_to_device(device_a.data(), a.data(), device_a.size(), {});
  launch(square, dim3(1), dim3(128), kTile * kTile * sizeof(bf16), {}, out.data(), device_a.data(), bug);
  return is_product(out.data(), a, a, kTile);
}

// --- small ones: warps, atomics, barriers ---

__global__ void block_sum(float* out, const float* x, int n) {
  SharedArena arena;
  float* partial = arena.take<float>(32);
  float s = 0;
  for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < n;
       i += static_cast<int>(gridDim.x * blockDim.x))
    s += x[i];
  s = warp_sum(s);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = s;
  __syncthreads();
  if (threadIdx.x < 32) {
    s = warp_sum(threadIdx.x < blockDim.x / 32 ? partial[threadIdx.x] : 0.0f);
    if (threadIdx.x == 0) atomicAdd(out, s);
  }
}
// The last block to finish adds up what the others left.
__global__ void last_block_sum(float* out, const float* x, int n, float* partials, unsigned* ticket, bool fence) {
  SharedArena arena;
  unsigned* last = arena.take<unsigned>(1);
  if (threadIdx.x == 0) {
    float s = 0;
    for (int i = static_cast<int>(blockIdx.x); i < n; i += static_cast<int>(gridDim.x)) s += x[i];
    partials[blockIdx.x] = s;
    if (fence) __threadfence();
    *last = atomicAdd(ticket, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (*last && threadIdx.x == 0) {
    if (fence) __threadfence();
    float s = 0;
    for (unsigned b = 0; b < gridDim.x; ++b) s += partials[b];
    *out = s;
  }
}
__global__ void votes(int* out) {
  const unsigned lane = threadIdx.x % 32;
  int v = static_cast<int>(lane);
  if (lane < 16) {
    v = __shfl_xor_sync(0x0000FFFFu, v, 1);  // the two halves of a warp apart
  } else {
    v = __shfl_sync(0xFFFF0000u, v, 17);
  }
  const bool odd_ballot = __ballot_sync(kAll, lane & 1) == 0xAAAAAAAAu;
  out[threadIdx.x] = odd_ballot && __any_sync(kAll, lane == 3) && __all_sync(kAll, true) ? v : -1;
}
// Warps 0 and 1 fill a box, warps 2 and 3 empty it; named barriers 1 (full) and 2 (empty).
__global__ void producer_consumer(int* out, int rounds) {
  SharedArena arena;
  int* box = arena.take<int>(64);
  const int t = static_cast<int>(threadIdx.x);
  if (t < 64) {
    for (int r = 0; r < rounds; ++r) {
      if (r > 0) barrier_sync(2, 128);
      box[t] = r * 100 + t;
      barrier_arrive(1, 128);
    }
  } else {
    int s = 0;
    for (int r = 0; r < rounds; ++r) {
      barrier_sync(1, 128);
      s += box[127 - t];
      if (r + 1 < rounds) barrier_arrive(2, 128);
    }
    out[t - 64] = s;
  }
}
__global__ void early_exit(int* out, int n) {
  SharedArena arena;
  int* s = arena.take<int>(128);
  const int t = static_cast<int>(threadIdx.x);
  if (t >= n) return;
  s[t] = t;
  __syncthreads();
  out[t] = s[n - 1 - t];
}
__global__ void histogram(int* bins, const int* x, int n) {
  SharedArena arena;
  int* local = arena.take<int>(16);
  if (threadIdx.x < 16) local[threadIdx.x] = 0;
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) atomicAdd(&local[x[i]], 1);
  __syncthreads();
  if (threadIdx.x < 16) atomicAdd(&bins[threadIdx.x], local[threadIdx.x]);
}
__global__ void exchange(int* out, bool sync) {
  SharedArena arena;
  int* s = arena.take<int>(64);
  s[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (sync) __syncwarp();
  out[threadIdx.x] = s[threadIdx.x ^ 1];
}

__global__ void shuffle_as_fence(int* out) {
  SharedArena arena;
  int* s = arena.take<int>(32);
  s[threadIdx.x] = 1;
  const int v = __shfl_xor_sync(kAll, 0, 1);
  out[threadIdx.x] = s[threadIdx.x ^ 1] + v;
}
__global__ void blocks_overlap(int* out) { out[threadIdx.x + blockIdx.x] = static_cast<int>(blockIdx.x); }
__global__ void threads_overlap(int* out) {
  __syncthreads();
  out[threadIdx.x] = static_cast<int>(blockIdx.x);
}
__global__ void partial_shuffle(int* out) {
  int v = 0;
  if (threadIdx.x < 20) v = __shfl_xor_sync(kAll, 1, 1);
  out[threadIdx.x] = v;
}
__global__ void different_collectives(int* out) {
  int v;
  if (threadIdx.x < 16) {
    v = __shfl_xor_sync(kAll, 1, 1);
  } else {
    v = static_cast<int>(__ballot_sync(kAll, true));
  }
  out[threadIdx.x] = v;
}
__global__ void outside_mask(int* out) { out[threadIdx.x] = __shfl_sync(0xFFFFu, 1, 0); }
__global__ void named_deadlock(int* out) {
  barrier_sync(1, 96);
  out[threadIdx.x] = 1;
}
__global__ void misaligned(float* out, const float* x) { out[threadIdx.x] = reinterpret_cast<const float4*>(x + 1)->x; }
__global__ void misaligned_ldmatrix(int* out) {
  SharedArena arena;
  const bf16* s = arena.take<bf16>(16 * 17);
  uint32_t r[4];
  ldmatrix_x4(r, s + threadIdx.x % 16 * 17);
  out[threadIdx.x] = static_cast<int>(r[0]);
}
__global__ void too_much_shared(int* out) {
  SharedArena arena;
  out[threadIdx.x] = arena.take<int>(100)[threadIdx.x];
}
__global__ void next_array(int* out) {
  SharedArena arena;
  int *a = arena.take<int>(32), *b = arena.take<int>(32);
  b[threadIdx.x] = 7;
  a[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = a[threadIdx.x + 32];
}
__global__ void index_overflow(int* out, int from) { out[threadIdx.x] = from + static_cast<int>(threadIdx.x); }
__device__ int deep(int n) {
  volatile char frame[4096];
  frame[n % 4096] = static_cast<char>(n);
  return n > 0 ? deep(n - 1) + frame[0] : 0;
}
__global__ void stack_overflow(int* out) { out[threadIdx.x] = deep(1000); }

template <class T> DeviceBuffer<T> on_device(const std::vector<T>& values) {
  DeviceBuffer<T> buffer(static_cast<int64_t>(values.size()));
  copy_to_device(buffer.data(), values.data(), buffer.size(), {});
  return buffer;
}

bool run_last_block(bool fence) {
  std::vector<float> x(100);
  float sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += x[i] = static_cast<float>(i % 7);
  const auto device_x = on_device(x);
  const auto out = on_device(std::vector<float>(1));
  const auto ticket = on_device(std::vector<unsigned>(1));
  const DeviceBuffer<float> partials(8);
  launch(last_block_sum, dim3(8), dim3(64), 128, {}, out.data(), device_x.data(), 100, partials.data(), ticket.data(),
         fence);
  return out.data()[0] == sum;
}

bool run_small_ones() {
  const DeviceBuffer<int> out(128);
  bool right = true;
  const auto check = [&](bool condition, const char* what) {
    if (!condition) std::printf("wrong: %s\n", what);
    right = right && condition;
  };
  std::vector<float> x(10000);
  float sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += x[i] = static_cast<float>(i % 7);
  const auto device_x = on_device(x);
  const auto device_sum = on_device(std::vector<float>(1));
  launch(block_sum, dim3(4), dim3(256), 128, {}, device_sum.data(), device_x.data(), 10000);
  check(device_sum.data()[0] == sum, "block_sum");
  check(run_last_block(true), "last_block_sum");
  launch(votes, dim3(1), dim3(64), 0, {}, out.data());
  for (int i = 0; i < 64; ++i) check(out.data()[i] == (i % 32 < 16 ? (i % 32 ^ 1) : 17), "votes");
  launch(producer_consumer, dim3(1), dim3(128), 256, {}, out.data(), 5);
  for (int i = 0; i < 64; ++i) check(out.data()[i] == 1000 + 5 * (63 - i), "producer_consumer");
  launch(early_exit, dim3(1), dim3(128), 512, {}, out.data(), 70);
  for (int i = 0; i < 70; ++i) check(out.data()[i] == 69 - i, "early_exit");
  std::vector<int> values(1000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int>(i % 16);
  const auto device_values = on_device(values);
  const auto bins = on_device(std::vector<int>(16));
  launch(histogram, dim3(2), dim3(100), 64, {}, bins.data(), device_values.data(), 1000);
  for (int i = 0; i < 16; ++i) check(bins.data()[i] == 2 * (1000 / 16 + (i < 1000 % 16 ? 1 : 0)), "histogram");
  launch(exchange, dim3(1), dim3(64), 256, {}, out.data(), true);
  for (int i = 0; i < 64; ++i) check(out.data()[i] == (i ^ 1), "exchange");
  return right;
}

bool run(std::string_view name) {
  const DeviceBuffer<int> out(128);
  if (name == "right")
    return run_small_ones() && run_scan(Bug::none) && run_product(Bug::none) && run_square(Bug::none);
  if (name == "no chunk barrier") return run_scan(Bug::no_chunk_barrier);
  if (name == "no state barrier") return run_scan(Bug::no_state_barrier);
  if (name == "early wait") return run_scan(Bug::early_wait);
  if (name == "shared past end") return run_scan(Bug::shared_past_end);
  if (name == "global past end") return run_scan(Bug::global_past_end);
  if (name == "uninitialised shared") return run_scan(Bug::uninitialised_shared);
  if (name == "barrier skipped") return run_scan(Bug::barrier_skipped);
  if (name == "block too many") return run_scan(Bug::block_too_many);
  if (name == "no empty wait") return run_product(Bug::no_empty_wait);
  if (name == "no full wait") return run_product(Bug::no_full_wait);
  if (name == "wrong expect") return run_product(Bug::wrong_expect);
  if (name == "early arrive") return run_product(Bug::early_arrive);
  if (name == "no proxy fence") return run_square(Bug::no_proxy_fence);
  if (name == "other accumulators") return run_product(Bug::other_accumulators);
  if (name == "early read") return run_product(Bug::early_read);
  if (name == "load in flight") return run_product(Bug::load_in_flight);
  if (name == "no fence") return run_last_block(false);
  if (name == "no syncwarp") {
    launch(exchange, dim3(1), dim3(64), 256, {}, out.data(), false);
  } else if (name == "shuffle as fence") {
    launch(shuffle_as_fence, dim3(1), dim3(32), 128, {}, out.data());
  } else if (name == "blocks overlap") {
    launch(blocks_overlap, dim3(2), dim3(64), 0, {}, out.data());
  } else if (name == "threads overlap") {
    launch(threads_overlap, dim3(2), dim3(64), 0, {}, out.data());
  } else if (name == "partial shuffle") {
    launch(partial_shuffle, dim3(1), dim3(32), 0, {}, out.data());
  } else if (name == "different collectives") {
    launch(different_collectives, dim3(1), dim3(32), 0, {}, out.data());
  } else if (name == "outside mask") {
    launch(outside_mask, dim3(1), dim3(32), 0, {}, out.data());
  } else if (name == "named deadlock") {
    launch(named_deadlock, dim3(1), dim3(64), 0, {}, out.data());
  } else if (name == "misaligned") {
    const auto x = on_device(std::vector<float>(16));
    const DeviceBuffer<float> y(32);
    launch(misaligned, dim3(1), dim3(32), 0, {}, y.data(), x.data());
  } else if (name == "misaligned ldmatrix") {
    launch(misaligned_ldmatrix, dim3(1), dim3(32), 1024, {}, out.data());
  } else if (name == "too much shared") {
    launch(too_much_shared, dim3(1), dim3(32), 128, {}, out.data());
  } else if (name == "next array") {
    launch(next_array, dim3(1), dim3(32), 256, {}, out.data());
  } else if (name == "index overflow") {
    launch(index_overflow, dim3(1), dim3(32), 0, {}, out.data(), 0x7FFFFFFF);
  } else if (name == "stack overflow") {
    launch(stack_overflow, dim3(1), dim3(32), 0, {}, out.data());
  } else {
    throw GpuError("no such bug");
  }
  return true;
}

}  // namespace
}  // namespace ringbench::emulated

int main(int argc, char** argv) {
  using namespace ringbench;
  emulated::emulator_options().seed = argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 0;
  try {
    const bool right = emulated::run(argc > 1 ? argv[1] : "");
    std::puts(right ? "right" : "wrong");
    return right ? 0 : 1;
  } catch (const GpuError& e) {
    std::printf("GpuError: %s\n", e.what());
    return 2;
  }
}
