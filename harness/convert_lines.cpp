#include "harness/convert_lines.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "harness/failure.h"

namespace ringbench {

namespace fs = std::filesystem;

void convert_lines(const std::string& in, const std::string& out,
                   const std::function<std::string(const std::string& line, const std::string& where)>& convert) {
  const std::string unfinished = out + ".unfinished";
  try {
    std::ifstream from(in, std::ios::binary);
    if (!from || fs::is_directory(in)) throw UsageError("--in: cannot read '" + in + "'.");
    std::ofstream to(unfinished, std::ios::binary);
    if (!to) throw UsageError("--out: cannot write '" + out + "': " + std::strerror(errno) + ".");
    std::string line;
    for (int64_t number = 1; std::getline(from, line); ++number)
      if (const std::string made = convert(line, "--in: " + in + ":" + std::to_string(number)); !made.empty())
        to << made << '\n';
    to.close();
    if (!to) throw Failure(ExitCode::environment, "--out: writing '" + out + "' failed (disk full?).");
    fs::rename(unfinished, out);
  } catch (...) {
    std::error_code ignored;
    fs::remove(unfinished, ignored);
    throw;
  }
}

}  // namespace ringbench
