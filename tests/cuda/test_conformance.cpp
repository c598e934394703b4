// test_conformance.cpp: every word does what its documentation says, on the GPU and on the emulator alike. First what
// is expected is computed here, from the formulas; then the bytes are compared with tests/goldens/conformance.txt, so
// that no mistake in a formula, and no change of a micro-kernel, goes by unseen.
// To write that file anew: RINGBENCH_WRITE_GOLDENS=1 ringbench_tests "[write conformance]".
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <map>
#include <sstream>

#include "cuda/conformance.h"
#include "tests/catch.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

using Words = std::vector<uint32_t>;

uint32_t bits(float x) { return std::bit_cast<uint32_t>(x); }

bool alike(const ConformanceRecord& record, uint32_t expected, uint32_t got) {
  if (expected == got) return true;
  if (record.match == Match::bf16) {
    const auto nan = [](uint32_t half) { return (half & 0x7FFF) > 0x7F80; };
    const auto half = [&](uint32_t a, uint32_t b) { return a == b || (nan(a) && nan(b)); };
    return half(expected & 0xFFFF, got & 0xFFFF) && half(expected >> 16, got >> 16);
  }
  if (record.match == Match::relative) {
    const auto a = std::bit_cast<float>(expected), b = std::bit_cast<float>(got);
    if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
    if (std::isinf(a) || std::isinf(b)) return a == b;
    return std::abs(double{a} - b) <= record.tolerance * std::abs(double{a}) + 0x1p-126;
  }
  return false;
}

// Compares all words, but reports the first that differs only.
void check(const ConformanceRecord& record, const Words& expected) {
  INFO(record.name);
  REQUIRE(record.words.size() == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    if (alike(record, expected[i], record.words[i])) continue;
    FAIL_CHECK("word " << i << ": expected " << std::hex << expected[i] << " (" << std::bit_cast<float>(expected[i])
                       << "), got " << record.words[i] << " (" << std::bit_cast<float>(record.words[i]) << ")");
    return;
  }
  SUCCEED();
}

std::vector<ConformanceTest> runnable_tests() {
  std::vector<ConformanceTest> tests = conformance_tests();
  if (current_device().compute_capability != 90) std::erase_if(tests, [](const auto& test) { return test.hopper; });
  return tests;
}

// All records, by name; run once.
const std::map<std::string, ConformanceRecord>& records() {
  static const std::map<std::string, ConformanceRecord> all = [] {
    std::map<std::string, ConformanceRecord> m;
    for (const ConformanceTest& test : runnable_tests())
      for (ConformanceRecord& record : test.run()) m.emplace(record.name, std::move(record));
    return m;
  }();
  return all;
}
bool has(const std::string& name) { return records().count(name) != 0; }
const ConformanceRecord& record(const std::string& name) { return records().at(name); }

// --- what is expected, by the formulas ---

TEST_CASE("conformance: ldmatrix") {
  // PTX ISA, "ldmatrix": thread t receives from matrix m row t / 4, elements 2 (t % 4) and the next; transposed: those
  // of column t / 4. The tile's element (row, column) is 64 row + column; lane l names row 5 l % 32, column l % 7 * 8.
  const auto element = [](int matrix, int row, int column) {
    const int lane = matrix * 8 + row;
    return static_cast<uint32_t>(lane * 5 % 32 * 64 + lane % 7 * 8 + column);
  };
  for (const int matrices : {4, 2}) {
    Words plain, transposed;
    for (int t = 0; t < 32; ++t) {
      for (int m = 0; m < matrices; ++m) {
        const int i = t / 4, j = t % 4 * 2;
        plain.push_back(element(m, i, j) | element(m, i, j + 1) << 16);
        transposed.push_back(element(m, j, i) | element(m, j + 1, i) << 16);
      }
    }
    const std::string name = "ldmatrix_x" + std::to_string(matrices);
    check(record(name), plain);
    check(record(name + "_trans"), transposed);
  }
}

TEST_CASE("conformance: mma") {
  // PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type": groupID = lane >> 2, threadID_in_group =
  // lane % 4. A: row = groupID for a0 a1 a4 a5, groupID + 8 else; col = threadID_in_group * 2 + (i & 1) for i < 4, + 8
  // else. B: row = threadID_in_group * 2 + (i & 1) for i < 2, + 8 else; col = groupID. C: row = groupID for i < 2,
  // groupID + 8 else; col = threadID_in_group * 2 + (i & 1).
  float a[16][16], b[16][8], c[16][8];
  const auto at = [](int i) { return static_cast<uint32_t>(i); };
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane >> 2, thread = lane % 4;
    for (int i = 0; i < 8; ++i) {
      const int row = i % 4 < 2 ? group : group + 8, column = thread * 2 + (i & 1) + (i < 4 ? 0 : 8);
      a[row][column] = small_integer(at(lane * 8 + i), 1);
    }
    for (int i = 0; i < 4; ++i) b[thread * 2 + (i & 1) + (i < 2 ? 0 : 8)][group] = small_integer(at(lane * 4 + i), 2);
    for (int i = 0; i < 4; ++i) c[i < 2 ? group : group + 8][thread * 2 + (i & 1)] = small_integer(at(lane * 4 + i), 3);
  }
  Words expected;
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const int row = i < 2 ? lane >> 2 : (lane >> 2) + 8, column = lane % 4 * 2 + (i & 1);
      float sum = c[row][column];
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
      expected.push_back(bits(sum));
    }
  }
  check(record("mma_m16n8k16: integers"), expected);

  // Subnormal inputs count: 16 products of 2^-130 - .. and 2^110; registers i and i + 2 of a row hold its columns.
  Words inputs, results;
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      double large = 0, small = 0;
      const int group = lane / 4;
      for (int thread = 0; thread < 4; ++thread) {
        for (const int reg : {i / 2, i / 2 + 2}) {
          const int l = group * 4 + thread;
          large += 2 * std::ldexp(1.0, -130 - (l + reg) % 3 + 110);
          small += 2 * std::ldexp(1.0, -70 - (l + reg) % 3 - 70);
        }
      }
      inputs.push_back(bits(static_cast<float>(large)));
      results.push_back(bits(static_cast<float>(small)));
    }
  }
  check(record("mma_m16n8k16: subnormal inputs"), inputs);
  check(record("mma_m16n8k16: subnormal results"), results);
}

TEST_CASE("conformance: conversions") {
  // By arithmetic instead of bits: of the two neighbours of x in bf16, the nearer; of equal ones, the even.
  const auto rounded = [](float x) -> uint32_t {
    if (std::isinf(x) || x == 0) return bits(x) >> 16;
    const uint32_t below = bits(x) >> 16, above = below + 1;  // towards zero, away from it
    const auto value = [](uint32_t half) {
      const auto v = double{std::bit_cast<float>(half << 16)};
      return std::isinf(v) ? std::copysign(0x1p128, v) : v;  // infinity begins where the next number would be
    };
    const double down = std::abs(x - value(below)), up = std::abs(x - value(above));
    return down < up || (down == up && below % 2 == 0) ? below : above;
  };
  // The inputs, from the words that unpack_bf16x2 writes (high halves) and those that packing is asked for are the
  // kernel's own: to_bf16 is compared with pack_bf16x2 and with the class bf16 instead.
  const Words single = record("to_bf16").words, pairs = record("pack_bf16x2").words;
  REQUIRE(single.size() == pairs.size());
  for (size_t i = 0; i < single.size(); ++i) CHECK(pairs[i] == (single[i] | single[(i + 1) % single.size()] << 16));
  const std::pair<uint32_t, uint32_t> known[] = {{4, 0x3F80},  {5, 0x3F82},  {6, 0xBF80},
                                                 {7, 0xBF82},  {8, 0x3F81},  {9, 0x3F80},
                                                 {10, 0x3F82}, {11, 0x3F81}, {12, 0x4000},
                                                 {13, 0x4000}, {14, 0x7F80}, {15, 0x7F80},
                                                 {16, 0x7F7F}, {17, 0xFF80}, {20, 0},
                                                 {21, 0},      {22, 1},      {23, 2},
                                                 {25, 0x80},   {27, 0x8080}};  // positions in kFloats of conformance.cu
  for (const auto& [position, expected] : known) {
    INFO("position " << position);
    CHECK(single[position] == expected);
  }
  for (uint32_t i = 0; i < 200000; ++i) {
    const auto x = std::bit_cast<float>(scramble(i));
    if (!std::isnan(x) && bf16(x).bits != rounded(x)) FAIL("bf16 of " << x);
  }
}

TEST_CASE("conformance: cp.async") {
  Words expected(48 * 36, 0xABABABAB);
  for (int row = 0; row < 48; ++row) {
    for (int column = 0; column < 32; ++column) {
      const bool valid = (row * 7 + (row >= 32 ? column / 4 : 0)) % 3 != 0;
      expected[static_cast<size_t>(row * 36 + column)] = valid ? static_cast<uint32_t>(row * 32 + column + 1) : 0;
    }
  }
  for (const char* name : {"cp_async16", "cp_async8", "cp_async4"}) check(record(name), expected);
}

TEST_CASE("conformance: functions") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  std::vector<double> x = {0, 1, -1, 8, -20, -126, 127, 127.99f, 128, -126.5, -200, 200, infinity, -infinity};
  for (uint32_t i = 0; i < 114; ++i) x.push_back((static_cast<int>(scramble(i) % 20001) - 10000) / 128.0);
  const auto expect = [&](const char* name, auto function) {
    Words words;
    for (const double v : x) words.push_back(bits(static_cast<float>(function(v))));
    check(record(name), words);
  };
  const auto half_turns = [](double v, bool sine) {  // sin, cos of pi v / 16, exact at quarter turns
    if (std::isinf(v)) return std::numeric_limits<double>::quiet_NaN();
    const double reduced = std::remainder(v / 16, 2.0);
    if (sine && std::remainder(reduced, 1.0) == 0) return 0.0;
    if (!sine && std::abs(reduced) == 0.5) return 0.0;
    return sine ? std::sin(reduced * std::acos(-1.0)) : std::cos(reduced * std::acos(-1.0));
  };
  expect("fast_exp2", [](double v) { return std::exp2(v) < 0x1p-126 ? 0.0 : std::exp2(v); });
  for (size_t i = 0; i < x.size(); ++i) {  // check() lets both be small; this word promises zero
    INFO("2^" << x[i]);
    if (x[i] < -126) CHECK(record("fast_exp2").words[i] == 0);
  }
  expect("rsqrtf", [](double v) { return 1 / std::sqrt(std::abs(v)); });
  expect("__expf", [](double v) { return std::exp(v / 8); });
  expect("expf", [](double v) { return std::exp(v); });
  expect("logf", [](double v) { return std::log(std::abs(v)); });
  expect("exp2f", [](double v) { return std::exp2(v); });
  expect("sincospif, sine", [&](double v) { return half_turns(v, true); });
  expect("sincospif, cosine", [&](double v) { return half_turns(v, false); });
  expect("tanhf", [](double v) { return std::tanh(v / 16); });
}

TEST_CASE("conformance: each operation is rounded once") {
  std::vector<float> x;
  for (uint32_t i = 0; i < 61; ++i) x.push_back(static_cast<float>(scramble(i + 99) % 2000003) / 977 - 1023.5f);
  const auto each = [&](auto f) {
    Words words;
    for (size_t i = 0; i < 61; ++i) words.push_back(f(x[i], x[(i + 1) % 61], x[(i + 2) % 61]));
    return words;
  };
  // Products of two floats are exact in double.
  const std::vector<Words> parts = {
      each([](float a, float b, float c) {
        const auto product = static_cast<float>(double{a} * b);
        return bits(static_cast<float>(double{product} + c));
      }),
      each([](float a, float b, float c) { return bits(std::fma(a, b, c)); }),
      each([](float a, float b, float) { return bits(a / b); }),
      each([](float a, float, float) { return bits(std::sqrt(std::abs(a))); }),
      each([](float a, float, float) { return static_cast<uint32_t>(static_cast<int>(std::nearbyint(a))); })};
  Words expected;
  for (const Words& words : parts) expected.insert(expected.end(), words.begin(), words.end());
  check(record("__fadd_rn of __fmul_rn, __fmaf_rn, __fdiv_rn, __fsqrt_rn, __float2int_rn"), expected);
}

TEST_CASE("conformance: shuffles and votes") {
  Words shuffles, votes;
  const auto each = [](Words& out, auto f) {
    for (int t = 0; t < 64; ++t) out.push_back(static_cast<uint32_t>(f(t, t % 32, t / 32 * 32)));
  };
  const auto value = [](int t) { return 1000 + t * 3; };
  const auto from = [&](auto source) {  // of which lane
    each(shuffles, [&](int, int lane, int base) { return value(base + source(lane)); });
  };
  from([](int) { return 5; });
  from([](int) { return 5; });
  from([](int lane) { return (lane * 7 + 3) % 32; });
  from([](int lane) { return lane / 8 * 8 + 3; });
  from([](int lane) { return lane ^ 16; });
  from([](int lane) { return lane ^ 3; });
  // CUDA: a source in a later group gives the lane's own value, one in an earlier group that lane's.
  from([](int lane) { return (lane ^ 8) < lane ? lane ^ 8 : lane; });
  from([](int lane) { return lane >= 3 ? lane - 3 : lane; });
  from([](int lane) { return lane % 8 >= 3 ? lane - 3 : lane; });
  from([](int lane) { return lane + 5 < 32 ? lane + 5 : lane; });
  from([](int lane) { return lane % 16 + 5 < 16 ? lane + 5 : lane; });
  from([](int lane) { return lane < 16 ? lane ^ 1 : 17; });
  each(shuffles, [&](int, int, int base) { return (static_cast<uint64_t>(value(base + 9)) << 20 | 1) & 0xFFFFFFFF; });
  each(shuffles, [&](int, int, int base) { return static_cast<uint64_t>(value(base + 9)) << 20 >> 32; });
  each(shuffles, [&](int, int, int base) { return 32 * 1000 + 3 * (32 * base + 31 * 16); });
  each(shuffles, [&](int, int, int base) {
    int largest = 0;
    for (int lane = 0; lane < 32; ++lane) largest = std::max(largest, value(base + lane) * 7 % 101);
    return largest;
  });
  each(shuffles, [&](int t, int, int) {
    int ones = 0, first = 0, zeros = 32;
    for (int i = 31; i >= 0; --i) {
      if ((value(t) >> i & 1) == 0) continue;
      ++ones;
      first = i + 1;
      zeros = std::min(zeros, 31 - i);
    }
    return ones * 10000 + first * 100 + zeros;
  });
  each(shuffles, [](int t, int, int) { return uint64_t{scramble(static_cast<uint32_t>(t))} * 0x9E3779B9u >> 32; });
  check(record("shuffles"), shuffles);

  uint32_t thirds = 0, odd = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if (lane % 3 == 0) thirds |= 1u << lane;
    if (lane % 2 != 0 && lane > 10) odd |= 1u << lane;
  }
  each(votes, [&](int, int, int) { return thirds; });
  each(votes, [](int, int, int) { return 1; });
  each(votes, [](int t, int, int) { return t < 32; });
  each(votes, [](int t, int, int) { return t < 32; });
  each(votes, [](int, int, int) { return 1; });
  each(votes, [&](int, int lane, int) { return lane % 2 != 0 ? odd : 0; });
  check(record("votes"), votes);
}

TEST_CASE("conformance: barriers") {
  Words box, reversed, halves(128), warp(64);
  for (int t = 0; t < 64; ++t) {
    uint32_t sum = 0;
    for (int r = 0; r < 7; ++r) sum = sum * 3 + static_cast<uint32_t>(r * 100 + 63 - t);
    box.push_back(sum);
  }
  check(record("barrier_sync, barrier_arrive"), box);
  for (uint32_t t = 0; t < 100; ++t) reversed.push_back(99 - t);
  check(record("__syncthreads after exits"), reversed);
  // In lockstep: every thread reads what its neighbours had before the step.
  const auto steps = [](Words v, int rounds, size_t shift, uint32_t factor) {
    for (int r = 0; r < rounds; ++r) {
      const Words before = v;
      for (size_t t = 0; t < v.size(); ++t) v[t] = before[t] * factor + before[(t + shift) % v.size()];
    }
    return v;
  };
  const auto counted = [](uint32_t first, uint32_t n) {
    Words v;
    for (uint32_t i = 0; i < n; ++i) v.push_back(first + i);
    return v;
  };
  const Words low = steps(counted(0, 64), 3, 17, 5), high = steps(counted(64, 64), 7, 17, 5);
  for (size_t t = 0; t < 128; ++t) halves[127 - t] = t < 64 ? low[t] : high[t - 64];
  check(record("two named barriers"), halves);
  const Words first = steps(counted(0, 32), 5, 7, 3), second = steps(counted(32, 32), 5, 7, 3);
  for (size_t t = 0; t < 64; ++t) warp[t] = t < 32 ? first[t] : second[t - 32];
  check(record("__syncwarp"), warp);
}

TEST_CASE("conformance: indices and atomics") {
  Words indices;
  for (uint32_t b = 0; b < 12; ++b) {
    for (uint32_t t = 0; t < 96; ++t) {
      const uint32_t first = t / 32 * 32;  // 8 x 4 threads make a warp
      indices.push_back(first % 8 | first / 8 % 4 << 8 | first / 32 << 16 | b << 24);
    }
  }
  check(record("thread and block indices"), indices);
  Words bins(14);
  for (uint32_t t = 0; t < 13 * 96; ++t) {
    ++bins[t % 7];
    bins[7] = std::max(bins[7], t * 37 % 1009);
    bins[13] |= 1u << t % 29;
  }
  bins[8] = 4711;
  bins[9] = 1;
  bins[10] = 13 * 96 - 1;
  bins[11] = 1;
  bins[12] = 0;
  check(record("atomics"), bins);
  check(record("__threadfence: the last block sums up"), {bits(650.0f), bits(13 * 96 / 2.0f)});  // 0^2 + .. + 12^2
}

TEST_CASE("conformance: mbarrier") {
  if (!has("mbarrier: phases")) return;
  Words phases, ring;
  for (uint32_t r = 0; r < 6; ++r)
    for (int t = 0; t < 128; ++t) phases.push_back(r * 10 * 1010101 + 1 * 10000 + 2 * 100 + 3);
  check(record("mbarrier: phases"), phases);
  for (uint32_t t = 0; t < 96; ++t) {
    uint32_t sum = 0;
    for (uint32_t r = 0; r < 11; ++r) sum = sum * 3 + r * 1000 + (t % 32 + t / 32 * 5) % 32;
    ring.push_back(sum);
  }
  check(record("mbarrier: ring of three"), ring);
}

// Shared memory after the load of a box whose rows hold these elements (bits; 64 to a row).
// PTX ISA, "Swizzling Modes", 128 bytes: 16-byte unit u of row r lies where unit u xor (r % 8) would.
template <class F> Words swizzled_box(F element) {
  Words words(32 * 32);
  for (int row = 0; row < 32; ++row) {
    for (int column = 0; column < 64; column += 2) {
      const int unit = column / 8 ^ row % 8;
      words[static_cast<size_t>(row * 32 + unit * 4 + column % 8 / 2)] = element(row, column) | element(row, column + 1)
                                                                                                    << 16;
    }
  }
  return words;
}

TEST_CASE("conformance: tensor loads") {
  if (!has("tma_load_3d")) return;
  const auto inside = [](int i, int n) { return i >= 0 && i < n; };
  const auto at = [](int i) { return static_cast<uint32_t>(i + 1) & 0xFFFF; };
  for (const TensorCorner& corner : tensor_corners()) {
    check(record("tma_load_2d at " + std::to_string(corner.x) + ", " + std::to_string(corner.y)),
          swizzled_box([&](int row, int column) {
            const int x = corner.x + column, y = corner.y + row;
            return inside(x, 136) && inside(y, 100) ? at(y * 136 + x) : 0;
          }));
  }
  check(record("tma_load_3d"), swizzled_box([&](int row, int column) {
          const int x = 72 + column, y = 10 + row % 16, z = 3 + row / 16;
          return inside(x, 136) && inside(y, 20) && inside(z, 5) ? at((z * 20 + y) * 136 + x) : 0;
        }));
  check(record("tma_load_4d"), swizzled_box([&](int row, int column) {
          const int x = -8 + column, y = 4 + row % 8, z = 4 + row / 8 % 2, w = row / 16;
          return inside(x, 136) && inside(y, 10) && inside(z, 5) && inside(w, 2) ? at(((w * 5 + z) * 10 + y) * 136 + x)
                                                                                 : 0;
        }));
}

TEST_CASE("conformance: wgmma") {
  if (!has("wgmma of ordinary stores")) return;
  const auto integer = [](int i, uint32_t salt) { return small_integer(static_cast<uint32_t>(i), salt); };
  for (const WgmmaCase& c : wgmma_cases()) {
    Words expected;
    for (int i = 0; i < 64; ++i) {
      for (int j = 0; j < c.n; ++j) {
        float sum = c.accumulate ? static_cast<float>(i * 64 + j) : 0.0f;
        for (int k = 0; k < c.k; ++k)
          sum += integer(c.a_mn_major ? k * 64 + i : i * c.k + k, 1) *
                 integer(c.b_mn_major ? k * c.n + j : j * c.k + k, 2);
        expected.push_back(bits(sum));
      }
    }
    check(record(std::string(c.name)), expected);
  }
  Words square, threads;
  for (int i = 0; i < 64; ++i) {
    for (int j = 0; j < 64; ++j) {
      float sum = 0;
      for (int k = 0; k < 64; ++k) sum += integer(i * 64 + k, 1) * integer(j * 64 + k, 1);
      square.push_back(bits(sum));
    }
  }
  check(record("wgmma of ordinary stores"), square);
  for (uint32_t t = 0; t < 384; ++t) threads.push_back(t * 3);
  check(record("register_decrease, register_increase"), threads);
}

// --- the bytes ---

// FNV-1a, 64 bits, over the words' bytes, lowest first.
uint64_t hash(const Words& words) {
  uint64_t h = 0xCBF29CE484222325u;
  for (const uint32_t w : words)
    for (int i = 0; i < 4; ++i) h = (h ^ (w >> 8 * i & 0xFF)) * 0x100000001B3u;
  return h;
}
constexpr size_t longest_list = 256;  // of words; more, if they must be equal, are kept as their hash

std::filesystem::path golden_file() {
  return std::filesystem::path(RINGBENCH_SOURCE_DIR) / "tests" / "goldens" / "conformance.txt";
}

TEST_CASE("conformance: bytes as in goldens/conformance.txt") {
  std::ifstream file(golden_file());
  REQUIRE(file.good());
  size_t seen = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    const std::string name = line;  // then the number of words, and the words or "hash" and it
    size_t count = 0;
    std::string first;
    file >> std::dec >> count >> std::hex;
    Words words;
    uint64_t expected_hash = 0;
    file >> first;
    if (first == "hash") {
      file >> expected_hash;
    } else {
      words.push_back(static_cast<uint32_t>(std::stoul(first, nullptr, 16)));
      for (uint32_t w; words.size() < count && file >> w;) words.push_back(w);
    }
    std::getline(file, line);
    if (!has(name)) {  // not on this device
      REQUIRE(current_device().compute_capability != 90);
      continue;
    }
    ++seen;
    INFO(name);
    if (first == "hash") {
      CHECK(record(name).words.size() == count);
      CHECK(hash(record(name).words) == expected_hash);
    } else {
      check(record(name), words);
    }
  }
  CHECK(seen == records().size());
}

TEST_CASE("goldens/conformance.txt written anew", "[.][write conformance]") {
  if (std::getenv("RINGBENCH_WRITE_GOLDENS") == nullptr) return;  // a pattern of names may select this by accident
  std::ofstream file(golden_file());
  file << "# What the micro-kernels of cuda/conformance*.cu write: name, number of 32-bit words, the words. Equal on\n"
          "# the emulator and on a GPU; where numbers may differ, test_conformance.cpp says by how much.\n";
  for (const auto& [name, record] : records()) {
    file << name << '\n' << std::dec << record.words.size() << std::hex;
    if (record.match == Match::exact && record.words.size() > longest_list) {
      file << " hash " << hash(record.words) << '\n';
      continue;
    }
    for (size_t i = 0; i < record.words.size(); ++i) file << (i % 16 == 0 ? '\n' : ' ') << record.words[i];
    file << '\n';
  }
  REQUIRE(file.good());
}

}  // namespace
}  // namespace ringbench::RINGBENCH_BACKEND
