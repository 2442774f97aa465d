#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "evals/task/task.h"

namespace assay {

// lm-eval's answer for "nothing found".
inline constexpr std::string_view kInvalidAnswer = "[invalid]";

// Runs a filter's steps over one response, as lm-eval's filters do (tasks.md 2.13). `choices` serve multi_choice_regex.
// Patterns are Python's; a response on which a pattern exceeds its match limit counts as nothing found.
Result<std::string> apply_filter(const Filter& filter, std::string_view response,
                                 const std::vector<std::string>& choices);

// lm-eval's cut after generation: the text before the earliest stop string.
std::string cut_at_stop(std::string_view text, const std::vector<std::string>& until);

}  // namespace assay
