#include "harness/endpoint.h"

#include "harness/failure.h"

#if !defined(RINGBENCH_HAVE_ENDPOINTS)

namespace ringbench {

struct ServerEndpoint::Impl {};
struct EndpointConnection::Impl {};

// Nobody has a ServerEndpoint in such a build, so the rest is never called.
ServerEndpoint::ServerEndpoint(EndpointUrl, EndpointOptions) {
  throw Failure(ExitCode::environment, "this build has no HTTP client: its libraries were not there.",
                "install libcpp-httplib-dev and libssl-dev and build again");
}
ServerEndpoint::~ServerEndpoint() = default;
const EndpointUrl& ServerEndpoint::url() const { std::abort(); }
const ServerIdentity& ServerEndpoint::connect() { std::abort(); }
bool ServerEndpoint::is_ready() { return false; }
std::string ServerEndpoint::body(const CompletionRequest&) const { return ""; }
std::string ServerEndpoint::refusal_of_token_ids(CompletionApi) { return ""; }
std::optional<CacheCounters> ServerEndpoint::cache_counters() { return {}; }
bool ServerEndpoint::reset_cache() { return false; }

EndpointConnection::EndpointConnection(ServerEndpoint&) {}
EndpointConnection::~EndpointConnection() = default;
EndpointConnection::EndpointConnection(EndpointConnection&&) noexcept = default;
void EndpointConnection::open() {}
CompletionReply EndpointConnection::send(CompletionApi, const std::string&, bool) { return {}; }

}  // namespace ringbench

#else

#include <fcntl.h>
#include <httplib.h>
#include <openssl/x509_vfy.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <thread>

#include "harness/loose_json.h"
#include "harness/wait.h"
#include "harness/words.h"

namespace ringbench {
namespace {

using Json = nlohmann::ordered_json;
using namespace std::chrono_literals;

constexpr char kKeyVariable[] = "RINGBENCH_API_KEY";
constexpr size_t kPlainBytes = size_t{4} << 20;  // of an answer that is no stream; /metrics can be long
constexpr double kFirstWait_s = 0.5;             // before a retry; doubled with each
constexpr double kQuestion_s = 30;               // for an answer of a few lines
constexpr double kReady_s = 5;                   // the same of a server that may not be there yet
constexpr auto kWatchEvery = 20ms;               // how late a timeout or a signal may be noticed

// Writing to a connection that the other side closed raises SIGPIPE, which ends a program. Not for this thread, while
// this lives.
class SigpipeBlocked {
 public:
  SigpipeBlocked() {
    sigemptyset(&sigpipe_);
    sigaddset(&sigpipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
  }
  ~SigpipeBlocked() {
    constexpr timespec at_once{};
    while (!sigismember(&before_, SIGPIPE) && sigtimedwait(&sigpipe_, nullptr, &at_once) > 0) {}
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SigpipeBlocked(const SigpipeBlocked&) = delete;
  SigpipeBlocked& operator=(const SigpipeBlocked&) = delete;

 private:
  sigset_t sigpipe_{}, before_{};
};

std::string api_key() {
  const char* key = std::getenv(kKeyVariable);
  const std::string text = key == nullptr ? "" : key;
  if (std::any_of(text.begin(), text.end(), [](char c) { return c <= 0x20 || c == 0x7f; }))
    throw UsageError(std::string(kKeyVariable) +
                     ": has characters that a key cannot have (spaces, line ends, letters "
                     "beyond ASCII).");
  return text;
}

// Seconds from now that a Retry-After header asks for, as a number or as a date (RFC 9110, 10.2.3); empty: neither.
std::optional<double> retry_after_s(const std::string& header) {
  char* end = nullptr;
  const double wait_s = std::strtod(header.c_str(), &end);
  if (end != header.c_str() && *end == '\0' && wait_s >= 0) return wait_s;
  tm date{};
  if (strptime(header.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date) == nullptr) return {};
  return std::max(0.0, difftime(timegm(&date), time(nullptr)));
}

EndpointOptions hasty(EndpointOptions options, double most_s) {
  options.connect_s = std::min(options.connect_s, most_s);
  options.stall_s = std::min(options.stall_s, most_s);
  return options;
}

// --- One connection ---

struct Answer {
  int status = 0;  // 0: none came
  std::string content_type;
  std::string body;  // if nobody took the bytes
  std::optional<double> retry_after_s;
  std::string error;      // of the connection; the answer, if there is one, is not whole
  bool connected = true;  // false: nothing was sent
  bool tls_failed = false;
};

class Connection;

// Looks after all connections from a thread of its own.
class Watchdog {
 public:
  void add(Connection* connection) {
    const std::lock_guard lock(mutex_);
    connections_.insert(connection);
  }
  void remove(Connection* connection) {
    const std::lock_guard lock(mutex_);
    connections_.erase(connection);
  }

 private:
  void watch(const std::stop_token& stop);

  std::mutex mutex_;
  std::set<Connection*> connections_;
  std::jthread thread_{[this](const std::stop_token& stop) { watch(stop); }};  // last: it uses the others
};

// Bytes of a body as they come. False: enough.
using OnBytes = std::function<bool(const Answer&, std::string_view)>;

class Connection {
 public:
  // All of them must outlive it.
  Connection(const EndpointUrl& url, const EndpointOptions& options, const std::string& key, Watchdog& watchdog)
      : url_(url), options_(options), key_(key), watchdog_(watchdog) {
    if (url.tls)
      client_ = std::make_unique<httplib::SSLClient>(url.host, url.port);
    else
      client_ = std::make_unique<httplib::ClientImpl>(url.host, url.port);
    client_->set_keep_alive(true);
    client_->set_tcp_nodelay(true);  // head and body are two writes: without it the second waits for an ACK, 40 ms
    client_->set_url_encode(false);
    client_->set_connection_timeout(std::chrono::duration<double>(options.connect_s));
    client_->set_read_timeout(std::chrono::duration<double>(options.total_s + 1));  // cut_if_due() is earlier
    client_->set_write_timeout(std::chrono::duration<double>(options.total_s + 1));
    client_->set_socket_options([this](int socket) { remember(socket); });
    watchdog_.add(this);
  }
  ~Connection() {
    watchdog_.remove(this);
    client_.reset();
    if (socket_ >= 0) close(socket_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Answer exchange(const std::string& method, const std::string& path, const std::string& body = "",
                  OnBytes on_bytes = {}) {
    const SigpipeBlocked no_sigpipe;
    Answer answer;
    httplib::Request request = make_request(method, path, body);
    request.response_handler = [&](const httplib::Response& response) {
      take_head(answer, response);
      return true;
    };
    request.content_receiver = [&](const char* data, size_t size, uint64_t, uint64_t) {
      last_byte_s_ = now_s();
      if (on_bytes) return on_bytes(answer, {data, size});
      answer.body.append(data, size);
      return answer.body.size() <= kPlainBytes;
    };
    begin();
    httplib::Response response;
    httplib::Error error = httplib::Error::Success;
    const bool whole = client_->send(request, response, error);
    end();
    if (!whole) explain(answer, error);
    return answer;
  }

  // By another thread: ends an exchange that a signal or a timeout has overtaken.
  void cut_if_due() {
    const std::lock_guard lock(mutex_);
    if (!active_ || !cut_.empty()) return;
    const double now = now_s();
    if (interrupted())
      cut_ = "interrupted";
    else if (now - last_byte_s_ > options_.stall_s)
      cut_ = "no byte for " + seconds(options_.stall_s);
    else if (now - began_s_ > options_.total_s)
      cut_ = "not finished after " + seconds(options_.total_s);
    if (!cut_.empty() && socket_ >= 0) shutdown(socket_, SHUT_RDWR);
  }

 private:
  static std::string seconds(double s) {
    char text[32];
    std::snprintf(text, sizeof text, "%g s", s);
    return text;
  }

  // A second descriptor of the socket: with the library's own, the number could be another connection's by the time
  // that it is shut down. Called before it connects, so that waiting for that can be cut too.
  void remember(int socket) {
    const std::lock_guard lock(mutex_);
    if (socket_ >= 0) close(socket_);
    socket_ = fcntl(socket, F_DUPFD_CLOEXEC, 0);
  }

  void begin() {
    const std::lock_guard lock(mutex_);
    active_ = true;
    cut_.clear();
    began_s_ = now_s();
    last_byte_s_ = began_s_;
  }
  void end() {
    const std::lock_guard lock(mutex_);
    active_ = false;
  }

  httplib::Request make_request(const std::string& method, const std::string& path, const std::string& body) const {
    httplib::Request request;
    request.method = method;
    request.path = url_.base + path;
    request.headers = {{"Host", url_.authority()},
                       {"Accept", "*/*"},
                       {"Accept-Encoding", "identity"}};  // events in time, not gathered by a compressor
    if (!key_.empty()) request.headers.emplace("Authorization", "Bearer " + key_);
    if (method == "POST") request.headers.emplace("Content-Type", "application/json");
    request.body = body;
    return request;
  }

  void take_head(Answer& answer, const httplib::Response& response) {
    last_byte_s_ = now_s();
    answer.status = response.status;
    answer.content_type = response.get_header_value("Content-Type");
    answer.retry_after_s = retry_after_s(response.get_header_value("Retry-After"));
  }

  void explain(Answer& answer, httplib::Error error) {
    client_->stop();
    const std::lock_guard lock(mutex_);
    answer.connected = error != httplib::Error::Connection && error != httplib::Error::ConnectionTimeout;
    answer.tls_failed = error == httplib::Error::SSLConnection || error == httplib::Error::SSLLoadingCerts ||
                        error == httplib::Error::SSLServerVerification;
    answer.error = !cut_.empty()        ? cut_
                   : answer.tls_failed  ? tls_error()
                   : !answer.connected  ? "cannot connect"
                   : answer.status == 0 ? "the connection was closed before an answer"
                                        : "the connection was lost in the middle of the answer";
  }

  std::string tls_error() const {
    const long result = static_cast<const httplib::SSLClient&>(*client_).get_openssl_verify_result();
    if (result == X509_V_OK) return "no TLS connection";
    return std::string("its certificate is not trusted: ") + X509_verify_cert_error_string(result);
  }

  const EndpointUrl& url_;
  const EndpointOptions& options_;
  const std::string& key_;
  Watchdog& watchdog_;
  std::unique_ptr<httplib::ClientImpl> client_;
  std::atomic<double> last_byte_s_ = 0;
  std::mutex mutex_;  // of what follows
  int socket_ = -1;
  bool active_ = false;
  double began_s_ = 0;
  std::string cut_;  // why the exchange was ended
};

void Watchdog::watch(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    {
      const std::lock_guard lock(mutex_);
      for (Connection* connection : connections_) connection->cut_if_due();
    }
    std::this_thread::sleep_for(kWatchEvery);
  }
}

// --- What servers say of themselves ---

// The sum over all label sets of a metric in Prometheus' text format; empty: no such metric.
std::optional<double> metric(std::string_view text, std::string_view name) {
  std::optional<double> sum;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.starts_with(name)) continue;
    line.remove_prefix(name.size());
    if (line.starts_with('{')) line.remove_prefix(line.rfind('}') + 1);
    if (!line.starts_with(' ')) continue;  // a longer name
    sum = sum.value_or(0) + std::strtod(std::string(line).c_str(), nullptr);
  }
  return sum;
}

struct CacheMetrics {
  std::string_view queried, hit;
};
constexpr CacheMetrics kCacheMetrics[] = {
    {"vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"},
    {"vllm:gpu_prefix_cache_queries_total", "vllm:gpu_prefix_cache_hits_total"},  // before 0.10
    {"vllm:prefix_cache_queries", "vllm:prefix_cache_hits"},
    {"vllm:gpu_prefix_cache_queries", "vllm:gpu_prefix_cache_hits"},
    {"sglang:prompt_tokens_total", "sglang:cached_tokens_total"},
};

// Of SGLang's server info, which also holds keys and paths.
constexpr const char* kSettings[] = {"tp_size",
                                     "dp_size",
                                     "pp_size",
                                     "ep_size",
                                     "dtype",
                                     "quantization",
                                     "kv_cache_dtype",
                                     "context_length",
                                     "mem_fraction_static",
                                     "max_total_tokens",
                                     "attention_backend",
                                     "chunked_prefill_size",
                                     "disable_radix_cache"};

}  // namespace

// --- The server ---

struct ServerEndpoint::Impl {
  Impl(EndpointUrl where, EndpointOptions how) : url(std::move(where)), options(std::move(how)) {}

  Answer get(const std::string& path) { return control.exchange("GET", path); }

  [[noreturn]] void fail(const std::string& what, const std::string& hint = "") const {
    throw Failure(ExitCode::environment, url.text() + ": " + redacted(what) + ".", hint);
  }

  // Servers repeat the key in what they say of it.
  std::string redacted(std::string text) const {
    for (size_t at = 0; !key.empty() && (at = text.find(key, at)) != text.npos; at += 3)
      text.replace(at, key.size(), "***");

    return text;
  }

  void check_models_answer(const Answer& answer) const;
  void choose_model();
  void ask_settings(const Json& model);

  const EndpointUrl url;
  const EndpointOptions options;
  const EndpointOptions questions = hasty(options, kQuestion_s);
  const std::string key = api_key();
  ServerIdentity identity;
  Watchdog watchdog;
  Connection control{url, questions, key, watchdog};  // for questions; requests have connections of their own
};

void ServerEndpoint::Impl::check_models_answer(const Answer& answer) const {
  if (interrupted()) throw interruption();
  if (answer.tls_failed) fail(answer.error, "for a certificate of your own: SSL_CERT_FILE=FILE.pem in the environment");
  if (!answer.error.empty()) fail(answer.error, "is the server up, and is this its address?");
  if (answer.status == 401 || answer.status == 403)
    fail("the server does not let us in (HTTP " + std::to_string(answer.status) + ")",
         std::string(key.empty() ? "set the key" : "is the key right") + " in the environment variable " +
             kKeyVariable + (key.empty() ? "" : "?"));
  if (answer.status != 200)
    fail("HTTP " + std::to_string(answer.status) + " for /v1/models: " + error_message(answer.body),
         "is this the address of an OpenAI-compatible server?");
}

void ServerEndpoint::Impl::choose_model() {
  const std::vector<std::string>& models = identity.models;
  if (models.empty()) fail("it serves no model");
  const std::string served =
      "it serves " + join({models.begin(), models.begin() + std::min<ptrdiff_t>(10, std::ssize(models))}, ", ") +
      (models.size() > 10 ? ", ..." : "");
  if (options.model.empty() && models.size() > 1) fail(served, "say which with --served-model NAME");
  if (!options.model.empty() && std::find(models.begin(), models.end(), options.model) == models.end())
    fail("no model '" + options.model + "'; " + served);
  identity.model = options.model.empty() ? models.front() : options.model;
}

void ServerEndpoint::Impl::ask_settings(const Json& model) {
  const std::string owner = text_of(member(model, "owned_by"));
  identity.kind = owner == "vllm" ? ServerKind::vllm : owner == "sglang" ? ServerKind::sglang : ServerKind::openai;
  identity.name = owner == "vllm" ? "vLLM" : owner == "sglang" ? "SGLang" : owner.empty() ? "openai" : one_line(owner);
  identity.max_model_len = integer_of(member(model, "max_model_len"));
  if (identity.kind == ServerKind::openai) return;
  const Answer answer = get(identity.kind == ServerKind::vllm ? "/version" : "/get_server_info");
  if (answer.status != 200) return;
  const Json info = Json::parse(answer.body, nullptr, false);
  identity.version = one_line(text_of(member(info, "version")));
  Json settings = Json::object();
  for (const char* name : kSettings)
    if (const Json& value = member(info, name); value.is_primitive() && !value.is_null()) settings[name] = value;
  identity.settings = settings.dump();
}

ServerEndpoint::ServerEndpoint(EndpointUrl url, EndpointOptions options)
    : impl_(std::make_unique<Impl>(std::move(url), std::move(options))) {}
ServerEndpoint::~ServerEndpoint() = default;

const EndpointUrl& ServerEndpoint::url() const { return impl_->url; }

const ServerIdentity& ServerEndpoint::connect() {
  const Answer answer = impl_->get("/v1/models");
  impl_->check_models_answer(answer);
  const Json listing = Json::parse(answer.body, nullptr, false);
  const Json& models = member(listing, "data");
  if (!models.is_array()) impl_->fail("its /v1/models is no list", "is this an OpenAI-compatible server?");
  impl_->identity = {};
  for (const Json& model : models) impl_->identity.models.push_back(text_of(member(model, "id")));
  impl_->choose_model();
  for (const Json& model : models)
    if (text_of(member(model, "id")) == impl_->identity.model) impl_->ask_settings(model);
  return impl_->identity;
}

bool ServerEndpoint::is_ready() {
  const EndpointOptions options = hasty(impl_->options, kReady_s);
  Connection connection(impl_->url, options, impl_->key, impl_->watchdog);
  return connection.exchange("GET", "/v1/models").status == 200 || connection.exchange("GET", "/health").status == 200;
}

std::string ServerEndpoint::body(const CompletionRequest& request) const {
  return completion_body(request, impl_->identity.model, impl_->identity.kind);
}

std::string ServerEndpoint::refusal_of_token_ids(CompletionApi api) {
  CompletionRequest request;
  request.api = api;
  request.tokens = {1, 2, 3};
  request.max_tokens = 1;
  const CompletionReply reply = EndpointConnection(*this).send(api, body(request));
  if (reply.status == 401 || reply.status == 403) impl_->fail(reply.error);
  if (!reply.error.empty()) return reply.error;
  if (reply.prompt_tokens.value_or(3) != 3)
    return "it counts " + std::to_string(*reply.prompt_tokens) + " tokens in a prompt of 3";
  return "";
}

std::optional<CacheCounters> ServerEndpoint::cache_counters() {
  const Answer answer = impl_->get("/metrics");
  if (answer.status != 200) return {};
  for (const CacheMetrics& names : kCacheMetrics) {
    const auto queried = metric(answer.body, names.queried), hit = metric(answer.body, names.hit);
    if (queried && hit) return CacheCounters{*queried, *hit};
  }
  return {};
}

bool ServerEndpoint::reset_cache() {
  if (impl_->identity.kind == ServerKind::openai) return false;
  const char* path = impl_->identity.kind == ServerKind::vllm ? "/reset_prefix_cache" : "/flush_cache";
  return impl_->control.exchange("POST", path).status == 200;
}

// --- A request ---

struct EndpointConnection::Impl {
  explicit Impl(ServerEndpoint::Impl& of) : server(of) {}

  CompletionReply attempt(CompletionApi api, const std::string& body, bool wants_stream, Answer& answer);
  std::optional<double> wait_before_retry(const Answer& answer, size_t retries) const;

  ServerEndpoint::Impl& server;
  Connection connection{server.url, server.options, server.key, server.watchdog};
};

CompletionReply EndpointConnection::Impl::attempt(CompletionApi api, const std::string& body, bool wants_stream,
                                                  Answer& answer) {
  CompletionReply reply;
  SseParser parser;
  CompletionStream stream(api, server.identity.kind, reply);
  std::string plain;  // a body that is no stream
  const auto is_stream = [](const Answer& a) {
    return a.status == 200 && a.content_type.starts_with("text/event-stream");
  };
  reply.sent_s = now_s();
  answer = connection.exchange("POST", completion_path(api), body, [&](const Answer& head, std::string_view bytes) {
    const double at_s = now_s() - reply.sent_s;
    if (!is_stream(head)) return plain.append(bytes).size() <= kPlainBytes;
    try {
      parser.feed(bytes, [&](const SseEvent& event) { stream.take(event, at_s); });
    } catch (const SseError& e) {
      reply.error = e.what();
    }
    return reply.error.empty();
  });
  reply.status = answer.status;
  if (reply.end_s == 0) reply.end_s = now_s() - reply.sent_s;
  plain = server.redacted(plain);
  const bool whole = !wants_stream && answer.status == 200 && !is_stream(answer) && answer.error.empty();
  if (whole) {
    SseEvent event;
    event.data = plain;
    stream.take(event, reply.end_s);
    return reply;
  }
  if (answer.status == 200 && is_stream(answer) && answer.error.empty()) stream.end();
  if (!reply.error.empty()) return reply;
  if (!answer.error.empty())
    reply.error = answer.error;
  else if (answer.status != 200)
    reply.error = "HTTP " + std::to_string(answer.status) + ": " + error_message(plain);
  else if (!is_stream(answer))
    reply.error = "the answer is no event stream but " + one_line(answer.content_type) + ": " + error_message(plain);
  return reply;
}

// Empty: it is not repeated.
std::optional<double> EndpointConnection::Impl::wait_before_retry(const Answer& answer, size_t retries) const {
  const bool busy = answer.status == 429 || answer.status == 503;
  if (retries >= static_cast<size_t>(server.options.retries) || (answer.connected && !busy) || answer.tls_failed)
    return {};
  const double wait_s = answer.retry_after_s.value_or(kFirstWait_s * std::exp2(static_cast<double>(retries)));
  return std::min(wait_s, server.options.longest_wait_s);
}

EndpointConnection::EndpointConnection(ServerEndpoint& endpoint) : impl_(std::make_unique<Impl>(*endpoint.impl_)) {}
EndpointConnection::~EndpointConnection() = default;
EndpointConnection::EndpointConnection(EndpointConnection&&) noexcept = default;

void EndpointConnection::open() { impl_->connection.exchange("GET", "/v1/models"); }

CompletionReply EndpointConnection::send(CompletionApi api, const std::string& body, bool stream) {
  std::vector<CompletionReply::Retry> retries;
  while (true) {
    Answer answer;
    CompletionReply reply = impl_->attempt(api, body, stream, answer);
    reply.error = impl_->server.redacted(reply.error);
    const std::optional<double> wait_s = impl_->wait_before_retry(answer, retries.size());
    if (wait_s && !interrupted()) {
      retries.push_back({reply.error, *wait_s});
      if (wait_until(now_s() + *wait_s)) continue;
    }
    reply.interrupted = !reply.error.empty() && interrupted();
    reply.retries = std::move(retries);
    return reply;
  }
}

}  // namespace ringbench

#endif
