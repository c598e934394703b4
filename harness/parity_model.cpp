// parity_model.cpp: levels model and self: whole walks compared by their logits.
//
// Choosing experts is discontinuous: where two are nearly equal a rounding sends a token elsewhere, its logits jump,
// and through attention so do those of the tokens after it, in a right candidate and in the budget's run alike. So
// walks are compared
//  - over the tokens before the first one that went to other experts in either run, while these are at least a quarter:
//    nothing has jumped there, and the budget is a plain rounding error; or else
//  - over the tokens of several prompts that kept their experts in both runs: those that jumped are few and far off, a
//    mean over them is a matter of luck. The others feel them through attention alone, in both runs alike: means and
//    tails of the two distributions are compared.
// Float engines take the first way, bf16 models with many experts the second. The number of tokens that changed experts
// has a budget of its own: at most twice the rounded reference's (the errors may be twice as large), and three standard
// deviations of such a count.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "harness/measure.h"
#include "harness/parity_levels.h"

namespace ringbench {
namespace {

constexpr int64_t kJumpPrompts = 3;  // where jumps have to be averaged over

// Rows of log-probabilities.
std::vector<double> log_softmax(std::span<const double> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double x : logits) sum += std::exp(x - top);
  const double shift = top + std::log(sum);
  std::vector<double> out(logits.begin(), logits.end());
  for (double& x : out) x -= shift;
  return out;
}

size_t arg_max(std::span<const double> row) {
  return static_cast<size_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

std::span<const double> row_of(const Walk& walk, int64_t row) {
  return std::span(walk.logits).subspan(static_cast<size_t>(row * walk.vocab), static_cast<size_t>(walk.vocab));
}

// Rows of `a` that went to other experts than in `b`, in any layer.
std::vector<bool> rerouted(const Walk& a, const Walk& b) {
  std::vector<bool> changed(static_cast<size_t>(b.rows), false);
  for (const auto& [layer, rows] : b.experts) {
    const auto mine = a.experts.find(layer);
    if (mine == a.experts.end()) continue;
    for (size_t t = 0; t < std::min(rows.size(), mine->second.size()); ++t)
      if (rows[t] != mine->second[t]) changed[t] = true;
  }
  return changed;
}

// How far logits are from other logits, over some rows.
struct LogitDistance {
  Discrepancy logits;
  double rms = 0;           // in logits, not relative
  std::vector<double> kld;  // of each row
  double kld_mean() const {
    return kld.empty() ? 0 : std::accumulate(kld.begin(), kld.end(), 0.0) / static_cast<double>(kld.size());
  }
  double kld_at(double q) const { return kld.empty() ? 0 : quantile(kld, q); }
};

LogitDistance distance(const Walk& values, const Walk& truth, int64_t rows) {
  LogitDistance d;
  const size_t count = static_cast<size_t>(rows * truth.vocab);
  const std::span<const double> v = std::span(values.logits).first(count), t = std::span(truth.logits).first(count);
  d.logits = discrepancy(v, t);
  double squares = 0;
  for (const double x : t) squares += x * x;
  d.rms = d.logits.rms * std::sqrt(squares / static_cast<double>(count));
  for (int64_t row = 0; row < rows; ++row) {
    const std::vector<double> p = log_softmax(row_of(truth, row)), q = log_softmax(row_of(values, row));
    double kld = 0;
    for (size_t i = 0; i < p.size(); ++i) kld += std::exp(p[i]) * (p[i] - q[i]);
    d.kld.push_back(std::max(0.0, kld));
    if (std::isnan(kld)) d.kld.back() = std::numeric_limits<double>::quiet_NaN();
  }
  return d;
}

// Three walks over the same tokens.
struct Trial {
  Walk mine, rounded, truth;
};

// The rows that went to the truth's experts in both runs; all rows where these are less than a quarter.
Trial calm(const Trial& trial) {
  std::vector<bool> jumped = rerouted(trial.mine, trial.truth);
  const std::vector<bool> also = rerouted(trial.rounded, trial.truth);
  for (size_t t = 0; t < jumped.size(); ++t) jumped[t] = jumped[t] || also[t];
  if (std::count(jumped.begin(), jumped.end(), false) * 4 < static_cast<int64_t>(jumped.size())) return trial;
  const auto kept = [&](const Walk& walk) {
    Walk rows;
    rows.vocab = walk.vocab;
    for (size_t t = 0; t < jumped.size(); ++t) {
      if (jumped[t]) continue;
      const std::span<const double> row = row_of(walk, static_cast<int64_t>(t));
      rows.logits.insert(rows.logits.end(), row.begin(), row.end());
      ++rows.rows;
    }
    return rows;
  };
  return {kept(trial.mine), kept(trial.rounded), kept(trial.truth)};
}

void append(Walk& all, const Walk& more) {
  all.vocab = more.vocab;
  all.rows += more.rows;
  all.logits.insert(all.logits.end(), more.logits.begin(), more.logits.end());
  for (const auto& [layer, rows] : more.experts)
    all.experts[layer].insert(all.experts[layer].end(), rows.begin(), rows.end());
}

class LogitJudge {
 public:
  LogitJudge(const Subject& subject, const ParityScope& scope, Findings& findings)
      : subject_(subject), scope_(scope), findings_(findings) {}

  // Rows before anybody was rerouted.
  static int64_t quiet_rows(const Trial& trial) {
    return std::min(first_rerouted(trial.mine, trial.truth), first_rerouted(trial.rounded, trial.truth));
  }
  static bool is_quiet(const Trial& trial) { return quiet_rows(trial) * 4 >= trial.truth.rows; }

  void judge_logits(const std::string& level, const std::string& what, const Trial& trial) {
    const std::string in = what.empty() ? "" : what + ": ";
    if (trial.mine.logits.size() != trial.truth.logits.size()) {
      add({in + "logits", level, -1, "shape", static_cast<double>(trial.mine.rows),
           static_cast<double>(trial.truth.rows), CheckStatus::fail, "other rows or vocabulary than the reference"});
      return;
    }
    const bool quiet = is_quiet(trial);
    const Trial part = quiet ? Trial{} : calm(trial);
    const Trial& seen = quiet ? trial : part;
    const int64_t rows = quiet ? quiet_rows(trial) : part.truth.rows;
    const LogitDistance mine = distance(seen.mine, seen.truth, rows),
                        rounded = distance(seen.rounded, seen.truth, rows);
    const double floor = float_budget(rounded);
    const Judgement judged = judge(mine.logits, rounded.logits, floor);
    const std::string over =
        " over " + std::to_string(rows) + " tokens" +
        (quiet ? "" : " of " + std::to_string(trial.truth.rows) + ", those that kept their experts");
    add({in + "logits", level, -1, "rel_rms", mine.logits.rms, judged.budget,
         !judged.pass              ? CheckStatus::fail
         : mine.logits.trustworthy ? CheckStatus::pass
                                   : CheckStatus::mistrusted,
         judged.text + over});

    // Divergence grows with the square of the error; a change of logits by x costs about x^2 / 2.
    const double unit = rounded.logits.rms > 0 ? rounded.rms / rounded.logits.rms : scale_of(trial.truth);
    const double least = std::pow(floor * unit, 2) / 2 + 1e-14, squared = kTolerance * kTolerance,
                 most = kMaxTolerance * kMaxTolerance;
    add_number(in + "divergence", level, "kld_mean", mine.kld_mean(), std::max(least, squared * rounded.kld_mean()));
    add_number(in + "divergence", level, "kld_p99", mine.kld_at(0.99),
               std::max(16 * least, most * rounded.kld_at(0.99)));
    add_number(in + "divergence", level, "kld_max", mine.kld_at(1), std::max(64 * least, most * rounded.kld_at(1)));
    judge_choices(level, in, seen, rows, quiet, kMaxTolerance * std::sqrt(2.0) * std::max(rounded.rms, floor * unit));
    judge_routing(level, in, trial);
  }

  // Two walks of the candidate over the same tokens, cut otherwise: they may differ as two right candidates may, over
  // the rows before one was rerouted and the other not. `whole`: the candidate's walk that is known, with what the
  // references made of the same tokens.
  void judge_same(const std::string& what, const Walk& other, const Trial& whole) {
    const int64_t rows = first_rerouted(other, whole.mine), all = whole.truth.rows;
    if (rows * 4 < all || other.logits.size() != whole.mine.logits.size()) {
      judge_logits("self", what, {other, whole.rounded, whole.truth});
      return;
    }
    const LogitDistance rounded = distance(whole.rounded, whole.truth,
                                           std::max<int64_t>(1, first_rerouted(whole.rounded, whole.truth))),
                        mine = distance(other, whole.mine, rows);
    Discrepancy both = rounded.logits;  // each of the two has such an error
    both.rms *= std::sqrt(2.0);
    both.max *= std::sqrt(2.0);
    const double floor = float_budget(rounded), unit = scale_of(whole.truth);
    const Judgement judged = judge(mine.logits, both, floor);
    add({what + ": logits", "self", -1, "rel_rms", mine.logits.rms, judged.budget,
         judged.pass ? CheckStatus::pass : CheckStatus::fail,
         judged.text + " over " + std::to_string(rows) + " of " + std::to_string(all) + " tokens"});
    judge_choices("self", what + ": ", {other, whole.rounded, whole.mine}, rows, true,
                  kMaxTolerance * 2 * std::max(both.rms, floor) * unit);
  }

 private:
  // Rows before the first that went to other experts.
  static int64_t first_rerouted(const Walk& a, const Walk& b) {
    const std::vector<bool> changed = rerouted(a, b);
    return std::find(changed.begin(), changed.end(), true) - changed.begin();
  }

  void add(Check check) { keep(findings_, scope_, std::move(check)); }
  void add_number(const std::string& name, const std::string& level, const std::string& metric, double value,
                  double budget) {
    char text[80];
    std::snprintf(text, sizeof text, "%.2e of %.2e", value, budget);
    add({name, level, -1, metric, value, budget, value <= budget ? CheckStatus::pass : CheckStatus::fail, text});
  }

  static double scale_of(const Walk& truth) {
    double squares = 0;
    for (const double x : truth.logits) squares += x * x;
    return std::sqrt(squares / static_cast<double>(truth.logits.size()));
  }

  // What float sums may add beside the rounding points. The rounded run shows how the network passes errors on: its
  // points cost about 2^-24 each where they are floats, and sums of n terms as much again as float_floor says. Where
  // the points are bf16, sums in float are nothing beside them.
  double float_budget(const LogitDistance& rounded) const {
    const ModelConfig& c = subject_.config;
    const double n = static_cast<double>(std::max({c.hidden_size, c.intermediate_size, scope_.tokens}));
    if (subject_.options.dtype == DType::bf16) return float_floor(n);
    return std::max(float_floor(n), rounded.logits.rms * std::ldexp(float_floor(n), 24));
  }

  // Rows whose greedy token is another one: near-ties, where the truth's gap between the two is within the noise, and
  // the others.
  struct Choices {
    int64_t agree = 0, ties = 0, other = 0, first = -1;  // first: row of the first of the others
  };
  static Choices choices(const Walk& walk, const Walk& truth, int64_t rows, double noise) {
    Choices c;
    for (int64_t row = 0; row < rows; ++row) {
      const std::span<const double> logits = row_of(truth, row);
      const size_t right = arg_max(logits), mine = arg_max(row_of(walk, row));
      if (mine == right) {
        ++c.agree;
      } else if (!(logits[right] - logits[mine] > noise)) {
        ++c.ties;
      } else if (c.other++ == 0) {
        c.first = row;
      }
    }
    return c;
  }

  // Where nothing jumped no other choice is allowed but near-ties; else as many as rounding alone makes.
  void judge_choices(const std::string& level, const std::string& in, const Trial& trial, int64_t rows, bool quiet,
                     double noise) {
    const Choices mine = choices(trial.mine, trial.truth, rows, noise),
                  rounded = choices(trial.rounded, trial.truth, rows, noise);
    const double budget = quiet ? 0 : count_budget(static_cast<double>(rounded.other));
    char text[160];
    std::snprintf(text, sizeof text, "top-1 agrees for %.1f %% of %lld tokens, %lld near-ties (gap below %.1e)",
                  100 * static_cast<double>(mine.agree) / static_cast<double>(std::max<int64_t>(1, rows)),
                  static_cast<long long>(rows), static_cast<long long>(mine.ties), noise);
    const double value = static_cast<double>(mine.other);
    Check check{in + "greedy tokens",
                level,
                -1,
                "flips",
                value,
                budget,
                value <= budget ? CheckStatus::pass : CheckStatus::fail,
                text};
    if (mine.other > 0) check.text += "; first divergence at token " + std::to_string(mine.first);
    add(std::move(check));
  }

  // Twice as many as rounding alone brings about, and three standard deviations of such a count.
  static double count_budget(double rounded) { return kTolerance * rounded + 3 * std::sqrt(kTolerance * rounded + 1); }

  void judge_routing(const std::string& level, const std::string& in, const Trial& trial) {
    if (trial.truth.experts.empty() || trial.mine.experts.empty()) return;
    const auto count = [&](const Walk& walk) {
      const std::vector<bool> changed = rerouted(walk, trial.truth);
      return static_cast<double>(std::count(changed.begin(), changed.end(), true));
    };
    const double mine = count(trial.mine), rounded = count(trial.rounded);
    const double budget = std::min(static_cast<double>(trial.truth.rows), count_budget(rounded));
    char text[120];
    std::snprintf(text, sizeof text, "%.0f of %lld tokens changed experts somewhere; rounding alone changes %.0f", mine,
                  static_cast<long long>(trial.truth.rows), rounded);
    add({in + "routing", level, -1, "flips", mine, budget, mine <= budget ? CheckStatus::pass : CheckStatus::fail,
         text});
  }

  const Subject& subject_;
  const ParityScope& scope_;
  Findings& findings_;
};

Walk walk_alone(Engine& engine, std::span<const int32_t> tokens, int64_t steps, bool streams) {
  Walk result;
  engine.reset(0);
  const size_t prompt = tokens.size() - static_cast<size_t>(steps);
  walk(engine, 0, tokens.first(prompt), 0, true, result, streams);
  walk(engine, 0, tokens.subspan(prompt), 1, true, result, streams);
  return result;
}

// Of the stream after each layer: where the candidate has moved away further than rounding explains.
void follow_stream(const Trial& trial, const Subject& subject, const ParityScope& scope, Findings& findings) {
  const double hidden = static_cast<double>(subject.config.hidden_size);
  for (int layer = 0; layer < subject.config.num_hidden_layers; ++layer) {
    const std::string name = "hidden." + std::to_string(layer + 1);
    const auto mine = trial.mine.streams.find(name), rounded = trial.rounded.streams.find(name),
               truth = trial.truth.streams.find(name);
    if (mine == trial.mine.streams.end() || truth == trial.truth.streams.end()) continue;
    const size_t rows =
        static_cast<size_t>(LogitJudge::is_quiet(trial) ? LogitJudge::quiet_rows(trial) : trial.truth.rows);
    const size_t count =
        std::min({rows * static_cast<size_t>(subject.config.hidden_size), mine->second.size(), truth->second.size()});
    keep(findings, scope,
         compare("model", layer, "stream so far", std::span(mine->second).first(count),
                 std::span(truth->second).first(count), std::span(rounded->second).first(count), hidden * (layer + 1)));
    if (findings.checks.back().status == CheckStatus::fail) {
      findings.notes.push_back("bisect: the first layer that adds more than its budget is layer " +
                               std::to_string(layer) + "; level layer says which of its blocks");
      return;
    }
  }
}

}  // namespace

void check_model(const Subject& subject, const ParityScope& scope, References& references, Findings& findings) {
  EngineOptions options = subject.options;
  options.slots = 1;
  options.chunk = scope.chunk;
  options.max_tokens = references.rows();
  scope.progress("making the engine");
  const auto mine = subject.make(subject.config, options);
  const Precision precision = budget_precision(*mine, options.dtype);
  const auto once = [&](uint64_t seed) {
    Trial trial;
    scope.progress("candidate");
    trial.mine = walk_alone(*mine, references.tokens(seed), scope.steps, scope.bisect);
    trial.truth = references.walk(seed, {}, scope.progress);
    trial.rounded = references.walk(seed, precision, scope.progress);
    return trial;
  };
  Trial trial = once(subject.seed);
  if (scope.bisect) follow_stream(trial, subject, scope, findings);
  if (!LogitJudge::is_quiet(trial))
    for (int64_t more = 1; more < kJumpPrompts; ++more) {
      const Trial next = once(subject.seed + static_cast<uint64_t>(more));
      append(trial.mine, next.mine);
      append(trial.rounded, next.rounded);
      append(trial.truth, next.truth);
    }
  LogitJudge(subject, scope, findings).judge_logits("model", "", trial);
  collect_kernels(*mine, findings);
  findings.depth = std::max(findings.depth, references.rows());
}

namespace {

bool same_tensor(const HostTensor& a, const HostTensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() && a.empty() == b.empty() &&
         (a.empty() || std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.bytes())) == 0);
}

class SelfCheck {
 public:
  SelfCheck(const Subject& subject, const ParityScope& scope, References& references, Findings& findings)
      : subject_(subject), scope_(scope), references_(references), findings_(findings), rows_(references.rows()) {
    options_ = subject.options;
    options_.slots = 3;
    options_.max_tokens = rows_ + 1;
    options_.chunk = 3 * rows_;  // cut by the calls, so that one engine serves all ways of cutting
    tokens_ = references.tokens(subject.seed);
  }

  void run() {
    scope_.progress("making the engine");
    engine_ = subject_.make(subject_.config, options_);
    whole_.truth = references_.walk(subject_.seed, {}, scope_.progress);
    whole_.rounded = references_.walk(subject_.seed, budget_precision(*engine_, options_.dtype), scope_.progress);
    whole_.mine = walk_alone(*engine_, tokens_, scope_.steps, false);
    check_cuts();
    check_repeats();
    check_hand_over();
    check_company();
    collect_kernels(*engine_, findings_);
    findings_.depth = std::max(findings_.depth, rows_);
  }

 private:
  std::span<const int32_t> prompt() const {
    return std::span(tokens_).first(tokens_.size() - static_cast<size_t>(scope_.steps));
  }
  std::span<const int32_t> steps() const { return std::span(tokens_).last(static_cast<size_t>(scope_.steps)); }

  void add_bitwise(const std::string& name, bool same, const std::string& otherwise) {
    keep(findings_, scope_,
         {name, "self", -1, "bitwise", same ? 0.0 : 1.0, 0, same ? CheckStatus::pass : CheckStatus::fail,
          same ? "the same bits" : otherwise});
  }

  // One call, calls of a chunk, one token a call: each as far from the truth as one call may be.
  void check_cuts() {
    const auto cut = [&](const std::string& name, int64_t piece) {
      scope_.progress(name);
      Walk other;
      engine_->reset(0);
      walk(*engine_, 0, tokens_, piece, true, other);
      LogitJudge(subject_, scope_, findings_).judge_same(name, other, whole_);
    };
    LogitJudge(subject_, scope_, findings_).judge_logits("self", "one shot", whole_);
    cut("chunks of " + std::to_string(scope_.chunk), scope_.chunk);
    cut("token by token", 1);
  }

  // Prompt and steps again, unobserved: what is timed.
  std::vector<double> plain_walk(int slot) {
    Walk result;
    engine_->reset(slot);
    walk(*engine_, slot, prompt(), 0, false, result);
    walk(*engine_, slot, steps(), 1, false, result);
    return result.logits;
  }

  void check_repeats() {
    scope_.progress("twice");
    const std::vector<double> first = plain_walk(0), second = plain_walk(0);
    add_bitwise("twice", same_bits(first, second), "the same tokens after a reset give other bits");
    plain_ = first;
    Walk unobserved = whole_.mine;  // the same experts, as far as anybody can see
    unobserved.logits = first;
    LogitJudge(subject_, scope_, findings_).judge_same("unobserved", unobserved, whole_);
  }

  std::vector<double> continue_in(int slot) {
    Walk result;
    walk(*engine_, slot, steps(), 1, false, result);
    return result.logits;
  }

  // State out and into another slot; and a sequence that goes back.
  void check_hand_over() {
    scope_.progress("states out and in");
    const int layers = subject_.config.num_hidden_layers;
    const int64_t position = static_cast<int64_t>(prompt().size());
    engine_->reset(0);
    feed_prompt(0);
    engine_->reset(1);
    feed_prompt(1, 1);  // something else, to be replaced
    std::vector<LayerState> linear(static_cast<size_t>(layers));
    bool same = true;
    int first = -1;
    for (int layer = 0; layer < layers; ++layer) {
      LayerState state = engine_->export_state(0, layer);
      engine_->import_state(1, layer, state, position);
      const LayerState back = engine_->export_state(1, layer);
      if (!(same_tensor(state.k, back.k) && same_tensor(state.v, back.v) && same_tensor(state.kv, back.kv)) && same)
        same = false, first = layer;
      if (!state.kv.empty()) linear[static_cast<size_t>(layer)] = std::move(state);
    }
    add_bitwise("state out and in", same, "layer " + std::to_string(first) + " comes back with other bits");
    const std::vector<double> original = continue_in(0), handed = continue_in(1);
    add_bitwise("continued from an imported state", same_bits(original, handed),
                "the copy goes on differently from the original");
    engine_->seek(0, position);
    add_bitwise("seek", engine_->position(0) == position,
                "position " + std::to_string(engine_->position(0)) + " after seek to " + std::to_string(position));
    for (int layer = 0; layer < layers; ++layer)
      if (!linear[static_cast<size_t>(layer)].kv.empty())
        engine_->import_state(0, layer, linear[static_cast<size_t>(layer)], position);
    add_bitwise("back and on again", same_bits(original, continue_in(0)), "after seek, the same steps give other bits");
  }

  void feed_prompt(int slot, uint64_t other = 0) {
    const std::vector<int32_t> tokens =
        random_tokens(subject_.config, subject_.seed + 100 * other, static_cast<int64_t>(prompt().size()));
    const Step step = {slot, tokens};
    engine_->forward({&step, 1}, Rows::last);
  }

  // Three sequences at once, the middle one being ours: prompts together, then steps together.
  void check_company() {
    scope_.progress("in company");
    const std::vector<int32_t> left = random_tokens(subject_.config, subject_.seed + 17, rows_),
                               right = random_tokens(subject_.config, subject_.seed + 18, rows_);
    const size_t P = prompt().size();
    for (int slot = 0; slot < 3; ++slot) engine_->reset(slot);
    Walk mine;
    mine.vocab = subject_.config.vocab_size;
    // A neighbour that is ahead: positions differ.
    const Step ahead = {2, std::span(right).first(P / 2)};
    engine_->forward({&ahead, 1}, Rows::none);
    const std::vector<Step> prompts = {
        {0, std::span(left).first(P)}, {1, prompt()}, {2, std::span(right).first(P / 3)}};
    watch_rows(static_cast<int64_t>(P), static_cast<int64_t>(P), static_cast<int64_t>(2 * P + P / 3), mine);
    engine_->forward(prompts, Rows::all);
    take_rows(static_cast<int64_t>(P), static_cast<int64_t>(P), mine);
    watch_rows(1, 1, 3, mine);
    for (size_t s = 0; s < steps().size(); ++s) {
      const std::vector<Step> batch = {
          {0, std::span(left).subspan(P + s, 1)}, {1, steps().subspan(s, 1)}, {2, std::span(right).subspan(P + s, 1)}};
      engine_->forward(batch, Rows::last);
      take_rows(1, 1, mine);
    }
    engine_->hook = nullptr;
    mine.rows = static_cast<int64_t>(mine.logits.size()) / mine.vocab;
    const bool same = same_bits(mine.logits, plain_);
    findings_.notes.push_back(same ? "a row of a batch of three has the same bits as alone"
                                   : "a row of a batch of three differs from alone in its last bits");
    LogitJudge(subject_, scope_, findings_).judge_same("in company", mine, whole_);
  }

  // Notes the experts of our rows, where all rows of a call go through the layers together.
  void watch_rows(int64_t first, int64_t count, int64_t all, Walk& into) {
    engine_->hook = [&into, first, count, all](int layer, std::string_view name, const HostTensorView& values) {
      if (name != "topk_ids" || values.shape[0] != all) return;
      const std::vector<double> ids = to_doubles(values);
      const int64_t k = values.shape[1];
      for (int64_t row = first; row < first + count; ++row) {
        std::vector<int> chosen(ids.begin() + row * k, ids.begin() + (row + 1) * k);
        std::sort(chosen.begin(), chosen.end());
        into.experts[layer].push_back(std::move(chosen));
      }
    };
  }

  void take_rows(int64_t first, int64_t count, Walk& into) const {
    const std::vector<double> all = to_doubles(engine_->logits());
    into.logits.insert(into.logits.end(), all.begin() + first * into.vocab, all.begin() + (first + count) * into.vocab);
  }

  const Subject& subject_;
  const ParityScope& scope_;
  References& references_;
  Findings& findings_;
  int64_t rows_;
  EngineOptions options_;
  std::vector<int32_t> tokens_;
  std::unique_ptr<Engine> engine_;
  Trial whole_;                // in one call
  std::vector<double> plain_;  // the candidate's logits, unobserved
};

}  // namespace

void check_self(const Subject& subject, const ParityScope& scope, References& references, Findings& findings) {
  SelfCheck(subject, scope, references, findings).run();
}

}  // namespace ringbench
