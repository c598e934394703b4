// byte_pairs.cpp: see byte_pairs.h.
#include "evals/byte_pairs.h"

#include <functional>
#include <limits>
#include <queue>

namespace ringbench {
namespace {

constexpr size_t kShort = 48;  // bytes up to which looking at all pairs each time is faster than a heap
constexpr int32_t kNone = std::numeric_limits<int32_t>::max();

}  // namespace

void BytePairs::encode(std::string_view piece, std::vector<int32_t>& ids) const {
  if (piece.size() <= kShort)
    encode_short(piece, ids);
  else
    encode_long(piece, ids);
}

void BytePairs::encode_short(std::string_view piece, std::vector<int32_t>& ids) const {
  int32_t tokens[kShort];
  Merge pairs[kShort];  // [i]: tokens i and i + 1; rank kNone: no merge
  size_t n = piece.size();
  const auto look_up = [&](size_t i) {
    const Merge* const merge = i + 1 < n ? find(tokens[i], tokens[i + 1]) : nullptr;
    pairs[i] = merge != nullptr ? *merge : Merge{kNone, 0};
  };
  for (size_t i = 0; i < n; ++i) tokens[i] = byte_ids[static_cast<uint8_t>(piece[i])];
  for (size_t i = 0; i < n; ++i) look_up(i);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i)
      if (pairs[i].rank < pairs[best].rank) best = i;
    if (pairs[best].rank == kNone) break;
    tokens[best] = pairs[best].merged;
    for (size_t i = best + 1; i + 1 < n; ++i) tokens[i] = tokens[i + 1], pairs[i] = pairs[i + 1];
    --n;
    look_up(best);
    if (best > 0) look_up(best - 1);
  }
  ids.insert(ids.end(), tokens, tokens + n);
}

namespace {

// Positions of the pairs of one rank, taken from the left. Nearly all come in order.
class Positions {
 public:
  void push(uint32_t at) {
    if (ordered_.size() == taken_ || at >= ordered_.back())
      ordered_.push_back(at);
    else
      others_.push(at);
  }
  bool empty() const { return taken_ == ordered_.size() && others_.empty(); }
  uint32_t pop() {
    if (others_.empty() || (taken_ < ordered_.size() && ordered_[taken_] <= others_.top())) return ordered_[taken_++];
    const uint32_t at = others_.top();
    others_.pop();
    return at;
  }

 private:
  std::vector<uint32_t> ordered_;
  size_t taken_ = 0;
  std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> others_;
};

}  // namespace

// A linked list of tokens, and for each rank the places where it was met; a place whose pair is another by now is
// passed over.
void BytePairs::encode_long(std::string_view piece, std::vector<int32_t>& ids) const {
  constexpr uint32_t none = std::numeric_limits<uint32_t>::max();
  struct Token {
    int32_t id = 0;
    uint32_t previous = 0, next = 0;
    Merge pair;  // with the next one
  };
  const auto n = static_cast<uint32_t>(piece.size());
  std::vector<Token> tokens(n);
  std::unordered_map<int32_t, Positions> places;  // by rank
  std::priority_queue<int32_t, std::vector<int32_t>, std::greater<>> ranks;
  const auto look_up = [&](uint32_t at) {
    Token& token = tokens[at];
    const Merge* const merge = token.next != none ? find(token.id, tokens[token.next].id) : nullptr;
    token.pair = merge != nullptr ? *merge : Merge{kNone, 0};
    if (merge == nullptr) return;
    Positions& positions = places[merge->rank];
    if (positions.empty()) ranks.push(merge->rank);
    positions.push(at);
  };
  for (uint32_t i = 0; i < n; ++i)
    tokens[i] = {byte_ids[static_cast<uint8_t>(piece[i])], i > 0 ? i - 1 : none, i + 1 < n ? i + 1 : none, {}};
  for (uint32_t i = 0; i < n; ++i) look_up(i);
  while (!ranks.empty()) {
    const int32_t rank = ranks.top();
    Positions& positions = places[rank];
    if (positions.empty()) {
      ranks.pop();
      continue;
    }
    const uint32_t at = positions.pop();
    Token& token = tokens[at];
    if (token.pair.rank != rank) continue;
    Token& right = tokens[token.next];
    right.pair.rank = kNone;
    token.id = token.pair.merged;
    token.next = right.next;
    if (token.next != none) tokens[token.next].previous = at;
    if (token.previous != none) look_up(token.previous);
    look_up(at);
  }
  for (uint32_t i = 0; i != none; i = tokens[i].next) ids.push_back(tokens[i].id);
}

}  // namespace ringbench
