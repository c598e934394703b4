// test_rope.cpp: SiLU, norm per head and rotation of q, k, v, and their way into the cache: every variant against
// reference/norm.h and reference/rope.h in f64.
#include <cmath>
#include <limits>
#include <numbers>

#include "reference/norm.h"
#include "reference/rope.h"
#include "tests/cuda/variants.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

// Radians per position as fractions of a turn times 2^64.
std::vector<uint64_t> turns_of(const std::vector<double>& frequencies) {
  std::vector<uint64_t> turns;
  for (const double f : frequencies)
    turns.push_back(static_cast<uint64_t>(static_cast<long double>(f) / (2 * std::numbers::pi_v<long double>)*0x1p64L));
  return turns;
}

struct RopeCase {
  int heads, kv_heads, head_dim, rotary_dim;
  bool norm, silu, cached;
  std::vector<int32_t> rows;
  std::vector<int64_t> positions;
  std::vector<int32_t> slots;
  bool warp_float, warp_bf16;  // variant `warp` must take it
};

template <class Real> void test_case(const RopeCase& c) {
  constexpr double eps = 0.03, factor = 1.1;
  constexpr int64_t max_tokens = 40, extra = 16;
  const int all_heads = c.heads + 2 * c.kv_heads;
  const int64_t d = c.head_dim, width = all_heads * d, stride = width + extra;
  const DeviceBatch batch(c.rows, c.positions, c.slots);
  const int64_t rows = batch.batch.rows;
  const auto qkv = random_values(rows * stride, "qkv");
  const auto q_norm = random_values(d, "q_norm", 0.3, 1), k_norm = random_values(d, "k_norm", 0.3, 1);
  const std::vector<double> frequencies = inverse_frequencies(c.rotary_dim, 10000, {});

  // [rows, heads d] of q, k, v after everything.
  std::vector<int64_t> positions;
  for (const Piece& p : batch.pieces)
    for (int32_t t = 0; t < p.rows; ++t) positions.push_back(p.position + t);
  const RopeTable<double> table(frequencies, factor, positions, RopeAngles::f64);
  const auto part = [&](int64_t first_head, int64_t heads, const std::vector<double>* weight, bool rotate) {
    Matrix<double> x = to_matrix(qkv, rows, stride).middleCols(first_head * d, heads * d);
    if (c.silu)
      for (int64_t i = 0; i < x.size(); ++i) x.data()[i] *= sigmoid(x.data()[i]);
    if (weight) group_rms_norm(x, to_row(*weight), heads, eps);
    if (rotate && c.rotary_dim > 0) apply_rope(x, d, table);
    return x;
  };
  const Matrix<double> q = part(0, c.heads, c.norm ? &q_norm : nullptr, true);
  const Matrix<double> k = part(c.heads, c.kv_heads, c.norm ? &k_norm : nullptr, true);
  const Matrix<double> v = part(c.heads + c.kv_heads, c.kv_heads, nullptr, false);

  // Where it should be; NaN where nothing may be written (fresh memory is NaN in the emulator; here it is made so).
  constexpr double nothing = std::numeric_limits<double>::quiet_NaN();
  const int64_t slots = 3, cache_size = slots * c.kv_heads * max_tokens * d;
  std::vector<double> k_cache(static_cast<size_t>(cache_size), nothing), v_cache = k_cache;
  for (const Piece& p : batch.pieces)
    for (int32_t t = 0; t < p.rows; ++t)
      for (int64_t h = 0; h < c.kv_heads; ++h)
        for (int64_t i = 0; i < d; ++i) {
          const auto at = static_cast<size_t>(((p.slot * c.kv_heads + h) * max_tokens + p.position + t) * d + i);
          k_cache[at] = k(p.row + t, h * d + i);
          v_cache[at] = v(p.row + t, h * d + i);
        }

  const auto device_qkv = upload<Real>(qkv);
  const std::vector<Real> before = download(device_qkv);
  const auto device_q_norm = upload<float>(q_norm), device_k_norm = upload<float>(k_norm);
  const auto device_turns = upload<uint64_t>(turns_of(frequencies));
  const auto empty_cache = std::vector<double>(static_cast<size_t>(cache_size), nothing);
  const auto device_k_cache = upload<Real>(empty_cache), device_v_cache = upload<Real>(empty_cache);
  const QkNormRopeArgs<Real> args{.qkv = device_qkv.data(),
                                  .k_cache = c.cached ? device_k_cache.data() : nullptr,
                                  .v_cache = c.cached ? device_v_cache.data() : nullptr,
                                  .q_norm = c.norm ? device_q_norm.data() : nullptr,
                                  .k_norm = c.norm ? device_k_norm.data() : nullptr,
                                  .turns = c.rotary_dim > 0 ? device_turns.data() : nullptr,
                                  .attention_factor = static_cast<float>(factor),
                                  .eps = static_cast<float>(eps),
                                  .silu = c.silu,
                                  .heads = c.heads,
                                  .kv_heads = c.kv_heads,
                                  .head_dim = c.head_dim,
                                  .rotary_dim = c.rotary_dim,
                                  .stride = stride,
                                  .max_tokens = max_tokens,
                                  .batch = batch.batch};
  std::set<std::string> expected{"plain"};
  if (std::is_same_v<Real, bf16> ? c.warp_bf16 : c.warp_float) expected.insert("warp");
  const std::string shape = std::string(name_of_type<Real>()) + ", heads " + std::to_string(c.heads) + "+" +
                            std::to_string(c.kv_heads) + ", d " + std::to_string(d) + ", rotary " +
                            std::to_string(c.rotary_dim) + (c.norm ? ", norm" : "") + (c.silu ? ", silu" : "") +
                            (c.cached ? ", cached" : "");
  for_variants(args, expected, shape, [&](const auto& kernel, const std::string& what) {
    refill(device_qkv, before);
    run_variant(kernel, args);
    const Matrix<double> after = to_matrix(download_f64(device_qkv), rows, stride);
    const auto check = [&](const Matrix<double>& truth, int64_t first_head, const std::string& which) {
      check_close(to_vector(after.middleCols(first_head * d, truth.cols())), to_vector(truth),
                  as_stored<Real>(to_vector(truth)), static_cast<double>(d), what + ", " + which);
    };
    check(q, 0, "q");
    CHECK(after.rightCols(extra) == to_matrix(qkv, rows, stride).rightCols(extra));
    if (c.cached) {
      const auto length = static_cast<double>(d);
      check_close(download_f64(device_k_cache), k_cache, as_stored<Real>(k_cache), length, what + ", k cache");
      check_close(download_f64(device_v_cache), v_cache, as_stored<Real>(v_cache), length, what + ", v cache");
    } else {
      check(k, c.heads, "k");
      check(v, c.heads + c.kv_heads, "v");
    }
  });
}

}  // namespace

TEST_CASE("qk_norm_rope does SiLU, norm and rotation, and fills the cache", "[cuda]") {
  const std::vector<int32_t> rows{1, 5, 3}, slots{2, 0, 1};
  const std::vector<int64_t> positions{7, 0, 37};  // the last reaches the end of its cache
  const std::vector<RopeCase> cases{
      {2, 1, 32, 16, true, false, true, {2, 1}, {3, 39}, {1, 0}, true, true},
      {4, 2, 64, 64, true, true, false, rows, positions, slots, true, true},
      {5, 1, 128, 64, true, false, true, rows, positions, slots, true, true},
      {16, 4, 128, 128, false, false, true, {1}, {11}, {1}, true, true},
      {3, 3, 128, 0, true, true, true, rows, positions, slots, true, true},
      {3, 1, 64, 0, false, false, true, rows, positions, slots, true, true},
      {3, 1, 64, 0, false, true, false, rows, positions, slots, true, true},
      {9, 3, 16, 8, true, true, true, rows, positions, slots, true, false},
      {2, 1, 96, 48, true, false, true, rows, positions, slots, false, false},
      {2, 1, 80, 20, true, false, true, rows, positions, slots, false, false},
      {1, 1, 256, 128, true, false, true, rows, positions, slots, false, true},
      {1, 1, 7, 6, true, false, true, rows, positions, slots, false, false},
  };
  for (const RopeCase& c : cases) {
    test_case<float>(c);
    test_case<bf16>(c);
    if (kSmallShapesOnly) break;
  }
}

// Pairs (1, 0) turn into (cos, sin).
TEST_CASE("qk_norm_rope's angles are right to 1e-6 at any position", "[cuda]") {
  constexpr int d = 128, half = d / 2;
  const std::vector<int64_t> positions = kSmallShapesOnly
                                             ? std::vector<int64_t>{524287}
                                             : std::vector<int64_t>{0, 1, 2, 3, 1000, 65537, 262143, 500000, 524287};
  for (const double theta : {10000.0, 600000.0, 5e6}) {
    const std::vector<double> frequencies = inverse_frequencies(d, theta, {});
    const int64_t rows = static_cast<int64_t>(positions.size());
    const DeviceBatch batch(std::vector<int32_t>(positions.size(), 1), positions);
    std::vector<double> pairs(static_cast<size_t>(rows * 3 * d));
    for (size_t i = 0; i < pairs.size(); ++i) pairs[i] = i % d < half;
    const auto qkv = upload<float>(pairs);
    const auto turns = upload<uint64_t>(turns_of(frequencies));
    const QkNormRopeArgs<float> args{.qkv = qkv.data(),
                                     .turns = turns.data(),
                                     .heads = 1,
                                     .kv_heads = 1,
                                     .head_dim = d,
                                     .rotary_dim = d,
                                     .stride = 3 * d,
                                     .batch = batch.batch};
    for_variants(args, {"plain", "warp"}, "theta " + std::to_string(theta), [&](const auto& kernel, const auto& what) {
      refill(qkv, std::vector<float>(pairs.begin(), pairs.end()));
      run_variant(kernel, args);
      const Matrix<double> after = to_matrix(download_f64(qkv), rows, 3 * d);
      double worst = 0;
      for (int64_t r = 0; r < rows; ++r)
        for (int j = 0; j < half; ++j) {
          const double angle =
              static_cast<double>(positions[static_cast<size_t>(r)]) * frequencies[static_cast<size_t>(j)];
          const double error =
              std::max(std::abs(after(r, j) - std::cos(angle)), std::abs(after(r, j + half) - std::sin(angle)));
          if (!(error <= worst)) worst = error;
        }
      INFO(what);
      CHECK(worst <= 1e-6);
    });
  }
}

TEST_CASE("qk_norm_rope reaches caches beyond 2^31 elements", "[cuda]") {
  constexpr int d = 128;
  constexpr int64_t max_tokens = 524288, slot = 100, position = 524286;
  const DeviceBatch batch({2}, {position}, {static_cast<int32_t>(slot)});
  const auto qkv = upload<bf16>(random_values(2 * 3 * d, "qkv"));
  const DeviceBuffer<bf16> k(2 * d), v(2 * d);  // what there is of the caches: the rows that are written
  const int64_t offset = (slot * max_tokens + position) * d;
  const QkNormRopeArgs<bf16> args{.qkv = qkv.data(),
                                  .k_cache = k.data() - offset,
                                  .v_cache = v.data() - offset,
                                  .heads = 1,
                                  .kv_heads = 1,
                                  .head_dim = d,
                                  .stride = 3 * d,
                                  .max_tokens = max_tokens,
                                  .batch = batch.batch};
  for_variants(args, {"plain", "warp"}, "far", [&](const auto& kernel, const std::string& what) {
    INFO(what);
    run_variant(kernel, args);
    const Matrix<double> from = to_matrix(download_f64(qkv), 2, 3 * d);
    CHECK(to_matrix(download_f64(k), 2, d) == from.middleCols(d, d));
    CHECK(to_matrix(download_f64(v), 2, d) == from.rightCols(d));
    set_zero(k.data(), k.size(), Stream{});
    set_zero(v.data(), v.size(), Stream{});
  });
}

}  // namespace ringbench::RINGBENCH_BACKEND
