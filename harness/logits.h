// logits.h: the command `logits`: raw outputs of a model for given token ids, to be checked from outside.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "reference/engine.h"

namespace ringbench {

struct LogitsRequest {
  std::string model, config_file, weights;  // as in Plan
  std::string tokens;                       // JSON: {"input_ids": [...], "decode_ids": [...]}; decode_ids may be absent
  std::string out;                          // .safetensors
  std::string engine = "reference";
  DType dtype = DType::f32;  // f64: the output tensors are F64 too; else they are F32
  int64_t chunk = 512;
  std::string yarn = "auto";
  std::optional<SlopeLayerOffset> slope_layer_offset;
  RopeAngles rope_angles = RopeAngles::f64;
  int threads = 0;
  uint64_t seed = 0;  // of random weights, where no checkpoint is named
};

// Writes `logits` [T + n_decode, vocab_size]: T rows from prefill over input_ids, then one row for each single-token
// step over decode_ids; with an MTP layer also `mtp_logits` [T + n_decode - 1, vocab_size]: row t sees tokens 0..t+1
// and predicts token t+2. Throws UsageError for a bad request before anything runs.
void write_logits(const LogitsRequest& request);

}  // namespace ringbench
