// gpu.h: the one door to CUDA: device, memory, streams, events, graphs, launch().
// Everything in cuda/ is compiled twice from the same sources: with RINGBENCH_GPU for the CUDA runtime, into namespace
// ringbench::gpu; without it for the emulator, into ringbench::emulated. One program may hold both.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#if defined(RINGBENCH_GPU)
#include <cuda_runtime.h>
#define RINGBENCH_BACKEND gpu
#else
#include <tuple>

#include "cuda/emulator/emulator.h"
#define RINGBENCH_BACKEND emulated
#endif

namespace ringbench {

struct GpuError : std::runtime_error {
  explicit GpuError(const std::string& what, bool is_sticky = false) : std::runtime_error(what), sticky(is_sticky) {}
  bool sticky;  // the context is lost: every later call fails too
};

// No kernel variant can run this: names operator, variant and shape.
struct KernelError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Device {
  std::string name;
  std::string uuid;            // "GPU-...", as NVML knows it; empty: emulated
  int compute_capability = 0;  // 80, 90, ...; the emulator says 90
  int sm_count = 0;
  int64_t memory_bytes = 0, free_bytes = 0, l2_bytes = 0;
  int max_shared_bytes = 0;  // per block
  std::string driver, runtime;
};

namespace RINGBENCH_BACKEND {

// Throws GpuError, one line, where there is no usable device.
Device current_device();

#if defined(RINGBENCH_GPU)
// Throws GpuError "what: name of the error, its description" unless the call succeeded.
void check(cudaError_t, const char* what);
#endif

// A queue of work; copies are the same queue. A default-made one is the device's default stream.
class Stream {
 public:
  Stream() = default;
#if defined(RINGBENCH_GPU)
  cudaStream_t handle() const { return stream_.get(); }

 private:
  friend Stream make_stream();
  std::shared_ptr<CUstream_st> stream_;
#endif
};
Stream make_stream();
void synchronize(const Stream&);  // waits for all of its work; that work's errors come from here

// Untyped memory, behind DeviceBuffer and HostBuffer. Sizes in bytes; nothing for 0.
void* allocate_on_device(int64_t bytes);
void free_on_device(void*) noexcept;
void* allocate_on_host(int64_t bytes);  // pinned
void free_on_host(void*) noexcept;
void copy_bytes(void* to, const void* from, int64_t bytes, const Stream&);  // whichever side either is on
void set_bytes_to_zero(void* to, int64_t bytes, const Stream&);

// Device memory for `size` values, not initialised (emulated: 0xFF, which is NaN, in a block of exactly that size).
template <class T> class DeviceBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(int64_t size)
      : data_(static_cast<T*>(allocate_on_device(size * static_cast<int64_t>(sizeof(T))))), size_(size) {}
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~DeviceBuffer() { free_on_device(data_); }

  T* data() const { return data_; }
  int64_t size() const { return size_; }
  int64_t bytes() const { return size_ * static_cast<int64_t>(sizeof(T)); }

 private:
  T* data_ = nullptr;
  int64_t size_ = 0;
};

// Pinned host memory: what asynchronous copies need on the host's side.
template <class T> class HostBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  HostBuffer() = default;
  explicit HostBuffer(int64_t size)
      : data_(static_cast<T*>(allocate_on_host(size * static_cast<int64_t>(sizeof(T))))), size_(size) {}
  HostBuffer(HostBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  HostBuffer& operator=(HostBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~HostBuffer() { free_on_host(data_); }

  T* data() const { return data_; }
  int64_t size() const { return size_; }
  std::span<T> span() const { return {data_, static_cast<size_t>(size_)}; }

 private:
  T* data_ = nullptr;
  int64_t size_ = 0;
};

// Copies of n values, in the stream's order: host memory may be read, changed or freed only after synchronize().
template <class T> void copy_to_device(T* to, const std::type_identity_t<T>* from, int64_t n, const Stream& stream) {
  copy_bytes(to, from, n * static_cast<int64_t>(sizeof(T)), stream);
}
template <class T> void copy_to_host(T* to, const std::type_identity_t<T>* from, int64_t n, const Stream& stream) {
  copy_bytes(to, from, n * static_cast<int64_t>(sizeof(T)), stream);
}
template <class T> void copy_on_device(T* to, const std::type_identity_t<T>* from, int64_t n, const Stream& stream) {
  copy_bytes(to, from, n * static_cast<int64_t>(sizeof(T)), stream);
}
template <class T> void set_zero(T* to, int64_t n, const Stream& stream) {
  set_bytes_to_zero(to, n * static_cast<int64_t>(sizeof(T)), stream);
}

// A moment in a stream's work.
class Event {
 public:
  Event();
  void record(const Stream&);
  void wait() const;                                 // until the stream has come by
  double seconds_since(const Event& earlier) const;  // both recorded; waits for this one

 private:
#if defined(RINGBENCH_GPU)
  std::shared_ptr<CUevent_st> event_;
#else
  std::chrono::steady_clock::time_point time_;
#endif
};

// Work recorded once, to be launched many times: the same kernels with the same arguments on the same memory.
class Graph {
 public:
  // Runs `work`, which may only launch, copy and set on this stream; nothing of it is done yet (the emulator keeps the
  // function and calls it at every launch).
  static Graph capture(const Stream&, const std::function<void()>& work);
  void launch(const Stream&) const;

 private:
#if defined(RINGBENCH_GPU)
  std::shared_ptr<CUgraphExec_st> graph_;
#else
  std::function<void()> work_;
#endif
};

// launch(kernel, grid, block, shared_bytes, stream, arguments...): errors of the launch itself are thrown here, those
// of the run by the next synchronize() (the emulator has run the kernel when this returns, and throws here).
#if !defined(RINGBENCH_GPU)
template <class... P>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, const Stream&,
            std::type_identity_t<P>... arguments) {
  struct Call {
    void (*kernel)(P...);
    std::tuple<P...> arguments;
  };
  const Call call{kernel, std::tuple<P...>(std::move(arguments)...)};
  const auto entry = [](const void* p) {
    const Call& c = *static_cast<const Call*>(p);
    std::apply(c.kernel, c.arguments);
  };
  run_grid(grid, block, shared_bytes, entry, &call);
}
#else
void launch_kernel(const void* kernel, dim3 grid, dim3 block, void** arguments, size_t shared_bytes, const Stream&);

#if defined(__CUDACC__)
template <class... P>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, const Stream& stream,
            std::type_identity_t<P>... arguments) {
  void* pointers[sizeof...(P) + 1] = {const_cast<void*>(static_cast<const void*>(&arguments))...};
  launch_kernel(reinterpret_cast<const void*>(kernel), grid, block, pointers, shared_bytes, stream);
}
#endif
#endif

}  // namespace RINGBENCH_BACKEND
}  // namespace ringbench
