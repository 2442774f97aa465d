#include "engine/text/jinja_lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "engine/base/text_util.h"

namespace assay::jinja {
namespace {

constexpr size_t kMaxSourceBytes = size_t{4} << 20;

std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_digit_of(char c, int base) {
  if (base <= 10) return c >= '0' && c < '0' + base;
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool is_name_start(char32_t c) {
  if (c < 0x80) return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return is_unicode_letter(c);
}

bool is_name_part(char32_t c) { return is_name_start(c) || (c < 0x80 ? (c >= '0' && c <= '9') : is_unicode_number(c)); }

// Python reads a string literal of a template by writing non-ASCII characters as backslash escapes and then decoding
// all escapes; a backslash before a non-ASCII character therefore swallows that character's own backslash.
std::string escape_non_ascii(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const char32_t c = next_code_point(text, i);
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x100) {
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(c));
    } else if (c < 0x10000) {
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(c));
    } else {
      out += fmt::format("\\U{:08x}", static_cast<uint32_t>(c));
    }
  }
  return out;
}

class StringDecoder {
 public:
  StringDecoder(std::string_view text, int line) : text_(escape_non_ascii(text)), line_(line) {}

  Result<std::string> decode() {
    while (pos_ < text_.size()) {
      const char c = text_[pos_++];
      if (c != '\\') {
        out_ += c;
      } else {
        ASSAY_TRY(decode_escape());
      }
    }
    return std::move(out_);
  }

 private:
  Status decode_escape() {
    const char c = text_[pos_++];
    static constexpr std::string_view kSimple = "\\'\"abfnrtv";
    static constexpr std::string_view kMeaning = "\\'\"\a\b\f\n\r\t\v";
    if (const size_t index = kSimple.find(c); index != std::string_view::npos) {
      out_ += kMeaning[index];
      return ok_status();
    }
    if (c == '\n') return ok_status();
    if (c >= '0' && c <= '7') return decode_octal(c);
    if (c == 'x') return decode_hex(2);
    if (c == 'u') return decode_hex(4);
    if (c == 'U') return decode_hex(8);
    if (c == 'N')
      return syntax_error(line_, "a character by its name (\\N) is not supported; write it itself or as \\u");
    out_ += '\\';
    out_ += c;
    return ok_status();
  }

  Status decode_octal(char first) {
    char32_t value = static_cast<char32_t>(first - '0');
    for (int i = 0; i < 2 && pos_ < text_.size() && is_digit_of(text_[pos_], 8); ++i) {
      value = value * 8 + static_cast<char32_t>(text_[pos_++] - '0');
    }
    append_utf8(out_, value);
    return ok_status();
  }

  Status decode_hex(size_t num_digits) {
    char32_t value = 0;
    for (size_t i = 0; i < num_digits; ++i, ++pos_) {
      if (pos_ >= text_.size() || !is_digit_of(text_[pos_], 16)) {
        return syntax_error(line_, fmt::format("a string escape needs {} hexadecimal digits", num_digits));
      }
      const char c = text_[pos_];
      value = value * 16 + static_cast<char32_t>(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
      return syntax_error(line_, fmt::format("\\u{:04x} is no character", static_cast<uint32_t>(value)));
    }
    append_utf8(out_, value);
    return ok_status();
  }

  std::string text_;
  int line_;
  size_t pos_ = 0;
  std::string out_;
};

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  Result<std::vector<Token>> run() {
    while (pos_ < source_.size()) ASSAY_TRY(lex_root());
    push(TokenType::end, "");
    return std::move(tokens_);
  }

 private:
  // Text up to the next tag, and that tag.
  Status lex_root() {
    const size_t begin = pos_;
    const size_t tag = find_tag(begin);
    if (tag == std::string::npos) {
      push_data(source_.substr(begin));
      advance_to(source_.size());
      return ok_status();
    }
    const char kind = source_[tag + 1];
    size_t after = tag + 2;
    char sign = 0;
    if (after < source_.size() && (source_[after] == '-' || source_[after] == '+')) sign = source_[after++];
    push_data(stripped_before_tag(std::string_view(source_).substr(begin, tag - begin), sign, kind != '{'));
    advance_to(after);
    if (kind == '#') return lex_comment();
    if (kind == '%') {
      if (const std::optional<size_t> raw = raw_begin_end()) return lex_raw(*raw);
    }
    return lex_tag(kind == '%');
  }

  size_t find_tag(size_t from) const {
    for (size_t i = source_.find('{', from); i != std::string::npos; i = source_.find('{', i + 1)) {
      if (i + 1 >= source_.size()) return std::string::npos;
      if (const char c = source_[i + 1]; c == '{' || c == '%' || c == '#') return i;
    }
    return std::string::npos;
  }

  // What lstrip_blocks and a '-' sign leave of the text before a tag.
  std::string_view stripped_before_tag(std::string_view text, char sign, bool is_block) const {
    if (sign == '-') return py_rstrip(text);
    if (sign == '+' || !is_block) return text;
    const size_t line_start = text.rfind('\n') + 1;  // 0 when there is none
    if (line_start == 0 && !at_line_start_) return text;
    return py_strip(text.substr(line_start)).empty() ? text.substr(0, line_start) : text;
  }

  size_t skip_space(size_t index) const {
    while (index < source_.size()) {
      size_t next = index;
      if (!is_unicode_space(next_code_point(source_, next))) break;
      index = next;
    }
    return index;
  }

  // Past a tag's end: '-' takes all whitespace after it, no sign one newline (trim_blocks), '+' nothing.
  void finish_tag(size_t end, char sign, bool trims_newline) {
    if (sign == '-') {
      end = skip_space(end);
    } else if (sign == 0 && trims_newline && end < source_.size() && source_[end] == '\n') {
      ++end;
    }
    advance_to(end);
    at_line_start_ = source_[end - 1] == '\n';
  }

  Status lex_comment() {
    const size_t end = source_.find("#}", pos_);
    if (end == std::string::npos) return syntax_error(line_, "a comment is opened but never closed with #}");
    const char before = end > pos_ ? source_[end - 1] : '\0';
    finish_tag(end + 2, before == '-' || before == '+' ? before : '\0', true);
    return ok_status();
  }

  // The end of "raw %}" when the block that begins here is one.
  std::optional<size_t> raw_begin_end() const {
    size_t index = skip_space(pos_);
    if (source_.compare(index, 3, "raw") != 0) return std::nullopt;
    index = skip_space(index + 3);
    if (source_.compare(index, 3, "-%}") == 0) return skip_space(index + 3);
    if (source_.compare(index, 2, "%}") == 0) return index + 2;
    return std::nullopt;
  }

  struct RawEnd {
    size_t tag;
    size_t end;
    char sign_before;
    char sign_after;
  };

  std::optional<RawEnd> find_raw_end(size_t from) const {
    for (size_t tag = source_.find("{%", from); tag != std::string::npos; tag = source_.find("{%", tag + 2)) {
      RawEnd found{tag, 0, '\0', '\0'};
      size_t index = tag + 2;
      if (index < source_.size() && (source_[index] == '-' || source_[index] == '+'))
        found.sign_before = source_[index++];
      index = skip_space(index);
      if (source_.compare(index, 6, "endraw") != 0) continue;
      index = skip_space(index + 6);
      if (index < source_.size() && (source_[index] == '-' || source_[index] == '+'))
        found.sign_after = source_[index++];
      if (source_.compare(index, 2, "%}") != 0) continue;
      found.end = index + 2;
      return found;
    }
    return std::nullopt;
  }

  Status lex_raw(size_t begin) {
    at_line_start_ = source_[begin - 1] == '\n';
    advance_to(begin);
    const std::optional<RawEnd> found = find_raw_end(begin);
    if (!found) return syntax_error(line_, "a raw block is opened but never closed with endraw");
    push_data(
        stripped_before_tag(std::string_view(source_).substr(begin, found->tag - begin), found->sign_before, true));
    finish_tag(found->end, found->sign_after, true);
    return ok_status();
  }

  Status lex_tag(bool is_block) {
    push(is_block ? TokenType::block_begin : TokenType::variable_begin, "");
    brackets_.clear();
    const std::string_view close = is_block ? "%}" : "}}";
    for (;;) {
      advance_to(skip_space(pos_));
      if (pos_ >= source_.size()) return ok_status();  // the parser sees the missing end
      if (brackets_.empty()) {
        const char sign = source_[pos_] == '-' || (is_block && source_[pos_] == '+') ? source_[pos_] : '\0';
        if (source_.compare(pos_ + (sign != 0 ? 1 : 0), 2, close) == 0) {
          push(is_block ? TokenType::block_end : TokenType::variable_end, "");
          finish_tag(pos_ + (sign != 0 ? 3 : 2), sign, is_block);
          return ok_status();
        }
      }
      ASSAY_TRY(lex_token());
    }
  }

  Status lex_token() {
    const char c = source_[pos_];
    if (is_digit(c)) return lex_number();
    if (c == '\'' || c == '"') return lex_string(c);
    size_t next = pos_;
    if (is_name_start(next_code_point(source_, next))) {
      lex_name();
      return ok_status();
    }
    return lex_symbol();
  }

  void lex_name() {
    size_t end = pos_;
    for (size_t next = end; next < source_.size() && is_name_part(next_code_point(source_, next));) end = next;
    push(TokenType::name, source_.substr(pos_, end - pos_));
    advance_to(end);
  }

  // Digits with single underscores between them; `end` moves past them.
  bool skip_digits(size_t& end, int base) const {
    const size_t begin = end;
    while (end < source_.size()) {
      const bool underscore = source_[end] == '_' && end > begin;
      const size_t digit = underscore ? end + 1 : end;
      if (digit >= source_.size() || !is_digit_of(source_[digit], base)) break;
      end = digit + 1;
    }
    return end > begin;
  }

  // The end of the real number that begins here, if one does.
  std::optional<size_t> real_end() const {
    if (pos_ > 0 && source_[pos_ - 1] == '.') return std::nullopt;
    size_t end = pos_;
    skip_digits(end, 10);
    bool is_real = false;
    if (end < source_.size() && source_[end] == '.') {
      size_t fraction = end + 1;
      if (skip_digits(fraction, 10)) {
        end = fraction;
        is_real = true;
      }
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) ++exponent;
      if (skip_digits(exponent, 10)) {
        end = exponent;
        is_real = true;
      }
    }
    return is_real ? std::optional(end) : std::nullopt;
  }

  Status lex_number() {
    if (const std::optional<size_t> end = real_end()) {
      const std::optional<double> value = parse_double(without_underscores(pos_, *end));
      if (!value) return syntax_error(line_, "a number is out of range");
      push(TokenType::real, "");
      tokens_.back().real = *value;
      advance_to(*end);
      return ok_status();
    }
    return lex_integer();
  }

  std::string without_underscores(size_t begin, size_t end) const {
    std::string text = source_.substr(begin, end - begin);
    text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
    return text;
  }

  int prefixed_base() const {
    if (source_[pos_] != '0' || pos_ + 1 >= source_.size()) return 10;
    switch (source_[pos_ + 1] | 0x20) {
      case 'b': return 2;
      case 'o': return 8;
      case 'x': return 16;
      default: return 10;
    }
  }

  Status lex_integer() {
    int base = prefixed_base();
    size_t digits = pos_ + (base == 10 ? 0 : 2);
    size_t end = digits;
    if (base != 10 && end < source_.size() && source_[end] == '_') ++end;
    if (!skip_digits(end, base)) {  // "0x" without digits is a zero and a name
      base = 10;
      digits = pos_;
      end = pos_ + 1;
    } else if (base == 10 && source_[pos_] == '0') {  // a decimal number does not begin with zero
      end = pos_ + 1;
      while (end < source_.size() &&
             (source_[end] == '0' || (source_[end] == '_' && source_.compare(end, 2, "_0") == 0))) {
        end += source_[end] == '_' ? 2 : 1;
      }
    }
    int64_t value = 0;
    for (const char c : without_underscores(digits, end)) {
      const int digit = is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10;
      if (__builtin_mul_overflow(value, base, &value) || __builtin_add_overflow(value, digit, &value)) {
        return syntax_error(line_, "an integer does not fit 64 bits");
      }
    }
    push(TokenType::integer, "");
    tokens_.back().integer = value;
    advance_to(end);
    return ok_status();
  }

  Status lex_string(char quote) {
    size_t end = pos_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) return syntax_error(line_, "a string is opened but never closed");
    ASSAY_ASSIGN(std::string text,
                 StringDecoder(std::string_view(source_).substr(pos_ + 1, end - pos_ - 1), line_).decode());
    push(TokenType::string, std::move(text));
    advance_to(end + 1);
    return ok_status();
  }

  Status lex_symbol() {
    static constexpr std::array<std::string_view, 25> kSymbols = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                                  "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                                  ">",  "<",  "=",  ".",  ":",  "|",  ","};
    const auto* symbol = std::find_if(kSymbols.begin(), kSymbols.end(), [&](std::string_view candidate) {
      return source_.compare(pos_, candidate.size(), candidate) == 0;
    });
    if (symbol == kSymbols.end()) {
      size_t next = pos_;
      next_code_point(source_, next);
      return syntax_error(line_, fmt::format("unexpected character '{}'", source_.substr(pos_, next - pos_)));
    }
    ASSAY_TRY(balance((*symbol)[0]));
    push(TokenType::symbol, std::string(*symbol));
    advance_to(pos_ + symbol->size());
    return ok_status();
  }

  Status balance(char c) {
    if (c == '(') brackets_ += ')';
    if (c == '[') brackets_ += ']';
    if (c == '{') brackets_ += '}';
    if (c != ')' && c != ']' && c != '}') return ok_status();
    if (brackets_.empty()) return syntax_error(line_, fmt::format("unexpected '{}'", c));
    if (brackets_.back() != c) {
      return syntax_error(line_, fmt::format("unexpected '{}', expected '{}'", c, brackets_.back()));
    }
    brackets_.pop_back();
    return ok_status();
  }

  void push(TokenType type, std::string text) { tokens_.push_back({type, line_, std::move(text), 0, 0.0}); }
  void push_data(std::string_view text) {
    if (!text.empty()) push(TokenType::data, std::string(text));
  }
  void advance_to(size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<ptrdiff_t>(pos_),
                                         source_.begin() + static_cast<ptrdiff_t>(end), '\n'));
    pos_ = end;
  }

  std::string source_;
  size_t pos_ = 0;
  int line_ = 1;
  bool at_line_start_ = true;  // the text after the last tag begins a line
  std::string brackets_;       // closing brackets awaited in the current tag
  std::vector<Token> tokens_;
};

}  // namespace

Status syntax_error(int line, std::string_view reason) { return bad_data(fmt::format("line {}: {}", line, reason)); }

Result<std::vector<Token>> tokenize(std::string_view source) {
  if (source.size() > kMaxSourceBytes) {
    return syntax_error(
        1, fmt::format("a template has at most {} bytes, this one has {}", kMaxSourceBytes, source.size()));
  }
  int line = 1;
  for (const std::string& text : split(source, "\n")) {
    if (!is_valid_utf8(text)) return syntax_error(line, "a template is UTF-8 text, this line has bytes that are not");
    ++line;
  }
  return Lexer(normalize_newlines(source)).run();
}

}  // namespace assay::jinja
