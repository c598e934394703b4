// help.cpp: see help.h.
#include "harness/help.h"

#include <algorithm>
#include <map>

#include "harness/claims.h"
#include "harness/compare.h"
#include "harness/environment.h"
#include "harness/failure.h"
#include "harness/figure_file.h"
#include "harness/import.h"
#include "harness/plan.h"
#include "harness/result.h"
#include "harness/server_recipe.h"
#include "harness/words.h"

namespace ringbench {
namespace {

// "  left      text, wrapped beside it".
std::string beside(const std::string& left, const std::string& text, size_t column) {
  std::string lines = wrap(text, column);
  if (left.size() + 2 > column) return left + "\n" + lines;
  return left + lines.substr(left.size());
}

std::string flag_title(const Flag& flag) {
  return (flag.letter.empty() ? "" : flag.letter + ", ") + flag.name + (flag.value.empty() ? "" : " " + flag.value);
}

std::string flag_text(const Flag& flag) {
  return flag.text + (flag.standard.empty() ? "" : " [" + flag.standard + "]");
}

std::string examples_text(const CommandLine& command) {
  std::string text;
  for (const auto& example : command.examples) text += "  # " + example[1] + "\n  " + example[0] + "\n";
  return text;
}

// --- Topics ---

std::string metrics_topic() {
  return wrap(
      "What is timed\n\n"
      "prefill  ttft_s: from token ids in memory to the first sampled token id (greedy), the batch as a whole. tok_s = "
      "batch x ctx / median.\n"
      "decode   tpot_s: one step of the batch at depth ctx; the cache is filled before the timer starts, and put back "
      "between repetitions. step_p50_s, step_p90_s, step_p99_s: of the single steps. tok_s = batch x (gen - 1) / (time "
      "of the last token - time of the first).\n"
      "e2e      e2e_s: prompt of ctx tokens and gen generated ones. tok_s = batch x gen / median.\n\n"
      "How it is reported\n\n"
      "value is the median of n repetitions. ci95_low and ci95_high are order statistics that enclose the median with "
      "at least 95 % confidence, whatever the distribution: [x1, x6] of 6, [x2, x8] of 9, [x3, x10] of 12; below 6 "
      "repetitions there is none. p90 needs 10 samples, p99 needs 100. All samples are kept, outliers too. Rates are "
      "computed from the median time, not as a mean of rates.\n\n"
      "--reps auto repeats at least 6 and at most 30 times and stops when half of the interval is within --ci percent "
      "of the median, or when another repetition would not fit the time budget.\n\n"
      "Estimates\n\n"
      "On the reference, a prefill that would not fit its budget is estimated: chunks at several depths are really "
      "run, time against depth is fitted by a line, and the line is summed over all chunks. Rows are flagged E and "
      "printed with ~; the estimator's fields say how many chunks, how much of the work was run, how well the line "
      "fits, and how far the same estimate is from a full run at a smaller context (est_anchor_error).\n\n"
      "Flags\n\n"
      "E estimated, U unverified (no parity certificate), S synthetic depth (the cache was imported, not computed), X "
      "beyond the trained window, R routing override, N noisy (the interval is wider than --ci, or the CPU was "
      "shared), T throttled, C cache hits seen, L requested length not reached.\n\n"
      "Memory\n\n"
      "kv_bytes and state_bytes are what the engine holds; the _analytic fields follow from the config alone. The KV "
      "cache grows with every token of a softmax layer; a linear layer's state does not grow. cache_ratio_vs_softmax "
      "compares their sum with the softmax twin's.",
      0);
}

std::string grid_topic() {
  return wrap(
      "Lists and ranges\n\n"
      "Token counts: k, K and Ki are 1024, m, M and Mi are 1024 x 1024: 384k = 393216, 1.5k = 1536. Decimal thousands "
      "are written out: 384000.\n"
      "A list: --ctx 512,8k,384k, or the flag several times.\n"
      "Geometric: --ctx 512..384k*2 is 512, 1024, ... 262144, 393216; the end is always included.\n"
      "Arithmetic: --ctx 0..32k+4k.\n\n"
      "Grids\n\n"
      "Lists multiply: --ctx 8k,16k --batch 1,4 is four points. --zip ctx,batch pairs them instead: two points. "
      "--where 'ctx*batch<=64k' keeps the points that meet a condition on ctx, gen, batch and layers. Points that turn "
      "out equal are run once. A point that fails becomes a row and the rest goes on; --dry-run shows what would "
      "run.\n\n"
      "Layer ratios\n\n"
      "--hybrid model (as the config says), 4:1 (four linear layers for each softmax layer; the depth must be a "
      "multiple of 5), softmax (0:1, the twin), linear (1:0), or a pattern such as LLSLLLSS, one letter a layer: L "
      "linear, S softmax, W sliding window. 'ringbench info' prints a model's own pattern. --layers changes the depth.",
      0);
}

std::string schema_topic() {
  std::string text = wrap(
      "One record is one flat JSON object on one line: numbers, strings, booleans, null, or arrays of numbers or "
      "strings. Units are in the names. What does not apply is null, never 0 and never missing. Readers ignore fields "
      "they do not know. Columns of csv are the same fields; arrays are joined by ';'. The JSON Schema is "
      "result.schema.json, beside the configs.",
      0);
  std::string_view group;
  for (const Field& field : result_fields()) {
    if (field.group != group) {
      group = field.group;
      text += "\n" + std::string(group) + "\n";
    }
    std::string type(field.type);
    if (type == "numbers" || type == "strings") type = "array of " + type;
    text += beside("  " + std::string(field.name),
                   std::string(field.meaning) + " (" + type + (field.nullable ? " or null" : "") + ")", 30);
  }
  return text + "\nuser\n" + beside("  tag_K", "For each --tag K=V. (string)", 30);
}

// From install to paste, as it would be typed.
std::string kernel_recipe() {
  return R"(Somebody else's kernel

  cmake --preset default && cmake --build build --target ringbench   # no GPU is needed to judge
  pip install numpy safetensors torch          # for the runner; numpy arrays without torch
  ringbench parity --op linear_attention --emit cases   # inputs, truth in f64, case.json
  run="python3 harness/foreign/run_case.py cases/linear_attention-*"
  $run --run adapters:fla_chunk --out base     # fla_recurrent, fla_naive, seg_la, thunderkittens
  $run --run mine:kernel --out mine            # kernel(inputs, case): {"o": ..., "state": ...}
  ringbench parity --load mine=mine            # is it wrong, by how much, and why
  ringbench parity --load mine=mine --rounding dot=tf32   # if it rounds elsewhere
  ringbench parity --load base=base --load mine=mine --format md   # the table to paste
)";
}

std::string parity_topic() {
  return wrap(
      "What is compared\n\n"
      "The truth is the reference in f64. What an engine may differ by is the error of the reference itself, run once "
      "more with the engine's own rounding points (bf16 weights, activations, caches, ...): an error of at most twice "
      "that, largest ones at most four times, with a floor of what sums in float lose. No tolerance belongs to a "
      "machine.\n\n"
      "Levels\n\n"
      "op     every kernel variant against f64.\n"
      "layer  each block recomputed from the inputs that the engine's own had, so that errors do not add up and the "
      "first wrong layer is named. Prompt and single steps.\n"
      "state  caches and linear states afterwards; a linear state must be float.\n"
      "model  each walks alone: logits, KL divergence, greedy tokens, routing. Another token counts only where the "
      "gap between the two is wider than the noise; tokens that went to other experts at a near-tie are counted.\n"
      "self   one shot, chunks and token by token agree; a row of a batch is what it is alone; twice gives the same "
      "bits; states go out, in and on.\n"
      "yarn   the same with rotary positions beyond a window, with and without YaRN.\n"
      "depth  one step over a cache of --ctx tokens, recomputed from the engine's own cache and states.\n\n"
      "Statuses\n\n"
      "pass, fail, and mistrusted: the truth is constant or nearly all zeros, so that agreement means little (weights "
      "of zeros give that).\n\n"
      "Certificates\n\n"
      "The verdict is kept with build, device, type, config and the kernel variants that ran. A speed row's parity is "
      "pass if such certificates cover every variant it launched; partial if some are missing (parity_missing); stale "
      "if they are of another build or device; fail; or none. --parity quick, the default of measuring commands, makes "
      "one before timing; require measures nothing without it (exit 4).",
      0);
}

std::string figures_topic() {
  static const std::vector<std::pair<std::string, std::string>> keys = {
      {"title", "Stands over the picture."},
      {"rows",
       "Which records: {\"phase\": \"prefill\", \"batch\": [1, 64]}, any field of a record, tag_NAME too. Those "
       "without a "
       "number are counted in the caption."},
      {"x, y",
       "A quantity, or {\"quantity\": \"ctx\", \"label\": \"context\", \"scale\": \"log\"}; the other scale is linear. "
       "y may be "
       "a list: panels, one under the other. x may be a field of words, such as hybrid."},
      {"series",
       "Fields that tell the lines apart [model, hybrid]. Others join by themselves where different measurements would "
       "fall on one another."},
      {"published",
       "Numbers of configs/published, by id, that are overlaid: marked as stated, or as derived from one."},
      {"marks",
       "Vertical lines: [{\"x\": \"trained_window\", \"label\": \"trained window\"}]. x is a number, a field, or "
       "crossover: "
       "where a speed-up first reaches 1."},
      {"caption",
       "A sentence; {field} is replaced by what the rows have there. Device, type, model, commit, repetitions and what "
       "is "
       "estimated are always added."},
      {"needs", "The command that makes such rows."},
      {"order", "Place among all figures."},
      {"analytic",
       "Lines from configs alone instead of rows: {\"ctx\": \"1k..512k*2\", \"lines\": [{\"model\": "
       "\"ring-mini-linear-2.0\", "
       "\"attention\": \"mla\", \"label\": \"MLA\"}]}; attention is mha, gqa, mla, hybrid or linear, and y is bytes."}};
  std::string text =
      "A figure file\n\n  {\"title\": \"Time to first token\", \"rows\": {\"metric\": \"ttft_s\"}, \"x\": \"ctx\",\n"
      "   \"y\": [\"value\", {\"quantity\": \"speed_up\", \"label\": \"over the softmax twin\"}]}\n\n"
      "Its keys (x and y are needed; an unknown one is an error):\n";
  for (const auto& [key, meaning] : keys) text += beside("  " + key, meaning, 13);
  text += "\nQuantities: the number fields of a record ('ringbench help schema'), and\n";
  for (const FigureQuantity& quantity : derived_quantities())
    text += beside("  " + quantity.name, quantity.meaning, 19);
  return text + "\n" +
         wrap(
             "Filled points and solid lines are measured, hollow and dashed ones estimated or computed; bars are 95 % "
             "intervals. configs/figures has examples.",
             0);
}

std::string exit_codes_topic() {
  return "0    everything asked for was done; warnings are possible\n"
         "1    finished, but at least one point failed, ran out of memory or time (its row says which)\n"
         "2    usage: bad flag, value, config, weights or input file, or a results folder in use; nothing ran\n"
         "3    environment: no such device, unsupported dtype, too little memory, disk full\n"
         "4    parity: a check failed, or --parity require found no certificate\n"
         "5    compare: a row is slower, or what else --fail-on names; claims: --fail-on not-reproduced\n"
         "70   internal error: a bug, please report it\n"
         "130  interrupted (Ctrl-C); finished points are kept. A second Ctrl-C stops at once\n"
         "143  terminated; finished points are kept\n\n"
         "If several apply: 130 or 143, then 70, 3, 4, 5, 1. Errors are one line on stderr, and at most one\n"
         "more with advice.\n";
}

// --- The manual page ---

std::string roff(const std::string& text) {
  std::string escaped;
  for (const char c : text) escaped += c == '\\' ? "\\e" : c == '-' ? "\\-" : std::string(1, c);
  return escaped.starts_with('.') || escaped.starts_with('\'') ? "\\&" + escaped : escaped;
}

std::string man_page() {
  const Environment environment = capture_environment();
  std::string page =
      ".TH RINGBENCH 1 \"\" \"ringbench " + environment.version +
      "\" \"User Commands\"\n.SH NAME\nringbench \\- benchmark and reference verification for Ring-linear models\n"
      ".SH SYNOPSIS\n.B ringbench\n.I command\n[flags]\n.SH DESCRIPTION\n" +
      roff(
          "Measures hybrid linear and softmax attention models and says how much faster they are than their softmax "
          "twins. Every flag can be preset by an environment variable: RINGBENCH_CTX for --ctx; the command line "
          "wins.") +
      "\n";
  page += ".SH COMMANDS\n";
  for (const CommandLine& command : command_lines())
    page += ".TP\n.B " + roff(command.name) + " " + roff(command.usage) + "\n" +
            roff(command.text.empty() ? command.summary : command.text) + "\n";
  for (const CommandLine& command : command_lines()) {
    if (command.name != "throughput" && command.name != "info" && command.name != "logits")
      continue;  // the others repeat these
    std::string title = command.name == "throughput" ? "MEASURING" : command.name;
    std::transform(title.begin(), title.end(), title.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    page += ".SH " + title + " FLAGS\n";
    for (const FlagGroup& group : command.groups) {
      if (command.groups.size() > 1) page += ".SS " + roff(group.title) + "\n";
      for (const Flag& flag : group.flags)
        page += ".TP\n.B " + roff(flag_title(flag)) + "\n" + roff(flag_text(flag)) + "\n";
    }
  }
  page += ".SH EXIT STATUS\n.nf\n" + roff(exit_codes_topic()) + ".fi\n.SH EXAMPLES\n";
  for (const CommandLine& command : command_lines())
    for (const auto& example : command.examples) page += ".TP\n.B " + roff(example[0]) + "\n" + roff(example[1]) + "\n";
  return page;
}

// --- Completion ---

// Words that may follow a flag; models for --model, nothing for files and numbers.
std::vector<std::string> values_of(const Flag& flag) {
  if (flag.name == "--model") return preset_names();
  if (flag.name == "--hybrid") return {"model", "softmax", "linear"};
  return flag.choices;
}

bool takes_file(const Flag& flag) { return flag.value == "FILE" || flag.value == "DIR" || flag.name == "--model"; }

// Words that may follow a command.
std::vector<std::string> arguments_of(const CommandLine& command) {
  if (command.name != "help") return command.arguments;
  std::vector<std::string> words = topic_names();
  for (const CommandLine& other : command_lines()) words.push_back(other.name);
  return words;
}

std::vector<std::string> command_names() {
  std::vector<std::string> names;
  for (const CommandLine& command : command_lines()) names.push_back(command.name);
  return names;
}

std::string bash_completion() {
  std::string script =
      "# bash completion for ringbench\n"
      "_ringbench() {\n"
      "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words\n"
      "  COMPREPLY=()\n"
      "  if [ \"$COMP_CWORD\" = 1 ]; then\n"
      "    COMPREPLY=($(compgen -W \"" +
      join(command_names(), " ") +
      " --help --version\" -- \"$current\"))\n"
      "    return\n"
      "  fi\n"
      "  case \"${COMP_WORDS[1]} $previous\" in\n";
  for (const CommandLine& command : command_lines())
    for (const FlagGroup& group : command.groups)
      for (const Flag& flag : group.flags) {
        if (flag.value.empty()) continue;
        const std::string words = join(values_of(flag), " ");
        script += "    \"" + command.name + " " + flag.name + "\"" +
                  (flag.letter.empty() ? "" : "|\"" + command.name + " " + flag.letter + "\"") + ") COMPREPLY=(" +
                  (words.empty() ? "" : "$(compgen -W \"" + words + "\" -- \"$current\") ") +
                  (takes_file(flag) ? "$(compgen -f -- \"$current\")" : "") + "); return ;;\n";
      }
  script += "  esac\n  case \"${COMP_WORDS[1]}\" in\n";
  for (const CommandLine& command : command_lines())
    script += "    " + command.name + ") words=\"" + join(arguments_of(command), " ") + " " +
              join(command.flag_names(), " ") + "\" ;;\n";
  return script +
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
         "}\n"
         "complete -o filenames -F _ringbench ringbench\n";
}

// Text inside '...' of a shell.
std::string single_quoted(const std::string& text) {
  std::string quoted;
  for (const char c : text) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted;
}

// A description inside [...] of zsh's _arguments.
std::string zsh_text(const std::string& text) {
  std::string escaped;
  for (const char c : text)
    escaped += (c == '[' || c == ']' || c == ':' || c == '\\') ? std::string("\\") + c : std::string(1, c);
  return single_quoted(escaped);
}

// What may follow a flag, as an action of _arguments.
std::string zsh_values(const Flag& flag) {
  const std::vector<std::string> values = values_of(flag);
  if (values.empty()) return takes_file(flag) ? "_files" : " ";
  std::string list = "(";
  list += join(values, " ");
  list += ")";
  return list;
}

std::string zsh_completion() {
  std::string script = "#compdef ringbench\n_ringbench() {\n  if (( CURRENT == 2 )); then\n    local -a commands=(\n";
  for (const CommandLine& command : command_lines())
    script += "      '" + command.name + ":" + single_quoted(command.summary) + "'\n";
  script +=
      "    )\n    _describe command commands\n    return\n  fi\n  local command=$words[2]\n  shift words\n  (( "
      "CURRENT-- ))\n  case $command in\n";
  for (const CommandLine& command : command_lines()) {
    script += "    " + command.name + ") _arguments \\\n";
    for (const FlagGroup& group : command.groups)
      for (const Flag& flag : group.flags) {
        const std::string argument = flag.value.empty() ? "" : ":" + flag.value + ":" + zsh_values(flag);
        script += "      '*" + flag.name + "[" + zsh_text(flag.text) + "]" + argument + "' \\\n";
      }
    script += "      '*:argument:(" + join(arguments_of(command), " ") + ")' ;;\n";
  }
  // Loaded by name from fpath, it is to complete at once; sourced, to register itself.
  return script +
         "  esac\n}\nif [ \"$funcstack[1]\" = _ringbench ]; then _ringbench \"$@\"; else compdef _ringbench ringbench; "
         "fi\n";
}

std::string fish_completion() {
  std::string script = "# fish completion for ringbench\ncomplete -c ringbench -f\n";
  for (const CommandLine& command : command_lines()) {
    script += "complete -c ringbench -n __fish_use_subcommand -a " + command.name + " -d '" +
              single_quoted(command.summary) + "'\n";
    const std::string seen = "complete -c ringbench -n '__fish_seen_subcommand_from " + command.name + "'";
    const std::vector<std::string> arguments = arguments_of(command);
    if (!arguments.empty()) script += seen + " -a '" + join(arguments, " ") + "'\n";
    for (const FlagGroup& group : command.groups)
      for (const Flag& flag : group.flags) {
        const std::vector<std::string> values = values_of(flag);
        script += seen + " -l " + flag.name.substr(2) + (flag.letter.empty() ? "" : " -s " + flag.letter.substr(1)) +
                  (flag.value.empty() ? ""
                   : takes_file(flag) ? " -r -F"
                                      : " -x") +
                  (values.empty() ? "" : " -a '" + join(values, " ") + "'") + " -d '" + single_quoted(flag.text) +
                  "'\n";
      }
  }
  return script;
}

}  // namespace

std::string help_overview() {
  std::string text =
      "ringbench: benchmark and reference verification for Ring-linear models\n\nusage: ringbench <command> "
      "[flags]\n\n";
  for (const CommandLine& command : command_lines()) text += beside("  " + command.name, command.summary, 16);
  text += "\n" + beside("topics", join(topic_names(), ", ") + " (ringbench help TOPIC)", 16) +
          beside("models", join(preset_names(), ", "), 16) +
          beside("defaults", "every flag can be preset: RINGBENCH_CTX for --ctx; the command line wins", 16) +
          "\nexamples:\n";
  for (const CommandLine& command : command_lines())
    if (command.name == "throughput" || command.name == "info") text += examples_text(command);
  return text;
}

std::string help_command(const CommandLine& command) {
  std::string text = "usage: ringbench " + command.name + " " + command.usage + "\n\n" +
                     wrap(command.text.empty() ? command.summary : command.text, 0);
  for (const FlagGroup& group : command.groups) {
    text += "\n" + group.title + "\n";
    for (const Flag& flag : group.flags) text += beside("  " + flag_title(flag), flag_text(flag), 28);
  }
  if (!command.examples.empty()) text += "\nexamples:\n" + examples_text(command);
  if (command.name == "parity") text += "\n" + parity_topic() + "\n" + kernel_recipe();
  if (command.name == "figures") text += "\n" + figures_topic();
  if (command.name == "claims") text += "\nThe rule\n\n" + wrap(claims_rule(), 0);
  if (command.name == "compare") text += "\n" + compare_rule();
  if (command.name == "runs") text += "\n" + import_topic();
  return text;
}

std::vector<std::string> topic_names() { return {"metrics", "grid", "schema", "servers", "exit-codes"}; }

std::string help_topic(const std::string& topic) {
  if (topic == "metrics") return metrics_topic();
  if (topic == "grid") return grid_topic();
  if (topic == "schema") return schema_topic();
  if (topic == "servers") return servers_topic();
  if (topic == "exit-codes") return exit_codes_topic();
  if (topic == "man") return man_page();
  for (const CommandLine& command : command_lines())
    if (command.name == topic) return help_command(command);
  std::vector<std::string> words = topic_names();
  for (const CommandLine& command : command_lines()) words.push_back(command.name);
  const std::string near = nearest_word(topic, words);
  throw UsageError("no help on '" + topic + "'." + (near.empty() ? "" : " Did you mean " + near + "?"),
                   "topics: " + join(topic_names(), ", ") + "; or a command");
}

std::string completion_script(std::string_view shell) {
  if (shell == "bash") return bash_completion();
  if (shell == "zsh") return zsh_completion();
  if (shell == "fish") return fish_completion();
  throw UsageError("completion: '" + std::string(shell) +
                   "' is not a shell that is known here. Use bash, zsh or fish.");
}

}  // namespace ringbench
