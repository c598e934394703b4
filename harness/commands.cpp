// commands.cpp: see commands.h. Defaults are stated here for people; Plan holds them for the program, and a test
// compares the two.
#include "harness/commands.h"

#include <algorithm>
#include <cctype>

namespace ringbench {
namespace {

const Flag help_flag = {"--help", "-h", "", "", "This text."};

FlagGroup model_flags() {
  return {
      "Model",
      {{"--model", "", "NAME", "auto",
        "A preset ('ringbench help' lists them), a checkpoint folder, or a repository in the local Hugging Face "
        "cache. auto: ring-nano-linear on a CPU."},
       {"--config", "", "FILE", "", "A config.json instead of a preset."},
       {"--weights", "", "DIR", "",
        "Folder of safetensors; its config.json is the model unless --model or --config is given. Without it: random "
        "weights."},
       {"--twin-weights", "", "DIR", "",
        "Weights of the softmax twin when --weights is given; without it the twin's are random."},
       {"--dummy",
        "",
        "MODE",
        "scaled",
        "Random weights: scaled (keeps the variance of activations; seeded) or zero.",
        {"scaled", "zero"}},
       {"--hybrid",
        "",
        "LIST",
        "model",
        "Ratio of linear to softmax layers: model, M:1, softmax (the twin), linear, or a pattern such as LLSLLLSS. "
        "throughput: model,softmax.",
        {},
        true},
       {"--layers", "", "LIST", "model's own", "Depth; needed for ratios that do not divide it.", {}, true},
       {"--yarn",
        "",
        "LIST",
        "auto",
        "auto (the config's own; beyond its window what the model card recommends), off, or FACTOR[:ORIGINAL].",
        {},
        true},
       {"--slope-layer-offset",
        "",
        "N",
        "config's own",
        "Which layer number the decay is computed from: 0 (i), 1 (i-1) or mlx (max(0, i-1)).",
        {"0", "1", "mlx"}},
       {"--rope-angles", "", "T", "f64", "f32: rotary angles as the Hugging Face code computes them.", {"f64", "f32"}},
       {"--routing",
        "",
        "MODE",
        "measured",
        "measured: the router decides. uniform: balanced by force (flag R).",
        {"measured", "uniform"}}}};
}

FlagGroup engine_flags() {
  return {"Engine",
          {{"--engine",
            "",
            "LIST",
            "cuda if there is a GPU, else reference",
            "reference: plain Eigen on the CPU. cuda: the kernels on a GPU. (emulated, the kernels on a CPU, has no "
            "speeds.)",
            {"reference", "cuda", "emulated"},
            true},
           {"--dtype",
            "",
            "T",
            "cuda bf16, reference f32",
            "Arithmetic and KV cache: f32 or f64 on reference, bf16 or f32 on cuda.",
            {"bf16", "f32", "f64"}},
           {"--kernel", "", "OP=NAME", "", "Force one kernel variant ('ringbench kernels' lists them).", {}, true},
           {"--chunk", "", "N", "cuda 8k, reference 512",
            "Tokens of a prompt that go through the layers together; 0: all at once."},
           {"--threads", "", "N", "physical cores", "Threads of the CPU reference."},
           {"--parity",
            "",
            "MODE",
            "quick",
            "Compare the engine with the reference in f64 before timing, and say so in the rows. off: flag U, unless a "
            "kept certificate covers the row. require: measure nothing that does not pass (exit 4).",
            {"off", "quick", "full", "require"}}}};
}

FlagGroup workload_flags() {
  return {"Workload",
          {{"--ctx", "", "LIST", "8k", "Prompt tokens; for decode, tokens already in the cache. k = 1024.", {}, true},
           {"--gen", "", "LIST", "128", "Tokens to generate.", {}, true},
           {"--batch", "", "LIST", "1", "Sequences at once.", {}, true},
           {"--requests", "", "N", "= batch", "Sequences in all; more than --batch run in waves."},
           {"--depth-fill",
            "",
            "MODE",
            "auto",
            "How a decode point's cache is filled: real (by prefill), synthetic (imported state, flag S). auto: "
            "synthetic where the prefill is estimated.",
            {"auto", "real", "synthetic"}},
           {"--seed", "", "N", "0", "Of weights, inputs and sampling."},
           {"--zip", "", "AXES", "", "Axes that advance together, such as ctx,batch; the others multiply.", {}, true},
           {"--where", "", "CONDITION", "", "Keep the points that meet it, such as 'ctx*batch<=4M'.", {}, true}}};
}

FlagGroup method_flags() {
  return {
      "Method",
      {{"--reps", "-r", "N", "auto",
        "Repetitions. auto: 6 to 30, until the interval is narrow enough or the budget spent."},
       {"--ci", "", "PCT", "2", "Half-width of the 95 % interval at which auto stops, in percent of the median."},
       {"--warmup", "", "N", "auto", "Passes before the first sample. auto: one at min(ctx, 8k) and 4 decode steps."},
       {"--time-budget", "", "DUR", "10m", "For each point: 90s, 10m, 2h."},
       {"--total-budget", "", "DUR", "unlimited", "For the whole grid; throughput: 150s."},
       {"--full", "", "", "", "Run every token: --estimate never, and no budgets."},
       {"--estimate",
        "",
        "MODE",
        "auto",
        "Prefill by sampled chunks (flag E). auto: when the prediction exceeds the budget. groups: from two shallower "
        "models, by the number of layer groups; always does that where the whole model does not fit.",
        {"never", "auto", "always", "groups"}},
       {"--keep-going", "", "", "", "A point that fails becomes a row, and the rest goes on (default)."},
       {"--fail-fast", "", "", "", "Stop at the first point that fails."},
       {"--dry-run", "", "", "",
        "Show the grid, what each point would hold and roughly how long all of it takes; run nothing."}}};
}

FlagGroup output_flags() {
  return {"Output",
          {{"--format",
            "",
            "F",
            "table",
            "On stdout: table, md, csv, json (one array) or jsonl.",
            {"table", "md", "csv", "json", "jsonl"}},
           {"--json", "", "", "", "The same as --format json."},
           {"--output",
            "-o",
            "FILE",
            "",
            "Also write FILE; .txt .md .csv .json .jsonl say the format. -: stdout.",
            {},
            true},
           {"--results", "", "DIR", "results/runs", "Where the run's records go, in a folder of their own."},
           {"--no-save", "", "", "", "Keep no records."},
           {"--tag", "", "K=V", "", "A field tag_K of every record.", {}, true},
           {"--color",
            "",
            "WHEN",
            "auto",
            "auto (terminals; NO_COLOR is obeyed), always or never.",
            {"auto", "always", "never"}},
           {"--quiet", "-q", "", "", "Nothing on stderr but errors."},
           {"--verbose", "-v", "", "", "More on stderr."},
           {"--no-progress", "", "", "", "No progress lines."},
           help_flag}};
}

std::vector<FlagGroup> measuring_flags() {
  return {model_flags(), workload_flags(), method_flags(), engine_flags(), output_flags()};
}

// Those flags of the groups above that have the given names, under one heading.
FlagGroup pick(const std::string& title, const std::vector<std::string>& names) {
  FlagGroup picked = {title, {}};
  const std::vector<FlagGroup> groups = measuring_flags();
  for (const std::string& name : names)
    for (const FlagGroup& group : groups)
      for (const Flag& flag : group.flags)
        if (flag.name == name) picked.flags.push_back(flag);
  return picked;
}

// The same flag where it takes one value and another default.
FlagGroup with_defaults(FlagGroup group, const std::vector<std::vector<std::string>>& name_value_default) {
  for (Flag& flag : group.flags)
    for (const auto& change : name_value_default)
      if (flag.name == change[0]) flag.value = change[1], flag.standard = change[2], flag.repeats = false;
  return group;
}

std::vector<CommandLine> make_command_lines() {
  std::vector<CommandLine> commands;
  commands.push_back(
      {"throughput",
       "prefill and decode of a model and its softmax twin, and the speed-up",
       "[flags]",
       "Times the prefill of a prompt of --ctx tokens, then decoding --gen tokens at that depth, for the model and for "
       "its twin with softmax attention in every layer. On the reference it stays within --total-budget by estimating "
       "long prefills from sampled chunks; --full runs every token.",
       measuring_flags(),
       {},
       {{"ringbench throughput --ctx 384k", "ring-nano-linear and its twin, on any machine"},
        {"ringbench throughput --model ring-pico-linear --ctx 384k --full", "every token, no estimates"},
        {"ringbench throughput --ctx 8k..128k*2 --format md -o table.csv", "a grid, as Markdown and as CSV"}}});
  commands.push_back({"prefill",
                      "time to first token",
                      "[flags]",
                      "From token ids in memory to the first sampled token id (greedy). tok/s = batch x ctx / median.",
                      measuring_flags(),
                      {},
                      {{"ringbench prefill --ctx 512..32k*2", "512, 1024, ... 32768"},
                       {"ringbench prefill --hybrid model,softmax,1:1 --ctx 16k", "three layer ratios"},
                       {"ringbench prefill --ctx 8k,16k --batch 2,1 --zip ctx,batch", "two points instead of four"}}});
  commands.push_back({"decode",
                      "time per output token at a given depth",
                      "[flags]",
                      "Fills the cache to --ctx outside the timer, then times --gen single-token steps.",
                      measuring_flags(),
                      {},
                      {{"ringbench decode --ctx 384k --gen 32", "32 steps at depth 393216"},
                       {"ringbench decode --ctx 64k --depth-fill real", "over a cache that was really computed"}}});
  commands.push_back({"e2e",
                      "prompt and generation together",
                      "[flags]",
                      "Prefills --ctx tokens and generates --gen, timed as one. Use --ctx 1 for generation alone.",
                      measuring_flags(),
                      {},
                      {{"ringbench e2e --ctx 1 --gen 512..4k*2 --batch 4", "long outputs, four sequences"},
                       {"ringbench e2e --ctx 4k --gen 256 --json", "one record on stdout"}}});

  FlagGroup info_flags = with_defaults(pick("Flags", {"--model", "--config", "--weights", "--hybrid", "--layers",
                                                      "--yarn", "--slope-layer-offset", "--ctx", "--batch", "--dtype"}),
                                       {{"--hybrid", "RATIO", "model"},
                                        {"--layers", "N", "model's own"},
                                        {"--yarn", "SETTING", "auto"},
                                        {"--ctx", "N", ""},
                                        {"--batch", "N", "1"},
                                        {"--dtype", "T", "bf16"}});
  for (Flag& flag : info_flags.flags) {
    if (flag.name == "--ctx") flag.text = "Show the bytes of a cache of so many tokens. k = 1024.";
    if (flag.name == "--batch") flag.text = "Sequences that --ctx is shown for.";
    if (flag.name == "--weights") flag.text = "Checkpoint folder whose config.json is the model.";
    if (flag.name == "--dtype")
      flag.text = "Of weights and KV cache: bf16, f32 or f64.", flag.choices = {"bf16", "f32", "f64"};
    if (flag.name == "--hybrid")
      flag.text = "Ratio of linear to softmax layers: model, M:1, softmax, linear, or a pattern.";
  }
  info_flags.flags.push_back({"--format", "", "F", "table", "table or json.", {"table", "json"}});
  info_flags.flags.push_back({"--json", "", "", "", "The same as --format json."});
  info_flags.flags.push_back(help_flag);
  commands.push_back({"info",
                      "layers, parameters and bytes of a model, from its config alone",
                      "[flags]",
                      "Reads no weights. Keys that a config leaves out and open questions about a model are listed.",
                      {info_flags},
                      {},
                      {{"ringbench info --model ring-mini-linear-2.0 --ctx 384k", "with the cache of 393216 tokens"},
                       {"ringbench info --config my/config.json --json", "of a config of your own"}}});

  FlagGroup logits_flags =
      with_defaults(pick("Flags", {"--model", "--config", "--weights", "--dtype", "--chunk", "--yarn",
                                   "--slope-layer-offset", "--rope-angles", "--threads", "--engine", "--seed"}),
                    {{"--yarn", "SETTING", "auto"}, {"--engine", "NAME", "reference"}});
  for (Flag& flag : logits_flags.flags) {
    if (flag.name == "--dtype")
      flag.text = "Arithmetic: f32 or f64, on the CUDA kernels bf16 or f32. The output is f32, or f64 with f64.";
    if (flag.name == "--seed") flag.text = "Of random weights, where no checkpoint is named.";
  }
  logits_flags.flags.push_back(
      {"--tokens", "", "FILE", "",
       "JSON: {\"input_ids\": [...], \"decode_ids\": [...]}; decode_ids may be absent. Required."});
  logits_flags.flags.push_back({"--out", "", "FILE", "", "safetensors file to write. Required."});
  logits_flags.flags.push_back(help_flag);
  commands.push_back(
      {"logits",
       "raw outputs for given token ids, to be checked from outside",
       "--tokens FILE --out FILE [flags]",
       "Writes the tensor logits [T + n_decode, vocabulary]: one row for each of the T input_ids, by prefill, then one "
       "for each of the decode_ids, by single-token steps. With an MTP layer also mtp_logits [T + n_decode - 1, "
       "vocabulary]: row t predicts token t + 2.",
       {logits_flags},
       {},
       {{"ringbench logits --model DIR --tokens ids.json --out logits.safetensors", "in f32"},
        {"ringbench logits --model DIR --tokens ids.json --out logits.safetensors --dtype f64", "in f64"}}});

  FlagGroup parity_flags =
      with_defaults(pick("Model and engine", {"--model", "--config", "--weights", "--hybrid", "--yarn",
                                              "--slope-layer-offset", "--rope-angles", "--routing", "--engine",
                                              "--dtype", "--kernel", "--chunk", "--threads", "--seed"}),
                    {{"--hybrid", "RATIO", "model"},
                     {"--yarn", "SETTING", "auto"},
                     {"--engine", "NAME", "cuda if there is a GPU, else emulated"},
                     {"--dtype", "T", "bf16; reference f32"},
                     {"--chunk", "N", "64"}});
  for (Flag& flag : parity_flags.flags) {
    if (flag.name == "--engine")
      flag.text = "What is checked: cuda, emulated (its kernels on a CPU) or reference (f32).";
    if (flag.name == "--kernel") flag.repeats = true;
    if (flag.name == "--hybrid")
      flag.text = "Ratio of linear to softmax layers: model, M:1, softmax, linear, or a pattern.";
  }
  FlagGroup level_flags = {
      "What is looked at",
      {{"--level",
        "",
        "LIST",
        "quick",
        "op (every kernel variant), layer (each block from the engine's own inputs), state, model (logits), self (cut "
        "otherwise, "
        "twice, in a batch, by exported states), yarn, depth (one step over a long cache). quick: layer, "
        "state, model, self; on a GPU op too. full: all.",
        {},
        true},
       {"--ctx",
        "",
        "LIST",
        "151; depth 8k",
        "Prompt tokens (at most 8k of them), and the cache of level depth.",
        {},
        true},
       {"--layers", "", "LIST", "all", "Layers that are recomputed.", {}, true},
       {"--bisect", "", "", "", "Follow the stream and name the first layer that adds more than its budget."},
       {"--fail-fast", "", "", "", "Stop at the first check that fails."},
       {"--self-test", "", "", "", "Plant faults in a small decoder, and see that each is noticed and named."},
       {"--ablate",
        "",
        "LIST",
        "",
        "No check: round one point at a time (state, kv, lm_head, router, residual, norm, activations, weights, qkv, "
        "operands, attention, or all) and see how far the token probabilities move.",
        {},
        true},
       {"--save", "", "DIR", "", "Write the engine's tensors and logits, with the names of tests/goldens."},
       {"--load", "", "DIR", "", "Judge such a dump, whoever wrote it, in place of an engine."}}};
  FlagGroup parity_output = pick("Output", {"--format", "--json", "--output", "--results", "--no-save", "--quiet",
                                            "--verbose", "--no-progress", "--help"});
  for (Flag& flag : parity_output.flags) {
    if (flag.name == "--format")
      flag.text = "table, md, or json: the certificate. csv too for --self-test and --ablate.",
      flag.choices = {"table", "md", "csv", "json"};
    if (flag.name == "--results") flag.text = "The certificate goes to DIR/parity/<id>.json.";
    if (flag.name == "--no-save") flag.text = "Keep no certificate.";
    if (flag.name == "--verbose") flag.text = "Every check, not only those that failed.";
    if (flag.name == "--output") flag.text = "Also write FILE; .json .md .txt say the format. -: stdout.";
  }
  commands.push_back(
      {"parity",
       "whether an engine computes what the model is",
       "[flags]",
       "Compares an engine with the reference in f64. What it may differ by is measured, not chosen: the reference "
       "once "
       "more with the engine's own rounding. Writes a certificate that speed rows refer to. Exit 4 if a check failed.",
       {parity_flags, level_flags, parity_output},
       {},
       {{"ringbench parity --model tiny", "the CUDA kernels, on a GPU or emulated"},
        {"ringbench parity --level depth --ctx 384k --layers 3", "one step over a long cache"},
        {"ringbench parity --self-test", "does it notice planted faults?"},
        {"ringbench parity --model ring-nano-linear --ablate all", "which rounding matters"}}});
  commands.push_back(
      {"kernels",
       "the kernel variants of every operator, best first",
       "[flags]",
       "What --kernel OPERATOR=VARIANT can force. The first one that supports a shape runs.",
       {{"Flags", {{"--engine", "", "NAME", "emulated", "emulated or cuda: which build of them."}, help_flag}}},
       {},
       {{"ringbench kernels", "the table"}}});
  commands.push_back(
      {"help",
       "this overview, a command, or a topic",
       "[TOPIC]",
       "Topics: metrics, grid, schema, exit-codes. Also: any command, and man (the manual page as roff).",
       {{"Flags", {help_flag}}},
       {},
       {{"ringbench help metrics", "what is measured, and how"}}});
  commands.push_back({"completion",
                      "completion script for a shell",
                      "bash|zsh|fish",
                      "Prints the script. It completes commands, flags, values and model names.",
                      {{"Flags", {help_flag}}},
                      {"bash", "zsh", "fish"},
                      {{"source <(ringbench completion bash)", "in this shell, now"}}});
  commands.push_back({"version",
                      "version, commit and build",
                      "[--json]",
                      "",
                      {{"Flags", {{"--json", "", "", "", "As one JSON object."}, help_flag}}},
                      {},
                      {}});
  return commands;
}

}  // namespace

const Flag* CommandLine::find(const std::string& name_or_letter) const {
  for (const FlagGroup& group : groups)
    for (const Flag& flag : group.flags)
      if (flag.name == name_or_letter || (!flag.letter.empty() && flag.letter == name_or_letter)) return &flag;
  return nullptr;
}

std::vector<std::string> CommandLine::flag_names() const {
  std::vector<std::string> names;
  for (const FlagGroup& group : groups)
    for (const Flag& flag : group.flags) names.push_back(flag.name);
  return names;
}

const std::vector<CommandLine>& command_lines() {
  static const std::vector<CommandLine> commands = make_command_lines();
  return commands;
}

std::string environment_name(const Flag& flag) {
  std::string name = "RINGBENCH_" + flag.name.substr(2);
  for (char& c : name) c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

}  // namespace ringbench
