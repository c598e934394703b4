#include "harness/endpoint_url.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "harness/failure.h"

namespace ringbench {
namespace {

constexpr std::string_view kPrefix = "openai:";
constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";

[[noreturn]] void refuse(std::string_view text, const std::string& why) {
  throw UsageError("--engine " + std::string(kPrefix) + std::string(text) + ": " + why + ".",
                   "An address is http(s)://HOST[:PORT][/BASE], as in --engine openai:http://127.0.0.1:8000");
}

bool only(std::string_view text, std::string_view characters) {
  return text.find_first_not_of(characters) == text.npos;
}

// The host off the front of `rest`; what follows is nothing or ":PORT".
std::string take_host(std::string_view& rest, std::string_view text) {
  if (!rest.starts_with('[')) {
    const size_t end = std::min(rest.find(':'), rest.size());
    const std::string host(rest.substr(0, end));
    rest.remove_prefix(end);
    if (host.empty()) refuse(text, "there is no host");
    if (!only(host, kLetters)) refuse(text, "'" + host + "' is not a host");
    return host;
  }
  const size_t end = rest.find(']');
  if (end == rest.npos) refuse(text, "'[' is not closed");
  const std::string host(rest.substr(1, end - 1));
  rest.remove_prefix(end + 1);
  in6_addr address;
  if (inet_pton(AF_INET6, host.c_str(), &address) != 1) refuse(text, "'" + host + "' is not an IPv6 address");
  return host;
}

int parse_port(std::string_view rest, int standard, std::string_view text) {
  if (rest.empty()) return standard;
  const std::string_view digits = rest.substr(1);
  int port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (rest.front() != ':' || digits.empty() || error != std::errc() || end != digits.data() + digits.size() ||
      port < 1 || port > 65535)
    refuse(text, "'" + std::string(rest) + "' is not a port");
  return port;
}

EndpointUrl parse_url(std::string_view text) {
  EndpointUrl url;
  std::string_view rest = text;
  url.tls = rest.starts_with("https://");
  if (!url.tls && !rest.starts_with("http://")) refuse(text, "it does not begin with http:// or https://");
  rest.remove_prefix(url.tls ? 8 : 7);
  const size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view authority = rest.substr(0, slash), path = rest.substr(slash);
  url.host = take_host(authority, text);
  url.port = parse_port(authority, url.tls ? 443 : 80, text);
  if (!only(path, std::string(kLetters) + "/~%")) refuse(text, "'" + std::string(path) + "' is not a path");
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path.ends_with("/v1")) path.remove_suffix(3);
  while (path.ends_with('/')) path.remove_suffix(1);
  url.base = path;
  return url;
}

}  // namespace

std::string EndpointUrl::authority() const {
  const bool ipv6 = host.find(':') != host.npos;
  return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string EndpointUrl::text() const { return (tls ? "https://" : "http://") + authority() + base; }

std::vector<EndpointUrl> parse_endpoint_urls(std::string_view engine) {
  std::string_view rest = engine.starts_with(kPrefix) ? engine.substr(kPrefix.size()) : engine;
  // Before anything of it is shown: it would be in shell histories and logs by then, but not in ours.
  if (rest.find('@') != rest.npos)
    throw UsageError("--engine openai: a URL with a user or password is not taken.",
                     "a key belongs in the environment variable RINGBENCH_API_KEY");
  std::vector<EndpointUrl> urls;
  for (size_t plus = 0; plus != rest.npos; rest.remove_prefix(plus == rest.npos ? 0 : plus + 1)) {
    plus = rest.find('+');
    urls.push_back(parse_url(rest.substr(0, plus)));
  }
  return urls;
}

}  // namespace ringbench
