#include <fmt/format.h>

#include <cstdlib>
#include <limits>
#include <map>

#include "evals/sandbox/value.h"

namespace assay {
namespace {

void append_code_point(std::string& out, uint32_t point) {
  if (point < 0x80) {
    out += static_cast<char>(point);
  } else if (point < 0x800) {
    out += static_cast<char>(0xC0 | point >> 6);
    out += static_cast<char>(0x80 | (point & 63));
  } else if (point < 0x10000) {
    out += static_cast<char>(0xE0 | point >> 12);
    out += static_cast<char>(0x80 | (point >> 6 & 63));
    out += static_cast<char>(0x80 | (point & 63));
  } else {
    out += static_cast<char>(0xF0 | point >> 18);
    out += static_cast<char>(0x80 | (point >> 12 & 63));
    out += static_cast<char>(0x80 | (point >> 6 & 63));
    out += static_cast<char>(0x80 | (point & 63));
  }
}

class Reader {
 public:
  Reader(std::string_view text, const ValueLimits& limits)
      : text_(text), limits_(limits), items_left_(limits.max_items) {}

  Result<Value> whole() {
    if (text_.size() > limits_.max_bytes) return error("at most " + std::to_string(limits_.max_bytes) + " bytes");
    ASSAY_ASSIGN(Value value, one(0));
    skip_space();
    if (at_ != text_.size()) return error("the end of the text");
    return value;
  }

 private:
  Status error(std::string_view expected) const {
    return bad_data(fmt::format("JSON value: byte {}: expected {}", at_, expected));
  }
  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  bool take(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  bool spend_item() { return items_left_ > 0 && items_left_-- > 0; }

  Result<Value> one(int depth) {
    skip_space();
    if (depth > limits_.max_depth) return error(fmt::format("at most {} levels", limits_.max_depth));
    if (!spend_item()) return error("fewer values");
    if (take("null")) return Value::none();
    if (take("true")) return Value::boolean(true);
    if (take("false")) return Value::boolean(false);
    if (take("NaN")) return Value::real(std::numeric_limits<double>::quiet_NaN());
    if (take("Infinity")) return Value::real(std::numeric_limits<double>::infinity());
    if (take("-Infinity")) return Value::real(-std::numeric_limits<double>::infinity());
    if (take("[")) return list(depth);
    if (take("{")) return dict(depth);
    if (take("\"")) {
      ASSAY_ASSIGN(std::string text, string());
      return Value::text(std::move(text));
    }
    return number();
  }

  Result<Value> list(int depth) {
    Value::Items items;
    skip_space();
    if (take("]")) return Value::list({});
    for (;;) {
      ASSAY_ASSIGN(Value item, one(depth + 1));
      items.push_back(std::move(item));
      skip_space();
      if (take("]")) return Value::list(std::move(items));
      if (!take(",")) return error("',' or ']'");
    }
  }

  Result<Value> dict(int depth) {
    std::vector<Value::Member> members;
    std::map<std::string, size_t> places;
    skip_space();
    if (take("}")) return Value::dict({});
    for (;;) {
      skip_space();
      if (!take("\"")) return error("a key");
      ASSAY_ASSIGN(std::string key, string());
      skip_space();
      if (!take(":")) return error("':'");
      ASSAY_ASSIGN(Value item, one(depth + 1));
      const auto [place, is_new] = places.emplace(key, members.size());
      if (is_new)
        members.emplace_back(Value::text(std::move(key)), std::move(item));
      else
        members[place->second].second = std::move(item);
      skip_space();
      if (take("}")) return Value::dict(std::move(members));
      if (!take(",")) return error("',' or '}'");
    }
  }

  Result<uint32_t> hex4() {
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = at_ < text_.size() ? text_[at_] : '\0';
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return error("four hexadecimal digits");
      value = value << 4 | static_cast<uint32_t>(digit);
    }
    return value;
  }

  Status escape(std::string& out) {
    if (at_ >= text_.size()) return error("an escape");
    const char c = text_[at_++];
    const size_t index = std::string_view("\"\\/bfnrt").find(c);
    if (index != std::string_view::npos) {
      out += "\"\\/\b\f\n\r\t"[index];
      return ok_status();
    }
    if (c != 'u') return error("an escape");
    ASSAY_ASSIGN(uint32_t point, hex4());
    if (point >= 0xD800 && point < 0xDC00 && text_.substr(at_, 2) == "\\u") {
      const size_t back = at_;
      at_ += 2;
      ASSAY_ASSIGN(const uint32_t low, hex4());
      if (low >= 0xDC00 && low < 0xE000)
        point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
      else
        at_ = back;
    }
    append_code_point(out, point);
    return ok_status();
  }

  Result<std::string> string() {
    std::string out;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return out;
      if (c == '\\') {
        ASSAY_TRY(escape(out));
      } else if (static_cast<unsigned char>(c) < 32) {
        return error("no control character in a text");
      } else {
        out += c;
      }
    }
    return error("'\"'");
  }

  size_t digits(size_t at) const {
    while (at < text_.size() && text_[at] >= '0' && text_[at] <= '9') ++at;
    return at;
  }

  Result<Value> number() {
    const size_t first = at_ + (at_ < text_.size() && text_[at_] == '-');
    size_t end = digits(first);
    if (end == first || (text_[first] == '0' && end > first + 1)) return error("a value");
    bool integral = true;
    if (end < text_.size() && text_[end] == '.' && digits(end + 1) > end + 1) {
      end = digits(end + 1);
      integral = false;
    }
    if (end < text_.size() && (text_[end] == 'e' || text_[end] == 'E')) {
      const size_t sign = end + 1 + (end + 1 < text_.size() && (text_[end + 1] == '+' || text_[end + 1] == '-'));
      if (digits(sign) > sign) {
        end = digits(sign);
        integral = false;
      }
    }
    const std::string_view digits_text = text_.substr(at_, end - at_);
    at_ = end;
    if (integral) return Value::integer_from_decimal(digits_text);
    return Value::real(std::strtod(std::string(digits_text).c_str(), nullptr));
  }

  std::string_view text_;
  const ValueLimits& limits_;
  uint64_t items_left_;
  size_t at_ = 0;
};

}  // namespace

Result<Value> value_from_json(std::string_view text, const ValueLimits& limits) { return Reader(text, limits).whole(); }

}  // namespace assay
