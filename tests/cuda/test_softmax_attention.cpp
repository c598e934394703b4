// test_softmax_attention.cpp: every variant of softmax attention against the reference in f64, over shapes at the edges
// of tiles, splits, windows and index types; and that a sequence's bits do not depend on its neighbours.
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "reference/softmax_attention.h"
#include "tests/cuda/operators.h"

#if !defined(RINGBENCH_GPU)
#include <sys/mman.h>
#endif

namespace ringbench::RINGBENCH_BACKEND {
namespace {

// Rows of one or more sequences and what they are attended with. The caches hold `max_tokens` (0: as many as needed).
struct Case {
  int heads, kv_heads, head_dim;
  std::vector<int32_t> rows;
  std::vector<int64_t> positions;
  int64_t window = 0;
  bool sinks = false;
  std::vector<int32_t> slots = {};

  std::string text() const {
    std::string s = std::to_string(heads) + "/" + std::to_string(kv_heads) + " heads of " + std::to_string(head_dim) +
                    ", window " + std::to_string(window) + (sinks ? ", sinks" : "") + ", rows @ positions";
    for (size_t i = 0; i < rows.size(); ++i) s += " " + std::to_string(rows[i]) + "@" + std::to_string(positions[i]);
    return s;
  }
};

// Tensors of a case: NaN wherever a kernel has no business.
struct Problem {
  Case c;
  DeviceBatch batch;
  int slots = 0;
  int64_t max_tokens = 0, stride = 0;
  std::vector<double> qkv;    // [rows, n + 2 kv, d]; only q is set
  std::vector<double> k, v;   // [slots, kv, max_tokens, d]; set up to each sequence's end
  std::vector<double> sinks;  // [n] or empty

  explicit Problem(const Case& with) : c(with), batch(c.rows, c.positions, c.slots) {
    constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
    const int64_t d = c.head_dim;
    for (const Piece& piece : batch.pieces) slots = std::max(slots, piece.slot + 1);
    max_tokens = batch.batch.deepest + 3;
    stride = (c.heads + 2 * c.kv_heads) * d;
    qkv.assign(static_cast<size_t>(batch.batch.rows * stride), kNan);
    k.assign(static_cast<size_t>(slots * c.kv_heads * max_tokens * d), kNan);
    v = k;
    // Scores of deviation 2: a few keys count, but not one alone.
    const auto q_values = random_values(batch.batch.rows * c.heads * d, "q", 2);
    for (int64_t r = 0; r < batch.batch.rows; ++r)
      std::copy_n(&q_values[static_cast<size_t>(r * c.heads * d)], c.heads * d, &qkv[static_cast<size_t>(r * stride)]);
    for (const Piece& piece : batch.pieces)
      for (int64_t head = 0; head < c.kv_heads; ++head) {
        const int64_t size = (piece.position + piece.rows) * d, at = (piece.slot * c.kv_heads + head) * max_tokens * d;
        const std::string name = std::to_string(piece.slot) + "." + std::to_string(head);
        std::ranges::copy(random_values(size, "k" + name), &k[static_cast<size_t>(at)]);
        std::ranges::copy(random_values(size, "v" + name), &v[static_cast<size_t>(at)]);
      }
    if (c.sinks) sinks = random_values(c.heads, "sinks", 1, 3);
  }

  // [rows, n, d] by the reference; with Rounding::bf16 operands where tensor cores multiply.
  std::vector<double> reference(Rounding operands) const {
    const int64_t d = c.head_dim;
    std::vector<double> out;
    RowVector<double> sink_row(static_cast<int64_t>(sinks.size()));
    for (size_t i = 0; i < sinks.size(); ++i) sink_row(static_cast<int64_t>(i)) = sinks[i];
    for (const Piece& piece : batch.pieces) {
      const int64_t end = piece.position + piece.rows;
      Matrix<double> q(piece.rows, c.heads * d);
      for (int64_t r = 0; r < piece.rows; ++r)
        for (int64_t i = 0; i < q.cols(); ++i) q(r, i) = qkv[static_cast<size_t>((piece.row + r) * stride + i)];
      Matrix<double> keys(end, c.kv_heads * d), values(end, c.kv_heads * d);
      for (int64_t t = 0; t < end; ++t)
        for (int64_t h = 0; h < c.kv_heads; ++h)
          for (int64_t i = 0; i < d; ++i) {
            const auto at = static_cast<size_t>(((piece.slot * c.kv_heads + h) * max_tokens + t) * d + i);
            keys(t, h * d + i) = k[at], values(t, h * d + i) = v[at];
          }
      const Matrix<double> o = softmax_attention<double>({.q = q,
                                                          .k = keys.data(),
                                                          .v = values.data(),
                                                          .position = piece.position,
                                                          .heads = c.heads,
                                                          .kv_heads = c.kv_heads,
                                                          .head_dim = d,
                                                          .window = c.window,
                                                          .sinks = sink_row,
                                                          .operands = operands});
      out.insert(out.end(), o.data(), o.data() + o.size());
    }
    return out;
  }
};

// The problem in device memory.
template <class Args, class Real> struct OnDevice {
  DeviceBuffer<Real> qkv, k, v, o;
  DeviceBuffer<float> sinks;
  Args args;

  explicit OnDevice(const Problem& p)
      : qkv(upload<Real>(p.qkv)),
        k(upload<Real>(p.k)),
        v(upload<Real>(p.v)),
        o(p.batch.batch.rows * p.c.heads * p.c.head_dim),
        sinks(upload<float>(p.sinks)) {
    args.o = o.data();
    args.q = qkv.data();
    args.k_cache = k.data();
    args.v_cache = v.data();
    args.sinks = p.c.sinks ? sinks.data() : nullptr;
    args.window = p.c.window;
    args.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(p.c.head_dim)));
    args.heads = p.c.heads;
    args.kv_heads = p.c.kv_heads;
    args.head_dim = p.c.head_dim;
    args.slots = p.slots;
    args.stride = p.stride;
    args.max_tokens = p.max_tokens;
    args.batch = p.batch.batch;
  }
};

template <class Real> std::vector<double> rounded_to(std::vector<double> values) {
  for (double& x : values) x = to_double(to_real<Real>(x));
  return values;
}

// Runs every variant that supports a case and checks it; returns the names of those that ran.
template <class Args, class Real> std::set<std::string> check_variants(const Case& c) {
  const Problem problem(c);
  const std::vector<double> truth = problem.reference(Rounding::none);
  std::set<std::string> ran;
  for (const Kernel<Args>& kernel : kernels<Args>()) {
    OnDevice<Args, Real> on(problem);
    if (!kernel.supports(on.args, current_device())) continue;
    run_variant(kernel, on.args);
    ran.insert(std::string(kernel.name));
    const bool tensor_cores = kernel.name.find("mma") != std::string_view::npos;
    const auto rounded = rounded_to<Real>(problem.reference(tensor_cores ? Rounding::bf16 : Rounding::none));
    const auto longest_sum = static_cast<double>(std::max<int64_t>(problem.batch.batch.deepest, c.head_dim));
    check_close(download_f64(on.o), truth, rounded, longest_sum,
                std::string(Args::op) + " " + std::string(kernel.name) + ", " + c.text());
  }
  return ran;
}

// One row, a tile less one, a tile, a tile and one, two tiles and a bit, of queries (128) and of keys (64, 128).
std::vector<Case> prefill_cases() {
  if (kSmallShapesOnly)
    return {{2, 1, 64, {3, 9}, {70, 0}, 0, true}, {2, 2, 128, {17}, {60}, 33}, {1, 1, 64, {2}, {600}}};
  return {
      {4, 2, 64, {1}, {0}},
      {4, 2, 128, {63, 1, 65}, {0, 70, 10}, 0, false, {2, 0, 1}},
      {2, 1, 64, {127}, {0}},
      {1, 1, 128, {128}, {128}},
      {3, 1, 64, {129}, {0}, 0, true},
      {8, 1, 128, {64}, {63}},
      {2, 2, 128, {270}, {37}},
      {2, 2, 64, {150}, {40}, 37},
      {4, 2, 128, {70, 2}, {200, 0}, 128, true},
      {2, 1, 128, {140}, {190}, 1},
      {2, 1, 64, {200}, {0}, 64, true},
      {2, 1, 64, {130}, {5}, 1000},
  };
}
std::vector<Case> decode_cases() {
  if (kSmallShapesOnly) return {{2, 1, 64, {1, 1}, {270, 3}, 0, true}, {2, 2, 128, {1}, {100}, 70}};
  return {
      {4, 2, 64, {1}, {0}},
      {4, 1, 128, {1, 1, 1}, {14, 15, 16}, 0, false, {2, 0, 1}},
      {8, 1, 64, {1, 1}, {254, 255}, 0, true},
      {8, 2, 128, {1, 1}, {256, 700}},
      {3, 3, 64, {1, 1, 1}, {511, 63, 1100}, 0, false, {1, 2, 0}},
      {5, 1, 128, {1, 1}, {400, 30}, 37},
      {4, 2, 64, {1}, {600}, 400, true},
      {2, 1, 128, {1, 1}, {90, 91}, 1},
      {64, 64, 64, {1}, {1399}},  // more keys than the splits hold at their smallest
  };
}

using PrefillBf16 = SoftmaxPrefillArgs<bf16>;
using PrefillFloat = SoftmaxPrefillArgs<float>;
using DecodeBf16 = SoftmaxDecodeArgs<bf16>;
using DecodeFloat = SoftmaxDecodeArgs<float>;

}  // namespace

TEST_CASE("softmax attention prefill: all variants agree with the reference", "[cuda]") {
  for (const Case& c : prefill_cases()) {
    const auto ran = check_variants<PrefillBf16, bf16>(c);
    CHECK(ran.count("flash_wgmma") == (current_device().compute_capability == 90 ? 1 : 0));
    CHECK(ran.count("flash_mma") == 1);
    CHECK(ran.count("plain") == 1);
    CHECK(check_variants<PrefillFloat, float>(c).count("plain") == 1);
  }
}

TEST_CASE("softmax attention decode: all variants agree with the reference", "[cuda]") {
  for (const Case& c : decode_cases()) {
    const auto ran = check_variants<DecodeBf16, bf16>(c);
    CHECK(ran == std::set<std::string>{"plain", "split_kv", "split_kv_mma"});
    CHECK(check_variants<DecodeFloat, float>(c) == std::set<std::string>{"plain", "split_kv"});
  }
}

TEST_CASE("softmax attention: plain takes any head_dim, the others decline", "[cuda]") {
  for (const int head_dim : {16, 20, 32, 80, 96, 192, 256}) {
    if (kSmallShapesOnly && head_dim != 20) continue;
    const Case prefill{2, 1, head_dim, {5}, {30}, 0, true}, decode{2, 1, head_dim, {1, 1}, {40, 139}};
    CHECK(check_variants<PrefillBf16, bf16>(prefill) == std::set<std::string>{"plain"});
    CHECK(check_variants<PrefillFloat, float>(prefill) == std::set<std::string>{"plain"});
    CHECK(check_variants<DecodeBf16, bf16>(decode).count("plain") == 1);
    CHECK(check_variants<DecodeFloat, float>(decode).count("split_kv") == (head_dim == 32 ? 1 : 0));
  }
}

// Bits of every variant for all sequences of a case, then for sequence `which` alone: the same.
template <class Args> void check_independence(const Case& c, size_t which) {
  const Problem problem(c);
  for (const Kernel<Args>& kernel : kernels<Args>()) {
    OnDevice<Args, bf16> on(problem);
    if (!kernel.supports(on.args, current_device())) continue;
    run_variant(kernel, on.args);
    const std::vector<bf16> all = download(on.o);

    const Piece piece = problem.batch.pieces[which];
    const DeviceBatch batch({piece.rows}, {piece.position}, {piece.slot});
    Args alone = on.args;
    const int64_t size = int64_t{piece.rows} * c.heads * c.head_dim;
    alone.q += piece.row * problem.stride;
    alone.batch = batch.batch;
    // Again alone, and in other orders of blocks and warps.
    for (const unsigned seed : {0U, 1U, 2U}) {
      DeviceBuffer<bf16> o(size);
      alone.o = o.data();
#if !defined(RINGBENCH_GPU)
      emulator_options().seed = seed;
#endif
      run_variant(kernel, alone);
      INFO(Args::op << " " << kernel.name << ", " << c.text() << ", seed " << seed);
      CHECK(std::memcmp(download(o).data(), &all[static_cast<size_t>(piece.row) * size_t(c.heads * c.head_dim)],
                        static_cast<size_t>(o.bytes())) == 0);
    }
#if !defined(RINGBENCH_GPU)
    emulator_options().seed = 0;
#endif
  }
}

TEST_CASE("softmax attention: a sequence's bits depend neither on its neighbours nor on the order of blocks",
          "[cuda]") {
  if (kSmallShapesOnly) {
    check_independence<PrefillBf16>({1, 1, 64, {3, 5}, {0, 70}}, 1);
    check_independence<DecodeBf16>({1, 1, 64, {1, 1}, {270, 3}}, 0);
    return;
  }
  check_independence<PrefillBf16>({4, 2, 128, {70, 140, 1}, {3, 100, 40}}, 1);
  // With so many neighbours fewer blocks share the splits than there are splits.
  Case decode{8, 8, 64, std::vector<int32_t>(36, 1), std::vector<int64_t>(36, 9)};
  decode.positions[17] = 1300;
  check_independence<DecodeBf16>(decode, 17);
}

// Memory for more values than there is memory: only pages that are touched exist. On the GPU: ordinary memory.
template <class T> class SparseBuffer {
 public:
#if defined(RINGBENCH_GPU)
  explicit SparseBuffer(int64_t size) : buffer_(size) {}
  T* data() const { return buffer_.data(); }

 private:
  DeviceBuffer<T> buffer_;
#else
  explicit SparseBuffer(int64_t size) : bytes_(static_cast<size_t>(size) * sizeof(T)) {
    memory_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(memory_ != MAP_FAILED);
  }
  ~SparseBuffer() { munmap(memory_, bytes_); }
  SparseBuffer(const SparseBuffer&) = delete;
  SparseBuffer& operator=(const SparseBuffer&) = delete;
  T* data() const { return static_cast<T*>(memory_); }

 private:
  void* memory_ = nullptr;
  size_t bytes_ = 0;
#endif
};

// The last positions a model may have, in the last slot of caches of more than 2^31 values; with `stride`, of rows.
template <class Args, class Real> void check_far(int32_t rows, int64_t stride) {
  constexpr int64_t kMaxTokens = int64_t{1} << 24, kLast = 524287;
  const Case near{2, 2, 64, {rows}, {150}, 100};  // the window sees nothing before key 50
  const Problem problem(near);
  const int64_t d = near.head_dim, shift = kLast + 1 - rows - 150;  // of positions
  SparseBuffer<Real> k(4 * kMaxTokens * d), v(4 * kMaxTokens * d), q(rows * stride);
  const auto place = [](const SparseBuffer<Real>& to, int64_t at, const double* from, int64_t size) {
    std::vector<Real> values(static_cast<size_t>(size));
    for (int64_t i = 0; i < size; ++i) values[static_cast<size_t>(i)] = to_real<Real>(from[i]);
    copy_to_device(to.data() + at, values.data(), size, Stream{});
    synchronize(Stream{});
  };
  const int64_t size = (150 + rows) * d;
  for (int64_t head = 0; head < 2; ++head) {
    const auto from = static_cast<size_t>(head * problem.max_tokens * d);
    place(k, ((2 + head) * kMaxTokens + shift) * d, &problem.k[from], size);
    place(v, ((2 + head) * kMaxTokens + shift) * d, &problem.v[from], size);
  }
  for (int64_t r = 0; r < rows; ++r)
    place(q, r * stride, &problem.qkv[static_cast<size_t>(r * problem.stride)], near.heads * d);

  const DeviceBatch batch({rows}, {150 + shift}, {1});
  OnDevice<Args, Real> on(problem);
  on.args.q = q.data();
  on.args.k_cache = k.data();
  on.args.v_cache = v.data();
  on.args.slots = 2;
  on.args.max_tokens = kMaxTokens;
  on.args.stride = stride;
  on.args.batch = batch.batch;
  const std::vector<double> truth = problem.reference(Rounding::none);
  for (const Kernel<Args>& kernel : kernels<Args>()) {
    if (!kernel.supports(on.args, current_device())) continue;
    run_variant(kernel, on.args);
    const bool tensor_cores = kernel.name.find("mma") != std::string_view::npos;
    check_close(download_f64(on.o), truth,
                rounded_to<Real>(problem.reference(tensor_cores ? Rounding::bf16 : Rounding::none)), 100,
                std::string(Args::op) + " " + std::string(kernel.name) + " at the far end");
  }
}

TEST_CASE("softmax attention: positions to 524287 and tensors of more than 2^31 values", "[cuda]") {
  check_far<PrefillBf16, bf16>(3, int64_t{1} << 30);
  check_far<DecodeBf16, bf16>(1, 384);
  if (kSmallShapesOnly) return;
  check_far<PrefillFloat, float>(3, int64_t{1} << 30);
  check_far<DecodeFloat, float>(1, 384);
}

TEST_CASE("softmax attention: variants decline what they cannot do", "[cuda]") {
  const Problem prefill_problem({9, 1, 64, {2}, {0}}), decode_problem({9, 1, 64, {1}, {0}});
  OnDevice<PrefillBf16, bf16> prefill(prefill_problem);
  OnDevice<DecodeBf16, bf16> decode(decode_problem);
  Device device = current_device();
  const auto chosen = [&](const auto& args) { return choose(args, device).name; };
  device.compute_capability = 90;
  CHECK(chosen(prefill.args) == "flash_wgmma");
  CHECK(chosen(decode.args) == "split_kv");  // nine heads share a key/value head
  decode.args.heads = 8;
  CHECK(chosen(decode.args) == "split_kv_mma");
  prefill.args.max_tokens = int64_t{1} << 31;
  CHECK(chosen(prefill.args) == "flash_mma");
  prefill.args.max_tokens = 5;
  device.compute_capability = 80;
  CHECK(chosen(prefill.args) == "flash_mma");
  prefill.args.stride += 4;
  CHECK(chosen(prefill.args) == "plain");
}

#if !defined(RINGBENCH_GPU)
// The work of a kernel, counted: no tile outside the window or above the diagonal, no bank conflicts.
TEST_CASE("softmax attention prefill: tiles outside the window cost nothing", "[cuda]") {
  if (kSmallShapesOnly) return;
  struct Expected {
    int64_t position, window;
    uint64_t tiles_of_64, tiles_of_128;
  };
  for (const Expected e :
       {Expected{0, 0, 2, 1}, {1024, 0, 18, 9}, {1024, 64, 3, 2}, {1024, 65, 3, 2}, {1024, 66, 4, 2}}) {
    const Problem problem({1, 1, 128, {128}, {e.position}, e.window});
    const OnDevice<PrefillBf16, bf16> on(problem);
    for (const Kernel<PrefillBf16>& kernel : kernels<PrefillBf16>()) {
      run_variant(kernel, on.args);
      const EmulatorStatistics& done = emulator_statistics();
      INFO(kernel.name << " at " << e.position << ", window " << e.window);
      CHECK(done.ldmatrix_conflicts == 0);
      // 2 x 128 queries x keys x 128 dims, in products of 16 x 8 x 16 | 64 x 128 x 16 by four warps
      if (kernel.name == "flash_mma") CHECK(done.mma == e.tiles_of_64 * 2 * 128 * 64 * 128 / (16 * 8 * 16));
      if (kernel.name == "flash_wgmma") CHECK(done.wgmma == e.tiles_of_128 * 4 * 2 * 128 * 128 * 128 / (64 * 128 * 16));
    }
  }
}
#endif

}  // namespace ringbench::RINGBENCH_BACKEND
