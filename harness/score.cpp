// score.cpp: see score.h.
#include "harness/score.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>
#include <sstream>
#include <unordered_map>

#include "harness/generations.h"
#include "harness/questions.h"
#include "harness/table.h"
#include "harness/words.h"

#if defined(RINGBENCH_HAVE_TOKENIZER)
#include "evals/grade.h"
#endif

namespace ringbench {
namespace {

#if !defined(RINGBENCH_HAVE_TOKENIZER)  // without the grader only what is written alike is the same
bool equivalent(std::string_view a, std::string_view b) { return a == b; }
#endif

using Json = nlohmann::ordered_json;

// --- Reading ---

// The lines of one file, by question.
class ScoreReader {
 public:
  explicit ScoreReader(const std::string& path) : path_(path) {}

  ScoreFile read(std::istream& in) {
    std::string line;
    for (number_ = 1; std::getline(in, line); ++number_)
      if (line.find_first_not_of(" \t\r") != std::string::npos) take(Json::parse(line, nullptr, false));
    if (file_.questions.empty()) refuse_file("it holds no samples.");
    return std::move(file_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw UsageError("score: " + path_ + ":" + std::to_string(number_) + ": " + what,
                     "A line is {\"id\", \"sample\", \"verdict\", \"extracted\"} or {\"id\", \"n\", \"c\"}; see: "
                     "ringbench help score");
  }
  [[noreturn]] void refuse_file(const std::string& what) const { throw UsageError("score: " + path_ + ": " + what); }

  void take(const Json& line) {
    if (!line.is_object()) refuse("not a JSON object.");
    const bool verdict = line.contains("verdict");
    for (const char* answers : {"text", "gen", "code_list", "resps", "response"})
      if (!verdict && line.contains(answers))
        throw UsageError("score: " + path_ + ":" + std::to_string(number_) + ": an answer without a verdict.",
                         "--gold DATA has it graded: the questions and their answers.");
    if (!verdict && !line.contains("n")) refuse("neither a \"verdict\" nor counts \"n\" and \"c\".");
    if (file_.questions.empty()) file_.has_verdicts = verdict;
    if (verdict != file_.has_verdicts) refuse("verdicts and counts do not go together.");
    const auto [place, is_new] = places_.try_emplace(id_of(line), file_.questions.size());
    if (is_new) file_.questions.emplace_back().id = place->first;
    if (verdict)
      take_verdict(line, file_.questions[place->second]);
    else if (is_new)
      take_counts(line, file_.questions.back());
    else
      refuse("question " + place->first + " is there twice.");
  }

  std::string id_of(const Json& line) const {
    const auto id = line.find("id");
    if (id == line.end()) refuse("\"id\" is missing.");
    if (id->is_string()) return id->get<std::string>();
    if (id->is_number_integer()) return id->dump();
    refuse("\"id\": expected a text or an integer, found " + id->dump() + ".");
  }

  int64_t integer(const Json& line, const char* key) const {
    const auto value = line.find(key);
    if (value == line.end()) refuse("\"" + std::string(key) + "\" is missing.");
    if (!value->is_number_integer())
      refuse("\"" + std::string(key) + "\": expected an integer, found " + value->dump());
    return value->get<int64_t>();
  }

  void take_counts(const Json& line, ScoredQuestion& question) const {
    const int64_t n = integer(line, "n"), c = integer(line, "c");
    if (n < 1) refuse("n = " + std::to_string(n) + ": a question needs a sample.");
    if (c < 0 || c > n) refuse("c = " + std::to_string(c) + " right samples of n = " + std::to_string(n) + ".");
    question.counts = {n, c};
  }

  void take_verdict(const Json& line, ScoredQuestion& question) {
    const int64_t sample = line.contains("sample") ? integer(line, "sample") : question.counts.n;
    if (!samples_[question.id].insert(sample).second)
      refuse("sample " + std::to_string(sample) + " of question " + question.id + " is there twice.");
    const Json& verdict = line["verdict"];
    const std::string word = verdict.is_string() ? verdict.get<std::string>() : verdict.dump();
    if (word == "gold_unparsable" || word == "not_run")
      refuse("question " + question.id + " has no verdict: " + word + ".");
    file_.of_programs |= line.contains("program");
    ++question.counts.n;
    if (word == "correct")
      ++question.counts.c;
    else if (word == "truncated")
      ++question.truncated;
    else if (word == "no_answer")
      ++question.unparsed;
    else if (word == "incorrect" || word == "limit_exceeded")
      ++question.wrong;
    else
      refuse("\"verdict\": '" + word + "' is none of correct, incorrect, no_answer, truncated, limit_exceeded.");
    vote(line, word, question);
  }

  // Right answers equal the gold and so each other. A wrong one belongs to the first class whose founder it equals.
  void vote(const Json& line, const std::string& verdict, ScoredQuestion& question) {
    Vote& vote = question.votes.emplace_back();
    if (verdict == "truncated" || verdict == "no_answer") return;
    vote.correct = verdict == "correct";
    const auto extracted = line.find("extracted");
    const std::string text = extracted != line.end() && extracted->is_string() ? extracted->get<std::string>() : "";
    vote.answer = vote.correct ? 0 : class_of(text, classes_[question.id]);
  }

  struct Classes {
    std::unordered_map<std::string, int> known;  // of texts
    std::vector<std::string> founders;           // of classes 1, 2, ...
  };
  static int class_of(const std::string& text, Classes& classes) {
    const auto [place, is_new] = classes.known.try_emplace(text, 0);
    if (!is_new) return place->second;
    size_t i = 0;
    while (i < classes.founders.size() && !equivalent(text, classes.founders[i])) ++i;
    if (i == classes.founders.size()) classes.founders.push_back(text);
    return place->second = static_cast<int>(i) + 1;
  }

  std::string path_;
  int64_t number_ = 0;  // of the line
  ScoreFile file_;
  std::unordered_map<std::string, size_t> places_;
  std::unordered_map<std::string, std::set<int64_t>> samples_;
  std::unordered_map<std::string, Classes> classes_;  // of wrong answers
};

// --- Metrics ---

// As many samples as every question has.
int64_t samples_of_all(const ScoreFile& file) {
  int64_t least = INT64_MAX;
  for (const ScoredQuestion& question : file.questions) least = std::min(least, question.counts.n);
  return least;
}

struct ScoreLine {
  Metric metric;
  Score score;
  std::optional<PairedDifference> difference;
};

// The values of the same questions in another run, in the same order.
std::vector<double> values_in_order(const ScoreFile& file, const ScoreFile& other, const std::vector<double>& values,
                                    const std::string& path) {
  std::unordered_map<std::string, double> by_id;
  for (size_t i = 0; i < values.size(); ++i) by_id[other.questions[i].id] = values[i];
  std::vector<double> ordered;
  for (const ScoredQuestion& question : file.questions) {
    const auto found = by_id.find(question.id);
    if (found == by_id.end()) throw UsageError("score: --against: " + path + " has no question " + question.id + ".");
    ordered.push_back(found->second);
  }
  if (by_id.size() != file.questions.size())
    throw UsageError("score: --against: " + path + " has " + std::to_string(by_id.size()) + " questions, not " +
                     std::to_string(file.questions.size()) + ".");
  return ordered;
}

// --- Writing ---

std::string tenths(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", 100 * share);
  return text;
}

std::string signed_percent(double share) { return (share > 0 ? "+" : "") + tenths(share); }

std::string interval(double low, double high) { return "[" + tenths(low) + ", " + tenths(high) + "]"; }

bool is_inside(double share, const Score& score) { return score.ci95_low <= share && share <= score.ci95_high; }

Json json_of(const ScoreLine& line, const ScoreFile& file, const ScoreRequest& request) {
  const Score& s = line.score;
  const SampleTotals totals = totals_of(file);
  const auto share = [&](int64_t count) {
    return file.has_verdicts ? Json(static_cast<double>(count) / static_cast<double>(totals.samples)) : Json(nullptr);
  };
  Json json = {{"metric", line.metric.text},
               {"value", s.value},
               {"se_question", s.se_question},
               {"se_run", s.se_run ? Json(*s.se_run) : Json(nullptr)},
               {"ci95_low", s.ci95_low},
               {"ci95_high", s.ci95_high},
               {"questions", s.questions},
               {"samples", s.samples},
               {"truncated", share(totals.truncated)},
               {"unparsed", share(totals.unparsed)},
               {"wrong", share(totals.wrong)}};
  if (request.published) {
    json["published"] = *request.published / 100;
    json["published_inside"] = is_inside(*request.published / 100, s);
  }
  if (line.difference)
    json["against"] = {{"difference", line.difference->value},
                       {"standard_error", line.difference->standard_error},
                       {"ci95_low", line.difference->ci95_low},
                       {"ci95_high", line.difference->ci95_high},
                       {"detectable", line.difference->detectable},
                       {"mcnemar_p", line.difference->mcnemar_p ? Json(*line.difference->mcnemar_p) : Json(nullptr)}};
  return json;
}

Table table_of(const std::vector<ScoreLine>& lines, const ScoreRequest& request) {
  Table table;
  for (const char* title : {"metric", "score %", "95 % interval", "se question", "se run", "questions", "samples"})
    table.columns.push_back({title, std::string_view(title) != "metric"});
  if (request.published) table.columns.push_back({"published", true});
  if (!request.against.empty()) table.columns.push_back({"minus " + request.against, true});
  for (const ScoreLine& line : lines) {
    const Score& s = line.score;
    std::vector<std::string>& row = table.rows.emplace_back();
    row = {line.metric.text,
           tenths(s.value),
           interval(s.ci95_low, s.ci95_high),
           tenths(s.se_question),
           s.se_run ? tenths(*s.se_run) : "",
           std::to_string(s.questions),
           std::to_string(s.samples)};
    if (request.published) {
      const double stated = *request.published / 100;
      row.push_back(tenths(stated) + (is_inside(stated, s) ? " inside" : " outside"));
    }
    if (line.difference)
      row.push_back(signed_percent(line.difference->value) + " " +
                    interval(line.difference->ci95_low, line.difference->ci95_high));
  }
  return table;
}

void write_remarks(std::ostream& out, const ScoreFile& file, const std::vector<ScoreLine>& lines) {
  if (file.has_verdicts) {
    const SampleTotals t = totals_of(file);
    const auto share = [&](int64_t count) {
      return tenths(static_cast<double>(count) / static_cast<double>(t.samples)) + " %";
    };
    out << "\nof " << grouped(t.samples) << " samples: " << share(t.wrong) << " wrong, " << share(t.unparsed)
        << " without an answer, " << share(t.truncated) << " cut off\n";
  }
  out << "\nse question: had other questions been asked; se run: had the same been sampled again. The interval is over "
         "questions.\n";
  for (const ScoreLine& line : lines)
    if (line.difference) {
      out << line.metric.text << ": a difference of " << tenths(line.difference->detectable)
          << " would be found with 80 % power";
      if (line.difference->mcnemar_p) {
        char p[48];
        std::snprintf(p, sizeof p, "; McNemar's exact p = %.3g", *line.difference->mcnemar_p);
        out << p;
      }
      out << "\n";
    }
}

}  // namespace

ScoreFile read_score_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in || std::filesystem::is_directory(path)) throw UsageError("score: cannot read '" + path + "'.");
  return read_score_lines(in, path);
}

ScoreFile read_score_lines(std::istream& lines, const std::string& path) { return ScoreReader(path).read(lines); }

SampleTotals totals_of(const ScoreFile& file) {
  SampleTotals t;
  for (const ScoredQuestion& q : file.questions)
    t.samples += q.counts.n, t.truncated += q.truncated, t.unparsed += q.unparsed, t.wrong += q.wrong;
  return t;
}

Score score_by(const ScoreFile& file, const Metric& metric, std::span<const double> values) {
  std::vector<Counts> counts;
  int64_t samples = 0;
  for (const ScoredQuestion& question : file.questions) {
    counts.push_back(question.counts);
    samples += question.counts.n;
  }
  return metric.name == "avg" ? average_score(counts) : score_of(values, samples);
}

std::vector<Metric> metrics_of(const Strings& words, const ScoreFile& file) {
  std::vector<Metric> metrics;
  for (const std::string& word : words) metrics.push_back(parse_metric(word));
  if (!metrics.empty()) return metrics;
  const std::string k = std::to_string(samples_of_all(file));
  metrics.push_back(parse_metric("avg@" + k));
  if (file.has_verdicts && !file.of_programs && k != "1") metrics.push_back(parse_metric("maj@" + k));
  return metrics;
}

Metric parse_metric(const std::string& word) {
  const auto refuse = [&](const std::string& why) {
    return UsageError("--metric: '" + word + "': " + why,
                      "Use avg@K, pass@K, maj@K or gpass@K:TAU, such as gpass@8:0.5.");
  };
  const size_t at = word.find('@');
  Metric metric;
  metric.text = word;
  metric.name = word.substr(0, at);
  if (metric.name == "cons") metric.name = "maj";
  if (at == std::string::npos ||
      (metric.name != "avg" && metric.name != "pass" && metric.name != "maj" && metric.name != "gpass"))
    throw refuse("no such metric.");
  const size_t colon = word.find(':', at);
  if ((metric.name == "gpass") != (colon != std::string::npos))
    throw refuse(metric.name == "gpass" ? "which share of the K samples, after ':'?" : "':' belongs to gpass.");
  const std::string k = word.substr(at + 1, colon == std::string::npos ? std::string::npos : colon - at - 1);
  const auto [end, error] = std::from_chars(k.data(), k.data() + k.size(), metric.k);
  if (error != std::errc() || end != k.data() + k.size() || metric.k < 1) throw refuse("K is a number from 1.");
  if (colon != std::string::npos) {
    const char* last = word.data() + word.size();
    const auto [tau_end, tau_error] = std::from_chars(word.data() + colon + 1, last, metric.tau);
    if (tau_error != std::errc() || tau_end != last || !(metric.tau >= 0 && metric.tau <= 1))
      throw refuse("TAU is a number from 0 to 1.");
  }
  return metric;
}

std::vector<double> question_values(const ScoreFile& file, const Metric& metric, const std::string& path) {
  if (metric.name == "maj" && !file.has_verdicts)
    throw UsageError("--metric: " + metric.text + " needs verdicts with answers; " + path + " has counts.");
  if (metric.name == "maj" && file.of_programs)
    throw UsageError("--metric: " + metric.text + ": programs have no majority.", "Ask for avg@K or pass@K.");
  std::vector<double> values;
  for (const ScoredQuestion& question : file.questions) {
    const auto [n, c] = question.counts;
    if (n < metric.k)
      throw UsageError("score: " + path + ": question " + question.id + " has " + std::to_string(n) +
                           (n == 1 ? " sample, " : " samples, ") + metric.text + " needs " + std::to_string(metric.k) +
                           ".",
                       "A missing sample is not a wrong one: generate the rest, or ask for a smaller K.");
    values.push_back(metric.name == "avg"    ? static_cast<double>(c) / static_cast<double>(n)
                     : metric.name == "pass" ? pass_at_k(n, c, metric.k)
                     : metric.name == "maj"  ? majority_at_k(question.votes, metric.k)
                                             : g_pass_at_k(n, c, metric.k, metric.tau));
  }
  return values;
}

namespace {

// Answers of other programs, graded; those to questions whose gold cannot be read are passed over.
ScoreFile grade_file(const std::string& path, const Questions& questions, const GradingOptions& grading) {
  std::vector<Question> known = questions.asked;
  known.insert(known.end(), questions.unread_golds.begin(), questions.unread_golds.end());
  std::unordered_map<std::string, const Question*> by_id;
  for (const Question& question : questions.asked) by_id[question.id] = &question;
  std::stringstream lines;
  std::set<std::string> answered;
  for (StoredGeneration& g : read_generations(path, known)) {
    const auto asked = by_id.find(g.id);
    if (asked == by_id.end()) continue;
    const Question& question = *asked->second;
    answered.insert(g.id);
    if (question.kind == "choice" && g.gold.empty())
      throw UsageError("score: " + path + ": question " + g.id +
                           " has choices, whose order only its program knows: \"gold\" is missing.",
                       "Add \"gold\": \"B\", the letter that was right as the question was put.");
    const std::string& gold = question.kind == "choice" ? g.gold : question.gold;
    lines << graded_line(question, {g.sample, std::move(g.text), gold, g.cut_off}, grading)
                 .dump(-1, ' ', false, Json::error_handler_t::replace)
          << "\n";
  }
  for (const Question& question : questions.asked)
    if (!answered.contains(question.id))
      throw UsageError("score: " + path + ": question " + question.id + " has no answer in it (" +
                           std::to_string(questions.asked.size() - answered.size()) + " of " +
                           std::to_string(questions.asked.size()) + " have none).",
                       "A missing answer is not a wrong one: make the rest, or take the questions out of --gold.");
  return read_score_lines(lines, path);
}

}  // namespace

ExitCode run_score(const ScoreRequest& request, std::ostream& out) {
  if (request.gold.empty() && (!request.kind.empty() || request.grading.last_number || request.grading.allow_exec))
    throw UsageError("score: --kind, --last-number and --allow-exec go with --gold: verdicts have been graded.");
  const std::optional<Questions> questions =
      request.gold.empty() ? std::nullopt : std::optional(read_questions(request.gold, request.kind));
  if (questions) check_can_grade(*questions, request.grading);
  const auto read = [&](const std::string& path) {
    return questions ? grade_file(path, *questions, request.grading) : read_score_file(path);
  };
  const bool unread = questions && !questions->unread_golds.empty() && !request.allow_unparsable_gold;
  const ExitCode code = unread ? ExitCode::points_failed : ExitCode::ok;
  if (questions)
    for (const std::string& line : questions->left_out)
      std::cerr << "warning W-DATA: " << request.gold << ": " << line << ".\n";
  const ScoreFile file = read(request.file);
  std::optional<ScoreFile> other;
  if (!request.against.empty()) other = read(request.against);
  std::vector<ScoreLine> lines;
  for (const Metric& metric : metrics_of(request.metrics, file)) {
    const std::vector<double> values = question_values(file, metric, request.file);
    ScoreLine& line = lines.emplace_back(ScoreLine{metric, score_by(file, metric, values), {}});
    if (other)
      line.difference = paired_difference(
          values_in_order(file, *other, question_values(*other, metric, request.against), request.against), values);
  }
  if (request.format == Format::json) {
    Json all = Json::array();
    for (const ScoreLine& line : lines) all.push_back(json_of(line, file, request));
    out << all.dump(2) << "\n";
    return code;
  }
  const Table table = table_of(lines, request);
  if (request.format == Format::csv) {
    write_csv(out, table);
  } else if (request.format == Format::md) {
    write_markdown(out, table);
  } else {
    write_text(out, table);
    write_remarks(out, file, lines);
  }
  return code;
}

}  // namespace ringbench
