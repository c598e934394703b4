// The command `eval`: how questions are put, which answers come out, what is kept of a run that was killed, and what is
// refused. Asked are the small models of evals/training, which were trained for these questions.
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "harness/eval_task.h"
#include "harness/failure.h"
#include "tests/catch.h"
#include "tests/folder.h"
#include "tests/json_file.h"
#include "tests/program.h"

using namespace ringbench;
using Json = nlohmann::json;

namespace {

namespace fs = std::filesystem;

const std::string checkpoints = std::string(RINGBENCH_SOURCE_DIR) + "/evals/training/checkpoints/";
const std::string hybrid = checkpoints + "3-1-s0", linear = checkpoints + "linear-s0";

// Samples of the one run in `folder`, by question and number.
std::map<std::string, Json> samples_of(const fs::path& folder, const std::string& name) {
  std::map<std::string, Json> samples;
  for (const Json& line : json_lines(run_folder(folder / "results/runs") / "eval" / name))
    samples[line.at("id").get<std::string>() + "#" + line.at("sample").dump()] = line;
  return samples;
}

Json scores_of(const Ran& r, int code = 0) {
  INFO(r.err);
  REQUIRE(r.code == code);
  return Json::parse(r.out);
}

// Copies a checkpoint, so that a test can change it.
fs::path copy_of(const std::string& checkpoint, const fs::path& to) {
  fs::copy(checkpoint, to);
  return to;
}

}  // namespace

TEST_CASE("every task of configs/evals can be read; those that are bundled have the questions they say", "[eval]") {
  const Ran list = run("eval --list");
  CHECK(list.code == 0);
  for (const char* name : {"aime24", "aime25", "math500", "gpqa-diamond", "olympiadbench", "cnmo24", "theoremqa",
                           "drop", "gsm8k", "tiny-math", "tiny-recall"}) {
    INFO(name);
    CHECK(list.out.find(name) != std::string::npos);
    const EvalTask task = find_eval_task(name);
    CHECK(task.name == name);
    CHECK(task.samples >= 1);
    CHECK(prompt_template(task.prompt).find("{problem}") != std::string::npos);
    if (task.data.empty()) {
      CHECK_FALSE(task.source.empty());
      continue;
    }
    const Dataset data = read_dataset(task.data, task.kind);
    CHECK(static_cast<int64_t>(data.questions.size()) == task.questions);
    CHECK(data.unread.empty());
  }
  CHECK(find_eval_task("aime24").samples == 64);
  CHECK(find_eval_task("own/questions.jsonl").name == "questions");
  CHECK_THROWS_WITH(find_eval_task("aime2024"), Catch::Contains("Did you mean aime"));
}

TEST_CASE("the answers of tiny-math are those of its problems", "[eval]") {
  // Computed here once more, from the problem's own text.
  int64_t checked = 0;
  for (const Question& question : read_dataset(find_eval_task("tiny-math").data).questions) {
    INFO(question.text);
    long long a = 0, b = 0, c = 0;
    char name[16];
    const char* text = question.text.c_str();
    long long answer = -1;
    if (std::sscanf(text, "Compute %lld + %lld - %lld.", &a, &b, &c) == 3)
      answer = a + b - c;
    else if (std::sscanf(text, "Compute %lld + %lld * %lld.", &a, &b, &c) == 3)
      answer = a + b * c;
    else if (std::sscanf(text, "Solve %lldx + %lld = %lld for x.", &a, &b, &c) == 3)
      answer = (c - b) % a == 0 ? (c - b) / a : -999;
    else if (std::sscanf(text, "%15s has %lld marbles and gets %lld bags of %lld.", name, &a, &b, &c) == 4)
      answer = a + b * c;
    else if (std::sscanf(text, "What is the remainder of %lld divided by %lld?", &a, &b) == 2)
      answer = a % b;
    CHECK(question.gold == std::to_string(answer));
    ++checked;
  }
  CHECK(checked == 200);
}

TEST_CASE("a question is put with its choices, and what it contains is no mark", "[eval]") {
  Question question;
  question.text = "Which {choices}?", question.kind = "choice";
  question.choices = {"right", "wrong", "worse", "worst"};
  CHECK(fill_prompt("Q: {problem}\n{choices}\nGo.", question, {2, 0, 3, 1}) ==
        "Q: Which {choices}?\nA) worse\nB) right\nC) worst\nD) wrong\nGo.");
  CHECK(gold_of(question, {2, 0, 3, 1}) == "B");
  question.kind = "math", question.gold = "7", question.choices.clear();
  CHECK(gold_of(question, {}) == "7");
  CHECK(fill_prompt(prompt_template("choice"), question, {}).ends_with("\n\nWhich {choices}?"));
  CHECK(prompt_template("Ask: {problem}") == "Ask: {problem}");
  CHECK_THROWS_WITH(prompt_template("boxd"), Catch::Contains("none of plain, boxed, aime, choice"));
}

TEST_CASE("answers depend neither on slots nor on threads, and the row counts what the samples say", "[eval]") {
  const std::string command = "eval tiny-math --limit 6 --n 2 --temperature 1 --weights " + hybrid + " --json ";
  const Folder one, many;
  const Json rows = scores_of(run(command + "--slots 1 --threads 1", one.path));
  const Json other = scores_of(run(command + "--slots 5 --threads 2", many.path));
  const auto samples = samples_of(one.path, "tiny-math.3-1-s0.samples.jsonl");
  REQUIRE(samples.size() == 12);
  CHECK(samples == samples_of(many.path, "tiny-math.3-1-s0.samples.jsonl"));
  CHECK(samples.at("math-001#0")["text"] != samples.at("math-001#1")["text"]);  // sampled, not greedy

  REQUIRE(rows.size() == 2);
  const Json& row = rows[0];
  CHECK(row["phase"] == "eval");
  CHECK(row["metric"] == "avg@2");
  CHECK(rows[1]["metric"] == "maj@2");
  CHECK(row["unit"] == "%");
  CHECK(row["task"] == "tiny-math");
  CHECK(row["weights"] == "3-1-s0");
  CHECK(row["questions"] == 6);
  CHECK(row["samples_per_question"] == 2);
  CHECK(row["samples"].size() == 6);
  CHECK(row["value"] == other[0]["value"]);
  CHECK(row["point_id"] == other[0]["point_id"]);
  CHECK(row["parity"] == "pass");
  std::map<std::string, int> verdicts;
  double tokens = 0;
  for (const auto& [key, line] : samples) {
    ++verdicts[line["verdict"]];
    tokens += line["output_tokens"].get<double>();
    CHECK(line["text"].get<std::string>().find("<|endoftext|>") == std::string::npos);
  }
  CHECK(std::abs(row["value"].get<double>() - 100.0 * verdicts["correct"] / 12) <= 1e-9);
  CHECK(row["wrong"] == verdicts["incorrect"]);
  CHECK(row["truncated"] == verdicts["truncated"]);
  CHECK(row["unparsed"] == verdicts["no_answer"]);
  CHECK(std::abs(row["tokens_mean"].get<double>() - tokens / 12) <= 1e-9);

  // What is kept is what `score` reads.
  const fs::path kept = run_folder(one.path / "results/runs") / "eval/tiny-math.3-1-s0.samples.jsonl";
  const Json scored = scores_of(run("score " + kept.string() + " --json"));
  CHECK(std::abs(100 * scored[0]["value"].get<double>() - row["value"].get<double>()) <= 1e-9);
  CHECK(std::abs(100 * scored[0]["ci95_low"].get<double>() - row["ci95_low"].get<double>()) <= 1e-9);
}

TEST_CASE("a model answers what it was trained for, and recall at a distance tells attention from none", "[eval]") {
  const Json rows = scores_of(run("eval tiny-recall --limit 8 --no-save --json --weights " + hybrid + "," + linear));
  REQUIRE(rows.size() == 2);
  CHECK(rows[0]["value"].get<double>() >= 75);
  CHECK(rows[1]["value"].get<double>() <= 50);
}

TEST_CASE("kill -9 in the middle of answers loses none that was finished; --resume makes the rest, once", "[eval]") {
  const std::string command = "eval tiny-math --limit 40 --n 4 --metric avg@4 --weights " + hybrid + "," + linear;
  std::istringstream text(command);
  const std::vector<std::string> words{std::istream_iterator<std::string>(text), {}};
  const Folder whole, broken;
  const Ran unbroken = run(command + " --json", whole.path);
  const Json expected = scores_of(unbroken);
  const std::string name = "tiny-math.3-1-s0.samples.jsonl";
  std::string before;
  for (int killed = 0; killed < 3; ++killed) {
    std::vector<std::string> again = words;
    if (killed > 0) again.push_back("--resume");
    const pid_t child = start(again, broken.path);
    const auto file = [&] { return run_folder(broken.path / "results/runs") / "eval" / name; };
    REQUIRE(wait_for([&] {
      return fs::exists(broken.path / "results/runs") && fs::exists(file()) &&
             lines_of(read_file(file())) >= lines_of(before) + 5;
    }));
    kill(child, SIGKILL);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(read_file(file()).starts_with(before));
    before = read_file(file());
    before.resize(before.rfind('\n') + 1);
    if (killed == 1) std::ofstream(file(), std::ios::app) << R"({"id": "math-0)";  // as a crash leaves it
  }
  const Json rows = scores_of(run(command + " --resume --json", broken.path));
  CHECK(samples_of(broken.path, name) == samples_of(whole.path, name));
  CHECK(json_lines(run_folder(broken.path / "results/runs") / "eval" / name).size() == 160);
  REQUIRE(rows.size() == expected.size());
  for (size_t i = 0; i < rows.size(); ++i)
    for (const char* field : {"point_id", "value", "ci95_low", "ci95_high", "wrong", "truncated", "tokens_mean"})
      CHECK(rows[i][field] == expected[i][field]);
  // A run that is complete answers from what it holds.
  const Json same = scores_of(run(command + " --resume --json", broken.path));
  CHECK(same == rows);
}

TEST_CASE("Ctrl-C keeps finished answers and says how to go on", "[eval]") {
  const Folder folder;
  const pid_t child =
      start({"eval", "tiny-math", "--n", "64", "--weights", hybrid}, folder.path);  // far more than it will do
  const fs::path runs = folder.path / "results/runs";
  REQUIRE(wait_for([&] {
    return fs::exists(runs) && fs::exists(run_folder(runs) / "eval/tiny-math.3-1-s0.samples.jsonl") &&
           lines_of(read_file(run_folder(runs) / "eval/tiny-math.3-1-s0.samples.jsonl")) > 2;
  }));
  kill(child, SIGINT);
  const Ran r = finish(child, folder.path);
  CHECK(r.code == 130);
  CHECK(r.err.find("interrupted: 0 of 1 checkpoints") != std::string::npos);
  CHECK(r.err.find("go on with: ringbench eval tiny-math --n 64") != std::string::npos);
  CHECK(r.err.find("--resume " + run_folder(runs).filename().string()) != std::string::npos);
}

TEST_CASE("a run is not gone on with by other weights of the same name", "[eval]") {
  const Folder folder;
  const fs::path model = copy_of(hybrid, folder.path / "model");
  const std::string command = "eval tiny-math --limit 3 --n 1 --weights model";
  CHECK(run(command, folder.path).code == 0);
  const fs::path kept = run_folder(folder.path / "results/runs");
  fs::remove(kept / "points.jsonl"), fs::remove(kept / "points.sha256");  // as if it had been killed before its row
  CHECK(run(command + " --resume", folder.path).code == 0);
  fs::remove(kept / "points.jsonl"), fs::remove(kept / "points.sha256");
  std::fstream file(model / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(fs::file_size(model / "model.safetensors") / 2));
  file << std::string(100'000, '\x3c');  // about 0.01, and still bfloat16
  file.close();
  const Ran r = run(command + " --resume", folder.path);
  CHECK(r.code == 2);
  CHECK(r.err.find("the weights in model are not those that its answers were made with") != std::string::npos);
}

TEST_CASE("a chat template that is known puts the question, one that is not is refused", "[eval]") {
  const Folder folder;
  const fs::path model = copy_of(hybrid, folder.path / "chat");
  write_file(model / "chat_template.jinja", "{% for m in messages %}<<{{ m.role }}>>{{ m.content }}{% endfor %}");
  const Ran unknown = run("eval tiny-math --limit 1 --weights chat", folder.path);
  CHECK(unknown.code == 2);
  CHECK(unknown.err.find("the chat template of chat is none that is known.\nsay which") != std::string::npos);
  const Json plain =
      scores_of(run("eval tiny-math --limit 1 --n 1 --temperature 0 --chat-format none --no-save --json --weights chat",
                    folder.path));
  const Json chat = scores_of(
      run("eval tiny-math --limit 1 --n 1 --temperature 0 --chat-format chatml --no-save --json --weights chat",
          folder.path));
  CHECK(plain[0]["ctx"] < chat[0]["ctx"]);  // the longest prompt
  const Ran none = run("eval tiny-math --limit 1 --no-save --weights " + hybrid, folder.path);
  CHECK(none.err.find("warning W-CHAT: the checkpoint has no chat template") != std::string::npos);
}

TEST_CASE("an evaluation that cannot be is refused before anything runs, in one line", "[eval]") {
  const Folder folder;
  const auto refused = [&](const std::string& words, const std::string& what, int code = 2) {
    const Ran r = run("eval " + words, folder.path);
    INFO(words << "\n" << r.err);
    CHECK(r.code == code);
    CHECK(r.out.empty());
    CHECK(r.err.find(what) != std::string::npos);
    CHECK_FALSE(fs::exists(folder.path / "results"));
  };
  write_file(folder.path / "none.jsonl", "{\"id\": 1, \"problem\": \"?\"}\n");
  write_file(folder.path / "twice.jsonl",
             "{\"id\": 1, \"problem\": \"?\", \"answer\": 1}\n{\"id\": 1, \"problem\": \"!\", \"answer\": 2}\n");
  const std::string with = " --weights " + hybrid;
  refused("", "eval: which task");
  refused("tiny-maths" + with, "Did you mean tiny-math?");
  refused("tiny-math", "which weights?");
  refused("tiny-math --weights " + checkpoints + "nowhere", "nowhere");
  refused("aime24" + with, "aime24 is not bundled: give its questions with --data FILE.");
  refused("missing.jsonl" + with, "cannot read 'missing.jsonl'");
  refused("none.jsonl" + with, "has no gold");
  refused("twice.jsonl" + with, "question 1 is there twice");
  refused("tiny-math --metric pass@8" + with, "--metric: pass@8 needs more than the 4 samples");
  refused("tiny-math --temperature -1" + with, "temperature");
  refused("tiny-math --top-p warm" + with, "--top-p: 'warm' is not a number.");
  refused("tiny-math --prompt boxd" + with, "--prompt: 'boxd' is none of");
  refused("tiny-math" + with + "," + hybrid, "two checkpoints are named 3-1-s0");
  refused("tiny-math --dtype bf16 --engine reference" + with, "bf16", 3);
}

TEST_CASE("questions with golds that cannot be read are left out, named, and exit 1", "[eval]") {
  const Folder folder;
  write_file(folder.path / "own.jsonl", R"({"id": "good", "problem": "Compute 2 + 3 - 4.", "answer": 1}
{"id": "bad", "problem": "Compute 2 + 3 - 4.", "answer": "\\frac{1}{"}
)");
  const std::string command = "eval own.jsonl --prompt plain --n 1 --no-save --max-new-tokens 64 --weights " + hybrid;
  const Ran r = run(command, folder.path);
  CHECK(r.code == 1);
  CHECK(r.err.find("warning W-DATA: own.jsonl: question bad: its gold cannot be read") != std::string::npos);
  CHECK(run(command + " --allow-unparsable-gold", folder.path).code == 0);
}

TEST_CASE("a published score is set beside the model's own", "[eval]") {
  const Folder folder;
  const std::string command = "eval tiny-recall --limit 4 --no-save --weights " + hybrid;
  const Json rows = scores_of(run(command + " --published 12.5 --json", folder.path));
  CHECK(rows[0]["published"] == 12.5);
  const Ran shown = run(command + " --published 12.5", folder.path);
  CHECK(shown.out.find("tiny-recall: published 12.5, outside [") != std::string::npos);
  CHECK(scores_of(run(command + " --json", folder.path))[0]["published"].is_null());
}
