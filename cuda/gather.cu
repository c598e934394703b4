// gather.cu: rows of a table by index: word embeddings, and the rows whose logits are wanted.
#include "cuda/kernels.h"
#include "cuda/vocabulary.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

// One block per row, one Unit per thread and turn. out [rows, units], table [any, units].
template <class Unit> __global__ void gather_kernel(Unit* out, const Unit* table, const int32_t* index, int64_t units) {
  const int64_t row = blockIdx.x;
  const Unit* from = table + index[row] * units;
  for (int64_t i = threadIdx.x; i < units; i += blockDim.x) out[row * units + i] = from[i];
}

template <class Unit>
void gather_units(void* out, const void* table, const int32_t* index, int64_t rows, int64_t units, Stream stream) {
  const unsigned threads = units >= 256 ? 256 : static_cast<unsigned>((units + 31) / 32 * 32);
  launch(gather_kernel<Unit>, dim3(static_cast<unsigned>(rows)), dim3(threads), 0, stream, static_cast<Unit*>(out),
         static_cast<const Unit*>(table), index, units);
}

}  // namespace

// Bytes are moved, whatever they mean: 16 at a time where rows are made of such units. A row is read once and written
// once; the floor is that traffic.
template <class Real> void gather_plain(const GatherArgs<Real>& a, Stream stream) {
  constexpr int64_t unit = 16 / sizeof(Real);
  const bool aligned = (reinterpret_cast<uintptr_t>(a.out) | reinterpret_cast<uintptr_t>(a.table)) % 16 == 0;
  if (a.rows == 0 || a.width == 0) return;
  if (a.width % unit == 0 && aligned)
    gather_units<uint4>(a.out, a.table, a.index, a.rows, a.width / unit, stream);
  else
    gather_units<Real>(a.out, a.table, a.index, a.rows, a.width, stream);
}
template void gather_plain(const GatherArgs<float>&, Stream);
template void gather_plain(const GatherArgs<bf16>&, Stream);

}  // namespace ringbench::RINGBENCH_BACKEND
