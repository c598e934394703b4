// telemetry.cpp: see telemetry.h. A thread of its own looks at the counters; it sleeps in between.
#include "harness/telemetry.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>

#include "harness/environment.h"
#include "harness/measure.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;

// The energy counter of a GPU moves some ten times a second, and power is an average over the last tenth or more: below
// this, the error of either is beyond a few percent.
constexpr double kShortestEnergy_s = 1;
constexpr double kProcessesEvery_s = 1;  // the one question that takes the driver longer

Maybe<double> median_of(const std::vector<TelemetrySample>& samples, Maybe<double> TelemetrySample::*field) {
  std::vector<double> values;
  for (const TelemetrySample& s : samples)
    if (s.*field) values.push_back(*(s.*field));
  if (values.empty()) return std::nullopt;
  return median(std::move(values));
}

// Joules by the trapezium rule; empty with fewer than two samples.
Maybe<double> integrated_power(const std::vector<TelemetrySample>& samples) {
  double sum = 0;
  int64_t pieces = 0;
  const TelemetrySample* before = nullptr;
  for (const TelemetrySample& s : samples) {
    if (!s.power_w) continue;
    if (before != nullptr) sum += (s.t_s - before->t_s) * (*s.power_w + *before->power_w) / 2, ++pieces;
    before = &s;
  }
  if (pieces == 0) return std::nullopt;
  return sum;
}

void summarize_energy(TelemetrySummary& s, bool gpu) {
  const auto& first = s.samples.front().energy_j;
  const auto& last = s.samples.back().energy_j;
  if (s.seconds < kShortestEnergy_s) return;
  if (first && last && *last > *first)
    s.energy_j = *last - *first, s.energy_method = gpu ? "nvml-counter" : "rapl";
  else if (const Maybe<double> sum = integrated_power(s.samples))
    s.energy_j = sum, s.energy_method = "nvml-power";
  if (s.energy_j) s.power_avg_w = *s.energy_j / s.seconds;
}

}  // namespace

Telemetry::Telemetry(const TelemetryOptions& options) : options_(options) {
  if (options_.hz <= 0) {
    problem_ = "telemetry is off";
  } else if (options_.gpu) {
    nvml_ = std::make_unique<Nvml>();
    device_ = nvml_->find(options_.uuid);
    problem_ = nvml_->problem();
    if (problem_.empty() && device_ == nullptr) problem_ = "NVML shows no device";
  } else {
    // Packages only ("intel-rapl:0"; AMD's are named so too): cores and memory ("intel-rapl:0:0") are parts of them.
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(options_.powercap, error)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with("intel-rapl:") || std::count(name.begin(), name.end(), ':') != 1) continue;
      std::string domain;
      std::getline(std::ifstream(entry.path() / "name") >> std::ws, domain);
      const auto now = number_in(entry.path() / "energy_uj"), range = number_in(entry.path() / "max_energy_range_uj");
      if (domain.starts_with("package") && now && range) rapl_.push_back({entry.path() / "energy_uj", *range, *now});
    }
    if (rapl_.empty()) problem_ = "this CPU's energy counters (RAPL) are not there or not readable";
  }
}

Telemetry::~Telemetry() {
  if (thread_.joinable()) stop();
}

Maybe<double> Telemetry::rapl_j() {
  if (rapl_.empty()) return std::nullopt;
  for (RaplDomain& domain : rapl_) {
    const auto now = number_in(domain.file);
    if (!now) return std::nullopt;
    const int64_t moved = *now - domain.last_uj;
    rapl_j_ += 1e-6 * static_cast<double>(moved >= 0 ? moved : moved + domain.range_uj);
    domain.last_uj = *now;
  }
  return rapl_j_;
}

TelemetrySample Telemetry::sample(bool with_processes) {
  TelemetrySample s;
  s.t_s = Clock().wall_s() - start_s_;
  if (device_ != nullptr) {
    const GpuState now = nvml_->state(device_);
    s.sm_mhz = now.sm_mhz, s.mem_mhz = now.mem_mhz, s.temp_c = now.temp_c;
    s.throttle = now.throttle;
    if (options_.energy) s.power_w = now.power_w, s.energy_j = now.energy_j;
    if (with_processes) s.foreign_processes = foreign_processes(true);
  } else if (options_.energy) {
    s.energy_j = rapl_j();
  }
  return s;
}

Maybe<int64_t> Telemetry::foreign_processes(bool own_context) const {
  if (device_ == nullptr) return std::nullopt;
  const auto pids = nvml_->processes(device_);
  if (!pids) return std::nullopt;
  const auto all = static_cast<int64_t>(pids->size());
  const auto own = static_cast<int64_t>(std::count(pids->begin(), pids->end(), static_cast<int>(getpid())));
  return std::max<int64_t>(0, own > 0 ? all - own : all - (own_context ? 1 : 0));
}

void Telemetry::measure_idle(double seconds) {
  if (!problem_.empty() || !options_.energy) return;
  start_s_ = Clock().wall_s();
  std::vector<TelemetrySample> samples;
  constexpr int kLooks = 5;
  for (int i = 0; i < kLooks; ++i) {
    if (i > 0) std::this_thread::sleep_for(std::chrono::duration<double>(seconds / (kLooks - 1)));
    samples.push_back(sample(false));
  }
  power_idle_w_ = median_of(samples, &TelemetrySample::power_w);
  const TelemetrySample &first = samples.front(), &last = samples.back();
  if (!power_idle_w_ && first.energy_j && last.energy_j && *last.energy_j > *first.energy_j)
    power_idle_w_ = (*last.energy_j - *first.energy_j) / (last.t_s - first.t_s);
}

void Telemetry::start() {
  samples_.clear();
  if (!problem_.empty()) return;
  start_s_ = Clock().wall_s();
  samples_.push_back(sample(true));
  stopping_ = false;
  thread_ = std::thread([this] { record(); });
}

void Telemetry::record() {
  const auto period = std::chrono::duration<double>(1 / options_.hz);
  double processes_s = 0;
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, period, [this] { return stopping_; })) {
    const bool ask = Clock().wall_s() - start_s_ - processes_s >= kProcessesEvery_s;
    samples_.push_back(sample(ask));
    if (ask) processes_s = samples_.back().t_s;
  }
}

TelemetrySummary Telemetry::stop() {
  TelemetrySummary s;
  s.power_idle_w = power_idle_w_;
  if (!thread_.joinable()) return s;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
  samples_.push_back(sample(true));

  s.samples = std::move(samples_);
  s.seconds = s.samples.back().t_s - s.samples.front().t_s;
  s.sm_mhz = median_of(s.samples, &TelemetrySample::sm_mhz);
  s.mem_mhz = median_of(s.samples, &TelemetrySample::mem_mhz);
  uint64_t reasons = 0;
  for (const TelemetrySample& each : s.samples) {
    if (each.temp_c) s.temp_max_c = std::max(s.temp_max_c.value_or(*each.temp_c), *each.temp_c);
    if (each.foreign_processes)
      s.foreign_processes = std::max(s.foreign_processes.value_or(0), *each.foreign_processes);
    reasons |= each.throttle.value_or(0);
  }
  s.throttle = throttle_names(reasons);
  summarize_energy(s, options_.gpu);
  return s;
}

bool is_throttled(const Strings& reasons) {
  return std::any_of(reasons.begin(), reasons.end(), [](const std::string& reason) {
    return reason != "idle" && reason != "app_clocks" && reason != "display_clocks";
  });
}

void describe_telemetry(Result& result, const TelemetrySummary& summary, int64_t tokens) {
  result.energy_j = summary.energy_j;
  result.power_avg_w = summary.power_avg_w;
  result.power_idle_w = summary.power_idle_w;
  if (summary.energy_j && tokens > 0) result.energy_j_per_token = *summary.energy_j / static_cast<double>(tokens);
  if (!summary.energy_method.empty()) result.energy_method = summary.energy_method;
  result.sm_mhz = summary.sm_mhz;
  result.mem_mhz = summary.mem_mhz;
  result.temp_max_c = summary.temp_max_c;
  result.throttle = summary.throttle;
  result.foreign_processes = summary.foreign_processes;
}

void write_telemetry(const fs::path& csv, const std::vector<TelemetrySample>& samples) {
  std::ofstream out(csv);
  out << "t_s,sm_mhz,mem_mhz,temp_c,power_w,energy_j,throttle,foreign_processes\n";
  const auto number = [](const Maybe<double>& value) {
    char text[32] = "";
    if (value) std::snprintf(text, sizeof text, "%.12g", *value);
    return std::string(text);
  };
  for (const TelemetrySample& s : samples) {
    std::string reasons;
    for (const std::string& name : throttle_names(s.throttle.value_or(0)))
      reasons += (reasons.empty() ? "" : " ") + name;
    out << number(s.t_s) << "," << number(s.sm_mhz) << "," << number(s.mem_mhz) << "," << number(s.temp_c) << ","
        << number(s.power_w) << "," << number(s.energy_j) << "," << reasons << ","
        << (s.foreign_processes ? std::to_string(*s.foreign_processes) : "") << "\n";
  }
  out.flush();
  if (!out) throw Failure(ExitCode::environment, "writing " + csv.string() + " failed (disk full?).");
}

std::string check_isolation(Isolation wanted, const Maybe<int64_t>& foreign_processes) {
  if (wanted == Isolation::off || foreign_processes == 0) return "";
  if (foreign_processes) {
    const std::string who = std::to_string(*foreign_processes) +
                            (*foreign_processes == 1 ? " other process is" : " other processes are") + " on the GPU";
    if (wanted == Isolation::require)
      throw Failure(ExitCode::environment, "--isolate require: " + who + ".",
                    "See who with nvidia-smi, or use --isolate warn.");
    return "W-SHARED: " + who + "; times may be longer.";
  }
  if (wanted == Isolation::require)
    throw Failure(ExitCode::environment, "--isolate require: NVML does not say which processes are on the GPU.",
                  "Ask 'ringbench doctor' why, or use --isolate warn.");
  return "";
}

}  // namespace ringbench
