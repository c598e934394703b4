// help.h: texts that teach: help of commands, topics, shell completions and the man page, all made from commands.h.
// Lines are at most 100 columns.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "harness/commands.h"

namespace ringbench {

std::string help_overview();
std::string help_command(const CommandLine& command);

std::vector<std::string> topic_names();
// A topic, a command, or "man" (the manual page as roff). Throws UsageError for another word.
std::string help_topic(const std::string& topic);

// `shell`: bash, zsh or fish; throws UsageError for another.
std::string completion_script(std::string_view shell);

}  // namespace ringbench
