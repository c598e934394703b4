// completion.h: one generation asked of an OpenAI-compatible server: the request as JSON, and the reply out of the
// events of its stream, each with its time. Not how bytes travel (endpoint.h).
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "evals/chat_format.h"
#include "evals/sampling.h"
#include "harness/sse.h"

namespace ringbench {

// What a server understands beyond OpenAI's own keys.
enum class ServerKind { openai, vllm, sglang };

enum class CompletionApi {
  completions,  // POST /v1/completions
  chat,         // POST /v1/chat/completions
  generate,     // POST /generate, SGLang's own
};

struct CompletionRequest {
  CompletionApi api = CompletionApi::completions;
  std::vector<int32_t> tokens;        // the prompt: these, unless empty;
  std::string text;                   // else this;
  std::vector<ChatMessage> messages;  // of api chat, this
  int64_t max_tokens = 16;
  bool fixed_length = false;  // generate max_tokens whatever comes: min_tokens and ignore_eos
  Sampling sampling;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  std::optional<int> logprobs;  // of the token drawn, and of so many likeliest beside it
  bool logprobs_flag = false;   // "logprobs": true in place of a number, as mlx-lm has it: of the token drawn alone
  bool stream = true;           // false: one answer when all is there
};

// The path below the server's base address, and the body. Every sampling parameter that `kind` knows is in it: left
// out, vLLM and SGLang would take the checkpoint's generation_config.json.
std::string completion_path(CompletionApi api);
std::string completion_body(const CompletionRequest& request, const std::string& model, ServerKind kind);

struct TokenLogprob {
  std::string token;          // as the server writes it
  std::optional<int32_t> id;  // where it says so
  double logprob = 0;
  std::vector<std::pair<std::string, double>> likeliest;
};

// One event of a stream. Servers may put several tokens into one, and may send some without any.
struct CompletionEvent {
  double at_s = 0;  // since the request was sent
  std::string text, reasoning;
  std::vector<TokenLogprob> logprobs;
  std::vector<int32_t> token_ids;        // where the server gives them
  std::optional<int64_t> tokens_so_far;  // generated up to here, where it counts them
  bool carries_token = false;            // of the answer or of the reasoning
};

struct CompletionReply {
  std::string error;         // one line; empty: the stream came to its end
  bool interrupted = false;  // by a signal to us; then there is an error too
  int status = 0;            // of HTTP; 0: no answer
  double sent_s = 0;         // on the monotonic clock, when the attempt that is told of here was sent
  double end_s = 0;          // of the stream, since sent
  std::vector<CompletionEvent> events;
  std::optional<int64_t> prompt_tokens, completion_tokens, cached_tokens;  // by the server's count
  std::string finish_reason;

  struct Retry {
    std::string reason;
    double waited_s = 0;
  };
  std::vector<Retry> retries;  // attempts before this one

  std::optional<double> first_event_s() const;  // of any kind
  std::optional<double> ttft_s() const;         // of the first event with a token, reasoning included
  std::optional<double> last_token_s() const;   // of the last event with a token
  std::string text() const;
  std::string reasoning() const;
};

// The reply, event by event; an answer that is no stream is one of them. What a server may send and should not becomes
// the reply's error; nothing throws.
class CompletionStream {
 public:
  CompletionStream(CompletionApi api, ServerKind kind, CompletionReply& reply)
      : api_(api), counts_(kind != ServerKind::openai), reply_(reply) {}

  void take(const SseEvent& event, double at_s);
  // After the last byte: a stream that said neither how it finished nor [DONE] was cut.
  void end();

 private:
  void take_generated(CompletionEvent& event, const nlohmann::ordered_json& json);
  void fail(const std::string& what);

  CompletionApi api_;
  bool counts_;  // every event tells how many tokens there are, not the last alone
  CompletionReply& reply_;
  bool done_ = false;
  int64_t tokens_so_far_ = 0;
  std::string text_so_far_;  // of api generate
};

// What a body that is no stream says went wrong: the message of its error object, or its beginning, in one line of at
// most 300 bytes.
std::string error_message(std::string_view body);
std::string one_line(std::string_view text);

}  // namespace ringbench
