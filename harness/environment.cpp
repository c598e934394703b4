// environment.cpp: see environment.h. Linux only: /proc, /sys and cgroups, each read leniently, since containers hide
// parts of them.
#include "harness/environment.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string_view>

#include "build_info.h"
#include "cuda/cuda_engine.h"
#include "cuda/gpu.h"
#include "harness/words.h"
#include "reference/probe.h"
#include "reference/sha256.h"
#include "reference/threads.h"

extern char** environ;

namespace ringbench {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// What follows `key` on its line of a file of "key: value" or "key value" lines.
std::string value_of(const fs::path& path, std::string_view key) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    const size_t start = line.find_first_not_of(" \t:=\"", key.size());
    if (start == std::string::npos || start == key.size()) continue;
    const size_t end = line.find_last_not_of(" \t\"");
    return line.substr(start, end + 1 - start);
  }
  return "";
}

int64_t meminfo_bytes(std::string_view key) { return std::atoll(value_of("/proc/meminfo", key).c_str()) * 1024; }

// Folders of this process's cgroup, leaf first, under `root`; inside a container the root itself is the leaf.
std::vector<fs::path> cgroup_folders(const fs::path& root, const std::string& controller) {
  std::vector<fs::path> folders;
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos || line.substr(first + 1, second - first - 1) != controller) continue;
    for (fs::path path = line.substr(second + 1); path.has_relative_path(); path = path.parent_path())
      folders.push_back(root / path.relative_path());
  }
  folders.push_back(root);
  return folders;
}

// What a cgroup's limit leaves, its reclaimable file cache included.
int64_t cgroup_available_bytes() {
  int64_t available = std::numeric_limits<int64_t>::max();
  const auto consider = [&](const fs::path& folder, const char* limit, const char* usage, const char* cache) {
    const auto most = number_in(folder / limit), used = number_in(folder / usage);
    if (!most || !used) return;
    const int64_t reclaimable = std::atoll(value_of(folder / "memory.stat", cache).c_str());
    available = std::min(available, std::max<int64_t>(0, *most - *used + reclaimable));
  };
  for (const fs::path& folder : cgroup_folders("/sys/fs/cgroup", ""))
    consider(folder, "memory.max", "memory.current", "inactive_file");
  for (const fs::path& folder : cgroup_folders("/sys/fs/cgroup/memory", "memory"))
    consider(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");
  return available;
}

constexpr std::string_view compiled_simd =
#if defined(__AVX512F__)
    "AVX512 AVX2 FMA";
#elif defined(__AVX2__) && defined(__FMA__)
    "AVX2 FMA";
#elif defined(__AVX2__)
    "AVX2";
#elif defined(__AVX__)
    "AVX";
#elif defined(__SSE2__)
    "SSE2";
#elif defined(__ARM_FEATURE_SVE)
    "SVE NEON";
#elif defined(__ARM_NEON)
    "NEON";
#else
    "none";
#endif

// The vector extensions that make a difference here, in the words of /proc/cpuinfo.
std::vector<std::string> compiled_isa() {
  std::vector<std::string> names;
#if defined(__SSE4_2__)
  names.emplace_back("sse4_2");
#endif
#if defined(__AVX__)
  names.emplace_back("avx");
#endif
#if defined(__AVX2__)
  names.emplace_back("avx2");
#endif
#if defined(__FMA__)
  names.emplace_back("fma");
#endif
#if defined(__AVX512F__)
  names.emplace_back("avx512f");
#endif
#if defined(__ARM_NEON)
  names.emplace_back("asimd");
#endif
#if defined(__ARM_FEATURE_SVE)
  names.emplace_back("sve");
#endif
  return names;
}

std::vector<std::string> cpu_flags() {
  std::string line = value_of("/proc/cpuinfo", "flags");
  if (line.empty()) line = value_of("/proc/cpuinfo", "Features");  // ARM
  std::istringstream words(line);
  std::vector<std::string> flags;
  for (std::string word; words >> word;) flags.push_back(word);
  return flags;
}

int allowed_cpus() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 0;
}

// The least that this process's cgroups grant: "QUOTA PERIOD" in microseconds, in version 1 in two files.
std::optional<double> cpu_quota() {
  std::optional<double> least;
  const auto consider = [&](std::optional<double> quota, std::optional<double> period) {
    if (quota && period && *quota > 0 && *period > 0) least = std::min(least.value_or(1e9), *quota / *period);
  };
  for (const fs::path& folder : cgroup_folders("/sys/fs/cgroup", "")) {
    double quota = 0, period = 0;
    if (std::ifstream(folder / "cpu.max") >> quota >> period) consider(quota, period);
  }
  for (const fs::path& folder : cgroup_folders("/sys/fs/cgroup/cpu", "cpu"))
    consider(number_in(folder / "cpu.cfs_quota_us"), number_in(folder / "cpu.cfs_period_us"));
  return least;
}

std::string container_hint() {
  if (std::getenv("KUBERNETES_SERVICE_HOST") != nullptr) return "kubernetes";
  if (std::getenv("APPTAINER_NAME") != nullptr || std::getenv("SINGULARITY_NAME") != nullptr) return "apptainer";
  if (fs::exists("/.dockerenv")) return "docker";
  if (fs::exists("/run/.containerenv")) return "podman";
  return "";
}

std::string on_off(const std::string& text, const char* on, const char* off) {
  return text == on ? "on" : text == off ? "off" : "";
}

std::string turbo_setting() {
  const fs::path cpu = "/sys/devices/system/cpu";
  const std::string intel = on_off(first_line(cpu / "intel_pstate/no_turbo"), "0", "1");
  return intel.empty() ? on_off(first_line(cpu / "cpufreq/boost"), "1", "0") : intel;
}

// "always [madvise] never": the word in brackets.
std::string chosen_word(const std::string& line) {
  const size_t open = line.find('['), close = line.find(']');
  return open == std::string::npos || close == std::string::npos ? "" : line.substr(open + 1, close - open - 1);
}

int numa_nodes() {
  int nodes = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/sys/devices/system/node", error)) {
    const std::string name = entry.path().filename().string();
    nodes += name.starts_with("node") && name.find_first_not_of("0123456789", 4) == std::string::npos;
  }
  return nodes;
}

// What CUDA alone knows, for the GPU that it would use, which comes first.
void add_cuda_facts([[maybe_unused]] std::vector<GpuFacts>& gpus) {
#if defined(RINGBENCH_HAVE_CUDA)
  const Device device = gpu::current_device();
  auto found = std::find_if(gpus.begin(), gpus.end(), [&](const GpuFacts& facts) { return facts.uuid == device.uuid; });
  if (found == gpus.end()) found = gpus.insert(gpus.begin(), GpuFacts{});  // no NVML, or a slice of a GPU
  found->name = device.name;
  found->uuid = device.uuid;
  found->compute_capability = device.compute_capability;
  found->memory_bytes = device.memory_bytes;
  found->free_bytes = device.free_bytes;
  found->sm_count = device.sm_count;
  found->l2_bytes = device.l2_bytes;
  std::rotate(gpus.begin(), found, found + 1);
#endif
}

void capture_gpus(Environment& e, GpuDetail detail) {
  const Nvml nvml;
  e.gpu_driver = nvml.driver();
  e.cuda_driver = nvml.cuda_version();
  for (const NvmlDevice device : nvml.devices()) e.gpus.push_back(nvml.facts(device));
  if (detail == GpuDetail::cuda) add_cuda_facts(e.gpus);
  for (GpuFacts& gpu : e.gpus)
    if (!gpu.uuid.empty()) gpu.uuid = sha256_hex(gpu.uuid).substr(0, 16);
}

std::string cpu_model() {
  const std::string name = value_of("/proc/cpuinfo", "model name");
  if (!name.empty()) return name;
  utsname system{};  // ARM kernels give no name there
  uname(&system);
  return std::string(system.machine) + " CPU";
}

// Settings that change speed or results. Values that look like paths are left out: they would name users.
std::map<std::string, std::string> relevant_variables() {
  std::map<std::string, std::string> found;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    const std::string_view name = text.substr(0, equals);
    const bool wanted = name.starts_with("OMP_") || name.starts_with("GOMP_") ||
                        name.starts_with("CUDA_VISIBLE_DEVICES") ||
                        (name.starts_with("RINGBENCH_") && name.find("KEY") == std::string_view::npos);
    if (!wanted || equals == std::string_view::npos) continue;
    const std::string_view value = text.substr(equals + 1);
    found.emplace(name, value.find('/') == std::string_view::npos ? value : "(path)");
  }
  return found;
}

}  // namespace

std::string cpu_device_name() {
  const int cores = physical_cores();
  return cpu_model() + ", " + std::to_string(cores) + (cores == 1 ? " core" : " cores");
}

int64_t available_memory_bytes() { return std::min(meminfo_bytes("MemAvailable"), cgroup_available_bytes()); }

int64_t peak_process_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

std::optional<int64_t> number_in(const fs::path& path) {
  std::ifstream in(path);
  int64_t value = 0;
  if (in >> value) return value;
  return std::nullopt;
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text;
}

std::string host_hash() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  return sha256_hex(name).substr(0, 16);
}

Environment capture_environment(GpuDetail gpus) {
  Environment e;
  e.version = build_info::version;
  e.commit = build_info::commit;
  e.build_type = build_info::build_type;
  e.compiler = build_info::compiler;
  e.flags = build_info::flags;
  e.simd = compiled_simd;
  e.isa_compiled = compiled_isa();
  e.eigen = eigen_description();
  e.openmp = has_openmp();
  e.cuda_toolkit = build_info::cuda_toolkit;
  e.cuda_architectures = build_info::cuda_architectures;
  e.host_hash = host_hash();
  e.os = value_of("/etc/os-release", "PRETTY_NAME");
  utsname system{};
  uname(&system);
  e.kernel = std::string(system.sysname) + " " + system.release + " " + system.machine;
  e.container = container_hint();
  e.cpu = cpu_model();
  const std::vector<std::string> flags = cpu_flags();
  e.virtual_machine = contains(flags, "hypervisor");
  for (const char* each : {"sse4_2", "avx", "avx2", "fma", "avx512f", "asimd", "sve"})
    if (contains(flags, each)) e.isa.emplace_back(each);
  e.physical_cores = physical_cores();
  e.logical_cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  e.governor = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  e.allowed_cpus = allowed_cpus();
  e.cpu_quota = cpu_quota();
  e.turbo = turbo_setting();
  e.smt = on_off(first_line("/sys/devices/system/cpu/smt/active"), "1", "0");
  e.clock_source = first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource");
  e.huge_pages = chosen_word(first_line("/sys/kernel/mm/transparent_hugepage/enabled"));
  e.numa_nodes = numa_nodes();
  e.memory_bytes = meminfo_bytes("MemTotal");
  e.available_memory_bytes = available_memory_bytes();
  double loads[1] = {0};
  if (getloadavg(loads, 1) == 1) e.load_average = loads[0];
  e.variables = relevant_variables();
  if (gpus != GpuDetail::none) capture_gpus(e, gpus);
  return e;
}

namespace {

using Json = nlohmann::ordered_json;

Json known(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }
template <class T> Json known(const std::optional<T>& value) { return value ? Json(*value) : Json(nullptr); }

Json gpu_json(const GpuFacts& gpu) {
  return {{"name", known(gpu.name)},
          {"uuid_hash", known(gpu.uuid)},
          {"compute_capability", known(gpu.compute_capability)},
          {"sm_count", known(gpu.sm_count)},
          {"memory_bytes", known(gpu.memory_bytes)},
          {"l2_bytes", known(gpu.l2_bytes)},
          {"ecc", known(gpu.ecc)},
          {"mig", known(gpu.mig)},
          {"persistence", known(gpu.persistence)},
          {"power_limit_w", known(gpu.power_limit_w)},
          {"power_default_w", known(gpu.power_default_w)},
          {"sm_max_mhz", known(gpu.sm_max_mhz)},
          {"mem_max_mhz", known(gpu.mem_max_mhz)},
          {"pcie_generation", known(gpu.pcie_generation)},
          {"pcie_max_generation", known(gpu.pcie_max_generation)},
          {"pcie_width", known(gpu.pcie_width)},
          {"pcie_max_width", known(gpu.pcie_max_width)}};
}

}  // namespace

std::string environment_json(const Environment& e) {
  Json gpus = Json::array();
  for (const GpuFacts& gpu : e.gpus) gpus.push_back(gpu_json(gpu));
  const Json json = {{"version", e.version},
                     {"commit", e.commit},
                     {"dirty", e.commit.ends_with('+')},
                     {"build_type", e.build_type},
                     {"compiler", e.compiler},
                     {"flags", e.flags},
                     {"simd", e.simd},
                     {"isa_compiled", e.isa_compiled},
                     {"eigen", e.eigen},
                     {"openmp", e.openmp},
                     {"cuda_toolkit", known(e.cuda_toolkit)},
                     {"cuda_architectures", known(e.cuda_architectures)},
                     {"host_hash", e.host_hash},
                     {"os", e.os},
                     {"kernel", e.kernel},
                     {"container", known(e.container)},
                     {"virtual_machine", e.virtual_machine},
                     {"cpu", e.cpu},
                     {"isa", e.isa},
                     {"physical_cores", e.physical_cores},
                     {"logical_cores", e.logical_cores},
                     {"allowed_cpus", e.allowed_cpus},
                     {"cpu_quota", known(e.cpu_quota)},
                     {"governor", known(e.governor)},
                     {"turbo", known(e.turbo)},
                     {"smt", known(e.smt)},
                     {"clock_source", known(e.clock_source)},
                     {"huge_pages", known(e.huge_pages)},
                     {"numa_nodes", e.numa_nodes},
                     {"memory_bytes", e.memory_bytes},
                     {"available_memory_bytes", e.available_memory_bytes},
                     {"load_average", e.load_average},
                     {"variables", e.variables},
                     {"gpu_driver", known(e.gpu_driver)},
                     {"cuda_driver", known(e.cuda_driver)},
                     {"gpus", gpus}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace ringbench
