// generate.cpp: see generate.h.
#include "evals/generate.h"

#include <algorithm>
#include <stdexcept>

#include "evals/detokenizer.h"

namespace ringbench {
namespace {

// A sample that occupies a slot.
struct Running {
  GenerationTask task;
  Generation result;
  Detokenizer detokenizer;
  std::vector<int32_t> history;  // prompt and what was generated
  size_t appended = 0;           // of the history, that the engine has taken
  int64_t limit = 0;             // new tokens at most
};

class Batch {
 public:
  Batch(Engine& engine, const Tokenizer& tokenizer, const GenerationOptions& options,
        const GenerationHandlers& handlers)
      : engine_(engine), tokenizer_(tokenizer), options_(options), handlers_(handlers) {
    options.sampling.check();
    if (options.max_new_tokens < 1) throw std::invalid_argument("at least 1 new token");
    if (options.slots < 1) throw std::invalid_argument("at least 1 slot");
    running_.resize(static_cast<size_t>(options.slots));
    for (const std::string& stop : options.stop_strings) {
      if (stop.empty()) throw std::invalid_argument("an empty stop string would stop everything");
      longest_stop_ = std::max(longest_stop_, stop.size());
    }
  }

  void run() {
    while (fill()) {
      std::vector<Step> steps;
      for (size_t slot = 0; slot < running_.size(); ++slot)
        if (running_[slot])
          steps.push_back(
              {static_cast<int>(slot), std::span(running_[slot]->history).subspan(running_[slot]->appended)});
      engine_.forward(steps, Rows::last);
      const HostTensorView logits = engine_.logits();
      for (size_t row = 0; row < steps.size(); ++row)
        take_token(static_cast<size_t>(steps[row].slot), row_of(logits, row));
      if (handlers_.step) handlers_.step(static_cast<int64_t>(steps.size()));
    }
  }

 private:
  // Puts the next samples into free slots; false if nothing runs.
  bool fill() {
    bool any = false;
    for (size_t slot = 0; slot < running_.size(); ++slot) {
      if (!running_[slot] && !exhausted_) begin(slot);
      any |= running_[slot].has_value();
    }
    return any;
  }

  void begin(size_t slot) {
    std::optional<GenerationTask> task = handlers_.next();
    exhausted_ = !task;
    if (!task) return;
    const auto prompt = static_cast<int64_t>(task->prompt.size());
    if (prompt == 0) throw std::invalid_argument("question " + task->question + ": the prompt is empty");
    if (prompt >= options_.max_tokens)
      throw std::invalid_argument("question " + task->question + ": the prompt's " + std::to_string(prompt) +
                                  " tokens leave no room in " + std::to_string(options_.max_tokens));
    engine_.reset(static_cast<int>(slot));
    Running& r = running_[slot].emplace(Running{std::move(*task), {}, Detokenizer(tokenizer_), {}, 0, 0});
    r.history = r.task.prompt;
    r.limit = std::min(options_.max_new_tokens, options_.max_tokens - prompt);
    r.result.question = r.task.question, r.result.sample = r.task.sample, r.result.prompt_tokens = prompt;
  }

  static std::vector<double> row_of(const HostTensorView& logits, size_t row) {
    const auto copy = [&](const auto& values) {
      const auto of_row =
          values.subspan(row * static_cast<size_t>(logits.shape.back()), static_cast<size_t>(logits.shape.back()));
      return std::vector<double>(of_row.begin(), of_row.end());
    };
    return logits.dtype == DType::f64 ? copy(logits.as<double>()) : copy(logits.as<float>());
  }

  void take_token(size_t slot, const std::vector<double>& logits) {
    Running& r = *running_[slot];
    r.appended = r.history.size();
    const auto position = static_cast<int64_t>(r.result.tokens.size());
    const int32_t token = draw(choices(options_.sampling, logits, r.history),
                               sampling_uniform(options_.seed, r.task.question, r.task.sample, position));
    r.history.push_back(token);
    r.result.tokens.push_back(token);
    if (std::find(options_.stop_tokens.begin(), options_.stop_tokens.end(), token) != options_.stop_tokens.end())
      return end(slot, "stop");
    if (add_text(r.result.text, r.detokenizer.add(token))) return end(slot, "stop");
    if (static_cast<int64_t>(r.result.tokens.size()) == r.limit) end(slot, "length");
  }

  // True if a stop string is in the text now; then the text ends before the first of them. What was searched before is
  // not searched again.
  bool add_text(std::string& text, const std::string& more) const {
    const size_t from = text.size() - std::min(text.size(), longest_stop_);
    text += more;
    size_t first = std::string::npos;
    for (const std::string& stop : options_.stop_strings) first = std::min(first, text.find(stop, from));
    if (first == std::string::npos) return false;
    text.resize(first);
    return true;
  }

  void end(size_t slot, const std::string& reason) {
    Running& r = *running_[slot];
    if (reason == "length") r.result.text += r.detokenizer.finish();
    r.result.finish_reason = reason;
    handlers_.done(std::move(r.result));
    running_[slot].reset();
  }

  Engine& engine_;
  const Tokenizer& tokenizer_;
  const GenerationOptions& options_;
  const GenerationHandlers& handlers_;
  std::vector<std::optional<Running>> running_;  // by slot
  size_t longest_stop_ = 0;
  bool exhausted_ = false;  // there is no further sample
};

}  // namespace

void generate(Engine& engine, const Tokenizer& tokenizer, const GenerationOptions& options,
              const GenerationHandlers& handlers) {
  Batch(engine, tokenizer, options, handlers).run();
}

}  // namespace ringbench
