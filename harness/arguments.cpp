#include "harness/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "harness/failure.h"
#include "harness/words.h"

namespace ringbench {

Arguments::Arguments(const CommandLine& command, std::vector<std::string> words) : command_(command) {
  CLI::App app;
  app.set_help_flag();  // --help is one of our own flags
  app.allow_extras();
  for (const std::string& name : command.flag_names()) {
    const Flag& flag = *command.find(name);
    const std::string names = flag.letter.empty() ? flag.name : flag.letter + "," + flag.name;
    if (flag.value.empty()) {
      app.add_flag(names, switches_[name])->envname(environment_name(flag));
      continue;
    }
    CLI::Option* const option = app.add_option(names, values_[name])->envname(environment_name(flag));
    if (flag.optional) option->expected(0, 1);  // else as often as it is given, one value each time
    option->allow_extra_args(false);
  }
  std::reverse(words.begin(), words.end());  // as CLI11 wants them
  try {
    app.parse(std::move(words));
  } catch (const CLI::ArgumentMismatch& e) {
    const std::string flag = std::string(e.what()).substr(0, std::string(e.what()).find_first_of(": "));
    const Flag* known = command.find(flag);
    throw UsageError(known == nullptr ? e.what() : flag + " needs a value: " + flag + " " + known->value + ".");
  } catch (const CLI::ParseError& e) {
    throw UsageError(e.what());
  }
  for (const std::string& word : app.remaining()) {
    if (word.size() > 1 && word[0] == '-') refuse_flag(word);
    words_.push_back(word);
  }
  check_choices();
}

std::vector<std::string> Arguments::flag_words(const std::vector<std::string>& without) const {
  const auto left_out = [&](const std::string& name) {
    return std::find(without.begin(), without.end(), name) != without.end();
  };
  std::vector<std::string> words;
  for (const auto& [name, on] : switches_)
    if (on && !left_out(name)) words.push_back(name);
  for (const auto& [name, values] : values_)
    for (const std::string& value : left_out(name) ? std::vector<std::string>() : values) {
      words.push_back(name);
      if (!value.empty()) words.push_back(value);
    }
  return words;
}

void Arguments::refuse_words(size_t allowed) const {
  if (words_.size() > allowed)
    throw UsageError("unexpected argument '" + words_[allowed] + "'.", "see: ringbench help " + command_.name);
}

void Arguments::refuse_flag(const std::string& word) const {
  const std::string name = word.substr(0, word.find('='));
  const std::string near = nearest_word(name, command_.flag_names());
  throw UsageError("unknown flag " + name + "." + (near.empty() ? "" : " Did you mean " + near + "?"),
                   near.empty() ? "see: ringbench help " + command_.name : "");
}

void Arguments::check_choices() {
  for (auto& [name, values] : values_) {
    const Flag& flag = *command_.find(name);
    if (!flag.repeats && values.size() > 1) values.erase(values.begin(), values.end() - 1);  // the last one counts
    // Engines and dtypes have messages of their own: other builds know more of them.
    if (flag.choices.empty() || name == "--engine" || name == "--dtype") continue;
    for (const std::string& value : flag.repeats ? split_list(values, name) : values)
      if (std::find(flag.choices.begin(), flag.choices.end(), value) == flag.choices.end()) {
        const std::string near = nearest_word(value, flag.choices);
        throw UsageError(name + ": '" + value + "' is not one of " + join(flag.choices, ", ") + "." +
                         (near.empty() ? "" : " Did you mean " + near + "?"));
      }
  }
}

}  // namespace ringbench
