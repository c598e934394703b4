// kernels.h: what every operator takes, with shapes; what it must at least cost; and the table of the variants that can
// run it (kernels.cpp). The same names serve the GPU and the emulator (gpu.h).
//
// Letters in shapes: rows, the tokens of one pass, of one sequence or many; d, head_dim; n, query heads; kv, key/value
// heads; E, experts; k, experts a token goes to. Real is the type values are stored in, bf16 or float; arithmetic is
// float everywhere. Small vectors (norm weights, biases, sinks) are float. All pointers are device memory.
#pragma once

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "cuda/gpu.h"
#include "reference/bf16.h"
#include "reference/config.h"
#include "reference/random.h"

namespace ringbench::RINGBENCH_BACKEND {

// The floor: bytes that must cross device memory at least once and FLOPs that must happen, whatever the variant.
struct Cost {
  double flops = 0, bytes = 0;
};

// --- The rows of a pass ---

// Consecutive rows that belong to one sequence.
struct Piece {
  int32_t slot = 0;      // the sequence: which state, which cache
  int32_t rows = 0;      // its tokens in this pass
  int64_t row = 0;       // of its first token in this pass
  int64_t position = 0;  // of its first token in its sequence
};

// All rows of a pass. Pieces are in device memory, so that a captured graph can be replayed at other positions: what a
// kernel needs to know of them it reads there. The host's numbers only size grids and workspaces.
struct Batch {
  const Piece* pieces = nullptr;          // [count]
  const int32_t* piece_of_row = nullptr;  // [rows]
  int count = 0;
  int64_t rows = 0;
  int64_t longest = 0;  // rows of the longest piece; 1: decode
  int64_t deepest = 0;  // upper bound of position + rows, over all pieces (in a graph: what the caches can hold)
};

// --- Embedding, norms, rotation ---

// out[r] = table[index[r]]: word embeddings, and the rows whose logits are wanted.
template <class Real> struct GatherArgs {
  static constexpr std::string_view op = "gather";
  Real* out = nullptr;             // [rows, width]
  const Real* table = nullptr;     // [any, width]
  const int32_t* index = nullptr;  // [rows]
  int64_t rows = 0, width = 0;
  Cost cost() const { return {0, 2.0 * sizeof(Real) * static_cast<double>(rows * width)}; }
};

// residual += x (where there is an x);  out = residual / sqrt(mean(residual^2) + eps) * weight (where there is an out).
// The sum is rounded to Real before it is normed: what is normed is what the next layer will see.
template <class Real> struct RmsNormArgs {
  static constexpr std::string_view op = "rms_norm";
  Real* out = nullptr;            // [rows, width] or null
  Real* residual = nullptr;       // [rows, width]; written where x is given
  const Real* x = nullptr;        // [rows, width] or null
  const float* weight = nullptr;  // [width]; null only where out is
  int64_t rows = 0, width = 0;
  float eps = 0;
  Cost cost() const {
    const double size = static_cast<double>(rows * width);
    return {4 * size, static_cast<double>(sizeof(Real)) * size * (1 + (x ? 2 : 0) + (out ? 1 : 0))};
  }
};

// Between the QKV projection and attention: SiLU where the model has it, RMSNorm of every q and k head, rotation of the
// first rotary_dim dims of q and k (half-split pairs: reference/rope.h), keys and values into the cache.
template <class Real> struct QkNormRopeArgs {
  static constexpr std::string_view op = "qk_norm_rope";
  Real* qkv = nullptr;  // [rows, n + 2 kv, d] in and out, rows `stride` elements apart; q stays here
  // Softmax layers: [slots, kv, max_tokens, d]; k and v go there. Null (linear layers): they stay in qkv.
  Real *k_cache = nullptr, *v_cache = nullptr;
  const float *q_norm = nullptr, *k_norm = nullptr;  // [d], shared by all heads; null: no norm
  // [rotary_dim / 2]: what a position adds to the angle of pair j, as a fraction of a turn times 2^64. An integer
  // product wraps exactly, so that an angle at position 500,000 is as good as one at 5 (float: off by 1e-2 rad).
  const uint64_t* turns = nullptr;
  float attention_factor = 1;  // YaRN: multiplies cos and sin
  float eps = 0;
  bool silu = false;
  int heads = 0, kv_heads = 0, head_dim = 0;
  int rotary_dim = 0;  // 0: no rotation
  int64_t stride = 0, max_tokens = 0;
  Batch batch;
  Cost cost() const {
    const double all = static_cast<double>(batch.rows) * (heads + 2.0 * kv_heads) * head_dim;
    return {10 * all, 2.0 * sizeof(Real) * all};
  }
};

// Linear layers, after attention: out = RMSNorm of every group of o, times weight, times sigmoid(gate). Norm, then
// gate.
template <class Real> struct GroupNormGateArgs {
  static constexpr std::string_view op = "group_norm_gate";
  Real* out = nullptr;            // [rows, width]
  const Real* o = nullptr;        // [rows, width]
  const Real* gate = nullptr;     // [rows, width], rows `gate_stride` elements apart; before the sigmoid
  const float* weight = nullptr;  // [width]
  int64_t rows = 0, width = 0, gate_stride = 0;
  int groups = 1;  // of width / groups channels each
  float eps = 0;
  Cost cost() const {
    const double size = static_cast<double>(rows * width);
    return {10 * size, 3.0 * sizeof(Real) * size};
  }
};

// --- Attention ---

// Lightning attention, arXiv:2401.04658, each head h of each sequence on its own state S [d (k), d (v)]:
//   S <- lambda S + k^T v;  o = scale q S, lambda = exp(log_decay[h]).
// Decays of n tokens are exp(n log_decay), never products of lambdas; S is float, always.
template <class Real> struct LinearAttentionArgs {
  Real* o = nullptr;                                    // [rows, n, d]
  float* state = nullptr;                               // [slots, n, d (k), d (v)] in and out
  const Real *q = nullptr, *k = nullptr, *v = nullptr;  // [rows, n or kv, d], rows `stride` elements apart
  const float* log_decay = nullptr;                     // [n], negative
  float scale = 1;                                      // 1 / sqrt(d)
  int heads = 0, kv_heads = 0, head_dim = 0;            // query head h uses key/value head h / (n / kv)
  int64_t stride = 0;
  Batch batch;
  void* workspace = nullptr;  // as many bytes as the variant's workspace() says

  Cost linear_cost(double state_bytes) const {
    const double size = static_cast<double>(batch.rows) * heads * head_dim;
    const double kv = 2 * static_cast<double>(batch.rows) * kv_heads * head_dim;
    return {4 * size * head_dim, sizeof(Real) * (2 * size + kv) + state_bytes};
  }
};
// Pieces of any length. FLOPs are those of the recurrence.
template <class Real> struct LinearPrefillArgs : LinearAttentionArgs<Real> {
  static constexpr std::string_view op = "linear_attention_prefill";
  Cost cost() const {
    return this->linear_cost(8.0 * this->batch.count * this->heads * this->head_dim * this->head_dim);
  }
};
// Pieces of one row each.
template <class Real> struct LinearDecodeArgs : LinearAttentionArgs<Real> {
  static constexpr std::string_view op = "linear_attention_decode";
  Cost cost() const {
    return this->linear_cost(8.0 * this->batch.count * this->heads * this->head_dim * this->head_dim);
  }
};

// Softmax attention of each row over the keys of its own sequence at positions <= its own (with a window: the last
// `window` of them). The cache holds this pass's keys and values already. A sink is one more logit without a value.
template <class Real> struct SoftmaxAttentionArgs {
  Real* o = nullptr;                                     // [rows, n, d]
  const Real* q = nullptr;                               // [rows, n, d], rows `stride` elements apart
  const Real *k_cache = nullptr, *v_cache = nullptr;     // [slots, kv, max_tokens, d]
  const float* sinks = nullptr;                          // [n] or null
  int64_t window = 0;                                    // 0: all keys
  float scale = 1;                                       // 1 / sqrt(d)
  int heads = 0, kv_heads = 0, head_dim = 0, slots = 0;  // query head h uses key/value head h / (n / kv)
  int64_t stride = 0, max_tokens = 0;
  Batch batch;
  void* workspace = nullptr;

  // Exact for one piece that ends at `deepest`; an upper bound for many.
  Cost softmax_cost() const {
    const double rows = static_cast<double>(batch.rows);
    double keys =
        static_cast<double>(batch.deepest) - static_cast<double>(batch.longest - 1) / 2;  // a row's, on average
    double read = static_cast<double>(batch.deepest);
    if (window > 0 && keys > static_cast<double>(window)) keys = static_cast<double>(window);
    if (window > 0 && read > static_cast<double>(window + batch.longest))
      read = static_cast<double>(window + batch.longest);
    return {4 * rows * heads * head_dim * keys,
            sizeof(Real) * (2 * rows * heads * head_dim + 2.0 * batch.count * kv_heads * head_dim * read)};
  }
};
template <class Real> struct SoftmaxPrefillArgs : SoftmaxAttentionArgs<Real> {
  static constexpr std::string_view op = "softmax_attention_prefill";
  Cost cost() const { return this->softmax_cost(); }
};
// Pieces of one row each.
template <class Real> struct SoftmaxDecodeArgs : SoftmaxAttentionArgs<Real> {
  static constexpr std::string_view op = "softmax_attention_decode";
  Cost cost() const { return this->softmax_cost(); }
};

// --- Matrix products and the mixture of experts ---

// out = x w^T + bias. Accumulated in float.
template <class Real, class Out = Real> struct GemmArgs {
  static constexpr std::string_view op = "gemm";
  Out* out = nullptr;           // [rows, columns]
  const Real* x = nullptr;      // [rows, inner], rows `x_stride` elements apart
  const Real* w = nullptr;      // [columns, inner]
  const float* bias = nullptr;  // [columns] or null
  int64_t rows = 0, columns = 0, inner = 0;
  int64_t x_stride = 0;
  void* workspace = nullptr;
  Cost cost() const {
    const double r = static_cast<double>(rows), c = static_cast<double>(columns), i = static_cast<double>(inner);
    return {2 * r * c * i, sizeof(Real) * (r * i + c * i) + sizeof(Out) * r * c};
  }
};

// out = silu(gate) up. With a limit (GPT-OSS): gate at most limit, |up| at most limit, gate sigmoid(alpha gate) (up+1).
template <class Real> struct SwigluArgs {
  static constexpr std::string_view op = "swiglu";
  Real* out = nullptr;            // [rows, width]
  const Real* gate_up = nullptr;  // [rows, 2 width]: all gates, then all ups
  int64_t rows = 0, width = 0;
  float limit = 0, alpha = 1;
  Cost cost() const {
    const double size = static_cast<double>(rows * width);
    return {5 * size, 3.0 * sizeof(Real) * size};
  }
};

// Which experts each row goes to, and with which weights: reference/moe.h, all three routers, lowest index first among
// equals, by falling score. `uniform`: choice j of the t-th token since the first piece's position 0 is expert
// (t k + j) mod E, weights 1/k.
struct RouteArgs {
  static constexpr std::string_view op = "moe_route";
  int32_t* experts = nullptr;          // [rows, k]
  float* weights = nullptr;            // [rows, k]
  const float* logits = nullptr;       // [rows, E]
  const float* expert_bias = nullptr;  // [E] or null: added for the selection only
  Router router = Router::softmax_topk;
  int num_experts = 0, k = 0;
  int n_group = 1, topk_group = 1;
  bool norm_topk_prob = true;
  float routed_scaling_factor = 1;
  bool uniform = false;
  Batch batch;
  Cost cost() const {
    const double rows = static_cast<double>(batch.rows);
    return {10 * rows * num_experts, rows * (4.0 * num_experts + 8.0 * k)};
  }
};

// Sorts (row, choice) pairs by expert, stably: within an expert by rising pair. A pair is row k + choice; below 2^31.
struct PermuteArgs {
  static constexpr std::string_view op = "moe_permute";
  int32_t* offsets = nullptr;        // [E + 1]: first sorted row of each expert
  int32_t* pair_of_row = nullptr;    // [pairs]: which pair a sorted row is
  int32_t* row_of_pair = nullptr;    // [pairs]: the inverse
  int64_t* load = nullptr;           // [E] or null: += pairs of each expert, for statistics
  const int32_t* experts = nullptr;  // [pairs]
  int64_t pairs = 0;
  int num_experts = 0;
  void* workspace = nullptr;
  Cost cost() const { return {0, 12.0 * static_cast<double>(pairs)}; }
};

// One product per expert: sorted row r of expert e is out[r] = epilogue(x[source(r)] w_e^T + bias_e).
template <class Real> struct GroupedGemmArgs {
  static constexpr std::string_view op = "moe_gemm";
  Real* out = nullptr;                   // [pairs, columns], sorted by expert
  const Real* x = nullptr;               // [rows, inner] with gather, else [pairs, inner]
  const int32_t* pair_of_row = nullptr;  // [pairs]: source(r) = pair_of_row[r] / k; null: source(r) = r
  int k = 1;
  const Real* w = nullptr;           // [E, columns, inner]; with swiglu [E, 2 columns, inner]: gate rows, then up rows
  const float* bias = nullptr;       // [E, columns] (swiglu: [E, 2 columns]) or null
  const int32_t* offsets = nullptr;  // [E + 1]
  int64_t pairs = 0, columns = 0, inner = 0;
  int num_experts = 0;
  bool swiglu = false;
  float swiglu_limit = 0, swiglu_alpha = 1;  // as SwigluArgs
  void* workspace = nullptr;
  // Bytes of the weights if the pairs fall on as many experts as random routing would hit.
  Cost cost() const;
};

// out[t] = sum over j of weights[t, j] each[row_of_pair[t k + j]] + shared[t], j rising: no atomics, one order of sums.
template <class Real> struct CombineArgs {
  static constexpr std::string_view op = "moe_combine";
  Real* out = nullptr;                   // [rows, width]
  const Real* each = nullptr;            // [rows k, width], sorted by expert
  const Real* shared = nullptr;          // [rows, width] or null
  const int32_t* row_of_pair = nullptr;  // [rows k]
  const float* weights = nullptr;        // [rows, k]
  int64_t rows = 0, width = 0;
  int k = 1;
  Cost cost() const {
    const double size = static_cast<double>(rows * width);
    return {2 * size * k, sizeof(Real) * size * (k + 1 + (shared ? 1 : 0))};
  }
};

// --- Choosing tokens ---

// The largest logit of each row, lowest id among equals. NaN is never chosen over a number.
struct ArgmaxArgs {
  static constexpr std::string_view op = "argmax";
  int32_t* out = nullptr;         // [rows]
  const float* logits = nullptr;  // [rows, vocab_size]
  int64_t rows = 0, vocab_size = 0;
  void* workspace = nullptr;
  Cost cost() const { return {0, 4.0 * static_cast<double>(rows * vocab_size)}; }
};

// One token a row, drawn from softmax(logits / temperature) after three filters, in this order: top-k (below the k-th
// largest logit goes; its equals stay), top-p (the fewest of the likeliest whose sum reaches p of what is left; lowest
// ids first among equals), min-p (below min_p times the largest goes). NaN is never drawn.
// Weights are integers, w_i = floor(2^44 exp((logit_i - largest) / temperature)), so that no order of sums matters. The
// draw of row r depends on seeds[r] and counters[r] alone: with bits = random_bits(random_key(seed, "sample"), counter)
// (reference/random.h) it is the first id at which the running sum of the weights that stay exceeds
// floor(bits * (their sum) / 2^64).
struct SampleArgs {
  static constexpr std::string_view op = "sample";
  int32_t* out = nullptr;             // [rows]
  const float* logits = nullptr;      // [rows, vocab_size]
  const uint64_t* seeds = nullptr;    // [rows]
  const int64_t* counters = nullptr;  // [rows]: tokens drawn before
  float temperature = 1, top_p = 1, min_p = 0;
  int top_k = 0;  // 0: all
  int64_t rows = 0, vocab_size = 0;
  void* workspace = nullptr;
  Cost cost() const { return {0, 4.0 * static_cast<double>(rows * vocab_size)}; }
};

// After a decode step: every piece's position moves on by its rows.
struct AdvanceArgs {
  static constexpr std::string_view op = "advance";
  Piece* pieces = nullptr;  // [count]
  int count = 0;
  Cost cost() const { return {0, 16.0 * count}; }
};

// Random weights, made where they are used and bit-identical to Weights::random on the host. `out` is [a, b, c], dense;
// its element (i, j, l) is value first + i stride_a + j stride_b + l stride_c of the tensor.
template <class Real> struct RandomFillArgs {
  static constexpr std::string_view op = "random_fill";
  Real* out = nullptr;
  RandomNormal normal;
  int64_t a = 1, b = 1, c = 0;
  int64_t first = 0, stride_a = 0, stride_b = 0, stride_c = 1;
  bool round_to_bf16 = true;  // as Weights does for tensors published as bf16, whatever Real is
  Cost cost() const { return {0, static_cast<double>(sizeof(Real)) * static_cast<double>(a * b * c)}; }
};

// --- The table ---

// One way to run an operator. `supports` declines what it cannot do: shapes, types, devices.
template <class Args> struct Kernel {
  std::string_view name;
  bool (*supports)(const Args&, const Device&);
  void (*run)(const Args&, Stream);
  int64_t (*workspace)(const Args&, const Device&) = nullptr;  // bytes; null: none
};

// All variants of an operator, best first; the last one supports everything. Defined in kernels.cpp.
template <class Args> std::span<const Kernel<Args>> kernels();

// The first variant that supports the arguments; with a name, that one. Throws KernelError.
template <class Args> const Kernel<Args>& choose(const Args& args, const Device& device, std::string_view forced = {}) {
  std::string names, shape = "this shape";
  if constexpr (requires { args.head_dim; })
    shape = "head_dim " + std::to_string(args.head_dim) + ", " + std::to_string(args.batch.rows) + " rows";
  if constexpr (requires { args.inner; })
    shape = std::to_string(args.columns) + " columns of " + std::to_string(args.inner);
  for (const Kernel<Args>& kernel : kernels<Args>()) {
    names += (names.empty() ? "" : ", ") + std::string(kernel.name);
    if (!forced.empty() && kernel.name != forced) continue;
    if (kernel.supports(args, device)) return kernel;
    if (!forced.empty())
      throw KernelError("variant '" + std::string(forced) + "' of " + std::string(Args::op) + " does not support " +
                        shape + ", this type or this device");
  }
  throw KernelError(forced.empty()
                        ? "no variant of " + std::string(Args::op) + " supports " + shape + "; there are: " + names
                        : "no variant '" + std::string(forced) + "' of " + std::string(Args::op) +
                              "; there are: " + names);
}

}  // namespace ringbench::RINGBENCH_BACKEND
