#include "harness/generations.h"

#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "harness/failure.h"

namespace ringbench {
namespace {

using Json = nlohmann::ordered_json;

std::string text_or_number(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.is_number() ? value.dump() : "";
}

std::string first_text(const Json& object, std::initializer_list<const char*> names) {
  if (object.is_object())
    for (const char* name : names)
      if (const auto found = object.find(name); found != object.end()) return text_or_number(*found);
  return "";
}

class GenerationReader {
 public:
  GenerationReader(std::string path, std::span<const Question> questions) : path_(std::move(path)) {
    for (const Question& question : questions) by_id_[question.id] = &question;
  }

  std::vector<StoredGeneration> read() {
    std::ifstream in(path_, std::ios::binary);
    if (!in) throw UsageError("score: cannot read '" + path_ + "'.");
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    if (const Json whole = Json::parse(text, nullptr, false); whole.is_array()) {
      for (const Json& line : whole) ++number_, take(line);
    } else {
      for (size_t begin = 0; begin < text.size();) {
        const size_t end = std::min(text.find('\n', begin), text.size());
        const std::string line = text.substr(begin, end - begin);
        begin = end + 1;
        ++number_;
        if (line.find_first_not_of(" \t\r") != std::string::npos) take(Json::parse(line, nullptr, false));
      }
    }
    if (all_.empty()) throw UsageError("score: " + path_ + ": it holds no answers.");
    return std::move(all_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw UsageError("score: " + path_ + ":" + std::to_string(number_) + ": " + what,
                     "which forms can be read: ringbench help score");
  }

  void take(const Json& line) {
    if (!line.is_object()) refuse("not a JSON object.");
    if (line.contains("response") || line.contains("choices")) return take_chat(line);
    if (line.contains("resps")) return take_list(line, line["resps"], line.value("doc", Json::object()));
    for (const char* list : {"gen", "code_list"})
      if (line.contains(list)) return take_list(line, line[list], line);
    if (!line.contains("text")) refuse("no answer in it (text, gen, code_list, resps or response).");
    StoredGeneration g = begin(line);
    g.text = text_or_number(line["text"]);
    const Json meta = line.value("meta_info", Json::object());
    std::string reason = first_text(line, {"finish_reason"});
    if (meta.is_object() && meta.contains("finish_reason"))
      reason = meta["finish_reason"].is_object() ? first_text(meta["finish_reason"], {"type"})
                                                 : text_or_number(meta["finish_reason"]);
    g.cut_off = reason == "length";
    const std::optional<int64_t> sample = line.contains("sample") && line["sample"].is_number_integer()
                                              ? std::optional(line["sample"].get<int64_t>())
                                              : std::nullopt;
    add(std::move(g), sample);
  }

  // Texts, or lists of them, of one question.
  void take_list(const Json& line, const Json& list, const Json& question) {
    if (!list.is_array()) refuse("its answers are no list.");
    for (const Json& entry : list) {
      const Json& first = entry.is_array() && !entry.empty() ? entry.front() : entry;
      if (!first.is_string()) refuse("an answer is no text.");
      StoredGeneration g = begin(question.empty() ? line : question);
      g.text = first.get<std::string>();
      add(std::move(g), std::nullopt);
    }
  }

  void take_chat(const Json& line) {
    const Json* body = &line;
    if (line.contains("response")) {
      if (!line["response"].is_object() || !line["response"].contains("body")) refuse("its response has no body.");
      body = &line["response"]["body"];
    }
    if (!body->is_object() || !body->contains("choices") || !(*body)["choices"].is_array())
      refuse("its response has no choices: did the request fail?");
    const auto [id, sample] = split(first_text(line, {"custom_id", "id"}));
    for (const Json& choice : (*body)["choices"]) {
      StoredGeneration g;
      g.id = id;
      if (!by_id_.contains(g.id)) refuse("'" + g.id + "' is no question's id.");
      const Json message = choice.value("message", Json::object());
      const std::string thought = first_text(message, {"reasoning_content", "reasoning"});
      if (!thought.empty()) g.text = "<think>" + thought + "</think>";
      g.text += choice.contains("text") ? text_or_number(choice["text"]) : first_text(message, {"content"});
      g.cut_off = first_text(choice, {"finish_reason"}) == "length";
      add(std::move(g), (*body)["choices"].size() == 1 ? sample : std::nullopt);
    }
  }

  // "q7#3": question q7, sample 3; unless that is itself a question's id.
  std::pair<std::string, std::optional<int64_t>> split(const std::string& id) const {
    const size_t mark = id.find_last_of("#/");
    if (by_id_.contains(id) || mark == std::string::npos || mark + 1 == id.size() ||
        id.find_first_not_of("0123456789", mark + 1) != std::string::npos || id.size() - mark > 10)
      return {id, std::nullopt};
    return {id.substr(0, mark), std::stoll(id.substr(mark + 1))};
  }

  StoredGeneration begin(const Json& line) {
    StoredGeneration g;
    g.gold = first_text(line, {"gold"});
    g.id = first_text(line, {"id", "ID", "unique_id", "question_id", "problem_idx", "Record ID"});
    if (by_id_.contains(g.id)) return g;
    const std::string text = first_text(line, {"prompt", "problem", "Problem", "question", "Question"});
    if (text.empty())
      refuse(g.id.empty() ? "it says neither an id nor a prompt." : "'" + g.id + "' is no question's id.");
    g.id = asked_in(text);
    if (g.id.empty()) refuse("its prompt contains no question.");
    return g;
  }

  // The longest question that the prompt contains: one may be the beginning of another.
  std::string asked_in(const std::string& prompt) {
    const auto [known, is_new] = prompts_.try_emplace(prompt);
    if (is_new) {
      size_t longest = 0;
      for (const auto& [id, question] : by_id_)
        if (question->text.size() > longest && prompt.find(question->text) != std::string::npos)
          known->second = id, longest = question->text.size();
    }
    return known->second;
  }

  void add(StoredGeneration g, std::optional<int64_t> sample) {
    std::set<int64_t>& taken = samples_[g.id];
    g.sample = sample.value_or(static_cast<int64_t>(taken.size()));
    if (!taken.insert(g.sample).second)
      refuse("sample " + std::to_string(g.sample) + " of question " + g.id + " is there twice.");
    all_.push_back(std::move(g));
  }

  std::string path_;
  int64_t number_ = 0;  // of the line
  std::map<std::string, const Question*> by_id_;
  std::unordered_map<std::string, std::string> prompts_;  // that were looked up
  std::unordered_map<std::string, std::set<int64_t>> samples_;
  std::vector<StoredGeneration> all_;
};

}  // namespace

std::vector<StoredGeneration> read_generations(const std::string& path, std::span<const Question> questions) {
  return GenerationReader(path, questions).read();
}

}  // namespace ringbench
