// chat_format.cpp: see chat_format.h.
#include "evals/chat_format.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace ringbench {
namespace {

using Messages = std::span<const ChatMessage>;

// What follows an assistant's thoughts, which no template repeats in later turns.
std::string without_thoughts(const std::string& content) {
  const size_t end = content.rfind("</think>");
  if (end == std::string::npos) return content;
  const size_t begin = content.find_first_not_of('\n', end + std::string_view("</think>").size());
  return begin == std::string::npos ? "" : content.substr(begin);
}

std::string bailing_role(const std::string& role) {
  const std::string name = role == "user" ? "HUMAN" : role == "system" ? "SYSTEM" : "ASSISTANT";
  return "<role>" + name + "</role>";
}

// Ling-lite, Ring-lite: turns one after the other, nothing between them.
std::string bailing(Messages messages) {
  std::string text;
  for (const ChatMessage& m : messages) text += bailing_role(m.role) + m.content;
  return text + bailing_role("assistant");
}

// Ling 2.0: a system turn is always there and says whether to think.
std::string ling2(Messages messages, Thinking thinking) {
  const std::string end = "<|role_end|>";
  const bool system = !messages.empty() && messages.front().role == "system";
  std::string text = bailing_role("system") + (system ? messages.front().content + "\n" : "") + "detailed thinking " +
                     (thinking == Thinking::on ? "on" : "off") + end;
  for (const ChatMessage& m : messages.subspan(system ? 1 : 0))
    text += bailing_role(m.role) + (m.role == "assistant" ? without_thoughts(m.content) : m.content) + end;
  return text + bailing_role("assistant");
}

std::string chatml(Messages messages) {
  std::string text;
  for (const ChatMessage& m : messages)
    text += "<|im_start|>" + m.role + "\n" + (m.role == "assistant" ? without_thoughts(m.content) : m.content) +
            "<|im_end|>\n";
  return text + "<|im_start|>assistant\n";
}

// GPT-OSS: thoughts go to the channel analysis, the answer to final. The day is left out: a prompt is the same every
// day.
std::string harmony(Messages messages) {
  std::string text =
      "<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\nKnowledge cutoff: "
      "2024-06\n\nReasoning: medium\n\n# Valid channels: analysis, commentary, final. Channel must be included for "
      "every message.<|end|>";
  for (const ChatMessage& m : messages) {
    if (m.role == "system")
      text += "<|start|>developer<|message|># Instructions\n\n" + m.content + "<|end|>";
    else if (m.role == "user")
      text += "<|start|>user<|message|>" + m.content + "<|end|>";
    else
      text += "<|start|>assistant<|channel|>final<|message|>" + m.content + "<|end|>";
  }
  return text + "<|start|>assistant";
}

// DeepSeek-R1: the system text stands bare at the beginning; the reply begins with a thought.
std::string deepseek_r1(Messages messages) {
  std::string system, turns;
  for (const ChatMessage& m : messages) {
    if (m.role == "system")
      system += m.content;
    else if (m.role == "user")
      turns += "<｜User｜>" + m.content;
    else
      turns += "<｜Assistant｜>" + without_thoughts(m.content) + "<｜end▁of▁sentence｜>";
  }
  return "<｜begin▁of▁sentence｜>" + system + turns + "<｜Assistant｜><think>\n";
}

const std::vector<ChatFormat>& all_formats() {
  static const std::vector<ChatFormat> formats = {
      {"bailing",
       "Ling-lite, Ring-lite, Ring-lite-linear-preview: <role>HUMAN</role>..",
       {"<|endoftext|>", "<role>"},
       false,
       true},
      {"bailing-think",
       "Ring-mini-2.0: as bailing, the reply begins with <think>",
       {"<|endoftext|>", "<role>"},
       true,
       false},
      {"ling2",
       "Ling 2.0, Ring-mini-linear-2.0, Ring-flash-linear-2.0: 'detailed thinking on|off', <|role_end|>",
       {"<|role_end|>", "<|endoftext|>"},
       true,
       true},
      {"chatml", "Qwen2: <|im_start|>user ..", {"<|im_end|>", "<|endoftext|>"}, false, true},
      {"qwen3",
       "Qwen3: as chatml; without thinking the reply begins with an empty thought",
       {"<|im_end|>", "<|endoftext|>"},
       true,
       true},
      {"harmony", "GPT-OSS: channels analysis and final", {"<|return|>"}, true, false},
      {"deepseek-r1",
       "DeepSeek-R1 and its distilled models: the reply begins with <think>",
       {"<｜end▁of▁sentence｜>"},
       true,
       false},
      {"none", "the question alone, as base models read it", {"<|endoftext|>"}, false, true}};
  return formats;
}

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

std::span<const ChatFormat> chat_formats() { return all_formats(); }

const ChatFormat& chat_format(std::string_view name) {
  std::string names;
  for (const ChatFormat& format : all_formats()) {
    if (format.name == name) return format;
    names += (names.empty() ? "" : ", ") + format.name;
  }
  throw std::invalid_argument("no chat format '" + std::string(name) + "'; there are " + names);
}

const ChatFormat* recognised_chat_format(std::string_view t) {
  if (has(t, "<role>")) {
    if (has(t, "detailed thinking")) return &chat_format("ling2");
    if (has(t, "<|role_end|>")) return nullptr;  // turns that end, and no switch: not seen yet
    return &chat_format(has(t, "<think>") ? "bailing-think" : "bailing");
  }
  if (has(t, "<|channel|>") && has(t, "<|start|>")) return &chat_format("harmony");
  if (has(t, "<｜Assistant｜>")) return has(t, "<think>") ? &chat_format("deepseek-r1") : nullptr;
  if (has(t, "<|im_start|>")) {
    if (has(t, "enable_thinking")) return &chat_format("qwen3");
    return has(t, "<think>") ? nullptr : &chat_format("chatml");
  }
  return nullptr;
}

std::string chat_template_of(const std::filesystem::path& checkpoint) {
  if (std::string text = read_text(checkpoint / "chat_template.jinja"); !text.empty()) return text;
  const auto config = nlohmann::json::parse(read_text(checkpoint / "tokenizer_config.json"), nullptr, false);
  if (!config.is_object()) return "";
  const auto found = config.find("chat_template");
  if (found == config.end()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) return "";
  for (const auto& named : *found)  // several, by name
    if (named.is_object() && named.value("name", "") == "default" && named.contains("template") &&
        named["template"].is_string())
      return named["template"].get<std::string>();
  return "";
}

std::string render_chat(const ChatFormat& format, Messages messages, Thinking thinking) {
  for (const ChatMessage& m : messages)
    if (m.role != "system" && m.role != "user" && m.role != "assistant")
      throw std::invalid_argument("a message's role is system, user or assistant, not '" + m.role + "'");
  if (thinking == Thinking::on && !format.can_think)
    throw std::invalid_argument("models of chat format " + format.name + " do not think");
  if (thinking == Thinking::off && !format.can_refrain)
    throw std::invalid_argument("models of chat format " + format.name + " always think");
  if (format.name == "bailing") return bailing(messages);
  if (format.name == "bailing-think") return bailing(messages) + "<think>\n";
  if (format.name == "ling2") return ling2(messages, thinking);
  if (format.name == "chatml") return chatml(messages);
  if (format.name == "qwen3") return chatml(messages) + (thinking == Thinking::off ? "<think>\n\n</think>\n\n" : "");
  if (format.name == "harmony") return harmony(messages);
  if (format.name == "deepseek-r1") return deepseek_r1(messages);
  std::string text;
  for (const ChatMessage& m : messages) text += m.content;
  return text;
}

}  // namespace ringbench
