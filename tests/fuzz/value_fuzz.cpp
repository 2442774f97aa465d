#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "evals/sandbox/value.h"

// The first byte chooses between the wire form, which must survive encoding again, and JSON.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto value = data[0] == 'J' ? assay::value_from_json(bytes) : assay::decode_value(bytes);
  if (!value.ok()) return 0;
  const auto again = assay::decode_value(assay::encode_value(*value), {.max_depth = 300});
  if (!again.ok() || assay::equality_key(*again) != assay::equality_key(*value)) std::abort();
  (void)value->repr();
  return 0;
}
