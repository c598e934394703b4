// gnuplot.cpp: see gnuplot.h.
#include "harness/gnuplot.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <semaphore>
#include <stdexcept>
#include <thread>

#include "harness/failure.h"

extern char** environ;

namespace ringbench {
namespace {

// What was said first that is not a warning; gnuplot points at the place with a line of its own, "^".
std::string first_error(const std::string& said) {
  size_t begin = 0;
  std::string first;
  while (begin < said.size()) {
    const size_t end = std::min(said.find('\n', begin), said.size());
    const std::string line = said.substr(begin, end - begin);
    begin = end + 1;
    if (line.find("line ") != std::string::npos && line.find("warning") == std::string::npos &&
        line.find("Warning") == std::string::npos && line.find(": ") != std::string::npos)
      return line;
    if (first.empty() && line.find_first_not_of(" ^\t") != std::string::npos) first = line;
  }
  return first.empty() ? "it said nothing" : first;
}

}  // namespace

bool run_gnuplot(const std::filesystem::path& folder, const std::string& script) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error(std::string("pipe: ") + std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
  std::string words[] = {"gnuplot", "--default-settings", script};  // no settings of the user's own
  char* argv[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
  pid_t child = 0;
  const int error = posix_spawnp(&child, "gnuplot", &actions, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error != 0) {
    close(ends[0]);
    if (error == ENOENT) return false;
    throw Failure(ExitCode::environment, std::string("gnuplot cannot be started: ") + std::strerror(error) + ".");
  }
  std::string said;
  char buffer[4096];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) != 0;) {
    if (got > 0 && said.size() < 65536) said.append(buffer, static_cast<size_t>(got));
    if (got < 0 && errno != EINTR) break;
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127) return false;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw Failure(ExitCode::environment,
                  "gnuplot failed on '" + (folder / script).string() + "': " + first_error(said) + ".",
                  "The numbers are in the .csv beside it; try 'gnuplot " + script + "' in that folder.");
  return true;
}

std::future<bool> start_gnuplot(const std::filesystem::path& folder, const std::string& script) {
  static std::counting_semaphore<> processors(std::max(1u, std::thread::hardware_concurrency()));
  return std::async(std::launch::async, [folder, script] {
    processors.acquire();
    const std::unique_ptr<void, void (*)(void*)> release(&processors, [](void*) { processors.release(); });
    return run_gnuplot(folder, script);
  });
}

}  // namespace ringbench
