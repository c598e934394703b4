#include "harness/client_overhead.h"

#include <cmath>

#include "harness/failure.h"
#include "harness/result.h"
#include "harness/words.h"

namespace ringbench {

namespace {

constexpr double kMostShare = 0.05;    // of a first token
constexpr double kMostCapacity = 0.5;  // of what the client takes at least

}  // namespace

std::vector<std::string> warnings_of(const ClientOverhead& client, double ttft_s, double tok_s) {
  std::vector<std::string> warnings;
  if (client.ttft_s > kMostShare * ttft_s)
    warnings.push_back("W-CLIENT: up to " + seconds_text(client.ttft_s) + " of a first token's " +
                       seconds_text(ttft_s) + " are the client's own.");
  if (tok_s > kMostCapacity * client.tok_s)
    warnings.push_back("W-CLIENT: " + grouped(std::llround(tok_s)) +
                       " tokens/s came, and the client is only known to take " + grouped(std::llround(client.tok_s)) +
                       ": it may have been what limits them.");
  return warnings;
}

}  // namespace ringbench

#if !defined(RINGBENCH_HAVE_ENDPOINTS)

namespace ringbench {

// As in endpoint.cpp: nobody asks in such a build.
ClientOverhead measure_client_overhead(int) { return {}; }

}  // namespace ringbench

#else

#include <httplib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "harness/endpoint_load.h"
#include "harness/wait.h"
#include "harness/workload.h"

namespace ringbench {
namespace {

constexpr int64_t kPacedTokens = 10, kFastTokens = 20000, kPromptTokens = 64;
constexpr auto kPace = std::chrono::milliseconds(5);

std::string event(const std::string& data) { return "data: " + data + "\n\n"; }

std::string token_event(const std::string& text) {
  return event(R"({"object":"text_completion","choices":[{"index":0,"text":")" + text + R"(","finish_reason":null}]})");
}

// Answers every request with a stream of tokens, each of which is the time at which it was sent.
class EchoServer {
 public:
  EchoServer(int streams, int64_t tokens, std::chrono::milliseconds pace) {
    server_.new_task_queue = [streams] { return new httplib::ThreadPool(static_cast<size_t>(streams) + 1); };
    server_.set_keep_alive_max_count(1 << 20);
    server_.set_tcp_nodelay(true);
    server_.Get("/v1/models", [](const httplib::Request&, httplib::Response& response) {
      response.set_content(R"({"data":[{"id":"echo"}]})", "application/json");
    });
    server_.Post("/v1/completions", [=](const httplib::Request&, httplib::Response& response) {
      response.set_chunked_content_provider("text/event-stream", [=](size_t, httplib::DataSink& sink) {
        for (int64_t i = 0; i < tokens; ++i) {
          if (i > 0 && pace.count() > 0) std::this_thread::sleep_for(pace);
          char now[32];
          std::snprintf(now, sizeof now, "%.9f", now_s());
          const std::string bytes = token_event(now);
          if (!sink.write(bytes.data(), bytes.size())) return false;
        }
        const std::string end = event("[DONE]");
        sink.write(end.data(), end.size());
        sink.done();
        return true;
      });
    });
    port_ = server_.bind_to_any_port("127.0.0.1");
    if (port_ <= 0)
      throw Failure(ExitCode::environment, "the client's own overhead: no server can be made on 127.0.0.1.");
    thread_ = std::jthread([this] {
      server_.listen_after_bind();
      ended_ = true;
    });
  }
  ~EchoServer() {
    while (!server_.is_running() && !ended_) std::this_thread::yield();  // stop() before that would be lost
    server_.stop();
  }
  EchoServer(const EchoServer&) = delete;
  EchoServer& operator=(const EchoServer&) = delete;

  std::string engine() const { return "openai:http://127.0.0.1:" + std::to_string(port_); }

 private:
  httplib::Server server_;
  int port_ = 0;
  std::atomic<bool> ended_ = false;
  std::jthread thread_;  // last: it uses the server
};

// Each stream once, all begun together.
std::vector<LoadedReply> replies_of_echo(int streams, int64_t tokens, std::chrono::milliseconds pace) {
  const EchoServer server(streams, tokens, pace);
  std::vector<std::unique_ptr<ServerEndpoint>> replicas;
  replicas.push_back(std::make_unique<ServerEndpoint>(parse_endpoint_urls(server.engine()).front(), EndpointOptions()));
  replicas.front()->connect();
  CompletionRequest request;
  request.tokens.assign(kPromptTokens, 1);
  request.max_tokens = tokens;
  EndpointLoad load;
  load.kind = EndpointLoad::Kind::batch;
  load.streams = streams;
  std::vector<LoadedReply> replies = collect_load(replicas, load, streams, [&](int64_t) { return request; });
  if (std::ssize(replies) < streams) throw Interrupted();
  for (const LoadedReply& loaded : replies)
    if (!loaded.reply.error.empty())
      throw Failure(ExitCode::environment, "the client's own overhead: " + loaded.reply.error + ".");
  return replies;
}

}  // namespace

ClientOverhead measure_client_overhead(int streams) {
  std::vector<double> first, later;
  for (const LoadedReply& loaded : replies_of_echo(streams, kPacedTokens, kPace)) {
    const CompletionReply& reply = loaded.reply;
    first.push_back(*reply.ttft_s());
    for (const CompletionEvent& token : reply.events)
      if (token.carries_token && token.at_s > *reply.ttft_s())
        later.push_back(reply.sent_s + token.at_s - std::strtod(token.text.c_str(), nullptr));
  }
  const int64_t each = std::max<int64_t>(2, kFastTokens / streams);
  double begin_s = std::numeric_limits<double>::infinity(), end_s = 0;
  for (const LoadedReply& loaded : replies_of_echo(streams, each, {})) {
    begin_s = std::min(begin_s, loaded.reply.sent_s);
    end_s = std::max(end_s, loaded.finished_s);
  }
  return {median(first), median(later), static_cast<double>(each * streams) / (end_s - begin_s)};
}

}  // namespace ringbench

#endif
