// estimate.h: the time of a long prefill from a few of its chunks, with an interval.
//
// A prefill in chunks costs t(p) each, p the tokens before the chunk: constant for linear attention, experts and
// projections, affine in p for softmax attention. So some chunks are run at their true depth, over a cache of the right
// size, a line is fitted, and its sum over all chunks is the estimate. A shorter prefill, run whole, tells how far such
// estimates are off on this machine.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "harness/workload.h"

namespace ringbench {

// y = a + b x by least squares.
struct LineFit {
  double a = 0, b = 0;
  double var_a = 0, var_b = 0, cov_ab = 0;  // from the residuals; 0 with two points
  double r2 = 1;
  double residual_max = 0;  // largest |residual| over the mean of y
  int64_t points = 0;
};
// Throws std::invalid_argument for fewer than two points or equal x.
LineFit fit_line(const std::vector<double>& x, const std::vector<double>& y);

// Two-sided 95 % quantile of Student's t.
double student_t95(int64_t degrees_of_freedom);

// How a prefill of `ctx` tokens in chunks of `chunk` falls apart: whole chunks at 0, chunk, 2 chunk, ... and a rest.
// Sum of a line over them; a rest counts by its share of a chunk.
double sum_over_chunks(const LineFit& line, int64_t ctx, int64_t chunk);
// `m` chunk positions spread evenly, first and last whole chunk included, without repetition.
std::vector<int64_t> sample_positions(int64_t ctx, int64_t chunk, int64_t m);

// How much an estimate may cost.
struct EstimateEffort {
  int64_t points = 5;              // chunks sampled
  int64_t reps = 3;                // of each
  int64_t anchor_ctx = 32 * 1024;  // tokens of the prefill that is run whole
};

struct PrefillEstimate {
  double seconds = 0, ci95_low = 0, ci95_high = 0;  // CPU time over threads, as all times here; wall on a device
  std::vector<double> samples;                      // the estimate from each repetition alone
  int64_t points = 0, reps = 0;
  double work_share = 0;  // chunks sampled over chunks of the whole prefill
  double r2 = 0, residual_max = 0;
  int64_t anchor_ctx = 0;
  double anchor_full_s = 0, anchor_estimate_s = 0;
  double anchor_error = 0;  // estimate over full run, minus 1, at anchor_ctx
  double contention = 0;    // wall time over CPU time per thread, of everything that was run; 1 on a device
  double cpu_s = 0;         // spent, all threads
};

// Two chunks, at 0 and at `ctx` / 4, in wall time: a line good enough to plan with. Leaves the workload filled to a
// little over ctx / 4.
LineFit probe_prefill(Workload& workload, int64_t ctx);

// `threads`: of the CPU that computes; 0 where a device does. `step` hears what is being done, for progress. Up to
// three repetitions more than asked if the samples do not lie on a line; if they still do not (a residual above 5 %
// that their own scatter does not explain), or there are fewer than 4 of them, throws Failure (message begins with
// E-ESTIMATE). Throws Interrupted. Leaves the workload filled to ctx.
PrefillEstimate estimate_prefill(Workload& workload, int64_t ctx, const EstimateEffort& effort, int threads,
                                 const std::function<void(const std::string&)>& step);

// A median and its interval.
struct TimeOf {
  int64_t groups = 0;
  double seconds = 0, ci95_low = 0, ci95_high = 0;
};
// The time of a model too deep to hold, from two shallower ones of the same widths. A group repeats the layer pattern
// once; whatever is not in a group (embedding, head, dense first layers) is in both, so that time is affine in the
// number of groups. The interval is that of the extrapolated line, from both medians' as if independent.
TimeOf estimate_by_groups(const TimeOf& fewer, const TimeOf& more, int64_t groups);

}  // namespace ringbench
