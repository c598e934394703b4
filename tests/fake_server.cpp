#include "tests/fake_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <list>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace ringbench {

const std::string kFakeFinish =
    fake_event(R"({"object":"text_completion","choices":[{"index":0,"text":"","finish_reason":"length"}]})");
const std::string kFakeDone = fake_event("[DONE]");
const std::string kFakeNow = "<now>";

std::string fake_event(const std::string& data) { return "data: " + data + "\n\n"; }

std::string fake_token(const std::string& text) {
  return fake_event(R"({"object":"text_completion","choices":[{"index":0,"text":")" + text +
                    R"(","finish_reason":null}]})");
}

std::string fake_usage(int64_t prompt, int64_t completion, int64_t cached) {
  return fake_event(R"({"choices":[],"usage":{"prompt_tokens":)" + std::to_string(prompt) + R"(,"completion_tokens":)" +
                    std::to_string(completion) + R"(,"prompt_tokens_details":{"cached_tokens":)" +
                    std::to_string(cached) + "}}}");
}

FakeAnswer fake_stream(int64_t tokens, double first_s, double each_s) {
  FakeAnswer answer;
  for (int64_t i = 0; i < tokens; ++i)
    answer.pieces.push_back({first_s + each_s * static_cast<double>(i), fake_token("t" + std::to_string(i))});
  const double last_s = answer.pieces.empty() ? first_s : answer.pieces.back().at_s;
  answer.pieces.push_back({last_s, kFakeFinish + fake_usage(3, tokens) + kFakeDone});
  return answer;
}

FakeAnswer fake_plain(int status, const std::string& body, const std::string& headers) {
  return {status, "application/json", headers, {{0, body}}};
}

namespace {

using SteadyClock = std::chrono::steady_clock;

// --- TLS ---

struct Certificate {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* x509 = X509_new();

  Certificate() {
    X509_set_version(x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
    X509_set_pubkey(x509, key);
    X509_NAME* name = X509_get_subject_name(x509);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("fake"), -1, -1, 0);
    X509_set_issuer_name(x509, name);
    X509_EXTENSION* address = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1");
    X509_add_ext(x509, address, -1);
    X509_EXTENSION_free(address);
    X509_sign(x509, key, EVP_sha256());
  }
  ~Certificate() {
    X509_free(x509);
    EVP_PKEY_free(key);
  }
  std::string pem() const {
    BIO* out = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(out, x509);
    char* data = nullptr;
    const long size = BIO_get_mem_data(out, &data);
    std::string text(data, static_cast<size_t>(size));
    BIO_free(out);
    return text;
  }
};

// --- A connection ---

class Socket {
 public:
  Socket(int descriptor, SSL_CTX* context) : descriptor_(descriptor) {
    const int yes = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (context == nullptr) return;
    ssl_ = SSL_new(context);
    SSL_set_fd(ssl_, descriptor);
    open_ = SSL_accept(ssl_) == 1;
  }
  ~Socket() {
    SSL_free(ssl_);
    close(descriptor_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  bool send(const std::string& bytes) {
    for (size_t sent = 0; open_ && sent < bytes.size();) {
      const size_t size = bytes.size() - sent;
      const ssize_t n = ssl_ != nullptr ? SSL_write(ssl_, bytes.data() + sent, static_cast<int>(size))
                                        : ::send(descriptor_, bytes.data() + sent, size, MSG_NOSIGNAL);
      open_ = n > 0;
      sent += static_cast<size_t>(std::max<ssize_t>(n, 0));
    }
    return open_;
  }

  // A request with its body; false when the other side is gone.
  bool read(FakeRequest& request) {
    size_t end = 0;
    while ((end = buffer_.find("\r\n\r\n")) == buffer_.npos)
      if (!more()) return false;
    request.head = buffer_.substr(0, end + 2);
    const size_t path = request.head.find(' ') + 1;
    request.path = request.head.substr(path, request.head.find(' ', path) - path);
    const size_t length = request.head.find("Content-Length: ");
    const size_t size = length == buffer_.npos ? 0 : std::strtoull(request.head.c_str() + length + 16, nullptr, 10);
    while (buffer_.size() < end + 4 + size)
      if (!more()) return false;
    request.body = buffer_.substr(end + 4, size);
    buffer_.erase(0, end + 4 + size);
    return true;
  }

 private:
  bool more() {
    char bytes[4096];
    const ssize_t n = !open_            ? 0
                      : ssl_ != nullptr ? SSL_read(ssl_, bytes, sizeof bytes)
                                        : recv(descriptor_, bytes, sizeof bytes, 0);
    if (n > 0) buffer_.append(bytes, static_cast<size_t>(n));
    return n > 0;
  }

  int descriptor_;
  SSL* ssl_ = nullptr;
  bool open_ = true;
  std::string buffer_;
};

std::string stamped(std::string bytes) {
  if (const size_t at = bytes.find(kFakeNow); at != bytes.npos)
    bytes.replace(at, kFakeNow.size(),
                  std::to_string(SteadyClock::now().time_since_epoch() / std::chrono::nanoseconds(1)));
  return bytes;
}

// Of no bytes: the end of the body.
std::string chunk(const std::string& bytes) {
  char size[32];
  std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  return size + bytes + "\r\n";
}

}  // namespace

// --- The server ---

struct FakeServer::Impl {
  Impl(Script how, bool tls) : script(std::move(how)) {
    if (tls) {
      certificate = std::make_unique<Certificate>();
      context = SSL_CTX_new(TLS_server_method());
      SSL_CTX_use_certificate(context, certificate->x509);
      SSL_CTX_use_PrivateKey(context, certificate->key);
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener, 4096) != 0)
      throw std::runtime_error("fake server: cannot listen");
    getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin_port);
    acceptor = std::thread([this] { accept_all(); });
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
      for (const int descriptor : open) shutdown(descriptor, SHUT_RDWR);
    }
    stop.notify_all();
    shutdown(listener, SHUT_RDWR);
    acceptor.join();
    for (std::thread& thread : threads) thread.join();
    close(listener);
    SSL_CTX_free(context);
  }

  void accept_all() {
    sigset_t sigpipe;  // of OpenSSL's writes to a client that is gone; the threads below inherit this
    sigemptyset(&sigpipe);
    sigaddset(&sigpipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe, nullptr);
    while (true) {
      const int descriptor = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (descriptor < 0) return;
      const std::lock_guard lock(mutex);
      if (stopping) shutdown(descriptor, SHUT_RDWR);
      open.push_back(descriptor);
      threads.emplace_back([this, descriptor, number = connections++] { serve(descriptor, number); });
    }
  }

  void serve(int descriptor, int64_t connection) {
    Socket socket(descriptor, context);
    FakeRequest request;
    request.connection = connection;
    while (socket.read(request) && answer(socket, request)) {}
    const std::lock_guard lock(mutex);  // before the descriptor is closed
    std::erase(open, descriptor);
  }

  // False: the connection ends here.
  bool answer(Socket& socket, FakeRequest& request) {
    const auto start = SteadyClock::now();
    const bool post = request.head.starts_with("POST ");
    if (post) request.number = received++;
    const FakeAnswer answer = refuses(request)
                                  ? fake_plain(401, R"({"error":{"message":"bad key: )" + key_of(request) + "\"}}")
                              : post ? script(request)
                                     : page(request.path);
    if (!answer.raw &&
        !socket.send("HTTP/1.1 " + std::to_string(answer.status) + " X\r\nContent-Type: " + answer.content_type +
                     "\r\n" + answer.headers + "Transfer-Encoding: chunked\r\n\r\n"))
      return false;
    for (const FakePiece& piece : answer.pieces) {
      if (!wait_until(start, piece.at_s)) return false;
      if (piece.bytes.empty()) continue;  // a chunk of nothing would end the body
      if (!socket.send(answer.raw ? piece.bytes : chunk(stamped(piece.bytes)))) return false;
    }
    if (answer.end == FakeAnswer::End::stall) wait_until(start, 3600);
    if (answer.end != FakeAnswer::End::whole) return false;
    if (post) ++completed;  // before the last byte: the client may look as soon as it has it
    return !answer.raw && socket.send(chunk(""));
  }

  bool refuses(const FakeRequest& request) {
    const std::lock_guard lock(mutex);
    return !key.empty() && key_of(request) != key;
  }
  static std::string key_of(const FakeRequest& request) {
    constexpr std::string_view name = "Authorization: Bearer ";
    const size_t at = request.head.find(name);
    return at == request.head.npos
               ? ""
               : request.head.substr(at + name.size(), request.head.find('\r', at) - at - name.size());
  }

  FakeAnswer page(const std::string& path) {
    const std::lock_guard lock(mutex);
    const auto found = pages.find(path);
    return found == pages.end() ? fake_plain(404, R"({"detail":"Not Found"})") : fake_plain(200, found->second);
  }

  // False: the server is ending.
  bool wait_until(SteadyClock::time_point start, double at_s) {
    const auto when = start + std::chrono::duration_cast<SteadyClock::duration>(std::chrono::duration<double>(at_s));
    if (SteadyClock::now() >= when) return true;
    std::unique_lock lock(mutex);
    return !stop.wait_until(lock, when, [this] { return stopping; });
  }

  Script script;
  std::unique_ptr<Certificate> certificate;
  SSL_CTX* context = nullptr;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  int port = 0;
  std::atomic<int64_t> received = 0, completed = 0, connections = 0;
  std::thread acceptor;
  std::mutex mutex;  // of what follows
  std::condition_variable stop;
  bool stopping = false;
  std::vector<int> open;
  std::list<std::thread> threads;
  std::map<std::string, std::string> pages = {
      {"/v1/models",
       R"({"object":"list","data":[{"id":"ring","object":"model","owned_by":"vllm","max_model_len":4096}]})"},
      {"/version", R"({"version":"0.7.3"})"}};
  std::string key;
};

FakeServer::FakeServer(Script script, bool tls) : impl_(std::make_unique<Impl>(std::move(script), tls)) {}
FakeServer::~FakeServer() = default;

std::string FakeServer::url() const {
  return (impl_->certificate ? "https" : "http") + std::string("://127.0.0.1:") + std::to_string(impl_->port);
}

std::string FakeServer::certificate() const { return impl_->certificate->pem(); }

void FakeServer::set_page(const std::string& path, const std::string& body) {
  const std::lock_guard lock(impl_->mutex);
  if (body.empty())
    impl_->pages.erase(path);
  else
    impl_->pages[path] = body;
}

void FakeServer::require_key(const std::string& key) {
  const std::lock_guard lock(impl_->mutex);
  impl_->key = key;
}

int64_t FakeServer::received() const { return impl_->received; }
int64_t FakeServer::completed() const { return impl_->completed; }
int64_t FakeServer::connections() const { return impl_->connections; }

}  // namespace ringbench
