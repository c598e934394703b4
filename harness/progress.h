// progress.h: what a long run is doing and when it will be done, on stderr: one rewritten line on a terminal, otherwise
// one plain line for each finished point.
#pragma once

#include <string>

#include "harness/measure.h"

namespace ringbench {

class Progress {
 public:
  // `shown`: false for --no-progress and --quiet. `points` in all; `work` of all of them, in any unit.
  Progress(bool shown, int64_t points, double work, Clock& clock);
  ~Progress();  // clears the line

  void begin_point(const std::string& title, double work);  // "decode 3:1 ctx 384k bs 1"
  void update(const std::string& text);                     // "rep 4/6  ~0.9 %"; shown at most ten times a second
  void end_point(const std::string& outcome);               // "11.9 s"
  void note(const std::string& line);                       // a line that stays, such as a warning

 private:
  void draw(const std::string& text);
  void clear();
  std::string eta() const;

  bool shown_, terminal_;
  int64_t points_, point_ = 0;
  double work_, done_ = 0, current_ = 0;
  Clock& clock_;
  double begin_s_, drawn_s_ = -1;
  std::string title_;
};

std::string duration_text(double seconds);  // "3.91 ms", "11.9 s", "4m10s", "2h05m"

}  // namespace ringbench
