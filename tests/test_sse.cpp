// Server-sent events: the examples of the standard, and every stream once more cut at every place.
#include "harness/sse.h"

#include <vector>

#include "tests/catch.h"

using namespace ringbench;

namespace {

// "type|id|data" of each event, one a line.
std::string events_of(const std::vector<std::string_view>& pieces, size_t limit = 1 << 20) {
  SseParser parser(limit);
  std::string text;
  for (const std::string_view piece : pieces)
    parser.feed(piece, [&](const SseEvent& e) { text += e.type + "|" + e.id + "|" + e.data + "\n"; });
  return text;
}

struct Stream {
  std::string_view bytes, events;
};

using namespace std::string_view_literals;

// The first four are the standard's own examples.
const Stream kStreams[] = {
    {"data: This is the first message.\n\ndata: This is the second message, it\ndata: has two lines.\n\n"
     "data: This is the third message.\n\n",
     "message||This is the first message.\nmessage||This is the second message, it\nhas two lines.\n"
     "message||This is the third message.\n"},
    {": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
     "message|1|first event\nmessage||second event\nmessage|| third event\n"},
    {"data\n\ndata\ndata\n\ndata:", "message||\nmessage||\n\n"},  // the last has no empty line
    {"data:test\n\ndata: test\n\n", "message||test\nmessage||test\n"},
    {"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\ndata: 1\n\n",
     "add||73857293\nremove||2153\nmessage||1\n"},
    {"event: lost\n\ndata: x\n\n", "message||x\n"},  // an event without data leaves nothing behind
    {"\xEF\xBB\xBF"
     "data: a\r\rdata: b\r\n\r\ndata: c\n\ndata: d\r\n\n",
     "message||a\nmessage||b\nmessage||c\nmessage||d\n"},
    {"data: a\n\n\xEF\xBB\xBF"
     "data: b\n\n",
     "message||a\n"},  // a mark later on is part of a field's name
    {"id: 7\ndata: a\n\nid: 8\0\ndata: b\n\n"sv, "message|7|a\nmessage|7|b\n"},
    {"data: {\"text\":\"\xF0\x9F\x98\x80\"}\r\n\r\ndata: [DONE]\r\n\r\n",
     "message||{\"text\":\"\xF0\x9F\x98\x80\"}\nmessage||[DONE]\n"},
    {"data:\r\n\r\n\r\n: ping\r\n\r\nnonsense: x\r\ndata: y\r\n\r\n", "message||\nmessage||y\n"},
    {"data: a\r\ndata: b\r\n\r\ndata: c\rdata: d\r\r", "message||a\nb\nmessage||c\nd\n"},
    {"", ""},
    {"\n\n\r\r\r\n\r\n", ""},
};

}  // namespace

TEST_CASE("events are those of the standard, wherever the bytes are cut") {
  for (const Stream& stream : kStreams) {
    const std::string_view bytes = stream.bytes;
    INFO(bytes);
    CHECK(events_of({bytes}) == stream.events);
    for (size_t i = 0; i <= bytes.size(); ++i)
      for (size_t j = i; j <= bytes.size(); ++j)
        REQUIRE(events_of({bytes.substr(0, i), bytes.substr(i, j - i), bytes.substr(j)}) == stream.events);
    std::vector<std::string_view> single;
    for (size_t i = 0; i < bytes.size(); ++i) single.push_back(bytes.substr(i, 1));
    CHECK(events_of(single) == stream.events);
  }
}

TEST_CASE("an event is handed over with the byte that ends it, without waiting for a line feed") {
  SseParser parser;
  int events = 0;
  const auto count = [&](const SseEvent&) { ++events; };
  parser.feed("data: a\r\r", count);
  CHECK(events == 1);
  parser.feed("\ndata: b\r\n\r", count);
  CHECK(events == 2);
}

TEST_CASE("the time to wait is the last retry that is a number") {
  SseParser parser;
  const auto ignore = [](const SseEvent&) {};
  parser.feed("retry: -1\nretry:\nretry: 99999999999999999999\n", ignore);
  CHECK(!parser.retry_ms());
  parser.feed("retry: 1500\nretry: 1.5\n", ignore);
  CHECK(parser.retry_ms() == 1500);
}

TEST_CASE("a line or an event above the limit is an error, also in pieces") {
  CHECK(events_of({"data: 1234\n\n"}, 10) == "message||1234\n");
  CHECK_THROWS_AS(events_of({"data: 12345\n\n"}, 10), SseError);
  CHECK_THROWS_AS(events_of({"data: 1", "2345\n\n"}, 10), SseError);
  CHECK_THROWS_AS(events_of({"data:1234\ndata:12345\ndata:6\n\n"}, 10), SseError);  // 4 + 1 + 5 + 1
}
