// engines.h: the engines of this build by name: reference (Eigen, f64 and f32), emulated (the CUDA kernels on a CPU; no
// speeds), cuda, and servers (openai:URL). What they can do, what they are made with unless a flag says otherwise, and
// what they would hold.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "reference/engine.h"

namespace ringbench {

// "cuda" where this build has it and the machine shows a driver (no CUDA call is made), else "reference".
std::string default_engine();

// "openai:URL": a server that is asked over HTTP, and no engine of this process.
inline bool is_served(std::string_view engine) { return engine.starts_with("openai:"); }

// Refuses names that are no engine (exit 2), and what this build or machine lacks (exit 3). With `timed`, engines that
// record no speeds are refused too.
void check_engines(const std::vector<std::string>& engines, bool timed);

// The type named by --dtype on this engine. Throws Failure(environment) naming what it supports.
DType parse_dtype(std::string_view text, std::string_view engine);
DType default_dtype(std::string_view engine);    // bf16; reference: f32
int64_t default_chunk(std::string_view engine);  // 8k; where a CPU works: 512

// Throws UsageError for options that this engine does not have.
std::unique_ptr<Engine> make_engine(std::string_view engine, const ModelConfig& config, const Weights& weights,
                                    const EngineOptions& options);
// Bytes it would hold; nothing is allocated.
Memory plan_engine_memory(std::string_view engine, const ModelConfig& config, const EngineOptions& options);
int64_t engine_free_memory(std::string_view engine);      // of the device, or of this machine
std::string engine_device_name(std::string_view engine);  // "NVIDIA H200", or the CPU's
std::string engine_device_uuid(std::string_view engine);  // of its GPU, as NVML knows it; empty on a CPU
// "operator: variant, variant", best first; empty for the reference.
std::vector<std::string> engine_kernels(std::string_view engine);

}  // namespace ringbench
