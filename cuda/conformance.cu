// conformance.cu: micro-kernels for the words of vocabulary.h.
#include "cuda/conformance.h"

#include <cmath>
#include <limits>

#include "cuda/vocabulary.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

constexpr unsigned kAll = 0xFFFFFFFFu;
using Records = std::vector<ConformanceRecord>;
using Words = std::vector<uint32_t>;

ConformanceRecord exact(std::string name, Words words) { return {std::move(name), Match::exact, 0, std::move(words)}; }
Words part(const Words& words, size_t index, size_t parts) {
  const auto size = static_cast<ptrdiff_t>(words.size() / parts);
  const auto from = words.begin() + static_cast<ptrdiff_t>(index) * size;
  return {from, from + size};
}

// --- shared memory ---

__global__ void arena_addresses(uint32_t* out) {  // modulo 1024: all that banks and swizzles see
  SharedArena arena;
  const void* p[5] = {arena.take<char>(5), arena.take<float>(3), arena.take<uint16_t>(64, 1024), arena.take<char>(1, 8),
                      arena.take<uint64_t>(2, 16)};
  for (int i = 0; i < 5; ++i) out[i] = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(p[i]) % 1024);
}
Records test_arena() {
  const DeviceBuffer<uint32_t> out(5);
  launch(arena_addresses, dim3(1), dim3(1), 4096, {}, out.data());
  return {exact("SharedArena: addresses modulo 1024", to_host(out))};
}

// A tile [32][64] of 0, 1, 2, ... with rows of 72; lane l gives row 5 l % 32, column l % 7 * 8.
__global__ void ldmatrix(uint32_t* out) {
  constexpr int rows = 32, columns = 64, stride = 72;
  SharedArena arena;
  uint16_t* tile = arena.take<uint16_t>(rows * stride);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < rows * columns; i += 32) tile[i / columns * stride + i % columns] = static_cast<uint16_t>(i);
  __syncwarp();
  const uint16_t* row = tile + lane * 5 % rows * stride + lane % 7 * 8;
  uint32_t r[4], s[2];
  ldmatrix_x4(r, row);
  for (int i = 0; i < 4; ++i) out[lane * 4 + i] = r[i];
  ldmatrix_x4_trans(r, row);
  for (int i = 0; i < 4; ++i) out[128 + lane * 4 + i] = r[i];
  ldmatrix_x2(s, row);
  for (int i = 0; i < 2; ++i) out[256 + lane * 2 + i] = s[i];
  ldmatrix_x2_trans(s, row);
  for (int i = 0; i < 2; ++i) out[320 + lane * 2 + i] = s[i];
}
Records test_ldmatrix() {
  const DeviceBuffer<uint32_t> out(384);
  launch(ldmatrix, dim3(1), dim3(32), 32 * 72 * 2, {}, out.data());
  const Words w = to_host(out);
  return {exact("ldmatrix_x4", part(w, 0, 3)), exact("ldmatrix_x4_trans", part(w, 1, 3)),
          exact("ldmatrix_x2", part(w, 4, 6)), exact("ldmatrix_x2_trans", part(w, 5, 6))};
}

// --- mma: in, per lane: a[4], b[2], d[4] ---

__global__ void mma(uint32_t* out, const uint32_t* in) {
  const int lane = static_cast<int>(threadIdx.x);
  uint32_t a[4], b[2];
  float d[4];
  for (int i = 0; i < 4; ++i) a[i] = in[lane * 10 + i];
  for (int i = 0; i < 2; ++i) b[i] = in[lane * 10 + 4 + i];
  for (int i = 0; i < 4; ++i) d[i] = __uint_as_float(in[lane * 10 + 6 + i]);
  mma_m16n8k16(d, a, b);
  for (int i = 0; i < 4; ++i) out[lane * 4 + i] = __float_as_uint(d[i]);
}
template <class A, class B, class D>
Words run_mma(A a, B b, D d) {  // a(lane, register, half), b likewise, d(lane, register)
  const auto pair = [](float low, float high) { return bf16(low).bits | static_cast<uint32_t>(bf16(high).bits) << 16; };
  Words in;
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) in.push_back(pair(a(lane, i, 0), a(lane, i, 1)));
    for (int i = 0; i < 2; ++i) in.push_back(pair(b(lane, i, 0), b(lane, i, 1)));
    for (int i = 0; i < 4; ++i) in.push_back(std::bit_cast<uint32_t>(d(lane, i)));
  }
  const auto from = to_device(in);
  const DeviceBuffer<uint32_t> to(128);
  launch(mma, dim3(1), dim3(32), 0, {}, to.data(), from.data());
  return to_host(to);
}
Records test_mma() {
  constexpr float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const auto zero = [](int, int) { return 0.0f; };
  Records r;
  // Integers at every place of A, B and D: whatever lies elsewhere than documented changes the sums.
  r.push_back(
      exact("mma_m16n8k16: integers",
            run_mma([](int l, int i, int h) { return small_integer(static_cast<uint32_t>(l * 8 + i * 2 + h), 1); },
                    [](int l, int i, int h) { return small_integer(static_cast<uint32_t>(l * 4 + i * 2 + h), 2); },
                    [](int l, int i) { return small_integer(static_cast<uint32_t>(l * 4 + i), 3); })));
  r.push_back(exact("mma_m16n8k16: subnormal inputs",
                    run_mma([](int l, int i, int) { return std::ldexp(1.0f, -130 - (l + i) % 3); },
                            [](int, int, int) { return std::ldexp(1.0f, 110); }, zero)));
  r.push_back(exact("mma_m16n8k16: subnormal results",
                    run_mma([](int l, int i, int) { return std::ldexp(1.0f, -70 - (l + i) % 3); },
                            [](int, int, int) { return std::ldexp(1.0f, -70); }, zero)));
  r.push_back({"mma_m16n8k16: infinities and NaN", Match::relative, 0,
               run_mma(
                   [](int l, int i, int h) {
                     return l == 0 && i == 0 && h == 0 ? infinity : l == 5 && i == 1 && h == 1 ? nan : 1.0f;
                   },
                   [](int l, int i, int) { return l == 0 && i == 0 ? -1.0f
                                                  : l == 31        ? -infinity
                                                                   : 1.0f; },
                   [](int, int) { return 1.0f; })});
  return r;
}

// --- conversions, functions ---

__global__ void conversions(uint32_t* packed, uint32_t* rounded, uint32_t* widened, const uint32_t* bits, int n) {
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) {
    const float x = __uint_as_float(bits[i]);
    packed[i] = pack_bf16x2(x, __uint_as_float(bits[(i + 1) % n]));
    rounded[i] = to_bf16(x).bits;
    const float2 pair = unpack_bf16x2(bits[i]);
    widened[2 * i] =
        __float_as_uint(pair.x) ^ __float_as_uint(to_float(bf16::from_bits(static_cast<uint16_t>(bits[i]))));
    widened[2 * i + 1] = __float_as_uint(pair.y);
  }
}
// Ties and what lies beside them, carries into the exponent, overflow, subnormal numbers, and 90 others; then NaN.
const Words kFloats = [] {
  Words w = {0x00000000, 0x80000000, 0x3F800000, 0xBF800000, 0x3F808000, 0x3F818000, 0xBF808000, 0xBF818000,
             0x3F808001, 0x3F807FFF, 0x3F818001, 0x3F817FFF, 0x3FFF8000, 0x3FFFFFFF, 0x7F7FFFFF, 0x7F7F8000,
             0x7F7F7FFF, 0xFF7F8000, 0x7F800000, 0xFF800000, 0x00000001, 0x00008000, 0x00008001, 0x00018000,
             0x00010000, 0x007F8000, 0x007FFFFF, 0x807FFFFF, 0x00800000, 0x80000001};
  for (uint32_t i = 0; i < 90; ++i)
    if (const uint32_t bits = scramble(i + 7); (bits & 0x7F800000) != 0x7F800000) w.push_back(bits);
  return w;
}();
const Words kNaNs = {0x7FC00000, 0x7F800001, 0xFFC12345, 0x7FFFFFFF, 0xFF800001, 0x7FA00000};

Records test_conversions() {
  Records records;
  for (const bool nan : {false, true}) {
    const Words& bits = nan ? kNaNs : kFloats;
    const auto in = to_device(bits);
    const DeviceBuffer<uint32_t> packed(in.size()), rounded(in.size()), widened(2 * in.size());
    launch(conversions, dim3(1), dim3(64), 0, {}, packed.data(), rounded.data(), widened.data(), in.data(),
           static_cast<int>(in.size()));
    const Match match = nan ? Match::bf16 : Match::exact;
    const std::string suffix = nan ? ", NaN" : "";
    records.push_back({"pack_bf16x2" + suffix, match, 0, to_host(packed)});
    records.push_back({"to_bf16" + suffix, match, 0, to_host(rounded)});
    if (!nan) records.push_back({"unpack_bf16x2, to_float", match, 0, to_host(widened)});
  }
  return records;
}

constexpr int kFunctions = 9;
__global__ void functions(float* out, const float* in, int n) {
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) {
    const float x = in[i], magnitude = fabsf(x);
    float sine, cosine;
    sincospif(x / 16, &sine, &cosine);
    const float values[kFunctions] = {fast_exp2(x),    rsqrtf(magnitude), __expf(x / 8), expf(x),
                                      logf(magnitude), exp2f(x),          sine,          cosine,
                                      tanhf(x / 16)};
    for (int f = 0; f < kFunctions; ++f) out[f * n + i] = values[f];
  }
}
// Errors as the CUDA programming guide gives them (units in the last place of 2^-23, relative), plus the host's own.
Records test_functions() {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> x = {0.0f,    1.0f,   -1.0f,   8.0f,    -20.0f, -126.0f,  127.0f,
                          127.99f, 128.0f, -126.5f, -200.0f, 200.0f, infinity, -infinity};
  for (uint32_t i = 0; i < 114; ++i)
    x.push_back(static_cast<float>(static_cast<int>(scramble(i) % 20001) - 10000) / 128);
  const auto in = to_device(x);
  const DeviceBuffer<float> out(kFunctions * in.size());
  launch(functions, dim3(1), dim3(64), 0, {}, out.data(), in.data(), static_cast<int>(in.size()));
  const Words w = bits_of(to_host(out));
  const auto record = [&](const char* name, size_t index, double tolerance) {
    return ConformanceRecord{name, Match::relative, tolerance, part(w, index, kFunctions)};
  };
  return {record("fast_exp2", 0, 5e-7),
          record("rsqrtf", 1, 5e-7),
          record("__expf", 2, 3e-6),
          record("expf", 3, 5e-7),
          record("logf", 4, 5e-7),
          record("exp2f", 5, 5e-7),
          record("sincospif, sine", 6, 5e-7),
          record("sincospif, cosine", 7, 5e-7),
          record("tanhf", 8, 5e-7)};
}

__global__ void rounded_once(uint32_t* out, const float* in, int n) {
  for (int i = static_cast<int>(threadIdx.x); i < n; i += static_cast<int>(blockDim.x)) {
    const float a = in[i], b = in[(i + 1) % n], c = in[(i + 2) % n];
    out[i] = __float_as_uint(__fadd_rn(__fmul_rn(a, b), c));
    out[n + i] = __float_as_uint(__fmaf_rn(a, b, c));
    out[2 * n + i] = __float_as_uint(__fdiv_rn(a, b));
    out[3 * n + i] = __float_as_uint(__fsqrt_rn(fabsf(a)));
    out[4 * n + i] = static_cast<uint32_t>(__float2int_rn(a));
  }
}
Records test_rounded_once() {
  std::vector<float> x;
  for (uint32_t i = 0; i < 61; ++i) x.push_back(static_cast<float>(scramble(i + 99) % 2000003) / 977 - 1023.5f);
  const auto in = to_device(x);
  const DeviceBuffer<uint32_t> out(5 * in.size());
  launch(rounded_once, dim3(1), dim3(32), 0, {}, out.data(), in.data(), static_cast<int>(in.size()));
  return {exact("__fadd_rn of __fmul_rn, __fmaf_rn, __fdiv_rn, __fsqrt_rn, __float2int_rn", to_host(out))};
}

// --- cp.async: three groups of 16 rows of 32 words; rows padded to 36 ---

template <int Bytes> __device__ void copy(void* to, const void* from, bool valid) {
  if constexpr (Bytes == 16) cp_async16(to, from, valid);
  if constexpr (Bytes == 8) cp_async8(to, from, valid);
  if constexpr (Bytes == 4) cp_async4(to, from, valid);
}
template <int Bytes> __global__ void copies(uint32_t* out, const uint32_t* in) {
  constexpr int groups = 3, rows = 16, columns = 32, stride = 36, unit = Bytes / 4, units = columns / unit;
  SharedArena arena;
  uint32_t* tile = arena.take<uint32_t>(groups * rows * stride);
  const int t = static_cast<int>(threadIdx.x);
  for (int i = t; i < groups * rows * stride; i += 128) tile[i] = 0xABABABAB;
  __syncthreads();
  for (int g = 0; g < groups; ++g) {
    for (int i = t; i < rows * units; i += 128) {
      const int row = g * rows + i / units, column = i % units * unit;
      const bool valid = (row * 7 + column / 4 * (g == 2 ? 1 : 0)) % 3 != 0;
      copy<Bytes>(tile + row * stride + column, in + (valid ? row : 0) * columns + column, valid);
    }
    cp_async_commit();
  }
  const auto dump = [&](int g) {
    __syncthreads();
    for (int i = t; i < rows * stride; i += 128) out[g * rows * stride + i] = tile[g * rows * stride + i];
  };
  cp_async_wait<2>();
  dump(0);
  cp_async_wait<1>();
  dump(1);
  cp_async_wait<0>();
  dump(2);
}
Records test_copies() {
  Words from(48 * 32);
  for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<uint32_t>(i + 1);
  const auto in = to_device(from);
  const DeviceBuffer<uint32_t> out(48 * 36);
  const auto run = [&](auto kernel) {
    launch(kernel, dim3(1), dim3(128), 48 * 36 * 4, {}, out.data(), in.data());
    return to_host(out);
  };
  return {exact("cp_async16", run(copies<16>)), exact("cp_async8", run(copies<8>)), exact("cp_async4", run(copies<4>))};
}

// --- barriers ---

__global__ void producer_consumer(uint32_t* out, int rounds) {  // barrier 1: full, barrier 15: empty
  SharedArena arena;
  uint32_t* box = arena.take<uint32_t>(64);
  const int t = static_cast<int>(threadIdx.x);
  if (t < 64) {
    for (int r = 0; r < rounds; ++r) {
      if (r > 0) barrier_sync(15, 128);
      box[t] = static_cast<uint32_t>(r * 100 + t);
      barrier_arrive(1, 128);
    }
  } else {
    uint32_t sum = 0;
    for (int r = 0; r < rounds; ++r) {
      barrier_sync(1, 128);
      sum = sum * 3 + box[127 - t];
      if (r + 1 < rounds) barrier_arrive(15, 128);
    }
    out[t - 64] = sum;
  }
}
__global__ void early_exit(uint32_t* out, int n) {  // threads that left do not hold up the others
  SharedArena arena;
  uint32_t* s = arena.take<uint32_t>(128);
  const int t = static_cast<int>(threadIdx.x);
  if (t >= n) return;
  s[t] = static_cast<uint32_t>(t);
  __syncthreads();
  out[t] = s[n - 1 - t];
}
__global__ void two_halves(uint32_t* out) {  // two named barriers at once, then everybody
  SharedArena arena;
  uint32_t* s = arena.take<uint32_t>(128);
  const int t = static_cast<int>(threadIdx.x), half = t / 64;
  auto v = static_cast<uint32_t>(t);
  for (int r = 0; r < 3 + 4 * half; ++r) {
    s[t] = v;
    barrier_sync(2 + half, 64);
    v = v * 5 + s[half * 64 + (t + 17) % 64];
    barrier_sync(2 + half, 64);
  }
  s[t] = v;
  __syncthreads();
  out[t] = s[127 - t];
}
Records test_barriers() {
  const DeviceBuffer<uint32_t> a(64), b(100), c(128);
  launch(producer_consumer, dim3(1), dim3(128), 512, {}, a.data(), 7);
  launch(early_exit, dim3(1), dim3(128), 512, {}, b.data(), 100);
  launch(two_halves, dim3(1), dim3(128), 512, {}, c.data());
  return {exact("barrier_sync, barrier_arrive", to_host(a)), exact("__syncthreads after exits", to_host(b)),
          exact("two named barriers", to_host(c))};
}

// --- warps: out[item][thread] of 64 threads ---

constexpr int kShuffles = 18;
__global__ void shuffles(uint32_t* out) {
  const int t = static_cast<int>(threadIdx.x), lane = t % 32, v = 1000 + t * 3;
  int item = 0;
  const auto put = [&](int x) { out[item++ * 64 + t] = static_cast<uint32_t>(x); };
  put(__shfl_sync(kAll, v, 5));
  put(__shfl_sync(kAll, v, 37));  // a source beyond the warp wraps
  put(__shfl_sync(kAll, v, (lane * 7 + 3) % 32));
  put(__shfl_sync(kAll, v, 11, 8));  // within groups of 8
  put(__shfl_xor_sync(kAll, v, 16));
  put(__shfl_xor_sync(kAll, v, 3, 4));
  put(__shfl_xor_sync(kAll, v, 8, 4));  // leaves the group, up or down
  put(__shfl_up_sync(kAll, v, 3));
  put(__shfl_up_sync(kAll, v, 3, 8));
  put(__shfl_down_sync(kAll, v, 5));
  put(__shfl_down_sync(kAll, v, 5, 16));
  int w;
  if (lane < 16) {
    w = __shfl_xor_sync(0x0000FFFFu, v, 1);  // the two halves apart
  } else {
    w = __shfl_sync(0xFFFF0000u, v, 17);
  }
  put(w);
  const uint64_t wide = __shfl_sync(kAll, static_cast<uint64_t>(v) << 20 | 1, 9);
  put(static_cast<int>(wide));
  put(static_cast<int>(wide >> 32));
  put(static_cast<int>(warp_sum(static_cast<float>(v))));
  put(static_cast<int>(warp_max(static_cast<float>(v * 7 % 101))));
  put(__popc(static_cast<unsigned>(v)) * 10000 + __ffs(v) * 100 + __clz(v));
  put(static_cast<int>(__umulhi(scramble(static_cast<uint32_t>(t)), 0x9E3779B9u)));
}
constexpr int kVotes = 6;
__global__ void votes(uint32_t* out) {
  const int t = static_cast<int>(threadIdx.x), lane = t % 32;
  int item = 0;
  const auto put = [&](unsigned x) { out[item++ * 64 + t] = x; };
  put(__ballot_sync(kAll, lane % 3 == 0));
  put(__any_sync(kAll, lane == 31) != 0);
  put(__any_sync(kAll, t < 32) != 0);
  put(__all_sync(kAll, t < 32) != 0);
  put(__all_sync(kAll, lane >= 0) != 0);
  unsigned odd = 0;
  if (lane % 2 != 0) odd = __ballot_sync(0xAAAAAAAAu, lane > 10);
  put(odd);
}
__global__ void through_shared(uint32_t* out) {  // __syncwarp orders shared memory within a warp
  SharedArena arena;
  uint32_t* s = arena.take<uint32_t>(64);
  const int t = static_cast<int>(threadIdx.x), base = t / 32 * 32;
  auto v = static_cast<uint32_t>(t);
  for (int r = 0; r < 5; ++r) {
    s[t] = v;
    __syncwarp();
    v = v * 3 + s[base + (t + 7) % 32];
    __syncwarp();
  }
  out[t] = v;
}
__global__ void shape(uint32_t* out) {  // which threads make a warp, and the built-in variables
  const unsigned t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned b = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned first = __shfl_sync(kAll, threadIdx.x | threadIdx.y << 8 | threadIdx.z << 16, 0);
  out[b * 96 + t] = first | b << 24;
}
Records test_warps() {
  const DeviceBuffer<uint32_t> a(kShuffles * 64), b(kVotes * 64), c(64), d(12 * 96);
  launch(shuffles, dim3(1), dim3(64), 0, {}, a.data());
  launch(votes, dim3(1), dim3(64), 0, {}, b.data());
  launch(through_shared, dim3(1), dim3(64), 512, {}, c.data());
  launch(shape, dim3(2, 3, 2), dim3(8, 4, 3), 0, {}, d.data());
  return {exact("shuffles", to_host(a)), exact("votes", to_host(b)), exact("__syncwarp", to_host(c)),
          exact("thread and block indices", to_host(d))};
}

// --- atomics ---

__global__ void atomics(uint32_t* bins, float* partials, unsigned* ticket, float* total) {
  SharedArena arena;
  unsigned* last = arena.take<unsigned>(1);
  const unsigned t = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(bins + t % 7, 1u);
  atomicMax(bins + 7, t * 37 % 1009);
  if (atomicCAS(bins + 8, 0u, 4711u) == 0u) atomicAdd(bins + 9, 1u);  // exactly one sees the zero
  atomicAdd(bins + 10, atomicExch(bins + 11, 1u));                    // all but one see the one
  atomicMin(bins + 12, 0xFFFFFFFFu - t);
  atomicOr(bins + 13, 1u << t % 29);
  atomicAdd(total + 1, 0.5f);
  __syncthreads();
  if (threadIdx.x == 0) {  // the last block sums up
    partials[blockIdx.x] = static_cast<float>(blockIdx.x * blockIdx.x);
    __threadfence();
    *last = atomicAdd(ticket, 1u) == gridDim.x - 1 ? 1 : 0;
  }
  __syncthreads();
  if (*last != 0 && threadIdx.x == 0) {
    __threadfence();
    float sum = 0;
    for (unsigned i = 0; i < gridDim.x; ++i) sum += partials[i];
    total[0] = sum;
  }
}
Records test_atomics() {
  const auto bins = to_device(Words(14)), ticket = to_device(Words(1));
  const auto total = to_device(std::vector<float>(2));
  const DeviceBuffer<float> partials(13);
  launch(atomics, dim3(13), dim3(96), 128, {}, bins.data(), partials.data(), ticket.data(), total.data());
  return {exact("atomics", to_host(bins)), exact("__threadfence: the last block sums up", bits_of(to_host(total)))};
}

}  // namespace

std::vector<ConformanceTest> conformance_tests() {
  std::vector<ConformanceTest> tests = {{"shared arena", false, test_arena},
                                        {"ldmatrix", false, test_ldmatrix},
                                        {"mma", false, test_mma},
                                        {"conversions", false, test_conversions},
                                        {"functions", false, test_functions},
                                        {"rounding", false, test_rounded_once},
                                        {"cp.async", false, test_copies},
                                        {"barriers", false, test_barriers},
                                        {"warps", false, test_warps},
                                        {"atomics", false, test_atomics}};
  for (const ConformanceTest& test : conformance_tests_sm90()) tests.push_back(test);
  return tests;
}

}  // namespace ringbench::RINGBENCH_BACKEND
