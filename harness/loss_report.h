// loss_report.h: what the command `loss` found, as a table, Markdown, CSV or JSON. How it is computed: loss.h.
#pragma once

#include <string>
#include <vector>

#include "harness/figure_data.h"
#include "harness/loss.h"

namespace ringbench {

// The losses of one reading at one context, window by window, in the order of ContextLoss::windows; fewer if
// interrupted.
struct ReadingLoss {
  ModelConfig config;  // resolved: its YaRN and decay offset are what was run
  std::vector<WindowLoss> windows;
};

struct ContextLoss {
  int64_t ctx = 0;
  std::vector<Window> windows;
  std::vector<ReadingLoss> readings;  // as LossReport::values; fewer if interrupted
};

struct LossReport {
  std::string model, weights, engine, dtype, device, source;  // source: the file's name
  int64_t chunk = 0, documents = 0, tokens = 0;
  std::string key;                       // "yarn", "slope-layer-offset", "rope-angles", "weights"; empty: one reading
  std::vector<std::string> values;       // of the key, one for each reading; one empty word if there is no key
  std::vector<std::string> rope_angles;  // of each reading
  std::vector<ContextLoss> contexts;
  bool interrupted = false;
};

// Fields of csv and json rows, with what they mean: what `help loss` prints.
const std::vector<std::pair<std::string, std::string>>& loss_fields();

// All but the showing. Throws UsageError for a bad request before anything runs.
LossReport measure_loss(const LossRequest& request);

std::string loss_text(const LossReport& report, Format format);
// Loss against position, a line for each reading, of the longest context; with the trained window.
FigureData loss_figure(const LossReport& report);

}  // namespace ringbench
