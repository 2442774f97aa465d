#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace assay {

// UTF-8 -------------------------------------------------------------------------------------------------------------
bool is_valid_utf8(std::string_view text);
// Decodes one code point at `index` and moves `index` past it. An invalid sequence gives U+FFFD and moves past its
// maximal invalid part (the Unicode standard's recommended practice, as Python's errors="replace").
char32_t next_code_point(std::string_view text, size_t& index);
void append_utf8(std::string& out, char32_t code_point);
std::u32string to_utf32(std::string_view text);
std::string to_utf8(std::u32string_view text);
size_t count_code_points(std::string_view text);
// The text with every invalid sequence replaced by U+FFFD.
std::string replace_invalid_utf8(std::string_view text);
// Bytes at the end of `text` that begin a sequence which is not complete yet (0 to 3): what streaming must hold back.
size_t incomplete_utf8_suffix(std::string_view text);
// One line, safe to print: control characters (U+0000..U+001F, U+007F..U+009F) and invalid bytes are written as \xNN,
// so that a model's text cannot drive a terminal.
std::string escape_controls(std::string_view text);
// The same of at most `max_bytes` of the text, whole characters, with "..." where it goes on: for error messages.
std::string excerpt(std::string_view text, size_t max_bytes = 80);

// Unicode properties (utf8proc)
// ----------------------------------------------------------------------------------------
bool is_unicode_space(char32_t c);        // White_Space, plus U+001C..U+001F: what Python's str.isspace says
bool is_unicode_punctuation(char32_t c);  // general category P*
bool is_unicode_number(char32_t c);       // general categories Nd, Nl, No
bool is_unicode_letter(char32_t c);       // general category L*
bool is_unicode_upper(char32_t c);        // Uppercase: what Python's str.isupper says of one character
bool is_unicode_lower(char32_t c);        // Lowercase, likewise
std::string nfc(std::string_view text);
std::string nfkc(std::string_view text);

// Python's str methods, over code points ---------------------------------------------------------------------------
std::string_view py_strip(std::string_view text);
std::string_view py_lstrip(std::string_view text);
std::string_view py_rstrip(std::string_view text);
std::string py_lower(std::string_view text);
std::string py_upper(std::string_view text);
std::string py_capitalize(std::string_view text);  // the first character upper case (title case), all others lower
std::string py_title(std::string_view text);
bool py_isupper(std::string_view text);  // some cased character, and every one of them upper case
bool py_islower(std::string_view text);
std::string py_float_repr(double value);  // repr(float): "1.0", "1e-05", "nan", "inf"

// Bytes ------------------------------------------------------------------------------------------------------------
std::vector<std::string> split(std::string_view text, std::string_view separator);  // "" between separators is kept
std::vector<std::string> split_any(std::string_view text, std::string_view separators);  // empty pieces are dropped
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string replace_all(std::string_view text, std::string_view from, std::string_view to);
bool starts_with(std::string_view text, std::string_view prefix);
bool ends_with(std::string_view text, std::string_view suffix);
std::string to_hex(std::string_view bytes);
Result<std::string> decode_base64(std::string_view text);  // standard alphabet, padding required

// Numbers: the whole text must be the number, with a leading + or - at most; nullopt otherwise or when out of range.
// parse_double reads inf and nan too.
std::optional<int64_t> parse_int(std::string_view text);
std::optional<double> parse_double(std::string_view text);

// The one of `candidates` with the smallest edit distance to `word` (swaps of neighbors count as one edit), if that is
// at most a third of the word's length; the first of equals.
std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates);

// 1234567 -> "1,234,567".
std::string with_thousands(int64_t value);

}  // namespace assay
