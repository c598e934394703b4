// figure_script.cpp: see figure_script.h.
#include "harness/figure_script.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <set>
#include <sstream>

#include "harness/words.h"

namespace ringbench {
namespace {

// Colours that the colour-blind can tell apart (Okabe and Ito, 2008; the yellow is too pale for lines), and shapes:
// filled where measured, hollow where not. The second eight lines have the colours again, with other shapes.
constexpr const char* colors[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                  "#E69F00", "#56B4E9", "#000000", "#7F7F7F"};
constexpr int filled_shapes[] = {7, 5, 9, 13, 11, 15}, hollow_shapes[] = {6, 4, 8, 12, 10, 14};
constexpr size_t style_count = 2 * std::size(colors);
constexpr int published_shapes[] = {3, 2, 1};  // star, cross, plus
constexpr double standard_width_in = 7;

std::string gnuplot_number(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

std::string rounded(double value, int digits) {
  char text[48];
  std::snprintf(text, sizeof text, "%.*g", digits, value);
  return text;
}

// A string of the script; gnuplot doubles a quote inside single ones and knows no other escape there.
std::string script_text(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? "''" : c == '\n' ? " " : std::string(1, c);
  return quoted + "'";
}

std::string for_tex(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (std::string("#$%&_{}").find(c) != std::string::npos) escaped += '\\';
    escaped += c == '~'    ? "\\textasciitilde{}"
               : c == '^'  ? "\\textasciicircum{}"
               : c == '\\' ? "\\textbackslash{}"
               : c == '<'  ? "$<$"
               : c == '>'  ? "$>$"
                           : std::string(1, c);
  }
  return escaped;
}

// --- Ticks ---

std::string scaled_text(double value, const std::vector<std::pair<double, const char*>>& units) {
  for (const auto& [size, name] : units)
    if (std::abs(value) >= size * 0.9999999 || size == units.back().first)
      return rounded(value / size, 4) + (*name == '\0' ? "" : " " + std::string(name));
  return rounded(value, 4);
}

std::string tick_text(Unit unit, double value) {
  if (value == 0) return "0";
  switch (unit) {
    case Unit::seconds: return scaled_text(value, {{1, "s"}, {1e-3, "ms"}, {1e-6, "µs"}});
    case Unit::tokens:
      return value >= 1 && value == std::floor(value) ? token_label(std::llround(value)) : rounded(value, 4);
    case Unit::bytes:
      return scaled_text(value, {{0x1p40, "TiB"}, {0x1p30, "GiB"}, {0x1p20, "MiB"}, {0x1p10, "KiB"}, {1, "B"}});
    case Unit::tokens_per_s: return value >= 1000 ? grouped(std::llround(value)) : rounded(value, 4);
    case Unit::flop_per_s: return scaled_text(value, {{1e15, "P"}, {1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1, ""}});
    case Unit::times: return rounded(value, 4) + "x";
    case Unit::flop_per_byte:
    case Unit::plain: return value >= 1e4 && value < 1e12 ? grouped(std::llround(value)) : rounded(value, 4);
  }
  return "";
}

Numbers binary_log_ticks(double low, double high, size_t count) {
  const int first = static_cast<int>(std::ceil(std::log2(low) - 1e-9)),
            last = static_cast<int>(std::floor(std::log2(high) + 1e-9));
  const int span = last - first, stride = std::max(1, (span + static_cast<int>(count) - 1) / static_cast<int>(count));
  Numbers ticks;
  for (int power = first; power <= last; ++power)
    if ((power - first) % stride == 0) ticks.push_back(std::ldexp(1.0, power));
  return ticks;
}

// Steps of 1, 2 or 5 times a power of ten; of bytes and tokens, of their unit (KiB, MiB, ...; k).
Numbers linear_ticks(Unit unit, double low, double high, size_t count) {
  double scale = 1;
  if (unit == Unit::bytes || unit == Unit::tokens)
    while (scale * 1024 <= high && scale < 0x1p40) scale *= 1024;
  const double raw = (high - low) / scale / static_cast<double>(count);
  const double power = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= raw) {
      step = factor * power;
      break;
    }
  step *= scale;
  Numbers ticks;
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; ++i) ticks.push_back(i * step);
  return ticks;
}

// Multiples in each decade, from few to many: the first with four ticks is taken. Where none has, the numbers span so
// little that even steps will do.
Numbers decimal_log_ticks(Unit unit, double low, double high, size_t count) {
  static const std::vector<Numbers> multiples = {
      {1}, {1, 3}, {1, 2, 5}, {1, 1.5, 2, 3, 5, 7}, {1, 2, 3, 4, 5, 6, 7, 8, 9}};
  for (const Numbers& steps : multiples) {
    Numbers ticks;
    for (int decade = static_cast<int>(std::floor(std::log10(low))); decade <= std::log10(high); ++decade)
      for (const double step : steps)
        if (const double tick = step * std::pow(10, decade); tick >= low * 0.999999 && tick <= high * 1.000001)
          ticks.push_back(tick);
    if (ticks.size() >= std::min<size_t>(count, 4) && ticks.size() <= count + 3) return ticks;
  }
  if (high / low < 100) return linear_ticks(unit, low, high, count);
  Numbers ticks;  // many decades: every second one, third one, ...
  const int first = static_cast<int>(std::ceil(std::log10(low))), last = static_cast<int>(std::floor(std::log10(high)));
  const int stride = 1 + (last - first) / static_cast<int>(count);
  for (int decade = first; decade <= last; decade += stride) ticks.push_back(std::pow(10, decade));
  return ticks;
}

}  // namespace

Ticks axis_ticks(Unit unit, bool log, double low, double high, size_t count) {
  Ticks ticks;
  count = std::max<size_t>(2, count);
  if (log) {
    const double room = std::max(0.06, 0.05 * std::log2(high / low));  // octaves beyond the outermost numbers
    ticks.low = low * std::exp2(-room), ticks.high = high * std::exp2(room);
    const bool binary = unit == Unit::tokens || (unit == Unit::bytes && high / low > 8);
    Numbers places = binary ? binary_log_ticks(ticks.low, ticks.high, count) : Numbers();
    if (places.size() < 2) places = decimal_log_ticks(unit, ticks.low, ticks.high, count);
    for (const double place : places) ticks.labels.emplace_back(place, tick_text(unit, place));
  } else {
    if (high <= low) high = low + std::max(1.0, std::abs(low));
    ticks.low = low >= 0 && low < 0.5 * high ? 0 : low - 0.06 * (high - low);
    ticks.high = high + 0.06 * (high - low);
    for (const double place : linear_ticks(unit, ticks.low, ticks.high, count))
      ticks.labels.emplace_back(place, tick_text(unit, place));
  }
  return ticks;
}

double parse_width(const std::string& text) {
  if (text.empty()) return standard_width_in;
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string unit(end, text.data() + text.size());
  const double inches = unit == "in" || unit.empty() ? value
                        : unit == "cm"               ? value / 2.54
                        : unit == "mm"               ? value / 25.4
                                                     : 0;
  if (error != std::errc() || !(inches >= 2 && inches <= 40))
    throw UsageError("--width: '" + text + "' is not a width. Use 3.3in, 84mm or 8.4cm, from 2in to 40in.");
  return inches;
}

// --- The numbers ---

namespace {

// Unlike csv_cell(): gnuplot does not read doubled quotes.
std::string gnuplot_cell(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string cell = "\"";
  for (const char c : text) cell += c == '"' ? "'" : std::string(1, c);
  return cell + "\"";
}

std::string x_label(const FigureData& data, double x) {
  if (data.categories.empty()) return tick_text(data.x.quantity.unit, x);
  return data.categories[static_cast<size_t>(x)];
}

// All that is drawn in a panel; the number of a line in this list is its `series` in the CSV.
std::vector<const FigureSeries*> all_lines(const FigurePanel& panel) {
  std::vector<const FigureSeries*> lines;
  for (const auto* group : {&panel.series, &panel.roofs, &panel.published})
    for (const FigureSeries& line : *group) lines.push_back(&line);
  return lines;
}

}  // namespace

std::string figure_csv(const FigureData& data) {
  std::ostringstream out;
  out << "panel,series,quantity,label,kind,x,x_label,y,ci95_low,ci95_high,n\n";
  for (size_t i = 0; i < data.panels.size(); ++i) {
    const std::vector<const FigureSeries*> lines = all_lines(data.panels[i]);
    for (size_t j = 0; j < lines.size(); ++j)
      for (const FigurePoint& p : lines[j]->points)
        out << i << "," << j << "," << data.panels[i].axis.quantity.name << "," << gnuplot_cell(lines[j]->label) << ","
            << name_of(p.kind) << "," << gnuplot_number(p.x) << "," << gnuplot_cell(x_label(data, p.x)) << ","
            << gnuplot_number(p.y) << "," << (p.low ? gnuplot_number(*p.low) : "") << ","
            << (p.high ? gnuplot_number(*p.high) : "") << "," << (p.n ? std::to_string(*p.n) : "") << "\n";
  }
  return out.str();
}

// --- The script ---

namespace {

// Sizes in inches and points, for one width. From the bottom up: the legend, the label of x, panels with the labels of
// their ticks between them, the title.
struct Layout {
  double width = 7, height = 4, font_pt = 9.5, line = 1.6, point = 0.65;
  double row = 0, letter = 0;              // height of a line of text, mean width of a letter
  double legend = 0, panel = 0, left = 0;  // height, height, width of what is left of the panels
  double longest_label = 1;                // of the legend, letters
  size_t legend_rows = 1, x_ticks = 10, y_ticks = 6;
  bool small = false;  // for a column of a paper

  static constexpr double label_rows = 2.9, gap_rows = 2.4;  // below the last panel, and between two
  double bottom_of(size_t panel_index, size_t panels) const {
    return legend + label_rows * row + static_cast<double>(panels - 1 - panel_index) * (panel + gap_rows * row);
  }
};

struct LegendEntry {
  std::string look, label;
};

Layout lay_out(const FigureData& data, const std::vector<LegendEntry>& legend, double width) {
  Layout layout;
  layout.width = width;
  layout.small = width < 5;
  if (layout.small) layout.font_pt = 7.5, layout.line = 1.1, layout.point = 0.45;
  layout.row = 1.3 * layout.font_pt / 72;
  layout.letter = 0.56 * layout.font_pt / 72;
  size_t longest = 1;
  for (const LegendEntry& entry : legend) longest = std::max(longest, entry.label.size());
  layout.longest_label = static_cast<double>(longest);
  const auto fitting = static_cast<size_t>((width - 0.2) / (static_cast<double>(longest + 9) * layout.letter));
  const size_t columns = std::clamp<size_t>(fitting, 1, std::clamp<size_t>(legend.size(), 1, 4));
  layout.legend_rows = (legend.size() + columns - 1) / columns;
  layout.legend = (static_cast<double>(layout.legend_rows) + 0.4) * layout.row;
  const size_t panels = data.panels.size();
  layout.panel = width * (panels == 1 ? 0.46 : panels == 2 ? 0.3 : 0.26);
  layout.height = layout.bottom_of(0, panels) + layout.panel + (layout.small ? 0.8 : 3.6) * layout.row;
  layout.x_ticks = static_cast<size_t>((width - 0.8) / (7.5 * layout.letter));
  layout.y_ticks = std::max<size_t>(3, static_cast<size_t>(layout.panel / (2.4 * layout.row)));
  return layout;
}

struct Range {
  double low = INFINITY, high = -INFINITY;
  void add(double value) { low = std::min(low, value), high = std::max(high, value); }
};

Range x_range(const FigureData& data) {
  Range range;
  for (const FigurePanel& panel : data.panels)
    for (const FigureSeries* line : all_lines(panel))
      for (const FigurePoint& p : line->points) range.add(p.x);
  for (const FigureMark& mark : data.marks)
    for (const double x : mark.places)
      if (!data.x.log || x > 0) range.add(x);
  return range;
}

Range y_range(const FigurePanel& panel) {
  Range range;
  for (const FigureSeries* line : all_lines(panel))
    for (const FigurePoint& p : line->points) {
      range.add(p.y);
      if (p.low && (!panel.axis.log || *p.low > 0)) range.add(*p.low);
      if (p.high) range.add(*p.high);
    }
  if (panel.axis.quantity.unit == Unit::times) range.add(1);
  return range;
}

bool has(const FigureSeries& line, bool measured) {
  return std::any_of(line.points.begin(), line.points.end(),
                     [&](const FigurePoint& p) { return (p.kind == PointKind::measured) == measured; });
}
bool has_interval(const FigureSeries& line) {
  return std::any_of(line.points.begin(), line.points.end(), [](const FigurePoint& p) { return p.low && p.high; });
}

// What the picture is to be called by hand: dashed grey for marks, hollow grey for estimates.
std::vector<LegendEntry> legend_of(const FigureData& data) {
  std::vector<LegendEntry> legend;
  std::set<size_t> seen;
  bool estimated = false, computed = false, measured = false;
  for (const FigurePanel& panel : data.panels)
    for (const FigureSeries& line : panel.series) {
      for (const FigurePoint& p : line.points) {
        measured |= p.kind == PointKind::measured;
        estimated |= p.kind == PointKind::estimated;
        computed |= p.kind == PointKind::computed;
      }
      if (!seen.insert(line.style).second) continue;
      const std::string s = std::to_string(line.style % style_count + 1),
                        other_style = std::to_string(line.style % style_count + 101);
      legend.push_back(
          {has(line, true) ? "linespoints linestyle " + s : "linespoints linestyle " + other_style + " dashtype 1",
           line.label});
    }
  if (estimated) legend.push_back({"linespoints linestyle 20", "estimated"});
  if (computed && (measured || estimated)) legend.push_back({"points linestyle 20", "computed"});
  for (const FigurePanel& panel : data.panels) {
    for (const FigureSeries& roof : panel.roofs) legend.push_back({"lines linestyle 21", roof.label});
    for (const FigureSeries& point : panel.published)
      legend.push_back(
          {"points linestyle " + std::to_string(30 + point.style % std::size(published_shapes)), point.label});
  }
  for (const FigureMark& mark : data.marks) legend.push_back({"lines linestyle 22", mark.label});
  return legend;
}

std::string tics(const char* axis, const Ticks& ticks) {
  std::string text = std::string("set ") + axis + "tics nomirror (";
  for (size_t i = 0; i < ticks.labels.size(); ++i)
    text += (i ? ", " : "") + script_text(ticks.labels[i].second) + " " + gnuplot_number(ticks.labels[i].first);
  return text + ")\nset " + axis + "range [" + gnuplot_number(ticks.low) + ":" + gnuplot_number(ticks.high) + "]\n";
}

Ticks x_ticks(const FigureData& data, size_t count) {
  if (!data.categories.empty()) {
    Ticks ticks = {-0.5, static_cast<double>(data.categories.size()) - 0.5, {}};
    for (size_t i = 0; i < data.categories.size(); ++i)
      ticks.labels.emplace_back(static_cast<double>(i), data.categories[i]);
    return ticks;
  }
  const Range range = x_range(data);
  return axis_ticks(data.x.quantity.unit, data.x.log, range.low, range.high, count);
}

// One line of the CSV by its numbers; `when` is a further condition on the columns.
std::string select(size_t panel, size_t series, const std::string& when, const std::string& columns) {
  std::string text = "FILE using 6:($1 == " + std::to_string(panel) + " && $2 == " + std::to_string(series);
  if (!when.empty()) text += " && " + when;
  return text + " ? $8 : NaN)" + columns;
}

std::string plot_of(const FigureData& data, size_t index) {
  const FigurePanel& panel = data.panels[index];
  const std::vector<const FigureSeries*> lines = all_lines(panel);
  Strings parts;
  if (panel.axis.quantity.unit == Unit::times) parts.emplace_back("1 with lines linestyle 23 notitle");
  for (size_t i = 0; i < lines.size(); ++i) {
    const FigureSeries& line = *lines[i];
    const PointKind kind = line.points.front().kind;
    if (kind == PointKind::roof) {
      parts.push_back(select(index, i, "", " with lines linestyle 21 notitle"));
      continue;
    }
    if (kind == PointKind::stated || kind == PointKind::derived) {
      const std::string s = std::to_string(30 + line.style % std::size(published_shapes));
      parts.push_back(select(index, i, "", " with points linestyle " + s + " notitle"));
      continue;
    }
    const size_t style = line.style % style_count;
    const std::string s = std::to_string(style + 1), other_style = std::to_string(style + 101),
                      interval_style = std::to_string(style + 201);
    const std::string measured = "strcol(5) eq 'measured'", other = "strcol(5) ne 'measured'";
    const bool joined = !panel.axis.roofs;  // points of a roofline are no curve
    const bool estimated = std::any_of(line.points.begin(), line.points.end(),
                                       [](const FigurePoint& p) { return p.kind == PointKind::estimated; });
    if (joined && has(line, false))
      parts.push_back(
          select(index, i, "", " with lines linestyle " + other_style + (estimated ? "" : " dashtype 1") + " notitle"));
    if (joined && has(line, true))
      parts.push_back(select(index, i, measured, " with lines linestyle " + s + " notitle"));
    if (has_interval(line))
      parts.push_back(select(index, i, "", ":9:10 with yerrorbars linestyle " + interval_style + " notitle"));
    if (has(line, false))
      parts.push_back(select(index, i, other, " with points linestyle " + other_style + " notitle"));
    if (has(line, true)) parts.push_back(select(index, i, measured, " with points linestyle " + s + " notitle"));
  }
  return "plot " + join(parts, ", \\\n     ") + "\n";
}

std::string terminals(const std::string& id, const Layout& layout, const FigureOptions& options) {
  const double w = layout.width, h = layout.height;
  const auto inches = [](double value) { return rounded(value, 4) + "in"; };
  const auto pixels = [](double value) { return std::to_string(std::lround(value)); };
  const std::string font = rounded(layout.font_pt, 3);
  std::ostringstream out;
  out << "if (!exists('formats')) formats = " << script_text(join(options.formats, " ")) << "\n\n"
      << "do for [format in formats] {\n"
      << "tex = format eq 'tex'\n"
      << "paper = tex || format eq 'pdf'" << (layout.small ? " || 1" : "")
      << "  # without a title: the caption says it\n"
      << "key_spacing = 1.15; key_width = 0\n"
      // This terminal takes letters for wider and lines for higher than browsers draw them.
      << "if (format eq 'svg') { key_spacing = 0.88; key_width = -" << rounded(0.24 * layout.longest_label, 3)
      << " }\n"
      // 96 units to the inch, as browsers have it: a point is 4/3 of one.
      << "if (format eq 'svg') { set terminal svg size " << pixels(w * 96) << "," << pixels(h * 96)
      << " font 'sans-serif," << rounded(layout.font_pt * 4 / 3, 3)
      << "' background '#ffffff' linewidth 1.2; set output " << script_text(id + ".svg")
      << " }\n"
      // 200 pixels to the inch.
      << "if (format eq 'png') { set terminal pngcairo size " << pixels(w * 200) << "," << pixels(h * 200)
      << " font 'sans," << font << "' fontscale " << rounded(200.0 / 72 * 0.75, 4)
      << " linewidth 2.4 pointscale 2.2; set output " << script_text(id + ".png") << " }\n"
      << "if (format eq 'pdf') { set terminal pdfcairo size " << inches(w) << "," << inches(h) << " font 'sans," << font
      << "' linewidth 1; set output " << script_text(id + ".pdf") << " }\n"
      << "if (format eq 'tex') { set terminal cairolatex pdf input size " << inches(w) << "," << inches(h)
      << " font ',' . " << script_text(font) << " linewidth 1; set output " << script_text(id + "-tex.tex") << " }\n";
  return out.str();
}

std::string style_lines(const Layout& layout) {
  std::ostringstream out;
  const std::string lw = rounded(layout.line, 3), ps = rounded(layout.point, 3), bar = rounded(layout.line * 0.6, 3);
  out << "# Lines: from 1 measured, from 101 not measured (hollow, dashed), from 201 intervals.\n";
  for (size_t i = 0; i < style_count; ++i) {
    const size_t shape = (i + i / std::size(colors)) % std::size(filled_shapes);
    const std::string color = std::string(" linecolor rgb '") + colors[i % std::size(colors)] + "'";
    out << "set style line " << i + 1 << color << " linewidth " << lw << " pointtype " << filled_shapes[shape]
        << " pointsize " << ps << "\n"
        << "set style line " << 101 + i << color << " linewidth " << rounded(layout.line * 0.8, 3)
        << " dashtype (6,4) pointtype " << hollow_shapes[shape] << " pointsize " << rounded(layout.point * 1.15, 3)
        << "\n"
        << "set style line " << 201 + i << color << " linewidth " << bar << " pointtype 0\n";
  }
  out << "set style line 20 linecolor rgb '#555555' linewidth " << bar << " dashtype (6,4) pointtype 6 pointsize " << ps
      << "\nset style line 21 linecolor rgb '#555555' linewidth " << lw
      << "\nset style line 22 linecolor rgb '#777777' linewidth " << bar << " dashtype (2,3)"
      << "\nset style line 23 linecolor rgb '#777777' linewidth " << bar << "\n";
  for (size_t i = 0; i < std::size(published_shapes); ++i)
    out << "set style line " << 30 + i << " linecolor rgb '#000000' linewidth " << lw << " pointtype "
        << published_shapes[i] << " pointsize " << rounded(layout.point * 2, 3) << "\n";
  return out.str();
}

// Words of the picture as variables, with a second set where LaTeX would misread them.
std::string words_of(const FigureData& data, const std::vector<LegendEntry>& legend) {
  std::vector<std::pair<std::string, std::string>> words = {
      {"title", data.title}, {"subtitle", data.subtitle}, {"x_label", data.x.label}};
  for (size_t i = 0; i < data.panels.size(); ++i)
    words.emplace_back("y" + std::to_string(i + 1) + "_label", data.panels[i].axis.label);
  for (size_t i = 0; i < legend.size(); ++i) words.emplace_back("l" + std::to_string(i + 1), legend[i].label);
  std::string plain, tex;
  for (const auto& [name, text] : words) {
    plain += name + " = " + script_text(text) + "\n";
    if (for_tex(text) != text) tex += "  " + name + " = " + script_text(for_tex(text)) + "\n";
  }
  return plain + (tex.empty() ? "" : "if (tex) {\n" + tex + "}\n");
}

// What holds for all panels.
std::string frame_of(const FigureData& data, const Layout& layout) {
  std::ostringstream out;
  out << "set datafile separator ','\nset datafile columnheaders\nset datafile missing NaN\n"
      << "set termoption noenhanced\nset encoding utf8\nset border 3 linecolor rgb '#444444'\nset tics scale 0.6\n"
      << "set grid xtics ytics linecolor rgb '#e4e4e4' linewidth 0.6 linetype 1\nset errorbars 0.6\nunset key\n"
      << "set lmargin at screen " << rounded(layout.left / layout.width, 4) << "\nset rmargin at screen "
      << rounded(1 - 3 * layout.letter / layout.width, 4) << "\n";
  if (data.x.log) out << "set logscale x\n";
  out << tics("x", x_ticks(data, layout.x_ticks));
  for (const FigureMark& mark : data.marks)
    for (const double place : mark.places)
      out << "set arrow from first " << gnuplot_number(place) << ", graph 0 to first " << gnuplot_number(place)
          << ", graph 1 nohead linestyle 22 back\n";
  return out.str();
}

std::string panel_of(const FigureData& data, const Layout& layout, size_t index, const Ticks& y) {
  const FigurePanel& panel = data.panels[index];
  const double bottom = layout.bottom_of(index, data.panels.size());
  std::ostringstream out;
  out << "\n# Panel " << index << ": " << panel.axis.quantity.name << "\n"
      << "set bmargin at screen " << rounded(bottom / layout.height, 4) << "\nset tmargin at screen "
      << rounded((bottom + layout.panel) / layout.height, 4) << "\n"
      << "set label 1 y" << index + 1 << "_label at screen " << rounded(0.9 * layout.row / layout.width, 4)
      << ", graph 0.5 center rotate\n"
      << (panel.axis.log ? "set" : "unset") << " logscale y\n"
      << tics("y", y);
  if (index == 0)
    out << "if (!paper) {\n  set label 2 title at graph 0.5, graph 1 center offset 0,2.2\n"
        << "  set label 3 subtitle at graph 0.5, graph 1 center offset 0,0.9 textcolor rgb '#555555'\n}\n";
  else
    out << "unset label 2\nunset label 3\n";
  if (index + 1 == data.panels.size())
    out << "set label 4 x_label at graph 0.5, screen "
        << rounded((layout.legend + 0.75 * layout.row) / layout.height, 4) << " center\n";
  out << plot_of(data, index);
  return out.str();
}

// A plot of nothing over the whole picture, so that its legend has the picture's width and stands below the panels.
std::string legend_plot(const std::vector<LegendEntry>& legend, const Layout& layout) {
  std::ostringstream out;
  out << "\n# Legend\nunset border\nunset tics\nunset grid\nunset label\nunset arrow\nunset logscale\n"
      << "set margins at screen 0, screen 1, screen 0, screen 1\nset xrange [0:1]\nset yrange [0:1]\n"
      << "set key at screen 0.5, screen " << rounded(layout.legend / layout.height, 4)
      << " center top vertical Left reverse samplen 2.5 spacing key_spacing width key_width maxrows "
      << layout.legend_rows << "\nplot NaN notitle";
  for (size_t i = 0; i < legend.size(); ++i)
    out << ", \\\n     keyentry with " << legend[i].look << " title l" << i + 1;
  out << "\n";
  return out.str();
}

}  // namespace

std::string figure_script(const FigureData& data, const std::string& id, const FigureOptions& options) {
  const std::vector<LegendEntry> legend = legend_of(data);
  Layout layout = lay_out(data, legend, parse_width(options.width));
  std::vector<Ticks> y;
  size_t longest = 1;
  for (const FigurePanel& panel : data.panels) {
    const Range range = y_range(panel);
    y.push_back(axis_ticks(panel.axis.quantity.unit, panel.axis.log, range.low, range.high, layout.y_ticks));
    for (const auto& [place, label] : y.back().labels) longest = std::max(longest, label.size());
  }
  layout.left = static_cast<double>(longest + 2) * layout.letter + 1.6 * layout.row;

  std::ostringstream out;
  out << "# gnuplot " << script_text(id + ".gp") << ": draws " << id << " from " << id << ".csv.\n"
      << "# gnuplot -e \"formats='pdf'\" " << script_text(id + ".gp") << ": other formats, of svg png pdf tex.\n"
      << "# " << data.caption << "\n"
      << "FILE = " << script_text(id + ".csv")
      << "  # columns: panel series quantity label kind x x_label y low high n\n"
      << terminals(id, layout, options) << "\n# Words.\n"
      << words_of(data, legend) << "\n"
      << style_lines(layout) << "\n"
      << frame_of(data, layout) << "\nset multiplot\n";
  for (size_t i = 0; i < data.panels.size(); ++i) out << panel_of(data, layout, i, y[i]);
  out << legend_plot(legend, layout) << "unset multiplot\nunset output\nreset\n}\n";
  return out.str();
}

}  // namespace ringbench
