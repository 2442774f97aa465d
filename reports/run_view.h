#pragma once

#include <string>
#include <vector>

#include "engine/base/json.h"
#include "engine/base/status.h"
#include "evals/stats/estimate.h"
#include "evals/store/store.h"
#include "evals/task/registry.h"
#include "reports/table.h"

namespace assay {

// One metric of one task or group in one run.
struct MetricView {
  std::string key;  // "acc_norm,none"
  Estimate estimate;
  bool primary = false;
  bool share = true;  // of the samples, shown in percent; a perplexity is not
};
struct TaskView {
  std::string name, alias, label;  // label: what is not canonical about its split, "" if nothing
  bool is_group = false;
  int depth = 0;  // indentation under its groups
  int num_fewshot = 0;
  std::string version;
  OutcomeCounts outcomes;
  int64_t planned = 0;
  std::vector<MetricView> metrics;
};
struct RunView {
  StoredRun run;
  std::vector<TaskView> tasks;  // groups before their leaves
  std::vector<StoredFinding> findings;
};

// Reads a run's scores and aggregates groups. A pure function of the stored rows: no clock, no paths, so two stores
// with the same answers give the same bytes.
// How lm-eval aggregates a metric ("acc,none") of a stored task: "mean", "perplexity", ...
std::string aggregation_of(const StoredTask& task, const std::string& key);
Result<RunView> view_run(Store& store, RunId id, const Registry& registry);
Table run_table(const RunView& view);
// "warning: mmlu: 25.1 % is what guessing gives": findings as lines below a table, `role` before each.
std::vector<std::string> finding_notes(const std::vector<StoredFinding>& findings, const std::string& role,
                                       StoredFinding::Severity least);
Json findings_json(const std::vector<StoredFinding>& findings);
Json run_json(const RunView& view);  // the object of --json: run, tasks, tokens_asked, tokens_computed, seconds,
                                     // tokens_per_s, peak_memory_bytes

}  // namespace assay
