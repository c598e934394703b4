// info.h: the command `info`: what a model is made of and how much memory it takes, from its config alone.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>

#include "harness/plan.h"

namespace ringbench {

struct InfoRequest {
  std::string model = "auto", config_file, weights;  // as in Plan
  std::string hybrid = "model", yarn = "auto";
  std::optional<int64_t> layers;
  DType dtype = DType::bf16;   // of weights and KV; the recurrent state is f32 (f64 with f64)
  std::optional<int64_t> ctx;  // with it, the bytes at that point
  int64_t batch = 1;
  std::optional<SlopeLayerOffset> slope_layer_offset;
  bool json = false;
};

void write_info(std::ostream& out, const InfoRequest& request);
void write_version(std::ostream& out, bool json);

}  // namespace ringbench
