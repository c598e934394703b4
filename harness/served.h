// served.h: a server as the engine of a run: reached once, asked as the points want it, described in their rows. How a
// request travels: endpoint.h; when each is sent: endpoint_load.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "harness/client_overhead.h"
#include "harness/endpoint_load.h"
#include "harness/measurement.h"
#include "harness/plan.h"
#include "harness/result.h"
#include "harness/server_process.h"

namespace ringbench {

class Served {
 public:
  // No network yet. Throws UsageError.
  Served(const Plan& plan, const std::string& engine);

  // Runs --start, whose output goes to `log`, waits until the server answers, and asks who it is. Throws Failure.
  void start(const std::filesystem::path& log, const std::function<void(const std::string&)>& progress);
  bool is_ours() const { return process_ != nullptr; }  // started here

  const std::vector<std::unique_ptr<ServerEndpoint>>& replicas() const { return replicas_; }
  const ServerIdentity& identity() const { return identities_.front(); }
  CompletionApi api() const { return api_; }  // of prompts that are measured
  // Why it does not take prompts of token ids; empty: it does.
  const std::string& refusal_of_token_ids() const { return refusal_of_token_ids_; }
  std::string settings() const;  // one line of JSON, for the run's folder: a list of replicas

  // Of a replica, counted from 1, or of all together (0); empty where one does not count.
  std::optional<CacheCounters> cache_counters(int64_t replica = 0);

  // What the client adds to the times of so many streams. Measured once.
  const ClientOverhead& client_overhead(int64_t streams);

  // What prompts are made from beside the plan's seed: new with every run, so that no server knows them from the last.
  uint64_t input_seed() const { return input_seed_; }

 private:
  void wait_for(ServerEndpoint& replica, const std::function<void(const std::string&)>& progress);

  const Plan& plan_;
  std::vector<std::unique_ptr<ServerEndpoint>> replicas_;
  std::vector<ServerIdentity> identities_;
  CompletionApi api_ = CompletionApi::completions;
  std::string refusal_of_token_ids_;
  uint64_t input_seed_;
  std::unique_ptr<ServerProcess> process_;
  std::map<int64_t, ClientOverhead> overheads_;  // by streams
};

// Prefill, decode and e2e over HTTP. Its samples: prefill, from the first request that is sent until the last of the
// batch has its first token; decode, the mean over the batch of (last token - first token) / (tokens - 1); e2e, until
// the last request is done, and with --rate what one request takes, in the median. `points` differ in `replica` alone;
// the sample of one replica is that of its requests.
std::unique_ptr<Measurement> make_served_measurement(const MeasuringRun& run, const std::vector<Point>& points,
                                                     Served& served);

}  // namespace ringbench
