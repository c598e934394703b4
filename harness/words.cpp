// words.cpp: see words.h. Numbers go through from_chars, so that no locale can change what 1.5k means.
#include "harness/words.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <sstream>

#include "harness/failure.h"

namespace ringbench {
namespace {

constexpr int64_t max_tokens = int64_t{1} << 40;  // products with a few more factors still fit 64 bits
constexpr size_t max_values = 10000;              // of one range: more is a typing error

std::string in_quotes(std::string_view text) { return "'" + std::string(text) + "'"; }

// What kinds of number a flag takes, and how its messages describe them.
struct NumberKind {
  bool suffixes;
  std::string_view what, advice;
};
constexpr NumberKind token_count = {true, "a token count", "Use 393216, 384k (=384*1024) or 512..384k*2."};
constexpr NumberKind plain_count = {false, "a count", "Use 4, a list like 1,4,16 or a range like 1..64*2."};

[[noreturn]] void refuse(std::string_view text, std::string_view flag, const NumberKind& kind) {
  throw UsageError(std::string(flag) + ": " + in_quotes(text) + " is not " + std::string(kind.what) + ". " +
                   std::string(kind.advice));
}

// Digits, then at most one '.' and more digits, then a suffix if `kind` has them. Exact: no floating point until a
// message needs it.
int64_t parse_number(std::string_view text, std::string_view flag, const NumberKind& kind, int64_t minimum) {
  const size_t whole_end = std::min(text.find_first_not_of("0123456789"), text.size());
  std::string_view rest = text.substr(whole_end), fraction;
  if (rest.starts_with('.')) {
    const size_t fraction_end = std::min(rest.find_first_not_of("0123456789", 1), rest.size());
    fraction = rest.substr(1, fraction_end - 1);
    rest = rest.substr(fraction_end);
    if (fraction.empty() || fraction.size() > 6) refuse(text, flag, kind);
  }
  int64_t unit = 1;
  if (rest == "k" || rest == "K" || rest == "Ki")
    unit = 1024;
  else if (rest == "m" || rest == "M" || rest == "Mi")
    unit = 1024 * 1024;
  else if (!rest.empty())
    refuse(text, flag, kind);
  if (whole_end == 0 || (unit > 1 && !kind.suffixes)) refuse(text, flag, kind);

  const auto too_large = [&] {
    return UsageError(std::string(flag) + ": " + std::string(text) + " is too large. The most is " +
                      std::to_string(max_tokens) + ".");
  };
  int64_t whole = 0;
  if (std::from_chars(text.data(), text.data() + whole_end, whole).ec != std::errc() || whole > max_tokens / unit)
    throw too_large();
  int64_t value = whole * unit;
  if (!fraction.empty()) {
    int64_t digits = 0, scale = 1;
    for (const char c : fraction) digits = 10 * digits + (c - '0'), scale *= 10;
    if (digits * unit % scale != 0) {
      char exact[64];
      std::snprintf(exact, sizeof exact, "%.12g",
                    static_cast<double>(value) + static_cast<double>(digits * unit) / static_cast<double>(scale));
      throw UsageError(std::string(flag) + ": " + std::string(text) + (unit > 1 ? " = " + std::string(exact) : "") +
                       " is not a whole number" + (kind.suffixes ? " of tokens." : "."));
    }
    value += digits * unit / scale;
  }
  if (value > max_tokens) throw too_large();
  if (value < minimum)
    throw UsageError(std::string(flag) + ": " + std::string(text) + " is too small. The least is " +
                     std::to_string(minimum) + ".");
  return value;
}

// "lo..hi*f" or "lo..hi+s"; the end is always the last value.
std::vector<int64_t> parse_range(std::string_view text, std::string_view flag, const NumberKind& kind,
                                 int64_t minimum) {
  const size_t dots = text.find("..");
  const std::string_view tail = text.substr(dots + 2);
  const size_t sign = tail.find_first_of("*+");
  if (sign == std::string_view::npos)
    throw UsageError(std::string(flag) + ": the range " + in_quotes(text) + " has no step. Write " + std::string(text) +
                     "*2 or " + std::string(text) + "+" + std::string(tail) + ".");
  const int64_t low = parse_number(text.substr(0, dots), flag, kind, minimum);
  const int64_t high = parse_number(tail.substr(0, sign), flag, kind, minimum);
  const bool geometric = tail[sign] == '*';
  const int64_t step = parse_number(tail.substr(sign + 1), flag, kind, 0);
  if (high < low) throw UsageError(std::string(flag) + ": the range " + in_quotes(text) + " ends before it starts.");
  if (geometric && low == 0)
    throw UsageError(std::string(flag) + ": the range " + in_quotes(text) + " cannot start at 0: 0 times " +
                     std::to_string(step) + " is 0.");
  if (step < (geometric ? 2 : 1))
    throw UsageError(std::string(flag) + ": the range " + in_quotes(text) +
                     " never reaches its end: the step must be at least " + (geometric ? "2." : "1."));
  std::vector<int64_t> values;
  for (int64_t v = low; v < high; v = geometric ? v * step : v + step) {
    values.push_back(v);
    if (values.size() > max_values)
      throw UsageError(std::string(flag) + ": the range " + in_quotes(text) + " has more than " +
                       std::to_string(max_values) + " values.");
    if (geometric && v > high / step) break;  // the next value would pass the end, or overflow
  }
  values.push_back(high);
  return values;
}

std::vector<int64_t> parse_numbers(const std::vector<std::string>& texts, std::string_view flag, const NumberKind& kind,
                                   int64_t minimum) {
  std::vector<int64_t> values;
  for (const std::string& text : split_list(texts, flag)) {
    if (text.find("..") == std::string::npos) {
      values.push_back(parse_number(text, flag, kind, minimum));
    } else {
      const auto range = parse_range(text, flag, kind, minimum);
      values.insert(values.end(), range.begin(), range.end());
    }
  }
  return values;
}

// The number that is all of `text`; NaN if it is not one.
double parse_real(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty() ? value : std::nan("");
}

}  // namespace

int64_t parse_tokens(std::string_view text, std::string_view flag, int64_t minimum) {
  return parse_number(text, flag, token_count, minimum);
}

std::vector<int64_t> parse_token_list(const std::vector<std::string>& texts, std::string_view flag, int64_t minimum) {
  return parse_numbers(texts, flag, token_count, minimum);
}

int64_t parse_count(std::string_view text, std::string_view flag, int64_t minimum) {
  return parse_number(text, flag, {false, "a whole number", "Use digits alone."}, minimum);
}

std::vector<int64_t> parse_count_list(const std::vector<std::string>& texts, std::string_view flag) {
  return parse_numbers(texts, flag, plain_count, 1);
}

std::vector<std::string> split_list(const std::vector<std::string>& texts, std::string_view flag) {
  std::vector<std::string> words;
  for (const std::string& text : texts) {
    for (size_t start = 0; start <= text.size();) {
      const size_t comma = std::min(text.find(',', start), text.size());
      if (comma == start)
        throw UsageError(std::string(flag) + ": " + in_quotes(text) +
                         (text.empty() ? " is empty." : " has an empty element."));
      words.push_back(text.substr(start, comma - start));
      start = comma + 1;
    }
  }
  return words;
}

double parse_duration_s(std::string_view text, std::string_view flag) {
  std::string_view number = text;
  double unit = 1;
  if (number.ends_with("ms")) {
    unit = 1e-3;
    number.remove_suffix(2);
  } else if (number.ends_with('s') || number.ends_with('m') || number.ends_with('h')) {
    unit = number.back() == 's' ? 1 : number.back() == 'm' ? 60 : 3600;
    number.remove_suffix(1);
  }
  const double value = parse_real(number) * unit;
  if (!(value > 0) || !std::isfinite(value))
    throw UsageError(std::string(flag) + ": " + in_quotes(text) + " is not a duration. Use 90s, 10m or 2h.");
  return value;
}

double parse_percent(std::string_view text, std::string_view flag) {
  std::string_view number = text;
  if (number.ends_with('%')) number.remove_suffix(1);
  const double value = parse_real(number);
  if (!(value > 0 && value < 100))
    throw UsageError(std::string(flag) + ": " + in_quotes(text) +
                     " is not a percentage between 0 and 100. Use 2 or 0.5.");
  return value;
}

double parse_decimal(std::string_view text, std::string_view flag) {
  const double value = parse_real(text);
  if (!std::isfinite(value))
    throw UsageError(std::string(flag) + ": " + in_quotes(text) + " is not a number. Use 0.6 or 1.");
  return value;
}

std::string token_label(int64_t tokens) {
  constexpr int64_t k = 1024;
  if (tokens >= k * k && tokens % (k * k) == 0) return std::to_string(tokens / (k * k)) + "M";
  if (tokens >= k && tokens % k == 0) return std::to_string(tokens / k) + "k";
  if (tokens >= k && tokens * 10 % k == 0)
    return std::to_string(tokens / k) + "." + std::to_string(tokens % k * 10 / k) + "k";
  return std::to_string(tokens);
}

// --- Conditions ---

namespace {

// condition = sum comparison sum;  sum = product {(+|-) product};  product = atom {* atom};  atom = name | number
class ConditionParser {
 public:
  ConditionParser(std::string_view text, const std::function<int64_t(std::string_view)>& value_of)
      : text_(text), value_of_(value_of) {}

  bool evaluate() {
    const double left = sum();
    const std::string_view comparison = take_any({"<=", ">=", "==", "!=", "<", ">"});
    if (comparison.empty()) refuse();
    const double right = sum();
    if (!text_.substr(at_).empty()) refuse();
    if (comparison == "<=") return left <= right;
    if (comparison == ">=") return left >= right;
    if (comparison == "==") return left == right;
    if (comparison == "!=") return left != right;
    return comparison == "<" ? left < right : left > right;
  }

 private:
  double sum() {
    double value = product();
    for (;;) {
      const std::string_view sign = take_any({"+", "-"});
      if (sign.empty()) return value;
      value = sign == "+" ? value + product() : value - product();
    }
  }

  double product() {
    double value = atom();
    while (!take_any({"*"}).empty()) value *= atom();
    return value;
  }

  double atom() {
    skip_spaces();
    const size_t end = std::min(text_.find_first_of(" *+-<>=!", at_), text_.size());
    const std::string_view word = text_.substr(at_, end - at_);
    if (word.empty()) refuse();
    at_ = end;
    skip_spaces();
    if (word[0] >= '0' && word[0] <= '9') return static_cast<double>(parse_tokens(word, "--where"));
    return static_cast<double>(value_of_(word));
  }

  std::string_view take_any(std::initializer_list<std::string_view> signs) {
    for (const std::string_view sign : signs)
      if (text_.substr(at_).starts_with(sign)) {
        at_ += sign.size();
        return sign;
      }
    return "";
  }

  void skip_spaces() { at_ = std::min(text_.find_first_not_of(' ', at_), text_.size()); }

  [[noreturn]] void refuse() const {
    throw UsageError("--where: " + in_quotes(text_) + " is not a condition. Write one like 'ctx*batch<=4M'.");
  }

  std::string_view text_;
  const std::function<int64_t(std::string_view)>& value_of_;
  size_t at_ = 0;
};

}  // namespace

bool holds(std::string_view condition, const std::function<int64_t(std::string_view)>& value_of) {
  return ConditionParser(condition, value_of).evaluate();
}

// --- Spelling ---

namespace {

// Insertions, deletions, substitutions and swaps of neighbours that make `a` into `b`.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i)
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

}  // namespace

std::string nearest_word(std::string_view text, const std::vector<std::string>& words) {
  std::string nearest;
  size_t least = std::max<size_t>(2, text.size() / 3) + 1;
  for (const std::string& word : words) {
    const bool beginning = text.size() >= 3 && word.starts_with(text);
    const size_t distance = beginning ? 1 : edit_distance(text, word);
    if (distance < least && distance < word.size()) least = distance, nearest = word;
  }
  return nearest;
}

std::string grouped(int64_t number) {
  const std::string digits = std::to_string(number);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    const bool first_digit = i == 0 || digits[i - 1] == '-';
    if (!first_digit && (digits.size() - i) % 3 == 0) text += ' ';
    text += digits[i];
  }
  return text;
}

std::string bytes_text(int64_t bytes) {
  const auto value = static_cast<double>(bytes);
  char text[64];
  if (value >= 0x1p30)
    std::snprintf(text, sizeof text, "%.2f GiB", value / 0x1p30);
  else if (value >= 0x1p20)
    std::snprintf(text, sizeof text, "%.1f MiB", value / 0x1p20);
  else
    std::snprintf(text, sizeof text, "%.1f KiB", value / 0x1p10);
  return text;
}

int64_t parse_bytes(std::string_view text, std::string_view flag) {
  constexpr std::pair<std::string_view, double> units[] = {{"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30},
                                                           {"TiB", 0x1p40}, {"KB", 1e3},     {"MB", 1e6},
                                                           {"GB", 1e9},     {"TB", 1e12}};
  for (const auto& [name, bytes] : units)
    if (text.ends_with(name)) {
      const double value = parse_real(text.substr(0, text.size() - name.size())) * bytes;
      if (value >= 1 && value < 0x1p62) return static_cast<int64_t>(value);
    }
  throw UsageError(std::string(flag) + ": " + in_quotes(text) +
                   " is not a size. Use 80GB (= 80e9) or 75GiB (= 75 * 2^30).");
}

std::string counted(int64_t count, const std::string& thing) {
  return std::to_string(count) + " " + thing + (count == 1 ? "" : "s");
}

bool contains(const std::vector<std::string>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::string join(const std::vector<std::string>& words, std::string_view separator) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) text += (i > 0 ? std::string(separator) : "") + words[i];
  return text;
}

std::string wrap(const std::string& text, size_t indent) {
  constexpr size_t width = 100;
  std::string lines;
  std::istringstream paragraphs(text);
  for (std::string paragraph; std::getline(paragraphs, paragraph);) {
    std::istringstream words(paragraph);
    std::string line(indent, ' ');
    bool empty = true;
    for (std::string word; words >> word; empty = false) {
      if (!empty && line.size() + 1 + word.size() > width) {
        lines += line + "\n";
        line.assign(indent, ' ');
        empty = true;
      }
      line += (empty ? "" : " ") + word;
    }
    lines += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return lines;
}

}  // namespace ringbench
