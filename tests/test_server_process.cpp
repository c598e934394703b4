// A server that we start: that it is waited for, that its end is told, and that nothing of it is left, however we end.
#include "harness/server_process.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "harness/endpoint.h"
#include "harness/failure.h"
#include "harness/measure.h"
#include "tests/catch.h"
#include "tests/checks.h"
#include "tests/fake_server.h"
#include "tests/program.h"

using namespace ringbench;
namespace fs = std::filesystem;

namespace {

// Not there, or there only until its parent asks how it ended.
bool is_gone(pid_t process) {
  const std::string stat = read_file("/proc/" + std::to_string(process) + "/stat");
  const size_t name_end = stat.rfind(')');
  return name_end == stat.npos || stat[name_end + 2] == 'Z';
}

// The numbers that the command wrote, once there are so many.
std::vector<pid_t> processes_in(const fs::path& file, size_t count) {
  std::vector<pid_t> all;
  REQUIRE(wait_for([&] {
    std::istringstream numbers(read_file(file));
    all.assign(std::istream_iterator<pid_t>(numbers), {});
    return all.size() == count;
  }));
  return all;
}

void check_gone(const std::vector<pid_t>& processes) {
  for (const pid_t process : processes) CHECK(wait_for([&] { return is_gone(process); }));
}

// A shell with two children, all of whose numbers are in `pids`.
std::string family(const fs::path& pids) {
  return "sleep 1000 & echo $! >>" + pids.string() + "; sleep 1000 & echo $! >>" + pids.string() + "; echo $$ >>" +
         pids.string() + "; wait";
}

bool never() { return false; }

// Standard input from which nothing comes and that does not end, for as long as this lives.
struct SilentInput {
  int before = dup(STDIN_FILENO), ends[2] = {-1, -1};
  SilentInput() { CHECK((pipe(ends) == 0 && dup2(ends[0], STDIN_FILENO) == STDIN_FILENO)); }
  ~SilentInput() {
    if (before >= 0) dup2(before, STDIN_FILENO);
    for (const int descriptor : {before, ends[0], ends[1]}) close(descriptor);
  }
};

std::string failure_of(ServerProcess& server, double timeout_s) {
  try {
    server.wait_until_ready(never, timeout_s);
  } catch (const Failure& failure) {
    CHECK(failure.code == ExitCode::environment);
    return std::string(failure.what()) + "\n" + failure.hint;
  }
  return "ready";
}

}  // namespace

TEST_CASE("a server is waited for; its output goes to the end of its log, and it has no input") {
  const Folder folder;
  const fs::path log = folder.path / "log", ready = folder.path / "ready";
  std::ofstream(log) << "before\n";
  const SilentInput input;
  ServerProcess server("cat; echo out; echo err >&2; sleep 1.2; touch " + ready.string() + "; sleep 1000", log);
  std::vector<double> waited_s;
  server.wait_until_ready([&] { return fs::exists(ready); }, 60, [&](double s) { waited_s.push_back(s); });
  CHECK(!server.exit_status());
  CHECK(read_file(log) == "before\nout\nerr\n");
  REQUIRE(!waited_s.empty());
  CHECK(waited_s.front() >= 1);
}

TEST_CASE("a server that answers over HTTP is ready") {
  const Folder folder;
  const FakeServer fake;
  ServerEndpoint endpoint(parse_endpoint_urls("openai:" + fake.url()).front(), {});
  ServerProcess server("sleep 1000", folder.path / "log");
  server.wait_until_ready([&] { return endpoint.is_ready(); }, 60);
}

TEST_CASE("a command that ends before its server answers is a failure with the end of its log") {
  const Folder folder;
  const fs::path log = folder.path / "log";
  {
    ServerProcess server("for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done; printf '\\n\\033[31mno GPU\\r\\n'; exit 3",
                         log);
    CHECK(failure_of(server, 60) ==
          "--start: the command ended with exit status 3 before its server answered.\nthe end of " + log.string() +
              ":\n  line 5\n  line 6\n  line 7\n  line 8\n  line 9\n  [31mno GPU");
    CHECK(server.exit_status() == 3);
  }
  fs::remove(log);
  {
    ServerProcess server("kill -9 $$", log);
    CHECK(failure_of(server, 60) ==
          "--start: the command ended with exit status 137 before its server answered.\n" + log.string() + " is empty");
  }
  ServerProcess server("no-such-command", log);
  CHECK(contains(failure_of(server, 60), "exit status 127"));
}

TEST_CASE("a server that does not answer in time is a failure") {
  const Folder folder;
  ServerProcess server("echo loading; sleep 1000", folder.path / "log");
  const std::string failure = failure_of(server, 0.3);
  CHECK(contains(failure, "--start: no answer from the server after "));
  CHECK(contains(failure, "\n  loading"));
}

TEST_CASE("a log that cannot be written is a failure, and nothing is started") {
  const Folder folder;
  CHECK_THROWS_AS(ServerProcess("touch " + (folder.path / "started").string(), folder.path / "none" / "log"), Failure);
  CHECK(!fs::exists(folder.path / "started"));
}

TEST_CASE("the whole group ends with the object, asked first") {
  const Folder folder;
  std::vector<pid_t> processes;
  {
    const ServerProcess server(
        "trap 'echo ended >" + (folder.path / "ended").string() + "; exit 0' TERM; " + family(folder.path / "pids"),
        folder.path / "log");
    processes = processes_in(folder.path / "pids", 3);
    for (const pid_t process : processes) CHECK(!is_gone(process));
  }
  check_gone(processes);
  CHECK(read_file(folder.path / "ended") == "ended\n");
}

TEST_CASE("what does not listen is killed after the grace, and so is what a command left behind") {
  const Folder folder;
  std::vector<pid_t> processes;
  {
    const ServerProcess server("trap '' TERM; " + family(folder.path / "pids"), folder.path / "log", 0.2);
    processes = processes_in(folder.path / "pids", 3);
  }
  check_gone(processes);
  {
    const ServerProcess server("sleep 1000 & echo $! >" + (folder.path / "left").string(), folder.path / "log", 0.2);
    processes = processes_in(folder.path / "left", 1);
    CHECK(wait_for([&] { return server.exit_status() == 0; }));
    CHECK(!is_gone(processes.front()));
  }
  check_gone(processes);
}

TEST_CASE("a server does not outlive us, also where we are killed") {
  const Folder folder;
  const fs::path pids = folder.path / "pids";
  const pid_t child = fork();
  if (child == 0) {
    const ServerProcess server("trap '' TERM; " + family(pids), folder.path / "log", 0.2);
    pause();
    _exit(1);
  }
  const std::vector<pid_t> processes = processes_in(pids, 3);
  kill(child, SIGKILL);
  REQUIRE(waitpid(child, nullptr, 0) == child);
  check_gone(processes);
}

TEST_CASE("a signal ends the waiting for a server, and the server") {
  const Folder folder;
  const fs::path pids = folder.path / "pids";
  const pid_t child = fork();
  if (child == 0) {  // in a process of its own: a signal that came stays
    install_signal_handlers();
    int code = 1;
    try {
      ServerProcess server(family(pids), folder.path / "log");
      server.wait_until_ready(never, 60);
    } catch (const Failure& failure) {
      code = static_cast<int>(failure.code);
    }
    _exit(code);
  }
  const std::vector<pid_t> processes = processes_in(pids, 3);
  kill(child, SIGINT);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 130);
  check_gone(processes);
}
