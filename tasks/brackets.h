#pragma once

#include <string>
#include <string_view>

namespace assay {

// Deletes every shortest [...] that holds no newline: Python's re.sub(r"\[.*?\]", "", text).
std::string without_brackets(std::string_view text);

}  // namespace assay
