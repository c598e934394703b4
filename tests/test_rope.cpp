// Rotary angles against tests/goldens/yarn.json: frequencies, attention factor, cos and sin at far positions.
#include <fstream>
#include <nlohmann/json.hpp>

#include "reference/rope.h"
#include "tests/catch.h"
#include "tests/golden.h"

using namespace ringbench;
using nlohmann::json;

TEST_CASE("YaRN frequencies, factors, cos and sin meet every golden case") {
  const json file = json::parse(std::ifstream(goldens() / "yarn.json"));
  for (const json& golden : file["cases"]) {
    INFO(golden["name"]);
    // Through the config reader, which resolves mscale and the like.
    json checkpoint = json::parse(std::ifstream(goldens() / "qwen3" / "config.json"));
    for (const char* key :
         {"rope_theta", "head_dim", "partial_rotary_factor", "max_position_embeddings", "rope_scaling"})
      checkpoint[key] = golden[key];
    const ModelConfig config = ModelConfig::parse(checkpoint.dump(), "yarn.json");
    REQUIRE(config.rotary_dim == golden["rotary_dim"].get<int>());
    const double factor = config.rope_scaling ? config.rope_scaling->attention_factor : 1.0;
    REQUIRE(std::abs(factor - golden["attention_factor"].get<double>()) <= 1e-14);
    const auto frequencies = inverse_frequencies(config.rotary_dim, config.rope_theta, config.rope_scaling);
    const std::vector<double> expected = golden["inv_freq"];
    REQUIRE(frequencies.size() == expected.size());
    for (size_t j = 0; j < expected.size(); ++j) REQUIRE(std::abs(frequencies[j] - expected[j]) <= 1e-14 * expected[j]);

    const std::vector<int64_t> positions = golden["positions"];
    const RopeTable<double> table(frequencies, factor, positions, RopeAngles::f64);
    for (size_t p = 0; p < positions.size(); ++p) {
      for (size_t j = 0; j < expected.size(); ++j) {
        // An angle of n radians carries a rounding error of n 1e-16.
        const double budget = 1e-15 * static_cast<double>(positions[p]) + 1e-15;
        const auto row = static_cast<int64_t>(p), column = static_cast<int64_t>(j);
        REQUIRE(std::abs(table.cos(row, column) - golden["cos"][p][j].get<double>()) <= budget);
        REQUIRE(std::abs(table.sin(row, column) - golden["sin"][p][j].get<double>()) <= budget);
      }
    }
  }
}

TEST_CASE("f32 angles are the public code's: the f32 product of position and frequency") {
  const auto frequencies = inverse_frequencies(64, 1e6, std::nullopt);
  const std::vector<int64_t> positions{0, 1, 131071, 524287};
  const RopeTable<double> table(frequencies, 1.0, positions, RopeAngles::f32);
  for (int64_t p = 0; p < 4; ++p)
    for (int64_t j = 0; j < 32; ++j) {
      const float angle = static_cast<float>(positions[static_cast<size_t>(p)]) *
                          static_cast<float>(frequencies[static_cast<size_t>(j)]);
      REQUIRE(table.cos(p, j) == std::cos(static_cast<double>(angle)));
    }
  const RopeTable<double> exact(frequencies, 1.0, positions, RopeAngles::f64);
  const double far = (table.cos.row(3) - exact.cos.row(3)).cwiseAbs().maxCoeff();
  REQUIRE(far > 1e-4);  // the modes differ where it matters
  REQUIRE(far < 0.1);
}
