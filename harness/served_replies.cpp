#include "harness/served_replies.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "harness/failure.h"
#include "harness/measure.h"

namespace ringbench {
namespace {

constexpr size_t kMostGaps = 1000000;  // between events, that are kept
constexpr double kHitShare = 0.01;     // of prompt tokens, from which on a prefix cache's work is not ignored

template <class Field> std::vector<double> values_of(std::span<const ServedRequest> requests, const Field& field) {
  std::vector<double> values;
  for (const ServedRequest& request : requests)
    if (const std::optional<double> value = field(request)) values.push_back(*value);
  return values;
}

std::optional<double> tpot_of(const ServedRequest& request) { return request.tpot_s; }
std::optional<double> ttfr_of(const ServedRequest& request) { return request.ttfr_s; }

}  // namespace

// --- Counts and gaps ---

void Gaps::add(double gap) {
  if (met_++ % every_ != 0) return;
  if (kept_.size() == kMostGaps) {
    for (size_t i = 0; 2 * i < kept_.size(); ++i) kept_[i] = kept_[2 * i];
    kept_.resize((kept_.size() + 1) / 2);
    every_ *= 2;
  }
  kept_.push_back(gap);
}

void Told::add(const std::optional<int64_t>& count) {
  all_told_ &= count.has_value();
  if (count) counts_.push_back(static_cast<double>(*count));
}

bool Told::all_are(int64_t wanted) const {
  return std::all_of(counts_.begin(), counts_.end(),
                     [&](double count) { return count == static_cast<double>(wanted); });
}

int64_t Told::typical() const { return std::llround(median(counts_)); }
double Told::sum() const { return std::accumulate(counts_.begin(), counts_.end(), 0.0); }

// --- Replies ---

ServedReplies::ServedReplies(const Plan& plan, const Point& point, Served& served, int64_t tokens)
    : plan_(plan), point_(point), served_(served), tokens_(tokens) {}

void ServedReplies::begin() { before_ = served_.cache_counters(point_.replica); }

void ServedReplies::add(const LoadedReply& loaded) {
  if (point_.replica > 0 && loaded.replica != static_cast<size_t>(point_.replica - 1)) return;
  const CompletionReply& reply = loaded.reply;
  const auto fail = [&](const std::string& what) {
    throw Failure(ExitCode::points_failed, "request " + std::to_string(loaded.index + 1) + ": " + what);
  };
  if (!reply.ttft_s()) fail("no token came.");
  ServedRequest kept;
  kept.due_s = loaded.due_s;
  kept.finished_s = loaded.finished_s;
  kept.first_token_s = reply.sent_s + *reply.ttft_s();
  kept.ttft_s = kept.first_token_s - kept.due_s;
  if (const auto first = reply.first_event_s()) kept.ttfr_s = reply.sent_s + *first - kept.due_s;
  const int64_t generated = reply.completion_tokens.value_or(tokens_);
  if (generated > 1)
    kept.tpot_s = (*reply.last_token_s() - *reply.ttft_s()) / static_cast<double>(generated - 1);
  else if (point_.phase == "decode")
    fail("it ended after " + std::to_string(generated) + " token, of " + std::to_string(tokens_) + ".");
  requests_.push_back(kept);
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
}

void ServedReplies::end_repetition() {
  const auto requests = std::span<const ServedRequest>(requests_).subspan(repetition_begin_);
  const auto due = [](const ServedRequest& a, const ServedRequest& b) { return a.due_s < b.due_s; };
  const double begin = std::min_element(requests.begin(), requests.end(), due)->due_s;
  double last_first = 0, end = 0;
  for (const ServedRequest& request : requests) {
    last_first = std::max(last_first, request.first_token_s);
    end = std::max(end, request.finished_s);
  }
  seconds_ += end - begin;
  const auto each = [](const ServedRequest& r) { return std::optional(r.finished_s - r.due_s); };
  samples_.push_back(point_.phase == "prefill"  ? last_first - begin
                     : point_.phase == "decode" ? mean(values_of(requests, tpot_of))
                     : plan_.rate               ? median(values_of(requests, each))
                                                : end - begin);
}

// --- What rows say ---

void ServedReplies::describe(Result& row) const {
  row.server = served_.identity().text();
  if (point_.checkpoint.empty()) row.weights = served_.identity().model;
  row.input_seed = static_cast<int64_t>(served_.input_seed());
  describe_times(row);
  describe_lengths(row);
  describe_cache(row);
}

bool ServedReplies::is_good(const ServedRequest& request) const {
  const Goodput& limits = *plan_.goodput;
  const auto within = [](double value, const std::optional<double>& limit) { return !limit || value <= *limit; };
  return within(request.ttft_s, limits.ttft_s) && within(request.tpot_s.value_or(0), limits.tpot_s) &&
         within(request.finished_s - request.due_s, limits.e2e_s);
}

void ServedReplies::describe_times(Result& r) const {
  const auto reps = static_cast<double>(samples_.size());
  const double generated =
      completion_tokens_.known() ? completion_tokens_.sum() : static_cast<double>(requests_.size()) * tokens_;
  if (point_.phase == "prefill")
    r.tok_s = static_cast<double>(r.batch * point_.ctx) / *r.value;
  else if (point_.phase == "decode")
    r.tok_s = static_cast<double>(r.batch) / *r.value;
  else
    r.tok_s = plan_.rate ? generated / seconds_ : generated / reps / *r.value;
  r.ttft_s = median(values_of(requests_, [](const ServedRequest& s) { return std::optional(s.ttft_s); }));
  const std::vector<double> first = values_of(requests_, ttfr_of), tpot = values_of(requests_, tpot_of);
  if (!first.empty()) r.ttfr_s = median(first);
  if (!tpot.empty()) r.tpot_s = mean(tpot);
  if (!gaps_.kept().empty()) r.itl_p50_s = median(gaps_.kept());
  if (gaps_.kept().size() >= 100) r.itl_p99_s = quantile(gaps_.kept(), 0.99);
  r.queue_s = median(queue_s_);
  if (plan_.goodput) {
    const auto good =
        std::count_if(requests_.begin(), requests_.end(), [&](const ServedRequest& s) { return is_good(s); });
    r.goodput = static_cast<double>(good) / static_cast<double>(requests_.size());
  }
  r.retries = retries_;
  if (retries_ > 0)
    r.warnings.push_back("W-RETRY: " + std::to_string(retries_) +
                         " requests were sent again; times count from when they were due.");
}

void ServedReplies::describe_lengths(Result& r) const {
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
  r.warnings.push_back(told ? "W-LENGTH: not every request had " + std::to_string(point_.ctx) + " tokens to read and " +
                                  std::to_string(tokens_) + " to write."
                            : "W-LENGTH: the server does not say how many tokens it read and wrote.");
}

void ServedReplies::describe_cache(Result& r) const {
  const std::optional<CacheCounters> after = served_.cache_counters(point_.replica);
  double queried = 0, hit = 0;
  if (before_ && after && after->queried > before_->queried) {
    queried = after->queried - before_->queried, hit = after->hit - before_->hit;
  } else if (cached_tokens_.known()) {
    queried = static_cast<double>(requests_.size()) * static_cast<double>(point_.ctx), hit = cached_tokens_.sum();
  } else {
    r.warnings.push_back("W-CACHE: the server does not count what its prefix cache did; no prompt was sent twice.");
    return;
  }
  r.cached_tokens = std::llround(hit);
  if (hit >= kHitShare * queried) r.flags += 'C';
}

}  // namespace ringbench
