// Estimates held against whole runs: rows find their partners, errors and intervals are judged as stated.
#include "harness/validate.h"

#include <fstream>
#include <optional>
#include <sstream>

#include "tests/catch.h"
#include "tests/program.h"

using namespace ringbench;

namespace {

Result row(const std::string& id, const std::string& method, double seconds) {
  Result r;
  r.point_id = id;
  r.method = method;
  r.engine = "reference";
  r.dtype = "f32";
  r.chunk = 512;
  r.threads = 2;
  r.value = seconds;
  return r;
}

Result estimate(const std::string& id, double seconds, double low, double high) {
  Result r = row(id, "estimated", seconds);
  r.ci95_low = low, r.ci95_high = high;
  return r;
}

}  // namespace

TEST_CASE("an estimate meets the whole run of the same point, by CPU time where a CPU computed") {
  Result busy = row("a", "measured", 30);  // on the wall; 2 threads computed 10 s each
  busy.cpu_s = 20, busy.contention = 3;
  Result other_chunk = row("b", "measured", 1);
  other_chunk.chunk = 1024;
  Result failed = row("c", "measured", 1);
  failed.value.reset();
  const auto found = match_validations({estimate("a", 11, 10.5, 11.5), estimate("b", 1, 0.9, 1.1),
                                        estimate("c", 1, 0.9, 1.1), estimate("d", 2, 1.5, 2.5)},
                                       {row("d", "measured", 2.4), failed, other_chunk, busy});
  REQUIRE(found.size() == 2);
  CHECK(found[0].whole_s == 10);
  CHECK(std::abs(found[0].error - 0.1) <= 1e-12);
  CHECK_FALSE(found[0].inside);  // 10 is below 10.5
  CHECK(found[1].whole_s == 2.4);
  CHECK(found[1].inside);
  std::ostringstream table;
  write_validations(table, found, Format::table);
  CHECK(table.str().find("1 of 2 whole runs lie inside the estimate's 95 % interval; the largest error is 16.7 %\n") !=
        std::string::npos);
}

TEST_CASE("a plan is measured both ways, and what came of it is kept", "[alone]") {
  // Real times may refuse to lie on a line when the machine is busy, or lie outside: answers too, and where no estimate
  // was made it is tried again.
  const std::string plan = R"({"schema": "ringbench.sweep/1", "grids": [
      {"command": "prefill", "model": "tiny", "ctx": "2k", "chunk": 64, "reps": 3, "parity": "off"}]})";
  std::optional<Folder> folder_of_try;
  Ran r;
  for (int attempt = 0; attempt < 20 && r.out.find(" whole runs lie inside") == std::string::npos; ++attempt) {
    folder_of_try.emplace();
    std::ofstream(folder_of_try->path / "p.json") << plan;
    r = run("sweep --plan p.json --validate", folder_of_try->path);
    INFO(r.out << r.err);
    REQUIRE((r.code == 0 || r.code == 1));
    const bool refused = r.err.find("E-ESTIMATE: chunk times do not lie on a line") != std::string::npos;
    REQUIRE(refused == (r.out.find(" whole runs lie inside") == std::string::npos));
  }
  CHECK(r.out.find(" whole runs lie inside") != std::string::npos);
  const Folder& folder = *folder_of_try;
  int64_t tables = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path / "results"))
    tables += entry.path().filename() == "validation.csv";
  CHECK(tables == 1);
  std::ofstream(folder.path / "p.json") << R"({"schema": "ringbench.sweep/1", "grids": [
      {"command": "decode", "model": "tiny", "ctx": "64"}]})";
  CHECK(run("sweep --plan p.json --validate", folder.path).code == 2);
}
