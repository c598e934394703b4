// bench_endpoint.cpp: what the client of servers adds to the times it takes, and what it bears, against a fake server
// in the same process whose delays are known. So both share the machine: what is found is an upper bound.
//
//   build/bench_endpoint                 # timing at 64 streams, 1,024 streams, 100,000 requests
//   build/bench_endpoint timing 64
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "harness/endpoint_load.h"
#include "harness/measure.h"
#include "tests/fake_server.h"

using namespace ringbench;

namespace {

constexpr double kFirst_s = 0.2, kEach_s = 0.02;
constexpr int64_t kTokens = 64;

std::vector<std::unique_ptr<ServerEndpoint>> connect(const FakeServer& server) {
  std::vector<std::unique_ptr<ServerEndpoint>> replicas;
  replicas.push_back(std::make_unique<ServerEndpoint>(parse_endpoint_urls(server.url()).front(), EndpointOptions()));
  replicas.front()->connect();
  return replicas;
}

CompletionRequest request_of(int64_t) {
  CompletionRequest request;
  request.tokens.assign(512, 1);
  return request;
}

double resident_mib() {
  double pages = 0;
  std::ifstream("/proc/self/statm") >> pages >> pages;
  return pages * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

// Quantiles of absolute errors, in ms.
void print_errors(const char* what, std::vector<double> errors_s) {
  for (double& error : errors_s) error = 1e3 * std::abs(error);
  std::printf("  %-28s n %6zu  median %7.3f ms  p90 %7.3f  p99 %7.3f  max %7.3f\n", what, errors_s.size(),
              median(errors_s), quantile(errors_s, 0.9), quantile(errors_s, 0.99), quantile(errors_s, 1));
}

// Tokens at known times, each saying when it was really sent: late by the server, late by the client.
FakeAnswer stamped_stream() {
  FakeAnswer answer = fake_stream(kTokens, kFirst_s, kEach_s);
  for (FakePiece& piece : answer.pieces)
    if (&piece != &answer.pieces.back()) piece.bytes = fake_token(kFakeNow);
  return answer;
}

void timing(int streams) {
  const FakeServer server([](const FakeRequest&) { return stamped_stream(); });
  const auto replicas = connect(server);
  std::vector<double> first, between, client;
  Clock clock;
  const double wall_s = clock.wall_s(), cpu_s = clock.cpu_s();
  run_load(replicas, {EndpointLoad::Kind::closed, streams}, 4 * streams, request_of, [&](const LoadedReply& loaded) {
    const CompletionReply& reply = loaded.reply;
    first.push_back(*reply.ttft_s() - kFirst_s);
    for (size_t i = 0; i < static_cast<size_t>(kTokens); ++i) {
      const CompletionEvent& event = reply.events[i];
      client.push_back(reply.sent_s + event.at_s - 1e-9 * std::strtod(event.text.c_str(), nullptr));
      if (i > 0) between.push_back(event.at_s - reply.events[i - 1].at_s - kEach_s);
    }
  });
  std::printf("timing at %d streams, a token each %g ms, client and server %.2f cores:\n", streams, 1e3 * kEach_s,
              (clock.cpu_s() - cpu_s) / (clock.wall_s() - wall_s));
  print_errors("client alone, any token", client);
  print_errors("first token, with the server", first);
  print_errors("between tokens, with it", between);
}

void many_streams(int streams) {
  const FakeServer server([](const FakeRequest&) { return fake_stream(16, 0.5, 0.1); });
  const auto replicas = connect(server);
  std::vector<double> queue, first;
  int64_t whole = 0;
  const int64_t replied =
      run_load(replicas, {EndpointLoad::Kind::batch, streams}, streams, request_of, [&](const LoadedReply& loaded) {
        whole += loaded.reply.error.empty() && loaded.reply.completion_tokens == 16;
        queue.push_back(loaded.queue_s());
        first.push_back(loaded.reply.ttft_s().value_or(0) - 0.5);
      });
  std::printf("%d streams released together: %lld replies, %lld whole, server received %lld\n", streams,
              static_cast<long long>(replied), static_cast<long long>(whole),
              static_cast<long long>(server.received()));
  print_errors("sent after the release", queue);
  print_errors("first token", first);
}

void many_requests(int64_t count) {
  const FakeServer server([](const FakeRequest&) { return fake_stream(16); });
  const auto replicas = connect(server);
  int64_t seen = 0, errors = 0;
  double after_first = 0;
  Clock clock;
  const double wall_s = clock.wall_s();
  run_load(replicas, {EndpointLoad::Kind::closed, 8}, count, request_of, [&](const LoadedReply& loaded) {
    errors += !loaded.reply.error.empty();
    if (++seen == count / 10) after_first = resident_mib();
  });
  std::printf(
      "%lld requests in %.1f s: %lld errors, server received %lld; resident %.1f MiB after a tenth, %.1f MiB "
      "at the end\n",
      static_cast<long long>(count), clock.wall_s() - wall_s, static_cast<long long>(errors),
      static_cast<long long>(server.received()), after_first, resident_mib());
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const int number = argc > 2 ? std::atoi(argv[2]) : 0;
  if (what.empty() || what == "timing") timing(number > 0 ? number : 64);
  if (what.empty() || what == "streams") many_streams(number > 0 ? number : 1024);
  if (what.empty() || what == "requests") many_requests(number > 0 ? number : 100000);
}
