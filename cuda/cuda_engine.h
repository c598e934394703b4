// cuda_engine.h: the Engine over the CUDA kernels: `cuda` on a GPU, `emulated` on a CPU, from the same sources. This
// header is for harness/, which sees both sides.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "reference/config.h"
#include "reference/engine.h"
#include "reference/weights.h"

namespace ringbench {

struct Device;  // gpu.h

// options.dtype bf16 (arithmetic in float) or f32. Throws std::invalid_argument for what it cannot do (f64, MTP,
// RopeAngles::f32, an unknown forced variant), GpuError where there is no device or memory.
// Deterministic: the same calls give the same bits.
namespace emulated {
std::unique_ptr<Engine> make_engine(const ModelConfig& config, const Weights& weights, const EngineOptions& options);
// Bytes it would hold; nothing is allocated.
Memory plan_memory(const ModelConfig& config, const EngineOptions& options);
std::vector<std::string> list_kernels();  // "operator: variant, variant", best first
}  // namespace emulated

// The same on the GPU; only where CUDA was built in (RINGBENCH_HAVE_CUDA).
namespace gpu {
Device current_device();
std::unique_ptr<Engine> make_engine(const ModelConfig& config, const Weights& weights, const EngineOptions& options);
Memory plan_memory(const ModelConfig& config, const EngineOptions& options);
std::vector<std::string> list_kernels();
}  // namespace gpu

}  // namespace ringbench
