#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/base/regex.h"
#include "engine/base/status.h"

namespace assay {

// A pattern as tokenizer.json writes it, for Oniguruma (Ruby's syntax), in the words of PCRE2: \s, \w, \h, \v, (?m), ^,
// $,
// {,n}, {n,m}+ and names of scripts mean something else there. Errors: unsupported, naming what stands where, for
// anything whose meaning is not known to be the same (nested or intersected classes, back references, \b, ...).
Result<std::string> translate_oniguruma(std::string_view pattern);

// translate_oniguruma, then compiled.
Result<Regex> compile_oniguruma(std::string_view pattern);

// \w of Rust's regular expressions, as the inside of a PCRE2 character class.
inline constexpr std::string_view kRustWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control})";

// Non-overlapping matches as Oniguruma's iterator gives them: an empty match right after the last match is left out.
Result<std::vector<RegexMatch::Span>> find_spans(const Regex& regex, std::string_view text);

// Every match replaced by `content`. Errors: bad_data when more than `max_bytes` would be put in.
struct Replaced {
  std::string text;
  bool start_removed = false;  // the text's first character gave way to nothing
};
Result<Replaced> replace_spans(const Regex& regex, std::string_view text, std::string_view content, size_t max_bytes);

}  // namespace assay
