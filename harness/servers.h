// servers.h: the servers of a run by engine: reached, or started and stopped one after the other, and held against the
// reference before they are timed. One server: served.h.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "harness/plan.h"
#include "harness/served.h"
#include "harness/served_parity.h"

namespace ringbench {

class Servers {
 public:
  using Say = std::function<void(const std::string&)>;  // of what is going on

  // The one that `engine` names. Where the plan starts it, its log goes into `folder` (empty: nowhere that stays), and
  // a server that was started before for another engine is stopped first: they share a machine. Throws Failure if it
  // cannot be reached, Interrupted.
  Served& reach(const Plan& plan, const std::string& engine, const std::filesystem::path& folder, const Say& say);

  // What those that were reached say of themselves, each once, into servers.jsonl.
  void write_down(const std::filesystem::path& folder);

  // Compares once for each engine and config, unless --parity off; `warn` hears what did not pass. Throws
  // Failure(parity) where --parity require is not met.
  const ServedParity& certify(const Plan& plan, const Point& point, int threads, const Say& say, const Say& warn);

 private:
  std::vector<std::string> written_;                        // engines
  std::map<std::string, std::unique_ptr<Served>> servers_;  // by engine
  std::map<std::string, ServedParity> parity_;              // by engine and config
};

}  // namespace ringbench
