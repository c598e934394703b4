// extract.h: the answer in a completion (C1, C2, C16 of the convention), with the rule that found it and where. One
// pass over the text; nothing is read as mathematics yet.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ringbench {

struct Extraction {
  enum class State { found, none, truncated };  // truncated: thinking opened and never closed
  State state = State::none;
  std::string text;           // what was found, as it stands
  std::string rule;           // boxed, boxes, answer, hashes, option, bare, last_number
  size_t begin = 0, end = 0;  // bytes of the completion
  bool multi_box = false;     // boxes with other contents came before
};

struct ExtractOptions {
  bool bare = false;         // the text is the answer
  bool last_number = false;  // the last number, where no rule finds anything
  size_t joined_boxes = 1;   // so many boxes on the last line are one list
};

Extraction extract_answer(std::string_view completion, const ExtractOptions& options = {});

// For questions with choices: the last box, else the last "answer", "option" or "choice" with a letter after it.
Extraction extract_choice(std::string_view completion, bool bare = false);

// The contents of the last complete box, or the text itself: golds are whole solutions in some data sets.
std::string_view last_box_or_all(std::string_view text);

// The letter A-E that a candidate names, upper case: alone, in brackets or a font, or as the label of what follows.
// 0 if none, or if two different ones stand in it.
char choice_letter(std::string_view candidate, char last = 'E');
// The same where a label stands before something: "(B) 12", "B. 12". `rest` is what it stands before.
char leading_label(std::string_view candidate, std::string_view& rest);

}  // namespace ringbench
