// line_file.h: a file that only grows, line by line, each on the disk before the next: what a crash cannot take back.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace ringbench {

class LineFile {
 public:
  // A new one, or one that is there: a last line without its end was being written when the program died, and is cut
  // off. Throws std::system_error if it cannot be written.
  explicit LineFile(std::filesystem::path path);
  ~LineFile();
  LineFile(const LineFile&) = delete;
  LineFile& operator=(const LineFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  bool was_torn() const { return was_torn_; }

  // Appends `line` and its end, and syncs. Throws std::system_error (a full disk); the file is then as before, unless
  // the message says that its last line is torn.
  void append(std::string_view line);

 private:
  std::filesystem::path path_;
  int file_ = -1;
  bool was_torn_ = false;
};

// All of `text`, or false and errno: short writes happen when a disk fills up.
bool write_all(int file, std::string_view text);

}  // namespace ringbench
