#include "evals/store/run_notes.h"

#include <fmt/format.h>

namespace assay {

std::string_view severity_name(StoredFinding::Severity severity) {
  switch (severity) {
    case StoredFinding::Severity::info: return "info";
    case StoredFinding::Severity::warning: return "warning";
    case StoredFinding::Severity::serious: return "serious";
  }
  return "";
}

namespace notes {
namespace {

Result<std::optional<int64_t>> one_id(SqliteDb& db, const std::string& sql) {
  ASSAY_ASSIGN(auto select, SqliteStatement::prepare(db, sql));
  ASSAY_ASSIGN(const bool found, select.step());
  if (!found) return std::optional<int64_t>();
  return std::optional<int64_t>(select.column_int(0));
}

}  // namespace

Status replace_scores(SqliteDb& db, const StoredTask& task, const std::vector<StoredItem>& items) {
  const auto prepare = [&](std::string_view sql) { return SqliteStatement::prepare(db, sql); };
  ASSAY_ASSIGN(auto renew, prepare("UPDATE tasks SET version = ?, info = ?, primary_metric = ? WHERE id = ?"));
  ASSAY_TRY(renew.bind(task.version).bind(task.info.dump()).bind(task.primary_metric).bind(task.id).run());
  ASSAY_ASSIGN(auto find, prepare("SELECT id FROM items WHERE task_id = ? AND doc_id = ?"));
  ASSAY_ASSIGN(auto update, prepare("UPDATE items SET outcome = ?, reason = ? WHERE id = ?"));
  ASSAY_ASSIGN(auto drop_scores, prepare("DELETE FROM scores WHERE task_id = ? AND doc_id = ?"));
  ASSAY_ASSIGN(auto drop_extracted, prepare("DELETE FROM extracted WHERE item_id = ?"));
  ASSAY_ASSIGN(auto add_score,
               prepare("INSERT INTO scores (task_id, metric, doc_id, value, weight) VALUES (?, ?, ?, ?, ?)"));
  ASSAY_ASSIGN(auto add_extracted, prepare("INSERT INTO extracted VALUES (?, ?, ?)"));
  for (const StoredItem& item : items) {
    find.reset();
    ASSAY_ASSIGN(const bool found, find.bind(task.id).bind(item.doc_id).step());
    if (!found) return not_found(fmt::format("{}: no answer to document {}", task.name, item.doc_id));
    const int64_t item_id = find.column_int(0);
    ASSAY_TRY(update.bind(static_cast<int64_t>(item.score.outcome)).bind(item.score.reason).bind(item_id).run());
    ASSAY_TRY(drop_scores.bind(task.id).bind(item.doc_id).run());
    ASSAY_TRY(drop_extracted.bind(item_id).run());
    for (const MetricValue& metric : item.score.metrics) {
      add_score.bind(task.id).bind(metric.name + "," + metric.filter).bind(item.doc_id);
      ASSAY_TRY(add_score.bind(metric.value).bind(metric.weight).run());
    }
    for (const Extracted& extracted : item.score.extracted)
      ASSAY_TRY(add_extracted.bind(item_id).bind(extracted.filter).bind(extracted.text).run());
  }
  return ok_status();
}

Status replace_findings(SqliteDb& db, RunId run, const std::vector<StoredFinding>& findings) {
  ASSAY_TRY(db.run(fmt::format("DELETE FROM findings WHERE run_id = {}", run)));
  ASSAY_ASSIGN(auto insert, SqliteStatement::prepare(db,
                                                     "INSERT INTO findings (run_id, scope, code, severity, affected, "
                                                     "total, text) VALUES (?, ?, ?, ?, ?, ?, ?)"));
  for (const StoredFinding& finding : findings) {
    insert.bind(run).bind(finding.scope).bind(finding.code).bind(static_cast<int64_t>(finding.severity));
    ASSAY_TRY(insert.bind(finding.affected).bind(finding.total).bind(finding.text).run());
  }
  return ok_status();
}

Result<std::vector<StoredFinding>> findings(SqliteDb& db, RunId run) {
  ASSAY_ASSIGN(auto select,
               SqliteStatement::prepare(db,
                                        "SELECT scope, code, severity, affected, total, text FROM findings "
                                        "WHERE run_id = ? ORDER BY severity DESC, id"));
  select.bind(run);
  std::vector<StoredFinding> list;
  for (;;) {
    ASSAY_ASSIGN(const bool more, select.step());
    if (!more) return list;
    StoredFinding finding;
    finding.scope = select.column_text(0);
    finding.code = select.column_text(1);
    finding.severity = static_cast<StoredFinding::Severity>(select.column_int(2));
    finding.affected = select.column_int(3);
    finding.total = select.column_int(4);
    finding.text = select.column_text(5);
    list.push_back(std::move(finding));
  }
}

Result<SessionId> create_session(SqliteDb& db, const Json& spec, int64_t utc_us) {
  ASSAY_ASSIGN(auto insert,
               SqliteStatement::prepare(db, "INSERT INTO sessions (state, created_utc_us, spec) VALUES (0, ?, ?)"));
  ASSAY_TRY(insert.bind(utc_us).bind(spec.dump()).run());
  return db.last_insert_id();
}

Status add_session_run(SqliteDb& db, SessionId session, int64_t ordinal, RunId run) {
  ASSAY_ASSIGN(auto insert, SqliteStatement::prepare(db, "INSERT INTO session_runs VALUES (?, ?, ?)"));
  return insert.bind(session).bind(ordinal).bind(run).run();
}

Status finish_session(SqliteDb& db, SessionId session) {
  return db.run(fmt::format("UPDATE sessions SET state = 1 WHERE id = {}", session));
}

Result<StoredSession> session(SqliteDb& db, SessionId id) {
  ASSAY_ASSIGN(auto select,
               SqliteStatement::prepare(db, "SELECT state, created_utc_us, spec FROM sessions WHERE id = ?"));
  ASSAY_ASSIGN(const bool found, select.bind(id).step());
  if (!found) return not_found(fmt::format("{}: no session {}", db.path().string(), id));
  StoredSession session;
  session.id = id;
  session.finished = select.column_int(0) == 1;
  session.created_utc_us = select.column_int(1);
  ASSAY_ASSIGN(session.spec, Json::parse(select.column_text(2), "stored session"));
  ASSAY_ASSIGN(auto runs, SqliteStatement::prepare(
                              db, "SELECT ordinal, run_id FROM session_runs WHERE session_id = ? ORDER BY ordinal"));
  runs.bind(id);
  for (;;) {
    ASSAY_ASSIGN(const bool more, runs.step());
    if (!more) return session;
    session.runs.emplace_back(runs.column_int(0), runs.column_int(1));
  }
}

Result<std::optional<SessionId>> session_of(SqliteDb& db, RunId run) {
  return one_id(db, fmt::format("SELECT session_id FROM session_runs WHERE run_id = {} ORDER BY session_id DESC", run));
}

Result<std::optional<SessionId>> newest_unfinished_session(SqliteDb& db) {
  return one_id(db, "SELECT id FROM sessions WHERE state = 0 ORDER BY id DESC LIMIT 1");
}

}  // namespace notes
}  // namespace assay
