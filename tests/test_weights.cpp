// test_weights.cpp: which tensors a config asks for, random values, checkpoints read and written, and every lie a
// safetensors file can tell.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>
#include <set>

#include "reference/random.h"
#include "reference/weights.h"
#include "tests/catch.h"
#include "tests/folder.h"
#include "tests/golden.h"
#include "tests/preset.h"
#include "tests/variable.h"

using namespace ringbench;
namespace fs = std::filesystem;

namespace {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "ringbench_weights_XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  fs::path path;
};

// The message of the WeightsError that `action` throws; empty if it throws none.
template <class Action> std::string error_of(Action action) {
  try {
    action();
  } catch (const WeightsError& error) {
    return error.what();
  }
  return "";
}

// One line that holds all of `parts`.
bool says(const std::string& message, const std::vector<std::string>& parts) {
  UNSCOPED_INFO("message: " << (message.empty() ? "(no error)" : message));
  for (const std::string& part : parts) {
    if (message.find(part) != std::string::npos) continue;
    UNSCOPED_INFO("misses: " << part);
    return false;
  }
  return message.find('\n') == std::string::npos && message.size() < 1000;
}

// A small hybrid with every kind of bailing tensor: dense and MoE layers, linear and softmax attention.
ModelConfig small_config() {
  ModelConfig c;
  c.hidden_size = 32;
  c.vocab_size = 40;
  c.intermediate_size = 48;
  c.num_hidden_layers = 3;
  c.num_attention_heads = 4;
  c.num_key_value_heads = 2;
  c.linear_key_value_heads = 4;
  c.head_dim = 8;
  c.layer_types = {LayerType::linear_attention, LayerType::linear_attention, LayerType::softmax_attention};
  c.use_qk_norm = true;
  c.num_experts = 4;
  c.num_experts_per_tok = 2;
  c.moe_intermediate_size = 16;
  c.shared_intermediate_size = 24;
  c.first_k_dense_replace = 1;
  c.moe_router_enable_expert_bias = true;
  return c;
}

// One GPT-OSS layer whose gate_up_proj has the shape of the MXFP4 golden.
ModelConfig small_gpt_oss() {
  ModelConfig c;
  c.tensor_names = TensorNames::gpt_oss;
  c.hidden_size = 96;
  c.vocab_size = 10;
  c.num_hidden_layers = 1;
  c.num_attention_heads = 2;
  c.num_key_value_heads = 1;
  c.linear_key_value_heads = 2;
  c.head_dim = 8;
  c.layer_types = {LayerType::sliding_attention};
  c.use_qkv_bias = c.use_bias = c.attention_sinks = c.moe_bias = true;
  c.num_experts = 2;
  c.num_experts_per_tok = 1;
  c.moe_intermediate_size = 3;
  return c;
}

std::map<std::string, TensorSpec> specs_of(const ModelConfig& config) {
  std::map<std::string, TensorSpec> specs;
  for (auto& spec : expected_tensors(config)) REQUIRE(specs.emplace(spec.name, spec).second);
  return specs;
}

// A checkpoint in memory, to be damaged and written: all random, in f32.
using Tensors = std::map<std::string, HostTensor>;

Tensors random_tensors(const ModelConfig& config) {
  const Weights weights = Weights::random(config, 5);
  Tensors tensors;
  for (const auto& spec : expected_tensors(config)) {
    HostTensor& tensor = tensors[spec.name] = HostTensor(DType::f32, spec.shape);
    weights.read<float>(spec.name, tensor.as<float>());
  }
  return tensors;
}

HostTensor filled(DType dtype, std::vector<int64_t> shape, int byte = 0) {
  HostTensor tensor(dtype, std::move(shape));
  std::memset(tensor.raw(), byte, static_cast<size_t>(tensor.bytes()));
  return tensor;
}

HostTensor owned(const HostTensorView& view) {
  HostTensor tensor(view.dtype, view.shape);
  std::memcpy(tensor.raw(), view.data, static_cast<size_t>(view.bytes()));
  return tensor;
}

void write_tensors(const fs::path& path, const Tensors& tensors) {
  std::vector<std::pair<std::string, HostTensorView>> views;
  for (const auto& [name, tensor] : tensors) views.emplace_back(name, tensor);
  write_safetensors(path, views);
}

template <class Real> std::vector<Real> values_of(const Weights& weights, const TensorSpec& spec) {
  std::vector<Real> values(static_cast<size_t>(spec.size()), std::numeric_limits<Real>::quiet_NaN());
  weights.read<Real>(spec.name, values);
  return values;
}

// A file of `header` and `data_bytes` bytes of data.
std::string file_image(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string image(8, '\0');
  std::memcpy(image.data(), &length, 8);
  return image + header + std::string(data_bytes, 'x');
}

std::string parse_error_of(const std::string& image) {
  // An allocation of the exact size, so that AddressSanitizer sees a read beyond the file.
  const std::vector<std::byte> file(reinterpret_cast<const std::byte*>(image.data()),
                                    reinterpret_cast<const std::byte*>(image.data()) + image.size());
  return error_of([&] { SafeTensors::parse_header(file, "some.safetensors"); });
}

}  // namespace

TEST_CASE("random bits are FNV-1a and splitmix64", "[weights]") {
  // Published test vectors: FNV-1a of "" and "foobar"; the first outputs of splitmix64 seeded with 1234567, which
  // counts from 1.
  REQUIRE(fnv1a("") == 0xcbf29ce484222325u);
  REQUIRE(fnv1a("foobar") == 0x85944171f73967e8u);
  REQUIRE(random_bits(1234567, 1) == 6457827717110365317u);
  REQUIRE(random_bits(1234567, 2) == 3203168211198807973u);
  REQUIRE(random_bits(1234567, 3) == 9817491932198370423u);
}

// Bit patterns computed once, in exact integer and IEEE arithmetic, by a program of its own. They hold on every
// machine; if this test fails, all recorded random weights have changed.
TEST_CASE("random weights are these bits on every machine", "[weights]") {
  const auto bits = [](uint64_t seed, uint64_t index) {
    return bf16(RandomNormal::around_zero(random_key(seed, "model.word_embeddings.weight"), 1.f)(index)).bits;
  };
  REQUIRE(bits(0, 0) == 0x3f53);
  REQUIRE(bits(0, 1) == 0xc027);
  REQUIRE(bits(0, 1000003) == 0x4007);
  REQUIRE(bits(0, uint64_t{1} << 33) == 0x3d86);
  REQUIRE(bits(1, 0) == 0xbf3f);
  REQUIRE(bits(~uint64_t{0}, 0) == 0x3f75);

  const RandomNormal raw = RandomNormal::around_zero(random_key(0, "x"), static_cast<float>(1 / std::sqrt(2048.0)));
  REQUIRE(std::bit_cast<uint32_t>(raw(0)) == 0xbd0e4886u);
  REQUIRE(std::bit_cast<uint32_t>(raw(1)) == 0x3cd103e0u);
  REQUIRE(std::bit_cast<uint32_t>(raw(uint64_t{1} << 40)) == 0x3ce0f866u);

  const Weights weights = Weights::random(small_config(), 0);
  std::vector<float> values(32);
  weights.read<float>("model.norm.weight", values);
  REQUIRE(bf16(values[0]).bits == 0x3f7e);
  REQUIRE(bf16(values[2]).bits == 0x3f96);
  values.resize(4);
  weights.read<float>("model.layers.1.mlp.gate.expert_bias", values);
  REQUIRE(std::bit_cast<uint32_t>(values[0]) == 0x3c8bb1b9u);
  REQUIRE(std::bit_cast<uint32_t>(values[1]) == 0xbb84351bu);

  constexpr RandomNormal at_compile_time = RandomNormal::around_zero(random_key(1, "x"), 0.5f);
  static_assert(at_compile_time(3) != at_compile_time(4));
}

TEST_CASE("random weights are normal, independent and of the scale their place asks for", "[weights]") {
  ModelConfig config = small_config();
  config.vocab_size = 32768;  // 2^20 embeddings
  const auto specs = specs_of(config);
  const Weights weights = Weights::random(config, 7);
  const auto embeddings = values_of<double>(weights, specs.at("model.word_embeddings.weight"));
  const auto head = values_of<double>(weights, specs.at("lm_head.weight"));
  const double n = static_cast<double>(embeddings.size());
  const auto mean = [&](auto value) {
    double sum = 0;
    for (size_t i = 0; i < embeddings.size(); ++i) sum += value(i);
    return sum / n;
  };
  // Five standard errors. The fourth moment of four uniforms is 2.7, so the variance's is sqrt(1.7 / n).
  REQUIRE(std::abs(mean([&](size_t i) { return embeddings[i]; })) <= 5 / std::sqrt(n));
  REQUIRE(std::abs(mean([&](size_t i) { return embeddings[i] * embeddings[i]; }) - 1) <= 5 * std::sqrt(1.7 / n));
  REQUIRE(std::abs(mean([&](size_t i) { return std::pow(embeddings[i], 4); }) - 2.7) <= 0.05);
  REQUIRE(std::abs(mean([&](size_t i) { return head[i] * head[i]; }) * 32 - 1) <= 5 * std::sqrt(1.7 / n));
  REQUIRE(std::abs(mean([&](size_t i) { return embeddings[i] * head[i]; }) * std::sqrt(32.0)) <= 5 / std::sqrt(n));
  REQUIRE(std::abs(mean([&](size_t i) { return embeddings[i] * embeddings[(i + 1) % embeddings.size()]; })) <=
          5 / std::sqrt(n));

  REQUIRE(specs.at("model.layers.0.attention.query_key_value.weight").scale == float(1 / std::sqrt(32.0)));
  REQUIRE(specs.at("model.layers.1.mlp.gate.weight").scale == float(1 / std::sqrt(32.0)));
  // Two blocks in each of three layers add to the residual stream.
  REQUIRE(specs.at("model.layers.0.attention.dense.weight").scale == float(1 / std::sqrt(6 * 32.0)));
  REQUIRE(specs.at("model.layers.0.mlp.down_proj.weight").scale == float(1 / std::sqrt(6 * 48.0)));
  REQUIRE(specs.at("model.layers.1.mlp.experts.3.down_proj.weight").scale == float(1 / std::sqrt(6 * 16.0)));
  REQUIRE(specs.at("model.layers.1.mlp.gate.expert_bias").scale == 0.02f);
  REQUIRE(specs.at("model.layers.1.mlp.gate.expert_bias").dtype == DType::f32);
  REQUIRE(specs.at("model.norm.weight").init == Init::around_one);
  config.tie_word_embeddings = true;
  REQUIRE(specs_of(config).at("model.word_embeddings.weight").scale == float(1 / std::sqrt(32.0)));
  const auto gpt_oss = specs_of(small_gpt_oss());
  REQUIRE(gpt_oss.at("model.layers.0.mlp.experts.gate_up_proj").scale == float(1 / std::sqrt(96.0)));
  REQUIRE(gpt_oss.at("model.layers.0.mlp.experts.down_proj").scale == float(1 / std::sqrt(2 * 3.0)));
  REQUIRE(gpt_oss.at("model.layers.0.self_attn.sinks").scale == 1.f);
  REQUIRE(gpt_oss.at("model.layers.0.mlp.router.bias").scale == 0.1f);

  ModelConfig wide = small_config();
  wide.hidden_size = 1 << 16;
  wide.vocab_size = wide.intermediate_size = wide.moe_intermediate_size = wide.shared_intermediate_size = 1;
  const auto norm = values_of<double>(Weights::random(wide, 7), specs_of(wide).at("model.norm.weight"));
  const double norm_mean = std::accumulate(norm.begin(), norm.end(), 0.0) / double(norm.size());
  double variance = 0;
  for (const double x : norm) variance += (x - norm_mean) * (x - norm_mean) / double(norm.size());
  REQUIRE(std::abs(norm_mean - 1) <= 5 * 0.1 / 256);
  REQUIRE(std::abs(std::sqrt(variance) - 0.1) <= 5 * 0.1 * std::sqrt(1.7) / 2 / 256);
}

TEST_CASE("random weights are bf16 values, the same in f32 and f64, and depend on the seed", "[weights]") {
  const ModelConfig config = small_config();
  const Weights weights = Weights::random(config, 1), other = Weights::random(config, 2);
  for (const auto& spec : expected_tensors(config)) {
    INFO(spec.name);
    const auto narrow = values_of<float>(weights, spec);
    const auto wide = values_of<double>(weights, spec);
    REQUIRE(std::equal(narrow.begin(), narrow.end(), wide.begin()));
    const auto is_bf16 = [](float x) { return static_cast<float>(bf16(x)) == x; };
    REQUIRE(std::all_of(narrow.begin(), narrow.end(), is_bf16) == (spec.dtype == DType::bf16));
    REQUIRE(narrow != values_of<float>(other, spec));
    REQUIRE(narrow == values_of<float>(Weights::random(config, 1), spec));
    const auto zero = values_of<float>(Weights::random(config, 1, Dummy::zero), spec);
    REQUIRE(std::all_of(zero.begin(), zero.end(), [](float x) { return x == 0.f; }));
  }
  REQUIRE(weights.label() == "dummy:scaled");
  REQUIRE(Weights::random(config, 1, Dummy::zero).label() == "dummy:zero");
}

TEST_CASE("read says which tensor it does not have, and refuses a wrong size", "[weights]") {
  const Weights weights = Weights::random(small_config(), 0);
  std::vector<float> room(31);
  REQUIRE_THROWS_AS(weights.read<float>("model.norm.weight", room), std::invalid_argument);
  REQUIRE(says(error_of([&] { weights.read<float>("model.norm.bias", room); }), {"dummy:scaled", "model.norm.bias"}));
  REQUIRE(weights.contains("model.norm.weight"));
  REQUIRE_FALSE(weights.contains("model.norm.bias"));
}

TEST_CASE("the fingerprint of random weights names seed, mode and shapes", "[weights]") {
  ModelConfig wider = small_config();
  wider.vocab_size = 41;
  std::set<std::string> fingerprints;
  for (const Weights& weights : {Weights::random(small_config(), 0), Weights::random(small_config(), 1),
                                 Weights::random(small_config(), 0, Dummy::zero), Weights::random(wider, 0)}) {
    REQUIRE(weights.fingerprint().size() == 16);
    fingerprints.insert(weights.fingerprint());
  }
  REQUIRE(fingerprints.size() == 4);
  REQUIRE(fingerprints.contains(Weights::random(small_config(), 0).fingerprint()));
}

TEST_CASE("options add the tensors they stand for", "[weights]") {
  using Shape = std::vector<int64_t>;
  const auto shape = [](const ModelConfig& config, const std::string& name) {
    const auto specs = specs_of(config);
    const auto found = specs.find(name);
    return found == specs.end() ? Shape{-1} : found->second.shape;
  };
  const Shape absent{-1};
  const std::string linear = "model.layers.0.", softmax = "model.layers.2.";

  ModelConfig config = small_config();
  REQUIRE(shape(config, linear + "attention.query_key_value.weight") == Shape{96, 32});
  REQUIRE(shape(config, softmax + "attention.query_key_value.weight") == Shape{64, 32});
  REQUIRE(shape(config, linear + "attention.g_proj.weight") == Shape{32, 32});
  REQUIRE(shape(config, linear + "attention.g_norm.weight") == Shape{32});
  REQUIRE(shape(config, softmax + "attention.g_proj.weight") == absent);
  REQUIRE(shape(config, linear + "mlp.down_proj.weight") == Shape{32, 48});
  REQUIRE(shape(config, softmax + "mlp.shared_experts.down_proj.weight") == Shape{32, 24});
  config.use_low_rank = config.use_qkv_bias = config.use_bias = config.tie_word_embeddings = true;
  config.use_qk_norm = false;
  REQUIRE(shape(config, linear + "attention.g_proj.weight") == absent);
  REQUIRE(shape(config, linear + "attention.g_proj.0.weight") == Shape{8, 32});
  REQUIRE(shape(config, linear + "attention.g_proj.1.weight") == Shape{32, 8});
  REQUIRE(shape(config, softmax + "attention.query_key_value.bias") == Shape{64});
  REQUIRE(shape(config, softmax + "attention.dense.bias") == Shape{32});
  REQUIRE(shape(config, linear + "attention.query_key_value.bias") == absent);
  REQUIRE(shape(config, linear + "attention.dense.bias") == absent);
  REQUIRE(shape(config, softmax + "attention.query_layernorm.weight") == absent);
  REQUIRE(shape(config, "lm_head.weight") == absent);
  config.linear_bias = true;
  REQUIRE(shape(config, linear + "attention.query_key_value.bias") == Shape{96});
  REQUIRE(shape(config, linear + "attention.dense.bias") == Shape{32});

  ModelConfig qwen = small_config();
  qwen.tensor_names = TensorNames::qwen;
  qwen.use_qkv_bias = true;
  REQUIRE(shape(qwen, "model.embed_tokens.weight") == Shape{40, 32});
  REQUIRE(shape(qwen, linear + "self_attn.k_proj.weight") == Shape{32, 32});
  REQUIRE(shape(qwen, softmax + "self_attn.k_proj.weight") == Shape{16, 32});
  REQUIRE(shape(qwen, softmax + "self_attn.v_proj.bias") == Shape{16});
  REQUIRE(shape(qwen, softmax + "self_attn.o_proj.bias") == absent);
  REQUIRE(shape(qwen, softmax + "self_attn.k_norm.weight") == Shape{8});
  REQUIRE(shape(qwen, linear + "self_attn.g_proj.weight") == Shape{32, 32});
  REQUIRE(shape(qwen, linear + "self_attn.g_norm.weight") == Shape{32});

  ModelConfig mtp = small_config();
  mtp.num_nextn_predict_layers = 1;
  mtp.first_k_dense_replace = 100;
  const std::string layer = "model.layers.3.";
  REQUIRE(shape(mtp, layer + "eh_proj.weight") == Shape{32, 64});
  REQUIRE(shape(mtp, layer + "enorm.weight") == Shape{32});
  REQUIRE(shape(mtp, layer + "attention.query_key_value.weight") == Shape{64, 32});
  REQUIRE(shape(mtp, layer + "mlp.experts.3.up_proj.weight") == Shape{16, 32});
  REQUIRE(shape(mtp, softmax + "mlp.up_proj.weight") == Shape{48, 32});
  mtp.num_experts = 0;
  REQUIRE(shape(mtp, layer + "mlp.up_proj.weight") == Shape{48, 32});
}

// facts of the public models: exact counts and numbers of tensors.
TEST_CASE("parameters of every preset are the published ones", "[weights]") {
  struct Row {
    const char* preset;
    int64_t total, active, active_non_embedding;
  };
  const Row rows[] = {{"ring-lite", 16'801'974'272, 2'753'153'024, 2'235'156'480},
                      {"ring-lite-linear", 17'053'681'664, 3'004'860'416, 2'486'863'872},
                      {"ring-mini-2.0", 16'255'643'392, 1'432'973'056, 789'147'392},
                      {"ring-mini-linear-2.0", 16'423'448'320, 1'600'777'984, 956'952'320},
                      {"ring-flash-2.0", 102'889'705'216, 6'152'277'760, 4'864'626'432},
                      {"ring-flash-linear-2.0", 104'181'665'536, 7'444'238'080, 6'156'586'752},
                      {"ring-flash-linear-2.0-128k", 104'181'665'536, 7'444'238'080, 6'156'586'752},
                      {"qwen3-8b", 8'190'735'360, 8'190'735'360, 6'946'075'648},
                      {"qwen3-32b", 32'762'123'264, 32'762'123'264, 31'206'298'624},
                      {"deepseek-r1-distill-qwen-7b", 7'615'616'512, 7'615'616'512, 6'525'621'760},
                      {"gpt-oss-20b", 20'914'757'184, 4'187'440'704, 3'029'173'824}};
  for (const Row& row : rows) {
    INFO(row.preset);
    const auto counts = count_parameters(preset(row.preset));
    REQUIRE(counts.total == row.total);
    REQUIRE(counts.active == row.active);
    REQUIRE(counts.active_non_embedding == row.active_non_embedding);
  }
  const auto tensors = [](const char* name) { return expected_tensors(preset(name)).size(); };
  REQUIRE(tensors("ring-mini-linear-2.0") == 14'845);
  REQUIRE(tensors("ring-flash-linear-2.0") == 24'217);
  REQUIRE(tensors("ring-lite-linear") == 5'651);
}

TEST_CASE("total parameters are the sizes of all tensors, tied embeddings once, MTP apart", "[weights]") {
  std::vector<ModelConfig> configs{small_config(), small_gpt_oss()};
  for (const auto& file : fs::directory_iterator(presets())) configs.push_back(ModelConfig::load(file.path()));
  for (ModelConfig config : configs) {
    INFO(config.name);
    config.num_nextn_predict_layers = 0;
    int64_t total = 0;
    for (const auto& spec : expected_tensors(config)) total += spec.size();
    REQUIRE(count_parameters(config).total == total);
    config.num_nextn_predict_layers = 1;
    REQUIRE(count_parameters(config).total == total);
  }
  ModelConfig config = small_config();
  const auto untied = count_parameters(config);
  config.tie_word_embeddings = true;
  REQUIRE(count_parameters(config).total == untied.total - 1280);  // 40 x 32
  REQUIRE(count_parameters(config).active_non_embedding == untied.active_non_embedding);
}

TEST_CASE("every golden checkpoint fits its config, and is read as it is stored", "[weights]") {
  int checkpoints = 0;
  for (const auto& folder : fs::directory_iterator(goldens())) {
    if (!fs::exists(folder.path() / "config.json")) continue;
    INFO(folder.path());
    const ModelConfig config = ModelConfig::load(folder.path() / "config.json");
    const Weights weights = Weights::load(config, folder.path());
    const SafeTensors stored = SafeTensors::open(folder.path());
    const auto specs = expected_tensors(config);
    REQUIRE(specs.size() == stored.tensors().size());
    for (const auto& spec : specs) {
      INFO(spec.name);
      const HostTensorView& view = stored.at(spec.name);
      const auto wide = values_of<double>(weights, spec);
      const auto narrow = values_of<float>(weights, spec);
      if (view.dtype == DType::bf16)
        REQUIRE(std::equal(wide.begin(), wide.end(), view.as<bf16>().begin(),
                           [](double x, bf16 y) { return x == static_cast<double>(static_cast<float>(y)); }));
      else
        REQUIRE(std::equal(wide.begin(), wide.end(), view.as<float>().begin()));
      REQUIRE(std::equal(wide.begin(), wide.end(), narrow.begin()));
    }
    REQUIRE(weights.label() == folder.path().filename());
    REQUIRE(weights.fingerprint().size() == 16);
    ++checkpoints;
  }
  REQUIRE(checkpoints == 9);
}

TEST_CASE("an MTP layer is skipped by a model that runs without, a main layer too many is not", "[weights]") {
  const fs::path folder = goldens() / "v2_softmax_mtp";
  ModelConfig config = ModelConfig::load(folder / "config.json");
  config.num_nextn_predict_layers = 0;
  REQUIRE_FALSE(Weights::load(config, folder).contains("model.layers.3.eh_proj.weight"));
  config.num_hidden_layers = 2;
  config.layer_types.pop_back();
  REQUIRE(says(error_of([&] { Weights::load(config, folder); }), {"unexpected tensor", "model.layers.2."}));
}

TEST_CASE("all finite f16 values, and f64 ones, are read exactly", "[weights]") {
  const TemporaryFolder folder;
  ModelConfig config = small_config();
  config.vocab_size = 1984;  // 1984 x 32 = 62 x 1024 bit patterns: all but exponent 31
  const TensorSpec embeddings = specs_of(config).at("model.word_embeddings.weight");
  const TensorSpec norm = specs_of(config).at("model.norm.weight");
  Tensors tensors = random_tensors(config);
  HostTensor& halves = tensors[embeddings.name] = HostTensor(DType::f16, embeddings.shape);
  std::vector<double> expected;
  for (int sign = 0; sign < 2; ++sign)
    for (int exponent = 0; exponent < 31; ++exponent)
      for (int mantissa = 0; mantissa < 1024; ++mantissa) {
        const auto bits = static_cast<uint16_t>(sign << 15 | exponent << 10 | mantissa);
        std::memcpy(halves.raw() + 2 * expected.size(), &bits, 2);
        const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
        expected.push_back(sign ? -magnitude : magnitude);
      }
  HostTensor& doubles = tensors[norm.name] = HostTensor(DType::f64, norm.shape);
  for (size_t i = 0; i < 32; ++i) doubles.as<double>()[i] = std::pow(1.7, static_cast<double>(i)) / 3;
  write_tensors(folder.path / "model.safetensors", tensors);

  const Weights weights = Weights::load(config, folder.path);
  REQUIRE(values_of<double>(weights, embeddings) == expected);
  REQUIRE(values_of<float>(weights, embeddings) == std::vector<float>(expected.begin(), expected.end()));
  const auto read = values_of<double>(weights, norm);
  REQUIRE(std::equal(read.begin(), read.end(), doubles.as<double>().begin()));
  REQUIRE(values_of<float>(weights, norm) == std::vector<float>(read.begin(), read.end()));
}

TEST_CASE("NaN and infinity in weights are named with tensor and first element, in every type", "[weights]") {
  const TemporaryFolder folder;
  const ModelConfig config = small_config();
  const TensorSpec spec = specs_of(config).at("lm_head.weight");
  struct Case {
    DType dtype;
    uint64_t bits;
    const char* value;
  };
  for (const Case& c :
       {Case{DType::bf16, 0x7f80, "infinity"}, Case{DType::bf16, 0xffc0, "NaN"}, Case{DType::f16, 0xfc00, "infinity"},
        Case{DType::f16, 0x7e00, "NaN"}, Case{DType::f16, 0x7c01, "NaN"}, Case{DType::f32, 0x7f800000, "infinity"},
        Case{DType::f32, 0x7fc00001, "NaN"}, Case{DType::f64, 0xfff0000000000000, "infinity"},
        Case{DType::f64, 0x7ff8000000000000, "NaN"}}) {
    INFO(name_of(c.dtype) << " " << std::hex << c.bits);
    Tensors tensors = random_tensors(config);
    HostTensor& damaged = tensors[spec.name] = filled(c.dtype, spec.shape);
    for (const int64_t i : {int64_t{1277}, int64_t{1278}})
      std::memcpy(damaged.raw() + i * size_of(c.dtype), &c.bits, static_cast<size_t>(size_of(c.dtype)));
    write_tensors(folder.path / "model.safetensors", tensors);
    const Weights weights = Weights::load(config, folder.path);
    REQUIRE(says(error_of([&] { values_of<float>(weights, spec); }), {"lm_head.weight", c.value, "element 1277"}));
    REQUIRE(says(error_of([&] { values_of<double>(weights, spec); }), {"lm_head.weight", c.value, "element 1277"}));
  }

  // Finite in f64, beyond f32.
  Tensors tensors = random_tensors(config);
  (tensors[spec.name] = filled(DType::f64, spec.shape)).as<double>()[5] = 1e300;
  write_tensors(folder.path / "model.safetensors", tensors);
  const Weights weights = Weights::load(config, folder.path);
  REQUIRE(values_of<double>(weights, spec)[5] == 1e300);
  REQUIRE(says(error_of([&] { values_of<float>(weights, spec); }), {"infinity", "element 5"}));
}

TEST_CASE("tensors that are not aligned are read all the same", "[weights]") {
  const TemporaryFolder folder;
  const ModelConfig config = small_config();
  Tensors tensors = random_tensors(config);
  const TensorSpec norm = specs_of(config).at("model.norm.weight");
  HostTensor doubles(DType::f64, norm.shape);
  std::iota(doubles.as<double>().begin(), doubles.as<double>().end(), 0.25);
  tensors[norm.name] = std::move(doubles);
  write_tensors(folder.path / "model.safetensors", tensors);
  const Weights aligned = Weights::load(config, folder.path);

  std::string file = read_file(folder.path / "model.safetensors");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  REQUIRE(length % 8 == 0);
  file.insert(8 + length, "   ");
  length += 3;
  std::memcpy(file.data(), &length, 8);
  write_file(folder.path / "odd.safetensors", file);
  const Weights odd = Weights::load(config, folder.path / "odd.safetensors");
  for (const auto& spec : expected_tensors(config)) {
    INFO(spec.name);
    REQUIRE(values_of<double>(odd, spec) == values_of<double>(aligned, spec));
    REQUIRE(values_of<float>(odd, spec) == values_of<float>(aligned, spec));
  }
}

TEST_CASE("MXFP4 blocks unpack to the published code's values, beside experts stored plain", "[weights]") {
  const TemporaryFolder folder;
  const SafeTensors golden = SafeTensors::open(goldens() / "mxfp4.safetensors");
  const ModelConfig config = small_gpt_oss();
  const std::string name = "model.layers.0.mlp.experts.gate_up_proj";
  const TensorSpec spec = specs_of(config).at(name);
  Tensors tensors = random_tensors(config);
  tensors.erase(name);
  tensors[name + "_blocks"] = owned(golden.at("gate_up_proj_blocks"));
  tensors[name + "_scales"] = owned(golden.at("gate_up_proj_scales"));
  const auto save = [&] { write_tensors(folder.path / "model.safetensors", tensors); };
  const auto load_error = [&] {
    save();
    return error_of([&] { Weights::load(config, folder.path); });
  };
  save();
  const Weights weights = Weights::load(config, folder.path);
  const auto expected = golden.at("gate_up_proj").as<float>();
  const auto narrow = values_of<float>(weights, spec);
  const auto wide = values_of<double>(weights, spec);
  REQUIRE(std::equal(narrow.begin(), narrow.end(), expected.begin(), expected.end()));
  REQUIRE(std::equal(wide.begin(), wide.end(), expected.begin(), expected.end()));
  REQUIRE(weights.contains(name));
  REQUIRE_FALSE(weights.contains(name + "_blocks"));

  // Scale 255 is NaN. Group 25 = (6 + 2) 3 + 1 is expert 1, row 2, inputs 32..63: element (96 + 32) 6 + 2.
  tensors[name + "_scales"].as<uint8_t>()[25] = 255;
  save();
  const Weights damaged = Weights::load(config, folder.path);
  REQUIRE(says(error_of([&] { values_of<double>(damaged, spec); }), {name, "NaN", "element 770"}));
  // 2^127 times 6 is beyond f32.
  tensors[name + "_scales"].as<uint8_t>()[25] = 254;
  tensors[name + "_blocks"].as<uint8_t>()[25 * size_t{16}] = 0x07;
  save();
  const Weights large = Weights::load(config, folder.path);
  REQUIRE(values_of<double>(large, spec)[770] == std::ldexp(6, 127));
  REQUIRE(says(error_of([&] { values_of<float>(large, spec); }), {name, "infinity", "element 770"}));

  tensors[name + "_blocks"] = filled(DType::u8, {2, 6, 3, 8});
  REQUIRE(says(load_error(), {name + "_blocks", "[2, 6, 3, 8]", "[2, 6, 3, 16]"}));
  tensors[name + "_blocks"] = filled(DType::f32, {2, 6, 3, 16});
  REQUIRE(says(load_error(), {name + "_blocks", "f32", "u8"}));
  tensors[name + "_blocks"] = filled(DType::u8, {2, 6, 3, 16});
  tensors[name + "_scales"] = filled(DType::u8, {2, 6, 4});
  REQUIRE(says(load_error(), {name + "_scales", "[2, 6, 4]", "[2, 6, 3]"}));
  tensors.erase(name + "_scales");
  REQUIRE(says(load_error(), {name, "missing", "[2, 96, 6]"}));
  tensors[name + "_scales"] = filled(DType::u8, {2, 6, 3});
  tensors[name] = filled(DType::f32, {2, 96, 6});
  REQUIRE(says(load_error(), {"unexpected", name + "_blocks"}));
  tensors.erase(name + "_scales");
  tensors.erase(name + "_blocks");
  REQUIRE(load_error().empty());
  // 3 inputs of down_proj do not fill a group of 32.
  const std::string down = "model.layers.0.mlp.experts.down_proj";
  tensors.erase(down);
  tensors[down + "_blocks"] = filled(DType::u8, {2, 96, 1, 16});
  tensors[down + "_scales"] = filled(DType::u8, {2, 96, 1});
  REQUIRE(says(load_error(), {down, "[2, 3, 96]", "32"}));
}

TEST_CASE("a checkpoint that does not fit the config is refused, naming the tensor", "[weights]") {
  const TemporaryFolder folder;
  const ModelConfig config = small_config();
  const auto load_error = [&](auto damage) {
    Tensors tensors = random_tensors(config);
    damage(tensors);
    write_tensors(folder.path / "model.safetensors", tensors);
    return error_of([&] { Weights::load(config, folder.path); });
  };
  const std::string gate = "model.layers.1.mlp.gate.weight";
  REQUIRE(load_error([](Tensors&) {}).empty());
  REQUIRE(says(load_error([&](Tensors& t) { t.erase(gate); }), {folder.path.string(), gate, "missing", "[4, 32]"}));
  REQUIRE(says(load_error([&](Tensors& t) { t[gate] = filled(DType::f32, {32, 4}); }), {gate, "[32, 4]", "[4, 32]"}));
  REQUIRE(says(load_error([&](Tensors& t) { t[gate] = filled(DType::i32, {4, 32}); }), {gate, "i32", "bf16"}));
  REQUIRE(says(load_error([&](Tensors& t) { t[gate] = filled(DType::u8, {4, 32}); }), {gate, "u8", "bf16"}));
  REQUIRE(says(load_error([&](Tensors& t) { t["model.layers.1.mlp.gate.bias"] = filled(DType::f32, {4}); }),
               {"unexpected tensor", "model.layers.1.mlp.gate.bias", "[4]", "config"}));
  REQUIRE(says(load_error([&](Tensors& t) { t["model.layers.3.input_layernorm.weight"] = filled(DType::f32, {32}); }),
               {"unexpected tensor", "model.layers.3."}));
  REQUIRE(says(load_error([&](Tensors& t) { t["two\nlines"] = filled(DType::f32, {4}); }), {R"("two\nlines")"}));
  REQUIRE(says(load_error([&](Tensors& t) { t["lm_head.weight_blocks"] = filled(DType::u8, {4}); }),
               {"unexpected tensor", "lm_head.weight_blocks"}));
  REQUIRE(load_error([&](Tensors& t) {
            t["model.layers.0.attention.slope"] = filled(DType::f32, {4});
            t["model.layers.2.attention.rotary_emb.cos"] = filled(DType::i64, {4});
            t["inv_freq"] = filled(DType::f32, {4});
            t["model.mtp.norm.weight"] = filled(DType::f32, {4});
          }).empty());
  // What the v1 class makes of num_shared_experts 0.
  REQUIRE(load_error([&](Tensors& t) {
            t["model.layers.0.mlp.shared_experts.up_proj.weight"] = filled(DType::f32, {0, 32});
          }).empty());
  REQUIRE(says(load_error([&](Tensors& t) { t["empty"] = filled(DType::f32, {0, 32}); }), {"unexpected tensor"}));
}

TEST_CASE("the fingerprint of a checkpoint follows its content, not its place", "[weights]") {
  const TemporaryFolder folder;
  const ModelConfig config = small_config();
  Tensors tensors = random_tensors(config);
  const auto fingerprint = [&](const std::string& name) {
    fs::create_directories(folder.path / name);
    write_tensors(folder.path / name / "model.safetensors", tensors);
    const Weights weights = Weights::load(config, folder.path / name / "");
    REQUIRE(weights.label() == name);
    return weights.fingerprint();
  };
  const std::string original = fingerprint("a");
  REQUIRE(fingerprint("b") == original);
  tensors["lm_head.weight"].as<float>()[640] += 1;  // the middle, row 20
  REQUIRE(fingerprint("c") != original);
}

TEST_CASE("a damaged safetensors file is refused, saying what is wrong with what", "[weights]") {
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
  };
  const std::string good = entry("F32", "[2, 3]", "[0, 24]");
  REQUIRE(parse_error_of(file_image(R"({"a":)" + good + "}", 24)).empty());
  REQUIRE(parse_error_of(file_image(R"({"__metadata__":{"format":"pt"},"a":)" + good + "}  ", 24)).empty());
  REQUIRE(parse_error_of(file_image(R"({"none":)" + entry("F64", "[0, 7]", "[0, 0]") + "}", 0)).empty());
  REQUIRE(parse_error_of(file_image(R"({"scalar":)" + entry("I64", "[]", "[0, 8]") + "}", 8)).empty());
  REQUIRE(parse_error_of(file_image("{}", 0)).empty());

  std::string long_header = file_image(R"({"a":)" + good + "}", 24), huge_header = long_header;
  const uint64_t too_long = long_header.size() - 8 + 1, huge = uint64_t{1} << 63;
  std::memcpy(long_header.data(), &too_long, 8);
  std::memcpy(huge_header.data(), &huge, 8);

  struct Case {
    const char* what;
    std::string image;
    std::vector<std::string> message;
  };
  const auto one = [&](const std::string& e, size_t bytes) { return file_image(R"({"a":)" + e + "}", bytes); };
  const auto two = [&](const std::string& a, const std::string& b, size_t bytes) {
    return file_image(R"({"a":)" + a + R"(,"b":)" + b + "}", bytes);
  };
  const std::vector<Case> cases{
      {"empty", "", {"0 bytes", "too few"}},
      {"shorter than the length", "1234567", {"7 bytes", "too few"}},
      {"header beyond the file", long_header, {"cut short"}},
      {"header length above the limit", huge_header, {"9223372036854775808", "100000000"}},
      {"no JSON", file_image("not json", 0), {"not valid JSON"}},
      {"JSON cut off", file_image(R"({"a":{"dtype")", 0), {"not valid JSON"}},
      {"not UTF-8", file_image("{\"\xff\":1}", 0), {"not valid JSON"}},
      {"two JSON values", file_image("{} {}", 0), {"not valid JSON"}},
      {"nested too deep", file_image(std::string(100000, '['), 0), {"nested deeper"}},
      {"a list", file_image("[]", 0), {"not a JSON object"}},
      {"entry is a number", file_image(R"({"a":1})", 0), {"\"a\"", "dtype, shape and data_offsets"}},
      {"no shape", file_image(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4), {"\"a\"", "shape"}},
      {"dtype is a number", file_image(R"({"a":{"dtype":1,"shape":[],"data_offsets":[0,4]}})", 4), {"\"a\"", "dtype"}},
      {"dtype BOOL", one(entry("BOOL", "[4]", "[0, 4]"), 4), {"\"a\"", "\"BOOL\"", "not supported", "BF16"}},
      {"dtype F8", one(entry("F8_E4M3", "[4]", "[0, 4]"), 4), {"\"a\"", "\"F8_E4M3\"", "not supported"}},
      {"shape is a string", one(entry("F32", R"("6")", "[0, 24]"), 24), {"\"a\"", "shape"}},
      {"negative size", one(entry("F32", "[-2, -3]", "[0, 24]"), 24), {"\"a\"", "shape"}},
      {"fraction as size", one(entry("F32", "[6.0]", "[0, 24]"), 24), {"\"a\"", "shape"}},
      {"size beyond 63 bits", one(entry("F32", "[9223372036854775808]", "[0, 24]"), 24), {"\"a\"", "shape"}},
      {"product overflows", one(entry("F32", "[4294967296, 4294967296]", "[0, 0]"), 0), {"\"a\"", "overflows"}},
      {"overflow hidden by a zero", one(entry("U8", "[4294967296, 4294967296, 0]", "[0, 0]"), 0), {"overflows"}},
      {"offsets are three", one(entry("F32", "[6]", "[0, 24, 24]"), 24), {"\"a\"", "data_offsets"}},
      {"negative offset", one(entry("F32", "[6]", "[-24, 0]"), 24), {"\"a\"", "data_offsets"}},
      {"end before begin", one(entry("F32", "[6]", "[24, 0]"), 24), {"\"a\"", "[24, 0]"}},
      {"too few bytes for the shape", one(entry("F32", "[2, 3]", "[0, 20]"), 20), {"\"a\"", "[2, 3]", "24 bytes"}},
      {"too many bytes for the shape", one(entry("F16", "[2, 3]", "[0, 24]"), 24), {"\"a\"", "f16", "12 bytes"}},
      {"file cut off", one(good, 23), {"\"a\"", "24", "23", "cut short"}},
      {"trailing bytes", one(good, 25), {"1 trailing bytes"}},
      {"data without tensors", file_image("{}", 3), {"3 trailing bytes"}},
      {"gap at the start", one(entry("F32", "[1]", "[4, 8]"), 8), {"\"a\"", "gap", "expected 0"}},
      {"gap", two(entry("F32", "[1]", "[0, 4]"), entry("F32", "[1]", "[8, 12]"), 12), {"\"b\"", "gap", "expected 4"}},
      {"overlap", two(entry("F32", "[2]", "[0, 8]"), entry("F32", "[2]", "[4, 12]"), 12), {"\"b\"", "inside"}},
      {"same place twice", two(entry("F32", "[2]", "[0, 8]"), entry("F32", "[2]", "[0, 8]"), 8), {"inside"}},
      {"duplicate name", file_image(R"({"a":)" + good + R"(,"a":)" + good + "}", 24), {"\"a\" is there twice"}},
      {"duplicate field",
       file_image(R"({"a":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4),
       {"\"dtype\" is there twice"}},
      {"metadata is not strings", file_image(R"({"__metadata__":{"step":3}})", 0), {"__metadata__"}},
      {"a name that would break the line", file_image(R"({"a\nb":1})", 0), {R"("a\nb")"}},
      {"an endless name", file_image("{\"" + std::string(5000, 'n') + "\":1}", 0), {"nnn..."}},
  };
  for (const Case& c : cases) {
    INFO(c.what);
    const std::string message = parse_error_of(c.image);
    REQUIRE(says(message, c.message));
    REQUIRE(says(message, {"some.safetensors: "}));
  }
}

TEST_CASE("an absent, empty or odd path is refused by name", "[weights]") {
  const TemporaryFolder folder;
  REQUIRE(says(error_of([&] { SafeTensors::open(folder.path / "absent"); }), {"absent", "no such file or folder"}));
  REQUIRE(says(error_of([&] { SafeTensors::open(folder.path); }), {folder.path.string(), "model.safetensors.index"}));
  REQUIRE(says(error_of([&] { SafeTensors::open("/dev/null"); }), {"/dev/null", "not a file"}));
  write_file(folder.path / "model.safetensors", "");
  REQUIRE(says(error_of([&] { SafeTensors::open(folder.path); }), {"model.safetensors", "too few"}));
  REQUIRE(says(error_of([&] { SafeTensors::open(goldens() / "qwen3").at("no.such"); }), {"qwen3", "\"no.such\""}));
}

TEST_CASE("shards are opened through their index, links included, and must agree with it", "[weights]") {
  const TemporaryFolder blobs, folder;
  const HostTensor one = filled(DType::f32, {1}, 1), two = filled(DType::f32, {2}, 2);
  const fs::path first = folder.path / "first.safetensors", second = folder.path / "second.safetensors";
  const auto write = [](const fs::path& path, const std::vector<std::pair<std::string, HostTensorView>>& tensors) {
    write_safetensors(path, tensors);
  };
  const auto open_error = [&](const std::string& index) {
    write_file(folder.path / "model.safetensors.index.json", index);
    return error_of([&] { SafeTensors::open(folder.path); });
  };
  const auto map_of = [](const std::string& entries) { return R"({"metadata":{},"weight_map":{)" + entries + "}}"; };
  const std::string index = map_of(R"("a":"first.safetensors","b":"second.safetensors")");

  // A snapshot of the Hugging Face cache: links to blobs.
  write(blobs.path / "blob1", {{"a", one}});
  write(blobs.path / "blob2", {{"b", two}});
  fs::create_symlink(blobs.path / "blob1", first);
  fs::create_symlink(blobs.path / "blob2", second);
  REQUIRE(open_error(index).empty());
  const SafeTensors opened = SafeTensors::open(folder.path);
  REQUIRE(opened.tensors().size() == 2);
  REQUIRE(opened.at("b").shape == std::vector<int64_t>{2});
  REQUIRE(opened.at("b").as<float>()[1] == two.as<float>()[1]);

  fs::remove(blobs.path / "blob2");
  REQUIRE(says(open_error(index), {"second.safetensors", "shard is missing"}));
  fs::remove(second);
  REQUIRE(says(open_error(index), {"second.safetensors", "shard is missing"}));
  write(second, {{"a", one}, {"b", two}});
  REQUIRE(says(open_error(index), {"second.safetensors", "\"a\"", "places in \"first.safetensors\""}));
  write(second, {{"b", two}, {"c", two}});
  REQUIRE(says(open_error(index), {"second.safetensors", "\"c\"", "the index does not have"}));
  write(second, {{"b", two}});
  REQUIRE(says(open_error(map_of(R"("a":"first.safetensors","b":"second.safetensors","d":"first.safetensors")")),
               {"first.safetensors", "\"d\" is missing"}));
  REQUIRE(says(open_error(map_of(R"("a":"first.safetensors","a":"second.safetensors")")), {"\"a\" is there twice"}));
  REQUIRE(says(open_error(map_of(R"("a":"../first.safetensors")")), {"\"a\"", "same folder"}));
  REQUIRE(says(open_error(map_of(R"("a":7)")), {"\"a\"", "same folder"}));
  REQUIRE(says(open_error(map_of("")), {"empty"}));
  REQUIRE(says(open_error("[]"), {"weight_map"}));
  REQUIRE(says(open_error("{"), {"model.safetensors.index.json", "not valid JSON"}));
}

TEST_CASE("what is written is read back, aligned and complete", "[weights]") {
  const TemporaryFolder folder;
  const fs::path path = folder.path / "model.safetensors";
  Tensors tensors;
  int fill = 1;
  for (const DType dtype : {DType::u8, DType::f64, DType::f32, DType::f16, DType::bf16, DType::i64, DType::i32})
    tensors[std::string(name_of(dtype))] = filled(dtype, {3, 5}, fill++);
  tensors["scalar"] = filled(DType::f32, {}, 9);
  tensors["none"] = filled(DType::f32, {0, 4});
  tensors["\"quoted\" \u00e9"] = filled(DType::u8, {2}, 10);  // 17 bytes of u8 in all
  std::vector<std::pair<std::string, HostTensorView>> views;
  for (const auto& [name, tensor] : tensors) views.emplace_back(name, tensor);
  write_safetensors(path, views, {{"format", "pt"}});
  write_safetensors(path, views, {{"format", "pt"}});  // over an old one

  const SafeTensors read = SafeTensors::open(path);
  REQUIRE(read.tensors().size() == tensors.size());
  for (const auto& [name, tensor] : tensors) {
    INFO(name);
    const HostTensorView& view = read.at(name);
    REQUIRE(view.dtype == tensor.dtype());
    REQUIRE(view.shape == tensor.shape());
    REQUIRE(std::memcmp(view.data, tensor.raw(), static_cast<size_t>(tensor.bytes())) == 0);
    REQUIRE(reinterpret_cast<uintptr_t>(view.data) % static_cast<size_t>(size_of(view.dtype)) == 0);
  }
  REQUIRE(read_file(path).find(R"("__metadata__":{"format":"pt"})") != std::string::npos);
  REQUIRE(std::distance(fs::directory_iterator(folder.path), {}) == 1);
}

TEST_CASE("a write that fails names path and reason, and leaves the old file and nothing else", "[weights]") {
  const TemporaryFolder folder;
  const fs::path path = folder.path / "model.safetensors";
  const HostTensor small = filled(DType::f32, {1}), large = filled(DType::u8, {1 << 16});
  const auto write_error = [](const fs::path& to, const std::vector<std::pair<std::string, HostTensorView>>& tensors) {
    return error_of([&] { write_safetensors(to, tensors); });
  };
  REQUIRE(says(write_error(folder.path / "absent" / "x", {{"a", small}}), {"absent/x", "No such file"}));
  REQUIRE(says(write_error(folder.path, {{"a", small}}), {folder.path.string(), "directory"}));
  REQUIRE(says(write_error(path, {{"a", small}, {"a", small}}), {path.string(), "two tensors", "\"a\""}));
  REQUIRE(says(write_error(path, {{"__metadata__", small}}), {path.string(), "__metadata__"}));
  REQUIRE(says(write_error(path, {{"\xff", small}}), {path.string(), "UTF-8"}));
  REQUIRE(fs::is_empty(folder.path));
  if (fs::exists("/dev/full")) {
    // Through a link: a mistake here must not replace the device.
    const fs::path full = folder.path / "full";
    fs::create_symlink("/dev/full", full);
    REQUIRE(says(write_error(full, {{"a", small}}), {full.string(), "No space left"}));
    REQUIRE(fs::is_symlink(full));
    fs::remove(full);
  }

  // A disk that fills up half way, played by a limit on file sizes.
  REQUIRE(write_error(path, {{"a", small}}).empty());
  const std::string old = read_file(path);
  struct rlimit limit {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &limit) == 0);
  const struct rlimit low { 4096, limit.rlim_max };
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &low) == 0);
  const std::string message = write_error(path, {{"a", large}});
  ::setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, handler);
  REQUIRE(says(message, {path.string(), "cannot write", "large"}));
  REQUIRE(read_file(path) == old);
  REQUIRE(std::distance(fs::directory_iterator(folder.path), {}) == 1);
}

TEST_CASE("checkpoints are found in the local Hugging Face cache", "[weights]") {
  const TemporaryFolder cache;
  const auto add = [&](const fs::path& hub, const std::string& repository, const std::string& revision) {
    fs::create_directories(hub / repository / "snapshots" / revision);
    fs::create_directories(hub / repository / "refs");
    write_file(hub / repository / "refs" / "main", revision + "\n");
    return hub / repository / "snapshots" / revision;
  };
  const Variable home("HOME", cache.path / "home"), no_xdg("XDG_CACHE_HOME", ""), no_hf("HF_HOME", ""),
      no_hub("HF_HUB_CACHE", "");
  const fs::path in_home = add(cache.path / "home/.cache/huggingface/hub", "models--org--repo", "abc");
  REQUIRE(find_checkpoint("org/repo") == in_home);
  {
    const fs::path in_xdg = add(cache.path / "xdg/huggingface/hub", "models--org--repo", "def");
    const Variable xdg("XDG_CACHE_HOME", cache.path / "xdg");
    REQUIRE(find_checkpoint("org/repo") == in_xdg);
    const fs::path in_hf = add(cache.path / "hf/hub", "models--org--repo", "0123");
    const Variable hf("HF_HOME", cache.path / "hf");
    REQUIRE(find_checkpoint("org/repo") == in_hf);
    const fs::path in_hub = add(cache.path / "cache", "models--org--repo", "4567");
    const Variable hub("HF_HUB_CACHE", cache.path / "cache");
    REQUIRE(find_checkpoint("org/repo") == in_hub);
    REQUIRE(find_checkpoint("org/other").empty());
  }
  REQUIRE(find_checkpoint(in_home.string()) == in_home);
  for (const char* name : {"org", "org/", "/repo", "org/repo/more", "no/such", ""}) {
    INFO(name);
    REQUIRE(find_checkpoint(name).empty());
  }
  fs::remove_all(in_home);  // refs/main names a snapshot that is gone
  REQUIRE(find_checkpoint("org/repo").empty());

  const ModelConfig config = small_config();
  const fs::path snapshot = add(cache.path / "home/.cache/huggingface/hub", "models--org--small", "beef");
  write_tensors(snapshot / "model.safetensors", random_tensors(config));
  REQUIRE(Weights::load(config, find_checkpoint("org/small")).label() == "org/small");
}
