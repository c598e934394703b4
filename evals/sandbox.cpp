#include "evals/sandbox.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <iterator>
#include <sstream>
#include <system_error>

namespace ringbench {
namespace {

namespace fs = std::filesystem;
using Seconds = std::chrono::duration<double>;
constexpr uid_t kNobody = 65534;
using Steady = std::chrono::steady_clock;

std::system_error failed(const char* what) { return {errno, std::generic_category(), what}; }

// Both ends are closed on exec.
class Pipe {
 public:
  Pipe() {
    if (pipe2(ends_.data(), O_CLOEXEC) != 0) throw failed("pipe");
  }
  ~Pipe() { close_read(), close_write(); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  int read_end() const { return ends_[0]; }
  int write_end() const { return ends_[1]; }
  void close_read() { close_end(ends_[0]); }
  void close_write() { close_end(ends_[1]); }

 private:
  static void close_end(int& end) {
    if (end >= 0) close(end);
    end = -1;
  }
  std::array<int, 2> ends_{-1, -1};
};

// A user of its own who is nobody, a machine of its own, and no descriptor, variable or capability of ours.
constexpr const char* kSandbox =
    "bwrap --unshare-all --die-with-parent --new-session --uid 65534 --gid 65534 --cap-drop ALL --hostname sandbox "
    "--clearenv --setenv PATH /usr/bin --setenv HOME /tmp --ro-bind /usr /usr --proc /proc --dev /dev "
    "--size 67108864 --tmpfs /tmp --chdir /tmp";

std::vector<std::string> wrapped(const std::vector<std::string>& program, const fs::path& folder) {
  std::istringstream sandbox(kSandbox);
  std::vector<std::string> words{std::istream_iterator<std::string>(sandbox), {}};
  for (const char* link : {"/bin", "/lib", "/lib64", "/sbin"})
    if (fs::is_symlink(link)) {
      for (const std::string& word : {std::string("--symlink"), "usr" + std::string(link), std::string(link)})
        words.push_back(word);
    } else if (fs::is_directory(link)) {
      for (const char* word : {"--ro-bind", link, link}) words.emplace_back(word);
    }
  if (!folder.empty())
    for (const std::string& word : {std::string("--ro-bind"), fs::absolute(folder).string(), std::string("/work")})
      words.push_back(word);
  words.emplace_back("--");
  words.insert(words.end(), program.begin(), program.end());
  return words;
}

void limit(int what, int64_t most) {
  const rlimit value = {static_cast<rlim_t>(most), static_cast<rlim_t>(most)};
  setrlimit(static_cast<__rlimit_resource_t>(what), &value);
}

// Between fork and exec: only what is allowed there, for other threads may hold locks.
[[noreturn]] void become(char* const* argv, int in, int out, int err, const SandboxLimits& limits) {
  // To root the limit on processes does not apply, whatever namespace it is in.
  if (geteuid() == 0 && (setgroups(0, nullptr) != 0 || setgid(kNobody) != 0 || setuid(kNobody) != 0)) _exit(127);
  limit(RLIMIT_AS, limits.memory_bytes);
  limit(RLIMIT_CPU, static_cast<int64_t>(std::ceil(limits.wall_s)) + 1);
  limit(RLIMIT_FSIZE, limits.file_bytes);
  limit(RLIMIT_NPROC, limits.processes);
  limit(RLIMIT_NOFILE, 64);
  limit(RLIMIT_CORE, 0);
  if (dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0)
    execvp(argv[0], argv);
  _exit(127);
}

// Between fork and exec too: runs bubblewrap, and ends as it does when all that it leaves is gone. It leaves its first
// process to whoever inherits orphans; some such take seconds to look, and so long it counts among its user's
// processes.
[[noreturn]] void keep(char* const* argv, int in, int out, int err, const SandboxLimits& limits) {
  setpgid(0, 0);
  signal(SIGINT, SIG_IGN);  // Ctrl-C is for us
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  const pid_t bubblewrap = fork();
  if (bubblewrap < 0) _exit(127);
  if (bubblewrap == 0) become(argv, in, out, err, limits);
  close_range(3, ~0U, 0);  // the ends of pipes: they close with the program
  int code = 127;
  for (int status = 0;;) {
    const pid_t ended = waitpid(-1, &status, 0);
    if (ended == bubblewrap) code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (ended < 0 && errno != EINTR) _exit(code);
  }
}

// Feeds and reads the child until both its outputs end, or a limit ends it.
class Conversation {
 public:
  Conversation(pid_t child, const std::string& input, Pipe& in, Pipe& out, Pipe& err, const SandboxLimits& limits)
      : child_(child), input_(input), in_(in), out_(out), err_(err), limits_(limits) {
    for (const int end : {in.write_end(), out.read_end(), err.read_end()}) fcntl(end, F_SETFL, O_NONBLOCK);
    if (input.empty()) in_.close_write();
  }

  SandboxResult run() {
    const Steady::time_point end =
        Steady::now() + std::chrono::duration_cast<Steady::duration>(Seconds(limits_.wall_s));
    while (out_.read_end() >= 0 || err_.read_end() >= 0) {
      const double left = Seconds(end - Steady::now()).count();
      if (left <= 0) return stop(SandboxResult::End::timed_out);
      std::array<pollfd, 3> ends = {pollfd{in_.write_end(), POLLOUT, 0}, pollfd{out_.read_end(), POLLIN, 0},
                                    pollfd{err_.read_end(), POLLIN, 0}};
      if (poll(ends.data(), ends.size(), static_cast<int>(std::min(left, 1.0) * 1000) + 1) < 0 && errno != EINTR)
        throw failed("poll");
      if (ends[0].revents != 0) feed();
      if (ends[1].revents != 0) read(out_, result_.out);
      if (ends[2].revents != 0) read(err_, result_.err);
      if (static_cast<int64_t>(result_.out.size() + result_.err.size()) > limits_.output_bytes)
        return stop(SandboxResult::End::too_much_output);
    }
    // It has closed its outputs, but may go on.
    for (;;) {
      int status = 0;
      const pid_t ended = waitpid(child_, &status, WNOHANG);
      if (ended == child_) return conclude(status);
      if (Steady::now() >= end) return stop(SandboxResult::End::timed_out);
      usleep(1000);
    }
  }

 private:
  void feed() {
    const ssize_t n = write(in_.write_end(), input_.data() + fed_, input_.size() - fed_);
    if (n > 0) fed_ += static_cast<size_t>(n);
    const bool over = n < 0 && errno != EAGAIN && errno != EINTR;  // it does not listen any more
    if (over || fed_ == input_.size()) in_.close_write();
  }

  static void read(Pipe& from, std::string& to) {
    std::array<char, 65536> block;
    const ssize_t n = ::read(from.read_end(), block.data(), block.size());
    if (n > 0) to.append(block.data(), static_cast<size_t>(n));
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) from.close_read();
  }

  // The namespace of processes ends with its first one: nothing is left behind.
  SandboxResult stop(SandboxResult::End why) {
    kill(-child_, SIGKILL);
    waitpid(child_, nullptr, 0);
    result_.end = why;
    return std::move(result_);
  }

  SandboxResult conclude(int status) {
    // bubblewrap reports a signal as 128 + its number.
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    result_.end = code > 128 ? SandboxResult::End::killed : SandboxResult::End::exited;
    result_.code = code > 128 ? code - 128 : code;
    return std::move(result_);
  }

  pid_t child_;
  const std::string& input_;
  Pipe &in_, &out_, &err_;
  const SandboxLimits& limits_;
  size_t fed_ = 0;
  SandboxResult result_;
};

std::string find_problem() {
  if (access("/usr/bin/bwrap", X_OK) != 0) return "bubblewrap is not installed (apt-get install bubblewrap)";
  try {
    const SandboxResult r = run_sandboxed({"true"}, "", {});
    if (r.end == SandboxResult::End::exited && r.code == 0) return "";
    const std::string line = r.err.substr(0, r.err.find('\n'));
    return "bubblewrap cannot make namespaces here" + (line.empty() ? "" : ": " + line);
  } catch (const std::system_error& e) {
    return e.what();
  }
}

}  // namespace

const std::string& sandbox_problem() {
  static const std::string problem = find_problem();
  return problem;
}

SandboxResult run_sandboxed(const std::vector<std::string>& program, const std::string& input, const fs::path& folder,
                            const SandboxLimits& limits) {
  std::vector<std::string> words = wrapped(program, folder);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  Pipe in, out, err;
  signal(SIGPIPE, SIG_IGN);  // of a program that does not read its input
  const pid_t child = fork();
  if (child < 0) throw failed("fork");
  if (child == 0) keep(argv.data(), in.read_end(), out.write_end(), err.write_end(), limits);
  setpgid(child, child);  // whoever of us is first
  in.close_read(), out.close_write(), err.close_write();
  return Conversation(child, input, in, out, err, limits).run();
}

}  // namespace ringbench
