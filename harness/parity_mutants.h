// parity_mutants.h: the comparator is tested: faults are planted in a plain decoder, one at a time, and parity must
// notice and name each. The command is `parity --self-test`.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "harness/plan.h"

namespace ringbench {

struct MutantResult {
  std::string name;   // "swapped_heads"; the control is "none"
  std::string fault;  // for people: what was broken
  bool caught = false;
  std::string level, check, text;  // what failed first
  bool as_expected() const { return caught == (name != "none"); }
};

// Every mutant, and the control, on a small model that has all kinds of layers. Which names there are: mutant_names().
std::vector<MutantResult> run_mutants(const std::function<void(const std::string&)>& progress,
                                      const std::vector<std::string>& names = {});
std::vector<std::string> mutant_names();
std::string mutants_text(const std::vector<MutantResult>& results, Format format);

}  // namespace ringbench
