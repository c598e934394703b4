// parity_layers.cpp: levels layer, state, depth and yarn: the reference recomputes one layer at a time from what went
// into the candidate's own, so that errors do not add up and the first layer that is wrong is named. Only one layer's
// reference weights are in memory.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>

#include "harness/parity_levels.h"
#include "harness/workload.h"
#include "reference/bf16.h"
#include "reference/random.h"

namespace ringbench {
namespace {

using Values = std::vector<double>;

// What one layer did: tensors of all passes, rows first, and the state it ended with.
struct LayerRun {
  std::map<std::string, Values> tensors;
  std::map<std::string, int64_t> widths;  // of a row
  LayerState state;

  const Values* find(const std::string& name) const {
    const auto found = tensors.find(name);
    return found == tensors.end() ? nullptr : &found->second;
  }
  void take(std::string_view name, const HostTensorView& tensor) {
    const Values rows = to_doubles(tensor);
    Values& all = tensors[std::string(name)];
    all.insert(all.end(), rows.begin(), rows.end());
    if (!tensor.shape.empty() && tensor.shape[0] > 0) widths[std::string(name)] = tensor.size() / tensor.shape[0];
  }
};

// The state before the first pass, where it is not empty.
struct Start {
  const LayerState* state;
  int64_t position;
};

LayerRun as_shown(const std::vector<Pass>& passes) {
  LayerRun run;
  for (const Pass& pass : passes)
    for (const auto& [name, tensor] : pass) run.take(name, tensor);
  return run;
}

// The reference's layer, fed with the inputs that the candidate's had, pass by pass.
LayerRun recompute(const Subject& subject, int layer, const EngineOptions& options, const std::vector<Pass>& passes,
                   const std::optional<Start>& start) {
  const auto reference = make_reference_layer(subject.config, *subject.weights, layer, options);
  if (start) reference->import_state(*start->state, start->position);
  LayerRun run;
  reference->hook = [&](int, std::string_view name, const HostTensorView& values) { run.take(name, values); };
  for (const Pass& pass : passes) {
    reference->attention(pass.at("attn_in"));
    if (const auto input = pass.find("mlp_in"); input != pass.end()) reference->mlp(input->second);
  }
  run.state = reference->export_state();
  return run;
}

// --- Routing ---

// What the router selects by: scores of one token's logits plus the expert bias. `logits`, `bias` [experts].
Values selection(const ModelConfig& config, std::span<const double> logits, const Values& bias) {
  Values choice(logits.begin(), logits.end());
  if (config.router == Router::sigmoid_topk) {
    for (double& x : choice) x = 1 / (1 + std::exp(-x));
  } else if (config.router == Router::softmax_topk) {
    const double top = *std::max_element(choice.begin(), choice.end());
    double sum = 0;
    for (double& x : choice) sum += x = std::exp(x - top);
    for (double& x : choice) x /= sum;
  }
  for (size_t e = 0; e < bias.size(); ++e) choice[e] += bias[e];
  return choice;
}

// Of each group the sum of its two best: what group-limited routing chooses groups by.
Values group_scores(const Values& choice, int n_group) {
  const int64_t size = static_cast<int64_t>(choice.size()) / n_group;
  Values scores;
  for (int64_t g = 0; g < n_group; ++g) {
    Values group(choice.begin() + g * size, choice.begin() + (g + 1) * size);
    std::sort(group.rbegin(), group.rend());
    scores.push_back(group[0] + (group.size() > 1 ? group[1] : 0));
  }
  return scores;
}

// Smallest distance between an expert that one side chose and one that the other chose in its place: of their scores,
// or of their groups'.
double margin(const ModelConfig& config, const Values& choice, const std::vector<int>& mine,
              const std::vector<int>& truth) {
  const Values groups = config.n_group > 1 ? group_scores(choice, config.n_group) : Values{};
  const auto group_of = [&](int e) {
    return static_cast<size_t>(e) * static_cast<size_t>(config.n_group) / choice.size();
  };
  double smallest = std::numeric_limits<double>::infinity();
  for (const int a : mine) {
    if (std::binary_search(truth.begin(), truth.end(), a)) continue;
    for (const int b : truth) {
      if (std::binary_search(mine.begin(), mine.end(), b)) continue;
      smallest = std::min(smallest, std::abs(choice[static_cast<size_t>(a)] - choice[static_cast<size_t>(b)]));
      if (config.n_group > 1 && group_of(a) != group_of(b))
        for (size_t other = 0; other < groups.size(); ++other)  // the group that b's or a's was exchanged with
          if (other != group_of(a)) smallest = std::min(smallest, std::abs(groups[group_of(a)] - groups[other]));
    }
  }
  return smallest;
}

std::vector<int> sorted_ids(const Values& ids, size_t row, size_t k) {
  std::vector<int> chosen(ids.begin() + static_cast<int64_t>(row * k), ids.begin() + static_cast<int64_t>(row * k + k));
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

Values rows_of(const Values& all, int64_t width, const std::vector<bool>& wanted) {
  Values some;
  for (size_t row = 0; row < wanted.size(); ++row)
    if (wanted[row])
      some.insert(some.end(), all.begin() + static_cast<int64_t>(row) * width,
                  all.begin() + (static_cast<int64_t>(row) + 1) * width);
  return some;
}

// Weights of the chosen experts by falling expert id: the order of two nearly equal weights means nothing.
Values weights_by_id(const LayerRun& run, size_t k) {
  const Values &ids = *run.find("topk_ids"), &weights = *run.find("topk_weights");
  Values sorted;
  for (size_t begin = 0; begin + k <= ids.size(); begin += k) {
    std::vector<size_t> order(k);
    std::iota(order.begin(), order.end(), begin);
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return ids[a] > ids[b]; });
    for (const size_t i : order) sorted.push_back(weights.at(i));
  }
  return sorted;
}

// --- One layer ---

class LayerCheck {
 public:
  LayerCheck(const Subject& subject, const ParityScope& scope, std::string level, int layer, Findings& findings)
      : subject_(subject), scope_(scope), level_(std::move(level)), layer_(layer), findings_(findings) {}

  // `end`: the candidate's state afterwards, or null. Of softmax caches only rows from `first_row` on are compared.
  void run(const std::vector<Pass>& passes, const Recording& recording, const std::optional<Start>& start,
           const LayerState* end, int64_t first_row, const Precision& precision) {
    precision_ = precision;
    const EngineOptions truth_of = reference_options(passes, start, {}),
                        rounded_of = reference_options(passes, start, precision);
    const LayerRun mine = as_shown(passes), truth = recompute(subject_, layer_, truth_of, passes, start);
    LayerRun rounded = recompute(subject_, layer_, rounded_of, passes, start);
    position_ = static_cast<double>(truth_of.max_tokens);
    check_stream(mine, recording);
    for (const char* name : {"q", "k", "v", "attn_ctx", "g_norm_out", "gate", "dense_in", "attn_out", "router_logits"})
      check_tensor(name, mine, truth, rounded);
    check_mlp(mine, truth, rounded);
    if (end != nullptr) check_state(*end, truth.state, rounded.state, first_row);
    for (const auto& [name, values] : truth.tensors)
      if (mine.find(name) == nullptr && name != "router_scores") missing_.insert(name);
    if (!missing_.empty()) {
      std::string note = "not shown by the engine:";
      for (const std::string& name : missing_) note += " " + name;
      if (std::find(findings_.notes.begin(), findings_.notes.end(), note) == findings_.notes.end())
        findings_.notes.push_back(note);
    }
  }

 private:
  EngineOptions reference_options(const std::vector<Pass>& passes, const std::optional<Start>& start,
                                  const Precision& precision) const {
    EngineOptions options = truth_options(subject_.options, precision);
    options.slots = 1;
    options.max_tokens = start ? start->position : 0;
    for (const Pass& pass : passes) options.max_tokens += pass.at("attn_in").shape()[0];
    return options;
  }

  void add(const std::string& what, std::span<const double> values, std::span<const double> truth,
           std::span<const double> rounded, double length) {
    keep(findings_, scope_, compare(level_, layer_, what, values, truth, rounded, length));
  }

  // Longest sum behind a tensor, counted from the layer's input.
  double length_of(std::string_view name) const {
    const ModelConfig& c = subject_.config;
    const double hidden = static_cast<double>(c.hidden_size);
    const double width = static_cast<double>(c.num_attention_heads) * c.head_dim;
    if (name == "q" || name == "k" || name == "v" || name == "gate" || name == "router_logits") return hidden;
    if (name == "attn_ctx" || name == "g_norm_out" || name == "dense_in") return std::max(hidden, position_);
    if (name == "attn_out") return std::max({hidden, width, position_});
    return std::max(
        {hidden, static_cast<double>(c.intermediate_size), static_cast<double>(c.shared_intermediate_size)});
  }

  void check_tensor(const std::string& name, const LayerRun& mine, const LayerRun& truth, const LayerRun& rounded) {
    const Values *m = mine.find(name), *t = truth.find(name), *r = rounded.find(name);
    if (m == nullptr || t == nullptr || r == nullptr) return;
    const bool after_norm = name == "g_norm_out" || name == "dense_in" || name == "attn_out";
    keep(findings_, scope_,
         compare(level_, layer_, name, *m, *t, *r, length_of(name), after_norm ? group_norm_gain(truth) : Gain{}));
  }

  // Of the group norm after linear attention: every group becomes as large as the others, and its error with it. The
  // first token's output is one key's share of its value, (q . k) v, which may be next to nothing.
  Gain group_norm_gain(const LayerRun& truth) const {
    const Values* o = truth.find("attn_ctx");
    if (o == nullptr || subject_.config.layer_types[static_cast<size_t>(layer_)] != LayerType::linear_attention)
      return {};
    const size_t size =
        static_cast<size_t>(truth.widths.at("attn_ctx")) / static_cast<size_t>(subject_.config.group_norm_size);
    const auto mean_square = [](std::span<const double> values) {
      return std::inner_product(values.begin(), values.end(), values.begin(), 0.0) / static_cast<double>(values.size());
    };
    const double all = mean_square(*o), eps = subject_.config.rms_norm_eps;
    Gain gain{0, 1};
    for (size_t begin = 0; begin + size <= o->size(); begin += size) {
      const double square = all / (mean_square(std::span(*o).subspan(begin, size)) + eps);
      gain.rms += square * static_cast<double>(size) / static_cast<double>(o->size());
      gain.max = std::max(gain.max, std::sqrt(square));
    }
    gain.rms = std::max(1.0, std::sqrt(gain.rms));
    return gain;
  }

  // Norms and residual sums around the two blocks, from the stream that the candidate shows.
  void check_stream(const LayerRun& mine, const Recording& recording) {
    const auto before = recording.streams.find("hidden." + std::to_string(layer_)),
               after = recording.streams.find("hidden." + std::to_string(layer_ + 1));
    const Values *attn_in = mine.find("attn_in"), *attn_out = mine.find("attn_out"), *mlp_in = mine.find("mlp_in"),
                 *mlp_out = mine.find("mlp_out");
    if (before == recording.streams.end() || attn_in == nullptr || before->second.size() != attn_in->size()) {
      if (!subject_.one_layer_at_a_time) missing_.insert("hidden." + std::to_string(layer_));
      return;
    }
    const std::string name = "model.layers." + std::to_string(layer_) + ".";
    const double hidden = static_cast<double>(subject_.config.hidden_size);
    Values h = before->second;
    add("attn_in", *attn_in, norm(h, name + "input_layernorm.weight", Rounding::none),
        norm(h, name + "input_layernorm.weight", precision_.norm), hidden);
    if (attn_out == nullptr || mlp_in == nullptr || attn_out->size() != h.size() || mlp_in->size() != h.size()) return;
    std::transform(h.begin(), h.end(), attn_out->begin(), h.begin(), std::plus<>());
    Values rounded = h;
    round_to<double>(precision_.residual, rounded, static_cast<size_t>(subject_.config.hidden_size));
    add("mlp_in", *mlp_in, norm(h, name + "post_attention_layernorm.weight", Rounding::none),
        norm(rounded, name + "post_attention_layernorm.weight", precision_.norm), hidden);
    if (after == recording.streams.end() || mlp_out == nullptr || mlp_out->size() != h.size()) return;
    std::transform(h.begin(), h.end(), mlp_out->begin(), h.begin(), std::plus<>());
    std::transform(rounded.begin(), rounded.end(), mlp_out->begin(), rounded.begin(), std::plus<>());
    round_to<double>(precision_.residual, rounded, static_cast<size_t>(subject_.config.hidden_size));
    add("stream", after->second, h, rounded, 2);
  }

  // RMSNorm of rows [T, hidden_size] by a weight of the layer.
  Values norm(const Values& rows, const std::string& weight_name, Rounding rounding) const {
    const size_t width = static_cast<size_t>(subject_.config.hidden_size);
    Values weight(width), out(rows.size());
    subject_.weights->read<double>(weight_name, weight);
    for (size_t begin = 0; begin < rows.size(); begin += width) {
      double squares = 0;
      for (size_t i = 0; i < width; ++i) squares += rows[begin + i] * rows[begin + i];
      const double scale = 1 / std::sqrt(squares / static_cast<double>(width) + subject_.config.rms_norm_eps);
      for (size_t i = 0; i < width; ++i) out[begin + i] = rows[begin + i] * scale * weight[i];
    }
    round_to<double>(rounding, out, width);
    return out;
  }

  // Routing is discontinuous: tokens whose experts changed because two were nearly equal are counted and left out of
  // what follows from the choice; other changes are failures.
  void check_mlp(const LayerRun& mine, const LayerRun& truth, LayerRun& rounded) {
    const Values *ids = mine.find("topk_ids"), *true_ids = truth.find("topk_ids"), *mlp_out = mine.find("mlp_out");
    if (true_ids == nullptr || ids == nullptr || ids->size() != true_ids->size()) {
      if (true_ids != nullptr && ids != nullptr)
        keep(findings_, scope_, compare(level_, layer_, "topk_ids", *ids, *true_ids, *true_ids, 1));
      check_tensor("mlp_out", mine, truth, rounded);
      return;
    }
    const size_t k = static_cast<size_t>(truth.widths.at("topk_ids")), T = true_ids->size() / k;
    const size_t E = static_cast<size_t>(subject_.config.num_experts);
    Values bias;
    if (subject_.config.moe_router_enable_expert_bias) {
      bias.resize(E);
      subject_.weights->read<double>("model.layers." + std::to_string(layer_) + ".mlp.gate.expert_bias", bias);
    }
    const Values& true_logits = *truth.find("router_logits");
    // Without the candidate's own logits the budget's error stands in for its error.
    const Values& logits =
        mine.find("router_logits") != nullptr && mine.find("router_logits")->size() == true_logits.size()
            ? *mine.find("router_logits")
            : *rounded.find("router_logits");
    std::vector<bool> same(T, true), rounded_same(T, true);
    int64_t near_ties = 0, wrong = 0, first_wrong = -1;
    for (size_t t = 0; t < T; ++t) {
      const std::vector<int> chosen = sorted_ids(*ids, t, k), right = sorted_ids(*true_ids, t, k);
      rounded_same[t] = sorted_ids(*rounded.find("topk_ids"), t, k) == right;
      if (chosen == right) continue;
      same[t] = false;
      const Values choice = selection(subject_.config, std::span(true_logits).subspan(t * E, E), bias),
                   seen = selection(subject_.config, std::span(logits).subspan(t * E, E), bias);
      double error = 1e-7;  // scores are at least float
      for (size_t e = 0; e < E; ++e) error = std::max(error, std::abs(choice[e] - seen[e]));
      // Each of two scores may be off by the error; a group's score is a sum of two.
      const bool in_range = chosen.front() >= 0 && chosen.back() < static_cast<int>(E);
      if (in_range && margin(subject_.config, choice, chosen, right) <= 4 * error) {
        ++near_ties;
      } else if (wrong++ == 0) {
        first_wrong = static_cast<int64_t>(t);
      }
    }
    Check check{check_name(layer_, "topk_ids"),
                level_,
                layer_,
                "flips",
                static_cast<double>(wrong),
                0,
                wrong == 0 ? CheckStatus::pass : CheckStatus::fail,
                std::to_string(near_ties) + " near-ties of " + std::to_string(T) + " tokens"};
    if (wrong > 0)
      check.text = std::to_string(wrong) + " of " + std::to_string(T) +
                   " tokens go to other experts without a near-tie, first token " + std::to_string(first_wrong);
    keep(findings_, scope_, std::move(check));
    if (near_ties > 0)
      findings_.notes.push_back(check_name(layer_, "routing: ") + std::to_string(near_ties) + " of " +
                                std::to_string(T) + " tokens flipped at a near-tie; left out of mlp_out");

    // One choice, and a routing that is not measured, have weights that are all the same.
    if (mine.find("topk_weights") != nullptr && k > 1 && subject_.options.routing == Routing::measured)
      add("topk_weights", rows_of(weights_by_id(mine, k), static_cast<int64_t>(k), same),
          rows_of(weights_by_id(truth, k), static_cast<int64_t>(k), same),
          matching(weights_by_id(rounded, k), weights_by_id(truth, k), static_cast<int64_t>(k), same, rounded_same),
          length_of("router_logits"));
    if (mlp_out == nullptr || mlp_out->size() != truth.find("mlp_out")->size()) return;
    const int64_t width = truth.widths.at("mlp_out");
    add("mlp_out", rows_of(*mlp_out, width, same), rows_of(*truth.find("mlp_out"), width, same),
        matching(*rounded.find("mlp_out"), *truth.find("mlp_out"), width, same, rounded_same), length_of("mlp_out"));
  }

  // The rounded rows, where the rounded reference chose as the truth did; the truth itself elsewhere: a row that says
  // nothing about the budget.
  static Values matching(const Values& rounded, const Values& truth, int64_t width, const std::vector<bool>& wanted,
                         const std::vector<bool>& rounded_same) {
    Values rows = rounded;
    for (size_t t = 0; t < wanted.size(); ++t)
      if (!rounded_same[t])
        std::copy_n(truth.begin() + static_cast<int64_t>(t) * width, width,
                    rows.begin() + static_cast<int64_t>(t) * width);
    return rows_of(rows, width, wanted);
  }

  void check_state(const LayerState& mine, const LayerState& truth, const LayerState& rounded, int64_t first_row) {
    const std::string level = level_ == "layer" ? "state" : level_;
    const std::array<std::tuple<const char*, const HostTensor*, const HostTensor*, const HostTensor*>, 3> parts = {
        {{"state.k", &mine.k, &truth.k, &rounded.k},
         {"state.v", &mine.v, &truth.v, &rounded.v},
         {"state.kv", &mine.kv, &truth.kv, &rounded.kv}}};
    for (const auto& [name, m, t, r] : parts) {
      if (t->empty()) continue;
      if (m->shape() != t->shape()) {
        keep(findings_, scope_,
             {check_name(layer_, name), level, layer_, "shape", 1, 0, CheckStatus::fail,
              "shape " + shape_string(m->shape()) + ", expected " + shape_string(t->shape())});
        continue;
      }
      const int64_t from = t == &truth.kv ? 0 : first_row;
      keep(findings_, scope_,
           compare(level, layer_, name, rows_from(*m, from), rows_from(*t, from), rows_from(*r, from),
                   t == &truth.kv ? std::max(static_cast<double>(subject_.config.hidden_size), position_)
                                  : static_cast<double>(subject_.config.hidden_size)));
    }
    if (!truth.kv.empty() && mine.kv.shape() == truth.kv.shape()) check_state_type(mine.kv, level);
  }

  // A state that is kept in bf16 has nothing but bf16 values in it; one of floats has them by chance.
  void check_state_type(const HostTensor& kv, const std::string& level) {
    int64_t held = 0, all = 0;
    for (const double x : to_doubles(kv)) {
      if (x == 0 || !std::isfinite(x)) continue;
      ++all;
      held += static_cast<double>(static_cast<float>(bf16(static_cast<float>(x)))) == x;
    }
    const double share = all > 0 ? static_cast<double>(held) / static_cast<double>(all) : 0;
    char text[96];
    std::snprintf(text, sizeof text, "%.1f %% of the state are bf16 values%s", 100 * share,
                  share > 0.5 ? ": it is kept in bf16, not in f32" : "");
    keep(findings_, scope_,
         {check_name(layer_, "state type"), level, layer_, "bf16_share", share, 0.5,
          share <= 0.5 ? CheckStatus::pass : CheckStatus::fail, text});
  }

  static Values rows_from(const HostTensor& tensor, int64_t row) {
    if (row == 0) return to_doubles(tensor);
    const int64_t rows = tensor.shape()[0], width = tensor.size() / std::max<int64_t>(1, rows);
    return to_doubles(
        HostTensorView(tensor.dtype(), {rows - row, width}, tensor.raw() + row * width * size_of(tensor.dtype())));
  }

  const Subject& subject_;
  const ParityScope& scope_;
  std::string level_;
  int layer_;
  Findings& findings_;
  Precision precision_;
  double position_ = 0;
  std::set<std::string> missing_;
};

std::set<int> wanted_layers(const Subject& subject, const ParityScope& scope) {
  std::set<int> wanted(scope.layers.begin(), scope.layers.end());
  if (wanted.empty())
    for (int i = 0; i < subject.config.num_hidden_layers; ++i) wanted.insert(i);
  return wanted;
}

// Layers whose recordings are kept at once: at most 1 GiB of them.
std::vector<std::set<int>> groups_of(const ModelConfig& c, const std::set<int>& layers, int64_t rows) {
  const int64_t row =
      6 * c.hidden_size + (6 * c.num_attention_heads + 2 * c.num_key_value_heads) * c.head_dim + 2 * c.num_experts;
  const int64_t most = std::max<int64_t>(1, (int64_t{1} << 30) / (row * rows * size_of(DType::f64)));
  std::vector<std::set<int>> groups;
  for (const int layer : layers) {
    if (groups.empty() || static_cast<int64_t>(groups.back().size()) >= most) groups.emplace_back();
    groups.back().insert(layer);
  }
  return groups;
}

void feed(Engine& engine, std::span<const int32_t> tokens, size_t piece) {
  for (size_t done = 0; done < tokens.size(); done += piece) {
    const Step step = {0, tokens.subspan(done, std::min(piece, tokens.size() - done))};
    engine.forward({&step, 1}, Rows::last);
  }
}

// The greedy token is that of the largest logit, the lowest id of equal ones.
void check_choice(Engine& engine, const ParityScope& scope, const std::string& level, Findings& findings) {
  std::vector<int32_t> chosen(1);
  engine.argmax(chosen);
  const Values logits = to_doubles(engine.logits());
  const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  keep(findings, scope,
       {"greedy choice", level, -1, "bitwise", chosen[0] == best ? 0.0 : 1.0, 0,
        chosen[0] == best ? CheckStatus::pass : CheckStatus::fail,
        "token " + std::to_string(chosen[0]) + " is chosen, " + std::to_string(best) + " has the largest logit"});
}

void note_layers(Findings& findings, const std::set<int>& layers) {
  for (const int layer : layers)
    if (std::find(findings.layers.begin(), findings.layers.end(), layer) == findings.layers.end())
      findings.layers.push_back(layer);
  std::sort(findings.layers.begin(), findings.layers.end());
}

}  // namespace

std::string check_name(int layer, const std::string& what) {
  return layer < 0 ? what : "layer " + std::to_string(layer) + " " + what;
}

void keep(Findings& findings, const ParityScope& scope, Check check) {
  const bool failed = check.status == CheckStatus::fail;
  findings.checks.push_back(std::move(check));
  if (failed && scope.fail_fast) throw EnoughSeen();
}

Check compare(const std::string& level, int layer, const std::string& what, std::span<const double> values,
              std::span<const double> truth, std::span<const double> rounded, double length, const Gain& gain) {
  return compare_above(level, layer, what, values, truth, rounded, float_floor(length), gain);
}

Check compare_above(const std::string& level, int layer, const std::string& what, std::span<const double> values,
                    std::span<const double> truth, std::span<const double> rounded, double floor, const Gain& gain) {
  Check check{check_name(layer, what), level, layer, "rel_rms", 0, 0, CheckStatus::pass, ""};
  if (values.size() != truth.size()) {
    check.metric = "shape";
    check.value = static_cast<double>(values.size());
    check.budget = static_cast<double>(truth.size());
    check.status = CheckStatus::fail;
    check.text = std::to_string(values.size()) + " values, expected " + std::to_string(truth.size());
    return check;
  }
  if (truth.empty()) {  // all rows left out
    check.status = CheckStatus::mistrusted;
    check.text = "nothing left to compare";
    return check;
  }
  const Discrepancy distance = discrepancy(values, truth);
  const Judgement judged = judge(distance, discrepancy(rounded, truth), floor, gain);
  check.value = distance.rms;
  check.budget = judged.budget;
  check.text = judged.text;
  check.status = !judged.pass ? CheckStatus::fail : !distance.trustworthy ? CheckStatus::mistrusted : CheckStatus::pass;
  if (check.status == CheckStatus::mistrusted) check.text += "; the truth is constant, saturated or nearly all zeros";
  return check;
}

void collect_kernels(Engine& engine, Findings& findings) {
  for (const std::string& kernel : engine.report().kernels) {
    const auto place = std::lower_bound(findings.kernels.begin(), findings.kernels.end(), kernel);
    if (place == findings.kernels.end() || *place != kernel) findings.kernels.insert(place, kernel);
  }
}

void check_one_layer(const Subject& subject, const ParityScope& scope, int layer, const std::vector<Pass>& passes,
                     const Recording& recording, const LayerState* end, const Precision& precision,
                     Findings& findings) {
  LayerCheck(subject, scope, "layer", layer, findings).run(passes, recording, std::nullopt, end, 0, precision);
}

namespace {

// Rows of unit normal numbers, as norms give them.
HostTensor random_rows(const ModelConfig& config, uint64_t key, int64_t rows) {
  HostTensor x(DType::f32, {rows, config.hidden_size});
  const RandomNormal normal = RandomNormal::around_zero(mix64(key), 1.f);
  uint64_t index = 0;
  for (float& value : x.as<float>()) value = normal(index++);
  return x;
}

// Each layer by itself, its weights made, used and freed: no engine, no stream between the layers.
void check_lone_layers(const Subject& subject, const ParityScope& scope, const std::string& level,
                       const std::set<int>& layers, Findings& findings) {
  EngineOptions options = subject.options;
  options.slots = 1;
  options.max_tokens = scope.tokens + scope.steps;
  Precision precision;  // what a float engine rounds
  if (options.dtype != DType::f64) {
    constexpr Rounding f = Rounding::f32;
    precision = {f, f, f, f, f, f, f, f, f, f, f};
  }
  for (const int layer : layers) {
    scope.progress("layer " + std::to_string(layer));
    std::vector<Pass> passes;
    LayerState state;
    {
      const auto candidate = make_reference_layer(subject.config, *subject.weights, layer, options);
      candidate->hook = [&](int, std::string_view name, const HostTensorView& values) {
        passes.back().insert_or_assign(std::string(name), copy_of(values));
      };
      const int64_t chunk = scope.chunk > 0 ? scope.chunk : scope.tokens;
      for (int64_t done = 0; done < options.max_tokens;) {
        const int64_t rows = done < scope.tokens ? std::min(chunk, scope.tokens - done) : 1;
        const uint64_t key = subject.seed * 1000003 + static_cast<uint64_t>(layer * options.max_tokens + done) * 2;
        Pass& pass = passes.emplace_back();
        const HostTensorView in = pass.emplace("attn_in", random_rows(subject.config, key, rows)).first->second;
        candidate->attention(in);
        const HostTensorView mlp_in = pass.emplace("mlp_in", random_rows(subject.config, key + 1, rows)).first->second;
        candidate->mlp(mlp_in);
        done += rows;
      }
      state = candidate->export_state();
    }
    LayerCheck(subject, scope, level, layer, findings).run(passes, {}, std::nullopt, &state, 0, precision);
  }
  findings.depth = std::max(findings.depth, options.max_tokens);
  note_layers(findings, layers);
}

}  // namespace

void check_layers(const Subject& subject, const ParityScope& scope, const std::string& level, Findings& findings) {
  const std::set<int> layers = wanted_layers(subject, scope);
  if (subject.one_layer_at_a_time) return check_lone_layers(subject, scope, level, layers, findings);
  const bool look_at_states =
      level != "layer" || std::find(scope.levels.begin(), scope.levels.end(), "state") != scope.levels.end();
  const std::vector<int32_t> tokens = random_tokens(subject.config, subject.seed, scope.tokens + scope.steps);
  EngineOptions options = subject.options;
  options.slots = 1;
  options.chunk = scope.chunk;
  options.max_tokens = scope.tokens + scope.steps;
  scope.progress("making the engine");
  const auto engine = subject.make(subject.config, options);
  const Precision precision = budget_precision(*engine, options.dtype);
  const std::vector<std::set<int>> groups = groups_of(subject.config, layers, options.max_tokens);
  for (const std::set<int>& group : groups) {
    Recording recording;
    engine->reset(0);
    scope.progress("walking");
    engine->hook = recording.hook(group);
    feed(*engine, std::span(tokens).first(static_cast<size_t>(scope.tokens)), static_cast<size_t>(scope.tokens));
    feed(*engine, std::span(tokens).subspan(static_cast<size_t>(scope.tokens)), 1);
    engine->hook = nullptr;
    if (group == groups.front()) check_choice(*engine, scope, level, findings);
    for (const int layer : group) {
      scope.progress("layer " + std::to_string(layer));
      const std::vector<Pass>& passes = recording.layers[layer];
      if (passes.empty()) {
        keep(findings, scope,
             {check_name(layer, "attn_in"), level, layer, "shape", 0, 0, CheckStatus::fail,
              "the engine shows nothing of this layer"});
        continue;
      }
      std::optional<LayerState> state;
      if (look_at_states) state = engine->export_state(0, layer);
      LayerCheck(subject, scope, level, layer, findings)
          .run(passes, recording, std::nullopt, state ? &*state : nullptr, 0, precision);
      recording.layers.erase(layer);
    }
  }
  collect_kernels(*engine, findings);
  findings.depth = std::max(findings.depth, options.max_tokens);
  note_layers(findings, layers);
}

void check_depth(const Subject& subject, const ParityScope& scope, Findings& findings) {
  const ModelConfig& config = subject.config;
  std::set<int> layers = wanted_layers(subject, scope);
  if (scope.layers.empty() && scope.depth * config.num_hidden_layers > (1 << 20)) {
    // The first and the last of each kind.
    std::map<LayerType, std::set<int>> kinds;
    for (const int layer : layers) kinds[config.layer_types[static_cast<size_t>(layer)]].insert(layer);
    layers.clear();
    for (const auto& [type, some] : kinds) layers.insert(*some.begin()), layers.insert(*some.rbegin());
  }
  EngineOptions options = subject.options;
  options.slots = 1;
  options.max_tokens = scope.depth + 1;
  if (scope.prefilled && options.chunk == 0) options.chunk = 8192;
  scope.progress("making the engine");
  const auto engine = subject.make(config, options);
  const Precision precision = budget_precision(*engine, options.dtype);
  Clock clock;
  Workload workload(*engine, 1, options.chunk, subject.seed, clock);
  if (scope.prefilled) {
    workload.prefill(scope.depth, [&](int64_t done) {
      scope.progress("prefill " + std::to_string(done * 100 / scope.depth) + " %");
    });
  } else {
    scope.progress("filling caches");
    workload.fill_synthetic(scope.depth);
  }
  const auto is_linear = [&](int i) {
    return config.layer_types[static_cast<size_t>(i)] == LayerType::linear_attention;
  };
  std::map<int, LayerState> before;  // linear states change with the step; caches only grow
  for (const int layer : layers)
    if (is_linear(layer)) before.emplace(layer, engine->export_state(0, layer));

  Recording recording;
  engine->hook = recording.hook(layers);
  feed(*engine, random_tokens(config, subject.seed + 1, 1), 1);
  engine->hook = nullptr;
  for (const int layer : layers) {
    scope.progress("layer " + std::to_string(layer));
    LayerState after = engine->export_state(0, layer);
    LayerState* start = is_linear(layer) ? &before.at(layer) : &after;
    LayerState cut;  // the cache as it was: all rows but the last
    if (!is_linear(layer)) {
      for (const auto& [from, to] : {std::pair(&after.k, &cut.k), std::pair(&after.v, &cut.v)}) {
        *to = HostTensor(from->dtype(), {scope.depth, config.num_key_value_heads, config.head_dim});
        std::memcpy(to->raw(), from->raw(), static_cast<size_t>(to->bytes()));
      }
      start = &cut;
    }
    LayerCheck(subject, scope, "depth", layer, findings)
        .run(recording.layers[layer], recording, Start{start, scope.depth}, &after, scope.depth, precision);
    before.erase(layer);
  }
  collect_kernels(*engine, findings);
  findings.depth = std::max(findings.depth, scope.depth);
  note_layers(findings, layers);
}

void check_yarn(const Subject& subject, const ParityScope& scope, Findings& findings) {
  if (subject.config.rotary_dim == 0) return;
  // One whose window the prompt leaves, and none at all; the config's own is what the other levels use.
  const RopeScaling narrow = RopeScaling::yarn(4, std::max<int64_t>(4, scope.tokens / 4));
  for (const std::optional<RopeScaling>& scaling : {std::optional(narrow), std::optional<RopeScaling>()}) {
    if (!scaling && !subject.config.rope_scaling) continue;  // off is what level layer has seen
    Subject other = subject;
    other.config.rope_scaling = scaling;
    check_layers(other, scope, "yarn", findings);
  }
}

}  // namespace ringbench
