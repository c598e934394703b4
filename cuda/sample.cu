// sample.cu: choosing the next token from logits, greedily or at random, and moving sequences on.
#include "cuda/kernels.h"
#include "cuda/vocabulary.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

// Rising with x, equal for 0 and -0, and 0 for NaN, which is so below every number.
__device__ inline uint32_t order_of(float x) {
  if (x != x) return 0;
  const uint32_t bits = __float_as_uint(x + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// --- argmax ---

__global__ void argmax_plain_kernel(ArgmaxArgs a) {
  const int64_t row = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (row >= a.rows) return;
  const float* logits = a.logits + row * a.vocab_size;
  int32_t best = 0;
  for (int64_t i = 1; i < a.vocab_size; ++i)
    if (order_of(logits[i]) > order_of(logits[best])) best = static_cast<int32_t>(i);
  a.out[row] = best;
}

// What argmax_blocks maximises: the logit's order, then the lowest id.
__device__ inline uint64_t candidate(float logit, int64_t id) {
  return uint64_t{order_of(logit)} << 32 | (0xffffffffu - static_cast<uint32_t>(id));
}
__device__ inline uint64_t warp_best(uint64_t best) {
  for (int step = 16; step > 0; step /= 2) {
    const uint64_t other = __shfl_xor_sync(~0u, best, step);
    best = other > best ? other : best;
  }
  return best;
}

constexpr int kSliceWarps = 8, kSliceThreads = 32 * kSliceWarps;
constexpr int64_t kSlice = 16 * kSliceThreads;  // logits a block looks at: 157k make 39 blocks, even at batch 1

__device__ inline int64_t slices_of(int64_t vocab_size) { return (vocab_size + kSlice - 1) / kSlice; }

// The best of one slice of one row. best_of_slice [rows, slices].
__global__ void argmax_slice_kernel(ArgmaxArgs a, uint64_t* best_of_slice) {
  const int64_t slices = slices_of(a.vocab_size), row = blockIdx.x / slices, begin = blockIdx.x % slices * kSlice;
  const int64_t end = min(begin + kSlice, a.vocab_size);
  const float* logits = a.logits + row * a.vocab_size;
  uint64_t best = 0;
#pragma unroll 4
  for (int64_t i = begin + threadIdx.x; i < end; i += kSliceThreads) {
    const uint64_t mine = candidate(logits[i], i);
    best = mine > best ? mine : best;
  }
  SharedArena arena;
  uint64_t* best_of_warp = arena.take<uint64_t>(kSliceWarps);
  best = warp_best(best);
  if (threadIdx.x % 32 == 0) best_of_warp[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x >= 32) return;
  best = warp_best(threadIdx.x < kSliceWarps ? best_of_warp[threadIdx.x] : 0);
  if (threadIdx.x == 0) best_of_slice[blockIdx.x] = best;
}

// A warp per row.
__global__ void argmax_combine_kernel(ArgmaxArgs a, const uint64_t* best_of_slice) {
  const int64_t slices = slices_of(a.vocab_size), row = blockIdx.x;
  uint64_t best = 0;
  for (int64_t s = threadIdx.x; s < slices; s += 32) {
    const uint64_t mine = best_of_slice[row * slices + s];
    best = mine > best ? mine : best;
  }
  best = warp_best(best);
  if (threadIdx.x == 0) a.out[row] = static_cast<int32_t>(0xffffffffu - static_cast<uint32_t>(best));
}

// --- sample ---

// Every probability is an integer here: weight = floor(2^44 exp((logit - largest) / temperature)), so that sums are the
// same in whatever order, and what was drawn is the same on however many threads. 2^18 tokens stay below 2^62; what is
// 2^-44 times as likely as the likeliest token is never drawn.
constexpr float kWeightOne = 17592186044416.0f;

// The high 64 bits of a product; `b` below 2^63.
__device__ inline uint64_t multiply_high(uint64_t a, uint64_t b) {
  const uint64_t a_low = a & 0xffffffffu, a_high = a >> 32, b_low = b & 0xffffffffu, b_high = b >> 32;
  const uint64_t middle = a_high * b_low + (a_low * b_low >> 32), low = (middle & 0xffffffffu) + a_low * b_high;
  return a_high * b_high + (middle >> 32) + (low >> 32);
}

constexpr int kMaxWarps = 32;

// A block that works on one row. Each warp has a range of ids of its own, so that the order of warps is that of ids.
struct Row {
  const float* logits;
  int64_t vocab_size, begin, end;  // ids of this warp
  uint64_t* total_of_warp;         // [kMaxWarps], shared
  int lane, warp, warps;

  // f(id) of all ids, put together by `join`, to every thread.
  template <class F, class Join> __device__ uint64_t reduce(const F& f, const Join& join) const {
    uint64_t mine = 0;
    for (int64_t i = begin + lane; i < end; i += 32) mine = join(mine, f(i));
    for (int step = 16; step > 0; step /= 2) mine = join(mine, __shfl_xor_sync(~0u, mine, step));
    __syncthreads();  // everybody has read the totals of the time before
    if (lane == 0) total_of_warp[warp] = mine;
    __syncthreads();
    uint64_t all = 0;
    for (int w = 0; w < warps; ++w) all = join(all, total_of_warp[w]);
    return all;
  }
  template <class F> __device__ uint64_t sum(const F& f) const {
    return reduce(f, [](uint64_t a, uint64_t b) { return a + b; });
  }
  template <class F> __device__ uint64_t largest(const F& f) const {
    return reduce(f, [](uint64_t a, uint64_t b) { return a > b ? a : b; });
  }

  // The first id at which the running sum of f exceeds `target`, to every thread, 0 if none; `found`: a shared word.
  template <class F> __device__ int64_t first_beyond(uint64_t target, const F& f, int64_t* found) const {
    if (threadIdx.x == 0) *found = 0;
    sum(f);
    uint64_t before = 0;
    for (int w = 0; w < warp; ++w) before += total_of_warp[w];
    if (before <= target && target < before + total_of_warp[warp]) {  // this warp's: all its lanes come along
      for (int64_t first = begin; first < end && before <= target; first += 32) {
        const int64_t i = first + lane;
        uint64_t up_to = i < end ? f(i) : 0;
        for (int step = 1; step < 32; step *= 2) {
          const uint64_t other = __shfl_up_sync(~0u, up_to, step);
          if (lane >= step) up_to += other;
        }
        const unsigned beyond = __ballot_sync(~0u, before + up_to > target);
        if (beyond != 0 && lane == 0) *found = first + __ffs(static_cast<int>(beyond)) - 1;
        before += __shfl_sync(~0u, up_to, 31);
      }
    }
    __syncthreads();
    return *found;
  }

  // The largest threshold with sum of f(id) over ids of that order or above >= need, bit by bit; at most `highest`.
  template <class F> __device__ uint32_t threshold(uint64_t need, uint32_t highest, const F& f) const {
    uint32_t found = 0;
    for (uint32_t bit = 0x80000000u; bit != 0; bit >>= 1) {
      const uint32_t trial = found | bit;
      if (trial > highest) continue;
      if (sum([&](int64_t i) { return order_of(logits[i]) >= trial ? f(i) : 0; }) >= need) found = trial;
    }
    return found;
  }
};

// One block per row. Filters in the order of kernels.h, each one a threshold on the logit; nothing is sorted.
__global__ void sample_kernel(SampleArgs a) {
  SharedArena arena;
  uint64_t* total_of_warp = arena.take<uint64_t>(kMaxWarps);
  int64_t* found = arena.take<int64_t>(2);
  const float* logits = a.logits + blockIdx.x * a.vocab_size;
  const int warps = static_cast<int>(blockDim.x / 32), warp = static_cast<int>(threadIdx.x / 32);
  const int64_t share = (a.vocab_size + warps - 1) / warps, begin = min(warp * share, a.vocab_size);
  const Row row{
      logits, a.vocab_size, begin, min(begin + share, a.vocab_size), total_of_warp, static_cast<int>(threadIdx.x % 32),
      warp,   warps};

  // The largest logit has weight one whatever it is (infinite, too).
  const auto highest = static_cast<uint32_t>(row.largest([=](int64_t i) -> uint64_t { return order_of(logits[i]); }));
  const float largest = __uint_as_float(highest & 0x80000000u ? highest & 0x7fffffffu : ~highest);
  const auto weight = [=](int64_t i) -> uint64_t {
    const float x = logits[i];
    if (x != x) return 0;
    const float relative = x == largest ? 1.0f : expf((x - largest) / a.temperature);
    return static_cast<uint64_t>(relative * kWeightOne);
  };

  uint32_t lowest = 1;  // order of the least likely token that stays
  if (a.top_k > 0 && a.top_k < a.vocab_size)
    lowest = max(lowest, row.threshold(static_cast<uint64_t>(a.top_k), highest, [](int64_t) -> uint64_t { return 1; }));
  int64_t last_of_lowest = a.vocab_size;  // of the tokens just at the threshold those up to this id stay
  if (a.top_p < 1) {
    const auto kept = [=](int64_t i) -> uint64_t { return order_of(logits[i]) >= lowest ? weight(i) : 0; };
    const uint64_t all = row.sum(kept);
    const auto wanted = static_cast<uint64_t>(ceil(static_cast<double>(a.top_p) * static_cast<double>(all)));
    const uint64_t need = min(max(wanted, uint64_t{1}), all);
    lowest = row.threshold(need, highest, kept);
    const uint64_t above = row.sum([=](int64_t i) { return order_of(logits[i]) > lowest ? weight(i) : 0; });
    last_of_lowest = row.first_beyond(
        need - above - 1, [=](int64_t i) { return order_of(logits[i]) == lowest ? weight(i) : 0; }, found);
  }
  const uint64_t least = static_cast<uint64_t>(a.min_p * kWeightOne);
  const auto left = [=](int64_t i) -> uint64_t {
    const uint32_t order = order_of(logits[i]);
    const uint64_t mine = order > lowest || (order == lowest && i <= last_of_lowest) ? weight(i) : 0;
    return mine >= least ? mine : 0;
  };

  const uint64_t total = row.sum(left);
  const uint64_t key = random_key(a.seeds[blockIdx.x], "sample");
  const uint64_t target = multiply_high(random_bits(key, static_cast<uint64_t>(a.counters[blockIdx.x])), total);
  const int64_t drawn = row.first_beyond(target, left, found + 1);
  if (threadIdx.x == 0) a.out[blockIdx.x] = static_cast<int32_t>(drawn);
}

// --- advance ---

__global__ void advance_kernel(AdvanceArgs a) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < a.count) a.pieces[i].position += a.pieces[i].rows;
}

}  // namespace

// A thread per row.
void argmax_plain(const ArgmaxArgs& a, Stream stream) {
  launch(argmax_plain_kernel, dim3(static_cast<unsigned>((a.rows + 31) / 32)), dim3(32), 0, stream, a);
}

// Two kernels: blocks over slices of the vocabulary, so that one row fills many SMs, then a warp per row over the
// slices' winners. Order and id are one integer, so that the maximum is the same in whatever order. Floor: 4 bytes a
// logit, 0.15 us a row of 157k at 4.3 TB/s; one row costs the latency of two launches.
int64_t argmax_blocks_workspace(const ArgmaxArgs& a, const Device&) {
  return a.rows * ((a.vocab_size + kSlice - 1) / kSlice) * static_cast<int64_t>(sizeof(uint64_t));
}
void argmax_blocks(const ArgmaxArgs& a, Stream stream) {
  const int64_t slices = (a.vocab_size + kSlice - 1) / kSlice;
  uint64_t* best_of_slice = static_cast<uint64_t*>(a.workspace);
  launch(argmax_slice_kernel, dim3(static_cast<unsigned>(a.rows * slices)), dim3(kSliceThreads), 256, stream, a,
         best_of_slice);
  launch(argmax_combine_kernel, dim3(static_cast<unsigned>(a.rows)), dim3(32), 0, stream, a, best_of_slice);
}

// A block per row, as many warps as there is work for: the result does not depend on how many.
void sample_plain(const SampleArgs& a, Stream stream) {
  const int64_t wanted = (a.vocab_size + 255) / 256, warps = wanted < kMaxWarps ? wanted : kMaxWarps;
  launch(sample_kernel, dim3(static_cast<unsigned>(a.rows)), dim3(32 * static_cast<unsigned>(warps)), 512, stream, a);
}

void advance_plain(const AdvanceArgs& a, Stream stream) {
  launch(advance_kernel, dim3((static_cast<unsigned>(a.count) + 127) / 128), dim3(128), 0, stream, a);
}

}  // namespace ringbench::RINGBENCH_BACKEND
