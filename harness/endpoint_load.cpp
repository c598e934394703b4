#include "harness/endpoint_load.h"

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <deque>
#include <exception>
#include <latch>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>

#include "harness/failure.h"
#include "harness/wait.h"
#include "reference/random.h"

namespace ringbench {
namespace {

using Replicas = std::vector<std::unique_ptr<ServerEndpoint>>;

// Two descriptors for each connection (endpoint.cpp), and what else the program has open.
void raise_descriptor_limit(size_t connections) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = std::min(limit.rlim_max, std::max<rlim_t>(limit.rlim_cur, 2 * connections + 256));
  setrlimit(RLIMIT_NOFILE, &limit);
}

class LoadRun {
 public:
  using Kind = EndpointLoad::Kind;

  LoadRun(const Replicas& replicas, const EndpointLoad& load, int64_t count,
          const std::function<CompletionRequest(int64_t)>& request, const std::function<void(LoadedReply)>& on_reply)
      : replicas_(replicas),
        load_(load),
        streams_(std::min<int64_t>(load.streams, count)),
        count_(count),
        request_(request),
        on_reply_(on_reply),
        start_line_(streams_) {
    if (load.kind == Kind::open) arrivals_ = poisson_arrivals(load.rate, load.seed, count);
    for (int64_t i = 0; load.kind == Kind::batch && i < count; ++i) batch_.push_back(prepare(i));
  }

  int64_t run() {
    raise_descriptor_limit(static_cast<size_t>(streams_) * replicas_.size());
    start_workers(load_.kind == Kind::open ? 1 : streams_);
    for (size_t i = 0; std::thread* worker = worker_at(i); ++i) worker->join();
    if (thrown_) std::rethrow_exception(thrown_);
    return replied_;
  }

 private:
  // A request with all that can be made before it is due.
  struct Due {
    int64_t index = 0;
    size_t replica = 0;
    CompletionApi api = CompletionApi::completions;
    bool stream = true;
    std::string body;
    double at_s = 0;
  };

  // --- Workers: each has a connection to every replica and one request at a time ---

  void start_workers(int64_t workers) {
    const std::lock_guard lock(turn_);
    for (int64_t i = 0; i < workers; ++i) {
      try {
        add_worker();
      } catch (...) {
        stop();
        start_line_.count_down(workers - i);  // nobody waits for those that are not there
        return;
      }
    }
  }

  void add_worker() {  // with turn_
    try {
      workers_.emplace_back([this] { work(); });
      ++idle_;
    } catch (const std::system_error&) {
      throw Failure(ExitCode::environment,
                    "the system allows no more than " + std::to_string(workers_.size()) + " threads here.",
                    "ask for fewer requests at once");
    }
  }

  void stop() {  // because of the present exception
    const std::lock_guard lock(report_);
    if (!thrown_) thrown_ = std::current_exception();
    stop_ = true;
  }

  std::thread* worker_at(size_t i) {
    const std::lock_guard lock(turn_);
    return i < workers_.size() ? &workers_[i] : nullptr;
  }

  void work() {
    try {
      std::vector<EndpointConnection> connections;
      for (const std::unique_ptr<ServerEndpoint>& replica : replicas_) connections.emplace_back(*replica).open();
      if (load_.kind == Kind::batch) wait_at_start();
      while (const std::optional<Due> due = next_due()) {
        send(connections[due->replica], *due);
        ++idle_;
      }
    } catch (...) {
      stop();
    }
  }

  void wait_at_start() {
    start_line_.arrive_and_wait();
    double nobody = 0;
    released_s_.compare_exchange_strong(nobody, now_s());  // the first across the line says when that was
  }

  // --- What is next, when it is due; empty: nothing ---

  std::optional<Due> next_due() {
    if (load_.kind == Kind::open) return next_arrival();
    const std::optional<int64_t> index = next_index();
    if (!index) return {};
    Due due = load_.kind == Kind::batch ? std::move(batch_[static_cast<size_t>(*index)]) : prepare(*index);
    due.at_s = load_.kind == Kind::batch ? released_s_.load() : now_s();
    return due;
  }

  // One worker at a time waits for the next arrival, and sees to a successor first: so there are as many as were needed
  // at once and one more, not `streams` of them for a load that needs few.
  std::optional<Due> next_arrival() {
    const std::lock_guard lock(turn_);
    --idle_;
    const std::optional<int64_t> index = next_index();
    if (!index) return {};
    if (*index == 0) started_s_ = now_s();  // when the first connection is there
    if (idle_ == 0 && std::ssize(workers_) < streams_) add_worker();
    Due due = prepare(*index);
    due.at_s = started_s_ + arrivals_[static_cast<size_t>(*index)];
    if (!wait_until(due.at_s)) return {};
    return due;
  }

  std::optional<int64_t> next_index() {
    const int64_t index = next_++;
    return index < count_ && !stop_ && !interrupted() ? std::optional(index) : std::nullopt;
  }

  Due prepare(int64_t index) const {
    const CompletionRequest request = request_(index);
    const size_t replica = static_cast<size_t>(index) % replicas_.size();
    return {index, replica, request.api, request.stream, replicas_[replica]->body(request), 0};
  }

  // --- One request ---

  void send(EndpointConnection& connection, const Due& due) {
    LoadedReply loaded{due.index, due.replica, due.at_s, now_s(), 0, {}};
    loaded.reply = connection.send(due.api, due.body, due.stream);
    loaded.finished_s = loaded.reply.sent_s + loaded.reply.end_s;
    const std::lock_guard lock(report_);
    if (loaded.reply.interrupted || stop_) return;
    ++replied_;
    on_reply_(std::move(loaded));
  }

  const Replicas& replicas_;
  const EndpointLoad& load_;
  const int64_t streams_, count_;
  const std::function<CompletionRequest(int64_t)>& request_;
  const std::function<void(LoadedReply)>& on_reply_;
  std::vector<double> arrivals_;  // of an open load, [count]
  std::vector<Due> batch_;        // of a batch, [count]
  double started_s_ = 0;          // of an open load

  std::atomic<int64_t> next_ = 0;
  std::atomic<int64_t> idle_ = 0;  // workers that start, or wait for their turn
  std::atomic<bool> stop_ = false;
  std::mutex turn_;                  // to wait for the next arrival; of workers_
  std::deque<std::thread> workers_;  // they stay where they are while it grows
  std::latch start_line_;            // of a batch: all connections are there
  std::atomic<double> released_s_ = 0;
  std::mutex report_;  // of what follows
  int64_t replied_ = 0;
  std::exception_ptr thrown_;
};

void check(const EndpointLoad& load, int64_t count) {
  if (load.streams < 1 || load.streams > EndpointLoad::kMostStreams)
    throw UsageError(std::to_string(load.streams) + " requests at once: between 1 and " +
                     std::to_string(EndpointLoad::kMostStreams) + " are possible.");
  if (load.kind == EndpointLoad::Kind::open && !(load.rate > 0 && std::isfinite(load.rate)))
    throw UsageError("--rate: not above 0.");
  if (load.kind == EndpointLoad::Kind::batch && count > load.streams)
    throw UsageError("a batch of " + std::to_string(count) + " requests in " + std::to_string(load.streams) +
                     " streams.");
}

}  // namespace

std::vector<double> poisson_arrivals(double rate, uint64_t seed, int64_t count) {
  const uint64_t key = random_key(seed, "arrivals");
  std::vector<double> arrivals;
  double at_s = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double uniform = (static_cast<double>(random_bits(key, static_cast<uint64_t>(i)) >> 11) + 0.5) * 0x1p-53;
    arrivals.push_back(at_s += -std::log(uniform) / rate);
  }
  return arrivals;
}

int64_t run_load(const Replicas& replicas, const EndpointLoad& load, int64_t count,
                 const std::function<CompletionRequest(int64_t)>& request,
                 const std::function<void(LoadedReply)>& on_reply) {
  check(load, count);
  return count == 0 ? 0 : LoadRun(replicas, load, count, request, on_reply).run();
}

std::vector<LoadedReply> collect_load(const Replicas& replicas, const EndpointLoad& load, int64_t count,
                                      const std::function<CompletionRequest(int64_t)>& request) {
  std::vector<LoadedReply> replies;
  run_load(replicas, load, count, request, [&](LoadedReply reply) { replies.push_back(std::move(reply)); });
  std::sort(replies.begin(), replies.end(),
            [](const LoadedReply& a, const LoadedReply& b) { return a.index < b.index; });
  return replies;
}

}  // namespace ringbench
