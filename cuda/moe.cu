// moe.cu: what stands around the experts' products: choosing experts, sorting pairs by expert, SwiGLU, the weighted
// sum. Per operator the plain kernel first, then the ladder.
#include "cuda/moe.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

constexpr int kThreads = 256;

unsigned blocks_for(int64_t threads) { return static_cast<unsigned>((threads + kThreads - 1) / kThreads); }

__device__ inline int64_t global_thread() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + static_cast<int64_t>(threadIdx.x);
}

// --- moe_route ---

// The balanced override of reference/moe.h, one thread per choice.
__global__ void __launch_bounds__(kThreads) route_uniformly(RouteArgs args) {
  const int64_t choice = global_thread();
  if (choice >= args.batch.rows * args.k) return;
  args.experts[choice] = static_cast<int32_t>((args.batch.pieces[0].position * args.k + choice) % args.num_experts);
  args.weights[choice] = 1.0f / static_cast<float>(args.k);
}

// Falling score, lowest index first among equals.
__device__ inline bool before(float score_a, int a, float score_b, int b) {
  return score_a > score_b || (score_a == score_b && a < b);
}

struct Choice {
  float score = INFINITY;
  int index = -1;
};

// Of candidates 0 .. n the first that comes after `last`; called again and again it walks through them in order.
template <class Score> __device__ inline Choice next_choice(int n, Choice last, Score score) {
  Choice best{-INFINITY, n};
  for (int i = 0; i < n; ++i) {
    const float s = score(i);
    if (before(last.score, last.index, s, i) && before(s, i, best.score, best.index)) best = {s, i};
  }
  return best;
}

// plain: one thread per row, as reference/moe.h has it. Keeps nothing: what it needs again it computes again.
__global__ void __launch_bounds__(kThreads) route_plain(RouteArgs args) {
  const int64_t row = global_thread();
  if (row >= args.batch.rows) return;
  const float* logits = args.logits + row * args.num_experts;
  int32_t* experts = args.experts + row * args.k;
  float* weights = args.weights + row * args.k;

  float largest = -INFINITY, sum = 0;
  if (args.router == Router::softmax_topk) {
    for (int e = 0; e < args.num_experts; ++e) largest = fmaxf(largest, logits[e]);
    for (int e = 0; e < args.num_experts; ++e) sum += expf(logits[e] - largest);
  }
  const auto score = [&](int e) {
    switch (args.router) {
      case Router::softmax_topk: return expf(logits[e] - largest) / sum;
      case Router::sigmoid_topk: return 1 / (1 + expf(-logits[e]));
      case Router::topk_softmax: break;
    }
    return logits[e];
  };
  const auto biased = [&](int e) { return score(e) + (args.expert_bias ? args.expert_bias[e] : 0.0f); };

  // A group counts as much as its two best experts together; `last_group` is the last that is kept.
  const int group_size = args.num_experts / args.n_group;
  const auto group_score = [&](int group) {
    float best = -INFINITY, second = -INFINITY;
    for (int e = group * group_size; e < (group + 1) * group_size; ++e) {
      const float s = biased(e);
      if (s > best)
        second = best, best = s;
      else
        second = fmaxf(second, s);
    }
    return best + second;
  };
  Choice last_group;
  if (args.n_group > 1)
    for (int i = 0; i < args.topk_group; ++i) last_group = next_choice(args.n_group, last_group, group_score);
  int group = -1;
  bool dropped = false;
  const auto choice_score = [&](int e) {
    if (args.n_group > 1 && e / group_size != group) {
      group = e / group_size;
      dropped = before(last_group.score, last_group.index, group_score(group), group);
    }
    return dropped ? -INFINITY : biased(e);
  };

  Choice last;
  for (int j = 0; j < args.k; ++j) {
    last = next_choice(args.num_experts, last, choice_score);
    const float weight = score(last.index);
    int at = j;  // the bias may have changed the order: sort by weight, stably
    for (; at > 0 && weight > weights[at - 1]; --at) experts[at] = experts[at - 1], weights[at] = weights[at - 1];
    experts[at] = last.index, weights[at] = weight;
  }

  float total = 0, factor = args.routed_scaling_factor;
  if (args.router == Router::topk_softmax) {
    factor = 1;
    const float first = weights[0];
    for (int j = 0; j < args.k; ++j) weights[j] = expf(weights[j] - first);
  }
  for (int j = 0; j < args.k; ++j) total += weights[j];
  if (args.router == Router::topk_softmax || (args.norm_topk_prob && args.k > 1)) factor /= total + 1e-20f;
  for (int j = 0; j < args.k; ++j) weights[j] *= factor;
}

// An unsigned number that orders as the float does; 0 and -0 are one.
__device__ inline uint32_t order_of(float x) {
  const uint32_t bits = __float_as_uint(x + 0.0f);
  return bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u);
}

// warp: one warp per row, kPer neighbouring experts a lane; the selection is k maxima over the warp, the weights are
// sorted and normed by lanes 0 .. k. Reads the logits once: 16k rows of 256 are 17 MB, 4 us; the maxima cost more.
// Assumes k <= 32; groups of whole lanes, as many as a power of two; rows of whole float4s where a lane holds four.
template <int kPer> __global__ void __launch_bounds__(kThreads) route_warp(RouteArgs args) {
  const int lane = static_cast<int>(threadIdx.x) % 32, E = args.num_experts;
  const int64_t row = global_thread() / 32;
  if (row >= args.batch.rows) return;
  const float* logits = args.logits + row * E;

  float s[kPer];
  if constexpr (kPer % 4 == 0) {
    for (int i = 0; i < kPer; i += 4) {
      const int e = lane * kPer + i;
      float4 four = make_float4(-INFINITY, -INFINITY, -INFINITY, -INFINITY);
      if (e < E) four = *reinterpret_cast<const float4*>(logits + e);
      s[i] = four.x, s[i + 1] = four.y, s[i + 2] = four.z, s[i + 3] = four.w;
    }
  } else {
    for (int i = 0; i < kPer; ++i) s[i] = lane * kPer + i < E ? logits[lane * kPer + i] : -INFINITY;
  }
  if (args.router == Router::softmax_topk) {
    float largest = -INFINITY, sum = 0;
    for (int i = 0; i < kPer; ++i) largest = fmaxf(largest, s[i]);
    largest = warp_max(largest);
    for (int i = 0; i < kPer; ++i) sum += s[i] = expf(s[i] - largest);
    sum = warp_sum(sum);
    for (int i = 0; i < kPer; ++i) s[i] /= sum;
  } else if (args.router == Router::sigmoid_topk) {
    for (int i = 0; i < kPer; ++i) s[i] = 1 / (1 + expf(-s[i]));
  }

  float choice[kPer];
  for (int i = 0; i < kPer; ++i) {
    const int e = lane * kPer + i;
    choice[i] = s[i];
    if (args.expert_bias && e < E) choice[i] += args.expert_bias[e];
  }
  if (args.n_group > 1) {
    float best = -INFINITY, second = -INFINITY;
    for (int i = 0; i < kPer; ++i) second = fmaxf(second, fminf(best, choice[i])), best = fmaxf(best, choice[i]);
    const int lanes = 32 / args.n_group;  // of one group
    for (int step = 1; step < lanes; step *= 2) {
      const float other = __shfl_xor_sync(~0u, best, step), other_second = __shfl_xor_sync(~0u, second, step);
      second = fmaxf(fmaxf(second, other_second), fminf(best, other));
      best = fmaxf(best, other);
    }
    const float score = best + second;
    int better = 0;  // groups that come before this lane's
    for (int group = 0; group < args.n_group; ++group)
      better += before(__shfl_sync(~0u, score, group * lanes), group, score, lane / lanes);
    if (better >= args.topk_group)
      for (float& c : choice) c = -INFINITY;
  }

  // Scores as ordered integers; taken experts, and lanes beyond the last expert, are 0: below -infinity.
  uint32_t left[kPer];
  for (int i = 0; i < kPer; ++i) left[i] = lane * kPer + i < E ? order_of(choice[i]) : 0;
  float weight = 0;  // lane j: of choice j
  int expert = 0;
  for (int j = 0; j < args.k; ++j) {
    uint64_t best = 0;  // score, then lowest index
    for (int i = 0; i < kPer; ++i) {
      const uint64_t key = uint64_t{left[i]} << 32 | ~static_cast<uint32_t>(lane * kPer + i);
      best = key > best ? key : best;
    }
    for (int step = 16; step > 0; step /= 2) {
      const uint64_t other = __shfl_xor_sync(~0u, best, step);
      best = other > best ? other : best;
    }
    const int winner = static_cast<int>(~static_cast<uint32_t>(best));
    float winner_score = 0;
    for (int i = 0; i < kPer; ++i)
      if (lane * kPer + i == winner) left[i] = 0, winner_score = s[i];
    winner_score = __shfl_sync(~0u, winner_score, winner / kPer);
    if (lane == j) expert = winner, weight = winner_score;
  }

  int rank = 0;  // by falling weight, stably
  for (int j = 0; j < args.k; ++j) rank += before(__shfl_sync(~0u, weight, j), j, weight, lane);
  float factor = args.routed_scaling_factor;
  const bool mine = lane < args.k;
  if (args.router == Router::topk_softmax) {
    factor = 1;
    const float largest = warp_max(mine ? weight : -INFINITY);
    weight = expf(weight - largest);
  }
  const float total = warp_sum(mine ? weight : 0.0f);
  if (args.router == Router::topk_softmax || (args.norm_topk_prob && args.k > 1)) factor /= total + 1e-20f;
  if (mine) {
    args.experts[row * args.k + rank] = expert;
    args.weights[row * args.k + rank] = weight * factor;
  }
}

// --- moe_permute ---

// plain: one block, a thread per expert, which reads all pairs and picks its own.
__global__ void __launch_bounds__(kThreads) permute_plain(PermuteArgs args) {
  for (int e = static_cast<int>(threadIdx.x); e < args.num_experts; e += kThreads) {
    int32_t count = 0;
    for (int64_t pair = 0; pair < args.pairs; ++pair) count += args.experts[pair] == e;
    args.offsets[e + 1] = count;
    if (args.load) args.load[e] += count;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    args.offsets[0] = 0;
    for (int e = 0; e < args.num_experts; ++e) args.offsets[e + 1] += args.offsets[e];
  }
  __syncthreads();
  for (int e = static_cast<int>(threadIdx.x); e < args.num_experts; e += kThreads) {
    int32_t row = args.offsets[e];
    for (int64_t pair = 0; pair < args.pairs; ++pair) {
      if (args.experts[pair] != e) continue;
      args.pair_of_row[row] = static_cast<int32_t>(pair);
      args.row_of_pair[pair] = row++;
    }
  }
}

constexpr int kWarps = kThreads / 32;
constexpr int kPairsPerBlock = 4096;

int64_t permute_block_count(const PermuteArgs& args) { return (args.pairs + kPairsPerBlock - 1) / kPairsPerBlock; }

// Calls visit(pair, expert, rank, count) for the pairs of this warp's stretch of [begin, end), 32 at a time: rank among
// the pairs before it in the 32 with the same expert, of `count`. Lanes without a pair have expert -1.
template <class Visit>
__device__ inline void for_pairs_of_warp(const PermuteArgs& args, int64_t begin, int64_t end, Visit visit) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int64_t stretch = (end - begin + kThreads - 1) / kThreads * 32;
  const int64_t stop = begin + (warp + 1) * stretch < end ? begin + (warp + 1) * stretch : end;
  for (int64_t first = begin + warp * stretch; first < stop; first += 32) {
    const int64_t pair = first + lane;
    const int expert = pair < stop ? args.experts[pair] : -1;
    unsigned peers = __ballot_sync(~0u, pair < stop);
    for (int bit = 1; bit < args.num_experts; bit *= 2) {
      const unsigned set = __ballot_sync(~0u, (expert & bit) != 0);
      peers &= expert & bit ? set : ~set;
    }
    visit(pair, expert, __popc(peers & ((1u << lane) - 1)), __popc(peers));
  }
}

// blocks, first of two: how many of each block's pairs go to each expert, counts [blocks, E].
__global__ void __launch_bounds__(kThreads) permute_count(PermuteArgs args) {
  SharedArena arena;
  int32_t* counts = arena.take<int32_t>(args.num_experts);
  for (int e = static_cast<int>(threadIdx.x); e < args.num_experts; e += kThreads) counts[e] = 0;
  __syncthreads();
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kPairsPerBlock;
  const int64_t end = begin + kPairsPerBlock < args.pairs ? begin + kPairsPerBlock : args.pairs;
  for (int64_t pair = begin + static_cast<int64_t>(threadIdx.x); pair < end; pair += kThreads)
    atomicAdd(&counts[args.experts[pair]], 1);
  __syncthreads();
  int32_t* out = static_cast<int32_t*>(args.workspace) + static_cast<int64_t>(blockIdx.x) * args.num_experts;
  for (int e = static_cast<int>(threadIdx.x); e < args.num_experts; e += kThreads) out[e] = counts[e];
}

// blocks, second of two: every block works out where its share of each expert begins, every warp where its own does,
// and warps place 32 pairs at a time, those of one expert side by side. One block needs no counts and is a sort by
// itself. The order never depends on who comes first: places are sums of counts, and ranks within a warp are those of
// lanes.
__global__ void __launch_bounds__(kThreads) permute_place(PermuteArgs args) {
  const int E = args.num_experts, lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  SharedArena arena;
  int32_t* places = arena.take<int32_t>(kWarps * E);  // [warps, E]: pairs, then the next row
  int32_t* offsets = arena.take<int32_t>(E + 1);
  for (int i = static_cast<int>(threadIdx.x); i < kWarps * E; i += kThreads) places[i] = 0;
  __syncthreads();

  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kPairsPerBlock;
  const int64_t end = begin + kPairsPerBlock < args.pairs ? begin + kPairsPerBlock : args.pairs;
  int32_t* own = places + warp * E;
  for_pairs_of_warp(args, begin, end, [&](int64_t, int expert, int rank, int count) {
    if (expert >= 0 && rank == 0) own[expert] += count;
    __syncwarp();
  });
  __syncthreads();

  // Totals of all blocks into offsets; places become rows within the expert.
  const int blocks = static_cast<int>(gridDim.x), block = static_cast<int>(blockIdx.x);
  const int32_t* counts = static_cast<const int32_t*>(args.workspace);
  for (int e = static_cast<int>(threadIdx.x); e < E; e += kThreads) {
    int32_t earlier = 0, total = 0;
    if (blocks > 1) {
#pragma unroll 8
      for (int b = 0; b < blocks; ++b) {
        const int32_t count = counts[static_cast<int64_t>(b) * E + e];
        total += count;
        earlier += b < block ? count : 0;
      }
    }
    for (int w = 0; w < kWarps; ++w) {
      const int32_t count = places[w * E + e];
      places[w * E + e] = earlier;
      earlier += count;
    }
    offsets[e] = blocks > 1 ? total : earlier;
  }
  __syncthreads();
  if (warp == 0) {  // totals to the first row of each expert
    int32_t sum = 0;
    for (int first = 0; first < E; first += 32) {
      const int e = first + lane;
      const int32_t total = e < E ? offsets[e] : 0;
      int32_t through = total;
      for (int step = 1; step < 32; step *= 2) {
        const int32_t lower = __shfl_up_sync(~0u, through, step);
        if (lane >= step) through += lower;
      }
      if (e < E) offsets[e] = sum + through - total;
      sum += __shfl_sync(~0u, through, 31);
    }
    if (lane == 0) offsets[E] = sum;
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kWarps * E; i += kThreads) places[i] += offsets[i % E];
  if (block == 0)
    for (int e = static_cast<int>(threadIdx.x); e <= E; e += kThreads) {
      args.offsets[e] = offsets[e];
      if (args.load && e < E) args.load[e] += offsets[e + 1] - offsets[e];
    }
  __syncthreads();

  for_pairs_of_warp(args, begin, end, [&](int64_t pair, int expert, int rank, int count) {
    const int32_t row = expert >= 0 ? own[expert] + rank : 0;
    __syncwarp();
    if (expert >= 0) {
      if (rank == 0) own[expert] += count;
      args.pair_of_row[row] = static_cast<int32_t>(pair);
      args.row_of_pair[pair] = row;
    }
    __syncwarp();
  });
}

// --- moe_combine ---

// plain: a thread per output.
template <class Real> __global__ void __launch_bounds__(kThreads) combine_plain(CombineArgs<Real> args) {
  const int64_t i = global_thread();
  if (i >= args.rows * args.width) return;
  const int64_t row = i / args.width, column = i % args.width;
  float sum = 0;
  for (int j = 0; j < args.k; ++j) {
    const int64_t sorted = args.row_of_pair[row * args.k + j];
    sum += args.weights[row * args.k + j] * to_float(args.each[sorted * args.width + column]);
  }
  if (args.shared) sum += to_float(args.shared[i]);
  args.out[i] = narrow<Real>(sum);
}

// vector: a thread per 16 bytes of the output, four experts' vectors under way at a time. Floor: k + 2 rows a token.
// Assumes rows of whole 16-byte vectors.
template <class Real> __global__ void __launch_bounds__(kThreads) combine_vector(CombineArgs<Real> args) {
  constexpr int N = kVector<Real>;
  const int64_t i = global_thread() * N;
  if (i >= args.rows * args.width) return;
  const int64_t row = i / args.width, column = i % args.width;
  float sum[N] = {}, other[N];
#pragma unroll 4
  for (int j = 0; j < args.k; ++j) {
    const float weight = args.weights[row * args.k + j];
    load_vector(other, args.each + args.row_of_pair[row * args.k + j] * args.width + column);
    for (int n = 0; n < N; ++n) sum[n] += weight * other[n];
  }
  if (args.shared) {
    load_vector(other, args.shared + i);
    for (int n = 0; n < N; ++n) sum[n] += other[n];
  }
  store_vector(args.out + i, sum);
}

// --- swiglu ---

// plain: a thread per output.
template <class Real> __global__ void __launch_bounds__(kThreads) activate_plain(SwigluArgs<Real> args) {
  const int64_t i = global_thread();
  if (i >= args.rows * args.width) return;
  const Real* gate = args.gate_up + i / args.width * 2 * args.width + i % args.width;
  args.out[i] = narrow<Real>(swiglu_of(to_float(gate[0]), to_float(gate[args.width]), args.limit, args.alpha));
}

// vector: a thread per 16 bytes of the output. Assumes rows of whole 16-byte vectors.
template <class Real> __global__ void __launch_bounds__(kThreads) activate_vector(SwigluArgs<Real> args) {
  constexpr int N = kVector<Real>;
  const int64_t i = global_thread() * N;
  if (i >= args.rows * args.width) return;
  const Real* from = args.gate_up + i / args.width * 2 * args.width + i % args.width;
  float gate[N], up[N];
  load_vector(gate, from);
  load_vector(up, from + args.width);
  for (int n = 0; n < N; ++n) gate[n] = swiglu_of(gate[n], up[n], args.limit, args.alpha);
  store_vector(args.out + i, gate);
}

}  // namespace

void moe_route_plain(const RouteArgs& args, Stream stream) {
  if (args.uniform)
    launch(route_uniformly, blocks_for(args.batch.rows * args.k), kThreads, 0, stream, args);
  else
    launch(route_plain, blocks_for(args.batch.rows), kThreads, 0, stream, args);
}

void moe_route_warp(const RouteArgs& args, Stream stream) {
  const int E = args.num_experts;
  if (args.uniform) return moe_route_plain(args, stream);
  const auto kernel = E <= 32    ? &route_warp<1>
                      : E <= 64  ? &route_warp<2>
                      : E <= 128 ? &route_warp<4>
                      : E <= 256 ? &route_warp<8>
                                 : &route_warp<16>;
  launch(kernel, blocks_for(args.batch.rows * 32), kThreads, 0, stream, args);
}

void moe_permute_plain(const PermuteArgs& args, Stream stream) { launch(permute_plain, 1, kThreads, 0, stream, args); }

int64_t moe_permute_blocks_workspace(const PermuteArgs& args, const Device&) {
  return permute_block_count(args) * args.num_experts * static_cast<int64_t>(sizeof(int32_t));
}

void moe_permute_blocks(const PermuteArgs& args, Stream stream) {
  const int64_t blocks = permute_block_count(args);
  const size_t row = sizeof(int32_t) * static_cast<size_t>(args.num_experts) + 128;  // of E counts, aligned
  if (blocks > 1) launch(permute_count, static_cast<unsigned>(blocks), kThreads, row, stream, args);
  launch(permute_place, static_cast<unsigned>(blocks < 1 ? 1 : blocks), kThreads, (kWarps + 1) * row, stream, args);
}

template <class Real> void moe_combine_plain(const CombineArgs<Real>& args, Stream stream) {
  launch(combine_plain<Real>, blocks_for(args.rows * args.width), kThreads, 0, stream, args);
}
template <class Real> void moe_combine_vector(const CombineArgs<Real>& args, Stream stream) {
  launch(combine_vector<Real>, blocks_for(args.rows * args.width / kVector<Real>), kThreads, 0, stream, args);
}
template <class Real> void swiglu_plain(const SwigluArgs<Real>& args, Stream stream) {
  launch(activate_plain<Real>, blocks_for(args.rows * args.width), kThreads, 0, stream, args);
}
template <class Real> void swiglu_vector(const SwigluArgs<Real>& args, Stream stream) {
  launch(activate_vector<Real>, blocks_for(args.rows * args.width / kVector<Real>), kThreads, 0, stream, args);
}

template void moe_combine_plain(const CombineArgs<float>&, Stream);
template void moe_combine_plain(const CombineArgs<bf16>&, Stream);
template void moe_combine_vector(const CombineArgs<float>&, Stream);
template void moe_combine_vector(const CombineArgs<bf16>&, Stream);
template void swiglu_plain(const SwigluArgs<float>&, Stream);
template void swiglu_plain(const SwigluArgs<bf16>&, Stream);
template void swiglu_vector(const SwigluArgs<float>&, Stream);
template void swiglu_vector(const SwigluArgs<bf16>&, Stream);

}  // namespace ringbench::RINGBENCH_BACKEND
