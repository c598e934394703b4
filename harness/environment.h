// environment.h: what machine, build and settings a run had. No user names, no absolute paths; the host as a hash.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "harness/nvml.h"

namespace ringbench {

struct Environment {
  // Build.
  std::string version, commit, build_type, compiler, flags;
  std::string simd;                       // instruction sets the program was compiled for, for people
  std::vector<std::string> isa_compiled;  // the same in the kernel's words: "avx2", "avx512f"
  std::string eigen;                      // "3.4.0: AVX512, FMA, ..."
  bool openmp = false;
  std::string cuda_toolkit;        // that the CUDA engine was built with; empty: none in this build
  std::string cuda_architectures;  // that its kernels were compiled for: "80 90a"
  // Machine.
  std::string host_hash;  // first 16 hex digits of SHA-256 of the host name
  std::string os, kernel;
  std::string container;         // docker, podman, kubernetes, apptainer; empty: no sign of one
  bool virtual_machine = false;  // x86: the CPU says so
  std::string cpu;               // model name
  std::vector<std::string> isa;  // those of isa_compiled's words that the CPU has
  int physical_cores = 0, logical_cores = 0;
  int allowed_cpus = 0;              // by this process's affinity
  std::optional<double> cpu_quota;   // cores' worth of time that the cgroup grants; empty: no limit
  std::string governor, turbo, smt;  // "performance"; "on", "off"; "" where the kernel does not say
  std::string clock_source;          // "tsc"
  std::string huge_pages;            // transparent ones: "always", "madvise", "never"
  int numa_nodes = 0;
  int64_t memory_bytes = 0, available_memory_bytes = 0;
  double load_average = 0;                       // over the last minute, before the run
  std::map<std::string, std::string> variables;  // OMP_*, RINGBENCH_*, CUDA_VISIBLE_DEVICES, as far as set
  // GPUs, where they were asked for. facts.uuid is a hash here.
  std::vector<GpuFacts> gpus;
  std::string gpu_driver, cuda_driver;  // "580.65.06", "13.0": the newest CUDA that it supports
};

// nvml: as the driver's management library tells. cuda: also what only CUDA knows; makes a context on the GPU.
enum class GpuDetail { none, nvml, cuda };
Environment capture_environment(GpuDetail gpus = GpuDetail::none);
// One JSON object, for run.json. Absent is null.
std::string environment_json(const Environment& environment);

// "Intel(R) Xeon(R) Processor, 2 cores": the record's `device` for engines that run on the CPU.
std::string cpu_device_name();
// What can still be allocated without swapping: MemAvailable, or what the cgroup leaves, whichever is less.
int64_t available_memory_bytes();
// Largest resident size of this process so far.
int64_t peak_process_bytes();
// The number in a file of /proc, /sys or a cgroup that holds nothing else; empty for "max", no number, or no file.
std::optional<int64_t> number_in(const std::filesystem::path& path);
std::string utc_now();  // RFC 3339, "2026-01-01T12:00:00Z"
std::string host_hash();

}  // namespace ringbench
