// byte_pairs.h: byte-pair merges over bytes: a piece of text to token ids. Not how a text is cut into pieces, and
// nothing about files (tokenizer.h).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ringbench {

class BytePairs {
 public:
  std::array<int32_t, 256> byte_ids{};  // token of each single byte

  // left followed by right becomes merged; lower ranks first. A pair given twice keeps the later rank.
  void add_merge(int32_t left, int32_t right, int32_t rank, int32_t merged) {
    merges_.insert_or_assign(key(left, right), Merge{rank, merged});
  }
  void reserve(size_t merges) { merges_.reserve(merges); }

  // Appends the tokens of a piece: of all pairs the one of lowest rank is merged, the leftmost first, until there is
  // none. Time n log n at most; a piece has less than 4 GiB.
  void encode(std::string_view piece, std::vector<int32_t>& ids) const;

 private:
  struct Merge {
    int32_t rank = 0, merged = 0;
  };
  static uint64_t key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  const Merge* find(int32_t left, int32_t right) const {
    const auto found = merges_.find(key(left, right));
    return found == merges_.end() ? nullptr : &found->second;
  }
  void encode_short(std::string_view piece, std::vector<int32_t>& ids) const;
  void encode_long(std::string_view piece, std::vector<int32_t>& ids) const;

  struct Mix {  // ids are small and regular: spread them over all bits
    size_t operator()(uint64_t x) const {
      x *= 0x9E3779B97F4A7C15ull;
      return x ^ x >> 32;
    }
  };
  std::unordered_map<uint64_t, Merge, Mix> merges_;
};

}  // namespace ringbench
