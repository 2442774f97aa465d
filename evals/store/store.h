#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/status.h"
#include "engine/engine.h"
#include "evals/store/benches.h"
#include "evals/task/sample.h"

namespace assay {

using RunId = int64_t;

enum class RunState : uint8_t { running, finished };

// One leaf task inside a run.
struct StoredTask {
  int64_t id = 0;  // of the store; 0 before it is stored
  std::string name, alias, group, version;
  Json info;                   // what export needs: TaskInfo as JSON
  std::string primary_metric;  // "acc_norm,none"
  bool higher_is_better = true;
  int num_fewshot = 0;
  std::string dataset, subset, split, fewshot_split;
  std::string data_source, data_sha256, fewshot_data_sha256;
  std::string split_label;  // "" when split and shots are canonical; else what differs, shown beside every score
  int64_t rows = 0;         // of the split
  int64_t planned = 0;      // samples this run asks
};

// A run: one model over some tasks. `settings` is everything that may change a score; plan_sha256 identifies it
// together with the digests of model and data, so that runs can be compared and resumed only with themselves.
struct StoredRun {
  RunId id = 0;
  RunState state = RunState::running;
  int64_t created_utc_us = 0, finished_utc_us = 0;
  EngineInfo model;
  Json settings;
  std::string plan_sha256;
  std::string
      command;        // reproduces the run; built from settings, without database or paths of this machine's temp files
  std::string build;  // version, commit, compiler
  Json machine;       // processor, cores, memory, kernel
  RunId baseline_of = 0;  // the candidate run this one was started for, 0: none
  std::vector<StoredTask> tasks;
  double seconds = 0;  // summed over interruptions
  int64_t tokens_asked = 0, tokens_computed = 0;
};

struct StoredRequest {
  std::string context;       // text as sent
  std::string continuation;  // empty for generation
  int32_t context_tokens = 0, continuation_tokens = 0;
  bool truncated = false;
};

// One answered sample, all of it.
struct StoredItem {
  int64_t doc_id = 0;
  Json document;
  std::string target;          // as lm-eval prints it: gold index, or reference text
  std::vector<int64_t> shots;  // rows of the few-shot pool
  std::vector<StoredRequest> requests;
  Response response;
  Score score;
  uint32_t lint = 0;  // what was noticed about its prompt: bits of evals/prompt/lint.h
};

// Something about a run that its scores do not show and a reader must know.
struct StoredFinding {
  enum class Severity : uint8_t { info, warning, serious };
  std::string scope;  // a task, a data set of many tasks, or "" for the whole run
  std::string code;   // "two_bos", "chance_level", ...
  Severity severity = Severity::info;
  int64_t affected = 0, total = 0;  // items
  std::string text;                 // one line, without the scope
};
std::string_view severity_name(StoredFinding::Severity severity);

using SessionId = int64_t;

// Several runs that were planned together: what was asked for, and the runs begun so far by their place in the plan.
struct StoredSession {
  SessionId id = 0;
  bool finished = false;
  int64_t created_utc_us = 0;
  Json spec;
  std::vector<std::pair<int64_t, RunId>> runs;  // (ordinal, run), ascending
};

// A metric's values over a task's answered samples, ascending doc_id.
struct StoredScores {
  std::vector<int64_t> doc_ids;
  std::vector<std::string> doc_hashes;  // SHA-256 of the document's JSON: what runs are paired by
  std::vector<double> values;
  std::vector<double> weights;  // MetricValue::weight of each
};

struct OutcomeCounts {
  int64_t scored = 0, no_answer = 0, failed = 0, skipped = 0, truncated = 0;
};

// The one SQLite file that holds every run: WAL (DELETE on network file systems), synchronous FULL, STRICT tables. What
// add_items has returned from survives kill -9 and power loss. One writer and any number of readers at a time; a second
// writer waits up to 10 s. Alone in speaking SQL. An object belongs to one thread.
class Store {
 public:
  // Opens or creates. Errors: bad_data when the file is no Assay database or was written by a newer Assay (says both
  // schema numbers); io.
  static Result<std::unique_ptr<Store>> open(const Path& path);
  // Opens an existing database for reading; not_found when there is none.
  static Result<std::unique_ptr<Store>> open_existing(const Path& path);
  virtual ~Store() = default;

  virtual Result<RunId> create_run(const StoredRun& run) = 0;  // with its tasks
  virtual Result<StoredRun> run(RunId id) = 0;
  virtual Result<std::vector<StoredRun>> runs() = 0;  // newest first, without tasks
  virtual Result<std::optional<RunId>> newest_unfinished() = 0;
  virtual Result<std::optional<RunId>> newest() = 0;

  // One transaction: items of one task, each exactly once; an item that is there already is left as it is.
  virtual Status add_items(RunId run, int64_t task_id, const std::vector<StoredItem>& items) = 0;
  virtual Result<std::vector<int64_t>> answered(RunId run,
                                                int64_t task_id) = 0;  // ascending doc_ids, failed ones left out
  virtual Status add_usage(RunId run, double seconds, int64_t tokens_asked, int64_t tokens_computed) = 0;
  virtual Status finish_run(RunId run, int64_t utc_us) = 0;

  virtual Result<StoredScores> scores(RunId run, int64_t task_id, const std::string& metric_key) = 0;
  virtual Result<std::vector<std::string>> metric_keys(RunId run, int64_t task_id) = 0;  // "acc,none", ...
  virtual Result<OutcomeCounts> outcomes(RunId run, int64_t task_id) = 0;
  // Items in doc_id order, streamed; stop early by returning a failure.
  virtual Status for_each_item(RunId run, int64_t task_id, const std::function<Status(const StoredItem&)>& visit) = 0;
  // The same with answers only: document, target, shots and requests stay empty.
  virtual Status for_each_answer(RunId run, int64_t task_id, const std::function<Status(const StoredItem&)>& visit) = 0;

  // One transaction: new outcomes, metrics and extracted answers of items that are there, found by doc_id; the task's
  // version and info become `task`'s.
  virtual Status replace_scores(RunId run, const StoredTask& task, const std::vector<StoredItem>& items) = 0;
  virtual Status replace_findings(RunId run, const std::vector<StoredFinding>& findings) = 0;
  virtual Result<std::vector<StoredFinding>> findings(RunId run) = 0;  // serious ones first, then as stored

  virtual Result<SessionId> create_session(const Json& spec, int64_t utc_us) = 0;
  virtual Status add_session_run(SessionId session, int64_t ordinal, RunId run) = 0;
  virtual Status finish_session(SessionId session) = 0;
  virtual Result<StoredSession> session(SessionId id) = 0;
  virtual Result<std::optional<SessionId>> session_of(RunId run) = 0;
  virtual Result<std::optional<SessionId>> newest_unfinished_session() = 0;

  virtual Result<bool> add_bench(const StoredBench& bench) = 0;  // false: it is there already
  virtual Result<std::vector<StoredBench>> benches() = 0;        // newest first
};

}  // namespace assay
