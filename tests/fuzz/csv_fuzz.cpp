#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "evals/data/table_reader.h"

// Rows that are read have every column.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)assay::parse_csv(bytes, {}, "fuzz.csv");
  assay::Result<assay::Rows> rows = assay::parse_csv(bytes, {"question", "answer"}, "fuzz.csv");
  if (!rows.ok()) return 0;
  for (const assay::Json& row : *rows) {
    if (row.size() != 2) std::abort();
  }
  return 0;
}
