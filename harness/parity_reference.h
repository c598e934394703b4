// parity_reference.h: the reference's walks that levels model and self compare with: in one piece where its weights fit
// into memory, else layer by layer, each layer's weights made, used and freed. Internal to parity_*.cpp.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "harness/parity.h"
#include "harness/parity_walk.h"

namespace ringbench {

class References {
 public:
  References(const Subject& subject, const ParityScope& scope);

  // Tokens of a prompt and the steps after it; at most so many that the logits of three walks can be held.
  int64_t rows() const { return rows_; }
  std::vector<int32_t> tokens(uint64_t seed) const { return random_tokens(subject_.config, seed, rows_); }
  // The walk over tokens(seed) in f64, rounded as `precision` says: prompt in chunks of the scope's, then single steps.
  // Kept, so that another level has it for nothing.
  const Walk& walk(uint64_t seed, const Precision& precision, const std::function<void(const std::string&)>& progress);

  // The same, always layer by layer. What a model larger than memory gets.
  Walk streamed(uint64_t seed, const Precision& precision,
                const std::function<void(const std::string&)>& progress) const;

 private:
  Walk whole(uint64_t seed, const Precision& precision);
  EngineOptions options(const Precision& precision) const;

  const Subject& subject_;
  const ParityScope& scope_;
  int64_t rows_;
  std::vector<std::pair<std::pair<uint64_t, Precision>, std::unique_ptr<Walk>>> walks_;
  std::vector<std::pair<Precision, std::unique_ptr<Engine>>> engines_;
};

}  // namespace ringbench
