#include <cstddef>
#include <cstdint>
#include <string_view>

#include "evals/data/table_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  (void)assay::parse_parquet({reinterpret_cast<const char*>(data), size}, "fuzz.parquet");
  return 0;
}
