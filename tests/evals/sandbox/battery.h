#pragma once

#include <string>
#include <vector>

namespace assay::testing {

// One program of a battery file: "### ID title | field | field" and its source.
struct BatteryRow {
  std::string id, title, program;
  std::vector<std::string> fields;
};

// Rows of tests/evals/sandbox/NAME. REQUIRES: the file is there and well formed (fails the test otherwise).
std::vector<BatteryRow> read_battery(const std::string& name);

// `text` with every `mark` replaced.
std::string replaced(std::string text, const std::string& mark, const std::string& by);

}  // namespace assay::testing
