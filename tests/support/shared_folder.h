#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <optional>

#include "tests/support/source_folder.h"

namespace assay::testing {

// The folder of recorded truths beside the checkout ($ASSAY_SHARED, else ../shared), or nullopt: such tests then skip
// with
//   auto shared = shared_folder(); if (!shared) { MESSAGE("skipped: no ../shared"); return; }
inline std::optional<std::filesystem::path> shared_folder() {
  const char* named = std::getenv("ASSAY_SHARED");
  std::filesystem::path path = named ? std::filesystem::path(named) : source_folder() / ".." / "shared";
  if (std::filesystem::is_directory(path / "oracle")) return path;
  return std::nullopt;
}

}  // namespace assay::testing
