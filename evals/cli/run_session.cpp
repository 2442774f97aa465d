#include "evals/cli/run_session.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/text_util.h"
#include "engine/text/jinja.h"
#include "evals/model/engine_client.h"
#include "evals/run/findings.h"
#include "reports/recovery.h"
#include "reports/run_view.h"
#include "tasks/all_tasks.h"
#include "tasks/task_file.h"

namespace assay::cli {
namespace {

std::atomic<int> caught_signal{0};

void on_signal(int number) {
  if (number == SIGINT && caught_signal.load() == SIGINT) _exit(130);
  caught_signal.store(number);
}

Registry& open_registry(Profile profile) {
  const auto make = [](Profile wanted) {
    auto* made = new Registry;
    add_all_tasks(*made, wanted);
    return made;
  };
  static Registry* const main = make(Profile::main);
  static Registry* const card = make(Profile::card_2025_04);
  return profile == Profile::main ? *main : *card;
}

// Templates of task files: an undefined name is an error, and a last newline stays, as lm-eval's Jinja settings have
// it.
Result<TextTemplate> compile_template(std::string_view source, std::string_view name) {
  std::string kept(source);
  if (ends_with(kept, "\n")) kept += '\n';
  ASSAY_ASSIGN(JinjaTemplate parsed, JinjaTemplate::parse(kept, name));
  const auto shared = std::make_shared<const JinjaTemplate>(std::move(parsed));
  return TextTemplate([shared](const Json& columns) { return shared->render(columns, {.strict = true}); });
}

}  // namespace

const Registry& registry(Profile profile) { return open_registry(profile); }

Status load_task_files(const std::vector<std::string>& files, const std::vector<std::string>& folders) {
  if (files.empty() && folders.empty()) return ok_status();
  for (const Profile profile : {Profile::main, Profile::card_2025_04}) {
    ASSAY_TRY(add_task_files(open_registry(profile), files, folders, compile_template));
  }
  return ok_status();
}

std::vector<std::string> task_files_of(const std::vector<PlannedTask>& tasks) {
  std::vector<std::string> files;
  for (const PlannedTask& task : tasks) {
    const std::string& file = task.task->info().definition_file;
    if (!file.empty()) files.push_back(file);
  }
  return files;
}

void watch_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

bool stop_requested() { return caught_signal.load() != 0; }
int stop_signal() { return caught_signal.load(); }

int64_t peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

Result<std::unique_ptr<ModelClient>> open_model(const EngineOptions& options) {
  ASSAY_ASSIGN(auto engine, Engine::open(options));
  const EngineInfo& info = engine->info();
  log_detail(fmt::format("{}: {}, {}, {}, {}", info.model_name, info.architecture, info.quantization, info.dtype,
                         info.backend_detail));
  return make_engine_client(std::move(engine));
}

Result<StoredRun> create_run(Store& store, const ModelClient& client, const std::vector<PlannedTask>& tasks,
                             const RunSettings& settings, const std::string& model, RunId baseline_of,
                             bool accept_findings, const CodeChecker* checker) {
  ASSAY_ASSIGN(const auto findings, check_prompts(client, tasks, settings));
  for (const StoredFinding& finding : findings) {
    const std::string text = fmt::format("{}: {}", finding.scope, finding.text);
    if (finding.severity == StoredFinding::Severity::serious && !accept_findings)
      return bad_data(text + "; nothing was run (--accept-findings runs it all the same)");
    if (finding.severity >= StoredFinding::Severity::warning)
      log_warning(text + " (of those looked at before the run)");
  }
  StoredRun run = describe_run(client, tasks, settings, reproducing_command(settings, model, client.info().dtype),
                               real_clock(), checker);
  run.baseline_of = baseline_of;
  ASSAY_ASSIGN(const RunId id, store.create_run(run));
  ASSAY_TRY(store.replace_findings(id, findings));
  return store.run(id);
}

Result<RunSummary> execute_stored_run(ModelClient& client, Store& store, RunId id,
                                      const std::vector<PlannedTask>& tasks, const RunSettings& settings,
                                      const RunHints& hints, const Globals& globals, const CodeChecker* checker) {
  ASSAY_ASSIGN(const StoredRun run, store.run(id));
  if (plan_digest(settings, client.info(), tasks) != run.plan_sha256) {
    return bad_data(
        fmt::format("run {}: the model or the data changed since it began (plan {}...), so its answers cannot be "
                    "continued; start a new run",
                    id, run.plan_sha256.substr(0, 12)));
  }
  int64_t items = 0;
  for (const PlannedTask& task : tasks) items += task.stored.planned;
  log_info(fmt::format("run {}  {}  {} tasks, {} items  {} {}", id, client.info().model_name, tasks.size(), items,
                       client.info().backend, client.info().dtype));
  Progress progress(real_clock(), !globals.quiet, isatty(STDERR_FILENO) == 1);
  return execute_run(client, store, run, tasks, settings, hints, progress, stop_requested, real_clock(), checker);
}

int interrupted_exit(RunId run, const Globals& globals) {
  std::fprintf(stderr, "assay: run %lld stopped; every answer so far is stored. Go on with: assay resume --db %s\n",
               static_cast<long long>(run), globals.db.c_str());
  return stop_signal() == SIGINT ? 130 : exit_code(Code::interrupted);
}

int asked_all_exit(int64_t failed, const Globals& globals) {
  if (failed == 0) return 0;
  std::fprintf(stderr, "assay: %lld questions failed and wait to be asked again: assay resume --db %s\n",
               static_cast<long long>(failed), globals.db.c_str());
  return exit_code(Code::interrupted);
}

Status print_result(Store& store, RunId run, RunId baseline, const Globals& globals) {
  ASSAY_ASSIGN(const RunView view, view_run(store, run, registry()));
  if (globals.json) {
    Json json = run_json(view);
    json.set("peak_memory_bytes", peak_memory_bytes());
    if (baseline != 0) {
      ASSAY_ASSIGN(const RunView baseline_view, view_run(store, baseline, registry()));
      ASSAY_ASSIGN(const RecoveryReport report, compare_runs(store, baseline, run, registry(), false, false));
      json.set("baseline", run_json(baseline_view)).set("recovery", recovery_json(report));
    }
    std::printf("%s\n", json.dump().c_str());
    return ok_status();
  }
  if (baseline == 0) {
    std::fputs(print_terminal(run_table(view), globals.use_color()).c_str(), stdout);
    return ok_status();
  }
  ASSAY_ASSIGN(const RecoveryReport report, compare_runs(store, baseline, run, registry(), false, false));
  std::fputs(print_terminal(recovery_table(report), globals.use_color()).c_str(), stdout);
  return ok_status();
}

}  // namespace assay::cli
