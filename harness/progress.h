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

  bool rewrites() const { return terminal_; }  // one line, on a terminal

  void begin(const std::string& title);  // what is being done: "decode 3:1 ctx 384k bs 1"
  // "rep 4/6  ~0.9 %", and how much of the point's work is done, where that is known; shown at most ten times a second.
  void update(const std::string& text, double done = 0);
  void end_point(const std::string& title, const std::string& outcome, double work);  // "11.9 s"
  void note(const std::string& line);                                                 // one that stays: a warning

 private:
  void draw(const std::string& text);
  void clear();
  std::string eta() const;

  bool shown_, terminal_;
  int64_t points_, finished_ = 0;
  double work_, done_ = 0, partial_ = 0;  // partial_: done of the current point
  Clock& clock_;
  double begin_s_, drawn_s_ = -1;
  std::string title_;
};

std::string duration_text(double seconds);  // "3.91 ms", "11.9 s", "4m10s", "2h05m"

}  // namespace ringbench
