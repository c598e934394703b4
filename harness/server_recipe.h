// server_recipe.h: how vLLM and SGLang serve the Ring-linear models, from configs/servers: what to install, the
// command, and its variants. `--server NAME[:VARIANT]` runs one; `ringbench help servers` shows them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "harness/plan.h"

namespace ringbench {

struct ServerVariant {
  std::string name, note;
  bool stated = false;             // by the model's card, or ours
  int64_t tp = 1;                  // GPUs of tensor parallelism
  std::string yarn = "off";        // as --yarn has it
  std::vector<std::string> flags;  // after the command's own; a later one wins
};

struct ServerRecipe {
  std::string name, about;
  std::string server, version;    // "vllm", and which
  std::string model, repository;  // preset, and where its weights are
  std::vector<std::string> install, command;
  std::vector<ServerVariant> variants;  // the first is what the card runs
  std::vector<std::string> notes;
  std::vector<std::pair<std::string, std::string>> sources;  // what, URL
};

std::vector<std::string> server_recipe_names();  // sorted
// "NAME" or "NAME:VARIANT". Throws UsageError listing what there is.
std::pair<ServerRecipe, ServerVariant> find_server_recipe(const std::string& word);
// For a shell. `weights`: a checkpoint's folder, or empty for the repository.
std::string server_command(const ServerRecipe& recipe, const ServerVariant& variant, const std::string& weights,
                           int port);

// The grids as these recipes run them: each grid once for every recipe that serves its model; of a grid that names
// none, once for every recipe. Throws UsageError if no recipe serves any of them.
std::vector<Grid> on_servers(const std::vector<Grid>& grids, const std::vector<std::string>& recipes);

std::string servers_topic();

}  // namespace ringbench
