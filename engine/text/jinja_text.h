#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Python's str over code points, where base/text_util.h ends: the parts that only templates need. Plain functions of
// UTF-8 text; callers bound sizes.
namespace assay::jinja {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

std::string repr_text(std::string_view text);    // repr(str): quotes and escapes
std::string escape_html(std::string_view text);  // & < > ' "

// str.strip(chars) and its one-sided forms.
std::string_view strip_characters(std::string_view text, std::string_view characters, bool left, bool right);

// str.split() and str.rsplit(): at runs of whitespace, or at a separator that is not empty; at most max_splits cuts.
std::vector<std::string> split_at_space(std::string_view text, int64_t max_splits, bool from_right);
std::vector<std::string> split_at(std::string_view text, std::string_view separator, int64_t max_splits,
                                  bool from_right);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);

// How often `part` is in `text` without overlap; an empty part is between all code points and at both ends.
size_t count_parts(std::string_view text, std::string_view part);
std::string replace_parts(std::string_view text, std::string_view from, std::string_view to, int64_t max_replacements);

// Python's slice of a sequence of `length` items: absent bounds are nullopt; step is not 0.
struct SlicePlan {
  int64_t start = 0, step = 1, count = 0;
};
SlicePlan plan_slice(std::optional<int64_t> start, std::optional<int64_t> stop, int64_t step, int64_t length);
std::string slice_text(std::string_view text, const SlicePlan& plan);
std::string reverse_text(std::string_view text);

// str.find() and str.rfind() in [start, stop) of code points; -1 when it is not there.
int64_t find_text(std::string_view text, std::string_view part, int64_t start, int64_t stop, bool from_right);

enum class Align : uint8_t { left, right, center };
// str.ljust, rjust and center with a fill of one code point.
std::string pad_text(std::string_view text, int64_t width, std::string_view fill, Align align);
std::string zero_fill(std::string_view text, int64_t width);
std::string expand_tabs(std::string_view text, int64_t tab_size);
std::string swap_case(std::string_view text);
std::string case_fold(std::string_view text);
std::string title_words(std::string_view text);  // Jinja's `title` filter

// str.isalpha() and so on: true for text that is not empty and has only such characters.
enum class CharacterClass : uint8_t { alnum, alpha, ascii, decimal, digit, numeric, printable, space };
bool is_all(CharacterClass wanted, std::string_view text);
bool is_lower_text(std::string_view text);
bool is_upper_text(std::string_view text);
bool is_title_text(std::string_view text);
bool is_identifier(std::string_view text);
size_t count_words(std::string_view text);  // runs of \w
std::string quote_url(std::string_view text, bool for_query);

// int(text, base) and float(text): nullopt where Python raises ValueError. An integer beyond 64 bits sets `overflow`.
std::optional<int64_t> parse_python_int(std::string_view text, int base, bool& overflow);
std::optional<double> parse_python_float(std::string_view text);

}  // namespace assay::jinja
