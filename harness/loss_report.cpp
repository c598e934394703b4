// loss_report.cpp: see loss_report.h.
#include "harness/loss_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "harness/environment.h"
#include "harness/table.h"
#include "harness/words.h"

namespace ringbench {
namespace {

using Json = nlohmann::ordered_json;
using Strings = std::vector<std::string>;

std::string number(const char* format, double x) {
  char text[48];
  std::snprintf(text, sizeof text, format, x);
  return text;
}

// Differences may be as small as what f32 angles do.
std::string small_number(double x) { return number(x == 0 || std::abs(x) >= 1e-3 ? "%.4f" : "%.1e", x); }
std::string error_text(const std::optional<double>& se) { return se ? small_number(*se) : "-"; }
std::string units_text(const MeanLoss& mean) {
  return std::to_string(mean.n) + (mean.of_windows ? " window" : " block") + (mean.n == 1 ? "" : "s");
}

bool is_all(Bucket bucket) { return bucket.last == kAllPositions.last; }

std::string label(Bucket bucket) {
  return is_all(bucket) ? "all" : std::to_string(bucket.first) + "-" + std::to_string(bucket.last);
}

std::vector<Bucket> buckets_and_all(int64_t ctx) {
  std::vector<Bucket> buckets = position_buckets(ctx);
  buckets.push_back(kAllPositions);
  return buckets;
}

// The difference of reading r from the first one; nothing for the first itself.
std::vector<WindowLoss> difference_from_first(const ContextLoss& context, size_t r) {
  return paired_difference(context.readings[r].windows, context.readings[0].windows);
}

// --- csv and json ---

Json number_or_null(const std::optional<double>& x) { return x ? Json(*x) : Json(); }

Json row_of(const LossReport& report, const ContextLoss& context, size_t r, Bucket bucket) {
  const ReadingLoss& reading = context.readings[r];
  const MeanLoss loss = mean_loss(reading.windows, bucket);
  const std::optional<RopeScaling>& yarn = reading.config.rope_scaling;
  Json row = {{"schema", "ringbench.loss/1"},
              {"model", report.model},
              {"weights", report.key == "weights" ? report.values[r] : report.weights},
              {"engine", report.engine},
              {"dtype", report.dtype},
              {"device", report.device},
              {"chunk", report.chunk},
              {"source", report.source},
              {"ctx", context.ctx},
              {"windows", reading.windows.size()},
              {"complete", reading.windows.size() == context.windows.size() && !report.interrupted},
              {"key", report.key.empty() ? Json() : Json(report.key)},
              {"reading", report.key.empty() ? Json() : Json(report.values[r])},
              {"slope_layer_offset", name_of(reading.config.slope_layer_offset)},
              {"yarn_factor", yarn ? yarn->factor : 1.0},
              {"yarn_original", yarn ? Json(yarn->original_max_position_embeddings) : Json()},
              {"rope_angles", report.rope_angles[r]},
              {"position_first", bucket.first},
              {"position_last", is_all(bucket) ? Json() : Json(bucket.last)},
              {"tokens", loss.tokens},
              {"loss", loss.tokens > 0 ? Json(loss.mean) : Json()},
              {"loss_se", number_or_null(loss.se)},
              {"perplexity", loss.tokens > 0 ? Json(std::exp(loss.mean)) : Json()},
              {"n", loss.n},
              {"unit", loss.of_windows ? "window" : "block"},
              {"diff_from", nullptr},
              {"diff", nullptr},
              {"diff_se", nullptr}};
  if (r > 0) {
    const MeanLoss difference = mean_loss(difference_from_first(context, r), bucket);
    row["diff_from"] = report.values[0];
    if (difference.tokens > 0) row["diff"] = difference.mean;
    row["diff_se"] = number_or_null(difference.se);
  }
  return row;
}

std::vector<Json> rows_of(const LossReport& report) {
  std::vector<Json> rows;
  for (const ContextLoss& context : report.contexts)
    for (size_t r = 0; r < context.readings.size(); ++r)
      for (const Bucket bucket : buckets_and_all(context.ctx)) rows.push_back(row_of(report, context, r, bucket));
  return rows;
}

std::string dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string csv_text(const std::vector<Json>& rows) {
  Strings names;
  for (const auto& [name, meaning] : loss_fields()) names.push_back(name);
  std::string text = join(names, ",") + "\n";
  for (const Json& row : rows) {
    Strings cells;
    for (const std::string& name : names) {
      const Json& value = row.at(name);
      cells.push_back(value.is_null() ? "" : csv_cell(value.is_string() ? value.get<std::string>() : dump(value)));
    }
    text += join(cells, ",") + "\n";
  }
  return text;
}

// --- table and Markdown ---

Strings titles_of(const LossReport& report, const ContextLoss& context) {
  Strings titles = {"position", "tokens"};
  if (report.key.empty()) {
    for (const char* title : {"loss", "se", "perplexity", "from"}) titles.emplace_back(title);
    return titles;
  }
  for (size_t r = 0; r < context.readings.size(); ++r) titles.push_back(report.values[r]);
  for (size_t r = 1; r < context.readings.size(); ++r) {
    titles.push_back(report.values[r] + " minus " + report.values[0]);
    titles.emplace_back("se");
  }
  titles.emplace_back("from");
  return titles;
}

std::vector<Strings> cells_of(const LossReport& report, const ContextLoss& context) {
  std::vector<Strings> rows = {titles_of(report, context)};
  for (const Bucket bucket : buckets_and_all(context.ctx)) {
    const MeanLoss first = mean_loss(context.readings[0].windows, bucket);
    if (first.tokens == 0) continue;  // interrupted before
    Strings row = {label(bucket), std::to_string(first.tokens)};
    if (report.key.empty()) {
      row.push_back(number("%.4f", first.mean));
      row.push_back(error_text(first.se));
      row.push_back(number("%.5g", std::exp(first.mean)));
    }
    Strings differences;
    for (size_t r = 0; r < context.readings.size() && !report.key.empty(); ++r) {
      const MeanLoss loss = mean_loss(context.readings[r].windows, bucket);
      row.push_back(loss.tokens > 0 ? number("%.4f", loss.mean) : "-");
      if (r == 0) continue;
      const MeanLoss difference = mean_loss(difference_from_first(context, r), bucket);
      differences.push_back(difference.tokens > 0 ? small_number(difference.mean) : "-");
      differences.push_back(error_text(difference.se));
    }
    row.insert(row.end(), differences.begin(), differences.end());
    row.push_back(units_text(first));
    rows.push_back(std::move(row));
  }
  return rows;
}

// The first row is the titles; all but the first column stand right.
std::string aligned(const std::vector<Strings>& rows) {
  std::vector<size_t> widths(rows[0].size());
  for (const Strings& row : rows)
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  std::string text;
  for (const Strings& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string space(widths[c] - row[c].size(), ' ');
      text += c == 0 ? row[c] + space : "  " + space + row[c];
    }
    text += "\n";
  }
  return text;
}

std::string markdown(const std::vector<Strings>& rows) {
  std::string text;
  for (size_t i = 0; i < rows.size(); ++i) {
    text += "| " + join(rows[i], " | ") + " |\n";
    if (i > 0) continue;
    text += "|---|";
    for (size_t c = 1; c < rows[0].size(); ++c) text += "--:|";
    text += "\n";
  }
  return text;
}

std::string windows_text(const ContextLoss& context) {
  int64_t shorter = 0;
  for (const Window& window : context.windows) shorter += window.size < context.ctx;
  std::string text = std::to_string(context.windows.size()) + " window" + (context.windows.size() == 1 ? "" : "s");
  if (shorter > 0)
    text += ", " + std::to_string(shorter) + " of them shorter: what is left of " +
            (shorter == 1 ? "a document" : "documents");
  return "ctx " + token_label(context.ctx) + ": " + text;
}

// Which reading has the lowest loss, and whether the next best is told apart from it.
std::string verdict(const LossReport& report, const ContextLoss& context) {
  std::vector<std::pair<double, size_t>> order;  // mean, reading
  for (size_t r = 0; r < context.readings.size(); ++r) {
    const MeanLoss all = mean_loss(context.readings[r].windows, kAllPositions);
    if (all.tokens > 0) order.emplace_back(all.mean, r);
  }
  if (order.size() < 2) return "";
  std::sort(order.begin(), order.end());
  const auto best = order[0].second, next = order[1].second;
  const MeanLoss difference =
      mean_loss(paired_difference(context.readings[next].windows, context.readings[best].windows), kAllPositions);
  const std::string name = report.key + "=" + report.values[best];
  if (order.front().first == order.back().first)
    return "All readings give the same loss: " + report.key + " changes nothing here.";
  const std::string text = "Lowest loss: " + name + ". Next is " + report.values[next] + ", higher by " +
                           small_number(difference.mean) + " nats a token, standard error " +
                           error_text(difference.se) + ", from " + units_text(difference) + ".\n";
  return text + (is_told_apart(difference)
                     ? "The text tells them apart: the difference is beyond 3 standard errors."
                     : "The text does not tell them apart: that takes 3 standard errors, from 6 or more.");
}

// Where positions lie beyond what a reading was trained for.
Strings window_notes(const LossReport& report, const ContextLoss& context) {
  Strings notes;
  for (size_t r = 0; r < context.readings.size(); ++r) {
    const int64_t trained = context.readings[r].config.trained_window();
    if (trained < context.ctx)
      notes.push_back("Positions from " + std::to_string(trained) + " on are beyond the trained window" +
                      (report.key.empty() ? "." : " of " + report.key + "=" + report.values[r] + "."));
  }
  std::sort(notes.begin(), notes.end());
  return notes;
}

std::string readable_text(const LossReport& report, bool md) {
  const Environment environment = capture_environment();
  std::string text = "ringbench " + environment.version + " (" + environment.commit + ") loss | " + report.device +
                     (md ? "  \n" : "\n") + (report.key == "weights" ? "" : report.model + ", ") + report.engine +
                     ", " + report.dtype + ", weights " + report.weights + ", " + report.source + ": " +
                     grouped(report.tokens) + " tokens in " + grouped(report.documents) +
                     (report.documents == 1 ? " document\n" : " documents\n");
  if (!report.key.empty())
    text +=
        std::string(md ? "\n" : "") + "Loss in nats a token by " + report.key + ", and differences, paired by token.\n";
  for (const ContextLoss& context : report.contexts) {
    if (context.readings.empty() || mean_loss(context.readings[0].windows, kAllPositions).tokens == 0) continue;
    text += "\n" + windows_text(context) + "\n\n";
    text += md ? markdown(cells_of(report, context)) : aligned(cells_of(report, context));
    Strings notes = window_notes(report, context);
    if (const std::string conclusion = verdict(report, context); !conclusion.empty()) notes.push_back(conclusion);
    if (!notes.empty()) text += "\n" + join(notes, md ? "\n\n" : "\n") + "\n";
  }
  text +=
      "\nposition t has seen t+1 tokens of its window. se: standard error of the mean, from windows or, where\n"
      "fewer than 10 reach a bucket, from blocks of " +
      std::to_string(kLossBlock) + " tokens.\n";
  if (report.interrupted) text += "\nInterrupted: this is what was done.\n";
  return text;
}

}  // namespace

const std::vector<std::pair<std::string, std::string>>& loss_fields() {
  static const std::vector<std::pair<std::string, std::string>> fields = {
      {"schema", "ringbench.loss/1"},
      {"model", "preset or folder"},
      {"weights", "folder or repository; dummy:scaled if random"},
      {"engine", "reference, cuda or emulated"},
      {"dtype", "of the arithmetic"},
      {"device", "GPU or CPU"},
      {"chunk", "tokens that went through the layers together"},
      {"source", "name of the file of text or tokens"},
      {"ctx", "tokens of a window"},
      {"windows", "that were walked through"},
      {"complete", "false: interrupted"},
      {"key", "what is compared; null: nothing"},
      {"reading", "value of key; null: nothing is compared"},
      {"slope_layer_offset", "0, 1 or mlx"},
      {"yarn_factor", "1: no YaRN"},
      {"yarn_original", "tokens; null: no YaRN"},
      {"rope_angles", "f64 or f32"},
      {"position_first", "first position of the bucket; 0 sees one token"},
      {"position_last", "null: to the end; with position_first 0 all positions"},
      {"tokens", "predicted in the bucket"},
      {"loss", "mean negative log likelihood, nats a token"},
      {"loss_se", "its standard error, from n units; null if n < 2"},
      {"perplexity", "exp(loss)"},
      {"n", "units that the standard error is from"},
      {"unit", "window, or block of 128 tokens"},
      {"diff_from", "reading that diff is from: the first; null in its own rows"},
      {"diff", "mean of this loss minus the other's, paired by token"},
      {"diff_se", "standard error of diff, from n units"}};
  return fields;
}

std::string loss_text(const LossReport& report, Format format) {
  if (format == Format::table || format == Format::md) return readable_text(report, format == Format::md);
  const std::vector<Json> rows = rows_of(report);
  if (format == Format::csv) return csv_text(rows);
  Strings lines;
  for (const Json& row : rows) lines.push_back(dump(row));
  if (format == Format::jsonl) return lines.empty() ? "" : join(lines, "\n") + "\n";
  return lines.empty() ? "[]\n" : "[\n" + join(lines, ",\n") + "\n]\n";
}

FigureData loss_figure(const LossReport& report) {
  const ContextLoss& context = *std::max_element(report.contexts.begin(), report.contexts.end(),
                                                 [](const auto& a, const auto& b) { return a.ctx < b.ctx; });
  FigureData figure;
  figure.title = "Loss by position";
  figure.subtitle = report.source + ", windows of " + token_label(context.ctx) + " tokens";
  figure.caption = report.model + ", " + report.engine + ", " + report.dtype + ", " + report.device +
                   ". Each point: the mean over a range of positions, drawn at its middle, with its 95 % interval.";
  figure.x.quantity.name = "position";
  figure.x.quantity.unit = Unit::tokens;
  figure.x.label = "position in the window";
  FigurePanel& panel = figure.panels.emplace_back();
  panel.axis.quantity.name = "loss";
  panel.axis.label = "loss (nats a token)";
  panel.axis.log = false;
  for (size_t r = 0; r < context.readings.size(); ++r) {
    FigureSeries& series = panel.series.emplace_back();
    series.label = report.key.empty() ? report.weights : report.key + " " + report.values[r];
    series.style = r;
    for (const Bucket bucket : position_buckets(context.ctx)) {
      const MeanLoss loss = mean_loss(context.readings[r].windows, bucket);
      if (loss.tokens == 0) continue;
      FigurePoint& point = series.points.emplace_back();
      point.x = (static_cast<double>(bucket.first) + static_cast<double>(std::min(bucket.last, context.ctx - 1))) / 2;
      point.y = loss.mean;
      if (loss.se) point.low = loss.mean - 1.96 * *loss.se, point.high = loss.mean + 1.96 * *loss.se;
      point.n = loss.n;
    }
  }
  if (!context.readings.empty()) {
    const int64_t window = context.readings.front().config.max_position_embeddings;
    if (window > 0 && window < context.ctx) figure.marks.push_back({"trained window", {static_cast<double>(window)}});
  }
  return figure;
}

}  // namespace ringbench
