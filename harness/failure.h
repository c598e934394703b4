// failure.h: how a command ends when it cannot go on: an exit code, one line, and at most one line of advice.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace ringbench {

// If several apply: interrupted or terminated > internal > environment > parity > regression > points_failed.
enum class ExitCode {
  ok = 0,
  points_failed = 1,  // finished, but at least one point has no number
  usage = 2,          // flag, value, input file; nothing ran
  environment = 3,    // device, dtype, memory, disk
  parity = 4,
  regression = 5,  // compare: a row is slower; claims --fail-on: one is not reproduced
  internal = 70,
  interrupted = 130,
  terminated = 143,
};

// Thrown anywhere in the harness, printed in main: "error: " + what(), then the hint on a line of its own.
struct Failure : std::runtime_error {
  Failure(ExitCode exit_code, const std::string& message, std::string advice = "")
      : std::runtime_error(message), code(exit_code), hint(std::move(advice)) {}

  ExitCode code;
  std::string hint;
};

// Bad flags, values and input files.
struct UsageError : Failure {
  explicit UsageError(const std::string& message, std::string advice = "")
      : Failure(ExitCode::usage, message, std::move(advice)) {}
};

// Of a build without the libraries of tokenizer and grader; `what` it lacks: "no grader".
inline Failure no_text_libraries(const std::string& what) {
  return {ExitCode::environment, "this build has " + what + ": its libraries were not there.",
          "install libpcre2-dev, libutf8proc-dev, libgmp-dev, libmpfr-dev and zlib1g-dev and build again"};
}

}  // namespace ringbench
