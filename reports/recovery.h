#pragma once

#include <string>
#include <vector>

#include "engine/base/json.h"
#include "engine/base/status.h"
#include "evals/stats/paired.h"
#include "evals/store/store.h"
#include "evals/task/registry.h"
#include "reports/table.h"

namespace assay {

struct RecoveryRow {
  std::string task, metric, label;
  int num_fewshot = 0;
  bool is_group = false, is_average = false;
  bool limited = false;  // not all samples of the split were asked
  bool share = true;     // of the samples, shown in percent; a perplexity is not, and lower ones are better
  PairedComparison comparison;
  OutcomeCounts baseline_outcomes, candidate_outcomes;
};
struct RecoveryReport {
  StoredRun baseline, candidate;
  std::vector<RecoveryRow> rows;  // groups as one row; leaves of a complete group only in detail mode; average last
  std::vector<StoredFinding> baseline_findings, candidate_findings;
  std::vector<std::string> warnings;  // what makes the two runs less comparable
};

// Pairs the two runs' answered samples by document hash, then doc_id, task by task. Errors: bad_data when prompts or
// data differ (names what) unless `force`, which turns that into warnings; not_found when no task is common.
Result<RecoveryReport> compare_runs(Store& store, RunId baseline, RunId candidate, const Registry& registry,
                                    bool detail, bool force);
// The same over several pairs of runs of the same two models, as a suite has them: one table, one average. `baseline`
// and `candidate` of the report are the first pair's.
struct RunPair {
  RunId baseline = 0, candidate = 0;
};
Result<RecoveryReport> compare_run_pairs(Store& store, const std::vector<RunPair>& pairs, const Registry& registry,
                                         bool detail, bool force);
Table recovery_table(const RecoveryReport& report);
Json recovery_json(const RecoveryReport& report);

}  // namespace assay
