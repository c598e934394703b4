// gpu.cpp: gpu.h over the CUDA runtime, and over the host's memory and clock for the emulator.
#include "cuda/gpu.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(RINGBENCH_GPU)
#include <cxxabi.h>

#include <map>
#include <mutex>
#endif

namespace ringbench::RINGBENCH_BACKEND {

#if defined(RINGBENCH_GPU)
namespace {

bool is_sticky(cudaError_t error) {
  switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorECCUncorrectable:
    case cudaErrorUnknown: return true;
    default: return false;
  }
}

std::string version(int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); }

// "01234567-89ab-cdef-0123-456789abcdef"
std::string uuid_text(const cudaUUID_t& uuid) {
  std::string text;
  for (int i = 0; i < 16; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned>(static_cast<unsigned char>(uuid.bytes[i])));
    text += (i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "") + std::string(digits);
  }
  return text;
}

// The kernel's name as it stands in the source, or "kernel".
std::string kernel_name(const void* kernel) {
  const char* mangled = nullptr;
  if (cudaFuncGetName(&mangled, kernel) != cudaSuccess || !mangled) return "kernel";
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(mangled, nullptr, nullptr, &status), std::free);
  return status == 0 ? name.get() : mangled;
}

}  // namespace

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // forget it, if it can be forgotten
  throw GpuError(std::string(what) + ": " + cudaGetErrorName(error) + ", " + cudaGetErrorString(error),
                 is_sticky(error));
}

Device current_device() {
  int driver = 0, runtime = 0, index = 0;
  cudaRuntimeGetVersion(&runtime);
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
    throw GpuError("no CUDA device: no NVIDIA driver is loaded");
  if (const cudaError_t error = cudaGetDevice(&index); error != cudaSuccess) {
    cudaGetLastError();
    throw GpuError(std::string("no CUDA device: ") + cudaGetErrorString(error) + " (driver for CUDA " +
                   version(driver) + ", runtime " + version(runtime) + ")");
  }
  cudaDeviceProp p{};
  check(cudaGetDeviceProperties(&p, index), "properties of the device");
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "memory of the device");
  Device d;
  d.name = p.name;
  d.uuid = "GPU-" + uuid_text(p.uuid);
  d.compute_capability = p.major * 10 + p.minor;
  d.sm_count = p.multiProcessorCount;
  d.memory_bytes = static_cast<int64_t>(total);
  d.free_bytes = static_cast<int64_t>(free);
  d.l2_bytes = p.l2CacheSize;
  d.max_shared_bytes = static_cast<int>(p.sharedMemPerBlockOptin);
  d.driver = version(driver);
  d.runtime = version(runtime);
  return d;
}

Stream make_stream() {
  cudaStream_t handle = nullptr;
  check(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking), "stream");
  Stream stream;
  stream.stream_.reset(handle, cudaStreamDestroy);
  return stream;
}
void synchronize(const Stream& stream) { check(cudaStreamSynchronize(stream.handle()), "work on the device"); }

void* allocate_on_device(int64_t bytes) {
  if (bytes == 0) return nullptr;
  void* p = nullptr;
  const cudaError_t error = cudaMalloc(&p, static_cast<size_t>(bytes));
  if (error != cudaErrorMemoryAllocation) return check(error, "device memory"), p;
  cudaGetLastError();
  size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  throw GpuError("out of device memory: " + std::to_string(bytes) + " bytes asked for, " + std::to_string(free) +
                 " of " + std::to_string(total) + " free");
}
void free_on_device(void* p) noexcept { cudaFree(p); }
void* allocate_on_host(int64_t bytes) {
  if (bytes == 0) return nullptr;
  void* p = nullptr;
  check(cudaMallocHost(&p, static_cast<size_t>(bytes)), "pinned host memory");
  return p;
}
void free_on_host(void* p) noexcept { cudaFreeHost(p); }
void copy_bytes(void* to, const void* from, int64_t bytes, const Stream& stream) {
  if (bytes > 0)
    check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, stream.handle()), "copy");
}
void set_bytes_to_zero(void* to, int64_t bytes, const Stream& stream) {
  if (bytes > 0) check(cudaMemsetAsync(to, 0, static_cast<size_t>(bytes), stream.handle()), "setting to zero");
}

Event::Event() {
  cudaEvent_t handle = nullptr;
  check(cudaEventCreate(&handle), "event");
  event_.reset(handle, cudaEventDestroy);
}
void Event::record(const Stream& stream) { check(cudaEventRecord(event_.get(), stream.handle()), "event"); }
void Event::wait() const { check(cudaEventSynchronize(event_.get()), "work on the device"); }
double Event::seconds_since(const Event& earlier) const {
  wait();
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, earlier.event_.get(), event_.get()), "time between events");
  return milliseconds * 1e-3;
}

Graph Graph::capture(const Stream& stream, const std::function<void()>& work) {
  check(cudaStreamBeginCapture(stream.handle(), cudaStreamCaptureModeThreadLocal), "graph capture");
  cudaGraph_t graph = nullptr;
  try {
    work();
  } catch (...) {
    cudaStreamEndCapture(stream.handle(), &graph);
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  check(cudaStreamEndCapture(stream.handle(), &graph), "graph capture");
  const std::unique_ptr<CUgraph_st, decltype(&cudaGraphDestroy)> owner(graph, cudaGraphDestroy);
  cudaGraphExec_t executable = nullptr;
  check(cudaGraphInstantiate(&executable, graph, 0), "graph");
  Graph result;
  result.graph_.reset(executable, cudaGraphExecDestroy);
  return result;
}
void Graph::launch(const Stream& stream) const { check(cudaGraphLaunch(graph_.get(), stream.handle()), "graph"); }

void launch_kernel(const void* kernel, dim3 grid, dim3 block, void** arguments, size_t shared_bytes,
                   const Stream& stream) {
  constexpr size_t default_shared_bytes = 48 << 10;  // beyond that a kernel has to be allowed it, once
  cudaError_t error = cudaSuccess;
  if (shared_bytes > default_shared_bytes) {
    static std::mutex mutex;
    static std::map<const void*, size_t> allowed;
    const std::lock_guard lock(mutex);
    if (size_t& bytes = allowed[kernel]; bytes < shared_bytes) {
      error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
      if (error == cudaSuccess) bytes = shared_bytes;
    }
  }
  if (error == cudaSuccess) error = cudaLaunchKernel(kernel, grid, block, arguments, shared_bytes, stream.handle());
  if (error == cudaSuccess) return;
  const auto shape = [](dim3 d) { return std::to_string(d.x) + "x" + std::to_string(d.y) + "x" + std::to_string(d.z); };
  check(error, (kernel_name(kernel) + " with " + shape(grid) + " blocks of " + shape(block) + " threads, " +
                std::to_string(shared_bytes) + " bytes of shared memory")
                   .c_str());
}

#else

Device current_device() {
  Device d;
  d.name = "emulated";
  d.compute_capability = 90;
  d.sm_count = 4;  // few, so that grids which follow it stay small
  const int64_t page = sysconf(_SC_PAGESIZE);
  d.memory_bytes = sysconf(_SC_PHYS_PAGES) * page;
  d.free_bytes = sysconf(_SC_AVPHYS_PAGES) * page;
  d.l2_bytes = 50 << 20;
  d.max_shared_bytes = 227 << 10;  // as on compute capability 9.0
  d.driver = "none";
  d.runtime = "emulator";
  return d;
}

Stream make_stream() { return {}; }
void synchronize(const Stream&) {}

void* allocate_on_device(int64_t bytes) {
  if (bytes == 0) return nullptr;
  if (bytes < 0) throw GpuError("out of device memory: " + std::to_string(bytes) + " bytes asked for");
  void* p = nullptr;  // cudaMalloc aligns to 256 bytes too
  if (posix_memalign(&p, 256, static_cast<size_t>(bytes)) != 0)
    throw GpuError("out of emulated device memory: " + std::to_string(bytes) + " bytes asked for");
  std::memset(p, 0xFF, static_cast<size_t>(bytes));
  return p;
}
void free_on_device(void* p) noexcept { std::free(p); }
void* allocate_on_host(int64_t bytes) { return allocate_on_device(bytes); }
void free_on_host(void* p) noexcept { std::free(p); }
void copy_bytes(void* to, const void* from, int64_t bytes, const Stream&) {
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}
void set_bytes_to_zero(void* to, int64_t bytes, const Stream&) {
  if (bytes > 0) std::memset(to, 0, static_cast<size_t>(bytes));
}

Event::Event() = default;
void Event::record(const Stream&) { time_ = std::chrono::steady_clock::now(); }
void Event::wait() const {}
double Event::seconds_since(const Event& earlier) const {
  return std::chrono::duration<double>(time_ - earlier.time_).count();
}

Graph Graph::capture(const Stream&, const std::function<void()>& work) {
  Graph graph;
  graph.work_ = work;
  return graph;
}
void Graph::launch(const Stream&) const { work_(); }

#endif

}  // namespace ringbench::RINGBENCH_BACKEND
