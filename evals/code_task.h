// code_task.h: programs that a model wrote, against the tests of a problem: LiveCodeBench's layout and its comparison.
// Python only. Programs run in a sandbox (sandbox.h) or not at all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "evals/sandbox.h"

namespace ringbench {

struct CodeTest {
  std::string input, output;
};

struct CodeProblem {
  std::string function;  // called with the JSON values of a test's input, a line each; empty: stdin and stdout
  std::vector<CodeTest> tests;
};

// LiveCodeBench's fields: lists of tests as JSON, the private ones also as base64 of zlib of a pickled text; metadata
// with the function's name. Throws std::invalid_argument for anything else: a pickle that is more than one text is not
// opened. At most `most_bytes` come out of the compression.
CodeProblem parse_code_problem(const std::string& public_tests, const std::string& private_tests,
                               const std::string& metadata, int64_t most_bytes = int64_t{1} << 30);

// The last fenced block of a completion, after thinking; empty if there is none that is closed.
std::optional<std::string> extract_code(std::string_view completion);

// Lines, without spaces at their ends: the same text, or the same decimals.
bool same_output(std::string_view output, std::string_view expected);

struct CodeVerdict {
  enum class Outcome { passed, wrong_answer, time_limit, runtime_error } outcome = Outcome::passed;
  size_t test = 0;     // that failed, from 0; of `passed` the number of tests
  std::string detail;  // last line of an error
};
const char* to_string(CodeVerdict::Outcome outcome);

// Test after test until one fails. Throws std::runtime_error where nothing can be run: ask sandbox_problem() first.
CodeVerdict run_code(const std::string& program, const CodeProblem& problem, const SandboxLimits& limits = {});

}  // namespace ringbench
