// operators.h: what the tests of all operators share: inputs that are exact in every type, memory on the device, and
// the comparison with the f64 truth. Compiled for the emulator and, where there is one, for the GPU.
#pragma once

#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "cuda/gpu.h"
#include "cuda/kernels.h"
#include "harness/budget.h"
#include "reference/random.h"
#include "tests/catch.h"

namespace ringbench::RINGBENCH_BACKEND {

// Seeded normal values, each exactly a bf16.
inline std::vector<double> random_values(int64_t count, const std::string& name, double sigma = 1, double mean = 0) {
  const RandomNormal normal = RandomNormal::around_zero(random_key(7, name), static_cast<float>(sigma));
  std::vector<double> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<double>(static_cast<float>(bf16(normal(i) + static_cast<float>(mean))));
  return values;
}

template <class Real> Real to_real(double value) {
  if constexpr (std::is_same_v<Real, bf16>)
    return bf16(static_cast<float>(value));
  else
    return static_cast<Real>(value);
}
template <class Real> double to_double(Real value) {
  if constexpr (std::is_same_v<Real, bf16>)
    return static_cast<double>(static_cast<float>(value));
  else
    return static_cast<double>(value);
}

// `values` in device memory, as Real.
template <class Real, class T> DeviceBuffer<Real> upload(const std::vector<T>& values) {
  std::vector<Real> host(values.size());
  for (size_t i = 0; i < host.size(); ++i) {
    if constexpr (std::is_floating_point_v<T>)
      host[i] = to_real<Real>(static_cast<double>(values[i]));
    else
      host[i] = static_cast<Real>(values[i]);
  }
  DeviceBuffer<Real> buffer(static_cast<int64_t>(host.size()));
  copy_to_device(buffer.data(), host.data(), static_cast<int64_t>(host.size()), Stream{});
  synchronize(Stream{});
  return buffer;
}

template <class Real> std::vector<Real> download(const DeviceBuffer<Real>& buffer) {
  std::vector<Real> host(static_cast<size_t>(buffer.size()));
  copy_to_host(host.data(), buffer.data(), buffer.size(), Stream{});
  synchronize(Stream{});
  return host;
}
template <class Real> std::vector<double> download_f64(const DeviceBuffer<Real>& buffer) {
  std::vector<double> values;
  for (const Real x : download(buffer)) values.push_back(to_double(x));
  return values;
}

// Pieces laid out one after the other, with the device arrays of Batch.
struct DeviceBatch {
  std::vector<Piece> pieces;
  DeviceBuffer<Piece> device_pieces;
  DeviceBuffer<int32_t> piece_of_row;
  Batch batch;

  // rows[i] tokens of sequence slots[i] (empty: i), beginning at positions[i].
  explicit DeviceBatch(const std::vector<int32_t>& rows, const std::vector<int64_t>& positions,
                       const std::vector<int32_t>& slots = {}) {
    std::vector<int32_t> owner;
    for (size_t i = 0; i < rows.size(); ++i) {
      const int32_t slot = slots.empty() ? static_cast<int32_t>(i) : slots[i];
      pieces.push_back({slot, rows[i], static_cast<int64_t>(owner.size()), positions[i]});
      owner.insert(owner.end(), static_cast<size_t>(rows[i]), static_cast<int32_t>(i));
      batch.longest = std::max<int64_t>(batch.longest, rows[i]);
      batch.deepest = std::max<int64_t>(batch.deepest, positions[i] + rows[i]);
    }
    device_pieces = DeviceBuffer<Piece>(static_cast<int64_t>(pieces.size()));
    copy_to_device(device_pieces.data(), pieces.data(), device_pieces.size(), Stream{});
    piece_of_row = upload<int32_t>(owner);
    batch.pieces = device_pieces.data();
    batch.piece_of_row = piece_of_row.data();
    batch.count = static_cast<int>(pieces.size());
    batch.rows = static_cast<int64_t>(owner.size());
    synchronize(Stream{});
  }
};

// Runs one variant, with the workspace it asks for; on the GPU waits for it.
template <class Args> void run_variant(const Kernel<Args>& kernel, Args args) {
  const Device device = current_device();
  DeviceBuffer<std::byte> workspace(kernel.workspace ? kernel.workspace(args, device) : 0);
  if constexpr (requires { args.workspace; }) args.workspace = workspace.data();
  kernel.run(args, Stream{});
  synchronize(Stream{});
}

// `values` against the f64 truth; `rounded` is the truth computed with the candidate's rounding points, `length` the
// longest sum. The message names the case.
inline void check_close(const std::vector<double>& values, const std::vector<double>& truth,
                        const std::vector<double>& rounded, double length, const std::string& what) {
  const Discrepancy found = discrepancy(values, truth);
  const Judgement judgement = judge(found, discrepancy(rounded, truth), float_floor(length));
  INFO(what << ": " << judgement.text);
  CHECK(found.trustworthy);
  CHECK(judgement.pass);
}

// ThreadSanitizer makes every CUDA thread cost 0.3 ms: tests keep to their smallest shapes there.
#if defined(__SANITIZE_THREAD__)
constexpr bool kSmallShapesOnly = true;
#else
constexpr bool kSmallShapesOnly = false;
#endif

}  // namespace ringbench::RINGBENCH_BACKEND
