// claims.cpp: see claims.h. First the claims as data, then the rule, then which rows stand for which claim.
#include "harness/claims.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <compare>
#include <limits>
#include <map>
#include <unordered_map>

#include "harness/json_object.h"
#include "harness/plan.h"
#include "harness/speedup.h"
#include "reference/weights.h"

namespace ringbench {

// --- The claims ---

namespace {

const std::vector<std::pair<std::string, ClaimQuantity>> quantities = {
    {"speedup", ClaimQuantity::speedup},
    {"time_ratio", ClaimQuantity::time_ratio},
    {"time_change", ClaimQuantity::time_change},
    {"crossover", ClaimQuantity::crossover},
    {"cache_ratio", ClaimQuantity::cache_ratio},
    {"parameters", ClaimQuantity::parameters},
    {"active_parameters", ClaimQuantity::active_parameters},
    {"active_non_embedding", ClaimQuantity::active_non_embedding},
    {"score", ClaimQuantity::score},
    {"window", ClaimQuantity::window},
};

const PublishedNumber* read_reference(JsonObject& object, const std::string& key) {
  const PublishedNumber* number = find_published(object.text(key));
  if (number == nullptr) object.fail(key, "the id of a number in configs/published");
  return number;
}

Claim read_claim(JsonObject object) {
  Claim claim;
  claim.id = object.text("id");
  claim.text = object.text("claim");
  claim.number = read_reference(object, "number");
  claim.up_to = object.has("up_to") ? read_reference(object, "up_to") : nullptr;
  std::vector<std::string> names;
  for (const auto& [name, quantity] : quantities) names.push_back(name);
  const std::string quantity = object.word("quantity", names);
  claim.quantity =
      std::find_if(quantities.begin(), quantities.end(), [&](const auto& q) { return q.first == quantity; })->second;
  if (object.has("memory_gb")) claim.memory_gb = object.number("memory_gb");
  claim.caveat = object.text_or("caveat", "");
  claim.device = object.text_or("device", "");
  claim.cards = object.has("cards") ? object.integer("cards") : 1;
  if (claim.cards < 1) object.fail("cards", "at least 1");
  claim.workload = claim.number->conditions;
  if (object.has("predict_phase")) claim.workload.phase = object.word("predict_phase", {"prefill", "decode", "e2e"});
  if (object.has("predict_ctx")) claim.workload.ctx = object.integer("predict_ctx");
  if (object.has("predict_batch")) claim.workload.batch = object.integer("predict_batch");
  if (!claim.workload.ctx) claim.workload.ctx = claim.workload.ctx_from;
  object.refuse_unknown_keys();
  return claim;
}

bool is_count(ClaimQuantity quantity) {
  return quantity == ClaimQuantity::parameters || quantity == ClaimQuantity::active_parameters ||
         quantity == ClaimQuantity::active_non_embedding;
}

// --- Shapes ---

// Which model a row is of. Exact counts tell shapes apart whatever the rows are called, and a smaller model or a cut
// one never has those of the claim's.
struct Shape {
  int64_t total = 0, active = 0, layers = 0, linear_layers = 0;
  auto operator<=>(const Shape&) const = default;
};

Shape shape_of(const Result& r) { return {r.params_total, r.params_active, r.layers, r.linear_layers}; }

bool is_preset(const std::string& name) {
  return std::filesystem::exists(configs_folder() / "models" / (name + ".json"));
}

Shape shape_of(const ModelConfig& config) {
  const ParameterCounts counts = count_parameters(config);
  return {counts.total, counts.active, config.num_hidden_layers, config.count(LayerType::linear_attention)};
}

// Whether the baseline is the model with softmax attention in every layer and nothing else changed.
bool is_softmax_twin(const std::string& baseline, const std::string& model) {
  return is_preset(baseline) &&
         shape_of(preset_model(baseline)) == shape_of(with_layout(preset_model(model), {}, "softmax"));
}

// --- Words ---

std::string number_text(const char* format, double value) {
  char text[48];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string percent(const Maybe<double>& share) { return share ? number_text("%.0f %%", 100 * *share) : "unknown"; }

}  // namespace

ModelConfig preset_model(const std::string& name) {
  return ModelConfig::load(configs_folder() / "models" / (name + ".json"));
}

std::string unit_text(double value, const std::string& unit) {
  if (unit == "x") return number_text("%.2fx", value);
  if (unit == "ratio") return number_text("%.3f", value);
  if (unit == "%" || unit == "percentile") return number_text("%.1f %%", value);
  if (unit == "tokens") return token_label(std::llround(value)) + " tokens";
  if (unit == "parameters") return value >= 1e9 ? number_text("%.5gB", value / 1e9) : number_text("%.4gM", value / 1e6);
  return number_text("%.6g ", value) + unit;
}

const std::vector<Claim>& claims() {
  static const std::vector<Claim> all = [] {
    std::vector<Claim> read;
    JsonObject file = read_json_object(configs_folder() / "claims.json");
    file.text("about");
    for (const JsonObject& object : file.objects("claims")) {
      read.push_back(read_claim(object));
      if (std::count_if(read.begin(), read.end(), [&](const Claim& c) { return c.id == read.back().id; }) > 1)
        object.fail("id", "an id that no other claim has");
    }
    file.refuse_unknown_keys();
    return read;
  }();
  return all;
}

// --- The rule ---

namespace {

constexpr double kCountShare = 0.01;       // two or three digits are published, some of them cut, not rounded
constexpr double kTokenShare = 0.02;       // of ctx and gen, for a row to be of the claim's workload
constexpr double kNearBoundary = 2;        // "beyond 8k" needs a context of at most twice that
constexpr double kWidestScore = 5;         // points; half of an interval that can tell scores apart
constexpr double kFittingMemory = 0.6;     // of the claim's card, at least, in a limit that rows were run under
constexpr double kNormal95 = 1.959963985;  // standard errors

}  // namespace

std::string claims_rule() {
  return "A claim is judged only by rows of its own kind: the claim's model shape (all layers, the exact parameter "
         "count), its workload (phase; ctx and gen within " +
         number_text("%.0f", 100 * kTokenShare) +
         " %; the batch, or of e2e the requests, exactly), its device family, and its memory where it depends on what "
         "fits; measured, not estimated from samples; its baseline measured under the same conditions in the same way. "
         "Cache sizes need no device, but bytes that an engine held, in bf16. Where a source names no device, any GPU "
         "is of its kind, a CPU never; where it gives no context or batch, no row can be. A small model on a CPU never "
         "reproduces a claim.\n\n"
         "REPRODUCED: the whole 95 % interval lies in the band of the stated number. \"3.5x\" and \"nearly 1/6\" have "
         "a band from " +
         number_text("%.2f", 1 / (1 + kAboutShare)) + " to " + number_text("%.2f", 1 + kAboutShare) +
         " times the stated gain: they are published with two digits and without interval or count of repetitions, "
         "and versions and clocks move such ratios by several percent. \"More than 2.5x\" has a band from 2.5x up; "
         "\"beyond 8k\" asks every measured context beyond it for more than 1x, and one of them to be at most " +
         number_text("%.0f", kNearBoundary) +
         " times as long; \"7 to 8x\" has the ends of both. A change of time is judged as the speed-up that it is.\n"
         "EXCEEDED: the interval lies above the band. A slow baseline inflates ratios: the share of its device's peaks "
         "that the baseline reached is shown beside it.\n"
         "NOT REPRODUCED: the interval lies below the band.\n"
         "AMBIGUOUS: the interval lies across an end of the band, or there is none (fewer than 6 repetitions).\n"
         "TREND ONLY: rows of another shape, device, memory or workload, or an estimate; the ratio found there is "
         "given for the nearest workload, and what differs.\n"
         "PREDICTED: no row; what the cost model says for the stated device. It is never a measurement.\n"
         "UNTESTED: neither.\n\n"
         "Parameter counts are computed from the config, and agree within " +
         number_text("%.0f", 100 * kCountShare) +
         " % or not. A score is reproduced if the published one lies in the interval found on real weights (same "
         "questions, new samples: 1.96 standard errors between runs), and the half of the interval is at most " +
         number_text("%.0f", kWidestScore) +
         " points; the published one has an error of its own that is not stated. A context window is arithmetic on the "
         "config until quality at that length is measured: rows that ran there show speed only, and the verdict stays "
         "UNTESTED.";
}

Band band_of(double stated, std::string_view relation) {
  if (relation.starts_with('>')) return {stated, std::numeric_limits<double>::infinity()};
  if (relation.starts_with('<')) return {0, stated};
  return {stated / (1 + kAboutShare), stated * (1 + kAboutShare)};
}

std::string verdict_of(const Band& band, double low, double high) {
  if (low > band.high) return "EXCEEDED";
  if (high < band.low) return "NOT REPRODUCED";
  return low >= band.low && high <= band.high ? "REPRODUCED" : "AMBIGUOUS";
}

double from_speed_up(ClaimQuantity quantity, double speed_up) {
  if (quantity == ClaimQuantity::time_ratio || quantity == ClaimQuantity::cache_ratio) return 1 / speed_up;
  if (quantity == ClaimQuantity::time_change) return 100 * (1 / speed_up - 1);
  return speed_up;
}

double to_speed_up(ClaimQuantity quantity, double stated) {
  if (quantity == ClaimQuantity::time_ratio || quantity == ClaimQuantity::cache_ratio) return 1 / stated;
  if (quantity == ClaimQuantity::time_change) return 1 / (1 + stated / 100);
  return stated;
}

namespace {

// As gains: above is better for the model.
Band band_of_claim(const Claim& claim) {
  if (claim.quantity == ClaimQuantity::crossover) return band_of(1, ">");
  std::string relation = claim.number->relation;
  const bool falls = claim.quantity == ClaimQuantity::time_ratio || claim.quantity == ClaimQuantity::time_change ||
                     claim.quantity == ClaimQuantity::cache_ratio;
  if (falls && relation[0] == '<')
    relation[0] = '>';
  else if (falls && relation[0] == '>')
    relation[0] = '<';
  const double stated = to_speed_up(claim.quantity, claim.number->value);
  if (claim.up_to == nullptr) return band_of(stated, relation);
  return {band_of(stated, relation).low,
          band_of(to_speed_up(claim.quantity, claim.up_to->value), claim.up_to->relation).high};
}

// --- Pairs of rows ---

struct Pair {
  const Result* row = nullptr;
  const Result* baseline = nullptr;
};

bool failed(const Result& r) { return (r.status != "ok" && r.status != "estimated") || r.parity == "fail"; }

bool has_time(const Result& r) {
  return !failed(r) && r.value > 0.0 && (r.metric == "ttft_s" || r.metric == "tpot_s" || r.metric == "e2e_s");
}

std::string weights_kind(const Result& r) { return r.weights.starts_with("dummy:") ? r.weights : "checkpoint"; }

int64_t requests_of(const Result& r) { return r.phase == "e2e" ? r.requests.value_or(r.batch) : r.batch; }

// What a row and its baseline must share; models, and what fits at once of an e2e run, may differ.
std::string conditions_key(const Result& r) {
  std::string key;
  for (const std::string& text : {r.phase, r.metric, r.engine, r.dtype, r.device, r.routing, weights_kind(r)})
    key += text + "\n";
  for (const int64_t number :
       {r.ctx, r.gen, requests_of(r), r.memory_limit_bytes.value_or(0), r.chunk.value_or(-1), r.threads.value_or(0)})
    key += std::to_string(number) + "\n";
  return key;
}

// Of two decode rows whose batches were chosen to fill the same memory, throughput is what is compared.
Ratio time_gain(const Result& row, const Result& baseline) {
  Ratio gain = speed_up(row, baseline);
  if (row.phase != "decode" || row.batch == baseline.batch) return gain;
  const double more = static_cast<double>(row.batch) / static_cast<double>(baseline.batch);
  gain.value *= more;
  if (gain.low) gain.low = *gain.low * more;
  if (gain.high) gain.high = *gain.high * more;
  return gain;
}

Maybe<double> cache_bytes_of_one(const Result& r) {
  if (failed(r) || !r.kv_bytes || r.batch < 1 || r.estimator == "group") return {};
  return static_cast<double>(*r.kv_bytes + r.state_bytes.value_or(0)) / static_cast<double>(r.batch);
}

Ratio gain_of(ClaimQuantity quantity, const Pair& pair) {
  if (quantity != ClaimQuantity::cache_ratio) return time_gain(*pair.row, *pair.baseline);
  Ratio gain;
  gain.value = *cache_bytes_of_one(*pair.baseline) / *cache_bytes_of_one(*pair.row);
  gain.low = gain.high = gain.value;  // bytes are exact
  return gain;
}

// Whether both rows hold what a quantity is computed from.
bool serves(ClaimQuantity quantity, const Pair& pair) {
  if (quantity != ClaimQuantity::cache_ratio) return has_time(*pair.row) && has_time(*pair.baseline);
  return cache_bytes_of_one(*pair.row) > 0.0 && cache_bytes_of_one(*pair.baseline) > 0.0;
}

// All rows, by what a baseline is looked for with.
class Pairs {
 public:
  explicit Pairs(std::span<const Result> rows) {
    const Twins twins(rows);
    for (const Result& r : rows) {
      if (failed(r) || r.phase == "eval" || r.replica_of) continue;  // a share of a workload is none
      const Result*& latest = by_shape_[shape_of(r)][conditions_key(r)];
      if (latest == nullptr || latest->date <= r.date) latest = &r;
      const Result* twin = r.linear_layers > 0 ? twins.softmax_of(r) : nullptr;
      if (twin != nullptr && !failed(*twin)) of_twins_.push_back({&r, twin});
    }
  }

  // Rows of `model` with those of `baseline` under the same conditions.
  std::vector<Pair> of(const Shape& model, const Shape& baseline) const {
    std::vector<Pair> found;
    const auto own = by_shape_.find(model), other = by_shape_.find(baseline);
    if (own == by_shape_.end() || other == by_shape_.end()) return found;
    for (const auto& [key, row] : own->second)
      if (const auto match = other->second.find(key); match != other->second.end())
        found.push_back({row, match->second});
    return found;
  }
  // Rows of any model with those of its own softmax twin.
  const std::vector<Pair>& of_twins() const { return of_twins_; }

 private:
  std::vector<Pair> of_twins_;
  std::map<Shape, std::unordered_map<std::string, const Result*>> by_shape_;
};

// --- Whether a row is of the claim's kind ---

bool is_gpu(const Result& r) {
  return r.engine == "cuda" || r.device.find("NVIDIA") != std::string::npos ||
         r.device.find("AMD Instinct") != std::string::npos;
}

bool near(int64_t found, int64_t wanted) {
  return std::abs(static_cast<double>(found - wanted)) <= kTokenShare * static_cast<double>(wanted);
}

std::string differs(const std::string& what, const std::string& found, const std::string& wanted) {
  return what + " " + found + " (claim: " + wanted + ")";
}

bool names_device(const Claim& claim) {
  const std::string& family = claim.number->conditions.device;
  return !family.empty() && family != "not stated";
}

bool on_claims_device(const Claim& claim, const Result& r) {
  return names_device(claim) ? r.device.find(claim.number->conditions.device) != std::string::npos : is_gpu(r);
}

Strings device_differences(const Claim& claim, const Result& r) {
  if (!on_claims_device(claim, r))
    return {differs("device", r.device, names_device(claim) ? claim.number->conditions.device : "a GPU")};
  if (!claim.memory_gb) return {};
  const std::string size = number_text("%.0f", *claim.memory_gb) + "GB";
  const double limit = static_cast<double>(r.memory_limit_bytes.value_or(0)) / 1e9;
  if (r.device.find(size) != std::string::npos ||
      (limit >= kFittingMemory * *claim.memory_gb && limit <= *claim.memory_gb))
    return {};
  return {differs("memory", r.memory_limit_bytes ? number_text("%.0f GB", limit) : "of " + r.device, size)};
}

Strings workload_differences(const Claim& claim, const Result& r) {
  const PublishedConditions& stated = claim.number->conditions;
  const bool cache = claim.quantity == ClaimQuantity::cache_ratio,
             crossover = claim.quantity == ClaimQuantity::crossover;
  Strings differences;
  if (stated.phase.empty() || !(stated.ctx || stated.ctx_from || crossover) || !stated.batch)
    return {"the source does not state the workload"};
  if (!cache && r.phase != stated.phase) differences.push_back(differs("phase", r.phase, stated.phase));
  const int64_t from = crossover ? std::llround(claim.number->value) + 1 : stated.ctx_from.value_or(0);
  if (cache) {
    const int64_t tokens = *stated.ctx + *stated.gen;
    if (!near(r.ctx + r.gen, tokens))
      differences.push_back(differs("tokens", token_label(r.ctx + r.gen), token_label(tokens)));
  } else {
    if (stated.ctx && !near(r.ctx, *stated.ctx))
      differences.push_back(differs("ctx", token_label(r.ctx), token_label(*stated.ctx)));
    if (r.ctx < from)
      differences.push_back(differs("ctx", token_label(r.ctx), "from " + token_label(from - crossover)));
    if (stated.gen && !near(r.gen, *stated.gen))
      differences.push_back(differs("gen", token_label(r.gen), token_label(*stated.gen)));
  }
  if (const int64_t found = requests_of(r); found != *stated.batch)
    differences.push_back(
        differs(r.phase == "e2e" ? "requests" : "batch", std::to_string(found), std::to_string(*stated.batch)));
  return differences;
}

Strings method_differences(const Claim& claim, const Pair& pair) {
  Strings differences;
  const bool cache = claim.quantity == ClaimQuantity::cache_ratio;
  for (const Result* r : {pair.row, pair.baseline}) {
    const auto add = [&](const std::string& text) {
      if (std::find(differences.begin(), differences.end(), text) == differences.end()) differences.push_back(text);
    };
    if (r->method == "estimated" && !cache) add("estimated, not run whole");
    if (r->weights == "dummy:zero" && !cache) add("weights are zero");
    if (r->routing != "measured" && !cache) add("routing is overridden");
    if (r->flags.find('C') != std::string::npos) add("cache hits");
    if (r->flags.find('L') != std::string::npos) add("the requested length was not reached");
    if (cache && r->dtype != "bf16") add(differs("dtype", r->dtype, "bf16"));
  }
  return differences;
}

// All that keeps a pair from being of the claim's own kind, in words; empty: it is.
Strings differences_of(const Claim& claim, const Shape& model, const Pair& pair) {
  const Result& r = *pair.row;
  Strings all;
  if (shape_of(r) != model)
    all.push_back(differs("model", r.model + (r.hybrid.empty() ? "" : " " + r.hybrid), claim.number->model));
  const Strings device = claim.quantity == ClaimQuantity::cache_ratio ? Strings() : device_differences(claim, r);
  const Strings workload = workload_differences(claim, r), method = method_differences(claim, pair);
  for (const Strings& more : {device, workload, method}) all.insert(all.end(), more.begin(), more.end());
  return all;
}

double octaves(int64_t found, int64_t wanted) {
  return std::abs(std::log2(static_cast<double>(found + 1) / static_cast<double>(wanted + 1)));
}

// How far a pair is from the claim's kind: shape, device, workload in octaves, estimated; the nearest is the least.
using Distance = std::array<double, 4>;

Distance distance_of(const Claim& claim, const Shape& model, const Pair& pair) {
  const Result& r = *pair.row;
  const PublishedConditions& w = claim.workload;
  const bool cache = claim.quantity == ClaimQuantity::cache_ratio,
             crossover = claim.quantity == ClaimQuantity::crossover;
  const double linear_share =
                   static_cast<double>(r.linear_layers) / static_cast<double>(std::max<int64_t>(1, r.layers)),
               wanted_share = static_cast<double>(model.linear_layers) / static_cast<double>(model.layers);
  double away = 10 * std::abs(linear_share - wanted_share) + octaves(requests_of(r), w.batch.value_or(requests_of(r)));
  if (cache)
    away += octaves(r.ctx + r.gen, w.ctx.value_or(0) + w.gen.value_or(0));
  else
    away += octaves(r.ctx, crossover ? std::llround(kNearBoundary * claim.number->value) : w.ctx.value_or(r.ctx)) +
            octaves(r.gen, w.gen.value_or(r.gen));
  return {shape_of(r) == model ? 0.0 : 1.0, cache || on_claims_device(claim, r) ? 0.0 : 1.0, away,
          r.method == "estimated" || pair.baseline->method == "estimated" ? 1.0 : 0.0};
}

// --- Verdicts ---

std::string baseline_share(const Result& baseline) {
  if (!baseline.mfu && !baseline.mbu) return "what share of its device's peaks the baseline reached is not known";
  return "the baseline reached MFU " + percent(baseline.mfu) + ", MBU " + percent(baseline.mbu);
}

void add_hazards(ClaimVerdict& v, const Pair& pair) {
  std::string flags;
  bool unverified = false;
  for (const Result* r : {pair.row, pair.baseline}) flags += r->flags, unverified = unverified || r->parity != "pass";
  if (unverified) v.warnings.push_back("W-UNVERIFIED: no parity certificate covers these rows.");
  for (const auto& [letter, text] :
       {std::pair{'N', "W-NOISY: the rows are noisy."}, std::pair{'T', "W-THROTTLED: the device was throttled."},
        std::pair{'S', "W-SYNTHETIC: the cache was imported, not computed."}})
    if (flags.find(letter) != std::string::npos) v.warnings.emplace_back(text);
}

// Fills in what was found at one pair, in the unit stated.
void found_at(ClaimVerdict& v, const Claim& claim, const Pair& pair, const Ratio& gain) {
  v.basis = gain.estimated ? "estimated" : "measured";
  v.unit = claim.quantity == ClaimQuantity::crossover ? "x" : claim.number->unit;
  v.value = from_speed_up(claim.quantity, gain.value);
  if (gain.low && gain.high) {
    const double a = from_speed_up(claim.quantity, *gain.low), b = from_speed_up(claim.quantity, *gain.high);
    v.low = std::min(a, b), v.high = std::max(a, b);
  }
  v.rows = {pair.row->point_id, pair.baseline->point_id};
  if (claim.quantity != ClaimQuantity::cache_ratio) add_hazards(v, pair);
}

std::string place_of(const Result& r) {
  std::string text = r.model + " " + r.hybrid + ", " + r.phase + " ctx " + token_label(r.ctx);
  if (r.gen > 0 && r.phase != "prefill") text += ", gen " + token_label(r.gen);
  return text + ", " + (r.phase == "e2e" ? "requests " : "batch ") + std::to_string(requests_of(r)) + ", " + r.dtype +
         ", " + r.device;
}

// Of pairs of the claim's own kind: the latest, or where every context counts the one with the least gain; null where
// none is near the length from which the claim holds.
const Pair* judged(const Claim& claim, const std::vector<Pair>& own_kind) {
  const bool crossover = claim.quantity == ClaimQuantity::crossover;
  const Maybe<int64_t> from =
      crossover ? Maybe<int64_t>(std::llround(claim.number->value)) : claim.number->conditions.ctx_from;
  if (own_kind.empty()) return nullptr;
  if (!from)
    return &*std::max_element(own_kind.begin(), own_kind.end(),
                              [](const Pair& a, const Pair& b) { return a.row->date < b.row->date; });
  const bool near_boundary = std::any_of(own_kind.begin(), own_kind.end(), [&](const Pair& pair) {
    return static_cast<double>(pair.row->ctx) <= kNearBoundary * static_cast<double>(*from);
  });
  if (!near_boundary) return nullptr;
  return &*std::min_element(own_kind.begin(), own_kind.end(), [&](const Pair& a, const Pair& b) {
    return gain_of(claim.quantity, a).value < gain_of(claim.quantity, b).value;
  });
}

void judge_own(ClaimVerdict& v, const Claim& claim, const Pair& pair) {
  const Ratio gain = gain_of(claim.quantity, pair);
  const bool cache = claim.quantity == ClaimQuantity::cache_ratio;
  found_at(v, claim, pair, gain);
  v.verdict = gain.low && gain.high ? verdict_of(band_of_claim(claim), *gain.low, *gain.high) : "AMBIGUOUS";
  v.why = place_of(*pair.row);
  if (!gain.low) v.why += "; no interval (fewer than 6 repetitions)";
  if (!cache) v.why += "; " + baseline_share(*pair.baseline);
  v.why += ".";
  if (v.verdict == "EXCEEDED" && !cache)
    v.warnings.push_back("W-BASELINE: a slow baseline inflates ratios; " + baseline_share(*pair.baseline) + ".");
}

void judge_gain(ClaimVerdict& v, const Claim& claim, const Pairs& pairs) {
  const Shape model = shape_of(preset_model(claim.number->model));
  const std::string& baseline = claim.number->baseline;
  std::vector<Pair> candidates, own_kind;
  for (const Pair& pair : pairs.of(model, shape_of(preset_model(baseline))))
    if (serves(claim.quantity, pair)) candidates.push_back(pair);
  for (const Pair& pair : candidates)
    if (differences_of(claim, model, pair).empty()) own_kind.push_back(pair);
  if (const Pair* pair = judged(claim, own_kind)) return judge_own(v, claim, *pair);

  if (is_softmax_twin(baseline, claim.number->model))
    for (const Pair& pair : pairs.of_twins())
      if ((claim.quantity == ClaimQuantity::cache_ratio || pair.row->phase == claim.workload.phase) &&
          serves(claim.quantity, pair))
        candidates.push_back(pair);
  const Pair* nearest = nullptr;
  Distance least = {};
  for (const Pair& pair : candidates) {
    const Distance distance = distance_of(claim, model, pair);
    if (nearest == nullptr || distance < least || (distance == least && pair.row->date > nearest->row->date))
      nearest = &pair, least = distance;
  }
  if (nearest == nullptr) return;
  found_at(v, claim, *nearest, gain_of(claim.quantity, *nearest));
  const Strings differences = differences_of(claim, model, *nearest);
  v.verdict = "TREND ONLY";
  v.why = place_of(*nearest->row) +
          "; not the claim's own: " + (differences.empty() ? "no context near the boundary" : join(differences, "; ")) +
          ".";
}

void judge_count(ClaimVerdict& v, const Claim& claim) {
  const ParameterCounts counts = count_parameters(preset_model(claim.number->model));
  const int64_t found = claim.quantity == ClaimQuantity::parameters          ? counts.total
                        : claim.quantity == ClaimQuantity::active_parameters ? counts.active
                                                                             : counts.active_non_embedding;
  v.basis = "computed";
  v.value = static_cast<double>(found);
  v.unit = "parameters";
  const bool agrees = std::abs(*v.value / claim.number->value - 1) <= kCountShare;
  v.verdict = agrees ? "REPRODUCED" : "NOT REPRODUCED";
  v.why = "Counted from the config of " + claim.number->model + ": " + std::to_string(found) + ".";
}

void judge_window(ClaimVerdict& v, const Claim& claim, std::span<const Result> rows) {
  const auto wanted = static_cast<int64_t>(claim.number->value);
  ModelConfig config = preset_model(claim.number->model);
  Strings ignored;
  apply_yarn(config, "auto", wanted, ignored);
  v.basis = "computed";
  v.value = static_cast<double>(config.trained_window());
  v.unit = "tokens";
  v.verdict = "UNTESTED";
  v.why = "The config with YaRN gives " + token_label(config.trained_window()) + "; quality at that length is not " +
          "measured.";
  const Shape model = shape_of(config);
  int64_t longest = 0;
  for (const Result& r : rows)
    if (!failed(r) && r.value && r.phase != "eval" && shape_of(r) == model && r.ctx + r.gen >= wanted) {
      longest = std::max(longest, r.ctx + r.gen);
      if (v.rows.size() < 8) v.rows.push_back(r.point_id);
    }
  if (longest > 0) v.why += " Rows ran to " + token_label(longest) + " tokens: that is speed, not quality.";
}

// Names of tasks are written with and without hyphens.
std::string task_key(const std::string& task) {
  std::string key;
  for (const char c : task)
    if (std::isalnum(static_cast<unsigned char>(c)) != 0)
      key += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return key;
}

bool is_mean_score(const std::string& metric) {
  return metric == "pass@1" || metric.starts_with("avg@") || metric == "score" || metric == "accuracy";
}

void judge_score(ClaimVerdict& v, const Claim& claim, std::span<const Result> rows) {
  const Shape model = shape_of(preset_model(claim.number->model));
  const Result* latest = nullptr;
  for (const Result& r : rows)
    if (r.phase == "eval" && !failed(r) && r.value && r.task && is_mean_score(r.metric) && shape_of(r) == model &&
        task_key(*r.task) == task_key(claim.number->conditions.task) && weights_kind(r) == "checkpoint" &&
        (latest == nullptr || latest->date <= r.date))
      latest = &r;
  if (latest == nullptr) return;
  const double scale = latest->unit == "%" || *latest->value > 1 ? 1 : 100, published = claim.number->value;
  v.basis = "measured";
  v.value = scale * *latest->value;
  v.unit = claim.number->unit;
  v.rows = {latest->point_id};
  if (latest->se_run) {
    v.low = *v.value - kNormal95 * scale * *latest->se_run;
    v.high = *v.value + kNormal95 * scale * *latest->se_run;
  } else if (latest->ci95_low && latest->ci95_high) {
    v.low = scale * *latest->ci95_low, v.high = scale * *latest->ci95_high;
  }
  v.why = *latest->task + " on " + latest->weights + ", " + latest->dtype;
  if (latest->samples_per_question)
    v.why += ", " + std::to_string(*latest->samples_per_question) + " samples a question";
  v.why += "; sampling of the published score: " +
           (claim.number->conditions.sampling.empty() ? "not stated" : claim.number->conditions.sampling) + ".";
  const bool wide = !v.low || (*v.high - *v.low) / 2 > kWidestScore;
  if (wide) v.why += " The interval is " + std::string(v.low ? "too wide to tell." : "missing.");
  v.verdict = v.low ? *v.low > published ? "EXCEEDED" : *v.high < published ? "NOT REPRODUCED" : "REPRODUCED" : "";
  if (v.verdict.empty() || (wide && v.verdict == "REPRODUCED")) v.verdict = "AMBIGUOUS";
}

// How a prediction stands to the stated number, in the band that a measurement would be judged by.
std::string side_of(const Claim& claim, double predicted) {
  if (claim.quantity == ClaimQuantity::crossover)
    return predicted <= claim.number->value ? "in line with" : "not in line with";
  const double gain = to_speed_up(claim.quantity, predicted);
  const std::string verdict = verdict_of(band_of_claim(claim), gain, gain);
  return verdict == "REPRODUCED" ? "in line with" : verdict == "EXCEEDED" ? "more than" : "less than";
}

// Made once: it does not depend on rows.
const std::optional<ClaimPrediction>& prediction_of(const Claim& claim) {
  static std::map<std::string, std::optional<ClaimPrediction>> made;
  const auto found = made.find(claim.id);
  return found != made.end() ? found->second : made.emplace(claim.id, predict_claim(claim)).first->second;
}

ClaimVerdict judge(const Claim& claim, const Pairs& pairs, std::span<const Result> rows) {
  ClaimVerdict v;
  v.id = claim.id;
  v.claim = claim.text;
  v.source = claim.number->source;
  v.stated = stated_text(*claim.number);
  if (claim.up_to != nullptr) {
    PublishedNumber end = *claim.up_to;
    end.relation = "=";
    v.stated += " to " + stated_text(end);
  }
  v.stated_unit = claim.number->unit;
  v.basis = "none";
  if (is_count(claim.quantity))
    judge_count(v, claim);
  else if (claim.quantity == ClaimQuantity::window)
    judge_window(v, claim, rows);
  else if (claim.quantity == ClaimQuantity::score)
    judge_score(v, claim, rows);
  else
    judge_gain(v, claim, pairs);

  if (const auto& prediction = prediction_of(claim)) {
    v.predicted = prediction->value;
    v.prediction = prediction->how + "; that is " + side_of(claim, prediction->value) + " what is stated";
    if (v.verdict.empty()) {
      v.verdict = "PREDICTED";
      v.basis = "predicted";
      v.value = prediction->value;
      v.unit = claim.number->unit;
    }
  }
  if (v.verdict.empty()) v.verdict = "UNTESTED", v.why = "No row of this model.";
  if (!claim.caveat.empty()) v.why += (v.why.empty() ? "" : " ") + claim.caveat;
  return v;
}

}  // namespace

std::vector<ClaimVerdict> judge_claims(std::span<const Result> rows) {
  const Pairs pairs(rows);
  std::vector<ClaimVerdict> verdicts;
  for (const Claim& claim : claims()) verdicts.push_back(judge(claim, pairs, rows));
  return verdicts;
}

std::string predicted_text(const ClaimVerdict& v) { return v.predicted ? unit_text(*v.predicted, v.stated_unit) : ""; }

std::string found_text(const ClaimVerdict& v) {
  if (!v.value) return "";
  std::string text = (v.basis == "estimated" ? "~" : "") + unit_text(*v.value, v.unit);
  if (v.low && v.high && *v.low < *v.high) {
    const std::string low = unit_text(*v.low, v.unit), high = unit_text(*v.high, v.unit);
    text += " [" + low.substr(0, low.find_last_of("0123456789") + 1) + ", " +
            high.substr(0, high.find_last_of("0123456789") + 1) + "]";
  }
  return text;
}

}  // namespace ringbench
