// certificate.h: what was found about an engine, bound to the build, machine, type, config and kernel variants it was
// found with; and whether that covers a measured row.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "harness/parity.h"

namespace ringbench {

// Schema "ringbench.parity/1"; configs/parity.schema.json says the same.
struct Certificate {
  std::string id;       // SHA-256 over everything but itself and `created`
  std::string created;  // UTC
  std::string build;    // "0.1.0 4f2a9c1+ GNU 12.2.0 ...": version, commit, compiler, flags
  std::string device;
  std::string engine, dtype;
  std::string model, config_sha;
  std::string weights, weights_fingerprint, input_fingerprint;
  std::string rope_angles;           // f64 f32
  std::vector<std::string> kernels;  // "operator=variant" covered, sorted
  std::vector<std::string> levels;
  std::vector<Check> checks;
  std::vector<std::string> notes;
  int64_t depth = 0;        // longest cache looked at
  std::vector<int> layers;  // recomputed one by one
  std::string verdict;      // pass fail mistrusted
  double worst = 0;         // largest value / budget
};

Certificate make_certificate(const Subject& subject, const ParityScope& scope, const Findings& findings);
// What this build calls itself in a certificate.
std::string build_id();

std::string to_json(const Certificate& certificate);
// Throws UsageError naming `source` for text that is no certificate, or whose id is not that of its content.
Certificate parse_certificate(std::string_view json, const std::string& source);
// DIR/<id>.json; the folder is made. Throws Failure(environment) where it cannot be written.
std::filesystem::path write_certificate(const Certificate& certificate, const std::filesystem::path& folder);
// All certificates of a folder, by name; files that are none are left out.
std::vector<Certificate> read_certificates(const std::filesystem::path& folder);

// What a measured row was made with.
struct MeasuredWith {
  std::string build, device, engine, dtype, config_sha;
  std::vector<std::string> kernels;  // that it launched

  auto operator<=>(const MeasuredWith&) const = default;
};

// The record's parity fields.
struct ParityVerdict {
  std::string status = "none";  // pass partial stale fail none
  std::string certificate;      // id; empty where there is none
  std::optional<double> worst;
  std::optional<int64_t> depth;
  std::vector<std::string> missing;  // variants that the row launched and no certificate covers
};
// pass: passed certificates of this build, device, dtype and config cover, together, every variant the row launched.
// partial: it covers some. fail: one of them failed. stale: all that match are of another build or device. none: there
// is none, or one that is not to be trusted.
ParityVerdict parity_status(std::span<const Certificate> certificates, const MeasuredWith& row);

}  // namespace ringbench
