#include "harness/server_recipe.h"

#include <algorithm>

#include "evals/text.h"
#include "harness/json_names.h"
#include "harness/json_object.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kFirstPort = 8000;  // of the first of several; the next ones follow

fs::path recipes_folder() { return configs_folder() / "servers"; }

ServerVariant read_variant(JsonObject json) {
  ServerVariant variant;
  variant.name = json.text("name");
  variant.stated = json.flag("stated");
  variant.note = json.text_or("note", "");
  variant.tp = json.maybe_integer("tp").value_or(variant.tp);
  variant.yarn = json.text_or("yarn", variant.yarn);
  if (json.has("flags")) variant.flags = json.texts("flags");
  json.refuse_unknown_keys();
  return variant;
}

ServerRecipe read_recipe(const fs::path& file) {
  JsonObject json = read_json_object(file);
  json.word("schema", {"ringbench.server/1"});
  ServerRecipe recipe;
  recipe.name = file.stem().string();
  recipe.about = json.text("about");
  recipe.server = json.word("server", {"vllm", "sglang"});
  recipe.version = json.text("version");
  recipe.model = json.text("model");
  recipe.repository = json.text("repository");
  recipe.install = json.texts("install");
  recipe.command = json.texts("command");
  json.text("ready");  // for whoever starts it by hand
  for (JsonObject& variant : json.objects("variants")) recipe.variants.push_back(read_variant(variant));
  if (recipe.variants.empty()) json.fail("variants", "one variant or more");
  recipe.notes = json.texts("notes");
  for (JsonObject& source : json.objects("sources")) {
    recipe.sources.emplace_back(source.text("what"), source.text("url"));
    source.refuse_unknown_keys();
  }
  json.refuse_unknown_keys();
  return recipe;
}

// A command for a shell, in lines of at most 96 columns.
std::string shell_lines(const std::string& command) {
  constexpr size_t kColumns = 96;
  std::string text = "    $", line = text;
  for (size_t begin = 0; begin < command.size();) {
    const size_t end = std::min(command.find(' ', begin), command.size());
    const std::string word = " " + command.substr(begin, end - begin);
    begin = end + 1;
    if (line.size() + word.size() + 2 > kColumns) text += " \\\n     ", line = "     ";
    text += word, line += word;
  }
  return text + "\n";
}

std::vector<std::string> variant_names(const ServerRecipe& recipe) {
  std::vector<std::string> names;
  for (const ServerVariant& variant : recipe.variants) names.push_back(variant.name);
  return names;
}

}  // namespace

std::vector<std::string> server_recipe_names() { return json_names(recipes_folder()); }

std::pair<ServerRecipe, ServerVariant> find_server_recipe(const std::string& word) {
  const size_t colon = std::min(word.find(':'), word.size());
  const std::string name = word.substr(0, colon);
  const std::vector<std::string> names = server_recipe_names();
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    const std::string near = nearest_word(name, names);
    throw UsageError("--server: '" + name + "' is no recipe." + (near.empty() ? "" : " Did you mean " + near + "?"),
                     "recipes: " + join(names, ", "));
  }
  ServerRecipe recipe = read_recipe(recipes_folder() / (name + ".json"));
  ServerVariant variant = recipe.variants.front();
  if (colon == word.size()) return {std::move(recipe), std::move(variant)};
  const auto found = std::find_if(recipe.variants.begin(), recipe.variants.end(),
                                  [&](const ServerVariant& v) { return v.name == word.substr(colon + 1); });
  if (found == recipe.variants.end())
    throw UsageError("--server: " + name + " has no variant '" + word.substr(colon + 1) + "'.",
                     "variants: " + join(variant_names(recipe), ", "));
  variant = *found;
  return {std::move(recipe), std::move(variant)};
}

std::string server_command(const ServerRecipe& recipe, const ServerVariant& variant, const std::string& weights,
                           int port) {
  std::vector<std::string> words = recipe.command;
  words.insert(words.end(), variant.flags.begin(), variant.flags.end());
  for (std::string& word : words) {
    replace_all(word, "{weights}", weights.empty() ? recipe.repository : weights);
    replace_all(word, "{port}", std::to_string(port));
    replace_all(word, "{tp}", std::to_string(variant.tp));
    word = shell_word(word);
  }
  return join(words, " ");
}

std::vector<Grid> on_servers(const std::vector<Grid>& grids, const std::vector<std::string>& recipes) {
  std::vector<Grid> served;
  for (size_t i = 0; i < recipes.size(); ++i) {
    const auto [recipe, variant] = find_server_recipe(recipes[i]);
    const int port = kFirstPort + static_cast<int>(i);
    for (const Grid& grid : grids) {
      if (grid.plan.model != "auto" && grid.plan.model != recipe.model) continue;
      Plan& plan = served.emplace_back(grid).plan;
      plan.model = recipe.model;
      plan.engine = {"openai:http://127.0.0.1:" + std::to_string(port)};
      plan.start = server_command(recipe, variant, plan.weights, port);
      plan.yarn = {variant.yarn};
    }
  }
  if (served.empty())
    throw UsageError("--server: none of these recipes serves " + grids.front().plan.model + ".",
                     "see: ringbench help servers");
  return served;
}

std::string servers_topic() {
  std::string text = wrap(
      "Servers\n\n"
      "--engine openai:URL measures whatever speaks OpenAI's HTTP API (vLLM, SGLang, llama.cpp, mlx-lm): prefill, "
      "decode, e2e, throughput, sweep and eval. openai:URL1+URL2 sends requests to replicas in turn; each has a row of "
      "its own beside that of all. --model, --weights or --config says what is served; --weights DIR also lets its "
      "tokens be checked against the reference. A key goes "
      "into the environment variable RINGBENCH_API_KEY and nowhere else.\n\n"
      "What is timed\n\n"
      "Prompts are token ids, new ones for every request of every run, so that no prefix cache knows them; a server "
      "that "
      "takes no ids gets words (flag L where their number differs from what was asked for). The clock starts when a "
      "request is due and stops at the first event that carries a token, reasoning included.\n"
      "prefill  until the last of --batch requests, sent together, has its first token\n"
      "decode   (last token - first token) / (tokens - 1) of each, the mean over the batch; tokens by the server's "
      "count\n"
      "e2e      until the last of --requests is done, with --batch of them in flight; with --rate R they come at "
      "random, "
      "R a second, and the time is the median of one\n"
      "itl_p50_s and itl_p99_s are gaps between events, of which one may hold several tokens. Flag C: a prefix cache "
      "answered 1 % of the prompts' tokens or more, by the server's own count. Memory, kernels and shares of peaks are "
      "the server's own affair and null. client_ttft_s: what the client itself adds, found with an echo server and as "
      "many streams; where that matters, a warning W-CLIENT says so.\n\n"
      "Parity\n\n"
      "With --weights, three prompts are continued greedily, and the log-probabilities that the server tells are held "
      "against the reference in f64. --dtype says what the server computes in: what rounding costs there makes the "
      "budget.\n\n"
      "Recipes\n\n"
      "--server NAME[:VARIANT] starts one, measures, and stops it; several follow each other on the same GPU. "
      "--start 'COMMAND' does that with a command of your own.\n",
      0);
  for (const std::string& name : server_recipe_names()) {
    const ServerRecipe recipe = read_recipe(recipes_folder() / (name + ".json"));
    text += "\n" + name + "\n" + wrap(recipe.about + ". " + recipe.server + " " + recipe.version + ".", 2);
    for (const std::string& line : recipe.install) text += shell_lines(line);
    text += shell_lines(server_command(recipe, recipe.variants.front(), "", kFirstPort));
    for (const ServerVariant& variant : recipe.variants)
      text +=
          wrap(variant.name + (variant.stated ? "" : " (ours)") + (variant.note.empty() ? "" : ": " + variant.note), 4);
    for (const auto& [what, url] : recipe.sources) text += wrap(what + ":", 4) + "      " + url + "\n";
  }
  return text;
}

}  // namespace ringbench
