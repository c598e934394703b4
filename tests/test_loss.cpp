// The command `loss`: against losses computed from golden logits, windows, buckets and errors by hand, and texts that a
// model wrote itself, whose right reading is known.
#include "harness/loss.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "harness/commands.h"
#include "harness/loss_report.h"
#include "tests/catch.h"
#include "tests/folder.h"
#include "tests/golden.h"
#include "tests/program.h"

using namespace ringbench;
namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

std::string write_ids(const Folder& folder, const std::vector<int32_t>& ids, const std::string& name = "ids.json") {
  const fs::path path = folder.path / name;
  std::ofstream(path) << Json({{"input_ids", ids}});
  return path.string();
}

// A text of the model's own: each token drawn from its own probabilities.
std::vector<int32_t> sample_text(const fs::path& checkpoint, int64_t tokens,
                                 const std::function<void(ModelConfig&)>& change) {
  ModelConfig config = ModelConfig::load(checkpoint / "config.json");
  change(config);
  EngineOptions options;
  options.max_tokens = tokens;
  const auto engine = make_reference_engine(config, Weights::load(config, checkpoint), options);
  std::mt19937 random(7);
  std::vector<int32_t> text = {1};
  while (static_cast<int64_t>(text.size()) < tokens) {
    const Step step = {0, std::span(text).last(1)};
    engine->forward({&step, 1}, Rows::last);
    const HostTensorView logits = engine->logits();
    std::vector<double> probabilities;
    for (const float x : logits.as<float>()) probabilities.push_back(std::exp(static_cast<double>(x)));
    text.push_back(std::discrete_distribution<int32_t>(probabilities.begin(), probabilities.end())(random));
  }
  return text;
}

WindowLoss window_of(const std::vector<double>& losses) {
  WindowLoss window;
  for (const double loss : losses) {
    if (window.predicted++ % kLossBlock == 0) window.block_sums.push_back(0);
    window.block_sums.back() += loss;
  }
  return window;
}

double total(const WindowLoss& window) {
  double sum = 0;
  for (const double block : window.block_sums) sum += block;
  return sum;
}

const std::string golden_flag = " --weights '" + (goldens() / "v2_hybrid").string() + "' ";

}  // namespace

TEST_CASE("losses are those of the golden logits, for any chunk") {
  for (const std::string& name : golden_cases()) {
    INFO(name);
    const fs::path folder = goldens() / name;
    const SafeTensors golden = SafeTensors::open(folder / "golden.safetensors");
    std::vector<int32_t> ids = token_ids(golden, "input_ids");
    const std::vector<int32_t> more = token_ids(golden, "decode_ids");
    ids.insert(ids.end(), more.begin(), more.end());
    std::vector<double> rows = as_doubles(golden.at("logits")), last = as_doubles(golden.at("decode_logits"));
    rows.insert(rows.end(), last.begin(), last.end());

    const ModelConfig config = ModelConfig::load(folder / "config.json");
    const auto width = static_cast<size_t>(config.vocab_size);
    double expected = 0;  // in the plainest way: these logits are small
    for (size_t t = 0; t + 1 < ids.size(); ++t) {
      double sum = 0;
      for (size_t v = 0; v < width; ++v) sum += std::exp(rows[t * width + v]);
      expected += std::log(sum) - rows[t * width + static_cast<size_t>(ids[t + 1])];
    }
    const auto predicted = static_cast<int64_t>(ids.size()) - 1;
    const Weights weights = Weights::load(config, folder);
    for (const int64_t chunk : {0, 1, 17, 64, 128}) {
      INFO("chunk " << chunk);
      EngineOptions options;
      options.dtype = DType::f64, options.chunk = chunk, options.max_tokens = predicted;
      const auto engine = make_reference_engine(config, weights, options);
      const WindowLoss window = window_loss(*engine, ids, chunk);
      REQUIRE(window.predicted == predicted);
      // 1e-9 of the logits' spread, 2, for each token's two terms
      REQUIRE(std::abs(total(window) - expected) <= 4e-9 * static_cast<double>(predicted));
      REQUIRE(total(window_loss(*engine, ids, chunk)) == total(window));  // from an empty cache again
    }
  }
}

TEST_CASE("a loss does not overflow, and f32 logits are summed in f64") {
  const std::vector<double> far = {1000, 0, -1000};
  CHECK(negative_log_likelihood(far, 0) == 0);
  CHECK(negative_log_likelihood(far, 1) == 1000);
  CHECK(negative_log_likelihood(far, 2) == 2000);
  // A sum of a million equal terms in f32 would stop growing at 2^24 / 1; here ln n comes out to f64's accuracy.
  const std::vector<float> flat(20'000'000, -3.f);
  CHECK(std::abs(negative_log_likelihood(flat, 5) - std::log(20e6)) <= 1e-12 * std::log(20e6));
}

TEST_CASE("documents are cut into windows side by side; what is left makes a shorter one") {
  const std::vector<std::vector<int32_t>> documents = {std::vector<int32_t>(10), {}, {1}, std::vector<int32_t>(9)};
  const std::vector<Window> windows = cut_windows(documents, 4);
  std::vector<std::vector<int64_t>> seen;
  for (const Window& w : windows) seen.push_back({static_cast<int64_t>(w.document), w.begin, w.size});
  // Of the last document one token is left: nothing to predict.
  CHECK(seen == std::vector<std::vector<int64_t>>{{0, 0, 4}, {0, 4, 4}, {0, 8, 2}, {3, 0, 4}, {3, 4, 4}});
}

TEST_CASE("buckets double, meet, and end where the window does") {
  for (const int64_t ctx : {2, 128, 129, 130, 257, 400, 8192, 8193}) {
    INFO(ctx);
    const std::vector<Bucket> buckets = position_buckets(ctx);
    int64_t next = 0;
    for (const Bucket& bucket : buckets) {
      REQUIRE(bucket.first == next);
      REQUIRE(bucket.first % kLossBlock == 0);
      REQUIRE(bucket.last >= bucket.first);
      next = bucket.last + 1;
    }
    REQUIRE(next == ctx - 1);
  }
  const std::vector<Bucket> buckets = position_buckets(400);
  REQUIRE(buckets.size() == 3);
  CHECK(buckets[1].last == 255);
  CHECK(buckets[2].last == 398);
}

TEST_CASE("means and standard errors by hand, from blocks and from windows") {
  // Two windows of 300 and 130 positions; the loss is the position's block number, and 1 more in the second window.
  std::vector<double> a, b;
  for (int t = 0; t < 300; ++t) a.push_back(t / 128);
  for (int t = 0; t < 130; ++t) b.push_back(1 + t / 128);
  const std::vector<WindowLoss> windows = {window_of(a), window_of(b)};
  const MeanLoss first = mean_loss(windows, {0, 127});
  CHECK(first.tokens == 256);
  CHECK(first.mean == 0.5);
  CHECK(first.n == 2);
  // sums 0 and 128 of 128 each: deviations -64 and 64; sqrt(2/1 * 2 * 64^2) / 256
  CHECK(first.se == 0.5);
  const MeanLoss second = mean_loss(windows, {128, 255});
  CHECK(second.tokens == 130);
  CHECK(second.mean == Approx(132.0 / 130));
  const MeanLoss third = mean_loss(windows, {256, 298});
  CHECK(third.tokens == 44);  // the bucket's whole last block
  CHECK(third.n == 1);
  CHECK_FALSE(third.se);
  const MeanLoss all = mean_loss(windows, kAllPositions);
  CHECK(all.tokens == 430);
  CHECK(all.mean == Approx((128 + 88 + 128 + 4) / 430.0));
  CHECK_FALSE(all.of_windows);
  CHECK(mean_loss(windows, {512, 1023}).tokens == 0);

  std::vector<WindowLoss> many;
  for (int w = 0; w < 10; ++w) many.push_back(window_of(std::vector<double>(256, w)));
  const MeanLoss of_windows = mean_loss(many, kAllPositions);
  CHECK(of_windows.of_windows);
  CHECK(of_windows.n == 10);
  CHECK(of_windows.mean == 4.5);
  CHECK(*of_windows.se == Approx(std::sqrt(82.5 / 9 / 10)));  // of the numbers 0..9
  many.pop_back();
  CHECK(mean_loss(many, kAllPositions).n == 18);
}

TEST_CASE("two standard errors cover the true mean about as often as they should, though tokens are correlated") {
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  int covered = 0;
  constexpr int trials = 400;
  for (int trial = 0; trial < trials; ++trial) {
    std::vector<WindowLoss> windows;
    for (int w = 0; w < 20; ++w) {
      const double topic = normal(random);  // makes all of a window easier or harder
      std::vector<double> losses(512);
      double drift = 0;
      for (double& loss : losses) loss = 3 + topic + (drift = 0.8 * drift + normal(random));
      windows.push_back(window_of(losses));
    }
    const MeanLoss mean = mean_loss(windows, kAllPositions);
    covered += std::abs(mean.mean - 3) <= 2 * *mean.se;
  }
  // t of 19 degrees: 94 %; five standard errors of 400 trials are 6 %. From tokens it would be 20 %.
  CHECK(covered >= trials * 88 / 100);
  CHECK(covered <= trials * 99 / 100);
}

TEST_CASE("differences are paired over what both readings have") {
  const std::vector<WindowLoss> a = {window_of(std::vector<double>(300, 2)), window_of(std::vector<double>(300, 5))};
  std::vector<WindowLoss> b = {window_of(std::vector<double>(300, 1.5)), window_of(std::vector<double>(128, 4))};
  MeanLoss difference = mean_loss(paired_difference(a, b), kAllPositions);
  CHECK(difference.tokens == 428);
  CHECK(difference.mean == Approx((300 * 0.5 + 128 * 1) / 428));
  b.pop_back();
  difference = mean_loss(paired_difference(a, b), kAllPositions);
  CHECK(difference.tokens == 300);
  CHECK(difference.mean == 0.5);
  CHECK_FALSE(is_told_apart(difference));  // three blocks are too few, however equal
  CHECK(is_told_apart({1000, 6, false, 0.4, 0.13}));
  CHECK_FALSE(is_told_apart({1000, 6, false, 0.4, 0.14}));
  CHECK_FALSE(is_told_apart({1000, 6, false, 0, 0}));
}

TEST_CASE("the loss finds the decay offset that a text was written with") {
  for (const SlopeLayerOffset planted : {SlopeLayerOffset::zero, SlopeLayerOffset::one, SlopeLayerOffset::mlx}) {
    const Folder folder;
    LossRequest request;
    request.weights = (goldens() / "v2_hybrid").string();
    request.tokens = write_ids(folder, sample_text(goldens() / "v2_hybrid", 1200,
                                                   [&](ModelConfig& config) { config.slope_layer_offset = planted; }));
    request.compare = "slope-layer-offset=0,1,mlx";  // in one window, as it was written
    request.quiet = true;
    const LossReport report = measure_loss(request);
    const std::string text = loss_text(report, Format::table);
    INFO(text);
    CHECK(text.find("Lowest loss: slope-layer-offset=" + std::string(name_of(planted)) + ". Next is ") !=
          std::string::npos);
    CHECK(text.find("The text tells them apart") != std::string::npos);
    CHECK(text.find("ctx 1200: 1 window\n") != std::string::npos);
  }
}

TEST_CASE("the loss finds whether a text was written with YaRN") {
  for (const bool planted : {false, true}) {
    const Folder folder;
    LossRequest request;
    request.weights = (goldens() / "v2_hybrid").string();
    request.tokens = write_ids(folder, sample_text(goldens() / "v2_hybrid", 1500, [&](ModelConfig& config) {
                                 if (planted) config.rope_scaling = RopeScaling::yarn(8, 64);
                               }));
    request.yarn = {"off", "8:64"};
    request.quiet = true;
    const std::string text = loss_text(measure_loss(request), Format::table);
    INFO(text);
    CHECK(text.find(planted ? "Lowest loss: yarn=8:64." : "Lowest loss: yarn=off.") != std::string::npos);
    CHECK(text.find("The text tells them apart") != std::string::npos);
  }
}

TEST_CASE("rows of json have the documented fields, add up, and are what csv says") {
  const Folder folder;
  std::vector<int32_t> ids(700);
  std::mt19937 random(3);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % 250);
  LossRequest request;
  request.weights = (goldens() / "v2_hybrid").string();
  request.tokens = write_ids(folder, ids);
  request.compare = "rope-angles=f64,f32";
  request.ctx = {300, 700};
  request.quiet = true;
  const LossReport report = measure_loss(request);
  const Json rows = Json::parse(loss_text(report, Format::json));
  REQUIRE(rows.size() == 2 * (3 + 1) + 2 * (4 + 1));  // two readings of three and of four buckets, and of all
  double sum = 0, tokens = 0;
  for (const Json& row : rows) {
    CHECK(row.size() == loss_fields().size());
    for (const auto& [name, meaning] : loss_fields()) CHECK(row.contains(name));
    CHECK(row["perplexity"].get<double>() == Approx(std::exp(row["loss"].get<double>())));
    if (row["position_last"].is_null()) {
      CHECK(row["tokens"] == tokens);
      CHECK(row["loss"].get<double>() * tokens == Approx(sum));
      CHECK(tokens == (row["ctx"] == 300 ? 299 + 299 + 99 : 699));
      sum = tokens = 0;
    } else {
      sum += row["loss"].get<double>() * row["tokens"].get<double>(), tokens += row["tokens"].get<double>();
    }
    CHECK(row["diff"].is_null() == (row["reading"] == "f64"));
  }
  const std::string csv = loss_text(report, Format::csv);
  CHECK(std::count(csv.begin(), csv.end(), '\n') == static_cast<int64_t>(rows.size()) + 1);
  for (const Format format : {Format::table, Format::md}) CHECK(loss_text(report, format).find("0-127") > 0);
}

TEST_CASE("loss by the command line: files, formats, random weights only where asked for") {
  const Folder folder;
  write_ids(folder, std::vector<int32_t>(300, 3));
  std::ofstream(folder.path / "ids.jsonl") << "{\"ids\": [1, 2, 3]}\n\n{\"input_ids\": [4, 5, 6, 7]}\n";
  Ran r = shell("$R loss" + golden_flag + "--tokens ids.json --format csv -o out.json -o out.md", folder.path);
  CHECK(r.code == 0);
  CHECK(r.out.find("schema,model,weights") == 0);
  CHECK(Json::parse(read_file(folder.path / "out.json"))[0]["source"] == "ids.json");
  CHECK(read_file(folder.path / "out.md").find("| 0-127 | 128 |") != std::string::npos);
  r = shell("$R loss" + golden_flag + "--tokens ids.jsonl --ctx 4 --json -q", folder.path);
  CHECK(Json::parse(r.out)[0]["tokens"] == 2 + 3);
  CHECK(r.err.empty());
  r = shell("$R loss" + golden_flag + "--tokens ids.json --ctx 100 --windows 2 --json", folder.path);
  CHECK(Json::parse(r.out)[0]["windows"] == 2);

  r = shell("$R loss --model tiny --tokens ids.json --json", folder.path);
  CHECK(r.code == 0);
  CHECK(r.err.find("warning W-DUMMY: ") == 0);
  CHECK(std::abs(Json::parse(r.out)[0]["loss"].get<double>() - std::log(256)) <= 1.5);
}

TEST_CASE("several checkpoints are compared on one text, and the loss by position is drawn") {
  const Folder folder;
  const std::string one = std::string(RINGBENCH_SOURCE_DIR) + "/tests/goldens/v2_hybrid",
                    other = (folder.path / "other").string();
  fs::copy(one, other);
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 300; ++i) ids.push_back(i * 7 % 50);
  write_ids(folder, ids);
  const Ran r = shell("$R loss --compare weights=" + one + ",other --tokens ids.json --json -o loss.svg", folder.path);
  INFO(r.err);
  REQUIRE(r.code == 0);
  const Json rows = Json::parse(r.out);
  std::set<std::string> weights;
  for (const Json& row : rows) {
    weights.insert(row["weights"]);
    CHECK(row["key"] == "weights");
    CHECK(row["reading"] == row["weights"]);
    if (row["weights"] == "other" && !row["diff"].is_null())
      CHECK(row["diff"] == 0);  // the same weights under two names
  }
  CHECK(weights == std::set<std::string>{"v2_hybrid", "other"});
  const std::string svg = read_file(folder.path / "loss.svg"), csv = read_file(folder.path / "loss.csv");
  CHECK(svg.find("</svg>") != std::string::npos);
  CHECK(svg.find("weights other") != std::string::npos);
  double loss = 0;  // of the first range of the first checkpoint, as in the table
  for (const Json& row : rows)
    if (row["weights"] == "v2_hybrid" && row["position_first"] == 0 && row["position_last"] == 127) loss = row["loss"];
  char shown[32];
  std::snprintf(shown, sizeof shown, "%.4f", loss);
  CHECK(csv.find(shown) != std::string::npos);
  const Ran both =
      shell("$R loss --weights " + one + " --compare weights=" + one + ",other --tokens ids.json", folder.path);
  CHECK(both.code == 2);
  CHECK(both.err.find("leave --weights out") != std::string::npos);
}

TEST_CASE("bad requests for a loss are refused before anything runs, in one line") {
  const Folder folder;
  write_ids(folder, {1, 2, 3, 4, 5});
  write_ids(folder, {1, 2, 250}, "large.json");
  write_ids(folder, {1}, "one.json");
  std::ofstream(folder.path / "broken.jsonl") << "{\"ids\": [1, 2]}\n{\"ids\": [1,\n";
  std::ofstream(folder.path / "keyless.jsonl") << "{\"tokens\": [1, 2]}\n";
  const auto refuses = [&](const std::string& flags, const std::string& message, int code = 2) {
    INFO(flags);
    const Ran r = shell("$R loss " + flags, folder.path);
    CHECK(r.code == code);
    CHECK(r.out.empty());
    CHECK(r.err.substr(0, 7 + message.size()) == "error: " + message);
    CHECK(std::count(r.err.begin(), r.err.end(), '\n') <= 2);
  };
  const std::string good = golden_flag + "--tokens ids.json ";
  refuses("--tokens ids.json", "loss: which weights? Name a checkpoint folder: --weights DIR.\n");
  refuses(golden_flag, "loss: name one of --text FILE and --tokens FILE.\n");
  refuses(good + "--text ids.json", "loss: name one of --text FILE and --tokens FILE.\n");
  refuses(golden_flag + "--tokens none.json", "--tokens: cannot read 'none.json'.\n");
  refuses(golden_flag + "--tokens large.json",
          "--tokens: large.json: input_ids[2] is 250; token ids of this model are whole numbers from 0 to 249.\n");
  refuses(golden_flag + "--tokens one.json", "--tokens: one.json: no document has two tokens; nothing can be");
  refuses(golden_flag + "--tokens broken.jsonl", "--tokens: broken.jsonl:2: not a JSON object.");
  refuses(golden_flag + "--tokens keyless.jsonl", "--tokens: keyless.jsonl:1: \"ids\" is missing.\n");
  refuses(good + "--ctx 6", "--ctx 6: the longest document has 5 tokens. Use at most that, or a longer text.\n");
  refuses(good + "--ctx 1", "--ctx: 1 is too small. The least is 2.\n");
  refuses(good + "--compare slope-layer-ofset=0,1",
          "--compare: 'slope-layer-ofset' is nothing to compare. Use slope-layer-offset, yarn, rope-angles, weights. "
          "Did you mean "
          "slope-layer-offset?\n");
  refuses(good + "--compare slope-layer-offset=0,2", "--compare slope-layer-offset: '2' is not one of 0, 1, mlx.\n");
  refuses(good + "--compare slope-layer-offset=0", "--compare slope-layer-offset=0: write two different values");
  refuses(good + "--compare yarn", "--compare yarn: write two different values");
  refuses(good + "--compare yarn=off,off", "--compare yarn=off,off: write two different values");
  refuses(good + "--compare yarn=off,fast", "--yarn: 'fast' is not a setting.");
  refuses(good + "--compare yarn=off,4 --yarn 2", "--compare yarn=off,4 and --yarn 2: one thing at a time.");
  refuses(good + "--compare rope-angles=f64,f32 --engine emulated", "rope-angles f32: engine 'emulated' computes");
  refuses(good + "-o nowhere/x.csv", "--output: cannot write 'nowhere/x.csv': No such file or directory.\n");
  refuses(good + "--engine cuda", "no CUDA device", 3);
}

TEST_CASE("an interrupted loss shows the whole blocks that were done, and exits 130") {
  const Folder folder;
  write_ids(folder, std::vector<int32_t>(400'000, 3));
  // All of it takes minutes; how soon the first block is done depends on the machine.
  Ran r;
  for (const int seconds : {1, 2, 4, 8, 16, 32}) {
    r = shell("timeout --preserve-status -s INT " + std::to_string(seconds) +
                  " $R loss --model ring-nano-linear --tokens ids.json --ctx 400000 --compare slope-layer-offset=0,1",
              folder.path);
    if (r.out.find("\n0-127 ") != std::string::npos) break;
  }
  CHECK(r.code == 130);
  CHECK(r.out.find("Interrupted: this is what was done.\n") != std::string::npos);
  CHECK(r.out.find("\n0-127 ") != std::string::npos);
}
