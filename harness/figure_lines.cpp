// figure_lines.cpp: see figure_lines.h.
#include "harness/figure_lines.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>
#include <set>
#include <unordered_map>

#include "harness/measure.h"
#include "harness/speedup.h"
#include "harness/words.h"

namespace ringbench {
namespace {

constexpr size_t max_lines = 16;  // of a panel: styles repeat beyond 8

// --- What a row says ---

PointKind kind_of(const Result& row) {
  if (row.engine == "analytic") return PointKind::computed;
  return row.method == "estimated" ? PointKind::estimated : PointKind::measured;
}

bool is_finite(const Maybe<double>& number) { return number && std::isfinite(*number); }

// Throughput over the baseline's. Times of one workload, except where each batch is as large as memory allows: then
// the sequences count too. Its interval: speed_up_interval().
double sequences_over(const Result& row, const Result& baseline) {
  return row.requests ? 1 : static_cast<double>(row.batch) / static_cast<double>(std::max<int64_t>(1, baseline.batch));
}

Maybe<FigurePoint> speed_up_point(const Result& row, const Result* baseline) {
  if (baseline == nullptr || !is_finite(row.value) || !is_finite(baseline->value) || *row.value <= 0) return {};
  const Ratio ratio = bare_speed_up(row, *baseline);
  FigurePoint point;
  point.y = ratio.value * sequences_over(row, *baseline);
  point.kind = ratio.estimated ? PointKind::estimated : PointKind::measured;
  if (row.n && baseline->n) point.n = std::min(*row.n, *baseline->n);
  return point;
}

void speed_up_interval(const Result& row, const Result& baseline, FigurePoint& point) {
  const Ratio ratio = speed_up(row, baseline);
  const double sequences = sequences_over(row, baseline);
  if (ratio.low && ratio.high) point.low = *ratio.low * sequences, point.high = *ratio.high * sequences;
}

// --- Which line a row belongs to ---

// Fields that make rows different measurements, in the order in which a reader would name them.
const Strings& telling_fields() {
  static const Strings fields = {"model",       "hybrid",
                                 "phase",       "metric",
                                 "engine",      "device",
                                 "dtype",       "layers",
                                 "batch",       "gen",
                                 "ctx",         "chunk",
                                 "yarn_factor", "yarn_original",
                                 "routing",     "weights",
                                 "requests",    "memory_limit_bytes",
                                 "threads",     "slope_layer_offset",
                                 "depth_fill",  "seed",
                                 "commit"};
  return fields;
}

// Rows by what they say in a growing list of fields: equal groups, equal texts in all of them.
class Grouping {
 public:
  Grouping(const FigureRows& rows, const std::vector<Placed>& placed) : rows_(rows), placed_(placed) {
    groups_.resize(placed.size());
  }
  void add(const std::string& field) {
    const FigureColumn& column = rows_.column(field);
    std::unordered_map<uint64_t, uint32_t> numbers;
    for (size_t i = 0; i < groups_.size(); ++i) {
      const uint64_t key = uint64_t{groups_[i]} << 32 | column.codes[placed_[i].index];
      groups_[i] = numbers.try_emplace(key, static_cast<uint32_t>(numbers.size())).first->second;
    }
  }
  // Numbered from 0 in the order in which they first appear.
  const std::vector<uint32_t>& groups() const { return groups_; }

 private:
  const FigureRows& rows_;
  const std::vector<Placed>& placed_;
  std::vector<uint32_t> groups_;
};

bool varies(const FigureRows& rows, const std::vector<Placed>& placed, const std::string& field) {
  const std::vector<uint32_t>& codes = rows.column(field).codes;
  return std::any_of(placed.begin(), placed.end(),
                     [&](const Placed& p) { return codes[p.index] != codes[placed.front().index]; });
}

bool never_mixed(const std::vector<Placed>& placed, const std::string& field) {
  if (field == "batch")
    return std::none_of(placed.begin(), placed.end(), [](const Placed& p) { return p.row->memory_limit_bytes; });
  return field == "engine" || field == "device" || field == "dtype";
}

// Rows in the order of their lines and places along x; rows of one place in the order of the records.
class Places {
 public:
  explicit Places(const std::vector<Placed>& placed) : placed_(placed), order_(placed.size()) {
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(), [&](size_t a, size_t b) { return placed[a].x < placed[b].x; });
  }
  void sort(const std::vector<uint32_t>& lines) {
    lines_ = &lines;
    std::stable_sort(order_.begin(), order_.end(), [&](size_t a, size_t b) { return lines[a] < lines[b]; });
  }
  // Whether two rows of one place have different numbers and differ in the field.
  bool tells_apart(const FigureColumn& column) const {
    size_t first = 0;
    for (size_t i = 1; i < order_.size(); ++i) {
      const Placed &a = placed_[order_[first]], &b = placed_[order_[i]];
      if ((*lines_)[order_[i]] != (*lines_)[order_[first]] || a.x != b.x)
        first = i;
      else if (column.codes[a.index] != column.codes[b.index] && differ(a, b))
        return true;
    }
    return false;
  }

 private:
  static bool differ(const Placed& a, const Placed& b) {
    for (size_t panel = 0; panel < a.points.size(); ++panel)
      if (a.points[panel] && b.points[panel] && a.points[panel]->y != b.points[panel]->y) return true;
    return false;
  }

  const std::vector<Placed>& placed_;
  std::vector<size_t> order_;
  const std::vector<uint32_t>* lines_ = nullptr;
};

std::string label_of(const Result& row, const Strings& fields) {
  Strings words;
  for (const std::string& field : fields)
    if (const std::string text = in_words(row, field); !text.empty()) words.push_back(text);
  return join(words, ", ");
}

// --- Lines ---

// Several records of one place: the median, within the widest of their intervals.
FigurePoint merged(const std::vector<FigurePoint>& points) {
  if (points.size() == 1) return points.front();
  FigurePoint point = points.front();
  Numbers y;
  int64_t n = 0;
  for (const FigurePoint& p : points) {
    y.push_back(p.y);
    n += p.n.value_or(0);
    if (p.kind != PointKind::measured) point.kind = p.kind;
    if (p.low && point.low) point.low = std::min(*point.low, *p.low);
    if (p.high && point.high) point.high = std::max(*point.high, *p.high);
  }
  point.y = median(y);
  if (n > 0) point.n = n;
  return point;
}

// Which of `all` places along a line are drawn: at most max_points, spread over it, both ends included.
std::vector<size_t> thinned(size_t all) {
  std::vector<size_t> kept(std::min(all, max_points));
  for (size_t i = 0; i < kept.size(); ++i) kept[i] = all <= max_points ? i : i * (all - 1) / (max_points - 1);
  return kept;
}

}  // namespace

bool is_speed_up(const Axis& axis) { return axis.quantity.kind == FigureQuantity::Kind::speed_up; }

Maybe<FigurePoint> point_of(const Result& row, const Axis& axis, const FigureRows& rows) {
  const FigureQuantity& quantity = axis.quantity;
  if (is_speed_up(axis)) return speed_up_point(row, rows.baseline_of(row, axis.over));
  const Maybe<double> y =
      quantity.kind == FigureQuantity::Kind::derived ? quantity.derive(row) : field_number(row, quantity.name);
  if (!is_finite(y) || (axis.log && *y <= 0)) return {};
  FigurePoint point;
  point.y = *y;
  point.kind = kind_of(row);
  point.n = row.n;
  if (quantity.name == "cache_bytes" && !row.kv_bytes && !row.state_bytes) point.kind = PointKind::computed;
  if (quantity.interval == FigureQuantity::Interval::own) {
    point.low = row.ci95_low, point.high = row.ci95_high;
    return point;
  }
  const bool has_interval = row.unit == "s" && row.value > 0.0 && is_finite(row.ci95_low) && is_finite(row.ci95_high) &&
                            *row.ci95_low > 0 && quantity.interval != FigureQuantity::Interval::none;
  if (has_interval) {
    const double low = *row.ci95_low / *row.value, high = *row.ci95_high / *row.value;
    const bool time = quantity.interval == FigureQuantity::Interval::time;
    point.low = time ? *y * low : *y / high;
    point.high = time ? *y * high : *y / low;
  }
  return point;
}

Strings series_fields(const FigureFile& figure, const FigureRows& rows, const std::vector<Placed>& placed) {
  Strings fields = figure.series.empty() ? Strings{"model", "hybrid"} : figure.series;
  Grouping lines(rows, placed);
  for (const std::string& field : fields) lines.add(field);
  Places places(placed);
  places.sort(lines.groups());
  const bool scattered = figure.panels.front().roofs;
  Strings candidates = telling_fields();
  if (figure.panels.front().quantity.name == "score")
    std::erase_if(candidates, [](const std::string& field) { return field == "model" || field == "weights"; });
  std::set<std::string> tags;
  for (const Placed& p : placed)
    for (const auto& [name, value] : p.row->tags) tags.insert("tag_" + name);
  candidates.insert(candidates.end() - 1, tags.begin(), tags.end());
  for (const std::string& field : candidates)
    if (field != figure.x.quantity.name && std::find(fields.begin(), fields.end(), field) == fields.end() &&
        varies(rows, placed, field) &&
        (never_mixed(placed, field) || (!scattered && places.tells_apart(rows.column(field))))) {
      fields.push_back(field);
      lines.add(field);
      places.sort(lines.groups());
    }
  return fields;
}

std::string in_words(const Result& row, const std::string& field) {
  const std::string text = field_text(row, field);
  if (text.empty()) return field == "yarn_factor" ? "no YaRN" : "";
  if (field == "hybrid" && row.engine != "analytic")
    return text.find(':') != std::string::npos ? text + " hybrid" : text;
  if (field == "ctx") return token_label(row.ctx) + " context";
  if (field == "gen") return token_label(row.gen) + " generated";
  if (field == "chunk") return "chunk " + token_label(*row.chunk);
  if (field == "layers") return text + " layers";
  if (field == "threads") return text + (text == "1" ? " thread" : " threads");
  if (field == "yarn_factor") return "YaRN x" + text;
  if (field == "yarn_original") return "from " + token_label(*row.yarn_original);
  if (field == "requests") return text + " requests";
  if (field == "batch" || field == "seed") return field + " " + text;
  if (field == "slope_layer_offset") return "slope offset " + text;
  if (field == "depth_fill") return text + " depth";
  if (field == "memory_limit_bytes") {
    char gib[48];
    std::snprintf(gib, sizeof gib, "in %.3g GiB", static_cast<double>(*row.memory_limit_bytes) / 0x1p30);
    return gib;
  }
  return text;
}

Strings label_fields(const Strings& fields, const FigureRows& rows, const std::vector<Placed>& placed) {
  Strings labels;
  for (const std::string& field : fields)
    if (varies(rows, placed, field)) labels.push_back(field);
  if (!labels.empty()) return labels;
  const bool by_layout = std::find(fields.begin(), fields.end(), "hybrid") != fields.end();
  return {by_layout || fields.empty() ? "hybrid" : fields.front()};
}

Lines lines_by_label(const FigureRows& rows, const std::vector<Placed>& placed, const Strings& fields) {
  Grouping grouping(rows, placed);
  for (const std::string& field : fields) grouping.add(field);
  Lines lines;
  std::unordered_map<std::string, size_t> places;
  std::vector<size_t> style_of;  // of each group; two of them may read alike
  for (size_t i = 0; i < placed.size(); ++i) {
    const size_t group = grouping.groups()[i];
    if (group == style_of.size()) {
      const auto [place, is_new] = places.try_emplace(label_of(*placed[i].row, fields), places.size());
      if (is_new) lines.labels.push_back(place->first);
      style_of.push_back(place->second);
    }
    lines.styles.push_back(style_of[group]);
  }
  return lines;
}

std::vector<FigureSeries> lines_of_panel(const FigureRows& rows, const std::vector<Placed>& placed, const Lines& lines,
                                         size_t panel, const Axis& axis, LeftOut& left_out) {
  std::vector<std::map<double, std::vector<const Placed*>>> by_x(std::min(lines.labels.size(), max_lines));
  for (size_t i = 0; i < placed.size(); ++i) {
    if (!placed[i].points[panel]) continue;
    if (lines.styles[i] < max_lines)
      by_x[lines.styles[i]][placed[i].x].push_back(&placed[i]);
    else
      left_out.lines = lines.labels.size() - max_lines;
  }
  const auto points_of = [&](const std::vector<const Placed*>& all) {
    std::vector<FigurePoint> points;
    for (const Placed* p : all) {
      FigurePoint& point = points.emplace_back(*p->points[panel]);
      point.x = p->x;
      if (is_speed_up(axis)) speed_up_interval(*p->row, *rows.baseline_of(*p->row, axis.over), point);
    }
    return points;
  };
  std::vector<FigureSeries> series;
  for (size_t style = 0; style < by_x.size(); ++style) {
    if (by_x[style].empty()) continue;
    FigureSeries line = {lines.labels[style], style, {}};
    if (axis.roofs) {
      for (const auto& [x, all] : by_x[style])
        for (const FigurePoint& point : points_of(all)) line.points.push_back(point);
      const std::vector<FigurePoint> all = std::move(line.points);
      line.points.clear();
      for (const size_t i : thinned(all.size())) line.points.push_back(all[i]);
      left_out.thinned |= line.points.size() < all.size();
    } else {
      const std::vector<std::pair<double, std::vector<const Placed*>>> places(by_x[style].begin(), by_x[style].end());
      for (const size_t i : thinned(places.size())) {
        const std::vector<FigurePoint> points = points_of(places[i].second);
        left_out.merged |=
            std::any_of(points.begin(), points.end(), [&](const FigurePoint& p) { return p.y != points[0].y; });
        line.points.push_back(merged(points));
      }
      left_out.thinned |= line.points.size() < places.size();
    }
    series.push_back(std::move(line));
  }
  return series;
}

std::vector<FigureSeries> roofs_of(const std::vector<Placed>& placed) {
  std::set<std::pair<double, double>> peaks;  // FLOP/s, bytes/s
  double low = INFINITY, high = 0;
  for (const Placed& p : placed) {
    low = std::min(low, p.x), high = std::max(high, p.x);
    if (p.row->peak_tflops && p.row->peak_gbps) peaks.insert({*p.row->peak_tflops * 1e12, *p.row->peak_gbps * 1e9});
  }
  std::vector<FigureSeries> roofs;
  for (const auto& [flops, bytes] : peaks) {
    char label[96];
    std::snprintf(label, sizeof label, "peak %.3g TFLOP/s, %.4g GB/s", flops / 1e12, bytes / 1e9);
    const double ridge = flops / bytes, from = std::min(low, ridge) / 2, to = std::max(high, ridge) * 2;
    FigureSeries roof = {label, roofs.size(), {}};
    for (const double x : {from, ridge, to}) {
      FigurePoint point;
      point.x = x, point.y = std::min(flops, x * bytes), point.kind = PointKind::roof;
      roof.points.push_back(point);
    }
    roofs.push_back(roof);
  }
  return roofs;
}

}  // namespace ringbench
