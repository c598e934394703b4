#include "harness/sweep.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>
#include <sstream>

#include "harness/commands.h"
#include "harness/json_names.h"
#include "harness/words.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

const CommandLine& measuring_command(Command command) {
  const auto found = std::find_if(command_lines().begin(), command_lines().end(),
                                  [&](const CommandLine& line) { return line.name == name_of(command); });
  return *found;
}

std::string text_or_json(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

// Reads one file; every message names it.
class SweepReader {
 public:
  explicit SweepReader(const fs::path& file) : file_(file) {}

  SweepPlan read() {
    std::ifstream in(file_);
    if (!in) throw UsageError("--plan: '" + file_.string() + "' cannot be read.");
    std::ostringstream text;
    text << in.rdbuf();
    SweepPlan plan;
    plan.text = text.str();
    Json json;
    try {
      json = Json::parse(plan.text, nullptr, true, true);  // with comments
    } catch (const Json::parse_error& e) {
      throw UsageError(file_.string() + ": not JSON: " + std::string(e.what()).substr(0, 160));
    }
    if (!json.is_object()) refuse("the plan", "is no object");
    check_keys(json, "the plan", {"schema", "description", "grids"});
    if (text_or_json(json.value("schema", Json(""))) != "ringbench.sweep/1")
      refuse("\"schema\"", "is not \"ringbench.sweep/1\"");
    plan.name = file_.stem().string();
    if (plan.name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") !=
        std::string::npos)
      refuse("the file's name", "names runs: use letters, digits, '-', '_' and '.'");
    plan.description = text_or_json(json.value("description", Json("")));
    if (!json.contains("grids") || !json["grids"].is_array() || json["grids"].empty())
      refuse("\"grids\"", "is no list of at least one grid");
    for (const Json& grid : json["grids"]) plan.grids.push_back(read_grid(grid, plan.grids.size() + 1));
    return plan;
  }

 private:
  [[noreturn]] void refuse(const std::string& what, const std::string& why) const {
    throw UsageError(file_.string() + ": " + what + " " + why + ".", "see: ringbench sweep smoke --print-plan");
  }

  void check_keys(const Json& object, const std::string& what, const std::vector<std::string>& known) const {
    for (const auto& [key, value] : object.items())
      if (std::find(known.begin(), known.end(), key) == known.end()) {
        const std::string near = nearest_word(key, known);
        refuse(what, "has an unknown key \"" + key + "\"" + (near.empty() ? "" : "; did you mean \"" + near + "\"?"));
      }
  }

  // Keys of a grid are the flags of its command, without the dashes.
  SweepGrid read_grid(const Json& json, size_t number) const {
    const std::string what = "grid " + std::to_string(number);
    if (!json.is_object()) refuse(what, "is no object");
    SweepGrid grid;
    const std::string command = text_or_json(json.value("command", Json("")));
    const auto known = {Command::throughput, Command::prefill, Command::decode, Command::e2e};
    const auto found = std::find_if(known.begin(), known.end(), [&](Command c) { return name_of(c) == command; });
    if (found == known.end()) refuse(what, "needs a \"command\": throughput, prefill, decode or e2e");
    grid.command = *found;
    const CommandLine& line = measuring_command(grid.command);
    std::vector<std::string> keys = {"command", "on"};
    for (const std::string& flag : line.flag_names())
      if (!of_the_run(flag)) keys.push_back(flag.substr(2));
    check_keys(json, what, keys);
    if (json.contains("on")) {
      grid.on = text_or_json(json["on"]);
      if (grid.on != "cpu" && grid.on != "gpu") refuse(what + ": \"on\"", "is neither \"cpu\" nor \"gpu\"");
    }
    for (const auto& [key, value] : json.items()) {
      if (key == "command" || key == "on") continue;
      const std::vector<std::string> values = read_values(value, *line.find("--" + key), what + ": \"" + key + "\"");
      if (key == "model")
        grid.models = values;
      else if (!value.is_boolean() || value.get<bool>())
        grid.flags.emplace_back("--" + key, values);
    }
    return grid;
  }

  std::vector<std::string> read_values(const Json& value, const Flag& flag, const std::string& what) const {
    if (flag.value.empty()) {
      if (!value.is_boolean()) refuse(what, "is a switch: true or false");
      return {};
    }
    std::vector<std::string> values;
    for (const Json& one : value.is_array() ? value : Json::array({value})) {
      if (!one.is_string() && !one.is_number()) refuse(what, "is no text, number or list of them");
      values.push_back(text_or_json(one));
    }
    if (values.empty()) refuse(what, "is an empty list");
    if (values.size() > 1 && !flag.repeats && flag.name != "--model") refuse(what, "takes one value");
    return values;
  }

  // Flags that concern the run as a whole are not a grid's.
  static bool of_the_run(const std::string& flag) {
    static const std::vector<std::string> flags = {"--format",  "--json",        "--output",       "--results",
                                                   "--no-save", "--color",       "--quiet",        "--verbose",
                                                   "--help",    "--no-progress", "--resume",       "--retry",
                                                   "--shard",   "--mix-builds",  "--total-budget", "--dry-run"};
    return std::find(flags.begin(), flags.end(), flag) != flags.end();
  }

  fs::path file_;
};

}  // namespace

std::vector<std::string> sweep_names() { return json_names(configs_folder() / "sweeps"); }

SweepPlan read_sweep(const std::string& name) {
  const std::vector<std::string> names = sweep_names();
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    const std::string near = nearest_word(name, names);
    throw UsageError("no sweep '" + name + "'." + (near.empty() ? "" : " Did you mean " + near + "?"),
                     "sweeps: " + join(names, ", ") + "; or give --plan FILE");
  }
  return read_sweep_file((configs_folder() / "sweeps" / (name + ".json")).string());
}

SweepPlan read_sweep_file(const std::string& file) { return SweepReader(file).read(); }

void write_sweeps(std::ostream& out) {
  for (const std::string& name : sweep_names())
    out << name << std::string(std::max<size_t>(1, 14 - std::min<size_t>(13, name.size())), ' ')
        << read_sweep(name).description << "\n";
}

std::vector<SweepWords> words_of_grids(const SweepPlan& plan, const std::vector<std::string>& given, bool cpu) {
  const auto is_given = [&](const std::string& flag) {
    return std::find(given.begin(), given.end(), flag) != given.end();
  };
  std::vector<SweepWords> all;
  for (const SweepGrid& grid : plan.grids) {
    if (!grid.on.empty() && grid.on != (cpu ? "cpu" : "gpu")) continue;
    const bool own_model = is_given("--model") || is_given("--config") || is_given("--weights");
    const std::vector<std::string> any = {""};
    for (const std::string& model : grid.models.empty() || own_model ? any : grid.models) {
      SweepWords words{grid.command, {}};
      if (!model.empty()) words.words = {"--model", model};
      for (const auto& [flag, values] : grid.flags) {
        if (is_given(flag)) continue;
        if (values.empty()) words.words.push_back(flag);
        for (const std::string& value : values) words.words.insert(words.words.end(), {flag, value});
      }
      words.words.insert(words.words.end(), given.begin(), given.end());
      all.push_back(std::move(words));
      if (own_model) break;
    }
  }
  if (all.empty())
    throw UsageError("sweep " + plan.name + " has no grid for engines on a " + (cpu ? "CPU." : "GPU."),
                     "See its plan: ringbench sweep " + plan.name + " --print-plan");
  return all;
}

}  // namespace ringbench
