#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace assay::ifeval {

// The language of a text as ISO 639-1 code ("en", "zh-cn"), as langdetect 1.0.9 finds it: naive Bayes over character
// n-grams drawn at random, seven trials. langdetect draws from an unseeded generator; here the seed is 0, so that a
// score can be repeated. "unknown" where no language is likely; nullopt where the text has no known n-gram.
// Thread-safe. Based on: Nakatani Shuyo. Language Detection Library for Java. 2010
std::optional<std::string> detect_language(std::string_view text);

}  // namespace assay::ifeval
