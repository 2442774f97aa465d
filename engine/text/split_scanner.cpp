#include "engine/text/split_scanner.h"

#include "engine/text/char_class.h"

namespace assay {
namespace {

constexpr std::string_view kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr uint8_t kSymbol = kOther | kMark;                // [^\s\p{L}\p{N}]
constexpr uint8_t kWordPrefix = kSpace | kSymbol;          // [^\r\n\p{L}\p{N}]
constexpr uint8_t kWordStart = kUpper | kUncased | kMark;  // tekken's first class of a word
constexpr uint8_t kWordEnd = kLower | kUncased | kMark;    // and its second
constexpr std::string_view kLongS = "\xC5\xBF";            // U+017F, which is an s where case is ignored

// A text with the class of each byte. Every match_ function gives the end of a match that begins at `at`, or `at`
// itself.
class Scan {
 public:
  Scan(std::string_view text, const uint8_t* classes) : text_(text), classes_(classes) {}

  bool is(uint32_t at, uint8_t mask) const { return (classes_[at] & mask) != 0; }
  uint32_t run_end(uint32_t at, uint8_t mask) const {
    while (classes_[at] & mask) ++at;
    return at;
  }
  uint32_t next(uint32_t at) const {
    do ++at;
    while (at < text_.size() && is_continuation_byte(text_[at]));
    return at;
  }
  uint32_t previous(uint32_t at) const {
    do --at;
    while (is_continuation_byte(text_[at]));
    return at;
  }
  bool is_byte(uint32_t at, char c) const { return at < text_.size() && text_[at] == c; }

  uint32_t match_contraction(uint32_t at) const;
  uint32_t match_contraction_any_case(uint32_t at) const;
  uint32_t match_word(uint32_t at) const;
  uint32_t match_cased_word(uint32_t at) const;
  uint32_t match_symbols(uint32_t at, bool slashes) const;
  uint32_t match_lines(uint32_t at) const;
  uint32_t match_space(uint32_t at) const;

 private:
  uint32_t end_of_cased_word(uint32_t begin, uint32_t at) const;
  std::string_view text_;
  const uint8_t* classes_;
};

// 's|'t|'re|'ve|'m|'ll|'d after the apostrophe, of lower-case letters.
uint32_t contraction_length(char first, char second) {
  switch (first) {
    case 's':
    case 't':
    case 'm':
    case 'd': return 1;
    case 'r':
    case 'v': return second == 'e' ? 2 : 0;
    case 'l': return second == 'l' ? 2 : 0;
    default: return 0;
  }
}

uint32_t Scan::match_contraction(uint32_t at) const {
  if (text_[at] != '\'' || at + 1 >= text_.size()) return at;
  const uint32_t length = contraction_length(text_[at + 1], at + 2 < text_.size() ? text_[at + 2] : '\0');
  return length == 0 ? at : at + 1 + length;
}

uint32_t Scan::match_contraction_any_case(uint32_t at) const {
  if (text_[at] != '\'' || at + 1 >= text_.size()) return at;
  if (text_.substr(at + 1, kLongS.size()) == kLongS) return at + 1 + static_cast<uint32_t>(kLongS.size());
  const auto lower = [&](uint32_t i) {
    const char c = i < text_.size() ? text_[i] : '\0';
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  const uint32_t length = contraction_length(lower(at + 1), lower(at + 2));
  return length == 0 ? at : at + 1 + length;
}

// [^\r\n\p{L}\p{N}]?\p{L}+
uint32_t Scan::match_word(uint32_t at) const {
  const uint32_t begin = is(at, kWordPrefix) ? next(at) : at;
  return is(begin, kAnyLetter) ? run_end(begin, kAnyLetter) : at;
}

// [start]*[end]+ or else [start]+[end]* from `begin`; `at` when neither matches. The greedy first run gives back
// characters until the second has one; what it then takes ends where the first run's last [end] character does.
uint32_t Scan::end_of_cased_word(uint32_t begin, uint32_t at) const {
  const uint32_t start_end = run_end(begin, kWordStart);
  if (is(start_end, kWordEnd)) return run_end(start_end, kWordEnd);
  for (uint32_t i = start_end; i > begin; i = previous(i)) {
    if (is(i - 1, kWordEnd)) return i;
  }
  return at;
}

// tekken's two alternatives for words. A mark is a prefix and part of a word; a letter is never a prefix.
uint32_t Scan::match_cased_word(uint32_t at) const {
  const bool has_prefix = is(at, kWordPrefix);
  const uint32_t begin = has_prefix ? next(at) : at;
  uint32_t end = end_of_cased_word(begin, at);
  if (end == at && is(at, kMark)) end = end_of_cased_word(at, at);
  if (end != at) return end;
  const uint32_t upper_end = run_end(begin, kWordStart);
  return upper_end > begin ? upper_end : at;
}

//  ?[^\s\p{L}\p{N}]+[\r\n]*, or with [\r\n/]*
uint32_t Scan::match_symbols(uint32_t at, bool slashes) const {
  const uint32_t begin = text_[at] == ' ' ? at + 1 : at;
  if (!is(begin, kSymbol)) return at;
  uint32_t end = run_end(begin, kSymbol);
  while (is(end, kNewline) || (slashes && is_byte(end, '/'))) ++end;
  return end;
}

// \s*[\r\n]+
uint32_t Scan::match_lines(uint32_t at) const {
  uint32_t end = run_end(at, kAnySpace);
  while (end > at && !is(end - 1, kNewline)) --end;
  return end;
}

// \s+(?!\S)|\s+
uint32_t Scan::match_space(uint32_t at) const {
  const uint32_t end = run_end(at, kAnySpace);
  if (end == at || end == text_.size()) return end;
  const uint32_t last = previous(end);
  return last > at ? last : end;
}

struct Gpt2 {
  static uint32_t match(const Scan& scan, uint32_t at, char first) {
    if (const uint32_t end = scan.match_contraction(at); end != at) return end;
    const uint32_t begin = first == ' ' ? at + 1 : at;
    for (const uint8_t mask : {kAnyLetter, uint8_t{kNumber}, kSymbol}) {
      if (scan.is(begin, mask)) return scan.run_end(begin, mask);
    }
    return scan.match_space(at);
  }
};

template <int kMaxDigits>
struct Llama3 {
  static uint32_t match(const Scan& scan, uint32_t at, char) {
    if (const uint32_t end = scan.match_contraction_any_case(at); end != at) return end;
    if (const uint32_t end = scan.match_word(at); end != at) return end;
    if (scan.is(at, kNumber)) return match_digits(scan, at);
    if (const uint32_t end = scan.match_symbols(at, false); end != at) return end;
    if (const uint32_t end = scan.match_lines(at); end != at) return end;
    return scan.match_space(at);
  }
  static uint32_t match_digits(const Scan& scan, uint32_t at) {
    for (int i = 0; i < kMaxDigits && scan.is(at, kNumber); ++i) at = scan.next(at);
    return at;
  }
};

struct Tekken {
  static uint32_t match(const Scan& scan, uint32_t at, char) {
    if (const uint32_t end = scan.match_cased_word(at); end != at) return end;
    if (scan.is(at, kNumber)) return scan.next(at);
    if (const uint32_t end = scan.match_symbols(at, true); end != at) return end;
    if (const uint32_t end = scan.match_lines(at); end != at) return end;
    return scan.match_space(at);
  }
};

template <class Pattern>
void scan_with(std::string_view text, const uint8_t* classes, uint32_t offset, std::vector<Piece>& out) {
  const Scan scan(text, classes);
  for (uint32_t at = 0; at < text.size();) {
    const uint32_t end = Pattern::match(scan, at, text[at]);
    out.push_back({offset + at, offset + end});
    at = end;
  }
}

}  // namespace

std::string_view split_pattern_text(SplitPattern pattern) {
  switch (pattern) {
    case SplitPattern::gpt2: return kGpt2;
    case SplitPattern::llama3: return kLlama3;
    case SplitPattern::qwen2: return kQwen2;
    case SplitPattern::tekken: return kTekken;
  }
  return {};
}

std::optional<SplitPattern> known_split_pattern(std::string_view pattern) {
  for (const auto known : {SplitPattern::gpt2, SplitPattern::llama3, SplitPattern::qwen2, SplitPattern::tekken}) {
    if (split_pattern_text(known) == pattern) return known;
  }
  return std::nullopt;
}

void scan_split(SplitPattern pattern, std::string_view text, uint32_t offset, std::vector<uint8_t>& classes,
                std::vector<Piece>& out) {
  classify_bytes(text, classes);
  switch (pattern) {
    case SplitPattern::gpt2: return scan_with<Gpt2>(text, classes.data(), offset, out);
    case SplitPattern::llama3: return scan_with<Llama3<3>>(text, classes.data(), offset, out);
    case SplitPattern::qwen2: return scan_with<Llama3<1>>(text, classes.data(), offset, out);
    case SplitPattern::tekken: return scan_with<Tekken>(text, classes.data(), offset, out);
  }
}

}  // namespace assay
