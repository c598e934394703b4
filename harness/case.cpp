// case.cpp: see case.h.
#include "harness/case.h"

#include <algorithm>
#include <fstream>

#include "harness/failure.h"
#include "harness/json_object.h"
#include "harness/parity_walk.h"
#include "reference/sha256.h"
#include "reference/weights.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kCaseSchema = "ringbench.case/1";
const std::vector<std::string> kDTypes = {"f64", "f32", "f16", "bf16"};

DType dtype_named(const std::string& name) {
  for (const DType type : {DType::f64, DType::f32, DType::f16, DType::bf16})
    if (name_of(type) == name) return type;
  throw std::logic_error("no floating type '" + name + "'");
}

std::string_view bytes_of(const HostTensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.raw()), static_cast<size_t>(tensor.bytes())};
}

std::string type_and_shape(const HostTensorView& tensor) {
  return std::string(name_of(tensor.dtype)) + " " + shape_string(tensor.shape);
}

Tensors read_tensors(const fs::path& file) {
  if (!fs::is_regular_file(file)) throw UsageError(file.string() + ": is not there.");
  try {
    const SafeTensors stored = SafeTensors::open(file);
    Tensors tensors;
    for (const auto& [name, view] : stored.tensors()) tensors.emplace(name, copy_of(view));
    return tensors;
  } catch (const WeightsError& e) {
    throw UsageError(e.what(), "an incomplete file? Write it again.");
  }
}

void write_tensors(const fs::path& file, const Tensors& tensors) {
  std::vector<std::pair<std::string, HostTensorView>> views(tensors.begin(), tensors.end());
  try {
    write_safetensors(file, views);
  } catch (const WeightsError& e) {
    throw Failure(ExitCode::environment, std::string("--emit: ") + e.what());
  }
}

// Shapes and types by name, for whoever reads case.json without the tensors.
Json described(const Tensors& tensors) {
  Json all = Json::object();
  for (const auto& [name, tensor] : tensors)
    all[name] = {{"dtype", std::string(name_of(tensor.dtype()))}, {"shape", tensor.shape()}};
  return all;
}

Json case_json(const OperatorCase& c) {
  return {{"schema", kCaseSchema},
          {"name", c.name},
          {"op", c.op},
          {"dtype", std::string(name_of(c.dtype))},
          {"parameters", *c.parameters},
          {"inputs", described(c.inputs)},
          {"outputs", described(c.truth)},
          {"fingerprint", c.fingerprint}};
}

// What a candidate may hand back for a tensor of the truth: any floating type, ids as i32 or i64.
bool acceptable(DType found, DType truth) {
  const bool ids = found == DType::i32 || found == DType::i64;
  return truth == DType::i32 ? ids : !ids && found != DType::u8;
}

void check_tensors(const Tensors& outputs, const OperatorCase& c, const std::string& file) {
  std::vector<std::string> names;
  for (const auto& [name, truth] : c.truth) names.push_back(name);
  for (const auto& [name, truth] : c.truth) {
    const auto found = outputs.find(name);
    if (found == outputs.end())
      throw UsageError(file + ": holds no tensor '" + name + "'; " + c.op + " has " + join(names, ", ") + ".");
    if (found->second.shape() != truth.shape() || !acceptable(found->second.dtype(), truth.dtype()))
      throw UsageError(file + ": " + name + " is " + type_and_shape(found->second) + "; expected " +
                       (truth.dtype() == DType::i32 ? "i32 or i64 " : "f32, bf16, f16 or f64 ") +
                       shape_string(truth.shape()) + ".");
  }
  for (const auto& [name, tensor] : outputs)
    if (!c.truth.contains(name))
      throw UsageError(file + ": unexpected tensor " + quoted(name) + "; " + c.op + " has " + join(names, ", ") + ".");
}

}  // namespace

std::string fingerprint_of(const OperatorCase& c) {
  std::string text = c.name + "\n" + c.op + "\n" + std::string(name_of(c.dtype)) + "\n" + c.parameters->dump() + "\n";
  for (const auto& [name, tensor] : c.inputs)
    text += name + " " + type_and_shape(tensor) + " " + sha256_hex(bytes_of(tensor)) + "\n";
  return sha256_hex(text);
}

void write_case(const OperatorCase& c, const fs::path& folder) {
  const fs::path own = folder / c.name;
  std::error_code error;
  fs::create_directories(own, error);
  if (error)
    throw Failure(ExitCode::environment, "--emit: cannot make '" + own.string() + "': " + error.message() + ".");
  write_tensors(own / "inputs.safetensors", c.inputs);
  write_tensors(own / "truth.safetensors", c.truth);
  std::ofstream out(own / "case.json", std::ios::binary);  // last: a folder without it is not a case
  out << case_json(c).dump(1) << "\n";
  out.close();
  if (!out) throw Failure(ExitCode::environment, "--emit: cannot write '" + (own / "case.json").string() + "'.");
}

OperatorCase read_case(const fs::path& folder) {
  JsonObject json = read_json_object(folder / "case.json");
  json.word("schema", {kCaseSchema});
  OperatorCase c;
  c.name = json.text("name");
  c.op = json.text("op");
  c.dtype = dtype_named(json.word("dtype", kDTypes));
  c.parameters = std::make_shared<Json>(json.object("parameters").json());
  c.fingerprint = json.text("fingerprint");
  c.inputs = read_tensors(folder / "inputs.safetensors");
  c.truth = read_tensors(folder / "truth.safetensors");
  if (fingerprint_of(c) != c.fingerprint)
    throw UsageError(folder.string() + ": inputs or parameters are not those that the fingerprint was made of.",
                     "emit the cases again");
  if (described(c.truth) != json.object("outputs").json())
    throw UsageError((folder / "truth.safetensors").string() + ": does not hold the outputs that case.json lists.",
                     "emit the cases again");
  return c;
}

std::vector<std::string> case_names(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored))
    if (fs::exists(entry.path() / "case.json")) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  if (names.empty())
    throw UsageError("--cases: '" + folder.string() + "' holds no cases.",
                     "write some: ringbench parity --op all --emit " + folder.string());
  return names;
}

std::optional<CaseOutputs> read_outputs(const fs::path& folder, const OperatorCase& c) {
  const fs::path own = folder / c.name;
  if (!fs::is_directory(own)) return std::nullopt;
  JsonObject record = read_json_object(own / "record.json");
  if (record.text("fingerprint") != c.fingerprint)
    throw UsageError(own.string() + ": these outputs were made from another case (fingerprint " +
                         record.text("fingerprint").substr(0, 12) + ", expected " + c.fingerprint.substr(0, 12) + ").",
                     "run the candidate on this case again");
  CaseOutputs outputs;
  outputs.tensors = read_tensors(own / "outputs.safetensors");
  check_tensors(outputs.tensors, c, (own / "outputs.safetensors").string());
  outputs.function = record.text_or("function", "");
  outputs.kernel_sha256 = record.text_or("kernel_sha256", "");
  outputs.device = record.text_or("device", "");
  outputs.software = record.text_or("software", "");
  if (!record.has("times_ms")) return outputs;
  for (const Json& time : record.json().at("times_ms")) {
    if (!time.is_number() || !(time.get<double>() > 0)) record.fail("times_ms", "an array of numbers above 0");
    outputs.times_ms.push_back(time.get<double>());
  }
  return outputs;
}

}  // namespace ringbench
