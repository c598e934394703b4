// regex.cpp: see regex.h.
#include "evals/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <limits>

namespace ringbench {
namespace {

constexpr size_t kJitStackBytes = size_t{8} << 20;
constexpr size_t kLeastSteps = 1'000'000;  // of one match; on a long text it may take more, in proportion

// The same pattern in PCRE2's words. Oniguruma: \s is White_Space (PCRE2 adds U+180E), \w has marks and connectors
// (PCRE2 10.42 has neither), \v and \h mean other things, \uHHHH is a code point, and X{n,m}+ is not possessive.
std::string to_pcre2(const std::string& pattern) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c != '\\') {
      if (c == '[' && in_class && pattern.substr(i, 2) != "[:") throw RegexError("a class inside a class");
      if (c == '&' && in_class && pattern.substr(i, 2) == "&&") throw RegexError("an intersection of classes");
      if (c == '[') in_class = true;
      if (c == ']') in_class = false;
      out += c;
      if (c == '[' && pattern.substr(i + 1, 1) == "^") out += pattern[++i];
      if (c == '}' && !in_class && pattern.substr(i + 1, 1) == "+") throw RegexError("'}+', which is ambiguous");
      continue;
    }
    if (++i == pattern.size()) throw RegexError("a backslash at the end");
    const char e = pattern[i];
    const std::string word = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
    if (e == 's') {
      out += R"(\p{White_Space})";
    } else if (e == 'S') {
      out += R"(\P{White_Space})";
    } else if (e == 'w') {
      out += in_class ? word : "[" + word + "]";
    } else if (e == 'W' && !in_class) {
      out += "[^" + word + "]";
    } else if (e == 'v') {
      out += R"(\x0b)";
    } else if (e == 'u') {
      const std::string digits = pattern.substr(i + 1, 4);
      if (digits.size() != 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
        throw RegexError("\\u without four hexadecimal digits");
      out += "\\x{" + digits + "}";
      i += 4;
    } else if ((e == 'p' || e == 'P') && i + 1 < pattern.size() && pattern[i + 1] == '{') {
      const size_t end = pattern.find('}', i);
      if (end == std::string::npos) throw RegexError("\\p{ without }");
      out += pattern.substr(i - 1, end - i + 2);
      i = end;
    } else if (std::string_view("rntfdDx").find(e) != std::string_view::npos ||
               std::string_view(R"([](){}.*+?^$|\/-'"!@#%&,:;<=>~` )").find(e) != std::string_view::npos) {
      out += '\\';
      out += e;
    } else {
      throw RegexError(std::string("\\") + e);
    }
  }
  return out;
}

}  // namespace

struct Regex::Compiled {
  pcre2_code* code = nullptr;
  ~Compiled() { pcre2_code_free(code); }
};

namespace {

// What a match is written to, one for each thread; the stack is where JIT code keeps its ways back.
struct MatchMemory {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr);

  MatchMemory() {
    if (data == nullptr || context == nullptr) throw std::bad_alloc();
    if (stack != nullptr) pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~MatchMemory() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    if (stack != nullptr) pcre2_jit_stack_free(stack);
  }
  MatchMemory(const MatchMemory&) = delete;
  MatchMemory& operator=(const MatchMemory&) = delete;
};

}  // namespace

Regex::Regex(const std::string& pattern) {
  std::string translated;
  try {
    translated = to_pcre2(pattern);
  } catch (const RegexError& e) {
    throw RegexError(std::string("uses ") + e.what() + ", which is not supported here");
  }
  auto compiled = std::make_shared<Compiled>();
  int error = 0;
  PCRE2_SIZE offset = 0;
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  if (!context) throw std::bad_alloc();
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), 50);
  compiled->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, context.get());
  if (compiled->code == nullptr) {
    PCRE2_UCHAR text[200];
    pcre2_get_error_message(error, text, sizeof text);
    throw RegexError(std::string("is no regular expression: ") + reinterpret_cast<const char*>(text));
  }
  pcre2_jit_compile(compiled->code, PCRE2_JIT_COMPLETE);  // where it is not available, matches are interpreted
  compiled_ = std::move(compiled);
}

Regex Regex::literal(const std::string& text) {
  std::string pattern;
  for (const char c : text) {
    if (std::string_view(R"([](){}.*+?^$|\)").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return Regex(pattern);
}

std::optional<std::pair<size_t, size_t>> Regex::find(std::string_view text, size_t from) const {
  static thread_local MatchMemory memory;
  const size_t steps = std::max(kLeastSteps, 8 * (text.size() - from));
  pcre2_set_match_limit(memory.context, static_cast<uint32_t>(std::min<size_t>(steps, 0xFFFFFFFF)));
  const int found = pcre2_match(compiled_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, memory.data, memory.context);
  if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (found < 0) throw RegexError("takes too many steps on this text");
  const PCRE2_SIZE* const bounds = pcre2_get_ovector_pointer(memory.data);
  return std::pair<size_t, size_t>(bounds[0], bounds[1]);
}

}  // namespace ringbench
