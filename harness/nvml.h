// nvml.h: the one door to NVIDIA's management library, loaded when it is asked for: no CUDA context, no header or stub
// of the toolkit at build time, nothing missed where there is no driver. What is done with its numbers: telemetry.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct nvmlDevice_st;

namespace ringbench {

using NvmlDevice = nvmlDevice_st*;

// What a GPU is and how it is set. Empty: the driver does not say.
struct GpuFacts {
  std::string name, uuid;
  std::optional<int> compute_capability;  // 90
  std::optional<int64_t> memory_bytes, free_bytes;
  std::optional<int64_t> sm_count, l2_bytes;  // known to CUDA, not to NVML
  std::optional<bool> ecc, mig, persistence;
  std::optional<double> power_limit_w, power_default_w;
  std::optional<int64_t> sm_max_mhz, mem_max_mhz;
  std::optional<int64_t> pcie_generation, pcie_max_generation, pcie_width, pcie_max_width;
};

// What it does at this moment.
struct GpuState {
  std::optional<double> sm_mhz, mem_mhz, temp_c, power_w;
  std::optional<double> energy_j;    // since the driver was loaded
  std::optional<uint64_t> throttle;  // bits of throttle_names()
};

class Nvml {
 public:
  // Loads $RINGBENCH_NVML (for tests and for odd installations), else libnvidia-ml.so.1.
  Nvml();
  ~Nvml();
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;

  // Why there are no answers: no library, no driver; empty if there are.
  const std::string& problem() const { return problem_; }

  std::string driver() const;        // "580.65.06"
  std::string cuda_version() const;  // the newest that the driver supports: "13.0"
  std::vector<NvmlDevice> devices() const;
  // By its UUID, "GPU-..."; where there is no such device (a MIG slice, an empty name) the first; null without any.
  NvmlDevice find(const std::string& uuid) const;

  GpuFacts facts(NvmlDevice device) const;
  GpuState state(NvmlDevice device) const;
  // Those with a compute context. Inside a container these may be the host's numbers, or none.
  std::optional<std::vector<int>> processes(NvmlDevice device) const;

 private:
  struct Functions;
  std::unique_ptr<Functions> functions_;
  void* library_ = nullptr;
  std::string problem_;
};

// Names of the reasons in such a mask, lowest bit first: "idle", "sw_power_cap", ...; "bit_12" for one unknown here.
std::vector<std::string> throttle_names(uint64_t mask);

}  // namespace ringbench
