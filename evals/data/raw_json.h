#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/base/json.h"
#include "engine/base/status.h"

namespace assay {

// Replaces the members `columns` of `row`, which was parsed from `text`, by their own JSON text as strings: numbers
// that no Json holds (integers beyond 64 bits) stay as they are written. Errors: bad_data naming a column that is
// missing.
Status keep_raw_columns(Json& row, std::string_view text, const std::vector<std::string>& columns,
                        std::string_view source);

}  // namespace assay
