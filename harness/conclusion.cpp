#include "harness/conclusion.h"

#include <cmath>
#include <cstdio>
#include <map>

#include "harness/speedup.h"
#include "harness/words.h"

namespace ringbench {
namespace {

// Prefill and decode rows of one throughput point have the same.
std::string throughput_key(const Result& r) {
  return r.model + " " + r.hybrid + " " + r.engine + " " + r.dtype + " " + std::to_string(r.layers) + " " +
         std::to_string(r.ctx) + " " + std::to_string(r.batch) + " " + std::to_string(r.yarn_factor.value_or(1));
}

// "at 384k, batch 4", "at 32k outputs, 64 requests, equal batch 8", "..., equal memory 20.0 MiB (batch 8 and 5)"
std::string where(const Result& row, const Result& twin) {
  std::string text = row.phase == "e2e" ? token_label(row.gen) + " output" + (row.gen == 1 ? "" : "s") +
                                              (row.ctx > 1 ? " after " + row.ctx_label : "")
                                        : row.ctx_label;
  if (row.requests.value_or(row.batch) != row.batch) text += ", " + std::to_string(*row.requests) + " requests";
  if (row.memory_limit_bytes)
    return text + ", equal memory " + bytes_text(*row.memory_limit_bytes) + " (batch " + std::to_string(row.batch) +
           " and " + std::to_string(twin.batch) + ")";
  if (row.batch > 1) text += (row.phase == "e2e" ? ", equal batch " : ", batch ") + std::to_string(row.batch);
  return text;
}

Strings speed_ups(std::span<const Result> rows) {
  const Twins twins(rows);
  const auto compared = [&](const Result& row) {
    const Result* twin = twins.softmax_of(row);
    return row.value && twin != nullptr && twin->value ? twin : nullptr;
  };
  std::map<std::string, const Result*> decode_of, prefill_of;
  for (const Result& row : rows)
    if (compared(row) != nullptr && (row.phase == "decode" || row.phase == "prefill"))
      (row.phase == "decode" ? decode_of : prefill_of)[throughput_key(row)] = &row;
  Strings lines;
  for (const Result& row : rows) {
    const Result* twin = compared(row);
    if (twin == nullptr) continue;
    if (row.phase == "decode" && prefill_of.contains(throughput_key(row))) continue;  // said with its prefill
    std::string line = "speed-up " + row.hybrid + " over softmax at " + where(row, *twin) + ": " + row.phase + " " +
                       ratio_text(speed_up(row, *twin));
    if (const auto decode = decode_of.find(throughput_key(row)); row.phase == "prefill" && decode != decode_of.end())
      line += ", decode " + ratio_text(speed_up(*decode->second, *compared(*decode->second)));
    char cache[32];
    std::snprintf(cache, sizeof cache, ", cache %.3fx", row.cache_ratio_vs_softmax.value_or(1));
    lines.push_back(line + cache);
  }
  return lines;
}

// The last row that was estimated so stands for how; errors are each row's.
std::string anchors(std::span<const Result> rows) {
  std::string errors;
  const Result* last = nullptr;
  for (const Result& row : rows) {
    if (row.estimator != "chunk" || !row.value) continue;
    last = &row;
    char text[96];
    std::snprintf(text, sizeof text, "%s%s %+.1f %%", errors.empty() ? "" : ", ", row.hybrid.c_str(),
                  100 * *row.est_anchor_error);
    errors += text;
  }
  if (last == nullptr) return "";
  return "~ estimated from " + std::to_string(*last->est_points) + " chunks of " + std::to_string(*last->chunk) +
         " tokens at their true depth; estimates against whole prefills of " + token_label(*last->est_anchor_ctx) +
         " tokens were off by: " + errors;
}

// Of the row in which it adds most.
std::string client_overhead(std::span<const Result> rows) {
  const Result* worst = nullptr;
  for (const Result& row : rows)
    if (row.client_ttft_s && (worst == nullptr || *row.client_ttft_s > *worst->client_ttft_s)) worst = &row;
  if (worst == nullptr) return "";
  return "client: adds up to " + seconds_text(*worst->client_ttft_s) + " to a first token and " +
         seconds_text(worst->client_itl_s.value_or(0)) + " to a later one, and takes " +
         grouped(std::llround(worst->client_tok_s.value_or(0))) +
         " tokens/s or more (with an echo server on this machine, as many streams)";
}

}  // namespace

Strings conclusion(std::span<const Result> rows) {
  Strings lines = speed_ups(rows);
  for (const std::string& line : {anchors(rows), client_overhead(rows)})
    if (!line.empty()) lines.push_back(line);
  return lines;
}

}  // namespace ringbench
