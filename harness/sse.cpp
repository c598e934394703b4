#include "harness/sse.h"

#include <charconv>

namespace ringbench {

void SseParser::feed(std::string_view bytes, const std::function<void(const SseEvent&)>& handle) {
  while (!bytes.empty()) {
    if (after_cr_ && bytes.front() == '\n') bytes.remove_prefix(1);
    after_cr_ = false;
    const size_t end = bytes.find_first_of("\r\n");
    append(line_, bytes.substr(0, end));
    if (end == bytes.npos) return;
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    end_line(handle);
  }
}

void SseParser::end_line(const std::function<void(const SseEvent&)>& handle) {
  std::string_view line = line_;
  if (first_line_ && line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
  first_line_ = false;
  if (line.empty()) {
    if (has_data_) handle(event_);
    event_ = {"message", "", std::move(event_.id)};
    has_data_ = false;
  } else if (const size_t colon = line.find(':'); colon == line.npos) {
    take_field(line, "");
  } else if (colon > 0) {  // at 0: a comment
    std::string_view value = line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    take_field(line.substr(0, colon), value);
  }
  line_.clear();
}

void SseParser::take_field(std::string_view name, std::string_view value) {
  if (name == "data") {
    if (has_data_) append(event_.data, "\n");
    append(event_.data, value);
    has_data_ = true;
  } else if (name == "event") {
    event_.type = value.empty() ? "message" : value;
  } else if (name == "id" && value.find('\0') == value.npos) {
    event_.id = value;
  } else if (name == "retry" && !value.empty() && value.find_first_not_of("0123456789") == value.npos) {
    int64_t milliseconds = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), milliseconds);
    if (error == std::errc()) retry_ms_ = milliseconds;
  }
}

void SseParser::append(std::string& text, std::string_view more) const {
  if (more.size() > limit_ - text.size())
    throw SseError("a line or an event above " + std::to_string(limit_) + " bytes");
  text += more;
}

}  // namespace ringbench
