// chat_format.h: how a question is put to a model: the texts around turns, by family. Written from the families'
// published templates; the texts of a checkpoint's own template tell which family it is of. Not tools, not pictures.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ringbench {

struct ChatMessage {
  std::string role;  // system, user, assistant
  std::string content;
};

// model: as the format does where nobody asks.
enum class Thinking { model, on, off };

struct ChatFormat {
  std::string name, about;
  std::vector<std::string> stops;               // texts of the tokens that end the model's turn
  bool can_think = false, can_refrain = false;  // whether Thinking::on and off are possible
};

// In the order in which they are described to users.
std::span<const ChatFormat> chat_formats();
// Throws std::invalid_argument naming those that there are.
const ChatFormat& chat_format(std::string_view name);

// The format of a chat template (Jinja), by the marks that it writes; null if it is none of ours. Nothing is executed.
const ChatFormat* recognised_chat_format(std::string_view chat_template);
// The template of a checkpoint's folder: chat_template.jinja, or the key of tokenizer_config.json; empty if there is
// none.
std::string chat_template_of(const std::filesystem::path& checkpoint);

// The turns, and the beginning of the model's next one. Throws std::invalid_argument for a role that is none, or where
// the format cannot switch thinking that way.
std::string render_chat(const ChatFormat& format, std::span<const ChatMessage> messages,
                        Thinking thinking = Thinking::model);

}  // namespace ringbench
