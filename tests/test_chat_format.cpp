// Chat formats: what the goldens' templates render, which format a template is of, and what cannot be asked.
#include "evals/chat_format.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/catch.h"
#include "tests/folder.h"
#include "tests/golden.h"

using namespace ringbench;
using Json = nlohmann::json;

namespace {

std::vector<ChatMessage> question(const std::string& text) { return {{"user", text}}; }

std::string rendered(const std::string& name, const std::vector<ChatMessage>& messages,
                     Thinking thinking = Thinking::model) {
  return render_chat(chat_format(name), messages, thinking);
}

}  // namespace

TEST_CASE("chats without tools are rendered as the checkpoints' templates do", "[chat]") {
  for (const auto& [version, name] : {std::pair("v1", "bailing"), std::pair("v2", "ling2")}) {
    const std::filesystem::path folder = goldens() / "tokenizer" / version;
    const ChatFormat* format = recognised_chat_format(chat_template_of(folder));
    REQUIRE(format != nullptr);
    CHECK(format->name == name);
    int compared = 0;
    const Json golden = Json::parse(std::ifstream(folder / "golden.json"));
    for (const Json& chat : golden.at("chats")) {
      if (!chat.at("tools").is_null() || !chat.at("add_generation_prompt").get<bool>()) continue;
      std::vector<ChatMessage> messages;
      for (const Json& m : chat.at("messages")) messages.push_back({m.at("role"), m.at("content")});
      INFO(version << " " << chat.at("name").get<std::string>());
      CHECK(render_chat(*format, messages) == chat.at("text").get<std::string>());
      ++compared;
    }
    CHECK(compared >= 9);
  }
}

TEST_CASE("each family's marks stand around the question", "[chat]") {
  const auto q = question("1+1?");
  CHECK(rendered("bailing-think", q) == "<role>HUMAN</role>1+1?<role>ASSISTANT</role><think>\n");
  CHECK(rendered("ling2", q, Thinking::on) ==
        "<role>SYSTEM</role>detailed thinking on<|role_end|><role>HUMAN</role>1+1?<|role_end|><role>ASSISTANT</role>");
  CHECK(rendered("chatml", q) == "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n");
  CHECK(rendered("qwen3", q) == rendered("chatml", q));
  CHECK(rendered("qwen3", q, Thinking::on) == rendered("qwen3", q));
  CHECK(rendered("qwen3", q, Thinking::off) == rendered("chatml", q) + "<think>\n\n</think>\n\n");
  CHECK(rendered("deepseek-r1", q) == "<｜begin▁of▁sentence｜><｜User｜>1+1?<｜Assistant｜><think>\n");
  CHECK(rendered("none", q) == "1+1?");
  const std::string oss = rendered("harmony", {{"system", "Be brief."}, {"user", "1+1?"}});
  CHECK(oss.starts_with("<|start|>system<|message|>"));
  CHECK(
      oss.find("<|start|>developer<|message|># Instructions\n\nBe brief.<|end|><|start|>user<|message|>1+1?<|end|>") !=
      std::string::npos);
  CHECK(oss.ends_with("<|end|><|start|>assistant"));
  for (const ChatFormat& format : chat_formats()) CHECK_FALSE(format.stops.empty());
}

TEST_CASE("thoughts of earlier turns are not repeated", "[chat]") {
  const std::vector<ChatMessage> messages = {
      {"user", "1+1?"}, {"assistant", "<think>\nadd\n</think>\n\n2"}, {"user", "2+2?"}};
  for (const char* name : {"ling2", "qwen3", "deepseek-r1"}) {
    INFO(name);
    const std::string text = rendered(name, messages);
    CHECK(text.find("add") == std::string::npos);
    CHECK(text.find("2") != std::string::npos);
  }
}

TEST_CASE("a template that is none of ours is not guessed", "[chat]") {
  CHECK(recognised_chat_format("") == nullptr);
  CHECK(recognised_chat_format("{{ '[INST]' ~ m.content }}") == nullptr);
  CHECK(recognised_chat_format("<role>{{ m.role }}</role>{{ m.content }}<|role_end|>") == nullptr);
  CHECK(recognised_chat_format("<|im_start|> .. <think>") == nullptr);
  CHECK(recognised_chat_format("{% if enable_thinking %}<|im_start|>")->name == "qwen3");
  CHECK(recognised_chat_format("<|im_start|>")->name == "chatml");
  CHECK(recognised_chat_format("<|start|>assistant<|channel|>")->name == "harmony");
  CHECK(recognised_chat_format("<role>ASSISTANT</role><think>\n")->name == "bailing-think");

  const Folder folder;
  CHECK(chat_template_of(folder.path) == "");
  std::ofstream(folder.path / "tokenizer_config.json") << "{broken";
  CHECK(chat_template_of(folder.path) == "");
  std::ofstream(folder.path / "tokenizer_config.json")
      << R"({"chat_template": [{"name": "tools", "template": "a"}, {"name": "default", "template": "b"}]})";
  CHECK(chat_template_of(folder.path) == "b");
  std::ofstream(folder.path / "chat_template.jinja") << "c";
  CHECK(chat_template_of(folder.path) == "c");
}

TEST_CASE("what a chat format cannot do is said", "[chat]") {
  CHECK_THROWS_WITH(chat_format("llama"), Catch::Contains("no chat format 'llama'") && Catch::Contains("ling2"));
  CHECK_THROWS_WITH(rendered("bailing", question("x"), Thinking::on), Catch::Contains("do not think"));
  CHECK_THROWS_WITH(rendered("deepseek-r1", question("x"), Thinking::off), Catch::Contains("always think"));
  CHECK_THROWS_WITH(rendered("ling2", {{"tool", "x"}}), Catch::Contains("'tool'"));
}
