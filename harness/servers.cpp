#include "harness/servers.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "harness/failure.h"

namespace ringbench {

namespace fs = std::filesystem;

Served& Servers::reach(const Plan& plan, const std::string& engine, const fs::path& folder, const Say& say) {
  std::unique_ptr<Served>& server = servers_[engine];
  if (server) return *server;
  if (!plan.start.empty())
    for (auto& [name, other] : servers_)
      if (other && other->is_ours()) other.reset();
  auto reached = std::make_unique<Served>(plan, engine);
  const fs::path place = folder.empty() ? fs::temp_directory_path() : folder;
  reached->start(place / ("server-" + std::to_string(getpid()) + "-" + std::to_string(servers_.size()) + ".log"), say);
  server = std::move(reached);
  return *server;
}

void Servers::write_down(const fs::path& folder) {
  for (const auto& [engine, server] : servers_) {
    if (!server || std::find(written_.begin(), written_.end(), engine) != written_.end()) continue;
    std::ofstream(folder / "servers.jsonl", std::ios::app) << server->settings() << "\n";
    written_.push_back(engine);
  }
}

const ServedParity& Servers::certify(const Plan& plan, const Point& point, int threads, const Say& say,
                                     const Say& warn) {
  const auto [parity, first] = parity_.try_emplace(point.engine + " " + point.config_sha);
  ServedParity& found = parity->second;
  if (!first || plan.parity == ParityMode::off) return found;
  found = check_served(plan, point, *servers_.at(point.engine), threads, say);
  if (plan.parity == ParityMode::require && found.status != "pass")
    throw Failure(ExitCode::parity, "--parity require: " + point.engine + ": " + found.text + "; nothing was run.",
                  "see: ringbench help servers");
  if (found.status != "pass" && !point.checkpoint.empty())
    warn("W-PARITY: " + point.engine + ": " + found.status + ": " + found.text);
  return found;
}

}  // namespace ringbench
