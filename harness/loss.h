// loss.h: the command `loss`: how well a model predicts a text, by position, and which of several readings of its
// config (YaRN, decay offset, rotary angles) predicts it best. Not scores of answers: that is evals/.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "harness/plan.h"
#include "reference/engine.h"

namespace ringbench {

struct LossRequest {
  std::string model = "auto", config_file, weights;  // as in Plan
  std::string text, tokens;                          // files (token_file.h); exactly one is named
  std::vector<int64_t> ctx;                          // tokens a window; empty: 8k, or the longest document if shorter
  int64_t max_windows = 0;                           // of each context; 0: all
  std::string compare;                               // KEY=V1,V2,...; empty: one reading
  std::vector<std::string> yarn = {"auto"};          // several: the same as --compare yarn=...
  std::optional<SlopeLayerOffset> slope_layer_offset;
  RopeAngles rope_angles = RopeAngles::f64;
  std::string engine = "reference";
  DType dtype = DType::f32;
  int64_t chunk = 128;  // tokens whose logits, [chunk, vocab_size], are held at once; 0: a whole window's
  int threads = 0;
  uint64_t seed = 0;  // of random weights, where a model is named but no checkpoint
  Format format = Format::table;
  std::vector<std::string> outputs;
  bool quiet = false, progress = true;
};

// Throws UsageError for a bad request before anything runs. Once interrupted(), what was computed so far is shown.
ExitCode run_loss(const LossRequest& request);

// --- The numbers ---

// Row t of a window has seen its tokens 0..t and predicts token t+1: that is position t. Losses are summed over blocks
// of so many positions: neighbouring tokens are correlated, so that errors are taken from blocks, not from tokens.
inline constexpr int64_t kLossBlock = 128;

// Tokens [begin, begin + size) of one document; size - 1 of them are predicted.
struct Window {
  size_t document = 0;
  int64_t begin = 0, size = 0;
};
// Windows of `ctx` tokens side by side; what is left of a document makes a shorter one, if it has two tokens at least.
std::vector<Window> cut_windows(std::span<const std::vector<int32_t>> documents, int64_t ctx);

// Negative log likelihoods in nats, [b]: the sum over positions [128 b, 128 b + 128), of `predicted` in all.
struct WindowLoss {
  int64_t predicted = 0;
  std::vector<double> block_sums;

  int64_t block_size(size_t b) const;  // positions in block b: 128, fewer in the last
};

// Walks through a window from an empty cache, `chunk` tokens at a time (0: all). `done` is told how many. Once
// interrupted(), the whole blocks so far. Throws Failure if a logit is NaN or infinite.
WindowLoss window_loss(Engine& engine, std::span<const int32_t> tokens, int64_t chunk,
                       const std::function<void(int64_t)>& done = {});

// log sum exp(row) - row[token], in f64.
double negative_log_likelihood(std::span<const double> row, int32_t token);
double negative_log_likelihood(std::span<const float> row, int32_t token);

// Positions first..last; a multiple of 128 first, so that blocks belong to one bucket each.
struct Bucket {
  int64_t first = 0, last = 0;
};
inline constexpr Bucket kAllPositions = {0, INT64_MAX - 1};
// 0-127, 128-255, 256-511, ... up to the last position that a window of `ctx` tokens predicts from.
std::vector<Bucket> position_buckets(int64_t ctx);

// A mean over tokens, and its standard error from n units: windows, where at least 10 reach the bucket (blocks of one
// window share its topic), else blocks. With unit sums s and counts c: sqrt(n/(n-1) sum (s - mean c)^2) / sum c.
struct MeanLoss {
  int64_t tokens = 0, n = 0;
  bool of_windows = false;  // what the n units are
  double mean = 0;
  std::optional<double> se;  // n >= 2
};
MeanLoss mean_loss(std::span<const WindowLoss> windows, Bucket bucket);

// a - b, block by block, over the blocks that both have (all, unless one was interrupted).
std::vector<WindowLoss> paired_difference(std::span<const WindowLoss> a, std::span<const WindowLoss> b);

// Whether a text tells two readings apart: the mean of their difference is beyond three standard errors of six units
// or more (two-sided, a chance of 3 % at six units and 0.3 % at many).
bool is_told_apart(const MeanLoss& difference);

}  // namespace ringbench
