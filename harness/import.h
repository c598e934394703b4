// import.h: numbers that were measured elsewhere, from a CSV file into records that say so.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "harness/result.h"

namespace ringbench {

// Columns are fields of the record, and tags (tag_K). model, phase, ctx, engine, dtype, device and value (or samples)
// are required, gen too but for prefill. Where the model is a preset, the rest of it is filled in from its config, and
// the point id is that of our own rows. Every row gets tag_foreign, the name of the file. Throws UsageError naming
// line and column.
std::vector<Result> import_csv(const std::filesystem::path& file);

std::string import_topic();  // the same for `help runs`

}  // namespace ringbench
