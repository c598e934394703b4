// Requests as JSON and replies out of events, without a network: the shapes that vLLM, SGLang, llama.cpp and mlx-lm
// send, and what they should not.
#include "harness/completion.h"

#include <nlohmann/json.hpp>

#include "tests/catch.h"

using namespace ringbench;
using OrderedJson = nlohmann::ordered_json;

namespace {

// The reply that these events make, 1 s apart from 1 s on.
CompletionReply reply_of(const std::vector<std::string>& events, CompletionApi api = CompletionApi::completions,
                         ServerKind kind = ServerKind::vllm) {
  CompletionReply reply;
  CompletionStream stream(api, kind, reply);
  double at_s = 0;
  for (const std::string& data : events) {
    SseEvent event;
    event.data = data;
    stream.take(event, at_s += 1);
  }
  stream.end();
  return reply;
}

std::string token(const std::string& text, const std::string& rest = "") {
  return R"({"choices":[{"index":0,"text":")" + text + R"(","finish_reason":null)" + rest + "}]}";
}

std::string delta(const std::string& fields) {
  return R"({"choices":[{"index":0,"delta":{)" + fields + R"(},"finish_reason":null}]})";
}

const std::string kFinish = R"({"choices":[{"index":0,"text":"","finish_reason":"length"}]})";

OrderedJson body_of(const CompletionRequest& request, ServerKind kind) {
  return OrderedJson::parse(completion_body(request, "ring", kind));
}

}  // namespace

TEST_CASE("a reply of the completions API: text, times, counts and why it ended") {
  const CompletionReply reply = reply_of(
      {token("Hel"), token("lo"), kFinish,
       R"({"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}})",
       "[DONE]"});
  CHECK(reply.error == "");
  CHECK(reply.text() == "Hello");
  CHECK(reply.finish_reason == "length");
  CHECK(reply.first_event_s() == 1);
  CHECK(reply.ttft_s() == 1);
  CHECK(reply.last_token_s() == 2);
  CHECK(reply.end_s == 5);
  CHECK(reply.prompt_tokens == 7);
  CHECK(reply.completion_tokens == 2);
  CHECK(reply.cached_tokens == 4);
}

TEST_CASE("the first token may be one of the reasoning; the event that opens the turn is none") {
  for (const std::string word : {"reasoning_content", "reasoning"}) {
    const CompletionReply reply = reply_of({delta(R"("role":"assistant","content":"")"),
                                            delta("\"" + word + "\":\"hm\""), delta(R"("content":"42")"), kFinish},
                                           CompletionApi::chat);
    CHECK(reply.error == "");
    CHECK(reply.first_event_s() == 1);
    CHECK(reply.ttft_s() == 2);
    CHECK(reply.reasoning() == "hm");
    CHECK(reply.text() == "42");
  }
}

TEST_CASE("a token without a text counts where the server counts, and only there") {
  const auto counted = [](const std::string& text, int tokens) {
    return R"({"choices":[{"index":0,"text":")" + text + R"("}],"usage":{"prompt_tokens":3,"completion_tokens":)" +
           std::to_string(tokens) + "}}";
  };
  const CompletionReply reply = reply_of({counted("", 0), counted("", 1), counted("ab", 3), counted("", 3), kFinish});
  CHECK(reply.first_event_s() == 1);
  CHECK(reply.ttft_s() == 2);
  CHECK(reply.last_token_s() == 3);
  CHECK(reply.events[2].tokens_so_far == 3);
  CHECK(reply.completion_tokens == 3);
  CHECK(!reply_of({token(""), kFinish}).ttft_s());
  CHECK(!reply_of({token(""), counted("", 1)}, CompletionApi::completions, ServerKind::openai).ttft_s());
}

TEST_CASE("logprobs and token ids in the words of each server") {
  const CompletionReply vllm = reply_of(
      {token("a", R"(,"logprobs":{"tokens":["token_id:5"],"token_logprobs":[-0.5],"top_logprobs":[{"token_id:5":-0.5,)"
                  R"("token_id:9":-1.5}]},"token_ids":[5])"),
       token("b", R"(,"logprobs":{"tokens":[7],"token_logprobs":[-0.25],"top_logprobs":null})"), kFinish});
  REQUIRE(vllm.events[0].logprobs.size() == 1);
  CHECK(vllm.events[0].logprobs[0].id == 5);
  CHECK(vllm.events[0].logprobs[0].logprob == -0.5);
  CHECK(vllm.events[0].logprobs[0].likeliest ==
        std::vector<std::pair<std::string, double>>{{"token_id:5", -0.5}, {"token_id:9", -1.5}});
  CHECK(vllm.events[0].token_ids == std::vector<int32_t>{5});
  CHECK(vllm.events[1].logprobs[0].id == 7);

  const CompletionReply chat = reply_of(
      {R"({"choices":[{"delta":{"content":"x"},"logprobs":{"content":[{"token":"x","logprob":-2,"top_logprobs":)"
       R"([{"token":"y","logprob":-1}]}]}}]})",
       kFinish},
      CompletionApi::chat);
  REQUIRE(chat.events[0].logprobs.size() == 1);
  CHECK(chat.events[0].logprobs[0].token == "x");
  CHECK(!chat.events[0].logprobs[0].id);
  CHECK(chat.events[0].logprobs[0].likeliest.front().first == "y");
}

TEST_CASE("SGLang's own API sends all so far, or, started so, what is new: the events hold what is new") {
  const auto event = [](const std::string& text, const std::string& ids, int tokens, const std::string& logprobs,
                        const std::string& reason) {
    return R"({"text":")" + text + R"(","output_ids":)" + ids +
           R"(,"meta_info":{"prompt_tokens":3,"cached_tokens":1,)" + R"("completion_tokens":)" +
           std::to_string(tokens) + R"(,"output_token_logprobs":)" + logprobs + R"(,"finish_reason":)" + reason + "}}";
  };
  const auto check = [](const CompletionReply& reply) {
    CHECK(reply.error == "");
    CHECK(reply.text() == "abc");
    CHECK(reply.finish_reason == "length");
    CHECK(reply.cached_tokens == 1);
    CHECK(reply.completion_tokens == 3);
    REQUIRE(reply.events.size() == 2);
    CHECK(reply.events[0].token_ids == std::vector<int32_t>{4});
    CHECK(reply.events[1].token_ids == std::vector<int32_t>{5, 6});
    REQUIRE(reply.events[1].logprobs.size() == 2);
    CHECK(reply.events[1].logprobs[1].logprob == -3);
    CHECK(reply.events[1].logprobs[1].id == 6);
  };
  const std::string first = event("a", "[4]", 1, "[[-1,4,null]]", "null"), length = R"({"type":"length","length":3})";
  check(reply_of({first, event("abc", "[4,5,6]", 3, "[[-1,4,null],[-2,5,null],[-3,6,\"c\"]]", length), "[DONE]"},
                 CompletionApi::generate));
  check(reply_of({first, event("bc", "[5,6]", 3, "[[-2,5,null],[-3,6,null]]", length), "[DONE]"},
                 CompletionApi::generate));
  CHECK(reply_of({event("", "[]", 0, "[]", R"({"type":"abort","message":"out of memory"})")}, CompletionApi::generate)
            .error == "the server says: out of memory");
}

TEST_CASE("what a stream should not hold is the reply's error, the first of them") {
  struct Case {
    std::vector<std::string> events;
    std::string error;
  };
  const Case cases[] = {
      {{}, "the stream ended before its end"},
      {{token("a")}, "the stream ended before its end"},
      {{token("a"), "{\"choices\":[{", kFinish}, "an event is not a JSON object: {\"choices\":[{"},
      {{"[1]", "[DONE]"}, "an event is not a JSON object: [1]"},
      {{token("a"), R"({"error":{"message":"CUDA\nout of memory","code":500}})"},
       "the server says: CUDA out of memory"},
      {{R"({"error":"busy"})", "nonsense"}, "the server says: busy"},
      {{R"({"error":{"code":7}})"}, "the server says: {\"code\":7}"},
      {{R"({"object":"error","message":"no"})"}, "the server says: no"},
  };
  for (const Case& c : cases) CHECK(reply_of(c.events).error == c.error);
}

TEST_CASE("members of another type than expected read as if they were not there") {
  for (const std::string data :
       {R"({})", R"({"choices":7,"usage":"x"})", R"({"choices":[null]})", R"({"choices":[{"text":7,"delta":"x"}]})",
        R"({"choices":[{"logprobs":{"tokens":"ab","token_logprobs":{},"content":3},"token_ids":{"a":1}}]})",
        R"({"choices":[{"logprobs":{"tokens":[null,1],"token_logprobs":["x"]},"token_ids":[-1,1e300,"a"]}]})",
        R"({"usage":{"prompt_tokens":-1.5,"completion_tokens":null,"prompt_tokens_details":[]}})"})
    for (const CompletionApi api : {CompletionApi::completions, CompletionApi::chat, CompletionApi::generate}) {
      INFO(data);
      const CompletionReply reply = reply_of({data, "[DONE]"}, api);
      CHECK(reply.error == "");
      CHECK(!reply.ttft_s());
      CHECK(!reply.prompt_tokens);
    }
}

TEST_CASE("a request says every sampling parameter that the server knows") {
  CompletionRequest request;
  request.tokens = {1, 2};
  request.max_tokens = 5;
  request.fixed_length = true;
  request.sampling.temperature = 0;
  request.seed = 7;
  request.stop = {"\n"};
  const OrderedJson vllm = body_of(request, ServerKind::vllm);
  CHECK(vllm == OrderedJson::parse(R"({"model":"ring","prompt":[1,2],"max_tokens":5,"min_tokens":5,"ignore_eos":true,
      "temperature":0.0,"top_p":1.0,"top_k":-1,"min_p":0.0,"repetition_penalty":1.0,"seed":7,"stop":["\n"],
      "stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}})"));
  CHECK(body_of(request, ServerKind::sglang) == vllm);

  request.fixed_length = false;
  const OrderedJson other = body_of(request, ServerKind::openai);
  for (const char* key : {"top_k", "min_p", "repetition_penalty", "min_tokens", "ignore_eos"})
    CHECK(!other.contains(key));
  request.sampling.top_k = 20;
  CHECK(body_of(request, ServerKind::openai)["top_k"] == 20);
}

TEST_CASE("a request as text, as chat, with logprobs, and in SGLang's own words") {
  CompletionRequest request;
  request.text = "a\xFF";  // no UTF-8
  request.logprobs = 3;
  OrderedJson body = body_of(request, ServerKind::vllm);
  CHECK(body["prompt"] == "a\xEF\xBF\xBD");
  CHECK(body["logprobs"] == 3);
  CHECK(body["return_tokens_as_token_ids"] == true);

  request.api = CompletionApi::chat;
  request.messages = {{"system", "be brief"}, {"user", "hi"}};
  body = body_of(request, ServerKind::openai);
  CHECK(body["messages"] ==
        OrderedJson::parse(R"([{"role":"system","content":"be brief"},{"role":"user","content":"hi"}])"));
  CHECK(body["logprobs"] == true);
  CHECK(body["top_logprobs"] == 3);

  request.api = CompletionApi::generate;
  request.tokens = {8, 9};
  request.fixed_length = true;
  body = body_of(request, ServerKind::sglang);
  CHECK(body ==
        OrderedJson::parse(R"({"input_ids":[8,9],"sampling_params":{"max_new_tokens":16,"temperature":1.0,"top_p":1.0,
      "top_k":-1,"min_p":0.0,"repetition_penalty":1.0,"min_new_tokens":16,"ignore_eos":true},"stream":true,
      "return_logprob":true,"top_logprobs_num":3})"));
}

TEST_CASE("an error is one line of at most 300 bytes, of whole characters") {
  CHECK(one_line("  a\r\n\tb \x01 c\n") == "a b c");
  CHECK(one_line("") == "");
  std::string long_text = "x";
  for (int i = 0; i < 200; ++i) long_text += "\xC3\xA4";
  const std::string line = one_line(long_text);
  CHECK(line.size() <= 300);
  CHECK(line == long_text.substr(0, 297) + "...");
  CHECK(one_line(long_text.substr(1)) == long_text.substr(1, 296) + "...");
  CHECK(error_message(R"({"error":{"message":"too long","type":"x"}})") == "too long");
  CHECK(error_message(R"({"detail":"Not Found"})") == "Not Found");
  CHECK(error_message("<h1>Bad\nGateway \xFF</h1>") == "<h1>Bad Gateway ?</h1>");
}
