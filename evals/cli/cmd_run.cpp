#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "engine/base/clock.h"
#include "engine/base/text_util.h"
#include "evals/cli/code_session.h"
#include "evals/cli/commands.h"
#include "evals/cli/run_session.h"
#include "evals/cli/suite_session.h"
#include "reports/export_lm_eval.h"

namespace assay::cli {
namespace {

struct Session {
  RunOptions options;
  Globals* globals;
  RunSettings settings;
  std::vector<PlannedTask> tasks;
  CodeSession code;
  std::unique_ptr<Store> store;
};

// "run:12" names a stored run; anything else is a checkpoint folder. 0: it is a folder.
Result<RunId> stored_baseline(const std::string& baseline) {
  if (!starts_with(baseline, "run:")) return RunId{0};
  const auto id = parse_int(std::string_view(baseline).substr(4));
  if (!id || *id < 1)
    return invalid_argument(fmt::format("--baseline {}: expected run:NUMBER or a checkpoint folder", baseline));
  return RunId{*id};
}

Result<RunSummary> ask(Session& session, ModelClient& client, RunId run) {
  return execute_stored_run(client, *session.store, run, session.tasks, session.settings, run_hints(session.options),
                            *session.globals, session.code.get());
}

// Opens the baseline model and runs it as the partner of `candidate`. The candidate's model is closed meanwhile: one
// model in memory.
Result<RunSummary> run_baseline(Session& session, RunId candidate, RunId& baseline) {
  ASSAY_ASSIGN(const EngineOptions engine, engine_options(session.options, session.options.baseline));
  ASSAY_ASSIGN(auto client, open_model(engine));
  ASSAY_ASSIGN(const StoredRun run,
               create_run(*session.store, *client, session.tasks, session.settings, session.options.baseline, candidate,
                          session.options.accept_findings, session.code.get()));
  baseline = run.id;
  return ask(session, *client, run.id);
}

Status write_lm_eval_files(Session& session, RunId run) {
  if (session.options.output_path.empty()) return ok_status();
  return export_lm_eval(*session.store, run, registry(), session.options.output_path, session.options.log_samples)
      .status();
}

// Several models or a suite: planned together, stored as one session, run model by model.
Result<int> whole_command(Session& session, bool several) {
  ASSAY_ASSIGN(SessionSpec spec, session_spec(session.options));
  for (RunSettings& part : spec.parts) {
    ASSAY_ASSIGN(const auto tasks, registry(part.prompt.profile).expand(part.tasks));
    for (const Task* task : tasks) {
      if (!task->info().definition_file.empty()) part.task_files.push_back(task->info().definition_file);
    }
  }
  if (session.options.plan) return show_plan(spec, session.options, *session.globals);
  if (several && !session.options.output_path.empty())
    return invalid_argument("--output-path goes with one model and --tasks; `assay export RUN` writes any run");
  ASSAY_ASSIGN(session.store, Store::open(session.globals->db));
  ASSAY_ASSIGN(const SessionId id, session.store->create_session(spec.to_json(), real_clock().utc_us()));
  watch_signals();
  return execute_session(*session.store, id, session.options, *session.globals);
}

Result<int> run_command(Session& session) {
  Globals& globals = *session.globals;
  ASSAY_TRY(apply_model_args(session.options));
  if (session.options.model.empty() && session.options.more_models.size() == 1) {
    session.options.model = session.options.more_models[0];
    session.options.more_models.clear();
  }
  const bool as_a_whole = !session.options.suite.empty() || !session.options.more_models.empty();
  if (as_a_whole || session.options.plan) return whole_command(session, as_a_whole);
  ASSAY_ASSIGN(session.settings, run_settings(session.options));
  if (session.settings.tasks.empty())
    return invalid_argument("no task: name some with --tasks (assay ls tasks lists them)");
  const Registry& known = registry(session.settings.prompt.profile);
  ASSAY_TRY(known.expand(session.settings.tasks));
  ASSAY_ASSIGN(RunId baseline, stored_baseline(session.options.baseline));
  ASSAY_ASSIGN(const EngineOptions engine, engine_options(session.options, session.options.model));
  ASSAY_ASSIGN(auto client, open_model(engine));
  ASSAY_ASSIGN(session.tasks, plan_run(known, session.settings, DataLocations::from_environment()));
  session.settings.task_files = task_files_of(session.tasks);
  for (const PlannedTask& task : session.tasks)
    ASSAY_TRY(generation_plan(task.task->generation_in(task.asked), session.settings, client->info()));
  ASSAY_ASSIGN(session.code, open_code_session(session.tasks, session.options, session.settings));
  ASSAY_ASSIGN(session.store, Store::open(globals.db));
  ASSAY_ASSIGN(const StoredRun run,
               create_run(*session.store, *client, session.tasks, session.settings, session.options.model, 0,
                          session.options.accept_findings, session.code.get()));
  watch_signals();
  int64_t failed = 0;
  if (!session.options.baseline.empty() && baseline == 0) {
    client.reset();
    ASSAY_ASSIGN(const RunSummary summary, run_baseline(session, run.id, baseline));
    if (!summary.finished) return interrupted_exit(baseline, globals);
    failed += summary.failed;
    ASSAY_ASSIGN(client, open_model(engine));
  }
  ASSAY_ASSIGN(const RunSummary summary, ask(session, *client, run.id));
  if (!summary.finished) return interrupted_exit(run.id, globals);
  ASSAY_TRY(write_lm_eval_files(session, run.id));
  ASSAY_TRY(print_result(*session.store, run.id, baseline, globals));
  return asked_all_exit(failed + summary.failed, globals);
}

}  // namespace

void add_run(CLI::App& app, Globals& globals, Action& chosen) {
  auto session = std::make_shared<Session>();
  session->globals = &globals;
  RunOptions& options = session->options;
  CLI::App* verb = app.add_subcommand("run", "ask a model the questions of some tasks, score and store every answer");
  add_model_options(*verb, options);
  verb->add_option("--baseline", options.baseline, "checkpoint folder to compare with, or run:NUMBER of a stored run");
  verb->add_option("--tasks,-t", options.tasks, "tasks and groups, separated by commas or spaces");
  add_prompt_options(*verb, options);
  add_code_options(*verb, options);
  verb->add_option("--limit,-L", options.limit, "first N samples of each task, a fraction below 1, or TASK=N,...");
  verb->add_option("--samples,-E", options.samples,
                   R"(documents by task: '{"arc_easy":[0,1]}', or a file holding that)");
  verb->add_option("--gen-kwargs,--gen_kwargs", options.gen_kwargs,
                   "generation settings: max_gen_toks=200,temperature=0.2");
  verb->add_option("--output-path,--output_path,-o", options.output_path,
                   "also write lm-eval's results file into this folder");
  verb->add_flag("--log-samples,--log_samples,-s", options.log_samples,
                 "with --output-path: also lm-eval's samples files");
  verb->add_option("--suite", options.suite,
                   "smoke, openllm-v1, mistral-small-card, or a suite's file: tasks with their settings");
  verb->add_option("MODELS", options.more_models, "checkpoint folders, run one after the other");
  verb->add_flag("--plan", options.plan, "show what would be asked, and what it takes; ask nothing");
  verb->add_flag("--accept-findings", options.accept_findings,
                 "run although the look at the prompts before it found something serious");
  verb->add_option("--item-order", options.item_order,
                   "natural, reverse, shuffled:SEED: the order of asking (scores do not depend on it)");
  verb->callback([session, &chosen] { chosen = [session] { return run_command(*session); }; });
}

}  // namespace assay::cli
