// test_random.cpp: random weights made on the device are the host's, bit for bit.
#include <bit>

#include "reference/weights.h"
#include "tests/cuda/variants.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

uint32_t bits_of(float x) { return std::bit_cast<uint32_t>(x); }
uint32_t bits_of(bf16 x) { return x.bits; }

// `want(i, j, l)` is the element of out [a, b, c].
template <class Real, class Want>
void check_fill(RandomFillArgs<Real> args, const std::string& what, const Want& want) {
  const DeviceBuffer<Real> out(args.a * args.b * args.c);
  args.out = out.data();
  for_variants(args, {"plain"}, what, [&](const auto& kernel, const std::string& name) {
    run_variant(kernel, args);
    const std::vector<Real> values = download(out);
    int64_t wrong = 0;
    for (int64_t i = 0; i < args.a; ++i)
      for (int64_t j = 0; j < args.b; ++j)
        for (int64_t l = 0; l < args.c; ++l)
          wrong += bits_of(values[static_cast<size_t>((i * args.b + j) * args.c + l)]) != bits_of(want(i, j, l));
    INFO(name);
    CHECK(wrong == 0);
  });
}

}  // namespace

TEST_CASE("random_fill makes the weights that Weights::random makes", "[cuda]") {
  constexpr uint64_t seed = 11;
  const ModelConfig config = ModelConfig::load(std::string(RINGBENCH_SOURCE_DIR) + "/configs/models/tiny.json");
  const Weights weights = Weights::random(config, seed);
  std::set<std::pair<Init, DType>> kinds;
  for (const TensorSpec& spec : expected_tensors(config)) {
    if (!kinds.emplace(spec.init, spec.dtype).second && kSmallShapesOnly) continue;
    std::vector<float> host(static_cast<size_t>(spec.size()));
    weights.read<float>(spec.name, host);
    const uint64_t key = random_key(seed, spec.name);
    const bool rounded = spec.dtype == DType::bf16;
    const RandomNormal normal = spec.init == Init::around_one ? RandomNormal::around_one(key, spec.scale)
                                                              : RandomNormal::around_zero(key, spec.scale);
    check_fill<float>({.normal = normal, .c = spec.size(), .round_to_bf16 = rounded}, spec.name,
                      [&](int64_t, int64_t, int64_t l) { return host[static_cast<size_t>(l)]; });
    check_fill<bf16>({.normal = normal, .c = spec.size(), .round_to_bf16 = rounded}, spec.name,
                     [&](int64_t, int64_t, int64_t l) { return bf16(host[static_cast<size_t>(l)]); });
  }
  CHECK(kinds.size() >= 3);  // matrices, norms, and what is published as f32
}

TEST_CASE("random_fill transposes, takes parts, and counts beyond 2^31", "[cuda]") {
  const RandomNormal normal = RandomNormal::around_zero(random_key(3, "w"), 0.05f);
  const auto value = [&](int64_t index) { return normal(static_cast<uint64_t>(index)); };
  // [2, 5, 300] from a tensor [2, 300, 5].
  check_fill<float>({.normal = normal,
                     .a = 2,
                     .b = 5,
                     .c = 300,
                     .stride_a = 1500,
                     .stride_b = 1,
                     .stride_c = 5,
                     .round_to_bf16 = false},
                    "transposed", [&](int64_t i, int64_t j, int64_t l) { return value(i * 1500 + j + l * 5); });
  if (kSmallShapesOnly) return;
  constexpr int64_t first = (int64_t{1} << 33) + 3, far = int64_t{1} << 32;
  check_fill<bf16>({.normal = normal, .a = 3, .b = 2, .c = 7, .first = first, .stride_a = far, .stride_b = 17}, "far",
                   [&](int64_t i, int64_t j, int64_t l) { return bf16(value(first + i * far + j * 17 + l)); });
  check_fill<bf16>({.normal = normal, .c = 9001, .first = 5}, "several blocks",
                   [&](int64_t, int64_t, int64_t l) { return bf16(value(5 + l)); });
}

}  // namespace ringbench::RINGBENCH_BACKEND
