// grade.cpp: see grade.h.
#include "evals/grade.h"

#include <algorithm>
#include <optional>

#include "evals/compare.h"
#include "evals/extract.h"
#include "evals/math_tokens.h"
#include "evals/words.h"
#include "reference/random.h"

namespace ringbench {
namespace {

using Kind = Answer::Kind;

// For one verdict. Typical answers take some hundred steps; all of it takes well under 50 ms.
constexpr uint64_t kFuel = 120'000;
constexpr size_t kMaxForm = 256;  // of a canonical form that is kept

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string clean(std::string_view text) { return strip_wrappers(to_ascii_math(text)); }

std::string clean_gold(std::string_view text) {
  const std::string_view answer = last_box_or_all(text);
  if (answer.size() > kMaxCandidateBytes) throw LimitError("a gold answer that is too long");
  return clean(answer);
}

std::string shortened(std::string text) {
  if (text.size() > kMaxForm) text.replace(kMaxForm, std::string::npos, "...");
  return text;
}

// Digits only, with a sign perhaps: no need to parse. Leading zeros are dropped.
bool plain_integer(std::string_view text, std::string_view& digits, bool& negative) {
  negative = text.starts_with("-");
  digits = text.substr(negative ? 1 : 0);
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string_view::npos) return false;
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size() - 1));
  if (digits == "0") negative = false;
  return true;
}

bool is_nothing(std::string_view cleaned) {
  const std::string lower = lower_case(cleaned);
  return lower.empty() || lower == "nan" || lower == "none" || lower == "null" || lower == "n/a" ||
         lower == "undefined value";
}

// What is left of a text that no form fits, for comparing it as it stands.
std::string raw_form(std::string_view cleaned, Fuel& fuel) {
  std::string form;
  for (const Token& t : to_tokens(cleaned, fuel).tokens) {
    if (t.kind == Token::Kind::end) break;
    if (t.is(Token::Kind::sign, "{") || t.is(Token::Kind::sign, "}")) continue;
    if (!form.empty()) form += ' ';
    form += t.kind == Token::Kind::command ? "\\" + t.text : t.text.size() > 2 ? lower_case(t.text) : t.text;
  }
  return form;
}

class Judge {
 public:
  Judge(std::string gold, std::string candidate, bool allow_probable, Fuel& fuel)
      : gold_(std::move(gold)), candidate_(std::move(candidate)), allow_probable_(allow_probable), fuel_(fuel) {}

  // Sets verdict, method, forms and flags.
  void run(GradeVerdict& v) {
    v.verdict = VerdictKind::incorrect;
    if (is_nothing(gold_)) {
      v.verdict = VerdictKind::gold_unparsable;
      return;
    }
    if (is_nothing(candidate_)) return;
    std::string_view g, c;
    bool g_negative = false, c_negative = false;
    if (plain_integer(gold_, g, g_negative) && plain_integer(candidate_, c, c_negative)) {
      v.method = gold_ == candidate_ ? Method::string : Method::exact;
      decide(v, g == c && g_negative == c_negative);
      v.gold_form = shortened((g_negative ? "-" : "") + std::string(g));
      v.form = shortened((c_negative ? "-" : "") + std::string(c));
      return;
    }
    if (letter_gold(v)) return;
    if (by_form(v, candidate_)) return;
    std::string_view rest;
    if (leading_label(candidate_, rest) != '\0' && !rest.empty()) {
      GradeVerdict other;
      const std::string value = clean(rest);
      if (!is_nothing(value) && by_form(other, value)) take(v, other);
    }
  }

 private:
  static void decide(GradeVerdict& v, bool same) { v.verdict = same ? VerdictKind::correct : VerdictKind::incorrect; }

  static void take(GradeVerdict& v, const GradeVerdict& other) {
    v.verdict = other.verdict;
    v.method = other.method;
    v.form = other.form;
    v.gold_form = other.gold_form;
    v.unit_mismatch = other.unit_mismatch;
    v.unreduced = other.unreduced;
    v.natural_log = other.natural_log;
    v.near_miss = v.hedged = false;
  }

  // A gold that is a choice: the letter counts, whatever it is a label of.
  bool letter_gold(GradeVerdict& v) {
    std::string_view rest;
    const std::string inner = gold_.size() <= 64 ? gold_ : "";
    const bool label = !inner.empty() && leading_label(inner, rest) != '\0' && rest.empty();
    const char letter = label                                          ? leading_label(inner, rest)
                        : inner.size() == 1 || inner.starts_with("\\") ? choice_letter(inner)
                                                                       : '\0';
    if (letter == '\0' || inner.find(letter) == std::string::npos || (!label && words_and_digits(inner) > 1))
      return false;
    const bool bare_lower = candidate_.size() == 1 && candidate_[0] >= 'a';
    if (bare_lower || candidate_.size() > 4096) return false;
    for (const std::string_view word : {"option ", "choice ", "answer "})
      if (lower_case(candidate_).starts_with(word)) candidate_.erase(0, word.size());
    const char other = leading_label(candidate_, rest) != '\0' ? leading_label(candidate_, rest)
                       : words_and_digits(candidate_) == 1     ? choice_letter(candidate_)
                                                               : '\0';
    if (other == '\0') return false;
    v.method = Method::exact;
    v.gold_form = std::string(1, letter);
    v.form = std::string(1, other);
    decide(v, letter == other);
    return true;
  }

  // Letters and digits outside of commands' names.
  static size_t words_and_digits(std::string_view text) {
    size_t count = 0;
    for (size_t at = 0; at < text.size(); ++at) {
      if (text[at] == '\\') {
        while (at + 1 < text.size() && is_letter(text[at + 1])) ++at;
      } else if (is_letter(text[at]) || (text[at] >= '0' && text[at] <= '9') ||
                 static_cast<unsigned char>(text[at]) >= 0x80 ||
                 std::string_view("+-*/^_=<>").find(text[at]) != std::string_view::npos) {
        ++count;
      }
    }
    return count;
  }

  // True if correct.
  bool by_form(GradeVerdict& v, const std::string& candidate) {
    std::optional<Answer> gold, answer;
    bool undefined = false;
    try {
      gold = read_answer(gold_, fuel_);
      v.gold_form = shortened(to_text(*gold));
    } catch (const Unreadable&) {
    } catch (const Undefined&) {
      undefined = true;
    }
    try {
      answer = read_answer(candidate, fuel_);
      v.form = shortened(to_text(*answer));
    } catch (const Unreadable&) {
    } catch (const Undefined&) {
      return false;
    }
    if (!gold || !answer) return by_string(v, candidate, gold.has_value(), undefined);
    compare(v, *gold, *answer);
    if (v.verdict == VerdictKind::correct) return true;
    return (gold->grouped || answer->grouped) && ungrouped(v, candidate);
  }

  bool by_string(GradeVerdict& v, const std::string& candidate, bool gold_read, bool undefined) {
    const bool same = !undefined && is_balanced(candidate) && raw_form(gold_, fuel_) == raw_form(candidate, fuel_);
    if (same) {
      v.verdict = VerdictKind::correct;
      v.method = Method::string;
    } else if (!gold_read) {
      v.verdict = VerdictKind::gold_unparsable;
    }
    return same;
  }

  void compare(GradeVerdict& v, const Answer& gold, const Answer& answer) {
    AnswerComparison c;
    try {
      c = compare_answers(gold, answer, fnv1a(gold_ + candidate_), allow_probable_, fuel_);
    } catch (const Unreadable&) {
    } catch (const Undefined&) {}
    decide(v, c.same);
    v.method = Method::exact;
    if (c.matched) v.method = Method::set_matching;
    if (!c.same && c.numeric) v.method = Method::numeric_proof;
    if (c.same && c.probable) v.method = Method::numeric_probable;
    v.near_miss = c.near_miss;
    v.hedged = !c.same && gold.kind == Kind::value && answer.kind == Kind::list;
    v.unit_mismatch = !gold.unit.empty() && !answer.unit.empty() && gold.unit != answer.unit;
    v.unreduced = answer.unreduced;
    v.natural_log = gold.natural_log || answer.natural_log;
  }

  // "100,200,300" was read as one number; a gold or candidate that is a list says that it is three.
  bool ungrouped(GradeVerdict& v, const std::string& candidate) {
    if (gold_.find(",0") != std::string::npos || candidate.find(",0") != std::string::npos) return false;
    try {
      const Answer gold = read_answer(gold_, fuel_, false), answer = read_answer(candidate, fuel_, false);
      if (gold.kind != Kind::list || answer.kind == Kind::value) return false;
      GradeVerdict other = v;
      compare(other, gold, answer);
      if (other.verdict != VerdictKind::correct) return false;
      take(v, other);
      v.gold_form = shortened(to_text(gold));
      v.form = shortened(to_text(answer));
      return true;
    } catch (const Unreadable&) {
    } catch (const Undefined&) {}
    return false;
  }

  std::string gold_, candidate_;
  bool allow_probable_;
  Fuel& fuel_;
};

// The value of an answer that is to be a whole number; of an equation, its right side.
std::optional<mpz_class> integer_of(std::string_view cleaned, Fuel& fuel) {
  try {
    const Answer answer = read_answer(cleaned, fuel);
    if (answer.kind != Kind::value || answer.percent) return std::nullopt;
    return as_integer(answer.value);
  } catch (const Unreadable&) {
  } catch (const Undefined&) {}
  return std::nullopt;
}

void grade_aime(const GradeTask& task, GradeVerdict& v, Fuel& fuel) {
  const auto gold = integer_of(clean_gold(task.gold), fuel);
  if (!gold || *gold < 0 || *gold > 999) {
    v.verdict = VerdictKind::gold_unparsable;
    return;
  }
  v.gold_form = gold->get_str();
  v.verdict = VerdictKind::incorrect;
  std::string cleaned = clean(v.extracted);
  std::string_view rest;
  auto value = integer_of(cleaned, fuel);
  if (!value && leading_label(cleaned, rest) != '\0') value = integer_of(clean(rest), fuel);
  if (!value) return;
  v.method = Method::exact;
  v.form = shortened(value->get_str());
  if (*value == *gold) v.verdict = VerdictKind::correct;  // 0 to 999, as the gold is
}

void grade_choice(const GradeTask& task, GradeVerdict& v) {
  const char gold = choice_letter(clean_gold(task.gold), 'D');
  if (gold == '\0') {
    v.verdict = VerdictKind::gold_unparsable;
    return;
  }
  const char letter = choice_letter(clean(v.extracted), 'D');
  v.gold_form = std::string(1, gold);
  if (letter != '\0') v.form = std::string(1, letter);
  v.method = Method::exact;
  v.verdict = letter == gold ? VerdictKind::correct : VerdictKind::incorrect;
}

// Members of a gold that is a list: so many boxes on one line may be one answer.
size_t gold_members(const std::string& gold, Fuel& fuel) {
  if (gold.find(',') == std::string::npos && gold.find("and") == std::string::npos &&
      gold.find("or") == std::string::npos)
    return 1;
  try {
    const Answer answer = read_answer(gold, fuel);
    return answer.kind == Kind::list ? answer.items.size() : 1;
  } catch (const Unreadable&) {
  } catch (const Undefined&) {}
  return 1;
}

void grade_found(const GradeTask& task, GradeVerdict& v, Fuel& fuel) {
  if (v.extracted.size() > kMaxCandidateBytes) throw LimitError("an answer that is too long");
  if (task.kind == TaskKind::aime) return grade_aime(task, v, fuel);
  if (task.kind == TaskKind::choice) return grade_choice(task, v);
  Judge(clean_gold(task.gold), clean(v.extracted), task.allow_probable, fuel).run(v);
}

}  // namespace

const char* to_string(VerdictKind kind) {
  switch (kind) {
    case VerdictKind::correct: return "correct";
    case VerdictKind::incorrect: return "incorrect";
    case VerdictKind::no_answer: return "no_answer";
    case VerdictKind::truncated: return "truncated";
    case VerdictKind::gold_unparsable: return "gold_unparsable";
    case VerdictKind::limit_exceeded: return "limit_exceeded";
    case VerdictKind::not_run: return "not_run";
  }
  return "";
}

const char* to_string(Method method) {
  switch (method) {
    case Method::none: return "none";
    case Method::string: return "string";
    case Method::exact: return "exact";
    case Method::set_matching: return "set_matching";
    case Method::numeric_proof: return "numeric_proof";
    case Method::numeric_probable: return "numeric_probable";
  }
  return "";
}

GradeVerdict grade(const GradeTask& task) {
  GradeVerdict v;
  if (task.kind == TaskKind::code) return v;
  Fuel fuel(kFuel);
  try {
    if (task.completion.size() > kMaxCompletionBytes || task.gold.size() > kMaxCompletionBytes)
      throw LimitError("a completion that is too long");
    ExtractOptions options{task.bare, task.last_number, 1};
    if (task.kind == TaskKind::math && !task.bare) options.joined_boxes = gold_members(clean_gold(task.gold), fuel);
    const Extraction found = task.kind == TaskKind::choice ? extract_choice(task.completion, task.bare)
                                                           : extract_answer(task.completion, options);
    if (found.state != Extraction::State::found) {
      const bool truncated = found.state == Extraction::State::truncated || task.cut_off;
      v.verdict = truncated ? VerdictKind::truncated : VerdictKind::no_answer;
      return v;
    }
    v.extracted = found.text;
    v.rule = found.rule;
    v.begin = found.begin;
    v.end = found.end;
    v.multi_box = found.multi_box;
    grade_found(task, v, fuel);
  } catch (const LimitError&) {
    v.verdict = VerdictKind::limit_exceeded;
    v.method = Method::none;
  }
  v.fuel = fuel.spent();
  return v;
}

bool equivalent(std::string_view a, std::string_view b) {
  const auto takes = [](std::string_view gold, std::string_view candidate) {
    GradeTask task;
    task.gold = gold;
    task.completion = candidate;
    task.bare = true;
    return grade(task).verdict == VerdictKind::correct;
  };
  return takes(a, b) && takes(b, a);
}

}  // namespace ringbench
