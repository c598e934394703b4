// nvml.cpp: see nvml.h. The library's C interface is stable; of functions that changed, the newest that is there is
// used. Declared here is only what is called.
#include "harness/nvml.h"

#include <dlfcn.h>

#include <cstdlib>
#include <initializer_list>
#include <iterator>
#include <type_traits>
#include <utility>

namespace ringbench {
namespace {

constexpr int kSuccess = 0, kInsufficientSize = 7;
constexpr unsigned kClockSm = 1, kClockMemory = 2, kSensorGpu = 0;

struct NvmlMemory {  // nvmlMemory_t
  unsigned long long total, free, used;
};
struct NvmlProcess {  // nvmlProcessInfo_t of versions 2 and 3
  unsigned pid;
  unsigned long long used_bytes;
  unsigned gpu_instance, compute_instance;
};
struct NvmlProcessV1 {
  unsigned pid;
  unsigned long long used_bytes;
};

// The answer of a function that was found and succeeded; the second form is for those that ask which clock or sensor.
template <class T> std::optional<T> ask(int (*function)(NvmlDevice, T*), NvmlDevice device) {
  T answer{};
  if (function == nullptr || function(device, &answer) != kSuccess) return std::nullopt;
  return answer;
}
template <class T> std::optional<T> ask(int (*function)(NvmlDevice, unsigned, T*), NvmlDevice device, unsigned which) {
  T answer{};
  if (function == nullptr || function(device, which, &answer) != kSuccess) return std::nullopt;
  return answer;
}

template <class To, class From> std::optional<To> scaled(const std::optional<From>& value, double scale = 1) {
  if (!value) return std::nullopt;
  return static_cast<To>(static_cast<double>(*value) * scale);
}

template <class Process>
std::optional<std::vector<int>> list_processes(int (*function)(NvmlDevice, unsigned*, Process*), NvmlDevice device) {
  if (function == nullptr) return std::nullopt;
  std::vector<Process> found(32);
  for (int tries = 0; tries < 5; ++tries) {  // more may start in between
    auto count = static_cast<unsigned>(found.size());
    const int status = function(device, &count, found.data());
    if (status == kSuccess) {
      std::vector<int> pids;
      for (unsigned i = 0; i < count && i < found.size(); ++i) pids.push_back(static_cast<int>(found[i].pid));
      return pids;
    }
    if (status != kInsufficientSize) return std::nullopt;
    found.resize(2 * found.size() + count);
  }
  return std::nullopt;
}

}  // namespace

// Null where the library has no such function.
struct Nvml::Functions {
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  const char* (*error_text)(int) = nullptr;
  int (*driver_version)(char*, unsigned) = nullptr;
  int (*cuda_driver_version)(int*) = nullptr;
  int (*device_count)(unsigned*) = nullptr;
  int (*device_by_index)(unsigned, NvmlDevice*) = nullptr;
  int (*device_by_uuid)(const char*, NvmlDevice*) = nullptr;
  int (*name)(NvmlDevice, char*, unsigned) = nullptr;
  int (*uuid)(NvmlDevice, char*, unsigned) = nullptr;
  int (*compute_capability)(NvmlDevice, int*, int*) = nullptr;
  int (*memory)(NvmlDevice, NvmlMemory*) = nullptr;
  int (*ecc)(NvmlDevice, unsigned*, unsigned*) = nullptr;
  int (*mig)(NvmlDevice, unsigned*, unsigned*) = nullptr;
  int (*persistence)(NvmlDevice, unsigned*) = nullptr;
  int (*power_limit)(NvmlDevice, unsigned*) = nullptr;
  int (*power_default)(NvmlDevice, unsigned*) = nullptr;
  int (*max_clock)(NvmlDevice, unsigned, unsigned*) = nullptr;
  int (*pcie_generation)(NvmlDevice, unsigned*) = nullptr;
  int (*pcie_max_generation)(NvmlDevice, unsigned*) = nullptr;
  int (*pcie_width)(NvmlDevice, unsigned*) = nullptr;
  int (*pcie_max_width)(NvmlDevice, unsigned*) = nullptr;
  int (*clock)(NvmlDevice, unsigned, unsigned*) = nullptr;
  int (*temperature)(NvmlDevice, unsigned, unsigned*) = nullptr;
  int (*power)(NvmlDevice, unsigned*) = nullptr;
  int (*energy)(NvmlDevice, unsigned long long*) = nullptr;
  int (*throttle)(NvmlDevice, unsigned long long*) = nullptr;
  int (*processes)(NvmlDevice, unsigned*, NvmlProcess*) = nullptr;
  int (*processes_v1)(NvmlDevice, unsigned*, NvmlProcessV1*) = nullptr;

  explicit Functions(void* library) {
    const auto find = [&](auto& function, std::initializer_list<const char*> names) {
      for (const char* each : names)
        if (void* symbol = dlsym(library, each)) {
          function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
          return;
        }
    };
    find(init, {"nvmlInit_v2", "nvmlInit"});
    find(shutdown, {"nvmlShutdown"});
    find(error_text, {"nvmlErrorString"});
    find(driver_version, {"nvmlSystemGetDriverVersion"});
    find(cuda_driver_version, {"nvmlSystemGetCudaDriverVersion_v2", "nvmlSystemGetCudaDriverVersion"});
    find(device_count, {"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount"});
    find(device_by_index, {"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex"});
    find(device_by_uuid, {"nvmlDeviceGetHandleByUUID"});
    find(name, {"nvmlDeviceGetName"});
    find(uuid, {"nvmlDeviceGetUUID"});
    find(compute_capability, {"nvmlDeviceGetCudaComputeCapability"});
    find(memory, {"nvmlDeviceGetMemoryInfo"});
    find(ecc, {"nvmlDeviceGetEccMode"});
    find(mig, {"nvmlDeviceGetMigMode"});
    find(persistence, {"nvmlDeviceGetPersistenceMode"});
    find(power_limit, {"nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetPowerManagementLimit"});
    find(power_default, {"nvmlDeviceGetPowerManagementDefaultLimit"});
    find(max_clock, {"nvmlDeviceGetMaxClockInfo"});
    find(pcie_generation, {"nvmlDeviceGetCurrPcieLinkGeneration"});
    find(pcie_max_generation, {"nvmlDeviceGetMaxPcieLinkGeneration"});
    find(pcie_width, {"nvmlDeviceGetCurrPcieLinkWidth"});
    find(pcie_max_width, {"nvmlDeviceGetMaxPcieLinkWidth"});
    find(clock, {"nvmlDeviceGetClockInfo"});
    find(temperature, {"nvmlDeviceGetTemperature"});
    find(power, {"nvmlDeviceGetPowerUsage"});
    find(energy, {"nvmlDeviceGetTotalEnergyConsumption"});
    find(throttle, {"nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"});
    find(processes, {"nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"});
    if (processes == nullptr) find(processes_v1, {"nvmlDeviceGetComputeRunningProcesses"});
  }
};

Nvml::Nvml() {
  const char* named = std::getenv("RINGBENCH_NVML");
  const std::string file = named != nullptr && *named != '\0' ? named : "libnvidia-ml.so.1";
  library_ = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr) {
    problem_ = named != nullptr ? "$RINGBENCH_NVML cannot be loaded" : "there is no " + file;
    return;
  }
  functions_ = std::make_unique<Functions>(library_);
  const Functions& f = *functions_;
  if (f.init == nullptr || f.shutdown == nullptr || f.device_count == nullptr || f.device_by_index == nullptr) {
    problem_ = "it is no NVML library";
    functions_.reset();
  } else if (const int status = f.init(); status != kSuccess) {
    problem_ = f.error_text != nullptr ? f.error_text(status) : "NVML error " + std::to_string(status);
    functions_.reset();
  }
}

Nvml::~Nvml() {
  if (functions_) functions_->shutdown();
  if (library_ != nullptr) dlclose(library_);
}

std::string Nvml::driver() const {
  char text[128] = "";
  if (functions_ && functions_->driver_version != nullptr) functions_->driver_version(text, sizeof text);
  return text;
}

std::string Nvml::cuda_version() const {
  int version = 0;
  if (!functions_ || functions_->cuda_driver_version == nullptr) return "";
  if (functions_->cuda_driver_version(&version) != kSuccess || version == 0) return "";
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::vector<NvmlDevice> Nvml::devices() const {
  std::vector<NvmlDevice> found;
  unsigned count = 0;
  if (!functions_ || functions_->device_count(&count) != kSuccess) return found;
  for (unsigned i = 0; i < count; ++i) {
    NvmlDevice device = nullptr;
    if (functions_->device_by_index(i, &device) == kSuccess) found.push_back(device);  // else no rights to this one
  }
  return found;
}

NvmlDevice Nvml::find(const std::string& uuid) const {
  NvmlDevice device = nullptr;
  if (functions_ && !uuid.empty() && functions_->device_by_uuid != nullptr &&
      functions_->device_by_uuid(uuid.c_str(), &device) == kSuccess)
    return device;
  const std::vector<NvmlDevice> all = devices();
  return all.empty() ? nullptr : all.front();
}

GpuFacts Nvml::facts(NvmlDevice device) const {
  GpuFacts facts;
  if (!functions_ || device == nullptr) return facts;
  const Functions& f = *functions_;
  const auto text = [&](int (*function)(NvmlDevice, char*, unsigned)) {
    char answer[128] = "";
    if (function != nullptr && function(device, answer, sizeof answer) != kSuccess) answer[0] = '\0';
    return std::string(answer);
  };
  const auto mode = [&](int (*function)(NvmlDevice, unsigned*, unsigned*)) -> std::optional<bool> {
    unsigned current = 0, pending = 0;
    if (function == nullptr || function(device, &current, &pending) != kSuccess) return std::nullopt;
    return current != 0;
  };
  facts.name = text(f.name);
  facts.uuid = text(f.uuid);
  int major = 0, minor = 0;
  if (f.compute_capability != nullptr && f.compute_capability(device, &major, &minor) == kSuccess)
    facts.compute_capability = 10 * major + minor;
  if (const auto memory = ask(f.memory, device)) {
    facts.memory_bytes = static_cast<int64_t>(memory->total);
    facts.free_bytes = static_cast<int64_t>(memory->free);
  }
  facts.ecc = mode(f.ecc);
  facts.mig = mode(f.mig);
  if (const auto persistence = ask(f.persistence, device)) facts.persistence = *persistence != 0;
  facts.power_limit_w = scaled<double>(ask(f.power_limit, device), 1e-3);
  facts.power_default_w = scaled<double>(ask(f.power_default, device), 1e-3);
  facts.sm_max_mhz = scaled<int64_t>(ask(f.max_clock, device, kClockSm));
  facts.mem_max_mhz = scaled<int64_t>(ask(f.max_clock, device, kClockMemory));
  facts.pcie_generation = scaled<int64_t>(ask(f.pcie_generation, device));
  facts.pcie_max_generation = scaled<int64_t>(ask(f.pcie_max_generation, device));
  facts.pcie_width = scaled<int64_t>(ask(f.pcie_width, device));
  facts.pcie_max_width = scaled<int64_t>(ask(f.pcie_max_width, device));
  return facts;
}

GpuState Nvml::state(NvmlDevice device) const {
  GpuState state;
  if (!functions_ || device == nullptr) return state;
  const Functions& f = *functions_;
  state.sm_mhz = scaled<double>(ask(f.clock, device, kClockSm));
  state.mem_mhz = scaled<double>(ask(f.clock, device, kClockMemory));
  state.temp_c = scaled<double>(ask(f.temperature, device, kSensorGpu));
  state.power_w = scaled<double>(ask(f.power, device), 1e-3);
  state.energy_j = scaled<double>(ask(f.energy, device), 1e-3);
  if (const auto mask = ask(f.throttle, device)) state.throttle = *mask;
  return state;
}

std::optional<std::vector<int>> Nvml::processes(NvmlDevice device) const {
  if (!functions_ || device == nullptr) return std::nullopt;
  if (functions_->processes != nullptr) return list_processes(functions_->processes, device);
  return list_processes(functions_->processes_v1, device);
}

std::vector<std::string> throttle_names(uint64_t mask) {
  static const char* const names[] = {"idle",       "app_clocks", "sw_power_cap",   "hw_slowdown",   "sync_boost",
                                      "sw_thermal", "hw_thermal", "hw_power_brake", "display_clocks"};
  std::vector<std::string> found;
  for (unsigned bit = 0; bit < 64; ++bit)
    if (mask >> bit & 1) found.push_back(bit < std::size(names) ? names[bit] : "bit_" + std::to_string(bit));
  return found;
}

}  // namespace ringbench
