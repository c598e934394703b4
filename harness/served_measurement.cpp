#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>

#include "harness/failure.h"
#include "harness/progress.h"
#include "harness/served.h"
#include "harness/served_prompts.h"

namespace ringbench {
namespace {

constexpr int64_t kWarmupCtx = 8 * 1024;  // a warm-up never runs at full length
constexpr size_t kMostGaps = 1000000;     // between events, that are kept
constexpr double kHitShare = 0.01;        // of prompt tokens, from which on a prefix cache's work is not ignored

// What is kept of a request. Seconds on the monotonic clock, but for the last three.
struct ServedRequest {
  double due_s = 0, finished_s = 0;
  double first_token_s = 0;
  double ttft_s = 0;             // from when it was due
  std::optional<double> tpot_s;  // of more than one token
  std::optional<double> ttfr_s;  // first event of any kind
};

// The gaps between the events of many streams: all, or where there are more than can be kept every 2nd, 4th, ...
class Gaps {
 public:
  void add(double gap) {
    if (met_++ % every_ != 0) return;
    if (kept_.size() == kMostGaps) {
      for (size_t i = 0; 2 * i < kept_.size(); ++i) kept_[i] = kept_[2 * i];
      kept_.resize((kept_.size() + 1) / 2);
      every_ *= 2;
    }
    kept_.push_back(gap);
  }
  const std::vector<double>& kept() const { return kept_; }

 private:
  std::vector<double> kept_;
  size_t met_ = 0, every_ = 1;
};

// A count that every reply tells, or that is not known.
class Told {
 public:
  void add(const std::optional<int64_t>& count) {
    all_told_ &= count.has_value();
    if (count) counts_.push_back(static_cast<double>(*count));
  }
  bool known() const { return all_told_ && !counts_.empty(); }
  bool all_are(int64_t wanted) const {
    return std::all_of(counts_.begin(), counts_.end(),
                       [&](double count) { return count == static_cast<double>(wanted); });
  }
  int64_t typical() const { return std::llround(median(counts_)); }
  double sum() const { return std::accumulate(counts_.begin(), counts_.end(), 0.0); }

 private:
  std::vector<double> counts_;
  bool all_told_ = true;
};

template <class Field> std::vector<double> values_of(const std::vector<ServedRequest>& requests, const Field& field) {
  std::vector<double> values;
  for (const ServedRequest& request : requests)
    if (const std::optional<double> value = field(request)) values.push_back(*value);
  return values;
}

class ServedMeasurement : public Measurement {
 public:
  ServedMeasurement(const MeasuringRun& run, const Point& point, Served& served)
      : run_(run),
        point_(point),
        served_(served),
        prompts_(run.plan, point, served.refusal_of_token_ids().empty(), served.input_seed()),
        warmups_(run.plan.warmup.value_or(1)),
        tokens_(point.phase == "prefill" ? 1 : point.gen) {
    if (point.phase == "decode" && tokens_ < 2)
      throw Failure(ExitCode::points_failed,
                    "decode on a server needs --gen of 2 or more: the first token is prefill.");
  }

  void prepare() override {
    for (int64_t i = 0; i < warmups_; ++i)
      ask("warm-up", -1 - i, std::min(point_.ctx, kWarmupCtx), std::min<int64_t>(4, tokens_), point_.batch, {});
    before_ = served_.cache_counters();
  }

  double once(int64_t repetition) override {
    std::vector<ServedRequest> requests;
    const std::string what = "rep " + std::to_string(repetition + 1);
    const int64_t count = point_.phase == "e2e" ? point_.requests : point_.batch;
    ask(what, repetition, point_.ctx, tokens_, count,
        [&](const LoadedReply& loaded) { requests.push_back(keep(loaded)); });
    const auto due = [](const ServedRequest& a, const ServedRequest& b) { return a.due_s < b.due_s; };
    const double begin = std::min_element(requests.begin(), requests.end(), due)->due_s;
    double last_first = 0, end = 0;
    for (const ServedRequest& request : requests) {
      last_first = std::max(last_first, request.first_token_s);
      end = std::max(end, request.finished_s);
    }
    seconds_ += end - begin;
    all_.insert(all_.end(), requests.begin(), requests.end());
    if (point_.phase == "prefill") return last_first - begin;
    if (point_.phase == "decode") {
      const std::vector<double> each = values_of(requests, [](const ServedRequest& r) { return r.tpot_s; });
      return std::accumulate(each.begin(), each.end(), 0.0) / static_cast<double>(each.size());
    }
    if (!run_.plan.rate) return end - begin;
    return median(values_of(requests, [](const ServedRequest& r) { return std::optional(r.finished_s - r.due_s); }));
  }

  void finish(const Repetitions& done, std::span<Result> rows) override {
    Result& r = rows.front();
    set_samples(r, done.samples, done.stop);
    r.warmup = warmups_;
    r.server = served_.identity().text();
    if (point_.checkpoint.empty()) r.weights = served_.identity().model;
    r.input_seed = static_cast<int64_t>(served_.input_seed());
    describe_times(r);
    describe_lengths(r);
    describe_cache(r);
  }

 private:
  // `on_reply` hears of each reply, all of which are whole.
  void ask(const std::string& what, int64_t repetition, int64_t ctx, int64_t tokens, int64_t count,
           const std::function<void(const LoadedReply&)>& on_reply) {
    EndpointLoad load;
    load.streams = static_cast<int>(std::min<int64_t>(point_.batch, count));
    load.kind = count > point_.batch ? EndpointLoad::Kind::closed : EndpointLoad::Kind::batch;
    if (run_.plan.rate && repetition >= 0 && point_.phase == "e2e") {
      load.kind = EndpointLoad::Kind::open;
      load.streams = static_cast<int>(std::min<int64_t>(EndpointLoad::kMostStreams, count));
      load.rate = *run_.plan.rate;
      load.seed = served_.input_seed() + static_cast<uint64_t>(repetition);
    }
    const auto request_of = [&](int64_t index) {
      CompletionRequest request;
      request.api = served_.api();
      request.max_tokens = tokens;
      request.fixed_length = true;
      request.sampling.temperature = 0;
      prompts_.put(request, repetition, index, ctx);
      return request;
    };
    int64_t done = 0;
    run_.step(what);
    const int64_t answered = run_load(served_.replicas(), load, count, request_of, [&](const LoadedReply& loaded) {
      if (!loaded.reply.error.empty())
        throw Failure(ExitCode::points_failed,
                      "request " + std::to_string(loaded.index + 1) + " of " + what + ": " + loaded.reply.error);
      if (on_reply) on_reply(loaded);
      run_.step(what + "  " + std::to_string(++done) + "/" + std::to_string(count));
    });
    if (answered < count || interrupted()) throw Interrupted();
  }

  ServedRequest keep(const LoadedReply& loaded) {
    const CompletionReply& reply = loaded.reply;
    ServedRequest kept;
    kept.due_s = loaded.due_s;
    kept.finished_s = loaded.finished_s;
    if (!reply.ttft_s())
      throw Failure(ExitCode::points_failed, "request " + std::to_string(loaded.index + 1) + ": no token came.");
    kept.first_token_s = reply.sent_s + *reply.ttft_s();
    kept.ttft_s = kept.first_token_s - kept.due_s;
    if (const auto first = reply.first_event_s()) kept.ttfr_s = reply.sent_s + *first - kept.due_s;
    const int64_t generated = reply.completion_tokens.value_or(tokens_);
    if (generated > 1)
      kept.tpot_s = (*reply.last_token_s() - *reply.ttft_s()) / static_cast<double>(generated - 1);
    else if (point_.phase == "decode")
      throw Failure(ExitCode::points_failed, "request " + std::to_string(loaded.index + 1) + ": it ended after " +
                                                 std::to_string(generated) + " token, of " + std::to_string(tokens_) +
                                                 ".");
    const CompletionEvent* last = nullptr;
    for (const CompletionEvent& event : reply.events) {
      if (!event.carries_token) continue;
      if (last != nullptr) gaps_.add(event.at_s - last->at_s);
      last = &event;
    }
    prompt_tokens_.add(reply.prompt_tokens);
    completion_tokens_.add(reply.completion_tokens);
    cached_tokens_.add(reply.cached_tokens);
    retries_ += static_cast<int64_t>(reply.retries.size());
    queue_s_.push_back(loaded.queue_s());
    if (served_.replicas().size() > 1) by_replica_[loaded.replica].push_back(kept.ttft_s);
    return kept;
  }

  // --- What rows say ---

  bool is_good(const ServedRequest& request) const {
    const Goodput& limits = *run_.plan.goodput;
    const auto within = [](double value, const std::optional<double>& limit) { return !limit || value <= *limit; };
    return within(request.ttft_s, limits.ttft_s) && within(request.tpot_s.value_or(0), limits.tpot_s) &&
           within(request.finished_s - request.due_s, limits.e2e_s);
  }

  void describe_times(Result& r) const {
    const auto reps = static_cast<double>(r.n.value_or(1));
    const double generated =
        completion_tokens_.known() ? completion_tokens_.sum() : static_cast<double>(all_.size()) * tokens_;
    if (point_.phase == "prefill")
      r.tok_s = static_cast<double>(point_.batch * point_.ctx) / *r.value;
    else if (point_.phase == "decode")
      r.tok_s = static_cast<double>(point_.batch) / *r.value;
    else
      r.tok_s = run_.plan.rate ? generated / seconds_ : generated / reps / *r.value;
    r.ttft_s = median(values_of(all_, [](const ServedRequest& s) { return std::optional(s.ttft_s); }));
    const std::vector<double> first = values_of(all_, [](const ServedRequest& s) { return s.ttfr_s; });
    if (!first.empty()) r.ttfr_s = median(first);
    const std::vector<double> tpot = values_of(all_, [](const ServedRequest& s) { return s.tpot_s; });
    if (!tpot.empty()) r.tpot_s = std::accumulate(tpot.begin(), tpot.end(), 0.0) / static_cast<double>(tpot.size());
    if (!gaps_.kept().empty()) r.itl_p50_s = median(gaps_.kept());
    if (gaps_.kept().size() >= 100) r.itl_p99_s = quantile(gaps_.kept(), 0.99);
    r.queue_s = median(queue_s_);
    if (run_.plan.goodput)
      r.goodput = static_cast<double>(
                      std::count_if(all_.begin(), all_.end(), [&](const ServedRequest& s) { return is_good(s); })) /
                  static_cast<double>(all_.size());
    r.retries = retries_;
    if (retries_ > 0)
      r.warnings.push_back("W-RETRY: " + std::to_string(retries_) +
                           " requests were sent again; times count from when they were due.");
    for (const auto& [replica, ttft] : by_replica_)
      r.warnings.push_back("W-REPLICA: " + served_.replicas()[replica]->url().text() + ": " +
                           std::to_string(ttft.size()) + " requests, first token after " + duration_text(median(ttft)) +
                           " in the median.");
  }

  void describe_lengths(Result& r) const {
    r.isl_actual = r.osl_actual = std::nullopt;
    if (prompt_tokens_.known()) r.isl_actual = prompt_tokens_.typical();
    if (completion_tokens_.known()) r.osl_actual = completion_tokens_.typical();
    if (!served_.refusal_of_token_ids().empty())
      r.warnings.push_back("W-TEXT: the server takes no token ids (" + served_.refusal_of_token_ids() +
                           "): prompts are texts.");
    const bool told = prompt_tokens_.known() && completion_tokens_.known();
    const bool reached = prompt_tokens_.all_are(point_.ctx) && completion_tokens_.all_are(tokens_);
    if (told && reached) return;
    if (told || !served_.refusal_of_token_ids().empty()) r.flags += 'L';
    r.warnings.push_back(told ? "W-LENGTH: not every request had " + std::to_string(point_.ctx) +
                                    " tokens to read and " + std::to_string(tokens_) + " to write."
                              : "W-LENGTH: the server does not say how many tokens it read and wrote.");
  }

  void describe_cache(Result& r) const {
    const std::optional<CacheCounters> after = served_.cache_counters();
    double queried = 0, hit = 0;
    if (before_ && after && after->queried > before_->queried) {
      queried = after->queried - before_->queried, hit = after->hit - before_->hit;
    } else if (cached_tokens_.known()) {
      queried = static_cast<double>(all_.size()) * static_cast<double>(point_.ctx), hit = cached_tokens_.sum();
    } else {
      r.warnings.push_back("W-CACHE: the server does not count what its prefix cache did; no prompt was sent twice.");
      return;
    }
    r.cached_tokens = std::llround(hit);
    if (hit >= kHitShare * queried) r.flags += 'C';
  }

  const MeasuringRun& run_;
  Point point_;
  Served& served_;
  ServedPrompts prompts_;
  int64_t warmups_, tokens_;
  std::optional<CacheCounters> before_;
  std::vector<ServedRequest> all_;  // of all repetitions
  double seconds_ = 0;              // that they took
  Gaps gaps_;
  Told prompt_tokens_, completion_tokens_, cached_tokens_;
  std::vector<double> queue_s_;
  int64_t retries_ = 0;
  std::map<size_t, std::vector<double>> by_replica_;  // seconds to the first token
};

}  // namespace

std::unique_ptr<Measurement> make_served_measurement(const MeasuringRun& run, const Point& point, Served& served) {
  return std::make_unique<ServedMeasurement>(run, point, served);
}

}  // namespace ringbench
