#include "harness/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string_view>

namespace ringbench {

Progress::Progress(bool shown, int64_t points, double work, Clock& clock)
    : shown_(shown), points_(points), work_(work), clock_(clock), begin_s_(clock.wall_s()) {
  const char* term = std::getenv("TERM");
  terminal_ = isatty(STDERR_FILENO) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

Progress::~Progress() { clear(); }

void Progress::begin(const std::string& title) {
  if (title != title_) drawn_s_ = -1;
  title_ = title;
  update("");
}

void Progress::update(const std::string& text, double done) {
  partial_ = done;
  if (!shown_ || !terminal_) return;
  const double now = clock_.wall_s();
  if (drawn_s_ >= 0 && now - drawn_s_ < 0.1) return;
  drawn_s_ = now;
  draw("[" + std::to_string(std::min(finished_ + 1, points_)) + "/" + std::to_string(points_) + "] " + title_ + "  " +
       text + eta());
}

void Progress::end_point(const std::string& title, const std::string& outcome, double work) {
  ++finished_;
  done_ += work;
  partial_ = 0;
  if (!shown_ || terminal_) return;
  std::cerr << "[" << finished_ << "/" << points_ << "] " << title << "  " << outcome << eta() << std::endl;
}

void Progress::note(const std::string& line) {
  clear();
  std::cerr << line << std::endl;
}

// From the share of the work that is done; nothing can be said before any is.
std::string Progress::eta() const {
  const double done = done_ + partial_;
  if (done <= 0 || done >= work_) return "";
  const double elapsed = clock_.wall_s() - begin_s_;
  return "  ETA " + duration_text(elapsed / done * (work_ - done));
}

void Progress::draw(const std::string& text) { std::cerr << "\r\033[K" << text << std::flush; }

void Progress::clear() {
  if (shown_ && terminal_ && drawn_s_ >= 0) std::cerr << "\r\033[K" << std::flush;
  drawn_s_ = -1;
}

std::string duration_text(double seconds) {
  char text[32];
  const long whole = static_cast<long>(seconds + 0.5);
  if (seconds < 1e-3)
    std::snprintf(text, sizeof text, "%.3g us", seconds * 1e6);
  else if (seconds < 1)
    std::snprintf(text, sizeof text, "%.3g ms", seconds * 1e3);
  else if (seconds < 100)
    std::snprintf(text, sizeof text, "%.3g s", seconds);
  else if (whole < 3600)
    std::snprintf(text, sizeof text, "%ldm%02lds", whole / 60, whole % 60);
  else
    std::snprintf(text, sizeof text, "%ldh%02ldm", whole / 3600, whole % 3600 / 60);
  return text;
}

}  // namespace ringbench
