// parity_dump.h: what an engine computed, as files with the golden names (tests/goldens/README.md): written with
// --save, and judged with --load, whoever wrote them.
#pragma once

#include <filesystem>

#include "harness/parity.h"

namespace ringbench {

// DIR/dump.safetensors: input_ids [T], logits [T, vocab], hidden.i, layer.i.q, ... layer.i.state of one prompt.
void save_dump(const Subject& subject, const ParityScope& scope, const std::filesystem::path& folder);

// Judges a folder or file of that form. Tensors are recomputed from the dump's own inputs (layer.i.attn_in, .mlp_in)
// where it has them; logits against the whole model. The budget is that of the subject's dtype. Throws UsageError for a
// dump without input_ids or with nothing to judge.
// `names`: a JSON file that gives golden names to tensors that have others: {"h.{i}.attn.query": "layer.{i}.q", ...}.
Findings check_dump(const Subject& subject, const ParityScope& scope, const std::filesystem::path& path,
                    const std::filesystem::path& names = {});

}  // namespace ringbench
