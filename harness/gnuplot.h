// gnuplot.h: runs gnuplot on a script. Without a shell: names of files and folders are never read as commands.
#pragma once

#include <filesystem>
#include <future>
#include <string>

namespace ringbench {

// Runs `gnuplot SCRIPT` in `folder`. False if gnuplot is not installed. Throws Failure(environment) with gnuplot's
// first line if it fails.
bool run_gnuplot(const std::filesystem::path& folder, const std::string& script);
// The same beside what goes on here; at most as many at once as there are processors.
std::future<bool> start_gnuplot(const std::filesystem::path& folder, const std::string& script);

}  // namespace ringbench
