// parity_ablation.cpp: see parity_ablation.h.
#include "harness/parity_ablation.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "harness/gnuplot.h"
#include "harness/measure.h"
#include "harness/parity_walk.h"
#include "harness/words.h"
#include "reference/engine.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;

struct RoundingPoint {
  const char* name;
  Rounding Precision::*member;
  bool fp8;  // is kept in fp8 by somebody
};
constexpr RoundingPoint kModelPoints[] = {
    {"weights", &Precision::weights, true},
    {"residual", &Precision::residual, false},
    {"norm", &Precision::norm, false},
    {"activations", &Precision::activations, false},
    {"qkv", &Precision::qkv, false},
    {"kv", &Precision::kv_cache, true},
    {"operands", &Precision::operands, false},
    {"state", &Precision::state, true},
    {"attention", &Precision::attention, false},
    {"router", &Precision::router, false},
    {"lm_head", &Precision::lm_head, false},
};

// What one prompt's walk says against the plain one.
struct Moved {
  std::vector<double> kld, delta;
  int64_t top1 = 0, rerouted = 0, rows = 0;
};

std::vector<double> log_probabilities(std::span<const double> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double x : logits) sum += std::exp(x - top);
  std::vector<double> out(logits.begin(), logits.end());
  for (double& x : out) x -= top + std::log(sum);
  return out;
}

void compare_walks(const Walk& rounded, const Walk& plain, Moved& moved) {
  const size_t V = static_cast<size_t>(plain.vocab);
  for (int64_t row = 0; row < plain.rows; ++row) {
    const auto at = [&](const Walk& w) { return std::span(w.logits).subspan(static_cast<size_t>(row) * V, V); };
    const std::vector<double> p = log_probabilities(at(plain)), q = log_probabilities(at(rounded));
    double kld = 0;
    for (size_t i = 0; i < V; ++i) kld += std::exp(p[i]) * (p[i] - q[i]);
    const size_t best = static_cast<size_t>(std::max_element(p.begin(), p.end()) - p.begin()),
                 other = static_cast<size_t>(std::max_element(q.begin(), q.end()) - q.begin());
    moved.kld.push_back(std::max(0.0, kld));
    moved.delta.push_back(std::abs(p[best] - q[best]));
    moved.top1 += best != other;
    moved.rerouted += std::any_of(plain.experts.begin(), plain.experts.end(), [&](const auto& layer) {
      return layer.second[static_cast<size_t>(row)] != rounded.experts.at(layer.first)[static_cast<size_t>(row)];
    });
    ++moved.rows;
  }
}

std::vector<Walk> walks_of(const Subject& subject, const AblationRequest& request, const Precision& precision) {
  EngineOptions options = truth_options(subject.options, precision);
  options.slots = 1;
  options.chunk = 64;  // the state is rounded after each chunk, as an engine that keeps it in that type would
  options.max_tokens = request.tokens;
  const auto engine = make_reference_engine(subject.config, *subject.weights, options);
  std::vector<Walk> walks(static_cast<size_t>(request.prompts));
  for (size_t i = 0; i < walks.size(); ++i) {
    engine->reset(0);
    walk(*engine, 0, random_tokens(subject.config, request.seed + i, request.tokens), 0, true, walks[i]);
  }
  return walks;
}

bool has_meaning(const RoundingPoint& point, const ModelConfig& config) {
  const int linear = config.count(LayerType::linear_attention);
  if (point.member == &Precision::state) return linear > 0;
  if (point.member == &Precision::kv_cache) return linear < config.num_hidden_layers;
  if (point.member == &Precision::router) return config.num_experts > 0;
  return true;
}

double mean_of(const std::vector<double>& values) { return values.empty() ? 0 : mean(values); }

std::string csv(const std::vector<Ablation>& rows) {
  std::ostringstream out;
  out << "point,type,kld_mean,kld_p99,kld_max,top1_flips,delta_logprob,routing_flips\n";
  char line[240];
  for (const Ablation& r : rows) {
    std::snprintf(line, sizeof line, "%s,%s,%.6e,%.6e,%.6e,%.6f,%.6e,%.6f\n", r.point.c_str(), r.type.c_str(),
                  r.kld_mean, r.kld_p99, r.kld_max, r.top1_flips, r.delta_logprob, r.routing_flips);
    out << line;
  }
  return out.str();
}

void write_figure(const fs::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  out.close();
  if (!out) throw Failure(ExitCode::environment, "--ablate: cannot write '" + path.string() + "'.");
}

}  // namespace

std::vector<Ablation> run_ablation(const Subject& subject, const AblationRequest& request,
                                   const std::function<void(const std::string&)>& progress) {
  std::vector<const RoundingPoint*> points;
  for (const std::string& word : request.points) {
    const size_t before = points.size();
    for (const RoundingPoint& point : kModelPoints)
      if ((word == "all" || word == point.name) && has_meaning(point, subject.config)) points.push_back(&point);
    if (points.size() == before) {
      std::vector<std::string> names = {"all"};
      for (const RoundingPoint& point : kModelPoints) names.emplace_back(point.name);
      const bool known = std::find(names.begin(), names.end(), word) != names.end();
      const std::string near = known ? "" : nearest_word(word, names);
      throw UsageError("--ablate: " + (known ? subject.config.name + " has no '" + word + "' to round."
                                             : "'" + word + "' is not one of " + join(names, ", ") + "." +
                                                   (near.empty() ? "" : " Did you mean " + near + "?")));
    }
  }
  progress("plain");
  const std::vector<Walk> plain = walks_of(subject, request, {});
  std::vector<Ablation> rows;
  for (const RoundingPoint* point : points)
    for (const Rounding rounding : {Rounding::bf16, Rounding::fp8_e4m3}) {
      if (rounding == Rounding::fp8_e4m3 && !point->fp8) continue;
      Ablation row;
      row.point = point->name;
      row.type = rounding == Rounding::bf16 ? "bf16" : "fp8";
      progress(row.point + " " + row.type);
      Precision precision;
      precision.*(point->member) = rounding;
      const std::vector<Walk> rounded = walks_of(subject, request, precision);
      Moved moved;
      for (size_t i = 0; i < plain.size(); ++i) compare_walks(rounded[i], plain[i], moved);
      row.kld_mean = mean_of(moved.kld);
      row.kld_p99 = quantile(moved.kld, 0.99);
      row.kld_max = quantile(moved.kld, 1);
      row.top1_flips = static_cast<double>(moved.top1) / static_cast<double>(moved.rows);
      row.delta_logprob = mean_of(moved.delta);
      row.routing_flips = static_cast<double>(moved.rerouted) / static_cast<double>(moved.rows);
      rows.push_back(row);
    }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Ablation& a, const Ablation& b) { return a.kld_mean > b.kld_mean; });
  return rows;
}

std::string ablation_text(const std::vector<Ablation>& rows, Format format) {
  if (format == Format::csv) return csv(rows);
  std::ostringstream out;
  char line[240];
  if (format == Format::json || format == Format::jsonl) {
    out << "[";
    for (size_t i = 0; i < rows.size(); ++i) {
      const Ablation& r = rows[i];
      std::snprintf(line, sizeof line,
                    "%s\n  {\"point\":\"%s\",\"type\":\"%s\",\"kld_mean\":%.6e,\"kld_p99\":%.6e,\"kld_max\":%.6e,"
                    "\"top1_flips\":%.6f,\"delta_logprob\":%.6e,\"routing_flips\":%.6f}",
                    i ? "," : "", r.point.c_str(), r.type.c_str(), r.kld_mean, r.kld_p99, r.kld_max, r.top1_flips,
                    r.delta_logprob, r.routing_flips);
      out << line;
    }
    out << "\n]\n";
    return out.str();
  }
  const bool markdown = format == Format::md;
  out << (markdown ? "| rounded | to | KLD mean | KLD p99 | KLD max | top-1 flips | mean \u0394 logprob | rerouted |\n"
                     "|---|---|---|---|---|---|---|---|\n"
                   : "rounded      to    KLD mean   KLD p99    KLD max   top-1 flips  mean |d logprob|  rerouted\n");
  for (const Ablation& r : rows) {
    std::snprintf(line, sizeof line,
                  markdown ? "| %s | %s | %.1e | %.1e | %.1e | %.2f %% | %.1e | %.2f %% |\n"
                           : "%-11s  %-4s  %.2e   %.2e   %.2e  %9.2f %%  %.2e          %6.2f %%\n",
                  r.point.c_str(), r.type.c_str(), r.kld_mean, r.kld_p99, r.kld_max, 100 * r.top1_flips,
                  r.delta_logprob, 100 * r.routing_flips);
    out << line;
  }
  return out.str();
}

std::vector<std::string> write_ablation(const std::vector<Ablation>& rows, const Subject& subject,
                                        const AblationRequest& request, const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  const std::string name = subject.config.name;
  write_figure(folder / (name + ".csv"), csv(rows));
  std::ostringstream script;
  script << "# gnuplot " << name << ".gp: draws " << name << ".svg and " << name << ".png from " << name << ".csv\n"
         << "set datafile separator ','\nset style fill solid 0.7\nset logscale y\nset format y '10^{%L}'\n"
         << "set ylabel 'mean KL divergence to f64 (nats)'\nset xtics rotate by 40 right noenhanced\nset grid y\nunset "
            "key\n"
         << "set boxwidth 0.7\n"
         << "set title '" << name << ": one rounding point at a time, " << request.prompts << " x " << request.tokens
         << " tokens, " << subject.weights->label() << ", seed " << request.seed << "' noenhanced\n"
         << "set terminal svg size 800,480\nset output '" << name << ".svg'\n"
         << "plot '" << name
         << ".csv' every ::1 using 0:($3 > 0 ? $3 : NaN):xtic(stringcolumn(1).' '.stringcolumn(2)) with boxes\n"
         << "set terminal png size 1000,600\nset output '" << name << ".png'\nreplot\n";
  write_figure(folder / (name + ".gp"), script.str());
  std::vector<std::string> lines = {"saved: " + (folder / (name + ".csv")).string() + ", .gp"};
  try {
    if (run_gnuplot(folder, name + ".gp"))
      lines.back() += ", .svg, .png";
    else
      lines.push_back("no figure: gnuplot is not installed; 'gnuplot " + name + ".gp' draws it");
  } catch (const Failure& failure) {
    lines.push_back(std::string("no figure: ") + failure.what());
  }
  return lines;
}

}  // namespace ringbench
