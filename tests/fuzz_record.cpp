// fuzz_record.cpp: any bytes are either a record or a UsageError; what is accepted is written as it was read.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "harness/records.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ringbench;
  try {
    const std::string line = to_json_line(parse_record({reinterpret_cast<const char*>(data), size}, "fuzz"));
    if (to_json_line(parse_record(line, "written")) != line) std::abort();
  } catch (const UsageError&) {}
  return 0;
}
