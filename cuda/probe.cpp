// probe.cpp: see probe.h.
#include "cuda/probe.h"

#include <cstddef>
#include <stdexcept>

#include "cuda/gpu.h"
#include "cuda/kernels.h"
#include "reference/random.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

constexpr int kWarmups = 2;  // the first lets libraries choose

template <class Work> std::vector<double> sample(int samples, const Stream& stream, const Work& work) {
  std::vector<double> seconds;
  for (int i = -kWarmups; i < samples; ++i) {
    Event begin, end;
    begin.record(stream);
    work();
    end.record(stream);
    if (const double each = end.seconds_since(begin); i >= 0) seconds.push_back(each);
  }
  return seconds;
}

// Random, because power and with it the clock depend on the data: zeros would run faster.
template <class Real> DeviceBuffer<Real> random_matrix(int64_t size, const char* name) {
  DeviceBuffer<Real> matrix(size * size);
  const RandomFillArgs<Real> fill{
      .out = matrix.data(), .normal = RandomNormal::around_zero(random_key(0, name), 1.0f), .c = size * size};
  kernels<RandomFillArgs<Real>>().back().run(fill, Stream{});
  synchronize(Stream{});
  return matrix;
}

template <class Real> std::vector<double> gemm_seconds_of(int64_t size, int samples) {
  const Device device = current_device();
  const Stream stream = make_stream();
  const DeviceBuffer<Real> x = random_matrix<Real>(size, "x"), w = random_matrix<Real>(size, "w"), out(size * size);
  GemmArgs<Real> args{
      .out = out.data(), .x = x.data(), .w = w.data(), .rows = size, .columns = size, .inner = size, .x_stride = size};
  const Kernel<GemmArgs<Real>>& kernel = choose(args, device);
  const DeviceBuffer<std::byte> workspace(kernel.workspace ? kernel.workspace(args, device) : 0);
  args.workspace = workspace.data();
  return sample(samples, stream, [&] { kernel.run(args, stream); });
}

}  // namespace

std::vector<double> gemm_seconds(DType dtype, int64_t size, int samples) {
  if (dtype == DType::bf16) return gemm_seconds_of<bf16>(size, samples);
  if (dtype == DType::f32) return gemm_seconds_of<float>(size, samples);
  throw std::invalid_argument("gemm_seconds: the kernels compute in bf16 and f32");
}

std::vector<double> copy_seconds(int64_t bytes, int samples) {
  const Stream stream = make_stream();
  const DeviceBuffer<std::byte> from(bytes), to(bytes);
  set_zero(from.data(), bytes, stream);
  return sample(samples, stream, [&] { copy_on_device(to.data(), from.data(), bytes, stream); });
}

}  // namespace ringbench::RINGBENCH_BACKEND
