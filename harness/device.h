// device.h: what a machine can do at most: peaks from a datasheet (configs/devices) or from a calibration of this
// machine (doctor --calibrate), and the shares of them that kernels reach. Not how a model uses them (predict.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "harness/cost.h"
#include "reference/tensor.h"

namespace ringbench {

// Shares of the peaks that good kernels of each kind reach; all 1 is the ideal machine.
struct Efficiencies {
  double attention = 1, dense = 1, grouped = 1, lightning = 1;  // of peak FLOP/s
  double bandwidth = 1;                                         // of peak bytes/s
};

struct DeviceModel {
  std::string name;    // "H200"
  std::string kind;    // "datasheet-dense", "calibrated", "user": becomes a record's peak_source
  std::string source;  // where the numbers are from
  // Names by which drivers call it, whole: "NVIDIA H200" is not the H200 NVL, whose peaks differ, nor an H20.
  std::vector<std::string> match;
  int64_t memory_bytes = 0;
  double memory_gbps = 0;          // 1e9 bytes/s
  std::map<DType, double> tflops;  // 1e12 dense operations/s by type of the operands
  Efficiencies efficiency;
  double kernel_s = 0;  // that each kernel costs beside its work
  int kernels_per_layer = 10;
  // Of its memory: what is left free on purpose, and what engines and drivers take beside weights and caches.
  double reserved_share = 0, reserved_bytes = 0;
  // Of a calibration only.
  std::string engine, device_name, host_hash, date;
  int64_t threads = 0;

  std::optional<double> peak_flops(DType dtype) const;
  double share(Part part) const;  // of peak_flops
  DeviceModel ideal() const;      // every share 1, kernels free
  // Bytes for caches and states beside so many bytes of weights; a workspace takes what is reserved before more.
  double room(double weights_bytes, double workspace_bytes = 0) const;
};

// Throws UsageError naming file and key for anything that is missing, unknown, of a wrong type or out of range.
DeviceModel load_device(const std::filesystem::path& file);
// Throws Failure(environment) if it cannot be written. Folders are made.
void save_device(const DeviceModel& device, const std::filesystem::path& file);

std::vector<std::string> device_names();  // of configs/devices, sorted
// A name of configs/devices or a file. Throws UsageError with the nearest name.
DeviceModel find_device(const std::string& name_or_file);

// Where the calibration of an engine on this machine is kept: <results>/devices/<engine>-<hash>.json.
std::filesystem::path calibration_file(const std::string& engine, const std::string& device_name,
                                       const std::filesystem::path& results);
// A calibration of this machine, else the datasheet that names the device, else nothing: peaks are never guessed.
std::optional<DeviceModel> device_for(const std::string& engine, const std::string& device_name,
                                      const std::filesystem::path& results);

}  // namespace ringbench
