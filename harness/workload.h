// workload.h: a batch of sequences with random tokens on one engine: prefill in chunks, greedy decode steps, and caches
// filled without a prefill. What is timed; not how often, and not what is made of the times (run.cpp, estimate.cpp).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "harness/measure.h"
#include "reference/engine.h"

namespace ringbench {

// Wall and CPU seconds of something; threads share the CPU time.
struct Elapsed {
  double wall_s = 0, cpu_s = 0;

  Elapsed& operator+=(const Elapsed& other) {
    wall_s += other.wall_s;
    cpu_s += other.cpu_s;
    return *this;
  }
};

// Thrown between two chunks or steps when a signal has asked the run to end.
struct Interrupted {};

// Whose prompt it is: the same everywhere for the same four.
struct PromptOf {
  uint64_t seed = 0;
  int64_t repetition = 0, sequence = 0;
  int64_t vocab_size = 0;
};
// Random tokens [position, position + tokens) of it.
std::vector<int32_t> random_prompt(const PromptOf& prompt, int64_t position, int64_t tokens);

class Workload {
 public:
  // Sequences 0 .. batch - 1 of `engine`; `chunk` tokens of each go together (0: all).
  Workload(Engine& engine, int64_t batch, int64_t chunk, uint64_t seed, Clock& clock);

  // Random tokens of this repetition; the same seed and repetition give the same tokens for any batch and chunk.
  void choose_input(int64_t repetition) { repetition_ = repetition; }

  // Empties all sequences.
  void reset();
  // Appends `tokens` to every sequence, chunk by chunk, ending with the greedy choice of the next token. `done` hears
  // how many of them are in after each chunk. Throws Interrupted.
  Elapsed prefill(int64_t tokens, const std::function<void(int64_t)>& done = {});
  // Wall seconds of each of `steps` single-token steps, each feeding the token chosen before and choosing the next.
  std::vector<double> decode(int64_t steps);

  // Makes every sequence hold `depth` tokens that nobody prefilled: unit normal keys, values and states.
  void fill_synthetic(int64_t depth);
  // Back (or forward) to a position that the caches hold.
  void seek(int64_t position);
  // Remembers the recurrent states and the tokens chosen last, and puts them back at the position they were saved at.
  void save_states();
  void restore_states();

  int64_t position() const { return engine_.position(0); }
  int64_t batch() const { return batch_; }
  int64_t chunk() const { return chunk_; }
  Engine& engine() { return engine_; }
  std::string logits_hash();  // 16 hex digits over the last logits

 private:
  std::vector<int32_t> input(int64_t sequence, int64_t position, int64_t tokens) const;

  Engine& engine_;
  int64_t batch_, chunk_;
  uint64_t seed_;
  Clock& clock_;
  int64_t repetition_ = 0;
  std::vector<int32_t> next_;  // [batch]: chosen, not yet fed
  std::vector<int32_t> saved_next_;
  int64_t saved_position_ = 0;
  std::vector<std::vector<LayerState>> saved_;  // [batch][linear layer]
};

}  // namespace ringbench
