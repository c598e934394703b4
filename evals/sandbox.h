// sandbox.h: a program of unknown intent, run where it can harm nothing: bubblewrap's namespaces (no network, no other
// processes, a read-only system, its own empty /tmp) with limits on time, memory, processes and output. Not what the
// program is, and not whether its output is right (code_task.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace ringbench {

struct SandboxLimits {
  double wall_s = 6;
  int64_t memory_bytes = int64_t{4} << 30;
  int64_t output_bytes = int64_t{8} << 20;  // of stdout and stderr together
  int64_t file_bytes = int64_t{64} << 20;   // a file that it writes
  int64_t processes = 32;
};

struct SandboxResult {
  enum class End { exited, killed, timed_out, too_much_output } end = End::exited;
  int code = 0;  // exit status, or of `killed` the signal
  std::string out, err;
};

// Empty, or why nothing can be run here: "bubblewrap is not installed". Asked once.
const std::string& sandbox_problem();

// Runs `program` (found on /usr/bin) with `input` on its stdin; `folder`, where it is named, is /work there, to be read
// only. Everything it started has ended when this returns. Throws std::system_error if it could not be started.
SandboxResult run_sandboxed(const std::vector<std::string>& program, const std::string& input,
                            const std::filesystem::path& folder, const SandboxLimits& limits = {});

}  // namespace ringbench
