// preset.h: the models of configs/models.
#pragma once

#include <filesystem>
#include <string>

#include "reference/config.h"

namespace ringbench {

inline std::filesystem::path presets() { return std::filesystem::path(RINGBENCH_SOURCE_DIR) / "configs" / "models"; }

inline ModelConfig preset(const std::string& name) { return ModelConfig::load(presets() / (name + ".json")); }

}  // namespace ringbench
