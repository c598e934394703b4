// Cases for other people's kernels: what is written is what is read, right kernels pass whatever their arithmetic, ten
// faults seen in public fail and are named, and what is no case or no output is refused. The kernels here are loops of
// their own: they share nothing with the reference or with the faults that the judge tries.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "harness/case.h"
#include "harness/case_command.h"
#include "harness/case_judge.h"
#include "harness/case_operators.h"
#include "reference/weights.h"
#include "tests/catch.h"
#include "tests/folder.h"
#include "tests/golden.h"
#include "tests/program.h"

using namespace ringbench;
namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

namespace {

enum class Bug {
  none,
  no_scale,
  decay_off_by_one,
  not_reset,
  slot_minus_one,
  transposed,
  bf16_state,
  bf16_chunks,
  tail_dropped,
  initial_ignored,
  other_slope,
  order_swapped
};

float rounded_to_bf16(float x) { return static_cast<float>(bf16(x)); }

std::vector<float> floats(const HostTensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.size()));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = tensor.dtype() == DType::bf16 ? static_cast<float>(tensor.as<bf16>()[i]) : tensor.as<float>()[i];
  return values;
}

HostTensor stored(const std::vector<float>& values, std::vector<int64_t> shape, DType dtype) {
  HostTensor tensor(dtype, std::move(shape));
  for (size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::bf16)
      tensor.as<bf16>()[i] = bf16(values[i]);
    else
      tensor.as<float>()[i] = values[i];
  }
  return tensor;
}

// Linear attention token by token in float, with one fault.
CaseOutputs kernel(const OperatorCase& c, Bug bug = Bug::none) {
  const std::vector<int64_t>& shape = c.inputs.at("q").shape();
  const std::vector<int64_t>& pool = c.inputs.at("state").shape();
  const size_t H = static_cast<size_t>(shape[1]), d = static_cast<size_t>(shape[2]);
  const std::vector<float> q = floats(c.inputs.at("q")), k = floats(c.inputs.at("k")), v = floats(c.inputs.at("v"));
  std::vector<float> state = floats(c.inputs.at("state")), o(q.size(), 0.f), S(d * d);
  const auto starts = c.parameters->at("cu_seqlens").get<std::vector<size_t>>();
  auto slots = c.parameters->at("slots").get<std::vector<int64_t>>();
  auto initial = c.parameters->at("has_initial_state").get<std::vector<bool>>();
  const auto log_decay = c.parameters->at("log_decay").get<std::vector<double>>();
  if (bug == Bug::order_swapped) {  // it takes it for granted that single tokens come first
    std::vector<int64_t> sorted_slots;
    std::vector<bool> sorted_initial;
    for (const bool single : {true, false})
      for (size_t i = 0; i < slots.size(); ++i)
        if (slots[i] >= 0 && (starts[i + 1] - starts[i] == 1) == single)
          sorted_slots.push_back(slots[i]), sorted_initial.push_back(initial[i]);
    std::copy(sorted_slots.begin(), sorted_slots.end(), slots.begin());
    std::copy(sorted_initial.begin(), sorted_initial.end(), initial.begin());
  }
  for (size_t h = 0; h < H; ++h) {
    const float lambda = std::exp(static_cast<float>(log_decay[bug == Bug::other_slope ? (h + 1) % H : h]));
    S.assign(d * d, 0.f);
    const float scale = bug == Bug::no_scale ? 1.f : 1.f / std::sqrt(static_cast<float>(d));
    for (size_t i = 0; i < slots.size(); ++i) {
      int64_t slot = slots[i];
      if (slot < 0) {
        if (bug != Bug::slot_minus_one) continue;
        slot += pool[0];
      }
      float* own = state.data() + (static_cast<size_t>(slot) * H + h) * d * d;
      const bool reads = bug == Bug::initial_ignored ? false : initial[i];
      if (reads)
        S.assign(own, own + d * d);
      else if (bug != Bug::not_reset)
        S.assign(d * d, 0.f);
      const size_t length = starts[i + 1] - starts[i];
      const size_t end = starts[i] + (bug == Bug::tail_dropped && length > 64 ? length - length % 64 : length);
      for (size_t t = starts[i]; t < end; ++t) {
        const size_t row = (t * H + h) * d;
        const bool rounds = bug == Bug::bf16_state || (bug == Bug::bf16_chunks && (t - starts[i]) % 16 == 15);
        for (size_t a = 0; a < d; ++a)
          for (size_t b = 0; b < d; ++b) {
            float& s = S[a * d + b];
            s = bug == Bug::decay_off_by_one ? lambda * (s + k[row + a] * v[row + b])
                                             : lambda * s + k[row + a] * v[row + b];
            if (rounds) s = rounded_to_bf16(s);
            o[row + b] += scale * q[row + a] * s;
          }
      }
      for (size_t a = 0; a < d; ++a)
        for (size_t b = 0; b < d; ++b) own[a * d + b] = bug == Bug::transposed ? S[b * d + a] : S[a * d + b];
    }
  }
  CaseOutputs outputs;
  outputs.tensors.emplace("o", stored(o, shape, c.dtype));
  outputs.tensors.emplace("state", stored(state, pool, DType::f32));
  return outputs;
}

const std::vector<OperatorCase>& linear_cases() {
  static const std::vector<OperatorCase> cases = make_cases(find_operator("linear_attention"), "awkward");
  return cases;
}

// The furthest that an output of one is from the other's, root mean square over root mean square.
double change(const CaseOutputs& a, const CaseOutputs& b) {
  double largest = 0;
  for (const auto& [name, tensor] : a.tensors) {
    const std::vector<float> x = floats(tensor), y = floats(b.tensors.at(name));
    double errors = 0, squares = 0;
    for (size_t i = 0; i < x.size(); ++i) errors += std::pow(x[i] - y[i], 2), squares += std::pow(y[i], 2);
    largest = std::max(largest, std::sqrt(errors / squares));
  }
  return largest;
}

std::string text_of(const CaseVerdict& verdict) {
  std::string text = verdict.fault + "\n";
  for (const OutputVerdict& output : verdict.outputs) text += output.output + ": " + output.text + "\n";
  return text;
}

void write_outputs(const fs::path& folder, const OperatorCase& c, const CaseOutputs& outputs, OrderedJson record = {}) {
  fs::create_directories(folder / c.name);
  std::vector<std::pair<std::string, HostTensorView>> views(outputs.tensors.begin(), outputs.tensors.end());
  write_safetensors(folder / c.name / "outputs.safetensors", views);
  if (record.is_null()) record = {{"fingerprint", c.fingerprint}};
  std::ofstream(folder / c.name / "record.json") << record.dump();
}

}  // namespace

TEST_CASE("a case comes back from its folder as it was written") {
  Folder folder;
  const OperatorCase& c = linear_cases().front();
  write_case(c, folder.path);
  const OperatorCase back = read_case(folder.path / c.name);
  CHECK(back.op == c.op);
  CHECK(back.dtype == c.dtype);
  CHECK(*back.parameters == *c.parameters);
  CHECK(back.fingerprint == c.fingerprint);
  for (const auto& [name, tensor] : c.truth) {
    CHECK(back.truth.at(name).dtype() == DType::f64);
    CHECK(std::memcmp(back.truth.at(name).raw(), tensor.raw(), static_cast<size_t>(tensor.bytes())) == 0);
  }
}

TEST_CASE("cases of linear attention hold what goes wrong in engines") {
  bool padding = false, decode_first = false, prefill_first = false, fresh_beside_continued = false;
  for (const OperatorCase& c : linear_cases()) {
    const auto slots = c.parameters->at("slots").get<std::vector<int64_t>>();
    const auto initial = c.parameters->at("has_initial_state").get<std::vector<bool>>();
    padding |= std::count(slots.begin(), slots.end(), -1) > 0;
    decode_first |= c.parameters->at("order") == "decode first";
    prefill_first |= c.parameters->at("order") == "prefill first";
    fresh_beside_continued |=
        std::count(initial.begin(), initial.end(), true) > 0 && std::count(initial.begin(), initial.end(), false) > 0;
    // The last slot is nobody's.
    CHECK(*std::max_element(slots.begin(), slots.end()) < c.inputs.at("state").shape()[0] - 1);
  }
  CHECK(padding);
  CHECK(decode_first);
  CHECK(prefill_first);
  CHECK(fresh_beside_continued);
}

TEST_CASE("the truth of a case is what a loop in double makes of it") {
  const OperatorCase& c = linear_cases().front();
  const auto log_decay = c.parameters->at("log_decay").get<std::vector<double>>();
  const size_t H = 3, d = 64;
  const std::vector<float> q = floats(c.inputs.at("q")), k = floats(c.inputs.at("k")), v = floats(c.inputs.at("v"));
  // Sequence 1: tokens 1 to 63, from slot 1.
  const std::vector<float> state = floats(c.inputs.at("state"));
  double worst = 0;
  for (size_t h = 0; h < H; ++h) {
    std::vector<double> S(state.begin() + static_cast<int64_t>((H + h) * d * d),
                          state.begin() + static_cast<int64_t>((H + h + 1) * d * d));
    for (size_t t = 1; t < 64; ++t) {
      const size_t row = (t * H + h) * d;
      std::vector<double> o(d, 0.0);
      for (size_t a = 0; a < d; ++a)
        for (size_t b = 0; b < d; ++b) {
          S[a * d + b] = std::exp(log_decay[h]) * S[a * d + b] + double(k[row + a]) * double(v[row + b]);
          o[b] += double(q[row + a]) / 8 * S[a * d + b];  // 64^-1/2
        }
      for (size_t b = 0; b < d; ++b) worst = std::max(worst, std::abs(o[b] - c.truth.at("o").as<double>()[row + b]));
    }
    for (size_t i = 0; i < d * d; ++i)
      worst = std::max(worst, std::abs(S[i] - c.truth.at("state").as<double>()[(H + h) * d * d + i]));
  }
  CHECK(worst < 1e-12);  // 63 tokens of values below 100: a few hundred ulp of 2^-46
}

TEST_CASE("a loop in float passes every case") {
  for (const OperatorCase& c : linear_cases()) {
    const CaseVerdict verdict = judge_case(c, kernel(c), {});
    INFO(c.name << "\n" << text_of(verdict));
    CHECK(verdict.status() == CheckStatus::pass);
    CHECK(verdict.fault == "");
  }
}

TEST_CASE("the budget follows the roundings that are named, and no further") {
  for (const OperatorCase& c : linear_cases()) {
    if (c.dtype != DType::f32) continue;
    const CaseOperator& op = find_operator(c.op);
    CaseOutputs tf32;
    tf32.tensors = op.compute(c, {Rounding::f32, Rounding::tf32, Rounding::f32, Rounding::f32});
    for (auto& [name, tensor] : tf32.tensors) {
      std::vector<float> narrow(tensor.as<double>().begin(), tensor.as<double>().end());
      tensor = stored(narrow, tensor.shape(), DType::f32);
    }
    INFO(c.name);
    CHECK(judge_case(c, tf32, {"dot=tf32"}).status() == CheckStatus::pass);
    CHECK(judge_case(c, tf32, {}).status() == CheckStatus::fail);
  }
}

TEST_CASE("ten faults seen in public fail wherever they matter, and are named") {
  const std::pair<Bug, std::string> bugs[] = {{Bug::no_scale, "wrong scale"},
                                              {Bug::decay_off_by_one, "decay off by one position"},
                                              {Bug::not_reset, "state not reset"},
                                              {Bug::slot_minus_one, "slot -1 written"},
                                              {Bug::transposed, "state transposed"},
                                              {Bug::bf16_state, "bf16 state"},
                                              {Bug::bf16_chunks, "bf16 state"},
                                              {Bug::tail_dropped, "tail dropped"},
                                              {Bug::initial_ignored, "initial state ignored"},
                                              {Bug::other_slope, "wrong head's slope"},
                                              {Bug::order_swapped, "order of prefill and decode sequences swapped"}};
  for (const auto& [bug, name] : bugs) {
    int noticed = 0;
    for (const OperatorCase& c : linear_cases()) {
      const CaseOutputs outputs = kernel(c, bug);
      // Nothing in this case that it could get wrong, or less than half of bf16's last bit: the f32 case shows it.
      if (change(outputs, kernel(c)) <= (c.dtype == DType::bf16 ? 0x1p-8 : 0)) continue;
      const CaseVerdict verdict = judge_case(c, outputs, {});
      INFO(name << ", " << c.name << "\n" << text_of(verdict));
      CHECK(verdict.status() == CheckStatus::fail);
      CHECK(verdict.fault.substr(0, name.size()) == name);
      ++noticed;
    }
    INFO(name);
    CHECK(noticed >= 2);
  }
}

TEST_CASE("every operator: float arithmetic passes, and so does bf16 where it is named") {
  for (const CaseOperator& op : case_operators()) {
    for (const OperatorCase& c : make_cases(op, "awkward")) {
      INFO(c.name);
      CaseOutputs outputs;
      outputs.tensors = op.compute(c, standard_rounding(c, c.dtype));
      for (auto& [name, tensor] : outputs.tensors)
        if (tensor.dtype() == DType::f64) {
          const std::vector<float> values(tensor.as<double>().begin(), tensor.as<double>().end());
          tensor = stored(values, tensor.shape(), name == "state" ? DType::f32 : c.dtype);
        }
      CHECK(judge_case(c, outputs, {}).status() == CheckStatus::pass);
      // One output a hundredth too large is another kernel.
      for (const auto& [name, truth] : c.truth) {
        if (truth.dtype() != DType::f64 || name == "state") continue;
        HostTensor& tensor = outputs.tensors.at(name);
        std::vector<float> values = floats(tensor);
        for (float& x : values) x *= 1.02f;
        tensor = stored(values, tensor.shape(), tensor.dtype());
        const CaseVerdict verdict = judge_case(c, outputs, {});
        INFO(name << ": " << text_of(verdict));
        CHECK(verdict.status() == CheckStatus::fail);
        CHECK(verdict.fault.find("1.02") != std::string::npos);
        break;
      }
    }
  }
}

TEST_CASE("experts are compared one by one") {
  const OperatorCase c = std::move(make_cases(find_operator("router"), "awkward").front());
  CaseOutputs outputs;
  outputs.tensors = find_operator("router").compute(c, {});
  CHECK(judge_case(c, outputs, {}).status() == CheckStatus::pass);
  int32_t& expert = outputs.tensors.at("experts").as<int32_t>()[4];
  expert = (expert + 1) % 20;
  const CaseVerdict verdict = judge_case(c, outputs, {});
  CHECK(verdict.status() == CheckStatus::fail);
  CHECK(verdict.worst().text == "1 of 183 are others");
}

TEST_CASE("NaN, a slot that nobody has, and a truth that says nothing are noticed") {
  const OperatorCase& c = linear_cases().front();
  CaseOutputs outputs = kernel(c);
  outputs.tensors.at("o").as<float>()[77] = std::nanf("");
  CHECK(judge_case(c, outputs, {}).status() == CheckStatus::fail);
  CHECK(judge_case(c, outputs, {}).worst().text.find("NaN") != std::string::npos);

  outputs = kernel(c);
  const std::vector<int64_t> shape = outputs.tensors.at("state").shape();
  outputs.tensors.at("state").as<float>()[static_cast<size_t>(outputs.tensors.at("state").size() - 1)] += 1e-3f;
  CHECK(judge_case(c, outputs, {}).worst().text.find("slot " + std::to_string(shape[0] - 1) + ": written") !=
        std::string::npos);

  OperatorCase zeros = std::move(make_cases(find_operator("group_norm_gate"), "awkward").front());
  std::fill(zeros.inputs.at("x").as<float>().begin(), zeros.inputs.at("x").as<float>().end(), 0.f);
  zeros.truth = find_operator("group_norm_gate").compute(zeros, {});
  outputs.tensors.clear();
  outputs.tensors.emplace("o", stored(std::vector<float>(static_cast<size_t>(zeros.truth.at("o").size()), 0.f),
                                      zeros.truth.at("o").shape(), DType::f32));
  CHECK(judge_case(zeros, outputs, {}).status() == CheckStatus::mistrusted);
}

TEST_CASE("what is no case or not its output is refused in one line") {
  Folder folder;
  const OperatorCase& c = linear_cases().back();
  write_case(c, folder.path / "cases");
  const fs::path theirs = folder.path / "theirs", own = theirs / c.name;
  const auto refusal = [&](const std::function<void(CaseOutputs&)>& spoil, OrderedJson record = {}) -> std::string {
    CaseOutputs outputs = kernel(c);
    spoil(outputs);
    write_outputs(theirs, c, outputs, std::move(record));
    try {
      read_outputs(theirs, c);
    } catch (const UsageError& e) {
      return e.what();
    }
    return "";
  };
  const auto contains = [](const std::string& text, const std::string& part) {
    INFO(text);
    CHECK(text.find(part) != std::string::npos);
  };
  CHECK(refusal([](CaseOutputs&) {}) == "");
  contains(refusal([](CaseOutputs& o) { o.tensors.erase("state"); }), "holds no tensor 'state'");
  contains(refusal([](CaseOutputs& o) { o.tensors.emplace("lse", HostTensor(DType::f32, {1})); }),
           "unexpected tensor \"lse\"");
  contains(refusal([&](CaseOutputs& o) {
             HostTensor other(DType::f32, {c.truth.at("o").shape()[1], c.truth.at("o").shape()[0], 64});
             std::fill_n(other.raw(), other.bytes(), std::byte{0});
             o.tensors.at("o") = std::move(other);
           }),
           "o is f32 [12, 4, 64]; expected f32, bf16, f16 or f64 [4, 12, 64]");
  contains(refusal([&](CaseOutputs& o) {
             o.tensors.at("o") = HostTensor(DType::i32, c.truth.at("o").shape());
             std::fill_n(o.tensors.at("o").raw(), o.tensors.at("o").bytes(), std::byte{0});
           }),
           "o is i32 [4, 12, 64]");
  contains(refusal([](CaseOutputs&) {}, {{"fingerprint", "0123"}}), "made from another case");
  contains(refusal([](CaseOutputs&) {}, {{"fingerprint", c.fingerprint}, {"times_ms", {1.5, -1}}}), "times_ms");
  refusal([](CaseOutputs&) {});
  fs::resize_file(own / "outputs.safetensors", fs::file_size(own / "outputs.safetensors") / 2);
  CHECK_THROWS_AS(read_outputs(theirs, c), UsageError);
  fs::remove(own / "record.json");
  CHECK_THROWS_AS(read_outputs(theirs, c), UsageError);
  CHECK(!read_outputs(folder.path / "nobody", c));

  OrderedJson edited = OrderedJson::parse(read_file(folder.path / "cases" / c.name / "case.json"));
  edited["parameters"]["scale"] = 1.0;
  std::ofstream(folder.path / "cases" / c.name / "case.json") << edited.dump();
  CHECK_THROWS_AS(read_case(folder.path / "cases" / c.name), UsageError);
}

TEST_CASE("speed is shown of what passes, with its interval") {
  Folder folder;
  const OperatorCase& c = linear_cases().back();
  write_case(c, folder.path / "cases");
  const auto with_times = [&](double ms) {
    OrderedJson times = OrderedJson::array();
    for (int i = 0; i < 9; ++i) times.push_back(ms + 0.001 * i);
    return OrderedJson{{"fingerprint", c.fingerprint}, {"times_ms", times}};
  };
  write_outputs(folder.path / "base", c, kernel(c), with_times(2));
  write_outputs(folder.path / "fast", c, kernel(c), with_times(0.5));
  write_outputs(folder.path / "wrong", c, kernel(c, Bug::no_scale), with_times(0.25));
  const auto table = [&](const std::string& name) {
    JudgeRequest request;
    request.candidates = {{"base", ""}, {name, ""}};
    JudgedCase judged{c.name, c.op, "", std::string(name_of(c.dtype)), 1, 1, {}, {}};
    for (const std::string& candidate : {std::string("base"), name}) {
      judged.records.push_back(*read_outputs(folder.path / candidate, c));
      judged.verdicts.push_back(judge_case(c, judged.records.back(), {}));
    }
    std::vector<JudgedCase> cases;
    cases.push_back(std::move(judged));
    return judged_text(request, cases, Format::md);
  };
  const std::string fast = table("fast"), wrong = table("wrong");
  INFO(fast << wrong);
  CHECK(fast.find("| 0.504 | 3.98x [") != std::string::npos);  // 2.004 / 0.504
  CHECK(wrong.find("2.004") != std::string::npos);
  CHECK(wrong.find("0.254") == std::string::npos);
  CHECK(wrong.find("speed-up") == std::string::npos);
}

TEST_CASE("parity --emit and --load NAME=DIR from outside") {
  Folder folder;
  const Ran emitted = run("parity --op linear_attention,router --shapes awkward --emit cases -q", folder.path);
  REQUIRE(emitted.code == 0);
  for (const OperatorCase& c : linear_cases()) {
    write_outputs(folder.path / "right", c, kernel(c));
    write_outputs(folder.path / "wrong", c, kernel(c, Bug::transposed));
  }
  const Ran right = run("parity --load right=right -q", folder.path);
  CHECK(right.code == 0);
  CHECK(right.out.find("right: 12 of 12 cases pass") != std::string::npos);
  CHECK(right.out.find("inputs=bf16,dot=bf16,state=f32,output=bf16") != std::string::npos);

  const Ran both = run("parity --load base=right --load mine=wrong -q --format md -o verdicts.json", folder.path);
  CHECK(both.code == 4);
  CHECK(both.out.find("**mine**: 0 of 12 cases pass") != std::string::npos);
  CHECK(both.out.find("state transposed") != std::string::npos);
  CHECK(both.out.find("<details>") != std::string::npos);
  CHECK(both.err.find("error: parity: mine: linear_attention-") != std::string::npos);
  const OrderedJson verdicts = OrderedJson::parse(read_file(folder.path / "verdicts.json"));
  CHECK(verdicts.size() == 12);
  CHECK(verdicts[0]["candidates"][0]["status"] == "pass");
  CHECK(verdicts[0]["candidates"][1]["status"] == "fail");

  const auto refused = [&](const std::string& arguments, const std::string& line) {
    const Ran ran = run("parity " + arguments, folder.path);
    INFO(arguments << "\n" << ran.err);
    CHECK(ran.code == 2);
    CHECK(ran.err.find(line) != std::string::npos);
  };
  refused("--op linear --emit x", "--op: 'linear' is not an operator");
  refused("--shapes ring-max --emit x", "--shapes: 'ring-max' is not a shape");
  refused("--load mine=nowhere", "there is no folder 'nowhere'");
  refused("--load mine=right --cases elsewhere", "--cases: 'elsewhere' holds no cases");
  refused("--load mine=right --load wrong", "write NAME=DIR");
  refused("--load mine=right --rounding dots=f32", "'dots' is not a rounding point");
  refused("--load mine=right --rounding dot=fp4", "'fp4' is not a type");
  refused("--load mine=cases", "record.json");
  refused("--rounding dot=tf32", "goes with --emit DIR or --load NAME=DIR");
}
