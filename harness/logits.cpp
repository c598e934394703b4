// logits.cpp: see logits.h.
#include "harness/logits.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "harness/engines.h"
#include "harness/environment.h"
#include "harness/plan.h"
#include "reference/weights.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;

struct TokenIds {
  std::vector<int32_t> input, decode;
  int64_t size() const { return static_cast<int64_t>(input.size() + decode.size()); }
};

std::vector<int32_t> read_ids(const nlohmann::json& file, const std::string& key, const std::string& where,
                              int64_t vocab_size) {
  const auto ids = file.find(key);
  if (ids == file.end()) return {};
  if (!ids->is_array()) throw UsageError(where + ": \"" + key + "\" is not a list of token ids.");
  std::vector<int32_t> result;
  for (const auto& id : *ids) {
    if (!id.is_number_integer() || id < 0 || id >= vocab_size)
      // Lists and objects by their kind alone: printing one that nests deep enough would exhaust the stack.
      throw UsageError(where + ": " + key + "[" + std::to_string(result.size()) + "] is " +
                       (id.is_structured() ? id.type_name() : id.dump().substr(0, 40)) +
                       "; token ids of this model are whole numbers from 0 to " + std::to_string(vocab_size - 1) + ".");
    result.push_back(id.get<int32_t>());
  }
  return result;
}

TokenIds read_tokens(const std::string& path, int64_t vocab_size) {
  const std::string where = "--tokens: " + path;
  std::ifstream in(path);
  if (!in || fs::is_directory(path)) throw UsageError("--tokens: cannot read '" + path + "'.");
  const auto file = nlohmann::json::parse(in, nullptr, false);
  if (!file.is_object())
    throw UsageError(where + ": not a JSON object. Write {\"input_ids\": [1, 2, 3], \"decode_ids\": [4]}.");
  TokenIds ids = {read_ids(file, "input_ids", where, vocab_size), read_ids(file, "decode_ids", where, vocab_size)};
  if (ids.input.empty()) throw UsageError(where + ": \"input_ids\" is missing or empty; at least one token is needed.");
  return ids;
}

void check_writable(const std::string& path) {
  if (path.empty()) throw UsageError("--out: the path is empty. Name a .safetensors file.");
  const fs::path folder = fs::absolute(path).parent_path();
  errno = fs::is_directory(path) ? EISDIR : 0;
  if (errno != 0 || access(folder.c_str(), W_OK) != 0 || (fs::exists(path) && access(path.c_str(), W_OK) != 0))
    throw UsageError("--out: cannot write '" + path + "': " + std::strerror(errno) + ".");
}

// Rows of one output tensor, filled block by block.
class RowsOut {
 public:
  RowsOut(DType dtype, int64_t rows, int64_t width) : tensor_(dtype, {rows, width}), free_(tensor_.raw()) {}

  void append(const HostTensorView& rows) {
    if (rows.dtype != tensor_.dtype() || free_ + rows.bytes() > tensor_.raw() + tensor_.bytes())
      throw std::logic_error("logits: the engine gave rows of another type or more rows than tokens");
    std::memcpy(free_, rows.data, static_cast<size_t>(rows.bytes()));
    free_ += rows.bytes();
  }
  const HostTensor& complete() const {
    if (free_ != tensor_.raw() + tensor_.bytes()) throw std::logic_error("logits: the engine gave too few rows");
    return tensor_;
  }

 private:
  HostTensor tensor_;
  std::byte* free_;
};

}  // namespace

void write_logits(const LogitsRequest& request) {
  Model model = resolve_model(request.model, request.config_file, request.weights);
  if (request.slope_layer_offset) model.config.slope_layer_offset = *request.slope_layer_offset;
  const TokenIds ids = read_tokens(request.tokens, model.config.vocab_size);
  check_writable(request.out);
  std::vector<std::string> warnings;
  apply_yarn(model.config, request.yarn, ids.size(), warnings);
  const ModelConfig& config = model.config;
  const bool with_mtp = config.has_mtp() && request.engine == "reference";
  const bool mtp = with_mtp && ids.size() > 1;  // with one token there is no row to complete
  const DType out_type = request.dtype == DType::f64 ? DType::f64 : DType::f32;

  EngineOptions options;
  options.dtype = request.dtype;
  options.chunk = request.chunk;
  options.max_tokens = ids.size();
  options.threads = request.threads;
  options.rope_angles = request.rope_angles;
  options.mtp = mtp;
  Memory needed = plan_engine_memory(request.engine, config, options);
  needed.workspace += ids.size() * config.vocab_size * size_of(out_type) * (mtp ? 2 : 1);
  if (const int64_t available = engine_free_memory(request.engine); needed.total() > available)
    throw Failure(ExitCode::environment, too_little_memory(needed, available) + " Try fewer tokens or --dtype f32.");

  const Weights weights =
      model.checkpoint.empty() ? Weights::random(config, request.seed) : Weights::load(config, model.checkpoint);
  const auto engine = make_engine(request.engine, config, weights, options);
  RowsOut logits(out_type, ids.size(), config.vocab_size);
  RowsOut mtp_logits(out_type, with_mtp ? ids.size() - 1 : 0, config.vocab_size);
  const auto forward = [&](std::span<const int32_t> tokens) {
    const Step step = {0, tokens};
    engine->forward({&step, 1}, Rows::all);
    logits.append(engine->logits());
    if (mtp) mtp_logits.append(engine->mtp_logits());
  };
  // Blocks as large as the engine's own: only one block's logits are held twice.
  const std::span<const int32_t> input = ids.input, decode = ids.decode;
  const size_t block = request.chunk > 0 ? static_cast<size_t>(request.chunk) : input.size();
  for (size_t at = 0; at < input.size(); at += block) forward(input.subspan(at, std::min(block, input.size() - at)));
  for (size_t at = 0; at < decode.size(); ++at) forward(decode.subspan(at, 1));

  std::vector<std::pair<std::string, HostTensorView>> tensors = {{"logits", logits.complete()}};
  if (with_mtp) tensors.emplace_back("mtp_logits", mtp_logits.complete());
  const std::map<std::string, std::string> metadata = {
      {"model", config.name}, {"weights", weights.label()}, {"dtype", std::string(name_of(request.dtype))}};
  try {
    write_safetensors(request.out, tensors, metadata);
  } catch (const WeightsError& e) {  // the path was good before all this: a disk that filled up, not a bad request
    throw Failure(ExitCode::environment, std::string("--out: ") + e.what());
  }
}

}  // namespace ringbench
