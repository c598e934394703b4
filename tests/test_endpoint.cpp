// The client against a server that does as it is told: addresses, who is there, whole replies, and everything that can
// go wrong on the way. What events mean: test_completion.cpp.
#include "harness/endpoint.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "harness/failure.h"
#include "harness/measure.h"
#include "tests/catch.h"
#include "tests/checks.h"
#include "tests/fake_server.h"
#include "tests/folder.h"
#include "tests/variable.h"

using namespace ringbench;
using Json = nlohmann::json;

namespace {

EndpointOptions quick() {
  EndpointOptions options;
  options.retries = 2;
  options.longest_wait_s = 0.01;
  return options;
}

ServerEndpoint endpoint_of(const std::string& url, EndpointOptions options = quick()) {
  return ServerEndpoint(parse_endpoint_urls("openai:" + url).front(), options);
}

CompletionRequest token_request() {
  CompletionRequest request;
  request.tokens = {1, 2, 3};
  request.max_tokens = 4;
  return request;
}

CompletionReply reply_from(const FakeServer& server, EndpointOptions options = quick()) {
  ServerEndpoint endpoint = endpoint_of(server.url(), options);
  endpoint.connect();
  return EndpointConnection(endpoint).send(CompletionApi::completions, endpoint.body(token_request()));
}

CompletionReply reply_to(const FakeAnswer& answer, EndpointOptions options = quick()) {
  const FakeServer server([&](const FakeRequest&) { return answer; });
  return reply_from(server, options);
}

template <class Call> std::string failure_of(const Call& call, ExitCode code = ExitCode::environment) {
  try {
    call();
  } catch (const Failure& failure) {
    CHECK(failure.code == code);
    return failure.what() + (failure.hint.empty() ? "" : " (" + failure.hint + ")");
  }
  return "no failure";
}

int closed_port() {  // bound, so that nobody else gets it, but nobody listens
  static const int socket_ = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  bind(socket_, reinterpret_cast<sockaddr*>(&address), size);
  getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

}  // namespace

// --- Addresses ---

TEST_CASE("addresses: with or without port, base and /v1, IPv6, replicas") {
  struct Case {
    const char *engine, *texts;
  };
  const Case cases[] = {
      {"openai:http://127.0.0.1:8000", "http://127.0.0.1:8000"},
      {"openai:http://localhost", "http://localhost:80"},
      {"openai:https://api.example.com/v1", "https://api.example.com:443"},
      {"openai:https://a-b.example/llm/v1/", "https://a-b.example:443/llm"},
      {"openai:http://h:1/v1x", "http://h:1/v1x"},
      {"openai:http://[::1]:30000/v1", "http://[::1]:30000"},
      {"openai:https://[2001:db8::a]", "https://[2001:db8::a]:443"},
      {"openai:http://a:1+https://b:2/x/v1+http://[::1]:3", "http://a:1 https://b:2/x http://[::1]:3"},
  };
  for (const Case& c : cases) {
    std::string texts;
    for (const EndpointUrl& url : parse_endpoint_urls(c.engine)) texts += (texts.empty() ? "" : " ") + url.text();
    CHECK(texts == c.texts);
  }
  CHECK(parse_endpoint_urls("openai:http://[::1]:3").front().host == "::1");
}

TEST_CASE("what is no address is one clear line, exit 2") {
  struct Case {
    const char *url, *why;
  };
  const Case cases[] = {
      {"", "http://"},
      {"localhost:8000", "http://"},
      {"ftp://h", "http://"},
      {"HTTP://h", "http://"},
      {"http://", "no host"},
      {"http://:8000", "no host"},
      {"http:///v1", "no host"},
      {"http://h:", "port"},
      {"http://h:0", "port"},
      {"http://h:65536", "port"},
      {"http://h:80x", "port"},
      {"http://h:-1", "port"},
      {"http://[::1", "not closed"},
      {"http://[::1]8000", "port"},
      {"http://[::g]", "IPv6"},
      {"http://h i", "not a host"},
      {"http://h\nX: y", "not a host"},
      {"http://h/a b", "not a path"},
      {"http://h/?q=1", "not a path"},
      {"http://h/#f", "not a path"},
      {"http://a+", "http://"},
      {"http://a++http://b", "http://"},
  };
  for (const Case& c : cases) {
    INFO(c.url);
    const std::string failure =
        failure_of([&] { parse_endpoint_urls(std::string("openai:") + c.url); }, ExitCode::usage);
    CHECK(contains(failure, c.why));
    CHECK(contains(failure, "(An address is http(s)://HOST[:PORT][/BASE]"));
  }
  const std::string secret = failure_of([] { parse_endpoint_urls("openai:https://me:secret@h"); }, ExitCode::usage);
  CHECK(contains(secret, "RINGBENCH_API_KEY"));
  CHECK(!contains(secret, "secret@"));
}

// --- Who is there ---

TEST_CASE("a server says who it is; of SGLang's settings those that matter are kept, and no key") {
  FakeServer server;
  {
    ServerEndpoint endpoint = endpoint_of(server.url() + "/v1");
    const ServerIdentity& vllm = endpoint.connect();
    CHECK(vllm.text() == "vLLM 0.7.3");
    CHECK(vllm.model == "ring");
    CHECK(vllm.max_model_len == 4096);
    CHECK(vllm.settings == "{}");
  }
  server.set_page("/v1/models", R"({"data":[{"id":"a","owned_by":"sglang"},{"id":"b","owned_by":"sglang"}]})");
  server.set_page("/get_server_info",
                  R"({"version":"0.5.3","tp_size":4,"quantization":null,"api_key":"sk-1","model_path":"/home/me/x",)"
                  R"("disable_radix_cache":true,"internal_states":[{"x":1}]})");
  {
    EndpointOptions options = quick();
    options.model = "b";
    ServerEndpoint endpoint = endpoint_of(server.url(), options);
    const ServerIdentity& sglang = endpoint.connect();
    CHECK(sglang.text() == "SGLang 0.5.3");
    CHECK(sglang.kind == ServerKind::sglang);
    CHECK(sglang.model == "b");
    CHECK(sglang.models == std::vector<std::string>{"a", "b"});
    CHECK(sglang.settings == R"({"tp_size":4,"disable_radix_cache":true})");
  }
  server.set_page("/v1/models", R"({"data":[{"id":"x"}]})");
  ServerEndpoint endpoint = endpoint_of(server.url());
  CHECK(endpoint.connect().text() == "openai");
}

TEST_CASE("nobody there, somebody else there, another model: one line and a hint, exit 3") {
  FakeServer server;
  const auto connect = [&](const std::string& model = "") {
    EndpointOptions options = quick();
    options.model = model;
    return failure_of([&] { endpoint_of(server.url(), options).connect(); });
  };
  CHECK(connect("rong") == server.url() + ": no model 'rong'; it serves ring.");
  server.set_page("/v1/models", R"({"data":[{"id":"a"},{"id":"b"}]})");
  CHECK(connect() == server.url() + ": it serves a, b. (say which with --served-model NAME)");
  server.set_page("/v1/models", R"({"data":[]})");
  CHECK(contains(connect(), "serves no model"));
  server.set_page("/v1/models", "<html>");
  CHECK(contains(connect(), "no list"));
  server.set_page("/v1/models", "");
  CHECK(contains(connect(), "HTTP 404 for /v1/models: Not Found. (is this the address"));

  const std::string nobody = "http://127.0.0.1:" + std::to_string(closed_port());
  CHECK(failure_of([&] { endpoint_of(nobody).connect(); }) ==
        nobody + ": cannot connect. (is the server up, and is this its address?)");
}

TEST_CASE("the key is sent, and is in no message, also where the server repeats it") {
  FakeServer server([](const FakeRequest& request) {
    return fake_plain(400, R"({"error":{"message":"no: )" + request.head.substr(request.head.find("Bearer")) + "\"}}");
  });
  server.require_key("sk-right");
  const auto connect = [&] { return failure_of([&] { endpoint_of(server.url()).connect(); }); };
  CHECK(contains(connect(), "(HTTP 401). (set the key in the environment variable RINGBENCH_API_KEY)"));
  {
    const Variable key("RINGBENCH_API_KEY", "sk-wrong");
    CHECK(contains(connect(), "is the key right"));
    CHECK(!contains(connect(), "sk-"));
  }
  {
    const Variable key("RINGBENCH_API_KEY", "sk-right");
    CHECK(connect() == "no failure");
  }
  const Variable broken("RINGBENCH_API_KEY", "sk\r\nX: y");
  CHECK(!contains(failure_of([&] { endpoint_of(server.url()); }, ExitCode::usage), "sk\r"));
}

TEST_CASE("a key that is refused in the middle is the reply's error, without the key") {
  FakeServer server;
  const Variable key("RINGBENCH_API_KEY", "sk-right");
  ServerEndpoint endpoint = endpoint_of(server.url());
  endpoint.connect();
  EndpointConnection connection(endpoint);
  CHECK(connection.send(CompletionApi::completions, endpoint.body(token_request())).error == "");
  server.require_key("sk-new");
  const CompletionReply reply = connection.send(CompletionApi::completions, endpoint.body(token_request()));
  CHECK(reply.status == 401);
  CHECK(reply.error == "HTTP 401: bad key: ***");
  CHECK(reply.retries.empty());
}

TEST_CASE("a certificate that nobody vouches for is refused in one line, and taken where it is named") {
  const FakeServer server([](const FakeRequest&) { return fake_stream(3); }, true);
  const std::string refusal = failure_of([&] { endpoint_of(server.url()).connect(); });
  INFO(refusal);
  CHECK(contains(refusal, server.url() + ": its certificate is not trusted: self-signed certificate. (for"));
  CHECK(server.received() == 0);

  const Folder folder;
  std::ofstream(folder.path / "own.pem") << server.certificate();
  const Variable trusted("SSL_CERT_FILE", (folder.path / "own.pem").string());
  CHECK(reply_from(server).text() == "t0t1t2");
}

TEST_CASE("TLS asked of a server without it is one line, after the time-out for connections") {
  const FakeServer server;
  const std::string url = "https" + server.url().substr(4);
  EndpointOptions options = quick();
  options.connect_s = 0.2;
  CHECK(contains(failure_of([&] { endpoint_of(url, options).connect(); }), url + ": no TLS connection."));
}

// --- A request that goes well ---

TEST_CASE("the request is what was asked for, and the reply has its tokens, times and counts") {
  std::string path, body;
  const FakeServer server([&](const FakeRequest& request) {
    path = request.path;
    body = request.body;
    FakeAnswer answer;
    answer.pieces = {{0, fake_token("a")},
                     {0, ": ping\n\n"},
                     {0.2, fake_token("b") + kFakeFinish},
                     {0.2, fake_usage(3, 2, 1) + kFakeDone}};
    return answer;
  });
  const CompletionReply reply = reply_from(server);
  CHECK(path == "/v1/completions");
  CHECK(Json::parse(body)["prompt"] == Json::parse("[1,2,3]"));
  CHECK(Json::parse(body)["model"] == "ring");
  CHECK(reply.error == "");
  CHECK(reply.status == 200);
  CHECK(reply.text() == "ab");
  CHECK(reply.finish_reason == "length");
  CHECK(reply.prompt_tokens == 3);
  CHECK(reply.completion_tokens == 2);
  CHECK(reply.cached_tokens == 1);
  CHECK(reply.retries.empty());
  CHECK(reply.ttft_s() < reply.last_token_s());
  CHECK(*reply.last_token_s() >= 0.2);  // no earlier than it was sent
  CHECK(reply.end_s >= *reply.last_token_s());
}

TEST_CASE("chat and SGLang's own API go to their paths, below the base") {
  std::vector<std::string> paths;
  FakeServer server([&](const FakeRequest& request) {
    paths.push_back(request.path);
    return fake_stream(1);
  });
  server.set_page("/llm/v1/models", R"({"data":[{"id":"ring"}]})");
  ServerEndpoint endpoint = endpoint_of(server.url() + "/llm/v1");
  endpoint.connect();
  EndpointConnection connection(endpoint);
  for (const CompletionApi api : {CompletionApi::completions, CompletionApi::chat, CompletionApi::generate})
    connection.send(api, "{}");
  CHECK(paths == std::vector<std::string>{"/llm/v1/completions", "/llm/v1/chat/completions", "/llm/generate"});
}

TEST_CASE("a stream cut into chunks at any byte is the same reply, also within a character") {
  const std::string bytes = "\xEF\xBB\xBF" + fake_token("\xF0\x9F\x98\x80") + fake_token("\xC3\xA4") + kFakeFinish +
                            fake_usage(3, 2) + kFakeDone;
  const FakeServer server([&](const FakeRequest& request) {
    const auto cut = static_cast<size_t>(request.number);
    FakeAnswer answer;
    answer.pieces = {{0, bytes.substr(0, cut)}, {0, bytes.substr(cut)}};
    std::erase_if(answer.pieces, [](const FakePiece& piece) { return piece.bytes.empty(); });
    return answer;
  });
  ServerEndpoint endpoint = endpoint_of(server.url());
  endpoint.connect();
  EndpointConnection connection(endpoint);
  const std::string body = endpoint.body(token_request());
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    const CompletionReply reply = connection.send(CompletionApi::completions, body);
    INFO("cut " << cut << " " << reply.error);
    REQUIRE(reply.error == "");
    REQUIRE(reply.text() == "\xF0\x9F\x98\x80\xC3\xA4");
    REQUIRE(reply.completion_tokens == 2);
  }
  CHECK(server.completed() == static_cast<int64_t>(bytes.size() + 1));
  CHECK(server.connections() == 2);  // one for questions, one for all requests
}

TEST_CASE("mlx-lm's answer, as it was recorded: HTTP/1.0, ended by the end of the connection") {
  FakeAnswer answer;
  answer.raw = true;
  answer.pieces = {{0, read_file(RINGBENCH_SOURCE_DIR "/tests/streams/mlx-lm.http")}};
  const CompletionReply reply = reply_to(answer);
  CHECK(reply.error == "");
  CHECK(reply.text() == "1 + 2 =");
  CHECK(reply.finish_reason == "length");
  CHECK(reply.events.size() == 6);  // comments are none
  CHECK(reply.prompt_tokens == 5);
  CHECK(reply.completion_tokens == 4);
}

TEST_CASE("a slow trickle, byte by byte, is a whole reply") {
  FakeAnswer answer;
  for (const char c : fake_token("a") + kFakeFinish + kFakeDone) answer.pieces.push_back({0, {c}});
  CHECK(reply_to(answer).text() == "a");
}

TEST_CASE("more or fewer tokens than asked for are reported as they came") {
  for (const int64_t tokens : {0, 1, 9}) {
    const CompletionReply reply = reply_to(fake_stream(tokens));
    CHECK(reply.error == "");
    CHECK(reply.completion_tokens == tokens);
    CHECK(reply.ttft_s().has_value() == (tokens > 0));
  }
}

// --- What goes wrong ---

TEST_CASE("an answer that is no whole stream is an error of one line, sent once") {
  struct Case {
    FakeAnswer answer;
    int status;
    std::string error;
  };
  FakeAnswer cut = fake_stream(3), garbage = fake_stream(1), no_end = fake_stream(1), error = fake_stream(1),
             finish_only = fake_stream(1), no_http, nothing;
  cut.pieces.pop_back();
  no_end.pieces.pop_back();
  cut.end = FakeAnswer::End::disconnect;
  garbage.pieces[0].bytes = "data: \x80\x01{\n\n";
  error.pieces[0].bytes = fake_event(R"({"error":{"message":"out of memory","code":500}})");
  finish_only.pieces[1].bytes = kFakeFinish;
  no_http.raw = nothing.raw = true;
  no_http.pieces = {{0, "SSH-2.0-OpenSSH_9.2\r\n\r\n"}};
  const Case cases[] = {
      {cut, 200, "the connection was lost in the middle of the answer"},
      {garbage, 200, "an event is not a JSON object"},
      {no_end, 200, "the stream ended before its end"},
      {error, 200, "the server says: out of memory"},
      {finish_only, 200, ""},
      {fake_plain(200, R"({"choices":[{"text":"all at once"}]})"), 200,
       "the answer is no event stream but application/json"},
      {fake_plain(400, R"({"error":{"message":"prompt too long"}})"), 400, "HTTP 400: prompt too long"},
      {fake_plain(500, "Internal Server Error"), 500, "HTTP 500: Internal Server Error"},
      {fake_plain(404, ""), 404, "HTTP 404: "},
      {no_http, 0, "the connection was closed before an answer"},
      {nothing, 0, "the connection was closed before an answer"},
  };
  for (const Case& c : cases) {
    const FakeServer server([&](const FakeRequest&) { return c.answer; });
    const CompletionReply reply = reply_from(server);
    INFO(reply.error);
    CHECK(reply.error.starts_with(c.error));
    CHECK(reply.error.empty() == c.error.empty());
    CHECK(reply.error.find('\n') == reply.error.npos);
    CHECK(reply.status == c.status);
    CHECK(reply.retries.empty());
    CHECK(!reply.interrupted);
    CHECK(server.received() == 1);
  }
}

TEST_CASE("tokens that came before a stream broke are kept, and it is not sent again") {
  FakeAnswer answer = fake_stream(3);
  answer.pieces.pop_back();
  answer.end = FakeAnswer::End::disconnect;
  const FakeServer server([&](const FakeRequest&) { return answer; });
  const CompletionReply reply = reply_from(server);
  CHECK(reply.text() == "t0t1t2");
  CHECK(reply.error != "");
  CHECK(server.received() == 1);
}

TEST_CASE("busy servers are asked again, as often as allowed, and it is on record") {
  for (const int status : {429, 503}) {
    const FakeServer server([&](const FakeRequest& request) {
      return request.number < 2 ? fake_plain(status, R"({"error":"busy"})", "Retry-After: 0\r\n") : fake_stream(2);
    });
    const CompletionReply reply = reply_from(server);
    CHECK(reply.error == "");
    CHECK(reply.text() == "t0t1");
    REQUIRE(reply.retries.size() == 2);
    CHECK(reply.retries[1].reason == "HTTP " + std::to_string(status) + ": busy");
    CHECK(reply.retries[1].waited_s == 0);
    CHECK(server.received() == 3);
    CHECK(server.completed() == 3);
  }
  const FakeServer by_date([](const FakeRequest& request) {
    return request.number == 0 ? fake_plain(503, "{}", "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n")
                               : fake_stream(2);
  });
  const CompletionReply later = reply_from(by_date);
  REQUIRE(later.retries.size() == 1);
  CHECK(later.retries[0].waited_s == 0);  // it has been
  const FakeServer busy([](const FakeRequest&) { return fake_plain(503, "{}", "Retry-After: 99999\r\n"); });
  const CompletionReply reply = reply_from(busy);
  CHECK(reply.error == "HTTP 503: {}");
  CHECK(reply.retries.size() == 2);
  CHECK(reply.retries[0].waited_s == 0.01);  // longest_wait_s
  CHECK(busy.received() == 3);
}

TEST_CASE("a connection that cannot be made is tried again, and only then") {
  auto server = std::make_unique<FakeServer>();
  ServerEndpoint endpoint = endpoint_of(server->url());
  endpoint.connect();
  server.reset();
  const CompletionReply reply =
      EndpointConnection(endpoint).send(CompletionApi::completions, endpoint.body(token_request()));
  CHECK(reply.error == "cannot connect");
  CHECK(reply.status == 0);
  CHECK(reply.retries.size() == 2);
}

TEST_CASE("a connection that the server closed while it was idle is made anew, without an error") {
  FakeServer server([](const FakeRequest&) {
    FakeAnswer answer = fake_stream(1);
    answer.pieces.push_back({0, ""});  // the last chunk, after which this connection ends
    answer.end = FakeAnswer::End::disconnect;
    return answer;
  });
  ServerEndpoint endpoint = endpoint_of(server.url());
  endpoint.connect();
  EndpointConnection connection(endpoint);
  for (int i = 0; i < 3; ++i) {
    const CompletionReply reply = connection.send(CompletionApi::completions, endpoint.body(token_request()));
    CHECK(reply.retries.empty());
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // until the server has closed it
  }
  CHECK(server.received() == 3);
}

TEST_CASE("a stall and an attempt without end are cut by their time-outs") {
  FakeAnswer answer = fake_stream(2);
  answer.pieces.pop_back();
  answer.end = FakeAnswer::End::stall;
  EndpointOptions options = quick();
  options.stall_s = 0.2;
  const CompletionReply stalled = reply_to(answer, options);
  CHECK(stalled.error == "no byte for 0.2 s");
  CHECK(stalled.text() == "t0t1");

  answer = fake_stream(500, 0, 0.02);
  options.stall_s = 60;
  options.total_s = 0.3;
  const CompletionReply endless = reply_to(answer, options);
  CHECK(endless.error == "not finished after 0.3 s");
  CHECK(endless.ttft_s().has_value());

  answer = {};
  answer.raw = true;  // not even a head
  answer.end = FakeAnswer::End::stall;
  CHECK(reply_to(answer, options).error == "not finished after 0.3 s");
}

TEST_CASE("a signal ends a request that is waiting") {
  const pid_t child = fork();
  if (child == 0) {  // in a process of its own: a signal that came stays
    install_signal_handlers();
    std::atomic<bool> asked = false;
    FakeAnswer answer;
    answer.end = FakeAnswer::End::stall;
    const FakeServer server([&](const FakeRequest&) {
      asked = true;
      return answer;
    });
    const std::jthread signaller([&] {
      while (!asked) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      kill(getpid(), SIGINT);
    });
    const CompletionReply reply = reply_from(server);
    _exit(reply.interrupted && reply.error == "interrupted" && server.received() == 1 ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

// --- Questions ---

TEST_CASE("whether a server takes token ids, or why not") {
  const auto refusal = [](const FakeAnswer& answer) {
    const FakeServer server([&](const FakeRequest&) { return answer; });
    ServerEndpoint endpoint = endpoint_of(server.url());
    endpoint.connect();
    return endpoint.refusal_of_token_ids();
  };
  CHECK(refusal(fake_stream(1)) == "");
  CHECK(refusal(fake_plain(400, R"({"error":{"message":"prompt must be a string"}})")) ==
        "HTTP 400: prompt must be a string");
  CHECK(contains(refusal(fake_plain(422, R"({"detail":[{"type":"string_type"}]})")), "HTTP 422: "));
  FakeAnswer batch = fake_stream(1);
  batch.pieces[1].bytes = kFakeFinish + fake_usage(1, 1) + kFakeDone;
  CHECK(refusal(batch) == "it counts 1 tokens in a prompt of 3");
  CHECK(contains(failure_of([&] { refusal(fake_plain(401, "{}")); }), "HTTP 401"));
}

TEST_CASE("prefix cache counters under the names of each server, over all its engines") {
  FakeServer server;
  ServerEndpoint endpoint = endpoint_of(server.url());
  CHECK(!endpoint.cache_counters());
  const auto counters = [&](const std::string& text) {
    server.set_page("/metrics", text);
    const auto found = endpoint.cache_counters();
    return found ? std::to_string(static_cast<int64_t>(found->queried)) + " " +
                       std::to_string(static_cast<int64_t>(found->hit))
                 : "none";
  };
  CHECK(counters("# HELP vllm:prefix_cache_queries_total x\n# TYPE vllm:prefix_cache_queries_total counter\n"
                 "vllm:prefix_cache_queries_total{engine=\"0\",model_name=\"a} b\"} 1.5e+03\n"
                 "vllm:prefix_cache_queries_total{engine=\"1\"} 500.0\nvllm:prefix_cache_queries_total_created 7\n"
                 "vllm:prefix_cache_hits_total{engine=\"0\"} 16.0\n") == "2000 16");
  CHECK(counters("vllm:gpu_prefix_cache_queries_total{} 30\nvllm:gpu_prefix_cache_hits_total{} 20") == "30 20");
  CHECK(counters("vllm:gpu_prefix_cache_queries 3\nvllm:gpu_prefix_cache_hits 2\n") == "3 2");
  CHECK(counters("sglang:prompt_tokens_total{m=\"x\"} 9.0\nsglang:cached_tokens_total{m=\"x\"} 4.0\n") == "9 4");
  CHECK(counters("vllm:prefix_cache_queries_total 5\n") == "none");
  CHECK(counters("vllm:prefix_cache_queries_total_x 5\nvllm:prefix_cache_hits_total_x 3\n") == "none");
  CHECK(counters("nonsense\n{}\n \n") == "none");
}

TEST_CASE("the cache is emptied by the call that the server has, if it has one") {
  std::vector<std::string> paths;
  int status = 200;
  FakeServer server([&](const FakeRequest& request) {
    paths.push_back(request.path);
    return fake_plain(status, "");
  });
  ServerEndpoint endpoint = endpoint_of(server.url());
  endpoint.connect();
  CHECK(endpoint.reset_cache());
  status = 404;
  CHECK(!endpoint.reset_cache());
  server.set_page("/v1/models", R"({"data":[{"id":"ring","owned_by":"sglang"}]})");
  endpoint.connect();
  endpoint.reset_cache();
  server.set_page("/v1/models", R"({"data":[{"id":"ring"}]})");
  endpoint.connect();
  CHECK(!endpoint.reset_cache());
  CHECK(paths == std::vector<std::string>{"/reset_prefix_cache", "/reset_prefix_cache", "/flush_cache"});
}

TEST_CASE("a server is ready when it lists its models or says that it is well") {
  FakeServer server;
  ServerEndpoint endpoint = endpoint_of(server.url());
  CHECK(endpoint.is_ready());
  server.set_page("/v1/models", "");
  CHECK(!endpoint.is_ready());
  server.set_page("/health", "ok");
  CHECK(endpoint.is_ready());
}
