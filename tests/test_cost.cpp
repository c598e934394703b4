// Counts of operations and bytes against plain loops, the published models' cache sizes, and what the reference engine
// reports of itself.
#include "harness/cost.h"

#include <algorithm>
#include <cmath>

#include "reference/engine.h"
#include "tests/catch.h"
#include "tests/checks.h"
#include "tests/golden.h"
#include "tests/preset.h"

using namespace ringbench;

namespace {

// Multiplications and additions of attention proper, token by token, layer by layer: two products with every key a
// token sees; for linear attention one update and one read of a [head_dim, head_dim] state.
double attention_flops(const ModelConfig& config, int64_t tokens, int64_t position) {
  double flops = 0;
  const double n = config.num_attention_heads, d = config.head_dim;
  for (const LayerType type : config.layer_types) {
    for (int64_t t = position; t < position + tokens; ++t) {
      int64_t keys = t + 1;
      if (type == LayerType::sliding_attention) keys = std::min(keys, config.sliding_window);
      flops += type == LayerType::linear_attention ? 4 * n * d * d : 4 * n * d * static_cast<double>(keys);
    }
  }
  return flops;
}

double lm_head_flops(const ModelConfig& config) {
  return 2 * static_cast<double>(config.hidden_size * config.vocab_size);
}

double flops(const ModelConfig& config, int64_t tokens, int64_t position, int64_t batch = 1) {
  return append_cost(config, tokens, position, batch, DType::f32).flops;
}

double bytes(const ModelConfig& config, int64_t tokens, int64_t position, int64_t batch, DType dtype) {
  return append_cost(config, tokens, position, batch, dtype).bytes;
}

}  // namespace

TEST_CASE("operations are those of plain loops over layers, tokens and visible keys") {
  for (const char* name : {"tiny", "ring-nano-linear", "ring-nano", "gpt-oss-20b"}) {  // the last one has windows, 128
    const ModelConfig config = preset(name);
    const double parameters = static_cast<double>(count_parameters(config).active_non_embedding);
    for (const int64_t tokens : {1, 2, 127, 128, 129, 300}) {
      for (const int64_t position : {0, 1, 100, 127, 128, 1000}) {
        INFO(name << ": " << tokens << " tokens at " << position);
        const double one = attention_flops(config, tokens, position) + 2 * static_cast<double>(tokens) * parameters +
                           lm_head_flops(config);
        REQUIRE(near(flops(config, tokens, position), one));
        REQUIRE(near(flops(config, tokens, position, 3), 3 * one));
      }
    }
  }
}

TEST_CASE("a prefill costs the sum of its chunks, but for the logits between them") {
  for (const char* name : {"ring-nano-linear", "gpt-oss-20b"}) {
    const ModelConfig config = preset(name);
    double chunks = 0;
    for (int64_t p = 0; p < 1000; p += 64) chunks += flops(config, std::min<int64_t>(64, 1000 - p), p);
    REQUIRE(near(flops(config, 1000, 0), chunks - 15 * lm_head_flops(config)));
  }
}

TEST_CASE("linear layers cost the same at every depth, softmax layers grow with it") {
  const ModelConfig linear = preset("ring-nano-linear").with_hybrid_ratio(HybridRatio::parse("linear"));
  REQUIRE(flops(linear, 64, 0) == flops(linear, 64, 1'000'000));
  REQUIRE(bytes(linear, 1, 0, 1, DType::f32) == bytes(linear, 1, 1'000'000, 1, DType::f32));
  const ModelConfig softmax = preset("ring-nano");
  // 4 operations for each head, channel and key; 2 values for each kv head and channel.
  const double deeper = flops(softmax, 1, 1001) - flops(softmax, 1, 1);
  REQUIRE(near(deeper, 8.0 * 4 * 4 * 64 * 1000));
  const double more_bytes = bytes(softmax, 1, 1001, 1, DType::f32) - bytes(softmax, 1, 1, 1, DType::f32);
  REQUIRE(near(more_bytes, 8.0 * 2 * 64 * 4 * 1000));
}

TEST_CASE("sliding layers read no more of the cache than their window") {
  const ModelConfig config = preset("gpt-oss-20b");
  const double sliding = config.count(LayerType::sliding_attention), full = config.count(LayerType::softmax_attention),
               window = static_cast<double>(config.sliding_window),
               key_and_value = 2.0 * config.num_key_value_heads * config.head_dim * 2;  // bf16
  REQUIRE(sliding > 0);
  // Reads, and the one new token's writes, of each sequence.
  const auto cache = [&](double depth) {
    return key_and_value * (full * (depth + 1) + sliding * std::min(depth + 1, window) + full + sliding);
  };
  const double empty = bytes(config, 1, 0, 1, DType::bf16) - cache(0);
  for (const int64_t depth : {1, 126, 127, 128, 100'000})
    REQUIRE(near(bytes(config, 1, depth, 1, DType::bf16), empty + cache(static_cast<double>(depth))));
}

TEST_CASE("a step of one token reads the active weights, a large batch all but the embeddings") {
  for (const char* name : {"ring-mini-linear-2.0", "ring-lite-linear", "gpt-oss-20b", "qwen3-8b"}) {
    INFO(name);
    const ModelConfig config = preset(name);
    const ParameterCounts parameters = count_parameters(config);
    const auto embedding = static_cast<double>(config.hidden_size * config.vocab_size);
    const auto rest = [&](int64_t batch) {  // caches and states
      const double window = static_cast<double>(config.sliding_window);
      const double kv = static_cast<double>(kv_bytes_per_token(config, DType::bf16));
      REQUIRE((window == 0 || window > 1));
      return static_cast<double>(batch) * (2 * kv + 2 * static_cast<double>(state_bytes(config, DType::bf16)));
    };
    REQUIRE(near(bytes(config, 1, 0, 1, DType::bf16) - rest(1),
                 2 * (static_cast<double>(parameters.active_non_embedding) + embedding)));
    REQUIRE_FALSE(config.tie_word_embeddings);
    const double all = bytes(config, 1, 0, 1'000'000, DType::bf16) - rest(1'000'000);
    // The difference of numbers near 1e13: 1e-16 of that is a few hundred bytes of 1e10.
    REQUIRE(std::abs(all / (2 * (static_cast<double>(parameters.total) - embedding)) - 1) <= 1e-6);
  }
}

TEST_CASE("cache sizes of the published models: KV bytes a token, states, and the hybrid's share of its twin") {
  struct Row {
    const char* model;
    int64_t kv, twin_kv, state;
    double share_16k, share_32k, share_128k;
  };
  for (const Row& row : {Row{"ring-lite-linear", 8192, 57344, 25165824, 0.170, 0.156, 0.146},
                         Row{"ring-mini-linear-2.0", 8192, 40960, 16777216, 0.225, 0.213, 0.203},
                         Row{"ring-flash-linear-2.0", 8192, 65536, 58720256, 0.180, 0.152, 0.132}}) {
    INFO(row.model);
    const ModelConfig config = preset(row.model), twin = config.with_hybrid_ratio(HybridRatio::parse("softmax"));
    REQUIRE(kv_bytes_per_token(config, DType::bf16) == row.kv);
    REQUIRE(kv_bytes_per_token(config, DType::f32) == 2 * row.kv);
    REQUIRE(kv_bytes_per_token(twin, DType::bf16) == row.twin_kv);
    REQUIRE(state_bytes(config, DType::bf16) == row.state);  // never less than f32
    REQUIRE(state_bytes(config, DType::f32) == row.state);
    REQUIRE(state_bytes(config, DType::f64) == 2 * row.state);
    REQUIRE(state_bytes(twin, DType::bf16) == 0);
    for (const auto& [ctx, share] :
         {std::pair{16384, row.share_16k}, std::pair{32768, row.share_32k}, std::pair{131072, row.share_128k}})
      REQUIRE(std::abs(static_cast<double>(ctx * row.kv + row.state) / static_cast<double>(ctx * row.twin_kv) -
                       share) <= 0.00051);
  }
  REQUIRE(kv_bytes_per_token(preset("qwen3-8b"), DType::bf16) == 147456);
  REQUIRE(kv_bytes_per_token(preset("qwen3-32b"), DType::bf16) == 262144);
}

TEST_CASE("counted bytes are those the reference engine reports, exactly") {
  for (const char* name : {"v1_hybrid", "v2_hybrid", "v2_softmax", "gpt_oss", "qwen3"}) {
    const ModelConfig config = ModelConfig::load(goldens() / name / "config.json");
    const Weights weights = Weights::random(config, 1);
    for (const DType dtype : {DType::f32, DType::f64}) {
      INFO(name << " " << name_of(dtype));
      EngineOptions options;
      options.dtype = dtype;
      options.slots = 3;
      options.max_tokens = 40;
      const auto engine = make_reference_engine(config, weights, options);
      REQUIRE(engine->report().memory.kv == 0);
      const std::vector<int32_t> ids(29, 5);
      engine->forward(std::vector<Step>{{0, ids}, {2, std::span(ids).first(7)}}, Rows::none);
      const Memory held = engine->report().memory;
      REQUIRE(held.kv == (29 + 7) * kv_bytes_per_token(config, dtype));
      REQUIRE(held.state == 3 * state_bytes(config, dtype));
      REQUIRE(held.weights == count_parameters(config).total * size_of(dtype));
      const Memory planned = plan_reference_memory(config, options);
      REQUIRE(planned.kv == 3 * 40 * kv_bytes_per_token(config, dtype));
      REQUIRE(planned.state == held.state);
      REQUIRE(planned.weights == held.weights);
    }
  }
}

TEST_CASE("every operator of every preset: what is done is at least the least, and the least adds up") {
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(RINGBENCH_SOURCE_DIR) / "configs" / "models")) {
    const ModelConfig config = preset(entry.path().stem());
    INFO(config.name);
    const CostModel model(config, DType::bf16);
    for (const int64_t tokens : {1, 100, 4096}) {
      double sum = 0;
      for (const Operation& op : model.append(tokens, 1000, 2)) {
        INFO(name_of(op.part));
        REQUIRE(op.count >= 1);
        REQUIRE(op.done.flops >= op.least.flops);
        REQUIRE(op.done.bytes >= op.least.bytes);
        REQUIRE(op.done.bytes >= 0);
        sum += op.count * op.least.flops;
      }
      REQUIRE(near(sum, flops(config, tokens, 1000, 2)));
      // Logits cost what the head costs.
      double without = 0;
      for (const Operation& op : model.append(tokens, 1000, 2, false)) without += op.count * op.least.flops;
      REQUIRE(near(sum - without, 2 * lm_head_flops(config)));
    }
  }
}

TEST_CASE("activations are counted by hand: a chunk of one small hybrid") {
  const ModelConfig c = preset("tiny");  // hidden 64, 4 heads of 16, 2 kv heads, LLLS or the like
  REQUIRE(
      (c.hidden_size == 64 && c.num_attention_heads * c.head_dim == 64 && c.num_key_value_heads * c.head_dim == 32));
  double linear = 0, softmax = 0;
  const double T = 10, B = 2, size = 4;
  for (const Operation& op : CostModel(c, DType::f32).append(10, 7, 2)) {
    const double moved = (op.done.bytes - op.least.bytes) / (T * B * size);  // values a token
    if (op.part == Part::lightning) {
      linear += 1;
      REQUIRE(near(moved, 6 * 64));                                            // q k v, out, k v again
      REQUIRE(near(op.done.flops - op.least.flops, T * B * 4 * 4 * 16 * 64));  // 4 d a head and token of a chunk
      REQUIRE(near(op.least.bytes, B * 2 * 4 * 16 * 16 * 4));                  // states, read and written
    }
    if (op.part == Part::attention) {
      softmax += 1;
      REQUIRE(near(moved, 2 * 64));                                  // q, out
      REQUIRE(near(op.least.bytes, B * (17 + 10) * 2 * 32 * size));  // 17 rows read, 10 written
    }
  }
  REQUIRE((linear == 1 && softmax == 1));
}

TEST_CASE("memory access of one step by kind of attention") {
  const ModelConfig config = preset("ring-mini-linear-2.0");  // 16 heads of 128, 4 kv heads; 16 linear of 20 layers
  const LatentWidths latent = LatentWidths::load();
  REQUIRE(latent.kv_lora_rank == 512);
  REQUIRE(latent.qk_rope_head_dim == 64);
  const MemoryAccess at = memory_access(config, latent, 32766, DType::bf16);
  REQUIRE(at.mha == 32768.0 * 2 * 16 * 128 * 2);
  REQUIRE(at.gqa == at.mha / 4);
  REQUIRE(at.mla == 32768.0 * 576 * 2);
  REQUIRE(at.linear == 2.0 * 16 * 128 * 128 * 4);
  REQUIRE(near(at.hybrid, (4 * at.gqa + 16 * at.linear) / 20));
  const MemoryAccess later = memory_access(config, latent, 65534, DType::bf16);
  REQUIRE(later.linear == at.linear);
  REQUIRE(later.mha == 2 * at.mha);
  // All linear and all softmax are the ends of the hybrid.
  const auto with = [&](const char* ratio) { return config.with_hybrid_ratio(HybridRatio::parse(ratio)); };
  REQUIRE(near(memory_access(with("linear"), latent, 1000, DType::bf16).hybrid, at.linear));
  REQUIRE(near(memory_access(with("softmax"), latent, 32766, DType::bf16).hybrid, at.gqa));
}
