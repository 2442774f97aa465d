#pragma once

#include <memory>
#include <string>
#include <vector>

#include "evals/cli/commands.h"
#include "evals/cli/run_options.h"
#include "evals/model/model_client.h"
#include "evals/run/plan.h"
#include "evals/run/runner.h"
#include "evals/store/store.h"

namespace assay::cli {

// Every task and group that the program knows, as a profile asks them.
const Registry& registry(Profile profile = Profile::main);
// Adds the tasks that files and the *.json of folders define; those that are known already are passed over.
Status load_task_files(const std::vector<std::string>& files, const std::vector<std::string>& folders);
// The definition files behind planned tasks.
std::vector<std::string> task_files_of(const std::vector<PlannedTask>& tasks);

// Turns Ctrl-C and SIGTERM into a request to stop between batches; a second Ctrl-C ends the process at once.
void watch_signals();
bool stop_requested();
int stop_signal();  // SIGINT, SIGTERM or 0

// Peak resident memory of this process so far.
int64_t peak_memory_bytes();

// A model opened for a run.
Result<std::unique_ptr<ModelClient>> open_model(const EngineOptions& options);

// Looks at a few prompts, stores a run for `client` and returns it as stored. Errors: bad_data for a serious finding,
// unless they are accepted.
Result<StoredRun> create_run(Store& store, const ModelClient& client, const std::vector<PlannedTask>& tasks,
                             const RunSettings& settings, const std::string& model, RunId baseline_of,
                             bool accept_findings, const CodeChecker* checker = nullptr);

// Asks what is missing of a stored run, with progress on stderr. Errors: bad_data when the model or the data are no
// longer those the run began with.
Result<RunSummary> execute_stored_run(ModelClient& client, Store& store, RunId run,
                                      const std::vector<PlannedTask>& tasks, const RunSettings& settings,
                                      const RunHints& hints, const Globals& globals,
                                      const CodeChecker* checker = nullptr);

// The exit code of an interrupted session, after saying how to go on.
int interrupted_exit(RunId run, const Globals& globals);
// The exit code of a session that asked everything, `failed` questions without success: 0, or that of an interrupted
// one after saying how to go on.
int asked_all_exit(int64_t failed, const Globals& globals);

// Prints what a finished run found: its table, or its JSON object; with a baseline the recovery table, too.
Status print_result(Store& store, RunId run, RunId baseline, const Globals& globals);

}  // namespace assay::cli
