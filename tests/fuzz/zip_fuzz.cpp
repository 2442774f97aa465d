#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "evals/data/zip.h"

// What is read is no longer than was allowed.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kMaxBytes = 1 << 20;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const char* member : {"rows.csv", "a/rows.csv", "a/readme.txt"}) {
    const assay::Result<std::string> text = assay::read_zip_member(bytes, member, "open sesame", kMaxBytes, "fuzz.zip");
    if (text.ok() && text->size() > kMaxBytes) std::abort();
  }
  return 0;
}
