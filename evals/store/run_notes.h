#pragma once

#include <optional>
#include <vector>

#include "evals/store/sqlite.h"
#include "evals/store/store.h"

// What the store keeps about runs beside their answers: findings, renewed scores, sessions. Each is one statement or a
// part of the caller's transaction.
namespace assay::notes {

Status replace_scores(SqliteDb& db, const StoredTask& task, const std::vector<StoredItem>& items);

Status replace_findings(SqliteDb& db, RunId run, const std::vector<StoredFinding>& findings);
Result<std::vector<StoredFinding>> findings(SqliteDb& db, RunId run);

Result<SessionId> create_session(SqliteDb& db, const Json& spec, int64_t utc_us);
Status add_session_run(SqliteDb& db, SessionId session, int64_t ordinal, RunId run);
Status finish_session(SqliteDb& db, SessionId session);
Result<StoredSession> session(SqliteDb& db, SessionId id);
Result<std::optional<SessionId>> session_of(SqliteDb& db, RunId run);
Result<std::optional<SessionId>> newest_unfinished_session(SqliteDb& db);

}  // namespace assay::notes
