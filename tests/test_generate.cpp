// Generation: greedy runs reproduce the golden continuations, texts do not depend on the batch, stops stop, and text
// comes as it is decoded.
#include "evals/generate.h"

#include <algorithm>
#include <map>
#include <random>

#include "evals/detokenizer.h"
#include "evals/unicode.h"
#include "reference/config.h"
#include "tests/catch.h"
#include "tests/golden.h"

using namespace ringbench;

namespace {

struct Checkpoint {
  explicit Checkpoint(const std::string& name)
      : folder(goldens() / name), config(ModelConfig::load(folder / "config.json")) {}
  std::unique_ptr<Engine> engine(DType dtype, int slots, int64_t max_tokens) const {
    EngineOptions options;
    options.dtype = dtype, options.slots = slots, options.max_tokens = max_tokens;
    return make_reference_engine(config, Weights::load(config, folder), options);
  }
  std::filesystem::path folder;
  ModelConfig config;
};

Tokenizer some_tokenizer() { return Tokenizer::load(goldens() / "tokenizer" / "v2"); }

// All samples, by question and number.
std::map<std::pair<std::string, int64_t>, Generation> generated(Engine& engine, const GenerationOptions& options,
                                                                const std::vector<GenerationTask>& tasks) {
  std::map<std::pair<std::string, int64_t>, Generation> samples;
  size_t next = 0;
  GenerationHandlers handlers;
  handlers.next = [&] { return next < tasks.size() ? std::optional(tasks[next++]) : std::nullopt; };
  handlers.done = [&](Generation&& g) {
    const std::pair key(g.question, g.sample);
    CHECK(samples.emplace(key, std::move(g)).second);
  };
  generate(engine, some_tokenizer(), options, handlers);
  return samples;
}

GenerationOptions greedy(int64_t max_new_tokens) {
  GenerationOptions options;
  options.sampling.temperature = 0;
  options.max_new_tokens = max_new_tokens;
  options.max_tokens = 200;
  return options;
}

// Prompts of different lengths, samples of some of them twice.
std::vector<GenerationTask> some_tasks() {
  std::vector<GenerationTask> tasks;
  for (int q = 0; q < 12; ++q)
    for (int64_t sample = 0; sample < 1 + q % 2; ++sample) {
      GenerationTask task{"q" + std::to_string(q), sample, {}};
      for (int i = 0; i < 3 + 5 * q; ++i) task.prompt.push_back((7 * q + 11 * i) % 250);
      tasks.push_back(task);
    }
  return tasks;
}

}  // namespace

TEST_CASE("greedy runs of the golden checkpoints reproduce their greedy tokens", "[generate]") {
  for (const std::string& name : golden_cases()) {
    INFO(name);
    const Checkpoint checkpoint(name);
    const SafeTensors file = SafeTensors::open(checkpoint.folder / "golden.safetensors");
    const std::vector<int32_t> prompt = token_ids(file, "input_ids"), after = token_ids(file, "decode_ids");
    const auto engine = checkpoint.engine(DType::f64, 1, 200);
    const auto samples = generated(*engine, greedy(4), {{"golden", 0, prompt}});
    REQUIRE(samples.size() == 1);
    const Generation& g = samples.begin()->second;
    CHECK(g.tokens == std::vector<int32_t>(after.begin(), after.begin() + 4));
    CHECK(g.prompt_tokens == static_cast<int64_t>(prompt.size()));
    CHECK(g.finish_reason == "length");
  }
}

TEST_CASE("a sample is the same in any batch and any order", "[generate]") {
  const Checkpoint checkpoint("v2_hybrid");
  GenerationOptions options = greedy(20);
  options.sampling.temperature = 0.8, options.sampling.top_p = 0.95, options.seed = 5;
  const auto alone = generated(*checkpoint.engine(DType::f32, 1, 200), options, some_tasks());
  options.slots = 16;
  std::vector<GenerationTask> tasks = some_tasks();
  std::reverse(tasks.begin(), tasks.end());
  const auto together = generated(*checkpoint.engine(DType::f32, 16, 200), options, tasks);
  options.slots = 3;
  const auto three = generated(*checkpoint.engine(DType::f32, 3, 200), options, tasks);
  REQUIRE(alone.size() == tasks.size());
  REQUIRE(together.size() == tasks.size());
  for (const auto& [key, g] : alone) {
    INFO(key.first << " " << key.second);
    CHECK(g.tokens == together.at(key).tokens);
    CHECK(g.text == together.at(key).text);
    CHECK(g.tokens == three.at(key).tokens);
  }
  CHECK(alone.at({"q1", 0}).tokens != alone.at({"q1", 1}).tokens);  // two samples of one question differ
  options.seed = 6;
  CHECK(generated(*checkpoint.engine(DType::f32, 3, 200), options, tasks).at({"q1", 0}).tokens !=
        alone.at({"q1", 0}).tokens);
}

TEST_CASE("stop tokens and stop strings end a sample, and what is cut off says so", "[generate]") {
  const Checkpoint checkpoint("v2_hybrid");
  const auto engine = checkpoint.engine(DType::f64, 2, 200);
  const std::vector<GenerationTask> tasks = {{"q", 0, {1, 2, 3, 4}}};
  const auto run = [&](const GenerationOptions& options) { return generated(*engine, options, tasks).at({"q", 0}); };
  const Generation whole = run(greedy(30));
  REQUIRE(whole.tokens.size() == 30);
  CHECK(whole.finish_reason == "length");
  CHECK(whole.text == some_tokenizer().decode(whole.tokens, true));

  GenerationOptions options = greedy(30);
  const int32_t stop = whole.tokens[10];
  const size_t first =
      static_cast<size_t>(std::find(whole.tokens.begin(), whole.tokens.end(), stop) - whole.tokens.begin());
  options.stop_tokens = {stop};
  const Generation stopped = run(options);
  CHECK(stopped.finish_reason == "stop");
  CHECK(stopped.tokens.size() == first + 1);  // with the token that ended it
  CHECK(stopped.text == some_tokenizer().decode(std::span(whole.tokens).first(first), true));

  // A stop string that lies across tokens: each substring of the text ends it where it is found first.
  for (const size_t begin : {size_t{3}, whole.text.size() / 2})
    for (const size_t length : {1, 4, 9}) {
      options.stop_tokens = {};
      options.stop_strings = {"never said", whole.text.substr(begin, length)};
      if (first_invalid_utf8(options.stop_strings[1]) < options.stop_strings[1].size()) continue;  // half a character
      const Generation cut = run(options);
      INFO(options.stop_strings[1]);
      CHECK(cut.finish_reason == "stop");
      CHECK(cut.text == whole.text.substr(0, whole.text.find(options.stop_strings[1])));
      CHECK(cut.tokens.size() <= whole.tokens.size());
    }

  GenerationOptions small = greedy(1000);
  small.max_tokens = 12;  // the slot is full before --max-new-tokens
  const Generation full = run(small);
  CHECK(full.finish_reason == "length");
  CHECK(full.tokens.size() == 8);
}

TEST_CASE("what handlers throw ends a generation; what was done has been handed over", "[generate]") {
  const Checkpoint checkpoint("v2_hybrid");
  const auto engine = checkpoint.engine(DType::f32, 1, 200);
  const std::vector<GenerationTask> tasks = some_tasks();
  size_t next = 0, done = 0;
  int64_t tokens = 0;
  GenerationHandlers handlers;
  handlers.next = [&] { return next < tasks.size() ? std::optional(tasks[next++]) : std::nullopt; };
  handlers.done = [&](Generation&&) { ++done; };
  handlers.step = [&](int64_t made) {
    if ((tokens += made) == 25) throw std::runtime_error("interrupted");
  };
  CHECK_THROWS_WITH(generate(*engine, some_tokenizer(), greedy(10), handlers), "interrupted");
  CHECK(done == 2);
}

TEST_CASE("a prompt that does not fit, and settings that mean nothing, are refused", "[generate]") {
  const Checkpoint checkpoint("v2_hybrid");
  const auto engine = checkpoint.engine(DType::f32, 1, 200);
  const auto run = [&](const GenerationOptions& options, size_t prompt) {
    generated(*engine, options, {{"long", 0, std::vector<int32_t>(prompt, 1)}});
  };
  CHECK_THROWS_WITH(run(greedy(1), 200), Catch::Contains("question long") && Catch::Contains("200"));
  CHECK_THROWS_WITH(run(greedy(1), 0), Catch::Contains("empty"));
  CHECK_THROWS_AS(run(greedy(0), 3), std::invalid_argument);
  GenerationOptions options = greedy(1);
  options.stop_strings = {""};
  CHECK_THROWS_AS(run(options, 3), std::invalid_argument);
  options = greedy(1);
  options.sampling.top_p = 2;
  CHECK_THROWS_AS(run(options, 3), std::invalid_argument);
}

TEST_CASE("text as it comes is the text of all tokens together, and never half a character", "[generate]") {
  const Tokenizer tokenizer = some_tokenizer();
  std::mt19937_64 random(3);
  for (const bool whole_words : {true, false})
    for (int trial = 0; trial < 300; ++trial) {
      std::vector<int32_t> ids;
      if (whole_words)  // real text, whose characters lie across tokens
        ids = tokenizer.encode(
            "na\xC3\xAFve \xE2\x88\x9A"
            "2 \xF0\x9F\x98\x80\xE4\xB8\xAD " +
            std::to_string(trial));
      else
        for (int i = 0; i < 40; ++i) ids.push_back(static_cast<int32_t>(random() % 1500) - 20);
      Detokenizer detokenizer(tokenizer, false);
      std::string text;
      for (const int32_t id : ids) {
        const std::string more = detokenizer.add(id);
        CHECK(first_invalid_utf8(more) == more.size());
        text += more;
      }
      text += detokenizer.finish();
      CHECK(text == tokenizer.decode(ids));
    }
}
