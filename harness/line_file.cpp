#include "harness/line_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iterator>
#include <system_error>

namespace ringbench {

namespace fs = std::filesystem;

bool write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

LineFile::LineFile(fs::path path) : path_(std::move(path)) {
  const std::string text = [&] {
    std::ifstream in(path_, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }();
  was_torn_ = !text.empty() && text.back() != '\n';
  if (was_torn_) fs::resize_file(path_, text.rfind('\n') + 1);  // npos + 1 is 0
  file_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file_ < 0) throw std::system_error(errno, std::generic_category());
}

LineFile::~LineFile() {
  if (file_ >= 0) close(file_);
}

void LineFile::append(std::string_view line) {
  const off_t before = lseek(file_, 0, SEEK_END);
  if (write_all(file_, std::string(line) + "\n") && fsync(file_) == 0) return;
  const int reason = errno;
  if (ftruncate(file_, before) != 0) throw std::system_error(reason, std::generic_category(), "the last line is torn");
  throw std::system_error(reason, std::generic_category());
}

}  // namespace ringbench
