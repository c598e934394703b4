// served_parity.h: whether a server computes what its checkpoint says: greedy continuations of a few prompts with the
// log-probabilities that it gives them, held against the reference in f64 over the same tokens. What may differ:
// budget.h. Speeds are served.h's.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "harness/plan.h"
#include "harness/result.h"
#include "harness/served.h"

namespace ringbench {

struct ServedParity {
  std::string status = "none";  // pass fail none
  std::string text;             // "48 tokens: rms 1.1e-06 of 2.9e-06, ..."; of `none` why
  std::string fingerprint;      // of the weights that were compared with
  double worst = 0;             // error over budget
  int64_t tokens = 0;           // of the longest sequence

  void describe(Result& row) const;
};

// Asks every replica for continuations; what is told is that of the worst. `none` where the plan names no checkpoint,
// or where a server tells no log-probabilities or no ids of the tokens it chose. The point's dtype, which makes the
// budget, is that of the server.
ServedParity check_served(const Plan& plan, const Point& point, Served& served, int threads,
                          const std::function<void(const std::string&)>& progress);

}  // namespace ringbench
