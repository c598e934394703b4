// The checks of `doctor` on made-up machines, then the command on this one, with a planted GPU and without, and a
// calibration whose sizes mean nothing.
#include "harness/doctor.h"

#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cuda/probe.h"
#include "harness/calibrate.h"
#include "tests/catch.h"
#include "tests/folder.h"
#include "tests/printed.h"

using namespace ringbench;
using Json = nlohmann::json;

namespace {

// A machine on which nothing is wrong.
Environment good_environment() {
  Environment e;
  e.version = "1.0", e.commit = "abc1234", e.build_type = "Release", e.compiler = "GNU 12", e.flags = "-O3";
  e.simd = "AVX2 FMA", e.isa_compiled = e.isa = {"avx", "avx2", "fma"};
  e.openmp = true;
  e.cpu = "CPU", e.physical_cores = 8, e.logical_cores = 8, e.allowed_cpus = 8, e.governor = "performance";
  e.clock_source = "tsc", e.huge_pages = "always", e.numa_nodes = 1;
  e.memory_bytes = e.available_memory_bytes = int64_t{64} << 30;
  return e;
}
Vitals good_vitals() {
  Vitals v;
  v.tick_s = 30e-9;
  v.free_disk_bytes = int64_t{1} << 40;
  v.gnuplot = "5.4 patchlevel 4";
  v.small_bytes = int64_t{1} << 28, v.large_bytes = int64_t{2} << 30;
  v.calibrated = "2026-01-01T00:00:00Z";
  return v;
}
// The same with an H100 and a build for it.
void add_gpu(Environment& e, Vitals& v) {
  e.cuda_toolkit = "12.8", e.cuda_architectures = "80 90a", e.gpu_driver = "580.65", e.cuda_driver = "13.0";
  GpuFacts gpu;
  gpu.name = "NVIDIA H100", gpu.compute_capability = 90;
  gpu.mig = false, gpu.persistence = true, gpu.power_limit_w = gpu.power_default_w = 700;
  gpu.pcie_width = gpu.pcie_max_width = 16, gpu.pcie_generation = 5;
  e.gpus = {gpu};
  v.driver = true;
  v.gpus.resize(1);
  v.gpu_processes = {0};
}

const Finding* find(const std::vector<Finding>& findings, const std::string& name) {
  for (const Finding& f : findings)
    if (f.name == name) return &f;
  return nullptr;
}

struct Diagnosis {
  ExitCode code;
  std::string out;
};
Diagnosis diagnosed(const DoctorRequest& request) {
  const auto [code, out] = printed_by([&] { return run_doctor(request); });
  return {code, out};
}

}  // namespace

TEST_CASE("doctor: on a good machine all is ok, with a GPU too") {
  Environment e = good_environment();
  Vitals v = good_vitals();
  for (const Finding& f : diagnose({}, e, v)) {
    INFO(f.name << ": " << f.found << ". " << f.advice);
    CHECK(f.health == Health::ok);
    CHECK(f.advice.empty());
    CHECK_FALSE(f.found.empty());
  }
  add_gpu(e, v);
  for (const Finding& f : diagnose({.engine = "cuda"}, e, v)) {
    INFO(f.name << ": " << f.found << ". " << f.advice);
    CHECK(f.health == Health::ok);
  }
}

TEST_CASE("doctor: each thing that is wrong is found, named and answered with advice") {
  struct Case {
    const char* name;
    Health health;
    void (*spoil)(Environment&, Vitals&);
  };
  const Case cases[] = {
      {"build", Health::warn, [](Environment& e, Vitals&) { e.build_type = "Debug"; }},
      {"build", Health::warn, [](Environment& e, Vitals&) { e.commit += "+"; }},
      {"SIMD", Health::fail, [](Environment& e, Vitals&) { e.isa_compiled.emplace_back("avx512f"); }},
      {"SIMD", Health::warn, [](Environment& e, Vitals&) { e.isa.emplace_back("avx512f"); }},
      {"OpenMP", Health::warn, [](Environment& e, Vitals&) { e.openmp = false; }},
      {"CPU", Health::warn, [](Environment& e, Vitals&) { e.numa_nodes = 2; }},
      {"CPU clock", Health::warn, [](Environment& e, Vitals&) { e.governor = "powersave"; }},
      {"load", Health::warn, [](Environment&, Vitals& v) { v.busy = 0.5; }},
      {"load", Health::warn, [](Environment&, Vitals& v) { v.stolen = 0.1; }},
      {"CPU share", Health::warn, [](Environment& e, Vitals&) { e.cpu_quota = 2.5; }},
      {"CPU share", Health::warn, [](Environment& e, Vitals&) { e.allowed_cpus = 4; }},
      {"OMP_WAIT_POLICY", Health::warn, [](Environment& e, Vitals&) { e.variables["OMP_WAIT_POLICY"] = "active"; }},
      {"memory", Health::warn, [](Environment& e, Vitals&) { e.available_memory_bytes = int64_t{1} << 30; }},
      {"memory", Health::fail, [](Environment& e, Vitals&) { e.available_memory_bytes = int64_t{1} << 20; }},
      {"timer", Health::warn, [](Environment& e, Vitals&) { e.clock_source = "hpet"; }},
      {"timer", Health::fail, [](Environment&, Vitals& v) { v.tick_s = 0.01; }},
      {"results", Health::fail, [](Environment&, Vitals& v) { v.results_problem = "Permission denied"; }},
      {"results", Health::warn, [](Environment&, Vitals& v) { v.free_disk_bytes = 1 << 20; }},
      {"peaks", Health::warn, [](Environment&, Vitals& v) { v.calibrated = ""; }},
      {"gnuplot", Health::warn, [](Environment&, Vitals& v) { v.gnuplot = ""; }},
      {"GPU driver", Health::fail,
       [](Environment& e, Vitals& v) { e.gpus.clear(), e.gpu_driver.clear(), v.driver = false; }},
      {"GPU driver", Health::fail, [](Environment& e, Vitals&) { e.cuda_driver = "11.8"; }},
      {"GPU driver", Health::fail, [](Environment& e, Vitals&) { e.cuda_toolkit = ""; }},
      {"GPU driver", Health::warn, [](Environment&, Vitals& v) { v.nvml_problem = "there is no library"; }},
      {"GPU driver", Health::fail, [](Environment& e, Vitals&) { e.gpus.clear(); }},
      {"GPU 0", Health::fail, [](Environment& e, Vitals&) { e.gpus[0].compute_capability = 75; }},
      {"GPU 0", Health::warn, [](Environment& e, Vitals&) { e.gpus[0].compute_capability = 120; }},
      {"GPU 0 setting", Health::warn, [](Environment& e, Vitals&) { e.gpus[0].mig = true; }},
      {"GPU 0 setting", Health::warn, [](Environment& e, Vitals&) { e.gpus[0].persistence = false; }},
      {"GPU 0 setting", Health::warn, [](Environment& e, Vitals&) { e.gpus[0].power_limit_w = 300; }},
      {"GPU 0 setting", Health::warn, [](Environment& e, Vitals&) { e.gpus[0].pcie_width = 4; }},
      {"GPU 0 now", Health::warn, [](Environment&, Vitals& v) { v.gpu_processes[0] = 2; }},
      {"GPU 0 now", Health::warn, [](Environment&, Vitals& v) { v.gpus[0].throttle = 0x40; }},
  };
  for (const Case& c : cases) {
    Environment e = good_environment();
    Vitals v = good_vitals();
    add_gpu(e, v);
    c.spoil(e, v);
    const std::vector<Finding> findings = diagnose({.engine = "cuda"}, e, v);
    const Finding* const found = find(findings, c.name);
    INFO(c.name << ", case " << &c - cases);
    REQUIRE(found != nullptr);
    CHECK(found->health == c.health);
    CHECK_FALSE(found->advice.empty());
    for (const Finding& f : findings)  // and nothing else
      if (f.name != c.name) CHECK(f.health == Health::ok);
  }
}

TEST_CASE("doctor: what a GPU lacks is no failure where the reference is to be measured") {
  Environment e = good_environment();
  Vitals v = good_vitals();
  add_gpu(e, v);
  e.cuda_toolkit = "";
  CHECK(find(diagnose({.engine = "reference"}, e, v), "GPU driver")->health == Health::warn);
}

TEST_CASE("doctor on this machine: one line a check, exit 0; a folder that cannot be written, exit 3") {
  Folder folder;
  const Diagnosis r = diagnosed({.results = folder.path / "runs"});
  CHECK(r.code == ExitCode::ok);
  for (const char* name : {"build", "SIMD", "CPU", "memory", "timer", "results", "peaks", "GPU driver"})
    CHECK(r.out.find(std::string("  ") + name + " ") != std::string::npos);
  CHECK(r.out.find("FAIL") == std::string::npos);
  CHECK(r.out.find(folder.path.string()) == std::string::npos);  // it may name people
  CHECK_FALSE(std::filesystem::exists(folder.path / "runs"));

  const Diagnosis bad = diagnosed({.results = "/dev/null/runs", .json = true});
  CHECK(bad.code == ExitCode::environment);
  const Json json = Json::parse(bad.out);
  CHECK(json["exit_code"] == 3);
  CHECK(json["calibration"].is_null());
  CHECK(json["environment"]["cpu"].is_string());
}

TEST_CASE("doctor sees a planted GPU through its management library") {
  setenv("RINGBENCH_NVML", RINGBENCH_FAKE_NVML, 1);
  const Diagnosis r = diagnosed({.json = true});
  unsetenv("RINGBENCH_NVML");
  const Json json = Json::parse(r.out);
  const Json gpu = json["environment"]["gpus"].at(0);
  CHECK(gpu["name"] == "NVIDIA H100 80GB HBM3");
  CHECK(gpu["compute_capability"] == 90);
  CHECK(gpu["uuid_hash"].get<std::string>().size() == 16);
  CHECK(gpu["ecc"] == true);
  CHECK(gpu["mig"] == false);
  CHECK(gpu["power_limit_w"] == 700);
  CHECK(gpu["pcie_width"] == 16);
  CHECK(gpu["sm_count"].is_null());  // only CUDA knows
  CHECK(json["environment"]["gpu_driver"] == "580.65.06");
  CHECK(json["environment"]["cuda_driver"] == "13.0");
  CHECK(r.out.find("GPU-0123") == std::string::npos);
}

TEST_CASE("doctor --calibrate keeps a device file that predictions find") {
  Folder folder;
  const Diagnosis r = diagnosed(
      {.results = folder.path, .json = true, .calibrate = true, .threads = 2, .progress = false, .small = true});
  REQUIRE(r.code == ExitCode::ok);
  const Json calibration = Json::parse(r.out)["calibration"];
  REQUIRE(calibration["rates"].size() >= 15);
  for (const Json& rate : calibration["rates"]) {
    INFO(rate);
    CHECK(rate["value"].get<double>() > 0);
    CHECK(rate["n"].get<int>() >= 1);
    if (!rate["ci95_low"].is_null()) {
      CHECK(rate["ci95_low"] <= rate["value"]);
      CHECK(rate["value"] <= rate["ci95_high"]);
    }
    const std::string name = rate["name"];
    CHECK(rate["of_peak"].is_null() ==
          (name.starts_with("FMA") || name.starts_with("memory") || name.starts_with("small")));
  }
  const auto device = device_for("reference", cpu_device_name(), folder.path);
  REQUIRE(device);
  CHECK(device->kind == "calibrated");
  CHECK(device->threads == 2);
  CHECK(device->peak_flops(DType::f32).value_or(0) > 0);
  CHECK(device->peak_flops(DType::f64).value_or(0) > 0);
  CHECK(device->memory_gbps > 0);
  CHECK(device->kernel_s > 0);
  CHECK(device->efficiency.attention > 0);
  CHECK(device->memory_bytes > 0);

  const Diagnosis again = diagnosed({.results = folder.path});
  CHECK(again.out.find("calibrated " + device->date) != std::string::npos);
}

TEST_CASE("calibration of an engine that is not there is refused") {
  try {
    calibrate({.engine = "emulated"});
    FAIL("not refused");
  } catch (const Failure& e) {
    CHECK(e.code == ExitCode::environment);
  }
}

TEST_CASE("the device's probes run on the emulator, in both types") {
  for (const DType type : {DType::bf16, DType::f32}) {
    const std::vector<double> seconds = emulated::gemm_seconds(type, 64, 2);
    REQUIRE(seconds.size() == 2);
    CHECK(seconds[0] > 0);
  }
  CHECK(emulated::copy_seconds(1 << 20, 3).size() == 3);
  CHECK_THROWS_AS(emulated::gemm_seconds(DType::f64, 16, 1), std::invalid_argument);
}
