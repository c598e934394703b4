// program.h: the program run from outside, its streams in files, and the records it leaves.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/catch.h"
#include "tests/folder.h"

namespace ringbench {

struct Ran {
  int code = -1;
  std::string out, err;
};

// Starts the program in `folder`, its streams into files there.
inline pid_t start(const std::vector<std::string>& arguments, const std::filesystem::path& folder) {
  const pid_t child = fork();
  if (child != 0) return child;
  std::vector<char*> argv{const_cast<char*>("ringbench")};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC;
  if (chdir(folder.c_str()) == 0 && dup2(open("out", kFlags, 0600), STDOUT_FILENO) >= 0 &&
      dup2(open("err", kFlags, 0600), STDERR_FILENO) >= 0)
    execv(RINGBENCH_PROGRAM, argv.data());
  _exit(99);
}

inline Ran finish(pid_t child, const std::filesystem::path& folder) {
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  Ran r;
  r.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  r.out = read_file(folder / "out");
  r.err = read_file(folder / "err");
  return r;
}

// "prefill --ctx 64", split at spaces.
inline Ran run(const std::string& line, const std::filesystem::path& where = {}) {
  const Folder own;
  const std::filesystem::path folder = where.empty() ? own.path : where;
  std::istringstream words(line);
  return finish(start({std::istream_iterator<std::string>(words), {}}, folder), folder);
}

// A shell line in `where`, or in a folder of its own; "$R" in it is the program.
inline Ran shell(const std::string& line, const std::filesystem::path& where = {}) {
  const Folder own;
  const std::string out = (own.path / "out").string(), err = (own.path / "err").string();
  const int status = std::system(("{ cd '" + (where.empty() ? own.path : where).string() +
                                  "' && R='" RINGBENCH_PROGRAM "'; " + line + "\n} >'" + out + "' 2>'" + err + "'")
                                     .c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), read_file(out), read_file(err)};
}

inline int64_t lines_of(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

template <class Condition> bool wait_for(const Condition& condition) {
  for (int i = 0; i < 1000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  return condition();
}

// The one run below `results`, if there is one.
inline std::filesystem::path run_folder(const std::filesystem::path& results) {
  for (const auto& entry : std::filesystem::directory_iterator(results))
    if (entry.is_directory()) return entry.path();
  return {};
}

}  // namespace ringbench
