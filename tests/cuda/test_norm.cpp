// test_norm.cpp: gather, RMSNorm with its residual, group norm with its gate: every variant against reference/norm.h in
// f64.
#include "reference/norm.h"
#include "tests/cuda/variants.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

const std::vector<int64_t> kWidths = kSmallShapesOnly
                                         ? std::vector<int64_t>{7, 128}
                                         : std::vector<int64_t>{1, 7, 32, 100, 128, 136, 516, 2048, 2056, 4104};

template <class Real> void test_gather(int64_t width, int64_t rows, int64_t table_rows) {
  const std::vector<double> table = random_values(table_rows * width, "table");
  std::vector<int32_t> index;
  for (int64_t r = 0; r < rows; ++r) index.push_back(static_cast<int32_t>((r * 5 + 3) % table_rows));
  std::vector<double> truth;
  for (const int32_t i : index) truth.insert(truth.end(), table.begin() + i * width, table.begin() + (i + 1) * width);
  const auto device_table = upload<Real>(table);
  const auto device_index = upload<int32_t>(index);
  const DeviceBuffer<Real> out(rows * width);
  const GatherArgs<Real> args{out.data(), device_table.data(), device_index.data(), rows, width};
  for_variants(args, {"plain"}, "width " + std::to_string(width), [&](const auto& kernel, const std::string& what) {
    INFO(what);
    run_variant(kernel, args);
    CHECK(download_f64(out) == truth);
  });
}

template <class Real> void test_rms_norm(int64_t rows, int64_t width, bool with_x, bool with_out) {
  constexpr double eps = 0.03;  // large enough to be missed
  const int64_t size = rows * width;
  const auto residual = random_values(size, "residual"), x = random_values(size, "x", 0.7);
  const auto weight = random_values(width, "weight", 0.3, 1);
  const auto device_residual = upload<Real>(residual), device_x = upload<Real>(x);
  const std::vector<Real> before = download(device_residual);
  const auto device_weight = upload<float>(weight);
  const DeviceBuffer<Real> out(size);

  // One sum of two numbers of Real: the same bits everywhere.
  std::vector<double> sum = residual;
  for (size_t i = 0; with_x && i < sum.size(); ++i)
    sum[i] = to_double(to_real<Real>(static_cast<double>(static_cast<float>(residual[i]) + static_cast<float>(x[i]))));
  const auto norm = [&](const std::vector<double>& values) {
    return rms_norm(to_matrix(values, rows, width), to_row(weight), eps);
  };
  std::vector<double> exact_sum = residual;
  for (size_t i = 0; with_x && i < exact_sum.size(); ++i) exact_sum[i] += x[i];
  const std::vector<double> truth = to_vector(norm(exact_sum)), of_sum = to_vector(norm(sum));
  const std::vector<double> rounded = as_stored<Real>(of_sum);

  const RmsNormArgs<Real> args{.out = with_out ? out.data() : nullptr,
                               .residual = device_residual.data(),
                               .x = with_x ? device_x.data() : nullptr,
                               .weight = with_out ? device_weight.data() : nullptr,
                               .rows = rows,
                               .width = width,
                               .eps = static_cast<float>(eps)};
  std::set<std::string> expected{"plain"};
  if (width * static_cast<int64_t>(sizeof(Real)) % 16 == 0 && width * sizeof(Real) <= 16384) expected.insert("vector");
  const std::string shape = std::string(name_of_type<Real>()) + ", " + std::to_string(rows) + " x " +
                            std::to_string(width) + (with_x ? ", x" : "") + (with_out ? ", out" : "");
  for_variants(args, expected, shape, [&](const auto& kernel, const std::string& what) {
    INFO(what);
    refill(device_residual, before);
    run_variant(kernel, args);
    CHECK(download_f64(device_residual) == sum);
    if (!with_out) return;
    const std::vector<double> values = download_f64(out);
    if (size > 2) check_close(values, truth, rounded, static_cast<double>(width), what);
    // Normed is what was stored. Then float's last bits decide only where the result is as near to the border between
    // two values of bf16, 2^-9 apart at least, as float errs: rarely. Norming the sum before it is rounded changes
    // every other value.
    if (std::is_same_v<Real, bf16> && size > 2) {
      int64_t others = 0;
      for (size_t i = 0; i < values.size(); ++i) others += values[i] != rounded[i];
      const double near_border = 2 * 8 * float_floor(static_cast<double>(width)) / 0x1p-9;
      CHECK(static_cast<double>(others) <= 1 + near_border * static_cast<double>(size));
    }
  });
}

template <class Real> void test_group_norm_gate(int64_t rows, int64_t width, int groups, int64_t extra_stride) {
  constexpr double eps = 0.02;
  const int64_t stride = width + extra_stride;
  const auto o = random_values(rows * width, "o", 0.2), gate = random_values(rows * stride, "gate", 2);
  const auto weight = random_values(width, "weight", 0.3, 1);
  Matrix<double> truth = to_matrix(o, rows, width);
  group_rms_norm(truth, to_row(weight), groups, eps);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < width; ++i) truth(r, i) *= sigmoid(gate[static_cast<size_t>(r * stride + i)]);

  // The gate ends with its last row, not with a whole stride.
  const std::vector<double> stored_gate(gate.begin(), gate.end() - extra_stride);
  const auto device_o = upload<Real>(o), device_gate = upload<Real>(stored_gate);
  const auto device_weight = upload<float>(weight);
  const DeviceBuffer<Real> out(rows * width);
  const GroupNormGateArgs<Real> args{.out = out.data(),
                                     .o = device_o.data(),
                                     .gate = device_gate.data(),
                                     .weight = device_weight.data(),
                                     .rows = rows,
                                     .width = width,
                                     .gate_stride = stride,
                                     .groups = groups,
                                     .eps = static_cast<float>(eps)};
  const int64_t bytes = width / groups * static_cast<int64_t>(sizeof(Real));
  std::set<std::string> expected{"plain"};
  if (bytes % 16 == 0 && bytes <= 4096 && stride * static_cast<int64_t>(sizeof(Real)) % 16 == 0)
    expected.insert("warp");
  const std::string shape = std::string(name_of_type<Real>()) + ", " + std::to_string(rows) + " x " +
                            std::to_string(width) + ", groups " + std::to_string(groups);
  for_variants(args, expected, shape, [&](const auto& kernel, const std::string& what) {
    run_variant(kernel, args);
    check_close(download_f64(out), to_vector(truth), as_stored<Real>(to_vector(truth)),
                static_cast<double>(width / groups), what);
  });
}

}  // namespace

TEST_CASE("gather copies the rows that are asked for", "[cuda]") {
  for (const int64_t width : kWidths) {
    test_gather<float>(width, 3, 7);
    test_gather<bf16>(width, 3, 7);
  }
}

TEST_CASE("gather finds rows beyond 2^31 elements", "[cuda]") {
  const int64_t width = 4096;
  const int32_t far = 1 << 20;
  const auto row = upload<bf16>(random_values(width, "row"));
  const auto index = upload<int32_t>(std::vector<int32_t>{far});
  const DeviceBuffer<bf16> out(width);
  const GatherArgs<bf16> args{out.data(), row.data() - far * width, index.data(), 1, width};
  run_variant(kernels<GatherArgs<bf16>>()[0], args);
  CHECK(download_f64(out) == download_f64(row));
}

TEST_CASE("rms_norm stores the rounded sum and norms that", "[cuda]") {
  for (const int64_t width : kWidths) {
    for (const bool with_x : {false, true}) {
      test_rms_norm<float>(3, width, with_x, true);
      test_rms_norm<bf16>(3, width, with_x, true);
    }
    test_rms_norm<bf16>(2, width, true, false);
  }
  if (kSmallShapesOnly) return;
  test_rms_norm<float>(1, 2048, true, false);
  test_rms_norm<float>(1, 5000, true, true);  // wider than `vector` takes
  test_rms_norm<bf16>(1, 8192, true, true);   // its widest
  test_rms_norm<bf16>(17, 1024, true, true);
}

TEST_CASE("group_norm_gate norms each group, then gates", "[cuda]") {
  test_group_norm_gate<float>(2, 64, 2, 0);
  test_group_norm_gate<bf16>(3, 64, 4, 16);
  if (kSmallShapesOnly) return;
  test_group_norm_gate<float>(3, 60, 5, 3);
  test_group_norm_gate<bf16>(5, 60, 3, 4);
  test_group_norm_gate<bf16>(1, 2048, 1, 0);
  test_group_norm_gate<bf16>(5, 2048, 4, 4096);
  test_group_norm_gate<float>(2, 2048, 4, 8);
  test_group_norm_gate<float>(2, 1024, 1, 8);
  test_group_norm_gate<bf16>(2, 1048, 1, 8);
  test_group_norm_gate<bf16>(1, 4096, 1, 0);  // wider than `warp` takes
  test_group_norm_gate<bf16>(3, 768, 3, 0);
}

}  // namespace ringbench::RINGBENCH_BACKEND
