// fuel.h: the counted budget of one grading, and what stops it early. Steps, never a clock: a verdict must not depend
// on the machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace ringbench {

// An input over a limit (bytes, depth, nodes, digits, fuel). The verdict is limit_exceeded or incorrect.
struct LimitError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// Something without a value: a division by zero, 0/0, the logarithm of 0, a ragged matrix.
struct Undefined : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A text that is none of the forms that are understood.
struct Unreadable : std::runtime_error {
  using std::runtime_error::runtime_error;
};

constexpr size_t kMaxCompletionBytes = size_t{16} << 20;
constexpr size_t kMaxCandidateBytes = size_t{64} << 10;
constexpr size_t kMaxNodes = 20000;
constexpr int kMaxDepth = 256;
constexpr size_t kMaxItems = 4096;
constexpr size_t kMaxMatrixSide = 64;
constexpr size_t kMaxBits = size_t{1} << 17;  // of an integer
constexpr long kMaxFactorial = 10000;

// One unit is about one small step: a token, a term, a few limbs of a long number.
class Fuel {
 public:
  explicit Fuel(uint64_t amount) : left_(amount) {}
  void spend(uint64_t amount) {
    spent_ += amount;
    if (amount > left_) throw LimitError("out of fuel");
    left_ -= amount;
  }
  uint64_t spent() const { return spent_; }

 private:
  uint64_t left_;
  uint64_t spent_ = 0;
};

}  // namespace ringbench
