// report_findings.cpp: the sections of a report that say what was found: summary, speed-ups, figures, claims.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iterator>
#include <sstream>
#include <tuple>

#include "evals/csv.h"
#include "harness/report_page.h"
#include "harness/words.h"

namespace ringbench {
namespace {

std::string plural(size_t count, const std::string& one, const std::string& more) { return count == 1 ? one : more; }

std::string number_text(size_t count) { return grouped(static_cast<int64_t>(count)); }

// --- Summary ---

std::string what_ran(const ReportPage& page) {
  const auto all = [&](auto get) { return listed(page.distinct(get)); };
  const size_t runs = page.in.runs.size();
  std::string text = runs == 1 ? "One run" : count_text(runs, "run");
  if (const std::string commands = all([](const Result& r) { return r.experiment; }); !commands.empty())
    text += " of " + commands;
  text += " on " + all([](const Result& r) { return r.device; });
  text += ": " + count_text(page.in.rows.size(), "point") + " of " + listed(page.models());
  text += ", weights " + all([](const Result& r) { return r.weights; });
  text += ", engine " + all([](const Result& r) { return r.engine; });
  text += ", " + all([](const Result& r) { return r.dtype; }) + ". ";
  return text;
}

std::string what_came_out(const ReportInput& in) {
  size_t measured = 0, estimated = 0, failed = 0;
  for (const Result& row : in.rows) ++(!row.value ? failed : row.method == "estimated" ? estimated : measured);
  std::string text = number_text(measured) + plural(measured, " was", " were") + " measured, " +
                     number_text(estimated) + " estimated" + (estimated > 0 ? " (marked ~)" : "") + ", " +
                     (failed == 0 ? "none" : number_text(failed)) + " failed.";
  for (const ReportRun& run : in.runs) {
    if (!run.is_file && !run.info.exit_code)
      text += " " + run.info.id + " was broken off; what it had finished is shown.";
    if (run.notes.torn_line) text += " The last line of " + run.info.id + " is torn and left out.";
  }
  return text;
}

Text headline(const ReportPage& page, const TwinComparison& c, size_t layouts) {
  Text text = (page.models().size() > 1 ? c.row->model + " " : "") + c.row->phase + " at " + length_text(*c.row) +
              ", " + c.row->hybrid + ": ";
  const Ratio ratio = c.ratio();
  text += strong(ratio_text(ratio));
  if (layouts > 1) text += ", the fastest of " + std::to_string(layouts) + " layouts";
  if (!ratio.low)
    text += ", without an interval";
  else if (*ratio.high < 1)
    text += ", slower than its twin";
  else if (*ratio.low <= 1)
    text += ", which cannot be told from no difference";
  if (ratio.estimated) text += "; an estimate is part of it";
  text += " (rows ";
  text += page.row_link(page.index_of(*c.row)) + " and " + page.row_link(page.index_of(*c.twin));
  return text + ").";
}

// For each model and phase, the fastest layout at the greatest length.
std::vector<Text> headlines(const ReportPage& page) {
  std::map<std::pair<std::string, std::string>, std::vector<const TwinComparison*>> groups;
  for (const TwinComparison& c : page.comparisons)
    if (c.bare) groups[{c.row->model, c.row->phase}].push_back(&c);
  const auto length = [](const TwinComparison* c) { return c->row->ctx + (c->row->phase == "e2e" ? c->row->gen : 0); };
  std::vector<Text> items;
  for (const std::string& model : page.models())
    for (const std::string& phase : page.phases) {
      std::vector<const TwinComparison*>& group = groups[{model, phase}];
      if (group.empty()) continue;
      const int64_t most =
          length(*std::max_element(group.begin(), group.end(), [&](auto a, auto b) { return length(a) < length(b); }));
      std::erase_if(group, [&](auto c) { return length(c) < most; });
      std::set<std::string> layouts;
      for (const TwinComparison* c : group) layouts.insert(c->row->hybrid);
      items.push_back(headline(page,
                               **std::max_element(group.begin(), group.end(),
                                                  [](auto a, auto b) { return a->bare->value < b->bare->value; }),
                               layouts.size()));
    }
  return items;
}

std::string parity_text(const ReportInput& in) {
  std::map<std::string, size_t> counts;
  size_t numbers = 0;
  for (const Result& row : in.rows)
    if (row.value) ++numbers, ++counts[row.parity];
  if (numbers == 0) return "";
  if (counts["pass"] == numbers) return "Certificates of parity with the f64 reference cover every number. ";
  Strings parts;
  for (const auto& [status, count] : counts)
    if (count > 0) parts.push_back(number_text(count) + " " + status);
  return "Parity with the f64 reference, by rows: " + join(parts, ", ") + ". ";
}

std::string doubt_text(const ReportInput& in) {
  size_t noisy = 0;
  Maybe<double> least, most;  // of the estimates' errors against whole runs
  for (const Result& row : in.rows) {
    if (!row.value) continue;
    noisy += row.flags.find('N') != std::string::npos;
    if (!row.est_anchor_error) continue;
    least = std::min(least.value_or(*row.est_anchor_error), *row.est_anchor_error);
    most = std::max(most.value_or(*row.est_anchor_error), *row.est_anchor_error);
  }
  std::string text;
  if (noisy > 0)
    text += count_text(noisy, "row") + plural(noisy, " is", " are") +
            " noisy (flag N): the interval is wider than was asked for, or the machine was shared. ";
  if (least) {
    char range[96];
    std::snprintf(range, sizeof range, *least == *most ? "%+.1f" : "%+.1f to %+.1f", 100 * *least, 100 * *most);
    text += "Estimates, tried on a shorter context that was run whole, were off by " + std::string(range) + " %. ";
  }
  return text;
}

const Strings& verdicts() {
  static const Strings all = {"REPRODUCED", "EXCEEDED",  "NOT REPRODUCED", "AMBIGUOUS",
                              "TREND ONLY", "PREDICTED", "UNTESTED"};
  return all;
}

std::string verdict_counts(const std::vector<ClaimVerdict>& claims) {
  Strings parts;
  for (const std::string& verdict : verdicts())
    if (const auto count = std::count_if(claims.begin(), claims.end(), [&](auto& c) { return c.verdict == verdict; });
        count > 0)
      parts.push_back(std::to_string(count) + " " + verdict);
  return join(parts, ", ");
}

// --- Speed-ups ---

// One of the settings by which rows of a table of comparisons can differ.
struct Setting {
  std::string title;
  bool right;
  std::function<std::string(const Result&)> text;
};

std::string yarn_factor(const Result& r) {
  if (!r.yarn_factor || *r.yarn_factor == 1) return "off";
  char text[32];
  std::snprintf(text, sizeof text, "%g", *r.yarn_factor);
  return text;
}

const std::vector<Setting>& settings() {
  static const std::vector<Setting> all = {
      {"model", false, [](const Result& r) { return r.model; }},
      {"device", false, [](const Result& r) { return r.device; }},
      {"engine", false, [](const Result& r) { return r.engine; }},
      {"dtype", false, [](const Result& r) { return r.dtype; }},
      {"layers", true, [](const Result& r) { return std::to_string(r.layers); }},
      {"yarn", true, yarn_factor},
      {"ctx", true, [](const Result& r) { return r.ctx_label.empty() ? std::to_string(r.ctx) : r.ctx_label; }},
      {"gen", true, [](const Result& r) { return token_label(r.gen); }},
      {"bs", true, [](const Result& r) { return std::to_string(r.batch); }},
      {"requests", true, [](const Result& r) { return r.requests ? std::to_string(*r.requests) : ""; }},
      {"within", true,
       [](const Result& r) { return r.memory_limit_bytes ? bytes_text(*r.memory_limit_bytes) : std::string(); }},
      {"routing", false, [](const Result& r) { return r.routing; }},
      {"run", false, [](const Result& r) { return r.run_id; }}};
  return all;
}

// A line of a table of comparisons: a twin, and a row of each layout that was compared with it. A second row of the
// same layout (another batch in the same memory, another run beside the same twin) makes a line of its own.
struct TwinLine {
  const Result* twin;
  std::map<std::string, const TwinComparison*> cells;  // by layout

  bool takes(const TwinComparison& c) const {
    const auto agrees = [&](const auto& cell) {
      return cell.second->row->batch == c.row->batch && cell.second->row->run_id == c.row->run_id;
    };
    return !cells.contains(c.row->hybrid) && std::all_of(cells.begin(), cells.end(), agrees);
  }
  // Of the twin, or "8 over 4" where the rows differ from it.
  std::string text(const Setting& setting) const {
    const std::string own = setting.text(*cells.begin()->second->row), twins = setting.text(*twin);
    return own == twins ? own : own + " over " + twins;
  }
};

std::vector<TwinLine> lines_of(const std::vector<const TwinComparison*>& comparisons) {
  std::map<const Result*, std::vector<TwinLine>> by_twin;
  std::vector<const Result*> twins;
  for (const TwinComparison* c : comparisons) {
    const auto [found, first] = by_twin.try_emplace(c->twin);
    if (first) twins.push_back(c->twin);
    std::vector<TwinLine>& lines = found->second;
    auto line = std::find_if(lines.begin(), lines.end(), [&](const TwinLine& l) { return l.takes(*c); });
    if (line == lines.end()) line = lines.insert(lines.end(), TwinLine{c->twin, {}});
    line->cells[c->row->hybrid] = c;
  }
  const auto order = [](const Result* r) { return std::tie(r->model, r->layers, r->dtype, r->batch, r->ctx, r->gen); };
  std::stable_sort(twins.begin(), twins.end(), [&](auto a, auto b) { return order(a) < order(b); });
  std::vector<TwinLine> all;
  for (const Result* twin : twins) std::move(by_twin[twin].begin(), by_twin[twin].end(), std::back_inserter(all));
  return all;
}

// Settings in which the lines differ; ctx always.
std::vector<Setting> varying(const std::vector<TwinLine>& lines) {
  std::vector<Setting> some;
  for (const Setting& setting : settings())
    if (setting.title == "ctx" || std::any_of(lines.begin(), lines.end(), [&](const TwinLine& line) {
          return line.text(setting) != lines.front().text(setting);
        }))
      some.push_back(setting);
  return some;
}

// Without a ratio, what there is of the row: its time, or why it has none.
Text ratio_cell(const TwinComparison& c) {
  if (!c.bare) return muted(time_text(*c.row));
  const Ratio ratio = c.ratio();
  return ratio.low && *ratio.low > 1 ? strong(ratio_text(ratio)) : Text(ratio_text(ratio));
}

Maybe<int64_t> cache_bytes(const Result& r) {
  const auto kv = r.kv_bytes ? r.kv_bytes : r.kv_bytes_analytic;
  const auto state = r.state_bytes ? r.state_bytes : r.state_bytes_analytic;
  if (!kv && !state) return {};
  return kv.value_or(0) + state.value_or(0);
}

std::string cache_total(const Result& r) { return cache_bytes(r) ? bytes_text(*cache_bytes(r)) : ""; }

Text cache_cell(const TwinComparison& c) {
  const Maybe<int64_t> own = cache_bytes(*c.row), twin = cache_bytes(*c.twin);
  if (!own || !twin || *twin <= 0) return cache_total(*c.row);
  const double ratio = static_cast<double>(*own) / static_cast<double>(*twin);
  char text[32];
  std::snprintf(text, sizeof text, ratio < 0.01 ? " (%.2gx)" : " (%.3fx)", ratio);
  return cache_total(*c.row) + text;
}

// A line for each twin, a column for each layout that was compared with it.
void write_comparisons(ReportPage& page, const std::string& label,
                       const std::vector<const TwinComparison*>& comparisons, std::string (*twin_text)(const Result&),
                       Text (*cell_text)(const TwinComparison&)) {
  Strings layouts;
  for (const TwinComparison* c : comparisons)
    if (std::find(layouts.begin(), layouts.end(), c->row->hybrid) == layouts.end()) layouts.push_back(c->row->hybrid);
  std::vector<TwinLine> lines = lines_of(comparisons);
  const size_t all = lines.size();
  lines.resize(std::min(all, ReportPage::rows_shown));

  PageTable table;
  table.label = label;
  const std::vector<Setting> columns = varying(lines);
  for (const Setting& column : columns) table.titles.push_back(column.title), table.right.push_back(column.right);
  table.titles.push_back("softmax");
  table.titles.insert(table.titles.end(), layouts.begin(), layouts.end());
  table.right.resize(table.titles.size(), true);
  for (const TwinLine& line : lines) {
    std::vector<Text>& row = table.rows.emplace_back().cells;
    for (const Setting& column : columns) row.push_back(line.text(column));
    row.push_back(twin_text(*line.twin));
    for (const std::string& hybrid : layouts) {
      const auto cell = line.cells.find(hybrid);
      row.push_back(cell == line.cells.end() ? Text() : cell_text(*cell->second));
    }
  }
  page.add(std::move(table));
  page.say_cut(lines.size(), all);
}

// --- Figures ---

constexpr size_t figure_rows_shown = 200;

PageTable numbers_of(const DrawnFigure& figure) {
  std::ifstream in(figure.csv, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const std::vector<CsvRow> rows = parse_csv(text, figure.csv.string());
  PageTable table;
  if (rows.size() < 2) return table;
  const size_t all = rows.size() - 1, shown = std::min(all, figure_rows_shown);
  table.label = "Numbers of this figure" +
                (shown < all ? " (the first " + std::to_string(shown) + " of " + std::to_string(all) + ")" : "");
  table.folded = true;
  table.titles = rows.front().cells;
  for (size_t i = 1; i <= shown; ++i)
    table.rows.emplace_back().cells.assign(rows[i].cells.begin(), rows[i].cells.end());
  return table;
}

// --- Claims ---

std::string tone_of(const std::string& verdict) {
  if (verdict == "REPRODUCED" || verdict == "EXCEEDED") return "good";
  if (verdict == "NOT REPRODUCED") return "bad";
  if (verdict == "AMBIGUOUS") return "doubt";
  return verdict == "UNTESTED" ? "none" : "trend";
}

// With spaces at which no line breaks.
std::string unbroken(const std::string& text) {
  std::string kept;
  for (const char c : text) kept += c == ' ' ? "\u00a0" : std::string(1, c);
  return kept;
}

// What was found, and on which basis; what the cost model says where that is something else.
Text finding_of(const ClaimVerdict& claim) {
  if (!claim.value) return muted("nothing");
  Text text = unbroken(found_text(claim)) + line_break() + muted(claim.basis);
  if (claim.predicted && claim.basis != "predicted")
    text += line_break() + muted(unbroken("model " + predicted_text(claim)));
  return text;
}

// The claim, where it is published, why the verdict is what it is.
Text claim_text(const ClaimVerdict& claim) {
  Text text = claim.claim;
  if (!claim.source.empty()) text += " " + muted("(" + claim.source + ")");
  Strings notes = {claim.why};
  if (!claim.prediction.empty()) notes.push_back("Cost model: " + claim.prediction + ".");
  notes.insert(notes.end(), claim.warnings.begin(), claim.warnings.end());
  for (const std::string& note : notes)
    if (!note.empty()) text += line_break() + muted(note);
  return text;
}

}  // namespace

void write_summary(ReportPage& page) {
  if (page.in.rows.empty()) {
    page.say(page.in.runs.size() == 1 ? "The run " + page.in.runs.front().info.id + " holds no records."
                                      : "The runs hold no records.");
    return;
  }
  page.say(what_ran(page) + what_came_out(page.in));
  const std::vector<Text> speed_ups = headlines(page);
  if (speed_ups.empty()) {
    page.say(
        "There is no speed-up to state: no row with linear layers has its softmax twin beside it, both with a "
        "number.");
  } else {
    page.say(
        "Against the same model with softmax attention in every layer, on the same device, at the greatest length "
        "of each phase:");
    page.add(List{speed_ups});
  }
  std::string trust = parity_text(page.in) + doubt_text(page.in);
  if (!page.in.claims.empty())
    trust += "Of " + count_text(page.in.claims.size(), "published claim") + ": " + verdict_counts(page.in.claims) + ".";
  if (!trust.empty()) page.say(trust);
}

void write_speed_ups(ReportPage& page) {
  page.section("Speed-up by context", "speed-up");
  if (page.comparisons.empty()) {
    page.say("No row has a softmax twin to be compared with. --hybrid model,softmax measures both.");
    return;
  }
  page.say(
      "Time of the softmax twin, and how many times faster each layout is (linear layers per softmax layer). In "
      "brackets the 95 % interval; bold where all of it lies above 1x; ~ where an estimate is part of it. Where one of "
      "the two has no number, the time or the status of the other.");
  std::vector<const TwinComparison*> caches;  // of the first phase: they follow from the context
  for (const std::string& phase : page.phases) {
    std::vector<const TwinComparison*> of_phase;
    for (const TwinComparison& c : page.comparisons)
      if (c.row->phase == phase) of_phase.push_back(&c);
    if (of_phase.empty()) continue;
    page.heading(phase_name(phase));
    write_comparisons(page, phase_name(phase), of_phase, time_text, ratio_cell);
    if (caches.empty())
      for (const TwinComparison* c : of_phase)
        if (cache_bytes(*c->row) && cache_bytes(*c->twin)) caches.push_back(c);
  }
  if (caches.empty()) return;
  page.heading("Cache: KV and linear states, against the twin's");
  write_comparisons(page, "Cache bytes", caches, cache_total, cache_cell);
}

void write_figures(ReportPage& page) {
  page.section("Figures", "figures");
  Strings missing;
  Pictures pictures;
  for (const DrawnFigure& figure : page.in.figures) {
    const auto svg = std::find_if(figure.pictures.begin(), figure.pictures.end(),
                                  [](const auto& path) { return path.extension() == ".svg"; });
    if (svg == figure.pictures.end()) {
      missing.push_back(figure.title + " (" + (figure.note.empty() ? "not drawn" : figure.note) + ")");
      continue;
    }
    pictures.all.push_back({"figure-" + figure.id, figure.title, figure.caption, *svg, numbers_of(figure)});
  }
  if (!pictures.all.empty()) page.add(std::move(pictures));
  if (!missing.empty()) {
    page.heading("Without a picture");
    page.add(List{{missing.begin(), missing.end()}});
  }
  if (page.in.figures.empty()) page.say("None.");
  page.aside(Text("As files, with their numbers and scripts: ") + code("ringbench figures"));
}

void write_claims(ReportPage& page) {
  page.section("Claims", "claims");
  if (page.in.claims.empty()) {
    page.say("No published claims are known to this build.");
    return;
  }
  page.say("What the papers state, and what these runs or the cost model have against it: " +
           verdict_counts(page.in.claims) + ".");
  PageTable table;
  table.label = "Published claims with verdicts";
  table.prose = true;
  table.titles = {"Verdict", "Claim", "Stated", "Found", "Rows"};
  for (const ClaimVerdict& claim : page.in.claims) {
    table.rows.push_back({{badge(claim.verdict, tone_of(claim.verdict)), claim_text(claim), claim.stated,
                           finding_of(claim), page.point_links(claim.rows)},
                          "claim-" + claim.id});
  }
  page.add(std::move(table));
  page.heading("The rule");
  std::istringstream rule(claims_rule());
  for (std::string line; std::getline(rule, line);)
    if (!line.empty()) page.aside(line);
}

}  // namespace ringbench
