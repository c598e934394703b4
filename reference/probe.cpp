// probe.cpp: see probe.h.
#include "reference/probe.h"

#include <Eigen/Core>
#include <algorithm>
#include <memory>
#include <stdexcept>
#include <vector>

#include "reference/lightning_attention.h"
#include "reference/linear_algebra.h"
#include "reference/softmax_attention.h"

#ifdef _OPENMP
#include <omp.h>
#endif

namespace ringbench {
namespace {

constexpr double kMuch = 1e9;  // FLOPs: parallel_for is to wake the threads

int threads() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

// So that results are computed although nobody looks at them.
template <class T> void keep(const T& value) { asm volatile("" : : "g"(&value) : "memory"); }

// make(Real()) of the type's Real.
template <class Make> Probe of_type(DType dtype, const Make& make) {
  if (dtype == DType::f32) return make(float());
  if (dtype == DType::f64) return make(double());
  throw std::invalid_argument("probe: the reference computes in f32 and f64");
}

}  // namespace

Probe fma_probe(DType dtype) {
  return of_type(dtype, []<class Real>(Real) {
    // 12 independent chains of full-width vectors hide the latency of an FMA (4 cycles, two units) on 16 registers.
    constexpr int kBytes = std::max(EIGEN_MAX_ALIGN_BYTES, 16), kChains = 12, kSteps = 200000;
    using Vector [[gnu::vector_size(kBytes)]] = Real;
    const int tasks = threads();
    return Probe{.flops = 2.0 * kBytes / sizeof(Real) * kChains * kSteps * tasks, .bytes = 0, .run = [tasks] {
                   parallel_for(tasks, kMuch, [](int64_t) {
                     Vector sum[kChains] = {}, a = Vector{} + Real(0.999), b = Vector{} + Real(1e-3);
                     for (int i = 0; i < kSteps; ++i)
                       for (int chain = 0; chain < kChains; ++chain)
                         sum[chain] = sum[chain] * a + b;  // one instruction
                     for (int chain = 1; chain < kChains; ++chain) sum[0] += sum[chain];
                     keep(sum[0]);
                   });
                 }};
  });
}

Probe gemm_probe(DType dtype, int64_t rows, int64_t columns, int64_t inner) {
  return of_type(dtype, [=]<class Real>(Real) {
    const auto x = std::make_shared<Matrix<Real>>(Matrix<Real>::Random(rows, inner));
    const auto w = std::make_shared<Matrix<Real>>(Matrix<Real>::Random(columns, inner));
    return Probe{.flops = 2.0 * static_cast<double>(rows) * static_cast<double>(columns * inner),
                 .bytes = sizeof(Real) * static_cast<double>(rows * inner + columns * inner + rows * columns),
                 .run = [x, w] { keep(project(*x, *w)); }};
  });
}

Probe memory_read_probe(int64_t bytes) {
  const int64_t tasks = std::max<int64_t>(64, 8 * threads());
  const int64_t part = bytes / static_cast<int64_t>(sizeof(float)) / tasks;
  const auto data = std::make_shared<Eigen::ArrayXf>(part * tasks);
  parallel_for(tasks, kMuch, [&](int64_t i) { data->segment(i * part, part).setOnes(); });  // near who touches first
  return {.flops = 0, .bytes = sizeof(float) * static_cast<double>(data->size()), .run = [=] {
            parallel_for(tasks, kMuch, [&](int64_t i) { keep(data->segment(i * part, part).sum()); });
          }};
}

Probe softmax_attention_probe(DType dtype, int64_t head_dim, int64_t kv_heads, int64_t tokens, int64_t position) {
  return of_type(dtype, [=]<class Real>(Real) {
    const int64_t heads = 4 * kv_heads, d = head_dim;
    const auto q = std::make_shared<Matrix<Real>>(Matrix<Real>::Random(tokens, heads * d));
    const auto k = std::make_shared<Matrix<Real>>(Matrix<Real>::Random(position + tokens, kv_heads * d));
    const auto v = std::make_shared<Matrix<Real>>(*k);
    const double keys =
        static_cast<double>(tokens) * (static_cast<double>(position) + static_cast<double>(tokens + 1) / 2);
    return Probe{.flops = 4.0 * static_cast<double>(heads * d) * keys,
                 .bytes = 2.0 * sizeof(Real) * static_cast<double>(k->size()),
                 .run = [=] {
                   const RowVector<Real> sinks;
                   keep(softmax_attention(
                       SoftmaxAttention<Real>{*q, k->data(), v->data(), position, heads, kv_heads, d, 0, sinks}));
                 }};
  });
}

Probe lightning_attention_probe(DType dtype, int64_t head_dim, int64_t heads, int64_t tokens) {
  return of_type(dtype, [=]<class Real>(Real) {
    struct Data {
      Matrix<Real> q, o;
      std::vector<Matrix<Real>> states;
    };
    constexpr double kChunk = 64, kLogDecay = -0.01;
    const int64_t d = head_dim;
    const auto data = std::make_shared<Data>();
    data->q = Matrix<Real>::Random(tokens, heads * d);
    data->o.resize(tokens, heads * d);
    data->states.assign(static_cast<size_t>(heads), Matrix<Real>::Zero(d, d));
    const double each = static_cast<double>(4 * d * d) + (tokens > 1 ? 4 * kChunk * static_cast<double>(d) : 0);
    return Probe{.flops = static_cast<double>(heads * tokens) * each,
                 .bytes = sizeof(Real) * static_cast<double>(4 * heads * tokens * d + 2 * heads * d * d),
                 .run = [=] {
                   parallel_for(heads, 6.0 * static_cast<double>(heads * tokens * d * d), [&](int64_t h) {
                     const Eigen::OuterStride<> stride(heads * d);
                     const ConstRows2d<Real> q(data->q.data() + h * d, tokens, d, stride);
                     const Rows2d<Real> out(data->o.data() + h * d, tokens, d, stride);
                     Matrix<Real>& state = data->states[static_cast<size_t>(h)];
                     if (tokens == 1)
                       lightning_attention_recurrent(q, q, q, kLogDecay, state, out);
                     else
                       lightning_attention_chunked(q, q, q, kLogDecay, state, out);
                   });
                 }};
  });
}

std::string eigen_description() {
  return std::to_string(EIGEN_WORLD_VERSION) + "." + std::to_string(EIGEN_MAJOR_VERSION) + "." +
         std::to_string(EIGEN_MINOR_VERSION) + ": " + Eigen::SimdInstructionSetsInUse();
}

}  // namespace ringbench
