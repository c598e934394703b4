// device.cpp: see device.h. The file format, one JSON object: `ringbench.device/1`; configs/devices shows it.
#include "harness/device.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "harness/environment.h"
#include "harness/failure.h"
#include "harness/json_names.h"
#include "harness/plan.h"
#include "harness/words.h"
#include "reference/sha256.h"

namespace fs = std::filesystem;

namespace ringbench {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kDeviceSchema = "ringbench.device/1";
constexpr DType kTypes[] = {DType::bf16, DType::f16, DType::f32, DType::f64};
const std::vector<std::string> kKinds = {"datasheet-dense", "calibrated", "user"};

// A JSON object whose keys are asked for one by one; what nobody asked for is unknown.
class Object {
 public:
  Object(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json_.is_object()) throw UsageError(where_ + ": expected a JSON object.");
  }

  std::string text(const std::string& key) {
    const Json& value = at(key);
    if (!value.is_string()) refuse(key, "text");
    return value;
  }
  std::string text_or(const std::string& key) { return contains(key) ? text(key) : ""; }
  double number(const std::string& key, double least, double most) {
    const Json& value = at(key);
    std::ostringstream expected;
    expected << "a number from " << least << " to " << most;
    if (!value.is_number() || !(value.get<double>() >= least && value.get<double>() <= most))
      refuse(key, expected.str());
    return value;
  }
  double number_or(const std::string& key, double standard, double least, double most) {
    return contains(key) ? number(key, least, most) : standard;
  }
  Object object(const std::string& key) { return {at(key), where_ + ": " + key}; }
  std::vector<std::string> texts_or(const std::string& key) {
    std::vector<std::string> texts;
    if (!contains(key)) return texts;
    const Json& value = at(key);
    if (!value.is_array()) refuse(key, "a list of texts");
    for (const Json& item : value) {
      if (!item.is_string()) refuse(key, "a list of texts");
      texts.push_back(item);
    }
    return texts;
  }
  bool contains(const std::string& key) {
    known_.push_back(key);
    return json_.contains(key);
  }

  void refuse_others() const {
    for (const auto& item : json_.items())
      if (std::find(known_.begin(), known_.end(), item.key()) == known_.end()) {
        const std::string near = nearest_word(item.key(), known_);
        throw UsageError(where_ + ": unknown key '" + item.key() + "'." +
                         (near.empty() ? "" : " Did you mean " + near + "?"));
      }
  }
  [[noreturn]] void refuse(const std::string& key, const std::string& expected) const {
    throw UsageError(where_ + ": " + key + " is " + json_[key].dump() + ", expected " + expected + ".");
  }

 private:
  const Json& at(const std::string& key) {
    if (!contains(key)) throw UsageError(where_ + ": key '" + key + "' is missing.");
    return json_[key];
  }

  const Json& json_;
  std::string where_;
  std::vector<std::string> known_;  // keys that were asked for
};

Efficiencies read_efficiencies(Object json) {
  Efficiencies e;
  e.attention = json.number_or("attention", 1, 1e-6, 1);
  e.dense = json.number_or("dense", 1, 1e-6, 1);
  e.grouped = json.number_or("grouped", 1, 1e-6, 1);
  e.lightning = json.number_or("lightning", 1, 1e-6, 1);
  e.bandwidth = json.number_or("bandwidth", 1, 1e-6, 1);
  json.refuse_others();
  return e;
}

DeviceModel read_device(const Json& json, const std::string& file) {
  Object o(json, file);
  if (const std::string schema = o.text("schema"); schema != kDeviceSchema)
    throw UsageError(file + ": schema is '" + schema + "', this program reads '" + kDeviceSchema + "'.");
  DeviceModel device;
  device.name = o.text("name");
  device.kind = o.text("kind");
  if (std::find(kKinds.begin(), kKinds.end(), device.kind) == kKinds.end()) o.refuse("kind", join(kKinds, " or "));
  device.source = o.text("source");
  device.match = o.texts_or("match");
  device.memory_bytes = static_cast<int64_t>(o.number("memory_bytes", 1, 1e15));
  device.memory_gbps = o.number("memory_gbps", 1e-3, 1e9);
  Object tflops = o.object("tflops");
  for (const DType type : kTypes)
    if (const std::string key(name_of(type)); tflops.contains(key)) device.tflops[type] = tflops.number(key, 1e-6, 1e9);
  tflops.refuse_others();
  if (device.tflops.empty()) o.refuse("tflops", "the peak of at least one of bf16, f16, f32, f64");
  if (o.contains("efficiency")) device.efficiency = read_efficiencies(o.object("efficiency"));
  device.kernel_s = o.number_or("kernel_s", 0, 0, 1);
  device.kernels_per_layer = static_cast<int>(o.number_or("kernels_per_layer", 10, 0, 1000));
  device.reserved_share = o.number_or("reserved_share", 0, 0, 0.99);
  device.reserved_bytes = o.number_or("reserved_bytes", 0, 0, 1e15);
  device.engine = o.text_or("engine");
  device.device_name = o.text_or("device");
  device.host_hash = o.text_or("host_hash");
  device.date = o.text_or("date");
  device.threads = static_cast<int64_t>(o.number_or("threads", 0, 0, 1e6));
  o.refuse_others();
  return device;
}

fs::path devices_folder() { return configs_folder() / "devices"; }

}  // namespace

std::optional<double> DeviceModel::peak_flops(DType dtype) const {
  const auto found = tflops.find(dtype);
  return found == tflops.end() ? std::optional<double>() : found->second * 1e12;
}

double DeviceModel::share(Part part) const {
  switch (part) {
    case Part::dense:
    case Part::router:
    case Part::head: return efficiency.dense;
    case Part::attention: return efficiency.attention;
    case Part::lightning: return efficiency.lightning;
    case Part::experts: return efficiency.grouped;
    case Part::elementwise: return 1;  // of memory alone
  }
  return 1;
}

DeviceModel DeviceModel::ideal() const {
  DeviceModel device = *this;
  device.efficiency = {};
  device.kernel_s = 0;
  return device;
}

double DeviceModel::room(double weights_bytes, double workspace_bytes) const {
  return static_cast<double>(memory_bytes) * (1 - reserved_share) - std::max(reserved_bytes, workspace_bytes) -
         weights_bytes;
}

DeviceModel load_device(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in || fs::is_directory(file)) throw UsageError(file.string() + ": cannot be read.");
  const Json json = Json::parse(in, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) throw UsageError(file.string() + ": this is not JSON.");
  return read_device(json, file.string());
}

void save_device(const DeviceModel& device, const fs::path& file) {
  Json tflops = Json::object();
  for (const auto& [type, value] : device.tflops) tflops[std::string(name_of(type))] = value;
  const Efficiencies& e = device.efficiency;
  Json json = {{"schema", kDeviceSchema},
               {"name", device.name},
               {"kind", device.kind},
               {"source", device.source},
               {"match", device.match},
               {"memory_bytes", device.memory_bytes},
               {"memory_gbps", device.memory_gbps},
               {"tflops", tflops},
               {"efficiency",
                {{"attention", e.attention},
                 {"dense", e.dense},
                 {"grouped", e.grouped},
                 {"lightning", e.lightning},
                 {"bandwidth", e.bandwidth}}},
               {"kernel_s", device.kernel_s},
               {"kernels_per_layer", device.kernels_per_layer},
               {"reserved_share", device.reserved_share},
               {"reserved_bytes", device.reserved_bytes}};
  if (!device.engine.empty()) json["engine"] = device.engine;
  if (!device.device_name.empty()) json["device"] = device.device_name;
  if (!device.host_hash.empty()) json["host_hash"] = device.host_hash;
  if (!device.date.empty()) json["date"] = device.date;
  if (device.threads > 0) json["threads"] = device.threads;

  // Through another name, so that a full disk leaves the old calibration whole.
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  const fs::path fresh = file.string() + ".new";
  std::ofstream out(fresh, std::ios::binary);
  out << json.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  out.close();
  if (out) fs::rename(fresh, file, error);
  if (!out || error) {
    fs::remove(fresh, error);
    throw Failure(ExitCode::environment, file.string() + ": cannot be written (folder read-only or disk full?).");
  }
}

std::vector<std::string> device_names() { return json_names(devices_folder()); }

DeviceModel find_device(const std::string& name_or_file) {
  const std::vector<std::string> names = device_names();
  std::string name = name_or_file;  // "H200" is meant as "h200"
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (std::find(names.begin(), names.end(), name) != names.end())
    return load_device(devices_folder() / (name + ".json"));
  if (fs::exists(name_or_file)) return load_device(name_or_file);
  const std::string near = nearest_word(name, names);
  throw UsageError("--device: '" + name_or_file + "' is neither a known device nor a file." +
                       (near.empty() ? "" : " Did you mean " + near + "?"),
                   "devices: " + join(names, ", "));
}

fs::path calibration_file(const std::string& engine, const std::string& device_name, const fs::path& results) {
  const std::string hash = sha256_hex(device_name + "\n" + host_hash()).substr(0, 12);
  return results / "devices" / (engine + "-" + hash + ".json");
}

std::optional<DeviceModel> device_for(const std::string& engine, const std::string& device_name,
                                      const fs::path& results) {
  if (const fs::path file = calibration_file(engine, device_name, results); fs::exists(file)) return load_device(file);
  for (const std::string& name : device_names()) {
    DeviceModel device = load_device(devices_folder() / (name + ".json"));
    if (std::find(device.match.begin(), device.match.end(), device_name) != device.match.end()) return device;
  }
  return {};
}

}  // namespace ringbench
