#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "engine/base/status.h"

namespace assay {

// The definitions of `block` that `entry_point` needs, as evalplus 0.3.1 picks them: all imports, then classes,
// functions that return something and assignments at top level, each name once, those reachable from the entry point by
// the names they mention. "" where nothing is left. Any text is taken; what is no Python is parsed as far as it goes.
// Errors: unsupported in a build without the Python grammar, saying how to get it.
Result<std::string> reachable_definitions(std::string_view block, std::string_view entry_point);

// The longest run of lines of a text that Python accepts (code_block.h); asked where the interpreter is at hand.
using BlockFinder = std::function<Result<std::string>(std::string_view text)>;

// evalplus' sanitizer (tasks.md 4.4 and its corrections): the reachable definitions of the longest block, stripped; the
// block itself where they are empty, unless `fall_back` is false (evalplus before 0.3, which the card's profile
// follows).
Result<std::string> sanitize_program(std::string_view text, std::string_view entry_point, const BlockFinder& find_block,
                                     bool fall_back = true);

}  // namespace assay
