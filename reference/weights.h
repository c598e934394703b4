// weights.h: the model's weights as named tensors: which ones a config asks for, reading them from safetensors by
// mmap, making seeded random ones, and writing safetensors. Not how they are used: that is the engines' business.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "reference/config.h"
#include "reference/random.h"
#include "reference/tensor.h"

namespace ringbench {

// Weights that are missing, damaged or do not fit the config. Names file, tensor, expected and found.
struct WeightsError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A name out of a file as one line of a message can bear it: in quotes, escaped, and cut after 200 bytes.
std::string quoted(const std::string& name);

// How a tensor is filled when there is no checkpoint.
enum class Init {
  normal,      // zero mean, standard deviation TensorSpec::scale
  around_one,  // 1 + normal: norm weights
};

// One tensor that a config asks for.
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
  Init init = Init::normal;
  float scale = 0.f;          // of `init`
  DType dtype = DType::bf16;  // as published (f32 for expert_bias); memory planning uses it

  int64_t size() const { return element_count(shape); }
};

// All tensors of the main layers, embeddings and head, in checkpoint order; then those of the MTP layer.
// The one list that loading, random weights and parameter counts are made from. Names and shapes are those of the
// public checkpoints: matrices [out, in], stacked experts of GPT-OSS [experts, in, out].
// Scales keep the variance: 1/sqrt(fan_in) for a matrix, 1/sqrt(2 num_hidden_layers fan_in) where it writes to the
// residual stream, 1 for embeddings (tied ones are the head too: 1/sqrt(hidden_size), else every token predicts
// itself). Linear layers have no sinks, and biases only with linear_bias, whatever the softmax layers have.
std::vector<TensorSpec> expected_tensors(const ModelConfig& config);

// Parameters of the main model (without MTP). Tied embeddings count once. Cheap: no list of all experts is made.
struct ParameterCounts {
  int64_t total = 0;
  int64_t active = 0;                // what one token uses, embedding and head included
  int64_t active_non_embedding = 0;  // without word embeddings and lm_head
};
ParameterCounts count_parameters(const ModelConfig& config);

// safetensors in one folder or file, opened by mmap: a single file, or shards with an index. Tensors stay where they
// are on disk until somebody reads them.
class SafeTensors {
 public:
  // `path`: a .safetensors file, or a folder with model.safetensors or model.safetensors.index.json.
  // Every header is checked: lengths, offsets, overlaps, gaps, duplicate names, unknown types, absent shards. Throws
  // WeightsError. Values are not looked at.
  static SafeTensors open(const std::filesystem::path& path);
  // What open does with each file: the tensors of a whole file in memory, as views into it. Throws WeightsError;
  // `source` names the file in messages. (What the fuzzer calls.)
  static std::map<std::string, HostTensorView> parse_header(std::span<const std::byte> file, const std::string& source);

  // Views live as long as a copy of this object. The format does not promise alignment (write_safetensors and the
  // public writers provide it): as<T>() needs it, memcpy does not.
  bool contains(const std::string& name) const { return tensors_.contains(name); }
  const HostTensorView& at(const std::string& name) const;  // throws WeightsError naming the tensor
  const std::map<std::string, HostTensorView>& tensors() const { return tensors_; }

 private:
  struct Mapping;
  std::string source_;  // path, for messages
  std::vector<std::shared_ptr<const Mapping>> files_;
  std::map<std::string, HostTensorView> tensors_;
};

// Writes one .safetensors file (through a temporary name, so that a full disk leaves nothing half done; an existing
// device or pipe is written directly). Data in the given order, wider types first, so that every tensor is aligned.
// Throws WeightsError naming path and reason.
void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, HostTensorView>>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

// Finds a checkpoint folder: `name` itself if it is a folder, else "org/repo" in the local Hugging Face cache
// (HF_HUB_CACHE, HF_HOME/hub, XDG_CACHE_HOME/huggingface/hub, ~/.cache/huggingface/hub, whichever is set first:
// models--org--repo/snapshots/<refs/main>). Returns an empty path if there is none.
std::filesystem::path find_checkpoint(const std::string& name);

enum class Dummy { scaled, zero };

// The weights of one model: a checkpoint, or random ones made on demand.
class Weights {
 public:
  // Checks names, shapes and types against the config; throws WeightsError naming the first tensor that does not fit.
  // Tensors nobody asked for are errors too (a wrong config is likelier than a harmless extra), but for tables that
  // are computed here (slopes, rotary frequencies) and MTP layers of a model that is run without.
  // GPT-OSS experts may be stored as MXFP4: NAME_blocks [experts, out, in/32, 16] u8, two 4-bit floats each, low one
  // first, and NAME_scales [experts, out, in/32] u8, powers of two with bias 127.
  static Weights load(const ModelConfig& config, const std::filesystem::path& checkpoint);
  // Random weights from `seed`: bit-identical on every machine and thread count, each value exactly a bf16 (f32 for
  // expert_bias). A value depends on the seed, the tensor's name and the element's index alone.
  static Weights random(const ModelConfig& config, uint64_t seed, Dummy mode = Dummy::scaled);

  // Fills `out` with the tensor's elements, widened or rounded to Real (double or float). Safe to call from several
  // threads. `out` holds exactly as many elements as the tensor. Throws WeightsError if there is no such tensor, or at
  // the first element that is NaN or infinite.
  template <class Real> void read(const std::string& name, std::span<Real> out) const;
  bool contains(const std::string& name) const;

  // How the elements of a tensor come about, for engines that make random weights where they use them: element i is
  // normal(i), rounded to bf16 where the model publishes it so. Empty for a checkpoint, and for zeros.
  struct Recipe {
    RandomNormal normal;
    bool rounded_to_bf16 = false;
  };
  std::optional<Recipe> recipe(const std::string& name) const;
  bool all_zero() const { return !stored_ && mode_ == Dummy::zero; }

  const std::string& label() const { return label_; }  // "dummy:scaled", "dummy:zero", "org/repo" or the folder's name
  // 16 hex digits. Checkpoint: names, shapes, types and 64 bytes from the middle of every tensor; random: seed, mode,
  // names and shapes.
  const std::string& fingerprint() const { return fingerprint_; }

 private:
  Weights() = default;
  std::map<std::string, TensorSpec> specs_;
  std::shared_ptr<const SafeTensors> stored_;  // null: random
  uint64_t seed_ = 0;
  Dummy mode_ = Dummy::scaled;
  std::string label_, fingerprint_;
};

}  // namespace ringbench
