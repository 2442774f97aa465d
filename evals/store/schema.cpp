#include "evals/store/schema.h"

#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/vfs.h>

#include <array>
#include <string_view>

#include "engine/base/log.h"

namespace assay {
namespace {

// Migration i brings schema i to i + 1. A released migration never changes; a change is a new one.
// Texts and documents are stored once, compressed with zstd, found by the SHA-256 of their bytes. Scores are clustered
// by task and metric, so that one metric of a million answers is one range scan. The v_ views are the public SQL
// surface.
constexpr std::array<std::string_view, 4> kMigrations = {
    R"sql(
CREATE TABLE models (
  id INTEGER PRIMARY KEY,
  sha256 TEXT NOT NULL UNIQUE,
  info TEXT NOT NULL
) STRICT;
CREATE TABLE runs (
  id INTEGER PRIMARY KEY,
  state INTEGER NOT NULL,
  created_utc_us INTEGER NOT NULL,
  finished_utc_us INTEGER NOT NULL,
  model_id INTEGER NOT NULL REFERENCES models(id),
  baseline_of INTEGER NOT NULL,
  settings TEXT NOT NULL,
  plan_sha256 TEXT NOT NULL,
  command TEXT NOT NULL,
  build TEXT NOT NULL,
  machine TEXT NOT NULL,
  seconds REAL NOT NULL,
  tokens_asked INTEGER NOT NULL,
  tokens_computed INTEGER NOT NULL
) STRICT;
CREATE TABLE tasks (
  id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
  ordinal INTEGER NOT NULL,
  name TEXT NOT NULL,
  alias TEXT NOT NULL,
  task_group TEXT NOT NULL,
  version TEXT NOT NULL,
  info TEXT NOT NULL,
  primary_metric TEXT NOT NULL,
  higher_is_better INTEGER NOT NULL,
  num_fewshot INTEGER NOT NULL,
  dataset TEXT NOT NULL,
  subset TEXT NOT NULL,
  split TEXT NOT NULL,
  fewshot_split TEXT NOT NULL,
  data_source TEXT NOT NULL,
  data_sha256 TEXT NOT NULL,
  fewshot_data_sha256 TEXT NOT NULL,
  split_label TEXT NOT NULL,
  num_rows INTEGER NOT NULL,
  planned INTEGER NOT NULL,
  UNIQUE (run_id, name)
) STRICT;
CREATE TABLE documents (
  id INTEGER PRIMARY KEY,
  sha256 TEXT NOT NULL UNIQUE,
  json BLOB NOT NULL
) STRICT;
CREATE TABLE texts (
  id INTEGER PRIMARY KEY,
  sha256 TEXT NOT NULL UNIQUE,
  bytes BLOB NOT NULL
) STRICT;
CREATE TABLE items (
  id INTEGER PRIMARY KEY,
  task_id INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
  doc_id INTEGER NOT NULL,
  document_id INTEGER NOT NULL REFERENCES documents(id),
  target TEXT NOT NULL,
  shots BLOB NOT NULL,
  outcome INTEGER NOT NULL,
  reason TEXT NOT NULL,
  truncated INTEGER NOT NULL,
  UNIQUE (task_id, doc_id)
) STRICT;
CREATE TABLE requests (
  item_id INTEGER NOT NULL REFERENCES items(id) ON DELETE CASCADE,
  request_index INTEGER NOT NULL,
  context_id INTEGER NOT NULL REFERENCES texts(id),
  continuation TEXT NOT NULL,
  context_tokens INTEGER NOT NULL,
  continuation_tokens INTEGER NOT NULL,
  truncated INTEGER NOT NULL,
  PRIMARY KEY (item_id, request_index)
) STRICT, WITHOUT ROWID;
CREATE TABLE loglikelihoods (
  item_id INTEGER NOT NULL REFERENCES items(id) ON DELETE CASCADE,
  request_index INTEGER NOT NULL,
  sum REAL NOT NULL,
  is_greedy INTEGER NOT NULL,
  token_logprobs BLOB NOT NULL,
  PRIMARY KEY (item_id, request_index)
) STRICT, WITHOUT ROWID;
CREATE TABLE completions (
  item_id INTEGER NOT NULL REFERENCES items(id) ON DELETE CASCADE,
  sample_index INTEGER NOT NULL,
  text TEXT NOT NULL,
  tokens BLOB NOT NULL,
  token_logprobs BLOB NOT NULL,
  finish INTEGER NOT NULL,
  stop_match TEXT NOT NULL,
  PRIMARY KEY (item_id, sample_index)
) STRICT, WITHOUT ROWID;
CREATE TABLE scores (
  task_id INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
  metric TEXT NOT NULL,
  doc_id INTEGER NOT NULL,
  value REAL NOT NULL,
  PRIMARY KEY (task_id, metric, doc_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE extracted (
  item_id INTEGER NOT NULL REFERENCES items(id) ON DELETE CASCADE,
  filter TEXT NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY (item_id, filter)
) STRICT, WITHOUT ROWID;
CREATE VIEW v_runs AS
  SELECT runs.id AS run, json_extract(models.info, '$.model_name') AS model, json_extract(models.info, '$.quantization') AS quantization,
         state = 1 AS finished, created_utc_us, finished_utc_us, seconds, tokens_asked, tokens_computed, command
  FROM runs JOIN models ON models.id = model_id;
CREATE VIEW v_scores AS
  SELECT tasks.run_id AS run, tasks.name AS task, scores.metric, scores.doc_id, scores.value
  FROM scores JOIN tasks ON tasks.id = scores.task_id;
CREATE VIEW v_items AS
  SELECT tasks.run_id AS run, tasks.name AS task, items.doc_id, documents.sha256 AS document_sha256, items.target, items.outcome, items.reason
  FROM items JOIN tasks ON tasks.id = items.task_id JOIN documents ON documents.id = items.document_id;
)sql",
    // Words or bytes behind a perplexity.
    R"sql(
ALTER TABLE scores ADD COLUMN weight REAL NOT NULL DEFAULT 0;
)sql",
    // What was noticed about prompts and answers, and runs that were planned together.
    R"sql(
ALTER TABLE items ADD COLUMN lint INTEGER NOT NULL DEFAULT 0;
CREATE TABLE findings (
  id INTEGER PRIMARY KEY,
  run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
  scope TEXT NOT NULL,
  code TEXT NOT NULL,
  severity INTEGER NOT NULL,
  affected INTEGER NOT NULL,
  total INTEGER NOT NULL,
  text TEXT NOT NULL
) STRICT;
CREATE INDEX findings_by_run ON findings (run_id);
CREATE TABLE sessions (
  id INTEGER PRIMARY KEY,
  state INTEGER NOT NULL,
  created_utc_us INTEGER NOT NULL,
  spec TEXT NOT NULL
) STRICT;
CREATE TABLE session_runs (
  session_id INTEGER NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,
  ordinal INTEGER NOT NULL,
  run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
  PRIMARY KEY (session_id, ordinal)
) STRICT, WITHOUT ROWID;
CREATE VIEW v_findings AS
  SELECT run_id AS run, scope AS task, code, severity, affected, total, text FROM findings;
)sql",
    // Speed beside accuracy, by build.
    R"sql(
CREATE TABLE benches (
  id INTEGER PRIMARY KEY,
  imported_utc_us INTEGER NOT NULL,
  program TEXT NOT NULL,
  build TEXT NOT NULL,
  context TEXT NOT NULL,
  sha256 TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE bench_rows (
  bench_id INTEGER NOT NULL REFERENCES benches(id) ON DELETE CASCADE,
  ordinal INTEGER NOT NULL,
  name TEXT NOT NULL,
  figures TEXT NOT NULL,
  PRIMARY KEY (bench_id, ordinal)
) STRICT, WITHOUT ROWID;
CREATE VIEW v_benches AS
  SELECT benches.id AS bench, build, program, imported_utc_us, bench_rows.name AS row, bench_rows.figures
  FROM bench_rows JOIN benches ON benches.id = bench_id;
)sql"};

// WAL keeps its index in shared memory, which network file systems cannot share.
bool on_network_file_system(const Path& path) {
  struct statfs info {};
  const Path folder = path.has_parent_path() ? path.parent_path() : Path(".");
  if (statfs(folder.c_str(), &info) != 0) return false;
  switch (static_cast<uint64_t>(info.f_type)) {
    case 0x6969:      // NFS
    case 0x517b:      // SMB
    case 0xff534d42:  // CIFS
    case 0xfe534d42:  // SMB2
    case 0x01021997:  // 9P
    case 0x65735546:  // FUSE
    case 0x0bd00bd0:  // Lustre
      return true;
    default: return false;
  }
}

Status set_pragmas(SqliteDb& db) {
  ASSAY_TRY(db.run("PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL;"));
  const bool network = on_network_file_system(db.path());
  if (network) {
    log_warning(
        fmt::format("{}: on a network file system, so the database uses a rollback journal; keep writers to one host",
                    db.path().string()));
  }
  return db.query_text(network ? "PRAGMA journal_mode = DELETE" : "PRAGMA journal_mode = WAL").status();
}

Status back_up(SqliteDb& db, int64_t schema) {
  ASSAY_ASSIGN(auto copy, SqliteDb::open(Path(db.path().string() + fmt::format(".before-{}", schema + 1)),
                                         SqliteDb::Mode::create));
  sqlite3_backup* backup = sqlite3_backup_init(copy.handle(), "main", db.handle(), "main");
  if (!backup) return copy.error("back up");
  sqlite3_backup_step(backup, -1);
  if (sqlite3_backup_finish(backup) != SQLITE_OK) return copy.error("back up");
  return ok_status();
}

Status check_owner(SqliteDb& db, int64_t schema) {
  ASSAY_ASSIGN(const int64_t application, db.query_int("PRAGMA application_id"));
  ASSAY_ASSIGN(const int64_t objects, db.query_int("SELECT count(*) FROM sqlite_schema"));
  if (application != kApplicationId && objects > 0) {
    return bad_data(
        fmt::format("{}: a SQLite database of another program; name another file with --db", db.path().string()));
  }
  if (schema > current_schema()) {
    return bad_data(fmt::format(
        "{}: written by a newer Assay (schema {}, this program knows {}); it was left untouched: use the newer program",
        db.path().string(), schema, current_schema()));
  }
  return ok_status();
}

}  // namespace

int current_schema() { return static_cast<int>(kMigrations.size()); }

Status prepare_schema(SqliteDb& db, int wanted) {
  ASSAY_ASSIGN(const int64_t found, db.query_int("PRAGMA user_version"));
  ASSAY_TRY(check_owner(db, found));
  ASSAY_TRY(set_pragmas(db));
  if (found > 0 && found < wanted) ASSAY_TRY(back_up(db, found));
  while (true) {
    ASSAY_ASSIGN(auto transaction, SqliteTransaction::begin(db));
    ASSAY_ASSIGN(const int64_t schema, db.query_int("PRAGMA user_version"));  // another process may have been faster
    if (schema >= wanted) return transaction.commit();
    ASSAY_TRY(db.run(std::string(kMigrations[static_cast<size_t>(schema)])));
    ASSAY_TRY(db.run(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {};", kApplicationId, schema + 1)));
    ASSAY_TRY(transaction.commit());
  }
}

}  // namespace assay
