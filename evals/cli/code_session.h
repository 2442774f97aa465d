#pragma once

#include <memory>
#include <vector>

#include "evals/cli/run_options.h"
#include "evals/run/plan.h"
#include "evals/scoring/code_check.h"
#include "evals/store/store.h"

namespace assay::cli {

// The sandbox of a session that runs programs, and the rules it judges by.
struct CodeSession {
  std::unique_ptr<ProgramRunner> runner;
  std::unique_ptr<CodeChecker> checker;
  // nullptr where no task asks for programs.
  const CodeChecker* get() const { return checker.get(); }
};

// Opens a sandbox where one of the tasks asks for programs; without isolation only where --no-sandbox says so, and then
// the tasks' labels say so beside every score. Errors: unavailable where a layer is missing.
Result<CodeSession> open_code_session(std::vector<PlannedTask>& tasks, const RunOptions& options,
                                      const RunSettings& settings);

// Whether a stored run may be continued here: its programs ran in the same interpreter. Errors: bad_data.
Status check_interpreter(const StoredRun& run, const CodeSession& session);

}  // namespace assay::cli
