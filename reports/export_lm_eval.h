#pragma once

#include <string>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/status.h"
#include "evals/store/store.h"
#include "evals/task/registry.h"

namespace assay {

// Writes a run as lm-eval 0.4 would: <folder>/<model, / as __>/results_<time>.json and samples_<task>_<time>.jsonl, one
// line a document and filter (product.md 3.1). Returns the files written.
Result<std::vector<Path>> export_lm_eval(Store& store, RunId id, const Registry& registry, const Path& folder,
                                         bool log_samples);

}  // namespace assay
