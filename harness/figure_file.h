// figure_file.h: what a figure shows, as its JSON file says it: configs/figures/NAME.json, or one of the user's own.
// Not what is drawn from it (figure_data.h). The language: `ringbench help figures`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "harness/cost.h"
#include "harness/result.h"

namespace ringbench {

enum class Unit { plain, seconds, tokens, bytes, tokens_per_s, flop_per_s, flop_per_byte, times };

// What an axis can show of a record: one of its number fields, or something that follows from several.
struct FigureQuantity {
  std::string name;     // "ttft_s", "speed_up"
  std::string label;    // what stands at the axis unless the file says otherwise
  std::string meaning;  // for help; empty for fields
  Unit unit = Unit::plain;
  bool log = true;
  enum class Kind { field, text, derived, speed_up } kind = Kind::field;
  // How the interval of the record's value carries over: as a time's, as a rate's, as it stands, or not at all.
  enum class Interval { none, time, rate, own } interval = Interval::none;
  Maybe<double> (*derive)(const Result&) = nullptr;  // of `derived`
};

struct Axis {
  FigureQuantity quantity;
  std::string label;  // what stands at the axis
  bool log = true;
  std::string over;    // of speed_up: "twin", or the model whose rows are the baseline
  bool roofs = false;  // with the lines min(peak FLOP/s, intensity x peak bytes/s) of the rows' devices
};

// A vertical line: a fixed place, a field of the rows, or where a speed-up crosses 1.
struct Mark {
  Maybe<double> x;
  std::string field;  // "trained_window"; "crossover" is the first place where a speed-up reaches 1
  std::string label;
};

// A line computed from a config alone: what a decode step reads and writes in caches and states, if the model's
// attention were of that kind (memory_access() of cost.h).
struct AnalyticLine {
  std::string label, model;
  double MemoryAccess::*attention = nullptr;
};

struct FigureFile {
  std::string id, title;
  std::string caption;                  // a sentence, with {field} for what the rows say
  std::string needs;                    // the command that makes such rows
  int64_t order = 1000;                 // place in the report
  std::map<std::string, Strings> rows;  // field -> its allowed values, as text
  Axis x;
  std::vector<Axis> panels;  // y, from top to bottom
  Strings series;            // fields that tell lines apart
  Strings published;         // ids in configs/published
  std::vector<Mark> marks;
  std::vector<AnalyticLine> analytic;
  std::vector<int64_t> analytic_ctx;
};

// `figure`: a name in configs/figures or a .json file. Throws UsageError naming the file and the key.
FigureFile read_figure(const std::string& figure);
// The same from text; `source` is used in messages.
FigureFile parse_figure(const std::string& json, const std::string& id, const std::string& source);

// A field of a record as text, tags ("tag_NAME") too; "" for null. `known`: there is such a field.
std::string field_text(const Result& row, const std::string& name);
bool known_field(const std::string& name);
Maybe<double> field_number(const Result& row, const std::string& name);
// Of the names that are not fields, for help and messages.
const std::vector<FigureQuantity>& derived_quantities();

}  // namespace ringbench
