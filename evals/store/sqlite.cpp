#include "evals/store/sqlite.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <cmath>
#include <limits>
#include <utility>

namespace assay {

Result<SqliteDb> SqliteDb::open(const Path& path, Mode mode) {
  if (mode == Mode::existing && !real_files().exists(path)) {
    return not_found(
        fmt::format("{}: no such database; `assay run` makes one, --db FILE names another", path.string()));
  }
  if (mode == Mode::create && path.has_parent_path()) ASSAY_TRY(real_files().create_directories(path.parent_path()));
  sqlite3* handle = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (mode == Mode::create ? SQLITE_OPEN_CREATE : 0);
  const int rc = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  SqliteDb db(handle, path);
  if (rc != SQLITE_OK) return db.error("open");
  sqlite3_busy_timeout(handle, 10'000);
  return db;
}

SqliteDb::SqliteDb(SqliteDb&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)), path_(std::move(other.path_)) {}

SqliteDb& SqliteDb::operator=(SqliteDb&& other) noexcept {
  std::swap(handle_, other.handle_);
  std::swap(path_, other.path_);
  return *this;
}

SqliteDb::~SqliteDb() { sqlite3_close_v2(handle_); }

Status SqliteDb::error(std::string_view doing) const {
  const int rc = handle_ ? sqlite3_errcode(handle_) : SQLITE_NOMEM;
  const char* words = handle_ ? sqlite3_errmsg(handle_) : "out of memory";
  const std::string message = fmt::format("{}: {}: {}", path_.string(), doing, words);
  switch (rc & 0xff) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return bad_data(message + "; this is no Assay database, or it is damaged: name another with --db");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return io_error(message + "; another process holds the database: wait for it, or use another --db");
    case SQLITE_NOMEM: return out_of_memory(message);
    case SQLITE_ERROR:
    case SQLITE_MISUSE:
    case SQLITE_CONSTRAINT: return internal_error(message);
    default: return io_error(message);
  }
}

Status SqliteDb::run(const std::string& sql) {
  if (sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) return error("write");
  return ok_status();
}

Result<int64_t> SqliteDb::query_int(const std::string& sql) {
  ASSAY_ASSIGN(auto statement, SqliteStatement::prepare(*this, sql));
  ASSAY_ASSIGN(const bool row, statement.step());
  return row ? statement.column_int(0) : int64_t{0};
}

Result<std::string> SqliteDb::query_text(const std::string& sql) {
  ASSAY_ASSIGN(auto statement, SqliteStatement::prepare(*this, sql));
  ASSAY_ASSIGN(const bool row, statement.step());
  return row ? statement.column_text(0) : std::string();
}

int64_t SqliteDb::last_insert_id() const { return sqlite3_last_insert_rowid(handle_); }

Result<SqliteStatement> SqliteStatement::prepare(SqliteDb& db, std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(db.handle(), sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &statement,
                         nullptr) != SQLITE_OK) {
    return db.error("prepare");
  }
  return SqliteStatement(&db, statement);
}

SqliteStatement::SqliteStatement(SqliteStatement&& other) noexcept
    : db_(other.db_), statement_(std::exchange(other.statement_, nullptr)), next_(other.next_) {}

SqliteStatement& SqliteStatement::operator=(SqliteStatement&& other) noexcept {
  std::swap(db_, other.db_);
  std::swap(statement_, other.statement_);
  std::swap(next_, other.next_);
  return *this;
}

SqliteStatement::~SqliteStatement() { sqlite3_finalize(statement_); }

SqliteStatement& SqliteStatement::bind(int64_t value) {
  sqlite3_bind_int64(statement_, next_++, value);
  return *this;
}

SqliteStatement& SqliteStatement::bind(double value) {
  if (std::isnan(value)) {
    sqlite3_bind_null(statement_, next_++);
  } else {
    sqlite3_bind_double(statement_, next_++, value);
  }
  return *this;
}

SqliteStatement& SqliteStatement::bind(std::string_view text) {
  sqlite3_bind_text64(statement_, next_++, text.empty() ? "" : text.data(), text.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  return *this;
}

SqliteStatement& SqliteStatement::bind_blob(std::string_view bytes) {
  sqlite3_bind_blob64(statement_, next_++, bytes.empty() ? "" : bytes.data(), bytes.size(), SQLITE_TRANSIENT);
  return *this;
}

Result<bool> SqliteStatement::step() {
  const int rc = sqlite3_step(statement_);
  if (rc == SQLITE_ROW) return true;
  const Status failure = rc == SQLITE_DONE ? ok_status() : db_->error("write");
  reset();
  if (!failure.ok()) return failure;
  return false;
}

Status SqliteStatement::run() {
  for (;;) {
    ASSAY_ASSIGN(const bool row, step());
    if (!row) return ok_status();
  }
}

void SqliteStatement::reset() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
  next_ = 1;
}

int64_t SqliteStatement::column_int(int column) const { return sqlite3_column_int64(statement_, column); }

double SqliteStatement::column_real(int column) const {
  return column_null(column) ? std::numeric_limits<double>::quiet_NaN() : sqlite3_column_double(statement_, column);
}

std::string SqliteStatement::column_text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return text ? std::string(text, static_cast<size_t>(sqlite3_column_bytes(statement_, column))) : std::string();
}

std::string_view SqliteStatement::column_blob(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  return bytes ? std::string_view(bytes, static_cast<size_t>(sqlite3_column_bytes(statement_, column)))
               : std::string_view();
}

bool SqliteStatement::column_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

Result<SqliteTransaction> SqliteTransaction::begin(SqliteDb& db) {
  ASSAY_TRY(db.run("BEGIN IMMEDIATE"));
  return SqliteTransaction(&db);
}

SqliteTransaction::~SqliteTransaction() {
  if (db_) (void)db_->run("ROLLBACK");
}

Status SqliteTransaction::commit() {
  ASSAY_TRY(db_->run("COMMIT"));
  db_ = nullptr;
  return ok_status();
}

}  // namespace assay
