// telemetry.h: what the hardware does while something is timed: clocks, temperature, throttling, power, energy, and who
// else is on the GPU. Of a GPU through NVML, of a CPU its energy through RAPL. What is not known is empty, never 0.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "harness/nvml.h"
#include "harness/result.h"

namespace ringbench {

struct TelemetrySample {
  double t_s = 0;  // since start()
  Maybe<double> sm_mhz = {}, mem_mhz = {}, temp_c = {}, power_w = {};
  Maybe<double> energy_j = {};    // a counter that only grows
  Maybe<uint64_t> throttle = {};  // mask, throttle_names()
  Maybe<int64_t> foreign_processes = {};
};

// Of one timed region.
struct TelemetrySummary {
  double seconds = 0;
  Maybe<double> sm_mhz, mem_mhz;  // medians
  Maybe<double> temp_max_c;
  Maybe<double> energy_j, power_avg_w, power_idle_w;
  std::string energy_method;         // nvml-counter, nvml-power (samples, integrated), rapl; empty: none
  Strings throttle;                  // every reason that any sample showed
  Maybe<int64_t> foreign_processes;  // the most at once
  std::vector<TelemetrySample> samples;
};

struct TelemetryOptions {
  bool gpu = false;       // measuring on a GPU; else on the CPU
  std::string uuid = {};  // of that GPU (Device::uuid); empty: the first
  double hz = 10;         // samples a second; 0: none at all
  bool energy = true;
  std::filesystem::path powercap = "/sys/class/powercap";
};

class Telemetry {
 public:
  explicit Telemetry(const TelemetryOptions& options);
  ~Telemetry();
  Telemetry(const Telemetry&) = delete;
  Telemetry& operator=(const Telemetry&) = delete;

  // Why there will be no numbers ("there is no libnvidia-ml.so.1"); empty if there will be some.
  const std::string& problem() const { return problem_; }

  // Power while nothing is timed, for `seconds`; summaries carry it from then on.
  void measure_idle(double seconds = 0.5);

  // Other processes with a context on the GPU; empty on a CPU and where NVML does not say. `own_context`: this process
  // has one too. Then one process is taken for it even if its number is unknown here, as it is inside a container.
  Maybe<int64_t> foreign_processes(bool own_context) const;

  // Around the timed repetitions; on a GPU, once the engine is there. Takes a first sample at once.
  void start();
  TelemetrySummary stop();

 private:
  TelemetrySample sample(bool with_processes);
  Maybe<double> rapl_j();
  void record();

  TelemetryOptions options_;
  std::unique_ptr<Nvml> nvml_;
  NvmlDevice device_ = nullptr;
  std::string problem_;

  struct RaplDomain {
    std::filesystem::path file;
    int64_t range_uj, last_uj;
  };
  std::vector<RaplDomain> rapl_;
  double rapl_j_ = 0;  // since the first reading: the counters themselves wrap

  Maybe<double> power_idle_w_;
  double start_s_ = 0;
  std::vector<TelemetrySample> samples_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
};

// Whether one of the reasons held clocks down; idleness and clocks that somebody asked for do not count (flag T).
bool is_throttled(const Strings& reasons);

// Fills the energy and clock fields of a row. energy_j is that of the whole timed region, in which all repetitions
// together processed `tokens`.
void describe_telemetry(Result& result, const TelemetrySummary& summary, int64_t tokens);

// One line a sample. Throws Failure(environment) if it cannot be written.
void write_telemetry(const std::filesystem::path& csv, const std::vector<TelemetrySample>& samples);

// Empty if the GPU is ours alone (or nobody asked); else the warning "W-SHARED: ...". With `require` throws
// Failure(environment) instead, also where nobody can tell.
std::string check_isolation(Isolation wanted, const Maybe<int64_t>& foreign_processes);

}  // namespace ringbench
