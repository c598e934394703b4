// The equations of reference/ against their definitions, written out as plain loops; and the engine against itself:
// chunks, steps, batches, threads, hand-over of states.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>
#include <numeric>

#include "reference/engine.h"
#include "reference/f16.h"
#include "reference/lightning_attention.h"
#include "reference/moe.h"
#include "reference/norm.h"
#include "reference/random.h"
#include "reference/rope.h"
#include "reference/softmax_attention.h"
#include "tests/catch.h"
#include "tests/golden.h"

using namespace ringbench;

namespace {

template <class Real> Matrix<Real> normal_matrix(int64_t rows, int64_t columns, std::string_view name) {
  Matrix<Real> m(rows, columns);
  const RandomNormal normal = RandomNormal::around_zero(random_key(7, name), 1.f);
  for (int64_t i = 0; i < m.size(); ++i) m.data()[i] = static_cast<Real>(normal(static_cast<uint64_t>(i)));
  return m;
}

template <class Real> ConstRows2d<Real> rows_of(const Matrix<Real>& m) {
  return {m.data(), m.rows(), m.cols(), Eigen::OuterStride<>(m.cols())};
}
template <class Real> Rows2d<Real> rows_of(Matrix<Real>& m) {
  return {m.data(), m.rows(), m.cols(), Eigen::OuterStride<>(m.cols())};
}

// o_t = scale sum_{s <= t} lambda^(t-s) (q_t . k_s) v_s, plus what the state before it contributes.
Matrix<double> lightning_by_definition(const Matrix<double>& q, const Matrix<double>& k, const Matrix<double>& v,
                                       double log_decay, const Matrix<double>& kv) {
  Matrix<double> o = Matrix<double>::Zero(q.rows(), q.cols());
  const double scale = 1 / std::sqrt(static_cast<double>(q.cols()));
  for (int64_t t = 0; t < q.rows(); ++t) {
    o.row(t) = scale * std::exp(static_cast<double>(t + 1) * log_decay) * q.row(t) * kv;
    for (int64_t s = 0; s <= t; ++s)
      o.row(t) += scale * std::exp(static_cast<double>(t - s) * log_decay) * q.row(t).dot(k.row(s)) * v.row(s);
  }
  return o;
}

// Everything about one query by plain loops: window, group of query heads, sink.
Matrix<double> softmax_by_definition(const SoftmaxAttention<double>& a) {
  Matrix<double> o = Matrix<double>::Zero(a.q.rows(), a.q.cols());
  const int64_t d = a.head_dim;
  for (int64_t t = 0; t < a.q.rows(); ++t) {
    for (int64_t h = 0; h < a.heads; ++h) {
      const int64_t own = a.position + t, kv_head = h / (a.heads / a.kv_heads);
      double sum = a.sinks.size() > 0 ? std::exp(a.sinks(h)) : 0;
      for (int64_t s = a.window > 0 ? std::max<int64_t>(0, own + 1 - a.window) : 0; s <= own; ++s) {
        double score = 0;
        for (int64_t j = 0; j < d; ++j) score += a.q(t, h * d + j) * a.k[(s * a.kv_heads + kv_head) * d + j];
        const double weight = std::exp(score / std::sqrt(static_cast<double>(d)));
        sum += weight;
        for (int64_t j = 0; j < d; ++j) o(t, h * d + j) += weight * a.v[(s * a.kv_heads + kv_head) * d + j];
      }
      o.row(t).segment(h * d, d) /= sum;
    }
  }
  return o;
}

ModelConfig tiny() {
  return ModelConfig::load(std::filesystem::path(RINGBENCH_SOURCE_DIR) / "configs/models/tiny.json");
}

std::vector<int32_t> tokens(int64_t count, int64_t vocab, uint64_t seed = 1) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<int32_t>(random_bits(seed, i) % static_cast<uint64_t>(vocab));
  return ids;
}

EngineOptions options_for(DType dtype, int64_t chunk = 0, int slots = 1) {
  EngineOptions options;
  options.dtype = dtype;
  options.chunk = chunk;
  options.slots = slots;
  options.max_tokens = 400;
  return options;
}

std::vector<double> forward(Engine& engine, int slot, const std::vector<int32_t>& ids, Rows rows = Rows::all) {
  const Step step{slot, ids};
  engine.forward({&step, 1}, rows);
  return rows == Rows::none ? std::vector<double>() : as_doubles(engine.logits());
}

// f32 keys and values of all softmax layers.
int64_t sequence_kv_bytes(const ModelConfig& config, int64_t positions) {
  return 2 * 4 * positions * config.num_key_value_heads * config.head_dim * config.count(LayerType::softmax_attention);
}

void append(std::vector<double>& to, const std::vector<double>& from) { to.insert(to.end(), from.begin(), from.end()); }

}  // namespace

TEST_CASE("lightning attention, recurrent and chunked, is its definition at every length around a chunk") {
  for (const int64_t T : {1, 2, 63, 64, 65, 130}) {
    for (const double log_decay : {-0.7, -0.01, -4e-8}) {
      for (const int64_t C : {1, 16, 64}) {
        INFO("T " << T << ", log decay " << log_decay << ", chunk " << C);
        const auto q = normal_matrix<double>(T, 24, "q"), k = normal_matrix<double>(T, 24, "k"),
                   v = normal_matrix<double>(T, 24, "v");
        const auto before = normal_matrix<double>(24, 24, "kv");
        const auto expected = lightning_by_definition(q, k, v, log_decay, before);
        Matrix<double> recurrent(T, 24), chunked(T, 24), kv = before, kv_chunked = before;
        lightning_attention_recurrent<double>(rows_of(q), rows_of(k), rows_of(v), log_decay, kv, rows_of(recurrent));
        lightning_attention_chunked<double>(rows_of(q), rows_of(k), rows_of(v), log_decay, kv_chunked, rows_of(chunked),
                                            C);
        // f64: a few hundred sums of numbers around 1.
        REQUIRE((recurrent - expected).cwiseAbs().maxCoeff() <= 1e-12 * expected.cwiseAbs().maxCoeff());
        REQUIRE((chunked - expected).cwiseAbs().maxCoeff() <= 1e-12 * expected.cwiseAbs().maxCoeff());
        REQUIRE((kv - kv_chunked).cwiseAbs().maxCoeff() <= 1e-12 * kv.cwiseAbs().maxCoeff());
      }
    }
  }
}

TEST_CASE("an f32 recurrence keeps a decay that is nearly 1") {
  // lambda = exp(-6.3e-7) rounded to f32 is 4 % off in log; 1 - lambda is not. 20,000 steps with k = 0 show it.
  const int64_t T = 20000;
  const double log_decay = -6.3e-7;
  const Matrix<float> zero = Matrix<float>::Zero(T, 1);
  Matrix<float> kv = Matrix<float>::Constant(1, 1, 1.f), o(T, 1);
  lightning_attention_recurrent<float>(rows_of(zero), rows_of(zero), rows_of(zero), log_decay, kv, rows_of(o));
  const double expected = std::exp(static_cast<double>(T) * log_decay);
  // Each step rounds once (6e-8 relative, of either sign): a random walk of 20,000 steps ends within 4 sigma, 2e-5.
  REQUIRE(std::abs(static_cast<double>(kv(0, 0)) - expected) <= 4 * 6e-8 * std::sqrt(static_cast<double>(T)));
}

TEST_CASE("softmax attention is its definition: groups, windows, sinks, and few queries on a long cache") {
  struct Shape {
    int64_t T, position, heads, kv_heads, window;
    bool sinks;
  };
  for (const Shape& s :
       {Shape{1, 0, 1, 1, 0, false}, Shape{5, 0, 4, 2, 0, false}, Shape{130, 37, 4, 1, 0, true},
        Shape{300, 5, 3, 3, 24, true}, Shape{70, 600, 6, 2, 1, false}, Shape{3, 40, 2, 1, 128, true},
        Shape{1, 20000, 2, 1, 0, true}, Shape{2, 17000, 2, 2, 9000, false}, Shape{65, 1100, 2, 1, 100, false}}) {
    INFO("T " << s.T << " position " << s.position << " heads " << s.heads << "/" << s.kv_heads << " window "
              << s.window);
    constexpr int64_t d = 16;
    const auto q = normal_matrix<double>(s.T, s.heads * d, "q"),
               k = normal_matrix<double>(s.position + s.T, s.kv_heads * d, "k");
    const auto v = normal_matrix<double>(s.position + s.T, s.kv_heads * d, "v");
    RowVector<double> sinks;
    if (s.sinks) sinks = normal_matrix<double>(1, s.heads, "sinks");
    const SoftmaxAttention<double> a{q, k.data(), v.data(), s.position, s.heads, s.kv_heads, d, s.window, sinks};
    const Matrix<double> expected = softmax_by_definition(a);
    // f64: sums over up to 20,000 keys, 1e-16 sqrt(20,000) and some room.
    REQUIRE((softmax_attention(a) - expected).cwiseAbs().maxCoeff() <= 1e-13);
  }
}

TEST_CASE("scores that overflow exp without the running maximum give finite attention") {
  const Matrix<float> q = Matrix<float>::Constant(2, 4, 100.f), k = Matrix<float>::Constant(600, 4, 100.f);
  const auto v = normal_matrix<float>(600, 4, "v");
  const RowVector<float> sinks;
  const Matrix<float> o = softmax_attention(SoftmaxAttention<float>{q, k.data(), v.data(), 598, 1, 1, 4, 0, sinks});
  // All scores are equal: the mean of the values.
  REQUIRE((o.row(1) - v.colwise().mean()).cwiseAbs().maxCoeff() <= 1e-5f);
}

TEST_CASE("RMSNorm over groups equals RMSNorm of each group, with one weight or one for each channel") {
  auto x = normal_matrix<double>(3, 12, "x");
  const Matrix<double> before = x;
  const RowVector<double> weight = normal_matrix<double>(1, 12, "w");
  group_rms_norm(x, weight, 3, 1e-3);
  for (int64_t t = 0; t < 3; ++t) {
    for (int64_t c = 0; c < 12; ++c) {
      const auto group = before.row(t).segment(c / 4 * 4, 4);
      REQUIRE(std::abs(x(t, c) - before(t, c) / std::sqrt(group.squaredNorm() / 4 + 1e-3) * weight(c)) <= 1e-14);
    }
  }
  Matrix<double> y = before;
  const RowVector<double> shared = weight.head(4);
  group_rms_norm(y, shared, 3, 1e-3);
  REQUIRE(std::abs(y(2, 9) / x(2, 9) - weight(1) / weight(9)) <= 1e-12);
}

TEST_CASE("top-k takes the lowest index among equals") {
  const std::vector<double> score{1, 3, 3, 2, 3};
  REQUIRE(top_k(score.data(), 5, 3) == std::vector<int32_t>{1, 2, 4});
}

TEST_CASE("dropped expert groups are never chosen, not even by a positive zero against negative scores") {
  ModelConfig config = tiny();
  config.router = Router::sigmoid_topk;
  config.num_experts = 8, config.num_experts_per_tok = 3, config.n_group = 4, config.topk_group = 2;
  Matrix<double> logits(1, 8), scores;
  logits << -1, -2, -3, -4, 3, -9, 2, -9;                       // the best two of each group: 0, 1 | 2, 3 | 4, 5 | 6, 7
  RowVector<double> bias = RowVector<double>::Constant(8, -5);  // all biased scores are negative
  const Route<double> r = route(logits, bias, config, scores);
  REQUIRE(r.experts.row(0) == (Eigen::RowVector3i() << 4, 6, 5).finished());
  const double sum = scores(0, 4) + scores(0, 6) + scores(0, 5);
  REQUIRE(std::abs(r.weights(0, 0) - scores(0, 4) / sum * config.routed_scaling_factor) <= 1e-15);
}

TEST_CASE("routing weights: normalised where the config says so, but never a single one; no overflow") {
  ModelConfig config = tiny();
  config.n_group = config.topk_group = 1;
  config.num_experts = 4;
  config.routed_scaling_factor = 2;
  Matrix<double> logits(1, 4), scores;
  logits << 1000, 998, 0, 999;  // exp of these is infinite
  for (const Router router : {Router::softmax_topk, Router::sigmoid_topk}) {
    for (const bool norm : {true, false}) {
      for (const int k : {1, 2}) {
        INFO(static_cast<int>(router) << " norm " << norm << " k " << k);
        config.router = router, config.norm_topk_prob = norm, config.num_experts_per_tok = k;
        const Route<double> r = route(logits, RowVector<double>(), config, scores);
        REQUIRE(r.experts(0, 0) == 0);
        // Softmax over logits 0, -1, -2 (and one too small to see); sigmoids are 1.
        const double first = router == Router::softmax_topk ? 1 / (1 + std::exp(-1) + std::exp(-2)) : 1.0,
                     second = router == Router::softmax_topk ? first * std::exp(-1) : 1.0;
        const double sum = norm && k > 1 ? first + second : 1.0;
        REQUIRE(std::abs(r.weights(0, 0) - 2 * first / sum) <= 1e-15);
        if (k > 1) REQUIRE(std::abs(r.weights(0, 1) - 2 * second / sum) <= 1e-15);
      }
    }
  }
}

TEST_CASE("a mixture in which one expert takes everything and others nothing is the plain sum") {
  ModelConfig config = tiny();
  config.swiglu_limit = 0;
  std::vector<Mlp<double>> experts(3);
  for (size_t e = 0; e < 3; ++e)
    experts[e] = {normal_matrix<double>(5, 6, "gate" + std::to_string(e)),
                  normal_matrix<double>(5, 6, "up" + std::to_string(e)),
                  normal_matrix<double>(6, 5, "down" + std::to_string(e)),
                  {},
                  {},
                  {}};
  const auto x = normal_matrix<double>(200, 6, "x");
  Route<double> r{{}, Matrix<double>::Constant(200, 2, 0.25)};
  r.experts.setConstant(200, 2, 1);
  r.experts(7, 1) = 2;
  const Matrix<double> y = mixture(x, r, experts, config), one = mlp(x, experts[1], config),
                       two = mlp(x, experts[2], config);
  for (int64_t t = 0; t < 200; ++t)  // 399 pairs of one expert: more than go through it at once
    REQUIRE((y.row(t) - 0.25 * one.row(t) - 0.25 * (t == 7 ? two : one).row(t)).norm() <= 1e-12);
}

TEST_CASE("YaRN's ramp is its definition where its ends leave the pairs there are, or fall together") {
  struct Window {
    double theta;
    int64_t original;
    double beta_fast, beta_slow;
    bool truncate;
  };
  for (const Window& w : {Window{1e4, 131072, 32, 1, true},  // ends beyond the last pair
                          Window{1e4, 131072, 32, 1, false}, Window{1e6, 32768, 32, 1, true},
                          Window{1e4, 6, 32, 1, true},    // both ends at the first pair
                          Window{1e4, 100, 32, 1, true},  // begins before it
                          Window{1e4, 4096, 2, 2, false}}) {
    INFO("theta " << w.theta << ", window " << w.original);
    constexpr int D = 64;
    const RopeScaling yarn{4, w.original, w.beta_fast, w.beta_slow, w.truncate, 1};
    const auto frequencies = inverse_frequencies(D, w.theta, yarn);
    double low = D * std::log(static_cast<double>(w.original) / (w.beta_fast * 2 * std::numbers::pi)) /
                 (2 * std::log(w.theta)),
           high = D * std::log(static_cast<double>(w.original) / (w.beta_slow * 2 * std::numbers::pi)) /
                  (2 * std::log(w.theta));
    if (w.truncate) low = std::floor(low), high = std::ceil(high);
    low = low < 0 ? 0 : low;
    for (int j = 0; j < D / 2; ++j) {
      const double plain = std::pow(w.theta, -2.0 * j / D);
      const double at = (j - low) / (high - low), ramp = j <= low ? 0 : high - low < 0.01 || at > 1 ? 1 : at;
      REQUIRE(std::abs(frequencies[static_cast<size_t>(j)] / (plain * (1 - ramp) + plain / 4 * ramp) - 1) <= 1e-13);
    }
  }
}

TEST_CASE("tf32 drops bits, f16 rounds to nearest even, keeps subnormals and overflows") {
  CHECK(truncated_tf32(1 + 0x1p-10) == 1 + 0x1p-10);
  CHECK(truncated_tf32(-(1 + 0x1.ffp-11)) == -1);
  CHECK(nearest_f16(1 + 0x1p-11) == 1);           // halfway: to even
  CHECK(nearest_f16(1 + 0x3p-11) == 1 + 0x1p-9);  // halfway: to even
  CHECK(nearest_f16(0x1.8p-24) == 0x1p-23);       // halfway between the two smallest subnormals
  CHECK(nearest_f16(65519) == 65504);
  CHECK(nearest_f16(-65520) == -std::numeric_limits<double>::infinity());
  CHECK(half_to_float(0x3c01) == 1 + 0x1p-10f);
}

TEST_CASE("fp8 e4m3 rounds to nearest even, saturates at 448 and keeps subnormals") {
  REQUIRE(nearest_e4m3(1.0625) == 1.0);   // halfway between 1 and 1.125: to even
  REQUIRE(nearest_e4m3(1.1875) == 1.25);  // halfway between 1.125 and 1.25: to even
  REQUIRE(nearest_e4m3(500) == 448);
  REQUIRE(nearest_e4m3(-0.0021) == -std::ldexp(1, -9));
  REQUIRE(nearest_e4m3(0.0009) == 0);
  std::vector<double> row{-1, 0.5, 3e-4};
  round_to<double>(Rounding::fp8_e4m3, row, 3);
  REQUIRE(row[0] == -1);
  REQUIRE(row[1] == 0.5);
}

TEST_CASE("bf16 rounds to nearest even and keeps NaN") {
  REQUIRE(static_cast<float>(bf16(1.f + 1.f / 256)) == 1.f);
  REQUIRE(static_cast<float>(bf16(1.f + 3.f / 256)) == 1.f + 1.f / 64);
  REQUIRE(std::isnan(static_cast<float>(bf16(std::nanf("")))));
  REQUIRE(std::isinf(static_cast<float>(bf16(3.4e38f))));
}

TEST_CASE("one shot, chunks and single tokens agree in f64") {
  const ModelConfig config = tiny();
  const Weights weights = Weights::random(config, 3);
  const auto ids = tokens(150, config.vocab_size);
  const auto whole = forward(*make_reference_engine(config, weights, options_for(DType::f64)), 0, ids);
  // f64 rounding through a few layers, logits of unit spread.
  const double budget = 1e-11;
  for (const int64_t chunk : {1, 64, 100}) {
    INFO("chunk " << chunk);
    REQUIRE(max_abs_difference(forward(*make_reference_engine(config, weights, options_for(DType::f64, chunk)), 0, ids),
                               whole) <= budget);
  }
  auto stepwise = make_reference_engine(config, weights, options_for(DType::f64));
  std::vector<double> rows;
  for (const int32_t id : ids) append(rows, forward(*stepwise, 0, {id}));
  REQUIRE(max_abs_difference(rows, whole) <= budget);
}

TEST_CASE("one shot, chunks and single tokens agree in f32 within twice the error of f32 itself") {
  const ModelConfig config = tiny();
  const Weights weights = Weights::random(config, 3);
  const auto ids = tokens(150, config.vocab_size);
  const auto truth = forward(*make_reference_engine(config, weights, options_for(DType::f64)), 0, ids);
  const auto whole = forward(*make_reference_engine(config, weights, options_for(DType::f32)), 0, ids);
  const double unavoidable = max_abs_difference(whole, truth);
  REQUIRE(unavoidable > 0);
  for (const int64_t chunk : {1, 64, 100}) {
    INFO("chunk " << chunk);
    const auto chunked = forward(*make_reference_engine(config, weights, options_for(DType::f32, chunk)), 0, ids);
    REQUIRE(max_abs_difference(chunked, truth) <= 2 * unavoidable);
  }
}

TEST_CASE("a batch row is what the sequence gives alone, whatever its neighbours are") {
  const ModelConfig config = tiny();
  const Weights weights = Weights::random(config, 3);
  const std::vector<std::vector<int32_t>> prompts{tokens(1, 256, 5), tokens(90, 256, 6), tokens(200, 256, 7)};
  auto batch = make_reference_engine(config, weights, options_for(DType::f64, 64, 3));
  const std::vector<Step> steps{{2, prompts[0]}, {0, prompts[1]}, {1, prompts[2]}};
  batch->forward(steps, Rows::all);
  const auto together = as_doubles(batch->logits());
  std::vector<double> alone;
  for (const auto& prompt : prompts)
    append(alone, forward(*make_reference_engine(config, weights, options_for(DType::f64, 64)), 0, prompt));
  REQUIRE(max_abs_difference(together, alone) <= 1e-11);
  REQUIRE(batch->position(1) == 200);
}

TEST_CASE("results do not depend on the number of threads, bit for bit") {
  const ModelConfig config = tiny();
  const Weights weights = Weights::random(config, 3);
  const auto ids = tokens(300, config.vocab_size);
  std::vector<double> one;
  for (const int threads : {1, 2, 3}) {
    EngineOptions options = options_for(DType::f32, 128);
    options.threads = threads;
    auto engine = make_reference_engine(config, weights, options);
    auto logits = forward(*engine, 0, ids);
    append(logits, forward(*engine, 0, {5}));
    if (threads == 1) one = logits;
    REQUIRE(logits == one);
  }
}

TEST_CASE("exporting a state and importing it elsewhere changes nothing, bit for bit, at any point") {
  for (const char* name : {"v2_hybrid", "gpt_oss", "v2_softmax_mtp"}) {
    ModelConfig config = ModelConfig::load(goldens() / name / "config.json");
    const Weights weights = Weights::load(config, goldens() / name);
    for (const DType dtype : {DType::f64, DType::f32}) {
      for (const size_t cut : {size_t{1}, size_t{33}, size_t{64}}) {
        INFO(name << " " << name_of(dtype) << " cut " << cut);
        const auto ids = tokens(80, config.vocab_size);
        const std::vector<int32_t> head(ids.begin(), ids.begin() + static_cast<int64_t>(cut)),
            tail(ids.begin() + static_cast<int64_t>(cut), ids.end());
        EngineOptions options = options_for(dtype);
        options.mtp = config.has_mtp();
        auto first = make_reference_engine(config, weights, options),
             second = make_reference_engine(config, weights, options);
        forward(*first, 0, head, Rows::none);
        for (int layer = 0; layer < config.num_hidden_layers + (options.mtp ? 1 : 0); ++layer)
          second->import_state(0, layer, first->export_state(0, layer), static_cast<int64_t>(cut));
        const auto went_on = forward(*first, 0, tail);
        const auto mtp_went_on = as_doubles(first->mtp_logits());
        REQUIRE(forward(*second, 0, tail) == went_on);
        REQUIRE(as_doubles(second->mtp_logits()) == mtp_went_on);
      }
    }
  }
}

TEST_CASE("seek goes back and forth over a cache; a recurrent state stays") {
  ModelConfig config = ModelConfig::load(goldens() / "qwen3" / "config.json");
  const Weights weights = Weights::load(config, goldens() / "qwen3");
  const auto ids = tokens(60, config.vocab_size);
  auto engine = make_reference_engine(config, weights, options_for(DType::f64));
  const auto logits = forward(*engine, 0, ids);
  engine->seek(0, 59);
  REQUIRE(max_abs_difference(forward(*engine, 0, {ids[59]}), {logits.end() - config.vocab_size, logits.end()}) <=
          1e-12);
  engine->seek(0, 30);
  engine->seek(0, 60);
  REQUIRE_THROWS_AS(engine->seek(0, 61), std::out_of_range);
}

TEST_CASE("a forward after seeking back keeps what lies beyond; an imported state can be moved in too") {
  const ModelConfig config = tiny().with_hybrid_ratio(HybridRatio::parse("softmax"));
  const Weights weights = Weights::random(config, 3);
  const auto ids = tokens(60, config.vocab_size);
  auto engine = make_reference_engine(config, weights, options_for(DType::f64));
  forward(*engine, 0, ids, Rows::none);
  const auto next = forward(*engine, 0, {7});
  engine->seek(0, 30);
  forward(*engine, 0, {ids[30]}, Rows::none);  // the token that was there
  engine->seek(0, 60);
  REQUIRE(max_abs_difference(forward(*engine, 0, {7}), next) <= 1e-12);

  auto other = make_reference_engine(config, weights, options_for(DType::f64));
  engine->seek(0, 60);
  for (int layer = 0; layer < config.num_hidden_layers; ++layer)
    other->import_state(0, layer, engine->export_state(0, layer), 60);
  REQUIRE(other->position(0) == 60);
  other->seek(0, 0);
  other->seek(0, 60);
  REQUIRE(max_abs_difference(forward(*other, 0, {7}), next) <= 1e-12);
}

TEST_CASE("a reset sequence starts anew, and its neighbours go on") {
  const ModelConfig config = tiny();
  auto engine = make_reference_engine(config, Weights::random(config, 3), options_for(DType::f32, 0, 2));
  const auto ids = tokens(50, config.vocab_size);
  const auto first = forward(*engine, 0, ids), neighbour = forward(*engine, 1, ids);
  engine->reset(0);
  REQUIRE(engine->position(0) == 0);
  REQUIRE(engine->position(1) == 50);
  REQUIRE_THROWS_AS(engine->seek(0, 1), std::out_of_range);
  REQUIRE(engine->report().memory.kv == sequence_kv_bytes(config, 50));
  REQUIRE(forward(*engine, 0, ids) == first);
  REQUIRE(forward(*engine, 1, {3}) == forward(*engine, 0, {3}));
}

TEST_CASE("Rows::last gives the last of all rows; the greedy choice is the largest, the lowest id among equals") {
  const ModelConfig config = tiny();
  const Weights weights = Weights::random(config, 3);
  const auto ids = tokens(70, config.vocab_size);
  for (const int64_t chunk : {0, 32}) {
    auto engine = make_reference_engine(config, weights, options_for(DType::f64, chunk));
    const auto all = forward(*engine, 0, ids);
    engine->reset(0);
    const auto last = forward(*engine, 0, ids, Rows::last);
    REQUIRE(max_abs_difference(last, {all.end() - config.vocab_size, all.end()}) <= 1e-12);
    int32_t chosen = -1;
    engine->argmax({&chosen, 1});
    REQUIRE(chosen == std::max_element(last.begin(), last.end()) - last.begin());
    std::vector<int32_t> two(2);
    REQUIRE_THROWS_AS(engine->argmax(two), std::invalid_argument);
  }
  auto zero = make_reference_engine(config, Weights::random(config, 3, Dummy::zero), options_for(DType::f32));
  REQUIRE(max_abs(forward(*zero, 0, ids, Rows::last)) == 0);
  int32_t chosen = -1;
  zero->argmax({&chosen, 1});
  REQUIRE(chosen == 0);
}

TEST_CASE("no pass holds more than a chunk of rows, whatever the batch; single tokens always go together") {
  const ModelConfig config = tiny();
  auto engine = make_reference_engine(config, Weights::random(config, 3), options_for(DType::f32, 4, 6));
  std::vector<int64_t> passes;
  engine->hook = [&](int, std::string_view name, const HostTensorView& values) {
    if (name == "hidden.0") passes.push_back(values.shape[0]);
  };
  const auto a = tokens(3, 256, 5), b = tokens(9, 256, 6), c = tokens(2, 256, 7);
  engine->forward(std::vector<Step>{{0, a}, {1, b}, {2, c}}, Rows::none);
  REQUIRE(passes == std::vector<int64_t>{3, 4, 4, 3});  // a | b | b | the rest of b and c
  passes.clear();
  std::vector<Step> steps;
  for (int slot = 0; slot < 6; ++slot) steps.push_back({slot, std::span(a).first(1)});
  engine->forward(steps, Rows::last);
  REQUIRE(passes == std::vector<int64_t>{6});
}

TEST_CASE("states come in as f64, f32 or bf16; wrong shapes, types and positions are refused") {
  const ModelConfig config = tiny();
  auto engine = make_reference_engine(config, Weights::random(config, 3), options_for(DType::f32));
  const int linear = 0, softmax = config.num_hidden_layers - 1;
  HostTensor values(DType::bf16, {config.num_attention_heads, config.head_dim, config.head_dim});
  for (size_t i = 0; bf16 & x : values.as<bf16>()) x = bf16(static_cast<float>(i++ % 64) - 31.5f);
  LayerState state;
  state.kv = std::move(values);
  engine->import_state(0, linear, state, 5);
  const LayerState back = engine->export_state(0, linear);
  for (size_t i = 0; const float x : back.kv.as<float>()) REQUIRE(x == static_cast<float>(i++ % 64) - 31.5f);

  LayerState cache;
  cache.k = HostTensor(DType::f32, {5, config.num_key_value_heads, config.head_dim});
  cache.v = HostTensor(DType::f32, {5, config.num_key_value_heads, config.head_dim});
  std::fill_n(cache.k.raw(), cache.k.bytes(), std::byte{0});
  std::fill_n(cache.v.raw(), cache.v.bytes(), std::byte{0});
  REQUIRE_NOTHROW(engine->import_state(0, softmax, cache, 5));
  REQUIRE_THROWS_AS(engine->import_state(0, softmax, cache, 6), std::invalid_argument);  // one row short
  REQUIRE_THROWS_AS(engine->import_state(0, softmax, state, 5), std::invalid_argument);
  REQUIRE_THROWS_AS(engine->import_state(0, linear, cache, 5), std::invalid_argument);
  REQUIRE_THROWS_AS(engine->import_state(0, linear, state, 401), std::length_error);
  REQUIRE_THROWS_AS(engine->import_state(0, linear, state, -1), std::length_error);
  state.kv = HostTensor(DType::i32, {config.num_attention_heads, config.head_dim, config.head_dim});
  REQUIRE_THROWS_AS(engine->import_state(0, linear, state, 5), std::invalid_argument);
}

TEST_CASE("linear layers: SiLU on q, k and v, no rope, and key heads shared by neighbouring query heads") {
  ModelConfig config = tiny();
  config.use_qk_norm = config.linear_rope = false;
  config.linear_silu = true;
  config.linear_key_value_heads = 2;
  const Weights weights = Weights::random(config, 3);
  const auto engine = make_reference_engine(config, weights, options_for(DType::f64));
  std::map<std::string, Matrix<double>> seen;  // "0.attn_in": [T, columns]
  engine->hook = [&](int layer, std::string_view name, const HostTensorView& values) {
    const int64_t rows = values.shape.empty() ? 0 : values.shape[0];
    if (values.dtype != DType::f64 || rows == 0) return;
    seen[std::to_string(layer) + "." + std::string(name)] = Eigen::Map<const Matrix<double>>(
        values.as<double>().data(), rows, static_cast<int64_t>(values.as<double>().size()) / rows);
  };
  const int64_t T = 30, d = config.head_dim, n = config.num_attention_heads;
  const auto ids = tokens(T, config.vocab_size);
  const auto logits = forward(*engine, 0, ids);
  const auto projected = [&](int layer, int64_t kv_heads) {
    Matrix<double> w((n + 2 * kv_heads) * d, config.hidden_size);
    weights.read<double>("model.layers." + std::to_string(layer) + ".attention.query_key_value.weight",
                         {w.data(), static_cast<size_t>(w.size())});
    return Matrix<double>(seen.at(std::to_string(layer) + ".attn_in") * w.transpose());
  };
  const Matrix<double> qkv = projected(1, 2);
  const Matrix<double> silu = qkv.unaryExpr([](double z) { return z / (1 + std::exp(-z)); });
  REQUIRE((seen.at("1.q") - silu.leftCols(n * d)).cwiseAbs().maxCoeff() <= 1e-13);
  REQUIRE((seen.at("1.k") - silu.middleCols(n * d, 2 * d)).cwiseAbs().maxCoeff() <= 1e-13);
  REQUIRE((seen.at("1.v") - silu.rightCols(2 * d)).cwiseAbs().maxCoeff() <= 1e-13);
  for (int64_t h = 0; h < n; ++h) {
    const int64_t key_head = h / (n / 2);
    const Matrix<double> expected =
        lightning_by_definition(seen.at("1.q").middleCols(h * d, d), seen.at("1.k").middleCols(key_head * d, d),
                                seen.at("1.v").middleCols(key_head * d, d), config.log_decay(1)[static_cast<size_t>(h)],
                                Matrix<double>::Zero(d, d));
    REQUIRE((seen.at("1.attn_ctx").middleCols(h * d, d) - expected).cwiseAbs().maxCoeff() <= 1e-12);
  }
  const auto stepwise = make_reference_engine(config, weights, options_for(DType::f64));
  std::vector<double> rows;
  for (const int32_t id : ids) append(rows, forward(*stepwise, 0, {id}));
  REQUIRE(max_abs_difference(rows, logits) <= 1e-11);
  // Softmax layers have no SiLU, and rope all the same: the token at position 0 is not turned, later ones are.
  const std::string softmax = std::to_string(config.num_hidden_layers - 1);
  const Matrix<double> plain = projected(config.num_hidden_layers - 1, config.num_key_value_heads).leftCols(n * d);
  REQUIRE((seen.at(softmax + ".q").row(0) - plain.row(0)).cwiseAbs().maxCoeff() <= 1e-13);
  REQUIRE((seen.at(softmax + ".q").row(9) - plain.row(9)).cwiseAbs().maxCoeff() > 0.1);
}

TEST_CASE("norm_head scales the columns of the head, of tied embeddings too, and leaves the embeddings alone") {
  for (const bool tied : {false, true}) {
    ModelConfig config = tiny();
    config.norm_head = true;
    config.tie_word_embeddings = tied;
    const Weights weights = Weights::random(config, 3);
    const auto engine = make_reference_engine(config, weights, options_for(DType::f64));
    Matrix<double> embedded, normed;
    engine->hook = [&](int, std::string_view name, const HostTensorView& values) {
      if (name == "hidden.0" || name == "final_norm")
        (name == "final_norm" ? normed : embedded) =
            Eigen::Map<const Matrix<double>>(values.as<double>().data(), values.shape[0], values.shape[1]);
    };
    const auto ids = tokens(5, config.vocab_size);
    const auto logits = forward(*engine, 0, ids);
    const auto read = [&](const char* name) {
      Matrix<double> m(config.vocab_size, config.hidden_size);
      weights.read<double>(name, {m.data(), static_cast<size_t>(m.size())});
      return m;
    };
    const Matrix<double> embeddings = read("model.word_embeddings.weight");
    const Matrix<double> head = tied ? embeddings : read("lm_head.weight");
    for (int64_t t = 0; t < 5; ++t) {
      REQUIRE(embedded.row(t) == embeddings.row(ids[static_cast<size_t>(t)]));
      for (int64_t word = 0; word < config.vocab_size; ++word) {
        double expected = 0;
        for (int64_t c = 0; c < config.hidden_size; ++c)
          expected += normed(t, c) * head(word, c) / (head.col(c).norm() + 1e-7);
        REQUIRE(std::abs(logits[static_cast<size_t>(t * config.vocab_size + word)] - expected) <= 1e-12);
      }
    }
  }
}

TEST_CASE("the MTP layer is softmax attention even where all layers are linear, and its cache is planned for") {
  ModelConfig config = tiny().with_hybrid_ratio(HybridRatio::parse("linear"));
  config.num_nextn_predict_layers = 1;
  const Weights weights = Weights::random(config, 3);
  const auto ids = tokens(80, config.vocab_size);
  EngineOptions options = options_for(DType::f64);
  options.mtp = true;
  auto whole = make_reference_engine(config, weights, options);
  forward(*whole, 0, ids);
  const auto expected = as_doubles(whole->mtp_logits());
  REQUIRE(expected.size() == static_cast<size_t>(79 * config.vocab_size));
  options.chunk = 32;
  auto chunked = make_reference_engine(config, weights, options);
  forward(*chunked, 0, ids);
  REQUIRE(max_abs_difference(as_doubles(chunked->mtp_logits()), expected) <= 1e-11);
  const LayerState state = whole->export_state(0, config.num_hidden_layers);
  REQUIRE(state.k.shape() == std::vector<int64_t>{79, config.num_key_value_heads, config.head_dim});
  REQUIRE(plan_reference_memory(config, options).kv ==
          2 * sequence_kv_bytes(config.with_hybrid_ratio(HybridRatio::parse("LLLS")), 400));
}

TEST_CASE("bad calls are refused before anything changes") {
  const ModelConfig config = tiny();
  auto engine = make_reference_engine(config, Weights::random(config, 3), options_for(DType::f32));
  const std::vector<int32_t> bad{1, static_cast<int32_t>(config.vocab_size)}, good{1, 2};
  const std::vector<Step> twice{{0, good}, {0, good}};
  REQUIRE_THROWS_AS(forward(*engine, 0, bad), std::invalid_argument);
  REQUIRE_THROWS_AS(forward(*engine, 0, {-1}), std::invalid_argument);
  REQUIRE_THROWS_AS(forward(*engine, 0, {}), std::invalid_argument);
  REQUIRE_THROWS_AS(engine->forward(twice, Rows::last), std::invalid_argument);
  REQUIRE_THROWS_AS(forward(*engine, 0, tokens(401, config.vocab_size)), std::length_error);
  REQUIRE(engine->position(0) == 0);
}

TEST_CASE("rounding points change the output, each of them, and the state keeps f32 unless it is asked for") {
  const ModelConfig config = tiny();
  const Weights weights = Weights::random(config, 3);
  const auto ids = tokens(100, config.vocab_size);
  const auto exact = forward(*make_reference_engine(config, weights, options_for(DType::f64)), 0, ids);
  for (Rounding Precision::*point :
       {&Precision::residual, &Precision::norm, &Precision::activations, &Precision::qkv, &Precision::kv_cache,
        &Precision::operands, &Precision::state, &Precision::attention, &Precision::router, &Precision::lm_head}) {
    EngineOptions options = options_for(DType::f64, 16);
    options.precision.*point = Rounding::bf16;
    const double error = max_abs_difference(forward(*make_reference_engine(config, weights, options), 0, ids), exact);
    REQUIRE(error > 1e-6);
    REQUIRE(error < 5);
  }
  EngineOptions options = options_for(DType::f64);
  options.precision.weights =
      Rounding::bf16;  // random weights are bf16 already, but for expert_bias, which is no matrix
  REQUIRE(forward(*make_reference_engine(config, weights, options), 0, ids) == exact);
  options.precision.weights = Rounding::fp8_e4m3;
  REQUIRE(max_abs_difference(forward(*make_reference_engine(config, weights, options), 0, ids), exact) > 1e-3);
}

TEST_CASE("operands of attention's products can be rounded, and nothing else is") {
  const Matrix<double> q = normal_matrix<double>(150, 32, "q"), k = normal_matrix<double>(150, 32, "k"),
                       v = normal_matrix<double>(150, 32, "v");
  const auto lightning = [&](Rounding operands) {
    Matrix<double> kv = normal_matrix<double>(32, 32, "kv"), o(150, 32);
    lightning_attention_chunked(rows_of(q), rows_of(k), rows_of(v), -0.01, kv, rows_of(o), 64, operands);
    return o;
  };
  const RowVector<double> no_sinks;
  const auto softmax = [&](Rounding operands) {
    return softmax_attention(SoftmaxAttention<double>{.q = q,
                                                      .k = k.data(),
                                                      .v = v.data(),
                                                      .position = 0,
                                                      .heads = 2,
                                                      .kv_heads = 2,
                                                      .head_dim = 16,
                                                      .sinks = no_sinks,
                                                      .operands = operands});
  };
  // Rounding to 8 bits of mantissa is off by 2^-9 at most and by about a third of that on average.
  const auto relative = [](const Matrix<double>& a, const Matrix<double>& b) { return (a - b).norm() / b.norm(); };
  for (const double error : {relative(lightning(Rounding::bf16), lightning(Rounding::none)),
                             relative(softmax(Rounding::bf16), softmax(Rounding::none))}) {
    CHECK(error > 0x1p-12);
    CHECK(error < 0x1p-8);
  }
}

TEST_CASE("one layer alone repeats the layer of a whole model, bit for bit, from a state handed over too") {
  const ModelConfig config = ModelConfig::load(goldens() / "v2_hybrid" / "config.json");
  const Weights weights = Weights::load(config, goldens() / "v2_hybrid");
  EngineOptions options;
  options.dtype = DType::f64;
  options.max_tokens = 40;
  const auto engine = make_reference_engine(config, weights, options);
  std::map<std::pair<int, std::string>, HostTensor> seen;
  engine->hook = [&](int layer, std::string_view name, const HostTensorView& values) {
    if (values.dtype != DType::f64) return;
    HostTensor copy(values.dtype, values.shape);
    std::copy_n(values.data, values.bytes(), copy.raw());
    seen.insert_or_assign({layer, std::string(name)}, std::move(copy));
  };
  const std::vector<int32_t> prompt = tokens(39, config.vocab_size), next = tokens(1, config.vocab_size, 2);
  const Step first{0, prompt}, second{0, next};
  engine->forward({&first, 1}, Rows::none);
  const auto prefill = std::move(seen);
  seen.clear();
  std::vector<LayerState> states;
  for (int i = 0; i < config.num_hidden_layers; ++i) states.push_back(engine->export_state(0, i));
  engine->forward({&second, 1}, Rows::none);

  for (int i = 0; i < config.num_hidden_layers; ++i) {
    const auto layer = make_reference_layer(config, weights, i, options);
    const auto same = [&](const HostTensor& mine, const auto& from, const char* name) {
      return as_doubles(mine) == as_doubles(from.at({i, name}));
    };
    CHECK(same(layer->attention(prefill.at({i, "attn_in"})), prefill, "attn_out"));
    CHECK(same(layer->mlp(prefill.at({i, "mlp_in"})), prefill, "mlp_out"));
    CHECK(same(layer->attention(seen.at({i, "attn_in"})), seen, "attn_out"));

    const auto other = make_reference_layer(config, weights, i, options);
    other->import_state(states[static_cast<size_t>(i)], 39);
    CHECK(same(other->attention(seen.at({i, "attn_in"})), seen, "attn_out"));
    CHECK(same(other->mlp(seen.at({i, "mlp_in"})), seen, "mlp_out"));
    CHECK_THROWS_AS(other->attention(seen.at({i, "attn_in"})), std::length_error);
  }
  CHECK_THROWS_AS(make_reference_layer(config, weights, config.num_hidden_layers, options), std::out_of_range);
}

TEST_CASE("uniform routing loads all experts alike") {
  const ModelConfig config = tiny();
  EngineOptions options = options_for(DType::f32, 64);
  options.routing = Routing::uniform;
  auto engine = make_reference_engine(config, Weights::random(config, 3), options);
  forward(*engine, 0, tokens(config.num_experts * 8, config.vocab_size), Rows::none);
  const Report report = engine->report();
  REQUIRE(!report.expert_tokens.empty());
  for (const auto& [layer, counts] : report.expert_tokens)
    for (const int64_t count : counts) REQUIRE(count == 8 * config.num_experts_per_tok);
  REQUIRE(engine->report().expert_tokens.empty());  // counted since the last report
  // Three tokens at a time, as a decode would: token t goes on where token t - 1 ended.
  std::vector<int32_t> chosen;
  engine->hook = [&](int layer, std::string_view name, const HostTensorView& values) {
    if (layer == config.num_hidden_layers - 1 && name == "topk_ids")
      for (const int32_t id : values.as<int32_t>()) chosen.push_back(id);
  };
  engine->reset(0);
  for (int i = 0; i < 5; ++i) forward(*engine, 0, tokens(3, config.vocab_size), Rows::none);
  for (size_t pair = 0; pair < chosen.size(); ++pair)
    REQUIRE(chosen[pair] == static_cast<int>(pair) % config.num_experts);
  REQUIRE(chosen.size() == static_cast<size_t>(15 * config.num_experts_per_tok));
}

TEST_CASE("biases of linear layers are added before norm and rope, and after the output projection") {
  ModelConfig config = tiny();
  config.use_qkv_bias = config.use_bias = config.linear_bias = true;
  const Weights weights = Weights::random(config, 3);
  const auto engine = make_reference_engine(config, weights, options_for(DType::f64));
  std::map<std::string, Matrix<double>> seen;  // of layer 1, which is linear: [T, columns]
  engine->hook = [&](int layer, std::string_view name, const HostTensorView& values) {
    if (layer == 1 && values.dtype == DType::f64 && values.shape.size() > 0)
      seen[std::string(name)] =
          Eigen::Map<const Matrix<double>>(values.as<double>().data(), values.shape[0],
                                           static_cast<int64_t>(values.as<double>().size()) / values.shape[0]);
  };
  forward(*engine, 0, tokens(9, config.vocab_size));
  const auto read = [&](const std::string& name, int64_t rows, int64_t columns) {
    Matrix<double> m(rows, columns);
    weights.read<double>("model.layers.1.attention." + name, {m.data(), static_cast<size_t>(m.size())});
    return m;
  };
  const int64_t width = int64_t{config.num_attention_heads} * config.head_dim, H = config.hidden_size;
  // v is neither normed nor turned.
  const Matrix<double> v = (seen.at("attn_in") * read("query_key_value.weight", 3 * width, H).transpose()).rowwise() +
                           read("query_key_value.bias", 1, 3 * width).row(0);
  REQUIRE((seen.at("v") - v.rightCols(width)).cwiseAbs().maxCoeff() <= 1e-13);
  const Matrix<double> y =
      (seen.at("dense_in") * read("dense.weight", H, width).transpose()).rowwise() + read("dense.bias", 1, H).row(0);
  REQUIRE((seen.at("attn_out") - y).cwiseAbs().maxCoeff() <= 1e-13);
}
