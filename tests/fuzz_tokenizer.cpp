// Fuzz target: any bytes as a tokenizer.json give a tokenizer or a TokenizerError, and what it gives can encode and
// decode; any bytes as a text come back from a tokenizer of ours.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "evals/tokenizer.h"

using namespace ringbench;

namespace {

// The byte-level alphabet and a few merges.
std::string small_file() {
  std::string vocab;
  int next = 0x100;
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    char text[32];
    std::snprintf(text, sizeof text, "\"\\u%04x\":%d,", static_cast<unsigned>(printable ? b : next++), b);
    vocab += text;
  }
  return "{\"added_tokens\":[{\"id\":259,\"content\":\"<s>\",\"special\":true,\"lstrip\":true}],"
         "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
         "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":{" +
         vocab + "\"ab\":256,\"aba\":257,\"bab\":258},\"merges\":[\"a b\",\"ab a\",[\"b\",\"ab\"]]}}";
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  try {
    const Tokenizer tokenizer = Tokenizer::parse(input, "input");
    tokenizer.decode(
        tokenizer.encode("It's 12 \xC3\xA9"
                         "e\xCC\x81  words,\n\n and <s> more: \xE4\xBD\xA0\xF0\x9F\x98\x80"));
  } catch (const TokenizerError&) {}
  static const Tokenizer own = Tokenizer::parse(small_file(), "own");
  try {
    // Only the white space that <s> takes along is lost.
    const std::string text = own.decode(own.encode(input));
    if (input.find("<s>") == std::string_view::npos && text != input) std::abort();
  } catch (const TokenizerError&) {  // not UTF-8
  }
  return 0;
}
