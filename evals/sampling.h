// sampling.h: from logits to the next token, as generate() of Hugging Face transformers does it: repetition penalty,
// temperature, top-k, top-p, min-p, in this order. In f64; which token is drawn depends on seed, sample and position
// alone, never on batch, threads or order.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace ringbench {

struct Sampling {
  double temperature = 1;         // 0: the most likely token, whatever the rest says but the penalty
  int64_t top_k = 0;              // 0: all; tokens that tie with the k-th stay
  double top_p = 1;               // the smallest set of most likely tokens whose mass reaches this, at least one
  double min_p = 0;               // tokens below this share of the largest probability go
  double repetition_penalty = 1;  // each token of the history once: x / p where x > 0, else x p

  // Throws std::invalid_argument naming what is out of range.
  void check() const;
};

// A token that may be drawn.
struct Choice {
  int32_t token = 0;
  double probability = 0;
};

// Those of a probability above 0, by token. `history`: prompt and what was generated. Throws std::invalid_argument if
// there are no logits or one is not a number.
std::vector<Choice> choices(const Sampling& sampling, std::span<const double> logits, std::span<const int32_t> history);

// The token at which the choices' mass, added up by token, passes `uniform` of [0, 1).
int32_t draw(std::span<const Choice> choices, double uniform);

// The number that draws token `position` (0: the first generated) of a sample: 53 bits.
double sampling_uniform(uint64_t seed, std::string_view question, int64_t sample, int64_t position);

}  // namespace ringbench
