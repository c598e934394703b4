// The command `estimate`: its points, what it says of memory, and its three forms. How good the numbers are is
// test_predict.cpp's business.
#include "harness/estimate_command.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "harness/failure.h"
#include "tests/catch.h"
#include "tests/checks.h"
#include "tests/folder.h"

using namespace ringbench;

namespace {

EstimateRequest lite_on_a100() {
  EstimateRequest request;
  request.model = "ring-lite-linear";
  request.phases = {"decode"};
  request.ctx = {1};
  request.gen = {32768};
  request.batch = {64};
  request.device = "a100-80";
  return request;
}

std::vector<Estimate> points(const EstimateRequest& request) { return estimate_points(request, device_of(request)); }

std::string text(const EstimateRequest& request) {
  std::ostringstream out;
  run_estimate(out, request);
  return out.str();
}

}  // namespace

TEST_CASE("estimate: 64 outputs of 32k tokens on 80 GB, at equal batch and at equal memory") {
  const EstimateRequest request = lite_on_a100();
  const auto e = points(request);
  REQUIRE(e.size() == 2);
  REQUIRE(e[0].hybrid == "6:1");
  REQUIRE(e[1].hybrid == "softmax");
  REQUIRE(*e[0].fits);
  REQUIRE_FALSE(*e[1].fits);
  REQUIRE(*e[1].sequences_fit == 18);
  REQUIRE(*e[0].seconds_within_memory == e[0].prediction->seconds);
  REQUIRE(*e[1].seconds_within_memory > e[1].prediction->seconds);
  REQUIRE(std::abs(*e[0].speedup_equal_batch - 2.03) < 0.005);
  REQUIRE(std::abs(*e[0].speedup_equal_memory - 2.70) < 0.005);
  REQUIRE_FALSE(e[1].speedup_equal_batch);
  REQUIRE(e[1].memory.kv == 64 * int64_t{32769} * 57344);
  const std::string table = text(request);
  REQUIRE(contains(table, "6:1 is ~2.03x as fast as softmax at equal batch, ~2.70x at equal memory"));
  REQUIRE(contains(table, "nothing was run"));
}

TEST_CASE("estimate: work within memory is waves of what fits") {
  EstimateRequest request = lite_on_a100();
  request.hybrid = {"softmax"};
  request.phases = {"prefill", "e2e"};
  request.ctx = {32768};
  request.gen = {1};
  request.batch = {37};
  const auto e = points(request);
  REQUIRE(e.size() == 2);
  const int64_t fit = *e[0].sequences_fit;
  REQUIRE(37 / fit == 2);
  EstimateRequest part = request;
  part.batch = {fit, 37 % fit};
  const auto parts = points(part);
  const double waves = 2 * parts[0].prediction->seconds + parts[1].prediction->seconds;
  REQUIRE(*e[0].seconds_within_memory == Approx(waves).epsilon(1e-12));
  REQUIRE(*e[1].seconds_within_memory == Approx(waves).epsilon(1e-12));  // one token: the prefill's
  // A model that does not fit at all has a prediction, but none within this memory.
  request.model = "ring-flash-2.0";
  REQUIRE(*points(request)[0].sequences_fit == 0);
  REQUIRE_FALSE(points(request)[0].seconds_within_memory);
}

TEST_CASE("estimate: what runs together has the workspace, however many wait") {
  EstimateRequest request = lite_on_a100();
  request.device = "h20";
  request.batch = {64, 100000};  // logits of 100000 sequences alone would fill the card
  const auto e = points(request);
  REQUIRE(e[2].memory.workspace > 40'000'000'000);
  for (const size_t i : {0u, 1u}) REQUIRE(*e[i].sequences_fit - *e[i + 2].sequences_fit <= 1);
  REQUIRE(*e[2].speedup_equal_memory > 1);
}

TEST_CASE("estimate: grid, twins and defaults") {
  EstimateRequest request;
  request.device = "h200";
  request.ctx = {1024, 2048};
  request.gen = {16, 32};
  request.hybrid = {"model", "3:1", "softmax"};  // the first two are the same
  const auto e = points(request);
  REQUIRE(e.size() == 2 * 2 + 2 * 2 * 2);  // prefill has no --gen
  for (const Estimate& one : e) {
    REQUIRE(one.model == "ring-nano-linear");
    REQUIRE(one.work.dtype == DType::bf16);
    REQUIRE(one.work.chunk == 8192);
    REQUIRE(one.speedup_equal_batch.has_value() == (one.hybrid == "3:1"));
  }
  request.hybrid = {"linear"};
  REQUIRE_FALSE(points(request)[0].speedup_equal_batch);
}

TEST_CASE("estimate: a machine of which nothing is known has counts and no times; a calibration brings them") {
  const Folder folder;
  EstimateRequest request;
  request.ctx = {1024};
  const auto counted = estimate_points(request, {});
  REQUIRE_FALSE(counted[0].prediction);
  REQUIRE(counted[0].least.flops > 0);
  std::ostringstream out;
  write_estimates(out, Format::table, counted, {});
  REQUIRE(contains(out.str(), "doctor --calibrate"));
  REQUIRE_FALSE(contains(out.str(), "tok/s"));

  DeviceModel cpu;
  cpu.name = "a CPU";
  cpu.kind = "calibrated";
  cpu.source = "test";
  cpu.engine = "reference";
  cpu.memory_bytes = 8'000'000'000;
  cpu.memory_gbps = 20;
  cpu.tflops = {{DType::f32, 0.1}, {DType::f64, 0.05}};
  save_device(cpu, folder.path / "cpu.json");
  request.device = (folder.path / "cpu.json").string();
  const auto e = points(request);
  REQUIRE(e[0].work.dtype == DType::f32);  // what it has a peak for
  REQUIRE(e[0].work.chunk == 512);
  REQUIRE(e[0].device_kind == "calibrated");
  REQUIRE(e[0].prediction->seconds > e[0].least.flops / 1e11);
}

TEST_CASE("estimate: json and csv have the same flat rows") {
  EstimateRequest request = lite_on_a100();
  request.format = Format::json;
  const auto rows = nlohmann::json::parse(text(request));
  REQUIRE(rows.size() == 2);
  REQUIRE(rows[0]["schema"] == "ringbench.estimate/1");
  REQUIRE(rows[0]["params_total"] == 17053681664);
  REQUIRE(rows[1]["speedup_equal_memory"].is_null());
  double parts = 0;
  for (const auto& [key, value] : rows[0].items())
    if (key.starts_with("seconds_")) parts += value.get<double>();
  REQUIRE(parts == Approx(rows[0]["predicted_s"].get<double>()).epsilon(1e-12));
  request.format = Format::csv;
  std::istringstream csv(text(request));
  std::string header, first, second, none;
  REQUIRE(std::getline(csv, header));
  REQUIRE(std::getline(csv, first));
  REQUIRE(std::getline(csv, second));
  REQUIRE_FALSE(std::getline(csv, none));
  const auto commas = [](const std::string& line) { return std::count(line.begin(), line.end(), ','); };
  REQUIRE(commas(header) + 1 == static_cast<int64_t>(rows[0].size()));
  REQUIRE(commas(first) == commas(header));
  REQUIRE(contains(first, ",17053681664,"));
}

TEST_CASE("estimate: what cannot be asked is refused") {
  const auto refused = [](auto change, const char* why) {
    EstimateRequest request = lite_on_a100();
    change(request);
    REQUIRE_THROWS_WITH(points(request), Catch::Contains(why));
  };
  refused([](auto& r) { r.phases = {"prefill"}, r.ctx = {0}; }, "needs a prompt of at least 1 token");
  refused([](auto& r) { r.requests = 63; }, "--requests 63 is less than --batch 64");
  refused([](auto& r) { r.ctx = {int64_t{1} << 39}; }, "too large");
  refused([](auto& r) { r.dtype = DType::f64; }, "states no peak for f64");
  refused([](auto& r) { r.device = "h300"; }, "Did you mean h");
  refused([](auto& r) { r.ctx.assign(100001, 8); }, "more than 100000 points");
  REQUIRE_THROWS_AS(parse_estimate_dtype("fp8"), UsageError);
}
