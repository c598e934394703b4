// convert_lines.h: a file of lines to another, as commands with --in and --out do it: all of it or nothing.
#pragma once

#include <functional>
#include <string>

namespace ringbench {

// Writes what `convert` makes of each line of `in`, a line each, and none where it makes an empty text; `where` names
// the line for messages ("--in: FILE:3"). What `out` held stays until all is written. Throws UsageError for a file that
// cannot be read or written, Failure(environment) for a full disk, and what `convert` throws.
void convert_lines(const std::string& in, const std::string& out,
                   const std::function<std::string(const std::string& line, const std::string& where)>& convert);

}  // namespace ringbench
