#include "harness/engines.h"

#include <filesystem>
#include <stdexcept>

#include "cuda/cuda_engine.h"
#include "cuda/gpu.h"
#include "harness/endpoint_url.h"
#include "harness/environment.h"
#include "harness/failure.h"

namespace ringbench {
namespace {

#if defined(RINGBENCH_HAVE_CUDA)
constexpr bool kHaveCuda = true;
#else
constexpr bool kHaveCuda = false;
#endif

bool driver_is_there() { return std::filesystem::exists("/dev/nvidiactl") || std::filesystem::exists("/dev/dxg"); }

}  // namespace

std::string default_engine() { return kHaveCuda && driver_is_there() ? "cuda" : "reference"; }

void check_engines(const std::vector<std::string>& engines, bool timed) {
  for (const std::string& engine : engines) {
    if (engine == "reference") continue;
    if (is_served(engine)) {
      parse_endpoint_urls(engine);
      if (timed) continue;
      throw UsageError("--engine: a server can be measured and asked, not looked into. Use --engine reference or cuda.",
                       "commands that take one: prefill, decode, e2e, throughput, sweep, eval");
    }
    if (engine == "emulated") {
      if (timed)
        throw Failure(ExitCode::environment,
                      "engine 'emulated' checks the CUDA kernels on a CPU and records no speeds. Use --engine "
                      "reference or cuda.");
    } else if (engine == "cuda") {
      const std::string advice =
          timed ? ". Use --engine reference." : ". Use --engine reference, or emulated for parity.";
      if (!kHaveCuda) throw Failure(ExitCode::environment, "no CUDA device (this build has no CUDA engine)" + advice);
      if (!driver_is_there()) throw Failure(ExitCode::environment, "no CUDA device (driver not found)" + advice);
    } else {
      throw UsageError("--engine: '" + engine + "' is not an engine of this build. Use reference, " +
                       (timed ? "" : "emulated, ") + "cuda or openai:URL.");
    }
  }
}

DType parse_dtype(std::string_view text, std::string_view engine) {
  const bool reference = engine == "reference";
  if (text == "f32") return DType::f32;
  if (text == "f64" && reference) return DType::f64;
  if (text == "bf16" && !reference) return DType::bf16;
  throw Failure(ExitCode::environment, "--dtype " + std::string(text) + ": engine '" + std::string(engine) +
                                           (reference ? "' computes in f32 and f64. Use --dtype f32 or f64."
                                                      : "' computes in bf16 and f32. Use --dtype bf16 or f32."));
}

DType default_dtype(std::string_view engine) { return engine == "reference" ? DType::f32 : DType::bf16; }

int64_t default_chunk(std::string_view engine) { return engine == "cuda" ? 8192 : 512; }

std::unique_ptr<Engine> make_engine(std::string_view engine, const ModelConfig& config, const Weights& weights,
                                    const EngineOptions& options) {
  if (engine == "reference") return make_reference_engine(config, weights, options);
  if (options.rope_angles == RopeAngles::f32)
    throw UsageError("--rope-angles f32: engine '" + std::string(engine) +
                     "' computes angles exactly; f32 angles are the reference's.");
  if (engine == "emulated") return emulated::make_engine(config, weights, options);
#if defined(RINGBENCH_HAVE_CUDA)
  if (engine == "cuda") return gpu::make_engine(config, weights, options);
#endif
  throw std::logic_error("no engine '" + std::string(engine) + "'");
}

Memory plan_engine_memory(std::string_view engine, const ModelConfig& config, const EngineOptions& options) {
#if defined(RINGBENCH_HAVE_CUDA)
  if (engine == "cuda") return gpu::plan_memory(config, options);
#endif
  return engine == "emulated" ? emulated::plan_memory(config, options) : plan_reference_memory(config, options);
}

int64_t engine_free_memory([[maybe_unused]] std::string_view engine) {
#if defined(RINGBENCH_HAVE_CUDA)
  if (engine == "cuda") return gpu::current_device().free_bytes;
#endif
  return available_memory_bytes();
}

std::string engine_device_name([[maybe_unused]] std::string_view engine) {
#if defined(RINGBENCH_HAVE_CUDA)
  if (engine == "cuda") return gpu::current_device().name;
#endif
  return cpu_device_name();
}

std::string engine_device_uuid([[maybe_unused]] std::string_view engine) {
#if defined(RINGBENCH_HAVE_CUDA)
  if (engine == "cuda") return gpu::current_device().uuid;
#endif
  return "";
}

std::vector<std::string> engine_kernels(std::string_view engine) {
#if defined(RINGBENCH_HAVE_CUDA)
  if (engine == "cuda") return gpu::list_kernels();
#endif
  return engine == "emulated" ? emulated::list_kernels() : std::vector<std::string>{};
}

}  // namespace ringbench
