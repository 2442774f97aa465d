#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "engine/base/status.h"

namespace assay {

// Rows of a data file as JSON objects, in file order.
using Rows = std::vector<Json>;

// Which columns a headerless CSV has, for read_table.
struct TableFormat {
  std::string kind;                   // "jsonl", "csv", "parquet", "arrow"; "": from the file name's ending
  std::vector<std::string> csv_columns;  // names for a CSV without header; empty: the first line names them
};

// Reads JSON lines, CSV (RFC 4180), Parquet or Arrow IPC (file and stream), the first two also as .gz or .bz2-free text.
// Decompressed size is capped at 2 GiB. Errors: bad_data naming file and row (or byte) and what was expected; unsupported for
// Parquet and Arrow in a build without Apache Arrow, saying how to get it.
Result<Rows> read_table(const Path& path, const TableFormat& format = {});

// The parsers behind it, on bytes in memory; `source` names them in errors. Any bytes give rows or one error.
Result<Rows> parse_jsonl(std::string_view text, std::string_view source);
Result<Rows> parse_csv(std::string_view text, const std::vector<std::string>& columns, std::string_view source);
Result<Rows> parse_arrow_ipc(std::string_view bytes, std::string_view source);
Result<Rows> parse_parquet(std::string_view bytes, std::string_view source);
Result<std::string> gunzip(std::string_view bytes, size_t max_bytes, std::string_view source);

}  // namespace assay
