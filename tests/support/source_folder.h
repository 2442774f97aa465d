#pragma once

#include <filesystem>

namespace assay::testing {

// The checkout's root. Known to one source file only, so that every other object is the same in any folder.
std::filesystem::path source_folder();

}  // namespace assay::testing
