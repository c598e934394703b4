// kernels.cpp: THE TABLE. For every operator its variants, best first, the plain one last; what each assumes stands in
// its line. A kernel is a function in the operator's .cu, declared here, where alone it is used.
#include "cuda/kernels.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace ringbench::RINGBENCH_BACKEND {

template <class Real> Cost GroupedGemmArgs<Real>::cost() const {
  const double E = num_experts, p = static_cast<double>(pairs), c = static_cast<double>(columns),
               i = static_cast<double>(inner), wide = swiglu ? 2 : 1;
  const double hit = E * (1 - std::pow(1 - 1 / E, p));
  return {2 * p * c * wide * i, sizeof(Real) * (hit * c * wide * i + p * i / (pair_of_row ? k : 1) + p * c)};
}
template Cost GroupedGemmArgs<float>::cost() const;
template Cost GroupedGemmArgs<bf16>::cost() const;

namespace {

// For variants that do everything.
template <class Args> bool any(const Args&, const Device&) { return true; }

}  // namespace

// Variants of one operator: declarations, then the table. Sections in the order of kernels.h.

// --- gather, rms_norm, qk_norm_rope, group_norm_gate (norm.cu, rope.cu, gather.cu) ---

template <class Real> void gather_plain(const GatherArgs<Real>&, Stream);
template <class Real> void rms_norm_plain(const RmsNormArgs<Real>&, Stream);
template <class Real> void rms_norm_vector(const RmsNormArgs<Real>&, Stream);
template <class Real> void qk_norm_rope_plain(const QkNormRopeArgs<Real>&, Stream);
template <class Real> void qk_norm_rope_warp(const QkNormRopeArgs<Real>&, Stream);
template <class Real> void group_norm_gate_plain(const GroupNormGateArgs<Real>&, Stream);
template <class Real> void group_norm_gate_warp(const GroupNormGateArgs<Real>&, Stream);

namespace {

// Values in 16 bytes, and pointers that can be read so (null can).
template <class Real> constexpr int64_t vector_of = 16 / sizeof(Real);
template <class... T> bool aligned16(const T*... pointers) {
  return (reinterpret_cast<uintptr_t>(pointers) | ...) % 16 == 0;
}

template <class Real> std::span<const Kernel<GatherArgs<Real>>> gather_table() {
  static const Kernel<GatherArgs<Real>> table[] = {{"plain", any<GatherArgs<Real>>, gather_plain<Real>}};
  return table;
}

template <class Real> std::span<const Kernel<RmsNormArgs<Real>>> rms_norm_table() {
  using Args = RmsNormArgs<Real>;
  static const Kernel<Args> table[] = {
      {"vector",  // a row: at most 4 vectors of each of 256 threads
       [](const Args& a, const Device&) {
         return a.width % vector_of<Real> == 0 && a.width / vector_of<Real> <= 1024 &&
                aligned16(a.out, a.residual, a.x, a.weight);
       },
       rms_norm_vector<Real>},
      {"plain", any<Args>, rms_norm_plain<Real>},
  };
  return table;
}

template <class Real> std::span<const Kernel<QkNormRopeArgs<Real>>> qk_norm_rope_table() {
  using Args = QkNormRopeArgs<Real>;
  static const Kernel<Args> table[] = {
      {"warp",  // a head: one vector of each of 4, 8, 16 or 32 lanes; halves of rotary_dim: whole vectors
       [](const Args& a, const Device&) {
         const int64_t lanes = a.head_dim / vector_of<Real>;
         return a.head_dim % vector_of<Real> == 0 && (lanes == 4 || lanes == 8 || lanes == 16 || lanes == 32) &&
                a.rotary_dim % (2 * vector_of<Real>) == 0 && a.stride % vector_of<Real> == 0 &&
                aligned16(a.qkv, a.k_cache, a.v_cache, a.q_norm, a.k_norm);
       },
       qk_norm_rope_warp<Real>},
      {"plain", any<Args>, qk_norm_rope_plain<Real>},
  };
  return table;
}

template <class Real> std::span<const Kernel<GroupNormGateArgs<Real>>> group_norm_gate_table() {
  using Args = GroupNormGateArgs<Real>;
  static const Kernel<Args> table[] = {
      {"warp",  // a group: at most 8 vectors of each of 32 lanes
       [](const Args& a, const Device&) {
         const int64_t size = a.width / a.groups;
         return size % vector_of<Real> == 0 && size / vector_of<Real> <= 256 && a.gate_stride % vector_of<Real> == 0 &&
                aligned16(a.out, a.o, a.gate, a.weight);
       },
       group_norm_gate_warp<Real>},
      {"plain", any<Args>, group_norm_gate_plain<Real>},
  };
  return table;
}

}  // namespace

template <> std::span<const Kernel<GatherArgs<bf16>>> kernels() { return gather_table<bf16>(); }
template <> std::span<const Kernel<GatherArgs<float>>> kernels() { return gather_table<float>(); }
template <> std::span<const Kernel<RmsNormArgs<bf16>>> kernels() { return rms_norm_table<bf16>(); }
template <> std::span<const Kernel<RmsNormArgs<float>>> kernels() { return rms_norm_table<float>(); }
template <> std::span<const Kernel<QkNormRopeArgs<bf16>>> kernels() { return qk_norm_rope_table<bf16>(); }
template <> std::span<const Kernel<QkNormRopeArgs<float>>> kernels() { return qk_norm_rope_table<float>(); }
template <> std::span<const Kernel<GroupNormGateArgs<bf16>>> kernels() { return group_norm_gate_table<bf16>(); }
template <> std::span<const Kernel<GroupNormGateArgs<float>>> kernels() { return group_norm_gate_table<float>(); }

// --- linear_attention_prefill, linear_attention_decode (linear_attention.cu) ---

template <class Real> void linear_prefill_recurrent(const LinearPrefillArgs<Real>&, Stream);
template <class Real> void linear_prefill_chunk(const LinearPrefillArgs<Real>&, Stream);
void linear_prefill_chunk_mma(const LinearPrefillArgs<bf16>&, Stream);
void linear_prefill_chunk_mma_segments(const LinearPrefillArgs<bf16>&, Stream);
int64_t linear_prefill_segments_workspace(const LinearPrefillArgs<bf16>&, const Device&);
template <class Real> void linear_decode_recurrent(const LinearDecodeArgs<Real>&, Stream);
template <class Real> void linear_decode_warp(const LinearDecodeArgs<Real>&, Stream);

namespace {

// Tiles of 64 x 64 of a state, and rows that can be copied 16 bytes at a time.
bool linear_mma(const LinearPrefillArgs<bf16>& a) {
  const auto aligned = [](const bf16* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  return (a.head_dim == 64 || a.head_dim == 128) && a.scale > 0 && a.stride % 8 == 0 && aligned(a.q) && aligned(a.k) &&
         aligned(a.v);
}
template <class Real> bool linear_chunk(const LinearPrefillArgs<Real>& a, const Device&) { return a.head_dim <= 128; }
template <class Real> bool linear_warp(const LinearDecodeArgs<Real>& a, const Device&) {
  return (a.head_dim == 64 || a.head_dim == 128) && a.batch.longest <= 1;
}

}  // namespace

template <> std::span<const Kernel<LinearPrefillArgs<bf16>>> kernels() {
  static const Kernel<LinearPrefillArgs<bf16>> table[] = {
      // Where whole sequences are too few to fill the card (two blocks per SM) and long enough to be cut.
      {"chunk_mma_segments",
       [](const LinearPrefillArgs<bf16>& a, const Device& device) {
         return linear_mma(a) && a.batch.longest >= 2048 &&
                int64_t{a.batch.count} * a.heads * (a.head_dim / 64) < 2 * device.sm_count;
       },
       linear_prefill_chunk_mma_segments, linear_prefill_segments_workspace},
      {"chunk_mma", [](const LinearPrefillArgs<bf16>& a, const Device&) { return linear_mma(a); },
       linear_prefill_chunk_mma},
      {"chunk", linear_chunk<bf16>, linear_prefill_chunk<bf16>},
      {"recurrent", any<LinearPrefillArgs<bf16>>, linear_prefill_recurrent<bf16>},
  };
  return table;
}
template <> std::span<const Kernel<LinearPrefillArgs<float>>> kernels() {
  static const Kernel<LinearPrefillArgs<float>> table[] = {
      {"chunk", linear_chunk<float>, linear_prefill_chunk<float>},
      {"recurrent", any<LinearPrefillArgs<float>>, linear_prefill_recurrent<float>},
  };
  return table;
}

template <> std::span<const Kernel<LinearDecodeArgs<bf16>>> kernels() {
  static const Kernel<LinearDecodeArgs<bf16>> table[] = {
      {"warp", linear_warp<bf16>, linear_decode_warp<bf16>},
      {"recurrent", any<LinearDecodeArgs<bf16>>, linear_decode_recurrent<bf16>},
  };
  return table;
}
template <> std::span<const Kernel<LinearDecodeArgs<float>>> kernels() {
  static const Kernel<LinearDecodeArgs<float>> table[] = {
      {"warp", linear_warp<float>, linear_decode_warp<float>},
      {"recurrent", any<LinearDecodeArgs<float>>, linear_decode_recurrent<float>},
  };
  return table;
}

// --- softmax_attention_prefill, softmax_attention_decode (softmax_attention.cu, softmax_attention_sm90.cu) ---

template <class Real> void softmax_prefill_plain(const SoftmaxPrefillArgs<Real>&, Stream);
void softmax_prefill_flash_mma(const SoftmaxPrefillArgs<bf16>&, Stream);
void softmax_prefill_flash_wgmma(const SoftmaxPrefillArgs<bf16>&, Stream);

template <class Args> bool softmax_plain_supports(const Args& a, const Device&) { return a.head_dim <= 256; }

template <> std::span<const Kernel<SoftmaxPrefillArgs<bf16>>> kernels() {
  using Args = SoftmaxPrefillArgs<bf16>;
  static const Kernel<Args> table[] = {
      {"flash_wgmma",
       [](const Args& a, const Device& device) {
         return (a.head_dim == 64 || a.head_dim == 128) && a.stride % 8 == 0 && aligned16(a.q, a.k_cache, a.v_cache) &&
                device.compute_capability == 90 && int64_t{a.slots} * a.kv_heads * a.max_tokens < int64_t{1} << 31;
       },
       softmax_prefill_flash_wgmma},
      {"flash_mma",
       [](const Args& a, const Device& device) {
         return (a.head_dim == 64 || a.head_dim == 128) && a.stride % 8 == 0 && aligned16(a.q, a.k_cache, a.v_cache) &&
                device.compute_capability >= 80;
       },
       softmax_prefill_flash_mma},
      {"plain", softmax_plain_supports<Args>, softmax_prefill_plain<bf16>},
  };
  return table;
}
template <> std::span<const Kernel<SoftmaxPrefillArgs<float>>> kernels() {
  using Args = SoftmaxPrefillArgs<float>;
  static const Kernel<Args> table[] = {{"plain", softmax_plain_supports<Args>, softmax_prefill_plain<float>}};
  return table;
}

template <class Real> void softmax_decode_plain(const SoftmaxDecodeArgs<Real>&, Stream);
template <class Real> void softmax_decode_split_kv(const SoftmaxDecodeArgs<Real>&, Stream);
void softmax_decode_split_kv_mma(const SoftmaxDecodeArgs<bf16>&, Stream);
template <class Real> int64_t softmax_decode_split_workspace(const SoftmaxDecodeArgs<Real>&, const Device&);

template <class Real> bool softmax_split_kv_supports(const SoftmaxDecodeArgs<Real>& a, const Device&) {
  const int bytes = a.head_dim * static_cast<int>(sizeof(Real));
  return (bytes == 128 || bytes == 256 || bytes == 512) && aligned16(a.k_cache, a.v_cache);
}

template <> std::span<const Kernel<SoftmaxDecodeArgs<bf16>>> kernels() {
  using Args = SoftmaxDecodeArgs<bf16>;
  static const Kernel<Args> table[] = {
      {"split_kv_mma",
       [](const Args& a, const Device& device) {
         return (a.head_dim == 64 || a.head_dim == 128) && a.heads / a.kv_heads <= 8 && a.stride % 2 == 0 &&
                aligned16(a.q, a.k_cache, a.v_cache) && device.compute_capability >= 80;
       },
       softmax_decode_split_kv_mma, softmax_decode_split_workspace<bf16>},
      {"split_kv", softmax_split_kv_supports<bf16>, softmax_decode_split_kv<bf16>,
       softmax_decode_split_workspace<bf16>},
      {"plain", softmax_plain_supports<Args>, softmax_decode_plain<bf16>},
  };
  return table;
}
template <> std::span<const Kernel<SoftmaxDecodeArgs<float>>> kernels() {
  using Args = SoftmaxDecodeArgs<float>;
  static const Kernel<Args> table[] = {
      {"split_kv", softmax_split_kv_supports<float>, softmax_decode_split_kv<float>,
       softmax_decode_split_workspace<float>},
      {"plain", softmax_plain_supports<Args>, softmax_decode_plain<float>},
  };
  return table;
}

// --- gemm (gemm.cu, gemm_cublas.cpp, gemm_emulated.cpp) ---

template <class Real, class Out> void gemm_plain(const GemmArgs<Real, Out>&, Stream);
template <class Real, class Out> void gemm_gemv(const GemmArgs<Real, Out>&, Stream);
template <class Out> void gemm_gemv_mma(const GemmArgs<bf16, Out>&, Stream);
#if defined(RINGBENCH_GPU)
template <class Real, class Out> void gemm_cublas(const GemmArgs<Real, Out>&, Stream);
template <class Real, class Out> int64_t gemm_cublas_workspace(const GemmArgs<Real, Out>&, const Device&);
#else
template <class Real, class Out> void gemm_host(const GemmArgs<Real, Out>&, Stream);
#endif

namespace {

// Few rows of whole vectors.
template <class Real, class Out> bool gemv_supports(const GemmArgs<Real, Out>& a, const Device&) {
  return a.rows <= 16 && a.inner % vector_of<Real> == 0 && a.x_stride % vector_of<Real> == 0 && aligned16(a.x, a.w);
}

template <class Out> std::span<const Kernel<GemmArgs<bf16, Out>>> gemm_bf16_table() {
  using Args = GemmArgs<bf16, Out>;
  static const Kernel<Args> table[] = {
#if !defined(RINGBENCH_GPU)
    {"host", any<Args>, gemm_host<bf16, Out>},
#endif
    // From three rows on, by estimate: two multiplications and a conversion per weight are what gemv has time for.
    {"gemv_mma",
     [](const Args& a, const Device& device) {
       return a.rows >= 3 && gemv_supports(a, device) && device.compute_capability >= 80;
     },
     gemm_gemv_mma<Out>},
    {"gemv", gemv_supports<bf16, Out>, gemm_gemv<bf16, Out>},
#if defined(RINGBENCH_GPU)
    {"cublas", any<Args>, gemm_cublas<bf16, Out>, gemm_cublas_workspace<bf16, Out>},
#endif
    {"plain", any<Args>, gemm_plain<bf16, Out>},
  };
  return table;
}

}  // namespace

template <> std::span<const Kernel<GemmArgs<bf16>>> kernels() { return gemm_bf16_table<bf16>(); }
template <> std::span<const Kernel<GemmArgs<bf16, float>>> kernels() { return gemm_bf16_table<float>(); }
template <> std::span<const Kernel<GemmArgs<float>>> kernels() {
  using Args = GemmArgs<float>;
  static const Kernel<Args> table[] = {
#if !defined(RINGBENCH_GPU)
    {"host", any<Args>, gemm_host<float, float>},
#endif
    {"gemv", gemv_supports<float, float>, gemm_gemv<float, float>},
#if defined(RINGBENCH_GPU)
    {"cublas", any<Args>, gemm_cublas<float, float>, gemm_cublas_workspace<float, float>},
#endif
    {"plain", any<Args>, gemm_plain<float, float>},
  };
  return table;
}

// --- swiglu, moe_route, moe_permute, moe_gemm, moe_combine (moe.cu, moe_gemm.cu, moe_gemm_sm90.cu) ---

void moe_route_plain(const RouteArgs&, Stream);
void moe_route_warp(const RouteArgs&, Stream);
void moe_permute_plain(const PermuteArgs&, Stream);
void moe_permute_blocks(const PermuteArgs&, Stream);
int64_t moe_permute_blocks_workspace(const PermuteArgs&, const Device&);
template <class Real> void moe_gemm_plain(const GroupedGemmArgs<Real>&, Stream);
template <class Real> void moe_gemm_gemv(const GroupedGemmArgs<Real>&, Stream);
void moe_gemm_mma_decode(const GroupedGemmArgs<bf16>&, Stream);
void moe_gemm_mma(const GroupedGemmArgs<bf16>&, Stream);
void moe_gemm_wgmma(const GroupedGemmArgs<bf16>&, Stream);
template <class Real> void moe_combine_plain(const CombineArgs<Real>&, Stream);
template <class Real> void moe_combine_vector(const CombineArgs<Real>&, Stream);
template <class Real> void swiglu_plain(const SwigluArgs<Real>&, Stream);
template <class Real> void swiglu_vector(const SwigluArgs<Real>&, Stream);

namespace {

// Rows of whole 16-byte vectors, from the first on.
template <class Real> bool vectors(int64_t width, const Real* rows) {
  return width * static_cast<int64_t>(sizeof(Real)) % 16 == 0 && reinterpret_cast<uintptr_t>(rows) % 16 == 0;
}
template <class Real> bool moe_vectors(const GroupedGemmArgs<Real>& a) {
  return vectors(a.inner, a.x) && vectors(a.inner, a.w);
}
// Tiles of 64 pairs or more, one in each row of a grid.
bool moe_tiles(const GroupedGemmArgs<bf16>& a, const Device& device) {
  return moe_vectors(a) && a.pairs / 64 + a.num_experts <= 65535 && device.compute_capability >= 80;
}
// Pairs per expert, of the experts that can have any.
template <class Real> int64_t pairs_per_expert(const GroupedGemmArgs<Real>& a) {
  return a.pairs / std::min<int64_t>(a.num_experts, std::max<int64_t>(a.pairs, 1));
}
template <class Real> bool combine_vectors(const CombineArgs<Real>& a, const Device&) {
  return vectors(a.width, a.each) && vectors(a.width, a.out) && vectors(a.width, a.shared);
}
template <class Real> bool swiglu_vectors(const SwigluArgs<Real>& a, const Device&) {
  return vectors(a.width, a.gate_up) && vectors(a.width, a.out);
}

}  // namespace

template <> std::span<const Kernel<RouteArgs>> kernels() {
  static const Kernel<RouteArgs> table[] = {
      {"warp",
       [](const RouteArgs& a, const Device&) {
         const int E = a.num_experts, g = a.n_group;
         const bool whole_lanes = E >= 32 && (E & (E - 1)) == 0 && g <= 32 && (g & (g - 1)) == 0;
         return E <= 512 && a.k <= 32 && (E <= 64 || vectors(E, a.logits)) && (g <= 1 || whole_lanes);
       },
       moe_route_warp},
      {"plain", any<RouteArgs>, moe_route_plain},
  };
  return table;
}

template <> std::span<const Kernel<PermuteArgs>> kernels() {
  static const Kernel<PermuteArgs> table[] = {
      // Nine counters an expert in shared memory.
      {"blocks", [](const PermuteArgs& a, const Device&) { return a.num_experts <= 1024; }, moe_permute_blocks,
       moe_permute_blocks_workspace},
      {"plain", any<PermuteArgs>, moe_permute_plain},
  };
  return table;
}

template <> std::span<const Kernel<GroupedGemmArgs<bf16>>> kernels() {
  using Args = GroupedGemmArgs<bf16>;
  static const Kernel<Args> table[] = {
      // The limits, in pairs per expert, are estimates: gemv runs out of arithmetic at about 4 pairs of one expert,
      // mma_decode reads weights twice beyond 64. Both leave room for experts with more than their share.
      {"gemv", [](const Args& a, const Device&) { return moe_vectors(a) && pairs_per_expert(a) <= 1; },
       moe_gemm_gemv<bf16>},
      {"mma_decode",
       [](const Args& a, const Device& device) { return moe_tiles(a, device) && pairs_per_expert(a) <= 40; },
       moe_gemm_mma_decode},
      {"wgmma",
       [](const Args& a, const Device& device) {
         return moe_tiles(a, device) && vectors(a.columns, a.out) && device.compute_capability == 90;
       },
       moe_gemm_wgmma},
      {"mma", [](const Args& a, const Device& device) { return moe_tiles(a, device) && vectors(a.columns, a.out); },
       moe_gemm_mma},
      {"plain", any<Args>, moe_gemm_plain<bf16>},
  };
  return table;
}
template <> std::span<const Kernel<GroupedGemmArgs<float>>> kernels() {
  using Args = GroupedGemmArgs<float>;
  static const Kernel<Args> table[] = {
      {"gemv", [](const Args& a, const Device&) { return moe_vectors(a); }, moe_gemm_gemv<float>},
      {"plain", any<Args>, moe_gemm_plain<float>},
  };
  return table;
}

template <> std::span<const Kernel<CombineArgs<bf16>>> kernels() {
  static const Kernel<CombineArgs<bf16>> table[] = {
      {"vector", combine_vectors<bf16>, moe_combine_vector<bf16>},
      {"plain", any<CombineArgs<bf16>>, moe_combine_plain<bf16>},
  };
  return table;
}
template <> std::span<const Kernel<CombineArgs<float>>> kernels() {
  static const Kernel<CombineArgs<float>> table[] = {
      {"vector", combine_vectors<float>, moe_combine_vector<float>},
      {"plain", any<CombineArgs<float>>, moe_combine_plain<float>},
  };
  return table;
}

template <> std::span<const Kernel<SwigluArgs<bf16>>> kernels() {
  static const Kernel<SwigluArgs<bf16>> table[] = {
      {"vector", swiglu_vectors<bf16>, swiglu_vector<bf16>},
      {"plain", any<SwigluArgs<bf16>>, swiglu_plain<bf16>},
  };
  return table;
}
template <> std::span<const Kernel<SwigluArgs<float>>> kernels() {
  static const Kernel<SwigluArgs<float>> table[] = {
      {"vector", swiglu_vectors<float>, swiglu_vector<float>},
      {"plain", any<SwigluArgs<float>>, swiglu_plain<float>},
  };
  return table;
}

// --- argmax, sample, advance, random_fill (sample.cu, random.cu) ---

void argmax_plain(const ArgmaxArgs&, Stream);
void argmax_blocks(const ArgmaxArgs&, Stream);
int64_t argmax_blocks_workspace(const ArgmaxArgs&, const Device&);
void sample_plain(const SampleArgs&, Stream);
void advance_plain(const AdvanceArgs&, Stream);
template <class Real> void random_fill_plain(const RandomFillArgs<Real>&, Stream);

template <> std::span<const Kernel<ArgmaxArgs>> kernels() {
  static const Kernel<ArgmaxArgs> table[] = {
      {"blocks", any<ArgmaxArgs>, argmax_blocks, argmax_blocks_workspace},
      {"plain", any<ArgmaxArgs>, argmax_plain},
  };
  return table;
}
template <> std::span<const Kernel<SampleArgs>> kernels() {
  static const Kernel<SampleArgs> table[] = {{"plain", any<SampleArgs>, sample_plain}};
  return table;
}
template <> std::span<const Kernel<AdvanceArgs>> kernels() {
  static const Kernel<AdvanceArgs> table[] = {{"plain", any<AdvanceArgs>, advance_plain}};
  return table;
}
template <> std::span<const Kernel<RandomFillArgs<bf16>>> kernels() {
  static const Kernel<RandomFillArgs<bf16>> table[] = {{"plain", any<RandomFillArgs<bf16>>, random_fill_plain<bf16>}};
  return table;
}
template <> std::span<const Kernel<RandomFillArgs<float>>> kernels() {
  static const Kernel<RandomFillArgs<float>> table[] = {
      {"plain", any<RandomFillArgs<float>>, random_fill_plain<float>}};
  return table;
}

}  // namespace ringbench::RINGBENCH_BACKEND
