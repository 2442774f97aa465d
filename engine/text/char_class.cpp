#include "engine/text/char_class.h"

#include <algorithm>

namespace assay {
namespace {

constexpr char32_t kNumCodePoints = 0x110000;

// One byte a code point: a text touches few of its pages.
const std::vector<uint8_t>& class_table() {
  static const std::vector<uint8_t> table = [] {
    std::vector<uint8_t> classes(kNumCodePoints);
    const auto runs = char_class_runs();
    for (size_t i = 0; i < runs.size(); ++i) {
      const auto end = i + 1 < runs.size() ? runs[i + 1] >> 8 : uint32_t{kNumCodePoints};
      std::fill(classes.begin() + (runs[i] >> 8), classes.begin() + end, static_cast<uint8_t>(runs[i] & 0xFF));
    }
    return classes;
  }();
  return table;
}

}  // namespace

CharClass char_class(char32_t c) { return c < kNumCodePoints ? static_cast<CharClass>(class_table()[c]) : kOther; }

void classify_bytes(std::string_view text, std::vector<uint8_t>& classes) {
  const uint8_t* table = class_table().data();
  classes.resize(text.size() + 1);
  uint8_t* out = classes.data();
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80) {
      out[i++] = table[byte];
      continue;
    }
    const DecodedChar decoded = decode_valid(text, i);
    std::fill_n(out + i, decoded.length, table[decoded.code_point]);
    i += decoded.length;
  }
  out[text.size()] = 0;
}

}  // namespace assay
