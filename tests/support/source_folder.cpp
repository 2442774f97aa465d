#include "tests/support/source_folder.h"

namespace assay::testing {

std::filesystem::path source_folder() { return ASSAY_SOURCE_DIR; }

}  // namespace assay::testing
