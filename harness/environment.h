// environment.h: what machine, build and settings a run had. No user names, no absolute paths; the host as a hash.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ringbench {

struct Environment {
  // Build.
  std::string version, commit, build_type, compiler, flags;
  std::string simd;  // instruction sets the program was compiled for
  // Machine.
  std::string host_hash;  // first 16 hex digits of SHA-256 of the host name
  std::string os, kernel;
  std::string cpu;  // model name
  int physical_cores = 0, logical_cores = 0;
  std::string governor;  // "" where the kernel does not say
  int64_t memory_bytes = 0, available_memory_bytes = 0;
  double load_average = 0;                       // over the last minute, before the run
  std::map<std::string, std::string> variables;  // OMP_*, RINGBENCH_*, CUDA_VISIBLE_DEVICES, as far as set
};

Environment capture_environment();

// "Intel(R) Xeon(R) Processor, 2 cores": the record's `device` for engines that run on the CPU.
std::string cpu_device_name();
// What can still be allocated without swapping: MemAvailable, or what the cgroup leaves, whichever is less.
int64_t available_memory_bytes();
// Largest resident size of this process so far.
int64_t peak_process_bytes();
std::string utc_now();  // RFC 3339, "2026-01-01T12:00:00Z"
std::string host_hash();

}  // namespace ringbench
