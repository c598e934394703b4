// Published numbers: that the files hold what the sources state, value by value, that what is derived follows from the
// models' configs, and that a broken file is named.
#include <cmath>
#include <fstream>
#include <map>
#include <set>

#include "harness/cost.h"
#include "harness/plan.h"
#include "harness/published.h"
#include "tests/catch.h"
#include "tests/folder.h"
#include "tests/preset.h"

using namespace ringbench;

namespace {

const PublishedNumber& number(const std::string& id) {
  const PublishedNumber* found = find_published(id);
  INFO(id);
  REQUIRE(found != nullptr);
  return *found;
}

// One file of one number, with `replacement` for the text `original` in it.
std::string failure(const std::string& original, const std::string& replacement) {
  std::string text =
      R"({"about": "a", "sets": [{"shared": {"source": "s", "confidence": "primary", "kind": "stated"}, "numbers": [)"
      R"({"id": "one", "what": "w", "model": "m", "value": 1.5, "unit": "us", "conditions": {"ctx": 8}}]}]})";
  const size_t at = text.find(original);
  REQUIRE(at != std::string::npos);
  text.replace(at, original.size(), replacement);
  const Folder folder;
  std::ofstream(folder.path / "x.json") << text;
  try {
    read_published(folder.path);
  } catch (const UsageError& e) {
    return e.what();
  }
  return "";
}

}  // namespace

// Typed a second time from the sources, apart from the files.
TEST_CASE("published numbers are those of the sources") {
  const std::map<std::string, double> values = {
      {"lite-linear-ttft-384k", 3.5},
      {"lite-linear-throughput-32k", 2.2},
      {"lite-linear-e2e-16k", -27.24},
      {"lite-linear-throughput-same-scale", 2},
      {"lite-linear-score-aime24", 55.0},
      {"lite-linear-score-math500", 93.8},
      {"lite-linear-score-gpqa-diamond", 46.5},
      {"lite-linear-score-livecodebench", 29.8},
      {"card-r1-distill-7b-reported-aime24", 55.5},
      {"card-r1-distill-7b-reproduced-livecodebench", 36.5},
      {"card-lite-distill-stage-1-math500", 93.5},
      {"distill-ling-lite-aime24", 6.7},
      {"distill-r1-distill-7b-reproduced-mmlu", 44.1},
      {"distill-stage-1-olympiadbench", 59.6},
      {"distill-stage-2-t-eval", 79.7},
      {"distill-dpo-bfcl-v2", 63.6},
      {"distill-dpo-ifeval", 76.3},
      {"distill-sft-learning-rate", 4e-5},
      {"distill-unpaired-tags-after", 25},
      {"lite-paper-r1-distill-7b-average", 58.71},
      {"lite-paper-r1-distill-14b-cnmo24", 70.14},
      {"lite-paper-acereason-7b-gpqa-diamond", 50.67},
      {"lite-paper-qwen3-8b-thinking-aime25", 67.30},
      {"lite-paper-ring-lite-distill-codeforces", 48.62},
      {"lite-paper-ring-lite-livemathbench", 83.74},
      {"lite-paper-ring-lite-olympiadbench", 79.95},
      {"r1-distill-7b-aime24-cons64", 83.3},
      {"r1-distill-7b-codeforces-rating", 1189},
      {"mini-linear-score-aime24", 79.95},
      {"mini-linear-score-drop", 83.20},
      {"mini-score-livecodebench", 62.56},
      {"paper-qwen3-8b-thinking-codeforces", 73.31},
      {"paper-gpt-oss-20b-medium-gpqa-diamond", 65.53},
      {"flash-linear-score-cnmo24", 84.98},
      {"flash-linear-score-gpqa-diamond", 74.49},
      {"flash-score-aime25", 86.98},
      {"paper-qwen3-32b-thinking-livecodebench", 62.33},
      {"paper-gemini-25-flash-gpqa-diamond", 82.80},
      {"paper-qwen3-next-80b-a3b-thinking-drop", 92.05},
      {"paper-seed-oss-36b-drop", 91.17},
      {"quantised-mini-linear-gptq-int4-aime25", 66.56},
      {"quantised-mini-linear-fp8-gpqa-diamond", 66.79},
      {"quantised-flash-linear-bf16-aime25", 85.10},
      {"quantised-flash-linear-gptq-int4-livecodebench", 66.14},
      {"linear-cost-dense-32b", 0.1},
      {"linear-cost-softmax-ring", -50},
      {"linear-training-efficiency", 50},
      {"mini-linear-prefill-crossover", 8192},
      {"mini-linear-decode-crossover", 4096},
      {"mini-linear-prefill-128k", 2.5},
      {"mini-linear-decode-64k", 2},
      {"flash-linear-prefill-128k-low", 7},
      {"flash-linear-prefill-128k-high", 8},
      {"flash-linear-decode-64k", 10},
      {"press-mini-linear-decode", 12},
      {"press-flash-linear-prefill-32k", 5},
      {"flood-mini-linear-a100-vllm", 4992.03},
      {"flood-mini-linear-h20-flood", 9117.56},
      {"flood-ling-lite-a100-speedup", 1.52},
      {"ling-mini-h20", 300},
      {"ling-mini-dense-8b-long", 7},
      {"seg-la-bs1-x1024-fla", 245.5},
      {"seg-la-bs2-x1024-speedup", 1.72},
      {"seg-la-bs64-x1-seg", 51.8},
      {"seg-la-bs256-x1-seg", 132.0},
      {"linghe-qk-norm-rope-forward-speedup", 7.99},
      {"linghe-router-gemm-backward", 78.1},
      {"linghe-unpermute-forward-baseline", 988.6},
      {"linghe-linear-gate-backward-speedup", 7.06},
      {"linghe-cross-entropy-backward-baseline", 7086.3},
      {"linghe-count-zero-forward", 746.8},
      {"mini-linear-ratio", 4},
      {"flash-linear-ratio", 7},
      {"partial-rope-loss", -0.004},
      {"continued-pretraining-recovery", 98},
      {"mini-linear-training-tp", 77},
      {"flash-linear-training-micro-batch", 57},
      {"silu-quant-bytes-fused", 4},
      {"lite-linear-parameters", 17.1e9},
      {"mini-linear-active-non-embedding", 957e6},
      {"flash-linear-active", 7.4e9},
      {"mini-linear-window", 524288},
      {"lite-linear-window", 65536},
      {"flash-linear-window", 131072},
  };
  for (const auto& [id, value] : values) {
    INFO(id);
    CHECK(number(id).value == value);
  }
}

TEST_CASE("no published number is lost") {
  std::map<std::string, int> per_file, per_kind;
  for (const PublishedNumber& n : published_numbers()) ++per_file[n.file], ++per_kind[n.kind];
  // Table by table: rows times columns, less the cells that the source leaves empty.
  const std::map<std::string, int> expected = {
      {"kernels.json", 4 * 3 + 2 + (11 + 6) * 3},
      {"models.json", 17 + 4 + 3 + 2 + 1 + 3},
      {"quantised-cards.json", (4 + 3) * 3 + 2},
      {"ring-linear-efficiency.json", 3 + 1 + 4 + 6 + 3 + 4 * 3 + 3},
      {"ring-linear-scores.json", 7 + 6 + 1 + 1 + 7 + 3 + 3 + 3 + 4 + 1 + 1},
      {"ring-lite-distill.json", 12 * 6 - 8 + 7},
      {"ring-lite-linear.json", 5 + 3 + 8},
      {"ring-lite-report.json", 4 * 4 + 6 * 10 + 6},
      {"training.json", 2 + 1 + 5 + 4 + 2},
  };
  CHECK(per_file == expected);
  CHECK(per_kind["derived"] == 8 + 2);
}

TEST_CASE("published numbers carry their conditions") {
  const PublishedNumber& ttft = number("lite-linear-ttft-384k");
  CHECK(ttft.model == "ring-lite-linear");
  CHECK(ttft.baseline == "ring-lite");
  CHECK(ttft.unit == "x");
  CHECK(ttft.conditions.phase == "prefill");
  CHECK(ttft.conditions.ctx == 393216);
  CHECK(ttft.conditions.batch == 1);
  CHECK(ttft.conditions.device == "A100");
  CHECK(ttft.confidence == "primary");
  CHECK(ttft.kind == "stated");
  CHECK(number("lite-linear-throughput-32k").conditions.gen == 32768);
  CHECK(number("mini-linear-prefill-128k").conditions.ctx_from == 131072);
  CHECK(number("mini-linear-prefill-128k").relation == ">");
  CHECK(number("mini-linear-decode-64k").confidence == "third-party digest");
  CHECK(number("lite-paper-ring-lite-codeforces").unit == "percentile");
  std::set<std::string> models;
  for (const std::string& name : preset_names()) models.insert(name);
  for (const PublishedNumber& n : published_numbers()) {
    INFO(n.id);
    CHECK(std::isfinite(n.value));
    if (n.what == "score") CHECK_FALSE(n.conditions.task.empty());
    if (n.model.starts_with("ring-") && n.model.find(' ') == std::string::npos) CHECK(models.contains(n.model));
  }
}

TEST_CASE("what is derived follows from the configs") {
  const ModelConfig softmax = preset("ring-lite"), hybrid = preset("ring-lite-linear");
  const auto kv = [](const ModelConfig& config) {
    return static_cast<double>(kv_bytes_per_token(config, DType::bf16));
  };
  CHECK(number("lite-weights-bytes").value == 2.0 * static_cast<double>(count_parameters(softmax).total));
  CHECK(number("lite-kv-bytes-per-token").value == kv(softmax));
  CHECK(number("lite-linear-kv-bytes-per-token").value == kv(hybrid));
  const auto state = static_cast<double>(state_bytes(hybrid, DType::bf16));  // f32 with bf16
  CHECK(number("lite-linear-state-bytes").value == state);
  CHECK(number("lite-kv-bytes-16k").value == 64 * 16384 * kv(softmax));
  CHECK(number("lite-kv-bytes-32k").value == 64 * 32768 * kv(softmax));
  CHECK(number("lite-linear-cache-bytes-32k").value == 64 * (32768 * kv(hybrid) + state / 2));
  const double change = number("lite-linear-e2e-16k").value;
  CHECK(number("lite-linear-e2e-16k-speedup").value == Approx(1 / (1 + change / 100)).epsilon(1e-4));
  const double state_traffic = 2.0 * 16 * 128 * 128 * 2;  // one sequence: read and written, bf16
  CHECK(number("seg-la-bs64-bandwidth").value ==
        Approx(64 * state_traffic / (number("seg-la-bs64-x1-seg").value * 1e-6) / 1e12).epsilon(1e-4));
  CHECK(number("seg-la-bs256-bandwidth").value ==
        Approx(256 * state_traffic / (number("seg-la-bs256-x1-seg").value * 1e-6) / 1e12).epsilon(1e-4));
}

// The ratios that sources print beside their times agree with the times, within the digits that are printed.
TEST_CASE("stated speed-ups agree with the stated times") {
  int compared = 0;
  for (const PublishedNumber& ratio : published_numbers()) {
    const std::string stem = ratio.id.substr(0, ratio.id.rfind('-'));
    const PublishedNumber* slow = find_published(stem + (stem.starts_with("seg-la") ? "-fla" : "-baseline"));
    const PublishedNumber* fast = find_published(stem.starts_with("seg-la") ? stem + "-seg" : stem);
    if (!ratio.id.ends_with("-speedup") || slow == nullptr || fast == nullptr) continue;
    INFO(ratio.id);
    CHECK(ratio.value == Approx(slow->value / fast->value).epsilon(0.01));
    ++compared;
  }
  CHECK(compared == 4 + 11 + 6);
  for (const char* pair : {"mini-linear-a100", "mini-linear-h20", "ling-lite-h20", "ling-lite-a100"}) {
    const std::string stem = "flood-" + std::string(pair);
    CHECK(number(stem + "-speedup").value ==
          Approx(number(stem + "-flood").value / number(stem + "-vllm").value).epsilon(0.01));
  }
}

TEST_CASE("a published file that is broken is named, with the place") {
  CHECK(failure("\"w\"", "\"w\"") == "");
  const auto says = [](const std::string& message, const std::string& part) {
    INFO(message);
    return message.find("x.json") != std::string::npos && message.find(part) != std::string::npos;
  };
  CHECK(says(failure("\"model\": \"m\", ", ""), "numbers[0]: model: missing, expected a string"));
  CHECK(says(failure("1.5", "\"1.5\""), "value: found \"1.5\", expected a number"));
  CHECK(says(failure("\"us\"", "\"ms\""), "unit: found \"ms\", expected one of x, ratio"));
  CHECK(says(failure("\"what\"", "\"waht\""), "what: missing"));
  CHECK(says(failure("\"ctx\"", "\"cxt\""), "unknown key 'cxt'. Did you mean ctx?"));
  CHECK(says(failure("8", "8.5"), "ctx: found 8.5, expected an integer"));
  CHECK(says(failure("\"stated\"", "\"derived\""), "formula: missing"));
  CHECK(says(failure("\"us\"", "\"x\""), "baseline: missing, expected what the ratio is against"));
  CHECK(says(failure("\"sets\"", "\"set\""), "sets: missing"));
  CHECK(says(failure("]}]}", "]}]"), "not valid JSON"));
  CHECK(says(failure("{\"ctx\": 8}}",
                     "{}}, {\"id\": \"one\", \"what\": \"w\", \"model\": \"m\", \"value\": 1, "
                     "\"unit\": \"us\"}"),
             "numbers[1]: id: found \"one\""));
  const Folder empty;
  CHECK_THROWS_AS(read_published(empty.path), UsageError);
}

TEST_CASE("stated numbers read as their sources put them") {
  CHECK(stated_text(number("lite-linear-ttft-384k")) == "3.5x");
  CHECK(stated_text(number("lite-linear-kv-16k")) == "~1/6");
  CHECK(stated_text(number("lite-linear-e2e-16k")) == "-27.24 %");
  CHECK(stated_text(number("mini-linear-prefill-128k")) == "> 2.5x");
  CHECK(stated_text(number("mini-linear-prefill-crossover")) == "> 8k tokens");
  CHECK(stated_text(number("linear-cost-dense-32b")) == "1/10");
  CHECK(stated_text(number("flash-linear-parameters")) == "~104B");
  CHECK(stated_text(number("mini-linear-active-non-embedding")) == "~957M");
  CHECK(stated_text(number("mini-linear-score-aime24")) == "79.95 %");
}
