#pragma once

#include "engine/base/status.h"
#include "evals/store/sqlite.h"

namespace assay {

inline constexpr int kApplicationId = 0x41534159;  // "ASAY", so that file(1) can name a database of ours

// The schema number this program writes.
int current_schema();

// Brings a database to a schema (the current one but for tests), one transaction a step; an existing older database is
// first copied to <name>.before-<schema>. Sets WAL and synchronous FULL (DELETE journal on network file systems, with a
// warning). Errors: bad_data when the file belongs to another program or was written by a newer Assay.
Status prepare_schema(SqliteDb& db, int schema = current_schema());

}  // namespace assay
