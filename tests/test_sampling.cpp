// Sampling against the probabilities of Hugging Face transformers (tests/goldens/sampling.json), and what is drawn.
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "evals/sampling.h"
#include "tests/catch.h"

using namespace ringbench;
using Json = nlohmann::json;

namespace {

Json golden_sampling() {
  std::ifstream in(RINGBENCH_SOURCE_DIR "/tests/goldens/sampling.json");
  return Json::parse(in);
}

std::vector<double> some_logits(size_t n) {
  std::vector<double> logits;
  for (size_t i = 0; i < n; ++i) logits.push_back(3 * std::sin(static_cast<double>(i * i)));
  return logits;
}

}  // namespace

TEST_CASE("probabilities are those of Hugging Face transformers", "[sampling]") {
  const Json cases = golden_sampling().at("cases");
  REQUIRE(cases.size() == 32);
  for (const Json& c : cases) {
    INFO(c.at("name").get<std::string>());
    const Sampling sampling = {c.at("temperature"), c.at("top_k"), c.at("top_p"), c.at("min_p"),
                               c.at("repetition_penalty")};
    sampling.check();
    const auto logits = c.at("logits").get<std::vector<double>>();
    std::vector<double> got(logits.size());
    const std::vector<Choice> kept = choices(sampling, logits, c.at("history").get<std::vector<int32_t>>());
    for (const Choice& choice : kept) got[static_cast<size_t>(choice.token)] = choice.probability;
    const auto want = c.at("probs").get<std::vector<double>>();
    for (size_t i = 0; i < want.size(); ++i) {
      CHECK((got[i] > 0) == (want[i] > 0));
      CHECK(std::abs(got[i] - want[i]) <= 1e-14 + 1e-12 * want[i]);  // f64 on both sides, sums in another order
    }
  }
}

TEST_CASE("temperature 0 takes the likeliest token, the lowest on ties, after the penalty", "[sampling]") {
  Sampling greedy;
  greedy.temperature = 0;
  const std::vector<double> logits = {1, 5, 5, 2};
  CHECK(choices(greedy, logits, {})[0].token == 1);
  greedy.repetition_penalty = 2;
  const std::vector<int32_t> history = {1, 1, 77, -3};  // what is no token of the vocabulary is passed over
  CHECK(choices(greedy, logits, history)[0].token == 2);
}

TEST_CASE("each token is drawn as often as its probability says", "[sampling]") {
  Sampling sampling;
  sampling.temperature = 0.8, sampling.top_p = 0.9;
  const std::vector<Choice> kept = choices(sampling, some_logits(20), {});
  REQUIRE(kept.size() > 3);
  std::map<int32_t, int> drawn;
  const int trials = 200000;
  for (int i = 0; i < trials; ++i) ++drawn[draw(kept, sampling_uniform(7, "question", i, 3))];
  double chi_square = 0;
  for (const Choice& choice : kept) {
    const double expected = trials * choice.probability;
    chi_square += std::pow(drawn[choice.token] - expected, 2) / expected;
  }
  const auto freedom = static_cast<double>(kept.size() - 1);
  CHECK(chi_square < freedom + 4 * std::sqrt(2 * freedom));  // four standard deviations
}

TEST_CASE("a draw depends on seed, question, sample and position alone, and on each of them", "[sampling]") {
  const double one = sampling_uniform(1, "a", 0, 0);
  CHECK(one == sampling_uniform(1, "a", 0, 0));
  CHECK(one != sampling_uniform(2, "a", 0, 0));
  CHECK(one != sampling_uniform(1, "b", 0, 0));
  CHECK(one != sampling_uniform(1, "a", 1, 0));
  CHECK(one != sampling_uniform(1, "a", 0, 1));
  for (int i = 0; i < 1000; ++i) {
    const double u = sampling_uniform(3, "q", i, i);
    CHECK((u >= 0 && u < 1));
  }
}

TEST_CASE("draw ends within the choices, whatever the rounding", "[sampling]") {
  const std::vector<Choice> kept = {{4, 0.25}, {9, 0.5}, {11, 0.2499999999}};
  CHECK(draw(kept, 0) == 4);
  CHECK(draw(kept, 0.25) == 9);
  CHECK(draw(kept, 0.75) == 11);
  CHECK(draw(kept, 0.99999999999) == 11);
}

TEST_CASE("sampling settings and logits that mean nothing are refused", "[sampling]") {
  const auto refused = [](Sampling s) { CHECK_THROWS_AS(s.check(), std::invalid_argument); };
  refused({.temperature = -0.1});
  refused({.temperature = NAN});
  refused({.temperature = INFINITY});
  refused({.top_k = -1});
  refused({.top_p = 0});
  refused({.top_p = 1.01});
  refused({.min_p = -0.1});
  refused({.min_p = 1.1});
  refused({.repetition_penalty = 0});
  CHECK_THROWS_AS(choices({}, {}, {}), std::invalid_argument);
  CHECK_THROWS_AS(choices({}, std::vector<double>{1, NAN}, {}), std::invalid_argument);
}
