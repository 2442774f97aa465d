#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "engine/base/status.h"

namespace assay {

// One member of a ZIP archive (stored or deflated, plain or under the traditional password cipher), proved by its
// CRC-32. Never larger than max_bytes. `source` names the archive in errors: bad_data says which part of it is damaged,
// not_found which members there are, unsupported which method or cipher it uses.
// Based on: PKWARE. APPNOTE.TXT, .ZIP File Format Specification. Sections 4.3, 6.1
Result<std::string> read_zip_member(std::string_view archive, std::string_view member, std::string_view password,
                                    size_t max_bytes, std::string_view source);

}  // namespace assay
