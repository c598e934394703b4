#include "harness/workload.h"

#include <algorithm>
#include <limits>

#include "reference/random.h"
#include "reference/sha256.h"

namespace ringbench {
namespace {

HostTensor unit_normal(std::vector<int64_t> shape, uint64_t key) {
  HostTensor tensor(DType::f32, std::move(shape));
  const RandomNormal normal = RandomNormal::around_zero(key, 1.f);
  uint64_t index = 0;
  for (float& x : tensor.as<float>()) x = normal(index++);
  return tensor;
}

bool is_linear(const Engine& engine, int layer) {
  return engine.config().layer_types[static_cast<size_t>(layer)] == LayerType::linear_attention;
}

}  // namespace

std::vector<int32_t> random_prompt(const PromptOf& prompt, int64_t position, int64_t tokens) {
  const uint64_t key =
      random_key(prompt.seed, "input") ^ mix64(static_cast<uint64_t>(prompt.repetition * 65536 + prompt.sequence));
  const auto vocab = static_cast<uint64_t>(prompt.vocab_size);
  std::vector<int32_t> ids(static_cast<size_t>(tokens));
  for (size_t t = 0; t < ids.size(); ++t)
    ids[t] = static_cast<int32_t>(random_bits(key, static_cast<uint64_t>(position) + t) % vocab);
  return ids;
}

Workload::Workload(Engine& engine, int64_t batch, int64_t chunk, uint64_t seed, Clock& clock)
    : engine_(engine),
      batch_(batch),
      chunk_(chunk > 0 ? chunk : std::numeric_limits<int64_t>::max()),
      seed_(seed),
      clock_(clock),
      next_(static_cast<size_t>(batch), 0) {}

void Workload::reset() {
  for (int slot = 0; slot < batch_; ++slot) engine_.reset(slot);
}

std::vector<int32_t> Workload::input(int64_t sequence, int64_t position, int64_t tokens) const {
  return random_prompt({seed_, repetition_, sequence, engine_.config().vocab_size}, position, tokens);
}

Elapsed Workload::prefill(int64_t tokens, const std::function<void(int64_t)>& done) {
  Elapsed elapsed;
  for (int64_t taken = 0; taken < tokens;) {
    if (interrupted()) throw Interrupted();
    const int64_t count = std::min(chunk_, tokens - taken);
    std::vector<std::vector<int32_t>> ids;
    std::vector<Step> steps;
    for (int slot = 0; slot < batch_; ++slot) ids.push_back(input(slot, engine_.position(slot), count));
    for (int slot = 0; slot < batch_; ++slot) steps.push_back({slot, ids[static_cast<size_t>(slot)]});
    taken += count;
    const double wall = clock_.wall_s(), cpu = clock_.cpu_s();
    engine_.forward(steps, taken == tokens ? Rows::last : Rows::none);
    if (taken == tokens) engine_.argmax(next_);
    elapsed += {clock_.wall_s() - wall, clock_.cpu_s() - cpu};
    if (done) done(taken);
  }
  return elapsed;
}

std::vector<double> Workload::decode(int64_t count) {
  std::vector<double> seconds;
  std::vector<Step> steps;
  for (int slot = 0; slot < batch_; ++slot) steps.push_back({slot, {&next_[static_cast<size_t>(slot)], 1}});
  for (int64_t i = 0; i < count; ++i) {
    if (interrupted()) throw Interrupted();
    const double begin = clock_.wall_s();
    engine_.forward(steps, Rows::last);
    engine_.argmax(next_);
    seconds.push_back(clock_.wall_s() - begin);
  }
  return seconds;
}

void Workload::fill_synthetic(int64_t depth) {
  const ModelConfig& config = engine_.config();
  const uint64_t key = random_key(seed_, "synthetic state");
  LayerState softmax, linear;  // the same for every layer and sequence: times do not depend on the values
  softmax.k = unit_normal({depth, config.num_key_value_heads, config.head_dim}, mix64(key + 1));
  softmax.v = unit_normal({depth, config.num_key_value_heads, config.head_dim}, mix64(key + 2));
  linear.kv = unit_normal({config.num_attention_heads, config.head_dim, config.head_dim}, mix64(key + 3));
  for (int slot = 0; slot < batch_; ++slot)
    for (int layer = 0; layer < config.num_hidden_layers; ++layer)
      engine_.import_state(slot, layer, is_linear(engine_, layer) ? linear : softmax, depth);
}

void Workload::seek(int64_t position) {
  for (int slot = 0; slot < batch_; ++slot) engine_.seek(slot, position);
}

void Workload::save_states() {
  saved_position_ = position();
  saved_next_ = next_;
  saved_.clear();
  saved_.resize(static_cast<size_t>(batch_));
  for (int slot = 0; slot < batch_; ++slot)
    for (int layer = 0; layer < engine_.config().num_hidden_layers; ++layer)
      if (is_linear(engine_, layer)) saved_[static_cast<size_t>(slot)].push_back(engine_.export_state(slot, layer));
}

void Workload::restore_states() {
  seek(saved_position_);
  next_ = saved_next_;
  for (int slot = 0; slot < batch_; ++slot) {
    size_t index = 0;
    for (int layer = 0; layer < engine_.config().num_hidden_layers; ++layer)
      if (is_linear(engine_, layer))
        engine_.import_state(slot, layer, saved_[static_cast<size_t>(slot)][index++], saved_position_);
  }
}

std::string Workload::logits_hash() {
  const HostTensorView logits = engine_.logits();
  return sha256_hex({reinterpret_cast<const char*>(logits.data), static_cast<size_t>(logits.bytes())}).substr(0, 16);
}

}  // namespace ringbench
