// words.h: the words that command lines are made of: token counts, lists, ranges, durations, conditions, and what a
// misspelt word was meant to be. Each parser throws UsageError with the line that the user sees; `flag` is "--ctx".
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace ringbench {

// 393216, 384k (= 384 * 1024), 384Ki, 1.5k, 1M (= 1024^2).
int64_t parse_tokens(std::string_view text, std::string_view flag, int64_t minimum = 0);
// Lists and ranges: "512,8k", "512..384k*2" (geometric, the end always included), "0..32k+4k".
std::vector<int64_t> parse_token_list(const std::vector<std::string>& texts, std::string_view flag, int64_t minimum);
// Counts of other things (sequences, layers): no suffixes, at least `minimum`.
int64_t parse_count(std::string_view text, std::string_view flag, int64_t minimum = 1);
std::vector<int64_t> parse_count_list(const std::vector<std::string>& texts, std::string_view flag);
// "a,b" and repeated flags, in order.
std::vector<std::string> split_list(const std::vector<std::string>& texts, std::string_view flag);
// Seconds: 90, 90s, 10m, 1.5h, 50ms.
double parse_duration_s(std::string_view text, std::string_view flag);
// A number above 0, such as a percentage with or without its sign: "2", "0.5%".
double parse_percent(std::string_view text, std::string_view flag);

// A number as it stands: "0.6", "1".
double parse_decimal(std::string_view text, std::string_view flag);

// Bytes: 80GB (10^9), 75GiB (2^30), and the like.
int64_t parse_bytes(std::string_view text, std::string_view flag);

// "384k", "1.5k", "1M", "100": what a person would have typed.
std::string token_label(int64_t tokens);

// A condition on named integers: sums and products on both sides of one of <= < >= > == !=, "ctx*batch<=4M".
// `value_of` gives the value of a name, and throws UsageError for an unknown one.
bool holds(std::string_view condition, const std::function<int64_t(std::string_view)>& value_of);

// The word in `words` nearest to `text` by edit distance, or the one it is the beginning of; empty if none is near.
std::string nearest_word(std::string_view text, const std::vector<std::string>& words);

// "1.50 GiB"
std::string bytes_text(int64_t bytes);

// "32 988"
std::string grouped(int64_t number);

// "1 row", "2 rows"
std::string counted(int64_t count, const std::string& thing);

std::string join(const std::vector<std::string>& words, std::string_view separator);

bool contains(const std::vector<std::string>& words, std::string_view word);

// Words of `text` in lines of at most 100 columns, each after `indent` spaces. Line breaks in `text` stay; the last
// line ends with one.
std::string wrap(const std::string& text, size_t indent);

}  // namespace ringbench
