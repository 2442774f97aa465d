#include "tasks/ifeval/python_json.h"

#include <cstddef>

namespace assay::ifeval {
namespace {

constexpr int kMaxDepth = 900;
constexpr size_t kMaxIntegerDigits = 4300;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool whole() {
    skip_space();
    if (!value(0)) return false;
    skip_space();
    return at_ == text_.size();
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  size_t take_digits() {
    const size_t begin = at_;
    while (is_digit(peek())) ++at_;
    return at_ - begin;
  }

  bool value(int depth) {
    if (depth > kMaxDepth) return false;
    if (peek() == '"') return string();
    if (peek() == '{') return members(depth);
    if (peek() == '[') return elements(depth);
    for (std::string_view word : {"null", "true", "false", "NaN", "Infinity", "-Infinity"}) {
      if (take(word)) return true;
    }
    return number();
  }

  bool number() {
    take('-');
    size_t digits = 1;
    if (!take('0')) digits = take_digits();
    if (digits == 0) return false;
    bool whole = true;
    const size_t after_integer = at_;
    if (take('.')) {
      if (take_digits() == 0) {
        at_ = after_integer;
        return true;
      }
      whole = false;
    }
    const size_t before_exponent = at_;
    if (take('e') || take('E')) {
      if (!take('-')) take('+');
      if (take_digits() == 0) {
        at_ = before_exponent;
      } else {
        whole = false;
      }
    }
    return !whole || digits <= kMaxIntegerDigits;
  }

  bool string() {
    if (!take('"')) return false;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c == '\\' && !escape()) return false;
    }
    return false;
  }

  bool escape() {
    if (at_ >= text_.size()) return false;
    const char c = text_[at_++];
    if (c != 'u') return std::string_view("\"\\/bfnrt").find(c) != std::string_view::npos;
    for (int i = 0; i < 4; ++i) {
      if (!is_hex(peek())) return false;
      ++at_;
    }
    return true;
  }

  bool members(int depth) {
    take('{');
    skip_space();
    if (take('}')) return true;
    while (true) {
      if (!string()) return false;
      skip_space();
      if (!take(':')) return false;
      skip_space();
      if (!value(depth + 1)) return false;
      skip_space();
      if (take('}')) return true;
      if (!take(',')) return false;
      skip_space();
    }
  }

  bool elements(int depth) {
    take('[');
    skip_space();
    if (take(']')) return true;
    while (true) {
      if (!value(depth + 1)) return false;
      skip_space();
      if (take(']')) return true;
      if (!take(',')) return false;
      skip_space();
    }
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

bool is_python_json(std::string_view text) { return Reader(text).whole(); }

}  // namespace assay::ifeval
