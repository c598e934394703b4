// doctor.cpp: see doctor.h.
#include "harness/doctor.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "harness/calibrate.h"
#include "harness/engines.h"
#include "harness/plan.h"
#include "harness/telemetry.h"
#include "harness/words.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::string gib(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GiB", static_cast<double>(bytes) / 0x1p30);
  return text;
}
std::string whole_percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.0f %%", 100 * share);
  return text;
}
std::string count(int64_t n, const std::string& one, const std::string& many) {
  return std::to_string(n) + " " + (n == 1 ? one : many);
}

// --- What is true at this moment ---

struct CpuTimes {  // clock ticks of all cores together
  double all = 0, idle = 0, stolen = 0;
};
CpuTimes read_cpu_times() {
  std::ifstream in("/proc/stat");
  std::string word;
  in >> word;
  CpuTimes t;
  double value = 0;
  for (int field = 0; field < 8 && in >> value; ++field) {  // user nice system idle iowait irq softirq steal
    t.all += value;
    if (field == 3 || field == 4) t.idle += value;
    if (field == 7) t.stolen = value;
  }
  return t;
}

// While this process sleeps, so that what is busy is others.
void look_at_load(Vitals& v) {
  const CpuTimes before = read_cpu_times();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const CpuTimes after = read_cpu_times();
  const double all = after.all - before.all;
  if (all <= 0) return;
  v.stolen = (after.stolen - before.stolen) / all;
  v.busy = 1 - (after.idle - before.idle) / all - v.stolen;
}

double clock_tick_s() {
  using Clock = std::chrono::steady_clock;
  double least = 1;
  for (int i = 0; i < 1000; ++i) {
    const auto begin = Clock::now();
    auto end = begin;
    while (end == begin) end = Clock::now();
    least = std::min(least, std::chrono::duration<double>(end - begin).count());
  }
  return least;
}

// Where results would go, without making the folder: the nearest one that is there takes a file.
void look_at_results(const fs::path& results, Vitals& v) {
  std::error_code error;
  fs::path folder = fs::absolute(results, error);
  while (!fs::exists(folder, error) && folder.has_relative_path()) folder = folder.parent_path();
  const std::string probe = (folder / (".ringbench-doctor-" + std::to_string(getpid()))).string();
  const int file = open(probe.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) {
    v.results_problem = std::strerror(errno);
  } else {
    close(file);
    unlink(probe.c_str());
  }
  const fs::space_info space = fs::space(folder, error);
  if (!error) v.free_disk_bytes = static_cast<int64_t>(space.available);
}

std::string gnuplot_version() {
  FILE* pipe = popen("gnuplot --version 2>/dev/null", "r");
  if (pipe == nullptr) return "";
  char text[128] = "";
  if (std::fgets(text, sizeof text, pipe) == nullptr) text[0] = '\0';
  pclose(pipe);
  std::string line = text;
  while (!line.empty() && line.back() == '\n') line.pop_back();
  return line.starts_with("gnuplot ") ? line.substr(8) : "";
}

// What the reference takes for ring-nano with softmax attention in every layer.
int64_t bytes_needed(int64_t ctx) {
  EngineOptions options;
  options.dtype = DType::f32;
  options.max_tokens = ctx + 128;
  return plan_engine_memory("reference", with_layout(resolve_model("ring-nano-linear", "", "").config, {}, "softmax"),
                            options)
      .total();
}

}  // namespace

Vitals take_vitals(const DoctorRequest& request, const Environment& environment) {
  Vitals v;
  look_at_load(v);
  v.tick_s = clock_tick_s();
  look_at_results(request.results, v);
  v.gnuplot = gnuplot_version();
  v.small_bytes = bytes_needed(8 << 10);
  v.large_bytes = bytes_needed(384 << 10);
  v.driver = fs::exists("/proc/driver/nvidia/version") || fs::exists("/dev/dxg");
  const Nvml nvml;
  v.nvml_problem = nvml.problem();
  for (const NvmlDevice device : nvml.devices()) {
    v.gpus.push_back(nvml.state(device));
    const auto processes = nvml.processes(device);
    v.gpu_processes.push_back(processes ? static_cast<int64_t>(processes->size()) : -1);
  }
  // By name of the engine's device as NVML knows it: asking CUDA would make a context.
  const std::string device =
      request.engine == "cuda" && !environment.gpus.empty() ? environment.gpus.front().name : cpu_device_name();
  if (const fs::path file = calibration_file(request.engine, device, request.results); fs::exists(file))
    v.calibrated = load_device(file).date;
  v.gpus.resize(environment.gpus.size());
  v.gpu_processes.resize(environment.gpus.size(), -1);
  return v;
}

// --- The findings ---

std::string_view name_of(Health health) {
  switch (health) {
    case Health::ok: return "ok";
    case Health::warn: return "warn";
    case Health::fail: return "FAIL";
  }
  return "?";
}

namespace {

void check_build(const Environment& e, std::vector<Finding>& findings) {
  Finding build{
      .name = "build",
      .found = "ringbench " + e.version + " (" + e.commit + "), " + e.build_type + ", " + e.compiler + ", " + e.flags};
  if (e.build_type != "Release" && e.build_type != "RelWithDebInfo")
    build.health = Health::warn,
    build.advice = "Not optimised: times say nothing. Build with -DCMAKE_BUILD_TYPE=Release.";
  else if (e.commit.ends_with('+') || e.commit == "unknown")
    build.health = Health::warn,
    build.advice = "Rows cannot be traced to a commit. Commit first what is to be measured.";
  findings.push_back(build);

  Strings lacking, unused;
  const auto has = [](const Strings& words, const std::string& word) {
    return std::find(words.begin(), words.end(), word) != words.end();
  };
  for (const std::string& each : e.isa_compiled)
    if (!has(e.isa, each)) lacking.push_back(each);
  for (const std::string& each : e.isa)
    if (!has(e.isa_compiled, each)) unused.push_back(each);
  Finding simd{.name = "SIMD", .found = "compiled for " + (e.simd.empty() ? "none" : e.simd) + "; Eigen " + e.eigen};
  if (e.isa.empty())
    simd.found += "; what the CPU has is not known";
  else if (!lacking.empty())
    simd.health = Health::fail, simd.found += "; the CPU lacks " + join(lacking, " "),
    simd.advice = "The program would crash. Build it on this machine, or with -DRINGBENCH_ARCH=x86-64-v3.";
  else if (!unused.empty())
    simd.health = Health::warn, simd.found += "; the CPU also has " + join(unused, " "),
    simd.advice = "The reference is slower than it could be. Build with -DRINGBENCH_ARCH=native.";
  findings.push_back(simd);

  Finding openmp{.name = "OpenMP", .found = e.openmp ? "in this build" : "not in this build"};
  if (!e.openmp && e.physical_cores > 1)
    openmp.health = Health::warn, openmp.advice = "The reference runs on one core. Build with -DRINGBENCH_OPENMP=ON.";
  findings.push_back(openmp);
}

void check_cpu(const Environment& e, const Vitals& v, std::vector<Finding>& findings) {
  Finding cpu{.name = "CPU",
              .found = e.cpu + ", " + count(e.physical_cores, "core", "cores") + " to use, " +
                       count(e.logical_cores, "logical CPU", "logical CPUs")};
  if (!e.smt.empty()) cpu.found += ", SMT " + e.smt;
  if (e.numa_nodes > 1)
    cpu.health = Health::warn, cpu.found += ", " + std::to_string(e.numa_nodes) + " NUMA nodes",
    cpu.advice = "Memory may be far from the core that reads it. Use one node: numactl -N 0 -m 0 ringbench ...";
  findings.push_back(cpu);

  Finding clock{.name = "CPU clock",
                .found = "governor " + (e.governor.empty() ? "not shown" : e.governor) + ", turbo " +
                         (e.turbo.empty() ? "not shown" : e.turbo)};
  if (!e.governor.empty() && e.governor != "performance")
    clock.health = Health::warn, clock.advice = "Clocks follow the load. Use: cpupower frequency-set -g performance";
  if (e.virtual_machine) clock.found += "; a virtual machine: the host decides";
  findings.push_back(clock);

  char average[32];
  std::snprintf(average, sizeof average, "%.1f", e.load_average);
  Finding load{.name = "load",
               .found = whole_percent(v.busy) + " of the CPUs busy, " + whole_percent(v.stolen) +
                        " stolen by the host; load average " + average};
  if (v.busy > 0.1 || v.stolen > 0.02)
    load.health = Health::warn, load.advice = "Others compute: expect flag N. Wait, or stop them.";
  findings.push_back(load);

  Finding share{.name = "CPU share", .found = count(e.allowed_cpus, "CPU", "CPUs") + " by affinity, no quota"};
  if (e.cpu_quota) {
    char text[64];
    std::snprintf(text, sizeof text, "%d by affinity, quota of %.2f", e.allowed_cpus, *e.cpu_quota);
    share.found = text;
    if (*e.cpu_quota < e.physical_cores)
      share.health = Health::warn,
      share.advice = "Threads are stopped when the quota is used up. Raise it, or give --threads " +
                     std::to_string(std::max(1, static_cast<int>(*e.cpu_quota))) + ".";
  }
  if (e.allowed_cpus > 0 && e.allowed_cpus < e.logical_cores && share.health == Health::ok)
    share.health = Health::warn,
    share.advice = "Not all CPUs may be used here (taskset, a scheduler). Fine if that was meant.";
  findings.push_back(share);

  const auto policy = e.variables.find("OMP_WAIT_POLICY");
  Finding wait{.name = "OMP_WAIT_POLICY",
               .found = policy == e.variables.end() ? "not set: measuring commands set it to passive" : policy->second};
  if (policy != e.variables.end() && policy->second != "passive" && policy->second != "PASSIVE")
    wait.health = Health::warn,
    wait.advice = "Waiting threads spin, and CPU times mean little. Unset it, or set it to passive.";
  findings.push_back(wait);
}

void check_system(const Environment& e, const Vitals& v, const DoctorRequest& request, std::vector<Finding>& findings) {
  Finding memory{.name = "memory", .found = gib(e.available_memory_bytes) + " available of " + gib(e.memory_bytes)};
  if (e.available_memory_bytes < v.small_bytes)
    memory.health = Health::fail, memory.advice = "ring-nano at ctx 8k takes " + gib(v.small_bytes) + ". Free some.";
  else if (e.available_memory_bytes < v.large_bytes)
    memory.health = Health::warn, memory.advice = "ring-nano at ctx 384k takes " + gib(v.large_bytes) +
                                                  ": use a smaller --ctx, or --model ring-pico-linear.";
  findings.push_back(memory);

  findings.push_back({.name = "huge pages",
                      .found = e.huge_pages.empty() ? "not shown" : "transparent: " + e.huge_pages,
                      .advice = {}});

  char tick[48];
  std::snprintf(tick, sizeof tick, "%.0f ns resolution", 1e9 * v.tick_s);
  Finding timer{.name = "timer",
                .found = std::string(tick) + (e.clock_source.empty() ? "" : ", clock source " + e.clock_source)};
  if (v.tick_s > 1e-3)
    timer.health = Health::fail, timer.advice = "Too coarse for decode steps.";
  else if (v.tick_s > 1e-6 || e.clock_source == "hpet" || e.clock_source == "acpi_pm" || e.clock_source == "jiffies")
    timer.health = Health::warn, timer.advice = "A slow clock: short steps look longer. Use clock source tsc.";
  findings.push_back(timer);

  const std::string place = request.results.is_absolute() ? "--results" : "--results " + request.results.string();
  Finding results{.name = "results", .found = place + ": writable, " + gib(v.free_disk_bytes) + " free"};
  if (!v.results_problem.empty())
    results.health = Health::fail, results.found = place + ": " + v.results_problem,
    results.advice = "Give --results another folder, or --no-save.";
  else if (v.free_disk_bytes < 100 << 20)
    results.health = Health::warn, results.advice = "A long sweep may fill the disk.";
  findings.push_back(results);

  Finding peaks{.name = "peaks", .found = v.calibrated.empty() ? "not calibrated" : "calibrated " + v.calibrated};
  if (v.calibrated.empty())
    peaks.health = Health::warn,
    peaks.advice = "Predictions and MFU use data sheets, or are missing. Run: ringbench doctor --calibrate";
  findings.push_back(peaks);

  Finding gnuplot{.name = "gnuplot", .found = v.gnuplot.empty() ? "not there" : v.gnuplot};
  if (v.gnuplot.empty())
    gnuplot.health = Health::warn,
    gnuplot.advice = "Figures will be data and scripts without pictures. Use: apt-get install gnuplot-nox";
  findings.push_back(gnuplot);
}

// "80 90a" -> 80, 90
std::vector<int> compiled_architectures(const std::string& text) {
  std::istringstream words(text);
  std::vector<int> numbers;
  for (std::string word; words >> word;) numbers.push_back(std::atoi(word.c_str()));
  return numbers;
}

// Whether kernels of this build run on this GPU: machine code within a major version, else compiled at the first start.
void check_architecture(const Environment& e, const GpuFacts& gpu, bool needed, Finding& check) {
  if (e.cuda_toolkit.empty() || !gpu.compute_capability) return;
  const std::vector<int> compiled = compiled_architectures(e.cuda_architectures);
  if (compiled.empty()) return;
  const int has = *gpu.compute_capability;
  if (has < *std::min_element(compiled.begin(), compiled.end())) {
    check.health = needed ? Health::fail : Health::warn;
    check.advice = "Older than the kernels of this build (" + e.cuda_architectures + "). Use --engine reference.";
  } else if (std::none_of(compiled.begin(), compiled.end(), [&](int each) { return each / 10 == has / 10; })) {
    check.health = Health::warn;
    check.advice = "This build has no machine code for it (" + e.cuda_architectures +
                   "): the first start compiles. Build with -DCMAKE_CUDA_ARCHITECTURES=" + std::to_string(has) + ".";
  }
}

void check_gpu_setting(const GpuFacts& gpu, const std::string& name, std::vector<Finding>& findings) {
  const auto mode = [](const std::optional<bool>& on) { return !on ? "not shown" : *on ? "on" : "off"; };
  Finding check{.name = name + " setting",
                .found = std::string("ECC ") + mode(gpu.ecc) + ", MIG " + mode(gpu.mig) + ", persistence " +
                         mode(gpu.persistence)};
  char text[96];
  if (gpu.power_limit_w) {
    std::snprintf(text, sizeof text, ", power limit %.0f W", *gpu.power_limit_w);
    check.found += text;
  }
  if (gpu.pcie_generation && gpu.pcie_width)
    check.found += ", PCIe " + std::to_string(*gpu.pcie_generation) + " x" + std::to_string(*gpu.pcie_width);
  const auto warn = [&](const std::string& advice) {
    check.health = Health::warn;
    check.advice += (check.advice.empty() ? "" : " ") + advice;
  };
  if (gpu.mig == true) warn("MIG: only a slice is measured, and the card's peaks do not apply.");
  if (gpu.persistence == false) warn("Without persistence each start waits for the driver: nvidia-smi -pm 1.");
  if (gpu.power_limit_w && gpu.power_default_w && *gpu.power_limit_w < *gpu.power_default_w - 1) {
    std::snprintf(text, sizeof text, "The power limit is below the card's %.0f W.", *gpu.power_default_w);
    warn(text);
  }
  if (gpu.pcie_width && gpu.pcie_max_width && *gpu.pcie_width < *gpu.pcie_max_width)
    warn("The PCIe link has " + std::to_string(*gpu.pcie_width) + " of " + std::to_string(*gpu.pcie_max_width) +
         " lanes.");
  findings.push_back(check);
}

void check_gpu_state(const GpuState& state, int64_t processes, const std::string& name,
                     std::vector<Finding>& findings) {
  Finding check{.name = name + " now", .found = {}};
  const auto add = [&](const std::optional<double>& value, const char* format) {
    char text[64];
    if (!value) return;
    std::snprintf(text, sizeof text, format, *value);
    check.found += (check.found.empty() ? "" : ", ") + std::string(text);
  };
  add(state.sm_mhz, "SM %.0f MHz"), add(state.mem_mhz, "memory %.0f MHz"), add(state.temp_c, "%.0f C"),
      add(state.power_w, "%.0f W");
  if (processes >= 0) check.found += (check.found.empty() ? "" : ", ") + count(processes, "process", "processes");
  const Strings reasons = throttle_names(state.throttle.value_or(0));
  if (!reasons.empty()) check.found += ", " + join(reasons, " ");
  if (processes > 0) check.health = Health::warn, check.advice = "Others use it: times may be longer. See nvidia-smi.";
  if (is_throttled(reasons))
    check.health = Health::warn, check.advice += std::string(check.advice.empty() ? "" : " ") +
                                                 "Its clocks are held down: let it cool, or raise its limits.";
  findings.push_back(check);
}

int major_version(const std::string& text) { return std::atoi(text.c_str()); }

void check_driver(const Environment& e, const Vitals& v, bool needed, std::vector<Finding>& findings) {
  Finding check{.name = "GPU driver", .found = v.driver || !e.gpu_driver.empty() ? "NVIDIA " + e.gpu_driver : "none"};
  if (!e.cuda_driver.empty()) check.found += ", up to CUDA " + e.cuda_driver;
  check.found += e.cuda_toolkit.empty() ? "; this build has no CUDA engine"
                                        : "; this build: CUDA " + e.cuda_toolkit + " for " + e.cuda_architectures;
  const Health problem = needed ? Health::fail : Health::warn;
  const bool there = v.driver || !e.gpus.empty();
  if (needed && !there)
    check.health = problem, check.advice = "No NVIDIA driver is loaded. Use --engine reference.";
  else if (there && e.cuda_toolkit.empty())
    check.health = problem, check.advice = "Install the CUDA toolkit (nvcc) and build with -DRINGBENCH_CUDA=ON.";
  else if (there && !v.nvml_problem.empty())
    check.health = Health::warn,
    check.advice = "NVML: " + v.nvml_problem + ". Clocks, power and other processes stay unknown.";
  else if (there && !e.cuda_driver.empty() && major_version(e.cuda_driver) < major_version(e.cuda_toolkit))
    check.health = problem,
    check.advice = "The driver is too old for this build. Update it, or build with an older toolkit.";
  else if (needed && e.gpus.empty() && v.nvml_problem.empty())
    check.health = problem, check.advice = "The driver shows no GPU. See nvidia-smi.";
  findings.push_back(check);
}

void check_gpus(const DoctorRequest& request, const Environment& e, const Vitals& v, std::vector<Finding>& findings) {
  const bool needed = request.engine == "cuda";
  check_driver(e, v, needed, findings);
  for (size_t i = 0; i < e.gpus.size(); ++i) {
    const std::string name = "GPU " + std::to_string(i);
    const GpuFacts& gpu = e.gpus[i];
    Finding check{.name = name, .found = gpu.name};
    if (gpu.compute_capability)
      check.found += ", compute capability " + std::to_string(*gpu.compute_capability / 10) + "." +
                     std::to_string(*gpu.compute_capability % 10);
    if (gpu.memory_bytes && gpu.free_bytes)
      check.found += ", " + gib(*gpu.free_bytes) + " free of " + gib(*gpu.memory_bytes);
    check_architecture(e, gpu, needed, check);
    findings.push_back(check);
    check_gpu_setting(gpu, name, findings);
    check_gpu_state(v.gpus[i], v.gpu_processes[i], name, findings);
  }
}

}  // namespace

std::vector<Finding> diagnose(const DoctorRequest& request, const Environment& environment, const Vitals& vitals) {
  std::vector<Finding> findings;
  check_build(environment, findings);
  check_cpu(environment, vitals, findings);
  check_system(environment, vitals, request, findings);
  check_gpus(request, environment, vitals, findings);
  return findings;
}

// --- The command ---

namespace {

void write_text(const std::vector<Finding>& findings) {
  size_t width = 0;
  for (const Finding& f : findings) width = std::max(width, f.name.size());
  int64_t counts[3] = {0, 0, 0};
  for (const Finding& f : findings) {
    const std::string health(name_of(f.health));
    ++counts[static_cast<size_t>(f.health)];
    std::cout << health << std::string(6 - health.size(), ' ') << f.name << std::string(width + 2 - f.name.size(), ' ')
              << f.found << (f.advice.empty() ? "" : ". " + f.advice) << "\n";
  }
  std::cout << counts[0] << " ok, " << count(counts[1], "warning", "warnings") << ", "
            << count(counts[2], "failure", "failures") << "\n";
}

void write_rates(const Calibration& calibration, const fs::path& file) {
  size_t width = 0;
  for (const Rate& rate : calibration.rates) width = std::max(width, rate.name.size());
  std::cout << "\ncalibration of " << calibration.device.device_name << ", engine " << calibration.device.engine
            << "\n";
  for (const Rate& rate : calibration.rates) {
    char text[160], interval[64] = "", peak[48] = "";
    if (rate.low && rate.high) std::snprintf(interval, sizeof interval, "[%.4g, %.4g]", *rate.low, *rate.high);
    if (rate.of_peak) std::snprintf(peak, sizeof peak, "%.0f %% of FMA", 100 * *rate.of_peak);
    std::snprintf(text, sizeof text, "%9.4g %-8s %-20s n %-3lld %s", rate.value, rate.unit.c_str(), interval,
                  static_cast<long long>(rate.n), peak);
    std::string line = rate.name + std::string(width + 2 - rate.name.size(), ' ') + text;
    line.erase(line.find_last_not_of(' ') + 1);
    std::cout << line << "\n";
  }
  if (calibration.contention.value_or(1) > 1.2) {
    char text[200];
    std::snprintf(
        text, sizeof text,
        "warning: others computed too (contention %.1f): rates are by CPU time. Repeat it on a quiet machine.",
        *calibration.contention);
    std::cout << text << "\n";
  }
  std::cout << "kept in " << file.string() << "\n";
}

Json optional_json(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

Json rates_json(const Calibration& calibration) {
  Json rates = Json::array();
  for (const Rate& rate : calibration.rates)
    rates.push_back({{"name", rate.name},
                     {"unit", rate.unit},
                     {"value", rate.value},
                     {"ci95_low", optional_json(rate.low)},
                     {"ci95_high", optional_json(rate.high)},
                     {"n", rate.n},
                     {"of_peak", optional_json(rate.of_peak)}});
  return {{"engine", calibration.device.engine},
          {"device", calibration.device.device_name},
          {"contention", optional_json(calibration.contention)},
          {"rates", rates}};
}

void write_json(const std::vector<Finding>& findings, const Environment& environment, ExitCode code,
                const std::optional<Calibration>& calibration) {
  Json list = Json::array();
  for (const Finding& f : findings)
    list.push_back({{"name", f.name},
                    {"status", name_of(f.health)},
                    {"found", f.found},
                    {"advice", f.advice.empty() ? Json(nullptr) : Json(f.advice)}});
  const Json object = {{"schema", "ringbench.doctor/1"},
                       {"exit_code", static_cast<int>(code)},
                       {"checks", list},
                       {"calibration", calibration ? rates_json(*calibration) : Json(nullptr)},
                       {"environment", Json::parse(environment_json(environment))}};
  std::cout << object.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
}

}  // namespace

ExitCode run_doctor(const DoctorRequest& request) {
  if (request.calibrate) check_engines({request.engine}, /*timed=*/true);
  const Environment environment = capture_environment(GpuDetail::nvml);
  const std::vector<Finding> findings = diagnose(request, environment, take_vitals(request, environment));
  const bool failed =
      std::any_of(findings.begin(), findings.end(), [](const Finding& f) { return f.health == Health::fail; });
  const ExitCode code = failed ? ExitCode::environment : ExitCode::ok;
  if (!request.json) write_text(findings);
  std::optional<Calibration> calibration;
  if (request.calibrate && !failed) {
    std::cout.flush();
    CalibrationRequest wanted{.engine = request.engine, .threads = request.threads, .small = request.small};
    if (request.progress) wanted.progress = [](std::string_view what) { std::cerr << "measuring " << what << "\n"; };
    calibration = calibrate(wanted);
    const fs::path file = calibration_file(request.engine, calibration->device.device_name, request.results);
    save_device(calibration->device, file);
    if (!request.json) write_rates(*calibration, file);
  }
  if (request.json) write_json(findings, environment, code, calibration);
  return code;
}

}  // namespace ringbench
