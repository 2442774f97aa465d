// The half of text_util.h that needs the Unicode character database: properties, normal forms, Python's str methods.
#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "engine/base/check.h"
#include "engine/base/text_util.h"
#include "engine/base/unicode_tables.h"

namespace assay {
namespace {

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

bool in_ranges(std::span<const CodePointRange> ranges, char32_t c) {
  const auto range = std::partition_point(ranges.begin(), ranges.end(), [&](const auto& r) { return r.last < c; });
  return range != ranges.end() && range->first <= c;
}

bool is_cased(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT: return true;
    default: return in_ranges(other_cased(), c);
  }
}

// Upper case beyond the general category Lu: Roman numerals and enclosed letters. What else is cased is lower case.
bool is_other_upper(char32_t c) {
  return (c >= 0x2160 && c <= 0x216F) || (c >= 0x24B6 && c <= 0x24CF) || (c >= 0x1F130 && c <= 0x1F149) ||
         (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

bool is_case_ignorable(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: return in_ranges(other_case_ignorable(), c);
  }
}

const SpecialCasing* find_special(char32_t c) {
  const auto all = special_casings();
  const auto entry = std::partition_point(all.begin(), all.end(), [&](const auto& s) { return s.from < c; });
  return entry != all.end() && entry->from == c ? &*entry : nullptr;
}

void append_mapped(std::string& out, const std::array<char32_t, 3>& mapped) {
  for (const char32_t c : mapped) {
    if (c != 0) append_utf8(out, c);
  }
}

void append_upper(std::string& out, char32_t c) {
  if (const SpecialCasing* special = find_special(c)) return append_mapped(out, special->upper);
  append_utf8(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
}

void append_title(std::string& out, char32_t c) {
  if (const SpecialCasing* special = find_special(c)) return append_mapped(out, special->title);
  append_utf8(out, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
}

// Whether the capital sigma at `index` ends a word: a cased letter before it and none after, looking through
// case-ignorable characters (Unicode section 3.13, Final_Sigma).
bool is_final_sigma(const std::u32string& text, size_t index) {
  size_t before = index;
  while (before > 0 && is_case_ignorable(text[before - 1])) --before;
  if (before == 0 || !is_cased(text[before - 1])) return false;
  size_t after = index + 1;
  while (after < text.size() && is_case_ignorable(text[after])) ++after;
  return after == text.size() || !is_cased(text[after]);
}

void append_lower(std::string& out, const std::u32string& text, size_t index) {
  const char32_t c = text[index];
  if (c == U'\u03A3') return append_utf8(out, is_final_sigma(text, index) ? U'\u03C2' : U'\u03C3');
  if (c == U'\u0130') return static_cast<void>(out += "i\u0307");
  append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};

std::string normalize(std::string_view text, int options) {
  if (is_ascii(text)) return std::string(text);
  const std::string valid = is_valid_utf8(text) ? std::string(text) : replace_invalid_utf8(text);
  utf8proc_uint8_t* raw = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(valid.data()), static_cast<utf8proc_ssize_t>(valid.size()),
                   &raw, static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, FreeDeleter> owner(raw);
  ASSAY_CHECK_LE(utf8proc_ssize_t{0}, length);
  return {reinterpret_cast<const char*>(raw), static_cast<size_t>(length)};
}

}  // namespace

bool is_unicode_space(char32_t c) {
  if (c < 0x80) return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_unicode_punctuation(char32_t c) {
  const auto value = category(c);
  return value >= UTF8PROC_CATEGORY_PC && value <= UTF8PROC_CATEGORY_PO;
}

bool is_unicode_number(char32_t c) {
  const auto value = category(c);
  return value >= UTF8PROC_CATEGORY_ND && value <= UTF8PROC_CATEGORY_NO;
}

bool is_unicode_letter(char32_t c) {
  const auto value = category(c);
  return value >= UTF8PROC_CATEGORY_LU && value <= UTF8PROC_CATEGORY_LO;
}

bool is_unicode_upper(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LU || is_other_upper(c); }

bool is_unicode_lower(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LL || (in_ranges(other_cased(), c) && !is_other_upper(c));
}

std::string nfc(std::string_view text) { return normalize(text, UTF8PROC_STABLE | UTF8PROC_COMPOSE); }
std::string nfkc(std::string_view text) {
  return normalize(text, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
}

std::string_view py_lstrip(std::string_view text) {
  size_t index = 0;
  while (index < text.size()) {
    size_t next = index;
    if (!is_unicode_space(next_code_point(text, next))) break;
    index = next;
  }
  return text.substr(index);
}

std::string_view py_rstrip(std::string_view text) {
  while (!text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && text.size() - begin < 4 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    size_t next = begin;
    if (!is_unicode_space(next_code_point(text, next)) || next != text.size()) break;
    text = text.substr(0, begin);
  }
  return text;
}

std::string_view py_strip(std::string_view text) { return py_rstrip(py_lstrip(text)); }

std::string py_lower(std::string_view text) {
  const std::u32string points = to_utf32(text);
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < points.size(); ++i) append_lower(out, points, i);
  return out;
}

std::string py_upper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t index = 0; index < text.size();) append_upper(out, next_code_point(text, index));
  return out;
}

std::string py_capitalize(std::string_view text) {
  const std::u32string points = to_utf32(text);
  std::string out;
  if (!points.empty()) append_title(out, points[0]);
  for (size_t i = 1; i < points.size(); ++i) append_lower(out, points, i);
  return out;
}

std::string py_title(std::string_view text) {
  const std::u32string points = to_utf32(text);
  std::string out;
  bool inside_word = false;
  for (size_t i = 0; i < points.size(); ++i) {
    if (inside_word) {
      append_lower(out, points, i);
    } else {
      append_title(out, points[i]);
    }
    inside_word = is_cased(points[i]);
  }
  return out;
}

bool py_isupper(std::string_view text) {
  bool any = false;
  for (size_t index = 0; index < text.size();) {
    const char32_t c = next_code_point(text, index);
    if (is_unicode_upper(c)) {
      any = true;
    } else if (is_cased(c)) {
      return false;
    }
  }
  return any;
}

bool py_islower(std::string_view text) {
  bool any = false;
  for (size_t index = 0; index < text.size();) {
    const char32_t c = next_code_point(text, index);
    if (is_unicode_lower(c)) {
      any = true;
    } else if (is_cased(c)) {
      return false;
    }
  }
  return any;
}

}  // namespace assay
