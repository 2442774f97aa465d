#include "evals/cli/code_session.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/file.h"
#include "engine/base/log.h"
#include "evals/scoring/remembered_answers.h"

namespace assay::cli {
namespace {

bool wants_programs(const PlannedTask& planned) { return planned.task->wants_programs(); }

std::string stored_digest(const StoredRun& run) {
  const Json* sandbox = run.machine.find("sandbox");
  const Json* digest = sandbox ? sandbox->find("sha256") : nullptr;
  return digest && digest->is_string() ? digest->as_string() : "";
}

}  // namespace

Result<CodeSession> open_code_session(std::vector<PlannedTask>& tasks, const RunOptions& options,
                                      const RunSettings& settings) {
  CodeSession session;
  if (std::none_of(tasks.begin(), tasks.end(), wants_programs)) return session;
  SandboxOptions sandbox;
  sandbox.interpreter = options.python;
  sandbox.no_sandbox = options.no_sandbox;
  ASSAY_ASSIGN(auto runner, open_program_runner(sandbox));
  session.runner = remember_answers(std::move(runner), real_files(), cache_directory() / "references");
  session.checker = std::make_unique<CodeChecker>(*session.runner, code_rules(settings.prompt.profile));
  log_detail("sandbox: " + session.runner->isolation());
  if (!options.no_sandbox) return session;
  log_warning("--no-sandbox: programs that a model wrote run with all rights of this user");
  for (PlannedTask& planned : tasks) {
    std::string& label = planned.stored.split_label;
    if (wants_programs(planned)) label += (label.empty() ? "" : "; ") + std::string("no sandbox");
  }
  return session;
}

Status check_interpreter(const StoredRun& run, const CodeSession& session) {
  if (!session.runner) return ok_status();
  const std::string stored = stored_digest(run);
  const Json provenance = session.runner->provenance();
  const std::string& here = provenance.find("sha256")->as_string();
  if (stored.empty() || stored == here) return ok_status();
  return bad_data(
      fmt::format("run {}: its programs ran in another Python ({}...) than this one ({}, {}...); name that "
                  "interpreter with --python, or start a new run",
                  run.id, stored.substr(0, 12), provenance.find("interpreter")->as_string(), here.substr(0, 12)));
}

}  // namespace assay::cli
