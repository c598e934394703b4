// endpoint_url.h: the addresses that --engine openai:URL names. Not whether anybody answers there (endpoint.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ringbench {

struct EndpointUrl {
  bool tls = false;
  std::string host;  // an IPv6 address without its brackets
  int port = 0;
  std::string base;  // path before /v1: "" or "/llm"

  std::string authority() const;  // "127.0.0.1:8000", "[::1]:8000"
  std::string text() const;       // "http://127.0.0.1:8000/llm"
};

// "openai:URL", or "openai:URL1+URL2" for replicas; each URL is http(s)://HOST[:PORT][/BASE], with or without /v1 at
// its end. Throws UsageError.
std::vector<EndpointUrl> parse_endpoint_urls(std::string_view engine);

}  // namespace ringbench
