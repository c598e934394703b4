// sse.h: server-sent events out of bytes that arrive in any pieces, by the WHATWG standard (HTML, section 9.2.6
// "Interpreting an event stream"). Not what is in an event (completion.h), and no network (endpoint.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace ringbench {

struct SseEvent {
  std::string type = "message";
  std::string data;  // its lines joined by a line feed
  std::string id;    // the last one that was set, also by an earlier event
};

// A line or an event beyond the limit.
struct SseError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class SseParser {
 public:
  // `limit`, in bytes, of a line and of an event's data: what a server can make us hold.
  explicit SseParser(size_t limit = size_t{64} << 20) : limit_(limit) {}

  // Calls `handle` for each event that these bytes complete. What is not ended by an empty line is no event.
  void feed(std::string_view bytes, const std::function<void(const SseEvent&)>& handle);

  // How long the server asks to wait before one connects again; the last "retry" field.
  std::optional<int64_t> retry_ms() const { return retry_ms_; }

 private:
  void end_line(const std::function<void(const SseEvent&)>& handle);
  void take_field(std::string_view name, std::string_view value);
  void append(std::string& text, std::string_view more) const;

  size_t limit_;
  std::string line_;  // the part of the present line that came
  SseEvent event_;
  bool has_data_ = false;
  bool first_line_ = true;  // may begin with a byte order mark
  bool after_cr_ = false;   // a line feed that comes now belongs to it
  std::optional<int64_t> retry_ms_;
};

}  // namespace ringbench
