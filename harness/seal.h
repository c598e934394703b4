// seal.h: a chain of hashes beside a run's records that tells whether a line was changed afterwards. Against mistakes
// and quiet edits: whoever wants to can compute the chain anew.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace ringbench {

// points.sha256: line i is the SHA-256, in hex, of its own line i - 1 followed by line i of points.jsonl, without
// newlines. Written after the record, so that a crash leaves at most one record without its line.
class Seal {
 public:
  // Of a run's folder. Its points.jsonl may hold records already, whole lines all: those at the end that have no seal
  // yet are sealed. Throws Failure(environment) where it cannot be written, UsageError if a sealed line was changed.
  explicit Seal(const std::filesystem::path& folder);
  ~Seal();
  Seal(const Seal&) = delete;
  Seal& operator=(const Seal&) = delete;

  // Of one more line of points.jsonl, without its newline; on disk when this returns. Throws Failure(environment).
  void add(std::string_view line);

 private:
  std::filesystem::path path_;
  std::string last_;
  int file_ = -1;
};

struct SealCheck {
  bool sealed = false;           // there is a points.sha256
  int64_t lines = 0, seals = 0;  // of points.jsonl, whole ones; of points.sha256
  std::vector<int64_t> changed;  // 1-based lines that are not what was sealed
  bool torn_line = false;        // points.jsonl ends without a newline; that line is not counted
};
// Throws UsageError for a folder without points.jsonl.
SealCheck check_seal(const std::filesystem::path& folder);

}  // namespace ringbench
