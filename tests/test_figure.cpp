// test_figure.cpp: figures: which rows become which points, what the script says, and that gnuplot draws it.
#include <sstream>

#include "harness/figure.h"
#include "harness/figure_data.h"
#include "harness/figure_file.h"
#include "harness/figure_script.h"
#include "harness/figures_command.h"
#include "harness/gnuplot.h"
#include "tests/catch.h"
#include "tests/checks.h"
#include "tests/folder.h"
#include "tests/variable.h"

using namespace ringbench;
using Catch::Matchers::Contains;

namespace {

Result prefill(const std::string& hybrid, int64_t ctx, double seconds) {
  Result r;
  r.phase = "prefill", r.metric = "ttft_s", r.engine = "reference", r.dtype = "f32", r.device = "a machine";
  r.model = "ring-pico-linear", r.hybrid = hybrid, r.layers = 4, r.commit = "abc1234";
  r.linear_layers = hybrid == "softmax" ? 0 : hybrid == "1:1" ? 2 : 3;
  r.softmax_layers = r.layers - r.linear_layers;
  r.ctx = ctx, r.value = seconds, r.ci95_low = 0.9 * seconds, r.ci95_high = 1.25 * seconds, r.n = 6;
  r.tok_s = static_cast<double>(ctx) / seconds;
  return r;
}

Result estimated(Result r) {
  r.method = "estimated", r.status = "estimated";
  return r;
}

// The hybrid twice as fast at 2k and four times at 4k, there estimated.
std::vector<Result> some_rows() {
  return {prefill("3:1", 2048, 0.5), prefill("softmax", 2048, 1), estimated(prefill("3:1", 4096, 1)),
          prefill("softmax", 4096, 4)};
}

const std::string plain =
    R"({"title": "A test", "rows": {"metric": "ttft_s"}, "x": "ctx", "y": ["value", "speed_up"]})";

FigureData collect(const std::string& json, const std::vector<Result>& rows, const std::string& mode = "ratio") {
  return collect_figure(parse_figure(json, "test", "test.json"), rows, mode);
}

Strings split_lines(const std::string& text) {
  Strings lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string figure_refusal(const std::string& json) {
  try {
    parse_figure(json, "test", "my.json");
  } catch (const UsageError& e) {
    return e.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("a figure's CSV holds each point with its kind, interval and repetitions", "[figure]") {
  const Strings lines = split_lines(figure_csv(collect(plain, some_rows())));
  REQUIRE(lines.size() == 7);
  CHECK(lines[0] == "panel,series,quantity,label,kind,x,x_label,y,ci95_low,ci95_high,n");
  CHECK(lines[1] == "0,0,value,3:1 hybrid,measured,2048,2k,0.5,0.45,0.625,6");
  CHECK(lines[2] == "0,0,value,3:1 hybrid,estimated,4096,4k,1,0.9,1.25,6");
  CHECK(lines[3] == "0,1,value,softmax,measured,2048,2k,1,0.9,1.25,6");
  // Ratios: baseline over row, of the hybrid alone; estimated as soon as one of the two is.
  CHECK_THAT(lines[5], Contains("1,0,speed_up,3:1 hybrid,measured,2048,2k,2,1.5"));
  CHECK_THAT(lines[6], Contains("1,0,speed_up,3:1 hybrid,estimated,4096,4k,4,3."));
}

TEST_CASE("rates have the interval of their time, turned over", "[figure]") {
  const FigureData data = collect(R"({"x": "ctx", "y": "tok_s"})", {prefill("3:1", 1000, 2)});
  const FigurePoint& point = data.panels.at(0).series.at(0).points.at(0);
  CHECK(point.y == 500);
  CHECK(*point.low == Approx(400));  // 1000 tokens in 2.5 s
  CHECK(*point.high == Approx(1000 / 1.8));
}

TEST_CASE("speed-ups count sequences where each batch fills the memory", "[figure]") {
  std::vector<Result> rows = {prefill("3:1", 2048, 1), prefill("softmax", 2048, 1)};
  for (Result& row : rows) row.memory_limit_bytes = int64_t{1} << 30;
  rows[0].batch = 6, rows[1].batch = 2;
  CHECK(collect(plain, rows).panels.at(1).series.at(0).points.at(0).y == Approx(3));
  for (Result& row : rows) row.requests = 64;  // then the times are of the same 64
  CHECK(collect(plain, rows).panels.at(1).series.at(0).points.at(0).y == Approx(1));
}

TEST_CASE("another model's rows can be the baseline", "[figure]") {
  std::vector<Result> rows = {prefill("3:1", 2048, 1), prefill("softmax", 2048, 6), prefill("softmax", 4096, 6)};
  rows[1].model = rows[2].model = "qwen3-8b";
  const std::string json = R"({"x": "ctx", "y": {"quantity": "speed_up", "over": "qwen3-8b"}})";
  const FigureData data = collect(json, rows);
  REQUIRE(data.panels.size() == 1);
  for (const FigureSeries& line : data.panels[0].series) UNSCOPED_INFO(line.label);
  REQUIRE(data.panels[0].series.size() == 1);
  REQUIRE(data.panels[0].series[0].points.size() == 1);
  CHECK(data.panels[0].series[0].points[0].y == Approx(6));
  rows[1].device = "another machine";
  CHECK(collect(json, rows).empty());
}

TEST_CASE("the absolute mode leaves ratios away unless they are all there is", "[figure]") {
  CHECK(collect(plain, some_rows(), "absolute").panels.size() == 1);
  CHECK(collect(R"({"x": "ctx", "y": "speed_up"})", some_rows(), "absolute").panels.size() == 1);
}

TEST_CASE("without twins the figure has no ratios, and says so", "[figure]") {
  const FigureData data = collect(plain, {prefill("3:1", 2048, 1)});
  CHECK(data.panels.size() == 1);
  CHECK_THAT(data.caption, Contains("no row has its softmax twin"));
}

TEST_CASE("different measurements never share a line, equal ones are merged", "[figure]") {
  std::vector<Result> rows = {prefill("3:1", 2048, 1), prefill("3:1", 2048, 2), prefill("3:1", 4096, 2)};
  rows[1].chunk = 64, rows[0].chunk = rows[2].chunk = 512;
  FigureData data = collect(plain, rows);
  REQUIRE(data.panels[0].series.size() == 2);
  CHECK(data.panels[0].series[0].label == "chunk 512");
  CHECK(data.panels[0].series[1].label == "chunk 64");
  rows[1].chunk = 512;  // the same point measured twice: their median
  data = collect(plain, rows);
  for (const FigureSeries& line : data.panels[0].series) UNSCOPED_INFO(line.label);
  REQUIRE(data.panels[0].series.size() == 1);
  const FigurePoint& point = data.panels[0].series[0].points.at(0);
  CHECK(point.y == Approx(1.5));
  CHECK(*point.low == Approx(0.9));
  CHECK(*point.high == Approx(2.5));
  CHECK(*point.n == 12);
  CHECK_THAT(data.caption, Contains("their median"));
  rows[1].batch = 64;  // batches are told apart even where they do not meet
  rows[1].ctx = 1024;
  CHECK(collect(plain, rows).panels[0].series.size() == 2);
}

TEST_CASE("layouts along x stand by their share of linear layers", "[figure]") {
  const FigureData data = collect(R"({"x": "hybrid", "y": "value", "series": "ctx"})",
                                  {prefill("3:1", 2048, 1), prefill("softmax", 2048, 4), prefill("1:1", 2048, 2)});
  CHECK(data.categories == Strings{"softmax", "1:1", "3:1"});
  CHECK_THAT(figure_csv(data), Contains("measured,1,1:1,2,"));
}

TEST_CASE("a caption names device, type, model, commit, repetitions, and what has no number", "[figure]") {
  std::vector<Result> rows = some_rows();
  rows.push_back(prefill("softmax", 8192, 1));
  rows.back().value.reset(), rows.back().status = "oom";
  const std::string json =
      R"({"rows": {"metric": "ttft_s"}, "x": "ctx", "y": "value", "caption": "By {engine} {none}"})";
  const std::string caption = collect(json, rows).caption;
  for (const char* words : {"By reference {none}.", "ring-pico-linear", "f32", "a machine", "commit abc1234", "n = 6",
                            "95 %", "estimated", "1 point without a number (1 oom)"})
    CHECK_THAT(caption, Contains(words));
}

TEST_CASE("a crossover is where a line of speed-ups reaches 1", "[figure]") {
  const std::string json = R"({"x": "ctx", "y": "speed_up", "marks": [{"x": "crossover", "label": "crossover"}]})";
  // 0.5 at 1k, 2 at 4k: on log axes 1 lies in the middle, at 2k.
  FigureData data = collect(json, {prefill("3:1", 1024, 2), prefill("softmax", 1024, 1), prefill("3:1", 4096, 1),
                                   prefill("softmax", 4096, 2)});
  REQUIRE(data.marks.size() == 1);
  CHECK(data.marks[0].places.at(0) == Approx(2048));
  CHECK_THAT(data.caption, Contains("overtakes at about 2k"));
  data = collect(json, some_rows());
  CHECK(data.marks.empty());
  CHECK_THAT(data.caption, Contains("ahead from the first point"));
}

TEST_CASE("published ratios are overlaid on any machine, published times only on their own", "[figure]") {
  const std::string json = R"({"x": "ctx", "y": ["tok_s", "speed_up"], "published": ["lite-linear-ttft-384k"]})";
  const FigureData data = collect(json, some_rows());
  REQUIRE(data.panels.at(1).published.size() == 1);
  CHECK(data.panels[0].published.empty());
  const FigurePoint& point = data.panels[1].published[0].points.at(0);
  CHECK(point.x == 393216);
  CHECK(point.y == 3.5);
  CHECK(point.kind == PointKind::stated);
  CHECK_THAT(data.caption, Contains("Stated: 3.5x") && Contains("A100") && Contains("different hardware"));
  std::vector<Result> rows = some_rows();
  for (Result& row : rows) row.device = "NVIDIA A100-SXM4-80GB";
  CHECK_THAT(collect(json, rows).caption, Contains("Stated: 3.5x") && !Contains("different hardware"));

  // -27.24 % of the end-to-end time is a speed-up of 1.37, by arithmetic of ours.
  rows = some_rows();
  for (Result& row : rows) row.phase = "e2e", row.gen = row.ctx, row.ctx = 1;
  const FigureData e2e = collect(R"({"x": "gen", "y": "speed_up", "published": "lite-linear-e2e-16k"})", rows);
  REQUIRE(e2e.panels.at(0).published.size() == 1);
  CHECK(e2e.panels[0].published[0].points[0].y == Approx(1.3744).epsilon(1e-4));
  CHECK(e2e.panels[0].published[0].points[0].kind == PointKind::derived);
  CHECK_THAT(e2e.panels[0].published[0].label, Contains("derived"));

  // Tokens per second of an A100 mean nothing beside another machine, and have no place where none is stated.
  const std::string rate = R"({"x": "ctx", "y": "tok_s", "published": "flood-mini-linear-a100-flood"})";
  for (const bool a100 : {false, true}) {
    for (Result& row : rows) row.device = a100 ? "NVIDIA A100-SXM4-80GB" : "NVIDIA H20";
    const FigureData absolute = collect(rate, rows, "absolute");
    CHECK(absolute.panels.at(0).published.empty());
    CHECK_THAT(absolute.caption, Contains(a100 ? "its place along x is not stated" : "Not drawn, different hardware") &&
                                     Contains("6777.64 tok/s"));
  }
  CHECK_THROWS_WITH(collect(R"({"x": "ctx", "y": "tok_s", "published": "lite-linear-ttft-384"})", rows),
                    Contains("no published number") && Contains("Did you mean lite-linear-ttft-384k?"));
}

TEST_CASE("a roofline has the roof of the rows' peaks", "[figure]") {
  std::vector<Result> rows = {prefill("3:1", 2048, 0.5)};
  rows[0].flops = 1e9, rows[0].bytes = 1e7, rows[0].peak_tflops = 0.1, rows[0].peak_gbps = 10;
  const FigureData data = collect(R"({"x": "intensity", "y": {"quantity": "attained_flop_s", "roofs": true}})", rows);
  CHECK(data.panels.at(0).series.at(0).points.at(0).y == Approx(2e9));
  CHECK(data.panels[0].series[0].points[0].x == Approx(100));
  REQUIRE(data.panels[0].roofs.size() == 1);
  const std::vector<FigurePoint>& roof = data.panels[0].roofs[0].points;
  CHECK(roof.at(1).x == Approx(10));  // 1e11 FLOP/s over 1e10 bytes/s
  CHECK(roof.at(1).y == Approx(1e11));
  CHECK(roof.at(0).y == Approx(roof.at(0).x * 1e10));
  CHECK(roof.at(2).y == Approx(1e11));
}

TEST_CASE("a script draws estimates hollow and dashed, measurements filled, and intervals", "[figure]") {
  const std::string script = figure_script(collect(plain, some_rows()), "test", {});
  CHECK_THAT(script, Contains("strcol(5) eq 'measured' ? $8 : NaN) with points linestyle 1 "));
  CHECK_THAT(script, Contains("strcol(5) ne 'measured' ? $8 : NaN) with points linestyle 101 "));
  CHECK_THAT(script, Contains("set style line 101 linecolor rgb '#0072B2' linewidth 1.28 dashtype (6,4) pointtype 6 "));
  CHECK_THAT(script, Contains("with yerrorbars linestyle 201"));
  CHECK_THAT(script, Contains("title l3") && Contains("l3 = 'estimated'"));
  CHECK_THAT(script, Contains("set logscale x") && Contains("'2k' 2048") && Contains("'4k' 4096"));
  std::vector<Result> measured = some_rows();
  measured[2].method = "measured";
  for (Result& row : measured) row.ci95_low.reset(), row.ci95_high.reset();
  const std::string without = figure_script(collect(plain, measured), "test", {});
  CHECK_THAT(without, !Contains("estimated") && !Contains("yerrorbars"));
}

TEST_CASE("words of a script cannot end their string, and LaTeX gets its own", "[figure]") {
  const std::string json = R"json({"title": "50 % it's `date` \n system('x')", "x": "ctx", "y": "value"})json";
  const std::string script = figure_script(collect(json, some_rows()), "test", {});
  CHECK_THAT(script, Contains("title = '50 % it''s `date`   system(''x'')'"));
  CHECK_THAT(script, Contains("title = '50 \\% it''s"));
}

TEST_CASE("ticks are what a person would write", "[figure]") {
  const auto labels = [](const Ticks& ticks) {
    Strings texts;
    for (const auto& [place, text] : ticks.labels) texts.push_back(text);
    return texts;
  };
  CHECK(labels(axis_ticks(Unit::tokens, true, 512, 8192, 10)) == Strings{"512", "1k", "2k", "4k", "8k"});
  CHECK(labels(axis_ticks(Unit::tokens, true, 512, 524288, 4)) == Strings{"512", "4k", "32k", "256k"});
  CHECK(labels(axis_ticks(Unit::seconds, true, 0.004, 20, 6)) == Strings{"10 ms", "100 ms", "1 s", "10 s"});
  CHECK(labels(axis_ticks(Unit::bytes, true, 0x1p20, 0x1p30, 6)) ==
        Strings{"1 MiB", "4 MiB", "16 MiB", "64 MiB", "256 MiB", "1 GiB"});
  CHECK(labels(axis_ticks(Unit::bytes, false, 0, 0x1.8p31, 4)) == Strings{"0", "1 GiB", "2 GiB", "3 GiB"});
  CHECK(labels(axis_ticks(Unit::times, true, 0.9, 4, 6)) == Strings{"1x", "1.5x", "2x", "3x"});
  CHECK(labels(axis_ticks(Unit::tokens_per_s, true, 3100, 7100, 6)) ==
        Strings{"3 000", "4 000", "5 000", "6 000", "7 000"});
  // However little the numbers span, there is something to read them by.
  for (const double high : {1.0, 1.001, 1.01, 1.1, 1.5, 3.0, 30.0, 1e6, 1e15})
    for (const bool log : {true, false})
      for (const Unit unit : {Unit::seconds, Unit::tokens, Unit::bytes, Unit::times, Unit::plain}) {
        const Ticks ticks = axis_ticks(unit, log, 1, high, 5);
        INFO(high << (log ? " log" : " linear") << " unit " << static_cast<int>(unit));
        CHECK(ticks.labels.size() >= 2);
        CHECK(ticks.labels.size() <= 10);
        for (const auto& [place, text] : ticks.labels)
          CHECK((place >= ticks.low * 0.999 && place <= ticks.high * 1.001));
      }
}

TEST_CASE("a wrong figure file is refused with its place and key", "[figure]") {
  CHECK_THAT(figure_refusal("{"), Contains("my.json: no JSON"));
  CHECK_THAT(figure_refusal("[]"), Contains("my.json: expected an object"));
  CHECK_THAT(figure_refusal(R"({"x": "ctx"})"), Contains("\"y\" is missing"));
  CHECK_THAT(figure_refusal(R"({"x": "ctx", "y": "value", "tilte": "a"})"),
             Contains("unknown key \"tilte\". Did you mean \"title\"?"));
  CHECK_THAT(figure_refusal(R"({"x": "ctx", "y": "valeu"})"),
             Contains("y: no quantity \"valeu\". Did you mean value?"));
  CHECK_THAT(figure_refusal(R"({"x": "ctx", "y": "device"})"), Contains("\"device\" is no number"));
  CHECK_THAT(figure_refusal(R"({"x": "ctx", "y": {"quantity": "value", "scale": "cubic"}})"),
             Contains("write log or linear"));
  CHECK_THAT(figure_refusal(R"({"x": "hybrid", "y": {"quantity": "value", "over": "twin"}})"),
             Contains("belongs to the quantity speed_up"));
  CHECK_THAT(figure_refusal(R"({"x": {"quantity": "hybrid", "scale": "log"}, "y": "value"})"),
             Contains("no logarithm"));
  CHECK_THAT(figure_refusal(R"({"x": "speed_up", "y": "value"})"), Contains("can only be a y"));
  CHECK_THAT(figure_refusal(R"({"x": "ctx", "y": "value", "rows": {"phsae": "prefill"}})"),
             Contains("no field \"phsae\". Did you mean phase?"));
  CHECK_THAT(figure_refusal(R"({"x": "ctx", "y": "value", "rows": ["prefill"]})"), Contains("\"rows\": expected"));
  CHECK_THAT(figure_refusal(R"({"x": "ctx", "y": "value", "series": "hybrids"})"), Contains("Did you mean hybrid?"));
  CHECK_THAT(figure_refusal(R"({"x": "ctx", "y": []})"), Contains("one to three"));
  CHECK_THAT(figure_refusal(R"({"x": "ctx", "y": "value", "title": 3})"), Contains("\"title\": expected text"));
  CHECK_THAT(figure_refusal(R"({"x": "ctx", "y": "value", "marks": [{"label": "a"}]})"),
             Contains("marks: \"x\" is missing"));
  CHECK_THAT(
      figure_refusal(
          R"({"x": "ctx", "y": "bytes", "analytic": {"ctx": "1k", "lines": [{"model": "tiny", "attention": "mqa"}]}})"),
      Contains("write mha, gqa, mla, hybrid or linear"));
  CHECK(figure_refusal(R"({"x": "ctx", "y": "value", /* comments are allowed */ "series": ["tag_run"]})") ==
        "accepted");
  CHECK_THROWS_WITH(draw_figure("tttft", {}, {}), Contains("no figure 'tttft'. Did you mean ttft?"));
  CHECK_THROWS_WITH(draw_figure("no/such.json", {}, {}), Contains("'no/such.json' is no file"));
  CHECK_THROWS_WITH(parse_width("3.3ells"), Contains("--width"));
  CHECK_THROWS_WITH(check_figure_formats({"svg", "gif"}), Contains("'gif'"));
  CHECK(parse_width("84mm") == Approx(84 / 25.4));
}

namespace {

Result scored(const std::string& hybrid, const std::string& checkpoint, double percent) {
  Result r = prefill(hybrid, 21, percent);
  r.phase = "eval", r.metric = "avg@4", r.unit = "%", r.task = "tiny-math", r.weights = checkpoint;
  r.model = "ring-mini-linear-2.0";
  r.ci95_low = percent - 5, r.ci95_high = percent + 6, r.tok_s = 1000;
  return r;
}

}  // namespace

TEST_CASE("scores stand with their own intervals; checkpoints of one ratio are one place", "[figure]") {
  const std::vector<Result> rows = {scored("3:1", "3-1-s0", 40), scored("3:1", "3-1-s1", 50),
                                    scored("linear", "linear-s0", 0)};
  const FigureFile file = read_figure("quality");
  const FigureData data = collect_figure(file, rows, "ratio");
  REQUIRE(data.panels.size() == 2);
  for (const FigureSeries& line : data.panels[0].series) UNSCOPED_INFO(line.label);
  REQUIRE(data.panels[0].series.size() == 1);
  const std::vector<FigurePoint>& points = data.panels[0].series[0].points;
  REQUIRE(points.size() == 2);
  CHECK(points[0].y == 45);  // the median of both seeds, in the widest of their intervals
  CHECK(points[0].low == 35);
  CHECK(points[0].high == 56);
  CHECK(points[1].y == 0);  // a score of nothing has an interval too
  CHECK(points[1].high == 6);
  for (const FigurePoint& point : data.panels[1].series[0].points) CHECK_FALSE(point.low);  // a speed measured once
}

TEST_CASE("every figure of configs/figures is drawn in every format", "[figure]") {
  // One model with its twin and the dense baselines, all phases, with everything that a figure asks for.
  std::vector<Result> rows;
  for (const std::string phase : {"prefill", "decode", "e2e"})
    for (const std::string model : {"ring-mini-linear-2.0", "ring-flash-linear-2.0", "qwen3-8b", "qwen3-32b"})
      for (const std::string hybrid : {"3:1", "softmax"})
        for (const int64_t length : {4096, 16384, 65536}) {
          Result r = prefill(hybrid, phase == "e2e" ? 1 : length,
                             1e-4 * static_cast<double>(length) * (hybrid == "3:1" ? 1 : 2));
          r.model = model, r.phase = phase;
          r.metric = phase == "prefill" ? "ttft_s" : phase == "decode" ? "tpot_s" : "e2e_s";
          r.gen = phase == "e2e" ? length : 0;
          r.kv_bytes = length * 1024, r.state_bytes = 4096, r.cache_ratio_vs_softmax = 0.25;
          r.flops = 1e9 * static_cast<double>(length), r.bytes = 1e9, r.peak_tflops = 1, r.peak_gbps = 100;
          r.measured_over_predicted = 1.5, r.trained_window = 16384;
          if (length == 65536) r = estimated(r);
          rows.push_back(r);
        }
  for (const std::string hybrid : {"3:1", "softmax"}) rows.push_back(scored(hybrid, "3-1-s0", 40));
  const Folder folder;
  FigureOptions options;
  options.folder = folder.path / "it's here";
  options.formats = {"svg", "png", "pdf", "tex"};
  for (const std::string width : {"", "3.3in"}) {
    options.width = width;
    for (const std::string& name : figure_names()) {
      INFO(name << " " << width);
      const DrawnFigure drawn = draw_figure(name, rows, options);
      CHECK(drawn.note == "");
      CHECK_THAT(drawn.caption, Contains("ring-mini-linear-2.0") || Contains("ring-flash-linear-2.0"));
      REQUIRE(drawn.pictures.size() == 4);
      const std::string svg = read_file(drawn.pictures[0]);
      CHECK_THAT(svg, Contains("</svg>"));
      CHECK_THAT(svg, Contains("<path"));
      CHECK(read_file(drawn.pictures[1]).substr(1, 3) == "PNG");
      CHECK(read_file(drawn.pictures[2]).substr(0, 4) == "%PDF");
      CHECK_THAT(read_file(drawn.pictures[3]), Contains("includegraphics"));
      CHECK(std::filesystem::exists(options.folder / (name + "-tex.pdf")));
      CHECK(std::filesystem::exists(drawn.csv));
    }
  }
  // The script alone draws it again, in that folder, in a format of one's own choice.
  std::filesystem::remove(options.folder / "ttft.svg");
  REQUIRE(run_gnuplot(options.folder, "ttft.gp"));
  CHECK(std::filesystem::exists(options.folder / "ttft.svg"));
}

TEST_CASE("a figure file of one's own works like ours", "[figure]") {
  const Folder folder;
  const std::filesystem::path file = folder.path / "my figure.json";
  std::ofstream(file) << R"({"title": "Mine", "x": "ctx", "y": {"quantity": "value", "scale": "linear"}})";
  FigureOptions options;
  options.folder = folder.path / "out";
  const DrawnFigure drawn = draw_figure(file.string(), some_rows(), options);
  CHECK(drawn.title == "Mine");
  REQUIRE(drawn.pictures.size() == 2);
  CHECK(drawn.pictures[0].filename() == "my figure.svg");
  CHECK(count(read_file(drawn.csv), "\n") == 5);
}

TEST_CASE("a figure without rows says which it needs and what makes them", "[figure]") {
  const DrawnFigure drawn = draw_figure("ttft", {}, {});
  CHECK(drawn.csv.empty());
  CHECK_THAT(drawn.note, Contains("phase prefill") && Contains("ringbench sweep long-input"));
}

TEST_CASE("without gnuplot the numbers and the script are written, and it is said", "[figure]") {
  const Folder folder;
  FigureOptions options;
  options.folder = folder.path / "out";
  DrawnFigure drawn;
  {
    const Variable path("PATH", folder.path.string());
    drawn = draw_figure("ttft", some_rows(), options);
  }
  CHECK_THAT(drawn.note, Contains("gnuplot is not installed"));
  CHECK(drawn.pictures.empty());
  CHECK(std::filesystem::exists(drawn.csv));
  CHECK(std::filesystem::exists(drawn.gp));
}

TEST_CASE("gnuplot's error becomes one line", "[figure]") {
  const Folder folder;
  std::ofstream(folder.path / "bad.gp") << "set title 'a'\nset nonsense\n";
  try {
    run_gnuplot(folder.path, "bad.gp");
    FAIL("no failure");
  } catch (const Failure& e) {
    CHECK(e.code == ExitCode::environment);
    CHECK_THAT(e.what(), Contains("bad.gp") && Contains("line 2") && !Contains("\n"));
  }
  FigureOptions options;
  options.folder = folder.path / "bad.gp" / "figures";  // a folder in a file
  CHECK_THROWS_AS(draw_figure("ttft", some_rows(), options), Failure);
}

TEST_CASE("a run of 100,000 rows is drawn with as many points as a picture can tell apart", "[figure]") {
  std::vector<Result> rows;
  for (int64_t i = 0; i < 100000; ++i) {
    Result r = prefill(i % 2 == 0 ? "3:1" : "softmax", 512 + i / 2, 0.1 + 1e-6 * static_cast<double>(i));
    r.kv_bytes = r.ctx * 64;
    rows.push_back(r);
  }
  const Folder folder;
  FigureOptions options;
  options.folder = folder.path;
  options.formats = {"svg"};
  const DrawnFigure drawn = draw_figure("ttft", rows, options);
  CHECK(drawn.pictures.size() == 1);
  CHECK(count(read_file(drawn.csv), "\n") <= 3 * 200 + 3);
  CHECK_THAT(drawn.caption, Contains("thinned to 200 points"));
}
