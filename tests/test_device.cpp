// Device files: those that are shipped, written and read back, found for an engine, and refused.
#include "harness/device.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "harness/environment.h"
#include "harness/failure.h"
#include "harness/plan.h"
#include "tests/catch.h"
#include "tests/folder.h"

using namespace ringbench;

namespace {

DeviceModel calibrated() {
  DeviceModel device;
  device.name = "this CPU";
  device.kind = "calibrated";
  device.source = "doctor --calibrate";
  device.memory_bytes = 8'000'000'000;
  device.memory_gbps = 21.5;
  device.tflops = {{DType::f32, 0.151}, {DType::f64, 0.07}};
  device.efficiency.attention = 0.4;
  device.reserved_share = 0.1;
  device.engine = "reference";
  device.device_name = "Some CPU, 2 cores";
  device.host_hash = "0123456789abcdef";
  device.date = "2026-01-01T00:00:00Z";
  device.threads = 2;
  return device;
}

std::string message_of(const nlohmann::json& json, const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "device.json";
  std::ofstream(file) << json;
  try {
    load_device(file);
  } catch (const UsageError& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("shipped devices: datasheet peaks, each found by its driver's name and no other") {
  REQUIRE(device_names() == std::vector<std::string>{"a100-80", "h100", "h20", "h200"});
  const Folder results;
  for (const std::string& name : device_names()) {
    const DeviceModel device = find_device(name);
    INFO(name);
    REQUIRE(device.kind == "datasheet-dense");
    REQUIRE(device.peak_flops(DType::bf16) > 0.0);
    REQUIRE(device.peak_flops(DType::f32) > 0.0);
    REQUIRE_FALSE(device.peak_flops(DType::f64));
    REQUIRE(device.match.size() == 1);
    REQUIRE(device_for("cuda", device.match.front(), results.path)->name == device.name);
  }
  REQUIRE(device_for("cuda", "NVIDIA H200", results.path)->peak_flops(DType::bf16) == 989e12);
  REQUIRE(find_device("A100-80").name == "A100-80");
  // Others whose names contain one of these, and whose peaks differ.
  for (const char* other : {"NVIDIA H200 NVL", "NVIDIA H100 PCIe", "NVIDIA H20-3e", "NVIDIA A100 80GB PCIe",
                            "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "Some CPU, 2 cores"})
    REQUIRE_FALSE(device_for("cuda", other, results.path));
}

TEST_CASE("a calibration is written, read back, and goes before the datasheet on its machine and engine alone") {
  const Folder results;
  DeviceModel device = calibrated();
  device.device_name = "NVIDIA H200";
  const auto file = calibration_file("cuda", "NVIDIA H200", results.path);
  save_device(device, file);
  REQUIRE(file.parent_path() == results.path / "devices");
  const DeviceModel back = load_device(file);
  REQUIRE(back.kind == "calibrated");
  REQUIRE(back.tflops == device.tflops);
  REQUIRE(back.memory_gbps == device.memory_gbps);
  REQUIRE(back.memory_bytes == device.memory_bytes);
  REQUIRE(back.efficiency.attention == 0.4);
  REQUIRE(back.efficiency.dense == 1);
  REQUIRE(back.reserved_share == 0.1);
  REQUIRE(back.engine == device.engine);
  REQUIRE(back.device_name == device.device_name);
  REQUIRE(back.host_hash == device.host_hash);
  REQUIRE(back.date == device.date);
  REQUIRE(back.threads == 2);
  REQUIRE(device_for("cuda", "NVIDIA H200", results.path)->kind == "calibrated");
  REQUIRE_FALSE(device_for("reference", cpu_device_name(), results.path));
  REQUIRE(calibration_file("cuda", "NVIDIA H20", results.path) != file);
  REQUIRE(calibration_file("reference", "NVIDIA H200", results.path) != file);
}

TEST_CASE("shares, the ideal machine, and the room beside weights") {
  const DeviceModel device = find_device("a100-80");
  REQUIRE(device.share(Part::attention) == 0.60);
  REQUIRE(device.share(Part::dense) == 0.78);
  REQUIRE(device.share(Part::head) == 0.78);
  REQUIRE(device.share(Part::experts) == 0.45);
  REQUIRE(device.share(Part::lightning) == 0.15);
  for (const Part part : kParts) REQUIRE(device.ideal().share(part) == 1);
  REQUIRE(device.ideal().kernel_s == 0);
  REQUIRE(device.room(33.6e9) == Approx(80e9 * 0.9 - 3e9 - 33.6e9));
  REQUIRE(device.room(33.6e9, 1e9) == device.room(33.6e9));
  REQUIRE(device.room(33.6e9, 4e9) == Approx(device.room(33.6e9) - 1e9));
}

TEST_CASE("bad device files are refused with file, key and what was expected") {
  const Folder folder;
  save_device(calibrated(), folder.path / "good.json");
  const auto good = nlohmann::json::parse(std::ifstream(folder.path / "good.json"));
  REQUIRE(message_of(good, folder.path).empty());
  const auto with = [&](const char* key, nlohmann::json value) {
    nlohmann::json json = good;
    json[key] = std::move(value);
    return message_of(json, folder.path);
  };
  const auto contains = [](const std::string& text, const std::string& part) {
    INFO(text);
    REQUIRE(text.find(part) != std::string::npos);
  };
  contains(with("memory_gbps", -1), "memory_gbps is -1, expected a number from");
  contains(with("memory_gbps", "fast"), "memory_gbps is \"fast\", expected a number");
  contains(with("kind", "guessed"), "kind is \"guessed\", expected datasheet-dense or calibrated or user");
  contains(with("memory_gbsp", 1), "unknown key 'memory_gbsp'. Did you mean memory_gbps?");
  contains(with("tflops", nlohmann::json::object()), "tflops is {}");
  contains(with("tflops", {{"f23", 1.0}}), "tflops: unknown key 'f23'. Did you mean f32?");
  contains(with("tflops", 3), "tflops: expected a JSON object");
  contains(with("efficiency", {{"dense", 1.5}}), "efficiency: dense is 1.5");
  contains(with("match", {1}), "match is [1], expected a list of texts");
  contains(with("schema", "ringbench.device/2"), "this program reads 'ringbench.device/1'");
  nlohmann::json without = good;
  without.erase("source");
  contains(message_of(without, folder.path), "key 'source' is missing");
  contains(message_of(nlohmann::json::array(), folder.path), "expected a JSON object");
  std::ofstream(folder.path / "torn.json") << "{\"schema\": ";
  REQUIRE_THROWS_AS(load_device(folder.path / "torn.json"), UsageError);
  REQUIRE_THROWS_AS(load_device(folder.path / "absent.json"), UsageError);
  REQUIRE_THROWS_AS(load_device(folder.path), UsageError);
  REQUIRE_THROWS_WITH(find_device("h2000"), Catch::Contains("Did you mean h200?"));
  REQUIRE_THROWS_AS(save_device(calibrated(), "/proc/nowhere/x.json"), Failure);
}
