// metrics.h: scores of sampled answers: avg@k, pass@k, G-Pass@k, maj@k, how sure they are, and how two runs compare.
// Definitions and sources: beside each function. Not grading: which answers are right is given.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace ringbench {

// Of a question's n samples, c are right. Every function throws std::invalid_argument for counts that cannot be: n < 1,
// k < 1, k > n, c < 0, c > n.

// Chance that at least one of k samples, drawn without putting back, is right (Chen et al. 2021): 1 - C(n-c, k) /
// C(n, k). Off by less than 1e-12 for n up to 10^6.
double pass_at_k(int64_t n, int64_t c, int64_t k);
// Chance that at least max(1, ceil(tau k)) of the k are right (Liu et al. 2024), 0 <= tau <= 1.
double g_pass_at_k(int64_t n, int64_t c, int64_t k, double tau);

// A sample's vote.
struct Vote {
  int answer = -1;  // class of equal answers, from 0; -1: there is none, it does not vote
  bool correct = false;
};
// What a majority of k votes is worth: 1 if the class with most votes is right, ties shared, no votes 0. From more than
// k samples the mean over all subsets of k, or over 10,000 of them, always the same, where there are more. Equal
// answers are equally correct.
double majority_at_k(std::span<const Vote> votes, int64_t k);

// A score over questions.
struct Score {
  double value = 0;  // mean over questions
  int64_t questions = 0, samples = 0;
  double se_question = 0;        // were other questions of the kind asked: sqrt(sum (m_q - mean)^2 / (Q - 1) / Q)
  std::optional<double> se_run;  // were the same questions sampled anew; of avg@k, with two samples a question or more
  double ci95_low = 0, ci95_high = 1;  // over questions
};

// `values`: each question's, of `samples` samples in all. The interval: percentiles of 10,000 resamplings of the
// questions, the same ones every time; Wilson's where each value is 0 or 1 (resampling only zeros says nothing).
Score score_of(std::span<const double> values, int64_t samples);

struct Counts {
  int64_t n = 0, c = 0;
};
// Mean share of right samples, with se_run = sqrt(sum_q k/(k-1) m_q (1 - m_q) / k) / Q.
Score average_score(std::span<const Counts> questions);

// Wilson (1927): of n trials, c came out.
std::pair<double, double> wilson_interval(int64_t n, int64_t c);

// The same questions in two runs: second minus first.
struct PairedDifference {
  double value = 0, standard_error = 0;  // sqrt(var(d_q) / Q)
  double ci95_low = 0, ci95_high = 0;    // value -+ 1.96 standard errors
  double detectable = 0;                 // what would be found with 80 % power: (1.96 + 0.84) standard errors
  std::optional<double> mcnemar_p;       // exact, two-sided; where each value is 0 or 1
};
PairedDifference paired_difference(std::span<const double> first, std::span<const double> second);

}  // namespace ringbench
