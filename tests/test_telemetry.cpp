// Telemetry from a planted libnvidia-ml (fake_nvml.cpp) and a planted powercap folder: nothing here needs a GPU.
#include "harness/telemetry.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/catch.h"
#include "tests/fake_nvml.h"
#include "tests/folder.h"

using namespace ringbench;
namespace fs = std::filesystem;

namespace {

// The planted library in place of NVIDIA's, fresh, for one test.
struct Planted {
  explicit Planted(const char* file = RINGBENCH_FAKE_NVML) : library(dlopen(file, RTLD_NOW | RTLD_LOCAL)) {
    REQUIRE(library != nullptr);
    gpu = static_cast<FakeGpu*>(dlsym(library, "fake_gpu"));
    REQUIRE(gpu != nullptr);
    *gpu = FakeGpu{};
    setenv("RINGBENCH_NVML", file, 1);
  }
  ~Planted() {
    unsetenv("RINGBENCH_NVML");
    dlclose(library);
  }
  Planted(const Planted&) = delete;
  Planted& operator=(const Planted&) = delete;

  void* library;
  FakeGpu* gpu = nullptr;
};

void sleep_s(double seconds) { usleep(static_cast<useconds_t>(seconds * 1e6)); }

constexpr uint64_t kIdle = 1, kAppClocks = 2, kPowerCap = 4, kThermal = 0x20;

}  // namespace

TEST_CASE("a GPU's clocks, temperature and energy are those that NVML counted in the region") {
  Planted planted;
  Telemetry telemetry({.gpu = true, .hz = 50});
  REQUIRE(telemetry.problem().empty());
  telemetry.start();
  sleep_s(0.5);
  planted.gpu->temp_c = 70;
  sleep_s(0.7);
  planted.gpu->temp_c = 50;
  const TelemetrySummary s = telemetry.stop();
  CHECK(s.seconds >= 1.2);
  CHECK(s.sm_mhz == 1755);
  CHECK(s.mem_mhz == 2619);
  CHECK(s.temp_max_c == 70);
  CHECK(s.samples.size() >= 20);
  CHECK(s.energy_method == "nvml-counter");
  CHECK(s.energy_j == Approx(30.0 * static_cast<double>(s.samples.size() - 1)));  // 30 J a question
  CHECK(s.power_avg_w == Approx(*s.energy_j / s.seconds));
  CHECK(s.foreign_processes == 0);
  CHECK(s.throttle.empty());
  CHECK_FALSE(s.power_idle_w);  // nobody looked
}

TEST_CASE("throttling in any sample is named; idleness and chosen clocks are none") {
  Planted planted;
  Telemetry telemetry({.gpu = true, .hz = 50});
  planted.gpu->throttle = kIdle | kAppClocks;
  telemetry.start();
  sleep_s(0.1);
  TelemetrySummary s = telemetry.stop();
  CHECK(s.throttle == Strings{"idle", "app_clocks"});
  CHECK_FALSE(is_throttled(s.throttle));

  planted.gpu->throttle = 0;
  telemetry.start();
  sleep_s(0.1);
  planted.gpu->throttle = kPowerCap | kThermal;
  sleep_s(0.1);
  planted.gpu->throttle = 0;
  s = telemetry.stop();
  CHECK(s.throttle == Strings{"sw_power_cap", "sw_thermal"});
  CHECK(is_throttled(s.throttle));
  CHECK(throttle_names(uint64_t{1} << 40) == Strings{"bit_40"});
}

TEST_CASE("a region too short for the energy counter has no energy, and what is off is not asked for") {
  Planted planted;
  Telemetry telemetry({.gpu = true, .hz = 50});
  telemetry.start();
  sleep_s(0.1);
  TelemetrySummary s = telemetry.stop();
  CHECK(s.sm_mhz == 1755);
  CHECK_FALSE(s.energy_j);
  CHECK_FALSE(s.power_avg_w);
  CHECK(s.energy_method.empty());

  Telemetry without({.gpu = true, .hz = 50, .energy = false});
  without.measure_idle(0.05);
  without.start();
  sleep_s(1.05);
  s = without.stop();
  CHECK(s.sm_mhz == 1755);
  CHECK_FALSE(s.energy_j);
  CHECK_FALSE(s.power_idle_w);

  Telemetry off({.gpu = true, .hz = 0});
  off.start();
  CHECK(off.stop().samples.empty());
}

TEST_CASE("an old library: first versions of the functions, energy from power") {
  Planted planted(RINGBENCH_FAKE_NVML_OLD);
  planted.gpu->pids[0] = static_cast<unsigned>(getpid());
  planted.gpu->pids[1] = 99, planted.gpu->pids[2] = 98;
  planted.gpu->pid_count = 3;
  planted.gpu->throttle = kThermal;
  Telemetry telemetry({.gpu = true, .hz = 20});
  REQUIRE(telemetry.problem().empty());
  planted.gpu->power_mw = 90000;
  telemetry.measure_idle(0.05);
  planted.gpu->power_mw = 300000;
  telemetry.start();
  sleep_s(1.05);
  const TelemetrySummary s = telemetry.stop();
  CHECK(s.energy_method == "nvml-power");
  CHECK(s.energy_j == Approx(300 * s.seconds));
  CHECK(s.power_avg_w == Approx(300));
  CHECK(s.power_idle_w == Approx(90));
  CHECK(s.foreign_processes == 2);
  CHECK(s.throttle == Strings{"sw_thermal"});
}

TEST_CASE("foreign processes: ours is not one, inside a container neither") {
  Planted planted;
  const Telemetry telemetry({.gpu = true});
  CHECK(telemetry.foreign_processes(false) == 0);
  planted.gpu->pids[0] = 99;
  planted.gpu->pid_count = 1;
  CHECK(telemetry.foreign_processes(false) == 1);
  CHECK(telemetry.foreign_processes(true) == 0);  // its number is the host's
  planted.gpu->pids[1] = static_cast<unsigned>(getpid());
  planted.gpu->pid_count = 2;
  CHECK(telemetry.foreign_processes(false) == 1);
  CHECK(telemetry.foreign_processes(true) == 1);
}

TEST_CASE("--isolate: nothing, a warning or an end") {
  CHECK(check_isolation(Isolation::off, 3).empty());
  CHECK(check_isolation(Isolation::warn, 0).empty());
  CHECK(check_isolation(Isolation::warn, std::nullopt).empty());
  CHECK(check_isolation(Isolation::warn, 2) == "W-SHARED: 2 other processes are on the GPU; times may be longer.");
  CHECK(check_isolation(Isolation::require, 0).empty());
  for (const Maybe<int64_t> unfit : {Maybe<int64_t>(1), Maybe<int64_t>()}) {
    try {
      check_isolation(Isolation::require, unfit);
      FAIL("not refused");
    } catch (const Failure& e) {
      CHECK(e.code == ExitCode::environment);
    }
  }
}

TEST_CASE("without a library, a driver or a device all is empty and the reason is there") {
  setenv("RINGBENCH_NVML", "/nowhere/libnvidia-ml.so", 1);
  CHECK(Telemetry({.gpu = true}).problem() == "$RINGBENCH_NVML cannot be loaded");
  Planted planted;
  planted.gpu->init_status = 9;
  CHECK(Telemetry({.gpu = true}).problem() == "Driver Not Loaded");
  planted.gpu->init_status = 0;
  planted.gpu->count = 0;
  Telemetry telemetry({.gpu = true});
  CHECK(telemetry.problem() == "NVML shows no device");
  telemetry.start();
  const TelemetrySummary s = telemetry.stop();
  CHECK(s.samples.empty());
  CHECK_FALSE(s.sm_mhz);
  CHECK_FALSE(s.foreign_processes);
  Result row;
  describe_telemetry(row, s, 100);
  CHECK_FALSE(row.energy_j);
  CHECK_FALSE(row.energy_method);
  CHECK_FALSE(row.energy_j_per_token);
}

TEST_CASE("a CPU's energy: packages only, across a wrap of the counter") {
  Folder folder;
  const auto plant = [&](const std::string& domain, const std::string& name, int64_t energy_uj) {
    fs::create_directories(folder.path / domain);
    std::ofstream(folder.path / domain / "name") << name << "\n";
    std::ofstream(folder.path / domain / "energy_uj") << energy_uj << "\n";
    std::ofstream(folder.path / domain / "max_energy_range_uj") << 100'000'000 << "\n";
  };
  plant("intel-rapl:0", "package-0", 90'000'000);
  plant("intel-rapl:0:0", "core", 90'000'000);
  plant("intel-rapl:1", "psys", 90'000'000);
  Telemetry telemetry({.hz = 50, .powercap = folder.path});
  REQUIRE(telemetry.problem().empty());
  telemetry.start();
  sleep_s(0.5);
  plant("intel-rapl:0", "package-0", 95'000'000);
  sleep_s(0.6);
  plant("intel-rapl:0", "package-0", 20'000'000);  // 25 J later
  const TelemetrySummary s = telemetry.stop();
  CHECK(s.energy_method == "rapl");
  CHECK(s.energy_j == Approx(30));
  CHECK(s.power_avg_w == Approx(30 / s.seconds));
  CHECK_FALSE(s.sm_mhz);
  CHECK_FALSE(s.foreign_processes);
  Result row;
  describe_telemetry(row, s, 60);
  CHECK(row.energy_j_per_token == Approx(0.5));
  CHECK(row.energy_method == "rapl");

  CHECK_FALSE(Telemetry({.powercap = folder.path / "none"}).problem().empty());
}

TEST_CASE("the samples are written as CSV, empty where nothing is known") {
  Folder folder;
  const fs::path file = folder.path / "samples.csv";
  write_telemetry(file, {{.t_s = 0, .sm_mhz = 1755, .throttle = kPowerCap | kThermal, .foreign_processes = 1},
                         {.t_s = 0.1, .energy_j = 123456.789}});
  CHECK(read_file(file) ==
        "t_s,sm_mhz,mem_mhz,temp_c,power_w,energy_j,throttle,foreign_processes\n"
        "0,1755,,,,,sw_power_cap sw_thermal,1\n"
        "0.1,,,,,123456.789,,\n");
  CHECK_THROWS_AS(write_telemetry(folder.path / "none" / "x.csv", {}), Failure);
}
