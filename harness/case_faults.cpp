// case_faults.cpp: what a wrong linear-attention kernel did: the operator is computed once more with each fault that
// such kernels are known to have, on the head that is furthest off, and the fault that reproduces the outputs is named.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>

#include "harness/case_linear_attention.h"
#include "harness/parity_walk.h"
#include "reference/config.h"

namespace ringbench {
namespace {

using Values = std::vector<double>;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kChunks[] = {16, 32, 64, 128};  // of kernels in use

// One head: q, k, v, o [T, d], state [slots, d_k, d_v].
struct Head {
  int64_t T, d;
  Values q, k, v, state;
};
struct HeadOutputs {
  Values o, state;  // NaN: it does not matter what stands there
};

// How a kernel may read a batch, wrongly; as it stands, rightly.
struct Reading {
  std::string fault;  // in words
  Sequences sequences;
  double log_decay;
  bool decays_own_key = false;      // S = lambda (S + k v)
  bool leaves_out_own_key = false;  // o_t = q_t lambda S_{t-1}
  int64_t chunk = 0;                // of the three below; 0: the whole sequence
  int seen_decay = 0;               // outputs see the state before the chunk with so many decay steps more
  int kept_decay = 0;               // that state is kept with so many decay steps more
  bool drops_tail = false;          // tokens after the last whole chunk are not computed
  bool drops_short = false;         // nor are prompts shorter than a chunk
  bool rounds_state = false;        // to bf16 after every whole chunk
  bool carries = false;             // a sequence without initial state goes on from the one before it
  bool keeps_slot = false;          // such a sequence begins with what its slot held
  bool reads_v_major = false, writes_v_major = false;  // the state as [d_v, d_k]
};

void transpose(double* square, int64_t d) {
  for (int64_t i = 0; i < d; ++i)
    for (int64_t j = 0; j < i; ++j) std::swap(square[i * d + j], square[j * d + i]);
}

// o += factor q S
void add_product(const double* q, const Values& S, double factor, double* o, int64_t d) {
  for (int64_t i = 0; i < d; ++i)
    for (int64_t j = 0; j < d; ++j) o[j] += factor * q[i] * S[static_cast<size_t>(i * d + j)];
}

// S = keep S + add k^T v
void update(Values& S, double keep, double add, const double* k, const double* v, int64_t d) {
  for (int64_t i = 0; i < d; ++i)
    for (int64_t j = 0; j < d; ++j) {
      double& s = S[static_cast<size_t>(i * d + j)];
      s = keep * s + add * k[i] * v[j];
    }
}

// One sequence of `length` tokens from row `first`; S in and out.
void run_sequence(const Head& in, const Reading& r, int64_t first, int64_t length, Values& S, Values& o) {
  const int64_t d = in.d, chunk = r.chunk > 0 ? r.chunk : length;
  const bool drops = r.drops_tail && (length > chunk || (length > 1 && r.drops_short));
  const int64_t end = drops ? length - length % chunk : length;
  const double scale = 1 / std::sqrt(static_cast<double>(d)), lambda = std::exp(r.log_decay);
  if (drops) std::fill_n(o.begin() + (first + end) * d, (length - end) * d, kNaN);
  Values before;  // the chunk
  for (int64_t t = 0; t < end; ++t) {
    const int64_t in_chunk = t % chunk, row = (first + t) * d;
    if (in_chunk == 0) before = S;
    double* out = o.data() + row;
    if (r.leaves_out_own_key) add_product(in.q.data() + row, S, scale * lambda, out, d);
    update(S, lambda, r.decays_own_key ? lambda : 1, in.k.data() + row, in.v.data() + row, d);
    if (!r.leaves_out_own_key) add_product(in.q.data() + row, S, scale, out, d);
    const auto power = [&](int64_t n) { return std::exp(static_cast<double>(n) * r.log_decay); };
    if (r.seen_decay != 0)
      add_product(in.q.data() + row, before, scale * (power(in_chunk + 1 + r.seen_decay) - power(in_chunk + 1)), out,
                  d);
    if (t + 1 < end && in_chunk + 1 < chunk) continue;
    if (r.kept_decay != 0)
      for (size_t i = 0; i < S.size(); ++i)
        S[i] += before[i] * (power(in_chunk + 1 + r.kept_decay) - power(in_chunk + 1));
    if (r.rounds_state && in_chunk + 1 == chunk) round_to(Rounding::bf16, std::span(S), S.size());
  }
}

HeadOutputs run(const Head& in, const Reading& r) {
  const int64_t size = in.d * in.d;
  HeadOutputs out{Values(in.q.size(), 0.0), in.state};
  Values S(static_cast<size_t>(size), 0.0);
  for (size_t i = 0; i < r.sequences.size(); ++i) {
    if (r.sequences.slots[i] < 0) continue;
    double* slot = out.state.data() + r.sequences.slots[i] * size;
    if (r.sequences.has_initial_state[i] || r.keeps_slot) {
      S.assign(slot, slot + size);
      if (r.reads_v_major) transpose(S.data(), in.d);
    } else if (!r.carries) {
      S.assign(S.size(), 0.0);
    }
    run_sequence(in, r, r.sequences.first(i), r.sequences.length(i), S, out.o);
    std::copy(S.begin(), S.end(), slot);
    if (r.writes_v_major) transpose(slot, in.d);
  }
  return out;
}

// Indices of the sequences with those of single tokens before the longer ones, or behind them: the other of the two.
// Padding stays at the end.
std::vector<size_t> other_order(const Sequences& s) {
  std::vector<size_t> single, longer, padding;
  for (size_t i = 0; i < s.size(); ++i) (s.slots[i] < 0 ? padding : s.length(i) == 1 ? single : longer).push_back(i);
  const bool single_first = !single.empty() && single.front() == 0;
  std::vector<size_t>& order = single_first ? longer : single;
  const std::vector<size_t>& rest = single_first ? single : longer;
  order.insert(order.end(), rest.begin(), rest.end());
  order.insert(order.end(), padding.begin(), padding.end());
  return order;
}

Sequences with_lengths_of(Sequences s, const Sequences& from, const std::vector<size_t>& order) {
  for (size_t i = 0; i < order.size(); ++i) s.cu_seqlens[i + 1] = s.cu_seqlens[i] + from.length(order[i]);
  return s;
}

Sequences with_slots_of(Sequences s, const Sequences& from, const std::vector<size_t>& order) {
  for (size_t i = 0; i < order.size(); ++i) {
    s.slots[i] = from.slots[order[i]];
    s.has_initial_state[i] = from.has_initial_state[order[i]];
  }
  return s;
}

std::vector<Reading> faults_of_batch(const Reading& right, int64_t slots) {
  std::vector<Reading> all;
  const Sequences& s = right.sequences;
  const auto add = [&](const std::string& fault, auto change) {
    all.push_back(right);
    all.back().fault = fault;
    change(all.back());
  };
  add("state not reset between sequences: one without initial state goes on from the sequence before it",
      [](Reading& r) { r.carries = true; });
  add("state not reset: a sequence without initial state begins with what its slot held",
      [](Reading& r) { r.keeps_slot = true; });
  add("initial state ignored: sequences that have one begin with zeros",
      [](Reading& r) { r.sequences.has_initial_state.assign(r.sequences.size(), false); });
  add("slot -1 written: padding is computed, with the last slot", [&](Reading& r) {
    for (int64_t& slot : r.sequences.slots) slot = slot < 0 ? slots - 1 : slot;
  });
  add("slot -1 written: padding is computed from its own slot, the last one", [&](Reading& r) {
    for (size_t i = 0; i < s.size(); ++i)
      if (s.slots[i] < 0) r.sequences.slots[i] = slots - 1, r.sequences.has_initial_state[i] = true;
  });
  const std::vector<size_t> order = other_order(s);
  const std::string swapped = "order of prefill and decode sequences swapped: ";
  add(swapped + "slots are those of the other order", [&](Reading& r) { r.sequences = with_slots_of(s, s, order); });
  add(swapped + "tokens are taken in the other order", [&](Reading& r) { r.sequences = with_lengths_of(s, s, order); });
  add(swapped + "tokens and slots are taken in the other order",
      [&](Reading& r) { r.sequences = with_lengths_of(with_slots_of(s, s, order), s, order); });
  return all;
}

std::vector<Reading> faults_of_arithmetic(const Reading& right) {
  std::vector<Reading> all;
  const auto add = [&](const std::string& fault, auto change) {
    all.push_back(right);
    all.back().fault = fault;
    change(all.back());
  };
  add("state transposed: read and stored as [d_v, d_k]", [](Reading& r) { r.reads_v_major = r.writes_v_major = true; });
  add("state transposed: stored as [d_v, d_k]", [](Reading& r) { r.writes_v_major = true; });
  add("state transposed: read as [d_v, d_k]", [](Reading& r) { r.reads_v_major = true; });
  add("decay off by one position: a token's own key is decayed too", [](Reading& r) { r.decays_own_key = true; });
  add("the token's own key is left out of its output", [](Reading& r) { r.leaves_out_own_key = true; });
  for (const int64_t chunk : {int64_t{0}, kChunks[0], kChunks[1], kChunks[2], kChunks[3]}) {
    const std::string of = chunk == 0 ? "the initial state" : "the state before a chunk of " + std::to_string(chunk);
    for (const int steps : {-1, 1}) {
      const std::string too = steps < 0 ? " decays one step too little" : " decays one step too much";
      add("decay off by one position: " + of + too + " in the outputs",
          [&](Reading& r) { r.chunk = chunk, r.seen_decay = steps; });
      add("decay off by one position: " + of + too + " in the state",
          [&](Reading& r) { r.chunk = chunk, r.kept_decay = steps; });
      add("decay off by one position: " + of + too,
          [&](Reading& r) { r.chunk = chunk, r.seen_decay = r.kept_decay = steps; });
    }
  }
  for (const int64_t chunk : kChunks)
    for (const bool drops_short : {false, true})
      add("tail dropped: tokens after the last whole chunk of " + std::to_string(chunk) + " are not computed" +
              (drops_short ? ", nor are shorter prompts" : ""),
          [&](Reading& r) { r.chunk = chunk, r.drops_tail = true, r.drops_short = drops_short; });
  for (const int64_t chunk : {int64_t{1}, int64_t{16}, int64_t{64}, int64_t{0}})
    add("bf16 state: rounded after every " + (chunk == 0   ? "call"
                                              : chunk == 1 ? "token"
                                                           : std::to_string(chunk) + " tokens"),
        [&](Reading& r) { r.chunk = chunk, r.rounds_state = true; });
  return all;
}

std::vector<Reading> faults_of_slope(const Reading& right, const OperatorCase& c, int64_t head) {
  std::vector<Reading> all;
  const auto add = [&](const std::string& fault, double log_decay) {
    all.push_back(right);
    all.back().fault = fault;
    all.back().log_decay = log_decay;
  };
  const Values log_decay = c.parameters->at("log_decay").get<Values>();
  const std::string name = "wrong head's slope: head " + std::to_string(head) + " decays as head ";
  for (size_t h = 0; h < log_decay.size(); ++h)
    if (static_cast<int64_t>(h) != head) add(name + std::to_string(h), log_decay[h]);
  ModelConfig config;
  config.num_attention_heads = static_cast<int>(log_decay.size());
  config.num_hidden_layers = c.parameters->at("num_hidden_layers").get<int>();
  const int layer = c.parameters->at("layer").get<int>();
  for (const int other : {layer - 1, layer + 1})
    if (other >= 0 && other < config.num_hidden_layers)
      add("wrong layer's slope: decays as layer " + std::to_string(other) + " (slope_layer_offset?)",
          config.log_decay(other)[static_cast<size_t>(head)]);
  add("no decay at all", 0.0);
  return all;
}

// --- Which of them it is ---

// Root mean square of a - b over that of b, where b is a number. Infinite where `a` is not.
double distance(const Values& a, const Values& b) {
  double errors = 0, squares = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    if (std::isnan(b[i])) continue;
    if (!std::isfinite(a[i])) return std::numeric_limits<double>::infinity();
    errors += (a[i] - b[i]) * (a[i] - b[i]);
    squares += b[i] * b[i];
  }
  return std::sqrt(errors / std::max(squares, std::numeric_limits<double>::min()));
}

struct Diagnosis {
  const OperatorCase& c;
  const Budgets& budgets;
  Sequences sequences = Sequences::of(c);
  int64_t T = c.inputs.at("q").shape()[0], heads = c.inputs.at("q").shape()[1], d = c.inputs.at("q").shape()[2],
          slots = c.inputs.at("state").shape()[0];

  Values rows(const Values& values, int64_t head, int64_t count, int64_t width) const {  // of [count, heads, width]
    Values part;
    for (int64_t i = 0; i < count; ++i) {
      const auto first = values.begin() + (i * heads + head) * width;
      part.insert(part.end(), first, first + width);
    }
    return part;
  }
  Head head(int64_t h) const {
    const auto part = [&](const char* name) { return rows(input_values(c, name, Rounding::none), h, T, d); };
    return {T, d, part("q"), part("k"), part("v"), rows(input_values(c, "state", Rounding::none), h, slots, d * d)};
  }
  HeadOutputs outputs(const Values& o, const Values& state, int64_t h) const {
    return {rows(o, h, T, d), rows(state, h, slots, d * d)};
  }
  // How far off, in budgets; what padding puts out does not matter.
  double score(const HeadOutputs& found, HeadOutputs expected) const {
    for (size_t i = 0; i < sequences.size(); ++i)
      if (sequences.slots[i] < 0)
        std::fill_n(expected.o.begin() + sequences.first(i) * d, sequences.length(i) * d, kNaN);
    return std::max(distance(found.o, expected.o) / budgets.at("o"),
                    distance(found.state, expected.state) / budgets.at("state"));
  }
};

// The truth with its outputs stretched by one number, and that number.
std::pair<HeadOutputs, double> stretched(HeadOutputs truth, const HeadOutputs& found) {
  double product = 0, square = 0;
  for (size_t i = 0; i < truth.o.size(); ++i) product += truth.o[i] * found.o[i], square += truth.o[i] * truth.o[i];
  const double ratio = square > 0 ? product / square : 0;
  for (double& x : truth.o) x *= ratio;
  return {std::move(truth), ratio};
}

std::string scale_text(double ratio, int64_t d) {
  char text[96];
  const double scale = 1 / std::sqrt(static_cast<double>(d));
  const auto near = [&](double value) { return std::abs(ratio / value - 1) < 0.02; };
  std::snprintf(text, sizeof text, "wrong scale: outputs are %.3g times as large%s", ratio,
                near(1 / scale) ? ", as without head_dim^-1/2"
                : near(scale)   ? ", as with head_dim^-1/2 twice"
                                : "");
  return text;
}

// Outputs of the truth, rows of the sequences laid out in the other order.
HeadOutputs reordered(const HeadOutputs& truth, const Sequences& s, int64_t d) {
  HeadOutputs out = truth;
  int64_t row = 0;
  for (const size_t i : other_order(s)) {
    std::copy_n(truth.o.begin() + s.first(i) * d, s.length(i) * d, out.o.begin() + row * d);
    row += s.length(i);
  }
  return out;
}

}  // namespace

std::string diagnose_linear_attention(const OperatorCase& c, const Tensors& outputs, const Budgets& budgets) {
  const Diagnosis at{c, budgets};
  const Values o = to_doubles(outputs.at("o")), state = to_doubles(outputs.at("state")),
               true_o = to_doubles(c.truth.at("o")), true_state = to_doubles(c.truth.at("state"));
  int64_t worst = 0;
  double worst_score = -1;
  for (int64_t h = 0; h < at.heads; ++h)
    if (const double score = at.score(at.outputs(o, state, h), at.outputs(true_o, true_state, h)); score > worst_score)
      worst = h, worst_score = score;

  const Head in = at.head(worst);
  const HeadOutputs found = at.outputs(o, state, worst), truth = at.outputs(true_o, true_state, worst);
  std::string fault;
  double best = worst_score, may_leave = 0;
  const auto consider = [&](const std::string& name, const HeadOutputs& expected, double leaves) {
    const double score = at.score(found, expected);
    if (score < 0.999 * best) best = score, fault = name, may_leave = leaves;  // of equals the first
  };
  // What a fault may leave of the error that it explains, beside what rounding costs. Roundings of the state turn out
  // otherwise where a sum in float is not quite that in double, and go on from there.
  constexpr double kLeaves = 1.0 / 8, kRoundingLeaves = 1.0 / 2;
  const auto [scaled, ratio] = stretched(truth, found);
  consider(scale_text(ratio, at.d), scaled, kLeaves);
  consider("order of prefill and decode sequences swapped: outputs are laid out in the other order",
           reordered(truth, at.sequences, at.d), kLeaves);
  const Reading right{"", at.sequences, c.parameters->at("log_decay").get<Values>()[static_cast<size_t>(worst)]};
  for (const std::vector<Reading>& group :
       {faults_of_batch(right, at.slots), faults_of_arithmetic(right), faults_of_slope(right, c, worst)})
    for (const Reading& reading : group)
      consider(reading.fault, run(in, reading), reading.rounds_state ? kRoundingLeaves : kLeaves);
  return best <= std::max(1.0, worst_score * may_leave) && best < worst_score / 2 ? fault : "";
}

}  // namespace ringbench
