#include "harness/eval.h"

#if !defined(RINGBENCH_HAVE_TOKENIZER)

namespace ringbench {

ExitCode run_eval(const EvalRequest&) { throw no_text_libraries("neither tokenizer nor grader"); }

}  // namespace ringbench

#else

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <system_error>

#include "evals/generate.h"
#include "harness/certifier.h"
#include "harness/describe.h"
#include "harness/engines.h"
#include "harness/environment.h"
#include "harness/eval_task.h"
#include "harness/line_file.h"
#include "harness/measure.h"
#include "harness/progress.h"
#include "harness/published.h"
#include "harness/questions.h"
#include "harness/records.h"
#include "harness/run_folder.h"
#include "harness/score.h"
#include "harness/served_prompts.h"
#include "harness/servers.h"
#include "harness/words.h"
#include "reference/random.h"
#include "reference/sha256.h"
#include "reference/threads.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int64_t kSlotsOnCpu = 8, kSlotsOnGpu = 64;  // a server's as a GPU's
constexpr double kNoteEvery_s = 60;                   // where progress is not a line that is rewritten

// --- What is asked ---

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The task with what the command line says instead.
EvalTask resolve_task(const EvalRequest& request) {
  EvalTask task = find_eval_task(request.task);
  if (!request.data.empty()) task.data = request.data;
  if (task.data.empty())
    throw UsageError("eval: " + task.name + " is not bundled: give its questions with --data FILE.",
                     "as " + task.source + " have them (.jsonl, .json or .csv); see: ringbench help eval");
  task.samples = request.samples.value_or(task.samples);
  task.max_new_tokens = request.max_new_tokens.value_or(task.max_new_tokens);
  Sampling& sampling = task.sampling;
  sampling.temperature = request.temperature.value_or(sampling.temperature);
  sampling.top_p = request.top_p.value_or(sampling.top_p);
  sampling.top_k = request.top_k.value_or(sampling.top_k);
  sampling.min_p = request.min_p.value_or(sampling.min_p);
  sampling.repetition_penalty = request.repetition_penalty.value_or(sampling.repetition_penalty);
  if (!request.prompt.empty()) task.prompt = request.prompt;
  prompt_template(task.prompt);
  try {
    sampling.check();
  } catch (const std::invalid_argument& e) {
    throw UsageError(std::string("eval: ") + e.what() + ".");
  }
  return task;
}

// --- One checkpoint ---

// What a checkpoint is asked with.
struct Asked {
  Model model;
  std::string label;                   // of its files and lines: the folder's name, or the served model's
  std::optional<Tokenizer> tokenizer;  // a server has its own
  const ChatFormat* format = nullptr;  // null: the server's template
  std::vector<int32_t> stop_tokens;
  Strings warnings;
  std::vector<GenerationTask> tasks;  // every question, as often as it is asked
};

// Ids of a JSON file's "eos_token_id": a number or a list of them.
void add_end_tokens(const fs::path& file, std::vector<int32_t>& ids) {
  const Json json = Json::parse(read_file(file), nullptr, false);
  if (!json.is_object() || !json.contains("eos_token_id")) return;
  const Json& value = json["eos_token_id"];
  for (const Json& id : value.is_array() ? value : Json::array({value}))
    if (id.is_number_integer()) ids.push_back(id.get<int32_t>());
}

const ChatFormat& choose_format(const std::string& wanted, const fs::path& checkpoint, Strings& warnings) {
  if (wanted != "auto") return chat_format(wanted);
  const std::string text = chat_template_of(checkpoint);
  if (text.empty()) {
    warnings.push_back("W-CHAT: the checkpoint has no chat template: questions are put as plain text.");
    return chat_format("none");
  }
  if (const ChatFormat* format = recognised_chat_format(text)) return *format;
  Strings names;
  for (const ChatFormat& format : chat_formats()) names.push_back(format.name);
  throw UsageError("eval: the chat template of " + checkpoint.filename().string() + " is none that is known.",
                   "say which it is with --chat-format " + join(names, ", "));
}

// Of a server: what it is asked is text, or turns of a chat that it renders itself.
Asked prepare_served(const EvalRequest& request, const std::string& weights, const ServerIdentity& server) {
  Asked asked{resolve_model(request.plan.model, request.config_file, weights), {}, {}, nullptr, {}, {}, {}};
  asked.label = server.model.substr(server.model.rfind('/') + 1);
  if (request.chat_format != "auto") {
    asked.format = &chat_format(request.chat_format);
  } else if (request.thinking != Thinking::model) {
    throw UsageError("--thinking: the server's own template decides.", "Name the template with --chat-format.");
  }
  return asked;
}

Asked prepare(const EvalRequest& request, const std::string& weights) {
  Model model = resolve_model(request.model, request.config_file, weights);
  if (model.checkpoint.empty())
    throw UsageError("eval: which weights? Name a checkpoint folder: --weights DIR. Random weights answer nothing.");
  const fs::path folder = model.checkpoint;
  const auto load = [&] {
    try {
      return Tokenizer::load(folder);
    } catch (const TokenizerError& e) {
      throw UsageError(e.what());
    }
  };
  Asked asked{std::move(model), folder.filename().string(), load(), nullptr, {}, {}, {}};
  asked.format = &choose_format(request.chat_format, folder, asked.warnings);
  add_end_tokens(folder / "generation_config.json", asked.stop_tokens);
  if (asked.stop_tokens.empty()) add_end_tokens(folder / "config.json", asked.stop_tokens);
  for (const std::string& stop : asked.format->stops)
    if (const std::vector<int32_t> ids = asked.tokenizer->encode(stop); ids.size() == 1)
      asked.stop_tokens.push_back(ids.front());
  std::sort(asked.stop_tokens.begin(), asked.stop_tokens.end());
  asked.stop_tokens.erase(std::unique(asked.stop_tokens.begin(), asked.stop_tokens.end()), asked.stop_tokens.end());
  if (asked.stop_tokens.empty())
    asked.warnings.push_back("W-STOP: no end token is known: every answer runs to --max-new-tokens.");
  return asked;
}

// A question as it is put, once for each sample where choices are shuffled.
struct Put {
  std::string prompt, gold;
  bool thinks = false;  // the prompt opens the model's thinking
};

Put put(const EvalRequest& request, const EvalTask& task, const Asked& asked, const Question& question,
        int64_t sample) {
  const std::vector<size_t> order = choice_order(question, request.plan.seed, sample);
  Put put{fill_prompt(prompt_template(task.prompt), question, order), gold_of(question, order)};
  if (asked.format == nullptr) return put;
  const ChatMessage turn{"user", put.prompt};
  try {
    put.prompt = render_chat(*asked.format, {&turn, 1}, request.thinking);
  } catch (const std::invalid_argument& e) {
    throw UsageError(std::string("--thinking: ") + e.what());
  }
  const size_t opened = put.prompt.rfind("<think>");
  put.thinks = opened != std::string::npos && put.prompt.find("</think>", opened) == std::string::npos;
  return put;
}

// --- The command ---

class Eval {
 public:
  explicit Eval(const EvalRequest& request)
      : request_(request),
        plan_(request.plan),
        task_(resolve_task(request)),
        questions_(read_questions(task_.data, task_.kind, request.limit)),
        threads_(plan_.threads > 0 ? plan_.threads : physical_cores()),
        certifier_(plan_.results) {
    check_can_grade(questions_, request.grading);
    for (const Question& question : questions_.asked) question_of_[question.id] = &question;
    of_programs_ = std::any_of(questions_.asked.begin(), questions_.asked.end(),
                               [](const Question& question) { return question.kind == "code"; });
    for (const std::string& word : request.metrics) check_metric(parse_metric(word));
    for (const std::string& path : plan_.outputs) files_.emplace_back(path, plan_.format);
    if (is_served(plan_.engine.front())) reach_server();
    std::set<std::string> labels;
    for (const std::string& weights : request.weights.empty() ? Strings{""} : request.weights) {
      asked_.push_back(served_ ? prepare_served(request, weights, served_->identity()) : prepare(request, weights));
      if (!labels.insert(asked_.back().label).second)
        throw UsageError("--weights: two checkpoints are named " + asked_.back().label + ".", "run them one by one");
      points_.push_back(make_point(asked_.back()));
    }
  }

  ExitCode run() {
    open_folder();
    Progress progress(plan_.progress && !plan_.quiet, static_cast<int64_t>(points_.size()),
                      static_cast<double>(static_cast<int64_t>(points_.size()) * samples_in_all()), clock_);
    progress_ = &progress;
    warn();
    for (size_t i = 0; i < points_.size(); ++i) {
      if (recall(i)) continue;
      if (!ask(i)) return interrupted_at(i);
    }
    progress_ = nullptr;
    return finish();
  }

 private:
  void check_metric(const Metric& metric) const {
    if (metric.k > task_.samples)
      throw UsageError("--metric: " + metric.text + " needs more than the " + std::to_string(task_.samples) +
                           " samples of each question.",
                       "ask for more with --n");
    if (metric.name == "maj" && of_programs_)
      throw UsageError("--metric: " + metric.text + ": programs have no majority.", "Ask for avg@K or pass@K.");
  }

  int64_t samples_in_all() const { return task_.samples * static_cast<int64_t>(questions_.asked.size()); }

  // --- Before anything runs ---

  void reach_server() {
    if (request_.weights.size() > 1)
      throw UsageError("--weights: a server has one model; name its checkpoint or none.");
    served_ = &servers_.reach(plan_, plan_.engine.front(), {}, [](const std::string&) {});
  }

  std::vector<GenerationTask> tasks_of(const Asked& asked) const {
    std::vector<GenerationTask> tasks;
    for (const Question& question : questions_.asked)
      for (int64_t sample = 0; sample < task_.samples; ++sample) {
        if (sample > 0 && question.choices.empty()) {  // every sample is put the same
          tasks.push_back(tasks.back());
          tasks.back().sample = sample;
          continue;
        }
        const Put how = put(request_, task_, asked, question, sample);
        tasks.push_back({question.id, sample, {}});
        if (asked.tokenizer) tasks.back().prompt = asked.tokenizer->encode(how.prompt);
        if (asked.tokenizer ? tasks.back().prompt.empty() : how.prompt.empty())
          throw UsageError("eval: question " + question.id + " makes an empty prompt.", "see --prompt");
      }
    return tasks;
  }

  // The model at its longest prompt and answer, so that caches and YaRN are right for all of them.
  Point make_point(Asked& asked) {
    asked.tasks = tasks_of(asked);
    int64_t longest = 0;
    for (const GenerationTask& task : asked.tasks)
      longest = std::max(longest, static_cast<int64_t>(task.prompt.size()));
    if (served_) longest = guessed_tokens(asked);
    Plan plan = plan_;
    if (!served_) plan.model = request_.model;
    plan.config_file = request_.config_file;
    plan.weights = asked.model.checkpoint.string();
    plan.ctx = {longest}, plan.gen = {task_.max_new_tokens};
    plan.requests = samples_in_all();
    plan.batch = {1};
    Point point = expand(plan, Command::e2e).front();
    if (!point.error.empty()) throw UsageError("eval: " + asked.label + ": " + point.error);
    point.phase = "eval";
    point.id = sha256_hex(settings(asked, point.config_sha).dump()).substr(0, 16);
    point.warnings.insert(point.warnings.end(), asked.warnings.begin(), asked.warnings.end());
    for (const std::string& line : questions_.left_out)
      point.warnings.push_back("W-DATA: " + task_.data.filename().string() + ": " + line + ".");
    if (task_.questions > 0 && request_.limit == 0 && task_.questions != static_cast<int64_t>(questions_.asked.size()))
      point.warnings.push_back("W-DATA: " + std::to_string(questions_.asked.size()) + " questions; " + task_.name +
                               " has " + std::to_string(task_.questions) + ".");
    const bool small = runs_on_cpu(point) && !served_;
    const int64_t wanted = request_.slots > 0 ? request_.slots : small ? kSlotsOnCpu : kSlotsOnGpu;
    point.requests = std::min(wanted, samples_in_all());
    point.batch = request_.slots > 0 ? point.requests
                                     : batch_that_fits(plan_, point, point.tokens(), threads_,
                                                       engine_free_memory(point.engine) / 10 * 9);
    point.requests = samples_in_all();
    check_point_memory(plan_, point, point.tokens(), threads_);
    return point;
  }

  // The longest prompt, where only the server knows its tokens.
  int64_t guessed_tokens(const Asked& asked) const {
    size_t bytes = 1;
    for (const Question& question : questions_.asked)
      bytes = std::max(bytes, put(request_, task_, asked, question, 0).prompt.size());
    return (static_cast<int64_t>(bytes) + kBytesPerToken - 1) / kBytesPerToken;
  }

  const char* thinking_word() const {
    return request_.thinking == Thinking::on ? "on" : request_.thinking == Thinking::off ? "off" : "model";
  }

  // What decides the samples, beside engine and arithmetic.
  Json settings(const Asked& asked, const std::string& config_sha) const {
    const Sampling& s = task_.sampling;
    return {{"task", task_.name},
            {"data", task_.data.filename().string()},
            {"data_sha256", questions_.sha256},
            {"questions", questions_.asked.size()},
            {"left_out", questions_.left_out},
            {"samples", task_.samples},
            {"prompt", prompt_template(task_.prompt)},
            {"chat_format", asked.format == nullptr ? "server" : asked.format->name},
            {"thinking", thinking_word()},
            {"temperature", s.temperature},
            {"top_k", s.top_k},
            {"top_p", s.top_p},
            {"min_p", s.min_p},
            {"repetition_penalty", s.repetition_penalty},
            {"stop", request_.stop_strings},
            {"stop_tokens", asked.stop_tokens},
            {"max_new_tokens", task_.max_new_tokens},
            {"last_number", request_.grading.last_number},
            {"seed", plan_.seed},
            {"weights", asked.label},
            {"config_sha", config_sha}};
  }

  void open_folder() {
    if (!plan_.save) return;
    Json list = Json::array();
    RunPlan run;
    run.experiment = "eval";
    run.argv = plan_.argv;
    std::string keys;
    for (size_t i = 0; i < points_.size(); ++i) {
      list.push_back(settings(asked_[i], points_[i].config_sha));
      keys += point_key(points_[i]) + " " + join(request_.metrics, ",") + "\n";
      run.gpu = run.gpu || !runs_on_cpu(points_[i]);
    }
    run.sha = sha256_hex("eval " + keys);
    run.json =
        Json{{"schema", "ringbench.plan/1"}, {"experiment", "eval"}, {"plan_sha", run.sha}, {"evals", list}}.dump(
            1, ' ', false, Json::error_handler_t::replace);
    run.build = certifier_.build();
    if (!plan_.resume) {
      folder_ = std::make_unique<RunFolder>(plan_.results, run);
      return;
    }
    folder_ = std::make_unique<RunFolder>(plan_.results, run, *plan_.resume, plan_.mix_builds);
    kept_ = read_records(folder_->path());
    if (!plan_.quiet) std::cerr << "resuming " << folder_->id() << "\n";
  }

  // Said once, before anything runs.
  void warn() {
    if (plan_.quiet) return;
    std::set<std::string> said;
    for (const Point& point : points_)
      for (const std::string& warning : point.warnings)
        if (said.insert(warning).second) progress_->note("warning " + warning);
  }

  // --- Samples ---

  // Those of one checkpoint: kept in a file where there is a run folder.
  struct Samples {
    std::unique_ptr<LineFile> file;
    std::string lines;                                // all of them
    std::set<std::pair<std::string, int64_t>> there;  // question and sample
    int64_t tokens = 0;                               // in all answers
    int64_t tokens_made = 0;                          // by this process
    double begin_s = 0, told_s = 0;                   // when it began, and said something last
    double seconds = 0;                               // that it took
    std::map<std::string, int64_t> verdicts;
  };

  void take(Samples& samples, const Json& line) {
    if (!samples.there.insert({line.at("id").get<std::string>(), line.at("sample").get<int64_t>()}).second) return;
    samples.lines += line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    samples.tokens += line.at("output_tokens").get<int64_t>();
    ++samples.verdicts[line.at("verdict").get<std::string>()];
  }

  fs::path file_of(const Asked& asked, const std::string& extension) const {
    return folder_->path() / "eval" / (task_.name + "." + asked.label + extension);
  }

  Samples open_samples(const Asked& asked) {
    Samples samples;
    if (!folder_) return samples;
    const fs::path path = file_of(asked, ".samples.jsonl");
    try {
      fs::create_directories(path.parent_path());
      samples.file = std::make_unique<LineFile>(path);
    } catch (const std::system_error& e) {
      throw Failure(ExitCode::environment, "cannot write " + path.string() + ": " + e.code().message() + ".");
    }
    std::ifstream in(path);
    std::string text;
    for (int64_t number = 1; std::getline(in, text); ++number) {
      const Json line = Json::parse(text, nullptr, false);
      try {
        take(samples, line);
      } catch (const nlohmann::json::exception&) {
        throw UsageError("--resume: " + path.string() + ":" + std::to_string(number) + ": no sample of this program.",
                         "Take the line out: its sample is then made again.");
      }
    }
    return samples;
  }

  // Answers of other weights under the same name must not be mixed with these.
  void check_weights(const Asked& asked, const Point& point, const Weights& weights) const {
    if (!folder_) return;
    const fs::path path = file_of(asked, ".json");
    if (const Json before = Json::parse(read_file(path), nullptr, false);
        before.is_object() && before.value("weights_fingerprint", "") != weights.fingerprint())
      throw UsageError("--resume: the weights in " + asked.label + " are not those that its answers were made with.",
                       "start a run anew, without --resume");
    Json now = settings(asked, point.config_sha);
    now["weights_fingerprint"] = weights.fingerprint();
    std::ofstream out(path);
    out << now.dump(1, ' ', false, Json::error_handler_t::replace) << "\n";
  }

  Json sample_line(const Question& question, const Put& how, Generation&& generation, int64_t output_tokens) const {
    if (how.thinks) generation.text = "<think>" + generation.text;
    const bool cut_off = generation.finish_reason == "length";
    Json line = graded_line(question, {generation.sample, generation.text, how.gold, cut_off}, request_.grading);
    line["finish_reason"] = generation.finish_reason;
    line["prompt_tokens"] = generation.prompt_tokens;
    line["output_tokens"] = output_tokens;
    line["text"] = generation.text;
    return line;
  }

  // --- A checkpoint ---

  // The rows of a checkpoint that was finished before: one for each metric.
  bool recall(size_t i) {
    std::vector<Result> rows;
    for (const Result& row : kept_)
      if (row.point_id == points_[i].id) rows.push_back(row);
    const size_t standard = task_.samples > 1 && !of_programs_ ? 2 : 1;
    if (rows.size() < (request_.metrics.empty() ? standard : request_.metrics.size())) return false;
    results_.insert(results_.end(), rows.begin(), rows.end());
    return true;
  }

  // False: a signal came; what is done is kept.
  bool ask(size_t i) {
    const Point& point = points_[i];
    const Asked& asked = asked_[i];
    Samples samples = open_samples(asked);
    progress_->begin(task_.name + " " + asked.label);
    Session session;
    if (served_) {
      parity_of_server(point);  // before anything is asked
      if (!answer_by_server(point, asked, samples)) return false;
      report(point, session, samples);
      return true;
    }
    certify(point);
    progress_->update("reading weights");
    session.weights = std::make_unique<Weights>(Weights::load(point.config, point.checkpoint));
    check_weights(asked, point, *session.weights);
    const EngineOptions options = engine_options(plan_, point, point.tokens(), threads_);
    session.engine = make_engine(point.engine, point.config, *session.weights, options);
    if (!answer(point, asked, *session.engine, samples)) return false;
    report(point, session, samples);
    return true;
  }

  void certify(const Point& point) {
    const std::string failed = certifier_.certify(plan_, point, engine_options(plan_, point, point.tokens(), threads_),
                                                  engine_device_name(point.engine), point.ctx,
                                                  folder_ ? folder_->path() / "parity" : fs::path(),
                                                  [this](const std::string& text) { progress_->update(text); });
    if (!failed.empty() && !plan_.quiet) progress_->note("warning W-PARITY: " + failed);
  }

  // An answer: graded, counted, kept.
  void take_answer(const Asked& asked, Generation&& generation, int64_t output_tokens, Samples& samples) {
    const Question& question = *question_of_.at(generation.question);
    const Put how = put(request_, task_, asked, question, generation.sample);
    const Json line = sample_line(question, how, std::move(generation), output_tokens);
    take(samples, line);
    if (samples.file) keep(*samples.file, line.dump(-1, ' ', false, Json::error_handler_t::replace));
  }

  // How far it has come.
  void tell(const Asked& asked, Samples& samples) {
    const double now = clock_.wall_s();
    const auto done = static_cast<int64_t>(samples.there.size());
    const auto per_s = static_cast<int64_t>(static_cast<double>(samples.tokens_made) / (now - samples.begin_s));
    const std::string text = grouped(done) + "/" + grouped(samples_in_all()) + " answers, " +
                             grouped(samples.verdicts["correct"]) + " right, " + grouped(per_s) + " tokens/s";
    progress_->update(text, static_cast<double>(done));
    if (!plan_.progress || plan_.quiet || progress_->rewrites() || now - samples.told_s <= kNoteEvery_s) return;
    samples.told_s = now;
    progress_->note(task_.name + " " + asked.label + ": " + text);
  }

  // The samples that are still to be made.
  std::vector<const GenerationTask*> tasks_left(const Asked& asked, const Samples& samples) const {
    std::vector<const GenerationTask*> left;
    for (const GenerationTask& task : asked.tasks)
      if (!samples.there.contains({task.question, task.sample})) left.push_back(&task);
    return left;
  }

  bool answer(const Point& point, const Asked& asked, Engine& engine, Samples& samples) {
    const std::vector<const GenerationTask*> tasks = tasks_left(asked, samples);
    GenerationOptions options;
    options.sampling = task_.sampling;
    options.seed = plan_.seed;
    options.max_new_tokens = task_.max_new_tokens;
    options.max_tokens = point.tokens();
    options.slots = static_cast<int>(point.batch);
    options.stop_tokens = asked.stop_tokens;
    options.stop_strings = request_.stop_strings;
    size_t next = 0;
    samples.begin_s = samples.told_s = clock_.wall_s();
    GenerationHandlers handlers;
    handlers.next = [&] { return next < tasks.size() ? std::optional(*tasks[next++]) : std::nullopt; };
    handlers.done = [&](Generation&& generation) {
      const auto tokens = static_cast<int64_t>(generation.tokens.size());
      take_answer(asked, std::move(generation), tokens, samples);
    };
    handlers.step = [&](int64_t made) {
      samples.tokens_made += made;
      if (interrupted()) throw Interrupted();
      tell(asked, samples);
    };
    try {
      generate(engine, *asked.tokenizer, options, handlers);
    } catch (const Interrupted&) {
      return false;
    }
    samples.seconds = clock_.wall_s() - samples.begin_s;
    return true;
  }

  // --- By a server ---

  CompletionRequest request_for(const Asked& asked, const GenerationTask& task) const {
    const Put how = put(request_, task_, asked, *question_of_.at(task.question), task.sample);
    CompletionRequest request;
    if (asked.format == nullptr) {
      request.api = CompletionApi::chat;
      request.messages = {{"user", how.prompt}};
    } else {
      request.text = how.prompt;
    }
    request.max_tokens = task_.max_new_tokens;
    request.sampling = task_.sampling;
    request.seed = random_key(plan_.seed + static_cast<uint64_t>(task.sample), task.question) >> 33;  // 31 bits for all
    request.stop = request_.stop_strings;
    return request;
  }

  const ServedParity& parity_of_server(const Point& point) {
    const auto warn = [this](const std::string& text) {
      if (!plan_.quiet) progress_->note("warning " + text);
    };
    return servers_.certify(
        plan_, point, threads_, [this](const std::string& text) { progress_->update(text); }, warn);
  }

  bool answer_by_server(const Point& point, const Asked& asked, Samples& samples) {
    const std::vector<const GenerationTask*> tasks = tasks_left(asked, samples);
    EndpointLoad load;
    load.streams = static_cast<int>(point.batch);
    const auto count = static_cast<int64_t>(tasks.size());
    samples.begin_s = samples.told_s = clock_.wall_s();
    const int64_t answered = run_load(
        served_->replicas(), load, count,
        [&](int64_t index) { return request_for(asked, *tasks[static_cast<size_t>(index)]); },
        [&](const LoadedReply& loaded) {
          const CompletionReply& reply = loaded.reply;
          const GenerationTask& task = *tasks[static_cast<size_t>(loaded.index)];
          if (!reply.error.empty())
            throw Failure(ExitCode::environment, "eval: question " + task.question + ": " + reply.error +
                                                     " The answers before it are kept: go on with --resume.");
          Generation generation{
              task.question, task.sample, reply.text(), reply.finish_reason, reply.prompt_tokens.value_or(0), {}};
          if (const std::string thought = reply.reasoning(); !thought.empty())
            generation.text = "<think>" + thought + "</think>" + generation.text;
          const int64_t tokens = reply.completion_tokens.value_or(static_cast<int64_t>(reply.events.size()));
          samples.tokens_made += tokens;
          take_answer(asked, std::move(generation), tokens, samples);
          tell(asked, samples);
        });
    samples.seconds = clock_.wall_s() - samples.begin_s;
    return answered == count && !interrupted();
  }

  static void keep(LineFile& file, const std::string& line) {
    try {
      file.append(line);
    } catch (const std::system_error& e) {
      throw Failure(ExitCode::environment, "writing " + file.path().string() + " failed: " + e.what() +
                                               ". The samples before it are kept: go on with --resume.");
    }
  }

  // --- Rows ---

  void report(const Point& point, Session& session, const Samples& samples) {
    std::istringstream lines(samples.lines);
    const ScoreFile scored = read_score_lines(lines, "samples of " + task_.name);
    const SampleTotals totals = totals_of(scored);
    const Report engine_report = served_ ? Report() : session.engine->report();
    const size_t first = results_.size();
    for (const Metric& metric : metrics_of(request_.metrics, scored)) {
      const std::vector<double> values = question_values(scored, metric, task_.name);
      const Score score = score_by(scored, metric, values);
      Result row = describe_point(plan_, point, {"eval", device_name(point), commit_, threads_, std::nullopt});
      if (served_) {
        row.server = served_->identity().text();
        row.weights = asked_of(point).label;
        parity_of_server(point).describe(row);
      } else {
        describe_engine(session, engine_report, row);
        certifier_.describe(row);
      }
      row.isl_actual = row.osl_actual = std::nullopt;
      row.task = task_.name;
      row.metric = metric.text;
      row.unit = "%";
      row.value = 100 * score.value;
      row.ci95_low = 100 * score.ci95_low, row.ci95_high = 100 * score.ci95_high;
      row.n = score.questions;
      for (const double value : values) row.samples.push_back(100 * value);
      row.questions = score.questions;
      row.samples_per_question = task_.samples;
      row.se_question = 100 * score.se_question;
      if (score.se_run) row.se_run = 100 * *score.se_run;
      row.truncated = totals.truncated, row.unparsed = totals.unparsed, row.wrong = totals.wrong;
      row.tokens_mean = static_cast<double>(samples.tokens) / static_cast<double>(totals.samples);
      if (samples.tokens_made > 0) row.tok_s = static_cast<double>(samples.tokens_made) / samples.seconds;
      if (metric.name == "avg") row.published = published_score(point);
      row.repro = repro(point);
      row.run_id = folder_ ? folder_->id() : "";
      row.date = utc_now();
      set_flags(row, std::numeric_limits<double>::infinity());
      if (folder_) folder_->append(row);
      results_.push_back(std::move(row));
    }
    char text[32];
    std::snprintf(text, sizeof text, "%.1f %%", results_[first].value.value_or(0));
    progress_->end_point(task_.name + " " + asked_of(point).label, text, static_cast<double>(samples_in_all()));
  }

  static std::string device_name(const Point& point) {
    return is_served(point.engine) ? "unknown" : engine_device_name(point.engine);
  }
  const Asked& asked_of(const Point& point) const { return asked_[static_cast<size_t>(&point - points_.data())]; }

  // Of the same model and task, where somebody states one.
  Maybe<double> published_score(const Point& point) const {
    if (request_.published) return request_.published;
    for (const PublishedNumber& number : published_numbers())
      if (number.what == "score" && number.model == point.config.name && number.conditions.task == task_.name &&
          number.unit == "%")
        return number.value;
    return std::nullopt;
  }

  std::string repro(const Point& point) const {
    const Sampling& s = task_.sampling;
    std::ostringstream line;
    line << "ringbench eval " << shell_word(task_.name);
    if (!request_.data.empty()) line << " --data " << shell_word(task_.data.filename().string());
    if (!point.checkpoint.empty()) line << " --weights " << shell_word(point.checkpoint.filename().string());
    if (served_ && point.checkpoint.empty()) line << " --model " << point.config.name;
    line << " --n " << task_.samples << " --temperature " << s.temperature << " --top-p " << s.top_p << " --top-k "
         << s.top_k << " --min-p " << s.min_p << " --repetition-penalty " << s.repetition_penalty
         << " --max-new-tokens " << task_.max_new_tokens << " --prompt " << shell_word(task_.prompt) << " --seed "
         << plan_.seed << " --engine " << point.engine
         << (served_ ? "" : " --dtype " + std::string(name_of(point.dtype)));
    if (request_.limit > 0) line << " --limit " << request_.limit;
    if (request_.chat_format != "auto") line << " --chat-format " << request_.chat_format;
    if (request_.thinking != Thinking::model) line << " --thinking " << thinking_word();
    if (request_.grading.last_number) line << " --last-number";
    for (const std::string& stop : request_.stop_strings) line << " --stop " << shell_word(stop);
    return line.str();
  }

  // --- The end ---

  ExitCode interrupted_at(size_t finished) {
    progress_ = nullptr;
    std::cerr << "interrupted: " << finished << " of " << points_.size()
              << " checkpoints were finished; finished answers are kept\n";
    if (folder_) {
      folder_->finish(interrupting_signal() == SIGTERM ? ExitCode::terminated : ExitCode::interrupted);
      std::cerr << "go on with: " << resume_command(plan_.argv, folder_->id()) << "\n";
    }
    return ExitCode::interrupted;
  }

  Strings conclusions() const {
    Strings lines;
    for (const Result& row : results_)
      if (row.published && row.value) {
        const double half = 1.96 * row.se_run.value_or(0);
        const double low = row.se_run ? *row.value - half : *row.ci95_low;
        const double high = row.se_run ? *row.value + half : *row.ci95_high;
        const bool inside = low <= *row.published && *row.published <= high;
        std::ostringstream line;
        line.precision(3);
        line << *row.task << ": published " << *row.published << ", " << (inside ? "inside" : "outside") << " [" << low
             << ", " << high << "]: the same questions "
             << (row.se_run ? "sampled anew" : "or others like them, answered once");
        lines.push_back(line.str());
      }
    if (folder_) lines.push_back("saved: " + folder_->path().string() + "/  (samples in eval/)");
    return lines;
  }

  ExitCode finish() {
    const Remarks remarks{conclusions(), use_color(plan_.color)};
    write_results(std::cout, plan_.format, results_, remarks);
    for (const OutputFile& file : files_) file.write(results_, remarks);
    const bool failed =
        std::any_of(results_.begin(), results_.end(), [](const Result& r) { return r.parity == "fail"; });
    const bool unread = !questions_.unread_golds.empty() && !request_.allow_unparsable_gold;
    const ExitCode code = failed ? ExitCode::parity : unread ? ExitCode::points_failed : ExitCode::ok;
    if (folder_) folder_->finish(code);
    return code;
  }

  const EvalRequest& request_;
  const Plan& plan_;
  EvalTask task_;
  Questions questions_;
  int threads_ = 1;
  bool of_programs_ = false;                            // some questions want one
  std::map<std::string, const Question*> question_of_;  // by id
  Servers servers_;
  Served* served_ = nullptr;  // where the engine is a server
  Certifier certifier_;
  std::vector<Asked> asked_;   // one for each checkpoint
  std::vector<Point> points_;  // as many
  std::vector<OutputFile> files_;
  std::vector<Result> results_, kept_;  // kept: of the run that is gone on with
  std::unique_ptr<RunFolder> folder_;
  Progress* progress_ = nullptr;
  mutable Clock clock_;
  std::string commit_ = capture_environment().commit;
};

}  // namespace

ExitCode run_eval(const EvalRequest& request) { return Eval(request).run(); }

}  // namespace ringbench

#endif
