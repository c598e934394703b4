// Hazard flags: what each needs, and that a clean row has none. C and L belong to endpoints.
#include "harness/describe.h"
#include "tests/catch.h"

using namespace ringbench;

namespace {

Result clean() {
  Result r;
  r.value = 1, r.ci95_low = 0.99, r.ci95_high = 1.01;
  r.parity = "pass";
  r.contention = 1.05;
  return r;
}

std::string flags_of(Result row) {
  set_flags(row, 0.02);
  return row.flags;
}

}  // namespace

TEST_CASE("each hazard has its flag, and a clean row has none") {
  CHECK(flags_of(clean()).empty());
  const auto with = [](const auto& change) {
    Result row = clean();
    change(row);
    return flags_of(row);
  };
  CHECK(with([](Result& r) { r.method = "estimated"; }) == "E");
  for (const char* parity : {"none", "partial", "stale", "fail"})
    CHECK(with([&](Result& r) { r.parity = parity; }) == "U");
  CHECK(with([](Result& r) { r.depth_fill = "synthetic"; }) == "S");
  CHECK(with([](Result& r) { r.routing = "uniform"; }) == "R");
  CHECK(with([](Result& r) { r.throttle = {"hw_thermal_slowdown"}; }) == "T");
  CHECK(with([](Result& r) { r.throttle = {"idle"}; }).empty());  // slows nothing that is timed
  CHECK(with([](Result& r) { r.ci95_high = 1.05; }) == "N");      // half-width 3 %, above 2 %
  CHECK(with([](Result& r) { r.contention = 1.3; }) == "N");
  CHECK(with([](Result& r) { r.flags = "X"; }) == "X");  // that the point brought along
  CHECK(with([](Result& r) { r.flags = "X", r.method = "estimated", r.contention = 2, r.parity = "none"; }) == "ENUX");
  CHECK(with([](Result& r) { r.value.reset(), r.method = "estimated"; }).empty());  // there is no number to warn about
}
