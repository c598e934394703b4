#include <algorithm>

#include "harness/client_overhead.h"
#include "harness/failure.h"
#include "harness/served.h"
#include "harness/served_prompts.h"
#include "harness/served_replies.h"

namespace ringbench {
namespace {

constexpr int64_t kOpenStreams = 64;  // with which the client's overhead is found for an open load

class ServedMeasurement : public Measurement {
 public:
  ServedMeasurement(const MeasuringRun& run, const std::vector<Point>& points, Served& served)
      : run_(run),
        point_(points.front()),
        served_(served),
        prompts_(run.plan, point_, served.refusal_of_token_ids().empty(), served.input_seed()),
        warmups_(run.plan.warmup.value_or(1)),
        tokens_(point_.phase == "prefill" ? 1 : point_.gen) {
    if (point_.phase == "decode" && tokens_ < 2)
      throw Failure(ExitCode::points_failed,
                    "decode on a server needs --gen of 2 or more: the first token is prefill.");
    for (const Point& point : points) replies_.emplace_back(run.plan, point, served, tokens_);
  }

  void prepare() override {
    run_.step("the client's own overhead");
    const int64_t streams = is_open() ? std::min(point_.requests, kOpenStreams) : point_.batch;
    client_ = served_.client_overhead(streams);
    for (int64_t i = 0; i < warmups_; ++i)
      ask("warm-up", -1 - i, std::min(point_.ctx, kWarmupCtx), std::min<int64_t>(4, tokens_), point_.batch, {});
    for (ServedReplies& replies : replies_) replies.begin();
  }

  double once(int64_t repetition) override {
    for (ServedReplies& replies : replies_) replies.begin_repetition();
    ask("rep " + std::to_string(repetition + 1), repetition, point_.ctx, tokens_,
        point_.phase == "e2e" ? point_.requests : point_.batch, [&](const LoadedReply& loaded) {
          for (ServedReplies& replies : replies_) replies.add(loaded);
        });
    for (ServedReplies& replies : replies_) replies.end_repetition();
    return replies_.front().samples().back();
  }

  void finish(const Repetitions& done, std::span<Result> rows) override {
    for (size_t i = 0; i < rows.size(); ++i) {
      set_samples(rows[i], replies_[i].samples(), done.stop);
      rows[i].warmup = warmups_;
      replies_[i].describe(rows[i]);
      describe_client(rows[i]);
    }
  }

 private:
  bool is_open() const { return run_.plan.rate && point_.phase == "e2e"; }

  // `on_reply` hears of each reply, all of which are whole.
  void ask(const std::string& what, int64_t repetition, int64_t ctx, int64_t tokens, int64_t count,
           const std::function<void(const LoadedReply&)>& on_reply) {
    EndpointLoad load;
    load.streams = static_cast<int>(std::min<int64_t>(point_.batch, count));
    load.kind = count > point_.batch ? EndpointLoad::Kind::closed : EndpointLoad::Kind::batch;
    if (is_open() && repetition >= 0) {
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

  void describe_client(Result& r) const {
    r.client_ttft_s = client_.ttft_s;
    r.client_itl_s = client_.itl_s;
    r.client_tok_s = client_.tok_s;
    const double generated = point_.phase == "prefill" ? 0 : r.tok_s.value_or(0);
    for (const std::string& warning : warnings_of(client_, r.ttft_s.value_or(0), generated))
      r.warnings.push_back(warning);
  }

  const MeasuringRun& run_;
  Point point_;  // the first: they differ in replica alone
  Served& served_;
  ServedPrompts prompts_;
  int64_t warmups_, tokens_;
  ClientOverhead client_;
  std::vector<ServedReplies> replies_;  // of each point
};

}  // namespace

std::unique_ptr<Measurement> make_served_measurement(const MeasuringRun& run, const std::vector<Point>& points,
                                                     Served& served) {
  return std::make_unique<ServedMeasurement>(run, points, served);
}

}  // namespace ringbench
