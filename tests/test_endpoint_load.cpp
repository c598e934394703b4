// Many requests at once: how many, in which order, when they are due, and that each is sent as often as it should and
// reported once, whatever the server does. Times are only compared with what must come before what.
#include "harness/endpoint_load.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <fstream>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>

#include "harness/failure.h"
#include "harness/measure.h"
#include "tests/catch.h"
#include "tests/fake_server.h"

using namespace ringbench;
using Kind = EndpointLoad::Kind;

namespace {

std::vector<std::unique_ptr<ServerEndpoint>> replicas_at(const std::string& urls) {
  EndpointOptions options;
  options.retries = 2;
  options.longest_wait_s = 0.001;
  std::vector<std::unique_ptr<ServerEndpoint>> replicas;
  for (const EndpointUrl& url : parse_endpoint_urls("openai:" + urls)) {
    replicas.push_back(std::make_unique<ServerEndpoint>(url, options));
    replicas.back()->connect();
  }
  return replicas;
}

EndpointLoad load_of(Kind kind, int streams, double rate = 0) { return {kind, streams, rate, 1}; }

// The prompt of request i is the token i, so that the server knows it.
CompletionRequest numbered(int64_t i) {
  CompletionRequest request;
  request.tokens = {static_cast<int32_t>(i)};
  return request;
}

int64_t number_of(const FakeRequest& request) {
  const size_t at = request.body.find("\"prompt\":[") + 10;
  return std::stoll(request.body.substr(at));
}

}  // namespace

TEST_CASE("a closed load keeps so many in flight and no more; replies are in the order of the requests") {
  std::atomic<int> in_flight = 0, most = 0;
  const FakeServer server([&](const FakeRequest& request) {
    const int now = ++in_flight;
    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {}
    std::this_thread::sleep_for(std::chrono::milliseconds(request.number % 7));
    --in_flight;
    return fake_stream(number_of(request) % 5);
  });
  const auto replicas = replicas_at(server.url());
  const auto replies = collect_load(replicas, load_of(Kind::closed, 8), 100, numbered);
  REQUIRE(replies.size() == 100);
  for (int64_t i = 0; i < 100; ++i) {
    const LoadedReply& loaded = replies[static_cast<size_t>(i)];
    CHECK(loaded.index == i);
    CHECK(loaded.reply.error == "");
    CHECK(loaded.reply.completion_tokens == i % 5);  // the reply is that of this request
    CHECK(loaded.due_s <= loaded.sent_s);
    CHECK(loaded.sent_s <= loaded.reply.sent_s);
    CHECK(loaded.reply.sent_s < loaded.finished_s);
  }
  CHECK(most <= 8);
  CHECK(most > 1);
  CHECK(server.received() == 100);
  CHECK(server.connections() == 9);  // and the one for questions
}

TEST_CASE("no request is lost and none is counted twice, whatever the server does") {
  const FakeServer server([](const FakeRequest& request) {
    FakeAnswer answer = fake_stream(3);
    switch (request.number % 6) {
      case 0: return fake_plain(429, "{}", "Retry-After: 0\r\n");
      case 1: return fake_plain(503, "{}");
      case 2: return fake_plain(500, "{}");
      case 3: answer.end = FakeAnswer::End::disconnect; break;
      case 4: answer.pieces[1].bytes = "data: garbage\n\n"; break;
      default: break;
    }
    return answer;
  });
  const auto replicas = replicas_at(server.url());
  int64_t attempts = 0, errors = 0;
  std::multiset<int64_t> seen;
  const int64_t replied = run_load(replicas, load_of(Kind::closed, 16), 600, numbered, [&](const LoadedReply& loaded) {
    seen.insert(loaded.index);
    attempts += 1 + static_cast<int64_t>(loaded.reply.retries.size());
    errors += !loaded.reply.error.empty();
  });
  CHECK(replied == 600);
  CHECK(seen.size() == 600);
  CHECK(std::set<int64_t>(seen.begin(), seen.end()).size() == 600);
  CHECK(attempts == server.received());
  CHECK(attempts > 600);
  CHECK(errors > 0);
  CHECK(errors < 600);
}

TEST_CASE("arrivals are a Poisson process, and request i is due at the same time however many there are") {
  const std::vector<double> arrivals = poisson_arrivals(50, 7, 20000);
  CHECK(poisson_arrivals(50, 7, 100) == std::vector<double>(arrivals.begin(), arrivals.begin() + 100));
  CHECK(poisson_arrivals(50, 8, 100) != poisson_arrivals(50, 7, 100));
  CHECK(std::is_sorted(arrivals.begin(), arrivals.end()));
  double square = 0, before = 0;
  for (const double at_s : arrivals) square += std::pow(at_s - std::exchange(before, at_s), 2);
  // Gaps have the mean 1/rate and the mean square 2/rate^2; the bounds are four standard errors of them.
  const double n = 20000, gap = 1 / 50.0;
  CHECK(std::abs(arrivals.back() / n - gap) <= 4 * gap / std::sqrt(n));
  CHECK(std::abs(square / n - 2 * gap * gap) <= 4 * gap * gap * std::sqrt(20 / n));
}

TEST_CASE("an open load sends each request when it is due, or later and then says so") {
  const FakeServer server;
  const auto replicas = replicas_at(server.url());
  const std::vector<double> arrivals = poisson_arrivals(500, 1, 50);
  for (const int streams : {1, 64}) {
    const auto replies = collect_load(replicas, load_of(Kind::open, streams, 500), 50, numbered);
    REQUIRE(replies.size() == 50);
    for (size_t i = 0; i < replies.size(); ++i) {
      CHECK(std::abs(replies[i].due_s - replies[0].due_s - (arrivals[i] - arrivals[0])) <= 1e-9);  // of rounding
      CHECK(replies[i].queue_s() >= 0);
      if (streams == 1 && i > 0) CHECK(replies[i].sent_s >= replies[i - 1].finished_s);
    }
  }
  CHECK(server.received() == 100);
}

TEST_CASE("an open load goes on while earlier requests are unanswered, with as many connections as it needs") {
  std::atomic<int64_t> asked = 0;
  const FakeServer server([&](const FakeRequest&) {
    ++asked;
    while (asked < 10) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // none is answered before all came
    return fake_stream(1);
  });
  const auto replicas = replicas_at(server.url());
  CHECK(collect_load(replicas, load_of(Kind::open, 100, 1000), 10, numbered).size() == 10);
  CHECK(server.connections() <= 12);  // ten, one to follow, and that for questions
}

TEST_CASE("an open load that needs few connections has few") {
  const FakeServer server;
  const auto replicas = replicas_at(server.url());
  std::atomic<int64_t> replied = 0;
  const auto after_the_one_before = [&](int64_t i) {
    while (replied < i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return numbered(i);
  };
  CHECK(run_load(replicas, load_of(Kind::open, 100, 1000), 50, after_the_one_before,
                 [&](const LoadedReply&) { ++replied; }) == 50);
  // One that waits, one that sends, one to follow, that for questions, and a few that were slow to be idle again.
  CHECK(server.connections() <= 10);
}

TEST_CASE("a batch is released when all connections are there") {
  std::atomic<int64_t> connections_at_first = 0;
  const FakeServer* running = nullptr;
  const FakeServer server([&](const FakeRequest& request) {
    if (request.number == 0) connections_at_first = running->connections();
    return fake_stream(1);
  });
  running = &server;
  const auto replicas = replicas_at(server.url());
  const auto replies = collect_load(replicas, load_of(Kind::batch, 32), 20, numbered);
  REQUIRE(replies.size() == 20);
  for (const LoadedReply& loaded : replies) {
    CHECK(loaded.due_s == replies.front().due_s);
    CHECK(loaded.sent_s >= loaded.due_s);
  }
  CHECK(connections_at_first == 21);
}

TEST_CASE("replicas get the requests in turn, and each reply says which answered") {
  const FakeServer a, b, c;
  const auto replicas = replicas_at(a.url() + "+" + b.url() + "+" + c.url());
  const auto replies = collect_load(replicas, load_of(Kind::closed, 4), 31, numbered);
  REQUIRE(replies.size() == 31);
  for (const LoadedReply& loaded : replies) CHECK(loaded.replica == static_cast<size_t>(loaded.index % 3));
  CHECK(a.received() == 11);
  CHECK(b.received() == 10);
  CHECK(c.received() == 10);
}

TEST_CASE("1,024 streams at once lose nothing") {
  const FakeServer server([](const FakeRequest& request) { return fake_stream(1 + request.number % 3, 0.05, 0.01); });
  const auto replicas = replicas_at(server.url());
  for (const Kind kind : {Kind::batch, Kind::closed}) {
    const int64_t before = server.received();
    std::set<int64_t> seen;
    const int64_t replied = run_load(replicas, load_of(kind, 1024), 1024, numbered, [&](const LoadedReply& loaded) {
      if (loaded.reply.error.empty()) seen.insert(loaded.index);
    });
    CHECK(replied == 1024);
    CHECK(seen.size() == 1024);
    CHECK(server.received() - before == 1024);
  }
  CHECK(server.completed() == 2048);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they keep what was freed, to look at it
TEST_CASE("memory does not grow with the number of requests") {
  const FakeServer server([](const FakeRequest&) {
    FakeAnswer answer;
    std::string bytes;
    for (int i = 0; i < 64; ++i) bytes += fake_token(std::string(64, 'a'));
    answer.pieces = {{0, bytes + kFakeFinish + kFakeDone}};
    return answer;
  });
  const auto replicas = replicas_at(server.url());
  int64_t events = 0;
  const auto send = [&](int64_t count) {
    run_load(replicas, load_of(Kind::closed, 4), count, numbered,
             [&](const LoadedReply& loaded) { events += std::ssize(loaded.reply.events); });
  };
  const auto resident_bytes = [] {
    int64_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages >> pages;
    return pages * sysconf(_SC_PAGESIZE);
  };
  send(200);
  const int64_t before = resident_bytes();
  send(4000);
  CHECK(events == 65 * 4200);
  // Kept, the events alone would be 65 * 4000 * sizeof, 50 MB.
  CHECK(resident_bytes() - before < 4000 * 65 * static_cast<int64_t>(sizeof(CompletionEvent)) / 4);
}
#endif

TEST_CASE("what the caller's functions throw ends the load and comes out of it") {
  const FakeServer server;
  const auto replicas = replicas_at(server.url());
  const auto ignore = [](const LoadedReply&) {};
  const auto bad_request = [](int64_t i) -> CompletionRequest {
    if (i == 5) throw std::out_of_range("no more prompts");
    return numbered(i);
  };
  for (const Kind kind : {Kind::closed, Kind::open, Kind::batch}) {
    CHECK_THROWS_AS(run_load(replicas, load_of(kind, 50, 1000), 50, bad_request, ignore), std::out_of_range);
    CHECK_THROWS_AS(run_load(replicas, load_of(kind, 50, 1000), 50, numbered,
                             [](const LoadedReply&) { throw std::runtime_error("disk full"); }),
                    std::runtime_error);
  }
}

TEST_CASE("loads that cannot be are refused") {
  const FakeServer server;
  const auto replicas = replicas_at(server.url());
  const auto run = [&](const EndpointLoad& load, int64_t count = 3) { collect_load(replicas, load, count, numbered); };
  CHECK_THROWS_AS(run(load_of(Kind::closed, 0)), UsageError);
  CHECK_THROWS_AS(run(load_of(Kind::closed, 1025)), UsageError);
  CHECK_THROWS_AS(run(load_of(Kind::open, 1, 0)), UsageError);
  CHECK_THROWS_AS(run(load_of(Kind::open, 1, std::nan(""))), UsageError);
  CHECK_THROWS_AS(run(load_of(Kind::batch, 2)), UsageError);
  CHECK_NOTHROW(run(load_of(Kind::batch, 2), 0));
  CHECK(server.received() == 0);
}

TEST_CASE("a signal ends a load: replies that were whole are there, those that were cut are not") {
  for (const Kind kind : {Kind::closed, Kind::open, Kind::batch}) {
    const pid_t child = fork();
    if (child == 0) {  // in a process of its own: a signal that came stays
      install_signal_handlers();
      std::atomic<int> stalled = 0;
      const FakeServer server([&](const FakeRequest& request) {
        FakeAnswer answer = fake_stream(2);
        if (number_of(request) < 4) return answer;
        answer.pieces.pop_back();
        answer.end = FakeAnswer::End::stall;
        ++stalled;
        return answer;
      });
      const std::jthread signaller([&] {
        while (stalled < 4) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        kill(getpid(), SIGTERM);
      });
      const auto replicas = replicas_at(server.url());
      const auto replies = collect_load(replicas, load_of(kind, 8, 100), 8, numbered);
      const bool whole = std::all_of(replies.begin(), replies.end(), [](const LoadedReply& loaded) {
        return loaded.index < 4 && loaded.reply.error.empty() && loaded.reply.completion_tokens == 2;
      });
      _exit(whole && replies.size() <= 4 ? 0 : 1);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
}
