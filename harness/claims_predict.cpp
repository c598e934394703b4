// claims_predict.cpp: what the cost model says to a claim: roofline times of the claim's two models on the device it is
// asked for (predict.h), or bytes that follow from their configs. Nothing here is measured.
#include <algorithm>
#include <cmath>

#include "harness/claims.h"
#include "harness/device.h"
#include "harness/predict.h"
#include "reference/weights.h"

namespace ringbench {
namespace {

constexpr int64_t kPrefillChunk = 16 * 1024;                // tokens
constexpr int64_t kShortest = 128, kLongest = 1024 * 1024;  // contexts between which a crossover is looked for

struct Models {
  ModelConfig model, baseline;
};

// Several cards as one, without the cost of talking to each other.
DeviceModel device_of(const Claim& claim) {
  DeviceModel device = find_device(claim.device);
  if (claim.cards == 1) return device;
  const auto cards = static_cast<double>(claim.cards);
  device.name = std::to_string(claim.cards) + " x " + device.name;
  device.memory_bytes *= claim.cards;
  device.memory_gbps *= cards;
  device.reserved_bytes *= cards;
  for (auto& [dtype, tflops] : device.tflops) tflops *= cards;
  return device;
}

double speed_up(const Models& models, const Workpoint& work, const DeviceModel& device) {
  return predict(models.baseline, work, device).seconds / predict(models.model, work, device).seconds;
}

// In the unit of the claim.
std::string shown(const Claim& claim, double speed_up) {
  return unit_text(from_speed_up(claim.quantity, speed_up), claim.number->unit);
}

// At equal memory: each model decodes as many sequences at once as fit beside its weights, up to those asked for.
std::string what_fits(const Claim& claim, const Models& models, const Workpoint& work, const DeviceModel& device) {
  const auto fit = [&](const ModelConfig& config) {
    return std::min(work.batch, sequences_that_fit(config, work.tokens(), work.dtype, device));
  };
  const int64_t own = fit(models.model), other = fit(models.baseline);
  if (own == work.batch && other == work.batch) return "";
  if (own == 0 || other == 0)
    return "; memory taken as unlimited: on one such device " +
           std::string(own == 0 ? models.model.name : models.baseline.name) + " does not fit";
  const auto rate = [&](const ModelConfig& config, int64_t batch) {
    Workpoint fitting = work;
    fitting.batch = batch;
    return tokens_per_second(fitting, predict(config, fitting, device).seconds);
  };
  return "; memory taken as unlimited: with the " + std::to_string(own) + " and " + std::to_string(other) +
         " sequences that fit, " + shown(claim, rate(models.model, own) / rate(models.baseline, other));
}

ClaimPrediction predict_one_shot(const Claim& claim, const Models& models, const Workpoint& work,
                                 const DeviceModel& device) {
  ClaimPrediction p;
  const double gain = speed_up(models, work, device);
  p.value = from_speed_up(claim.quantity, gain);
  p.how = device.name + ", " + work.phase + " ctx " + token_label(work.ctx) + ", batch " + std::to_string(work.batch) +
          "; on its ideal " + shown(claim, speed_up(models, work, device.ideal()));
  if (work.phase == "decode") p.how += what_fits(claim, models, work, device);
  return p;
}

// All outputs of all sequences, those that do not fit waiting for the others.
std::optional<ClaimPrediction> predict_outputs(const Claim& claim, const Models& models, const Workpoint& work,
                                               const DeviceModel& device) {
  const auto run = [&](const ModelConfig& config, bool limited) {
    std::optional<double> room;
    if (limited) room = device.room(static_cast<double>(count_parameters(config).total * size_of(work.dtype)));
    return decode_run(config, work, device, room);
  };
  const DecodeRun own = run(models.model, true), other = run(models.baseline, true);
  if (own.fewest_at_once == 0 || other.fewest_at_once == 0) return {};
  const double unlimited = run(models.baseline, false).seconds / run(models.model, false).seconds;
  const auto at_once = [&](const DecodeRun& r) {
    return r.waited ? "down to " + std::to_string(r.fewest_at_once) + " at once" : std::string("all at once");
  };
  ClaimPrediction p;
  p.value = from_speed_up(claim.quantity, other.seconds / own.seconds);
  p.how = device.name + ", " + std::to_string(work.batch) + " outputs of " + token_label(work.gen) + ": " +
          models.model.name + " " + at_once(own) + ", " + models.baseline.name + " " + at_once(other) +
          "; with memory for all " + shown(claim, unlimited);
  return p;
}

// Where the sign of the advantage changes, by bisection in the logarithm; it grows with the context.
std::optional<ClaimPrediction> predict_crossover(const Models& models, Workpoint work, const DeviceModel& device) {
  const auto wins = [&](int64_t ctx, const DeviceModel& on) {
    work.ctx = ctx;
    return speed_up(models, work, on) > 1;
  };
  const auto crossover = [&](const DeviceModel& on) -> int64_t {
    int64_t loses = kShortest, from = kLongest;
    if (wins(loses, on) || !wins(from, on)) return 0;
    while (from > loses + loses / 64 + 1) {
      const auto middle = static_cast<int64_t>(std::sqrt(static_cast<double>(loses) * static_cast<double>(from)));
      (wins(middle, on) ? from : loses) = middle;
    }
    return from;
  };
  const int64_t found = crossover(device), ideal = crossover(device.ideal());
  if (found == 0) return {};
  ClaimPrediction p;
  p.value = static_cast<double>(found);
  p.how = device.name + ", " + work.phase + ", batch " + std::to_string(work.batch) +
          (ideal > 0 ? "; on its ideal " + unit_text(static_cast<double>(ideal), "tokens") : "");
  return p;
}

ClaimPrediction predict_cache(const Claim& claim, const Models& models) {
  const auto tokens = static_cast<double>(claim.workload.ctx.value_or(0) + claim.workload.gen.value_or(0));
  const auto kv = [&](const ModelConfig& c) {
    return tokens * static_cast<double>(kv_bytes_per_token(c, DType::bf16));
  };
  const auto state = [](const ModelConfig& c) { return static_cast<double>(state_bytes(c, DType::bf16)); };
  const double baseline = kv(models.baseline) + state(models.baseline);
  ClaimPrediction p;
  p.value = (kv(models.model) + state(models.model)) / baseline;
  p.how = "bytes from the configs, KV in bf16, state in f32; with the state in bf16 " +
          unit_text((kv(models.model) + state(models.model) / 2) / baseline, claim.number->unit);
  return p;
}

}  // namespace

std::optional<ClaimPrediction> predict_claim(const Claim& claim) {
  if (claim.quantity != ClaimQuantity::cache_ratio && claim.device.empty()) return {};
  const Models models = {preset_model(claim.number->model), preset_model(claim.number->baseline)};
  if (claim.quantity == ClaimQuantity::cache_ratio) return predict_cache(claim, models);
  const DeviceModel device = device_of(claim);
  const PublishedConditions& w = claim.workload;
  const Workpoint work = {.phase = w.phase,
                          .ctx = w.ctx.value_or(0),
                          .gen = w.gen.value_or(w.phase == "decode" ? 1 : 0),
                          .batch = w.batch.value_or(1),
                          .requests = w.batch.value_or(1),
                          .chunk = kPrefillChunk};
  std::optional<ClaimPrediction> prediction;
  if (claim.quantity == ClaimQuantity::crossover)
    prediction = predict_crossover(models, work, device);
  else if (w.phase == "e2e")
    prediction = predict_outputs(claim, models, work, device);
  else
    prediction = predict_one_shot(claim, models, work, device);
  const std::string& stated = claim.number->conditions.device;
  if (prediction && (stated.empty() || stated == "not stated")) prediction->how += "; the source names no device";
  return prediction;
}

}  // namespace ringbench
