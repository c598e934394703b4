// certifier.h: parity before speed: an engine is compared with the reference once for each model, before anything of it
// is timed, and rows say what certificates cover them.
#pragma once

#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "harness/certificate.h"
#include "harness/plan.h"
#include "harness/result.h"

namespace ringbench {

class Certifier {
 public:
  // Certificates that were kept in `results`/parity count too.
  explicit Certifier(const std::filesystem::path& results);

  // Compares the point's engine with the reference, unless --parity off or done before. `depth`: the longest cache that
  // is timed with it; `folder`: where the certificate goes, empty: nowhere. Returns what did not pass, or "". Throws
  // Failure(parity) where --parity require is not met.
  std::string certify(const Plan& plan, const Point& point, const EngineOptions& options, const std::string& device,
                      int64_t depth, const std::filesystem::path& folder,
                      const std::function<void(const std::string&)>& progress);

  // The row's parity, by the kernel variants that it launched.
  void describe(Result& row) const;

  const std::string& build() const { return build_; }

 private:
  std::string build_;
  std::vector<Certificate> certificates_;
  std::set<MeasuredWith> certified_;  // by this run
};

}  // namespace ringbench
