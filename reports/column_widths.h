#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "reports/table.h"

namespace assay {

// The widest cell of each column, header included, in code points.
std::vector<size_t> column_widths(const Table& table);

// `text` filled with spaces to `width` code points, before it (right) or after it.
std::string pad(const std::string& text, size_t width, bool right);

}  // namespace assay
