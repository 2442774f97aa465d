#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/file.h"
#include "engine/base/status.h"

struct sqlite3;
struct sqlite3_stmt;

namespace assay {

// A database connection; closes itself. One thread at a time. Every failure names the file and SQLite's own words.
class SqliteDb {
 public:
  enum class Mode : uint8_t { create, existing };
  static Result<SqliteDb> open(const Path& path, Mode mode);
  SqliteDb(SqliteDb&& other) noexcept;
  SqliteDb& operator=(SqliteDb&& other) noexcept;
  ~SqliteDb();

  // Runs statements that return nothing, several at once if separated by ';'.
  Status run(const std::string& sql);
  Result<int64_t> query_int(const std::string& sql);
  Result<std::string> query_text(const std::string& sql);
  int64_t last_insert_id() const;
  Status error(std::string_view doing) const;
  sqlite3* handle() const { return handle_; }
  const Path& path() const { return path_; }

 private:
  SqliteDb(sqlite3* handle, Path path) : handle_(handle), path_(std::move(path)) {}
  sqlite3* handle_ = nullptr;
  Path path_;
};

// A prepared statement; parameters are bound in order by bind(), results read by column. Not thread-safe.
class SqliteStatement {
 public:
  static Result<SqliteStatement> prepare(SqliteDb& db, std::string_view sql);
  SqliteStatement(SqliteStatement&& other) noexcept;
  SqliteStatement& operator=(SqliteStatement&& other) noexcept;
  ~SqliteStatement();

  SqliteStatement& bind(int64_t value);
  SqliteStatement& bind(double value);  // NaN is stored as NULL
  SqliteStatement& bind(std::string_view text);
  SqliteStatement& bind_blob(std::string_view bytes);

  // True: a row is there to be read. False: done, and the statement is ready to be bound again.
  Result<bool> step();
  Status run();  // step() until done
  void reset();

  int64_t column_int(int column) const;
  double column_real(int column) const;  // NULL reads as NaN
  std::string column_text(int column) const;
  std::string_view column_blob(int column) const;  // valid until the next step
  bool column_null(int column) const;

 private:
  SqliteStatement(SqliteDb* db, sqlite3_stmt* statement) : db_(db), statement_(statement) {}
  SqliteDb* db_ = nullptr;
  sqlite3_stmt* statement_ = nullptr;
  int next_ = 1;
};

// BEGIN IMMEDIATE now; rolls back unless commit() succeeded.
class SqliteTransaction {
 public:
  static Result<SqliteTransaction> begin(SqliteDb& db);
  SqliteTransaction(SqliteTransaction&& other) noexcept : db_(other.db_) { other.db_ = nullptr; }
  SqliteTransaction& operator=(SqliteTransaction&&) = delete;
  ~SqliteTransaction();
  Status commit();

 private:
  explicit SqliteTransaction(SqliteDb* db) : db_(db) {}
  SqliteDb* db_;
};

}  // namespace assay
