#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/json.h"
#include "tests/support/source_folder.h"

namespace assay::testing {

// A file of tests/golden.
inline std::filesystem::path recorded_path(std::string_view name) {
  return source_folder() / "tests" / "golden" / name;
}

inline Json read_json(const std::filesystem::path& path) {
  Result<std::string> text = real_files().read(path);
  REQUIRE_MESSAGE(text.ok(), text.status().message());
  Result<Json> json = Json::parse(*text, path.string());
  REQUIRE_MESSAGE(json.ok(), json.status().message());
  return std::move(json).value();
}

inline Json recorded_json(std::string_view name) { return read_json(recorded_path(name)); }

// One object a line.
inline std::vector<Json> read_json_lines(const std::filesystem::path& path) {
  Result<std::string> text = real_files().read(path);
  REQUIRE_MESSAGE(text.ok(), text.status().message());
  std::vector<Json> rows;
  for (size_t begin = 0; begin < text->size();) {
    const size_t end = std::min(text->find('\n', begin), text->size());
    Result<Json> row = Json::parse(std::string_view(*text).substr(begin, end - begin), path.string());
    REQUIRE_MESSAGE(row.ok(), row.status().message());
    rows.push_back(std::move(row).value());
    begin = end + 1;
  }
  return rows;
}

inline std::vector<std::string> strings_of(const Json& list) {
  std::vector<std::string> strings;
  for (const Json& item : list.as_array()) strings.push_back(item.as_string());
  return strings;
}

inline std::vector<int64_t> integers_of(const Json& list) {
  std::vector<int64_t> integers;
  for (const Json& item : list.as_array()) integers.push_back(item.as_int());
  return integers;
}

}  // namespace assay::testing
