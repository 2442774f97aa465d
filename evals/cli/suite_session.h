#pragma once

#include <string>
#include <vector>

#include "evals/cli/commands.h"
#include "evals/cli/run_options.h"
#include "evals/run/plan.h"
#include "evals/store/store.h"

namespace assay::cli {

// Models and parts that are run as a whole, model by model. Stored before anything is asked, so that a resumed session
// needs nothing but the database.
struct SessionSpec {
  std::string suite;                // name, "" where tasks were named
  std::vector<std::string> models;  // checkpoint folders in order; the baseline, if it is a folder, comes first
  bool first_is_baseline = false;
  std::vector<RunSettings> parts;
  std::string dtype = "auto";
  bool accept_findings = false;

  Json to_json() const;
  static Result<SessionSpec> from_json(const Json& json);
};

// The models and parts that the options of `assay run` name: with --suite its parts, else one part of the tasks. Tasks
// of a suite that the program lacks are left out with a warning. Errors: usage.
Result<SessionSpec> session_spec(const RunOptions& options);

// Shows what the session would ask: items, tokens, memory, minutes at a rate measured here, expected interval widths.
Result<int> show_plan(const SessionSpec& spec, const RunOptions& options, const Globals& globals);

// Runs a stored session from where it stands and prints its tables; the exit code.
Result<int> execute_session(Store& store, SessionId id, const RunOptions& options, const Globals& globals);

}  // namespace assay::cli
