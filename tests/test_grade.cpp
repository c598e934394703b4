// The grader: rules C3 to C17 of the grading convention as tables of pairs that are the same and pairs that are not,
// what must not change a verdict, and inputs that are damaged, deep, huge or no text at all.
#include "evals/grade.h"

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "tests/catch.h"
#include "tests/checks.h"

using namespace ringbench;

namespace {

struct Pair {
  const char* gold;
  const char* candidate;
};
using Pairs = std::vector<Pair>;

GradeVerdict graded(std::string_view gold, std::string_view candidate) {
  GradeTask task;
  task.gold = gold;
  task.completion = candidate;
  task.bare = true;
  return grade(task);
}

GradeVerdict completed(TaskKind kind, std::string_view gold, std::string_view completion) {
  GradeTask task;
  task.kind = kind;
  task.gold = gold;
  task.completion = completion;
  return grade(task);
}

void check(const Pairs& same, const Pairs& different) {
  for (const auto& [gold, candidate] : same) {
    INFO("same: " << gold << "   " << candidate);
    const GradeVerdict v = graded(gold, candidate);
    INFO(to_string(v.verdict) << " " << v.gold_form << "   " << v.form);
    CHECK(v.verdict == VerdictKind::correct);
  }
  for (const auto& [gold, candidate] : different) {
    INFO("different: " << gold << "   " << candidate);
    const GradeVerdict v = graded(gold, candidate);
    INFO(to_string(v.method) << " " << v.gold_form << "   " << v.form);
    CHECK(v.verdict == VerdictKind::incorrect);
  }
}

// One of each form.
const std::vector<std::string> kForms = {"42",
                                         "-7",
                                         "\\frac{3}{4}",
                                         "2\\frac{1}{2}",
                                         "0.125",
                                         "1,234",
                                         "3\\sqrt{5}",
                                         "\\frac{\\sqrt{2}+\\sqrt{6}}{4}",
                                         "2\\pi",
                                         "e^2",
                                         "3+4i",
                                         "x^2+2x+1",
                                         "\\frac{x+1}{x-1}",
                                         "5^{2n}",
                                         "\\sin x",
                                         "\\ln 5",
                                         "\\log_2 3",
                                         "(1,2)",
                                         "[0,1)",
                                         "(1,2,3)",
                                         "1,2",
                                         "\\{1,2\\}",
                                         "(-\\infty,1)\\cup(2,\\infty)",
                                         "x=3",
                                         "x=1,y=2",
                                         "y=2x+1",
                                         "x^2+y^2=1",
                                         "x>3",
                                         "1<x\\le 5",
                                         "x<2y",
                                         "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}",
                                         "3:5",
                                         "101_2",
                                         "3:30",
                                         "\\text{Tuesday}",
                                         "C",
                                         "\\pm 3",
                                         "50\\%",
                                         "30^\\circ",
                                         "\\mathbb{R}",
                                         "\\emptyset",
                                         "n!",
                                         "\\binom{n}{2}",
                                         "|x|",
                                         "0.\\overline{3}",
                                         "\\$5",
                                         "12\\text{ cm}",
                                         "\\sqrt{1+\\sqrt{2}}",
                                         "x \\in [1,2]",
                                         "f(x)=x+1",
                                         "\\lfloor x \\rfloor"};

}  // namespace

TEST_CASE("C3: how an answer is set does not matter") {
  check({{"5", "$5$"},
         {"5", "\\boxed{5}"},
         {"\\frac{1}{2}", "\\displaystyle\\frac12"},
         {"5", "**5**"},
         {"5", "5."},
         {"(1,2)", "\\left(1,\\,2\\right)"},
         {"x+1", "{\\color{blue}{x+1}}"},
         {"-3",
          "\xE2\x88\x92"
          "3"},
         {"\\sqrt{3}",
          "\xE2\x88\x9A"
          "3"},
         {"\\frac{1}{2}", "\xC2\xBD"},
         {"x^2", "x\xC2\xB2"},
         {"x^2+1", "x\xC2\xB2+1"},
         {"\\pi", "\xCF\x80"},
         {"12", "\xEF\xBC\x91\xEF\xBC\x92"},
         {"5", "\\mathbf{5}"},
         {"7", "7\xE2\x80\x8B"},
         {"5", "\\(5\\)"},
         {"\\text{even}", "even"},
         {"x^{10}", "x\xC2\xB9\xE2\x81\xB0"},
         {"5", "\\[5\\]"},
         {"2", "\\fbox{2}"}},
        {{"5", "-5"},
         {"x^2", "x2"},
         {"\\frac{1}{2}", "1/3"},
         {"5", "$6$"},
         {"\\sqrt{3}", "3"},
         {"12", "1 2"},
         {"x", "\\mathbf{y}"}});
}

TEST_CASE("C4: numbers are exact") {
  check({{"33\\frac13\\%", "\\frac{100}{3}\\%"},
         {"(-2)^n", "(-1)^n 2^n"},
         {"\\binom{n}{k}", "\\frac{n!}{k!(n-k)!}"},
         {"\\binom{n+1}{2}", "\\frac{n(n+1)}{2}"},
         {"\\sqrt[3]{7+5\\sqrt2}", "1+\\sqrt2"},
         {"\\frac{1}{2}", "0.5"},
         {"\\frac{1}{2}", "2/4"},
         {"\\frac 59", "\\frac{5}{9}"},
         {"\\frac9{19}", "9/19"},
         {"2\\frac{1}{2}", "5/2"},
         {"-1\\frac{1}{2}", "-3/2"},
         {"1 1/2", "\\frac32"},
         {"0.07", "7e-2"},
         {"30000", "3 \\times 10^{4}"},
         {"0.000001", "10^-6"},
         {"\\frac{5}{6}", "0.8\\overline{3}"},
         {"\\frac13", "0.333..."},
         {"\\frac{4}{33}", "0.121212\\dots"},
         {"120", "5!"},
         {"10", "\\binom{5}{2}"},
         {"1024", "2^{10}"},
         {"3\\sqrt{5}", "\\sqrt{45}"},
         {"\\frac{\\sqrt7}{7}", "\\frac{1}{\\sqrt{7}}"},
         {"2+\\sqrt{3}", "\\sqrt{7+4\\sqrt{3}}"},
         {"3\\sqrt[3]{2}", "54^{1/3}"},
         {"6", "\\sqrt3\\sqrt{12}"},
         {"\\sqrt2-1", "\\sqrt{3-2\\sqrt2}"},
         {".0000672", "6.72 \\times 10^{-5}"},
         {"\\frac{3+\\sqrt5}{2}", "\\frac{2}{3-\\sqrt{5}}"},
         {"-2", "\\sqrt[3]{-8}"},
         {"\\frac12", "\\sin 30^\\circ"},
         {"\\frac{\\sqrt6+\\sqrt2}{4}", "\\cos\\frac{\\pi}{12}"},
         {"3", "\\log_2 8"},
         {"\\frac32", "\\log_4 8"},
         {"3\\ln 3", "\\ln 27"},
         {"x(x+1)", "x^2+x"},
         {"x^2+x+1", "\\frac{x^3-1}{x-1}"},
         {"25^n", "5^{2n}"},
         {"1", "\\sin^2 x+\\cos^2 x"},
         {"2^{100}", "1267650600228229401496703205376"},
         {"\\frac18", "\\cos\\frac{\\pi}{7}\\cos\\frac{2\\pi}{7}\\cos\\frac{3\\pi}{7}"},
         {"2\\sin x\\cos x", "\\sin(2x)"},
         {"\\frac{\\pi}{4}", "\\arctan 1"},
         {"2^{2^{2^{100}}}", "2^{2^{2^{100}}}"},
         {"\\sqrt{x^2}", "|x|"}},
        {{"(-2)^n", "2^n"},
         {"\\frac37", "0.43"},
         {"\\frac{\\pi}{2}", "1.57"},
         {"\\sqrt5", "2.2360680"},
         {"147197952744", "e^{\\pi\\sqrt{67}}"},
         {"3^{80}", "3^{80}+1"},
         {"\\frac13", "0.333"},
         {"\\frac{5}{6}", "0.83"},
         {"2\\frac12", "1"},
         {"3\\sqrt5", "5\\sqrt3"},
         {"\\pi", "22/7"},
         {"x^2", "x^7"},
         {"x^2+1", "x^2+1.0001"},
         {"2^{100}", "2^{100}+1"},
         {"e", "2.71828"},
         {"\\sqrt2+\\sqrt3", "\\sqrt{5}"},
         {"x", "|x|"},
         {"\\sin x", "\\cos x"},
         {"-1\\frac12", "-\\frac12"},
         {"\\frac{x^3-1}{x-1}", "x^2+x"},
         {"25^n", "5^n"},
         {"\\sqrt{2}", "\\frac{99}{70}"}});
}

TEST_CASE("C5: thousands") {
  check({{"58,500", "58500"},
         {"11,\\! 111,\\! 111,\\! 100", "11111111100"},
         {"32{,}348", "32348"},
         {"1\\,000\\,000", "1000000"},
         {"1234", "1,234"},
         {"007", "7"},
         {"1234.5", "1,234.5"},
         {"2,3", "2, 3"},
         {"12\xE2\x80\x89"
          "345",
          "12345"},
         {"100,200,300", "100, 200, 300"}},
        {{"4500", "(4,500)"},
         {"7250", "7, 250"},
         {"1234", "12,34"},
         {"3.14", "3,14"},
         {"1000", "1,00"},
         {"1234", "1,235"},
         {"12345", "1,2345"}});
}

TEST_CASE("C6: percent") {
  check({{"60\\%", "60"},
         {"60", "60\\%"},
         {"0.6", "60\\%"},
         {"60\\%", "\\frac{3}{5}"},
         {"60\\%", "60 percent"},
         {"12.5\\%", "1/8"},
         {"-5\\%", "-5"}},
        {{"60", "0.6"}, {"60\\%", "6\\%"}, {"0.6", "60"}, {"60\\%", "0.06"}, {"60\\%", "6000\\%"}, {"6\\%", "0.6"}});
}

TEST_CASE("C7: units, money and degrees are dropped") {
  check({{"864 \\mbox{ inches}^2", "864"},
         {"\\frac{270}7\\text{ degrees}", "\\frac{270}{7}^\\circ"},
         {"\\$32,\\!348", "32348"},
         {"5", "5\\text{ m}"},
         {"5 \\text{ cm}", "5 cm"},
         {"90^\\circ", "90"},
         {"12", "12 \\text{ miles per hour}"},
         {"10", "10\\ \\mathrm{m/s^2}"},
         {"3", "3 apples"},
         {"18.90", "\\$18.90"},
         {"\\sin 30^\\circ", "\\sin\\frac{\\pi}{6}"},
         {"15\\sqrt2", "15\\sqrt{2}\\text{ units}"}},
        {{"5 \\text{ cm}", "6 \\text{ cm}"},
         {"5", "5x"},
         {"90^\\circ", "80^\\circ"},
         {"\\sin 30", "\\sin 30^\\circ"},
         {"3", "3 dozen"},
         {"3", "3 hundredths"},
         {"\\min(3,4)", "4"}});
  CHECK(graded("5 \\text{ cm}", "5 \\text{ m}").unit_mismatch);
  CHECK_FALSE(graded("5 \\text{ cm}", "5 \\text{ cm}").unit_mismatch);
}

TEST_CASE("C8: tuples, intervals, unions, membership and inequalities") {
  check({{"|x|<1", "(-1,1)"},
         {"|2x-1|\\ge 3", "x\\le-1\\text{ or }x\\ge2"},
         {"\\mathbb{R}\\setminus\\{-1,1\\}", "x\\ne\\pm1"},
         {"(3,\\frac{\\pi}{2})", "\\left(3, 0.5\\pi\\right)"},
         {"[-2,7]", "x \\in [-2,7]"},
         {"x \\in [-2,7]", "-2\\le x\\le 7"},
         {"(-\\infty,-2)\\cup(3,\\infty)", "(3,\\infty)\\cup(-\\infty,-2)"},
         {"(3,\\infty)", "x>3"},
         {"x>3", "3<x"},
         {"x<1 \\text{ or } x>3", "(-\\infty,1)\\cup(3,\\infty)"},
         {"\\mathbb{R}", "(-\\infty,\\infty)"},
         {"\\mathbb{R}\\setminus\\{1\\}", "(-\\infty,1)\\cup(1,\\infty)"},
         {"x\\ne 1", "\\mathbb{R} - \\{1\\}"},
         {"\\emptyset", "\\{\\}"},
         {"[1,3]", "[1,2]\\cup[2,3]"},
         {"2x>6", "x>3"},
         {"\\{x \\mid x>3\\}", "(3,\\infty)"},
         {"[0,\\sqrt2)", "0\\le x<\\sqrt{2}"},
         {"(1,2)", "1<x<2"},
         {"(a,b)", "(a, b)"}},
        {{"|x|<1", "|x|\\le 1"},
         {"f(1)<f(2)<f(4)", "f(4)<f(2)<f(1)"},
         {"(1,2)", "(2,1)"},
         {"[1,2)", "[1,2]"},
         {"(1,2)", "[1,2]"},
         {"x>3", "x\\ge 3"},
         {"x>3", "x<3"},
         {"x>3", "y>3"},
         {"(1,2,3)", "(1,2)"},
         {"(-\\infty,1)\\cup(2,\\infty)", "(-\\infty,1]\\cup(2,\\infty)"},
         {"\\mathbb{R}", "(0,\\infty)"},
         {"x<1 \\text{ or } x>3", "1<x<3"},
         {"\\emptyset", "0"}});
}

TEST_CASE("C9: lists, sets and plus-minus") {
  check({{"1,2,3", "3,1,2"},
         {"1, 2", "1 \\text{ and } 2"},
         {"1,2", "x=1 \\text{ or } x=2"},
         {"\\{1,2\\}", "\\{2,1\\}"},
         {"\\{1,2\\}", "1,2"},
         {"1,2", "\\{2, 1\\}"},
         {"(1,2),(3,4)", "(3,4),(1,2)"},
         {"1,2", "(2,1)"},
         {"(1,2)", "1,2"},
         {"\\pm 3", "3,-3"},
         {"\\{1\\pm\\sqrt{5},-2\\}", "-2, 1+\\sqrt5, 1-\\sqrt5"},
         {"2\\pm\\sqrt3", "2+\\sqrt{3}, 2-\\sqrt{3}"},
         {"1,1,2", "1,2,1"},
         {"\\{1,1,2\\}", "\\{1,2\\}"},
         {"x=\\pm 2", "2, -2"}},
        {{"1,2,3", "1,2"},
         {"1,2", "1,2,3"},
         {"1", "1,2"},
         {"\\{1,2\\}", "(1,2)"},
         {"(1,2),(3,4)", "(2,1),(4,3)"},
         {"(1,2)", "2,1"},
         {"\\pm 3", "3"},
         {"3", "\\pm 3"},
         {"1,1,2", "1,2,2"},
         {"2\\pm\\sqrt3", "2\\pm\\sqrt2"},
         {"(1,2)", "\\{1,2\\}"}});
  CHECK(graded("1", "1 or 2").hedged);
}

TEST_CASE("C10: equations and assignments") {
  check({{"\\frac35", "\\sin\\theta=\\frac35"},
         {"2:3", "a:b=2:3"},
         {"x+y=3", "y=3-x"},
         {"f(x)=2x", "y=2x"},
         {"3", "x=3"},
         {"x=3", "3"},
         {"f(x)=x+1", "x+1"},
         {"\\frac13", "P(A)=\\frac{1}{3}"},
         {"3", "1+2=3"},
         {"x=1+2=3", "3"},
         {"y=2x+1", "2x-y+1=0"},
         {"x^2+y^2=1", "2x^2+2y^2=2"},
         {"x=1,y=2", "y=2,x=1"},
         {"2x<y", "y>2x"},
         {"y=2x+1", "2x+1"},
         {"x<2y", "2x-4y<0"},
         {"104", "m+n=104"},
         {"(x,y)=(1,2)", "(1,2)"},
         {"60", "\\angle ABC = 60^\\circ"}},
        {{"7=11a+c", "11a+c"},
         {"2x+z=1", "1"},
         {"x=3", "y=3"},
         {"y=2x+1", "y=2x-1"},
         {"x=1,y=2", "x=2,y=1"},
         {"2x<y", "2x\\le y"},
         {"3", "1+1=3"},
         {"x^2+y^2=1", "x^2+y^2=2"},
         {"2x<y", "2x>y"},
         {"3", "x=4"},
         {"y=x^2", "y^2=x"}});
}

TEST_CASE("C11: matrices") {
  check({{"\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{bmatrix}1&2\\\\3&4\\end{bmatrix}"},
         {"\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\left(\\begin{array}{cc}1&2\\\\3&4\\end{array}\\right)"},
         {"\\begin{pmatrix}1/2\\\\1\\end{pmatrix}", "\\frac12\\begin{pmatrix}1\\\\2\\end{pmatrix}"},
         {"-\\begin{pmatrix}1\\\\2\\end{pmatrix}", "(-1,-2)"},
         {"\\begin{pmatrix}1\\\\2\\end{pmatrix}", "(1,2)"},
         {"(1,2,3)", "\\begin{pmatrix}1\\\\2\\\\3\\end{pmatrix}"},
         {"\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 2 \\\\ \\end{pmatrix}"},
         {"\\begin{pmatrix}\\sqrt4&0\\end{pmatrix}", "\\begin{pmatrix}2&0\\end{pmatrix}"}},
        {{"\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&3\\\\2&4\\end{pmatrix}"},
         {"\\begin{pmatrix}1&2\\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}"},
         {"\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&2\\\\3&5\\end{pmatrix}"},
         {"\\begin{pmatrix}1\\\\2\\end{pmatrix}", "(2,1)"},
         {"\\begin{pmatrix}1\\\\2\\end{pmatrix}", "1"},
         {"\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&2\\\\3\\end{pmatrix}"}});
}

TEST_CASE("C12: i, e, symbols and log") {
  check({{"3+4i", "4i+3"},
         {"-1", "i^2"},
         {"e^{x+1}", "e \\cdot e^x"},
         {"-1", "e^{i\\pi}"},
         {"2", "\\log 100"},
         {"\\log 5", "\\ln 5"},
         {"xy", "y \\cdot x"},
         {"\\cot x", "\\frac{\\cos x}{\\sin x}"},
         {"\\frac{1+i}{2}", "\\frac{1}{1-i}"},
         {"K", "K"},
         {"x_1+1", "1+x_{1}"}},
        {{"k", "K"},
         {"3+4i", "3-4i"},
         {"x", "y"},
         {"e", "E"},
         {"ABC", "BCA"},
         {"\\log_{10} 5", "\\ln 5"},
         {"x_1", "x_2"},
         {"i", "1"}});
  CHECK(graded("\\ln 5", "\\log 5").natural_log);
}

TEST_CASE("C13: words, letters and number words") {
  check({{"\\text{Alice, Bob}", "Bob and Alice"},
         {"B", "Option B"},
         {"9", "\\textbf{(C) } 9"},
         {"\\text{Evelyn}", "evelyn"},
         {"\\text{No}", "no"},
         {"\\text{no solution}", "No  solution."},
         {"C", "(C)"},
         {"C", "\\text{(C)}"},
         {"\\text{(C)}", "C"},
         {"C", "\\mathbf{C}"},
         {"7", "seven"},
         {"12", "(B) 12"},
         {"12", "B. 12"},
         {"\\text{even}", "\\textbf{Even}"},
         {"C", "\\textbf{(C)}\\ 12"},
         {"20", "Twenty"}},
        {{"\\text{Alice, Bob}", "Alice"},
         {"\\text{Evelyn}", "Eve"},
         {"C", "D"},
         {"C", "c"},
         {"7", "eight"},
         {"12", "(B) 13"},
         {"\\text{even}", "odd"},
         {"\\text{even}", "not even"},
         {"C", "(A) or (C)"}});
}

TEST_CASE("C14: numerals, ratios and times") {
  check({{"4210_{5}", "4210_5"},
         {"1A3_{16}", "1a3_{16}"},
         {"101_2", "0101_{2}"},
         {"101_2", "101_{\\text{two}}"},
         {"3:4", "6:8"},
         {"3:4", "\\frac{3}{4}"},
         {"1:2:3", "2:4:6"},
         {"3:30", "3:30"},
         {"3:30", "\\text{3:30 p.m.}"},
         {"3:30 PM", "3:30 p.m."}},
        {{"4210_5", "4210_6"},
         {"4210_5", "4211_5"},
         {"3:4", "4:3"},
         {"3:30", "1/10"},
         {"3:30", "3:31"},
         {"1:2:3", "1:2"},
         {"3:30 AM", "3:30 PM"},
         {"101_2", "101"}});
}

TEST_CASE("C15: an AIME answer is a whole number from 0 to 999") {
  const auto verdict = [](const char* gold, const char* text) { return completed(TaskKind::aime, gold, text).verdict; };
  for (const auto& [gold, text] : Pairs{{"25", "\\boxed{025}"},
                                        {"025", "\\boxed{25}"},
                                        {"104", "\\boxed{m+n=104}"},
                                        {"73", "so **Answer: 73**"},
                                        {"0", "\\boxed{000}"},
                                        {"80", "\\boxed{80^\\circ}"},
                                        {"113", "The final answer is $\\boxed{113}$."},
                                        {"7", "\\boxed{\\text{7}}"}}) {
    INFO(gold << " " << text);
    CHECK(verdict(gold, text) == VerdictKind::correct);
  }
  for (const auto& [gold, text] : Pairs{{"25", "\\boxed{26}"},
                                        {"25", "\\boxed{25.5}"},
                                        {"25", "\\boxed{-25}"},
                                        {"25", "\\boxed{25,26}"},
                                        {"25", "\\boxed{1025}"},
                                        {"25", "\\boxed{x}"},
                                        {"33", "\\boxed{\\frac{33}{2}}"}}) {
    INFO(gold << " " << text);
    CHECK(verdict(gold, text) == VerdictKind::incorrect);
  }
  CHECK(verdict("25", "I do not know") == VerdictKind::no_answer);
  CHECK(verdict("x", "\\boxed{25}") == VerdictKind::gold_unparsable);
}

TEST_CASE("C16: a choice is one letter that stands alone") {
  const auto verdict = [](const char* gold, const char* text) {
    return completed(TaskKind::choice, gold, text).verdict;
  };
  for (const auto& [gold, text] : Pairs{{"B", "\\boxed{B}"},
                                        {"B", "The answer is (B)."},
                                        {"B", "Answer: b"},
                                        {"C", "The correct option is **C**"},
                                        {"D", "Answer: $D$"},
                                        {"A", "so the answer is A"},
                                        {"B", "\\boxed{\\text{(B)}}"},
                                        {"C", "Answer: C) a cat"},
                                        {"B", "B"},
                                        {"A", "Answer: B? No.\nAnswer: A"}}) {
    INFO(gold << " " << text);
    CHECK(verdict(gold, text) == VerdictKind::correct);
  }
  for (const auto& [gold, text] : Pairs{{"B", "\\boxed{C}"},
                                        {"A", "\\boxed{A, B}"},
                                        {"B", "Answer: D"},
                                        {"A", "\\boxed{\\text{a dog}}"},
                                        {"C", "\\boxed{Cat}"},
                                        {"B", "\\boxed{42}"}}) {
    INFO(gold << " " << text);
    CHECK(verdict(gold, text) == VerdictKind::incorrect);
  }
  CHECK(verdict("A", "The answer is a cat") == VerdictKind::no_answer);
  CHECK(verdict("A", "<think>Answer: A") == VerdictKind::truncated);
}

TEST_CASE("C17: what has no value is never correct") {
  for (const auto& [gold, candidate] : Pairs{{"5", "NaN"},
                                             {"5", "None"},
                                             {"0/0", "0/0"},
                                             {"\\frac{1}{0}", "\\frac{1}{0}"},
                                             {"5", "("},
                                             {"5", "\\frac{5}{"},
                                             {"NaN", "NaN"},
                                             {"5", "$"},
                                             {"\\frac{5}{", "\\frac{5}{"}}) {
    INFO(gold << " " << candidate);
    const auto verdict = graded(gold, candidate).verdict;
    CHECK(verdict != VerdictKind::correct);
    CHECK(verdict != VerdictKind::limit_exceeded);
  }
  CHECK(graded("5", "").verdict == VerdictKind::no_answer);
  CHECK(graded("5", " \n").verdict == VerdictKind::no_answer);
  CHECK(completed(TaskKind::code, "5", "\\boxed{5}").verdict == VerdictKind::not_run);
  CHECK(graded("3 \\pmod{5}", "3\\pmod 5").method == Method::string);
  CHECK(graded("3 \\pmod{5}", "8").verdict == VerdictKind::gold_unparsable);
}

TEST_CASE("every form equals itself, in any wrapper and either way round, and no other form") {
  for (size_t i = 0; i < kForms.size(); ++i) {
    const std::string& form = kForms[i];
    for (const std::string& wrapped : {form, "$" + form + "$", "\\boxed{" + form + "}", "  " + form + " . ",
                                       "\\(" + form + "\\)", "$$\\boxed{" + form + "}$$", "**" + form + "**"}) {
      INFO(form << "   " << wrapped);
      CHECK(graded(form, wrapped).verdict == VerdictKind::correct);
      CHECK(graded(wrapped, form).verdict == VerdictKind::correct);
    }
    for (size_t j = 0; j < kForms.size(); ++j) {
      if (i == j) continue;
      const std::string& other = kForms[j];
      INFO(form << "   " << other);
      // Where C8 to C10 take one form for another.
      const std::vector<std::pair<std::string, std::string>> taken = {
          {"(1,2)", "1,2"},     {"1,2", "(1,2)"},     {"1,2", "\\{1,2\\}"}, {"\\{1,2\\}", "1,2"},
          {"(1,2)", "x=1,y=2"}, {"x=1,y=2", "(1,2)"}, {"1,2", "x=1,y=2"},   {"x=1,y=2", "1,2"}};
      const bool known = std::find(taken.begin(), taken.end(), std::pair(form, other)) != taken.end();
      CHECK((graded(form, other).verdict == VerdictKind::correct) == known);
    }
  }
}

TEST_CASE("equivalence is symmetric, also where grading is not") {
  CHECK(equivalent("0.5", "\\frac12"));
  CHECK(equivalent("\\frac12", "0.5"));
  CHECK_FALSE(equivalent("(1,2)", "2,1"));
  CHECK_FALSE(equivalent("2,1", "(1,2)"));
  CHECK_FALSE(equivalent("", ""));
}

TEST_CASE("methods, flags, forms and spans are told") {
  CHECK(graded("5", "5").method == Method::string);
  CHECK(graded("5", "05").method == Method::exact);
  CHECK(graded("1,2", "2,1").method == Method::set_matching);
  CHECK(graded("147197952744", "e^{\\pi\\sqrt{67}}").method == Method::numeric_proof);
  CHECK(graded("\\sin 2x", "2\\sin x\\cos x").method == Method::numeric_probable);
  CHECK(graded("0.3333", "\\frac13").near_miss);
  CHECK(graded("\\frac12", "\\frac24").unreduced);
  CHECK(graded("\\frac24", "0.5").form == "1/2");
  GradeTask task;
  task.gold = "2\\sin x\\cos x";
  task.completion = "\\sin 2x";
  task.bare = true;
  task.allow_probable = false;
  CHECK(grade(task).verdict == VerdictKind::incorrect);
  const std::string text = "Maybe \\boxed{4}. No: \\boxed{5}.";
  const GradeVerdict v = completed(TaskKind::math, "5", text);
  CHECK(v.verdict == VerdictKind::correct);
  CHECK(v.multi_box);
  CHECK(v.rule == "boxed");
  CHECK(text.substr(v.begin, v.end - v.begin) == "5");
  task.completion = "no end";
  task.bare = false;
  task.cut_off = true;
  CHECK(grade(task).verdict == VerdictKind::truncated);
}

TEST_CASE("boxes on one line are one list where the gold is one") {
  CHECK(completed(TaskKind::math, "1,2", "\\boxed{2} and \\boxed{1}").verdict == VerdictKind::correct);
  CHECK(completed(TaskKind::math, "1,2", "\\boxed{2}\n\\boxed{1}").verdict == VerdictKind::incorrect);
  CHECK(completed(TaskKind::math, "1", "\\boxed{2} and \\boxed{1}").verdict == VerdictKind::correct);
}

TEST_CASE("damaged, deep and huge inputs end in a verdict, by counted steps") {
  const std::vector<std::string> inputs = {repeated("(", 100000),
                                           repeated("{", 60000),
                                           repeated("\\frac{", 10000),
                                           repeated("\\sqrt{", 200) + "2" + repeated("}", 200),
                                           repeated("-", 60000) + "1",
                                           repeated("2^", 20000) + "2",
                                           repeated("\\boxed{", 20000),
                                           "9^{9^{9^{9^9}}}",
                                           "99999999!",
                                           repeated("9", 60000),
                                           "10^{10^{10}}",
                                           "(x+y+z+w)^{64}(x+y-z+w)^{64}",
                                           repeated("1,", 30000) + "1",
                                           repeated("x+", 30000) + "x",
                                           repeated("\\sin ", 10000) + "x",
                                           repeated("|", 1000),
                                           "\\frac{1}{" + repeated("9", 20000) + "}",
                                           "\\sqrt{" + repeated("7", 9000) + "}",
                                           repeated("\\pm ", 300) + "1",
                                           repeated("!", 60000),
                                           "5" + repeated("!", 60000),
                                           std::string("\0\xFF\xFE\x80\\\xC3", 6),
                                           std::string(1 << 17, '\\'),
                                           repeated("\\begin{pmatrix}", 5000),
                                           repeated("\\text{", 5000),
                                           repeated("x_{", 5000),
                                           repeated("a=", 20000) + "a",
                                           repeated("1<", 20000) + "x",
                                           "1e999999999",
                                           "0." + repeated("12", 30000) + "\\dots",
                                           repeated("(1,2)\\cup", 5000) + "(1,2)",
                                           "x" + repeated("'", 60000),
                                           repeated("\\sqrt{1+", 100) + "1" + repeated("}", 100),
                                           "\\binom{10000}{5000}^{10000}",
                                           repeated("e^{", 200) + "1" + repeated("}", 200),
                                           repeated("(1+\\sqrt2)(1+\\sqrt3)(1+\\sqrt5)", 300)};
  for (const std::string& input : inputs) {
    INFO(input.substr(0, 40));
    for (const std::string& gold : {input, std::string("7")}) {
      const GradeVerdict v = graded(gold, input);
      CHECK(v.fuel < 1'000'000);
      CHECK(graded(gold, input).fuel == v.fuel);
      if (gold == "7") CHECK(v.verdict != VerdictKind::correct);
    }
    for (const TaskKind kind : {TaskKind::math, TaskKind::aime, TaskKind::choice})
      CHECK(completed(kind, "7", "\\boxed{" + input + "} Answer: " + input).verdict != VerdictKind::correct);
  }
}

TEST_CASE("verdicts do not depend on how many threads ask") {
  std::vector<int> differences(4);
  std::vector<std::thread> threads;
  for (int& count : differences)
    threads.emplace_back([&count] {
      for (const std::string& a : kForms)
        for (const std::string& b : {a, std::string("\\sin 2x")})
          count += graded(a, b).verdict == VerdictKind::correct ? 1 : 0;
    });
  for (std::thread& t : threads) t.join();
  for (const int count : differences) CHECK(count == static_cast<int>(kForms.size()));
}
