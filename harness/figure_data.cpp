// figure_data.cpp: see figure_data.h.
#include "harness/figure_data.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>
#include <set>

#include "harness/cost.h"
#include "harness/figure_lines.h"
#include "harness/published.h"
#include "harness/words.h"

namespace ringbench {
namespace {

// --- Which rows ---

// Indices of the rows that the figure is about.
std::vector<size_t> matching_rows(const FigureFile& figure, const FigureRows& rows) {
  std::vector<size_t> matching(rows.all().size());
  std::iota(matching.begin(), matching.end(), 0);
  for (const auto& [field, values] : figure.rows) {
    const FigureColumn& column = rows.column(field);
    std::vector<bool> meets;
    for (const std::string& text : column.texts)
      meets.push_back(std::find(values.begin(), values.end(), text) != values.end());
    std::erase_if(matching, [&](size_t i) { return !meets[column.codes[i]]; });
  }
  return matching;
}

// Rows that no engine measured: what the config alone says.
std::vector<Result> analytic_rows(const FigureFile& figure) {
  std::vector<Result> rows;
  if (figure.analytic.empty()) return rows;
  const LatentWidths latent = LatentWidths::load();
  for (const AnalyticLine& line : figure.analytic) {
    const ModelConfig config = resolve_model(line.model, "", "").config;
    for (const int64_t ctx : figure.analytic_ctx) {
      Result row;
      row.model = config.name;
      row.hybrid = line.label;
      row.engine = "analytic";
      row.phase = "decode";
      row.ctx = ctx;
      row.dtype = "bf16";
      row.bytes = memory_access(config, latent, ctx, DType::bf16).*line.attention;
      rows.push_back(row);
    }
  }
  return rows;
}

// --- Marks ---

// Where a line of ratios first reaches 1 from below, on straight lines between its points as drawn; nothing if it
// begins above or never does.
Maybe<double> crossover_of(const FigureSeries& line, bool log_x) {
  for (size_t i = 1; i < line.points.size(); ++i) {
    const FigurePoint &a = line.points[i - 1], &b = line.points[i];
    if (a.y >= 1) return std::nullopt;
    if (b.y < 1) continue;
    const double share = -std::log(a.y) / (std::log(b.y) - std::log(a.y));
    return log_x ? a.x * std::pow(b.x / a.x, share) : a.x + share * (b.x - a.x);
  }
  return std::nullopt;
}

void add_marks(const FigureFile& figure, const std::vector<Placed>& placed, FigureData& data, Strings& sentences) {
  for (const Mark& mark : figure.marks) {
    if (mark.x) {
      data.marks.push_back({mark.label, {*mark.x}});
    } else if (mark.field == "crossover") {
      for (const FigurePanel& panel : data.panels) {
        if (!is_speed_up(panel.axis)) continue;
        for (const FigureSeries& line : panel.series) {
          const Maybe<double> x = crossover_of(line, data.x.log);
          const bool always = !line.points.empty() && line.points.front().y >= 1;
          const std::string at = x ? token_label(std::llround(*x)) : "";
          if (x) data.marks.push_back({line.label + ": " + mark.label + " at " + at, {*x}});
          sentences.push_back(line.label + (x        ? " overtakes at about " + at
                                            : always ? " is ahead from the first point on"
                                                     : " does not overtake here"));
        }
      }
    } else {
      std::set<double> places;
      for (const Placed& p : placed)
        if (const Maybe<double> x = field_number(*p.row, mark.field)) places.insert(*x);
      Strings texts;
      for (const double x : places) texts.push_back(token_label(std::llround(x)));
      if (!places.empty()) data.marks.push_back({mark.label + " " + join(texts, ", "), {places.begin(), places.end()}});
    }
  }
}

// --- Published numbers ---

// Where a published number stands in a panel of the given unit: the value, and whether arithmetic of ours is in it.
struct Overlay {
  double y = 0;
  bool derived = false;
};
Maybe<Overlay> overlay_of(const PublishedNumber& number, const Axis& axis) {
  const bool derived = number.kind == "derived";
  const bool of_ratios = axis.quantity.unit == Unit::times;
  if (of_ratios && (number.unit == "x" || number.unit == "ratio")) return Overlay{number.value, derived};
  // A time that changes by -27 % is a speed-up of 1 / 0.73.
  if (axis.quantity.kind == FigureQuantity::Kind::speed_up && number.unit == "%" && number.value > -100)
    return Overlay{1 / (1 + number.value / 100), true};
  if (axis.quantity.unit == Unit::tokens_per_s && number.unit == "tok/s") return Overlay{number.value, derived};
  if (axis.quantity.unit == Unit::seconds && number.unit == "s") return Overlay{number.value, derived};
  return std::nullopt;
}

Maybe<double> x_of(const PublishedNumber& number, const std::string& quantity) {
  const PublishedConditions& c = number.conditions;
  Maybe<int64_t> x;
  if (quantity == "ctx") x = c.ctx ? c.ctx : c.ctx_from;
  if (quantity == "gen") x = c.gen;
  if (quantity == "depth" && (c.ctx || c.gen)) x = c.ctx.value_or(0) + c.gen.value_or(0);
  return x ? Maybe<double>(static_cast<double>(*x)) : std::nullopt;
}

std::string conditions_text(const PublishedNumber& number) {
  const PublishedConditions& c = number.conditions;
  Strings words = {number.model + (number.baseline.empty() ? "" : " against " + number.baseline)};
  if (c.ctx) words.push_back(token_label(*c.ctx) + " context");
  if (c.ctx_from) words.push_back("beyond " + token_label(*c.ctx_from));
  if (c.gen) words.push_back(token_label(*c.gen) + " generated");
  if (c.batch) words.push_back("batch " + std::to_string(*c.batch));
  words.push_back(c.device.empty() || c.device == "not stated" ? "device not stated" : c.device);
  if (!c.framework.empty()) words.push_back(c.framework);
  return join(words, ", ") + "; " + number.source;
}

// Ratios are drawn whatever the machine, numbers in units of their own only beside rows of the same device family.
void add_published(const FigureFile& figure, const std::vector<Placed>& placed, FigureData& data, Strings& sentences) {
  size_t style = 0;
  for (const std::string& id : figure.published) {
    const PublishedNumber* number = find_published(id);
    if (number == nullptr) {
      Strings ids;
      for (const PublishedNumber& other : published_numbers()) ids.push_back(other.id);
      const std::string near = nearest_word(id, ids);
      throw UsageError("figures: " + figure.id + ": no published number \"" + id + "\"." +
                           (near.empty() ? "" : " Did you mean " + near + "?"),
                       "they are in configs/published");
    }
    const std::string& device = number->conditions.device;
    const bool same_device = !device.empty() && std::any_of(placed.begin(), placed.end(), [&](const Placed& p) {
      return p.row->device.find(device) != std::string::npos;
    });
    const Maybe<double> x = x_of(*number, figure.x.quantity.name);
    for (FigurePanel& panel : data.panels) {
      const Maybe<Overlay> overlay = overlay_of(*number, panel.axis);
      if (!overlay) continue;
      const std::string stated = stated_text(*number), conditions = conditions_text(*number);
      const bool comparable = panel.axis.quantity.unit == Unit::times || same_device;
      if (!x || !comparable) {
        sentences.push_back(
            (comparable ? "Not drawn, its place along x is not stated: " : "Not drawn, different hardware: ") + stated +
            " (" + conditions + ")");
        break;
      }
      FigurePoint point;
      point.x = *x, point.y = overlay->y;
      point.kind = overlay->derived ? PointKind::derived : PointKind::stated;
      char ratio[32] = "";
      if (number->unit == "%") std::snprintf(ratio, sizeof ratio, " %.2fx from", overlay->y);
      const std::string label = std::string(name_of(point.kind)) + ratio + " " + stated + ", " + number->model;
      panel.published.push_back({label, style++, {point}});
      sentences.push_back((overlay->derived ? "Derived" + std::string(ratio) + ": " : "Stated: ") + stated + " (" +
                          conditions + (same_device ? "" : "; different hardware") + ")");
      break;
    }
  }
}

// --- Caption ---

// The values that the rows have in a field, in order of appearance: "a", "a and b", "several".
std::string values_text(const FigureRows& rows, const std::vector<Placed>& placed, const std::string& field) {
  const FigureColumn& column = rows.column(field);
  std::vector<bool> seen(column.texts.size());
  Strings values;
  for (const Placed& p : placed) {
    if (seen[column.codes[p.index]]) continue;
    seen[column.codes[p.index]] = true;
    const std::string text = in_words(*p.row, field);
    if (!text.empty() && std::find(values.begin(), values.end(), text) == values.end()) values.push_back(text);
    if (values.size() > 4) return "several";
  }
  return join(values, values.size() == 2 ? " and " : ", ");
}

std::string filled(const std::string& text, const FigureRows& rows, const std::vector<Placed>& placed) {
  std::string result;
  size_t at = 0;
  for (size_t open; (open = text.find('{', at)) != std::string::npos;) {
    const size_t close = text.find('}', open);
    if (close == std::string::npos) break;
    const std::string field = text.substr(open + 1, close - open - 1);
    result += text.substr(at, open - at);
    result += known_field(field) ? values_text(rows, placed, field) : text.substr(open, close - open + 1);
    at = close + 1;
  }
  return result + text.substr(at);
}

std::string repetitions_text(const std::vector<Placed>& placed) {
  int64_t least = INT64_MAX, most = 0;
  for (const Placed& p : placed)
    if (p.row->n) least = std::min(least, *p.row->n), most = std::max(most, *p.row->n);
  if (most == 0) return "";
  return "n = " + std::to_string(least) + (least == most ? "" : " to " + std::to_string(most));
}

bool has_kind(const FigureData& data, PointKind kind) {
  for (const FigurePanel& panel : data.panels)
    for (const FigureSeries& line : panel.series)
      for (const FigurePoint& point : line.points)
        if (point.kind == kind) return true;
  return false;
}

bool has_interval(const FigureData& data) {
  for (const FigurePanel& panel : data.panels)
    for (const FigureSeries& line : panel.series)
      for (const FigurePoint& point : line.points)
        if (point.low) return true;
  return false;
}

// "3 points without a number (2 oom, 1 timeout)".
std::string failed_text(const std::map<std::string, int64_t>& failed) {
  if (failed.empty()) return "";
  int64_t count = 0;
  Strings kinds;
  for (const auto& [status, number] : failed) {
    count += number;
    kinds.push_back(std::to_string(number) + " " + status);
  }
  return std::to_string(count) + (count == 1 ? " point" : " points") + " without a number (" + join(kinds, ", ") + ")";
}

std::string sentence(std::string text) {
  if (!text.empty() && text.back() != '.') text += '.';
  return text;
}

void write_caption(const FigureFile& figure, const FigureRows& rows, const std::vector<Placed>& placed,
                   const Strings& sentences, const LeftOut& left_out, const std::map<std::string, int64_t>& failed,
                   FigureData& data) {
  const bool analytic = !figure.analytic.empty();
  Strings about = {values_text(rows, placed, "model"), values_text(rows, placed, "dtype")};
  if (analytic) {
    about.push_back("computed from the configs, nothing measured");
  } else {
    about.push_back(values_text(rows, placed, "device"));
    for (const char* field : {"engine", "batch"}) about.push_back(values_text(rows, placed, field));
  }
  about.erase(std::remove(about.begin(), about.end(), ""), about.end());
  data.subtitle =
      join({about.begin(), about.begin() + static_cast<ptrdiff_t>(std::min<size_t>(3, about.size()))}, ", ");
  if (!analytic) about.push_back("commit " + values_text(rows, placed, "commit"));
  if (const std::string n = repetitions_text(placed); !n.empty()) about.push_back(n);

  Strings all = {sentence(filled(figure.caption, rows, placed)), sentence(join(about, ", "))};
  if (has_interval(data)) all.push_back("Bars: 95 % intervals.");
  if (has_kind(data, PointKind::estimated)) all.push_back("Hollow points and dashed lines: estimated, not run whole.");
  if (has_kind(data, PointKind::computed) && !analytic) all.push_back("Hollow points: computed from the config.");
  for (const std::string& text : sentences) all.push_back(sentence(text));
  all.push_back(sentence(failed_text(failed)));
  if (left_out.merged) all.push_back("Where several records fall on one place: their median, widest interval.");
  if (left_out.thinned) all.push_back("Lines are thinned to " + std::to_string(max_points) + " points.");
  if (left_out.lines > 0) all.push_back(std::to_string(left_out.lines) + " more lines are left out.");
  all.erase(std::remove(all.begin(), all.end(), ""), all.end());
  data.caption = join(all, " ");
}

// --- x ---

// Words along x: layouts by their share of linear layers, others as they come.
Strings categories_of(const FigureRows& rows, const std::vector<size_t>& matching, const std::string& field) {
  const FigureColumn& column = rows.column(field);
  std::vector<bool> seen(column.texts.size());
  std::vector<std::pair<double, std::string>> found;
  for (const size_t i : matching) {
    const uint32_t code = column.codes[i];
    if (seen[code]) continue;
    seen[code] = true;
    const double share =
        static_cast<double>(rows[i].linear_layers) / static_cast<double>(std::max<int64_t>(1, rows[i].layers));
    found.emplace_back(share, column.texts[code]);
  }
  if (field == "hybrid")
    std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  Strings words;
  for (const auto& [share, text] : found) words.push_back(text);
  return words;
}

Maybe<double> x_of(const Result& row, const Axis& x, const Strings& categories) {
  const FigureQuantity& quantity = x.quantity;
  if (quantity.kind == FigureQuantity::Kind::text) {
    const auto found = std::find(categories.begin(), categories.end(), field_text(row, quantity.name));
    return static_cast<double>(found - categories.begin());
  }
  const Maybe<double> value =
      quantity.kind == FigureQuantity::Kind::derived ? quantity.derive(row) : field_number(row, quantity.name);
  return value && std::isfinite(*value) && (!x.log || *value > 0) ? value : std::nullopt;
}

}  // namespace

std::string_view name_of(PointKind kind) {
  switch (kind) {
    case PointKind::measured: return "measured";
    case PointKind::estimated: return "estimated";
    case PointKind::computed: return "computed";
    case PointKind::stated: return "stated";
    case PointKind::derived: return "derived";
    case PointKind::roof: return "roof";
  }
  return "";
}

bool FigureData::empty() const {
  return std::all_of(panels.begin(), panels.end(), [](const FigurePanel& panel) { return panel.series.empty(); });
}

FigureData collect_figure(const FigureFile& figure, const FigureRows& recorded, const std::string& mode) {
  FigureData data;
  data.title = figure.title;
  data.x = figure.x;
  const bool only_ratios = std::all_of(figure.panels.begin(), figure.panels.end(), is_speed_up);
  for (const Axis& panel : figure.panels)
    if (mode == "ratio" || only_ratios || !is_speed_up(panel)) data.panels.push_back({panel, {}, {}, {}});

  const std::vector<Result> computed = analytic_rows(figure);
  const FigureRows analytic(computed);
  const FigureRows& rows = figure.analytic.empty() ? recorded : analytic;
  const std::vector<size_t> matching = matching_rows(figure, rows);
  std::map<std::string, int64_t> failed;  // by status
  for (const size_t i : matching)
    if (!rows[i].value && rows[i].engine != "analytic") ++failed[rows[i].status];
  if (figure.x.quantity.kind == FigureQuantity::Kind::text)
    data.categories = categories_of(rows, matching, figure.x.quantity.name);

  std::vector<Placed> placed;
  for (const size_t i : matching) {
    const Maybe<double> x = x_of(rows[i], figure.x, data.categories);
    if (!x) continue;
    Placed p = {i, &rows[i], *x, {}};
    for (const FigurePanel& panel : data.panels) p.points.push_back(point_of(rows[i], panel.axis, rows));
    if (std::any_of(p.points.begin(), p.points.end(), [](const auto& point) { return point.has_value(); }))
      placed.push_back(std::move(p));
  }
  if (placed.empty()) return data;

  const Lines lines = lines_by_label(rows, placed, label_fields(series_fields(figure, rows, placed), rows, placed));
  LeftOut left_out;
  for (size_t i = 0; i < data.panels.size(); ++i) {
    data.panels[i].series = lines_of_panel(rows, placed, lines, i, data.panels[i].axis, left_out);
    if (data.panels[i].axis.roofs) data.panels[i].roofs = roofs_of(placed);
  }
  // A panel of ratios stays away where no row has its baseline, unless nothing else would be left.
  Strings sentences;
  std::erase_if(data.panels, [&](const FigurePanel& panel) {
    if (panel.series.empty() && !panel.axis.over.empty())
      sentences.push_back("No speed-ups: no row has its " +
                          (panel.axis.over == "twin" ? "softmax twin" : "baseline, " + panel.axis.over));
    return panel.series.empty();
  });
  add_marks(figure, placed, data, sentences);
  add_published(figure, placed, data, sentences);
  write_caption(figure, rows, placed, sentences, left_out, failed, data);
  return data;
}

}  // namespace ringbench
