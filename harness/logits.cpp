// logits.cpp: see logits.h.
#include "harness/logits.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <map>
#include <utility>
#include <vector>

#include "harness/engines.h"
#include "harness/environment.h"
#include "harness/plan.h"
#include "harness/token_file.h"
#include "reference/weights.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;

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
  const TokenIds ids = read_token_ids(request.tokens, model.config.vocab_size);
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
