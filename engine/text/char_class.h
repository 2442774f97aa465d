#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace assay {

// What split patterns ask of a character. Each code point has exactly one class; a class is one bit, so that sets of
// them are masks. Source: Unicode Character Database 16.0, which is what the regular expressions of Hugging Face
// tokenizers follow. (The PCRE2 of a system may know an older version: it then takes newer characters for unassigned.)
enum CharClass : uint8_t {
  kOther = 0x01,
  kUpper = 0x02,    // Lu, Lt
  kLower = 0x04,    // Ll
  kUncased = 0x08,  // Lm, Lo
  kMark = 0x10,     // M
  kNumber = 0x20,   // N
  kSpace = 0x40,    // White_Space but newlines
  kNewline = 0x80,  // U+000A, U+000D
};
constexpr uint8_t kAnyLetter = kUpper | kLower | kUncased;
constexpr uint8_t kAnySpace = kSpace | kNewline;

// Code points beyond U+10FFFF are kOther. Thread-safe.
CharClass char_class(char32_t c);

// Fills `classes` with the class of each byte's character, then a 0 that ends every run. `text` is valid UTF-8.
void classify_bytes(std::string_view text, std::vector<uint8_t>& classes);

// Where classes change, ascending: code point << 8 | class of it and those after.
std::span<const uint32_t> char_class_runs();

// The code point that begins at `text[index]` of valid UTF-8, and its length in bytes.
struct DecodedChar {
  char32_t code_point;
  uint32_t length;
};
inline DecodedChar decode_valid(std::string_view text, size_t index) {
  const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[index + i])); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
}
inline bool is_continuation_byte(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace assay
