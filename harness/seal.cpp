#include "harness/seal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "harness/failure.h"
#include "reference/sha256.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;

std::string chain_link(const std::string& before, std::string_view line) {
  std::string text = before;
  return sha256_hex(text.append(line));
}

// Whole lines only. False at the end, or where the last line has no newline: then `torn` is set.
bool next_line(std::ifstream& in, std::string& line, bool& torn) {
  if (!std::getline(in, line)) return false;
  if (!in.eof()) return true;
  torn = !line.empty();
  return false;
}

}  // namespace

SealCheck check_seal(const fs::path& folder) {
  std::ifstream points(folder / "points.jsonl", std::ios::binary), seals(folder / "points.sha256", std::ios::binary);
  if (!points) throw UsageError("'" + folder.string() + "' holds no points.jsonl: it is no run's folder.");
  SealCheck check;
  check.sealed = seals.is_open();
  // Each line is held against the seal before it as it was written, so that one edit does not taint what follows.
  std::string line, seal, before;
  bool torn_seal = false;
  while (next_line(points, line, check.torn_line)) {
    ++check.lines;
    if (!next_line(seals, seal, torn_seal)) continue;
    ++check.seals;
    if (seal != chain_link(before, line)) check.changed.push_back(check.lines);
    before = seal;
  }
  while (next_line(seals, seal, torn_seal)) ++check.seals;
  return check;
}

Seal::Seal(const fs::path& folder) : path_(folder / "points.sha256") {
  std::string line, seal;
  std::vector<std::string> unsealed;
  bool torn = false, torn_seal = false;
  int64_t number = 0;
  off_t kept = 0;
  {
    std::ifstream points(folder / "points.jsonl", std::ios::binary), seals(path_, std::ios::binary);
    while (points && next_line(points, line, torn)) {
      ++number;
      if (!next_line(seals, seal, torn_seal)) {
        unsealed.push_back(line);
        continue;
      }
      if (seal != chain_link(last_, line))
        throw UsageError("line " + std::to_string(number) + " of '" + (folder / "points.jsonl").string() +
                             "' is not what the run wrote.",
                         "See all such lines with: ringbench runs verify " + folder.filename().string());
      last_ = seal;
      kept += static_cast<off_t>(seal.size()) + 1;
    }
  }
  file_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  // A seal that was cut off, or is of a line that was, goes.
  if (file_ < 0 || ftruncate(file_, kept) != 0 || lseek(file_, 0, SEEK_END) < 0) {
    const std::string reason = std::strerror(errno);
    if (file_ >= 0) close(file_);
    throw Failure(ExitCode::environment, "cannot write '" + path_.string() + "': " + reason + ".");
  }
  for (const std::string& missing : unsealed) add(missing);
}

Seal::~Seal() { close(file_); }

void Seal::add(std::string_view line) {
  const std::string seal = chain_link(last_, line), text = seal + "\n";
  const off_t before = lseek(file_, 0, SEEK_CUR);
  ssize_t written = 0;
  do written = write(file_, text.data(), text.size());
  while (written < 0 && errno == EINTR);
  if (written != static_cast<ssize_t>(text.size()) || fsync(file_) != 0) {
    const std::string reason = written >= 0 && errno == 0 ? "disk full" : std::strerror(errno);
    if (ftruncate(file_, before) == 0) lseek(file_, before, SEEK_SET);
    throw Failure(ExitCode::environment, "writing '" + path_.string() + "' failed: " + reason + ".");
  }
  last_ = seal;
}

}  // namespace ringbench
