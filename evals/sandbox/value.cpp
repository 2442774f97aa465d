#include "evals/sandbox/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>

#include "engine/base/check.h"

namespace assay {
namespace {

using Kind = Value::Kind;
using Limbs = std::vector<uint32_t>;  // least significant first

Limbs limbs_of_decimal(std::string_view digits) {
  Limbs limbs;
  for (size_t at = 0; at < digits.size();) {
    const size_t count = std::min<size_t>(9, digits.size() - at);
    uint32_t part = 0, scale = 1;
    for (size_t i = 0; i < count; ++i) {
      part = part * 10 + static_cast<uint32_t>(digits[at + i] - '0');
      scale *= 10;
    }
    uint64_t carry = part;
    for (uint32_t& limb : limbs) {
      carry += uint64_t{limb} * scale;
      limb = static_cast<uint32_t>(carry);
      carry >>= 32;
    }
    if (carry) limbs.push_back(static_cast<uint32_t>(carry));
    at += count;
  }
  return limbs;
}

std::string hex_of_limbs(const Limbs& limbs) {
  if (limbs.empty()) return "0";
  std::string text = fmt::format("{:x}", limbs.back());
  for (size_t i = limbs.size() - 1; i-- > 0;) text += fmt::format("{:08x}", limbs[i]);
  return text;
}

std::string decimal_of_hex(std::string_view hex) {
  Limbs limbs((hex.size() + 7) / 8, 0);
  for (size_t i = 0; i < hex.size(); ++i) {
    const char c = hex[hex.size() - 1 - i];
    limbs[i / 8] |= static_cast<uint32_t>(c <= '9' ? c - '0' : c - 'a' + 10) << (4 * (i % 8));
  }
  std::string text;
  while (!limbs.empty()) {
    uint64_t rest = 0;
    for (size_t i = limbs.size(); i-- > 0;) {
      rest = rest << 32 | limbs[i];
      limbs[i] = static_cast<uint32_t>(rest / 1000000000);
      rest %= 1000000000;
    }
    while (!limbs.empty() && limbs.back() == 0) limbs.pop_back();
    text.insert(0, limbs.empty() ? fmt::format("{}", rest) : fmt::format("{:09}", rest));
  }
  return text.empty() ? "0" : text;
}

// The nearest double of a hexadecimal magnitude: strtod reads hexadecimal exactly and rounds once.
double real_of_hex(const std::string& hex) {
  const bool negative = hex[0] == '-';
  const double magnitude = std::strtod(("0x" + hex.substr(negative)).c_str(), nullptr);
  return negative ? -magnitude : magnitude;
}

// The exact integer that an integral double is.
std::string hex_of_real(double value) {
  int exponent = 0;
  const double fraction = std::frexp(std::abs(value), &exponent);
  auto mantissa = static_cast<uint64_t>(std::ldexp(fraction, 53));
  int shift = exponent - 53;
  while (shift < 0 && mantissa) mantissa >>= 1, ++shift;
  mantissa <<= shift % 4;  // 53 bits and three more fit
  return (value < 0 ? "-" : "") + fmt::format("{:x}", mantissa) + std::string(static_cast<size_t>(shift / 4), '0');
}

void append_sized(std::string& key, char mark, std::string_view text) {
  key += mark;
  key += std::to_string(text.size());
  key += ':';
  key += text;
}

bool append_key(const Value& value, std::string& key);

bool append_real_key(double value, std::string& key) {
  if (std::isnan(value)) return false;
  if (std::isfinite(value) && value == std::trunc(value)) {
    append_sized(key, 'i', value == 0 ? "0" : hex_of_real(value));
  } else {
    key += 'f';
    key += fmt::format("{:a};", value);
  }
  return true;
}

bool append_items(const Value::Items& items, char mark, std::string& key) {
  key += mark;
  for (const Value& item : items) {
    if (!append_key(item, key)) return false;
  }
  key += ']';
  return true;
}

bool append_set(const Value::Items& items, std::string& key) {
  std::vector<std::string> keys(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    if (!append_key(items[i], keys[i])) return false;
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  key += '{';
  for (const std::string& one : keys) key += one;
  key += '}';
  return true;
}

bool append_dict(std::span<const Value::Member> members, std::string& key) {
  std::map<std::string, std::string> sorted;
  for (const auto& [name, item] : members) {
    std::string name_key, item_key;
    if (!append_key(name, name_key) || !append_key(item, item_key)) return false;
    sorted[name_key] = std::move(item_key);
  }
  key += '<';
  for (const auto& [name, item] : sorted) key += name + item;
  key += '>';
  return true;
}

bool append_complex(std::complex<double> value, std::string& key) {
  if (value.imag() == 0) return append_real_key(value.real(), key);
  if (std::isnan(value.real()) || std::isnan(value.imag())) return false;
  key += fmt::format("c{:a},{:a};", value.real() + 0.0, value.imag());
  return true;
}

bool append_key(const Value& value, std::string& key) {
  switch (value.kind()) {
    case Kind::none: key += 'N'; return true;
    case Kind::boolean: append_sized(key, 'i', value.as_boolean() ? "1" : "0"); return true;
    case Kind::integer: append_sized(key, 'i', value.integer_hex()); return true;
    case Kind::real: return append_real_key(value.as_real(), key);
    case Kind::complex: return append_complex(value.as_complex(), key);
    case Kind::text: append_sized(key, 's', value.as_text()); return true;
    case Kind::bytes: append_sized(key, 'b', value.as_text()); return true;
    case Kind::list: return append_items(value.items(), '[', key);
    case Kind::tuple: return append_items(value.items(), '(', key);
    case Kind::set:
    case Kind::frozenset: return append_set(value.items(), key);
    case Kind::dict: return append_dict(value.members(), key);
    case Kind::opaque: return false;
  }
  return false;
}

bool numbers_close(const Value& a, const Value& b, double rtol, double atol) {
  if (a.kind() == Kind::complex || b.kind() == Kind::complex) {
    const auto x = a.as_complex(), y = b.as_complex();
    return x == y || std::abs(x - y) <= atol + rtol * std::abs(y);
  }
  const double x = a.as_real(), y = b.as_real();
  if (std::isinf(x) || std::isinf(y)) return x == y;
  return std::abs(x - y) <= atol + rtol * std::abs(y);
}

bool is_numeric(const Value& value) { return value.is_number() || value.kind() == Kind::complex; }

bool shapes_close(const Value& a, const Value& b, double rtol, double atol) {
  if (is_numeric(a) && is_numeric(b)) return numbers_close(a, b, rtol, atol);
  if (!a.is_sequence() || !b.is_sequence() || a.items().size() != b.items().size()) return false;
  for (size_t i = 0; i < a.items().size(); ++i) {
    if (!shapes_close(a.items()[i], b.items()[i], rtol, atol)) return false;
  }
  return true;
}

}  // namespace

Value Value::boolean(bool value) { return {Kind::boolean, value}; }
Value Value::integer(int64_t value) { return {Kind::integer, value}; }
Value Value::real(double value) { return {Kind::real, value}; }
Value Value::complex(std::complex<double> value) { return {Kind::complex, value}; }
Value Value::text(std::string utf8) { return {Kind::text, std::make_shared<const std::string>(std::move(utf8))}; }
Value Value::bytes(std::string bytes) { return {Kind::bytes, std::make_shared<const std::string>(std::move(bytes))}; }
Value Value::list(Items items) { return {Kind::list, std::make_shared<const Items>(std::move(items))}; }
Value Value::tuple(Items items) { return {Kind::tuple, std::make_shared<const Items>(std::move(items))}; }
Value Value::set(Items items) { return {Kind::set, std::make_shared<const Items>(std::move(items))}; }
Value Value::frozenset(Items items) { return {Kind::frozenset, std::make_shared<const Items>(std::move(items))}; }
Value Value::dict(std::vector<Member> members) {
  return {Kind::dict, std::make_shared<const std::vector<Member>>(std::move(members))};
}
Value Value::opaque(std::string type_name, uint64_t number) {
  return {Kind::opaque, Remote{std::make_shared<const std::string>(std::move(type_name)), number}};
}

Result<Value> Value::integer_from_hex(std::string_view digits) {
  const bool negative = !digits.empty() && digits[0] == '-';
  std::string_view magnitude = digits.substr(negative);
  if (magnitude.empty()) return bad_data("integer: expected hexadecimal digits, found none");
  for (const char c : magnitude) {
    if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
      return bad_data("integer: expected hexadecimal digits 0-9, a-f");
  }
  magnitude.remove_prefix(std::min(magnitude.find_first_not_of('0'), magnitude.size() - 1));
  if (magnitude.size() <= 15) {
    int64_t value = 0;
    std::from_chars(magnitude.data(), magnitude.data() + magnitude.size(), value, 16);
    return integer(negative ? -value : value);
  }
  std::string text = (negative ? "-" : "") + std::string(magnitude);
  if (text == "-8000000000000000") return integer(INT64_MIN);
  if (magnitude.size() == 16 && magnitude[0] < '8') {
    int64_t value = 0;
    std::from_chars(magnitude.data(), magnitude.data() + magnitude.size(), value, 16);
    return integer(negative ? -value : value);
  }
  return Value(Kind::integer, std::make_shared<const std::string>(std::move(text)));
}

Result<Value> Value::integer_from_decimal(std::string_view digits) {
  constexpr size_t kMaxDigits = 100000;
  const bool negative = !digits.empty() && digits[0] == '-';
  const std::string_view magnitude = digits.substr(negative);
  if (magnitude.empty() || magnitude.size() > kMaxDigits ||
      magnitude.find_first_not_of("0123456789") != std::string_view::npos)
    return bad_data(fmt::format("integer: expected 1 to {} decimal digits", kMaxDigits));
  return integer_from_hex((negative ? "-" : "") + hex_of_limbs(limbs_of_decimal(magnitude)));
}

Value Value::as_subclass() const {
  Value value = *this;
  value.subclass_ = true;
  return value;
}

bool Value::is_number() const { return kind_ == Kind::boolean || kind_ == Kind::integer || kind_ == Kind::real; }

bool Value::as_boolean() const {
  ASSAY_CHECK(kind_ == Kind::boolean);
  return std::get<bool>(data_);
}

std::optional<int64_t> Value::as_int64() const {
  ASSAY_CHECK(kind_ == Kind::integer);
  const auto* small = std::get_if<int64_t>(&data_);
  return small ? std::optional<int64_t>(*small) : std::nullopt;
}

std::string Value::integer_hex() const {
  ASSAY_CHECK(kind_ == Kind::integer);
  if (const auto* big = std::get_if<Text>(&data_)) return **big;
  const int64_t value = std::get<int64_t>(data_);
  const uint64_t magnitude = value < 0 ? 0 - static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  return (value < 0 ? "-" : "") + fmt::format("{:x}", magnitude);
}

double Value::as_real() const {
  ASSAY_CHECK(is_number());
  if (kind_ == Kind::real) return std::get<double>(data_);
  if (kind_ == Kind::boolean) return std::get<bool>(data_) ? 1 : 0;
  if (const auto* small = std::get_if<int64_t>(&data_)) return static_cast<double>(*small);
  return real_of_hex(*std::get<Text>(data_));
}

std::complex<double> Value::as_complex() const {
  return kind_ == Kind::complex ? std::get<std::complex<double>>(data_) : std::complex<double>(as_real(), 0);
}

const std::string& Value::as_text() const {
  if (kind_ == Kind::opaque) return *std::get<Remote>(data_).type_name;
  ASSAY_CHECK(kind_ == Kind::text || kind_ == Kind::bytes);
  return *std::get<Text>(data_);
}

const Value::Items& Value::items() const {
  ASSAY_CHECK(is_sequence() || kind_ == Kind::set || kind_ == Kind::frozenset);
  return *std::get<std::shared_ptr<const Items>>(data_);
}

std::span<const Value::Member> Value::members() const {
  ASSAY_CHECK(kind_ == Kind::dict);
  return *std::get<std::shared_ptr<const std::vector<Member>>>(data_);
}

uint64_t Value::opaque_number() const {
  ASSAY_CHECK(kind_ == Kind::opaque);
  return std::get<Remote>(data_).number;
}

bool python_equal(const Value& a, const Value& b) {
  // Most answers are of the expected kind, and some are large: these compare in place, all others by their keys.
  if (a.kind() == b.kind()) {
    switch (a.kind()) {
      case Kind::text:
      case Kind::bytes: return a.as_text() == b.as_text();
      case Kind::real: return a.as_real() == b.as_real();
      case Kind::list:
      case Kind::tuple:
        return std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(), python_equal);
      case Kind::integer:
        if (a.as_int64() && b.as_int64()) return *a.as_int64() == *b.as_int64();
        break;
      default: break;
    }
  }
  const auto key = equality_key(a);
  return key && key == equality_key(b);
}

std::optional<std::string> equality_key(const Value& value) {
  std::string key;
  if (!append_key(value, key)) return std::nullopt;
  return key;
}

bool all_close(const Value& answer, const Value& expected, double rtol, double atol) {
  if (answer.kind() != expected.kind() || answer.is_subclass() != expected.is_subclass()) return false;
  return shapes_close(answer, expected, rtol, atol);
}

namespace {

void append_repr(const Value& value, size_t max_bytes, std::string& out);

void append_quoted(const std::string& text, std::string& out) {
  out += '\'';
  for (const char c : text) {
    if (c == '\'' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 32 || c == 127) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  out += '\'';
}

void append_list(const Value::Items& items, const char* open, const char* close, size_t max_bytes, std::string& out) {
  out += open;
  for (size_t i = 0; i < items.size() && out.size() <= max_bytes; ++i) {
    if (i > 0) out += ", ";
    append_repr(items[i], max_bytes, out);
  }
  out += close;
}

void append_members(std::span<const Value::Member> members, size_t max_bytes, std::string& out) {
  out += '{';
  for (size_t i = 0; i < members.size() && out.size() <= max_bytes; ++i) {
    if (i > 0) out += ", ";
    append_repr(members[i].first, max_bytes, out);
    out += ": ";
    append_repr(members[i].second, max_bytes, out);
  }
  out += '}';
}

std::string integer_repr(const Value& value) {
  if (const auto small = value.as_int64()) return std::to_string(*small);
  const std::string hex = value.integer_hex();
  const bool negative = hex[0] == '-';
  if (hex.size() > 500) return fmt::format("<integer of about {} bits>", 4 * hex.size());
  return (negative ? "-" : "") + decimal_of_hex(std::string_view(hex).substr(negative));
}

std::string real_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

// A real part of plain zero is left out, as Python does.
std::string complex_text(std::complex<double> value) {
  if (value.real() == 0 && !std::signbit(value.real())) return fmt::format("{}j", value.imag());
  return fmt::format("({}{:+}j)", value.real(), value.imag());
}

void append_repr(const Value& value, size_t max_bytes, std::string& out) {
  switch (value.kind()) {
    case Kind::none: out += "None"; return;
    case Kind::boolean: out += value.as_boolean() ? "True" : "False"; return;
    case Kind::integer: out += integer_repr(value); return;
    case Kind::real: out += real_repr(value.as_real()); return;
    case Kind::complex: out += complex_text(value.as_complex()); return;
    case Kind::bytes: out += 'b'; [[fallthrough]];
    case Kind::text: return append_quoted(value.as_text(), out);
    case Kind::list: return append_list(value.items(), "[", "]", max_bytes, out);
    case Kind::tuple: return append_list(value.items(), "(", value.items().size() == 1 ? ",)" : ")", max_bytes, out);
    case Kind::set:
      return value.items().empty() ? void(out += "set()") : append_list(value.items(), "{", "}", max_bytes, out);
    case Kind::frozenset: return append_list(value.items(), "frozenset({", "})", max_bytes, out);
    case Kind::dict: return append_members(value.members(), max_bytes, out);
    case Kind::opaque: out += "<" + value.as_text() + " object>"; return;
  }
}

}  // namespace

std::string Value::repr(size_t max_bytes) const {
  std::string out;
  append_repr(*this, max_bytes, out);
  if (out.size() <= max_bytes) return out;
  size_t end = max_bytes;
  while (end > 0 && (static_cast<unsigned char>(out[end]) & 0xC0) == 0x80) --end;
  return out.substr(0, end) + "...";
}

}  // namespace assay
