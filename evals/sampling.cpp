// sampling.cpp: see sampling.h.
#include "evals/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "reference/random.h"

namespace ringbench {
namespace {

struct Scored {
  int32_t token;
  double score;  // logit, then probability
};

bool likelier(const Scored& a, const Scored& b) { return a.score != b.score ? a.score > b.score : a.token < b.token; }

void penalize(std::vector<Scored>& scored, std::span<const int32_t> history, double penalty) {
  std::vector<bool> seen(scored.size());
  for (const int32_t token : history) {
    const auto place = static_cast<size_t>(token);
    if (token < 0 || place >= scored.size() || seen[place]) continue;
    seen[place] = true;
    double& logit = scored[place].score;
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
}

void keep_top_k(std::vector<Scored>& scored, int64_t k) {
  if (k <= 0 || static_cast<size_t>(k) >= scored.size()) return;
  std::vector<Scored> sorted = scored;
  std::nth_element(sorted.begin(), sorted.begin() + (k - 1), sorted.end(), likelier);
  const double least = sorted[static_cast<size_t>(k) - 1].score;
  std::erase_if(scored, [&](const Scored& s) { return s.score < least; });
}

// Scores become probabilities.
void soften(std::vector<Scored>& scored) {
  double most = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const Scored& s : scored) most = std::max(most, s.score);
  for (Scored& s : scored) sum += s.score = std::exp(s.score - most);
  for (Scored& s : scored) s.score /= sum;
}

// A heap yields the likeliest first: most vocabularies are large, most sets small.
void keep_top_p(std::vector<Scored>& scored, double p) {
  if (p >= 1) return;
  const auto rarer = [](const Scored& a, const Scored& b) { return likelier(b, a); };
  std::make_heap(scored.begin(), scored.end(), rarer);
  auto rest = scored.end();
  for (double mass = 0; rest != scored.begin() && mass < p; mass += rest->score)
    std::pop_heap(scored.begin(), rest--, rarer);
  scored.erase(scored.begin(), rest);
}

void normalize(std::vector<Scored>& scored) {
  double sum = 0;
  for (const Scored& s : scored) sum += s.score;
  for (Scored& s : scored) s.score /= sum;
}

void require(bool good, const std::string& what) {
  if (!good) throw std::invalid_argument(what);
}

}  // namespace

void Sampling::check() const {
  require(temperature >= 0 && std::isfinite(temperature), "temperature is 0 or above");
  require(top_k >= 0, "top-k is 0 (all) or above");
  require(top_p > 0 && top_p <= 1, "top-p is above 0, at most 1");
  require(min_p >= 0 && min_p <= 1, "min-p is from 0 to 1");
  require(repetition_penalty > 0 && std::isfinite(repetition_penalty), "the repetition penalty is above 0");
}

std::vector<Choice> choices(const Sampling& sampling, std::span<const double> logits,
                            std::span<const int32_t> history) {
  require(!logits.empty(), "there are no logits");
  std::vector<Scored> scored;
  scored.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    require(!std::isnan(logits[i]), "the logit of token " + std::to_string(i) + " is not a number");
    scored.push_back({static_cast<int32_t>(i), logits[i]});
  }
  if (sampling.repetition_penalty != 1) penalize(scored, history, sampling.repetition_penalty);
  if (sampling.temperature == 0) return {{std::min_element(scored.begin(), scored.end(), likelier)->token, 1.0}};
  for (Scored& s : scored) s.score /= sampling.temperature;
  keep_top_k(scored, sampling.top_k);
  soften(scored);
  keep_top_p(scored, sampling.top_p);
  if (sampling.min_p > 0) {
    const double most = std::min_element(scored.begin(), scored.end(), likelier)->score;
    std::erase_if(scored, [&](const Scored& s) { return s.score < sampling.min_p * most; });
  }
  normalize(scored);
  std::sort(scored.begin(), scored.end(), [](const Scored& a, const Scored& b) { return a.token < b.token; });
  std::vector<Choice> result;
  for (const Scored& s : scored)
    if (s.score > 0) result.push_back({s.token, s.score});
  return result;
}

int32_t draw(std::span<const Choice> choices, double uniform) {
  double mass = 0;
  for (const Choice& choice : choices)
    if ((mass += choice.probability) > uniform) return choice.token;
  return choices.back().token;  // the masses add up to a little less than 1
}

double sampling_uniform(uint64_t seed, std::string_view question, int64_t sample, int64_t position) {
  const uint64_t key = random_key(mix64(seed) ^ static_cast<uint64_t>(sample), question);
  return static_cast<double>(random_bits(key, static_cast<uint64_t>(position)) >> 11) * 0x1p-53;
}

}  // namespace ringbench
