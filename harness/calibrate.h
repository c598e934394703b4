// calibrate.h: what this machine reaches with an engine's own operators: rates with intervals, and the DeviceModel that
// predictions, MFU and MBU use from then on.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/device.h"
#include "harness/measure.h"
#include "harness/result.h"

namespace ringbench {

struct CalibrationRequest {
  std::string engine = "reference";
  int threads = 0;                                      // of the reference; 0: physical cores
  double seconds = 2.5;                                 // at most, for each rate
  bool small = false;                                   // sizes that take no time: for tests; its rates mean nothing
  std::function<void(std::string_view)> progress = {};  // hears what is measured next
};

struct Rate {
  std::string name;  // "gemm f32"
  std::string unit;  // "GFLOP/s", "GB/s", "us"
  double value = 0;
  Maybe<double> low, high;  // 95 % interval of the median
  int64_t n = 0;
  Maybe<double> of_peak;  // of the arithmetic peak of its type, where that was measured
};

struct Calibration {
  DeviceModel device;
  std::vector<Rate> rates;
  Maybe<double> contention;  // wall over CPU time per thread, the worst; above 1.2 rates are from CPU time
};

// Throws Failure(environment) for an engine that this build or machine lacks.
Calibration calibrate(const CalibrationRequest& request);

}  // namespace ringbench
