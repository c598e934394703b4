#include "evals/code_task.h"

#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "evals/text.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// --- Tests as LiveCodeBench packs them ---

std::string decode_base64(std::string_view text) {
  std::string bytes;
  uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    const int value = c >= 'A' && c <= 'Z'   ? c - 'A'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 26
                      : c >= '0' && c <= '9' ? c - '0' + 52
                      : c == '+'             ? 62
                      : c == '/'             ? 63
                                             : -1;
    if (c == '=' || c == '\n' || c == '\r') continue;
    if (value < 0) throw std::invalid_argument("its private tests are neither JSON nor base64");
    bits = bits << 6 | static_cast<uint32_t>(value);
    if ((held += 6) >= 8) bytes += static_cast<char>(bits >> (held -= 8) & 0xff);
  }
  return bytes;
}

std::string inflate_text(const std::string& packed, int64_t most_bytes) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) throw std::invalid_argument("zlib cannot be started");
  std::string text;
  std::array<char, 1 << 16> block;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  int state = Z_OK;
  while (state == Z_OK && static_cast<int64_t>(text.size()) <= most_bytes) {
    stream.next_out = reinterpret_cast<Bytef*>(block.data());
    stream.avail_out = static_cast<uInt>(block.size());
    state = inflate(&stream, Z_NO_FLUSH);
    text.append(block.data(), block.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  if (static_cast<int64_t>(text.size()) > most_bytes) throw std::invalid_argument("its private tests are too large");
  if (state != Z_STREAM_END) throw std::invalid_argument("its private tests are damaged (zlib)");
  return text;
}

// A pickle that is one text, and nothing else: of Python's opcodes those that such a file has (PROTO, FRAME, three
// lengths of BINUNICODE, MEMOIZE, STOP). Others would run code.
std::string unpickle_text(std::string_view bytes) {
  size_t at = 0;
  const auto number = [&](size_t width) {
    if (width > bytes.size() - at) throw std::invalid_argument("its private tests are damaged (pickle)");
    uint64_t value = 0;
    for (size_t i = 0; i < width; ++i) value |= uint64_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
    at += width;
    return value;
  };
  std::optional<std::string> text;
  const auto take = [&](uint64_t length) {
    if (text || length > bytes.size() - at) throw std::invalid_argument("its private tests are damaged (pickle)");
    text = bytes.substr(at, length);
    at += length;
  };
  while (at < bytes.size()) {
    const auto opcode = static_cast<unsigned char>(bytes[at++]);
    if (opcode == 0x80)
      number(1);  // PROTO
    else if (opcode == 0x95)
      number(8);  // FRAME
    else if (opcode == 0x8c)
      take(number(1));  // SHORT_BINUNICODE
    else if (opcode == 'X')
      take(number(4));  // BINUNICODE
    else if (opcode == 0x8d)
      take(number(8));  // BINUNICODE8
    else if (opcode == '.' && text)
      return *text;           // STOP
    else if (opcode != 0x94)  // MEMOIZE
      throw std::invalid_argument("its private tests are a pickle of something else than a text: not opened");
  }
  throw std::invalid_argument("its private tests are damaged (pickle)");
}

void add_tests(const std::string& json, std::vector<CodeTest>& tests) {
  const Json list = Json::parse(json, nullptr, false);
  if (!list.is_array()) throw std::invalid_argument("its tests are no list of JSON");
  for (const Json& test : list) {
    if (!test.is_object() || !test.contains("input") || !test.contains("output") || !test["input"].is_string() ||
        !test["output"].is_string())
      throw std::invalid_argument("a test has no input and output");
    tests.push_back({test["input"].get<std::string>(), test["output"].get<std::string>()});
  }
}

// --- Comparing outputs ---

std::vector<std::string_view> split(std::string_view text, const char* at) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find_first_of(at, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words = split(line, " \t");
  std::erase(words, "");
  return words;
}

// A decimal as sign, digits without zeros at either end, and the exponent of the last digit; empty if it is none.
struct Decimal {
  bool negative = false;
  std::string digits;
  int64_t exponent = 0;
  bool operator==(const Decimal&) const = default;
};
std::optional<Decimal> decimal(std::string_view word) {
  Decimal d;
  if (word.starts_with('-') || word.starts_with('+')) d.negative = word.front() == '-', word.remove_prefix(1);
  size_t at = 0;
  bool point = false;
  for (; at < word.size() && ((word[at] >= '0' && word[at] <= '9') || (word[at] == '.' && !point)); ++at)
    if (word[at] == '.')
      point = true;
    else
      d.digits += word[at], d.exponent -= point;
  if (d.digits.empty()) return std::nullopt;
  if (at < word.size()) {
    if (word[at] != 'e' && word[at] != 'E') return std::nullopt;
    std::string_view power = word.substr(at + 1);
    const bool down = power.starts_with('-');
    if (down || power.starts_with('+')) power.remove_prefix(1);
    if (power.empty() || power.size() > 9 || power.find_first_not_of("0123456789") != std::string_view::npos)
      return std::nullopt;
    const int64_t shift = std::stoll(std::string(power));
    d.exponent += down ? -shift : shift;
  }
  d.digits.erase(0, d.digits.find_first_not_of('0'));
  while (!d.digits.empty() && d.digits.back() == '0') d.digits.pop_back(), ++d.exponent;
  if (d.digits.empty()) return Decimal();
  return d;
}

bool same_line(std::string_view a, std::string_view b) {
  if (a == b) return true;
  const std::vector<std::string_view> left = words_of(a), right = words_of(b);
  return !left.empty() && std::equal(left.begin(), left.end(), right.begin(), right.end(), [](auto x, auto y) {
    const std::optional<Decimal> first = decimal(x);
    return first && first == decimal(y);
  });
}

// --- Running ---

// What contest platforms import beforehand, then the program: as it stands, or its function called with a test's input.
constexpr const char* kRunner = R"(import contextlib, importlib, json, sys
sys.setrecursionlimit(50000)
if hasattr(sys, "set_int_max_str_digits"):
    sys.set_int_max_str_digits(50000)
space = {"__name__": "__main__"}
names = ("string re datetime collections heapq bisect copy math random statistics itertools functools operator io sys "
         "json builtins typing").split()
modules = {name: importlib.import_module(name) for name in names}
for module in modules.values():  # of equal names the later: pow is that of builtins, not of math
    for entry in getattr(module, "__all__", [n for n in dir(module) if not n.startswith("_")]):
        space[entry] = getattr(module, entry)
space.update(modules)
program = compile(open("/work/program.py", encoding="utf-8").read(), "program.py", "exec")
if len(sys.argv) < 2:
    exec(program, space)
else:
    arguments = [json.loads(line) for line in sys.stdin.read().split("\n") if line.strip()]
    with contextlib.redirect_stdout(sys.stderr):
        exec(program, space)
        owner = space.get("Solution")
        call = getattr(owner(), sys.argv[1]) if owner is not None else space[sys.argv[1]]
        result = call(*arguments)
    json.dump(result, sys.stdout)
)";

// A folder that only this process can see, gone when this is.
class ProgramFolder {
 public:
  explicit ProgramFolder(const std::string& program) {
    std::string pattern = (fs::temp_directory_path() / "ringbench-code-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make a folder in /tmp");
    path_ = pattern;
    fs::permissions(path_, fs::perms::owner_all | fs::perms::others_read | fs::perms::others_exec);
    std::ofstream(path_ / "program.py") << program;
    std::ofstream(path_ / "run.py") << kRunner;
  }
  ~ProgramFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ProgramFolder(const ProgramFolder&) = delete;
  ProgramFolder& operator=(const ProgramFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string last_line(const std::string& text) {
  const std::string_view all = trimmed(text);
  const size_t begin = all.rfind('\n');
  return std::string(all.substr(begin == std::string_view::npos ? 0 : begin + 1)).substr(0, 200);
}

bool same_value(const std::string& output, const std::string& expected) {
  const Json a = Json::parse(output, nullptr, false), b = Json::parse(expected, nullptr, false);
  return !a.is_discarded() && !b.is_discarded() && a == b;
}

}  // namespace

CodeProblem parse_code_problem(const std::string& public_tests, const std::string& private_tests,
                               const std::string& metadata, int64_t most_bytes) {
  CodeProblem problem;
  if (!public_tests.empty()) add_tests(public_tests, problem.tests);
  if (!private_tests.empty()) {
    const bool json = trimmed(private_tests).starts_with('[');
    add_tests(json ? private_tests : unpickle_text(inflate_text(decode_base64(private_tests), most_bytes)),
              problem.tests);
  }
  if (problem.tests.empty()) throw std::invalid_argument("it has no tests");
  if (const Json facts = Json::parse(metadata, nullptr, false); facts.is_object())
    if (const auto name = facts.find("func_name"); name != facts.end() && name->is_string())
      problem.function = name->get<std::string>();
  return problem;
}

std::optional<std::string> extract_code(std::string_view completion) {
  if (const size_t thought = completion.rfind("</think>"); thought != std::string_view::npos)
    completion.remove_prefix(thought + 8);
  std::optional<std::string> code;
  std::string block;
  bool open = false;
  for (const std::string_view line : split(completion, "\n")) {
    if (trimmed(line).starts_with("```")) {
      if (open) code = block;
      open = !open;
      block.clear();
    } else if (open) {
      block += std::string(line) + "\n";
    }
  }
  return code;
}

bool same_output(std::string_view output, std::string_view expected) {
  const std::vector<std::string_view> left = split(trimmed(output), "\n"), right = split(trimmed(expected), "\n");
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](auto a, auto b) { return same_line(trimmed(a), trimmed(b)); });
}

const char* to_string(CodeVerdict::Outcome outcome) {
  switch (outcome) {
    case CodeVerdict::Outcome::passed: return "passed";
    case CodeVerdict::Outcome::wrong_answer: return "wrong_answer";
    case CodeVerdict::Outcome::time_limit: return "time_limit";
    case CodeVerdict::Outcome::runtime_error: return "runtime_error";
  }
  return "";
}

CodeVerdict run_code(const std::string& program, const CodeProblem& problem, const SandboxLimits& limits) {
  using Outcome = CodeVerdict::Outcome;
  if (const std::string& why = sandbox_problem(); !why.empty()) throw std::runtime_error(why);
  const ProgramFolder folder(program);
  std::vector<std::string> command = {"python3", "-I", "-B", "/work/run.py"};
  if (!problem.function.empty()) command.push_back(problem.function);
  for (size_t i = 0; i < problem.tests.size(); ++i) {
    const auto& [input, expected] = problem.tests[i];
    const SandboxResult r = run_sandboxed(command, input, folder.path(), limits);
    if (r.end == SandboxResult::End::timed_out) return {Outcome::time_limit, i, ""};
    if (r.end == SandboxResult::End::too_much_output) return {Outcome::runtime_error, i, "too much output"};
    if (r.end == SandboxResult::End::killed)
      return {Outcome::runtime_error, i, "ended by signal " + std::to_string(r.code)};
    if (r.code != 0) return {Outcome::runtime_error, i, last_line(r.err)};
    if (!(problem.function.empty() ? same_output(r.out, expected) : same_value(r.out, expected)))
      return {Outcome::wrong_answer, i, ""};
  }
  return {Outcome::passed, problem.tests.size(), ""};
}

}  // namespace ringbench
