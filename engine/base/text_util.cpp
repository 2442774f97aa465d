#include "engine/base/text_util.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace assay {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

uint8_t byte_at(std::string_view text, size_t index) { return static_cast<uint8_t>(text[index]); }

// How a lead byte goes on: how many bytes follow, and which range the first of them must lie in (this is what keeps out
// overlong forms, surrogates and everything above U+10FFFF). Unicode standard, table 3-7.
struct Lead {
  size_t num_following;
  uint8_t low;
  uint8_t high;
};

std::optional<Lead> classify_lead(uint8_t lead) {
  if (lead >= 0xC2 && lead <= 0xDF) return Lead{1, 0x80, 0xBF};
  if (lead == 0xE0) return Lead{2, 0xA0, 0xBF};
  if (lead == 0xED) return Lead{2, 0x80, 0x9F};
  if (lead >= 0xE1 && lead <= 0xEF) return Lead{2, 0x80, 0xBF};
  if (lead == 0xF0) return Lead{3, 0x90, 0xBF};
  if (lead >= 0xF1 && lead <= 0xF3) return Lead{3, 0x80, 0xBF};
  if (lead == 0xF4) return Lead{3, 0x80, 0x8F};
  return std::nullopt;
}

// A code point, or what is wrong: `cut` when the text ends inside a sequence that is right so far.
struct Decoded {
  char32_t code_point = kReplacement;
  size_t length = 1;
  bool valid = false;
  bool cut = false;
};

Decoded decode(std::string_view text, size_t index) {
  const uint8_t first = byte_at(text, index);
  if (first < 0x80) return {first, 1, true, false};
  const std::optional<Lead> lead = classify_lead(first);
  if (!lead) return {};
  char32_t value = first & (0x3Fu >> lead->num_following);
  for (size_t i = 1; i <= lead->num_following; ++i) {
    if (index + i >= text.size()) return {kReplacement, i, false, true};
    const uint8_t next = byte_at(text, index + i);
    const uint8_t low = i == 1 ? lead->low : 0x80;
    const uint8_t high = i == 1 ? lead->high : 0xBF;
    if (next < low || next > high) return {kReplacement, i, false, false};
    value = value << 6 | (next & 0x3Fu);
  }
  return {value, lead->num_following + 1, true, false};
}

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

// from_chars takes no plus sign; Python and C do.
std::string_view without_plus(std::string_view text) {
  const bool plus = text.size() > 1 && text[0] == '+' && text[1] != '-' && text[1] != '+';
  return plus ? text.substr(1) : text;
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  text = without_plus(text);
  Number value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

// Edits are insertions, deletions, replacements and swaps of neighbors (optimal string alignment).
size_t edit_distance(std::u32string_view a, std::u32string_view b) {
  std::vector<size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    std::swap(before_last, last);
    std::swap(last, row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
  }
  return row[b.size()];
}

}  // namespace

bool is_valid_utf8(std::string_view text) {
  for (size_t index = 0; index < text.size();) {
    const Decoded decoded = decode(text, index);
    if (!decoded.valid) return false;
    index += decoded.length;
  }
  return true;
}

char32_t next_code_point(std::string_view text, size_t& index) {
  const Decoded decoded = decode(text, index);
  index += decoded.length;
  return decoded.code_point;
}

void append_utf8(std::string& out, char32_t c) {
  if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) c = kReplacement;
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xC0 | c >> 6);
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
  }
  put(0x80 | (c & 0x3F));
}

std::u32string to_utf32(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (size_t index = 0; index < text.size();) out.push_back(next_code_point(text, index));
  return out;
}

std::string to_utf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) append_utf8(out, c);
  return out;
}

size_t count_code_points(std::string_view text) {
  size_t count = 0;
  for (size_t index = 0; index < text.size(); ++count) next_code_point(text, index);
  return count;
}

std::string replace_invalid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t index = 0; index < text.size();) append_utf8(out, next_code_point(text, index));
  return out;
}

size_t incomplete_utf8_suffix(std::string_view text) {
  for (size_t length = 1; length <= std::min<size_t>(3, text.size()); ++length) {
    const size_t index = text.size() - length;
    const Decoded decoded = decode(text, index);
    if (decoded.cut && decoded.length == length) return length;
  }
  return 0;
}

std::string escape_controls(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t index = 0; index < text.size();) {
    const Decoded decoded = decode(text, index);
    const char32_t c = decoded.code_point;
    const bool control = c < 0x20 || (c >= 0x7F && c <= 0x9F);
    if (decoded.valid && !control) {
      out.append(text, index, decoded.length);
    } else {
      for (size_t i = 0; i < decoded.length; ++i) out += fmt::format("\\x{:02x}", byte_at(text, index + i));
    }
    index += decoded.length;
  }
  return out;
}

std::string excerpt(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return escape_controls(text);
  text = text.substr(0, max_bytes);
  return escape_controls(text.substr(0, text.size() - incomplete_utf8_suffix(text))) + "...";
}

std::string py_float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 32> buffer;
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific).ptr;
  const std::string_view shortest(buffer.data(), static_cast<size_t>(end - buffer.data()));
  const size_t e = shortest.find('e');
  std::string_view mantissa = shortest.substr(0, e);
  int exponent = 0;
  std::from_chars(shortest.data() + e + 1 + (shortest[e + 1] == '+'), end, exponent);
  if (exponent < -4 || exponent >= 16)
    return fmt::format("{}e{}{:02}", mantissa, exponent < 0 ? '-' : '+', std::abs(exponent));
  const std::string sign = mantissa[0] == '-' ? "-" : "";
  std::string digits;
  for (const char c : mantissa) {
    if (c >= '0' && c <= '9') digits += c;
  }
  if (exponent < 0) return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const size_t point = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= point) return sign + digits + std::string(point - digits.size(), '0') + ".0";
  return sign + digits.substr(0, point) + "." + digits.substr(point);
}

std::vector<std::string> split(std::string_view text, std::string_view separator) {
  std::vector<std::string> parts;
  while (!separator.empty()) {
    const size_t at = text.find(separator);
    if (at == std::string_view::npos) break;
    parts.emplace_back(text.substr(0, at));
    text.remove_prefix(at + separator.size());
  }
  parts.emplace_back(text);
  return parts;
}

std::vector<std::string> split_any(std::string_view text, std::string_view separators) {
  std::vector<std::string> parts;
  for (;;) {
    const size_t begin = text.find_first_not_of(separators);
    if (begin == std::string_view::npos) return parts;
    const size_t end = std::min(text.find_first_of(separators, begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    text.remove_prefix(end);
  }
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out.append(separator);
    out.append(parts[i]);
  }
  return out;
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  if (from.empty()) return std::string(text);
  std::string out;
  for (;;) {
    const size_t at = text.find(from);
    if (at == std::string_view::npos) return out.append(text);
    out.append(text.substr(0, at)).append(to);
    text.remove_prefix(at + from.size());
  }
}

bool starts_with(std::string_view text, std::string_view prefix) { return text.starts_with(prefix); }
bool ends_with(std::string_view text, std::string_view suffix) { return text.ends_with(suffix); }

std::string to_hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(2 * bytes.size());
  for (const char c : bytes) {
    out += kDigits[static_cast<uint8_t>(c) >> 4];
    out += kDigits[static_cast<uint8_t>(c) & 15];
  }
  return out;
}

Result<std::string> decode_base64(std::string_view text) {
  if (text.size() % 4 != 0) {
    return bad_data(fmt::format("base64 text: found {} characters, a multiple of 4 was expected", text.size()));
  }
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  const size_t num_digits = text.size() - padding;
  std::string out;
  out.reserve(text.size() / 4 * 3);
  uint32_t bits = 0;
  int num_bits = 0;
  for (size_t i = 0; i < num_digits; ++i) {
    const int digit = base64_digit(text[i]);
    if (digit < 0) {
      return bad_data(fmt::format("base64 text: at character {}: found byte 0x{:02x}, a base64 digit was expected", i,
                                  byte_at(text, i)));
    }
    bits = bits << 6 | static_cast<uint32_t>(digit);
    num_bits += 6;
    if (num_bits < 8) continue;
    num_bits -= 8;
    out += static_cast<char>(bits >> num_bits & 0xFF);
  }
  if ((bits & ((1u << num_bits) - 1)) != 0) {
    return bad_data("base64 text: its last digit has bits beyond the last byte; the text is cut or altered");
  }
  return out;
}

std::optional<int64_t> parse_int(std::string_view text) { return parse_number<int64_t>(text); }
std::optional<double> parse_double(std::string_view text) { return parse_number<double>(text); }

std::optional<std::string> nearest(std::string_view word, const std::vector<std::string>& candidates) {
  const std::u32string wanted = to_utf32(word);
  const size_t limit = wanted.size() / 3;
  const std::string* best = nullptr;
  size_t best_distance = limit + 1;
  for (const std::string& candidate : candidates) {
    const std::u32string points = to_utf32(candidate);
    const size_t apart = std::max(points.size(), wanted.size()) - std::min(points.size(), wanted.size());
    if (apart >= best_distance) continue;
    const size_t distance = edit_distance(wanted, points);
    if (distance >= best_distance) continue;
    best = &candidate;
    best_distance = distance;
  }
  if (!best) return std::nullopt;
  return *best;
}

std::string with_thousands(int64_t value) {
  std::string digits = std::to_string(value);
  const size_t first = value < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3;) digits.insert(at -= 3, 1, ',');
  return digits;
}

}  // namespace assay
