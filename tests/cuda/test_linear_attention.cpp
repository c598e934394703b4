// Lightning attention, prefill and decode: every variant of the table against the f64 recurrence.
#if !defined(RINGBENCH_GPU)
#include <sys/mman.h>
#endif

#include "reference/lightning_attention.h"
#include "tests/cuda/operators.h"

namespace ringbench::RINGBENCH_BACKEND {
namespace {

struct Shape {
  int heads, kv_heads, head_dim;
  std::vector<int32_t> rows;
  std::vector<int32_t> slots = {};  // empty: 0, 1, ...
  int slot_count = 0;               // 0: as many as pieces
  int padding = 8;                  // columns between one row of q, k, v and the next
};

// Slopes of a Ring model's heads, the slowest of its layer 18 first: that one still knows the first token after 2000;
// and one that forgets within a token.
constexpr double kSlopes[] = {2.06e-4, 0.744, 12.5, 0.0442, 3.9e-3, 0.3};

// Inputs in device memory, and what a candidate's outputs should be. Results are compared head by head: a head of small
// values has a unit of its own.
template <class Real, class Args> struct Problem {
  Shape shape;
  DeviceBatch pieces;
  std::vector<double> qkv, initial;
  std::vector<float> log_decay;
  DeviceBuffer<Real> device_qkv, o;
  DeviceBuffer<float> state, device_log_decay;
  int64_t d, stride, state_size;

  explicit Problem(const Shape& s)
      : shape(s),
        pieces(s.rows, std::vector<int64_t>(s.rows.size(), 1000), s.slots),
        d(s.head_dim),
        stride((s.heads + 2 * s.kv_heads) * d + s.padding),
        state_size(d * d) {
    if (shape.slot_count == 0) shape.slot_count = static_cast<int>(s.rows.size());
    qkv = random_values(pieces.batch.rows * stride, "qkv");
    // Twice as large as what a token adds, and not exact in bf16: a state rounded once too often shows.
    initial = random_values(shape.slot_count * s.heads * state_size, "state", 2);
    for (double& x : initial) x = static_cast<double>(static_cast<float>(x * 1.0009765625));
    for (int h = 0; h < s.heads; ++h) log_decay.push_back(static_cast<float>(-kSlopes[h % std::size(kSlopes)]));
    device_qkv = upload<Real>(qkv);
    device_log_decay = upload<float>(log_decay);
    o = DeviceBuffer<Real>(pieces.batch.rows * s.heads * d);
    state = upload<float>(initial);
  }

  Args args() const {
    Args a;
    a.o = o.data();
    a.state = state.data();
    a.q = device_qkv.data();
    a.k = a.q + shape.heads * d;
    a.v = a.k + shape.kv_heads * d;
    a.log_decay = device_log_decay.data();
    a.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(d)));
    a.heads = shape.heads;
    a.kv_heads = shape.kv_heads;
    a.head_dim = shape.head_dim;
    a.stride = stride;
    a.batch = pieces.batch;
    return a;
  }

  // Runs it from the initial state.
  void run(const Kernel<Args>& kernel) {
    copy_to_device(state.data(), to_float_vector(initial).data(), state.size(), Stream{});
    synchronize(Stream{});
    run_variant(kernel, args());
  }
  static std::vector<float> to_float_vector(const std::vector<double>& x) { return {x.begin(), x.end()}; }

  // o of one head of one piece, and its state after it, in f64; with `operands`, as a candidate that rounds those.
  void reference(const Piece& piece, int head, Rounding operands, Matrix<double>& o_out, Matrix<double>& s) const {
    const int64_t kv_head = head / (shape.heads / shape.kv_heads);
    const auto rows_of = [&](int64_t column) {
      return ConstRows2d<double>(qkv.data() + piece.row * stride + column, piece.rows, d, Eigen::OuterStride<>(stride));
    };
    const auto q = rows_of(head * d), k = rows_of((shape.heads + kv_head) * d),
               v = rows_of((shape.heads + shape.kv_heads + kv_head) * d);
    s = Eigen::Map<const Matrix<double>>(initial.data() + (piece.slot * shape.heads + head) * state_size, d, d);
    o_out.resize(piece.rows, d);
    const Rows2d<double> o_rows(o_out.data(), piece.rows, d, Eigen::OuterStride<>(d));
    const double slope = static_cast<double>(log_decay[static_cast<size_t>(head)]);
    if (operands == Rounding::none)
      lightning_attention_recurrent<double>(q, k, v, slope, s, o_rows);
    else
      lightning_attention_chunked<double>(q, k, v, slope, s, o_rows, 64, operands);
  }

  // Every `step`-th head.
  void check(std::string_view variant, int step = 1) const {
    const Rounding operands = variant.find("mma") != variant.npos ? Rounding::bf16 : Rounding::none;
    const std::vector<double> o_values = download_f64(o), s_values = download_f64(state);
    std::vector<bool> used(static_cast<size_t>(shape.slot_count));
    for (const Piece& piece : pieces.pieces) {
      used[static_cast<size_t>(piece.slot)] = true;
      for (int head = 0; head < shape.heads; head += step) {
        Matrix<double> o_truth, s_truth, o_rounded, s_rounded;
        reference(piece, head, Rounding::none, o_truth, s_truth);
        reference(piece, head, operands, o_rounded, s_rounded);
        o_rounded = o_rounded.unaryExpr([](double x) { return to_double(to_real<Real>(x)); });
        s_rounded = s_rounded.unaryExpr([](double x) { return static_cast<double>(static_cast<float>(x)); });
        Matrix<double> o_head(piece.rows, d), s_head(d, d);
        for (int64_t t = 0; t < piece.rows; ++t)
          for (int64_t i = 0; i < d; ++i)
            o_head(t, i) = o_values[static_cast<size_t>(((piece.row + t) * shape.heads + head) * d + i)];
        std::copy_n(s_values.begin() + (piece.slot * shape.heads + head) * state_size, state_size, s_head.data());
        const std::string what = std::string(Args::op) + " " + std::string(variant) + ", " +
                                 std::to_string(sizeof(Real) * 8) + " bits, heads " + std::to_string(shape.heads) +
                                 "/" + std::to_string(shape.kv_heads) + ", head_dim " + std::to_string(d) + ", " +
                                 std::to_string(piece.rows) + " rows, slot " + std::to_string(piece.slot) + ", head " +
                                 std::to_string(head);
        const auto values = [](const Matrix<double>& m) { return std::vector<double>(m.data(), m.data() + m.size()); };
        // A sum over head_dim, and one over the tokens that still count.
        const double length = static_cast<double>(d + piece.rows);
        check_close(values(o_head), values(o_truth), values(o_rounded), length, what + ": o");
        check_close(values(s_head), values(s_truth), values(s_rounded), length, what + ": state");
      }
    }
    const int64_t per_slot = shape.heads * state_size;
    for (size_t slot = 0; slot < used.size(); ++slot)
      if (!used[slot])
        CHECK(std::equal(initial.begin() + static_cast<int64_t>(slot) * per_slot,
                         initial.begin() + static_cast<int64_t>(slot + 1) * per_slot,
                         s_values.begin() + static_cast<int64_t>(slot) * per_slot));
  }
};

// Runs and checks every variant that supports the shape; returns their names.
template <class Real, template <class> class Args> std::vector<std::string> check_variants(const Shape& shape) {
  Problem<Real, Args<Real>> problem(shape);
  std::vector<std::string> ran;
  for (const Kernel<Args<Real>>& kernel : kernels<Args<Real>>()) {
    if (!kernel.supports(problem.args(), current_device())) continue;
    problem.run(kernel);
    problem.check(kernel.name);
    ran.emplace_back(kernel.name);
  }
  return ran;
}
using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("linear attention prefill: every variant is the recurrence, also where nothing is a multiple of a tile",
          "[cuda]") {
  const std::vector<Shape> shapes = kSmallShapesOnly ? std::vector<Shape>{{1, 1, 64, {65}}}
                                                     : std::vector<Shape>{
                                                           {1, 1, 64, {1}},
                                                           {2, 1, 64, {63}},
                                                           {2, 2, 128, {64}},
                                                           {6, 3, 64, {65}},
                                                           {1, 1, 128, {150}},
                                                           {4, 1, 128, {33, 1, 130}, {2, 0, 3}, 5},
                                                           {3, 3, 64, {64, 128, 2}, {2, 1, 0}},
                                                       };
  for (const Shape& shape : shapes) {
    CHECK(check_variants<bf16, LinearPrefillArgs>(shape) == Names{"chunk_mma", "chunk", "recurrent"});
    CHECK(check_variants<float, LinearPrefillArgs>(shape) == Names{"chunk", "recurrent"});
  }
  if (kSmallShapesOnly) return;
  // Widths that no tile divides, rows that are not 16 bytes apart, more than a chunk's shared memory holds.
  for (const int head_dim : {16, 20, 32, 96, 127}) {
    const Shape shape{2, 1, head_dim, {70, 3}, {1, 2}, 3, 1};
    CHECK(check_variants<bf16, LinearPrefillArgs>(shape) == Names{"chunk", "recurrent"});
    CHECK(check_variants<float, LinearPrefillArgs>(shape) == Names{"chunk", "recurrent"});
  }
  CHECK(check_variants<bf16, LinearPrefillArgs>({1, 1, 64, {66}, {}, 0, 1}) == Names{"chunk", "recurrent"});
  CHECK(check_variants<float, LinearPrefillArgs>({1, 1, 256, {5}}) == Names{"recurrent"});
}

TEST_CASE("linear attention prefill: many sequences at once use the wide slices of chunk_mma", "[cuda]") {
  if (kSmallShapesOnly) return;
  const std::vector<int32_t> rows(66, 3);
  Problem<bf16, LinearPrefillArgs<bf16>> narrow({2, 1, 128, {3, 3}}), wide({2, 1, 128, rows});
  for (auto* problem : {&narrow, &wide}) {
    problem->run(choose(problem->args(), current_device(), "chunk_mma"));
    problem->check("chunk_mma");
  }
}

TEST_CASE("linear attention prefill: segments side by side are one sequence", "[cuda]") {
  // Long enough for the table; segments of 256 tokens, the last one ragged; beside it pieces of less than a segment.
  std::vector<Shape> shapes = {{1, 1, 64, {2085}}};
  if (!kSmallShapesOnly) {
    shapes.push_back({2, 1, 64, {2048, 257, 1}, {1, 3, 0}, 4});
    shapes.push_back({1, 1, 128, {2300, 255, 256}, {2, 1, 0}});
  }
  for (const Shape& shape : shapes) {
    Problem<bf16, LinearPrefillArgs<bf16>> problem(shape);
    const auto& kernel = choose(problem.args(), current_device());
    CHECK(kernel.name == "chunk_mma_segments");
    problem.run(kernel);
    problem.check(kernel.name);
  }
}

TEST_CASE("linear attention decode: every variant is the recurrence", "[cuda]") {
  const std::vector<Shape> shapes = kSmallShapesOnly ? std::vector<Shape>{{2, 1, 64, {1, 1}, {1, 0}}}
                                                     : std::vector<Shape>{
                                                           {1, 1, 64, {1}},
                                                           {6, 2, 64, {1, 1, 1}, {4, 0, 2}, 6, 3},
                                                           {4, 4, 128, {1, 1}, {1, 0}},
                                                           {2, 1, 128, {1, 1, 1, 1, 1}, {5, 1, 0, 2, 4}, 7},
                                                       };
  for (const Shape& shape : shapes) {
    CHECK(check_variants<bf16, LinearDecodeArgs>(shape) == Names{"warp", "recurrent"});
    CHECK(check_variants<float, LinearDecodeArgs>(shape) == Names{"warp", "recurrent"});
  }
  if (kSmallShapesOnly) return;
  for (const int head_dim : {16, 20, 96, 300}) {
    const Shape shape{2, 1, head_dim, {1, 1}, {1, 2}, 3, 1};
    CHECK(check_variants<bf16, LinearDecodeArgs>(shape) == Names{"recurrent"});
    CHECK(check_variants<float, LinearDecodeArgs>(shape) == Names{"recurrent"});
  }
}

namespace {

// The first piece's outputs and state, bit by bit.
template <class Real, class Args> std::vector<uint8_t> first_piece(const Kernel<Args>& kernel, Problem<Real, Args>& p) {
  p.run(kernel);
  const std::vector<Real> o = download(p.o);
  const std::vector<float> state = download(p.state);
  const Piece piece = p.pieces.pieces.front();
  const int64_t per_slot = p.shape.heads * p.state_size;
  std::vector<uint8_t> bytes;
  const auto append = [&](const auto* from, int64_t n) {
    const auto* begin = reinterpret_cast<const uint8_t*>(from);
    bytes.insert(bytes.end(), begin, begin + n * static_cast<int64_t>(sizeof *from));
  };
  append(o.data() + piece.row * p.shape.heads * p.d, piece.rows * p.shape.heads * p.d);
  append(state.data() + piece.slot * per_slot, per_slot);
  return bytes;
}

template <class Real, template <class> class Args>
void check_deterministic(int32_t rows, const std::vector<int32_t>& neighbours) {
  std::vector<int32_t> all = {rows};
  all.insert(all.end(), neighbours.begin(), neighbours.end());
  Problem<Real, Args<Real>> alone({2, 1, 64, {rows}}), crowd({2, 1, 64, all});
  for (const Kernel<Args<Real>>& kernel : kernels<Args<Real>>()) {
    if (!kernel.supports(alone.args(), current_device())) continue;
    INFO(Args<Real>::op << " " << kernel.name);
    const std::vector<uint8_t> once = first_piece(kernel, alone);
    CHECK(first_piece(kernel, alone) == once);
    CHECK(first_piece(kernel, crowd) == once);  // also where the table would choose another variant
  }
}

}  // namespace

TEST_CASE("linear attention: a sequence's bits depend on nothing but the sequence", "[cuda]") {
  if (kSmallShapesOnly) return;
  check_deterministic<bf16, LinearPrefillArgs>(100, std::vector<int32_t>(70, 2));
  check_deterministic<float, LinearPrefillArgs>(100, {3, 65});
  check_deterministic<bf16, LinearPrefillArgs>(2100, {300, 1, 40});
  check_deterministic<bf16, LinearDecodeArgs>(1, {1, 1, 1});
  check_deterministic<float, LinearDecodeArgs>(1, {1, 1, 1});
}

TEST_CASE("linear attention prefill: segments of more than the shortest length", "[cuda]") {
  if (kSmallShapesOnly) return;
  // So many heads that a piece of this length is cut in two by their number. The table would choose chunk_mma here;
  // this rung can do it too.
  const Kernel<LinearPrefillArgs<bf16>>& kernel = kernels<LinearPrefillArgs<bf16>>().front();
  REQUIRE(kernel.name == "chunk_mma_segments");
  Problem<bf16, LinearPrefillArgs<bf16>> problem({264, 1, 64, {520}});
  problem.run(kernel);
  problem.check(kernel.name, 132);
}

#if !defined(RINGBENCH_GPU)
TEST_CASE("linear attention: the order of blocks and warps changes nothing", "[cuda]") {
  if (kSmallShapesOnly) return;
  Problem<bf16, LinearPrefillArgs<bf16>> prefill({2, 1, 64, {2060}});
  Problem<float, LinearDecodeArgs<float>> decode({2, 1, 64, {1, 1}});
  const auto& segments = choose(prefill.args(), current_device());
  const auto& warp = choose(decode.args(), current_device());
  const std::vector<uint8_t> prefilled = first_piece(segments, prefill), decoded = first_piece(warp, decode);
  for (const unsigned seed : {1u, 2u, 3u}) {
    emulator_options().seed = seed;
    CHECK(first_piece(segments, prefill) == prefilled);
    CHECK(first_piece(warp, decode) == decoded);
  }
  emulator_options().seed = 0;
}
#endif

TEST_CASE("linear attention: a graph may be replayed with shorter pieces than it was sized for", "[cuda]") {
  if (kSmallShapesOnly) return;
  Problem<bf16, LinearPrefillArgs<bf16>> problem({1, 1, 64, {300, 65}});
  problem.pieces.batch.longest = 4000;
  const auto& kernel = choose(problem.args(), current_device());
  CHECK(kernel.name == "chunk_mma_segments");
  problem.run(kernel);
  problem.check(kernel.name);
}

#if !defined(RINGBENCH_GPU)
TEST_CASE("linear attention: tensor-core rungs load their tiles without bank conflicts", "[cuda]") {
  for (const int head_dim : {64, 128})
    for (const size_t count : {size_t{1}, size_t{132}}) {
      if (kSmallShapesOnly && count > 1) continue;
      Problem<bf16, LinearPrefillArgs<bf16>> problem({1, 1, head_dim, std::vector<int32_t>(count, 2)});
      problem.run(choose(problem.args(), current_device(), "chunk_mma"));
      CHECK(emulator_statistics().ldmatrix > 0);
      CHECK(emulator_statistics().ldmatrix_conflicts == 0);
    }
}
#endif

namespace {

// Rows of q, k and v, of o and of the state far beyond 2^31 elements of where their pointers point to: as a deep pass
// with many slots has them. The pointers are moved back by as much, so that little memory is needed.
template <class Real, template <class> class Args> void check_far_away(const std::vector<int32_t>& rows) {
  Problem<Real, Args<Real>> problem({2, 1, 64, rows});
  constexpr int64_t kRow = int64_t{1} << 25, kSlot = int64_t{1} << 20;
  std::vector<Piece> moved = problem.pieces.pieces;
  for (Piece& piece : moved) piece.row += kRow, piece.slot += static_cast<int32_t>(kSlot);
  copy_to_device(problem.pieces.device_pieces.data(), moved.data(), problem.pieces.device_pieces.size(), Stream{});
  synchronize(Stream{});
  Args<Real> args = problem.args();
  const auto back = [](auto*& pointer, int64_t elements) {
    const auto bytes = static_cast<uintptr_t>(elements) * sizeof *pointer;
    pointer =
        reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(reinterpret_cast<uintptr_t>(pointer) - bytes);
  };
  back(args.q, kRow * args.stride);
  back(args.k, kRow * args.stride);
  back(args.v, kRow * args.stride);
  back(args.o, kRow * args.heads * args.head_dim);
  back(args.state, kSlot * args.heads * problem.state_size);
  for (const Kernel<Args<Real>>& kernel : kernels<Args<Real>>()) {
    if (!kernel.supports(args, current_device())) continue;
    copy_to_device(problem.state.data(), problem.to_float_vector(problem.initial).data(), problem.state.size(),
                   Stream{});
    synchronize(Stream{});
    run_variant(kernel, args);
    problem.check(kernel.name);
  }
}

}  // namespace

TEST_CASE("linear attention: rows and slots beyond 2^31 elements", "[cuda]") {
  if (kSmallShapesOnly) return;
  check_far_away<bf16, LinearPrefillArgs>({2050, 5});
  check_far_away<float, LinearPrefillArgs>({67, 5});
  check_far_away<bf16, LinearDecodeArgs>({1, 1});
  check_far_away<float, LinearDecodeArgs>({1, 1});
}

#if !defined(RINGBENCH_GPU)
TEST_CASE("linear attention: tokens of one piece beyond 2^31 elements of each other", "[cuda]") {
  if (kSmallShapesOnly) return;
  constexpr int64_t kStride = (int64_t{1} << 30) + 8;
  const size_t bytes = static_cast<size_t>(2 * kStride + 3 * 64) * sizeof(bf16);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  Problem<bf16, LinearPrefillArgs<bf16>> problem({1, 1, 64, {3}});
  for (int64_t t = 0; t < 3; ++t)
    for (int64_t i = 0; i < 3 * 64; ++i)
      static_cast<bf16*>(memory)[t * kStride + i] = problem.device_qkv.data()[t * problem.stride + i];
  LinearPrefillArgs<bf16> args = problem.args();
  args.q = static_cast<bf16*>(memory);
  args.k = args.q + 64;
  args.v = args.k + 64;
  args.stride = kStride;
  for (const auto& kernel : kernels<LinearPrefillArgs<bf16>>()) {
    if (!kernel.supports(args, current_device())) continue;
    copy_to_device(problem.state.data(), problem.to_float_vector(problem.initial).data(), problem.state.size(),
                   Stream{});
    run_variant(kernel, args);
    problem.check(kernel.name);
  }
  munmap(memory, bytes);
}
#endif

}  // namespace ringbench::RINGBENCH_BACKEND
