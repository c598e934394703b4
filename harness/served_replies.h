// served_replies.h: what came back from a server, or from one of its replicas, in the repetitions of a measurement: the
// sample of each, and what the row says. Who asked, and when: served_measurement.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "harness/endpoint_load.h"
#include "harness/plan.h"
#include "harness/result.h"
#include "harness/served.h"

namespace ringbench {

// What is kept of a request. due, finished, first_token: seconds on the monotonic clock.
struct ServedRequest {
  double due_s = 0, finished_s = 0, first_token_s = 0;
  double ttft_s = 0;             // from when it was due
  std::optional<double> tpot_s;  // of more than one token
  std::optional<double> ttfr_s;  // from when it was due to the first event of any kind
};

// The gaps between the events of many streams: all, or where there are more than can be kept every 2nd, 4th, ...
class Gaps {
 public:
  void add(double gap);
  const std::vector<double>& kept() const { return kept_; }

 private:
  std::vector<double> kept_;
  size_t met_ = 0, every_ = 1;
};

// A count that every reply tells, or that is not known.
class Told {
 public:
  void add(const std::optional<int64_t>& count);
  bool known() const { return all_told_ && !counts_.empty(); }
  bool all_are(int64_t wanted) const;
  int64_t typical() const;
  double sum() const;

 private:
  std::vector<double> counts_;
  bool all_told_ = true;
};

class ServedReplies {
 public:
  // Of the point's replica, or of all. `plan` and `served` must outlive it. `tokens`: that each request asks for.
  ServedReplies(const Plan& plan, const Point& point, Served& served, int64_t tokens);

  void begin();  // after warm-ups
  void begin_repetition() { repetition_begin_ = requests_.size(); }
  void add(const LoadedReply& loaded);  // whole; one of another replica does not count. Throws Failure: no token came.
  void end_repetition();

  const std::vector<double>& samples() const { return samples_; }  // seconds, of each repetition
  void describe(Result& row) const;                                // after set_samples()

 private:
  bool is_good(const ServedRequest& request) const;
  void describe_times(Result& r) const;
  void describe_lengths(Result& r) const;
  void describe_cache(Result& r) const;

  const Plan& plan_;
  Point point_;
  Served& served_;
  int64_t tokens_;
  std::optional<CacheCounters> before_;
  std::vector<ServedRequest> requests_;  // of all repetitions
  size_t repetition_begin_ = 0;          // in requests_
  std::vector<double> samples_;
  double seconds_ = 0;  // that repetitions took
  Gaps gaps_;
  Told prompt_tokens_, completion_tokens_, cached_tokens_;
  std::vector<double> queue_s_;
  int64_t retries_ = 0;
};

}  // namespace ringbench
