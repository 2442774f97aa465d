#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>

#include "evals/cli/code_session.h"
#include "evals/cli/commands.h"
#include "evals/cli/run_session.h"
#include "evals/cli/suite_session.h"

namespace assay::cli {
namespace {

// The runs that belong together: a candidate and the baseline that was started for it.
struct Pair {
  RunId baseline = 0, candidate = 0;
};

Result<Pair> pair_of(Store& store, const StoredRun& run) {
  if (run.baseline_of != 0) return Pair{run.id, run.baseline_of};
  ASSAY_ASSIGN(const auto runs, store.runs());
  for (const StoredRun& other : runs) {
    if (other.baseline_of == run.id) return Pair{other.id, run.id};
  }
  return Pair{0, run.id};
}

// Goes on with one stored run.
Result<RunSummary> resume_one(Store& store, RunId id, RunOptions options, const Globals& globals) {
  ASSAY_ASSIGN(const StoredRun run, store.run(id));
  if (run.state == RunState::finished) return RunSummary{id, true};
  ASSAY_ASSIGN(const RunSettings settings, RunSettings::from_json(run.settings));
  ASSAY_TRY(load_task_files(settings.task_files, {}));
  options.dtype = run.model.dtype;
  options.now = settings.now_utc;
  ASSAY_ASSIGN(const EngineOptions engine,
               engine_options(options, options.model.empty() ? run.model.model_path : options.model));
  ASSAY_ASSIGN(auto client, open_model(engine));
  ASSAY_ASSIGN(auto tasks, plan_run(registry(settings.prompt.profile), settings, DataLocations::from_environment()));
  ASSAY_ASSIGN(const CodeSession code, open_code_session(tasks, options, settings));
  ASSAY_TRY(check_interpreter(run, code));
  return execute_stored_run(*client, store, id, tasks, settings, run_hints(options), globals, code.get());
}

Result<int> go_on(Store& store, SessionId session, const RunOptions& options, const Globals& globals) {
  watch_signals();
  return execute_session(store, session, options, globals);
}

Result<int> resume_command(const RunOptions& options, RunId wanted, const Globals& globals) {
  ASSAY_ASSIGN(auto store, Store::open_existing(globals.db));
  std::optional<SessionId> session;
  if (wanted == 0) {
    ASSAY_ASSIGN(const auto newest, store->newest_unfinished());
    if (!newest) {
      ASSAY_ASSIGN(session, store->newest_unfinished_session());
      if (session) return go_on(*store, *session, options, globals);
    }
    if (!newest) return not_found(fmt::format("{}: no unfinished run; `assay ls runs` lists all", globals.db));
    wanted = *newest;
  }
  ASSAY_ASSIGN(session, store->session_of(wanted));
  if (session) return go_on(*store, *session, options, globals);
  ASSAY_ASSIGN(const StoredRun run, store->run(wanted));
  ASSAY_ASSIGN(const Pair pair, pair_of(*store, run));
  watch_signals();
  int64_t failed = 0;
  for (const RunId id : {pair.baseline, pair.candidate}) {
    if (id == 0) continue;
    ASSAY_ASSIGN(const RunSummary summary, resume_one(*store, id, options, globals));
    if (!summary.finished) return interrupted_exit(id, globals);
    failed += summary.failed;
  }
  ASSAY_TRY(print_result(*store, pair.candidate, pair.baseline, globals));
  return asked_all_exit(failed, globals);
}

}  // namespace

void add_resume(CLI::App& app, Globals& globals, Action& chosen) {
  auto options = std::make_shared<RunOptions>();
  auto wanted = std::make_shared<RunId>(0);
  CLI::App* verb = app.add_subcommand("resume", "go on with the newest unfinished run, and its partner");
  verb->add_option("RUN", *wanted, "another run's number");
  verb->add_option("--model,-m", options->model, "where the checkpoint lies now, if it moved");
  add_code_options(*verb, *options);
  verb->add_option("--threads", options->threads, "processor threads (0: all)");
  verb->add_option("--backend", options->backend, "cpu, cuda, auto");
  verb->add_option("--kv-bytes", options->kv_bytes, "size of the KV cache");
  verb->add_option("--max-batch-tokens", options->max_batch_tokens, "tokens a step (0: the backend's best)");
  verb->callback([options, wanted, &globals, &chosen] {
    chosen = [options, wanted, &globals] { return resume_command(*options, *wanted, globals); };
  });
}

}  // namespace assay::cli
