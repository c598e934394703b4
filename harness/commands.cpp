// commands.cpp: see commands.h. Defaults are stated here for people; Plan holds them for the program, and a test
// compares the two.
#include "harness/commands.h"

#include <algorithm>
#include <cctype>

#include "harness/loss_report.h"

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
            "reference: plain Eigen on the CPU. cuda: the kernels on a GPU. openai:URL: a server ('ringbench help "
            "servers'). (emulated, the kernels on a CPU, has no speeds.)",
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

FlagGroup server_flags() {
  return {"Server (--engine openai:URL)",
          {{"--served-model", "", "NAME", "the only one it serves", "The model to ask, as the server names it."},
           {"--server",
            "",
            "LIST",
            "",
            "Recipes that start servers, NAME[:VARIANT], in place of --engine: those of 'ringbench help servers'.",
            {},
            true},
           {"--start", "", "COMMAND", "",
            "Start the server with this shell command, wait until it answers, and stop it in the end. Its output is "
            "kept in the run's folder."},
           {"--ready-timeout", "", "DUR", "30m", "How long --start may take to answer."},
           {"--rate", "", "R", "", "Send --requests at random times, R a second, however many are in flight (e2e)."},
           {"--goodput",
            "",
            "LIMITS",
            "",
            "ttft:2s,tpot:50ms,e2e:30s: also say what share of the requests stays within all of them (e2e).",
            {},
            true},
           {"--prompt-file", "", "FILE", "random tokens",
            "Cut prompts from this text: random tokens send experts other work than texts do."}}};
}

FlagGroup workload_flags() {
  return {"Workload",
          {{"--ctx", "", "LIST", "8k", "Prompt tokens; for decode, tokens already in the cache. k = 1024.", {}, true},
           {"--gen", "", "LIST", "128", "Tokens to generate.", {}, true},
           {"--batch",
            "",
            "LIST",
            "1",
            "Sequences at once. auto (e2e, with --requests): as many as fit into memory.",
            {},
            true},
           {"--concurrency",
            "",
            "LIST",
            "",
            "The same as --batch: on a server, how many requests are in flight.",
            {},
            true},
           {"--requests", "", "N", "= batch", "Sequences in all; more than --batch run in waves."},
           {"--memory-limit", "", "SIZE", "90 % of what is free",
            "What --batch auto may fill, weights included: 80GB, 75GiB. The same for all points."},
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
       {"--telemetry", "", "HZ", "10",
        "Samples of clocks, temperature, power and throttling a second while repetitions run (NVML; energy of CPUs by "
        "RAPL), kept beside the records. 0: none."},
       {"--no-energy", "", "", "", "Leave power and energy out."},
       {"--isolate",
        "",
        "MODE",
        "warn",
        "Other processes on the GPU: off, warn, or require that there are none (exit 3).",
        {"off", "warn", "require"}},
       {"--interleave", "", "", "",
        "Repetitions of points that are compared (the same but for their layers) take turns: ratios are from pairs."},
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
            "On stdout: table, md, csv, json (one array), jsonl or sql (for sqlite3).",
            {"table", "md", "csv", "json", "jsonl", "sql"}},
           {"--json", "", "", "", "The same as --format json."},
           {"--output",
            "-o",
            "FILE",
            "",
            "Also write FILE; .txt .md .csv .json .jsonl .sql say the format. -: stdout.",
            {},
            true},
           {"--results", "", "DIR", "results/runs", "Where the run's records go, in a folder of their own."},
           {"--no-save", "", "", "", "Keep no records."},
           {"--resume",
            "",
            "RUN",
            "",
            "Go on with a run that was broken off: what it holds is not measured again. Without RUN: the latest.",
            {},
            false,
            true},
           {"--retry",
            "",
            "KIND",
            "none",
            "With --resume: measure points without a number again: those that failed, oom, timeout, or all.",
            {"none", "failed", "oom", "timeout", "all"}},
           {"--mix-builds", "", "", "", "With --resume: go on though the run is another build's."},
           {"--shard", "", "I/N", "1/1",
            "Measure the I-th of N parts (what is compared stays together); 'runs merge' joins them."},
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
  return {model_flags(), workload_flags(), method_flags(), engine_flags(), server_flags(), output_flags()};
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

// --- sweep ---

CommandLine sweep_command() {
  std::vector<FlagGroup> groups = measuring_flags();
  groups.insert(
      groups.begin(),
      {"Sweep",
       {{"--plan", "", "FILE", "", "A plan of your own, in place of a name."},
        {"--print-plan", "", "", "", "Print the plan, to be changed and given as --plan; run nothing."},
        {"--list", "", "", "", "List the named plans and what they ask."},
        {"--find-crossover", "", "", "",
         "In place of the plan's contexts: the shortest one at which each layer ratio is faster than its "
         "softmax twin, by bisection with intervals, between the plan's first and last."},
        {"--validate", "", "", "",
         "Run each prefill of the plan both ways, estimated and whole, and say how far apart they are and whether "
         "the whole run lies inside the estimate's interval."}}});
  return {
      "sweep",
      "a named or written plan of many points, resumable",
      "NAME|--plan FILE [flags]",
      "Measures every point of a plan: configs/sweeps/NAME.json, or a file like it (comments are allowed). Its grids "
      "use the flags of the measuring commands as keys; flags given here take the place of theirs. What runs where: a "
      "grid with \"on\": \"cpu\" or \"gpu\" is for such engines alone. Every finished point is on the disk at once; "
      "after Ctrl-C, a crash or kill -9 --resume goes on.",
      std::move(groups),
      {},
      {{"ringbench sweep smoke", "every kind of point on a tiny model, in seconds"},
       {"ringbench sweep long-input --dry-run", "what would be measured, with bytes and predicted seconds"},
       {"ringbench sweep long-input --resume", "go on where the latest run of it ended"},
       {"ringbench sweep ratios --find-crossover", "from which context on is each ratio faster than softmax?"},
       {"ringbench sweep decode --model ring-mini-linear-2.0 --engine cuda", "a plan on another model"},
       {"ringbench sweep ratios --shard 2/4", "the second of four jobs; see configs/sweeps/slurm.sh"}}};
}

// --- estimate ---

CommandLine estimate_command() {
  FlagGroup flags =
      with_defaults(pick("What is estimated", {"--model", "--config", "--weights", "--hybrid", "--layers", "--ctx",
                                               "--gen", "--batch", "--requests", "--dtype", "--chunk"}),
                    {{"--layers", "N", "model's own"}, {"--dtype", "T", "bf16, else f32"}});
  for (Flag& flag : flags.flags) {
    if (flag.name == "--weights") flag.text = "Checkpoint folder whose config.json is the model.";
    if (flag.name == "--hybrid")
      flag.standard = "model,softmax",
      flag.text =
          "Ratios of linear to softmax layers: model, M:1, softmax (the twin that speed-ups refer to), linear, "
          "or a pattern.";
    if (flag.name == "--dtype")
      flag.text = "Of arithmetic, weights and KV cache. Linear states are f32 (f64 with f64).",
      flag.choices = {"bf16", "f32", "f64"};
  }
  flags.flags.push_back({"--phase",
                         "",
                         "LIST",
                         "prefill,decode",
                         "prefill, decode (the mean of --gen steps over --ctx tokens) or e2e.",
                         {"prefill", "decode", "e2e"},
                         true});
  FlagGroup device = {
      "On what",
      {{"--device", "", "NAME|FILE", "this machine",
        "a100-80, h20, h100, h200, or a device file of your own (configs/devices shows the form). This machine: as "
        "measured by 'ringbench doctor --calibrate', or the datasheet that names its GPU; without either no times."},
       {"--results", "", "DIR", "results/runs", "Where calibrations are kept."}}};
  FlagGroup output = {"Output",
                      {{"--format",
                        "",
                        "F",
                        "table",
                        "table, csv or json: flat rows, schema ringbench.estimate/1.",
                        {"table", "csv", "json"}},
                       {"--json", "", "", "", "The same as --format json."},
                       help_flag}};
  return {
      "estimate",
      "cost model: parameters, bytes, memory fit and roofline time, without running anything",
      "[flags]",
      "Counts operations and bytes operator by operator, and gives each the larger of its time to compute and its "
      "time to move bytes, at the shares of the peaks that good kernels reach. Says how many sequences fit, and "
      "what becomes of the speed-up where some have to wait. A prediction, never a measurement.",
      {flags, device, output},
      {},
      {{"ringbench estimate --model ring-mini-linear-2.0 --ctx 8k..384k*2 --device h200", "on a GPU you do not have"},
       {"ringbench estimate --model ring-lite-linear --phase decode --gen 32k --batch 64 --device a100-80",
        "64 long outputs: at equal batch, and at equal memory"},
       {"ringbench estimate --model qwen3-8b --hybrid model --ctx 128k --json", "without a twin, as JSON"}}};
}

// --- loss ---

CommandLine loss_command() {
  FlagGroup text = {
      "Text",
      {{"--text", "", "FILE", "",
        "One document, by the tokenizer.json beside the weights; .jsonl: one in each line, {\"text\": \"...\"}."},
       {"--tokens", "", "FILE", "",
        "Token ids instead: {\"input_ids\": [...]}; .jsonl: {\"ids\": [...]} in each line, as tokenize writes them."},
       {"--ctx",
        "",
        "LIST",
        "8k, or the longest document",
        "Tokens of a window. A longer document is cut into windows side by side, each read from an empty cache; what "
        "is left makes a shorter one. k = 1024.",
        {},
        true},
       {"--windows", "", "N", "all", "At most so many windows of each context, from the beginning."},
       {"--compare", "", "KEY=V1,V2,...", "",
        "The loss under several readings, with differences: slope-layer-offset=0,1,mlx or yarn=off,4,4:128k or "
        "rope-angles=f64,f32; or of several checkpoints: weights=DIR1,DIR2. The last line says which is lowest and "
        "whether the text tells it from the next."}}};
  FlagGroup flags = with_defaults(
      pick("Model and engine", {"--weights", "--model", "--config", "--yarn", "--slope-layer-offset", "--rope-angles",
                                "--engine", "--dtype", "--chunk", "--threads", "--seed"}),
      {{"--engine", "NAME", "reference"}, {"--chunk", "N", "128"}, {"--model", "NAME", "the weights' own"}});
  for (Flag& flag : flags.flags) {
    if (flag.name == "--weights")
      flag.text = "Checkpoint folder. Random weights are taken only if --model or --config asks for them.";
    if (flag.name == "--model") flag.text = "A preset or a checkpoint folder, where --weights alone does not say it.";
    if (flag.name == "--chunk")
      flag.text = "Tokens that go through the layers together, and whose logits are held; 0: a whole window.";
    if (flag.name == "--yarn") flag.text += " Several: as --compare yarn=...";
    if (flag.name == "--engine") flag.text = "reference: plain Eigen on the CPU. cuda; emulated: its kernels on a CPU.";
    if (flag.name == "--seed") flag.text = "Of random weights, where no checkpoint is named.";
  }
  std::string rows =
      "\n\nRows of csv, json and jsonl: one for each context, reading and range of positions, and one for "
      "all positions.\n";
  for (const auto& [name, meaning] : loss_fields()) rows += name + ": " + meaning + ".\n";
  FlagGroup output = pick("Output", {"--format", "--json", "--output", "--quiet", "--no-progress", "--help"});
  for (Flag& flag : output.flags)
    if (flag.name == "--output")
      flag.text = "Also write FILE; .txt .md .csv .json .jsonl say the format, and .svg .png .pdf a picture.";
  return {"loss",
          "loss and perplexity of a text by position, under one or several readings of a config",
          "--weights DIR (--text FILE | --tokens FILE) [flags]",
          "Next-token negative log likelihood in nats, and perplexity, by position in the window: 0-127, 128-255, "
          "256-511, ... up to --ctx. Position t has seen t + 1 tokens. Standard errors are of means over windows or "
          "over blocks of 128 tokens, because neighbouring tokens are correlated. --compare tells by real weights what "
          "a config leaves open: which decay offset the model was trained with, whether YaRN helps at long contexts. "
          "Differences are paired by token, so that small ones show. Ctrl-C shows what was done so far." +
              rows,
          {text, flags, output},
          {},
          {{"ringbench loss --weights DIR --text book.txt --ctx 8k,32k", "by position, at two contexts"},
           {"ringbench loss --weights DIR --text book.txt --compare slope-layer-offset=0,1,mlx",
            "which decay offset the weights were trained with"},
           {"ringbench loss --weights DIR --text book.txt --ctx 256k --yarn off,4 -o loss.svg",
            "what YaRN does beyond the window, as a picture"}}};
}

CommandLine eval_command() {
  FlagGroup asked = {
      "What is asked",
      {{"--data", "", "FILE", "", "The questions of a task that is not bundled: .jsonl, .json or .csv as published."},
       {"--n", "", "N", "the task's", "Samples of each question."},
       {"--limit", "", "K", "all", "Only the first K questions."},
       {"--prompt", "", "NAME", "the task's",
        "How a question is put: plain, boxed, aime, choice, code, or a text with {problem} (and {choices}) in it."},
       {"--chat-format",
        "",
        "NAME",
        "auto",
        "auto: by the checkpoint's own chat template, which must be known; without one as plain text. Else bailing, "
        "bailing-think, ling2, chatml, qwen3, harmony, deepseek-r1, or none: plain text.",
        {"auto", "bailing", "bailing-think", "ling2", "chatml", "qwen3", "harmony", "deepseek-r1", "none"}},
       {"--thinking", "", "MODE", "model", "Where the format can switch it.", {"model", "on", "off"}},
       {"--metric",
        "",
        "LIST",
        "avg@N, maj@N",
        "As 'ringbench score' takes them: avg@K, pass@K, maj@K, gpass@K:TAU.",
        {},
        true},
       {"--published", "", "PCT", "what configs/published has", "A stated score of the same model and task."},
       {"--last-number", "", "", "", "The last number of an answer counts where it names none."},
       {"--allow-exec", "", "", "",
        "Run the programs that a model writes, in a sandbox (bubblewrap): no network, nothing to write to but an empty "
        "/tmp, limits on time, memory and processes. Without it code is not graded."},
       {"--allow-unparsable-gold", "", "", "", "Questions whose gold cannot be read are left out without exit code 1."},
       {"--list", "", "", "", "The tasks."}}};
  FlagGroup sampling = {
      "Sampling",
      {{"--temperature", "", "T", "the task's", "0: the most likely token, always."},
       {"--top-p", "", "P", "the task's", "Of the most likely tokens those that make up P."},
       {"--top-k", "", "K", "0", "The K most likely tokens; 0: all."},
       {"--min-p", "", "P", "0", "Tokens that are at least P times as likely as the likeliest."},
       {"--repetition-penalty", "", "R", "1", "Of tokens that were there before."},
       {"--stop", "", "TEXT", "", "Ends an answer; may be repeated.", {}, true},
       {"--max-new-tokens", "", "N", "the task's", "Longest answer; what is cut off is counted apart. k = 1024."},
       {"--slots", "", "N", "what fits, up to 8; cuda 64",
        "Answers at once. Which texts come out does not depend on it, nor on threads (on the reference)."}}};
  FlagGroup model = with_defaults(
      pick("Model and engine", {"--weights", "--model", "--config", "--yarn", "--slope-layer-offset", "--rope-angles",
                                "--engine", "--dtype", "--chunk", "--threads", "--parity", "--seed"}),
      {{"--engine", "NAME", "cuda if there is a GPU, else reference"},
       {"--model", "NAME", "the weights' own"},
       {"--weights", "LIST", ""}});
  for (Flag& flag : model.flags) {
    if (flag.name == "--weights")
      flag.text = "Checkpoints, one after the other: folders, or repositories in the local Hugging Face cache.",
      flag.repeats = true;
    if (flag.name == "--model") flag.text = "A preset whose config is taken in place of the checkpoint's own.";
    if (flag.name == "--seed") flag.text = "Of sampling: the same seed, the same answers.";
  }
  FlagGroup output = pick("Output", {"--format", "--json", "--output", "--results", "--no-save", "--resume",
                                     "--mix-builds", "--tag", "--color", "--quiet", "--no-progress", "--help"});
  for (Flag& flag : output.flags)
    if (flag.name == "--resume")
      flag.text = "Go on with a run that was broken off: only missing answers are made. Without RUN: the latest.";
  return {"eval",
          "answers of a model to AIME, MATH and other questions, graded, with intervals",
          "TASK|FILE --weights LIST [flags]",
          "Asks every question --n times, grades each answer as it comes, and gives the share of right ones with its "
          "interval over questions. TASK is one of --list; only the tiny ones are bundled, others need --data. A FILE "
          "of your own has a line for each question: {\"id\", \"problem\", \"answer\"}. Each answer is kept in "
          "eval/ of the run's folder, with verdict and text: 'ringbench score' reads it, and Ctrl-C or a crash loses "
          "only answers that were not finished.",
          {asked, sampling, model, output},
          {},
          {{"ringbench eval tiny-math --weights evals/training/checkpoints/3-1-s0", "200 problems in a few minutes"},
           {"ringbench eval aime24 --data aime24.jsonl --weights inclusionAI/Ring-mini-linear-2.0", "64 samples each"},
           {"ringbench eval aime25.jsonl --weights DIR1,DIR2 --n 16 --temperature 1", "two models, one table"}}};
}

CommandLine tokenize_command() {
  return {"tokenize",
          "texts to token ids and back, by a checkpoint's tokenizer.json",
          "--model DIR --in FILE --out FILE [flags]",
          "One line of --out for each line of --in: {\"text\": \"...\"} becomes {\"ids\": [...]}, with --decode the "
          "other way round. Byte-level BPE as Hugging Face fast tokenizers do it; other kinds are refused.",
          {{"Flags",
            {{"--model", "", "DIR", "",
              "Folder with a tokenizer.json, or a repository in the local Hugging Face cache. Required."},
             {"--in", "", "FILE", "", "JSON lines to read. Required."},
             {"--out", "", "FILE", "", "JSON lines to write. Required."},
             {"--decode", "", "", "", "Token ids to text. Bytes that are no UTF-8 become U+FFFD."},
             {"--skip-special", "", "", "", "With --decode: leave out special tokens."},
             help_flag}}},
          {},
          {{"ringbench tokenize --model DIR --in texts.jsonl --out ids.jsonl", "{\"text\"} to {\"ids\"}"},
           {"ringbench tokenize --model DIR --in ids.jsonl --out texts.jsonl --decode", "and back"}}};
}

CommandLine grade_command() {
  return {
      "grade",
      "answers against golds, by exact mathematics",
      "--in FILE --out FILE [flags]",
      "For each line of --in, {\"id\", \"gold\", \"text\"}, one of --out: verdict (correct, incorrect, no_answer, "
      "truncated, gold_unparsable, limit_exceeded, not_run), what was extracted, how it was compared, and both sides "
      "in canonical form. A line may also say \"sample\", \"kind\" (math, aime, choice), \"form\" (bare: the text is "
      "the answer) and \"finish_reason\" (length: it was cut off). Numbers are compared exactly; work is limited by "
      "counted steps, so that verdicts are the same on every machine.",
      {{"Flags",
        {{"--in", "", "FILE", "", "JSON lines to read. Required."},
         {"--out", "", "FILE", "", "JSON lines to write; 'ringbench score' reads them. Required."},
         {"--kind", "", "KIND", "math", "Of lines that say none.", {"math", "aime", "choice"}},
         {"--last-number", "", "", "",
          "Where a text names no answer (no box, no 'answer is'), its last number counts as one."},
         {"--allow-unparsable-gold", "", "", "", "Golds that cannot be read do not make the exit code 1."},
         help_flag}}},
      {},
      {{"ringbench grade --in answers.jsonl --out verdicts.jsonl && ringbench score verdicts.jsonl",
        "from texts to a score with its interval"}}};
}

CommandLine score_command() {
  FlagGroup output = pick("Output", {"--format", "--json", "--help"});
  for (Flag& flag : output.flags)
    if (flag.name == "--format")
      flag.text = "table, md, csv or json (an array of metrics, at full precision).",
      flag.choices = {"table", "md", "csv", "json"};
  return {
      "score",
      "metrics with intervals from graded samples or counts",
      "FILE [flags]",
      "FILE has a line of JSON for each sample, {\"id\", \"sample\", \"verdict\", \"extracted\"} with verdict correct, "
      "incorrect, no_answer, truncated or limit_exceeded, or for each question, {\"id\", \"n\", \"c\"}: c of n samples "
      "are right. With --gold it has answers that are graded first: {\"id\", \"sample\", \"text\", "
      "\"finish_reason\"}, or what QwQ ({\"id\" or \"prompt\", \"gen\"}), LiveCodeBench, lm-evaluation-harness "
      "(--log_samples), SGLang and batches of the OpenAI API (vLLM; custom_id \"QUESTION#SAMPLE\") write. A question "
      "with fewer samples than a metric needs is an error, never a wrong answer.",
      {{"Flags",
        {{"--metric",
          "",
          "LIST",
          "avg@N, maj@N",
          "avg@K: mean share of right samples. pass@K: chance that one of K is right. maj@K (cons@K): the most "
          "frequent answer of K is right, ties shared. gpass@K:TAU: at least TAU K of K are right. [N: as many samples "
          "as all questions have]",
          {},
          true},
         {"--gold", "", "DATA", "", "Questions with answers, as 'ringbench eval' reads them: FILE is graded first."},
         {"--kind", "", "K", "the questions' own", "With --gold: math, aime or choice.", {"math", "aime", "choice"}},
         {"--allow-exec", "", "", "", "With --gold: run programs that are answers, in a sandbox."},
         {"--allow-unparsable-gold", "", "", "",
          "With --gold: questions whose gold cannot be read are left out without exit code 1."},
         {"--last-number", "", "", "", "With --gold: the last number of an answer counts where it names none."},
         {"--against", "", "FILE2", "",
          "Samples of the same questions from another model or engine: the difference, question by question, and what "
          "difference would have been found."},
         {"--published", "", "PCT", "", "A stated score: does it lie in the interval?"}}},
       output},
      {},
      {{"ringbench score verdicts.jsonl --metric avg@64,pass@8,maj@64", "64 samples a question"},
       {"ringbench score answers.jsonl --gold aime24.jsonl --kind aime", "answers that another program made"},
       {"ringbench score hybrid.jsonl --against softmax.jsonl", "is one model better on the same questions?"}}};
}

// --- compare ---

CommandLine compare_command() {
  FlagGroup flags = {
      "Flags",
      {{"--across",
        "",
        "LIST",
        "",
        "What the runs may differ in: engine, dtype, device, weights, method, chunk, threads, depth-fill. Without it "
        "rows are compared only where all of these agree; commits may always differ.",
        {"engine", "dtype", "device", "weights", "method", "chunk", "threads", "depth-fill"},
        true},
       {"--threshold", "", "PCT", "2", "Ratios nearer to 1 are the same."},
       {"--by",
        "",
        "KEYS",
        "",
        "Sort rows and count verdicts by: phase, model, hybrid, ctx, gen, batch, metric, engine, dtype, verdict, "
        "ratio.",
        {"phase", "model", "hybrid", "ctx", "gen", "batch", "metric", "engine", "dtype", "verdict", "ratio"},
        true},
       {"--fail-on",
        "",
        "LIST",
        "slower",
        "Verdicts that exit code 5 reports: slower, ambiguous, unmatched; or none.",
        {"slower", "ambiguous", "unmatched", "none"},
        true}}};
  FlagGroup output = pick("Output", {"--format", "--json", "--output", "--results", "--color", "--help"});
  for (Flag& flag : output.flags) {
    if (flag.name == "--format")
      flag.text = "On stdout: table, md, csv or json (one object).", flag.choices = {"table", "md", "csv", "json"};
    if (flag.name == "--output") flag.text = "Also write FILE; .txt .md .csv .json say the format.";
    if (flag.name == "--results") flag.text = "Where runs named by their id are.";
  }
  return {
      "compare",
      "two runs, row by row, with verdicts",
      "A B [flags]",
      "How many times slower run B is than run A, point by point, with an interval and a verdict. A and B are run "
      "ids, runs' folders or .jsonl files of records. Exit code 5 if a row is slower.",
      {flags, output},
      {},
      {{"ringbench compare 20260101T120000Z-prefill-4f2a 20260102T090000Z-prefill-77c0", "two runs by id"},
       {"ringbench compare base.jsonl new.jsonl --threshold 3 --by phase,ctx", "files; counted by phase and context"},
       {"ringbench compare cpu.jsonl gpu.jsonl --across device,engine,dtype", "unlike on purpose"}}};
}

// --- figures ---

CommandLine figures_command() {
  return {
      "figures",
      "pictures of records, with their data and scripts",
      "[NAME...|FILE.json...] [flags]",
      "Draws figures with gnuplot: those named, files of your own, or all that the rows allow. The numbers (.csv) and "
      "the script (.gp) stay beside each picture: 'gnuplot NAME.gp' in that folder draws it again. What a figure file "
      "says stands below.",
      {{"Flags",
        {{"--all", "", "", "", "Every figure of configs/figures; the same as naming none."},
         {"--run",
          "",
          "RUN",
          "the latest",
          "A run id, a run's folder or a .jsonl file of records; several are drawn together.",
          {},
          true},
         {"--mode",
          "",
          "MODE",
          "ratio",
          "ratio: beside each time and rate the speed-up over our own softmax twin, on which published ratios are "
          "overlaid. absolute: times and rates alone; published ones are overlaid where the device is of the same "
          "family.",
          {"ratio", "absolute"}},
         {"--format",
          "",
          "LIST",
          "svg,png",
          "Of svg, png, pdf, tex (NAME-tex.tex, for \\input, with its NAME-tex.pdf).",
          {"svg", "png", "pdf", "tex"},
          true},
         {"--width", "", "W", "7in", "Width of the picture: 3.3in is one column of most papers. in, cm or mm."},
         {"--output", "-o", "DIR", "figures/ of the run", "Folder for the files; made if it is not there."},
         {"--results", "", "DIR", "results/runs", "Where runs are kept."},
         help_flag}}},
      {},
      {{"ringbench figures", "all that the latest run has rows for"},
       {"ringbench figures ttft --format pdf,tex --width 3.3in -o paper", "for one column of a paper"},
       {"ringbench figures my/figure.json --run results/runs/A,results/runs/B", "a figure of your own, two runs"}}};
}

// --- claims ---

CommandLine claims_command() {
  return {"claims",
          "what the papers claim, against what was measured or predicted",
          "[flags]",
          "One row for each claim about the Ring-linear models: what was stated, what was found, on what basis "
          "(measured, estimated, computed, predicted by the cost model), the 95 % interval, a verdict, and the rows "
          "it rests on. Without a run, claims are computed and predicted only.",
          {{"Flags",
            {{"--run",
              "",
              "RUN",
              "latest run, if there is one",
              "Runs to look at: a run id, a run's folder, or a .jsonl file of records.",
              {},
              true},
             {"--results", "", "DIR", "results/runs", "Where run ids are looked up."},
             {"--rule", "", "", "", "Print the rule that verdicts follow, and nothing else."},
             {"--fail-on",
              "",
              "WHAT",
              "none",
              "not-reproduced: exit 5 if a claim is NOT REPRODUCED.",
              {"none", "not-reproduced"}},
             {"--format",
              "",
              "F",
              "table",
              "On stdout: table, md, csv, json (one array) or jsonl.",
              {"table", "md", "csv", "json", "jsonl"}},
             {"--json", "", "", "", "The same as --format json."},
             {"--output", "-o", "FILE", "", "Also write FILE; .txt .md .csv .json .jsonl say the format.", {}, true},
             help_flag}}},
          {},
          {{"ringbench claims", "with the latest run, or predictions alone"},
           {"ringbench claims --run results/runs/A --run more.jsonl -o claims.md", "several runs; also as Markdown"},
           {"ringbench claims --rule", "what each verdict needs"}}};
}

// --- report ---

CommandLine report_command() {
  return {
      "report",
      "one page of environment, claims, figures and tables",
      "[flags]",
      "Writes one page of what a run found: speed-ups over the softmax twin, figures, the papers' claims with "
      "verdicts, every row, what failed, the machine, and the command that repeats each row. The HTML page needs "
      "nothing beside it and loads nothing, so it can be mailed or attached; Markdown keeps its pictures in figures/ "
      "beside it. Figures need gnuplot; without it their numbers are still there.",
      {{"Flags",
        {{"--run",
          "",
          "RUN",
          "the latest",
          "A run id, a run's folder or a file of records; several: one page of all.",
          {},
          true},
         {"--output", "-o", "FILE", "report.html in the run's folder", "FILE.html or FILE.md says the form."},
         {"--results", "", "DIR", "results/runs", "Where run ids are looked for."},
         {"--quiet", "-q", "", "", "Do not say where the page is."},
         help_flag}}},
      {},
      {{"ringbench report", "of the latest run; the line it prints says where the page is"},
       {"ringbench report --run 20260101T120000Z-throughput-4f2a -o report.md", "as Markdown"},
       {"ringbench report --run before --run after -o both.html", "two runs on one page"}}};
}

// --- runs ---

CommandLine runs_command() {
  FlagGroup flags = {
      "Flags",
      {{"--to",
        "",
        "FORM",
        "",
        "What export writes: csv, sql (for sqlite3), llm-d (benchmark reports) or llama-bench (its -o json).",
        {"csv", "sql", "llm-d", "llama-bench"}},
       {"--mix-builds", "", "", "", "Merge runs of different builds; every row names its own."}}};
  FlagGroup output = pick("Output", {"--format", "--json", "--output", "--results", "--color", "--help"});
  for (Flag& flag : output.flags) {
    if (flag.name == "--format") flag.text = "Of list and show: table, md, csv, json or jsonl; show also sql.";
    if (flag.name == "--output") flag.text = "Also write FILE; of export: FILE instead of stdout.";
    if (flag.name == "--results") flag.text = "The folder of runs.";
  }
  return {"runs",
          "list, show, verify, merge, import and export runs",
          "ACTION [RUN...] [flags]",
          "list: the runs of --results. show: the records of a run, the latest if none is named. verify: whether its "
          "rows, plan and certificates are as they were written; exit code 1 if not. merge: the parts of one plan "
          "(--shard) as one run, and which points are missing. import FILE.csv: numbers measured elsewhere. export: a "
          "run for another tool. RUN is an id, a run's folder or a .jsonl file.",
          {flags, output},
          {"list", "show", "verify", "merge", "import", "export"},
          {{"ringbench runs list", "what there is"},
           {"ringbench runs verify", "the latest run: was anything edited?"},
           {"ringbench runs merge shard1 shard2 shard3", "three folders of a job array"},
           {"ringbench runs import others.csv", "to compare with ours"},
           {"ringbench runs export --to sql -o run.sql && sqlite3 all.db < run.sql", "into a database"}}};
}

// --- doctor ---

CommandLine doctor_command() {
  FlagGroup flags = pick("Flags", {"--engine", "--threads", "--results"});
  for (Flag& flag : flags.flags) {
    if (flag.name == "--engine")
      flag = {"--engine",
              "",
              "NAME",
              "cuda if there is a GPU, else reference",
              "What is to be measured: reference or cuda.",
              {"reference", "cuda"}};
    if (flag.name == "--results") flag.text = "The folder to look at; a calibration is kept in DIR/devices.";
    if (flag.name == "--threads") flag.text = "Threads of the CPU reference, for --calibrate.";
  }
  flags.flags.insert(
      flags.flags.begin() + 1,
      {"--calibrate", "", "", "",
       "Measure what the engine's operators reach here: products, attention, memory. Under a minute; the "
       "result takes the place of data sheets in predictions, MFU and MBU."});
  flags.flags.push_back({"--format", "", "F", "table", "table or json.", {"table", "json"}});
  flags.flags.push_back({"--json", "", "", "", "The same as --format json."});
  flags.flags.push_back({"--quiet", "-q", "", "", "No progress lines on stderr."});
  flags.flags.push_back(help_flag);
  return {"doctor",
          "what this machine has, what would disturb a measurement, and its peaks",
          "[flags]",
          "One line for each check, ok, warn or FAIL, with what to do. Exit 3 if one failed: measuring would not work. "
          "A GPU is looked at through its management library; no CUDA context is made unless it is to be calibrated.",
          {flags},
          {},
          {{"ringbench doctor", "before measuring"},
           {"ringbench doctor --calibrate", "once on each machine, while it is quiet"},
           {"ringbench doctor --engine cuda --json", "for scripts"}}};
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

  commands.push_back(sweep_command());
  commands.push_back(estimate_command());
  commands.push_back(loss_command());
  commands.push_back(eval_command());
  commands.push_back(tokenize_command());
  commands.push_back(grade_command());
  commands.push_back(score_command());
  commands.push_back(compare_command());
  commands.push_back(figures_command());
  commands.push_back(claims_command());
  commands.push_back(report_command());
  commands.push_back(runs_command());
  commands.push_back(doctor_command());

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
       {"--load",
        "",
        "DIR",
        "",
        "Judge such a dump, whoever wrote it, in place of an engine. NAME=DIR: outputs of cases; of two, the first is "
        "the baseline.",
        {},
        true},
       {"--names", "", "FILE", "",
        "JSON: names of tests/goldens for tensors that a dump calls otherwise, {\"h.{i}.attn.query\": "
        "\"layer.{i}.q\"}."}}};
  FlagGroup case_flags = {
      "Somebody else's kernel",
      {{"--emit", "", "DIR", "", "Write cases: inputs, outputs in f64, parameters; a folder each."},
       {"--op",
        "",
        "LIST",
        "all",
        "Operators: linear_attention, softmax_attention, group_norm_gate, qk_norm_rope, router, moe, or all.",
        {},
        true},
       {"--shapes",
        "",
        "LIST",
        "ring-lite,ring-mini,ring-flash,awkward",
        "Widths of the published models, and small ones around the edges of kernels.",
        {},
        true},
       {"--cases", "", "DIR", "cases", "Where the cases are whose outputs --load NAME=DIR judges."},
       {"--rounding",
        "",
        "LIST",
        "by the tensors' types",
        "What the budget is made with: inputs, dot, state, output = f64, f32, tf32, bf16, f16 or fp8, such as "
        "dot=tf32,state=f32.",
        {},
        true}}};
  FlagGroup parity_output = pick("Output", {"--format", "--json", "--output", "--results", "--no-save", "--quiet",
                                            "--verbose", "--no-progress", "--help"});
  for (Flag& flag : parity_output.flags) {
    if (flag.name == "--format")
      flag.text = "table, md, or json: the certificate. csv too for --self-test, --ablate and cases, jsonl for cases.",
      flag.choices = {"table", "md", "csv", "json", "jsonl"};
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
       {parity_flags, level_flags, case_flags, parity_output},
       {},
       {{"ringbench parity --model tiny", "the CUDA kernels, on a GPU or emulated"},
        {"ringbench parity --level depth --ctx 384k --layers 3", "one step over a long cache"},
        {"ringbench parity --self-test", "does it notice planted faults?"},
        {"ringbench parity --model ring-nano-linear --ablate all", "which rounding matters"},
        {"ringbench parity --op linear_attention --emit cases", "cases for your kernel"},
        {"ringbench parity --load base=a --load mine=b --format md", "is it right, is it faster: a table to paste"}}});
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
