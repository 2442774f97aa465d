#include "reports/table.h"

#include "engine/base/text_util.h"
#include "reports/column_widths.h"

namespace assay {

std::vector<size_t> column_widths(const Table& table) {
  std::vector<size_t> widths;
  for (const TableColumn& column : table.columns) widths.push_back(count_code_points(column.name));
  for (const auto& row : table.rows) {
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], count_code_points(row[c]));
  }
  return widths;
}

std::string pad(const std::string& text, size_t width, bool right) {
  const std::string space(width - std::min(width, count_code_points(text)), ' ');
  return right ? space + text : text + space;
}

}  // namespace assay
