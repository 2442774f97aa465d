#pragma once

#include <string_view>

namespace assay::ifeval {

// Whether Python's json.loads would take the text: RFC 8259 with duplicate keys, NaN and Infinity allowed, control
// characters in strings not, and integers of at most 4,300 digits. Nesting deeper than 900 is refused.
bool is_python_json(std::string_view text);

}  // namespace assay::ifeval
