// server_process.h: a server that we start and that never outlives us: --start 'vllm serve ...'. Not how one talks to
// it (endpoint.h).
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace ringbench {

class ServerProcess {
 public:
  // Runs `command` by /bin/sh in a process group of its own, without input, its output at the end of `log`. Throws
  // Failure if it cannot be started or `log` cannot be written. Whether somebody else answers at the server's address
  // already is for the caller to ask before.
  ServerProcess(const std::string& command, const std::filesystem::path& log, double grace_s = 10);
  // Stops it, as the end of this process by whatever cause does, SIGKILL included: SIGTERM to the whole group, and
  // after grace_s SIGKILL to what is left of it.
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  std::optional<int> exit_status() const;  // of the command, by the shell's rule; empty: it runs

  // Until is_ready() says so. `on_wait` is told how many seconds it has been, about once a second. Throws Failure with
  // the last lines of the log if the command ends first or `timeout_s` has passed, and if a signal comes.
  void wait_until_ready(const std::function<bool()>& is_ready, double timeout_s,
                        const std::function<void(double)>& on_wait = {});

 private:
  [[noreturn]] void fail(const std::string& what) const;

  std::filesystem::path log_;
  int lifeline_ = -1;  // the writing end of a pipe on which nothing is written: that it is open says that we live
  pid_t keeper_ = -1;  // a process that waits for its end
};

}  // namespace ringbench
