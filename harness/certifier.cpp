#include "harness/certifier.h"

#include <algorithm>

#include "harness/engines.h"
#include "harness/parity.h"

namespace ringbench {

Certifier::Certifier(const std::filesystem::path& results)
    : build_(build_id()), certificates_(read_certificates(results / "parity")) {}

std::string Certifier::certify(const Plan& plan, const Point& point, const EngineOptions& options,
                               const std::string& device, int64_t depth, const std::filesystem::path& folder,
                               const std::function<void(const std::string&)>& progress) {
  const MeasuredWith with{build_, device, point.engine, std::string(name_of(point.dtype)), point.config_sha, {}};
  if (plan.parity == ParityMode::off || !certified_.insert(with).second) return "";
  const Weights weights = point.checkpoint.empty() ? Weights::random(point.config, plan.seed, plan.dummy)
                                                   : Weights::load(point.config, point.checkpoint);
  Subject subject;
  subject.engine = point.engine;
  subject.config = point.config;
  subject.weights = &weights;
  subject.options = options;
  subject.seed = plan.seed;
  subject.make = [&](const ModelConfig& config, const EngineOptions& its_options) {
    return make_engine(point.engine, config, weights, its_options);
  };
  ParityScope scope =
      plan.parity == ParityMode::full ? full_scope(point.engine, point.ctx) : quick_scope(point.engine, point.config);
  if (point.engine == "cuda" && plan.parity != ParityMode::full) {  // and one step at the depth that is timed
    scope.levels.push_back("depth");
    scope.depth = std::max(scope.depth, depth);
  }
  scope.progress = [&](const std::string& text) { progress("parity " + text); };
  const Certificate certificate = make_certificate(subject, scope, check_parity(subject, scope));
  if (!folder.empty()) write_certificate(certificate, folder);
  certificates_.push_back(certificate);
  if (certificate.verdict == "pass") return "";
  const auto worst = std::find_if(certificate.checks.begin(), certificate.checks.end(),
                                  [](const Check& check) { return check.status != CheckStatus::pass; });
  const std::string what =
      certificate.verdict == "fail" ? worst->name + " (" + worst->text + ")" : "the truth is too plain to compare with";
  if (plan.parity == ParityMode::require)
    throw Failure(ExitCode::parity, "--parity require: " + certificate.model + ": " + what + "; nothing was timed.",
                  "see: ringbench help parity");
  return certificate.model + ": " + certificate.verdict + ": " + what;
}

void Certifier::describe(Result& r) const {
  const ParityVerdict verdict =
      parity_status(certificates_, {build_, r.device, r.engine, r.dtype, r.config_sha, r.kernels});
  r.parity = verdict.status;
  if (!verdict.certificate.empty()) r.parity_certificate = verdict.certificate;
  r.parity_worst = verdict.worst;
  r.parity_depth = verdict.depth;
  r.parity_missing = verdict.missing;
}

}  // namespace ringbench
