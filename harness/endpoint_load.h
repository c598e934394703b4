// endpoint_load.h: many requests to one server or to several replicas of it: how many at once and when each is due. Not
// one request (endpoint.h), and not what a measurement makes of the replies.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "harness/endpoint.h"

namespace ringbench {

// When requests are due. closed: as many in flight as `streams`, each after the one before it. open: at times of their
// own, whatever became of those before, a Poisson process; one that is due while `streams` are in flight waits, and
// sent_s - due_s says how long. batch: all at once, when every connection is there.
struct EndpointLoad {
  enum class Kind { closed, open, batch } kind = Kind::closed;
  int streams = 1;    // in flight at most
  double rate = 0;    // of open: requests a second
  uint64_t seed = 0;  // of open: of the arrivals

  static constexpr int kMostStreams = 1024;
};

// Of an open load, request `index` after the start of the load: a function of seed, rate and index alone.
// [count], in seconds, rising.
std::vector<double> poisson_arrivals(double rate, uint64_t seed, int64_t count);

// A request that was answered, or failed. Times on the monotonic clock.
struct LoadedReply {
  int64_t index = 0;
  size_t replica = 0;
  double due_s = 0;       // when it was to be sent
  double sent_s = 0;      // when it was; with retries, the first attempt
  double finished_s = 0;  // reply.sent_s + reply.end_s
  CompletionReply reply;

  double queue_s() const { return sent_s - due_s; }  // in the client, before the first attempt
};

// Sends requests 0 to count - 1, request i to replica i modulo their number. `request` makes them, in any thread;
// `on_reply` has the replies as they come, one at a time. Nothing of a request is kept after it. Returns how many
// replies there were: `count`, or fewer after a signal, which ends the load and is no reply of those that it cut.
// Throws UsageError for streams or a rate out of range, and what `request` or `on_reply` threw.
int64_t run_load(const std::vector<std::unique_ptr<ServerEndpoint>>& replicas, const EndpointLoad& load, int64_t count,
                 const std::function<CompletionRequest(int64_t)>& request,
                 const std::function<void(LoadedReply)>& on_reply);

// The same for few requests: the replies in the order of the requests.
std::vector<LoadedReply> collect_load(const std::vector<std::unique_ptr<ServerEndpoint>>& replicas,
                                      const EndpointLoad& load, int64_t count,
                                      const std::function<CompletionRequest(int64_t)>& request);

}  // namespace ringbench
