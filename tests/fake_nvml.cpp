// fake_nvml.cpp: a libnvidia-ml with one planted GPU, for the tests of harness/nvml.h. With FAKE_NVML_OLD it is one of
// long ago: first versions of all functions, none of those that came later.
#include "tests/fake_nvml.h"

#include <cstdio>

extern "C" {

FakeGpu fake_gpu;

constexpr int success = 0, not_supported = 3, not_found = 6, insufficient_size = 7;
constexpr char uuid[] = "GPU-01234567-89ab-cdef-0123-456789abcdef";

struct Process {
  unsigned pid;
  unsigned long long used;
#if !defined(FAKE_NVML_OLD)
  unsigned gpu_instance, compute_instance;
#endif
};
struct Memory {
  unsigned long long total, free, used;
};

static int list(unsigned* count, Process* out) {
  const unsigned room = *count;
  *count = fake_gpu.pid_count;
  if (room < fake_gpu.pid_count) return insufficient_size;
  for (unsigned i = 0; i < fake_gpu.pid_count; ++i) out[i].pid = fake_gpu.pids[i];
  return success;
}
static int text(char* out, unsigned size, const char* value) { return std::snprintf(out, size, "%s", value), success; }

int nvmlShutdown() { return success; }
const char* nvmlErrorString(int status) { return status == 9 ? "Driver Not Loaded" : "Unknown Error"; }
int nvmlSystemGetDriverVersion(char* out, unsigned size) { return text(out, size, "580.65.06"); }
int nvmlDeviceGetName(void*, char* out, unsigned size) { return text(out, size, "NVIDIA H100 80GB HBM3"); }
int nvmlDeviceGetUUID(void*, char* out, unsigned size) { return text(out, size, uuid); }
int nvmlDeviceGetMemoryInfo(void*, Memory* out) {
  *out = {fake_gpu.memory_total, fake_gpu.memory_free, fake_gpu.memory_total - fake_gpu.memory_free};
  return success;
}
int nvmlDeviceGetClockInfo(void*, unsigned type, unsigned* out) {
  *out = type == 1 ? fake_gpu.sm_mhz : fake_gpu.mem_mhz;
  return success;
}
int nvmlDeviceGetMaxClockInfo(void*, unsigned type, unsigned* out) { return *out = type == 1 ? 1980 : 2619, success; }
int nvmlDeviceGetTemperature(void*, unsigned, unsigned* out) { return *out = fake_gpu.temp_c, success; }
int nvmlDeviceGetPowerUsage(void*, unsigned* out) { return *out = fake_gpu.power_mw, success; }
int nvmlDeviceGetEccMode(void*, unsigned* current, unsigned* pending) {
  return *current = *pending = fake_gpu.ecc, success;
}
int nvmlDeviceGetPersistenceMode(void*, unsigned* out) { return *out = fake_gpu.persistence, success; }
int nvmlDeviceGetCurrentClocksThrottleReasons(void*, unsigned long long* out) {
  return *out = fake_gpu.throttle, success;
}

#if defined(FAKE_NVML_OLD)
int nvmlInit() { return fake_gpu.init_status; }
int nvmlDeviceGetCount(unsigned* out) { return *out = fake_gpu.count, success; }
int nvmlDeviceGetHandleByIndex(unsigned, void** out) { return *out = &fake_gpu, success; }
int nvmlDeviceGetComputeRunningProcesses(void*, unsigned* count, Process* out) { return list(count, out); }
int nvmlDeviceGetTotalEnergyConsumption(void*, unsigned long long*) { return not_supported; }
#else
int nvmlInit_v2() { return fake_gpu.init_status; }
int nvmlDeviceGetCount_v2(unsigned* out) { return *out = fake_gpu.count, success; }
int nvmlDeviceGetHandleByIndex_v2(unsigned, void** out) { return *out = &fake_gpu, success; }
int nvmlDeviceGetHandleByUUID(const char* name, void** out) {
  for (int i = 0; name[i] != '\0' || uuid[i] != '\0'; ++i)
    if (name[i] != uuid[i]) return not_found;
  return *out = &fake_gpu, success;
}
int nvmlSystemGetCudaDriverVersion_v2(int* out) { return *out = fake_gpu.cuda, success; }
int nvmlDeviceGetCudaComputeCapability(void*, int* major, int* minor) {
  return *major = fake_gpu.major, *minor = fake_gpu.minor, success;
}
int nvmlDeviceGetMigMode(void*, unsigned* current, unsigned* pending) {
  return *current = *pending = fake_gpu.mig, success;
}
int nvmlDeviceGetEnforcedPowerLimit(void*, unsigned* out) { return *out = fake_gpu.power_limit_mw, success; }
int nvmlDeviceGetPowerManagementDefaultLimit(void*, unsigned* out) { return *out = fake_gpu.power_default_mw, success; }
int nvmlDeviceGetCurrPcieLinkWidth(void*, unsigned* out) { return *out = fake_gpu.pcie_width, success; }
int nvmlDeviceGetMaxPcieLinkWidth(void*, unsigned* out) { return *out = 16, success; }
int nvmlDeviceGetCurrPcieLinkGeneration(void*, unsigned* out) { return *out = 5, success; }
int nvmlDeviceGetMaxPcieLinkGeneration(void*, unsigned* out) { return *out = 5, success; }
int nvmlDeviceGetCurrentClocksEventReasons(void*, unsigned long long* out) { return *out = fake_gpu.throttle, success; }
int nvmlDeviceGetComputeRunningProcesses_v3(void*, unsigned* count, Process* out) { return list(count, out); }
int nvmlDeviceGetTotalEnergyConsumption(void*, unsigned long long* out) {
  *out = fake_gpu.energy_mj;
  fake_gpu.energy_mj += fake_gpu.energy_step_mj;
  return success;
}
#endif

}  // extern "C"
