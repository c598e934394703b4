// cuda_engine.cpp: the decoder in the order of reference/model.h, a kernel a box. What is specific to a GPU is around
// it: all memory planned and allocated once, decode steps replayed as a graph, tokens chosen on the device.
#include "cuda/cuda_engine.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numbers>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cuda/device_weights.h"
#include "cuda/engine_memory.h"
#include "cuda/gpu.h"
#include "cuda/kernels.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

#if defined(RINGBENCH_GPU)
constexpr std::string_view kName = "cuda";
#else
constexpr std::string_view kName = "emulated";
#endif

// Turns per position of each rotated pair, times 2^64: theta^(-2j/D) / 2 pi, stretched as YaRN (arXiv:2309.00071)
// says: not at all where a pair turns more than beta_fast times within the original window, by `factor` where less
// than beta_slow times, a linear ramp between.
std::vector<uint64_t> rope_turns(const ModelConfig& config) {
  const double D = config.rotary_dim, base = std::log(config.rope_theta);
  double low = 0, high = 1;
  const auto& yarn = config.rope_scaling;
  if (yarn) {
    const double window = static_cast<double>(yarn->original_max_position_embeddings);
    low = D / 2 * std::log(window / (yarn->beta_fast * 2 * std::numbers::pi)) / base;
    high = D / 2 * std::log(window / (yarn->beta_slow * 2 * std::numbers::pi)) / base;
    if (yarn->truncate) low = std::floor(low), high = std::ceil(high);
    low = std::max(0.0, low), high = std::min(D - 1, high);
    if (high == low) high = low + 0.001;
  }
  std::vector<uint64_t> turns;
  for (int j = 0; j < config.rotary_dim / 2; ++j) {
    double radians = std::exp(-2 * j / D * base);
    if (yarn) {
      const double stretched = std::min(1.0, std::max(0.0, (j - low) / (high - low)));
      radians = stretched * radians / yarn->factor + (1 - stretched) * radians;
    }
    turns.push_back(static_cast<uint64_t>(std::ldexp(radians / (2 * std::numbers::pi), 64)));
  }
  return turns;
}

// Calls visit(Args) for every operator, with arguments of no particular shape.
template <class Real> void for_each_operator(const auto& visit) {
  const auto all = [&](auto... args) { (visit(args), ...); };
  all(GatherArgs<Real>{}, RmsNormArgs<Real>{}, QkNormRopeArgs<Real>{}, GroupNormGateArgs<Real>{},
      LinearPrefillArgs<Real>{}, LinearDecodeArgs<Real>{}, SoftmaxPrefillArgs<Real>{}, SoftmaxDecodeArgs<Real>{},
      GemmArgs<Real>{}, GemmArgs<Real, float>{}, SwigluArgs<Real>{}, RouteArgs{}, PermuteArgs{},
      GroupedGemmArgs<Real>{}, CombineArgs<Real>{}, ArgmaxArgs{}, SampleArgs{}, AdvanceArgs{}, RandomFillArgs<Real>{});
}

// operator -> names of its variants, best first.
std::map<std::string, std::vector<std::string>, std::less<>> variants() {
  std::map<std::string, std::vector<std::string>, std::less<>> names;
  const auto add = [&]<class Args>(const Args&) {
    std::vector<std::string>& known = names[std::string(Args::op)];
    for (const Kernel<Args>& kernel : kernels<Args>())
      if (std::find(known.begin(), known.end(), kernel.name) == known.end()) known.emplace_back(kernel.name);
  };
  for_each_operator<bf16>(add);
  return names;
}

// "operator=variant" each. Throws std::invalid_argument naming what there is.
std::map<std::string, std::string, std::less<>> parse_forced(const std::vector<std::string>& texts) {
  const auto known = variants();
  const auto joined = [](const auto& names, const auto& text_of) {
    std::string all;
    for (const auto& name : names) all += (all.empty() ? "" : ", ") + text_of(name);
    return all;
  };
  std::map<std::string, std::string, std::less<>> forced;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    const auto found = known.find(text.substr(0, equals));
    if (equals == std::string::npos || found == known.end())
      throw std::invalid_argument("'" + text + "' is not OPERATOR=VARIANT; operators: " +
                                  joined(known, [](const auto& entry) { return entry.first; }));
    const std::string variant = text.substr(equals + 1);
    if (std::find(found->second.begin(), found->second.end(), variant) == found->second.end())
      throw std::invalid_argument("no variant '" + variant + "' of " + found->first + "; there are: " +
                                  joined(found->second, [](const std::string& name) { return name; }));
    forced[found->first] = variant;
  }
  return forced;
}

template <class Real> class CudaEngine final : public Engine {
 public:
  CudaEngine(const ModelConfig& config, const Weights& weights, const EngineOptions& options)
      : config_(config),
        options_(options),
        device_(current_device()),
        stream_(make_stream()),
        weights_(make_device_weights<Real>(config, &weights, stream_)),
        work_(config, options, true),
        caches_(make_caches<Real>(config, options, true, memory_)),
        position_(static_cast<size_t>(options.slots)),
        reached_(static_cast<size_t>(options.slots)),
        host_tokens_(work_.rows),
        host_pieces_(options.slots),
        host_chosen_(work_.chosen.size()),
        forced_(parse_forced(options.kernels)) {
    memory_.weights = weights_.bytes;
    memory_.workspace = work_.bytes + grow_scratch(planned_scratch<Real>(config, options, device_));
    const std::vector<uint64_t> turns = rope_turns(config);
    copy_to_device(work_.turns.data(), turns.data(), static_cast<int64_t>(turns.size()), stream_);
    set_zero(work_.expert_load.data(), work_.expert_load.size(), stream_);
    for (int slot = 0; slot < options.slots; ++slot) CudaEngine::reset(slot);
    synchronize(stream_);
  }

  std::string_view name() const override { return kName; }
  const ModelConfig& config() const override { return config_; }
  int64_t position(int slot) const override { return position_.at(static_cast<size_t>(slot)); }

  Precision precision() const override {
    return mixed_precision(std::is_same_v<Real, bf16> ? Rounding::bf16 : Rounding::f32);
  }

  // --- Forward ---

  void forward(std::span<const Step> steps, Rows rows) override {
    check_steps(*this, steps, options_.slots, options_.max_tokens);
    logits_rows_ = 0;
    logits_.clear();
    on_device_ = chosen_on_device_ = false;
    std::vector<int64_t> first_row(steps.size());
    for (size_t s = 0; s < steps.size(); ++s) {
      first_row[s] = logits_rows_;
      logits_rows_ += rows == Rows::none ? 0 : rows == Rows::last ? 1 : static_cast<int64_t>(steps[s].tokens.size());
    }
    if (rows == Rows::all) logits_.resize(static_cast<size_t>(logits_rows_ * config_.vocab_size));

    // Passes of at most one chunk of rows, in order. Where a sequence is cut does not depend on its neighbours, and
    // single tokens (decode kernels) never share a pass with longer pieces.
    const int64_t chunk = options_.chunk > 0 ? options_.chunk : options_.max_tokens;
    std::vector<size_t> done(steps.size(), 0);
    for (size_t s = 0; s < steps.size();) {
      std::vector<Part> parts;
      int64_t total = 0;
      for (; s < steps.size(); ++s) {
        const int64_t left = static_cast<int64_t>(steps[s].tokens.size() - done[s]), size = std::min(chunk, left);
        if (!parts.empty()) {
          const bool one = size == 1, ones = parts.back().tokens.size() == 1;
          if (one != ones || (!one && total + size > chunk)) break;
        }
        const bool last = size == left;
        parts.push_back({steps[s].slot, steps[s].tokens.subspan(done[s], static_cast<size_t>(size)), last,
                         first_row[s] + (rows == Rows::all ? static_cast<int64_t>(done[s]) : 0)});
        total += size;
        done[s] += static_cast<size_t>(size);
        if (!last) break;
      }
      const bool whole = parts.size() == steps.size() && logits_rows_ == static_cast<int64_t>(steps.size());
      run_pass(parts, total, rows, whole);
    }
  }

  HostTensorView logits() override {
    if (on_device_) {
      logits_.resize(static_cast<size_t>(logits_rows_ * config_.vocab_size));
      copy_to_host(logits_.data(), work_.logits.data(), static_cast<int64_t>(logits_.size()), stream_);
      synchronize(stream_);
      on_device_ = false;
    }
    return {DType::f32, {logits_rows_, config_.vocab_size}, logits_.data()};
  }
  HostTensorView mtp_logits() override { return {DType::f32, {0, config_.vocab_size}, nullptr}; }

  void argmax(std::span<int32_t> out) override {
    if (static_cast<int64_t>(out.size()) != logits_rows_)
      throw std::invalid_argument("argmax: one place for each logits row");
    if (chosen_on_device_) {
      copy_to_host(host_chosen_.data(), work_.chosen.data(), logits_rows_, stream_);
      synchronize(stream_);
      std::copy_n(host_chosen_.data(), out.size(), out.begin());
      return;
    }
    const auto V = static_cast<size_t>(config_.vocab_size);
    for (size_t r = 0; r < out.size(); ++r) {
      const auto row = std::span<const float>(logits_).subspan(r * V, V);
      out[r] = static_cast<int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
    }
  }

  // --- Sequences ---

  void reset(int slot) override {
    position_.at(static_cast<size_t>(slot)) = reached_.at(static_cast<size_t>(slot)) = 0;
    for (LayerCache<Real>& cache : caches_) {
      const int64_t size = cache.state.size() / options_.slots;
      if (size > 0) set_zero(cache.state.data() + slot * size, size, stream_);
    }
  }

  void seek(int slot, int64_t position) override {
    const auto s = static_cast<size_t>(slot);
    if (position < 0 || position > reached_.at(s))
      throw std::out_of_range("seek: position " + std::to_string(position) + " was not reached (0.." +
                              std::to_string(reached_.at(s)) + ")");
    position_[s] = position;
  }

  LayerState export_state(int slot, int layer) const override {
    const LayerCache<Real>& cache = caches_.at(static_cast<size_t>(layer));
    const int64_t d = config_.head_dim, kv = config_.num_key_value_heads, T = position(slot);
    LayerState state;
    if (cache.state.size() > 0) {
      const int64_t size = cache.state.size() / options_.slots;
      state.kv = HostTensor(DType::f32, {config_.num_attention_heads, d, d});
      copy_to_host(state.kv.template as<float>().data(), cache.state.data() + slot * size, size, stream_);
      synchronize(stream_);
      return state;
    }
    std::vector<Real> head(static_cast<size_t>(T * d));
    for (const auto& [tensor, buffer] : {std::pair(&state.k, &cache.k), std::pair(&state.v, &cache.v)}) {
      *tensor = HostTensor(dtype_of<Real>(), {T, kv, d});
      Real* out = tensor->template as<Real>().data();
      for (int64_t h = 0; h < kv; ++h) {
        copy_to_host(head.data(), buffer->data() + cache_offset(slot, h, 0), T * d, stream_);
        synchronize(stream_);
        for (int64_t t = 0; t < T; ++t) std::copy_n(head.data() + t * d, d, out + (t * kv + h) * d);
      }
    }
    return state;
  }

  void import_state(int slot, int layer, const LayerState& state, int64_t position) override {
    LayerCache<Real>& cache = caches_.at(static_cast<size_t>(layer));
    const int64_t d = config_.head_dim, kv = config_.num_key_value_heads;
    if (position < 0 || position > options_.max_tokens)
      throw std::length_error("import_state: position " + std::to_string(position) + " is beyond max_tokens " +
                              std::to_string(options_.max_tokens));
    if (cache.state.size() > 0) {
      require_shape(state.kv, {config_.num_attention_heads, d, d}, "the linear state");
      const std::vector<float> values = converted<float>(state.kv);
      const int64_t size = static_cast<int64_t>(values.size());
      copy_to_device(cache.state.data() + slot * size, values.data(), size, stream_);
      synchronize(stream_);
    } else {
      std::vector<Real> head(static_cast<size_t>(position * d));
      for (const auto& [tensor, buffer, what] :
           {std::tuple(&state.k, &cache.k, "k"), std::tuple(&state.v, &cache.v, "v")}) {
        require_shape(*tensor, {position, kv, d}, what);
        const std::vector<Real> values = converted<Real>(*tensor);
        for (int64_t h = 0; h < kv; ++h) {
          for (int64_t t = 0; t < position; ++t) std::copy_n(values.data() + (t * kv + h) * d, d, head.data() + t * d);
          copy_to_device(buffer->data() + cache_offset(slot, h, 0), head.data(), position * d, stream_);
          synchronize(stream_);
        }
      }
    }
    position_.at(static_cast<size_t>(slot)) = reached_.at(static_cast<size_t>(slot)) = position;
  }

  Report report() override {
    Report report;
    report.memory = memory_;
    report.kernels.assign(launched_.begin(), launched_.end());
    launched_.clear();
    if (work_.expert_load.size() > 0) {
      std::vector<int64_t> load(static_cast<size_t>(work_.expert_load.size()));
      copy_to_host(load.data(), work_.expert_load.data(), work_.expert_load.size(), stream_);
      set_zero(work_.expert_load.data(), work_.expert_load.size(), stream_);
      synchronize(stream_);
      for (int i = 0; i < config_.num_hidden_layers; ++i) {
        const auto begin = load.begin() + static_cast<int64_t>(i) * config_.num_experts;
        std::vector<int64_t> layer(begin, begin + config_.num_experts);
        if (config_.is_moe(i) && std::any_of(layer.begin(), layer.end(), [](int64_t n) { return n > 0; }))
          report.expert_tokens[i] = std::move(layer);
      }
    }
    return report;
  }

 private:
  // What one sequence takes part in a pass with.
  struct Part {
    int slot;
    std::span<const int32_t> tokens;
    bool last;           // of this forward
    int64_t logits_row;  // of its first wanted row
  };

  // --- One pass ---

  void run_pass(const std::vector<Part>& parts, int64_t rows, Rows wanted, bool whole) {
    const bool decode = parts.front().tokens.size() == 1;
    Batch batch{.pieces = work_.pieces.data(),
                .piece_of_row = work_.piece_of_row.data(),
                .count = static_cast<int>(parts.size()),
                .rows = rows,
                .longest = 1,
                .deepest = 0};
    std::vector<Piece> pieces;
    std::vector<int32_t> owner, last_rows;
    int32_t* token = host_tokens_.data();
    synchronize_uploads();
    for (const Part& part : parts) {
      const auto size = static_cast<int64_t>(part.tokens.size()), row = static_cast<int64_t>(owner.size());
      const int64_t position = position_[static_cast<size_t>(part.slot)];
      owner.insert(owner.end(), part.tokens.size(), static_cast<int32_t>(pieces.size()));
      pieces.push_back({part.slot, static_cast<int32_t>(size), row, position});
      if (part.last) last_rows.push_back(static_cast<int32_t>(row + size - 1));
      token = std::copy(part.tokens.begin(), part.tokens.end(), token);
      batch.longest = std::max(batch.longest, size);
      batch.deepest = std::max(batch.deepest, position + size);
    }
    if (decode) batch.deepest = options_.max_tokens;  // recorded or not, the same splits: the same bits
    copy_to_device(work_.tokens.data(), host_tokens_.data(), rows, stream_);
    place(pieces, owner);
    uploads_.record(stream_);
    uploads_pending_ = true;

    // A decode step whose rows are all wanted once: everything it needs is on the device, so it is recorded the second
    // time it comes (the first run sizes scratch memory and times library kernels) and replayed from then on.
    if (decode && whole && wanted == Rows::last && !hook) {
      decode_step(batch);
      for (Piece& piece : device_pieces_) piece.position += 1;  // as `advance` has done
      on_device_ = chosen_on_device_ = true;
    } else {
      layers(batch, decode);
      head(parts, batch, last_rows, wanted);
    }
    for (const Part& part : parts) {
      int64_t& position = position_[static_cast<size_t>(part.slot)];
      position += static_cast<int64_t>(part.tokens.size());
      reached_[static_cast<size_t>(part.slot)] = std::max(reached_[static_cast<size_t>(part.slot)], position);
    }
  }

  // Copies pieces to the device unless they are there already (after a decode step they are).
  void place(const std::vector<Piece>& pieces, const std::vector<int32_t>& owner) {
    const auto same = [](const Piece& a, const Piece& b) {
      return a.slot == b.slot && a.rows == b.rows && a.row == b.row && a.position == b.position;
    };
    if (!std::equal(pieces.begin(), pieces.end(), device_pieces_.begin(), device_pieces_.end(), same)) {
      std::copy(pieces.begin(), pieces.end(), host_pieces_.data());
      copy_to_device(work_.pieces.data(), host_pieces_.data(), static_cast<int64_t>(pieces.size()), stream_);
      device_pieces_ = pieces;
    }
    if (owner != device_owner_) {
      copy_to_device(work_.piece_of_row.data(), owner.data(), static_cast<int64_t>(owner.size()), stream_);
      synchronize(stream_);  // `owner` goes away
      device_owner_ = owner;
    }
  }

  // Pinned blocks are about to be rewritten: what was sent from them must have arrived.
  void synchronize_uploads() {
    if (uploads_pending_) uploads_.wait();
    uploads_pending_ = false;
  }

  void decode_step(const Batch& batch) {
    const auto step = [this, batch] {
      layers(batch, true);
      final_norm(batch.rows);
      lm_head(work_.normed.data(), batch.rows);
      run(ArgmaxArgs{.out = work_.chosen.data(),
                     .logits = work_.logits.data(),
                     .rows = batch.rows,
                     .vocab_size = config_.vocab_size});
      run(AdvanceArgs{.pieces = work_.pieces.data(), .count = batch.count});
    };
    Decode& decode = decode_[batch.count];
    if (decode.runs++ == 0) {
      std::set<std::string> before = std::exchange(launched_, {});
      step();
      decode.launched = launched_;
      launched_.merge(before);
    } else {
      if (!decode.recorded) decode.graph = Graph::capture(stream_, step), decode.recorded = true;
      decode.graph.launch(stream_);
      launched_.insert(decode.launched.begin(), decode.launched.end());
    }
  }

  // h = h + attention(norm(h));  h = h + mlp(norm(h)), every layer. A block's output is added to the stream by the norm
  // of the next one; that of the last layer by final_norm().
  void layers(const Batch& batch, bool decode) {
    run(GatherArgs<Real>{.out = work_.stream.data(),
                         .table = weights_.embeddings.data(),
                         .index = work_.tokens.data(),
                         .rows = batch.rows,
                         .width = config_.hidden_size});
    emit(-1, "hidden.0", work_.stream, batch.rows, config_.hidden_size);
    for (int i = 0; i < config_.num_hidden_layers; ++i) {
      const DeviceLayer<Real>& w = weights_.layers[static_cast<size_t>(i)];
      norm(w.input_norm, i > 0, batch.rows);
      if (i > 0) emit(-1, "hidden." + std::to_string(i), work_.stream, batch.rows, config_.hidden_size);
      emit(i, "attn_in", work_.normed, batch.rows, config_.hidden_size);
      attention(i, w, batch, decode);
      emit(i, "attn_out", work_.block, batch.rows, config_.hidden_size);
      norm(w.post_attention_norm, true, batch.rows);
      emit(i, "mlp_in", work_.normed, batch.rows, config_.hidden_size);
      if (config_.is_moe(i))
        moe(i, w, batch);
      else
        mlp(w.dense, batch.rows, work_.block.data());
      emit(i, "mlp_out", work_.block, batch.rows, config_.hidden_size);
    }
  }

  // normed = norm(stream), after stream += block where there is one.
  void norm(const DeviceBuffer<float>& weight, bool add_block, int64_t rows) {
    run(RmsNormArgs<Real>{.out = work_.normed.data(),
                          .residual = work_.stream.data(),
                          .x = add_block ? work_.block.data() : nullptr,
                          .weight = weight.data(),
                          .rows = rows,
                          .width = config_.hidden_size,
                          .eps = static_cast<float>(config_.rms_norm_eps)});
  }
  void final_norm(int64_t rows) {
    norm(weights_.final_norm, true, rows);
    emit(-1, "hidden." + std::to_string(config_.num_hidden_layers), work_.stream, rows, config_.hidden_size);
    emit(-1, "final_norm", work_.normed, rows, config_.hidden_size);
  }

  // block = o_proj( attention(normed) )
  void attention(int i, const DeviceLayer<Real>& w, const Batch& batch, bool decode) {
    const LayerType type = config_.layer_types[static_cast<size_t>(i)];
    const bool linear = type == LayerType::linear_attention;
    const int heads = config_.num_attention_heads, kv_heads = static_cast<int>(config_.kv_heads(type)),
              d = config_.head_dim;
    const int64_t width = static_cast<int64_t>(heads) * d, rows = batch.rows, stride = w.qkv_rows;
    LayerCache<Real>& cache = caches_[static_cast<size_t>(i)];
    gemm(work_.qkv.data(), work_.normed.data(), w.qkv, w.qkv_bias, rows, stride, config_.hidden_size);
    run(QkNormRopeArgs<Real>{
        .qkv = work_.qkv.data(),
        .k_cache = linear ? nullptr : cache.k.data(),
        .v_cache = linear ? nullptr : cache.v.data(),
        .q_norm = w.q_norm.data(),
        .k_norm = w.k_norm.data(),
        .turns = work_.turns.data(),
        .attention_factor = config_.rope_scaling ? static_cast<float>(config_.rope_scaling->attention_factor) : 1.f,
        .eps = static_cast<float>(config_.rms_norm_eps),
        .silu = linear && config_.linear_silu,
        .heads = heads,
        .kv_heads = kv_heads,
        .head_dim = d,
        .rotary_dim = !linear || config_.linear_rope ? config_.rotary_dim : 0,
        .stride = stride,
        .max_tokens = options_.max_tokens,
        .batch = batch});
    if (hook) emit_qkv(i, linear, heads, kv_heads, batch, stride);

    const float scale = 1.f / std::sqrt(static_cast<float>(d));
    const Real* attended = work_.context.data();
    if (linear) {
      const LinearAttentionArgs<Real> args{.o = work_.context.data(),
                                           .state = cache.state.data(),
                                           .q = work_.qkv.data(),
                                           .k = work_.qkv.data() + width,
                                           .v = work_.qkv.data() + width + static_cast<int64_t>(kv_heads) * d,
                                           .log_decay = w.log_decay.data(),
                                           .scale = scale,
                                           .heads = heads,
                                           .kv_heads = kv_heads,
                                           .head_dim = d,
                                           .stride = stride,
                                           .batch = batch};
      if (decode)
        run(LinearDecodeArgs<Real>{args});
      else
        run(LinearPrefillArgs<Real>{args});
      emit(i, "attn_ctx", work_.context, rows, width);
      // dense( group_norm(o) * sigmoid(g_proj x) ): norm first, then gate
      const Real* gate = work_.qkv.data() + width + 2 * static_cast<int64_t>(kv_heads) * d;
      int64_t gate_stride = stride;
      if (config_.use_low_rank) {
        gemm(work_.gate_low.data(), work_.normed.data(), w.gate_low, {}, rows, d, config_.hidden_size);
        gemm(work_.gate.data(), work_.gate_low.data(), w.gate_high, {}, rows, width, d);
        gate = work_.gate.data();
        gate_stride = width;
      }
      run(GroupNormGateArgs<Real>{.out = work_.gated.data(),
                                  .o = work_.context.data(),
                                  .gate = gate,
                                  .weight = w.gate_norm.data(),
                                  .rows = rows,
                                  .width = width,
                                  .gate_stride = gate_stride,
                                  .groups = config_.group_norm_size,
                                  .eps = static_cast<float>(config_.rms_norm_eps)});
      emit(i, "dense_in", work_.gated, rows, width);
      attended = work_.gated.data();
    } else {
      const SoftmaxAttentionArgs<Real> args{.o = work_.context.data(),
                                            .q = work_.qkv.data(),
                                            .k_cache = cache.k.data(),
                                            .v_cache = cache.v.data(),
                                            .sinks = w.sinks.data(),
                                            .window = type == LayerType::sliding_attention ? config_.sliding_window : 0,
                                            .scale = scale,
                                            .heads = heads,
                                            .kv_heads = kv_heads,
                                            .head_dim = d,
                                            .slots = options_.slots,
                                            .stride = stride,
                                            .max_tokens = options_.max_tokens,
                                            .batch = batch};
      if (decode)
        run(SoftmaxDecodeArgs<Real>{args});
      else
        run(SoftmaxPrefillArgs<Real>{args});
      emit(i, "attn_ctx", work_.context, rows, width);
    }
    gemm(work_.block.data(), attended, w.o_proj, w.o_bias, rows, config_.hidden_size, width);
  }

  // out = down( swiglu(gate_up normed) ): dense MLPs and shared experts. out [rows, H].
  void mlp(const DeviceMlp<Real>& w, int64_t rows, Real* out) {
    gemm(work_.gate_up.data(), work_.normed.data(), w.gate_up, {}, rows, 2 * w.width, config_.hidden_size);
    run(SwigluArgs<Real>{.out = work_.product.data(),
                         .gate_up = work_.gate_up.data(),
                         .rows = rows,
                         .width = w.width,
                         .limit = static_cast<float>(config_.swiglu_limit),
                         .alpha = static_cast<float>(config_.swiglu_alpha)});
    gemm(out, work_.product.data(), w.down, {}, rows, config_.hidden_size, w.width);
  }

  // block = sum over chosen experts + shared expert
  void moe(int i, const DeviceLayer<Real>& w, const Batch& batch) {
    const int E = config_.num_experts, k = config_.num_experts_per_tok;
    const int64_t rows = batch.rows, pairs = rows * k, H = config_.hidden_size;
    run(GemmArgs<Real, float>{.out = work_.router_logits.data(),
                              .x = work_.normed.data(),
                              .w = w.router.data(),
                              .bias = w.router_bias.data(),
                              .rows = rows,
                              .columns = E,
                              .inner = H,
                              .x_stride = H});
    run(RouteArgs{.experts = work_.experts.data(),
                  .weights = work_.expert_weights.data(),
                  .logits = work_.router_logits.data(),
                  .expert_bias = w.expert_bias.data(),
                  .router = config_.router,
                  .num_experts = E,
                  .k = k,
                  .n_group = config_.n_group,
                  .topk_group = config_.topk_group,
                  .norm_topk_prob = config_.norm_topk_prob,
                  .routed_scaling_factor = static_cast<float>(config_.routed_scaling_factor),
                  .uniform = options_.routing == Routing::uniform,
                  .batch = batch});
    run(PermuteArgs{.offsets = work_.offsets.data(),
                    .pair_of_row = work_.pair_of_row.data(),
                    .row_of_pair = work_.row_of_pair.data(),
                    .load = work_.expert_load.data() + static_cast<int64_t>(i) * E,
                    .experts = work_.experts.data(),
                    .pairs = pairs,
                    .num_experts = E});
    emit(i, "router_logits", work_.router_logits, rows, E);
    emit(i, "topk_ids", work_.experts, rows, k);
    emit(i, "topk_weights", work_.expert_weights, rows, k);

    GroupedGemmArgs<Real> gate_up{.out = work_.expert_product.data(),
                                  .x = work_.normed.data(),
                                  .pair_of_row = work_.pair_of_row.data(),
                                  .k = k,
                                  .w = w.experts.gate_up.data(),
                                  .bias = w.experts.gate_up_bias.data(),
                                  .offsets = work_.offsets.data(),
                                  .pairs = pairs,
                                  .columns = w.experts.width,
                                  .inner = H,
                                  .num_experts = E,
                                  .swiglu = true,
                                  .swiglu_limit = static_cast<float>(config_.swiglu_limit),
                                  .swiglu_alpha = static_cast<float>(config_.swiglu_alpha)};
    run(gate_up);
    run(GroupedGemmArgs<Real>{.out = work_.expert_out.data(),
                              .x = work_.expert_product.data(),
                              .w = w.experts.down.data(),
                              .bias = w.experts.down_bias.data(),
                              .offsets = work_.offsets.data(),
                              .pairs = pairs,
                              .columns = H,
                              .inner = w.experts.width,
                              .num_experts = E});
    const bool shared = w.shared.width > 0;
    if (shared) mlp(w.shared, rows, work_.shared.data());
    run(CombineArgs<Real>{.out = work_.block.data(),
                          .each = work_.expert_out.data(),
                          .shared = shared ? work_.shared.data() : nullptr,
                          .row_of_pair = work_.row_of_pair.data(),
                          .weights = work_.expert_weights.data(),
                          .rows = rows,
                          .width = H,
                          .k = k});
  }

  // Logits of the rows that are wanted, into work_.logits and, where they are all rows, on to the host.
  void head(const std::vector<Part>& parts, const Batch& batch, const std::vector<int32_t>& last_rows, Rows wanted) {
    const bool some = wanted == Rows::all || (wanted == Rows::last && !last_rows.empty());
    if (some || hook) final_norm(batch.rows);
    if (!some) return;
    const int64_t H = config_.hidden_size, V = config_.vocab_size;
    if (wanted == Rows::last) {
      const auto count = static_cast<int64_t>(last_rows.size());
      copy_to_device(work_.wanted.data(), last_rows.data(), count, stream_);
      synchronize(stream_);  // `last_rows` goes away
      run(GatherArgs<Real>{.out = work_.block.data(),
                           .table = work_.normed.data(),
                           .index = work_.wanted.data(),
                           .rows = count,
                           .width = H});
      lm_head(work_.block.data(), count);
      if (count == logits_rows_) {  // else rows come from several passes: collected on the host
        run(ArgmaxArgs{.out = work_.chosen.data(), .logits = work_.logits.data(), .rows = count, .vocab_size = V});
        on_device_ = chosen_on_device_ = true;
        return;
      }
      logits_.resize(static_cast<size_t>(logits_rows_ * V));
      int64_t taken = 0;
      for (const Part& part : parts)
        if (part.last)
          copy_to_host(logits_.data() + part.logits_row * V, work_.logits.data() + taken++ * V, V, stream_);
      synchronize(stream_);
      return;
    }
    const int64_t block = work_.logits.size() / V;
    int64_t row = 0;
    for (const Part& part : parts) {
      const auto size = static_cast<int64_t>(part.tokens.size());
      for (int64_t begin = 0; begin < size; begin += block) {
        const int64_t count = std::min(block, size - begin);
        lm_head(work_.normed.data() + (row + begin) * H, count);
        copy_to_host(logits_.data() + (part.logits_row + begin) * V, work_.logits.data(), count * V, stream_);
      }
      row += size;
    }
    synchronize(stream_);
  }

  // x [rows, H]; logits [rows, vocab_size], float.
  void lm_head(const Real* x, int64_t rows) {
    const DeviceBuffer<Real>& head = weights_.lm_head.size() > 0 ? weights_.lm_head : weights_.embeddings;
    run(GemmArgs<Real, float>{.out = work_.logits.data(),
                              .x = x,
                              .w = head.data(),
                              .bias = nullptr,
                              .rows = rows,
                              .columns = config_.vocab_size,
                              .inner = config_.hidden_size,
                              .x_stride = config_.hidden_size});
  }

  void gemm(Real* out, const Real* x, const DeviceBuffer<Real>& w, const DeviceBuffer<float>& bias, int64_t rows,
            int64_t columns, int64_t inner) {
    run(GemmArgs<Real>{.out = out,
                       .x = x,
                       .w = w.data(),
                       .bias = bias.data(),
                       .rows = rows,
                       .columns = columns,
                       .inner = inner,
                       .x_stride = inner});
  }

  // Chooses a variant, gives it its scratch memory, remembers its name, runs it.
  template <class Args> void run(Args args) {
    const auto forced = forced_.find(Args::op);
    const Kernel<Args>& kernel = choose(args, device_, forced == forced_.end() ? "" : forced->second);
    if constexpr (requires { args.workspace; }) {
      if (kernel.workspace) {
        grow_scratch(kernel.workspace(args, device_));
        args.workspace = scratch_.data();
      }
    }
    kernel.run(args, stream_);
    launched_.insert(std::string(Args::op) + "=" + std::string(kernel.name));
  }

  // --- Hooks ---

  template <class T>
  void emit(int layer, std::string_view name, const DeviceBuffer<T>& buffer, int64_t rows, int64_t width) const {
    if (!hook) return;
    HostTensor values(dtype_of<T>(), {rows, width});
    copy_to_host(values.template as<T>().data(), buffer.data(), rows * width, stream_);
    synchronize(stream_);
    hook(layer, name, values);
  }

  // q from the projection; k and v from there too or, of softmax layers, as they are in the cache.
  void emit_qkv(int layer, bool linear, int heads, int kv_heads, const Batch& batch, int64_t stride) const {
    const int64_t rows = batch.rows, d = config_.head_dim, kv_width = kv_heads * d, width = heads * d;
    std::vector<Real> all(static_cast<size_t>(rows * stride));
    copy_to_host(all.data(), work_.qkv.data(), rows * stride, stream_);
    synchronize(stream_);
    HostTensor q(dtype_of<Real>(), {rows, heads, d}), k(dtype_of<Real>(), {rows, kv_heads, d}),
        v(dtype_of<Real>(), {rows, kv_heads, d});
    for (int64_t r = 0; r < rows; ++r) {
      const Real* row = all.data() + r * stride;
      std::copy_n(row, width, q.template as<Real>().data() + r * width);
      std::copy_n(row + width, kv_width, k.template as<Real>().data() + r * kv_width);
      std::copy_n(row + width + kv_width, kv_width, v.template as<Real>().data() + r * kv_width);
    }
    if (!linear) {
      const LayerCache<Real>& cache = caches_[static_cast<size_t>(layer)];
      std::vector<Real> head(static_cast<size_t>(batch.longest * d));
      for (const Piece& piece : device_pieces_)
        for (int64_t h = 0; h < kv_heads; ++h)
          for (const auto& [tensor, buffer] : {std::pair(&k, &cache.k), std::pair(&v, &cache.v)}) {
            copy_to_host(head.data(), buffer->data() + cache_offset(piece.slot, h, piece.position), piece.rows * d,
                         stream_);
            synchronize(stream_);
            Real* out = tensor->template as<Real>().data();
            for (int64_t r = 0; r < piece.rows; ++r)
              std::copy_n(head.data() + r * d, d, out + ((piece.row + r) * kv_heads + h) * d);
          }
    }
    hook(layer, "q", q), hook(layer, "k", k), hook(layer, "v", v);
  }

  // --- Small things ---

  int64_t cache_offset(int slot, int64_t kv_head, int64_t position) const {
    return ((slot * config_.num_key_value_heads + kv_head) * options_.max_tokens + position) * config_.head_dim;
  }

  // Returns the bytes there are now. Growing waits for the work that may be using the old block.
  int64_t grow_scratch(int64_t bytes) {
    if (bytes > scratch_.size()) {
      synchronize(stream_);
      scratch_ = {};
      scratch_ = DeviceBuffer<std::byte>(bytes);
      for (auto& [count, decode] : decode_) decode.recorded = false;  // graphs hold the old address
    }
    return scratch_.size();
  }

  template <class T> static std::vector<T> converted(const HostTensor& tensor) {
    std::vector<T> values(static_cast<size_t>(tensor.size()));
    const auto copy = [&](auto from) {
      std::transform(from.begin(), from.end(), values.begin(), [](auto x) { return T(static_cast<float>(x)); });
    };
    switch (tensor.dtype()) {
      case DType::f64: copy(tensor.as<double>()); break;
      case DType::f32: copy(tensor.as<float>()); break;
      case DType::bf16: copy(tensor.as<bf16>()); break;
      default:
        throw std::invalid_argument("import_state: states are f64, f32 or bf16, not " +
                                    std::string(name_of(tensor.dtype())));
    }
    return values;
  }

  // A decode step of one batch size.
  struct Decode {
    int64_t runs = 0;
    bool recorded = false;
    Graph graph;
    std::set<std::string> launched;
  };

  ModelConfig config_;
  EngineOptions options_;
  Device device_;
  Stream stream_;
  Memory memory_;
  DeviceWeights<Real> weights_;
  Workspace<Real> work_;
  std::vector<LayerCache<Real>> caches_;     // [layers]
  DeviceBuffer<std::byte> scratch_;          // of the kernel that is running
  std::vector<int64_t> position_, reached_;  // [slots]

  HostBuffer<int32_t> host_tokens_;
  HostBuffer<Piece> host_pieces_;
  HostBuffer<int32_t> host_chosen_;
  Event uploads_;
  bool uploads_pending_ = false;
  std::vector<Piece> device_pieces_;   // what work_.pieces holds
  std::vector<int32_t> device_owner_;  // what work_.piece_of_row holds

  std::map<std::string, std::string, std::less<>> forced_;  // operator -> variant
  std::map<int, Decode> decode_;                            // by batch size
  std::set<std::string> launched_;                          // since the last report

  int64_t logits_rows_ = 0;
  std::vector<float> logits_;      // on the host
  bool on_device_ = false;         // all logits rows are in work_.logits
  bool chosen_on_device_ = false;  // and their arg-maxes in work_.chosen
};

void require_supported(const EngineOptions& options) {
  const std::string engine(kName);
  if (options.dtype != DType::bf16 && options.dtype != DType::f32)
    throw std::invalid_argument("engine '" + engine + "' computes in bf16 or f32, not " +
                                std::string(name_of(options.dtype)));
  if (options.mtp) throw std::invalid_argument("engine '" + engine + "' does not run MTP layers; the reference does");
  if (options.rope_angles == RopeAngles::f32)
    throw std::invalid_argument("engine '" + engine + "' computes rope angles exactly; f32 angles are the reference's");
}

template <class Real> Memory planned(const ModelConfig& config, const EngineOptions& options) {
  Memory memory;
  make_caches<Real>(config, options, false, memory);
  memory.weights = make_device_weights<Real>(config, nullptr, Stream{}).bytes;
  memory.workspace =
      Workspace<Real>(config, options, false).bytes + planned_scratch<Real>(config, options, current_device());
  return memory;
}

}  // namespace

std::unique_ptr<Engine> make_engine(const ModelConfig& config, const Weights& weights, const EngineOptions& options) {
  require_supported(options);
  if (options.dtype == DType::bf16) return std::make_unique<CudaEngine<bf16>>(config, weights, options);
  return std::make_unique<CudaEngine<float>>(config, weights, options);
}

Memory plan_memory(const ModelConfig& config, const EngineOptions& options) {
  require_supported(options);
  return options.dtype == DType::bf16 ? planned<bf16>(config, options) : planned<float>(config, options);
}

std::vector<std::string> list_kernels() {
  std::vector<std::string> lines;
  for (const auto& [op, names] : variants()) {
    lines.push_back(op + ":");
    for (const std::string& name : names) lines.back() += (&name == &names.front() ? " " : ", ") + name;
  }
  return lines;
}

}  // namespace ringbench::RINGBENCH_BACKEND
