#pragma once

#include "engine/base/json.h"
#include "evals/sandbox/sandbox.h"

namespace CLI {
class App;
}

namespace assay::cli {

// --interpreter, --cold, --no-cgroup, --no-sandbox: the same wherever code is run. `options` must outlive parsing.
void add_sandbox_options(CLI::App& verb, SandboxOptions& options);
Json interpreter_json(const InterpreterInfo& info);

}  // namespace assay::cli
