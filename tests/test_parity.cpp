// Parity: right engines pass at every level, wrong ones are caught and named, certificates cover what they say, dumps,
// the ablation, and the command from outside.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "harness/certificate.h"
#include "harness/engines.h"
#include "harness/parity.h"
#include "harness/parity_ablation.h"
#include "harness/parity_dump.h"
#include "harness/parity_mutants.h"
#include "harness/parity_reference.h"
#include "tests/catch.h"
#include "tests/folder.h"
#include "tests/golden.h"
#include "tests/preset.h"
#include "tests/program.h"

using namespace ringbench;
namespace fs = std::filesystem;
using Json = nlohmann::json;

namespace {

// A model with its weights, and the engine that is to be judged: the reference in f32 unless a test says otherwise.
struct ParityCase {
  Weights weights;
  Subject subject;

  ParityCase(const ModelConfig& config, Weights w, const std::string& engine = "reference") : weights(std::move(w)) {
    subject.engine = engine;
    subject.config = config;
    subject.weights = &weights;
    subject.options.dtype = default_dtype(engine);
    subject.make = [this, engine](const ModelConfig& c, const EngineOptions& options) {
      return make_engine(engine, c, weights, options);
    };
  }
  ParityCase(const ParityCase&) = delete;

  // The candidate computes another model than the one it is judged by.
  void change(const std::function<void(ModelConfig&)>& edit) {
    subject.make = [this, edit](const ModelConfig& c, const EngineOptions& options) {
      ModelConfig other = c;
      edit(other);
      return make_reference_engine(other, weights, options);
    };
  }
  // The candidate rounds.
  void round(const Precision& precision) {
    subject.make = [this, precision](const ModelConfig& c, EngineOptions options) {
      options.precision = precision;
      return make_reference_engine(c, weights, options);
    };
  }
};

std::unique_ptr<ParityCase> small_case(const std::string& name = "tiny", const std::string& engine = "reference") {
  if (fs::exists(goldens() / name)) {
    const ModelConfig config = ModelConfig::load(goldens() / name / "config.json");
    return std::make_unique<ParityCase>(config, Weights::load(config, goldens() / name), engine);
  }
  const ModelConfig config = preset(name);
  return std::make_unique<ParityCase>(config, Weights::random(config, 0), engine);
}

ParityScope scope_of(const std::vector<std::string>& levels, int64_t tokens = 83, int64_t chunk = 32) {
  ParityScope scope;
  scope.levels = levels;
  scope.tokens = tokens;
  scope.chunk = chunk;
  scope.steps = 3;
  return scope;
}

std::string failures(const Findings& findings) {
  std::string text;
  for (const Check& check : findings.checks)
    if (check.status != CheckStatus::pass)
      text += check.level + ": " + check.name + " " + check.metric + ": " + check.text + "\n";
  return text;
}

const Check* find(const Findings& findings, const std::string& level, const std::string& name) {
  for (const Check& check : findings.checks)
    if (check.level == level && check.name == name) return &check;
  return nullptr;
}

Precision all_bf16() {
  constexpr Rounding b = Rounding::bf16;
  return {b, b, b, b, b, b, b, Rounding::none, b, Rounding::none, Rounding::none};
}

}  // namespace

TEST_CASE("the f32 reference passes every level, on models of every family") {
  for (const char* name : {"tiny", "v1_hybrid", "v1_softmax", "v2_hybrid", "qwen2", "qwen3", "gpt_oss"}) {
    const auto c = small_case(name);
    ParityScope scope = scope_of({"layer", "state", "model", "self", "yarn", "depth"}, 70);
    scope.depth = 300;
    const Findings findings = check_parity(c->subject, scope);
    INFO(name << "\n" << failures(findings));
    CHECK(failures(findings) == "");
    CHECK(findings.worst() < 1);
    CHECK(findings.depth == 300);
    CHECK(static_cast<int>(findings.layers.size()) == c->subject.config.num_hidden_layers);
    // Nothing was forgotten: every layer has its output, its routing where it routes, its state.
    for (int i = 0; i < c->subject.config.num_hidden_layers; ++i) {
      const std::string layer = "layer " + std::to_string(i) + " ";
      const bool linear = c->subject.config.layer_types[static_cast<size_t>(i)] == LayerType::linear_attention;
      for (const char* what : {"attn_in", "q", "attn_ctx", "attn_out", "mlp_in", "mlp_out", "stream"})
        CHECK(find(findings, "layer", layer + what) != nullptr);
      CHECK((find(findings, "layer", layer + "topk_ids") != nullptr) == c->subject.config.is_moe(i));
      for (const char* level : {"state", "depth"})
        CHECK(find(findings, level, layer + (linear ? "state.kv" : "state.k")) != nullptr);
    }
  }
}

TEST_CASE("a candidate that rounds as it says passes, with about half of its budget, jumps of routing included") {
  for (const char* name : {"tiny", "v2_hybrid", "gpt_oss"}) {
    const auto c = small_case(name);
    c->round(all_bf16());
    const Findings findings = check_parity(c->subject, scope_of({"layer", "state", "model", "self"}));
    INFO(name << "\n" << failures(findings));
    CHECK(failures(findings) == "");
    CHECK(findings.worst() > 0.3);
    CHECK(findings.worst() < 1);
  }
}

TEST_CASE("the CUDA kernels on a CPU pass") {
  for (const char* dtype : {"bf16", "f32"}) {
    const auto c = small_case("tiny", "emulated");
    c->subject.options.dtype = parse_dtype(dtype, "emulated");
    const Findings findings = check_parity(c->subject, scope_of({"layer", "state", "model", "self"}, 37, 16));
    INFO(dtype << "\n" << failures(findings));
    CHECK(failures(findings) == "");
    CHECK(findings.kernels.size() > 10);
    CHECK(std::is_sorted(findings.kernels.begin(), findings.kernels.end()));
  }
}

TEST_CASE("level op forces every variant that the engine lists, and covers those that take the model's shapes") {
  const auto c = small_case("tiny", "emulated");
  const Findings findings = check_parity(c->subject, scope_of({"op"}, 19, 16));
  INFO(failures(findings));
  CHECK(failures(findings) == "");
  size_t listed = 0;
  for (const std::string& line : engine_kernels("emulated"))
    listed += 1 + static_cast<size_t>(std::count(line.begin(), line.end(), ','));
  size_t declined = 0;
  for (const std::string& note : findings.notes)
    if (note.starts_with("op: ")) declined += static_cast<size_t>(std::count(note.begin(), note.end(), '='));
  CHECK(findings.checks.size() + declined == listed);
  for (const Check& check : findings.checks)
    CHECK(std::find(findings.kernels.begin(), findings.kernels.end(), check.name) != findings.kernels.end());
  CHECK(std::find(findings.kernels.begin(), findings.kernels.end(), "rms_norm=plain") != findings.kernels.end());
  CHECK(check_parity(small_case()->subject, scope_of({"op"})).checks.empty());  // the reference has no kernels
}

TEST_CASE("every planted fault is caught, where it was planted; the control passes") {
  const std::vector<MutantResult> results = run_mutants([](const std::string&) {});
  REQUIRE(results.size() == mutant_names().size());
  REQUIRE(results.size() > 20);
  const std::map<std::string, std::string> where = {{"nan_logit", "model logits"},
                                                    {"swapped_heads", "layer layer 2 attn_ctx"},
                                                    {"transposed_state", "state layer 0 state.kv"},
                                                    {"neighbours_decay", "layer layer 0 attn_ctx"},
                                                    {"yarn_factor", "layer layer 0 q"},
                                                    {"softmax_layer_index", "layer layer 2 attn_ctx"},
                                                    {"window_off_by_one", "layer layer 1 attn_ctx"},
                                                    {"swapped_experts", "layer layer 1 mlp_out"},
                                                    {"bias_ignored", "layer layer 1 topk_ids"},
                                                    {"scaling_factor", "layer layer 1 topk_weights"},
                                                    {"rms_eps", "layer layer 0 attn_in"},
                                                    {"residual", "layer layer 2 mlp_in"},
                                                    {"lm_head_row", "model logits"},
                                                    {"neighbours_state", "self in company: logits"},
                                                    {"lost_seek", "self seek"}};
  size_t looked_at = 0;
  for (const MutantResult& result : results) {
    INFO(result.name << " " << result.level << " " << result.check << " " << result.text);
    CHECK(result.as_expected());
    if (const auto expected = where.find(result.name); expected != where.end()) {
      CHECK(result.level + " " + result.check == expected->second);
      ++looked_at;
    }
  }
  CHECK(looked_at == where.size());
  CHECK(mutants_text(results, Format::md).find("SURVIVED") == std::string::npos);
}

TEST_CASE("a linear state in bf16 is a failure, also of an engine that says that it rounds it") {
  const auto c = small_case();
  Precision precision = all_bf16();
  precision.state = Rounding::bf16;
  c->round(precision);
  const Findings findings = check_parity(c->subject, scope_of({"layer", "state"}));
  REQUIRE(find(findings, "state", "layer 0 state type") != nullptr);
  CHECK(find(findings, "state", "layer 0 state type")->status == CheckStatus::fail);
  precision = {};
  precision.state = Rounding::bf16;
  c->round(precision);
  const Findings plain = check_parity(c->subject, scope_of({"layer", "state"}));
  CHECK(find(plain, "layer", "layer 0 attn_ctx")->status == CheckStatus::fail);
  CHECK(find(plain, "state", "layer 0 state.kv")->status == CheckStatus::fail);
}

TEST_CASE("fail_fast ends at the first failure, bisect names the first layer that adds too much") {
  const auto c = small_case();
  c->change([](ModelConfig& config) { config.routed_scaling_factor = 2.4; });  // layer 0 is dense
  ParityScope scope = scope_of({"layer", "model"});
  scope.fail_fast = true;
  const Findings fast = check_parity(c->subject, scope);
  REQUIRE(fast.first_failure() != nullptr);
  CHECK(fast.first_failure() == &fast.checks.back());
  CHECK(fast.first_failure()->name == "layer 1 topk_weights");
  scope = scope_of({"model"});
  scope.bisect = true;
  const Findings bisected = check_parity(c->subject, scope);
  REQUIRE(bisected.first_failure() != nullptr);
  CHECK(bisected.first_failure()->name == "layer 1 stream so far");
  CHECK(bisected.notes.front().find("layer 1") != std::string::npos);
}

TEST_CASE("YaRN left out is seen at level yarn only, a wrong angle at depth") {
  const auto c = small_case();  // has none of its own
  c->change([](ModelConfig& config) { config.rope_scaling.reset(); });
  CHECK(check_parity(c->subject, scope_of({"layer"})).first_failure() == nullptr);
  const Findings yarn = check_parity(c->subject, scope_of({"yarn"}));
  REQUIRE(yarn.first_failure() != nullptr);
  CHECK(yarn.first_failure()->name == "layer 0 q");
  c->change([](ModelConfig& config) { config.rope_theta *= 1.001; });
  ParityScope deep = scope_of({"depth"});
  deep.depth = 1000;
  deep.layers = {3};
  const Findings depth = check_parity(c->subject, deep);
  REQUIRE(depth.first_failure() != nullptr);
  CHECK(depth.first_failure()->name == "layer 3 q");
  CHECK(depth.layers == std::vector<int>{3});
}

TEST_CASE("where the truth is plain, agreement is mistrusted") {
  const ModelConfig config = preset("tiny");
  ParityCase c(config, Weights::random(config, 0, Dummy::zero));
  const ParityScope scope = scope_of({"layer", "model"}, 20);
  const Findings findings = check_parity(c.subject, scope);
  CHECK(findings.first_failure() == nullptr);
  CHECK(findings.mistrusted());
  CHECK(make_certificate(c.subject, scope, findings).verdict == "mistrusted");
}

TEST_CASE("a model walked layer by layer has the logits and routes of the whole one") {
  for (const char* name : {"v1_hybrid", "v2_hybrid", "qwen2", "gpt_oss"}) {
    const auto c = small_case(name);
    const ParityScope scope = scope_of({"model"});
    References references(c->subject, scope);
    for (const Precision& precision : {Precision{}, all_bf16()}) {
      const auto silent = [](const std::string&) {};
      const Walk &whole = references.walk(1, precision, silent), streamed = references.streamed(1, precision, silent);
      INFO(name);
      CHECK(whole.rows == streamed.rows);
      CHECK(max_abs_difference(whole.logits, streamed.logits) <= 1e-12);
      CHECK(whole.experts == streamed.experts);
    }
  }
}

TEST_CASE("a model larger than memory is checked one layer at a time, and a wrong layer is found") {
  const auto c = small_case();
  c->subject.one_layer_at_a_time = true;
  const ParityScope scope = scope_of({"layer", "state", "model", "self"});
  const Findings findings = check_parity(c->subject, scope);
  INFO(failures(findings));
  CHECK(failures(findings) == "");
  CHECK(findings.layers == std::vector<int>{0, 1, 2, 3});
  CHECK(find(findings, "layer", "layer 3 mlp_out") != nullptr);
  CHECK(find(findings, "state", "layer 0 state.kv") != nullptr);
  c->subject.options.precision.operands = Rounding::bf16;  // of the candidate; the truth does not round
  const Findings rounded = check_parity(c->subject, scope);
  REQUIRE(rounded.first_failure() != nullptr);
  CHECK(rounded.first_failure()->name == "layer 0 attn_ctx");
}

TEST_CASE("a certificate comes back as it was written; one that was changed does not") {
  const auto c = small_case();
  const ParityScope scope = scope_of({"layer", "model"}, 20);
  const Certificate certificate = make_certificate(c->subject, scope, check_parity(c->subject, scope));
  CHECK(certificate.verdict == "pass");
  CHECK(certificate.id == make_certificate(c->subject, scope, check_parity(c->subject, scope)).id);
  const Folder folder;
  const fs::path path = write_certificate(certificate, folder.path / "parity");
  CHECK(path.filename() == certificate.id + ".json");
  const std::vector<Certificate> read = read_certificates(folder.path / "parity");
  REQUIRE(read.size() == 1);
  CHECK(to_json(read[0]) == to_json(certificate));

  const Json json = Json::parse(to_json(certificate)),
             schema = Json::parse(std::ifstream(fs::path(RINGBENCH_SOURCE_DIR) / "configs/parity.schema.json"));
  for (const auto& key : schema["required"]) CHECK(json.contains(key.get<std::string>()));
  for (const auto& [key, value] : json.items()) CHECK(schema["properties"].contains(key));
  for (const auto& key : schema["properties"]["checks"]["items"]["required"])
    CHECK(json["checks"][0].contains(key.get<std::string>()));

  Json forged = json;
  forged["checks"][0]["status"] = "fail";
  CHECK_THROWS_AS(parse_certificate(forged.dump(), "forged"), UsageError);
  CHECK_THROWS_AS(parse_certificate("{}", "empty"), UsageError);
  std::ofstream(folder.path / "parity" / "forged.json") << forged;
  CHECK(read_certificates(folder.path / "parity").size() == 1);
}

TEST_CASE("a row passes only with this build, device, type and config, and every variant covered") {
  Certificate good;
  good.id = "1", good.build = "b", good.device = "d", good.engine = "cuda", good.dtype = "bf16", good.config_sha = "c";
  good.kernels = {"a=x", "a=y"};
  good.verdict = "pass";
  good.worst = 0.5;
  good.depth = 100;
  const MeasuredWith row = {"b", "d", "cuda", "bf16", "c", {"a=x"}};
  const auto status = [&](const std::vector<Certificate>& all, const MeasuredWith& with) {
    return parity_status(all, with).status;
  };
  CHECK(status({good}, row) == "pass");
  CHECK(status({}, row) == "none");
  MeasuredWith more = row;
  more.kernels = {"a=x", "b=z"};
  CHECK(status({good}, more) == "partial");
  CHECK(parity_status(std::vector{good}, more).missing == std::vector<std::string>{"b=z"});
  Certificate other = good;
  other.id = "2";
  other.kernels = {"b=z"};
  other.worst = 0.7;
  CHECK(status({good, other}, more) == "pass");
  CHECK(parity_status(std::vector{good, other}, more).worst == 0.7);

  for (auto member : {&Certificate::build, &Certificate::device}) {
    Certificate stale = good;
    stale.*member = "other";
    CHECK(status({stale}, row) == "stale");
    CHECK(status({stale, good}, row) == "pass");
  }
  for (auto member : {&Certificate::engine, &Certificate::dtype, &Certificate::config_sha}) {
    Certificate foreign = good;
    foreign.*member = "other";
    CHECK(status({foreign}, row) == "none");
  }
  Certificate failed = good;
  failed.verdict = "fail";
  CHECK(status({good, failed}, row) == "fail");
  Certificate doubtful = good, stale = good;
  doubtful.verdict = "mistrusted";
  stale.build = "other";
  CHECK(status({doubtful}, row) == "none");
  CHECK(status({stale, doubtful}, row) == "none");
}

TEST_CASE("dumps: an engine's own and those of public code are judged, a wrong one is named") {
  const auto c = small_case();
  const Folder folder;
  const ParityScope scope = scope_of({"layer"}, 40);
  save_dump(c->subject, scope, folder.path);
  const Findings own = check_dump(c->subject, scope, folder.path);
  INFO(failures(own));
  CHECK(failures(own) == "");
  CHECK(find(own, "model", "logits") != nullptr);
  CHECK(find(own, "state", "layer 0 state.kv") != nullptr);

  c->change([](ModelConfig& config) { config.group_norm_size = 1; });
  save_dump(c->subject, scope, folder.path);
  const Findings wrong = check_dump(c->subject, scope, folder.path / "dump.safetensors");
  REQUIRE(wrong.first_failure() != nullptr);
  CHECK(wrong.first_failure()->name == "layer 0 g_norm_out");

  for (const std::string& name : golden_cases()) {
    const auto golden = small_case(name);
    const Findings findings = check_dump(golden->subject, scope, goldens() / name);
    INFO(name << "\n" << failures(findings));
    CHECK(failures(findings) == "");
    CHECK(findings.checks.size() >= 7);
  }
  CHECK_THROWS_AS(check_dump(c->subject, scope, folder.path / "nothing"), UsageError);
  write_safetensors(folder.path / "dump.safetensors", {});
  CHECK_THROWS_AS(check_dump(c->subject, scope, folder.path), UsageError);
}

TEST_CASE("dumps under other names are judged by a file of names") {
  const auto c = small_case();
  const Folder folder;
  const ParityScope scope = scope_of({"layer"}, 40);
  save_dump(c->subject, scope, folder.path);
  const SafeTensors dump = SafeTensors::open(folder.path / "dump.safetensors");
  std::vector<std::pair<std::string, HostTensorView>> renamed;
  for (const auto& [name, view] : dump.tensors())
    renamed.emplace_back(name.starts_with("layer.") ? "blocks." + name.substr(6) + ".out" : name, view);
  write_safetensors(folder.path / "theirs.safetensors", renamed);
  const auto judged = [&](const Json& names) {
    std::ofstream(folder.path / "names.json") << names.dump();
    return check_dump(c->subject, scope, folder.path / "theirs.safetensors", folder.path / "names.json");
  };
  Json names;
  for (const auto& [name, view] : dump.tensors())
    if (name.starts_with("layer.1.")) names["blocks.{i}." + name.substr(8) + ".out"] = "layer.{i}." + name.substr(8);
  const Findings findings = judged(names);
  CHECK(failures(findings) == "");
  CHECK(find(findings, "layer", "layer 1 attn_out") != nullptr);
  CHECK(find(findings, "layer", "layer 0 attn_out") != nullptr);

  names["blocks.{i}.query"] = "layer.{i}.q";
  CHECK_THROWS_WITH(judged(names), Catch::Contains("no tensor of the dump is \"blocks.{i}.query\""));
  CHECK_THROWS_WITH(judged({{"blocks.{i}.attn_in.out", "layer.0.attn_in"}}), Catch::Contains("two tensors are"));
  CHECK_THROWS_AS(judged({{"input_ids", 3}}), UsageError);
}

TEST_CASE("ablation: fewer bits move the probabilities further, and what is exact moves nothing") {
  const auto c = small_case();
  AblationRequest request;
  request.points = {"state", "kv", "weights", "lm_head"};
  request.tokens = 96;
  request.prompts = 2;
  const std::vector<Ablation> rows = run_ablation(c->subject, request, [](const std::string&) {});
  REQUIRE(rows.size() == 7);
  const auto at = [&](const std::string& point, const std::string& type) {
    const auto found =
        std::find_if(rows.begin(), rows.end(), [&](const Ablation& r) { return r.point == point && r.type == type; });
    REQUIRE(found != rows.end());
    return *found;
  };
  for (const char* point : {"state", "kv", "weights"}) {
    INFO(point);
    CHECK(at(point, "fp8").kld_mean > at(point, "bf16").kld_mean);
    CHECK(at(point, "fp8").delta_logprob > at(point, "bf16").delta_logprob);
  }
  CHECK(at("weights", "bf16").kld_max <= 1e-15);  // random weights are bf16
  CHECK(at("lm_head", "bf16").routing_flips == 0);
  CHECK(at("lm_head", "bf16").kld_mean > 0);
  for (size_t i = 1; i < rows.size(); ++i) CHECK(rows[i - 1].kld_mean >= rows[i].kld_mean);

  const Folder folder;
  write_ablation(rows, c->subject, request, folder.path);
  const std::string csv = read_file(folder.path / "tiny.csv");
  CHECK(csv == ablation_text(rows, Format::csv));
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 8);
  CHECK(read_file(folder.path / "tiny.gp").find("tiny.csv") != std::string::npos);
  CHECK(Json::parse(ablation_text(rows, Format::json)).size() == 7);
  request.points = {"sate"};
  CHECK_THROWS_AS(run_ablation(c->subject, request, [](const std::string&) {}), UsageError);
}

// --- The command from outside ---

TEST_CASE("parity prints its verdict, keeps a certificate, and exits 0") {
  const Folder folder;
  const Ran r = run("parity --model tiny --engine reference --ctx 40 -q", folder.path);
  INFO(r.err);
  CHECK(r.code == 0);
  CHECK(r.err.empty());
  CHECK(r.out.find("\nPASS  ") != std::string::npos);
  CHECK(read_certificates(folder.path / "results/runs/parity").size() == 1);
  const Ran json =
      run("parity --model tiny --engine reference --level model --ctx 20 -q --json --no-save", folder.path);
  const Certificate certificate = parse_certificate(json.out, "stdout");
  CHECK(certificate.levels == std::vector<std::string>{"model"});
  CHECK(certificate.verdict == "pass");
  CHECK(read_certificates(folder.path / "results/runs/parity").size() == 1);
}

TEST_CASE("a failed check: exit 4, what and where on one line, and a command that repeats it") {
  const Folder folder;
  REQUIRE(
      run("parity --model tiny --engine reference --ctx 20 --level model --save d -q --no-save", folder.path).code ==
      0);
  const Ran r = run("parity --model tiny --engine reference --load d --seed 1 -q --no-save", folder.path);
  CHECK(r.code == 4);
  CHECK(r.err.find("error: parity: layer 0 ") == 0);
  CHECK(r.err.find(", budget ") != std::string::npos);
  CHECK(r.err.find(
            "\nrepeat with: ringbench parity --model tiny --engine reference --dtype f32 --level layer --layers 0") !=
        std::string::npos);
  CHECK(std::count(r.err.begin(), r.err.end(), '\n') == 2);
  CHECK(r.out.find("\nFAIL  ") != std::string::npos);
}

TEST_CASE("parity's bad requests: exit 2 and 3, with advice") {
  const Folder folder;
  const auto check = [&](const std::string& arguments, int code, const std::string& message) {
    const Ran r = run("parity --model tiny -q --no-save " + arguments, folder.path);
    INFO(arguments << "\n" << r.err);
    CHECK(r.code == code);
    CHECK(r.err.find("error: " + message) == 0);
    CHECK(r.out.empty());
  };
  check("--level modl", 2, "--level: 'modl' is not a level.");
  check("--engine reference --layers 4", 2, "--layers: the model has no layer 4; it has layers 0 to 3.");
  check("--engine reference --ablate sate", 2, "--ablate: 'sate' is not one of");
  check("--engine reference --load nowhere", 2, "--load: 'nowhere' holds no dump.safetensors.");
  check("--engine reference --dtype bf16", 3, "--dtype bf16:");
  check("--engine reference --kernel a=b", 2, "--kernel:");
  check("--engine nothing", 2, "--engine: 'nothing' is not an engine");
}

TEST_CASE("a measured row refers to the certificate of its run; --parity off is flagged") {
  const Folder folder;
  const std::string prefill = "prefill --model tiny --ctx 8 --reps 1 -q --json ";
  const Ran r = run(prefill, folder.path);
  REQUIRE(r.code == 0);
  const Json row = Json::parse(r.out)[0];
  CHECK(row["parity"] == "pass");
  CHECK(row["flags"].get<std::string>().find('U') == std::string::npos);
  const fs::path run_folder = folder.path / "results/runs" / row["run_id"].get<std::string>();
  const std::vector<Certificate> kept = read_certificates(run_folder / "parity");
  REQUIRE(kept.size() == 1);
  CHECK(row["parity_certificate"] == kept[0].id);
  CHECK(row["parity_worst"] == kept[0].worst);
  CHECK(kept[0].config_sha == row["config_sha"]);

  const Json off = Json::parse(run(prefill + "--parity off --no-save", folder.path).out)[0];
  CHECK(off["parity"] == "none");
  CHECK(off["parity_certificate"].is_null());
  CHECK(off["flags"].get<std::string>().find('U') != std::string::npos);
  CHECK(run(prefill + "--parity require --no-save", folder.path).code == 0);
  CHECK(run(prefill + "--parity require --dummy zero --no-save", folder.path).code == 4);
}
