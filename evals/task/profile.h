#pragma once

#include <cstdint>
#include <string_view>

#include "engine/base/status.h"

namespace assay {

// Which harness a run follows: lm-eval 0.4.13, or lm-eval of April 2025 with all its warts (tasks.md sections 3 and 5).
enum class Profile : uint8_t { main, card_2025_04 };

std::string_view profile_name(Profile profile);  // "main", "card-2025-04"
// Errors: invalid_argument naming the profiles there are.
Result<Profile> parse_profile(std::string_view name);

}  // namespace assay
