// fuzz_sse.cpp: any bytes are a reply, with an error or without; cut in two, they are the same one.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "harness/completion.h"

namespace {

using namespace ringbench;

// What can be told of a reply, and the number of its events.
std::string told(CompletionApi api, const std::vector<std::string_view>& pieces) {
  CompletionReply reply;
  SseParser parser(4096);
  CompletionStream stream(api, ServerKind::sglang, reply);
  try {
    for (const std::string_view piece : pieces)
      parser.feed(piece, [&](const SseEvent& event) { stream.take(event, 1); });
  } catch (const SseError& e) {
    return e.what();
  }
  stream.end();
  if (reply.error.size() > 300) std::abort();
  return reply.error + "\n" + reply.finish_reason + "\n" + reply.text() + "\n" + reply.reasoning() + "\n" +
         std::to_string(reply.events.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  error_message(bytes);
  for (const CompletionApi api : {CompletionApi::completions, CompletionApi::generate})
    if (told(api, {bytes}) != told(api, {bytes.substr(0, size / 3), bytes.substr(size / 3)})) std::abort();
  return 0;
}
