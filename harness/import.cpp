#include "harness/import.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>

#include "evals/csv.h"
#include "harness/describe.h"
#include "harness/environment.h"
#include "harness/measure.h"
#include "harness/plan.h"
#include "harness/records.h"
#include "harness/words.h"
#include "reference/sha256.h"

namespace ringbench {
namespace {

namespace fs = std::filesystem;

const Strings required = {"model", "phase", "ctx", "engine", "dtype", "device"};

// What the program itself says of every row, so that a file cannot.
const Strings our_own = {"schema", "run_id", "experiment", "point_id", "tag_foreign"};

void check_header(const CsvRow& header, const std::string& source) {
  Strings names;
  for (const Field& field : result_fields()) names.emplace_back(field.name);
  for (size_t i = 0; i < header.cells.size(); ++i) {
    const std::string& name = header.cells[i];
    const std::string where = source + ":1: column '" + name + "' ";
    if (std::find(our_own.begin(), our_own.end(), name) != our_own.end())
      throw UsageError(where + "is filled in by the import. Leave it out.");
    if (std::count(header.cells.begin(), header.cells.end(), name) > 1) throw UsageError(where + "is there twice.");
    if (find_field(name) != nullptr || (name.starts_with("tag_") && name.size() > 4)) continue;
    const std::string near = nearest_word(name, names);
    throw UsageError(where + "is no field of the record." + (near.empty() ? "" : " Did you mean " + near + "?"),
                     "see: ringbench help schema");
  }
  for (const std::string& name : required)
    if (std::find(header.cells.begin(), header.cells.end(), name) == header.cells.end())
      throw UsageError(source + ":1: the column '" + name + "' is missing.", "see: ringbench help runs");
}

template <class T> bool read_number(std::string_view text, T& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

Strings split_at_semicolons(const std::string& cell) {
  Strings parts;
  for (size_t from = 0; from <= cell.size();) {
    const size_t end = std::min(cell.find(';', from), cell.size());
    parts.push_back(cell.substr(from, end - from));
    from = end + 1;
  }
  return parts;
}

// A cell as its field's type; monostate if it is not.
Value parse_cell(const std::string& cell, std::string_view type) {
  double number = 0;
  int64_t integer = 0;
  if (type == "string") return cell;
  if (type == "integer") return read_number(cell, integer) ? Value(integer) : Value();
  if (type == "number") return read_number(cell, number) && std::isfinite(number) ? Value(number) : Value();
  if (type == "boolean") return cell == "true" ? Value(true) : cell == "false" ? Value(false) : Value();
  if (type == "strings") return split_at_semicolons(cell);
  Numbers numbers;
  for (const std::string& part : split_at_semicolons(cell)) {
    if (!read_number(part, number) || !std::isfinite(number)) return Value();
    numbers.push_back(number);
  }
  return numbers;
}

// One row of the file by column; cells that are empty are left out.
class ForeignRow {
 public:
  ForeignRow(const CsvRow& header, const CsvRow& row, const std::string& file)
      : source_(file + ":" + std::to_string(row.line)) {
    if (row.cells.size() != header.cells.size())
      throw UsageError(source_ + ": " + std::to_string(row.cells.size()) + " cells, but " +
                       std::to_string(header.cells.size()) + " columns.");
    for (size_t i = 0; i < row.cells.size(); ++i)
      if (!row.cells[i].empty()) cells_[header.cells[i]] = row.cells[i];
    for (const std::string& name : required)
      if (!cells_.contains(name)) throw UsageError(source_ + ": " + name + " is empty.");
    if (!cells_.contains("value") && !cells_.contains("samples"))
      throw UsageError(source_ + ": neither value nor samples: what was measured?");
    if (text("phase") != "prefill" && text("phase") != "eval" && !cells_.contains("gen"))
      throw UsageError(source_ + ": gen is empty; " + text("phase") + " needs it.");
  }

  Result result() const {
    Result r = described();
    for (const auto& [name, cell] : cells_) {
      if (name.starts_with("tag_")) {
        r.tags[name.substr(4)] = cell;
        continue;
      }
      const Field& field = *find_field(name);
      Value value = parse_cell(cell, field.type);
      if (std::holds_alternative<std::monostate>(value) || !field.set(r, std::move(value)))
        throw UsageError(source_ + ": " + name + ": '" + cell + "' is not of type " + std::string(field.type) + ".");
    }
    complete(r);
    return parse_record(to_json_line(r), source_);  // no more than what a record may hold
  }

 private:
  std::string text(const std::string& name, const std::string& standard = "") const {
    const auto found = cells_.find(name);
    return found == cells_.end() ? standard : found->second;
  }
  int64_t integer(const std::string& name, int64_t standard) const {
    const auto found = cells_.find(name);
    if (found == cells_.end()) return standard;
    int64_t value = 0;
    if (!read_number(found->second, value) || value < 0)
      throw UsageError(source_ + ": " + name + ": '" + found->second + "' is not a count.");
    return value;
  }

  // What our own row of that point says before it is measured; for a model of another's only what it asks for.
  Result described() const {
    const Strings presets = preset_names();
    if (std::find(presets.begin(), presets.end(), text("model")) == presets.end()) return unknown_model();
    Plan plan;
    plan.model = text("model");
    plan.hybrid = {text("hybrid", "model")};
    if (cells_.contains("layers")) plan.layers = {integer("layers", 0)};
    plan.ctx = {integer("ctx", 0)};
    plan.batch = {integer("batch", 1)};
    plan.gen = {integer("gen", 128)};
    if (cells_.contains("requests")) plan.requests = integer("requests", 1);
    if (cells_.contains("yarn_factor"))
      plan.yarn = {text("yarn_factor") +
                   (cells_.contains("yarn_original") ? ":" + text("yarn_original") : std::string())};
    plan.seed = static_cast<uint64_t>(integer("seed", 0));
    plan.engine = {"reference"};
    for (const DType type : {DType::f64, DType::f32, DType::bf16})
      if (name_of(type) == text("dtype")) plan.dtype = type;
    const std::string phase = text("phase");
    const Command command = phase == "decode" ? Command::decode : phase == "e2e" ? Command::e2e : Command::prefill;
    try {
      RunFacts facts;
      facts.experiment = "import";
      facts.threads = 0;
      Result r = describe_point(plan, expand(plan, command).front(), facts);
      r.engine = r.dtype = "";
      r.chunk = r.threads = r.input_seed = r.isl_actual = r.osl_actual = std::nullopt;
      r.kv_dtype = r.state_dtype = std::nullopt;
      r.repro = r.weights = "";
      if (!plan.dtype) r.flops = r.bytes = std::nullopt, r.kv_bytes_analytic = r.state_bytes_analytic = std::nullopt;
      return r;
    } catch (const Failure& e) {
      throw UsageError(source_ + ": " + e.what(), e.hint);
    } catch (const ConfigError& e) {
      throw UsageError(source_ + ": " + e.what());
    }
  }

  Result unknown_model() const {
    Result r;
    std::string asked = "foreign";
    for (const char* name : {"model", "hybrid", "layers", "phase", "ctx", "gen", "batch", "requests", "yarn_factor",
                             "yarn_original", "routing", "seed", "task"})
      asked += "\n" + text(name);
    r.point_id = sha256_hex(asked).substr(0, 16);
    r.hybrid = "model";
    r.slope_layer_offset = "0";
    const std::string phase = text("phase");
    r.metric = phase == "prefill" ? "ttft_s" : phase == "decode" ? "tpot_s" : "e2e_s";
    return r;
  }

  void complete(Result& r) const {
    r.experiment = "import";
    r.tags["foreign"] = source_.substr(0, source_.rfind(':'));
    if (r.ctx_label.empty()) r.ctx_label = token_label(r.ctx);
    if (!cells_.contains("weights")) r.weights = "unknown";
    if (!cells_.contains("date")) r.date = utc_now();
    if (!cells_.contains("repro")) r.repro = "measured elsewhere";
    if (r.method == "estimated" && !cells_.contains("status")) r.status = "estimated";
    if (!r.samples.empty()) {
      const Summary s = summarize(r.samples);
      if (!r.value) r.value = s.median;
      if (!r.n) r.n = s.n;
      if (!r.ci95_low && !r.ci95_high) r.ci95_low = s.ci95_low, r.ci95_high = s.ci95_high;
      if (!r.min) r.min = s.min;
      if (!r.max) r.max = s.max;
    }
    if (r.value > 0.0 && !r.tok_s && r.unit == "s") {
      const int64_t tokens = r.phase == "prefill" ? r.batch * r.ctx
                             : r.phase == "e2e"   ? r.requests.value_or(r.batch) * r.gen
                                                  : r.batch;
      r.tok_s = static_cast<double>(tokens) / *r.value;
    }
    // Nobody here has checked it: parity is none and the flag U stands, whatever the file says.
    r.parity = "none";
    r.parity_certificate.reset();
    for (const char flag : {'U', r.method == "estimated" ? 'E' : 'U'})
      if (r.flags.find(flag) == std::string::npos) r.flags += flag;
    std::sort(r.flags.begin(), r.flags.end());
  }

  std::string source_;
  std::map<std::string, std::string> cells_;
};

}  // namespace

std::vector<Result> import_csv(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw UsageError("cannot read '" + file.string() + "': " + std::strerror(errno) + ".");
  const std::string text{std::istreambuf_iterator<char>(in), {}}, source = file.filename().string();
  std::vector<CsvRow> rows;
  try {
    rows = parse_csv(text, source);
  } catch (const CsvError& e) {
    throw UsageError(e.what());
  }
  if (rows.empty()) throw UsageError(source + ": it is empty; the first line names the columns.");
  check_header(rows[0], source);
  std::vector<Result> results;
  std::map<std::string, int64_t> lines;
  for (size_t i = 1; i < rows.size(); ++i) {
    results.push_back(ForeignRow(rows[0], rows[i], source).result());
    const auto [first, fresh] = lines.emplace(record_key(results.back()), rows[i].line);
    if (!fresh)
      throw UsageError(source + ":" + std::to_string(rows[i].line) + ": the same point as line " +
                       std::to_string(first->second) + " (model, phase, ctx, gen, batch, engine, dtype, chunk).");
  }
  return results;
}

std::string import_topic() {
  return "Importing\n\n"
         "FILE.csv has a line of column names, then a row for each number. Columns are fields of the record\n"
         "('ringbench help schema') and tags (tag_K); arrays are joined by ';'. Required: model, phase, ctx,\n"
         "engine, dtype, device, and value (seconds) or samples; gen too, but for prefill. Where the model is\n"
         "a preset, layers, parameters and the point id are those of our own rows, so that 'compare' and\n"
         "'figures' pair them. Every row has tag_foreign and the flag U: nobody here has checked it.\n\n"
         "  model,phase,ctx,gen,batch,engine,dtype,device,value\n"
         "  ring-mini-linear-2.0,prefill,131072,,1,vllm,bf16,NVIDIA H100,2.41\n";
}

}  // namespace ringbench
