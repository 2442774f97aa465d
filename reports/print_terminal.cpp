#include <numeric>

#include "reports/column_widths.h"
#include "reports/table.h"

namespace assay {
namespace {

constexpr std::string_view kGap = "  ";

std::string line_of(const Table& table, const std::vector<std::string>& cells, const std::vector<size_t>& widths) {
  std::string line;
  for (size_t c = 0; c < cells.size(); ++c) {
    if (c > 0) line += kGap;
    line += pad(cells[c], widths[c], table.columns[c].numeric);
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

}  // namespace

std::string print_terminal(const Table& table, bool color) {
  const std::vector<size_t> widths = column_widths(table);
  std::vector<std::string> header;
  for (const TableColumn& column : table.columns) header.push_back(column.name);
  const size_t total =
      std::accumulate(widths.begin(), widths.end(), kGap.size() * (widths.empty() ? 0 : widths.size() - 1));
  std::string rule;
  for (size_t i = 0; i < total; ++i) rule += "─";
  const std::string bold = color ? "\x1b[1m" : "", plain = color ? "\x1b[0m" : "";

  std::string out;
  if (!table.title.empty()) out += bold + table.title + plain + "\n";
  out += bold + line_of(table, header, widths) + plain + "\n" + rule + "\n";
  for (size_t r = 0; r < table.rows.size(); ++r) {
    if (std::find(table.rules_before.begin(), table.rules_before.end(), r) != table.rules_before.end())
      out += rule + "\n";
    out += line_of(table, table.rows[r], widths) + "\n";
  }
  for (const std::string& note : table.notes) out += note + "\n";
  return out;
}

}  // namespace assay
