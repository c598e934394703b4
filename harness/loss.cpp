// loss.cpp: see loss.h: windows, the walk, means and their errors. What is asked and shown is in loss_command.cpp.
#include "harness/loss.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <thread>

#include "harness/measure.h"
#include "reference/threads.h"

namespace ringbench {
namespace {

constexpr int64_t kWindowsForErrors = 10;
constexpr int64_t kUnitsForVerdict = 6;
constexpr double kErrorsForVerdict = 3;

template <class Real> double nll(std::span<const Real> row, int32_t token) {
  const double largest = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const Real x : row) sum += std::exp(static_cast<double>(x) - largest);
  return largest + std::log(sum) - static_cast<double>(row[static_cast<size_t>(token)]);
}

// [rows] losses of logits [rows, vocab_size]; rows are shared out to threads where there is much to do.
template <class Real> std::vector<double> row_losses(const HostTensorView& logits, std::span<const int32_t> targets) {
  const std::span<const Real> values = logits.as<Real>();
  const auto rows = targets.size(), width = static_cast<size_t>(logits.shape[1]);
  std::vector<double> losses(rows);
  const size_t threads = rows * width < 1'000'000 ? 1 : std::min<size_t>(static_cast<size_t>(physical_cores()), rows);
  const auto share = [&](size_t thread) {
    for (size_t r = thread; r < rows; r += threads) losses[r] = nll(values.subspan(r * width, width), targets[r]);
  };
  std::vector<std::thread> others;
  for (size_t t = 1; t < threads; ++t) others.emplace_back(share, t);
  share(0);
  for (std::thread& other : others) other.join();
  return losses;
}

std::vector<double> row_losses(const HostTensorView& logits, std::span<const int32_t> targets) {
  if (logits.shape.size() != 2 || logits.shape[0] != static_cast<int64_t>(targets.size()))
    throw std::logic_error("loss: the engine gave more or fewer rows than tokens");
  return logits.dtype == DType::f64 ? row_losses<double>(logits, targets) : row_losses<float>(logits, targets);
}

void append(WindowLoss& window, double loss) {
  if (window.predicted++ % kLossBlock == 0) window.block_sums.push_back(0);
  window.block_sums.back() += loss;
}

// Blocks of `window` that lie in the bucket: [first, last).
std::pair<size_t, size_t> blocks_in(const WindowLoss& window, Bucket bucket) {
  const size_t end = std::min(window.block_sums.size(), static_cast<size_t>(bucket.last / kLossBlock + 1));
  return {std::min(static_cast<size_t>(bucket.first / kLossBlock), end), end};
}

struct UnitSum {
  double sum = 0;
  int64_t count = 0;
};

UnitSum add_up(const WindowLoss& window, size_t begin, size_t end) {
  UnitSum unit;
  for (size_t b = begin; b < end; ++b) unit.sum += window.block_sums[b], unit.count += window.block_size(b);
  return unit;
}

}  // namespace

double negative_log_likelihood(std::span<const double> row, int32_t token) { return nll(row, token); }
double negative_log_likelihood(std::span<const float> row, int32_t token) { return nll(row, token); }

int64_t WindowLoss::block_size(size_t b) const {
  return std::min(kLossBlock, predicted - static_cast<int64_t>(b) * kLossBlock);
}

std::vector<Window> cut_windows(std::span<const std::vector<int32_t>> documents, int64_t ctx) {
  std::vector<Window> windows;
  for (size_t d = 0; d < documents.size(); ++d) {
    const auto tokens = static_cast<int64_t>(documents[d].size());
    for (int64_t begin = 0; begin + 1 < tokens; begin += ctx)
      windows.push_back({d, begin, std::min(ctx, tokens - begin)});
  }
  return windows;
}

WindowLoss window_loss(Engine& engine, std::span<const int32_t> tokens, int64_t chunk,
                       const std::function<void(int64_t)>& done) {
  engine.reset(0);
  WindowLoss window;
  const std::span<const int32_t> inputs = tokens.first(tokens.size() - 1);
  const size_t block = chunk > 0 ? static_cast<size_t>(chunk) : inputs.size();
  for (size_t at = 0; at < inputs.size(); at += block) {
    if (interrupted()) {
      window.block_sums.resize(at / kLossBlock);
      window.predicted = static_cast<int64_t>(window.block_sums.size()) * kLossBlock;
      break;
    }
    const Step step = {0, inputs.subspan(at, std::min(block, inputs.size() - at))};
    engine.forward({&step, 1}, Rows::all);
    for (const double loss : row_losses(engine.logits(), tokens.subspan(at + 1, step.tokens.size()))) {
      if (!std::isfinite(loss))
        throw Failure(ExitCode::points_failed, "loss: the logits at position " + std::to_string(window.predicted) +
                                                   " of a window are not finite numbers.");
      append(window, loss);
    }
    if (done) done(window.predicted);
  }
  return window;
}

std::vector<Bucket> position_buckets(int64_t ctx) {
  std::vector<Bucket> buckets;
  for (int64_t first = 0, end = kLossBlock; first < ctx - 1; first = end, end *= 2)
    buckets.push_back({first, std::min(end, ctx - 1) - 1});
  return buckets;
}

MeanLoss mean_loss(std::span<const WindowLoss> windows, Bucket bucket) {
  std::vector<UnitSum> of_windows, of_blocks;
  for (const WindowLoss& window : windows) {
    const auto [begin, end] = blocks_in(window, bucket);
    if (begin == end) continue;
    of_windows.push_back(add_up(window, begin, end));
    for (size_t b = begin; b < end; ++b) of_blocks.push_back(add_up(window, b, b + 1));
  }
  MeanLoss mean;
  mean.of_windows = static_cast<int64_t>(of_windows.size()) >= kWindowsForErrors;
  const std::vector<UnitSum>& units = mean.of_windows ? of_windows : of_blocks;
  mean.n = static_cast<int64_t>(units.size());
  double sum = 0;
  for (const UnitSum& unit : units) sum += unit.sum, mean.tokens += unit.count;
  if (mean.tokens == 0) return mean;
  mean.mean = sum / static_cast<double>(mean.tokens);
  double squares = 0;
  for (const UnitSum& unit : units) squares += std::pow(unit.sum - mean.mean * static_cast<double>(unit.count), 2);
  const auto n = static_cast<double>(mean.n);
  if (mean.n >= 2) mean.se = std::sqrt(n / (n - 1) * squares) / static_cast<double>(mean.tokens);
  return mean;
}

std::vector<WindowLoss> paired_difference(std::span<const WindowLoss> a, std::span<const WindowLoss> b) {
  std::vector<WindowLoss> differences;
  for (size_t w = 0; w < std::min(a.size(), b.size()); ++w) {
    WindowLoss difference;
    difference.predicted = std::min(a[w].predicted, b[w].predicted);
    for (size_t i = 0; i < std::min(a[w].block_sums.size(), b[w].block_sums.size()); ++i)
      difference.block_sums.push_back(a[w].block_sums[i] - b[w].block_sums[i]);
    differences.push_back(std::move(difference));
  }
  return differences;
}

bool is_told_apart(const MeanLoss& difference) {
  return difference.n >= kUnitsForVerdict && difference.se &&
         std::abs(difference.mean) > kErrorsForVerdict * *difference.se;
}

}  // namespace ringbench
