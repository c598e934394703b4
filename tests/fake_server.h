// fake_server.h: an HTTP server in this process, on 127.0.0.1 at a port that the system chooses, which answers every
// request by a script: what bytes, when, and how it ends. It counts, so that a test sees what was lost or sent twice.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ringbench {

struct FakeRequest {
  std::string path, head, body;
  int64_t number = 0;      // of POSTs, from 0
  int64_t connection = 0;  // from 0
};

// Bytes of a body, sent as one chunk at this time since the request was read.
struct FakePiece {
  double at_s = 0;
  std::string bytes;
};

struct FakeAnswer {
  int status = 200;
  std::string content_type = "text/event-stream; charset=utf-8";
  std::string headers;  // further ones: "Retry-After: 1\r\n"
  std::vector<FakePiece> pieces;
  enum class End { whole, disconnect, stall } end = End::whole;
  bool raw = false;  // the pieces are all that is sent: no head, no chunks
};

// --- Answers in the servers' words ---

std::string fake_event(const std::string& data);  // "data: ...\n\n"
std::string fake_token(const std::string& text);  // an event of /v1/completions, "text" as in JSON
std::string fake_usage(int64_t prompt, int64_t completion, int64_t cached = 0);
extern const std::string kFakeFinish, kFakeDone;
extern const std::string kFakeNow;  // in a piece: becomes the time at which it is sent, in ns of the monotonic clock

// A whole answer: `tokens` events, the first after first_s, the others each_s apart.
FakeAnswer fake_stream(int64_t tokens, double first_s = 0, double each_s = 0);
FakeAnswer fake_plain(int status, const std::string& body, const std::string& headers = "");

// --- The server ---

class FakeServer {
 public:
  using Script = std::function<FakeAnswer(const FakeRequest&)>;

  explicit FakeServer(
      Script script = [](const FakeRequest&) { return fake_stream(4); }, bool tls = false);
  ~FakeServer();
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  std::string url() const;          // "http://127.0.0.1:PORT"
  std::string certificate() const;  // of TLS, PEM; self-signed, made anew, for 127.0.0.1

  void set_page(const std::string& path, const std::string& body);  // for GET; "" removes it
  void require_key(const std::string& key);                         // 401 without it

  int64_t received() const;   // POSTs
  int64_t completed() const;  // of them, those whose answer was sent to its end
  int64_t connections() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringbench
