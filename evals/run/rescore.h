#pragma once

#include <cstdint>

#include "evals/store/store.h"
#include "evals/task/registry.h"

namespace assay {

struct RescoreSummary {
  int64_t items = 0;    // judged again
  int64_t changed = 0;  // with another outcome, metric or extracted answer than before
};

// Judges a run's stored answers again with the tasks as they are now; no model is asked. What changed is stored task by
// task, each in one transaction, and noted as a finding. Failed samples stay failed. Errors: not_found for a task the
// program no longer has; the store's.
Result<RescoreSummary> rescore_run(Store& store, RunId run, const Registry& registry);

}  // namespace assay
