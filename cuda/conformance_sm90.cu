// conformance_sm90.cu: micro-kernels for the words of hopper.h.
#include <algorithm>
#include <array>

#include "cuda/conformance.h"
#include "cuda/hopper.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

using Records = std::vector<ConformanceRecord>;
using Words = std::vector<uint32_t>;

ConformanceRecord exact(std::string name, Words words) { return {std::move(name), Match::exact, 0, std::move(words)}; }

// --- mbarrier ---

// Every warp's first lane arrives; all wait for the phase; then everybody reads what the four wrote.
__global__ void phases(uint32_t* out, int rounds) {
  SharedArena arena;
  uint64_t* barrier = arena.take<uint64_t>(2, 8);
  uint32_t* box = arena.take<uint32_t>(4);
  const int t = static_cast<int>(threadIdx.x), warp = t / 32;
  if (t == 0) {
    mbarrier_init(barrier, 4);
    mbarrier_init(barrier + 1, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  mbarrier_wait(barrier + 1, 1);  // a fresh barrier: the phase before the first counts as over
  for (int r = 0; r < rounds; ++r) {
    if (t % 32 == 0) {
      box[warp] = static_cast<uint32_t>(r * 10 + warp);
      mbarrier_arrive(barrier);
    }
    mbarrier_wait(barrier, r % 2);
    uint32_t sum = 0;
    for (int w = 0; w < 4; ++w) sum = sum * 100 + box[w];
    out[r * 128 + t] = sum;
    __syncthreads();
  }
}
// One warp fills a ring of three slots, three warps empty it.
__global__ void ring(uint32_t* out, int rounds) {
  constexpr int slots = 3;
  SharedArena arena;
  uint64_t* full = arena.take<uint64_t>(slots, 8);
  uint64_t* empty = arena.take<uint64_t>(slots, 8);
  uint32_t* box = arena.take<uint32_t>(slots * 32);
  const int t = static_cast<int>(threadIdx.x), lane = t % 32;
  if (t == 0) {
    for (int s = 0; s < slots; ++s) {
      mbarrier_init(full + s, 32);
      mbarrier_init(empty + s, 96);
    }
    fence_mbarrier_init();
  }
  __syncthreads();
  if (t >= 96) {
    for (int r = 0; r < rounds; ++r) {
      const int s = r % slots, turn = r / slots;
      if (turn > 0) mbarrier_wait(empty + s, (turn - 1) % 2);
      box[s * 32 + lane] = static_cast<uint32_t>(r * 1000 + lane);
      mbarrier_arrive(full + s);
    }
  } else {
    uint32_t sum = 0;
    for (int r = 0; r < rounds; ++r) {
      const int s = r % slots, turn = r / slots;
      mbarrier_wait(full + s, turn % 2);
      sum = sum * 3 + box[s * 32 + (lane + t / 32 * 5) % 32];
      mbarrier_arrive(empty + s);
    }
    out[t] = sum;
  }
}
Records test_mbarrier() {
  const DeviceBuffer<uint32_t> a(6 * 128), b(96);
  launch(phases, dim3(1), dim3(128), 1024, {}, a.data(), 6);
  launch(ring, dim3(1), dim3(128), 1024, {}, b.data(), 11);
  return {exact("mbarrier: phases", to_host(a)), exact("mbarrier: ring of three", to_host(b))};
}

// --- tensor loads: the box as it lies in shared memory, word by word ---

constexpr int kBoxRows = 32, kBoxWords = kBoxRows * 32;

template <int Rank>
__global__ void box(uint32_t* out, const __grid_constant__ TensorMap map, int x, int y, int z, int w) {
  SharedArena arena;
  uint32_t* tile = arena.take<uint32_t>(kBoxWords, 1024);
  uint64_t* barrier = arena.take<uint64_t>(1, 8);
  const int t = static_cast<int>(threadIdx.x);
  if (t == 0) {
    mbarrier_init(barrier, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (t == 0) {
    mbarrier_arrive_expect_tx(barrier, kBoxWords * 4);
    if constexpr (Rank == 2) tma_load_2d(tile, &map, x, y, barrier);
    if constexpr (Rank == 3) tma_load_3d(tile, &map, x, y, z, barrier);
    if constexpr (Rank == 4) tma_load_4d(tile, &map, x, y, z, w, barrier);
  }
  mbarrier_wait(barrier, 0);
  for (int i = t; i < kBoxWords; i += 64) out[i] = tile[i];
}
Records test_tensor_loads() {
  // Element i of memory is i + 1, as bits.
  std::vector<bf16> memory(100 * 136);
  for (size_t i = 0; i < memory.size(); ++i) memory[i] = bf16::from_bits(static_cast<uint16_t>(i + 1));
  const auto in = to_device(memory);
  const DeviceBuffer<uint32_t> out(kBoxWords);
  Records records;
  const auto record = [&](std::string name, auto kernel, const TensorMap& map, std::array<int, 4> at) {
    launch(kernel, dim3(1), dim3(64), kBoxWords * 4 + 128, {}, out.data(), map, at[0], at[1], at[2], at[3]);
    records.push_back(exact(std::move(name), to_host(out)));
  };
  for (const TensorCorner& corner : tensor_corners()) {
    record("tma_load_2d at " + std::to_string(corner.x) + ", " + std::to_string(corner.y), box<2>,
           make_tensor_map(in.data(), 100, 136, 136, kBoxRows), {corner.x, corner.y});
  }
  // The same memory as [5][20][136], boxes of 2 x 16 x 64, and as [2][5][10][136], boxes of 2 x 2 x 8 x 64.
  record("tma_load_3d", box<3>,
         make_tensor_map(in.data(), std::array<int64_t, 3>{136, 20, 5}, std::array<int64_t, 2>{136, 20 * 136},
                         std::array{64, 16, 2}),
         {72, 10, 3});
  record("tma_load_4d", box<4>,
         make_tensor_map(in.data(), std::array<int64_t, 4>{136, 10, 5, 2},
                         std::array<int64_t, 3>{136, 10 * 136, 50 * 136}, std::array{64, 8, 2, 2}),
         {-8, 4, 4, 0});
  return records;
}

// --- wgmma: out [64][N] = (d +) A B, small integers ---

// a: [64][K], or with AMnMajor [K][64]; b: [N][K], or with BMnMajor [K][N]. d starts as 64 row + column.
template <int N, int K, bool ARegisters, bool AMnMajor, bool BMnMajor, bool Accumulate>
__global__ void __launch_bounds__(128)
    wgmma(float* out, const __grid_constant__ TensorMap a_map, const __grid_constant__ TensorMap b_map) {
  SharedArena arena;
  bf16* a = arena.take<bf16>(64 * K, 1024);
  bf16* b = arena.take<bf16>(N * K, 1024);
  uint64_t* barrier = arena.take<uint64_t>(1, 8);
  constexpr int a_rows = AMnMajor ? K : 64, b_rows = BMnMajor ? K : N;  // of a panel
  const int t = static_cast<int>(threadIdx.x), lane = t % 32;
  const int row = t / 32 * 16 + lane / 4, column = lane % 4 * 2;
  if (t == 0) {
    mbarrier_init(barrier, 1);
    fence_mbarrier_init();
  }
  __syncthreads();
  if (t == 0) {
    mbarrier_arrive_expect_tx(barrier, (64 + N) * K * static_cast<int>(sizeof(bf16)));
    for (int i = 0; i * 64 * a_rows < 64 * K; ++i) tma_load_2d(a + i * a_rows * 64, &a_map, i * 64, 0, barrier);
    for (int i = 0; i * 64 * b_rows < N * K; ++i) tma_load_2d(b + i * b_rows * 64, &b_map, i * 64, 0, barrier);
  }
  mbarrier_wait(barrier, 0);
  float d[N / 2];
#pragma unroll
  for (int j = 0; j < N / 2; ++j) d[j] = static_cast<float>((row + j % 4 / 2 * 8) * 64 + j / 4 * 8 + column + j % 2);
  uint32_t fragments[K / 16][4];
  if constexpr (ARegisters) {
    for (int k = 0; k < K / 16; ++k)
      ldmatrix_x4(fragments[k],
                  a + k / 4 * 64 * 64 + (t / 32 * 16 + lane % 16) * 64 + ((k % 4 * 2 + lane / 16) ^ lane % 8) * 8);
  }
  const auto b_tile = [&] {
    if constexpr (BMnMajor)
      return wgmma_tile_mn_major(b, b_rows);
    else
      return wgmma_tile_k_major(b, b_rows);
  }();
  const auto a_tile = [&] {
    if constexpr (AMnMajor)
      return wgmma_tile_mn_major(a, a_rows);
    else
      return wgmma_tile_k_major(a, a_rows);
  }();
  wgmma_fence();
#pragma unroll
  for (int k = 0; k < K; k += 16) {
    const bool add = Accumulate || k > 0;
    if constexpr (ARegisters) {
      wgmma_m64k16(d, fragments[k / 16], b_tile.at_k(k), add);
    } else {
      wgmma_m64k16(d, a_tile.at_k(k), b_tile.at_k(k), add);
    }
    if (k == 0) wgmma_commit();  // two groups
  }
  wgmma_commit();
  wgmma_wait<0>(d);
#pragma unroll
  for (int j = 0; j < N / 2; ++j) out[(row + j % 4 / 2 * 8) * N + j / 4 * 8 + column + j % 2] = d[j];
}

// name, N, K, A in registers, A M-major, B N-major, accumulate
constexpr WgmmaCase kWgmmaCases[] = {{"wgmma 64x64x64", 64, 64, false, false, false, true},
                                     {"wgmma 64x64x64, from zero", 64, 64, false, false, false, false},
                                     {"wgmma 64x128x128", 128, 128, false, false, false, true},
                                     {"wgmma 64x256x64", 256, 64, false, false, false, false},
                                     {"wgmma 64x64x64, B N-major", 64, 64, false, false, true, true},
                                     {"wgmma 64x128x64, A in registers, B N-major", 128, 64, true, false, true, true},
                                     {"wgmma 64x256x64, A in registers, B N-major", 256, 64, true, false, true, false},
                                     {"wgmma 64x64x128, A in registers", 64, 128, true, false, false, true},
                                     {"wgmma 64x64x64, A M-major", 64, 64, false, true, false, true},
                                     {"wgmma 64x128x96, A M-major, B N-major", 128, 96, false, true, true, true}};

template <size_t I> ConformanceRecord run_wgmma() {
  constexpr WgmmaCase c = kWgmmaCases[I];
  std::vector<bf16> a(64 * c.k), b(static_cast<size_t>(c.n * c.k));
  for (size_t i = 0; i < a.size(); ++i) a[i] = bf16(small_integer(static_cast<uint32_t>(i), 1));
  for (size_t i = 0; i < b.size(); ++i) b[i] = bf16(small_integer(static_cast<uint32_t>(i), 2));
  const auto device_a = to_device(a), device_b = to_device(b);
  const DeviceBuffer<float> out(64 * c.n);
  const int a_rows = c.a_mn_major ? c.k : 64, a_columns = c.a_mn_major ? 64 : c.k;
  const int b_rows = c.b_mn_major ? c.k : c.n, b_columns = c.b_mn_major ? c.n : c.k;
  launch(wgmma<c.n, c.k, c.a_in_registers, c.a_mn_major, c.b_mn_major, c.accumulate>, dim3(1), dim3(128),
         (64 + c.n) * c.k * sizeof(bf16) + 128, {}, out.data(),
         make_tensor_map(device_a.data(), a_rows, a_columns, a_columns, a_rows),
         make_tensor_map(device_b.data(), b_rows, b_columns, b_columns, b_rows));
  return exact(std::string(c.name), bits_of(to_host(out)));
}

// As in a kernel with one loading and two multiplying warpgroups, which begins with 168 registers per thread.
__global__ void __launch_bounds__(384, 1) registers(uint32_t* out) {
  if (threadIdx.x < 128) {
    register_decrease<40>();
  } else {
    register_increase<232>();
  }
  out[threadIdx.x] = threadIdx.x * 3;
}

// A tile laid down by ordinary stores, handed over by fence_proxy_async: out = a a^T.
__global__ void wgmma_of_stores(float* out, const bf16* from) {
  SharedArena arena;
  bf16* a = arena.take<bf16>(64 * 64, 1024);
  const int t = static_cast<int>(threadIdx.x), lane = t % 32;
  for (int i = t; i < 64 * 64; i += 128) {
    const int row = i / 64, column = i % 64;
    a[row * 64 + ((column / 8) ^ (row % 8)) * 8 + column % 8] = from[i];
  }
  fence_proxy_async();
  __syncthreads();
  float d[32];
#pragma unroll
  for (int j = 0; j < 32; ++j) d[j] = 0;
  const auto tile = wgmma_tile_k_major(a, 64);
  wgmma_fence();
#pragma unroll
  for (int k = 0; k < 64; k += 16) wgmma_m64k16(d, tile.at_k(k), tile.at_k(k));
  wgmma_commit();
  wgmma_wait<0>(d);
#pragma unroll
  for (int j = 0; j < 32; ++j)
    out[(t / 32 * 16 + lane / 4 + j % 4 / 2 * 8) * 64 + j / 4 * 8 + lane % 4 * 2 + j % 2] = d[j];
}

Records test_wgmma() {
  Records records = []<size_t... I>(std::index_sequence<I...>) { return Records{run_wgmma<I>()...}; }
  (std::make_index_sequence<std::size(kWgmmaCases)>{});
  std::vector<bf16> a(64 * 64);
  for (size_t i = 0; i < a.size(); ++i) a[i] = bf16(small_integer(static_cast<uint32_t>(i), 1));
  const auto in = to_device(a);
  const DeviceBuffer<float> out(64 * 64);
  launch(wgmma_of_stores, dim3(1), dim3(128), 8192, {}, out.data(), in.data());
  records.push_back(exact("wgmma of ordinary stores", bits_of(to_host(out))));
  const DeviceBuffer<uint32_t> threads(384);
  launch(registers, dim3(1), dim3(384), 0, {}, threads.data());
  records.push_back(exact("register_decrease, register_increase", to_host(threads)));
  return records;
}

}  // namespace

std::span<const WgmmaCase> wgmma_cases() { return kWgmmaCases; }

std::span<const TensorCorner> tensor_corners() {
  static constexpr TensorCorner corners[] = {{0, 0}, {64, 32}, {128, 64}, {71, 90}, {-8, -4}, {-3, 99}, {200, 0}};
  return corners;
}

std::vector<ConformanceTest> conformance_tests_sm90() {
  return {{"mbarrier", true, test_mbarrier}, {"tensor loads", true, test_tensor_loads}, {"wgmma", true, test_wgmma}};
}

}  // namespace ringbench::RINGBENCH_BACKEND
