// Programs as answers: how tests are unpacked and outputs compared, and that what a program does stays in its sandbox.
#include "evals/code_task.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "evals/dataset.h"
#include "tests/catch.h"
#include "tests/folder.h"
#include "tests/program.h"

using namespace ringbench;
using Json = nlohmann::json;
using Outcome = CodeVerdict::Outcome;

namespace {

// Two tests (3 4 -> 7, 10 -4 -> 6) as LiveCodeBench packs private ones: base64 of zlib of a pickled text of JSON.
const std::string packed =
    "eNprYJlawQABPSXR1UqZeQWlJUpWCkrGCiYxeUo6Ckr5pSVQIXOIQElqcUlJZUEqSKi4JCUzT6lWRwFJp6GBgi6GXjMcOmOn6AEA"
    "Y+4mAg==";
// The same of a pickled dict.
const std::string packed_dict = "eNprYJnKxQABtVN6GBOneDMW6wEALJIEpA==";

CodeProblem sum() { return {"", {{"3 4\n", "7\n"}, {"10 -4\n", "6"}}}; }

// So long that only a program without an end takes it, on a busy machine too.
CodeVerdict ran(const std::string& program, const CodeProblem& problem = sum(), double wall_s = 30) {
  SandboxLimits limits;
  limits.wall_s = wall_s;
  limits.memory_bytes = int64_t{1} << 30;
  return run_code(program, problem, limits);
}

void fails_by(const std::string& program, Outcome outcome, const std::string& detail = "") {
  INFO(program);
  const CodeVerdict v = ran(program, sum(), outcome == Outcome::time_limit ? 2 : 30);
  CHECK(v.outcome == outcome);
  CHECK(v.test == 0);
  INFO(v.detail);
  CHECK(v.detail.find(detail) != std::string::npos);
}

}  // namespace

TEST_CASE("tests are read as JSON or as LiveCodeBench packs them; other pickles are not opened", "[code]") {
  const CodeProblem problem = parse_code_problem(R"([{"input": "1 2", "output": "3", "testtype": "stdin"}])", packed,
                                                 R"({"func_name": "add"})");
  CHECK(problem.function == "add");
  REQUIRE(problem.tests.size() == 3);
  CHECK(problem.tests[0].input == "1 2");
  CHECK(problem.tests[1].output == "7\n");
  CHECK(problem.tests[2].input == "10 -4\n");
  const auto refused = [](const std::string& tests, const std::string& why, int64_t most = 1 << 20) {
    CHECK_THROWS_WITH(parse_code_problem("[]", tests, "", most), Catch::Contains(why));
  };
  refused("", "no tests");
  refused("[{\"input\": 3}]", "no input and output");
  refused("!", "neither JSON nor base64");
  refused("AAAA", "damaged (zlib)");
  refused(packed.substr(0, packed.size() / 2), "damaged (zlib)");
  refused(packed, "too large", 10);
  refused(packed_dict, "a pickle of something else than a text: not opened");
}

TEST_CASE("the program of a completion is its last closed block", "[code]") {
  CHECK_FALSE(extract_code("no code"));
  CHECK_FALSE(extract_code("```python\nprint(1)"));
  CHECK(extract_code("a\n```python\nprint(1)\n```\nb\n```\nprint(2)\nprint(3)\n```\n") == "print(2)\nprint(3)\n");
  CHECK(extract_code("```\nx\n```\n```\nunfinished") == "x\n");
  CHECK_FALSE(extract_code("<think>```\nx\n```</think> so"));
}

TEST_CASE("outputs are the same by lines and by exact decimals", "[code]") {
  CHECK(same_output("7\n", "7"));
  CHECK(same_output("  a \nb\n\n", "a\nb"));
  CHECK(same_output("1.50 2", "1.5 2.0"));
  CHECK(same_output("1e3", "1000"));
  CHECK(same_output("-0.0", "0"));
  CHECK(same_output("00012", "12"));
  CHECK_FALSE(same_output("7\n8", "7"));
  CHECK_FALSE(same_output("7 8", "7\n8"));
  CHECK_FALSE(same_output("0.1000000000000000000001", "0.1"));
  CHECK_FALSE(same_output("-1", "1"));
  CHECK_FALSE(same_output("A", "a"));
  CHECK_FALSE(same_output("", "0"));
  CHECK_FALSE(same_output("1e", "1"));
  CHECK_FALSE(same_output(".", "0"));
}

TEST_CASE("a program is run against its tests, and functions are called with JSON", "[code]") {
  INFO(sandbox_problem());
  REQUIRE(sandbox_problem().empty());
  CHECK(ran("a, b = map(int, input().split())\nprint(a + b)").outcome == Outcome::passed);
  CHECK(ran("a, b = map(int, input().split())\nprint(a + b)").test == 2);
  const CodeVerdict wrong = ran("print(7)");
  CHECK(wrong.outcome == Outcome::wrong_answer);
  CHECK(wrong.test == 1);  // the first passes
  // What contest platforms import is there; pow is that of builtins, not of math.
  CHECK(
      ran("print(reduce(lambda a, b: a + b, map(int, input().split())) * pow(3, 5, 121) // pow(3, 5, 121))").outcome ==
      Outcome::passed);
  CHECK(ran("for line in stdin: print(sum(map(int, line.split())) + math.floor(0.5))").outcome == Outcome::passed);
  CodeProblem add{"add", {{"[1, 2]\n3", "[4, 5]"}, {"[]\n1", "[]"}}};
  CHECK(ran("class Solution:\n    def add(self, a: List[int], n: int):\n        print('noise')\n"
            "        return tuple(x + n for x in a)",
            add)
            .outcome == Outcome::passed);
  CHECK(ran("def add(a, n):\n    return [x + n for x in a]", add).outcome == Outcome::passed);
  CHECK(ran("def add(a, n):\n    return a", add).outcome == Outcome::wrong_answer);
}

TEST_CASE("whatever a program does stays in its sandbox", "[code]") {
  REQUIRE(sandbox_problem().empty());
  fails_by("while True: pass", Outcome::time_limit);
  fails_by("import time\ntime.sleep(60)", Outcome::time_limit);
  fails_by("import os\nwhile True: os.fork()", Outcome::runtime_error, "Resource temporarily unavailable");
  fails_by("x = bytearray(4 << 30)", Outcome::runtime_error, "MemoryError");
  fails_by("while True: print('x' * 65536)", Outcome::runtime_error, "too much output");
  fails_by("open('/tmp/big', 'wb').write(b'x' * (65 << 20))", Outcome::runtime_error, "File too large");
  fails_by("import os\nos.kill(os.getpid(), 9)", Outcome::runtime_error, "signal 9");
  fails_by("import socket\nsocket.create_connection(('1.1.1.1', 80), 1)", Outcome::runtime_error, "unreachable");
  for (const char* file : {"/work/x", "/usr/x", "/etc/x", "/proc/sys/kernel/core_pattern"})
    fails_by("open('" + std::string(file) + "', 'w')", Outcome::runtime_error, "Error");
  // Neither the home of whoever runs it nor the files of other programs are there.
  fails_by(
      "import os\nassert not os.path.exists('" + std::string(RINGBENCH_SOURCE_DIR) + "')\nprint(os.listdir('/root'))",
      Outcome::runtime_error, "No such file or directory: '/root'");
  fails_by(
      "import os\nassert os.getuid() == 65534 and not [k for k in os.environ if k not in "
      "('PATH', 'HOME', 'PWD', 'LC_CTYPE')]\nraise KeyError(len(os.listdir('/tmp')))",
      Outcome::runtime_error, "KeyError: 0");
}

TEST_CASE("what a program leaves behind ends with it, and two of them do not meet", "[code]") {
  REQUIRE(sandbox_problem().empty());
  const Folder folder;
  std::ofstream(folder.path / "leave.py") << "import os, time\n"
                                             "if os.fork():\n    os._exit(0)\n"
                                             "os.setsid()\nopen('/tmp/there', 'w')\ntime.sleep(1000003)\n";
  std::filesystem::permissions(folder.path, std::filesystem::perms::all);
  SandboxLimits limits;
  limits.wall_s = 2;
  run_sandboxed({"python3", "/work/leave.py"}, "", folder.path, limits);
  const auto sleepers = [] {
    int64_t found = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc"))
      found += read_file(entry.path() / "cmdline").find("/work/leave.py") != std::string::npos;
    return found;
  };
  CHECK(wait_for([&] { return sleepers() == 0; }));
  const SandboxResult next = run_sandboxed({"ls", "/tmp"}, "", folder.path, limits);
  CHECK(next.code == 0);
  CHECK(next.out.empty());
}

TEST_CASE("programs that have ended count no more against those that follow", "[code]") {
  for (int64_t i = 0; i < 2 * SandboxLimits().processes; ++i) {
    const SandboxResult r = run_sandboxed({"true"}, "", {});
    INFO(i << ": " << r.err);
    REQUIRE(r.end == SandboxResult::End::exited);
    REQUIRE(r.code == 0);
  }
}

TEST_CASE("code is graded only where it may be run; programs have no majority", "[code]") {
  const Folder folder;
  Json s1 = {{"question_id", "s1"},          {"question_content", "Add two integers."},
             {"starter_code", ""},           {"public_test_cases", R"([{"input": "1 2", "output": "3"}])"},
             {"private_test_cases", packed}, {"metadata", "{}"}};
  std::ofstream(folder.path / "lcb.jsonl") << s1.dump() << "\n";
  const Json answers = {
      {"question_id", "s1"},
      {"code_list", {"```python\na, b = map(int, input().split())\nprint(a + b)\n```", "```\nprint(3)\n```", "none"}}};
  std::ofstream(folder.path / "a.jsonl") << answers.dump() << "\n";
  const Ran refused = run("score a.jsonl --gold lcb.jsonl", folder.path);
  CHECK(refused.code == 2);
  CHECK(refused.err.find("grading means to run them.\n--allow-exec") != std::string::npos);
  const Ran scored = run("score a.jsonl --gold lcb.jsonl --allow-exec --json", folder.path);
  INFO(scored.err);
  REQUIRE(scored.code == 0);
  const Json lines = Json::parse(scored.out);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0]["metric"] == "avg@3");
  CHECK(std::abs(lines[0]["value"].get<double>() - 1.0 / 3) <= 1e-12);
  CHECK(std::abs(lines[0]["unparsed"].get<double>() - 1.0 / 3) <= 1e-12);
  const Ran majority = run("score a.jsonl --gold lcb.jsonl --allow-exec --metric maj@3", folder.path);
  CHECK(majority.code == 2);
  CHECK(majority.err.find("programs have no majority") != std::string::npos);

  const Dataset data = read_dataset(folder.path / "lcb.jsonl");
  CHECK(data.questions[0].kind == "code");
  s1["public_test_cases"] = "[]", s1["private_test_cases"] = packed_dict;
  std::ofstream(folder.path / "lcb.jsonl") << s1.dump() << "\n";
  const Ran unread = run("score a.jsonl --gold lcb.jsonl --allow-exec", folder.path);
  CHECK(unread.code == 2);
  CHECK(unread.err.find("no question has a gold that can be read") != std::string::npos);
}
