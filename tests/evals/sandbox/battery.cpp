#include "tests/evals/sandbox/battery.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>

#include "tests/support/source_folder.h"

namespace assay::testing {
namespace {

std::vector<std::string> split_fields(const std::string& line) {
  std::vector<std::string> fields;
  size_t begin = 0;
  for (size_t bar = line.find(" | "); bar != std::string::npos; bar = line.find(" | ", begin)) {
    fields.push_back(line.substr(begin, bar - begin));
    begin = bar + 3;
  }
  fields.push_back(line.substr(begin));
  return fields;
}

}  // namespace

std::vector<BatteryRow> read_battery(const std::string& name) {
  // An ordinary user may not be able to read the checkout: then the files lie beside the program.
  const char* folder = std::getenv("ASSAY_BATTERY_DIR");
  std::ifstream in(folder ? std::string(folder) + "/" + name
                          : testing::source_folder().string() + "/tests/evals/sandbox/" + name);
  REQUIRE(in.good());
  std::vector<BatteryRow> rows;
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("### ", 0) == 0) {
      const std::vector<std::string> fields = split_fields(line.substr(4));
      const size_t space = fields[0].find(' ');
      rows.push_back({fields[0].substr(0, space), fields[0].substr(space + 1), "", {fields.begin() + 1, fields.end()}});
    } else if (!rows.empty()) {
      rows.back().program += line + "\n";
    }
  }
  return rows;
}

std::string replaced(std::string text, const std::string& mark, const std::string& by) {
  for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + by.size()))
    text.replace(at, mark.size(), by);
  return text;
}

}  // namespace assay::testing
