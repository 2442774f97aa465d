#pragma once

#include <vector>

#include "evals/model/model_client.h"
#include "evals/run/plan.h"
#include "evals/store/store.h"

namespace assay {

// Looks at the first tokens and texts of a few prompts of every task, spread over its samples, before anything is
// spent. Serious findings are reasons not to begin. Errors: those of building the prompts.
Result<std::vector<StoredFinding>> check_prompts(const ModelClient& client, const std::vector<PlannedTask>& tasks,
                                                 const RunSettings& settings, size_t probes_per_task = 4);

// What a run's stored answers show although every score is there: prompts with two BOS, special tokens inside text,
// tokens that span the boundary, cut contexts; scores at chance, one answer to everything, choices that all score
// alike; answers not extracted, cut by max tokens or ended by each stop string, empty. Tasks that belong to a group are
// judged together, by data set. A pure function of the stored rows.
Result<std::vector<StoredFinding>> findings_of(Store& store, const StoredRun& run);

}  // namespace assay
