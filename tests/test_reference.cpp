// The equations of reference/ against their definitions, written out as plain loops; and the engine against itself:
// chunks, steps, batches, threads, hand-over of states.
#include <cmath>
#include <numeric>

#include "reference/engine.h"
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
  REQUIRE((y.row(0) - 0.5 * one.row(0)).norm() <= 1e-12);
  REQUIRE((y.row(199) - 0.5 * one.row(199)).norm() <= 1e-12);
  REQUIRE((y.row(7) - 0.25 * one.row(7) - 0.25 * two.row(7)).norm() <= 1e-12);
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
        &Precision::state, &Precision::attention, &Precision::router, &Precision::lm_head}) {
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
}
