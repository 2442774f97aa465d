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
  std::string kind;  // "jsonl", "json" (an array), "csv", "lines", "parquet", "arrow"; "": from the file name's ending
  std::vector<std::string> csv_columns;  // names for a CSV without header; empty: the first line names them
  std::vector<std::string> raw_columns;  // of JSON lines: kept as JSON text in a string (see raw_json.h)
};

// Reads JSON lines, a JSON array of objects, CSV (RFC 4180), Parquet or Arrow IPC (file and stream), texts also
// gzipped. Decompressed size is capped at 2 GiB. Errors: bad_data naming file and row (or byte) and what was expected;
// unsupported for Parquet and Arrow in a build without Apache Arrow, saying how to get it.
Result<Rows> read_table(const Path& path, const TableFormat& format = {});
// The same on bytes in memory. `name` is the file's name: its ending may choose the kind, and errors say it.
Result<Rows> parse_table(std::string_view bytes, std::string_view name, const TableFormat& format = {});

// The parsers behind it; `source` names the bytes in errors. Any bytes give rows or one error. Rows count from 1 in
// errors. In CSV every value is a string; blank lines are no rows. Arrow's integers, floats, booleans, strings, lists,
// structs and nulls become their JSON likes, binary values strings of the same bytes; other column types are
// unsupported.
Result<Rows> parse_jsonl(std::string_view text, std::string_view source,
                         const std::vector<std::string>& raw_columns = {});
// An array of objects, or an object with exactly one member that is an array: its rows (BIG-Bench Hard's layout).
Result<Rows> parse_json_array(std::string_view text, std::string_view source);
// A row {"text": line} a line, line ends (LF) left out; what follows the last one is a row where it is not empty.
Result<Rows> parse_lines(std::string_view text, std::string_view source);
Result<Rows> parse_csv(std::string_view text, const std::vector<std::string>& columns, std::string_view source);
Result<Rows> parse_arrow_ipc(std::string_view bytes, std::string_view source);
Result<Rows> parse_parquet(std::string_view bytes, std::string_view source);
// All members of a gzip file (RFC 1952). Errors: bad_data naming the byte, or saying that the text exceeds max_bytes.
Result<std::string> gunzip(std::string_view bytes, size_t max_bytes, std::string_view source);

}  // namespace assay
