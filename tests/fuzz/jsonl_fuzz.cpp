#include <cstddef>
#include <cstdint>
#include <string_view>

#include "evals/data/table_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)assay::parse_jsonl(bytes, "fuzz.jsonl");
  (void)assay::gunzip(bytes, size_t{1} << 20, "fuzz.gz");
  return 0;
}
