#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/json.h"
#include "engine/base/status.h"
#include "evals/store/sqlite.h"

namespace assay {

// The figures of one benchmark program's run.
struct StoredBench {
  int64_t id = 0;
  int64_t imported_utc_us = 0;
  std::string program;                             // "bench_engine"
  std::string build;                               // what was measured: version, compiler, commit
  Json context;                                    // machine, clocks, peaks of the same run
  std::vector<std::pair<std::string, Json>> rows;  // name and figures
};

// Reads the JSON that a benchmark program wrote: Google Benchmark's, whose context may name the build, or an object
// with a list `rows` of objects, whose texts and numbers m, n, k, batch name a row and the rest are its figures.
// Errors: bad_data names the field.
Result<StoredBench> read_bench(const Json& json, std::string_view source, std::string_view program,
                               std::string_view build);

namespace benches {

// Nothing when the same build, program, context and rows are there already.
Result<bool> add(SqliteDb& db, const StoredBench& bench);
Result<std::vector<StoredBench>> all(SqliteDb& db);  // newest first

}  // namespace benches
}  // namespace assay
