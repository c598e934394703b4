// test_gemm.cpp: out = x w^T + bias: every variant against the product in f64.
#if !defined(RINGBENCH_GPU)
#include <sys/mman.h>
#endif

#include "tests/cuda/variants.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

#if defined(RINGBENCH_GPU)
const std::string kLibrary = "cublas";
#else
const std::string kLibrary = "host";
#endif

template <class Real, class Out>
void test_gemm(int64_t rows, int64_t columns, int64_t inner, int64_t extra_stride, bool with_bias) {
  const int64_t stride = inner + extra_stride;
  const auto x = random_values(rows * stride, "x"), w = random_values(columns * inner, "w");
  const auto bias = random_values(columns, "bias", std::sqrt(static_cast<double>(inner)));
  Matrix<double> truth = to_matrix(x, rows, stride).leftCols(inner) * to_matrix(w, columns, inner).transpose();
  if (with_bias) truth.rowwise() += to_row(bias);

  // x ends with its last row, not with a whole stride.
  const auto device_x = upload<Real>(std::vector<double>(x.begin(), x.end() - extra_stride));
  const auto device_w = upload<Real>(w);
  const auto device_bias = upload<float>(bias);
  const DeviceBuffer<Out> out(rows * columns);
  const GemmArgs<Real, Out> args{.out = out.data(),
                                 .x = device_x.data(),
                                 .w = device_w.data(),
                                 .bias = with_bias ? device_bias.data() : nullptr,
                                 .rows = rows,
                                 .columns = columns,
                                 .inner = inner,
                                 .x_stride = stride};
  std::set<std::string> expected{"plain", kLibrary};
  constexpr int64_t vector = 16 / sizeof(Real);
  if (rows <= 16 && inner % vector == 0 && stride % vector == 0) {
    expected.insert("gemv");
    if (std::is_same_v<Real, bf16> && rows >= 3) expected.insert("gemv_mma");
  }
  const std::string shape = std::string(name_of_type<Real>()) + " to " + name_of_type<Out>() + ", " +
                            std::to_string(rows) + " x " + std::to_string(columns) + " x " + std::to_string(inner) +
                            (with_bias ? ", bias" : "");
  for_variants(args, expected, shape, [&](const auto& kernel, const std::string& what) {
    set_zero(out.data(), out.size(), Stream{});
    run_variant(kernel, args);
    const std::vector<double> values = download_f64(out);
    if (rows * columns > 1)
      check_close(values, to_vector(truth), as_stored<Out>(to_vector(truth)), static_cast<double>(inner), what);
    else
      CHECK(std::abs(values[0] - truth(0, 0)) <= 0x1p-8 * (1 + std::abs(truth(0, 0))));
  });
}

void test_gemm_of_all_types(int64_t rows, int64_t columns, int64_t inner, int64_t extra_stride, bool with_bias) {
  test_gemm<bf16, bf16>(rows, columns, inner, extra_stride, with_bias);
  test_gemm<bf16, float>(rows, columns, inner, extra_stride, with_bias);
  test_gemm<float, float>(rows, columns, inner, extra_stride, with_bias);
}

}  // namespace

TEST_CASE("gemm computes x w^T + bias", "[cuda]") {
  test_gemm_of_all_types(2, 5, 40, 0, true);
  if (kSmallShapesOnly) return;
  test_gemm_of_all_types(1, 1, 1, 0, false);
  test_gemm_of_all_types(1, 33, 264, 8, false);
  test_gemm_of_all_types(3, 17, 1032, 24, true);
  test_gemm_of_all_types(4, 32, 8, 0, false);
  test_gemm_of_all_types(5, 40, 1024, 0, true);
  test_gemm_of_all_types(8, 9, 4104, 16, true);
  test_gemm_of_all_types(15, 31, 136, 0, true);
  test_gemm_of_all_types(16, 70, 256, 0, false);
  test_gemm_of_all_types(17, 65, 72, 5, true);
  test_gemm_of_all_types(6, 13, 37, 3, true);
  test_gemm_of_all_types(67, 35, 129, 0, false);
}

// A sequence's numbers must not depend on what else is in the pass: cuBLAS picks its sums by shape and is left out.
TEST_CASE("gemm gives a row the same bits whatever rows are beside it", "[cuda]") {
  constexpr int64_t rows = kSmallShapesOnly ? 5 : 16, columns = 10, inner = 264;
  const auto x = upload<bf16>(random_values(rows * inner, "x")), w = upload<bf16>(random_values(columns * inner, "w"));
  const DeviceBuffer<float> out(rows * columns), alone(3 * columns);
  GemmArgs<bf16, float> args{.out = out.data(),
                             .x = x.data(),
                             .w = w.data(),
                             .rows = rows,
                             .columns = columns,
                             .inner = inner,
                             .x_stride = inner};
  for_variants(args, {"plain", "gemv", "gemv_mma"}, "together", [&](const auto& kernel, const std::string& what) {
    if (kernel.name == "cublas") return;
    run_variant(kernel, args);
    const std::vector<float> together = download(out);
    const int64_t few = kernel.name == "gemv_mma" ? 3 : 1;  // as few as it takes
    for (int64_t r = 0; r + few <= rows; ++r) {
      GemmArgs<bf16, float> some = args;
      some.out = alone.data(), some.x += r * inner, some.rows = few;
      run_variant(kernel, some);
      const std::vector<float> first = download(alone);
      INFO(what << ", row " << r);
      CHECK(std::equal(first.begin(), first.begin() + columns, together.begin() + r * columns));
    }
  });
}

#if !defined(RINGBENCH_GPU)
// Pages that nobody touches cost nothing.
TEST_CASE("gemm reads rows of x that are more than 2^31 elements apart", "[cuda]") {
  constexpr int64_t inner = 16, columns = 3, stride = (int64_t{1} << 31) + 8;
  constexpr size_t bytes = sizeof(bf16) * (stride + inner);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  bf16* far = static_cast<bf16*>(memory);
  const auto near = upload<bf16>(random_values(2 * inner, "x"));
  const auto w = upload<bf16>(random_values(columns * inner, "w"));
  std::copy_n(near.data(), inner, far);
  std::copy_n(near.data() + inner, inner, far + stride);
  const DeviceBuffer<float> out(2 * columns);
  GemmArgs<bf16, float> args{.out = out.data(),
                             .x = near.data(),
                             .w = w.data(),
                             .rows = 2,
                             .columns = columns,
                             .inner = inner,
                             .x_stride = inner};
  for_variants(args, {"host", "gemv", "plain"}, "far", [&](const auto& kernel, const std::string& what) {
    INFO(what);
    run_variant(kernel, args);
    const std::vector<float> together = download(out);
    GemmArgs<bf16, float> apart = args;
    apart.x = far, apart.x_stride = stride;
    set_zero(out.data(), out.size(), Stream{});
    run_variant(kernel, apart);
    CHECK(download(out) == together);
  });
  munmap(memory, bytes);
}
#endif

}  // namespace ringbench::RINGBENCH_BACKEND
