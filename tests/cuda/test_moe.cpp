// test_moe.cpp: routing, sorting, grouped products, SwiGLU and the weighted sum, every variant against reference/moe.h
// in f64.
#include <algorithm>
#include <numeric>
#include <set>

#include "reference/moe.h"
#include "tests/cuda/operators.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

Matrix<double> to_matrix(const std::vector<double>& values, int64_t rows, int64_t columns) {
  return Eigen::Map<const Matrix<double>>(values.data(), rows, columns);
}
std::vector<double> to_vector(const Matrix<double>& m) { return {m.data(), m.data() + m.size()}; }

// The nearest value of Real, as a double.
template <class Real> double rounded_to(double value) { return to_double(to_real<Real>(value)); }
template <class Real> std::vector<double> rounded_to(std::vector<double> values) {
  for (double& x : values) x = rounded_to<Real>(x);
  return values;
}

template <class Real> constexpr Rounding kRounding = std::is_same_v<Real, bf16> ? Rounding::bf16 : Rounding::f32;

// Runs every variant that supports the arguments, but not those left out; requires that all `expected` are among them.
// check(name) looks at the results.
template <class Args, class Check>
void for_variants(const Args& args, const std::set<std::string>& expected, const std::string& what, const Check& check,
                  const std::set<std::string>& left_out = {}) {
  std::set<std::string> ran;
  for (const Kernel<Args>& kernel : kernels<Args>()) {
    const std::string name(kernel.name);
    if (left_out.count(name) > 0 || !kernel.supports(args, current_device())) continue;
    run_variant(kernel, args);
#if !defined(RINGBENCH_GPU)
    INFO(what << ": " << name);
    CHECK(emulator_statistics().ldmatrix_conflicts == 0);
#endif
    check(std::string(Args::op) + " " + name + ", " + what);
    ran.insert(name);
  }
  for (const std::string& name : expected) {
    INFO(what << ": variant " << name);
    CHECK(ran.count(name) == 1);
  }
}

// --- moe_route ---

struct RouteCase {
  Router router;
  int num_experts, k, n_group, topk_group;
  bool bias, norm;
  double scaling;
  int rows;
  std::set<std::string> expected;
};

ModelConfig route_config(const RouteCase& c) {
  ModelConfig config;
  config.router = c.router;
  config.num_experts = c.num_experts;
  config.num_experts_per_tok = c.k;
  config.n_group = c.n_group;
  config.topk_group = c.topk_group;
  config.norm_topk_prob = c.norm;
  config.routed_scaling_factor = c.scaling;
  return config;
}

// Logits and biases must be such that two scores are equal or further apart than float can blur.
void check_routes(const RouteCase& c, const std::vector<double>& logits, const std::vector<double>& bias,
                  const std::string& what) {
  const ModelConfig config = route_config(c);
  const RowVector<double> bias_row =
      Eigen::Map<const RowVector<double>>(bias.data(), static_cast<int64_t>(bias.size()));
  Matrix<double> scores;
  const Route<double> truth = route(to_matrix(logits, c.rows, c.num_experts), bias_row, config, scores);

  const auto device_logits = upload<float>(logits), device_bias = upload<float>(bias);
  const DeviceBatch batch({c.rows}, {3});
  DeviceBuffer<int32_t> experts(int64_t{c.rows} * c.k);
  DeviceBuffer<float> weights(int64_t{c.rows} * c.k);
  const RouteArgs args{.experts = experts.data(),
                       .weights = weights.data(),
                       .logits = device_logits.data(),
                       .expert_bias = bias.empty() ? nullptr : device_bias.data(),
                       .router = c.router,
                       .num_experts = c.num_experts,
                       .k = c.k,
                       .n_group = c.n_group,
                       .topk_group = c.topk_group,
                       .norm_topk_prob = c.norm,
                       .routed_scaling_factor = static_cast<float>(c.scaling),
                       .batch = batch.batch};
  const std::string name = what + " E " + std::to_string(c.num_experts) + " k " + std::to_string(c.k) + " groups " +
                           std::to_string(c.n_group) + " router " + std::to_string(static_cast<int>(c.router));
  for_variants(args, c.expected, name, [&](const std::string& variant) {
    INFO(variant);
    const std::vector<int32_t> chosen(truth.experts.data(), truth.experts.data() + truth.experts.size());
    CHECK(download(experts) == chosen);
    // Not check_close: where all of k weights are equal, the truth is constant and is meant to be.
    const std::vector<double> expected_weights = to_vector(truth.weights);
    const Discrepancy found = discrepancy(download_f64(weights), expected_weights);
    CHECK(judge(found, {}, float_floor(c.num_experts)).pass);
    set_zero(experts.data(), experts.size(), Stream{});
    set_zero(weights.data(), weights.size(), Stream{});
  });
}

const std::vector<RouteCase>& route_cases() {
  static const std::vector<RouteCase> all = {
      {Router::sigmoid_topk, 256, 8, 8, 4, true, true, 2.5, 9, {"warp", "plain"}},  // Ring-2.0
      {Router::softmax_topk, 64, 6, 1, 1, false, true, 1, 11, {"warp", "plain"}},   // Ring-lite
      {Router::topk_softmax, 32, 4, 1, 1, false, true, 1, 10, {"warp", "plain"}},   // GPT-OSS
      {Router::softmax_topk, 4, 2, 1, 1, false, false, 1, 17, {"warp", "plain"}},   // ring-pico
      {Router::softmax_topk, 1, 1, 1, 1, false, true, 3, 2, {"warp", "plain"}},
      {Router::sigmoid_topk, 33, 33, 1, 1, true, true, 1, 3, {"plain"}},
      {Router::sigmoid_topk, 40, 32, 1, 1, true, true, 1, 3, {"warp", "plain"}},
      {Router::softmax_topk, 100, 5, 1, 1, true, false, 1.5, 3, {"warp", "plain"}},
      {Router::topk_softmax, 512, 10, 16, 3, true, true, 1, 3, {"warp", "plain"}},
      {Router::sigmoid_topk, 384, 8, 1, 1, true, true, 2, 3, {"warp", "plain"}},
      {Router::sigmoid_topk, 32, 6, 8, 1, true, true, 1, 9, {"warp", "plain"}},    // must choose from dropped groups
      {Router::sigmoid_topk, 32, 3, 32, 5, false, true, 1, 3, {"warp", "plain"}},  // groups of one have no second best
      {Router::softmax_topk, 96, 4, 3, 2, true, true, 1, 5, {"plain"}},
      {Router::softmax_topk, 1000, 40, 10, 7, true, true, 1, 2, {"plain"}},
  };
  return all;
}

TEST_CASE("every router chooses the reference's experts, also where scores tie", "[cuda]") {
  int number = 0;
  for (const RouteCase& c : route_cases()) {
    if (kSmallShapesOnly && number > 1) break;
    const std::string id = std::to_string(number++);
    const int64_t size = int64_t{c.rows} * c.num_experts;
    std::vector<double> bias = c.bias ? random_values(c.num_experts, "bias" + id, 0.1) : std::vector<double>{};

    check_routes(c, random_values(size, "logits" + id, 2), bias, "random");
    if (kSmallShapesOnly) continue;

    std::vector<double> coarse = random_values(size, "coarse" + id, 2);  // about thirty values: ties in every row
    for (double& x : coarse) x = std::round(2 * x) / 2;
    for (double& x : bias) x = std::round(8 * x) / 8;
    check_routes(c, coarse, bias, "ties");

    check_routes(c, std::vector<double>(static_cast<size_t>(size), 0.25), {}, "all equal");

    std::vector<double> extreme = random_values(size, "extreme" + id, 1);
    for (double& x : extreme) x = x > 2.3 ? 30000 : x < -0.6 ? -3.0e38 : x < 0 ? -0.0 : 0.0;
    check_routes(c, extreme, bias, "extremes");
  }
}

TEST_CASE("uniform routing continues from the first piece's position", "[cuda]") {
  const DeviceBatch batch({3, 2}, {7, 100});
  ModelConfig config;
  config.num_experts = 5, config.num_experts_per_tok = 3;
  const Route<double> truth = uniform_route<double>(5, 7, config);
  DeviceBuffer<int32_t> experts(15);
  DeviceBuffer<float> weights(15);
  const RouteArgs args{.experts = experts.data(),
                       .weights = weights.data(),
                       .num_experts = 5,
                       .k = 3,
                       .uniform = true,
                       .batch = batch.batch};
  for_variants(args, {"warp", "plain"}, "uniform", [&](const std::string& variant) {
    INFO(variant);
    CHECK(download(experts) == std::vector<int32_t>(truth.experts.data(), truth.experts.data() + 15));
    for (const float w : download(weights)) CHECK(w == 1.0f / 3);
  });
}

// --- moe_permute ---

// What a stable sort makes of it.
struct Sorted {
  std::vector<int32_t> offsets, pair_of_row, row_of_pair;
  explicit Sorted(const std::vector<int32_t>& experts, int num_experts)
      : offsets(static_cast<size_t>(num_experts) + 1), pair_of_row(experts.size()), row_of_pair(experts.size()) {
    std::iota(pair_of_row.begin(), pair_of_row.end(), 0);
    std::stable_sort(pair_of_row.begin(), pair_of_row.end(), [&](int32_t a, int32_t b) {
      return experts[static_cast<size_t>(a)] < experts[static_cast<size_t>(b)];
    });
    for (size_t row = 0; row < experts.size(); ++row)
      row_of_pair[static_cast<size_t>(pair_of_row[row])] = static_cast<int32_t>(row);
    for (const int32_t e : experts) ++offsets[static_cast<size_t>(e) + 1];
    std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  }
};

TEST_CASE("pairs are sorted by expert, stably, whatever the experts' shares", "[cuda]") {
  const auto check = [](const std::vector<int32_t>& experts, int num_experts, const std::string& what) {
    const Sorted truth(experts, num_experts);
    const int64_t pairs = static_cast<int64_t>(experts.size());
    const auto device_experts = upload<int32_t>(experts);
    DeviceBuffer<int32_t> offsets(num_experts + 1), pair_of_row(pairs), row_of_pair(pairs);
    const PermuteArgs args{.offsets = offsets.data(),
                           .pair_of_row = pair_of_row.data(),
                           .row_of_pair = row_of_pair.data(),
                           .experts = device_experts.data(),
                           .pairs = pairs,
                           .num_experts = num_experts};
    for_variants(args, {"blocks", "plain"}, what, [&](const std::string& variant) {
      INFO(variant);
      CHECK(download(offsets) == truth.offsets);
      CHECK(download(pair_of_row) == truth.pair_of_row);
      CHECK(download(row_of_pair) == truth.row_of_pair);
      for (auto* buffer : {&offsets, &pair_of_row, &row_of_pair}) set_zero(buffer->data(), buffer->size(), Stream{});
    });
  };
  const auto random_experts = [](int64_t pairs, int num_experts) {
    std::vector<int32_t> experts;
    for (const double x : random_values(pairs, "experts"))
      experts.push_back(static_cast<int32_t>(static_cast<int64_t>(std::abs(x) * 1e4) % num_experts));
    return experts;
  };
  check({2}, 4, "one pair");
  check(random_experts(100, 7), 7, "100 pairs on 7");
  check(random_experts(4200, 5), 5, "more than one block");
  if (kSmallShapesOnly) return;
  check(random_experts(255, 1), 1, "one expert");
  check(std::vector<int32_t>(300, 31), 33, "all pairs to one of many");
  check(random_experts(4096, 256), 256, "exactly one block");
  check(random_experts(2 * 4096 + 33, 256), 256, "two blocks and a bit");
  check(std::vector<int32_t>(4097, 255), 256, "all pairs to the last, two blocks");
  check(random_experts(513, 512), 512, "about one pair each");
}

// --- moe_gemm ---

struct GemmCase {
  std::vector<int32_t> pairs_of_expert;
  int64_t columns, inner;
  bool swiglu, bias;
  double limit;
  int k;                                                // 0: x is sorted already
  std::set<std::string> expected_bf16, expected_float;  // no names: a case for tensor cores only
};

// Everything of one case, in memory, with the truth.
template <class Real> struct GemmProblem {
  DeviceBuffer<Real> x, w, out;
  DeviceBuffer<float> bias;
  DeviceBuffer<int32_t> offsets, pair_of_row;
  GroupedGemmArgs<Real> args;
  std::vector<double> truth;

  explicit GemmProblem(const GemmCase& c) {
    const int64_t E = static_cast<int64_t>(c.pairs_of_expert.size()), wide = c.swiglu ? 2 : 1;
    std::vector<int32_t> experts, starts{0};
    for (int64_t e = 0; e < E; ++e) {
      experts.insert(experts.end(), static_cast<size_t>(c.pairs_of_expert[static_cast<size_t>(e)]),
                     static_cast<int32_t>(e));
      starts.push_back(static_cast<int32_t>(experts.size()));
    }
    const int64_t pairs = static_cast<int64_t>(experts.size());
    std::vector<int32_t> pair_of(static_cast<size_t>(pairs));  // any permutation
    for (int64_t r = 0; r < pairs; ++r) pair_of[static_cast<size_t>(r)] = static_cast<int32_t>((r * 7919 + 3) % pairs);
    const int64_t rows = c.k > 0 ? (pairs + c.k - 1) / c.k : pairs;

    const auto x_values = random_values(rows * c.inner, "x");
    const auto w_values =
        random_values(E * wide * c.columns * c.inner, "w", 2 / std::sqrt(static_cast<double>(c.inner)));
    const auto bias_values = random_values(E * wide * c.columns, "bias");
    x = upload<Real>(x_values), w = upload<Real>(w_values), bias = upload<float>(bias_values);
    offsets = upload<int32_t>(starts), pair_of_row = upload<int32_t>(pair_of);
    out = DeviceBuffer<Real>(pairs * c.columns);
    args = {.out = out.data(),
            .x = x.data(),
            .pair_of_row = c.k > 0 ? pair_of_row.data() : nullptr,
            .k = std::max(c.k, 1),
            .w = w.data(),
            .bias = c.bias ? bias.data() : nullptr,
            .offsets = offsets.data(),
            .pairs = pairs,
            .columns = c.columns,
            .inner = c.inner,
            .num_experts = static_cast<int>(E),
            .swiglu = c.swiglu,
            .swiglu_limit = static_cast<float>(c.limit),
            .swiglu_alpha = 1.702f};

    ModelConfig config;
    config.swiglu_limit = c.limit, config.swiglu_alpha = double{1.702f};
    const Matrix<double> xs = to_matrix(x_values, rows, c.inner);
    const Matrix<double> ws = to_matrix(w_values, E * wide * c.columns, c.inner);
    Matrix<double> y(pairs, c.columns);
    for (int64_t r = 0; r < pairs; ++r) {
      const int64_t e = experts[static_cast<size_t>(r)], source = c.k > 0 ? pair_of[static_cast<size_t>(r)] / c.k : r;
      Matrix<double> all = xs.row(source) * ws.middleRows(e * wide * c.columns, wide * c.columns).transpose();
      if (c.bias) all += to_matrix(bias_values, E, wide * c.columns).row(e);
      Matrix<double> gate = all.leftCols(c.columns);
      if (c.swiglu) swiglu<double>(gate, all.rightCols(c.columns), config);
      y.row(r) = gate;
    }
    truth = to_vector(y);
  }
};

template <class Real> void check_gemm(const GemmCase& c) {
  GemmProblem<Real> p(c);
  const std::string what = std::to_string(p.args.pairs) + " pairs on " + std::to_string(p.args.num_experts) + ", " +
                           std::to_string(c.columns) + " x " + std::to_string(c.inner) + (c.swiglu ? ", swiglu" : "") +
                           (c.k > 0 ? ", gathered" : "");
  const std::set<std::string>& expected = std::is_same_v<Real, bf16> ? c.expected_bf16 : c.expected_float;
  for_variants(p.args, expected, what, [&](const std::string& variant) {
    check_close(download_f64(p.out), p.truth, rounded_to<Real>(p.truth), static_cast<double>(c.inner), variant);
    set_zero(p.out.data(), p.out.size(), Stream{});
  });
}

const std::vector<GemmCase>& gemm_cases() {
  using Names = std::set<std::string>;
  const Names few{"gemv", "mma_decode", "wgmma", "mma", "plain"}, some{"mma_decode", "wgmma", "mma", "plain"},
      many{"wgmma", "mma", "plain"};
  const Names plain{"plain"}, fast{"gemv", "plain"};
  static const std::vector<GemmCase> all = {
      // Long enough for every ring of stages to go round; the second for blocks that take several tiles.
      {{3, 0, 2}, 32, 392, true, false, 0, 2, few, fast},
      {{1, 2, 1, 0, 1, 1}, 72, 456, false, true, 0, 0, few, fast},
      {{1}, 64, 64, true, false, 0, 1, few, fast},
      {{0, 3, 0, 1}, 64, 128, true, false, 0, 2, few, fast},                         // ring-pico, gate and up
      {{2, 0, 1, 1}, 128, 64, false, false, 0, 0, few, fast},                        // ring-pico, down
      {{0, 0, 9, 0, 0, 0, 0, 1, 0, 0, 0, 2}, 72, 72, false, true, 0, 0, few, fast},  // ragged in everything
      {{0, 13, 0, 0, 0, 4, 0, 0, 0, 0, 1, 0, 5, 0, 0, 0}, 88, 136, true, true, 7, 3, few, fast},  // GPT-OSS
      {{130, 0, 17, 13}, 136, 40, true, false, 0, 4, some, {}},
      {{1, 65, 33}, 264, 104, false, true, 0, 0, some, {}},
      {{0, 150}, 64, 200, true, true, 2, 2, many, fast},  // all pairs to one expert
      {{129, 128, 0, 127}, 96, 48, false, false, 0, 8, many, {}},
      {{2, 1, 3}, 31, 33, true, true, 0, 0, plain, plain},                  // nothing is a multiple of anything
      {{5, 1}, 63, 64, false, false, 0, 0, {"mma_decode", "plain"}, fast},  // odd columns
      {{4, 300, 0, 200, 129}, 136, 64, true, false, 0, 0, many, {}},        // several tiles for each block that stays
      {{300, 4, 0, 200, 129}, 520, 72, false, true, 0, 2, many, {}},
  };
  return all;
}

TEST_CASE("grouped products agree with the reference in float", "[cuda]") {
  if (kSmallShapesOnly) return;  // the same kernels as in bf16
  for (const GemmCase& c : gemm_cases())
    if (!c.expected_float.empty()) check_gemm<float>(c);
}

TEST_CASE("grouped products agree with the reference in bf16", "[cuda]") {
  size_t number = 0;
  for (const GemmCase& c : gemm_cases())
    if (!kSmallShapesOnly || number++ < 2) check_gemm<bf16>(c);
}

TEST_CASE("a pair's product has the same bits alone, among others and every time", "[cuda]") {
  if (kSmallShapesOnly) return;
  const GemmCase many{{20, 71, 9}, 72, 200, true, true, 0, 0, {}, {}};
  GemmProblem<bf16> p(many);
  for_variants(p.args, {"mma_decode", "wgmma", "mma"}, "among others", [&](const std::string& variant) {
    INFO(variant);
    const std::vector<bf16> together = download(p.out);
    const std::string name = variant.substr(9, variant.find(',') - 9);
    const auto bits = [&](int64_t row) {
      std::vector<uint16_t> b;
      for (int64_t c = 0; c < 72; ++c) b.push_back(together[static_cast<size_t>(row * 72 + c)].bits);
      return b;
    };
    for (const int32_t row : {19, 20, 85, 99}) {  // the expert's last, the next one's first, ...
      const int expert = row < 20 ? 0 : row < 91 ? 1 : 2;
      std::vector<int32_t> offsets(4, 0);
      for (int e = expert + 1; e <= 3; ++e) offsets[static_cast<size_t>(e)] = 1;
      const auto device_offsets = upload<int32_t>(offsets);
      DeviceBuffer<bf16> out(72);
      GroupedGemmArgs<bf16> alone = p.args;
      alone.out = out.data(), alone.x = p.args.x + row * 200, alone.offsets = device_offsets.data(), alone.pairs = 1;
      const Kernel<GroupedGemmArgs<bf16>>& kernel = choose(alone, current_device(), name);
      for (int time = 0; time < 2; ++time) {
        run_variant(kernel, alone);
        std::vector<uint16_t> b;
        for (const bf16 x : download(out)) b.push_back(x.bits);
        CHECK(b == bits(row));
      }
    }
  });
}

// Only what is touched is allocated: pointers begin as far before it as a whole tensor would.
template <class T> T* displaced(T* touched, int64_t elements) {
  return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(touched) - static_cast<uintptr_t>(elements) * sizeof(T));
}

TEST_CASE("grouped products reach weights and rows beyond 2^31 elements", "[cuda]") {
  if (kSmallShapesOnly) return;
  const GemmCase c{{3}, 16, 128, false, false, 0, 0, {}, {}};
  GemmProblem<bf16> p(c);
  const auto check = [&](const std::string& variant) {
    check_close(download_f64(p.out), p.truth, rounded_to<bf16>(p.truth), 128, variant);
    set_zero(p.out.data(), p.out.size(), Stream{});
  };
  SECTION("the last of many experts") {
    // 2^31 weights would need a million experts of this size; the expert's own share of them is faked larger.
    const int64_t inner = 4608;
    const int experts = 60000;
    GemmProblem<bf16> wide(GemmCase{{1}, 8, inner, false, false, 0, 0, {}, {}});
    std::vector<int32_t> offsets(experts + 1, 0);
    offsets.back() = 1;
    const auto device_offsets = upload<int32_t>(offsets);
    wide.args.num_experts = experts;
    wide.args.w = displaced(wide.w.data(), int64_t{experts - 1} * 8 * inner);
    wide.args.offsets = device_offsets.data();
    for_variants(wide.args, {"gemv", "mma_decode", "wgmma", "mma", "plain"}, "60000 experts",
                 [&](const std::string& variant) {
                   check_close(download_f64(wide.out), wide.truth, rounded_to<bf16>(wide.truth),
                               static_cast<double>(inner), variant);
                 });
  }
  SECTION("the last of many rows") {
    // Plain would need a thread for each of the rows before.
    const int64_t before = int64_t{1} << 29;
    const auto device_offsets = upload<int32_t>(std::vector<int64_t>{before, before + 3});
    p.args.offsets = device_offsets.data();
    p.args.x = displaced(p.x.data(), before * c.inner);
    p.args.out = displaced(p.out.data(), before * c.columns);
    p.args.num_experts = 1;
    for_variants(p.args, {"mma_decode", "mma"}, "row 2^29", check, {"plain", "wgmma"});
  }
}

// --- moe_combine and swiglu ---

template <class Real> void check_combine(int64_t rows, int k, int64_t width, bool with_shared) {
  const auto each = random_values(rows * k * width, "each"), shared = random_values(rows * width, "shared");
  std::vector<double> weights = random_values(rows * k, "weights");
  std::vector<int32_t> row_of_pair(static_cast<size_t>(rows * k));
  for (int64_t p = 0; p < rows * k; ++p)
    row_of_pair[static_cast<size_t>(p)] = static_cast<int32_t>((p * 7919 + 5) % (rows * k));
  std::vector<double> truth(static_cast<size_t>(rows * width));
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t c = 0; c < width; ++c) {
      double sum = with_shared ? shared[static_cast<size_t>(t * width + c)] : 0;
      for (int64_t j = 0; j < k; ++j)
        sum += weights[static_cast<size_t>(t * k + j)] *
               each[static_cast<size_t>(row_of_pair[static_cast<size_t>(t * k + j)] * width + c)];
      truth[static_cast<size_t>(t * width + c)] = sum;
    }
  const auto device_each = upload<Real>(each), device_shared = upload<Real>(shared);
  const auto device_weights = upload<float>(weights);
  const int64_t before = with_shared ? 0 : (int64_t{1} << 31) / width;  // sorted rows before the first
  for (int32_t& row : row_of_pair) row += static_cast<int32_t>(before);
  const auto device_rows = upload<int32_t>(row_of_pair);
  DeviceBuffer<Real> out(rows * width);
  const CombineArgs<Real> args{.out = out.data(),
                               .each = displaced(device_each.data(), before * width),
                               .shared = with_shared ? device_shared.data() : nullptr,
                               .row_of_pair = device_rows.data(),
                               .weights = device_weights.data(),
                               .rows = rows,
                               .width = width,
                               .k = k};
  const bool vectors = width * static_cast<int64_t>(sizeof(Real)) % 16 == 0;
  for_variants(args, vectors ? std::set<std::string>{"vector", "plain"} : std::set<std::string>{"plain"},
               std::to_string(rows) + " x " + std::to_string(width) + ", k " + std::to_string(k),
               [&](const std::string& variant) {
                 check_close(download_f64(out), truth, rounded_to<Real>(truth), k, variant);
                 set_zero(out.data(), out.size(), Stream{});
               });
}

TEST_CASE("combined experts are the weighted sum of each row's own", "[cuda]") {
  for (const int k : {1, 2, 8})
    for (const int64_t width : {64, 7, 360}) {
      check_combine<bf16>(5, k, width, k != 2);
      if (kSmallShapesOnly) return;
      check_combine<float>(5, k, width, k != 2);
    }
}

template <class Real> void check_swiglu(int64_t rows, int64_t width, double limit) {
  const auto gate_up = random_values(rows * 2 * width, "gate_up", 3);
  const Matrix<double> both = to_matrix(gate_up, rows, 2 * width);
  ModelConfig config;
  config.swiglu_limit = limit, config.swiglu_alpha = limit > 0 ? double{1.702f} : 1;
  Matrix<double> gate = both.leftCols(width);
  swiglu<double>(gate, both.rightCols(width), config);
  const std::vector<double> truth = to_vector(gate);
  const auto device_gate_up = upload<Real>(gate_up);
  DeviceBuffer<Real> out(rows * width);
  const SwigluArgs<Real> args{.out = out.data(),
                              .gate_up = device_gate_up.data(),
                              .rows = rows,
                              .width = width,
                              .limit = static_cast<float>(limit),
                              .alpha = static_cast<float>(config.swiglu_alpha)};
  const bool vectors = width * static_cast<int64_t>(sizeof(Real)) % 16 == 0;
  for_variants(args, vectors ? std::set<std::string>{"vector", "plain"} : std::set<std::string>{"plain"},
               std::to_string(rows) + " x " + std::to_string(width), [&](const std::string& variant) {
                 check_close(download_f64(out), truth, rounded_to<Real>(truth), 1, variant);
                 set_zero(out.data(), out.size(), Stream{});
               });
}

TEST_CASE("swiglu agrees with the reference, with and without a limit", "[cuda]") {
  for (const double limit : {0.0, 7.0, 1.5})
    for (const int64_t width : {72, 9, 256}) {
      check_swiglu<bf16>(3, width, limit);
      if (kSmallShapesOnly) return;
      check_swiglu<float>(3, width, limit);
    }
}

// --- all of it ---

template <class Real> void check_mixture(int64_t T) {
  ModelConfig config;
  config.router = Router::sigmoid_topk;
  config.num_experts = 8, config.num_experts_per_tok = 2, config.n_group = 1;
  config.norm_topk_prob = true, config.routed_scaling_factor = 2.5;
  const int64_t E = 8, k = 2, hidden = 64, width = 32;
  const auto x = random_values(T * hidden, "x"), logits = random_values(T * E, "logits");
  const auto gate_up = random_values(E * 2 * width * hidden, "gate_up", 0.25);
  const auto down = random_values(E * hidden * width, "down", 0.25);
  std::vector<Mlp<double>> mlps(static_cast<size_t>(E));
  for (int64_t e = 0; e < E; ++e) {
    Mlp<double>& mlp = mlps[static_cast<size_t>(e)];
    const Matrix<double> both = to_matrix(gate_up, E * 2 * width, hidden).middleRows(e * 2 * width, 2 * width);
    mlp.gate = both.topRows(width), mlp.up = both.bottomRows(width);
    mlp.down = to_matrix(down, E * hidden, width).middleRows(e * hidden, hidden);
  }
  Matrix<double> scores;
  const Route<double> r = route(to_matrix(logits, T, E), RowVector<double>(), config, scores);
  const Matrix<double> xs = to_matrix(x, T, hidden);
  const std::vector<double> truth = to_vector(mixture(xs, r, mlps, config));
  const auto rounded = rounded_to<Real>(to_vector(mixture(xs, r, mlps, config, kRounding<Real>)));

  const auto dx = upload<Real>(x), dw1 = upload<Real>(gate_up), dw2 = upload<Real>(down);
  const auto dl = upload<float>(logits);
  const DeviceBatch batch({static_cast<int32_t>(T)}, {0});
  DeviceBuffer<int32_t> experts(T * k), offsets(E + 1), pair_of_row(T * k), row_of_pair(T * k);
  DeviceBuffer<float> weights(T * k);
  DeviceBuffer<Real> inner(T * k * width), each(T * k * hidden), out(T * hidden);
  const auto run_best = [](const auto& args) { run_variant(choose(args, current_device()), args); };
  run_best(RouteArgs{.experts = experts.data(),
                     .weights = weights.data(),
                     .logits = dl.data(),
                     .router = config.router,
                     .num_experts = 8,
                     .k = 2,
                     .routed_scaling_factor = 2.5f,
                     .batch = batch.batch});
  run_best(PermuteArgs{.offsets = offsets.data(),
                       .pair_of_row = pair_of_row.data(),
                       .row_of_pair = row_of_pair.data(),
                       .experts = experts.data(),
                       .pairs = T * k,
                       .num_experts = 8});
  run_best(GroupedGemmArgs<Real>{.out = inner.data(),
                                 .x = dx.data(),
                                 .pair_of_row = pair_of_row.data(),
                                 .k = 2,
                                 .w = dw1.data(),
                                 .offsets = offsets.data(),
                                 .pairs = T * k,
                                 .columns = width,
                                 .inner = hidden,
                                 .num_experts = 8,
                                 .swiglu = true});
  run_best(GroupedGemmArgs<Real>{.out = each.data(),
                                 .x = inner.data(),
                                 .w = dw2.data(),
                                 .offsets = offsets.data(),
                                 .pairs = T * k,
                                 .columns = hidden,
                                 .inner = width,
                                 .num_experts = 8});
  run_best(CombineArgs<Real>{.out = out.data(),
                             .each = each.data(),
                             .row_of_pair = row_of_pair.data(),
                             .weights = weights.data(),
                             .rows = T,
                             .width = hidden,
                             .k = 2});
  check_close(download_f64(out), truth, rounded, hidden, "mixture of " + std::to_string(T) + " rows");
}

TEST_CASE("route, permute, two products and combine make the reference's mixture", "[cuda]") {
  check_mixture<bf16>(3);
  if (kSmallShapesOnly) return;
  check_mixture<float>(3);
  check_mixture<float>(100);
  check_mixture<bf16>(100);
  check_mixture<bf16>(200);
}

}  // namespace
}  // namespace ringbench::RINGBENCH_BACKEND
