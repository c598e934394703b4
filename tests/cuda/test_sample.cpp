// test_sample.cpp: greedy and random choice of tokens: against a loop, a sort in f64 and tests/goldens/sampling.json;
// and advance.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "tests/cuda/variants.h"
#include "tests/golden.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

void test_argmax(const std::vector<float>& logits, int64_t vocab_size, const std::string& what) {
  const int64_t rows = static_cast<int64_t>(logits.size()) / vocab_size;
  std::vector<int32_t> truth;
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = logits.data() + r * vocab_size;
    int32_t best = -1;
    for (int32_t i = 0; i < vocab_size; ++i)
      if (!std::isnan(row[i]) && (best < 0 || row[i] > row[best])) best = i;
    truth.push_back(std::max(best, 0));
  }
  const auto device_logits = upload<float>(logits);
  const DeviceBuffer<int32_t> out(rows);
  const ArgmaxArgs args{.out = out.data(), .logits = device_logits.data(), .rows = rows, .vocab_size = vocab_size};
  for_variants(args, {"plain", "blocks"}, what, [&](const auto& kernel, const std::string& name) {
    INFO(name);
    set_zero(out.data(), out.size(), Stream{});
    run_variant(kernel, args);
    CHECK(download(out) == truth);
  });
}

struct Filters {
  double temperature = 1;
  int top_k = 0;
  double top_p = 1, min_p = 0;
};

// Probabilities of all tokens, by sorting. Of equals the lowest id comes first where top-p cuts between them.
std::vector<double> probabilities(const std::vector<float>& logits, const Filters& f) {
  std::vector<size_t> order;
  for (size_t i = 0; i < logits.size(); ++i)
    if (!std::isnan(logits[i])) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  std::vector<double> weight(logits.size(), 0.0);
  const double largest = logits[order[0]];
  for (const size_t i : order) weight[i] = std::exp((logits[i] - largest) / f.temperature);

  if (f.top_k > 0 && static_cast<size_t>(f.top_k) < order.size()) {
    const float smallest = logits[order[static_cast<size_t>(f.top_k) - 1]];
    std::erase_if(order, [&](size_t i) { return logits[i] < smallest; });
  }
  if (f.top_p < 1) {
    double all = 0, sum = 0;
    for (const size_t i : order) all += weight[i];
    size_t kept = 0;
    while (kept < order.size() && (kept == 0 || sum < f.top_p * all)) sum += weight[order[kept++]];
    order.resize(kept);
  }
  std::erase_if(order, [&](size_t i) { return weight[i] < f.min_p; });
  double all = 0;
  for (const size_t i : order) all += weight[i];
  std::vector<double> p(logits.size(), 0.0);
  for (const size_t i : order) p[i] = weight[i] / all;
  return p;
}

// What the formula of SampleArgs draws: the first id at which the running sum of probabilities exceeds the draw. Sums
// of float exponentials are off by a few 2^-24, times the |logit / temperature| of those that matter (below 30).
constexpr double kSlack = 64 * 0x1p-24;

void test_draws(const std::vector<float>& logits, const Filters& filters, const std::vector<double>& p, int64_t draws,
                const std::string& what) {
  const int64_t vocab_size = static_cast<int64_t>(logits.size());
  std::vector<float> all_logits;
  std::vector<uint64_t> seeds;
  std::vector<int64_t> counters;
  for (int64_t r = 0; r < draws; ++r) {
    all_logits.insert(all_logits.end(), logits.begin(), logits.end());
    seeds.push_back(static_cast<uint64_t>(r % 3) << 40 | 17);
    counters.push_back(r * r);
  }
  const auto device_logits = upload<float>(all_logits);
  const auto device_seeds = upload<uint64_t>(seeds);
  const auto device_counters = upload<int64_t>(counters);
  const DeviceBuffer<int32_t> out(draws);
  const SampleArgs args{.out = out.data(),
                        .logits = device_logits.data(),
                        .seeds = device_seeds.data(),
                        .counters = device_counters.data(),
                        .temperature = static_cast<float>(filters.temperature),
                        .top_p = static_cast<float>(filters.top_p),
                        .min_p = static_cast<float>(filters.min_p),
                        .top_k = filters.top_k,
                        .rows = draws,
                        .vocab_size = vocab_size};
  for_variants(args, {"plain"}, what, [&](const auto& kernel, const std::string& name) {
    run_variant(kernel, args);
    const std::vector<int32_t> drawn = download(out);
    for (size_t r = 0; r < drawn.size(); ++r) {
      const uint64_t bits = random_bits(random_key(seeds[r], "sample"), static_cast<uint64_t>(counters[r]));
      const double draw = std::ldexp(static_cast<double>(bits), -64);
      INFO(name << ", draw " << r << ": " << draw << " took token " << drawn[r]);
      REQUIRE(drawn[r] >= 0);
      REQUIRE(drawn[r] < vocab_size);
      const double before = std::accumulate(p.begin(), p.begin() + drawn[r], 0.0),
                   mine = p[static_cast<size_t>(drawn[r])];
      CHECK(mine > 0);
      CHECK(before <= draw + kSlack);
      CHECK(draw <= before + mine + kSlack);
    }
  });
}

std::vector<float> floats(int64_t count, const std::string& name, double sigma) {
  const auto values = random_values(count, name, sigma);
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("argmax takes the largest logit, the lowest id among equals, and no NaN", "[cuda]") {
  test_argmax({3}, 1, "one");
  test_argmax({kNan, -kInf, kNan, -5, -5}, 5, "NaN first");
  test_argmax({kNan, -kInf, kNan}, 3, "NaN and -inf");
  test_argmax({kNan, kNan}, 2, "NaN alone");
  test_argmax({-0.0f, 0.0f, -1, -1, 0.0f, -0.0f}, 3, "zeros");
  test_argmax({1, kInf, 2, kInf}, 4, "infinity");
  test_argmax({-1e-45f, -1e-40f, -3e38f}, 3, "subnormal");
  if (kSmallShapesOnly) return;
  for (const int64_t vocab_size : {31, 4095, 4096, 4097, 9001}) {  // of many equals, in slices of 4096
    std::vector<float> logits = floats(3 * vocab_size, "logits", 1);
    for (float& x : logits) x = std::round(2 * x);
    logits[static_cast<size_t>(vocab_size)] = kNan;
    logits[static_cast<size_t>(3 * vocab_size - 1)] = 100;
    test_argmax(logits, vocab_size, std::to_string(vocab_size));
  }
}

TEST_CASE("sample draws what the goldens' probabilities say", "[cuda]") {
  std::ifstream file(goldens() / "sampling.json");
  const nlohmann::json golden = nlohmann::json::parse(file);
  int count = 0;
  for (const auto& c : golden["cases"]) {
    // The penalty is applied to the logits before they come here, so it is done here.
    std::vector<double> exact = c["logits"];
    const double penalty = c["repetition_penalty"];
    std::vector<int64_t> history = c["history"];
    std::sort(history.begin(), history.end());
    history.erase(std::unique(history.begin(), history.end()), history.end());
    for (const int64_t i : history) {
      double& x = exact[static_cast<size_t>(i)];
      x = x > 0 ? x / penalty : x * penalty;
    }
    const Filters filters{c["temperature"], c["top_k"], c["top_p"], c["min_p"]};
    const std::vector<double> p = c["probs"];
    test_draws({exact.begin(), exact.end()}, filters, p, kSmallShapesOnly ? 1 : 40, c["name"]);
    ++count;
  }
  CHECK(count == 32);
}

TEST_CASE("sample agrees with a sort of a larger vocabulary", "[cuda]") {
  if (kSmallShapesOnly) return;
  const std::vector<float> logits = floats(5003, "logits", 2);  // each a bf16: there are many equals
  int i = 0;
  for (const Filters& f : {Filters{}, Filters{0.6, 0, 0.95, 0}, Filters{1.5, 300, 1, 0}, Filters{1, 300, 0.9, 0},
                           Filters{0.8, 0, 1, 0.02}, Filters{1.2, 1000, 0.99, 0.001}, Filters{1, 1, 1, 0}})
    test_draws(logits, f, probabilities(logits, f), 25, "5003 tokens, filters " + std::to_string(i++));
}

TEST_CASE("sample cuts between equals at the lowest ids, and never takes a NaN", "[cuda]") {
  const std::vector<float> equal{-1, 2, 2, kNan, 2, 2, 0, 2, 2};
  const Filters half{1, 0, 0.45, 0};  // 6 equals of 0.161 each, and little else: the first three
  const std::vector<double> p = probabilities(equal, half);
  CHECK(p == std::vector<double>{0, 1 / 3., 1 / 3., 0, 1 / 3., 0, 0, 0, 0});
  test_draws(equal, half, p, kSmallShapesOnly ? 2 : 60, "equals");
  if (kSmallShapesOnly) return;
  std::vector<float> flat(1000, 0.5f);  // several warps of equals
  const Filters some{1, 0, 0.7301, 0};
  const std::vector<double> first = probabilities(flat, some);
  CHECK(first[730] > 0);
  CHECK(first[731] == 0);
  test_draws(flat, some, first, 60, "flat");
  test_draws({1, -0.0f, 0, kNan, 1}, {1, 4, 0.9, 0.2}, probabilities({1, -0.0f, 0, kNan, 1}, {1, 4, 0.9, 0.2}), 60,
             "two zeros");
  test_draws({5, kInf, 4, kInf}, {}, {0, 0.5, 0, 0.5}, 20, "infinite");
  test_draws({kNan, -kInf, 3}, {}, {0, 0, 1}, 20, "one number");
}

TEST_CASE("advance moves every piece on by its rows", "[cuda]") {
  DeviceBatch batch({1, 7, 1}, {0, 5, 1'000'000'000'000});
  const AdvanceArgs args{.pieces = batch.device_pieces.data(), .count = 3};
  run_variant(kernels<AdvanceArgs>()[0], args);
  const std::vector<Piece> after = download(batch.device_pieces);
  for (size_t i = 0; i < after.size(); ++i) {
    CHECK(after[i].position == batch.pieces[i].position + batch.pieces[i].rows);
    CHECK(after[i].rows == batch.pieces[i].rows);
    CHECK(after[i].slot == batch.pieces[i].slot);
    CHECK(after[i].row == batch.pieces[i].row);
  }
}

}  // namespace ringbench::RINGBENCH_BACKEND
