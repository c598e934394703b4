// json_names.h: what a folder of configs/ has: models, sweeps, figures, devices, tasks, recipes.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

namespace ringbench {

// Names of the .json files in a folder, without extension, sorted; none where there is no such folder.
inline std::vector<std::string> json_names(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder, none))
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace ringbench
