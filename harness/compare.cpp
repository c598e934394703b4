// compare.cpp: see compare.h.
#include "harness/compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <future>
#include <iostream>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>
#include <utility>

#include "harness/engines.h"
#include "harness/records.h"
#include "harness/statistics.h"
#include "harness/table.h"
#include "harness/words.h"

namespace ringbench {
namespace {

using Json = nlohmann::ordered_json;
using Side = ComparedRow::Side;

// How often a difference may be found where there is none, among those that are found.
constexpr double false_discovery_rate = 0.001;

std::string number_text(const Maybe<int64_t>& number) { return number ? std::to_string(*number) : ""; }

// What two rows of one point must agree in, or be named by --across.
struct Condition {
  std::string_view name;
  std::string (*get)(const Result&);
};
constexpr Condition conditions[std::tuple_size_v<decltype(Side::conditions)>] = {
    {"engine", [](const Result& r) { return r.engine; }},
    {"dtype", [](const Result& r) { return r.dtype; }},
    {"device", [](const Result& r) { return r.device; }},
    {"weights",
     [](const Result& r) { return r.weights + (r.weights_fingerprint ? " " + *r.weights_fingerprint : ""); }},
    {"method", [](const Result& r) { return r.method; }},
    {"chunk", [](const Result& r) { return number_text(r.chunk); }},
    {"threads", [](const Result& r) { return number_text(r.threads); }},
    {"depth-fill", [](const Result& r) { return r.depth_fill.value_or(""); }},
};

Strings condition_names() {
  Strings names;
  for (const Condition& condition : conditions) names.emplace_back(condition.name);
  return names;
}

// What rows can be grouped by. Numbers sort as numbers.
struct Key {
  std::string_view name;
  std::string (*text)(const ComparedRow&);
  double (*number)(const ComparedRow&) = nullptr;
};
const Side& any_side(const ComparedRow& row) { return row.a.there ? row.a : row.b; }
std::string engine_of(const ComparedRow& row) { return any_side(row).conditions[0]; }
std::string dtype_of(const ComparedRow& row) { return any_side(row).conditions[1]; }
constexpr Key keys[] = {
    {"phase", [](const ComparedRow& r) { return r.phase; }},
    {"model", [](const ComparedRow& r) { return r.model; }},
    {"hybrid", [](const ComparedRow& r) { return r.hybrid; }},
    {"ctx", [](const ComparedRow& r) { return r.ctx_label; },
     [](const ComparedRow& r) { return static_cast<double>(r.ctx); }},
    {"gen", [](const ComparedRow& r) { return std::to_string(r.gen); },
     [](const ComparedRow& r) { return static_cast<double>(r.gen); }},
    {"batch", [](const ComparedRow& r) { return std::to_string(r.batch); },
     [](const ComparedRow& r) { return static_cast<double>(r.batch); }},
    {"metric", [](const ComparedRow& r) { return r.metric; }},
    {"engine", engine_of},
    {"dtype", dtype_of},
    {"verdict", [](const ComparedRow& r) { return std::string(name_of(r.verdict)); }},
    {"ratio",
     [](const ComparedRow& r) {
       char text[32];
       std::snprintf(text, sizeof text, "%.2f", r.ratio.value_or(0));
       return r.ratio ? std::string(text) : std::string();
     },
     [](const ComparedRow& r) { return -r.ratio.value_or(0); }},  // slowest first
};

const Key* find_key(const std::string& name) {
  for (const Key& key : keys)
    if (key.name == name) return &key;
  return nullptr;
}

void check_words(const Strings& words, const Strings& allowed, const std::string& flag) {
  for (const std::string& word : words)
    if (!contains(allowed, word)) {
      const std::string near = nearest_word(word, allowed);
      throw UsageError(flag + ": '" + word + "' is none of " + join(allowed, ", ") + "." +
                       (near.empty() ? "" : " Did you mean " + near + "?"));
    }
}

// --- Ratio of one row ---

// From the rows' own intervals, as if independent: the logarithms of their ends add in squares.
bool ratio_from_intervals(ComparedRow& row) {
  const auto& [a, b] = std::pair<const Side&, const Side&>(row.a, row.b);
  if (!(a.ci95_low > 0.0 && b.ci95_low > 0.0 && a.ci95_high && b.ci95_high)) return false;
  const double below = std::hypot(std::log(*b.value / *b.ci95_low), std::log(*a.ci95_high / *a.value));
  const double above = std::hypot(std::log(*b.ci95_high / *b.value), std::log(*a.value / *a.ci95_low));
  row.low = *row.ratio * std::exp(-below);
  row.high = *row.ratio * std::exp(above);
  row.basis = "intervals";
  row.freedom = 1e6;  // as good as normal: what is in an estimate's interval has been widened already
  return true;
}

void take(ComparedRow& row, const RatioInterval& interval, const char* basis, double freedom) {
  row.ratio = interval.value, row.low = interval.low, row.high = interval.high;
  row.basis = basis;
  row.freedom = freedom;
}

void find_ratio(ComparedRow& row) {
  const Side &a = row.a, &b = row.b;
  if (!(a.value > 0.0) || !(b.value > 0.0)) {
    const auto why = [](const Side& side) { return side.value > 0.0 ? "" : side.value ? "not above 0" : side.status; };
    row.note = std::string("no number: ") + (a.value > 0.0 ? "" : "A " + std::string(why(a))) +
               (!(a.value > 0.0) && !(b.value > 0.0) ? ", " : "") + (b.value > 0.0 ? "" : "B " + std::string(why(b)));
    return;
  }
  row.verdict = Verdict::ambiguous;
  row.ratio = *b.value / *a.value;
  const auto n = static_cast<double>(a.samples.size()), m = static_cast<double>(b.samples.size());
  if (!a.estimated && !b.estimated) {
    if (a.interleaved && b.interleaved && a.run_id == b.run_id && n == m)
      if (const auto paired = ratio_of_pairs(a.samples, b.samples)) return take(row, *paired, "pairs", n - 1);
    if (const auto ratio = ratio_of_samples(a.samples, b.samples)) return take(row, *ratio, "samples", n + m - 2);
  }
  if (!ratio_from_intervals(row)) row.note = "no interval: fewer than 6 repetitions";
}

// --- Verdicts, of all rows together ---

// Relative, of a ratio's logarithm: from its interval, which is that of Student's t or near it.
double standard_error(const ComparedRow& row) {
  return std::log(*row.high / *row.low) / (2 * student_t_quantile(0.975, row.freedom));
}

// What rows differ by from run to run, beyond what the repetitions within each explain: another layout of memory,
// another temperature, other neighbours. Chance goes both ways, so what the rows of one side show is what a row on the
// other may owe to it; a real slowdown of many rows does not hide itself. At most half the threshold: what is far
// beyond that is a difference whatever the others do.
double spread_between_runs(const std::vector<ComparedRow*>& rows, bool slower_side, double threshold) {
  if (rows.size() < 8) return 0;
  std::vector<double> magnitudes, variances;
  for (const ComparedRow* row : rows) {
    variances.push_back(row->standard_error * row->standard_error);
    if ((*row->ratio > 1) == slower_side) magnitudes.push_back(std::abs(std::log(*row->ratio)));
  }
  const auto middle = variances.begin() + static_cast<std::ptrdiff_t>(variances.size() / 2);
  std::nth_element(variances.begin(), middle, variances.end());
  const double spread = one_sided_spread(std::move(magnitudes));
  return std::min(threshold / 2, std::sqrt(std::max(0.0, spread * spread - *middle)));
}

// The row's own and the spread between runs that the other side shows.
double total_error(const ComparedRow& row, const Comparison& comparison) {
  return std::hypot(row.standard_error, *row.ratio > 1 ? comparison.spread_below : comparison.spread_above);
}

Verdict judge(const ComparedRow& row, double error, double level, double threshold) {
  const auto half_width = [&](double missed) {
    return error > 0 ? student_t_quantile(1 - missed / 2, row.freedom) * error : 0;
  };
  const double half = half_width(level), log = std::log(*row.ratio), margin = std::log1p(threshold);
  if (log - half > 0 && log >= margin) return Verdict::slower;
  if (log + half < 0 && log <= -margin) return Verdict::faster;
  if (std::abs(log) + half_width(0.05) <= margin) return Verdict::same;
  return Verdict::ambiguous;
}

void find_verdicts(Comparison& comparison) {
  std::vector<ComparedRow*> rows;
  for (ComparedRow& row : comparison.rows)
    if (row.low) {
      row.standard_error = standard_error(row);
      rows.push_back(&row);
    }
  comparison.spread_below = spread_between_runs(rows, false, comparison.threshold);
  comparison.spread_above = spread_between_runs(rows, true, comparison.threshold);
  std::vector<double> p_values;
  for (const ComparedRow* row : rows) {
    const double error = total_error(*row, comparison), log = std::log(*row->ratio);
    p_values.push_back(error > 0 ? student_t_beyond(log / error, row->freedom) : log == 0 ? 1 : 0);
  }
  comparison.level = false_discovery_level(std::move(p_values), false_discovery_rate);
  for (ComparedRow* row : rows)
    row->verdict = judge(*row, total_error(*row, comparison), comparison.level, comparison.threshold);
  for (const ComparedRow& row : comparison.rows) ++comparison.counts[row.verdict];
}

// Point and metric, and the conditions that are not to differ.
std::string match_key(const ComparedRow& row, const Strings& across) {
  std::string key = row.point_id + "\n" + row.metric;
  for (size_t i = 0; i < std::size(conditions); ++i)
    if (!contains(across, conditions[i].name)) key += "\n" + any_side(row).conditions[i];
  return key;
}

// The first condition in which two rows differ and may not.
struct Difference {
  std::string condition, first, second;
};
Difference first_difference(const Side& a, const Side& b, const Strings& across) {
  for (size_t i = 0; i < std::size(conditions); ++i)
    if (a.conditions[i] != b.conditions[i] && !contains(across, conditions[i].name))
      return {std::string(conditions[i].name), a.conditions[i], b.conditions[i]};
  return {};
}

}  // namespace

std::string_view name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::faster: return "FASTER";
    case Verdict::slower: return "SLOWER";
    case Verdict::same: return "SAME";
    case Verdict::ambiguous: return "AMBIGUOUS";
    case Verdict::unmatched: return "UNMATCHED";
  }
  return "";
}

std::string compare_rule() {
  return "The rule\n\n"
         "ratio      time of B over time of A: above 1, B is slower. Both measured with 6 repetitions or more:\n"
         "           Hodges and Lehmann's estimate from all ratios of their samples, on logarithms, with the\n"
         "           distribution-free 95 % interval. Repetitions of one run that were interleaved: ratio of\n"
         "           medians, its interval from resampled pairs. Estimates: from the intervals of both.\n"
         "SLOWER     the ratio is at least 1 + threshold, and differs from 1 when all rows are looked at\n"
         "           together: of the differences that are found at most 1 in 1000 may be chance (Benjamini\n"
         "           and Hochberg). FASTER: the same on the other side.\n"
         "SAME       the 95 % interval lies within the threshold on both sides of 1.\n"
         "AMBIGUOUS  neither: more repetitions would tell, or the rows have no interval.\n"
         "UNMATCHED  only one run has the point with a number, or under these conditions.\n\n"
         "Repetitions within a run do not show what changes from run to run. With 8 rows or more that is\n"
         "estimated from the rows themselves: chance makes some faster and some slower, so the rows on one\n"
         "side of 1 tell what those on the other may owe to it (up to half the threshold). It widens the\n"
         "intervals before they are judged, and is said under the table. A whole run that is slower by more\n"
         "than the threshold, because something else ran beside it, still looks like a slower program:\n"
         "interleave, or repeat both runs.\n";
}

Comparer::Comparer(CompareOptions options) : options_(std::move(options)) {
  check_words(options_.across, condition_names(), "--across");
  Strings names;
  for (const Key& key : keys) names.emplace_back(key.name);
  check_words(options_.by, names, "--by");
}

void Comparer::add(const Result& r, Run& run) {
  if (r.unit != "s") return;  // scores are not times
  ComparedRow row;
  row.point_id = r.point_id, row.phase = r.phase, row.model = r.model, row.hybrid = r.hybrid, row.metric = r.metric;
  row.ctx = r.ctx, row.gen = r.gen, row.batch = r.batch;
  row.ctx_label = r.ctx_label.empty() ? std::to_string(r.ctx) : r.ctx_label;
  Side& side = row.a;
  side.there = true;
  for (size_t i = 0; i < side.conditions.size(); ++i) side.conditions[i] = conditions[i].get(r);
  side.run_id = r.run_id, side.status = r.status, side.parity = r.parity, side.flags = r.flags, side.commit = r.commit;
  side.interleaved = r.interleaved, side.estimated = r.method == "estimated";
  side.value = r.value, side.ci95_low = r.ci95_low, side.ci95_high = r.ci95_high;
  side.samples = r.samples;
  const auto [place, fresh] = run.places.emplace(record_key(r), run.rows.size());
  if (fresh)
    run.rows.push_back(std::move(row));
  else
    run.rows[place->second] = std::move(row);
}

// Which row of B each of A goes with: those that agree in all conditions first, then those that differ only in what
// --across names. As many as there are rows of B: with none.
std::vector<size_t> Comparer::find_partners() const {
  const size_t none = second_.rows.size();
  std::vector<size_t> partners(first_.rows.size(), none);
  std::vector<bool> taken(none);
  for (const Strings& across : {Strings(), options_.across}) {
    std::unordered_map<std::string, std::vector<size_t>> by_key;  // last row first
    for (size_t i = none; i-- > 0;)
      if (!taken[i]) by_key[match_key(second_.rows[i], across)].push_back(i);
    for (size_t i = 0; i < partners.size(); ++i) {
      if (partners[i] != none) continue;
      const auto found = by_key.find(match_key(first_.rows[i], across));
      if (found == by_key.end() || found->second.empty()) continue;
      partners[i] = found->second.back();
      taken[partners[i]] = true;
      found->second.pop_back();
    }
    if (options_.across.empty()) break;
  }
  return partners;
}

// A server computes in a type, on a device and with threads of its own: who allows another engine allows those.
void Comparer::allow_what_servers_choose() {
  const auto served = [](const ComparedRow& row) { return is_served(engine_of(row)); };
  const auto any_served = [&](const auto& rows) { return std::any_of(rows.begin(), rows.end(), served); };
  if (!contains(options_.across, "engine") || (!any_served(first_.rows) && !any_served(second_.rows))) return;
  for (const char* name : {"dtype", "device", "chunk", "threads", "depth-fill"})
    if (!contains(options_.across, name)) options_.across.emplace_back(name);
}

void Comparer::pair_rows(Comparison& comparison) {
  allow_what_servers_choose();
  const size_t none = second_.rows.size();
  const std::vector<size_t> partners = find_partners();
  std::vector<bool> left(none, true);
  for (const size_t partner : partners)
    if (partner != none) left[partner] = false;
  std::unordered_map<std::string, size_t> unlike;  // rows of B that are left, by what they measured
  for (size_t i = 0; i < none; ++i)
    if (left[i]) unlike.emplace(match_key(second_.rows[i], condition_names()), i);

  Difference refused;
  int64_t matched = 0, refusals = 0;
  for (size_t i = 0; i < partners.size(); ++i) {
    ComparedRow& row = first_.rows[i];
    if (partners[i] != none) {
      row.b = std::move(second_.rows[partners[i]].a);
      find_ratio(row);
      ++matched;
    } else if (const auto other = unlike.find(match_key(row, condition_names())); other != unlike.end()) {
      refused = first_difference(row.a, second_.rows[other->second].a, options_.across);
      row.note = "unlike: " + refused.condition + " in B is " + refused.second;
      ++refusals;
    } else {
      row.note = "only in A";
    }
    row.a.samples = {}, row.b.samples = {};
    comparison.rows.push_back(std::move(row));
  }
  if (matched == 0 && refusals > 0)
    throw UsageError("compare: the runs are unlike: " + refused.condition + " is '" + refused.first + "' in A and '" +
                         refused.second + "' in B (" + counted(refusals, "common point") + ").",
                     "To compare them all the same: --across " + join(options_.across, ",") +
                         (options_.across.empty() ? "" : ",") + refused.condition);
  for (size_t i = 0; i < none; ++i) {
    if (!left[i]) continue;
    ComparedRow row = std::move(second_.rows[i]);
    row.b = std::exchange(row.a, {});
    row.b.samples = {};
    row.note = "only in B";
    comparison.rows.push_back(std::move(row));
  }
  if (refusals > 0)
    comparison.notes.push_back(counted(refusals, "point") +
                               " of both runs left out because they are unlike; see --across");
}

Comparison Comparer::compare() {
  Comparison comparison;
  comparison.threshold = options_.threshold;
  for (const auto& [name, run] : {std::pair{"A", &first_}, {"B", &second_}}) {
    std::set<std::string> commits;
    for (const ComparedRow& row : run->rows) commits.insert(row.a.commit);
    if (commits.size() > 1)
      comparison.notes.push_back(std::string(name) + " mixes " + std::to_string(commits.size()) +
                                 " builds: " + join({commits.begin(), commits.end()}, ", "));
  }
  pair_rows(comparison);
  find_verdicts(comparison);
  if (!options_.by.empty())
    std::stable_sort(comparison.rows.begin(), comparison.rows.end(), [&](const ComparedRow& a, const ComparedRow& b) {
      for (const std::string& name : options_.by) {
        const Key& key = *find_key(name);
        if (key.number != nullptr && key.number(a) != key.number(b)) return key.number(a) < key.number(b);
        if (const auto text_a = key.text(a), text_b = key.text(b); key.number == nullptr && text_a != text_b)
          return text_a < text_b;
      }
      return false;
    });
  return comparison;
}

// --- What is shown ---

namespace {

std::string side_time(const Side& side) {
  if (!side.there) return "";
  if (!side.value || !std::isfinite(*side.value)) return side.status;
  return (side.estimated ? "~" : "") + seconds_text(*side.value);
}

std::string two_or_three(double ratio, const char* after = "") {
  char text[48];
  std::snprintf(text, sizeof text, "%.*f%s", ratio < 10 ? 3 : 1, ratio, after);
  return text;
}

// The same on both sides: once; else "pass/none".
std::string both(const std::string& a, const std::string& b) { return a == b ? a : a + "/" + b; }

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g %%", 100 * share);
  return text;
}

Table comparison_table(const Comparison& comparison) {
  Table table;
  table.columns = {{"model", false, false, true},
                   {"metric", false, false, true},
                   {"phase"},
                   {"hybrid"},
                   {"ctx", true},
                   {"gen", true, false},
                   {"bs", true}};
  for (const Condition& condition : conditions)
    table.columns.push_back({std::string(condition.name), false, false, condition.name == "dtype"});
  for (const char* title : {"A", "B", "B/A"}) table.columns.push_back({title, true});
  for (const char* title : {"95% CI", "verdict"}) table.columns.push_back({title});
  for (const char* title : {"parity", "flags", "note"}) table.columns.push_back({title, false, false});
  for (const ComparedRow& r : comparison.rows) {
    Strings cells = {r.model,
                     r.metric,
                     r.phase,
                     r.hybrid,
                     r.ctx_label,
                     r.gen > 0 ? std::to_string(r.gen) : "",
                     std::to_string(r.batch)};
    for (size_t i = 0; i < std::size(conditions); ++i)
      cells.push_back(r.a.there && r.b.there ? both(r.a.conditions[i], r.b.conditions[i]) : any_side(r).conditions[i]);
    cells.push_back(side_time(r.a));
    cells.push_back(side_time(r.b));
    cells.push_back(r.ratio ? two_or_three(*r.ratio, "x") : "");
    cells.push_back(r.low ? "[" + two_or_three(*r.low) + ", " + two_or_three(*r.high) + "]" : "");
    cells.emplace_back(name_of(r.verdict));
    cells.push_back(r.a.there && r.b.there ? both(r.a.parity, r.b.parity) : any_side(r).parity);
    cells.push_back(r.a.there && r.b.there ? both(r.a.flags, r.b.flags) : any_side(r).flags);
    cells.push_back(r.note);
    table.rows.push_back(std::move(cells));
  }
  return table;
}

// What stands under the table: the groups that --by asked for, the counts, and what the verdicts rest on.
Strings conclusions(const Comparison& comparison, const Strings& by) {
  Strings lines;
  if (!by.empty()) {
    struct Group {
      std::vector<double> ratios;
      std::map<Verdict, int64_t> counts;
    };
    std::vector<std::pair<std::string, Group>> groups;  // rows are sorted by them
    for (const ComparedRow& row : comparison.rows) {
      Strings words;
      for (const std::string& name : by) words.push_back(name + " " + find_key(name)->text(row));
      if (groups.empty() || groups.back().first != join(words, ", ")) groups.push_back({join(words, ", "), {}});
      Group& group = groups.back().second;
      if (row.ratio) group.ratios.push_back(*row.ratio);
      ++group.counts[row.verdict];
    }
    for (auto& [name, group] : groups) {
      Strings words;
      for (const auto& [verdict, count] : group.counts)
        words.push_back(std::to_string(count) + " " + std::string(name_of(verdict)));
      std::sort(group.ratios.begin(), group.ratios.end());
      const std::string middle =
          group.ratios.empty() ? "" : ", median ratio " + two_or_three(group.ratios[group.ratios.size() / 2], "x");
      lines.push_back(name + ": " + join(words, ", ") + middle);
    }
  }
  Strings words;
  for (const auto& [verdict, count] : comparison.counts)
    words.push_back(std::to_string(count) + " " + std::string(name_of(verdict)));
  lines.push_back(counted(static_cast<int64_t>(comparison.rows.size()), "row") +
                  (words.empty() ? "" : ": " + join(words, ", ")) + " (B against A, threshold " +
                  percent(comparison.threshold) + ")");
  if (const double spread = std::max(comparison.spread_below, comparison.spread_above); spread > 0)
    lines.push_back("between the runs rows differ by " + percent(spread) +
                    " beyond what their repetitions explain; the verdicts allow for it");
  lines.insert(lines.end(), comparison.notes.begin(), comparison.notes.end());
  return lines;
}

Json comparison_json(const Comparison& comparison, const CompareRequest& request) {
  const auto maybe = [](const Maybe<double>& x) { return x && std::isfinite(*x) ? Json(*x) : Json(nullptr); };
  const auto side = [&](const Side& s) {
    if (!s.there) return Json(nullptr);
    Json json = {{"run_id", s.run_id},
                 {"status", s.status},
                 {"value", maybe(s.value)},
                 {"ci95_low", maybe(s.ci95_low)},
                 {"ci95_high", maybe(s.ci95_high)},
                 {"parity", s.parity},
                 {"flags", s.flags},
                 {"commit", s.commit}};
    for (size_t i = 0; i < std::size(conditions); ++i) json[std::string(conditions[i].name)] = s.conditions[i];
    return json;
  };
  Json rows = Json::array();
  for (const ComparedRow& r : comparison.rows)
    rows.push_back({{"point_id", r.point_id},
                    {"model", r.model},
                    {"phase", r.phase},
                    {"hybrid", r.hybrid},
                    {"ctx", r.ctx},
                    {"gen", r.gen},
                    {"batch", r.batch},
                    {"metric", r.metric},
                    {"a", side(r.a)},
                    {"b", side(r.b)},
                    {"ratio", maybe(r.ratio)},
                    {"ci95_low", maybe(r.low)},
                    {"ci95_high", maybe(r.high)},
                    {"basis", r.basis.empty() ? Json(nullptr) : Json(r.basis)},
                    {"verdict", name_of(r.verdict)},
                    {"note", r.note.empty() ? Json(nullptr) : Json(r.note)}});
  Json counts = Json::object();
  for (const auto& [verdict, count] : comparison.counts) counts[std::string(name_of(verdict))] = count;
  return {{"schema", "ringbench.compare/1"},
          {"a", request.first},
          {"b", request.second},
          {"threshold", comparison.threshold},
          {"level", comparison.level},
          {"spread_below", comparison.spread_below},
          {"spread_above", comparison.spread_above},
          {"counts", counts},
          {"notes", comparison.notes},
          {"rows", rows}};
}

// Numbers in full, a column for each side of what can differ.
void write_comparison_csv(std::ostream& out, const Comparison& comparison) {
  Table table;
  for (const char* title : {"point_id", "model", "phase", "hybrid", "ctx", "gen", "batch", "metric"})
    table.columns.push_back({title});
  for (const std::string name : {"a", "b"}) {
    for (const Condition& condition : conditions) table.columns.push_back({name + "_" + std::string(condition.name)});
    for (const char* title : {"status", "value", "parity", "flags", "commit"})
      table.columns.push_back({name + "_" + title});
  }
  for (const char* title : {"ratio", "ci95_low", "ci95_high", "basis", "verdict", "note"})
    table.columns.push_back({title});
  const auto number = [](const Maybe<double>& x) { return x && std::isfinite(*x) ? Json(*x).dump() : ""; };
  for (const ComparedRow& r : comparison.rows) {
    Strings cells = {
        r.point_id, r.model, r.phase, r.hybrid, std::to_string(r.ctx), std::to_string(r.gen), std::to_string(r.batch),
        r.metric};
    for (const Side* side : {&r.a, &r.b}) {
      cells.insert(cells.end(), side->conditions.begin(), side->conditions.end());
      for (const std::string& cell : {side->status, number(side->value), side->parity, side->flags, side->commit})
        cells.push_back(cell);
    }
    for (const std::string& cell :
         {number(r.ratio), number(r.low), number(r.high), r.basis, std::string(name_of(r.verdict)), r.note})
      cells.push_back(cell);
    table.rows.push_back(std::move(cells));
  }
  write_csv(out, table);
}

void write_comparison(std::ostream& out, Format format, const Comparison& comparison, const CompareRequest& request,
                      const Strings& header, bool color) {
  if (format == Format::json) {
    out << comparison_json(comparison, request).dump(1, ' ', false, Json::error_handler_t::replace) << "\n";
    return;
  }
  if (format == Format::csv) return write_comparison_csv(out, comparison);
  Table table = comparison_table(comparison);
  const std::string constant = table.take_constant_columns();
  Strings above = header, under = conclusions(comparison, request.options.by);
  if (!constant.empty()) above.push_back(constant);
  if (format == Format::md) {
    for (const std::string& line : above) out << markdown_text(line) << "  \n";
    out << "\n";
    write_markdown(out, table);
    for (const std::string& line : under) out << "\n" << markdown_text(line) << "\n";
    return;
  }
  out << join(above, "\n") << "\n\n";
  const auto mark = [&](size_t row) {
    const Verdict verdict = comparison.rows[row].verdict;
    return std::string(verdict == Verdict::slower ? "31" : verdict == Verdict::faster ? "32" : "");
  };
  write_text(out, table, color ? mark : std::function<std::string(size_t)>());
  out << "\n" << join(under, "\n") << "\n";
}

// "A: 20260101T120000Z-prefill-4f2a, 4f2a9c1, CPU of the test"; what is odd about the file goes to `notes`.
std::string read_side(const std::string& name, const std::filesystem::path& path,
                      const std::function<void(const Result&)>& add, Strings& notes) {
  ReadNotes met;
  std::string commit, device;
  for_each_record(
      path,
      [&](Result&& result) {
        add(result);
        if (commit.empty()) commit = result.commit, device = result.device;
      },
      &met);
  if (met.lines == 0) notes.push_back(name + " has no records");
  if (met.torn_line) notes.push_back(name + ": its last line is torn (the run was killed) and left out");
  Strings words = {(std::filesystem::is_directory(path) ? path / "" : path).parent_path().filename().string()};
  if (!std::filesystem::is_directory(path)) words[0] = path.string();
  for (const std::string& word : {commit, device})
    if (!word.empty()) words.push_back(word);
  return name + ": " + join(words, ", ");
}

}  // namespace

ExitCode run_compare(const CompareRequest& request) {
  check_words(request.fail_on, {"slower", "ambiguous", "unmatched", "none"}, "--fail-on");
  std::vector<std::pair<std::string, Format>> outputs;
  for (const std::string& path : request.outputs) {
    const Format format = path == "-" ? request.format : format_of_file(path);
    if (format == Format::jsonl || format == Format::sql)
      throw UsageError("--output: '" + path + "': use .txt, .md, .csv or .json.");
    outputs.emplace_back(path, format);
  }
  Comparer comparer(request.options);
  const std::filesystem::path first = find_run(request.first, request.results);
  const std::filesystem::path second = find_run(request.second, request.results);
  Strings notes, second_notes, header;
  auto reading_second = std::async(std::launch::async, [&] {
    return read_side(
        "B", second, [&](const Result& r) { comparer.add_second(r); }, second_notes);
  });
  header.push_back(read_side(
      "A", first, [&](const Result& r) { comparer.add_first(r); }, notes));
  header.push_back(reading_second.get());
  notes.insert(notes.end(), second_notes.begin(), second_notes.end());
  Comparison comparison = comparer.compare();
  comparison.notes.insert(comparison.notes.begin(), notes.begin(), notes.end());

  write_comparison(std::cout, request.format, comparison, request, header, use_color(request.color));
  for (const auto& [path, format] : outputs) {
    if (path == "-") continue;  // is there already
    std::ofstream file(path, std::ios::trunc);
    write_comparison(file, format, comparison, request, header, false);
    file.flush();
    if (!file) throw Failure(ExitCode::environment, "--output: cannot write '" + path + "'.");
  }
  for (const auto& [word, verdict] :
       {std::pair{"slower", Verdict::slower}, {"ambiguous", Verdict::ambiguous}, {"unmatched", Verdict::unmatched}})
    if (contains(request.fail_on, word) && comparison.counts[verdict] > 0) return ExitCode::regression;
  return ExitCode::ok;
}

}  // namespace ringbench
