// certificate.cpp: see certificate.h.
#include "harness/certificate.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "harness/engines.h"
#include "harness/environment.h"
#include "harness/parity_walk.h"
#include "reference/sha256.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kCertificateSchema = "ringbench.parity/1";

// JSON has no NaN or infinity: null.
Json finite_or_null(double x) { return std::isfinite(x) ? Json(x) : Json(nullptr); }

Json content_of(const Certificate& c) {
  Json checks = Json::array();
  for (const Check& check : c.checks)
    checks.push_back({{"name", check.name},
                      {"level", check.level},
                      {"layer", check.layer < 0 ? Json(nullptr) : Json(check.layer)},
                      {"metric", check.metric},
                      {"value", finite_or_null(check.value)},
                      {"budget", finite_or_null(check.budget)},
                      {"status", name_of(check.status)},
                      {"text", check.text}});
  return {{"schema", kCertificateSchema},
          {"build", c.build},
          {"device", c.device},
          {"engine", c.engine},
          {"dtype", c.dtype},
          {"model", c.model},
          {"config_sha", c.config_sha},
          {"weights", c.weights},
          {"weights_fingerprint", c.weights_fingerprint},
          {"input_fingerprint", c.input_fingerprint},
          {"rope_angles", c.rope_angles},
          {"kernels", c.kernels},
          {"levels", c.levels},
          {"depth", c.depth},
          {"layers", c.layers},
          {"verdict", c.verdict},
          {"worst", finite_or_null(c.worst)},
          {"notes", c.notes},
          {"checks", checks}};
}

std::string id_of(const Json& content) {
  return sha256_hex(content.dump(-1, ' ', false, Json::error_handler_t::replace));
}

CheckStatus parse_status(const std::string& word) {
  for (const CheckStatus status : {CheckStatus::pass, CheckStatus::fail, CheckStatus::mistrusted})
    if (word == name_of(status)) return status;
  throw UsageError("no check has the status '" + word + "'");
}

}  // namespace

std::string build_id() {
  static const std::string id = [] {
    const Environment e = capture_environment();
    std::string text = e.version + " " + e.commit + " " + e.compiler + " " + e.flags;
    if (!e.commit.ends_with('+')) return text;
    // Changes that are in no commit: two such builds are told apart by the program itself.
    std::ifstream in("/proc/self/exe", std::ios::binary);
    const std::string program{std::istreambuf_iterator<char>(in), {}};
    return text + " " + sha256_hex(program).substr(0, 16);
  }();
  return id;
}

Certificate make_certificate(const Subject& subject, const ParityScope& scope, const Findings& findings) {
  Certificate c;
  c.created = utc_now();
  c.build = build_id();
  c.device = engine_device_name(subject.engine);
  c.engine = subject.engine;
  c.dtype = name_of(subject.options.dtype);
  c.model = subject.config.name;
  c.config_sha = subject.config.sha();
  c.weights = subject.weights->label();
  c.weights_fingerprint = subject.weights->fingerprint();
  std::string input;
  for (const int32_t token : random_tokens(subject.config, subject.seed, scope.tokens + scope.steps))
    input += std::to_string(token) + " ";
  c.input_fingerprint = sha256_hex(input).substr(0, 16);
  c.rope_angles = subject.options.rope_angles == RopeAngles::f32 ? "f32" : "f64";
  c.kernels = findings.kernels;
  c.levels = scope.levels;
  c.checks = findings.checks;
  c.notes = findings.notes;
  c.depth = findings.depth;
  c.layers = findings.layers;
  c.verdict = findings.first_failure() != nullptr                ? "fail"
              : findings.mistrusted() || findings.checks.empty() ? "mistrusted"
                                                                 : "pass";
  c.worst = findings.worst();
  c.id = id_of(content_of(c));
  return c;
}

std::string to_json(const Certificate& certificate) {
  Json json = {{"id", certificate.id}, {"created", certificate.created}};
  json.update(content_of(certificate));
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Certificate parse_certificate(std::string_view text, const std::string& source) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || json.value("schema", "") != kCertificateSchema)
    throw UsageError(source + ": not a certificate (\"schema\" is not \"" + std::string(kCertificateSchema) + "\").");
  Certificate c;
  try {
    for (const auto& [key, field] : {std::pair("id", &c.id),
                                     {"created", &c.created},
                                     {"build", &c.build},
                                     {"device", &c.device},
                                     {"engine", &c.engine},
                                     {"dtype", &c.dtype},
                                     {"model", &c.model},
                                     {"config_sha", &c.config_sha},
                                     {"weights", &c.weights},
                                     {"weights_fingerprint", &c.weights_fingerprint},
                                     {"input_fingerprint", &c.input_fingerprint},
                                     {"rope_angles", &c.rope_angles},
                                     {"verdict", &c.verdict}})
      json.at(key).get_to(*field);
    json.at("kernels").get_to(c.kernels);
    json.at("levels").get_to(c.levels);
    json.at("notes").get_to(c.notes);
    json.at("depth").get_to(c.depth);
    json.at("layers").get_to(c.layers);
    const auto number_at = [](const Json& object, const char* key) {
      return object.at(key).is_null() ? std::nan("") : object.at(key).get<double>();
    };
    c.worst = number_at(json, "worst");
    for (const Json& check : json.at("checks"))
      c.checks.push_back({check.at("name"), check.at("level"),
                          check.at("layer").is_null() ? -1 : check["layer"].get<int>(), check.at("metric"),
                          number_at(check, "value"), number_at(check, "budget"), parse_status(check.at("status")),
                          check.at("text")});
  } catch (const nlohmann::json::exception& e) {
    throw UsageError(source + ": not a whole certificate: " + e.what());
  }
  if (id_of(content_of(c)) != c.id)
    throw UsageError(source + ": the certificate's id is not that of its content; it was changed.");
  return c;
}

fs::path write_certificate(const Certificate& certificate, const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  const fs::path path = folder / (certificate.id + ".json");
  std::ofstream out(path, std::ios::binary);
  out << to_json(certificate);
  out.close();
  if (!out) throw Failure(ExitCode::environment, "the certificate could not be written to '" + path.string() + "'.");
  return path;
}

std::vector<Certificate> read_certificates(const fs::path& folder) {
  std::vector<Certificate> certificates;
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) {
    std::ifstream in(file, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    try {
      certificates.push_back(parse_certificate(text, file.string()));
    } catch (const UsageError&) {  // something else, or damaged: it certifies nothing
    }
  }
  return certificates;
}

ParityVerdict parity_status(std::span<const Certificate> certificates, const MeasuredWith& row) {
  ParityVerdict verdict;
  std::vector<std::string> covered;
  const auto take = [&](const Certificate& c) {
    verdict.certificate = c.id;
    verdict.worst = std::max(verdict.worst.value_or(0), c.worst);
    verdict.depth = std::max(verdict.depth.value_or(0), c.depth);
  };
  const Certificate* stale = nullptr;
  bool trusted = false, doubtful = false;
  for (const Certificate& c : certificates) {
    if (c.engine != row.engine || c.dtype != row.dtype || c.config_sha != row.config_sha) continue;
    if (c.build != row.build || c.device != row.device) {
      stale = &c;
      continue;
    }
    if (c.verdict == "fail") {
      ParityVerdict failed;
      failed.status = "fail";
      failed.certificate = c.id;
      failed.worst = c.worst;
      failed.depth = c.depth;
      return failed;
    }
    if (c.verdict != "pass") {
      doubtful = true;
      continue;
    }
    trusted = true;
    take(c);
    covered.insert(covered.end(), c.kernels.begin(), c.kernels.end());
  }
  if (!trusted) {
    if (stale != nullptr && !doubtful) verdict.status = "stale", verdict.certificate = stale->id;
    return verdict;
  }
  for (const std::string& kernel : row.kernels)
    if (std::find(covered.begin(), covered.end(), kernel) == covered.end()) verdict.missing.push_back(kernel);
  verdict.status = verdict.missing.empty() ? "pass" : "partial";
  return verdict;
}

}  // namespace ringbench
