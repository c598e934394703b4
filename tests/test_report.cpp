// The report: what must be on the page, that nothing of a record becomes markup, that the page needs nothing beside it,
// and that the same records give the same page.
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "harness/report.h"
#include "tests/catch.h"
#include "tests/checks.h"
#include "tests/folder.h"

using namespace ringbench;
namespace fs = std::filesystem;

namespace {

Result row(const std::string& phase, const std::string& hybrid, int64_t ctx, double seconds) {
  Result r;
  r.run_id = "20260101T120000Z-throughput-4f2a";
  r.point_id = phase + hybrid + std::to_string(ctx);
  r.experiment = "throughput";
  r.phase = phase;
  r.engine = "reference";
  r.date = "2026-01-01T12:00:00Z";
  r.model = "ring-nano-linear";
  r.hybrid = hybrid;
  r.layers = 8;
  r.slope_layer_offset = "0";
  r.linear_layers = hybrid == "softmax" ? 0 : 6;
  r.softmax_layers = r.layers - r.linear_layers;
  r.weights = "dummy:scaled";
  r.ctx = ctx;
  r.ctx_label = std::to_string(ctx / 1024) + "k";
  r.gen = phase == "prefill" ? 0 : 128;
  r.chunk = 512;
  r.dtype = "f32";
  r.metric = phase == "prefill" ? "ttft_s" : "tpot_s";
  r.value = seconds;
  r.ci95_low = seconds * 0.99;
  r.ci95_high = seconds * 1.01;
  r.n = 6;
  r.samples = {seconds};
  r.kv_bytes = hybrid == "softmax" ? 4096 * ctx : 1024 * ctx;
  r.state_bytes = hybrid == "softmax" ? 0 : 98304;
  r.parity = "pass";
  r.parity_certificate = "c0ffee";
  r.repro = "ringbench " + phase + " --hybrid " + hybrid + " --ctx " + std::to_string(ctx);
  r.device = "CPU of the test, 2 cores";
  r.commit = "4f2a9c1";
  return r;
}

Result failed(Result r, const std::string& status, const std::string& error) {
  r.status = status;
  r.error = error;
  r.value = r.ci95_low = r.ci95_high = std::nullopt;
  r.n.reset();
  r.samples.clear();
  return r;
}

ReportInput report_of(std::vector<Result> rows) {
  ReportInput input;
  ReportRun run;
  run.info.id = "20260101T120000Z-throughput-4f2a";
  run.info.command = "throughput";
  run.info.started = "2026-01-01T12:00:00Z";
  run.info.ended = "2026-01-01T12:10:00Z";
  run.info.exit_code = 0;
  run.info.argv = {"ringbench", "throughput", "--tag", "note=two words"};
  run.info.environment_json =
      R"({"cpu":"CPU of the test","memory_bytes":17179869184,"governor":null,"variables":{"OMP_NUM_THREADS":"2"}})";
  run.rows = rows.size();
  input.runs = {run};
  input.rows = std::move(rows);
  return input;
}

ReportInput usual_report() {
  ReportInput input = report_of({row("prefill", "3:1", 8192, 1), row("prefill", "softmax", 8192, 4),
                                 row("prefill", "3:1", 32768, 4), row("prefill", "softmax", 32768, 14),
                                 row("decode", "3:1", 8192, 0.002), row("decode", "softmax", 8192, 0.0025)});
  ClaimVerdict claim;
  claim.id = "ttft";
  claim.claim = "Time to first token is shorter.";
  claim.source = "the paper, section 5";
  claim.stated = "3.5x";
  claim.basis = "measured";
  claim.value = 3.5;
  claim.low = 3.45;
  claim.unit = claim.stated_unit = "x";
  claim.high = 3.55;
  claim.verdict = "TREND ONLY";
  claim.why = "another model's shape";
  claim.rows = {"prefill3:132768", "prefillsoftmax32768"};
  input.claims = {claim};
  Certificate certificate;
  certificate.id = "c0ffee";
  certificate.model = "ring-nano-linear";
  certificate.engine = "reference";
  certificate.verdict = "pass";
  input.certificates = {certificate};
  return input;
}

std::string html_of(const ReportInput& input) { return to_html(make_report(input)); }
std::string markdown_of(const ReportInput& input) { return to_markdown(make_report(input), "."); }

// From the heading of a section to the next section.
std::string section(const std::string& html, const std::string& id) {
  const size_t begin = html.find("<h2 id=\"" + id + "\"");
  REQUIRE(begin != std::string::npos);
  return html.substr(begin, html.find("</section>", begin) - begin);
}

// Every element that is opened is closed, in order.
void require_balanced(const std::string& html) {
  static const std::regex tags("<(/?)([a-zA-Z][a-zA-Z0-9]*)[^>]*?(/?)>");
  static const std::set<std::string> void_elements = {"meta", "br", "link", "path", "use", "rect", "circle"};
  std::vector<std::string> open;
  const std::string body = html.substr(html.find("</style>"));
  for (auto i = std::sregex_iterator(body.begin(), body.end(), tags); i != std::sregex_iterator(); ++i) {
    const std::string name = (*i)[2];
    if (void_elements.contains(name) || (*i)[3] == "/" || name == "style" || name == "head") continue;
    if ((*i)[1] == "") {
      open.push_back(name);
    } else if (name != "html") {
      INFO("closing " << name << " within " << (open.empty() ? "nothing" : open.back()));
      REQUIRE((!open.empty() && open.back() == name));
      open.pop_back();
    }
  }
  REQUIRE(open.empty());
}

}  // namespace

TEST_CASE("a report has every row, its number and the command that repeats it", "[report]") {
  const ReportInput input = usual_report();
  const std::string html = html_of(input), markdown = markdown_of(input);
  require_balanced(html);
  for (size_t i = 0; i < input.rows.size(); ++i) {
    const std::string id = "row-" + std::to_string(i + 1);
    CHECK(count(html, " id=\"" + id + "\"") == 1);
    CHECK(contains(section(html, "repeat"), "<code>" + input.rows[i].repro + "</code>"));
    CHECK(contains(markdown, "`" + input.rows[i].repro + "`"));
  }
  CHECK(contains(section(html, "rows"), "14.00 s"));
  CHECK(contains(html, "6 were measured, 0 estimated, none failed."));
}

TEST_CASE("a report's sections come in their order, and every link within the page leads somewhere", "[report]") {
  const std::string html = html_of(usual_report());
  size_t at = 0;
  for (const char* id : {"speed-up", "figures", "claims", "rows", "predicted", "flags", "failures", "environment",
                         "repeat", "certificates"}) {
    const size_t found = html.find("<h2 id=\"" + std::string(id) + "\"");
    INFO(id);
    REQUIRE(found != std::string::npos);
    REQUIRE(found > at);
    at = found;
  }
  static const std::regex links("href=\"#([^\"]*)\"");
  size_t count_of_links = 0;
  for (auto i = std::sregex_iterator(html.begin(), html.end(), links); i != std::sregex_iterator(); ++i) {
    INFO((*i)[1]);
    CHECK(count(html, " id=\"" + std::string((*i)[1]) + "\"") == 1);
    ++count_of_links;
  }
  CHECK(count_of_links > 12);
}

TEST_CASE("speed-ups stand by context beside their twin, the headline is the longest context's", "[report]") {
  const std::string html = html_of(usual_report());
  CHECK(contains(html, "prefill at 32k, 3:1: <b>3.50x [3.45, 3.55]</b>"));
  CHECK(contains(html, "decode at 8k, 3:1: <b>1.25x [1.23, 1.27]</b>"));
  const std::string table = section(html, "speed-up");
  CHECK(contains(table,
                 "<td class=\"right\">8k</td><td class=\"right\">4.000 s</td>"
                 "<td class=\"right\"><b>4.00x [3.94, 4.06]</b></td>"));
  CHECK(contains(table, "128.0 MiB</td><td class=\"right\">32.1 MiB (0.251x)</td>"));
}

TEST_CASE("a layout measured twice beside one twin has a line for each time", "[report]") {
  ReportInput input = usual_report();
  Result again = row("prefill", "3:1", 8192, 0.5);
  again.run_id = "20260102T120000Z-prefill-aaaa";
  input.rows.push_back(again);
  ++input.runs.front().rows;
  const std::string table = section(html_of(input), "speed-up");
  CHECK(contains(table, "4.00x [3.94, 4.06]"));
  CHECK(contains(table, "8.00x"));
  CHECK(contains(table, "20260102T120000Z-prefill-aaaa over "));  // what sets the lines apart is named
}

TEST_CASE("a difference that the interval does not show is not called one", "[report]") {
  ReportInput input = usual_report();
  for (Result& r : input.rows) r.ci95_low = *r.value * 0.3, r.ci95_high = *r.value * 3;
  const std::string html = html_of(input);
  CHECK(contains(html, "which cannot be told from no difference"));
  CHECK_FALSE(contains(section(html, "speed-up"), "<b>"));
}

TEST_CASE("estimates are marked in words and numbers", "[report]") {
  ReportInput input = usual_report();
  input.rows[3].method = input.rows[3].status = "estimated";
  input.rows[3].est_anchor_error = -0.012;
  const std::string html = html_of(input);
  CHECK(contains(html, "5 were measured, 1 estimated (marked ~), none failed."));
  CHECK(contains(html, "<b>~3.50x"));
  CHECK(contains(html, "an estimate is part of it"));
  CHECK(contains(html, "were off by -1.2 %"));
}

TEST_CASE("no text of a record becomes markup, in either form", "[report]") {
  const std::string evil = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;";
  ReportInput input = usual_report();
  for (Result& r : input.rows) {
    r.model = r.device = r.weights = evil;
    r.tags["note"] = evil + r.point_id;
    r.warnings = {evil};
    r.repro = evil;
    r.phase += evil;
    r.hybrid = evil;
  }
  input.rows.push_back(failed(row("prefill", evil, 1024, 1), "error", evil));
  input.runs[0].rows = input.rows.size();
  input.runs[0].info.argv = {evil};
  input.runs[0].info.id = evil;
  input.runs[0].info.environment_json = "{\"cpu\":\"<script>alert('x')</script>\",\"<script>\":\"<img src=x>\"}";
  input.claims[0].claim = input.claims[0].why = input.claims[0].verdict = input.claims[0].id = evil;
  input.claims[0].rows = {evil};
  const std::string html = html_of(input);
  require_balanced(html);
  CHECK_FALSE(contains(html, "<script"));
  CHECK_FALSE(contains(html, "<img"));
  CHECK(contains(html, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"));

  std::string markdown = markdown_of(input);  // in fences and code spans it is text as it is
  markdown = std::regex_replace(markdown, std::regex("```[^]*?```|`[^`\n]*`"), "");
  CHECK_FALSE(contains(markdown, "<script"));
  CHECK_FALSE(contains(markdown, "<img"));
}

TEST_CASE("cells of Markdown hold pipes, backticks and line breaks", "[report]") {
  ReportInput input = usual_report();
  input.rows[0].repro = "ringbench prefill --tag 'a|b`c'";
  input.rows.push_back(failed(row("prefill", "3:1", 65536, 1), "error", "one | two\nthree *four* [five](six)"));
  input.runs[0].rows = input.rows.size();
  const std::string markdown = markdown_of(input);
  CHECK(contains(markdown, "`` ringbench prefill --tag 'a\\|b`c' ``"));
  CHECK(contains(markdown, "one \\| two three \\*four\\* [five\\](six)"));
  // Every line of a table has as many cells as its first.
  static const std::regex cell(R"((^|[^\\])\|)");
  size_t cells = 0;
  std::istringstream lines(markdown);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("|")) {
      cells = 0;
      continue;
    }
    const size_t found = static_cast<size_t>(
        std::distance(std::sregex_iterator(line.begin(), line.end(), cell), std::sregex_iterator()));
    if (cells == 0) cells = found;
    INFO(line);
    CHECK(found == cells);
  }
}

TEST_CASE("the page loads nothing and runs nothing", "[report]") {
  Folder folder;
  std::ofstream(folder.path / "a.svg") << "<svg width='60' height='40'><rect/></svg>";
  ReportInput input = usual_report();
  DrawnFigure figure;
  figure.id = "ttft";
  figure.title = "Time to first token";
  figure.pictures = {folder.path / "a.svg"};
  input.figures = {figure};
  const std::string html = html_of(input);
  CHECK(contains(html, "default-src 'none'"));
  for (const char* loading :
       {" src=", "<link", "@import", "url(", "<script", "<iframe", "<object", "http://", "https://"}) {
    INFO(loading);
    CHECK_FALSE(contains(html, loading));
  }
}

TEST_CASE("figures are part of the page, with captions, numbers and ids of their own", "[report]") {
  Folder folder;
  const std::string svg =
      "<?xml version=\"1.0\"?>\n<!DOCTYPE svg>\n<svg \n width=\"600\" height=\"400\" viewBox=\"0 0 600 400\"\n "
      "xmlns=\"http://www.w3.org/2000/svg\">\n<title>Gnuplot</title><defs><path id='dot'/></defs>"
      "<g id=\"plot\" clip-path=\"url(#clip)\"><use xlink:href='#dot'/></g></svg>\n";
  ReportInput input = usual_report();
  for (const char* id : {"one", "two"}) {
    DrawnFigure figure;
    figure.id = id;
    figure.title = "Figure <" + std::string(id) + ">";
    figure.caption = "Caption of " + std::string(id);
    figure.pictures = {folder.path / (figure.id + ".svg")};
    figure.csv = folder.path / (figure.id + ".csv");
    std::ofstream(figure.pictures[0]) << svg;
    std::ofstream(figure.csv) << "x,\"y, z\"\n1,\"a \"\"b\"\"\"\n2,<i>\n";
    input.figures.push_back(figure);
  }
  const std::string html = html_of(input);
  require_balanced(html);
  const std::string figures = section(html, "figures");
  CHECK(count(figures, "<svg") == 2);
  CHECK(contains(figures, "id='figure-one-dot'"));
  CHECK(contains(figures, "xlink:href='#figure-two-dot'"));
  CHECK(contains(figures, "url(#figure-two-clip)"));
  CHECK_FALSE(contains(figures, "?xml"));
  CHECK_FALSE(contains(figures, "<title>Gnuplot"));
  CHECK_FALSE(contains(figures, "width=\"600\""));
  CHECK(contains(figures, "aria-label=\"Figure &lt;one&gt;\""));
  CHECK(contains(figures, "Caption of two"));
  CHECK(contains(figures, "<th scope=\"col\">y, z</th>"));
  CHECK(contains(figures, "<td>a &quot;b&quot;</td>"));
  CHECK(contains(figures, "<td>&lt;i&gt;</td>"));

  const std::string markdown = to_markdown(make_report(input), folder.path);
  CHECK(contains(markdown, "![Figure &lt;one>](one.svg)"));
  CHECK(contains(markdown, "Caption of one"));
}

TEST_CASE("a figure without a picture says why", "[report]") {
  ReportInput input = usual_report();
  DrawnFigure figure;
  figure.id = "ttft";
  figure.title = "Time to first token";
  figure.note = "gnuplot is not installed";
  input.figures = {figure};
  CHECK(contains(section(html_of(input), "figures"), "Time to first token (gnuplot is not installed)"));
  CHECK(contains(markdown_of(input), "Time to first token (gnuplot is not installed)"));
}

TEST_CASE("claims show stated, found, basis, why, and the rows they rest on", "[report]") {
  const std::string claims = section(html_of(usual_report()), "claims");
  CHECK(contains(claims, "<span class=\"badge trend\">TREND ONLY</span>"));
  for (const char* part :
       {"Time to first token is shorter.", "the paper, section 5", "3.5x", "3.50x\u00a0[3.45,\u00a03.55]", "measured",
        "another model&#39;s shape", "<a href=\"#row-3\">3</a>, <a href=\"#row-4\">4</a>", "1 TREND ONLY"}) {
    INFO(part);
    CHECK(contains(claims, part));
  }
}

TEST_CASE("failures have status, error and something to try", "[report]") {
  ReportInput input = usual_report();
  input.rows.push_back(failed(row("prefill", "softmax", 524288, 1), "oom_predicted", "needs 208.3 GiB"));
  input.rows.push_back(failed(row("prefill", "3:1", 524288, 1), "timeout", "took longer than 10m"));
  input.runs[0].rows = input.rows.size();
  const std::string html = html_of(input);
  require_balanced(html);
  CHECK(contains(html, "6 were measured, 0 estimated, 2 failed."));
  const std::string failures = section(html, "failures");
  CHECK(contains(failures, "<a href=\"#row-7\">7</a>"));
  CHECK(contains(failures, "needs 208.3 GiB"));
  CHECK(contains(failures, "--estimate groups"));
  CHECK(contains(failures, "--time-budget"));
  CHECK(contains(section(html, "rows"), "id=\"row-7\" class=\"failed\""));
}

TEST_CASE("a run in which everything failed, and one that holds nothing, are pages too", "[report]") {
  ReportInput input = report_of({failed(row("prefill", "3:1", 8192, 1), "error", "no luck"),
                                 failed(row("prefill", "softmax", 8192, 1), "error", "no luck")});
  std::string html = html_of(input);
  require_balanced(html);
  CHECK(contains(html, "0 were measured, 0 estimated, 2 failed."));
  CHECK(contains(html, "There is no speed-up to state"));
  CHECK(count(section(html, "failures"), "no luck") == 2);

  input = report_of({});
  input.runs[0].info.exit_code.reset();
  html = html_of(input);
  require_balanced(html);
  CHECK(contains(html, "holds no records"));
  CHECK(contains(markdown_of(input), "holds no records"));
}

TEST_CASE("the environment is told of each run, units in words", "[report]") {
  const std::string html = section(html_of(usual_report()), "environment");
  CHECK(contains(html, "<th scope=\"row\">memory</th><td>16.00 GiB</td>"));
  CHECK(contains(html, "<th scope=\"row\">OMP_NUM_THREADS</th><td>2</td>"));
  CHECK_FALSE(contains(html, "governor"));
  CHECK(contains(section(html_of(usual_report()), "repeat"), "ringbench throughput --tag &#39;note=two words&#39;"));
}

TEST_CASE("several runs share tables and keep their environments apart", "[report]") {
  ReportInput input = usual_report();
  ReportRun second = input.runs[0];
  second.info.id = "20260102T120000Z-prefill-aaaa";
  second.info.ended = "";
  second.info.exit_code.reset();
  second.rows = 2;
  input.runs.push_back(second);
  input.rows.push_back(row("prefill", "3:1", 32768, 7));
  input.rows.push_back(row("prefill", "softmax", 32768, 7));
  const std::string html = html_of(input);
  require_balanced(html);
  CHECK(contains(section(html, "environment"), "Run 1: 20260101T120000Z-throughput-4f2a"));
  CHECK(contains(section(html, "environment"), "Run 2: 20260102T120000Z-prefill-aaaa"));
  CHECK(contains(section(html, "environment"), "broken off"));
  CHECK(contains(section(html, "rows"), "<td class=\"right\">7</td><td class=\"right\">2</td>"));
  // Each run's rows are compared with its own twins: 14 s / 4 s, and 7 s / 7 s.
  CHECK(contains(section(html, "speed-up"), "3.50x"));
  CHECK(contains(section(html, "speed-up"), "1.00x"));
}

TEST_CASE("a large run is cut, says so, and stays a page", "[report]") {
  std::vector<Result> rows;
  for (int64_t i = 0; i < 5000; ++i)
    rows.push_back(row("prefill", i % 2 == 0 ? "3:1" : "softmax", 1024 * (i / 2 + 1), 1));
  rows[3999] = failed(rows[3999], "error", "beyond what is shown");
  const std::string html = html_of(report_of(std::move(rows)));
  CHECK(contains(section(html, "failures"), "<td role=\"cell\" data-title=\"Row\">4000 prefill softmax"));  // no link
  CHECK(count(html, "<tr id=\"row-") == 2000);
  CHECK(contains(html, "The first 2 000 of 5 000 rows; all of them: <code>ringbench runs export"));
  CHECK(contains(html, "4 999 were measured"));
  CHECK(html.size() < 4'000'000);
}

TEST_CASE("rows far from the prediction come first, and flags are counted", "[report]") {
  ReportInput input = usual_report();
  const double ratios[] = {1.1, 1.2, 9.5, 1.3, 0.2, 2};
  for (size_t i = 0; i < 6; ++i) {
    input.rows[i].measured_over_predicted = ratios[i];
    input.rows[i].predicted_s = *input.rows[i].value / ratios[i];
  }
  input.rows[0].flags = "NX";
  input.rows[1].flags = "N";
  const std::string html = html_of(input), predicted = section(html, "predicted");
  CHECK(contains(predicted, "0.20x to 9.50x"));
  CHECK(predicted.find("#row-3") < predicted.find("#row-5"));
  CHECK(predicted.find("#row-5") < predicted.find("#row-6"));
  CHECK(contains(section(html, "flags"), "<td>N</td><td>noisy</td><td class=\"right\">2</td>"));
  CHECK(contains(section(html, "flags"), "<td>X</td><td>beyond the trained window</td><td class=\"right\">1</td>"));
  CHECK(contains(section(html, "flags"), "<td>T</td><td>throttled</td><td class=\"right\">0</td>"));
}

TEST_CASE("the same records give the same page", "[report]") {
  CHECK(html_of(usual_report()) == html_of(usual_report()));
  CHECK(markdown_of(usual_report()) == markdown_of(usual_report()));
  CHECK(contains(html_of(usual_report()), "ringbench report, 2026-01-01"));  // of the records, not of today
}

// --- The command ---

namespace {

// A run as the program leaves one.
fs::path write_run(const fs::path& results, const ReportInput& input) {
  const fs::path folder = results / input.runs[0].info.id;
  fs::create_directories(folder);
  std::ofstream(folder / "run.json") << R"({"schema":"ringbench.run/1","run_id":")" << input.runs[0].info.id
                                     << R"(","command":"throughput","argv":["ringbench","throughput"],)"
                                     << R"("started":"2026-01-01T12:00:00Z","ended":"2026-01-01T12:10:00Z",)"
                                     << R"("exit_code":0,"counts":{"ok":6},"environment":{"cpu":"CPU of the test"}})";
  std::ofstream points(folder / "points.jsonl");
  for (const Result& r : input.rows) points << to_json_line(r) << "\n";
  return folder;
}

std::string refusal_of(const ReportRequest& request) {
  try {
    run_report(request);
  } catch (const UsageError& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("report reads a run from its folder and writes one page, or Markdown with pictures beside it", "[report]") {
  Folder folder;
  const ReportInput input = usual_report();
  const fs::path run = write_run(folder.path, input);
  ReportRequest request;
  request.results = folder.path.string();
  request.quiet = true;
  CHECK(run_report(request) == ExitCode::ok);
  const std::string html = read_file(run / "report.html");
  require_balanced(html);
  CHECK(count(html, "<tr id=\"row-") == input.rows.size());
  CHECK(contains(section(html, "claims"), "class=\"badge"));
  CHECK(contains(section(html, "figures"), "Memory that a decoding step moves"));
  CHECK_FALSE(contains(html, folder.path.string()));
  for (const char* loading : {" src=", "<link", "@import", "<script", "xmlns"}) CHECK_FALSE(contains(html, loading));

  // A path names a run as well as its id does, and one that is named twice is read once.
  request.runs = {run.string(), run.filename().string()};
  request.output = (folder.path / "report.md").string();
  CHECK(run_report(request) == ExitCode::ok);
  const std::string markdown = read_file(folder.path / "report.md");
  CHECK(contains(markdown, "3.50x [3.45, 3.55]"));
  CHECK(contains(markdown, "6 were measured"));
  static const std::regex pictures(R"(!\[[^\]]*\]\(([^)]*)\))");
  for (auto i = std::sregex_iterator(markdown.begin(), markdown.end(), pictures); i != std::sregex_iterator(); ++i) {
    INFO((*i)[1]);
    CHECK(fs::exists(folder.path / std::string((*i)[1])));
  }
}

TEST_CASE("report refuses what it cannot read or write in one line", "[report]") {
  Folder folder;
  ReportRequest request;
  request.results = folder.path.string();
  request.quiet = true;
  write_run(folder.path, usual_report());
  request.output = "page.pdf";
  CHECK(refusal_of(request) == "--output: 'page.pdf' does not say its form. Use FILE.html or FILE.md.");
  request.output = (folder.path / "missing" / "page.html").string();
  CHECK(contains(refusal_of(request), "cannot write"));
  CHECK(contains(refusal_of(request), "No such file or directory"));
  request.output = "";
  request.runs = {"20990101T000000Z-none-0000"};
  CHECK(contains(refusal_of(request), "20990101T000000Z-none-0000"));
}
