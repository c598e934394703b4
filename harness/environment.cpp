// environment.cpp: see environment.h. Linux only: /proc, /sys and cgroups, each read leniently, since containers hide
// parts of them.
#include "harness/environment.h"

#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string_view>

#include "build_info.h"
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

// The number in a file that holds nothing else; empty for "max", no number, or no file.
std::optional<int64_t> number_in(const fs::path& path) {
  std::ifstream in(path);
  int64_t value = 0;
  if (in >> value) return value;
  return std::nullopt;
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

Environment capture_environment() {
  Environment e;
  e.version = build_info::version;
  e.commit = build_info::commit;
  e.build_type = build_info::build_type;
  e.compiler = build_info::compiler;
  e.flags = build_info::flags;
  e.simd = compiled_simd;
  e.host_hash = host_hash();
  e.os = value_of("/etc/os-release", "PRETTY_NAME");
  utsname system{};
  uname(&system);
  e.kernel = std::string(system.sysname) + " " + system.release + " " + system.machine;
  e.cpu = cpu_model();
  e.physical_cores = physical_cores();
  e.logical_cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  e.governor = first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  e.memory_bytes = meminfo_bytes("MemTotal");
  e.available_memory_bytes = available_memory_bytes();
  double loads[1] = {0};
  if (getloadavg(loads, 1) == 1) e.load_average = loads[0];
  e.variables = relevant_variables();
  return e;
}

}  // namespace ringbench
