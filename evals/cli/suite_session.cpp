#include "evals/cli/suite_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "engine/base/log.h"
#include "engine/base/text_util.h"
#include "evals/cli/code_session.h"
#include "evals/cli/run_session.h"
#include "evals/run/suite.h"
#include "reports/recovery.h"
#include "reports/run_view.h"

namespace assay::cli {
namespace {

Json strings(const std::vector<std::string>& values) {
  Json json = Json::array();
  for (const std::string& value : values) json.push_back(value);
  return json;
}

Result<std::vector<RunSettings>> suite_parts(const RunOptions& options, const RunSettings& given) {
  ASSAY_ASSIGN(const Suite suite, find_suite(options.suite));
  std::vector<RunSettings> parts;
  std::vector<std::string> unknown;
  for (const RunSettings& part : suite.parts) {
    RunSettings known = with_known_tasks(part, registry(part.prompt.profile), unknown);
    if (!known.tasks.empty()) parts.push_back(overlaid(known, given));
  }
  if (!unknown.empty())
    log_warning(fmt::format("suite {}: this program does not have {}; left out", suite.name, join(unknown, ", ")));
  if (parts.empty()) return not_found(fmt::format("suite {}: none of its tasks is in this program", suite.name));
  return parts;
}

// A session on its way: what each part asks, planned once for all models.
class SessionRunner {
 public:
  SessionRunner(Store& store, StoredSession session, SessionSpec spec, const RunOptions& options,
                const Globals& globals)
      : store_(store), session_(std::move(session)), spec_(std::move(spec)), options_(options), globals_(globals) {}

  Result<int> run() {
    for (const RunSettings& part : spec_.parts) {
      ASSAY_TRY(load_task_files(part.task_files, {}));
      ASSAY_ASSIGN(auto tasks, plan_run(registry(part.prompt.profile), part, DataLocations::from_environment()));
      ASSAY_ASSIGN(CodeSession code, open_code_session(tasks, options_, part));
      tasks_.push_back(std::move(tasks));
      code_.push_back(std::move(code));
    }
    for (size_t m = 0; m < spec_.models.size(); ++m) {
      ASSAY_ASSIGN(const bool finished, run_model(m));
      if (!finished) return interrupted_exit(last_run_, globals_);
    }
    if (failed_ == 0) ASSAY_TRY(store_.finish_session(session_.id));
    ASSAY_TRY(print());
    return asked_all_exit(failed_, globals_);
  }

 private:
  int64_t ordinal(size_t model, size_t part) const { return static_cast<int64_t>(model * spec_.parts.size() + part); }

  // 0: not begun.
  RunId run_at(int64_t ordinal) const {
    const auto found = std::find_if(session_.runs.begin(), session_.runs.end(),
                                    [&](const auto& entry) { return entry.first == ordinal; });
    return found == session_.runs.end() ? 0 : found->second;
  }

  Result<bool> is_finished(RunId id) {
    if (id == 0) return false;
    ASSAY_ASSIGN(const StoredRun run, store_.run(id));
    return run.state == RunState::finished;
  }

  // One model is in memory at a time, and only where something is left to ask it.
  Result<bool> run_model(size_t m) {
    std::unique_ptr<ModelClient> client;
    for (size_t p = 0; p < spec_.parts.size(); ++p) {
      RunId id = run_at(ordinal(m, p));
      ASSAY_ASSIGN(const bool finished, is_finished(id));
      if (finished) continue;
      if (!client) {
        RunOptions options = options_;
        options.dtype = spec_.dtype;
        options.now = spec_.parts[p].now_utc;
        ASSAY_ASSIGN(const EngineOptions engine, engine_options(options, spec_.models[m]));
        ASSAY_ASSIGN(client, open_model(engine));
      }
      if (id == 0) {
        ASSAY_ASSIGN(id, begin_run(m, p, *client));
      }
      last_run_ = id;
      ASSAY_ASSIGN(const RunSummary summary, execute_stored_run(*client, store_, id, tasks_[p], spec_.parts[p],
                                                                run_hints(options_), globals_, code_[p].get()));
      if (!summary.finished) return false;
      failed_ += summary.failed;
    }
    return true;
  }

  Result<RunId> begin_run(size_t m, size_t p, const ModelClient& client) {
    for (const PlannedTask& task : tasks_[p])
      ASSAY_TRY(generation_plan(task.task->generation_in(task.asked), spec_.parts[p], client.info()));
    ASSAY_ASSIGN(const StoredRun run, create_run(store_, client, tasks_[p], spec_.parts[p], spec_.models[m], 0,
                                                 spec_.accept_findings, code_[p].get()));
    ASSAY_TRY(store_.add_session_run(session_.id, ordinal(m, p), run.id));
    session_.runs.emplace_back(ordinal(m, p), run.id);
    return run.id;
  }

  std::vector<RunId> runs_of(size_t m) const {
    std::vector<RunId> runs;
    for (size_t p = 0; p < spec_.parts.size(); ++p) runs.push_back(run_at(ordinal(m, p)));
    return runs;
  }

  Status print() {
    Json runs = Json::array(), recoveries = Json::array();
    for (size_t m = 0; m < spec_.models.size(); ++m) {
      for (const RunId id : runs_of(m)) {
        ASSAY_ASSIGN(const RunView view, view_run(store_, id, registry()));
        runs.push_back(run_json(view));
        if (!globals_.json && !spec_.first_is_baseline)
          std::fputs(print_terminal(run_table(view), globals_.use_color()).c_str(), stdout);
      }
      if (!spec_.first_is_baseline || m == 0) continue;
      ASSAY_ASSIGN(const RecoveryReport report, recovery_of(m));
      recoveries.push_back(recovery_json(report));
      if (!globals_.json) std::fputs(print_terminal(recovery_table(report), globals_.use_color()).c_str(), stdout);
    }
    if (!globals_.json) return ok_status();
    std::printf("%s\n", Json::object()
                            .set("session", session_.id)
                            .set("suite", spec_.suite)
                            .set("runs", std::move(runs))
                            .set("recoveries", std::move(recoveries))
                            .set("peak_memory_bytes", peak_memory_bytes())
                            .dump()
                            .c_str());
    return ok_status();
  }

  Result<RecoveryReport> recovery_of(size_t m) {
    std::vector<RunPair> pairs;
    const auto baseline = runs_of(0), candidate = runs_of(m);
    for (size_t p = 0; p < candidate.size(); ++p) pairs.push_back({baseline[p], candidate[p]});
    return compare_run_pairs(store_, pairs, registry(), false, false);
  }

  Store& store_;
  StoredSession session_;
  SessionSpec spec_;
  const RunOptions& options_;
  const Globals& globals_;
  std::vector<std::vector<PlannedTask>> tasks_;  // by part
  std::vector<CodeSession> code_;                // one a part
  RunId last_run_ = 0;
  int64_t failed_ = 0;  // questions
};

}  // namespace

Json SessionSpec::to_json() const {
  Json list = Json::array();
  for (const RunSettings& part : parts) list.push_back(part.to_json());
  return Json::object()
      .set("suite", suite)
      .set("models", strings(models))
      .set("first_is_baseline", first_is_baseline)
      .set("parts", std::move(list))
      .set("dtype", dtype)
      .set("accept_findings", accept_findings);
}

Result<SessionSpec> SessionSpec::from_json(const Json& json) {
  const JsonField root(json, "stored session");
  SessionSpec spec;
  ASSAY_ASSIGN(spec.suite, root.get_string("suite"));
  ASSAY_ASSIGN(const JsonField models, root.get("models"));
  ASSAY_ASSIGN(const auto names, models.items());
  for (const JsonField& name : names) {
    ASSAY_ASSIGN(std::string text, name.as_string());
    spec.models.push_back(std::move(text));
  }
  ASSAY_ASSIGN(spec.first_is_baseline, root.get_bool("first_is_baseline"));
  ASSAY_ASSIGN(const JsonField parts, root.get("parts"));
  ASSAY_ASSIGN(const auto list, parts.items());
  for (const JsonField& part : list) {
    ASSAY_ASSIGN(RunSettings settings, RunSettings::from_json(part.json()));
    spec.parts.push_back(std::move(settings));
  }
  ASSAY_ASSIGN(spec.dtype, root.get_string("dtype"));
  ASSAY_ASSIGN(spec.accept_findings, root.get_bool("accept_findings"));
  return spec;
}

Result<SessionSpec> session_spec(const RunOptions& options) {
  SessionSpec spec;
  spec.suite = options.suite;
  spec.dtype = options.dtype;
  spec.accept_findings = options.accept_findings;
  if (starts_with(options.baseline, "run:"))
    return invalid_argument("--baseline run:NUMBER goes with one model and --tasks; name a checkpoint folder");
  if (!options.baseline.empty()) spec.models.push_back(options.baseline);
  spec.first_is_baseline = !options.baseline.empty();
  if (!options.model.empty()) spec.models.push_back(options.model);
  spec.models.insert(spec.models.end(), options.more_models.begin(), options.more_models.end());
  if (spec.models.size() == (spec.first_is_baseline ? 1u : 0u))
    return invalid_argument("no model: name checkpoint folders behind the options, or one with --model");
  ASSAY_ASSIGN(const RunSettings given, run_settings(options));
  if (options.suite.empty()) {
    if (given.tasks.empty()) return invalid_argument("no task: name some with --tasks (assay ls tasks lists them)");
    spec.parts.push_back(given);
    return spec;
  }
  if (!given.tasks.empty()) return invalid_argument("--suite names the tasks; leave out --tasks");
  ASSAY_ASSIGN(spec.parts, suite_parts(options, given));
  return spec;
}

Result<int> execute_session(Store& store, SessionId id, const RunOptions& options, const Globals& globals) {
  ASSAY_ASSIGN(StoredSession session, store.session(id));
  ASSAY_ASSIGN(SessionSpec spec, SessionSpec::from_json(session.spec));
  return SessionRunner(store, std::move(session), std::move(spec), options, globals).run();
}

}  // namespace assay::cli
