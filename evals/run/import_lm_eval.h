#pragma once

#include <string>
#include <vector>

#include "evals/run/lm_eval_files.h"
#include "evals/store/store.h"
#include "evals/task/registry.h"

namespace assay {

struct ImportedRun {
  RunId run = 0;
  bool was_here = false;  // the same results file was imported before: that run
  std::string model;
  int64_t tasks = 0, items = 0;
  int64_t matched_hashes = 0, mismatched_hashes = 0;
  std::vector<std::string> warnings;  // tasks without samples, means that differ from the file's own
};

// Makes a finished run of what lm-eval 0.4 wrote, so that it can be reported, exported and compared with ours:
// settings, versions and shots from the results file, documents, answers and metrics from its samples. Tasks without a
// samples file are left out, with a warning. Errors: bad_data naming file and field; not_found when no task has
// samples.
Result<ImportedRun> import_lm_eval(Store& store, const LmEvalRunFiles& files, const Registry& registry);

}  // namespace assay
