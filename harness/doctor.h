// doctor.h: the command `doctor`: whether this machine and build can measure, and what would disturb the numbers. What
// the machine can do at most is calibrate.h's business.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "harness/environment.h"
#include "harness/failure.h"
#include "harness/nvml.h"

namespace ringbench {

struct DoctorRequest {
  std::string engine = "reference";  // what is to be measured
  std::filesystem::path results = "results/runs";
  bool json = false;
  bool calibrate = false;
  int threads = 0;  // of the reference; 0: physical cores
  bool progress = true;
  bool small = false;  // a calibration of sizes that mean nothing: for tests
};

// Writes one line for each check to stdout, or one JSON object. Returns environment if a check failed: measuring would
// not work. Makes no CUDA context unless asked to calibrate.
ExitCode run_doctor(const DoctorRequest& request);

// --- The checks, apart from where their facts come from ---

// What is true at this moment only.
struct Vitals {
  double busy = 0, stolen = 0;  // shares of all cores' time: other work here; taken by the hypervisor
  double tick_s = 0;            // the shortest time that the clock shows
  int64_t free_disk_bytes = 0;
  std::string results_problem;               // why --results cannot be written
  std::string gnuplot;                       // version; empty: not there
  int64_t small_bytes = 0, large_bytes = 0;  // that ring-nano takes at ctx 8k and at 384k, all softmax
  bool driver = false;                       // NVIDIA's kernel module is loaded
  std::string nvml_problem;
  std::vector<GpuState> gpus;          // as Environment::gpus
  std::vector<int64_t> gpu_processes;  // likewise; -1: unknown
  std::string calibrated;              // date; empty: never
};
Vitals take_vitals(const DoctorRequest& request, const Environment& environment);

enum class Health { ok, warn, fail };
std::string_view name_of(Health health);  // "ok", "warn", "FAIL"

struct Finding {
  std::string name;
  Health health = Health::ok;
  std::string found = {};   // what is there
  std::string advice = {};  // what to do; empty if nothing
};
std::vector<Finding> diagnose(const DoctorRequest& request, const Environment& environment, const Vitals& vitals);

}  // namespace ringbench
