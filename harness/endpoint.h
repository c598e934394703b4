// endpoint.h: a server that speaks OpenAI's HTTP API (vLLM, SGLang, llama.cpp, mlx-lm): who it is, what its prefix
// cache did, and one streamed request at a time on a connection that is kept. Not how many at once (endpoint_load.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "harness/completion.h"
#include "harness/endpoint_url.h"

namespace ringbench {

struct EndpointOptions {
  std::string model;           // empty: the only one that is served
  double connect_s = 10;       // at most, for a connection
  double stall_s = 600;        // at most, without a byte: a long prompt sends none until it is read
  double total_s = 7200;       // at most, for an attempt
  int retries = 4;             // of a request that was not begun: no connection, 429, 503
  double longest_wait_s = 30;  // before a retry, whatever Retry-After says
};

struct ServerIdentity {
  ServerKind kind = ServerKind::openai;
  std::string name;     // "vLLM", "SGLang", or what the server calls itself
  std::string version;  // empty: it does not say
  std::string model;    // the one that requests are for
  std::vector<std::string> models;
  std::optional<int64_t> max_model_len;
  std::string settings = "{}";  // a JSON object: those of its settings that matter to a measurement

  std::string text() const { return version.empty() ? name : name + " " + version; }
};

// In tokens, since the server started.
struct CacheCounters {
  double queried = 0, hit = 0;
};

// For one thread, but for body() and the connections.
class ServerEndpoint {
 public:
  // No network yet. The key is that of the environment variable RINGBENCH_API_KEY, if it is set. Throws UsageError for
  // a key that cannot be sent, Failure in a build without the libraries.
  ServerEndpoint(EndpointUrl url, EndpointOptions options);
  ~ServerEndpoint();
  ServerEndpoint(const ServerEndpoint&) = delete;
  ServerEndpoint& operator=(const ServerEndpoint&) = delete;

  const EndpointUrl& url() const;

  // Asks who is there. Throws Failure if nobody is, if it does not let us in, or if it does not serve the model.
  const ServerIdentity& connect();
  bool is_ready();  // answers /v1/models or /health; for a server that is starting

  // After connect(). The body of a request, made before its time is measured.
  std::string body(const CompletionRequest& request) const;
  // Why prompts of token ids are not possible with this API; empty: they are. Asks for one token.
  std::string refusal_of_token_ids(CompletionApi api = CompletionApi::completions);

  // Empty where the server does not count, or does not let it be read.
  std::optional<CacheCounters> cache_counters();
  // False where there is no such call; vLLM has it with VLLM_SERVER_DEV_MODE=1.
  bool reset_cache();

 private:
  friend class EndpointConnection;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// One connection, for one thread. The endpoint must outlive it.
class EndpointConnection {
 public:
  explicit EndpointConnection(ServerEndpoint& endpoint);
  ~EndpointConnection();
  EndpointConnection(EndpointConnection&&) noexcept;
  EndpointConnection& operator=(EndpointConnection&&) = delete;

  // Before the first request, so that its time is not that of TCP and TLS too. A failure shows in send().
  void open();

  // Blocks until the reply is there, in whatever state, or until interrupted(). A request of which a byte of an answer
  // came, other than 429 or 503, is not sent again. `stream`: as the body says.
  CompletionReply send(CompletionApi api, const std::string& body, bool stream = true);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringbench
