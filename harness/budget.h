// budget.h: how far a computed tensor is from the truth, and how far it may be. The truth is the reference in f64. What
// no candidate can avoid is the reference once more with the candidate's own rounding points (Precision); a candidate
// passes while it is at most kTolerance times as far off. No constant per machine, none tuned until a test was green.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace ringbench {

// Distance of values from the truth, in units of the truth's root mean square: an absolute tolerance would test nothing
// where outputs shrink with the context.
struct Discrepancy {
  double rms = 0, max = 0;
  int64_t worst = 0;        // element where max is
  bool masks_agree = true;  // NaN and infinities are at the same places
  bool trustworthy = true;  // the truth is neither constant nor more than 90 % zeros or at its limit (+-)
};
// NaNs and infinities that agree are left out of the distance. A truth that is zero everywhere has unit 1.
Discrepancy discrepancy(std::span<const double> values, std::span<const double> truth);

bool same_bits(std::span<const double> a, std::span<const double> b);  // NaN equals itself, 0 is not -0

// Of root mean squares: the candidate's roundings are as many as the budget's and independent of them, and each may be
// met once more on the way (stored and loaded).
constexpr double kTolerance = 2;
// Of largest errors: maxima of two samples of one distribution differ by more than their spreads do.
constexpr double kMaxTolerance = 4;

// What float arithmetic with sums of `length` terms loses beside the rounding points, relative: a handful of operations
// of half an ulp (2^-24) each and a random walk of the sum. The floor of every budget.
double float_floor(double length);

struct Judgement {
  bool pass = false;
  double budget = 0, max_budget = 0;  // of rms, of max
  std::string text;  // "rms 1.6e-03 of 3.2e-03, max 5.1e-03 of 1.9e-02"; where it fails: what and at which element
};
// What an operation does to errors that come into it: `rms` and `max` over its elements of output error over input
// error, both relative. A norm of rows that are smaller than most magnifies theirs.
struct Gain {
  double rms = 1, max = 1;
};

// `floor`: float_floor(...) of the longest sum. max has the same floor times 8: the largest of up to 10^7 normal errors
// is 5.3 standard deviations out, and errors are not quite normal. Where the rounded run's errors are less even than
// that (a sequence's first token is often badly conditioned), so may the floor's be.
Judgement judge(const Discrepancy& candidate, const Discrepancy& unavoidable, double floor, const Gain& gain = {});

}  // namespace ringbench
