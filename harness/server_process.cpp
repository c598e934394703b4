// server_process.cpp: see server_process.h. Between us and the server stands a keeper, a process that does nothing but
// wait: until the server ends, or until our end of a pipe is closed, which the kernel does however we end. Both ways of
// ending, ours and the violent one, are then the same code. It is forked from a program with threads and calls only
// what is safe there (signal-safety(7)).
#include "harness/server_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <vector>

#include "harness/completion.h"
#include "harness/failure.h"
#include "harness/wait.h"

namespace ringbench {
namespace {

constexpr int kLook_ms = 50;         // how late the keeper may notice an end
constexpr double kAskEvery_s = 0.2;  // whether it is ready
constexpr std::streamoff kLogTail = 4096;
constexpr size_t kLogLines = 6;

// --- In the keeper ---

// Blocked and not ignored: one that comes before the command runs waits for it.
void block_signals(bool block) {
  sigset_t signals;
  sigemptyset(&signals);
  if (block)
    for (const int signal_number : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal_number);
  sigprocmask(SIG_SETMASK, &signals, nullptr);
}

[[noreturn]] void become_server(const char* command, pid_t keeper) {
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) signal(signal_number, SIG_DFL);
  block_signals(false);
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // should the keeper itself be killed
  if (getppid() == keeper) execl("/bin/sh", "sh", "-c", command, static_cast<char*>(nullptr));
  _exit(127);
}

// Collects processes that ended; of `server` the exit status, by the shell's rule. False: there are none any more.
bool reap(pid_t server, int& exit_status) {
  int status = 0;
  pid_t ended = 0;
  while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
    if (ended == server) exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return ended == 0;
}

[[noreturn]] void end_group(pid_t server, int grace_ms) {
  kill(0, SIGTERM);  // with us, who block it
  int exit_status = 0;
  for (int waited_ms = 0; waited_ms < grace_ms && reap(server, exit_status); waited_ms += kLook_ms)
    poll(nullptr, 0, kLook_ms);
  kill(0, SIGKILL);  // us too
  _exit(exit_status);
}

[[noreturn]] void keep(const char* command, int lifeline, int log, int grace_ms) {
  block_signals(true);
  dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  dup2(lifeline, STDERR_FILENO + 1);
  close_range(STDERR_FILENO + 2, ~0U, 0);
  fcntl(STDERR_FILENO + 1, F_SETFD, FD_CLOEXEC);
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // processes whose parents end are ours to wait for

  const pid_t keeper = getpid(), server = fork();
  if (server == 0) become_server(command, keeper);
  int exit_status = server < 0 ? 126 : -1;
  pollfd end{STDERR_FILENO + 1, POLLIN, 0};
  while (exit_status < 0) {
    if (poll(&end, 1, kLook_ms) > 0) end_group(server, grace_ms);
    reap(server, exit_status);
  }
  _exit(exit_status);  // what it left behind ends with the ServerProcess
}

// --- In the program ---

// Its last lines, indented.
std::string tail_of(const std::filesystem::path& log) {
  std::ifstream in(log, std::ios::binary | std::ios::ate);
  in.seekg(std::max<std::streamoff>(0, static_cast<std::streamoff>(in.tellg()) - kLogTail));
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);)
    if (!one_line(line).empty()) lines.push_back("\n  " + one_line(line));
  std::string tail;
  for (size_t i = lines.size() - std::min(lines.size(), kLogLines); i < lines.size(); ++i) tail += lines[i];
  return tail;
}

}  // namespace

ServerProcess::ServerProcess(const std::string& command, const std::filesystem::path& log, double grace_s) : log_(log) {
  const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (out < 0)
    throw Failure(ExitCode::environment, log.string() + ": cannot be written: " + std::strerror(errno) + ".");
  int ends[2] = {-1, -1};
  if (pipe2(ends, O_CLOEXEC) == 0) keeper_ = fork();
  if (keeper_ == 0) {
    setpgid(0, 0);
    keep(command.c_str(), ends[0], out, static_cast<int>(1000 * grace_s));
  }
  const int error = errno;
  close(out);
  close(ends[0]);
  lifeline_ = ends[1];
  if (keeper_ < 0) {
    close(lifeline_);
    throw Failure(ExitCode::environment, std::string("--start: no new process: ") + std::strerror(error) + ".");
  }
  setpgid(keeper_, keeper_);  // by whoever comes first
}

ServerProcess::~ServerProcess() {
  close(lifeline_);
  siginfo_t info{};
  while (waitid(P_PID, static_cast<id_t>(keeper_), &info, WEXITED | WNOWAIT) < 0 && errno == EINTR) {}
  kill(-keeper_, SIGKILL);  // of a command that ended by itself, what it left; the number is ours until the next line
  waitpid(keeper_, nullptr, 0);
}

std::optional<int> ServerProcess::exit_status() const {
  siginfo_t info{};
  waitid(P_PID, static_cast<id_t>(keeper_), &info, WEXITED | WNOHANG | WNOWAIT);
  return info.si_pid == 0 ? std::nullopt : std::optional(info.si_status);
}

void ServerProcess::fail(const std::string& what) const {
  const std::string tail = tail_of(log_);
  throw Failure(ExitCode::environment, "--start: " + what + ".",
                tail.empty() ? log_.string() + " is empty" : "the end of " + log_.string() + ":" + tail);
}

void ServerProcess::wait_until_ready(const std::function<bool()>& is_ready, double timeout_s,
                                     const std::function<void(double)>& on_wait) {
  const double start_s = now_s();
  for (double told_s = 0;;) {
    if (const auto status = exit_status())
      fail("the command ended with exit status " + std::to_string(*status) + " before its server answered");
    if (is_ready()) return;
    const double waited_s = now_s() - start_s;
    if (waited_s > timeout_s) fail("no answer from the server after " + std::to_string(std::lround(waited_s)) + " s");
    if (on_wait && waited_s - told_s >= 1) on_wait(told_s = waited_s);
    if (!wait_until(now_s() + kAskEvery_s)) throw interruption();
  }
}

}  // namespace ringbench
