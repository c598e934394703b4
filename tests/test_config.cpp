// test_config.cpp: configs of public models and presets are read as published, bad ones are refused by key, and layers,
// ratios and decays follow the published rules.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "reference/config.h"
#include "reference/sha256.h"
#include "tests/catch.h"
#include "tests/checks.h"
#include "tests/json_file.h"
#include "tests/preset.h"

using namespace ringbench;
using nlohmann::json;

namespace {

const std::filesystem::path root = RINGBENCH_SOURCE_DIR;

std::filesystem::path golden(const std::string& name) { return root / "tests/goldens" / name; }

ModelConfig parse(const json& document) { return ModelConfig::parse(document.dump(), "x.json"); }

// What `action` throws as ConfigError; empty if it does not throw.
template <class Action> std::string message_of(Action action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

bool any_has(const std::vector<std::string>& list, const std::string& part) {
  return std::any_of(list.begin(), list.end(), [&](const std::string& entry) { return contains(entry, part); });
}

// The smallest file each architecture accepts.
json minimal(const std::string& architecture) {
  json document = {{"architectures", {architecture}}, {"hidden_size", 64},        {"vocab_size", 100},
                   {"num_hidden_layers", 4},          {"num_attention_heads", 4}, {"num_key_value_heads", 2},
                   {"intermediate_size", 96}};
  if (architecture.starts_with("Bailing"))
    document.update({{"num_experts", 16}, {"num_experts_per_tok", 2}, {"moe_intermediate_size", 16}});
  if (architecture.starts_with("GptOss")) document.update({{"num_local_experts", 8}, {"num_experts_per_tok", 2}});
  return document;
}

}  // namespace

TEST_CASE("golden config: v1 hybrid") {
  const ModelConfig c = ModelConfig::load(golden("v1_hybrid/config.json"));
  CHECK(c.name == "v1_hybrid");
  CHECK(c.architecture == "BailingMoeLinearForCausalLM");
  CHECK(c.tensor_names == TensorNames::bailing);
  CHECK(c.hidden_size == 64);
  CHECK(c.vocab_size == 250);
  CHECK(c.num_attention_heads == 4);
  CHECK(c.num_key_value_heads == 2);
  CHECK(c.head_dim == 16);
  CHECK(c.rotary_dim == 16);
  CHECK(c.rms_norm_eps == 1e-5);
  CHECK(c.rope_theta == 600000.0);
  CHECK(c.layer_pattern() == "LLS LLS");
  CHECK(c.hybrid_label() == "2:1");
  CHECK(c.linear_key_value_heads == 4);
  CHECK(c.group_norm_size == 1);
  CHECK(c.router == Router::softmax_topk);
  CHECK(c.num_experts == 8);
  CHECK(c.num_experts_per_tok == 3);
  CHECK(c.moe_intermediate_size == 16);
  CHECK(c.shared_intermediate_size == 32);
  CHECK(c.n_group == 1);
  CHECK(c.routed_scaling_factor == 1.0);
  CHECK(c.is_moe(0));
  CHECK_FALSE(c.use_qk_norm);
  CHECK_FALSE(c.moe_router_enable_expert_bias);
  CHECK_FALSE(c.has_mtp());
  CHECK(c.bos_token_id == 1);
  CHECK(c.eos_token_ids == std::vector<int64_t>{2});
  CHECK(c.dtype == "f32");
  CHECK(c.trained_window() == 512);
  CHECK(c.defaulted_keys.empty());
}

TEST_CASE("a checkpoint is called by its folder, in the Hugging Face cache by its repository") {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / "ringbench-test-config";
  const auto name_in = [&](const std::string& below) {
    std::filesystem::create_directories(folder / below);
    std::filesystem::copy_file(golden("qwen3/config.json"), folder / below / "config.json",
                               std::filesystem::copy_options::overwrite_existing);
    return ModelConfig::load(folder / below / "config.json").name;
  };
  CHECK(name_in("my-checkpoint") == "my-checkpoint");
  CHECK(name_in("models--inclusionAI--Ring-mini-linear-2.0/snapshots/0123abcd") == "Ring-mini-linear-2.0");
  std::filesystem::remove_all(folder);
}

TEST_CASE("golden config: v1 softmax has norm_head") {
  const ModelConfig c = ModelConfig::load(golden("v1_softmax/config.json"));
  CHECK(c.norm_head);
  CHECK(c.layer_pattern() == "SSSS");
  CHECK(c.hybrid_label() == "softmax");
  CHECK(c.rms_norm_eps == 3e-5);
}

TEST_CASE("golden config: V2 hybrid") {
  const ModelConfig c = ModelConfig::load(golden("v2_hybrid/config.json"));
  CHECK(c.layer_pattern() == "LLS LLS");
  CHECK(c.group_norm_size == 2);
  CHECK(c.linear_key_value_heads == 4);
  CHECK(c.kv_heads(LayerType::linear_attention) == 4);
  CHECK(c.kv_heads(LayerType::softmax_attention) == 2);
  CHECK(c.use_qk_norm);
  CHECK(c.rotary_dim == 8);
  CHECK(c.router == Router::sigmoid_topk);
  CHECK(c.n_group == 4);
  CHECK(c.topk_group == 2);
  CHECK(c.routed_scaling_factor == 2.5);
  CHECK(c.moe_router_enable_expert_bias);
  CHECK(c.shared_intermediate_size == 16);
  CHECK(c.intermediate_size == 96);
  CHECK_FALSE(c.is_moe(0));
  CHECK(c.is_moe(1));
  CHECK(c.linear_rope);
  CHECK(c.defaulted_keys == std::vector<std::string>{"linear_rope=true"});
}

TEST_CASE("golden config: V2 hybrid with YaRN") {
  const ModelConfig c = ModelConfig::load(golden("v2_hybrid_d128_bf16/config.json"));
  REQUIRE(c.rope_scaling);
  CHECK(c.rope_scaling->factor == 4.0);
  CHECK(c.rope_scaling->original_max_position_embeddings == 64);
  CHECK(std::abs(c.rope_scaling->attention_factor - 1.138629436111989) <= 1e-15);
  CHECK(c.trained_window() == 256);
  CHECK(c.rotary_dim == 64);
  CHECK(c.dtype == "bf16");
  CHECK(c.notes.empty());
}

TEST_CASE("golden config: V2 softmax, with and without MTP layer") {
  CHECK_FALSE(ModelConfig::load(golden("v2_softmax/config.json")).has_mtp());
  const ModelConfig c = ModelConfig::load(golden("v2_softmax_mtp/config.json"));
  CHECK(c.has_mtp());
  CHECK(c.num_hidden_layers == 3);
  CHECK(c.n_group == 3);
  CHECK(c.layer_pattern() == "SSS");
}

TEST_CASE("golden config: Qwen2 and Qwen3") {
  const ModelConfig two = ModelConfig::load(golden("qwen2/config.json"));
  CHECK(two.tensor_names == TensorNames::qwen);
  CHECK(two.use_qkv_bias);
  CHECK_FALSE(two.use_bias);
  CHECK_FALSE(two.use_qk_norm);
  CHECK(two.head_dim == 16);
  CHECK(two.intermediate_size == 128);
  CHECK(two.num_experts == 0);
  CHECK_FALSE(two.is_moe(2));
  CHECK(two.layer_pattern() == "SSS");
  CHECK(two.defaulted_keys == std::vector<std::string>{"head_dim=16"});

  const ModelConfig three = ModelConfig::load(golden("qwen3/config.json"));
  CHECK_FALSE(three.use_qkv_bias);
  CHECK(three.use_qk_norm);
  CHECK(three.head_dim == 24);
  CHECK(three.rotary_dim == 24);
  CHECK(three.sliding_window == 0);
}

TEST_CASE("golden config: GPT-OSS") {
  const ModelConfig c = ModelConfig::load(golden("gpt_oss/config.json"));
  CHECK(c.tensor_names == TensorNames::gpt_oss);
  CHECK(c.layer_pattern() == "WSWS");
  CHECK(c.hybrid_label() == "WSWS");
  CHECK(c.sliding_window == 24);
  CHECK(c.attention_sinks);
  CHECK(c.use_qkv_bias);
  CHECK(c.use_bias);
  CHECK(c.moe_bias);
  CHECK(c.router == Router::topk_softmax);
  CHECK(c.num_experts == 8);
  CHECK(c.num_experts_per_tok == 3);
  CHECK(c.moe_intermediate_size == 32);
  CHECK(c.swiglu_limit == 7.0);
  CHECK(c.swiglu_alpha == 1.702);
  REQUIRE(c.rope_scaling);
  CHECK_FALSE(c.rope_scaling->truncate);
  CHECK(std::abs(c.rope_scaling->attention_factor - (0.1 * std::log(8.0) + 1.0)) <= 1e-15);
  CHECK(c.trained_window() == 256);
}

TEST_CASE("every preset loads, with the published layers and windows") {
  struct Expected {
    std::string pattern, label;
    int64_t window, card_window;  // card_window 0: the card recommends no YaRN
  };
  const std::string w12 = "WSWSWSWSWSWSWSWSWSWSWSWS";
  const std::map<std::string, Expected> all = {
      {"deepseek-r1-distill-qwen-7b", {std::string(28, 'S'), "softmax", 131072, 0}},
      {"gpt-oss-20b", {w12, w12, 131072, 0}},
      {"qwen3-32b", {std::string(64, 'S'), "softmax", 40960, 131072}},
      {"qwen3-8b", {std::string(36, 'S'), "softmax", 40960, 131072}},
      {"ring-flash-2.0", {std::string(32, 'S'), "softmax", 32768, 131072}},
      {"ring-flash-linear-2.0", {"LLLLLLLS LLLLLLLS LLLLLLLS LLLLLLLS", "7:1", 32768, 131072}},
      {"ring-flash-linear-2.0-128k", {"LLLLLLLS LLLLLLLS LLLLLLLS LLLLLLLS", "7:1", 131072, 524288}},
      {"ring-lite", {std::string(28, 'S'), "softmax", 16384, 65536}},
      {"ring-lite-linear", {"LLLLLLS LLLLLLS LLLLLLS LLLLLLS", "6:1", 16384, 65536}},
      {"ring-mini-2.0", {std::string(20, 'S'), "softmax", 32768, 131072}},
      {"ring-mini-linear-2.0", {"LLLLS LLLLS LLLLS LLLLS", "4:1", 131072, 524288}},
      {"ring-nano", {"SSSSSSSS", "softmax", 131072, 524288}},
      {"ring-nano-linear", {"LLLS LLLS", "3:1", 131072, 524288}},
      {"ring-pico", {"SSSS", "softmax", 131072, 524288}},
      {"ring-pico-linear", {"LLLS", "3:1", 131072, 524288}},
      {"tiny", {"LLLS", "3:1", 4096, 16384}},
  };
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(root / "configs/models"))
    files.insert(entry.path().stem().string());
  REQUIRE(files.size() == all.size());

  for (const auto& [name, expected] : all) {
    INFO(name);
    ModelConfig c = preset(name);
    CHECK(c.name == name);
    CHECK(c.layer_pattern() == expected.pattern);
    CHECK(c.hybrid_label() == expected.label);
    CHECK(c.trained_window() == expected.window);
    REQUIRE(c.card_yarn.has_value() == (expected.card_window > 0));
    if (!c.card_yarn) continue;
    c.rope_scaling = c.card_yarn;
    CHECK(c.trained_window() == expected.card_window);
  }
}

TEST_CASE("presets say what is open and leave little to defaults") {
  for (const char* name : {"ring-lite-linear", "ring-flash-linear-2.0", "ring-flash-linear-2.0-128k"})
    CHECK(any_has(preset(name).notes, "open: "));
  CHECK(any_has(preset("ring-lite-linear").notes, "layer_group_size 7"));
  CHECK(any_has(preset("ring-flash-linear-2.0").notes, "group_norm_size 4"));
  CHECK(preset("ring-mini-linear-2.0").defaulted_keys == std::vector<std::string>{"linear_rope=true"});
  CHECK(preset("deepseek-r1-distill-qwen-7b").head_dim == 128);
  CHECK(preset("ring-lite").shared_intermediate_size == 2816);
  CHECK(preset("ring-flash-linear-2.0").shared_intermediate_size == 1024);
}

TEST_CASE("missing keys take the class default of their architecture and are listed") {
  const ModelConfig v1 = parse(minimal("BailingMoeForCausalLM"));
  CHECK(v1.use_bias);  // the trap
  CHECK(v1.rms_norm_eps == 1e-5);
  CHECK(v1.rope_theta == 10000.0);
  CHECK(v1.max_position_embeddings == 16384);
  CHECK(v1.shared_intermediate_size == 0);
  CHECK(v1.head_dim == 16);
  CHECK(any_has(v1.defaulted_keys, "use_bias=true"));
  CHECK(any_has(v1.defaulted_keys, "rope_theta=10000.0"));
  CHECK(any_has(v1.defaulted_keys, "head_dim=16"));

  const ModelConfig v2 = parse(minimal("BailingMoeLinearV2ForCausalLM"));
  CHECK(v2.head_dim == 128);
  CHECK(v2.rotary_dim == 128);
  CHECK(v2.routed_scaling_factor == 1.0);
  CHECK(v2.layer_group_size == 1);
  CHECK(v2.hybrid_label() == "softmax");
  CHECK(v2.first_k_dense_replace == 1);
  CHECK(any_has(v2.defaulted_keys, "partial_rotary_factor=1.0"));

  const ModelConfig gpt = parse(minimal("GptOssForCausalLM"));
  CHECK(gpt.layer_pattern() == "WSWS");
  CHECK(gpt.sliding_window == 128);
  REQUIRE(gpt.rope_scaling);
  CHECK(gpt.rope_scaling->factor == 32.0);
  CHECK(gpt.trained_window() == 131072);

  CHECK(parse(minimal("Qwen3ForCausalLM")).head_dim == 128);
  CHECK(parse(minimal("Qwen2ForCausalLM")).max_position_embeddings == 32768);
}

TEST_CASE("every required size is asked for by name") {
  for (const char* architecture :
       {"BailingMoeForCausalLM", "BailingMoeLinearForCausalLM", "BailingMoeV2ForCausalLM",
        "BailingMoeLinearV2ForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "GptOssForCausalLM"}) {
    const json whole = minimal(architecture);
    REQUIRE(message_of([&] { parse(whole); }) == "");
    for (const auto& [key, value] : whole.items()) {
      const bool all_moe = std::string(architecture).starts_with("BailingMoeF") ||
                           std::string(architecture).starts_with("BailingMoeLinearF");
      if (key == "intermediate_size" && all_moe) continue;  // no dense MLP anywhere
      json cut = whole;
      cut.erase(key);
      const std::string message = message_of([&] { parse(cut); });
      INFO(architecture << " without " << key << ": " << message);
      CHECK(contains(message, "x.json"));
      CHECK(contains(message, key));
      CHECK(contains(message, "missing"));
    }
  }
}

TEST_CASE("bad values are refused in one line that names file and key") {
  struct Case {
    std::string config, key, value;  // value: JSON
    std::string expected;            // in the message, beside file and key
  };
  const std::vector<Case> cases = {
      {"v2_hybrid", "architectures", R"(["LlamaForCausalLM"])", "GptOssForCausalLM"},
      {"v2_hybrid", "architectures", R"("BailingMoeV2ForCausalLM")", "a list"},
      {"v2_hybrid", "moe_router_topk_scaling", "1", "unknown key"},
      {"qwen3", "n_group", "1", "unknown key"},
      {"v2_hybrid", "line\nbreak", "1", "unknown key"},
      {"v2_hybrid", "hidden_size", "\"64\"", "found \"64\""},
      {"v2_hybrid", "hidden_size", "64.0", "an integer"},
      {"v2_hybrid", "hidden_size", "-64", "found -64"},
      {"v2_hybrid", "hidden_size", "0", "found 0"},
      {"v2_hybrid", "hidden_size", "null", "found null"},
      {"v2_hybrid", "hidden_size", "4294967297", "to 2147483648"},
      {"v2_hybrid", "hidden_size", "18446744073709551615", "to 2147483648"},
      {"v2_hybrid", "hidden_size", "[64]", "found [64]"},
      {"v2_hybrid", "vocab_size", "true", "found true"},
      {"v2_hybrid", "num_hidden_layers", "0", "1 to 100000"},
      {"v2_hybrid", "num_hidden_layers", "100001", "1 to 100000"},
      {"v2_hybrid", "num_attention_heads", "3", "num_key_value_heads"},
      {"v2_hybrid", "num_key_value_heads", "3", "divisor"},
      {"v1_hybrid", "num_key_value_heads", "0", "found 0"},
      {"v2_hybrid", "head_dim", "15", "even"},
      {"v2_hybrid", "partial_rotary_factor", "1.5", "from 0.0 to 1.0"},
      {"v2_hybrid", "partial_rotary_factor", "0.01", "to rotate"},
      {"v2_hybrid", "rms_norm_eps", "0", "a number"},
      {"v2_hybrid", "rms_norm_eps", "\"1e-6\"", "a number"},
      {"v2_hybrid", "rope_theta", "-10000.0", "a number"},
      {"v2_hybrid", "use_bias", "0", "true or false"},
      {"v2_hybrid", "hidden_act", "\"gelu\"", "\"silu\""},
      {"v2_hybrid", "use_rmsnorm", "false", "true"},
      {"v2_hybrid", "num_experts_per_tok", "17", "1 to 16"},
      {"v2_hybrid", "num_experts_per_tok", "9", "at most the 8 experts"},
      {"v2_hybrid", "n_group", "3", "divisor of num_experts 16"},
      {"v2_hybrid", "n_group", "16", "at least 2 experts"},
      {"v2_hybrid", "topk_group", "5", "1 to 4"},
      {"v2_hybrid", "score_function", "\"tanh\"", "\"sigmoid\" or \"softmax\""},
      {"v2_hybrid", "routed_scaling_factor", "0", "a number"},
      {"v2_hybrid", "num_nextn_predict_layers", "2", "0 or 1"},
      {"v2_hybrid", "group_norm_size", "3", "divides"},
      {"v2_hybrid", "layer_group_size", "0", "1 to"},
      {"v2_hybrid", "first_k_dense_replace", "-1", "0 to"},
      {"v2_hybrid", "moe_intermediate_size", "null", "an integer"},
      {"v2_hybrid", "intermediate_size", "null", "an integer"},
      {"v2_hybrid", "slope_layer_offset", "2", "\"mlx\""},
      {"v2_hybrid", "eos_token_id", "\"2\"", "token id"},
      {"v2_hybrid", "eos_token_id", "[2, -1]", "token id"},
      {"v2_hybrid", "torch_dtype", "\"int8\"", "bfloat16"},
      {"v2_hybrid", "quantization_config", R"({"quant_method": "gptq"})", "gptq"},
      {"gpt_oss", "quantization_config", R"({"quant_method": "fp8"})", "mxfp4"},
      {"v2_hybrid", "rope_scaling", R"({"type": "linear", "factor": 2.0})", "\"linear\""},
      {"v2_hybrid", "rope_scaling", R"({"rope_type": "yarn"})", "rope_scaling.factor"},
      {"v2_hybrid", "rope_scaling", R"({"rope_type": "yarn", "factor": 0.5})", "rope_scaling.factor"},
      {"v2_hybrid", "rope_scaling", R"({"rope_type": "yarn", "factor": 4, "mcsale": 1})", "rope_scaling.mcsale"},
      {"v2_hybrid", "rope_scaling", R"({"rope_type": "yarn", "type": "default", "factor": 4})", "rope_type"},
      {"v2_hybrid", "rope_scaling", "4", "an object"},
      {"v2_hybrid", "rope_parameters", R"({"rope_theta": 5.0})", "rope_theta"},
      {"v2_hybrid", "layer_types", R"(["full_attention"])", "num_hidden_layers = 6"},
      {"v1_hybrid", "rotary_type", "\"2d\"", "\"full-1d\""},
      {"v1_hybrid", "use_sliding_window", "true", "false"},
      {"gpt_oss", "sliding_window", "null", "the number of keys"},
      {"gpt_oss", "experts_per_token", "4", "num_experts_per_tok"},
      {"gpt_oss", "num_local_experts", "0", "found 0"},
      {"qwen3", "attention_bias", "null", "true or false"},
      {"v2_hybrid", "ringbench", R"({"yarn": {"factor": 4}})", "ringbench.yarn.original_max_position_embeddings"},
      {"v2_hybrid", "ringbench", R"({"speed": 1})", "ringbench.speed"},
  };
  for (const Case& c : cases) {
    json document = read_json(golden(c.config + "/config.json"));
    document[c.key] = json::parse(c.value);
    const std::string message = message_of([&] { parse(document); });
    INFO(c.config << " with " << c.key << " = " << c.value << ": " << message);
    CHECK(contains(message, "x.json: "));
    CHECK(contains(message, c.key == "line\nbreak" ? "line\\nbreak" : c.key));
    CHECK(contains(message, c.expected));
    CHECK_FALSE(contains(message, "\n"));
  }
}

TEST_CASE("sizes whose product overflows are refused before anybody multiplies them") {
  json document = minimal("Qwen3ForCausalLM");
  document["hidden_size"] = document["intermediate_size"] = int64_t{1} << 31;
  CHECK(contains(message_of([&] { parse(document); }), "parameters"));
}

TEST_CASE("text that is no config is refused") {
  const auto refusal = [](std::string_view text) { return message_of([&] { ModelConfig::parse(text, "x.json"); }); };
  CHECK(contains(refusal(""), "x.json: not valid JSON"));
  CHECK(contains(refusal("{\"hidden_size\": "), "line 1"));
  CHECK(contains(refusal("[1]"), "expected a JSON object"));
  CHECK(contains(refusal("{}"), "architectures: missing"));
  CHECK(contains(refusal("{\"hidden_size\": 1e999}"), "not valid JSON"));
  CHECK(contains(refusal("{\"hidden_size\": 1, \"hidden_size\": 2}"), "\"hidden_size\" is given twice"));
  CHECK(contains(refusal("{\"a\":" + std::string(100'000, '[')), "nested deeper"));
  CHECK(
      contains(message_of([] { ModelConfig::load("/nonexistent/config.json"); }), "/nonexistent/config.json: cannot"));
  CHECK(contains(message_of([] { ModelConfig::load(root); }), "cannot be read"));
}

TEST_CASE("layer_types is accepted for every architecture, and its words are checked") {
  json document = read_json(golden("qwen3/config.json"));
  document["layer_types"] = {"lightning_attention", "linear", "full_attention"};
  const ModelConfig c = parse(document);
  CHECK(c.layer_pattern() == "LLS");
  CHECK(c.layer_group_size == 1);
  CHECK(c.linear_key_value_heads == 4);

  document["layer_types"] = {"full_attention", "sliding_attention", "softmax"};
  CHECK(contains(message_of([&] { parse(document); }), "sliding_window"));
  document["sliding_window"] = 16;
  CHECK(parse(document).layer_pattern() == "SWS");

  document["layer_types"] = {"full_attention", "mamba", "softmax"};
  CHECK(contains(message_of([&] { parse(document); }), "layer_types: layer 1 is \"mamba\""));
  document["layer_types"] = {"full_attention", 7, "softmax"};
  CHECK(contains(message_of([&] { parse(document); }), "layer 1 is 7"));

  json grouped = read_json(golden("v2_hybrid/config.json"));
  grouped["layer_types"] = {"linear", "linear", "softmax", "linear", "linear", "softmax"};
  CHECK(parse(grouped).layer_pattern() == "LLS LLS");
}

TEST_CASE("left-over layers are softmax, and said") {
  json document = read_json(golden("v2_hybrid/config.json"));
  document["num_hidden_layers"] = 8;
  const ModelConfig c = parse(document);
  CHECK(c.layer_pattern() == "LLS LLS SS");
  CHECK(c.hybrid_label() == "LLSLLSSS");
  CHECK(any_has(c.notes, "last 2 layers"));
  document["num_hidden_layers"] = 2;
  CHECK(parse(document).layer_pattern() == "SS");
}

TEST_CASE("Qwen's sliding layers begin at max_window_layers") {
  json document = read_json(golden("qwen2/config.json"));
  document["use_sliding_window"] = true;
  document["max_window_layers"] = 1;
  const ModelConfig c = parse(document);
  CHECK(c.layer_pattern() == "SWW");
  CHECK(c.sliding_window == 4096);
}

TEST_CASE("v1 options: grouped linear heads, SiLU, low-rank gate") {
  json document = read_json(golden("v1_hybrid/config.json"));
  document["use_linear_gqa"] = document["use_linear_silu"] = document["use_low_rank"] = true;
  const ModelConfig c = parse(document);
  CHECK(c.linear_key_value_heads == 2);
  CHECK(c.linear_silu);
  CHECK(c.use_low_rank);
}

TEST_CASE("V2 options: rotary_dim, shared experts, score function, notes") {
  json document = read_json(golden("v2_hybrid/config.json"));
  document["rotary_dim"] = 4;
  CHECK(parse(document).rotary_dim == 8);  // partial_rotary_factor, as the official code
  CHECK(any_has(parse(document).notes, "rotary_dim 4"));
  document.erase("partial_rotary_factor");
  CHECK(parse(document).rotary_dim == 4);

  document["num_shared_experts"] = 2;
  CHECK(parse(document).shared_intermediate_size == 32);
  document.erase("moe_shared_expert_intermediate_size");
  document["moe_intermediate_size"] = 24;
  CHECK(parse(document).shared_intermediate_size == 48);
  document["num_shared_experts"] = 0;
  CHECK(parse(document).shared_intermediate_size == 0);

  document["norm_topk_prob"] = false;
  CHECK_FALSE(parse(document).norm_topk_prob);
  CHECK(any_has(parse(document).notes, "norm_topk_prob"));

  document["score_function"] = "softmax";
  document["n_group"] = document["topk_group"] = 1;
  document["moe_router_enable_expert_bias"] = false;
  CHECK(parse(document).router == Router::softmax_topk);
  document["eos_token_id"] = {2, 5};
  CHECK(parse(document).eos_token_ids == std::vector<int64_t>{2, 5});
}

TEST_CASE("slope_layer_offset is read at the top and in ringbench") {
  json document = read_json(golden("v2_hybrid/config.json"));
  CHECK(parse(document).slope_layer_offset == SlopeLayerOffset::zero);
  document["ringbench"] = {{"slope_layer_offset", "mlx"}};
  CHECK(parse(document).slope_layer_offset == SlopeLayerOffset::mlx);
  document.erase("ringbench");
  document["slope_layer_offset"] = 1;
  CHECK(parse(document).slope_layer_offset == SlopeLayerOffset::one);
}

TEST_CASE("mxfp4 is accepted for GPT-OSS") {
  json document = read_json(golden("gpt_oss/config.json"));
  document["quantization_config"] = {{"quant_method", "mxfp4"}, {"modules_to_not_convert", {"lm_head"}}};
  CHECK(message_of([&] { parse(document); }) == "");
}

TEST_CASE("rope scaling resolves to the attention factors and widths of yarn.json") {
  const json cases = read_json(golden("yarn.json")).at("cases");
  REQUIRE(cases.size() >= 10);
  for (const json& c : cases) {
    INFO(c.at("name"));
    json document = minimal("Qwen3ForCausalLM");
    for (const char* key : {"rope_theta", "head_dim", "partial_rotary_factor", "max_position_embeddings"})
      document[key] = c.at(key);
    document["rope_scaling"] = c.at("rope_scaling");
    const ModelConfig config = parse(document);
    CHECK(config.rotary_dim == c.at("rotary_dim").get<int>());
    CHECK(config.rope_scaling.has_value() == !c.at("rope_scaling").is_null());
    const double factor = config.rope_scaling ? config.rope_scaling->attention_factor : 1.0;
    CHECK(std::abs(factor - c.at("attention_factor").get<double>()) <= 1e-15);

    // The same in the newer spelling.
    json rope = c.at("rope_scaling").is_null() ? json{{"rope_type", "default"}} : c.at("rope_scaling");
    for (const char* key : {"rope_theta", "partial_rotary_factor"}) {
      rope[key] = c.at(key);
      document.erase(key);
    }
    document.erase("rope_scaling");
    document["rope_parameters"] = rope;
    CHECK(parse(document).sha() == config.sha());
  }
}

TEST_CASE("rope scaling without an original length takes the architecture's default, and says so") {
  const json yarn = {{"type", "yarn"}, {"factor", 4.0}};
  json v1 = read_json(golden("v1_hybrid/config.json"));
  v1["rope_scaling"] = yarn;
  CHECK(parse(v1).rope_scaling->original_max_position_embeddings == 4096);
  CHECK(any_has(parse(v1).defaulted_keys, "rope_scaling.original_max_position_embeddings=4096"));
  json v2 = read_json(golden("v2_hybrid/config.json"));
  v2["rope_scaling"] = yarn;
  CHECK(parse(v2).rope_scaling->original_max_position_embeddings == 512);
  CHECK(any_has(parse(v2).notes, "factor 4.0 is taken as given"));
}

TEST_CASE("mscale and mscale_all_dim: each by itself in v1, both or neither in transformers") {
  const auto factor = [](const std::string& name, json more) {
    json document = read_json(golden(name) / "config.json");
    document["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 64}};
    document["rope_scaling"].update(more);
    return parse(document).rope_scaling->attention_factor;
  };
  const auto m = [](double mscale) { return 0.1 * mscale * std::log(4.0) + 1.0; };
  const json lone = {{"mscale", 0.5}}, lone_all = {{"mscale_all_dim", 0.5}};
  const json both = {{"mscale", 0.5}, {"mscale_all_dim", 0.25}}, zero = {{"mscale", 0.5}, {"mscale_all_dim", 0}};
  CHECK(std::abs(factor("v1_hybrid", lone) - m(0.5)) <= 1e-15);
  CHECK(std::abs(factor("v1_hybrid", lone_all) - m(1) / m(0.5)) <= 1e-15);
  for (const char* name : {"v2_hybrid", "v2_softmax", "qwen2", "qwen3", "gpt_oss"}) {
    INFO(name);
    for (const json& ignored : {lone, lone_all, zero}) CHECK(std::abs(factor(name, ignored) - m(1)) <= 1e-15);
    CHECK(std::abs(factor(name, both) - m(0.5) / m(0.25)) <= 1e-15);
  }
}

TEST_CASE("log_decay meets slopes.json for both published offsets") {
  const json cases = read_json(golden("slopes.json")).at("cases");
  REQUIRE(cases.size() >= 8);
  for (const json& c : cases) {
    ModelConfig config;
    config.num_hidden_layers = c.at("num_layers");
    config.num_attention_heads = c.at("num_heads");
    for (const char* offset : {"0", "1"}) {
      config.slope_layer_offset = parse_slope_layer_offset(offset);
      const json& layers = c.at("log_decay").at(offset);
      REQUIRE(layers.size() == static_cast<size_t>(config.num_hidden_layers));
      for (int layer = 0; layer < config.num_hidden_layers; ++layer) {
        const std::vector<double> decay = config.log_decay(layer);
        const auto expected = layers[static_cast<size_t>(layer)].get<std::vector<double>>();
        REQUIRE(decay.size() == expected.size());
        for (size_t h = 0; h < decay.size(); ++h) REQUIRE(std::abs(decay[h] - expected[h]) <= 1e-12);
      }
    }
  }
}

TEST_CASE("the mlx offset is offset 1 held at 0 for the first layer") {
  ModelConfig config;
  config.num_hidden_layers = 20;
  config.num_attention_heads = 12;
  ModelConfig one = config, mlx = config;
  one.slope_layer_offset = SlopeLayerOffset::one;
  mlx.slope_layer_offset = SlopeLayerOffset::mlx;
  CHECK(mlx.log_decay(0) == config.log_decay(0));
  CHECK(one.log_decay(0) != config.log_decay(0));
  for (int layer = 1; layer < 20; ++layer) {
    CHECK(mlx.log_decay(layer) == one.log_decay(layer));
    CHECK(mlx.log_decay(layer) == config.log_decay(layer - 1));
  }
}

TEST_CASE("a single layer has a finite decay") {
  ModelConfig config;
  config.num_hidden_layers = config.num_attention_heads = 1;
  CHECK(std::abs(config.log_decay(0)[0] - -(1.0 + 1e-5) / 256.0) <= 1e-15);
}

TEST_CASE("hybrid ratios are parsed, and nothing else") {
  using Kind = HybridRatio::Kind;
  CHECK(HybridRatio::parse("model").kind == Kind::model);
  CHECK(HybridRatio::parse("softmax").kind == Kind::softmax);
  CHECK(HybridRatio::parse("0:1").kind == Kind::softmax);
  CHECK(HybridRatio::parse("linear").kind == Kind::linear);
  CHECK(HybridRatio::parse("1:0").kind == Kind::linear);
  CHECK(HybridRatio::parse("7:1").linear_per_softmax == 7);
  CHECK(HybridRatio::parse("LLS LLS").pattern == "LLSLLS");
  for (const char* text : {"", " ", "1/4", "4:2", "2:0", "-1:1", "+3:1", "4:1 ", "4", ":1", "lls", "LXS", "Model",
                           "99999999999:1", "4:1:1"}) {
    const std::string message = message_of([&] { HybridRatio::parse(text); });
    INFO(text);
    CHECK(
        contains(message, "--hybrid: write M:1 (M linear layers per softmax layer), 'softmax', 'linear' or 'model'."));
  }
}

TEST_CASE("ratios change the layers and nothing else") {
  const ModelConfig nano = preset("ring-nano-linear");
  const auto pattern = [&](const char* ratio) {
    return nano.with_hybrid_ratio(HybridRatio::parse(ratio)).layer_pattern();
  };
  CHECK(pattern("model") == "LLLS LLLS");
  CHECK(pattern("1:1") == "LS LS LS LS");
  CHECK(pattern("7:1") == "LLLLLLLS");
  CHECK(pattern("softmax") == "SSSSSSSS");
  CHECK(pattern("linear") == "LLLLLLLL");
  CHECK(pattern("LLSLLLSS") == "LLSLLLSS");
  for (const char* ratio : {"model", "1:1", "7:1", "softmax", "linear", "LLSLLLSS"}) {
    const ModelConfig c = nano.with_hybrid_ratio(HybridRatio::parse(ratio));
    CHECK(nano.with_hybrid_ratio(HybridRatio::parse(c.layer_pattern())).layer_types == c.layer_types);
    CHECK(c.hidden_size == nano.hidden_size);
    CHECK(c.name == nano.name);
  }
  CHECK(nano.with_hybrid_ratio(HybridRatio::parse("LS LS LS LS")).hybrid_label() == "1:1");

  // A model that has none gets linear layers; the twin of one with sliding layers has none of those.
  const ModelConfig gpt = preset("gpt-oss-20b");
  CHECK(gpt.with_hybrid_ratio(HybridRatio::parse("3:1")).count(LayerType::linear_attention) == 18);
  CHECK(gpt.with_hybrid_ratio(HybridRatio::parse("softmax")).hybrid_label() == "softmax");
  CHECK(gpt.linear_key_value_heads == 64);
}

TEST_CASE("a ratio that does not fit the depth is refused with what would fit") {
  const auto refusal = [](const std::string& model, const char* ratio) {
    const ModelConfig c = preset(model);
    return message_of([&] { c.with_hybrid_ratio(HybridRatio::parse(ratio)); });
  };
  CHECK(refusal("ring-lite-linear", "4:1") ==
        "--hybrid 4:1 needs a multiple of 5 layers; ring-lite-linear has 28. Try --layers 25 or 30, or --hybrid 6:1.");
  CHECK(refusal("ring-lite", "4:1") ==
        "--hybrid 4:1 needs a multiple of 5 layers; ring-lite has 28. Try --layers 25 or 30, or --hybrid 3:1.");
  CHECK(refusal("tiny", "6:1") ==
        "--hybrid 6:1 needs a multiple of 7 layers; tiny has 4. Try --layers 7, or --hybrid 3:1.");
  CHECK(contains(refusal("tiny", "LLS"), "has 3 layers; tiny has 4"));
  CHECK(contains(refusal("tiny", "LLSW"), "no sliding_window"));
}

TEST_CASE("another depth keeps the rule of the layers") {
  CHECK(preset("ring-lite-linear").with_layers(10).layer_pattern() == "LLLLLLS SSS");
  CHECK(preset("ring-nano").with_layers(3).layer_pattern() == "SSS");
  CHECK(preset("gpt-oss-20b").with_layers(5).layer_pattern() == "WSWSW");
  const ModelConfig nano = preset("ring-nano-linear");
  CHECK(nano.with_layers(16).with_hybrid_ratio(HybridRatio::parse("15:1")).hybrid_label() == "15:1");
  CHECK(nano.with_hybrid_ratio(HybridRatio::parse("linear")).with_layers(2).layer_pattern() == "LL");
  CHECK(nano.with_layers(16).num_hidden_layers == 16);

  const ModelConfig odd = nano.with_hybrid_ratio(HybridRatio::parse("LLSLLLSS"));
  CHECK(odd.with_layers(8).layer_types == odd.layer_types);
  CHECK(contains(message_of([&] { odd.with_layers(9); }), "--hybrid"));
  CHECK(contains(message_of([&] { nano.with_layers(0); }), "--layers"));
  CHECK(contains(message_of([&] { nano.with_layers(1'000'000'000); }), "--layers"));
}

TEST_CASE("YaRN from the command line: the usual attention factor, factors below 1 refused") {
  const RopeScaling yarn = RopeScaling::yarn(4.0, 16384);
  CHECK(std::abs(yarn.attention_factor - 1.138629436111989) <= 1e-15);
  CHECK(yarn.beta_fast == 32.0);
  CHECK(yarn.truncate);
  for (const double factor : {0.5, 0.0, -4.0, std::nan(""), HUGE_VAL})
    CHECK_THROWS_AS(RopeScaling::yarn(factor, 16384), ConfigError);
  CHECK_THROWS_AS(RopeScaling::yarn(4.0, 0), ConfigError);
}

TEST_CASE("the hash names what is computed") {
  const ModelConfig nano = preset("ring-nano-linear");
  CHECK(nano.sha().size() == 64);
  CHECK(nano.sha() == preset("ring-nano-linear").sha());

  // The softmax twin of the hybrid is the softmax preset, whatever the linear options were.
  CHECK(nano.with_hybrid_ratio(HybridRatio::parse("softmax")).sha() == preset("ring-nano").sha());
  CHECK(preset("ring-pico-linear").with_hybrid_ratio(HybridRatio::parse("softmax")).sha() == preset("ring-pico").sha());

  ModelConfig renamed = nano;
  renamed.name = "other";
  renamed.notes.push_back("a note");
  renamed.card_yarn.reset();
  CHECK(renamed.sha() == nano.sha());

  const json base = read_json(golden("v2_hybrid/config.json"));
  std::set<std::string> hashes = {parse(base).sha()};
  const json changes = {{"hidden_size", 128},
                        {"vocab_size", 251},
                        {"intermediate_size", 97},
                        {"num_hidden_layers", 3},
                        {"num_attention_heads", 8},
                        {"num_key_value_heads", 1},
                        {"head_dim", 20},
                        {"rms_norm_eps", std::nextafter(2e-05, 1.0)},
                        {"rope_theta", 1000001.0},
                        {"rope_scaling", {{"rope_type", "yarn"}, {"factor", 2.0}}},
                        {"partial_rotary_factor", 0.25},
                        {"use_qkv_bias", true},
                        {"use_bias", true},
                        {"use_qk_norm", false},
                        {"norm_head", true},
                        {"tie_word_embeddings", true},
                        {"num_nextn_predict_layers", 1},
                        {"linear_silu", true},
                        {"linear_rope", false},
                        {"use_low_rank", true},
                        {"group_norm_size", 1},
                        {"layer_group_size", 2},
                        {"slope_layer_offset", 1},
                        {"num_experts", 32},
                        {"num_experts_per_tok", 3},
                        {"moe_intermediate_size", 17},
                        {"moe_shared_expert_intermediate_size", 17},
                        {"first_k_dense_replace", 0},
                        {"norm_topk_prob", false},
                        {"moe_router_enable_expert_bias", false},
                        {"n_group", 2},
                        {"topk_group", 3},
                        {"routed_scaling_factor", 2.0}};
  for (const auto& [key, value] : changes.items()) {
    json document = base;
    document[key] = value;
    INFO(key);
    CHECK(hashes.insert(parse(document).sha()).second);
  }
}

TEST_CASE("every number of YaRN is part of the hash") {
  ModelConfig base = preset("tiny");
  base.rope_scaling = base.card_yarn;
  std::set<std::string> hashes = {base.sha(), preset("tiny").sha()};
  const auto add = [&](auto change) {
    ModelConfig config = base;
    change(*config.rope_scaling);
    CHECK(hashes.insert(config.sha()).second);
  };
  add([](RopeScaling& yarn) { yarn.factor = 8.0; });
  add([](RopeScaling& yarn) { yarn.original_max_position_embeddings = 1; });
  add([](RopeScaling& yarn) { yarn.beta_fast = 16.0; });
  add([](RopeScaling& yarn) { yarn.beta_slow = 2.0; });
  add([](RopeScaling& yarn) { yarn.truncate = false; });
  add([](RopeScaling& yarn) { yarn.attention_factor = 1.0; });
  CHECK(hashes.size() == 8);
}

TEST_CASE("sha256 gives the published digests") {  // FIPS 180-4 examples
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256_hex(std::string(1'000'000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("names of enumerators read back") {
  for (const char* text : {"0", "1", "mlx"}) CHECK(name_of(parse_slope_layer_offset(text)) == text);
  CHECK_THROWS_AS(parse_slope_layer_offset("2"), ConfigError);
  CHECK(name_of(LayerType::sliding_attention) == "sliding_attention");
}

TEST_CASE("keys of published configs that change nothing are accepted, with the one value that changes nothing") {
  const auto refuses = [](const std::string& name, const char* key, const json& value) {
    json document = read_json(golden(name) / "config.json");
    document[key] = value;
    return message_of([&] { parse(document); });
  };
  for (const char* name : {"v2_hybrid", "v2_softmax"}) {
    INFO(name);
    for (const char* key : {"moe_router_enable_routed_scaling", "moe_router_enable_shared_expert"}) {
      CHECK(refuses(name, key, true).empty());
      CHECK(contains(refuses(name, key, false), key));
    }
    for (const char* key : {"norm_softmax", "use_linear_gqa"}) {
      CHECK(refuses(name, key, false).empty());
      CHECK(contains(refuses(name, key, true), key));
    }
  }
  for (const char* name : {"qwen2", "qwen3"}) {
    CHECK(refuses(name, "use_mrope", false).empty());
    CHECK(contains(refuses(name, "use_mrope", true), "use_mrope"));
  }
  CHECK(refuses("qwen3", "unsloth_fixed", true).empty());
}

TEST_CASE("linear layers of V2 have biases and SiLU under v1's name too; those of v1 have no biases") {
  json v1 = read_json(golden("v1_hybrid/config.json")), v2 = read_json(golden("v2_hybrid/config.json"));
  CHECK_FALSE(parse(v1).linear_bias);
  CHECK(parse(v2).linear_bias);
  CHECK_FALSE(parse(v2).linear_silu);
  v2["use_linear_silu"] = true;
  CHECK(parse(v2).linear_silu);
}
