#pragma once

#include <string>
#include <vector>

namespace assay {

// What every printer prints: a title, columns, rows, notes. Cells are text already formatted; `numeric` columns align
// right.
struct TableColumn {
  std::string name;
  bool numeric = false;
};
struct Table {
  std::string title;
  std::vector<TableColumn> columns;
  std::vector<std::vector<std::string>> rows;
  std::vector<size_t> rules_before;  // row indices that a rule is drawn before (the average row)
  std::vector<std::string> notes;    // lines below the table
};

std::string print_terminal(const Table& table, bool color);
std::string print_markdown(const Table& table);
std::string print_csv(const Table& table);

}  // namespace assay
