#include "evals/store/store.h"

#include <fmt/format.h>
#include <zstd.h>

#include <cstring>
#include <type_traits>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/hash.h"
#include "evals/store/engine_info_json.h"
#include "evals/store/run_notes.h"
#include "evals/store/schema.h"
#include "evals/store/sqlite.h"

namespace assay {
namespace {

std::string compress(std::string_view bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  const size_t size = ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3);
  ASSAY_CHECK(!ZSTD_isError(size));
  out.resize(size);
  return out;
}

Result<std::string> decompress(std::string_view bytes, const Path& path) {
  constexpr uint64_t kLargest = uint64_t{1} << 30;
  const uint64_t size = ZSTD_getFrameContentSize(bytes.data(), bytes.size());
  if (size > kLargest) return bad_data(fmt::format("{}: a stored text is damaged", path.string()));
  std::string out(size, '\0');
  if (ZSTD_decompress(out.data(), out.size(), bytes.data(), bytes.size()) != size) {
    return bad_data(fmt::format("{}: a stored text is damaged", path.string()));
  }
  return out;
}

// Plain numbers as a BLOB in host (little-endian) order.
template <class T>
std::string_view as_blob(const std::vector<T>& values) {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}
template <class T>
std::vector<T> from_blob(std::string_view blob) {
  std::vector<T> values(blob.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), blob.data(), values.size() * sizeof(T));
  return values;
}

// The statements that add items, prepared once.
struct ItemWriter {
  SqliteStatement find_item, delete_item, delete_scores, find_document, add_document, find_text, add_text, add_item,
      add_request, add_loglikelihood, add_completion, add_score, add_extracted;
};

Result<ItemWriter> prepare_item_writer(SqliteDb& db) {
  const auto prepare = [&](std::string_view sql) { return SqliteStatement::prepare(db, sql); };
  ASSAY_ASSIGN(auto find_item, prepare("SELECT id, outcome FROM items WHERE task_id = ? AND doc_id = ?"));
  ASSAY_ASSIGN(auto delete_item, prepare("DELETE FROM items WHERE id = ?"));
  ASSAY_ASSIGN(auto delete_scores, prepare("DELETE FROM scores WHERE task_id = ? AND doc_id = ?"));
  ASSAY_ASSIGN(auto find_document, prepare("SELECT id FROM documents WHERE sha256 = ?"));
  ASSAY_ASSIGN(auto add_document, prepare("INSERT INTO documents (sha256, json) VALUES (?, ?)"));
  ASSAY_ASSIGN(auto find_text, prepare("SELECT id FROM texts WHERE sha256 = ?"));
  ASSAY_ASSIGN(auto add_text, prepare("INSERT INTO texts (sha256, bytes) VALUES (?, ?)"));
  ASSAY_ASSIGN(
      auto add_item,
      prepare("INSERT INTO items (task_id, doc_id, document_id, target, shots, outcome, reason, truncated, lint) "
              "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  ASSAY_ASSIGN(auto add_request, prepare("INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?)"));
  ASSAY_ASSIGN(auto add_loglikelihood, prepare("INSERT INTO loglikelihoods VALUES (?, ?, ?, ?, ?)"));
  ASSAY_ASSIGN(auto add_completion, prepare("INSERT INTO completions VALUES (?, ?, ?, ?, ?, ?, ?)"));
  ASSAY_ASSIGN(auto add_score, prepare("INSERT INTO scores VALUES (?, ?, ?, ?, ?)"));
  ASSAY_ASSIGN(auto add_extracted, prepare("INSERT INTO extracted VALUES (?, ?, ?)"));
  return ItemWriter{std::move(find_item),         std::move(delete_item),    std::move(delete_scores),
                    std::move(find_document),     std::move(add_document),   std::move(find_text),
                    std::move(add_text),          std::move(add_item),       std::move(add_request),
                    std::move(add_loglikelihood), std::move(add_completion), std::move(add_score),
                    std::move(add_extracted)};
}

constexpr std::string_view kTaskColumns =
    "id, name, alias, task_group, version, info, primary_metric, higher_is_better, num_fewshot, dataset, subset, "
    "split, "
    "fewshot_split, data_source, data_sha256, fewshot_data_sha256, split_label, num_rows, planned";

Result<StoredTask> read_task(const SqliteStatement& row) {
  StoredTask task;
  task.id = row.column_int(0);
  task.name = row.column_text(1);
  task.alias = row.column_text(2);
  task.group = row.column_text(3);
  task.version = row.column_text(4);
  ASSAY_ASSIGN(task.info, Json::parse(row.column_text(5), "stored task"));
  task.primary_metric = row.column_text(6);
  task.higher_is_better = row.column_int(7) != 0;
  task.num_fewshot = static_cast<int>(row.column_int(8));
  task.dataset = row.column_text(9);
  task.subset = row.column_text(10);
  task.split = row.column_text(11);
  task.fewshot_split = row.column_text(12);
  task.data_source = row.column_text(13);
  task.data_sha256 = row.column_text(14);
  task.fewshot_data_sha256 = row.column_text(15);
  task.split_label = row.column_text(16);
  task.rows = row.column_int(17);
  task.planned = row.column_int(18);
  return task;
}

constexpr std::string_view kRunColumns =
    "runs.id, state, created_utc_us, finished_utc_us, baseline_of, settings, plan_sha256, command, build, machine, "
    "seconds, "
    "tokens_asked, tokens_computed, models.info";

Result<StoredRun> read_run(const SqliteStatement& row) {
  StoredRun run;
  run.id = row.column_int(0);
  run.state = static_cast<RunState>(row.column_int(1));
  run.created_utc_us = row.column_int(2);
  run.finished_utc_us = row.column_int(3);
  run.baseline_of = row.column_int(4);
  ASSAY_ASSIGN(run.settings, Json::parse(row.column_text(5), "stored settings"));
  run.plan_sha256 = row.column_text(6);
  run.command = row.column_text(7);
  run.build = row.column_text(8);
  ASSAY_ASSIGN(run.machine, Json::parse(row.column_text(9), "stored machine"));
  run.seconds = row.column_real(10);
  run.tokens_asked = row.column_int(11);
  run.tokens_computed = row.column_int(12);
  ASSAY_ASSIGN(const Json info, Json::parse(row.column_text(13), "stored model"));
  ASSAY_ASSIGN(run.model, engine_info_from_json(info));
  return run;
}

bool any_truncated(const StoredItem& item) {
  for (const StoredRequest& request : item.requests) {
    if (request.truncated) return true;
  }
  return false;
}

class SqliteStore final : public Store {
 public:
  SqliteStore(SqliteDb db) : db_(std::move(db)) {}

  Result<RunId> create_run(const StoredRun& run) override {
    ASSAY_ASSIGN(auto transaction, SqliteTransaction::begin(db_));
    ASSAY_ASSIGN(const int64_t model_id, add_model(run.model));
    ASSAY_ASSIGN(auto insert,
                 SqliteStatement::prepare(
                     db_,
                     "INSERT INTO runs (state, created_utc_us, finished_utc_us, model_id, baseline_of, settings, "
                     "plan_sha256, command, build, machine, seconds, tokens_asked, tokens_computed) "
                     "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
    insert.bind(static_cast<int64_t>(run.state)).bind(run.created_utc_us).bind(run.finished_utc_us).bind(model_id);
    insert.bind(run.baseline_of).bind(run.settings.dump()).bind(run.plan_sha256).bind(run.command).bind(run.build);
    insert.bind(run.machine.dump()).bind(run.seconds).bind(run.tokens_asked).bind(run.tokens_computed);
    ASSAY_TRY(insert.run());
    const RunId id = db_.last_insert_id();
    for (size_t i = 0; i < run.tasks.size(); ++i) ASSAY_TRY(add_task(id, static_cast<int64_t>(i), run.tasks[i]));
    ASSAY_TRY(transaction.commit());
    return id;
  }

  Result<StoredRun> run(RunId id) override {
    ASSAY_ASSIGN(auto select,
                 SqliteStatement::prepare(
                     db_, fmt::format("SELECT {} FROM runs JOIN models ON models.id = model_id WHERE runs.id = ?",
                                      kRunColumns)));
    select.bind(id);
    ASSAY_ASSIGN(const bool found, select.step());
    if (!found) return not_found(fmt::format("{}: no run {}; `assay ls runs` lists them", db_.path().string(), id));
    ASSAY_ASSIGN(StoredRun run, read_run(select));
    ASSAY_ASSIGN(auto tasks,
                 SqliteStatement::prepare(
                     db_, fmt::format("SELECT {} FROM tasks WHERE run_id = ? ORDER BY ordinal", kTaskColumns)));
    tasks.bind(id);
    for (;;) {
      ASSAY_ASSIGN(const bool more, tasks.step());
      if (!more) return run;
      ASSAY_ASSIGN(StoredTask task, read_task(tasks));
      run.tasks.push_back(std::move(task));
    }
  }

  Result<std::vector<StoredRun>> runs() override {
    ASSAY_ASSIGN(auto select,
                 SqliteStatement::prepare(
                     db_, fmt::format("SELECT {} FROM runs JOIN models ON models.id = model_id ORDER BY runs.id DESC",
                                      kRunColumns)));
    std::vector<StoredRun> runs;
    for (;;) {
      ASSAY_ASSIGN(const bool more, select.step());
      if (!more) return runs;
      ASSAY_ASSIGN(StoredRun run, read_run(select));
      runs.push_back(std::move(run));
    }
  }

  Result<std::optional<RunId>> newest_unfinished() override { return newest_where("WHERE state = 0"); }
  Result<std::optional<RunId>> newest() override { return newest_where(""); }

  Status add_items(RunId run, int64_t task_id, const std::vector<StoredItem>& items) override {
    if (items.empty()) return ok_status();
    if (!writer_) {
      ASSAY_ASSIGN(ItemWriter writer, prepare_item_writer(db_));
      writer_.emplace(std::move(writer));
    }
    ASSAY_ASSIGN(auto transaction, SqliteTransaction::begin(db_));
    ASSAY_TRY(check_task(run, task_id));
    for (const StoredItem& item : items) ASSAY_TRY(add_item(task_id, item));
    return transaction.commit();
  }

  Result<std::vector<int64_t>> answered(RunId run, int64_t task_id) override {
    ASSAY_TRY(check_task(run, task_id));
    ASSAY_ASSIGN(auto select, SqliteStatement::prepare(
                                  db_, "SELECT doc_id FROM items WHERE task_id = ? AND outcome != ? ORDER BY doc_id"));
    select.bind(task_id).bind(static_cast<int64_t>(Outcome::failed));
    std::vector<int64_t> ids;
    for (;;) {
      ASSAY_ASSIGN(const bool more, select.step());
      if (!more) return ids;
      ids.push_back(select.column_int(0));
    }
  }

  Status add_usage(RunId run, double seconds, int64_t tokens_asked, int64_t tokens_computed) override {
    ASSAY_ASSIGN(auto update,
                 SqliteStatement::prepare(db_,
                                          "UPDATE runs SET seconds = seconds + ?, tokens_asked = tokens_asked + ?, "
                                          "tokens_computed = tokens_computed + ? WHERE id = ?"));
    return update.bind(seconds).bind(tokens_asked).bind(tokens_computed).bind(run).run();
  }

  Status finish_run(RunId run, int64_t utc_us) override {
    ASSAY_ASSIGN(auto update,
                 SqliteStatement::prepare(db_, "UPDATE runs SET state = 1, finished_utc_us = ? WHERE id = ?"));
    return update.bind(utc_us).bind(run).run();
  }

  Result<StoredScores> scores(RunId run, int64_t task_id, const std::string& metric_key) override {
    ASSAY_TRY(check_task(run, task_id));
    ASSAY_ASSIGN(auto select, SqliteStatement::prepare(
                                  db_,
                                  "SELECT scores.doc_id, documents.sha256, scores.value, scores.weight FROM scores "
                                  "JOIN items ON items.task_id = scores.task_id AND items.doc_id = scores.doc_id "
                                  "JOIN documents ON documents.id = items.document_id "
                                  "WHERE scores.task_id = ? AND scores.metric = ? ORDER BY scores.doc_id"));
    select.bind(task_id).bind(metric_key);
    StoredScores scores;
    for (;;) {
      ASSAY_ASSIGN(const bool more, select.step());
      if (!more) return scores;
      scores.doc_ids.push_back(select.column_int(0));
      scores.doc_hashes.push_back(select.column_text(1));
      scores.values.push_back(select.column_real(2));
      scores.weights.push_back(select.column_real(3));
    }
  }

  Result<std::vector<std::string>> metric_keys(RunId run, int64_t task_id) override {
    ASSAY_TRY(check_task(run, task_id));
    ASSAY_ASSIGN(auto select,
                 SqliteStatement::prepare(db_, "SELECT DISTINCT metric FROM scores WHERE task_id = ? ORDER BY metric"));
    select.bind(task_id);
    std::vector<std::string> keys;
    for (;;) {
      ASSAY_ASSIGN(const bool more, select.step());
      if (!more) return keys;
      keys.push_back(select.column_text(0));
    }
  }

  Result<OutcomeCounts> outcomes(RunId run, int64_t task_id) override {
    ASSAY_TRY(check_task(run, task_id));
    ASSAY_ASSIGN(auto select,
                 SqliteStatement::prepare(
                     db_, "SELECT outcome, count(*), sum(truncated) FROM items WHERE task_id = ? GROUP BY outcome"));
    select.bind(task_id);
    OutcomeCounts counts;
    for (;;) {
      ASSAY_ASSIGN(const bool more, select.step());
      if (!more) return counts;
      const int64_t count = select.column_int(1);
      counts.truncated += select.column_int(2);
      switch (static_cast<Outcome>(select.column_int(0))) {
        case Outcome::scored: counts.scored = count; break;
        case Outcome::no_answer: counts.no_answer = count; break;
        case Outcome::failed: counts.failed = count; break;
        case Outcome::skipped: counts.skipped = count; break;
      }
    }
  }

  Status for_each_item(RunId run, int64_t task_id, const std::function<Status(const StoredItem&)>& visit) override {
    ASSAY_TRY(check_task(run, task_id));
    ASSAY_ASSIGN(auto select,
                 SqliteStatement::prepare(
                     db_,
                     "SELECT items.id, doc_id, documents.json, target, shots, outcome, reason, lint FROM items "
                     "JOIN documents ON documents.id = document_id WHERE task_id = ? ORDER BY doc_id"));
    select.bind(task_id);
    for (;;) {
      ASSAY_ASSIGN(const bool more, select.step());
      if (!more) return ok_status();
      StoredItem item;
      const int64_t item_id = select.column_int(0);
      item.doc_id = select.column_int(1);
      ASSAY_ASSIGN(const std::string document, decompress(select.column_blob(2), db_.path()));
      ASSAY_ASSIGN(item.document, Json::parse(document, "stored document"));
      item.target = select.column_text(3);
      item.shots = from_blob<int64_t>(select.column_blob(4));
      item.score.outcome = static_cast<Outcome>(select.column_int(5));
      item.score.reason = select.column_text(6);
      item.lint = static_cast<uint32_t>(select.column_int(7));
      ASSAY_TRY(read_requests(item_id, item));
      ASSAY_TRY(read_responses(item_id, item));
      ASSAY_TRY(read_scores(task_id, item_id, item));
      ASSAY_TRY(visit(item));
    }
  }

  Status for_each_answer(RunId run, int64_t task_id, const std::function<Status(const StoredItem&)>& visit) override {
    ASSAY_TRY(check_task(run, task_id));
    ASSAY_ASSIGN(auto select, SqliteStatement::prepare(db_,
                                                       "SELECT id, doc_id, outcome, reason, lint FROM items "
                                                       "WHERE task_id = ? ORDER BY doc_id"));
    select.bind(task_id);
    for (;;) {
      ASSAY_ASSIGN(const bool more, select.step());
      if (!more) return ok_status();
      StoredItem item;
      const int64_t item_id = select.column_int(0);
      item.doc_id = select.column_int(1);
      item.score.outcome = static_cast<Outcome>(select.column_int(2));
      item.score.reason = select.column_text(3);
      item.lint = static_cast<uint32_t>(select.column_int(4));
      ASSAY_TRY(read_responses(item_id, item));
      ASSAY_TRY(read_scores(task_id, item_id, item));
      ASSAY_TRY(visit(item));
    }
  }

  Status replace_scores(RunId run, const StoredTask& task, const std::vector<StoredItem>& items) override {
    ASSAY_ASSIGN(auto transaction, SqliteTransaction::begin(db_));
    ASSAY_TRY(check_task(run, task.id));
    ASSAY_TRY(notes::replace_scores(db_, task, items));
    return transaction.commit();
  }
  Status replace_findings(RunId run, const std::vector<StoredFinding>& findings) override {
    ASSAY_ASSIGN(auto transaction, SqliteTransaction::begin(db_));
    ASSAY_TRY(notes::replace_findings(db_, run, findings));
    return transaction.commit();
  }
  Result<std::vector<StoredFinding>> findings(RunId run) override { return notes::findings(db_, run); }

  Result<bool> add_bench(const StoredBench& bench) override { return benches::add(db_, bench); }
  Result<std::vector<StoredBench>> benches() override { return benches::all(db_); }
  Result<SessionId> create_session(const Json& spec, int64_t utc_us) override {
    return notes::create_session(db_, spec, utc_us);
  }
  Status add_session_run(SessionId session, int64_t ordinal, RunId run) override {
    return notes::add_session_run(db_, session, ordinal, run);
  }
  Status finish_session(SessionId session) override { return notes::finish_session(db_, session); }
  Result<StoredSession> session(SessionId id) override { return notes::session(db_, id); }
  Result<std::optional<SessionId>> session_of(RunId run) override { return notes::session_of(db_, run); }
  Result<std::optional<SessionId>> newest_unfinished_session() override {
    return notes::newest_unfinished_session(db_);
  }

 private:
  Result<int64_t> add_model(const EngineInfo& info) {
    const std::string text = engine_info_to_json(info).dump();
    const std::string digest = sha256_hex(text);
    ASSAY_ASSIGN(auto insert, SqliteStatement::prepare(
                                  db_, "INSERT INTO models (sha256, info) VALUES (?, ?) ON CONFLICT DO NOTHING"));
    ASSAY_TRY(insert.bind(digest).bind(text).run());
    return db_.query_int(fmt::format("SELECT id FROM models WHERE sha256 = '{}'", digest));
  }

  Status add_task(RunId run, int64_t ordinal, const StoredTask& task) {
    ASSAY_ASSIGN(auto insert,
                 SqliteStatement::prepare(
                     db_,
                     "INSERT INTO tasks (run_id, ordinal, name, alias, task_group, version, info, primary_metric, "
                     "higher_is_better, num_fewshot, dataset, subset, split, fewshot_split, data_source, data_sha256, "
                     "fewshot_data_sha256, split_label, num_rows, planned) "
                     "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
    insert.bind(run)
        .bind(ordinal)
        .bind(task.name)
        .bind(task.alias)
        .bind(task.group)
        .bind(task.version)
        .bind(task.info.dump());
    insert.bind(task.primary_metric)
        .bind(int64_t{task.higher_is_better})
        .bind(int64_t{task.num_fewshot})
        .bind(task.dataset);
    insert.bind(task.subset).bind(task.split).bind(task.fewshot_split).bind(task.data_source).bind(task.data_sha256);
    insert.bind(task.fewshot_data_sha256).bind(task.split_label).bind(task.rows).bind(task.planned);
    return insert.run();
  }

  Result<std::optional<RunId>> newest_where(std::string_view condition) {
    ASSAY_ASSIGN(auto select, SqliteStatement::prepare(
                                  db_, fmt::format("SELECT id FROM runs {} ORDER BY id DESC LIMIT 1", condition)));
    ASSAY_ASSIGN(const bool found, select.step());
    if (!found) return std::optional<RunId>();
    return std::optional<RunId>(select.column_int(0));
  }

  Status check_task(RunId run, int64_t task_id) {
    ASSAY_ASSIGN(auto select, SqliteStatement::prepare(db_, "SELECT 1 FROM tasks WHERE id = ? AND run_id = ?"));
    select.bind(task_id).bind(run);
    ASSAY_ASSIGN(const bool found, select.step());
    return found ? ok_status()
                 : not_found(fmt::format("{}: run {} has no task number {}", db_.path().string(), run, task_id));
  }

  // The row of `bytes` in a table of compressed texts, added if it is new.
  Result<int64_t> intern(SqliteStatement& find, SqliteStatement& add, const std::string& bytes,
                         const std::string& digest) {
    find.reset();
    ASSAY_ASSIGN(const bool found, find.bind(digest).step());
    if (found) return find.column_int(0);
    ASSAY_TRY(add.bind(digest).bind_blob(compress(bytes)).run());
    return db_.last_insert_id();
  }

  // A failed item gives way to the new answer; any other answer stays.
  Result<bool> make_room(int64_t task_id, int64_t doc_id) {
    writer_->find_item.reset();
    ASSAY_ASSIGN(const bool found, writer_->find_item.bind(task_id).bind(doc_id).step());
    if (!found) return true;
    if (static_cast<Outcome>(writer_->find_item.column_int(1)) != Outcome::failed) return false;
    ASSAY_TRY(writer_->delete_item.bind(writer_->find_item.column_int(0)).run());
    ASSAY_TRY(writer_->delete_scores.bind(task_id).bind(doc_id).run());
    return true;
  }

  Status add_item(int64_t task_id, const StoredItem& item) {
    ASSAY_ASSIGN(const bool wanted, make_room(task_id, item.doc_id));
    if (!wanted) return ok_status();
    ItemWriter& w = *writer_;
    ASSAY_ASSIGN(const int64_t document_id,
                 intern(w.find_document, w.add_document, item.document.dump(), document_hash(item.document)));
    w.add_item.bind(task_id).bind(item.doc_id).bind(document_id).bind(item.target).bind_blob(as_blob(item.shots));
    w.add_item.bind(static_cast<int64_t>(item.score.outcome))
        .bind(item.score.reason)
        .bind(int64_t{any_truncated(item)})
        .bind(int64_t{item.lint});
    ASSAY_TRY(w.add_item.run());
    const int64_t item_id = db_.last_insert_id();
    ASSAY_TRY(add_requests(item_id, item));
    ASSAY_TRY(add_responses(item_id, item));
    for (const MetricValue& metric : item.score.metrics) {
      w.add_score.bind(task_id).bind(metric.name + "," + metric.filter).bind(item.doc_id);
      ASSAY_TRY(w.add_score.bind(metric.value).bind(metric.weight).run());
    }
    for (const Extracted& extracted : item.score.extracted) {
      ASSAY_TRY(w.add_extracted.bind(item_id).bind(extracted.filter).bind(extracted.text).run());
    }
    return ok_status();
  }

  Status add_requests(int64_t item_id, const StoredItem& item) {
    ItemWriter& w = *writer_;
    const std::string* previous = nullptr;  // the choices of one question repeat their context
    int64_t context_id = 0;
    for (size_t i = 0; i < item.requests.size(); ++i) {
      const StoredRequest& request = item.requests[i];
      if (!previous || *previous != request.context) {
        ASSAY_ASSIGN(context_id, intern(w.find_text, w.add_text, request.context, sha256_hex(request.context)));
        previous = &request.context;
      }
      w.add_request.bind(item_id).bind(static_cast<int64_t>(i)).bind(context_id).bind(request.continuation);
      w.add_request.bind(int64_t{request.context_tokens})
          .bind(int64_t{request.continuation_tokens})
          .bind(int64_t{request.truncated});
      ASSAY_TRY(w.add_request.run());
    }
    return ok_status();
  }

  Status add_responses(int64_t item_id, const StoredItem& item) {
    ItemWriter& w = *writer_;
    for (size_t i = 0; i < item.response.loglikelihoods.size(); ++i) {
      const Loglikelihood& answer = item.response.loglikelihoods[i];
      w.add_loglikelihood.bind(item_id).bind(static_cast<int64_t>(i)).bind(answer.sum).bind(int64_t{answer.is_greedy});
      ASSAY_TRY(w.add_loglikelihood.bind_blob(as_blob(answer.logprobs)).run());
    }
    for (size_t i = 0; i < item.response.completions.size(); ++i) {
      const Completion& answer = item.response.completions[i];
      w.add_completion.bind(item_id).bind(static_cast<int64_t>(i)).bind(answer.text).bind_blob(as_blob(answer.tokens));
      w.add_completion.bind_blob(as_blob(answer.logprobs))
          .bind(static_cast<int64_t>(answer.finish))
          .bind(answer.stop_match);
      ASSAY_TRY(w.add_completion.run());
    }
    return ok_status();
  }

  Status read_requests(int64_t item_id, StoredItem& item) {
    ASSAY_ASSIGN(auto select, SqliteStatement::prepare(
                                  db_,
                                  "SELECT texts.bytes, continuation, context_tokens, continuation_tokens, truncated "
                                  "FROM requests JOIN texts ON texts.id = context_id "
                                  "WHERE item_id = ? ORDER BY request_index"));
    select.bind(item_id);
    for (;;) {
      ASSAY_ASSIGN(const bool more, select.step());
      if (!more) return ok_status();
      StoredRequest request;
      ASSAY_ASSIGN(request.context, decompress(select.column_blob(0), db_.path()));
      request.continuation = select.column_text(1);
      request.context_tokens = static_cast<int32_t>(select.column_int(2));
      request.continuation_tokens = static_cast<int32_t>(select.column_int(3));
      request.truncated = select.column_int(4) != 0;
      item.requests.push_back(std::move(request));
    }
  }

  Status read_responses(int64_t item_id, StoredItem& item) {
    ASSAY_ASSIGN(
        auto scored,
        SqliteStatement::prepare(
            db_, "SELECT sum, is_greedy, token_logprobs FROM loglikelihoods WHERE item_id = ? ORDER BY request_index"));
    scored.bind(item_id);
    for (;;) {
      ASSAY_ASSIGN(const bool more, scored.step());
      if (!more) break;
      Loglikelihood answer;
      answer.sum = scored.column_real(0);
      answer.is_greedy = scored.column_int(1) != 0;
      answer.logprobs = from_blob<float>(scored.column_blob(2));
      item.response.loglikelihoods.push_back(std::move(answer));
    }
    ASSAY_ASSIGN(auto generated,
                 SqliteStatement::prepare(db_,
                                          "SELECT text, tokens, token_logprobs, finish, stop_match FROM completions "
                                          "WHERE item_id = ? ORDER BY sample_index"));
    generated.bind(item_id);
    for (;;) {
      ASSAY_ASSIGN(const bool more, generated.step());
      if (!more) return ok_status();
      Completion answer;
      answer.sample_index = static_cast<int>(item.response.completions.size());
      answer.text = generated.column_text(0);
      answer.tokens = from_blob<TokenId>(generated.column_blob(1));
      answer.logprobs = from_blob<float>(generated.column_blob(2));
      answer.finish = static_cast<FinishReason>(generated.column_int(3));
      answer.stop_match = generated.column_text(4);
      item.response.completions.push_back(std::move(answer));
    }
  }

  Status read_scores(int64_t task_id, int64_t item_id, StoredItem& item) {
    ASSAY_ASSIGN(auto metrics, SqliteStatement::prepare(
                                   db_, "SELECT metric, value, weight FROM scores WHERE task_id = ? AND doc_id = ?"));
    metrics.bind(task_id).bind(item.doc_id);
    for (;;) {
      ASSAY_ASSIGN(const bool more, metrics.step());
      if (!more) break;
      const std::string key = metrics.column_text(0);
      const size_t comma = key.find(',');
      item.score.metrics.push_back(
          {key.substr(0, comma), key.substr(comma + 1), metrics.column_real(1), metrics.column_real(2)});
    }
    ASSAY_ASSIGN(auto extracted,
                 SqliteStatement::prepare(db_, "SELECT filter, text FROM extracted WHERE item_id = ? ORDER BY filter"));
    extracted.bind(item_id);
    for (;;) {
      ASSAY_ASSIGN(const bool more, extracted.step());
      if (!more) return ok_status();
      item.score.extracted.push_back({extracted.column_text(0), extracted.column_text(1)});
    }
  }

  SqliteDb db_;
  std::optional<ItemWriter> writer_;
};

Result<std::unique_ptr<Store>> open_store(const Path& path, SqliteDb::Mode mode) {
  ASSAY_ASSIGN(auto db, SqliteDb::open(path, mode));
  ASSAY_TRY(prepare_schema(db));
  return std::unique_ptr<Store>(new SqliteStore(std::move(db)));
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(const Path& path) { return open_store(path, SqliteDb::Mode::create); }

Result<std::unique_ptr<Store>> Store::open_existing(const Path& path) {
  return open_store(path, SqliteDb::Mode::existing);
}

}  // namespace assay
