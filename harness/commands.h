// commands.h: the command line as data: which commands there are, which flags each takes, and what they mean. Parsing,
// help, completion and the man page are all made from this one description.
#pragma once

#include <string>
#include <vector>

namespace ringbench {

struct Flag {
  std::string name;                       // "--ctx"
  std::string letter;                     // "-o", or empty
  std::string value;                      // "LIST"; empty: a switch
  std::string standard;                   // default, as it would be typed; empty: none
  std::string text;                       // what it means
  std::vector<std::string> choices = {};  // the only values allowed, where they are few; also for completion
  bool repeats = false;                   // several values, by commas or by repetition
  bool optional = false;                  // the value may be left out; then it is ""
};

struct FlagGroup {
  std::string title;
  std::vector<Flag> flags;
};

struct CommandLine {
  std::string name;     // "throughput"
  std::string summary;  // one line
  std::string usage;    // what follows the name
  std::string text;     // a paragraph
  std::vector<FlagGroup> groups;
  std::vector<std::string> arguments;              // words that may follow, where they are few
  std::vector<std::vector<std::string>> examples;  // {command, what it does}

  const Flag* find(const std::string& name_or_letter) const;
  std::vector<std::string> flag_names() const;
};

const std::vector<CommandLine>& command_lines();

// The environment variable that holds a flag's default: "--time-budget" -> "RINGBENCH_TIME_BUDGET".
std::string environment_name(const Flag& flag);

}  // namespace ringbench
