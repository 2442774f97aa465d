#include "engine/base/text_util.h"
#include "reports/column_widths.h"
#include "reports/table.h"

namespace assay {
namespace {

std::string escaped(const std::string& cell) { return replace_all(replace_all(cell, "|", "\\|"), "\n", " "); }

}  // namespace

std::string print_markdown(const Table& table) {
  Table safe = table;
  for (auto& row : safe.rows) {
    for (std::string& cell : row) cell = escaped(cell);
  }
  const std::vector<size_t> widths = column_widths(safe);
  std::string out;
  if (!safe.title.empty()) out += "**" + escaped(safe.title) + "**\n\n";
  std::string names = "|", rule = "|";
  for (size_t c = 0; c < safe.columns.size(); ++c) {
    const size_t width = std::max<size_t>(widths[c], 3);
    names += " " + pad(safe.columns[c].name, width, safe.columns[c].numeric) + " |";
    rule += safe.columns[c].numeric ? " " + std::string(width - 1, '-') + ": |" : " " + std::string(width, '-') + " |";
  }
  out += names + "\n" + rule + "\n";
  for (const auto& row : safe.rows) {
    out += "|";
    for (size_t c = 0; c < row.size(); ++c)
      out += " " + pad(row[c], std::max<size_t>(widths[c], 3), safe.columns[c].numeric) + " |";
    out += "\n";
  }
  if (!safe.notes.empty()) out += "\n";
  for (const std::string& note : safe.notes) out += note + "  \n";
  return out;
}

}  // namespace assay
