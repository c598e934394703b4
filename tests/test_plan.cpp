// Words of the command line, models by name, and the grid. Every message of the CLI's error table that a value can
// cause is compared as a whole.
#include <cstdlib>
#include <functional>
#include <set>

#include "harness/commands.h"
#include "harness/engines.h"
#include "harness/plan.h"
#include "tests/catch.h"

using namespace ringbench;

namespace {

std::string message_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Failure& e) {
    return e.what();
  }
  return "(nothing was thrown)";
}

ExitCode code_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Failure& e) {
    return e.code;
  }
  return ExitCode::ok;
}

std::vector<int64_t> tokens(const std::string& text) { return parse_token_list({text}, "--ctx", 0); }

Plan plan_for(const std::string& model, Command command) {
  Plan plan;
  plan.model = model;
  set_command_defaults(plan, command, false);
  return plan;
}

// "prefill 3:1 8192 0 1", ...
std::vector<std::string> texts(const std::vector<Point>& points) {
  std::vector<std::string> lines;
  for (const Point& p : points)
    lines.push_back(p.phase + " " + p.hybrid + " " + std::to_string(p.ctx) + " " + std::to_string(p.gen) + " " +
                    std::to_string(p.batch));
  return lines;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("token counts: k is 1024, m its square, one decimal if the result is whole") {
  const std::vector<std::pair<std::string, int64_t>> cases = {
      {"0", 0},         {"393216", 393216}, {"384k", 393216},   {"384K", 393216}, {"384Ki", 393216},
      {"1.5k", 1536},   {"0.5k", 512},      {"1M", 1048576},    {"1m", 1048576},  {"1Mi", 1048576},
      {"0.5M", 524288}, {"2.0", 2},         {"384000", 384000}, {"1.25k", 1280},  {"1099511627776", int64_t{1} << 40}};
  for (const auto& [text, value] : cases) {
    INFO(text);
    CHECK(parse_tokens(text, "--ctx") == value);
  }
}

TEST_CASE("what is not a token count is refused with the words of the manual") {
  for (const std::string text :
       {"384q", "", "k", "-1", "+1", "1e3", "0x10", "1 k", "384kk", "384KB", ".5k", "5.k", "1,5k"}) {
    INFO(text);
    CHECK(message_of([&] { parse_tokens(text, "--ctx"); }) ==
          "--ctx: '" + text + "' is not a token count. Use 393216, 384k (=384*1024) or 512..384k*2.");
  }
  CHECK(message_of([] { parse_tokens("0.3k", "--ctx"); }) == "--ctx: 0.3k = 307.2 is not a whole number of tokens.");
  CHECK(message_of([] { parse_tokens("1.5", "--gen"); }) == "--gen: 1.5 is not a whole number of tokens.");
  CHECK(message_of([] { parse_tokens("0", "--gen", 1); }) == "--gen: 0 is too small. The least is 1.");
  for (const std::string text : {"99999999999999999999", "1099511627777", "1048576.5M", "9007199254740993k"})
    CHECK(message_of([&] { parse_tokens(text, "--ctx"); }) ==
          "--ctx: " + text + " is too large. The most is 1099511627776.");
  CHECK(code_of([] { parse_tokens("x", "--ctx"); }) == ExitCode::usage);
}

TEST_CASE("ranges include their end, whatever the step") {
  CHECK(tokens("512..384k*2") ==
        std::vector<int64_t>{512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144, 393216});
  CHECK(tokens("512..512*2") == std::vector<int64_t>{512});
  CHECK(tokens("1..8*2") == std::vector<int64_t>{1, 2, 4, 8});
  CHECK(tokens("0..32k+4k") == std::vector<int64_t>{0, 4096, 8192, 12288, 16384, 20480, 24576, 28672, 32768});
  CHECK(tokens("0..10+4") == std::vector<int64_t>{0, 4, 8, 10});
  CHECK(tokens("1,2,1..4*2") == std::vector<int64_t>{1, 2, 1, 2, 4});
  CHECK(parse_token_list({"1k", "2k,3k"}, "--ctx", 1) == std::vector<int64_t>{1024, 2048, 3072});
  CHECK(tokens("1..1099511627776*2").size() == 41);  // no overflow on the way
}

TEST_CASE("ranges that go nowhere are refused") {
  CHECK(message_of([] { tokens("512..8k"); }) ==
        "--ctx: the range '512..8k' has no step. Write 512..8k*2 or 512..8k+8k.");
  CHECK(message_of([] { tokens("8k..512*2"); }) == "--ctx: the range '8k..512*2' ends before it starts.");
  CHECK(message_of([] { tokens("1..8*1"); }) ==
        "--ctx: the range '1..8*1' never reaches its end: the step must be at least 2.");
  CHECK(message_of([] { tokens("1..8+0"); }) ==
        "--ctx: the range '1..8+0' never reaches its end: the step must be at least 1.");
  CHECK(message_of([] { tokens("0..8*2"); }) == "--ctx: the range '0..8*2' cannot start at 0: 0 times 2 is 0.");
  CHECK(message_of([] { tokens("0..1M+1"); }) == "--ctx: the range '0..1M+1' has more than 10000 values.");
  CHECK(message_of([] { tokens("1..x*2"); }).find("'x' is not a token count") != std::string::npos);
  CHECK(message_of([] { tokens("1,,2"); }) == "--ctx: '1,,2' has an empty element.");
  CHECK(message_of([] { tokens("1,"); }) == "--ctx: '1,' has an empty element.");
  CHECK(message_of([] { tokens(""); }) == "--ctx: '' is empty.");
}

TEST_CASE("plain counts take no suffixes") {
  CHECK(parse_count_list({"1..64*4", "3"}, "--batch") == std::vector<int64_t>{1, 4, 16, 64, 3});
  CHECK(message_of([] { parse_count_list({"4k"}, "--batch"); }) ==
        "--batch: '4k' is not a count. Use 4, a list like 1,4,16 or a range like 1..64*2.");
  CHECK(message_of([] { parse_count_list({"0"}, "--layers"); }) == "--layers: 0 is too small. The least is 1.");
}

TEST_CASE("durations and percentages") {
  CHECK(parse_duration_s("90", "--time-budget") == 90);
  CHECK(parse_duration_s("90s", "--time-budget") == 90);
  CHECK(parse_duration_s("10m", "--time-budget") == 600);
  CHECK(parse_duration_s("1.5h", "--time-budget") == 5400);
  for (const std::string text : {"", "m", "0s", "-5s", "5x", "inf", "nan", "1e999h"})
    CHECK(message_of([&] { parse_duration_s(text, "--time-budget"); }) ==
          "--time-budget: '" + text + "' is not a duration. Use 90s, 10m or 2h.");
  CHECK(parse_percent("2", "--ci") == 2);
  CHECK(parse_percent("0.5%", "--ci") == 0.5);
  for (const std::string text : {"0", "100", "-1", "nan", "two"})
    CHECK(code_of([&] { parse_percent(text, "--ci"); }) == ExitCode::usage);
}

TEST_CASE("labels read back as the counts they stand for") {
  CHECK(token_label(393216) == "384k");
  CHECK(token_label(1536) == "1.5k");
  CHECK(token_label(1048576) == "1M");
  CHECK(token_label(1000) == "1000");
  CHECK(token_label(0) == "0");
  for (int64_t n = 0; n < 5000; ++n) REQUIRE(parse_tokens(token_label(n), "--ctx") == n);
}

TEST_CASE("conditions on points") {
  const auto value_of = [](std::string_view name) -> int64_t {
    if (name == "ctx") return 8192;
    if (name == "batch") return 4;
    throw UsageError("unknown");
  };
  CHECK(holds("ctx*batch<=4M", value_of));
  CHECK(holds("ctx*batch==32k", value_of));
  CHECK_FALSE(holds("ctx * batch < 32k", value_of));
  CHECK(holds("ctx+2*batch>8199", value_of));
  CHECK(holds("ctx-batch!=8192", value_of));
  CHECK(holds("2 >= batch-2", value_of));
  for (const std::string bad : {"", "ctx", "ctx<", "<4", "ctx<4<5", "ctx**2<4", "ctx<4)"})
    CHECK(code_of([&] { holds(bad, value_of); }) == ExitCode::usage);
}

TEST_CASE("misspelt words find what was meant, and wild ones find nothing") {
  const Texts flags = command_lines().front().flag_names();
  CHECK(nearest_word("--cxt", flags) == "--ctx");
  CHECK(nearest_word("--cxt", {"--ctx", "--cat"}) == "--ctx");  // a swap is one slip, as a wrong letter is
  CHECK(nearest_word("--bacth", flags) == "--batch");
  CHECK(nearest_word("--formt", flags) == "--format");
  CHECK(nearest_word("ring-mini-linear", preset_names()) == "ring-mini-linear-2.0");
  CHECK(nearest_word("ringnano", preset_names()) == "ring-nano");
  CHECK(nearest_word("--zzzzzzz", flags).empty());
}

TEST_CASE("a list of ratios that leaves one that does not divide names what would") {
  Plan plan = plan_for("ring-lite-linear", Command::prefill);
  plan.hybrid = {"4:1"};
  CHECK(message_of([&] { expand(plan, Command::prefill); }) ==
        "--hybrid 4:1 needs a multiple of 5 layers; ring-lite-linear has 28. Try --layers 25 or 30, or --hybrid 6:1.");
  plan.hybrid = {"1/4"};
  CHECK(message_of([&] { expand(plan, Command::prefill); }) ==
        "--hybrid: write M:1 (M linear layers per softmax layer), 'softmax', 'linear' or 'model'.");

  // In a grid it is a point that fails, and the rest goes on; misspelt words still end everything.
  plan.hybrid = {"model", "4:1", "1:0"};
  const auto points = expand(plan, Command::prefill);
  REQUIRE(points.size() == 3);
  CHECK(points[0].error.empty());
  CHECK(points[1].error.find("needs a multiple of 5 layers") != std::string::npos);
  CHECK(points[1].hybrid == "4:1");
  CHECK(points[2].hybrid == "linear");
  plan.hybrid = {"model", "1/4"};
  CHECK(code_of([&] { expand(plan, Command::prefill); }) == ExitCode::usage);
}

TEST_CASE("throughput is prefill and decode of the model and its twin, the ratio varying fastest") {
  Plan plan = plan_for("ring-nano-linear", Command::throughput);
  plan.ctx = {1024, 2048};
  CHECK(texts(expand(plan, Command::throughput)) == Texts{"prefill 3:1 1024 0 1", "prefill softmax 1024 0 1",
                                                          "decode 3:1 1024 128 1", "decode softmax 1024 128 1",
                                                          "prefill 3:1 2048 0 1", "prefill softmax 2048 0 1",
                                                          "decode 3:1 2048 128 1", "decode softmax 2048 128 1"});
  CHECK(plan.total_budget_s == 150.0);
  Plan full;
  full.full = true;
  set_command_defaults(full, Command::throughput, false);
  CHECK_FALSE(full.total_budget_s);
  CHECK(full.estimate == EstimateMode::never);
  Plan one;
  one.hybrid = {"model"};
  set_command_defaults(one, Command::throughput, true);
  CHECK(one.hybrid == Texts{"model"});
  CHECK_FALSE(one.total_budget_s);
}

TEST_CASE("axes multiply, zipped axes advance together, equal points appear once") {
  Plan plan = plan_for("ring-nano-linear", Command::e2e);
  plan.ctx = {1, 2, 3};
  plan.gen = {8};
  plan.batch = {1, 2, 4};
  CHECK(expand(plan, Command::e2e).size() == 9);
  plan.zip = {"ctx,batch"};
  CHECK(texts(expand(plan, Command::e2e)) == Texts{"e2e 3:1 1 8 1", "e2e 3:1 2 8 2", "e2e 3:1 3 8 4"});
  plan.zip = {"ctx,gen"};
  CHECK(message_of([&] { expand(plan, Command::e2e); }) ==
        "--zip: ctx has length 3, gen has length 1. Lists that are zipped need the same length.");
  plan.zip = {"ctx,seed"};
  CHECK(code_of([&] { expand(plan, Command::e2e); }) == ExitCode::usage);
  plan.zip = {"ctx"};
  CHECK(code_of([&] { expand(plan, Command::e2e); }) == ExitCode::usage);
  plan.zip = {"ctx,batch", "batch,gen"};
  CHECK(code_of([&] { expand(plan, Command::e2e); }) == ExitCode::usage);

  plan = plan_for("ring-nano-linear", Command::prefill);
  plan.hybrid = {"model", "3:1", "LLLSLLLS"};  // three names of one layout
  plan.ctx = {64, 64};
  plan.gen = {1, 2, 3};  // means nothing to a prefill
  CHECK(expand(plan, Command::prefill).size() == 1);
}

TEST_CASE("--where keeps the points that meet every condition") {
  Plan plan = plan_for("ring-nano-linear", Command::prefill);
  plan.ctx = {1024, 2048, 4096};
  plan.batch = {1, 4};
  plan.where = {"ctx*batch<=4k", "batch<4"};
  CHECK(texts(expand(plan, Command::prefill)) ==
        Texts{"prefill 3:1 1024 0 1", "prefill 3:1 2048 0 1", "prefill 3:1 4096 0 1"});
  plan.where = {"ctx<1"};
  CHECK(message_of([&] { expand(plan, Command::prefill); }) == "--where: no point of the grid meets every condition.");
  plan.where = {"depth<1"};
  CHECK(message_of([&] { expand(plan, Command::prefill); }) ==
        "--where: 'depth' is unknown. Use ctx, gen, batch and layers.");
}

TEST_CASE("a point's id says what was asked, not on what it ran") {
  Plan plan = plan_for("ring-nano-linear", Command::decode);
  const std::string id = expand(plan, Command::decode).front().id;
  CHECK(id.size() == 16);
  CHECK(id.find_first_not_of("0123456789abcdef") == std::string::npos);
  Plan same = plan;
  same.dtype = DType::f64;
  same.chunk = 64;
  same.threads = 1;
  same.reps = 3;
  CHECK(expand(same, Command::decode).front().id == id);

  std::set<std::string> ids = {id};
  const auto differs = [&](const std::function<void(Plan&)>& change) {
    Plan other = plan;
    change(other);
    return ids.insert(expand(other, Command::decode).front().id).second;
  };
  CHECK(differs([](Plan& p) { p.ctx = {4096}; }));
  CHECK(differs([](Plan& p) { p.gen = {4}; }));
  CHECK(differs([](Plan& p) { p.batch = {2}; }));
  CHECK(differs([](Plan& p) { p.requests = 2; }));
  CHECK(differs([](Plan& p) { p.seed = 1; }));
  CHECK(differs([](Plan& p) { p.hybrid = {"softmax"}; }));
  CHECK(differs([](Plan& p) { p.layers = {4}; }));
  CHECK(differs([](Plan& p) { p.yarn = {"2"}; }));
  CHECK(differs([](Plan& p) { p.routing = Routing::uniform; }));
  CHECK(differs([](Plan& p) { p.slope_layer_offset = SlopeLayerOffset::one; }));
  CHECK(differs([](Plan& p) { p.model = "ring-pico-linear"; }));
}

TEST_CASE("several servers make a point of all and one of each that gets a request") {
  Plan plan = plan_for("tiny", Command::e2e);
  plan.engine = {"openai:http://a+http://b:9+http://c"};
  plan.batch = {2};
  plan.requests = 7;
  const std::vector<Point> points = expand(plan, Command::e2e);
  REQUIRE(points.size() == 4);
  std::set<std::string> ids;
  for (const Point& point : points) {
    ids.insert(point.id);
    CHECK(comparison_key(point) == comparison_key(points[0]));  // they go to the same shard
    CHECK(repro_command(plan, point) == repro_command(plan, points[0]));
  }
  CHECK(ids.size() == 4);
  CHECK(row_engine(points[0]) == plan.engine[0]);
  CHECK(row_engine(points[2]) == "openai:http://b:9");
  const auto shares = [&](int64_t of) {
    std::vector<int64_t> all;
    for (const Point& point : points) all.push_back(own_share(point, of));
    return all;
  };
  CHECK(shares(7) == std::vector<int64_t>{7, 3, 2, 2});
  CHECK(shares(2) == std::vector<int64_t>{2, 1, 1, 0});

  plan.requests.reset();  // prefill of a batch of two: the third server has nothing to do
  CHECK(expand(plan, Command::prefill).size() == 3);
  plan.engine = {"openai:http://a"};
  const std::vector<Point> one = expand(plan, Command::prefill);
  REQUIRE(one.size() == 1);
  plan.engine = {"reference"};
  CHECK(expand(plan, Command::prefill)[0].id == one[0].id);
  plan.engine = {"openai:http://a"};
  plan.batch = {1025};
  CHECK(message_of([&] { expand(plan, Command::prefill); }) ==
        "--batch 1025: at most 1024 requests can be with a server at once.");
}

TEST_CASE("YaRN: the config's own, the card's beyond the window, off, or as given") {
  const ModelConfig nano = resolve_model("ring-nano-linear", "", "").config;
  REQUIRE_FALSE(nano.rope_scaling);
  REQUIRE(nano.card_yarn);
  Texts warnings;
  const auto with = [&](const std::string& yarn, int64_t ctx) {
    ModelConfig config = nano;
    apply_yarn(config, yarn, ctx, warnings);
    return config;
  };
  CHECK_FALSE(with("auto", 131072).rope_scaling);
  CHECK(with("auto", 131073).rope_scaling->factor == 4);
  CHECK(with("auto", 131073).trained_window() == 524288);
  CHECK_FALSE(with("off", 1 << 20).rope_scaling);
  CHECK(with("8", 1).rope_scaling->original_max_position_embeddings == 131072);
  CHECK(with("2.5:32k", 1).rope_scaling->factor == 2.5);
  CHECK(with("2.5:32k", 1).rope_scaling->original_max_position_embeddings == 32768);
  CHECK_FALSE(with("1", 1).rope_scaling);
  CHECK(warnings.empty());
  for (const std::string bad : {"", "on", "0.5", "4:", "4:x", "nan", "inf", "-4"})
    CHECK(code_of([&] { with(bad, 1); }) == ExitCode::usage);

  ModelConfig disagreeing = nano;
  disagreeing.rope_scaling = RopeScaling::yarn(4, 16384);  // 131072 / 16384 is 8
  apply_yarn(disagreeing, "auto", 1, warnings);
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0] == "W-YARN: the config's factor is 4, but its windows say 8; the factor is taken as given.");
}

TEST_CASE("a context beyond the trained window is warned about, flagged, and still a point") {
  Plan plan = plan_for("ring-mini-linear-2.0", Command::prefill);
  plan.ctx = {1 << 20};
  const Point point = expand(plan, Command::prefill).front();
  CHECK(point.error.empty());
  CHECK(point.beyond_window);
  REQUIRE(point.warnings.size() == 1);
  CHECK(point.warnings[0] ==
        "W-WINDOW: ctx 1048576 is beyond the trained window 524288 (YaRN 4x of 131072): timing only, row flagged X.");
  plan.ctx = {512 * 1024};
  CHECK_FALSE(expand(plan, Command::prefill).front().beyond_window);
}

TEST_CASE("a prompt of no tokens is a failing point of a prefill, but a depth that decode can start from") {
  Plan plan = plan_for("ring-nano-linear", Command::throughput);
  plan.ctx = {0, 1};
  plan.hybrid = {"model"};
  const auto points = expand(plan, Command::throughput);
  REQUIRE(points.size() == 4);
  CHECK(points[0].error == "--ctx 0: prefill needs a prompt of at least 1 token.");
  CHECK(points[1].error.empty());
  plan.batch = {4};
  plan.requests = 2;
  CHECK(message_of([&] { expand(plan, Command::decode); }) == "--requests 2 is less than --batch 4.");
}

TEST_CASE("models by preset, config file and folder; unknown names list what there is") {
  CHECK(resolve_model("auto", "", "").config.name == "ring-nano-linear");
  CHECK(resolve_model("ring-mini-2.0", "", "").checkpoint.empty());
  const std::string folder = std::string(RINGBENCH_SOURCE_DIR) + "/tests/goldens/v2_hybrid";
  CHECK(resolve_model(folder, "", "").checkpoint == folder);
  CHECK(resolve_model("auto", "", folder).config.num_hidden_layers ==
        resolve_model(folder, "", "").config.num_hidden_layers);
  CHECK(resolve_model("auto", folder + "/config.json", "").checkpoint.empty());
  CHECK(resolve_model("tiny", "", folder).config.name == "tiny");
  try {
    resolve_model("ring-mini-linear", "", "");
    FAIL("an unknown model was found");
  } catch (const UsageError& e) {
    CHECK(std::string(e.what()) == "unknown model 'ring-mini-linear'. Did you mean ring-mini-linear-2.0?");
    for (const std::string& preset : preset_names()) CHECK(e.hint.find(preset) != std::string::npos);
    CHECK(e.hint.find("--config") != std::string::npos);
  }
  CHECK(message_of([] { resolve_model("auto", "/nope.json", ""); }) == "--config: '/nope.json' is no file.");
  CHECK(message_of([] { resolve_model("auto", "", "/nope"); }).find("--weights: '/nope' is neither a folder") == 0);
}

TEST_CASE("weights go to the layout they were made for; other layouts get random ones and say so") {
  Plan plan;
  plan.model = std::string(RINGBENCH_SOURCE_DIR) + "/tests/goldens/v2_hybrid";
  plan.ctx = {16};
  set_command_defaults(plan, Command::throughput, false);
  auto points = expand(plan, Command::throughput);
  REQUIRE(points.size() == 4);
  CHECK(points[0].checkpoint == plan.model);
  CHECK(points[0].warnings.empty());
  CHECK(points[1].hybrid == "softmax");
  CHECK(points[1].checkpoint.empty());
  REQUIRE_FALSE(points[1].warnings.empty());
  CHECK(points[1].warnings.back().find("W-WEIGHTS: random weights") == 0);
  plan.twin_weights = std::string(RINGBENCH_SOURCE_DIR) + "/tests/goldens/v2_softmax";
  CHECK(expand(plan, Command::throughput)[1].checkpoint == plan.twin_weights);
}

TEST_CASE("the repro line gives the point again") {
  Plan plan = plan_for("ring-mini-linear-2.0", Command::decode);
  plan.ctx = {393216};
  plan.hybrid = {"softmax"};
  const Point point = expand(plan, Command::decode).front();
  CHECK(repro_command(plan, point) ==
        "ringbench decode --model ring-mini-linear-2.0 --hybrid softmax --ctx 393216 --gen 128 --batch 1 --engine "
        "reference "
        "--dtype f32 --seed 0");
  plan.weights = "/home/somebody/my weights";
  plan.model = "auto";
  const std::string repro = repro_command(plan, point);
  CHECK(repro.find("--weights 'my weights'") != std::string::npos);
  CHECK(repro.find("/home") == std::string::npos);
}

TEST_CASE("what this build cannot do is an environment error that names what it can") {
  CHECK(code_of([] { check_engines({"cuda:0"}, true); }) == ExitCode::usage);
  if (default_engine() != "cuda") CHECK(message_of([] { check_engines({"cuda"}, true); }).find("no CUDA device") == 0);
  check_engines({"reference", "emulated"}, false);
  CHECK(message_of([] {
          check_engines({"reference", "emulated"}, true);
        }) ==
        "engine 'emulated' checks the CUDA kernels on a CPU and records no speeds. Use --engine reference or cuda.");
  CHECK(code_of([] { check_engines({"gpu"}, true); }) == ExitCode::usage);
  CHECK(code_of([] { parse_dtype("fp8", "reference"); }) == ExitCode::environment);
  CHECK(message_of([] { parse_dtype("bf16", "reference"); }).find("f32 and f64") != std::string::npos);
}

TEST_CASE("memory that does not fit is said in the manual's words") {
  const auto gib = [](double n) { return static_cast<int64_t>(n * 0x1p30); };
  CHECK(too_little_memory({gib(194.1), gib(12.6), gib(0.2), gib(1.4)}, gib(139)) ==
        "needs 208.3 GiB (weights 194.1, KV 12.6, state 0.2, workspace 1.4), device has 139.0 free.");
}

TEST_CASE("the defaults that help states are those of the plan") {
  const CommandLine& command = command_lines().front();
  const Plan plan;
  const auto standard = [&](const std::string& name) { return command.find(name)->standard; };
  CHECK(standard("--model") == plan.model);
  CHECK(parse_token_list({standard("--ctx")}, "--ctx", 0) == plan.ctx);
  CHECK(parse_token_list({standard("--gen")}, "--gen", 1) == plan.gen);
  CHECK(parse_count_list({standard("--batch")}, "--batch") == plan.batch);
  CHECK(standard("--chunk") ==
        "cuda " + token_label(default_chunk("cuda")) + ", reference " + std::to_string(default_chunk("reference")));
  CHECK(parse_percent(standard("--ci"), "--ci") / 100 == plan.ci);
  CHECK(parse_duration_s(standard("--time-budget"), "--time-budget") == plan.time_budget_s);
  CHECK(Texts{standard("--yarn")} == plan.yarn);
  CHECK(standard("--results") == plan.results);
  CHECK(standard("--seed") == std::to_string(plan.seed));
  CHECK(standard("--dtype") == "cuda " + std::string(name_of(default_dtype("cuda"))) + ", reference " +
                                   std::string(name_of(default_dtype("reference"))));
}
