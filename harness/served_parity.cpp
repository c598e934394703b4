#include "harness/served_parity.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "evals/tokenizer.h"
#include "harness/budget.h"
#include "harness/failure.h"
#include "harness/parity_walk.h"
#include "harness/workload.h"
#include "reference/random.h"

namespace ringbench {

void ServedParity::describe(Result& row) const {
  row.parity = status;
  if (status == "none") return;
  row.parity_worst = worst;
  row.parity_depth = tokens;
  if (status == "pass") row.weights_fingerprint = fingerprint;
}

#if defined(RINGBENCH_HAVE_TOKENIZER)

namespace {

constexpr int64_t kPrompts = 3, kPromptTokens = 48, kNewTokens = 16;

// What the server went on with, and how sure it was.
struct Continuation {
  std::vector<int32_t> prompt, tokens;
  std::vector<double> logprobs;
};

// Random text that the tokenizer takes apart as the server's does.
std::string random_text(const Tokenizer& tokenizer, uint64_t seed, int64_t index) {
  const uint64_t key = random_key(seed, "served parity") ^ mix64(static_cast<uint64_t>(index));
  std::vector<int32_t> ids;
  for (uint64_t t = 0; t < kPromptTokens; ++t)
    ids.push_back(static_cast<int32_t>(random_bits(key, t) % static_cast<uint64_t>(tokenizer.size())));
  return tokenizer.decode(ids, true);
}

// Empty, with the reason in `why`, where the reply cannot be compared.
Continuation ask(const Tokenizer& tokenizer, Served& served, ServerEndpoint& replica, uint64_t seed, int64_t index,
                 std::string& why) {
  const std::string text = random_text(tokenizer, seed, index);
  Continuation continuation{tokenizer.encode(text), {}, {}};
  CompletionRequest request;
  request.api = served.api();
  if (served.refusal_of_token_ids().empty())
    request.tokens = continuation.prompt;
  else
    request.text = text;
  request.max_tokens = kNewTokens;
  request.sampling.temperature = 0;
  request.logprobs = 1;
  request.stream = false;  // some servers tell log-probabilities only of whole answers
  EndpointConnection connection(replica);
  const auto reply_to = [&](const CompletionRequest& asked) {
    CompletionReply reply = connection.send(asked.api, replica.body(asked), asked.stream);
    if (reply.interrupted) throw Interrupted();
    return reply;
  };
  CompletionReply reply = reply_to(request);
  if (reply.status == 400) {  // by a server that wants a flag, not a number
    request.logprobs_flag = true;
    reply = reply_to(request);
  }
  if (!reply.error.empty())
    why = "it gives no log-probabilities: " + reply.error;
  else if (reply.prompt_tokens && *reply.prompt_tokens != static_cast<int64_t>(continuation.prompt.size()))
    why = "it reads " + std::to_string(*reply.prompt_tokens) + " tokens where the checkpoint's tokenizer has " +
          std::to_string(continuation.prompt.size());
  for (const CompletionEvent& event : reply.events)
    for (const TokenLogprob& token : event.logprobs) {
      if (!token.id) why = "it does not tell the ids of the tokens that it chose";
      continuation.tokens.push_back(token.id.value_or(0));
      continuation.logprobs.push_back(token.logprob);
    }
  if (why.empty() && continuation.tokens.empty()) why = "it gives no log-probabilities";
  return continuation;
}

// Of every token of a continuation by one engine: log-probabilities of the token that was chosen and of the likeliest.
struct Odds {
  std::vector<double> chosen, likeliest;
  double logits_rms = 0;
};

Odds odds_of(Engine& engine, const Continuation& continuation) {
  std::vector<int32_t> all = continuation.prompt;
  all.insert(all.end(), continuation.tokens.begin(), continuation.tokens.end() - 1);
  engine.reset(0);
  Walk walked;
  walk(engine, 0, all, 0, false, walked);
  Odds odds;
  double squares = 0;
  for (size_t i = 0; i < continuation.tokens.size(); ++i) {
    const auto row = (continuation.prompt.size() - 1 + i) * static_cast<size_t>(walked.vocab);
    const auto logits = std::span(walked.logits).subspan(row, static_cast<size_t>(walked.vocab));
    const double top = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (const double logit : logits) sum += std::exp(logit - top), squares += logit * logit;
    odds.likeliest.push_back(-std::log(sum));
    odds.chosen.push_back(logits[static_cast<size_t>(continuation.tokens[i])] - top - std::log(sum));
  }
  odds.logits_rms = std::sqrt(squares / static_cast<double>(odds.chosen.size() * static_cast<size_t>(walked.vocab)));
  return odds;
}

void append(std::vector<double>& all, const std::vector<double>& more) {
  all.insert(all.end(), more.begin(), more.end());
}

struct ReplicaVerdict {
  bool pass = false;
  double worst = 0;  // error over budget
  std::string text;
};

ReplicaVerdict judge_continuations(const std::vector<Continuation>& continuations, Engine& truth, Engine& rounded) {
  std::vector<double> told, true_odds, rounded_odds, behind;
  double logits_rms = 0;
  for (const Continuation& c : continuations) {
    const Odds odds = odds_of(truth, c), with_rounding = odds_of(rounded, c);
    append(told, c.logprobs), append(true_odds, odds.chosen), append(rounded_odds, with_rounding.chosen);
    for (size_t i = 0; i < odds.chosen.size(); ++i) behind.push_back(odds.likeliest[i] - odds.chosen[i]);
    logits_rms = std::max(logits_rms, odds.logits_rms);
  }
  // Log-probabilities are differences of logits, and err as those do.
  double unit = 0;
  for (const double odds : true_odds) unit += odds * odds;
  unit = std::sqrt(unit / static_cast<double>(true_odds.size()));
  const double floor = float_floor(static_cast<double>(truth.config().hidden_size)) * logits_rms / unit;
  const Discrepancy found = discrepancy(told, true_odds), unavoidable = discrepancy(rounded_odds, true_odds);
  const Judgement judged = judge(found, unavoidable, floor);
  // A token that is not the likeliest one may be chosen where the two are nearer than both may be off.
  const double near = 2 * unit * (kMaxTolerance * unavoidable.max + 8 * floor);
  const auto wrong = std::count_if(behind.begin(), behind.end(), [&](double gap) { return !(gap <= near); });
  ReplicaVerdict verdict{judged.pass && wrong == 0, found.rms / judged.budget,
                         std::to_string(told.size()) + " tokens: " + judged.text};
  if (wrong > 0) verdict.text += ", " + std::to_string(wrong) + " not the likeliest by far";
  return verdict;
}

}  // namespace

ServedParity check_served(const Plan& plan, const Point& point, Served& served, int threads,
                          const std::function<void(const std::string&)>& progress) {
  ServedParity result;
  if (point.checkpoint.empty()) {
    result.text = "no --weights to compare with";
    return result;
  }
  try {
    const Tokenizer tokenizer = Tokenizer::load(point.checkpoint);
    std::vector<std::vector<Continuation>> continuations;  // of each replica
    for (const auto& replica : served.replicas()) {
      std::vector<Continuation>& its = continuations.emplace_back();
      for (int64_t i = 0; i < kPrompts; ++i) {
        progress("parity: asking for log-probabilities");
        its.push_back(ask(tokenizer, served, *replica, plan.seed, i, result.text));
        if (!result.text.empty()) return result;
      }
    }

    progress("parity: the reference in f64");
    const Weights weights = Weights::load(point.config, point.checkpoint);
    EngineOptions options;
    options.max_tokens = kNewTokens;
    for (const std::vector<Continuation>& its : continuations)
      for (const Continuation& c : its)
        options.max_tokens = std::max(options.max_tokens, static_cast<int64_t>(c.prompt.size() + c.tokens.size()));
    options.threads = threads;
    const Precision precision = mixed_precision(point.dtype == DType::bf16 ? Rounding::bf16 : Rounding::f32);
    const auto truth = make_reference_engine(point.config, weights, truth_options(options));
    const auto rounded = make_reference_engine(point.config, weights, truth_options(options, precision));
    result.fingerprint = weights.fingerprint();
    result.tokens = options.max_tokens;
    std::optional<ReplicaVerdict> worst;
    for (size_t i = 0; i < continuations.size(); ++i) {
      const ReplicaVerdict verdict = judge_continuations(continuations[i], *truth, *rounded);
      if (worst && std::pair(!verdict.pass, verdict.worst) <= std::pair(!worst->pass, worst->worst)) continue;
      worst = verdict;
      result.text = (continuations.size() > 1 ? served.replicas()[i]->url().text() + ": " : "") + verdict.text;
    }
    result.status = worst->pass ? "pass" : "fail";
    result.worst = worst->worst;
  } catch (const TokenizerError& e) {
    result.text = e.what();
  }
  return result;
}

#else

ServedParity check_served(const Plan&, const Point&, Served&, int, const std::function<void(const std::string&)>&) {
  ServedParity result;
  result.text = "this build has no tokenizer";
  return result;
}

#endif

}  // namespace ringbench
