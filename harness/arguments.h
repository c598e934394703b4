// arguments.h: the values that a command line gives to the flags of one command. CLI11 splits the words; what flags
// there are is in commands.cpp, what their values mean in words.h and plan.h.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "harness/commands.h"

namespace ringbench {

class Arguments {
 public:
  // Throws UsageError for an unknown flag (with the nearest one), a missing value, or a word that is no choice.
  Arguments(const CommandLine& command, std::vector<std::string> words);

  bool has(const std::string& name) const { return switches_.contains(name) && switches_.at(name); }
  bool given(const std::string& name) const { return values_.contains(name) && !values_.at(name).empty(); }
  // All values; a flag that does not repeat has at most one.
  const std::vector<std::string>& all(const std::string& name) const { return values_.at(name); }
  const std::string& text(const std::string& name) const { return values_.at(name).back(); }
  std::string text_or(const std::string& name, const std::string& standard) const {
    return given(name) ? text(name) : standard;
  }
  const std::vector<std::string>& words() const { return words_; }  // that belong to no flag
  // Flags and values as words again, but for those named.
  std::vector<std::string> flag_words(const std::vector<std::string>& without) const;

  // Throws UsageError if there are more than `allowed` of them.
  void refuse_words(size_t allowed) const;

 private:
  [[noreturn]] void refuse_flag(const std::string& word) const;
  void check_choices();

  const CommandLine& command_;
  std::map<std::string, bool> switches_;
  std::map<std::string, std::vector<std::string>> values_;
  std::vector<std::string> words_;
};

// The value that belongs to a word; the words have been checked against the flag's choices.
template <class T> T choose(const std::string& word, const std::vector<std::pair<std::string, T>>& values) {
  for (const auto& [name, value] : values)
    if (name == word) return value;
  throw std::logic_error("no value for '" + word + "'");
}

}  // namespace ringbench
