// claims_table.cpp: verdicts on claims as a table for people, as Markdown, and as csv and json for programs.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <ostream>

#include "harness/claims.h"
#include "harness/environment.h"
#include "harness/table.h"
#include "harness/words.h"

namespace ringbench {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const ClaimVerdict& v) {
  const auto number = [](const Maybe<double>& value) { return value ? Json(*value) : Json(nullptr); };
  return {{"id", v.id},
          {"claim", v.claim},
          {"source", v.source},
          {"stated", v.stated},
          {"verdict", v.verdict},
          {"basis", v.basis},
          {"value", number(v.value)},
          {"ci95_low", number(v.low)},
          {"ci95_high", number(v.high)},
          {"unit", v.unit},
          {"predicted", number(v.predicted)},
          {"prediction", v.prediction},
          {"why", v.why},
          {"rows", v.rows},
          {"warnings", v.warnings}};
}

// What stands beside a verdict: where the value is from, what the cost model says, warnings, rows.
std::string explanation(const ClaimVerdict& v) {
  Strings parts;
  if (!v.why.empty()) parts.push_back(v.why);
  if (v.predicted)
    parts.push_back((v.basis == "predicted" ? "Cost model: " : "Cost model: " + predicted_text(v) + ", ") +
                    v.prediction + ".");
  parts.insert(parts.end(), v.warnings.begin(), v.warnings.end());
  if (!v.rows.empty()) parts.push_back("Rows " + join(v.rows, ", ") + ".");
  return join(parts, " ");
}

// "46 claims: 6 REPRODUCED, ..."
std::string counts_text(std::span<const ClaimVerdict> verdicts) {
  Strings counts;
  for (const char* verdict :
       {"REPRODUCED", "EXCEEDED", "NOT REPRODUCED", "AMBIGUOUS", "TREND ONLY", "PREDICTED", "UNTESTED"}) {
    const auto n = std::count_if(verdicts.begin(), verdicts.end(), [&](const auto& v) { return v.verdict == verdict; });
    if (n > 0) counts.push_back(std::to_string(n) + " " + verdict);
  }
  return std::to_string(verdicts.size()) + " claims: " + join(counts, ", ");
}

std::string program_line() {
  const Environment environment = capture_environment();
  return "ringbench " + environment.version + " (" + environment.commit + ")";
}

constexpr const char* legend =
    "basis: measured; estimated, from samples; computed, from the config; predicted, by the cost model and no "
    "measurement. The rule: ringbench claims --rule";

void write_table(std::ostream& out, std::span<const ClaimVerdict> verdicts, const Strings& about) {
  out << program_line() << "\n";
  for (const std::string& line : about) out << wrap(line, 0);
  const auto cells = [&](const ClaimVerdict& v) {
    return Strings{v.id, v.stated, found_text(v), v.basis == "none" ? "" : v.basis, v.verdict};
  };
  const Strings titles = {"claim", "stated", "found", "basis", "verdict"};
  std::vector<size_t> widths;
  for (size_t c = 0; c < titles.size(); ++c) {
    widths.push_back(titles[c].size());
    for (const ClaimVerdict& v : verdicts) widths[c] = std::max(widths[c], cells(v)[c].size());
  }
  const auto line = [&](const Strings& row) {
    std::string text;
    for (size_t c = 0; c < row.size(); ++c)
      text += (c > 0 ? "  " : "") + row[c] + std::string(widths[c] - row[c].size(), ' ');
    return text.substr(0, text.find_last_not_of(' ') + 1) + "\n";
  };
  out << "\n" << line(titles);
  for (const ClaimVerdict& v : verdicts) {
    out << line(cells(v));
    if (v.verdict != "UNTESTED" || v.value) out << wrap(v.claim + " " + explanation(v), 4);
  }
  out << "\n" << wrap(counts_text(verdicts), 0) << wrap(legend, 0);
}

std::string md_text(const std::string& text) {
  std::string escaped;
  for (const char c : text) escaped += c == '|' ? "\\|" : c == '<' ? "&lt;" : c == '\n' ? " " : std::string(1, c);
  return escaped;
}

void write_md(std::ostream& out, std::span<const ClaimVerdict> verdicts, const Strings& about) {
  out << program_line() << "  \n" << md_text(join(about, " ")) << "\n\n";
  out << "| claim | stated | source | found | basis | verdict | why |\n|---|---|---|---|---|---|---|\n";
  for (const ClaimVerdict& v : verdicts) {
    out << "|";
    for (const std::string& cell : {v.claim, v.stated, v.source, found_text(v), v.basis, v.verdict, explanation(v)})
      out << " " << md_text(cell) << " |";
    out << "\n";
  }
  out << "\n" << counts_text(verdicts) << "\n\n" << legend << "\n";
}

std::string plain_text(const Json& value) {
  if (value.is_null()) return "";
  if (value.is_array()) return join(value.get<Strings>(), "; ");
  return value.is_string() ? value.get<std::string>() : value.dump();
}

void write_csv(std::ostream& out, std::span<const ClaimVerdict> verdicts) {
  Strings titles;
  const Json empty = to_json({});
  for (const auto& [key, value] : empty.items()) titles.push_back(key);
  out << join(titles, ",") << "\n";
  for (const ClaimVerdict& v : verdicts) {
    Strings cells;
    const Json object = to_json(v);
    for (const auto& [key, value] : object.items()) cells.push_back(csv_cell(plain_text(value)));
    out << join(cells, ",") << "\n";
  }
}

}  // namespace

void write_claims(std::ostream& out, Format format, std::span<const ClaimVerdict> verdicts, const Strings& about) {
  const auto line = [](const ClaimVerdict& v) {
    return to_json(v).dump(-1, ' ', false, Json::error_handler_t::replace);
  };
  if (format == Format::md) return write_md(out, verdicts, about);
  if (format == Format::csv) return write_csv(out, verdicts);
  if (format == Format::table) return write_table(out, verdicts, about);
  Strings lines;
  for (const ClaimVerdict& v : verdicts) lines.push_back(line(v));
  out << (format == Format::json ? "[\n" + join(lines, ",\n") + "\n]\n" : join(lines, "\n") + "\n");
}

}  // namespace ringbench
