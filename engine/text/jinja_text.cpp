#include "engine/text/jinja_text.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>

#include "engine/base/text_util.h"

namespace assay::jinja {
namespace {

utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

bool is_printable(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    case UTF8PROC_CATEGORY_ZS: return c == ' ';
    default: return true;
  }
}

bool is_line_break(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool is_decimal(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }

// Characters whose Numeric_Type is Digit but not Decimal: superscripts, subscripts, circled and parenthesized digits.
bool is_special_digit(char32_t c) {
  static constexpr std::array<std::pair<char32_t, char32_t>, 20> kRanges = {
      {{0xB2, 0xB3},     {0xB9, 0xB9},       {0x1369, 0x1371},   {0x19DA, 0x19DA},   {0x2070, 0x2070},
       {0x2074, 0x2079}, {0x2080, 0x2089},   {0x2460, 0x2468},   {0x2474, 0x247C},   {0x2488, 0x2490},
       {0x24EA, 0x24EA}, {0x24F5, 0x24FD},   {0x24FF, 0x24FF},   {0x2776, 0x277E},   {0x2780, 0x2788},
       {0x278A, 0x2792}, {0x10A40, 0x10A43}, {0x10E60, 0x10E68}, {0x11052, 0x1105A}, {0x1F100, 0x1F10A}}};
  return std::any_of(kRanges.begin(), kRanges.end(),
                     [&](const auto& range) { return c >= range.first && c <= range.second; });
}

bool is_of(CharacterClass wanted, char32_t c) {
  switch (wanted) {
    case CharacterClass::alnum: return is_unicode_letter(c) || is_unicode_number(c);
    case CharacterClass::alpha: return is_unicode_letter(c);
    case CharacterClass::ascii: return c < 0x80;
    case CharacterClass::decimal: return is_decimal(c);
    case CharacterClass::digit: return is_decimal(c) || is_special_digit(c);
    case CharacterClass::numeric: return is_unicode_number(c);
    case CharacterClass::printable: return is_printable(c);
    case CharacterClass::space: return is_unicode_space(c);
  }
  return false;
}

enum class Case : uint8_t { none, lower, upper, title };

Case case_of(char32_t c) {
  if (category(c) == UTF8PROC_CATEGORY_LT) return Case::title;
  if (utf8proc_islower(static_cast<utf8proc_int32_t>(c)) != 0) return Case::lower;
  if (utf8proc_isupper(static_cast<utf8proc_int32_t>(c)) != 0) return Case::upper;
  return Case::none;
}

// Byte offset of a code point's place.
size_t offset_of(std::string_view text, int64_t index) {
  size_t offset = 0;
  for (; index > 0 && offset < text.size(); --index) next_code_point(text, offset);
  return offset;
}

int64_t clamp_index(int64_t index, int64_t length, int64_t low, int64_t high) {
  if (index < 0) index = index < -length ? low : index + length;
  return std::clamp(index, low, high);
}

void append_escape(std::string& out, char32_t c) {
  if (c == '\n') {
    out += "\\n";
  } else if (c == '\r') {
    out += "\\r";
  } else if (c == '\t') {
    out += "\\t";
  } else if (c < 0x100) {
    out += fmt::format("\\x{:02x}", static_cast<uint32_t>(c));
  } else if (c < 0x10000) {
    out += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
  } else {
    out += fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
  }
}

// Where the code point that ends at `end` begins.
size_t previous(std::string_view text, size_t end) {
  do {
    --end;
  } while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80);
  return end;
}

std::vector<std::string> split_at_space_from_right(std::string_view text, int64_t max_splits) {
  std::vector<std::string> words;
  for (std::string_view rest = py_rstrip(text); !rest.empty(); rest = py_rstrip(rest)) {
    if (max_splits-- <= 0) {
      words.emplace_back(rest);
      break;
    }
    size_t begin = rest.size();
    while (begin > 0) {
      const size_t before = previous(rest, begin);
      size_t next = before;
      if (is_unicode_space(next_code_point(rest, next))) break;
      begin = before;
    }
    words.emplace_back(rest.substr(begin));
    rest = rest.substr(0, begin);
  }
  std::reverse(words.begin(), words.end());
  return words;
}

}  // namespace

std::string repr_text(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for (size_t i = 0; i < text.size();) {
    const char32_t c = next_code_point(text, i);
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (is_printable(c)) {
      append_utf8(out, c);
    } else {
      append_escape(out, c);
    }
  }
  return out + quote;
}

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '\'': out += "&#39;"; break;
      case '"': out += "&#34;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string_view strip_characters(std::string_view text, std::string_view characters, bool left, bool right) {
  const std::u32string set = to_utf32(characters);
  const auto is_in = [&](char32_t c) { return set.find(c) != std::u32string::npos; };
  size_t begin = 0;
  while (left && begin < text.size()) {
    size_t next = begin;
    if (!is_in(next_code_point(text, next))) break;
    begin = next;
  }
  size_t end = begin;  // behind the last character that stays
  for (size_t i = begin; right && i < text.size();) {
    if (!is_in(next_code_point(text, i))) end = i;
  }
  return text.substr(begin, (right ? end : text.size()) - begin);
}

std::vector<std::string> split_at_space(std::string_view text, int64_t max_splits, bool from_right) {
  if (from_right && max_splits != kNoLimit) return split_at_space_from_right(text, max_splits);
  std::vector<std::string> words;
  std::string_view rest = py_lstrip(text);
  while (!rest.empty()) {
    if (max_splits-- <= 0) {
      words.emplace_back(rest);
      break;
    }
    size_t end = 0;
    for (size_t next = 0; next < rest.size() && !is_unicode_space(next_code_point(rest, next));) end = next;
    words.emplace_back(rest.substr(0, end));
    rest = py_lstrip(rest.substr(end));
  }
  return words;
}

std::vector<std::string> split_at(std::string_view text, std::string_view separator, int64_t max_splits,
                                  bool from_right) {
  std::vector<std::string> pieces;
  while (max_splits-- > 0) {
    const size_t place = from_right ? text.rfind(separator) : text.find(separator);
    if (place == std::string_view::npos) break;
    const std::string_view before = text.substr(0, place);
    const std::string_view after = text.substr(place + separator.size());
    pieces.emplace_back(from_right ? after : before);
    text = from_right ? before : after;
  }
  pieces.emplace_back(text);
  if (from_right) std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t end = i;
    const char32_t c = next_code_point(text, i);
    if (!is_line_break(c)) continue;
    if (c == '\r' && i < text.size() && text[i] == '\n') ++i;
    lines.emplace_back(text.substr(begin, (keep_ends ? i : end) - begin));
    begin = i;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

size_t count_parts(std::string_view text, std::string_view part) {
  if (part.empty()) return count_code_points(text) + 1;
  size_t count = 0;
  for (size_t i = text.find(part); i != std::string_view::npos; i = text.find(part, i + part.size())) ++count;
  return count;
}

std::string replace_parts(std::string_view text, std::string_view from, std::string_view to, int64_t max_replacements) {
  std::string out;
  size_t done = 0;
  for (; max_replacements > 0; --max_replacements) {
    const size_t place = from.empty() ? done : text.find(from, done);
    if (place == std::string_view::npos) break;
    out.append(text.substr(done, place - done)).append(to);
    done = place + from.size();
    if (!from.empty()) continue;
    if (done >= text.size()) break;
    const size_t begin = done;
    next_code_point(text, done);
    out.append(text.substr(begin, done - begin));
  }
  return out.append(text.substr(done));
}

SlicePlan plan_slice(std::optional<int64_t> start, std::optional<int64_t> stop, int64_t step, int64_t length) {
  const int64_t low = step < 0 ? -1 : 0;
  const int64_t high = step < 0 ? length - 1 : length;
  const int64_t first = start ? clamp_index(*start, length, low, high) : (step < 0 ? high : low);
  const int64_t last = stop ? clamp_index(*stop, length, low, high) : (step < 0 ? low : high);
  const uint64_t stride = step < 0 ? 0 - static_cast<uint64_t>(step) : static_cast<uint64_t>(step);
  const int64_t distance = step < 0 ? first - last : last - first;
  const int64_t count = distance <= 0 ? 0 : static_cast<int64_t>((static_cast<uint64_t>(distance) - 1) / stride + 1);
  return {first, step, count};
}

std::string slice_text(std::string_view text, const SlicePlan& plan) {
  if (plan.count == 0) return "";
  if (plan.step == 1) {
    const std::string_view tail = text.substr(offset_of(text, plan.start));
    return std::string(tail.substr(0, offset_of(tail, plan.count)));
  }
  const std::u32string characters = to_utf32(text);
  std::string out;
  for (int64_t i = 0; i < plan.count; ++i)
    append_utf8(out, characters[static_cast<size_t>(plan.start + i * plan.step)]);
  return out;
}

std::string reverse_text(std::string_view text) {
  const std::u32string characters = to_utf32(text);
  std::string out;
  for (auto c = characters.rbegin(); c != characters.rend(); ++c) append_utf8(out, *c);
  return out;
}

int64_t find_text(std::string_view text, std::string_view part, int64_t start, int64_t stop, bool from_right) {
  const auto length = static_cast<int64_t>(count_code_points(text));
  const int64_t last = clamp_index(stop, length, 0, length);
  if (start > length) return -1;
  const int64_t first = clamp_index(start, length, 0, length);
  if (first > last) return -1;
  const std::string_view window = text.substr(offset_of(text, first), offset_of(text, last) - offset_of(text, first));
  const size_t place = from_right ? window.rfind(part) : window.find(part);
  if (place == std::string_view::npos) return -1;
  return first + static_cast<int64_t>(count_code_points(window.substr(0, place)));
}

std::string pad_text(std::string_view text, int64_t width, std::string_view fill, Align align) {
  const int64_t missing = width - static_cast<int64_t>(count_code_points(text));
  if (missing <= 0) return std::string(text);
  int64_t left = 0;
  if (align == Align::right) left = missing;
  if (align == Align::center) left = missing / 2 + (missing & width & 1);
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += fill;
  out += text;
  for (int64_t i = left; i < missing; ++i) out += fill;
  return out;
}

std::string zero_fill(std::string_view text, int64_t width) {
  std::string out = pad_text(text, width, "0", Align::right);
  const size_t num_zeros = out.size() - text.size();
  if (num_zeros > 0 && !text.empty() && (text[0] == '+' || text[0] == '-')) std::swap(out[0], out[num_zeros]);
  return out;
}

std::string expand_tabs(std::string_view text, int64_t tab_size) {
  std::string out;
  int64_t column = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t c = next_code_point(text, i);
    if (c == '\t') {
      const int64_t num_spaces = tab_size > 0 ? tab_size - column % tab_size : 0;
      out.append(static_cast<size_t>(num_spaces), ' ');
      column += num_spaces;
    } else {
      out.append(text.substr(begin, i - begin));
      column = c == '\n' || c == '\r' ? 0 : column + 1;
    }
  }
  return out;
}

std::string swap_case(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t c = next_code_point(text, i);
    const std::string_view character = text.substr(begin, i - begin);
    const Case current = case_of(c);
    if (current == Case::upper) {
      out += py_lower(character);
    } else if (current == Case::lower) {
      out += py_upper(character);
    } else {
      out += character;
    }
  }
  return out;
}

std::string case_fold(std::string_view text) {
  utf8proc_uint8_t* folded = nullptr;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_CASEFOLD);
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                   static_cast<utf8proc_ssize_t>(text.size()), &folded, options);
  if (length < 0) return py_lower(text);
  std::string out(reinterpret_cast<const char*>(folded), static_cast<size_t>(length));
  std::free(folded);
  return out;
}

std::string title_words(std::string_view text) {
  const auto is_separator = [](char32_t c) {
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || is_unicode_space(c);
  };
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const bool separator = is_separator(next_code_point(text, i));
    const size_t second = i;
    for (size_t next = i; next < text.size() && is_separator(next_code_point(text, next)) == separator;) i = next;
    out += py_upper(text.substr(begin, second - begin)) + py_lower(text.substr(second, i - second));
  }
  return out;
}

bool is_all(CharacterClass wanted, std::string_view text) {
  if (text.empty()) return wanted == CharacterClass::ascii || wanted == CharacterClass::printable;
  for (size_t i = 0; i < text.size();) {
    if (!is_of(wanted, next_code_point(text, i))) return false;
  }
  return true;
}

bool is_lower_text(std::string_view text) {
  bool has_cased = false;
  for (size_t i = 0; i < text.size();) {
    const Case current = case_of(next_code_point(text, i));
    if (current == Case::upper || current == Case::title) return false;
    has_cased |= current == Case::lower;
  }
  return has_cased;
}

bool is_upper_text(std::string_view text) {
  bool has_cased = false;
  for (size_t i = 0; i < text.size();) {
    const Case current = case_of(next_code_point(text, i));
    if (current == Case::lower || current == Case::title) return false;
    has_cased |= current == Case::upper;
  }
  return has_cased;
}

bool is_title_text(std::string_view text) {
  bool has_cased = false;
  bool after_cased = false;
  for (size_t i = 0; i < text.size();) {
    const Case current = case_of(next_code_point(text, i));
    const bool begins_word = current == Case::upper || current == Case::title;
    if (begins_word && after_cased) return false;
    if (current == Case::lower && !after_cased) return false;
    after_cased = current != Case::none;
    has_cased |= after_cased;
  }
  return has_cased;
}

bool is_identifier(std::string_view text) {
  bool is_first = true;
  for (size_t i = 0; i < text.size();) {
    const char32_t c = next_code_point(text, i);
    const bool starts = c == '_' || is_unicode_letter(c);
    if (!starts && (is_first || !is_decimal(c))) return false;
    is_first = false;
  }
  return !text.empty();
}

size_t count_words(std::string_view text) {
  size_t count = 0;
  bool in_word = false;
  for (size_t i = 0; i < text.size();) {
    const char32_t c = next_code_point(text, i);
    const bool is_word = c == '_' || is_of(CharacterClass::alnum, c);
    if (is_word && !in_word) ++count;
    in_word = is_word;
  }
  return count;
}

std::string quote_url(std::string_view text, bool for_query) {
  std::string out;
  for (const char c : text) {
    const bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                          std::string_view("_.-~").find(c) != std::string_view::npos || (c == '/' && !for_query);
    if (is_plain) {
      out += c;
    } else if (c == ' ' && for_query) {
      out += '+';
    } else {
      out += fmt::format("%{:02X}", static_cast<uint8_t>(c));
    }
  }
  return out;
}

std::optional<int64_t> parse_python_int(std::string_view text, int base, bool& overflow) {
  overflow = false;
  text = py_strip(text);
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  int prefixed = 0;
  if (text.size() > 1 && text[0] == '0') {
    const char mark = static_cast<char>(text[1] | 0x20);
    if (mark == 'x' && (base == 16 || base == 0)) prefixed = 16;
    if (mark == 'o' && (base == 8 || base == 0)) prefixed = 8;
    if (mark == 'b' && (base == 2 || base == 0)) prefixed = 2;
  }
  if (prefixed != 0) text.remove_prefix(2);
  const bool strict_zero = base == 0 && prefixed == 0;
  if (base == 0) base = prefixed != 0 ? prefixed : 10;
  int64_t value = 0;
  bool after_digit = prefixed != 0;  // an underscore may follow
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '_') {
      if (!after_digit || i + 1 == text.size()) return std::nullopt;
      after_digit = false;
      continue;
    }
    const char low = static_cast<char>(c | 0x20);
    const int digit = c >= '0' && c <= '9' ? c - '0' : (low >= 'a' && low <= 'z' ? low - 'a' + 10 : 99);
    if (digit >= base) return std::nullopt;
    if (strict_zero && i > 0 && text[0] == '0' && digit != 0) return std::nullopt;
    overflow |= __builtin_mul_overflow(value, base, &value) || __builtin_sub_overflow(value, digit, &value);
    after_digit = true;
  }
  if (text.empty()) return std::nullopt;
  if (!negative && __builtin_sub_overflow(int64_t{0}, value, &value)) overflow = true;
  return value;
}

std::optional<double> parse_python_float(std::string_view text) {
  text = py_strip(text);
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto is_digit_at = [&](size_t k) { return k < text.size() && text[k] >= '0' && text[k] <= '9'; };
    if (text[i] != '_') {
      plain += static_cast<char>(text[i] >= 'A' && text[i] <= 'Z' ? text[i] | 0x20 : text[i]);
    } else if (i == 0 || !is_digit_at(i - 1) || !is_digit_at(i + 1)) {
      return std::nullopt;
    }
  }
  const bool negative = !plain.empty() && plain[0] == '-';
  const std::string_view body =
      std::string_view(plain).substr(!plain.empty() && (plain[0] == '-' || plain[0] == '+') ? 1 : 0);
  if (body == "inf" || body == "infinity") {
    return negative ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
  }
  if (body == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (body.empty() || body.find_first_not_of("0123456789.e+-") != std::string_view::npos) return std::nullopt;
  if (body[0] == '+' || body[0] == '-') return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(body.data(), body.data() + body.size(), value);
  if (end != body.data() + body.size()) return std::nullopt;
  if (error == std::errc::result_out_of_range) {
    const bool is_tiny = body.find("e-") != std::string_view::npos || body[0] == '0' || body[0] == '.';
    value = is_tiny ? 0 : std::numeric_limits<double>::infinity();
  } else if (error != std::errc()) {
    return std::nullopt;
  }
  return negative ? -value : value;
}

}  // namespace assay::jinja
