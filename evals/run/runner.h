#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/base/clock.h"
#include "evals/model/model_client.h"
#include "evals/run/plan.h"
#include "evals/run/progress.h"
#include "evals/scoring/code_check.h"
#include "evals/store/store.h"

namespace assay {

struct RunSummary {
  RunId run = 0;
  bool finished = false;  // false: interrupted, resumable
  int64_t asked = 0;      // samples answered by this call
  int64_t failed = 0;     // of them; the stored run then stays unfinished, for a resume to ask them again
  double seconds = 0;
};

// Asks what the store does not hold yet: plan minus answered samples -> requests -> scores -> store, one transaction a
// batch of finished samples. A failed sample is stored as failed and asked again by the next resume. Stops between
// batches when `interrupted` says so. Writes nothing but through the store and `progress`. Programs that answer are run
// by `checker` beside the engine, and stored with their verdicts; an answer that lacks only its verdict is stored as
// failed, and a resume grades it without asking again. Errors: invalid_argument for such tasks without a checker.
Result<RunSummary> execute_run(ModelClient& client, Store& store, const StoredRun& run,
                               const std::vector<PlannedTask>& tasks, const RunSettings& settings,
                               const RunHints& hints, Progress& progress, const std::function<bool()>& interrupted,
                               Clock& clock, const CodeChecker* checker = nullptr);

// The run to store before executing it: provenance, tasks, command.
StoredRun describe_run(const ModelClient& client, const std::vector<PlannedTask>& tasks, const RunSettings& settings,
                       const std::string& command, Clock& clock, const CodeChecker* checker = nullptr);

}  // namespace assay
