#include <cstddef>
#include <cstdint>
#include <string_view>

#include "evals/run/lm_eval_files.h"
#include "evals/run/suite.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)assay::parse_lm_eval_sample(bytes, "fuzz.jsonl");
  (void)assay::parse_suite(bytes, "fuzz.json");
  return 0;
}
