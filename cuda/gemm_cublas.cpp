// gemm_cublas.cpp: out = x w^T + bias by cuBLASLt; the only file that names it.
#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <bit>
#include <compare>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda/gemm.h"
#include "cuda/kernels.h"

namespace ringbench::gpu {
namespace {

constexpr int64_t kWorkspace = int64_t{32} << 20;  // what NVIDIA advises for Hopper
constexpr int kCandidates = 8;                     // of the library's heuristics, timed
constexpr int kTimed = 3;                          // runs of each; the fastest counts

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw GpuError(std::string(what) + ": " + cublasLtGetStatusName(status) + ", " + cublasLtGetStatusString(status));
}

// Lives as long as the process: it may outlive the runtime's own clean-up otherwise.
cublasLtHandle_t library() {
  static const cublasLtHandle_t handle = [] {
    cublasLtHandle_t made = nullptr;
    check(cublasLtCreate(&made), "cublasLtCreate");
    return made;
  }();
  return handle;
}

struct Destroy {
  void operator()(cublasLtMatmulDesc_t p) const { cublasLtMatmulDescDestroy(p); }
  void operator()(cublasLtMatrixLayout_t p) const { cublasLtMatrixLayoutDestroy(p); }
  void operator()(cublasLtMatmulPreference_t p) const { cublasLtMatmulPreferenceDestroy(p); }
};
template <class Pointer> using Owned = std::unique_ptr<std::remove_pointer_t<Pointer>, Destroy>;

template <class Real> constexpr cudaDataType_t type_of() {
  return std::is_same_v<Real, bf16> ? CUDA_R_16BF : CUDA_R_32F;
}

Owned<cublasLtMatrixLayout_t> layout(cudaDataType_t type, int64_t rows, int64_t columns, int64_t stride) {
  cublasLtMatrixLayout_t made = nullptr;
  check(cublasLtMatrixLayoutCreate(&made, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), stride),
        "cublasLtMatrixLayoutCreate");
  return Owned<cublasLtMatrixLayout_t>(made);
}

template <class T> void set(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  check(cublasLtMatmulDescSetAttribute(d, attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
}
template <class T>
void set(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
  check(cublasLtMatmulPreferenceSetAttribute(p, attribute, &value, sizeof value),
        "cublasLtMatmulPreferenceSetAttribute");
}

// The largest power of two, up to 256, that an address is a multiple of.
uint32_t alignment_of(const void* p) {
  return 1u << std::min(8, std::countr_zero(reinterpret_cast<uintptr_t>(p) | 256u));
}

// What a choice of algorithm is kept for. Rows are rounded up to a power of two.
struct Shape {
  uint64_t rows;
  int64_t columns, inner, x_stride;
  bool bf16_in, bf16_out, bias;
  uint32_t x_alignment, w_alignment, out_alignment;
  auto operator<=>(const Shape&) const = default;
};

// The library's matrices are column-major: it computes out^T [columns, rows] = w x^T.
struct Product {
  Owned<cublasLtMatmulDesc_t> operation;
  Owned<cublasLtMatrixLayout_t> w, x, out;
  const void *w_data, *x_data;
  void* out_data;
  void* workspace;
  cudaStream_t stream;
  Shape shape;

  cublasStatus_t run(const cublasLtMatmulAlgo_t& algorithm) const {
    const float one = 1, zero = 0;
    return cublasLtMatmul(library(), operation.get(), &one, w_data, w.get(), x_data, x.get(), &zero, out_data,
                          out.get(), out_data, out.get(), &algorithm, workspace, kWorkspace, stream);
  }

  // Best first, by the library's own opinion.
  std::vector<cublasLtMatmulAlgo_t> candidates() const {
    cublasLtMatmulPreference_t made = nullptr;
    check(cublasLtMatmulPreferenceCreate(&made), "cublasLtMatmulPreferenceCreate");
    const Owned<cublasLtMatmulPreference_t> preference(made);
    set(made, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(kWorkspace));
    set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, shape.w_alignment);
    set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, shape.x_alignment);
    set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, shape.out_alignment);
    set(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, shape.out_alignment);
    std::array<cublasLtMatmulHeuristicResult_t, kCandidates> found;
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        library(), operation.get(), w.get(), x.get(), out.get(), out.get(), made, kCandidates, found.data(), &count);
    if (status != CUBLAS_STATUS_NOT_SUPPORTED) check(status, "cublasLtMatmulAlgoGetHeuristic");
    std::vector<cublasLtMatmulAlgo_t> algorithms;
    for (int i = 0; i < count; ++i)
      if (found[static_cast<size_t>(i)].state == CUBLAS_STATUS_SUCCESS)
        algorithms.push_back(found[static_cast<size_t>(i)].algo);
    if (algorithms.empty())
      throw GpuError("gemm \"cublas\": cuBLASLt has nothing for " + std::to_string(shape.rows) + " rows, " +
                     std::to_string(shape.columns) + " columns, inner " + std::to_string(shape.inner));
    return algorithms;
  }

  bool can_run(const cublasLtMatmulAlgo_t& algorithm) const {
    cublasLtMatmulHeuristicResult_t result;
    return cublasLtMatmulAlgoCheck(library(), operation.get(), w.get(), x.get(), out.get(), out.get(), &algorithm,
                                   &result) == CUBLAS_STATUS_SUCCESS &&
           result.workspaceSize <= kWorkspace;
  }
};

// The fastest candidate, by trying: every run computes the product itself, over and over.
cublasLtMatmulAlgo_t fastest(const Product& product, const Stream& stream) {
  const std::vector<cublasLtMatmulAlgo_t> candidates = product.candidates();
  cublasLtMatmulAlgo_t best = candidates.front();
  double best_time = std::numeric_limits<double>::infinity();
  Event begin, end;
  for (const cublasLtMatmulAlgo_t& candidate : candidates) {
    if (product.run(candidate) != CUBLAS_STATUS_SUCCESS) continue;  // warms up
    double time = std::numeric_limits<double>::infinity();
    for (int i = 0; i < kTimed; ++i) {
      begin.record(stream);
      check(product.run(candidate), "cublasLtMatmul");
      end.record(stream);
      time = std::min(time, end.seconds_since(begin));
    }
    if (time < best_time) best_time = time, best = candidate;
  }
  return best;
}

// What was found fastest for shapes like this one, by a first call outside of any graph's capture (in one, where
// nothing can be timed: what the library thinks best).
cublasLtMatmulAlgo_t choose_algorithm(const Product& product, const Stream& stream) {
  static std::mutex mutex;
  static std::map<Shape, cublasLtMatmulAlgo_t> chosen;
  const std::lock_guard lock(mutex);
  auto found = chosen.find(product.shape);
  if (found == chosen.end()) {
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    gpu::check(cudaStreamIsCapturing(stream.handle(), &capture), "cudaStreamIsCapturing");
    if (capture != cudaStreamCaptureStatusNone) return product.candidates().front();
    found = chosen.emplace(product.shape, fastest(product, stream)).first;
  }
  // Chosen for other rows of the same power of two, perhaps.
  return product.can_run(found->second) ? found->second : product.candidates().front();
}

// Of the rounded bias, at the workspace's end.
template <class Real, class Out> int64_t bias_bytes(const GemmArgs<Real, Out>& a) {
  return a.bias && std::is_same_v<Out, bf16> ? 2 * a.columns : 0;
}

}  // namespace

template <class Real, class Out> int64_t gemm_cublas_workspace(const GemmArgs<Real, Out>& a, const Device&) {
  return kWorkspace + bias_bytes(a);
}

// cuBLASLt: its own pick of tiles, timed once per shape; float accumulation, no TF32. Floor: FLOPs at 790 TFLOP/s. A
// bias has the output's type there, so for bf16 it is rounded first, like the weights.
template <class Real, class Out> void gemm_cublas(const GemmArgs<Real, Out>& a, Stream stream) {
  if (a.rows == 0) return;
  constexpr cudaDataType_t in = type_of<Real>(), out = type_of<Out>();
  cublasLtMatmulDesc_t operation = nullptr;
  check(cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
  const Product product{
      .operation = Owned<cublasLtMatmulDesc_t>(operation),
      .w = layout(in, a.inner, a.columns, a.inner),
      .x = layout(in, a.inner, a.rows, a.x_stride),
      .out = layout(out, a.columns, a.rows, a.columns),
      .w_data = a.w,
      .x_data = a.x,
      .out_data = a.out,
      .workspace = a.workspace,
      .stream = stream.handle(),
      .shape = {std::bit_ceil(static_cast<uint64_t>(a.rows)), a.columns, a.inner, a.x_stride, in == CUDA_R_16BF,
                out == CUDA_R_16BF, a.bias != nullptr, alignment_of(a.x), alignment_of(a.w), alignment_of(a.out)}};
  set(operation, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  if (a.bias) {
    const void* bias = a.bias;
    if constexpr (std::is_same_v<Out, bf16>) {
      bf16* rounded = reinterpret_cast<bf16*>(static_cast<std::byte*>(a.workspace) + kWorkspace);
      round_to_bf16(rounded, a.bias, a.columns, stream);
      bias = rounded;
    }
    set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(out));
    set(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  }
  check(product.run(choose_algorithm(product, stream)), "cublasLtMatmul");
}

template int64_t gemm_cublas_workspace(const GemmArgs<float>&, const Device&);
template int64_t gemm_cublas_workspace(const GemmArgs<bf16>&, const Device&);
template int64_t gemm_cublas_workspace(const GemmArgs<bf16, float>&, const Device&);
template void gemm_cublas(const GemmArgs<float>&, Stream);
template void gemm_cublas(const GemmArgs<bf16>&, Stream);
template void gemm_cublas(const GemmArgs<bf16, float>&, Stream);

}  // namespace ringbench::gpu
