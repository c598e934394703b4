// printed.h: what a function writes to stdout, beside what it returns.
#pragma once

#include <iostream>
#include <sstream>
#include <string>
#include <utility>

namespace ringbench {

// {what `work` returns, what it wrote to std::cout}; stdout is itself again also where `work` throws.
template <class Work> auto printed_by(const Work& work) {
  struct Redirected {
    std::ostringstream out;
    std::streambuf* before = std::cout.rdbuf(out.rdbuf());
    ~Redirected() { std::cout.rdbuf(before); }
  } redirected;
  auto returned = work();
  return std::pair(std::move(returned), redirected.out.str());
}

}  // namespace ringbench
