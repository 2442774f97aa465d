#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/base/regex.h"

namespace assay::ifeval {

// Python's re in the few forms that the instruction checks use. A text on which a pattern exceeds its match limit
// counts as one without a match.
Regex pattern(std::string_view text, const RegexOptions& options = {});  // of ours: it compiles
std::vector<RegexMatch> matches_in(const Regex& regex, std::string_view text);
std::vector<std::string> found_in(const Regex& regex, std::string_view text);  // the whole matches
std::vector<std::string_view> split_at(const Regex& regex, std::string_view text);
// Every match replaced by `form`, in which \0 to \9 stand for groups.
std::string substituted(const Regex& regex, std::string_view text, std::string_view form);

std::vector<std::string_view> words_of(std::string_view text);  // str.split()
std::string_view stripped_of(std::string_view text, char c);    // str.strip(c)

}  // namespace assay::ifeval
