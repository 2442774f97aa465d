#include "evals/store/benches.h"

#include <array>

#include "engine/base/hash.h"

namespace assay {
namespace {

// What says which benchmark a row of Google Benchmark's is, rather than how it went.
constexpr std::array<std::string_view, 9> kNoFigures = {
    "name",        "run_name",         "run_type", "family_index",  "per_family_instance_index",
    "repetitions", "repetition_index", "threads",  "aggregate_name"};
constexpr std::array<std::string_view, 4> kNamingNumbers = {"m", "n", "k", "batch"};

template <class List>
bool contains(const List& list, std::string_view key) {
  for (const std::string_view entry : list) {
    if (entry == key) return true;
  }
  return false;
}

Result<std::pair<std::string, Json>> google_row(const JsonField& row) {
  ASSAY_ASSIGN(std::string name, row.get_string("name"));
  ASSAY_ASSIGN(const auto members, row.members());
  Json figures = Json::object();
  for (const auto& [key, value] : members) {
    if (!contains(kNoFigures, key)) figures.set(key, value.json());
  }
  return std::pair(std::move(name), std::move(figures));
}

Result<std::pair<std::string, Json>> plain_row(const JsonField& row) {
  ASSAY_ASSIGN(const auto members, row.members());
  std::string name;
  Json figures = Json::object();
  for (const auto& [key, value] : members) {
    const bool names = value.json().is_string() || contains(kNamingNumbers, key);
    if (!names) {
      figures.set(key, value.json());
      continue;
    }
    if (!name.empty()) name += "/";
    name += value.json().is_string() ? value.json().as_string() : key + ":" + value.json().dump();
  }
  return std::pair(std::move(name), std::move(figures));
}

Json context_of(const Json& json) {
  if (const Json* context = json.find("context")) return *context;
  Json context = Json::object();
  for (const auto& [key, value] : json.as_object()) {
    if (key != "rows") context.set(key, value);
  }
  return context;
}

Json rows_json(const StoredBench& bench) {
  Json rows = Json::array();
  for (const auto& [name, figures] : bench.rows) rows.push_back(Json::array().push_back(name).push_back(figures));
  return rows;
}

}  // namespace

Result<StoredBench> read_bench(const Json& json, std::string_view source, std::string_view program,
                               std::string_view build) {
  const JsonField top(json, source);
  const auto google = top.find("benchmarks");
  ASSAY_ASSIGN(const JsonField list, google ? Result<JsonField>(*google) : top.get("rows"));
  ASSAY_ASSIGN(const auto rows, list.items());
  StoredBench bench;
  bench.program = program;
  bench.context = context_of(json);
  if (!build.empty()) {
    bench.build = build;
  } else if (const Json* named = bench.context.find("build"); named && named->is_string()) {
    bench.build = named->as_string();
  } else {
    return JsonField(bench.context, source).error("a context with the text `build`, or --build");
  }
  for (const JsonField& row : rows) {
    ASSAY_ASSIGN(auto read, google ? google_row(row) : plain_row(row));
    bench.rows.push_back(std::move(read));
  }
  return bench;
}

namespace benches {

Result<bool> add(SqliteDb& db, const StoredBench& bench) {
  const std::string context = bench.context.dump();
  const std::string digest = sha256_hex(bench.program + "\n" + bench.build + "\n" + context + rows_json(bench).dump());
  ASSAY_ASSIGN(auto transaction, SqliteTransaction::begin(db));
  ASSAY_ASSIGN(auto insert, SqliteStatement::prepare(db,
                                                     "INSERT INTO benches (imported_utc_us, program, build, context, "
                                                     "sha256) VALUES (?, ?, ?, ?, ?) ON CONFLICT (sha256) DO NOTHING "
                                                     "RETURNING id"));
  insert.bind(bench.imported_utc_us).bind(bench.program).bind(bench.build).bind(context).bind(digest);
  ASSAY_ASSIGN(const bool fresh, insert.step());
  if (!fresh) return false;
  const int64_t id = insert.column_int(0);
  insert.reset();
  ASSAY_ASSIGN(auto add_row, SqliteStatement::prepare(db, "INSERT INTO bench_rows VALUES (?, ?, ?, ?)"));
  for (size_t i = 0; i < bench.rows.size(); ++i) {
    const auto& [name, figures] = bench.rows[i];
    ASSAY_TRY(add_row.bind(id).bind(static_cast<int64_t>(i)).bind(name).bind(figures.dump()).run());
  }
  ASSAY_TRY(transaction.commit());
  return true;
}

Result<std::vector<StoredBench>> all(SqliteDb& db) {
  ASSAY_ASSIGN(auto select, SqliteStatement::prepare(db,
                                                     "SELECT id, imported_utc_us, program, build, context FROM benches "
                                                     "ORDER BY id DESC"));
  ASSAY_ASSIGN(auto rows, SqliteStatement::prepare(
                              db, "SELECT name, figures FROM bench_rows WHERE bench_id = ? ORDER BY ordinal"));
  std::vector<StoredBench> benches;
  for (;;) {
    ASSAY_ASSIGN(const bool found, select.step());
    if (!found) return benches;
    StoredBench& bench = benches.emplace_back();
    bench.id = select.column_int(0);
    bench.imported_utc_us = select.column_int(1);
    bench.program = select.column_text(2);
    bench.build = select.column_text(3);
    ASSAY_ASSIGN(bench.context, Json::parse(select.column_text(4), "benches.context"));
    rows.reset();
    rows.bind(bench.id);
    for (;;) {
      ASSAY_ASSIGN(const bool more, rows.step());
      if (!more) break;
      ASSAY_ASSIGN(Json figures, Json::parse(rows.column_text(1), "bench_rows.figures"));
      bench.rows.emplace_back(rows.column_text(0), std::move(figures));
    }
  }
}

}  // namespace benches
}  // namespace assay
